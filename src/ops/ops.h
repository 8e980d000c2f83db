/* THE table of operations: all that a backend implements, and the numeric contract.
 *
 * Buffers are `void *` of the backend's element (float, or double for ref64) or operand rows (N12), row-major, with a
 * row stride `ld` in their elements. Packed weights and key/value blocks have layouts that only the
 * backend knows. Forward and backward (src/model) are lists of these calls.
 *
 * Numeric contract
 *   N1  The float reference `ref` IS the definition; `cpu` equals it to the bit, for every kernel
 *       it can pick, any thread count, any T: a row's numbers never depend on the other rows.
 *   N2  f32 matrix products: out[i][j] = one chain acc = fma(a[k], b[k], acc), acc0 = 0, k ascending;
 *       then bias and/or the old value of `out` are added, each one addition, in that order:
 *       TN_SET: out = acc (+ bias);  TN_ADD: out = out + (acc (+ bias));
 *       TN_ADD_NONZERO (gemm and gemm_dx only): out = out - (0 - (acc (+ bias))): TN_ADD, but a sum of 0 of
 *       either sign leaves every out as it is, -0 too;
 *       TN_ROUND, TN_ADD_ROUND: TN_SET and TN_ADD_NONZERO where y are operand rows (N12), of which out is rounded.
 *   N3  bf16 matrix products round both operands to bf16 (RNE) and use one of two orders over k
 *       (zero-padded at the end), f32 accumulation, denormals flushed (inputs, products' results):
 *         pair   acc = fma(a[2j], b[2j], fma(a[2j+1], b[2j+1], acc))            VDPBF16PS
 *         dot32  per 32-wide tile of k: e and o = two FMA chains from 0 over the tile's 16 even
 *                and 16 odd k; acc = acc + (e + o)                                  TDPBF16PS
 *       A machine uses its native one (AMX: dot32; everything else: pair).
 *   N4  Row reductions (norms, softmax sums, lane sums): 16 partial results, lane l takes the
 *       elements l, l+16, l+32, ... in ascending order; then lanes are combined by the tree
 *       l with l+8, then l+4, l+2, l+1 (lower lane first operand).
 *   N5  exp is tn_op_expf (ops/expf.h): one polynomial in FMA form, <= 2 ulp, same bits everywhere.
 *   N6  Reductions over tokens (dW, norm weights, biases, embeddings) are ascending in the token.
 *   N7  Everything is computed in the element type; per-row results go out as double (exact widening).
 *   N11 Attention of the f32 and f64 profiles is ref/attn.h; of the bf16 profiles, ref/attn_bf16.h: its products as N3,
 *       over whole blocks of 32 keys or rows in which what is masked or absent counts as zero, and everything
 *       between them in float. A zero that a masked key adds can change no bit but the sign of a sum that is zero,
 *       so results are made +0 then; for that, keys and values must be finite.
 *   N12 Operand rows are what only products read, and gate|up: in bf16 profiles their elements are bf16, rounded once
 *       when they are written, as N3 rounds (RNE, denormals to zero); else they are elements like all others.
 * Below: N8, the head; N9, AdamW and how it keeps its moments; N10, divergences between two models' distributions.
 * ref64 computes the same formulas in double (expressions, not bits, are shared): the oracle.   */
#ifndef TN_OPS_H
#define TN_OPS_H
#include "base/pool.h"
#include <stdbool.h>
#include <stdint.h>

#define TN_KV_BLOCK 32      /* keys per key/value block, counted from each segment's start */
#define TN_HEAD_TILE 1024   /* vocabulary columns per tile of the head (N8 below) */
#define TN_HEAD_ROWS 256    /* rows per block of the head's backward */
#define TN_EXP_BLOCK 512    /* probabilities per partial sum of a sampling row */
#define TN_NORM_BLOCK 4096  /* elements per partial sum of a gradient's norm, counted from a tensor's start */

typedef enum tn_dtype { TN_F32, TN_BF16, TN_F64 } tn_dtype; /* of matrix operands */
typedef enum tn_mode { TN_SET, TN_ADD, TN_ADD_NONZERO, TN_ROUND, TN_ADD_ROUND } tn_mode;
typedef enum tn_act { TN_SILU, TN_GELU_TANH } tn_act;

