/* Messages and the progress line: stderr only; machine-readable output never goes through here. */
#ifndef TN_BASE_LOG_H
#define TN_BASE_LOG_H

#include "base/status.h"
#include <stdbool.h>

typedef enum tn_log_level { TN_LOG_ERROR, TN_LOG_WARN, TN_LOG_INFO, TN_LOG_DEBUG } tn_log_level;
void tn_log_set_level(tn_log_level l); /* default INFO; TENET_LOG=error|warn|info|debug */
void tn_log_msg(tn_log_level l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define tn_info(...) tn_log_msg(TN_LOG_INFO, __VA_ARGS__)
#define tn_warn(...) tn_log_msg(TN_LOG_WARN, __VA_ARGS__)
#define tn_debug(...) tn_log_msg(TN_LOG_DEBUG, __VA_ARGS__)
/* Prints "tenet: <msg>" for an error in full. */
void tn_log_error(const tn_err *e);

/* One rewritten line on a terminal, one line every 10 s otherwise.
 * what: "dpo"; unit: "steps"; rate text (may be NULL): "1234 tok/s". */
typedef struct tn_progress {
    const char *what, *unit;
    long done, total;
    double t0, last, base_done;
    int shown;
} tn_progress;
void tn_progress_begin(tn_progress *p, const char *what, const char *unit, long total,
                       long already_done);
void tn_progress_update(tn_progress *p, long done, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void tn_progress_end(tn_progress *p);

/* Colour for terminals: returns the escape or "" when stderr/stdout is no terminal or NO_COLOR is
 * set. */
const char *tn_colour(int fd, const char *name); /* red green yellow blue dim bold reset */

#endif
