#include "base/log.h"
#include "base/signals.h"
#include "ops/profile.h"
#include "rl/critic_free_int.h"
#include "train/moving_ref.h"
#include <math.h>
#include <string.h>

/* ---- a sampling ---- */

static void completion_metrics(const tn_rollouts *r, tn_metrics *m) {
    double low[2] = {HUGE_VAL, HUGE_VAL}, high[2] = {0, 0}, sum[2] = {0, 0}, n[2] = {0, 0};
    for (int i = 0; i < r->n; i++)
        for (int ended = 0; r->own[i] && ended <= (r->ended[i] != 0); ended++) { /* all; those that ended */
            double len = r->response[i].n;
            if (len < low[ended]) low[ended] = len;
            if (len > high[ended]) high[ended] = len;
            sum[ended] += len, n[ended]++;
        }
    static const char *const name[2][3] = {
        {"completions/mean_length", "completions/min_length", "completions/max_length"},
        {"completions/mean_terminated_length", "completions/min_terminated_length",
         "completions/max_terminated_length"}};
    for (int k = 0; k < 2; k++) { /* none ended: zeros, as in TRL */
        tn_metrics_mean(m, name[k][0], n[k] > 0 ? sum[k] / n[k] : 0, 1);
        tn_metrics_mean(m, name[k][1], n[k] > 0 ? low[k] : 0, 1);
        tn_metrics_mean(m, name[k][2], high[k], 1);
    }
    tn_metrics_mean(m, "completions/clipped_ratio", 1 - n[1] / n[0], 1);
}

static tn_status log_samples(tn_critic_free *l, tn_err *e) {
    tn_online_column c[67];
    int n = 0;
    for (int i = 0; i < l->rewards.n && n < 64; i++)
        c[n++] =
            (tn_online_column){l->rewards.source[i].column, l->rewards.value + i, l->rewards.n};
    if (l->steps.sum) c[n++] = (tn_online_column){"rewards/steps", l->steps.sum, 1};
    c[n++] = (tn_online_column){"reward", l->total, 1};
    c[n++] = (tn_online_column){"advantage", l->advantage, 1};
    return tn_online_log_samples(&l->on, l->on.step + 1, c, n, e);
}

static tn_status cut(tn_critic_free *l, long sampling, tn_err *e) {
    const tn_critic_free_task *k = l->task;
    tn_rollouts *r = &l->on.roll;
    bool mask = k->q.mask_truncated;
    for (int i = 0; i < r->n; i++)
        for (int t = r->off[i]; t < r->off[i + 1]; t++) r->advantage[t] = r->score[i];
    if (k->token_advantages) TN_TRY(k->token_advantages(k->token_opt, r, e));
    if (k->sdpo) tn_sdpo_mask(&l->sdpo, r, k->opt);
    uint64_t seed = (uint64_t)l->on.o.seed, number = (uint64_t)sampling;
    if (k->best) return tn_slices_cut_best(&l->slices, r, k->best, mask, seed, number, e);
    if (k->pairs) tn_slices_cut_pairs(&l->slices, r, k->pairs, mask, seed, number);
    else tn_slices_cut(&l->slices, r, mask, seed, number);
    return k->sdpo ? tn_sdpo_teach(&l->sdpo, &l->on, l->slices.part, e) : TN_OK;
}

static void pick(tn_critic_free *l, long sampling) {
    long in_epoch = l->per_epoch / l->per_sampling, P = l->on.roll.n_prompt;
    tn_online_pick(&l->on, sampling / in_epoch * (long)l->on.prompts->n + sampling % in_epoch * P);
}

static void take_missing_ends(tn_critic_free *l) {
    for (int i = 0; i < l->on.roll.n; i++)
        if (!l->on.roll.ended[i]) l->advantage[i] -= l->task->pairs->missing_eos;
}

static void chosen_metrics(const tn_critic_free *l, tn_metrics *m) {
    const tn_slices *s = &l->slices;
    double sum = 0;
    for (int k = 0; k < s->n; k++)
        for (int i = 0; i < s->part[k].n; i++) sum += s->part[k].advantage[s->part[k].off[i]];
    tn_metrics_mean(m, "frac_chosen", s->n_chosen, l->on.roll.n);
    tn_metrics_mean(m, "reward_chosen", sum, s->n_chosen);
}

