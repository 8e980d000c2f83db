/* Text to numbered words and closing sentences. */
#include "eval/corpus.h"
#include "base/os.h"
#include <string.h>

typedef struct entry { char *text; size_t n; uint64_t hash; bool sentence; } entry;
struct tn_words {
    entry *list;
    int32_t *slot; /* 0: free, else number + 1 */
    size_t n, cap, slots;
    int words;
    tn_str scratch;
};

tn_words *tn_words_new(void) {
    tn_words *w = tn_calloc(1, sizeof *w);
    if (w) w->scratch = (tn_str)TN_STR_INIT;
    return w;
}

void tn_words_free(tn_words *w) {
    for (size_t i = 0; w && i < w->n; i++) tn_free(w->list[i].text);
    if (w) tn_free(w->list), tn_free(w->slot), tn_str_free(&w->scratch);
    tn_free(w);
}

int tn_words_count(const tn_words *w) { return w->words; }
const char *tn_words_text(const tn_words *w, int32_t id) { return id >= 0 && (size_t)id < w->n ? w->list[id].text : ""; }

static size_t place(const tn_words *w, const char *s, size_t n, uint64_t hash, bool sentence) {
    size_t i = (size_t)hash & (w->slots - 1);
    for (; w->slot[i]; i = (i + 1) & (w->slots - 1)) {
        const entry *x = &w->list[w->slot[i] - 1];
        if (x->hash == hash && x->n == n && x->sentence == sentence && !memcmp(x->text, s, n)) break;
    }
    return i;
}

static bool widen(tn_words *w) {
    if (2 * (w->n + 1) <= w->slots) return true;
    size_t slots = w->slots ? 2 * w->slots : 4096;
    int32_t *slot = tn_calloc(slots, sizeof *slot);
    if (!slot) return false;
    tn_free(w->slot);
    w->slot = slot, w->slots = slots;
    for (size_t i = 0; i < w->n; i++) w->slot[place(w, w->list[i].text, w->list[i].n, w->list[i].hash, w->list[i].sentence)] = (int32_t)i + 1;
    return true;
}

/* Number of a word or of a sentence; -1: no memory. */
static int32_t number(tn_words *w, const char *s, size_t n, bool sentence) {
    uint64_t hash = tn_hash64(s, n, sentence);
    if (!widen(w)) return -1;
    size_t i = place(w, s, n, hash, sentence);
    if (w->slot[i]) return w->slot[i] - 1;
    if (!TN_GROW(w->list, w->cap, w->n + 1)) return -1;
    char *text = tn_malloc(n + 1);
    if (!text) return -1;
    memcpy(text, s, n);
    text[n] = 0;
    w->list[w->n++] = (entry){text, n, hash, sentence};
    w->words += !sentence;
    w->slot[i] = (int32_t)w->n;
    return (int32_t)w->n - 1;
}

/* ---- words ---- */

static bool blank(unsigned char c) { return c <= ' ' || c == 127; }
static bool part_of_word(unsigned char c) {
    return c >= 128 || c == '\'' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Closing sentences begin behind the last word that ends a sentence, or at the last line. */
typedef struct seam { size_t start; bool open; } seam;

static bool add_word(tn_corpus *c, tn_words *w, const char *s, size_t n, size_t *at) {
    tn_str *low = &w->scratch;
    tn_str_clear(low);
    for (size_t i = 0; i < n; i++) tn_str_addc(low, (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] + 32 : s[i]));
    int32_t id = low->oom ? -1 : number(w, low->s, n, false);
    if (id < 0 || !TN_GROW(c->word, c->cap_word, *at + 1)) return false;
    c->word[(*at)++] = id;
    return true;
}

/* Sentence [from, to) of c's words, by its number. */
static int32_t closing(const tn_corpus *c, tn_words *w, size_t from, size_t to) {
    tn_str text = TN_STR_INIT;
    for (size_t i = from; i < to; i++) {
        if (i > from) tn_str_addc(&text, ' ');
        tn_str_addz(&text, w->list[c->word[i]].text);
    }
    int32_t id = text.oom ? -1 : number(w, text.s, text.len, true);
    tn_str_free(&text);
    return id;
}

/* Words of text behind c->word[at]. *last, *before: where the last sentence begins, and whether something stands before it. */
static bool split(tn_corpus *c, tn_words *w, const char *s, size_t n, size_t *at, size_t *last) {
    size_t first = *at;
    seam m = {first, false}; /* open: what comes next begins a sentence */
    for (size_t i = 0; i < n;) {
        unsigned char ch = (unsigned char)s[i];
        if (ch == '\n') m.open = true;
        if (blank(ch)) {
            i++;
            continue;
        }
        size_t k = i + 1;
        if (part_of_word(ch))
            while (k < n && part_of_word((unsigned char)s[k])) k++;
        bool end = ch == '.' || ch == '!' || ch == '?';
        if (m.open && !end) m.start = *at, m.open = false;
        if (end) m.open = true;
        if (!add_word(c, w, s + i, k - i, at)) return false;
        i = k;
    }
    *last = m.start;
    return true;
}

tn_status tn_corpus_add(tn_corpus *c, tn_words *w, const char *text, size_t n, bool ended, tn_err *e) {
    size_t k = (size_t)c->n, last;
    if (!TN_GROW(c->at, c->cap_at, k + 2) || !TN_GROW(c->closer, c->cap_closer, k + 1) || !TN_GROW(c->ended, c->cap_ended, k + 1))
        return tn_fail(e, TN_NOMEM, "out of memory for answer %d", c->n + 1);
    if (k == 0) c->at[0] = 0;
    size_t at = c->at[k];
    bool ok = split(c, w, text, n, &at, &last);
    c->closer[k] = -1;
    if (ok && last > c->at[k]) ok = (c->closer[k] = closing(c, w, last, at)) >= 0;
    if (!ok) return tn_fail(e, TN_NOMEM, "out of memory for the words of answer %d", c->n + 1);
    c->at[k + 1] = at;
    c->ended[k] = ended;
    c->n++;
    return TN_OK;
}

void tn_corpus_free(tn_corpus *c) {
    tn_free(c->at), tn_free(c->word), tn_free(c->closer), tn_free(c->ended);
    *c = (tn_corpus){0};
}
