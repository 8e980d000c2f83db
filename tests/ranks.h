/* Tests on several ranks: forked processes over shared memory, each leaving an outcome behind. */
#ifndef TN_TEST_RANKS_H
#define TN_TEST_RANKS_H
#include "comm/comm.h"
#include "test.h"

enum { RANKS_MOST = 8 };
typedef struct rank_outcome {
    int line;     /* of its first failed WANT; 0: none; -1: it did not come to its end */
    int speaker;  /* for the job to fill in, like the rest */
    tn_status st;
    tn_err e;
} rank_outcome;
typedef void rank_job(tn_comm *c, rank_outcome *o, const void *ctx);

/* In a job: checks in the parent's sense do not reach the parent. */
#define WANT(cond)                                                                                         \
    do {                                                                                                   \
        if (!(cond)) {                                                                                     \
            o->line = __LINE__;                                                                            \
            return;                                                                                        \
        }                                                                                                  \
    } while (0)

/* Runs fn as so many processes; the outcomes stay until the next call. */
rank_outcome *ranks_run(int ranks, double timeout, rank_job *fn, const void *ctx);
/* The same, and no rank may have failed a WANT. */
void ranks_check(int ranks, rank_job *fn, const void *ctx);
#endif
