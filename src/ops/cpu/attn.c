/* Attention of the cpu backend, f32 and bf16: key/value blocks, and how tiles are dealt out to threads. Each
 * thread gets a run of tiles of about the same cost; no sum is shared between threads.     */
#include "ops/cpu/attn_bf16.h"
#include "ops/cpu/rows.h"
#include <math.h>
#include <string.h>

static bool is_bf16(const tn_backend *b) { return b->dtype == TN_BF16; }

size_t tn_cpu_kv_block_bytes(const tn_backend *b, int kv_heads, int head_dim) {
    size_t one = is_bf16(b) ? tn_attn_bf16_size(tn_kernel_of(b), head_dim) : tn_attn_head_size(head_dim);
    return (size_t)kv_heads * one * 4;
}

static const tn_attn_kernels *kernels_of(const tn_backend *b) {
    return is_bf16(b) ? &tn_attn_bf16 : tn_cpu_kernels(b)->attn;
}

static tn_attn_job job_of(const tn_backend *b, const tn_attn *a, const void *qkv, int ld) {
    return (tn_attn_job){.a = a, .qkv = qkv, .qkv_half = qkv, .ld = ld, .mm = tn_kernel_of(b), .rows = tn_cpu_kernels(b)->attn_bf16};
}

/* ---- writing ---- */
#define WRITE_GRAIN 4 /* rows: in a decoding step each of them has a block of its own */
typedef struct write_job {
    tn_attn_job job;
    const tn_attn_kernels *k;
    void *pool;
    void (*fetch)(const struct write_job *j, int t);        /* the lines of row t's key in a block that has others */
    void (*block)(const struct write_job *j, int t, int n); /* rows [t, t + n), which go to one block */
} write_job;

/* One row's keys are a column of K^T. */
static void fetch_column(const write_job *j, int t) {
    const tn_attn *a = j->job.a;
    int d = a->head_dim;
    size_t size = tn_attn_head_size(d), G = (size_t)a->kv_heads;
    const float *block = (const float *)j->pool + (size_t)a->row_block[t] * G * size + a->row_slot[t];
    for (size_t g = 0; g < G; g++, block += size)
        for (int i = 0; i < d; i++) __builtin_prefetch(block + i * TN_KV_BLOCK, 1);
}

static void write_block(const write_job *j, int t, int n) {
    const tn_attn *a = j->job.a;
    int d = a->head_dim, slot = a->row_slot[t];
    size_t size = tn_attn_head_size(d), G = (size_t)a->kv_heads, H = (size_t)a->heads, ld = (size_t)j->job.ld;
    float *block = (float *)j->pool + (size_t)a->row_block[t] * G * size;
    if (slot == 0 && (n < TN_KV_BLOCK || d % 16)) memset(block, 0, G * size * sizeof *block);
    for (size_t g = 0; g < G; g++) {
        const float *k = j->job.qkv + (size_t)t * ld + (H + g) * (size_t)d;
        j->k->write_keys(block + g * size, slot, k, k + G * (size_t)d, ld, n, d);
    }
}

static void write_bf16(const write_job *j, int t, int n) { tn_attn_bf16_write(&j->job, j->pool, t, n); }
static void fetch_bf16(const write_job *j, int t) { tn_attn_bf16_fetch(&j->job, t); }

/* A block belongs to the range that holds its first row of this call. In a decoding step every row has a block of its own
 * and that one's lines are in no cache: they are fetched together, not one store after another, and while the row before
 * is written. */
static void write_rows(void *ctx, size_t begin, size_t end, int thread) {
    const write_job *j = ctx;
    const tn_attn *a = j->job.a;
    int t = (int)begin, n = a->n_tok;
    while (t > 0 && t < n && a->row_block[t] == a->row_block[t - 1]) t++;
    if (t < (int)end && a->row_slot[t] > 0) j->fetch(j, t);
    while (t < (int)end) {
        int stop = t + 1;
        while (stop < n && a->row_block[stop] == a->row_block[t]) stop++;
        if (stop < (int)end && a->row_slot[stop] > 0) j->fetch(j, stop);
        j->block(j, t, stop - t);
        t = stop;
    }
}

