/* Ranks: processes that run one job together.
 *
 * An implementation (one process, shared memory, MPI) moves bytes with one function, `swap`. Everything
 * else is made from it in comm.c, so that all behave alike, and sums have one order whatever carries them.
 *
 * Failures are collective. Every operation first agrees that all ranks are well. A rank whose own work
 * failed calls tn_comm_settle with its error where the others call their next operation: they get that
 * error from it (of several, the lowest rank's), and so all leave with one message. Afterwards every
 * operation returns it at once. A rank that vanishes is noticed by the implementation: shared memory by
 * the parent, MPI by its launcher, both by a watch-dog.
 *
 * All ranks call the same operations in the same order with sizes that fit; one thread at a time. */
#ifndef TN_COMM_H
#define TN_COMM_H
#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tn_comm tn_comm;
enum { TN_REDUCE_LIMIT = 8 }; /* numbers of one reduction */
typedef struct tn_piece {
    void *p;
    size_t n;
} tn_piece;

/* What an implementation provides. */
typedef struct tn_comm_ops {
    const char *name; /* "self", "shm", "mpi" */
    /* in[q] receives what rank q has in its out[own rank]; sizes agree, own entries are not looked at.
     * Waits no longer than c->timeout. */
    tn_status (*swap)(tn_comm *c, const tn_piece *out, const tn_piece *in, tn_err *e);
    /* Leaves. together: all ranks are known to leave, too; otherwise the others are ended. */
    void (*close)(tn_comm *c, bool together);
} tn_comm_ops;

struct tn_comm {
    const tn_comm_ops *op;
    int rank, size;
    double timeout;     /* seconds that a rank waits for the others */
    int speaker;        /* the rank that reports an error: 0, unless it is gone */
    bool lost;          /* the connection itself failed */
    tn_err failure;     /* agreed upon, or of the connection; code TN_OK while all is well */
    tn_piece *out, *in; /* scratch [size] */
    double *number;     /* scratch [size * TN_REDUCE_LIMIT] */
    int32_t *status;    /* scratch [size] */
    struct tn_backend *timed; /* whose profile gets what is spent here; NULL: none */
    void *priv;
};

/* ---- operations ---- */
/* Gives this rank's outcome `st` (with *e) and gets everyone's: TN_OK when all are well. */
tn_status tn_comm_settle(tn_comm *c, tn_status st, tn_err *e);
/* First of n items in rank r's share; r = size: n. */
static inline int tn_comm_first(const tn_comm *c, int n, int r) { return (int)((long)n * r / c->size); }
/* The outcome of this rank's share of some work: where one rank was interrupted (TN_INTERRUPTED), all are. Other
 * failures stay with their rank, which settles. */
tn_status tn_comm_share_interrupt(tn_comm *c, tn_status st, tn_err *e);
tn_status tn_comm_barrier(tn_comm *c, tn_err *e);
/* n bytes of rank `root` to all. */
tn_status tn_comm_broadcast(tn_comm *c, int root, void *p, size_t n, tn_err *e);
/* Rank r has bytes at[r] .. at[r+1]-1 of p; afterwards all have all. at [size+1]. */
tn_status tn_comm_all_gather(tn_comm *c, void *p, const size_t *at, tn_err *e);
/* The same with n bytes of every rank. */
tn_status tn_comm_all_gather_even(tn_comm *c, void *p, size_t n, tn_err *e);
/* `swap` after agreement: out[q] goes to rank q, in[q] comes from it. */
tn_status tn_comm_all_to_all(tn_comm *c, const tn_piece *out, const tn_piece *in, tn_err *e);
/* x[i] over all ranks, in ascending rank; n <= TN_REDUCE_LIMIT. */
typedef enum tn_reduce { TN_REDUCE_SUM, TN_REDUCE_MIN, TN_REDUCE_MAX } tn_reduce;
tn_status tn_comm_reduce(tn_comm *c, tn_reduce how, double *x, int n, tn_err *e);
/* Fails unless all ranks have the same text, naming the first that differs (128 bytes count). */
tn_status tn_comm_same(tn_comm *c, const char *what, const char *value, tn_err *e);
/* CPUs for this rank: those it may run on, divided by the ranks that share them. */
tn_status tn_comm_cpus(tn_comm *c, int *n, tn_err *e);
/* From now on seconds and bytes of this communicator are rows of b's profile (NULL: no longer): "agree" for what all
 * must know before they go on, "gather", "exchange" and "broadcast" for data; waiting for others included. */
void tn_comm_time(tn_comm *c, struct tn_backend *b);
static inline bool tn_comm_is_root(const tn_comm *c) { return c->rank == 0; }

/* ---- where communicators come from ---- */
tn_comm *tn_comm_self(void); /* one rank; nothing to free */

/* Memory that `ranks` processes share: made first, then they are forked, then each joins. */
typedef struct tn_shm tn_shm;
enum { TN_SHM_RANKS = 64 };
tn_status tn_shm_new(tn_shm **s, int ranks, tn_err *e);
void tn_shm_free(tn_shm *s);
tn_status tn_shm_join(tn_shm *s, int rank, double timeout, tn_comm **c, tn_err *e);
/* By the parent: rank r has ended. Unless it had left properly, the others fail with a message. */
void tn_shm_ended(tn_shm *s, int r, int status, int sig);

/* MPI through the plugin tenet-mpi.so (mpi/plugin.h), which is looked for at $TENET_MPI, beside the
 * program and in ../lib/tenet of it. `ranks`: how many the launcher says it started, 0: unknown. */
tn_status tn_mpi_open(tn_comm **c, int ranks, double timeout, tn_err *e);

/* Of tn_shm_join and tn_mpi_open. Ranks that have settled leave together; after a failure of the
 * connection the other ranks are ended. */
void tn_comm_close(tn_comm *c);
/* For implementations: priv is freed by close. */
tn_status tn_comm_new(tn_comm **c, const tn_comm_ops *op, int rank, int size, double timeout, void *priv,
                      tn_err *e);

/* ---- the ranks of this process: world.c ---- */
/* Did mpirun or srun start this process as one of several? From their environment variables alone. */
bool tn_comm_launched(int *rank, int *ranks /* 0: several, number unknown */);
/* The communicator of this process: tn_comm_self() unless another was opened. */
tn_comm *tn_comm_world(void);
/* how: "auto" (MPI when launched as one of several), "self", "mpi". Opened once a process, closed when
 * it exits. Ranks other than 0 show errors only. */
tn_status tn_comm_world_open(const char *how, double timeout, tn_err *e);
/* Runs this process as `ranks` processes over shared memory. In each of them *parent is false and the
 * world is open; in the parent it returns when all have ended, with the exit status of the whole. */
tn_status tn_comm_world_fork(int ranks, double timeout, bool *parent, int *status, tn_err *e);
#endif
