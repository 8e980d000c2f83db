/* Ranks on one machine: processes forked from one parent, over memory that they share.
 *
 * Every pair of ranks has a slot. A swap is rounds of: fill the slots towards the others, meet, empty the
 * slots from the others, meet. The parent notices a rank that dies and says so in the shared memory, where
 * whoever waits looks. When the parent itself was killed, whoever waits looks for the others. */
#include "base/mem.h"
#include "base/os.h"
#include "base/proc.h"
#include "comm/comm.h"
#include <stdio.h>
#include <string.h>

enum { AREA = 4 << 20 }; /* bytes that a rank may have under way, over all slots */
#define ORPHAN_WAIT 1.0  /* seconds: a rank that was forked has said by then who it is */

/* What one rank says of itself, a cache line apart. */
typedef struct berth {
    atomic_uint met;  /* how often it came to meet */
    atomic_bool left; /* closed properly */
    size_t most;      /* bytes of its largest piece in this swap */
    atomic_long pid;  /* 0: it has not joined */
    char apart[40];
} berth;

struct tn_shm {
    size_t bytes, slot; /* of the mapping; of one slot */
    int size;
    long parent;              /* its process */
    atomic_uint gen, arrived; /* meetings completed; ranks at the present one */
    atomic_uint lost;         /* 0; 1 while it is written; 2: `why` holds */
    int gone;                 /* the rank that is lost */
    tn_err why;
    berth rank[TN_SHM_RANKS];
    /* slots [size from][size to][slot] follow */
};

static char *slot_of(tn_shm *s, int from, int to) {
    return (char *)(s + 1) + ((size_t)from * (size_t)s->size + (size_t)to) * s->slot;
}

tn_status tn_shm_new(tn_shm **out, int ranks, tn_err *e) {
    *out = NULL;
    if (ranks < 1 || ranks > TN_SHM_RANKS)
        return tn_fail(e, TN_ARG, "%d ranks on one machine asked for; 1 to %d are possible", ranks,
                       TN_SHM_RANKS);
    size_t slot = (size_t)(AREA / ranks) & ~(size_t)63, n = (size_t)ranks;
    size_t bytes = sizeof(tn_shm) + n * n * slot;
    tn_shm *s = tn_shared_alloc(bytes);
    if (!s)
        return tn_fail(e, TN_NOMEM, "%zu bytes of shared memory for %d ranks cannot be had", bytes,
                       ranks);
    s->bytes = bytes, s->slot = slot, s->size = ranks, s->parent = tn_process_id();
    *out = s;
    return TN_OK;
}

void tn_shm_free(tn_shm *s) {
    if (s) tn_shared_free(s, s->bytes);
}

/* ---- losing a rank ---- */

static void say_lost(tn_shm *s, int gone, const tn_err *why) {
    unsigned none = 0;
    if (!atomic_compare_exchange_strong(&s->lost, &none, 1)) return; /* the first one is told */
    s->gone = gone;
    s->why = *why;
    atomic_store(&s->lost, 2);
    tn_shared_wake(&s->gen);
}

void tn_shm_ended(tn_shm *s, int r, int status, int sig) {
    tn_err why = {0};
    if (atomic_load(&s->rank[r].left)) return;
    if (sig)
        tn_fail(
            &why, TN_STATE,
            "rank %d of %d was killed by signal %d, and the run ended with it. Its last checkpoint "
            "is "
            "whole: --resume-from-checkpoint latest continues, also with another number of ranks",
            r, s->size, sig);
    else
        tn_fail(&why, TN_STATE, "rank %d of %d ended by itself (status %d), and the run with it", r,
                s->size, status);
    say_lost(s, r, &why);
}

