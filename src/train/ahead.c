#include "train/ahead.h"
#include "base/signals.h"
#include "ops/profile.h"
#include "train/step.h"
#include <string.h>

tn_status tn_foresight_reserve(tn_foresight *f, size_t n, const tn_batch_need *whole, int ranks,
                               tn_err *e) {
    f->list = tn_calloc(n, sizeof *f->list);
    f->logp = tn_calloc(n, sizeof *f->logp);
    f->ref = tn_calloc(n, sizeof *f->ref);
    f->at = tn_calloc((size_t)ranks + 1, sizeof *f->at);
    f->cap = n;
    if (!f->list || !f->logp || !f->ref || !f->at)
        return tn_fail(e, TN_NOMEM, "out of memory for %zu examples", n);
    return whole ? tn_batch_reserve(&f->whole, whole, e) : TN_OK;
}

size_t tn_foresight_bytes(size_t n, const tn_batch_need *whole) {
    return n * (sizeof(tn_example *) + 2 * sizeof(double)) + (whole ? tn_batch_bytes(whole) : 0);
}

void tn_foresight_free(tn_foresight *f) {
    void *p[] = {f->list, f->logp, f->ref, f->at};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) tn_free(p[i]);
    tn_batch_free(&f->whole);
    memset(f, 0, sizeof *f);
}

static tn_status look(tn_trainee *t, tn_example *const *ex, int i, int end, bool train, tn_seen seen, void *ctx,
                      tn_err *e) {
    while (i < end) {
        int first = i;
        if (tn_stop_requested() && !train) return tn_fail(e, TN_INTERRUPTED, "stopped while evaluating");
        TN_TRY(tn_trainee_fill(t, ex, end, &i, e));
        TN_TRY(tn_trainee_observe(t, false, e));
        TN_TRY(seen(ctx, t, first, i - first, e));
    }
    return TN_OK;
}

tn_status tn_trainee_look(tn_trainee *t, tn_example *const *ex, int n, bool train, tn_seen seen, void *ctx, tn_err *e) {
    tn_comm *c = tn_lanes_comm(t->lanes);
    tn_phase before = tn_phase_enter(t->model->be, TN_PHASE_FORWARD);
    tn_status st = look(t, ex, tn_comm_first(c, n, c->rank), tn_comm_first(c, n, c->rank + 1), train, seen, ctx, e);
    tn_phase_leave(t->model->be, before);
    return tn_comm_share_interrupt(c, st, e);
}

/* ---- reference points ---- */

static double sum_of(const tn_batch *b, const double *v, int s) {
    double sum = 0;
    for (int i = b->off[s]; i < b->off[s + 1]; i++) sum += v[i];
    return sum;
}

static tn_status see_sums(void *ctx, tn_trainee *t, int first, int n, tn_err *e) {
    tn_foresight *f = ctx;
    const tn_batch *b = &t->mb;
    tn_batch_keep_reference(b, f->list + first, n);
    if (b->n_seq != n)
        return tn_fail(e, TN_BUG, "%d sequences of %d examples: they have one response each",
                       b->n_seq, n);
    for (int s = 0; s < n; s++) {
        f->logp[first + s] = sum_of(b, b->logp, s);
        f->ref[first + s] = sum_of(b, b->ref_logp, s);
    }
    return TN_OK;
}

static tn_status sums(tn_trainee *t, int n, bool train, tn_err *e) {
    tn_foresight *f = &t->ahead;
    tn_comm *c = tn_lanes_comm(t->lanes);
    TN_TRY(tn_trainee_look(t, f->list, n, train, see_sums, f, e));
    for (int r = 0; r <= c->size; r++) f->at[r] = (size_t)tn_comm_first(c, n, r) * sizeof(double);
    TN_TRY(tn_comm_all_gather(c, f->logp, f->at, e));
    return tn_comm_all_gather(c, f->ref, f->at, e);
}