typedef struct tn_ops tn_ops;
typedef struct tn_backend {
    const tn_ops *op;     /* what is called: counts (ops/flop.h), and times when a profiler is there */
    const tn_ops *own;    /* the backend's own */
    tn_ops *counting;
    uint64_t flop;        /* floating-point operations so far */
    const char *name;     /* "ref", "ref64", "cpu" */
    const char *profile;  /* "f32", "f64", "bf16-pair", "bf16-dot32": decides the bits; recorded by runs */
    const char *kernels;  /* "scalar", "avx2", "avx512", "avx512bf16", "amx" (amx-model for tests) */
    size_t elem;          /* bytes of one element: 4 or 8 */
    size_t operand;       /* of one in operand rows: 2 in bf16 profiles, else elem */
    tn_dtype dtype;
    tn_pool *pool;
    void *priv;           /* backend's own state (kernel pointers) */
    void *scratch;        /* grown by need up to the largest call seen; steady afterwards */
    size_t scratch_bytes;
    struct tn_profiler *profiler; /* ops/profile.h; NULL: off */
    bool starved;         /* some operation had no scratch and did nothing */
    size_t *sizing;       /* not NULL: calls do nothing but raise this to the scratch they would take */
} tn_backend;

/* name: "ref", "ref64", "cpu"; kernels: NULL = best for this machine, or one by name (tests; a kernel
 * whose instructions are missing is refused unless its software model was asked for: "amx-model",
 * "avx512bf16-model"). threads 0 = all CPUs. */
tn_status tn_backend_open(tn_backend **b, const char *name, tn_dtype dtype, const char *kernels,
                          int threads, tn_err *e);
void tn_backend_free(tn_backend *b);
/* At least `bytes` of 64-byte aligned scratch (contents undefined); NULL when memory is out. Operations
 * have no status: without scratch they do nothing, and the next check says so. */
void *tn_backend_scratch(tn_backend *b, size_t bytes);
/* TN_NOMEM, once, when results since the last check are void; ends every forward and backward. */
tn_status tn_backend_check(tn_backend *b, tn_err *e);

/* A matrix [out, in] in Hugging Face orientation with the backend's packed form, which serves Y = X W^T and dX = dY W. */
typedef struct tn_weight {
    int out, in;
    const void *master;  /* [out, in] elements, not owned */
    void *packed;        /* owned by whoever allocated weight_bytes */
} tn_weight;

/* A low-rank adapter (LoRA) of one matrix. The matrix may be several modules joined (q, k, v; gate, up); each
 * adapted one is a part with A and B of its own. The A's lie one under the other; B_p [out_p, rank] adds
 * to the columns col_p .. col_p + out_p - 1 of y. With B = 0 (how adapters start) and finite u, y keeps
 * its bits. Formula: Hu et al. 2021; scale = alpha/rank, or alpha/sqrt(rank) (rsLoRA). */
#define TN_LORA_PARTS 3
typedef struct tn_lora {
    int parts, rank;              /* parts 0: this matrix is not adapted */
    double scale;
    tn_weight a;                  /* [parts*rank, in] */
    tn_weight b[TN_LORA_PARTS];   /* [out_p, rank] */
    int col[TN_LORA_PARTS];
} tn_lora;
typedef struct tn_lora_grad {     /* of the same shapes; added to */
    void *a, *b[TN_LORA_PARTS];
} tn_lora_grad;

/* One segment as attention sees it: its query rows and the chain of key blocks they may see:
 * the ancestors' blocks from the root downwards, then its own. Key position p is visible to query
 * position q iff p <= q and (window == 0 or p > q - window). A wholly masked block changes nothing. */
