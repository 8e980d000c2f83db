/* Hugging Face tensor names and the layout of a model's slabs.
 *
 * Trunk: embedding | per layer: norm, q k v (biases), (q_norm k_norm), o, norm, gate up, down |
 * final norm | LM head when untied. Head: score. Every tensor starts on a 64-byte boundary, save
 * that k, v and up follow q and gate without a gap: each group is one matrix to the engine.     */
#include "model/params.h"
#include <string.h>

typedef struct tn_cursor {
    tn_model *m;
    tn_store *store;
    size_t at;
} tn_cursor;

static void align(tn_cursor *c) { c->at = (c->at + 15) & ~(size_t)15; }

/* Appends a tensor; `joined`: directly behind the one before. */
static size_t add(tn_cursor *c, bool joined, int rows, int cols, int layer, const char *name) {
    tn_tensor *t = &c->m->tensor[c->m->n_tensor++];
    if (!joined) align(c);
    if (layer < 0) snprintf(t->name, sizeof t->name, "%s", name);
    else snprintf(t->name, sizeof t->name, "model.layers.%d.%s", layer, name);
    t->rows = rows;
    t->cols = cols;
    t->off = c->at;
    t->store = c->store;
    c->at += (size_t)rows * (size_t)cols;
    return t->off;
}

/* The master's address follows when the slab exists. */
static void set_weight(tn_weight *w, int out, int in) { *w = (tn_weight){.out = out, .in = in}; }

static void add_layer(tn_cursor *c, int i) {
    const tn_desc *d = &c->m->desc;
    tn_layer *l = &c->m->layer[i];
    int D = d->hidden, F = d->ffn, q = d->heads * d->head_dim, kv = d->kv_heads * d->head_dim;
    l->q_norm = l->k_norm = l->qkv_bias = l->o_bias = l->gate_up_bias = l->down_bias = TN_NONE;
    l->in_norm = add(c, false, D, 1, i, "input_layernorm.weight");
    l->qkv_off = add(c, false, q, D, i, "self_attn.q_proj.weight");
    add(c, true, kv, D, i, "self_attn.k_proj.weight");
    add(c, true, kv, D, i, "self_attn.v_proj.weight");
    if (d->qkv_bias) {
        l->qkv_bias = add(c, false, q, 1, i, "self_attn.q_proj.bias");
        add(c, true, kv, 1, i, "self_attn.k_proj.bias");
        add(c, true, kv, 1, i, "self_attn.v_proj.bias");
    }
    if (d->qk_norm) {
        l->q_norm = add(c, false, d->head_dim, 1, i, "self_attn.q_norm.weight");
        l->k_norm = add(c, false, d->head_dim, 1, i, "self_attn.k_norm.weight");
    }
    l->o_off = add(c, false, D, q, i, "self_attn.o_proj.weight");
    if (d->o_bias) l->o_bias = add(c, false, D, 1, i, "self_attn.o_proj.bias");
    l->post_norm = add(c, false, D, 1, i, "post_attention_layernorm.weight");
    l->gate_up_off = add(c, false, F, D, i, "mlp.gate_proj.weight");
    add(c, true, F, D, i, "mlp.up_proj.weight");
    if (d->mlp_bias) {
        l->gate_up_bias = add(c, false, F, 1, i, "mlp.gate_proj.bias");
        add(c, true, F, 1, i, "mlp.up_proj.bias");
    }
    l->down_off = add(c, false, D, F, i, "mlp.down_proj.weight");
    if (d->mlp_bias) l->down_bias = add(c, false, D, 1, i, "mlp.down_proj.bias");
    set_weight(&l->qkv, q + 2 * kv, D);
    set_weight(&l->o, D, q);
    set_weight(&l->gate_up, 2 * F, D);
    set_weight(&l->down, D, F);
}

tn_status tn_model_layout(tn_model *m, bool score_bias, tn_err *e) {
    const tn_desc *d = &m->desc;
    m->tensor = tn_calloc((size_t)d->layers * 17 + 5 + TN_HEAD_PARTS, sizeof *m->tensor);
    m->layer = tn_calloc((size_t)d->layers, sizeof *m->layer);
    if (!m->tensor || !m->layer) return tn_fail(e, TN_NOMEM, "out of memory");
    TN_TRY(tn_store_new(&m->trunk, e));
    tn_cursor c = {m, m->trunk, 0};
    m->lm_head_off = m->score = m->score_bias = TN_NONE;
    m->no_lm_head = d->num_labels > 0;
    m->embed = add(&c, false, d->vocab, d->hidden, -1, "model.embed_tokens.weight");
    for (int i = 0; i < d->layers; i++) add_layer(&c, i);
    m->final_norm = add(&c, false, d->hidden, 1, -1, "model.norm.weight");
    set_weight(&m->lm_head, d->vocab, d->hidden);
    if (d->tied) m->lm_head_off = m->embed;
    else if (!m->no_lm_head)
        m->lm_head_off = add(&c, false, d->vocab, d->hidden, -1, "lm_head.weight");
    align(&c);
    m->trunk->n = c.at;
    return d->num_labels ? tn_model_layout_head(m, score_bias, e) : TN_OK;
}

tn_status tn_model_layout_head(tn_model *m, bool bias, tn_err *e) {
    const tn_desc *d = &m->desc;
    TN_TRY(tn_store_new(&m->head, e));
    tn_cursor c = {m, m->head, 0};
    m->score = add(&c, false, d->num_labels, d->hidden, -1, "score.weight");
    m->score_bias = bias ? add(&c, false, d->num_labels, 1, -1, "score.bias") : TN_NONE;
    align(&c);
    m->head_parts = c.at;
    for (int i = 0; i < d->n_part; i++) /* one array */
        add(&c, i > 0, d->part[i].rows, d->part[i].cols, -1, d->part[i].name);
    align(&c);
    m->head->n = c.at;
    return TN_OK;
}

bool tn_tensor_is_vector(const tn_tensor *t) {
    size_t n = strlen(t->name);
    return (n > 5 && !strcmp(t->name + n - 5, ".bias")) ||
           (n > 11 && !strcmp(t->name + n - 11, "norm.weight"));
}

const tn_tensor *tn_model_tensor(const tn_model *m, const char *name) {
    for (int i = 0; i < m->n_tensor; i++)
        if (!strcmp(m->tensor[i].name, name)) return &m->tensor[i];
    return NULL;
}
