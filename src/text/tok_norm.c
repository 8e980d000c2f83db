/* Normalisers: Prepend, Replace, NFC NFD NFKC NFKD, Lowercase, Strip, StripAccents, ByteLevel,
 * Sequence. Readers shared with the other stages are here too. */
#include "text/tok.h"
#include <string.h>

void tn_stages_free(tn_stages *s) {
    for (size_t k = 0; k < s->n; k++) {
        tn_free(s->v[k].text);
        tn_rx_free(s->v[k].rx);
    }
    tn_free(s->v);
    memset(s, 0, sizeof *s);
}

tn_status tn_stage_push(tn_stages *s, tn_stage **g, int op, tn_err *e) {
    if (s->n >= 1000)
        return tn_fail(e, TN_UNSUPPORTED, "a tokenizer with more than 1000 steps in a Sequence");
    if (!TN_GROW(s->v, s->cap, s->n + 1)) return tn_fail(e, TN_NOMEM, "no memory for a tokenizer");
    *g = &s->v[s->n++];
    memset(*g, 0, sizeof **g);
    (*g)->op = op;
    return TN_OK;
}

tn_status tn_stage_type(const json_t *j, const char **type, const char *where, tn_err *e) {
    if (!json_is_object(j))
        return tn_fail(e, TN_FORMAT, "%s: expected an object with a \"type\"", where);
    return tn_json_need_str(j, "type", type, where, e);
}

tn_status tn_stage_text(tn_stage *g, const json_t *j, const char *key, const char *where,
                        tn_err *e) {
    json_t *v;
    TN_TRY(tn_json_need(j, key, JSON_STRING, &v, where, e));
    g->n = json_string_length(v);
    tn_free(g->text);
    g->text = tn_malloc(g->n + 1);
    if (!g->text) return tn_fail(e, TN_NOMEM, "no memory for a tokenizer");
    memcpy(g->text, json_string_value(v), g->n + 1);
    return TN_OK;
}

tn_status tn_stage_pattern(tn_stage *g, const json_t *j, const char *where, tn_err *e) {
    json_t *p, *v;
    TN_TRY(tn_json_need(j, "pattern", JSON_OBJECT, &p, where, e));
    if (json_is_string(v = json_object_get(p, "Regex")))
        return tn_rx_compile(&g->rx, json_string_value(v), json_string_length(v), where, e);
    if (json_is_string(v = json_object_get(p, "String")))
        return tn_rx_literal(&g->rx, json_string_value(v), json_string_length(v), e);
    return tn_fail(e, TN_FORMAT, "%s: \"pattern\" must be {\"Regex\": ...} or {\"String\": ...}",
                   where);
}

static tn_status read_sequence(tn_stages *s, const json_t *j, const char *where, tn_err *e) {
    static _Thread_local int depth;
    json_t *list, *v;
    size_t k;
    tn_status st = TN_OK;
    TN_TRY(tn_json_need(j, "normalizers", JSON_ARRAY, &list, where, e));
    if (++depth > 20) st = tn_fail(e, TN_UNSUPPORTED, "%s: Sequence nested deeper than 20", where);
    json_array_foreach(list, k, v) if (st == TN_OK) st = tn_norm_read(s, v, where, e);
    depth--;
    return st;
}

tn_status tn_norm_read(tn_stages *s, const json_t *j, const char *where, tn_err *e) {
    const char *type;
    tn_stage *g;
    if (!j || json_is_null(j)) return TN_OK;
    TN_TRY(tn_stage_type(j, &type, where, e));
    static const struct {
        const char *name;
        int op, form;
    } plain[] = {
        {"NFC", NORM_FORM, TN_NFC},   {"NFD", NORM_FORM, TN_NFD},
        {"NFKC", NORM_FORM, TN_NFKC}, {"NFKD", NORM_FORM, TN_NFKD},
        {"Lowercase", NORM_LOWER, 0}, {"StripAccents", NORM_ACCENTS, 0},
        {"ByteLevel", NORM_BYTES, 0},
    };
    for (size_t k = 0; k < sizeof plain / sizeof *plain; k++) {
        if (strcmp(type, plain[k].name)) continue;
        TN_TRY(tn_stage_push(s, &g, plain[k].op, e));
        g->form = (tn_form)plain[k].form;
        return TN_OK;
    }
    if (!strcmp(type, "Sequence")) return read_sequence(s, j, where, e);
    if (!strcmp(type, "Prepend")) {
        TN_TRY(tn_stage_push(s, &g, NORM_PREPEND, e));
        return tn_stage_text(g, j, "prepend", where, e);
    }
    if (!strcmp(type, "Replace")) {
        TN_TRY(tn_stage_push(s, &g, NORM_REPLACE, e));
        TN_TRY(tn_stage_pattern(g, j, where, e));
        return tn_stage_text(g, j, "content", where, e);
    }
    if (!strcmp(type, "Strip")) {
        TN_TRY(tn_stage_push(s, &g, NORM_STRIP, e));
        TN_TRY(tn_json_bool(j, "strip_left", true, &g->left, where, e));
        return tn_json_bool(j, "strip_right", true, &g->right, where, e);
    }
    return tn_fail(e, TN_UNSUPPORTED,
                   "%s: normaliser \"%s\" is not supported (known: Prepend, Replace, NFC, NFD, "
                   "NFKC, NFKD, Lowercase, "
                   "Strip, StripAccents, ByteLevel, Sequence)",
                   where, type);
}

