/* Every tokenizer component against the ids and texts of the `tokenizers` library. */
#include "test.h"
#include "base/log.h"
#include "fuzz/mutate.h"
#include "text/text.h"
#include <pthread.h>

static const char *const names[] = {"bytenorm",
                                    "byte_gap",
                                    "deepseek",
                                    "falcon",
                                    "gpt2",
                                    "llama2",
                                    "llama2_norm",
                                    "llama3",
                                    "metaspace_always",
                                    "metaspace_first",
                                    "metaspace_never",
                                    "norm_nfd",
                                    "norm_nfkc",
                                    "norm_nfkd",
                                    "norm_regex",
                                    "o200k",
                                    "pre_digits",
                                    "pre_empty_match",
                                    "pre_punct_isolated",
                                    "pre_punct_next",
                                    "pre_punct_previous",
                                    "pre_punct_removed",
                                    "pre_regex_contiguous",
                                    "pre_regex_invert",
                                    "pre_sequence",
                                    "pre_string_next",
                                    "pre_string_previous",
                                    "qwen2",
                                    "roberta",
                                    "smollm",
                                    "unk_each",
                                    "unk_fused",
                                    "unk_none",
                                    "words",
                                    "world"};
enum { N_NAMES = sizeof names / sizeof *names };

/* The golden file of a tokenizer; one that names a base holds only what differs from it. */
static json_t *golden(const char *name) {
    char file[64];
    snprintf(file, sizeof file, "text/tok_%s.json", name);
    json_t *g = tn_golden(file);
    const char *base = json_string_value(json_object_get(g, "base"));
    if (!base) return g;
    json_t *b = golden(base), *t = json_deep_copy(json_object_get(b, "tokenizer"));
    json_object_update(t, json_object_get(g, "tokenizer"));
    json_object_set_new(g, "tokenizer", t);
    json_decref(b);
    return g;
}

static tn_tokenizer *load(const json_t *g, const char *name) {
    tn_tokenizer *t = NULL;
    CHECK_OK(tn_tokenizer_from_json(&t, json_object_get(g, "tokenizer"), NULL, NULL, name, e));
    return t;
}

static bool same_ids(const tn_ids *got, const json_t *want) {
    bool same = got->n == json_array_size(want);
    for (size_t k = 0; k < got->n && same; k++)
        same = got->v[k] == json_integer_value(json_array_get(want, k));
    return same;
}

static void check_text(const tn_tokenizer *t, const tn_ids *ids, bool skip, const json_t *want,
                       const char *name, size_t k) {
    tn_str s = TN_STR_INIT;
    if (!json_is_string(want)) return; /* the library gives none */
    CHECK_OK(tn_decode(t, ids->v, ids->n, skip, &s, e));
    CHECK_MSG(s.len == json_string_length(want) &&
                  !memcmp(s.s ? s.s : "", json_string_value(want), s.len),
              "%s: text of string %zu (skip %d) is \"%s\", expected \"%s\"", name, k, skip,
              s.s ? s.s : "", json_string_value(want));
    tn_str_free(&s);
}

