#include "train/spread.h"
#include "base/mem.h"
#include <string.h>

tn_status tn_spread_new(tn_spread *s, tn_comm *c, int samples, int max_new, tn_err *e) {
    size_t n = (size_t)samples, tokens = n * (size_t)max_new;
    memset(s, 0, sizeof *s);
    s->comm = c, s->samples = samples, s->max_new = max_new;
    if (c->size == 1) return TN_OK;
    s->at = tn_calloc((size_t)c->size + 1, sizeof *s->at);
    s->n = tn_calloc(n, sizeof *s->n);
    s->ended = tn_calloc(n, sizeof *s->ended);
    s->ids = tn_calloc(tokens, sizeof *s->ids);
    s->logp = tn_calloc(tokens, sizeof *s->logp);
    if (s->at && s->n && s->ended && s->ids && s->logp) return TN_OK;
    tn_spread_free(s);
    return tn_fail(e, TN_NOMEM, "out of memory for %d samples of up to %d tokens", samples,
                   max_new);
}

void tn_spread_free(tn_spread *s) {
    void *p[] = {s->at, s->n, s->ended, s->ids, s->logp};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) tn_free(p[i]);
    memset(s, 0, sizeof *s);
}

static int first_of(const tn_comm *c, int n, int rank) {
    return (int)((int64_t)n * rank / c->size);
}

void tn_spread_range(const tn_comm *c, int n, int *from, int *to) {
    *from = first_of(c, n, c->rank);
    *to = first_of(c, n, c->rank + 1);
}

tn_status tn_spread_gather(tn_spread *s, double *x, int n, const int *off, tn_err *e) {
    tn_comm *c = s->comm;
    if (c->size == 1) return TN_OK;
    for (int r = 0; r <= c->size; r++) {
        int i = first_of(c, n, r);
        s->at[r] = (size_t)(off ? off[i] : i) * sizeof *x;
    }
    return tn_comm_all_gather(c, x, s->at, e);
}

/* Byte offsets of every rank's samples (size bytes each) or of their tokens. */
static void offsets(tn_spread *s, int n_req, int each, bool tokens, size_t size) {
    size_t at = 0;
    for (int r = 0, i = 0; r <= s->comm->size; r++) {
        for (; i < first_of(s->comm, n_req, r) * each; i++) at += tokens ? (size_t)s->n[i] : 1;
        s->at[r] = at * size;
    }
}

/* Lengths first, then ids and log-probs, which lie without gaps. */
static tn_status gather_samples(tn_spread *s, int n_req, int each, tn_gen_sample *out, tn_err *e) {
    tn_comm *c = s->comm;
    int from, to, n = n_req * each;
    size_t at = 0;
    tn_spread_range(c, n_req, &from, &to);
    for (int i = from * each; i < to * each; i++) s->n[i] = out[i].n, s->ended[i] = out[i].stopped;
    offsets(s, n_req, each, false, sizeof *s->n);
    TN_TRY(tn_comm_all_gather(c, s->n, s->at, e));
    TN_TRY(tn_comm_all_gather(c, s->ended, s->at, e));
    for (int i = 0; i < n; i++) {
        tn_gen_sample *y = &out[i];
        if (i >= from * each && i < to * each) {
            memcpy(s->ids + at, y->ids, (size_t)y->n * sizeof *y->ids);
            memcpy(s->logp + at, y->logp, (size_t)y->n * sizeof *y->logp);
        }
        *y = (tn_gen_sample){s->ids + at, s->logp + at, s->n[i], s->ended[i] != 0};
        at += (size_t)s->n[i];
    }
    offsets(s, n_req, each, true, sizeof *s->ids);
    TN_TRY(tn_comm_all_gather(c, s->ids, s->at, e));
    offsets(s, n_req, each, true, sizeof *s->logp);
    return tn_comm_all_gather(c, s->logp, s->at, e);
}

tn_status tn_spread_sample(tn_spread *s, tn_gen *g, const tn_gen_request *req, int n_req,
                           const tn_sampling *how, tn_gen_sample *out, tn_err *e) {
    tn_comm *c = s->comm;
    int from, to, each = n_req > 0 ? req[0].n : 0;
    if (n_req * each > s->samples)
        return tn_fail(e, TN_BUG, "%d samples asked for, room was made for %d", n_req * each,
                       s->samples);
    tn_spread_range(c, n_req, &from, &to);
    tn_status st = from < to
                       ? tn_gen_run(g, req + from, to - from, how, out + from * each, NULL, NULL, e)
                       : TN_OK;
    TN_TRY(tn_comm_share_interrupt(c, st, e));
    if (c->size == 1) return TN_OK;
    return gather_samples(s, n_req, each, out, e);
}
