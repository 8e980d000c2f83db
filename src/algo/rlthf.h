/* Targeted human feedback (RLTHF, Xu et al. 2025, 2502.13417): a reward model trained on a
 * labeller's pairs is asked about its own training pairs; where it resists a label, the label is
 * probably wrong. Gaps g_i = r(labelled chosen) - r(labelled rejected), sorted so that they do not
 * rise, make a curve with three marks:
 *
 *   elbow       end of the steep, confident head: farthest below the chord between the ends
 *   knee        start of the tail: farthest above that chord
 *   reflection  first i with g_i <= -g_elbow: labels from here on are flipped
 * with both axes scaled to [0, 1], i.e. by c_i = i/(N-1) + (g_i - g_{N-1})/(g_0 - g_{N-1}) - 1, the
 * elbow among the first N/2 + 1, the knee from N/2 on. The paper has no code; this is a
 * deterministic reading of it. (A median filter before that, as one might want, does nothing to a
 * sorted list.) */
#ifndef TN_ALGO_RLTHF_H
#define TN_ALGO_RLTHF_H
#include "algo/algo.h"

typedef struct tn_rlthf_opt {
    int64_t rounds;
    double shard;         /* share of the data that the rounds work on */
    double human;         /* share of all pairs that people label, over all rounds */
    double backoff;       /* at the first round, falling to 0 at the last */
    double amplification, amplification_end; /* at the first round, and at the last */
} tn_rlthf_opt;
extern const tn_opt_row tn_rlthf_rows[];

typedef struct tn_rlthf_curve {
    int elbow, knee, reflection; /* reflection = n: nothing is flipped */
    double elbow_chord, knee_chord;
    bool flat;                   /* no bend: nothing is flipped, the least gaps go to people */
} tn_rlthf_curve;
/* TN_ARG for fewer than 3 gaps or gaps that rise, TN_NUMERIC for gaps that are not finite. */
tn_status tn_rlthf_curve_of(const double *gap, int n, tn_rlthf_curve *c, tn_err *e);

/* What one round does with the n sorted pairs, as ranges [first, end). Pairs that people have
 * labelled before are not among them. */
typedef struct tn_rlthf_round {
    int keep;             /* [0, keep): trained on as labelled; keep = (1 - backoff) knee */
    int held;             /* [keep, held): left out of this round */
    int pool_end;         /* [held, pool_end): what people may see */
    int human, human_end; /* [human, human_end): what they get, the least gaps of the pool */
    int flip;             /* [flip, n): trained on the other way round */
    double train;         /* size of the training multiset, amplified human labels included */
} tn_rlthf_round;
/* budget: pairs for people in this round; amplification: copies of each. */
tn_status tn_rlthf_plan(const tn_rlthf_curve *c, int n, int budget, double backoff,
                        double amplification, tn_rlthf_round *r, tn_err *e);
/* A schedule's value at a round (from 0): a line from `first` to `last`. */
double tn_rlthf_schedule(double first, double last, int round, int rounds);
#endif
