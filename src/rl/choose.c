/* A generation batch cut into steps of pairs, or of its best responses; see critic_free.h. */
#include "base/mathx.h"
#include "base/rng.h"
#include "algo/group.h"
#include "rl/critic_free.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT(f) offsetof(tn_pair_options, f)
const tn_opt_row tn_pair_rows[] = {
    {"min-reward-gap", TN_OPT_REAL, AT(min_gap), "0", NULL, 0, 1e9, NULL, "X",
     "Leave out prompts whose best and worst response are no further apart; 0: only ties."},
    {"missing-eos-penalty", TN_OPT_REAL, AT(missing_eos), "0", NULL, 0, 1e9, NULL, "X",
     "Taken off the reward of responses that do not end within --max-new-tokens."},
    {"reference", TN_OPT_CHOICE, AT(reference), "start", "start|sampling", 0, 0, NULL, NULL,
     "start: the starting model (or --ref-model) throughout. sampling: the policy that made the responses, as in "
     "iterative DPO; it needs no second model, the sampler's log-probs serve."},
    {"soft-labels", TN_OPT_BOOL, AT(soft), "false", NULL, 0, 0, NULL, NULL,
     "Rewards are Bradley-Terry scores (of a reward model, or of a judge with --judge-reward logit): the better response is better "
     "with the probability that their gap says, instead of certainly."},
    TN_OPT_LAST};
#undef AT
#define AT(f) offsetof(tn_best_options, f)
const tn_opt_row tn_best_rows[] = {
    {"keep", TN_OPT_INT, AT(keep), "1", NULL, 1, 4096, NULL, "K", "Responses to learn from, of each prompt's G."},
    {"choose", TN_OPT_CHOICE, AT(choose), "prompt", "prompt|batch", 0, 0, NULL, NULL,
     "prompt: the K best of each prompt. batch: as many in all, whichever prompts they belong to."},
    {"min-reward", TN_OPT_REAL, AT(min_reward), NULL, NULL, -1e9, 1e9, NULL, "X",
     "Never learn from a response with less reward."},
    TN_OPT_LAST};

/* The policy's response to prompt g and its opponent's; the policy's wins when they are equal. */
static bool compare(const tn_rollouts *r, int g, bool mask_truncated, int pair[2]) {
    int own = g * r->n_sample, other = own + 1;
    double a = r->advantage[r->off[own]], b = r->advantage[r->off[other]];
    if (isnan(a) || isnan(b) || (mask_truncated && !(r->ended[own] && r->ended[other]))) return false;
    pair[0] = a >= b ? own : other, pair[1] = a >= b ? other : own;
    return true;
}

/* The responses to prompt g with the most and the least reward, the first of equals; false: there is no pair. */
static bool choose(const tn_rollouts *r, int g, const tn_pair_options *o, bool mask_truncated, int pair[2]) {
    double best = -HUGE_VAL, worst = HUGE_VAL;
    if (r->opposed) return compare(r, g, mask_truncated, pair);
    pair[0] = pair[1] = -1;
    for (int i = g * r->n_sample; i < (g + 1) * r->n_sample; i++) {
        double v = r->advantage[r->off[i]];
        if (isnan(v) || (mask_truncated && !r->ended[i])) continue;
        if (v > best) best = v, pair[0] = i;
        if (v < worst) worst = v, pair[1] = i;
    }
    return best - worst > o->min_gap;
}

/* Numbers 0 .. n-1 in the order in which slices get them. */
static void shuffle(tn_slices *s, int n, uint64_t seed, uint64_t number) {
    for (int k = 0; k < n; k++) s->order[k] = (uint32_t)k;
    if (s->n == 1) return;
    tn_rng rng = tn_rng_stream(seed, TN_RNG_MINIBATCH, number);
    tn_rng_shuffle(&rng, s->order, (size_t)n);
}

