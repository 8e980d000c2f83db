/* Files, lines, gzip, folders, locks, checksums; every system call made to fail in turn. */
#include "base/rng.h"
#include "fuzz/mutate.h"
#include "test.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

static const char *in_dir(const char *dir, const char *name) {
    static char slot[8][700];
    static int k;
    char *s = slot[k++ % 8];
    snprintf(s, sizeof slot[0], "%s/%s", dir, name);
    return s;
}

static void put(const char *path, const char *text, size_t n) {
    CHECK_OK(tn_write_file(path, text, n, e));
}

/* Without bringing it to the disk: for loops. */
static void put_quick(const char *path, const char *text, size_t n) {
    tn_out *o = NULL;
    unlink(path); /* some file systems bring a file that was cut to nothing to the disk at once */
    CHECK_OK(tn_out_open(&o, path, false, e));
    CHECK_OK(tn_out_write(o, text, n, e));
    CHECK_OK(tn_out_close(o, TN_OK, false, e));
}

static tn_status get(const char *path, tn_str *out, tn_err *e) {
    return tn_read_file(path, out, 0, e);
}

/* gzip of p, one member. */
static void gzip_add(tn_str *out, const char *p, size_t n) {
    unsigned char buf[70000];
    z_stream z = {0};
    CHECK(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)p;
    z.avail_in = (uInt)n;
    int r;
    do {
        z.next_out = buf;
        z.avail_out = sizeof buf;
        r = deflate(&z, Z_FINISH);
        tn_str_add(out, buf, sizeof buf - z.avail_out);
    } while (r == Z_OK);
    deflateEnd(&z);
}

TEST(base_os_read_write) {
    const char *dir = tn_test_dir(), *path = in_dir(dir, "a");
    tn_str s = TN_STR_INIT;
    put(path, "one\0two", 7);
    CHECK_OK(get(path, &s, e));
    CHECK(s.len == 7 && !memcmp(s.s, "one\0two", 7));
    put(path, "", 0);
    CHECK_OK(get(path, &s, e));
    CHECK(s.len == 0);
    put(path, "0123456789", 10);
    CHECK_FAIL(tn_read_file(path, &s, 9, e), TN_FORMAT, "larger than the 9 bytes");
    CHECK_OK(tn_read_file(path, &s, 10, e));
    CHECK_FAIL(get(in_dir(dir, "none"), &s, e), TN_IO, "cannot open");
    CHECK_FAIL(get(dir, &s, e), TN_IO, "Is a directory");
    CHECK_FAIL(tn_write_file(in_dir(dir, "no/such/folder"), "x", 1, e), TN_IO, "cannot create");
    CHECK_FAIL(tn_write_file(dir, "x", 1, e), TN_IO, "cannot rename");
    CHECK_OK(tn_copy_file(path, in_dir(dir, "b"), e));
    CHECK_OK(get(in_dir(dir, "b"), &s, e));
    CHECK(s.len == 10);
    char **names;
    size_t n;
    CHECK_OK(tn_list_dir(dir, &names, &n, e));
    CHECK(n == 2 && !strcmp(names[0], "a") && !strcmp(names[1], "b")); /* no temporary files left */
    while (n) tn_free(names[--n]);
    tn_free(names);
    tn_map m;
    CHECK_OK(tn_map_file(path, &m, e));
    CHECK(m.n == 10 && m.p[9] == '9');
    tn_unmap(&m);
    put(path, "", 0);
    CHECK_OK(tn_map_file(path, &m, e));
    CHECK(m.n == 0 && m.p == NULL);
    tn_unmap(&m);
    CHECK_FAIL(tn_map_file(dir, &m, e), TN_IO, "not a regular file");
    tn_str_free(&s);
}

