/* A pooled head (algo/pooled.h) in training: between a model's hidden rows and the loss.
 *
 * Its parameters are the parts of the model's score head (model.h), float32 in the store like all
 * others, so that gradients, moments, shards and checkpoints need to know nothing of it; forward and
 * backward run on a copy in double. score.weight, which no gradient reaches, is what they fold to:
 * in evaluation every such head is linear, so whoever reads reward models reads these, too.
 * Noise is a function of (seed, step, number of the response in it), whatever micro-batch, lane or rank it is in. */
#ifndef TN_TRAIN_POOLED_H
#define TN_TRAIN_POOLED_H
#include "algo/pooled.h"
#include "train/batch.h"

typedef struct tn_pooled_run {
    const tn_pooled_head *head;
    const void *opt; /* of the head and its loss */
    uint64_t seed;
    long step; /* under way */
    int width, n_noise, n_extra;
    size_t n_param, cap;       /* cap: responses of a micro-batch */
    double *w, *dw, *fold;     /* [n_param], [n_param], [width] */
    double *x, *dx, *noise;    /* [cap][width], [cap][width], [cap][n_noise] */
    double *extra, *d_extra;   /* [cap][n_extra] */
    /* losses of coupling BATCH: the step without its tokens, its numbers and their gradient */
    tn_batch whole;
    size_t step_cap, *at;               /* responses; [ranks+1] shares in bytes */
    double *step_extra, *d_step_extra;  /* [step_cap][n_extra] */
} tn_pooled_run;

/* Asks for the head's parts where a model is loaded. */
void tn_pooled_wants(const tn_pooled_head *h, const void *opt, tn_load *how);
/* For micro-batches of up to `seqs` responses. */
tn_status tn_pooled_new(tn_pooled_run **p, const tn_pooled_head *h, const void *opt, int width, int seqs,
                        uint64_t seed, tn_err *e);
size_t tn_pooled_bytes(const tn_pooled_head *h, const void *opt, int width, int seqs);
void tn_pooled_free(tn_pooled_run *p);
/* b->score of a finished micro-batch whose rows were forwarded; with noise when `train`. */
tn_status tn_pooled_forward(tn_pooled_run *p, tn_run *r, const tn_model *m, tn_batch *b, bool train, tn_err *e);
/* What else the loss reads, and where it puts that gradient (zeroed). */
void tn_pooled_obs(tn_pooled_run *p, const tn_batch *b, tn_obs *x, tn_grad *g);
/* After such a forward with the same micro-batch: gradients of rows and parts are added to. */
tn_status tn_pooled_backward(tn_pooled_run *p, tn_run *r, tn_model *m, const tn_batch *b, const tn_grad *g,
                             tn_err *e);
/* The penalty on the parameters; its gradient is added when `train`. */
double tn_pooled_penalty(tn_pooled_run *p, tn_model *m, bool train);
/* ---- coupling BATCH: pooled_step.c ---- */
typedef struct tn_trainee tn_trainee;
typedef struct tn_step_result tn_step_result;
/* Room for steps and evaluations of up to `seqs` responses, and the bytes behind that. */
tn_status tn_pooled_reserve_step(tn_pooled_run *p, size_t seqs, int ranks, tn_err *e);
size_t tn_pooled_step_bytes(const tn_pooled_head *h, const void *opt, size_t seqs);
void tn_pooled_free_step(tn_pooled_run *p);
/* Loss and metrics of a step or evaluation of n examples; its gradient waits. */
tn_status tn_pooled_decide(tn_trainee *t, tn_example *const *ex, int n, const tn_total *total, bool train,
                           tn_step_result *r, tn_err *e);
/* What was decided of the responses of a micro-batch. */
void tn_pooled_recall(const tn_pooled_run *p, const tn_batch *b, tn_grad *g);
/* score.weight from the parts; after any change of them. */
void tn_pooled_fold(tn_pooled_run *p, tn_model *m);
#endif
