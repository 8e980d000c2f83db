/* Gradient lanes: the order in which a step's gradients are added, for any number of ranks.
 *
 * A step's examples are dealt to L lanes (a power of two) by their costs alone. A lane is what a run without
 * lanes is: micro-batches in order, into one gradient. Lanes are added by the binary tree over their
 * numbers, (0+1)+(2+3) and so on. Rank r of N (a power of two, at most L) owns lanes r L/N ... (r+1) L/N - 1,
 * which are a whole subtree: it adds them at home and meets the other subtrees' sums where the tree joins
 * them. Losses and metrics are added in the order of lanes. So a run's bits depend on L, never on N.
 *
 * Each rank keeps AdamW's moments of one shard of every store, updates that shard and gives it to the others
 * (Rajbhandari et al. 2020, 1910.02054, stage 1). */
#ifndef TN_TRAIN_LANES_H
#define TN_TRAIN_LANES_H
#include "comm/comm.h"
#include "train/batch.h"
#include "train/pooled.h"

struct tn_step_result {
    double loss, grad_norm; /* grad_norm before clipping */
    long tokens;            /* tokens put through the model, shared prompts counted once */
    long full_tokens;       /* as padded frameworks count them: prompt once per response */
    int micro_batches;
    tn_metrics metrics;
};

typedef struct tn_lanes tn_lanes;

/* Are `ranks` and `lanes` powers of two, ranks <= lanes? TN_ARG with what to try. */
tn_status tn_lanes_check(int ranks, int lanes, tn_err *e);
/* Gradients that a rank holds at once, besides the model's own: log2(lanes/ranks). */
int tn_lanes_spare(int ranks, int lanes);

/* Lanes of one model, which becomes trainable with this rank's shard of the moments. `examples`: of the
 * largest batch. *l stays NULL for one lane on one rank: there is nothing to do then. */
tn_status tn_lanes_new(tn_lanes **l, tn_comm *c, int lanes, tn_model *m, size_t examples,
                       tn_err *e);
void tn_lanes_free(tn_lanes *l);
tn_comm *tn_lanes_comm(const tn_lanes *l); /* of NULL: tn_comm_self() */
void tn_lanes_rest(tn_lanes *l); /* between steps: spare gradients give their memory back. NULL is fine */

/* ---- a step: of one batch, or of several (numbered by `w`) whose gradients are one ---- */
enum { TN_LANE_BATCHES = 2 };
tn_status tn_lanes_deal(tn_lanes *l, int w, tn_example *const *ex, int n, const tn_batch_options *o,
                        tn_err *e);
/* This rank's lanes are then worked off in order. While the i-th is open the model's gradient is the lane's
 * (zero at first); when it is shut, the lanes so far are added as far as the tree allows, and the model has
 * its own gradient again. */
int tn_lanes_own(const tn_lanes *l);
bool tn_lanes_first(const tn_lanes *l, int i); /* is it the first of all ranks' lanes? */
void tn_lanes_open(tn_lanes *l, int i);
void tn_lanes_shut(tn_lanes *l, int i);
tn_example *const *tn_lanes_examples(const tn_lanes *l, int w, int i, int *n);
/* What lane i has summed up, to be filled in by the caller (zeroed by tn_lanes_deal). */
tn_step_result *tn_lanes_result(tn_lanes *l, int w, int i);
/* Adds all lanes of all ranks to *r: loss, tokens, micro_batches, metrics. */
tn_status tn_lanes_collect(tn_lanes *l, int w, tn_step_result *r, tn_err *e);

/* ---- an update: shard.c ---- */
/* This rank's shard of the gradient gets the sum over all ranks; *sumsq is that of the whole gradient. */
tn_status tn_lanes_reduce(tn_lanes *l, double *sumsq, tn_err *e);
/* Every rank's shard of the weights goes to all. */
tn_status tn_lanes_share_weights(tn_lanes *l, tn_err *e);
#endif
