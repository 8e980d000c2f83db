/* Packing of operands (forms and layouts: gemm.h), written once over primitives that the
 * including file gives for its instruction set:
 *   TRANSPOSE(dst, ldd, src, lds)   16 x 16 units: dst[j*ldd + i] = src[i*lds + j]
 *   BF16_ALONG_K, BF16_ALONG_M      optional: 16 pairs from 32 floats of a row, or from 16 of two rows
 *   BF16_WEAVE                      optional: 16 pairs from 16 bf16 of two rows
 *   BF16_ROW                        optional: n bf16 from floats
 *   and its name suffix PACK(name).
 * Everything is done in blocks of 16 units; a short edge goes through a zeroed buffer.        */
#include "ops/bf16.h"
#include "ops/cpu/gemm.h"
#include <string.h>

#ifndef BF16_ALONG_K
#define BF16_ALONG_K(dst, src) \
    for (int i = 0; i < 16; i++) (dst)[i] = tn_bf16_of((src)[2 * i]) | tn_bf16_of((src)[2 * i + 1]) << 16
#define BF16_ALONG_M(dst, p0, p1) \
    for (int i = 0; i < 16; i++) (dst)[i] = tn_bf16_of((p0)[i]) | tn_bf16_of((p1)[i]) << 16
#endif

#ifndef BF16_WEAVE
#define BF16_WEAVE(dst, p0, p1) \
    for (int i = 0; i < 16; i++) (dst)[i] = (uint32_t)(p0)[i] | (uint32_t)(p1)[i] << 16
#endif
#ifndef BF16_ROW
#define BF16_ROW(dst, src, n) \
    for (int i = 0; i < (n); i++) (dst)[i] = tn_bf16_bits((src)[i])
#endif

/* f: a form, with TN_HALF where the source is bf16. */
static inline int unit_k(int f) { return (f & ~TN_HALF) == TN_FORM_BF16 ? 2 : 1; }
static inline size_t source_size(int f) { return f & TN_HALF ? 2 : 4; }
static inline const void *source_at(int f, const void *src, size_t i) { return (const char *)src + i * source_size(f); }

/* 16 units along k from 16 (or 32) numbers. */
static inline void along_k(int f, uint32_t *restrict dst, const void *restrict from) {
    const uint32_t *src = from;
    const uint16_t *half = from;
    if (f == TN_FORM_F32 || f == (TN_FORM_BF16 | TN_HALF)) memcpy(dst, src, 64);
    else if (f == TN_FORM_SWAP)
        for (int i = 0; i < 16; i++) dst[i] = tn_bf16_of(src[i ^ 1]) << 16;
    else if (f == (TN_FORM_SWAP | TN_HALF))
        for (int i = 0; i < 16; i++) dst[i] = (uint32_t)half[i ^ 1] << 16;
    else BF16_ALONG_K(dst, src);
}

/* 16 units along k of one row, of which k numbers from k0 on exist. */
static inline void row_units(int f, uint32_t *dst, const void *row, int k0, int k) {
    int span = 16 * unit_k(f), left = k - k0;
    const void *from = source_at(f, row, (size_t)k0);
    if (left >= span) {
        along_k(f, dst, from);
        return;
    }
    _Alignas(64) uint32_t part[32] = {0};
    int at = 0;
    if (left >= 16) { /* a constant size: no call */
        memcpy(part, from, 16 * source_size(f));
        at = 16;
    }
    if (left > at)
        memcpy((char *)part + (size_t)at * source_size(f), source_at(f, from, (size_t)at), (size_t)(left - at) * source_size(f));
    along_k(f, dst, part);
}

/* The first k of unit u. */
static inline int unit_first(int f, int u) {
    return (f & ~TN_HALF) == TN_FORM_BF16 ? 2 * u : (f & ~TN_HALF) == TN_FORM_SWAP ? u ^ 1 : u;
}

/* 16 units across the rows from 16 numbers of one k, or of two. */
static inline void along_m(int f, uint32_t *restrict dst, const void *restrict from0, const void *restrict from1) {
    const uint32_t *p0 = from0, *p1 = from1;
    const uint16_t *half0 = from0, *half1 = from1;
    if (f == TN_FORM_F32) memcpy(dst, p0, 64);
    else if (f == TN_FORM_SWAP)
        for (int i = 0; i < 16; i++) dst[i] = tn_bf16_of(p0[i]) << 16;
    else if (f == (TN_FORM_SWAP | TN_HALF))
        for (int i = 0; i < 16; i++) dst[i] = (uint32_t)half0[i] << 16;
    else if (f == (TN_FORM_BF16 | TN_HALF)) BF16_WEAVE(dst, half0, half1);
    else BF16_ALONG_M(dst, p0, p1);
}

/* The same of unit u from src[k*lds + i], of which i < n <= 16 and the first k exist. */
static void along_m_edge(int f, uint32_t *dst, const void *src, size_t lds, int n, int u, int k) {
    uint32_t part[2][16] = {{0}};
    int k0 = unit_first(f, u);
    for (int j = 0; j < unit_k(f); j++)
        if (k0 + j < k) memcpy(part[j], source_at(f, src, (size_t)(k0 + j) * lds), (size_t)n * source_size(f));
    along_m(f, dst, part[0], part[1]);
}

