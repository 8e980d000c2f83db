/* Option structs of the losses; the rows that fill them stand in the loss's own file. */
#ifndef TN_ALGO_LOSSES_H
#define TN_ALGO_LOSSES_H
#include "algo/algo.h"

typedef struct tn_sft_opt {
    const char *loss_type; /* nll | dft */
    const char *reduction; /* token_mean | sequence_mean */
} tn_sft_opt;

typedef struct tn_reward_opt {
    double center;          /* eta of eta (r_c + r_r)^2 */
    double l2;              /* c of c mean r^2 */
    double label_smoothing;
    double tie_theta;       /* pairs, Rao-Kupper; 1: no tie model */
    const char *ranking;    /* groups: pairs | plackett_luce | best */
    const char *ties;       /* groups, pairs: drop | half */
} tn_reward_opt;

typedef struct tn_dpo_opt {
    double beta;
    tn_opt_list loss_type, loss_weights;
    double label_smoothing;
    const char *f_divergence;
    double f_alpha;
    double ld_alpha;        /* NaN: off */
    bool weighting, weighting_clip;
    double margin_scale, bco_delta, discopop_tau, dpop_lambda, length_alpha;
} tn_dpo_opt;

typedef struct tn_ppo_policy_opt {
    double clip;            /* epsilon, low side and high side unless clip_high is given */
    double clip_high;       /* NaN: as clip */
    double dual_clip;       /* 0: off */
    double entropy_coef;
    double log_ratio_clamp;
} tn_ppo_policy_opt;

typedef struct tn_ppo_value_opt {
    double clip;            /* 0: off */
    double coef;
} tn_ppo_value_opt;
#endif
