/* Directory commits: complete or absent under failing calls and under kill -9. */
#include "base/os.h"
#include "base/rng.h"
#include "test.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILES = 3 };

/* File i of version v: a text whose every line names the version. */
static void content(int v, int i, tn_str *out) {
    tn_str_clear(out);
    for (int k = 0; k <= 40 * i; k++) tn_str_addf(out, "version %d file %d line %d\n", v, i, k);
}

static tn_status commit(const char *dir, int v, tn_err *e) {
    tn_str tmp = TN_STR_INIT, path = TN_STR_INIT, text = TN_STR_INIT;
    tn_status st = tn_commit_begin(dir, &tmp, e);
    for (int i = 0; st == TN_OK && i < FILES; i++) {
        char name[32];
        tn_out *o;
        snprintf(name, sizeof name, i == 2 ? "sub/f%d" : "f%d", i);
        tn_path_join(&path, tmp.s, "sub");
        if (i == 2) st = tn_mkdirs(path.s, e);
        tn_path_join(&path, tmp.s, name);
        content(v, i, &text);
        if (path.oom || text.oom) st = tn_fail(e, TN_NOMEM, "no memory for the test's text");
        if (st == TN_OK) st = tn_out_open(&o, path.s, false, e);
        if (st != TN_OK) break;
        st = tn_out_write(o, text.s, text.len, e);
        st = tn_out_close(o, st, false, e);
    }
    if (st == TN_OK) st = tn_commit_finish(dir, e);
    tn_str_free(&tmp);
    tn_str_free(&path);
    tn_str_free(&text);
    return st;
}

/* The version in `dir`, 0 when there is none, -1 when it is torn. */
static int version_of(const char *dir) {
    tn_str path = TN_STR_INIT, text = TN_STR_INIT, want = TN_STR_INIT;
    int v = 0;
    if (tn_exists(dir)) {
        for (int i = 0; i < FILES && v >= 0; i++) {
            char name[32];
            snprintf(name, sizeof name, i == 2 ? "sub/f%d" : "f%d", i);
            tn_path_join(&path, dir, name);
            if (tn_read_file(path.s, &text, 0, NULL) != TN_OK) v = -1;
            else if (i == 0) v = (int)strtol(text.s + strlen("version "), NULL, 10);
            if (v > 0) content(v, i, &want);
            if (v <= 0 || text.len != want.len || memcmp(text.s, want.s, want.len)) v = -1;
        }
    }
    tn_str_free(&path);
    tn_str_free(&text);
    tn_str_free(&want);
    return v;
}

TEST(base_commit_plain) {
    char dir[700];
    snprintf(dir, sizeof dir, "%s/new/parent/final/", tn_test_dir());
    for (int v = 1; v < 4; v++) {
        CHECK_OK(commit(dir, v, e));
        CHECK(version_of(dir) == v);
    }
    dir[strlen(dir) - 1] = 0;
    char aside[720];
    snprintf(aside, sizeof aside, "%s.tmp", dir);
    CHECK(!tn_exists(aside));
    snprintf(aside, sizeof aside, "%s.old", dir);
    CHECK(!tn_exists(aside));
    /* a crash between the two renames of the fallback is mended by the next begin */
    CHECK(rename(dir, aside) == 0);
    tn_str tmp = TN_STR_INIT;
    CHECK_OK(tn_commit_begin(dir, &tmp, e));
    CHECK(version_of(dir) == 3);
    tn_str_free(&tmp);
    CHECK_FAIL(tn_commit_finish("build/tmp/never-begun", e), TN_IO, "never-begun.tmp");
}

TEST(base_commit_under_faults) {
    static const int errors[] = {EIO, ENOSYS /* no renameat2: the two-step replacement */};
    for (int k = 0; k < 2; k++) {
        char dir[700];
        snprintf(dir, sizeof dir, "%s/final", tn_test_dir());
        CHECK_OK(commit(dir, 1, e));
        int have = 1;
        long n = 1, failed = 0, fell_back = 0;
        for (;; n++) {
            tn_err e = {0};
            tn_fault_arm(n, errors[k]);
            tn_status st = commit(dir, have + 1, &e);
            bool fired = tn_fault_fired();
            tn_fault_arm(0, 0);
            int now = version_of(dir);
            CHECK_MSG(now == have || now == have + 1, "call %ld: version %d, had %d", n, now, have);
            CHECK_MSG(st != TN_OK || now == have + 1, "call %ld: said ok, but the version is %d", n,
                      now);
            CHECK_MSG(st == TN_OK || strlen(e.msg) > 10, "call %ld: no message", n);
            failed += st != TN_OK;
            fell_back += st == TN_OK && fired;
            have = now;
            if (!fired) break;
        }
        CHECK_MSG(failed > 20 && n < 300, "error %d: %ld failures in %ld rounds", errors[k], failed,
                  n);
        CHECK(errors[k] != ENOSYS || fell_back > 0);
    }
}

