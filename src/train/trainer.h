/* The loop behind pretrain, sft, reward, distill and the preference verbs: data, plan, steps, logs, evaluation,
 * checkpoints, resume. */
#ifndef TN_TRAIN_TRAINER_H
#define TN_TRAIN_TRAINER_H
#include "train/adapters.h"
#include "train/checkpoint.h"
#include "train/moving_ref.h"
#include "train/options.h"
#include "train/schedule.h"
#include "train/step.h"

struct tn_answers;
typedef struct tn_task {
    const char *verb;
    tn_data_kind data;
    const tn_algo *algo;
    const void *opt; /* bound struct of the algorithm */
    double default_lr;
    tn_ranking_use rankings;
    bool score_head;       /* reward models: a score head, no language-model head */
    const tn_pooled_head *pooled; /* that is one with parameters of its own; NULL: score.weight */
    tn_steps_how steps;    /* TN_DATA_STEPS */
    bool last_step_only;   /* of the training rows */
    bool per_token;        /* that is a token classifier of two labels with a bias, read at the ends of steps */
    double head_init;      /* standard deviation of a fresh score head; NaN: the config's initializer_range */
    bool reference;        /* the loss compares with a frozen copy of the starting model */
    const char *ref_model; /* another reference folder, or NULL */
    bool live_reference;   /* the reference is the model itself, as it is at every step */
    const char *teacher_template; /* tn_data_options */
    double pair_beta;      /* of Jensen-Shannon divergences from it (train/pair.h) */
    struct tn_answers *answers; /* in place of the rows' (train/answers.h), closed by the run; NULL: none */
    bool answers_only;     /* conversations train on assistant turns, whatever the options say */
    bool precompute_ref;   /* compute all reference log-probs first and free the reference */
    const tn_ahead *ahead;     /* the loss compares with reference points; NULL: it does not */
    const tn_sync_options *sync; /* the reference follows the model; NULL: it does not */
    bool gold;             /* rows are triples, with a gold answer beside the pair */
    bool drop_long;
    bool in_order; /* rows are not shuffled unless the options say so */
    bool fresh; /* --model holds only config.json (and a tokenizer): random weights */
    /* Called when the rows are read: what their numbers ask for. */
    void (*remark)(const tn_dataset *train, const struct tn_task *task, tn_order_kind order);
    /* Called when training is done, before the output is written; may add to `record`. */
    tn_status (*finish)(tn_trainee *t, tn_dataset *train, tn_dataset *eval, json_t *record,
                        tn_err *e);
} tn_task;

tn_status tn_task_run(const tn_task *task, const tn_opts *opts, tn_err *e);

/* ---- pieces that all loops share ---- */
/* Backend as the machine options say; tn_profile_finish ends what --profile began. */
tn_status tn_backend_from_options(tn_backend **b, const tn_train_options *o, tn_err *e);
/* The end of a training run that ended with `st` on this rank: its profile, and what all ranks end with. */
tn_status tn_run_end(tn_backend *b, tn_status st, tn_err *e);
/* The tokenizer of a model folder with --chat-template applied; *tok = NULL when the folder has none. */
tn_status tn_tokenizer_optional(tn_tokenizer **tok, const char *dir, const char *chat_template,
                                tn_err *e);
/* The same; an adapter folder without a tokenizer has its base's (`base`, or NULL: the one it names). */
tn_status tn_tokenizer_of(tn_tokenizer **tok, const char *dir, const char *base,
                          const char *chat_template, tn_err *e);
/* Output folder: created, locked, refused when it holds another run (unless overwrite or resume).
 * *resume_from is empty unless the run continues. */
tn_status tn_output_open(const tn_train_options *o, int *lock, tn_str *resume_from, tn_err *e);
/* tenet.json of a run: verb, version, options, profile, checksums of rows and models. New reference. */
tn_status tn_run_record(json_t **record, const char *verb, const tn_opts *opts, const tn_backend *be,
                        uint64_t data_hash, tn_err *e);
/* May the run of `record` go on from checkpoint `from`? Another verb, other rows or models are TN_STATE;
 * options that differ are named in warnings. */
tn_status tn_resume_check(const char *from, const json_t *record, tn_err *e);
tn_order_kind tn_order_of(const tn_train_options *o);
const char *tn_save_dtype(const tn_train_options *o);
const char *tn_output_dtype(const tn_train_options *o, const tn_model *m); /* adapters: float32 when auto */
tn_optimiser tn_optimiser_from_options(const tn_train_options *o);
/* What --recompute and --gradient-checkpointing leave to keep. */
tn_keep tn_keep_from_options(const tn_train_options *o);
/* What --optim says of the moments. */
tn_moment_kind tn_moments_from_option(const char *optim);
double tn_lr_at(const tn_train_options *o, double peak, long step /* 1-based */, long total);
#endif
