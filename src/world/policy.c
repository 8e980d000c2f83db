/* Policies without a model: baselines that an evaluation must rank below an honest answerer. */
#include "world/internal.h"

const char *const tn_world_policy_name[TN_POLICY_COUNT] = {"always-refuse", "constant-answer",
                                                           "copy-prompt", "longest-answer"};

/* A right answer, then digressions for as long as one fits before <|end|>. */
static void longest(const tn_world *w, const tn_world_prompt *p, uint64_t index,
                    tn_world_text *out) {
    enum { TRIES = 16 };
    tn_rng r = tn_rng_stream(w->seed, TN_WR_POLICY, index);
    tn_world_good(w, p, out);
    for (int i = 0; i < TRIES; i++) {
        tn_world_text d = {0};
        tn_world_digress(w, &r, TN_POOL_ALL, &d);
        if (out->n + d.n < TN_WORLD_LIMIT) tn_world_append(out, &d);
    }
}

void tn_world_policy_answer(const tn_world *w, tn_world_policy k, const tn_world_prompt *p,
                            uint64_t index, tn_world_text *out) {
    out->n = 0;
    switch (k) {
    case TN_POLICY_REFUSE: tn_world_evade(w, out); break;
    case TN_POLICY_CONSTANT:
        tn_world_statement(w, out, TN_WA_COLOUR, 0, w->entity[0].value[TN_WA_COLOUR]);
        break;
    case TN_POLICY_COPY: tn_world_append(out, &p->turn[p->nturns - 1]); break;
    default: longest(w, p, index, out);
    }
}
