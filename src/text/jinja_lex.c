/* Template source to tokens, with Jinja's rules of white space: trim_blocks, lstrip_blocks, and the
 * signs - and + at tags. */
#include "text/jinja_int.h"
#include "text/unicode.h"
#include <stdlib.h>
#include <string.h>

typedef struct lex {
    jparse *p;
    const char *s;
    size_t n, i;
    int line;
    bool line_start; /* the token before ended in a new line */
} lex;

enum { MAX_TOKENS = 200000 };

bool tn_jspace(uint32_t c) { return tn_is_space(c) || (c >= 0x1C && c <= 0x1F); }

static tn_status push(lex *l, jtoken t) {
    jparse *p = l->p;
    if (p->n >= MAX_TOKENS)
        return tn_fail(p->e, TN_UNSUPPORTED, "chat template: more than %d tokens", MAX_TOKENS);
    if (!TN_GROW(p->tok, p->cap, p->n + 1))
        return tn_fail(p->e, TN_NOMEM, "no memory for a chat template");
    t.line = l->line;
    p->tok[p->n++] = t;
    return TN_OK;
}

static tn_status push_text(lex *l, jk kind, const char *s, size_t n) {
    char *copy = tn_arena_memdup0(l->p->t->arena, s, n);
    if (!copy) return tn_fail(l->p->e, TN_NOMEM, "no memory for a chat template");
    return push(l, (jtoken){.kind = kind, .s = copy, .n = n});
}

static void skip_space(lex *l) {
    while (l->i < l->n) {
        size_t k = l->i;
        uint32_t c = tn_utf8_next(l->s, &k);
        if (!tn_jspace(c)) return;
        if (c == '\n') l->line++;
        l->i = k;
    }
}

static bool at(const lex *l, const char *z) {
    size_t k = strlen(z);
    return l->n - l->i >= k && !memcmp(l->s + l->i, z, k);
}

/* ---- strings and numbers ---- */

static int hex_digits(const char *s, size_t n, size_t want, uint32_t *v) {
    *v = 0;
    if (n < want) return 0;
    for (size_t k = 0; k < want; k++) {
        char c = s[k];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0) return 0;
        *v = *v << 4 | (uint32_t)d;
    }
    return 1;
}

/* One escape after the backslash at s[0]; bytes taken, 0: leave the backslash as it is, -1: malformed. */
static int escape(const char *s, size_t n, tn_str *out) {
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    const char *k = s[0] ? strchr(from, s[0]) : NULL;
    uint32_t v = 0;
    char b[4];
    if (k) {
        tn_str_addc(out, to[k - from]);
        return 1;
    }
    if (s[0] == '\n') return 1;
    if (s[0] >= '0' && s[0] <= '7') {
        int d = 0;
        while (d < 3 && (size_t)d < n && s[d] >= '0' && s[d] <= '7')
            v = v * 8 + (uint32_t)(s[d++] - '0');
        tn_str_add(out, b, (size_t)tn_utf8_put(b, v));
        return d;
    }
    size_t want = s[0] == 'x' ? 2 : s[0] == 'u' ? 4 : s[0] == 'U' ? 8 : 0;
    if (!want) return s[0] == 'N' ? -1 : 0;
    if (!hex_digits(s + 1, n - 1, want, &v) || v > 0x10FFFF || (v >= 0xD800 && v < 0xE000))
        return -1;
    tn_str_add(out, b, (size_t)tn_utf8_put(b, v));
    return (int)want + 1;
}

static tn_status lex_string(lex *l) {
    char quote = l->s[l->i++];
    tn_str out = TN_STR_INIT;
    tn_status st = TN_OK;
    int line = l->line;
    while (l->i < l->n && l->s[l->i] != quote) {
        char c = l->s[l->i++];
        if (c == '\n') l->line++;
        if (c != '\\' || l->i >= l->n) {
            tn_str_addc(&out, c);
            continue;
        }
        int used = escape(l->s + l->i, l->n - l->i, &out);
        if (used < 0) {
            st = tn_fail(l->p->e, TN_FORMAT, "chat template, line %d: malformed escape in a string",
                         l->line);
            break;
        }
        if (used == 0) tn_str_addc(&out, '\\');
        l->i += (size_t)used;
    }
    if (st == TN_OK && l->i++ >= l->n)
        st = tn_fail(l->p->e, TN_FORMAT, "chat template, line %d: string without its closing quote",
                     line);
    if (st == TN_OK && out.oom) st = tn_fail(l->p->e, TN_NOMEM, "no memory for a chat template");
    if (st == TN_OK) st = push_text(l, JK_STRING, out.s ? out.s : "", out.len);
    tn_str_free(&out);
    return st;
}

