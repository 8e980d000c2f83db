/* Cholesky's method; see linear.h. */
#include "algo/linear.h"
#include <math.h>

tn_status tn_cholesky(double *a, int n, const char *what, tn_err *e) {
    for (int j = 0; j < n; j++) {
        double *row = a + (long)j * n, d = row[j], least = 1e-14 * d; /* below it, d is rounding */
        for (int k = 0; k < j; k++) d -= row[k] * row[k];
        if (!(d > 0) || !(d >= least) || !isfinite(d))
            return tn_fail(
                e, TN_NUMERIC,
                "%s is not positive definite (pivot %d of %d is %g): more rows than columns are "
                "needed, or a ridge",
                what, j, n, d);
        row[j] = sqrt(d);
        for (int i = j + 1; i < n; i++) {
            double *low = a + (long)i * n, sum = low[j];
            for (int k = 0; k < j; k++) sum -= low[k] * row[k];
            low[j] = sum / row[j];
        }
    }
    return TN_OK;
}

void tn_cholesky_forward(const double *l, int n, double *b) {
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++) b[i] -= l[(long)i * n + k] * b[k];
        b[i] /= l[(long)i * n + i];
    }
}

void tn_cholesky_back(const double *l, int n, double *b) {
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++) b[i] -= l[(long)k * n + i] * b[k];
        b[i] /= l[(long)i * n + i];
    }
}

tn_status tn_least_squares(const double *features, const double *y, int n, int k, double *coef,
                           tn_err *e) {
    double a[64] = {0};
    if (k < 1 || k > 8 || n < k)
        return tn_fail(e, TN_ARG, "least squares: %d coefficients from %d points", k, n);
    for (int j = 0; j < k; j++) coef[j] = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < k; j++) {
            coef[j] += features[i * k + j] * y[i];
            for (int l = 0; l < k; l++) a[j * k + l] += features[i * k + j] * features[i * k + l];
        }
    TN_TRY(tn_cholesky(a, k, "least squares: the matrix of the features", e));
    tn_cholesky_forward(a, k, coef);
    tn_cholesky_back(a, k, coef);
    return TN_OK;
}
