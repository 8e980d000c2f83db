/* Option structs of the losses, and the rows that fill them (defined in the loss's own file). */
#ifndef TN_ALGO_LOSSES_H
#define TN_ALGO_LOSSES_H
#include "algo/algo.h"

extern const tn_opt_row tn_sft_rows[], tn_reward_rows[], tn_dpo_rows[], tn_tdpo_rows[], tn_kto_rows[], tn_cpo_rows[],
    tn_simpo_rows[] /* of tn_cpo_opt, without its loss_type */, tn_orpo_rows[], tn_slic_rows[], tn_ppo_policy_rows[], tn_ppo_value_rows[], tn_grpo_rows[],
    tn_rloo_rows[], tn_gkd_rows[], tn_sdft_rows[] /* of tn_gkd_opt, under the names of TRL's SDFT */, tn_a2po_rows[], tn_xpo_rows[],
    tn_tpo_rows[] /* of tn_cpo_opt, without alpha */;

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
    double rpo_alpha;       /* NaN: off */
} tn_dpo_opt;

typedef struct tn_kto_opt {
    double beta, desirable, undesirable;
    const char *loss_type;  /* kto | apo_zero_unpaired | bco */
} tn_kto_opt;
/* KTO's reference point: max(0, mean of S - S_ref) over mismatched pairs (prompt i, completion of
 * another prompt), of the whole batch. Sums over scored tokens. */
double tn_kto_baseline(const double *logp, const double *ref_logp, int n);
/* BCO's: running mean of beta (S - S_ref) of all responses; the batch is added first. State is the
 * sum and the count. */
typedef struct tn_bco_state { double sum, count; } tn_bco_state;
double tn_bco_baseline(tn_bco_state *st, double beta, const double *logp, const double *ref_logp,
                       int n);
/* Weight of desirable responses such that weight n_d / (undesirable n_u) = ratio (1 to 3/2). */
double tn_kto_balance(double n_desirable, double n_undesirable, double undesirable, double ratio);

typedef struct tn_cpo_opt {
    double beta;
    const char *loss_type;  /* sigmoid | hinge | ipo | simpo; of tpo: tpo-l for simpo */
    double label_smoothing, nll, gamma, alpha;
} tn_cpo_opt;

typedef struct tn_orpo_opt {
    double beta;
    const char *nll;        /* all | completion */
} tn_orpo_opt;
typedef struct tn_slic_opt { double delta, lambda; } tn_slic_opt;

typedef struct tn_gkd_opt {
    double beta;
    const char *reduction; /* token_mean (NULL) | sequence_mean */
} tn_gkd_opt;
typedef struct tn_tdpo_opt {
    double beta;
    const char *loss_type;  /* tdpo1 | tdpo2 */
    double alpha;           /* of tdpo2 */
} tn_tdpo_opt;

typedef struct tn_grpo_opt {
    const char *loss_type;  /* dapo | bnpo | grpo | dr_grpo | luspo | cispo | sapo | vespo | gmpo */
    const char *level;      /* token | sequence */
    double epsilon, epsilon_high, delta; /* NaN: the type's own, epsilon, off */
    double beta;            /* of k3 to the reference, in the loss */
    double entropy_coef;
    int64_t max_completion; /* dr_grpo's constant length */
    double sapo_pos, sapo_neg;
    double log_ratio_clamp;
    bool bias_correction;   /* k3 times the ratio, differentiated too */
    double off_policy;      /* bound of mean (old - l) where A < 0; not > 0: off */
    double vespo_k_pos, vespo_lambda_pos, vespo_k_neg, vespo_lambda_neg;
    double top_entropy;     /* share of tokens kept; who calls turns it into the floor */
    double entropy_floor;   /* no option: tokens of less entropy stay out of p_t; 0: none do */
} tn_grpo_opt;

/* Do the options go together? Every step asks, too. */
tn_status tn_grpo_check(const tn_grpo_opt *o, tn_err *e);

/* The entropy that a share `top` of the n tokens reaches: the (1 - top) quantile, interpolated
 * (2506.01939). Reorders its input. */
double tn_entropy_floor(double *entropy, int n, double top);

typedef struct tn_xpo_opt {
    double beta;
    const char *loss_type;  /* sigmoid | ipo */
    double alpha;           /* of the reference's log-prob */
} tn_xpo_opt;

typedef struct tn_a2po_opt { double beta2; } tn_a2po_opt;

typedef struct tn_rloo_opt { double epsilon, epsilon_high; } tn_rloo_opt;

typedef struct tn_ppo_policy_opt {
    double clip;            /* epsilon, low side and high side unless clip_high is given */
    double clip_high;       /* NaN: as clip */
    double dual_clip;       /* 0: off */
    double entropy_coef;
    double log_ratio_clamp;
    const char *reduction;  /* token_mean | sequence_mean */
} tn_ppo_policy_opt;

typedef struct tn_ppo_value_opt {
    double clip;            /* 0: off */
    double coef;
    const char *reduction;
} tn_ppo_value_opt;
#endif