typedef struct tn_kblock {
    int32_t block;   /* index in the block pool */
    int32_t pos;     /* position of its first key */
    int32_t n;       /* keys filled, 1 .. 32 */
} tn_kblock;
typedef struct tn_aseg {
    int32_t start, len;       /* query rows */
    int32_t pos;              /* position of the first one; row i has pos + i */
    int32_t chain, n_chain;   /* tn_kblock range in tn_attn.chain */
    int32_t own;              /* index within the chain of its first own block */
} tn_aseg;
typedef struct tn_attn {
    int n_tok, n_seg;
    const tn_aseg *seg;
    const tn_kblock *chain;
    const int32_t *row_block, *row_slot; /* [n_tok] where each row's key and value go */
    /* backward only: segments that see segment s (itself and its descendants), ascending */
    const int32_t *desc_off, *desc;      /* desc_off [n_seg+1] */
    int heads, kv_heads, head_dim, window;
    double scale;
} tn_attn;

/* Head over R gathered rows: a[r][v] = x[r] . W[v] (N2, N3), z = a * inv_temp. No [R,V] array exists
 * unless `z` is asked for. N8, every operation rounded to the element:
 *   forward, per tile of TN_HEAD_TILE columns (the last one is shorter), N4 lanes counted from the tile's start:
 *     m_t = max z, e = exp(z - m_t), s_t = sum e, w_t = sum of lanes fma(e, z, lane), a_t = sum a;
 *     tile 0 starts (m, s, w, a); then, ascending: m' = max(m, m_t), c = exp(m - m'), c_t = exp(m_t - m'),
 *     s' = fma(s_t, c_t, s*c), w' = fma(w_t, c_t, w*c), a' = a + a_t;
 *     lse = m + log(s) (in double, rounded once); logp = z[target] - lse; entropy = lse - w/s;
 *     log_sum_sq = log sum_v p_v^2, only when asked for: q_t = sum of lanes fma(e, e, lane), tile 0 starts q, then
 *     q' = fma(q_t, c_t*c_t, q*(c*c)); log_sum_sq = log(q) - 2 log(s) (in double, rounded once);
 *     mean_logit = a/V; top1 = 1 if the target is the first column where z is largest, else 0.
 *   backward, per block of TN_HEAD_ROWS rows, ascending; within it per tile, ascending:
 *     u = z - lse, p = exp(u), g = (d_lse - d_logp) - d_entropy*(u + entropy), q = p*g, at the target
 *     q = q + d_logp; dz = q*inv_temp (an absent d_* is 0; without d_entropy, g = d_lse - d_logp);
 *     dx[r] = the chain over the tile's columns of dz W: tile 0 sets, later tiles add it;
 *     dw[v] = dw[v] + the chain over the block's rows of dz x.                                   */
typedef struct tn_head {
    int rows;                 /* R */
    const void *x;            /* [R, in], ld = in */
    const tn_weight *w;       /* [V, in] */
    double inv_temp;
    const int32_t *target;    /* [R]; -1 where only statistics are wanted; may be NULL */
    /* out, each may be NULL, [R] */
    double *logp, *lse, *entropy, *mean_logit, *top1, *log_sum_sq;
    float *z;                 /* [R, V] raw temperature-scaled logits (sampling, --logits) */
} tn_head;
/* Divergences of the head's distribution p from the one, q, that a second model gives over the same V columns at the
 * same temperature; row r of both stands for the same token. b = beta, c = 1 - b. N10, for a column whose log-probs
 * are u = z - lse and w = z2 - lse2 (tn_op_logf, ops/logf.h, is log):
 *   p = exp(u), q = exp(w), d = u - w, t = max(u, w), n = t + log(fma(b, exp(w - t), c*exp(u - t)));
 *   forward, per tile, N4: k_t = sum fma(p, d), r_t = sum fma(q, w - u), m_t = sum fma(p, u - n), y_t = sum fma(q, w - n);
 *     each is added to its sum over tiles, ascending, from 0;
 *     kl = KL(p|q) = k, rkl = KL(q|p) = r, kl_mix = KL(p|M) = m, jsd = fma(b, y, c*m), where M = b q + c p: the
 *     generalised Jensen-Shannon divergence b KL(q|M) + c KL(p|M) (Agarwal et al. 2023, 2306.13649, with q the teacher);
 *   backward, on top of N8's (q there is s here), with respect to z alone, in this order, what has no d_* left out:
 *     g = g + d_kl*(d - kl), g = g + (d_jsd*c)*((u - n) - kl_mix), g = g + d_rkl, s = p*g, s = s - d_rkl*q.
 * Equal models have divergence 0, to the bit. */
