/* Running the cases of the operations' tests: inputs, outputs, comparisons. */
#include "ops_case.h"
#include "base/rng.h"
#include "ops/bf16.h"
#include <math.h>
#include <stdlib.h>

static void *keep(oc *c, void *p) {
    if (!p || c->n_mem == OC_MAX) tn_skip("case needs more than %d buffers, or memory is out", OC_MAX);
    return c->mem[c->n_mem++] = p;
}

void *oc_zero(oc *c, size_t bytes) {
    size_t room = (bytes + 127) / 64 * 64;
    void *p = keep(c, aligned_alloc(64, room));
    return memset(p, 0, room);
}

double oc_get(const tn_backend *b, const void *p, size_t i) {
    return b->elem == 8 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

void oc_set(const tn_backend *b, void *p, size_t i, double v) {
    if (b->elem == 8) ((double *)p)[i] = v;
    else ((float *)p)[i] = (float)v;
}

void oc_set_operand(const tn_backend *b, void *p, size_t i, double v) {
    if (b->operand == b->elem) oc_set(b, p, i, v);
    else ((uint16_t *)p)[i] = tn_bf16_bits((float)v);
}

/* Sum of four uniforms, cheap and near enough to a normal. */
static double draw(tn_rng *r) {
    uint64_t x = tn_rng_next(r);
    double s = 0;
    for (int i = 0; i < 4; i++) s += (double)(x >> (16 * i) & 0xffff) / 65536;
    return (s - 2) * 1.7320508075688772;
}

void *oc_in(oc *c, size_t n, double scale) {
    void *p = oc_zero(c, n * c->be->elem);
    tn_rng r = tn_rng_stream(c->seed, 9000, ++c->draws);
    for (size_t i = 0; i < n; i++) oc_set(c->be, p, i, (float)(scale * draw(&r)));
    return p;
}

void *oc_operands(oc *c, size_t n, double scale) {
    void *p = oc_zero(c, n * c->be->operand);
    tn_rng r = tn_rng_stream(c->seed, 9000, ++c->draws);
    for (size_t i = 0; i < n; i++) oc_set_operand(c->be, p, i, (float)(scale * draw(&r)));
    return p;
}

double *oc_in_double(oc *c, size_t n, double scale) {
    double *p = oc_zero(c, n * sizeof *p);
    tn_rng r = tn_rng_stream(c->seed, 9000, ++c->draws);
    for (size_t i = 0; i < n; i++) p[i] = (float)(scale * draw(&r));
    return p;
}

int32_t *oc_ids(oc *c, size_t n, int below) {
    int32_t *p = oc_zero(c, n * sizeof *p);
    tn_rng r = tn_rng_stream(c->seed, 9000, ++c->draws);
    for (size_t i = 0; i < n; i++) p[i] = (int32_t)tn_rng_below(&r, (uint32_t)below);
    return p;
}

static void *named(oc *c, const char *name, void *p, size_t n, size_t elem) {
    c->out[c->n_out].name = name;
    c->out[c->n_out].p = p;
    c->out[c->n_out].n = n;
    c->out[c->n_out++].elem = elem;
    return p;
}

void *oc_out(oc *c, const char *name, size_t n) { return named(c, name, oc_in(c, n, 1), n, c->be->elem); }

void *oc_out_operands(oc *c, const char *name, size_t n) {
    return named(c, name, oc_operands(c, n, 1), n, c->be->operand);
}

void *oc_out_set(oc *c, const char *name, size_t n, double value) {
    void *p = oc_zero(c, n * c->be->elem);
    for (size_t i = 0; i < n; i++) oc_set(c->be, p, i, value);
    return named(c, name, p, n, c->be->elem);
}

double *oc_out_double(oc *c, const char *name, size_t n) {
    return named(c, name, oc_zero(c, n * sizeof(double)), n, sizeof(double));
}

float *oc_out_float(oc *c, const char *name, size_t n) {
    return named(c, name, oc_zero(c, n * sizeof(float)), n, sizeof(float));
}

tn_weight oc_weight(oc *c, int out, int in, double scale) {
    tn_weight w = {out, in, oc_in(c, (size_t)out * (size_t)in, scale), NULL};
    w.packed = oc_zero(c, c->be->op->weight_bytes(c->be, out, in));
    c->be->op->weight_pack(c->be, &w);
    return w;
}

void oc_run(oc *c, tn_backend *be, oc_fn *fn, const int *p) {
    memset(c, 0, sizeof *c);
    c->be = be;
    c->seed = 1;
    for (int i = 0; i < OC_PARAMS; i++) c->seed = c->seed * 1000003 + (uint64_t)p[i];
    fn(c, p);
}

void oc_done(oc *c) {
    for (int i = 0; i < c->n_mem; i++) free(c->mem[i]);
    c->n_mem = c->n_out = 0;
}

static const char *shape_text(const int *p) {
    static char s[128];
    snprintf(s, sizeof s, "(%d %d %d %d %d %d %d %d)", p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]);
    return s;
}

