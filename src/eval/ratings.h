/* Bradley-Terry ratings of players (models, stages) from who beat whom on the same prompts.
 *
 *   P(i beats j) = s(theta_i - theta_j), l = sum_ij W_ij log s(theta_i - theta_j), W_ij wins of i over j, ties half to each;
 *   covariance = pseudo-inverse of sum_i<j N_ij p (1 - p) (e_i - e_j)(e_i - e_j)^T, N = W + W^T.
 * Only differences mean something: 400/ln 10 of theta is one Elo (winrate.h).                                      */
#ifndef TN_EVAL_RATINGS_H
#define TN_EVAL_RATINGS_H
#include "base/status.h"
#include <stdint.h>

enum { TN_RATED = 16 }; /* players at most */

/* theta [k] with sum 0; *loglik and cov [k][k] may be NULL. TN_NUMERIC when there is no maximum: not everybody has beaten everybody,
 * directly or through others. */
tn_status tn_ratings_fit(const double *wins, int k, double *theta, double *loglik, double *cov, tn_err *e);

typedef struct tn_rating { double elo, lo, hi; } tn_rating; /* more than the first player's; its own: zeros */
typedef struct tn_rated {
    double wins[TN_RATED * TN_RATED];
    tn_rating rating[TN_RATED];
    bool prior; /* half a win of everybody over everybody was added, for without it there is no maximum */
} tn_rated;
/* score [k][n] of the players on n prompts; where one is not a number, the prompt counts for none of that player's pairs. Intervals: 2.5
 * and 97.5 % of 1,000 resamples of the prompts, a function of `seed`. */
enum { TN_RATING_RESAMPLES = 1000 };
tn_status tn_ratings_of(const double *score, int k, int n, uint64_t seed, tn_rated *r, tn_err *e);
#endif