/* The loops below are compiled once for each form: `f` is a constant where they are used. */
#define FOR_FORM(f, fn, ...)                                                                       \
    do {                                                                                           \
        if (f == TN_FORM_F32) fn(TN_FORM_F32, __VA_ARGS__);                                        \
        else if (f == TN_FORM_SWAP) fn(TN_FORM_SWAP, __VA_ARGS__);                                 \
        else if (f == (TN_FORM_SWAP | TN_HALF)) fn(TN_FORM_SWAP | TN_HALF, __VA_ARGS__);           \
        else if (f == (TN_FORM_BF16 | TN_HALF)) fn(TN_FORM_BF16 | TN_HALF, __VA_ARGS__);           \
        else fn(TN_FORM_BF16, __VA_ARGS__);                                                        \
    } while (0)
#define INLINE static inline __attribute__((always_inline))

INLINE void rows_form(const int f, uint32_t *dst, size_t lda, const void *src, size_t lds, int m, int k, int units) {
    int span = 16 * unit_k(f), whole = k / span * 16;
    for (int i = 0; i < m; i++, dst += lda, src = source_at(f, src, lds)) {
        for (int u = 0; u < whole; u += 16) along_k(f, dst + u, source_at(f, src, (size_t)(u * unit_k(f))));
        for (int u = whole; u < units; u += 16) row_units(f, dst + u, src, u * unit_k(f), k);
    }
}

static void PACK(a_rows)(int f, uint32_t *dst, size_t lda, const void *src, size_t lds, int m, int k, int units) {
    FOR_FORM(f, rows_form, dst, lda, src, lds, m, k, units);
}

/* 16 units of k from unit u for 16 rows of A from row i of `src`: transposed into dst. */
static inline void block_cols(int f, uint32_t *dst, size_t lda, const void *src, size_t lds, int u) {
    if (f == TN_FORM_F32) {
        TRANSPOSE(dst, lda, (const uint32_t *)src + (size_t)u * lds, lds);
        return;
    }
    _Alignas(64) uint32_t t[256];
    for (int v = 0; v < 16; v++) {
        const void *p = source_at(f, src, (size_t)unit_first(f, u + v) * lds);
        along_m(f, t + 16 * v, p, unit_k(f) == 2 ? source_at(f, p, lds) : p);
    }
    TRANSPOSE(dst, lda, t, 16);
}

static void block_cols_edge(int f, uint32_t *dst, size_t lda, const void *src, size_t lds, int n, int u, int k) {
    _Alignas(64) uint32_t t[256], o[256];
    for (int v = 0; v < 16; v++) along_m_edge(f, t + 16 * v, src, lds, n, u + v, k);
    TRANSPOSE(o, 16, t, 16);
    for (int r = 0; r < n; r++) memcpy(dst + (size_t)r * lda, o + 16 * r, 64);
}

static void PACK(a_cols)(int f, uint32_t *dst, size_t lda, const void *src, size_t lds, int m, int k, int units) {
    int step = 16 * unit_k(f), line = 64 / (int)source_size(f);
    for (int u = 0; u < units; u += 16) {
        int k0 = u * unit_k(f);
        for (int j = k0 + step; j < k0 + 2 * step && j < k; j++) /* rows of the next round: far apart in memory */
            for (int i = 0; i < m; i += line) __builtin_prefetch(source_at(f, src, (size_t)j * lds + (size_t)i));
        for (int i = 0; i < m; i += 16) {
            uint32_t *to = dst + (size_t)i * lda + u;
            const void *from = source_at(f, src, (size_t)i);
            if (m - i >= 16 && k - k0 >= step) block_cols(f, to, lda, from, lds, u);
            else block_cols_edge(f, to, lda, from, lds, m - i < 16 ? m - i : 16, u, k);
        }
    }
}

static void PACK(b_rows)(int f, uint32_t *panel, const void *src, size_t lds, int n, int k, int units) {
    _Alignas(64) uint32_t t[256], o[256];
    for (int u = 0; u < units; u += 16)
        for (int i = 0; i < TN_NR; i += 16) {
            for (int r = 0; r < 16; r++) {
                if (i + r < n) row_units(f, t + 16 * r, source_at(f, src, (size_t)(i + r) * lds), u * unit_k(f), k);
                else memset(t + 16 * r, 0, 64);
            }
            uint32_t *to = panel + (size_t)u * TN_NR + i;
            int left = units - u;
            if (left >= 16) TRANSPOSE(to, TN_NR, t, 16);
            else {
                TRANSPOSE(o, 16, t, 16);
                for (int v = 0; v < left; v++) memcpy(to + (size_t)v * TN_NR, o + 16 * v, 64);
            }
        }
}

