/* YAML to JSON values: maps, sequences, scalars by YAML 1.2's core schema. Anchors, aliases,
 * tags and a second document are refused: recipes are plain data.                          */
#include "conf/internal.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { YAML_DEPTH = 64 };

typedef struct reader {
    yaml_parser_t parser;
    const char *path;
    json_t *marks; /* "CONTAINER/KEY" or "CONTAINER/INDEX" -> place; NULL: not wanted */
} reader;

/* A place as one number. Containers are known by their address: they live as long as the root does. */
enum { COLUMN_BITS = 20 };

static void mark_name(const json_t *in, const char *key, size_t i, tn_str *name) {
    if (key) tn_str_addf(name, "%p/%s", (const void *)in, key);
    else tn_str_addf(name, "%p/%zu", (const void *)in, i);
}

static tn_status mark(reader *r, const json_t *in, const char *key, const yaml_event_t *ev, tn_err *e) {
    if (!r->marks) return TN_OK;
    tn_str name = TN_STR_INIT;
    size_t column = ev->start_mark.column + 1, most = ((size_t)1 << COLUMN_BITS) - 1;
    json_int_t place = (json_int_t)(((ev->start_mark.line + 1) << COLUMN_BITS) + (column < most ? column : most));
    mark_name(in, key, json_array_size(in), &name);
    bool ok = !name.oom && json_object_set_new(r->marks, name.s, json_integer(place)) == 0;
    tn_str_free(&name);
    return ok ? TN_OK : tn_fail(e, TN_NOMEM, "%s: no memory", r->path);
}

bool tn_yaml_mark(const json_t *marks, const json_t *in, const char *key, size_t i, long *line, long *column) {
    tn_str name = TN_STR_INIT;
    mark_name(in, key, i, &name);
    json_int_t place = json_integer_value(json_object_get(marks, name.s));
    tn_str_free(&name);
    *line = (long)(place >> COLUMN_BITS);
    *column = (long)(place & (((json_int_t)1 << COLUMN_BITS) - 1));
    return place > 0;
}

static tn_status yaml_error(reader *r, tn_err *e) {
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) return tn_fail(e, TN_NOMEM, "%s: no memory", r->path);
    if (p->error == YAML_READER_ERROR)
        return tn_fail(e, TN_FORMAT, "%s: %s at byte %zu", r->path,
                       p->problem ? p->problem : "unreadable", p->problem_offset);
    return tn_fail(e, TN_FORMAT, "%s:%zu:%zu: not valid YAML: %s%s%s", r->path,
                   p->problem_mark.line + 1, p->problem_mark.column + 1,
                   p->context ? p->context : "", p->context ? ", " : "",
                   p->problem ? p->problem : "syntax error");
}

static tn_status next_event(reader *r, yaml_event_t *ev, tn_err *e) {
    return yaml_parser_parse(&r->parser, ev) ? TN_OK : yaml_error(r, e);
}

static tn_status at_event(reader *r, const yaml_event_t *ev, const char *what, tn_err *e) {
    return tn_fail(e, TN_FORMAT, "%s:%zu:%zu: %s", r->path, ev->start_mark.line + 1,
                   ev->start_mark.column + 1, what);
}

/* The core schema's number: [-+]? digits [. digits] [e digits], or a leading dot. */
static json_t *plain_number(const char *s) {
    const char *p = s + (*s == '-' || *s == '+');
    size_t whole = strspn(p, "0123456789"), frac = 0;
    bool real = false;
    p += whole;
    if (*p == '.') {
        real = true;
        frac = strspn(p + 1, "0123456789");
        p += 1 + frac;
    }
    if (whole + frac == 0) return NULL;
    if (*p == 'e' || *p == 'E') {
        real = true;
        p += 1 + (p[1] == '-' || p[1] == '+');
        size_t n = strspn(p, "0123456789");
        if (!n) return NULL;
        p += n;
    }
    if (*p) return NULL;
    errno = 0;
    long long i = strtoll(s, NULL, 10);
    if (!real && errno == 0) return json_integer(i);
    return json_real(strtod(s, NULL)); /* NULL for an overflow: the text stays a string */
}

static json_t *scalar(const yaml_event_t *ev) {
    const char *s = (const char *)ev->data.scalar.value;
    size_t n = ev->data.scalar.length;
    if (ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strlen(s) == n) {
        if (!n || !strcmp(s, "~") || !strcasecmp(s, "null")) return json_null();
        if (!strcasecmp(s, "true")) return json_true();
        if (!strcasecmp(s, "false")) return json_false();
        json_t *x = plain_number(s);
        if (x) return x;
    }
    return json_stringn(s, n);
}

static tn_status node(reader *r, yaml_event_t *ev, int depth, json_t **out, tn_err *e);

static tn_status sequence(reader *r, int depth, json_t **out, tn_err *e) {
    json_t *a = json_array();
    tn_status st = a ? TN_OK : tn_fail(e, TN_NOMEM, "%s: no memory", r->path);
    while (st == TN_OK) {
        yaml_event_t ev;
        json_t *x = NULL;
        st = next_event(r, &ev, e);
        if (st != TN_OK) break;
        if (ev.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&ev);
            *out = a;
            return TN_OK;
        }
        st = mark(r, a, NULL, &ev, e);
        if (st == TN_OK) st = node(r, &ev, depth + 1, &x, e);
        yaml_event_delete(&ev);
        if (st == TN_OK && json_array_append_new(a, x) < 0)
            st = tn_fail(e, TN_NOMEM, "%s: no memory", r->path);
    }
    json_decref(a);
    return st;
}

