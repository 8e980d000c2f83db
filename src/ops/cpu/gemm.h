/* Matrix products of the cpu backend: what kernels, packing and drivers share.
 *
 * One product is C[M,N] = A[M,K] B[K,N]; the three uses differ only in where A and B come from:
 *   gemm     A = x  [T,in]        B = W^T: panels packed with the weights
 *   gemm_dx  A = dy [T,out]       B = W:   panels turned from those of W^T during the call
 *   gemm_dw  A = dy^T [out,T]     B = x:   panels packed during the call
 *
 * Operands in memory. K is counted in units of 4 bytes, one unit being
 *   TN_FORM_F32    one float
 *   TN_FORM_SWAP   one float rounded to bf16; the two of each pair of k swapped, so that an ascending
 *                  chain of FMAs is the order `pair`
 *   TN_FORM_BF16   two bf16, k and k+1
 * and padded with zeros (kernel's `pad` units). A is row-major, [m][lda] units; lda is a multiple of
 * 16 (64 bytes), odd in those, so that rows do not fall on the same cache sets. Or, for a transposed
 * source and kernels that can, each tile of A is a panel [k][TN_AW] units. B is cut in panels of
 * TN_NR columns, each [k][TN_NR] units, one after the other; missing columns are zeros.
 *
 * K is never split and never shared between threads: a kernel takes a tile of `m` rows and one
 * panel through all of K, in the order of its profile (ops.h N2, N3).                        */
#ifndef TN_OPS_CPU_GEMM_H
#define TN_OPS_CPU_GEMM_H
#include "ops/cpu/head.h"

#define TN_NR 32      /* columns of a panel */
#define TN_MR_MAX 32  /* most rows of a tile */
#define TN_AW 16      /* width of a panel of A */

typedef enum tn_form { TN_FORM_F32, TN_FORM_SWAP, TN_FORM_BF16 } tn_form;

/* Conversions of matrices to operands of `units` units of K (padding included). The source is contiguous
 * along k (rows: element (i, k) is src[i*lds + k]) or along i (cols: src[k*lds + i]); its elements are floats, or
 * (f with TN_HALF) bf16, as operand rows have them. */
#define TN_HALF 4
typedef struct tn_packer {
    /* row-major A; rows are written up to a multiple of 16 units */
    void (*a_rows)(int f, uint32_t *dst, size_t lda, const void *src, size_t lds, int m, int k, int units);
    void (*a_cols)(int f, uint32_t *dst, size_t lda, const void *src, size_t lds, int m, int k, int units);
    /* a panel of B of n <= TN_NR columns */
    void (*b_rows)(int f, uint32_t *panel, const void *src, size_t lds, int n, int k, int units);
    /* a panel of width columns (of B: TN_NR, of A: TN_AW), n of which exist */
    void (*cols)(int f, uint32_t *panel, int width, const void *src, size_t lds, int n, int k, int units);
    /* A block of panels of W^T, TN_NR numbers of K by TN_NR columns, as one of panels of W: of the former `have`
     * units of K exist, of the latter `want` are written. f: a form. */
    void (*turn)(int f, uint32_t *dst, const uint32_t *src, int have, int want);
    /* y (m rows, n columns) from a tile c [m][ldc], with mode and bias as ops.h N2 */
    void (*finish)(tn_mode mode, void *y, size_t ldy, const float *c, size_t ldc, const float *bias, int m, int n);
} tn_packer;
extern const tn_packer tn_pack_portable, tn_pack_avx2, tn_pack_avx512, tn_pack_avx512bf16;

/* c[m][ldc], TN_NR columns = A (m rows, `units` of K) times one panel; element (i, k) of A is
 * a[i*lda + k*step]. more: the chains start from c and not from zero. Meanwhile, for each unit, 64
 * bytes from `next` on are fetched into the caches: the beginning or the rest of the next panel. */
typedef struct tn_tile {
    int m, units;
    const uint32_t *a, *b, *next;
    size_t lda, step;
    float *c;
    size_t ldc;
    bool more;
} tn_tile;
/* Before a loop over a constant number of rows: the accumulators must become registers. */
#ifdef __clang__
#define TN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TN_UNROLL _Pragma("GCC unroll 16")
#endif
#define TN_TILE_AHEAD 16 /* of `next` for each unit, in units of 4 bytes */

