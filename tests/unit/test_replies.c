/* Kept replies: found again, in the same bytes after a crash, refused when they are something else. */
#include "base/os.h"
#include "oversight/replies.h"
#include "test.h"

static const char *path_of(const char *name) {
    static char path[512], dir[400];
    if (!*dir) snprintf(dir, sizeof dir, "%s", tn_test_dir());
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}
static tn_reply_key key_of(int i) { return tn_reply_key_add((tn_reply_key){0}, &i, sizeof i); }
static void add(tn_replies *r, int i) {
    json_t *asked = json_pack("{s:i}", "q", i), *reply = json_pack("{s:i,s:s}", "n", i, "text", "an\nswer");
    CHECK_OK(tn_replies_add(r, key_of(i), asked, reply, e));
    json_decref(asked);
    json_decref(reply);
}
static int found(const tn_replies *r, int i) {
    const json_t *j = tn_replies_find(r, key_of(i));
    return j ? (int)json_integer_value(json_object_get(j, "n")) : -1;
}

enum { N = 3000 };
TEST(replies_are_kept) {
    tn_replies *r = NULL;
    CHECK_OK(tn_replies_open(&r, path_of("kept.jsonl"), e));
    CHECK(tn_replies_count(r) == 0 && found(r, 3) == -1);
    for (int i = 0; i < N; i++) {
        add(r, i);
        if (i % 100 == 99) CHECK_OK(tn_replies_commit(r, e));
    }
    for (int i = 0; i < N; i++) CHECK(found(r, i) == i);
    CHECK(found(r, N) == -1);
    tn_replies_close(r);
    CHECK_OK(tn_replies_open(&r, path_of("kept.jsonl"), e));
    CHECK(tn_replies_count(r) == N && found(r, 0) == 0 && found(r, N - 1) == N - 1 && found(r, N) == -1);
    tn_replies_close(r);
}

/* A crash within a line: what was whole is there, the rest is gone, and adding it again gives the file that was meant. */
TEST(replies_after_a_crash) {
    tn_str whole = TN_STR_INIT, again = TN_STR_INIT;
    tn_replies *r = NULL;
    CHECK_OK(tn_replies_open(&r, path_of("cut.jsonl"), e));
    for (int i = 0; i < 3; i++) add(r, i);
    CHECK_OK(tn_replies_commit(r, e));
    tn_replies_close(r);
    CHECK_OK(tn_read_file(path_of("cut.jsonl"), &whole, 1 << 20, e));
    for (size_t cut = 0; cut <= whole.len; cut += 7) {
        CHECK_OK(tn_write_file(path_of("cut.jsonl"), whole.s, cut, e));
        CHECK_OK(tn_replies_open(&r, path_of("cut.jsonl"), e));
        for (int i = (int)tn_replies_count(r); i < 3; i++) add(r, i);
        CHECK_OK(tn_replies_commit(r, e));
        tn_replies_close(r);
        CHECK_OK(tn_read_file(path_of("cut.jsonl"), &again, 1 << 20, e));
        CHECK_MSG(again.len == whole.len && !memcmp(again.s, whole.s, whole.len), "cut at %zu of %zu", cut, whole.len);
    }
    tn_str_free(&whole);
    tn_str_free(&again);
}

TEST(replies_refusals) {
    static const struct { const char *text, *why; } bad[] = {
        {"{\"key\": \"00112233445566778899aabbccddeeff\"}\n", "bad.jsonl:1: expected {\"key\""},
        {"{\"key\": \"0011\", \"reply\": 1}\n", "bad.jsonl:1"}, {"{\"key\": \"00112233445566778899AABBCCDDEEFF\", \"reply\": 1}\n", "bad.jsonl:1"},
        {"{\"key\": 7, \"reply\": 1}\n", "bad.jsonl:1"}, {"nonsense\n", "bad.jsonl"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tn_replies *r = NULL;
        CHECK_OK(tn_write_file(path_of("bad.jsonl"), bad[i].text, strlen(bad[i].text), e));
        CHECK_FAIL(tn_replies_open(&r, path_of("bad.jsonl"), e), TN_FORMAT, bad[i].why);
        CHECK(r == NULL);
    }
    tn_reply_key a = tn_reply_key_add(tn_reply_key_add((tn_reply_key){0}, "ab", 2), "c", 1), b = tn_reply_key_add(tn_reply_key_add((tn_reply_key){0}, "a", 1), "bc", 2);
    CHECK(a.a != b.a && a.b != b.b && a.a != a.b);
}
