/* Attention over forests of segments: accuracy, equal bits of all kernels, decode equal to prefill,
 * masks of the whole against plain softmax. */
#include "base/mathx.h"
#include "ops_case.h"
#include <math.h>

#define OP c->be->op
static size_t zu(int a, int b) { return (size_t)a * (size_t)b; }

static const struct { int n, parent[6], len[6]; } trees[] = {
    {1, {-1}, {1}},
    {1, {-1}, {3}},
    {1, {-1}, {33}},
    {1, {-1}, {100}},
    {2, {-1, -1}, {40, 5}},
    {5, {-1, 0, 0, 0, 1}, {37, 20, 33, 1, 5}},          /* a prompt, three answers, one of them goes on */
    {4, {-1, 0, -1, 2}, {32, 32, 64, 31}},
    {6, {-1, 0, 1, 2, 3, 0}, {1, 31, 32, 33, 2, 65}},
    {1, {-1}, {161}},
    {5, {-1, 0, 1, 0, -1}, {70, 130, 40, 95, 1}},       /* more than a strip of blocks */
};

/* p: tree heads kv_heads d window extra columns */
typedef struct job { oc_forest f; int ld, ldo; void *pool, *qkv, *out, *lse; } job;
static job attn_job(oc *c, const int *p) {
    job j;
    j.f = oc_forest_new(c, trees[p[0]].parent, trees[p[0]].len, trees[p[0]].n, p[1], p[2], p[3], p[4]);
    int T = j.f.a.n_tok;
    j.ld = (p[1] + 2 * p[2]) * p[3] + p[5];
    j.ldo = p[1] * p[3] + p[5];
    size_t bytes = (size_t)j.f.n_block * OP->kv_block_bytes(c->be, p[2], p[3]);
    j.pool = oc_zero(c, bytes);
    memset(j.pool, 0xff, bytes); /* NaNs: what was not written may not be read */
    j.qkv = oc_operands(c, zu(T, j.ld), 1.5);
    OP->kv_write(c->be, j.pool, j.qkv, j.ld, &j.f.a);
    j.out = oc_out_operands(c, "out", zu(T, j.ldo));
    j.lse = oc_out(c, "lse", zu(T, p[1]));
    OP->attn(c->be, j.out, j.ldo, j.lse, j.qkv, j.ld, j.pool, &j.f.a);
    return j;
}

static void case_attn(oc *c, const int *p) {
    job j = attn_job(c, p);
    void *out = oc_out_operands(c, "out without lse", zu(j.f.a.n_tok, j.ldo));
    OP->attn(c->be, out, j.ldo, NULL, j.qkv, j.ld, j.pool, &j.f.a);
}

static void case_attn_bwd(oc *c, const int *p) {
    job j = attn_job(c, p);
    int T = j.f.a.n_tok, lddo = j.ldo + 3, lddq = j.ld + 1;
    void *dout = oc_in(c, zu(T, lddo), 1);
    OP->attn_bwd(c->be, oc_out(c, "dqkv", zu(T, lddq)), lddq, dout, lddo, j.out, j.ldo, j.lse, j.qkv, j.ld,
                 j.pool, &j.f.a);
}

static const int shapes[][OC_PARAMS] = {
    {0, 1, 1, 1, 0, 0},   {1, 2, 1, 5, 0, 3},   {2, 3, 3, 16, 0, 0},  {3, 4, 2, 10, 0, 1},   {4, 2, 2, 64, 0, 0},
    {5, 6, 2, 32, 0, 5},  {5, 2, 1, 17, 30, 0}, {6, 2, 1, 64, 0, 0},  {6, 2, 2, 24, 33, 0},  {7, 4, 4, 48, 0, 2},
    {7, 4, 2, 8, 1, 0},   {8, 3, 1, 64, 0, 0},  {8, 1, 1, 128, 100, 0}, {8, 1, 1, 80, 40, 7}, {3, 4, 1, 96, 0, 0},
    {3, 7, 1, 20, 7, 0},  {2, 2, 2, 256, 0, 0}, {5, 6, 6, 16, 0, 0}, {5, 12, 6, 32, 20, 4},
    {9, 2, 1, 48, 0, 0},  {9, 1, 1, 64, 70, 2}, {5, 8, 1, 40, 0, 0},  {5, 16, 2, 64, 0, 1},
};
#define N_SHAPES ((int)(sizeof shapes / sizeof *shapes))
TEST(ops_attn) { OC_ALL(case_attn, shapes, 3e-6); }
TEST(ops_attn_bwd) { OC_ALL(case_attn_bwd, shapes, 6e-6); }
/* Both orders: every kernel equal to the definition, which is near the plain one. */
TEST(ops_attn_bf16) { oc_all("attn bf16", case_attn, shapes, N_SHAPES, 8e-3, TN_BF16); }
TEST(ops_attn_bwd_bf16) { oc_all("attn_bwd bf16", case_attn_bwd, shapes, N_SHAPES, 1.5e-2, TN_BF16); }

