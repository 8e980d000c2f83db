/* The verbs convert and inspect, run in this process. */
#include "base/log.h"
#include "cmd/verbs.h"
#include "model/model.h"
#include "model/safetensors.h"
#include "test.h"
#include <errno.h>
#include <unistd.h>

static tn_status run(const char *verb, char **argv, tn_err *e) {
    int n = 0;
    bool help = false;
    tn_opts *o = NULL;
    const tn_verb *v = tn_verb_find(verb);
    while (argv[n]) n++;
    tn_status st = tn_opts_parse(v, n, argv, &o, &help, e);
    if (st == TN_OK) st = v->run(o, e);
    tn_opts_free(o);
    return st;
}
#define RUN(verb, ...) run(verb, (char *[]){__VA_ARGS__, NULL}, e)

static char root[500]; /* a folder of each test */
static void begin(void) {
    snprintf(root, sizeof root, "%s", tn_test_dir());
    tn_log_set_level(TN_LOG_WARN);
}

/* What inspect writes to standard output. */
static void inspect(char *path, tn_str *out) {
    char file[600];
    snprintf(file, sizeof file, "%s/stdout", root);
    fflush(stdout);
    int keep = dup(1);
    FILE *f = fopen(file, "wb");
    if (!f || keep < 0) tn_skip("standard output cannot be redirected");
    dup2(fileno(f), 1);
    tn_err err = {0};
    tn_status st = run("inspect", (char *[]){path, "--tensors", NULL}, &err);
    fflush(stdout);
    dup2(keep, 1);
    close(keep);
    fclose(f);
    CHECK_MSG(st == TN_OK, "%s", err.msg);
    CHECK_OK(tn_read_file(file, out, 1 << 20, e));
}

static char *at(const char *name) {
    static char path[4][600];
    static int k;
    k = (k + 1) % 4;
    snprintf(path[k], sizeof path[k], "%s/%s", root, name);
    return path[k];
}
static char *golden(const char *name) {
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", tn_test_file("golden"), name);
    return path;
}

static bool same_file(const char *a, const char *b) {
    tn_str x = TN_STR_INIT, y = TN_STR_INIT;
    CHECK_OK(tn_read_file(a, &x, 1 << 20, e));
    CHECK_OK(tn_read_file(b, &y, 1 << 20, e));
    bool same = x.len == y.len && !memcmp(x.s, y.s, x.len);
    tn_str_free(&x);
    tn_str_free(&y);
    return same;
}

TEST(convert_gguf_and_archive_agree) {
    begin();
    CHECK_OK(RUN("convert", golden("tiny.gguf"), at("a")));
    CHECK_OK(RUN("convert", golden("tiny.whl"), at("b")));
    static const char *const files[] = {"model.safetensors",   "config.json",
                                        "tokenizer.json",      "tokenizer_config.json",
                                        "chat_template.jinja", "generation_config.json"};
    for (size_t i = 0; i < 6; i++) {
        char a[64], b[64];
        snprintf(a, sizeof a, "a/%s", files[i]);
        snprintf(b, sizeof b, "b/%s", files[i]);
        CHECK_MSG(same_file(at(a), at(b)), "%s differs", files[i]);
    }
    CHECK_OK(
        RUN("convert", golden("tiny.gguf"), at("c"), "--no-tokenizer", "--max-shard-size", "20KB"));
    CHECK(!tn_exists(at("c/tokenizer.json")) && tn_exists(at("c/model.safetensors.index.json")));
    CHECK(!tn_exists(at("a.tmp")));
}

TEST(convert_folders) {
    begin();
    tn_st *s = NULL, *t = NULL;
    CHECK_OK(RUN("convert", golden("models/llama"), at("one"), "--dtype", "float32"));
    CHECK_OK(RUN("convert", at("one"), at("two"), "--dtype", "bfloat16", "--max-shard-size=5KB"));
    CHECK_OK(RUN("convert", golden("models/llama"), at("same")));
    CHECK(!tn_exists(at("one/model.safetensors.index.json")) &&
          tn_exists(at("one/generation_config.json")));
    CHECK_OK(tn_st_open(&s, at("two"), e));
    CHECK_OK(tn_st_open(&t, golden("models/llama"), e));
    /* the checkpoint is bfloat16: there and back changes nothing */
    CHECK(tn_st_count(s) == tn_st_count(t));
    for (size_t i = 0; s && t && i < tn_st_count(s); i++) {
        const tn_st_entry *x = tn_st_at(s, i), *y = tn_st_at(t, i);
        CHECK(x->dtype == TN_ST_BF16 && x->bytes == y->bytes &&
              !memcmp(x->data, y->data, x->bytes));
    }
    tn_st_close(s);
    tn_st_close(t);
    CHECK_OK(tn_st_open(&s, at("same"), e));
    CHECK(tn_st_at(s, 0)->dtype == TN_ST_BF16); /* auto keeps it */
    tn_st_close(s);
}

