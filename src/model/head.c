/* Heads: gathered rows, final norm on them only, then the LM head's statistics or the score.
 *
 * Any number of rows goes through in pieces of at most max_rows. Backward computes the normed rows
 * again, leaves out rows whose coefficients are all zero, and adds to the gradient of the final
 * residual, so that several heads may follow one forward. */
#include "model/run.h"
#include <string.h>

/* Where the final residual has these rows. */
static const int32_t *places(tn_run *r, const int32_t *rows, int n) {
    if (r->n_read == r->n_tok) return rows;
    for (int i = 0; i < n; i++) r->at[i] = r->place[rows[i]];
    return r->at;
}

/* rn[i] = final_norm(x[rows[i]]), rx[i] = x[rows[i]] */
static void normed_rows(tn_run *r, const tn_model *m, const int32_t *rows, int n) {
    int D = r->hidden;
    const tn_ops *op = r->be->op;
    op->gather(r->be, r->rx, r->saved[r->layers].x, D, places(r, rows, n), n, D);   /* [n,D] */
    op->rms_norm(r->be, r->rn, D, r->rstd, r->rx, D, tn_param(m, m->final_norm), n, 1, D,
                 m->desc.norm_eps);
}

/* Takes rdn = d loss / d rn to dx. */
static void normed_rows_backward(tn_run *r, tn_model *m, const int32_t *rows, int n) {
    int D = r->hidden;
    const tn_ops *op = r->be->op;
    if (!r->dx_ready) memset(r->dx, 0, (size_t)r->n_read * (size_t)D * r->be->elem);
    r->dx_ready = true;
    op->rms_norm_bwd(r->be, TN_SET, r->rdx, D, tn_param_grad(m, m->final_norm), r->rdn, D, r->rx, D,
                     r->rstd, tn_param(m, m->final_norm), n, 1, D);
    op->scatter_add(r->be, r->dx, D, r->rdx, places(r, rows, n), n, D);
}

static tn_status check_rows(const tn_run *r, const tn_model *m, const int32_t *rows, int n,
                            tn_err *e) {
    TN_TRY(tn_run_check(r, m, e));
    if (r->n_tok == 0) return tn_fail(e, TN_STATE, "a head was asked for before a forward");
    for (int i = 0; i < n; i++)
        if (rows[i] < 0 || rows[i] >= r->n_tok)
            return tn_fail(e, TN_BUG, "head row %d is not among the %d rows of the forward",
                           rows[i], r->n_tok);
    for (int i = 0; i < n && r->n_read < r->n_tok; i++)
        if (r->place[rows[i]] < 0)
            return tn_fail(e, TN_BUG, "head row %d is not among the %d that the forward was told of", rows[i], r->n_read);
    return TN_OK;
}

static tn_status check_backward(const tn_run *r, const tn_model *m, tn_err *e) {
    if (!r->kept)
        return tn_fail(e, TN_STATE, "head backward without a forward that kept its activations");
    if (!m->trainable)
        return tn_fail(e, TN_STATE, "head backward on a model that was not made trainable");
    return TN_OK;
}

static tn_status check_lm(const tn_run *r, const tn_model *m, const tn_lm *q, tn_err *e) {
    TN_TRY(check_rows(r, m, q->rows, q->n, e));
    if (m->no_lm_head)
        return tn_fail(
            e, TN_STATE,
            "this model has a score head and no language-model head: it gives no log-probs");
    for (int i = 0; q->target && i < q->n; i++)
        if (q->target[i] < -1 || q->target[i] >= m->desc.vocab)
            return tn_fail(e, TN_ARG, "target id %d is outside the model's vocabulary of %d",
                           q->target[i], m->desc.vocab);
    if (!q->target && (q->logp || q->top1))
        return tn_fail(e, TN_BUG, "log-probs asked for without targets");
    return TN_OK;
}

static double *at(double *p, int i) { return p ? p + i : NULL; }

tn_status tn_lm_head(tn_run *r, const tn_model *m, const tn_lm *q, tn_err *e) {
    TN_TRY(check_lm(r, m, q, e));
    for (int i = 0; i < q->n; i += r->max_rows) {
        int n = q->n - i < r->max_rows ? q->n - i : r->max_rows;
        normed_rows(r, m, q->rows + i, n);
        tn_head h = {.rows = n,
                     .x = r->rn,
                     .w = &m->lm_head,
                     .inv_temp = q->inv_temp,
                     .target = q->target ? q->target + i : NULL,
                     .logp = at(q->logp, i),
                     .lse = at(q->lse, i),
                     .entropy = at(q->entropy, i),
                     .mean_logit = at(q->mean_logit, i),
                     .top1 = at(q->top1, i),
                     .z = q->z ? q->z + (size_t)i * (size_t)m->desc.vocab : NULL};
        r->be->op->head(r->be, &h);
    }
    return tn_backend_check(r->be, e);
}

