/* Deterministic mutations of a byte buffer, for parsers that must survive any input:
 *
 *     tn_str m = TN_STR_INIT;
 *     for (uint64_t i = 0; i < tn_fuzz_rounds(2000); i++) {
 *         tn_mutate(&m, good, n_good, other, n_other, i);
 *         parse(m.s, m.len) must not crash, and must free what it made
 *     }
 *
 * The i-th mutation is a function of i and the input alone: a failing round can be run again.
 * TENET_FUZZ=1000000 in the environment lengthens every such loop.                         */
#ifndef TN_TESTS_MUTATE_H
#define TN_TESTS_MUTATE_H
#include "base/rng.h"
#include "base/str.h"
#include <stdlib.h>
#include <string.h>

static inline uint64_t tn_fuzz_rounds(uint64_t n) {
    const char *s = getenv("TENET_FUZZ");
    return s ? strtoull(s, NULL, 10) : n;
}

/* Makes room for `add` bytes at `at`, or removes bytes there, keeping the terminating NUL. */
static inline void tn_mutate_splice_(tn_str *m, size_t at, size_t cut, const void *p, size_t add) {
    tn_str out = TN_STR_INIT;
    if (at > m->len) at = m->len;
    if (cut > m->len - at) cut = m->len - at;
    tn_str_add(&out, m->s, at);
    tn_str_add(&out, p, add);
    tn_str_add(&out, m->s + at + cut, m->len - at - cut);
    tn_str_free(m);
    *m = out;
}

static inline void tn_mutate_once_(tn_str *m, const void *other, size_t n_other, tn_rng *r) {
    static const char *const tokens[] = {"\"",
                                         "{",
                                         "}",
                                         "[",
                                         "]",
                                         ",",
                                         ":",
                                         "\\",
                                         "\\u0000",
                                         "\\ud800",
                                         "null",
                                         "-",
                                         "1e999",
                                         "-1",
                                         "0",
                                         "18446744073709551616",
                                         "9223372036854775807",
                                         "4294967296",
                                         "2147483648",
                                         "NaN",
                                         "\n",
                                         "\r\n",
                                         "\t",
                                         "\xff",
                                         "\xc0\x80",
                                         "\xed\xa0\x80",
                                         "\xf4\x90\x80\x80",
                                         "\xEF\xBB\xBF",
                                         "\xE2\x96\x81",
                                         "%n%s",
                                         "&a *a",
                                         "  - "};
    static const uint64_t words[] = {0,
                                     1,
                                     0x7f,
                                     0xff,
                                     0x7fff,
                                     0xffff,
                                     0x7fffffff,
                                     0xffffffff,
                                     0x100000000,
                                     0x7fffffffffffffff,
                                     0xffffffffffffffff,
                                     0x8000000000000000};
    uint32_t n = (uint32_t)(m->len < UINT32_MAX ? m->len : UINT32_MAX);
    size_t at = n ? tn_rng_below(r, n) : 0, len = 1 + tn_rng_below(r, 1u << tn_rng_below(r, 8));
    const char *tok = tokens[tn_rng_below(r, sizeof tokens / sizeof *tokens)];
    uint64_t word = words[tn_rng_below(r, sizeof words / sizeof *words)];
    tn_str part = TN_STR_INIT;
    switch (tn_rng_below(r, 9)) {
    case 0: if (n) m->s[at] ^= (char)(1u << tn_rng_below(r, 8)); break;          /* flip one bit */
    case 1: if (n) m->s[at] = (char)tn_rng_below(r, 256); break;                 /* another byte */
    case 2: tn_mutate_splice_(m, at, m->len, "", 0); break;                      /* truncate */
    case 3: tn_mutate_splice_(m, at, len, "", 0); break;                         /* delete */
    case 4: tn_mutate_splice_(m, at, 0, tok, strlen(tok)); break;           /* insert a token */
    case 5: tn_mutate_splice_(m, at, strlen(tok), tok, strlen(tok)); break; /* overwrite by one */
    case 6: /* a length field goes wild */
        for (size_t k = 0; k < 8 && at + k < m->len; k++) m->s[at + k] = (char)(word >> (8 * k));
        break;
    case 7: /* copy a piece of itself */
        if (len > m->len - at) len = m->len - at;
        tn_str_add(&part, m->s + at, len);
        tn_mutate_splice_(m, n ? tn_rng_below(r, n) : 0, 0, part.s, part.len);
        break;
    default: /* splice in a piece of the other */
        if (!n_other) break;
        size_t from = tn_rng_below(r, (uint32_t)n_other);
        if (len > n_other - from) len = n_other - from;
        tn_mutate_splice_(m, at, tn_rng_below(r, 2) ? len : 0, (const char *)other + from, len);
    }
    tn_str_free(&part);
}

/* m = the i-th mutation of `good` (1 to 4 changes); `other` (may be NULL, 0) lends pieces. */
static inline void tn_mutate(tn_str *m, const void *good, size_t n_good, const void *other,
                             size_t n_other, uint64_t i) {
    tn_rng r = tn_rng_stream(0x66757a7a, 9001, i);
    uint32_t changes = 1 + tn_rng_below(&r, 4);
    tn_str_clear(m);
    tn_str_add(m, good, n_good);
    while (changes--) tn_mutate_once_(m, other, n_other, &r);
}
#endif
