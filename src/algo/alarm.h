/* Signs of over-optimisation that need no truth: what a loop on own samples sees of each batch becomes levels, value over
 * threshold; a level of 1 is an alarm. Where they start from is the first batch, which the starting policy sampled.
 *
 *   kl           mean over responses of KL(policy || reference), nats, against a budget
 *   divergence   the median of that over the last `window` batches, over the entropy of the first batch (nats a response):
 *                at 1 the policy's responses have come as far from the reference as it was from certainty. Has no unit: one
 *                threshold for short and long responses, small and large vocabularies. Times (1 - price/fair), 0 beyond:
 *                where each nat is paid for, runs go as far and fall less often (6 of 22 in the world, 22 of 34 below)
 *   speed        the same, a batch: divergence over the batches since the first. Fast runs fall at a smaller divergence than
 *                slow ones
 *   length       |median of the last `window` mean lengths - first mean| over the first batch's standard deviation
 *   spread       median disagreement of reward models over the first batch's (Coste et al. 2023 saw it rise 3 times under
 *                the mean, 1.2 times under the uncertainty-weighted reward)
 *   saturation   the KL of the later half of the last 2 `window` batches less that of the earlier half (medians), over the
 *                first batch's entropy, where the proxy meanwhile gained less than 2 % of all that it has gained
 *   latent     median Mahalanobis distance of responses to the first batch, in the first reward model's hidden states (InfoRM's
 *              bottleneck where it has one), over the first batch's own
 *   separation median of the cluster separation index there (InfoRM, 2402.09345): how far from the first batch's responses the
 *              mean response's cluster lies, in the usual distance of neighbours at the start
 *
 * A value that is not known (NaN: one reward model, no reference) gives no level. The last two are off unless asked for: in the
 * world responses moved there in healthy runs as in others (docs/results.md). */
#ifndef TN_ALGO_ALARM_H
#define TN_ALGO_ALARM_H
#include "algo/algo.h"

enum {
    TN_ALARM_KL,
    TN_ALARM_DIVERGENCE,
    TN_ALARM_SPEED,
    TN_ALARM_LENGTH,
    TN_ALARM_SPREAD,
    TN_ALARM_SATURATION,
    TN_ALARM_LATENT,
    TN_ALARM_SEPARATION,
    TN_ALARMS
};
extern const char *const tn_alarm_names[TN_ALARMS];

typedef struct tn_alarm_opt {
    double limit[TN_ALARMS]; /* thresholds; 0: this alarm is off */
    double fair;             /* price of a nat, in units of the score, from which on KL counts as paid for; 0: none */
    int64_t window;
} tn_alarm_opt;
extern const tn_opt_row tn_alarm_rows[];

typedef struct tn_alarm_seen {
    double kl, entropy; /* nats, means over responses */
    double length, length_sd, score, spread;
    double price; /* of a nat of KL; NaN: there is none to speak of */
    double latent, separation;
} tn_alarm_seen;

/* Plain data, zero at the start; a checkpoint stores it as it is. The ring has the last 2 window batches. */
#define TN_ALARM_WINDOW 32
typedef struct tn_alarm_state {
    int64_t count;
    tn_alarm_seen first;
    double best; /* proxy */
    tn_alarm_seen ring[2 * TN_ALARM_WINDOW];
} tn_alarm_state;

/* TN_ARG for thresholds below 0 and windows outside 1..TN_ALARM_WINDOW. */
tn_status tn_alarm_check(const tn_alarm_opt *o, tn_err *e);
/* Adds a batch; level[TN_ALARMS], NaN where it is off or not known. */
void tn_alarm_update(tn_alarm_state *s, const tn_alarm_opt *o, const tn_alarm_seen *x, double *level);
/* The greatest level and whose it is (-1 and 0 where none is known). */
double tn_alarm_worst(const double *level, int *which);
#endif
