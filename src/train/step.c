#include "train/step.h"
#include "base/log.h"
#include "base/signals.h"
#include "ops/profile.h"
#include <math.h>
#include <string.h>

static bool wants(const tn_trainee *t, unsigned need) { return (t->needs & need) != 0; }

/* Log-probs of the batch's tokens under `m`; the statistics that trainee `all` needs go to the batch. */
static tn_status lm_numbers(tn_run *run, const tn_model *m, tn_batch *b, double inv_temp,
                            double *logp, const tn_trainee *all, tn_err *e) {
    TN_TRY(tn_forward_rows(run, m, &b->forest, b->row, b->n_tok, e));
    if (b->n_tok == 0) return TN_OK;
    tn_lm q = {
        .n = b->n_tok, .rows = b->row, .target = b->target, .inv_temp = inv_temp, .logp = logp};
    if (all) {
        q.lse = b->lse, q.entropy = b->entropy,
        q.mean_logit = b->mean_logit; /* the head has them anyway */
        if (wants(all, TN_NEED_STATS)) q.top1 = b->top1;
        if (wants(all, TN_NEED_SUM_SQ)) q.log_sum_sq = b->log_sum_sq;
    }
    return tn_lm_head(run, m, &q, e);
}

tn_status tn_trainee_reference(tn_trainee *t, tn_err *e) {
    tn_phase before = tn_phase_enter(t->ref->be, TN_PHASE_REFERENCE);
    tn_run *run = t->ref_run ? t->ref_run : t->run;
    TN_TRY(lm_numbers(run, t->ref, &t->mb, t->inv_temp, t->mb.ref_logp, NULL, e));
    tn_phase_leave(t->ref->be, before);
    return TN_OK;
}

static double sd_of(const tn_trainee *t) { return t->value_sd > 0 ? t->value_sd : 1.0; }

static void normalise(const tn_trainee *t, double *v, int n) {
    for (int i = 0; i < n; i++) v[i] = (v[i] - t->value_mean) / sd_of(t);
}

tn_status tn_trainee_observe(tn_trainee *t, bool keep, tn_err *e) {
    tn_batch *b = &t->mb;
    if (wants(t, TN_NEED_REF_LOGP) && !b->ref_known && !wants(t, TN_NEED_PAIR)) TN_TRY(tn_trainee_reference(t, e));
    if (wants(t, TN_NEED_LOGP)) {
        if (wants(t, TN_NEED_SCORE)) return tn_fail(e, TN_BUG, "log-probs and scores of one forward");
        TN_TRY(lm_numbers(t->run, t->model, b, t->inv_temp, b->logp, t, e));
        if (wants(t, TN_NEED_PAIR)) TN_TRY(tn_pairing_observe(t, e));
    } else {
        bool score = wants(t, TN_NEED_SCORE); /* at the last tokens, or values before the others */
        if (score && wants(t, TN_NEED_VALUE)) return tn_fail(e, TN_BUG, "scores and values of one forward");
        TN_TRY(tn_forward_rows(t->run, t->model, &b->forest, score ? b->score_row : b->row, score ? b->n_seq : b->n_tok, e));
    }
    if (wants(t, TN_NEED_SCORE))
        TN_TRY(t->pooled ? tn_pooled_forward(t->pooled, t->run, t->model, b, keep, e)
                         : tn_score_head(t->run, t->model, b->score_row, b->n_seq, b->score, e));
    if (wants(t, TN_NEED_VALUE)) {
        TN_TRY((t->model->desc.per_token ? tn_logit_head : tn_score_head)(t->run, t->model, b->row, b->n_tok, b->value,
                                                                          e));
        normalise(t, b->value, b->n_tok);
    }
    return TN_OK;
}

