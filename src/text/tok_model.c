/* Models: BPE and WordLevel.
 *
 * BPE merges the pair of lowest rank, leftmost first, until no pair is left, by a heap over a
 * linked list of symbols: n log n. A queued pair counts as long as its place still merges to the
 * same token: the library's rule, kept to the letter. Words are cached. */
#include "text/tok.h"
#include <string.h>

enum { MAX_ID = 1 << 24, CACHE_ROWS = 1 << 15, CACHE_WORD = 256, CACHE_BYTES = 8 << 20 };

static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 32) * 0xD6E8FEB86659FD93ull;
    z = (z ^ z >> 32) * 0xD6E8FEB86659FD93ull;
    return z ^ z >> 32;
}

static const struct tn_merge *find_merge(const tn_tokenizer *t, int32_t a, int32_t b) {
    uint64_t pair = (uint64_t)(uint32_t)a << 32 | (uint32_t)b;
    if (!t->merge_slots) return NULL;
    for (size_t k = mix(pair) & (t->merge_slots - 1); t->merge[k].rank >= 0;
         k = (k + 1) & (t->merge_slots - 1))
        if (t->merge[k].pair == pair) return &t->merge[k];
    return NULL;
}

/* ---- reading ---- */

static tn_status read_vocab(tn_tokenizer *t, const json_t *model, tn_err *e) {
    json_t *vocab, *v;
    const char *key;
    size_t len;
    TN_TRY(tn_json_need(model, "vocab", JSON_OBJECT, &vocab, t->where, e));
    json_object_keylen_foreach(vocab, key, len, v) {
        json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id >= MAX_ID)
            return tn_fail(e, TN_FORMAT, "%s: the id of \"%s\" must be an integer from 0 to %d",
                           t->where, key, MAX_ID - 1);
        TN_TRY(tn_vocab_add(&t->vocab, key, len, (int32_t)id, e));
    }
    return TN_OK;
}

static tn_status split_merge(const tn_tokenizer *t, const json_t *v, size_t rank, const char *s[2],
                             size_t n[2], tn_err *e) {
    if (json_is_array(v) && json_array_size(v) == 2 && json_is_string(json_array_get(v, 0)) &&
        json_is_string(json_array_get(v, 1))) {
        for (int k = 0; k < 2; k++) {
            s[k] = json_string_value(json_array_get(v, (size_t)k));
            n[k] = json_string_length(json_array_get(v, (size_t)k));
        }
        return TN_OK;
    }
    if (json_is_string(v)) {
        const char *text = json_string_value(v);
        size_t len = json_string_length(v);
        const char *gap = memchr(text, ' ', len);
        if (gap && !memchr(gap + 1, ' ', len - (size_t)(gap + 1 - text))) {
            s[0] = text;
            n[0] = (size_t)(gap - text);
            s[1] = gap + 1;
            n[1] = len - n[0] - 1;
            return TN_OK;
        }
    }
    return tn_fail(e, TN_FORMAT, "%s: merge %zu is neither \"left right\" nor [left, right]",
                   t->where, rank);
}

/* Has the token a U+2581 behind another character? */
static bool mark_inside(const char *s, size_t n) {
    bool other = false;
    for (size_t i = 0; i < n; i += (size_t)tn_utf8_size((unsigned char)s[i])) {
        bool mark = n - i >= 3 && !memcmp(s + i, "\xE2\x96\x81", 3);
        if (mark && other) return true;
        other |= !mark;
    }
    return false;
}

