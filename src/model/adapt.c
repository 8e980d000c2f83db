/* Adapters in the forward and backward of the trunk: runs of rows with one adapter through the operations
 * of ops.h.
 *
 * A row's numbers depend on its own adapter only. Gradients of A and B are sums over each run of rows in
 * turn: the same bits as alone when an adapter's segments follow each other. */
#include "model/run.h"

int tn_adapt_width(const tn_model *m) {
    int most = 0;
    for (int i = 0; i < m->n_adapter; i++)
        for (int k = 0; k < TN_MATRICES; k++) { /* all layers are alike */
            int n = m->adapter[i]->layer[0][k].a.out;
            if (n > most) most = n;
        }
    return most;
}

tn_status tn_adapt_check(const tn_model *m, const int32_t *adapter, int n, tn_err *e) {
    for (int i = 0; m->n_adapter && i < n; i++)
        if (adapter[i] < TN_NO_ADAPTER || adapter[i] >= m->n_adapter)
            return tn_fail(e, TN_ARG, "segment %d asks for adapter %d; the model has 0 to %d", i,
                           adapter[i], m->n_adapter - 1);
    return TN_OK;
}

/* Rows [start, start + n) of neighbouring segments with one adapter. */
typedef struct span {
    int start, n;
    const tn_adapter *a;
} span;

/* The next span that has an adapter, from segment *s on. */
static bool next(const tn_run *r, const tn_model *m, int *s, span *out) {
    while (*s < r->n_seg) {
        int k = r->adapter[*s], first = r->seg[*s].start, n = 0;
        for (; *s < r->n_seg && r->adapter[*s] == k; ++*s) n += r->seg[*s].len;
        if (k == TN_NO_ADAPTER) continue;
        *out = (span){first, n, m->adapter[k]};
        return true;
    }
    return false;
}

/* Row `start` of elements [T, n], and of operand rows. */
static void *row(const tn_backend *be, void *p, int start, int n) {
    return p ? tn_at(be, p, (size_t)start * (size_t)n) : NULL;
}
static const void *operand_row(const tn_backend *be, const void *p, int start, int n) {
    return tn_operand_cat(be, p, (size_t)start * (size_t)n);
}

void tn_adapt(tn_run *r, const tn_model *m, int l, tn_matrix k, void *y, const void *x) {
    tn_backend *be = m->be;
    size_t bias;
    const tn_weight *w = tn_layer_matrix(&m->layer[l], k, &bias);
    bool round = k == TN_GATE_UP; /* as forward has them */
    span p;
    for (int s = 0; m->n_adapter && next(r, m, &s, &p);) {
        const tn_lora *a = &p.a->layer[l][k];
        size_t at = (size_t)p.start * (size_t)w->out;
        if (a->parts)
            be->op->lora(be, round ? TN_ADD_ROUND : TN_ADD_NONZERO, round ? tn_operand_at(be, y, at) : tn_at(be, y, at),
                         w->out, r->lu, operand_row(be, x, p.start, w->in), w->in, a, p.n);
    }
}

/* Gradients lie in their slab as A and B in theirs. */
static tn_lora_grad grad_of(const tn_store *s, const tn_lora *w) {
    tn_lora_grad g = {.a = (char *)s->grad + ((const char *)w->a.master - (const char *)s->data)};
    for (int p = 0; p < w->parts; p++)
        g.b[p] = (char *)s->grad + ((const char *)w->b[p].master - (const char *)s->data);
    return g;
}

void tn_adapt_backward(tn_run *r, const tn_model *m, int l, tn_matrix k, void *dx, const void *dy,
                       const void *x) {
    tn_backend *be = m->be;
    size_t bias;
    const tn_weight *w = tn_layer_matrix(&m->layer[l], k, &bias);
    span p;
    for (int s = 0; m->n_adapter && next(r, m, &s, &p);) {
        const tn_lora *a = &p.a->layer[l][k];
        if (!a->parts) continue;
        const void *xs = operand_row(be, x, p.start, w->in);
        tn_lora_grad g;
        if (p.a->store->grad) g = grad_of(p.a->store, a);
        be->op->lora(be, TN_ADD_NONZERO, NULL, 0, r->lu, xs, w->in, a, p.n); /* again */
        be->op->lora_bwd(be, row(be, dx, p.start, w->in), w->in, p.a->store->grad ? &g : NULL,
                         operand_row(be, dy, p.start, w->out), w->out, r->lu, r->lv, xs, w->in, a, p.n);
    }
}
