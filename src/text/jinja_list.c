/* Filters of chat templates that work on lists and dictionaries. */
#include "text/jinja_int.h"
#include <string.h>

/* "a.b" or an index: what map and selectattr look at. */
static tn_status attribute(jrun *r, jv v, jv name, jv *out) {
    if (name.kind != JV_STR) return tn_jitem(r, v, name, out);
    *out = v;
    for (size_t a = 0; a <= name.s->n;) {
        const char *dot = memchr(name.s->s + a, '.', name.s->n - a);
        size_t b = dot ? (size_t)(dot - name.s->s) : name.s->n;
        jv key, v1 = *out;
        if (v1.kind == JV_UNDEF) return TN_OK;
        TN_TRY(tn_jstr(r, name.s->s + a, b - a, NULL, &key));
        if (v1.kind != JV_DICT && v1.kind != JV_NAMESPACE)
            *out = jv_undef("an attribute");
        else if (!tn_jget(v1.d, key, out))
            *out = jv_undef("an attribute");
        a = b + 1;
    }
    return TN_OK;
}

static tn_status zname(jrun *r, jv v, const char **out) {
    char *z;
    if (v.kind != JV_STR)
        return tn_jraise(r, TN_FORMAT, "the name of a filter or test must be a string");
    if (!(z = tn_jalloc(r, v.s->n + 1))) return r->e->code;
    memcpy(z, v.s->s, v.s->n);
    z[v.s->n] = 0;
    *out = z;
    return TN_OK;
}

/* select, reject, selectattr, rejectattr */
static tn_status select_items(jrun *r, jv list, jargs *a, bool by_attr, bool want, jv *out) {
    size_t skip = by_attr;
    const char *test = NULL;
    if (a->n < skip) return tn_jraise(r, TN_FORMAT, "selectattr needs an attribute");
    if (a->n > skip) TN_TRY(zname(r, a->v[skip], &test));
    jargs rest = {.v = a->v + (a->n > skip ? skip + 1 : a->n),
                  .n = a->n > skip ? a->n - skip - 1 : 0,
                  .kw = a->kw};
    TN_TRY(tn_jlist(r, list.l->n, out));
    for (size_t k = 0; k < list.l->n; k++) {
        jv v = list.l->v[k];
        bool ok;
        if (by_attr) TN_TRY(attribute(r, v, a->v[0], &v));
        ok = tn_jtruth(v);
        if (test) TN_TRY(tn_jtest(r, test, v, &rest, &ok));
        if (ok == want) TN_TRY(tn_jpush(r, *out, list.l->v[k]));
    }
    return TN_OK;
}

static tn_status map_items(jrun *r, jv list, jargs *a, jv *out) {
    jv attr = tn_jarg(a, (size_t)-1, "attribute", jv_none()),
       def = tn_jarg(a, (size_t)-1, "default", jv_undef("an attribute"));
    const char *filter = NULL;
    if (attr.kind == JV_NONE) {
        if (a->n < 1) return tn_jraise(r, TN_FORMAT, "map needs a filter or attribute=");
        TN_TRY(zname(r, a->v[0], &filter));
    }
    jargs rest = {.v = a->v + 1, .n = a->n ? a->n - 1 : 0, .kw = a->kw};
    TN_TRY(tn_jlist(r, list.l->n, out));
    for (size_t k = 0; k < list.l->n; k++) {
        jv v;
        if (filter)
            TN_TRY(tn_jfilter(r, filter, list.l->v[k], &rest, &v));
        else
            TN_TRY(attribute(r, list.l->v[k], attr, &v));
        if (!filter && v.kind == JV_UNDEF) v = def;
        TN_TRY(tn_jpush(r, *out, v));
    }
    return TN_OK;
}

/* The value that decides an order: an attribute, strings without case unless asked. */
static tn_status sort_key(jrun *r, jv v, jv attr, bool case_sensitive, jv *key) {
    *key = v;
    if (attr.kind != JV_NONE) TN_TRY(attribute(r, v, attr, key));
    return key->kind == JV_STR && !case_sensitive ? tn_jcase(r, *key, 'l', key) : TN_OK;
}

