/* Estimators of KL(pi || ref) from samples of pi (Schulman, "Approximating KL divergence"), the
 * clamped importance ratio, and the coefficient's controller.
 *
 *   d = ref - l:   k1 = -d        k2 = d^2/2       k3 = e^d - 1 - d
 *   d/dl:          k1: 1          k2: -d           k3: 1 - e^d
 * As a loss, k1 has zero expected gradient, k2 that of KL(pi||ref), k3 that of KL(ref||pi).   */
#include "algo/rl.h"
#include <string.h>

tn_status tn_kl_parse(const char *name, tn_kl *k, tn_err *e) {
    static const char *const names[] = {"k1", "k2", "k3"};
    for (int i = 0; i < 3; i++) {
        if (!name || strcmp(name, names[i]) != 0) continue;
        *k = (tn_kl)i;
        return TN_OK;
    }
    return tn_fail(e, TN_ARG, "KL estimator '%s', expected k1, k2 or k3", name ? name : "");
}

/* e^d - 1 - d without cancellation: the series d^2/2 (1 + d/3 (1 + d/4 (...))) near 0, where
 * seven terms reach 1e-17 relative. */
static double k3(double d) {
    if (d > 0.02 || d < -0.02) return tn_expm1(d) - d;
    double s = 1;
    for (int k = 9; k >= 3; k--) s = 1 + d / k * s;
    return 0.5 * d * d * s;
}

double tn_kl_value(tn_kl k, double logp, double ref_logp) {
    double d = ref_logp - logp;
    return k == TN_KL_K1 ? -d : k == TN_KL_K2 ? 0.5 * d * d : k3(d);
}

double tn_kl_grad(tn_kl k, double logp, double ref_logp) {
    double d = ref_logp - logp;
    return k == TN_KL_K1 ? 1 : k == TN_KL_K2 ? -d : -tn_expm1(d);
}

double tn_ratio(double logp, double old_logp, double clamp, bool *flat) {
    double d = logp - old_logp;
    *flat = d > clamp || d < -clamp;
    return tn_exp(d > clamp ? clamp : d < -clamp ? -clamp : d);
}

void tn_kl_control_update(tn_kl_control *c, double kl, double n, double target, double horizon) {
    if (!(target > 0)) return;
    double err = kl / target - 1;
    err = err > 0.2 ? 0.2 : err < -0.2 ? -0.2 : err;
    c->coef *= 1 + err * n / horizon;
}
