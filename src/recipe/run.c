/* Stages as processes: one after another, each until it has left what it makes. */
#include "recipe/internal.h"
#include "base/log.h"
#include "base/proc.h"
#include "base/signals.h"
#include <signal.h>
#include <string.h>

typedef struct session {
    const tn_recipe *r;
    const tn_recipe_how *how;
    tn_run_state *state;
    int lock, ran;
    double t0;
    tn_str path, why;
    tn_out *log, *prints; /* of the stage at hand */
} session;

static const char *in_out(session *s, const char *folder, const char *name, const char *suffix) {
    tn_path_join(&s->path, s->r->out, folder);
    if (*folder) tn_str_addc(&s->path, '/');
    tn_str_addf(&s->path, "%s%s", name, suffix);
    return s->path.s;
}

/* ---- one process ---- */

/* What it has written: to the terminal, to the log, and where `prints` says. */
static tn_status show(session *s, const char *text, size_t n, int which, tn_err *e) {
    FILE *f = which == 0 ? stdout : stderr;
    fwrite(text, 1, n, f);
    fflush(f);
    TN_TRY(tn_out_write(s->log, text, n, e));
    TN_TRY(tn_out_flush(s->log, false, e));
    return which == 0 && s->prints ? tn_out_write(s->prints, text, n, e) : TN_OK;
}

/* Until the process has ended and all that it wrote is read; signals are passed on. */
static tn_status watch(session *s, tn_child *c, int *status, int *sig, tn_err *e) {
    char buf[1 << 14];
    bool ended = false;
    for (;;) {
        size_t got = 0;
        int which = 0;
        tn_status st = tn_child_read(c, ended ? 0 : c->from[0] < 0 && c->from[1] < 0 ? 0.01 : 0.2, buf, sizeof buf, &got, &which, e);
        if (st == TN_OK && got) st = show(s, buf, got, which, e);
        if (st != TN_OK && !ended) tn_child_signal(c->pid, SIGKILL);
        while (st != TN_OK && !ended && !tn_child_ended(c->pid, status, sig)) tn_sleep(0.01);
        TN_TRY(st);
        if (ended && !got) return TN_OK;
        if (tn_stop_is_news()) tn_child_signal(c->pid, SIGTERM);
        if (tn_checkpoint_requested()) tn_child_signal(c->pid, SIGUSR1);
        ended = ended || tn_child_ended(c->pid, status, sig);
    }
}

static tn_status how_it_ended(session *s, const tn_stage *t, int status, int sig, tn_err *e) {
    const char *log = in_out(s, "logs", t->name, ".log");
    if (status == 0 && sig == 0) return TN_OK;
    if (tn_stop_requested() || status == 130)
        return tn_fail(e, TN_INTERRUPTED, "stopped in stage '%s'; the same command goes on", t->name);
    if (sig)
        return tn_fail(e, TN_STATE, "stage '%s' was killed by signal %d (%s); its log is %s, and the same command goes on", t->name, sig,
                       strsignal(sig), log);
    return tn_fail(e, TN_STATE, "stage '%s' failed with exit status %d; its log is %s. When the cause is mended, the same command goes on",
                   t->name, status, log);
}

static tn_status start(session *s, const tn_stage *t, tn_err *e) {
    tn_child c;
    int status = 1, sig = 0;
    char **argv = tn_calloc((size_t)t->argc + 2, sizeof *argv), name[] = "tenet";
    if (!argv) return tn_fail(e, TN_NOMEM, "out of memory");
    argv[0] = name;
    memcpy(argv + 1, t->argv, (size_t)t->argc * sizeof *argv);
    tn_status st = tn_child_start(&c, s->how->program, argv, s->lock, e);
    if (st == TN_OK) st = watch(s, &c, &status, &sig, e);
    tn_child_close(&c);
    tn_free(argv);
    return st == TN_OK ? how_it_ended(s, t, status, sig, e) : st;
}

/* ---- one stage ---- */

static tn_status note_time(session *s, const tn_stage *t, double seconds, bool ok, tn_err *e) {
    tn_str line = TN_STR_INIT;
    tn_out *out = NULL;
    tn_str_addf(&line, "{\"stage\": \"%s\", \"seconds\": %.3f, \"ended\": %s}\n", t->name, seconds, ok ? "true" : "false");
    tn_status st = line.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_out_open(&out, in_out(s, "", "timing.jsonl", ""), true, e);
    if (st == TN_OK) st = tn_out_close(out, tn_out_write(out, line.s, line.len, e), false, e);
    tn_str_free(&line);
    return st;
}

/* A log goes on where its stage does. */
static tn_status run_stage(session *s, const tn_stage *t, bool anew, tn_err *e) {
    const char *log = in_out(s, "logs", t->name, ".log");
    if (anew) TN_TRY(tn_remove_tree(log, e));
    TN_TRY(tn_out_open(&s->log, log, true, e));
    tn_status st = t->prints ? tn_out_open(&s->prints, in_out(s, "", t->prints, ""), false, e) : TN_OK;
    if (st == TN_OK) st = start(s, t, e);
    if (s->prints) st = tn_out_close(s->prints, st, false, e);
    s->prints = NULL;
    st = tn_out_close(s->log, st, false, e);
    s->log = NULL;
    return st;
}