/* The algorithm's gradient goes back through the heads and the trunk. */
static tn_status micro_backward(tn_trainee *t, tn_grad *g, tn_err *e) {
    tn_batch *b = &t->mb;
    if (wants(t, TN_NEED_LOGP) && b->n_tok) {
        tn_lm q = {.n = b->n_tok,
                   .rows = b->row,
                   .target = b->target,
                   .inv_temp = t->inv_temp,
                   .logp = b->logp,
                   .lse = b->lse,
                   .entropy = b->entropy};
        tn_lm_grad d = {.logp = g->logp,
                        .entropy = wants(t, TN_NEED_ENTROPY) ? g->entropy : NULL,
                        .lse = wants(t, TN_NEED_LSE) ? g->lse : NULL};
        if (wants(t, TN_NEED_PAIR)) TN_TRY(tn_pairing_backward(t, &q, &d, e));
        else TN_TRY(tn_lm_head_backward(t->run, t->model, &q, d.logp, d.entropy, d.lse, e));
    }
    if (wants(t, TN_NEED_SCORE))
        TN_TRY(t->pooled ? tn_pooled_backward(t->pooled, t->run, t->model, b, g, e)
                         : tn_score_head_backward(t->run, t->model, b->score_row, b->n_seq, g->score, e));
    if (wants(t, TN_NEED_VALUE)) {
        for (int i = 0; i < b->n_tok; i++) g->value[i] /= sd_of(t);
        TN_TRY((t->model->desc.per_token ? tn_logit_head_backward : tn_score_head_backward)(
            t->run, t->model, b->row, b->n_tok, g->value, e));
    }
    return tn_backward(t->run, t->model, &b->forest, e);
}

/* Sampler and trainer are one forward: before the first update every ratio is exactly 1. */
static tn_status check_on_policy(const tn_batch *b, tn_err *e) {
    for (int i = 0; i < b->n_tok; i++)
        if (b->logp[i] != b->old_logp[i])
            return tn_fail(e, TN_BUG,
                           "token %d of a fresh rollout (id %d) has log-prob %.9g in training and "
                           "%.9g in sampling; they "
                           "must be the same bits",
                           i, b->target[i], b->logp[i], b->old_logp[i]);
    return TN_OK;
}

static void weigh(double w, tn_grad *g, const tn_batch *b) {
    double *tok[] = {g->logp, g->entropy, g->lse, g->value, g->kl, g->rkl, g->jsd};
    if (w == 0) return;
    g->loss *= w;
    for (int k = 0; k < 7; k++)
        for (int i = 0; tok[k] && i < b->n_tok; i++) tok[k][i] *= w;
    for (int i = 0; i < b->n_seq; i++) g->score[i] *= w;
}

void tn_trainee_hide_unknown(const tn_trainee *t, tn_obs *x) {
    if (!wants(t, TN_NEED_LOGP)) x->logp = NULL;
    if (!wants(t, TN_NEED_ENTROPY | TN_NEED_STATS)) x->entropy = NULL;
    if (!wants(t, TN_NEED_STATS)) x->mean_logit = x->top1 = NULL;
    if (!wants(t, TN_NEED_SUM_SQ)) x->log_sum_sq_p = NULL;
    if (!wants(t, TN_NEED_VALUE)) x->value = NULL;
    if (!wants(t, TN_NEED_SCORE)) x->score = NULL;
    if (!wants(t, TN_NEED_REF_LOGP)) x->ref_logp = NULL;
    if (!wants(t, TN_NEED_PROMPT)) x->prompt = NULL;
}

static bool whole_step(const tn_trainee *t) { return t->algo->coupling == TN_COUPLE_BATCH; }
static bool decided_ahead(const tn_trainee *t) { return whole_step(t) && !t->pooled; }

/* Loss and metrics of a micro-batch, and the gradient with respect to the network's numbers. */
static tn_status evaluate_loss(tn_trainee *t, const tn_total *total, bool train, tn_grad *g, tn_step_result *r,
                               tn_err *e) {
    tn_batch *b = &t->mb;
    size_t n = (size_t)b->n_tok * sizeof(double);
    double *tok[] = {b->d_entropy, b->d_lse, b->d_value, b->d_logp};
    *g = (tn_grad){.logp = b->d_logp,
                   .entropy = b->d_entropy,
                   .lse = b->d_lse,
                   .value = b->d_value,
                   .score = b->d_score};
    for (int i = 0; i < (decided_ahead(t) ? 3 : 4); i++) /* d_logp came with the examples */
        if (n) memset(tok[i], 0, n);
    memset(b->d_score, 0, (size_t)b->n_seq * sizeof(double));
    if (decided_ahead(t)) return TN_OK;
    tn_obs x;
    tn_batch_obs(b, &x);
    tn_trainee_hide_unknown(t, &x);
    x.total = *total;
    tn_pairing_wire(t, &x, g);
    if (t->pooled) tn_pooled_obs(t->pooled, b, &x, g);
    if (!train) x.origin = NULL;
    if (t->pooled && whole_step(t)) tn_pooled_recall(t->pooled, b, g);
    else TN_TRY(t->algo->step(t->opt, &x, g, &r->metrics, e));
    weigh(t->weight, g, b);
    return TN_OK;
}

