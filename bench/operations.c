/* Part ops: rows and attention at the shape of the 135M model.
 *
 * Rows: GB/s of what an operation must read and write; bound: a plain copy that moves as much.
 * Attention, f32 and bf16: GFLOP/s of its products, masked halves not counted; bound: the peak (decoding: sequences
 * times blocks a second, keys and values at the bandwidth of reading a buffer of their size). */
#include "bench.h"
#include <string.h>

/* One set of buffers for all cases. */
typedef struct args {
    tn_backend *be;
    int T, D, F, heads, head_dim, ld;
    float *a, *b, *c, *w, *r, *m; /* a, b, c, m [cap]; w, r [4096] */
    void *rows;                   /* a as operand rows of `be` */
    size_t cap, n;
    int32_t *ids;
    tn_attn at;
    float *pool, *out, *lse, *dq;
    void (*fn)(struct args *);
    double amount; /* bytes or FLOP of one call */
    size_t bytes;  /* that the bound moves */
} args;

static void norm(args *g) {
    g->be->op->rms_norm(g->be, TN_SET, g->b, g->D, g->r, g->a, g->D, g->w, g->T, 1, g->D, 1e-5);
}
static void norm_bwd(args *g) {
    g->be->op->rms_norm_bwd(g->be, TN_SET, g->c, g->D, g->m, g->b, g->D, g->a, g->D, g->r, g->w, g->T, 1, g->D);
}
static void rope(args *g) {
    int ld = g->heads * 64;
    g->be->op->rope(g->be, TN_SET, g->a, ld, g->a, ld, g->ids, g->m, g->m, g->T, g->heads, 0, 64, 64, 1);
}
static void silu(args *g) { g->be->op->act_gate(g->be, TN_SILU, g->b, g->a, g->T, g->F); }
static void gelu(args *g) { g->be->op->act_gate(g->be, TN_GELU_TANH, g->b, g->a, g->T, g->F); }
static void silu_bwd(args *g) { g->be->op->act_gate_bwd(g->be, TN_SILU, g->c, g->b, g->a, g->T, g->F); }
static void add(args *g) { g->be->op->add(g->be, g->b, g->a, g->n); }
static void embed(args *g) { g->be->op->embed(g->be, g->b, g->a, false, g->ids, g->T, g->D); }
static void embed_bwd(args *g) { g->be->op->embed_bwd(g->be, g->a, g->b, g->ids, g->T, g->D); }
static void bias_bwd(args *g) { g->be->op->bias_bwd(g->be, g->m, g->b, g->D, g->T, g->D); }
static void adamw(args *g) {
    tn_adamw s = {.lr = 1e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .wd = 0.01, .gscale = 1, .step = 10};
    g->be->op->adamw(g->be, g->a, g->b, g->c, g->m, g->n, &s);
}
static void sumsq(args *g) {
    static double block[6000000 / TN_NORM_BLOCK + 1];
    g->be->op->sumsq(g->be, g->a, g->n, NULL, block);
}
static void kv_write(args *g) { g->be->op->kv_write(g->be, g->pool, g->rows, g->ld, &g->at); }
static void attn(args *g) {
    g->be->op->attn(g->be, g->out, g->heads * g->head_dim, g->lse, g->rows, g->ld, g->pool, &g->at);
}
static void attn_bwd(args *g) {
    int D = g->heads * g->head_dim;
    g->be->op->attn_bwd(g->be, g->dq, g->ld, g->c, D, g->out, D, g->lse, g->rows, g->ld, g->pool, &g->at);
}

static void call(void *ctx) { ((args *)ctx)->fn(ctx); }
static double own(void *ctx) { return ((args *)ctx)->amount / bench_seconds(call, ctx) * 1e-9; }
static double peak(void *ctx) { return bench_peak(((args *)ctx)->be) * 1e-9; }
static double reading(void *ctx) { return bench_read(((args *)ctx)->be, ((args *)ctx)->bytes) * 1e-9; }

