#include "ops/flop.h"
#include "base/mem.h"

static uint64_t product(int rows, int out, int in) { return 2 * (uint64_t)rows * (uint64_t)out * (uint64_t)in; }

static void c_gemm(tn_backend *b, tn_mode mode, void *y, int ldy, const void *x, int ldx, const tn_weight *w,
                   const void *bias, int T) {
    b->flop += product(T, w->out, w->in);
    b->own->gemm(b, mode, y, ldy, x, ldx, w, bias, T);
}
static void c_gemm_dx(tn_backend *b, tn_mode mode, void *dx, int lddx, const void *dy, int lddy, const tn_weight *w,
                      int T) {
    b->flop += product(T, w->out, w->in);
    b->own->gemm_dx(b, mode, dx, lddx, dy, lddy, w, T);
}
static void c_gemm_dw(tn_backend *b, void *dw, const void *dy, int lddy, const void *x, int ldx, int T, int out, int in) {
    b->flop += product(T, out, in);
    b->own->gemm_dw(b, dw, dy, lddy, x, ldx, T, out, in);
}

/* The products with A (or its gradient), and with all B's, of T rows. */
static uint64_t lora_a(const tn_lora *w, int T) { return product(T, w->parts * w->rank, w->a.in); }
static uint64_t lora_b(const tn_lora *w, int T) {
    uint64_t n = 0;
    for (int p = 0; p < w->parts; p++) n += product(T, w->b[p].out, w->rank);
    return n;
}
static void c_lora(tn_backend *b, tn_mode mode, void *y, int ldy, void *u, const void *x, int ldx, const tn_lora *w, int T) {
    b->flop += lora_a(w, T) + (y ? lora_b(w, T) : 0);
    b->own->lora(b, mode, y, ldy, u, x, ldx, w, T);
}
static void c_lora_bwd(tn_backend *b, void *dx, int lddx, const tn_lora_grad *g, const void *dy, int lddy, const void *u,
                       void *v, const void *x, int ldx, const tn_lora *w, int T) {
    b->flop += lora_b(w, T) + (dx ? lora_a(w, T) : 0) + (g ? lora_a(w, T) + lora_b(w, T) : 0);
    b->own->lora_bwd(b, dx, lddx, g, dy, lddy, u, v, x, ldx, w, T);
}

/* Pairs (query row, visible key): a row at position q sees q + 1 positions, or the window's. */
static uint64_t visible_pairs(const tn_attn *a) {
    uint64_t pairs = 0, w = (uint64_t)a->window;
    for (int s = 0; s < a->n_seg; s++) {
        if (a->seg[s].len == 0) continue;
        uint64_t n = (uint64_t)a->seg[s].len, first = (uint64_t)a->seg[s].pos + 1, last = first + n - 1;
        if (!w || last <= w) pairs += (first + last) * n / 2;
        else if (first >= w) pairs += n * w;
        else pairs += (first + w) * (w - first + 1) / 2 + (last - w) * w;
    }
    return pairs;
}
/* Of one product over the heads' width. */
static uint64_t attended(const tn_attn *a) {
    return 2 * visible_pairs(a) * (uint64_t)a->heads * (uint64_t)a->head_dim;
}
static void c_attn(tn_backend *b, void *out, int ldo, void *lse, const void *qkv, int ld, const void *pool,
                   const tn_attn *a) {
    b->flop += 2 * attended(a); /* scores, weighted values */
    b->own->attn(b, out, ldo, lse, qkv, ld, pool, a);
}
static void c_attn_bwd(tn_backend *b, void *dqkv, int lddq, const void *dout, int lddo, const void *out, int ldo,
                       const void *lse, const void *qkv, int ld, const void *pool, const tn_attn *a) {
    b->flop += 5 * attended(a); /* scores again, dv, dp, dq, dk */
    b->own->attn_bwd(b, dqkv, lddq, dout, lddo, out, ldo, lse, qkv, ld, pool, a);
}

static void c_head(tn_backend *b, const tn_head *h) {
    b->flop += product(h->rows, h->w->out, h->w->in);
    b->own->head(b, h);
}
static void c_head_pair(tn_backend *b, const tn_head_pair *h) {
    b->flop += product(h->rows, h->w->out, h->w->in + h->w2->in);
    b->own->head_pair(b, h);
}
/* The products are logits again (those of a second model, too), dx and dw. */
static void c_head_bwd(tn_backend *b, const tn_head_bwd *h) {
    uint64_t one = product(h->rows, h->w->out, h->w->in);
    b->flop += one + (h->dx ? one : 0) + (h->dw ? one : 0);
    if (h->pair) b->flop += product(h->rows, h->w->out, h->pair->w2->in);
    b->own->head_bwd(b, h);
}

tn_status tn_flop_open(tn_backend *b, tn_err *e) {
    tn_ops *t = tn_calloc(1, sizeof *t);
    if (!t) return tn_fail(e, TN_NOMEM, "backend %s: out of memory", b->name);
    *t = *b->op;
    t->gemm = c_gemm, t->gemm_dx = c_gemm_dx, t->gemm_dw = c_gemm_dw;
    t->lora = c_lora, t->lora_bwd = c_lora_bwd;
    t->attn = c_attn, t->attn_bwd = c_attn_bwd;
    t->head = c_head, t->head_bwd = c_head_bwd, t->head_pair = c_head_pair;
    b->own = b->op;
    b->op = b->counting = t;
    return TN_OK;
}
