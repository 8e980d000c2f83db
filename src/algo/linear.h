/* Small dense systems in double: covariances, Newton steps, least squares of a few coefficients. */
#ifndef TN_ALGO_LINEAR_H
#define TN_ALGO_LINEAR_H
#include "base/status.h"

/* Lower Cholesky factor of the symmetric positive definite a [n][n], in place (the upper triangle
 * is left as it was). TN_NUMERIC when it is not positive definite; `what` names the matrix. */
tn_status tn_cholesky(double *a, int n, const char *what, tn_err *e);
/* b <- L^-1 b, and then b <- L^-T b. */
void tn_cholesky_forward(const double *l, int n, double *b);
void tn_cholesky_back(const double *l, int n, double *b);
/* coef [k], k <= 8, that minimise the sum of (y_i - sum_j coef_j f(i)[j])^2: normal equations of
 * features [n][k]. */
tn_status tn_least_squares(const double *features, const double *y, int n, int k, double *coef,
                           tn_err *e);
#endif