static void copy_share(void *ctx, size_t begin, size_t end, int thread) {
    args *g = ctx;
    memcpy((char *)g->c + begin, (char *)g->a + begin, end - begin);
}
static void copy_all(void *ctx) { tn_pool_run(((args *)ctx)->be->pool, ((args *)ctx)->bytes / 2, 4096, copy_share, ctx); }
static double copying(void *ctx) { return (double)((args *)ctx)->bytes / bench_seconds(copy_all, ctx) * 1e-9; }

static void one(bench *b, args *g, const char *name, void (*fn)(args *), double amount, bench_fn *bound,
                const char *unit) {
    bench_case c = bench_begin(unit, "%s", name);
    g->fn = fn, g->amount = amount;
    if (bound == copying) g->bytes = (size_t)(amount < 8.0 * (double)g->cap ? amount : 8.0 * (double)g->cap);
    bench_add(&c, "tenet", own, g);
    bench_add(&c, "bound", bound, g);
    if (!bench_wanted(b, &c)) return;
    bench_measure(b, &c, b->o.repeats, true);
    bench_end(b, &c);
}

static void rows(bench *b, args *g, int T) {
    char name[64];
    double x = 4.0 * T * g->D, f = 4.0 * T * g->F;
    const struct {
        const char *name;
        void (*fn)(args *);
        double bytes;
    } list[] = {{"rms_norm", norm, 2 * x},      {"rms_norm_bwd", norm_bwd, 3 * x},
                {"rope", rope, 2.0 * 4 * T * g->heads * 64},
                {"silu gate", silu, 3 * f},     {"gelu gate", gelu, 3 * f},
                {"silu gate bwd", silu_bwd, 5 * f}, {"embed", embed, 2 * x},
                {"embed_bwd", embed_bwd, 3 * x}, {"bias_bwd", bias_bwd, x}, {"add", add, 3 * x}};
    g->T = T, g->n = (size_t)T * (size_t)g->D;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        snprintf(name, sizeof name, "%s T=%d", list[i].name, T);
        one(b, g, name, list[i].fn, list[i].bytes, copying, "GB/s");
    }
}

/* `segs` segments of `len` rows; decode: only the last row of each is a query. */
static tn_status attention(bench *b, args *g, int segs, int len, bool decode, int H, int G, int d, tn_err *e) {
    const char *dtype = g->be->dtype == TN_BF16 ? " bf16" : "";
    int blocks = (len + 31) / 32, q = decode ? 1 : len, T = segs * q;
    size_t pool = (size_t)(segs * blocks) * g->be->op->kv_block_bytes(g->be, G, d), qd = (size_t)(T * H * d);
    tn_arena *m = tn_arena_new(1 << 20);
    tn_aseg *seg = tn_arena_zalloc(m, (size_t)segs, sizeof *seg);
    tn_kblock *chain = tn_arena_zalloc(m, (size_t)(segs * blocks), sizeof *chain);
    int32_t *block = tn_arena_zalloc(m, (size_t)T, 4), *slot = tn_arena_zalloc(m, (size_t)T, 4),
            *off = tn_arena_zalloc(m, (size_t)segs + 1, 4), *desc = tn_arena_zalloc(m, (size_t)segs, 4);
    g->heads = H, g->head_dim = d, g->ld = (H + 2 * G) * d;
    g->pool = tn_arena_zalloc(m, 1, pool);
    g->out = tn_arena_zalloc(m, qd, 4), g->lse = tn_arena_zalloc(m, (size_t)(T * H), 4);
    g->dq = tn_arena_zalloc(m, (size_t)(T * g->ld), 4);
    if (!seg || !chain || !block || !slot || !off || !desc || !g->pool || !g->out || !g->lse || !g->dq ||
        g->cap < (size_t)(T * g->ld)) {
        tn_arena_free(m);
        return tn_fail(e, TN_NOMEM, "no memory for attention over %d rows", T);
    }
    for (int s = 0, t = 0; s < segs; s++) {
        seg[s] = (tn_aseg){s * q, q, len - q, s * blocks, blocks, 0};
        for (int i = 0; i < blocks; i++)
            chain[s * blocks + i] = (tn_kblock){s * blocks + i, 32 * i, len - 32 * i < 32 ? len - 32 * i : 32};
        for (int i = len - q; i < len; i++, t++) block[t] = s * blocks + i / 32, slot[t] = i % 32;
        off[s + 1] = s + 1, desc[s] = s;
    }
    g->at = (tn_attn){T, segs, seg, chain, block, slot, off, desc, H, G, d, 0, 0.125};
    char name[64];
    snprintf(name, sizeof name, "kv_write%s %dx%d G=%d d=%d%s", dtype, segs, len, G, d, decode ? " decode" : "");
    one(b, g, name, kv_write, (4.0 + (double)pool / (2.0 * segs * blocks * TN_KV_BLOCK * G * d)) * T * 2 * G * d, copying, "GB/s");
    double pairs = (decode ? len : len * (len + 1) / 2.0) * segs * H;
    snprintf(name, sizeof name, "attn%s %dx%d H=%d G=%d d=%d%s", dtype, segs, len, H, G, d, decode ? " decode" : "");
    if (decode) {
        g->bytes = pool;
        one(b, g, name, attn, (double)pool, reading, "GB/s");
    } else {
        one(b, g, name, attn, pairs * d * 4, peak, "GFLOP/s");
        snprintf(name, sizeof name, "attn_bwd%s %dx%d H=%d G=%d d=%d", dtype, segs, len, H, G, d);
        one(b, g, name, attn_bwd, pairs * d * 10, peak, "GFLOP/s"); /* 5 products */
    }
    tn_arena_free(m);
    return TN_OK;
}

