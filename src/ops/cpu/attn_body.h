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
    const float *p[(MR + 2) / 3]; /* every third row: the others are one or two strides away */
    UNROLL for (int r = 0; r < m; r++)
        UNROLL for (int n = 0; n < nv; n++) acc[r][n] = zero ? vf_zero() : vf_load(c + (size_t)r * ldc + n * VF);
    UNROLL for (int r = 0; r < m; r += 3) p[r / 3] = a + (size_t)r * sr + (size_t)k0 * sk;
    b += (size_t)k0 * ldb;
    for (int k = k0; k < k1; k++, b += ldb) {
        UNROLL for (int n = 0; n < nv; n++) bv[n] = vf_load(b + n * VF);
        UNROLL for (int r = 0; r < m; r++) {
            vf x = vf_set(p[r / 3][(size_t)(r % 3) * sr]);
            UNROLL for (int n = 0; n < nv; n++) acc[r][n] = vf_fma(x, bv[n], acc[r][n]);
        }
        UNROLL for (int r = 0; r < m; r += 3) p[r / 3] += sk;
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

/* Rows taken at a time when `rows` are left: a case of any_rows. */
static inline int step(int rows) {
    static const signed char least[8] = {0, 1, 2, 3, 4, 4, 6, 6};
    return rows >= MR ? MR : rows >= 8 ? 8 : least[rows] <= MR ? least[rows] : MR;
}

INLINE void any_rows(int m, bool zero, const float *a, size_t sr, size_t sk, const float *b, size_t ldb, float *c,
                     size_t ldc, int k0, int k1, int vecs) {
#define ROWS(n) case n: panel(n, zero, a, sr, sk, b, ldb, c, ldc, k0, k1, vecs); break
    switch (m) {
#if MR > 6
        ROWS(12);
        ROWS(8);
#endif
#if MR > 4
        ROWS(6);
#endif
        ROWS(4);
        ROWS(3);
        ROWS(2);
        ROWS(1);
    }
#undef ROWS
}

/* s[n][32] = q[n][d] times b [d][32], for the first `keys` of the 32 and some that follow */
static void scores(int n, int d, const float *q, size_t ldq, const float *b, float *s, int keys) {
    int vecs = (keys + VF - 1) / VF;
    for (int r = 0, m; r < n; r += m) {
        m = step(n - r);
        any_rows(m, true, q + (size_t)r * ldq, ldq, 1, b, B, s + r * B, B, 0, d, vecs);
    }
}

/* c[r] += sum over k of a[r][k] b[k], k in [k0, k1); a is [row][32] */
static void rows_part(int m, const float *a, const float *b, size_t ldb, float *c, size_t ldc, int k0, int k1,
                      int vecs) {
    any_rows(m, false, a, B, 1, b, ldb, c, ldc, k0, k1, vecs);
}
/* The same with a [k][32], rows along its columns. */
static void cols_part(int m, const float *a, const float *b, size_t ldb, float *c, size_t ldc, int k0, int k1,
                      int vecs) {
    any_rows(m, false, a, 1, B, b, ldb, c, ldc, k0, k1, vecs);
}

/* Row r sums over k in [lo[r], hi[r]): what all rows of a register tile share is done at once,
 * the ragged ends row by row. */
typedef void part_fn(int m, const float *a, const float *b, size_t ldb, float *c, size_t ldc, int k0, int k1,
                     int vecs);
INLINE void ranged(part_fn *part, size_t sr, int n, const int *lo, const int *hi, const float *a, const float *b,
                   size_t ldb, float *c, size_t ldc, int vecs) {
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
            if (lo[i] < end) part(1, a + (size_t)i * sr, b, ldb, c + (size_t)i * ldc, ldc, lo[i], end, vecs);
        }
        if (!core) continue;
        part(m, a + (size_t)r * sr, b, ldb, c + (size_t)r * ldc, ldc, from, to, vecs);
        for (int i = r; i < r + m; i++)
            if (to < hi[i]) part(1, a + (size_t)i * sr, b, ldb, c + (size_t)i * ldc, ldc, to, hi[i], vecs);
    }
}
static void rows_ranged(int n, const int *lo, const int *hi, const float *a, const float *b, size_t ldb, float *c,
                        size_t ldc, int vecs) {
    ranged(rows_part, B, n, lo, hi, a, b, ldb, c, ldc, vecs);
}
static void cols_ranged(int n, const int *lo, const int *hi, const float *a, const float *b, size_t ldb, float *c,
                        size_t ldc, int vecs) {
    ranged(cols_part, 1, n, lo, hi, a, b, ldb, c, ldc, vecs);
}

