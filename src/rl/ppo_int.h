/* State of the PPO loop: ppo.c, its set-up in ppo_setup.c, critics in critic.c. */
#ifndef TN_RL_PPO_INT_H
#define TN_RL_PPO_INT_H
#include "rl/critic.h"
#include "rl/macros.h"
#include "rl/ppo.h"
#include "rl/safe.h"

typedef struct tn_ppo {
    const tn_ppo_task *task;
    tn_online on; /* one step = one iteration */
    tn_trainee critic;
    tn_scorer **scorer; /* [n_scorer] reward models; the critic starts from the first */
    int n_scorer;
    int n_member;      /* of the ensemble: as many, or the models' heads */
    double *member;    /* [rollouts][n_member] their scores */
    tn_reward_judge *judge;
    double *judged;    /* [rollouts] */
    tn_step_rewards steps;
    tn_shaping shaping;
    tn_safe safe;      /* --cost-model */
    tn_rollout_macros macros;
    tn_macro_value_opt macro_value;
    tn_trainee ptx; /* the policy on the pretraining mix, in the policy's workspace */
    tn_dataset *texts;
    tn_plan text_plan; /* one step = one update */
    tn_sft_opt text_opt;
    tn_example **mini; /* [minibatch], [ptx batch] */
    tn_example **text;
    uint32_t *perm; /* [rollouts] */
    tn_kl_control kl;
    tn_moments running; /* of scores, for --reward-scale */
    tn_alarms alarms;
    long updates, episodes;
    double peak_lr, critic_lr, cost_critic_lr;
} tn_ppo;

/* Options checked, everything planned and (unless --dry-run) loaded. */
tn_status tn_ppo_set_up(tn_ppo *p, const tn_opts *opts, tn_err *e);
void tn_ppo_free(tn_ppo *p);
#endif
