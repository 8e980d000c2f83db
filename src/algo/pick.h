/* Which pairs to trust, to relabel, to ask for, to make: measures on preference data. */
#ifndef TN_ALGO_PICK_H
#define TN_ALGO_PICK_H
#include "algo/algo.h"

/* Strength of a pair (Secrets of RLHF II, Wang et al. 2024, 2401.06080): margins d_m = r_m(chosen)
 * - r_m(rejected) of M reward models that were trained on other parts of the data (on the same
 * pairs they are optimistic). */
typedef enum tn_pair_action { TN_PAIR_KEEP, TN_PAIR_SOFT, TN_PAIR_FLIP } tn_pair_action;
typedef struct tn_strength {
    double mean, std;
    double agree;          /* share of members with d > 0 */
    double soft;           /* mean s(d_m): a label probability */
    tn_pair_action action; /* mean > c: keep, with that margin; |mean| <= c: soft; else flip */
} tn_strength;
typedef struct tn_strength_opt { double border; int64_t ddof; } tn_strength_opt;
extern const tn_opt_row tn_strength_rows[];
tn_status tn_pair_strength(const tn_strength_opt *o, const double *margin, int n_member,
                           tn_strength *s, tn_err *e);

/* West-of-N (Pace et al. 2024, 2401.12086): of n samples' scores, the best over the worst as a
 * pseudo-pair. True when the scores differ and *p = s(best - worst) reaches the threshold. TN_ARG
 * for fewer than two samples. */
tn_status tn_west_of_n(const double *score, int n, double threshold, int *best, int *worst,
                       double *p, bool *keep, tn_err *e);

/* What to ask people next: entropy (nats) of the label at a margin d, H(s(d)); of a probability;
 * and BALD, the entropy of the members' mean less the mean of their entropies, which is what they
 * disagree about. */
double tn_margin_entropy(double d);
double tn_binary_entropy(double p); /* 0 at 0 and 1 */
double tn_bald(const double *p, int n_member);
/* Iterative data smoothing (Zhu et al. 2024, 2401.16335): a label probability after one epoch more,
 * (1 - eta) p + eta s(d). */
double tn_label_smooth(double p, double d, double eta);
#endif