static tn_status do_stage(session *s, int i, tn_stage_state state, tn_err *e) {
    const tn_stage *t = &s->r->stage[i];
    double t0 = tn_now();
    const char *because = state == TN_STAGE_BEGUN ? "goes on" : s->why.len ? s->why.s : "";
    tn_info("[%d/%d] %s%s%s%s%s%s", i + 1, s->r->n, t->name, *t->about ? ": " : "", t->about, *because ? " (" : "", because, *because ? ")" : "");
    TN_TRY(tn_run_state_begin(s->state, i, state, e));
    tn_status st = run_stage(s, t, state != TN_STAGE_BEGUN, e);
    if (st == TN_OK) st = tn_run_state_done(s->state, i, e);
    tn_status noted = note_time(s, t, tn_now() - t0, st == TN_OK, st == TN_OK ? e : NULL);
    if (st != TN_OK || noted != TN_OK) return st != TN_OK ? st : noted;
    tn_info("[%d/%d] %s ... %.1f s, %.0f s since the start", i + 1, s->r->n, t->name, tn_now() - t0, tn_now() - s->t0);
    s->ran++;
    return TN_OK;
}

/* ---- all of them ---- */

/* Nobody's work is overwritten; said before anything runs. */
static tn_status check_hands_off(session *s, int i, tn_stage_state state, tn_err *e) {
    const char *next = i + 1 < s->r->n ? s->r->stage[i + 1].name : NULL;
    if (state != TN_STAGE_CHANGED && state != TN_STAGE_FOREIGN) return TN_OK;
    return tn_fail(e, TN_STATE, "%s/%s %s; remove it to have it made%s%s%s", s->r->out, s->why.s,
                   state == TN_STAGE_CHANGED ? "was changed since its stage made it" : "is there, and no stage of this folder's runs made it",
                   next ? ", or take it as it is with --from " : ", or take another --out", next ? next : "", next ? "" : "");
}

/* Stages before --from: what they make is taken as it is, now and later. */
static tn_status adopt(session *s, int i, tn_err *e) {
    tn_stage_state state;
    if (tn_run_state_begun(s->state, i))
        return tn_fail(e, TN_STATE, "--from %s: stage '%s' was interrupted, and what it makes is not whole; run without --from",
                       s->r->stage[s->how->from].name, s->r->stage[i].name);
    TN_TRY(tn_run_state_of(s->state, i, &state, &s->why, e));
    if (state == TN_STAGE_DONE) return TN_OK;
    tn_status st = tn_run_state_done(s->state, i, e);
    return st == TN_OK ? st : tn_err_context(e, st, "--from %s takes what earlier stages make as it is", s->r->stage[s->how->from].name);
}

static tn_status run_all(session *s, tn_err *e) {
    tn_stage_state state;
    for (int i = 0; i < s->how->from; i++) TN_TRY(adopt(s, i, e));
    for (int i = s->how->from; i <= s->how->until; i++) {
        TN_TRY(tn_run_state_of(s->state, i, &state, &s->why, e));
        TN_TRY(check_hands_off(s, i, state, e));
    }
    for (int i = s->how->from; i <= s->how->until; i++) {
        if (tn_stop_requested()) return tn_fail(e, TN_INTERRUPTED, "stopped before stage '%s'; the same command goes on", s->r->stage[i].name);
        TN_TRY(tn_run_state_of(s->state, i, &state, &s->why, e));
        if (state != TN_STAGE_DONE) TN_TRY(do_stage(s, i, state, e));
    }
    return TN_OK;
}

/* Where everything is, on standard output. */
static void tell(const session *s) {
    const tn_recipe *r = s->r;
    int asked = s->how->until - s->how->from + 1;
    tn_info("%s: %d of %d stages were complete, %d have run, in %.0f s", r->name, asked - s->ran, asked, s->ran, tn_now() - s->t0);
    for (int i = s->how->from; i <= s->how->until; i++)
        for (int k = 0; k < r->stage[i].n_makes; k++)
            printf("%s/%s%s%s\n", r->out, r->stage[i].makes[k], *r->stage[i].about ? "\t" : "", r->stage[i].about);
    printf("%s/run.json\tcommands, inputs and products of every stage; logs/ beside it has what they said\n", r->out);
}

static tn_status open_out(session *s, tn_err *e) {
    TN_TRY(tn_mkdirs(s->r->out, e));
    TN_TRY(tn_lock_dir(s->r->out, &s->lock, e));
    TN_TRY(tn_commit_mend(s->r->out, e));
    TN_TRY(tn_run_state_open(&s->state, s->r, e));
    tn_path_join(&s->path, s->r->out, "logs");
    return tn_mkdirs(s->path.s, e);
}

tn_status tn_recipe_run(const tn_recipe *r, const tn_recipe_how *how, tn_err *e) {
    session s = {.r = r, .how = how, .lock = -1, .t0 = tn_now(), .path = TN_STR_INIT, .why = TN_STR_INIT};
    tn_status st = open_out(&s, e);
    if (st == TN_OK) st = run_all(&s, e);
    if (st == TN_OK) tell(&s);
    tn_run_state_free(s.state);
    tn_str_free(&s.path);
    tn_str_free(&s.why);
    tn_unlock_dir(s.lock);
    return st;
}
