/* Communicators: one rank, ranks over shared memory, agreement on failures, ranks that die or hang. */
#include "base/os.h"
#include "base/proc.h"
#include "ranks.h"
#include <math.h>
#include <signal.h>
#include <unistd.h>

/* ---- operations ---- */

static uint8_t byte_of(int from, int to, size_t i) {
    return (uint8_t)(31 * from + 7 * to + (int)(i % 251) + 1);
}

/* Pieces of every size, none and larger than a slot among them, between all ranks. */
static size_t piece_size(int from, int to) {
    static const size_t sizes[] = {0, 1, 63, 4096, 2500000, 7, 1048577};
    return sizes[(from * 3 + to) % 7];
}

static void all_to_all(tn_comm *c, rank_outcome *o, const void *ctx) {
    tn_piece out[RANKS_MOST] = {{0}}, in[RANKS_MOST] = {{0}};
    for (int round = 0; round < 3; round++) {
        for (int q = 0; q < c->size; q++) {
            size_t n = piece_size(c->rank, q), m = piece_size(q, c->rank);
            uint8_t *p = tn_malloc(n);
            for (size_t i = 0; i < n; i++) p[i] = byte_of(c->rank, q, i);
            out[q] = (tn_piece){p, n};
            in[q] = (tn_piece){tn_calloc(m + 1, 1), m};
        }
        WANT(tn_comm_all_to_all(c, out, in, &o->e) == TN_OK);
        for (int q = 0; q < c->size; q++) {
            const uint8_t *p = in[q].p;
            for (size_t i = 0; q != c->rank && i < in[q].n; i++)
                WANT(p[i] == byte_of(q, c->rank, i));
            WANT(p[in[q].n] == 0); /* nothing beyond it */
            tn_free(in[q].p);
            tn_free(out[q].p);
        }
    }
}

TEST(comm_all_to_all) {
    for (int n = 1; n <= 5; n++) ranks_check(n, all_to_all, NULL);
}

static void gather(tn_comm *c, rank_outcome *o, const void *ctx) {
    size_t at[RANKS_MOST + 1] = {0};
    for (int r = 0; r < c->size; r++) at[r + 1] = at[r] + piece_size(r, 2);
    uint8_t *p = tn_calloc(at[c->size] + 1, 1);
    for (size_t i = at[c->rank]; i < at[c->rank + 1]; i++) p[i] = byte_of(c->rank, 0, i);
    WANT(tn_comm_all_gather(c, p, at, &o->e) == TN_OK);
    for (int r = 0; r < c->size; r++)
        for (size_t i = at[r]; i < at[r + 1]; i++) WANT(p[i] == byte_of(r, 0, i));
    tn_free(p);
    int even[RANKS_MOST] = {0};
    even[c->rank] = 100 + c->rank;
    WANT(tn_comm_all_gather_even(c, even, sizeof *even, &o->e) == TN_OK);
    for (int r = 0; r < c->size; r++) WANT(even[r] == 100 + r);
    for (int root = 0; root < c->size; root++) {
        char text[40] = "";
        if (c->rank == root) snprintf(text, sizeof text, "from %d", root);
        WANT(tn_comm_broadcast(c, root, text, sizeof text, &o->e) == TN_OK);
        WANT(text[5] == '0' + root);
    }
}

TEST(comm_gather_broadcast) {
    for (int n = 1; n <= 5; n++) ranks_check(n, gather, NULL);
}

