/* Inputs of a report: eval.json, samples.jsonl, and the folders of runs. */
#include "report/report.h"
#include <math.h>
#include <string.h>

#define MAX_LINE ((size_t)1 << 26)
#define TOO_LARGE 1e15 /* larger figures are not drawn */

double tn_report_real(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    double x = json_is_number(v) ? json_number_value(v) : NAN;
    return fabs(x) < TOO_LARGE ? x : NAN;
}

bool tn_report_get(const json_t *model, const char *key, tn_report_value *v) {
    const json_t *o = json_object_get(model, key);
    bool rate = json_object_get(o, "rate") != NULL;
    *v = (tn_report_value){tn_report_real(o, rate ? "rate" : "mean"), tn_report_real(o, "lo"),
                           tn_report_real(o, "hi"), 0, -1};
    double n = tn_report_real(o, "n"), k = tn_report_real(o, "k");
    v->n = n >= 0 && n < 2e9 ? (int)n : 0;
    if (rate && k >= 0 && k < 2e9) v->k = (int)k;
    if (isfinite(v->v) && v->n > 0) return true;
    v->v = v->lo = v->hi = NAN;
    return false;
}

/* All rows of a JSONL file; *rows = NULL when there is no such file. */
static tn_status load_rows(const char *dir, const char *file, json_t **rows, tn_err *e) {
    tn_str p = TN_STR_INIT;
    tn_lines *l = NULL;
    tn_path_join(&p, dir, file);
    *rows = NULL;
    tn_status st = p.oom ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
    if (st == TN_OK && tn_exists(p.s)) {
        *rows = json_array();
        st = *rows ? tn_lines_open(&l, p.s, MAX_LINE, e) : tn_fail(e, TN_NOMEM, "out of memory");
        for (json_t *row = NULL; st == TN_OK;) {
            st = tn_jsonl_next(l, p.s, &row, e);
            if (st != TN_OK || !row) break;
            if (json_array_append_new(*rows, row)) st = tn_fail(e, TN_NOMEM, "out of memory");
        }
        tn_lines_close(l);
    }
    tn_str_free(&p);
    return st;
}

static tn_status load_object(const char *dir, const char *file, bool needed, json_t **o,
                             tn_err *e) {
    tn_str p = TN_STR_INIT;
    tn_path_join(&p, dir, file);
    tn_status st = p.oom ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
    *o = NULL;
    if (st == TN_OK && (needed || tn_exists(p.s))) st = tn_json_load(p.s, o, e);
    if (st == TN_OK && *o && !json_is_object(*o))
        st = tn_fail(e, TN_FORMAT, "%s: expected an object, found something else", p.s);
    tn_str_free(&p);
    return st;
}

/* ---------------- evaluation ---------------- */

static int family_of(tn_report *r, const char *name) {
    if (!name) name = "";
    for (int i = 0; i < r->n_families; i++)
        if (!strcmp(r->families[i], name)) return i;
    if (r->n_families == 64) return 63;
    r->families[r->n_families] = name;
    return r->n_families++;
}

static tn_status load_samples(tn_report *r, tn_err *e) {
    TN_TRY(load_rows(r->eval_dir, "samples.jsonl", &r->samples, e));
    size_t n = json_array_size(r->samples);
    if (n == 0 || n > 100000000) return TN_OK;
    r->n_samples = (int)n;
    r->family = tn_calloc(n, sizeof *r->family);
    if (!r->family) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int k = 0; k < r->n_models; k++) {
        r->model[k].reward = tn_calloc(n, sizeof(double));
        if (!r->model[k].reward) return tn_fail(e, TN_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(r->samples, i), *answers;
        answers = json_object_get(row, "answers");
        if (!json_is_object(answers))
            return tn_fail(e, TN_FORMAT, "%s/samples.jsonl: row %zu has no object \"answers\"",
                           r->eval_dir, i + 1);
        r->family[i] = family_of(r, json_string_value(json_object_get(row, "family")));
        for (int k = 0; k < r->n_models; k++) {
            const json_t *a = json_object_get(answers, r->model[k].name);
            r->model[k].reward[i] = tn_report_real(a, r->world ? "reward" : "proxy");
        }
    }
    return TN_OK;
}

