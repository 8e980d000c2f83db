/* Rewards inside a response: a process reward model (`tenet prm`) judges every step of every sampled response, and what it
 * says is a reward of the step's last token (train/rollout_steps.c), beside those of whole responses (rewards.h). */
#ifndef TN_RL_STEP_REWARDS_H
#define TN_RL_STEP_REWARDS_H
#include "rl/online.h"

typedef struct tn_step_reward_options {
    const char *model; /* NULL: there are none, and nothing below does anything */
    const char *form;  /* value | change | least, of tn_step_values */
    double weight;
} tn_step_reward_options;
extern const tn_opt_row tn_step_reward_rows[];

typedef struct tn_step_rewards {
    const tn_step_reward_options *o;
    tn_scorer *scorer; /* NULL: none */
    double *score;     /* [responses] the outcome's score, of --step-score min */
    double *sum;       /* [responses] of the steps' rewards, as they are */
} tn_step_rewards;

/* Shares of the memory plan, and FLOP for every token that is read, of a measured run. */
tn_status tn_step_rewards_budget(const tn_step_reward_options *o, const tn_online *on, tn_budget *p, tn_err *e);
tn_status tn_step_rewards_flop(const tn_step_reward_options *o, const tn_online *on, double *flop, tn_err *e);
/* For the rollouts of a prepared run, which get room for `step`; close also after failure. */
tn_status tn_step_rewards_open(tn_step_rewards *s, const tn_step_reward_options *o, tn_online *on, tn_err *e);
void tn_step_rewards_close(tn_step_rewards *s);
/* Fills on->roll.step and sum. Emits process/step_reward (mean over steps), process/steps and process/score (means over
 * responses). */
tn_status tn_step_rewards_score(tn_step_rewards *s, tn_online *on, tn_metrics *m, tn_err *e);
#endif