static tn_status add_merge(tn_tokenizer *t, const json_t *v, int32_t rank, tn_str *joined,
                           tn_err *e) {
    const char *s[2];
    size_t n[2];
    int32_t id[3];
    TN_TRY(split_merge(t, v, (size_t)rank, s, n, e));
    tn_str_clear(joined);
    for (int k = 0; k < 2; k++) {
        id[k] = tn_vocab_find(&t->vocab, s[k], n[k]);
        if (id[k] < 0)
            return tn_fail(e, TN_FORMAT,
                           "%s: merge %d needs \"%.*s\", which is not in the vocabulary", t->where,
                           rank, (int)n[k], s[k]);
        tn_str_add(joined, s[k], n[k]);
    }
    if (joined->oom) return tn_fail(e, TN_NOMEM, "no memory for merges");
    id[2] = tn_vocab_find(&t->vocab, joined->s, joined->len);
    if (id[2] < 0)
        return tn_fail(e, TN_FORMAT, "%s: merge %d gives \"%s\", which is not in the vocabulary",
                       t->where, rank, joined->s);
    if (t->mark_starts && mark_inside(joined->s, joined->len)) t->mark_starts = false;
    uint64_t pair = (uint64_t)(uint32_t)id[0] << 32 | (uint32_t)id[1];
    size_t k = mix(pair) & (t->merge_slots - 1);
    while (t->merge[k].rank >= 0 && t->merge[k].pair != pair) k = (k + 1) & (t->merge_slots - 1);
    t->merge[k] = (struct tn_merge){pair, rank, id[2]};
    return TN_OK;
}

static tn_status read_merges(tn_tokenizer *t, const json_t *model, tn_err *e) {
    json_t *list, *v;
    size_t i, slots = 16;
    TN_TRY(tn_json_need(model, "merges", JSON_ARRAY, &list, t->where, e));
    while (slots < json_array_size(list) * 2 + 2) slots *= 2;
    t->merge = tn_malloc(slots * sizeof *t->merge);
    if (!t->merge) return tn_fail(e, TN_NOMEM, "no memory for %zu merges", json_array_size(list));
    for (size_t k = 0; k < slots; k++) t->merge[k].rank = -1;
    t->merge_slots = slots;
    tn_str joined = TN_STR_INIT;
    tn_status st = TN_OK;
    int32_t rank = 0;
    json_array_foreach(list, i, v) {
        const char *text = json_string_value(v);
        if (text && !strncmp(text, "#version", 8)) continue;
        st = add_merge(t, v, rank++, &joined, e);
        if (st != TN_OK) break;
    }
    tn_str_free(&joined);
    return st;
}

static tn_status read_bpe(tn_tokenizer *t, const json_t *model, tn_err *e) {
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const char *text;
    for (int k = 0; k < 2; k++) {
        TN_TRY(tn_json_str(model, affixes[k], NULL, &text, t->where, e));
        if (text && *text)
            return tn_fail(e, TN_UNSUPPORTED, "%s: BPE with \"%s\": \"%s\" is not supported",
                           t->where, affixes[k], text);
    }
    json_t *dropout = json_object_get(model, "dropout");
    if (dropout && !json_is_null(dropout) &&
        !(json_is_number(dropout) && json_number_value(dropout) == 0))
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: BPE with \"dropout\" gives random ids; set it to null", t->where);
    TN_TRY(tn_json_bool(model, "fuse_unk", false, &t->fuse_unk, t->where, e));
    TN_TRY(tn_json_bool(model, "byte_fallback", false, &t->byte_fallback, t->where, e));
    TN_TRY(tn_json_bool(model, "ignore_merges", false, &t->ignore_merges, t->where, e));
    t->mark_starts = !t->ignore_merges && tn_vocab_find(&t->vocab, "\xE2\x96\x81", 3) >= 0;
    TN_TRY(read_merges(t, model, e));
    for (unsigned b = 0; b < 256; b++) {
        char code[8];
        int n = snprintf(code, sizeof code, "<0x%02X>", b);
        t->fallback_id[b] = tn_vocab_find(&t->vocab, code, (size_t)n);
    }
    return TN_OK;
}

