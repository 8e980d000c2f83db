/* Several reward models at once: what k members say of a response made into one score (Coste et al.
 * 2023, 2310.02743; Eisenstein et al. 2023, 2312.09244), and members averaged into one model (WARM,
 * Rame et al. 2024, 2401.12187). Bring members to one scale first (tn_reward_normaliser): the least
 * of uncentred members is the one with the lowest offset, and lambda has the unit 1/score. Best of
 * n among combined scores: tn_top. */
#ifndef TN_ALGO_ENSEMBLE_H
#define TN_ALGO_ENSEMBLE_H
#include "algo/algo.h"

#define TN_ENSEMBLE_MAX 64
typedef enum tn_ensemble {
    TN_ENSEMBLE_MEAN,
    TN_ENSEMBLE_WORST,  /* min_i r_i */
    TN_ENSEMBLE_UWO,    /* mean - lambda var */
    TN_ENSEMBLE_STD,    /* mean - lambda std */
    TN_ENSEMBLE_MEDIAN
} tn_ensemble;
typedef struct tn_ensemble_opt {
    const char *how;
    double lambda;
    int64_t ddof; /* of var and std: 0 (best of n in Coste et al.) or 1 (their PPO) */
} tn_ensemble_opt;
extern const tn_opt_row tn_ensemble_rows[];

/* Of k scores, 1 <= k <= TN_ENSEMBLE_MAX, k > ddof for UWO and STD. grad[k] (NULL: not wanted): the
 * derivative, by member; of WORST 1 at the first of the least, of UWO 1/k - 2 lambda (r_i -
 * mean)/(k - ddof). */
double tn_ensemble_combine(tn_ensemble how, double lambda, int ddof, const double *r, int k,
                           double *grad);
/* member [n][k] -> score[n]. Emits ensemble/std, the mean of the members' standard deviation (ddof
 * 0): it grows where a policy leaves what they were trained on. TN_NUMERIC for scores that are not
 * finite. */
tn_status tn_ensemble_scores(const tn_ensemble_opt *o, const double *member, int n, int k,
                             double *score, tn_metrics *m, tn_err *e);

/* Averages of weights, computed in double and rounded once. WARM: members fine-tuned from one
 * initialisation, heads included; out may be one of them. */
void tn_weights_mean(float *out, const float *const *member, int k, size_t n);
/* ema <- decay ema + (1 - decay) w, after every step (a moving reference or evaluation model). */
void tn_weights_ema(float *ema, const float *w, size_t n, double decay);
#endif
