/* Wrapped system calls: fault hook, EINTR, whole writes. */
#include "base/sys.h"
#include "base/fault.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* True when the hook says that this call fails; errno is set. */
static int sys_fails(void) {
    int err = tn_fault();
    if (err) errno = err;
    return err;
}

int tn_sys_open(const char *path, int flags, int mode) {
    int fd;
    if (sys_fails()) return -1;
    do fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* A close that fails has still closed the descriptor (Linux), also when the hook says so. */
int tn_sys_close(int fd) {
    int err = tn_fault();
    int r = close(fd);
    if (err) {
        errno = err;
        return -1;
    }
    return r < 0 && errno != EINTR ? -1 : 0;
}

ssize_t tn_sys_read(int fd, void *p, size_t n) {
    ssize_t r;
    if (sys_fails()) return -1;
    do r = read(fd, p, n);
    while (r < 0 && errno == EINTR);
    return r;
}

int tn_sys_write_all(int fd, const void *p, size_t n) {
    const char *s = p;
    while (n) {
        if (sys_fails()) return -1;
        ssize_t r = write(fd, s, n < ((size_t)1 << 30) ? n : (size_t)1 << 30);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -1;
        s += r;
        n -= (size_t)r;
    }
    return 0;
}

int tn_sys_fsync(int fd) {
    if (sys_fails()) return -1;
    int r;
    do r = fsync(fd);
    while (r < 0 && errno == EINTR);
    return r < 0 && (errno == EINVAL || errno == EROFS) ? 0
                                                        : r; /* pipes, /dev/null: nothing to sync */
}

int tn_sys_fsync_path(const char *path) {
    int fd = tn_sys_open(path, O_RDONLY, 0);
    if (fd < 0) return -1;
    int r = tn_sys_fsync(fd), err = errno;
    if (tn_sys_close(fd) < 0 && r == 0) return -1;
    errno = err;
    return r;
}

int tn_sys_rename(const char *from, const char *to) { return sys_fails() ? -1 : rename(from, to); }

int tn_sys_exchange(const char *a, const char *b) {
    if (sys_fails()) return -1;
    return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

int tn_sys_unlink(const char *path) { return sys_fails() ? -1 : unlink(path); }
int tn_sys_rmdir(const char *path) { return sys_fails() ? -1 : rmdir(path); }
int tn_sys_mkdir(const char *path) { return sys_fails() ? -1 : mkdir(path, 0777); }

char *tn_sys_realpath(const char *path) { return sys_fails() ? NULL : realpath(path, NULL); }
int tn_sys_flock(int fd, int op) { return sys_fails() ? -1 : flock(fd, op); }
int tn_sys_stat(const char *path, struct stat *s) { return sys_fails() ? -1 : stat(path, s); }
int tn_sys_lstat(const char *path, struct stat *s) { return sys_fails() ? -1 : lstat(path, s); }

int tn_sys_fallocate(int fd, off_t at, off_t n) {
    int r;
    if (sys_fails()) return -1;
    do r = fallocate(fd, 0, at, n);
    while (r < 0 && errno == EINTR);
    return r;
}

int tn_sys_pwrite_all(int fd, const void *p, size_t n, off_t at) {
    const char *s = p;
    while (n) {
        if (sys_fails()) return -1;
        ssize_t r = pwrite(fd, s, n, at);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -1;
        s += r, at += r;
        n -= (size_t)r;
    }
    return 0;
}

int tn_sys_map_over(void *p, size_t n, int fd, off_t at) {
    if (sys_fails()) return -1;
    return mmap(p, n, PROT_READ, MAP_SHARED | MAP_FIXED, fd, at) == MAP_FAILED ? -1 : 0;
}

int tn_sys_fstatvfs(int fd, struct statvfs *s) { return sys_fails() ? -1 : fstatvfs(fd, s); }

int tn_sys_is_memory(int fd) {
    struct statfs s;
    if (sys_fails() || fstatfs(fd, &s) < 0) return -1;
    return s.f_type == TMPFS_MAGIC || s.f_type == RAMFS_MAGIC || s.f_type == HUGETLBFS_MAGIC;
}