static tn_status run_micro(tn_trainee *t, const tn_total *total, bool train, tn_step_result *r,
                           tn_err *e) {
    tn_backend *be = t->model->be;
    tn_phase before = tn_phase_enter(be, TN_PHASE_FORWARD);
    tn_grad g;
    TN_TRY(tn_trainee_observe(t, train, e));
    double begin = tn_work_begin(be);
    if (t->expect_on_policy) TN_TRY(check_on_policy(&t->mb, e));
    TN_TRY(evaluate_loss(t, total, train, &g, r, e));
    tn_work_end(be, begin, "loss", 0);
    r->loss += g.loss;
    r->tokens += t->mb.forest.n_tok;
    r->micro_batches++;
    tn_phase_enter(be, TN_PHASE_BACKWARD);
    if (train) TN_TRY(micro_backward(t, &g, e));
    tn_phase_leave(be, before);
    return TN_OK;
}

/* Forest tokens of the larger side. */
static int cost_of(const tn_trainee *t, const tn_example *x) {
    int own = tn_batch_cost(x, &t->batch), other = x->teacher ? tn_batch_cost(x->teacher, &t->batch) : 0;
    return own > other ? own : other;
}

tn_status tn_trainee_fill(tn_trainee *t, tn_example *const *ex, int n, int *i, tn_err *e) {
    tn_backend *be = t->model->be;
    tn_phase before = tn_phase_enter(be, TN_PHASE_DATA);
    double begin = tn_work_begin(be);
    int cost = 0, first = *i;
    tn_batch_clear(&t->mb);
    do {
        TN_TRY(tn_batch_add(&t->mb, ex[*i], &t->batch, e));
        cost += cost_of(t, ex[(*i)++]);
    } while (*i < n && cost + cost_of(t, ex[*i]) <= t->max_tokens);
    TN_TRY(tn_batch_finish(&t->mb, e));
    if (wants(t, TN_NEED_PAIR)) TN_TRY(tn_pairing_fill(t, ex + first, *i - first, e));
    tn_work_end(be, begin, "batch", 0);
    tn_phase_leave(be, before);
    return TN_OK;
}

void tn_batch_keep_reference(const tn_batch *b, tn_example *const *ex, int n) {
    for (int i = 0, seq = 0; i < n; seq += ex[i++]->n_response) {
        int first = b->off[seq], end = b->off[seq + ex[i]->n_response];
        if (!ex[i]->ref || ex[i]->ref_known) continue;
        memcpy(ex[i]->ref, b->ref_logp + first, (size_t)(end - first) * sizeof(double));
        ex[i]->ref_known = true;
    }
}

/* The denominators of the whole batch, whichever micro-batch, lane or rank an example is in. */
static tn_total count(const tn_trainee *t, tn_example *const *ex, int n) {
    tn_total sum = {0};
    for (int i = 0; i < n; i++) {
        sum.tok += tn_example_trained(ex[i]);
        sum.seq += ex[i]->n_response;
        int pairs = tn_batch_pairs(ex[i], &t->batch);
        sum.pair += pairs;
        sum.group += !pairs && ex[i]->n_response > 1;
        sum.chosen_tok += tn_batch_chosen_tokens(ex[i], &t->batch);
        sum.gold_tok += (double)tn_batch_gold_tokens(ex[i]);
        for (int k = ex[i]->macro ? tn_example_trained(ex[i]) : 0; k-- > 0;) sum.macro += ex[i]->macro[k];
    }
    return sum;
}

/* Examples in order, cut into micro-batches. */
static tn_status accumulate(tn_trainee *t, const tn_total *total, tn_example *const *ex, int n,
                            bool train, tn_step_result *r, tn_err *e) {
    for (int i = 0; i < n;) {
        int first = i;
        if (tn_stop_requested() && !train)
            return tn_fail(e, TN_INTERRUPTED, "stopped while evaluating");
        if (tn_stop_is_news())
            tn_info("stopping as soon as this step is done and a checkpoint written; Ctrl-C once "
                    "more leaves at once");
        TN_TRY(tn_trainee_fill(t, ex, n, &i, e));
        TN_TRY(run_micro(t, total, train, r, e));
        if (wants(t, TN_NEED_REF_LOGP)) tn_batch_keep_reference(&t->mb, ex + first, i - first);
    }
    return TN_OK;
}