static double out_get(const oc *c, int o, size_t i) {
    const void *p = c->out[o].p;
    if (c->out[o].elem == 2) return (double)tn_bf16_float(((const uint16_t *)p)[i]);
    return c->out[o].elem == 8 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static void same_bits(const char *what, const int *p, const oc *x, const oc *y) {
    for (int o = 0; o < x->n_out; o++) {
        size_t elem = x->out[o].elem, n = x->out[o].n, i = 0, bad = 0;
        if (memcmp(x->out[o].p, y->out[o].p, n * elem) == 0) continue;
        for (size_t k = n; k-- > 0;)
            if (memcmp((char *)x->out[o].p + k * elem, (char *)y->out[o].p + k * elem, elem) != 0) {
                i = k;
                bad++;
            }
        CHECK_MSG(false, "%s %s: %zu of %zu elements of '%s' differ, first at %zu: %s %.9g, %s/%s/%d threads %.9g",
                  what, shape_text(p), bad, n, x->out[o].name, i, x->be->name, out_get(x, o, i), y->be->name,
                  y->be->kernels, tn_pool_threads(y->be->pool), out_get(y, o, i));
    }
    CHECK(x->n_out > 0 && x->n_out == y->n_out);
}

static void near(const char *what, const int *p, const oc *x, const oc *y, double tol) {
    for (int o = 0; o < x->n_out; o++) {
        double d2 = 0, n2 = 0;
        for (size_t i = 0; i < x->out[o].n; i++) {
            double u = out_get(x, o, i), v = out_get(y, o, i);
            d2 += (u - v) * (u - v);
            n2 += v * v;
        }
        CHECK_MSG(sqrt(d2) <= tol * sqrt(n2), "%s %s: '%s' off by %.2g of its norm, at most %.2g", what,
                  shape_text(p), x->out[o].name, sqrt(d2 / n2), tol);
    }
}

void oc_equal(const char *what, oc_fn *fn, const int *p, tn_backend *a, tn_backend *b) {
    static oc x, y;
    oc_run(&x, a, fn, p);
    oc_run(&y, b, fn, p);
    same_bits(what, p, &x, &y);
    oc_done(&x);
    oc_done(&y);
}

void oc_near(const char *what, oc_fn *fn, const int *p, tn_backend *f32, tn_backend *f64, double tol) {
    static oc x, y;
    oc_run(&x, f32, fn, p);
    oc_run(&y, f64, fn, p);
    near(what, p, &x, &y, tol);
    oc_done(&x);
    oc_done(&y);
}

tn_backend *oc_backend(const char *name, tn_dtype dtype, const char *kernels, int threads) {
    static struct { char key[64]; tn_backend *b; } known[64];
    static int n;
    char key[64];
    snprintf(key, sizeof key, "%s/%d/%s/%d", name, (int)dtype, kernels ? kernels : "", threads);
    for (int i = 0; i < n; i++)
        if (strcmp(known[i].key, key) == 0) return known[i].b;
    tn_backend *b = NULL;
    tn_err err = {0};
    if (tn_backend_open(&b, name, dtype, kernels, threads, &err) != TN_OK) b = NULL;
    if (n < 64) {
        memcpy(known[n].key, key, sizeof key);
        known[n++].b = b;
    }
    return b;
}

/* Every kernel of the cpu backend with the reference's profile against the reference's outputs. */
static void all_kernels(const char *what, oc_fn *fn, const int *p, const oc *ref) {
    static const char *const kernels[] = {"scalar", "scalar-dot32", "avx2", "avx512", "avx512bf16",
                                          "avx512bf16-model", "amx", "amx-model"};
    static oc x;
    for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++)
        for (int threads = 1; threads <= 3; threads++) {
            tn_backend *b = oc_backend("cpu", ref->be->dtype, kernels[k], threads);
            if (!b || strcmp(b->profile, ref->be->profile) != 0) continue;
            bool slow = k < 2 || strstr(kernels[k], "model");
            if ((threads == 2) != slow) continue; /* slow ones once, with 2 threads; the others with 1 and 3 */
            oc_run(&x, b, fn, p);
            same_bits(what, p, ref, &x);
            oc_done(&x);
        }
}

void oc_all(const char *what, oc_fn *fn, const int (*shapes)[OC_PARAMS], int n, double tol, tn_dtype dtype) {
    static oc ref, wide;
    for (int s = 0; s < n; s++)
        for (int order = 0; order < (dtype == TN_BF16 ? 2 : 1); order++) {
            const char *kernels = dtype != TN_BF16 ? NULL : order ? "dot32" : "pair";
            oc_run(&ref, oc_backend("ref", dtype, kernels, 1), fn, shapes[s]);
            all_kernels(what, fn, shapes[s], &ref);
            if (tol > 0) {
                oc_run(&wide, OC_REF64, fn, shapes[s]);
                near(what, shapes[s], &ref, &wide, tol);
                oc_done(&wide);
            }
            oc_done(&ref);
        }
}

