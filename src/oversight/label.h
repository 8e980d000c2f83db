/* AI preference labels (Bai et al. 2022, 2212.08073, 4.1; Lee et al. 2023, 2309.00267): a judge chooses between two answers under a
 * principle of the constitution; what counts are the log-probs of the two options, in both orders.
 *
 *   p(a) of a pair = mean over its principles, weighted, of swapped(p(A | a, b), p(A | b, a)); 1 - p where a principle asks for
 *   the worse option. With chains of thought, p of an order is their mean, clamped. (algo/feedback.h)
 * An order without a verdict (an endpoint may give none) has p NaN, and so have its principle and, when no other has one, the pair.
 * Which principles a pair is asked about is drawn for (seed, 16 i + j), i the row's number in its file, j = 0, 1, ... */
#ifndef TN_OVERSIGHT_LABEL_H
#define TN_OVERSIGHT_LABEL_H
#include "algo/feedback.h"
#include "oversight/asker.h"
#include "oversight/label_options.h"
#include "oversight/prompts.h"

typedef struct tn_labelling {
    tn_asker *judge;
    const tn_constitution *constitution;
    const tn_prompts *prompts;
    const char *kind, *kind_key; /* as in revise.h */
    int principles;              /* drawn for a pair; 0: every one that applies, by its weight */
    int thoughts;                /* chains of thought of each order; 0: none */
    tn_cot_mean cot;
    double clamp_lo, clamp_hi;   /* of chains of thought */
    tn_swap_mean swap;
    tn_sampling reason;          /* of chains of thought */
    int batch, max_tokens;
    uint64_t seed;
    const uint64_t *number;      /* [rows] what draws go by; NULL: each row's own number */
} tn_labelling;
/* Fills in what the options say; the reasons' temperature and seed are the caller's. The options outlive l. */
void tn_labelling_set(tn_labelling *l, const tn_label_options *o);
/* The principles that row i is asked about, with their weights: of `room` elements, *n are set. */
tn_status tn_labelling_principles(const tn_labelling *l, int i, const json_t *row, const char *where, int room, int *principle, double *weight,
                                  int *n, tn_err *e);
/* What a chain of thought is drawn by: row, principle and `way` of asking (below 256). */
uint64_t tn_labelling_draw(const tn_labelling *l, int i, int principle, int way);

/* Of one pair under one principle. */
typedef struct tn_label {
    int row, principle;
    double weight, p1, p2, p; /* P(A) in either order, and of the first answer being better, polarity applied */
} tn_label;

/* As label rows have it, with the judge's name where that is said (or NULL); new reference, NULL when memory is out. */
json_t *tn_label_json(const tn_label *x, const char *judge, const tn_constitution *c);

/* Rows {"prompt", "responses": [a, b]}. p [n], NaN where the judge (skip_long) could not read so much; *label gets all of its parts, pairs in order, *n_label of them, from the heap. */
tn_status tn_label_rows(const tn_labelling *l, json_t *const *row, const char *const *where, int n, double *p, tn_label **label,
                        int *n_label, tn_err *e);
#endif
