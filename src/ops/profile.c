#include "ops/profile.h"
#include "base/mem.h"
#include "base/os.h"
#include <limits.h>
#include <string.h>

const char *const tn_phase_name[TN_PHASE_COUNT] = {"set-up",    "loop",      "data",    "sampling",
                                                   "scoring",   "reference", "forward", "backward",
                                                   "optimiser", "checkpoint"};

/* ---- rows ---- */

/* Decoding of one, a few and many sequences, and whole batches have rows of their own. */
static int rows_class(int rows) {
    return rows <= 1 ? rows : rows <= 16 ? 16 : rows <= 64 ? 64 : INT_MAX;
}

static unsigned hash_of(const tn_profile_row *k) {
    unsigned h = (unsigned)k->phase * 31 + (unsigned)k->out * 7919 + (unsigned)k->in * 104729 +
                 (unsigned)k->most;
    for (const char *s = k->op; *s; s++) h = h * 31 + (unsigned char)*s;
    return h * 2654435761u >> 16;
}

static tn_profile_row *row_of(tn_profiler *p, const char *op, int most, int out, int in) {
    /* Half full, it takes no more shapes: there is room for every operation of every phase. */
    bool shapes = p->n_row < TN_PROFILE_ROWS / 2;
    tn_profile_row k = {.op = op, .phase = p->phase, .out = out, .in = in, .most = most};
    for (;;) {
        unsigned i = hash_of(&k) % TN_PROFILE_ROWS;
        tn_profile_row *r = &p->row[i];
        for (; r->op; r = &p->row[i = (i + 1) % TN_PROFILE_ROWS])
            if (r->phase == k.phase && r->out == k.out && r->in == k.in && r->most == k.most &&
                !strcmp(r->op, op))
                return r;
        if (shapes || !(k.out || k.in || k.most)) {
            *r = k;
            p->n_row++;
            return r;
        }
        k.out = k.in = k.most = 0;
    }
}

void tn_profile_add(tn_profiler *p, const char *op, double seconds, int rows, int out, int in,
                    double flop, double bytes) {
    tn_profile_row *r = row_of(p, op, rows_class(rows), out, in);
    r->calls++;
    r->seconds += seconds;
    p->in_rows += seconds;
    r->rows += rows;
    r->flop += flop;
    r->bytes += bytes;
}

tn_phase tn_profile_phase(tn_profiler *p, tn_phase next) {
    tn_phase before = p->phase;
    double now = p->now();
    p->seconds[before] += now - p->since;
    p->since = now;
    p->phase = next;
    return before == TN_PHASE_SETUP ? TN_PHASE_LOOP : before;
}

double tn_profile_accounted(const tn_profiler *p, tn_phase phase) {
    double sum = 0;
    for (int i = 0; i < TN_PROFILE_ROWS; i++) {
        const tn_profile_row *r = &p->row[i];
        if (r->op && (phase == TN_PHASE_COUNT ? r->phase != TN_PHASE_SETUP : r->phase == phase))
            sum += r->seconds;
    }
    return sum;
}

double tn_profile_steps(const tn_profiler *p) {
    double sum = 0;
    for (int i = TN_PHASE_SETUP + 1; i < TN_PHASE_COUNT; i++) sum += p->seconds[i];
    return sum;
}

/* ---- the table: each entry forwards its arguments ---- */

#define OP (b->profiler->inner)
/* An operation's FLOP are what its call added to the backend's. */
static void add_call(tn_backend *b, const char *op, double seconds, uint64_t before, int rows, int out, int in,
                     double bytes) {
    tn_profile_add(b->profiler, op, seconds, rows, out, in, (double)(b->flop - before), bytes);
}
#define TIMED(statement, ...)                                                                      \
    do {                                                                                           \
        tn_profiler *p_ = b->profiler;                                                             \
        uint64_t before_ = b->flop;                                                                \
        double begin_ = p_->now();                                                                 \
        statement;                                                                                 \
        add_call(b, __func__ + 2 /* p_NAME */, p_->now() - begin_, before_, __VA_ARGS__);          \
    } while (0)

