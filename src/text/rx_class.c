/* Sets of characters in a pattern: escapes, properties, bracketed classes. */
#include "text/rx_parser.h"

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static tn_status code_point(tn_rx_parser *q, uint32_t *c) { /* \x41 \x{41} A, after the letter */
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

static tn_status property(tn_rx_parser *q, bool negate, tn_cpset *s) { /* after \p or \P */
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
tn_status tn_rx_escape(tn_rx_parser *q, bool in_class, tn_cpset *s, bool *is_set, uint32_t *c) {
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

static tn_status posix_class(tn_rx_parser *q, tn_cpset *s) { /* at "[:" */
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

/* One member of a class: a nested class, an escape, a code point or a range. */
static tn_status class_member(tn_rx_parser *q, tn_cpset *s) {
    bool is_set = false;
    uint32_t a = 0, b = 0;
    if (tn_rx_at(q, "[:")) return posix_class(q, s);
    if (q->p[q->i] == '[') {
        q->i++;
        return tn_rx_class(q, s);
    }
    if (q->p[q->i] == '\\') {
        q->i++;
        TN_TRY(tn_rx_escape(q, true, s, &is_set, &a));
        if (is_set) return TN_OK;
    } else {
        a = tn_utf8_next(q->p, &q->i);
    }
    b = a;
    if (q->i + 1 < q->n && q->p[q->i] == '-' && q->p[q->i + 1] != ']') {
        q->i++;
        if (q->p[q->i] == '[' || tn_rx_at(q, "&&"))
            return REFUSE(q, "%s: a range that ends in a class at byte %zu of the pattern",
                          WHERE(q));
        if (q->p[q->i] == '\\') {
            q->i++;
            TN_TRY(tn_rx_escape(q, true, s, &is_set, &b));
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
tn_status tn_rx_class(tn_rx_parser *q, tn_cpset *out) {
    tn_cpset left = {0}, now = {0}, one = {0};
    bool negate = q->i < q->n && q->p[q->i] == '^', have_left = false, any = false;
    tn_status st = TN_OK;
    if (++q->depth > TN_RX_DEPTH)
        return REFUSE(q, "%s: pattern nested deeper than %d", q->r->where, TN_RX_DEPTH);
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
        if (tn_rx_at(q, "&&")) {
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
