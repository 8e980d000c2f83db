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
int tn_sys_fallocate(int fd, off_t at, off_t n); /* room for bytes [at, at + n), which the file then has */
int tn_sys_pwrite_all(int fd, const void *p, size_t n, off_t at);
int tn_sys_map_over(void *p, size_t n, int fd, off_t at); /* bytes of the file, read-only, in place of whole pages at p */
struct stat;
struct statvfs;
int tn_sys_fstatvfs(int fd, struct statvfs *s);
int tn_sys_is_memory(int fd); /* 1: its file system keeps files in memory alone (tmpfs, ramfs); 0, -1 */
int tn_sys_stat(const char *path, struct stat *s);
int tn_sys_lstat(const char *path, struct stat *s);
tn_status tn_sync_parent(const char *path, tn_err *e); /* the folder that holds `path` (os_dir.c) */
#endif
