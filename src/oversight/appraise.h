/* Several answers to each of many prompts, as a judge sees them: one reward each (direct RLAIF, Lee et al. 2309.00267; online AI
 * feedback, Guo et al. 2402.04792; self-rewarding, Yuan et al. 2401.10020). What is asked, with P(i > j) the judge's probability
 * that answer i is better (label.h):
 *
 *   each-other  every answer against every other one to the same prompt
 *   reference   every answer against the texts in a field of the row
 *   verdict     whether an answer does by the principle, alone (rating.h)
 *   score       how well, from 1 to 10
 *
 * and the reward of answer i, of m comparisons:
 *   prob        mean_j P(i > j); the verdict's probability; (s - 5.5) / 4.5
 *   logit       sum_j logit P(i > j) / (m + 1) among each other, the least-squares Bradley-Terry score, so that of two answers
 *               r_i - r_j = logit P(i > j); otherwise the mean of logits. P is kept within [1e-6, 1 - 1e-6]
 *
 * Equal texts are equally good and not asked about. All questions about one prompt are under the same principles. */
#ifndef TN_OVERSIGHT_APPRAISE_H
#define TN_OVERSIGHT_APPRAISE_H
#include "base/json.h"
#include "base/option.h"

typedef struct tn_appraise_options {
    const char *ask, *as, *key; /* key: where `reference` finds its texts */
} tn_appraise_options;
extern const tn_opt_row tn_appraise_rows[];

typedef struct tn_appraised {
    const json_t *row; /* with "prompt" or "messages" and what the options name */
    const char *where; /* for messages */
    uint64_t number;   /* what principles and chains of thought are drawn by */
    const char *const *answer;
    int n;
} tn_appraised;
typedef struct tn_appraise_stats {
    double comparisons, equal, unread, margin; /* how many; the sum of |p - 1/2| */
    double asked, position;                    /* under one principle each; the sum of what the first place is worth */
} tn_appraise_stats;

bool tn_appraise_compares(const tn_appraise_options *o); /* answers with others */
bool tn_appraise_needs(const tn_appraise_options *o, const char *what);
/* Does each of n answers to a prompt get a reward by these options? */
tn_status tn_appraise_check(const tn_appraise_options *o, int n, tn_err *e);
/* Is a row such as can be asked about? */
tn_status tn_appraise_fits(const tn_appraise_options *o, const char *kind_key, const json_t *row, const char *where, tn_err *e);
/* reward of all answers in order; NaN: the judge (skip_long) could not read so much. stats [n]. */
struct tn_labelling; /* label.h */
tn_status tn_appraise(const struct tn_labelling *l, const tn_appraise_options *o, const tn_appraised *x, int n, double *reward,
                      tn_appraise_stats *stats, tn_err *e);
#endif
