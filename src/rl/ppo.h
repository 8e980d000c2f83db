/* PPO with a critic, per-token KL penalty and GAE (docs: src/algo/ppo.c, src/algo/gae.c for the equations).
 *
 *   repeat: sample a batch with the current weights -> reward models, reference, critic -> token rewards,
 *           advantages -> `ppo_epochs` passes over minibatches, policy and critic stepped separately
 *
 * With a pretraining mix (InstructGPT, 2203.02155) every policy update also descends ptx_coef x the
 * negative log-likelihood per token of a batch of texts. Several reward models are an ensemble (algo/ensemble.h), whose
 * scores may be shaped (rl/shaping.h); tokens may act together (rl/macros.h); a cost model makes it Safe RLHF
 * (rl/safe.h); alarms watch for over-optimisation (rl/alarms.h). A judge's word (rl/reward_judge.h) is added to the score, or is it.
 *
 * Sampling and training are one forward, so old log-probs are the sampler's, and the ratio before the first
 * update of each iteration is exactly 1 (checked). */
#ifndef TN_RL_PPO_H
#define TN_RL_PPO_H
#include "algo/ensemble.h"
#include "algo/losses.h"
#include "algo/macro.h"
#include "algo/rl.h"
#include "rl/alarms.h"
#include "rl/reward_judge.h"
#include "rl/safe.h"
#include "rl/shaping.h"
#include "rl/step_rewards.h"

typedef struct tn_ppo_options {
    tn_opt_list reward_models;
    const char *critic;
    int64_t iterations, rollouts, minibatch, epochs, response_length;
    double temperature, critic_lr;
    double early_stop; /* KL after which a batch is passed over no more; 0: off */
    double judge_weight;
    double ptx_coef; /* pretraining mix; 0: off */
    tn_opt_list ptx_data;
    int64_t ptx_batch;
} tn_ppo_options;
extern const tn_opt_row tn_ppo_rows[];

/* Option structs of the parts, bound by the verb. */
typedef struct tn_ppo_task {
    tn_ppo_options ppo;
    tn_judge_options judge;
    tn_ppo_policy_opt policy;
    tn_ppo_value_opt value;
    tn_rl_opt rl;
    tn_score_opt score;
    tn_ensemble_opt ensemble;
    bool together; /* --ensemble was given: heads of reward models are members, too */
    tn_step_reward_options steps;
    tn_shaping_options shaping;
    tn_macro_opt macro;
    tn_safe_task safe;
    tn_alarms_options alarms;
} tn_ppo_task;
tn_status tn_ppo_run(const tn_ppo_task *task, const tn_opts *opts, tn_err *e);
#endif
