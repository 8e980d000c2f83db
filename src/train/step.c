#include "train/step.h"
#include <math.h>
#include <string.h>

static bool wants(const tn_trainee *t, unsigned need) { return (t->needs & need) != 0; }

/* Log-probs of the batch's tokens under `m`; the statistics that trainee `all` needs go to the batch. */
static tn_status lm_numbers(tn_run *run, const tn_model *m, tn_batch *b, double inv_temp,
                            double *logp, const tn_trainee *all, tn_err *e) {
    TN_TRY(tn_forward(run, m, &b->forest, e));
    if (b->n_tok == 0) return TN_OK;
    tn_lm q = {
        .n = b->n_tok, .rows = b->row, .target = b->target, .inv_temp = inv_temp, .logp = logp};
    if (all) {
        q.lse = b->lse, q.entropy = b->entropy, q.mean_logit = b->mean_logit; /* the head has them anyway */
        if (wants(all, TN_NEED_STATS)) q.top1 = b->top1;
    }
    return tn_lm_head(run, m, &q, e);
}

tn_status tn_trainee_reference(tn_trainee *t, tn_err *e) {
    return lm_numbers(t->ref_run, t->ref, &t->mb, t->inv_temp, t->mb.ref_logp, NULL, e);
}

static double sd_of(const tn_trainee *t) { return t->value_sd > 0 ? t->value_sd : 1.0; }

static void normalise(const tn_trainee *t, double *v, int n) {
    for (int i = 0; i < n; i++) v[i] = (v[i] - t->value_mean) / sd_of(t);
}

