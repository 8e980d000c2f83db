/* Strings of the template interpreter: bytes with tags; str(), repr() and json.dumps() of values. */
#include "text/jinja_int.h"
#include "text/unicode.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

tn_status tn_jbuf_add(jrun *r, jbuf *b, const char *s, size_t n, const uint16_t *tag,
                      uint16_t tag_all) {
    if (b->n + n > b->cap) {
        size_t cap = 2 * b->cap > b->n + n ? 2 * b->cap : b->n + n + 64;
        char *ns = tn_jalloc(r, cap);
        uint16_t *nt = ns ? tn_jalloc(r, cap * sizeof *nt) : NULL;
        if (!nt) return r->e->code;
        if (b->n) {
            memcpy(ns, b->s, b->n);
            memcpy(nt, b->tag, b->n * sizeof *nt);
        }
        b->s = ns;
        b->tag = nt;
        b->cap = cap;
    }
    if (n) memcpy(b->s + b->n, s, n);
    for (size_t k = 0; k < n; k++) b->tag[b->n + k] = tag ? tag[k] : tag_all;
    b->n += n;
    return TN_OK;
}

static tn_status addz(jrun *r, jbuf *b, const char *z) {
    return tn_jbuf_add(r, b, z, strlen(z), NULL, 0);
}

tn_status tn_jbuf_str(jrun *r, const jbuf *b, jv *out) {
    return tn_jstr(r, b->n ? b->s : "", b->n, b->n ? b->tag : NULL, out);
}

size_t tn_jlen(const jstr *s) {
    size_t k = 0;
    for (size_t i = 0; i < s->n; i++) k += ((unsigned char)s->s[i] & 0xC0) != 0x80;
    return k;
}

size_t tn_joffset(const jstr *s, size_t k) {
    size_t i = 0;
    while (k-- > 0 && i < s->n) i += (size_t)tn_utf8_size((unsigned char)s->s[i]);
    return i;
}

jv tn_jsub(jrun *r, const jstr *s, size_t a, size_t b, tn_status *st) {
    jv out = jv_none();
    *st = tn_jstr(r, s->s + a, b - a, s->tag ? s->tag + a : NULL, &out);
    return out;
}

tn_status tn_jconcat(jrun *r, jv a, jv b, jv *out) {
    jbuf o = {0};
    TN_TRY(tn_jbuf_add(r, &o, a.s->s, a.s->n, a.s->tag, 0));
    TN_TRY(tn_jbuf_add(r, &o, b.s->s, b.s->n, b.s->tag, 0));
    return tn_jbuf_str(r, &o, out);
}

static bool in_set(uint32_t c, jv chars) {
    if (chars.kind != JV_STR) return tn_jspace(c);
    for (size_t i = 0; i < chars.s->n;)
        if (tn_utf8_next(chars.s->s, &i) == c) return true;
    return false;
}

tn_status tn_jstrip(jrun *r, jv s, jv chars, bool left, bool right, jv *out) {
    size_t a = 0, b = s.s->n, k;
    tn_status st = TN_OK;
    while (left && a < b && (k = a, in_set(tn_utf8_next(s.s->s, &k), chars))) a = k;
    while (right && b > a) {
        size_t from = k = tn_utf8_back(s.s->s, b);
        if (!in_set(tn_utf8_next(s.s->s, &k), chars)) break;
        b = from;
    }
    *out = tn_jsub(r, s.s, a, b, &st);
    return st;
}

static uint32_t cased(uint32_t c, bool upper) {
    return (uint32_t)(upper ? utf8proc_toupper((utf8proc_int32_t)c)
                            : utf8proc_tolower((utf8proc_int32_t)c));
}

/* u: upper, l: lower, c: capitalize (first up, rest down), t: title (each word) */
tn_status tn_jcase(jrun *r, jv s, char how, jv *out) {
    jbuf o = {0};
    bool inside = false;
    for (size_t i = 0; i < s.s->n;) {
        size_t from = i;
        uint32_t c = tn_utf8_next(s.s->s, &i);
        bool up = how == 'u' || (how == 'c' && from == 0) || (how == 't' && !inside);
        bool letter = cased(c, true) != c || cased(c, false) != c;
        inside = letter;
        char b[8];
        int n;
        if (up && c == 0xDF) {
            memcpy(b, how == 'u' ? "SS" : "Ss", 2);
            n = 2;
        } else
            n = tn_utf8_put(b, cased(c, up));
        TN_TRY(tn_jbuf_add(r, &o, b, (size_t)n, NULL, s.s->tag ? s.s->tag[from] : 0));
    }
    return tn_jbuf_str(r, &o, out);
}