TEST(convert_protects_what_is_there) {
    begin();
    CHECK_FAIL(RUN("convert", golden("tiny.gguf")), TN_ARG, "SOURCE DIR");
    CHECK_FAIL(RUN("convert", "/nonexistent", at("x")), TN_IO, "nonexistent");
    CHECK_FAIL(RUN("convert", golden("tiny.gguf"), at("x"), "--max-shard-size", "5 parsecs"),
               TN_ARG, "5GB");
    CHECK_FAIL(RUN("convert", golden("desc.json"), at("x")), TN_FORMAT, "GGUF");
    CHECK(!tn_exists(at("x")) && !tn_exists(at("x.tmp")));
    CHECK_OK(tn_mkdirs(at("full"), e));
    CHECK_OK(tn_write_file(at("full/letter.txt"), "x", 1, e));
    CHECK_FAIL(RUN("convert", golden("tiny.gguf"), at("full")), TN_ARG, "not empty");
    CHECK_FAIL(RUN("convert", golden("tiny.gguf"), at("full"), "--overwrite"), TN_ARG,
               "holds no model");
    CHECK(tn_exists(at("full/letter.txt")));
    CHECK_OK(RUN("convert", golden("tiny.gguf"), at("m")));
    CHECK_FAIL(RUN("convert", golden("tiny.gguf"), at("m")), TN_ARG, "--overwrite");
    CHECK_OK(RUN("convert", golden("tiny.gguf"), at("m"), "--overwrite", "--dtype", "bfloat16"));
    CHECK_FAIL(RUN("convert", golden("tiny.gguf"), at("m/config.json")), TN_ARG, "no folder");
}

TEST(inspect_describes) {
    begin();
    tn_str s = TN_STR_INIT;
    const struct {
        const char *path, *says[4];
    } cases[] = {
        {"models/llama",
         {"llama, language model", "5 heads of 6 (1 for keys", "rope llama3", "BF16"}},
        {"models/mistral-score",
         {"a reward model", "score head", "window 4 in 2 of 2", "score.weight"}},
        {"models/qwen2", {"tied head", "biases on q k v", "window 5 in 1 of 2", "F16"}},
        {"models/qwen3/model.safetensors",
         {"safetensors", "model.layers.1.self_attn.q_norm.weight", "[28, 20]", "BF16"}},
        {"tiny.gguf",
         {"GGUF", "split as smollm, with a chat template", "Q4_1", "blk.0.attn_q.weight"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        inspect(golden(cases[i].path), &s);
        for (int k = 0; k < 4; k++)
            CHECK_MSG(strstr(s.s, cases[i].says[k]) != NULL, "%s: lacks '%s': %s", cases[i].path,
                      cases[i].says[k], s.s);
    }
    tn_str_free(&s);
    CHECK_FAIL(RUN("inspect", at("none")), TN_IO, "none");
    CHECK_FAIL(RUN("inspect", golden("desc.json")), TN_FORMAT, "safetensors");
    CHECK_FAIL(RUN("inspect", root), TN_IO, "config.json");
}

/* Whatever fails, the folder is either absent or complete. */
TEST(convert_faults_leave_nothing_half) {
    begin();
    bool fired = true;
    long n = 1;
    for (; fired && n < 4000; n += 1 + n / 16) {
        tn_err err = {0};
        CHECK_OK(tn_remove_tree(at("f"), e));
        tn_fault_arm(n, ENOSPC);
        tn_status st = run("convert", (char *[]){golden("tiny.gguf"), at("f"), NULL}, &err);
        fired = tn_fault_fired();
        tn_fault_arm(0, 0);
        CHECK_MSG(st == TN_OK || err.msg[0], "call %ld: an error without a message", n);
        CHECK_MSG(fired || st == TN_OK, "call %ld: %s", n, err.msg);
        bool whole = tn_exists(at("f/config.json")) && tn_exists(at("f/model.safetensors")) &&
                     tn_exists(at("f/tokenizer.json")) && tn_exists(at("f/chat_template.jinja"));
        CHECK_MSG(tn_exists(at("f")) == whole, "call %ld: half a folder", n);
        CHECK_MSG(st != TN_OK || whole, "call %ld: done, but not there", n);
    }
    CHECK_MSG(n > 20 && !fired, "%ld calls", n);
}