tn_status tn_model_read(tn_tokenizer *t, const json_t *model, tn_err *e) {
    const char *type = NULL, *unk;
    if (!json_is_object(model)) return tn_fail(e, TN_FORMAT, "%s: no \"model\"", t->where);
    TN_TRY(tn_json_str(model, "type", NULL, &type, t->where, e));
    if (!type) type = json_object_get(model, "merges") ? "BPE" : "missing";
    t->word_level = !strcmp(type, "WordLevel");
    if (!t->word_level && strcmp(type, "BPE"))
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: model \"%s\" is not supported (known: BPE, WordLevel)", t->where, type);
    TN_TRY(read_vocab(t, model, e));
    TN_TRY(tn_json_str(model, "unk_token", t->word_level ? "<unk>" : NULL, &unk, t->where, e));
    t->unk = unk ? tn_vocab_find(&t->vocab, unk, strlen(unk)) : -2;
    if (unk && !(t->unk_token = tn_strdup(unk)))
        return tn_fail(e, TN_NOMEM, "no memory for a tokenizer");
    return t->word_level ? TN_OK : read_bpe(t, model, e);
}

/* Byte-level: the vocabulary entry of each single byte, and (for ignore_merges) whole words as bytes. */
tn_status tn_model_bytes(tn_tokenizer *t, tn_err *e) {
    for (unsigned b = 0; b < 256; b++) {
        char c[4];
        t->byte_id[b] = tn_vocab_find(&t->vocab, c, (size_t)tn_utf8_put(c, tn_byte_char(b)));
    }
    if (!t->ignore_merges) return TN_OK;
    tn_str raw = TN_STR_INIT;
    tn_status st = TN_OK;
    for (size_t r = 0; r < t->vocab.n && st == TN_OK; r++) {
        const char *s = t->vocab.blob.s + t->vocab.row[r].off;
        bool all = true;
        tn_str_clear(&raw);
        for (size_t i = 0; i < t->vocab.row[r].len && all;) {
            int b = tn_char_byte(tn_utf8_next(s, &i));
            if (b < 0)
                all = false;
            else
                tn_str_addc(&raw, (char)b);
        }
        if (raw.oom)
            st = tn_fail(e, TN_NOMEM, "no memory for a vocabulary");
        else if (all)
            st = tn_vocab_add(&t->raw, raw.s, raw.len, t->vocab.row[r].id, e);
    }
    tn_str_free(&raw);
    return st;
}

void tn_tok_model_free(tn_tokenizer *t) {
    tn_vocab_free(&t->vocab);
    tn_vocab_free(&t->raw);
    tn_free(t->merge);
    tn_free(t->row_of);
    tn_free(t->unk_token);
}

/* ---- merging ---- */

static bool above(const tn_heap_row *a, const tn_heap_row *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->pos < b->pos;
}

static tn_status heap_push(tn_work *w, tn_heap_row r) {
    if (!TN_GROW(w->heap, w->heap_cap, w->nheap + 1))
        return tn_fail(w->e, TN_NOMEM, "no memory while tokenizing");
    size_t k = w->nheap++;
    for (; k > 0 && above(&r, &w->heap[(k - 1) / 2]); k = (k - 1) / 2)
        w->heap[k] = w->heap[(k - 1) / 2];
    w->heap[k] = r;
    return TN_OK;
}

static tn_heap_row heap_pop(tn_work *w) {
    tn_heap_row top = w->heap[0], r = w->heap[--w->nheap];
    size_t k = 0, n = w->nheap;
    for (size_t c; (c = 2 * k + 1) < n; k = c) {
        if (c + 1 < n && above(&w->heap[c + 1], &w->heap[c])) c++;
        if (!above(&w->heap[c], &r)) break;
        w->heap[k] = w->heap[c];
    }
    w->heap[k] = r;
    return top;
}

static tn_status offer(const tn_tokenizer *t, tn_work *w, int32_t left, int32_t right) {
    const struct tn_merge *m = find_merge(t, w->sym[left].id, w->sym[right].id);
    return m ? heap_push(w, (tn_heap_row){m->rank, left, m->id}) : TN_OK;
}

