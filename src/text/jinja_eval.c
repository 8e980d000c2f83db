/* Expressions of chat templates: evaluation with Python's meaning of the operators. */
#include "base/mathx.h"
#include "text/jinja_int.h"
#include "text/unicode.h"
#include <math.h>
#include <string.h>

enum { MAX_EVAL = 600 };

jv tn_jarg(const jargs *a, size_t k, const char *key, jv def) {
    jv v;
    if (k < a->n) return a->v[k];
    return key && tn_jgetz(&a->kw, key, &v) ? v : def;
}

tn_status tn_jarguments(jrun *r, const jnode *args, jargs *a) {
    size_t n = 0;
    *a = (jargs){0};
    for (const jnode *k = args; k; k = k->next) n++;
    a->v = tn_jalloc(r, (n + 1) * sizeof *a->v);
    if (!a->v) return r->e->code;
    for (const jnode *k = args; k; k = k->next) {
        jv v, key;
        TN_TRY(tn_jeval(r, k->a, &v));
        if (!k->key) {
            a->v[a->n++] = v;
            continue;
        }
        TN_TRY(tn_jstrz(r, k->key, &key));
        TN_TRY(tn_jput(r, &a->kw, key, v));
    }
    return TN_OK;
}

static tn_status lookup(jrun *r, const char *name, jv *out) {
    static const char *const funcs[] = {"raise_exception", "strftime_now", "namespace", "range",
                                        "dict"};
    for (const jscope *s = r->scope; s; s = s->parent)
        if (tn_jgetz(&s->vars, name, out)) return TN_OK;
    for (size_t k = 0; k < 5; k++)
        if (!strcmp(name, funcs[k])) {
            *out = (jv){.kind = JV_FUNC, .name = funcs[k]};
            return TN_OK;
        }
    *out = jv_undef(name);
    return TN_OK;
}

/* ---- access ---- */

static tn_status loop_attr(jrun *r, const jloop *l, const char *name, jv *out) {
    size_t i = l->index;
    if (!strcmp(name, "index"))
        *out = jv_int((int64_t)i + 1);
    else if (!strcmp(name, "index0"))
        *out = jv_int((int64_t)i);
    else if (!strcmp(name, "revindex"))
        *out = jv_int((int64_t)(l->n - i));
    else if (!strcmp(name, "revindex0"))
        *out = jv_int((int64_t)(l->n - i) - 1);
    else if (!strcmp(name, "first"))
        *out = jv_bool(i == 0);
    else if (!strcmp(name, "last"))
        *out = jv_bool(i + 1 == l->n);
    else if (!strcmp(name, "length"))
        *out = jv_int((int64_t)l->n);
    else if (!strcmp(name, "depth"))
        *out = jv_int(l->depth + 1);
    else if (!strcmp(name, "depth0"))
        *out = jv_int(l->depth);
    else if (!strcmp(name, "previtem"))
        *out = i > 0 ? l->items->v[i - 1] : jv_undef("loop.previtem");
    else if (!strcmp(name, "nextitem"))
        *out = i + 1 < l->n ? l->items->v[i + 1] : jv_undef("loop.nextitem");
    else
        return tn_jraise(r, TN_UNSUPPORTED, "loop.%.40s is not supported", name);
    return TN_OK;
}

static tn_status method_of(jrun *r, jv v, const char *name, jv *out) {
    jmethod *m = tn_jalloc(r, sizeof *m);
    if (!m) return r->e->code;
    *m = (jmethod){v, name};
    *out = (jv){.kind = JV_METHOD, .method = m};
    return TN_OK;
}

/* v.name: an attribute (a method) comes before a member of that name. */
tn_status tn_jattr(jrun *r, jv v, const char *name, jv *out) {
    if (v.kind == JV_LOOP && strcmp(name, "cycle")) return loop_attr(r, v.loop, name, out);
    if (v.kind == JV_UNDEF) {
        return tn_jraise(r, TN_FORMAT, "'%.60s' is undefined, so it has no '%.60s'",
                         v.name ? v.name : "a value", name);
    }
    if (v.kind != JV_NAMESPACE && tn_jhas_method(v, name)) return method_of(r, v, name, out);
    if ((v.kind == JV_DICT || v.kind == JV_NAMESPACE) && tn_jgetz(v.d, name, out)) return TN_OK;
    *out = jv_undef(name);
    return TN_OK;
}