static tn_status sorted(jrun *r, jv list, jv attr, bool case_sensitive, bool reverse, jv *out) {
    size_t n = list.l->n;
    jv *keys = tn_jalloc(r, (n + 1) * sizeof *keys);
    if (!keys) return r->e->code;
    TN_TRY(tn_jlist(r, n, out));
    for (size_t k = 0; k < n; k++) { /* insertion: stable, also in reverse */
        jv key;
        TN_TRY(sort_key(r, list.l->v[k], attr, case_sensitive, &key));
        TN_TRY(tn_jpush(r, *out, list.l->v[k]));
        size_t at = k;
        for (int c; at > 0; at--) {
            TN_TRY(tn_jorder(r, keys[at - 1], key, &c));
            if (reverse ? c >= 0 : c <= 0) break;
            keys[at] = keys[at - 1];
            out->l->v[at] = out->l->v[at - 1];
            if (--r->steps < 0) return tn_jraise(r, TN_UNSUPPORTED, "the template runs too long");
        }
        keys[at] = key;
        out->l->v[at] = list.l->v[k];
    }
    return TN_OK;
}

static tn_status pairs(jrun *r, jv v, jv *out) {
    TN_TRY(tn_jlist(r, v.d->n, out));
    for (size_t k = 0; k < v.d->n; k++) {
        jv pair;
        TN_TRY(tn_jlist(r, 2, &pair));
        TN_TRY(tn_jpush(r, pair, v.d->k[k]));
        TN_TRY(tn_jpush(r, pair, v.d->v[k]));
        pair.tuple = true;
        TN_TRY(tn_jpush(r, *out, pair));
    }
    return TN_OK;
}

static tn_status dictsort(jrun *r, jv v, const jargs *a, jv *out) {
    jv by = tn_jarg(a, 1, "by", jv_none()), list, attr;
    if (v.kind != JV_DICT) return tn_jraise(r, TN_FORMAT, "dictsort of a %s", tn_jtype(v));
    TN_TRY(pairs(r, v, &list));
    attr = jv_int(tn_jname_is(by, "value"));
    return sorted(r, list, attr, tn_jtruth(tn_jarg(a, 0, "case_sensitive", jv_bool(false))),
                  tn_jtruth(tn_jarg(a, 2, "reverse", jv_bool(false))), out);
}

static tn_status extreme(jrun *r, jv list, const char *name, const jargs *a, jv *out) {
    jv all, attr = tn_jarg(a, 1, "attribute", jv_none());
    TN_TRY(sorted(r, list, attr, tn_jtruth(tn_jarg(a, 0, "case_sensitive", jv_bool(false))),
                  name[1] == 'a', &all));
    *out = all.l->n ? all.l->v[0] : jv_undef("the extreme of nothing");
    return TN_OK;
}

static tn_status unique(jrun *r, jv list, const jargs *a, jv *out) {
    jv seen, attr = tn_jarg(a, 1, "attribute", jv_none());
    bool with_case = tn_jtruth(tn_jarg(a, 0, "case_sensitive", jv_bool(false)));
    TN_TRY(tn_jlist(r, 4, &seen));
    TN_TRY(tn_jlist(r, 4, out));
    for (size_t k = 0; k < list.l->n; k++) {
        jv key;
        bool in;
        TN_TRY(sort_key(r, list.l->v[k], attr, with_case, &key));
        TN_TRY(tn_jcontains(r, seen, key, &in));
        if (in) continue;
        TN_TRY(tn_jpush(r, seen, key));
        TN_TRY(tn_jpush(r, *out, list.l->v[k]));
    }
    return TN_OK;
}

