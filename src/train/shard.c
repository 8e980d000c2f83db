/* One step's update on many ranks: everyone gets the pieces of its shard of the gradient, adds them by the
 * tree, updates that shard and gives the new weights to all.
 *
 * The volume is that of a reduce-scatter and an all-gather; the order of sums is ours, not an MPI library's. */
#include "model/live.h"
#include "train/lanes_int.h"
#include <string.h>

enum { RECEIVED = 2 << 20 }; /* bytes of other ranks' pieces under way */

static size_t *bytes_of(size_t n) { return tn_calloc(n + 1, sizeof(size_t)); }

tn_status tn_lanes_shards(tn_lanes *l, tn_err *e) {
    size_t ranks = (size_t)l->comm->size, elem = l->model->be->elem;
    bool ok = true;
    if (ranks == 1) return TN_OK;
    for (int k = 0; k < l->n_store && ok; k++) {
        const tn_store *s = l->store[k];
        l->elem_at[k] = bytes_of(ranks), l->block_at[k] = bytes_of(ranks);
        l->block[k] = tn_calloc(tn_model_blocks(l->model, s), sizeof(double));
        ok = l->elem_at[k] && l->block_at[k] && l->block[k];
        if (s->live) ok = ok && (l->live = tn_calloc(ranks, tn_live_blocks(s->n_live)));
        for (int r = 0; ok && r <= l->comm->size; r++) {
            size_t block;
            l->elem_at[k][r] = tn_model_shard(l->model, s, r, l->comm->size, &block) * elem;
            l->block_at[k][r] = block * sizeof(double);
        }
    }
    l->piece = RECEIVED / ranks / elem & ~(size_t)15;
    l->received = tn_calloc(ranks * l->piece, elem);
    l->out = tn_calloc(ranks, sizeof *l->out);
    l->in = tn_calloc(ranks, sizeof *l->in);
    ok = ok && l->received && l->out && l->in;
    return ok ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory for the shards of %zu ranks", ranks);
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Bytes of shard r of store k that lie in its piece from byte `at` on. */
static size_t piece_bytes(const tn_lanes *l, int k, int r, size_t at) {
    size_t n = l->elem_at[k][r + 1] - l->elem_at[k][r];
    return n > at ? smaller(n - at, l->piece * l->model->be->elem) : 0;
}

/* One piece of everyone's shard: given away, received, added by the tree over ranks. */
static tn_status reduce_piece(tn_lanes *l, int k, size_t at, tn_err *e) {
    tn_comm *c = l->comm;
    tn_backend *b = l->model->be;
    char *grad = l->store[k]->grad;
    size_t mine = piece_bytes(l, k, c->rank, at);
    for (int q = 0; q < c->size; q++) {
        l->out[q] = (tn_piece){grad + l->elem_at[k][q] + at, piece_bytes(l, k, q, at)};
        l->in[q] = (tn_piece){(char *)l->received + (size_t)q * l->piece * b->elem, mine};
    }
    TN_TRY(tn_comm_all_to_all(c, l->out, l->in, e));
    char *own = grad + l->elem_at[k][c->rank] + at;
    l->in[c->rank].p = own;
    for (int d = 1; d < c->size; d *= 2)
        for (int q = 0; q + d < c->size; q += 2 * d)
            b->op->add(b, l->in[q].p, l->in[q + d].p, mine / b->elem);
    if (c->rank && mine) memcpy(own, l->in[0].p, mine);
    return TN_OK;
}

/* What any rank's tokens have named is in use on all. */
static tn_status share_live(tn_lanes *l, const tn_store *s, tn_err *e) {
    size_t n = tn_live_blocks(s->n_live), ranks = (size_t)l->comm->size;
    if (!s->live) return TN_OK;
    memcpy(l->live + (size_t)l->comm->rank * n, s->live, n);
    TN_TRY(tn_comm_all_gather_even(l->comm, l->live, n, e));
    for (size_t q = 0; q < ranks; q++)
        for (size_t i = 0; i < n; i++) s->live[i] |= l->live[q * n + i];
    return TN_OK;
}

tn_status tn_lanes_reduce(tn_lanes *l, double *sumsq, tn_err *e) {
    tn_comm *c = l->comm;
    size_t elem = l->model->be->elem;
    if (c->size == 1) {
        *sumsq = tn_model_grad_sumsq(l->model);
        return TN_OK;
    }
    for (int k = 0; k < l->n_store; k++) {
        const size_t *at = l->elem_at[k];
        size_t most = 0;
        for (int r = 0; r < c->size; r++)
            if (at[r + 1] - at[r] > most) most = at[r + 1] - at[r];
        TN_TRY(share_live(l, l->store[k], e));
        for (size_t from = 0; from < most; from += l->piece * elem)
            TN_TRY(reduce_piece(l, k, from, e));
        tn_model_block_sums(l->model, l->store[k], at[c->rank] / elem, at[c->rank + 1] / elem,
                            l->block[k]);
        TN_TRY(tn_comm_all_gather(c, l->block[k], l->block_at[k], e));
    }
    *sumsq = tn_model_sum_blocks(l->model, (const double *const *)l->block);
    return TN_OK;
}

tn_status tn_lanes_share_weights(tn_lanes *l, tn_err *e) {
    if (l->comm->size == 1) return TN_OK;
    for (int k = 0; k < l->n_store; k++)
        TN_TRY(tn_comm_all_gather(l->comm, l->store[k]->data, l->elem_at[k], e));
    return TN_OK;
}