typedef struct tn_head_pair {
    int rows;                 /* R */
    const void *x, *x2;       /* [R, in], [R, in2] */
    const tn_weight *w, *w2;  /* [V, in], [V, in2] */
    double inv_temp;
    double beta;              /* of jsd and kl_mix, in (0, 1); else unused */
    const double *lse, *lse2; /* [R] from `head` of both */
    double *kl, *rkl, *jsd, *kl_mix; /* [R] out, each may be NULL; the backward reads kl for d_kl, kl_mix for d_jsd */
} tn_head_pair;
typedef struct tn_head_bwd {
    int rows;
    const void *x;
    const tn_weight *w;
    double inv_temp;
    const int32_t *target;
    const double *lse, *entropy;           /* from the forward; entropy only if d_entropy */
    const double *d_logp, *d_entropy, *d_lse; /* [R]; each may be NULL */
    void *dx;                              /* [R, in] set; may be NULL */
    void *dw;                              /* [V, in] added; may be NULL */
    const tn_head_pair *pair;              /* NULL, or the second model of d_kl, d_rkl, d_jsd [R], each may be NULL */
    const double *d_kl, *d_rkl, *d_jsd;
} tn_head_bwd;

/* AdamW. N9, in the element type:
 *   g = g gscale;  m = fma(1-b1, g - m, m);  v = fma((1-b2) g, g, b2 v);
 *   p = fma(-lr/bc1, m / (sqrt(v)/sqrt(bc2) + eps), p (1 - lr wd));  bc = 1 - b^step             (torch's AdamW)
 * Between steps m and v are kept as elements, or rounded, where a draw h of 32 bits (tn_moment_draw: a function
 * of step, tensor and element alone) decides which neighbour it is. Without draws v would not fall any more once
 * (1-b2) v is less than half a unit: with b2 = .999 neither bf16 nor 8 bits would let it.
 *   bf16   m to nearest even; v = bits + (h >> 16), the lower 16 bits cut off.
 *   8 bit  blocks of TN_MOMENT_BLOCK elements from the tensor's start (Dettmers et al. 2022, 2110.02861; the code
 *          is ours): a float s, then a byte an element (their number rounded up to 4). With C = 127, x = |m|,
 *          s = max x:  c = min(C sqrt(sqrt(x (1/s))) + (h & 65535)/65536, C), cut to an integer, with m's sign;
 *          with C = 255, x = sqrt(v), s = max x:  c = min(C sqrt(x (1/s)) + (h >> 16)/65536, C), cut, at least 1
 *          (an element that moves has a v). Read as f = c (1/C): m = (f |f|) (f f) s, v = (f f s) (f f s).
          With s = 0 every c is 0.
 * So with eps > 0 an element whose g, m and v are 0 keeps these, and p becomes p (1 - lr wd). */
typedef enum tn_moment_kind { TN_MOMENTS_FULL, TN_MOMENTS_BF16, TN_MOMENTS_8BIT } tn_moment_kind;
#define TN_MOMENT_BLOCK 256
typedef struct tn_adamw {
    double lr, beta1, beta2, eps, wd, gscale;
    long step;          /* from 1 */
    tn_moment_kind moments;
    size_t first;       /* number in its tensor of p[0], a multiple of TN_MOMENT_BLOCK */
    uint32_t key;       /* of step and tensor */
    const uint8_t *live; /* NULL, or for each TN_MOMENT_BLOCK of the n elements: 0 where g, m, v are known to be zeros */
} tn_adamw;
/* Of m, or of v, for n elements from a block's start on. */
static inline size_t tn_moment_bytes(tn_moment_kind k, size_t n, size_t elem) {
    if (k == TN_MOMENTS_FULL) return n * elem;
    if (k == TN_MOMENTS_BF16) return (2 * n + 3) / 4 * 4;
    return (n + TN_MOMENT_BLOCK - 1) / TN_MOMENT_BLOCK * sizeof(float) + (n + 3) / 4 * 4;
}
static inline uint32_t tn_moment_draw(uint32_t key, uint32_t i) { /* murmur3's finaliser */
    uint32_t h = i * 0x9e3779b1u + key;
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return h ^ h >> 16;
}

