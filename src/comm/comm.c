/* What every communicator can do, from the one function that it provides. */
#include "comm/comm.h"
#include "base/mem.h"
#include "base/proc.h"
#include "ops/profile.h"
#include <stdio.h>
#include <string.h>

tn_status tn_comm_new(tn_comm **out, const tn_comm_ops *op, int rank, int size, double timeout,
                      void *priv, tn_err *e) {
    size_t n = (size_t)size;
    size_t each = 2 * sizeof(tn_piece) + TN_REDUCE_LIMIT * sizeof(double) + sizeof(int32_t);
    tn_comm *c = tn_calloc(1, sizeof *c + n * each);
    *out = c;
    if (!c) return tn_fail(e, TN_NOMEM, "out of memory for %d ranks", size);
    c->op = op, c->rank = rank, c->size = size, c->timeout = timeout, c->priv = priv;
    c->out = (tn_piece *)(c + 1);
    c->in = c->out + n;
    c->number = (double *)(c->in + n);
    c->status = (int32_t *)(c->number + n * TN_REDUCE_LIMIT);
    return TN_OK;
}

void tn_comm_close(tn_comm *c) {
    if (!c || c == tn_comm_self()) return;
    c->op->close(c, !c->lost);
    tn_free(c);
}

/* ---- one rank ---- */

static tn_status self_swap(tn_comm *c, const tn_piece *out, const tn_piece *in, tn_err *e) {
    return TN_OK;
}
static void self_close(tn_comm *c, bool together) {}

tn_comm *tn_comm_self(void) {
    static const tn_comm_ops op = {"self", self_swap, self_close};
    static tn_comm self = {.op = &op, .size = 1};
    return &self;
}

/* ---- agreement ---- */

static tn_status failed(const tn_comm *c, tn_err *e) {
    if (e) *e = c->failure;
    return c->failure.code;
}

/* A swap that fails ends the connection: nothing can be agreed upon any more. */
static tn_status swap(tn_comm *c, const char *what, const tn_piece *out, const tn_piece *in, tn_err *e) {
    double begin = c->timed ? tn_work_begin(c->timed) : 0, bytes = 0;
    tn_status st = c->op->swap(c, out, in, &c->failure);
    for (int q = 0; c->timed && q < c->size; q++)
        if (q != c->rank) bytes += (double)(out[q].n + in[q].n);
    if (c->timed) tn_work_end(c->timed, begin, what, bytes);
    if (st == TN_OK) return TN_OK;
    c->lost = true;
    c->failure.code = st;
    return failed(c, e);
}

void tn_comm_time(tn_comm *c, tn_backend *b) { c->timed = b && b->profiler ? b : NULL; }

/* The same n bytes to every rank; nothing comes back until the caller fills c->in. */
static void give_all(tn_comm *c, void *p, size_t n) {
    for (int q = 0; q < c->size; q++) c->out[q] = (tn_piece){p, n}, c->in[q] = (tn_piece){NULL, 0};
}

/* The error of rank `from` becomes everyone's. */
static tn_status share_failure(tn_comm *c, int from, const tn_err *mine, tn_err *e) {
    tn_err x = *mine;
    bool own = c->rank == from;
    give_all(c, &x, own ? sizeof x : 0);
    if (!own) c->in[from] = (tn_piece){&x, sizeof x};
    TN_TRY(swap(c, "agree", c->out, c->in, e));
    if (!own) x.file = NULL; /* an address in another process */
    c->failure = x;
    if (from) tn_err_context(&c->failure, x.code, "rank %d of %d", from, c->size);
    return failed(c, e);
}

tn_status tn_comm_settle(tn_comm *c, tn_status st, tn_err *e) {
    if (c->size == 1) return st;
    if (c->failure.code != TN_OK) return failed(c, e);
    tn_err mine = {0};
    if (st != TN_OK && e) mine = *e;
    mine.code = st;
    if (!mine.msg[0]) snprintf(mine.msg, sizeof mine.msg, "%s", tn_status_text(st));
    c->status[c->rank] = (int32_t)st;
    give_all(c, &c->status[c->rank], sizeof *c->status);
    for (int q = 0; q < c->size; q++) c->in[q] = (tn_piece){&c->status[q], sizeof *c->status};
    TN_TRY(swap(c, "agree", c->out, c->in, e));
    for (int q = 0; q < c->size; q++)
        if (c->status[q] != TN_OK) return share_failure(c, q, &mine, e);
    return TN_OK;
}

tn_status tn_comm_barrier(tn_comm *c, tn_err *e) { return tn_comm_settle(c, TN_OK, e); }

/* ---- moving bytes ---- */

tn_status tn_comm_all_to_all(tn_comm *c, const tn_piece *out, const tn_piece *in, tn_err *e) {
    if (c->size == 1) return TN_OK;
    TN_TRY(tn_comm_settle(c, TN_OK, e));
    return swap(c, "exchange", out, in, e);
}

