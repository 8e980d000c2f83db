/* AVX-512 kernel: f32, and the order `pair` for machines without VDPBF16PS.
 *
 * A tile is 14 rows by one panel of 32 columns: 28 accumulators in registers, two registers for the
 * panel's row, and each element of A broadcast from memory by the FMA itself. Per k: 28 FMAs, two
 * loads of B, 14 of A; so both FMA pipes stay full while A and B come from L1 and L2. Each
 * accumulator is one ascending chain over all of K.
 * For `pair` the operands are bf16 values held as floats, odd k first (TN_FORM_SWAP), and denormals
 * are flushed by the control register while the tile runs.                                   */
#include "ops/cpu/gemm.h"
#include <immintrin.h>

#define MR 14
#define FETCH(p) _mm_prefetch((const char *)(p), _MM_HINT_T1)

static inline __attribute__((always_inline)) void tile_rows(const int m, const tn_tile *t) {
    const float *a = (const float *)t->a, *b = (const float *)t->b;
    const uint32_t *next = t->next;
    const size_t lda = t->lda, step = t->step, ldc = t->ldc;
    float *c = t->c;
    __m512 acc[MR][2];
    TN_UNROLL
    for (int i = 0; i < m; i++) {
        acc[i][0] = acc[i][1] = _mm512_setzero_ps();
        __builtin_prefetch(c + i * ldc, 1);
        __builtin_prefetch(c + i * ldc + 16, 1);
    }
    if (t->more) {
        TN_UNROLL
        for (int i = 0; i < m; i++) {
            acc[i][0] = _mm512_loadu_ps(c + i * ldc);
            acc[i][1] = _mm512_loadu_ps(c + i * ldc + 16);
        }
    }
    for (int k = 0; k < t->units; k++, a += step, b += TN_NR, next += TN_TILE_AHEAD) {
        FETCH(next);
        __m512 b0 = _mm512_loadu_ps(b), b1 = _mm512_loadu_ps(b + 16);
        TN_UNROLL
        for (int i = 0; i < m; i++) {
            __m512 x = _mm512_set1_ps(a[i * lda]);
            acc[i][0] = _mm512_fmadd_ps(x, b0, acc[i][0]);
            acc[i][1] = _mm512_fmadd_ps(x, b1, acc[i][1]);
        }
    }
    TN_UNROLL
    for (int i = 0; i < m; i++) {
        _mm512_storeu_ps(c + i * ldc, acc[i][0]);
        _mm512_storeu_ps(c + i * ldc + 16, acc[i][1]);
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

#define FLUSH 0x8040u /* flush results to zero, take denormals as zero */

static void tile_flush(const tn_tile *t) {
    unsigned old = _mm_getcsr();
    _mm_setcsr(old | FLUSH);
    __asm__ volatile("" ::: "memory");
    tile(t);
    __asm__ volatile("" ::: "memory");
    _mm_setcsr(old);
}

const tn_kernel tn_kern_f32_avx512 = {
    .name = "avx512", .profile = "f32", .form = TN_FORM_F32, .pad = 1, .mr = MR, .grain = 1, .a_panels = true,
    .tile = tile, .pack = &tn_pack_avx512, .head = &tn_head_avx512};
const tn_kernel tn_kern_pair_avx512 = {
    .name = "avx512", .profile = "bf16-pair", .form = TN_FORM_SWAP, .pad = 2, .mr = MR, .grain = 1, .a_panels = true,
    .tile = tile_flush, .pack = &tn_pack_avx512, .head = &tn_head_avx512};
