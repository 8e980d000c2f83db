#include "eval/bon_run.h"
#include "base/json.h"
#include "base/mem.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_distance(const void *a, const void *b) {
    const tn_bon_step *x = a, *y = b;
    return (x->d > y->d) - (x->d < y->d);
}

static tn_status read_rows(tn_bon_run *r, const char *path, tn_err *e) {
    tn_lines *in;
    size_t cap = 0;
    TN_TRY(tn_lines_open(&in, path, (size_t)1 << 20, e));
    tn_status st = TN_OK;
    for (json_t *row; st == TN_OK;) {
        char where[600];
        double kl = NAN;
        st = tn_jsonl_next(in, path, &row, e);
        if (st != TN_OK || !row) break;
        if (!TN_GROW(r->step, cap, (size_t)r->n + 1)) st = tn_fail(e, TN_NOMEM, "out of memory for the rows of %s", path);
        tn_bon_step *s = st == TN_OK ? &r->step[r->n++] : NULL;
        snprintf(where, sizeof where, "%.500s:%ld", path, tn_lines_number(in));
        if (st == TN_OK) st = tn_json_real(row, "kl", NAN, &kl, where, e);
        if (st == TN_OK) st = tn_json_real(row, "true_reward", NAN, &s->gain, where, e);
        if (st == TN_OK) st = tn_json_real(row, "proxy", NAN, &s->proxy, where, e);
        json_decref(row);
        if (st == TN_OK && (!isfinite(kl) || !isfinite(s->gain)))
            st = tn_fail(e, TN_FORMAT, "%s: expected \"true_reward\" and \"kl\" (`tenet eval --curve` with --ref-model writes both)", where);
        if (st == TN_OK) s->d = sqrt(kl > 0 ? kl : 0);
    }
    tn_lines_close(in);
    return st;
}

static tn_status fit(tn_bon_run *r, tn_err *e) {
    size_t n = (size_t)r->n;
    double *d = tn_calloc(2 * n + 1, sizeof *d), *gain = d ? d + n : NULL;
    if (!d) return tn_fail(e, TN_NOMEM, "out of memory for %d checkpoints", r->n);
    for (size_t i = 0; i < n; i++) d[i] = r->step[i].d, gain[i] = r->step[i].gain;
    tn_status st = tn_overopt_fit(TN_OVEROPT_RL, d, gain, r->n, TN_BON_LEAST_D, &r->fit, e);
    tn_free(d);
    return st;
}

tn_status tn_bon_run_read(tn_bon_run *r, const char *spec, tn_err *e) {
    const char *eq = strchr(spec, '=');
    *r = (tn_bon_run){0};
    if (eq) snprintf(r->name, sizeof r->name, "%.*s", (int)(eq - spec < 63 ? eq - spec : 63), spec);
    else snprintf(r->name, sizeof r->name, "reinforcement learning");
    TN_TRY(read_rows(r, eq ? eq + 1 : spec, e));
    if (r->n) qsort(r->step, (size_t)r->n, sizeof *r->step, by_distance);
    double zero = r->n ? r->step[0].gain : 0; /* R(0) = 0 */
    for (int i = 0; i < r->n; i++) r->step[i].gain -= zero;
    return fit(r, e);
}

void tn_bon_run_free(tn_bon_run *r) {
    tn_free(r->step);
    *r = (tn_bon_run){0};
}
