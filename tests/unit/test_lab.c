/* Experiments over seeds: intervals, arms that all seeds have, what is refused. */
#include "base/os.h"
#include "report/lab.h"
#include "test.h"
#include <math.h>

TEST(lab_intervals) {
    const double x[] = {1, NAN, 3, 2, NAN};
    tn_lab_value v = tn_lab_interval(x, 5);
    CHECK(v.n == 3 && v.mean == 2);
    CHECK_NEAR(v.hi - 2, 4.303 / sqrt(3.0), 1e-12, 0); /* s = 1 */
    CHECK_NEAR(2 - v.lo, v.hi - 2, 1e-12, 0);
    v = tn_lab_interval(x, 1);
    CHECK(v.n == 1 && v.mean == 1 && isnan(v.lo) && isnan(v.hi));
    v = tn_lab_interval(x + 1, 1);
    CHECK(v.n == 0 && isnan(v.mean));
    double many[40];
    for (int i = 0; i < 40; i++) many[i] = i % 2;
    v = tn_lab_interval(many, 40);
    CHECK_NEAR(v.hi - 0.5, 2.131 * sqrt(40 * 0.25 / 39 / 40), 1e-12, 0);
}

/* DIR/eval.json with a model of each name and reward. */
static const char *evaluation(const char *name, const char *text) {
    static char dir[4][512];
    static int k;
    tn_str p = TN_STR_INIT;
    snprintf(dir[k %= 4], sizeof *dir, "%s/%s", tn_test_dir(), name);
    CHECK_OK(tn_mkdirs(dir[k], e));
    tn_path_join(&p, dir[k], "eval.json");
    CHECK_OK(tn_write_file(p.s, text, strlen(text), e));
    tn_str_free(&p);
    return dir[k++];
}

#define MODEL(name, reward) "{\"name\": \"" name "\", \"dir\": \"x\", \"length\": 3, \"reward\": {\"mean\": " reward ", \"lo\": 0, \"hi\": 1, \"n\": 9}}"

TEST(lab_tables) {
    const char *v[] = {evaluation("s1", "{\"models\": [" MODEL("a", "0.25") ", " MODEL("b", "0.5") ", " MODEL("gone", "1")
                                         ", {\"name\": \"fixed\", \"dir\": null}]}"),
                       evaluation("s2", "{\"models\": [" MODEL("b", "1.0") ", " MODEL("a", "0.5") ", {\"name\": \"fixed\"}]}")};
    tn_lab l = {.title = "T < U", .against = "a"};
    tn_opt_list dirs = {.v = v, .n = 2};
    CHECK_OK(tn_lab_load(&l, dirs, e));
    CHECK(l.n_arm == 2 && !strcmp(l.arm[0], "a") && !strcmp(l.arm[1], "b"));
    CHECK(tn_lab_get(&l, 1, 0, "reward") == 0.5 && tn_lab_get(&l, 1, 0, "length") == 3 && isnan(tn_lab_get(&l, 0, 0, "kl")));
    tn_lab_value d = tn_lab_difference(&l, 1, 0, "reward");
    CHECK(d.mean == 0.375 && d.n == 2);
    CHECK_NEAR(d.hi - d.mean, 12.706 * 0.125, 1e-12, 0);
    tn_str md = TN_STR_INIT, page = TN_STR_INIT;
    CHECK_OK(tn_lab_markdown(&l, &md, e));
    CHECK(strstr(md.s, "| b | 0.750 [-2.426, 3.926]; 0.500 1.000 | 3.0 [3.0, 3.0] | 0.375 [-1.213, 1.963] |"));
    CHECK_OK(tn_lab_page(&l, &page, e));
    CHECK(strstr(page.s, "T &lt; U") && !strstr(page.s, "T < U") && strstr(page.s, "</html>"));
    json_t *j = tn_lab_json(&l);
    CHECK(json_array_size(json_object_get(j, "arms")) == 2);
    json_decref(j);
    const char *columns[] = {"length", "nothing"};
    l.columns = (tn_opt_list){.v = columns, .n = 2};
    tn_str_clear(&md);
    CHECK_FAIL(tn_lab_markdown(&l, &md, e), TN_ARG, "nothing: there is no such column");
    tn_str_free(&md);
    tn_str_free(&page);
    tn_lab_free(&l);
}

static void refused(const char *name, const char *text, tn_status want, const char *why) {
    const char *v[] = {evaluation(name, text)};
    tn_lab l = {.against = "a"};
    CHECK_FAIL(tn_lab_load(&l, (tn_opt_list){.v = v, .n = 1}, e), want, why);
    tn_lab_free(&l);
}

TEST(lab_refusals) {
    tn_lab l = {0};
    CHECK_FAIL(tn_lab_load(&l, (tn_opt_list){0}, e), TN_ARG, "1 to 64");
    refused("r1", "{\"models\": [" MODEL("b", "1") "]}", TN_ARG, "--against a");
    refused("r2", "{\"models\": []}", TN_FORMAT, "no model in common");
    refused("r3", "{\"models\": 3}", TN_FORMAT, "no \"models\"");
    refused("r4", "[]", TN_FORMAT, "no \"models\"");
    refused("r5", "{\"models\": [{\"name\": 3}, 7, null]}", TN_FORMAT, "no model in common");
    refused("r6", "{\"models\": [", TN_FORMAT, "eval.json");
}
