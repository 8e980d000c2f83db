/* Tokenizer training against the merges of the `tokenizers` library, and its own invariants. */
#include "base/signals.h"
#include "fuzz/mutate.h"
#include "test.h"
#include "text/bpe_train.h"

typedef struct trained {
    json_t *model;
    tn_bpe_report report;
    tn_status st;
    tn_err e;
} trained;

static tn_tokenizer *cutter(const char *pre, bool nfc, tn_err *e) {
    json_t *file = NULL;
    tn_tokenizer *t = NULL;
    if (tn_bpe_json(&file, NULL, pre, nfc, NULL, 0, e) == TN_OK)
        tn_tokenizer_from_json(&t, file, NULL, NULL, "test", e);
    json_decref(file);
    return t;
}

static trained train(const json_t *texts, const char *pre, const tn_bpe_options *o, int threads) {
    trained r = {0};
    tn_pool *pool = NULL;
    tn_bpe_counts *c = NULL;
    size_t i;
    json_t *s;
    tn_tokenizer *t = cutter(pre, !strcmp(pre, "qwen2"), &r.e);
    r.st = t ? tn_pool_new(&pool, threads, &r.e) : r.e.code;
    if (r.st == TN_OK) r.st = tn_bpe_counts_new(&c, t, pool, &r.e);
    json_array_foreach(texts, i, s) if (r.st == TN_OK) r.st =
        tn_bpe_counts_add(c, json_string_value(s), json_string_length(s), "text", &r.e);
    if (r.st == TN_OK) r.st = tn_bpe_counts_finish(c, &r.e);
    if (r.st == TN_OK) r.st = tn_bpe_train(&r.model, c, o, &r.report, &r.e);
    tn_bpe_counts_free(c);
    tn_pool_free(pool);
    tn_tokenizer_free(t);
    return r;
}

static tn_bpe_options options_of(const json_t *c, const char **special) {
    const json_t *list = json_object_get(c, "special");
    tn_bpe_options o = {
        .vocab_size = (int)json_integer_value(json_object_get(c, "vocab_size")),
        .min_frequency = json_integer_value(json_object_get(c, "min_frequency")),
        .special = special,
        .n_special = (int)json_array_size(list)};
    for (int i = 0; i < o.n_special; i++)
        special[i] = json_string_value(json_array_get(list, (size_t)i));
    return o;
}

static bool is_merge(const json_t *pair, const char *want) {
    char text[256];
    snprintf(text, sizeof text, "%s %s", json_string_value(json_array_get(pair, 0)),
             json_string_value(json_array_get(pair, 1)));
    return !strcmp(text, want);
}

TEST(bpe_train_merges_of_the_library) {
    json_t *g = tn_golden("text/bpe_train.json"), *texts = json_object_get(g, "texts"), *c;
    size_t k, i;
    json_array_foreach(json_object_get(g, "cases"), k, c) {
        const char *special[8], *pre = json_string_value(json_object_get(c, "pre"));
        tn_bpe_options o = options_of(c, special);
        trained r = train(texts, pre, &o, 3);
        CHECK_MSG(r.st == TN_OK, "%s: %s", pre, r.e.msg);
        json_t *want = json_object_get(c, "merges"), *vocab = json_object_get(r.model, "vocab"), *m;
        json_array_foreach(json_object_get(r.model, "merges"), i, m) {
            const char *w = json_string_value(json_array_get(want, i));
            CHECK_MSG(w && is_merge(m, w), "%s: merge %zu is not '%s'", pre, i, w ? w : "none");
        }
        CHECK(i == json_array_size(want) && i == (size_t)r.report.merges);
        CHECK(json_object_size(vocab) == (size_t)json_integer_value(json_object_get(c, "tokens")));
        json_array_foreach(json_object_get(c, "first"), i, m) CHECK(
            json_integer_value(json_object_get(vocab, json_string_value(m))) == (json_int_t)i);
        const json_t *last = json_object_get(vocab, json_string_value(json_object_get(c, "last")));
        CHECK(json_integer_value(last) == (json_int_t)json_object_size(vocab) - 1);
        json_decref(r.model);
    }
    json_decref(g);
}

/* Any order of the texts, any number of threads: the same file. */
TEST(bpe_train_threads_and_order) {
    json_t *g = tn_golden("text/bpe_train.json"), *texts = json_object_get(g, "texts"),
           *many = json_array();
    tn_bpe_options o = {.vocab_size = 900};
    size_t n = json_array_size(texts);
    for (size_t i = 0; i < n; i++) json_array_append(many, json_array_get(texts, (i * 7 + 3) % n));
    CHECK(n % 7 != 0);
    trained a = train(texts, "llama3", &o, 1), b = train(many, "llama3", &o, 4);
    CHECK(a.st == TN_OK && b.st == TN_OK && json_equal(a.model, b.model));
    CHECK(a.report.encoded == b.report.encoded && a.report.tokens == 900);
    json_decref(a.model);
    json_decref(b.model);
    json_decref(many);
    json_decref(g);
}

/* What was trained can be loaded; it encodes its texts in as many tokens as training counted, and
 * every text comes back. */
