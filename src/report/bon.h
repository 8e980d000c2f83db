/* The page of `tenet best-of-n`: gold and proxy over d = sqrt(KL), best of n beside reinforcement learning, with the fitted forms. The two have
 * axes of their own: their distances are different budgets. */
#ifndef TN_REPORT_BON_H
#define TN_REPORT_BON_H
#include "eval/bon.h"
#include "eval/bon_run.h"
#include "report/html.h"

typedef struct tn_bon_page {
    int n_curve, n_run, n_prompt, n_sample;
    const char *const *name; /* [n_curve] of the proxies */
    const tn_bon_curve *const *curve;
    const tn_bon_run *run;   /* [n_run]; one named as a proxy has its colour */
    const char *gold;        /* who says what gold is */
} tn_bon_page;
tn_status tn_bon_page_write(const tn_bon_page *p, tn_str *out, tn_err *e);
#endif
