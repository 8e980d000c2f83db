/* Decoders: ids to text. A chain over a list of strings, as the library runs it. */
#include "text/tok.h"
#include <string.h>

static tn_status read_sequence(tn_stages *s, const json_t *j, const char *where, tn_err *e) {
    static _Thread_local int depth;
    json_t *list, *v;
    size_t k;
    tn_status st = TN_OK;
    TN_TRY(tn_json_need(j, "decoders", JSON_ARRAY, &list, where, e));
    if (++depth > 20) st = tn_fail(e, TN_UNSUPPORTED, "%s: Sequence nested deeper than 20", where);
    json_array_foreach(list, k, v) if (st == TN_OK) st = tn_dec_read(s, v, where, e);
    depth--;
    return st;
}

tn_status tn_dec_read(tn_stages *s, const json_t *j, const char *where, tn_err *e) {
    const char *type;
    tn_stage *g;
    if (!j || json_is_null(j)) return TN_OK;
    TN_TRY(tn_stage_type(j, &type, where, e));
    if (!strcmp(type, "Sequence")) return read_sequence(s, j, where, e);
    if (!strcmp(type, "ByteLevel")) return tn_stage_push(s, &g, DEC_BYTES, e);
    if (!strcmp(type, "ByteFallback")) return tn_stage_push(s, &g, DEC_BYTE_FALLBACK, e);
    if (!strcmp(type, "Fuse")) return tn_stage_push(s, &g, DEC_FUSE, e);
    if (!strcmp(type, "Replace")) {
        TN_TRY(tn_stage_push(s, &g, DEC_REPLACE, e));
        TN_TRY(tn_stage_pattern(g, j, where, e));
        return tn_stage_text(g, j, "content", where, e);
    }
    if (!strcmp(type, "Strip")) {
        TN_TRY(tn_stage_push(s, &g, DEC_STRIP, e));
        TN_TRY(tn_stage_text(g, j, "content", where, e));
        TN_TRY(tn_json_int(j, "start", 0, &g->start, where, e));
        return tn_json_int(j, "stop", 0, &g->stop, where, e);
    }
    if (!strcmp(type, "Metaspace")) {
        const char *scheme;
        bool prefix;
        TN_TRY(tn_stage_push(s, &g, DEC_METASPACE, e));
        TN_TRY(tn_stage_text(g, j, "replacement", where, e));
        TN_TRY(tn_json_str(j, "prepend_scheme", "always", &scheme, where, e));
        TN_TRY(tn_json_bool(j, "add_prefix_space", true, &prefix, where, e));
        g->scheme = !strcmp(scheme, "never") || !prefix ? PREPEND_NEVER : PREPEND_ALWAYS;
        return g->n ? TN_OK
                    : tn_fail(e, TN_FORMAT, "%s: Metaspace's \"replacement\" must be one character",
                              where);
    }
    return tn_fail(e, TN_UNSUPPORTED,
                   "%s: decoder \"%s\" is not supported (known: ByteLevel, ByteFallback, Fuse, "
                   "Replace, Strip, Metaspace, "
                   "Sequence)",
                   where, type);
}

/* ---- running: a list of strings in one buffer ---- */

typedef struct strings { /* string k is buf[end[k-1], end[k]) */
    tn_str buf;
    size_t *end;
    size_t n, cap;
} strings;

static tn_status close_string(strings *l, tn_err *e) {
    if (l->buf.oom || !TN_GROW(l->end, l->cap, l->n + 1))
        return tn_fail(e, TN_NOMEM, "no memory while decoding");
    l->end[l->n++] = l->buf.len;
    return TN_OK;
}

static const char *string_at(const strings *l, size_t k, size_t *n) {
    size_t a = k ? l->end[k - 1] : 0;
    *n = l->end[k] - a;
    return l->buf.s ? l->buf.s + a : "";
}

static void strings_free(strings *l) {
    tn_str_free(&l->buf);
    tn_free(l->end);
}

