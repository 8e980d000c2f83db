#include "train/intro.h"
#include "base/log.h"
#include "ops/rate.h"
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

/* Of one model: what it holds, and what training adds. MB. */
typedef struct cost {
    double weights, packed, adapter, trained, act, ref;
} cost;

static void print_adapter(const tn_model *m) {
    const tn_lora_spec *s = &m->adapter[0]->spec;
    char names[128] = "";
    for (int i = 0; i < TN_MODULES; i++)
        if (s->modules >> i & 1) {
            size_t n = strlen(names);
            snprintf(names + n, sizeof names - n, " %s", tn_module_names[i]);
        }
    double n = 0;
    const tn_tensor *t;
    for (int i = 0; (t = tn_model_param(m, i)); i++) n += (double)t->rows * t->cols;
    tn_info(
        "adapter: rank %d, alpha %g%s, on%s%s: %.2fM parameters trained, %.2f %% of the model's",
        s->rank, s->alpha, s->rslora ? " (rsLoRA)" : "", names,
        m->head ? ", and the score head" : "", 1e-6 * n,
        100 * n / (double)tn_desc_params(&m->desc));
}

static void print_memory(const cost *c, const tn_task *k, const tn_model *m, int tokens, const char *each,
                         int lanes) {
    char own[48] = "", more[96] = "", at_once[64] = "";
    int ranks = tn_comm_world()->size, grads = 1 + tn_lanes_spare(ranks, lanes), digits = !!m->n_adapter;
    double gradients = c->trained * grads, moments = 2 * c->trained / ranks;
    if (m->n_adapter) snprintf(own, sizeof own, ", adapter %.1f", c->adapter);
    if (grads > 1) snprintf(at_once, sizeof at_once, " (%d at once for %d lanes)", grads, lanes / ranks);
    if (k->reference && m->n_adapter && !k->ref_model)
        snprintf(more, sizeof more, ", reference %.1f (%s)", c->ref,
                 c->ref > 0 ? "a frozen copy of the adapter"
                            : "the adapter off, on the same weights");
    else if (k->reference)
        snprintf(more, sizeof more, ", reference %.0f", c->ref);
    tn_info("memory%s: weights %.0f MB, packed %.0f%s, gradients %.*f%s, moments %.*f, activations %.0f "
            "(%d tokens)%s = %.0f MB",
            each, c->weights, c->packed, own, digits, gradients, at_once, digits, moments, c->act, tokens,
            more, c->weights + c->packed + c->adapter + gradients + moments + c->act + c->ref);
}

static void print_cost(const tn_task *k, const tn_train_options *o, tn_model *m,
                       const tn_dataset *train, const tn_plan *plan, const tn_batch_options *b,
                       int lanes) {
    double params = (double)tn_desc_params(&m->desc), elem = (double)m->be->elem, MB = 1e-6;
    cost c = {.weights = (double)m->trunk->n * elem * MB, .packed = (double)m->packed_bytes * MB};
    tn_trained part[TN_TRAINED_MAX];
    for (int i = tn_model_trained(m, part) - 1; i >= 0; i--)
        c.trained += (double)part[i].store->n * elem * MB;
    if (m->n_adapter)
        c.adapter =
            ((double)m->adapter[0]->store->n * elem + (double)m->adapter[0]->packed_bytes) * MB;
    int tokens = (int)o->micro_tokens;
    for (size_t i = 0; i < train->n; i++)
        if (tn_batch_cost(&train->ex[i], b) > tokens) tokens = tn_batch_cost(&train->ex[i], b);
    c.act = (double)tn_run_bytes(m, tokens, tokens, true) * MB;
    if (k->reference && m->n_adapter && !k->ref_model)
        c.ref = tn_adapter_folder(o->model) ? c.adapter : 0;
    else if (k->reference)
        c.ref = c.weights + c.packed / 2 + (double)tn_run_bytes(m, tokens, tokens, false) * MB;
    int ranks = tn_comm_world()->size;
    char each[48] = "";
    if (ranks > 1) snprintf(each, sizeof each, " of each of %d ranks", ranks);
    print_memory(&c, k, m, tokens, each, lanes);
    double rate = tn_rate_gemm(m->be, &m->layer[0].gate_up, 256, 0.03), per_epoch = 0;
    for (size_t i = 0; i < train->n; i++) per_epoch += tn_batch_cost(&train->ex[i], b);
    double steps_per_epoch = plan->n_step ? (double)plan->n_step : 1;
    double flop = ((m->n_adapter ? 4.0 : 6.0) + (k->reference ? 2.0 : 0.0)) * params * per_epoch *
                  (double)plan->total / steps_per_epoch; /* an adapter needs no dW of the trunk */
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
    if (m->n_adapter) print_adapter(m);
    tn_info("plan: %ld optimiser steps, %ld in an epoch", plan->total, (long)plan->n_step);
    print_cost(k, o, m, train, plan, b, lanes);
    return TN_OK;
}
