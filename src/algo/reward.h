/* Around reward models: the form on rankings, calibration, and scores put to use. */
#ifndef TN_ALGO_REWARD_H
#define TN_ALGO_REWARD_H
#include "algo/losses.h"

tn_status tn_reward_opt_check(const tn_reward_opt *o, const char *who, tn_err *e);
void tn_reward_score_metrics(double score, tn_metrics *m);

/* Share of pairs with chosen > rejected, strictly: a collapsed model scores 0. */
double tn_reward_accuracy(const double *chosen, const double *rejected, int n);

/* Expected calibration error and Brier score of confidences (max(p, 1-p), p = s(score margin))
 * against correctness. edges[n_bin + 1] ascending; the last bin includes its upper edge.
 * TN_ARG when a confidence is outside all bins or n < 1. */
tn_status tn_calibration(const double *confidence, const int *correct, int n, const double *edges,
                         int n_bin, double *ece, double *brier, tn_err *e);

/* After training, r' = gain r + bias. Both: mean and std (ddof 0) of gain r + bias on the
 * reference scores become those asked for (Ziegler et al. 2019). Shift: gain 1, mean only
 * (InstructGPT). TN_ARG for n < 1, or when all scores are equal and a std is asked for. */
tn_status tn_reward_normaliser(const double *score, int n, bool shift_only, double mean, double std,
                               double *gain, double *bias, tn_err *e);

/* Llama 2's two rewards as probabilities: the safety score where the prompt is a safety prompt
 * or the score is below `threshold`, else the helpfulness score. */
void tn_reward_combine(const double *safety, const double *help, const int *is_safety, int n,
                       double threshold, double *out);
double tn_logit(double p);

/* A solution's score from its steps' logits: product of the step probabilities, or the least. */
double tn_prm_score(const double *logit, int n, bool product);
#endif
