/* What every loss does with its input before it computes: presence, shape, finite numbers. */
#ifndef TN_ALGO_OBS_H
#define TN_ALGO_OBS_H
#include "algo/algo.h"

enum { /* beyond TN_NEED_*: the parts of tn_obs that only some losses read */
    TN_READ_TOKENS = 1 << 16,    /* offsets; every sequence has a scored token */
    TN_READ_OLD_VALUE = 1 << 17,
    TN_READ_RET = 1 << 18,
    TN_READ_PAIRS = 1 << 19,
    TN_READ_GROUPS = 1 << 20
};

/* reads: TN_NEED_* of arrays that must be there, and TN_READ_*. TN_NEED_STATS is not checked:
 * metrics leave out what is absent. */
tn_status tn_obs_check(const tn_obs *x, unsigned reads, const char *who, tn_err *e);

/* The whole batch's count, a denominator, must be there and cover this call's. */
tn_status tn_total_check(double total, double here, const char *what, const char *who, tn_err *e);

/* TN_ARG unless lo <= v <= hi (so NaN fails). */
tn_status tn_opt_between(double v, double lo, double hi, const char *who, const char *name,
                         tn_err *e);

static inline int tn_obs_len(const tn_obs *x, int s) { return x->off[s + 1] - x->off[s]; }
/* Sum over the scored tokens of sequence s. */
static inline double tn_obs_sum(const tn_obs *x, const double *v, int s) {
    double sum = 0;
    for (int t = x->off[s]; t < x->off[s + 1]; t++) sum += v[t];
    return sum;
}
/* A metric that is the mean of a per-token array over all tokens; nothing when v is NULL. */
void tn_obs_token_metric(const tn_obs *x, const double *v, const char *name, tn_metrics *m);
#endif
