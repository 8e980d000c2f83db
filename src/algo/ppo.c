/* PPO's two losses on tokens (Schulman et al. 2017, 1707.06347), N = tokens of the whole batch; or
 * the mean over its B sequences of their means: 1/N becomes 1/(B n_i) (safe-rlhf, 2310.12773).
 *
 * policy   rho_t = exp(l_t - old_t),  clip to [1 - eps, 1 + eps_high]
 *          L = -(1/N) sum min(rho A, clip(rho) A) - c_H (1/N) sum H_t
 *          dL/dl_t = -A rho / N, and 0 where the clipped branch is the smaller one:
 *          A > 0 and rho > 1 + eps_high, or A < 0 and rho < 1 - eps
 *          dual clip c (1912.09729): for A < 0 the loss is at most -c A; flat where rho > c
 * value    L = coef (1/2N) sum max((V - G)^2, (clip(V, V_old +- eps_v) - G)^2)
 *          dL/dV_t = coef (V - G)/N where the unclipped square is no less than the other, else 0 */
#include "algo/ppo.h"
#include "algo/rl.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_ppo_policy_opt, f)
const tn_opt_row tn_ppo_policy_rows[] = {
    {"cliprange", TN_OPT_REAL, AT(clip), "0.2", NULL, 0, 1, "clip epsilon", "X",
     "The policy ratio's gain is cut outside [1 - X, 1 + X]."},
    {"cliprange-high", TN_OPT_REAL, AT(clip_high), NULL, NULL, 0, 1e9, "clip-high epsilon-high",
     "X", "Upper side of the clip range when it differs."},
    {"dual-clip", TN_OPT_REAL, AT(dual_clip), "0", NULL, 0, 1e9, NULL, "C",
     "Bound the loss of tokens with negative advantage at ratio C (3 is usual); 0 is off."},
    {"entropy-coef", TN_OPT_REAL, AT(entropy_coef), "0", NULL, -1e9, 1e9, "ent-coef", "X",
     "Bonus per nat of entropy."},
    {"log-ratio-clamp", TN_OPT_REAL, AT(log_ratio_clamp), "20", NULL, 1e-3, 700, NULL, "X",
     "Bound of |log ratio| before the exponential."},
    {"policy-reduction", TN_OPT_CHOICE, AT(reduction), "token_mean", "token_mean|sequence_mean", 0,
     0, NULL, NULL, "Policy loss: mean over all tokens, or over responses of each one's mean."},
    TN_OPT_LAST,
};
#undef AT
#define AT(f) offsetof(tn_ppo_value_opt, f)
const tn_opt_row tn_ppo_value_rows[] = {
    {"cliprange-value", TN_OPT_REAL, AT(clip), "0.2", NULL, 0, 1e9, "clip-value", "X",
     "Value predictions are held within X of those of the rollout; 0 is off."},
    {"vf-coef", TN_OPT_REAL, AT(coef), "0.1", NULL, 0, 1e9, NULL, "X", "Weight of the value loss."},
    {"value-reduction", TN_OPT_CHOICE, AT(reduction), "token_mean", "token_mean|sequence_mean", 0, 0,
     NULL, NULL, "Value loss: mean over all tokens, or over responses of each one's mean."},
    TN_OPT_LAST,
};
#undef AT

typedef struct clipped { double loss, grad; bool active; } clipped;

/* -min(rho A, clip(rho) A) with the dual clip, and its derivative with respect to l. */
static clipped policy_clip(const tn_ppo_policy_opt *o, double rho, bool flat, double adv) {
    double lo = 1 - o->clip, hi = 1 + (isnan(o->clip_high) ? o->clip : o->clip_high);
    if (adv > 0 && rho > hi) return (clipped){-hi * adv, 0, false};
    if (adv < 0 && rho < lo) return (clipped){-lo * adv, 0, false};
    if (adv < 0 && o->dual_clip > 0 && rho > o->dual_clip)
        return (clipped){-o->dual_clip * adv, 0, false};
    return (clipped){-rho * adv, flat ? 0 : -rho * adv, true};
}

