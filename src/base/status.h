/* Status codes and the caller-owned error object.
 *
 * Every fallible function returns a tn_status and takes a `tn_err *` as its last
 * argument (may be NULL). The library never exits, aborts or longjmps.
 * A message says what, where, expected, found, and what to try.                    */
#ifndef TN_BASE_STATUS_H
#define TN_BASE_STATUS_H
#include <stdbool.h>

#define TN_STATUS_LIST(X)                                                            \
    X(OK, "ok")                                                                      \
    X(ARG, "bad argument")             /* option, call or request that makes no sense */ \
    X(IO, "input/output error")        /* the operating system said no */            \
    X(FORMAT, "malformed input")       /* a file is not what it says it is */        \
    X(UNSUPPORTED, "not supported")    /* well-formed, but outside what we do */     \
    X(NOMEM, "out of memory")                                                        \
    X(NUMERIC, "numeric failure")      /* NaN or infinity where there must be none */ \
    X(INTERRUPTED, "interrupted")      /* Ctrl-C, or a stop that was asked for */    \
    X(STATE, "inconsistent state")     /* checkpoint, folder or object in the wrong state */ \
    X(BUG, "internal error")

typedef enum tn_status {
#define X(name, text) TN_##name,
    TN_STATUS_LIST(X)
#undef X
    TN_STATUS_COUNT
} tn_status;

typedef struct tn_err {
    tn_status code;
    const char *file; /* source position that raised it, for bug reports */
    int line;
    char msg[768];
} tn_err;

/* Set where an allocation failed and the caller may not notice (json_mem.c); TN_NOMEM settles it. */
extern _Thread_local bool tn_memory_lost;

const char *tn_status_text(tn_status s);

/* Fills *e (when not NULL) and returns `code`. Use through the macros below. */
tn_status tn_err_set(tn_err *e, tn_status code, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* Prepends "context: " to e->msg and returns e's code (or `s` when e is NULL). */
tn_status tn_err_context(tn_err *e, tn_status s, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define tn_fail(e, code, ...) tn_err_set((e), (code), __FILE__, __LINE__, __VA_ARGS__)

/* Propagate a failure unchanged. */
#define TN_TRY(expr)                                                                 \
    do {                                                                             \
        tn_status tn_try_ = (expr);                                                  \
        if (tn_try_ != TN_OK) return tn_try_;                                        \
    } while (0)

/* Same, but first run clean-up at a label: expects `tn_status st` in scope. */
#define TN_GO(expr, label)                                                           \
    do {                                                                             \
        st = (expr);                                                                 \
        if (st != TN_OK) goto label;                                                 \
    } while (0)

#endif