/* ---- running ---- */

typedef struct form_ctx {
    tn_work *w;
    const tn_piece *p;
    tn_nbuf *o;
    const tn_str *text;
    tn_status st;
} form_ctx;

static void form_piece(void *ctx, size_t from, size_t to, size_t out_from, size_t out_to) {
    form_ctx *c = ctx;
    uint32_t a0 = 0, b0 = 0, a1 = 0, b1 = 0;
    if (c->st != TN_OK) return;
    if (c->w->align) {
        tn_piece_origin(c->p, from, &a0, &b0);
        tn_piece_origin(c->p, to - 1, &a1, &b1);
    }
    c->st = tn_nbuf_put(c->w, c->o, c->text->s + out_from, out_to - out_from, a0, b1);
}

static tn_status run_form(tn_work *w, const tn_stage *g, const tn_piece *p, tn_nbuf *o) {
    tn_str text = TN_STR_INIT;
    form_ctx c = {w, p, o, &text, TN_OK};
    bool ok = tn_normalize(&text, p->s, p->n, g->form, form_piece, &c);
    tn_str_free(&text);
    if (!ok)
        return tn_fail(w->e, TN_NOMEM, "no memory while normalising a text of %zu bytes", p->n);
    return c.st;
}

static tn_status run_replace(tn_work *w, const tn_stage *g, const tn_piece *p, tn_nbuf *o) {
    TN_TRY(tn_cut_rx(w, g->rx, p));
    for (size_t k = 0; k < w->ncut; k++) {
        tn_cut c = w->cut[k];
        uint32_t a = 0, b = 0;
        if (!c.match) {
            TN_TRY(tn_nbuf_copy(w, o, p, c.a, c.b));
            continue;
        }
        if (w->align && c.b > 0) tn_piece_origin(p, c.b - 1, &a, &b);
        TN_TRY(tn_nbuf_put(w, o, g->text, g->n, a, b));
    }
    return TN_OK;
}

static tn_status run_chars(tn_work *w, const tn_stage *g, const tn_piece *p, tn_nbuf *o) {
    for (size_t i = 0; i < p->n;) {
        size_t from = i;
        uint32_t c = tn_utf8_next(p->s, &i), low[2], a = 0, b = 0;
        if (g->op == NORM_ACCENTS) {
            if (!tn_is_mark(c)) TN_TRY(tn_nbuf_copy(w, o, p, from, i));
            continue;
        }
        int n = tn_lower(c, low);
        if (w->align) tn_piece_origin(p, from, &a, &b);
        for (int k = 0; k < n; k++) {
            char out[4];
            int size = tn_utf8_put(out, low[k]);
            TN_TRY(tn_nbuf_put(w, o, out, (size_t)size, a, b));
        }
    }
    return TN_OK;
}

static void run_strip(const tn_stage *g, tn_piece *p) {
    size_t a = 0, b = p->n, k = 0;
    while (g->left && a < b && (k = a, tn_is_space(tn_utf8_next(p->s, &k)))) a = k;
    while (g->right && b > a) {
        size_t at = k = tn_utf8_back(p->s, b);
        if (!tn_is_space(tn_utf8_next(p->s, &k))) break;
        b = at;
    }
    *p = tn_piece_slice(p, a, b);
}

static bool ascii(const char *s, size_t n) {
    for (size_t k = 0; k < n; k++)
        if ((unsigned char)s[k] >= 0x80) return false;
    return true;
}

tn_status tn_norm_run(const tn_tokenizer *t, tn_work *w, tn_piece *p) {
    for (size_t k = 0; k < t->norm.n; k++) {
        const tn_stage *g = &t->norm.v[k];
        tn_nbuf *o = &w->buf;
        o->n = 0;
        switch ((tn_norm_op)g->op) {
        case NORM_PREPEND:
            TN_TRY(tn_piece_prepend(w, p, g->text, g->n));
            continue;
        case NORM_BYTES:
            TN_TRY(tn_bytes_visible(w, p));
            continue;
        case NORM_STRIP:
            run_strip(g, p);
            continue;
        case NORM_FORM:
            if (ascii(p->s, p->n)) continue;
            TN_TRY(run_form(w, g, p, o));
            break;
        case NORM_REPLACE:
            TN_TRY(run_replace(w, g, p, o));
            break;
        case NORM_LOWER:
        case NORM_ACCENTS:
            TN_TRY(run_chars(w, g, p, o));
            break;
        }
        TN_TRY(tn_nbuf_keep(w, o, p));
    }
    return TN_OK;
}
