/* What a run tells before its first step: rows, lengths, share of trained tokens, one sample with the trained
 * tokens coloured, steps, memory by owner and an estimate of the time. */
#ifndef TN_TRAIN_INTRO_H
#define TN_TRAIN_INTRO_H
#include "train/plan.h"
#include "train/trainer.h"

tn_status tn_intro_print(const tn_task *k, const tn_train_options *o, tn_model *m,
                         const tn_tokenizer *tok, const tn_dataset *train, const tn_dataset *eval,
                         const tn_plan *plan, const tn_batch_options *b, int lanes, tn_err *e);
/* The rows part alone: read, kept, dropped by reason, truncated, length quantiles, trained share. */
tn_status tn_intro_rows(const char *what, const tn_dataset *d, tn_err *e);
/* One example as text on stderr, trained tokens coloured (between «» without a terminal). */
tn_status tn_intro_sample(const tn_example *x, const tn_tokenizer *tok, tn_err *e);
#endif
