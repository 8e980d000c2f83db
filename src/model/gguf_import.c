/* GGUF -> a Hugging Face folder: tensors renamed, rows reordered, dequantised on the way through.
 *
 * llama.cpp rotates adjacent elements of a head, transformers its halves: for architecture llama
 * the rows of q and k were permuted. Row h*d + p*(d/2) + i here is row h*d + 2*i + p there (head h,
 * d rows a head, p the half). */
#include "model/gguf.h"
#include "model/half.h"
#include "model/params.h"
#include "model/safetensors.h"
#include <string.h>

/* ---------------- names ---------------- */

static const struct {
    const char *hf, *gguf;
} names[] = {
    {"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
    {"self_attn.q_norm", "attn_q_norm"}, {"self_attn.k_norm", "attn_k_norm"},
    {"self_attn.o_proj", "attn_output"}, {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};

/* "model.layers.3.mlp.up_proj.weight" -> "blk.3.ffn_up.weight" */
static bool gguf_name(const char *hf, char *out, size_t n) {
    int layer, at = 0;
    if (!strcmp(hf, "model.embed_tokens.weight")) return snprintf(out, n, "token_embd.weight") > 0;
    if (!strcmp(hf, "model.norm.weight")) return snprintf(out, n, "output_norm.weight") > 0;
    if (!strcmp(hf, "lm_head.weight")) return snprintf(out, n, "output.weight") > 0;
    if (sscanf(hf, "model.layers.%d.%n", &layer, &at) != 1 || !at) return false;
    const char *rest = hf + at, *dot = strrchr(rest, '.');
    for (size_t i = 0; dot && i < sizeof names / sizeof *names; i++)
        if (strlen(names[i].hf) == (size_t)(dot - rest) &&
            !memcmp(names[i].hf, rest, (size_t)(dot - rest)))
            return snprintf(out, n, "blk.%d.%s%s", layer, names[i].gguf, dot) > 0;
    return false;
}

/* ---------------- elements ---------------- */

typedef struct tn_from {
    const tn_gguf_tensor *t;
    const tn_gguf_type *type;
    int64_t cols;  /* of the tensor as transformers has it; 1 for a vector */
    int head_rows; /* rows of a head when the rows are permuted; 0 otherwise */
} tn_from;

static int64_t source_row(const tn_from *f, int64_t row) {
    if (!f->head_rows) return row;
    int64_t d = f->head_rows, r = row % d, half = r / (d / 2), i = r % (d / 2);
    return row - r + 2 * i + half;
}

/* Whole blocks only: chunks begin on multiples of 65536 and rows are whole blocks. */
static void read_rows(const void *ctx, size_t begin, size_t n, float *out) {
    const tn_from *f = ctx;
    while (n) {
        int64_t row = (int64_t)begin / f->cols, col = (int64_t)begin % f->cols;
        size_t take = (size_t)(f->cols - col) < n ? (size_t)(f->cols - col) : n;
        size_t at = (size_t)(source_row(f, row) * f->cols + col);
        const uint8_t *p = f->t->data + at / (size_t)f->type->block * (size_t)f->type->bytes;
        tn_gguf_unpack(f->type, p, take, out);
        begin += take;
        out += take;
        n -= take;
    }
}

/* ---------------- plan ---------------- */

typedef struct tn_import {
    const tn_gguf *g;
    tn_model plan;  /* layout only */
    tn_from *from;  /* [n_tensor] */
    tn_st_out *out; /* [n_tensor] */
} tn_import;

static tn_status place(tn_import *m, int i, bool permuted, tn_err *e) {
    const tn_tensor *t = &m->plan.tensor[i];
    const tn_desc *d = &m->plan.desc;
    char name[128];
    const tn_gguf_tensor *s =
        gguf_name(t->name, name, sizeof name) ? tn_gguf_find(m->g, name) : NULL;
    if (!s)
        return tn_fail(e, TN_FORMAT, "%s: tensor %s is missing (%s)", tn_gguf_path(m->g), name,
                       t->name);
    bool vector = tn_tensor_is_vector(t);
    bool fits =
        vector ? s->rows == 1 && s->cols == t->rows : s->rows == t->rows && s->cols == t->cols;
    if (!fits || s->n_dim > 2)
        return tn_fail(e, TN_FORMAT,
                       "%s: tensor %s has shape [%lld, %lld], but its metadata make it [%d, %d]",
                       tn_gguf_path(m->g), name, (long long)s->rows, (long long)s->cols, t->rows,
                       t->cols);
    bool qk = strstr(t->name, ".q_proj.") || strstr(t->name, ".k_proj.");
    const tn_gguf_type *type = tn_gguf_type_find(s->type);
    if (vector && type->block != 1)
        return tn_fail(e, TN_UNSUPPORTED, "%s: tensor %s is a vector in blocks", tn_gguf_path(m->g),
                       name);
    m->from[i] = (tn_from){s, type, vector ? 1 : t->cols, permuted && qk ? d->head_dim : 0};
    m->out[i] = (tn_st_out){
        .name = t->name,
        .n_dim = vector ? 1 : 2,
        .shape = {t->rows, vector ? 0 : t->cols},
        .read = read_rows,
        .ctx = &m->from[i]};
    return TN_OK;
}

/* Every tensor of the file must have been asked for. */
static tn_status check_extra(const tn_import *m, tn_err *e) {
    for (size_t i = 0; i < tn_gguf_tensors(m->g); i++) {
        const tn_gguf_tensor *t = tn_gguf_at(m->g, i);
        bool used = t->name.n == 17 && !memcmp(t->name.p, "rope_freqs.weight", 17);
        for (int k = 0; !used && k < m->plan.n_tensor; k++) used = m->from[k].t == t;
        if (!used)
            return tn_fail(e, TN_FORMAT, "%s: tensor %.*s has no place in a %s model",
                           tn_gguf_path(m->g), (int)(t->name.n > 120 ? 120 : t->name.n), t->name.p,
                           m->plan.desc.family);
    }
    return TN_OK;
}

static tn_status make_plan(tn_import *m, const json_t *config, tn_err *e) {
    TN_TRY(tn_desc_from_config(&m->plan.desc, config, tn_gguf_path(m->g), e));
    TN_TRY(tn_model_layout(&m->plan, false, e));
    m->from = tn_calloc((size_t)m->plan.n_tensor, sizeof *m->from);
    m->out = tn_calloc((size_t)m->plan.n_tensor, sizeof *m->out);
    if (!m->from || !m->out) return tn_fail(e, TN_NOMEM, "%s: out of memory", tn_gguf_path(m->g));
    bool permuted = !strcmp(m->plan.desc.family, "llama");
    for (int i = 0; i < m->plan.n_tensor; i++) TN_TRY(place(m, i, permuted, e));
    return check_extra(m, e);
}

static void free_plan(tn_import *m) {
    tn_free(m->plan.tensor);
    tn_free(m->plan.layer);
    tn_free(m->plan.trunk);
    tn_free(m->plan.head);
    tn_free(m->from);
    tn_free(m->out);
}

/* bfloat16 keeps a checkpoint that is bfloat16 already; quantised and float16 weights need float32:
 * their values, products of small integers and float16 scales, have more than 8 significant bits.
 */
static bool fits_bf16(const tn_import *m) {
    for (int i = 0; i < m->plan.n_tensor; i++) {
        const tn_gguf_tensor *t = m->from[i].t;
        if (t->type == 30) continue;
        if (t->type != 0) return false;
        for (size_t k = 0; k < t->bytes; k += 4) {
            float f;
            memcpy(&f, t->data + k, 4);
            if (tn_f32_bits(f) & 0xffff) return false;
        }
    }
    return true;
}

/* ---------------- files ---------------- */

static tn_status save_json(const char *dir, const char *name, const json_t *o, bool sorted,
                           tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, dir, name);
    tn_status st = path.oom || !o ? tn_fail(e, TN_NOMEM, "%s: out of memory", dir)
                                  : tn_json_save(path.s, o, sorted, e);
    tn_str_free(&path);
    return st;
}

static tn_status save_template(const tn_gguf *g, const char *dir, tn_err *e) {
    tn_gstr t;
    TN_TRY(tn_gguf_str(g, "tokenizer.chat_template", &t, e));
    if (!t.p) return TN_OK;
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, dir, "chat_template.jinja");
    tn_status st = path.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", dir)
                            : tn_write_file(path.s, t.p, t.n, e);
    tn_str_free(&path);
    return st;
}

