/* Learning from scored samples without a critic (GRPO and its relatives, RLOO; preference losses on pairs of
 * samples), as TRL 1.16 counts:
 *
 *   repeat: sample num_generations responses to each of a generation batch's prompts -> rewards ->
 *           one advantage per response, from its group, or one pair or the best of each group -> num_iterations passes
 *           over the batch, each cut into steps_per_generation / gradient_accumulation_steps optimiser steps
 *
 * One step is one optimiser step on per_device_train_batch_size x gradient_accumulation_steps
 * responses, or prompts where responses are paired. Old log-probs are the sampler's: sampling and training are one forward, so the ratio
 * at a batch's first step is exactly 1 (checked) and no second pass is needed for them. */
#ifndef TN_RL_CRITIC_FREE_H
#define TN_RL_CRITIC_FREE_H
#include "algo/group.h"
#include "algo/losses.h"
#include "rl/alarms.h"
#include "rl/rewards.h"
#include "rl/sdpo.h"
#include "rl/shaping.h"
#include "rl/step_rewards.h"
#include "rl/values.h"

typedef struct tn_critic_free_options {
    int64_t generations, iterations, steps_per_generation, generation_batch;
    double temperature;
    bool mask_truncated;
} tn_critic_free_options;
extern const tn_opt_row tn_group_rows[]; /* --num-generations; methods that compare no groups set it themselves */
extern const tn_opt_row tn_critic_free_rows[];

/* Which two responses to a prompt a preference loss compares: those with the most and the least reward. */
typedef struct tn_pair_options {
    double min_gap;     /* between their rewards; a prompt whose pair has no more gives none */
    double missing_eos; /* taken off the reward of a response that did not end */
    const char *reference; /* start | sampling */
    bool soft;             /* the better one is better with probability s(gap), and the loss is told so */
} tn_pair_options;
extern const tn_opt_row tn_pair_rows[];
/* Which responses are good enough to be learnt from (rejection sampling). */
typedef struct tn_best_options {
    const char *choose; /* prompt | batch: the best are found among the responses to a prompt, or among all */
    int64_t keep;       /* for each prompt, or on average */
    double min_reward;  /* NaN: any */
} tn_best_options;
extern const tn_opt_row tn_best_rows[];

/* Option structs of the parts, bound by the verb. */
typedef struct tn_critic_free_task {
    const char *verb;
    tn_critic_free_options q;
    tn_reward_options rewards;
    const tn_step_reward_options *steps; /* NULL: the method has no place for rewards of steps */
    const tn_reward_fn *more_rewards; /* beside the built-in functions, or NULL */
    int64_t max_completion;
    const tn_algo *algo;
    const void *opt;
    double beta; /* not 0: the reference's log-probs are needed */
    /* Advantages of a batch; kl[n]: sum of k1 over each response, NULL without a reference. */
    tn_status (*advantages)(const void *opt, const tn_group_rewards *r, const double *kl,
                            tn_metrics *m, tn_err *e);
    const void *advantage_opt;
    bool kl_in_reward; /* and reported by the loop, not by the loss */
    /* Share of a step's tokens to train on, those of the highest entropy, and where the loss reads
     * the floor that this makes; NULL: the loss has none. */
    double top_entropy, *entropy_floor;
    /* Both NULL: every response counts, with its advantage. */
    const tn_pair_options *pairs;
    const tn_best_options *best;
    /* From a response's score to its tokens' advantages (NaN: not trained on); NULL: the score. */
    tn_status (*token_advantages)(const void *opt, tn_rollouts *r, tn_err *e);
    const void *token_opt;
    bool greedy_first; /* one more sample of each prompt, the greedy one, is first */
    tn_opponent opponent; /* who makes the second of two responses to each prompt */
    double mixture;       /* the reference's share in TN_OPPONENT_MIXTURE */
    const tn_values_options *values; /* a stage ahead of the loop finds the prompts' optimal values; NULL: none */
    const tn_sdpo_options *sdpo; /* responses have teachers, whose prompts are made of others; NULL: none */
    double pair_beta;
    double default_lr;
} tn_critic_free_task;
tn_status tn_critic_free_run(const tn_critic_free_task *task, const tn_opts *opts, tn_err *e);

/* What one optimiser step trains on: the responses of a slice that are not masked, in the order
 * that lets neighbours share prompts, and the sizes that its means divide by. */
typedef struct tn_slices {
    int n;
    tn_rollouts *part; /* [n] */
    tn_total *total;   /* [n] */
    uint32_t *order;   /* [responses] */
    int *slice;        /* [responses]; with pairs: chosen, rejected, chosen, ... */
    uint32_t *mine;    /* [responses] those of one slice */
    double *reward;    /* [responses] */
    int n_chosen;      /* pairs or responses of the batch as it is cut */
} tn_slices;
tn_status tn_slices_new(tn_slices *s, const tn_rollouts *like, int n, tn_err *e);
void tn_slices_free(tn_slices *s);
/* Cuts a batch into equal slices: as it lies for one slice, else shuffled by (seed, number).
 * mask_truncated: responses that did not end are counted as sequences, but not trained on. Nor are those whose
 * advantages are NaN (greedy ones, which do not count). */
void tn_slices_cut(tn_slices *s, const tn_rollouts *r, bool mask_truncated, uint64_t seed,
                   uint64_t number);
/* The second half of it: response i goes into slice[i], which the caller filled evenly. */
void tn_slices_fill(tn_slices *s, const tn_rollouts *r, bool mask_truncated);
/* The best responses alone, by the rewards in r->advantage (NaN: never), dealt out evenly. */
tn_status tn_slices_cut_best(tn_slices *s, const tn_rollouts *r, const tn_best_options *o, bool mask_truncated,
                             uint64_t seed, uint64_t number, tn_err *e);
/* Pairs instead, by the rewards in r->advantage (NaN: none), dealt out evenly; a slice may get none. mask_truncated:
 * responses that did not end are not in pairs. */
void tn_slices_cut_pairs(tn_slices *s, const tn_rollouts *r, const tn_pair_options *o, bool mask_truncated, uint64_t seed,
                         uint64_t number);
#endif
