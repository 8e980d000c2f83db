/* Status texts and the error object. */
#include "base/status.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *tn_status_text(tn_status s) {
    static const char *const text[] = {
#define X(name, t) [TN_##name] = t,
        TN_STATUS_LIST(X)
#undef X
    };
    return (unsigned)s < TN_STATUS_COUNT ? text[s] : "unknown status";
}

_Thread_local bool tn_memory_lost;

tn_status tn_err_set(tn_err *e, tn_status code, const char *file, int line, const char *fmt, ...) {
    if (code == TN_NOMEM) tn_memory_lost = false;
    if (!e) return code;
    /* The arguments may point into e->msg: format aside first. */
    char msg[sizeof e->msg];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    if (n < 0) msg[0] = 0;
    e->code = code;
    e->file = file;
    e->line = line;
    memcpy(e->msg, msg, sizeof msg);
    return code;
}

tn_status tn_err_context(tn_err *e, tn_status s, const char *fmt, ...) {
    if (!e) return s;
    char msg[sizeof e->msg];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    if (n < 0) n = 0;
    if ((size_t)n >= sizeof msg) n = (int)sizeof msg - 1;
    size_t left = sizeof msg - (size_t)n;
    snprintf(msg + n, left, ": %.*s", (int)(left > 3 ? left - 3 : 0), e->msg);
    memcpy(e->msg, msg, sizeof msg);
    if (e->code == TN_OK) e->code = s;
    return e->code;
}
