#include "rl/safe.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_safe_options, f)
const tn_opt_row tn_safe_rows[] = {
    {"cost-model", TN_OPT_STRING, AT(cost_model), NULL, NULL, 0, 0, "cost_model_name_or_path", "DIR",
     "Sequence-classification checkpoint whose score is a cost, above 0 where a response is unsafe: PPO then keeps the "
     "mean cost below --cost-threshold (Safe RLHF), with a critic for costs and a multiplier."},
    {"cost-critic", TN_OPT_STRING, AT(cost_critic), "auto", NULL, 0, 0, "cost_critic_model_name_or_path",
     "DIR|auto|policy", "Start of the critic for costs: as --critic, from the cost model."},
    {"cost-weight", TN_OPT_REAL, AT(cost_weight), NULL, NULL, 0, 1e9, NULL, "X",
     "Instead of the multiplier: the score is the reward less X times the cost, at all times, with one critic."},
    {"cost-critic-learning-rate", TN_OPT_REAL, AT(critic_lr), NULL, NULL, 0, 10, NULL, "X",
     "Default: --critic-learning-rate."},
    TN_OPT_LAST};

tn_status tn_safe_check(const tn_safe_task *t, const tn_rl_opt *rl, tn_err *e) {
    tn_lagrange l;
    if (!t->q.cost_model) {
        if (isnan(t->q.cost_weight)) return TN_OK;
        return tn_fail(e, TN_ARG, "--cost-weight %g is the price of a cost, and --cost-model is missing",
                       t->q.cost_weight);
    }
    if (!tn_safe_has_critic(t)) return TN_OK;
    TN_TRY(tn_lagrange_start(&l, &t->lagrange, e));
    if (rl->whiten_rewards)
        return tn_fail(e, TN_ARG,
                       "--whiten-rewards changes the unit of rewards from batch to batch, and with it what the "
                       "multiplier of --cost-model means; leave it off");
    return TN_OK;
}

bool tn_safe_has_critic(const tn_safe_task *t) { return t->q.cost_model && isnan(t->q.cost_weight); }

tn_critic_spec tn_safe_critic(const tn_safe_task *t, const tn_online *on, const void *value_opt, const tn_algo *algo,
                              size_t examples) {
    return (tn_critic_spec){.name = "cost-critic",
                            .how = tn_safe_has_critic(t) ? t->q.cost_critic : "policy",
                            .judge = t->q.cost_model,
                            .algo = algo,
                            .opt = value_opt,
                            .examples = examples,
                            .seed = (uint64_t)on->o.seed + 2};
}

static size_t tokens_of(const tn_online *on) {
    return (size_t)on->shape.n_prompt * (size_t)on->shape.n_sample * (size_t)on->shape.max_new;
}

tn_status tn_safe_budget(const tn_safe_task *t, const tn_critic_spec *c, const tn_online *on, tn_budget *b,
                         tn_err *e) {
    if (!t->q.cost_model) return TN_OK;
    TN_TRY(tn_judge_budget(c, on, b, e));
    if (!tn_safe_has_critic(t)) return TN_OK;
    tn_budget_add(b, "rollouts", "", 4 * tokens_of(on) * sizeof(double));
    return tn_critic_budget(c, on, b, e);
}

tn_status tn_safe_open(tn_safe *s, const tn_safe_task *t, const tn_critic_spec *c, tn_online *on, tn_err *e) {
    if (!t->q.cost_model) return TN_OK;
    s->task = t, s->priced = !tn_safe_has_critic(t);
    s->cost = tn_calloc((size_t)on->shape.n_prompt * (size_t)on->shape.n_sample, sizeof *s->cost);
    bool ok = s->cost != NULL;
    double **v[] = {&s->value, &s->reward, &s->advantage, &s->ret};
    for (int i = 0; i < 4 && !s->priced; i++) ok = (*v[i] = tn_calloc(tokens_of(on), sizeof(double))) && ok;
    if (!ok) return tn_fail(e, TN_NOMEM, "out of memory for costs");
    TN_TRY(tn_judge_open(&s->scorer, c, on, e));
    s->scorer.model->score_mean = 0;
    if (s->priced) return tn_judge_freeze(&s->scorer, on, e);
    TN_TRY(tn_lagrange_start(&s->lambda, &t->lagrange, e));
    TN_TRY(tn_critic_open(&s->critic, on, c, &s->scorer, e));
    return tn_judge_freeze(&s->scorer, on, e);
}