/* ---- writing ---- */
/* K^T and V of one head from n rows of k and v (stride ld), slots [slot, slot + n). */
static void write_keys(float *kt, int slot, const float *k, const float *v, size_t ld, int n, int d) {
    size_t width = tn_attn_width(d);
    float *vt = kt + (size_t)d * B + (size_t)slot * width;
    for (int r = 0; r < n; r++)
        for (int i = 0; i < d; i += VF) vf_put(vt + (size_t)r * width + i, vf_get(v + (size_t)r * ld + i, d - i), d - i);
    int r = 0;
    for (; r + VF <= n; r += VF) {
        int i = 0;
        for (; i + VF <= d; i += VF) vf_transpose(k + (size_t)r * ld + i, ld, kt + (size_t)i * B + slot + r, B);
        for (; i < d; i++)
            for (int l = 0; l < VF; l++) kt[i * B + slot + r + l] = k[(size_t)(r + l) * ld + i];
    }
    for (; r < n; r++)
        for (int i = 0; i < d; i++) kt[i * B + slot + r] = k[(size_t)r * ld + i];
}

/* ---- tiles of query vectors ---- */
static void copy_row(float *dst, const float *src, int d) {
    for (int i = 0; i < d; i += VF) vf_put(dst + i, vf_get(src + i, d - i), d - i);
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
    memset(p, 0, (size_t)n * B * sizeof *p); /* scores of keys that are not there are never computed */
    for (int v = 0; v < n; v++) {
        tn_attn_place x = tn_attn_place_of(a, seg, g, first + v);
        copy_row(q + v * QS, j->qkv + x.row * (size_t)j->ld + x.head * (size_t)d, d);
        pos[v] = x.pos;
        max[v] = -INFINITY; /* the first block's factor is exp(-inf) = 0, on zeros */
        sum[v] = 0;
    }
    for (int c = seg->chain; c < seg->chain + seg->n_chain; c++) {
        const tn_kblock *k = &a->chain[c];
        if (!tn_attn_keys(a, k, n, pos, lo, hi)) continue;
        const float *kt = tn_attn_block(j, k->block, g);
        scores(n, d, q, QS, kt, p, k->n);
        softmax_rows(n, (float)a->scale, lo, hi, p, max, sum, acc, width);
        rows_ranged(n, lo, hi, p, kt + (size_t)d * B, width, acc, width, (int)(width / VF));
    }
    for (int v = 0; v < n; v++) {
        tn_attn_place x = tn_attn_place_of(a, seg, g, first + v);
        float *out = j->out + x.row * (size_t)j->ldo + x.head * (size_t)d;
        for (int i = 0; i < d; i += VF)
            vf_put(out + i, vf_div(vf_load(acc + (size_t)v * width + i), vf_set(sum[v])), d - i);
        if (j->lse) j->lse[x.row * (size_t)a->heads + x.head] = (float)((double)max[v] + tn_log((double)sum[v]));
    }
}

/* ---- backward ---- */
typedef struct grad_tile {
    const float *qp, *doutp; /* the vectors: copies below, or in place */
    size_t ldq, lddout;
    float q[TN_ATTN_TILE * QS], dout[TN_ATTN_TILE * QS], lse[TN_ATTN_TILE], D[TN_ATTN_TILE];
    float p[TN_ATTN_TILE * B], ds[TN_ATTN_TILE * B];
    int pos[TN_ATTN_TILE];
} grad_tile;

/* D = sum of dO O (N4) for all heads of a row. */
static void row_D(const tn_attn_job *j, size_t row, float *D) {
    int d = j->a->head_dim;
    for (int h = 0; h < j->a->heads; h++) {
        const float *dout = j->dout + row * (size_t)j->lddo + (size_t)h * (size_t)d;
        const float *out = j->out_in + row * (size_t)j->ldo + (size_t)h * (size_t)d;
        vf sum = vf_zero();
        for (int i = 0; i < d; i += VF) {
            vf y = vf_fma(vf_get(dout + i, d - i), vf_get(out + i, d - i), sum);
            sum = d - i < VF ? vf_keepn(y, sum, d - i) : y;
        }
        D[h] = vf_sum(sum);
    }
}

