/* Losses on exact divergences between the model and a second one, its reference or its teacher: what a micro-batch
 * needs for them beside its own numbers. The second model goes through a workspace of its own, since the heads read
 * both models' hidden rows at once. */
#ifndef TN_TRAIN_PAIR_H
#define TN_TRAIN_PAIR_H
#include "algo/algo.h"
#include "model/budget.h"
#include "train/adapters.h"
#include "train/batch.h"

#define TN_NEED_PAIR (TN_NEED_KL | TN_NEED_RKL | TN_NEED_JSD)

typedef struct tn_pairing {
    double beta;    /* of the Jensen-Shannon divergence */
    tn_batch mb;    /* the second model's side of the micro-batch, where examples have one (tn_example.teacher) */
    size_t cap;     /* tokens */
    double *slab;   /* arrays of cap numbers each */
} tn_pairing;
struct tn_trainee;

tn_status tn_pairing_reserve(tn_pairing *p, int tokens, tn_err *e);
void tn_pairing_free(tn_pairing *p);
/* For the memory plan, beside tn_reference_budget with the same arguments. */
tn_status tn_pairing_budget(tn_budget *p, const tn_desc *policy, const tn_lora_spec *s, const tn_adapter_options *o,
                            const char *dir, const char *ref_dir, tn_backend *be, int tokens, int rows, int length,
                            int blocks, tn_err *e);
/* The second model's side of examples ex[n], which are the finished micro-batch; nothing when they have none. */
tn_status tn_pairing_fill(struct tn_trainee *t, tn_example *const *ex, int n, tn_err *e);
/* After the micro-batch's own heads: the second model's forward and the divergences that t->needs names. Its
 * log-probs go to mb.ref_logp where they are needed. */
tn_status tn_pairing_observe(struct tn_trainee *t, tn_err *e);
/* The algorithm's view of them, and zeroed gradients. */
void tn_pairing_wire(struct tn_trainee *t, tn_obs *x, tn_grad *g);
/* Of both heads' numbers; stands for tn_lm_head_backward. */
tn_status tn_pairing_backward(struct tn_trainee *t, const tn_lm *q, const tn_lm_grad *d, tn_err *e);
#endif
