#include "train/runlog.h"
#include "base/json_mem.h"
#include "base/log.h"
#include "comm/comm.h"
#include "train/events.h"
#include <limits.h>
#include <math.h>
#include <string.h>

tn_status tn_runlog_cut(const char *path, long step, long most, tn_err *e) {
    if (!tn_exists(path)) return TN_OK;
    tn_lines *r;
    tn_str out = TN_STR_INIT;
    TN_TRY(tn_lines_open(&r, path, (size_t)1 << 24, e));
    tn_status st = TN_OK;
    for (;;) {
        const char *line;
        size_t n;
        TN_GO(tn_lines_next(r, &line, &n, e), done);
        if (!line) break;
        json_t *row;
        TN_GO(tn_json_load_text(line, n, 0, path, &row, NULL, e), done);
        if (row && json_integer_value(json_object_get(row, "step")) <= step && most-- > 0) {
            tn_str_add(&out, line, n);
            tn_str_addc(&out, '\n');
        }
        json_decref(row); /* NULL: a line cut short by a crash is dropped */
    }
    st = step > 0 || out.len ? tn_write_file(path, out.s ? out.s : "", out.len, e)
                             : tn_write_file(path, "", 0, e);
done:
    tn_lines_close(r);
    tn_str_free(&out);
    return st;
}

static long entries(const json_t *history) {
    return history ? (long)json_array_size(history) : LONG_MAX;
}

tn_status tn_runlog_open(tn_runlog *l, const char *dir, long step, const json_t *history,
                         tn_err *e) {
    memset(l, 0, sizeof *l);
    snprintf(l->dir, sizeof l->dir, "%s", dir);
    l->t0 = l->t_last = tn_now();
    if (!tn_comm_is_root(tn_comm_world())) return TN_OK;
    tn_str p = TN_STR_INIT;
    tn_status st;
    tn_path_join(&p, dir, "metrics.jsonl");
    TN_GO(tn_runlog_cut(p.s, step, entries(history), e), done);
    TN_GO(tn_out_open(&l->metrics, p.s, true, e), done);
    tn_path_join(&p, dir, "timing.jsonl");
    TN_GO(tn_runlog_cut(p.s, step, LONG_MAX, e), done);
    TN_GO(tn_out_open(&l->timing, p.s, true, e), done);
    l->history = history ? json_deep_copy(history) : json_array();
    if (!l->history) st = tn_fail(e, TN_NOMEM, "out of memory");
done:
    tn_str_free(&p);
    return st;
}

void tn_runlog_work(tn_runlog *l, tn_backend *be) {
    l->be = be;
    l->flop_last = be->flop;
}

tn_status tn_runlog_report(tn_runlog *l, const tn_train_options *o, long step, tn_err *e) {
    bool wanted = false;
    tn_str dir = TN_STR_INIT, path = TN_STR_INIT;
    if (!tn_comm_is_root(tn_comm_world())) return TN_OK;
    for (int i = 0; i < o->report_to.n; i++) {
        const char *to = o->report_to.v[i];
        bool all = !strcmp(to, "all");
        wanted |= all || !strcmp(to, "tensorboard");
        if (!all && strcmp(to, "tensorboard") && strcmp(to, "none"))
            tn_info("--report-to %s: not here; metrics.jsonl has every number, and tensorboard is "
                    "known",
                    to);
    }
    if (!wanted) return TN_OK;
    tn_path_join(&dir, o->output_dir, "runs");
    if (o->logging_dir) tn_path_join(&dir, o->logging_dir, "");
    tn_path_join(&path, dir.s, TN_EVENTS_FILE);
    tn_status st = TN_OK;
    if (step == 0 && !o->overwrite && !o->resume && tn_exists(path.s))
        st = tn_fail(e, TN_STATE,
                     "%s has the events of another run; take another --logging-dir, or say "
                     "--overwrite",
                     dir.s);
    if (st == TN_OK) st = tn_events_open(&l->events, dir.s, step, entries(l->history), e);
    tn_str_free(&dir);
    tn_str_free(&path);
    return st;
}

