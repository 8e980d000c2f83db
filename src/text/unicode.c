/* UTF-8 and character properties; see unicode.h. */
#include "text/unicode.h"
#include <string.h>
#include <utf8proc.h>

int tn_utf8_put(char out[4], uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* Well-formed byte sequences, table 3-7 of the Unicode standard: the second byte's range depends on the first. */
int tn_utf8_bad(const unsigned char *s, size_t n, int *size) {
    unsigned char b = s[0];
    if (b < 0x80) {
        *size = 1;
        return 0;
    }
    int need = b >= 0xC2 && b <= 0xDF   ? 1
               : b >= 0xE0 && b <= 0xEF ? 2
               : b >= 0xF0 && b <= 0xF4 ? 3
                                        : 0;
    if (!need) return 1;
    unsigned char lo = b == 0xE0   ? 0xA0
                       : b == 0xF0 ? 0x90
                                   : 0x80,
                  hi = b == 0xED   ? 0x9F
                       : b == 0xF4 ? 0x8F
                                   : 0xBF;
    for (int k = 1; k <= need; k++) {
        if ((size_t)k >= n || s[k] < lo || s[k] > hi) return k;
        lo = 0x80;
        hi = 0xBF;
    }
    *size = need + 1;
    return 0;
}

bool tn_utf8_valid(const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        int size = 0;
        if ((unsigned char)s[i] < 0x80) {
            i++;
            continue;
        }
        if (tn_utf8_bad((const unsigned char *)s + i, n - i, &size)) return false;
        i += (size_t)size;
    }
    return true;
}

void tn_utf8_replace(tn_str *out, const char *s, size_t n) {
    for (size_t i = 0, from = 0;;) {
        int size = 0, bad = 0;
        if (i < n) bad = tn_utf8_bad((const unsigned char *)s + i, n - i, &size);
        if (i >= n || bad) tn_str_add(out, s + from, i - from);
        if (i >= n) return;
        if (bad) {
            tn_str_add(out, "\xEF\xBF\xBD", 3);
            i += (size_t)bad;
            from = i;
        } else
            i += (size_t)size;
    }
}

bool tn_in_ranges(const tn_range *r, int n, uint32_t c) {
    int lo = 0, hi = n;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (r[mid].b < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && r[lo].a <= c;
}

bool tn_is_space(uint32_t c) { return tn_in_ranges(tn_uni_space, tn_uni_space_n, c); }
bool tn_is_number(uint32_t c) { return tn_in_ranges(tn_uni_number, tn_uni_number_n, c); }
bool tn_is_rword(uint32_t c) { return tn_in_ranges(tn_uni_rword, tn_uni_rword_n, c); }
bool tn_is_punct(uint32_t c) { return tn_in_ranges(tn_uni_punct, tn_uni_punct_n, c); }
bool tn_is_mark(uint32_t c) { return tn_in_ranges(tn_uni_mark, tn_uni_mark_n, c); }

int tn_lower(uint32_t c, uint32_t out[2]) {
    out[0] = c;
    if (c == 0x130) {
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    int lo = 0, hi = tn_lower_runs_n;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (tn_lower_runs[mid].last < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    /* runs of step 2 interleave, so the right one may be a neighbour */
    for (int k = lo; k < tn_lower_runs_n && k < lo + 2; k++) {
        const tn_lower_run *r = &tn_lower_runs[k];
        if (c >= r->first && c <= r->last && (c - r->first) % (uint32_t)r->step == 0) {
            out[0] = (uint32_t)((int32_t)c + r->delta);
            return 1;
        }
    }
    return 1;
}

static bool form_run(tn_str *out, const char *s, size_t n, tn_form f) {
    utf8proc_option_t o = f == TN_NFC || f == TN_NFKC ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
    if (f == TN_NFKC || f == TN_NFKD) o |= UTF8PROC_COMPAT;
    utf8proc_uint8_t *r = NULL;
    utf8proc_ssize_t got =
        utf8proc_map((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &r, o | UTF8PROC_STABLE);
    if (got < 0) return false;
    tn_str_add(out, r, (size_t)got);
    free(r);
    return !out->oom;
}

/* Nothing before c can combine with c or anything after it: not a mark, nor a jamo (or a form
 * that decomposes to one) that continues a syllable, nor a halfwidth sound mark. */
static bool starts_piece(uint32_t c) {
    if (c < 0x300) return true;
    if ((c >= 0x1160 && c <= 0x11FF) || (c >= 0x3131 && c <= 0x318E) ||
        (c >= 0xFF9E && c <= 0xFFDC))
        return false;
    return !tn_is_mark(c);
}

bool tn_normalize(tn_str *out, const char *s, size_t n, tn_form f, tn_norm_piece *piece,
                  void *ctx) {
    for (size_t i = 0; i < n;) {
        size_t j = i, k = i, o = out->len;
        while (j <
               n) { /* a starter and what combines with it; ASCII followed by ASCII stands alone */
            k = j;
            if ((unsigned char)s[j] < 0x80 && (j + 1 == n || (unsigned char)s[j + 1] < 0x80)) break;
            uint32_t c = tn_utf8_next(s, &k);
            if (!tn_in_ranges(tn_uni_active, tn_uni_active_n, c) || (j > i && starts_piece(c)))
                break;
            j = k;
        }
        bool alone = j > i && i + (size_t)tn_utf8_size((unsigned char)s[i]) == j;
        if (alone && f == TN_NFC &&
            (k = i, !tn_in_ranges(tn_uni_nfc_changes, tn_uni_nfc_changes_n, tn_utf8_next(s, &k)))) {
            tn_str_add(out, s + i, j - i);
        } else if (j > i) {
            if (!form_run(out, s + i, j - i, f)) return false;
        } else {
            j = i + (size_t)tn_utf8_size((unsigned char)s[i]);
            tn_str_add(out, s + i, j - i);
        }
        if (piece) piece(ctx, i, j, o, out->len);
        i = j;
    }
    return !out->oom;
}
