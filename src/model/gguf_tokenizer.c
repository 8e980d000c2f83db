/* GGUF vocabulary -> tokenizer.json and tokenizer_config.json (byte-level BPE; gguf_spm.c has the
 * other).
 *
 * The vocabulary and merges are stored, the split pattern only by name (tokenizer.ggml.pre): each
 * name known here stands for the pre-tokenizer of the models it was made for. An unknown one is
 * refused.     */
#include "model/gguf_vocab.h"
#include <string.h>

/* ---------------- reading ---------------- */

void tn_gguf_vocab_free(tn_gguf_vocab *v) {
    tn_free(v->token);
    tn_free(v->merge);
    tn_free(v->score);
    tn_free(v->type);
}

static tn_status token_id(const tn_gguf *g, const tn_gguf_vocab *v, const char *key, int64_t *id,
                          tn_err *e) {
    TN_TRY(tn_gguf_int(g, key, -1, id, e));
    if (*id < -1 || *id >= (int64_t)v->n)
        return tn_fail(e, TN_FORMAT, "%s: %s is %lld, but there are %zu tokens", tn_gguf_path(g),
                       key, (long long)*id, v->n);
    return TN_OK;
}

static tn_status vocab_read(const tn_gguf *g, tn_gguf_vocab *v, tn_err *e) {
    size_t n;
    v->g = g;
    TN_TRY(tn_gguf_str(g, "tokenizer.ggml.model", &v->model, e));
    TN_TRY(tn_gguf_str(g, "tokenizer.ggml.pre", &v->pre, e));
    TN_TRY(tn_gguf_strs(g, "tokenizer.ggml.tokens", &v->token, &v->n, e));
    TN_TRY(tn_gguf_strs(g, "tokenizer.ggml.merges", &v->merge, &v->n_merge, e));
    TN_TRY(tn_gguf_reals(g, "tokenizer.ggml.token_type", &v->type, &n, e));
    if (v->type && n != v->n)
        return tn_fail(e, TN_FORMAT, "%s: %zu token types for %zu tokens", tn_gguf_path(g), n,
                       v->n);
    TN_TRY(tn_gguf_reals(g, "tokenizer.ggml.scores", &v->score, &n, e));
    if (v->score && n != v->n)
        return tn_fail(e, TN_FORMAT, "%s: %zu token scores for %zu tokens", tn_gguf_path(g), n,
                       v->n);
    TN_TRY(token_id(g, v, "tokenizer.ggml.bos_token_id", &v->bos, e));
    TN_TRY(token_id(g, v, "tokenizer.ggml.eos_token_id", &v->eos, e));
    TN_TRY(token_id(g, v, "tokenizer.ggml.unknown_token_id", &v->unk, e));
    return token_id(g, v, "tokenizer.ggml.padding_token_id", &v->pad, e);
}

bool tn_gstr_is(tn_gstr a, const char *z) {
    return a.p && a.n == strlen(z) && !memcmp(a.p, z, a.n);
}

/* ---------------- parts shared with gguf_spm.c ---------------- */

tn_status tn_gguf_vocab_object(const tn_gguf_vocab *v, json_t **out, tn_err *e) {
    json_t *o = json_object();
    *out = o;
    for (size_t i = 0; i < v->n; i++) {
        tn_gstr t = v->token[i];
        if (!memchr(t.p, 0, t.n) && json_object_getn(o, t.p, t.n))
            return tn_fail(e, TN_FORMAT, "%s: token \"%.*s\" occurs twice in its vocabulary",
                           tn_gguf_path(v->g), (int)(t.n > 60 ? 60 : t.n), t.p);
        if (memchr(t.p, 0, t.n) ||
            json_object_setn_new(o, t.p, t.n, json_integer((json_int_t)i)) != 0)
            return tn_fail(e, TN_FORMAT, "%s: token %zu of its vocabulary is not UTF-8 text",
                           tn_gguf_path(v->g), i);
    }
    return TN_OK;
}

static json_t *added_token(const tn_gguf_vocab *v, size_t i, bool special) {
    json_t *o = json_object();
    json_object_set_new(o, "id", json_integer((json_int_t)i));
    json_object_set_new(o, "content", json_stringn(v->token[i].p, v->token[i].n));
    json_object_set_new(o, "single_word", json_false());
    json_object_set_new(o, "lstrip", json_false());
    json_object_set_new(o, "rstrip", json_false());
    json_object_set_new(o, "normalized", json_false());
    json_object_set_new(o, "special", json_boolean(special));
    return o;
}

json_t *tn_gguf_vocab_added(const tn_gguf_vocab *v) {
    json_t *a = json_array();
    for (size_t i = 0; v->type && i < v->n; i++) {
        int type = (int)v->type[i];
        if (type == TN_TOKEN_CONTROL || type == TN_TOKEN_UNKNOWN)
            json_array_append_new(a, added_token(v, i, true));
        if (type == TN_TOKEN_USER) json_array_append_new(a, added_token(v, i, false));
    }
    return a;
}

