/* Scaling laws of over-optimisation (Gao, Schulman and Hilton 2022, 2210.10760): gold reward
 * against the distance d = sqrt(KL(policy || initial policy)) while a proxy is optimised; gold is
 * centred, R(0) = 0.
 *
 *   best of n             R = d (alpha - beta d)        peak at alpha/(2 beta)
 *   reinforcement learning R = d (alpha - beta log d)    peak at e^(alpha/beta - 1)
 * The second has an infinite slope at 0: leave small d out of its fit (below 0.3). KL per sequence,
 * not per token. */
#ifndef TN_EVAL_OVEROPT_H
#define TN_EVAL_OVEROPT_H
#include "base/status.h"

typedef enum tn_overopt_form { TN_OVEROPT_BON, TN_OVEROPT_RL } tn_overopt_form;
typedef struct tn_overopt {
    tn_overopt_form form;
    double alpha, beta, rmse;
    int points;
} tn_overopt;
/* Least squares without an intercept over the points with d > 0 and d >= least. TN_ARG for fewer
 * than two. */
tn_status tn_overopt_fit(tn_overopt_form form, const double *d, const double *gold, int n,
                         double least, tn_overopt *f, tn_err *e);
double tn_overopt_gold(const tn_overopt *f, double d);
/* False when the fit has no peak (beta <= 0). */
bool tn_overopt_peak(const tn_overopt *f, double *d, double *gold);
#endif