static tn_status shape(tn_critic_free *l, tn_err *e) {
    const tn_rewards *w = &l->rewards;
    if (!l->shaping.o) return TN_OK;
    TN_TRY(tn_shaping_refer(&l->shaping, &l->on, l->judge, e));
    memcpy(l->shaped, w->value, (size_t)l->on.roll.n * (size_t)w->n * sizeof *l->shaped);
    for (int k = 0; k < l->shaping.n_model; k++)
        TN_TRY(tn_shaping_apply(&l->shaping, k, &l->on, l->shaped + k, w->n, e));
    return tn_rewards_join(w, l->shaped, l->on.roll.n, e);
}

/* Proxies as they are: the weighted sum of what every source said, of steps too. */
static tn_status watch(tn_critic_free *l, tn_metrics *m, tn_err *e) {
    const tn_rewards *w = &l->rewards;
    for (int i = 0; i < l->on.roll.n; i++) {
        l->scratch[i] = 0;
        for (int k = 0; k < w->n; k++)
            if (!isnan(w->value[i * w->n + k])) l->scratch[i] += w->weight[k] * w->value[i * w->n + k];
        if (l->steps.sum) l->scratch[i] += l->steps.o->weight * l->steps.sum[i];
    }
    double price = l->task->pairs || l->task->best ? NAN : l->task->beta; /* a preference loss's beta is none */
    tn_alarm_view v = {l->scratch, w->value, l->task->rewards.models.n, w->n, price};
    if (w->member) v.member = w->member, v.n_member = v.stride = w->n_member;
    return tn_alarms_look(&l->alarms, &l->on, &v, m, e);
}

/* Nobody judges responses as such: that they have no score is not a reason to leave them out. */
static void only_steps(tn_critic_free *l, tn_metrics *m) {
    double sum = 0;
    int n = l->on.roll.n;
    for (int i = 0; i < n; i++) {
        l->advantage[i] = 0;
        sum += l->total[i] = l->steps.o->weight * l->steps.sum[i];
    }
    tn_metrics_mean(m, "reward", sum, n);
}

/* Responses, rewards and advantages of a new batch. */
static tn_status collect(tn_critic_free *l, tn_err *e) {
    tn_online *on = &l->on;
    tn_rollouts *r = &on->roll;
    tn_metrics *m = &l->m;
    long sampling = on->step / l->per_sampling;
    pick(l, sampling);
    TN_TRY(tn_online_sample(on, (uint64_t)(sampling * r->n_prompt * r->n_sample), e));
    if (!l->task->sdpo) TN_TRY(tn_rollouts_observe(r, &on->policy, NULL, e)); /* teachers have their say in the step */
    tn_online_leave(on);
    if (tn_sampler_is_reference(l)) tn_rollouts_own_reference(r);
    TN_TRY(tn_rewards_score(&l->rewards, on, r, m, e));
    TN_TRY(tn_step_rewards_score(&l->steps, on, m, e));
    TN_TRY(shape(l, e));
    if (r->has_ref) {
        double sum, tokens;
        tn_rollouts_kl(r, l->task->q.mask_truncated, l->kl, &sum, &tokens);
        if (l->task->kl_in_reward) tn_metrics_mean(m, "kl", sum, tokens > 1 ? tokens : 1);
    }
    TN_TRY(l->task->advantages(l->task->advantage_opt, &l->group, r->has_ref ? l->kl : NULL, m, e));
    if (l->rewards.n == 0) only_steps(l, m);
    if (l->task->sdpo) tn_sdpo_choose(&l->sdpo, r, l->total, m);
    TN_TRY(watch(l, m, e));
    if (l->task->pairs) take_missing_ends(l);
    memcpy(r->score, l->advantage, (size_t)r->n * sizeof *r->score);
    completion_metrics(r, m);
    TN_TRY(cut(l, sampling, e));
    if (l->task->pairs) tn_metrics_mean(m, "frac_pairs", l->slices.n_chosen, r->n_prompt);
    if (l->task->best) chosen_metrics(l, m);
    return log_samples(l, e);
}

/* ---- a step ---- */

