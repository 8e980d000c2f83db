/* Direct preference optimisation and the losses that differ only in their per-pair formula
 * (Rafailov et al. 2023, 2305.18290; each row below names its paper).
 *
 *   a = S_w - S_w^ref,  b = S_l - S_l^ref      log-ratios of the chosen and the rejected response
 *   u = beta (a - b),   s = logistic,  sp(u) = log(1 + e^u)
 *   L = (1/B) sum_pairs w sum_k weight_k loss_k(a, b),   dL/dl_t = dL/da for tokens of the chosen
 *   response, dL/db for those of the rejected one.
 *
 * A loss is one row of `losses` and one function giving its value, d/da and d/db. Its flags say
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

/* One pair as a loss sees it. */
typedef struct pair {
    double a, b;      /* log-ratios, after f and per token where the row says so */
    double n_w, n_l;  /* scored tokens */
    double p, margin;
} pair;
typedef struct term { double loss, da, db; } term;

/* loss(u) with u = beta (a - b): both sides get opposite gradients. */
static term of_u(double loss, double du, double beta) {
    return (term){loss, beta * du, -beta * du};
}

/* p sp(-u) + (1-p) sp(u); p = 1 is DPO, otherwise cDPO or a soft label. */
static term sigmoid_term(double u, double p, double beta) {
    return of_u(p * tn_softplus(-u) + (1 - p) * tn_softplus(u),
                (1 - p) * tn_sigmoid(u) - p * tn_sigmoid(-u), beta);
}
static double smoothed(const tn_dpo_opt *o, double p) {
    return p * (1 - o->label_smoothing) + (1 - p) * o->label_smoothing;
}

/* 2305.18290; smoothing: cDPO; margin: ODPO, 2402.10571. */
static term loss_sigmoid(const tn_dpo_opt *o, const pair *q) {
    double u = o->beta * (q->a - q->b) - o->margin_scale * q->margin;
    return sigmoid_term(u, smoothed(o, q->p), o->beta);
}
/* rDPO, 2403.00409: unbiased when a share eps of the labels is flipped.
 * [(1-eps) sp(-u) - eps sp(u)] / (1 - 2 eps) */
static term loss_robust(const tn_dpo_opt *o, const pair *q) {
    double eps = o->label_smoothing, u = o->beta * (q->a - q->b), z = 1 / (1 - 2 * eps);
    return of_u(z * ((1 - eps) * tn_softplus(-u) - eps * tn_softplus(u)),
                -z * ((1 - eps) * tn_sigmoid(-u) + eps * tn_sigmoid(u)), o->beta);
}
/* max(0, 1 - u): SLiC's hinge on log-ratios, 2305.10425, 2309.06657. */
static term loss_hinge(const tn_dpo_opt *o, const pair *q) {
    double u = o->beta * (q->a - q->b);
    return u < 1 ? of_u(1 - u, -1, o->beta) : (term){0, 0, 0};
}
/* IPO, 2310.12036: (a - b - 1/(2 beta))^2, on log-ratios per token (ipo) or summed (ipo_sum). */
static term loss_ipo(const tn_dpo_opt *o, const pair *q) {
    double d = q->a - q->b - 0.5 / o->beta;
    return (term){d * d, 2 * d, -2 * d};
}
/* EXO, 2402.00856: KL(s(u), s(-u) || 1-eps, eps). */
static term loss_exo(const tn_dpo_opt *o, const pair *q) {
    double u = o->beta * (q->a - q->b), s = tn_sigmoid(u), c = tn_sigmoid(-u);
    double lw = tn_log1p(-o->label_smoothing), ll = tn_log(o->label_smoothing);
    return of_u(s * (tn_logsigmoid(u) - lw) + c * (tn_logsigmoid(-u) - ll), s * c * (u - (lw - ll)),
                o->beta);
}
/* NCA, 2402.05369: sp(-beta a) + (1/2) sp(beta a) + (1/2) sp(beta b). */
static term loss_nca(const tn_dpo_opt *o, const pair *q) {
    double ra = o->beta * q->a, rb = o->beta * q->b;
    return (term){tn_softplus(-ra) + 0.5 * (tn_softplus(ra) + tn_softplus(rb)),
                  o->beta * (0.5 * tn_sigmoid(ra) - tn_sigmoid(-ra)),
                  0.5 * o->beta * tn_sigmoid(rb)};
}
/* BCO, 2404.04656: sp(-(beta a - delta)) + sp(beta b - delta). */
static term loss_bco(const tn_dpo_opt *o, const pair *q) {
    double ra = o->beta * q->a - o->bco_delta, rb = o->beta * q->b - o->bco_delta;
    return (term){tn_softplus(-ra) + tn_softplus(rb), -o->beta * tn_sigmoid(-ra),
                  o->beta * tn_sigmoid(rb)};
}
/* SPPO, 2405.00675, winner and loser certain: (a - 1/(2 beta))^2 + (b + 1/(2 beta))^2. */
static term loss_sppo_hard(const tn_dpo_opt *o, const pair *q) {
    double da = q->a - 0.5 / o->beta, db = q->b + 0.5 / o->beta;
    return (term){da * da + db * db, 2 * da, 2 * db};
}
/* SPPO with a win probability p: (1/2)[(a - (p - 1/2)/beta)^2 + (b - (1/2 - p)/beta)^2]. */
static term loss_sppo(const tn_dpo_opt *o, const pair *q) {
    double c = (q->p - 0.5) / o->beta, da = q->a - c, db = q->b + c;
    return (term){0.5 * (da * da + db * db), da, db};
}
/* APO, 2408.06266. zero: s(-beta a) + s(beta b); down: s(beta a) + s(-beta (a - b)). */
static double slope(double z) { return tn_sigmoid(z) * tn_sigmoid(-z); }
static term loss_apo_zero(const tn_dpo_opt *o, const pair *q) {
    double ra = o->beta * q->a, rb = o->beta * q->b;
    return (term){tn_sigmoid(-ra) + tn_sigmoid(rb), -o->beta * slope(ra), o->beta * slope(rb)};
}
static term loss_apo_down(const tn_dpo_opt *o, const pair *q) {
    double ra = o->beta * q->a, u = o->beta * (q->a - q->b);
    return (term){tn_sigmoid(ra) + tn_sigmoid(-u), o->beta * (slope(ra) - slope(u)),
                  o->beta * slope(u)};
}
/* DiscoPOP, 2406.08414: (1-m) sp(-u) + m e^-u, m = s(u / tau). */
static term loss_discopop(const tn_dpo_opt *o, const pair *q) {
    double u = o->beta * (q->a - q->b), z = u / o->discopop_tau, m = tn_sigmoid(z),
           c = tn_sigmoid(-z);
    double ex = tn_exp(tn_logsigmoid(z) - u), sp = tn_softplus(-u); /* ex = m e^-u */
    return of_u(c * sp + ex, -c * tn_sigmoid(-u) - ex + c * (ex - m * sp) / o->discopop_tau,
                o->beta);
}
/* DPOP, 2402.13228: sp(-beta (a - b - lambda max(0, -a))). */
static term loss_dpop(const tn_dpo_opt *o, const pair *q) {
    double u = o->beta * (q->a - q->b - o->dpop_lambda * (q->a < 0 ? -q->a : 0));
    double k = o->beta * tn_sigmoid(-u);
    return (term){tn_softplus(-u), -k * (q->a < 0 ? 1 + o->dpop_lambda : 1), k};
}
/* R-DPO, 2403.19159: sp(-(u + alpha (n_w - n_l))). */
static term loss_r_dpo(const tn_dpo_opt *o, const pair *q) {
    double u = o->beta * (q->a - q->b) + o->length_alpha * (q->n_w - q->n_l);
    return of_u(tn_softplus(-u), -tn_sigmoid(-u), o->beta);
}

