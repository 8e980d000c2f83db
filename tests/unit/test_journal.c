/* Journals: a process that dies at any byte is gone on with, and the file ends in the same bytes. */
#include "base/journal.h"
#include "test.h"
#include <stdlib.h>

enum { GROUPS = 4 };

static tn_status count(void *n, const char *note, tn_err *e) {
    *(int *)n += (int)strtol(note, NULL, 10);
    return *note == '!' ? tn_fail(e, TN_FORMAT, "bad note") : TN_OK;
}

/* Groups that are missing; group i has i rows. *sum: of the notes seen at opening. */
static tn_status work(const char *path, const char *what, bool overwrite, int *sum, tn_err *e) {
    tn_journal *j = NULL;
    tn_str rows = TN_STR_INIT;
    *sum = 0;
    tn_status st = tn_journal_open(&j, path, what, overwrite, count, sum, e);
    for (long i = st == TN_OK ? tn_journal_groups(j) : GROUPS; i < GROUPS && st == TN_OK; i++) {
        char note[24];
        tn_str_clear(&rows);
        for (long k = 0; k < i; k++) tn_str_addf(&rows, "{\"%ld\": %ld}\n", i, k);
        snprintf(note, sizeof note, "%ld", i);
        st = tn_journal_add(j, &rows, note, e);
        if (st == TN_OK) st = tn_journal_flush(j, e);
    }
    if (st == TN_OK) st = tn_journal_finish(j, e);
    tn_journal_close(j);
    tn_str_free(&rows);
    return st;
}

TEST(journal_goes_on_from_any_byte) {
    const char *dir = tn_test_dir();
    tn_str path = TN_STR_INIT, part = TN_STR_INIT, whole = TN_STR_INIT, got = TN_STR_INIT, grown = TN_STR_INIT;
    tn_journal *j = NULL;
    int sum;
    tn_path_join(&path, dir, "rows");
    tn_path_join(&part, dir, "rows.part");
    CHECK_OK(work(path.s, "one", false, &sum, e));
    CHECK(sum == 0 && !tn_exists(part.s));
    CHECK_OK(tn_read_file(path.s, &whole, 1 << 20, e));
    /* what it was just before the end */
    tn_str_addz(&grown, "# one\n");
    for (int i = 0; i < GROUPS; i++) {
        for (int k = 0; k < i; k++) tn_str_addf(&grown, "{\"%d\": %d}\n", i, k);
        tn_str_addf(&grown, "# %d\n", i);
    }
    for (size_t n = 0; n <= grown.len; n++) {
        int seen = 0;
        for (size_t i = 6; i < n; i++)
            seen += grown.s[i] == '\n' && grown.s[i - 2] == ' ' && grown.s[i - 3] == '#' ? grown.s[i - 1] - '0' : 0;
        CHECK_OK(tn_remove_tree(path.s, e));
        CHECK_OK(tn_write_file(part.s, grown.s, n, e));
        CHECK_OK(work(path.s, "one", false, &sum, e));
        CHECK_MSG(sum == seen, "%zu bytes: notes add up to %d, expected %d", n, sum, seen);
        CHECK_OK(tn_read_file(path.s, &got, 1 << 20, e));
        CHECK_MSG(got.len == whole.len && memcmp(got.s, whole.s, got.len) == 0, "%zu bytes", n);
    }
    /* what is complete, and what belongs to something else */
    CHECK_FAIL(work(path.s, "one", false, &sum, e), TN_STATE, "--overwrite");
    CHECK_OK(tn_remove_tree(path.s, e));
    CHECK_OK(tn_write_file(part.s, grown.s, grown.len - 12, e));
    CHECK_FAIL(work(path.s, "two", false, &sum, e), TN_STATE, "other options");
    CHECK_FAIL(work(path.s, "on", false, &sum, e), TN_STATE, "other options");
    CHECK_OK(work(path.s, "two", true, &sum, e));
    CHECK(sum == 0);
    CHECK_OK(tn_read_file(path.s, &got, 1 << 20, e));
    CHECK(got.len == whole.len);
    CHECK_OK(tn_remove_tree(path.s, e));
    CHECK_OK(tn_write_file(part.s, "# one\n# !\n", 10, e));
    CHECK_FAIL(tn_journal_open(&j, path.s, "one", false, count, &sum, e), TN_FORMAT, "bad note");
    tn_journal_close(j);
    tn_str_free(&path), tn_str_free(&part), tn_str_free(&whole), tn_str_free(&got), tn_str_free(&grown);
}

/* A second writer is refused for as long as the first one has the file, and the lock goes with it. */
TEST(journal_one_at_a_time) {
    const char *dir = tn_test_dir();
    tn_str path = TN_STR_INIT, lock = TN_STR_INIT;
    tn_journal *a = NULL, *b = NULL;
    int sum = 0, fd, other;
    tn_path_join(&path, dir, "rows");
    tn_path_join(&lock, dir, "rows.lock");
    CHECK_OK(tn_journal_open(&a, path.s, "one", false, count, &sum, e));
    CHECK_FAIL(tn_journal_open(&b, path.s, "one", true, count, &sum, e), TN_STATE, "in use by another run");
    tn_journal_close(b);
    CHECK(tn_exists(lock.s)); /* the refused one has taken nothing away */
    tn_journal_close(a);
    CHECK(!tn_exists(lock.s));
    CHECK_OK(work(path.s, "one", false, &sum, e));
    CHECK(!tn_exists(lock.s));
    CHECK_OK(tn_lock_file(path.s, &fd, e));
    CHECK_FAIL(tn_lock_file(path.s, &other, e), TN_STATE, "in use");
    CHECK(other == -1);
    tn_unlock_file(path.s, fd);
    CHECK_OK(tn_lock_file(path.s, &fd, e));
    tn_unlock_file(path.s, fd);
    tn_str_free(&path);
    tn_str_free(&lock);
}
