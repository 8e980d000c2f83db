/* The curve of reward gaps and a round's split; see rlthf.h. */
#include "algo/rlthf.h"
#include "algo/obs.h"
#include <math.h>

#define AT(f) offsetof(tn_rlthf_opt, f)
const tn_opt_row tn_rlthf_rows[] = {
    {"rlthf-rounds", TN_OPT_INT, AT(rounds), "5", NULL, 1, 1000, NULL, "N",
     "Rounds of training a reward model, asking people about what it resists, and training again."},
    {"rlthf-shard", TN_OPT_REAL, AT(shard), "0.25", NULL, 1e-6, 1, NULL, "X",
     "Share of the pairs that the rounds work on; the last model labels the rest."},
    {"rlthf-human", TN_OPT_REAL, AT(human), "0.06", NULL, 0, 1, NULL, "X",
     "Share of all pairs that people label, over all rounds."},
    {"rlthf-backoff", TN_OPT_REAL, AT(backoff), "0.4", NULL, 0, 1, NULL, "X",
     "Share of the trusted head that the first round leaves out again; falls to 0 at the last."},
    {"rlthf-amplification", TN_OPT_REAL, AT(amplification), "6", NULL, 1, 1e6, NULL, "X",
     "Copies of each human label in the first round's training set."},
    {"rlthf-amplification-end", TN_OPT_REAL, AT(amplification_end), "1", NULL, 1, 1e6, NULL, "X",
     "Copies in the last round's, with a line between. Where the first labeller errs by rule, 1 lets its many labels "
     "outvote people's few again: as many as at first keep what they said."},
    TN_OPT_LAST,
};

static double chord(const double *gap, int n, int i) {
    return (double)i / (n - 1) + (gap[i] - gap[n - 1]) / (gap[0] - gap[n - 1]) - 1;
}

tn_status tn_rlthf_curve_of(const double *gap, int n, tn_rlthf_curve *c, tn_err *e) {
    if (n < 3) return tn_fail(e, TN_ARG, "rlthf: %d pairs, expected at least 3", n);
    for (int i = 0; i < n; i++) {
        if (!isfinite(gap[i]))
            return tn_fail(e, TN_NUMERIC, "rlthf: gap %d is %g, expected a finite number", i,
                           gap[i]);
        if (i && gap[i] > gap[i - 1])
            return tn_fail(e, TN_ARG, "rlthf: gap %d is %g after %g; sort them so that they fall",
                           i, gap[i], gap[i - 1]);
    }
    *c = (tn_rlthf_curve){.elbow = 0, .knee = n / 2, .reflection = n, .flat = true};
    if (!(gap[0] - gap[n - 1] > 1e-12 * (1 + fabs(gap[0])))) return TN_OK;
    c->elbow_chord = chord(gap, n, 0), c->knee_chord = chord(gap, n, n / 2);
    for (int i = 0; i < n; i++) {
        double d = chord(gap, n, i);
        if (i <= n / 2 && d < c->elbow_chord) c->elbow = i, c->elbow_chord = d;
        if (i >= n / 2 && d > c->knee_chord) c->knee = i, c->knee_chord = d;
    }
    c->flat = c->elbow >= c->knee;
    for (int i = n; !c->flat && i-- > 0 && gap[i] <= -gap[c->elbow];) c->reflection = i;
    return TN_OK;
}

tn_status tn_rlthf_plan(const tn_rlthf_curve *c, int n, int budget, double backoff,
                        double amplification, tn_rlthf_round *r, tn_err *e) {
    TN_TRY(tn_opt_between(backoff, 0, 1, "rlthf", "backoff", e));
    TN_TRY(tn_opt_between(amplification, 1, HUGE_VAL, "rlthf", "amplification", e));
    if (budget < 0) return tn_fail(e, TN_ARG, "rlthf: a budget of %d pairs", budget);
    int knee = c->knee < c->reflection ? c->knee : c->reflection;
    r->flip = r->pool_end = r->human_end = c->reflection;
    if (c->flat) knee = budget < n ? n - budget : 0; /* trust all but the least */
    r->held = knee;
    r->keep = (int)((1 - backoff) * knee + 1e-9);
    r->human = r->human_end - budget > r->held ? r->human_end - budget : r->held;
    r->train = r->keep + (n - r->flip) + amplification * (r->human_end - r->human);
    return TN_OK;
}

double tn_rlthf_schedule(double first, double last, int round, int rounds) {
    return rounds > 1 ? first + (last - first) * round / (rounds - 1) : last;
}
