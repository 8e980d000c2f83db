/* Attention kernels for one instruction set. Definition of the numbers: src/ops/ref/attn.h.
 *
 * A block holds, for each key/value head, K^T [d][32] and then V [32][dp], dp = d rounded up to 16.
 * Work is done on tiles of query vectors: the rows of a segment times the heads of one group, all of
 * which see the same chain. A key's range of visible rows and a row's range of visible keys are
 * contiguous; sums run over exactly these, so that what is masked cannot touch a bit.            */
#ifndef TN_OPS_CPU_ATTN_H
#define TN_OPS_CPU_ATTN_H
#include "ops/ops.h"

#define TN_ATTN_DIM 512  /* largest head_dim */
#define TN_ATTN_TILE 48  /* query vectors of a tile */

typedef struct tn_attn_job {
    const tn_attn *a;
    const float *qkv;
    const void *pool;
    int ld, ldo, lddo, lddq;
    float *out, *lse;                                /* forward; lse may be NULL */
    const float *dout, *out_in, *lse_in, *D;         /* backward; D [n_tok, heads] */
    float *dqkv;
    /* bf16 only (attn_bf16.h): operand rows, in place of qkv, out and out_in */
    const uint16_t *qkv_half, *out_half_in;
    uint16_t *out_half;
    const struct tn_cpu_mm *mm;
    const struct tn_attn_bf16_rows *rows;
    char *room;                                      /* backward: scratch of one thread */
} tn_attn_job;

typedef struct tn_attn_kernels {
    int tile;  /* query vectors of a tile, at most */
    int strip; /* blocks that grad_keys takes together */
    int step;  /* grad_tree takes heads of a multiple of this */
    /* n rows of k and v (stride ld) into slots [slot, slot + n) of a block's head */
    void (*write_keys)(float *kt, int slot, const float *k, const float *v, size_t ld, int n, int d);
    /* query vectors [first, first + n) of segment s and key/value head g; vector v is row
     * v / group, head g*group + v % group; n <= tile */
    void (*forward)(const tn_attn_job *j, int s, int g, int first, int n);
    void (*row_D)(const tn_attn_job *j, size_t row, float *D); /* of all heads of a row */
    void (*grad_query)(const tn_attn_job *j, int s, int g, int first, int n);
    /* dk and dv of own blocks [block, block + strip) of segment s */
    void (*grad_keys)(const tn_attn_job *j, int s, int g, int block);
    /* both for the whole tree below root segment s: the same numbers with 5 products instead of 7,
     * but only trees and groups to share out */
    void (*grad_tree)(const tn_attn_job *j, int s, int g);
} tn_attn_kernels;
extern const tn_attn_kernels tn_attn_scalar, tn_attn_avx2, tn_attn_avx512;

static inline size_t tn_attn_width(int d) { return (size_t)(d + 15) / 16 * 16; }
/* Floats of one key/value head of a block. */
static inline size_t tn_attn_head_size(int d) { return TN_KV_BLOCK * ((size_t)d + tn_attn_width(d)); }
/* K^T of head g of a block; V follows after d * 32. */
static inline const float *tn_attn_block(const tn_attn_job *j, int32_t block, int g) {
    return (const float *)j->pool + ((size_t)block * (size_t)j->a->kv_heads + (size_t)g) * tn_attn_head_size(j->a->head_dim);
}

/* ---- tiles of query vectors ---- */
static inline int tn_attn_clamp(int x, int lo, int hi) { return x < lo ? lo : x > hi ? hi : x; }

typedef struct tn_attn_place { size_t row, head; int pos, left; } tn_attn_place; /* one query vector; heads left in its row */
static inline tn_attn_place tn_attn_place_of(const tn_attn *a, const tn_aseg *seg, int g, int v) {
    int group = a->heads / a->kv_heads, r = v / group, h = v % group;
    return (tn_attn_place){(size_t)(seg->start + r), (size_t)(g * group + h), seg->pos + r, group - h};
}
static inline void tn_attn_next(const tn_attn *a, tn_attn_place *x) {
    x->head++;
    if (--x->left > 0) return;
    x->left = a->heads / a->kv_heads;
    x->head -= (size_t)x->left;
    x->row++, x->pos++;
}

/* Visible keys [lo, hi) of a block for each vector; false when there is none in the tile. */
static inline bool tn_attn_keys(const tn_attn *a, const tn_kblock *k, int n, const int *pos, int *lo, int *hi) {
    if (k->pos > pos[n - 1] || (a->window && k->pos + k->n <= pos[0] - a->window + 1)) return false;
    for (int v = 0; v < n; v++) {
        hi[v] = tn_attn_clamp(pos[v] - k->pos + 1, 0, k->n);
        lo[v] = a->window ? tn_attn_clamp(pos[v] - a->window + 1 - k->pos, 0, k->n) : 0;
    }
    return true;
}
#endif
