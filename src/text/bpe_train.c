/* Merges from word counts, with a heap of pairs and counts that are kept up to date.
 *
 * The library's rules, followed to the letter because they decide which merge comes next:
 * - A pair's entry in the heap knows the words that it was found in when the entry was made. An
 *   entry whose count is no longer the pair's goes back into the heap with the present count.
 * - When a pair is joined its count stays what it was, less what its neighbours took. It matters
 *   when a merge makes a token that was there before (a special token, or another pair's): pairs
 *   with it may be found again, and then get a second entry, with the sum of the counts.
 * - Of a pair that was joined twice only the last merge is written.
 * The library counts in 32 bits, where more than 2^31 of a pair overflow; here they do not. */
#include "base/signals.h"
#include "text/bpe_train.h"
#include "text/tok.h"
#include <string.h>

typedef struct pair_slot { /* open addressing */
    uint64_t pair;         /* left id << 32 | right id; NONE: free */
    int64_t count;
    int32_t found; /* index in `found`, -1: not found by this merge */
} pair_slot;
#define NONE UINT64_MAX

typedef struct entry {
    int64_t count;
    uint64_t pair;
    const uint32_t *words;
    uint32_t n;
} entry;

typedef struct found_pair { /* a pair that the merge under way brings about */
    uint64_t pair;
    uint32_t last, n, at; /* word found last; words; place of the first in the entry's list */
} found_pair;

typedef struct trainer {
    const tn_bpe_options *o;
    tn_vocab vocab; /* visible form -> id */
    tn_str *token;  /* [id] visible form */
    size_t n_token, cap_token;
    uint32_t *symbols; /* of all words */
    struct word {
        size_t at;
        uint32_t n;
        int64_t count;
    } * word;
    size_t n_word;
    pair_slot *slot;
    size_t slots, n_slot;
    entry *heap;
    size_t n_heap, cap_heap;
    found_pair *found;
    size_t n_found, cap_found;
    struct found_word {
        uint32_t found, word;
    } * hit;
    size_t n_hit, cap_hit;
    uint64_t *merge; /* pairs in order */
    size_t n_merge, cap_merge;
    tn_arena *arena; /* word lists of entries */
} trainer;

static tn_status no_memory(tn_err *e) { return tn_fail(e, TN_NOMEM, "no memory for merges"); }

/* ---- tokens ---- */

/* The token's id, a new one unless there is one that looks the same. */
static tn_status add_token(trainer *t, const char *s, size_t n, int32_t *id, tn_err *e) {
    *id = tn_vocab_find(&t->vocab, s, n);
    if (*id >= 0) return TN_OK;
    if (!TN_GROW(t->token, t->cap_token, t->n_token + 1)) return no_memory(e);
    *id = (int32_t)t->n_token;
    tn_str *to = &t->token[t->n_token++];
    *to = (tn_str)TN_STR_INIT;
    tn_str_add(to, s, n);
    return to->oom ? no_memory(e) : tn_vocab_add(&t->vocab, s, n, *id, e);
}

/* Special tokens, then the characters that stand for bytes in the order of their code points. */
static tn_status first_tokens(trainer *t, int32_t byte_id[256], tn_err *e) {
    int32_t id;
    for (int i = 0; i < t->o->n_special; i++)
        TN_TRY(add_token(t, t->o->special[i], strlen(t->o->special[i]), &id, e));
    for (uint32_t c = 0; c < 512; c++) {
        int b = tn_char_byte(c);
        char s[4];
        if (b >= 0) TN_TRY(add_token(t, s, (size_t)tn_utf8_put(s, c), &byte_id[b], e));
    }
    return TN_OK;
}

static tn_status load_words(trainer *t, const tn_bpe_counts *c, const int32_t byte_id[256],
                            tn_bpe_report *r, tn_err *e) {
    size_t total = 0, n;
    const char *s;
    t->n_word = tn_bpe_counts_words(c);
    for (size_t i = 0; i < t->n_word; i++) {
        int64_t count = tn_bpe_counts_word(c, i, &s, &n);
        total += n;
        r->words += count;
        r->bytes += count * (int64_t)n;
    }
    t->word = tn_calloc(t->n_word, sizeof *t->word);
    t->symbols = tn_calloc(total, sizeof *t->symbols);
    if (!t->word || !t->symbols) return no_memory(e);
    total = 0;
    for (size_t i = 0; i < t->n_word; i++) {
        int64_t count = tn_bpe_counts_word(c, i, &s, &n);
        t->word[i] = (struct word){total, (uint32_t)n, count};
        for (size_t k = 0; k < n; k++) t->symbols[total++] = (uint32_t)byte_id[(uint8_t)s[k]];
    }
    return TN_OK;
}

/* ---- pairs ---- */

static size_t hash_pair(uint64_t p) {
    p = (p ^ p >> 32) * 0x9E3779B97F4A7C15ull;
    return (size_t)(p ^ p >> 29);
}

static pair_slot *find_slot(pair_slot *v, size_t slots, uint64_t pair) {
    size_t k = hash_pair(pair) & (slots - 1);
    while (v[k].pair != NONE && v[k].pair != pair) k = (k + 1) & (slots - 1);
    return &v[k];
}

