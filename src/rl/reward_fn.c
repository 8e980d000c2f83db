#include "rl/reward_fn.h"
#include "algo/group.h"
#include "rl/equations.h"
#include "rl/reward_program.h"
#include "text/rx.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- a field of the row ---- */

static tn_status open_field(void **state, const char *argument, tn_err *e) {
    *state = tn_strdup(argument);
    return *state ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static void trim(const char **s, size_t *n) {
    while (*n && is_space(**s)) ++*s, --*n;
    while (*n && is_space((*s)[*n - 1])) --*n;
}

/* Text of a field, white space at both ends left out; integers in decimal (buf). NULL: no such field. */
static const char *field(const tn_completion *x, const char *name, char buf[32], size_t *n) {
    const json_t *v = json_object_get(x->row, name);
    const char *s = json_string_value(v);
    *n = json_string_length(v);
    if (json_is_integer(v)) {
        snprintf(buf, 32, "%lld", (long long)json_integer_value(v));
        s = buf, *n = strlen(buf);
    }
    if (s) trim(&s, n);
    return s;
}

/* 1 when the completion is the field's text, white space at both ends aside. */
static tn_status exact_match(void *state, const tn_completion *x, double *reward, tn_err *e) {
    char buf[32];
    size_t n, len = x->len;
    const char *want = field(x, state, buf, &n), *got = x->text;
    trim(&got, &len);
    *reward = want ? len == n && memcmp(got, want, n) == 0 : NAN;
    return TN_OK;
}

/* ---- numbers ---- */

static bool digit(char c) { return c >= '0' && c <= '9'; }
static bool word(char c) {
    return digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80) || c == ')';
}

/* Length of the number at s[0], a digit or '.', its digits without commas in `out`. */
static size_t scan(const char *s, size_t n, char out[64]) {
    size_t i = 0, k = 0;
    for (; i < n && k < 60; i++) {
        bool group = s[i] == ',' && i > 0 && i + 3 < n && digit(s[i + 1]) && digit(s[i + 2]) &&
                     digit(s[i + 3]) && (i + 4 >= n || !digit(s[i + 4]));
        if (group) continue;
        if (!digit(s[i])) break;
        out[k++] = s[i];
    }
    if (i + 1 < n && s[i] == '.' && digit(s[i + 1]))
        for (out[k++] = s[i++]; i < n && digit(s[i]); i++)
            if (k < 60) out[k++] = s[i];
    out[k] = 0;
    return i;
}

bool tn_last_number(const char *s, size_t n, double *out) {
    bool found = false;
    for (size_t i = 0; i < n;) {
        bool begins = digit(s[i]) || (s[i] == '.' && i + 1 < n && digit(s[i + 1]));
        if (!begins) {
            i++;
            continue;
        }
        char digits[64];
        bool minus = i > 0 && s[i - 1] == '-' && (i < 2 || !word(s[i - 2]));
        size_t len = scan(s + i, n - i, digits);
        *out = strtod(digits, NULL);
        if (minus) *out = -*out;
        found = true;
        i += len ? len : 1;
    }
    return found;
}

/* 1 when the completion's last number is the field's last number (GSM8K's "#### 42"). */
static tn_status number(void *state, const tn_completion *x, double *reward, tn_err *e) {
    char buf[32];
    size_t n;
    double want, got;
    const char *s = field(x, state, buf, &n);
    const json_t *v = json_object_get(x->row, state);
    bool known = json_is_real(v) || (s && tn_last_number(s, n, &want));
    if (json_is_real(v)) want = json_real_value(v);
    *reward = known ? tn_last_number(x->text, x->len, &got) && got == want : NAN;
    return TN_OK;
}

/* The share of the completion's equations that hold; without any, 0. */
static tn_status equations(void *state, const tn_completion *x, double *reward, tn_err *e) {
    int n, n_false;
    tn_equations_check(x->text, &n, &n_false);
    *reward = n ? (double)(n - n_false) / n : 0;
    return TN_OK;
}

/* ---- patterns ---- */

typedef struct pattern {
    tn_rx *rx;
    tn_rx_mem mem;
} pattern;

static void close_pattern(void *state) {
    pattern *p = state;
    if (!p) return;
    tn_rx_free(p->rx);
    tn_rx_mem_free(&p->mem);
    tn_free(p);
}

static tn_status open_pattern(void **state, const char *argument, tn_err *e) {
    pattern *p = *state = tn_calloc(1, sizeof *p);
    if (!p) return tn_fail(e, TN_NOMEM, "out of memory");
    tn_err why = {0};
    if (tn_rx_compile(&p->rx, argument, strlen(argument), "the pattern", &why) == TN_OK)
        return TN_OK;
    return tn_fail(e, TN_ARG, "--reward-funcs regex:%s: %s", argument, why.msg);
}

/* 1 when the pattern is found anywhere in the completion. */
static tn_status regex(void *state, const tn_completion *x, double *reward, tn_err *e) {
    pattern *p = state;
    bool found;
    size_t a, b;
    TN_TRY(tn_rx_find(p->rx, &p->mem, x->text, x->len, 0, &found, &a, &b, e));
    *reward = found;
    return TN_OK;
}