void oc_grad(const char *what, double *x, size_t n, const double *grad, double (*loss)(void *), void *ctx,
             double rel) {
    double top = 0;
    for (size_t i = 0; i < n; i++) top = fmax(top, fabs(grad[i]));
    for (size_t i = 0; i < n; i++) {
        double x0 = x[i], h = 1e-3, d = 0;
        static const double step[4] = {-2, -1, 1, 2}, weight[4] = {1, -8, 8, -1};
        for (int k = 0; k < 4; k++) {
            x[i] = x0 + step[k] * h;
            d += weight[k] * loss(ctx);
        }
        x[i] = x0;
        d /= 12 * h;
        CHECK_MSG(fabs(d - grad[i]) <= rel * fmax(fabs(grad[i]), top), "%s[%zu]: gradient %.12g, differences %.12g",
                  what, i, grad[i], d);
    }
}

/* Blocks of segment s: its ancestors' from the root downwards, then its own. */
static int chain_of(const int *parent, const int *len, const int *pos, int s, const int32_t *first,
                    tn_kblock *out, int at) {
    if (parent[s] >= 0) at = chain_of(parent, len, pos, parent[s], first, out, at);
    for (int k = 0; k < len[s]; k += TN_KV_BLOCK) {
        tn_kblock b = {first[s] + k / TN_KV_BLOCK, pos[s] + k, len[s] - k < TN_KV_BLOCK ? len[s] - k : TN_KV_BLOCK};
        out[at++] = b;
    }
    return at;
}

oc_forest oc_forest_new(oc *c, const int *parent, const int *len, int n_seg, int heads, int kv_heads,
                        int head_dim, int window) {
    oc_forest f = {{0, n_seg, NULL, NULL, NULL, NULL, NULL, NULL, heads, kv_heads, head_dim, window,
                    (float)(1 / sqrt((double)head_dim))}, 0, NULL};
    int *pos = oc_zero(c, (size_t)n_seg * sizeof *pos), n_tok = 0, n_block = 0, n_chain = 0, n_desc = 0;
    int32_t *first = oc_zero(c, (size_t)n_seg * sizeof *first);
    for (int s = 0; s < n_seg; s++) {
        pos[s] = parent[s] < 0 ? 0 : pos[parent[s]] + len[parent[s]];
        n_tok += len[s];
        n_block += (len[s] + TN_KV_BLOCK - 1) / TN_KV_BLOCK;
    }
    for (int s = n_seg - 1, at = 0; s >= 0; s--) { /* numbered from the last segment */
        first[s] = at;
        at += (len[s] + TN_KV_BLOCK - 1) / TN_KV_BLOCK;
    }
    tn_aseg *seg = oc_zero(c, (size_t)n_seg * sizeof *seg);
    tn_kblock *chain = oc_zero(c, (size_t)n_seg * (size_t)n_block * sizeof *chain);
    int32_t *row_block = oc_zero(c, (size_t)n_tok * 4), *row_slot = oc_zero(c, (size_t)n_tok * 4);
    int32_t *off = oc_zero(c, (size_t)(n_seg + 1) * 4), *desc = oc_zero(c, (size_t)(n_seg * n_seg) * 4);
    f.pos = oc_zero(c, (size_t)n_tok * 4);
    for (int s = 0, t = 0; s < n_seg; s++) {
        int from = n_chain, own = (len[s] + TN_KV_BLOCK - 1) / TN_KV_BLOCK;
        n_chain = chain_of(parent, len, pos, s, first, chain, n_chain);
        tn_aseg a = {t, len[s], pos[s], from, n_chain - from, n_chain - from - own};
        seg[s] = a;
        for (int i = 0; i < len[s]; i++, t++) {
            row_block[t] = first[s] + i / TN_KV_BLOCK;
            row_slot[t] = i % TN_KV_BLOCK;
            f.pos[t] = pos[s] + i;
        }
        off[s] = n_desc;
        for (int e = s; e < n_seg; e++) {
            int up = e;
            while (up > s) up = parent[up];
            if (up == s) desc[n_desc++] = e;
        }
    }
    off[n_seg] = n_desc;
    f.n_block = n_block;
    f.a.n_tok = n_tok;
    f.a.seg = seg;
    f.a.chain = chain;
    f.a.row_block = row_block;
    f.a.row_slot = row_slot;
    f.a.desc_off = off;
    f.a.desc = desc;
    return f;
}
