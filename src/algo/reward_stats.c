/* Accuracy, calibration and normalisation of reward scores; see reward.h. */
#include "algo/reward.h"
#include <math.h>

double tn_reward_accuracy(const double *chosen, const double *rejected, int n) {
    int right = 0;
    for (int i = 0; i < n; i++) right += chosen[i] > rejected[i];
    return n > 0 ? (double)right / n : NAN;
}

static int bin_of(double c, const double *edges, int n_bin) {
    for (int b = 0; b < n_bin; b++)
        if (c >= edges[b] && (c < edges[b + 1] || (b == n_bin - 1 && c <= edges[n_bin]))) return b;
    return -1;
}

tn_status tn_calibration(const double *confidence, const int *correct, int n, const double *edges,
                         int n_bin, double *ece, double *brier, tn_err *e) {
    if (n < 1 || n_bin < 1)
        return tn_fail(e, TN_ARG, "calibration: %d values in %d bins", n, n_bin);
    double sq = 0, gap = 0;
    for (int i = 0; i < n; i++) {
        if (bin_of(confidence[i], edges, n_bin) < 0)
            return tn_fail(e, TN_ARG, "calibration: confidence %d is %g, expected %g to %g", i,
                           confidence[i], edges[0], edges[n_bin]);
        double d = confidence[i] - correct[i];
        sq += d * d;
    }
    for (int b = 0; b < n_bin; b++) {
        double sum = 0; /* of confidence - correct over the bin */
        for (int i = 0; i < n; i++)
            if (bin_of(confidence[i], edges, n_bin) == b) sum += confidence[i] - correct[i];
        gap += fabs(sum);
    }
    *ece = gap / n;
    *brier = sq / n;
    return TN_OK;
}

tn_status tn_reward_normaliser(const double *score, int n, bool shift_only, double mean, double std,
                               double *gain, double *bias, tn_err *e) {
    if (n < 1) return tn_fail(e, TN_ARG, "reward normalisation: no reference scores");
    double mu = 0, var = 0;
    for (int i = 0; i < n; i++) mu += score[i];
    mu /= n;
    for (int i = 0; i < n; i++) var += (score[i] - mu) * (score[i] - mu);
    var /= n;
    if (!isfinite(mu) || !isfinite(var))
        return tn_fail(e, TN_NUMERIC, "reward normalisation: reference scores are not finite");
    if (!shift_only && !(var > 0))
        return tn_fail(e, TN_ARG,
                       "reward normalisation: all %d reference scores are %g; use the shift only",
                       n, mu);
    *gain = shift_only ? 1 : std / sqrt(var);
    *bias = mean - *gain * mu;
    return TN_OK;
}

void tn_reward_combine(const double *safety, const double *help, const int *is_safety, int n,
                       double threshold, double *out) {
    for (int i = 0; i < n; i++)
        out[i] = is_safety[i] || safety[i] < threshold ? safety[i] : help[i];
}

double tn_logit(double p) { return tn_log(p) - tn_log1p(-p); }
