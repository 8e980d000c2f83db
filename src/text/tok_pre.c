/* Pre-tokenizers: ByteLevel, Split, Digits, Whitespace, WhitespaceSplit, Metaspace, Punctuation,
 * Sequence. Each turns the list of pieces into a finer one; added tokens pass untouched. */
#include "text/tok.h"
#include <string.h>

static const char gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static tn_status read_behaviour(tn_stage *g, const json_t *j, const char *def, const char *where,
                                tn_err *e) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    const char *name;
    TN_TRY(tn_json_str(j, "behavior", def, &name, where, e));
    for (int k = 0; name && k < 5; k++)
        if (!strcmp(name, names[k])) {
            g->behaviour = (tn_behaviour)k;
            return TN_OK;
        }
    return tn_fail(e, TN_UNSUPPORTED,
                   "%s: \"behavior\" is \"%s\"; known: Removed, Isolated, MergedWithPrevious, "
                   "MergedWithNext, Contiguous",
                   where, name ? name : "missing");
}

static tn_status read_metaspace(tn_stages *s, const json_t *j, const char *where, tn_err *e) {
    tn_stage *g;
    const char *scheme;
    bool prefix;
    TN_TRY(tn_stage_push(s, &g, PRE_METASPACE, e));
    TN_TRY(tn_stage_text(g, j, "replacement", where, e));
    TN_TRY(tn_json_str(j, "prepend_scheme", "always", &scheme, where, e));
    TN_TRY(tn_json_bool(j, "add_prefix_space", true, &prefix, where, e));
    TN_TRY(tn_json_bool(j, "split", true, &g->split, where, e));
    if (g->n == 0 || !tn_utf8_valid(g->text, g->n) ||
        (size_t)tn_utf8_size((unsigned char)g->text[0]) != g->n)
        return tn_fail(e, TN_FORMAT, "%s: Metaspace's \"replacement\" must be one character",
                       where);
    if (!prefix && !json_object_get(j, "prepend_scheme")) scheme = "never";
    if (!strcmp(scheme, "always"))
        g->scheme = PREPEND_ALWAYS;
    else if (!strcmp(scheme, "first"))
        g->scheme = PREPEND_FIRST;
    else if (!strcmp(scheme, "never"))
        g->scheme = PREPEND_NEVER;
    else
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: \"prepend_scheme\" is \"%s\"; known: always, first, never", where,
                       scheme);
    if (!prefix && g->scheme != PREPEND_NEVER)
        return tn_fail(e, TN_FORMAT,
                       "%s: \"add_prefix_space\" false contradicts \"prepend_scheme\" \"%s\"",
                       where, scheme);
    return TN_OK;
}

static tn_status read_sequence(tn_stages *s, const json_t *j, const char *where, tn_err *e) {
    static _Thread_local int depth;
    json_t *list, *v;
    size_t k;
    tn_status st = TN_OK;
    TN_TRY(tn_json_need(j, "pretokenizers", JSON_ARRAY, &list, where, e));
    if (++depth > 20) st = tn_fail(e, TN_UNSUPPORTED, "%s: Sequence nested deeper than 20", where);
    json_array_foreach(list, k, v) if (st == TN_OK) st = tn_pre_read(s, v, where, e);
    depth--;
    return st;
}

tn_status tn_pre_read(tn_stages *s, const json_t *j, const char *where, tn_err *e) {
    const char *type;
    tn_stage *g;
    if (!j || json_is_null(j)) return TN_OK;
    TN_TRY(tn_stage_type(j, &type, where, e));
    if (!strcmp(type, "Sequence")) return read_sequence(s, j, where, e);
    if (!strcmp(type, "Metaspace")) return read_metaspace(s, j, where, e);
    if (!strcmp(type, "ByteLevel")) {
        TN_TRY(tn_stage_push(s, &g, PRE_BYTES, e));
        TN_TRY(tn_json_bool(j, "add_prefix_space", true, &g->prefix, where, e));
        TN_TRY(tn_json_bool(j, "use_regex", true, &g->regex, where, e));
        return g->regex ? tn_rx_compile(&g->rx, gpt2, sizeof gpt2 - 1, where, e) : TN_OK;
    }
    if (!strcmp(type, "Split")) {
        TN_TRY(tn_stage_push(s, &g, PRE_SPLIT, e));
        TN_TRY(tn_stage_pattern(g, j, where, e));
        TN_TRY(tn_json_bool(j, "invert", false, &g->invert, where, e));
        return read_behaviour(g, j, NULL, where, e);
    }
    if (!strcmp(type, "Digits")) {
        TN_TRY(tn_stage_push(s, &g, PRE_DIGITS, e));
        return tn_json_bool(j, "individual_digits", false, &g->each, where, e);
    }
    if (!strcmp(type, "Punctuation")) {
        TN_TRY(tn_stage_push(s, &g, PRE_PUNCT, e));
        return read_behaviour(g, j, "Isolated", where, e);
    }
    if (!strcmp(type, "Whitespace")) return tn_stage_push(s, &g, PRE_WHITESPACE, e);
    if (!strcmp(type, "WhitespaceSplit")) return tn_stage_push(s, &g, PRE_WHITESPACE_SPLIT, e);
    return tn_fail(
        e, TN_UNSUPPORTED,
        "%s: pre-tokenizer \"%s\" is not supported (known: ByteLevel, Split, Digits, Whitespace, "
        "WhitespaceSplit, Metaspace, Punctuation, Sequence)",
        where, type);
}

/* ---- running ---- */

