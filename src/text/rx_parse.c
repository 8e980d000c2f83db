/* Pattern text to tree: Oniguruma's Ruby syntax; see rx.h. */
#include "text/rx.h"
#include <string.h>

typedef struct parser {
    tn_rx *r;
    tn_rx_tree *t;
    const char *p;
    size_t n, i;
    bool fold, dotall; /* (?i) and (?m) */
    int depth;
    tn_err *e;
} parser;

enum { MAX_DEPTH = 100, MAX_NODES = 20000, MAX_COUNT = 1000 };

#define REFUSE(q, ...) tn_fail((q)->e, TN_UNSUPPORTED, __VA_ARGS__)
#define WHERE(q) (q)->r->where, (q)->i

static bool at(const parser *q, const char *s) {
    size_t k = strlen(s);
    return q->n - q->i >= k && !memcmp(q->p + q->i, s, k);
}

static tn_status node(parser *q, tn_rx_kind kind, int *id) {
    if (q->t->n >= MAX_NODES)
        return tn_fail(q->e, TN_UNSUPPORTED, "%s: pattern longer than %d parts", q->r->where,
                       MAX_NODES);
    if (!TN_GROW(q->t->v, q->t->cap, (size_t)q->t->n + 1))
        return tn_fail(q->e, TN_NOMEM, "no memory for a pattern");
    q->t->v[q->t->n] = (tn_rx_node){.kind = kind, .child = -1, .next = -1, .map = -1};
    *id = q->t->n++;
    return TN_OK;
}

static tn_status set_node(parser *q, const tn_cpset *s, int *id) {
    TN_TRY(node(q, RN_SET, id));
    int m = tn_rx_map(q->r, s);
    if (m < 0) return tn_fail(q->e, TN_NOMEM, "no memory for a pattern");
    q->t->v[*id].map = m;
    return TN_OK;
}

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static tn_status code_point(parser *q, uint32_t *c) { /* \x41 \x{41} A, after the letter */
    bool wide = q->p[q->i - 1] == 'u', brace = !wide && q->i < q->n && q->p[q->i] == '{';
    int max = brace ? 8 : wide ? 4 : 2, got = 0;
    uint32_t v = 0;
    if (brace) q->i++;
    while (got < max && q->i < q->n && hex(q->p[q->i]) >= 0) {
        v = v << 4 | (uint32_t)hex(q->p[q->i++]);
        got++;
    }
    bool bad = got == 0 || (wide && got != 4) || (brace && (q->i >= q->n || q->p[q->i++] != '}'));
    if (bad || v > 0x10FFFF || (v >= 0xD800 && v < 0xE000) || (!wide && !brace && v > 0x7F))
        return REFUSE(q, "%s: malformed code point at byte %zu of the pattern", WHERE(q));
    *c = v;
    return TN_OK;
}

static tn_status property(parser *q, bool negate, tn_cpset *s) { /* after \p or \P */
    size_t a = q->i + 1, b = a;
    if (q->i >= q->n || q->p[q->i] != '{')
        return REFUSE(q, "%s: \\p without {name} at byte %zu of the pattern", WHERE(q));
    while (b < q->n && q->p[b] != '}') b++;
    if (b == q->n) return REFUSE(q, "%s: \\p{ without } at byte %zu of the pattern", WHERE(q));
    q->i = b + 1;
    if (q->p[a] == '^') {
        negate = !negate;
        a++;
    }
    int got = tn_cpset_property(s, q->p + a, b - a);
    if (got == 0)
        return REFUSE(q,
                      "%s: unknown character property \\p{%.*s}; known are general categories and "
                      "the larger scripts",
                      q->r->where, (int)(b - a), q->p + a);
    if (got < 0 || (negate && !tn_cpset_invert(s)))
        return tn_fail(q->e, TN_NOMEM, "no memory for a pattern");
    return TN_OK;
}