/* One object as a line, numbers with all their digits, keys in insertion order. */
static void add_json(tn_str *s, const json_t *v) {
    const char *key;
    json_t *m;
    size_t i;
    if (json_is_object(v)) {
        bool first = true;
        tn_str_addc(s, '{');
        json_object_foreach((json_t *)(uintptr_t)v, key, m) {
            if (!first) tn_str_addz(s, ", ");
            first = false;
            tn_str_add_json(s, key, strlen(key));
            tn_str_addz(s, ": ");
            add_json(s, m);
        }
        tn_str_addc(s, '}');
    } else if (json_is_array(v)) {
        tn_str_addc(s, '[');
        json_array_foreach(v, i, m) {
            if (i) tn_str_addz(s, ", ");
            add_json(s, m);
        }
        tn_str_addc(s, ']');
    } else if (json_is_real(v))
        tn_str_add_f64(s, json_real_value(v));
    else if (json_is_integer(v))
        tn_str_addf(s, "%lld", (long long)json_integer_value(v));
    else if (json_is_string(v))
        tn_str_add_json(s, json_string_value(v), json_string_length(v));
    else
        tn_str_addz(s, json_is_true(v) ? "true" : json_is_false(v) ? "false" : "null");
}

static tn_status write_line(tn_out *o, const json_t *row, tn_err *e) {
    tn_str s = TN_STR_INIT;
    TN_TRY(tn_json_check("a log entry", e));
    add_json(&s, row);
    tn_str_addc(&s, '\n');
    tn_status st = s.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_out_write(o, s.s, s.len, e);
    tn_str_free(&s);
    return st == TN_OK ? tn_out_flush(o, false, e) : st;
}

static double begin_log(const tn_runlog *l) { return l->be ? tn_work_begin(l->be) : 0; }
static void end_log(const tn_runlog *l, double begin) {
    if (l->be) tn_work_end(l->be, begin, "log", 0);
}

tn_status tn_runlog_entry(tn_runlog *l, json_t *entry, tn_err *e) {
    if (!l->metrics) {
        json_decref(entry);
        return TN_OK;
    }
    double begin = begin_log(l);
    tn_status st = write_line(l->metrics, entry, e);
    if (st == TN_OK && l->events) st = tn_events_write(l->events, entry, e);
    json_array_append_new(l->history, entry);
    end_log(l, begin);
    return st;
}

tn_status tn_runlog_timing(tn_runlog *l, long step, long tokens, double *tokens_per_s, tn_err *e) {
    double now = tn_now(), dt = now - l->t_last, flop = l->be ? (double)(l->be->flop - l->flop_last) : 0;
    if (l->be) l->flop_last = l->be->flop;
    TN_TRY(tn_comm_reduce(tn_comm_world(), TN_REDUCE_SUM, &flop, 1, e));
    *tokens_per_s = dt > 0 ? (double)(tokens - l->tokens_last) / dt : 0;
    if (!l->timing) return TN_OK;
    double begin = begin_log(l);
    json_t *row = json_pack("{s:I,s:f,s:f,s:f,s:I,s:I}", "step", (json_int_t)step, "seconds", now - l->t0,
                            "step_seconds", dt, "tokens_per_second", *tokens_per_s, "peak_memory_bytes",
                            (json_int_t)tn_peak_memory(), "flop", (json_int_t)flop);
    l->t_last = now;
    l->tokens_last = tokens;
    tn_status st = row ? write_line(l->timing, row, e) : tn_fail(e, TN_NOMEM, "out of memory");
    json_decref(row);
    end_log(l, begin);
    return st;
}

tn_status tn_runlog_close(tn_runlog *l, tn_err *e) {
    tn_status st = tn_out_close(l->metrics, TN_OK, true, e);
    tn_status st2 = tn_out_close(l->timing, TN_OK, true, st == TN_OK ? e : NULL);
    tn_status st3 =
        tn_out_close(l->events, TN_OK, true, st == TN_OK && st2 == TN_OK ? e : NULL);
    json_decref(l->history);
    memset(l, 0, sizeof *l);
    return st != TN_OK ? st : st2 != TN_OK ? st2 : st3;
}

void tn_runlog_put_metrics(json_t *entry, const char *prefix, const tn_metrics *m) {
    for (int i = 0; i < m->n; i++) {
        char name[160];
        double v = tn_metrics_get(m, i);
        snprintf(name, sizeof name, "%s%s", prefix, m->v[i].name);
        if (isfinite(v)) json_object_set_new(entry, name, json_real(v));
    }
    /* of responses that are no pairs (KTO), as TRL has it */
    double margin = tn_metrics_find(m, "rewards/chosen") - tn_metrics_find(m, "rewards/rejected");
    if (!isfinite(margin) || !isnan(tn_metrics_find(m, "rewards/margins"))) return;
    char name[160];
    snprintf(name, sizeof name, "%srewards/margins", prefix);
    json_object_set_new(entry, name, json_real(margin));
}