static void check_tokenizer(const char *name, const json_t *corpus) {
    json_t *g = golden(name), *cases = json_object_get(g, "cases");
    tn_tokenizer *t = load(g, name);
    size_t done = 0;
    for (size_t k = 0; t && k < json_array_size(corpus); k++) {
        const json_t *one = json_array_get(cases, k), *s = json_array_get(corpus, k);
        if (!json_is_array(one)) continue;
        tn_ids ids = {0}, again = {0};
        tn_spans at = {0};
        size_t n = json_string_length(s);
        CHECK_OK(tn_encode(t, json_string_value(s), n, true, &ids, NULL, e));
        CHECK_OK(
            tn_encode(t, json_string_value(s), n, true, &again, &at, e)); /* cached, with places */
        CHECK_MSG(same_ids(&ids, json_array_get(one, 0)), "%s: ids of string %zu: %s", name, k,
                  json_string_value(s));
        CHECK(again.n == ids.n && at.n == ids.n &&
              (ids.n == 0 || !memcmp(ids.v, again.v, ids.n * sizeof *ids.v)));
        for (size_t i = 0; i < at.n; i++)
            CHECK(at.v[2 * i] <= at.v[2 * i + 1] && at.v[2 * i + 1] <= n);
        check_text(t, &ids, false, json_array_get(one, 1), name, k);
        check_text(t, &ids, true, json_array_get(one, 2), name, k);
        tn_ids_free(&ids);
        tn_ids_free(&again);
        tn_spans_free(&at);
        done++;
    }
    CHECK_MSG(done >= 50, "%s: only %zu strings", name, done);
    tn_tokenizer_free(t);
    json_decref(g);
}

TEST(text_tokenizers_equal_library) {
    json_t *corpus = tn_golden("text/corpus.json");
    for (size_t k = 0; k < N_NAMES; k++) check_tokenizer(names[k], corpus);
    json_decref(corpus);
}

TEST(text_invalid_utf8_is_replaced) { /* as Python's errors="replace" */
    static const struct {
        const char *bad, *good;
    } rows[] = {{"a\xFF"
                 "b",
                 "a\xEF\xBF\xBD"
                 "b"},
                {"\xE6\x97", "\xEF\xBF\xBD"},
                {"\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"},
                {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
                {"\xF0\x9F\x98x", "\xEF\xBF\xBDx"},
                {"\xF5\x80", "\xEF\xBF\xBD\xEF\xBF\xBD"},
                {"\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD"}};
    json_t *g = golden("gpt2");
    tn_tokenizer *t = load(g, "gpt2");
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        tn_ids a = {0}, b = {0};
        CHECK_OK(tn_encode(t, rows[k].bad, strlen(rows[k].bad), false, &a, NULL, e));
        CHECK_OK(tn_encode(t, rows[k].good, strlen(rows[k].good), false, &b, NULL, e));
        CHECK_MSG(a.n == b.n && !memcmp(a.v, b.v, a.n * sizeof *a.v), "row %zu", k);
        tn_ids_free(&a);
        tn_ids_free(&b);
    }
    tn_tokenizer_free(t);
    json_decref(g);
}

TEST(text_token_places) { /* byte ranges of tokens in the input */
    json_t *g = golden("llama3");
    tn_tokenizer *t = load(g, "llama3");
    static const char s[] = "The kettle <s> in the 漢字 kitchen";
    tn_ids ids = {0};
    tn_spans at = {0};
    size_t end = 0;
    bool marker = false;
    CHECK_OK(tn_encode(t, s, sizeof s - 1, true, &ids, &at, e));
    CHECK(at.n == ids.n && at.v[0] == 0 && at.v[1] == 0); /* BOS stands nowhere */
    for (size_t k = 1; k < at.n; k++) {
        CHECK(at.v[2 * k] <= end &&
              at.v[2 * k + 1] >= end); /* no gaps; parts of one character overlap */
        end = at.v[2 * k + 1];
        if (ids.v[k] == ids.v[0]) marker = at.v[2 * k] == 11 && end == 14;
    }
    CHECK(end == sizeof s - 1 && marker);
    tn_ids_free(&ids);
    tn_spans_free(&at);
    tn_tokenizer_free(t);
    json_decref(g);
}

