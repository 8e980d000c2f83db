/* Answers by sampling in place of the rows' own: on-policy distillation (Agarwal et al. 2023, 2306.13649). A step's
 * prompts are answered by the model that is trained, with probability lambda, else as the rows say or, with seq_kd,
 * by the teacher. A row's prompt is what comes before its last trained span, at least its first token. Whether a step
 * samples, and what, is a function of (seed, step, row's place in the step) and the weights: nothing is saved. */
#ifndef TN_TRAIN_ANSWERS_H
#define TN_TRAIN_ANSWERS_H
#include "train/options.h"
#include "train/plan.h"
#include "train/rollout.h"

typedef struct tn_answers_options {
    double lmbda, temperature;
    int64_t max_new, gen_batch;
    bool seq_kd;
} tn_answers_options;
extern const tn_opt_row tn_answers_rows[];

typedef struct tn_answers {
    tn_answers_options q;
    const tn_dataset *rows;
    tn_example *prompt; /* [rows->n] */
    int32_t *ids;       /* of the prompts that rows do not have as they are */
    tn_example *teacher_side; /* [n] the step's answers behind what the teacher reads; NULL: it reads the same prompts */
    int n;              /* most rows of a step */
    int shortest, longest, length, blocks, batch;
    uint64_t seed;
    tn_gen *own, *teacher; /* NULL: never asked */
    tn_rollouts roll;
    tn_sampling sampling;
} tn_answers;

/* Does any step ask for answers? */
bool tn_answers_wanted(const tn_answers *a);
/* Prompts of all rows; raises the sizes of micro-batches and sequences to what answers need. */
tn_status tn_answers_measure(tn_answers *a, const tn_dataset *rows, const tn_train_options *o, tn_batch_need *need,
                             int *length, tn_err *e);
tn_status tn_answers_budget(const tn_answers *a, tn_budget *p, const tn_desc *d, const char *teacher, const char *base,
                            tn_backend *be, tn_err *e);
void tn_answers_introduce(const tn_answers *a, long steps);
/* tok: NULL when rows are ids. */
tn_status tn_answers_open(tn_answers *a, const tn_model *own, const tn_model *teacher, const tn_tokenizer *tok,
                          tn_err *e);
/* Puts sampled answers in the place of a step's rows, or leaves them. TN_INTERRUPTED: the step has not begun. */
tn_status tn_answers_give(tn_answers *a, tn_example **rows, int n, long step, tn_metrics *m, tn_err *e);
void tn_answers_close(tn_answers *a);
#endif
