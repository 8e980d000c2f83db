/* How alike answers are, and collapse; see corpus.h. */
#include "base/mathx.h"
#include "base/os.h"
#include "eval/corpus.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An n-gram of an answer; sorted by gram, then answer. */
typedef struct gram { uint64_t hash; int32_t owner; } gram;
static int by_gram(const void *a, const void *b) {
    const gram *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return (x->owner > y->owner) - (x->owner < y->owner);
}

/* All n-grams of the corpus, sorted; *count of them. NULL: no memory. */
static gram *grams(const tn_corpus *c, int n, size_t *count) {
    gram *g = tn_calloc(c->n ? c->at[c->n] + 1 : 1, sizeof *g);
    *count = 0;
    for (int i = 0; g && i < c->n; i++)
        for (size_t k = c->at[i]; k + (size_t)n <= c->at[i + 1]; k++)
            g[(*count)++] = (gram){tn_hash64(c->word + k, (size_t)n * sizeof *c->word, 7), i};
    if (g && *count) qsort(g, *count, sizeof *g, by_gram);
    return g;
}

static size_t same_gram(const gram *g, size_t at, size_t n) {
    size_t end = at;
    while (end < n && g[end].hash == g[at].hash) end++;
    return end;
}
static size_t same_owner(const gram *g, size_t at, size_t end) {
    size_t k = at;
    while (k < end && g[k].owner == g[at].owner) k++;
    return k;
}

/* ---- figures of the whole ---- */

static double distinct(const gram *g, size_t n) {
    size_t kinds = 0;
    for (size_t i = 0; i < n; i = same_gram(g, i, n)) kinds++;
    return n ? (double)kinds / (double)n : NAN;
}

static double entropy(const gram *g, size_t n) {
    double h = 0;
    for (size_t i = 0, end; i < n; i = end) {
        end = same_gram(g, i, n);
        double p = (double)(end - i) / (double)n;
        h -= p * tn_log(p);
    }
    return n ? h : NAN;
}

/* hits[owner] += of its grams, those that another answer has, clipped to the most that one has. */
static void clipped(const gram *g, size_t n, double *hits) {
    for (size_t i = 0, end; i < n; i = end) {
        size_t best = 0, second = 0;
        end = same_gram(g, i, n);
        for (size_t k = i, next; k < end; k = next) {
            next = same_owner(g, k, end);
            if (next - k > best) second = best, best = next - k;
            else if (next - k > second) second = next - k;
        }
        for (size_t k = i, next; k < end; k = next) {
            next = same_owner(g, k, end);
            size_t own = next - k, other = own == best ? second : best;
            hits[g[k].owner] += (double)(own < other ? own : other);
        }
    }
}

static double self_bleu(const tn_corpus *c, const gram *g1, size_t n1, const gram *g2, size_t n2, double *self, double *hits) {
    double sum = 0;
    int counted = 0;
    memset(hits, 0, 2 * (size_t)c->n * sizeof *hits);
    clipped(g1, n1, hits);
    clipped(g2, n2, hits + c->n);
    for (int i = 0; i < c->n; i++) {
        double m = (double)(c->at[i + 1] - c->at[i]), b = m < 2 ? NAN : sqrt(hits[i] / m * (hits[c->n + i] / (m - 1)));
        if (self) self[i] = b;
        if (m >= 2) sum += b, counted++;
    }
    return counted ? sum / counted : NAN;
}

static int descending(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x < y) - (x > y);
}

