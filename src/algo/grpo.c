/* Critic-free policy losses with group advantages (GRPO, DeepSeekMath 2402.03300 and relatives).
 * A_t is given; rho_t = exp(l_t - old_t); at sequence level (GSPO, 2507.18071) every token of a
 * response has rho = exp(mean_t (l_t - old_t)). n_i tokens of response i, N and B of the batch.
 *
 *   L = sum_i w_i sum_t [ m_t p_t + beta k_t ] - c_H (1/N) sum H_t
 *   p_t   clipped   -min(min(rho, delta) A, clip(rho, 1-eps, 1+eps_high) A)
 *         cispo     -sg[min(rho, eps_high)] A l_t                        (2506.13585, TRL's cap)
 *         sapo      -(4/tau) s(tau (rho - 1)) A, tau by the sign of A          (2511.20347)
 *         vespo     -sg[e^(lambda (1 - W)) W^k] A l_t, W = prod_t rho_t, k and lambda by the sign of A
 *                                                                              (2602.10693)
 *         gmpo      -rho A, rho = exp(mean_t d_t) of the response, d_t = min(l - old, eps_high) for A > 0, else
 *                   max(l - old, -eps): bounds of logs                             (2507.20673)
 *   w_i   grpo, sapo, gmpo 1/(B n_i)   bnpo 1/N   dapo, cispo, vespo 1/N_gen (2503.14476)
 *         dr_grpo 1/(B max_completion) (2503.20783)   luspo 1/B (2602.05261)
 *   k_t   k3(l_t, ref_t), times rho_t with the bias correction of DeepSeek-V3.2 (2512.02556; never in gmpo)
 *   m_t   0 for tokens below the entropy floor (2506.01939, then also in the mean of H) and for
 *         responses with A < 0 and mean (old - l) above the off-policy bound (2512.02556); else 1
 *   dp/dl = -A rho where active (as in PPO), -sg[.] A, -4 s(1-s) A rho; at sequence level the
 *   sum over the response's tokens is spread evenly over them, in gmpo over those whose d_t is not at its bound.
 * N_gen: tokens of the generation batch over the steps it is cut into.                        */
#include "algo/losses.h"
#include "algo/obs.h"
#include "algo/rl.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_grpo_opt, f)
const tn_opt_row tn_grpo_rows[] = {
    {"loss-type", TN_OPT_CHOICE, AT(loss_type), "dapo",
     "dapo|bnpo|grpo|dr_grpo|luspo|cispo|sapo|vespo|gmpo", 0, 0, NULL, NULL,
     "Token term and what it is averaged over: all tokens (dapo, bnpo), responses (grpo), a "
     "constant length (dr_grpo). gmpo: the geometric mean of a response's clipped ratios."},
    {"importance-sampling-level", TN_OPT_CHOICE, AT(level), "token", "token|sequence", 0, 0, NULL,
     NULL, "Probability ratio of each token, or of the whole response per token (GSPO)."},
    {"epsilon", TN_OPT_REAL, AT(epsilon), NULL, NULL, 0, 1, "cliprange", "X",
     "The ratio's gain is cut outside [1 - X, 1 + X]; default 0.2. For gmpo outside [e^-X, e^X]; default 0.4."},
    {"epsilon-high", TN_OPT_REAL, AT(epsilon_high), NULL, NULL, 0, 1e9, "cliprange-high", "X",
     "Upper side when it differs (DAPO 0.28); for cispo the cap itself."},
    {"delta", TN_OPT_REAL, AT(delta), NULL, NULL, 0, 1e9, NULL, "X",
     "Cap of the ratio itself (INTELLECT-2); off when absent."},
    {"beta", TN_OPT_REAL, AT(beta), "0", NULL, 0, 1e9, NULL, "X",
     "Weight of the KL to the reference in the loss (0.04 in the paper)."},
    {"entropy-coef", TN_OPT_REAL, AT(entropy_coef), "0", NULL, -1e9, 1e9, NULL, "X",
     "Bonus per nat of entropy."},
    {"use-bias-correction-kl", TN_OPT_BOOL, AT(bias_correction), "true", NULL, 0, 0, NULL, NULL,
     "Multiply that KL by the probability ratio, which makes its gradient the reverse KL's."},
    {"max-completion-length", TN_OPT_INT, AT(max_completion), "512", NULL, 1, 1 << 20,
     "max-new-tokens", "N", "Longest response in tokens; also the constant length of dr_grpo."},
    {"sapo-temperature-pos", TN_OPT_REAL, AT(sapo_pos), "1", NULL, 1e-9, 1e9, NULL, "X",
     "Temperature of sapo for positive advantages."},
    {"sapo-temperature-neg", TN_OPT_REAL, AT(sapo_neg), "1.05", NULL, 1e-9, 1e9, NULL, "X",
     "And for the others."},
    {"vespo-k-pos", TN_OPT_REAL, AT(vespo_k_pos), "2", NULL, 0, 1e9, NULL, "X",
     "Power of vespo's weight for advantages of at least 0."},
    {"vespo-lambda-pos", TN_OPT_REAL, AT(vespo_lambda_pos), "3", NULL, 0, 1e9, NULL, "X",
     "Its decay."},
    {"vespo-k-neg", TN_OPT_REAL, AT(vespo_k_neg), "3", NULL, 0, 1e9, NULL, "X",
     "Power for the others."},
    {"vespo-lambda-neg", TN_OPT_REAL, AT(vespo_lambda_neg), "2", NULL, 0, 1e9, NULL, "X",
     "Its decay."},
    {"off-policy-mask-threshold", TN_OPT_REAL, AT(off_policy), NULL, NULL, 1e-9, 1e9, NULL, "X",
     "Leave out responses of negative advantage whose mean log ratio to the sampler exceeds X."},
    {"top-entropy-quantile", TN_OPT_REAL, AT(top_entropy), "1", NULL, 1e-6, 1, NULL, "X",
     "Train only on this share of a step's tokens, those of the highest entropy (0.2 in the "
     "paper)."},
    {"log-ratio-clamp", TN_OPT_REAL, AT(log_ratio_clamp), "20", NULL, 1e-3, 700, NULL, "X",
     "Bound of |log ratio| before the exponential."},
    TN_OPT_LAST,
};

