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

void tn_head_rows(tn_run *r, const tn_model *m, const int32_t *rows, int n) {
    int D = r->hidden;
    const tn_ops *op = r->be->op;
    op->gather(r->be, r->rx, r->saved[r->layers].x, D, places(r, rows, n), n, D, r->be->elem); /* [n,D] */
    op->rms_norm(r->be, TN_SET, r->rn, D, r->rstd, r->rx, D, tn_param(m, m->final_norm), n, 1, D,
                 m->desc.norm_eps);
}

/* Takes rdn = d loss / d rn to dx. */
static void rows_backward(tn_run *r, tn_model *m, const int32_t *rows, int n) {
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

tn_status tn_head_check(const tn_run *r, const tn_model *m, const tn_lm *q, tn_err *e) {
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
    TN_TRY(tn_head_check(r, m, q, e));
    for (int i = 0; i < q->n; i += r->max_rows) {
        int n = q->n - i < r->max_rows ? q->n - i : r->max_rows;
        tn_head_rows(r, m, q->rows + i, n);
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
                     .log_sum_sq = at(q->log_sum_sq, i),
                     .z = q->z ? q->z + (size_t)i * (size_t)m->desc.vocab : NULL};
        r->be->op->head(r->be, &h);
    }
    return tn_backend_check(r->be, e);
}

/* What the gradient reads, by row: its coefficients, then what the forward found. */
enum { D_LOGP, D_ENTROPY, D_LSE, D_KL, D_RKL, D_JSD, N_GRAD };
enum { LSE = N_GRAD, ENTROPY, LSE2, KL, KL_MIX, N_COEF };
_Static_assert(N_COEF == TN_HEAD_COEFS, "room for all of them");

/* Rows [i, q->n) with a coefficient, until `most` are found, their numbers in r->coef, a second model's rows in its run;
 * *next is where to go on. */
static int compact(tn_run *r, const tn_lm *q, const tn_lm_pair *p, const double *const from[N_COEF], int most, int i, int *next) {
    int n = 0;
    for (; i < q->n && n < most; i++) {
        bool any = false;
        for (int k = 0; k < N_GRAD; k++) any = any || (from[k] && from[k][i] != 0);
        if (!any) continue;
        r->row_id[n] = q->rows[i];
        if (p) p->run->row_id[n] = p->rows ? p->rows[i] : q->rows[i];
        r->target[n] = q->target ? q->target[i] : -1;
        for (int k = 0; k < N_COEF; k++)
            if (from[k]) r->coef[k][n] = from[k][i];
        n++;
    }
    *next = i;
    return n;
}

static const double *found(const tn_run *r, const double *const from[N_COEF], int k) {
    return from[k] ? r->coef[k] : NULL;
}

tn_status tn_head_backward(tn_run *r, tn_model *m, const tn_lm *q, const tn_lm_pair *p, const tn_lm_grad *d,
                           tn_err *e) {
    TN_TRY(tn_head_check(r, m, q, e));
    TN_TRY(check_backward(r, m, e));
    if (!q->lse || (d->entropy && !q->entropy) || (d->logp && !q->target))
        return tn_fail(
            e, TN_BUG,
            "head backward needs the forward's lse, its entropy for d_entropy, targets for d_logp");
    const double *const from[N_COEF] = {
        [D_LOGP] = d->logp, [D_ENTROPY] = d->entropy, [D_LSE] = d->lse, [D_KL] = d->kl, [D_RKL] = d->rkl,
        [D_JSD] = d->jsd, [LSE] = q->lse, [ENTROPY] = d->entropy ? q->entropy : NULL, [LSE2] = p ? p->lse2 : NULL,
        [KL] = p && d->kl ? p->kl : NULL, [KL_MIX] = p && d->jsd ? p->kl_mix : NULL};
    int most = p && p->run->max_rows < r->max_rows ? p->run->max_rows : r->max_rows;
    for (int i = 0; i < q->n;) {
        int n = compact(r, q, p, from, most, i, &i);
        if (n == 0) break;
        tn_head_rows(r, m, r->row_id, n);
        tn_head_pair second = {.lse2 = r->coef[LSE2], .kl = r->coef[KL], .kl_mix = r->coef[KL_MIX]};
        if (p) {
            tn_head_rows(p->run, p->model, p->run->row_id, n);
            second.x2 = p->run->rn, second.w2 = &p->model->lm_head, second.beta = p->beta;
        }
        tn_head_bwd h = {.rows = n,
                         .x = r->rn,
                         .w = &m->lm_head,
                         .inv_temp = q->inv_temp,
                         .target = r->target,
                         .lse = r->coef[LSE],
                         .entropy = found(r, from, ENTROPY),
                         .d_logp = found(r, from, D_LOGP),
                         .d_entropy = found(r, from, D_ENTROPY),
                         .d_lse = found(r, from, D_LSE),
                         .dx = r->rdn,
                         .dw = tn_weight_grad(m, &m->lm_head),
                         .pair = p ? &second : NULL,
                         .d_kl = found(r, from, D_KL),
                         .d_rkl = found(r, from, D_RKL),
                         .d_jsd = found(r, from, D_JSD)};
        r->be->op->head_bwd(r->be, &h);
        rows_backward(r, m, r->row_id, n);
    }
    return tn_backend_check(r->be, e);
}

tn_status tn_lm_head_backward(tn_run *r, tn_model *m, const tn_lm *q, const double *d_logp,
                              const double *d_entropy, const double *d_lse, tn_err *e) {
    return tn_head_backward(r, m, q, NULL, &(tn_lm_grad){.logp = d_logp, .entropy = d_entropy, .lse = d_lse}, e);
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
        tn_head_rows(r, m, rows + i, k);
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
        tn_head_rows(r, m, rows + i, k);
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
        tn_head_rows(r, m, rows + i, k);
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
        tn_head_rows(r, m, r->row_id, k);
        r->be->op->rowdot_bwd(r->be, r->rdn, tn_at(r->be, m->head->grad, label_at(m, label)), r->coef[0],
                              r->rn, w, k, r->hidden);
        rows_backward(r, m, r->row_id, k);
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
        tn_head_rows(r, m, rows + i, k);
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
        tn_head_rows(r, m, rows + i, k);
        for (size_t j = 0; j < (size_t)k * D; j++) {
            void *to = tn_at(r->be, r->rdn, j);
            double v = d[(size_t)i * D + j];
            if (r->be->elem == sizeof v) *(double *)to = v;
            else *(float *)to = (float)v;
        }
        rows_backward(r, m, rows + i, k);
    }
    return TN_OK;
}
