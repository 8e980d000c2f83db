/* Thin wrappers of system calls: each asks the fault hook first and repeats on EINTR. They
 * answer as the call does: -1 and errno. For base/ only; everyone else uses base/os.h. */
#ifndef TN_BASE_SYS_H
#define TN_BASE_SYS_H
#include "base/status.h"
#include <stddef.h>
#include <sys/types.h>

int tn_sys_open(const char *path, int flags, int mode);
int tn_sys_close(int fd);
ssize_t tn_sys_read(int fd, void *p, size_t n);
int tn_sys_write_all(int fd, const void *p, size_t n); /* 0 or -1: every byte or an error */
int tn_sys_fsync(int fd);
int tn_sys_fsync_path(const char *path);               /* a file or a directory */
int tn_sys_rename(const char *from, const char *to);
int tn_sys_exchange(const char *a, const char *b);     /* swaps two names atomically */
int tn_sys_unlink(const char *path);
int tn_sys_rmdir(const char *path);
int tn_sys_mkdir(const char *path);
char *tn_sys_realpath(const char *path); /* from malloc; NULL and errno */
int tn_sys_flock(int fd, int operation);
struct stat;
int tn_sys_stat(const char *path, struct stat *s);
int tn_sys_lstat(const char *path, struct stat *s);
tn_status tn_sync_parent(const char *path, tn_err *e); /* the folder that holds `path` (os_dir.c) */
#endif
