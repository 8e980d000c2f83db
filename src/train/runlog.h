/* What a run leaves for machines: metrics.jsonl (only reproducible numbers), timing.jsonl (seconds, tokens/s,
 * memory, floating-point operations), TensorBoard's events (events.h, when asked for) and the log history of trainer_state.json, with
 * TRL's metric names.
 * Writing continues after a resume: lines past the checkpoint are cut off first. Of several ranks the first
 * one writes; the others may call everything, too. */
#ifndef TN_TRAIN_RUNLOG_H
#define TN_TRAIN_RUNLOG_H
#include "algo/algo.h"
#include "base/json.h"
#include "ops/profile.h"
#include "train/options.h"

typedef struct tn_runlog {
    char dir[1024];
    tn_out *metrics, *timing, *events; /* events: may be NULL */
    tn_backend *be;  /* of tn_runlog_work; NULL before: none */
    json_t *history; /* array; the entries of metrics.jsonl */
    double t0, t_last;
    long tokens_last;
    uint64_t flop_last;
} tn_runlog;

/* `step` > 0: resuming after that step; `history` (may be NULL) is the checkpoint's. An evaluation of that step that
 * is not in it will be done again. */
tn_status tn_runlog_open(tn_runlog *l, const char *dir, long step, const json_t *history,
                         tn_err *e);
/* The run's work begins: its FLOP count from now on, and the time of entries goes to the backend's profile. */
void tn_runlog_work(tn_runlog *l, tn_backend *be);
/* Entries also go to event files as --report-to and --logging-dir say. After tn_runlog_open, with its step. */
tn_status tn_runlog_report(tn_runlog *l, const tn_train_options *o, long step, tn_err *e);
/* Keeps of a JSONL file the rows whose "step" is at most `step`, the first `most` of them; a missing file is fine. */
tn_status tn_runlog_cut(const char *path, long step, long most, tn_err *e);
/* Appends one entry (reference taken over); flushed at once. */
tn_status tn_runlog_entry(tn_runlog *l, json_t *entry, tn_err *e);
/* Seconds since the start and since the last call, tokens per second, peak memory of this process; floating-point
 * operations of all ranks since the last call (ops/flop.h: what was really done, a reference's passes, sampling and
 * scoring among them). */
tn_status tn_runlog_timing(tn_runlog *l, long step, long tokens, double *tokens_per_s, tn_err *e);
tn_status tn_runlog_close(tn_runlog *l, tn_err *e);
/* Adds every metric under `prefix`+name; a metric without samples is left out. */
void tn_runlog_put_metrics(json_t *entry, const char *prefix, const tn_metrics *m);
#endif
