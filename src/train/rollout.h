/* One batch of rollouts: prompts and sampled responses as examples, with every number that losses
 * on them read. Samples of one prompt are one example, or several when a micro-batch cannot hold
 * them together: the prompt is computed once for all of them. */
#ifndef TN_TRAIN_ROLLOUT_H
#define TN_TRAIN_ROLLOUT_H
#include "algo/rl.h"
#include "gen/gen.h"
#include "train/scorer.h"
#include "train/spread.h"
#include "train/step.h"

typedef struct tn_rollouts {
    int n_prompt, n_sample, max_new; /* as set up */
    int n, n_tok, n_ex;
    tn_example **prompt;   /* [n_prompt] of the dataset; the caller fills them before sampling */
    tn_example *ex;        /* [n_ex]; the arrays that they know point below */
    tn_example **at;       /* [n_ex] &ex[i] */
    int *first, *tok;      /* [n_ex+1] first response of an example, its first token */
    tn_response *response; /* [n] */
    int *group;            /* [n] which prompt */
    int *off, *ended;      /* [n+1], [n] */
    int *own;              /* [n] 1: the policy's response, 0: its opponent's */
    int *from;             /* [n] which of the arranged ones each is; unset in what was sampled */
    int32_t *ids;          /* [n_tok] */
    double *old_logp, *ref_logp, *value, *reward, *advantage, *ret; /* [n_tok] */
    double *score, *raw_score; /* [n] shaped; as the reward model gave it (normalised) */
    double *step; /* [n_tok] reward of the step that ends with a token, NaN where none does; NULL: nobody judges steps */
    bool has_ref;
    bool opposed;      /* the last response to each prompt is an opponent's */
    bool greedy_first; /* the first response to each prompt is the greedy one (of the last sampling) */
    int max_tokens; /* of a micro-batch */
    uint8_t *ones;
    const uint64_t *key; /* [n_prompt] of each prompt's first sample; NULL: consecutive ones */
    tn_gen_request *req;
    tn_gen_sample *sample;
    tn_spread spread; /* over this process's ranks */
    tn_gen_sample *answer; /* [n_prompt] of an opponent */
    tn_spread other;
} tn_rollouts;

/* Room for n responses of up to max_new tokens; n_prompt x n_sample where the batch is sampled. */
tn_status tn_rollouts_new(tn_rollouts *r, int n_prompt, int n_sample, int n, int max_new,
                          int max_tokens, tn_err *e);
size_t tn_rollouts_bytes(int n, int max_new); /* with their responses, for the memory plan */
void tn_rollouts_free(tn_rollouts *r);
/* n_sample responses to each prompt, in their order; response i draws from key first_key + i. Ranks share
 * this work and that of the passes below; all of them have everything afterwards. */
tn_status tn_rollouts_sample(tn_rollouts *r, tn_gen *g, uint64_t first_key, const tn_sampling *s,
                             tn_err *e);
/* For rollouts of two samples to a prompt: the second one's is drawn from `opponent`. */
tn_status tn_rollouts_oppose(tn_rollouts *r, tn_err *e); /* once, makes room for that */
tn_status tn_rollouts_sample_opposed(tn_rollouts *r, tn_gen *g, tn_gen *opponent, uint64_t first_key, const tn_sampling *s,
                                     tn_err *e);
/* A reward model's scores of all responses, [n]. */
tn_status tn_rollouts_score(tn_rollouts *r, tn_scorer *s, const tn_tokenizer *policy_tok, double *score,
                            tn_err *e);
/* rollout_steps.c: room for `step`, once; and its values, of a process reward model that keeps its steps (form: of
 * tn_step_values), with the scores of responses. */
tn_status tn_rollouts_keep_steps(tn_rollouts *r, tn_err *e);
tn_status tn_rollouts_score_steps(tn_rollouts *r, tn_scorer *s, const tn_tokenizer *policy_tok, const char *form, double *score,
                                  tn_err *e);
/* Reference log-probs (where the policy has a reference) and critic values (critic may be NULL) of
 * every response token, through the trainees' workspaces. */
tn_status tn_rollouts_observe(tn_rollouts *r, tn_trainee *policy, tn_trainee *critic, tn_err *e);
/* Values of every response token under one more critic, [n_tok]. */
tn_status tn_rollouts_values(tn_rollouts *r, tn_trainee *critic, double *value, tn_err *e);
/* Which values and returns a critic's update reads: r's own, or [n_tok] of another critic. */
void tn_rollouts_aim(tn_rollouts *r, const double *value, const double *ret);
/* The distribution that sampled is the reference: its log-probs are the old ones. */
void tn_rollouts_own_reference(tn_rollouts *r);
/* Entropies of every response token under the policy, [n_tok]. */
tn_status tn_rollouts_entropy(tn_rollouts *r, tn_trainee *policy, double *entropy, tn_err *e);
/* kl[n] = sum of k1 over each response; masked ones (mask_truncated: those that did not end) have 0.
 * *sum, *tokens: of the others. Needs reference log-probs. */
void tn_rollouts_kl(const tn_rollouts *r, bool mask_truncated, double *kl, double *sum,
                    double *tokens);
/* `to` becomes responses order[0..n-1] of `from` with their log-probs and advantages; neighbours
 * from one prompt share it. Set up for at least n responses of the same prompts. */
void tn_rollouts_arrange(tn_rollouts *to, const tn_rollouts *from, const uint32_t *order, int n);
/* The same for n/2 pairs, chosen and rejected in turn: each is one example, whatever a micro-batch may hold. */
void tn_rollouts_arrange_pairs(tn_rollouts *to, const tn_rollouts *from, const uint32_t *order, int n);

/* A checkpoint's record of sampled responses, their log-probs and scores; exact. New reference;
 * NULL without memory. `load` needs the prompts in place; ids must lie below `vocab`. */
json_t *tn_rollouts_record(const tn_rollouts *r);
tn_status tn_rollouts_load(tn_rollouts *r, const json_t *record, int vocab, const char *where,
                           tn_err *e);
#endif
