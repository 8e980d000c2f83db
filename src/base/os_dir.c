/* Directories, durable files, directory commits, locks.
 *
 * A file is replaced by: write PATH.tmp-PID, fsync it, rename it over PATH, fsync the parent.
 * A directory is committed by: fsync everything below FINAL.tmp, then rename it to FINAL, or
 * swap the two names when FINAL exists (renameat2), fsync the parent, delete the old tree.
 * At every instant FINAL is absent, the old tree in full, or the new tree in full.          */
#include "base/os.h"
#include "base/sys.h"
#include "base/fault.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* What cannot be looked at exists: opening it then says why. */
bool tn_exists(const char *path) {
    struct stat s;
    return tn_sys_stat(path, &s) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

bool tn_is_dir(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

void tn_path_join(tn_str *out, const char *a, const char *b) {
    tn_str_clear(out);
    tn_str_addz(out, a);
    if (out->len && out->s[out->len - 1] != '/') tn_str_addc(out, '/');
    tn_str_addz(out, b);
}

static tn_status no_path_memory(const char *path, tn_err *e) {
    return tn_fail(e, TN_NOMEM, "no memory for a path below %s", path);
}

tn_status tn_real_path(const char *path, tn_str *out, tn_err *e) {
    char *p = tn_sys_realpath(path);
    tn_str_clear(out);
    if (!p) return tn_fail(e, TN_IO, "cannot find %s: %s", path, strerror(errno));
    tn_str_addz(out, p);
    free(p);
    return out->oom ? no_path_memory(path, e) : TN_OK;
}

/* The directory that holds `path`: "." for a bare name. Trailing slashes do not count. */
static void parent_of(const char *path, tn_str *out) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n > 0 && path[n - 1] != '/') n--;
    while (n > 1 && path[n - 1] == '/') n--;
    tn_str_clear(out);
    if (n) tn_str_add(out, path, n);
    else tn_str_addc(out, '.');
}

tn_status tn_sync_parent(const char *path, tn_err *e) {
    tn_str dir = TN_STR_INIT;
    parent_of(path, &dir);
    tn_status st = TN_OK;
    if (dir.oom) st = no_path_memory(path, e);
    else if (tn_sys_fsync_path(dir.s) < 0)
        st = tn_fail(e, TN_IO, "cannot bring folder %s to the disk: %s", dir.s, strerror(errno));
    tn_str_free(&dir);
    return st;
}