static tn_status grow_slots(trainer *t, tn_err *e) {
    size_t slots = t->slots ? t->slots * 2 : 1 << 16;
    pair_slot *v = tn_calloc(slots, sizeof *v);
    if (!v) return no_memory(e);
    for (size_t i = 0; i < slots; i++) v[i].pair = NONE;
    for (size_t i = 0; i < t->slots; i++)
        if (t->slot[i].pair != NONE) *find_slot(v, slots, t->slot[i].pair) = t->slot[i];
    tn_free(t->slot);
    t->slot = v;
    t->slots = slots;
    return TN_OK;
}

/* Adds to a pair's count; a positive amount means that it was found in that word. */
static tn_status change(trainer *t, uint32_t a, uint32_t b, int64_t by, size_t word, tn_err *e) {
    uint64_t pair = (uint64_t)a << 32 | b;
    if (2 * t->n_slot >= t->slots) TN_TRY(grow_slots(t, e));
    pair_slot *s = find_slot(t->slot, t->slots, pair);
    if (s->pair == NONE) {
        *s = (pair_slot){pair, 0, -1};
        t->n_slot++;
    }
    s->count += by;
    if (by < 0) return TN_OK;
    if (s->found < 0) {
        if (!TN_GROW(t->found, t->cap_found, t->n_found + 1)) return no_memory(e);
        s->found = (int32_t)t->n_found;
        t->found[t->n_found++] = (found_pair){pair, UINT32_MAX, 0, 0};
    }
    found_pair *f = &t->found[s->found];
    if (f->last == (uint32_t)word) return TN_OK;
    if (!TN_GROW(t->hit, t->cap_hit, t->n_hit + 1)) return no_memory(e);
    t->hit[t->n_hit++] = (struct found_word){(uint32_t)s->found, (uint32_t)word};
    f->last = (uint32_t)word;
    f->n++;
    return TN_OK;
}

/* ---- the heap: most frequent first, then the smallest ids ---- */

static bool before(const entry *a, const entry *b) {
    return a->count != b->count ? a->count > b->count : a->pair < b->pair;
}

static tn_status push(trainer *t, entry x, tn_err *e) {
    if (!TN_GROW(t->heap, t->cap_heap, t->n_heap + 1)) return no_memory(e);
    size_t i = t->n_heap++;
    for (; i && before(&x, &t->heap[(i - 1) / 2]); i = (i - 1) / 2)
        t->heap[i] = t->heap[(i - 1) / 2];
    t->heap[i] = x;
    return TN_OK;
}

static entry pop(trainer *t) {
    entry top = t->heap[0], x = t->heap[--t->n_heap];
    size_t i = 0;
    for (size_t c; (c = 2 * i + 1) < t->n_heap; i = c) {
        if (c + 1 < t->n_heap && before(&t->heap[c + 1], &t->heap[c])) c++;
        if (!before(&t->heap[c], &x)) break;
        t->heap[i] = t->heap[c];
    }
    t->heap[i] = x;
    return top;
}

/* Entries of the pairs that were found, with the words they were found in. */
static tn_status push_found(trainer *t, tn_err *e) {
    uint32_t *words = tn_arena_alloc(t->arena, t->n_hit * sizeof *words + 1), at = 0;
    if (!words) return no_memory(e);
    for (size_t i = 0; i < t->n_found; i++) {
        t->found[i].at = at;
        at += t->found[i].n;
    }
    for (size_t i = 0; i < t->n_hit; i++) words[t->found[t->hit[i].found].at++] = t->hit[i].word;
    for (size_t i = 0; i < t->n_found; i++) {
        const found_pair *f = &t->found[i];
        pair_slot *s = find_slot(t->slot, t->slots, f->pair);
        s->found = -1;
        if (s->count > 0)
            TN_TRY(push(t, (entry){s->count, f->pair, words + f->at - f->n, f->n}, e));
    }
    t->n_found = t->n_hit = 0;
    return TN_OK;
}

/* ---- joining ---- */

/* Every a b of the word becomes `new`, from left to right. */
static tn_status join_in(trainer *t, size_t i, uint32_t a, uint32_t b, uint32_t new, tn_err *e) {
    struct word *w = &t->word[i];
    uint32_t *s = t->symbols + w->at, n = w->n, to = 0;
    for (uint32_t k = 0; k < n; k++) {
        if (s[k] != a || k + 1 >= n || s[k + 1] != b) {
            s[to++] = s[k];
            continue;
        }
        if (to > 0) {
            TN_TRY(change(t, s[to - 1], a, -w->count, i, e));
            TN_TRY(change(t, s[to - 1], new, w->count, i, e));
        }
        k++;
        if (k + 1 < n) {
            TN_TRY(change(t, b, s[k + 1], -w->count, i, e));
            TN_TRY(change(t, new, s[k + 1], w->count, i, e));
        }
        s[to++] = new;
    }
    w->n = to;
    return TN_OK;
}

