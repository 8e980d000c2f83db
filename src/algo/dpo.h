/* Shared by the losses on pairs with a reference. */
#ifndef TN_ALGO_DPO_H
#define TN_ALGO_DPO_H
#include "algo/losses.h"
#include "base/mathx.h"

/* One pair as a loss sees it. */
typedef struct tn_dpo_pair {
    double a, b;      /* log-ratios, after f and per token where the row says so */
    double n_w, n_l;  /* scored tokens */
    double p, margin; /* probability that the label is right */
} tn_dpo_pair;
typedef struct tn_dpo_term { double loss, da, db; } tn_dpo_term;

/* A loss sees f(a), f(b) of the f-divergence; sees them divided by length; reads p, so that soft labels mean something. */
enum { TN_DPO_SCORES = 1, TN_DPO_PER_TOKEN = 2, TN_DPO_SOFT = 4 };
typedef struct tn_dpo_loss {
    const char *name;
    int flags;
    tn_dpo_term (*f)(const tn_dpo_opt *o, const tn_dpo_pair *q); /* NULL: sft, the likelihood of the chosen responses */
} tn_dpo_loss;
extern const tn_dpo_loss tn_dpo_losses[]; /* ends with a NULL name */
const tn_dpo_loss *tn_dpo_find(const char *name); /* NULL: no such loss */
bool tn_dpo_reads_p(tn_opt_list types);           /* do all of these? none: the default, which does */

/* Names and averages as TRL's: rewards are beta times the raw log-ratios a, b of pair i for every
 * loss type, s_w and s_l the log-probabilities that went into them; plus ranking_accuracy. */
void tn_dpo_pair_metrics(const tn_obs *x, int i, double beta, double s_w, double s_l, double a,
                         double b, tn_metrics *m);
#endif