tn_status tn_jreplace(jrun *r, jv s, jv from, jv to, int64_t count, jv *out) {
    jbuf o = {0};
    size_t i = 0;
    const jstr *v = s.s;
    for (; count != 0 && i <= v->n; count--) {
        const char *hit = from.s->n ? memmem(v->s + i, v->n - i, from.s->s, from.s->n) : v->s + i;
        if (!hit) break;
        size_t at = (size_t)(hit - v->s);
        TN_TRY(tn_jbuf_add(r, &o, v->s + i, at - i, v->tag ? v->tag + i : NULL, 0));
        /* what stands in the place of an assistant's words is still theirs */
        TN_TRY(
            tn_jbuf_add(r, &o, to.s->s, to.s->n, to.s->tag, v->tag && from.s->n ? v->tag[at] : 0));
        i = at + from.s->n;
        if (from.s->n) continue;
        if (i >= v->n) {
            i = v->n + 1;
            break;
        } /* an empty pattern: between all characters */
        size_t k = i;
        tn_utf8_next(v->s, &k);
        TN_TRY(tn_jbuf_add(r, &o, v->s + i, k - i, v->tag ? v->tag + i : NULL, 0));
        i = k;
    }
    if (i < v->n) TN_TRY(tn_jbuf_add(r, &o, v->s + i, v->n - i, v->tag ? v->tag + i : NULL, 0));
    return tn_jbuf_str(r, &o, out);
}

tn_status tn_jjoin(jrun *r, jv sep, jv list, jv *out) {
    jbuf o = {0};
    for (size_t k = 0; k < list.l->n; k++) {
        if (k) TN_TRY(tn_jbuf_add(r, &o, sep.s->s, sep.s->n, sep.s->tag, 0));
        TN_TRY(tn_jprint(r, &o, list.l->v[k]));
    }
    return tn_jbuf_str(r, &o, out);
}

/* ---- printing ---- */

static void float_text(double f, char out[40], bool json) {
    if (isnan(f)) {
        snprintf(out, 40, "%s", json ? "NaN" : "nan");
        return;
    }
    if (isinf(f)) {
        snprintf(out, 40, "%s", json ? (f < 0 ? "-Infinity" : "Infinity") : f < 0 ? "-inf" : "inf");
        return;
    }
    int p = 1;
    do snprintf(out, 40, "%.*e", p - 1, f);
    while (strtod(out, NULL) != f && ++p <= 17);
    int e10 = (int)strtol(strchr(out, 'e') + 1, NULL, 10);
    if (e10 >= -4 && e10 < 16) { /* Python writes these without exponent */
        snprintf(out, 40, "%.*f", p - 1 - e10 > 0 ? p - 1 - e10 : 0, f);
        if (!strchr(out, '.')) memcpy(out + strlen(out), ".0", 3);
        return;
    }
    /* C and Python write the exponent alike: a sign and at least two digits */
}

static tn_status repr(jrun *r, jbuf *b, jv v, int depth);