/* What the head's parameters alone cost, once a step. */
static void add_penalty(tn_trainee *t, bool train, tn_step_result *r) {
    if (t->pooled) r->loss += tn_pooled_penalty(t->pooled, t->model, train);
}

/* Lane by lane: the examples that it has of each batch. */
static tn_status accumulate_lanes(tn_lanes *l, const tn_work *w, int n, const tn_total *total,
                                  bool train, tn_err *e) {
    for (int k = 0; k < n; k++) TN_TRY(tn_lanes_deal(l, k, w[k].ex, w[k].n, &w[k].t->batch, e));
    tn_status st = TN_OK;
    for (int i = 0; i < tn_lanes_own(l); i++) {
        if (train) tn_lanes_open(l, i);
        for (int k = 0; k < n && tn_lanes_first(l, i); k++) add_penalty(w[k].t, train, tn_lanes_result(l, k, i));
        for (int k = 0; k < n && st == TN_OK; k++) {
            int m;
            tn_example *const *own = tn_lanes_examples(l, k, i, &m);
            st = accumulate(w[k].t, &total[k], own, m, train, tn_lanes_result(l, k, i), e);
        }
        if (train) tn_lanes_shut(l, i);
        if (st == TN_INTERRUPTED) break;
        TN_TRY(st);
    }
    if (!train) TN_TRY(tn_comm_share_interrupt(tn_lanes_comm(l), st, e));
    for (int k = 0; k < n; k++) TN_TRY(tn_lanes_collect(l, k, w[k].r, e));
    return TN_OK;
}

static void wake(tn_model *m) {
    tn_phase before = tn_phase_enter(m->be, TN_PHASE_OPTIMISER);
    double begin = tn_work_begin(m->be);
    tn_model_wake_grad(m);
    tn_work_end(m->be, begin, "zero_grad", (double)(m->trunk->n * m->be->elem));
    tn_phase_leave(m->be, before);
}

tn_status tn_trainee_accumulate_all(const tn_work *w, int n, bool train, tn_err *e) {
    tn_total total[TN_LANE_BATCHES];
    if (train) wake(w[0].t->model);
    for (int k = 0; k < n; k++) {
        tn_trainee *t = w[k].t;
        TN_TRY(tn_trainee_points(t, w[k].ex, w[k].n, train, e));
        total[k] = t->total ? *t->total : count(t, w[k].ex, w[k].n);
        for (int i = 0, seq = 0; i < w[k].n; seq += w[k].ex[i++]->n_response) w[k].ex[i]->first = seq;
        for (int i = 0; i < w[k].n; i++)
            for (int j = 0; j < w[k].ex[i]->n_response; j++)
                w[k].r->full_tokens += w[k].ex[i]->n_prompt + w[k].ex[i]->response[j].n;
        if (!decided_ahead(t)) continue;
        TN_TRY(tn_trainee_decide(t, w[k].ex, w[k].n, &total[k], train, w[k].r, e));
        if (!train) return TN_OK; /* such a loss is alone in its step */
    }
    if (w[0].t->pooled && whole_step(w[0].t)) {
        TN_TRY(tn_pooled_decide(w[0].t, w[0].ex, w[0].n, &total[0], train, w[0].r, e));
        if (!train) return add_penalty(w[0].t, false, w[0].r), TN_OK;
    }
    if (w[0].t->lanes) return accumulate_lanes(w[0].t->lanes, w, n, total, train, e);
    for (int k = 0; k < n; k++) {
        add_penalty(w[k].t, train, w[k].r);
        TN_TRY(accumulate(w[k].t, &total[k], w[k].ex, w[k].n, train, w[k].r, e));
    }
    return TN_OK;
}

tn_status tn_trainee_accumulate(tn_trainee *t, tn_example *const *ex, int n, bool train,
                                tn_step_result *r, tn_err *e) {
    return tn_trainee_accumulate_all(&(tn_work){t, ex, n, r}, 1, train, e);
}

