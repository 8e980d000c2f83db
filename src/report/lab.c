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

/* Rows of values.jsonl join the models of their name. */
static tn_status add_values(json_t *eval, const char *path, tn_err *e) {
    tn_lines *in = NULL;
    json_t *row = NULL, *all = json_object_get(eval, "models");
    tn_status st = tn_lines_open(&in, path, 1 << 20, e);
    while (st == TN_OK) {
        st = tn_jsonl_next(in, path, &row, e);
        if (st != TN_OK || !row) break;
        const char *name = json_string_value(json_object_get(row, "name"));
        json_t *to = name ? (json_t *)model(eval, name) : NULL;
        if (!name) st = tn_fail(e, TN_FORMAT, "%s, line %ld: no \"name\"; expected {\"name\": \"arm\", \"key\": number, ...}", path,
                                tn_lines_number(in));
        else if (!(to ? json_object_update(to, row) : json_array_append(all, row))) json_object_set_new(to ? to : row, "dir", json_string(""));
        else st = tn_fail(e, TN_NOMEM, "out of memory");
        json_decref(row);
    }
    tn_lines_close(in);
    return st;
}

static tn_status load(tn_lab *l, const char *dir, tn_err *e) {
    tn_str p = TN_STR_INIT, values = TN_STR_INIT;
    tn_path_join(&p, dir, "eval.json");
    tn_path_join(&values, dir, "values.jsonl");
    tn_status st = p.oom || values.oom ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
    bool own = st == TN_OK && tn_exists(values.s);
    json_t *j = NULL;
    if (st == TN_OK && own && !tn_exists(p.s)) j = json_pack("{s:[]}", "models");
    else if (st == TN_OK) st = tn_json_load(p.s, &j, e);
    if (st == TN_OK && !json_is_array(json_object_get(j, "models")))
        st = tn_fail(e, TN_FORMAT, "%s: no \"models\"; expected what `tenet eval` writes", p.s);
    if (st == TN_OK && own) st = add_values(j, values.s, e);
    if (st == TN_OK) l->eval[l->n_seed++] = j;
    else json_decref(j);
    tn_str_free(&p);
    tn_str_free(&values);
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

/* ---- columns ---- */

static const tn_lab_column known[] = {
    {"reward", "true reward", 3, 0},   {"reward_held", "unseen", 2, 0}, {"win", "win rate", 2, 0},
    {"proxy", "proxy score", 2, 0},    {"kl", "KL", 2, 0},              {"harmful", "harmful", 2, 0},
    {"leak", "leaks", 2, 0},           {"evades", "evades", 2, 0},      {"over_refusal", "over-refusal", 2, 0},
    {"helpful", "helpful", 2, 0},      {"syco", "sycophancy", 2, 0},    {"length", "length", 1, 0}};
static const char *const usual[] = {"reward", "reward_held", "proxy", "kl", "length"};
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

static const tn_lab_column *find_known(const char *key, size_t len) {
    for (int i = 0; i < COUNT(known); i++)
        if (strlen(known[i].key) == len && !strncmp(known[i].key, key, len)) return &known[i];
    return NULL;
}

/* Adds a column unless nobody has a value of it or it is there. */
static bool add_column(tn_lab *l, tn_lab_column c, bool chosen) {
    bool any = false;
    for (int a = 0; a < l->n_arm; a++) any = any || tn_lab_mean(l, a, c.key).n > 0;
    for (int i = 0; i < l->n_column; i++)
        if (!strcmp(l->column[i].key, c.key)) return any;
    c.chosen = chosen;
    if (any && l->n_column < TN_LAB_COLUMNS) l->column[l->n_column++] = c;
    return any;
}

/* KEY[:HEADING[:DIGITS]]; `s` is this lab's own and is cut at the colons. */
static tn_status choose_column(tn_lab *l, char *s, tn_err *e) {
    size_t len = strcspn(s, ":");
    const tn_lab_column *k = find_known(s, len);
    tn_lab_column c = {s, k ? k->head : s, k ? k->digits : 3, true};
    char *head = s[len] ? s + len + 1 : NULL, *digits = head ? strchr(head, ':') : NULL;
    s[len] = 0;
    if (digits) {
        *digits++ = 0;
        if (digits[0] < '0' || digits[0] > '9' || digits[1])
            return tn_fail(e, TN_ARG, "--columns %s:%s:%s: expected KEY[:HEADING[:DIGITS]] with 0 to 9 digits", s, head, digits);
        c.digits = *digits - '0';
    }
    if (head && *head) c.head = head;
    if (!add_column(l, c, true) && !k)
        return tn_fail(e, TN_ARG, "--columns %s: no arm has a number of that name in eval.json or values.jsonl", s);
    return TN_OK;
}

static tn_status find_columns(tn_lab *l, tn_err *e) {
    size_t room = 0;
    for (int i = 0; i < l->columns.n; i++) room += strlen(l->columns.v[i]) + 1;
    l->heads = tn_calloc(room + 1, 1);
    if (!l->heads) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0, at = 0; i < l->columns.n; i++) {
        char *s = l->heads + at;
        memcpy(s, l->columns.v[i], strlen(l->columns.v[i]) + 1);
        at += (int)strlen(s) + 1;
        TN_TRY(choose_column(l, s, e));
    }
    for (int i = 0; i < COUNT(usual); i++) add_column(l, *find_known(usual[i], strlen(usual[i])), l->columns.n == 0);
    for (int i = 0; i < COUNT(known); i++) add_column(l, known[i], false);
    const char *metric = l->metric ? l->metric : "reward";
    const tn_lab_column *k = find_known(metric, strlen(metric));
    bool any = add_column(l, k ? *k : (tn_lab_column){metric, metric, 3, true}, true);
    for (int i = 0; i < l->n_column; i++)
        if (!strcmp(l->column[i].key, metric)) l->main = &l->column[i];
    if (!any && l->metric)
        return tn_fail(e, TN_ARG, "--metric %s: no arm has a number of that name in eval.json or values.jsonl", l->metric);
    return TN_OK;
}

