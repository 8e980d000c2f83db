/* From sampled sequences to advantages: scores, token rewards, GAE, the rollout's metrics.
 * The score lands on the last token of the response (its end token when it has one), and the
 * value paired with token t is that of the state before it. After the last token the value is 0,
 * also when the response was cut off: the missing-end penalty stands for that case.           */
#include "algo/rl.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_score_opt, f)
const tn_opt_row tn_score_rows[] = {
    {"reward-scale", TN_OPT_BOOL, AT(scale), "false", NULL, 0, 0, NULL, NULL,
     "Divide scores by their running standard deviation; the mean is kept."},
    {"reward-clip", TN_OPT_REAL, AT(clip), "0", NULL, 0, 1e9, "cliprange-reward", "X",
     "Cut scores to [-X, X]; 0 leaves them."},
    {"missing-eos-penalty", TN_OPT_REAL, AT(missing_eos), NULL, NULL, 0, 1e9, NULL, "X",
     "Penalty for responses without an end token; none when absent."},
    {"missing-eos-mode", TN_OPT_CHOICE, AT(missing_mode), "subtract", "subtract|replace", 0, 0,
     NULL, NULL, "subtract the penalty from the score, or replace the score by minus the penalty."},
    TN_OPT_LAST,
};
#undef AT
#define AT(f) offsetof(tn_rl_opt, f)
const tn_opt_row tn_rl_rows[] = {
    {"kl-coef", TN_OPT_REAL, AT(kl_coef), "0.05", NULL, 0, 1e9, "init-kl-coef", "X",
     "Price of one nat of KL to the reference, taken off the reward token by token."},
    {"kl-estimator", TN_OPT_CHOICE, AT(kl_estimator), "k1", "k1|k2|k3", 0, 0, NULL, NULL,
     "Estimator of that KL; k1 is unbiased in the reward, k3 unbiased and never negative."},
    {"kl-target", TN_OPT_REAL, AT(kl_target), "0", NULL, 0, 1e9, "target-kl", "X",
     "Adapt kl-coef to hold this KL per sequence (6 in Ziegler et al.); 0 keeps it fixed."},
    {"kl-horizon", TN_OPT_REAL, AT(kl_horizon), "10000", NULL, 1, 1e12, "horizon", "N",
     "Sequences over which the adaptive coefficient reacts."},
    {"gamma", TN_OPT_REAL, AT(gamma), "1", NULL, 0, 1, NULL, "X", "Discount per token."},
    {"lam", TN_OPT_REAL, AT(lambda), "0.95", NULL, 0, 1, "lambda gae-lambda", "X",
     "Lambda of GAE."},
    {"whiten-rewards", TN_OPT_BOOL, AT(whiten_rewards), "false", NULL, 0, 0, NULL, NULL,
     "Divide token rewards by their standard deviation over the batch; the mean is kept."},
    {"whiten-advantages", TN_OPT_BOOL, AT(whiten_advantages), "true", NULL, 0, 0, NULL, NULL,
     "Advantages to mean 0 and variance 1 over the tokens of the batch."},
    {"whiten-ddof", TN_OPT_INT, AT(whiten_ddof), "1", NULL, 0, 1, NULL, "N",
     "Variance divided by n - N: 1 as TRL, 0 as OpenAI's code."},
    TN_OPT_LAST,
};

tn_status tn_scores_shape(const tn_score_opt *o, double *score, const int *ended, int n,
                          tn_moments *running, tn_err *e) {
    for (int i = 0; i < n; i++)
        if (!isfinite(score[i]))
            return tn_fail(e, TN_NUMERIC,
                           "reward: score of response %d is %g, expected a finite number", i,
                           score[i]);
    if (o->scale) {
        tn_moments_add(running, score, n);
        double std = sqrt(tn_moments_var(running, 1));
        for (int i = 0; std > 0 && i < n; i++)
            score[i] /= std; /* one score so far, or all equal: as is */
    }
    for (int i = 0; o->clip > 0 && i < n; i++)
        score[i] = score[i] > o->clip ? o->clip : score[i] < -o->clip ? -o->clip : score[i];
    if (isnan(o->missing_eos)) return TN_OK;
    if (!ended)
        return tn_fail(e, TN_ARG,
                       "reward: missing-eos-penalty without knowing which responses ended");
    bool replace = o->missing_mode && strcmp(o->missing_mode, "replace") == 0;
    for (int i = 0; i < n; i++)
        if (!ended[i]) score[i] = (replace ? 0 : score[i]) - o->missing_eos;
    return TN_OK;
}

