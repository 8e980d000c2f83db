/* Attention kernels, written once over 16-lane vectors; included by attn_scalar.c, attn_avx2.c
 * and attn_avx512.c. Formulas: src/ops/ref/attn.h; tiles and layouts: attn.h.             */
#include "base/mathx.h"
#include "ops/cpu/attn.h"
#include "ops/cpu/vec.h"

/* A register tile has MR rows of NV vectors. */
#if defined __AVX512F__
#define MR 12
#define NV 2
#elif defined __AVX2__
#define MR 6
#define NV 1
#else
#define MR 4
#define NV 1
#endif
#define B TN_KV_BLOCK
#define QS (TN_ATTN_DIM + 16) /* row stride of tiles: a constant, odd in cache lines */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define INLINE static inline __attribute__((always_inline))

/* ---- products of small matrices: C[m][16 nv] = (C or 0) + sum over k of A[r][k] B[k][.] ----
 * A is at a[r*sr + k*sk]; each element of C is one chain of FMAs over k in [k0, k1) ascending. */
INLINE void micro(int m, int nv, bool zero, const float *a, size_t sr, size_t sk, const float *b, size_t ldb,
                  float *c, size_t ldc, int k0, int k1) {
    vf acc[MR][NV], bv[NV];
    UNROLL for (int r = 0; r < m; r++)
        UNROLL for (int n = 0; n < nv; n++) acc[r][n] = zero ? vf_zero() : vf_load(c + (size_t)r * ldc + n * VF);
    a += (size_t)k0 * sk;
    b += (size_t)k0 * ldb;
    for (int k = k0; k < k1; k++, a += sk, b += ldb) {
        UNROLL for (int n = 0; n < nv; n++) bv[n] = vf_load(b + n * VF);
        UNROLL for (int r = 0; r < m; r++) {
            vf x = vf_set(a[(size_t)r * sr]);
            UNROLL for (int n = 0; n < nv; n++) acc[r][n] = vf_fma(x, bv[n], acc[r][n]);
        }
    }
    UNROLL for (int r = 0; r < m; r++)
        UNROLL for (int n = 0; n < nv; n++) vf_store(c + (size_t)r * ldc + n * VF, acc[r][n]);
}

INLINE void panel(int m, bool zero, const float *a, size_t sr, size_t sk, const float *b, size_t ldb, float *c,
                  size_t ldc, int k0, int k1, int vecs) {
    int n = 0;
    for (; n + NV <= vecs; n += NV) micro(m, NV, zero, a, sr, sk, b + n * VF, ldb, c + n * VF, ldc, k0, k1);
    for (; n < vecs; n++) micro(m, 1, zero, a, sr, sk, b + n * VF, ldb, c + n * VF, ldc, k0, k1);
}

/* Rows taken at a time when `rows` are left. */
static inline int step(int rows) {
    return rows >= MR ? MR : rows >= 8 && MR > 8 ? 8 : rows >= 4 && MR > 4 ? 4 : rows >= 2 ? 2 : 1;
}

INLINE void any_rows(int m, bool zero, const float *a, size_t sr, size_t sk, const float *b, size_t ldb, float *c,
                     size_t ldc, int k0, int k1, int vecs) {
    switch (m) {
    case MR: panel(MR, zero, a, sr, sk, b, ldb, c, ldc, k0, k1, vecs); break;
#if MR > 8
    case 8: panel(8, zero, a, sr, sk, b, ldb, c, ldc, k0, k1, vecs); break;
#endif
#if MR > 4
    case 4: panel(4, zero, a, sr, sk, b, ldb, c, ldc, k0, k1, vecs); break;
#endif
    case 2: panel(2, zero, a, sr, sk, b, ldb, c, ldc, k0, k1, vecs); break;
    default: panel(1, zero, a, sr, sk, b, ldb, c, ldc, k0, k1, vecs);
    }
}

/* s[n][32] = tile q[n][d] times b [d][32] */
static void scores(int n, int d, const float *q, const float *b, float *s) {
    for (int r = 0, m; r < n; r += m) {
        m = step(n - r);
        any_rows(m, true, q + r * QS, QS, 1, b, B, s + r * B, B, 0, d, B / VF);
    }
}

/* c[r] += sum over k of a[r][k] b[k], k in [k0, k1); a is [row][32] */
static void rows_part(int m, const float *a, const float *b, size_t ldb, float *c, size_t ldc, int k0, int k1) {
    any_rows(m, false, a, B, 1, b, ldb, c, ldc, k0, k1, (int)(ldc / VF));
}
/* The same with a [k][32], rows along its columns. */
static void cols_part(int m, const float *a, const float *b, size_t ldb, float *c, size_t ldc, int k0, int k1) {
    any_rows(m, false, a, 1, B, b, ldb, c, ldc, k0, k1, (int)(ldc / VF));
}

