/* Messages and the progress line, on stderr. */
#include "base/log.h"
#include "base/os.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_int log_level = -1;  /* -1: not decided yet */
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static bool line_open;             /* a progress line stands on the terminal; under the mutex */

void tn_log_set_level(tn_log_level l) { atomic_store(&log_level, (int)l); }

static int log_level_now(void) {
    static const char *const names[] = {"error", "warn", "info", "debug"};
    int l = atomic_load(&log_level);
    if (l >= 0) return l;
    const char *s = getenv("TENET_LOG");
    l = TN_LOG_INFO;
    for (int i = 0; s && i < 4; i++)
        if (!strcmp(s, names[i])) l = i;
    atomic_store(&log_level, l);
    return l;
}

static const char *level_prefix(tn_log_level l) {
    return l == TN_LOG_ERROR ? "error: " : l == TN_LOG_WARN ? "warning: " : "";
}

static const char *level_colour(tn_log_level l) {
    return tn_colour(2, l == TN_LOG_ERROR   ? "red"
                        : l == TN_LOG_WARN  ? "yellow"
                        : l == TN_LOG_DEBUG ? "dim"
                                            : "reset");
}

/* One message, one line, one write: lines of several threads never mix. */
static void log_put(tn_log_level l, const char *text) {
    pthread_mutex_lock(&log_mutex);
    bool colour = l != TN_LOG_INFO && *level_colour(l);
    fprintf(stderr, "%stenet: %s%s%s%s\n", line_open ? "\r\033[K" : "",
            colour ? level_colour(l) : "", level_prefix(l), text,
            colour ? tn_colour(2, "reset") : "");
    line_open = false;
    fflush(stderr);
    pthread_mutex_unlock(&log_mutex);
}

void tn_log_msg(tn_log_level l, const char *fmt, ...) {
    if ((int)l > log_level_now()) return;
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log_put(l, text);
}

void tn_log_error(const tn_err *e) {
    log_put(TN_LOG_ERROR, e->msg[0] ? e->msg : tn_status_text(e->code));
    if (e->file) tn_debug("raised at %s:%d (%s)", e->file, e->line, tn_status_text(e->code));
}

/* ---- progress ---- */

static void format_time(char *out, size_t cap, double s) {
    long t = (long)(s + 0.5);
    if (s < 10) snprintf(out, cap, "%.1fs", s);
    else if (t < 60) snprintf(out, cap, "%lds", t);
    else if (t < 3600) snprintf(out, cap, "%ldm%02lds", t / 60, t % 60);
    else snprintf(out, cap, "%ldh%02ldm", t / 3600, t / 60 % 60);
}

static void progress_print(tn_progress *p, const char *extra, double now) {
    bool tty = tn_is_tty(2);
    char left[32] = "", line[512];
    double fresh = (double)p->done - p->base_done;
    if (p->total > 0 && p->done < p->total && fresh > 0) {
        char t[24];
        format_time(t, sizeof t, (now - p->t0) / fresh * (double)(p->total - p->done));
        snprintf(left, sizeof left, "  %s left", t);
    }
    if (p->total > 0)
        snprintf(line, sizeof line, "%s  %ld/%ld %s (%d%%)%s%s%s", p->what, p->done, p->total,
                 p->unit, (int)((double)p->done / (double)p->total * 100),
                 extra && *extra ? "  " : "", extra ? extra : "", left);
    else
        snprintf(line, sizeof line, "%s  %ld %s%s%s", p->what, p->done, p->unit,
                 extra && *extra ? "  " : "", extra ? extra : "");
    pthread_mutex_lock(&log_mutex);
    if (tty) {
        size_t width = (size_t)tn_tty_width();
        if (strlen(line) >= width) line[width > 1 ? width - 1 : 0] = 0;
        fprintf(stderr, "\r\033[K%s", line);
        line_open = true;
    } else {
        fprintf(stderr, "%s\n", line);
    }
    fflush(stderr);
    pthread_mutex_unlock(&log_mutex);
    p->last = now;
    p->shown++;
}

void tn_progress_begin(tn_progress *p, const char *what, const char *unit, long total,
                       long already_done) {
    double now = tn_now();
    *p = (tn_progress){what, unit, already_done, total, now, now, (double)already_done, 0};
}

void tn_progress_update(tn_progress *p, long done, const char *fmt, ...) {
    double now = tn_now();
    p->done = done;
    if (log_level_now() < TN_LOG_INFO) return;
    if (now - p->last < (tn_is_tty(2) ? 0.1 : 10.0)) return;
    char extra[256] = "";
    if (fmt) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(extra, sizeof extra, fmt, ap);
        va_end(ap);
    }
    progress_print(p, extra, now);
}

void tn_progress_end(tn_progress *p) {
    if (log_level_now() < TN_LOG_INFO) return;
    double now = tn_now();
    char t[24], extra[40];
    format_time(t, sizeof t, now - p->t0);
    snprintf(extra, sizeof extra, "in %s", t);
    progress_print(p, extra, now);
    pthread_mutex_lock(&log_mutex);
    if (line_open) fputc('\n', stderr);
    line_open = false;
    pthread_mutex_unlock(&log_mutex);
}

const char *tn_colour(int fd, const char *name) {
    static const char *const table[][2] = {
        {"red", "\033[31m"},  {"green", "\033[32m"}, {"yellow", "\033[33m"}, {"blue", "\033[34m"},
        {"dim", "\033[2m"},   {"bold", "\033[1m"},   {"reset", "\033[0m"},
    };
    const char *no = getenv("NO_COLOR");
    if ((no && *no) || !tn_is_tty(fd)) return "";
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(name, table[i][0])) return table[i][1];
    return "";
}
