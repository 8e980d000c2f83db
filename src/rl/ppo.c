#include "rl/ppo_int.h"
#include "base/log.h"
#include "base/rng.h"
#include <math.h>
#include <string.h>

/* ---- the loop's own state ---- */

static json_t *state_of(const tn_ppo *p) {
    char hash[32];
    snprintf(hash, sizeof hash, "%016llx", p->texts ? (unsigned long long)p->texts->hash : 0ull);
    return json_pack("{s:I,s:I,s:f,s:f,s:f,s:f,s:s,s:o,s:o,s:o}", "updates", (json_int_t)p->updates, "episodes",
                     (json_int_t)p->episodes, "kl_coef", p->kl.coef, "running_count",
                     p->running.count, "running_mean", p->running.mean, "running_m2", p->running.m2,
                     "ptx_hash", hash, "shaping", tn_shaping_state(&p->shaping), "safe", tn_safe_state(&p->safe),
                     "alarms", tn_alarms_state(&p->alarms));
}

static tn_status take_state(tn_ppo *p, const json_t *s, tn_err *e) {
    char hash[32];
    const char *was = json_string_value(json_object_get(s, "ptx_hash"));
    snprintf(hash, sizeof hash, "%016llx", p->texts ? (unsigned long long)p->texts->hash : 0ull);
    if (was && strcmp(was, hash) != 0)
        return tn_fail(e, TN_STATE, "%s was trained with another --ptx-data; resume with the same",
                       p->on.from.s);
    p->updates = (long)json_integer_value(json_object_get(s, "updates"));
    p->episodes = (long)json_integer_value(json_object_get(s, "episodes"));
    p->kl.coef = json_number_value(json_object_get(s, "kl_coef"));
    p->running.count = json_number_value(json_object_get(s, "running_count"));
    p->running.mean = json_number_value(json_object_get(s, "running_mean"));
    p->running.m2 = json_number_value(json_object_get(s, "running_m2"));
    tn_shaping_take(&p->shaping, json_object_get(s, "shaping"));
    TN_TRY(tn_safe_take(&p->safe, json_object_get(s, "safe"), p->on.from.s, e));
    return tn_alarms_take(&p->alarms, json_object_get(s, "alarms"), p->on.from.s, e);
}

/* ---- one iteration ---- */

/* The judge's word, weighted; what it could not read is neither good nor bad. */
static tn_status judge(tn_ppo *p, tn_metrics *m, tn_err *e) {
    tn_rollouts *r = &p->on.roll;
    const tn_appraise_options *o = &p->task->judge.appraise;
    double sum = 0, middle = strcmp(o->as, "prob") || tn_appraise_needs(o, "score") ? 0 : 0.5;
    if (!p->judge) return TN_OK;
    TN_TRY(tn_reward_judge_score(p->judge, &p->on, r, p->judged, 1, m, e));
    for (int i = 0; i < r->n; i++) {
        if (isnan(p->judged[i])) p->judged[i] = middle;
        sum += p->judged[i];
        p->judged[i] *= p->task->ppo.judge_weight;
    }
    tn_metrics_mean(m, "rewards/judge/mean", sum, r->n);
    return TN_OK;
}

/* Scores of every member of the ensemble, for the log and alarms as they are (raw_score), for training shaped (score); the judge's word is
 * added to both. */
static tn_status score(tn_ppo *p, tn_metrics *m, tn_err *e) {
    tn_online *on = &p->on;
    tn_rollouts *r = &on->roll;
    const tn_ensemble_opt *q = &p->task->ensemble;
    int M = p->n_member;
    for (int j = 0, at = 0; j < p->n_scorer; at += tn_scorer_members(p->scorer[j++])) {
        TN_TRY(tn_rollouts_score(r, p->scorer[j], on->tok, r->raw_score, e));
        tn_online_leave(on);
        tn_scorer_put_members(p->scorer[j], r->raw_score, r->n, p->member + at, M);
    }
    for (int i = 0; !M && i < r->n; i++) r->raw_score[i] = 0;
    TN_TRY(judge(p, m, e));
    TN_TRY(tn_shaping_refer(&p->shaping, on, p->scorer, e));
    TN_TRY(tn_rollouts_observe(r, &on->policy, &p->critic, e));
    tn_online_leave(on);
    TN_TRY(tn_safe_score(&p->safe, on, m, e));
    TN_TRY(tn_step_rewards_score(&p->steps, on, m, e));
    if (M > 1) TN_TRY(tn_ensemble_scores(q, p->member, r->n, M, r->raw_score, m, e));
    for (int i = 0; i < r->n; i++) r->raw_score[i] += p->judged[i];
    TN_TRY(tn_alarms_look(&p->alarms, on, &(tn_alarm_view){r->raw_score, p->member, M, M, p->kl.coef}, m, e));
    if (p->shaping.o) /* then members are models */
        for (int j = 0; j < M; j++) TN_TRY(tn_shaping_apply(&p->shaping, j, on, p->member + j, M, e));
    for (int i = 0; M < 2 && i < r->n; i++) r->score[i] = M ? p->member[i] : 0;
    tn_metrics none = {0};
    if (M > 1) TN_TRY(tn_ensemble_scores(q, p->member, r->n, M, r->score, &none, e));
    for (int i = 0; i < r->n; i++) r->score[i] += p->judged[i];
    return TN_OK;
}