static float *filled(tn_arena *m, size_t n) {
    float *p = tn_arena_alloc(m, n * sizeof *p);
    for (size_t i = 0; p && i < n; i++) p[i] = (float)((i * 2654435761u >> 8 & 0xffff) / 65536.0 - 0.5);
    return p;
}

tn_status bench_operations(bench *b, tn_err *e) {
    args g = {.be = b->f32, .D = 576, .F = 1536, .heads = 9, .cap = 2048u * 2 * 1536};
    tn_arena *m = tn_arena_new(1 << 20);
    g.a = filled(m, g.cap), g.b = filled(m, g.cap), g.c = filled(m, g.cap), g.m = filled(m, g.cap);
    g.rows = filled(m, g.cap);
    g.w = filled(m, 4096), g.r = filled(m, 4096);
    g.ids = tn_arena_zalloc(m, 4096, sizeof *g.ids);
    tn_status st = g.a && g.b && g.c && g.m && g.rows && g.w && g.r && g.ids ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; st == TN_OK && i < 4096; i++) g.ids[i] = (int32_t)((unsigned)i * 7919u % 2048u);
    if (st == TN_OK) {
        rows(b, &g, 512);
        rows(b, &g, 2048);
        g.n = 6000000;
        one(b, &g, "adamw 6M", adamw, 28.0 * 6e6, copying, "GB/s");
        one(b, &g, "sumsq 6M", sumsq, 4.0 * 6e6, copying, "GB/s");
    }
    static const int shape[][6] = {{4, 512, 0, 9, 3, 64}, {1, 2048, 0, 8, 8, 64}, {16, 64, 0, 9, 3, 64}, {16, 64, 0, 6, 2, 48},
                                   {8, 256, 0, 6, 2, 48}, {64, 300, 1, 9, 3, 64}, {1, 2048, 1, 9, 3, 64}};
    for (size_t i = 0; i < 2 * sizeof shape / sizeof *shape && st == TN_OK; i++) {
        const int *p = shape[i / 2];
        g.be = i % 2 ? b->bf16 : b->f32;
        g.be->op->round(g.be, g.rows, g.a, g.cap);
        st = attention(b, &g, p[0], p[1], p[2], p[3], p[4], p[5], e);
    }
    tn_arena_free(m);
    return st;
}
