/* Preference losses without a reference model. S = sum of l_t, L = S/|y|, N_w = scored tokens of
 * the chosen responses of the whole batch, NLL = -(1/N_w) sum of their l_t, B = pairs. ORPO's NLL
 * has the prompts' tokens, too, with nll = all.
 *
 *   cpo    2401.08417   (1/B) sum f(u) + nll NLL,   u = beta (R_w - R_l)
 *          sigmoid, hinge: R = S;  ipo, simpo: R = L
 *          alpha (AlphaPO, 2501.03884): (1 - e^(-alpha R))/alpha instead of R
 *          sigmoid (1-eps) sp(-u) + eps sp(u)   hinge max(0, 1-u)   ipo (R_w - R_l - 1/(2 beta))^2
 *          simpo   the sigmoid form of u - gamma  (2405.14734, whose nll is 0)
 *   tpo    2405.16681   cpo's terms, but NLL is that of the gold answers beside the pairs; tpo-l is simpo's form
 *   orpo   2403.07691   NLL + beta (1/B) sum sp(-d)
 *          d = lo(L_w) - lo(L_l),  lo(L) = L - log(1 - e^L)
 *   slic   2305.10425   (1/B) sum max(0, delta - S_w + S_l) - lambda S_w                      */
#include "algo/losses.h"
#include "algo/obs.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_cpo_opt, f)
/* CPO's and SimPO's rows differ in defaults alone. */
#define BETA(def) {"beta", TN_OPT_REAL, AT(beta), def, NULL, 0, 1e9, NULL, "X", \
     "Scale of the log-probabilities (2 to 10 for simpo)."}
#define SMOOTHING {"label-smoothing", TN_OPT_REAL, AT(label_smoothing), "0", NULL, 0, 0.5, NULL, \
     "X", "Share of labels taken to be flipped."}
#define NLL(def) {"cpo-alpha", TN_OPT_REAL, AT(nll), def, NULL, 0, 1e9, NULL, "X", \
     "Weight of the negative log-likelihood of chosen responses; SimPO's paper has 0."}
#define GAMMA(def) {"simpo-gamma", TN_OPT_REAL, AT(gamma), def, NULL, 0, 1e9, NULL, "X", \
     "Target margin of simpo; the paper's tables give its ratio to beta (0.1 to 0.8)."}
#define ALPHA {"alpha", TN_OPT_REAL, AT(alpha), "0", NULL, -1e3, 1e3, NULL, "X", \
     "AlphaPO's reward shape; 0 is the plain log-probability."}
const tn_opt_row tn_cpo_rows[] = {
    BETA("0.1"),
    {"loss-type", TN_OPT_CHOICE, AT(loss_type), "sigmoid", "sigmoid|hinge|ipo|simpo", 0, 0, NULL,
     NULL, "Preference term; ipo and simpo use log-probabilities per token."},
    SMOOTHING, NLL("1"), GAMMA("0.5"), ALPHA, TN_OPT_LAST,
};
const tn_opt_row tn_simpo_rows[] = {BETA("2"), SMOOTHING, NLL("0"), GAMMA("1"), ALPHA, TN_OPT_LAST};
const tn_opt_row tn_tpo_rows[] = {
    BETA("0.01"),
    {"loss-type", TN_OPT_CHOICE, AT(loss_type), "sigmoid", "sigmoid|hinge|ipo|tpo-l", 0, 0, NULL, NULL,
     "Preference term; ipo and tpo-l use log-probabilities per token, tpo-l a margin."},
    SMOOTHING,
    {"tpo-alpha", TN_OPT_REAL, AT(nll), "1", NULL, 0, 1e9, NULL, "X",
     "Weight of the negative log-likelihood of gold answers; with 0 they are not read."},
    {"tpo-l-gamma", TN_OPT_REAL, AT(gamma), "0.5", NULL, 0, 1e9, NULL, "X", "Target margin of tpo-l."},
    TN_OPT_LAST};
