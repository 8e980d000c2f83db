/* Pieces of text on their way through the tokenizer; see tok.h. */
#include "text/tok.h"
#include <string.h>

static tn_status no_memory(tn_work *w) {
    return tn_fail(w->e, TN_NOMEM, "no memory while tokenizing");
}

/* Input bytes that byte k of the piece came from: of the whole code point, as the library counts. */
void tn_piece_origin(const tn_piece *p, size_t k, uint32_t *a, uint32_t *b) {
    if (p->a) {
        *a = p->a[k];
        *b = p->b[k];
        return;
    }
    size_t i = k;
    while (i > 0 && ((unsigned char)p->s[i] & 0xC0) == 0x80) i--;
    *a = (uint32_t)(p->at + i);
    *b = (uint32_t)(p->at + i) + (uint32_t)tn_utf8_size((unsigned char)p->s[i]);
}

tn_status tn_pieces_push(tn_work *w, tn_pieces *l, tn_piece p) {
    if (!TN_GROW(l->v, l->cap, l->n + 1)) return no_memory(w);
    l->v[l->n++] = p;
    return TN_OK;
}

tn_piece tn_piece_slice(const tn_piece *p, size_t a, size_t b) {
    return (tn_piece){.s = p->s + a,
                      .n = b - a,
                      .a = p->a ? p->a + a : NULL,
                      .b = p->b ? p->b + a : NULL,
                      .at = p->at + a,
                      .id = -1};
}

static tn_status room(tn_work *w, tn_nbuf *o, size_t more) {
    if (o->n + more <= o->cap) return TN_OK;
    size_t cap = o->cap * 2 > o->n + more ? o->cap * 2 : o->n + more + 64;
    if (cap > UINT32_MAX)
        return tn_fail(w->e, TN_UNSUPPORTED, "a text grows past 4 GB in the normaliser");
    char *s = tn_realloc(o->s, cap, 1);
    if (!s) return no_memory(w);
    o->s = s;
    uint32_t *a = tn_realloc(o->a, cap, sizeof *a);
    if (!a) return no_memory(w);
    o->a = a;
    uint32_t *b = tn_realloc(o->b, cap, sizeof *b);
    if (!b) return no_memory(w);
    o->b = b;
    o->cap = cap;
    return TN_OK;
}

tn_status tn_nbuf_put(tn_work *w, tn_nbuf *o, const char *s, size_t n, uint32_t a, uint32_t b) {
    TN_TRY(room(w, o, n));
    if (n) memcpy(o->s + o->n, s, n);
    if (w->align)
        for (size_t k = 0; k < n; k++) {
            o->a[o->n + k] = a;
            o->b[o->n + k] = b;
        }
    o->n += n;
    return TN_OK;
}

tn_status tn_nbuf_copy(tn_work *w, tn_nbuf *o, const tn_piece *p, size_t from, size_t to) {
    TN_TRY(room(w, o, to - from));
    if (to > from) memcpy(o->s + o->n, p->s + from, to - from);
    if (w->align)
        for (size_t k = from; k < to; k++)
            tn_piece_origin(p, k, &o->a[o->n + k - from], &o->b[o->n + k - from]);
    o->n += to - from;
    return TN_OK;
}

tn_status tn_nbuf_keep(tn_work *w, const tn_nbuf *o, tn_piece *p) {
    char *s = tn_arena_alloc(w->arena, o->n + 1);
    uint32_t *a = NULL, *b = NULL;
    if (w->align) {
        a = tn_arena_alloc(w->arena, (o->n + 1) * sizeof *a);
        b = tn_arena_alloc(w->arena, (o->n + 1) * sizeof *b);
    }
    if (!s || (w->align && (!a || !b))) return no_memory(w);
    if (o->n) memcpy(s, o->s, o->n);
    if (w->align && o->n) {
        memcpy(a, o->a, o->n * sizeof *a);
        memcpy(b, o->b, o->n * sizeof *b);
    }
    p->s = s;
    p->n = o->n;
    p->a = a;
    p->b = b;
    return TN_OK;
}

tn_status tn_cut_add(tn_work *w, size_t a, size_t b, bool match) {
    if (!TN_GROW(w->cut, w->cut_cap, w->ncut + 1)) return no_memory(w);
    w->cut[w->ncut++] = (tn_cut){a, b, match};
    return TN_OK;
}

