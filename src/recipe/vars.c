/* Places in a recipe, its variables, and texts with variables in them. */
#include "recipe/internal.h"
#include <stdio.h>
#include <string.h>

enum { NAMES = 512 };

void tn_recipe_where(const recipe_reader *x, recipe_place at, char *out, size_t cap) {
    long line, column;
    if (at.in && tn_yaml_mark(x->marks, at.in, at.key, at.i, &line, &column))
        snprintf(out, cap, "%.200s:%ld:%ld", x->r->path, line, column);
    else snprintf(out, cap, "%.200s", x->r->path);
}

tn_status tn_recipe_fail(const recipe_reader *x, recipe_place at, tn_err *e, const char *fmt, ...) {
    char where[300], text[640];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    tn_recipe_where(x, at, where, sizeof where);
    return tn_fail(e, TN_ARG, "%s: %s", where, text);
}

void tn_recipe_near(const char *what, const char *const *names, size_t n, char *out, size_t cap) {
    char start[64];
    snprintf(start, sizeof start, "%s", what);
    const char *near = tn_nearest(start, names, n);
    snprintf(out, cap, "%s%.100s%s", near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* ---- variables ---- */

static bool name_char(char c, bool first) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    return letter || (!first && ((c >= '0' && c <= '9') || c == '-'));
}

static bool good_name(const char *s) {
    for (size_t i = 0; s[i]; i++)
        if (!name_char(s[i], i == 0)) return false;
    return *s != 0 && strcmp(s, "out") != 0;
}

/* The nearest variable, in the words of tn_recipe_near. */
static void near_var(const recipe_reader *x, const char *name, char *out, size_t cap) {
    const char *names[NAMES] = {"out"}, *key;
    json_t *v;
    size_t n = 1;
    json_object_foreach(x->r->vars, key, v)
        if (n < NAMES) names[n++] = key;
    tn_recipe_near(name, names, n, out, cap);
}

static tn_status no_memory(const recipe_reader *x, tn_err *e) { return tn_fail(e, TN_NOMEM, "%s: out of memory", x->r->path); }

/* Text of a plain value; "" is one, null is none. */
static tn_status scalar_text(const recipe_reader *x, recipe_place at, const json_t *v, json_t **out, tn_err *e) {
    tn_str t = TN_STR_INIT;
    if (json_is_string(v)) tn_str_add(&t, json_string_value(v), json_string_length(v));
    else if (json_is_integer(v)) tn_str_addf(&t, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v)) tn_str_add_f64(&t, json_real_value(v));
    else if (json_is_boolean(v)) tn_str_addz(&t, json_is_true(v) ? "true" : "false");
    else if (!json_is_null(v)) return tn_recipe_fail(x, at, e, "a variable is a text, a number, true or false");
    bool nul = strlen(t.s) != t.len;
    *out = t.oom || nul ? NULL : json_is_null(v) ? json_null() : json_stringn(t.s, t.len);
    tn_str_free(&t);
    return nul ? tn_recipe_fail(x, at, e, "a NUL byte in a variable") : *out ? TN_OK : no_memory(x, e);
}

static tn_status set_var(recipe_reader *x, const char *text, tn_err *e) {
    const char *eq = strchr(text, '=');
    char name[128], near[160];
    if (!eq || eq == text) return tn_fail(e, TN_ARG, "--set %s: NAME=VALUE is expected, like --set seed=2", text);
    snprintf(name, sizeof name, "%.*s", (int)(eq - text), text);
    if (!json_object_get(x->r->vars, name)) {
        near_var(x, name, near, sizeof near);
        return tn_fail(e, TN_ARG, "--set %s: %s has no variable '%s'%s ('tenet run %s --list' shows them)", text, x->r->path, name, near,
                       x->r->path);
    }
    return json_object_set_new(x->r->vars, name, json_string(eq + 1)) == 0
               ? TN_OK
               : tn_fail(e, TN_ARG, "--set %s: the value is not valid UTF-8", name);
}