static bool whole(jv v, int64_t *i) {
    if (v.kind == JV_INT)
        *i = v.i;
    else if (v.kind == JV_BOOL)
        *i = v.b;
    else
        return false;
    return true;
}

tn_status tn_jitem(jrun *r, jv v, jv key, jv *out) {
    int64_t i = 0;
    tn_status st = TN_OK;
    if (v.kind == JV_UNDEF)
        return tn_jraise(r, TN_FORMAT, "'%.60s' is undefined, so it has no members",
                         v.name ? v.name : "a value");
    if (v.kind == JV_DICT && tn_jget(v.d, key, out)) return TN_OK;
    if (v.kind == JV_LIST && whole(key, &i)) {
        if (i < 0) i += (int64_t)v.l->n;
        if (i >= 0 && (size_t)i < v.l->n) {
            *out = v.l->v[i];
            return TN_OK;
        }
    } else if (v.kind == JV_STR && whole(key, &i)) {
        if (i < 0) i += (int64_t)tn_jlen(v.s);
        size_t a = i >= 0 ? tn_joffset(v.s, (size_t)i) : v.s->n;
        if (a < v.s->n) {
            size_t b = a;
            tn_utf8_next(v.s->s, &b);
            *out = tn_jsub(r, v.s, a, b, &st);
            return st;
        }
    } else if (key.kind == JV_STR &&
               !memchr(key.s->s, 0, key.s->n)) { /* falls back to the attribute */
        char *name = tn_jalloc(r, key.s->n + 1);
        if (!name) return r->e->code;
        memcpy(name, key.s->s, key.s->n);
        name[key.s->n] = 0;
        return tn_jattr(r, v, name, out);
    }
    *out = jv_undef("an element that is not there");
    return TN_OK;
}

static void clip(int64_t *i, int64_t n, int64_t lo, int64_t hi) {
    if (*i < 0) *i += n;
    if (*i < lo) *i = lo;
    if (*i > hi) *i = hi;
}

static tn_status slice(jrun *r, jv v, const jv part[3], jv *out) {
    int64_t bound[3] = {0, 0, 1};
    bool given[3];
    if (v.kind != JV_STR && v.kind != JV_LIST) {
        TN_TRY(tn_jdefined(r, v));
        *out = jv_undef("a slice");
        return TN_OK;
    }
    for (int k = 0; k < 3; k++) {
        given[k] = part[k].kind != JV_NONE;
        if (given[k] && !whole(part[k], &bound[k]))
            return tn_jraise(r, TN_FORMAT, "slice indices must be integers, not %s",
                             tn_jtype(part[k]));
    }
    if (bound[2] == 0) return tn_jraise(r, TN_FORMAT, "slice step cannot be zero");
    int64_t n = v.kind == JV_STR ? (int64_t)tn_jlen(v.s) : (int64_t)v.l->n, step = bound[2];
    bool back = step < 0;
    if (!given[0])
        bound[0] = back ? n - 1 : 0;
    else
        clip(&bound[0], n, back ? -1 : 0, back ? n - 1 : n);
    if (!given[1])
        bound[1] = back ? -1 : n;
    else
        clip(&bound[1], n, back ? -1 : 0, back ? n - 1 : n);
    if (v.kind == JV_STR && step == 1) {
        tn_status st = TN_OK;
        if (bound[1] < bound[0]) bound[1] = bound[0];
        *out = tn_jsub(r, v.s, tn_joffset(v.s, (size_t)bound[0]), tn_joffset(v.s, (size_t)bound[1]),
                       &st);
        return st;
    }
    jv list, picked;
    TN_TRY(tn_jitems(r, v, &list));
    TN_TRY(tn_jlist(r, 4, &picked));
    picked.tuple = v.kind == JV_LIST && v.tuple;
    for (int64_t i = bound[0]; back ? i > bound[1] : i < bound[1];) {
        TN_TRY(tn_jpush(r, picked, list.l->v[i]));
        if (back ? i < INT64_MIN - step : i > INT64_MAX - step) break;
        i += step;
    }
    if (v.kind == JV_LIST) {
        *out = picked;
        return TN_OK;
    }
    jv empty;
    TN_TRY(tn_jstrz(r, "", &empty));
    return tn_jjoin(r, empty, picked, out);
}

/* ---- operators ---- */

