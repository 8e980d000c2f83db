/* Transcendental functions of our own, so that no result depends on the libm variant that a
 * CPU selects. Doubles, argument reduction + polynomial, no FMA, error <= 2 ulp (tested
 * against long double). Special values as in C's functions of the same name. */
#ifndef TN_BASE_MATHX_H
#define TN_BASE_MATHX_H
double tn_exp(double x);
double tn_expm1(double x);
double tn_log(double x);
double tn_log1p(double x);
double tn_pow(double x, double y);
double tn_sin(double x); /* |x| <= 2^20 */
double tn_cos(double x);
double tn_tanh(double x);
double tn_erf(double x);
/* Stable compositions used by every loss. */
double tn_sigmoid(double x);
double tn_softplus(double x);    /* log(1 + e^x) */
double tn_logsigmoid(double x);  /* -softplus(-x) */
double tn_log1mexp(double x);    /* log(1 - e^x), x < 0 */
double tn_logsumexp(const double *x, int n);
#endif
