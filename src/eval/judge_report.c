#include "eval/judge_report.h"
#include "algo/reward.h"
#include "base/mathx.h"
#include "oversight/rows.h"
#include "world/stat.h"
#include <math.h>
#include <string.h>

static const char *const better_key[] = {"human", "truth"};

typedef struct desk {
    json_t *const *row;
    int rows;
    double *x, *y;   /* scratch [rows or labels] */
    int *right;
    bool *a, *b;
} desk;

static json_t *number(double x) { return isfinite(x) ? json_real(x) : json_null(); }
static json_t *rate_json(int k, int n) {
    tn_stat_rate r = tn_stat_wilson(k, n, tn_stat_z95);
    return n ? json_pack("{s:i,s:f,s:f,s:f}", "n", n, "rate", r.rate, "low", r.lo, "high", r.hi) : json_null();
}

/* logit p, kept finite where p is 0 or 1 in double precision */
static double margin_of(double p) {
    double m = tn_logit(p);
    return m > 36 ? 36 : m < -36 ? -36 : m;
}

/* ---- positions ---- */

static void put_orders(desk *r, const tn_judged *j, json_t *out) {
    int n = 0, failed = 0;
    for (int i = 0; i < j->n_label; i++) {
        const tn_label *l = &j->label[i];
        failed += isnan(l->p1) + isnan(l->p2);
        if (!isnan(l->p1) && !isnan(l->p2)) r->x[n] = l->p1, r->y[n++] = l->p2;
    }
    tn_judge_orders o = tn_judge_orders_of(r->x, r->y, n);
    json_object_set_new(out, "orders", json_integer(2 * j->n_label));
    json_object_set_new(out, "failed", json_integer(failed));
    json_object_set_new(out, "failure_rate", number(j->n_label ? 0.5 * failed / j->n_label : NAN));
    json_object_set_new(out, "consistency", rate_json((int)(o.consistency * n + 0.5), n));
    json_object_set_new(out, "first_position_rate", number(n ? o.first : NAN));
    json_object_set_new(out, "position_bias", number(n ? o.bias : NAN));
}

/* ---- lengths ---- */

static void put_lengths(desk *r, const tn_judged *j, json_t *out) {
    int n = 0, longer = 0, differ = 0;
    double margin = 0;
    for (int i = 0; i < r->rows; i++) {
        const json_t *list = json_object_get(r->row[i], "responses");
        const char *a = tn_answer_text(json_array_get(list, 0)), *b = tn_answer_text(json_array_get(list, 1));
        if (isnan(j->p[i])) continue;
        double d = (double)strlen(a) - (double)strlen(b);
        r->x[n] = d, r->y[n++] = j->p[i];
        margin += fabs(j->p[i] - 0.5);
        if (d == 0 || j->p[i] == 0.5) continue;
        differ++, longer += (d > 0) == (j->p[i] > 0.5);
    }
    json_object_set_new(out, "pairs", json_integer(n));
    json_object_set_new(out, "mean_margin", number(n ? margin / n : NAN));
    json_object_set_new(out, "length_correlation", number(n ? tn_pearson(r->x, r->y, n) : NAN));
    json_object_set_new(out, "longer_wins", rate_json(longer, differ));
}

/* ---- against those who know better ---- */

static tn_status ece_of(desk *r, const double *margin, const bool *first, int n, double T, double *confidence, double *ece, double *brier, tn_err *e) {
    double edges[11];
    for (int b = 0; b <= 10; b++) edges[b] = 0.5 + 0.05 * b;
    for (int i = 0; i < n; i++) {
        double p = T > 0 ? tn_sigmoid(fabs(margin[i]) / T) : margin[i] ? 1 : 0.5;
        confidence[i] = p < 0.5 ? 0.5 : p; /* rounding */
        r->right[i] = (margin[i] >= 0) == first[i];
    }
    edges[10] = 1;
    return tn_calibration(confidence, r->right, n, edges, 10, ece, brier, e);
}

