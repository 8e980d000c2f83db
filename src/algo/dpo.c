/* Direct preference optimisation and the losses that differ only in their per-pair formula
 * (Rafailov et al. 2023, 2305.18290; each row below names its paper).
 *
 *   a = S_w - S_w^ref,  b = S_l - S_l^ref      log-ratios of the chosen and the rejected response
 *   u = beta (a - b),   s = logistic,  sp(u) = log(1 + e^u)
 *   L = (1/B) sum_pairs w sum_k weight_k loss_k(a, b),   dL/dl_t = dL/da for tokens of the chosen
 *   response, dL/db for those of the rejected one.
 *
 * A loss is one row of tn_dpo_losses (dpo_pairs.c) and one function giving its value, d/da and d/db. Its flags say
 * whether it sees f(a), f(b) of an f-divergence (2309.16240), log-ratios per token, or both.
 *   forward_kl  f = 1 - e^-a     js_divergence  f = log 2 + log s(a)
 *   alpha       f = (e^((alpha-1) a) - 1)/(alpha-1), exponent at most 80
 * LD-DPO (2409.06411): tokens past the shorter response's length count ld_alpha in every S.
 * RPO (2404.19733): + rpo_alpha times the mean over all chosen tokens of -l_t.
 * WPO (2406.11827): w = w_w w_l, w_y = exp(mean_t(l_t - log sum_v pi(v)^2)), no gradient; else 1.
 * Label of a pair right with probability p = p_chosen; smoothing: p (1-eps) + (1-p) eps.        */
#include "algo/dpo.h"
#include "algo/obs.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT(f) offsetof(tn_dpo_opt, f)
const tn_opt_row tn_dpo_rows[] = {
    {"beta", TN_OPT_REAL, AT(beta), "0.1", NULL, 0, 1e9, NULL, "X",
     "Strength of the pull to the reference: larger stays closer (tau of ipo)."},
    {"loss-type", TN_OPT_LIST, AT(loss_type), "sigmoid", NULL, 0, 0, NULL, "NAME",
     "sigmoid (DPO; with label-smoothing cDPO), robust, hinge, ipo, ipo_sum, exo_pair, nca_pair,"
     " bco_pair, sppo_hard, sppo, apo_zero, apo_down, discopop, sigmoid_norm, dpop, r_dpo, sft;"
     " several are added up; aot, aot_unpaired alone."},
    {"loss-weights", TN_OPT_LIST, AT(loss_weights), NULL, NULL, 0, 0, NULL, "X",
     "One weight per loss-type; 1 each when absent."},
    {"label-smoothing", TN_OPT_REAL, AT(label_smoothing), "0", NULL, 0, 0.5, NULL, "X",
     "Share of labels taken to be flipped (sigmoid, robust), or epsilon of exo_pair."},
    {"f-divergence-type", TN_OPT_CHOICE, AT(f_divergence), "reverse_kl",
     "reverse_kl|forward_kl|js_divergence|alpha_divergence", 0, 0, NULL, NULL,
     "Divergence to the reference that the loss stands for."},
    {"f-alpha-divergence-coef", TN_OPT_REAL, AT(f_alpha), "0.5", NULL, -1e3, 1e3, NULL, "X",
     "Alpha of alpha_divergence."},
    {"ld-alpha", TN_OPT_REAL, AT(ld_alpha), NULL, NULL, 0, 1, NULL, "X",
     "Weight of tokens past the shorter response's length (LD-DPO); off when absent."},
    {"use-weighting", TN_OPT_BOOL, AT(weighting), "false", NULL, 0, 0, NULL, NULL,
     "Weigh pairs by how likely the policy is to produce them (WPO)."},
    {"weighting-clip", TN_OPT_BOOL, AT(weighting_clip), "false", NULL, 0, 0, NULL, NULL,
     "Cut WPO weights at 1, as its authors' code does and TRL does not."},
    {"margin-scale", TN_OPT_REAL, AT(margin_scale), "0", NULL, -1e9, 1e9, NULL, "X",
     "Subtract X times the pair's margin from beta (a - b) in sigmoid (ODPO)."},
    {"bco-delta", TN_OPT_REAL, AT(bco_delta), "0", NULL, -1e9, 1e9, NULL, "X",
     "Reward shift of bco_pair."},
    {"discopop-tau", TN_OPT_REAL, AT(discopop_tau), "0.05", NULL, 1e-9, 1e9, NULL, "X",
     "Temperature of discopop's blend."},
    {"dpop-lambda", TN_OPT_REAL, AT(dpop_lambda), "50", NULL, 0, 1e9, NULL, "X",
     "Weight of dpop's penalty on chosen responses that lost probability."},
    {"length-alpha", TN_OPT_REAL, AT(length_alpha), "0.05", NULL, 0, 1e9, NULL, "X",
     "Length penalty per token of r_dpo."},
    {"rpo-alpha", TN_OPT_REAL, AT(rpo_alpha), NULL, NULL, 0, 1e9, NULL, "X",
     "Add X times the negative log-likelihood of the chosen responses, the mean over all their tokens (RPO); the same "
     "as loss type sft with that weight."},
    TN_OPT_LAST,
};

