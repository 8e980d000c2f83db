/* Text and JSON values to typed option values, with ranges and choices. */
#include "conf/internal.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *type_words(const tn_opt_row *r) {
    switch (r->type) {
    case TN_OPT_INT: return "a whole number";
    case TN_OPT_REAL: return "a number";
    case TN_OPT_BOOL: return "true or false";
    case TN_OPT_LIST: return "a list of strings";
    default: return "a string";
    }
}

static tn_status bad_value(const opt_value *v, const char *text, const char *where, tn_err *e) {
    return tn_fail(e, TN_ARG, "--%s must be %s, found '%s' (%s)", v->row->name, type_words(v->row),
                   text, where);
}

static tn_status no_memory(tn_err *e) { return tn_fail(e, TN_NOMEM, "no memory for options"); }

static tn_status check_range(const tn_opt_row *r, double x, const char *where, tn_err *e) {
    enum { FAR = 1000000000 }; /* limits beyond 1e9 are "none" in messages */
    bool open = r->max < r->min; /* no upper limit */
    if ((r->min == 0 && r->max == 0) || (x >= r->min && (open || x <= r->max))) return TN_OK;
    if (open || r->max >= (double)FAR)
        return tn_fail(e, TN_ARG, "--%s must be at least %g, found %.17g (%s)", r->name, r->min, x,
                       where);
    if (r->min <= -(double)FAR)
        return tn_fail(e, TN_ARG, "--%s must be at most %g, found %.17g (%s)", r->name, r->max, x,
                       where);
    return tn_fail(e, TN_ARG, "--%s must be from %.10g to %.10g, found %.17g (%s)", r->name, r->min,
                   r->max, x, where);
}

static tn_status set_int(opt_value *v, int64_t x, const char *where, tn_err *e) {
    TN_TRY(check_range(v->row, (double)x, where, e));
    v->i = x;
    v->set = true;
    return TN_OK;
}

static tn_status set_real(opt_value *v, double x, const char *where, tn_err *e) {
    if (x != x) return bad_value(v, "NaN", where, e);
    TN_TRY(check_range(v->row, x, where, e));
    v->r = x;
    v->set = true;
    return TN_OK;
}

/* Reals without a fraction (1e6) count as whole numbers. */
static bool int_of_real(double d, int64_t *x) {
    if (!(fabs(d) <= 9007199254740992.0) || d != floor(d)) return false;
    *x = (int64_t)d;
    return true;
}

static bool real_of_text(const char *s, double *x) {
    char *end;
    if (!*s || isspace((unsigned char)*s)) return false;
    *x = strtod(s, &end);
    return *end == 0;
}

static bool int_of_text(const char *s, int64_t *x) {
    char *end;
    double d;
    if (!*s || isspace((unsigned char)*s)) return false;
    errno = 0;
    *x = strtoll(s, &end, 10);
    if (*end == 0 && errno == 0) return true;
    return errno == 0 && real_of_text(s, &d) && int_of_real(d, x);
}

int tn_conf_bool_word(const char *s) {
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (int i = 0; i < 8; i++)
        if (!strcasecmp(s, words[i])) return i & 1;
    return -1;
}

/* ---- choices ---- */

/* Spelled as the table spells it; case and '-'/'_' do not matter. */
static tn_status set_choice(tn_opts *o, opt_value *v, const char *text, const char *where,
                            tn_err *e) {
    const char *names[64], *list = v->row->choices, *c;
    size_t n;
    int k = 0;
    for (; k < 64 && (c = tn_conf_word(&list, '|', &n)); k++) {
        char *name = tn_arena_memdup0(o->arena, c, n);
        if (!name) return no_memory(e);
        names[k] = name;
        bool same = strlen(text) == n;
        for (size_t i = 0; same && i < n; i++) {
            int x = tolower((unsigned char)text[i]), y = tolower((unsigned char)c[i]);
            same = (x == '_' ? '-' : x) == (y == '_' ? '-' : y);
        }
        if (!same) continue;
        v->s = name;
        v->set = true;
        return TN_OK;
    }
    const char *near = tn_nearest(text, names, (size_t)k);
    return tn_fail(e, TN_ARG, "--%s must be one of %s, found '%s' (%s)%s%s%s", v->row->name,
                   v->row->choices, text, where, near ? "; did you mean '" : "", near ? near : "",
                   near ? "'?" : "");
}

/* ---- setting ---- */

tn_status tn_conf_set_list(tn_opts *o, opt_value *v, const char *const *items, int n, bool append,
                           tn_err *e) {
    int before = append ? v->list.n : 0;
    const char **all = tn_arena_zalloc(o->arena, (size_t)(before + n) + 1, sizeof *all);
    if (!all) return no_memory(e);
    for (int i = 0; i < before; i++) all[i] = v->list.v[i];
    for (int i = 0; i < n; i++)
        if (!(all[before + i] = tn_arena_strdup(o->arena, items[i]))) return no_memory(e);
    v->list = (tn_opt_list){all, before + n};
    v->set = true;
    return TN_OK;
}

