/* Pattern text to tree: Oniguruma's Ruby syntax; see rx.h. */
#include "text/rx_parser.h"

enum { MAX_NODES = 20000, MAX_COUNT = 1000 };

static tn_status node(tn_rx_parser *q, tn_rx_kind kind, int *id) {
    if (q->t->n >= MAX_NODES)
        return tn_fail(q->e, TN_UNSUPPORTED, "%s: pattern longer than %d parts", q->r->where,
                       MAX_NODES);
    if (!TN_GROW(q->t->v, q->t->cap, (size_t)q->t->n + 1))
        return tn_fail(q->e, TN_NOMEM, "no memory for a pattern");
    q->t->v[q->t->n] = (tn_rx_node){.kind = kind, .child = -1, .next = -1, .map = -1};
    *id = q->t->n++;
    return TN_OK;
}

static tn_status set_node(tn_rx_parser *q, const tn_cpset *s, int *id) {
    TN_TRY(node(q, RN_SET, id));
    int m = tn_rx_map(q->r, s);
    if (m < 0) return tn_fail(q->e, TN_NOMEM, "no memory for a pattern");
    q->t->v[*id].map = m;
    return TN_OK;
}

static tn_status alternatives(tn_rx_parser *q, int *id);

static tn_status wrap(tn_rx_parser *q, int how, int child, int *id) {
    TN_TRY(node(q, RN_MARK, id));
    q->t->v[*id].child = child;
    q->t->v[*id].how = how;
    return TN_OK;
}

/* (?i) (?-i) (?m) (?im-i: ...): *isolated when the options hold to the end of the group. */
static tn_status options(tn_rx_parser *q, bool *isolated) {
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

static tn_status group(tn_rx_parser *q, int *id) { /* after '(' */
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
    if (tn_rx_at(q, "?#")) {
        while (q->i < q->n && q->p[q->i] != ')') q->i++;
        if (q->i++ >= q->n) return REFUSE(q, "%s: (?# without ) in the pattern", q->r->where);
        return node(q, RN_EMPTY, id);
    }
    for (size_t k = 0; k < sizeof marks / sizeof *marks && how < 0; k++)
        if (tn_rx_at(q, marks[k].open)) {
            how = marks[k].how;
            q->i += strlen(marks[k].open);
        }
    if (how < 0 && tn_rx_at(q, "?:"))
        q->i += 2;
    else if (how < 0 && tn_rx_at(q, "?<")) {
        while (q->i < q->n && q->p[q->i] != '>') q->i++;
        q->i++;
    } else if (how < 0 && tn_rx_at(q, "?")) {
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

static tn_status assertion(tn_rx_parser *q, int how, int *id) {
    TN_TRY(node(q, RN_ASSERT, id));
    q->t->v[*id].how = how;
    return TN_OK;
}

static tn_status literal(tn_rx_parser *q, uint32_t c, int *id) {
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

static tn_status atom(tn_rx_parser *q, int *id) {
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
        st = tn_rx_class(q, &s);
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
        st = tn_rx_escape(q, false, &s, &is_set, &v);
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
static bool counts(tn_rx_parser *q, int *min, int *max) {
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

static tn_status repeated(tn_rx_parser *q, int *id) {
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

static tn_status sequence(tn_rx_parser *q, int *id) {
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

static tn_status alternatives(tn_rx_parser *q, int *id) {
    if (++q->depth > TN_RX_DEPTH)
        return REFUSE(q, "%s: pattern nested deeper than %d", q->r->where, TN_RX_DEPTH);
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
    tn_rx_parser q = {.r = r, .t = t, .p = p, .n = n, .e = e};
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