/* Row r sums over k in [lo[r], hi[r]): what all rows of a register tile share is done at once,
 * the ragged ends row by row. */
INLINE void ranged(void (*part)(int, const float *, const float *, size_t, float *, size_t, int, int), size_t sr,
                   int n, const int *lo, const int *hi, const float *a, const float *b, size_t ldb, float *c,
                   size_t ldc) {
    for (int r = 0, m; r < n; r += m) {
        m = step(n - r);
        int from = lo[r], to = hi[r];
        for (int i = 1; i < m; i++) {
            from = lo[r + i] > from ? lo[r + i] : from;
            to = hi[r + i] < to ? hi[r + i] : to;
        }
        bool core = from < to;
        for (int i = r; i < r + m; i++) {
            int end = core ? from : hi[i];
            if (lo[i] < end) part(1, a + (size_t)i * sr, b, ldb, c + (size_t)i * ldc, ldc, lo[i], end);
        }
        if (!core) continue;
        part(m, a + (size_t)r * sr, b, ldb, c + (size_t)r * ldc, ldc, from, to);
        for (int i = r; i < r + m; i++)
            if (to < hi[i]) part(1, a + (size_t)i * sr, b, ldb, c + (size_t)i * ldc, ldc, to, hi[i]);
    }
}
static void rows_ranged(int n, const int *lo, const int *hi, const float *a, const float *b, size_t ldb, float *c,
                        size_t ldc) {
    ranged(rows_part, B, n, lo, hi, a, b, ldb, c, ldc);
}
static void cols_ranged(int n, const int *lo, const int *hi, const float *a, const float *b, size_t ldb, float *c,
                        size_t ldc) {
    ranged(cols_part, 1, n, lo, hi, a, b, ldb, c, ldc);
}

/* ---- tiles of query vectors ---- */
static int clamp(int x, int lo, int hi) { return x < lo ? lo : x > hi ? hi : x; }

typedef struct place { size_t row, head; int pos; } place; /* one query vector */
static place place_of(const tn_attn *a, const tn_aseg *seg, int g, int v) {
    int group = a->heads / a->kv_heads;
    place p = {(size_t)(seg->start + v / group), (size_t)(g * group + v % group), seg->pos + v / group};
    return p;
}

static void copy_row(float *dst, const float *src, int d) {
    for (int i = 0; i < d; i += VF) vf_put(dst + i, vf_get(src + i, d - i), d - i);
}

/* Visible keys [lo, hi) of a block for each vector; false when there is none in the tile. */
static bool key_ranges(const tn_attn *a, const tn_kblock *k, int n, const int *pos, int *lo, int *hi) {
    if (k->pos > pos[n - 1] || (a->window && k->pos + k->n <= pos[0] - a->window + 1)) return false;
    for (int v = 0; v < n; v++) {
        hi[v] = clamp(pos[v] - k->pos + 1, 0, k->n);
        lo[v] = a->window ? clamp(pos[v] - a->window + 1 - k->pos, 0, k->n) : 0;
    }
    return true;
}

/* One block's scores become probabilities; maximum, sum and what was accumulated follow. */
static void softmax_rows(int n, float scale, const int *lo, const int *hi, float *s, float *max, float *sum,
                         float *acc, size_t width) {
    const vf sv = vf_set(scale), none = vf_set(-INFINITY);
    for (int v = 0; v < n; v++) {
        if (lo[v] >= hi[v]) continue;
        float *row = s + v * B;
        vf x = vf_mul(vf_load(row), sv), y = vf_mul(vf_load(row + VF), sv);
        if (hi[v] - lo[v] < B) {
            uint32_t bits = (uint32_t)((((uint64_t)1 << hi[v]) - 1) & ~(((uint64_t)1 << lo[v]) - 1));
            x = vf_pick(x, none, bits & 0xffff);
            y = vf_pick(y, none, bits >> 16);
        }
        float top = vf_top(vf_max(x, y));
        float c = 1;
        if (top > max[v]) { /* else the factor is 1 and changes nothing */
            c = tn_op_expf(max[v] - top);
            max[v] = top;
            for (size_t i = 0; i < width; i += VF)
                vf_store(acc + (size_t)v * width + i, vf_mul(vf_load(acc + (size_t)v * width + i), vf_set(c)));
        }
        vf m = vf_set(max[v]);
        x = vf_exp(vf_sub(x, m));
        y = vf_exp(vf_sub(y, m));
        sum[v] = fmaf(sum[v], c, vf_sum(vf_add(x, y)));
        vf_store(row, x);
        vf_store(row + VF, y);
    }
}

