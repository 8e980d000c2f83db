/* One run of the loop of trainer.c: what it has, and its set-up (trainer_setup.c). Internal to the two. */
#ifndef TN_TRAIN_TRAINER_INT_H
#define TN_TRAIN_TRAINER_INT_H
#include "train/plan.h"
#include "train/trainer.h"

enum { TN_LOOP_SETS = 6 };

/* Everything of one run; freed in one place. */
typedef struct tn_loop {
    const tn_task *task;
    tn_comm *comm;
    int lanes;
    tn_train_options o;
    tn_adapter_options lora;
    const tn_opts *opts;
    tn_backend *be;
    tn_tokenizer *tok;
    tn_dataset *train, *eval;
    tn_trainee t;
    tn_model *ref;
    tn_plan plan;
    tn_runlog log;
    json_t *record, *state;
    tn_str from; /* checkpoint that the run continues */
    int lock;
    tn_example **rows; /* of the step, or all of the evaluation set */
    double *ref_slab;
    tn_batch_need need; /* of the largest micro-batch */
    tn_batch_need whole; /* coupling BATCH: of the largest step */
    int length;         /* longest sequence */
    tn_desc desc;
    tn_lora_spec spec; /* rank 0: all weights are trained */
    double peak_lr, best;
    long step, tokens, full_tokens, best_step, bad_evals;
    long saved;               /* step of this process's last checkpoint that owes nothing; -1: none */
    bool have_best, owes_eval; /* an evaluation is due after `step` */
} tn_loop;

/* Training and evaluation rows, and their mismatched pairs and teachers' sides where there are some; returns how many sets. */
int tn_loop_sets(const tn_loop *l, tn_dataset *d[TN_LOOP_SETS]);
/* Examples of the largest step or evaluation. */
size_t tn_loop_examples(const tn_loop *l);
/* How the trained model is loaded. */
tn_load tn_loop_how_to_load(const tn_loop *l);
/* Does the loss see the whole step's log-probs at once (ahead.h)? */
bool tn_loop_whole(const tn_loop *l);
/* Reads the rows, cuts them into steps, prints what the run will do and its memory, and loads the model. */
tn_status tn_loop_plan(tn_loop *l, tn_err *e);
/* Workspaces, gradients, moments, the reference: all that the steps need. */
tn_status tn_loop_make(tn_loop *l, tn_err *e);
#endif