/* All that have to be given, in one message. */
static tn_status check_given(const recipe_reader *x, const json_t *vars, tn_err *e) {
    const char *key, *first = NULL;
    json_t *v;
    tn_str names = TN_STR_INIT, give = TN_STR_INIT;
    json_object_foreach(x->r->vars, key, v) {
        if (!json_is_null(v)) continue;
        tn_str_addf(&names, "%s'%s'", first ? ", " : "", key);
        tn_str_addf(&give, " %s=VALUE", key);
        if (!first) first = key;
    }
    tn_status st = !first ? TN_OK : tn_recipe_fail(x, (recipe_place){vars, first, 0}, e, "no value of %.300s; give --set%.300s", names.s, give.s);
    tn_str_free(&names);
    tn_str_free(&give);
    return st;
}

tn_status tn_recipe_read_vars(recipe_reader *x, json_t *vars, tn_opt_list set, tn_err *e) {
    const char *key;
    json_t *v;
    if (vars && !json_is_object(vars) && !json_is_null(vars))
        return tn_recipe_fail(x, (recipe_place){x->root, "vars", 0}, e, "vars are 'name: value' lines");
    json_object_foreach(vars, key, v) {
        recipe_place at = {vars, key, 0};
        json_t *text = NULL;
        if (!good_name(key))
            return tn_recipe_fail(x, at, e, "'%.60s' cannot be a variable's name: letters, digits, - and _, and not 'out'", key);
        TN_TRY(scalar_text(x, at, v, &text, e));
        if (json_object_set_new(x->r->vars, key, text) < 0) return no_memory(x, e);
    }
    for (int i = 0; i < set.n; i++) TN_TRY(set_var(x, set.v[i], e));
    return check_given(x, vars, e);
}

/* ---- texts ---- */

/* Adds the value of the variable that begins at s ("${"); *n: bytes of it. */
static tn_status expand_one(recipe_reader *x, recipe_place at, const char *s, size_t *n, tn_str *out, tn_err *e) {
    char name[128], near[160];
    const char *end = strchr(s, '}');
    if (!end) return tn_recipe_fail(x, at, e, "'%.40s' has no '}' ($$ is a dollar sign)", s);
    *n = (size_t)(end - s) + 1;
    snprintf(name, sizeof name, "%.*s", (int)(end - s) - 2, s + 2);
    json_t *v = json_object_get(x->r->vars, name);
    if (!strcmp(name, "out")) tn_str_addz(out, x->r->out);
    else if (json_is_string(v)) tn_str_addz(out, json_string_value(v));
    else {
        near_var(x, name, near, sizeof near);
        return tn_recipe_fail(x, at, e, "no variable '%s' among vars%s", name, near);
    }
    return TN_OK;
}

tn_status tn_recipe_expand(recipe_reader *x, recipe_place at, const json_t *text, const char **out, tn_err *e) {
    enum { LONGEST = 1 << 20 }; /* many uses of a long variable */
    const char *s = json_string_value(text);
    tn_str t = TN_STR_INIT;
    tn_status st = TN_OK;
    *out = NULL;
    if (!s || strlen(s) != json_string_length(text)) return tn_recipe_fail(x, at, e, s ? "a NUL byte" : "a text is expected");
    while (*s && st == TN_OK) {
        size_t n = 1;
        if (s[0] == '$' && s[1] == '{') st = expand_one(x, at, s, &n, &t, e);
        else tn_str_addc(&t, *s), n += s[0] == '$' && s[1] == '$';
        s += n;
        if (st == TN_OK && t.len > LONGEST) st = tn_recipe_fail(x, at, e, "the text is longer than %d bytes", LONGEST);
    }
    if (st == TN_OK) *out = t.oom ? NULL : tn_arena_memdup0(x->r->arena, t.s, t.len);
    tn_str_free(&t);
    return st == TN_OK && !*out ? no_memory(x, e) : st;
}
