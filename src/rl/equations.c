#include "rl/equations.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- expressions ---- */

typedef struct reader {
    const char *s, *end;
    int operators;
    bool ok;
} reader;

static bool digit(char c) { return c >= '0' && c <= '9'; }
static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static void skip(reader *r) {
    while (r->s < r->end && (*r->s == ' ' || *r->s == '$')) r->s++;
}

/* + - * / at s, with the bytes that write it; 0: none. */
static char operator_at(const char *s, const char *end, int *bytes) {
    *bytes = 1;
    if (s >= end) return 0;
    if (strchr("+-*/", *s)) return *s;
    if (*s == 'x') return '*';
    *bytes = 2;
    if (end - s < 2 || *s != '\xc3') return 0;
    return s[1] == '\x97' ? '*' : s[1] == '\xb7' ? '/' : 0; /* × ÷ */
}

/* Digits in groups of three or in one, and decimals; *decimals: how many. Moves s behind it; false: none is there. */
static bool number(const char **s, const char *end, double *v, int *decimals) {
    const char *p = *s;
    char text[48];
    size_t n = 0;
    *decimals = 0;
    for (; p < end && n < 40; p++) {
        bool group = *p == ',' && n && end - p > 3 && digit(p[1]) && digit(p[2]) && digit(p[3]) && !(end - p > 4 && digit(p[4]));
        if (digit(*p)) text[n++] = *p;
        else if (!group) break;
    }
    if (end - p > 1 && *p == '.' && digit(p[1]))
        for (text[n++] = *p++; p < end && n < 46 && digit(*p); ++*decimals) text[n++] = *p++;
    text[n] = 0;
    *v = n ? strtod(text, NULL) : 0;
    *s = p;
    return n > 0;
}

static double sum(reader *r, int depth);

static double factor(reader *r, int depth) {
    double v = 0;
    int decimals;
    skip(r);
    if (r->s < r->end && *r->s == '(' && depth < 16) {
        r->s++;
        v = sum(r, depth + 1);
        if (r->s >= r->end || *r->s != ')') r->ok = false;
        else r->s++;
    } else if (!number(&r->s, r->end, &v, &decimals)) r->ok = false;
    skip(r);
    return v;
}

static double product(reader *r, int depth) {
    double v = factor(r, depth);
    for (int bytes; r->ok;) {
        char c = operator_at(r->s, r->end, &bytes);
        if (c != '*' && c != '/') break;
        r->s += bytes, r->operators++;
        double w = factor(r, depth);
        v = c == '*' ? v * w : v / w;
    }
    return v;
}

/* A sign only where a sum begins: "4x - 2" is no 4 * -2. */
static double sum(reader *r, int depth) {
    skip(r);
    bool minus = r->s < r->end && *r->s == '-';
    r->s += minus;
    double v = minus ? -product(r, depth) : product(r, depth);
    for (int bytes; r->ok;) {
        char c = operator_at(r->s, r->end, &bytes);
        if (c != '+' && c != '-') break;
        r->s += bytes, r->operators++;
        double w = product(r, depth);
        v = c == '+' ? v + w : v - w;
    }
    return v;
}

/* ---- equations ---- */

static bool of_expression(const char *s) {
    unsigned char c = (unsigned char)*s;
    return digit(*s) || strchr(" $.,()+-*/x", *s) || c == 0xc3 || c == 0x97 || c == 0xb7;
}

/* [from, end) as an expression with an operator in it. */
static bool expression(const char *from, const char *end, double *v) {
    reader r = {.s = from, .end = end, .ok = true};
    *v = sum(&r, 0);
    return r.ok && r.s == end && r.operators > 0;
}

/* The longest expression that ends at `end` and begins where nothing before it can belong to it: with the text, behind a
 * word or an open bracket, or behind a number that ends ("Step 1. 3 + 4"). What a word leaves over of a sum ("2 boxes + 3 + 4") is
 * none. */
static bool left_side(const char *text, const char *end, double *v) {
    const char *from = end;
    while (from > text && of_expression(from - 1)) from--;
    bool behind_word = from > text && (letter(from[-1]) || from[-1] == '%' || from[-1] == '=');
    while (from < end && (*from == ' ' || (strchr(",.", *from) && !(*from == '.' && end - from > 1 && digit(from[1]))))) from++;
    if (behind_word && from < end && strchr("+-*/x\xc3", *from)) return false;
    for (const char *p = from; p < end; p++) {
        bool alone = p - from > 1 && p[-1] == ' ' && strchr(".,)", p[-2]) && (digit(*p) || strchr("($", *p));
        if ((p == from || alone || p[-1] == '(') && expression(p, end, v)) return true;
    }
    return false;
}

/* NUMBER behind the =, unless more belongs to it, as in "3 + 4" and "1 1/2". */
static bool right_side(const char *s, const char *end, double *v, double *rounding) {
    int decimals, bytes;
    while (s < end && (*s == ' ' || *s == '$')) s++;
    bool minus = s < end && *s == '-';
    s += minus;
    while (s < end && *s == '$') s++;
    if (!number(&s, end, v, &decimals) || (s < end && (letter(*s) || *s == '%'))) return false;
    if (minus) *v = -*v;
    for (*rounding = 0.5; decimals > 0; decimals--) *rounding /= 10;
    if (*rounding == 0.5) *rounding = 0;
    while (s < end && *s == ' ') s++;
    if (operator_at(s, end, &bytes)) {
        for (s += bytes; s < end && (*s == ' ' || *s == '$' || *s == '('); s++) {}
        return s >= end || !digit(*s);
    }
    if (end - s > 4 && memcmp(s, "and ", 4) == 0) s += 4;
    const char *fraction = s;
    while (s < end && digit(*s)) s++;
    return s == fraction || s >= end || *s != '/';
}

void tn_equations_check(const char *s, int *n, int *n_false) {
    const char *end = s + strlen(s);
    *n = *n_false = 0;
    for (const char *at = s; (at = strchr(at, '=')); at++) {
        double left, right, rounding;
        if (!left_side(s, at, &left) || !right_side(at + 1, end, &right, &rounding)) continue;
        double d = fabs(left - right);
        ++*n, *n_false += !(d <= rounding * (1 + 1e-9) + 1e-9 * (1 + fabs(right)));
    }
}