static tn_status repr_str(jrun *r, jbuf *b, const jstr *s) {
    char quote = memchr(s->s, '\'', s->n) && !memchr(s->s, '"', s->n) ? '"' : '\'';
    TN_TRY(tn_jbuf_add(r, b, &quote, 1, NULL, 0));
    for (size_t i = 0; i < s->n;) {
        size_t from = i;
        char x[16];
        uint32_t c = tn_utf8_next(s->s, &i);
        static const char known[] = "\n\r\t\\", shown[] = "nrt\\";
        const char *k = c && c < 0x80 ? strchr(known, (int)c) : NULL;
        utf8proc_category_t g = utf8proc_category((utf8proc_int32_t)c);
        bool plain = c == ' ' || (g != UTF8PROC_CATEGORY_CC && g != UTF8PROC_CATEGORY_CF &&
                                  g != UTF8PROC_CATEGORY_CN && g != UTF8PROC_CATEGORY_CO &&
                                  g != UTF8PROC_CATEGORY_CS && g != UTF8PROC_CATEGORY_ZS &&
                                  g != UTF8PROC_CATEGORY_ZL && g != UTF8PROC_CATEGORY_ZP);
        if (k)
            snprintf(x, sizeof x, "\\%c", shown[k - known]);
        else if (c == (uint32_t)quote)
            snprintf(x, sizeof x, "\\%c", quote);
        else if (plain) {
            TN_TRY(tn_jbuf_add(r, b, s->s + from, i - from, s->tag ? s->tag + from : NULL, 0));
            continue;
        } else
            snprintf(x, sizeof x,
                     c < 0x100     ? "\\x%02x"
                     : c < 0x10000 ? "\\u%04x"
                                   : "\\U%08x",
                     (unsigned)c);
        TN_TRY(tn_jbuf_add(r, b, x, strlen(x), NULL, s->tag ? s->tag[from] : 0));
    }
    return tn_jbuf_add(r, b, &quote, 1, NULL, 0);
}

static tn_status repr_box(jrun *r, jbuf *b, jv v, int depth) {
    size_t n = v.kind == JV_LIST ? v.l->n : v.d->n;
    TN_TRY(addz(r, b, v.kind == JV_DICT ? "{" : v.tuple ? "(" : "["));
    for (size_t k = 0; k < n; k++) {
        if (k) TN_TRY(addz(r, b, ", "));
        if (v.kind == JV_DICT) {
            TN_TRY(repr(r, b, v.d->k[k], depth + 1));
            TN_TRY(addz(r, b, ": "));
        }
        TN_TRY(repr(r, b, v.kind == JV_DICT ? v.d->v[k] : v.l->v[k], depth + 1));
    }
    return addz(r, b, v.kind == JV_DICT ? "}" : !v.tuple ? "]" : n == 1 ? ",)" : ")");
}

static tn_status repr(jrun *r, jbuf *b, jv v, int depth) {
    char x[64];
    if (depth > 100)
        return tn_jraise(r, TN_UNSUPPORTED, "a value nested deeper than 100 is printed");
    switch (v.kind) {
    case JV_UNDEF:
        return depth ? addz(r, b, "Undefined") : TN_OK;
    case JV_NONE:
        return addz(r, b, "None");
    case JV_BOOL:
        return addz(r, b, v.b ? "True" : "False");
    case JV_INT:
        snprintf(x, sizeof x, "%lld", (long long)v.i);
        return addz(r, b, x);
    case JV_FLOAT:
        float_text(v.f, x, false);
        return addz(r, b, x);
    case JV_STR:
        return repr_str(r, b, v.s);
    case JV_LIST:
    case JV_DICT:
        return repr_box(r, b, v, depth);
    default:
        return tn_jraise(r, TN_UNSUPPORTED, "a %s is printed", tn_jtype(v));
    }
}

tn_status tn_jprint(jrun *r, jbuf *b, jv v) {
    if (v.kind == JV_STR) return tn_jbuf_add(r, b, v.s->s, v.s->n, v.s->tag, 0);
    return repr(r, b, v, 0);
}

tn_status tn_jto_str(jrun *r, jv v, jv *out) {
    jbuf b = {0};
    if (v.kind == JV_STR) {
        *out = v;
        return TN_OK;
    }
    TN_TRY(tn_jprint(r, &b, v));
    return tn_jbuf_str(r, &b, out);
}

/* ---- json.dumps ---- */

