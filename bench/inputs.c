/* What is measured on: models of random weights, and rows of the user's file or of the built-in world. */
#include "bench.h"
#include "base/os.h"
#include "base/rng.h"
#include "data/encode.h"
#include "text/text.h"
#include <stdlib.h>
#include <string.h>

static const bench_size sizes[] = {{"20M", 288, 6, 6, 6, 768, 49152},
                                   {"135M", 576, 30, 9, 3, 1536, 49152},
                                   {"tiny", 64, 2, 2, 2, 160, 1024}};

const bench_size *bench_size_at(const bench *b, int i) {
    for (const char *p = b->o.sizes; *p;) {
        size_t n = strcspn(p, " ");
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
            if (n == strlen(sizes[k].name) && strncmp(p, sizes[k].name, n) == 0 && i-- == 0) return &sizes[k];
        p += n + strspn(p + n, " ");
    }
    return NULL;
}

static const char *tokenizer_dir(const bench *b) { return b->o.model ? b->o.model : "models/world"; }

static tn_status make_model(bench *b, const bench_size *s, bool reward, const char *dir, tn_err *e) {
    tn_tokenizer *tok = NULL;
    tn_model *m = NULL;
    tn_status st;
    TN_TRY(tn_mkdirs(dir, e));
    TN_GO(tn_tokenizer_load(&tok, tokenizer_dir(b), e), done);
    tn_desc d = {.family = "llama", .hidden = s->hidden, .layers = s->layers, .heads = s->heads, .kv_heads = s->kv_heads,
                 .head_dim = s->hidden / s->heads, .ffn = s->ffn, .vocab = s->vocab, .max_pos = 2048, .tied = true,
                 .norm_eps = 1e-5, .init_range = 0.02, .num_labels = reward, .bos = tn_tokenizer_bos(tok),
                 .pad = tn_tokenizer_pad(tok), .eos = {tn_tokenizer_eos(tok)}, .n_eos = 1};
    d.rope = (tn_rope){.type = TN_ROPE_DEFAULT, .theta = 10000, .factor = 1, .original_max = 2048, .rot_dim = d.head_dim};
    if (tn_tokenizer_vocab(tok) > d.vocab) d.vocab = tn_tokenizer_vocab(tok);
    if (d.pad < 0) d.pad = d.eos[0]; /* transformers' reward models need one */
    TN_GO(tn_model_new(&m, &d, 1, b->f32, e), done);
    const tn_tensor *score = tn_model_tensor(m, "score.weight"); /* zero would give equal rewards: no work to do */
    for (int i = 0; score && i < s->hidden; i++)
        ((float *)tn_tensor_data(score, b->f32))[i] = (float)(tn_unit_of(tn_mix((uint64_t)i)) - 0.5);
    TN_GO(tn_model_save(m, dir, "bfloat16", e), done); /* as checkpoints come */
    st = tn_tokenizer_save(tok, dir, e);
done:
    tn_tokenizer_free(tok);
    tn_model_free(m);
    return st;
}

tn_status bench_model(bench *b, const bench_size *s, bool reward, tn_str *dir, tn_err *e) {
    char name[64];
    const char *tok = tokenizer_dir(b);
    tn_str whole = TN_STR_INIT;
    snprintf(name, sizeof name, "%s%s-bf16-%08x", s->name, reward ? "-reward" : "",
             (unsigned)tn_hash64(tok, strlen(tok), 0)); /* another tokenizer is another model */
    tn_path_join(dir, b->o.work, name);
    tn_path_join(&whole, dir->s, "tokenizer.json"); /* written last */
    tn_status st = tn_exists(whole.s) ? TN_OK : make_model(b, s, reward, dir->s, e);
    tn_str_free(&whole);
    return st;
}

/* ---------------- rows ---------------- */

/* A comparison as message lists: of {"prompt","chosen","rejected"} as it is; of {"chosen","rejected"} transcripts or
 * conversations that differ in the last answer only. NULL: none of these. New reference. */
static json_t *pair_of(const json_t *row) {
    json_t *c = json_object_get(row, "chosen"), *r = json_object_get(row, "rejected"), *out = NULL;
    if (!c || !r) return NULL;
    if (json_object_get(row, "prompt"))
        return json_pack("{s:O,s:O,s:O}", "prompt", json_object_get(row, "prompt"), "chosen", c, "rejected", r);
    c = json_is_string(c) ? tn_transcript_messages(json_string_value(c)) : json_deep_copy(c);
    r = json_is_string(r) ? tn_transcript_messages(json_string_value(r)) : json_deep_copy(r);
    size_t n = json_array_size(c);
    const char *role = n ? json_string_value(json_object_get(json_array_get(c, n - 1), "role")) : NULL;
    bool same = n > 1 && n == json_array_size(r) && role && strcmp(role, "assistant") == 0 && !json_equal(c, r);
    for (size_t i = 0; same && i + 1 < n; i++) same = json_equal(json_array_get(c, i), json_array_get(r, i));
    if (same) {
        json_t *last_c = json_incref(json_array_get(c, n - 1)), *last_r = json_incref(json_array_get(r, n - 1));
        json_array_remove(c, n - 1);
        out = json_pack("{s:O,s:[o],s:[o]}", "prompt", c, "chosen", last_c, "rejected", last_r);
    }
    json_decref(c);
    json_decref(r);
    return out;
}

