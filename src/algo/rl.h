/* What on-policy training computes between sampling and the losses: KL estimates, per-token
 * rewards, advantages, whitening, controllers. Sequences own consecutive tokens as in tn_obs:
 * off[n_seq + 1]. Everything is plain arithmetic in double, in index order.                 */
#ifndef TN_ALGO_RL_H
#define TN_ALGO_RL_H
#include "algo/algo.h"

/* KL(pi || ref) from one sampled token: kl.c. */
typedef enum tn_kl { TN_KL_K1, TN_KL_K2, TN_KL_K3 } tn_kl;
tn_status tn_kl_parse(const char *name, tn_kl *k, tn_err *e); /* "k1" "k2" "k3" */
double tn_kl_value(tn_kl k, double logp, double ref_logp);
double tn_kl_grad(tn_kl k, double logp, double ref_logp);     /* d value / d logp */

/* rho = exp(clamp(logp - old_logp, -clamp, clamp)); *flat: the clamp holds, so no gradient. */
double tn_ratio(double logp, double old_logp, double clamp, bool *flat);

/* clip_ratio/{low,high,region}_mean, low_min, high_max from one response: how many of its n ratios
 * were clipped below and above. */
void tn_clip_metrics(double low, double high, double n, tn_metrics *m);

/* KL coefficient. State is one number, plain data: a checkpoint stores it as it is. */
typedef struct tn_kl_control { double coef; } tn_kl_control;
/* Adaptive (Ziegler et al. 2019): coef *= 1 + clip(kl/target - 1, -0.2, 0.2) n / horizon;
 * kl is the mean over sequences of the sum over tokens, n the sequences of the batch.
 * target <= 0: fixed. */
void tn_kl_control_update(tn_kl_control *c, double kl, double n, double target, double horizon);

/* Running mean and variance, merged batch by batch (Chan et al.). Plain data, zero at the start. */
typedef struct tn_moments { double count, mean, m2; /* sum of squared deviations */ } tn_moments;
void tn_moments_add(tn_moments *m, const double *x, int n);
void tn_moments_merge(tn_moments *into, const tn_moments *from);
double tn_moments_var(const tn_moments *m, int ddof); /* NaN when count <= ddof */

/* x <- (x - mean)/sqrt(var + 1e-8) (+ mean unless shift_mean). TN_ARG when n <= ddof. */
tn_status tn_whiten(double *x, int n, int ddof, bool shift_mean, tn_err *e);

/* Sequence scores before they become rewards, in this order: divide by the running standard
 * deviation (no centring; the batch is added first), clip, penalise missing ends. */
typedef struct tn_score_opt {
    bool scale;               /* by the running std */
    double clip;              /* to [-clip, clip]; 0: off */
    double missing_eos;       /* NaN: off */
    const char *missing_mode; /* subtract | replace (score becomes -missing_eos) */
} tn_score_opt;
extern const tn_opt_row tn_score_rows[];
/* ended[n]: 1 when the response has its end token; needed only with missing_eos.
 * running may be NULL when scale is off. */
tn_status tn_scores_shape(const tn_score_opt *o, double *score, const int *ended, int n,
                          tn_moments *running, tn_err *e);

/* reward_t = -kl_coef k(logp_t, ref_logp_t) + [t last] score. seq_kl[n_seq] (or NULL): sum of k. */
void tn_token_rewards(int n_seq, const int *off, const double *logp, const double *ref_logp,
                      const double *score, tn_kl k, double kl_coef, double *reward, double *seq_kl);

/* delta_t = reward_t + gamma V_{t+1} - V_t, A_t = delta_t + gamma lambda A_{t+1}, G_t = A_t + V_t;
 * nothing after the last token: V = A = 0 (Schulman et al. 2015, 1506.02438). */
void tn_gae(int n_seq, const int *off, const double *reward, const double *value, double gamma,
            double lambda, double *advantage, double *ret);

/* 1 - Var(ret - value)/Var(ret); NaN when all returns are equal. */
double tn_explained_variance(const double *value, const double *ret, int n);

/* Options of the PPO loop that concern these functions. */
typedef struct tn_rl_opt {
    double kl_coef;
    const char *kl_estimator;
    double kl_target, kl_horizon; /* target 0: fixed coefficient */
    double gamma, lambda;
    bool whiten_rewards, whiten_advantages;
    int64_t whiten_ddof;
} tn_rl_opt;
extern const tn_opt_row tn_rl_rows[];

/* One rollout batch from log-probs, values and shaped scores to advantages and returns:
 * token rewards, optional reward whitening (mean kept), GAE, advantage whitening. Emits
 * objective/kl, objective/non_score_reward, objective/rlhf_reward, objective/scores and
 * val/explained_variance. mean_kl (mean over sequences) feeds tn_kl_control_update. */
typedef struct tn_rollout {
    int n_seq;
    const int *off;
    const double *logp, *ref_logp, *value; /* [n_tok], under the sampling policy */
    const double *score;                   /* [n_seq] */
    const double *step; /* [n_tok] more rewards inside responses, NaN where there is none; NULL: none at all */
    double step_weight;
    double *reward, *advantage, *ret;      /* [n_tok], out */
    double mean_kl;                        /* out */
} tn_rollout;
tn_status tn_rollout_advantages(const tn_rl_opt *o, double kl_coef, tn_rollout *r, tn_metrics *m,
                                tn_err *e);
/* Its first and last thirds, for loops whose GAE is another: token rewards (reads no value but to
 * check it), and the explained variance and whitening of what is in ret and advantage. */
tn_status tn_rollout_rewards(const tn_rl_opt *o, double kl_coef, tn_rollout *r, tn_metrics *m,
                             tn_err *e);
tn_status tn_rollout_whiten(const tn_rl_opt *o, tn_rollout *r, tn_metrics *m, tn_err *e);
#endif