static const char *find(const char *s, size_t n, const char *what) {
    size_t k = strlen(what);
    for (; n >= k; s++, n--)
        if (memcmp(s, what, k) == 0) return s;
    return NULL;
}

/* TRL's ^<think>(?!.*<think>)(.*?)</think>.*$ : thoughts in one pair of tags, then the answer. */
static tn_status think_format(void *state, const tn_completion *x, double *reward, tn_err *e) {
    static const char open[] = "<think>";
    size_t k = sizeof open - 1;
    bool begins = x->len >= k && memcmp(x->text, open, k) == 0;
    *reward = begins && !find(x->text + k, x->len - k, open) &&
              find(x->text + k, x->len - k, "</think>") != NULL;
    return TN_OK;
}

/* ---- lengths and repetitions, over token ids ---- */

/* "A" or "A,B"; what is left out keeps its value. */
static tn_status read_numbers(const char *name, const char *argument, double *a, double *b,
                              tn_err *e) {
    if (!argument) return TN_OK;
    char *end;
    *a = strtod(argument, &end);
    bool ok = end != argument;
    if (ok && b && *end == ',') {
        const char *s = end + 1;
        *b = strtod(s, &end);
        ok = end != s;
    }
    return ok && !*end ? TN_OK
                       : tn_fail(e, TN_ARG, "--reward-funcs %s:%s: expected %s", name, argument,
                                 b ? "N or N,X" : "a number");
}

static tn_status new_numbers(void **state, double **v, tn_err *e) {
    *v = *state = tn_calloc(2, sizeof **v);
    return *v ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static tn_status open_overlong(void **state, const char *argument, tn_err *e) {
    double *v;
    TN_TRY(new_numbers(state, &v, e));
    TN_TRY(read_numbers("soft_overlong_punishment", argument, &v[0], NULL, e));
    return v[0] >= 0 ? TN_OK
                     : tn_fail(e, TN_ARG,
                               "--reward-funcs soft_overlong_punishment:%s: the number "
                               "of tokens must be at least 0",
                               argument);
}

/* 0 up to max_new - N tokens, then linear to -1 at max_new (DAPO, 2503.14476, eq. 13). */
static tn_status overlong(void *state, const tn_completion *x, double *reward, tn_err *e) {
    *reward = tn_soft_overlong(x->n, x->max_new, *(const double *)state);
    return TN_OK;
}

static tn_status open_repetition(void **state, const char *argument, tn_err *e) {
    double *v;
    TN_TRY(new_numbers(state, &v, e));
    v[0] = 3, v[1] = -1;
    TN_TRY(read_numbers("repetition_penalty_reward", argument, &v[0], &v[1], e));
    if (v[0] >= 1 && v[0] <= 64 && v[0] == floor(v[0]) && v[1] <= 0) return TN_OK;
    return tn_fail(e, TN_ARG,
                   "--reward-funcs repetition_penalty_reward:%s: expected a length of 1 "
                   "to 64 tokens and a penalty of at most 0",
                   argument);
}

/* (1 - different n-grams / n-grams) x penalty, over token ids (2502.03373, C.2). */
static tn_status repetition(void *state, const tn_completion *x, double *reward, tn_err *e) {
    const double *v = state;
    int g = (int)v[0], all = x->n - g + 1, different = 0;
    for (int i = 0; i < all; i++) {
        bool seen = false;
        for (int k = 0; k < i && !seen; k++)
            seen = memcmp(x->ids + i, x->ids + k, (size_t)g * sizeof *x->ids) == 0;
        different += !seen;
    }
    *reward = all > 0 && different < all ? (1 - (double)different / all) * v[1] : 0;
    return TN_OK;
}

const tn_reward_fn tn_reward_fns[] = {
    {"exact_match", "FIELD", "1 when the completion is the text of the row's FIELD, else 0", true,
     open_field, exact_match, tn_free, ""},
    {"number", "FIELD", "1 when the last number of the completion is the last number of FIELD",
     true, open_field, number, tn_free, ""},
    {"equations", NULL, "share of the completion's equations (3 * 4 = 12) that hold; 0 when it has none", true, NULL, equations,
     NULL, NULL},
    {"regex", "PATTERN", "1 when PATTERN is found in the completion", true, open_pattern, regex,
     close_pattern, NULL},
    {"think_format_reward", NULL, "1 when thoughts stand between <think> and </think>", true, NULL,
     think_format, NULL, NULL},
    {"soft_overlong_punishment", "N", "0, falling to -1 over the last N tokens allowed", false,
     open_overlong, overlong, tn_free, NULL},
    {"repetition_penalty_reward", "[N[,X]]", "X (-1) times the share of repeated N-grams (3)",
     false, open_repetition, repetition, tn_free, NULL},
    {"program", "COMMAND", "what a program of yours answers to each completion: a line of JSON in (the row's fields, completion, ended), a "
                           "number or null out",
     true, tn_program_open, tn_program_ask, tn_program_close, NULL},
    {0}};
