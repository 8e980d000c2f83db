/* Revisions held up against what they revise: the critic, now as a judge, says whether the last answer of a record is better than the
 * first. What it does not hold for better is not worth training on (a revision that mended nothing, a refusal without a reason), and what it
 * says is a preference label like any other: a revision beside the answer that it was made from. */
#ifndef TN_OVERSIGHT_SIFT_H
#define TN_OVERSIGHT_SIFT_H
#include "oversight/label.h"

/* Records of tn_revise_rows, as they come from there. p [n]: probability that the last answer is better than the first; NaN where they are
 * the same words, or nobody came to a verdict. pair[i]: {"id", "prompt", KIND_KEY: kind, "responses": [last, first], "rank", "p", "labels"} as
 * `tenet label` writes them, NULL where p is NaN; new references, the caller's to zero before. l->kind_key names the rows' kind; NULL: they have l->kind. */
tn_status tn_sift_rows(const tn_labelling *l, json_t *const *record, int n, double *p, json_t **pair, tn_err *e);
#endif
