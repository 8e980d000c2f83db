/* GGUF: block formats bit for bit, a tiny model against transformers' import, hostile files. */
#include "model/gguf.h"
#include "fuzz/mutate.h"
#include "model/model.h"
#include "model/safetensors.h"
#include "test.h"
#include "text/text.h"
#include <math.h>

static size_t unhex(const char *s, uint8_t *out) {
    size_t n = 0;
    for (unsigned v; s[2 * n] && sscanf(s + 2 * n, "%2x", &v) == 1; n++) out[n] = (uint8_t)v;
    return n;
}

TEST(gguf_blocks_equal_gguf_py) {
    json_t *cases = tn_golden("gguf.json"), *c;
    size_t i;
    uint8_t raw[512], want[2048];
    float got[512];
    CHECK(json_array_size(cases) == 13);
    json_array_foreach(cases, i, c) {
        const char *id = json_string_value(json_object_get(c, "id"));
        const tn_gguf_type *t =
            tn_gguf_type_find((uint32_t)json_integer_value(json_object_get(c, "type")));
        size_t n_raw = unhex(json_string_value(json_object_get(c, "blocks")), raw);
        size_t n = unhex(json_string_value(json_object_get(c, "floats")), want) / 4;
        CHECK_MSG(t && !strcmp(t->name, id), "%s is not known", id);
        if (!t) continue;
        CHECK(n_raw / (size_t)t->bytes * (size_t)t->block == n);
        tn_gguf_unpack(t, raw, n, got);
        CHECK_MSG(!memcmp(got, want, n * 4), "%s: floats differ from gguf-py's", id);
    }
    json_decref(cases);
    CHECK(tn_gguf_type_find(9) == NULL && tn_gguf_type_find(16) == NULL);
}

static tn_status import(const char *path, const char *dir, const char *dtype, size_t shard,
                        tn_err *e) {
    tn_gguf *g;
    TN_TRY(tn_mkdirs(dir, e));
    TN_TRY(tn_gguf_open(&g, path, e));
    tn_status st = tn_gguf_import(g, dir, dtype, shard, true, e);
    tn_gguf_close(g);
    return st;
}

static const char *sub(const char *name) {
    static char dir[600];
    snprintf(dir, sizeof dir, "%s/%s", tn_test_dir(), name);
    return dir;
}

/* Imports golden/NAME.gguf into `dir` and compares every tensor with transformers' import. */
static void check_import(const char *name, const char *dir, tn_st_dtype dtype) {
    char file[96];
    snprintf(file, sizeof file, "golden/%s.gguf", name);
    CHECK_OK(import(tn_test_file(file), dir, "auto", 4000, e));
    snprintf(file, sizeof file, "%s_gguf.json", name);
    json_t *cases = tn_golden(file), *c;
    tn_st *s = NULL;
    size_t i, tied = 0;
    CHECK_OK(tn_st_open(&s, dir, e));
    if (!s) return;
    json_array_foreach(cases, i, c) {
        const char *id = json_string_value(json_object_get(c, "name"));
        const tn_st_entry *t = tn_st_find(s, id);
        if (!t && !strcmp(id, "lm_head.weight")) { /* torch lists the tied head */
            t = tn_st_find(s, "model.embed_tokens.weight");
            tied = 1;
        }
        CHECK_MSG(t && t->dtype == dtype, "%s: %s", name, id);
        if (!t) continue;
        double *v = malloc(t->count * sizeof *v), sum = 0, moment = 0;
        tn_st_read(t, 0, t->count, v, 8);
        for (size_t k = 0; k < t->count; k++) {
            sum += v[k];
            moment += v[k] * (double)k;
        }
        CHECK_NEAR(sum, json_number_value(json_object_get(c, "sum")), 1e-12, 1e-10);
        CHECK_NEAR(moment, json_number_value(json_object_get(c, "moment")), 1e-12, 1e-8);
        const json_t *at = json_object_get(c, "at"), *want = json_object_get(c, "value");
        for (size_t k = 0; k < json_array_size(at); k++)
            CHECK_MSG(v[json_integer_value(json_array_get(at, k))] ==
                          strtod(json_string_value(json_array_get(want, k)), NULL),
                      "%s: an element of %s differs", name, id);
        free(v);
    }
    CHECK(tn_st_count(s) + tied == json_array_size(cases));
    tn_st_close(s);
    json_decref(cases);
}

