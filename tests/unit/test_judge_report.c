/* The report on judges, from labels whose every number is known. */
#include "base/mathx.h"
#include "eval/judge_report.h"
#include "test.h"
#include <math.h>

static double num(const json_t *o, const char *a, const char *b) {
    const json_t *v = json_object_get(o, a);
    if (b) v = json_object_get(v, b);
    CHECK_MSG(json_is_number(v), "no number %s.%s", a, b ? b : "");
    return json_number_value(v);
}
static bool none(const json_t *o, const char *key) { return json_is_null(json_object_get(o, key)); }

/* Rows of lengths (1, 3), (4, 2), (2, 5), (3, 3), (1, 2); the truth of the first four is 1, 1, 2, 2. */
static json_t *row(const char *a, const char *b, int human) {
    json_t *r = json_pack("{s:s,s:[s,s]}", "prompt", "q", "responses", a, b);
    if (human) json_object_set_new(r, "human", json_integer(human));
    return r;
}
static tn_label label(int i, double p1, double p2) { return (tn_label){.row = i, .weight = 1, .p1 = p1, .p2 = p2, .p = 0.5 * (p1 + 1 - p2)}; }

TEST(judge_report) {
    json_t *rows[] = {row("x", "xxx", 1), row("xxxx", "xx", 1), row("xx", "xxxxx", 2), row("xxx", "yyy", 2), row("x", "xx", 0)}, *r = NULL;
    /* a: right but for the last; consistent but in the second. b: always 0.9 for the longer; none on the fourth and one order of the fifth */
    tn_label a[] = {label(0, 0.9, 0.3), label(1, 0.8, 0.6), label(2, 0.2, 0.6), label(3, 0.7, 0.1), label(4, 0.5, 0.5)};
    tn_label b[] = {label(0, 0.1, 0.9), label(1, 0.9, 0.1), label(2, 0.1, 0.9), label(3, NAN, NAN), label(4, 0.1, NAN)};
    double pa[5], pb[5], both[5];
    for (int i = 0; i < 5; i++) pa[i] = a[i].p, pb[i] = b[i].p, both[i] = isnan(pb[i]) ? pa[i] : 0.5 * (pa[i] + pb[i]);
    tn_judged j[] = {{"a", 1, a, 5, pa}, {"b", 1, b, 5, pb}}, all = {.name = "ensemble", .weight = 1, .p = both};
    CHECK_OK(tn_judge_report(j, 2, &all, rows, 5, &r, e));
    const json_t *ja = json_array_get(json_object_get(r, "judges"), 0), *jb = json_array_get(json_object_get(r, "judges"), 1);
    CHECK(num(r, "pairs", NULL) == 5 && num(ja, "pairs", NULL) == 5 && num(jb, "pairs", NULL) == 3);
    CHECK(num(ja, "failed", NULL) == 0 && num(jb, "failed", NULL) == 3);
    CHECK_NEAR(num(jb, "failure_rate", NULL), 0.3, 1e-12, 0);
    CHECK_NEAR(num(ja, "consistency", "rate"), 4.0 / 5, 1e-12, 0); /* the tie is one in both orders */
    CHECK(num(ja, "consistency", "n") == 5 && num(ja, "consistency", "low") < 0.4 && num(ja, "consistency", "high") > 0.95);
    CHECK_NEAR(num(ja, "first_position_rate", NULL), (1 + 0 + 1 + 1 + 0 + 1 + 1 + 0 + 0.5 + 0.5) / 10, 1e-12, 0);
    CHECK_NEAR(num(ja, "position_bias", NULL), ((0.6 + 0.7 + 0.4 + 0.4 + 0.5) / 5) - 0.5, 1e-9, 0);
    CHECK_NEAR(num(ja, "longer_wins", "rate"), 2.0 / 3, 1e-12, 0); /* of the three that differ and that it decides */
    CHECK(num(ja, "longer_wins", "n") == 3 && num(jb, "longer_wins", "rate") == 1);
    CHECK_NEAR(num(ja, "mean_margin", NULL), (0.3 + 0.1 + 0.2 + 0.3 + 0) / 5, 1e-9, 0);
    CHECK(num(jb, "length_correlation", NULL) > 0.95 && fabs(num(ja, "length_correlation", NULL)) < 0.6);
    /* a against the truth: margins of 0.8, 0.6, 0.3, 0.8: three right, one wrong */
    const json_t *h = json_object_get(ja, "human");
    CHECK_NEAR(num(h, "accuracy", "rate"), 0.75, 1e-12, 0);
    double ll = -(tn_log(0.8) + tn_log(0.6) + tn_log(0.7) + tn_log(0.2)) / 4;
    CHECK_NEAR(num(h, "log_loss", NULL), ll, 1e-9, 0);
    CHECK_NEAR(num(h, "brier", NULL), (0.04 + 0.16 + 0.09 + 0.64) / 4, 1e-9, 0);
    CHECK(num(h, "temperature", NULL) > 1 && num(h, "log_loss_at_temperature", NULL) < ll && num(h, "ece", NULL) > 0);
    /* b, right in one and wrong in none but one: 0.9 three times */
    CHECK_NEAR(num(json_object_get(jb, "human"), "accuracy", "rate"), 2.0 / 3, 1e-12, 0);
    CHECK(!json_object_get(ja, "truth") && !json_object_get(json_object_get(r, "ensemble"), "consistency"));
    const json_t *g = json_array_get(json_object_get(r, "agreement"), 0);
    CHECK(num(g, "agreement", "n") == 3 && fabs(num(g, "agreement", "rate") - 2.0 / 3) < 1e-12 && json_array_size(json_object_get(r, "agreement")) == 1);
    json_decref(r);
    /* nothing is known of it: nulls, and no table that falls over them */
    double nothing[] = {NAN, NAN, NAN, NAN, NAN};
    tn_judged mute = {"mute", 1, NULL, 0, nothing};
    CHECK_OK(tn_judge_report(&mute, 1, NULL, rows, 5, &r, e));
    ja = json_array_get(json_object_get(r, "judges"), 0);
    CHECK(none(ja, "length_correlation") && none(ja, "longer_wins") && none(ja, "mean_margin") && !json_object_get(ja, "human"));
    json_decref(r);
    for (int i = 0; i < 5; i++) json_decref(rows[i]);
}
