/* Buffers in a file without a name. */
#include "base/park.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/rss.h"
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PIECE = 64 << 20 }; /* bytes that are in memory twice while they move, at most */

typedef struct region {
    void *p;
    size_t n;
} region;

struct tn_park {
    int fd;
    size_t room, used; /* bytes of the file */
    region *region;
    size_t n_region, cap;
};

/* ---- is there room ---- */

/* DIR, or the nearest folder above it that exists. */
static int open_near(const char *dir) {
    tn_str at = TN_STR_INIT;
    int fd = -1;
    tn_str_addz(&at, dir);
    while (!at.oom && (fd = tn_sys_open(at.s, O_RDONLY | O_DIRECTORY, 0)) < 0 && errno == ENOENT && strcmp(at.s, ".") != 0) {
        while (at.len > 1 && at.s[at.len - 1] == '/') at.len--;
        while (at.len && at.s[at.len - 1] != '/') at.len--;
        if (at.len) at.s[at.len] = 0;
        else tn_str_addc(&at, '.');
    }
    tn_str_free(&at);
    return fd;
}

static tn_status check_room(int fd, const char *dir, size_t bytes, tn_err *why) {
    struct statvfs s;
    int memory = tn_sys_is_memory(fd);
    if (memory < 0 || tn_sys_fstatvfs(fd, &s) < 0)
        return tn_fail(why, TN_UNSUPPORTED, "the file system of %s does not say what room it has: %s", dir, strerror(errno));
    if (memory) return tn_fail(why, TN_UNSUPPORTED, "the file system of %s is in memory itself", dir);
    double free = (double)s.f_bavail * (double)s.f_frsize;
    if (free < (double)bytes)
        return tn_fail(why, TN_UNSUPPORTED, "the file system of %s has %.0f MB left, and %.0f are needed", dir, free / 1e6, (double)bytes / 1e6);
    return TN_OK;
}

tn_status tn_park_fits(const char *dir, size_t bytes, tn_err *why) {
    int fd = open_near(dir);
    if (fd < 0) return tn_fail(why, TN_UNSUPPORTED, "cannot look at %s: %s", dir, strerror(errno));
    tn_status st = check_room(fd, dir, bytes, why);
    tn_sys_close(fd);
    return st;
}

/* ---- the file ---- */

/* Where the file system has no files without names: one whose name goes at once. A crash in between leaves one that
 * tn_commit_mend takes for half written. */
static int open_named(const char *dir) {
    tn_str path = TN_STR_INIT;
    int fd = -1;
    tn_path_join(&path, dir, "parked");
    tn_str_addf(&path, ".tmp-%ld", (long)getpid());
    if (!path.oom) fd = tn_sys_open(path.s, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd >= 0 && tn_sys_unlink(path.s) < 0) {
        int err = errno;
        unlink(path.s);
        tn_sys_close(fd);
        fd = -1, errno = err;
    }
    tn_str_free(&path);
    return fd;
}

tn_status tn_park_new(tn_park **out, const char *dir, size_t bytes, tn_err *why) {
    *out = NULL;
    TN_TRY(tn_park_fits(dir, bytes, why));
    tn_park *p = tn_calloc(1, sizeof *p);
    if (!p) return tn_fail(why, TN_NOMEM, "out of memory");
    p->fd = tn_sys_open(dir, O_TMPFILE | O_RDWR, 0600);
    if (p->fd < 0) p->fd = open_named(dir);
    p->room = bytes;
    tn_status st = TN_OK;
    if (p->fd < 0) st = tn_fail(why, TN_UNSUPPORTED, "no file can be made in %s: %s", dir, strerror(errno));
    else if (bytes && tn_sys_fallocate(p->fd, 0, (off_t)bytes) < 0)
        st = tn_fail(why, TN_UNSUPPORTED, "the file system of %s does not set %.0f MB aside: %s", dir, (double)bytes / 1e6, strerror(errno));
    if (st != TN_OK) {
        tn_park_free(p);
        return st;
    }
    *out = p;
    return TN_OK;
}

void tn_park_free(tn_park *p) {
    if (!p) return;
    if (p->fd >= 0) tn_sys_close(p->fd);
    tn_free(p->region);
    tn_free(p);
}

size_t tn_park_bytes(const tn_park *p) { return p ? p->used : 0; }

/* ---- in and out ---- */

static tn_status add_piece(tn_park *p, region *r, char *at, size_t n, tn_err *e) {
    off_t to = (off_t)p->used;
    bool more = p->used + n > p->room;
    if ((more && tn_sys_fallocate(p->fd, to, (off_t)n) < 0) || tn_sys_pwrite_all(p->fd, at, n, to) < 0)
        return tn_fail(e, TN_IO, "cannot write %zu MB into a file: %s", n >> 20, strerror(errno));
    if (tn_sys_map_over(at, n, p->fd, to) < 0)
        return tn_fail(e, TN_NOMEM, "cannot map %zu MB of a file: %s", n >> 20, strerror(errno));
    p->used += n;
    r->n += n;
    return TN_OK;
}

tn_status tn_park_add(tn_park *p, void *at, size_t bytes, tn_err *e) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = ((uintptr_t)at + page - 1) & ~(page - 1);
    uintptr_t to = ((uintptr_t)at + bytes) & ~(page - 1);
    if (from >= to) return TN_OK;
    if (!TN_GROW(p->region, p->cap, p->n_region + 1)) return tn_fail(e, TN_IO, "out of memory");
    region *r = &p->region[p->n_region++];
    *r = (region){(void *)from, 0};
    tn_rss_sample();
    while (from < to) {
        size_t n = to - from < PIECE ? to - from : PIECE;
        TN_TRY(add_piece(p, r, (char *)from, n, e));
        from += n;
    }
    return TN_OK;
}

/* What the kernel counts less of afterwards was in memory until now. */
void tn_park_leave(tn_park *p) {
    if (!p || !p->used) return;
    size_t before = tn_rss_mapped();
    for (size_t i = 0; i < p->n_region; i++)
        if (p->region[i].n) madvise(p->region[i].p, p->region[i].n, MADV_DONTNEED);
    size_t after = tn_rss_mapped();
    tn_rss_sample_with(before > after ? before - after : 0);
}
