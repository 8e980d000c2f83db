/* Reward model with length in a head of its own (ODIN, Chen et al. 2024, 2402.07319): Q the quality
 * score, L the length head's (extra), n the responses' lengths, rho Pearson's correlation over all
 * responses of the batch; BT is reward.c on Q + L.
 *
 *   paper  BT + lambda (|rho(Q, n)| - rho(L, n))
 *   code   BT + lambda (|rho(Q, n)| + 1 - rho(L, n) + |rho(Q + L, n)|)
 *   d rho(x, y)/d x_i = ((y_i - y)/s_y - rho (x_i - x)/s_x) / s_x,   s = root of the sum of squares
 * A correlation with something constant is 0 and has no gradient. The price of overlapping heads is
 * the head's penalty (pooled_odin.c). Rho of a few responses is noise: use large batches. */
#include "algo/losses.h"
#include "algo/obs.h"
#include "algo/pooled.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_odin_opt, f)
const tn_opt_row tn_odin_rows[] = {
    {"length-weight", TN_OPT_REAL, AT(length), "1", NULL, 0, 1e9, "correlation-with-length", "X",
     "Price of the quality head's correlation with the length, and prize of the length head's."},
    {"ortho-weight", TN_OPT_REAL, AT(ortho), "1", NULL, 0, 1e9, NULL, "X",
     "Price of the overlap |W_quality . W_length| of the two heads."},
    {"odin-form", TN_OPT_CHOICE, AT(form), "paper", "paper|code", 0, 0, NULL, NULL,
     "The paper's loss, or the authors' code: the sum of both heads may not correlate with length, "
     "either, and overlap is measured between normalised heads."},
    TN_OPT_LAST,
};

/* One of the correlated numbers: a x score + b x extra. */
typedef struct mixed {
    const tn_obs *x;
    double a, b;
} mixed;
static double at(const mixed *v, int s) {
    return (v->a != 0 ? v->a * v->x->score[s] : 0) + (v->b != 0 ? v->b * v->x->extra[s] : 0);
}

typedef struct pearson {
    double rho, mean, root, len_mean, len_root;
} pearson;

static pearson correlate(const mixed *v) {
    int n = v->x->n_seq;
    double xx = 0, yy = 0, xy = 0;
    pearson p = {0};
    for (int s = 0; s < n; s++) p.mean += at(v, s) / n, p.len_mean += v->x->length[s] / n;
    for (int s = 0; s < n; s++) {
        double dx = at(v, s) - p.mean, dy = v->x->length[s] - p.len_mean;
        xx += dx * dx, yy += dy * dy, xy += dx * dy;
    }
    p.root = sqrt(xx), p.len_root = sqrt(yy);
    p.rho = xx > 0 && yy > 0 ? xy / (p.root * p.len_root) : 0;
    return p;
}

/* Adds w rho(a Q + b L, n), or w |rho|, to the loss; returns rho. */
static double add_rho(mixed v, double w, bool absolute, double *loss, tn_grad *g) {
    pearson p = correlate(&v);
    if (absolute && p.rho < 0) w = -w;
    *loss += w * p.rho;
    if (!(p.root > 0 && p.len_root > 0)) return p.rho;
    for (int s = 0; s < v.x->n_seq; s++) {
        double dx = (at(&v, s) - p.mean) / p.root, dy = (v.x->length[s] - p.len_mean) / p.len_root;
        double d = w * (dy - p.rho * dx) / p.root;
        if (g->score) g->score[s] += v.a * d;
        if (g->extra) g->extra[s] += v.b * d;
    }
    return p.rho;
}

/* BT on the sum of both heads, pair by pair through reward.c's step on a pair of its own. */
static tn_status pairs(const tn_obs *x, double *loss, tn_grad *g, tn_metrics *m, tn_err *e) {
    static const tn_reward_opt plain = {0, 0, 0, 1, "pairs", "drop"};
    static const int off[3], first = 0, second = 1;
    for (int i = 0; i < x->n_pair; i++) {
        int c = x->chosen[i], r = x->rejected[i];
        double sum[2] = {x->score[c] + x->extra[c], x->score[r] + x->extra[r]}, d[2] = {0};
        tn_obs one = {.n_seq = 2,
                      .off = off,
                      .score = sum,
                      .n_pair = 1,
                      .chosen = &first,
                      .rejected = &second,
                      .margin = x->margin ? x->margin + i : NULL,
                      .p_chosen = x->p_chosen ? x->p_chosen + i : NULL,
                      .total = x->total};
        tn_grad mine = {.score = d};
        TN_TRY(tn_algo_reward.step(&plain, &one, &mine, m, e));
        *loss += mine.loss;
        if (g->score) g->score[c] += d[0], g->score[r] += d[1];
        if (g->extra) g->extra[c] += d[0], g->extra[r] += d[1];
        tn_metrics_mean(m, "accuracy_quality", x->score[c] > x->score[r], 1);
    }
    return TN_OK;
}

static tn_status check(const tn_odin_opt *o, const tn_obs *x, tn_err *e) {
    TN_TRY(tn_opt_between(o->length, 0, HUGE_VAL, "odin", "length-weight", e));
    TN_TRY(tn_obs_check(x, TN_READ_PAIRS | TN_NEED_SCORE | TN_NEED_LENGTH, "odin", e));
    TN_TRY(tn_extra_check(x, 1, "odin", e));
    if (x->n_pair == x->total.pair) return TN_OK;
    return tn_fail(e, TN_ARG,
                   "odin: correlations are of the whole batch, this call has %d of %g pairs",
                   x->n_pair, x->total.pair);
}

static tn_status step(const void *opt, const tn_obs *x, tn_grad *g, tn_metrics *m, tn_err *e) {
    const tn_odin_opt *o = opt;
    TN_TRY(check(o, x, e));
    double loss = 0, w = o->length;
    bool code = o->form && strcmp(o->form, "code") == 0;
    TN_TRY(pairs(x, &loss, g, m, e));
    double quality = add_rho((mixed){x, 1, 0}, w, true, &loss, g);
    double length = add_rho((mixed){x, 0, 1}, -w, false, &loss, g);
    tn_metrics_put(m, TN_METRIC_MEAN, "length_correlation/quality", quality);
    tn_metrics_put(m, TN_METRIC_MEAN, "length_correlation/length", length);
    if (code) {
        double both = add_rho((mixed){x, 1, 1}, w, true, &loss, g);
        tn_metrics_put(m, TN_METRIC_MEAN, "length_correlation/sum", both);
        loss += w;
    }
    g->loss = loss;
    return TN_OK;
}

const tn_algo tn_algo_odin = {
    .name = "odin",
    .summary = "reward model with length in a head of its own (ODIN)",
    .coupling = TN_COUPLE_BATCH,
    .needs = TN_NEED_SCORE | TN_NEED_EXTRA | TN_NEED_LENGTH,
    .options = tn_odin_rows,
    .opt_size = sizeof(tn_odin_opt),
    .step = step,
};