static tn_status merge_all(const tn_tokenizer *t, tn_work *w) {
    w->nheap = 0;
    for (size_t k = 0; k + 1 < w->nsym; k++) TN_TRY(offer(t, w, (int32_t)k, (int32_t)k + 1));
    while (w->nheap) {
        tn_heap_row top = heap_pop(w);
        tn_symbol *s = &w->sym[top.pos];
        if (s->len == 0 || s->next < 0) continue;
        tn_symbol *r = &w->sym[s->next];
        const struct tn_merge *m = find_merge(t, s->id, r->id);
        if (!m || m->id != top.id) continue;
        s->id = top.id;
        s->len += r->len;
        s->next = r->next;
        r->len = 0;
        if (s->next >= 0) w->sym[s->next].prev = top.pos;
        if (s->prev >= 0) TN_TRY(offer(t, w, s->prev, top.pos));
        if (s->next >= 0) TN_TRY(offer(t, w, top.pos, s->next));
    }
    return TN_OK;
}

static tn_status add_symbol(tn_work *w, int32_t id, size_t len) {
    if (!TN_GROW(w->sym, w->sym_cap, w->nsym + 1))
        return tn_fail(w->e, TN_NOMEM, "no memory while tokenizing");
    int32_t k = (int32_t)w->nsym++;
    w->sym[k] = (tn_symbol){id, k - 1, -1, (int32_t)len};
    if (k > 0) w->sym[k - 1].next = k;
    return TN_OK;
}

/* First symbols of a word: its characters (or bytes), byte codes for what the vocabulary lacks, or unk.
 * A waiting unk is written after byte codes that follow it: so the library does. */
static tn_status start_symbols(const tn_tokenizer *t, tn_work *w, const char *s, size_t n) {
    size_t unk = 0;
    w->nsym = 0;
    for (size_t i = 0; i < n;) {
        size_t size = t->bytes_last ? 1 : (size_t)tn_utf8_size((unsigned char)s[i]);
        int32_t id =
            t->bytes_last ? t->byte_id[(unsigned char)s[i]] : tn_vocab_find(&t->vocab, s + i, size);
        if (id >= 0) {
            if (unk) {
                TN_TRY(add_symbol(w, t->unk, unk));
                unk = 0;
            }
            TN_TRY(add_symbol(w, id, size));
            i += size;
            continue;
        }
        bool codes = t->byte_fallback; /* never together with bytes_last */
        for (size_t k = i; k < i + size && codes; k++)
            codes = t->fallback_id[(unsigned char)s[k]] >= 0;
        if (codes) {
            for (size_t k = i; k < i + size; k++)
                TN_TRY(add_symbol(w, t->fallback_id[(unsigned char)s[k]], 1));
        } else if (t->unk != -2) {
            if (t->unk == -1)
                return tn_fail(w->e, TN_FORMAT,
                               "%s: unk_token \"%s\" is needed but not in the vocabulary", t->where,
                               t->unk_token);
            if (unk && !t->fuse_unk) {
                TN_TRY(add_symbol(w, t->unk, unk));
                unk = 0;
            }
            unk += size;
        }
        i += size;
    }
    return unk ? add_symbol(w, t->unk, unk) : TN_OK;
}

/* ---- words ---- */

static uint64_t word_hash(const char *s, size_t n) {
    uint64_t h = n * 0x9E3779B97F4A7C15ull, v = 0;
    for (; n >= 8; s += 8, n -= 8) {
        memcpy(&v, s, 8);
        h = (h ^ v) * 0xBF58476D1CE4E5B9ull;
        h ^= h >> 32;
    }
    v = 0;
    memcpy(&v, s, n);
    h = (h ^ v) * 0x94D049BB133111EBull;
    return h ^ h >> 29;
}

