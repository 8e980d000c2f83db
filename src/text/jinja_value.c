/* Values of the template interpreter: making, comparing, iterating. All in the run's arena. */
#include "text/jinja_int.h"
#include "text/unicode.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

tn_status tn_jraise(jrun *r, tn_status code, const char *fmt, ...) {
    char msg[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    return tn_fail(r->e, code, "chat template, line %d: %s", r->line, msg);
}

void *tn_jalloc(jrun *r, size_t n) {
    void *p = NULL;
    if (tn_arena_used(r->arena) + n < r->limit)
        p = tn_arena_alloc(r->arena, n);
    else {
        tn_jraise(r, TN_UNSUPPORTED, "the template makes more than %zu MB of values",
                  r->limit >> 20);
        return NULL;
    }
    if (!p) tn_jraise(r, TN_NOMEM, "no memory");
    return p;
}

tn_status tn_jstr(jrun *r, const char *s, size_t n, const uint16_t *tag, jv *out) {
    jstr *v = tn_jalloc(r, sizeof *v);
    if (!v) return r->e->code;
    *v = (jstr){s, n, tag};
    *out = (jv){.kind = JV_STR, .s = v};
    return TN_OK;
}

tn_status tn_jstrz(jrun *r, const char *s, jv *out) { return tn_jstr(r, s, strlen(s), NULL, out); }

tn_status tn_jlist(jrun *r, size_t cap, jv *out) {
    jlist *l = tn_jalloc(r, sizeof *l);
    if (!l) return r->e->code;
    *l = (jlist){.cap = cap ? cap : 4};
    l->v = tn_jalloc(r, l->cap * sizeof *l->v);
    if (!l->v) return r->e->code;
    *out = (jv){.kind = JV_LIST, .l = l};
    return TN_OK;
}

tn_status tn_jpush(jrun *r, jv list, jv v) {
    jlist *l = list.l;
    if (l->n == l->cap) {
        jv *more = tn_jalloc(r, 2 * l->cap * sizeof *more);
        if (!more) return r->e->code;
        memcpy(more, l->v, l->n * sizeof *more);
        l->v = more;
        l->cap *= 2;
    }
    l->v[l->n++] = v;
    return TN_OK;
}

tn_status tn_jdict(jrun *r, jv *out) {
    jdict *d = tn_jalloc(r, sizeof *d);
    if (!d) return r->e->code;
    *d = (jdict){0};
    *out = (jv){.kind = JV_DICT, .d = d};
    return TN_OK;
}

tn_status tn_jput(jrun *r, jdict *d, jv k, jv v) {
    r->steps -= (long)(d->n / 16);
    for (size_t i = 0; i < d->n; i++)
        if (tn_jequal(d->k[i], k)) {
            d->v[i] = v;
            return TN_OK;
        }
    if (d->n == d->cap) {
        size_t cap = d->cap ? 2 * d->cap : 4;
        jv *nk = tn_jalloc(r, cap * sizeof *nk), *nv = tn_jalloc(r, cap * sizeof *nv);
        if (!nk || !nv) return r->e->code;
        if (d->n) {
            memcpy(nk, d->k, d->n * sizeof *nk);
            memcpy(nv, d->v, d->n * sizeof *nv);
        }
        d->k = nk;
        d->v = nv;
        d->cap = cap;
    }
    d->k[d->n] = k;
    d->v[d->n++] = v;
    return TN_OK;
}

bool tn_jget(const jdict *d, jv k, jv *out) {
    for (size_t i = 0; i < d->n; i++)
        if (tn_jequal(d->k[i], k)) {
            *out = d->v[i];
            return true;
        }
    return false;
}

bool tn_jname_is(jv v, const char *s) {
    return v.kind == JV_STR && v.s->n == strlen(s) && !memcmp(v.s->s, s, v.s->n);
}

bool tn_jgetz(const jdict *d, const char *k, jv *out) {
    for (size_t i = 0; i < d->n; i++)
        if (tn_jname_is(d->k[i], k)) {
            *out = d->v[i];
            return true;
        }
    return false;
}

const char *tn_jtype(jv v) {
    static const char *const names[] = {
        "Undefined", "NoneType",  "bool",        "int",   "float",  "str",     "list",
        "dict",      "Namespace", "LoopContext", "Macro", "method", "function"};
    return v.kind == JV_LIST && v.tuple ? "tuple" : names[v.kind];
}

tn_status tn_jdefined(jrun *r, jv v) {
    if (v.kind != JV_UNDEF) return TN_OK;
    if (v.name) return tn_jraise(r, TN_FORMAT, "'%.60s' is undefined", v.name);
    return tn_jraise(r, TN_FORMAT, "an undefined value is used");
}

bool tn_jtruth(jv v) {
    switch (v.kind) {
    case JV_UNDEF:
    case JV_NONE:
        return false;
    case JV_BOOL:
        return v.b;
    case JV_INT:
        return v.i != 0;
    case JV_FLOAT:
        return v.f != 0;
    case JV_STR:
        return v.s->n > 0;
    case JV_LIST:
        return v.l->n > 0;
    case JV_DICT:
        return v.d->n > 0;
    default:
        return true;
    }
}

bool tn_jnumber(jv v, double *f) {
    if (v.kind == JV_FLOAT)
        *f = v.f;
    else if (v.kind == JV_INT)
        *f = (double)v.i;
    else if (v.kind == JV_BOOL)
        *f = v.b;
    else
        return false;
    return true;
}

static bool equal(jv a, jv b, int depth) {
    double x, y;
    if (depth > 50) return false;
    if (tn_jnumber(a, &x) && tn_jnumber(b, &y))
        return a.kind == JV_INT && b.kind == JV_INT ? a.i == b.i : x == y;
    if (a.kind != b.kind) return false;
    switch (a.kind) {
    case JV_UNDEF:
    case JV_NONE:
        return true;
    case JV_STR:
        return a.s->n == b.s->n && (a.s->n == 0 || !memcmp(a.s->s, b.s->s, a.s->n));
    case JV_LIST:
        if (a.l->n != b.l->n || a.tuple != b.tuple) return false;
        for (size_t k = 0; k < a.l->n; k++)
            if (!equal(a.l->v[k], b.l->v[k], depth + 1)) return false;
        return true;
    case JV_DICT:
        if (a.d->n != b.d->n) return false;
        for (size_t k = 0; k < a.d->n; k++) {
            jv other;
            if (!tn_jget(b.d, a.d->k[k], &other) || !equal(a.d->v[k], other, depth + 1))
                return false;
        }
        return true;
    case JV_METHOD:
        return a.method == b.method;
    case JV_FUNC:
        return !strcmp(a.name, b.name);
    default:
        return a.d == b.d;
    }
}

bool tn_jequal(jv a, jv b) { return equal(a, b, 0); }

tn_status tn_jorder(jrun *r, jv a, jv b, int *cmp) {
    double x, y;
    TN_TRY(tn_jdefined(r, a));
    TN_TRY(tn_jdefined(r, b));
    if (a.kind == JV_INT && b.kind == JV_INT) {
        *cmp = a.i < b.i ? -1 : a.i > b.i;
        return TN_OK;
    }
    if (tn_jnumber(a, &x) && tn_jnumber(b, &y)) {
        *cmp = x < y ? -1 : x > y;
        return TN_OK;
    }
    if (a.kind == JV_STR && b.kind == JV_STR) { /* UTF-8 keeps the order of code points */
        size_t n = a.s->n < b.s->n ? a.s->n : b.s->n;
        int c = n ? memcmp(a.s->s, b.s->s, n) : 0;
        *cmp = c ? (c < 0 ? -1 : 1) : a.s->n < b.s->n ? -1 : a.s->n > b.s->n;
        return TN_OK;
    }
    if (a.kind == JV_LIST && b.kind == JV_LIST) {
        if (++r->depth > 500) return tn_jraise(r, TN_UNSUPPORTED, "values nested too deep");
        for (size_t k = 0; k < a.l->n && k < b.l->n; k++) {
            TN_TRY(tn_jorder(r, a.l->v[k], b.l->v[k], cmp));
            if (*cmp) {
                r->depth--;
                return TN_OK;
            }
        }
        r->depth--;
        *cmp = a.l->n < b.l->n ? -1 : a.l->n > b.l->n;
        return TN_OK;
    }
    return tn_jraise(r, TN_FORMAT, "'%s' and '%s' have no order", tn_jtype(a), tn_jtype(b));
}

tn_status tn_jitems(jrun *r, jv v, jv *list) {
    if (v.kind == JV_LIST) {
        *list = v;
        return TN_OK;
    }
    TN_TRY(tn_jlist(r, v.kind == JV_DICT ? v.d->n : 4, list));
    switch (v.kind) {
    case JV_UNDEF:
        return TN_OK;
    case JV_DICT:
        for (size_t k = 0; k < v.d->n; k++) TN_TRY(tn_jpush(r, *list, v.d->k[k]));
        return TN_OK;
    case JV_STR:
        for (size_t i = 0; i < v.s->n;) {
            size_t from = i;
            tn_status st = TN_OK;
            tn_utf8_next(v.s->s, &i);
            jv one = tn_jsub(r, v.s, from, i, &st);
            TN_TRY(st);
            TN_TRY(tn_jpush(r, *list, one));
        }
        return TN_OK;
    default:
        return tn_jraise(r, TN_FORMAT, "'%s' object is not iterable", tn_jtype(v));
    }
}

tn_status tn_jcontains(jrun *r, jv box, jv v, bool *in) {
    jv skip;
    *in = false;
    if (box.kind == JV_STR) {
        if (v.kind != JV_STR)
            return tn_jraise(r, TN_FORMAT, "'in <string>' requires string as left operand, not %s",
                             tn_jtype(v));
        *in = v.s->n == 0 || memmem(box.s->s, box.s->n, v.s->s, v.s->n) != NULL;
        return TN_OK;
    }
    if (box.kind == JV_DICT) {
        *in = tn_jget(box.d, v, &skip);
        return TN_OK;
    }
    jv list;
    TN_TRY(tn_jitems(r, box, &list));
    r->steps -= (long)list.l->n / 16;
    for (size_t k = 0; k < list.l->n && !*in; k++) *in = tn_jequal(list.l->v[k], v);
    return TN_OK;
}

tn_status tn_jfrom_json(jrun *r, const json_t *j, int depth, jv *out) {
    if (depth > 100) return tn_jraise(r, TN_UNSUPPORTED, "a variable nested deeper than 100");
    switch (json_typeof(j)) {
    case JSON_NULL:
        *out = jv_none();
        return TN_OK;
    case JSON_TRUE:
    case JSON_FALSE:
        *out = jv_bool(json_is_true(j));
        return TN_OK;
    case JSON_INTEGER:
        *out = jv_int(json_integer_value(j));
        return TN_OK;
    case JSON_REAL:
        *out = jv_float(json_real_value(j));
        return TN_OK;
    case JSON_STRING:
        return tn_jstr(r, json_string_value(j), json_string_length(j), NULL, out);
    case JSON_ARRAY: {
        size_t k;
        json_t *v;
        TN_TRY(tn_jlist(r, json_array_size(j), out));
        json_array_foreach(j, k, v) {
            jv one;
            TN_TRY(tn_jfrom_json(r, v, depth + 1, &one));
            TN_TRY(tn_jpush(r, *out, one));
        }
        return TN_OK;
    }
    default:
        break;
    }
    const char *key;
    size_t len;
    json_t *v;
    TN_TRY(tn_jdict(r, out));
    json_object_keylen_foreach((json_t *)j, key, len, v) {
        jv k, one;
        TN_TRY(tn_jstr(r, key, len, NULL, &k));
        TN_TRY(tn_jfrom_json(r, v, depth + 1, &one));
        TN_TRY(tn_jput(r, out->d, k, one));
    }
    return TN_OK;
}
