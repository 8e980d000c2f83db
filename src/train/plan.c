#include "train/plan.h"
#include <string.h>

static void cut_epoch(tn_plan *p, long epoch) {
    p->epoch = epoch;
    p->n_step = 0;
    tn_order_epoch(p->kind, p->seed, epoch, p->order, p->n);
    for (size_t i = 0; i < p->n;) {
        p->cut[p->n_step++] = i;
        long rows = 0, tokens = 0;
        while (i < p->n) {
            long more = tn_example_tokens(&p->ex[p->order[i]]);
            if (rows > 0 && (p->tokens_per_step > 0 ? tokens + more > p->tokens_per_step
                                                    : rows >= p->rows_per_step))
                break;
            tokens += more;
            rows++;
            i++;
        }
    }
    p->cut[p->n_step] = p->n;
}

tn_status tn_plan_new(tn_plan *p, const tn_dataset *d, tn_order_kind kind, uint64_t seed,
                      long rows_per_step, long tokens_per_step, double epochs, long max_steps,
                      tn_err *e) {
    memset(p, 0, sizeof *p);
    p->kind = kind, p->seed = seed, p->rows_per_step = rows_per_step,
    p->tokens_per_step = tokens_per_step;
    p->n = d->n, p->ex = d->ex;
    p->order = tn_calloc(p->n, sizeof *p->order);
    p->cut = tn_calloc(p->n + 1, sizeof *p->cut);
    if (!p->order || !p->cut)
        return tn_fail(e, TN_NOMEM, "out of memory for the order of %zu rows", p->n);
    if (max_steps > 0) {
        p->total = max_steps;
    } else if (tokens_per_step > 0) { /* steps differ from epoch to epoch: count them */
        for (long ep = 0; (double)ep < epochs; ep++) {
            cut_epoch(p, ep);
            double part = epochs - (double)ep < 1 ? epochs - (double)ep : 1;
            p->total += (long)(part * (double)p->n_step + 0.999999);
        }
    } else {
        cut_epoch(p, 0);
        p->total = (long)(epochs * (double)p->n_step + 0.999999);
    }
    if (p->total < 1) p->total = 1;
    cut_epoch(p, 0);
    p->first_step = 0;
    return TN_OK;
}

void tn_plan_free(tn_plan *p) {
    tn_free(p->order);
    tn_free(p->cut);
    memset(p, 0, sizeof *p);
}

void tn_plan_seek(tn_plan *p, long s) {
    if (s < p->first_step) {
        p->first_step = 0;
        cut_epoch(p, 0);
    }
    while (s >= p->first_step + (long)p->n_step) {
        p->first_step += (long)p->n_step;
        cut_epoch(p, p->epoch + 1);
    }
}

void tn_plan_step(tn_plan *p, long s, const uint32_t **rows, size_t *n) {
    tn_plan_seek(p, s);
    size_t k = (size_t)(s - p->first_step);
    *rows = p->order + p->cut[k];
    *n = p->cut[k + 1] - p->cut[k];
}

double tn_plan_epoch_of(const tn_plan *p, long done) {
    return (double)p->epoch + (double)(done - p->first_step) / (double)(p->n_step ? p->n_step : 1);
}