static tn_status lex_number(lex *l) {
    char digits[64];
    size_t k = 0, i = l->i;
    int base = 10;
    bool real = false;
    if (l->s[i] == '0' && i + 1 < l->n && strchr("xXoObB", l->s[i + 1]) && l->s[i + 1]) {
        base = strchr("xX", l->s[i + 1]) ? 16 : strchr("oO", l->s[i + 1]) ? 8 : 2;
        i += 2;
    }
    for (; i < l->n && k < sizeof digits - 1; i++) {
        char c = l->s[i];
        bool digit = (c >= '0' && c <= '9') ||
                     (base == 16 && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')));
        bool dot = base == 10 && !real && c == '.' && i + 1 < l->n && l->s[i + 1] >= '0' &&
                   l->s[i + 1] <= '9';
        bool exponent = base == 10 && (c == 'e' || c == 'E') && i + 1 < l->n &&
                        ((l->s[i + 1] >= '0' && l->s[i + 1] <= '9') ||
                         ((l->s[i + 1] == '-' || l->s[i + 1] == '+') && i + 2 < l->n &&
                          l->s[i + 2] >= '0' && l->s[i + 2] <= '9'));
        if (c == '_') continue;
        if (!digit && !dot && !exponent) break;
        if (dot || exponent) real = true;
        digits[k++] = c;
        if (exponent && (l->s[i + 1] == '-' || l->s[i + 1] == '+')) digits[k++] = l->s[++i];
    }
    if (k == sizeof digits - 1)
        return tn_fail(l->p->e, TN_FORMAT, "chat template, line %d: number too long", l->line);
    digits[k] = 0;
    l->i = i;
    if (real) return push(l, (jtoken){.kind = JK_FLOAT, .f = strtod(digits, NULL)});
    char *end;
    unsigned long long v = strtoull(digits, &end, base);
    if (*end || k == 0 || v > INT64_MAX || (k > 18 && base == 10))
        return tn_fail(l->p->e, TN_FORMAT, "chat template, line %d: malformed or too large number",
                       l->line);
    return push(l, (jtoken){.kind = JK_INT, .i = (int64_t)v});
}

static bool name_char(uint32_t c, bool first) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
    return letter || (!first && c >= '0' && c <= '9');
}

/* ---- inside {{ }} and {% %} ---- */

/* The end of a tag takes the white space that its sign or trim_blocks says. */
static void after_tag(lex *l, bool minus, bool trim) {
    if (minus)
        skip_space(l);
    else if (trim && l->i < l->n && l->s[l->i] == '\n') {
        l->i++;
        l->line++;
    }
    l->line_start = l->i > 0 && l->s[l->i - 1] == '\n';
}

static tn_status lex_inside(lex *l, bool block) {
    const char *close = block ? "%}" : "}}", *close_minus = block ? "-%}" : "-}}";
    int open = 0, from = l->line;
    static const char *const ops[] = {"==", "!=", "<=", ">=", "**", "//", "+", "-", "*",
                                      "/",  "%",  "~",  "(",  ")",  "[",  "]", "{", "}",
                                      ",",  ":",  ".",  "|",  "=",  "<",  ">", ";"};
    for (;;) {
        skip_space(l);
        if (l->i >= l->n)
            return tn_fail(l->p->e, TN_FORMAT, "chat template, line %d: tag without its end %s",
                           from, close);
        if (open == 0) {
            bool minus = at(l, close_minus), plus = block && at(l, "+%}");
            if (minus || plus || at(l, close)) {
                l->i += minus || plus ? 3 : 2;
                TN_TRY(push(l, (jtoken){.kind = block ? JK_BLOCK_END : JK_VAR_END}));
                after_tag(l, minus, block && !plus);
                return TN_OK;
            }
        }
        char c = l->s[l->i];
        if (c == '"' || c == '\'') {
            TN_TRY(lex_string(l));
            continue;
        }
        if (c >= '0' && c <= '9') {
            TN_TRY(lex_number(l));
            continue;
        }
        size_t k = l->i, start = l->i;
        if (name_char(tn_utf8_next(l->s, &k), true)) {
            do l->i = k;
            while (k < l->n && name_char(tn_utf8_next(l->s, &k), false));
            TN_TRY(push_text(l, JK_NAME, l->s + start, l->i - start));
            continue;
        }
        size_t o = 0, count = sizeof ops / sizeof *ops;
        while (o < count && !at(l, ops[o])) o++;
        if (o == count)
            return tn_fail(l->p->e, TN_FORMAT, "chat template, line %d: unexpected character '%c'",
                           l->line, c);
        jtoken t = {.kind = JK_OP};
        memcpy(t.op, ops[o], strlen(ops[o]) + 1);
        if (strchr("([{", c)) open++;
        if (strchr(")]}", c) && open-- == 0)
            return tn_fail(l->p->e, TN_FORMAT, "chat template, line %d: unexpected '%c'", l->line,
                           c);
        l->i += strlen(ops[o]);
        TN_TRY(push(l, t));
    }
}

/* ---- text between tags ---- */

static bool only_space(const char *s, size_t a, size_t b) {
    if (a == b) return false;
    for (size_t i = a; i < b;)
        if (!tn_jspace(tn_utf8_next(s, &i))) return false;
    return true;
}