/* The parent is gone, and tells of nobody any more. */
static void look_for_others(tn_shm *s) {
    tn_err why = {0};
    for (int r = 0; r < s->size; r++) {
        if (atomic_load(&s->rank[r].left) || tn_process_lives(atomic_load(&s->rank[r].pid))) continue;
        tn_fail(&why, TN_STATE,
                "rank %d of %d is gone, and so is the process that started the ranks. The run's last checkpoint is whole: "
                "--resume-from-checkpoint latest continues, also with another number of ranks",
                r, s->size);
        say_lost(s, r, &why);
        return;
    }
}

/* ---- meeting ---- */

static tn_status too_late(const tn_comm *c, const tn_shm *s, tn_err *e) {
    int missing = 0;
    while (missing < s->size - 1 &&
           atomic_load(&s->rank[missing].met) >= atomic_load(&s->rank[c->rank].met))
        missing++;
    return tn_fail(
        e, TN_STATE,
        "rank %d of %d has waited %.0f seconds for rank %d, which does not come; --comm-timeout "
        "sets another limit",
        c->rank, c->size, c->timeout, missing);
}

static tn_status lost(tn_comm *c, const tn_shm *s, tn_err *e) {
    *e = s->why;
    e->file = NULL; /* an address in another process */
    if (s->gone == 0) c->speaker = 1;
    return e->code;
}

/* Returns when all ranks are here; what each wrote before, all see afterwards. */
static tn_status meet(tn_comm *c, tn_shm *s, tn_err *e) {
    unsigned gen = atomic_load(&s->gen);
    double t0 = tn_now();
    if (atomic_load(&s->lost) == 2) return lost(c, s, e);
    atomic_fetch_add(&s->rank[c->rank].met, 1);
    if (atomic_fetch_add(&s->arrived, 1) + 1 == (unsigned)s->size) {
        atomic_store(&s->arrived, 0);
        atomic_fetch_add(&s->gen, 1);
        tn_shared_wake(&s->gen);
        return TN_OK;
    }
    while (atomic_load(&s->gen) == gen) {
        if (atomic_load(&s->lost) == 2) return lost(c, s, e);
        if (tn_now() - t0 > c->timeout) return too_late(c, s, e);
        if (tn_now() - t0 > ORPHAN_WAIT && tn_parent_id() != s->parent) look_for_others(s);
        tn_shared_wait(&s->gen, gen, 0.05);
    }
    return TN_OK;
}

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static tn_status shm_swap(tn_comm *c, const tn_piece *out, const tn_piece *in, tn_err *e) {
    tn_shm *s = c->priv;
    size_t most = 0;
    for (int q = 0; q < s->size; q++)
        if (q != c->rank && out[q].n > most) most = out[q].n;
    s->rank[c->rank].most = most;
    for (size_t at = 0; at == 0 || at < most; at += s->slot) {
        for (int q = 0; q < s->size; q++)
            if (q != c->rank && out[q].n > at)
                memcpy(slot_of(s, c->rank, q), (const char *)out[q].p + at,
                       smaller(s->slot, out[q].n - at));
        TN_TRY(meet(c, s, e));
        for (int q = 0; q < s->size; q++) {
            if (s->rank[q].most > most) most = s->rank[q].most;
            if (q != c->rank && in[q].n > at)
                memcpy((char *)in[q].p + at, slot_of(s, q, c->rank),
                       smaller(s->slot, in[q].n - at));
        }
        TN_TRY(meet(c, s, e));
    }
    return TN_OK;
}

static void shm_close(tn_comm *c, bool together) {
    tn_shm *s = c->priv;
    if (!together) say_lost(s, c->rank, &c->failure);
    atomic_store(&s->rank[c->rank].left, true);
}

tn_status tn_shm_join(tn_shm *s, int rank, double timeout, tn_comm **c, tn_err *e) {
    static const tn_comm_ops ops = {"shm", shm_swap, shm_close};
    atomic_store(&s->rank[rank].pid, tn_process_id());
    return tn_comm_new(c, &ops, rank, s->size, timeout, s, e);
}
