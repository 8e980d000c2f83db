/* One batch of rollouts: prompts and sampled responses as examples, with every number that PPO reads. */
#ifndef TN_TRAIN_ROLLOUT_H
#define TN_TRAIN_ROLLOUT_H
#include "algo/rl.h"
#include "gen/gen.h"
#include "train/scorer.h"
#include "train/spread.h"
#include "train/step.h"

typedef struct tn_rollouts {
    int n, n_tok;
    tn_example *ex;        /* [n] one response each; known arrays point below */
    tn_response *response; /* [n] */
    int *off, *ended;      /* [n+1], [n] */
    double *old_logp, *ref_logp, *value, *reward, *advantage, *ret; /* [n_tok] */
    double *score, *raw_score; /* [n] shaped; as the reward model gave it (normalised) */
    uint8_t *ones;
    int cap_tok;
    /* scratch of a run */
    tn_gen_request *req;
    tn_gen_sample *sample;
    tn_spread spread; /* over this process's ranks */
} tn_rollouts;

tn_status tn_rollouts_new(tn_rollouts *r, int n, int max_new, tn_err *e);
void tn_rollouts_free(tn_rollouts *r);
/* Samples one response for each of the n prompts; sample i draws from key first_key + i. */
tn_status tn_rollouts_sample(tn_rollouts *r, tn_gen *g, tn_example *const *prompt,
                             uint64_t first_key, const tn_sampling *s, tn_err *e);
/* The reward model's scores of all responses into raw_score. */
tn_status tn_rollouts_score(tn_rollouts *r, tn_scorer *s, const tn_tokenizer *policy_tok, tn_err *e);
/* Reference log-probs and critic values of every response token, through the trainees' workspaces. */
tn_status tn_rollouts_observe(tn_rollouts *r, tn_trainee *policy, tn_trainee *critic, tn_err *e);
#endif
