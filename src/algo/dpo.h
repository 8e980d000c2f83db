/* Shared by the losses on pairs with a reference. */
#ifndef TN_ALGO_DPO_H
#define TN_ALGO_DPO_H
#include "algo/losses.h"

/* Names and averages as TRL's: rewards are beta times the raw log-ratios a, b of pair i for every
 * loss type, s_w and s_l the log-probabilities that went into them; plus ranking_accuracy. */
void tn_dpo_pair_metrics(const tn_obs *x, int i, double beta, double s_w, double s_l, double a,
                         double b, tn_metrics *m);
#endif
