/* Tests (`x is defined`) of chat templates. */
#include "text/jinja_int.h"
#include "text/unicode.h"
#include <string.h>

static bool same(jv a, jv b) { return a.kind == b.kind && tn_jequal(a, b); }

static bool one_case(jrun *r, jv v, char how) {
    jv other;
    return v.kind == JV_STR && v.s->n && tn_jcase(r, v, how, &other) == TN_OK &&
           tn_jequal(v, other) && tn_jcase(r, v, how == 'u' ? 'l' : 'u', &other) == TN_OK &&
           !tn_jequal(v, other);
}

static tn_status divides(jrun *r, jv v, jv by, int64_t want, bool *out) {
    if (v.kind != JV_INT || by.kind != JV_INT || by.i == 0)
        return tn_jraise(r, TN_FORMAT, "a test of divisibility needs whole numbers");
    *out = by.i == -1 ? want == 0 : (v.i % by.i + by.i) % by.i == want;
    return TN_OK;
}

tn_status tn_jtest(jrun *r, const char *name, jv v, jargs *a, bool *out) {
    static const struct {
        const char *name, *op;
    } compares[] = {{"eq", "=="}, {"equalto", "=="}, {"==", "=="},      {"ne", "!="},
                    {"!=", "!="}, {"lt", "<"},       {"lessthan", "<"}, {"<", "<"},
                    {"le", "<="}, {"<=", "<="},      {"gt", ">"},       {"greaterthan", ">"},
                    {">", ">"},   {"ge", ">="},      {">=", ">="},      {"in", "in"}};
    jv arg = tn_jarg(a, 0, NULL, jv_undef("the argument of a test"));
    for (size_t k = 0; k < sizeof compares / sizeof *compares; k++)
        if (!strcmp(name, compares[k].name)) return tn_jcompare(r, compares[k].op, v, arg, out);
    if (!strcmp(name, "defined"))
        *out = v.kind != JV_UNDEF;
    else if (!strcmp(name, "undefined"))
        *out = v.kind == JV_UNDEF;
    else if (!strcmp(name, "none"))
        *out = v.kind == JV_NONE;
    else if (!strcmp(name, "string"))
        *out = v.kind == JV_STR;
    else if (!strcmp(name, "mapping"))
        *out = v.kind == JV_DICT;
    else if (!strcmp(name, "iterable"))
        *out = v.kind == JV_STR || v.kind == JV_LIST || v.kind == JV_DICT || v.kind == JV_UNDEF ||
               v.kind == JV_LOOP;
    else if (!strcmp(name, "sequence"))
        *out = v.kind == JV_STR || v.kind == JV_LIST || v.kind == JV_DICT || v.kind == JV_UNDEF;
    else if (!strcmp(name, "number"))
        *out = v.kind == JV_INT || v.kind == JV_FLOAT || v.kind == JV_BOOL;
    else if (!strcmp(name, "integer"))
        *out = v.kind == JV_INT;
    else if (!strcmp(name, "float"))
        *out = v.kind == JV_FLOAT;
    else if (!strcmp(name, "boolean"))
        *out = v.kind == JV_BOOL;
    else if (!strcmp(name, "true"))
        *out = v.kind == JV_BOOL && v.b;
    else if (!strcmp(name, "false"))
        *out = v.kind == JV_BOOL && !v.b;
    else if (!strcmp(name, "callable"))
        *out = v.kind >= JV_MACRO || v.kind == JV_LOOP;
    else if (!strcmp(name, "sameas"))
        *out = same(v, arg);
    else if (!strcmp(name, "upper"))
        *out = one_case(r, v, 'u');
    else if (!strcmp(name, "lower"))
        *out = one_case(r, v, 'l');
    else if (!strcmp(name, "even"))
        return divides(r, v, jv_int(2), 0, out);
    else if (!strcmp(name, "odd"))
        return divides(r, v, jv_int(2), 1, out);
    else if (!strcmp(name, "divisibleby"))
        return divides(r, v, arg, 0, out);
    else
        return tn_jraise(r, TN_UNSUPPORTED, "test \"%.60s\" is not supported", name);
    return TN_OK;
}
