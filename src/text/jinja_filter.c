/* Filters and global functions of chat templates. */
#include "text/jinja_int.h"
#include "text/unicode.h"
#include "base/log.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static tn_status need_str(jrun *r, const char *what, jv v, jv *out) {
    if (v.kind == JV_STR) {
        *out = v;
        return TN_OK;
    }
    if (v.kind == JV_UNDEF || v.kind == JV_INT || v.kind == JV_FLOAT || v.kind == JV_BOOL ||
        v.kind == JV_NONE)
        return tn_jto_str(r, v, out);
    return tn_jraise(r, TN_FORMAT, "%s of a %s", what, tn_jtype(v));
}

static tn_status length(jrun *r, jv v, jv *out) {
    if (v.kind == JV_STR)
        *out = jv_int((int64_t)tn_jlen(v.s));
    else if (v.kind == JV_LIST)
        *out = jv_int((int64_t)v.l->n);
    else if (v.kind == JV_DICT)
        *out = jv_int((int64_t)v.d->n);
    else if (v.kind == JV_UNDEF)
        *out = jv_int(0);
    else
        return tn_jraise(r, TN_FORMAT, "object of type '%s' has no len()", tn_jtype(v));
    return TN_OK;
}

static tn_status tojson(jrun *r, jv v, const jargs *a, jv *out) {
    jv ascii = tn_jarg(a, 0, "ensure_ascii", jv_bool(false)),
       indent = tn_jarg(a, 1, "indent", jv_none());
    jv separators = tn_jarg(a, 2, "separators", jv_none()),
       sort = tn_jarg(a, 3, "sort_keys", jv_bool(false));
    jbuf b = {0};
    jjson how = {.indent = -1,
                 .ascii = tn_jtruth(ascii),
                 .sort = tn_jtruth(sort),
                 .item = ", ",
                 .key = ": "};
    if (indent.kind == JV_INT) {
        if (indent.i > 64)
            return tn_jraise(r, TN_UNSUPPORTED, "tojson with indent %lld", (long long)indent.i);
        how.indent = indent.i < 0 ? 0 : (int)indent.i;
        how.item = ",";
    } else if (indent.kind != JV_NONE) {
        return tn_jraise(r, TN_UNSUPPORTED, "tojson with an indent that is no number");
    }
    if (separators.kind == JV_LIST && separators.l->n == 2 && separators.l->v[0].kind == JV_STR &&
        separators.l->v[1].kind == JV_STR) {
        const char *text[2];
        for (int k = 0; k < 2; k++) {
            const jstr *s = separators.l->v[k].s;
            char *z = tn_jalloc(r, s->n + 1);
            if (!z) return r->e->code;
            memcpy(z, s->s, s->n);
            z[s->n] = 0;
            text[k] = z;
        }
        how.item = text[0];
        how.key = text[1];
    } else if (separators.kind != JV_NONE) {
        return tn_jraise(r, TN_FORMAT, "tojson: separators must be a pair of strings");
    }
    TN_TRY(tn_jdump(r, &b, v, &how, 0));
    return tn_jbuf_str(r, &b, out);
}

/* int("12"), float("1.5"): what cannot be read gives the default. */
static tn_status number(jrun *r, const char *name, jv v, const jargs *a, jv *out) {
    bool real = name[0] == 'f';
    jv def = tn_jarg(a, 0, "default", real ? jv_float(0) : jv_int(0));
    double f;
    if (v.kind == JV_STR && v.s->n < 100) {
        char z[100], *end;
        jv s;
        TN_TRY(tn_jstrip(r, v, jv_none(), true, true, &s));
        memcpy(z, s.s->s, s.s->n);
        z[s.s->n] = 0;
        errno = 0;
        long long i = strtoll(z, &end, 10);
        bool whole = *z && !*end && !errno;
        if (whole && !real) {
            *out = jv_int(i);
            return TN_OK;
        }
        f = strtod(z, &end);
        bool plain = *z && !*end && !strpbrk(z, "xXpP(");
        if (!plain || (!real && !(fabs(f) < 9e18))) {
            *out = def;
            return TN_OK;
        }
        *out = real ? jv_float(f) : jv_int((int64_t)f);
        return TN_OK;
    }
    if (!tn_jnumber(v, &f) || (!real && !(fabs(f) < 9.2e18))) {
        *out = def;
        return TN_OK;
    }
    *out = real ? jv_float(f) : v.kind == JV_INT ? v : jv_int((int64_t)f);
    return TN_OK;
}

