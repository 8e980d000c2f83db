/* Growing byte strings, JSON escapes, shortest decimals, nearest names. */
#include "base/str.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* cap == 0: `s` is NULL or points at a constant empty string, never written, never freed. */
static char str_empty[1];

void tn_str_free(tn_str *b) {
    if (b->cap) tn_free(b->s);
    *b = (tn_str)TN_STR_INIT;
}

void tn_str_clear(tn_str *b) {
    b->len = 0;
    b->oom = false;
    if (b->cap) b->s[0] = 0;
    else b->s = str_empty;
}

/* Room for n more bytes and the NUL. */
static bool str_reserve(tn_str *b, size_t n) {
    if (!b->s) b->s = str_empty;
    if (b->oom) return false;
    size_t need, cap = b->cap;
    if (__builtin_add_overflow(b->len, n, &need) || __builtin_add_overflow(need, 1, &need)) {
        b->oom = true;
        return false;
    }
    if (need <= cap) return true;
    char *s = cap ? b->s : NULL;
    if (need < 32) need = 32;
    if (!tn_grow_((void **)&s, &cap, need, 1)) {
        b->oom = true;
        return false;
    }
    b->s = s;
    b->cap = cap;
    return true;
}

void tn_str_add(tn_str *b, const void *p, size_t n) {
    if (!str_reserve(b, n)) return;
    if (n) memcpy(b->s + b->len, p, n);
    b->len += n;
    b->s[b->len] = 0;
}

void tn_str_addz(tn_str *b, const char *z) { tn_str_add(b, z, strlen(z)); }
void tn_str_addc(tn_str *b, char c) { tn_str_add(b, &c, 1); }

void tn_str_addf(tn_str *b, const char *fmt, ...) {
    char small[256];
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof small) {
        tn_str_add(b, small, (size_t)n);
    } else if (n >= 0 && str_reserve(b, (size_t)n)) {
        vsnprintf(b->s + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

/* ---- JSON strings ---- */

/* Length of the valid UTF-8 sequence at s (RFC 3629: no overlong forms, no surrogates), 0 if none.
 */
static size_t utf8_len(const unsigned char *s, size_t n) {
    unsigned c = s[0];
    if (c < 0x80) return 1;
    size_t len = c >= 0xC2 && c <= 0xDF   ? 2
                 : (c & 0xF0) == 0xE0     ? 3
                 : c >= 0xF0 && c <= 0xF4 ? 4
                                          : 0;
    if (!len || n < len) return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    if (c == 0xE0 && s[1] < 0xA0) return 0;
    if (c == 0xED && s[1] > 0x9F) return 0;
    if (c == 0xF0 && s[1] < 0x90) return 0;
    if (c == 0xF4 && s[1] > 0x8F) return 0;
    return len;
}

void tn_str_add_json(tn_str *b, const char *str, size_t n) {
    const unsigned char *s = (const unsigned char *)str;
    tn_str_addc(b, '"');
    for (size_t i = 0; i < n;) {
        size_t run = 0; /* bytes that pass unchanged */
        while (i + run < n) {
            unsigned c = s[i + run];
            size_t len = c < 0x20 || c == '"' || c == '\\' ? 0 : utf8_len(s + i + run, n - i - run);
            if (!len) break;
            run += len;
        }
        tn_str_add(b, s + i, run);
        i += run;
        if (i == n) break;
        unsigned c = s[i++];
        if (c == '"' || c == '\\') tn_str_addf(b, "\\%c", (int)c);
        else if (c == '\n') tn_str_addz(b, "\\n");
        else if (c == '\t') tn_str_addz(b, "\\t");
        else if (c == '\r') tn_str_addz(b, "\\r");
        else if (c < 0x20) tn_str_addf(b, "\\u%04x", c);
        else tn_str_addz(b, "\xEF\xBF\xBD");
    }
    tn_str_addc(b, '"');
}

/* ---- numbers ---- */

static bool str_add_special(tn_str *b, double v) {
    if (isnan(v)) tn_str_addz(b, "\"NaN\"");
    else if (isinf(v)) tn_str_addz(b, v > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    else return false;
    return true;
}

void tn_str_add_f32(tn_str *b, float v) {
    char text[32];
    if (str_add_special(b, (double)v)) return;
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v) break;
    }
    tn_str_addz(b, text);
}

void tn_str_add_f64(tn_str *b, double v) {
    char text[32];
    if (str_add_special(b, v)) return;
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) break;
    }
    tn_str_addz(b, text);
}

/* ---- nearest name ---- */

enum { NAME_MAX_LEN = 63 };

/* Levenshtein distance; '-' and '_' count as equal. Names longer than 63 bytes are never near. */
static int name_distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    if (n > NAME_MAX_LEN || m > NAME_MAX_LEN) return 1000;
    int row[NAME_MAX_LEN + 1];
    for (size_t j = 0; j <= m; j++) row[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int diag = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            char x = a[i - 1] == '_' ? '-' : a[i - 1], y = b[j - 1] == '_' ? '-' : b[j - 1];
            int best = diag + (x != y);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diag = row[j];
            row[j] = best;
        }
    }
    return row[m];
}

const char *tn_nearest(const char *what, const char *const *names, size_t n) {
    const char *best = NULL;
    int limit = (int)strlen(what) / 3, least;
    if (limit < 2) limit = strlen(what) > 3 ? 2 : 1;
    if (limit > 4) limit = 4;
    least = limit + 1;
    for (size_t i = 0; i < n; i++) {
        if (!names[i]) continue;
        int d = name_distance(what, names[i]);
        if (d < least) {
            least = d;
            best = names[i];
        }
    }
    return best;
}