/* The folder loads, for a model of these families. */
static void check_loads(const char *dir) {
    tn_backend *b = NULL;
    tn_model *m = NULL;
    CHECK_OK(tn_backend_open(&b, "ref", TN_F32, NULL, 1, e));
    CHECK_OK(tn_model_load(&m, dir, b, &(tn_load){0}, e));
    tn_model_free(m);
    tn_backend_free(b);
}

TEST(gguf_import_equals_transformers) {
    const char *dir = sub("tiny");
    json_t *config = NULL;
    check_import("tiny", dir, TN_ST_F32); /* quantised: float32 */
    check_loads(dir);
    char path[700];
    snprintf(path, sizeof path, "%s/config.json", dir);
    CHECK_OK(tn_json_load(path, &config, e));
    CHECK(json_number_value(json_object_get(config, "rms_norm_eps")) == 1e-5);
    CHECK(json_number_value(json_object_get(config, "rope_theta")) == 5000);
    CHECK(json_is_true(json_object_get(config, "tie_word_embeddings")));
    CHECK(!strcmp(json_string_value(json_object_get(config, "dtype")), "float32"));
    json_decref(config);
    dir = sub("qwen2");
    check_import("qwen2", dir, TN_ST_BF16); /* bfloat16 already: kept */
    check_loads(dir);
    dir = sub("qwen3");
    check_import("qwen3", dir, TN_ST_BF16);
    check_loads(dir);
}

TEST(gguf_import_tokenizer_works) {
    const char *dir = sub("tok");
    tn_tokenizer *t = NULL;
    tn_ids ids = {0};
    CHECK_OK(import(tn_test_file("golden/tiny.gguf"), dir, "bfloat16", 1 << 30, e));
    CHECK_OK(tn_tokenizer_load(&t, dir, e));
    if (!t) return;
    const char *text = "<|im_start|>In the 12 the<extra>";
    CHECK_OK(tn_encode(t, text, strlen(text), true, &ids, NULL, e));
    CHECK(tn_tokenizer_bos(t) == 1 && tn_tokenizer_eos(t) == 2 && tn_token_special(t, 0) &&
          !tn_token_special(t, 3));
    /* digits stand alone, so that "12" is never merged; " the" is one token */
    const char *const want[] = {"<|im_start|>", "I", "n", "Ġthe", "Ġ", "1", "2", "Ġthe", "<extra>"};
    CHECK(ids.n == 9);
    for (size_t i = 0; i < 9 && i < ids.n; i++) {
        size_t n;
        const char *got = tn_token_text(t, ids.v[i], &n);
        CHECK_MSG(n == strlen(want[i]) && !memcmp(got, want[i], n), "token %zu is %.*s, not %s", i,
                  (int)n, got, want[i]);
    }
    tn_ids_free(&ids);
    tn_tokenizer_free(t);
}

/* llama.cpp's own vocabulary of Llama 2 gives back the merges and ids of the reference
 * tokenizer.json. */
TEST(gguf_sentencepiece_merges) {
    tn_gguf *g = NULL;
    json_t *tok = NULL, *config = NULL, *ref = NULL;
    char path[600];
    snprintf(path, sizeof path, "%s",
             tn_shared("data/tokenizers/llama2/ggml-vocab-llama-spm.gguf"));
    CHECK_OK(tn_gguf_open(&g, path, e));
    CHECK_OK(tn_gguf_tokenizer(g, &tok, &config, e));
    CHECK_OK(tn_json_load(tn_shared("data/tokenizers/llama2/tokenizer.json"), &ref, e));
    const json_t *a = json_object_get(tok, "model"), *b = json_object_get(ref, "model");
    CHECK(json_equal(json_object_get(a, "vocab"), json_object_get(b, "vocab")));
    CHECK(json_equal(json_object_get(tok, "normalizer"), json_object_get(ref, "normalizer")));
    CHECK(json_equal(json_object_get(tok, "decoder"), json_object_get(ref, "decoder")));
    CHECK(
        json_equal(json_object_get(tok, "post_processor"), json_object_get(ref, "post_processor")));
    const json_t *x = json_object_get(a, "merges"), *y = json_object_get(b, "merges");
    CHECK(json_array_size(x) == json_array_size(y));
    long differ = 0;
    for (size_t i = 0; i < json_array_size(x) && i < json_array_size(y); i++) {
        char joined[256];
        const json_t *m = json_array_get(x, i);
        snprintf(joined, sizeof joined, "%s %s", json_string_value(json_array_get(m, 0)),
                 json_string_value(json_array_get(m, 1)));
        differ += strcmp(joined, json_string_value(json_array_get(y, i))) != 0;
    }
    CHECK_MSG(differ == 0, "%ld merges differ", differ);
    json_decref(tok);
    json_decref(config);
    json_decref(ref);
    tn_gguf_close(g);
}

