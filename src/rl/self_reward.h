/* Self-rewarding (Yuan et al. 2024, 2401.10020): a model answers, judges its own answers and learns from what it thinks of them.
 *
 *   round k = 1 .. R, with M_0 given: of the prompts' k-th part each gets N answers of M_{k-1}; a judge, M_{k-1} itself unless another
 *   is given, rewards all of them (oversight/appraise.h); the best and the worst make a pair, unless they are no further apart than
 *   min_gap; M_k is trained on the pairs, from M_{k-1} and with it as the reference
 *
 * Judges like length, and rounds multiply that. With length control rho (Wu et al. 2024, 2407.19594) the chosen answer is the shortest
 * of those with at least (1 - rho) max + rho mean, the rejected one the longest of those with at most (1 - rho) min + rho mean.
 *
 * Files of `dir`: round-K/{replies.jsonl, answers.jsonl, train.jsonl, model/, trained.json}, metrics.jsonl. A reply is durable before it
 * is used and not asked for twice. */
#ifndef TN_RL_SELF_REWARD_H
#define TN_RL_SELF_REWARD_H
#include "data/dataset.h"
#include "ops/ops.h"
#include "oversight/appraise.h"
#include "oversight/label_options.h"
#include "rl/reward_fn.h"
#include "rl/rounds.h"

typedef struct tn_self_reward_options {
    int64_t rounds, answers, max_new, batch;
    double temperature, top_p, judge_temperature, min_gap, missing_eos; /* missing_eos: off the reward of an answer that did not end */
    double length_control;
    const char *judge, *truth;
    tn_appraise_options appraise;
    tn_label_options label;
} tn_self_reward_options;
extern const tn_opt_row tn_self_reward_rows[]; /* with tn_appraise_rows and tn_label_option_rows */

typedef struct tn_self_reward_loop {
    const tn_self_reward_options *o;
    const tn_dataset *prompts; /* TN_DATA_PROMPT */
    const char *model, *base, *chat_template, *dir;
    uint64_t seed;
    tn_backend *be;
    const tn_reward_fn *truth; /* what answers are really worth, only measured against; NULL: nobody knows */
    void *truth_state;
    void *ctx;
    /* M_k in `to`, from the model `from` and the rows `data`; what is there of an earlier try may be used. */
    tn_status (*train)(void *ctx, const char *from, const char *data, const char *to, tn_err *e);
} tn_self_reward_loop;

/* *result: the last round's model, from the heap (tn_free). */
tn_status tn_self_reward_run(const tn_self_reward_loop *l, char **result, tn_err *e);
#endif
