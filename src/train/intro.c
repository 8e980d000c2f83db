#include "train/intro.h"
#include "base/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

tn_status tn_intro_rows(const char *what, const tn_dataset *d, tn_err *e) {
    const tn_data_stats *s = &d->stats;
    int *len = tn_calloc(d->n, sizeof *len);
    if (!len) return tn_fail(e, TN_NOMEM, "out of memory");
    for (size_t i = 0; i < d->n; i++) len[i] = tn_example_tokens(&d->ex[i]);
    qsort(len, d->n, sizeof *len, by_value);
    size_t last = d->n - 1;
    tn_info("%s: %ld rows read, %ld kept, %ld truncated", what, s->read, s->kept, s->truncated);
    for (int i = 0; i < TN_DROP_COUNT; i++)
        if (s->dropped[i]) tn_info("  dropped %ld: %s", s->dropped[i], tn_drop_reason(i));
    tn_info("  tokens per row: min %d, median %d, 90 %% %d, 99 %% %d, max %d; %ld in all", len[0],
            len[last / 2], len[last * 9 / 10], len[last * 99 / 100], len[last], s->tokens);
    if (d->ex[0].n_response)
        tn_info("  trained on: %ld tokens (%.1f %%)", s->trained,
                100.0 * (double)s->trained / (double)s->tokens);
    tn_free(len);
    return TN_OK;
}

static tn_status add_span(tn_str *s, const tn_tokenizer *tok, const int32_t *ids, size_t n,
                          tn_err *e) {
    if (tok) return tn_decode(tok, ids, n, false, s, e);
    for (size_t i = 0; i < n; i++) tn_str_addf(s, " %d", ids[i]);
    return TN_OK;
}

tn_status tn_intro_sample(const tn_example *x, const tn_tokenizer *tok, tn_err *e) {
    const char *on = tn_colour(2, "green"), *off = tn_colour(2, "reset");
    if (!*on) on = "\xC2\xAB", off = "\xC2\xBB"; /* « » */
    tn_str s = TN_STR_INIT;
    tn_status st;
    TN_GO(add_span(&s, tok, x->prompt, (size_t)x->n_prompt, e), done);
    for (int k = 0; k < x->n_response; k++) {
        const tn_response *r = &x->response[k];
        if (x->n_response > 1) tn_str_addf(&s, "\n    [%d, rank %d] ", k + 1, r->rank);
        for (int i = 0, j; i < r->n; i = j) {
            for (j = i + 1; j < r->n && r->trained[j] == r->trained[i]; j++) {}
            if (r->trained[i]) tn_str_addz(&s, on);
            TN_GO(add_span(&s, tok, r->ids + i, (size_t)(j - i), e), done);
            if (r->trained[i]) tn_str_addz(&s, off);
        }
    }
    st = TN_OK;
    tn_info("one row, trained tokens marked:\n    %.4000s", s.s ? s.s : "");
done:
    tn_str_free(&s);
    return st;
}

double tn_measure_flops(tn_model *m) {
    const tn_weight *w = &m->layer[0].gate_up;
    const tn_backend *be = m->be;
    int T = 256;
    void *x = tn_big_alloc((size_t)T * (size_t)w->in * be->elem),
         *y = tn_big_alloc((size_t)T * (size_t)w->out * be->elem);
    double rate = 0;
    if (x && y) {
        double t0 = tn_now(), t = 0;
        int n = 0;
        be->op->gemm(m->be, TN_SET, y, w->out, x, w->in, w, NULL, T);
        for (t0 = tn_now(); t < 0.03 || n < 2; n++, t = tn_now() - t0)
            be->op->gemm(m->be, TN_SET, y, w->out, x, w->in, w, NULL, T);
        rate = 2.0 * T * w->in * (double)w->out * n / t;
    }
    tn_big_free(x, (size_t)T * (size_t)w->in * be->elem);
    tn_big_free(y, (size_t)T * (size_t)w->out * be->elem);
    return rate;
}

static void print_cost(const tn_task *k, const tn_train_options *o, tn_model *m,
                       const tn_dataset *train, const tn_plan *plan, const tn_batch_options *b,
                       int lanes) {
    double params = (double)tn_desc_params(&m->desc), elem = (double)m->be->elem, MB = 1e-6;
    double weights = (double)m->trunk->n * elem * MB, packed = (double)m->packed_bytes * MB;
    int cost = (int)o->micro_tokens;
    for (size_t i = 0; i < train->n; i++)
        if (tn_batch_cost(&train->ex[i], b) > cost) cost = tn_batch_cost(&train->ex[i], b);
    double act = (double)tn_run_bytes(m, cost, cost, true) * MB;
    double ref =
        k->reference ? weights + packed / 2 + (double)tn_run_bytes(m, cost, cost, false) * MB : 0;
    int ranks = tn_comm_world()->size, grads = 1 + tn_lanes_spare(ranks, lanes);
    double gradients = weights * grads, moments = 2 * weights / ranks;
    char more[48] = "", each[48] = "", at_once[64] = "";
    if (ref > 0) snprintf(more, sizeof more, ", reference %.0f", ref);
    if (ranks > 1) snprintf(each, sizeof each, " of each of %d ranks", ranks);
    if (grads > 1) snprintf(at_once, sizeof at_once, " (%d at once for %d lanes)", grads, lanes / ranks);
    tn_info("memory%s: weights %.0f MB, packed %.0f, gradients %.0f%s, moments %.0f, activations %.0f "
            "(%d tokens)%s = %.0f MB",
            each, weights, packed, gradients, at_once, moments, act, cost, more,
            weights + gradients + moments + packed + act + ref);
    double rate = tn_measure_flops(m), per_epoch = 0;
    for (size_t i = 0; i < train->n; i++) per_epoch += tn_batch_cost(&train->ex[i], b);
    double steps_per_epoch = plan->n_step ? (double)plan->n_step : 1;
    double flop =
        (k->reference ? 8.0 : 6.0) * params * per_epoch * (double)plan->total / steps_per_epoch;
    if (rate > 0)
        tn_info("time: %.3g FLOP at %.0f GFLOP/s%s and 60 %% efficiency: about %.0f s", flop, rate * 1e-9, each,
                flop / rate / ranks / 0.6);
}

tn_status tn_intro_print(const tn_task *k, const tn_train_options *o, tn_model *m,
                         const tn_tokenizer *tok, const tn_dataset *train, const tn_dataset *eval,
                         const tn_plan *plan, const tn_batch_options *b, int lanes, tn_err *e) {
    tn_info("%s: %s, %.1fM parameters, %s kernels, numeric profile %s, %d thread%s", k->verb,
            m->desc.family, 1e-6 * (double)tn_desc_params(&m->desc), m->be->kernels, m->be->profile,
            tn_pool_threads(m->be->pool), tn_pool_threads(m->be->pool) == 1 ? "" : "s");
    TN_TRY(tn_intro_rows("training data", train, e));
    if (eval) TN_TRY(tn_intro_rows("evaluation data", eval, e));
    TN_TRY(tn_intro_sample(&train->ex[0], tok, e));
    tn_info("plan: %ld optimiser steps, %ld in an epoch", plan->total, (long)plan->n_step);
    print_cost(k, o, m, train, plan, b, lanes);
    return TN_OK;
}
