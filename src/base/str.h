/* Growing byte strings. `s` is always NUL-terminated (after TN_STR_INIT, clear or any add);
 * bytes may contain NUL. cap == 0: `s` is a constant empty string that nobody owns. */
#ifndef TN_BASE_STR_H
#define TN_BASE_STR_H

#include "base/mem.h"

typedef struct tn_str {
    char *s;
    size_t len, cap;
    bool oom; /* sticky: appends after a failed growth do nothing; check once at the end */
} tn_str;

#define TN_STR_INIT {(char *)"", 0, 0, false}
void tn_str_free(tn_str *b);
void tn_str_clear(tn_str *b);
void tn_str_add(tn_str *b, const void *p, size_t n);
void tn_str_addz(tn_str *b, const char *z);
void tn_str_addc(tn_str *b, char c);
void tn_str_addf(tn_str *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* JSON text of a string (quotes, escapes; input must be UTF-8, invalid bytes become U+FFFD). */
void tn_str_add_json(tn_str *b, const char *s, size_t n);

/* Shortest decimal text that reads back as the same value ("%.9g"/"%.17g" tried upwards).
 * NaN and infinities are written as JSON strings "NaN", "Infinity", "-Infinity". */
void tn_str_add_f32(tn_str *b, float v);
void tn_str_add_f64(tn_str *b, double v);

/* Levenshtein-nearest of `n` names to `what`, or NULL when nothing is close (for messages). */
const char *tn_nearest(const char *what, const char *const *names, size_t n);

#endif
