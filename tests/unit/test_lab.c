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
    tn_str_free(&md);
    tn_str_free(&page);
    tn_lab_free(&l);
}

/* DIR/values.jsonl beside, or without, eval.json. */
static const char *values(const char *dir, const char *rows) {
    tn_str p = TN_STR_INIT;
    CHECK_OK(tn_mkdirs(dir, e));
    tn_path_join(&p, dir, "values.jsonl");
    CHECK_OK(tn_write_file(p.s, rows, strlen(rows), e));
    tn_str_free(&p);
    return dir;
}

TEST(lab_values) {
    static char alone[512];
    snprintf(alone, sizeof alone, "%s/v2", tn_test_dir());
    const char *v[] = {values(evaluation("v1", "{\"models\": [" MODEL("a", "0.25") "]}"),
                              "{\"name\": \"a\", \"acc\": 0.5}\n{\"name\": \"b\", \"acc\": 0.25, \"ece\": 0.0625}\n"),
                       values(alone, "{\"name\": \"b\", \"acc\": 0.5}\n{\"name\": \"a\", \"acc\": 1}\n")};
    const char *columns[] = {"acc:accuracy <%>:2", "ece::4", "length", "kl"};
    tn_lab l = {.against = "b", .metric = "acc", .columns = {.v = columns, .n = 4}};
    CHECK_OK(tn_lab_load(&l, (tn_opt_list){.v = v, .n = 2}, e));
    CHECK(l.n_arm == 2 && tn_lab_get(&l, 1, 0, "acc") == 1 && tn_lab_get(&l, 0, 0, "reward") == 0.25);
    tn_str md = TN_STR_INIT, page = TN_STR_INIT;
    CHECK_OK(tn_lab_markdown(&l, &md, e));
    CHECK(strstr(md.s, "| arm | accuracy <%> | ece | length | accuracy <%> less that of b |"));
    CHECK(strstr(md.s, "| b | 0.38 [-1.21, 1.96]; 0.25 0.50 | 0.0625 | – |  |"));
    CHECK(strstr(md.s, "| a | 0.75 [-2.43, 3.93]; 0.50 1.00 | – | 3.0 | 0.38 [-1.21, 1.96] |"));
    CHECK_OK(tn_lab_page(&l, &page, e));
    CHECK(strstr(page.s, "accuracy &lt;%&gt;") && strstr(page.s, "true reward"));
    tn_str_free(&md);
    tn_str_free(&page);
    tn_lab_free(&l);
    const struct { const char *metric, *column, *why; } bad[] = {{"no", "acc", "--metric no"}, {"acc", "no", "--columns no: no arm"},
                                                                 {"acc", "acc:x:12", "0 to 9 digits"}, {"acc", "acc:x:y", "0 to 9 digits"}};
    for (int i = 0; i < 4; i++) {
        tn_lab m = {.metric = bad[i].metric, .columns = {.v = &bad[i].column, .n = 1}};
        CHECK_FAIL(tn_lab_load(&m, (tn_opt_list){.v = v, .n = 2}, e), TN_ARG, bad[i].why);
        tn_lab_free(&m);
    }
    values(alone, "{\"acc\": 1}\n");
    tn_lab m = {0};
    CHECK_FAIL(tn_lab_load(&m, (tn_opt_list){.v = v, .n = 2}, e), TN_FORMAT, "values.jsonl, line 1: no \"name\"");
    tn_lab_free(&m);
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
