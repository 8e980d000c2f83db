/* Options shared by every training verb, with TRL's long names as synonyms and TRL's defaults. */
#ifndef TN_TRAIN_OPTIONS_H
#define TN_TRAIN_OPTIONS_H
#include "conf/conf.h"

typedef struct tn_train_options {
    /* files */
    const char *model, *output_dir, *resume;
    tn_opt_list data, eval_data;
    bool overwrite, dry_run;
    /* rows */
    int64_t max_length, max_rows;
    const char *truncation_mode, *seam, *transcripts, *sampling, *chat_template;
    bool completion_only, assistant_only, share_prompts, hard_labels;
    /* batch and steps */
    int64_t batch_size, accumulation, batch_tokens, micro_tokens, max_steps;
    double epochs;
    /* optimiser */
    double lr, beta1, beta2, eps, weight_decay, max_grad_norm, warmup_ratio, min_lr_ratio;
    int64_t warmup_steps;
    bool decay_all;
    const char *scheduler, *optim;
    /* ranks */
    int64_t grad_lanes, ranks;
    const char *comm;
    double comm_timeout;
    /* machine */
    const char *dtype, *backend, *kernels, *save_dtype, *profile;
    int64_t threads, seed;
    const char *max_memory, *recompute;
    bool gradient_checkpointing;
    /* logging, evaluation, checkpoints */
    int64_t logging_steps, eval_steps, save_steps, save_limit, patience;
    const char *best_metric, *logging_dir;
    tn_opt_list report_to;
    bool keep_best;
} tn_train_options;

extern const tn_opt_row tn_train_option_rows[];
extern const tn_opt_row tn_machine_option_rows
    []; /* dtype, backend, kernels, threads, seed, profile: fields of the same struct */
#endif