static tn_status sum(jrun *r, jv list, const jargs *a, jv *out) {
    jv attr = tn_jarg(a, 0, "attribute", jv_none());
    *out = tn_jarg(a, 1, "start", jv_int(0));
    for (size_t k = 0; k < list.l->n; k++) {
        jv v = list.l->v[k];
        if (attr.kind != JV_NONE) TN_TRY(attribute(r, v, attr, &v));
        TN_TRY(tn_jbinary(r, "+", *out, v, out));
    }
    return TN_OK;
}

static tn_status join(jrun *r, jv list, const jargs *a, jv *out) {
    jv sep = tn_jarg(a, 0, "d", jv_none()), attr = tn_jarg(a, 1, "attribute", jv_none()),
       parts = list;
    if (sep.kind == JV_NONE) TN_TRY(tn_jstrz(r, "", &sep));
    if (sep.kind != JV_STR) TN_TRY(tn_jto_str(r, sep, &sep));
    if (attr.kind != JV_NONE) {
        TN_TRY(tn_jlist(r, list.l->n, &parts));
        for (size_t k = 0; k < list.l->n; k++) {
            jv v;
            TN_TRY(attribute(r, list.l->v[k], attr, &v));
            TN_TRY(tn_jpush(r, parts, v));
        }
    }
    return tn_jjoin(r, sep, parts, out);
}

static tn_status reversed(jrun *r, jv v, jv list, jv *out) {
    TN_TRY(tn_jlist(r, list.l->n, out));
    for (size_t k = list.l->n; k > 0; k--) TN_TRY(tn_jpush(r, *out, list.l->v[k - 1]));
    if (v.kind != JV_STR) return TN_OK;
    jv empty, text = *out;
    TN_TRY(tn_jstrz(r, "", &empty));
    return tn_jjoin(r, empty, text, out);
}

tn_status tn_jfilter_list(jrun *r, const char *name, jv v, jargs *a, jv *out, bool *known) {
    static const char *const names[] = {"first", "last",     "list",   "join",       "reverse",
                                        "sort",  "unique",   "sum",    "min",        "max",
                                        "map",   "select",   "reject", "selectattr", "rejectattr",
                                        "items", "dictsort", NULL};
    jv list;
    int k = 0;
    while (names[k] && strcmp(names[k], name)) k++;
    *known = names[k] != NULL;
    if (!*known) return TN_OK;
    if (!strcmp(name, "dictsort")) return dictsort(r, v, a, out);
    if (!strcmp(name, "items")) {
        if (v.kind == JV_UNDEF) return tn_jlist(r, 0, out);
        return v.kind == JV_DICT
                   ? pairs(r, v, out)
                   : tn_jraise(r, TN_FORMAT, "Can only get item pairs from a mapping.");
    }
    if (k >= 10 && !tn_jtruth(v))
        return tn_jlist(r, 0, out); /* map and the selections take none for nothing */
    TN_TRY(tn_jitems(r, v, &list));
    switch (k) {
    case 0:
        *out = list.l->n ? list.l->v[0] : jv_undef("the first item of an empty sequence");
        return TN_OK;
    case 1:
        *out =
            list.l->n ? list.l->v[list.l->n - 1] : jv_undef("the last item of an empty sequence");
        return TN_OK;
    case 2:
        TN_TRY(tn_jlist(r, list.l->n, out));
        for (size_t i = 0; i < list.l->n; i++) TN_TRY(tn_jpush(r, *out, list.l->v[i]));
        return TN_OK;
    case 3:
        return join(r, list, a, out);
    case 4:
        return reversed(r, v, list, out);
    case 5:
        return sorted(r, list, tn_jarg(a, 2, "attribute", jv_none()),
                      tn_jtruth(tn_jarg(a, 1, "case_sensitive", jv_bool(false))),
                      tn_jtruth(tn_jarg(a, 0, "reverse", jv_bool(false))), out);
    case 6:
        return unique(r, list, a, out);
    case 7:
        return sum(r, list, a, out);
    case 8:
    case 9:
        return extreme(r, list, name, a, out);
    case 10:
        return map_items(r, list, a, out);
    default:
        return select_items(r, list, a, strstr(name, "attr") != NULL, name[0] == 's', out);
    }
}