#define MAX_MIX 8

typedef struct mix {
    int n;
    const tn_dpo_loss *row[MAX_MIX];
    double weight[MAX_MIX];
} mix;

static tn_status parse_mix(const tn_dpo_opt *o, mix *k, tn_err *e) {
    static const char *const plain[] = {"sigmoid"};
    tn_opt_list types = o->loss_type.n ? o->loss_type : (tn_opt_list){plain, 1};
    int nw = o->loss_weights.n;
    if (types.n > MAX_MIX)
        return tn_fail(e, TN_ARG, "dpo: %d loss types, at most %d", types.n, MAX_MIX);
    if (nw && nw != types.n)
        return tn_fail(e, TN_ARG, "dpo: %d loss-weights for %d loss types; give one each", nw,
                       types.n);
    k->n = types.n;
    for (int i = 0; i < types.n; i++) {
        k->row[i] = tn_dpo_find(types.v[i]);
        if (strncmp(types.v[i], "aot", 3) == 0)
            return tn_fail(e, TN_ARG,
                           "dpo: loss type %s compares all pairs of a step and stands alone (algorithm dpo-aot)",
                           types.v[i]);
        if (!k->row[i])
            return tn_fail(e, TN_ARG, "dpo: no loss type '%s'; see `--help` for the list",
                           types.v[i]);
        char *end = "";
        k->weight[i] = nw ? strtod(o->loss_weights.v[i], &end) : 1;
        if (*end || !isfinite(k->weight[i]))
            return tn_fail(e, TN_ARG, "dpo: loss-weights has '%s', expected a number",
                           o->loss_weights.v[i]);
    }
    return TN_OK;
}

static tn_status check_row(const tn_dpo_opt *o, const tn_dpo_loss *r, tn_err *e) {
    if (!(r->flags & TN_DPO_SCORES) && strcmp(o->f_divergence, "reverse_kl") != 0)
        return tn_fail(e, TN_ARG,
                       "dpo: loss type %s has no form for f-divergence-type %s; use reverse_kl",
                       r->name, o->f_divergence);
    if (strcmp(r->name, "robust") == 0 && !(o->label_smoothing < 0.5))
        return tn_fail(e, TN_ARG, "dpo: robust needs label-smoothing below 0.5, found %g",
                       o->label_smoothing);
    if (strcmp(r->name, "exo_pair") == 0 && !(o->label_smoothing > 0))
        return tn_fail(e, TN_ARG, "dpo: exo_pair needs label-smoothing above 0 (its paper: 0.001)");
    return TN_OK;
}

/* The likelihood term: loss types sft, and RPO's. */
static double sft_weight(const tn_dpo_opt *o, const mix *k) {
    double w = isnan(o->rpo_alpha) ? 0 : o->rpo_alpha;
    for (int i = 0; i < k->n; i++)
        if (!k->row[i]->f) w += k->weight[i];
    return w;
}
static bool has_sft(const tn_dpo_opt *o, const mix *k) {
    bool any = !isnan(o->rpo_alpha);
    for (int i = 0; i < k->n; i++) any |= !k->row[i]->f;
    return any;
}

