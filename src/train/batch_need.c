/* How large a micro-batch can get, so that everything is reserved before the first step.
 *
 * A micro-batch is one example of any size, or several of at most `tokens` together. What several
 * take is at most `tokens` times the largest share per token of any example. Key/value blocks are
 * the expensive part, so for them the worst choice of different examples is found: the densest
 * first until the tokens are used up (a fractional knapsack bounds every whole one). */
#include "train/batch.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct part {
    int cost, blocks;
} part;

/* More blocks per token first. */
static int denser(const void *a, const void *b) {
    const part *x = a, *y = b;
    int64_t l = (int64_t)x->blocks * y->cost, r = (int64_t)y->blocks * x->cost;
    return (l < r) - (l > r);
}
static int more(const void *a, const void *b) {
    return ((const part *)b)->blocks - ((const part *)a)->blocks;
}

static int densest(part *p, size_t n, int tokens) {
    double left = tokens, sum = 0;
    qsort(p, n, sizeof *p, denser);
    for (size_t i = 0; i < n && left > 0; i++) {
        double share = p[i].cost <= left ? 1 : left / p[i].cost;
        sum += share * p[i].blocks;
        left -= p[i].cost;
    }
    return (int)ceil(sum);
}

static int longer(const void *a, const void *b) {
    return ((const part *)b)->cost - ((const part *)a)->cost;
}

/* Sums over the `rows` examples (0: all) with most of one kind; sorts. */
static int largest(part *p, size_t n, long rows, bool cost) {
    double sum = 0;
    qsort(p, n, sizeof *p, cost ? longer : more);
    for (size_t i = 0; i < n && (rows == 0 || (long)i < rows); i++)
        sum += cost ? p[i].cost : p[i].blocks;
    return sum < INT32_MAX ? (int)sum : INT32_MAX;
}

static void raise_int(int *to, double v) {
    if (v > *to) *to = v < INT32_MAX ? (int)ceil(v) : INT32_MAX;
}
static void raise_size(size_t *to, double v) {
    if (v > (double)*to) *to = (size_t)ceil(v);
}

tn_status tn_batch_measure(tn_batch_need *q, const tn_dataset *d, const tn_batch_options *o,
                           int tokens, long rows, tn_err *e) {
    tn_batch b;
    memset(&b, 0, sizeof b);
    tn_status st = TN_OK;
    part *p = tn_calloc(d->n, sizeof *p);
    if (!p) return tn_fail(e, TN_NOMEM, "out of memory");
    int blocks = 0;
    for (size_t i = 0; i < d->n; i++) {
        tn_batch_clear(&b);
        TN_GO(tn_batch_add(&b, &d->ex[i], o, e), done);
        TN_GO(tn_batch_finish(&b, e), done);
        const tn_forest *f = &b.forest;
        double times = f->n_tok < tokens ? (double)tokens / f->n_tok : 1;
        raise_int(&q->tokens, f->n_tok);
        raise_int(&q->seqs, times * b.n_seq);
        raise_int(&q->pairs, times * b.n_pair);
        raise_int(&q->segs, times * f->n_seg);
        raise_size(&q->chain, times * f->n_chain);
        raise_size(&q->desc, times * f->desc_off[f->n_seg]);
        raise_int(&q->blocks, f->n_block);
        p[i] = (part){f->n_tok, f->n_block};
    }
    blocks = densest(p, d->n, tokens);
    if (rows > 0) {
        int few = largest(p, d->n, rows, false);
        if (few < blocks) blocks = few;
    }
    raise_int(&q->blocks, blocks);
    int most = largest(p, d->n, rows, true);
    raise_int(&q->tokens, most < tokens ? most : tokens);
done:
    tn_batch_free(&b);
    tn_free(p);
    return st;
}

void tn_batch_measure_step(tn_batch_need *q, const tn_dataset *d, const tn_batch_options *o,
                           long rows, long tokens) {
    double cost = 0, seqs = 0, pairs = 0, least = INT32_MAX;
    for (size_t i = 0; i < d->n; i++) {
        const tn_example *x = &d->ex[i];
        double c = tn_batch_cost(x, o), p = tn_batch_pairs(x, o), n = tn_example_tokens(x);
        cost = fmax(cost, c), seqs = fmax(seqs, x->n_response), pairs = fmax(pairs, p),
        least = fmin(least, n);
    }
    double m = rows > 0 ? (double)rows : fmax(1, (double)tokens / least);
    m = fmin(m, (double)d->n);
    raise_int(&q->tokens, m * cost);
    raise_int(&q->seqs, m * seqs);
    raise_int(&q->pairs, m * pairs);
    raise_int(&q->segs, 2 * m * seqs);
}

/* A group of g responses costs at least min_prompt + g tokens. Chains: a prompt's blocks stand once
 * in its own and once in that of each response. */
tn_batch_need tn_batch_rollouts(int tokens, int n, int n_sample, int min_prompt,
                                int max_blocks) {
    size_t g = (size_t)n_sample;
    double most = ((double)tokens / (min_prompt + n_sample) + 1) * n_sample;
    if (n > most) n = (int)most;
    int full = tokens / 32 + 1; /* whole blocks; every segment may end in one that is not full */
    int blocks = full + 2 * n;
    if (max_blocks > 0 && max_blocks < blocks) blocks = max_blocks;
    return (tn_batch_need){.tokens = tokens,
                           .seqs = n,
                           .segs = 2 * n,
                           .blocks = blocks,
                           .chain = (1 + g) * (size_t)full + (2 + g) * (size_t)n,
                           .desc = 3 * (size_t)n};
}

void tn_batch_need_raise(tn_batch_need *q, const tn_batch_need *with) {
    raise_int(&q->tokens, with->tokens);
    raise_int(&q->seqs, with->seqs);
    raise_int(&q->pairs, with->pairs);
    raise_int(&q->segs, with->segs);
    raise_int(&q->blocks, with->blocks);
    raise_size(&q->chain, (double)with->chain);
    raise_size(&q->desc, (double)with->desc);
}

/* As tn_batch_reserve grows its arrays (batch.c), to within the doublings. */
size_t tn_batch_bytes(const tn_batch_need *q) {
    size_t tok = 16 * sizeof(double) + 3 * sizeof(int32_t) + 4 * sizeof(int32_t);
    size_t seq = 5 * sizeof(double) + 6 * sizeof(int32_t);
    size_t seg = sizeof(tn_aseg) + 3 * sizeof(int32_t);
    return (size_t)q->tokens * tok + (size_t)q->seqs * seq + (size_t)q->segs * seg +
           (size_t)q->pairs * (3 * sizeof(double) + 6 * sizeof(int)) +
           q->chain * sizeof(tn_kblock) + q->desc * sizeof(int32_t);
}
