/* tenet-mpi.so: ranks over MPI (3.1), nothing but point-to-point messages of bytes.
 *
 * Built with mpicc beside the program, loaded only when mpirun or srun started it. Links nothing of the program:
 * src/base/status.c is compiled in. */
#include "comm/mpi/plugin.h"
#include <limits.h>
#include <mpi.h>
#include <time.h>

enum { MESSAGE = 1 << 30 }; /* bytes; counts are int in MPI 3 */

typedef struct mpi {
    MPI_Comm comm;
    MPI_Request *request; /* [2 size] */
    MPI_Status *status;   /* [2 size]; MPICH's MPI_STATUSES_IGNORE upsets gcc's warnings */
    int ours;             /* MPI was started here, so it is finished here */
} mpi;

/* `what` failed with MPI's error `code`. */
static tn_status failed(const char *what, int code, tn_err *e) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int n;
    MPI_Error_string(code, text, &n);
    return tn_fail(e, TN_IO, "%s: %.400s", what, text);
}
#define MPI_TRY(call)                                                                              \
    do {                                                                                           \
        int code_ = (call);                                                                        \
        if (code_ != MPI_SUCCESS) return failed(#call, code_, e);                                  \
    } while (0)

/* A waiting rank sleeps between looks: its CPU may be one that another rank computes on. */
static void pause_after(double waited) {
    struct timespec t = {0, waited < 0.001 ? 20000 : waited < 0.1 ? 100000 : 500000};
    nanosleep(&t, NULL);
}

static tn_status wait_all(tn_comm *c, mpi *m, int n, tn_err *e) {
    double t0 = MPI_Wtime();
    int done = 0;
    for (;;) {
        MPI_TRY(MPI_Testall(n, m->request, &done, m->status));
        if (done) return TN_OK;
        double waited = MPI_Wtime() - t0;
        if (waited > c->timeout) break;
        pause_after(waited);
    }
    c->speaker = c->rank; /* nobody else may be left to say it */
    return tn_fail(
        e, TN_STATE,
        "rank %d of %d has waited %.0f seconds for another rank, which does not come; "
        "--comm-timeout "
        "sets another limit. The last checkpoint is whole: --resume-from-checkpoint latest",
        c->rank, c->size, c->timeout);
}

static int count(size_t n, size_t at) {
    return n > at ? (int)(n - at < MESSAGE ? n - at : MESSAGE) : 0;
}

static tn_status mpi_swap(tn_comm *c, const tn_piece *out, const tn_piece *in, tn_err *e) {
    mpi *m = c->priv;
    for (size_t at = 0;; at += MESSAGE) {
        int n = 0;
        for (int k = 1; k < c->size; k++) { /* receives first, from the nearest rank below on */
            int q = (c->rank - k + c->size) % c->size, bytes = count(in[q].n, at);
            if (bytes)
                MPI_TRY(MPI_Irecv((char *)in[q].p + at, bytes, MPI_BYTE, q, 0, m->comm,
                                  &m->request[n++]));
        }
        for (int k = 1; k < c->size; k++) {
            int q = (c->rank + k) % c->size, bytes = count(out[q].n, at);
            if (bytes)
                MPI_TRY(MPI_Isend((const char *)out[q].p + at, bytes, MPI_BYTE, q, 0, m->comm,
                                  &m->request[n++]));
        }
        if (n == 0) return TN_OK;
        TN_TRY(wait_all(c, m, n, e));
    }
}

static void mpi_close(tn_comm *c, bool together) {
    mpi *m = c->priv;
    int over = 0, ours = m->ours;
    MPI_Finalized(&over);
    if (over) return;
    if (!together) MPI_Abort(m->comm, 1);
    MPI_Comm_free(&m->comm);
    MPI_Free_mem(m->request);
    MPI_Free_mem(m->status);
    MPI_Free_mem(m);
    if (ours) MPI_Finalize();
}

/* The launcher started `ranks` processes, and MPI sees `size`: the two do not know each other. */
static tn_status strangers(int ranks, int size, tn_err *e) {
    char name[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int n;
    MPI_Get_library_version(name, &n);
    for (n = 0; name[n] && name[n] != ',' && name[n] != '\n'; n++) {}
    name[n] = 0;
    return tn_fail(
        e, TN_STATE,
        "%d processes were started, but %.100s, with which tenet-mpi.so was built, sees %d. Start "
        "them with the mpirun of that library (or build with the other one: make MPICC=...); with "
        "Slurm, give srun --mpi=pmix or --mpi=pmi2 as the library needs",
        ranks, name, size);
}

static tn_status start(mpi *m, int ranks, int *rank, int *size, tn_err *e) {
    int running, level;
    MPI_TRY(MPI_Initialized(&running));
    m->ours = !running;
    if (m->ours) MPI_TRY(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level));
    MPI_TRY(MPI_Comm_dup(MPI_COMM_WORLD, &m->comm));
    MPI_TRY(MPI_Comm_set_errhandler(m->comm, MPI_ERRORS_RETURN));
    MPI_TRY(MPI_Comm_rank(m->comm, rank));
    MPI_TRY(MPI_Comm_size(m->comm, size));
    MPI_Aint n = 2 * (MPI_Aint)*size;
    MPI_TRY(MPI_Alloc_mem(n * (MPI_Aint)sizeof *m->request, MPI_INFO_NULL, &m->request));
    MPI_TRY(MPI_Alloc_mem(n * (MPI_Aint)sizeof *m->status, MPI_INFO_NULL, &m->status));
    return TN_OK;
}

static tn_status mpi_open(int ranks, int *rank, int *size, void **priv, tn_err *e) {
    mpi x = {0}, *m;
    TN_TRY(start(&x, ranks, rank, size, e));
    MPI_TRY(MPI_Alloc_mem(sizeof *m, MPI_INFO_NULL, &m));
    *m = x;
    *priv = m;
    if (ranks == 0 || *size == ranks) return TN_OK;
    tn_status st = strangers(ranks, *size, e);
    tn_comm c = {.priv = m};
    mpi_close(&c, true);
    return st;
}

static const tn_comm_ops ops = {"mpi", mpi_swap, mpi_close};
extern const tn_comm_plugin tn_comm_mpi_plugin;
__attribute__((visibility("default")))
const tn_comm_plugin tn_comm_mpi_plugin = {TN_VERSION, sizeof(tn_comm), &ops, mpi_open};