static void load_vector(const tn_attn_job *j, grad_tile *t, int v, tn_attn_place x, bool copy) {
    int d = j->a->head_dim;
    size_t col = x.head * (size_t)d, at = x.row * (size_t)j->a->heads + x.head;
    if (copy) {
        copy_row(t->q + v * QS, j->qkv + x.row * (size_t)j->ld + col, d);
        copy_row(t->dout + v * QS, j->dout + x.row * (size_t)j->lddo + col, d);
    }
    t->lse[v] = j->lse_in[at];
    t->D[v] = j->D[at];
    t->pos[v] = x.pos;
}

static void use_copies(grad_tile *t) {
    t->qp = t->q;
    t->doutp = t->dout;
    t->ldq = t->lddout = QS;
}

/* n consecutive rows of one head; in place where whole vectors stay within the head. */
static void load_rows(const tn_attn_job *j, grad_tile *t, tn_attn_place first, int n) {
    bool copy = j->a->head_dim % VF != 0;
    for (int v = 0; v < n; v++)
        load_vector(j, t, v, (tn_attn_place){first.row + (size_t)v, first.head, first.pos + v, 0}, copy);
    use_copies(t);
    if (copy) return;
    t->ldq = (size_t)j->ld;
    t->lddout = (size_t)j->lddo;
    t->qp = j->qkv + first.row * t->ldq + first.head * (size_t)j->a->head_dim;
    t->doutp = j->dout + first.row * t->lddout + first.head * (size_t)j->a->head_dim;
}

/* p and ds of n vectors against a block; vt: V^T [d][32]. Masked entries hold anything. */
static void grad_scores(const tn_attn_job *j, grad_tile *t, int n, const float *kt, const float *vt) {
    int d = j->a->head_dim;
    vf scale = vf_set((float)j->a->scale);
    scores(n, d, t->qp, t->ldq, kt, t->p, B);
    scores(n, d, t->doutp, t->lddout, vt, t->ds, B);
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
    for (int v = 0; v < n; v++) load_vector(j, &t, v, tn_attn_place_of(a, seg, g, first + v), true);
    use_copies(&t);
    for (int c = seg->chain; c < seg->chain + seg->n_chain; c++) {
        const tn_kblock *k = &a->chain[c];
        if (!tn_attn_keys(a, k, n, t.pos, lo, hi)) continue;
        const float *kt = tn_attn_block(j, k->block, g);
        transpose_v(vt, kt + (size_t)d * B, width);
        transpose_k(keys, kt, width);
        grad_scores(j, &t, n, kt, vt);
        rows_ranged(n, lo, hi, t.ds, keys, width, acc, width, (int)(width / VF));
    }
    for (int v = 0; v < n; v++) {
        tn_attn_place x = tn_attn_place_of(a, seg, g, first + v);
        float *dq = j->dqkv + x.row * (size_t)j->lddq + x.head * (size_t)d;
        for (int i = 0; i < d; i += VF)
            vf_put(dq + i, vf_mul(vf_load(acc + (size_t)v * width + i), vf_set((float)a->scale)), d - i);
    }
}

/* A block of keys in the backward pass. keys: K [32][width], only where dq is formed, too. */
typedef struct key_block {
    const tn_kblock *k;
    const float *kt;
    float vt[TN_ATTN_DIM * B], keys[B * TN_ATTN_DIM], dk[B * TN_ATTN_DIM], dv[B * TN_ATTN_DIM];
} key_block;

/* Adds what rows [r, r + n) of a segment give to the block's keys, for one head, and with `with_dq`
 * what the block gives to their dq. */
static void grad_tile_block(const tn_attn_job *j, grad_tile *t, key_block *kb, const tn_aseg *seg, size_t head, int r,
                            int n, bool with_dq) {
    const tn_attn *a = j->a;
    const tn_kblock *k = kb->k;
    size_t width = tn_attn_width(a->head_dim), row = (size_t)(seg->start + r);
    int lo[TN_ATTN_TILE], hi[TN_ATTN_TILE], pos = seg->pos + r, vecs = (int)(width / VF);
    load_rows(j, t, (tn_attn_place){row, head, pos, 0}, n);
    grad_scores(j, t, n, kb->kt, kb->vt);
    for (int i = 0; i < k->n; i++) { /* rows that see key i */
        lo[i] = tn_attn_clamp(k->pos + i - pos, 0, n);
        hi[i] = a->window ? tn_attn_clamp(k->pos + i + a->window - pos, 0, n) : n;
    }
    cols_ranged(k->n, lo, hi, t->p, t->doutp, t->lddout, kb->dv, width, vecs);
    cols_ranged(k->n, lo, hi, t->ds, t->qp, t->ldq, kb->dk, width, vecs);
    if (with_dq && tn_attn_keys(a, k, n, t->pos, lo, hi))
        rows_ranged(n, lo, hi, t->ds, kb->keys, width, j->dqkv + row * (size_t)j->lddq + head * (size_t)a->head_dim,
                    (size_t)j->lddq, vecs);
}

