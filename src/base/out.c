/* Streaming writer: a file appears under its name only when it is complete.
 *
 * A regular file is written as PATH.tmp-PID and renamed by a close that went well; a failure or a
 * kill leaves what was at PATH before. Pipes, devices and appended files are written in place.  */
#include "base/os.h"
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUT_BUF = 1 << 16 };

struct tn_out {
    int fd;
    char *path, *aside, *buf; /* aside: NULL when written in place */
    size_t n;
};

static void out_free(tn_out *o) {
    tn_free(o->path);
    tn_free(o->aside);
    tn_free(o->buf);
    tn_free(o);
}

static bool in_place(const char *path, bool append) {
    struct stat s;
    return append || (stat(path, &s) == 0 && !S_ISREG(s.st_mode));
}

static tn_status out_name(tn_out *o, const char *path, bool append, tn_err *e) {
    tn_str aside = TN_STR_INIT;
    bool in = !strcmp(path, "-") || in_place(path, append);
    if (!in) tn_str_addf(&aside, "%s.tmp-%ld", path, (long)getpid());
    o->path = tn_strdup(path);
    o->buf = tn_malloc(OUT_BUF);
    if (!in && !aside.oom) o->aside = tn_strdup(aside.s);
    tn_str_free(&aside);
    return o->path && o->buf && (in || o->aside)
               ? TN_OK
               : tn_fail(e, TN_NOMEM, "no memory to open %s", path);
}

tn_status tn_out_open(tn_out **out, const char *path, bool append, tn_err *e) {
    *out = NULL;
    tn_out *o = tn_calloc(1, sizeof *o);
    if (!o) return tn_fail(e, TN_NOMEM, "no memory to open %s", path);
    tn_status st = out_name(o, path, append, e);
    if (st == TN_OK) {
        int flags = O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC);
        o->fd = strcmp(path, "-") ? tn_sys_open(o->aside ? o->aside : path, flags, 0666) : 1;
        if (o->fd < 0)
            st = tn_fail(e, TN_IO, "cannot open %s for writing: %s", path, strerror(errno));
    }
    if (st != TN_OK) {
        out_free(o);
        return st;
    }
    *out = o;
    return TN_OK;
}

static tn_status out_put(tn_out *o, const void *p, size_t n, tn_err *e) {
    if (tn_sys_write_all(o->fd, p, n) == 0) return TN_OK;
    return tn_fail(e, TN_IO, "cannot write to %s: %s",
                   strcmp(o->path, "-") ? o->path : "standard output", strerror(errno));
}

tn_status tn_out_write(tn_out *o, const void *p, size_t n, tn_err *e) {
    if (o->n + n > OUT_BUF) TN_TRY(tn_out_flush(o, false, e));
    if (n >= OUT_BUF) return out_put(o, p, n, e);
    if (n) memcpy(o->buf + o->n, p, n);
    o->n += n;
    return TN_OK;
}

tn_status tn_out_flush(tn_out *o, bool sync, tn_err *e) {
    size_t n = o->n;
    o->n = 0; /* also after a failure: half-written bytes are never written twice */
    if (n) TN_TRY(out_put(o, o->buf, n, e));
    if (sync && tn_sys_fsync(o->fd) < 0)
        return tn_fail(e, TN_IO, "cannot bring %s to the disk: %s", o->path, strerror(errno));
    return TN_OK;
}

tn_status tn_out_close(tn_out *o, tn_status st, bool sync, tn_err *e) {
    if (!o) return st;
    if (st == TN_OK || !o->aside) {
        tn_status flushed = tn_out_flush(o, sync && st == TN_OK, st == TN_OK ? e : NULL);
        if (st == TN_OK) st = flushed;
    }
    if (o->fd != 1 && tn_sys_close(o->fd) < 0 && st == TN_OK)
        st = tn_fail(e, TN_IO, "cannot close %s: %s", o->path, strerror(errno));
    if (o->aside && st == TN_OK && tn_sys_rename(o->aside, o->path) < 0)
        st = tn_fail(e, TN_IO, "cannot rename %s to %s: %s", o->aside, o->path, strerror(errno));
    if (o->aside && st == TN_OK && sync) st = tn_sync_parent(o->path, e);
    else if (o->aside && st != TN_OK) unlink(o->aside);
    out_free(o);
    return st;
}
