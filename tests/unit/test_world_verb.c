/* tenet world: options, sets and errors, through the verb itself. */
#include "cmd/verbs.h"
#include "test.h"

static tn_status run(int argc, const char **argv, tn_err *e) {
    char *words[16];
    tn_opts *o = NULL;
    bool help = false;
    for (int i = 0; i < argc; i++) words[i] = (char *)argv[i];
    tn_status st = tn_opts_parse(&tn_verb_world, argc, words, &o, &help, e);
    if (st == TN_OK) st = tn_verb_world.run(o, e);
    tn_opts_free(o);
    return st;
}
#define RUN(...)                                                                                   \
    run((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)),                             \
        (const char *[]){__VA_ARGS__}, e)

static bool same_files(const char *a, const char *b) {
    tn_str s = TN_STR_INIT, t = TN_STR_INIT;
    CHECK_OK(tn_read_file(a, &s, 1 << 24, e));
    CHECK_OK(tn_read_file(b, &t, 1 << 24, e));
    bool same = s.len == t.len && !memcmp(s.s, t.s, s.len);
    tn_str_free(&s);
    tn_str_free(&t);
    return same;
}

TEST(world_verb_sets) {
    char out[512], part[512];
    const char *dir = tn_test_dir();
    snprintf(out, sizeof out, "%s/out.jsonl", dir);
    snprintf(part, sizeof part, "%s/part.jsonl", dir);
    CHECK_OK(RUN("eval", "--count", "64", "--out", out));
    CHECK(same_files(out, tn_test_file("golden/world/eval.jsonl")));
    CHECK_OK(RUN("sft", "--seed", "1", "--count", "96", "--out", out));
    CHECK(same_files(out, tn_test_file("golden/world/sft_seed1.jsonl")));
    CHECK_OK(RUN("text", "--count", "80", "--out", out));
    CHECK(same_files(out, tn_test_file("golden/world/text_seed1.jsonl")));
    CHECK_OK(RUN("prompts-rl", "--count", "0", "--out", out));

    /* Rows 5 and 6 made alone are the last lines of seven. */
    tn_str s = TN_STR_INIT, t = TN_STR_INIT;
    CHECK_OK(RUN("prompts-rl", "--count", "7", "--seed", "9", "--oracle", "--out", out));
    CHECK_OK(RUN("prompts-rl", "--first", "5", "--count", "2", "--seed", "9", "--oracle", "--out",
                 part));
    CHECK_OK(tn_read_file(out, &s, 1 << 20, e));
    CHECK_OK(tn_read_file(part, &t, 1 << 20, e));
    CHECK(t.len > 200 && s.len > t.len && !strcmp(s.s + s.len - t.len, t.s));
    tn_str_free(&s);
    tn_str_free(&t);
}

TEST(world_verb_mix) {
    char helpful[512], sft[512];
    const char *dir = tn_test_dir();
    snprintf(helpful, sizeof helpful, "%s/helpful.jsonl", dir);
    snprintf(sft, sizeof sft, "%s/sft.jsonl", dir);
    CHECK_OK(RUN("sft", "--count", "96", "--mix", "helpful", "--out", helpful));
    CHECK_OK(RUN("sft", "--count", "96", "--mix", "sft", "--out", sft));
    CHECK(!same_files(helpful, sft));
    CHECK(same_files(sft, tn_test_file("golden/world/sft_seed1.jsonl")));
}

TEST(world_verb_errors) {
    CHECK_FAIL(RUN("evil"), TN_ARG, "eval");
    CHECK_FAIL(RUN("judge"), TN_ARG, "--input");
    CHECK_FAIL(RUN("rank"), TN_ARG, "--input");
    CHECK_FAIL(RUN("rank", "--input", "x", "--annotator", "careful,"), TN_ARG,
               "careful, biased, lenient and exact");
    CHECK_FAIL(RUN("tokenizer"), TN_ARG, "--out");
    CHECK_FAIL(RUN("config", "--out", tn_test_dir(), "--heads", "5"), TN_ARG, "5 heads");
    CHECK_FAIL(RUN("eval", "--count", "-1"), TN_ARG, "count");
    CHECK_FAIL(RUN("eval", "--out", "/nowhere/x.jsonl"), TN_IO, "/nowhere/x.jsonl");
}
