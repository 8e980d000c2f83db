/* Every algorithm by name. A new one is its file and one line here. */
#include "algo/algo.h"
#include <string.h>

const tn_algo *const tn_algo_all[] = {
    &tn_algo_sft,  &tn_algo_reward,  &tn_algo_reward_rank, &tn_algo_prm,
    &tn_algo_dpo,  &tn_algo_dpo_aot, &tn_algo_tdpo,        &tn_algo_kto,         &tn_algo_cpo, &tn_algo_tpo,
    &tn_algo_orpo, &tn_algo_slic,    &tn_algo_ppo_policy,  &tn_algo_ppo_value,
    &tn_algo_grpo, &tn_algo_rloo,    &tn_algo_reinforce, &tn_algo_a2po, &tn_algo_xpo,
    &tn_algo_macro_policy, &tn_algo_macro_value, &tn_algo_cost, &tn_algo_inform, &tn_algo_odin, &tn_algo_gkd, &tn_algo_sdpo, &tn_algo_many,
    NULL,
};

const tn_algo *tn_algo_find(const char *name) {
    for (const tn_algo *const *a = tn_algo_all; *a; a++)
        if (name && strcmp((*a)->name, name) == 0) return *a;
    return NULL;
}

unsigned tn_algo_needs(const tn_algo *a, const void *opt) {
    return a->needs | (a->more_needs ? a->more_needs(opt) : 0);
}
