/* Critic-free policy losses with group advantages (GRPO, DeepSeekMath 2402.03300 and relatives).
 * A_t is given; rho_t = exp(l_t - old_t); at sequence level (GSPO, 2507.18071) every token of a
 * response has rho = exp(mean_t (l_t - old_t)). n_i tokens of response i, N and B of the batch.
 *
 *   L = sum_i w_i sum_t [ p_t + beta k3(l_t, ref_t) ] - c_H (1/N) sum H_t
 *   p_t   clipped   -min(min(rho, delta) A, clip(rho, 1-eps, 1+eps_high) A)
 *         cispo     -sg[min(rho, eps_high)] A l_t                        (2506.13585, TRL's cap)
 *         sapo      -(4/tau) s(tau (rho - 1)) A, tau by the sign of A          (2511.20347)
 *   w_i   grpo, sapo 1/(B n_i)   dapo, bnpo, cispo 1/N (2503.14476)   dr_grpo 1/(B max_completion)
 *         (2503.20783)   luspo 1/B
 *   dp/dl = -A rho where active (as in PPO), -sg[.] A, -4 s(1-s) A rho; at sequence level the
 *   sum over the response's tokens is spread evenly over them.                                 */
#include "algo/losses.h"
#include "algo/obs.h"
#include "algo/rl.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_grpo_opt, f)
const tn_opt_row tn_grpo_rows[] = {
    {"loss-type", TN_OPT_CHOICE, AT(loss_type), "dapo", "dapo|bnpo|grpo|dr_grpo|luspo|cispo|sapo",
     0, 0, NULL, NULL,
     "Token term and what it is averaged over: all tokens (dapo, bnpo), responses (grpo), a "
     "constant length (dr_grpo)."},
    {"importance-sampling-level", TN_OPT_CHOICE, AT(level), "token", "token|sequence", 0, 0, NULL,
     NULL, "Probability ratio of each token, or of the whole response per token (GSPO)."},
    {"epsilon", TN_OPT_REAL, AT(epsilon), "0.2", NULL, 0, 1, "cliprange", "X",
     "The ratio's gain is cut outside [1 - X, 1 + X]."},
    {"epsilon-high", TN_OPT_REAL, AT(epsilon_high), NULL, NULL, 0, 1e9, "cliprange-high", "X",
     "Upper side when it differs (DAPO 0.28); for cispo the cap itself."},
    {"delta", TN_OPT_REAL, AT(delta), NULL, NULL, 0, 1e9, NULL, "X",
     "Cap of the ratio itself (INTELLECT-2); off when absent."},
    {"beta", TN_OPT_REAL, AT(beta), "0", NULL, 0, 1e9, NULL, "X",
     "Weight of the KL to the reference in the loss (0.04 in the paper)."},
    {"entropy-coef", TN_OPT_REAL, AT(entropy_coef), "0", NULL, -1e9, 1e9, NULL, "X",
     "Bonus per nat of entropy."},
    {"max-completion-length", TN_OPT_REAL, AT(max_completion), "512", NULL, 1, 1e9, NULL, "N",
     "Constant length of dr_grpo."},
    {"sapo-temperature-pos", TN_OPT_REAL, AT(sapo_pos), "1", NULL, 1e-9, 1e9, NULL, "X",
     "Temperature of sapo for positive advantages."},
    {"sapo-temperature-neg", TN_OPT_REAL, AT(sapo_neg), "1.05", NULL, 1e-9, 1e9, NULL, "X",
     "And for the others."},
    {"log-ratio-clamp", TN_OPT_REAL, AT(log_ratio_clamp), "20", NULL, 1e-3, 700, NULL, "X",
     "Bound of |log ratio| before the exponential."},
    TN_OPT_LAST,
};

typedef struct term {
    double p, dp;
    bool low, high;
} term; /* dp: with respect to log rho, or l for cispo */

static bool is(const tn_grpo_opt *o, const char *type) { return strcmp(o->loss_type, type) == 0; }
static double high_of(const tn_grpo_opt *o) {
    return isnan(o->epsilon_high) ? o->epsilon : o->epsilon_high;
}

/* The two branches of the minimum; inside the window and below delta they are the same. */
static term clipped(const tn_grpo_opt *o, double rho, bool flat, double adv) {
    double lo = 1 - o->epsilon, hi = 1 + high_of(o);
    bool over = !isnan(o->delta) && rho > o->delta;
    double capped = over ? o->delta : rho, cut = rho < lo ? lo : rho > hi ? hi : rho;
    bool first = capped * adv <= cut * adv, still = first ? over : cut != rho;
    return (term){-(first ? capped : cut) * adv, still || flat ? 0 : -rho * adv,
                  adv < 0 && capped < lo, adv > 0 && capped > hi};
}

static term token_term(const tn_grpo_opt *o, double rho, bool flat, double adv, double l) {
    if (is(o, "cispo")) {
        double cap = high_of(o), c = rho < cap ? rho : cap;
        return (term){-c * adv * l, -c * adv, false, rho > cap && adv > 0};
    }
    if (is(o, "sapo")) {
        double tau = adv > 0 ? o->sapo_pos : o->sapo_neg, z = tau * (rho - 1), s = tn_sigmoid(z);
        return (term){-4 / tau * s * adv, flat ? 0 : -4 * s * tn_sigmoid(-z) * adv * rho, false,
                      false};
    }
    return clipped(o, rho, flat, adv);
}

static double weight_of(const tn_grpo_opt *o, const tn_obs *x, int s) {
    if (is(o, "grpo") || is(o, "sapo")) return 1 / (x->total.seq * tn_obs_len(x, s));
    if (is(o, "dr_grpo")) return 1 / (x->total.seq * o->max_completion);
    return is(o, "luspo") ? 1 / x->total.seq : 1 / x->total.tok;
}

