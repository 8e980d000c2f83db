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
    if (s->soft) tn_info("  soft labels: %ld", s->soft);
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
        if (x->gold && k + 1 == x->n_response) tn_str_addz(&s, "\n    [gold] ");
        else if (x->n_response > 1) tn_str_addf(&s, "\n    [%d, rank %d] ", k + 1, r->rank);
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

void tn_intro_adapter(const tn_model *m) {
    if (!m->n_adapter) return;
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

static const char *each_rank(void) {
    static char s[48];
    int ranks = tn_comm_world()->size;
    if (ranks > 1) snprintf(s, sizeof s, " on each of %d ranks", ranks);
    return s;
}

/* Of the rate of the model's own products, alone and with their operands at hand, what a step reaches: 0.56 to 0.73 for
 * sft, dpo, reward and grpo at 0.6M, 20M and 135M parameters. */
#define EFFICIENCY 0.65

double tn_forward_flop(const tn_desc *d, const tn_effort *w) {
    tn_effort_flop f = tn_desc_flop(d, w);
    return f.layers + f.head;
}

double tn_train_flop(const tn_desc *d, bool adapter, tn_keep keep, const tn_effort *w) {
    tn_effort_flop f = tn_desc_flop(d, w);
    double again = keep == TN_KEEP_LAYER ? 1 : keep == TN_KEEP_CHEAP ? 0.5 : 0;
    return (adapter ? 2 + again : 3 + again) * f.layers + (adapter ? 3 : 4) * f.head; /* a head's backward makes its logits again */
}

void tn_intro_time(tn_model *m, double flop) {
    double rate = tn_rate_gemm(m->be, &m->layer[0].gate_up, 256, 0.03);
    if (rate > 0)
        tn_info("time: %.3g FLOP at %.0f GFLOP/s%s and %.0f %% efficiency: about %.0f s", flop, rate * 1e-9, each_rank(),
                100 * EFFICIENCY, flop / rate / tn_comm_world()->size / EFFICIENCY);
}

void tn_intro_time_online(tn_backend *b, const tn_desc *policy, const tn_intro_work *w) {
    double rate = tn_rate_shape(b, 2 * policy->ffn, policy->hidden, 256, 0.03);
    double slow = tn_rate_shape(b, 2 * policy->ffn, policy->hidden, w->batch, 0.03);
    if (rate > 0 && slow > 0)
        tn_info("time: %.3g FLOP at %.0f GFLOP/s, %.3g more of sampling %d sequences at once at %.0f GFLOP/s%s, and "
                "%.0f %% efficiency: about %.0f s when every response has %d tokens",
                w->flop, rate * 1e-9, w->sampling, w->batch, slow * 1e-9, each_rank(), 100 * EFFICIENCY,
                (w->flop / rate + w->sampling / slow) / tn_comm_world()->size / EFFICIENCY, w->longest);
}

tn_status tn_intro_memory(const tn_budget *p, const char *max_memory, tn_err *e) {
    tn_str s = TN_STR_INIT;
    size_t limit = 0, available = tn_budget_available();
    if (max_memory) TN_TRY(tn_opts_size("max-memory", max_memory, &limit, e));
    tn_budget_print(p, &s);
    if (s.len) s.s[s.len - 1] = 0; /* the log ends lines itself */
    int ranks = tn_comm_world()->size;
    tn_info("memory%s: %.1f MB, of which this process has and can have %.0f MB\n%s", ranks > 1 ? " of each rank" : "", (double)p->total / 1e6,
            (double)(available + tn_resident_memory()) / 1e6, s.s);
    tn_str_free(&s);
    return tn_budget_check(p, limit, available, e);
}

tn_status tn_intro_print(const char *verb, const tn_desc *d, const tn_backend *be, const tn_tokenizer *tok,
                         const tn_dataset *train, const tn_dataset *eval, const tn_plan *plan, tn_err *e) {
    tn_info("%s: %s, %.1fM parameters, %s kernels, numeric profile %s, %d thread%s", verb, d->family,
            1e-6 * (double)tn_desc_params(d), be->kernels, be->profile, tn_pool_threads(be->pool),
            tn_pool_threads(be->pool) == 1 ? "" : "s");
    TN_TRY(tn_intro_rows("training data", train, e));
    if (eval) TN_TRY(tn_intro_rows("evaluation data", eval, e));
    TN_TRY(tn_intro_sample(&train->ex[0], tok, e));
    tn_info("plan: %ld optimiser steps, %ld in an epoch", plan->total, (long)plan->n_step);
    return TN_OK;
}
