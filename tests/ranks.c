#include "ranks.h"
#include "base/os.h"
#include "base/proc.h"
#include <unistd.h>

rank_outcome *ranks_run(int ranks, double timeout, rank_job *fn, const void *ctx) {
    static rank_outcome *o;
    if (!o) o = tn_shared_alloc(RANKS_MOST * sizeof *o);
    tn_shm *s = NULL;
    long pid[RANKS_MOST];
    memset(o, 0, RANKS_MOST * sizeof *o);
    CHECK_OK(tn_shm_new(&s, ranks, e));
    for (int i = 0; i < ranks; i++) {
        CHECK_OK(tn_fork(&pid[i], e));
        if (pid[i]) continue;
        tn_comm *c;
        if (tn_shm_join(s, i, timeout, &c, NULL) != TN_OK) _exit(3);
        o[i].line = -1;
        fn(c, &o[i], ctx);
        if (o[i].line < 0) o[i].line = 0;
        tn_comm_close(c);
        _exit(0);
    }
    for (int left = ranks; left;) {
        for (int i = 0; i < ranks; i++) {
            int status, sig;
            if (!pid[i] || !tn_child_ended(pid[i], &status, &sig)) continue;
            tn_shm_ended(s, i, status, sig);
            pid[i] = 0;
            left--;
        }
        tn_sleep(0.002);
    }
    tn_shm_free(s);
    return o;
}

void ranks_check(int ranks, rank_job *fn, const void *ctx) {
    rank_outcome *o = ranks_run(ranks, 60, fn, ctx);
    for (int i = 0; i < ranks; i++)
        CHECK_MSG(o[i].line == 0, "rank %d of %d: line %d, %s", i, ranks, o[i].line, o[i].e.msg);
}