const tn_opt_row tn_orpo_rows[] = {
    {"beta", TN_OPT_REAL, offsetof(tn_orpo_opt, beta), "0.1", NULL, 0, 1e9, "lambda orpo-lambda",
     "X", "Weight of the odds-ratio term."},
    {"nll", TN_OPT_CHOICE, offsetof(tn_orpo_opt, nll), "all", "all|completion", 0, 0, NULL, NULL,
     "Tokens of the likelihood term: prompt and chosen response (TRL, the authors' code), or the "
     "response alone."},
    TN_OPT_LAST,
};
const tn_opt_row tn_slic_rows[] = {
    {"delta", TN_OPT_REAL, offsetof(tn_slic_opt, delta), "1", NULL, 0, 1e9, NULL, "X",
     "Margin wanted between the log-probabilities."},
    {"lambda", TN_OPT_REAL, offsetof(tn_slic_opt, lambda), "0.1", NULL, 0, 1e9, NULL, "X",
     "Weight of the chosen response's log-probability."},
    TN_OPT_LAST,
};

/* One pair: sums or means of log-probabilities in, derivatives with respect to them out. */
typedef struct side { double s, mean, n; } side;
typedef struct term { double loss, dw, dl; } term; /* d loss / d S_w, d S_l */
typedef term (*pair_fn)(const void *opt, const side *w, const side *l, tn_metrics *m);

static void rewards(double w, double l, tn_metrics *m) {
    tn_metrics_mean(m, "rewards/chosen", w, 1);
    tn_metrics_mean(m, "rewards/rejected", l, 1);
    tn_metrics_mean(m, "rewards/accuracies", w > l, 1);
    tn_metrics_mean(m, "rewards/margins", w - l, 1);
}

static double shaped(double alpha, double r, double *d) {
    *d = alpha != 0 ? tn_exp(-alpha * r) : 1;
    return alpha != 0 ? -tn_expm1(-alpha * r) / alpha : r;
}

/* 2 with a margin, 1 without, 0: sums. */
static int per_token(const tn_cpo_opt *o) {
    if (strcmp(o->loss_type, "simpo") == 0 || strcmp(o->loss_type, "tpo-l") == 0) return 2;
    return strcmp(o->loss_type, "ipo") == 0;
}

static term cpo_pair(const void *opt, const side *w, const side *l, tn_metrics *m) {
    const tn_cpo_opt *o = opt;
    bool simpo = per_token(o) == 2, ipo = strcmp(o->loss_type, "ipo") == 0,
         mean = simpo || ipo;
    double fw, fl, rw = shaped(o->alpha, mean ? w->mean : w->s, &fw),
                   rl = shaped(o->alpha, mean ? l->mean : l->s, &fl);
    double u = o->beta * (rw - rl) - (simpo ? o->gamma : 0), eps = o->label_smoothing, loss, du;
    if (ipo) {
        double d = rw - rl - 0.5 / o->beta;
        loss = d * d, du = 2 * d / o->beta;
    } else if (strcmp(o->loss_type, "hinge") == 0) {
        loss = u < 1 ? 1 - u : 0, du = u < 1 ? -1 : 0;
    } else {
        loss = (1 - eps) * tn_softplus(-u) + eps * tn_softplus(u);
        du = eps * tn_sigmoid(u) - (1 - eps) * tn_sigmoid(-u);
    }
    rewards(o->beta * rw, o->beta * rl, m);
    return (term){loss, o->beta * du * fw / (mean ? w->n : 1),
                  -o->beta * du * fl / (mean ? l->n : 1)};
}

static term orpo_pair(const void *opt, const side *w, const side *l, tn_metrics *m) {
    const tn_orpo_opt *o = opt;
    double d = (w->mean - l->mean) - (tn_log1mexp(w->mean) - tn_log1mexp(l->mean)),
           k = -o->beta * tn_sigmoid(-d);
    rewards(o->beta * w->mean, o->beta * l->mean, m);
    tn_metrics_mean(m, "log_odds_ratio", tn_logsigmoid(d), 1);
    tn_metrics_mean(m, "log_odds_chosen", d, 1);
    /* d lo/dL = 1/(1 - e^L) */
    return (term){o->beta * tn_softplus(-d), -k / (tn_expm1(w->mean) * w->n),
                  k / (tn_expm1(l->mean) * l->n)};
}