static tn_status check(const tn_dpo_opt *o, const tn_obs *x, mix *k, tn_err *e) {
    TN_TRY(parse_mix(o, k, e));
    if (!(o->beta > 0 && o->beta < HUGE_VAL))
        return tn_fail(e, TN_ARG, "dpo: beta is %g, expected a number above 0", o->beta);
    TN_TRY(tn_opt_between(o->label_smoothing, 0, 0.5, "dpo", "label-smoothing", e));
    if (!isnan(o->ld_alpha)) TN_TRY(tn_opt_between(o->ld_alpha, 0, 1, "dpo", "ld-alpha", e));
    unsigned reads = TN_READ_TOKENS | TN_READ_PAIRS | TN_NEED_LOGP | TN_NEED_REF_LOGP;
    TN_TRY(tn_obs_check(x, reads | (o->weighting ? TN_NEED_SUM_SQ : 0), "dpo", e));
    if (!isnan(o->rpo_alpha)) TN_TRY(tn_opt_between(o->rpo_alpha, 0, HUGE_VAL, "dpo", "rpo-alpha", e));
    for (int i = 0; i < k->n; i++) TN_TRY(check_row(o, k->row[i], e));
    if (!has_sft(o, k)) return TN_OK;
    if (o->weighting)
        return tn_fail(e, TN_ARG, "dpo: loss type sft and rpo-alpha cannot be combined with use-weighting");
    double here = 0;
    for (int p = 0; p < x->n_pair; p++) here += tn_obs_len(x, x->chosen[p]);
    return tn_total_check(x->total.chosen_tok, here, "chosen tokens", "dpo", e);
}

/* f(a) of the f-divergence and its derivative. */
static void score_of(const tn_dpo_opt *o, double a, double *f, double *df) {
    *f = a;
    *df = 1;
    if (strcmp(o->f_divergence, "forward_kl") == 0) {
        *f = -tn_expm1(-a);
        *df = tn_exp(-a);
    } else if (strcmp(o->f_divergence, "js_divergence") == 0) {
        *f = tn_log(2) + tn_logsigmoid(a);
        *df = tn_sigmoid(-a);
    } else if (strcmp(o->f_divergence, "alpha_divergence") == 0 && fabs(o->f_alpha - 1) >= 1e-6) {
        double k = o->f_alpha - 1, z = k * a;
        *f = tn_expm1(z < 80 ? z : 80) / k;
        *df = z < 80 ? tn_exp(z) : 0;
    }
}

/* Weighted sum of v over sequence s: tokens from position `from` on count `tail`. */
static double ld_sum(const tn_obs *x, const double *v, int s, int from, double tail) {
    double head = 0, rest = 0;
    for (int t = x->off[s]; t < x->off[s + 1]; t++) *(t - x->off[s] < from ? &head : &rest) += v[t];
    return from < tn_obs_len(x, s) ? head + tail * rest : head;
}

static double wpo_weight(const tn_dpo_opt *o, const tn_obs *x, int c, int r) {
    double z = 0;
    if (!o->weighting) return 1;
    z += (tn_obs_sum(x, x->logp, c) - tn_obs_sum(x, x->log_sum_sq_p, c)) / tn_obs_len(x, c);
    z += (tn_obs_sum(x, x->logp, r) - tn_obs_sum(x, x->log_sum_sq_p, r)) / tn_obs_len(x, r);
    return o->weighting_clip && z > 0 ? 1 : tn_exp(z);
}

/* Sum over the mix for one pair; gradients with respect to the log-ratios a, b. */
static tn_dpo_term pair_loss(const tn_dpo_opt *o, const mix *k, const tn_dpo_pair *raw) {
    tn_dpo_term sum = {0, 0, 0};
    for (int i = 0; i < k->n; i++) {
        if (!k->row[i]->f) continue;
        tn_dpo_pair q = *raw;
        double fa = 1, fb = 1;
        if (k->row[i]->flags & TN_DPO_SCORES) {
            score_of(o, raw->a, &q.a, &fa);
            score_of(o, raw->b, &q.b, &fb);
        }
        if (k->row[i]->flags & TN_DPO_PER_TOKEN) {
            q.a /= q.n_w, fa /= q.n_w;
            q.b /= q.n_l, fb /= q.n_l;
        }
        tn_dpo_term t = k->row[i]->f(o, &q);
        sum.loss += k->weight[i] * t.loss;
        sum.da += k->weight[i] * t.da * fa;
        sum.db += k->weight[i] * t.db * fb;
    }
    return sum;
}