static void forward(const tn_attn_job *j, int s, int g, int first, int n) {
    const tn_attn *a = j->a;
    const tn_aseg *seg = &a->seg[s];
    int d = a->head_dim, pos[TN_ATTN_TILE], lo[TN_ATTN_TILE], hi[TN_ATTN_TILE];
    size_t width = tn_attn_width(d);
    float q[TN_ATTN_TILE * QS], p[TN_ATTN_TILE * B], acc[TN_ATTN_TILE * TN_ATTN_DIM];
    float max[TN_ATTN_TILE], sum[TN_ATTN_TILE];
    memset(acc, 0, (size_t)n * width * sizeof *acc);
    for (int v = 0; v < n; v++) {
        place x = place_of(a, seg, g, first + v);
        copy_row(q + v * QS, j->qkv + x.row * (size_t)j->ld + x.head * (size_t)d, d);
        pos[v] = x.pos;
        max[v] = -INFINITY; /* the first block's factor is exp(-inf) = 0, on zeros */
        sum[v] = 0;
    }
    for (int c = seg->chain; c < seg->chain + seg->n_chain; c++) {
        const tn_kblock *k = &a->chain[c];
        if (!key_ranges(a, k, n, pos, lo, hi)) continue;
        const float *kt = tn_attn_block(j, k->block, g);
        scores(n, d, q, kt, p);
        softmax_rows(n, (float)a->scale, lo, hi, p, max, sum, acc, width);
        rows_ranged(n, lo, hi, p, kt + (size_t)d * B, width, acc, width);
    }
    for (int v = 0; v < n; v++) {
        place x = place_of(a, seg, g, first + v);
        float *out = j->out + x.row * (size_t)j->ldo + x.head * (size_t)d;
        for (int i = 0; i < d; i += VF)
            vf_put(out + i, vf_div(vf_load(acc + (size_t)v * width + i), vf_set(sum[v])), d - i);
        if (j->lse) j->lse[x.row * (size_t)a->heads + x.head] = (float)((double)max[v] + tn_log((double)sum[v]));
    }
}

/* ---- backward ---- */
typedef struct grad_tile {
    float q[TN_ATTN_TILE * QS], dout[TN_ATTN_TILE * QS], lse[TN_ATTN_TILE], D[TN_ATTN_TILE];
    float p[TN_ATTN_TILE * B], ds[TN_ATTN_TILE * B];
    int pos[TN_ATTN_TILE];
} grad_tile;

static void load_vector(const tn_attn_job *j, grad_tile *t, int v, place x) {
    int d = j->a->head_dim;
    size_t col = x.head * (size_t)d;
    const float *dout = j->dout + x.row * (size_t)j->lddo + col, *out = j->out_in + x.row * (size_t)j->ldo + col;
    copy_row(t->q + v * QS, j->qkv + x.row * (size_t)j->ld + col, d);
    copy_row(t->dout + v * QS, dout, d);
    t->lse[v] = j->lse_in[x.row * (size_t)j->a->heads + x.head];
    t->pos[v] = x.pos;
    vf sum = vf_zero();
    for (int i = 0; i < d; i += VF) {
        vf y = vf_fma(vf_get(dout + i, d - i), vf_get(out + i, d - i), sum);
        sum = d - i < VF ? vf_keepn(y, sum, d - i) : y;
    }
    t->D[v] = vf_sum(sum);
}

/* p and ds of n vectors against a block; vt: V^T [d][32]. Masked entries hold anything. */
static void grad_scores(const tn_attn_job *j, grad_tile *t, int n, const float *kt, const float *vt) {
    int d = j->a->head_dim;
    vf scale = vf_set((float)j->a->scale);
    scores(n, d, t->q, kt, t->p);
    scores(n, d, t->dout, vt, t->ds);
    for (int v = 0; v < n; v++) {
        vf lse = vf_set(t->lse[v]), D = vf_set(t->D[v]);
        for (int i = v * B; i < (v + 1) * B; i += VF) {
            vf p = vf_exp(vf_sub(vf_mul(vf_load(t->p + i), scale), lse));
            vf_store(t->p + i, p);
            vf_store(t->ds + i, vf_mul(p, vf_sub(vf_load(t->ds + i), D)));
        }
    }
}

/* dst [width][32] = V^T from V [32][width], or dst [32][width] = K from K^T. */
static void transpose_v(float *dst, const float *v, size_t width) {
    for (size_t i = 0; i < width; i += VF)
        for (size_t r = 0; r < B; r += VF) vf_transpose(v + r * width + i, width, dst + i * B + r, B);
}
/* Rows d .. width of K^T are the beginning of V: they fill columns that nobody reads. */
static void transpose_k(float *dst, const float *kt, size_t width) {
    for (size_t i = 0; i < width; i += VF)
        for (size_t r = 0; r < B; r += VF) vf_transpose(kt + i * B + r, B, dst + r * width + i, width);
}