static tn_status dump_str(jrun *r, jbuf *b, const jstr *s, bool ascii) {
    TN_TRY(addz(r, b, "\""));
    for (size_t i = 0; i < s->n;) {
        size_t from = i;
        char x[16];
        uint32_t c = tn_utf8_next(s->s, &i);
        static const char plain[] = "\"\\\n\r\t\f\b", escaped[] = "\"\\nrtfb";
        const char *k = c && c < 0x80 ? strchr(plain, (int)c) : NULL;
        if (k)
            snprintf(x, sizeof x, "\\%c", escaped[k - plain]);
        else if (c < 0x20 || (ascii && c >= 0x7F && c < 0x10000 && c != 0x7F))
            snprintf(x, sizeof x, "\\u%04x", (unsigned)c);
        else if (ascii && c >= 0x10000)
            snprintf(x, sizeof x, "\\u%04x\\u%04x", (unsigned)(0xD800 + ((c - 0x10000) >> 10)),
                     (unsigned)(0xDC00 + ((c - 0x10000) & 0x3FF)));
        else {
            TN_TRY(tn_jbuf_add(r, b, s->s + from, i - from, s->tag ? s->tag + from : NULL, 0));
            continue;
        }
        TN_TRY(tn_jbuf_add(r, b, x, strlen(x), NULL, s->tag ? s->tag[from] : 0));
    }
    return addz(r, b, "\"");
}

static tn_status dump_break(jrun *r, jbuf *b, const jjson *how, int level) {
    if (how->indent < 0) return TN_OK;
    TN_TRY(addz(r, b, "\n"));
    for (int k = 0; k < level * how->indent; k++) TN_TRY(addz(r, b, " "));
    return TN_OK;
}

static tn_status dump_key(jrun *r, jbuf *b, jv k, const jjson *how) {
    jv text = k;
    if (k.kind == JV_BOOL)
        TN_TRY(tn_jstrz(r, k.b ? "true" : "false", &text));
    else if (k.kind == JV_NONE)
        TN_TRY(tn_jstrz(r, "null", &text));
    else if (k.kind != JV_STR)
        TN_TRY(tn_jto_str(r, k, &text));
    return dump_str(r, b, text.s, how->ascii);
}

static tn_status sorted_keys(jrun *r, const jdict *d, size_t **order) {
    size_t *o = tn_jalloc(r, (d->n + 1) * sizeof *o);
    if (!o) return r->e->code;
    for (size_t k = 0; k < d->n; k++) {
        size_t at = k;
        for (int c; at > 0; at--) {
            TN_TRY(tn_jorder(r, d->k[o[at - 1]], d->k[k], &c));
            if (c <= 0) break;
            o[at] = o[at - 1];
        }
        o[at] = k;
        r->steps -= (long)(k / 16);
    }
    *order = o;
    return TN_OK;
}

tn_status tn_jdump(jrun *r, jbuf *b, jv v, const jjson *how, int level) {
    char x[64];
    if (level > 100)
        return tn_jraise(r, TN_UNSUPPORTED, "tojson of a value nested deeper than 100");
    switch (v.kind) {
    case JV_NONE:
        return addz(r, b, "null");
    case JV_BOOL:
        return addz(r, b, v.b ? "true" : "false");
    case JV_FLOAT:
        float_text(v.f, x, true);
        return addz(r, b, x);
    case JV_INT:
        return repr(r, b, v, 0);
    case JV_STR:
        return dump_str(r, b, v.s, how->ascii);
    case JV_LIST:
    case JV_DICT:
        break;
    default:
        return tn_jraise(r, TN_FORMAT, "Object of type %s is not JSON serializable", tn_jtype(v));
    }
    bool dict = v.kind == JV_DICT;
    size_t n = dict ? v.d->n : v.l->n, *order = NULL;
    if (n == 0) return addz(r, b, dict ? "{}" : "[]");
    if (dict && how->sort) TN_TRY(sorted_keys(r, v.d, &order));
    TN_TRY(addz(r, b, dict ? "{" : "["));
    for (size_t i = 0; i < n; i++) {
        size_t k = order ? order[i] : i;
        if (i) TN_TRY(addz(r, b, how->item));
        TN_TRY(dump_break(r, b, how, level + 1));
        if (dict) {
            TN_TRY(dump_key(r, b, v.d->k[k], how));
            TN_TRY(addz(r, b, how->key));
        }
        TN_TRY(tn_jdump(r, b, dict ? v.d->v[k] : v.l->v[k], how, level + 1));
    }
    TN_TRY(dump_break(r, b, how, level));
    return addz(r, b, dict ? "}" : "]");
}