/* Share of the 20 most frequent; answers with a gram three times or more in *loops. */
static tn_status phrases(const tn_corpus *c, const gram *g, size_t n, double *top, int *loops, tn_err *e) {
    size_t *size = tn_calloc(n + 1, sizeof *size), kinds = 0, sum = 0;
    bool *loop = tn_calloc((size_t)c->n + 1, sizeof *loop);
    tn_status st = size && loop ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    for (size_t i = 0, end; st == TN_OK && i < n; i = end) {
        end = same_gram(g, i, n);
        size[kinds++] = end - i;
        for (size_t k = i, next; k < end; k = next) {
            next = same_owner(g, k, end);
            if (next - k >= 3) loop[g[k].owner] = true;
        }
    }
    *loops = 0;
    if (st == TN_OK && kinds) qsort(size, kinds, sizeof *size, descending);
    for (size_t i = 0; st == TN_OK && i < kinds && i < 20; i++) sum += size[i];
    for (int i = 0; st == TN_OK && i < c->n; i++) *loops += loop[i];
    *top = n ? (double)sum / (double)n : NAN;
    tn_free(size), tn_free(loop);
    return st;
}

/* ---- ends of answers ---- */

static void ends(const tn_corpus *c, tn_diversity *d) {
    int reached[TN_CORPUS_EOS] = {0}, stopped[TN_CORPUS_EOS] = {0}, ended = 0;
    for (int i = 0; i < c->n; i++) {
        size_t m = c->at[i + 1] - c->at[i];
        for (int k = 0; k < TN_CORPUS_EOS && m >= (size_t)1 << k; k++) {
            reached[k]++;
            stopped[k] += c->ended[i] && m < (size_t)2 << k;
        }
        ended += c->ended[i];
    }
    for (int k = 0; k < TN_CORPUS_EOS; k++) d->eos[k] = reached[k] ? (double)stopped[k] / reached[k] : NAN;
    d->ended = tn_stat_wilson(ended, c->n, tn_stat_z95);
}

/* The most frequent of the answers' keys (those of -1 do not count): its number of answers. */
static int most(gram *g, int n, int32_t *key) {
    size_t best = 0;
    *key = -1;
    qsort(g, (size_t)n, sizeof *g, by_gram);
    for (size_t i = 0, end; i < (size_t)n; i = end) {
        end = same_gram(g, i, (size_t)n);
        if (g[i].hash == UINT64_MAX || end - i <= best) continue;
        best = end - i;
        *key = g[i].owner;
    }
    return (int)best;
}

static tn_status endings(const tn_corpus *c, tn_diversity *d, tn_err *e) {
    gram *g = tn_calloc((size_t)c->n + 1, sizeof *g);
    int32_t who;
    if (!g) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i < c->n; i++) {
        size_t m = c->at[i + 1] - c->at[i];
        g[i] = (gram){m < 4 ? UINT64_MAX : tn_hash64(c->word + c->at[i + 1] - 4, 4 * sizeof *c->word, 7), i};
    }
    d->ending = tn_stat_wilson(c->n ? most(g, c->n, &who) : 0, c->n, tn_stat_z95);
    for (int i = 0; i < c->n; i++) g[i] = (gram){c->closer[i] < 0 ? UINT64_MAX : (uint64_t)c->closer[i], i};
    d->closer = tn_stat_wilson(c->n ? most(g, c->n, &who) : 0, c->n, tn_stat_z95);
    d->closer_id = d->closer.k ? c->closer[who] : -1;
    tn_free(g);
    return TN_OK;
}

double tn_distinct_adjusted(double different, double vocab, double total) {
    return different / (vocab * (1 - tn_exp(total * tn_log((vocab - 1) / vocab))));
}

tn_status tn_diversity_of(const tn_corpus *c, int vocab, tn_diversity *d, double *self, tn_err *e) {
    size_t n1, n2, n4;
    int loops = 0;
    gram *g1 = grams(c, 1, &n1), *g2 = grams(c, 2, &n2), *g4 = grams(c, 4, &n4);
    double *hits = tn_calloc(2 * (size_t)c->n + 1, sizeof *hits);
    tn_status st = g1 && g2 && g4 && hits ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory for %d answers", c->n);
    *d = (tn_diversity){.n = c->n, .words = (long)n1, .closer_id = -1};
    if (st == TN_OK) {
        d->distinct[0] = distinct(g1, n1), d->distinct[1] = distinct(g2, n2);
        d->adjusted = n1 && vocab > 1 ? tn_distinct_adjusted(d->distinct[0] * (double)n1, vocab, (double)n1) : NAN;
        d->entropy = entropy(g1, n1);
        d->self_bleu = self_bleu(c, g1, n1, g2, n2, self, hits);
        st = phrases(c, g4, n4, &d->top20, &loops, e);
    }
    d->loops = tn_stat_wilson(loops, c->n, tn_stat_z95);
    ends(c, d);
    if (st == TN_OK) st = endings(c, d, e);
    tn_free(g1), tn_free(g2), tn_free(g4), tn_free(hits);
    return st;
}

