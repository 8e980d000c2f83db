/* UTF-8, character properties and normal forms, as the `tokenizers` library sees them.
 *
 * Properties come from unicode_tables.c. Normal forms: utf8proc, over runs of code points that
 * the library's (older) tables know; everything else is inert there and passes unchanged.      */
#ifndef TN_UNICODE_H
#define TN_UNICODE_H
#include "base/str.h"
#include "text/unicode_tables.h"

/* Decodes one code point of valid UTF-8 at s[*i], advances *i. */
static inline uint32_t tn_utf8_next(const char *s, size_t *i) {
    const unsigned char *p = (const unsigned char *)s + *i;
    if (p[0] < 0x80) {
        *i += 1;
        return p[0];
    }
    if (p[0] < 0xE0) {
        *i += 2;
        return (uint32_t)(p[0] & 31) << 6 | (p[1] & 63);
    }
    if (p[0] < 0xF0) {
        *i += 3;
        return (uint32_t)(p[0] & 15) << 12 | (uint32_t)(p[1] & 63) << 6 | (p[2] & 63);
    }
    *i += 4;
    return (uint32_t)(p[0] & 7) << 18 | (uint32_t)(p[1] & 63) << 12 | (uint32_t)(p[2] & 63) << 6 |
           (p[3] & 63);
}
/* Start of the code point that ends before i > 0. */
static inline size_t tn_utf8_back(const char *s, size_t i) {
    do i--;
    while (((unsigned char)s[i] & 0xC0) == 0x80);
    return i;
}
static inline int tn_utf8_size(unsigned char first) {
    return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}
int tn_utf8_put(char out[4], uint32_t c); /* bytes written */
bool tn_utf8_valid(const char *s, size_t n);
/* Appends s with every maximal invalid part replaced by U+FFFD (Python's errors="replace"). */
void tn_utf8_replace(tn_str *out, const char *s, size_t n);
/* Number of bytes (1..3) of the maximal invalid part at s, or 0 and *size of a valid code point. */
int tn_utf8_bad(const unsigned char *s, size_t n, int *size);

bool tn_in_ranges(const tn_range *r, int n, uint32_t c);
bool tn_is_space(uint32_t c);
bool tn_is_number(uint32_t c);
bool tn_is_rword(uint32_t c); /* \w of added tokens and of Whitespace */
bool tn_is_punct(uint32_t c);
bool tn_is_mark(uint32_t c);
/* Lower case: 1 or 2 code points (U+0130 alone gives two). */
int tn_lower(uint32_t c, uint32_t out[2]);

typedef enum tn_form { TN_NFC, TN_NFD, TN_NFKC, TN_NFKD } tn_form;
/* One stretch of the normal form: bytes [from, to) of the input became the bytes appended to
 * `out`. Calls `piece` (may be NULL) for every independently normalised stretch, in order. */
typedef void tn_norm_piece(void *ctx, size_t from, size_t to, size_t out_from, size_t out_to);
bool tn_normalize(tn_str *out, const char *s, size_t n, tn_form f, tn_norm_piece *piece, void *ctx);
#endif
