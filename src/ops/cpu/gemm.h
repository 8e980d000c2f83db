/* Matrix products of the cpu backend: what kernels, packing and drivers share.
 *
 * One product is C[M,N] = A[M,K] B[K,N]; the three uses differ only in where A and B come from:
 *   gemm     A = x  [T,in]        B = W^T: panels packed with the weights
 *   gemm_dx  A = dy [T,out]       B = W:   panels packed with the weights (packed_t)
 *   gemm_dw  A = dy^T [out,T]     B = x:   panels packed during the call
 *
 * Operands in memory. K is counted in units of 4 bytes, one unit being
 *   TN_FORM_F32    one float
 *   TN_FORM_SWAP   one float rounded to bf16; the two of each pair of k swapped, so that an ascending
 *                  chain of FMAs is the order `pair`
 *   TN_FORM_BF16   two bf16, k and k+1
 * and padded with zeros (kernel's `pad` units). A is row-major, [m][lda] units; lda is a multiple of
 * 16 (64 bytes), odd in those, so that rows do not fall on the same cache sets. B is cut in panels
 * of TN_NR columns, each [k][TN_NR] units, one after the other; missing columns are zeros.
 *
 * K is never split and never shared between threads: a kernel takes a tile of `m` rows and one
 * panel through all of K, in the order of its profile (ops.h N2, N3).                        */
#ifndef TN_OPS_CPU_GEMM_H
#define TN_OPS_CPU_GEMM_H
#include "ops/cpu/head.h"

#define TN_NR 32      /* columns of a panel */
#define TN_MR_MAX 32  /* most rows of a tile */

typedef enum tn_form { TN_FORM_F32, TN_FORM_SWAP, TN_FORM_BF16 } tn_form;

/* Conversions from float matrices to operands; `rows`, `cols` name the contiguous direction of the
 * source: rows: element (i, k) is src[i*lds + k]; cols: src[k*lds + i]. units includes padding. Rows of A
 * are written up to a multiple of 16 units. */
typedef struct tn_packer {
    void (*a_rows)(tn_form f, uint32_t *dst, size_t lda, const float *src, size_t lds, int m, int k, int units);
    void (*a_cols)(tn_form f, uint32_t *dst, size_t lda, const float *src, size_t lds, int m, int k, int units);
    void (*b_rows)(tn_form f, uint32_t *panel, const float *src, size_t lds, int n, int k, int units);
    void (*b_cols)(tn_form f, uint32_t *panel, const float *src, size_t lds, int n, int k, int units);
    /* y (m rows, n columns) from a tile c [m][TN_NR], with mode and bias as ops.h N2 */
    void (*finish)(tn_mode mode, float *y, size_t ldy, const float *c, const float *bias, int m, int n);
} tn_packer;
extern const tn_packer tn_pack_portable, tn_pack_avx2, tn_pack_avx512, tn_pack_avx512bf16;

/* c[m][ldc], TN_NR columns = A (m rows, `units` of K) times one panel. Meanwhile, for each unit, 64
 * bytes from `next` on are fetched into the caches: the beginning or the rest of the next panel. */
typedef struct tn_tile {
    int m, units;
    const uint32_t *a, *b, *next;
    size_t lda;
    float *c;
    size_t ldc;
} tn_tile;
#define TN_TILE_AHEAD 16 /* of `next` for each unit, in units of 4 bytes */

typedef struct tn_cpu_mm {
    const char *name;    /* as in tn_backend.kernels */
    const char *profile; /* as in tn_backend.profile */
    tn_form form;
    int pad;             /* K is padded to a multiple of this many units */
    int mr;              /* rows of a full tile */
    int grain;           /* tiles begin at multiples of this row; A is readable (zero) up to it */
    void (*tile)(const tn_tile *t); /* m <= mr */
    /* Around a thread's run of tiles, or NULL. */
    void (*begin)(void), (*end)(void);
    const tn_packer *pack;
    const tn_head_rows *head;
} tn_kernel;
extern const tn_kernel tn_kern_f32_scalar, tn_kern_f32_avx2, tn_kern_f32_avx512;
extern const tn_kernel tn_kern_pair_scalar, tn_kern_pair_avx2, tn_kern_pair_avx512;
extern const tn_kernel tn_kern_pair_avx512bf16, tn_kern_pair_avx512bf16_model;
extern const tn_kernel tn_kern_dot32_scalar, tn_kern_dot32_amx, tn_kern_dot32_amx_model;

/* --- the product, for gemm.c and head.c --- */
typedef struct tn_product {
    const tn_kernel *kern;
    int m, n, k;
    const float *a;           /* source of A, row stride lda */
    size_t lda;
    bool a_cols;              /* the source is stored transposed: element (i, k) at a[k*lda + i] */
    const uint32_t *packed_a; /* A as an operand already (lda then in units), or NULL */
    const uint32_t *b;        /* panels, from the first unit to use */
    size_t panel;             /* 4-byte units from one panel to the next */
    tn_mode mode;
    float *y;
    size_t ldy;
    const float *bias;
    /* Called on each finished tile of y, or NULL. */
    void (*each)(void *ctx, float *y, size_t ldy, int row, int rows, int col, int cols);
    void *ctx;
} tn_product;

/* How a product is cut: M into tiles, tiles into blocks of rows, N into panels. */
typedef struct tn_plan {
    const tn_product *p;
    int units, tiles, blocks, panels;
    bool direct;        /* A is used where it is */
    size_t lda;         /* units */
    uint32_t *a;        /* one block for each thread */
    size_t a_thread;    /* units */
} tn_plan;
/* At least min_blocks blocks (if there are as many tiles), each of at most max_rows rows. */
void tn_plan_make(tn_plan *l, const tn_product *p, int min_blocks, int max_rows);
int tn_plan_tile_row(const tn_plan *l, int tile);   /* first row of a tile; p->m for tile = tiles */
int tn_plan_block_tile(const tn_plan *l, int block); /* first tile of a block */
/* What the i-th of n tiles that use panel `b` should fetch, the next panel being `next` (or NULL). */
const uint32_t *tn_plan_ahead(const tn_plan *l, const uint32_t *b, const uint32_t *next, int i, int n);
/* A of a block, as an operand: in place, or converted into the thread's scratch unless `loaded`. */
const uint32_t *tn_plan_block_a(const tn_plan *l, int block, int thread, bool loaded);

/* Bytes of scratch a product needs at most (growing with k, whatever m and n), and the product. */
size_t tn_product_scratch(const tn_product *p, int threads);
void tn_product_run(const tn_product *p, tn_pool *pool, void *scratch);

/* Panels of B [k, n] from float rows: cols: element (k, j) at src[k*lds + j], else at src[j*lds + k]. */
typedef struct tn_packing {
    const tn_kernel *kern;
    const float *src;
    size_t lds;
    int n, k;
    bool cols;
    uint32_t *dst;
} tn_packing;
void tn_pack_run(const tn_packing *j, tn_pool *pool);

static inline const tn_kernel *tn_kernel_of(const tn_backend *b) { return ((const tn_cpu *)b->priv)->mm; }
static inline int tn_units(const tn_kernel *g, int k) {
    int u = g->form == TN_FORM_BF16 ? (k + 1) / 2 : k;
    return (u + g->pad - 1) / g->pad * g->pad;
}
static inline size_t tn_row_units(int units) { return (size_t)((units + 15) / 16 | 1) * 16; }
static inline int tn_panels(int n) { return (n + TN_NR - 1) / TN_NR; }

#endif
