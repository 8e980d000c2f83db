#include "oversight/rows.h"
#include "base/mem.h"
#include "data/formats.h"
#include <string.h>

static tn_status add(tn_json_rows *f, json_t *row, const char *where, tn_err *e) {
    if (!TN_GROW(f->row, f->cap_row, f->n + 1) || !TN_GROW(f->where, f->cap_where, f->n + 1) || !(f->where[f->n] = tn_strdup(where)))
        return tn_fail(e, TN_NOMEM, "out of memory");
    f->row[f->n++] = json_incref(row);
    return TN_OK;
}

/* A public set's row gets its prompt beside its own fields. */
static tn_status add_known(tn_json_rows *f, json_t *row, const char *where, int64_t times, tn_err *e) {
    json_t *known = NULL;
    tn_status st = TN_OK;
    if (!json_object_get(row, "prompt") && !json_object_get(row, "messages")) st = tn_row_canonical(row, true, &known, e);
    for (int64_t k = 0; k < times && st == TN_OK; k++) st = add(f, known ? known : row, where, e);
    json_decref(known);
    return st;
}

tn_status tn_json_rows_read(tn_json_rows *f, const char *path, int64_t times, int64_t most, tn_err *e) {
    tn_lines *in = NULL;
    json_t *row = NULL;
    char where[600];
    tn_status st = tn_lines_open(&in, path, (size_t)1 << 26, e);
    while (st == TN_OK && (most == 0 || (int64_t)f->n < most * times) && (st = tn_jsonl_next(in, path, &row, e)) == TN_OK && row) {
        snprintf(where, sizeof where, "%.560s:%ld", path, tn_lines_number(in));
        st = add_known(f, row, where, times, e);
        json_decref(row);
    }
    tn_lines_close(in);
    return st == TN_OK && f->n == 0 ? tn_fail(e, TN_FORMAT, "%s has no rows", path) : st;
}

void tn_json_rows_free(tn_json_rows *f) {
    for (size_t i = 0; i < f->n; i++) {
        json_decref(f->row[i]);
        tn_free(f->where[i]);
    }
    tn_free(f->row);
    tn_free(f->where);
    *f = (tn_json_rows){0};
}

tn_status tn_row_conversation(const json_t *row, json_t **out, const char *where, tn_err *e) {
    const json_t *p = json_object_get(row, "prompt");
    if (!p) p = json_object_get(row, "messages");
    if (json_is_string(p)) {
        *out = json_pack("[{s:s,s:O}]", "role", "user", "content", p);
        return *out ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    }
    size_t n = json_array_size(p);
    if (!json_is_array(p) || n == 0)
        return tn_fail(e, TN_FORMAT, "%s: expected \"prompt\", a text or a list of messages; found %s", where, p ? "something else" : "none");
    for (size_t i = 0; i < n; i++) {
        const char *role = json_string_value(json_object_get(json_array_get(p, i), "role"));
        if (!role || !json_is_string(json_object_get(json_array_get(p, i), "content")))
            return tn_fail(e, TN_FORMAT, "%s: message %zu of \"prompt\" is to have a role and a content", where, i + 1);
        if (i + 1 == n && strcmp(role, "user")) return tn_fail(e, TN_FORMAT, "%s: the last message of \"prompt\" is to be the user's", where);
    }
    *out = json_incref((json_t *)p);
    return TN_OK;
}

const char *tn_answer_text(const json_t *r) {
    if (json_is_array(r)) r = json_array_get(r, json_array_size(r) - 1);
    return json_string_value(json_is_object(r) ? json_object_get(r, "content") : r);
}

tn_status tn_json_row_write(tn_out *out, json_t *row, tn_err *e) {
    tn_str line = TN_STR_INIT;
    tn_status st = row ? tn_json_add(&line, row, JSON_COMPACT, "a row", e) : tn_fail(e, TN_NOMEM, "out of memory");
    tn_str_addc(&line, '\n');
    if (st == TN_OK) st = line.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_out_write(out, line.s, line.len, e);
    tn_str_free(&line);
    json_decref(row);
    return st;
}