static double elems(const tn_backend *b, double rows, double width) {
    return rows * width * (double)b->elem;
}
static double operands(const tn_backend *b, double rows, double width) {
    return rows * width * (double)b->operand;
}
static double weights(const tn_backend *b, const tn_weight *w) {
    return (double)OP->weight_bytes(b, w->out, w->in);
}
static void p_weight_pack(tn_backend *b, const tn_weight *w) {
    TIMED(OP->weight_pack(b, w), 0, w->out, w->in, elems(b, w->out, w->in) + weights(b, w));
}
static void p_gemm(tn_backend *b, tn_mode mode, void *y, int ldy, const void *x, int ldx,
                   const tn_weight *w, const void *bias, int T) {
    TIMED(OP->gemm(b, mode, y, ldy, x, ldx, w, bias, T), T, w->out, w->in,
          weights(b, w) + operands(b, T, w->in) +
              (mode == TN_ROUND ? operands(b, T, w->out) : elems(b, T, w->out * (mode == TN_ADD ? 2 : 1))));
}
static void p_gemm_dx(tn_backend *b, tn_mode mode, void *dx, int lddx, const void *dy, int lddy,
                      const tn_weight *w, int T) {
    TIMED(OP->gemm_dx(b, mode, dx, lddx, dy, lddy, w, T), T, w->out, w->in,
          weights(b, w) + operands(b, T, w->out) + elems(b, T, w->in * (mode == TN_ADD ? 2 : 1)));
}
static void p_gemm_dw(tn_backend *b, void *dw, const void *dy, int lddy, const void *x, int ldx,
                      int T, int out, int in) {
    TIMED(OP->gemm_dw(b, dw, dy, lddy, x, ldx, T, out, in), T, out, in,
          operands(b, T, out + in) + 2 * elems(b, out, in));
}
static void p_bias_bwd(tn_backend *b, void *db, const void *dy, int ld, int T, int n) {
    TIMED(OP->bias_bwd(b, db, dy, ld, T, n), T, 0, n, operands(b, T, n));
}
static void p_lora(tn_backend *b, tn_mode mode, void *y, int ldy, void *u, const void *x, int ldx,
                   const tn_lora *w, int T) {
    TIMED(OP->lora(b, mode, y, ldy, u, x, ldx, w, T), T, w->parts * w->rank, w->a.in,
          operands(b, T, w->a.in) + elems(b, T, w->parts * w->rank));
}
static void p_lora_bwd(tn_backend *b, void *dx, int lddx, const tn_lora_grad *g, const void *dy,
                       int lddy, const void *u, void *v, const void *x, int ldx, const tn_lora *w,
                       int T) {
    TIMED(OP->lora_bwd(b, dx, lddx, g, dy, lddy, u, v, x, ldx, w, T), T, w->parts * w->rank,
          w->a.in, operands(b, T, 2.0 * w->a.in));
}
static void p_embed(tn_backend *b, void *y, const void *table, bool half, const int32_t *ids, int T, int D) {
    TIMED(OP->embed(b, y, table, half, ids, T, D), T, 0, D, 2 * elems(b, T, D));
}
static void p_embed_bwd(tn_backend *b, void *dtable, const void *dy, const int32_t *ids, int T,
                        int D) {
    TIMED(OP->embed_bwd(b, dtable, dy, ids, T, D), T, 0, D, 3 * elems(b, T, D));
}
static void p_rms_norm(tn_backend *b, tn_mode mode, void *y, int ldy, void *rstd, const void *x, int ldx,
                       const void *w, int T, int groups, int n, double eps) {
    TIMED(OP->rms_norm(b, mode, y, ldy, rstd, x, ldx, w, T, groups, n, eps), T, 0, groups * n,
          elems(b, T, groups * n) + (mode == TN_ROUND ? operands(b, T, groups * n) : elems(b, T, groups * n)));
}
static void p_rms_norm_bwd(tn_backend *b, tn_mode mode, void *dx, int lddx, void *dw,
                           const void *dy, int lddy, const void *x, int ldx, const void *rstd,
                           const void *w, int T, int groups, int n) {
    TIMED(OP->rms_norm_bwd(b, mode, dx, lddx, dw, dy, lddy, x, ldx, rstd, w, T, groups, n), T, 0,
          groups * n, (mode == TN_ADD ? 4 : 3) * elems(b, T, groups * n));
}
static void p_rope(tn_backend *b, tn_mode mode, void *y, int ldy, const void *x, int ldx, const int32_t *pos,
                   const void *cos, const void *sin, int T, int heads, int rest, int d, int d_rot, int sign) {
    int n = mode == TN_ROUND ? (heads + rest) * d : heads * d_rot;
    TIMED(OP->rope(b, mode, y, ldy, x, ldx, pos, cos, sin, T, heads, rest, d, d_rot, sign), T, 0, n,
          elems(b, T, n) + (mode == TN_ROUND ? operands(b, T, n) : elems(b, T, n)));
}
static void p_round(tn_backend *b, void *y, const void *x, size_t n) {
    TIMED(OP->round(b, y, x, n), 0, 0, 0, elems(b, 1, (double)n) + operands(b, 1, (double)n));
}
static void p_act_gate(tn_backend *b, tn_act act, void *h, const void *gu, int T, int F) {
    TIMED(OP->act_gate(b, act, h, gu, T, F), T, 0, F, 3 * operands(b, T, F));
}
static void p_act_gate_bwd(tn_backend *b, tn_act act, void *dgu, const void *dh, const void *gu,
                           int T, int F) {
    TIMED(OP->act_gate_bwd(b, act, dgu, dh, gu, T, F), T, 0, F, elems(b, T, F) + 4 * operands(b, T, F));
}
static void p_gather(tn_backend *b, void *y, const void *x, int ld, const int32_t *rows, int R, int D, size_t bytes) {
    TIMED(OP->gather(b, y, x, ld, rows, R, D, bytes), R, 0, D, 2.0 * R * D * (double)bytes);
}
static void p_scatter_add(tn_backend *b, void *x, int ld, const void *y, const int32_t *rows, int R,
                          int D) {
    TIMED(OP->scatter_add(b, x, ld, y, rows, R, D), R, 0, D, 3 * elems(b, R, D));
}
static void p_spread(tn_backend *b, void *x, const int32_t *rows, int R, int T, int D) {
    TIMED(OP->spread(b, x, rows, R, T, D), T, 0, D, elems(b, R, D) + elems(b, T, D));
}
static void p_add(tn_backend *b, void *y, const void *x, size_t n) {
    TIMED(OP->add(b, y, x, n), 0, 0, 0, 3 * elems(b, 1, (double)n));
}
static void p_scale(tn_backend *b, void *y, double s, size_t n) {
    TIMED(OP->scale(b, y, s, n), 0, 0, 0, 2 * elems(b, 1, (double)n));
}