/* P(chosen is better) = s(r_chosen - r_rejected) in every pair. */
static void soften(tn_rollouts *pairs) {
    for (int k = 0; k < pairs->n_ex; k++) {
        tn_example *x = &pairs->ex[k];
        x->has_p = true;
        x->p = tn_sigmoid(x->advantage[0] - x->advantage[x->response[0].n]);
    }
}

static void share_tokens(tn_slices *s) {
    double all = 0;
    for (int k = 0; k < s->n; k++) all += s->total[k].tok = s->part[k].n_tok;
    for (int k = 0; k < s->n; k++) s->total[k].gen_tok = (all > 1 ? all : 1) / s->n;
}

void tn_slices_cut_pairs(tn_slices *s, const tn_rollouts *r, const tn_pair_options *o, bool mask_truncated, uint64_t seed,
                         uint64_t number) {
    s->n_chosen = 0;
    for (int g = 0; g < r->n_prompt; g++) s->n_chosen += choose(r, g, o, mask_truncated, s->slice + 2 * s->n_chosen);
    shuffle(s, s->n_chosen, seed, number);
    for (int k = 0, at = 0; k < s->n; k++) {
        int end = s->n_chosen * (k + 1) / s->n, n = 0;
        for (; at < end; at++)
            for (uint32_t side = 0; side < 2; side++) s->mine[n++] = (uint32_t)s->slice[2 * s->order[at] + side];
        tn_rollouts_arrange_pairs(&s->part[k], r, s->mine, n);
        if (o->soft) soften(&s->part[k]);
        s->total[k] = (tn_total){.seq = n, .pair = n / 2};
        for (int i = 0; i < n; i += 2) s->total[k].chosen_tok += s->part[k].response[i].n;
    }
    share_tokens(s);
}

/* Appends the best `keep` of responses [from, to) that may be chosen to s->slice. */
static tn_status take_best(tn_slices *s, const tn_rollouts *r, int from, int to, int keep, const tn_best_options *o,
                           bool mask_truncated, tn_err *e) {
    int n = 0;
    for (int i = from; i < to; i++) { /* s->order and s->reward: those in question */
        double v = r->advantage[r->off[i]];
        if (isnan(v) || v < o->min_reward || (mask_truncated && !r->ended[i])) continue;
        s->order[n] = (uint32_t)i;
        s->reward[n++] = v;
    }
    if (keep > n) keep = n;
    if (keep == 0) return TN_OK;
    int *to_take = s->slice + s->n_chosen;
    TN_TRY(tn_top(s->reward, n, keep, to_take, e));
    for (int k = 0; k < keep; k++) to_take[k] = (int)s->order[to_take[k]];
    s->n_chosen += keep;
    return TN_OK;
}

static int ascending(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

tn_status tn_slices_cut_best(tn_slices *s, const tn_rollouts *r, const tn_best_options *o, bool mask_truncated,
                             uint64_t seed, uint64_t number, tn_err *e) {
    int keep = (int)o->keep, G = r->n_sample;
    s->n_chosen = 0;
    if (strcmp(o->choose, "batch") == 0)
        TN_TRY(take_best(s, r, 0, r->n, keep * r->n_prompt, o, mask_truncated, e));
    else
        for (int g = 0; g < r->n_prompt; g++) TN_TRY(take_best(s, r, g * G, (g + 1) * G, keep, o, mask_truncated, e));
    shuffle(s, s->n_chosen, seed, number);
    for (int k = 0, at = 0; k < s->n; k++) {
        int end = (int)((int64_t)s->n_chosen * (k + 1) / s->n), n = 0;
        for (; at < end; at++) s->mine[n++] = (uint32_t)s->slice[s->order[at]];
        qsort(s->mine, (size_t)n, sizeof *s->mine, ascending); /* samples of one prompt side by side */
        tn_rollouts_arrange(&s->part[k], r, s->mine, n);
        s->total[k] = (tn_total){.seq = n};
    }
    share_tokens(s);
    return TN_OK;
}
