/* Sampled maximum of resident anonymous memory, from /proc/self/statm. */
#include "base/rss.h"
#include "base/os.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_size_t rss_peak;

typedef struct resident {
    size_t all, mapped;
} resident;

static resident look(void) {
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return (resident){0};
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return (resident){0};
    text[n] = 0;
    /* Pages: total, resident, resident and shared (file-mapped). */
    char *end;
    strtoul(text, &end, 10);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    resident r = {.all = strtoul(end, &end, 10) * page};
    r.mapped = strtoul(end, NULL, 10) * page;
    return r;
}

size_t tn_resident_memory(void) {
    resident r = look();
    return r.all < r.mapped ? 0 : r.all - r.mapped;
}

size_t tn_rss_mapped(void) { return look().mapped; }

void tn_rss_sample_with(size_t mapped) {
    size_t now = tn_resident_memory() + mapped, peak = atomic_load(&rss_peak);
    while (now > peak && !atomic_compare_exchange_weak(&rss_peak, &peak, now)) {}
}
void tn_rss_sample(void) { tn_rss_sample_with(0); }

size_t tn_peak_memory(void) {
    tn_rss_sample();
    return atomic_load(&rss_peak);
}
