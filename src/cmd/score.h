/* `tenet score`, internal: one invocation's options and state, and what it writes (score_out.c). */
#ifndef TN_CMD_SCORE_H
#define TN_CMD_SCORE_H
#include "conf/conf.h"
#include "data/rows.h"
#include "model/model.h"

typedef struct tn_score_opts {
    const char *model, *input, *out, *logits, *grads;
    const char *separator;
    const char *base, *dtype, *backend, *kernels, *seam, *chat_template, *profile;
    tn_opt_list hidden;
    int64_t threads, batch_size, max_batch_tokens;
} tn_score_opts;

typedef struct tn_score_job {
    tn_score_opts opt;
    int hidden_layer;
    const char *hidden_path;
    tn_backend *be;
    tn_model *model;
    tn_tokenizer *tok;
    tn_row *row;
    size_t n_row, cap_row;
    long n_scored;            /* over all rows */
    int longest;              /* row */
    int longest_short;        /* of those within the rotary embedding's original length */
    int max_tok, max_rows;    /* of a batch */
    tn_run *run;
    int run_pos;              /* positions that the run was made for */
    tn_forest forest;
    /* of a batch */
    int32_t *rows, *target;   /* [max_rows] */
    double *logp, *lse, *d_logp;
    double *score;            /* [batch] */
    float **logits;           /* [n_row] */
    void **hidden;            /* [n_row] */
    tn_out *out;
    tn_str separator; /* a process reward model's */
} tn_score_job;

static inline bool tn_score_is_reward(const tn_score_job *j) { return j->model->head != NULL; }
static inline bool tn_score_is_steps(const tn_score_job *j) { return j->model->desc.per_token; }

/* Result rows of the batch [first, end). */
tn_status tn_score_write_rows(tn_score_job *j, size_t first, size_t end, tn_err *e);
/* data[K] as tensor row.K [tokens, cols]. */
tn_status tn_score_write_tensors(const tn_score_job *j, const char *path, void *const *data, int64_t cols, tn_err *e);
tn_status tn_score_write_grads(const tn_score_job *j, tn_err *e);
#endif