static tn_status join(trainer *t, const entry *top, tn_err *e) {
    uint32_t a = (uint32_t)(top->pair >> 32), b = (uint32_t)top->pair;
    tn_str both = TN_STR_INIT;
    int32_t id = -1;
    tn_str_add(&both, t->token[a].s, t->token[a].len);
    tn_str_add(&both, t->token[b].s, t->token[b].len);
    tn_status st = both.oom ? no_memory(e) : add_token(t, both.s, both.len, &id, e);
    tn_str_free(&both);
    TN_TRY(st);
    if (!TN_GROW(t->merge, t->cap_merge, t->n_merge + 1)) return no_memory(e);
    t->merge[t->n_merge++] = top->pair;
    for (uint32_t i = 0; i < top->n; i++)
        TN_TRY(join_in(t, top->words[i], a, b, (uint32_t)id, e));
    return push_found(t, e);
}

static tn_status run(trainer *t, tn_err *e) {
    for (size_t i = 0; i < t->n_word; i++) {
        const uint32_t *s = t->symbols + t->word[i].at;
        for (uint32_t k = 1; k < t->word[i].n; k++)
            TN_TRY(change(t, s[k - 1], s[k], t->word[i].count, i, e));
    }
    TN_TRY(push_found(t, e));
    while (t->n_token < (size_t)t->o->vocab_size && t->n_heap) {
        if (tn_stop_requested())
            return tn_fail(e, TN_INTERRUPTED, "stopped before the vocabulary was full");
        entry top = pop(t);
        int64_t now = find_slot(t->slot, t->slots, top.pair)->count;
        if (top.count != now) {
            top.count = now;
            TN_TRY(push(t, top, e));
            continue;
        }
        if (now < 1 || now < t->o->min_frequency) break;
        TN_TRY(join(t, &top, e));
        if (t->o->tick) t->o->tick(t->o->ctx, (long)t->n_token);
    }
    return TN_OK;
}

/* ---- the result ---- */

static json_t *text_of(const tn_str *s) { return json_stringn(s->s, s->len); }

/* Merges in order; of one that was made twice the last. The slots' marks say which was seen. */
static json_t *merges_json(trainer *t, int *count) {
    json_t *list = json_array();
    bool *last = tn_calloc(t->n_merge, sizeof *last);
    *count = 0;
    for (size_t i = t->n_merge; last && i-- > 0;) {
        pair_slot *s = find_slot(t->slot, t->slots, t->merge[i]);
        last[i] = s->found != -2;
        s->found = -2;
    }
    for (size_t i = 0; last && i < t->n_merge; i++) {
        if (!last[i]) continue;
        json_array_append_new(list, json_pack("[o,o]", text_of(&t->token[t->merge[i] >> 32]),
                                              text_of(&t->token[(uint32_t)t->merge[i]])));
        ++*count;
    }
    if (!last) json_decref(list);
    tn_free(last);
    return last ? list : NULL;
}

static tn_status to_json(trainer *t, json_t **model, tn_bpe_report *r, tn_err *e) {
    json_t *vocab = json_object(), *merges = merges_json(t, &r->merges);
    r->tokens = (int)t->n_token;
    for (size_t i = 0; i < t->n_word; i++) r->encoded += t->word[i].count * t->word[i].n;
    for (size_t i = 0; vocab && i < t->n_token; i++)
        json_object_set_new(vocab, t->token[i].s, json_integer((json_int_t)i));
    if (vocab && merges)
        *model = json_pack("{s:s,s:n,s:n,s:n,s:n,s:b,s:b,s:b,s:o,s:o}", "type", "BPE", "dropout",
                           "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                           "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", 0, "vocab", vocab,
                           "merges", merges);
    if (*model) return TN_OK;
    json_decref(vocab);
    json_decref(merges);
    return no_memory(e);
}

static void trainer_free(trainer *t) {
    for (size_t i = 0; i < t->n_token; i++) tn_str_free(&t->token[i]);
    tn_vocab_free(&t->vocab);
    tn_free(t->token);
    tn_free(t->symbols);
    tn_free(t->word);
    tn_free(t->slot);
    tn_free(t->heap);
    tn_free(t->found);
    tn_free(t->hit);
    tn_free(t->merge);
    tn_arena_free(t->arena);
}

tn_status tn_bpe_train(json_t **model, const tn_bpe_counts *c, const tn_bpe_options *o,
                       tn_bpe_report *r, tn_err *e) {
    trainer t = {.o = o, .arena = tn_arena_new(1 << 20)};
    int32_t byte_id[256] = {0};
    *model = NULL;
    *r = (tn_bpe_report){0};
    tn_status st = t.arena ? grow_slots(&t, e) : no_memory(e);
    if (st == TN_OK) st = first_tokens(&t, byte_id, e);
    if (st == TN_OK && (size_t)o->vocab_size < t.n_token)
        st =
            tn_fail(e, TN_ARG,
                    "a vocabulary of %d is too small: the 256 bytes and the special tokens are %zu",
                    o->vocab_size, t.n_token);
    if (st == TN_OK) st = load_words(&t, c, byte_id, r, e);
    if (st == TN_OK) st = run(&t, e);
    if (st == TN_OK) st = to_json(&t, model, r, e);
    trainer_free(&t);
    return st;
}