static void sample_metrics(const tn_rollouts *r, tn_metrics *m) {
    double raw = 0, ended = 0;
    for (int i = 0; i < r->n; i++) raw += r->raw_score[i], ended += r->ended[i];
    tn_metrics_mean(m, "objective/raw_scores", raw, r->n);
    tn_metrics_mean(m, "completions/mean_length", r->n_tok, r->n);
    tn_metrics_mean(m, "completions/ended_ratio", ended, r->n);
    tn_metrics_put(m, TN_METRIC_SUM, "val/num_eos_tokens", ended);
}

/* Token rewards, then GAE on tokens or macros, of rewards alone or of rewards and costs; whitened. */
static tn_status advantages(tn_ppo *p, long first, tn_metrics *m, tn_err *e) {
    tn_rollouts *r = &p->on.roll;
    const tn_rl_opt *o = &p->task->rl;
    tn_rollout q = {.n_seq = r->n,
                    .off = r->off,
                    .logp = r->old_logp,
                    .ref_logp = r->ref_logp,
                    .value = r->value,
                    .score = r->score,
                    .step = r->step,
                    .step_weight = p->task->steps.weight,
                    .reward = r->reward,
                    .advantage = r->advantage,
                    .ret = r->ret};
    tn_metrics_put(m, TN_METRIC_SUM, "objective/kl_coef", p->kl.coef);
    TN_TRY(tn_rollout_rewards(o, p->kl.coef, &q, m, e));
    TN_TRY(tn_macros_cut(&p->macros, r, (uint64_t)first, e));
    if (p->safe.task && !p->safe.priced) TN_TRY(tn_safe_advantages(&p->safe, o, p->kl.coef, r, &p->macros, m, e));
    else tn_macros_gae(&p->macros, r, r->reward, r->value, o->gamma, o->lambda, r->advantage, r->ret, m);
    TN_TRY(tn_rollout_whiten(o, &q, m, e));
    if (!tn_alarms_raise(&p->alarms, &p->kl.coef))
        tn_kl_control_update(&p->kl, q.mean_kl, r->n, o->kl_target, o->kl_horizon);
    return TN_OK;
}

/* Samples, scores and advantages of a new batch. */
static tn_status collect(tn_ppo *p, tn_metrics *m, tn_err *e) {
    tn_online *on = &p->on;
    tn_rollouts *r = &on->roll;
    long first = on->step * (long)p->task->ppo.rollouts;
    tn_online_column column[3] = {{"score", r->raw_score, 1}};
    int n = 1;
    tn_online_pick(on, first);
    TN_TRY(tn_online_sample(on, (uint64_t)first, e));
    TN_TRY(score(p, m, e));
    if (tn_alarms_stop(&p->alarms)) return TN_OK;
    if (p->safe.cost) column[n++] = (tn_online_column){"cost", p->safe.cost, 1};
    if (p->steps.sum) column[n++] = (tn_online_column){"step_rewards", p->steps.sum, 1};
    TN_TRY(tn_online_log_samples(on, on->step + 1, column, n, e));
    sample_metrics(r, m);
    TN_TRY(tn_scores_shape(&p->task->score, r->score, r->ended, r->n, &p->running, e));
    if (p->safe.priced)
        for (int i = 0; i < r->n; i++) r->score[i] -= p->task->safe.q.cost_weight * p->safe.cost[i];
    TN_TRY(advantages(p, first, m, e));
    p->episodes += r->n;
    return TN_OK;
}