tn_status tn_comm_broadcast(tn_comm *c, int root, void *p, size_t n, tn_err *e) {
    if (c->size == 1) return TN_OK;
    TN_TRY(tn_comm_settle(c, TN_OK, e));
    give_all(c, p, c->rank == root ? n : 0);
    if (c->rank != root) c->in[root] = (tn_piece){p, n};
    return swap(c, "broadcast", c->out, c->in, e);
}

tn_status tn_comm_all_gather(tn_comm *c, void *p, const size_t *at, tn_err *e) {
    if (c->size == 1) return TN_OK;
    TN_TRY(tn_comm_settle(c, TN_OK, e));
    give_all(c, (char *)p + at[c->rank], at[c->rank + 1] - at[c->rank]);
    for (int q = 0; q < c->size; q++) c->in[q] = (tn_piece){(char *)p + at[q], at[q + 1] - at[q]};
    return swap(c, "gather", c->out, c->in, e);
}

tn_status tn_comm_all_gather_even(tn_comm *c, void *p, size_t n, tn_err *e) {
    if (c->size == 1) return TN_OK;
    TN_TRY(tn_comm_settle(c, TN_OK, e));
    give_all(c, (char *)p + (size_t)c->rank * n, n);
    for (int q = 0; q < c->size; q++) c->in[q] = (tn_piece){(char *)p + (size_t)q * n, n};
    return swap(c, "gather", c->out, c->in, e);
}

/* ---- numbers ---- */

static double reduced(tn_reduce how, double a, double b) {
    switch (how) {
    case TN_REDUCE_MIN:
        return b < a ? b : a;
    case TN_REDUCE_MAX:
        return b > a ? b : a;
    default:
        return a + b;
    }
}

tn_status tn_comm_reduce(tn_comm *c, tn_reduce how, double *x, int n, tn_err *e) {
    if (c->size == 1) return TN_OK;
    if (n > TN_REDUCE_LIMIT)
        return tn_fail(e, TN_BUG, "a reduction of %d numbers; %d at most", n, TN_REDUCE_LIMIT);
    size_t each = (size_t)n;
    memcpy(c->number + (size_t)c->rank * each, x, each * sizeof *x);
    TN_TRY(tn_comm_all_gather_even(c, c->number, each * sizeof *x, e));
    for (size_t i = 0; i < each; i++) {
        x[i] = c->number[i];
        for (size_t q = 1; q < (size_t)c->size; q++)
            x[i] = reduced(how, x[i], c->number[q * each + i]);
    }
    return TN_OK;
}

tn_status tn_comm_share_interrupt(tn_comm *c, tn_status st, tn_err *e) {
    double any = st == TN_INTERRUPTED;
    if (c->size == 1 || (st != TN_OK && st != TN_INTERRUPTED)) return st;
    TN_TRY(tn_comm_reduce(c, TN_REDUCE_MAX, &any, 1, e));
    if (st == TN_OK && any > 0) return tn_fail(e, TN_INTERRUPTED, "stopped with another rank");
    return st;
}

tn_status tn_comm_same(tn_comm *c, const char *what, const char *value, tn_err *e) {
    char mine[128] = "", first[128];
    snprintf(mine, sizeof mine, "%s", value);
    memcpy(first, mine, sizeof first);
    if (c->size == 1) return TN_OK;
    TN_TRY(tn_comm_broadcast(c, 0, first, sizeof first, e));
    first[sizeof first - 1] = 0;
    tn_status st = TN_OK;
    if (strcmp(first, mine) != 0)
        st = tn_fail(
            e, TN_STATE,
            "rank %d of %d has another %s than rank 0: %s, not %s. All ranks need the same files, "
            "the same binary and the same kind of CPU (--dtype float32 is the same on all)",
            c->rank, c->size, what, mine, first);
    return tn_comm_settle(c, st, e);
}

tn_status tn_comm_cpus(tn_comm *c, int *n, tn_err *e) {
    typedef struct place {
        uint64_t machine, mask[TN_CPU_WORDS];
    } place;
    place mine = {.machine = tn_machine_id()};
    *n = tn_cpu_mask(mine.mask);
    if (c->size == 1) return TN_OK;
    place *all = tn_calloc((size_t)c->size, sizeof *all);
    tn_status st = all ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    if (all) all[c->rank] = mine;
    st = st == TN_OK ? tn_comm_all_gather_even(c, all, sizeof *all, e) : tn_comm_settle(c, st, e);
    int sharing = 0;
    for (int q = 0; st == TN_OK && q < c->size; q++) {
        bool meet = false;
        for (int i = 0; i < TN_CPU_WORDS; i++) meet |= (all[q].mask[i] & mine.mask[i]) != 0;
        sharing += meet && all[q].machine == mine.machine;
    }
    if (sharing > 1) *n = *n / sharing > 1 ? *n / sharing : 1;
    tn_free(all);
    return st;
}