/* The entropy that top_entropy of the slice's tokens reach, under the policy as it is now. */
static tn_status find_floor(tn_critic_free *l, tn_rollouts *part, tn_total *total, tn_err *e) {
    TN_TRY(tn_rollouts_entropy(part, &l->on.policy, l->entropy, e));
    double floor = tn_entropy_floor(l->entropy, part->n_tok, l->task->top_entropy);
    *l->task->entropy_floor = floor;
    total->kept_tok = 0;
    for (int t = 0; t < part->n_tok; t++) total->kept_tok += l->entropy[t] >= floor;
    return TN_OK;
}

static tn_status one_step(tn_critic_free *l, double *lr, tn_err *e) {
    tn_online *on = &l->on;
    tn_trainee *t = &on->policy;
    tn_optimiser opt = tn_optimiser_from_options(&on->o);
    tn_step_result r = {0};
    long k = on->step % l->per_sampling;
    tn_rollouts *part = &l->slices.part[k % l->slices.n];
    t->total = &l->slices.total[k % l->slices.n];
    t->expect_on_policy = k == 0 && !on->sampling.truncated_logp && !(l->task->pairs && l->task->opponent);
    if (part->n > 0) { /* all masked: no gradient, and AdamW goes on */
        if (l->entropy) TN_TRY(find_floor(l, part, &l->slices.total[k % l->slices.n], e));
        TN_TRY(tn_trainee_accumulate(t, part->at, part->n_ex, true, &r, e));
    }
    *lr = tn_lr_at(&on->o, l->peak_lr, on->step + 1, l->total_steps);
    tn_online_last(on, k + 1 == l->per_sampling);
    TN_TRY(tn_trainee_update(t, &opt, *lr, on->step + 1, &r, e));
    on->step++;
    const tn_sdpo_options *teacher = l->task->sdpo;
    if (teacher && strcmp(teacher->kind, "ema") == 0 && on->step % teacher->sync_steps == 0)
        TN_TRY(tn_moving_ref_mix(on->ref, t->model, teacher->rate, e));
    l->loss += r.loss, l->norm += r.grad_norm, l->n_logged++;
    tn_metrics_merge(&l->m, &r.metrics);
    return TN_OK;
}

static tn_status log_entry(tn_critic_free *l, double lr, tn_err *e) {
    const tn_online *on = &l->on;
    json_t *j = json_pack("{s:I,s:f,s:f,s:f,s:f,s:I}", "step", (json_int_t)on->step, "loss",
                          l->loss / l->n_logged, "grad_norm", l->norm / l->n_logged,
                          "learning_rate", lr, "epoch", (double)on->step / (double)l->per_epoch,
                          "num_tokens", (json_int_t)on->tokens);
    if (!j) return tn_fail(e, TN_NOMEM, "out of memory");
    tn_runlog_put_metrics(j, "", &l->m);
    l->loss = l->norm = l->n_logged = 0;
    tn_metrics_clear(&l->m);
    return tn_runlog_entry(&l->on.log, j, e);
}

/* ---- the loop's own state: in the middle of a batch, the batch ---- */

static json_t *state_of(const tn_critic_free *l, bool batch) {
    json_t *s = json_pack("{s:I,s:I}", "steps_per_sampling", (json_int_t)l->per_sampling, "prompts",
                          (json_int_t)l->on.roll.n_prompt);
    if (s && (json_object_set_new(s, "shaping", tn_shaping_state(&l->shaping)) < 0 ||
              json_object_set_new(s, "alarms", tn_alarms_state(&l->alarms)) < 0)) {
        json_decref(s);
        return NULL;
    }
    if (!s || !batch || l->on.step % l->per_sampling == 0) return s;
    bool ok = json_object_set_new(s, "rollouts", tn_rollouts_record(&l->on.roll)) == 0;
    if (ok && l->task->sdpo) ok = json_object_set_new(s, "shown", tn_sdpo_state(&l->sdpo, &l->on.roll)) == 0;
    if (ok) return s;
    json_decref(s);
    return NULL;
}