/* Demonstrations of the world, each answer beside that of the row before: for timing, any will do. */
static tn_status world_pairs(bench *b, json_t *pairs, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, b->o.work, "world.jsonl");
    const char *argv[] = {b->o.tenet, "world", "sft", "--count", "1000", "--out", path.s, NULL};
    bench_child c = {.argv = argv, .log = "/dev/null"};
    tn_lines *in = NULL;
    json_t *row, *before = NULL;
    tn_status st;
    TN_GO(bench_run_child(&c, e), done);
    TN_GO(tn_lines_open(&in, path.s, 1 << 20, e), done);
    while ((st = tn_jsonl_next(in, path.s, &row, e)) == TN_OK && row) {
        json_t *m = json_object_get(row, "messages"), *answer = json_array_get(m, 1);
        if (before && !json_equal(answer, before))
            json_array_append_new(pairs, json_pack("{s:[O],s:[O],s:[O]}", "prompt", json_array_get(m, 0), "chosen", answer,
                                                   "rejected", before));
        json_decref(before);
        before = json_incref(answer);
        json_decref(row);
    }
    json_decref(before);
done:
    tn_lines_close(in);
    tn_str_free(&path);
    return st;
}

static tn_status user_pairs(bench *b, json_t *pairs, tn_err *e) {
    tn_lines *in = NULL;
    json_t *row;
    tn_status st;
    TN_TRY(tn_lines_open(&in, b->o.data, 1 << 26, e));
    while ((st = tn_jsonl_next(in, b->o.data, &row, e)) == TN_OK && row && json_array_size(pairs) < 1000) {
        json_t *p = pair_of(row);
        if (p) json_array_append_new(pairs, p);
        json_decref(row);
    }
    tn_lines_close(in);
    if (st == TN_OK && json_array_size(pairs) == 0)
        st = tn_fail(e, TN_FORMAT, "%s has no comparisons with a chosen and a rejected answer to one prompt", b->o.data);
    return st;
}

static json_t *chat_of(const json_t *pair) {
    json_t *m = json_deep_copy(json_object_get(pair, "prompt"));
    json_array_extend(m, json_object_get(pair, "chosen"));
    return json_pack("{s:o}", "messages", m);
}
/* The first turn alone, of at most 200 bytes: rollouts whose prompts are short. */
static json_t *prompt_of(const json_t *pair) {
    json_t *first = json_array_get(json_object_get(pair, "prompt"), 0);
    return json_string_length(json_object_get(first, "content")) < 200 ? json_pack("{s:[O]}", "prompt", first) : NULL;
}

static tn_status write_rows(const char *path, const json_t *pairs, const char *kind, tn_err *e) {
    tn_out *out;
    TN_TRY(tn_out_open(&out, path, false, e));
    tn_status st = TN_OK;
    for (size_t i = 0; st == TN_OK && i < json_array_size(pairs); i++) {
        json_t *p = json_array_get(pairs, i);
        json_t *row = strcmp(kind, "pairs") == 0 ? json_incref(p) : strcmp(kind, "chats") == 0 ? chat_of(p) : prompt_of(p);
        char *text = row ? json_dumps(row, JSON_COMPACT) : NULL;
        if (text) st = tn_out_write(out, text, strlen(text), e);
        if (text && st == TN_OK) st = tn_out_write(out, "\n", 1, e);
        free(text);
        json_decref(row);
    }
    return tn_out_close(out, st, false, e);
}

tn_status bench_rows(bench *b, const char *kind, tn_str *path, tn_err *e) {
    static const char *const kinds[] = {"pairs", "chats", "prompts"};
    static bool made;
    char name[32];
    tn_status st = TN_OK;
    if (!made) {
        json_t *pairs = json_array();
        st = b->o.data ? user_pairs(b, pairs, e) : world_pairs(b, pairs, e);
        for (int k = 0; k < 3 && st == TN_OK; k++) {
            snprintf(name, sizeof name, "%s.jsonl", kinds[k]);
            tn_path_join(path, b->o.work, name);
            st = write_rows(path->s, pairs, kinds[k], e);
        }
        json_decref(pairs);
        made = st == TN_OK;
    }
    snprintf(name, sizeof name, "%s.jsonl", kind);
    tn_path_join(path, b->o.work, name);
    return st;
}
