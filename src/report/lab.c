#include "report/lab.h"
#include "base/mem.h"
#include "base/os.h"
#include <math.h>
#include <string.h>

/* Two-sided 95 % quantiles of Student's t, by degrees of freedom from 1; beyond: the last, a little too wide. */
static const double t95[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131};
#define N_T ((int)(sizeof t95 / sizeof *t95))

tn_lab_value tn_lab_interval(const double *x, int n) {
    tn_lab_value v = {0, NAN, NAN, 0};
    double sq = 0;
    for (int i = 0; i < n; i++)
        if (!isnan(x[i])) v.mean += x[i], v.n++;
    v.mean = v.n ? v.mean / v.n : NAN;
    if (v.n < 2) return v;
    for (int i = 0; i < n; i++)
        if (!isnan(x[i])) sq += (x[i] - v.mean) * (x[i] - v.mean);
    double t = t95[(v.n - 1 < N_T ? v.n - 1 : N_T) - 1], half = t * sqrt(sq / (v.n - 1) / v.n);
    v.lo = v.mean - half, v.hi = v.mean + half;
    return v;
}

/* ---- what the evaluations hold ---- */

static const json_t *model(const json_t *eval, const char *name) {
    size_t i;
    const json_t *m, *all = json_object_get(eval, "models");
    json_array_foreach((json_t *)all, i, m) {
        const char *s = json_string_value(json_object_get(m, "name"));
        if (s && !strcmp(s, name)) return m;
    }
    return NULL;
}

static tn_status load(tn_lab *l, const char *dir, tn_err *e) {
    tn_str p = TN_STR_INIT;
    tn_path_join(&p, dir, "eval.json");
    tn_status st = p.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_json_load(p.s, &l->eval[l->n_seed], e);
    if (st == TN_OK) l->n_seed++;
    if (st == TN_OK && !json_is_array(json_object_get(l->eval[l->n_seed - 1], "models")))
        st = tn_fail(e, TN_FORMAT, "%s: no \"models\"; expected what `tenet eval` writes", p.s);
    tn_str_free(&p);
    return st;
}

/* Arms are what all seeds have. */
static tn_status find_arms(tn_lab *l, tn_err *e) {
    const json_t *all = json_object_get(l->eval[0], "models"), *m;
    size_t i;
    l->arm = tn_calloc(json_array_size(all) + 1, sizeof *l->arm);
    if (!l->arm) return tn_fail(e, TN_NOMEM, "out of memory");
    json_array_foreach((json_t *)all, i, m) {
        const char *name = json_string_value(json_object_get(m, "name"));
        int seeds = 0;
        if (!name || !json_is_string(json_object_get(m, "dir"))) continue;
        for (int s = 0; s < l->n_seed; s++) seeds += model(l->eval[s], name) != NULL;
        if (seeds == l->n_seed) l->arm[l->n_arm++] = name;
    }
    if (!l->n_arm) return tn_fail(e, TN_FORMAT, "the evaluations have no model in common; give every seed's the same names");
    bool found = !l->against;
    for (int a = 0; a < l->n_arm; a++) found = found || !strcmp(l->arm[a], l->against);
    if (!found) return tn_fail(e, TN_ARG, "--against %s: not every evaluation has a model of that name", l->against);
    return TN_OK;
}

tn_status tn_lab_load(tn_lab *l, tn_opt_list dirs, tn_err *e) {
    if (dirs.n < 1 || dirs.n > TN_LAB_SEEDS)
        return tn_fail(e, TN_ARG, "--evals takes 1 to %d folders of `tenet eval`, one for each seed", TN_LAB_SEEDS);
    for (int i = 0; i < dirs.n; i++) TN_TRY(load(l, dirs.v[i], e));
    return find_arms(l, e);
}

void tn_lab_free(tn_lab *l) {
    for (int s = 0; s < l->n_seed; s++) json_decref(l->eval[s]);
    tn_free(l->arm);
}

double tn_lab_get(const tn_lab *l, int seed, int arm, const char *key) {
    const json_t *m = model(l->eval[seed], l->arm[arm]);
    tn_report_value v;
    if (tn_report_get(m, key, &v)) return v.v;
    return json_is_number(json_object_get(m, key)) ? tn_report_real(m, key) : NAN;
}

tn_lab_value tn_lab_mean(const tn_lab *l, int arm, const char *key) {
    double x[TN_LAB_SEEDS];
    for (int s = 0; s < l->n_seed; s++) x[s] = tn_lab_get(l, s, arm, key);
    return tn_lab_interval(x, l->n_seed);
}

tn_lab_value tn_lab_difference(const tn_lab *l, int arm, int from, const char *key) {
    double x[TN_LAB_SEEDS];
    for (int s = 0; s < l->n_seed; s++) x[s] = tn_lab_get(l, s, arm, key) - tn_lab_get(l, s, from, key);
    return tn_lab_interval(x, l->n_seed);
}

static json_t *value_json(tn_lab_value v) {
    json_t *j = json_pack("{s:i}", "seeds", v.n);
    if (!isnan(v.mean)) json_object_set_new(j, "mean", json_real(v.mean));
    if (!isnan(v.lo)) json_object_set_new(j, "lo", json_real(v.lo)), json_object_set_new(j, "hi", json_real(v.hi));
    return j;
}

json_t *tn_lab_json(const tn_lab *l) {
    json_t *arms = json_array();
    for (int a = 0; a < l->n_arm; a++) {
        json_t *seeds = json_array();
        for (int s = 0; s < l->n_seed; s++) {
            double x = tn_lab_get(l, s, a, "reward");
            json_array_append_new(seeds, isnan(x) ? json_null() : json_real(x));
        }
        json_array_append_new(arms, json_pack("{s:s,s:o,s:o,s:o,s:o}", "name", l->arm[a], "reward", value_json(tn_lab_mean(l, a, "reward")),
                                              "reward_of_seeds", seeds, "kl", value_json(tn_lab_mean(l, a, "kl")), "length",
                                              value_json(tn_lab_mean(l, a, "length"))));
    }
    return json_pack("{s:s,s:i,s:o}", "title", l->title ? l->title : "", "seeds", l->n_seed, "arms", arms);
}