/* Rows [i, q->n) with a coefficient, until max_rows are found; *next is where to go on. */
static int compact(tn_run *r, const tn_lm *q, const double *const d[3], int i, int *next) {
    int n = 0;
    for (; i < q->n && n < r->max_rows; i++) {
        if ((!d[0] || d[0][i] == 0) && (!d[1] || d[1][i] == 0) && (!d[2] || d[2][i] == 0)) continue;
        r->row_id[n] = q->rows[i];
        r->target[n] = q->target ? q->target[i] : -1;
        r->coef[0][n] = q->lse[i];
        if (d[1]) r->coef[1][n] = q->entropy[i];
        for (int k = 0; k < 3; k++)
            if (d[k]) r->coef[2 + k][n] = d[k][i];
        n++;
    }
    *next = i;
    return n;
}

tn_status tn_lm_head_backward(tn_run *r, tn_model *m, const tn_lm *q, const double *d_logp,
                              const double *d_entropy, const double *d_lse, tn_err *e) {
    TN_TRY(check_lm(r, m, q, e));
    TN_TRY(check_backward(r, m, e));
    if (!q->lse || (d_entropy && !q->entropy) || (d_logp && !q->target))
        return tn_fail(
            e, TN_BUG,
            "head backward needs the forward's lse, its entropy for d_entropy, targets for d_logp");
    const double *const d[3] = {d_logp, d_entropy, d_lse};
    for (int i = 0; i < q->n;) {
        int n = compact(r, q, d, i, &i);
        if (n == 0) break;
        normed_rows(r, m, r->row_id, n);
        tn_head_bwd h = {.rows = n,
                         .x = r->rn,
                         .w = &m->lm_head,
                         .inv_temp = q->inv_temp,
                         .target = r->target,
                         .lse = r->coef[0],
                         .entropy = d_entropy ? r->coef[1] : NULL,
                         .d_logp = d_logp ? r->coef[2] : NULL,
                         .d_entropy = d_entropy ? r->coef[3] : NULL,
                         .d_lse = d_lse ? r->coef[4] : NULL,
                         .dx = r->rdn,
                         .dw = tn_weight_grad(m, &m->lm_head)};
        r->be->op->head_bwd(r->be, &h);
        normed_rows_backward(r, m, r->row_id, n);
    }
    return tn_backend_check(r->be, e);
}

static tn_status check_score(const tn_run *r, const tn_model *m, const int32_t *rows, int n, int labels,
                             tn_err *e) {
    TN_TRY(check_rows(r, m, rows, n, e));
    if (!m->head) return tn_fail(e, TN_STATE, "this model has no score head");
    if (m->desc.num_labels != labels)
        return tn_fail(e, TN_UNSUPPORTED,
                       "a score head with %d labels: reward and value heads have one, those of "
                       "process reward models two",
                       m->desc.num_labels);
    return TN_OK;
}

static tn_status check_score_backward(const tn_run *r, const tn_model *m, tn_err *e) {
    TN_TRY(check_backward(r, m, e));
    return m->head->grad ? TN_OK
                         : tn_fail(e, TN_STATE, "score backward on a head that was not made trainable");
}

static double scalar(const tn_backend *be, const void *p) {
    return be->elem == sizeof(double) ? *(const double *)p : (double)*(const float *)p;
}

/* Row `label` of score.weight, and its bias. */
static size_t label_at(const tn_model *m, int label) {
    return m->score + (size_t)label * (size_t)m->desc.hidden;
}
static double bias_of(const tn_model *m, int label) {
    if (m->score_bias == TN_NONE) return 0;
    return scalar(m->be, tn_cat(m->be, m->head->data, m->score_bias + (size_t)label));
}

tn_status tn_score_head(tn_run *r, const tn_model *m, const int32_t *rows, int n, double *out,
                        tn_err *e) {
    TN_TRY(check_score(r, m, rows, n, 1, e));
    const void *w = tn_cat(r->be, m->head->data, m->score);
    double b = bias_of(m, 0);
    for (int i = 0; i < n; i += r->max_rows) {
        int k = n - i < r->max_rows ? n - i : r->max_rows;
        normed_rows(r, m, rows + i, k);
        r->be->op->rowdot(r->be, out + i, r->rn, w, k, r->hidden);
        for (int j = 0; j < k; j++) out[i + j] += b;
    }
    return TN_OK;
}

tn_status tn_part_head(tn_run *r, const tn_model *m, int row, const int32_t *rows, int n, double *out, tn_err *e) {
    TN_TRY(check_score(r, m, rows, n, 1, e));
    if (m->desc.n_part < 1 || row >= m->desc.part[0].rows || m->desc.part[0].cols != m->desc.hidden)
        return tn_fail(e, TN_BUG, "the score head has no part with row %d", row);
    const void *w = tn_cat(r->be, m->head->data, m->head_parts + (size_t)row * (size_t)r->hidden);
    for (int i = 0; i < n; i += r->max_rows) {
        int k = n - i < r->max_rows ? n - i : r->max_rows;
        normed_rows(r, m, rows + i, k);
        r->be->op->rowdot(r->be, out + i, r->rn, w, k, r->hidden);
    }
    return TN_OK;
}

