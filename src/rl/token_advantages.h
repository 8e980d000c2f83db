/* From scores of responses to advantages of tokens, for critic-free methods that want them. */
#ifndef TN_RL_TOKEN_ADVANTAGES_H
#define TN_RL_TOKEN_ADVANTAGES_H
#include "algo/process.h"
#include "train/rollout.h"

typedef struct tn_token_advantage_opt {
    const char *estimator; /* reinforce | reinforce_plus_plus | reinforce_plus_plus_baseline | remax */
    double kl_coef;        /* of k1 to the reference, inside the reward of each token */
    double gamma;
    double step_weight; /* of the rewards of steps; set by the verb */
} tn_token_advantage_opt;
extern const tn_opt_row tn_token_advantage_rows[];

/* r->advantage from r->score, log-probs and (kl_coef not 0) the reference's:
 *   reinforce                     rewards to go, those of steps (r->step) among them
 *   reinforce_plus_plus           the same, whitened over all tokens (2501.03262)
 *   reinforce_plus_plus_baseline  score - mean of its group, whitened over all tokens; no KL inside
 *   remax                         score - score of the greedy response, less the token's KL (2310.10505);
 *                                 the greedy responses (first of each group) get NaN: nobody learns from them
 * Scores that are NaN give NaN. TN_ARG when nothing is left to whiten. */
tn_status tn_token_advantages(const tn_token_advantage_opt *o, tn_rollouts *r, tn_err *e);
/* remax and reinforce_plus_plus_baseline compare whole responses and take no rewards of steps: TN_ARG. */
tn_status tn_token_advantage_check(const tn_token_advantage_opt *o, bool steps, tn_err *e);

/* GRPO's process supervision: to what is in r->advantage (the response's own), that of r->step is added. */
typedef struct tn_process_advantage_opt {
    tn_baseline kind;
    double weight;
} tn_process_advantage_opt;
void tn_process_advantages(const tn_process_advantage_opt *o, tn_rollouts *r);
#endif