void tn_safe_close(tn_safe *s) {
    tn_critic_close(&s->critic);
    tn_scorer_close(&s->scorer);
    double *v[] = {s->cost, s->value, s->reward, s->advantage, s->ret};
    for (int i = 0; i < 5; i++) tn_free(v[i]);
}

tn_status tn_safe_score(tn_safe *s, tn_online *on, tn_metrics *m, tn_err *e) {
    tn_rollouts *r = &on->roll;
    double sum = 0, unsafe = 0;
    if (!s->task) return TN_OK;
    TN_TRY(tn_rollouts_score(r, &s->scorer, on->tok, s->cost, e));
    tn_online_leave(on);
    for (int i = 0; i < r->n; i++) sum += s->cost[i], unsafe += s->cost[i] > 0;
    tn_metrics_mean(m, "objective/cost", sum, r->n);
    if (!s->priced) return tn_rollouts_values(r, &s->critic, s->value, e);
    tn_metrics_mean(m, "safe/unsafe", unsafe, r->n);
    return TN_OK;
}

tn_status tn_safe_advantages(tn_safe *s, const tn_rl_opt *rl, double kl_coef, tn_rollouts *r, tn_rollout_macros *macros,
                             tn_metrics *m, tn_err *e) {
    tn_kl k;
    TN_TRY(tn_kl_parse(rl->kl_estimator, &k, e));
    TN_TRY(tn_lagrange_update(&s->lambda, &s->task->lagrange, s->cost, r->n, m, e));
    tn_lagrange_token_scores(&s->task->lagrange, r->n, r->off, r->old_logp, r->ref_logp, r->score, s->cost, k, kl_coef,
                             r->reward, s->reward, NULL);
    tn_macros_gae(macros, r, s->reward, s->value, rl->gamma, rl->lambda, s->advantage, s->ret, NULL);
    tn_macros_gae(macros, r, r->reward, r->value, rl->gamma, rl->lambda, r->advantage, r->ret, m);
    tn_lagrange_mix(tn_lagrange_lambda(&s->lambda), r->advantage, s->advantage, r->n_tok, r->advantage);
    double ev = tn_explained_variance(s->value, s->ret, r->n_tok);
    if (isfinite(ev)) tn_metrics_put(m, TN_METRIC_MEAN, "val/cost_explained_variance", ev);
    return TN_OK;
}

/* ---- in a checkpoint ---- */

json_t *tn_safe_state(const tn_safe *s) {
    const tn_lagrange *l = &s->lambda;
    if (!s->task || s->priced) return json_null();
    json_t *cost = json_array();
    int n = l->costs < TN_LAGRANGE_WINDOW ? (int)l->costs : TN_LAGRANGE_WINDOW;
    for (int i = 0; i < n; i++) json_array_append_new(cost, json_real(l->cost[i]));
    return json_pack("{s:f,s:I,s:I,s:o}", "log_lambda", l->log_lambda, "steps", (json_int_t)l->steps, "costs",
                     (json_int_t)l->costs, "ring", cost);
}

tn_status tn_safe_take(tn_safe *s, const json_t *state, const char *where, tn_err *e) {
    tn_lagrange *l = &s->lambda;
    if (!s->task || s->priced) return TN_OK;
    const json_t *ring = json_object_get(state, "ring");
    size_t n = json_array_size(ring);
    l->log_lambda = json_number_value(json_object_get(state, "log_lambda"));
    l->steps = json_integer_value(json_object_get(state, "steps"));
    l->costs = json_integer_value(json_object_get(state, "costs"));
    if (!json_is_object(state) || n > TN_LAGRANGE_WINDOW || l->costs < (int64_t)n || l->steps < 0)
        return tn_fail(e, TN_STATE, "%s holds no multiplier of --cost-model; resume with the options of the run", where);
    for (size_t i = 0; i < n; i++) l->cost[i] = json_number_value(json_array_get(ring, i));
    return TN_OK;
}