tn_status tn_logit_head(tn_run *r, const tn_model *m, const int32_t *rows, int n, double *out,
                        tn_err *e) {
    enum { AT_ONCE = 64 };
    double other[AT_ONCE];
    TN_TRY(check_score(r, m, rows, n, 2, e));
    double b = bias_of(m, 1) - bias_of(m, 0);
    int most = r->max_rows < AT_ONCE ? r->max_rows : AT_ONCE;
    for (int i = 0; i < n; i += most) {
        int k = n - i < most ? n - i : most;
        normed_rows(r, m, rows + i, k);
        r->be->op->rowdot(r->be, out + i, r->rn, tn_cat(r->be, m->head->data, label_at(m, 1)), k,
                          r->hidden);
        r->be->op->rowdot(r->be, other, r->rn, tn_cat(r->be, m->head->data, label_at(m, 0)), k,
                          r->hidden);
        for (int j = 0; j < k; j++) out[i + j] = out[i + j] - other[j] + b;
    }
    return TN_OK;
}

/* d bias: one element, summed over rows in order. */
static void bias_backward(tn_model *m, int label, double sign, const double *d_out, int n) {
    double sum = 0;
    if (m->score_bias == TN_NONE) return;
    for (int i = 0; i < n; i++) sum += sign * d_out[i];
    void *g = tn_at(m->be, m->head->grad, m->score_bias + (size_t)label);
    if (m->be->elem == sizeof(double)) *(double *)g += sum;
    else *(float *)g += (float)sum;
}

/* d score of one label is sign times d_out. */
static void label_backward(tn_run *r, tn_model *m, int label, double sign, const int32_t *rows, int n,
                           const double *d_out) {
    const void *w = tn_cat(r->be, m->head->data, label_at(m, label));
    for (int i = 0; i < n;) {
        int k = 0;
        for (; i < n && k < r->max_rows; i++) {
            if (d_out[i] == 0) continue;
            r->row_id[k] = rows[i];
            r->coef[0][k++] = sign * d_out[i];
        }
        if (k == 0) break;
        normed_rows(r, m, r->row_id, k);
        r->be->op->rowdot_bwd(r->be, r->rdn, tn_at(r->be, m->head->grad, label_at(m, label)),
                              r->coef[0], r->rn, w, k, r->hidden);
        normed_rows_backward(r, m, r->row_id, k);
    }
    bias_backward(m, label, sign, d_out, n);
}

tn_status tn_score_head_backward(tn_run *r, tn_model *m, const int32_t *rows, int n,
                                 const double *d_out, tn_err *e) {
    TN_TRY(check_score(r, m, rows, n, 1, e));
    TN_TRY(check_score_backward(r, m, e));
    label_backward(r, m, 0, 1, rows, n, d_out);
    return TN_OK;
}

tn_status tn_logit_head_backward(tn_run *r, tn_model *m, const int32_t *rows, int n,
                                 const double *d_out, tn_err *e) {
    TN_TRY(check_score(r, m, rows, n, 2, e));
    TN_TRY(check_score_backward(r, m, e));
    label_backward(r, m, 1, 1, rows, n, d_out);
    label_backward(r, m, 0, -1, rows, n, d_out);
    return TN_OK;
}

tn_status tn_hidden_rows(tn_run *r, const tn_model *m, const int32_t *rows, int n, double *out, tn_err *e) {
    size_t D = (size_t)r->hidden;
    TN_TRY(check_rows(r, m, rows, n, e));
    for (int i = 0; i < n; i += r->max_rows) {
        int k = n - i < r->max_rows ? n - i : r->max_rows;
        normed_rows(r, m, rows + i, k);
        for (size_t j = 0; j < (size_t)k * D; j++)
            out[(size_t)i * D + j] = scalar(r->be, tn_cat(r->be, r->rn, j));
    }
    return TN_OK;
}

tn_status tn_hidden_rows_backward(tn_run *r, tn_model *m, const int32_t *rows, int n, const double *d,
                                  tn_err *e) {
    size_t D = (size_t)r->hidden;
    TN_TRY(check_rows(r, m, rows, n, e));
    TN_TRY(check_backward(r, m, e));
    for (int i = 0; i < n; i += r->max_rows) {
        int k = n - i < r->max_rows ? n - i : r->max_rows;
        normed_rows(r, m, rows + i, k);
        for (size_t j = 0; j < (size_t)k * D; j++) {
            void *to = tn_at(r->be, r->rdn, j);
            double v = d[(size_t)i * D + j];
            if (r->be->elem == sizeof v) *(double *)to = v;
            else *(float *)to = (float)v;
        }
        normed_rows_backward(r, m, rows + i, k);
    }
    return TN_OK;
}