static tn_status too_large(jrun *r) {
    return tn_jraise(r, TN_UNSUPPORTED, "an integer beyond 64 bits");
}

static tn_status integer_op(jrun *r, const char *op, int64_t a, int64_t b, jv *out) {
    int64_t v = 0;
    bool over = false;
    if (!strcmp(op, "/")) {
        if (b == 0) return tn_jraise(r, TN_FORMAT, "division by zero");
        *out = jv_float((double)a / (double)b);
        return TN_OK;
    }
    if (!strcmp(op, "//") || !strcmp(op, "%")) {
        if (b == 0) return tn_jraise(r, TN_FORMAT, "division by zero");
        if (b == -1)
            over = op[0] == '/' && __builtin_sub_overflow((int64_t)0, a, &v);
        else {
            int64_t q = a / b, m = a % b;
            if (m != 0 && (m < 0) != (b < 0)) {
                q--;
                m += b;
            }
            v = op[0] == '/' ? q : m;
        }
    } else if (!strcmp(op, "**")) {
        if (b < 0) {
            *out = jv_float(tn_pow((double)a, (double)b));
            return TN_OK;
        }
        v = 1;
        if (b > 64 && (a > 1 || a < -1)) over = true;
        if (b > 64 && !over) b = 64 + b % 2; /* 0, 1, -1 */
        for (; b > 0 && !over; b--) over = __builtin_mul_overflow(v, a, &v);
    } else if (op[0] == '+')
        over = __builtin_add_overflow(a, b, &v);
    else if (op[0] == '-')
        over = __builtin_sub_overflow(a, b, &v);
    else
        over = __builtin_mul_overflow(a, b, &v);
    if (over) return too_large(r);
    *out = jv_int(v);
    return TN_OK;
}

static tn_status float_op(jrun *r, const char *op, double a, double b, jv *out) {
    if ((op[0] == '/' || op[0] == '%') && b == 0)
        return tn_jraise(r, TN_FORMAT, "float division by zero");
    double v = op[0] == '+'        ? a + b
               : op[0] == '-'      ? a - b
               : !strcmp(op, "**") ? tn_pow(a, b)
               : !strcmp(op, "//") ? floor(a / b)
               : op[0] == '%'      ? a - floor(a / b) * b
               : op[0] == '*'      ? a * b
                                   : a / b;
    *out = jv_float(v);
    return TN_OK;
}

static tn_status repeat(jrun *r, jv v, int64_t times, jv *out) {
    if (times < 0) times = 0;
    size_t n = v.kind == JV_STR ? v.s->n : v.l->n;
    if (n && (size_t)times > (16u << 20) / n)
        return tn_jraise(r, TN_UNSUPPORTED, "a repetition of more than 16 MB");
    if (v.kind == JV_STR) {
        jbuf b = {0};
        for (; times > 0 && n; times--) TN_TRY(tn_jbuf_add(r, &b, v.s->s, v.s->n, v.s->tag, 0));
        return tn_jbuf_str(r, &b, out);
    }
    TN_TRY(tn_jlist(r, 4, out));
    out->tuple = v.tuple;
    for (; times > 0 && n; times--)
        for (size_t k = 0; k < n; k++) TN_TRY(tn_jpush(r, *out, v.l->v[k]));
    return TN_OK;
}

static tn_status escaped(jrun *r, jv v, jv *out) {
    static const char from[] = "&<>\"'";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
    jbuf b = {0};
    for (size_t k = 0; k < v.s->n; k++) {
        const char *hit = v.s->s[k] ? strchr(from, v.s->s[k]) : NULL;
        const char *text = hit ? to[hit - from] : v.s->s + k;
        TN_TRY(tn_jbuf_add(r, &b, text, hit ? strlen(text) : 1, NULL, v.s->tag ? v.s->tag[k] : 0));
    }
    return tn_jbuf_str(r, &b, out);
}

/* Python's Markup: what is added to a safe string is escaped, and the sum is safe. */
static tn_status add_strings(jrun *r, jv a, jv b, jv *out) {
    bool markup = a.markup || b.markup;
    if (markup && !a.markup) TN_TRY(escaped(r, a, &a));
    if (markup && !b.markup) TN_TRY(escaped(r, b, &b));
    TN_TRY(tn_jconcat(r, a, b, out));
    out->markup = markup;
    return TN_OK;
}