void tn_cpu_kv_write(tn_backend *b, void *pool, const void *qkv, int ld, const tn_attn *a) {
    bool half = is_bf16(b);
    write_job j = {job_of(b, a, qkv, ld), kernels_of(b), pool, half ? fetch_bf16 : fetch_column, half ? write_bf16 : write_block};
    j.job.pool = pool;
    tn_cpu_run(b, (size_t)a->n_tok, WRITE_GRAIN, 4.0 * a->n_tok * a->kv_heads * a->head_dim, write_rows, &j);
}

/* ---- sharing out ---- */
typedef enum pass { FORWARD, GRAD_QUERY, GRAD_KEYS, GRAD_TREE } pass;
typedef struct deal {
    tn_attn_job job;
    const tn_attn_kernels *k;
    pass what;
    size_t parts;
    double total;
    size_t room; /* bf16, backward: bytes of each thread's */
} deal;

static int least(int a, int b) { return a < b ? a : b; }
static int blocks_of(int keys) { return (keys + TN_KV_BLOCK - 1) / TN_KV_BLOCK; }

/* Costs: query vectors times the blocks that they see, about. */
static double query_cost(const tn_attn *a, const tn_aseg *seg, int first, int n) {
    int group = a->heads / a->kv_heads, blocks = seg->own + blocks_of((first + n - 1) / group + 1);
    if (a->window) blocks = least(blocks, blocks_of(a->window + n / group) + 1);
    return (double)n * least(blocks, seg->n_chain);
}

/* `below`: rows of the segment's descendants. */
static double keys_cost(const tn_attn *a, const tn_aseg *seg, int block, double below) {
    double rows = seg->len - block * TN_KV_BLOCK + below;
    if (a->window && rows > a->window + TN_KV_BLOCK) rows = a->window + TN_KV_BLOCK;
    return rows * (a->heads / a->kv_heads);
}

static double rows_below(const tn_attn *a, int s) {
    double rows = 0;
    for (int e = a->desc_off[s]; e < a->desc_off[s + 1]; e++)
        if (a->desc[e] != s) rows += a->seg[a->desc[e]].len;
    return rows;
}

static double tree_cost(const tn_attn *a, int root) {
    double cost = 0;
    for (int e = a->desc_off[root]; e < a->desc_off[root + 1]; e++) {
        int s = a->desc[e];
        double below = rows_below(a, s);
        for (int block = 0; block < blocks_of(a->seg[s].len); block++) cost += keys_cost(a, &a->seg[s], block, below);
    }
    return cost;
}

/* How many pieces of work a segment has for one key/value head; *base: what their costs need. */
static int units_of(const deal *q, int s, double *base) {
    const tn_attn *a = q->job.a;
    const tn_aseg *seg = &a->seg[s];
    bool root = seg->own == 0; /* no ancestors */
    if (q->what == GRAD_TREE) *base = root ? tree_cost(a, s) : 0;
    if (q->what == GRAD_KEYS) *base = rows_below(a, s);
    return q->what == GRAD_TREE ? root : q->what == GRAD_KEYS ? blocks_of(seg->len) : seg->len * (a->heads / a->kv_heads);
}

static double unit_cost(const deal *q, int s, int u, int n, double base) {
    const tn_attn *a = q->job.a;
    if (q->what == GRAD_TREE) return base;
    return q->what == GRAD_KEYS ? n * keys_cost(a, &a->seg[s], u, base) : query_cost(a, &a->seg[s], u, n);
}

static void run_unit(const deal *q, int s, int g, int u, int n) {
    if (q->what == FORWARD) q->k->forward(&q->job, s, g, u, n);
    else if (q->what == GRAD_QUERY) q->k->grad_query(&q->job, s, g, u, n);
    else if (q->what == GRAD_KEYS) q->k->grad_keys(&q->job, s, g, u);
    else q->k->grad_tree(&q->job, s, g);
}

/* Visits the units in a fixed order and takes those that begin in [from, to) of the running cost: their
 * cost, after running them if asked to. */
static double visit(const deal *q, double from, double to, bool run) {
    const tn_attn *a = q->job.a;
    double at = 0, taken = 0, base = 0;
    int most = q->what == GRAD_TREE ? 1 : q->what == GRAD_KEYS ? q->k->strip : q->k->tile; /* units of one piece */
    for (int s = 0; s < a->n_seg; s++) {
        int units = units_of(q, s, &base);
        for (int g = 0; g < a->kv_heads; g++)
            for (int u = 0, n; u < units; u += n) {
                n = least(units - u, most);
                double cost = unit_cost(q, s, u, n, base);
                bool mine = at >= from && at < to;
                at += cost;
                if (!mine) continue;
                taken += cost;
                if (run) run_unit(q, s, g, u, n);
            }
    }
    return taken;
}