typedef struct tn_cpu_mm {
    const char *name;    /* as in tn_backend.kernels */
    const char *profile; /* as in tn_backend.profile */
    tn_form form;
    int pad;             /* K is padded to a multiple of this many units */
    int mr;              /* rows of a full tile */
    int grain;           /* tiles begin at multiples of this row; A is readable (zero) up to it */
    bool a_panels;       /* can take A in panels (step = TN_AW); else step = 1 */
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

/* Of an element of y: ops.h N12, where operands are not elements. */
static inline size_t tn_y_size(tn_mode mode) { return mode == TN_ROUND || mode == TN_ADD_ROUND ? 2 : 4; }
/* Rounding means nothing where operands are elements. */
static inline tn_mode tn_mode_of(const tn_backend *b, tn_mode mode) {
    if (b->operand != b->elem) return mode;
    return mode == TN_ROUND ? TN_SET : mode == TN_ADD_ROUND ? TN_ADD_NONZERO : mode;
}
static inline const tn_kernel *tn_kernel_of(const tn_backend *b) { return ((const tn_cpu *)b->priv)->mm; }
static inline int tn_unit_k(tn_form f) { return f == TN_FORM_BF16 ? 2 : 1; } /* elements of k in a unit */
static inline int tn_units(const tn_kernel *g, int k) {
    int per = tn_unit_k(g->form), u = (k + per - 1) / per;
    return (u + g->pad - 1) / g->pad * g->pad;
}

/* n things dealt out to `to` takers, as evenly as whole things allow; taker i has those from first(i). */
typedef struct tn_deal { int to, each, more; } tn_deal;
static inline tn_deal tn_deal_out(int n, int to) { return to > 0 ? (tn_deal){to, n / to, n % to} : (tn_deal){0, 0, 0}; }
static inline int tn_deal_first(const tn_deal *d, int i) { return i * d->each + (i < d->more ? i : d->more); }

/* Rows in steps of the kernel's grain, dealt out to as many tiles as m rows need. */
static inline tn_deal tn_tiles(const tn_kernel *g, int m) {
    int steps = (m + g->grain - 1) / g->grain, per = g->mr / g->grain;
    return tn_deal_out(steps, (steps + per - 1) / per);
}
static inline int tn_tile_row(const tn_kernel *g, const tn_deal *tiles, int m, int tile) {
    int row = g->grain * tn_deal_first(tiles, tile);
    return row < m ? row : m;
}
static inline size_t tn_row_units(int units) { return (size_t)((units + 15) / 16 | 1) * 16; }
static inline int tn_panels(int n) { return (n + TN_NR - 1) / TN_NR; }

/* --- the product, for gemm.c, gemm_dw.c and head.c --- */
typedef struct tn_product {
    const tn_kernel *kern;
    int m, n, k;
    const void *a;            /* source of A, row stride lda; NULL if it is packed */
    bool half;                /*   bf16 and not floats */
    size_t lda;
    const uint32_t *packed_a; /* A as an operand: row-major with lda (units), or, if a_tile, one panel of */
    size_t a_tile;            /*   a_tile units for each tile */
    const uint32_t *b;        /* panels, from the first unit to use */
    size_t panel;             /* 4-byte units from one panel to the next */
    struct tn_turn *turn;     /* not NULL: the panels of each piece of K are turned when it begins; b, panel: theirs */
    tn_mode mode;
    void *y;
    size_t ldy;
    const float *bias;
    /* K in pieces, one product each: the chains are kept in carry [m][ld_carry >= panels * TN_NR], which may
     * be y where nothing is added to it, and end in y with
     * the last piece. Pieces but the last are multiples of 32. */
    float *carry;
    size_t ld_carry;
    bool more, last;
    /* Called on each finished tile of y, or NULL. */
    void (*each)(void *ctx, float *y, size_t ldy, int row, int rows, int col, int cols);
    void *ctx;
} tn_product;

/* How a product is cut: M into tiles, tiles into blocks of rows, N into panels. */
typedef struct tn_plan {
    const tn_product *p;
    int units, panels;
    tn_deal tiles, blocks; /* rows to tiles, tiles to blocks */
    bool direct;        /* A is used where it is */
    size_t lda;         /* of row-major A */
    uint32_t *a;        /* one block for each thread */
    size_t a_thread;    /* units */
    int *loaded;        /* block that is there, by thread; or NULL */
} tn_plan;
/* At least min_blocks blocks (if there are as many tiles), each of at most max_rows rows. */
void tn_plan_make(tn_plan *l, const tn_product *p, int min_blocks, int max_rows);
static inline int tn_plan_row(const tn_plan *l, int tile) { return tn_tile_row(l->p->kern, &l->tiles, l->p->m, tile); }
static inline int tn_plan_tile_of(const tn_plan *l, int block) { return tn_deal_first(&l->blocks, block); }
/* A of a block, as an operand: in place, or converted into the thread's scratch unless `loaded`. */
const uint32_t *tn_plan_block_a(const tn_plan *l, int block, int thread, bool loaded);
/* Tile `tile` of a block whose A is `a`, with panel `b`; `next` (or NULL) is the panel to come. Returns its
 * first row; c, ldc and more are the caller's. */
int tn_plan_tile(const tn_plan *l, int block, int tile, const uint32_t *a, const uint32_t *b, const uint32_t *next,
                 tn_tile *t);

/* Bytes of scratch a product needs at most (growing with k, whatever m and n), and the product. */
size_t tn_product_scratch(const tn_product *p, int threads);
void tn_product_run(const tn_product *p, tn_pool *pool, void *scratch);

/* A product of any K, which is taken in pieces where that is better: the first and largest; bytes of scratch it needs. */
int tn_product_piece(const tn_product *p);
size_t tn_product_whole_scratch(const tn_product *p, int threads);
void tn_product_run_whole(const tn_product *p, tn_pool *pool, void *scratch);

/* W, or rows row .. row + rows and columns col .. col + cols of it (both begin at multiples of TN_NR), as the
 * panels B of a product over its rows: tn_panels(cols) panels of tn_units(rows) units at `to`. */
typedef struct tn_turn {
    const tn_kernel *kern;
    const tn_weight *w;
    int row, rows, col, cols;
    uint32_t *to;
} tn_turn;
size_t tn_turn_bytes(const tn_turn *t);
void tn_turn_run(const tn_turn *t, tn_pool *pool);

/* Sums over tokens, C[m,n] = sum over k of a[k][m] b[k][n]: both operands are packed from rows of tokens
 * (a, b: either may be NULL: left as it is), strip by strip so that each row is read once, whole. */
typedef struct tn_outer {
    const tn_kernel *kern;
    int m, n, k;
    const void *a, *b;
    bool half_a, half_b; /* bf16 and not floats */
    size_t lda, ldb;
    uint32_t *pa, *pb;
} tn_outer;
size_t tn_outer_a_bytes(const tn_kernel *g, int m, int k);
size_t tn_outer_b_bytes(const tn_kernel *g, int n, int k);
void tn_outer_pack(const tn_outer *o, tn_pool *pool);
tn_product tn_outer_product(const tn_outer *o); /* y, ldy, mode are the caller's */

/* --- the operations of ops.h with rows of either kind: an adapter's u and v are elements --- */
typedef struct tn_source { const void *p; int ld; bool half; } tn_source;
static inline tn_source tn_operands(const tn_backend *b, const void *p, int ld) {
    return (tn_source){p, ld, b->operand == sizeof(uint16_t)};
}
static inline tn_source tn_elements(const void *p, int ld) { return (tn_source){p, ld, false}; }
static inline const void *tn_source_at(const void *p, bool half, size_t i) { return (const char *)p + i * (half ? 2 : 4); }
void tn_gemm_of(tn_backend *b, tn_mode mode, void *y, int ldy, tn_source x, const tn_weight *w, const void *bias, int T);
void tn_gemm_dx_of(tn_backend *b, tn_mode mode, void *dx, int lddx, tn_source dy, const tn_weight *w, int T);
void tn_gemm_dw_of(tn_backend *b, void *dw, tn_source dy, tn_source x, int T, int out, int in);

#endif