tn_status tn_lab_load(tn_lab *l, tn_opt_list dirs, tn_err *e) {
    if (dirs.n < 1 || dirs.n > TN_LAB_SEEDS)
        return tn_fail(e, TN_ARG, "--evals takes 1 to %d folders of `tenet eval`, one for each seed", TN_LAB_SEEDS);
    for (int i = 0; i < dirs.n; i++) TN_TRY(load(l, dirs.v[i], e));
    TN_TRY(find_arms(l, e));
    return find_columns(l, e);
}

void tn_lab_free(tn_lab *l) {
    for (int s = 0; s < l->n_seed; s++) json_decref(l->eval[s]);
    tn_free(l->arm);
    tn_free(l->heads);
}

static json_t *value_json(tn_lab_value v) {
    json_t *j = json_pack("{s:i}", "seeds", v.n);
    if (!isnan(v.mean)) json_object_set_new(j, "mean", json_real(v.mean));
    if (!isnan(v.lo)) json_object_set_new(j, "lo", json_real(v.lo)), json_object_set_new(j, "hi", json_real(v.hi));
    return j;
}

static json_t *arm_json(const tn_lab *l, int a) {
    json_t *j = json_pack("{s:s}", "name", l->arm[a]);
    for (int c = 0; c < l->n_column; c++) {
        const char *key = l->column[c].key;
        json_t *v = value_json(tn_lab_mean(l, a, key)), *seeds = json_array();
        for (int s = 0; s < l->n_seed; s++) {
            double x = tn_lab_get(l, s, a, key);
            json_array_append_new(seeds, tn_json_number(x));
        }
        json_object_set_new(v, "of_seeds", seeds);
        json_object_set_new(j, key, v);
    }
    return j;
}

json_t *tn_lab_json(const tn_lab *l) {
    json_t *arms = json_array();
    for (int a = 0; a < l->n_arm; a++) json_array_append_new(arms, arm_json(l, a));
    return json_pack("{s:s,s:i,s:o}", "title", l->title ? l->title : "", "seeds", l->n_seed, "arms", arms);
}
