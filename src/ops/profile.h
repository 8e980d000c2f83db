/* Where the time of a run goes: operations and the phases of the loops around them (--profile).
 *
 * tn_profile_open puts a table in front of the backend's that forwards every call and adds its
 * seconds, FLOP and bytes to the row of (phase, operation, shape). Work outside the table (building
 * a batch, drawing a token, writing a checkpoint) stands between tn_work_begin and tn_work_end and
 * gets rows of the same kind. Phases nest and exclude each other: their seconds add up to the
 * run's. Without a profiler a phase costs one test of a pointer.
 *
 * FLOP: ops/flop.h. Bytes: what an operation must read and write once, weights as packed. */
#ifndef TN_OPS_PROFILE_H
#define TN_OPS_PROFILE_H
#include "ops/ops.h"

typedef enum tn_phase {
    TN_PHASE_SETUP, /* until the first other phase begins; not part of the steps */
    TN_PHASE_LOOP,  /* steps, outside of every phase below */
    TN_PHASE_DATA,
    TN_PHASE_SAMPLING,
    TN_PHASE_SCORING,
    TN_PHASE_REFERENCE,
    TN_PHASE_FORWARD,
    TN_PHASE_BACKWARD,
    TN_PHASE_OPTIMISER,
    TN_PHASE_CHECKPOINT,
    TN_PHASE_COUNT
} tn_phase;
extern const char *const tn_phase_name[TN_PHASE_COUNT];

/* Time begins to count. `path` (kept, not copied) gets the JSON form. */
tn_status tn_profile_open(tn_backend *b, const char *path, tn_err *e);
/* The end of a run that ended with `st`: the table to the log, the file to its path. Answers st, or
 * the write's failure when st is TN_OK. Does nothing without a backend or a profiler. */
tn_status tn_profile_finish(tn_backend *b, tn_status st, tn_err *e);

/* Begins a phase; answers the one to go back to with tn_phase_leave. After a failure the way back
 * may be left out: the run ends. */
static inline tn_phase tn_phase_enter(tn_backend *b, tn_phase p);
static inline void tn_phase_leave(tn_backend *b, tn_phase before);
/* Work outside the table: `bytes` moved, 0 when that says nothing. What has rows of its own within it is not counted
 * twice: the clock of tn_work_begin stands still meanwhile. */
static inline double tn_work_begin(const tn_backend *b);
static inline void tn_work_end(tn_backend *b, double begin, const char *what, double bytes);

/* ---- for the report, tests and benchmarks ---- */
typedef struct tn_profile_row {
    const char *op;      /* NULL: a free row */
    tn_phase phase;
    int out, in;         /* matrices [out, in]; width of rows in `in`; 0: none */
    int most;            /* calls of 1, 2-16, 17-64 or more rows: the upper end; 0: no rows */
    long calls;
    double seconds, rows, flop, bytes; /* sums */
} tn_profile_row;

#define TN_PROFILE_ROWS 1024
typedef struct tn_profiler {
    tn_ops table;         /* what the backend calls */
    const tn_ops *inner;  /* what it called before: the counting one */
    const char *path;
    double (*now)(void);  /* the clock; tests replace it */
    tn_phase phase;
    double since;                     /* the current phase runs since then */
    double seconds[TN_PHASE_COUNT];   /* of phases, up to `since` */
    double in_rows;                   /* seconds of all rows */
    int n_row;
    tn_profile_row row[TN_PROFILE_ROWS]; /* a hash table: rows in no order */
} tn_profiler;

tn_phase tn_profile_phase(tn_profiler *p, tn_phase next);
void tn_profile_add(tn_profiler *p, const char *op, double seconds, int rows, int out, int in,
                    double flop, double bytes);
/* Seconds in rows of the phase; of all phases but SETUP for TN_PHASE_COUNT. */
double tn_profile_accounted(const tn_profiler *p, tn_phase phase);
/* Seconds of the steps: of all phases but SETUP. */
double tn_profile_steps(const tn_profiler *p);
void tn_profile_print(const tn_profiler *p);
tn_status tn_profile_save(const tn_backend *b, const char *path, tn_err *e);

static inline tn_phase tn_phase_enter(tn_backend *b, tn_phase p) {
    return b->profiler ? tn_profile_phase(b->profiler, p) : p;
}
static inline void tn_phase_leave(tn_backend *b, tn_phase before) {
    if (b->profiler) tn_profile_phase(b->profiler, before);
}
static inline double tn_work_begin(const tn_backend *b) {
    return b->profiler ? b->profiler->now() - b->profiler->in_rows : 0;
}
static inline void tn_work_end(tn_backend *b, double begin, const char *what, double bytes) {
    if (b->profiler) tn_profile_add(b->profiler, what, tn_work_begin(b) - begin, 0, 0, 0, 0, bytes);
}
#endif
