/* A reward model as a judge of (prompt, response): any sequence-classification checkpoint, with its own
 * tokenizer and chat template. With the policy's own tokenizer the token ids are taken as they are. */
#ifndef TN_TRAIN_SCORER_H
#define TN_TRAIN_SCORER_H
#include "model/budget.h"
#include "train/batch.h"

typedef struct tn_scorer {
    tn_model *model;
    tn_run *run;
    tn_tokenizer *tok; /* NULL when it shares the policy's */
    bool same_tokenizer;
    int32_t stop[16], suffix[16]; /* end-of-turn ids of its tokenizer; what its template puts after one */
    int n_stop, n_suffix;
    int max_tokens, max_len;
    tn_batch mb;
    tn_batch_options batch;
} tn_scorer;

/* policy_dir: to compare tokenizers. */
tn_status tn_scorer_open(tn_scorer *s, const char *dir, const char *policy_dir, tn_backend *be,
                         int max_tokens, int max_len, tn_err *e);
void tn_scorer_close(tn_scorer *s);
/* What tn_scorer_open takes, and blocks for `blocks`, for the memory plan. */
tn_status tn_scorer_budget(tn_budget *p, const char *dir, tn_backend *be, int max_tokens, int max_len,
                           int blocks, tn_err *e);
/* Normalised scores, (raw - mean)/sd of tenet.json, of examples with one response each. `policy_tok` decodes
 * responses when the tokenizers differ (the example's meta row gives the prompt). */
tn_status tn_scorer_scores(tn_scorer *s, const tn_example *ex, int n,
                           const tn_tokenizer *policy_tok, double *score, tn_err *e);
#endif
