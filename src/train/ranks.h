/* What a training loop asks about the ranks of its run. */
#ifndef TN_TRAIN_RANKS_H
#define TN_TRAIN_RANKS_H
#include "base/json.h"
#include "comm/comm.h"
#include "train/options.h"

/* The ranks that this run has, as its options and its launcher say; --threads 0 becomes this rank's share. */
tn_status tn_ranks_open(tn_train_options *o, tn_comm **c, tn_err *e);
/* Gradient lanes: --grad-lanes, else those of the checkpoint that the run continues, else one a rank.
 * `from`: the checkpoint's folder, or "". */
tn_status tn_ranks_lanes(const tn_train_options *o, tn_comm *c, const char *from, int *lanes,
                         tn_err *e);
/* Adds them to a checkpoint's state (when there are several). */
tn_status tn_ranks_save_lanes(json_t *state, int lanes, tn_err *e);
/* All ranks hold the same rows and compute with the same numeric profile. */
tn_status tn_ranks_check(tn_comm *c, uint64_t data_hash, const char *profile, tn_err *e);
/* Does any rank have a request to stop, to write a checkpoint? The same answer for all; once a step. */
tn_status tn_ranks_signals(tn_comm *c, bool *stop, bool *checkpoint, tn_err *e);
#endif
