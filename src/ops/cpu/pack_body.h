/* Packing of operands (forms and layouts: gemm.h), written once over two primitives that the
 * including file gives for its instruction set:
 *   TRANSPOSE(dst, ldd, src)   16 x 16 units: dst[j*ldd + i] = src[i*16 + j]
 *   and its name suffix PACK(name).
 * Everything is done in blocks of 16 units; a short edge goes through a zeroed buffer.        */
#include "ops/cpu/gemm.h"
#include <string.h>

/* ops/bf16.h tn_bf16_bits, without branches. */
static inline uint32_t bf16_of(uint32_t u) {
    uint32_t r = (u + 0x7fffu + (u >> 16 & 1)) >> 16;
    r = u & 0x7f800000u ? r : u >> 31 << 15;
    return (u & 0x7fffffffu) > 0x7f800000u ? u >> 16 | 0x40u : r;
}

static inline int unit_k(tn_form f) { return f == TN_FORM_BF16 ? 2 : 1; }

/* 16 units along k from 16 (or 32) floats. */
static inline void along_k(tn_form f, uint32_t *restrict dst, const uint32_t *restrict src) {
    if (f == TN_FORM_F32) memcpy(dst, src, 64);
    else if (f == TN_FORM_SWAP)
        for (int i = 0; i < 16; i++) dst[i] = bf16_of(src[i ^ 1]) << 16;
    else
        for (int i = 0; i < 16; i++) dst[i] = bf16_of(src[2 * i]) | bf16_of(src[2 * i + 1]) << 16;
}

/* 16 units along k of one row, of which k floats from k0 on exist. */
static inline void row_units(tn_form f, uint32_t *dst, const float *row, int k0, int k) {
    int span = 16 * unit_k(f), left = k - k0;
    if (left >= span) {
        along_k(f, dst, (const uint32_t *)row + k0);
        return;
    }
    uint32_t part[32] = {0};
    if (left > 0) memcpy(part, row + k0, (size_t)left * 4);
    along_k(f, dst, part);
}

/* 16 units across the rows, for unit u of k: src[k*lds + i], i < n <= 16. */
static inline void across(tn_form f, uint32_t *restrict dst, const float *src, size_t lds, int n, int u, int k) {
    uint32_t lo[16] = {0}, hi[16] = {0};
    int k0 = f == TN_FORM_BF16 ? 2 * u : f == TN_FORM_SWAP ? (u ^ 1) : u;
    const uint32_t *s = (const uint32_t *)src + (size_t)k0 * lds;
    const uint32_t *p0 = lo, *p1 = hi;
    if (k0 < k && n == 16) p0 = s;
    else if (k0 < k) memcpy(lo, s, (size_t)n * 4);
    if (f == TN_FORM_BF16 && k0 + 1 < k) {
        if (n == 16) p1 = s + lds;
        else memcpy(hi, s + lds, (size_t)n * 4);
    }
    if (f == TN_FORM_F32) memcpy(dst, p0, 64);
    else if (f == TN_FORM_SWAP)
        for (int i = 0; i < 16; i++) dst[i] = bf16_of(p0[i]) << 16;
    else
        for (int i = 0; i < 16; i++) dst[i] = bf16_of(p0[i]) | bf16_of(p1[i]) << 16;
}

static void PACK(a_rows)(tn_form f, uint32_t *dst, size_t lda, const float *src, size_t lds, int m, int k, int units) {
    for (int i = 0; i < m; i++)
        for (int u = 0; u < units; u += 16)
            row_units(f, dst + (size_t)i * lda + u, src + (size_t)i * lds, u * unit_k(f), k);
}

static void PACK(a_cols)(tn_form f, uint32_t *dst, size_t lda, const float *src, size_t lds, int m, int k, int units) {
    _Alignas(64) uint32_t t[256], o[256];
    for (int u = 0; u < units; u += 16)
        for (int i = 0; i < m; i += 16) {
            int n = m - i < 16 ? m - i : 16;
            for (int v = 0; v < 16; v++) across(f, t + 16 * v, src + i, lds, n, u + v, k);
            if (n == 16) TRANSPOSE(dst + (size_t)i * lda + u, lda, t);
            else {
                TRANSPOSE(o, 16, t);
                for (int r = 0; r < n; r++) memcpy(dst + (size_t)(i + r) * lda + u, o + 16 * r, 64);
            }
        }
}

static void PACK(b_rows)(tn_form f, uint32_t *panel, const float *src, size_t lds, int n, int k, int units) {
    _Alignas(64) uint32_t t[256], o[256];
    for (int u = 0; u < units; u += 16)
        for (int i = 0; i < TN_NR; i += 16) {
            for (int r = 0; r < 16; r++)
                if (i + r < n) row_units(f, t + 16 * r, src + (size_t)(i + r) * lds, u * unit_k(f), k);
                else memset(t + 16 * r, 0, 64);
            uint32_t *to = panel + (size_t)u * TN_NR + i;
            int left = units - u;
            if (left >= 16) TRANSPOSE(to, TN_NR, t);
            else {
                TRANSPOSE(o, 16, t);
                for (int v = 0; v < left; v++) memcpy(to + (size_t)v * TN_NR, o + 16 * v, 64);
            }
        }
}

static void PACK(b_cols)(tn_form f, uint32_t *panel, const float *src, size_t lds, int n, int k, int units) {
    for (int u = 0; u < units; u++)
        for (int i = 0; i < TN_NR; i += 16) {
            int some = n - i < 0 ? 0 : n - i < 16 ? n - i : 16;
            across(f, panel + (size_t)u * TN_NR + i, src + i, lds, some, u, k);
        }
}

static void PACK(finish)(tn_mode mode, float *y, size_t ldy, const float *c, const float *bias, int m, int n) {
    for (int i = 0; i < m; i++, y += ldy, c += TN_NR) {
        _Alignas(64) float v[TN_NR];
        if (bias)
            for (int j = 0; j < n; j++) v[j] = c[j] + bias[j];
        else memcpy(v, c, sizeof v);
        if (mode == TN_ADD)
            for (int j = 0; j < n; j++) y[j] = y[j] + v[j];
        else memcpy(y, v, (size_t)n * 4);
    }
}

const tn_packer PACK(tn_pack) = {PACK(a_rows), PACK(a_cols), PACK(b_rows), PACK(b_cols), PACK(finish)};