/* So many keys and values in the cache. */
static double cached(const tn_backend *b, const tn_attn *a, double keys) {
    return keys / TN_KV_BLOCK * (double)OP->kv_block_bytes(b, a->kv_heads, a->head_dim);
}
/* Those of the chains, once for every segment that reads them. */
static double chain_bytes(const tn_backend *b, const tn_attn *a) {
    double keys = 0;
    for (int s = 0; s < a->n_seg; s++) keys += a->seg[s].pos + a->seg[s].len;
    return cached(b, a, keys);
}
static void p_kv_write(tn_backend *b, void *pool, const void *qkv, int ld, const tn_attn *a) {
    TIMED(OP->kv_write(b, pool, qkv, ld, a), a->n_tok, 0, 2 * a->kv_heads * a->head_dim,
          operands(b, a->n_tok, 2 * a->kv_heads * a->head_dim) + cached(b, a, a->n_tok));
}
static void p_attn(tn_backend *b, void *out, int ldo, void *lse, const void *qkv, int ld,
                   const void *pool, const tn_attn *a) {
    int Q = a->heads * a->head_dim;
    TIMED(OP->attn(b, out, ldo, lse, qkv, ld, pool, a), a->n_tok, 0, Q,
          chain_bytes(b, a) + 2 * operands(b, a->n_tok, Q));
}
static void p_attn_bwd(tn_backend *b, void *dqkv, int lddq, const void *dout, int lddo,
                       const void *out, int ldo, const void *lse, const void *qkv, int ld,
                       const void *pool, const tn_attn *a) {
    int Q = a->heads * a->head_dim;
    TIMED(OP->attn_bwd(b, dqkv, lddq, dout, lddo, out, ldo, lse, qkv, ld, pool, a), a->n_tok, 0, Q,
          2 * chain_bytes(b, a) + 2 * elems(b, a->n_tok, Q) + 2 * operands(b, a->n_tok, Q));
}
static void p_head(tn_backend *b, const tn_head *h) {
    const tn_weight *w = h->w;
    TIMED(OP->head(b, h), h->rows, w->out, w->in,
          weights(b, w) + elems(b, h->rows, w->in) + (h->z ? 4.0 * h->rows * w->out : 0));
}
static void p_head_pair(tn_backend *b, const tn_head_pair *h) {
    const tn_weight *w = h->w, *w2 = h->w2;
    TIMED(OP->head_pair(b, h), h->rows, w->out, w->in,
          weights(b, w) + weights(b, w2) + elems(b, h->rows, w->in + w2->in));
}
static void p_head_bwd(tn_backend *b, const tn_head_bwd *h) {
    const tn_weight *w = h->w, *w2 = h->pair ? h->pair->w2 : NULL;
    TIMED(OP->head_bwd(b, h), h->rows, w->out, w->in,
          weights(b, w) + (w2 ? weights(b, w2) + elems(b, h->rows, w2->in) : 0) + (h->dx ? weights(b, w) : 0) +
              (h->dw ? 2 * elems(b, w->out, w->in) : 0) + 2 * elems(b, h->rows, w->in));
}
static void p_rowdot(tn_backend *b, double *out, const void *x, const void *w, int R, int D) {
    TIMED(OP->rowdot(b, out, x, w, R, D), R, 0, D, elems(b, R, D));
}
static void p_rowdot_bwd(tn_backend *b, void *dx, void *dw, const double *d_out, const void *x,
                         const void *w, int R, int D) {
    TIMED(OP->rowdot_bwd(b, dx, dw, d_out, x, w, R, D), R, 0, D, 2 * elems(b, R, D));
}
/* Of n elements: those that are looked at. */
static double looked_at(const uint8_t *live, size_t n) {
    size_t blocks = (n + TN_MOMENT_BLOCK - 1) / TN_MOMENT_BLOCK, seen = 0;
    for (size_t i = 0; live && i < blocks; i++) seen += live[i];
    return live ? (double)n * (double)seen / (double)blocks : (double)n;
}
static void p_adamw(tn_backend *b, void *p, const void *g, void *m, void *v, size_t n, const tn_adamw *s) {
    TIMED(OP->adamw(b, p, g, m, v, n, s), 0, 0, 0,
          3 * elems(b, 1, looked_at(s->live, n)) +
              4.0 * (double)tn_moment_bytes(s->moments, (size_t)looked_at(s->live, n), b->elem));
}
static void p_sumsq(tn_backend *b, const void *x, size_t n, const uint8_t *live, double *block) {
    TIMED(OP->sumsq(b, x, n, live, block), 0, 0, 0, elems(b, 1, looked_at(live, n)));
}
static bool p_finite(tn_backend *b, const void *x, size_t n) {
    bool all;
    TIMED(all = OP->finite(b, x, n), 0, 0, 0, elems(b, 1, (double)n));
    return all;
}