static json_t *special_item(const char *kind, tn_gstr id, int type) {
    json_t *o = json_object();
    json_object_set_new(o, "id", json_stringn(id.p, id.n));
    json_object_set_new(o, "type_id", json_integer(type));
    json_t *item = json_object();
    json_object_set_new(item, kind, o);
    return item;
}

/* BOS before and EOS after a text, as tokenizer.ggml.add_bos_token and add_eos_token say. */
tn_status tn_gguf_vocab_post(const tn_gguf_vocab *v, bool bos_default, json_t **out, tn_err *e) {
    bool bos, eos;
    *out = NULL;
    TN_TRY(tn_gguf_bool(v->g, "tokenizer.ggml.add_bos_token", bos_default, &bos, e));
    TN_TRY(tn_gguf_bool(v->g, "tokenizer.ggml.add_eos_token", false, &eos, e));
    bos = bos && v->bos >= 0;
    eos = eos && v->eos >= 0;
    if (!bos && !eos) return TN_OK;
    json_t *single = json_array(), *pair = json_array(), *specials = json_object();
    static const char *const names[2] = {"A", "B"};
    for (int k = 0; k < 2; k++) {
        if (bos) json_array_append_new(pair, special_item("SpecialToken", v->token[v->bos], k));
        json_array_append_new(pair, special_item("Sequence", (tn_gstr){names[k], 1}, k));
        if (eos) json_array_append_new(pair, special_item("SpecialToken", v->token[v->eos], k));
        if (k == 0) json_array_extend(single, pair);
    }
    for (int k = 0; k < 2; k++) {
        int64_t id = k ? v->eos : v->bos;
        if (!(k ? eos : bos)) continue;
        json_t *s = json_object(), *ids = json_array(), *tokens = json_array();
        json_array_append_new(ids, json_integer(id));
        json_array_append_new(tokens, json_stringn(v->token[id].p, v->token[id].n));
        json_object_set_new(s, "id", json_stringn(v->token[id].p, v->token[id].n));
        json_object_set_new(s, "ids", ids);
        json_object_set_new(s, "tokens", tokens);
        json_object_setn_new(specials, v->token[id].p, v->token[id].n, s);
    }
    *out = json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single", single, "pair",
                     pair, "special_tokens", specials);
    return TN_OK;
}

/* ---------------- byte-level BPE ---------------- */

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

typedef struct tn_pre {
    const char *name;
    bool digits;       /* single digits are words */
    const char *split; /* pattern; NULL: GPT-2's, built into the ByteLevel step */
    bool nfc, ignore_merges;
} tn_pre;
static const tn_pre pres[] = {
    {"gpt-2", false, NULL, false, false},
    {"gpt2", false, NULL, false, false},
    {"smollm", true, NULL, false, false},
    {"llama-bpe", false, CONTRACTIONS "\\p{N}{1,3}" REST, false, true},
    {"llama3", false, CONTRACTIONS "\\p{N}{1,3}" REST, false, true},
    {"qwen2", false, CONTRACTIONS "\\p{N}" REST, true, false},
};

static tn_status find_pre(const tn_gguf_vocab *v, const tn_pre **out, tn_err *e) {
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++)
        if (tn_gstr_is(v->pre, pres[i].name)) {
            *out = &pres[i];
            return TN_OK;
        }
    return tn_fail(
        e, TN_UNSUPPORTED,
        "%s: pre-tokenizer \"%.*s\" is not known (gpt-2, smollm, llama-bpe and qwen2 are); "
        "put the model's own tokenizer.json into the folder and use --no-tokenizer",
        tn_gguf_path(v->g), v->pre.p ? (int)(v->pre.n > 60 ? 60 : v->pre.n) : 4,
        v->pre.p ? v->pre.p : "none");
}

static json_t *byte_level(bool prefix, bool regex) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", prefix,
                     "trim_offsets", 1, "use_regex", regex);
}

static json_t *pre_tokenizer(const tn_pre *p) {
    json_t *last = byte_level(false, !p->split), *first = NULL;
    if (p->digits) first = json_pack("{s:s, s:b}", "type", "Digits", "individual_digits", 1);
    if (p->split)
        first = json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", p->split,
                          "behavior", "Isolated", "invert", 0);
    return first ? json_pack("{s:s, s:[o,o]}", "type", "Sequence", "pretokenizers", first, last)
                 : last;
}

