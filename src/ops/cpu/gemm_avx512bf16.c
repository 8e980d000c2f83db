/* VDPBF16PS kernel, order `pair`: each instruction adds, in 16 columns, the products of one pair of k,
 * the odd one first: acc = fma(a0, b0, fma(a1, b1, acc)), denormals flushed whatever the control
 * register says. Tile and registers as in gemm_avx512.c, with a pair in place of an element.
 * gemm_avx512bf16_model.c compiles this file against a model of the instruction.              */
#include "ops/cpu/gemm.h"
#ifdef TN_SOFT_BF16
#include "ops/cpu/softmodel.h"
#define NAME "avx512bf16-model"
#define FETCH(p) (void)(p)
#define KERNEL tn_kern_pair_avx512bf16_model
#define PACKER tn_pack_portable
#define HEAD tn_head_portable
#else
#include <immintrin.h>
#define NAME "avx512bf16"
#define KERNEL tn_kern_pair_avx512bf16
#define PACKER tn_pack_avx512bf16
#define HEAD tn_head_avx512
typedef __m512 acc16;
typedef __m512i pairs16;
#define ZERO() _mm512_setzero_ps()
#define LOAD(p) _mm512_loadu_si512(p)
#define SPREAD(u) _mm512_set1_epi32((int)(u))
#define DOT(c, x, y) _mm512_dpbf16_ps((c), (__m512bh)(x), (__m512bh)(y))
#define LOAD_ACC(p) _mm512_loadu_ps(p)
#define STORE(p, v) _mm512_storeu_ps((p), (v))
#define FETCH(p) _mm_prefetch((const char *)(p), _MM_HINT_T1)
#endif

#define MR 14

static inline __attribute__((always_inline)) void tile_rows(const int m, const tn_tile *t) {
    const uint32_t *a = t->a, *b = t->b;
    const uint32_t *next = t->next;
    const size_t lda = t->lda, step = t->step, ldc = t->ldc;
    float *c = t->c;
    acc16 acc[MR][2];
    TN_UNROLL
    for (int i = 0; i < m; i++) {
        acc[i][0] = acc[i][1] = ZERO();
        __builtin_prefetch(c + i * ldc, 1);
        __builtin_prefetch(c + i * ldc + 16, 1);
    }
    if (t->more) {
        TN_UNROLL
        for (int i = 0; i < m; i++) {
            acc[i][0] = LOAD_ACC(c + i * ldc);
            acc[i][1] = LOAD_ACC(c + i * ldc + 16);
        }
    }
    for (int k = 0; k < t->units; k++, a += step, b += TN_NR, next += TN_TILE_AHEAD) {
        FETCH(next);
        pairs16 b0 = LOAD(b), b1 = LOAD(b + 16);
        TN_UNROLL
        for (int i = 0; i < m; i++) {
            pairs16 x = SPREAD(a[i * lda]);
            acc[i][0] = DOT(acc[i][0], x, b0);
            acc[i][1] = DOT(acc[i][1], x, b1);
        }
    }
    TN_UNROLL
    for (int i = 0; i < m; i++) {
        STORE(c + i * ldc, acc[i][0]);
        STORE(c + i * ldc + 16, acc[i][1]);
    }
}

static void tile(const tn_tile *t) {
    switch (t->m) {
#define ROWS(n) case n: tile_rows(n, t); break;
    ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7)
    ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12) ROWS(13) ROWS(14)
#undef ROWS
    }
}

const tn_kernel KERNEL = {
    .name = NAME, .profile = "bf16-pair", .form = TN_FORM_BF16, .pad = 1, .mr = MR, .grain = 1, .a_panels = true,
    .tile = tile, .pack = &PACKER, .head = &HEAD};