tn_status tn_mkdirs(const char *path, tn_err *e) {
    char *p = tn_strdup(path);
    if (!p) return no_path_memory(path, e);
    tn_status st = TN_OK;
    for (char *s = p + 1; st == TN_OK && *p; s++) {
        if (*s != '/' && *s) continue;
        char c = *s;
        *s = 0;
        if (tn_sys_mkdir(p) < 0 && !(errno == EEXIST && tn_is_dir(p)))
            st = tn_fail(e, TN_IO, "cannot create folder %s: %s", p,
                         errno == EEXIST ? "a file of that name is in the way" : strerror(errno));
        *s = c;
        if (!c) break;
    }
    tn_free(p);
    return st;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

tn_status tn_list_dir(const char *path, char ***names, size_t *n, tn_err *e) {
    char **v = NULL;
    size_t k = 0, cap = 0;
    tn_status st = TN_OK;
    *names = NULL;
    *n = 0;
    int err = tn_fault();
    DIR *d = err ? NULL : opendir(path);
    if (!d)
        return tn_fail(e, TN_IO, "cannot list folder %s: %s", path, strerror(err ? err : errno));
    for (;;) {
        errno = tn_fault();
        struct dirent *f = errno ? NULL : readdir(d);
        if (!f) {
            if (errno) st = tn_fail(e, TN_IO, "cannot list folder %s: %s", path, strerror(errno));
            break;
        }
        if (!strcmp(f->d_name, ".") || !strcmp(f->d_name, "..")) continue;
        if (!TN_GROW(v, cap, k + 1) || !(v[k] = tn_strdup(f->d_name))) {
            st = tn_fail(e, TN_NOMEM, "no memory to list folder %s", path);
            break;
        }
        k++;
    }
    closedir(d);
    if (st != TN_OK) {
        while (k) tn_free(v[--k]);
        tn_free(v);
        return st;
    }
    if (k) qsort(v, k, sizeof *v, by_name);
    *names = v;
    *n = k;
    return TN_OK;
}

static void names_free(char **v, size_t n) {
    while (n) tn_free(v[--n]);
    tn_free(v);
}

/* Calls fn on everything below `dir` (children before their folder), then on `dir` itself.
 * Symbolic links are not followed. */
typedef tn_status walk_fn(const char *path, bool is_dir, tn_err *e);

static tn_status walk_tree(const char *dir, walk_fn *fn, int depth, tn_err *e) {
    char **names;
    size_t n;
    tn_str path = TN_STR_INIT;
    if (depth > 64) return tn_fail(e, TN_IO, "folder %s is nested too deeply", dir);
    TN_TRY(tn_list_dir(dir, &names, &n, e));
    tn_status st = TN_OK;
    for (size_t i = 0; i < n && st == TN_OK; i++) {
        struct stat s;
        tn_path_join(&path, dir, names[i]);
        if (path.oom) st = no_path_memory(dir, e);
        else if (tn_sys_lstat(path.s, &s) < 0)
            st = errno == ENOENT
                     ? TN_OK
                     : tn_fail(e, TN_IO, "cannot look at %s: %s", path.s, strerror(errno));
        else st = S_ISDIR(s.st_mode) ? walk_tree(path.s, fn, depth + 1, e) : fn(path.s, false, e);
    }
    names_free(names, n);
    tn_str_free(&path);
    return st == TN_OK ? fn(dir, true, e) : st;
}

static tn_status remove_one(const char *path, bool is_dir, tn_err *e) {
    if ((is_dir ? tn_sys_rmdir(path) : tn_sys_unlink(path)) == 0 || errno == ENOENT) return TN_OK;
    return tn_fail(e, TN_IO, "cannot remove %s: %s", path, strerror(errno));
}

tn_status tn_remove_tree(const char *path, tn_err *e) {
    struct stat s;
    if (tn_sys_lstat(path, &s) < 0) {
        if (errno == ENOENT) return TN_OK;
        return tn_fail(e, TN_IO, "cannot look at %s: %s", path, strerror(errno));
    }
    return S_ISDIR(s.st_mode) ? walk_tree(path, remove_one, 0, e) : remove_one(path, false, e);
}

/* ---- one durable file ---- */

static tn_status write_aside(const char *tmp, const void *p, size_t n, tn_err *e) {
    int fd = tn_sys_open(tmp, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0) return tn_fail(e, TN_IO, "cannot create %s: %s", tmp, strerror(errno));
    tn_status st = TN_OK;
    if (tn_sys_write_all(fd, p, n) < 0)
        st = tn_fail(e, TN_IO, "cannot write %zu bytes to %s: %s", n, tmp, strerror(errno));
    else if (tn_sys_fsync(fd) < 0)
        st = tn_fail(e, TN_IO, "cannot bring %s to the disk: %s", tmp, strerror(errno));
    if (tn_sys_close(fd) < 0 && st == TN_OK)
        st = tn_fail(e, TN_IO, "cannot close %s: %s", tmp, strerror(errno));
    return st;
}

tn_status tn_write_file(const char *path, const void *p, size_t n, tn_err *e) {
    tn_str tmp = TN_STR_INIT;
    tn_str_addf(&tmp, "%s.tmp-%ld", path, (long)getpid());
    if (tmp.oom) {
        tn_str_free(&tmp);
        return no_path_memory(path, e);
    }
    tn_status st = write_aside(tmp.s, p, n, e);
    if (st == TN_OK && tn_sys_rename(tmp.s, path) < 0)
        st = tn_fail(e, TN_IO, "cannot rename %s to %s: %s", tmp.s, path, strerror(errno));
    if (st == TN_OK) st = tn_sync_parent(path, e);
    else unlink(tmp.s);
    tn_str_free(&tmp);
    return st;
}

tn_status tn_copy_file(const char *from, const char *to, tn_err *e) {
    tn_map m;
    TN_TRY(tn_map_file(from, &m, e));
    tn_status st = tn_write_file(to, m.p ? (const void *)m.p : "", m.n, e);
    tn_unmap(&m);
    return st;
}

/* ---- directory commit ---- */

/* "<final>SUFFIX" with trailing slashes of final dropped. */
static tn_status beside(const char *final_dir, const char *suffix, tn_str *out, tn_err *e) {
    size_t n = strlen(final_dir);
    while (n > 1 && final_dir[n - 1] == '/') n--;
    tn_str_clear(out);
    tn_str_add(out, final_dir, n);
    tn_str_addz(out, suffix);
    return out->oom ? no_path_memory(final_dir, e) : TN_OK;
}

tn_status tn_commit_begin(const char *final_dir, tn_str *tmp_dir, tn_err *e) {
    tn_str parent = TN_STR_INIT, old = TN_STR_INIT, final = TN_STR_INIT;
    tn_status st;
    TN_GO(beside(final_dir, ".tmp", tmp_dir, e), done);
    TN_GO(beside(final_dir, ".old", &old, e), done);
    TN_GO(beside(final_dir, "", &final, e), done);
    parent_of(final_dir, &parent);
    if (parent.oom) {
        st = no_path_memory(final_dir, e);
        goto done;
    }
    TN_GO(tn_mkdirs(parent.s, e), done);
    /* A commit without renameat2 that was cut between its two renames left FINAL.old only. */
    if (!tn_exists(final.s) && tn_is_dir(old.s) && tn_sys_rename(old.s, final.s) < 0) {
        st = tn_fail(e, TN_IO, "cannot rename %s back to %s: %s", old.s, final.s, strerror(errno));
        goto done;
    }
    TN_GO(tn_remove_tree(tmp_dir->s, e), done);
    if (tn_sys_mkdir(tmp_dir->s) < 0)
        st = tn_fail(e, TN_IO, "cannot create folder %s: %s", tmp_dir->s, strerror(errno));
done:
    tn_str_free(&parent);
    tn_str_free(&old);
    tn_str_free(&final);
    return st;
}

static tn_status sync_one(const char *path, bool is_dir, tn_err *e) {
    if (tn_sys_fsync_path(path) == 0) return TN_OK;
    return tn_fail(e, TN_IO, "cannot bring %s to the disk: %s", path, strerror(errno));
}

tn_status tn_sync_tree(const char *path, tn_err *e) {
    TN_TRY(tn_is_dir(path) ? walk_tree(path, sync_one, 0, e) : sync_one(path, false, e));
    return tn_sync_parent(path, e);
}

/* FINAL exists: swap, or where the file system cannot, move it aside first. */
static tn_status replace_dir(const char *tmp, const char *final, const char *old, tn_err *e) {
    if (tn_sys_exchange(tmp, final) == 0) {
        TN_TRY(tn_sync_parent(final, e));
        return tn_remove_tree(tmp, e);
    }
    if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
        return tn_fail(e, TN_IO, "cannot swap %s and %s: %s", tmp, final, strerror(errno));
    TN_TRY(tn_remove_tree(old, e));
    if (tn_sys_rename(final, old) < 0)
        return tn_fail(e, TN_IO, "cannot rename %s to %s: %s", final, old, strerror(errno));
    if (tn_sys_rename(tmp, final) < 0) {
        tn_status st = tn_fail(e, TN_IO, "cannot rename %s to %s: %s", tmp, final, strerror(errno));
        (void)!rename(old, final);
        return st;
    }
    TN_TRY(tn_sync_parent(final, e));
    return tn_remove_tree(old, e);
}

tn_status tn_commit_finish(const char *final_dir, tn_err *e) {
    tn_str tmp = TN_STR_INIT, old = TN_STR_INIT, final = TN_STR_INIT;
    tn_status st;
    TN_GO(beside(final_dir, ".tmp", &tmp, e), done);
    TN_GO(beside(final_dir, ".old", &old, e), done);
    TN_GO(beside(final_dir, "", &final, e), done);
    TN_GO(walk_tree(tmp.s, sync_one, 0, e), done);
    if (tn_exists(final.s)) {
        st = replace_dir(tmp.s, final.s, old.s, e);
    } else if (tn_sys_rename(tmp.s, final.s) < 0) {
        st = tn_fail(e, TN_IO, "cannot rename %s to %s: %s", tmp.s, final.s, strerror(errno));
    } else {
        st = tn_sync_parent(final.s, e);
    }
done:
    tn_str_free(&tmp);
    tn_str_free(&old);
    tn_str_free(&final);
    return st;
}

tn_status tn_retire_tree(const char *path, tn_err *e) {
    tn_str tmp = TN_STR_INIT;
    tn_status st = beside(path, ".tmp", &tmp, e);
    if (st == TN_OK) st = tn_remove_tree(tmp.s, e);
    if (st == TN_OK && tn_sys_rename(path, tmp.s) < 0 && errno != ENOENT)
        st = tn_fail(e, TN_IO, "cannot rename %s to %s: %s", path, tmp.s, strerror(errno));
    if (st == TN_OK) st = tn_remove_tree(tmp.s, e);
    tn_str_free(&tmp);
    return st;
}

/* Is `name` NAME.tmp-PID? */
static bool half_file(const char *name) {
    const char *t = strstr(name, ".tmp-");
    return t && t != name && t[5] && strspn(t + 5, "0123456789") == strlen(t + 5);
}

static tn_status mend_one(const char *dir, const char *name, tn_str *path, tn_str *final,
                          tn_err *e) {
    size_t n = strlen(name);
    bool tmp = n > 4 && !strcmp(name + n - 4, ".tmp"), old = n > 4 && !strcmp(name + n - 4, ".old");
    if (!tmp && !old && !half_file(name)) return TN_OK;
    tn_path_join(path, dir, name);
    if (path->oom) return no_path_memory(dir, e);
    if (half_file(name))
        return tn_is_dir(path->s) ? TN_OK : tn_remove_tree(path->s, e);
    if (!tn_is_dir(path->s)) return TN_OK; /* no commit's */
    tn_str_clear(final);
    tn_str_add(final, path->s, path->len - 4);
    if (final->oom) return no_path_memory(dir, e);
    if (tmp || tn_exists(final->s)) return tn_remove_tree(path->s, e);
    if (tn_sys_rename(path->s, final->s) == 0) return TN_OK;
    return tn_fail(e, TN_IO, "cannot rename %s back to %s: %s", path->s, final->s, strerror(errno));
}

tn_status tn_commit_mend(const char *dir, tn_err *e) {
    char **names;
    size_t n;
    tn_str path = TN_STR_INIT, final = TN_STR_INIT;
    TN_TRY(tn_list_dir(dir, &names, &n, e));
    tn_status st = TN_OK;
    for (size_t i = 0; i < n && st == TN_OK; i++) st = mend_one(dir, names[i], &path, &final, e);
    names_free(names, n);
    tn_str_free(&path);
    tn_str_free(&final);
    return st;
}

/* ---- locks ---- */

/* What of `path` is in use says its pid. */
static tn_status in_use(const char *path, const char *what, int fd, int err, tn_err *e) {
    char pid[32] = "";
    ssize_t n = read(fd, pid, sizeof pid - 1);
    pid[n > 0 ? n : 0] = 0;
    pid[strcspn(pid, "\n")] = 0;
    if (err != EWOULDBLOCK) return tn_fail(e, TN_IO, "cannot lock %s: %s", path, strerror(err));
    return tn_fail(e, TN_STATE, "%s is in use by another run (process %s); wait for it or choose another", what, *pid ? pid : "unknown");
}

/* Is the open file still the one of that name? Its last owner may have removed it. */
static bool still_there(int fd, const char *path) {
    struct stat a, b;
    if (fstat(fd, &a) < 0) return true; /* nothing says otherwise */
    if (tn_sys_stat(path, &b) < 0) return errno != ENOENT;
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static tn_status lock(const char *path, const char *what, int *fd, tn_err *e) {
    char pid[32];
    for (;;) {
        int f = tn_sys_open(path, O_RDWR | O_CREAT, 0666);
        if (f < 0) return tn_fail(e, TN_IO, "cannot create the lock %s: %s", path, strerror(errno));
        if (tn_sys_flock(f, LOCK_EX | LOCK_NB) < 0) {
            tn_status st = in_use(path, what, f, errno, e);
            close(f);
            return st;
        }
        if (still_there(f, path)) {
            *fd = f;
            break;
        }
        close(f);
    }
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(*fd, 0) == 0) (void)!pwrite(*fd, pid, (size_t)n, 0);
    return TN_OK;
}

tn_status tn_lock_dir(const char *dir, int *fd, tn_err *e) {
    tn_str path = TN_STR_INIT, what = TN_STR_INIT;
    *fd = -1;
    tn_path_join(&path, dir, ".lock");
    tn_str_addf(&what, "folder %s", dir);
    tn_status st = path.oom || what.oom ? no_path_memory(dir, e) : lock(path.s, what.s, fd, e);
    tn_str_free(&path);
    tn_str_free(&what);
    return st;
}

/* The file stays: removing it would let two later runs lock two different files. */
void tn_unlock_dir(int fd) {
    if (fd >= 0) close(fd);
}

tn_status tn_lock_file(const char *path, int *fd, tn_err *e) {
    tn_str name = TN_STR_INIT;
    *fd = -1;
    tn_str_addf(&name, "%s.lock", path);
    tn_status st = name.oom ? no_path_memory(path, e) : lock(name.s, path, fd, e);
    tn_str_free(&name);
    return st;
}

void tn_unlock_file(const char *path, int fd) {
    tn_str name = TN_STR_INIT;
    if (fd < 0) return;
    tn_str_addf(&name, "%s.lock", path);
    if (!name.oom) tn_sys_unlink(name.s); /* while it is held: whoever locks it now finds it gone and tries again */
    tn_str_free(&name);
    close(fd);
}