TEST(text_names_and_files) {
    json_t *g = golden("world");
    json_t *config = json_pack("{s:s, s:{s:s}, s:s}", "bos_token", "<s>", "eos_token", "content",
                               "<|end|>", "pad_token", "<pad>");
    tn_tokenizer *t = NULL, *back = NULL;
    CHECK_OK(tn_tokenizer_from_json(
        &t, json_object_get(g, "tokenizer"), config,
        "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}", "world", e));
    CHECK(tn_tokenizer_bos(t) == 1 && tn_tokenizer_eos(t) == 2 && tn_tokenizer_pad(t) == 0);
    CHECK(tn_tokenizer_id(t, "User:") == 4 && tn_tokenizer_id(t, "no such word") == -1);
    size_t n = 0;
    const char *text = tn_token_text(t, 2, &n);
    CHECK(text && n == 7 && !memcmp(text, "<|end|>", 7));
    CHECK(tn_token_special(t, 2) && !tn_token_special(t, 4) && !tn_token_special(t, 1000));
    CHECK(tn_token_text(t, tn_tokenizer_vocab(t), &n) == NULL && tn_token_text(t, -1, &n) == NULL);
    const int32_t *stop = tn_stop_ids(t, &n);
    CHECK(n == 1 && stop[0] == 2);
    const char *dir = tn_test_dir();
    CHECK_OK(tn_tokenizer_save(t, dir, e));
    CHECK_OK(tn_tokenizer_load(&back, dir, e));
    CHECK(tn_tokenizer_vocab(back) == tn_tokenizer_vocab(t) && tn_tokenizer_eos(back) == 2 &&
          tn_chat_name(back) != NULL);
    tn_tokenizer_free(back);
    tn_tokenizer_free(t);
    json_decref(config);
    json_decref(g);
    CHECK_FAIL(tn_tokenizer_load(&t, tn_test_dir(), e), TN_IO, "tokenizer.json");
}

typedef struct worker {
    const tn_tokenizer *t;
    const json_t *corpus, *cases;
    bool ok;
} worker;

static void *encode_all(void *arg) {
    worker *w = arg;
    w->ok = true;
    for (int round = 0; round < 3; round++)
        for (size_t k = 0; k < json_array_size(w->corpus); k++) {
            const json_t *s = json_array_get(w->corpus, k);
            tn_ids ids = {0};
            if (tn_encode(w->t, json_string_value(s), json_string_length(s), true, &ids, NULL,
                          NULL) != TN_OK ||
                !same_ids(&ids, json_array_get(json_array_get(w->cases, k), 0)))
                w->ok = false;
            tn_ids_free(&ids);
        }
    return NULL;
}

TEST(text_encode_from_many_threads) {
    json_t *g = golden("gpt2"), *corpus = tn_golden("text/corpus.json");
    tn_tokenizer *t = load(g, "gpt2");
    pthread_t id[4];
    worker w[4];
    for (int k = 0; k < 4; k++) {
        w[k] = (worker){t, corpus, json_object_get(g, "cases"), false};
        CHECK(pthread_create(&id[k], NULL, encode_all, &w[k]) == 0);
    }
    for (int k = 0; k < 4; k++) {
        pthread_join(id[k], NULL);
        CHECK(w[k].ok);
    }
    tn_tokenizer_free(t);
    json_decref(corpus);
    json_decref(g);
}

static void refuse(const char *key, const char *value, tn_status want, const char *text) {
    json_t *g = golden("gpt2"), *t = json_object_get(g, "tokenizer"),
           *v = json_loads(value, JSON_DECODE_ANY, NULL);
    tn_tokenizer *tok = NULL;
    CHECK_MSG(v != NULL, "%s", value);
    if (!strncmp(key, "model.", 6))
        json_object_set_new(json_object_get(t, "model"), key + 6, v);
    else
        json_object_set_new(t, key, v);
    CHECK_FAIL(tn_tokenizer_from_json(&tok, t, NULL, NULL, "refused", e), want, text);
    CHECK(tok == NULL);
    json_decref(g);
}

