#include "algo/feedback.h"
#include "base/mathx.h"
#include <math.h>
#include <string.h>

static double logit(double p) { return tn_log(p) - tn_log1p(-p); }

double tn_label_soft(double logp_a, double logp_b) { return tn_sigmoid(logp_a - logp_b); }
double tn_label_clamp(double p, double lo, double hi) { return p < lo ? lo : p > hi ? hi : p; }

double tn_label_swapped(double p1, double p2, tn_swap_mean how) {
    if (how == TN_SWAP_PROBS) return 0.5 * (p1 + (1 - p2));
    return tn_sigmoid(0.5 * (logit(p1) - logit(p2)));
}

double tn_label_position_bias(double p1, double p2, tn_swap_mean how) {
    return how == TN_SWAP_PROBS ? 0.5 * (p1 + p2) - 0.5 : 0.5 * (logit(p1) + logit(p2));
}

tn_status tn_label_ensemble(const double *p, const double *w, int n, double *out, tn_err *e) {
    double sum = 0, all = 0;
    for (int i = 0; i < n; i++) {
        if (!(w[i] >= 0) || !isfinite(w[i])) return tn_fail(e, TN_ARG, "weight %d of a label's principles is %g", i, w[i]);
        sum += w[i] * p[i];
        all += w[i];
    }
    if (!(all > 0)) return tn_fail(e, TN_ARG, "the weights of a label's %d principles are all 0", n);
    *out = sum / all;
    return TN_OK;
}

double tn_label_cot(const double *p, int n, double lo, double hi, tn_cot_mean how) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += how == TN_COT_CLAMP_THEN_MEAN ? tn_label_clamp(p[i], lo, hi) : p[i];
    return how == TN_COT_MEAN_THEN_CLAMP ? tn_label_clamp(sum / n, lo, hi) : sum / n;
}

double tn_label_entropy(double p) {
    double h = 0;
    if (p > 0) h -= p * tn_log(p);
    if (p < 1) h -= (1 - p) * tn_log1p(-p);
    return h;
}

tn_status tn_direct_score(const double likelihood[10], double *score, double *reward, tn_err *e) {
    double sum = 0, all = 0;
    for (int i = 0; i < 10; i++) {
        if (!(likelihood[i] >= 0)) return tn_fail(e, TN_ARG, "the likelihood of score %d is %g", i + 1, likelihood[i]);
        sum += (i + 1) * likelihood[i];
        all += likelihood[i];
    }
    if (!(all > 0)) return tn_fail(e, TN_ARG, "the judge gives none of the scores 1 to 10 any likelihood");
    *score = sum / all;
    *reward = (*score - 5.5) / 4.5;
    return TN_OK;
}

double tn_label_alignment(const double *p, const int *human, int n, int options) {
    int same = 0;
    for (int i = 0; i < n; i++) {
        int best = 0;
        for (int k = 1; k < options; k++)
            if (p[i * options + k] > p[i * options + best]) best = k;
        same += best == human[i];
    }
    return (double)same / n;
}

double tn_relative_reduction(double before, double after) { return (before - after) / before; }

bool tn_self_reward_pair(const double *score, int n, int judgements, double *mean, int *chosen, int *rejected) {
    *chosen = *rejected = 0;
    for (int i = 0; i < n; i++) {
        mean[i] = 0;
        for (int k = 0; k < judgements; k++) mean[i] += score[i * judgements + k];
        mean[i] /= judgements;
        if (mean[i] > mean[*chosen]) *chosen = i;
        if (mean[i] < mean[*rejected]) *rejected = i;
    }
    return mean[*chosen] > mean[*rejected];
}

double tn_rbr_hinge(const double *x, const double *rm, int n, int k, const double *w, const int (*pair)[2], int pairs, double margin,
                    double *total, double *per_pair, double *grad) {
    double loss = 0;
    memset(grad, 0, (size_t)k * sizeof *grad);
    for (int i = 0; i < n; i++) {
        total[i] = rm[i];
        for (int j = 0; j < k; j++) total[i] += w[j] * x[i * k + j];
    }
    for (int p = 0; p < pairs; p++) {
        int better = pair[p][0], worse = pair[p][1];
        double short_by = margin + total[worse] - total[better];
        per_pair[p] = short_by > 0 ? short_by : 0;
        loss += per_pair[p] / pairs;
        for (int j = 0; j < k && short_by > 0; j++) grad[j] += (x[worse * k + j] - x[better * k + j]) / pairs;
    }
    return loss;
}

tn_principle_score tn_principle_score_of(const tn_principle_votes *v, double min_relevance) {
    double said = v->for_ + v->against, all = said + v->abstain + v->invalid;
    tn_principle_score s = {said > 0 ? v->for_ / said : 0, all > 0 ? said / all : 0, v->for_ - v->against, false};
    s.keep = s.net > 0 && s.relevance >= min_relevance;
    return s;
}

double tn_group_consensus(const double *agree, const double *seen, int groups) {
    double g = 1;
    for (int i = 0; i < groups; i++) g *= (agree[i] + 1) / (seen[i] + 2);
    return g;
}