tn_status tn_trainee_observe(tn_trainee *t, bool keep, tn_err *e) {
    tn_batch *b = &t->mb;
    if (wants(t, TN_NEED_REF_LOGP) && !b->ref_known) TN_TRY(tn_trainee_reference(t, e));
    if (wants(t, TN_NEED_LOGP)) {
        TN_TRY(lm_numbers(t->run, t->model, b, t->inv_temp, b->logp, t, e));
    } else {
        TN_TRY(tn_forward(t->run, t->model, &b->forest, e));
    }
    if (wants(t, TN_NEED_SCORE))
        TN_TRY(tn_score_head(t->run, t->model, b->score_row, b->n_seq, b->score, e));
    if (wants(t, TN_NEED_VALUE)) {
        TN_TRY(tn_score_head(t->run, t->model, b->row, b->n_tok, b->value, e));
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
        TN_TRY(tn_lm_head_backward(t->run, t->model, &q, g->logp,
                                   wants(t, TN_NEED_ENTROPY) ? g->entropy : NULL,
                                   wants(t, TN_NEED_LSE) ? g->lse : NULL, e));
    }
    if (wants(t, TN_NEED_SCORE))
        TN_TRY(tn_score_head_backward(t->run, t->model, b->score_row, b->n_seq, g->score, e));
    if (wants(t, TN_NEED_VALUE)) {
        for (int i = 0; i < b->n_tok; i++) g->value[i] /= sd_of(t);
        TN_TRY(tn_score_head_backward(t->run, t->model, b->row, b->n_tok, g->value, e));
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

/* The algorithm sees what was computed; the other arrays hold numbers of another batch, or none. */
static void hide_unknown(const tn_trainee *t, tn_obs *x) {
    if (!wants(t, TN_NEED_LOGP)) x->logp = x->entropy = x->mean_logit = NULL;
    if (!wants(t, TN_NEED_STATS)) x->top1 = NULL;
    if (!wants(t, TN_NEED_VALUE)) x->value = NULL;
    if (!wants(t, TN_NEED_SCORE)) x->score = NULL;
    if (!wants(t, TN_NEED_REF_LOGP)) x->ref_logp = NULL;
}

static tn_status run_micro(tn_trainee *t, const tn_obs *total, bool train, tn_step_result *r,
                           tn_err *e) {
    tn_batch *b = &t->mb;
    TN_TRY(tn_batch_finish(b, e));
    TN_TRY(tn_trainee_observe(t, train, e));
    if (t->expect_on_policy) TN_TRY(check_on_policy(b, e));
    tn_obs x;
    tn_batch_obs(b, &x);
    hide_unknown(t, &x);
    x.total = total->total;
    tn_grad g = {.logp = b->d_logp,
                 .entropy = b->d_entropy,
                 .lse = b->d_lse,
                 .value = b->d_value,
                 .score = b->d_score};
    size_t n = (size_t)b->n_tok * sizeof(double);
    double *tok[] = {b->d_logp, b->d_entropy, b->d_lse, b->d_value};
    for (int i = 0; i < 4; i++)
        if (n) memset(tok[i], 0, n);
    memset(b->d_score, 0, (size_t)b->n_seq * sizeof(double));
    TN_TRY(t->algo->step(t->opt, &x, &g, &r->metrics, e));
    r->loss += g.loss;
    r->tokens += b->forest.n_tok;
    r->micro_batches++;
    return train ? micro_backward(t, &g, e) : TN_OK;
}

static void keep_reference(const tn_batch *b, tn_example *const *ex, int n) {
    for (int i = 0, seq = 0; i < n; seq += ex[i++]->n_response) {
        int first = b->off[seq], end = b->off[seq + ex[i]->n_response];
        if (!ex[i]->ref || ex[i]->ref_known) continue;
        memcpy(ex[i]->ref, b->ref_logp + first, (size_t)(end - first) * sizeof(double));
        ex[i]->ref_known = true;
    }
}

tn_status tn_trainee_accumulate(tn_trainee *t, tn_example *const *ex, int n, bool train,
                                tn_step_result *r, tn_err *e) {
    tn_obs total = {0};
    for (int i = 0; i < n; i++) {
        total.total.tok += tn_example_trained(ex[i]);
        total.total.seq += ex[i]->n_response;
        int pairs = tn_batch_pairs(ex[i], &t->batch);
        total.total.pair += pairs;
        total.total.group += !pairs && ex[i]->n_response > 1;
        if (pairs && ex[i]->pair) total.total.chosen_tok += ex[i]->response[0].n;
        for (int k = 0; k < ex[i]->n_response; k++)
            r->full_tokens += ex[i]->n_prompt + ex[i]->response[k].n;
    }
    for (int i = 0; i < n;) {
        tn_batch_clear(&t->mb);
        int cost = 0, first = i;
        do {
            TN_TRY(tn_batch_add(&t->mb, ex[i], &t->batch, e));
            cost += tn_batch_cost(ex[i++], &t->batch);
        } while (i < n && cost + tn_batch_cost(ex[i], &t->batch) <= t->max_tokens);
        TN_TRY(run_micro(t, &total, train, r, e));
        if (wants(t, TN_NEED_REF_LOGP)) keep_reference(&t->mb, ex + first, i - first);
    }
    return TN_OK;
}

tn_status tn_trainee_update(tn_trainee *t, const tn_optimiser *o, double lr, long step,
                            tn_step_result *r, tn_err *e) {
    double norm = sqrt(tn_model_grad_sumsq(t->model));
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
    tn_model_zero_grad(t->model);
    return TN_OK;
}

tn_status tn_trainee_precompute_reference(tn_trainee *t, tn_dataset *train, tn_dataset *eval,
                                          tn_err *e) {
    tn_dataset *d[2] = {train, eval};
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; d[k] && i < d[k]->n;) {
            size_t first = i;
            int cost = 0;
            tn_batch_clear(&t->mb);
            do {
                TN_TRY(tn_batch_add(&t->mb, &d[k]->ex[i], &t->batch, e));
                cost += tn_batch_cost(&d[k]->ex[i++], &t->batch);
            } while (i < d[k]->n && cost + tn_batch_cost(&d[k]->ex[i], &t->batch) <= t->max_tokens);
            TN_TRY(tn_batch_finish(&t->mb, e));
            TN_TRY(tn_trainee_reference(t, e));
            for (int seq = 0; first < i; first++) {
                tn_example *x = &d[k]->ex[first];
                int from = t->mb.off[seq], to = t->mb.off[seq + x->n_response];
                memcpy(x->ref, t->mb.ref_logp + from, (size_t)(to - from) * sizeof(double));
                x->ref_known = true;
                seq += x->n_response;
            }
        }
    return TN_OK;
}