static term slic_pair(const void *opt, const side *w, const side *l, tn_metrics *m) {
    const tn_slic_opt *o = opt;
    double gap = o->delta - w->s + l->s, on = gap > 0;
    rewards(w->s, l->s, m);
    return (term){on * gap - o->lambda * w->s, -on - o->lambda, on};
}

static side side_of(const tn_obs *x, int s) {
    double sum = tn_obs_sum(x, x->logp, s), n = tn_obs_len(x, s);
    return (side){sum, sum / n, n};
}
static void give(const tn_obs *x, int s, double d, double *grad) {
    for (int t = x->off[s]; t < x->off[s + 1]; t++) grad[t] += d;
}
static void side_metrics(const tn_obs *x, int s, const char *logits, tn_metrics *m) {
    if (x->mean_logit)
        tn_metrics_mean(m, logits, tn_obs_sum(x, x->mean_logit, s), tn_obs_len(x, s));
    if (x->entropy)
        tn_metrics_mean(m, "entropy", tn_obs_sum(x, x->entropy, s), tn_obs_len(x, s));
}

/* How a loss wants its likelihood term, and its metrics. */
typedef struct form {
    double nll;   /* its weight */
    bool prompts; /* the prompts' tokens count */
    bool means;   /* logps/chosen and logps/rejected are per token, as TRL has them there */
    bool gold;    /* it is that of the gold answers, and of nothing else */
} form;

static tn_status run(const char *who, const void *opt, pair_fn f, form how, const tn_obs *x,
                     tn_grad *g, tn_metrics *m, tn_err *e) {
    TN_TRY(tn_obs_check(x, TN_READ_TOKENS | TN_READ_PAIRS | TN_NEED_LOGP, who, e));
    double loss = 0, here = 0, nll_sum = 0, nll = how.nll;
    if (how.prompts && !x->prompt)
        return tn_fail(e, TN_ARG, "%s: pairs without their prompts", who);
    for (int i = 0; i < x->n_pair; i++) {
        if (how.gold && (!x->gold || x->gold[i] < 0))
            return tn_fail(e, TN_ARG, "%s: pair %d has no gold answer", who, i);
        here += tn_obs_len(x, how.gold ? x->gold[i] : x->chosen[i]);
        if (how.prompts && x->prompt[i] >= 0) here += tn_obs_len(x, x->prompt[i]);
    }
    double all = how.gold ? x->total.gold_tok : x->total.chosen_tok, each = nll != 0 ? nll / all : 0;
    if (nll != 0) TN_TRY(tn_total_check(all, here, how.gold ? "gold tokens" : "chosen tokens", who, e));
    for (int i = 0; i < x->n_pair; i++) {
        int c = x->chosen[i], r = x->rejected[i], liked = how.gold ? x->gold[i] : c;
        side w = side_of(x, c), l = side_of(x, r);
        term t = f(opt, &w, &l, m);
        loss += t.loss;
        nll_sum -= liked == c ? w.s : tn_obs_sum(x, x->logp, liked);
        if (g->logp) {
            give(x, c, t.dw / x->total.pair - (liked == c ? each : 0), g->logp);
            give(x, r, t.dl / x->total.pair, g->logp);
            if (liked != c) give(x, liked, -each, g->logp);
        }
        if (how.prompts && x->prompt[i] >= 0) {
            nll_sum -= tn_obs_sum(x, x->logp, x->prompt[i]);
            if (g->logp) give(x, x->prompt[i], -each, g->logp);
        }
        tn_metrics_mean(m, "logps/chosen", how.means ? w.mean : w.s, 1);
        tn_metrics_mean(m, "logps/rejected", how.means ? l.mean : l.s, 1);
        side_metrics(x, c, "logits/chosen", m);
        side_metrics(x, r, "logits/rejected", m);
        if (liked == c) continue;
        if (x->entropy) tn_metrics_mean(m, "entropy", tn_obs_sum(x, x->entropy, liked), tn_obs_len(x, liked));
        if (x->top1) tn_metrics_mean(m, "mean_token_accuracy", tn_obs_sum(x, x->top1, c), tn_obs_len(x, c));
    }
    g->loss = loss / x->total.pair + (nll != 0 ? each * nll_sum : 0);
    tn_metrics_mean(m, "nll_loss", nll_sum, here);
    return TN_OK;
}