TEST(base_os_writer) {
    const char *dir = tn_test_dir(), *path = in_dir(dir, "out");
    static char big[200000];
    tn_out *o;
    tn_str s = TN_STR_INIT;
    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)(i * 7 + i / 251);
    CHECK_OK(tn_out_open(&o, path, false, e));
    for (size_t at = 0, n = 1; at < sizeof big; at += n, n = n * 3 % 70001 + 1) {
        if (n > sizeof big - at) n = sizeof big - at;
        CHECK_OK(tn_out_write(o, big + at, n, e));
    }
    CHECK_OK(tn_out_close(o, TN_OK, true, e));
    CHECK_OK(tn_out_open(&o, path, true, e));
    CHECK_OK(tn_out_write(o, "tail", 4, e));
    CHECK_OK(tn_out_flush(o, false, e));
    CHECK_OK(tn_out_close(o, TN_OK, false, e));
    CHECK_OK(get(path, &s, e));
    CHECK(s.len == sizeof big + 4 && !memcmp(s.s, big, sizeof big) &&
          !memcmp(s.s + sizeof big, "tail", 4));
    /* until it is closed well, and after a failure, the old file is there and nothing else */
    for (int k = 0; k < 2; k++) {
        CHECK_OK(tn_out_open(&o, path, false, e));
        CHECK_OK(tn_out_write(o, big, sizeof big, e));
        CHECK_OK(tn_out_flush(o, true, e));
        CHECK_OK(get(path, &s, e));
        CHECK(s.len == sizeof big + 4);
        if (k) tn_fault_arm(1, ENOSPC); /* the close's rename is told of it */
        CHECK(tn_out_close(o, k ? TN_OK : TN_FORMAT, false, NULL) == (k ? TN_IO : TN_FORMAT));
        tn_fault_arm(0, 0);
        CHECK_OK(get(path, &s, e));
        CHECK(s.len == sizeof big + 4);
        char **names;
        size_t n;
        CHECK_OK(tn_list_dir(dir, &names, &n, e));
        CHECK(n == 1);
        while (n) tn_free(names[--n]);
        tn_free(names);
    }
    CHECK_FAIL(tn_out_open(&o, in_dir(dir, "no/folder"), false, e), TN_IO, "for writing");
    if (tn_exists("/dev/full")) {
        CHECK_OK(tn_out_open(&o, "/dev/full", false, e));
        CHECK_OK(tn_out_write(o, "x", 1, e));
        CHECK_FAIL(tn_out_close(o, TN_OK, false, e), TN_IO, "No space left");
    }
    CHECK_OK(tn_out_close(NULL, TN_OK, true, e));
    tn_str_free(&s);
}

/* Reads all lines and joins them with '|'. */
static tn_status join_lines(const char *path, size_t max, tn_str *out, tn_err *e) {
    tn_lines *r;
    const char *line;
    size_t len;
    tn_status st;
    tn_str_clear(out);
    TN_TRY(tn_lines_open(&r, path, max, e));
    while ((st = tn_lines_next(r, &line, &len, e)) == TN_OK && line) {
        tn_str_add(out, line, len);
        tn_str_addc(out, '|');
    }
    tn_lines_close(r);
    return st;
}

