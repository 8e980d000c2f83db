/* JSON loading, saving, typed members, JSONL rows. */
#include "base/json.h"
#include "base/json_mem.h"
#include <limits.h>
#include <math.h>
#include <string.h>

static const char *type_name(json_type t) {
    switch (t) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number";
    case JSON_TRUE: case JSON_FALSE: return "true or false";
    default: return "null";
    }
}

static const char *kind_of(const json_t *v) { return v ? type_name(json_typeof(v)) : "nothing"; }

/* ---- text to values ---- */

tn_status tn_json_parse(const char *text, size_t n, const char *where, json_t **root, tn_err *e) {
    json_error_t je;
    if (n >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) { /* a byte order mark */
        text += 3;
        n -= 3;
    }
    TN_TRY(tn_json_load_text(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, where, root,
                             &je, e));
    if (*root) return TN_OK;
    if (je.line > 1 || memchr(text, '\n', n))
        return tn_fail(e, TN_FORMAT, "%s: not valid JSON at line %d, column %d: %s", where, je.line,
                       je.column, je.text);
    return tn_fail(e, TN_FORMAT, "%s: not valid JSON at column %d: %s", where, je.column, je.text);
}

tn_status tn_json_load(const char *path, json_t **root, tn_err *e) {
    tn_str text = TN_STR_INIT;
    *root = NULL;
    tn_status st = tn_read_file(path, &text, (size_t)1 << 31, e);
    if (st == TN_OK) st = tn_json_parse(text.s, text.len, path, root, e);
    tn_str_free(&text);
    return st;
}

static int dump_to_str(const char *p, size_t n, void *ctx) {
    tn_str_add(ctx, p, n);
    return ((tn_str *)ctx)->oom ? -1 : 0;
}

tn_status tn_json_add(tn_str *out, const json_t *v, size_t flags, const char *what, tn_err *e) {
    TN_TRY(tn_json_check(what, e)); /* of the value itself */
    int failed = json_dump_callback(v, dump_to_str, out, flags | JSON_ENCODE_ANY);
    TN_TRY(tn_json_check(what, e)); /* of the text */
    if (!failed && !out->oom) return TN_OK;
    return tn_fail(e, TN_NOMEM, "no memory for the JSON text of %s", what);
}

tn_status tn_json_save(const char *path, const json_t *root, bool sorted, tn_err *e) {
    tn_str text = TN_STR_INIT;
    size_t flags = JSON_INDENT(2) | JSON_REAL_PRECISION(17) | (sorted ? JSON_SORT_KEYS : 0);
    tn_status st = tn_json_add(&text, root, flags, path, e);
    tn_str_addc(&text, '\n');
    if (st == TN_OK)
        st = text.oom ? tn_fail(e, TN_NOMEM, "no memory for the JSON text of %s", path)
                      : tn_write_file(path, text.s, text.len, e);
    tn_str_free(&text);
    return st;
}

/* ---- members ---- */

static tn_status wrong_type(const json_t *v, const char *key, const char *want, const char *where,
                            tn_err *e) {
    return tn_fail(e, TN_FORMAT, "%s: \"%s\" must be %s, found %s", where, key, want, kind_of(v));
}

/* *v = the member, or NULL when missing or null. */
static tn_status member(const json_t *o, const char *key, json_t **v, const char *where,
                        tn_err *e) {
    *v = NULL;
    if (!json_is_object(o))
        return tn_fail(e, TN_FORMAT, "%s: expected an object with \"%s\", found %s", where, key,
                       kind_of(o));
    json_t *m = json_object_get(o, key);
    if (!json_is_null(m)) *v = m;
    return TN_OK;
}

/* Whole numbers written as reals (1e3, 2.0) count as integers. */
static bool as_int(const json_t *v, int64_t *out) {
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    if (!json_is_real(v)) return false;
    double d = json_real_value(v);
    if (d != floor(d) || fabs(d) > 9007199254740992.0) return false;
    *out = (int64_t)d;
    return true;
}

tn_status tn_json_int(const json_t *o, const char *key, int64_t def, int64_t *out,
                      const char *where, tn_err *e) {
    json_t *v;
    *out = def;
    TN_TRY(member(o, key, &v, where, e));
    if (v && !as_int(v, out)) return wrong_type(v, key, "an integer", where, e);
    return TN_OK;
}

tn_status tn_json_real(const json_t *o, const char *key, double def, double *out, const char *where,
                       tn_err *e) {
    json_t *v;
    *out = def;
    TN_TRY(member(o, key, &v, where, e));
    if (!v) return TN_OK;
    if (!json_is_number(v)) return wrong_type(v, key, "a number", where, e);
    *out = json_number_value(v);
    return TN_OK;
}

tn_status tn_json_bool(const json_t *o, const char *key, bool def, bool *out, const char *where,
                       tn_err *e) {
    json_t *v;
    *out = def;
    TN_TRY(member(o, key, &v, where, e));
    if (!v) return TN_OK;
    if (!json_is_boolean(v)) return wrong_type(v, key, "true or false", where, e);
    *out = json_is_true(v);
    return TN_OK;
}