/* An escape inside or outside a class, after the backslash: a set (*is_set) or one code point. */
static tn_status escape(parser *q, bool in_class, tn_cpset *s, bool *is_set, uint32_t *c) {
    if (q->i >= q->n) return REFUSE(q, "%s: the pattern ends in a backslash", q->r->where);
    char k = q->p[q->i++];
    const char *name = NULL;
    *is_set = true;
    switch (k) {
    case 'p':
        return property(q, false, s);
    case 'P':
        return property(q, true, s);
    case 's':
    case 'S':
        name = "space";
        break;
    case 'd':
    case 'D':
        name = "nd";
        break;
    case 'w':
    case 'W':
        name = in_class ? "word" : "wordalone";
        break;
    case 'h':
    case 'H':
        name = "xdigit";
        break; /* Ruby: hexadecimal digit */
    default:
        break;
    }
    if (name) {
        if (tn_cpset_property(s, name, strlen(name)) < 0 || (k < 'a' && !tn_cpset_invert(s)))
            return tn_fail(q->e, TN_NOMEM, "no memory for a pattern");
        return TN_OK;
    }
    *is_set = false;
    switch (k) {
    case 'n':
        *c = '\n';
        return TN_OK;
    case 't':
        *c = '\t';
        return TN_OK;
    case 'r':
        *c = '\r';
        return TN_OK;
    case 'f':
        *c = '\f';
        return TN_OK;
    case 'v':
        *c = '\v';
        return TN_OK;
    case 'a':
        *c = 7;
        return TN_OK;
    case 'e':
        *c = 27;
        return TN_OK;
    case 'x':
    case 'u':
        return code_point(q, c);
    default:
        break;
    }
    bool word = (k >= '0' && k <= '9') || (k >= 'a' && k <= 'z') || (k >= 'A' && k <= 'Z');
    if (word)
        return REFUSE(q, "%s: escape \\%c at byte %zu of the pattern is not supported", q->r->where,
                      k, q->i - 1);
    q->i--;
    *c = tn_utf8_next(q->p, &q->i);
    return TN_OK;
}

static tn_status posix_class(parser *q, tn_cpset *s) { /* at "[:" */
    size_t a = q->i + 2, b = a;
    bool negate = a < q->n && q->p[a] == '^';
    if (negate) b = ++a;
    while (b < q->n && q->p[b] >= 'a' && q->p[b] <= 'z') b++;
    static const struct {
        const char *name, *same;
    } names[] = {
        {"alpha", "alpha"}, {"alnum", "alnum"},   {"digit", "nd"}, {"space", "space"},
        {"word", "word"},   {"xdigit", "xdigit"}, {"upper", "lu"}, {"cntrl", "cc"},
    };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        if (strlen(names[k].name) != b - a || memcmp(names[k].name, q->p + a, b - a)) continue;
        if (!strcmp(names[k].name, "upper")) break; /* is more than a category: not in the tables */
        q->i = b + 2;
        if (tn_cpset_property(s, names[k].same, strlen(names[k].same)) < 0 ||
            (negate && !tn_cpset_invert(s)))
            return tn_fail(q->e, TN_NOMEM, "no memory for a pattern");
        return TN_OK;
    }
    return REFUSE(q, "%s: bracket class [:%.*s:] is not supported", q->r->where, (int)(b - a),
                  q->p + a);
}

static tn_status class_at(parser *q, tn_cpset *out);

/* One member of a class: a nested class, an escape, a code point or a range. */
static tn_status class_member(parser *q, tn_cpset *s) {
    bool is_set = false;
    uint32_t a = 0, b = 0;
    if (at(q, "[:")) return posix_class(q, s);
    if (q->p[q->i] == '[') {
        q->i++;
        return class_at(q, s);
    }
    if (q->p[q->i] == '\\') {
        q->i++;
        TN_TRY(escape(q, true, s, &is_set, &a));
        if (is_set) return TN_OK;
    } else {
        a = tn_utf8_next(q->p, &q->i);
    }
    b = a;
    if (q->i + 1 < q->n && q->p[q->i] == '-' && q->p[q->i + 1] != ']') {
        q->i++;
        if (q->p[q->i] == '[' || at(q, "&&"))
            return REFUSE(q, "%s: a range that ends in a class at byte %zu of the pattern",
                          WHERE(q));
        if (q->p[q->i] == '\\') {
            q->i++;
            TN_TRY(escape(q, true, s, &is_set, &b));
            if (is_set)
                return REFUSE(q, "%s: a range that ends in a class at byte %zu of the pattern",
                              WHERE(q));
        } else {
            b = tn_utf8_next(q->p, &q->i);
        }
        if (b < a) return REFUSE(q, "%s: an empty range at byte %zu of the pattern", WHERE(q));
    }
    return tn_cpset_add(s, a, b) ? TN_OK : tn_fail(q->e, TN_NOMEM, "no memory for a pattern");
}

