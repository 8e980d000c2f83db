/* A reference that follows the policy (TR-DPO, Gorbatovski et al. 2024, 2404.09656): after every
 * --ref-model-sync-steps updates  ref = alpha policy + (1 - alpha) ref,  in double, rounded once.
 * It is a part of checkpoints. TRL's names and defaults. */
#ifndef TN_TRAIN_MOVING_REF_H
#define TN_TRAIN_MOVING_REF_H
#include "train/adapters.h"

typedef struct tn_sync_options {
    bool on;
    double mixup_alpha;
    int64_t steps;
} tn_sync_options;
extern const tn_opt_row tn_sync_option_rows[];
#define TN_MOVING_REF "reference" /* its folder in a checkpoint */

/* May it be? Not with log-probs computed once, nor beside adapters (`dir`: --model). */
tn_status tn_moving_ref_check(bool precomputed, const tn_adapter_options *o, const char *dir,
                              tn_err *e);
/* A copy of the policy (or the model in ref_dir), or what checkpoint `from` has; with masters. */
tn_status tn_moving_ref_open(tn_model **ref, const tn_model *policy, const char *ref_dir,
                             const char *from, tn_err *e);
tn_status tn_moving_ref_mix(tn_model *ref, const tn_model *policy, double alpha, tn_err *e);
#endif