/* Not durable: a thousand files must not wait for the disk. */
static void put_file(const char *path, const tn_str *s) {
    tn_out *o = NULL;
    CHECK_OK(tn_remove_tree(path, e)); /* a file system may flush a truncated file */
    CHECK_OK(tn_out_open(&o, path, false, e));
    CHECK_OK(tn_out_write(o, s->s, s->len, e));
    CHECK_OK(tn_out_close(o, TN_OK, false, e));
}

/* ---------------- hostile files ---------------- */

/* Everything that a reader does with a file that opened. */
static void read_all(tn_gguf *g) {
    json_t *config = NULL, *tok = NULL, *tokc = NULL;
    float out[256];
    tn_gguf_config(g, &config, NULL);
    tn_gguf_tokenizer(g, &tok, &tokc, NULL);
    for (size_t i = 0; i < tn_gguf_tensors(g); i++) {
        const tn_gguf_tensor *t = tn_gguf_at(g, i);
        const tn_gguf_type *type = tn_gguf_type_find(t->type);
        size_t n = (size_t)t->rows * (size_t)t->cols, b = (size_t)type->block;
        tn_gguf_unpack(type, t->data, b, out);
        tn_gguf_unpack(type, t->data + (n / b - 1) * (size_t)type->bytes, b, out);
    }
    json_decref(config);
    json_decref(tok);
    json_decref(tokc);
}

TEST(gguf_survives_truncation_and_mutation) {
    tn_str good = TN_STR_INIT, m = TN_STR_INIT;
    char path[600];
    snprintf(path, sizeof path, "%s/m.gguf", tn_test_dir());
    CHECK_OK(tn_read_file(tn_test_file("golden/tiny.gguf"), &good, 1 << 20, e));
    size_t head = 7000; /* mutations of the data part change nothing of interest */
    long opened = 0;
    for (uint64_t i = 0; i < tn_fuzz_rounds(1500); i++) {
        if (i < 150) {
            tn_str_clear(&m);
            tn_str_add(&m, good.s, good.len * i / 150);
        } else {
            tn_mutate(&m, good.s, head, NULL, 0, i);
            tn_str_add(&m, good.s + head, good.len - head);
        }
        put_file(path, &m);
        tn_gguf *g = NULL;
        tn_err e = {0};
        tn_status st = tn_gguf_open(&g, path, &e);
        CHECK(st == TN_OK || e.msg[0]);
        CHECK(i >= 150 || st != TN_OK);
        if (st != TN_OK) continue;
        opened++;
        read_all(g);
        tn_gguf_close(g);
    }
    CHECK(opened > 0);
    tn_str_free(&good);
    tn_str_free(&m);
}

/* Puts `n` bytes at `at` of the tiny file and imports it. */
static tn_status patched(const char *what, const void *p, size_t n, tn_err *err) {
    tn_str s = TN_STR_INIT;
    char path[600], dir[600];
    snprintf(path, sizeof path, "%s/p.gguf", tn_test_dir());
    snprintf(dir, sizeof dir, "%s/p", tn_test_dir());
    CHECK_OK(tn_read_file(tn_test_file("golden/tiny.gguf"), &s, 1 << 20, e));
    char *at = memmem(s.s, s.len, what, strlen(what));
    CHECK(at != NULL);
    if (at) memcpy(at, p, n);
    put_file(path, &s);
    tn_str_free(&s);
    return import(path, dir, "auto", 1 << 30, err);
}

TEST(gguf_refuses_by_name) {
    CHECK_OK(patched("GGUF", "GGUF", 4, e));
    CHECK_FAIL(patched("GGUF", "GGML", 4, e), TN_FORMAT, "no GGUF");
    CHECK_FAIL(patched("GGUF", "GGUF\4", 5, e), TN_UNSUPPORTED, "version 4");
    CHECK_FAIL(patched("general.architecture", "general.architecturf", 20, e), TN_UNSUPPORTED,
               "architecture");
    CHECK_FAIL(patched("smollm", "smollx", 6, e), TN_UNSUPPORTED, "smollx");
    CHECK_FAIL(patched("gpt2", "t5xx", 4, e), TN_UNSUPPORTED, "t5xx");
    CHECK_FAIL(patched("blk.1.ffn_up.weight", "blk.7.ffn_up.weight", 19, e), TN_FORMAT,
               "blk.1.ffn_up.weight");
    CHECK_FAIL(patched("llama.block_count", "llama.block_xxxxx", 17, e), TN_FORMAT, "block_count");
    CHECK_FAIL(patched("llama.context_length", "llama.kontext_length", 20, e), TN_FORMAT,
               "context_length");
    const uint8_t wide[] = "llama.attention.head_count\4\0\0\0\3\0\0";
    CHECK_FAIL(patched("llama.attention.head_count\4", wide, sizeof wide - 1, e), TN_UNSUPPORTED,
               "rotating");
}