static tn_status positive(double beta, const char *who, tn_err *e) {
    if (beta > 0 && beta < HUGE_VAL) return TN_OK;
    return tn_fail(e, TN_ARG, "%s: beta is %g, expected a number above 0", who, beta);
}
static tn_status check_cpo(const tn_cpo_opt *o, const char *who, tn_err *e) {
    TN_TRY(positive(o->beta, who, e));
    TN_TRY(tn_opt_between(o->label_smoothing, 0, 0.5, who, "label-smoothing", e));
    return tn_opt_between(o->nll, 0, HUGE_VAL, who, who[0] == 't' ? "tpo-alpha" : "cpo-alpha", e);
}
static tn_status cpo_step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_cpo_opt *o = opt;
    TN_TRY(check_cpo(o, "cpo", e));
    return run("cpo", o, cpo_pair, (form){.nll = o->nll, .means = per_token(o)}, x, g, m, e);
}
static tn_status tpo_step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_cpo_opt *o = opt;
    TN_TRY(check_cpo(o, "tpo", e));
    return run("tpo", o, cpo_pair, (form){.nll = o->nll, .means = per_token(o), .gold = o->nll != 0}, x, g, m, e);
}
static unsigned orpo_needs(const void *opt) {
    return strcmp(((const tn_orpo_opt *)opt)->nll, "all") == 0 ? TN_NEED_PROMPT : 0;
}
static tn_status orpo_step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_orpo_opt *o = opt;
    TN_TRY(positive(o->beta, "orpo", e));
    TN_TRY(tn_obs_check(x, TN_READ_TOKENS | TN_READ_PAIRS | TN_NEED_LOGP, "orpo", e));
    for (int i = 0; i < 2 * x->n_pair; i++) {
        int s = i % 2 ? x->rejected[i / 2] : x->chosen[i / 2];
        if (!(tn_obs_sum(x, x->logp, s) < 0))
            return tn_fail(e, TN_NUMERIC,
                           "orpo: sequence %d has probability 1, whose odds are infinite", s);
    }
    return run("orpo", o, orpo_pair, (form){.nll = 1, .prompts = orpo_needs(o) != 0, .means = true}, x, g, m, e);
}
static tn_status slic_step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_slic_opt *o = opt;
    TN_TRY(tn_opt_between(o->delta, 0, HUGE_VAL, "slic", "delta", e));
    TN_TRY(tn_opt_between(o->lambda, 0, HUGE_VAL, "slic", "lambda", e));
    return run("slic", o, slic_pair, (form){0}, x, g, m, e);
}

#define NEEDS (TN_NEED_LOGP | TN_NEED_ENTROPY | TN_NEED_STATS)
const tn_algo tn_algo_cpo = {
    .name = "cpo",
    .summary = "contrastive preference optimisation without a reference (CPO, SimPO)",
    .coupling = TN_COUPLE_PAIR,
    .needs = NEEDS,
    .options = tn_cpo_rows,
    .opt_size = sizeof(tn_cpo_opt),
    .step = cpo_step,
};
const tn_algo tn_algo_tpo = {
    .name = "tpo",
    .summary = "pairs without a reference beside gold answers (TPO)",
    .coupling = TN_COUPLE_PAIR,
    .needs = NEEDS,
    .options = tn_tpo_rows,
    .opt_size = sizeof(tn_cpo_opt),
    .step = tpo_step,
};
const tn_algo tn_algo_orpo = {
    .name = "orpo",
    .summary = "supervised fine-tuning with an odds-ratio penalty",
    .coupling = TN_COUPLE_PAIR,
    .needs = NEEDS,
    .options = tn_orpo_rows,
    .opt_size = sizeof(tn_orpo_opt),
    .step = orpo_step,
    .more_needs = orpo_needs,
};
const tn_algo tn_algo_slic = {
    .name = "slic",
    .summary = "hinge on sequence log-probabilities (SLiC-HF)",
    .coupling = TN_COUPLE_PAIR,
    .needs = NEEDS,
    .options = tn_slic_rows,
    .opt_size = sizeof(tn_slic_opt),
    .step = slic_step,
};