/* Matches and what lies between; an empty match right after a match is passed over. */
tn_status tn_cut_rx(tn_work *w, const tn_rx *r, const tn_piece *p) {
    size_t prev = 0, from = 0, a = 0, b = 0, last = SIZE_MAX;
    bool found = false;
    w->ncut = 0;
    while (from <= p->n) {
        TN_TRY(tn_rx_find(r, &w->rx, p->s, p->n, from, &found, &a, &b, w->e));
        if (!found) break;
        if (a == b && b == last) {
            from += from < p->n ? (size_t)tn_utf8_size((unsigned char)p->s[from]) : 1;
            continue;
        }
        from = last = b;
        if (prev != a) TN_TRY(tn_cut_add(w, prev, a, false));
        TN_TRY(tn_cut_add(w, a, b, true));
        prev = b;
    }
    return prev != p->n ? tn_cut_add(w, prev, p->n, false) : TN_OK;
}

static tn_status push_slice(tn_work *w, const tn_piece *p, size_t a, size_t b) {
    return a < b ? tn_pieces_push(w, &w->out, tn_piece_slice(p, a, b)) : TN_OK;
}

/* A match joins its neighbour only when the cut before it (in reading direction) was no match. */
static void join(tn_work *w, bool backwards, bool contiguous) {
    size_t n = w->ncut, k = 0;
    bool before = false;
    for (size_t i = 0; i < n; i++) {
        size_t at = backwards ? n - 1 - i : i;
        tn_cut c = w->cut[at];
        bool joins = contiguous ? c.match == before : c.match && !before;
        before = c.match;
        if (joins && k > 0) {
            tn_cut *o = backwards ? &w->cut[n - k] : &w->cut[k - 1];
            if (backwards)
                o->a = c.a;
            else
                o->b = c.b;
            continue;
        }
        k++;
        c.match = false;
        w->cut[backwards ? n - k : k - 1] = c;
    }
    if (backwards && k < n) memmove(w->cut, w->cut + n - k, k * sizeof *w->cut);
    w->ncut = k;
}

tn_status tn_cut_apply(tn_work *w, const tn_piece *p, tn_behaviour how) {
    if (how == SPLIT_PREVIOUS) join(w, false, false);
    if (how == SPLIT_NEXT) join(w, true, false);
    if (how == SPLIT_CONTIGUOUS) join(w, false, true);
    for (size_t i = 0; i < w->ncut; i++)
        if (how != SPLIT_REMOVED || !w->cut[i].match)
            TN_TRY(push_slice(w, p, w->cut[i].a, w->cut[i].b));
    return TN_OK;
}

/* GPT-2's printable alphabet: '!'..'~', 0xA1..0xAC, 0xAE..0xFF stand for themselves, the other
 * 68 bytes in order for U+0100 and on. */
uint32_t tn_byte_char(unsigned b) {
    if ((b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE) return b;
    if (b < '!') return 0x100 + b;
    if (b < 0xA1) return 0x100 + 33 + (b - 0x7F);
    return 0x100 + 67;
}

int tn_char_byte(uint32_t c) {
    if ((c >= '!' && c <= '~') || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF))
        return (int)c;
    if (c < 0x100 || c > 0x143) return -1;
    unsigned k = c - 0x100;
    return k < 33 ? (int)k : k < 67 ? (int)(0x7F + k - 33) : 0xAD;
}

tn_status tn_bytes_visible(tn_work *w, tn_piece *p) {
    tn_nbuf *o = &w->buf;
    o->n = 0;
    for (size_t k = 0; k < p->n; k++) {
        char c[4];
        uint32_t a = 0, b = 0;
        if (w->align) tn_piece_origin(p, k, &a, &b);
        int size = tn_utf8_put(c, tn_byte_char((unsigned char)p->s[k]));
        TN_TRY(tn_nbuf_put(w, o, c, (size_t)size, a, b));
    }
    return tn_nbuf_keep(w, o, p);
}

tn_status tn_piece_prepend(tn_work *w, tn_piece *p, const char *s, size_t n) {
    uint32_t a = 0, b = 0;
    if (p->n == 0) return TN_OK;
    tn_nbuf *o = &w->buf;
    o->n = 0;
    if (w->align) tn_piece_origin(p, 0, &a, &b);
    TN_TRY(tn_nbuf_put(w, o, s, n, a, b));
    TN_TRY(tn_nbuf_copy(w, o, p, 0, p->n));
    return tn_nbuf_keep(w, o, p);
}