TEST(text_unknown_components_refused_by_name) {
    refuse("normalizer", "{\"type\":\"Precompiled\"}", TN_UNSUPPORTED, "Precompiled");
    refuse("pre_tokenizer", "{\"type\":\"UnicodeScripts\"}", TN_UNSUPPORTED, "UnicodeScripts");
    refuse("decoder", "{\"type\":\"CTC\"}", TN_UNSUPPORTED, "CTC");
    refuse("post_processor", "{\"type\":\"Other\"}", TN_UNSUPPORTED, "Other");
    refuse("model.type", "\"Unigram\"", TN_UNSUPPORTED, "Unigram");
    refuse("model.dropout", "0.1", TN_UNSUPPORTED, "dropout");
    refuse("model.end_of_word_suffix", "\"</w>\"", TN_UNSUPPORTED, "end_of_word_suffix");
    refuse("model.merges", "[[\"a\",\"zzz\"]]", TN_FORMAT, "zzz");
    refuse("model.merges", "[\"a\"]", TN_FORMAT, "merge 0");
    refuse("model.vocab", "{\"a\":-1}", TN_FORMAT, "id");
    refuse("model.vocab", "{\"a\":4000000000}", TN_FORMAT, "id");
    refuse("version", "\"2.0\"", TN_UNSUPPORTED, "2.0");
    refuse("added_tokens", "[{\"content\":\"x\"}]", TN_FORMAT, "id");
    refuse("pre_tokenizer",
           "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},\"behavior\":\"Isolated\","
           "\"invert\":false}",
           TN_UNSUPPORTED, "( without )");
    refuse("pre_tokenizer",
           "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{Nope}\"},\"behavior\":\"Isolated\"}",
           TN_UNSUPPORTED, "Nope");
    refuse("pre_tokenizer",
           "{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Sideways\"}",
           TN_UNSUPPORTED, "Sideways");
    refuse("post_processor",
           "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<x>\"}}],"
           "\"special_tokens\":{}}",
           TN_FORMAT, "<x>");
}

static const char gpt2_split[] = "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?i:'s) "
                                 "?\\\\p{L}+|\\\\s+(?!\\\\S)\"},\"behavior\":\"Isolated\"}";

static void use_damaged(const char *text, size_t n) {
    static const char sample[] = "The kettle <s> is \xE6\xBC\xA2\xE5\xAD\x97 blue.";
    json_t *j = NULL;
    tn_tokenizer *t = NULL;
    tn_err err = {0};
    if (tn_json_parse(text, n, "damaged", &j, &err) == TN_OK &&
        tn_tokenizer_from_json(&t, j, NULL, NULL, "damaged", &err) == TN_OK) {
        tn_ids ids = {0};
        tn_str out = TN_STR_INIT;
        if (tn_encode(t, sample, sizeof sample - 1, true, &ids, NULL, &err) == TN_OK)
            tn_decode(t, ids.v, ids.n, true, &out, &err);
        tn_ids_free(&ids);
        tn_str_free(&out);
    } else {
        CHECK(err.msg[0] != 0);
    }
    tn_tokenizer_free(t);
    json_decref(j);
}

/* Any damage to a tokenizer file gives an error or a tokenizer, never a crash. */
TEST(text_damaged_files) {
    static const char *const some[] = {"words", "llama2", "world", "qwen2"};
    tn_str m = TN_STR_INIT;
    tn_log_set_level(TN_LOG_ERROR);
    for (int k = 0; k < 4; k++) {
        json_t *g = golden(some[k]);
        char *text = json_dumps(json_object_get(g, "tokenizer"), JSON_COMPACT);
        size_t n = strlen(text);
        json_decref(g);
        for (uint64_t i = 0; i < tn_fuzz_rounds(120); i++) {
            tn_mutate(&m, text, n, gpt2_split, sizeof gpt2_split - 1, i);
            use_damaged(m.s, m.len);
        }
        for (size_t cut = 0; cut < n; cut += n / 40 + 1) use_damaged(text, cut);
        free(text);
    }
    tn_log_set_level(TN_LOG_INFO);
    tn_str_free(&m);
}
