/* Constrained PPO (Safe RLHF, 2310.12773; algo/lagrange.h): a cost model beside the reward model, a cost critic beside
 * the reward critic, and the multiplier that prices one in the other. With --cost-weight the baseline of a fixed price
 * instead: score = reward - weight x cost, one critic. */
#ifndef TN_RL_SAFE_H
#define TN_RL_SAFE_H
#include "algo/lagrange.h"
#include "rl/critic.h"
#include "rl/macros.h"

typedef struct tn_safe_options {
    const char *cost_model, *cost_critic;
    double cost_weight; /* NaN: the multiplier decides */
    double critic_lr;   /* NaN: as the reward critic's */
} tn_safe_options;
extern const tn_opt_row tn_safe_rows[];

typedef struct tn_safe_task {
    tn_safe_options q;
    tn_lagrange_opt lagrange;
} tn_safe_task;

typedef struct tn_safe {
    const tn_safe_task *task; /* NULL: there is no cost model */
    bool priced;              /* --cost-weight */
    tn_scorer scorer;
    tn_trainee critic;
    tn_lagrange lambda;
    double *cost;                            /* [responses] of the cost model alone, a positive one is unsafe */
    double *value, *reward, *advantage, *ret; /* [tokens] of the costs */
} tn_safe;

tn_status tn_safe_check(const tn_safe_task *t, const tn_rl_opt *rl, tn_err *e);
bool tn_safe_has_critic(const tn_safe_task *t);
/* The cost critic, for plans; examples: of a minibatch. */
tn_critic_spec tn_safe_critic(const tn_safe_task *t, const tn_online *on, const void *value_opt, const tn_algo *algo,
                              size_t examples);
tn_status tn_safe_budget(const tn_safe_task *t, const tn_critic_spec *c, const tn_online *on, tn_budget *b, tn_err *e);
/* A cost model is scaled by its standard deviation and never shifted: zero is the border of what is safe. */
tn_status tn_safe_open(tn_safe *s, const tn_safe_task *t, const tn_critic_spec *c, tn_online *on, tn_err *e);
void tn_safe_close(tn_safe *s);

/* Costs of the rollouts and the cost critic's values; with a fixed price r->score is mixed. */
tn_status tn_safe_score(tn_safe *s, tn_online *on, tn_metrics *m, tn_err *e);
/* After tn_rollout_rewards: token rewards and costs, the multiplier's step, both advantages, mixed in r->advantage. */
tn_status tn_safe_advantages(tn_safe *s, const tn_rl_opt *rl, double kl_coef, tn_rollouts *r, tn_rollout_macros *macros,
                             tn_metrics *m, tn_err *e);

json_t *tn_safe_state(const tn_safe *s); /* new reference; null where there is none */
tn_status tn_safe_take(tn_safe *s, const json_t *state, const char *where, tn_err *e);
#endif
