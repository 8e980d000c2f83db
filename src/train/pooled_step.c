/* Losses of coupling BATCH on pooled heads: all scores of a step are found by a pass without gradient, the algorithm
 * sees them in one call, and what it says of each response waits for the pass that goes back through the model.
 *
 * Ranks compute a share of the examples each and get the others' numbers, which are the same bits whoever computes
 * them: so are the results, for any number of ranks and lanes. */
#include "train/step.h"
#include <string.h>

size_t tn_pooled_step_bytes(const tn_pooled_head *h, const void *opt, size_t seqs) {
    return seqs * (size_t)tn_pooled_extra(h, opt) * 2 * sizeof(double) +
           tn_batch_bytes(&(tn_batch_need){.seqs = (int)seqs, .pairs = (int)seqs});
}

tn_status tn_pooled_reserve_step(tn_pooled_run *p, size_t seqs, int ranks, tn_err *e) {
    size_t n = seqs * (size_t)p->n_extra;
    p->step_extra = tn_calloc(2 * n, sizeof *p->step_extra);
    p->at = tn_calloc((size_t)ranks + 1, sizeof *p->at);
    if (!p->step_extra || !p->at) return tn_fail(e, TN_NOMEM, "out of memory for %zu responses", seqs);
    p->d_step_extra = p->step_extra + n;
    p->step_cap = seqs;
    return tn_batch_reserve(&p->whole, &(tn_batch_need){.seqs = (int)seqs, .pairs = (int)seqs}, e);
}

void tn_pooled_free_step(tn_pooled_run *p) {
    tn_batch_free(&p->whole);
    tn_free(p->step_extra);
    tn_free(p->at);
}

static tn_status see_scores(void *ctx, tn_trainee *t, int first, int n, tn_err *e) {
    tn_pooled_run *p = ctx;
    size_t E = (size_t)p->n_extra;
    for (int s = 0; s < t->mb.n_seq; s++) {
        size_t k = (size_t)t->mb.number[s];
        p->whole.score[k] = t->mb.score[s];
        memcpy(p->step_extra + k * E, p->extra + (size_t)s * E, E * sizeof *p->extra);
    }
    return TN_OK;
}

/* All numbers of the step, at every rank. */
static tn_status see(tn_trainee *t, tn_example *const *ex, int n, bool train, tn_err *e) {
    tn_pooled_run *p = t->pooled;
    tn_comm *c = tn_lanes_comm(t->lanes);
    size_t E = (size_t)p->n_extra;
    tn_batch_clear(&p->whole);
    for (int r = 0, i = 0; r < c->size; r++) {
        for (; i < tn_comm_first(c, n, r + 1); i++) TN_TRY(tn_batch_add_outline(&p->whole, ex[i], &t->batch, e));
        p->at[r + 1] = (size_t)p->whole.n_seq * sizeof(double);
    }
    if ((size_t)p->whole.n_seq > p->step_cap)
        return tn_fail(e, TN_BUG, "a step of %d responses, room for %zu", p->whole.n_seq, p->step_cap);
    TN_TRY(tn_trainee_look(t, ex, n, train, see_scores, p, e));
    TN_TRY(tn_comm_all_gather(c, p->whole.score, p->at, e));
    for (int r = 0; r <= c->size; r++) p->at[r] *= E;
    return tn_comm_all_gather(c, p->step_extra, p->at, e);
}

tn_status tn_pooled_decide(tn_trainee *t, tn_example *const *ex, int n, const tn_total *total, bool train,
                           tn_step_result *r, tn_err *e) {
    tn_pooled_run *p = t->pooled;
    tn_batch *b = &p->whole;
    tn_obs x;
    TN_TRY(see(t, ex, n, train, e));
    tn_batch_obs(b, &x);
    x.total = *total;
    x.n_extra = p->n_extra, x.extra = p->step_extra;
    size_t S = (size_t)b->n_seq;
    memset(b->d_score, 0, S * sizeof *b->d_score);
    memset(p->d_step_extra, 0, S * (size_t)x.n_extra * sizeof *p->d_step_extra);
    tn_grad g = {.score = b->d_score, .extra = p->d_step_extra};
    TN_TRY(t->algo->step(t->opt, &x, &g, &r->metrics, e));
    r->loss += g.loss;
    return TN_OK;
}

void tn_pooled_recall(const tn_pooled_run *p, const tn_batch *b, tn_grad *g) {
    size_t E = (size_t)p->n_extra;
    for (int s = 0; s < b->n_seq; s++) {
        size_t k = (size_t)b->number[s];
        g->score[s] = p->whole.d_score[k];
        memcpy(g->extra + (size_t)s * E, p->d_step_extra + k * E, E * sizeof *g->extra);
    }
}