static double share(const deal *q, size_t part) { return q->total * (double)part / (double)q->parts; }

static void run_parts(void *ctx, size_t begin, size_t end, int thread) {
    deal mine = *(const deal *)ctx, *q = &mine;
    const tn_kernel *mm = q->job.mm; /* those of f32 have nothing to begin */
    if (q->job.room) q->job.room += (size_t)thread * q->room;
    if (mm->begin) mm->begin();
    visit(q, share(q, begin), end == q->parts ? (double)INFINITY : share(q, end), true);
    if (mm->end) mm->end();
}

static void plan(tn_backend *b, deal *q, pass what) {
    q->what = what;
    q->parts = (size_t)tn_pool_threads(b->pool);
    q->total = visit(q, 0, (double)INFINITY, false);
}

/* Cost of the largest share. */
static double slowest(const deal *q) {
    double most = 0;
    for (size_t p = 0; p < q->parts; p++) {
        double cost = visit(q, share(q, p), share(q, p + 1), false);
        most = cost > most ? cost : most;
    }
    return most;
}

static void execute(tn_backend *b, deal *q) {
    tn_cpu_run(b, q->parts, 1, q->total * q->job.a->head_dim * 16, run_parts, q);
}

void tn_cpu_attn(tn_backend *b, void *out, int ldo, void *lse, const void *qkv, int ld, const void *pool,
                 const tn_attn *a) {
    deal q = {.k = kernels_of(b), .job = job_of(b, a, qkv, ld)};
    q.job.pool = pool, q.job.ldo = ldo, q.job.out = out, q.job.out_half = out, q.job.lse = lse;
    plan(b, &q, FORWARD);
    execute(b, &q);
}

typedef struct d_rows { void (*row_D)(const tn_attn_job *j, size_t row, float *D); const tn_attn_job *job; float *D; } d_rows;
static void run_d_rows(void *ctx, size_t begin, size_t end, int thread) {
    const d_rows *r = ctx;
    for (size_t t = begin; t < end; t++) r->row_D(r->job, t, r->D + t * (size_t)r->job->a->heads);
}

void tn_cpu_attn_bwd(tn_backend *b, void *dqkv, int lddq, const void *dout, int lddo, const void *out, int ldo,
                     const void *lse, const void *qkv, int ld, const void *pool, const tn_attn *a) {
    deal q = {.k = kernels_of(b), .job = job_of(b, a, qkv, ld)};
    size_t d_bytes = ((size_t)a->n_tok * (size_t)a->heads * sizeof(float) + 63) / 64 * 64;
    q.room = is_bf16(b) ? tn_attn_bf16_room(q.job.mm, a->head_dim) : 0;
    char *s = tn_backend_scratch(b, d_bytes + q.room * (size_t)tn_pool_threads(b->pool));
    if (!s) return;
    q.job.pool = pool, q.job.ldo = ldo, q.job.lddo = lddo, q.job.lddq = lddq, q.job.dout = dout, q.job.out_in = out, q.job.out_half_in = out;
    q.job.lse_in = lse, q.job.dqkv = dqkv, q.job.room = s + d_bytes;
    float *D = (float *)(void *)s;
    const tn_cpu_rows *k = tn_cpu_kernels(b);
    d_rows rows = {is_bf16(b) ? k->attn_bf16->row_D : k->attn->row_D, &q.job, D};
    tn_cpu_run(b, (size_t)a->n_tok, 16, 2.0 * a->n_tok * a->heads * a->head_dim, run_d_rows, &rows);
    q.job.D = D;
    if (a->head_dim % q.k->step == 0) { /* one pass of 5 products, if the trees share out well; or two of 7 in all */
        plan(b, &q, GRAD_TREE);
        if (5 * slowest(&q) <= 7 * q.total / (double)q.parts) {
            execute(b, &q);
            return;
        }
    }
    plan(b, &q, GRAD_QUERY);
    execute(b, &q);
    plan(b, &q, GRAD_KEYS);
    execute(b, &q);
}
