/* What stands beside best of n (bon.h): gold over d = sqrt(KL) at the checkpoints of a run that learned from a proxy. */
#ifndef TN_EVAL_BON_RUN_H
#define TN_EVAL_BON_RUN_H
#include "eval/overopt.h"

typedef struct tn_bon_step {
    double d, gain, proxy; /* sqrt(KL), 0 where an estimate is below; gold less that of the nearest; NaN: not known */
} tn_bon_step;
typedef struct tn_bon_run {
    char name[64];
    int n;
    tn_bon_step *step; /* [n] by d */
    tn_overopt fit;    /* through the gains, d >= TN_BON_LEAST_D */
} tn_bon_run;
#define TN_BON_LEAST_D 0.3 /* the form for reinforcement learning has an infinite slope at 0 */

/* spec: [NAME=]FILE of rows {"true_reward", "kl"[, "proxy"]} (`tenet eval --curve`); a bare FILE is "reinforcement learning". TN_FORMAT for
 * rows without the first two, TN_ARG for fewer than two far enough. tn_bon_run_free also after an error. */
tn_status tn_bon_run_read(tn_bon_run *r, const char *spec, tn_err *e);
void tn_bon_run_free(tn_bon_run *r);
#endif
