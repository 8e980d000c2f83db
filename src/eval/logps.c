/* Log-probs of given responses, and what follows from them: preference accuracy. */
#include "eval/eval.h"
#include "train/calibrate.h"
#include "base/signals.h"
#include <math.h>
#include <string.h>

#define TOKENS 2048

json_t *tn_json_mean(const tn_stat_mean *m) {
    return json_pack("{s:f,s:f,s:f,s:i}", "mean", m->mean, "lo", m->lo, "hi", m->hi, "n", m->n);
}

json_t *tn_json_rate(const tn_stat_rate *r) {
    return json_pack("{s:i,s:i,s:f,s:f,s:f}", "k", r->k, "n", r->n, "rate", r->rate, "lo", r->lo,
                     "hi", r->hi);
}

/* Reads the scored tokens of a finished micro-batch. */
static tn_status flush(tn_run *run, const tn_model *m, tn_batch *b, double **out, int *next,
                       tn_err *e) {
    if (b->n_seq == 0) return TN_OK;
    if (tn_stop_requested()) return tn_fail(e, TN_INTERRUPTED, "stopped while computing log-probs");
    TN_TRY(tn_batch_finish(b, e));
    TN_TRY(tn_forward_rows(run, m, &b->forest, b->row, b->n_tok, e));
    tn_lm q = {.n = b->n_tok, .rows = b->row, .target = b->target, .inv_temp = 1, .logp = b->logp};
    if (b->n_tok) TN_TRY(tn_lm_head(run, m, &q, e));
    for (int s = 0; s < b->n_seq; s++, ++*next)
        memcpy(out[*next], b->logp + b->off[s],
               (size_t)(b->off[s + 1] - b->off[s]) * sizeof(double));
    tn_batch_clear(b);
    return TN_OK;
}

/* Every response of every example, in order: out[k] for the k-th response. */
static tn_status all_logps(const tn_model *m, const tn_example *ex, int n, double **out,
                           tn_err *e) {
    tn_batch_options o = {.share_prompts = true};
    int most = TOKENS, length = 1;
    for (int i = 0; i < n; i++) {
        int c = tn_batch_cost(&ex[i], &o);
        if (c > most) most = c;
        for (int k = 0; k < ex[i].n_response; k++)
            if (ex[i].n_prompt + ex[i].response[k].n > length)
                length = ex[i].n_prompt + ex[i].response[k].n;
    }
    tn_run *run = NULL;
    tn_batch b;
    memset(&b, 0, sizeof b);
    tn_status st;
    int next = 0, cost = 0;
    TN_GO(tn_run_new(&run, m, most, most, length, false, e), done);
    tn_batch_clear(&b);
    for (int i = 0; i < n; i++) {
        int c = tn_batch_cost(&ex[i], &o);
        if (cost + c > most) {
            TN_GO(flush(run, m, &b, out, &next, e), done);
            cost = 0;
        }
        TN_GO(tn_batch_add(&b, &ex[i], &o, e), done);
        cost += c;
    }
    st = flush(run, m, &b, out, &next, e);
done:
    tn_batch_free(&b);
    tn_run_free(run);
    return st;
}

tn_status tn_eval_logps(const tn_model *m, const tn_example *ex, int n, double **out, tn_err *e) {
    return all_logps(m, ex, n, out, e);
}

static size_t responses(const tn_dataset *d) {
    size_t n = 0;
    for (size_t i = 0; i < d->n; i++) n += (size_t)d->ex[i].n_response;
    return n;
}

tn_status tn_eval_response_sums(const tn_model *m, const tn_dataset *d, double **sums, tn_err *e) {
    size_t n = responses(d), tokens = 0;
    for (size_t i = 0; i < d->n; i++) tokens += (size_t)tn_example_trained(&d->ex[i]);
    double **at = tn_calloc(n, sizeof *at), *slab = tn_calloc(tokens, sizeof *slab);
    *sums = tn_calloc(n, sizeof **sums);
    tn_status st =
        at && slab && *sums ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory for %zu responses", n);
    size_t r = 0, t = 0;
    for (size_t i = 0; st == TN_OK && i < d->n; i++)
        for (int k = 0; k < d->ex[i].n_response; k++) {
            at[r++] = slab + t;
            for (int j = 0; j < d->ex[i].response[k].n; j++) t += d->ex[i].response[k].trained[j];
        }
    if (st == TN_OK) st = all_logps(m, d->ex, (int)d->n, at, e);
    for (size_t i = 0; st == TN_OK && i < n; i++) {
        size_t end = i + 1 < n ? (size_t)(at[i + 1] - slab) : t;
        for (size_t j = (size_t)(at[i] - slab); j < end; j++) (*sums)[i] += slab[j];
    }
    tn_free(at);
    tn_free(slab);
    return st;
}

/* Ordered pairs of one example won by `score` (strictly). */
static void count_pairs(const tn_example *x, const double *score, int *won, int *n,
                        double *margin) {
    for (int i = 0; i < x->n_response; i++)
        for (int j = 0; j < x->n_response; j++) {
            const tn_response *a = &x->response[i], *b = &x->response[j];
            if (a->rank >= b->rank) continue;
            if (a->n == b->n && memcmp(a->ids, b->ids, (size_t)a->n * sizeof *a->ids) == 0)
                continue;
            *won += score[i] > score[j];
            *margin += score[i] - score[j];
            ++*n;
        }
}

tn_status tn_eval_model_pairs(const tn_model *m, const double *ref, const tn_dataset *d,
                              tn_stat_rate *ratio, tn_stat_rate *plain, double *margin, tn_err *e) {
    double *own = NULL, score[64], unused = 0;
    int won = 0, n = 0, won_plain = 0, n_plain = 0;
    size_t r = 0;
    *margin = 0;
    if (m) TN_TRY(tn_eval_response_sums(m, d, &own, e));
    for (size_t i = 0; i < d->n; r += (size_t)d->ex[i++].n_response) {
        const tn_example *x = &d->ex[i];
        count_pairs(x, (m ? own : ref) + r, &won_plain, &n_plain, &unused);
        if (!m || !ref) continue;
        for (int k = 0; k < x->n_response; k++) score[k] = own[r + (size_t)k] - ref[r + (size_t)k];
        count_pairs(x, score, &won, &n, margin);
    }
    *plain = tn_stat_wilson(won_plain, n_plain, tn_stat_z95);
    *ratio = tn_stat_wilson(won, n, tn_stat_z95);
    if (n) *margin /= n;
    tn_free(own);
    return TN_OK;
}

tn_status tn_eval_reward_pairs(tn_scorer *s, const tn_dataset *d, tn_stat_rate *r, json_t **calibration, tn_err *e) {
    int won = 0, n = 0;
    tn_judged judged = {0};
    double margin = 0, *score = tn_calloc(responses(d), sizeof *score);
    if (!score) return tn_fail(e, TN_NOMEM, "out of memory for %zu responses", responses(d));
    tn_status st = tn_scorer_scores(s, d->ex, (int)d->n, NULL, score, e);
    const double *at = score;
    for (size_t i = 0; st == TN_OK && i < d->n; at += d->ex[i++].n_response) {
        count_pairs(&d->ex[i], at, &won, &n, &margin);
        st = tn_judged_add(&judged, &d->ex[i], at, s->model->score_sd, e);
    }
    *calibration = tn_judged_json(&judged);
    tn_judged_free(&judged);
    *r = tn_stat_wilson(won, n, tn_stat_z95);
    tn_free(score);
    return st;
}