tn_status tn_trainee_update(tn_trainee *t, const tn_optimiser *o, double lr, long step,
                            tn_step_result *r, tn_err *e) {
    tn_backend *be = t->model->be;
    tn_phase before = tn_phase_enter(be, TN_PHASE_OPTIMISER);
    double sumsq;
    if (t->lanes) TN_TRY(tn_lanes_reduce(t->lanes, &sumsq, e));
    else sumsq = tn_model_grad_sumsq(t->model);
    double norm = sqrt(sumsq);
    r->grad_norm = norm;
    if (!isfinite(norm) || !isfinite(r->loss))
        return tn_fail(
            e, TN_NUMERIC,
            "step %ld: the %s is not finite (loss %g, gradient norm %g). The weights are "
            "those of the step before; lower --learning-rate, or look for broken rows with "
            "--dry-run",
            step, isfinite(norm) ? "loss" : "gradient", r->loss, norm);
    /* torch's clip_grad_norm_: factor max_norm / (norm + 1e-6), at most 1 */
    double scale = 1.0;
    if (o->max_grad_norm > 0 && o->max_grad_norm / (norm + 1e-6) < 1.0)
        scale = o->max_grad_norm / (norm + 1e-6);
    tn_model_adamw(t->model, lr, o->beta1, o->beta2, o->eps, o->weight_decay, o->decay_all, step,
                   scale);
    if (t->lanes) TN_TRY(tn_lanes_share_weights(t->lanes, e));
    if (t->pooled) tn_pooled_fold(t->pooled, t->model);
    tn_model_pack(t->model);
    double begin = tn_work_begin(be);
    if (t->rests) tn_trainee_rest(t);
    else tn_model_zero_grad(t->model);
    tn_work_end(be, begin, "zero_grad", (double)(t->model->trunk->n * be->elem));
    tn_phase_leave(be, before);
    return TN_OK;
}

void tn_trainee_rest(tn_trainee *t) {
    tn_model_rest_grad(t->model);
    tn_lanes_rest(t->lanes);
}

static tn_status reference_of(tn_trainee *t, tn_example *const *ex, int i, int end, tn_err *e) {
    while (i < end) {
        int first = i;
        if (tn_stop_requested()) return tn_fail(e, TN_INTERRUPTED, "stopped while computing log-probs of the reference");
        TN_TRY(tn_trainee_fill(t, ex, end, &i, e));
        TN_TRY(tn_trainee_reference(t, e));
        tn_batch_keep_reference(&t->mb, ex + first, i - first);
    }
    return TN_OK;
}

/* Each rank computed its share of the dataset: all get all. */
static tn_status share_reference(tn_comm *c, tn_dataset *d, tn_err *e) {
    size_t *at = tn_calloc((size_t)c->size + 1, sizeof *at);
    tn_status st = at ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    for (int r = 0, i = 0; at && r < c->size; r++) {
        at[r + 1] = at[r];
        for (; i < tn_comm_first(c, (int)d->n, r + 1); i++)
            at[r + 1] += (size_t)tn_example_trained(&d->ex[i]) * sizeof(double);
    }
    if (st == TN_OK) st = tn_comm_all_gather(c, d->ex[0].ref, at, e);
    for (size_t i = 0; i < d->n; i++) d->ex[i].ref_known = true;
    tn_free(at);
    return st;
}

tn_status tn_trainee_precompute_reference(tn_trainee *t, tn_dataset *const *d, int n_dataset,
                                          tn_err *e) {
    tn_comm *c = tn_lanes_comm(t->lanes);
    for (int k = 0; k < n_dataset; k++) {
        int n = (int)d[k]->n;
        tn_example **ex = tn_calloc(d[k]->n + 1, sizeof *ex);
        if (!ex) return tn_fail(e, TN_NOMEM, "out of memory for %d examples", n);
        for (int i = 0; i < n; i++) ex[i] = &d[k]->ex[i];
        tn_status st = reference_of(t, ex, tn_comm_first(c, n, c->rank), tn_comm_first(c, n, c->rank + 1), e);
        tn_free(ex);
        TN_TRY(tn_comm_share_interrupt(c, st, e));
        TN_TRY(share_reference(c, d[k], e));
    }
    return TN_OK;
}