/* Sums go up in the rank: 1e16 + 1 - 1e16 has another value in another order. */
static void reduce(tn_comm *c, rank_outcome *o, const void *ctx) {
    static const double v[] = {1e16, 1, -1e16, 3};
    double x[3] = {v[c->rank], v[c->rank], v[c->rank]}, sum = 0, least = INFINITY, most = -INFINITY;
    for (int r = 0; r < c->size; r++) {
        sum = r ? sum + v[r] : v[r];
        least = fmin(least, v[r]), most = fmax(most, v[r]);
    }
    WANT(tn_comm_reduce(c, TN_REDUCE_SUM, &x[0], 1, &o->e) == TN_OK);
    WANT(tn_comm_reduce(c, TN_REDUCE_MIN, &x[1], 1, &o->e) == TN_OK);
    WANT(tn_comm_reduce(c, TN_REDUCE_MAX, &x[2], 1, &o->e) == TN_OK);
    WANT(x[0] == sum && x[1] == least && x[2] == most);
    double two[2] = {c->rank, -c->rank};
    WANT(tn_comm_reduce(c, TN_REDUCE_MAX, two, 2, &o->e) == TN_OK);
    WANT(two[0] == c->size - 1 && two[1] == 0);
    int cpus;
    WANT(tn_comm_cpus(c, &cpus, &o->e) == TN_OK);
    int share = tn_ncpu() / c->size;
    WANT(cpus == (share > 1 ? share : 1));
    WANT(tn_comm_same(c, "colour", "red", &o->e) == TN_OK);
}

TEST(comm_reduce) {
    for (int n = 1; n <= 4; n++) ranks_check(n, reduce, NULL);
}

TEST(comm_self) {
    tn_comm *c = tn_comm_self();
    rank_outcome o = {0};
    CHECK(c->rank == 0 && c->size == 1 && tn_comm_is_root(c) && tn_comm_world() == c);
    gather(c, &o, NULL);
    reduce(c, &o, NULL);
    CHECK(o.line == 0);
    tn_err own = {0};
    tn_fail(&own, TN_IO, "disk");
    CHECK(tn_comm_settle(c, TN_IO, &own) == TN_IO && !strcmp(own.msg, "disk"));
    CHECK_OK(tn_comm_barrier(c, e)); /* a failure is no state of one rank */
}

/* ---- failures ---- */

typedef struct fault {
    int first, second; /* ranks that fail; -1: none */
} fault;

/* Two operations, then some ranks fail in their own work while the others go on to the next one. */
static void fail_between(tn_comm *c, rank_outcome *o, const void *ctx) {
    const fault *f = ctx;
    double x = 1;
    WANT(tn_comm_reduce(c, TN_REDUCE_SUM, &x, 1, &o->e) == TN_OK && x == c->size);
    WANT(tn_comm_barrier(c, &o->e) == TN_OK);
    if (c->rank == f->first || c->rank == f->second) {
        tn_fail(&o->e, TN_IO, "no room on disk %d", c->rank);
        o->st = tn_comm_settle(c, TN_IO, &o->e);
    } else {
        char buffer[100];
        o->st = tn_comm_broadcast(c, 1, buffer, sizeof buffer, &o->e);
        tn_err again = {0};
        WANT(tn_comm_barrier(c, &again) == o->st && !strcmp(again.msg, o->e.msg));
        WANT(tn_comm_settle(c, TN_ARG, &again) == o->st && !strcmp(again.msg, o->e.msg));
    }
    o->speaker = c->speaker;
}

static void expect_failure(int ranks, fault f, const char *text) {
    rank_outcome *o = ranks_run(ranks, 60, fail_between, &f);
    for (int i = 0; i < ranks; i++) {
        CHECK_MSG(o[i].line == 0, "rank %d: line %d", i, o[i].line);
        CHECK_MSG(o[i].st == TN_IO && strstr(o[i].e.msg, text), "rank %d: status %d, %s", i,
                  (int)o[i].st, o[i].e.msg);
        CHECK_MSG(!strcmp(o[i].e.msg, o[0].e.msg), "rank %d: %s; rank 0: %s", i, o[i].e.msg,
                  o[0].e.msg);
        CHECK(o[i].speaker == 0);
    }
}