/* After '[': members, && of what stands left and right of it, up to ']'. */
static tn_status class_at(parser *q, tn_cpset *out) {
    tn_cpset left = {0}, now = {0}, one = {0};
    bool negate = q->i < q->n && q->p[q->i] == '^', have_left = false, any = false;
    tn_status st = TN_OK;
    if (++q->depth > MAX_DEPTH)
        return REFUSE(q, "%s: pattern nested deeper than %d", q->r->where, MAX_DEPTH);
    if (negate) q->i++;
    for (;; any = true) {
        if (q->i >= q->n) {
            st = REFUSE(q, "%s: [ without ] in the pattern", q->r->where);
            goto done;
        }
        if (q->p[q->i] == ']' && any) {
            q->i++;
            break;
        }
        if (at(q, "&&")) {
            q->i += 2;
            bool ok = have_left ? tn_cpset_intersect(&left, &now) : tn_cpset_union(&left, &now);
            have_left = true;
            tn_cpset_free(&now);
            if (!ok) {
                st = tn_fail(q->e, TN_NOMEM, "no memory for a pattern");
                goto done;
            }
            continue;
        }
        TN_GO(class_member(q, &one), done);
        if (!tn_cpset_union(&now, &one)) {
            st = tn_fail(q->e, TN_NOMEM, "no memory for a pattern");
            goto done;
        }
        tn_cpset_free(&one);
    }
    bool ok = !have_left || tn_cpset_intersect(&now, &left);
    if (ok && q->fold) ok = tn_cpset_fold(&now);
    if (ok && negate) ok = tn_cpset_invert(&now);
    if (ok) ok = tn_cpset_union(out, &now);
    if (!ok) st = tn_fail(q->e, TN_NOMEM, "no memory for a pattern");
done:
    q->depth--;
    tn_cpset_free(&left);
    tn_cpset_free(&now);
    tn_cpset_free(&one);
    return st;
}

static tn_status alternatives(parser *q, int *id);

static tn_status wrap(parser *q, int how, int child, int *id) {
    TN_TRY(node(q, RN_MARK, id));
    q->t->v[*id].child = child;
    q->t->v[*id].how = how;
    return TN_OK;
}

/* (?i) (?-i) (?m) (?im-i: ...): *isolated when the options hold to the end of the group. */
static tn_status options(parser *q, bool *isolated) {
    for (bool on = true; q->i < q->n; q->i++) {
        char c = q->p[q->i];
        if (c == '-')
            on = false;
        else if (c == 'i')
            q->fold = on;
        else if (c == 'm')
            q->dotall = on;
        else if (c == ')' || c == ':') {
            *isolated = c == ')';
            q->i++;
            return TN_OK;
        } else
            break;
    }
    return REFUSE(q, "%s: group option at byte %zu of the pattern is not supported", WHERE(q));
}

