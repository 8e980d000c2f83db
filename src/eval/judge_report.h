/* What judges are worth, from the labels that they gave: the object of OUT.report.json, and its table.
 *
 *   {"pairs", "judges": [J, ...], "ensemble": J (of several), "agreement": [{"judges": [a, b], "n", "rate", "kappa"}, ...]}
 * J of one judge, over its pairs (and the principles that they were judged by):
 *   "judge", "weight", "pairs"       with a verdict
 *   "orders", "failed", "failure_rate"  answers that were asked for, and those without a verdict
 *   "consistency"                    the same winner in both orders; rates are {"n", "rate", "low", "high"}, Wilson's 95 %
 *   "first_position_rate", "position_bias"
 *   "length_correlation"             Pearson's, of the difference in bytes and the probability; "longer_wins": share
 *   "mean_margin"                    |p - 1/2|
 *   for each key of rows that know better, "human" or "truth" (1 or 2), by that name:
 *     "accuracy", "log_loss", "brier", "ece" of confidence max(p, 1 - p) in ten bins, "temperature" that fits best,
 *     "log_loss_at_temperature", "ece_at_temperature"
 * The ensemble has no orders of its own. What is not defined (a correlation without variance) is null. */
#ifndef TN_EVAL_JUDGE_REPORT_H
#define TN_EVAL_JUDGE_REPORT_H
#include "oversight/label.h"
#include <stdio.h>

typedef struct tn_judged {
    const char *name;
    double weight;
    const tn_label *label; /* of its principles, NULL: an ensemble */
    int n_label;
    const double *p;       /* [rows], NaN: none */
} tn_judged;
/* Rows {"responses": [a, b], ...}. `all` (may be NULL) is the ensemble of j [n]. *report: new reference. */
tn_status tn_judge_report(const tn_judged *j, int n, const tn_judged *all, json_t *const *row, int rows, json_t **report, tn_err *e);
void tn_judge_report_print(const json_t *report, FILE *f);
#endif
