/* Constrained RLHF: the most reward at an expected cost of at most d (Safe RLHF, Dai et al. 2023,
 * 2310.12773). A rollout gives every response a reward R and a cost C (cost.c: above 0 is unsafe);
 * each has its critic and its GAE, on token rewards and token costs of tn_lagrange_token_scores;
 * the policy's advantage is the mix of both (tn_lagrange_mix) in `ppo-policy`, and lambda follows
 * the costs. */
#ifndef TN_ALGO_LAGRANGE_H
#define TN_ALGO_LAGRANGE_H
#include "algo/losses.h"
#include "algo/rl.h"

/* Cost model: pairs whose `chosen` is the safer response and `rejected` the more harmful one;
 * obs.label is 1 for a safe response, 0 for an unsafe one. */
typedef struct tn_cost_opt { double l2; } tn_cost_opt;
extern const tn_opt_row tn_cost_rows[];

typedef struct tn_lagrange_opt {
    double threshold; /* d */
    double init, lr, max;
    int64_t window, delay;
    double clip; /* of token rewards and token costs */
} tn_lagrange_opt;
extern const tn_opt_row tn_lagrange_rows[];

/* The multiplier, plain data: a checkpoint stores it as it is. */
#define TN_LAGRANGE_WINDOW 1024
typedef struct tn_lagrange {
    double log_lambda;
    int64_t steps, costs;             /* updates so far, episodes so far */
    double cost[TN_LAGRANGE_WINDOW];  /* of the last episodes, a ring */
} tn_lagrange;
tn_status tn_lagrange_start(tn_lagrange *l, const tn_lagrange_opt *o, tn_err *e);
/* Adds the costs of n episodes (of the cost model alone, without any KL), then, unless delayed, one
 * step with the mean J of the last `window` of them:  log lambda <- min(log lambda + lr lambda (J -
 * d), log max). Emits safe/lambda, safe/episode_cost (J) and safe/unsafe (share of the n above 0).
 * TN_NUMERIC for a cost that is not finite. */
tn_status tn_lagrange_update(tn_lagrange *l, const tn_lagrange_opt *o, const double *cost, int n,
                             tn_metrics *m, tn_err *e);
double tn_lagrange_lambda(const tn_lagrange *l);

/* Token rewards -beta k_t + [t last] R and token costs +beta k_t + [t last] C, each cut to [-clip,
 * clip]: of (r - lambda c)/(1 + lambda) the KL is exactly -beta k_t at any lambda. seq_kl as in
 * tn_token_rewards. */
void tn_lagrange_token_scores(const tn_lagrange_opt *o, int n_seq, const int *off,
                              const double *logp, const double *ref_logp, const double *reward,
                              const double *cost, tn_kl k, double kl_coef, double *token_reward,
                              double *token_cost, double *seq_kl);
/* A_t = (A^R_t - lambda A^C_t) / (1 + lambda); out may be either input. */
void tn_lagrange_mix(double lambda, const double *reward_adv, const double *cost_adv, int n,
                     double *out);
#endif