static tn_status take_state(tn_critic_free *l, const json_t *s, tn_err *e) {
    tn_online *on = &l->on;
    long steps = (long)json_integer_value(json_object_get(s, "steps_per_sampling")),
         prompts = (long)json_integer_value(json_object_get(s, "prompts"));
    if (steps != l->per_sampling || prompts != on->roll.n_prompt)
        return tn_fail(e, TN_STATE,
                       "%s is of a run with %ld prompts and %ld steps to a sampling, these options "
                       "make %d and %ld; resume with the options of the run",
                       on->from.s, prompts, steps, on->roll.n_prompt, l->per_sampling);
    tn_shaping_take(&l->shaping, json_object_get(s, "shaping"));
    TN_TRY(tn_alarms_take(&l->alarms, json_object_get(s, "alarms"), on->from.s, e));
    if (on->step % l->per_sampling == 0) return TN_OK;
    long sampling = on->step / l->per_sampling;
    pick(l, sampling);
    TN_TRY(tn_rollouts_load(&on->roll, json_object_get(s, "rollouts"), on->policy.model->desc.vocab,
                            on->from.s, e));
    if (l->task->sdpo) TN_TRY(tn_sdpo_take(&l->sdpo, &on->roll, json_object_get(s, "shown"), on->from.s, e));
    return cut(l, sampling, e);
}

static tn_status train(tn_critic_free *l, tn_err *e) {
    tn_online *on = &l->on;
    tn_progress bar;
    double reward = NAN, length = NAN, lr = 0, rate;
    bool due;
    tn_progress_begin(&bar, l->task->verb, "steps", l->total_steps, on->step);
    while (on->step < l->total_steps && !on->stop) {
        if (on->step % l->per_sampling == 0) {
            tn_metrics before = l->m;
            long tokens = on->tokens;
            tn_status st = collect(l, e);
            if (st == TN_INTERRUPTED) { /* the batch will be sampled again */
                l->m = before, on->tokens = tokens;
                break;
            }
            TN_TRY(st);
            on->keep = tn_alarms_keep(&l->alarms, on);
            if (tn_alarms_stop(&l->alarms)) break;
            reward = tn_metrics_find(&l->m, "reward");
            length = tn_metrics_find(&l->m, "completions/mean_length");
        }
        TN_TRY(one_step(l, &lr, e));
        TN_TRY(tn_runlog_timing(&on->log, on->step, on->tokens, &rate, e));
        /* entries end where checkpoints are, so that a resumed run averages the same steps */
        TN_TRY(tn_online_due(on, &due, e));
        bool last = on->step == l->total_steps;
        if (due || last || on->step % on->o.logging_steps == 0) TN_TRY(log_entry(l, lr, e));
        if (due) TN_TRY(tn_online_checkpoint(on, state_of(l, true), e));
        tn_progress_update(&bar, on->step, "reward %.3f  length %.1f  %.0f tok/s", reward, length,
                           rate);
    }
    tn_progress_end(&bar);
    if (on->step == l->total_steps) return TN_OK;
    if (tn_alarms_stop(&l->alarms)) {
        TN_TRY(tn_online_checkpoint(on, state_of(l, false), e)); /* the batch will be sampled again */
        return tn_alarms_end(&l->alarms, on, e);
    }
    if (l->n_logged) TN_TRY(log_entry(l, lr, e));
    TN_TRY(tn_online_checkpoint(on, state_of(l, true), e));
    return tn_online_interrupted(on, "step", l->total_steps, e);
}

static tn_status run(tn_critic_free *l, const tn_opts *opts, tn_err *e) {
    json_t *state;
    TN_TRY(tn_critic_free_set_up(l, opts, e));
    if (l->on.o.dry_run) return TN_OK;
    if (l->task->values) {
        TN_TRY(tn_values_find(l->task->values, &l->on, &l->rewards, e));
        TN_TRY(tn_critic_free_plan(l, e));
    }
    tn_status st = tn_online_begin(&l->on, &state, e);
    const tn_opt_list *models = &l->task->rewards.models;
    if (st == TN_OK) st = tn_alarms_open(&l->alarms, &l->watch, l->judge[0], models->n ? models->v[0] : NULL, &l->on, e);
    if (st == TN_OK && state) st = take_state(l, state, e);
    json_decref(state);
    TN_TRY(st);
    TN_TRY(train(l, e));
    return tn_online_save(&l->on, state_of(l, false), e);
}

tn_status tn_critic_free_run(const tn_critic_free_task *task, const tn_opts *opts, tn_err *e) {
    tn_critic_free *l = tn_calloc(1, sizeof *l);
    if (!l) return tn_fail(e, TN_NOMEM, "out of memory");
    l->task = task, l->on.lock = -1;
    tn_status st = run(l, opts, e);
    st = tn_run_end(l->on.be, st, e);
    tn_critic_free_close(l);
    tn_free(l);
    return st;
}
