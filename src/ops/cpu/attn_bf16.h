/* Attention of the bf16 profiles: a driver over the kernels of the matrix products (gemm.h), the same for every
 * instruction set. Definition of the numbers: src/ops/ref/attn_bf16.h.
 *
 * A block holds, for each key/value head, in the kernel's form and units of 4 bytes,
 *   keys     one panel [units(d)][32 keys]: the B of scores = Q keys
 *   values   panels [units(32)][32 columns of d], as many as d needs: the B of out = P values
 * with zeros where there is no key or no column. */
#ifndef TN_OPS_CPU_ATTN_BF16_H
#define TN_OPS_CPU_ATTN_BF16_H
#include "ops/cpu/attn.h"
#include "ops/cpu/gemm.h"

#define TN_ATTN_ROWS 64  /* query vectors of a tile: a multiple of 32 */
#define TN_ATTN_STRIP 4  /* blocks of keys that meet a tile of the backward pass, once it is packed */

/* What lies between two products, for one instruction set; s, p, ds: [n][32]. Row v sees keys [lo[v], hi[v]) of the
 * block; where the others are, zeros are written. */
typedef struct tn_attn_bf16_rows {
    /* scores become probabilities; max, sum and acc [n][width] follow */
    void (*softmax)(int n, float scale, const int *lo, const int *hi, float *s, float *max, float *sum, float *acc,
                    size_t width);
    /* scores and dO V^T become p and ds */
    void (*grad)(int n, float scale, const int *lo, const int *hi, const float *lse, const float *D, float *s, float *ds);
    void (*divide)(uint16_t *y, const float *x, float by, int n); /* y = x / by + 0, rounded */
    void (*times)(float *y, const float *x, float by, int n);   /* y = x by + 0 */
    void (*turn)(float *y, size_t ldy, const float *x, int d);  /* y [32][d] = x^T, d a multiple of 16 */
    /* floats [k][32] from the units of a panel, row stride ld */
    void (*expand)(tn_form f, float *y, size_t ld, const uint32_t *panel, int units);
    /* n columns of key `slot` of a panel of values */
    void (*value)(tn_form f, uint32_t *panel, int slot, const uint16_t *v, int n);
    void (*row_D)(const tn_attn_job *j, size_t row, float *D); /* sums of dO O, for all heads of a row */
} tn_attn_bf16_rows;
extern const tn_attn_bf16_rows tn_attn_bf16_scalar, tn_attn_bf16_avx2, tn_attn_bf16_avx512, tn_attn_bf16_avx512bf16;
extern const tn_attn_kernels tn_attn_bf16; /* but write_keys and row_D */

/* A packer's form for operand rows. */
static inline int tn_attn_bf16_half(const tn_kernel *m) { return (int)m->form | TN_HALF; }
/* Units of a key/value head of a block: its keys, and all. */
static inline size_t tn_attn_bf16_keys(const tn_kernel *m, int d) { return (size_t)tn_units(m, d) * TN_NR; }
static inline size_t tn_attn_bf16_panel(const tn_kernel *m) { return (size_t)tn_units(m, TN_KV_BLOCK) * TN_NR; }
static inline size_t tn_attn_bf16_size(const tn_kernel *m, int d) {
    return tn_attn_bf16_keys(m, d) + (size_t)tn_panels(d) * tn_attn_bf16_panel(m);
}
/* Keys of head g of a block. */
static inline const uint32_t *tn_attn_bf16_block(const tn_attn_job *j, int32_t block, int g) {
    size_t head = (size_t)block * (size_t)j->a->kv_heads + (size_t)g;
    return (const uint32_t *)j->pool + head * tn_attn_bf16_size(j->mm, j->a->head_dim);
}

/* Rows [t, t + n) of keys and values go to one block of `pool`. */
void tn_attn_bf16_write(const tn_attn_job *j, void *pool, int t, int n);
/* The lines that row t goes to, on their way into the caches. */
void tn_attn_bf16_fetch(const tn_attn_job *j, int t);
/* n query vectors as an operand: row-major, ld units, from x (operand rows, or floats; row stride ldx, heads side by
 * side). */
void tn_attn_bf16_load(const tn_attn_job *j, uint32_t *to, size_t ld, const void *x, bool half, size_t ldx,
                       const tn_aseg *seg, int g, int first, int n);
/* c [m][32] = or += A (row-major) times a panel; `next` (or NULL): the panel of as many units to be fetched meanwhile. */
void tn_attn_bf16_product(const tn_kernel *mm, int m, int units, const uint32_t *a, size_t lda, const uint32_t *b,
                          float *c, size_t ldc, bool more, const uint32_t *next);

/* attn_bf16_bwd.c: the backward kernels, and the scratch that a thread needs for them. */
size_t tn_attn_bf16_room(const tn_kernel *mm, int d);
void tn_attn_bf16_grad_query(const tn_attn_job *j, int s, int g, int first, int n);
void tn_attn_bf16_grad_keys(const tn_attn_job *j, int s, int g, int block);
void tn_attn_bf16_grad_tree(const tn_attn_job *j, int s, int g);
#endif
