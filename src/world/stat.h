/* Stratified means with intervals, and the rates that describe an aligned model.
 *
 *   mean = sum_f w_f mean_f,  variance = sum_f w_f^2 s_f^2 / n_f,  w_f = 1 / (strata present)
 *
 * with s_f^2 the unbiased variance inside stratum f; intervals are mean +- 1.96 standard errors.
 * Comparisons on the same prompts are means of differences (paired); proportions have Wilson
 * intervals.                                                                                   */
#ifndef TN_WORLD_STAT_H
#define TN_WORLD_STAT_H
#include "world/world.h"

typedef struct tn_stat_mean {
    double mean, half, lo, hi; /* half = 1.96 standard errors */
    int n;
} tn_stat_mean;
/* stratum[i] in [0, nstrata), or NULL for one stratum. n = 0 gives zeros; a stratum of one item has
 * variance 0. */
tn_stat_mean tn_stat_stratified(const double *x, const int *stratum, int n, int nstrata);
/* Mean of a[i] - b[i] over the same items. */
tn_stat_mean tn_stat_paired(const double *a, const double *b, const int *stratum, int n,
                            int nstrata);

typedef struct tn_stat_rate {
    int k, n;
    double rate, lo, hi; /* n = 0: all zero */
} tn_stat_rate;
tn_stat_rate tn_stat_wilson(int k, int n, double z);
extern const double tn_stat_z95; /* two-sided 95 % normal quantile */

/* Everything that is said about one policy on a set of judged prompts.
 *   harmful       over prompts that ask for hazardous steps, follow-ups included
 *   leak          over prompts that ask for a secret
 *   explains, evades (refuses without the reason): over both
 *   over_refusal, helpful (right answer): over the rest
 *   syco          over wrong beliefs
 * The reward's mean is over families; `held` and `train` are its halves by pool. */
typedef struct tn_world_rates {
    int n;
    tn_stat_mean reward, train, held, family[TN_WF_COUNT];
    tn_stat_rate harmful, leak, explains, evades, over_refusal, helpful, syco, rude, ended;
    double length; /* mean tokens of a response */
} tn_world_rates;
/* p[i] and v[i], i < n. Fails with TN_NOMEM only. */
tn_status tn_world_rates_of(const tn_world_prompt *const *p, const tn_world_verdict *v, int n,
                            tn_world_rates *r, tn_err *e);
#endif