tn_status tn_jbinary(jrun *r, const char *op, jv a, jv b, jv *out) {
    double x, y;
    int64_t i, j;
    TN_TRY(tn_jdefined(r, a));
    TN_TRY(tn_jdefined(r, b));
    if (whole(a, &i) && whole(b, &j)) return integer_op(r, op, i, j, out);
    if (tn_jnumber(a, &x) && tn_jnumber(b, &y)) return float_op(r, op, x, y, out);
    if (!strcmp(op, "+") && a.kind == JV_STR && b.kind == JV_STR) return add_strings(r, a, b, out);
    if (!strcmp(op, "+") && a.kind == JV_LIST && b.kind == JV_LIST && a.tuple == b.tuple) {
        TN_TRY(tn_jlist(r, a.l->n + b.l->n, out));
        out->tuple = a.tuple;
        for (size_t k = 0; k < a.l->n; k++) TN_TRY(tn_jpush(r, *out, a.l->v[k]));
        for (size_t k = 0; k < b.l->n; k++) TN_TRY(tn_jpush(r, *out, b.l->v[k]));
        return TN_OK;
    }
    bool box_a = a.kind == JV_STR || a.kind == JV_LIST,
         box_b = b.kind == JV_STR || b.kind == JV_LIST;
    if (!strcmp(op, "*") && box_a && whole(b, &j)) return repeat(r, a, j, out);
    if (!strcmp(op, "*") && box_b && whole(a, &i)) return repeat(r, b, i, out);
    if (!strcmp(op, "%") && a.kind == JV_STR)
        return tn_jraise(r, TN_UNSUPPORTED, "formatting with %% is not supported");
    return tn_jraise(r, TN_FORMAT, "%s between %s and %s", op, tn_jtype(a), tn_jtype(b));
}

tn_status tn_jcompare(jrun *r, const char *op, jv a, jv b, bool *out) {
    int c = 0;
    if (!strcmp(op, "in") || !strcmp(op, "not in")) {
        TN_TRY(tn_jcontains(r, b, a, out));
        if (op[0] == 'n') *out = !*out;
        return TN_OK;
    }
    if (op[1] == '=' && (op[0] == '=' || op[0] == '!')) {
        *out = tn_jequal(a, b) == (op[0] == '=');
        return TN_OK;
    }
    TN_TRY(tn_jorder(r, a, b, &c));
    *out = op[0] == '<' ? (op[1] ? c <= 0 : c < 0) : op[1] ? c >= 0 : c > 0;
    return TN_OK;
}

/* ---- the tree ---- */

static tn_status eval_compare(jrun *r, const jnode *n, jv *out) {
    jv left, right;
    bool ok = true;
    TN_TRY(tn_jeval(r, n->a, &left));
    for (const jnode *k = n->args; k && ok; k = k->next, left = right) {
        TN_TRY(tn_jeval(r, k->a, &right));
        TN_TRY(tn_jcompare(r, k->key, left, right, &ok));
    }
    *out = jv_bool(ok);
    return TN_OK;
}

static tn_status eval_box(jrun *r, const jnode *n, jv *out) {
    jv k, v;
    if (n->kind == JN_DICT) {
        TN_TRY(tn_jdict(r, out));
        for (const jnode *i = n->args; i; i = i->next->next) {
            TN_TRY(tn_jeval(r, i, &k));
            TN_TRY(tn_jeval(r, i->next, &v));
            if (k.kind == JV_LIST ? !k.tuple : k.kind >= JV_DICT || k.kind == JV_UNDEF)
                return tn_jraise(r, TN_FORMAT, "a %s cannot be a key", tn_jtype(k));
            TN_TRY(tn_jput(r, out->d, k, v));
        }
        return TN_OK;
    }
    TN_TRY(tn_jlist(r, 4, out));
    for (const jnode *i = n->args; i; i = i->next) {
        TN_TRY(tn_jeval(r, i, &v));
        TN_TRY(tn_jpush(r, *out, v));
    }
    out->tuple = n->kind == JN_TUPLE;
    return TN_OK;
}