static tn_status put_better(desk *r, const tn_judged *j, const char *key, json_t *out, tn_err *e) {
    int n = 0, right = 0;
    double T, nll_1, nll, ece, brier, ece_T, brier_T;
    for (int i = 0; i < r->rows; i++) {
        json_int_t better = json_integer_value(json_object_get(r->row[i], key));
        if ((better != 1 && better != 2) || isnan(j->p[i])) continue;
        r->x[n] = margin_of(j->p[i]), r->a[n] = better == 1;
        right += (j->p[i] >= 0.5) == (better == 1);
        n++;
    }
    if (n == 0) return TN_OK;
    TN_TRY(tn_judge_temperature(r->x, r->a, n, &T, &nll_1, &nll, e));
    TN_TRY(ece_of(r, r->x, r->a, n, 1, r->y, &ece, &brier, e));
    TN_TRY(ece_of(r, r->x, r->a, n, T, r->y, &ece_T, &brier_T, e));
    json_t *b = json_pack("{s:o,s:f,s:f,s:f,s:o,s:f,s:f}", "accuracy", rate_json(right, n), "log_loss", nll_1, "brier", brier, "ece", ece,
                          "temperature", number(T), "log_loss_at_temperature", nll, "ece_at_temperature", ece_T);
    return json_object_set_new(out, key, b) == 0 ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static tn_status judge_json(desk *r, const tn_judged *j, json_t **out, tn_err *e) {
    *out = json_pack("{s:s,s:f}", "judge", j->name, "weight", j->weight);
    if (!*out) return tn_fail(e, TN_NOMEM, "out of memory");
    put_lengths(r, j, *out);
    if (j->label) put_orders(r, j, *out);
    for (int k = 0; k < 2; k++) TN_TRY(put_better(r, j, better_key[k], *out, e));
    return TN_OK;
}

static json_t *agreement_json(desk *r, const tn_judged *a, const tn_judged *b) {
    int n = 0;
    double same = 0;
    for (int i = 0; i < r->rows; i++)
        if (!isnan(a->p[i]) && !isnan(b->p[i])) r->a[n] = a->p[i] >= 0.5, r->b[n++] = b->p[i] >= 0.5;
    double kappa = n ? tn_cohen_kappa(r->a, r->b, n, &same) : NAN;
    return json_pack("{s:[s,s],s:o,s:o}", "judges", a->name, b->name, "agreement", rate_json((int)(same * n + 0.5), n), "kappa", number(kappa));
}

static tn_status fill(desk *r, const tn_judged *j, int n, const tn_judged *all, json_t *out, tn_err *e) {
    json_t *list = json_object_get(out, "judges"), *pairs = json_object_get(out, "agreement"), *o = NULL;
    for (int i = 0; i < n; i++) {
        tn_status st = judge_json(r, &j[i], &o, e);
        if (json_array_append_new(list, o) < 0 && st == TN_OK) st = tn_fail(e, TN_NOMEM, "out of memory");
        TN_TRY(st);
        for (int k = 0; k < i; k++) json_array_append_new(pairs, agreement_json(r, &j[k], &j[i]));
    }
    if (!all) return TN_OK;
    tn_status st = judge_json(r, all, &o, e);
    if (json_object_set_new(out, "ensemble", o) < 0 && st == TN_OK) st = tn_fail(e, TN_NOMEM, "out of memory");
    return st;
}

tn_status tn_judge_report(const tn_judged *j, int n, const tn_judged *all, json_t *const *row, int rows, json_t **out, tn_err *e) {
    size_t most = (size_t)rows + 1;
    for (int i = 0; i < n; i++)
        if ((size_t)j[i].n_label > most) most = (size_t)j[i].n_label;
    desk r = {row, rows, tn_calloc(most, sizeof *r.x), tn_calloc(most, sizeof *r.y), tn_calloc(most, sizeof *r.right), tn_calloc(most, 1),
                tn_calloc(most, 1)};
    *out = json_pack("{s:i,s:[],s:[]}", "pairs", rows, "judges", "agreement");
    tn_status st = r.x && r.y && r.right && r.a && r.b && *out ? fill(&r, j, n, all, *out, e) : tn_fail(e, TN_NOMEM, "out of memory");
    if (st == TN_OK) st = tn_json_check("a report of judges", e);
    tn_free(r.x), tn_free(r.y), tn_free(r.right), tn_free(r.a), tn_free(r.b);
    if (st != TN_OK) json_decref(*out), *out = NULL;
    return st;
}

/* ---- the table ---- */

/* A cell: a number, a rate's, or a dash. */
static void cell(const json_t *o, const char *key, FILE *f) {
    const json_t *v = json_object_get(o, key);
    if (json_is_object(v)) v = json_object_get(v, "rate");
    if (json_is_number(v)) fprintf(f, "  %8.3f", json_number_value(v));
    else fprintf(f, "  %8s", "-");
}

static void line(const json_t *j, const char *name, bool better, FILE *f) {
    static const char *const keys[] = {"consistency", "first_position_rate", "length_correlation", "longer_wins", "failure_rate", "mean_margin"};
    static const char *const known[] = {"accuracy", "log_loss", "ece", "temperature"};
    size_t n = strlen(name);
    fprintf(f, "%-28s %6d", n > 28 ? name + n - 28 : name, (int)json_integer_value(json_object_get(j, "pairs")));
    for (int k = 0; k < 6; k++) cell(j, keys[k], f);
    const json_t *b = json_object_get(j, better_key[0]);
    if (!b) b = json_object_get(j, better_key[1]);
    for (int k = 0; k < 4 && better; k++) cell(b, known[k], f);
    fputc('\n', f);
}

void tn_judge_report_print(const json_t *report, FILE *f) {
    const json_t *list = json_object_get(report, "judges"), *all = json_object_get(report, "ensemble"), *first = json_array_get(list, 0);
    bool better = json_object_get(first, better_key[0]) || json_object_get(first, better_key[1]);
    size_t i;
    json_t *x;
    fprintf(f, "%-28s %6s  %8s  %8s  %8s  %8s  %8s  %8s", "judge", "pairs", "consist.", "first", "len.corr", "longer", "failed", "|p-1/2|");
    fprintf(f, better ? "  %8s  %8s  %8s  %8s\n" : "\n", "accuracy", "log loss", "ECE", "temp.");
    json_array_foreach((json_t *)list, i, x) line(x, json_string_value(json_object_get(x, "judge")), better, f);
    if (all) line(all, "all, weighted", better, f);
    json_array_foreach(json_object_get(report, "agreement"), i, x) {
        const json_t *names = json_object_get(x, "judges"), *r = json_object_get(x, "agreement");
        fprintf(f, "%s and %s agree in %.3f of %d", json_string_value(json_array_get(names, 0)), json_string_value(json_array_get(names, 1)),
                json_number_value(json_object_get(r, "rate")), (int)json_integer_value(json_object_get(r, "n")));
        if (json_is_number(json_object_get(x, "kappa"))) fprintf(f, " (kappa %.3f)", json_number_value(json_object_get(x, "kappa")));
        fputc('\n', f);
    }
}