tn_status tn_trainee_points(tn_trainee *t, tn_example *const *ex, int n, bool train, tn_err *e) {
    tn_foresight *f = &t->ahead;
    const tn_ahead *how = f->how;
    if (!how) return TN_OK;
    if ((size_t)n > f->cap)
        return tn_fail(e, TN_BUG, "reference points of %d examples, room for %zu", n, f->cap);
    bool known = !how->mismatched && !train; /* the run's state says it all */
    for (int i = 0; i < n; i++) f->list[i] = how->mismatched ? ex[i]->mismatched : ex[i];
    if (!known) TN_TRY(sums(t, n, train, e));
    int block = how->block > 0 && how->block < n ? (int)how->block : n;
    for (int i = 0; i < n; i += block) {
        int m = i + block < n ? block : n - i;
        double z = how->point(t->opt, f->state, f->logp + i, f->ref + i, known ? 0 : m);
        for (int k = i; k < i + m; k++) ex[k]->baseline = z;
    }
    return TN_OK;
}

/* ---- coupling BATCH ---- */

/* Numbers that algorithms read, of a batch without and of one with the forward. */
enum { N_NUMBERS = 5 };
static void numbers(const tn_batch *b, double *v[N_NUMBERS]) {
    double *all[N_NUMBERS] = {b->logp, b->entropy, b->mean_logit, b->top1, b->ref_logp};
    memcpy(v, all, sizeof all);
}

typedef struct place {
    tn_batch *whole;
    tn_example *const *ex;
    int tok; /* the next micro-batch's first token */
} place;
static tn_status see_numbers(void *ctx, tn_trainee *t, int first, int n, tn_err *e) {
    place *p = ctx;
    const tn_batch *b = &t->mb;
    double *from[N_NUMBERS], *to[N_NUMBERS];
    tn_batch_keep_reference(b, p->ex + first, n);
    numbers(b, from);
    numbers(p->whole, to);
    for (int k = 0; k < N_NUMBERS; k++)
        memcpy(to[k] + p->tok, from[k], (size_t)b->n_tok * sizeof(double));
    p->tok += b->n_tok;
    return TN_OK;
}

/* All numbers of the whole step, at every rank. */
static tn_status see_whole(tn_trainee *t, tn_example *const *ex, int n, bool train, tn_err *e) {
    tn_foresight *f = &t->ahead;
    tn_batch *b = &f->whole;
    tn_comm *c = tn_lanes_comm(t->lanes);
    double *v[N_NUMBERS];
    tn_batch_clear(b);
    f->at[0] = 0;
    for (int r = 0, i = 0; r < c->size; r++) {
        for (; i < tn_comm_first(c, n, r + 1); i++) TN_TRY(tn_batch_add(b, ex[i], &t->batch, e));
        f->at[r + 1] = (size_t)b->n_tok * sizeof(double);
    }
    place p = {b, ex, (int)(f->at[c->rank] / sizeof(double))};
    TN_TRY(tn_trainee_look(t, ex, n, train, see_numbers, &p, e));
    numbers(b, v);
    for (int k = 0; k < N_NUMBERS; k++) TN_TRY(tn_comm_all_gather(c, v[k], f->at, e));
    return TN_OK;
}

tn_status tn_trainee_decide(tn_trainee *t, tn_example *const *ex, int n, const tn_total *total,
                            bool train, tn_step_result *r, tn_err *e) {
    tn_batch *b = &t->ahead.whole;
    tn_obs x;
    for (int i = 0; i < n; i++) ex[i]->grad = NULL;
    TN_TRY(see_whole(t, ex, n, train, e));
    tn_batch_obs(b, &x);
    tn_trainee_hide_unknown(t, &x);
    x.total = *total;
    tn_grad g = {.logp = b->d_logp};
    if (b->n_tok) memset(g.logp, 0, (size_t)b->n_tok * sizeof *g.logp);
    TN_TRY(t->algo->step(t->opt, &x, &g, &r->metrics, e));
    r->loss += g.loss;
    for (int i = 0, seq = 0; i < n && train; seq += ex[i++]->n_response)
        ex[i]->grad = g.logp + b->off[seq];
    return TN_OK;
}
