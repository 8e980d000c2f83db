/* The world's true reward as a verifiable reward of training: `--reward-funcs world[:SEED]`. */
#ifndef TN_WORLD_REWARD_H
#define TN_WORLD_REWARD_H
#include "rl/reward_fn.h"

/* A table of one. Rows are known by their "id", as `tenet world prompts-rl` writes them with --seed
 * SEED (1); rows without one have no answer, another prompt under an id is an error. */
extern const tn_reward_fn tn_world_reward_fns[];
#endif