static tn_status group(parser *q, int *id) { /* after '(' */
    static const struct {
        const char *open;
        int how;
    } marks[] = {{"?=", RX_AHEAD},
                 {"?!", RX_NOT_AHEAD},
                 {"?<=", RX_BEHIND},
                 {"?<!", RX_NOT_BEHIND},
                 {"?>", RX_ATOMIC}};
    bool fold = q->fold, dotall = q->dotall, isolated = false;
    int how = -1, body = -1;
    if (at(q, "?#")) {
        while (q->i < q->n && q->p[q->i] != ')') q->i++;
        if (q->i++ >= q->n) return REFUSE(q, "%s: (?# without ) in the pattern", q->r->where);
        return node(q, RN_EMPTY, id);
    }
    for (size_t k = 0; k < sizeof marks / sizeof *marks && how < 0; k++)
        if (at(q, marks[k].open)) {
            how = marks[k].how;
            q->i += strlen(marks[k].open);
        }
    if (how < 0 && at(q, "?:"))
        q->i += 2;
    else if (how < 0 && at(q, "?<")) {
        while (q->i < q->n && q->p[q->i] != '>') q->i++;
        q->i++;
    } else if (how < 0 && at(q, "?")) {
        q->i++;
        TN_TRY(options(q, &isolated));
    }
    if (q->i > q->n) return REFUSE(q, "%s: ( without ) in the pattern", q->r->where);
    TN_TRY(alternatives(q, &body)); /* isolated options hold for the rest of the enclosing group */
    q->fold = fold;
    q->dotall = dotall;
    if (isolated) {
        *id = body;
        return TN_OK;
    }
    if (q->i >= q->n || q->p[q->i] != ')')
        return REFUSE(q, "%s: ( without ) in the pattern", q->r->where);
    q->i++;
    if (how >= 0) return wrap(q, how, body, id);
    *id = body;
    return TN_OK;
}

static tn_status assertion(parser *q, int how, int *id) {
    TN_TRY(node(q, RN_ASSERT, id));
    q->t->v[*id].how = how;
    return TN_OK;
}

static tn_status literal(parser *q, uint32_t c, int *id) {
    if (q->fold) {
        tn_cpset s = {0};
        tn_status st = TN_OK;
        if (!tn_cpset_add(&s, c, c) || !tn_cpset_fold(&s))
            st = tn_fail(q->e, TN_NOMEM, "no memory for a pattern");
        else if (s.n > 1 || s.r[0].a != s.r[0].b)
            st = set_node(q, &s, id);
        else {
            tn_cpset_free(&s);
            goto plain;
        }
        tn_cpset_free(&s);
        return st;
    }
plain:
    TN_TRY(node(q, RN_CHAR, id));
    q->t->v[*id].c = c;
    return TN_OK;
}

static tn_status atom(parser *q, int *id) {
    char c = q->p[q->i];
    tn_cpset s = {0};
    tn_status st = TN_OK;
    if (c == '(') {
        q->i++;
        return group(q, id);
    }
    if (c == '^') {
        q->i++;
        return assertion(q, RX_LINE_BEGIN, id);
    }
    if (c == '$') {
        q->i++;
        return assertion(q, RX_LINE_END, id);
    }
    if (c == '*' || c == '+' || c == '?')
        return REFUSE(q, "%s: %c repeats nothing at byte %zu of the pattern", q->r->where, c, q->i);
    if (c == '[') {
        q->i++;
        st = class_at(q, &s);
    } else if (c == '.') {
        q->i++;
        if (!(q->dotall || tn_cpset_add(&s, '\n', '\n')) || !tn_cpset_invert(&s))
            st = tn_fail(q->e, TN_NOMEM, "no memory for a pattern");
    } else if (c == '\\') {
        static const char asserts[] = "bBAzZ";
        static const int kinds[] = {RX_WORD_EDGE, RX_NOT_WORD_EDGE, RX_TEXT_BEGIN, RX_TEXT_END,
                                    RX_TEXT_END_NL};
        const char *k = q->i + 1 < q->n && q->p[q->i + 1] ? strchr(asserts, q->p[q->i + 1]) : NULL;
        if (k) {
            q->i += 2;
            return assertion(q, kinds[k - asserts], id);
        }
        bool is_set;
        uint32_t v = 0;
        q->i++;
        st = escape(q, false, &s, &is_set, &v);
        if (st == TN_OK && !is_set) {
            tn_cpset_free(&s);
            return literal(q, v, id);
        }
    } else {
        return literal(q, tn_utf8_next(q->p, &q->i), id);
    }
    if (st == TN_OK) st = set_node(q, &s, id);
    tn_cpset_free(&s);
    return st;
}

