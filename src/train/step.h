/* One optimiser step: micro-batches, reference pass, algorithm, backward, clipping, AdamW.
 *
 *   for each micro-batch:  forest -> forward -> heads -> algorithm(numbers) -> head backward -> backward
 *   then once:             ||g|| -> clip -> AdamW -> repack
 *
 * Algorithms with coupling up to GROUP see whole examples in one micro-batch: one pass. What needs more than that is
 * known ahead (ahead.h): then the algorithm of coupling BATCH has been asked before the pass. With gradient lanes
 * (lanes.h) each lane is such a sequence of micro-batches, and ranks share the work; every rank calls the same
 * functions with the same examples. */
#ifndef TN_TRAIN_STEP_H
#define TN_TRAIN_STEP_H
#include "train/ahead.h"
#include "train/pair.h"

typedef struct tn_optimiser {
    double lr, beta1, beta2, eps, weight_decay, max_grad_norm; /* max_grad_norm <= 0: no clipping */
    bool decay_all;
} tn_optimiser;

struct tn_trainee {
    tn_model *model;
    tn_run *run;
    const tn_model *ref; /* frozen reference, or NULL */
    tn_run *ref_run;     /* NULL: run serves both */
    const tn_algo *algo;
    const void *opt; /* bound option struct of the algorithm */
    unsigned needs;  /* tn_algo_needs(algo, opt) */
    tn_batch_options batch;
    double inv_temp;             /* of the language-model head */
    double value_mean, value_sd; /* values and scores are (raw - mean)/sd; sd 0 stands for 1 */
    bool expect_on_policy; /* before the first update: logp must equal old_logp to the bit */
    bool rests;            /* the next update is the last for a while: then the gradients are in no memory until the next pass */
    double weight;         /* on the loss and its gradient; 0 stands for 1 */
    const tn_total *total; /* of the batch, when its examples do not tell; NULL: they are counted */
    int max_tokens;        /* per micro-batch */
    tn_pooled_run *pooled; /* the score is that of a pooled head; NULL: score.weight's */
    tn_lanes *lanes;       /* NULL: one lane on one rank */
    tn_batch mb;           /* reused */
    tn_foresight ahead;    /* of losses that need it */
    tn_pairing pair;       /* of losses on divergences from ref, which then has a ref_run */
};

/* Numbers of one finished micro-batch under the model: fills the arrays that algo->needs names. */
tn_status tn_trainee_observe(tn_trainee *t, bool keep, tn_err *e);
/* Reference log-probs of the finished micro-batch into mb.ref_logp. */
tn_status tn_trainee_reference(tn_trainee *t, tn_err *e);
/* Fills mb with as many of the n examples from *i on as its tokens allow, at least one; *i moves on. */
tn_status tn_trainee_fill(tn_trainee *t, tn_example *const *ex, int n, int *i, tn_err *e);
/* Reference log-probs of b's n examples go where they have room for them. */
void tn_batch_keep_reference(const tn_batch *b, tn_example *const *ex, int n);
/* The algorithm sees what was computed: arrays that hold numbers of another batch, or none, are NULL. */
void tn_trainee_hide_unknown(const tn_trainee *t, tn_obs *x);
/* Forward, and backward when `train`, over `n` examples. Gradients add up in the model. Reference log-probs are
 * kept in examples that have room for them (ref) and taken from there afterwards: per-token numbers do not depend
 * on the batch, so the bits are the same. */
tn_status tn_trainee_accumulate(tn_trainee *t, tn_example *const *ex, int n, bool train,
                                tn_step_result *r, tn_err *e);
/* The same for batches of several trainees of one model, whose gradients are one: rollouts and a pretraining mix.
 * Lanes are the first one's. n <= TN_LANE_BATCHES. */
typedef struct tn_work {
    tn_trainee *t;
    tn_example *const *ex;
    int n;
    tn_step_result *r;
} tn_work;
tn_status tn_trainee_accumulate_all(const tn_work *w, int n, bool train, tn_err *e);
/* The whole batch's ||g||, clip, AdamW with learning rate `lr`; `step` counts from 1. Refuses a gradient that is not finite. */
tn_status tn_trainee_update(tn_trainee *t, const tn_optimiser *o, double lr, long step,
                            tn_step_result *r, tn_err *e);
/* What an update does when t->rests, at any time between steps: gradients are zeros, and in no memory. */
void tn_trainee_rest(tn_trainee *t);
/* Reference log-probs of every example of n datasets, kept with them; the rooms for them (ref) of a dataset lie one
 * after the other. Ranks compute a share each. */
tn_status tn_trainee_precompute_reference(tn_trainee *t, tn_dataset *const *d, int n, tn_err *e);
#endif