/* The update's rows of the pretraining mix into p->text; how many. */
static int pick_texts(tn_ppo *p) {
    const uint32_t *rows;
    size_t n;
    if (!p->texts) return 0;
    tn_plan_step(&p->text_plan, p->updates, &rows, &n);
    for (size_t i = 0; i < n; i++) p->text[i] = &p->texts->ex[rows[i]];
    return (int)n;
}

static tn_status update_critic(tn_ppo *p, tn_trainee *c, int n, double lr, const char *const name[2], tn_metrics *m,
                               tn_step_result *r, tn_err *e) {
    tn_optimiser o = tn_optimiser_from_options(&p->on.o);
    TN_TRY(tn_trainee_accumulate(c, p->mini, n, true, r, e));
    TN_TRY(tn_trainee_update(c, &o, lr, p->updates + 1, r, e));
    tn_metrics_mean(m, name[0], r->grad_norm, 1);
    tn_metrics_mean(m, name[1], r->loss, 1);
    return TN_OK;
}

/* The cost critic reads the same responses with values and returns of its own. */
static tn_status update_cost_critic(tn_ppo *p, int n, double lr, tn_metrics *m, double *loss, tn_err *e) {
    static const char *const name[2] = {"cost_critic_grad_norm", "loss/cost_value_avg"};
    tn_rollouts *r = &p->on.roll;
    tn_step_result c = {0};
    if (!p->safe.task || p->safe.priced) return TN_OK;
    tn_rollouts_aim(r, p->safe.value, p->safe.ret);
    tn_status st = update_critic(p, &p->safe.critic, n, lr, name, m, &c, e);
    tn_rollouts_aim(r, r->value, r->ret);
    *loss = c.loss;
    return st;
}

/* One minibatch: policy and critics stepped. */
static tn_status update(tn_ppo *p, int n, const double lr[3], tn_metrics *m, tn_err *e) {
    static const char *const name[2] = {"critic_grad_norm", "loss/value_avg"};
    tn_optimiser o = tn_optimiser_from_options(&p->on.o);
    tn_step_result a = {0}, c = {0}, ptx = {0};
    double cost_loss = 0;
    tn_work both[2] = {{&p->on.policy, p->mini, n, &a}, {&p->ptx, p->text, pick_texts(p), &ptx}};
    TN_TRY(tn_trainee_accumulate_all(both, p->texts ? 2 : 1, true, e));
    if (p->texts) tn_metrics_mean(m, "loss/ptx_avg", ptx.loss / p->ptx.weight, 1);
    TN_TRY(tn_trainee_update(&p->on.policy, &o, lr[0], p->updates + 1, &a, e));
    tn_metrics_merge(m, &a.metrics);
    tn_metrics_mean(m, "grad_norm", a.grad_norm, 1);
    tn_metrics_mean(m, "loss/policy_avg", a.loss, 1);
    TN_TRY(update_critic(p, &p->critic, n, lr[1], name, m, &c, e));
    tn_metrics_merge(m, &c.metrics);
    TN_TRY(update_cost_critic(p, n, lr[2], m, &cost_loss, e));
    p->updates++;
    tn_metrics_mean(m, "loss", a.loss + ptx.loss + c.loss + cost_loss, 1);
    return TN_OK;
}

/* One pass over the batch, in minibatches. */
static tn_status pass(tn_ppo *p, long epoch, const double lr[3], tn_metrics *m, tn_err *e) {
    const tn_ppo_options *q = &p->task->ppo;
    tn_online *on = &p->on;
    tn_rollouts *r = &on->roll;
    for (int i = 0; i < r->n; i++) p->perm[i] = (uint32_t)i;
    tn_rng rng = tn_rng_stream((uint64_t)on->o.seed, TN_RNG_MINIBATCH, (uint64_t)(on->step * 1024 + epoch));
    tn_rng_shuffle(&rng, p->perm, (size_t)r->n);
    for (int at = 0; at < r->n; at += (int)q->minibatch) {
        int n = r->n - at < q->minibatch ? r->n - at : (int)q->minibatch;
        for (int i = 0; i < n; i++) p->mini[i] = &r->ex[p->perm[at + i]];
        tn_online_last(on, epoch + 1 == q->epochs && at + n == r->n);
        on->policy.expect_on_policy = epoch == 0 && at == 0 && !on->sampling.truncated_logp;
        TN_TRY(update(p, n, lr, m, e));
    }
    return TN_OK;
}