double tn_ppo_policy_term(const tn_ppo_policy_opt *o, double l, double old, double adv,
                          double *grad, tn_metrics *m) {
    bool flat;
    double rho = tn_ratio(l, old, o->log_ratio_clamp, &flat);
    clipped c = policy_clip(o, rho, flat, adv);
    *grad = c.grad;
    tn_metrics_mean(m, "loss/policy_avg", c.loss, 1);
    tn_metrics_mean(m, "policy/approxkl_avg", tn_kl_value(TN_KL_K2, old, l), 1);
    tn_metrics_mean(m, "policy/approxkl_k1", old - l, 1);
    tn_metrics_mean(m, "policy/approxkl_k3", tn_kl_value(TN_KL_K3, old, l), 1);
    tn_metrics_mean(m, "policy/clipfrac_avg", !c.active, 1);
    tn_metrics_mean(m, "policy/clipfrac_positive", !c.active && adv > 0, 1);
    tn_metrics_mean(m, "policy/clipfrac_negative", !c.active && adv < 0, 1);
    tn_metrics_mean(m, "val/ratio", rho, 1);
    tn_metrics_put(m, TN_METRIC_MAX, "val/ratio_max", rho);
    return c.loss;
}

double tn_ppo_value_term(const tn_ppo_value_opt *o, double value, double old, double ret,
                         double *grad, tn_metrics *m) {
    double err = value - ret, sq = err * err, held = sq;
    double d = o->clip > 0 ? value - old : 0;
    if (fabs(d) > o->clip) { /* inside the window both squares are the same number */
        held = old + (d > 0 ? o->clip : -o->clip) - ret;
        held *= held;
    }
    bool active = sq >= held;
    double loss = 0.5 * (active ? sq : held);
    *grad = active ? err : 0;
    tn_metrics_mean(m, "loss/value_avg", loss, 1);
    tn_metrics_mean(m, "val/clipfrac_avg", !active, 1);
    return loss;
}

tn_status tn_ppo_policy_check(const tn_ppo_policy_opt *o, const tn_obs *x, unsigned more_reads,
                              const char *who, tn_err *e) {
    TN_TRY(tn_opt_between(o->clip, 0, 1, who, "cliprange", e));
    if (!isnan(o->clip_high))
        TN_TRY(tn_opt_between(o->clip_high, 0, HUGE_VAL, who, "cliprange-high", e));
    if (o->dual_clip != 0) TN_TRY(tn_opt_between(o->dual_clip, 1, HUGE_VAL, who, "dual-clip", e));
    TN_TRY(tn_opt_between(o->log_ratio_clamp, 1e-3, 700, who, "log-ratio-clamp", e));
    unsigned reads = TN_READ_TOKENS | TN_NEED_LOGP | TN_NEED_OLD_LOGP | TN_NEED_ADVANTAGE;
    if (o->entropy_coef != 0) reads |= TN_NEED_ENTROPY;
    TN_TRY(tn_obs_check(x, reads | more_reads, who, e));
    return tn_total_check(x->total.tok, x->off[x->n_seq], "tokens", who, e);
}

tn_status tn_ppo_value_check(const tn_ppo_value_opt *o, const tn_obs *x, unsigned more_reads,
                             const char *who, tn_err *e) {
    TN_TRY(tn_opt_between(o->clip, 0, HUGE_VAL, who, "cliprange-value", e));
    TN_TRY(tn_opt_between(o->coef, 0, HUGE_VAL, who, "vf-coef", e));
    unsigned reads = TN_READ_TOKENS | TN_NEED_VALUE | TN_READ_RET;
    if (o->clip > 0) reads |= TN_READ_OLD_VALUE;
    TN_TRY(tn_obs_check(x, reads | more_reads, who, e));
    return tn_total_check(x->total.tok, x->off[x->n_seq], "tokens", who, e);
}