static void grad_query(const tn_attn_job *j, int s, int g, int first, int n) {
    const tn_attn *a = j->a;
    const tn_aseg *seg = &a->seg[s];
    int d = a->head_dim, lo[TN_ATTN_TILE], hi[TN_ATTN_TILE];
    size_t width = tn_attn_width(d);
    grad_tile t;
    float acc[TN_ATTN_TILE * TN_ATTN_DIM], vt[TN_ATTN_DIM * B], keys[B * TN_ATTN_DIM];
    memset(acc, 0, (size_t)n * width * sizeof *acc);
    for (int v = 0; v < n; v++) load_vector(j, &t, v, place_of(a, seg, g, first + v));
    for (int c = seg->chain; c < seg->chain + seg->n_chain; c++) {
        const tn_kblock *k = &a->chain[c];
        if (!key_ranges(a, k, n, t.pos, lo, hi)) continue;
        const float *kt = tn_attn_block(j, k->block, g);
        transpose_v(vt, kt + (size_t)d * B, width);
        transpose_k(keys, kt, width);
        grad_scores(j, &t, n, kt, vt);
        rows_ranged(n, lo, hi, t.ds, keys, width, acc, width);
    }
    for (int v = 0; v < n; v++) {
        place x = place_of(a, seg, g, first + v);
        float *dq = j->dqkv + x.row * (size_t)j->lddq + x.head * (size_t)d;
        for (int i = 0; i < d; i += VF)
            vf_put(dq + i, vf_mul(vf_load(acc + (size_t)v * width + i), vf_set((float)a->scale)), d - i);
    }
}

/* Adds what rows [r, r + n) of a segment give to the block's keys, for one head. */
static void grad_keys_tile(const tn_attn_job *j, grad_tile *t, const tn_aseg *seg, const tn_kblock *k, size_t head,
                           int r, int n, const float *kt, const float *vt, float *dk, float *dv) {
    size_t width = tn_attn_width(j->a->head_dim);
    int lo[B], hi[B], pos = seg->pos + r, window = j->a->window;
    for (int v = 0; v < n; v++) load_vector(j, t, v, (place){(size_t)(seg->start + r + v), head, pos + v});
    for (int i = 0; i < k->n; i++) { /* rows that see key i */
        lo[i] = clamp(k->pos + i - pos, 0, n);
        hi[i] = window ? clamp(k->pos + i + window - pos, 0, n) : n;
    }
    grad_scores(j, t, n, kt, vt);
    cols_ranged(k->n, lo, hi, t->p, t->dout, QS, dv, width);
    cols_ranged(k->n, lo, hi, t->ds, t->q, QS, dk, width);
}

static void grad_keys(const tn_attn_job *j, int s, int g, int block) {
    const tn_attn *a = j->a;
    const tn_aseg *seg = &a->seg[s];
    const tn_kblock *k = &a->chain[seg->chain + seg->own + block];
    int d = a->head_dim, group = a->heads / a->kv_heads;
    size_t width = tn_attn_width(d), H = (size_t)a->heads, G = (size_t)a->kv_heads;
    const float *kt = tn_attn_block(j, k->block, g);
    grad_tile t;
    float dk[B * TN_ATTN_DIM], dv[B * TN_ATTN_DIM], vt[TN_ATTN_DIM * B];
    memset(dk, 0, B * width * sizeof *dk);
    memset(dv, 0, B * width * sizeof *dv);
    transpose_v(vt, kt + (size_t)d * B, width);
    for (int h = g * group; h < (g + 1) * group; h++)
        for (int e = a->desc_off[s]; e < a->desc_off[s + 1]; e++) {
            const tn_aseg *see = &a->seg[a->desc[e]];
            int from = clamp(k->pos - see->pos, 0, see->len);
            int to = a->window ? clamp(k->pos + k->n - 1 + a->window - see->pos, 0, see->len) : see->len;
            for (int r = from; r < to; r += TN_ATTN_TILE)
                grad_keys_tile(j, &t, see, k, (size_t)h, r, to - r < TN_ATTN_TILE ? to - r : TN_ATTN_TILE, kt, vt,
                               dk, dv);
        }
    for (int i = 0; i < k->n; i++) {
        float *out = j->dqkv + (size_t)(seg->start + block * B + i) * (size_t)j->lddq + (H + (size_t)g) * (size_t)d;
        for (int c = 0; c < d; c += VF) {
            vf_put(out + c, vf_mul(vf_load(dk + (size_t)i * width + c), vf_set((float)a->scale)), d - c);
            vf_put(out + G * (size_t)d + c, vf_load(dv + (size_t)i * width + c), d - c);
        }
    }
}

const tn_attn_kernels VF_SUFFIX(tn_attn) = {.forward = forward, .grad_query = grad_query, .grad_keys = grad_keys};