tn_status tn_json_str(const json_t *o, const char *key, const char *def, const char **out,
                      const char *where, tn_err *e) {
    json_t *v;
    *out = def;
    TN_TRY(member(o, key, &v, where, e));
    if (!v) return TN_OK;
    if (!json_is_string(v)) return wrong_type(v, key, "a string", where, e);
    *out = json_string_value(v);
    return TN_OK;
}

tn_status tn_json_need(const json_t *o, const char *key, json_type type, json_t **out,
                       const char *where, tn_err *e) {
    json_t *v;
    *out = NULL;
    TN_TRY(member(o, key, &v, where, e));
    if (!v)
        return tn_fail(e, TN_FORMAT, "%s: \"%s\" is missing (expected %s)", where, key,
                       type_name(type));
    json_type t = json_typeof(v);
    bool both_bool = json_is_boolean(v) && (type == JSON_TRUE || type == JSON_FALSE);
    bool number = type == JSON_REAL && t == JSON_INTEGER;
    if (t != type && !both_bool && !number) return wrong_type(v, key, type_name(type), where, e);
    *out = v;
    return TN_OK;
}

tn_status tn_json_need_real(const json_t *o, const char *key, double *out, const char *where, tn_err *e) {
    json_t *v;
    *out = 0;
    TN_TRY(member(o, key, &v, where, e));
    if (!v) return tn_fail(e, TN_FORMAT, "%s: \"%s\" is missing (expected a number)", where, key);
    if (!json_is_number(v)) return wrong_type(v, key, "a number", where, e);
    *out = json_number_value(v);
    return TN_OK;
}

tn_status tn_json_need_int(const json_t *o, const char *key, int64_t *out, const char *where,
                           tn_err *e) {
    json_t *v;
    *out = 0;
    TN_TRY(member(o, key, &v, where, e));
    if (!v) return tn_fail(e, TN_FORMAT, "%s: \"%s\" is missing (expected an integer)", where, key);
    return as_int(v, out) ? TN_OK : wrong_type(v, key, "an integer", where, e);
}

tn_status tn_json_need_str(const json_t *o, const char *key, const char **out, const char *where,
                           tn_err *e) {
    json_t *v;
    *out = NULL;
    TN_TRY(tn_json_need(o, key, JSON_STRING, &v, where, e));
    *out = json_string_value(v);
    return TN_OK;
}

/* ---- JSONL ---- */

static bool blank(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (s[i] != ' ' && s[i] != '\t' && s[i] != '\r') return false;
    return true;
}

json_t *tn_json_number(double x) { return isnan(x) ? json_null() : json_real(x); }

tn_status tn_jsonl_next(tn_lines *r, const char *path, json_t **row, tn_err *e) {
    const char *line;
    size_t len;
    char where[512];
    *row = NULL;
    do {
        TN_TRY(tn_lines_next(r, &line, &len, e));
        if (!line) return TN_OK;
    } while (blank(line, len));
    snprintf(where, sizeof where, "%s:%ld", path, tn_lines_number(r));
    TN_TRY(tn_json_parse(line, len, where, row, e));
    if (json_is_object(*row)) return TN_OK;
    tn_status st = tn_fail(
        e, TN_FORMAT, "%s: every line must be a JSON object, found %s%s", where, kind_of(*row),
        json_is_array(*row) ? "; a JSON array must be rewritten with one object a line" : "");
    json_decref(*row);
    *row = NULL;
    return st;
}

tn_status tn_json_ids(const json_t *a, int vocab, int32_t **ids, size_t *n, const char *where,
                      tn_err *e) {
    *ids = NULL;
    *n = 0;
    if (!json_is_array(a))
        return tn_fail(e, TN_FORMAT, "%s: token ids must be an array, found %s", where, kind_of(a));
    size_t len = json_array_size(a);
    int64_t end = vocab > 0 ? vocab : (int64_t)INT32_MAX + 1;
    int32_t *v = tn_calloc(len, sizeof *v);
    if (!v) return tn_fail(e, TN_NOMEM, "%s: no memory for %zu token ids", where, len);
    for (size_t i = 0; i < len; i++) {
        const json_t *x = json_array_get(a, i);
        int64_t id = json_is_integer(x) ? json_integer_value(x) : -1;
        if (json_is_integer(x) && id >= 0 && id < end) {
            v[i] = (int32_t)id;
            continue;
        }
        tn_free(v);
        if (!json_is_integer(x))
            return tn_fail(e, TN_FORMAT, "%s: token id %zu must be an integer, found %s", where, i,
                           kind_of(x));
        return tn_fail(e, TN_FORMAT, "%s: token id %zu is %lld, outside [0, %lld)", where, i,
                       (long long)id, (long long)end);
    }
    *ids = v;
    *n = len;
    return TN_OK;
}