static tn_status check(const tn_grpo_opt *o, const tn_obs *x, tn_err *e) {
    TN_TRY(tn_opt_between(o->epsilon, 0, 1, "grpo", "epsilon", e));
    if (!isnan(o->epsilon_high))
        TN_TRY(tn_opt_between(o->epsilon_high, 0, HUGE_VAL, "grpo", "epsilon-high", e));
    TN_TRY(tn_opt_between(o->beta, 0, HUGE_VAL, "grpo", "beta", e));
    TN_TRY(tn_opt_between(o->max_completion, 1, HUGE_VAL, "grpo", "max-completion-length", e));
    TN_TRY(tn_opt_between(o->log_ratio_clamp, 1e-3, 700, "grpo", "log-ratio-clamp", e));
    if (is(o, "cispo") && strcmp(o->level, "sequence") == 0)
        return tn_fail(e, TN_ARG,
                       "grpo: cispo is a token loss; importance-sampling-level must be token");
    unsigned reads = TN_READ_TOKENS | TN_NEED_LOGP | TN_NEED_OLD_LOGP | TN_NEED_ADVANTAGE;
    if (o->beta != 0) reads |= TN_NEED_REF_LOGP;
    if (o->entropy_coef != 0) reads |= TN_NEED_ENTROPY;
    TN_TRY(tn_obs_check(x, reads, "grpo", e));
    TN_TRY(tn_total_check(x->total.seq, x->n_seq, "sequences", "grpo", e));
    return tn_total_check(x->total.tok, x->off[x->n_seq], "tokens", "grpo", e);
}

void tn_clip_metrics(double low, double high, double n, tn_metrics *m) {
    tn_metrics_mean(m, "clip_ratio/low_mean", low, n);
    tn_metrics_mean(m, "clip_ratio/high_mean", high, n);
    tn_metrics_mean(m, "clip_ratio/region_mean", low + high, n);
    tn_metrics_put(m, TN_METRIC_MIN, "clip_ratio/low_min", low / n);
    tn_metrics_put(m, TN_METRIC_MAX, "clip_ratio/high_max", high / n);
}

/* Policy term of one response; at sequence level all its tokens share one ratio and the advantage
 * of its first token. */
static double response(const tn_grpo_opt *o, const tn_obs *x, int s, double w, double *grad,
                       tn_metrics *m) {
    bool whole = strcmp(o->level, "sequence") == 0, flat = false;
    int t0 = x->off[s], n = tn_obs_len(x, s);
    double sum = 0, low = 0, high = 0,
           mean = whole ? (tn_obs_sum(x, x->logp, s) - tn_obs_sum(x, x->old_logp, s)) / n : 0;
    for (int t = t0; t < t0 + n; t++) {
        double rho = tn_ratio(whole ? mean : x->logp[t], whole ? 0 : x->old_logp[t],
                              o->log_ratio_clamp, &flat);
        term v = token_term(o, rho, flat, x->advantage[whole ? t0 : t], x->logp[t]);
        sum += v.p;
        low += v.low, high += v.high;
        /* sequence level: n equal terms, each with d log rho / d l = 1/n */
        if (grad) grad[t] += w * v.dp;
    }
    if (is(o, "cispo")) tn_metrics_mean(m, "cispo_clip_ratio", high, n);
    else if (!is(o, "sapo"))
        tn_clip_metrics(whole ? low / n : low, whole ? high / n : high, whole ? 1 : n, m);
    return w * sum;
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_grpo_opt *o = opt;
    TN_TRY(check(o, x, e));
    double loss = 0, entropy = 0, kl_sum = 0;
    int tokens = x->off[x->n_seq];
    for (int s = 0; s < x->n_seq; s++) {
        double w = weight_of(o, x, s);
        loss += response(o, x, s, w, g->logp, m);
        for (int t = x->off[s]; o->beta != 0 && t < x->off[s + 1]; t++) {
            double kl = tn_kl_value(TN_KL_K3, x->logp[t], x->ref_logp[t]);
            loss += w * o->beta * kl;
            kl_sum += kl;
            if (g->logp)
                g->logp[t] += w * o->beta * tn_kl_grad(TN_KL_K3, x->logp[t], x->ref_logp[t]);
        }
    }
    if (o->beta != 0) tn_metrics_mean(m, "kl", kl_sum, tokens);
    for (int t = 0; o->entropy_coef != 0 && t < tokens; t++) {
        entropy += x->entropy[t];
        if (g->entropy) g->entropy[t] -= o->entropy_coef / x->total.tok;
    }
    g->loss = loss - o->entropy_coef * entropy / x->total.tok;
    tn_obs_token_metric(x, x->entropy, "entropy", m);
    return TN_OK;
}

static unsigned more_needs(const void *opt) {
    const tn_grpo_opt *o = opt;
    return (o->beta != 0 ? TN_NEED_REF_LOGP : 0) | (o->entropy_coef != 0 ? TN_NEED_ENTROPY : 0);
}

const tn_algo tn_algo_grpo = {
    .name = "grpo",
    .summary = "critic-free clipped policy losses (GRPO, DAPO, Dr. GRPO, GSPO, CISPO, SAPO)",
    .coupling = TN_COUPLE_SEQUENCE,
    .needs = TN_NEED_LOGP | TN_NEED_OLD_LOGP | TN_NEED_ADVANTAGE,
    .options = tn_grpo_rows,
    .opt_size = sizeof(tn_grpo_opt),
    .step = step,
    .more_needs = more_needs,
};
