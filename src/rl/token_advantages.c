#include "rl/token_advantages.h"
#include "algo/group.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_token_advantage_opt, f)
const tn_opt_row tn_token_advantage_rows[] = {
    {"advantage-estimator", TN_OPT_CHOICE, AT(estimator), "reinforce_plus_plus",
     "reinforce_plus_plus|reinforce_plus_plus_baseline|remax|reinforce", 0, 0, "adv-estimator", NULL,
     "reinforce_plus_plus: rewards to go, whitened over the batch. reinforce_plus_plus_baseline: the group's mean taken "
     "off first. remax: the reward of the greedy response taken off. reinforce: as they are."},
    {"kl-coef", TN_OPT_REAL, AT(kl_coef), "0.01", NULL, 0, 1e9, "init-kl-coef", "X",
     "Weight of the KL to the reference inside each token's reward (not in reinforce_plus_plus_baseline: see --beta)."},
    {"gamma", TN_OPT_REAL, AT(gamma), "1", NULL, 0, 1, NULL, "X", "Discount of later rewards."},
    TN_OPT_LAST};

static bool is(const tn_token_advantage_opt *o, const char *name) { return strcmp(o->estimator, name) == 0; }

/* A_t = sum over s >= t of gamma^(s-t) (token reward), the score at the last token, steps' rewards at theirs. */
static void rewards_to_go(const tn_token_advantage_opt *o, tn_rollouts *r) {
    for (int i = 0; i < r->n; i++) {
        double go = 0;
        for (int t = r->off[i + 1] - 1; t >= r->off[i]; t--) {
            double own = t == r->off[i + 1] - 1 ? r->score[i] : 0;
            if (r->step && !isnan(r->step[t])) own += o->step_weight * r->step[t];
            if (o->kl_coef != 0) own -= o->kl_coef * tn_kl_value(TN_KL_K1, r->old_logp[t], r->ref_logp[t]);
            r->advantage[t] = go = own + o->gamma * go;
        }
    }
}

static void less_group_mean(tn_rollouts *r) {
    int G = r->n_sample;
    for (int g = 0; g < r->n_prompt; g++) {
        double sum = 0, n = 0;
        for (int i = g * G; i < (g + 1) * G; i++)
            if (!isnan(r->score[i])) sum += r->score[i], n++;
        for (int i = g * G; i < (g + 1) * G; i++)
            for (int t = r->off[i]; t < r->off[i + 1]; t++) r->advantage[t] = r->score[i] - sum / n;
    }
}

static void less_greedy(const tn_token_advantage_opt *o, tn_rollouts *r) {
    int G = r->n_sample;
    for (int i = 0; i < r->n; i++) {
        int at = r->off[i], n = r->response[i].n;
        bool greedy = i % G == 0;
        for (int t = at; t < at + n; t++)
            r->reward[t] = o->kl_coef != 0 ? tn_kl_value(TN_KL_K1, r->old_logp[t], r->ref_logp[t]) : 0;
        tn_remax_advantages(r->reward + at, n, r->score[i], greedy ? NAN : r->score[i - i % G], o->kl_coef, o->gamma,
                            r->advantage + at);
    }
}

/* tn_whiten of what is a number. */
static tn_status whiten(tn_rollouts *r, tn_err *e) {
    int n = 0;
    for (int t = 0; t < r->n_tok; t++)
        if (!isnan(r->advantage[t])) r->ret[n++] = r->advantage[t];
    TN_TRY(tn_whiten(r->ret, n, 0, true, e));
    for (int t = 0, k = 0; t < r->n_tok; t++)
        if (!isnan(r->advantage[t])) r->advantage[t] = r->ret[k++];
    return TN_OK;
}

tn_status tn_token_advantages(const tn_token_advantage_opt *o, tn_rollouts *r, tn_err *e) {
    if (is(o, "remax")) {
        less_greedy(o, r);
        return TN_OK;
    }
    if (is(o, "reinforce_plus_plus_baseline")) less_group_mean(r);
    else rewards_to_go(o, r);
    return is(o, "reinforce") ? TN_OK : whiten(r, e);
}

tn_status tn_token_advantage_check(const tn_token_advantage_opt *o, bool steps, tn_err *e) {
    if (!steps || is(o, "reinforce") || is(o, "reinforce_plus_plus")) return TN_OK;
    return tn_fail(e, TN_ARG,
                   "--process-reward-model: --advantage-estimator %s compares whole responses; rewards of steps are for reinforce "
                   "and reinforce_plus_plus",
                   o->estimator);
}

void tn_process_advantages(const tn_process_advantage_opt *o, tn_rollouts *r) {
    tn_step_advantages(o->kind, o->weight, r->n_prompt, r->n_sample, r->off, r->step, r->advantage);
}
