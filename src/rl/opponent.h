/* Methods on two responses to each prompt, the policy's and an opponent's: what they share. */
#ifndef TN_RL_OPPONENT_H
#define TN_RL_OPPONENT_H
#include "rl/critic_free.h"

typedef struct tn_opposed_options {
    int64_t max_new;
    double missing_eos; /* taken off the reward of a response that did not end */
} tn_opposed_options;
extern const tn_opt_row tn_opposed_rows[]; /* with --temperature, which binds to tn_critic_free_options */

/* advantages of a task: each response's reward, less the penalty. Reports the policy's as the reward, both sides' scores
 * (objective/model_scores, ref_scores) and the probability that the policy's is preferred, s(r - r'). */
tn_status tn_opposed_totals(const void *opt, const tn_group_rewards *r, const double *kl, tn_metrics *m, tn_err *e);

typedef struct tn_nash_opt {
    double beta; /* of the KL to the reference */
} tn_nash_opt;
/* token_advantages of Nash-MD: A_t = s(r - r') - 1/2 - beta (l_t - ref_t) of the policy's responses, log-probs as sampled; NaN
 * for the opponent's, which nobody learns from. */
tn_status tn_nash_token_advantages(const void *opt, tn_rollouts *r, tn_err *e);
#endif
