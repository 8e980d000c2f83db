/* What a reward model's scores say of labelled comparisons: how often they agree with the labels, and whether the
 * share that they promise, s(score margin), is the share in which they do. */
#ifndef TN_TRAIN_CALIBRATE_H
#define TN_TRAIN_CALIBRATE_H
#include "data/dataset.h"

typedef struct tn_judged {
    double *confidence; /* [n] max(p, 1 - p), p = s(raw margin) */
    int *correct;       /* [n] the better one has the higher score, strictly */
    size_t n, cap, cap_correct;
} tn_judged;
/* Every ordered pair of different responses of x; score [n_response], times `unit` the raw score. */
tn_status tn_judged_add(tn_judged *j, const tn_example *x, const double *score, double unit, tn_err *e);
/* {"pairs", "accuracy", "ece", "brier"}: expected calibration error in ten bins of equal width, and mean squared
 * error, of the confidences; NULL without pairs or memory. New reference. */
json_t *tn_judged_json(const tn_judged *j);
void tn_judged_free(tn_judged *j);
#endif