typedef struct term {
    double p, dp;
    bool low, high;
} term; /* dp: with respect to log rho, or l for cispo */

static bool is(const tn_grpo_opt *o, const char *type) { return strcmp(o->loss_type, type) == 0; }
static double low_of(const tn_grpo_opt *o) { return !isnan(o->epsilon) ? o->epsilon : is(o, "gmpo") ? 0.4 : 0.2; }
static double high_of(const tn_grpo_opt *o) { return isnan(o->epsilon_high) ? low_of(o) : o->epsilon_high; }

/* The two branches of the minimum; inside the window and below delta they are the same. */
static term clipped(const tn_grpo_opt *o, double rho, bool flat, double adv) {
    double lo = 1 - low_of(o), hi = 1 + high_of(o);
    bool over = !isnan(o->delta) && rho > o->delta;
    double capped = over ? o->delta : rho, cut = rho < lo ? lo : rho > hi ? hi : rho;
    bool first = capped * adv <= cut * adv, still = first ? over : cut != rho;
    return (term){-(first ? capped : cut) * adv, still || flat ? 0 : -rho * adv,
                  adv < 0 && capped<lo, adv> 0 && capped > hi};
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

static double or_tok(double n, const tn_obs *x) { return n > 0 ? n : x->total.tok; }

static double weight_of(const tn_grpo_opt *o, const tn_obs *x, int s) {
    if (is(o, "grpo") || is(o, "sapo") || is(o, "gmpo")) return 1 / (x->total.seq * tn_obs_len(x, s));
    if (is(o, "dr_grpo")) return 1 / (x->total.seq * (double)o->max_completion);
    if (is(o, "luspo")) return 1 / x->total.seq;
    return 1 / (is(o, "bnpo") ? x->total.tok : or_tok(x->total.gen_tok, x));
}

tn_status tn_grpo_check(const tn_grpo_opt *o, tn_err *e) {
    TN_TRY(tn_opt_between(low_of(o), 0, 1, "grpo", "epsilon", e));
    if (!isnan(o->epsilon_high))
        TN_TRY(tn_opt_between(o->epsilon_high, 0, HUGE_VAL, "grpo", "epsilon-high", e));
    TN_TRY(tn_opt_between(o->beta, 0, HUGE_VAL, "grpo", "beta", e));
    TN_TRY(
        tn_opt_between((double)o->max_completion, 1, HUGE_VAL, "grpo", "max-completion-length", e));
    TN_TRY(tn_opt_between(o->log_ratio_clamp, 1e-3, 700, "grpo", "log-ratio-clamp", e));
    if ((is(o, "cispo") || is(o, "gmpo")) && strcmp(o->level, "sequence") == 0)
        return tn_fail(e, TN_ARG, "grpo: %s clips the ratio of every token; importance-sampling-level must be token",
                       o->loss_type);
    return is(o, "gmpo") && !isnan(o->delta) ? tn_fail(e, TN_ARG, "grpo: delta has no meaning in gmpo; leave it out") : TN_OK;
}

static tn_status check(const tn_grpo_opt *o, const tn_obs *x, tn_err *e) {
    TN_TRY(tn_grpo_check(o, e));
    unsigned reads = TN_READ_TOKENS | TN_NEED_LOGP | TN_NEED_OLD_LOGP | TN_NEED_ADVANTAGE;
    if (o->beta != 0) reads |= TN_NEED_REF_LOGP;
    if (o->entropy_coef != 0 || o->entropy_floor > 0) reads |= TN_NEED_ENTROPY;
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

static bool kept(const tn_grpo_opt *o, const tn_obs *x, int t) {
    return !(o->entropy_floor > 0) || x->entropy[t] >= o->entropy_floor;
}

/* The sampler drifted away from a response that is to become less likely. */
static bool off_policy(const tn_grpo_opt *o, const tn_obs *x, int s) {
    if (!(o->off_policy > 0) || !(x->advantage[x->off[s]] < 0)) return false;
    double drift = tn_obs_sum(x, x->old_logp, s) - tn_obs_sum(x, x->logp, s);
    return drift / tn_obs_len(x, s) > o->off_policy;
}

/* log W is held to [log 1e-8, 20], as in TRL. */
static double vespo_weight(const tn_grpo_opt *o, const tn_obs *x, int s) {
    bool up = x->advantage[x->off[s]] >= 0;
    double k = up ? o->vespo_k_pos : o->vespo_k_neg,
           lambda = up ? o->vespo_lambda_pos : o->vespo_lambda_neg, log_w = 0;
    if (lambda < 1e-4) lambda = 1e-4;
    for (int t = x->off[s]; t < x->off[s + 1]; t++) {
        double d = x->logp[t] - x->old_logp[t], clamp = o->log_ratio_clamp;
        log_w += d > clamp ? clamp : d < -clamp ? -clamp : d;
    }
    log_w = log_w > 20 ? 20 : log_w < tn_log(1e-8) ? tn_log(1e-8) : log_w;
    return tn_exp(lambda + k * log_w - lambda * tn_exp(log_w));
}

/* Log-prob and its old value whose difference is the log ratio of token t. */
typedef struct ratio_of {
    bool whole;
    double mean; /* of the response's log ratios */
} ratio_of;
static ratio_of response_ratio(const tn_grpo_opt *o, const tn_obs *x, int s) {
    ratio_of r = {strcmp(o->level, "sequence") == 0, 0};
    if (r.whole)
        r.mean = (tn_obs_sum(x, x->logp, s) - tn_obs_sum(x, x->old_logp, s)) / tn_obs_len(x, s);
    return r;
}
static double rho_at(const tn_grpo_opt *o, const tn_obs *x, ratio_of r, int t, bool *flat) {
    return tn_ratio(r.whole ? r.mean : x->logp[t], r.whole ? 0 : x->old_logp[t], o->log_ratio_clamp,
                    flat);
}

/* gmpo's n equal terms of a response: each is the loss of the response. */
static double geometric(const tn_grpo_opt *o, const tn_obs *x, int s, double w, double *grad, tn_metrics *m) {
    int t0 = x->off[s], n = tn_obs_len(x, s), in = 0;
    double adv = x->advantage[t0], bound = adv > 0 ? high_of(o) : -low_of(o), sum = 0, low = 0, high = 0;
    bool flat;
    for (int t = t0; t < t0 + n; t++) {
        double d = x->logp[t] - x->old_logp[t];
        bool over = adv > 0 ? d > bound : d < bound;
        low += over && adv < 0, high += over && adv > 0;
        if (!kept(o, x, t)) continue;
        sum += over ? bound : d, in++;
    }
    tn_clip_metrics(low, high, n, m);
    if (off_policy(o, x, s)) return 0;
    double rho = tn_ratio(in ? sum / in : 0, 0, o->log_ratio_clamp, &flat), each = flat ? 0 : -w * n * adv * rho / in;
    for (int t = t0; grad && t < t0 + n; t++) {
        double d = x->logp[t] - x->old_logp[t];
        if (kept(o, x, t) && (adv > 0 ? d <= bound : d >= bound)) grad[t] += each;
    }
    return -w * n * adv * rho;
}

/* Policy term of one response; at sequence level all its tokens share one ratio and the advantage
 * of its first token. */
static double response(const tn_grpo_opt *o, const tn_obs *x, int s, double w, double *grad,
                       tn_metrics *m) {
    if (is(o, "gmpo")) return geometric(o, x, s, w, grad, m);
    ratio_of r = response_ratio(o, x, s);
    bool vespo = is(o, "vespo"), drop = off_policy(o, x, s), flat = false;
    bool spread = r.whole && !vespo;
    int t0 = x->off[s], n = tn_obs_len(x, s), in = 0;
    double sum = 0, low = 0, high = 0, dp = 0, phi = vespo ? vespo_weight(o, x, s) : 0;
    for (int t = t0; t < t0 + n; t++) {
        double adv = x->advantage[r.whole ? t0 : t], rho = rho_at(o, x, r, t, &flat);
        term v = vespo ? (term){-phi * adv * x->logp[t], -phi * adv, false, false}
                       : token_term(o, rho, flat, adv, x->logp[t]);
        low += v.low, high += v.high;
        if (drop || !kept(o, x, t)) continue;
        sum += v.p, dp = v.dp, in++;
        if (grad && !spread) grad[t] += w * v.dp;
    }
    /* sequence level: `in` equal terms, each with d log rho / d l = 1/n */
    double share = in == n ? 1 : (double)in / n;
    for (int t = t0; grad && spread && t < t0 + n; t++) grad[t] += w * dp * share;
    if (is(o, "cispo"))
        tn_metrics_mean(m, "cispo_clip_ratio", high, n);
    else if (vespo)
        tn_metrics_mean(m, "vespo/phi_seq_mean", phi, 1);
    else if (!is(o, "sapo"))
        tn_clip_metrics(r.whole ? low / n : low, r.whole ? high / n : high, r.whole ? 1 : n, m);
    return w * sum;
}

/* sum_t k_t of one response; its gradient, times `scale`, is added. */
static double kl_term(const tn_grpo_opt *o, const tn_obs *x, int s, double scale, double *grad) {
    ratio_of r = response_ratio(o, x, s);
    double sum = 0, plain = 0, rho = 1;
    bool flat = true, corrects = o->bias_correction && !is(o, "gmpo");
    for (int t = x->off[s]; t < x->off[s + 1]; t++) {
        double kl = tn_kl_value(TN_KL_K3, x->logp[t], x->ref_logp[t]);
        if (corrects) rho = rho_at(o, x, r, t, &flat);
        plain += kl;
        sum += rho * kl;
        if (!grad) continue;
        grad[t] += scale * rho * tn_kl_grad(TN_KL_K3, x->logp[t], x->ref_logp[t]);
        if (!flat && !r.whole) grad[t] += scale * rho * kl;
    }
    for (int t = x->off[s]; grad && !flat && r.whole && t < x->off[s + 1]; t++)
        grad[t] += scale * rho * plain / tn_obs_len(x, s);
    return sum;
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_grpo_opt *o = opt;
    TN_TRY(check(o, x, e));
    double loss = 0, entropy = 0, kl_sum = 0, n_entropy = or_tok(x->total.kept_tok, x);
    int tokens = x->off[x->n_seq];
    for (int s = 0; s < x->n_seq; s++) {
        double w = weight_of(o, x, s);
        loss += response(o, x, s, w, g->logp, m);
        if (o->beta == 0) continue;
        double kl = kl_term(o, x, s, w * o->beta, g->logp);
        loss += w * o->beta * kl;
        kl_sum += kl;
    }
    if (o->beta != 0) tn_metrics_mean(m, "kl", kl_sum, tokens);
    for (int t = 0; o->entropy_coef != 0 && t < tokens; t++) {
        if (!kept(o, x, t)) continue;
        entropy += x->entropy[t];
        if (g->entropy) g->entropy[t] -= o->entropy_coef / n_entropy;
    }
    g->loss = loss - o->entropy_coef * entropy / n_entropy;
    tn_obs_token_metric(x, x->entropy, "entropy", m);
    return TN_OK;
}

static unsigned more_needs(const void *opt) {
    const tn_grpo_opt *o = opt;
    return (o->beta != 0 ? TN_NEED_REF_LOGP : 0) | (o->entropy_coef != 0 ? TN_NEED_ENTROPY : 0);
}

const tn_algo tn_algo_grpo = {
    .name = "grpo",
    .summary = "critic-free policy losses (GRPO, DAPO, Dr. GRPO, GSPO, CISPO, SAPO, VESPO, GMPO)",
    .coupling = TN_COUPLE_SEQUENCE,
    .needs = TN_NEED_LOGP | TN_NEED_OLD_LOGP | TN_NEED_ADVANTAGE | TN_NEED_STATS,
    .options = tn_grpo_rows,
    .opt_size = sizeof(tn_grpo_opt),
    .step = step,
    .more_needs = more_needs,
};