static tn_cache_row *cache_slot(tn_work *w, const char *s, size_t n, uint64_t hash) {
    size_t k = hash & (CACHE_ROWS - 1);
    while (w->cache[k].klen) {
        tn_cache_row *c = &w->cache[k];
        if (c->hash == hash && c->klen == n && !memcmp(w->keys + c->key, s, n)) return c;
        k = (k + 1) & (CACHE_ROWS - 1);
    }
    return &w->cache[k];
}

static tn_status word(const tn_tokenizer *t, tn_work *w, const char *s,
                      size_t n) { /* appends to w->vals */
    int32_t id = -1;
    if (t->ignore_merges) id = tn_vocab_find(t->bytes_last ? &t->raw : &t->vocab, s, n);
    w->nsym = 0;
    if (id >= 0)
        TN_TRY(add_symbol(w, id, n));
    else {
        TN_TRY(start_symbols(t, w, s, n));
        TN_TRY(merge_all(t, w));
    }
    if (!TN_GROW(w->vals, w->vals_cap, w->nvals + 2 * w->nsym))
        return tn_fail(w->e, TN_NOMEM, "no memory while tokenizing");
    for (size_t k = 0; k < w->nsym; k++) {
        if (w->sym[k].len == 0) continue; /* merged away */
        w->vals[w->nvals++] = w->sym[k].id;
        w->vals[w->nvals++] = w->sym[k].len;
    }
    return TN_OK;
}

static tn_status word_level(const tn_tokenizer *t, tn_work *w, const char *s, size_t n) {
    int32_t id = tn_vocab_find(&t->vocab, s, n);
    if (id < 0) id = t->unk;
    if (id < 0)
        return tn_fail(w->e, TN_FORMAT,
                       "%s: \"%.*s\" is not in the vocabulary and neither is unk_token \"%s\"",
                       t->where, n < 40 ? (int)n : 40, s, t->unk_token);
    if (!TN_GROW(w->vals, w->vals_cap, w->nvals + 2))
        return tn_fail(w->e, TN_NOMEM, "no memory while tokenizing");
    w->vals[w->nvals++] = id;
    w->vals[w->nvals++] = (int32_t)n;
    return TN_OK;
}

tn_status tn_model_run(const tn_tokenizer *t, tn_work *w, const char *s, size_t n,
                       const int32_t **v, size_t *nv) {
    size_t from = w->nvals;
    if (t->word_level || n > CACHE_WORD) {
        TN_TRY(t->word_level ? word_level(t, w, s, n) : word(t, w, s, n));
        *v = w->vals + from;
        *nv = (w->nvals - from) / 2;
        w->nvals = from; /* not kept */
        return TN_OK;
    }
    if (!w->cache && !(w->cache = tn_calloc(CACHE_ROWS, sizeof *w->cache)))
        return tn_fail(w->e, TN_NOMEM, "no memory while tokenizing");
    uint64_t hash = word_hash(s, n);
    tn_cache_row *c = cache_slot(w, s, n, hash);
    if (!c->klen) {
        if (w->ncache >= CACHE_ROWS * 3 / 4 || w->nkeys > CACHE_BYTES ||
            w->nvals > CACHE_BYTES / 4) {
            memset(w->cache, 0, CACHE_ROWS * sizeof *w->cache);
            w->ncache = w->nkeys = w->nvals = 0;
            c = cache_slot(w, s, n, hash);
        }
        from = w->nvals;
        TN_TRY(word(t, w, s, n));
        if (!TN_GROW(w->keys, w->keys_cap, w->nkeys + n))
            return tn_fail(w->e, TN_NOMEM, "no memory while tokenizing");
        memcpy(w->keys + w->nkeys, s, n);
        *c = (tn_cache_row){hash, (uint32_t)w->nkeys, (uint32_t)n, (uint32_t)from,
                            (uint32_t)(w->nvals - from)};
        w->nkeys += n;
        w->ncache++;
    }
    *v = w->vals + c->val;
    *nv = c->nval / 2;
    return TN_OK;
}
