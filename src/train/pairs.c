/* A generation batch cut into steps of pairs; see critic_free.h. */
#include "base/rng.h"
#include "train/critic_free.h"
#include <math.h>

#define AT(f) offsetof(tn_pair_options, f)
const tn_opt_row tn_pair_rows[] = {
    {"min-reward-gap", TN_OPT_REAL, AT(min_gap), "0", NULL, 0, 1e9, NULL, "X",
     "Leave out prompts whose best and worst response are no further apart; 0: only ties."},
    {"missing-eos-penalty", TN_OPT_REAL, AT(missing_eos), "0", NULL, 0, 1e9, NULL, "X",
     "Taken off the reward of responses that do not end within --max-new-tokens."},
    {"reference", TN_OPT_CHOICE, AT(reference), "start", "start|sampling", 0, 0, NULL, NULL,
     "start: the starting model (or --ref-model) throughout. sampling: the policy that made the responses, as in "
     "iterative DPO; it needs no second model, the sampler's log-probs serve."},
    TN_OPT_LAST};

/* The responses to prompt g with the most and the least reward, the first of equals; false: there is no pair. */
static bool choose(const tn_rollouts *r, int g, const tn_pair_options *o, bool mask_truncated, int pair[2]) {
    double best = -HUGE_VAL, worst = HUGE_VAL;
    pair[0] = pair[1] = -1;
    for (int i = g * r->n_sample; i < (g + 1) * r->n_sample; i++) {
        double v = r->advantage[r->off[i]];
        if (isnan(v) || (mask_truncated && !r->ended[i])) continue;
        if (v > best) best = v, pair[0] = i;
        if (v < worst) worst = v, pair[1] = i;
    }
    return best - worst > o->min_gap;
}

void tn_slices_cut_pairs(tn_slices *s, const tn_rollouts *r, const tn_pair_options *o, bool mask_truncated, uint64_t seed,
                         uint64_t number) {
    s->n_pair = 0;
    for (int g = 0; g < r->n_prompt; g++) s->n_pair += choose(r, g, o, mask_truncated, s->slice + 2 * s->n_pair);
    for (int k = 0; k < s->n_pair; k++) s->order[k] = (uint32_t)k;
    if (s->n > 1) {
        tn_rng rng = tn_rng_stream(seed, TN_RNG_MINIBATCH, number);
        tn_rng_shuffle(&rng, s->order, (size_t)s->n_pair);
    }
    double all = 0;
    for (int k = 0, at = 0; k < s->n; k++) {
        int end = s->n_pair * (k + 1) / s->n, n = 0;
        uint32_t *both = s->both;
        for (; at < end; at++)
            for (int side = 0; side < 2; side++) both[n++] = (uint32_t)s->slice[2 * s->order[at] + (uint32_t)side];
        tn_rollouts_arrange_pairs(&s->part[k], r, both, n);
        tn_total *t = &s->total[k];
        *t = (tn_total){.tok = s->part[k].n_tok, .seq = n, .pair = n / 2};
        for (int i = 0; i < n; i += 2) t->chosen_tok += s->part[k].response[i].n;
        all += t->tok;
    }
    for (int k = 0; k < s->n; k++) s->total[k].gen_tok = (all > 1 ? all : 1) / s->n;
}
