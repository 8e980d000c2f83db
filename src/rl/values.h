/* Optimal values V* of prompts, the first stage of A*-PO (algo/a2po.c): before the first step, samples of the reference to
 * every prompt are scored as the run's own responses will be.
 *
 * OUT/values.jsonl has a line for each prompt in the order of the rows, {"row", "value", "reward": mean, "samples"},
 * behind a first line that says what they are of: models, rows, options. Lines are on the disk before more is sampled;
 * whoever finds the first line as it would write it reads on and samples only what is missing. A prompt's samples are a
 * function of (reference, seed, row) alone, so it makes no difference. */
#ifndef TN_RL_VALUES_H
#define TN_RL_VALUES_H
#include "rl/rewards.h"

typedef struct tn_values_options {
    int64_t samples;
    double beta1;
    bool drop_hopeless;
} tn_values_options;
extern const tn_opt_row tn_values_rows[];

/* Beside the reference, for the memory plan of a measured run. */
tn_status tn_values_budget(const tn_values_options *o, const tn_online *on, tn_budget *b, tn_err *e);
/* Gives the prompts of a prepared run their values (tn_example.baseline); those without one, or without hope, are taken
 * out of on->prompts, and on->plan is made anew. TN_INTERRUPTED on all ranks when one is. */
tn_status tn_values_find(const tn_values_options *o, tn_online *on, tn_rewards *rewards, tn_err *e);
#endif