TEST(bpe_train_round_trip) {
    json_t *g = tn_golden("text/bpe_train.json"), *texts = json_object_get(g, "texts"),
           *file = NULL, *s;
    static const char *const special[] = {"<|end|>"};
    tn_bpe_options o = {.vocab_size = 700, .special = special, .n_special = 1};
    trained r = train(texts, "gpt2", &o, 2);
    tn_tokenizer *t = NULL;
    size_t i;
    int64_t tokens = 0;
    CHECK_OK(tn_bpe_json(&file, r.model, "gpt2", false, special, 1, e));
    CHECK_OK(tn_tokenizer_from_json(&t, file, NULL, NULL, "trained", e));
    if (!t) return;
    CHECK(tn_tokenizer_vocab(t) == 700 && tn_tokenizer_id(t, "<|end|>") == 0 &&
          tn_token_special(t, 0));
    json_array_foreach(texts, i, s) {
        tn_ids ids = {0};
        tn_str back = TN_STR_INIT;
        CHECK_OK(tn_encode(t, json_string_value(s), json_string_length(s), false, &ids, NULL, e));
        CHECK_OK(tn_decode(t, ids.v, ids.n, false, &back, e));
        CHECK(back.len == json_string_length(s) && !memcmp(back.s, json_string_value(s), back.len));
        tokens += (int64_t)ids.n;
        tn_ids_free(&ids);
        tn_str_free(&back);
    }
    CHECK_MSG(tokens == r.report.encoded, "%lld tokens, training counted %lld", (long long)tokens,
              (long long)r.report.encoded);
    tn_tokenizer_free(t);
    json_decref(file);
    json_decref(r.model);
    json_decref(g);
}

TEST(bpe_train_refusals) {
    json_t *texts = json_pack("[s]", "some text"), *file;
    static const char *const special[] = {"<s>", "a"};
    tn_bpe_options o = {.vocab_size = 256, .special = special, .n_special = 2};
    trained r = train(texts, "gpt2", &o, 1);
    CHECK(r.st == TN_ARG && strstr(r.e.msg, "256 bytes and the special tokens are 257"));
    o.vocab_size = 257; /* "a" is a byte, too */
    r = train(texts, "gpt2", &o, 1);
    CHECK(r.st == TN_OK && r.report.merges == 0 && r.report.tokens == 257);
    json_decref(r.model);
    o = (tn_bpe_options){.vocab_size = 1000};
    r = train(texts, "gpt2", &o, 1); /* all there is: "some", " text" */
    CHECK(r.st == TN_OK && r.report.merges == 3 + 4 && r.report.encoded == 2);
    json_decref(r.model);
    tn_request_stop();
    r = train(texts, "gpt2", &o, 1);
    tn_clear_stop();
    CHECK(r.st == TN_INTERRUPTED && !r.model);
    json_decref(texts);
    texts = json_array();
    r = train(texts, "gpt2", &o, 1);
    CHECK(r.st == TN_OK && r.report.merges == 0);
    json_decref(r.model);
    json_decref(texts);
    CHECK_FAIL(tn_bpe_json(&file, NULL, "gtp2", false, NULL, 0, e), TN_ARG, "did you mean 'gpt2'?");
    tn_err why = {0};
    CHECK(!cutter("a(b", false, &why) && why.code != TN_OK && strstr(why.msg, "test"));
    tn_pool *pool = NULL;
    tn_bpe_counts *c = NULL;
    tn_tokenizer *t = cutter("gpt2", false, &why);
    CHECK_OK(tn_pool_new(&pool, 2, e));
    CHECK_OK(tn_bpe_counts_new(&c, t, pool, e));
    CHECK_FAIL(tn_bpe_counts_add(c, "a\xC3", 2, "f.txt:7", e), TN_FORMAT,
               "f.txt:7: not valid UTF-8");
    tn_bpe_counts_free(c);
    tn_tokenizer_free(t);
    tn_pool_free(pool);
}

/* Damaged and hostile texts and patterns: an error with a name, or a tokenizer that loads. */
TEST(bpe_train_survives_mutation) {
    static const char text[] =
        "The t\xC3\xA9xt, 12 'll  \xE6\x97\xA5\xE6\x9C\xAC\n\ttab aaaa abab\r\n",
                      pattern[] = "(?i:'s|'t)|[^\\r\\n\\p{L}]?\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s+";
    tn_str s = TN_STR_INIT, p = TN_STR_INIT;
    for (uint64_t i = 0; i < tn_fuzz_rounds(60); i++) {
        tn_mutate(&s, text, sizeof text - 1, "\xF0\x9F\x98\x80 \xFF", 7, i);
        tn_mutate(&p, pattern, sizeof pattern - 1, "(*+?)[^]\\p{3,}|", 15, i / 2);
        json_t *texts = json_array();
        json_array_append_new(texts, json_stringn_nocheck(s.s, s.len));
        tn_bpe_options o = {.vocab_size = 256 + (int)(i % 40)};
        trained r = train(texts, i % 2 ? p.s : "llama3", &o, 1 + (int)(i % 3));
        CHECK((r.st == TN_OK) == (r.model != NULL) && (r.st == TN_OK || r.e.msg[0]));
        json_decref(r.model);
        json_decref(texts);
    }
    tn_str_free(&s);
    tn_str_free(&p);
}