/* Plain masked softmax in double over the ancestors' keys, no blocks. */
TEST(ops_attn_plain) {
    static oc c;
    static const int some[] = {3, 5, 6, 7, 12};
    for (int i = 0; i < 5; i++) {
        const int *p = shapes[some[i]], d = p[3], group = p[1] / p[2];
        memset(&c, 0, sizeof c);
        c.be = OC_REF64;
        job j = attn_job(&c, p);
        const tn_attn *a = &j.f.a;
        const double *qkv = j.qkv, *out = j.out, *lse = j.lse;
        for (int s = 0; s < a->n_seg; s++)
            for (int t = a->seg[s].start; t < a->seg[s].start + a->seg[s].len; t += 7)
                for (int h = 0; h < p[1]; h++) {
                    double sum = 0, acc[256] = {0};
                    for (int up = s; up >= 0; up = trees[p[0]].parent[up])
                        for (int k = a->seg[up].start; k < a->seg[up].start + a->seg[up].len; k++) {
                            if (j.f.pos[k] > j.f.pos[t] || (p[4] && j.f.pos[k] <= j.f.pos[t] - p[4])) continue;
                            const double *q = qkv + zu(t, j.ld) + h * d;
                            const double *key = qkv + zu(k, j.ld) + (p[1] + h / group) * d, *v = key + p[2] * d;
                            double dot = 0;
                            for (int x = 0; x < d; x++) dot += q[x] * key[x];
                            double e = exp(dot * a->scale);
                            sum += e;
                            for (int x = 0; x < d; x++) acc[x] += e * v[x];
                        }
                    CHECK_NEAR(lse[zu(t, p[1]) + (size_t)h], log(sum), 1e-12, 1e-12);
                    for (int x = 0; x < d; x++)
                        CHECK_NEAR(out[zu(t, j.ldo) + (size_t)(h * d + x)], acc[x] / sum, 1e-11, 1e-12);
                }
        oc_done(&c);
    }
}

/* Rows written and computed one by one, as in decoding, against the whole segment at once. */
static void decode(const char *name, tn_dtype dtype, const char *kernels, const int *p) {
    static oc c;
    tn_backend *b = oc_backend(name, dtype, kernels, 2);
    if (!b) return;
    memset(&c, 0, sizeof c);
    c.be = b;
    job j = attn_job(&c, p);
    tn_attn one = j.f.a;
    tn_kblock *chain = oc_zero(&c, 64 * sizeof *chain);
    size_t row = zu(p[1], p[3]) * b->operand, bytes = (size_t)j.f.n_block * b->op->kv_block_bytes(b, p[2], p[3]);
    void *out = oc_zero(&c, row), *lse = oc_zero(&c, (size_t)p[1] * b->elem), *pool = oc_zero(&c, bytes);
    memset(pool, 0xff, bytes);
    one.n_tok = one.n_seg = 1;
    one.chain = chain;
    for (int s = 0; s < j.f.a.n_seg; s++) {
        const tn_aseg *seg = &j.f.a.seg[s];
        memcpy(chain, j.f.a.chain + seg->chain, (size_t)seg->n_chain * sizeof *chain);
        for (int i = 0; i < seg->len; i++) {
            int t = seg->start + i, last = seg->own + i / TN_KV_BLOCK;
            tn_aseg q = {0, 1, seg->pos + i, 0, last + 1, seg->own};
            one.seg = &q;
            one.row_block = j.f.a.row_block + t;
            one.row_slot = j.f.a.row_slot + t;
            chain[last].n = i % TN_KV_BLOCK + 1;
            const char *qkv = (const char *)j.qkv + zu(t, j.ld) * b->operand;
            b->op->kv_write(b, pool, qkv, j.ld, &one);
            b->op->attn(b, out, p[1] * p[3], lse, qkv, j.ld, pool, &one);
            bool same = !memcmp(out, (char *)j.out + zu(t, j.ldo) * b->operand, row) &&
                        !memcmp(lse, (char *)j.lse + zu(t, p[1]) * b->elem, (size_t)p[1] * b->elem);
            CHECK_MSG(same, "%s/%s tree %d row %d: decode differs from prefill", name, b->kernels, p[0], t);
        }
    }
    oc_done(&c);
}

static const char *const bf16[] = {"scalar", "scalar-dot32", "avx2", "avx512", "avx512bf16", "avx512bf16-model", "amx",
                                   "amx-model"};
TEST(ops_attn_decode) {
    static const int some[] = {3, 5, 6, 9, 12};
    for (int i = 0; i < 5; i++) {
        decode("ref", TN_F32, NULL, shapes[some[i]]);
        decode("ref64", TN_F64, NULL, shapes[some[i]]);
        decode("cpu", TN_F32, "scalar", shapes[some[i]]);
        decode("cpu", TN_F32, "avx2", shapes[some[i]]);
        decode("cpu", TN_F32, "avx512", shapes[some[i]]);
        for (size_t k = 0; k < sizeof bf16 / sizeof *bf16; k++) decode("cpu", TN_BF16, bf16[k], shapes[some[i]]);
        decode("ref", TN_BF16, "pair", shapes[some[i]]);
        decode("ref", TN_BF16, "dot32", shapes[some[i]]);
    }
}