TEST(base_lines_plain) {
    const char *path = in_dir(tn_test_dir(), "l");
    tn_str s = TN_STR_INIT;
    static const struct { const char *text, *want;
    } cases[] = {
        {"", ""},          {"\n", "|"}, {"a", "a|"}, {"a\nb\n", "a|b|"}, {"a\r\nb\r\n\n", "a|b||"},
        {"\n\nx", "||x|"}, {"\r", "|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put(path, cases[i].text, strlen(cases[i].text));
        CHECK_OK(join_lines(path, 100, &s, e));
        CHECK_MSG(!strcmp(s.s, cases[i].want), "case %zu: '%s'", i, s.s);
    }
    /* a line may hold NUL bytes, and lines longer than the buffer */
    tn_str big = TN_STR_INIT;
    tn_str_add(&big, "a\0b\n", 4);
    for (int i = 0; i < 3000000; i++) tn_str_addc(&big, 'x');
    tn_str_addz(&big, "\nend");
    put(path, big.s, big.len);
    CHECK_OK(join_lines(path, 3000000, &s, e));
    CHECK(s.len == big.len + 1 && !memcmp(s.s, "a\0b|x", 5) &&
          !memcmp(s.s + s.len - 5, "|end|", 5));
    CHECK_FAIL(join_lines(path, 2999999, &s, e), TN_FORMAT, "l:2: line longer than 2999999 bytes");
    CHECK_FAIL(join_lines(in_dir(tn_test_dir(), "none"), 10, &s, e), TN_IO, "cannot open");
    tn_str_free(&s);
    tn_str_free(&big);
}

/* With their ends the lines are the file. */
TEST(base_lines_keep_ends) {
    static const char text[] = "a\r\n\n\rb\n\r\nend";
    const char *path = in_dir(tn_test_dir(), "l"), *line;
    tn_str s = TN_STR_INIT;
    tn_lines *r = NULL;
    size_t len;
    int n = 0;
    put(path, text, sizeof text - 1);
    CHECK_OK(tn_lines_open(&r, path, 0, e));
    tn_lines_keep_ends(r);
    while (tn_lines_next(r, &line, &len, NULL) == TN_OK && line) {
        CHECK(len > 0 && !memchr(line, '\n', len - 1));
        tn_str_add(&s, line, len);
        n++;
    }
    CHECK(n == 5 && tn_lines_number(r) == 5 && !strcmp(s.s, text));
    tn_lines_close(r);
    tn_str_free(&s);
}

TEST(base_lines_gzip) {
    const char *dir = tn_test_dir(), *path = in_dir(dir, "l.gz"), *odd = in_dir(dir, "no-suffix");
    tn_str text = TN_STR_INIT, want = TN_STR_INIT, gz = TN_STR_INIT, s = TN_STR_INIT;
    for (int i = 0; i < 30000; i++) {
        tn_str_addf(&text, "row %d\n", i * 7919);
        tn_str_addf(&want, "row %d|", i * 7919);
    }
    gzip_add(&gz, text.s, 100003);
    gzip_add(&gz, text.s + 100003, text.len - 100003); /* members may follow one another */
    put_quick(path, gz.s, gz.len);
    put(odd, gz.s, gz.len);
    CHECK_OK(join_lines(path, 100, &s, e));
    CHECK(s.len == want.len && !memcmp(s.s, want.s, s.len));
    CHECK_OK(join_lines(odd, 100, &s, e)); /* known by its magic */
    CHECK(s.len == want.len);
    CHECK_OK(get(path, &s, e));
    CHECK(s.len == text.len && !memcmp(s.s, text.s, s.len));
    CHECK_FAIL(tn_read_file(path, &s, 1000, e), TN_FORMAT, "larger than the 1000 bytes");
    tn_str small = TN_STR_INIT;
    gzip_add(&small, "one\ntwo\nthree\n", 14);
    for (size_t n = 2; n < small.len; n++) { /* every truncation is noticed */
        put_quick(path, small.s, n);
        CHECK_FAIL(join_lines(path, 100, &s, e), TN_FORMAT, "gzip data ends early");
    }
    tn_str zeros = TN_STR_INIT;
    tn_str_add(&zeros, small.s, small.len);
    tn_str_add(&zeros, "\0\0\0\0", 4);
    put_quick(path, zeros.s, zeros.len);
    CHECK_OK(join_lines(path, 100, &s, e));
    CHECK(!strcmp(s.s, "one|two|three|"));
    tn_str m = TN_STR_INIT;
    for (uint64_t i = 0; i < tn_fuzz_rounds(300); i++) {
        tn_err e = {0};
        tn_mutate(&m, small.s, small.len, gz.s, 500, i);
        put_quick(path, m.s, m.len);
        if (join_lines(path, 100, &s, &e) != TN_OK) CHECK(strstr(e.msg, "l.gz"));
    }
    tn_str_free(&m);
    tn_str_free(&zeros);
    tn_str_free(&small);
    tn_str_free(&text);
    tn_str_free(&want);
    tn_str_free(&gz);
    tn_str_free(&s);
}

TEST(base_os_folders) {
    const char *dir = tn_test_dir();
    CHECK_OK(tn_mkdirs(in_dir(dir, "a/b//c/"), e));
    CHECK_OK(tn_mkdirs(in_dir(dir, "a/b/c"), e));
    CHECK(tn_is_dir(in_dir(dir, "a/b/c")) && !tn_is_dir(in_dir(dir, "x")) && tn_exists(dir));
    put(in_dir(dir, "a/file"), "x", 1);
    CHECK_FAIL(tn_mkdirs(in_dir(dir, "a/file/d"), e), TN_IO, "cannot create folder");
    CHECK_FAIL(tn_mkdirs(in_dir(dir, "a/file"), e), TN_IO, "a file of that name is in the way");
    /* removing does not follow links */
    put(in_dir(dir, "keep"), "x", 1);
    CHECK(symlink("../../keep", in_dir(dir, "a/b/link")) == 0 &&
          symlink("..", in_dir(dir, "a/b/up")) == 0);
    CHECK_OK(tn_remove_tree(in_dir(dir, "a"), e));
    CHECK(!tn_exists(in_dir(dir, "a")) && tn_exists(in_dir(dir, "keep")));
    CHECK_OK(tn_remove_tree(in_dir(dir, "a"), e));
    tn_str p = TN_STR_INIT;
    tn_path_join(&p, "x/", "y");
    CHECK(!strcmp(p.s, "x/y"));
    tn_path_join(&p, "", "y");
    CHECK(!strcmp(p.s, "y"));
    tn_str_free(&p);
}

TEST(base_os_lock) {
    const char *dir = tn_test_dir();
    int fd, other;
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    CHECK_OK(tn_lock_dir(dir, &fd, e));
    CHECK_FAIL(tn_lock_dir(dir, &other, e), TN_STATE, pid);
    CHECK(other == -1);
    tn_unlock_dir(other);
    tn_unlock_dir(fd);
    CHECK_OK(tn_lock_dir(dir, &fd, e));
    tn_unlock_dir(fd);
    /* the lock of a process that was killed is free */
    int ready[2];
    CHECK(pipe(ready) == 0);
    pid_t child = fork();
    if (child == 0) {
        int f;
        char ok = tn_lock_dir(dir, &f, NULL) == TN_OK;
        (void)!write(ready[1], &ok, 1);
        for (;;) pause();
    }
    char ok = 0;
    CHECK(read(ready[0], &ok, 1) == 1 && ok == 1);
    CHECK_FAIL(tn_lock_dir(dir, &fd, e), TN_STATE, "in use by another run");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(ready[0]);
    close(ready[1]);
    CHECK_OK(tn_lock_dir(dir, &fd, e));
    tn_unlock_dir(fd);
    CHECK_FAIL(tn_lock_dir(in_dir(dir, "none"), &fd, e), TN_IO, "cannot create the lock");
}

TEST(base_os_hash) {
    uint8_t p[200];
    for (int i = 0; i < 200; i++) p[i] = (uint8_t)(i * 31 + 7);
    /* the checksums of saved manifests never change */
    CHECK(tn_hash64("", 0, 0) == 0xcde60c4df0ecb463ull);
    CHECK(tn_hash64(p, 200, 1) == 0x68b111b46a066955ull);
    uint64_t base = tn_hash64(p, 150, 9);
    CHECK(base != tn_hash64(p, 150, 10) && base != tn_hash64(p, 149, 9) &&
          base != tn_hash64(p, 151, 9));
    for (int i = 0; i < 150 * 8; i++) { /* every bit counts, and flips about half of the sum */
        p[i / 8] ^= (uint8_t)(1u << (i % 8));
        uint64_t h = tn_hash64(p, 150, 9);
        int flipped = __builtin_popcountll(h ^ base);
        CHECK_MSG(flipped > 8 && flipped < 56, "bit %d flips %d", i, flipped);
        p[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
}

/* The n-th wrapped call fails, for every n until the function no longer reaches it: the function
 * fails with a message (or the call did not matter), and the file is the old one or the new one. */
TEST(base_os_write_file_under_faults) {
    const char *dir = tn_test_dir(), *path = in_dir(dir, "f");
    static const int errors[] = {EIO, ENOSPC, ENOMEM};
    tn_str s = TN_STR_INIT;
    for (int k = 0; k < 3; k++) {
        long n = 1, failed = 0;
        for (;; n++) {
            tn_err err = {0};
            put_quick(path, "old", 3);
            tn_fault_arm(n, errors[k]);
            tn_status st = tn_write_file(path, "brand-new", 9, &err);
            bool fired = tn_fault_fired();
            tn_fault_arm(0, 0);
            failed += st != TN_OK;
            CHECK_MSG(st == TN_OK || strlen(err.msg) > 10, "call %ld: no message", n);
            CHECK_OK(get(path, &s, e));
            bool is_new = s.len == 9;
            CHECK(is_new ? !memcmp(s.s, "brand-new", 9) : s.len == 3 && !memcmp(s.s, "old", 3));
            CHECK_MSG(st != TN_OK || is_new, "call %ld: said ok, wrote nothing", n);
            if (!fired) break;
        }
        CHECK_MSG(failed >= 6 && n < 40, "%ld failures in %ld rounds", failed, n);
    }
    char **names;
    size_t count;
    CHECK_OK(tn_list_dir(dir, &names, &count, e));
    CHECK(count == 1); /* nothing left aside */
    while (count) tn_free(names[--count]);
    tn_free(names);
    tn_str_free(&s);
}

TEST(base_os_readers_under_faults) {
    const char *dir = tn_test_dir(), *plain = in_dir(dir, "p"), *gz = in_dir(dir, "g.gz");
    tn_str s = TN_STR_INIT, z = TN_STR_INIT;
    put(plain, "a\nb\n", 4);
    gzip_add(&z, "a\nb\n", 4);
    put(gz, z.s, z.len);
    for (int k = 0; k < 4; k++) {
        const char *path = k & 1 ? gz : plain;
        long n = 1, failed = 0;
        for (;; n++) {
            tn_err e = {0};
            tn_str_free(&s);
            tn_fault_arm(n, EIO);
            tn_status st = k < 2 ? join_lines(path, 10, &s, &e) : get(path, &s, &e);
            bool fired = tn_fault_fired();
            tn_fault_arm(0, 0);
            failed += st != TN_OK;
            CHECK_MSG(st != TN_OK ? strlen(e.msg) > 10
                                  : s.oom || !strcmp(s.s, k < 2 ? "a|b|" : "a\nb\n"),
                      "case %d, call %ld", k, n);
            if (!fired) break;
        }
        CHECK_MSG(failed >= 2 && n < 60, "case %d: %ld failures in %ld rounds", k, failed, n);
    }
    tn_str_free(&s);
    tn_str_free(&z);
}