/* The bytes of a token whose characters are all of the byte alphabet, else the token as it stands. */
static void add_bytes(tn_str *out, const char *s, size_t n) {
    size_t from = out->len;
    for (size_t i = 0; i < n;) {
        int b = tn_char_byte(tn_utf8_next(s, &i));
        if (b < 0) {
            out->len = from;
            tn_str_add(out, s, n);
            return;
        }
        tn_str_addc(out, (char)b);
    }
}

static tn_status run_bytes(const strings *in, strings *out, tn_str *raw, tn_err *e) {
    for (size_t k = 0; k < in->n; k++) {
        size_t n;
        const char *s = string_at(in, k, &n);
        add_bytes(raw, s, n);
    }
    tn_utf8_replace(&out->buf, raw->s ? raw->s : "", raw->len);
    return raw->oom ? tn_fail(e, TN_NOMEM, "no memory while decoding") : close_string(out, e);
}

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int byte_code(const char *s,
                     size_t n) { /* "<0x0A>"; like Rust's parser, "+A" counts as a number */
    if (n != 6 || memcmp(s, "<0x", 3) || s[5] != '>') return -1;
    int a = s[3] == '+' ? 0 : hex(s[3]), b = hex(s[4]);
    return a < 0 || b < 0 ? -1 : a * 16 + b;
}

static tn_status flush_codes(strings *out, tn_str *raw, tn_err *e) {
    tn_status st = TN_OK;
    if (raw->oom) return tn_fail(e, TN_NOMEM, "no memory while decoding");
    if (raw->len && tn_utf8_valid(raw->s, raw->len)) {
        tn_str_add(&out->buf, raw->s, raw->len);
        st = close_string(out, e);
    } else {
        for (size_t k = 0; k < raw->len && st == TN_OK; k++) {
            tn_str_add(&out->buf, "\xEF\xBF\xBD", 3);
            st = close_string(out, e);
        }
    }
    tn_str_clear(raw);
    return st;
}

static tn_status run_fallback(const strings *in, strings *out, tn_str *raw, tn_err *e) {
    tn_status st = TN_OK;
    for (size_t k = 0; k < in->n && st == TN_OK; k++) {
        size_t n;
        const char *s = string_at(in, k, &n);
        int b = byte_code(s, n);
        if (b >= 0) {
            tn_str_addc(raw, (char)b);
            continue;
        }
        st = flush_codes(out, raw, e);
        if (st != TN_OK) break;
        tn_str_add(&out->buf, s, n);
        st = close_string(out, e);
    }
    return st == TN_OK ? flush_codes(out, raw, e) : st;
}

static tn_status run_replace(const tn_stage *g, tn_rx_mem *m, const char *s, size_t n, tn_str *out,
                             tn_err *e) {
    size_t prev = 0, from = 0, a = 0, b = 0, last = SIZE_MAX;
    bool found = false;
    while (from <= n && n > 0) {
        TN_TRY(tn_rx_find(g->rx, m, s, n, from, &found, &a, &b, e));
        if (!found) break;
        if (a == b && b == last) {
            from += from < n ? (size_t)tn_utf8_size((unsigned char)s[from]) : 1;
            continue;
        }
        from = last = b;
        tn_str_add(out, s + prev, a - prev);
        tn_str_add(out, g->text, g->n);
        prev = b;
    }
    tn_str_add(out, s + prev, n - prev);
    return TN_OK;
}

static void run_strip(const tn_stage *g, const char *s, size_t n, tn_str *out) {
    size_t a = 0, b = n;
    for (int64_t k = 0; k < g->start && a + g->n <= n && g->n && !memcmp(s + a, g->text, g->n); k++)
        a += g->n;
    for (int64_t k = 0; k < g->stop && b >= g->n && g->n && !memcmp(s + b - g->n, g->text, g->n);
         k++)
        b -= g->n;
    if (a < b) tn_str_add(out, s + a, b - a);
}

static void run_metaspace(const tn_stage *g, bool first, const char *s, size_t n, tn_str *out) {
    for (size_t i = 0; i < n;) {
        if (n - i >= g->n && !memcmp(s + i, g->text, g->n)) {
            if (!first || g->scheme == PREPEND_NEVER) tn_str_addc(out, ' ');
            i += g->n;
        } else {
            size_t size = (size_t)tn_utf8_size((unsigned char)s[i]);
            tn_str_add(out, s + i, size);
            i += size;
        }
    }
}

