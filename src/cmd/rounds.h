/* Verbs whose runs are rounds of another verb's trainings (rlthf, self-reward): the folder that the same command goes on in, and
 * the other verb with this run's options. */
#ifndef TN_CMD_ROUNDS_H
#define TN_CMD_ROUNDS_H
#include "conf/conf.h"
#include "train/trainer.h"

typedef struct tn_rounds_run {
    const char *verb;
    const tn_opts *opts;
    const tn_train_options *t; /* of opts */
    const tn_backend *be;
    uint64_t data_hash;
    const char *const *files;  /* that the run writes beside round-K, metrics.jsonl and tenet.json; ends with NULL */
} tn_rounds_run;

/* What no run of rounds can take: --resume-from-checkpoint, --dry-run, --ranks, --max-rows. */
tn_status tn_rounds_check(const tn_rounds_run *r, tn_err *e);
/* The output folder is locked and this run's: its record is there, or is written; rounds of another run are TN_STATE, or removed with
 * --overwrite. *lock as of tn_lock_dir. */
tn_status tn_rounds_open(const tn_rounds_run *r, int *lock, tn_err *e);
/* Runs `verb` into `dir` with the options of this run that it has, changed by `set` (taken over); goes on from a checkpoint in `dir`. */
tn_status tn_rounds_train(const tn_rounds_run *r, const tn_verb *verb, const char *dir, json_t *set, tn_err *e);
#endif
