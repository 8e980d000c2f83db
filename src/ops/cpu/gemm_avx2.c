/* AVX2 kernel: f32, and the order `pair` through f32 FMAs.
 *
 * A tile is 6 rows by one panel, done as two halves of 16 columns: 12 accumulators, two registers for
 * the panel's half row, one for the broadcast element of A. Per k and half: 12 FMAs, two loads of B,
 * six broadcasts. Each accumulator is one ascending chain over all of K.
 * `pair` as in gemm_avx512.c.                                                                 */
#include "ops/cpu/gemm.h"
#include <immintrin.h>

#define MR 6

static inline __attribute__((always_inline)) void half_rows(const int m, const tn_tile *t, int half) {
    const float *a = (const float *)t->a, *b = (const float *)t->b + half;
    const uint32_t *next = half ? t->b : t->next; /* one half fetches */
    const size_t lda = t->lda, ldc = t->ldc;
    float *c = t->c + half;
    __m256 acc[MR][2];
    TN_UNROLL
    for (int i = 0; i < m; i++) {
        acc[i][0] = t->more ? _mm256_loadu_ps(c + i * ldc) : _mm256_setzero_ps();
        acc[i][1] = t->more ? _mm256_loadu_ps(c + i * ldc + 8) : _mm256_setzero_ps();
    }
    for (int k = 0; k < t->units; k++, b += TN_NR, next += TN_TILE_AHEAD) {
        _mm_prefetch((const char *)next, _MM_HINT_T1);
        __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + 8);
        TN_UNROLL
        for (int i = 0; i < m; i++) {
            __m256 x = _mm256_broadcast_ss(a + i * lda + k);
            acc[i][0] = _mm256_fmadd_ps(x, b0, acc[i][0]);
            acc[i][1] = _mm256_fmadd_ps(x, b1, acc[i][1]);
        }
    }
    TN_UNROLL
    for (int i = 0; i < m; i++) {
        _mm256_storeu_ps(c + i * ldc, acc[i][0]);
        _mm256_storeu_ps(c + i * ldc + 8, acc[i][1]);
    }
}

static void tile(const tn_tile *t) {
    for (int half = 0; half < TN_NR; half += 16) switch (t->m) {
#define ROWS(n) case n: half_rows(n, t, half); break;
        ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6)
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

const tn_kernel tn_kern_f32_avx2 = {
    .name = "avx2", .profile = "f32", .form = TN_FORM_F32, .pad = 1, .mr = MR, .grain = 1,
    .tile = tile, .pack = &tn_pack_avx2, .head = &tn_head_avx2};
const tn_kernel tn_kern_pair_avx2 = {
    .name = "avx2", .profile = "bf16-pair", .form = TN_FORM_SWAP, .pad = 2, .mr = MR, .grain = 1,
    .tile = tile_flush, .pack = &tn_pack_avx2, .head = &tn_head_avx2};