struct tn_ops {
    /* --- weights --- */
    size_t (*weight_bytes)(const tn_backend *b, int out, int in); /* of `packed` */
    void (*weight_pack)(tn_backend *b, const tn_weight *w);       /* fills it from the master */
    /* --- matrix products: x and dy are operand rows --- */
    void (*gemm)(tn_backend *b, tn_mode mode, void *y, int ldy, const void *x, int ldx,
                 const tn_weight *w, const void *bias /* [out] or NULL */, int T); /* [T,out] <- [T,in] */
    void (*gemm_dx)(tn_backend *b, tn_mode mode, void *dx, int lddx, const void *dy, int lddy,
                    const tn_weight *w, int T);                                    /* [T,in] <- [T,out] */
    void (*gemm_dw)(tn_backend *b, void *dw, const void *dy, int lddy, const void *x, int ldx,
                    int T, int out, int in);              /* dw[out,in] += dy^T x, chain over T (N2/N3) */
    void (*bias_bwd)(tn_backend *b, void *db, const void *dy, int ld, int T, int n); /* db += column sums of operand rows */
    /* --- low-rank adapters; x and dy are operand rows; R = parts*rank, u and v [T, R] without gaps are the caller's.
     * The products as in N2 and N3, each element then once multiplied by the scale s:
     *   u = s (x A^T)                y_p = y_p + u_p B_p^T (TN_ADD_NONZERO or TN_ADD_ROUND); y NULL: only u
     *   v_p = s (dy_p B_p)           dB_p += dy_p^T u_p,  dA += v^T x (as gemm_dw),  dx = dx + v A
     * u of lora_bwd is what lora gave; g NULL: the adapter is frozen; dx NULL: not wanted. */
    void (*lora)(tn_backend *b, tn_mode mode, void *y, int ldy, void *u, const void *x, int ldx, const tn_lora *w, int T);
    void (*lora_bwd)(tn_backend *b, void *dx, int lddx, const tn_lora_grad *g, const void *dy, int lddy,
                     const void *u, void *v, const void *x, int ldx, const tn_lora *w, int T);
    /* --- rows --- */
    /* y[t] = table[ids[t]]; half: the table is bf16, and widened */
    void (*embed)(tn_backend *b, void *y, const void *table, bool half, const int32_t *ids, int T, int D);
    void (*embed_bwd)(tn_backend *b, void *dtable, const void *dy, const int32_t *ids, int T, int D);
    /* x viewed as [T][groups][n] with row stride ld; w [n] shared by groups; rstd [T*groups] or NULL.
     * y = x * rstd * w, rstd = 1/sqrt(mean(x^2) + eps). groups > 1: qk-norm per head. TN_SET or TN_ROUND. */
    void (*rms_norm)(tn_backend *b, tn_mode mode, void *y, int ldy, void *rstd, const void *x, int ldx,
                     const void *w, int T, int groups, int n, double eps);
    /* dx (set or added) and dw[n] += (NULL: not wanted); may be called with dx == dy (same ld, TN_SET). */
    void (*rms_norm_bwd)(tn_backend *b, tn_mode mode, void *dx, int lddx, void *dw, const void *dy,
                         int lddy, const void *x, int ldx, const void *rstd, const void *w,
                         int T, int groups, int n);
    /* y = x with heads turned: of `heads` heads of d elements the first d_rot rotate, pairs (i, i + d_rot/2); `rest`
     * heads after them do not. cos/sin tables [positions, d_rot/2] elements. sign +1 forward, -1 backward.
     * TN_SET: in place, y is x. TN_ROUND: y are operand rows, x elements; y may be x where both are the same. */
    void (*rope)(tn_backend *b, tn_mode mode, void *y, int ldy, const void *x, int ldx, const int32_t *pos,
                 const void *cos, const void *sin, int T, int heads, int rest, int d, int d_rot, int sign);
    /* h and gu [T,2F] (gate, up) are operand rows. */
    void (*act_gate)(tn_backend *b, tn_act act, void *h, const void *gu, int T, int F);
    /* dgu, operand rows, may be gu; dh are elements. */
    void (*act_gate_bwd)(tn_backend *b, tn_act act, void *dgu, const void *dh, const void *gu, int T, int F);
    /* Operand rows from elements, n of them. */
    void (*round)(tn_backend *b, void *y, const void *x, size_t n);
    /* y[i] = x[rows[i]]: any rows, whose elements have that many bytes */
    void (*gather)(tn_backend *b, void *y, const void *x, int ld, const int32_t *rows, int R, int D, size_t bytes);
    void (*scatter_add)(tn_backend *b, void *x, int ld, const void *y, const int32_t *rows, int R, int D);
    /* In place, x [T, D] without gaps: row i < R goes to rows[i] (ascending), all other rows become 0. */
    void (*spread)(tn_backend *b, void *x, const int32_t *rows, int R, int T, int D);
    void (*add)(tn_backend *b, void *y, const void *x, size_t n);         /* y += x */
    void (*scale)(tn_backend *b, void *y, double s, size_t n);            /* y *= s */
    /* --- attention over key/value blocks; qkv and out are operand rows, dout and dqkv elements --- */
    size_t (*kv_block_bytes)(const tn_backend *b, int kv_heads, int head_dim); /* of one block, one layer */
    /* k at qkv + H*d, v at qkv + (H+G)*d of each row; slot 0 clears its block first: slots without a key are zeros. */
    void (*kv_write)(tn_backend *b, void *pool, const void *qkv, int ld, const tn_attn *a);
    void (*attn)(tn_backend *b, void *out, int ldo, void *lse /* [T,H] or NULL */, const void *qkv, int ld,
                 const void *pool, const tn_attn *a);
    /* dqkv (set, all H+2G heads) from dout, out, lse; blocks as written by kv_write. */
    void (*attn_bwd)(tn_backend *b, void *dqkv, int lddq, const void *dout, int lddo, const void *out, int ldo,
                     const void *lse, const void *qkv, int ld, const void *pool, const tn_attn *a);
    /* --- heads --- */
    void (*head)(tn_backend *b, const tn_head *h);
    void (*head_bwd)(tn_backend *b, const tn_head_bwd *h);
    void (*head_pair)(tn_backend *b, const tn_head_pair *h);
    void (*rowdot)(tn_backend *b, double *out, const void *x, const void *w, int R, int D); /* N4 dot */
    void (*rowdot_bwd)(tn_backend *b, void *dx /* set */, void *dw /* += */, const double *d_out,
                       const void *x, const void *w, int R, int D);
    /* --- sampling: one row's probabilities, p[v] = exp(z[v] - (float)lse) by N5, and the sum of every TN_EXP_BLOCK of
     * them, N4 in double. On the calling thread: several may call it at once. --- */
    void (*exp_row)(const tn_backend *b, float *p, double *sum, const float *z, double lse, int V);
    /* --- optimiser: N9; p and g are elements, m and v as s->moments says --- */
    void (*adamw)(tn_backend *b, void *p, const void *g, void *m, void *v, size_t n, const tn_adamw *s);
    /* of every TN_NORM_BLOCK elements; live: as above, or NULL */
    void (*sumsq)(tn_backend *b, const void *x, size_t n, const uint8_t *live, double *block);
    bool (*finite)(tn_backend *b, const void *x, size_t n);
};
extern const tn_ops tn_ops_ref32, tn_ops_ref64, tn_ops_cpu;

static inline void *tn_operand_at(const tn_backend *b, void *p, size_t i) { return (char *)p + i * b->operand; }
static inline const void *tn_operand_cat(const tn_backend *b, const void *p, size_t i) { return (const char *)p + i * b->operand; }
static inline void *tn_at(const tn_backend *b, void *p, size_t i) { return (char *)p + i * b->elem; }
static inline const void *tn_cat(const tn_backend *b, const void *p, size_t i) { return (const char *)p + i * b->elem; }
#endif
