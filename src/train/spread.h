/* Sampling, scoring and observing spread over ranks. Every number of a sequence is a function of the sequence (and
 * its key) alone, so any split gives the same bits; afterwards all ranks have everything. On one rank these are
 * the functions that they stand for. */
#ifndef TN_TRAIN_SPREAD_H
#define TN_TRAIN_SPREAD_H
#include "comm/comm.h"
#include "gen/gen.h"

typedef struct tn_spread {
    tn_comm *comm;
    int samples, max_new;
    size_t *at;         /* [size+1] */
    int32_t *n, *ended; /* [samples] */
    int32_t *ids;       /* [samples * max_new] of all ranks, each one's in a row */
    double *logp;
} tn_spread;

/* Room for so many samples of a call. */
tn_status tn_spread_new(tn_spread *s, tn_comm *c, int samples, int max_new, tn_err *e);
void tn_spread_free(tn_spread *s);
/* Of n things this rank has *from .. *to - 1. */
void tn_spread_range(const tn_comm *c, int n, int *from, int *to);
/* tn_gen_run of all requests, which have the same number of samples each; `out` stays good until the next call.
 * TN_INTERRUPTED on all ranks when one is. */
tn_status tn_spread_sample(tn_spread *s, tn_gen *g, const tn_gen_request *req, int n_req,
                           const tn_sampling *how, tn_gen_sample *out, tn_err *e);
/* x[off[i]] .. x[off[i+1]-1] belong to thing i of n (off NULL: x[i]); each rank has filled in its own things'. */
tn_status tn_spread_gather(tn_spread *s, double *x, int n, const int *off, tn_err *e);
#endif
