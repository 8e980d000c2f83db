/* What some losses must know of a whole step before its pass, found by passes without gradient.
 *
 *   KTO, BCO         a reference point for every response (tn_obs.baseline), from sums of log-probs
 *                    of the step: of mismatched pairs, or of the responses themselves
 *   coupling BATCH   all the numbers: the algorithm sees the step in one call, and its gradient
 *                    waits in the examples for the pass that goes back through the model
 *
 * The network's numbers are computed twice then; per-token numbers do not depend on the batch, so
 * they are the same. Ranks compute a share of the examples each and get the others' numbers, the same
 * bits whoever computes them: so are the results, for any number of ranks and lanes. */
#ifndef TN_TRAIN_AHEAD_H
#define TN_TRAIN_AHEAD_H
#include "train/lanes.h"

typedef struct tn_trainee tn_trainee;

/* This rank's share of n examples in micro-batches, observed without gradient; `seen` takes the numbers in t->mb, which are
 * those of `n` examples from number `first` on. Where one rank is interrupted, all are. */
typedef tn_status (*tn_seen)(void *ctx, tn_trainee *t, int first, int n, tn_err *e);
tn_status tn_trainee_look(tn_trainee *t, tn_example *const *ex, int n, bool train, tn_seen seen, void *ctx, tn_err *e);

/* How reference points are found; a task has one, or none. */
typedef struct tn_ahead {
    bool mismatched; /* from examples' mismatched pairs; else from the examples themselves */
    long block;      /* so many examples in order share a point; 0: all of the step */
    /* From n sums of log-probs under policy and reference. `state` is the run's, and a part of its
     * checkpoints. Not mismatched: evaluations add nothing to it, n is 0 then. */
    double (*point)(const void *opt, double state[2], const double *logp, const double *ref_logp,
                    int n);
} tn_ahead;

typedef struct tn_foresight {
    const tn_ahead *how; /* NULL: no reference points */
    double state[2];
    size_t cap;         /* examples of the largest step or evaluation */
    tn_example **list;  /* [cap] */
    double *logp, *ref; /* [cap] sums */
    tn_batch whole;     /* coupling BATCH: the step, without its forward */
    size_t *at;         /* [ranks+1] shares in bytes */
} tn_foresight;

/* Room for steps and evaluations of at most n examples, which take `whole` together (NULL: no coupling
 * BATCH); and the bytes behind that, for the memory plan. */
tn_status tn_foresight_reserve(tn_foresight *f, size_t n, const tn_batch_need *whole, int ranks,
                               tn_err *e);
size_t tn_foresight_bytes(size_t n, const tn_batch_need *whole);
void tn_foresight_free(tn_foresight *f);
/* Gives the examples of a step or evaluation their reference points. */
tn_status tn_trainee_points(tn_trainee *t, tn_example *const *ex, int n, bool train, tn_err *e);
/* Coupling BATCH: loss and metrics of the step; with `train` the gradient (d loss / d log-prob is all
 * there is) waits in the examples (grad) until the next call. */
tn_status tn_trainee_decide(tn_trainee *t, tn_example *const *ex, int n, const tn_total *total,
                            bool train, tn_step_result *r, tn_err *e);
#endif