/* Code points that satisfy `is`, each a match of its own, and the stretches between. */
static tn_status cut_chars(tn_work *w, const tn_piece *p, bool (*is)(uint32_t)) {
    size_t prev = 0;
    w->ncut = 0;
    for (size_t i = 0; i < p->n;) {
        size_t a = i;
        if (!is(tn_utf8_next(p->s, &i))) continue;
        if (prev < a) TN_TRY(tn_cut_add(w, prev, a, false));
        TN_TRY(tn_cut_add(w, a, i, true));
        prev = i;
    }
    return prev < p->n ? tn_cut_add(w, prev, p->n, false) : TN_OK;
}

static bool is_punct(uint32_t c) { return tn_is_punct(c); }

/* \w+|[^\w\s]+ kept, white space dropped. */
static tn_status run_whitespace(tn_work *w, const tn_piece *p) {
    int last = 0;
    size_t from = 0;
    for (size_t i = 0; i < p->n;) {
        size_t a = i;
        uint32_t c = tn_utf8_next(p->s, &i);
        int kind = tn_is_rword(c) ? 1 : tn_is_space(c) ? 0 : 2;
        if (kind == last) continue;
        if (last) TN_TRY(tn_pieces_push(w, &w->out, tn_piece_slice(p, from, a)));
        last = kind;
        from = a;
    }
    return last ? tn_pieces_push(w, &w->out, tn_piece_slice(p, from, p->n)) : TN_OK;
}

static tn_status run_metaspace(tn_work *w, const tn_stage *g, tn_piece p) {
    tn_nbuf *o = &w->buf;
    uint32_t a, b;
    o->n = 0;
    for (size_t i = 0, from = 0; i <= p.n; i++) {
        if (i < p.n && p.s[i] != ' ') continue;
        TN_TRY(tn_nbuf_copy(w, o, &p, from, i));
        if (i == p.n) break;
        a = b = 0;
        if (w->align) tn_piece_origin(&p, i, &a, &b);
        TN_TRY(tn_nbuf_put(w, o, g->text, g->n, a, b));
        from = i + 1;
    }
    TN_TRY(tn_nbuf_keep(w, o, &p));
    bool has = p.n >= g->n && !memcmp(p.s, g->text, g->n);
    a = 1;
    if (g->scheme == PREPEND_FIRST && p.n) tn_piece_origin(&p, 0, &a, &b);
    if (!has && (g->scheme == PREPEND_ALWAYS || (g->scheme == PREPEND_FIRST && a == 0)))
        TN_TRY(tn_piece_prepend(w, &p, g->text, g->n));
    if (!g->split) return tn_pieces_push(w, &w->out, p);
    w->ncut = 0;
    size_t prev = 0;
    for (size_t i = 0; i < p.n; i += (size_t)tn_utf8_size((unsigned char)p.s[i])) {
        if (p.n - i < g->n || memcmp(p.s + i, g->text, g->n)) continue;
        if (prev < i) TN_TRY(tn_cut_add(w, prev, i, false));
        TN_TRY(tn_cut_add(w, i, i + g->n, true));
        prev = i + g->n;
    }
    if (prev < p.n) TN_TRY(tn_cut_add(w, prev, p.n, false));
    return tn_cut_apply(w, &p, SPLIT_NEXT);
}

static tn_status run_bytes(const tn_tokenizer *t, tn_work *w, const tn_stage *g, bool last,
                           tn_piece p) {
    size_t first = w->out.n;
    if (g->prefix && p.s[0] != ' ') TN_TRY(tn_piece_prepend(w, &p, " ", 1));
    if (g->regex) {
        TN_TRY(tn_cut_rx(w, g->rx, &p));
        TN_TRY(tn_cut_apply(w, &p, SPLIT_ISOLATED));
    } else {
        TN_TRY(tn_pieces_push(w, &w->out, p));
    }
    for (size_t k = first; k < w->out.n && !(last && t->bytes_last); k++)
        TN_TRY(tn_bytes_visible(w, &w->out.v[k]));
    return TN_OK;
}

static tn_status run_one(const tn_tokenizer *t, tn_work *w, const tn_stage *g, bool last,
                         const tn_piece *p) {
    switch ((tn_pre_op)g->op) {
    case PRE_BYTES:
        return run_bytes(t, w, g, last, *p);
    case PRE_METASPACE:
        return run_metaspace(w, g, *p);
    case PRE_WHITESPACE:
        return run_whitespace(w, p);
    case PRE_WHITESPACE_SPLIT:
        TN_TRY(cut_chars(w, p, tn_is_space));
        return tn_cut_apply(w, p, SPLIT_REMOVED);
    case PRE_DIGITS:
        TN_TRY(cut_chars(w, p, tn_is_number));
        return tn_cut_apply(w, p, g->each ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS);
    case PRE_PUNCT:
        TN_TRY(cut_chars(w, p, is_punct));
        return tn_cut_apply(w, p, g->behaviour);
    case PRE_SPLIT:
        TN_TRY(tn_cut_rx(w, g->rx, p));
        for (size_t k = 0; k < w->ncut && g->invert; k++) w->cut[k].match = !w->cut[k].match;
        return tn_cut_apply(w, p, g->behaviour);
    }
    return TN_OK;
}

tn_status tn_pre_run(const tn_tokenizer *t, tn_work *w) {
    for (size_t k = 0; k < t->pre.n; k++) {
        w->out.n = 0;
        for (size_t i = 0; i < w->cur.n; i++) {
            tn_piece p = w->cur.v[i];
            if (p.id >= 0)
                TN_TRY(tn_pieces_push(w, &w->out, p));
            else if (p.n > 0)
                TN_TRY(run_one(t, w, &t->pre.v[k], k + 1 == t->pre.n, &p));
        }
        tn_pieces swap = w->cur;
        w->cur = w->out;
        w->out = swap;
    }
    return TN_OK;
}