static tn_status eval_unary(jrun *r, const jnode *n, jv *out) {
    jv v, zero = jv_int(0);
    TN_TRY(tn_jeval(r, n->a, &v));
    if (n->kind == JN_NOT) {
        *out = jv_bool(!tn_jtruth(v));
        return TN_OK;
    }
    if (v.kind == JV_FLOAT) {
        *out = jv_float(n->kind == JN_NEG ? -v.f : v.f);
        return TN_OK;
    }
    if (v.kind != JV_INT && v.kind != JV_BOOL) {
        TN_TRY(tn_jdefined(r, v));
        return tn_jraise(r, TN_FORMAT, "bad operand type for unary %c: %s",
                         n->kind == JN_NEG ? '-' : '+', tn_jtype(v));
    }
    return n->kind == JN_NEG ? tn_jbinary(r, "-", zero, v, out) : tn_jbinary(r, "+", v, zero, out);
}

static tn_status eval_test(jrun *r, const jnode *n, jv *out) {
    jv v;
    jargs a;
    bool ok = false;
    TN_TRY(tn_jeval(r, n->a, &v));
    TN_TRY(tn_jarguments(r, n->args, &a));
    TN_TRY(tn_jtest(r, n->name, v, &a, &ok));
    *out = jv_bool(ok != n->negate);
    return TN_OK;
}

static tn_status eval_access(jrun *r, const jnode *n, jv *out) {
    jv v, part[3] = {jv_none(), jv_none(), jv_none()};
    TN_TRY(tn_jeval(r, n->body, &v));
    if (n->kind == JN_ATTR) return tn_jattr(r, v, n->name, out);
    if (n->a) TN_TRY(tn_jeval(r, n->a, &part[0]));
    if (n->kind == JN_ITEM) return tn_jitem(r, v, part[0], out);
    if (n->b) TN_TRY(tn_jeval(r, n->b, &part[1]));
    if (n->c) TN_TRY(tn_jeval(r, n->c, &part[2]));
    return slice(r, v, part, out);
}

static tn_status eval_node(jrun *r, const jnode *n, jv *out) {
    jv v, w;
    jargs a;
    switch (n->kind) {
    case JN_CONST:
        *out = n->value;
        return TN_OK;
    case JN_NAME:
        return lookup(r, n->name, out);
    case JN_LIST:
    case JN_TUPLE:
    case JN_DICT:
        return eval_box(r, n, out);
    case JN_ATTR:
    case JN_ITEM:
    case JN_SLICE:
        return eval_access(r, n, out);
    case JN_CALL:
        TN_TRY(tn_jeval(r, n->a, &v));
        TN_TRY(tn_jarguments(r, n->args, &a));
        return tn_jcall(r, v, &a, out);
    case JN_FILTER:
        TN_TRY(tn_jeval(r, n->a, &v));
        TN_TRY(tn_jarguments(r, n->args, &a));
        return tn_jfilter(r, n->name, v, &a, out);
    case JN_TEST:
        return eval_test(r, n, out);
    case JN_COND:
        TN_TRY(tn_jeval(r, n->a, &v));
        if (tn_jtruth(v)) return tn_jeval(r, n->b, out);
        if (n->c) return tn_jeval(r, n->c, out);
        *out = jv_undef("the value of an inline if without else");
        return TN_OK;
    case JN_AND:
    case JN_OR:
        TN_TRY(tn_jeval(r, n->a, out));
        return tn_jtruth(*out) == (n->kind == JN_OR) ? TN_OK : tn_jeval(r, n->b, out);
    case JN_NOT:
    case JN_NEG:
    case JN_POS:
        return eval_unary(r, n, out);
    case JN_COMPARE:
        return eval_compare(r, n, out);
    case JN_BINARY:
    case JN_CONCAT:
        TN_TRY(tn_jeval(r, n->a, &v));
        TN_TRY(tn_jeval(r, n->b, &w));
        if (n->kind == JN_BINARY) return tn_jbinary(r, n->name, v, w, out);
        TN_TRY(tn_jto_str(r, v, &v));
        TN_TRY(tn_jto_str(r, w, &w));
        return tn_jconcat(r, v, w, out);
    default:
        return tn_jraise(r, TN_BUG, "a statement where an expression should be");
    }
}

tn_status tn_jeval(jrun *r, const jnode *n, jv *out) {
    int line = r->line;
    r->line = n->line;
    if (--r->steps < 0) return tn_jraise(r, TN_UNSUPPORTED, "the template runs too long");
    if (++r->depth > MAX_EVAL) return tn_jraise(r, TN_UNSUPPORTED, "calls nested too deep");
    TN_TRY(eval_node(r, n, out));
    r->depth--;
    r->line = line;
    return TN_OK;
}