TEST(comm_failure_of_one_is_everyones) {
    expect_failure(3, (fault){0, -1}, "no room on disk 0");
    expect_failure(3, (fault){2, -1}, "rank 2 of 3: no room on disk 2");
    expect_failure(4, (fault){3, 1}, "rank 1 of 4: no room on disk 1"); /* the lowest one's */
    expect_failure(2, (fault){0, 1}, "no room on disk 0");
}

static void differ(tn_comm *c, rank_outcome *o, const void *ctx) {
    o->st = tn_comm_same(c, "numeric profile", c->rank == 1 ? "bf16-pair" : "bf16-dot32", &o->e);
}

TEST(comm_same_names_the_odd_one) {
    rank_outcome *o = ranks_run(3, 60, differ, NULL);
    for (int i = 0; i < 3; i++)
        CHECK_MSG(o[i].st == TN_STATE &&
                      strstr(o[i].e.msg, "rank 1 of 3 has another numeric profile") &&
                      strstr(o[i].e.msg, "bf16-pair, not bf16-dot32"),
                  "rank %d: %s", i, o[i].e.msg);
}

/* ---- ranks that vanish ---- */

typedef struct end {
    int rank;
    bool hang, leave;
} end;

static void vanish(tn_comm *c, rank_outcome *o, const void *ctx) {
    const end *x = ctx;
    WANT(tn_comm_barrier(c, &o->e) == TN_OK);
    if (c->rank == x->rank) {
        if (x->leave) _exit(7);
        if (x->hang)
            tn_sleep(1.2);
        else
            raise(SIGKILL);
    }
    o->st = tn_comm_barrier(c, &o->e);
    o->speaker = c->speaker;
    WANT(tn_comm_settle(c, TN_OK, NULL) == o->st);
}

TEST(comm_a_killed_rank_ends_the_others) {
    for (int dead = 0; dead < 3; dead++) {
        end x = {.rank = dead};
        double t0 = tn_now();
        rank_outcome *o = ranks_run(3, 60, vanish, &x);
        CHECK(tn_now() - t0 < 20);
        char text[80];
        snprintf(text, sizeof text, "rank %d of 3 was killed by signal 9", dead);
        for (int i = 0; i < 3; i++) {
            if (i == dead) continue;
            CHECK_MSG(o[i].line == 0 && o[i].st == TN_STATE && strstr(o[i].e.msg, text),
                      "rank %d: line %d, %s", i, o[i].line, o[i].e.msg);
            CHECK(o[i].speaker == (dead == 0));
        }
    }
}

TEST(comm_a_rank_that_leaves_ends_the_others) {
    end x = {.rank = 1, .leave = true};
    rank_outcome *o = ranks_run(2, 60, vanish, &x);
    CHECK_MSG(o[0].st == TN_STATE && strstr(o[0].e.msg, "rank 1 of 2 ended by itself (status 7)"),
              "%s", o[0].e.msg);
}

/* The watch-dog: nobody waits for ever, and all say the same. */
TEST(comm_a_rank_that_hangs_is_named) {
    end x = {.rank = 1, .hang = true};
    rank_outcome *o = ranks_run(3, 0.3, vanish, &x);
    for (int i = 0; i < 3; i++)
        CHECK_MSG(o[i].line == 0 && o[i].st == TN_STATE &&
                      strstr(o[i].e.msg, "for rank 1, which does not come"),
                  "rank %d: line %d, %s", i, o[i].line, o[i].e.msg);
}

TEST(comm_shm_limits) {
    tn_shm *s;
    CHECK_FAIL(tn_shm_new(&s, 0, e), TN_ARG, "0 ranks");
    CHECK_FAIL(tn_shm_new(&s, TN_SHM_RANKS + 1, e), TN_ARG, "1 to 64");
    tn_fault_arm(1, 12);
    CHECK_FAIL(tn_shm_new(&s, 2, e), TN_NOMEM, "shared memory for 2 ranks");
    tn_fault_arm(1, 11);
    long pid;
    CHECK_FAIL(tn_fork(&pid, e), TN_IO, "cannot start another process");
}
