/* Sampled maximum of resident anonymous memory, from /proc/self/statm. */
#include "base/rss.h"
#include "base/os.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_size_t rss_peak;

size_t tn_resident_memory(void) {
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return 0;
    text[n] = 0;
    /* Pages: total, resident, resident and shared (file-mapped). */
    char *end;
    strtoul(text, &end, 10);
    size_t resident = strtoul(end, &end, 10), shared = strtoul(end, NULL, 10);
    return resident < shared ? 0 : (resident - shared) * (size_t)sysconf(_SC_PAGESIZE);
}

void tn_rss_sample(void) {
    size_t now = tn_resident_memory(), peak = atomic_load(&rss_peak);
    while (now > peak && !atomic_compare_exchange_weak(&rss_peak, &peak, now)) {}
}

size_t tn_peak_memory(void) {
    tn_rss_sample();
    return atomic_load(&rss_peak);
}