static tn_status load_eval(tn_report *r, tn_err *e) {
    json_t *models;
    char where[1200];
    const char *against;
    snprintf(where, sizeof where, "%.1000s/eval.json", r->eval_dir);
    TN_TRY(load_object(r->eval_dir, "eval.json", true, &r->eval, e));
    TN_TRY(tn_json_need(r->eval, "models", JSON_ARRAY, &models, where, e));
    TN_TRY(tn_json_bool(r->eval, "world", false, &r->world, where, e));
    TN_TRY(tn_json_str(r->eval, "against", "", &against, where, e));
    size_t n = json_array_size(models);
    if (n == 0 || n > 256)
        return tn_fail(e, TN_FORMAT, "%s: %zu models; a report shows 1 to 256", where, n);
    r->model = tn_calloc(n, sizeof *r->model);
    if (!r->model) return tn_fail(e, TN_NOMEM, "out of memory");
    int colour = 0;
    for (size_t i = 0; i < n; i++) {
        tn_report_model *m = &r->model[i];
        m->j = json_array_get(models, i);
        if (!json_is_object(m->j))
            return tn_fail(e, TN_FORMAT, "%s: models[%zu] is not an object", where, i);
        TN_TRY(tn_json_need_str(m->j, "name", &m->name, where, e));
        m->policy = !json_is_string(json_object_get(m->j, "dir"));
        m->colour = m->policy ? -1 : colour++ % 8;
        if (!strcmp(m->name, against)) r->against = (int)i;
        r->n_models++;
    }
    return load_samples(r, e);
}

/* ---------------- runs ---------------- */

static void name_run(tn_report_run *u, const char *s) {
    const char *eq = strchr(s, '=');
    snprintf(u->dir, sizeof u->dir, "%s", eq ? eq + 1 : s);
    size_t n = strlen(u->dir);
    while (n > 1 && u->dir[n - 1] == '/') u->dir[--n] = 0;
    const char *slash = strrchr(u->dir, '/');
    if (eq) snprintf(u->name, sizeof u->name, "%.*s", (int)(eq - s), s);
    else snprintf(u->name, sizeof u->name, "%s", slash ? slash + 1 : u->dir);
}

static double last_of(const json_t *rows, const char *key) {
    for (size_t i = json_array_size(rows); i-- > 0;) {
        double v = tn_report_real(json_array_get(rows, i), key);
        if (isfinite(v)) return v;
    }
    return NAN;
}

static tn_status load_run(tn_report_run *u, tn_err *e) {
    json_t *timing = NULL;
    if (!tn_is_dir(u->dir))
        return tn_fail(e, TN_ARG,
                       "--runs %s=%s: no such folder; give the --output-dir of a training run",
                       u->name, u->dir);
    TN_TRY(load_object(u->dir, "tenet.json", false, &u->info, e));
    TN_TRY(load_rows(u->dir, "metrics.jsonl", &u->metrics, e));
    TN_TRY(load_rows(u->dir, "true_reward.jsonl", &u->truth, e));
    TN_TRY(load_rows(u->dir, "samples.jsonl", &u->samples, e));
    TN_TRY(load_rows(u->dir, "alarms.jsonl", &u->alarms, e));
    tn_status st = load_rows(u->dir, "timing.jsonl", &timing, e);
    const char *verb = json_string_value(json_object_get(u->info, "verb"));
    u->verb = verb ? verb : "";
    u->steps = last_of(u->metrics, "step");
    u->tokens = last_of(u->metrics, "num_tokens");
    u->seconds = last_of(timing, "seconds");
    u->peak = last_of(timing, "peak_memory_bytes");
    json_decref(timing);
    return st;
}

/* A run has the colour of the model of its name; the others follow on. */
static void colour_runs(tn_report *r) {
    int next = 0;
    for (int k = 0; k < r->n_models; k++) next += !r->model[k].policy;
    for (int i = 0; i < r->n_runs; i++) {
        int c = -1;
        for (int k = 0; k < r->n_models && c < 0; k++)
            if (!strcmp(r->model[k].name, r->run[i].name)) c = r->model[k].colour;
        r->run[i].colour = c >= 0 ? c : next++ % 8;
    }
}

tn_status tn_report_load(tn_report *r, const char *eval_dir, tn_opt_list runs, tn_err *e) {
    r->against = -1;
    r->eval_dir = eval_dir;
    if (!eval_dir && runs.n == 0)
        return tn_fail(e, TN_ARG, "nothing to report; give --eval DIR (of tenet eval), "
                                  "--runs NAME=DIR (of training), or both");
    if (eval_dir) TN_TRY(load_eval(r, e));
    r->run = tn_calloc((size_t)runs.n, sizeof *r->run);
    if (!r->run) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i < runs.n; i++, r->n_runs++) {
        name_run(&r->run[i], runs.v[i]);
        tn_status st = load_run(&r->run[i], e);
        if (st != TN_OK) {
            r->n_runs++;
            return st;
        }
    }
    colour_runs(r);
    return TN_OK;
}

void tn_report_free(tn_report *r) {
    for (int k = 0; k < r->n_models; k++) tn_free(r->model[k].reward);
    for (int i = 0; i < r->n_runs; i++) {
        json_decref(r->run[i].info);
        json_decref(r->run[i].metrics);
        json_decref(r->run[i].truth);
        json_decref(r->run[i].samples);
        json_decref(r->run[i].alarms);
    }
    tn_free(r->model);
    tn_free(r->run);
    tn_free(r->family);
    json_decref(r->samples);
    json_decref(r->eval);
    memset(r, 0, sizeof *r);
}