static tn_status save_tokenizer(const tn_gguf *g, const char *dir, tn_err *e) {
    json_t *tokenizer, *config;
    TN_TRY(tn_gguf_tokenizer(g, &tokenizer, &config, e));
    if (!tokenizer) return TN_OK;
    tn_status st = save_json(dir, "tokenizer.json", tokenizer, false, e);
    if (st == TN_OK) st = save_json(dir, "tokenizer_config.json", config, false, e);
    if (st == TN_OK) st = save_template(g, dir, e);
    json_decref(tokenizer);
    json_decref(config);
    return st;
}

static tn_status save_configs(json_t *config, const char *dtype, const char *dir, tn_err *e) {
    json_object_set_new(config, "dtype", json_string(dtype));
    json_object_set_new(config, "torch_dtype", json_string(dtype));
    TN_TRY(save_json(dir, "config.json", config, true, e));
    json_t *gen = json_object();
    static const char *const ids[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
    for (int i = 0; i < 3; i++)
        if (json_is_integer(json_object_get(config, ids[i])))
            json_object_set(gen, ids[i], json_object_get(config, ids[i]));
    json_object_set_new(gen, "_from_model_config", json_true());
    tn_status st = save_json(dir, "generation_config.json", gen, true, e);
    json_decref(gen);
    return st;
}

tn_status tn_gguf_import(const tn_gguf *g, const char *dir, const char *dtype, size_t shard_bytes,
                         bool tokenizer, tn_err *e) {
    tn_import m = {.g = g};
    json_t *config = NULL;
    tn_st_save as;
    tn_status st;
    TN_GO(tn_gguf_config(g, &config, e), done);
    TN_GO(make_plan(&m, config, e), done);
    if (!strcmp(dtype, "auto")) dtype = fits_bf16(&m) ? "bfloat16" : "float32";
    TN_GO(tn_st_save_dtype(dtype, &as, e), done);
    if (tokenizer) TN_GO(save_tokenizer(g, dir, e), done);
    TN_GO(tn_st_write_dir(dir, m.out, (size_t)m.plan.n_tensor, as, shard_bytes, e), done);
    st = save_configs(config, dtype, dir, e);
done:
    json_decref(config);
    free_plan(&m);
    return st;
}