static tn_status indent(jrun *r, jv v, const jargs *a, jv *out) {
    jv width = tn_jarg(a, 0, "width", jv_int(4)), first = tn_jarg(a, 1, "first", jv_bool(false)),
       blank = tn_jarg(a, 2, "blank", jv_bool(false));
    jbuf b = {0};
    jv pad, sp;
    TN_TRY(tn_jstrz(r, " ", &sp));
    if (width.kind == JV_STR)
        pad = width;
    else if (width.kind == JV_INT)
        TN_TRY(tn_jbinary(r, "*", sp, width, &pad));
    else
        return tn_jraise(r, TN_FORMAT, "indent: width must be a number or a string");
    const jstr *s = v.s;
    for (size_t i = 0, line = 0; i < s->n || line == 0; line++) {
        const char *nl = memchr(s->s + i, '\n', s->n - i);
        size_t end = nl ? (size_t)(nl - s->s) : s->n;
        bool empty = end == i;
        if ((line == 0 ? tn_jtruth(first) : !empty || tn_jtruth(blank)))
            TN_TRY(tn_jbuf_add(r, &b, pad.s->s, pad.s->n, NULL, 0));
        size_t stop = nl ? end + 1 : end;
        TN_TRY(tn_jbuf_add(r, &b, s->s + i, stop - i, s->tag ? s->tag + i : NULL, 0));
        i = stop;
    }
    return tn_jbuf_str(r, &b, out);
}

static tn_status round_number(jrun *r, jv v, const jargs *a, jv *out) {
    jv precision = tn_jarg(a, 0, "precision", jv_int(0)),
       method = tn_jarg(a, 1, "method", jv_none());
    double f, scale = 1;
    if (!tn_jnumber(v, &f)) return tn_jraise(r, TN_FORMAT, "round of a %s", tn_jtype(v));
    if (precision.kind != JV_INT || precision.i < 0 || precision.i > 15)
        return tn_jraise(r, TN_UNSUPPORTED, "round: precision must be 0 to 15");
    for (int64_t k = 0; k < precision.i; k++) scale *= 10;
    double x = f * scale, y = tn_jname_is(method, "ceil")    ? ceil(x)
                              : tn_jname_is(method, "floor") ? floor(x)
                                                             : nearbyint(x);
    *out = jv_float(y / scale);
    return TN_OK;
}

static tn_status string_filter(jrun *r, const char *name, jv v, const jargs *a, jv *out,
                               bool *known) {
    jv s;
    static const char *const names[] = {"trim",  "upper",   "lower",  "capitalize",
                                        "title", "replace", "indent", NULL};
    int k = 0;
    while (names[k] && strcmp(names[k], name)) k++;
    *known = names[k] != NULL;
    if (!*known) return TN_OK;
    TN_TRY(need_str(r, name, v, &s));
    switch (k) {
    case 0:
        return tn_jstrip(r, s, tn_jarg(a, 0, "chars", jv_none()), true, true, out);
    case 1:
        return tn_jcase(r, s, 'u', out);
    case 2:
        return tn_jcase(r, s, 'l', out);
    case 3:
        return tn_jcase(r, s, 'c', out);
    case 4:
        return tn_jcase(r, s, 't', out);
    case 5: {
        jv from, to, count = tn_jarg(a, 2, "count", jv_none());
        TN_TRY(tn_jto_str(r, tn_jarg(a, 0, "old", jv_none()), &from));
        TN_TRY(tn_jto_str(r, tn_jarg(a, 1, "new", jv_none()), &to));
        return tn_jreplace(r, s, from, to, count.kind == JV_INT ? count.i : -1, out);
    }
    default:
        return indent(r, s, a, out);
    }
}

tn_status tn_jfilter(jrun *r, const char *name, jv v, jargs *a, jv *out) {
    bool known;
    double f;
    if (!strcmp(name, "default") || !strcmp(name, "d")) {
        jv empty, boolean = tn_jarg(a, 1, "boolean", jv_bool(false));
        TN_TRY(tn_jstrz(r, "", &empty));
        bool use = v.kind == JV_UNDEF || (tn_jtruth(boolean) && !tn_jtruth(v));
        *out = use ? tn_jarg(a, 0, "default_value", empty) : v;
        return TN_OK;
    }
    TN_TRY(string_filter(r, name, v, a, out, &known));
    if (known) return TN_OK;
    if (!strcmp(name, "length") || !strcmp(name, "count")) return length(r, v, out);
    if (!strcmp(name, "tojson")) return tojson(r, v, a, out);
    if (!strcmp(name, "string")) return tn_jto_str(r, v, out);
    if (!strcmp(name, "safe")) {
        TN_TRY(tn_jto_str(r, v, out));
        out->markup = true;
        return TN_OK;
    }
    if (!strcmp(name, "int") || !strcmp(name, "float")) return number(r, name, v, a, out);
    if (!strcmp(name, "round")) return round_number(r, v, a, out);
    if (!strcmp(name, "abs")) {
        if (!tn_jnumber(v, &f))
            return tn_jraise(r, TN_FORMAT, "bad operand type for abs(): '%s'", tn_jtype(v));
        if (v.kind == JV_FLOAT) {
            *out = jv_float(fabs(f));
            return TN_OK;
        }
        return f < 0 ? tn_jbinary(r, "-", jv_int(0), v, out)
                     : tn_jbinary(r, "+", v, jv_int(0), out);
    }
    TN_TRY(tn_jfilter_list(r, name, v, a, out, &known));
    if (known) return TN_OK;
    return tn_jraise(r, TN_UNSUPPORTED, "filter \"%.60s\" is not supported", name);
}

