/* Passes and models of methods; see price.h. Pairs are two responses. */
#include "algo/price.h"
#include <stddef.h>
#include <string.h>

/* method, sampled, scored, trained, models that are trained, and that are frozen */
const tn_price tn_price_all[] = {
    {"sft", 0, 0, 1, 1, 0},
    {"reward", 0, 0, 1, 1, 0},
    {"dpo", 0, 1, 1, 1, 1},
    {"dpo-stored-ref", 0, 0, 1, 1, 0}, /* reference log-probs computed once */
    {"cpo", 0, 0, 1, 1, 0},            /* no reference; SimPO and ORPO alike */
    {"grpo", 1, 3, 1, 1, 2},           /* scored by old policy, reference, reward model */
    {"grpo-rule", 1, 1, 1, 1, 0},      /* no KL, verifiable reward */
    {"ppo", 1, 4, 2, 2, 2},            /* and the critic's values */
    {NULL, 0, 0, 0, 0, 0},
};
const tn_price_bytes tn_price_mixed = {18, 2};

const tn_price *tn_price_find(const char *method) {
    for (const tn_price *p = tn_price_all; p->method; p++)
        if (method && strcmp(p->method, method) == 0) return p;
    return NULL;
}

double tn_price_flop(const tn_price *p, double params, int epochs) {
    return params * (2 * p->sampled + 2 * p->scored + 6 * epochs * p->trained);
}

double tn_price_memory_of(double trainable, double frozen, const tn_price_bytes *b) {
    return trainable * b->trainable + frozen * b->frozen;
}

double tn_price_memory(const tn_price *p, double params, const tn_price_bytes *b) {
    return tn_price_memory_of(p->trainable * params, p->frozen * params, b);
}