void tn_token_rewards(int n_seq, const int *off, const double *logp, const double *ref_logp,
                      const double *score, tn_kl k, double kl_coef, double *reward,
                      double *seq_kl) {
    for (int s = 0; s < n_seq; s++) {
        double sum = 0;
        for (int t = off[s]; t < off[s + 1]; t++) {
            double kl = tn_kl_value(k, logp[t], ref_logp[t]);
            sum += kl;
            reward[t] = -kl_coef * kl;
        }
        if (off[s + 1] > off[s]) reward[off[s + 1] - 1] += score[s];
        if (seq_kl) seq_kl[s] = sum;
    }
}

void tn_gae(int n_seq, const int *off, const double *reward, const double *value, double gamma,
            double lambda, double *advantage, double *ret) {
    for (int s = 0; s < n_seq; s++) {
        double next_v = 0, next_a = 0;
        for (int t = off[s + 1] - 1; t >= off[s]; t--) {
            double delta = reward[t] + gamma * next_v - value[t];
            next_a = delta + gamma * lambda * next_a;
            next_v = value[t];
            advantage[t] = next_a;
            ret[t] = next_a + value[t];
        }
    }
}

static tn_status check(const tn_rollout *r, tn_err *e) {
    if (r->n_seq < 1) return tn_fail(e, TN_ARG, "rollout: no sequences");
    for (int s = 0; s < r->n_seq; s++) {
        if (r->off[s + 1] <= r->off[s])
            return tn_fail(e, TN_ARG, "rollout: response %d is empty; generate at least one token",
                           s);
        if (!isfinite(r->score[s]))
            return tn_fail(e, TN_NUMERIC,
                           "rollout: score of response %d is %g, expected a finite number", s,
                           r->score[s]);
        for (int t = r->off[s]; t < r->off[s + 1]; t++)
            if (!isfinite(r->logp[t]) || !isfinite(r->ref_logp[t]) || !isfinite(r->value[t]))
                return tn_fail(
                    e, TN_NUMERIC,
                    "rollout: token %d of response %d has logp %g, reference logp %g, value %g,"
                    " expected finite numbers",
                    t - r->off[s], s, r->logp[t], r->ref_logp[t], r->value[t]);
    }
    return TN_OK;
}

/* Rewards of steps into those of tokens; their sum, weighted. */
static double add_steps(const tn_rollout *r) {
    double sum = 0;
    for (int t = 0; r->step && t < r->off[r->n_seq]; t++) {
        if (isnan(r->step[t])) continue;
        r->reward[t] += r->step_weight * r->step[t];
        sum += r->step_weight * r->step[t];
    }
    return sum;
}

tn_status tn_rollout_rewards(const tn_rl_opt *o, double kl_coef, tn_rollout *r, tn_metrics *m,
                             tn_err *e) {
    tn_kl k;
    TN_TRY(tn_kl_parse(o->kl_estimator, &k, e));
    TN_TRY(check(r, e));
    int n = r->off[r->n_seq];
    tn_token_rewards(r->n_seq, r->off, r->logp, r->ref_logp, r->score, k, kl_coef, r->reward, NULL);
    double kl_sum = 0, steps = add_steps(r);
    for (int t = 0; t < n; t++) kl_sum += tn_kl_value(k, r->logp[t], r->ref_logp[t]);
    r->mean_kl = kl_sum / r->n_seq;
    double score_sum = 0;
    for (int s = 0; s < r->n_seq; s++) score_sum += r->score[s];
    tn_metrics_mean(m, "objective/scores", score_sum, r->n_seq);
    if (r->step) tn_metrics_mean(m, "objective/step_rewards", steps, r->n_seq);
    tn_metrics_mean(m, "objective/rlhf_reward", score_sum + steps - kl_coef * kl_sum, r->n_seq);
    tn_metrics_mean(m, "objective/non_score_reward", -kl_coef * kl_sum, r->n_seq);
    tn_metrics_mean(m, "objective/kl", kl_sum, r->n_seq);
    return o->whiten_rewards ? tn_whiten(r->reward, n, (int)o->whiten_ddof, false, e) : TN_OK;
}

tn_status tn_rollout_whiten(const tn_rl_opt *o, tn_rollout *r, tn_metrics *m, tn_err *e) {
    int n = r->off[r->n_seq];
    double ev = tn_explained_variance(r->value, r->ret, n);
    if (isfinite(ev)) tn_metrics_put(m, TN_METRIC_MEAN, "val/explained_variance", ev);
    return o->whiten_advantages ? tn_whiten(r->advantage, n, (int)o->whiten_ddof, true, e) : TN_OK;
}

tn_status tn_rollout_advantages(const tn_rl_opt *o, double kl_coef, tn_rollout *r, tn_metrics *m,
                                tn_err *e) {
    TN_TRY(tn_rollout_rewards(o, kl_coef, r, m, e));
    tn_gae(r->n_seq, r->off, r->reward, r->value, o->gamma, o->lambda, r->advantage, r->ret);
    return tn_rollout_whiten(o, r, m, e);
}