/* Text [a, b) before a tag that begins at b with `sign`; lstrip: the tag is no {{. */
static tn_status text_before(lex *l, size_t a, size_t b, char sign, bool lstrip) {
    size_t end = b;
    if (sign == '-') {
        while (end > a) {
            size_t k = tn_utf8_back(l->s, end), q = k;
            if (!tn_jspace(tn_utf8_next(l->s, &q))) break;
            end = k;
        }
    } else if (sign != '+' && lstrip) {
        size_t line = b;
        while (line > a && l->s[line - 1] != '\n') line--;
        if ((line > a || l->line_start) && only_space(l->s, line, b)) end = line;
    }
    tn_status st = end > a ? push_text(l, JK_DATA, l->s + a, end - a) : TN_OK;
    for (size_t k = a; k < b; k++)
        if (l->s[k] == '\n') l->line++;
    return st;
}

/* {% raw %} at l->i (behind "{%" and its sign)? Then its text up to {% endraw %}. */
static tn_status raw_block(lex *l, bool *was) {
    size_t save = l->i;
    int line = l->line;
    *was = false;
    skip_space(l);
    if (!at(l, "raw")) {
        l->i = save;
        l->line = line;
        return TN_OK;
    }
    l->i += 3;
    skip_space(l);
    bool minus = at(l, "-%}");
    if (!minus && !at(l, "%}")) {
        l->i = save;
        l->line = line;
        return TN_OK;
    }
    *was = true;
    l->i += minus ? 3 : 2;
    if (minus) skip_space(l);
    for (size_t a = l->i, b = a; b + 1 < l->n; b++) {
        if (l->s[b] != '{' || l->s[b + 1] != '%') continue;
        char sign = b + 2 < l->n && (l->s[b + 2] == '-' || l->s[b + 2] == '+') ? l->s[b + 2] : 0;
        l->i = b + 2 + (sign != 0);
        skip_space(l);
        if (!at(l, "endraw")) continue;
        l->i += 6;
        skip_space(l);
        bool m = at(l, "-%}"), p = at(l, "+%}");
        if (!m && !p && !at(l, "%}")) continue;
        size_t after = l->i + (m || p ? 3 : 2);
        TN_TRY(text_before(l, a, b, sign, true));
        l->i = after;
        after_tag(l, m, !p);
        return TN_OK;
    }
    return tn_fail(l->p->e, TN_FORMAT, "chat template, line %d: {%% raw %%} without {%% endraw %%}",
                   line);
}

static tn_status lex_all(lex *l) {
    while (l->i < l->n) {
        size_t a = l->i, b = a;
        while (b + 1 < l->n && !(l->s[b] == '{' && strchr("{%#", l->s[b + 1]) && l->s[b + 1])) b++;
        if (b + 1 >= l->n) return push_text(l, JK_DATA, l->s + a, l->n - a);
        char tag = l->s[b + 1],
             sign = b + 2 < l->n && (l->s[b + 2] == '-' || l->s[b + 2] == '+') ? l->s[b + 2] : 0;
        TN_TRY(text_before(l, a, b, sign, tag != '{'));
        l->i = b + 2 + (sign != 0);
        if (tag == '#') {
            int line = l->line;
            while (l->i < l->n && !at(l, "#}")) l->line += l->s[l->i++] == '\n';
            if (l->i >= l->n)
                return tn_fail(l->p->e, TN_FORMAT, "chat template, line %d: comment without #}",
                               line);
            char last = l->i > b + 2 ? l->s[l->i - 1] : 0;
            l->i += 2;
            after_tag(l, last == '-', last != '+');
            continue;
        }
        bool raw = false;
        if (tag == '%') TN_TRY(raw_block(l, &raw));
        if (raw) continue;
        TN_TRY(push(l, (jtoken){.kind = tag == '%' ? JK_BLOCK_BEGIN : JK_VAR_BEGIN}));
        TN_TRY(lex_inside(l, tag == '%'));
    }
    return TN_OK;
}

tn_status tn_jlex(jparse *p, const char *s, size_t n) {
    tn_str text = TN_STR_INIT; /* new lines are \n; the last one is dropped */
    for (size_t k = 0; k < n; k++) {
        if (s[k] == '\r') {
            tn_str_addc(&text, '\n');
            if (k + 1 < n && s[k + 1] == '\n') k++;
        } else {
            tn_str_addc(&text, s[k]);
        }
    }
    if (text.len && text.s[text.len - 1] == '\n') text.s[--text.len] = 0;
    lex l = {.p = p, .s = text.s ? text.s : "", .n = text.len, .line = 1, .line_start = true};
    tn_status st = text.oom ? tn_fail(p->e, TN_NOMEM, "no memory for a chat template") : TN_OK;
    if (st == TN_OK && !tn_utf8_valid(l.s, l.n))
        st = tn_fail(p->e, TN_FORMAT, "the chat template is not UTF-8");
    if (st == TN_OK) st = lex_all(&l);
    if (st == TN_OK) st = push(&l, (jtoken){.kind = JK_END});
    tn_str_free(&text);
    return st;
}