TEST(base_commit_survives_kill) {
    tn_rng r = tn_rng_stream(99, 1, 1);
    char dir[700];
    snprintf(dir, sizeof dir, "%s/final", tn_test_dir());
    /* Killed within about three commits' time, as measured here and now. */
    double t0 = tn_now();
    CHECK_OK(commit(dir, 1, e));
    CHECK_OK(commit(dir, 2, e));
    double one = (tn_now() - t0) / 2, begun = tn_now();
    int last = 2, round = 0, moved = 0;
    for (; round < 60 && (round < 12 || tn_now() - begun < 2.5); round++) {
        int ready[2];
        CHECK(pipe(ready) == 0);
        pid_t child = fork();
        if (child == 0) {
            (void)!write(ready[1], "x", 1);
            for (int v = last + 1;; v++)
                if (commit(dir, v, NULL) != TN_OK) _exit(1);
        }
        char c;
        CHECK(read(ready[0], &c, 1) == 1);
        tn_sleep(tn_rng_unit(&r) * 3 * one);
        kill(child, SIGKILL);
        int status;
        waitpid(child, &status, 0);
        close(ready[0]);
        close(ready[1]);
        CHECK_MSG(WIFSIGNALED(status), "round %d: the child ended by itself", round);
        int v = version_of(dir);
        CHECK_MSG(v >= last, "round %d: version %d after %d", round, v, last);
        moved += v > last;
        if (v > last) last = v;
    }
    CHECK_MSG(moved > 0, "none of %d rounds committed anything", round);
    CHECK_OK(commit(dir, last + 1, e));
    CHECK(version_of(dir) == last + 1);
}

static void make(const char *dir, const char *name) {
    tn_str p = TN_STR_INIT;
    tn_path_join(&p, dir, name);
    if (strstr(name, "file")) CHECK_OK(tn_write_file(p.s, "x", 1, e));
    else CHECK_OK(commit(p.s, 1, e));
    tn_str_free(&p);
}

/* What killed processes leave is mended: half commits and files go, a commit cut between its two
 * renames comes back, everything else stays. */
TEST(base_commit_mend) {
    static const char *const before[] = {"a",      "a.tmp",          "a.old",  "b.old",
                                         "c.tmp",  "d.file.tmp-123", "e.file", "f.file.tmp-x",
                                         "g.file.tmp"};
    static const char *const after[] = {"a", "b", "e.file", "f.file.tmp-x", "g.file.tmp"};
    const char *dir = tn_test_dir();
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) make(dir, before[i]);
    for (int again = 0; again < 2; again++) {
        char **names;
        size_t n;
        CHECK_OK(tn_commit_mend(dir, e));
        CHECK_OK(tn_list_dir(dir, &names, &n, e));
        CHECK(n == sizeof after / sizeof *after);
        for (size_t i = 0; i < n; i++) {
            CHECK(i >= 5 || !strcmp(names[i], after[i]));
            tn_free(names[i]);
        }
        tn_free(names);
    }
}

/* A folder is gone or whole, at every call that fails. */
TEST(base_commit_retire) {
    char dir[700];
    snprintf(dir, sizeof dir, "%s/final", tn_test_dir());
    for (long n = 1;; n++) {
        CHECK_OK(commit(dir, 1, e));
        tn_fault_arm(n, EIO);
        tn_status st = tn_retire_tree(dir, NULL);
        bool fired = tn_fault_fired();
        tn_fault_arm(0, 0);
        int now = version_of(dir);
        CHECK_MSG(now == 0 || (now == 1 && st != TN_OK), "call %ld: version %d", n, now);
        if (!fired) break;
    }
    CHECK_OK(tn_retire_tree(dir, e)); /* missing is fine */
}
