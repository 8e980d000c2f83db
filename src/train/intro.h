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
/* FLOP of passes over that work: without gradient, and a training step's forward and backward. An adapter needs no
 * products for the trunk's own gradients; `keep` says what backward computes again. */
double tn_forward_flop(const tn_desc *d, const tn_effort *w);
double tn_train_flop(const tn_desc *d, bool adapter, tn_keep keep, const tn_effort *w);
/* An estimate for that many FLOP from the measured speed of the model's own products. */
void tn_intro_time(tn_model *m, double flop);
/* The same before a model is there, for loops on own samples. */
typedef struct tn_intro_work {
    double flop, sampling; /* of all but the steps of sampling, and of these */
    int batch, longest;    /* sequences decoded together; tokens of the longest response */
} tn_intro_work;
void tn_intro_time_online(tn_backend *b, const tn_desc *policy, const tn_intro_work *w);
/* The rows part alone: read, kept, dropped by reason, truncated, length quantiles, trained share. */
tn_status tn_intro_rows(const char *what, const tn_dataset *d, tn_err *e);
/* One example as text on stderr, trained tokens coloured (between «» without a terminal). */
tn_status tn_intro_sample(const tn_example *x, const tn_tokenizer *tok, tn_err *e);
#endif
