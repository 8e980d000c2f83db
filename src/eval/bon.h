/* Best of n as a measured method: from one pool of N samples to each prompt, what a gold judge and a proxy think of the
 * best of n <= N by the proxy, over all subsets (tn_bon_estimate), against d = sqrt(KL), KL = log n - (n - 1)/n, which is
 * an upper bound where samples repeat; and Gao, Schulman and Hilton's curve through it (overopt.h), with intervals from
 * resampled prompts. */
#ifndef TN_EVAL_BON_H
#define TN_EVAL_BON_H
#include "eval/overopt.h"
#include "world/stat.h"

enum { TN_BON_POINTS = 24, TN_BON_RESAMPLES = 400 };
typedef struct tn_bon_point {
    int n;
    double kl, d;
    tn_stat_mean gold, proxy, gain; /* gain: gold less that of n = 1, on the same prompts */
} tn_bon_point;
typedef struct tn_bon_curve {
    int n_point;
    tn_bon_point point[TN_BON_POINTS]; /* n = 1, 2, 4, ..., and N */
    bool fitted;                       /* three points of d > 0 at least */
    tn_overopt fit;                    /* through the gains */
    double alpha_lo, alpha_hi, beta_lo, beta_hi; /* 95 %: quantiles over resampled prompts */
} tn_bon_curve;

/* gold, proxy [n_prompt][n_sample]; stratum [n_prompt] in [0, n_strata). Resamples stay inside a stratum and are a
 * function of `seed`. TN_ARG for fewer than two samples or no prompt, TN_NUMERIC for a proxy that is not a number. */
tn_status tn_bon_curve_of(const double *gold, const double *proxy, int n_prompt, int n_sample, const int *stratum,
                          int n_strata, uint64_t seed, tn_bon_curve *c, tn_err *e);
#endif
