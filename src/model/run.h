/* Inside of a run: the buffers that forward, heads and backward share. Only src/model includes
 * this.
 *
 * Per layer, backward needs the two residual inputs, q/k/v after RoPE (and q, k before their norm),
 * the attention output with its log-sum-exp, the key/value blocks, and gate|up. Normed rows, the
 * gated product and the blocks are always made again, the others by tn_keep: what is not kept has one
 * buffer for all layers, which backward finds as the last layer left it and fills again for every other.
 * Nothing kept: every layer uses the same buffers, in place.
 *
 * x, mid and gradients but dqkv_operand and that of gu are elements; qkv, att, gu, xn and h operand rows (ops.h N12), so
 * that in bf16 profiles two thirds of what is kept has half the bytes. Every forward rounds them, whatever it keeps.
 *
 * Rows that no head reads end in the last layer, as soon as their keys and values are written and attention is done:
 * its mid and gu, the final residual and their gradients have the n_read rows that are read, without gaps. */
#ifndef TN_MODEL_RUN_H
#define TN_MODEL_RUN_H
#include "model/model.h"

typedef struct tn_saved {
    void *x;       /* [T, D] residual entering the layer */
    void *mid;     /* [T, D] residual after attention; without keep the same buffer as x */
    void *qkv;     /* [T, (H+2G)d] after norm and RoPE */
    void *qk;      /* [T, (H+G)d] before their norm; NULL without qk_norm */
    void *q_rstd;  /* [T, H] */
    void *k_rstd;  /* [T, G] */
    void *att;     /* [T, Hd] */
    void *lse;     /* [T, H]; NULL without keep */
    void *gu;      /* [T, 2F] gate, up */
} tn_saved;

#define TN_HEAD_COEFS 11
struct tn_run {
    tn_backend *be;
    int vocab, hidden, layers, heads, kv_heads, head_dim, ffn; /* the shape it was made for */
    int max_tok, max_rows, max_pos, max_lora;
    tn_keep keep;
    char *slab;                 /* everything but the block pool */
    size_t slab_bytes;
    tn_saved *saved;            /* [layers + 1]; the last has only x: the final residual */
    void *cos, *sin;            /* [max_pos, rot/2] */
    void *xn, *h;               /* [T, D] normed rows, [T, F] gated product; behind h lie dh, datt, dqkv, dqkv_operand */
    void *lu, *lv;              /* [T, max_lora] x A^T of an adapter; its gradient (keep) */
    void *dx, *dxn, *dh, *dqkv, *datt; /* keep only: gradients of the buffers above; that of gu replaces it */
    void *dqkv_operand;         /* dqkv as products read it: dqkv itself where operands are elements */
    void *rstd;                 /* [max(T, R)] */
    void *rx, *rn, *rdx, *rdn;  /* [R, D] gathered rows, normed; their gradients (keep) */
    double *coef[TN_HEAD_COEFS]; /* keep only, [R] compacted numbers of a head's backward (head.c) */
    int32_t *row_id, *target;   /* [R] compacted */
    int32_t *iota;              /* [T] 0, 1, 2, ... */
    int32_t *read, *place;      /* [T] the rows that heads read, ascending; row's place among them, or -1 */
    int32_t *at;                /* [R] places of a head's rows */
    tn_aseg *read_seg;          /* [T] segments (start and len) of the rows that are read */
    char *pool; /* key/value blocks of one layer: cap_block */
    size_t pool_bytes;
    int cap_block;
    /* The call under way: segments and their adapters. */
    int n_seg;
    const tn_aseg *seg;
    const int32_t *adapter;
    int n_tok;                  /* rows of the last forward */
    int n_read;                 /* rows that heads may read; n_tok: all, and read and place say nothing */
    bool kept;                  /* backward is possible */
    bool dx_ready;              /* some head has put its gradient into dx */
};

/* The layers on given rows, whose segments (a's) have these adapters; `pool` is layer 0's blocks and
 * layer l's start at pool + l*pool_stride. */
void tn_trunk_forward(tn_run *r, const tn_model *m, const int32_t *ids, const int32_t *pos,
                      const tn_attn *a, const int32_t *adapter, char *pool, size_t pool_stride,
                      bool keep);
/* Before it: the rows whose final residual will be read, in any order, some perhaps twice; n < 0: all. */
tn_status tn_run_read(tn_run *r, const int32_t *rows, int n, int n_tok, tn_err *e);
/* Halves of layer l, for backward to make again: x to mid; mid to gate|up. Not for the last one. */
void tn_trunk_attention(tn_run *r, const tn_model *m, int l, const int32_t *pos, const tn_attn *a, void *pool,
                        bool keep);
void tn_trunk_gate_up(tn_run *r, const tn_model *m, int l, int T);
tn_status tn_run_check(const tn_run *r, const tn_model *m, tn_err *e); /* same shape and backend */
/* Attention view of a forest, all but window and scale. */
tn_attn tn_attn_of(const tn_forest *f, const tn_desc *d);

/* head.c: rn[i] = final_norm(x[rows[i]]), rx[i] = x[rows[i]] */
void tn_head_rows(tn_run *r, const tn_model *m, const int32_t *rows, int n);
tn_status tn_head_check(const tn_run *r, const tn_model *m, const tn_lm *q, tn_err *e);
/* p: NULL, or checked by the caller. */
tn_status tn_head_backward(tn_run *r, tn_model *m, const tn_lm *q, const tn_lm_pair *p, const tn_lm_grad *d, tn_err *e);

/* adapt.c: what the adapters of the rows add to y = x W^T of matrix k of layer l. */
void tn_adapt(tn_run *r, const tn_model *m, int l, tn_matrix k, void *y, const void *x);
/* dx += (NULL: not wanted); gradients of A and B where they are trained. */
void tn_adapt_backward(tn_run *r, const tn_model *m, int l, tn_matrix k, void *dx, const void *dy,
                       const void *x);
int tn_adapt_width(const tn_model *m); /* widest u of its adapters, 0 without any */
tn_status tn_adapt_check(const tn_model *m, const int32_t *adapter, int n, tn_err *e);
static inline bool tn_trunk_trained(const tn_model *m) { return m->trainable && !m->n_adapter; }

/* Fused matrix k of a layer; *bias is its offset or TN_NONE. */
static inline const tn_weight *tn_layer_matrix(const tn_layer *l, tn_matrix k, size_t *bias) {
    switch (k) {
    case TN_QKV: *bias = l->qkv_bias; return &l->qkv;
    case TN_O: *bias = l->o_bias; return &l->o;
    case TN_GATE_UP: *bias = l->gate_up_bias; return &l->gate_up;
    default: *bias = l->down_bias; return &l->down;
    }
}

static inline const void *tn_param(const tn_model *m, size_t off) { /* NULL for TN_NONE */
    return off == TN_NONE ? NULL : tn_cat(m->be, m->trunk->data, off);
}
/* Gradients of trunk tensors; NULL when the trunk is frozen. */
static inline void *tn_param_grad(const tn_model *m, size_t off) {
    return off == TN_NONE || !tn_trunk_trained(m) ? NULL : tn_at(m->be, m->trunk->grad, off);
}
/* Of a matrix: same place in the gradient slab as its master in the data slab. */
static inline void *tn_weight_grad(const tn_model *m, const tn_weight *w) {
    if (!tn_trunk_trained(m)) return NULL;
    return (char *)m->trunk->grad + ((const char *)w->master - (const char *)m->trunk->data);
}
#endif