/* ---------------- inside an archive ---------------- */

static void put(tn_str *s, uint64_t v, int n) {
    for (int i = 0; i < n; i++) tn_str_addc(s, (char)(v >> (8 * i)));
}

/* A zip archive with one stored member. */
static void zip_of(tn_str *z, const char *name, const tn_str *body, uint32_t crc) {
    size_t n = strlen(name);
    tn_str_clear(z);
    tn_str_add(z, "PK\3\4\24\0\0\0\0\0\0\0\0\0", 14);
    put(z, crc, 4), put(z, body->len, 4), put(z, body->len, 4), put(z, n, 2), put(z, 0, 2);
    tn_str_addz(z, name);
    tn_str_add(z, body->s, body->len);
    size_t at = z->len;
    tn_str_add(z, "PK\1\2\24\0\24\0\0\0\0\0\0\0\0\0", 16);
    put(z, crc, 4), put(z, body->len, 4), put(z, body->len, 4), put(z, n, 2);
    put(z, 0, 8), put(z, 0, 4),
        put(z, 0, 4); /* extra, comment, disk, attributes; offset of the member */
    tn_str_addz(z, name);
    size_t size = z->len - at;
    tn_str_add(z, "PK\5\6\0\0\0\0\1\0\1\0", 12);
    put(z, size, 4), put(z, at, 4), put(z, 3, 2);
    tn_str_addz(z, "end");
}

TEST(gguf_in_an_archive) {
    tn_str body = TN_STR_INIT, z = TN_STR_INIT, m = TN_STR_INIT;
    char path[600];
    snprintf(path, sizeof path, "%s/x.whl", tn_test_dir());
    tn_gguf *g = NULL;
    /* deflated, and its mutations: golden/tiny.whl holds the same file */
    CHECK_OK(tn_gguf_open(&g, tn_test_file("golden/tiny.whl"), e));
    if (g) CHECK(tn_gguf_tensors(g) == 20);
    tn_gguf_close(g);
    g = NULL;
    CHECK_OK(tn_read_file(tn_test_file("golden/tiny.gguf"), &body, 1 << 20, e));
    zip_of(&z, "a/b.gguf", &body, 0);
    put_file(path, &z);
    CHECK_FAIL(tn_gguf_open(&g, path, e), TN_FORMAT, "checksum");
    zip_of(&z, "a/b.txt", &body, 0);
    put_file(path, &z);
    CHECK_FAIL(tn_gguf_open(&g, path, e), TN_FORMAT, "0 files named *.gguf");
    CHECK_OK(tn_write_file(path, z.s, z.len / 2, e));
    CHECK_FAIL(tn_gguf_open(&g, path, e), TN_FORMAT, "truncated");
    CHECK_OK(tn_read_file(tn_test_file("golden/tiny.whl"), &z, 1 << 20, e));
    for (uint64_t i = 0; i < tn_fuzz_rounds(600); i++) {
        size_t tail = z.len > 300 ? z.len - 300 : 0; /* headers lie at both ends */
        tn_mutate(&m, i % 2 ? z.s : z.s + tail, i % 2 ? 64 : z.len - tail, NULL, 0, i);
        tn_str whole = TN_STR_INIT;
        if (i % 2 == 0) tn_str_add(&whole, z.s, tail);
        tn_str_add(&whole, m.s, m.len);
        if (i % 2) tn_str_add(&whole, z.s + 64, z.len - 64);
        put_file(path, &whole);
        tn_str_free(&whole);
        tn_err e = {0};
        if (tn_gguf_open(&g, path, &e) == TN_OK) read_all(g);
        else CHECK(e.msg[0]);
        tn_gguf_close(g);
        g = NULL;
    }
    tn_str_free(&body);
    tn_str_free(&z);
    tn_str_free(&m);
}
