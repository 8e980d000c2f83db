/* What a run tells before its first step: rows, lengths, share of trained tokens, one sample with the trained
 * tokens coloured, steps, memory by owner and an estimate of the time. */
#ifndef TN_TRAIN_INTRO_H
#define TN_TRAIN_INTRO_H
#include "model/budget.h"
#include "train/plan.h"
#include "train/trainer.h"

tn_status tn_intro_print(const char *verb, const tn_desc *d, const tn_backend *be, const tn_tokenizer *tok,
                         const tn_dataset *train, const tn_dataset *eval, const tn_plan *plan, tn_err *e);
/* Prints the memory plan; TN_NOMEM when it is beyond --max-memory (NULL: none) or what can be had. */
tn_status tn_intro_memory(const tn_budget *p, const char *max_memory, tn_err *e);
/* The adapter, where the model has one: its shape, and how much is trained. */
void tn_intro_adapter(const tn_model *m);
/* An estimate from the measured speed of the model's own products; `passes` without gradient beside each with. */
void tn_intro_time(tn_model *m, double passes, const tn_dataset *train, const tn_plan *plan,
                   const tn_batch_options *b);
/* The same before a model is there, for loops on own samples. */
typedef struct tn_intro_work {
    double samplings;
    double prompts, responses; /* tokens of one sampling; every response as long as it may be */
    int batch, longest;        /* sequences decoded together; tokens of the longest response */
    double later;              /* FLOP of one sampling's scores, log-probs and updates */
} tn_intro_work;
void tn_intro_time_online(tn_backend *b, const tn_desc *policy, const tn_intro_work *w);
/* The rows part alone: read, kept, dropped by reason, truncated, length quantiles, trained share. */
tn_status tn_intro_rows(const char *what, const tn_dataset *d, tn_err *e);
/* One example as text on stderr, trained tokens coloured (between «» without a terminal). */
tn_status tn_intro_sample(const tn_example *x, const tn_tokenizer *tok, tn_err *e);
#endif