/* "left right": the pieces of a byte-level vocabulary hold no spaces. */
static tn_status merges(const tn_gguf_vocab *v, json_t **out, tn_err *e) {
    json_t *a = json_array();
    *out = a;
    for (size_t i = 0; i < v->n_merge; i++) {
        tn_gstr m = v->merge[i];
        const char *space = m.n > 2 ? memchr(m.p + 1, ' ', m.n - 2) : NULL;
        json_t *l = space ? json_stringn(m.p, (size_t)(space - m.p)) : NULL;
        json_t *r = space ? json_stringn(space + 1, (size_t)(m.p + m.n - space - 1)) : NULL;
        if (l && r) {
            json_array_append_new(a, json_pack("[o,o]", l, r));
            continue;
        }
        json_decref(l);
        json_decref(r);
        return tn_fail(e, TN_FORMAT,
                       "%s: merge %zu is not two pieces of text with a space between them",
                       tn_gguf_path(v->g), i);
    }
    return TN_OK;
}

static tn_status bpe_tokenizer(const tn_gguf_vocab *v, json_t **out, tn_err *e) {
    const tn_pre *p = NULL;
    json_t *vocab = NULL, *pairs = NULL, *post = NULL;
    TN_TRY(find_pre(v, &p, e));
    tn_status st = tn_gguf_vocab_object(v, &vocab, e);
    if (st == TN_OK) st = merges(v, &pairs, e);
    if (st == TN_OK)
        st = tn_gguf_vocab_post(v, p->ignore_merges, &post,
                                e); /* Llama 3 begins with BOS by default */
    if (st != TN_OK) {
        json_decref(vocab);
        json_decref(pairs);
        return st;
    }
    json_t *model = json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE",
                              "dropout", "unk_token", "continuing_subword_prefix",
                              "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0,
                              "ignore_merges", p->ignore_merges, "vocab", vocab, "merges", pairs);
    *out = json_pack("{s:s, s:n, s:n, s:o, s:o, s:o, s:o, s:o, s:o}", "version", "1.0",
                     "truncation", "padding", "added_tokens", tn_gguf_vocab_added(v), "normalizer",
                     p->nfc ? json_pack("{s:s}", "type", "NFC") : json_null(), "pre_tokenizer",
                     pre_tokenizer(p), "post_processor", post ? post : json_null(), "decoder",
                     byte_level(true, true), "model", model);
    return *out ? TN_OK : tn_fail(e, TN_NOMEM, "%s: out of memory", tn_gguf_path(v->g));
}

/* ---------------- tokenizer_config.json ---------------- */

static void set_token(json_t *o, const char *key, const tn_gguf_vocab *v, int64_t id) {
    if (id >= 0) json_object_set_new(o, key, json_stringn(v->token[id].p, v->token[id].n));
}

static tn_status config(const tn_gguf_vocab *v, json_t **out, tn_err *e) {
    char key[96];
    tn_gstr arch;
    int64_t context;
    TN_TRY(tn_gguf_str(v->g, "general.architecture", &arch, e));
    snprintf(key, sizeof key, "%.*s.context_length", (int)(arch.n > 40 ? 40 : arch.n),
             arch.p ? arch.p : "");
    TN_TRY(tn_gguf_int(v->g, key, 0, &context, e));
    json_t *o = json_object();
    json_object_set_new(o, "tokenizer_class", json_string("PreTrainedTokenizerFast"));
    json_object_set_new(o, "clean_up_tokenization_spaces", json_false());
    if (context > 0) json_object_set_new(o, "model_max_length", json_integer(context));
    set_token(o, "bos_token", v, v->bos);
    set_token(o, "eos_token", v, v->eos);
    set_token(o, "unk_token", v, v->unk);
    set_token(o, "pad_token", v, v->pad);
    *out = o;
    return TN_OK;
}

tn_status tn_gguf_tokenizer(const tn_gguf *g, json_t **tokenizer, json_t **conf, tn_err *e) {
    tn_gguf_vocab v = {0};
    *tokenizer = *conf = NULL;
    tn_status st = vocab_read(g, &v, e);
    if (st == TN_OK && v.n == 0) goto done; /* the file has no tokenizer */
    if (st == TN_OK) {
        if (tn_gstr_is(v.model, "gpt2")) st = bpe_tokenizer(&v, tokenizer, e);
        else if (tn_gstr_is(v.model, "llama")) st = tn_gguf_vocab_spm(&v, tokenizer, e);
        else
            st = tn_fail(e, TN_UNSUPPORTED,
                         "%s: a tokenizer of kind \"%.*s\" is not supported (gpt2 and llama are)",
                         tn_gguf_path(g), v.model.p ? (int)(v.model.n > 60 ? 60 : v.model.n) : 4,
                         v.model.p ? v.model.p : "none");
    }
    if (st == TN_OK) st = config(&v, conf, e);
    if (st != TN_OK) {
        json_decref(*tokenizer);
        *tokenizer = NULL;
    }
done:
    tn_gguf_vocab_free(&v);
    return st;
}
