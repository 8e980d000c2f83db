#include "rl/reward_program.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/signals.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE 300.0 /* seconds for an answer */

typedef struct program {
    tn_child child;
    char *command;
    tn_str line, heard;
} program;

void tn_program_close(void *state) {
    program *p = state;
    int status, sig;
    if (!p) return;
    tn_child_close(&p->child);
    for (double until = tn_now() + 2; p->child.pid > 0 && !tn_child_ended(p->child.pid, &status, &sig); tn_sleep(0.01))
        if (tn_now() > until) tn_child_signal(-p->child.pid, 9); /* and what it started */
    tn_str_free(&p->line);
    tn_str_free(&p->heard);
    tn_free(p->command);
    tn_free(p);
}

tn_status tn_program_open(void **state, const char *argument, tn_err *e) {
    program *p = *state = tn_calloc(1, sizeof *p);
    if (p) p->child = (tn_child){-1, {-1, -1}, -1};
    return p && (p->command = tn_strdup(argument)) ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static tn_status start(program *p, tn_err *e) {
    char sh[] = "sh", c[] = "-c";
    return p->child.pid > 0 ? TN_OK : tn_child_start_listening(&p->child, "/bin/sh", (char *[]){sh, c, p->command, NULL}, e);
}

static tn_status tell(program *p, const tn_completion *x, tn_err *e) {
    tn_str *s = &p->line;
    tn_str_clear(s);
    json_t *row = x->row ? json_copy((json_t *)(uintptr_t)x->row) : json_object();
    json_object_del(row, "completion");
    json_object_del(row, "ended");
    tn_status st = row ? tn_json_add(s, row, JSON_COMPACT, "a row for a reward program", e) : tn_fail(e, TN_NOMEM, "out of memory");
    json_decref(row);
    TN_TRY(st);
    if (s->len > 2) s->len--; /* its brace */
    else tn_str_clear(s);
    tn_str_addf(s, "%s\"completion\":", s->len ? "," : "{");
    tn_str_add_json(s, x->text, x->len);
    tn_str_addf(s, ",\"ended\":%s}\n", x->ended ? "true" : "false");
    if (s->oom) return tn_fail(e, TN_NOMEM, "out of memory");
    return tn_child_say(&p->child, s->s, s->len, e);
}

/* The next line of its output, without its end; what it writes to stderr is passed on. */
static tn_status hear(program *p, tn_err *e) {
    char buf[4096], *end;
    size_t got;
    int which;
    tn_str_clear(&p->heard);
    for (double until = tn_now() + PATIENCE;;) {
        if (tn_stop_requested()) return tn_fail(e, TN_INTERRUPTED, "stopped while a reward program thinks");
        if (p->child.from[0] < 0) return tn_fail(e, TN_FORMAT, "program:%s has ended instead of giving a reward", p->command);
        if (tn_now() > until) return tn_fail(e, TN_IO, "program:%s has not answered for %g seconds", p->command, PATIENCE);
        TN_TRY(tn_child_read(&p->child, 0.2, buf, sizeof buf, &got, &which, e));
        if (got && which == 1) tn_warn("program:%s: %.*s", p->command, (int)(buf[got - 1] == '\n' ? got - 1 : got), buf);
        if (!got || which == 1) continue;
        tn_str_add(&p->heard, buf, got);
        if (p->heard.oom) return tn_fail(e, TN_NOMEM, "out of memory");
        if (!(end = memchr(p->heard.s, '\n', p->heard.len))) continue;
        if (end + 1 != p->heard.s + p->heard.len)
            return tn_fail(e, TN_FORMAT, "program:%s answered more than one line to one completion", p->command);
        *end = 0;
        return TN_OK;
    }
}

tn_status tn_program_ask(void *state, const tn_completion *x, double *reward, tn_err *e) {
    program *p = state;
    char *end;
    TN_TRY(start(p, e));
    TN_TRY(tell(p, x, e));
    TN_TRY(hear(p, e));
    *reward = NAN;
    if (strcmp(p->heard.s, "null") == 0) return TN_OK;
    *reward = strtod(p->heard.s, &end);
    if (end != p->heard.s && *end == 0 && isfinite(*reward)) return TN_OK;
    return tn_fail(e, TN_FORMAT, "program:%s answered '%.60s', expected a number or null", p->command, p->heard.s);
}
