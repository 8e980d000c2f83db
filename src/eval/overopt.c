/* Fits of gold reward against distance; see overopt.h. */
#include "eval/overopt.h"
#include "algo/linear.h"
#include "base/mathx.h"
#include "base/mem.h"
#include <math.h>

/* R = alpha d - beta feature */
static double feature(tn_overopt_form form, double d) {
    return form == TN_OVEROPT_BON ? d * d : d > 0 ? d * tn_log(d) : 0;
}

double tn_overopt_gold(const tn_overopt *f, double d) {
    return f->alpha * d - f->beta * feature(f->form, d);
}

bool tn_overopt_peak(const tn_overopt *f, double *d, double *gold) {
    if (!(f->beta > 0)) return false;
    double ratio = f->alpha / f->beta;
    *d = f->form == TN_OVEROPT_BON ? 0.5 * ratio : tn_exp(ratio - 1);
    *gold = tn_overopt_gold(f, *d);
    return true;
}

tn_status tn_overopt_fit(tn_overopt_form form, const double *d, const double *gold, int n,
                         double least, tn_overopt *f, tn_err *e) {
    double coef[2], sq = 0, *x = tn_malloc((size_t)(n > 0 ? n : 1) * 3 * sizeof *x);
    int used = 0;
    if (!x) return tn_fail(e, TN_NOMEM, "over-optimisation: no memory for %d points", n);
    for (int i = 0; i < n; i++)
        if (d[i] > 0 && d[i] >= least) { /* features first, then the values */
            x[2 * used] = d[i], x[2 * used + 1] = -feature(form, d[i]);
            x[2 * n + used++] = gold[i];
        }
    tn_status st = tn_least_squares(x, x + 2 * n, used, 2, coef, e);
    tn_free(x);
    if (st != TN_OK) return tn_err_context(e, st, "over-optimisation");
    *f = (tn_overopt){.form = form, .alpha = coef[0], .beta = coef[1], .points = used};
    for (int i = 0; i < n; i++) {
        double miss = tn_overopt_gold(f, d[i]) - gold[i];
        if (d[i] > 0 && d[i] >= least) sq += miss * miss;
    }
    f->rmse = sqrt(sq / used);
    return TN_OK;
}