tn_status tn_conf_set_text(tn_opts *o, opt_value *v, const char *text, const char *where,
                           tn_err *e) {
    int64_t i;
    double d;
    int b;
    switch (v->row->type) {
    case TN_OPT_STRING:
        if (!(v->s = tn_arena_strdup(o->arena, text))) return no_memory(e);
        v->set = true;
        return TN_OK;
    case TN_OPT_INT:
        return int_of_text(text, &i) ? set_int(v, i, where, e) : bad_value(v, text, where, e);
    case TN_OPT_REAL:
        return real_of_text(text, &d) ? set_real(v, d, where, e) : bad_value(v, text, where, e);
    case TN_OPT_BOOL:
        if ((b = tn_conf_bool_word(text)) < 0) return bad_value(v, text, where, e);
        v->b = b;
        v->set = true;
        return TN_OK;
    case TN_OPT_CHOICE: return set_choice(o, v, text, where, e);
    case TN_OPT_LIST: return tn_conf_set_list(o, v, &text, 1, false, e);
    default: return tn_fail(e, TN_BUG, "option table without a type at '%s'", v->row->name);
    }
}

static const char *json_words(const json_t *x) {
    static const char *const words[] = {"an object", "a list", "a string", "a whole number",
                                        "a number",  "true",   "false",    "null"};
    return words[json_typeof(x)];
}

static tn_status bad_json(const opt_value *v, const json_t *x, const char *where, tn_err *e) {
    if (json_is_string(x)) return bad_value(v, json_string_value(x), where, e);
    return tn_fail(e, TN_ARG, "%s: %s must be %s, found %s%s", where, v->row->name,
                   type_words(v->row), json_words(x),
                   json_is_real(x) && v->row->type == TN_OPT_STRING ? "; put it in quotes" : "");
}

/* A string or a whole number, as text in the arena; NULL for anything else. */
static const char *json_text(tn_opts *o, const json_t *x) {
    char digits[32];
    if (json_is_integer(x)) {
        snprintf(digits, sizeof digits, "%lld", (long long)json_integer_value(x));
        return tn_arena_strdup(o->arena, digits);
    }
    if (!json_is_string(x) || strlen(json_string_value(x)) != json_string_length(x)) return NULL;
    return tn_arena_strdup(o->arena, json_string_value(x));
}

/* An item of a list may also be a number, written as the shortest text that reads back. */
static const char *json_item(tn_opts *o, const json_t *x) {
    if (!json_is_real(x)) return json_text(o, x);
    tn_str t = TN_STR_INIT;
    tn_str_add_f64(&t, json_real_value(x));
    const char *s = t.oom ? NULL : tn_arena_strdup(o->arena, t.s);
    tn_str_free(&t);
    return s;
}

static tn_status set_json_list(tn_opts *o, opt_value *v, const json_t *x, const char *where,
                               tn_err *e) {
    size_t n = json_array_size(x);
    const char **items = tn_arena_zalloc(o->arena, n + 1, sizeof *items);
    if (!items) return no_memory(e);
    for (size_t i = 0; i < n; i++)
        if (!(items[i] = json_item(o, json_array_get(x, i))))
            return bad_json(v, json_array_get(x, i), where, e);
    return tn_conf_set_list(o, v, items, (int)n, false, e);
}

tn_status tn_conf_set_json(tn_opts *o, opt_value *v, const json_t *x, const char *where,
                           tn_err *e) {
    int64_t i;
    if (json_is_null(x)) return TN_OK; /* as if not written */
    if (json_is_array(x) && v->row->type == TN_OPT_LIST) return set_json_list(o, v, x, where, e);
    if (json_is_array(x) && json_array_size(x) == 1)
        return tn_conf_set_json(o, v, json_array_get(x, 0), where, e);
    if (json_is_boolean(x) && v->row->type == TN_OPT_BOOL) {
        v->b = json_is_true(x);
        v->set = true;
        return TN_OK;
    }
    if (json_is_boolean(x) && v->row->type == TN_OPT_CHOICE) /* TRL's scale_rewards: false */
        return tn_conf_set_text(o, v, json_is_true(x) ? "true" : "false", where, e);
    if (json_is_number(x) && v->row->type == TN_OPT_REAL)
        return set_real(v, json_number_value(x), where, e);
    if (json_is_integer(x) && v->row->type == TN_OPT_INT)
        return set_int(v, json_integer_value(x), where, e);
    if (json_is_real(x) && v->row->type == TN_OPT_INT && int_of_real(json_real_value(x), &i))
        return set_int(v, i, where, e);
    const char *text = json_text(o, x);
    return text ? tn_conf_set_text(o, v, text, where, e) : bad_json(v, x, where, e);
}
