/* Direct AI feedback: a judge on one answer at a time, as a reward without a reward model (Lee et al. 2023, 2309.00267).
 *
 *   score    s = sum_i i P(i) over the numbers 1 .. 10 that the judge may say next, P normalised: in [1, 10]
 *   verdict  P((A)) that the answer does by the principle, asked twice with the two options exchanged (algo/feedback.h)
 * The number 1 is not the beginning of 10: its likelihood is what is left when that of 10 is taken off. Under several principles
 * the weighted mean; where one asks for the worse option, 11 - s and 1 - p. With chains of thought, the mean over them
 * (verdicts clamped, as in label.h). Which principles: label.h. */
#ifndef TN_OVERSIGHT_RATING_H
#define TN_OVERSIGHT_RATING_H
#include "oversight/label.h"

typedef enum tn_rating_kind { TN_RATING_SCORE, TN_RATING_VERDICT } tn_rating_kind;

/* Rows {"prompt", "response"}. rating [n]: s or p; NaN where the judge (skip_long) could not read so much. */
tn_status tn_rate_rows(const tn_labelling *l, tn_rating_kind kind, json_t *const *row, const char *const *where, int n, double *rating, tn_err *e);
#endif