/* Epochs of minibatches over the batch; fewer where the policy has left the one that sampled it (--early-stop-kl). */
static tn_status optimise(tn_ppo *p, tn_metrics *m, tn_err *e) {
    const tn_ppo_options *q = &p->task->ppo;
    tn_online *on = &p->on;
    const double peak[3] = {p->peak_lr, p->critic_lr, p->cost_critic_lr};
    double lr[3];
    long epoch = 0;
    for (int i = 0; i < 3; i++) lr[i] = tn_lr_at(&on->o, peak[i], on->step + 1, (long)q->iterations);
    for (bool left = false; epoch < q->epochs && !left; epoch++) {
        tn_metrics one = {0};
        TN_TRY(pass(p, epoch, lr, &one, e));
        left = q->early_stop > 0 && tn_metrics_find(&one, "policy/approxkl_avg") > q->early_stop;
        tn_metrics_merge(m, &one);
    }
    if (q->early_stop > 0) tn_metrics_put(m, TN_METRIC_SUM, "ppo_epochs", (double)epoch);
    tn_metrics_put(m, TN_METRIC_SUM, "learning_rate", lr[0]);
    return TN_OK;
}

static tn_status train(tn_ppo *p, tn_err *e) {
    tn_online *on = &p->on;
    long total = (long)p->task->ppo.iterations;
    tn_progress bar;
    tn_progress_begin(&bar, "ppo", "iterations", total, on->step);
    while (on->step < total && !on->stop) {
        tn_metrics m = {0};
        double rate;
        bool due;
        long tokens = on->tokens;
        tn_status st = collect(p, &m, e);
        if (st == TN_INTERRUPTED) { /* nothing of this iteration counts */
            on->tokens = tokens;
            break;
        }
        TN_TRY(st);
        on->keep = tn_alarms_keep(&p->alarms, on);
        if (tn_alarms_stop(&p->alarms)) break;
        TN_TRY(optimise(p, &m, e));
        on->step++;
        json_t *j = json_pack("{s:I,s:I,s:I}", "step", (json_int_t)on->step, "episode",
                              (json_int_t)p->episodes, "num_tokens", (json_int_t)on->tokens);
        if (!j) return tn_fail(e, TN_NOMEM, "out of memory");
        tn_runlog_put_metrics(j, "", &m);
        TN_TRY(tn_runlog_entry(&on->log, j, e));
        TN_TRY(tn_runlog_timing(&on->log, on->step, on->tokens, &rate, e));
        TN_TRY(tn_online_due(on, &due, e));
        if (due) TN_TRY(tn_online_checkpoint(on, state_of(p), e));
        tn_progress_update(&bar, on->step, "score %.3f  kl %.2f  length %.1f  %.0f tok/s",
                           tn_metrics_find(&m, "objective/raw_scores"),
                           tn_metrics_find(&m, "objective/kl"),
                           tn_metrics_find(&m, "completions/mean_length"), rate);
    }
    tn_progress_end(&bar);
    if (on->step == total) return TN_OK;
    TN_TRY(tn_online_checkpoint(on, state_of(p), e));
    if (tn_alarms_stop(&p->alarms)) return tn_alarms_end(&p->alarms, on, e);
    return tn_online_interrupted(on, "iteration", total, e);
}

static tn_status run(tn_ppo *p, const tn_opts *opts, tn_err *e) {
    json_t *state;
    TN_TRY(tn_ppo_set_up(p, opts, e));
    if (p->on.o.dry_run) return TN_OK;
    tn_status st = tn_online_begin(&p->on, &state, e);
    if (st == TN_OK) st = tn_alarms_open(&p->alarms, &p->task->alarms, p->n_scorer ? p->scorer[0] : NULL, p->task->ppo.reward_models.n ? p->task->ppo.reward_models.v[0] : NULL, &p->on, e);
    if (st == TN_OK && state) st = take_state(p, state, e);
    json_decref(state);
    TN_TRY(st);
    TN_TRY(train(p, e));
    return tn_online_save(&p->on, state_of(p), e);
}

tn_status tn_ppo_run(const tn_ppo_task *task, const tn_opts *opts, tn_err *e) {
    tn_ppo *p = tn_calloc(1, sizeof *p);
    if (!p) return tn_fail(e, TN_NOMEM, "out of memory");
    p->task = task, p->on.lock = -1;
    tn_status st = run(p, opts, e);
    st = tn_run_end(p->on.be, st, e);
    tn_ppo_free(p);
    tn_free(p);
    return st;
}