struct tn_decode_mem {
    strings a, b;
    tn_str raw;
    tn_rx_mem rx;
};

tn_decode_mem *tn_decode_mem_new(void) { return tn_calloc(1, sizeof(tn_decode_mem)); }

static void mem_clear(tn_decode_mem *m) {
    strings_free(&m->a);
    strings_free(&m->b);
    tn_str_free(&m->raw);
    tn_rx_mem_free(&m->rx);
}

void tn_decode_mem_free(tn_decode_mem *m) {
    if (m) mem_clear(m);
    tn_free(m);
}

static tn_status run_stage(const tn_stage *g, tn_decode_mem *m, const strings *in, strings *out,
                           tn_err *e) {
    tn_str_clear(&m->raw);
    if (g->op == DEC_BYTES) return run_bytes(in, out, &m->raw, e);
    if (g->op == DEC_BYTE_FALLBACK) return run_fallback(in, out, &m->raw, e);
    if (g->op == DEC_FUSE) {
        tn_str_add(&out->buf, in->buf.s ? in->buf.s : "", in->buf.len);
        return close_string(out, e);
    }
    for (size_t k = 0; k < in->n; k++) {
        size_t n;
        const char *s = string_at(in, k, &n);
        if (g->op == DEC_REPLACE)
            TN_TRY(run_replace(g, &m->rx, s, n, &out->buf, e));
        else if (g->op == DEC_STRIP)
            run_strip(g, s, n, &out->buf);
        else
            run_metaspace(g, k == 0, s, n, &out->buf);
        TN_TRY(close_string(out, e));
    }
    return TN_OK;
}

/* The string of an id as the library decodes it (an added token in its normalised form) or NULL. */
static const char *decode_text(const tn_tokenizer *t, int32_t id, size_t *n) {
    if (id < 0 || id >= t->nid) return NULL;
    if (t->added_of[id] >= 0) {
        const tn_added *d = &t->added[t->added_of[id]];
        *n = d->form ? d->form_n : d->n;
        return d->form ? d->form : d->content;
    }
    return tn_token_text(t, id, n);
}

static bool special_text(const tn_tokenizer *t, const char *s, size_t n) {
    int32_t id = tn_vocab_find(&t->added_by_name, s, n);
    return id >= 0 && t->added[t->added_of[id]].special;
}

tn_status tn_decode_with(const tn_tokenizer *t, tn_decode_mem *m, const int32_t *ids, size_t n,
                         bool skip_special, tn_str *out, tn_err *e) {
    strings *a = &m->a, *b = &m->b;
    tn_status st = TN_OK;
    tn_str_clear(&a->buf);
    a->n = 0;
    for (size_t k = 0; k < n && st == TN_OK; k++) {
        size_t len;
        const char *s = decode_text(t, ids[k], &len);
        if (!s || (skip_special && special_text(t, s, len))) continue;
        if (!t->has_dec && a->n) tn_str_addc(&a->buf, ' ');
        tn_str_add(&a->buf, s, len);
        st = close_string(a, e);
    }
    for (size_t k = 0; k < t->dec.n && st == TN_OK; k++) {
        tn_str_clear(&b->buf);
        b->n = 0;
        st = run_stage(&t->dec.v[k], m, a, b, e);
        strings swap = *a;
        *a = *b;
        *b = swap;
    }
    if (st == TN_OK && a->buf.len) tn_str_add(out, a->buf.s, a->buf.len);
    if (st == TN_OK && out->oom) st = tn_fail(e, TN_NOMEM, "no memory while decoding");
    return st;
}

tn_status tn_decode(const tn_tokenizer *t, const int32_t *ids, size_t n, bool skip_special,
                    tn_str *out, tn_err *e) {
    tn_decode_mem m = {0};
    tn_status st = tn_decode_with(t, &m, ids, n, skip_special, out, e);
    mem_clear(&m);
    return st;
}
