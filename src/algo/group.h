/* Rewards of responses of the same prompt, made into advantages; selection among samples. */
#ifndef TN_ALGO_GROUP_H
#define TN_ALGO_GROUP_H
#include "algo/rl.h"

/* How one reward per response becomes one advantage per response. */
typedef enum tn_baseline {
    TN_BASE_GROUP_MEAN,   /* R - mean of the group                 (Dr. GRPO) */
    TN_BASE_GROUP_ZSCORE, /* (R - mean) / (std of the group + eps) (GRPO) */
    TN_BASE_BATCH_SCALE,  /* (R - mean) / (std of the batch + eps) */
    TN_BASE_LEAVE_ONE_OUT /* R - mean of the others of the group   (RLOO) */
} tn_baseline;
/* Rewards that are NaN (a response that could not be scored) stay out of every mean and std and get
 * advantage 0, as does a lone scored response under LEAVE_ONE_OUT. ddof 1 and eps 1e-4 are TRL's.
 * Emits frac_reward_zero_std: share of scored groups whose rewards are all equal. */
tn_status tn_group_advantages(tn_baseline kind, const double *reward, int n_group,
                              const int *group_off, int ddof, double eps, double *advantage,
                              tn_metrics *m, tn_err *e);
/* (A - mean)/(std + eps) over the batch (RLOO's normalize_advantages); NaN is left out and stays. */
tn_status tn_advantages_normalise(double *advantage, int n, int ddof, double eps, tn_err *e);

/* What several sources (reward models, functions) said of every response, and what comes of it. */
typedef struct tn_group_rewards {
    int n_source, n_group;
    const int *group_off;         /* [n_group+1]; n = group_off[n_group] responses */
    const double *reward;         /* [n][n_source]; NaN: the source has no answer */
    const double *weight;         /* [n_source] */
    double *total;     /* [n] out: sum of weight x reward; NaN where no source has an answer */
    double *advantage; /* [n] out */
    double *scratch;   /* [n] */
    const int *ended;  /* [n] 1: the response ended by itself; NULL where nobody asks */
} tn_group_rewards;

typedef struct tn_grpo_advantage_opt {
    const char *scale;       /* group | batch | none */
    const char *aggregation; /* sum_then_normalize | normalize_then_sum */
} tn_grpo_advantage_opt;
typedef struct tn_rloo_advantage_opt {
    double beta; /* of sum_t (l_t - ref_t), inside the reward */
    bool normalise;
    tn_opt_list clip; /* none, or two numbers: of the total, before the KL */
} tn_rloo_advantage_opt;
extern const tn_opt_row tn_grpo_advantage_rows[], tn_rloo_advantage_rows[];
/* TRL's advantages. Emit reward and reward_std (ddof 1; of the totals) and frac_reward_zero_std.
 *   sum_then_normalize   the total, less its group's mean, over the std of the group or the batch
 *   normalize_then_sum   every source's z-score in its group; their weighted sum's z-score in the
 *                        batch (GDPO, 2601.05242)
 *   rloo                 clip(total) - beta kl, less the mean of the group's others */
tn_baseline tn_grpo_baseline(const tn_grpo_advantage_opt *o); /* what --scale-rewards names */
tn_status tn_grpo_advantages(const tn_grpo_advantage_opt *o, const tn_group_rewards *r,
                             tn_metrics *m, tn_err *e);
/* kl[n]: sum of k1 of each response; read when beta is not 0. TN_ARG for a bad clip range, which
 * tn_rloo_advantage_check finds before anything is sampled. */
tn_status tn_rloo_advantage_check(const tn_rloo_advantage_opt *o, tn_err *e);
tn_status tn_rloo_advantages(const tn_rloo_advantage_opt *o, const tn_group_rewards *r,
                             const double *kl, tn_metrics *m, tn_err *e);

/* Totals alone, which are the advantages; emits reward and reward_std. */
tn_status tn_group_totals(const tn_group_rewards *r, tn_metrics *m, tn_err *e);

/* A*-PO's V* from n rewards of samples of the reference: beta (log sum e^(r/beta) - log n); NaN stays out, and is what is
 * found when there is nothing else. */
double tn_optimal_value(const double *reward, int n, double beta);

/* Sequence reward with the KL inside: R - beta sum_t (l_t - ref_t). */
double tn_kl_shaped_reward(double reward, double beta, double sum_k1);
/* REINFORCE++ (2501.03262): A_t = rewards to go with the token KL, then whitened over all tokens
 * with ddof 0. */
tn_status tn_reinforce_pp(int n_seq, const int *off, const double *logp, const double *ref_logp,
                          const double *score, double kl_coef, double gamma, double *reward,
                          double *to_go, double *advantage, tn_err *e);
/* ReMax's code: A_t = gamma^(T-1-t) (R - R_greedy) - kl_coef kl_t; one response of n tokens. */
void tn_remax_advantages(const double *token_kl, int n, double reward, double greedy,
                         double kl_coef, double gamma, double *advantage);
/* Nash-MD: A_t = (P - 1/2) - beta (l_t - ref_t), P = preference over the mixture's sample. */
void tn_nash_advantages(const double *logp, const double *ref_logp, int n, double p, double beta,
                        double *advantage);
/* Nash-MD's opponent: normalised log-probabilities of pi^(1-a) ref^a from both logits. */
void tn_geometric_mixture(const double *policy, const double *ref, int n, double a, double *logp);

/* Length rewards (DAPO): 0 up to max - cache tokens, then linear to -1 at max, -1 beyond. */
double tn_soft_overlong(double length, double max, double cache);
/* VAPO (2504.05118): lambda = 1 - 1/(alpha length). */
double tn_vapo_lambda(double alpha, double length);
/* P(all G samples are right, or all are wrong). */
double tn_dead_group(double p, int g);

/* Best of n: KL(BoN || pi) of an untied continuous reward, log n - (n-1)/n; exact for probabilities
 * p[k] in increasing order of reward, with the distribution of the best in q[k]. */
double tn_bon_kl(double n);
double tn_bon_exact(const double *p, int k, int n, double *q);
/* Expected value[.] of the best of n (by proxy) from N samples, over all subsets: weight of the
 * i-th in ascending proxy order is C(i, n-1)/C(N, n). TN_ARG unless 1 <= n <= N. */
tn_status tn_bon_estimate(const double *proxy, const double *value, int N, int n, double *out,
                          tn_err *e);
/* Indices of the best and the worst reward, the first of equals; false when all are equal. */
bool tn_best_worst(const double *reward, int n, int *best, int *worst);
/* The k largest of n rewards, ties by index: order[k]. */
tn_status tn_top(const double *reward, int n, int k, int *order, tn_err *e);
/* p_i = mean over j of s(score_i - score_j), j = i included (SPPO). */
void tn_win_probabilities(const double *score, int n, double *p);
#endif
