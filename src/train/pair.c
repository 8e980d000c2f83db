#include "train/pair.h"
#include "ops/profile.h"
#include "train/step.h"
#include <string.h>

enum { LSE2, KL, RKL, JSD, KL_MIX, D_KL, D_RKL, D_JSD, N_ARRAY };

static double *array(const tn_pairing *p, int k) { return p->slab + (size_t)k * p->cap; }

tn_status tn_pairing_reserve(tn_pairing *p, int tokens, tn_err *e) {
    if ((size_t)tokens <= p->cap) return TN_OK;
    double *slab = tn_realloc(p->slab, N_ARRAY * (size_t)tokens, sizeof *slab);
    if (!slab) return tn_fail(e, TN_NOMEM, "out of memory for the divergences of %d tokens", tokens);
    p->slab = slab;
    p->cap = (size_t)tokens;
    return TN_OK;
}

void tn_pairing_free(tn_pairing *p) {
    tn_free(p->slab);
    tn_batch_free(&p->mb);
    *p = (tn_pairing){0};
}

tn_status tn_pairing_budget(tn_budget *p, const tn_desc *policy, const tn_lora_spec *s, const tn_adapter_options *o,
                            const char *dir, const char *ref_dir, tn_backend *be, int tokens, int rows, int length,
                            int blocks, tn_err *e) {
    tn_desc d = *policy;
    tn_lora_spec own;
    const char *from = ref_dir ? ref_dir : dir;
    TN_TRY(tn_adapter_peek(&own, from, e));
    if (ref_dir) TN_TRY(tn_model_peek(&d, from, &(tn_load){.base = o->base_model}, e));
    if (!ref_dir || (s->rank && tn_same_trunk(from, dir, o->base_model))) { /* the policy's workspace would have done */
        tn_budget_run(p, "reference", &d, be, tokens, rows, length, blocks, TN_KEEP_NOTHING);
        tn_budget_adapter_run(p, "reference", &d, &own, be, tokens, false);
    }
    tn_budget_scratch_pair(p, policy, &d, be, rows, !s->rank);
    tn_budget_add(p, "micro-batch", "", N_ARRAY * (size_t)tokens * sizeof(double));
    return TN_OK;
}

tn_status tn_pairing_fill(tn_trainee *t, tn_example *const *ex, int n, tn_err *e) {
    tn_batch *b = &t->pair.mb;
    tn_batch_clear(b);
    for (int i = 0; i < n && ex[i]->teacher; i++) TN_TRY(tn_batch_add(b, ex[i]->teacher, &t->batch, e));
    if (b->n_seq == 0) return TN_OK;
    TN_TRY(tn_batch_finish(b, e));
    if (b->n_seq != t->mb.n_seq || b->n_tok != t->mb.n_tok ||
        (b->n_tok && memcmp(b->target, t->mb.target, (size_t)b->n_tok * sizeof *b->target) != 0))
        return tn_fail(e, TN_BUG, "a teacher's side of %d responses and %d tokens beside a student's of %d and %d", b->n_seq, b->n_tok,
                       t->mb.n_seq, t->mb.n_tok);
    return TN_OK;
}

static bool two_sides(const tn_trainee *t) { return t->pair.mb.n_seq > 0; }

/* The divergences that are needed; the others are not computed. */
static tn_lm_pair pair_of(tn_trainee *t) {
    const tn_pairing *p = &t->pair;
    tn_lm_pair q = {.run = t->ref_run, .model = t->ref, .beta = p->beta, .lse2 = array(p, LSE2)};
    if (two_sides(t)) q.rows = p->mb.row;
    if (t->needs & TN_NEED_REF_LOGP) q.logp2 = t->mb.ref_logp;
    if (t->needs & TN_NEED_KL) q.kl = array(p, KL);
    if (t->needs & TN_NEED_RKL) q.rkl = array(p, RKL);
    if (t->needs & TN_NEED_JSD) q.jsd = array(p, JSD), q.kl_mix = array(p, KL_MIX);
    return q;
}

tn_status tn_pairing_observe(tn_trainee *t, tn_err *e) {
    tn_batch *b = &t->mb;
    if (b->n_tok == 0) return TN_OK;
    if (!t->ref || !t->ref_run) return tn_fail(e, TN_BUG, "divergences need a second model with its own workspace");
    TN_TRY(tn_pairing_reserve(&t->pair, b->n_tok, e));
    tn_phase before = tn_phase_enter(t->ref->be, TN_PHASE_REFERENCE);
    tn_batch *side = two_sides(t) ? &t->pair.mb : b;
    TN_TRY(tn_forward_rows(t->ref_run, t->ref, &side->forest, side->row, side->n_tok, e));
    tn_lm q = {.n = b->n_tok, .rows = b->row, .target = b->target, .inv_temp = t->inv_temp, .lse = b->lse};
    tn_lm_pair pair = pair_of(t);
    TN_TRY(tn_lm_pair_head(t->run, t->model, &q, &pair, e));
    tn_phase_leave(t->ref->be, before);
    return TN_OK;
}

void tn_pairing_wire(tn_trainee *t, tn_obs *x, tn_grad *g) {
    const tn_pairing *p = &t->pair;
    if (!(t->needs & TN_NEED_PAIR) || !p->slab) return;
    if (t->needs & TN_NEED_KL) x->kl = array(p, KL);
    if (t->needs & TN_NEED_RKL) x->rkl = array(p, RKL);
    if (t->needs & TN_NEED_JSD) x->jsd = array(p, JSD);
    g->kl = array(p, D_KL), g->rkl = array(p, D_RKL), g->jsd = array(p, D_JSD);
    for (int k = D_KL; k <= D_JSD; k++) memset(array(p, k), 0, p->cap * sizeof(double));
}

/* Divergences whose gradients are zero everywhere need not be mentioned. */
static const double *moving(const double *d, int n) {
    for (int i = 0; i < n; i++)
        if (d[i] != 0) return d;
    return NULL;
}

tn_status tn_pairing_backward(tn_trainee *t, const tn_lm *q, const tn_lm_grad *d, tn_err *e) {
    tn_lm_grad all = *d;
    tn_lm_pair pair = pair_of(t);
    all.kl = moving(array(&t->pair, D_KL), q->n);
    all.rkl = moving(array(&t->pair, D_RKL), q->n);
    all.jsd = moving(array(&t->pair, D_JSD), q->n);
    return tn_lm_pair_backward(t->run, t->model, q, &pair, &all, e);
}
