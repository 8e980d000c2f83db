#include "train/calibrate.h"
#include "algo/reward.h"
#include <string.h>

enum { BINS = 10 };

static bool same(const tn_response *a, const tn_response *b) {
    return a->n == b->n && memcmp(a->ids, b->ids, (size_t)a->n * sizeof *a->ids) == 0;
}

tn_status tn_judged_add(tn_judged *j, const tn_example *x, const double *score, double unit, tn_err *e) {
    for (int a = 0; a < x->n_response; a++)
        for (int b = 0; b < x->n_response; b++) {
            if (x->response[a].rank >= x->response[b].rank || same(&x->response[a], &x->response[b])) continue;
            if (!TN_GROW(j->confidence, j->cap, j->n + 1) || !TN_GROW(j->correct, j->cap_correct, j->n + 1))
                return tn_fail(e, TN_NOMEM, "out of memory");
            double margin = unit * (score[a] - score[b]);
            j->confidence[j->n] = tn_sigmoid(margin < 0 ? -margin : margin);
            j->correct[j->n++] = margin > 0;
        }
    return TN_OK;
}

json_t *tn_judged_json(const tn_judged *j) {
    double edge[BINS + 1], ece, brier, right = 0;
    for (int i = 0; i <= BINS; i++) edge[i] = 0.5 + 0.5 * i / BINS;
    if (!j->n || tn_calibration(j->confidence, j->correct, (int)j->n, edge, BINS, &ece, &brier, NULL) != TN_OK)
        return NULL;
    for (size_t i = 0; i < j->n; i++) right += j->correct[i];
    return json_pack("{s:I,s:f,s:f,s:f}", "pairs", (json_int_t)j->n, "accuracy", right / (double)j->n, "ece", ece,
                     "brier", brier);
}

void tn_judged_free(tn_judged *j) {
    tn_free(j->confidence);
    tn_free(j->correct);
    memset(j, 0, sizeof *j);
}
