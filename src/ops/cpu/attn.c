/* Attention of the cpu backend: key/value blocks, and how tiles are dealt out to threads. Each
 * thread gets a run of tiles of about the same cost; no sum is shared between threads.     */
#include "ops/cpu/attn.h"
#include "ops/cpu/rows.h"
#include <string.h>

size_t tn_cpu_kv_block_bytes(const tn_backend *b, int kv_heads, int head_dim) {
    return (size_t)kv_heads * tn_attn_head_size(head_dim) * sizeof(float);
}

/* ---- writing ---- */
typedef struct write_job { const tn_attn *a; float *pool; const float *qkv; size_t ld; } write_job;

/* Rows [t, end) go to one block. */
static void write_block(const write_job *j, int t, int end) {
    const tn_attn *a = j->a;
    int d = a->head_dim, slot = a->row_slot[t];
    size_t width = tn_attn_width(d), size = tn_attn_head_size(d), G = (size_t)a->kv_heads;
    float *block = j->pool + (size_t)a->row_block[t] * G * size;
    if (slot == 0) memset(block, 0, G * size * sizeof *block);
    for (size_t g = 0; g < G; g++) {
        float *kt = block + g * size + slot, *v = block + g * size + (size_t)d * TN_KV_BLOCK + (size_t)slot * width;
        for (int r = t; r < end; r++, kt++, v += width) {
            const float *k = j->qkv + (size_t)r * j->ld + ((size_t)a->heads + g) * (size_t)d;
            for (int i = 0; i < d; i++) kt[(size_t)i * TN_KV_BLOCK] = k[i];
            memcpy(v, k + G * (size_t)d, (size_t)d * sizeof *v);
        }
    }
}

/* A block belongs to the range that holds its first row of this call. */
static void write_rows(void *ctx, size_t begin, size_t end, int thread) {
    const write_job *j = ctx;
    const tn_attn *a = j->a;
    int t = (int)begin, n = a->n_tok;
    while (t > 0 && t < n && a->row_block[t] == a->row_block[t - 1]) t++;
    while (t < (int)end) {
        int stop = t + 1;
        while (stop < n && a->row_block[stop] == a->row_block[t]) stop++;
        write_block(j, t, stop);
        t = stop;
    }
}

void tn_cpu_kv_write(tn_backend *b, void *pool, const void *qkv, int ld, const tn_attn *a) {
    write_job j = {a, pool, qkv, (size_t)ld};
    tn_cpu_run(b, (size_t)a->n_tok, TN_KV_BLOCK, 4.0 * a->n_tok * a->kv_heads * a->head_dim, write_rows, &j);
}

/* ---- tiles ---- */
typedef enum pass { FORWARD, GRAD_QUERY, GRAD_KEYS } pass;
typedef struct deal {
    tn_attn_job job;
    const tn_attn_kernels *k;
    pass what;
    size_t parts;
    double total;
} deal;

static int least(int a, int b) { return a < b ? a : b; }
static int blocks_of(int keys) { return (keys + TN_KV_BLOCK - 1) / TN_KV_BLOCK; }

/* Vectors times blocks that they see. */
static double query_cost(const tn_attn *a, const tn_aseg *seg, int first, int n) {
    int group = a->heads / a->kv_heads, blocks = seg->own + blocks_of((first + n - 1) / group + 1);
    if (a->window) blocks = least(blocks, blocks_of(a->window + n / group) + 1);
    return (double)n * least(blocks, seg->n_chain);
}

/* The same for a block of keys: rows that see it. `below`: rows of the segment's descendants. */
static double keys_cost(const tn_attn *a, const tn_aseg *seg, int block, double below) {
    double rows = seg->len - block * TN_KV_BLOCK + below;
    if (a->window && rows > a->window + TN_KV_BLOCK) rows = a->window + TN_KV_BLOCK;
    return rows * (a->heads / a->kv_heads);
}

/* Visits tiles in a fixed order; runs those that begin in [from, to) of the running cost.
 * Returns the cost of all. */
static double visit(const deal *q, double from, double to) {
    const tn_attn *a = q->job.a;
    int group = a->heads / a->kv_heads;
    double at = 0;
    for (int s = 0; s < a->n_seg; s++) {
        const tn_aseg *seg = &a->seg[s];
        double below = 0;
        int units = q->what == GRAD_KEYS ? blocks_of(seg->len) : seg->len * group;
        for (int e = q->what == GRAD_KEYS ? a->desc_off[s] : 0; q->what == GRAD_KEYS && e < a->desc_off[s + 1]; e++)
            if (a->desc[e] != s) below += a->seg[a->desc[e]].len;
        for (int g = 0; g < a->kv_heads; g++)
            for (int u = 0, n; u < units; u += n) {
                n = q->what == GRAD_KEYS ? 1 : least(units - u, TN_ATTN_TILE);
                bool mine = at >= from && at < to;
                at += q->what == GRAD_KEYS ? keys_cost(a, seg, u, below) : query_cost(a, seg, u, n);
                if (!mine) continue;
                if (q->what == FORWARD) q->k->forward(&q->job, s, g, u, n);
                else if (q->what == GRAD_QUERY) q->k->grad_query(&q->job, s, g, u, n);
                else q->k->grad_keys(&q->job, s, g, u);
            }
    }
    return at;
}

static void part(void *ctx, size_t begin, size_t end, int thread) {
    const deal *q = ctx;
    visit(q, q->total * (double)begin / (double)q->parts, q->total * (double)end / (double)q->parts);
}

static void deal_out(tn_backend *b, deal *q) {
    q->total = visit(q, 0, 0);
    q->parts = (size_t)tn_pool_threads(b->pool);
    tn_cpu_run(b, q->parts, 1, q->total * q->job.a->head_dim * 16, part, q);
}

void tn_cpu_attn(tn_backend *b, void *out, int ldo, void *lse, const void *qkv, int ld, const void *pool,
                 const tn_attn *a) {
    deal q = {.k = tn_cpu_kernels(b)->attn, .what = FORWARD,
              .job = {.a = a, .qkv = qkv, .pool = pool, .ld = ld, .ldo = ldo, .out = out, .lse = lse}};
    deal_out(b, &q);
}

void tn_cpu_attn_bwd(tn_backend *b, void *dqkv, int lddq, const void *dout, int lddo, const void *out, int ldo,
                     const void *lse, const void *qkv, int ld, const void *pool, const tn_attn *a) {
    deal q = {.k = tn_cpu_kernels(b)->attn, .what = GRAD_QUERY,
              .job = {.a = a, .qkv = qkv, .pool = pool, .ld = ld, .ldo = ldo, .lddo = lddo, .lddq = lddq,
                      .dout = dout, .out_in = out, .lse_in = lse, .dqkv = dqkv}};
    deal_out(b, &q);
    q.what = GRAD_KEYS;
    deal_out(b, &q);
}
