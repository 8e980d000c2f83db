#include "rl/step_rewards.h"
#include "base/log.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_step_reward_options, f)
const tn_opt_row tn_step_reward_rows[] = {
    {"process-reward-model", TN_OPT_STRING, AT(model), NULL, NULL, 0, 0, NULL, "DIR",
     "Process reward model (`tenet prm`): every step of a response gets a reward of its own, at its last token, beside the "
     "rewards of whole responses."},
    {"process-reward-weight", TN_OPT_REAL, AT(weight), "1", NULL, 0, 1e9, NULL, "X", "Weight of the rewards of steps."},
    {"step-reward", TN_OPT_CHOICE, AT(form), "value", "value|change|least", 0, 0, NULL, NULL,
     "What a step is worth. value: the probability p that it is right. change: how much larger p is than at the step before. "
     "least: p for the step with the least p, nothing for the others."},
    TN_OPT_LAST};

static size_t tokens_of(const tn_online *on) {
    return (size_t)on->shape.n_prompt * (size_t)on->shape.n_sample * (size_t)on->shape.max_new;
}

static tn_load load_of(const tn_online *on) { return (tn_load){.base = on->lora.base_model, .frozen = true}; }

tn_status tn_step_rewards_budget(const tn_step_reward_options *o, const tn_online *on, tn_budget *p, tn_err *e) {
    int tokens = on->need.tokens, length = 2 * on->rollout_length;
    bool same;
    if (!o || !o->model) return TN_OK;
    tn_load how = load_of(on);
    TN_TRY(tn_scorer_same_tokenizer(&same, o->model, on->o.model, how.base, e));
    tn_batch_need need = tn_online_scored(on, tokens > length ? tokens : length, same);
    TN_TRY(tn_scorer_budget(p, o->model, on->be, &how, false, tokens, length, &need, e));
    tn_budget_add(p, "rollouts", "", tokens_of(on) * sizeof(double));
    return TN_OK;
}

tn_status tn_step_rewards_flop(const tn_step_reward_options *o, const tn_online *on, double *flop, tn_err *e) {
    tn_desc d;
    if (!o || !o->model) return TN_OK;
    TN_TRY(tn_model_peek(&d, o->model, &(tn_load){.base = on->lora.base_model}, e));
    *flop += tn_online_score_flop(on, &d, true);
    return TN_OK;
}

tn_status tn_step_rewards_open(tn_step_rewards *s, const tn_step_reward_options *o, tn_online *on, tn_err *e) {
    tn_rollouts *r = &on->roll;
    size_t n = (size_t)r->n_prompt * (size_t)r->n_sample;
    *s = (tn_step_rewards){.o = o};
    if (!o || !o->model) return TN_OK;
    s->scorer = tn_calloc(1, sizeof *s->scorer);
    s->score = tn_calloc(n, sizeof *s->score);
    s->sum = tn_calloc(n, sizeof *s->sum);
    if (!s->scorer || !s->score || !s->sum) return tn_fail(e, TN_NOMEM, "out of memory");
    tn_load how = load_of(on);
    TN_TRY(tn_scorer_open_with(s->scorer, o->model, on->o.model, on->be, on->need.tokens, 2 * on->rollout_length, &how, e));
    if (!s->scorer->model->desc.per_token)
        return tn_fail(e, TN_STATE,
                       "--process-reward-model %s judges whole responses; give it as --reward-model, or train one that judges "
                       "steps with `tenet prm`",
                       o->model);
    TN_TRY(tn_online_park(on, s->scorer->model, e));
    s->scorer->keep_steps = true;
    TN_TRY(tn_scorer_reserve(s->scorer, r->n_prompt * r->n_sample, r->n_sample, on->shortest, on->rollout_blocks, e));
    TN_TRY(tn_rollouts_keep_steps(r, e));
    tn_info("process reward model %s, weight %g, steps' rewards by %s: %s", o->model, o->weight, o->form,
            s->scorer->same_tokenizer ? "the policy's tokenizer" : "its own tokenizer");
    return TN_OK;
}

void tn_step_rewards_close(tn_step_rewards *s) {
    if (s->scorer) tn_scorer_close(s->scorer);
    tn_free(s->scorer);
    tn_free(s->score);
    tn_free(s->sum);
    *s = (tn_step_rewards){0};
}

tn_status tn_step_rewards_score(tn_step_rewards *s, tn_online *on, tn_metrics *m, tn_err *e) {
    tn_rollouts *r = &on->roll;
    double steps = 0, all = 0, score = 0;
    if (!s->scorer) return TN_OK;
    TN_TRY(tn_rollouts_score_steps(r, s->scorer, on->tok, s->o->form, s->score, e));
    tn_online_leave(on);
    for (int i = 0; i < r->n; i++) {
        s->sum[i] = 0;
        for (int t = r->off[i]; t < r->off[i + 1]; t++)
            if (!isnan(r->step[t])) s->sum[i] += r->step[t], steps++;
        if (!isfinite(s->sum[i]))
            return tn_fail(e, TN_NUMERIC, "process reward model %s: steps of response %d have rewards that are not finite", s->o->model,
                           i + 1);
        all += s->sum[i], score += s->score[i];
    }
    tn_metrics_mean(m, "process/step_reward", all, steps);
    tn_metrics_mean(m, "process/steps", steps, r->n);
    tn_metrics_mean(m, "process/score", score, r->n);
    return TN_OK;
}
