/* Durable checkpoints: OUT/checkpoint-N/ is filled aside, synced and renamed, so that a kill at any
 * instant leaves the last complete one. A checkpoint is a Hugging Face (or adapter) folder (float32 weights) plus
 * optimizer/ (AdamW's moments), trainer_state.json, tenet.json and manifest.json; further trained models (a critic)
 * have a subfolder of the same kind. Of several ranks all call these functions; the first one writes, with the moments
 * of all shards, so that a checkpoint is the same bytes for any number of ranks, and any number reads it. */
#ifndef TN_TRAIN_CHECKPOINT_H
#define TN_TRAIN_CHECKPOINT_H
#include "model/model.h"
#include "text/text.h"
#include "train/runlog.h"

typedef struct tn_part {
    const char *name; /* "" for the main model, else the subfolder */
    tn_model *model;
} tn_part;

typedef struct tn_ckpt {
    const char *output_dir;
    const tn_part *part;
    int n_part;
    const tn_tokenizer *tok; /* may be NULL */
    const json_t *record;    /* tenet.json: options, hashes, version */
    const json_t *state; /* everything else that the run needs to go on (counters, controllers) */
    const tn_runlog *log;
} tn_ckpt;

tn_status tn_checkpoint_save(const tn_ckpt *c, long step, tn_err *e);
/* Removes all but the newest `keep` checkpoints of the run; `best` (a step, or 0) stays. */
tn_status tn_checkpoint_prune(const tn_ckpt *c, long keep, long best, tn_err *e);
/* `which`: a folder, or "latest". *path is empty when there is none ("latest" only). A checkpoint whose
 * files are not those of its manifest is refused. */
tn_status tn_checkpoint_find(const char *output_dir, const char *which, tn_str *path, tn_err *e);
/* Optimiser moments of one part; state and history from trainer_state.json (new references). */
tn_status tn_checkpoint_load_moments(const char *ckpt, const tn_part *p, tn_err *e);
tn_status tn_checkpoint_load_state(const char *ckpt, json_t **state, json_t **history, tn_err *e);
/* The finished model into the output folder itself, file by file aside and renamed. */
tn_status tn_output_save(const tn_ckpt *c, const char *dtype, tn_err *e);
#endif