/* {n} {n,} {,m} {n,m}: false when the brace is an ordinary character. */
static bool counts(parser *q, int *min, int *max) {
    size_t i = q->i + 1;
    long v[2] = {0, -1};
    bool digits[2] = {false, false}, comma = false;
    for (int k = 0; k < 2; k++) {
        for (; i < q->n && q->p[i] >= '0' && q->p[i] <= '9'; i++) {
            if (!digits[k]) v[k] = 0;
            digits[k] = true;
            if (v[k] < 100000) v[k] = v[k] * 10 + (q->p[i] - '0');
        }
        if (k == 0 && i < q->n && q->p[i] == ',') {
            comma = true;
            i++;
        } else
            break;
    }
    if (i >= q->n || q->p[i] != '}' || (!digits[0] && !digits[1])) return false;
    *min = (int)v[0];
    *max = comma ? (int)v[1] : (int)v[0];
    q->i = i + 1;
    return true;
}

static tn_status repeated(parser *q, int *id) {
    TN_TRY(atom(q, id));
    while (q->i < q->n) {
        char c = q->p[q->i];
        int min = 0, max = -1, how = RX_GREEDY, up;
        bool brace = c == '{';
        if (c == '*' || c == '+' || c == '?') {
            min = c == '+';
            max = c == '?' ? 1 : -1;
            q->i++;
        } else if (!brace || !counts(q, &min, &max)) {
            return TN_OK;
        }
        if (min > MAX_COUNT || max > MAX_COUNT || (max >= 0 && min > max))
            return REFUSE(
                q, "%s: repeat count at byte %zu of the pattern is out of range (at most %d)",
                WHERE(q), MAX_COUNT);
        if (q->i < q->n && q->p[q->i] == '?') {
            if (brace && min == max)
                return REFUSE(q, "%s: {n}? at byte %zu of the pattern is not supported", WHERE(q));
            how = RX_LAZILY;
            q->i++;
        } else if (!brace && q->i < q->n &&
                   q->p[q->i] == '+') { /* after {n,m} a + repeats the whole */
            how = RX_POSSESSIVE;
            q->i++;
        }
        TN_TRY(node(q, RN_REPEAT, &up));
        tn_rx_node *v = &q->t->v[up];
        v->child = *id;
        v->min = min;
        v->max = max;
        v->how = how;
        *id = up;
    }
    return TN_OK;
}

static tn_status sequence(parser *q, int *id) {
    TN_TRY(node(q, RN_CAT, id));
    for (int last = -1, one; q->i < q->n && q->p[q->i] != '|' && q->p[q->i] != ')'; last = one) {
        TN_TRY(repeated(q, &one));
        int holder; /* an atom may be shared as a group's body: give it a link of its own */
        TN_TRY(node(q, RN_CAT, &holder));
        q->t->v[holder].child = one;
        if (last < 0)
            q->t->v[*id].child = holder;
        else
            q->t->v[last].next = holder;
        one = holder;
    }
    return TN_OK;
}

static tn_status alternatives(parser *q, int *id) {
    if (++q->depth > MAX_DEPTH)
        return REFUSE(q, "%s: pattern nested deeper than %d", q->r->where, MAX_DEPTH);
    int last, one;
    TN_TRY(node(q, RN_ALT, id));
    TN_TRY(sequence(q, &last));
    q->t->v[*id].child = last;
    while (q->i < q->n && q->p[q->i] == '|') {
        q->i++;
        TN_TRY(sequence(q, &one));
        q->t->v[last].next = one;
        last = one;
    }
    q->depth--;
    return TN_OK;
}

tn_status tn_rx_parse(tn_rx *r, tn_rx_tree *t, const char *p, size_t n, tn_err *e) {
    parser q = {.r = r, .t = t, .p = p, .n = n, .e = e};
    if (n > 20000)
        return tn_fail(e, TN_UNSUPPORTED, "%s: pattern of %zu bytes (at most 20000)", r->where, n);
    if (!tn_utf8_valid(p, n))
        return tn_fail(e, TN_FORMAT, "%s: the pattern is not UTF-8", r->where);
    TN_TRY(alternatives(&q, &t->root));
    if (q.i < n)
        return tn_fail(e, TN_UNSUPPORTED, "%s: unmatched ) at byte %zu of the pattern", r->where,
                       q.i);
    return TN_OK;
}
