/* What `tenet score` writes: result rows, and tensors as safetensors files. */
#include "algo/reward.h"
#include "cmd/score.h"
#include "model/params.h"
#include "model/safetensors.h"
#include "ops/profile.h"
#include <string.h>

static void add_ids(tn_str *b, const tn_row *r) {
    tn_str_addz(b, "{\"ids\": [");
    for (int i = 0; i < r->n; i++) tn_str_addf(b, i ? ", %d" : "%d", r->ids[i]);
    tn_str_addc(b, ']');
}

/* logprobs with the digits that give the float back, and their sum; returns how many were used. */
static int add_logprobs(tn_str *b, const tn_row *r, const double *logp) {
    double sum = 0;
    int n = 0;
    tn_str_addz(b, ", \"logprobs\": [");
    for (int i = 0; i < r->n; i++) {
        if (i) tn_str_addz(b, ", ");
        if (r->scored[i]) {
            tn_str_add_f32(b, (float)logp[n]);
            sum += logp[n++];
        } else {
            tn_str_addz(b, "null");
        }
    }
    tn_str_addz(b, "], \"sum\": ");
    tn_str_add_f64(b, sum);
    return n;
}

static void add_score(tn_str *b, const tn_model *m, double score) {
    tn_str_addz(b, ", \"score\": ");
    tn_str_add_f32(b, (float)score);
    if (m->score_mean == 0 && m->score_sd == 1) return;
    tn_str_addz(b, ", \"score_normalized\": ");
    tn_str_add_f64(b, (score - m->score_mean) / m->score_sd);
}

/* Probability that each step is right, and of all; returns how many steps there are. */
static int add_steps(tn_str *b, const tn_row *r, const double *logit) {
    tn_str_addz(b, ", \"steps\": [");
    for (int i = 0; i < r->n_scored; i++) {
        if (i) tn_str_addz(b, ", ");
        tn_str_add_f64(b, tn_sigmoid(logit[i]));
    }
    tn_str_addz(b, "], \"product\": ");
    tn_str_add_f64(b, tn_prm_score(logit, r->n_scored, true));
    tn_str_addz(b, ", \"min\": ");
    tn_str_add_f64(b, tn_prm_score(logit, r->n_scored, false));
    return r->n_scored;
}

tn_status tn_score_write_rows(tn_score_job *j, size_t first, size_t end, tn_err *e) {
    tn_str b = TN_STR_INIT;
    const double *logp = j->logp;
    double begin = tn_work_begin(j->be);
    for (size_t i = first; i < end; i++) {
        add_ids(&b, &j->row[i]);
        if (tn_score_is_steps(j)) logp += add_steps(&b, &j->row[i], logp);
        else if (tn_score_is_reward(j)) add_score(&b, j->model, j->score[i - first]);
        else logp += add_logprobs(&b, &j->row[i], logp);
        tn_str_addz(&b, "}\n");
    }
    tn_status st = TN_OK;
    if (b.oom) st = tn_fail(e, TN_NOMEM, "no memory for the result rows");
    else if (j->out) st = tn_out_write(j->out, b.s, b.len, e);
    else if (fwrite(b.s, 1, b.len, stdout) != b.len)
        st = tn_fail(e, TN_IO, "standard output cannot be written");
    tn_work_end(j->be, begin, "write", 0);
    tn_str_free(&b);
    return st;
}

static void read_floats(const void *ctx, size_t begin, size_t n, float *out) {
    memcpy(out, (const float *)ctx + begin, n * sizeof *out);
}

tn_status tn_score_write_tensors(const tn_score_job *j, const char *path, void *const *data,
                               int64_t cols, tn_err *e) {
    tn_st_out *t = tn_calloc(j->n_row, sizeof *t);
    char (*name)[32] = tn_calloc(j->n_row, sizeof *name);
    tn_status st = TN_OK;
    if (!t || !name) st = tn_fail(e, TN_NOMEM, "out of memory");
    for (size_t i = 0; st == TN_OK && i < j->n_row; i++) {
        snprintf(name[i], sizeof name[i], "row.%zu", i);
        t[i] = (tn_st_out){.name = name[i],
                           .n_dim = 2,
                           .shape = {j->row[i].n, cols},
                           .read = read_floats,
                           .ctx = data[i]};
    }
    if (st == TN_OK) st = tn_st_write_file(path, t, j->n_row, TN_ST_SAVE_F32, e);
    tn_free(t);
    tn_free(name);
    return st;
}

tn_status tn_score_write_grads(const tn_score_job *j, tn_err *e) {
    const tn_model *m = j->model;
    const tn_tensor *x;
    int n = 0;
    while (tn_model_param(m, n)) n++;
    tn_st_out *t = tn_calloc((size_t)n, sizeof *t);
    if (!t) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; (x = tn_model_param(m, i)); i++) {
        t[i] = (tn_st_out){.name = x->name,
                           .n_dim = tn_tensor_is_vector(x) ? 1 : 2,
                           .shape = {x->rows, x->cols},
                           .read = read_floats,
                           .ctx = tn_tensor_grad(x, j->be)};
    }
    tn_status st = tn_st_write_file(j->opt.grads, t, (size_t)n, TN_ST_SAVE_F32, e);
    tn_free(t);
    return st;
}