INLINE void cols_form(const int f, const int width, uint32_t *panel, const void *src, size_t lds, int n, int k, int units) {
    int whole = n >= width ? k / 2 * 2 / unit_k(f) : 0; /* units without an edge */
    for (int u = 0; u < whole; u++) {
        const void *p = source_at(f, src, (size_t)unit_first(f, u) * lds), *q = source_at(f, p, lds);
        for (int i = 0; i < width; i += 16)
            along_m(f, panel + (size_t)u * (size_t)width + i, source_at(f, p, (size_t)i), source_at(f, q, (size_t)i));
    }
    for (int u = whole; u < units; u++)
        for (int i = 0; i < width; i += 16) {
            int some = n - i < 0 ? 0 : n - i < 16 ? n - i : 16;
            along_m_edge(f, panel + (size_t)u * (size_t)width + i, source_at(f, src, (size_t)i), lds, some, u, k);
        }
}

static void PACK(cols)(int f, uint32_t *panel, int width, const void *src, size_t lds, int n, int k, int units) {
    if (width == TN_AW) FOR_FORM(f, cols_form, TN_AW, panel, src, lds, n, k, units);
    else FOR_FORM(f, cols_form, TN_NR, panel, src, lds, n, k, units);
}

/* t[j][i] = src[i][j] for a block of `units` (16 or 32) by TN_NR units; rows of t have `units`. */
static inline void turn_units(uint32_t *t, const uint32_t *src, int units) {
    for (int i = 0; i < units; i += 16)
        for (int j = 0; j < TN_NR; j += 16)
            TRANSPOSE(t + (size_t)j * (size_t)units + i, (size_t)units, src + (size_t)i * TN_NR + j, TN_NR);
}

static void PACK(turn)(int f, uint32_t *dst, const uint32_t *src, int have, int want) {
    _Alignas(64) uint32_t whole[TN_NR * TN_NR], t[TN_NR * TN_NR];
    int units = TN_NR / unit_k(f);
    if (have < units) {
        memcpy(whole, src, (size_t)have * TN_NR * 4);
        memset(whole + (size_t)have * TN_NR, 0, (size_t)(units - have) * TN_NR * 4);
        src = whole;
    }
    if (f == TN_FORM_F32 && want == units) {
        turn_units(dst, src, units);
        return;
    }
    turn_units(t, src, units);
    for (int d = 0; d < want; d++, dst += TN_NR) {
        const uint32_t *row = t + (size_t)TN_NR * (size_t)(f == TN_FORM_SWAP ? d ^ 1 : d);
        const uint16_t *even = (const uint16_t *)(const void *)row, *odd = even + TN_NR; /* of a form of pairs */
        if (f == TN_FORM_F32) memcpy(dst, row, TN_NR * 4);
        else if (f == TN_FORM_SWAP)
            for (int i = 0; i < TN_NR; i++) dst[i] = row[i ^ 1];
        else
            for (int j = 0; j < TN_NR; j += 16) BF16_WEAVE(dst + j, even + j, odd + j);
    }
}

/* One row; compiled for each mode, and for whole panels. */
INLINE void finish_row(const tn_mode mode, void *to, const float *v, const int n) {
    float *y = to, sum[TN_NR];
    uint16_t *half = to;
    if (mode == TN_SET)
        for (int j = 0; j < n; j++) y[j] = v[j];
    else if (mode == TN_ADD)
        for (int j = 0; j < n; j++) y[j] = y[j] + v[j];
    else if (mode == TN_ADD_NONZERO)
        for (int j = 0; j < n; j++) y[j] = y[j] - (0 - v[j]);
    else if (mode == TN_ADD_ROUND) {
        for (int j = 0; j < n; j++) sum[j] = tn_bf16_float(half[j]) - (0 - v[j]);
        BF16_ROW(half, sum, n);
    } else BF16_ROW(half, v, n);
}

INLINE void finish_rows(const tn_mode mode, const int n, void *y, size_t ldy, const float *c, size_t ldc, const float *bias,
                        int m) {
    for (int i = 0; i < m; i++, y = (char *)y + ldy * tn_y_size(mode), c += ldc) {
        float v[TN_NR];
        for (int j = 0; bias && j < n; j++) v[j] = c[j] + bias[j];
        finish_row(mode, y, bias ? v : c, n);
    }
}

static void PACK(finish)(tn_mode mode, void *y, size_t ldy, const float *c, size_t ldc, const float *bias, int m, int n) {
#define MODE(x)                                                        \
    case x:                                                            \
        if (n == TN_NR) finish_rows(x, TN_NR, y, ldy, c, ldc, bias, m); \
        else finish_rows(x, n, y, ldy, c, ldc, bias, m);               \
        break;
    switch (mode) { MODE(TN_SET) MODE(TN_ADD) MODE(TN_ADD_NONZERO) MODE(TN_ROUND) MODE(TN_ADD_ROUND) }
#undef MODE
}

const tn_packer PACK(tn_pack) = {PACK(a_rows), PACK(a_cols), PACK(b_rows), PACK(cols), PACK(turn), PACK(finish)};
