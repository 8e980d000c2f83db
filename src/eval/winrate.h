/* Win rates: Elo, and the win rate with the judge's taste for length taken out (Dubois et al. 2024,
 * 2404.04475). */
#ifndef TN_EVAL_WINRATE_H
#define TN_EVAL_WINRATE_H
#include "base/status.h"

/* 400/ln 10 = 173.7178 Elo per unit of a Bradley-Terry score; P(win) = 1/(1 + 10^(-elo/400)) =
 * s(score difference). */
double tn_elo_of_score(double difference);
double tn_elo_win_rate(double elo);

/* Coefficients w [k] and intercept of a logistic regression on x [n][k] with soft labels y in [0,
 * 1], minimising
 *   sum_i cross-entropy_i + (l2/2) |w|^2      (the intercept is free)
 * by Newton's method. *loss: the objective. k <= 15. TN_ARG for labels outside [0, 1], TN_NUMERIC
 * when it has no minimum (l2 = 0 and labels that can be separated). */
tn_status tn_logistic_fit(const double *x, const double *y, int n, int k, double l2,
                          double *intercept, double *w, double *loss, tn_err *e);

/* A judge's preference for a model over a baseline, prompt by prompt:
 *   P = s(theta + phi tanh(dlen / std(dlen)) + psi difficulty)
 * dlen: length of the model's answer less the baseline's; difficulty: of the prompt, from many
 * models. */
typedef struct tn_lc { double theta, phi, psi, loss; } tn_lc;
/* term[n] = tanh(dlen / std), std of dlen itself with ddof 0 (0 where all are equal). */
void tn_lc_terms(const double *dlen, int n, double *term, double *std);
tn_status tn_lc_fit(const double *term, const double *difficulty, const double *p, int n,
                    double l2, tn_lc *f, tn_err *e);
double tn_lc_predict(const tn_lc *f, double term, double difficulty);
/* Mean over prompts with the length term 0: the length-controlled win rate, 0 to 1. */
double tn_lc_win_rate(const tn_lc *f, const double *difficulty, int n);
#endif