static void side_metrics(const tn_obs *x, int s, const char *logits, tn_metrics *m) {
    if (x->mean_logit)
        tn_metrics_mean(m, logits, tn_obs_sum(x, x->mean_logit, s), tn_obs_len(x, s));
    if (x->entropy)
        tn_metrics_mean(m, "entropy", tn_obs_sum(x, x->entropy, s), tn_obs_len(x, s));
}

void tn_dpo_pair_metrics(const tn_obs *x, int i, double beta, double s_w, double s_l, double a,
                         double b, tn_metrics *m) {
    int c = x->chosen[i], r = x->rejected[i];
    tn_metrics_mean(m, "rewards/chosen", beta * a, 1);
    tn_metrics_mean(m, "rewards/rejected", beta * b, 1);
    tn_metrics_mean(m, "rewards/accuracies", a > b, 1);
    tn_metrics_mean(m, "rewards/margins", beta * (a - b), 1);
    tn_metrics_mean(m, "logps/chosen", s_w, 1);
    tn_metrics_mean(m, "logps/rejected", s_l, 1);
    tn_metrics_mean(m, "ranking_accuracy", s_w > s_l, 1);
    side_metrics(x, c, "logits/chosen", m);
    side_metrics(x, r, "logits/rejected", m);
    if (x->top1)
        tn_metrics_mean(m, "mean_token_accuracy", tn_obs_sum(x, x->top1, c), tn_obs_len(x, c));
}

static void spread(const tn_obs *x, int s, int from, double tail, double d, double *grad) {
    for (int t = x->off[s]; t < x->off[s + 1]; t++) grad[t] += t - x->off[s] < from ? d : d * tail;
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_dpo_opt *o = opt;
    mix k = {0};
    TN_TRY(check(o, x, &k, e));
    double sft = sft_weight(o, &k), tail = isnan(o->ld_alpha) ? 1 : o->ld_alpha, loss = 0;
    for (int i = 0; i < x->n_pair; i++) {
        int c = x->chosen[i], r = x->rejected[i], n_w = tn_obs_len(x, c), n_l = tn_obs_len(x, r);
        int shared = n_w < n_l ? n_w : n_l;
        double s_w = ld_sum(x, x->logp, c, shared, tail), s_l = ld_sum(x, x->logp, r, shared, tail);
        tn_dpo_pair q = {s_w - ld_sum(x, x->ref_logp, c, shared, tail),
                  s_l - ld_sum(x, x->ref_logp, r, shared, tail), n_w, n_l,
                  x->p_chosen ? x->p_chosen[i] : 1, x->margin ? x->margin[i] : 0};
        tn_dpo_term t = pair_loss(o, &k, &q);
        double w = wpo_weight(o, x, c, r) / x->total.pair;
        loss += w * t.loss;
        if (sft != 0) loss -= sft * tn_obs_sum(x, x->logp, c) / x->total.chosen_tok;
        if (g->logp) {
            spread(x, c, shared, tail, w * t.da, g->logp);
            spread(x, r, shared, tail, w * t.db, g->logp);
            if (sft != 0) spread(x, c, n_w, 1, -sft / x->total.chosen_tok, g->logp);
        }
        tn_dpo_pair_metrics(x, i, o->beta, s_w, s_l, q.a, q.b, m);
    }
    g->loss = loss;
    return TN_OK;
}

static unsigned more_needs(const void *opt) {
    return ((const tn_dpo_opt *)opt)->weighting ? TN_NEED_SUM_SQ : 0;
}

const tn_algo tn_algo_dpo = {
    .name = "dpo", .summary = "direct preference optimisation on pairs",
    .coupling = TN_COUPLE_PAIR,
    .needs = TN_NEED_LOGP | TN_NEED_REF_LOGP | TN_NEED_ENTROPY | TN_NEED_STATS,
    .options = tn_dpo_rows, .opt_size = sizeof(tn_dpo_opt), .step = step, .more_needs = more_needs,
};
