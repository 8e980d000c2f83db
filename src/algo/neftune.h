/* NEFTune (Jain et al. 2023, 2310.05914): in training, noise U(-1, 1) alpha / sqrt(L d) on every
 * element of the embeddings of a sequence of L tokens and width d. L is the sequence's true length,
 * not a padded one, so that the noise does not depend on the batch. Never in evaluation, nor for
 * reference log-probs. */
#ifndef TN_ALGO_NEFTUNE_H
#define TN_ALGO_NEFTUNE_H
#include "base/option.h"

typedef struct tn_neftune_opt { double alpha; } tn_neftune_opt; /* 0: off */
extern const tn_opt_row tn_neftune_rows[];
/* alpha / sqrt(L d), half the width of the noise's interval. */
double tn_neftune_width(double alpha, int length, int d);
/* Adds it to the embedding x[d] of token `position` of the sequence `index` (counted over the whole
 * run). */
void tn_neftune_add(double width, uint64_t seed, uint64_t index, int position, int d, float *x);
#endif