/* ---- collapse ---- */

const char *const tn_collapse_name[TN_COLLAPSES] = {"distinct_2", "closer", "loops", "unended", "phrases"};

double tn_stat_newcombe_low(const tn_stat_rate *p1, const tn_stat_rate *p0) {
    double a = p1->rate - p1->lo, b = p0->hi - p0->rate;
    return p1->rate - p0->rate - sqrt(a * a + b * b);
}

static tn_collapse_flag rose(const tn_stat_rate *p1, const tn_stat_rate *p0) {
    return (tn_collapse_flag){p1->n > 0 && p0->n > 0 && tn_stat_newcombe_low(p1, p0) > 0.01, p0->rate, p1->rate};
}

static int32_t largest(const tn_corpus *c) {
    int32_t m = -1;
    for (int i = 0; i < c->n; i++) m = c->closer[i] > m ? c->closer[i] : m;
    return m;
}

/* The closing sentence that grew most, at the lower end of its interval. */
static tn_status closer(const tn_corpus *first, const tn_corpus *now, tn_collapse_report *r, tn_err *e) {
    int32_t top = largest(first) > largest(now) ? largest(first) : largest(now);
    size_t m = (size_t)(top + 1);
    int *k = tn_calloc(2 * m + 1, sizeof *k);
    double best = -1;
    if (!k) return tn_fail(e, TN_NOMEM, "out of memory for closing sentences");
    for (int i = 0; i < first->n; i++)
        if (first->closer[i] >= 0) k[first->closer[i]]++;
    for (int i = 0; i < now->n; i++)
        if (now->closer[i] >= 0) k[m + (size_t)now->closer[i]]++;
    for (size_t s = 0; s < m; s++) {
        if (!k[m + s]) continue;
        tn_stat_rate p0 = tn_stat_wilson(k[s], first->n, tn_stat_z95), p1 = tn_stat_wilson(k[m + s], now->n, tn_stat_z95);
        double low = tn_stat_newcombe_low(&p1, &p0);
        if (low <= best) continue;
        best = low;
        r->closer_id = (int32_t)s;
        r->flag[TN_COLLAPSE_CLOSER] = rose(&p1, &p0);
    }
    tn_free(k);
    return TN_OK;
}

tn_status tn_collapse_of(const tn_corpus *first, const tn_diversity *d0, const tn_corpus *now, const tn_diversity *d, tn_collapse_report *r,
                         tn_err *e) {
    *r = (tn_collapse_report){.closer_id = -1};
    tn_stat_rate open0 = tn_stat_wilson(d0->n - d0->ended.k, d0->n, tn_stat_z95), open1 = tn_stat_wilson(d->n - d->ended.k, d->n, tn_stat_z95);
    r->flag[TN_COLLAPSE_DISTINCT] = (tn_collapse_flag){d->distinct[1] < 0.8 * d0->distinct[1], d0->distinct[1], d->distinct[1]};
    r->flag[TN_COLLAPSE_LOOPS] = rose(&d->loops, &d0->loops);
    r->flag[TN_COLLAPSE_UNENDED] = rose(&open1, &open0);
    r->flag[TN_COLLAPSE_PHRASES] = (tn_collapse_flag){d->top20 > d0->top20 + 0.1, d0->top20, d->top20};
    TN_TRY(closer(first, now, r, e));
    r->stop = r->flag[TN_COLLAPSE_DISTINCT].fired || r->flag[TN_COLLAPSE_CLOSER].fired;
    return TN_OK;
}
