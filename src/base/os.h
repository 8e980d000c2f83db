/* Every system call of the project goes through here, with fault hooks for tests,
 * plus durable files: write aside, fsync, rename, fsync the directory.             */
#ifndef TN_BASE_OS_H
#define TN_BASE_OS_H

#include "base/str.h"
#include <stdio.h>

/* Fault injection (tests only): the n-th system call from now (1 = next) fails with `err`.
 * 0 switches it off. tn_fault_fired() says whether it happened. Also read at start-up from
 * the environment variable TENET_FAULT="n:errno-number". */
void tn_fault_arm(long n, int err);
bool tn_fault_fired(void);

double tn_now(void);            /* monotonic seconds */
double tn_wall_time(void);      /* seconds since 1970; SOURCE_DATE_EPOCH when that is set */
void tn_sleep(double seconds);
int tn_ncpu(void);              /* CPUs this process may run on */
bool tn_is_tty(int fd);
void tn_wait_input(int fd);     /* until something can be read from it, or a signal has come */
int tn_tty_width(void);

/* Whole file into `out` (cleared first). gz: files whose name ends in .gz are inflated. */
tn_status tn_read_file(const char *path, tn_str *out, size_t max_bytes, tn_err *e);

/* Read-only mapping of a whole file. */
typedef struct tn_map {
    const uint8_t *p;
    size_t n;
} tn_map;
tn_status tn_map_file(const char *path, tn_map *m, tn_err *e);
void tn_unmap(tn_map *m);

/* Atomic replacement of one file: write PATH.tmp-PID, fsync, rename, fsync the directory. */
tn_status tn_write_file(const char *path, const void *p, size_t n, tn_err *e);

/* Streaming, buffered writer; "-" = standard output. A file is written as PATH.tmp-PID and gets its
 * name when it is closed well; what was there before stays until then. With `append`, and where
 * PATH is a pipe or a device, bytes go straight to it. */
typedef struct tn_out tn_out;
tn_status tn_out_open(tn_out **o, const char *path, bool append, tn_err *e);
tn_status tn_out_write(tn_out *o, const void *p, size_t n, tn_err *e);
tn_status tn_out_flush(tn_out *o, bool sync, tn_err *e);
/* Frees o (NULL is fine). `st` says how the writing went: after TN_OK the file is completed, after a
 * failure it is removed and `st` returned. sync: the bytes and the name are on the disk. */
tn_status tn_out_close(tn_out *o, tn_status st, bool sync, tn_err *e);

/* Line reader, plain or .gz (by magic), "-" = standard input. Lines without their newline;
 * a line longer than `max_line` is an error that names its number. *line = NULL at the end. */
typedef struct tn_lines tn_lines;
tn_status tn_lines_open(tn_lines **r, const char *path, size_t max_line, tn_err *e);
tn_status tn_lines_next(tn_lines *r, const char **line, size_t *len, tn_err *e);
void tn_lines_keep_ends(tn_lines *r); /* lines as they are, with "\n" or "\r\n"; no NUL after them */
long tn_lines_number(const tn_lines *r); /* 1-based number of the line last returned */
void tn_lines_close(tn_lines *r);

bool tn_exists(const char *path);
bool tn_is_dir(const char *path);
tn_status tn_mkdirs(const char *path, tn_err *e);           /* like mkdir -p */
tn_status tn_list_dir(const char *path, char ***names, size_t *n,
                      tn_err *e);                           /* sorted; free each and array */
tn_status tn_remove_tree(const char *path, tn_err *e);      /* missing is fine */
/* The same for a folder whose name promises that it is complete: it is renamed to PATH.tmp first. */
tn_status tn_retire_tree(const char *path, tn_err *e);
tn_status tn_sync_tree(const char *path, tn_err *e);        /* it and all below it are on the disk, and so is its name */
tn_status tn_copy_file(const char *from, const char *to, tn_err *e); /* atomic at `to` */
void tn_path_join(tn_str *out, const char *a, const char *b); /* cleared first */
/* Absolute, without links, "." and ".."; the file must exist. Cleared first. */
tn_status tn_real_path(const char *path, tn_str *out, tn_err *e);

/* Directory commit: fill TMP (= tn_commit_begin's answer, "<final>.tmp"), then finish:
 * every file and the directory fsynced, renamed to FINAL, parent fsynced. A crash at any
 * instant leaves either no FINAL or a complete one; an existing FINAL is replaced. */
tn_status tn_commit_begin(const char *final_dir, tn_str *tmp_dir, tn_err *e);
tn_status tn_commit_finish(const char *final_dir, tn_err *e);
/* Mends what killed processes left in DIR, which the caller has locked: commits and retirements
 * half done (NAME.tmp, NAME.old) and files half written (NAME.tmp-PID). */
tn_status tn_commit_mend(const char *dir, tn_err *e);

/* Exclusive lock on DIR/.lock for the life of the process; a second run is refused with a message.
 */
tn_status tn_lock_dir(const char *dir, int *fd, tn_err *e);
void tn_unlock_dir(int fd);
/* The same for a file to be made, by PATH.lock beside it, which unlocking removes. fd -1: nothing is locked. */
tn_status tn_lock_file(const char *path, int *fd, tn_err *e);
void tn_unlock_file(const char *path, int fd);

uint64_t tn_hash64(const void *p, size_t n, uint64_t seed); /* checksums of manifests */

/* Resident memory of this process in bytes, less file-mapped pages (0 if unknown). */
size_t tn_resident_memory(void);
/* Peak resident memory of this process in bytes, less clean file-mapped pages (0 if unknown). */
size_t tn_peak_memory(void);

#endif