double tn_ppo_entropy_bonus(const tn_ppo_policy_opt *o, const tn_obs *x, tn_grad *g,
                            tn_metrics *m) {
    double sum = 0, n = x->total.tok;
    for (int t = 0; o->entropy_coef != 0 && t < x->off[x->n_seq]; t++) {
        sum += x->entropy[t];
        if (g->entropy) g->entropy[t] -= o->entropy_coef / n;
    }
    tn_obs_token_metric(x, x->entropy, "policy/entropy_avg", m);
    return -o->entropy_coef * sum / n;
}

/* *whole: what the sum over the batch is divided by; the terms of a sequence of n tokens before
 * that by 1, or by n. */
static tn_status reduction(const char *name, const tn_obs *x, const char *who, bool *by_sequence,
                           double *whole, tn_err *e) {
    *by_sequence = name && strcmp(name, "sequence_mean") == 0;
    *whole = *by_sequence ? x->total.seq : x->total.tok;
    return *by_sequence ? tn_total_check(x->total.seq, x->n_seq, "sequences", who, e) : TN_OK;
}

static tn_status policy_step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m,
                             tn_err *e) {
    const tn_ppo_policy_opt *o = opt;
    bool by_sequence;
    double n, sum = 0;
    TN_TRY(tn_ppo_policy_check(o, x, 0, "ppo-policy", e));
    TN_TRY(reduction(o->reduction, x, "ppo-policy", &by_sequence, &n, e));
    for (int s = 0; s < x->n_seq; s++) {
        double len = by_sequence ? tn_obs_len(x, s) : 1, d;
        for (int t = x->off[s]; t < x->off[s + 1]; t++) {
            sum += tn_ppo_policy_term(o, x->logp[t], x->old_logp[t], x->advantage[t], &d, m) / len;
            if (g->logp) g->logp[t] += d / len / n;
        }
    }
    g->loss = sum / n + tn_ppo_entropy_bonus(o, x, g, m);
    return TN_OK;
}

static tn_status value_step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m,
                            tn_err *e) {
    const tn_ppo_value_opt *o = opt;
    bool by_sequence;
    double n, sum = 0;
    TN_TRY(tn_ppo_value_check(o, x, 0, "ppo-value", e));
    TN_TRY(reduction(o->reduction, x, "ppo-value", &by_sequence, &n, e));
    for (int s = 0; s < x->n_seq; s++) {
        double len = by_sequence ? tn_obs_len(x, s) : 1, d;
        for (int t = x->off[s]; t < x->off[s + 1]; t++) {
            double old = o->clip > 0 ? x->old_value[t] : 0;
            sum += tn_ppo_value_term(o, x->value[t], old, x->ret[t], &d, m) / len;
            if (g->value && d != 0) g->value[t] += o->coef * d / len / n;
        }
    }
    g->loss = o->coef * sum / n;
    return TN_OK;
}

unsigned tn_ppo_policy_more_needs(const void *opt) {
    return ((const tn_ppo_policy_opt *)opt)->entropy_coef != 0 ? TN_NEED_ENTROPY : 0;
}

const tn_algo tn_algo_ppo_policy = {
    .name = "ppo-policy", .summary = "clipped policy loss of PPO",
    .coupling = TN_COUPLE_TOKEN,
    .needs = TN_NEED_LOGP | TN_NEED_OLD_LOGP | TN_NEED_ADVANTAGE | TN_NEED_STATS,
    .options = tn_ppo_policy_rows, .opt_size = sizeof(tn_ppo_policy_opt), .step = policy_step,
    .more_needs = tn_ppo_policy_more_needs,
};
const tn_algo tn_algo_ppo_value = {
    .name = "ppo-value", .summary = "clipped value loss of PPO",
    .coupling = TN_COUPLE_TOKEN, .needs = TN_NEED_VALUE,
    .options = tn_ppo_value_rows, .opt_size = sizeof(tn_ppo_value_opt), .step = value_step,
};
