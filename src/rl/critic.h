/* A critic of rollouts: a value for each token, from a model of its own. */
#ifndef TN_RL_CRITIC_H
#define TN_RL_CRITIC_H
#include "rl/online.h"

typedef struct tn_critic_spec {
    const char *name;   /* its folder in checkpoints, its rows of the memory plan: critic, cost-critic */
    const char *how;    /* auto | policy | DIR: what it starts from */
    const char *judge;  /* the folder of the model whose scores it foresees; auto takes that, with one tokenizer */
    tn_algo const *algo;
    const void *opt;
    size_t examples;    /* of a minibatch */
    uint64_t seed;
} tn_critic_spec;

/* The critic: the judge with its normalisation, or the policy with a zero head; a copy, or where the policy or that
 * model is an adapter, a view of its trunk with an adapter of its own. Registered with the run's checkpoints, and
 * loaded from that which the run continues. */
tn_status tn_critic_open(tn_trainee *c, tn_online *on, const tn_critic_spec *s, const tn_scorer *judge, tn_err *e);
void tn_critic_close(tn_trainee *c);
/* Its share of the memory plan of a measured run; what it will be, for estimates of the time. */
tn_status tn_critic_budget(const tn_critic_spec *s, const tn_online *on, tn_budget *b, tn_err *e);
tn_status tn_critic_peek(const tn_critic_spec *s, const tn_online *on, tn_desc *d, tn_lora_spec *l, bool *shared,
                         tn_err *e);

/* A judge that a critic may start from. With adapters a judge on the policy's base is a view, and the critic trains
 * on its trunk. */
tn_status tn_judge_open(tn_scorer *j, const tn_critic_spec *s, const tn_online *on, tn_err *e);
/* The critic has its copy, or there is none: from here on the judge is only read. Without adapters it is parked. */
tn_status tn_judge_freeze(const tn_scorer *j, const tn_online *on, tn_err *e);
tn_status tn_judge_budget(const tn_critic_spec *s, const tn_online *on, tn_budget *b, tn_err *e);
#endif