static tn_status map_entry(reader *r, yaml_event_t *key, int depth, json_t *o, tn_err *e) {
    yaml_event_t ev;
    json_t *x = NULL;
    const char *name = (const char *)key->data.scalar.value;
    if (key->type != YAML_SCALAR_EVENT) return at_event(r, key, "a name must be plain text", e);
    if (strlen(name) != key->data.scalar.length)
        return at_event(r, key, "a name with a NUL byte", e);
    if (key->data.scalar.anchor)
        return at_event(r, key, "anchors (&name) are not supported in recipes", e);
    if (json_object_get(o, name))
        return tn_fail(e, TN_FORMAT, "%s:%zu: '%s' is written twice", r->path,
                       key->start_mark.line + 1, name);
    TN_TRY(mark(r, o, name, key, e));
    TN_TRY(next_event(r, &ev, e));
    tn_status st = node(r, &ev, depth + 1, &x, e);
    yaml_event_delete(&ev);
    if (st == TN_OK && json_object_set_new(o, name, x) < 0)
        st = tn_fail(e, TN_NOMEM, "%s: no memory", r->path);
    return st;
}

static tn_status mapping(reader *r, int depth, json_t **out, tn_err *e) {
    json_t *o = json_object();
    tn_status st = o ? TN_OK : tn_fail(e, TN_NOMEM, "%s: no memory", r->path);
    while (st == TN_OK) {
        yaml_event_t ev;
        st = next_event(r, &ev, e);
        if (st != TN_OK) break;
        if (ev.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&ev);
            *out = o;
            return TN_OK;
        }
        st = map_entry(r, &ev, depth, o, e);
        yaml_event_delete(&ev);
    }
    json_decref(o);
    return st;
}

static tn_status node(reader *r, yaml_event_t *ev, int depth, json_t **out, tn_err *e) {
    if (depth > YAML_DEPTH) return at_event(r, ev, "nested too deeply", e);
    if (ev->type == YAML_ALIAS_EVENT)
        return at_event(r, ev, "aliases (*name) are not supported in recipes", e);
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (ev->type == YAML_SCALAR_EVENT) anchor = ev->data.scalar.anchor, tag = ev->data.scalar.tag;
    else if (ev->type == YAML_SEQUENCE_START_EVENT)
        anchor = ev->data.sequence_start.anchor, tag = ev->data.sequence_start.tag;
    else if (ev->type == YAML_MAPPING_START_EVENT)
        anchor = ev->data.mapping_start.anchor, tag = ev->data.mapping_start.tag;
    else return at_event(r, ev, "expected a value", e);
    if (anchor) return at_event(r, ev, "anchors (&name) are not supported in recipes", e);
    if (tag) return at_event(r, ev, "tags (!name) are not supported in recipes", e);
    if (ev->type == YAML_SEQUENCE_START_EVENT) return sequence(r, depth, out, e);
    if (ev->type == YAML_MAPPING_START_EVENT) return mapping(r, depth, out, e);
    *out = scalar(ev);
    return *out ? TN_OK : at_event(r, ev, "text that is not valid UTF-8, or no memory", e);
}

/* Stream start, document start, one node, document end, stream end. An empty stream is null. */
static tn_status document(reader *r, json_t **root, tn_err *e) {
    yaml_event_t ev;
    tn_status st = TN_OK;
    for (;;) {
        TN_TRY(next_event(r, &ev, e));
        yaml_event_type_t type = ev.type;
        if (type == YAML_STREAM_END_EVENT) {
            yaml_event_delete(&ev);
            if (!*root) *root = json_null();
            return TN_OK;
        }
        if (type == YAML_DOCUMENT_START_EVENT && *root)
            st = at_event(r, &ev, "a second document; a recipe is one", e);
        else if (type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_START_EVENT &&
                 type != YAML_DOCUMENT_END_EVENT)
            st = node(r, &ev, 0, root, e);
        yaml_event_delete(&ev);
        TN_TRY(st);
    }
}

tn_status tn_yaml_parse_marked(const char *text, size_t n, const char *where, json_t **root, json_t **marks, tn_err *e) {
    reader r = {.path = where, .marks = marks ? json_object() : NULL};
    *root = NULL;
    if (marks) *marks = NULL;
    if ((marks && !r.marks) || !yaml_parser_initialize(&r.parser)) {
        json_decref(r.marks);
        return tn_fail(e, TN_NOMEM, "%s: no memory", where);
    }
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, n);
    tn_status st = document(&r, root, e);
    yaml_parser_delete(&r.parser);
    if (st == TN_OK && marks) *marks = r.marks;
    if (st == TN_OK) return TN_OK;
    json_decref(r.marks);
    json_decref(*root);
    *root = NULL;
    return st;
}

tn_status tn_yaml_parse(const char *text, size_t n, const char *where, json_t **root, tn_err *e) {
    return tn_yaml_parse_marked(text, n, where, root, NULL, e);
}

tn_status tn_yaml_load(const char *path, json_t **root, tn_err *e) {
    tn_str text = TN_STR_INIT;
    *root = NULL;
    tn_status st = tn_read_file(path, &text, 16 << 20, e);
    if (st == TN_OK) st = tn_yaml_parse(text.s, text.len, path, root, e);
    tn_str_free(&text);
    return st;
}
