/* Two models' heads at the same rows: divergences of their distributions, and their gradient. */
#include "model/run.h"

static tn_status check(const tn_run *r, const tn_model *m, const tn_lm *q, const tn_lm_pair *p, tn_err *e) {
    TN_TRY(tn_head_check(r, m, q, e));
    tn_lm second = *q;
    if (p->rows) second.rows = p->rows;
    TN_TRY(tn_head_check(p->run, p->model, &second, e));
    if (p->model->desc.vocab != m->desc.vocab)
        return tn_fail(e, TN_STATE, "two models of %d and %d tokens have no divergence; they need one tokenizer",
                       m->desc.vocab, p->model->desc.vocab);
    if (p->run == r || (!p->rows && p->run->n_tok != r->n_tok) || !q->lse || !p->lse2)
        return tn_fail(e, TN_BUG, "heads of a pair need a run each, one forest and room for both lse");
    if ((p->jsd || p->kl_mix) && !(p->beta > 0 && p->beta < 1))
        return tn_fail(e, TN_BUG, "a mixture of two distributions with beta %g, expected a number between 0 and 1",
                       p->beta);
    return TN_OK;
}

static double *at(double *p, int i) { return p ? p + i : NULL; }

tn_status tn_lm_pair_head(tn_run *r, const tn_model *m, const tn_lm *q, const tn_lm_pair *p, tn_err *e) {
    TN_TRY(check(r, m, q, p, e));
    tn_backend *be = r->be;
    int most = p->run->max_rows < r->max_rows ? p->run->max_rows : r->max_rows;
    for (int i = 0; i < q->n; i += most) {
        int n = q->n - i < most ? q->n - i : most;
        tn_head_rows(r, m, q->rows + i, n);
        tn_head_rows(p->run, p->model, (p->rows ? p->rows : q->rows) + i, n);
        tn_head second = {.rows = n, .x = p->run->rn, .w = &p->model->lm_head, .inv_temp = q->inv_temp,
                          .target = q->target ? q->target + i : NULL, .lse = p->lse2 + i, .logp = at(p->logp2, i)};
        be->op->head(be, &second);
        tn_head_pair h = {.rows = n, .x = r->rn, .x2 = p->run->rn, .w = &m->lm_head, .w2 = &p->model->lm_head,
                          .inv_temp = q->inv_temp, .beta = p->beta, .lse = q->lse + i, .lse2 = p->lse2 + i,
                          .kl = at(p->kl, i), .rkl = at(p->rkl, i), .jsd = at(p->jsd, i), .kl_mix = at(p->kl_mix, i)};
        be->op->head_pair(be, &h);
    }
    return tn_backend_check(be, e);
}

tn_status tn_lm_pair_backward(tn_run *r, tn_model *m, const tn_lm *q, const tn_lm_pair *p, const tn_lm_grad *d,
                              tn_err *e) {
    TN_TRY(check(r, m, q, p, e));
    if ((d->kl && !p->kl) || (d->jsd && !p->kl_mix))
        return tn_fail(e, TN_BUG, "a pair's backward needs the forward's kl for d_kl, its kl_mix for d_jsd");
    return tn_head_backward(r, m, q, p, d, e);
}