/* Questions of size (weight_bytes, kv_block_bytes), and what threads call, stay the backend's own. */
static void set_table(tn_ops *t, const tn_ops *inner) {
    *t = *inner;
    t->weight_pack = p_weight_pack;
    t->gemm = p_gemm, t->gemm_dx = p_gemm_dx, t->gemm_dw = p_gemm_dw, t->bias_bwd = p_bias_bwd;
    t->embed = p_embed, t->embed_bwd = p_embed_bwd;
    t->rms_norm = p_rms_norm, t->rms_norm_bwd = p_rms_norm_bwd, t->rope = p_rope, t->round = p_round;
    t->act_gate = p_act_gate, t->act_gate_bwd = p_act_gate_bwd;
    t->gather = p_gather, t->scatter_add = p_scatter_add, t->spread = p_spread, t->add = p_add, t->scale = p_scale;
    t->kv_write = p_kv_write, t->attn = p_attn, t->attn_bwd = p_attn_bwd;
    t->head = p_head, t->head_bwd = p_head_bwd, t->head_pair = p_head_pair, t->rowdot = p_rowdot, t->rowdot_bwd = p_rowdot_bwd;
    t->lora = p_lora, t->lora_bwd = p_lora_bwd;
    t->adamw = p_adamw, t->sumsq = p_sumsq, t->finite = p_finite;
}

tn_status tn_profile_open(tn_backend *b, const char *path, tn_err *e) {
    tn_profiler *p = tn_calloc(1, sizeof *p);
    if (!p) return tn_fail(e, TN_NOMEM, "out of memory for the profile");
    p->inner = b->op;
    p->path = path;
    p->now = tn_now;
    p->since = tn_now();
    set_table(&p->table, b->op);
    b->profiler = p;
    b->op = &p->table;
    return TN_OK;
}

tn_status tn_profile_finish(tn_backend *b, tn_status st, tn_err *e) {
    if (!b || !b->profiler) return st;
    tn_profile_phase(b->profiler, TN_PHASE_LOOP); /* the last phase's seconds */
    tn_profile_print(b->profiler);
    tn_err late = {0};
    tn_status saved = tn_profile_save(b, b->profiler->path, &late);
    if (st != TN_OK || saved == TN_OK) return st;
    if (e) *e = late;
    return saved;
}
