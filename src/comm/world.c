/* The communicator of this process: which one, opened once, closed at its exit. */
#include "base/log.h"
#include "base/os.h"
#include "base/proc.h"
#include "base/signals.h"
#include "comm/comm.h"
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static tn_comm *world;

tn_comm *tn_comm_world(void) { return world ? world : tn_comm_self(); }

static void close_world(void) {
    tn_comm_close(world);
    world = NULL;
}

static void set_world(tn_comm *c) {
    world = c;
    if (c->rank != 0) tn_log_set_level(TN_LOG_ERROR);
    atexit(close_world);
}

/* ---- mpirun, srun ---- */

static bool number(const char *name, int *v) {
    const char *s = getenv(name);
    char *end;
    if (!s || !*s) return false;
    long n = strtol(s, &end, 10);
    if (*end || n < 0 || n > 1 << 24) return false;
    *v = (int)n;
    return true;
}

bool tn_comm_launched(int *rank, int *ranks) {
    *rank = *ranks = 0;
    /* Open MPI; MPICH, Intel MPI and srun --mpi=pmi2; srun of any kind */
    static const char *const names[][2] = {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
                                           {"PMI_RANK", "PMI_SIZE"},
                                           {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS"}};
    for (int i = 0; i < 3; i++)
        if (number(names[i][0], rank) && number(names[i][1], ranks)) return *ranks > 1;
    return number("PMIX_RANK", rank); /* PMIx gives the number of ranks to MPI only */
}

tn_status tn_comm_world_open(const char *how, double timeout, tn_err *e) {
    int rank, ranks;
    bool several = tn_comm_launched(&rank, &ranks);
    if (world || strcmp(how, "self") == 0) return TN_OK;
    if (strcmp(how, "mpi") != 0 && !several) return TN_OK;
    tn_comm *c;
    TN_TRY(tn_mpi_open(&c, several ? ranks : 0, timeout, e));
    set_world(c);
    return TN_OK;
}

/* ---- ranks by fork ---- */

/* After a rank has failed the others have this long to notice, or to finish a checkpoint. */
enum { GRACE = 60 };

/* Waits for the ranks, passes signals on, tells the others of one that dies. */
static int watch(tn_shm *s, const long *pid, int n, double timeout) {
    int left = n, code[TN_SHM_RANKS], killed = 0, result = 0;
    bool stopped = false, ended[TN_SHM_RANKS] = {false};
    double failed = INFINITY, grace = timeout < GRACE ? timeout : GRACE;
    while (left > 0) {
        for (int i = 0; i < n; i++) {
            int sig;
            if (ended[i] || !tn_child_ended(pid[i], &code[i], &sig)) continue;
            ended[i] = true;
            left--;
            killed += sig != 0;
            if (code[i] && failed == INFINITY) failed = tn_now();
            if (sig) code[i] = 0; /* what the others say counts */
            tn_shm_ended(s, i, code[i], sig);
        }
        if (tn_stop_requested() && !stopped) {
            stopped = true;
            for (int i = 0; i < n; i++)
                if (!ended[i]) tn_child_signal(pid[i], SIGTERM);
        }
        for (int i = 0; i < n && tn_now() - failed > grace; i++)
            if (!ended[i]) tn_child_signal(pid[i], SIGKILL);
        if (tn_checkpoint_requested() && !ended[0]) tn_child_signal(pid[0], SIGUSR1);
        if (left) tn_sleep(0.01);
    }
    for (int i = n - 1; i >= 0; i--)
        if (code[i]) result = code[i];
    return result || !killed ? result : 1;
}

static tn_status start(tn_shm *s, int ranks, double timeout, long *pid, int *started, tn_err *e) {
    for (*started = 0; *started < ranks; ++*started) {
        tn_comm *c;
        TN_TRY(tn_fork(&pid[*started], e));
        if (pid[*started]) continue;
        TN_TRY(tn_shm_join(s, *started, timeout, &c, e));
        set_world(c);
        return TN_OK;
    }
    return TN_OK;
}

tn_status tn_comm_world_fork(int ranks, double timeout, bool *parent, int *status, tn_err *e) {
    tn_shm *s;
    long pid[TN_SHM_RANKS] = {0};
    int started;
    *parent = true, *status = 1;
    TN_TRY(tn_shm_new(&s, ranks, e));
    tn_status st = start(s, ranks, timeout, pid, &started, e);
    *parent = started == ranks || pid[started] < 0;
    if (!*parent) {
        *status = 0;
        return st;
    }
    for (int i = 0; st != TN_OK && i < started; i++) tn_child_signal(pid[i], SIGKILL);
    *status = watch(s, pid, started, timeout);
    tn_shm_free(s);
    return st;
}
