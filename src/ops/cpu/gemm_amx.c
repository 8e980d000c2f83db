/* AMX kernel, order `dot32`: TDPBF16PS adds, to 16 x 16 accumulators, the products over 32 k as two
 * chains of FMAs from zero (even k, odd k), added to each other and then to the accumulator.
 *
 * A tile of the product is 32 rows by one panel: 2 x 2 accumulator tiles, so that each of the two A
 * and two B tiles loaded per 32 k is used twice. A tile of B is 16 units of K (rows) by 16 columns:
 * half a panel's width, hence the stride of TN_NR units. Up to 16 rows use the upper half alone.
 * Rows beyond m up to the next 16 are zeros in A (tn_kernel.grain) and are not stored.
 * gemm_amx_model.c compiles this file against a model of the tile instructions.
 *
 * GCC 12's header declares LDTILECFG as reading 8 of its 64 bytes and TILELOADD as reading none:
 * the configuration is at file scope and a compiler barrier precedes the loads.               */
#include "ops/cpu/gemm.h"
#include <string.h>
#ifdef TN_SOFT_AMX
#include "ops/cpu/softmodel.h"
#define NAME "amx-model"
#define FETCH(p) (void)(p)
#define KERNEL tn_kern_dot32_amx_model
#define PACKER tn_pack_portable
#define HEAD tn_head_portable
#else
#include <immintrin.h>
#define NAME "amx"
#define KERNEL tn_kern_dot32_amx
#define PACKER tn_pack_avx512bf16
#define HEAD tn_head_avx512
#define FETCH(p) _mm_prefetch((const char *)(p), _MM_HINT_T1)
#define TILE_ZERO(t) _tile_zero(t)
#define TILE_LOAD(t, p, stride) _tile_loadd(t, p, stride)
#define TILE_STORE(t, p, stride) _tile_stored(t, p, stride)
#define TILE_DOT(c, a, b) _tile_dpbf16ps(c, a, b)

/* Palette 1: eight tiles of 16 rows of 64 bytes. */
static const struct {
    uint8_t palette, start, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} config __attribute__((aligned(64))) = {
    1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

static void begin(void) {
    __asm__ volatile("" ::"r"(&config) : "memory");
    _tile_loadconfig(&config);
}
static void end(void) { _tile_release(); }
#endif

#define BARRIER() __asm__ volatile("" ::: "memory")
#define B_STRIDE (TN_NR * 4)      /* bytes from one unit of a panel to the next */

/* The share of 16 units, one step of k. */
static inline void fetch(const uint32_t *next) {
    for (int i = 0; i < 16; i++) FETCH(next + i * TN_TILE_AHEAD);
}

/* Tiles 0..3: accumulators (upper left, upper right, lower left, lower right); 4, 5: A; 6, 7: B. */
static void upper(const tn_tile *t) {
    const uint32_t *a = t->a, *b = t->b;
    const size_t stride = t->lda * 4;
    for (int k = 0; k < t->units; k += 16, a += 16, b += 16 * TN_NR) {
        fetch(t->next + (size_t)k * TN_TILE_AHEAD);
        TILE_LOAD(4, a, stride);
        TILE_LOAD(6, b, B_STRIDE);
        TILE_LOAD(7, b + 16, B_STRIDE);
        TILE_DOT(0, 4, 6);
        TILE_DOT(1, 4, 7);
    }
}

static void both(const tn_tile *t) {
    const uint32_t *a = t->a, *b = t->b, *low = a + 16 * t->lda;
    const size_t stride = t->lda * 4;
    for (int k = 0; k < t->units; k += 16, a += 16, low += 16, b += 16 * TN_NR) {
        fetch(t->next + (size_t)k * TN_TILE_AHEAD);
        TILE_LOAD(4, a, stride);
        TILE_LOAD(6, b, B_STRIDE);
        TILE_DOT(0, 4, 6);
        TILE_LOAD(7, b + 16, B_STRIDE);
        TILE_DOT(1, 4, 7);
        TILE_LOAD(5, low, stride);
        TILE_DOT(2, 5, 6);
        TILE_DOT(3, 5, 7);
    }
}

static void start(const float *c, size_t ld, bool more, bool low) {
    size_t stride = ld * 4;
    if (!more) {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
        return;
    }
    TILE_LOAD(0, c, stride);
    TILE_LOAD(1, c + 16, stride);
    if (!low) return;
    TILE_LOAD(2, c + 16 * ld, stride);
    TILE_LOAD(3, c + 16 * ld + 16, stride);
}

static void store(float *c, size_t ld, bool low) {
    size_t stride = ld * 4;
    TILE_STORE(0, c, stride);
    TILE_STORE(1, c + 16, stride);
    if (!low) return;
    TILE_STORE(2, c + 16 * ld, stride);
    TILE_STORE(3, c + 16 * ld + 16, stride);
}

/* A last tile that does not fill its rows goes through a buffer. */
static void tile(const tn_tile *t) {
    _Alignas(64) float part[32 * TN_NR];
    bool whole = t->m % 16 == 0, low = t->m > 16;
    float *c = whole ? t->c : part;
    size_t ld = whole ? t->ldc : TN_NR;
    for (int i = 0; t->more && !whole && i < t->m; i++) memcpy(part + i * TN_NR, t->c + (size_t)i * t->ldc, TN_NR * 4);
    BARRIER();
    start(c, ld, t->more, low);
    if (low) both(t);
    else upper(t);
    store(c, ld, low);
    BARRIER();
    for (int i = 0; !whole && i < t->m; i++) memcpy(t->c + (size_t)i * t->ldc, part + i * TN_NR, TN_NR * 4);
}

const tn_kernel KERNEL = {
    .name = NAME, .profile = "bf16-dot32", .form = TN_FORM_BF16, .pad = 16, .mr = 32, .grain = 16,
    .tile = tile, .pack = &PACKER, .head = &HEAD,
#ifndef TN_SOFT_AMX
    .begin = begin, .end = end,
#endif
};
