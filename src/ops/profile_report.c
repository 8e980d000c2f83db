/* The profile for people (a table in the log) and for programs (JSON). */
#include "base/json.h"
#include "base/log.h"
#include "ops/profile.h"
#include <stdlib.h>
#include <string.h>

/* By phase, then the longest first. */
static int by_time(const void *a, const void *b) {
    const tn_profile_row *x = *(const tn_profile_row *const *)a,
                         *y = *(const tn_profile_row *const *)b;
    if (x->phase != y->phase) return x->phase < y->phase ? -1 : 1;
    return x->seconds != y->seconds ? (x->seconds > y->seconds ? -1 : 1) : strcmp(x->op, y->op);
}

static int sorted_rows(const tn_profiler *p, const tn_profile_row **row) {
    int n = 0;
    for (int i = 0; i < TN_PROFILE_ROWS; i++)
        if (p->row[i].op) row[n++] = &p->row[i];
    qsort(row, (size_t)n, sizeof *row, by_time);
    return n;
}

static double share(double part, double whole) { return whole > 0 ? part / whole : 0; }
static double giga(double n, double seconds) { return seconds > 0 ? n / seconds * 1e-9 : 0; }

/* "3072x576", "576" or "" */
static void shape_text(char *s, size_t n, const tn_profile_row *r) {
    if (r->out) snprintf(s, n, "%dx%d", r->out, r->in);
    else if (r->in) snprintf(s, n, "%d", r->in);
    else s[0] = 0;
}

/* A rate that says nothing is left out. */
static void rate_text(char *s, size_t n, double amount, double seconds) {
    s[0] = 0;
    if (amount > 0) snprintf(s, n, "%.1f", giga(amount, seconds));
}

static void print_row(const tn_profile_row *r, double all) {
    char shape[32], rows[24] = "", flop[24], bytes[24];
    shape_text(shape, sizeof shape, r);
    if (r->rows > 0) snprintf(rows, sizeof rows, "%.0f", r->rows / (double)r->calls);
    rate_text(flop, sizeof flop, r->flop, r->seconds);
    rate_text(bytes, sizeof bytes, r->bytes, r->seconds);
    tn_info("  %-14s %-12s %6s %8ld %9.3f %6.1f %9s %7s", r->op, shape, rows, r->calls, r->seconds,
            100 * share(r->seconds, all), flop, bytes);
}

void tn_profile_print(const tn_profiler *p) {
    const tn_profile_row *row[TN_PROFILE_ROWS];
    double all = tn_profile_steps(p);
    int n = sorted_rows(p, row), i = 0;
    tn_info("profile: %.3f s of steps after %.3f s of set-up; %.1f %% of them in these operations",
            all, p->seconds[TN_PHASE_SETUP],
            100 * share(tn_profile_accounted(p, TN_PHASE_COUNT), all));
    tn_info("  %-14s %-12s %6s %8s %9s %6s %9s %7s", "operation", "shape", "rows", "calls",
            "seconds", "%", "GFLOP/s", "GB/s");
    while (i < n && row[i]->phase == TN_PHASE_SETUP) i++;
    for (int f = TN_PHASE_SETUP + 1; f < TN_PHASE_COUNT; f++) {
        if (p->seconds[f] <= 0) continue;
        tn_info("%-43s %9.3f %6.1f", tn_phase_name[f], p->seconds[f],
                100 * share(p->seconds[f], all));
        for (; i < n && row[i]->phase == (tn_phase)f; i++) print_row(row[i], all);
        double rest = p->seconds[f] - tn_profile_accounted(p, (tn_phase)f);
        tn_info("  %-41s %9.3f %6.1f", "(between operations)", rest, 100 * share(rest, all));
    }
}

static json_t *row_json(const tn_profile_row *r) {
    json_t *j = json_pack("{s:s,s:s,s:I,s:f}", "phase", tn_phase_name[r->phase], "operation", r->op,
                          "calls", (json_int_t)r->calls, "seconds", r->seconds);
    if (!j) return NULL;
    if (r->out) json_object_set_new(j, "out", json_integer(r->out));
    if (r->in) json_object_set_new(j, r->out ? "in" : "width", json_integer(r->in));
    if (r->rows > 0) json_object_set_new(j, "mean_rows", json_real(r->rows / (double)r->calls));
    if (r->flop > 0) {
        json_object_set_new(j, "flop", json_real(r->flop));
        json_object_set_new(j, "gflop_per_s", json_real(giga(r->flop, r->seconds)));
    }
    if (r->bytes > 0) {
        json_object_set_new(j, "bytes", json_real(r->bytes));
        json_object_set_new(j, "gb_per_s", json_real(giga(r->bytes, r->seconds)));
    }
    return j;
}

tn_status tn_profile_save(const tn_backend *b, const char *path, tn_err *e) {
    const tn_profiler *p = b->profiler;
    const tn_profile_row *row[TN_PROFILE_ROWS];
    double all = tn_profile_steps(p), in_rows = tn_profile_accounted(p, TN_PHASE_COUNT);
    json_t *phases = json_object(), *rows = json_array();
    for (int f = 0; f < TN_PHASE_COUNT; f++)
        json_object_set_new(phases, tn_phase_name[f],
                            json_pack("{s:f,s:f}", "seconds", p->seconds[f], "in_operations",
                                      tn_profile_accounted(p, (tn_phase)f)));
    for (int i = 0, n = sorted_rows(p, row); i < n; i++)
        json_array_append_new(rows, row_json(row[i]));
    json_t *root =
        json_pack("{s:s,s:s,s:s,s:i,s:f,s:f,s:f,s:o,s:o}", "backend", b->name, "kernels",
                  b->kernels, "numeric_profile", b->profile, "threads", tn_pool_threads(b->pool),
                  "setup_seconds", p->seconds[TN_PHASE_SETUP], "step_seconds", all, "accounted",
                  share(in_rows, all), "phases", phases, "operations", rows);
    if (!root) return tn_fail(e, TN_NOMEM, "out of memory for the profile");
    tn_status st = tn_json_save(path, root, false, e);
    json_decref(root);
    return st;
}