static void grad_block(const tn_attn_job *j, int s, int g, int block, bool with_dq) {
    const tn_attn *a = j->a;
    const tn_aseg *seg = &a->seg[s];
    const tn_kblock *k = &a->chain[seg->chain + seg->own + block];
    int d = a->head_dim, group = a->heads / a->kv_heads;
    size_t width = tn_attn_width(d), H = (size_t)a->heads, G = (size_t)a->kv_heads;
    grad_tile t;
    key_block kb;
    kb.k = k;
    kb.kt = tn_attn_block(j, k->block, g);
    memset(kb.dk, 0, B * width * sizeof *kb.dk);
    memset(kb.dv, 0, B * width * sizeof *kb.dv);
    transpose_v(kb.vt, kb.kt + (size_t)d * B, width);
    if (with_dq) transpose_k(kb.keys, kb.kt, width);
    for (int h = g * group; h < (g + 1) * group; h++)
        for (int e = a->desc_off[s]; e < a->desc_off[s + 1]; e++) {
            const tn_aseg *see = &a->seg[a->desc[e]];
            int from = tn_attn_clamp(k->pos - see->pos, 0, see->len);
            int to = a->window ? tn_attn_clamp(k->pos + k->n - 1 + a->window - see->pos, 0, see->len) : see->len;
            for (int r = from; r < to; r += TN_ATTN_TILE)
                grad_tile_block(j, &t, &kb, see, (size_t)h, r, to - r < TN_ATTN_TILE ? to - r : TN_ATTN_TILE, with_dq);
        }
    for (int i = 0; i < k->n; i++) {
        float *out = j->dqkv + (size_t)(seg->start + block * B + i) * (size_t)j->lddq + (H + (size_t)g) * (size_t)d;
        for (int c = 0; c < d; c += VF) {
            vf_put(out + c, vf_mul(vf_load(kb.dk + (size_t)i * width + c), vf_set((float)a->scale)), d - c);
            vf_put(out + G * (size_t)d + c, vf_load(kb.dv + (size_t)i * width + c), d - c);
        }
    }
}

static void grad_keys(const tn_attn_job *j, int s, int g, int block) { grad_block(j, s, g, block, false); }

/* dq of a segment's rows and the heads of g, scaled. */
static void dq_rows(const tn_attn_job *j, const tn_aseg *seg, int g, vf times) {
    size_t cols = (size_t)(j->a->heads / j->a->kv_heads) * (size_t)j->a->head_dim;
    for (int r = seg->start; r < seg->start + seg->len; r++) {
        float *dq = j->dqkv + (size_t)r * (size_t)j->lddq + (size_t)g * cols;
        for (size_t i = 0; i < cols; i += VF) vf_store(dq + i, vf_mul(vf_load(dq + i), times));
    }
}

static void grad_tree(const tn_attn_job *j, int s, int g) {
    const tn_attn *a = j->a;
    size_t cols = (size_t)(a->heads / a->kv_heads) * (size_t)a->head_dim;
    for (int e = a->desc_off[s]; e < a->desc_off[s + 1]; e++) {
        const tn_aseg *seg = &a->seg[a->desc[e]];
        for (int r = seg->start; r < seg->start + seg->len; r++)
            memset(j->dqkv + (size_t)r * (size_t)j->lddq + (size_t)g * cols, 0, cols * sizeof(float));
    }
    /* ancestors come first: every row meets its chain in order */
    for (int e = a->desc_off[s]; e < a->desc_off[s + 1]; e++)
        for (int block = 0; block * B < a->seg[a->desc[e]].len; block++) grad_block(j, a->desc[e], g, block, true);
    for (int e = a->desc_off[s]; e < a->desc_off[s + 1]; e++)
        dq_rows(j, &a->seg[a->desc[e]], g, vf_set((float)a->scale));
}

const tn_attn_kernels VF_SUFFIX(tn_attn) = {
    .tile = TN_ATTN_TILE, .strip = 1, .step = 16,
    .write_keys = write_keys, .forward = forward, .row_D = row_D, .grad_query = grad_query, .grad_keys = grad_keys,
    .grad_tree = grad_tree};
