/* Shaping of reward models' scores at rollout time, before they become token rewards: a monotone
 * map of the score, often relative to the scores of the SFT model's answers to the same prompt
 * (PAR, Fu et al. 2025, 2502.18770). The shaped value takes the score's place; the KL stays in the
 * token rewards as it is, and since most maps are bounded, its coefficient has to be found anew.
 * Named maps are the rows of one table, shape.c. */
#ifndef TN_ALGO_SHAPE_H
#define TN_ALGO_SHAPE_H
#include "algo/rl.h"

typedef struct tn_shape_opt {
    const char *shape;
    double k;                         /* slope inside sigmoid and tanh */
    double ceil;                      /* scores are cut from above; NaN: off */
    double length_price, length_free; /* score - price max(0, tokens - free) */
    double percentile;                /* lsc */
} tn_shape_opt;
extern const tn_opt_row tn_shape_rows[];

/* Running statistics of raw scores (minmax, meanstd, clip). Plain data, zero at the start. */
typedef struct tn_shape_state { tn_moments seen; double lo, hi; } tn_shape_state;

/* Does the shaping exist, and are its numbers possible? *references: does it read scores of
 * reference answers? (lsc: at least two a prompt.) */
tn_status tn_shape_check(const tn_shape_opt *o, bool *references, tn_err *e);
/* reward[n] in place: ceil, then the length's price (length[n] tokens; read when it has one), then
 * the map; running statistics see the batch first. ref [n][n_ref]: scores of answers of the SFT
 * model to the same prompt. slope [n] (NULL: not wanted): d shaped / d score of the map. TN_NUMERIC
 * for scores that are not finite, TN_ARG for references that are missing. */
tn_status tn_shape_rewards(const tn_shape_opt *o, tn_shape_state *st, const double *ref, int n_ref,
                           const double *length, double *reward, int n, double *slope, tn_err *e);
#endif