/* Sums that are zero have no sign by which a key that is masked, or not there, would be seen: all products of row 1
 * underflow, and the n - 2 keys after it are -1 where they are. */
static void case_zeros(oc *c, const int *p) {
    static const int root = -1;
    int n = p[0];
    oc_forest f = oc_forest_new(c, &root, &n, 1, 1, 1, 1, 0);
    void *qkv = oc_zero(c, (size_t)(3 * n) * c->be->elem), *out = oc_zero(c, (size_t)n * c->be->elem);
    void *pool = oc_zero(c, (size_t)f.n_block * OP->kv_block_bytes(c->be, 1, 1)), *row = oc_out_operands(c, "row 1", 1);
    for (int t = 0; t < n; t++) {
        oc_set_operand(c->be, qkv, (size_t)(3 * t), 1);
        oc_set_operand(c->be, qkv, (size_t)(3 * t + 1), -t);
        oc_set_operand(c->be, qkv, (size_t)(3 * t + 2), t == 0 ? -0.0 : t == 1 ? -0x1p-126 : -1);
    }
    OP->kv_write(c->be, pool, qkv, 3, &f.a);
    OP->attn(c->be, out, 1, NULL, qkv, 3, pool, &f.a);
    memcpy(row, (char *)out + c->be->operand, c->be->operand);
}
TEST(ops_attn_bf16_zeros) {
    static oc few, many;
    static const int two[OC_PARAMS] = {2}, block[OC_PARAMS] = {32};
    for (size_t k = 0; k < sizeof bf16 / sizeof *bf16; k++) {
        tn_backend *b = oc_backend("cpu", TN_BF16, bf16[k], 2);
        if (!b) continue;
        oc_run(&few, b, case_zeros, two);
        oc_run(&many, b, case_zeros, block);
        CHECK_BYTES(few.out[0].p, many.out[0].p, b->operand);
        oc_done(&few);
        oc_done(&many);
    }
}

/* What a second block scales down to a denormal counts as zero: v = 2^-100, then a score of p[0]. */
static void case_denormal(oc *c, const int *p) {
    static const int parent[] = {-1, 0}, len[] = {1, 1};
    oc_forest f = oc_forest_new(c, parent, len, 2, 1, 1, 1, 0);
    void *qkv = oc_zero(c, 6 * c->be->elem), *pool = oc_zero(c, 2 * OP->kv_block_bytes(c->be, 1, 1));
    const double values[] = {1, 0, 0x1p-100, 1, p[0], 0x1.8p-126};
    for (size_t i = 0; i < 6; i++) oc_set_operand(c->be, qkv, i, values[i]);
    OP->kv_write(c->be, pool, qkv, 3, &f.a);
    OP->attn(c->be, oc_out_operands(c, "out", 2), 1, oc_out(c, "lse", 2), qkv, 3, pool, &f.a);
}
static const int scores[][OC_PARAMS] = {{17}, {18}, {19}, {20}, {24}};
TEST(ops_attn_bf16_denormals) { OC_ALL_BF16(case_denormal, scores); }

/* Probabilities over the whole range of exp, denormals included: keys 0 (v = 0) and 1 (v = 1), queries -x. */
static void case_range(oc *c, const int *p) {
    enum { N = 60 };
    static int parent[N + 1], len[N + 1];
    parent[0] = -1;
    len[0] = 2;
    for (int s = 1; s <= N; s++) len[s] = 1;
    c->draws = (uint64_t)p[0];
    oc_forest f = oc_forest_new(c, parent, len, N + 1, 1, 1, 1, 0);
    f.a.scale = 1;
    void *qkv = oc_operands(c, 3 * (N + 2), 0), *pool = oc_zero(c, (size_t)f.n_block * OP->kv_block_bytes(c->be, 1, 1));
    double *x = oc_in_double(c, N + 2, 1);
    oc_set_operand(c->be, qkv, 4, 1);
    oc_set_operand(c->be, qkv, 5, 1);
    for (int t = 2; t < N + 2; t++) oc_set_operand(c->be, qkv, (size_t)(3 * t), (float)(p[0] + 3 * x[t]));
    OP->kv_write(c->be, pool, qkv, 3, &f.a);
    OP->attn(c->be, oc_out_operands(c, "out", N + 2), 1, oc_out(c, "lse", N + 2), qkv, 3, pool, &f.a);
}
static const int ranges[][OC_PARAMS] = {{0}, {-20}, {-84}, {-88}, {-94}, {-100}, {-104}, {40}, {100}};
TEST(ops_attn_exp_range) { OC_ALL(case_range, ranges, 0); }
TEST(ops_attn_exp_range_bf16) { OC_ALL_BF16(case_range, ranges); }
