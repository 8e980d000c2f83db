/* Time, terminal, whole files, checksums. Writers are in out.c, directories and commits in os_dir.c. */
#include "base/os.h"
#include "base/bytes.h"
#include "base/fault.h"
#include "base/proc.h"
#include "base/rng.h"
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

double tn_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double tn_wall_time(void) {
    const char *fixed = getenv("SOURCE_DATE_EPOCH");
    struct timespec t;
    if (fixed) return strtod(fixed, NULL);
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void tn_sleep(double seconds) {
    if (!(seconds > 0)) return;
    struct timespec t = {(time_t)seconds, 0};
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    while (nanosleep(&t, &t) < 0 && errno == EINTR) {}
}

int tn_ncpu(void) {
    uint64_t mask[TN_CPU_WORDS];
    return tn_cpu_mask(mask);
}

bool tn_is_tty(int fd) { return isatty(fd) == 1; }

void tn_wait_input(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    poll(&p, 1, -1);
}

int tn_tty_width(void) {
    struct winsize w;
    if (ioctl(2, TIOCGWINSZ, &w) == 0 && w.ws_col > 0) return w.ws_col;
    return 80;
}

/* ---- whole files ---- */

static bool ends_in(const char *s, const char *tail) {
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !memcmp(s + n - m, tail, m);
}

static tn_status read_all(tn_bytes *b, const char *path, tn_str *out, size_t max_bytes, tn_err *e) {
    char *chunk = tn_malloc(1 << 16);
    tn_status st = TN_OK;
    size_t got;
    if (!chunk) return tn_fail(e, TN_NOMEM, "no memory to read %s", path);
    do {
        TN_GO(tn_bytes_read(b, chunk, 1 << 16, &got, e), done);
        if (got > max_bytes - out->len) {
            st = tn_fail(e, TN_FORMAT, "%s is larger than the %zu bytes allowed here", path,
                         max_bytes);
            goto done;
        }
        tn_str_add(out, chunk, got);
        if (out->oom) {
            st = tn_fail(e, TN_NOMEM, "no memory for the contents of %s", path);
            goto done;
        }
    } while (got);
done:
    tn_free(chunk);
    return st;
}

static tn_status read_plain(const char *path, tn_str *out, size_t max_bytes, tn_err *e) {
    char chunk[8192];
    int fd = tn_sys_open(path, O_RDONLY, 0);
    if (fd < 0) return tn_fail(e, TN_IO, "cannot open %s: %s", path, strerror(errno));
    tn_status st = TN_OK;
    ssize_t r;
    while ((r = tn_sys_read(fd, chunk, sizeof chunk)) > 0) {
        if ((size_t)r > max_bytes - out->len) {
            st = tn_fail(e, TN_FORMAT, "%s is larger than the %zu bytes allowed here", path,
                         max_bytes);
            break;
        }
        tn_str_add(out, chunk, (size_t)r);
        if (out->oom) {
            st = tn_fail(e, TN_NOMEM, "no memory for the contents of %s", path);
            break;
        }
    }
    if (r < 0) st = tn_fail(e, TN_IO, "cannot read %s: %s", path, strerror(errno));
    tn_sys_close(fd);
    return st;
}

tn_status tn_read_file(const char *path, tn_str *out, size_t max_bytes, tn_err *e) {
    tn_str_clear(out);
    if (max_bytes == 0) max_bytes = SIZE_MAX / 4;
    if (!ends_in(path, ".gz")) return read_plain(path, out, max_bytes, e);
    tn_bytes *b;
    TN_TRY(tn_bytes_open(&b, path, e));
    tn_status st = read_all(b, path, out, max_bytes, e);
    tn_bytes_close(b);
    return st;
}

tn_status tn_map_file(const char *path, tn_map *m, tn_err *e) {
    struct stat s;
    *m = (tn_map){NULL, 0};
    int fd = tn_sys_open(path, O_RDONLY, 0);
    if (fd < 0) return tn_fail(e, TN_IO, "cannot open %s: %s", path, strerror(errno));
    tn_status st = TN_OK;
    int err = tn_fault();
    if (err || fstat(fd, &s) < 0) {
        st = tn_fail(e, TN_IO, "cannot look at %s: %s", path, strerror(err ? err : errno));
    } else if (!S_ISREG(s.st_mode)) {
        st = tn_fail(e, TN_IO, "%s is not a regular file", path);
    } else if (s.st_size > 0) {
        err = tn_fault();
        void *p = err ? MAP_FAILED : mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            st = tn_fail(e, TN_IO, "cannot map %s: %s", path, strerror(err ? err : errno));
        else *m = (tn_map){p, (size_t)s.st_size};
    }
    tn_sys_close(fd);
    return st;
}

void tn_unmap(tn_map *m) {
    if (m->p) munmap((void *)(uintptr_t)m->p, m->n);
    *m = (tn_map){NULL, 0};
}

/* ---- checksums ---- */

static uint64_t load64(const uint8_t *p) {
    uint64_t w;
    memcpy(&w, p, 8);
    return w;
}

/* Four independent lanes of 8 little-endian bytes each, then the rest, then the length. */
uint64_t tn_hash64(const void *data, size_t n, uint64_t seed) {
    const uint8_t *p = data;
    uint64_t h[4], tail = 0;
    size_t left = n;
    for (unsigned k = 0; k < 4; k++) h[k] = tn_mix(seed + (k + 1) * TN_RNG_GAMMA);
    for (; left >= 32; left -= 32, p += 32)
        for (int k = 0; k < 4; k++) h[k] = tn_mix(h[k] ^ load64(p + 8 * k));
    for (int k = 0; left >= 8; left -= 8, p += 8, k++) h[k] = tn_mix(h[k] ^ load64(p));
    for (size_t i = 0; i < left; i++) tail |= (uint64_t)p[i] << (8 * i);
    h[3] = tn_mix(h[3] ^ tail);
    return tn_mix(tn_mix(tn_mix(tn_mix(h[0] + (uint64_t)n) ^ h[1]) ^ h[2]) ^ h[3]);
}