/* ---- functions ---- */

static tn_status range(jrun *r, const jargs *a, jv *out) {
    int64_t v[3] = {0, 0, 1};
    if (a->n < 1 || a->n > 3) return tn_jraise(r, TN_FORMAT, "range takes 1 to 3 arguments");
    for (size_t k = 0; k < a->n; k++) {
        if (a->v[k].kind != JV_INT)
            return tn_jraise(r, TN_FORMAT, "range of a %s", tn_jtype(a->v[k]));
        v[a->n == 1 ? 1 : k] = a->v[k].i;
    }
    if (v[2] == 0) return tn_jraise(r, TN_FORMAT, "range() arg 3 must not be zero");
    TN_TRY(tn_jlist(r, 4, out));
    for (int64_t i = v[0]; v[2] > 0 ? i < v[1] : i > v[1];) {
        if (out->l->n >= 100000)
            return tn_jraise(r, TN_FORMAT,
                             "range too big; the sandbox blocks ranges larger than 100000");
        TN_TRY(tn_jpush(r, *out, jv_int(i)));
        if (__builtin_add_overflow(i, v[2], &i)) break;
    }
    return TN_OK;
}

/* The date is the one thing that a template takes from outside; SOURCE_DATE_EPOCH fixes it. */
static tn_status strftime_now(jrun *r, const jargs *a, jv *out) {
    char format[256], text[512];
    struct tm tm;
    jv f = tn_jarg(a, 0, "format", jv_none());
    if (f.kind != JV_STR || f.s->n >= sizeof format)
        return tn_jraise(r, TN_FORMAT, "strftime_now needs a short format string");
    memcpy(format, f.s->s, f.s->n);
    format[f.s->n] = 0;
    const char *fixed = getenv("SOURCE_DATE_EPOCH");
    time_t t = fixed ? (time_t)strtoll(fixed, NULL, 10) : time(NULL);
    if (!(fixed ? gmtime_r(&t, &tm) : localtime_r(&t, &tm)))
        return tn_jraise(r, TN_FORMAT, "strftime_now: no such time");
    size_t n = strftime(text, sizeof text, format, &tm);
    jbuf b = {0};
    TN_TRY(tn_jbuf_add(r, &b, text, n, NULL, 0));
    return tn_jbuf_str(r, &b, out);
}

tn_status tn_jfunc(jrun *r, const char *name, jargs *a, jv *out) {
    if (!strcmp(name, "raise_exception")) {
        jv text;
        TN_TRY(tn_jto_str(r, tn_jarg(a, 0, "message", jv_none()), &text));
        return tn_fail(r->e, TN_FORMAT, "the chat template refuses this conversation: %.*s",
                       text.s->n < 400 ? (int)text.s->n : 400, text.s->s);
    }
    if (!strcmp(name, "strftime_now")) return strftime_now(r, a, out);
    if (!strcmp(name, "range")) return range(r, a, out);
    TN_TRY(tn_jdict(r, out));
    if (a->n > 1) return tn_jraise(r, TN_FORMAT, "%s takes one positional argument at most", name);
    for (size_t k = 0; a->n && a->v[0].kind == JV_DICT && k < a->v[0].d->n; k++)
        TN_TRY(tn_jput(r, out->d, a->v[0].d->k[k], a->v[0].d->v[k]));
    if (a->n && a->v[0].kind != JV_DICT)
        return tn_jraise(r, TN_UNSUPPORTED, "%s of a %s is not supported", name, tn_jtype(a->v[0]));
    for (size_t k = 0; k < a->kw.n; k++) TN_TRY(tn_jput(r, out->d, a->kw.k[k], a->kw.v[k]));
    if (!strcmp(name, "namespace")) out->kind = JV_NAMESPACE;
    return TN_OK;
}