enum { SCORES = 1, PER_TOKEN = 2 }; /* sees f(a), f(b); sees them divided by length */
static const struct loss_row {
    const char *name;
    int flags;
    term (*f)(const tn_dpo_opt *, const pair *);
} losses[] = {
    {"sigmoid", SCORES, loss_sigmoid},
    {"sigmoid_norm", SCORES | PER_TOKEN, loss_sigmoid}, /* Tulu 3, 2411.15124 */
    {"robust", SCORES, loss_robust},
    {"hinge", SCORES, loss_hinge},
    {"ipo", SCORES | PER_TOKEN, loss_ipo},
    {"ipo_sum", SCORES, loss_ipo},
    {"exo_pair", SCORES, loss_exo},
    {"nca_pair", 0, loss_nca},
    {"bco_pair", 0, loss_bco},
    {"sppo_hard", 0, loss_sppo_hard},
    {"sppo", 0, loss_sppo},
    {"apo_zero", 0, loss_apo_zero},
    {"apo_down", 0, loss_apo_down},
    {"discopop", SCORES, loss_discopop},
    {"dpop", 0, loss_dpop},
    {"r_dpo", SCORES, loss_r_dpo},
    {"sft", SCORES, NULL}, /* token mean of -l_t over the chosen responses of the whole batch */
};
#define N_LOSSES ((int)(sizeof losses / sizeof losses[0]))
#define MAX_MIX 8

typedef struct mix {
    int n;
    const struct loss_row *row[MAX_MIX];
    double weight[MAX_MIX];
} mix;

static const struct loss_row *find_loss(const char *name) {
    for (int i = 0; i < N_LOSSES; i++)
        if (strcmp(losses[i].name, name) == 0) return &losses[i];
    return NULL;
}

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
        k->row[i] = find_loss(types.v[i]);
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

static tn_status check_row(const tn_dpo_opt *o, const struct loss_row *r, tn_err *e) {
    if (!(r->flags & SCORES) && strcmp(o->f_divergence, "reverse_kl") != 0)
        return tn_fail(e, TN_ARG,
                       "dpo: loss type %s has no form for f-divergence-type %s; use reverse_kl",
                       r->name, o->f_divergence);
    if (r->f == loss_robust && !(o->label_smoothing < 0.5))
        return tn_fail(e, TN_ARG, "dpo: robust needs label-smoothing below 0.5, found %g",
                       o->label_smoothing);
    if (r->f == loss_exo && !(o->label_smoothing > 0))
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
static term pair_loss(const tn_dpo_opt *o, const mix *k, const pair *raw) {
    term sum = {0, 0, 0};
    for (int i = 0; i < k->n; i++) {
        if (!k->row[i]->f) continue;
        pair q = *raw;
        double fa = 1, fb = 1;
        if (k->row[i]->flags & SCORES) {
            score_of(o, raw->a, &q.a, &fa);
            score_of(o, raw->b, &q.b, &fb);
        }
        if (k->row[i]->flags & PER_TOKEN) {
            q.a /= q.n_w, fa /= q.n_w;
            q.b /= q.n_l, fb /= q.n_l;
        }
        term t = k->row[i]->f(o, &q);
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
        pair q = {s_w - ld_sum(x, x->ref_logp, c, shared, tail),
                  s_l - ld_sum(x, x->ref_logp, r, shared, tail), n_w, n_l,
                  x->p_chosen ? x->p_chosen[i] : 1, x->margin ? x->margin[i] : 0};
        term t = pair_loss(o, &k, &q);
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
