/* SentencePiece vocabulary with scores -> byte-fallback BPE of tokenizer.json.
 *
 * The merges are not stored: every split of a piece into two pieces is one. They are ranked by the
 * score of what they make, descending; those of one piece by the ids of their halves. That is how
 * the published tokenizer.json of Llama 2 was made. */
#include "model/gguf_vocab.h"
#include <stdlib.h>
#include <string.h>

#define MAX_PIECE 512 /* bytes; longer pieces would make the search for splits quadratic */

typedef struct tn_merge {
    double score;
    int32_t left, right; /* ids */
    size_t order;        /* of generation: ties keep it */
} tn_merge;

static int by_ids(const void *a, const void *b) {
    const tn_merge *x = a, *y = b;
    if (x->left != y->left) return x->left < y->left ? -1 : 1;
    return x->right < y->right ? -1 : x->right > y->right;
}
static int by_rank(const void *a, const void *b) {
    const tn_merge *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static bool is_normal(const tn_gguf_vocab *v, size_t i) {
    return !v->type || (int)v->type[i] == TN_TOKEN_NORMAL;
}

static int64_t piece_id(const tn_gguf_vocab *v, const json_t *vocab, const char *p, size_t n) {
    const json_t *id = json_object_getn(vocab, p, n);
    return id && is_normal(v, (size_t)json_integer_value(id)) ? (int64_t)json_integer_value(id)
                                                              : -1;
}

static bool starts_char(char c) { return ((unsigned char)c & 0xc0) != 0x80; }

static tn_status find_merges(const tn_gguf_vocab *v, const json_t *vocab, tn_merge **out,
                             size_t *n_out, tn_err *e) {
    tn_merge *m = NULL;
    size_t n = 0, cap = 0;
    for (size_t i = 0; i < v->n; i++) {
        tn_gstr t = v->token[i];
        size_t first = n;
        if (!is_normal(v, i) || t.n > MAX_PIECE) continue;
        for (size_t k = 1; k < t.n; k++) {
            if (!starts_char(t.p[k])) continue;
            int64_t l = piece_id(v, vocab, t.p, k),
                    r = l < 0 ? -1 : piece_id(v, vocab, t.p + k, t.n - k);
            if (r < 0) continue;
            if (!TN_GROW(m, cap, n + 1)) {
                tn_free(m);
                return tn_fail(e, TN_NOMEM, "%s: out of memory", tn_gguf_path(v->g));
            }
            m[n++] = (tn_merge){v->score[i], (int32_t)l, (int32_t)r, 0};
        }
        if (n > first) qsort(m + first, n - first, sizeof *m, by_ids);
    }
    for (size_t i = 0; i < n; i++) m[i].order = i;
    if (n) qsort(m, n, sizeof *m, by_rank);
    *out = m;
    *n_out = n;
    return TN_OK;
}

static json_t *merges_json(const tn_gguf_vocab *v, const tn_merge *m, size_t n) {
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++) {
        tn_gstr l = v->token[m[i].left], r = v->token[m[i].right];
        json_array_append_new(a,
                              json_pack("[o,o]", json_stringn(l.p, l.n), json_stringn(r.p, r.n)));
    }
    return a;
}

#define SPACE "\xe2\x96\x81"

static json_t *replace(const char *from, const char *to) {
    return json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", from, "content",
                     to);
}

static json_t *normalizer(bool prefix) {
    json_t *r = replace(" ", SPACE);
    if (!prefix) return r;
    return json_pack("{s:s, s:[{s:s, s:s}, o]}", "type", "Sequence", "normalizers", "type",
                     "Prepend", "prepend", SPACE, r);
}

static json_t *decoder(bool prefix) {
    json_t *a =
        json_pack("[o, {s:s}, {s:s}]", replace(SPACE, " "), "type", "ByteFallback", "type", "Fuse");
    if (prefix)
        json_array_append_new(a, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ",
                                           "start", 1, "stop", 0));
    return json_pack("{s:s, s:o}", "type", "Sequence", "decoders", a);
}

tn_status tn_gguf_vocab_spm(const tn_gguf_vocab *v, json_t **out, tn_err *e) {
    json_t *vocab = NULL, *post = NULL;
    tn_merge *m = NULL;
    size_t n = 0;
    bool prefix;
    if (!v->score)
        return tn_fail(e, TN_FORMAT, "%s: tokenizer.ggml.scores is missing", tn_gguf_path(v->g));
    TN_TRY(tn_gguf_bool(v->g, "tokenizer.ggml.add_space_prefix", true, &prefix, e));
    tn_status st = tn_gguf_vocab_object(v, &vocab, e);
    if (st == TN_OK) st = find_merges(v, vocab, &m, &n, e);
    if (st == TN_OK) st = tn_gguf_vocab_post(v, true, &post, e);
    if (st != TN_OK) {
        json_decref(vocab);
        tn_free(m);
        return st;
    }
    json_t *unk = v->unk >= 0 ? json_stringn(v->token[v->unk].p, v->token[v->unk].n) : json_null();
    json_t *model = json_pack("{s:s, s:n, s:o, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE",
                              "dropout", "unk_token", unk, "continuing_subword_prefix",
                              "end_of_word_suffix", "fuse_unk", 1, "byte_fallback", 1,
                              "ignore_merges", 0, "vocab", vocab, "merges", merges_json(v, m, n));
    tn_free(m);
    *out = json_pack("{s:s, s:n, s:n, s:o, s:o, s:n, s:o, s:o, s:o}", "version", "1.0",
                     "truncation", "padding", "added_tokens", tn_gguf_vocab_added(v), "normalizer",
                     normalizer(prefix), "pre_tokenizer", "post_processor",
                     post ? post : json_null(), "decoder", decoder(prefix), "model", model);
    return *out ? TN_OK : tn_fail(e, TN_NOMEM, "%s: out of memory", tn_gguf_path(v->g));
}
