/* The measured curve of best of n. */
#include "test.h"
#include "algo/group.h"
#include "base/rng.h"
#include "base/os.h"
#include "eval/bon_run.h"
#include "report/bon.h"
#include <math.h>
#include <string.h>

/* Where the proxy is gold, the gain is that of the largest of n; where it says nothing, there is none. */
TEST(bon_curve_ends) {
    enum { P = 40, N = 12 };
    double gold[P * N], noise[P * N], mean = 0, most = 0;
    int stratum[P] = {0}; /* 0 and 2; 1 is empty */
    for (int i = P / 2; i < P; i++) stratum[i] = 2;
    tn_rng r = tn_rng_stream(3, 1, 0);
    for (int i = 0; i < P * N; i++) gold[i] = tn_rng_unit(&r), noise[i] = 1;
    for (int i = 0; i < P; i++) {
        double best = 0;
        for (int k = 0; k < N; k++) mean += gold[i * N + k] / (P * N), best = fmax(best, gold[i * N + k]);
        most += best / P;
    }
    tn_bon_curve c, again;
    CHECK_OK(tn_bon_curve_of(gold, gold, P, N, stratum, 3, 7, &c, e));
    CHECK(c.n_point == 5 && c.point[0].n == 1 && c.point[3].n == 8 && c.point[4].n == 12 && c.fitted);
    CHECK_NEAR(c.point[0].gold.mean, mean, 1e-12, 0);
    CHECK_NEAR(c.point[0].gain.mean, 0, 0, 0);
    CHECK_NEAR(c.point[4].gold.mean, most, 1e-12, 0);
    CHECK_NEAR(c.point[4].gain.mean, most - mean, 1e-12, 0);
    CHECK_NEAR(c.point[4].proxy.mean, most, 1e-12, 0);
    CHECK_NEAR(c.point[4].kl, log(12) - 11.0 / 12, 1e-12, 0);
    CHECK_NEAR(c.point[4].d * c.point[4].d, c.point[4].kl, 1e-12, 0);
    CHECK(c.alpha_lo <= c.fit.alpha && c.fit.alpha <= c.alpha_hi && c.alpha_lo < c.alpha_hi);
    CHECK(c.beta_lo <= c.fit.beta && c.fit.beta <= c.beta_hi);
    CHECK_OK(tn_bon_curve_of(gold, gold, P, N, stratum, 3, 7, &again, e));
    CHECK(c.alpha_lo == again.alpha_lo && c.alpha_hi == again.alpha_hi && c.beta_lo == again.beta_lo && c.beta_hi == again.beta_hi);
    for (int k = 0; k < c.n_point; k++) CHECK(c.point[k].gain.hi == again.point[k].gain.hi);
    CHECK_OK(tn_bon_curve_of(gold, gold, P, N, stratum, 3, 8, &again, e));
    CHECK(again.alpha_lo != c.alpha_lo && again.fit.alpha == c.fit.alpha);
    /* all proxies equal: the first sample is taken as the best, and n = 1 is the mean of all */
    CHECK_OK(tn_bon_curve_of(gold, noise, P, N, stratum, 3, 7, &c, e));
    CHECK_NEAR(c.point[4].proxy.mean - c.point[0].proxy.mean, 0, 0, 0);
}

/* Gold that is q and proxy q + l, gold punished by l^2: the peak of the fit lies where gold turns. */
TEST(bon_curve_peak) {
    enum { P = 400, N = 64 };
    static double gold[P * N], proxy[P * N];
    int stratum[P] = {0};
    tn_rng r = tn_rng_stream(4, 1, 0);
    for (int i = 0; i < P * N; i++) {
        double q = tn_rng_normal(&r), l = tn_rng_normal(&r);
        proxy[i] = q + 2 * l, gold[i] = q - 0.6 * (l * l - 1);
    }
    tn_bon_curve c;
    CHECK_OK(tn_bon_curve_of(gold, proxy, P, N, stratum, 1, 1, &c, e));
    double d, gain;
    CHECK(tn_overopt_peak(&c.fit, &d, &gain) && d > 0.3 && d < 1.5);
    CHECK(c.point[6].gain.hi < 0 && c.point[6].proxy.lo > c.point[0].proxy.hi);
    int best = 0;
    for (int k = 1; k < c.n_point; k++)
        if (c.point[k].gain.mean > c.point[best].gain.mean) best = k;
    CHECK_MSG(fabs(c.point[best].d - d) < 0.4, "measured %g, fitted %g", c.point[best].d, d);
}

TEST(bon_curve_refuses) {
    double v[4] = {0, 1, 2, NAN};
    int stratum[2] = {0};
    tn_bon_curve c;
    CHECK_FAIL(tn_bon_curve_of(v, v, 0, 2, stratum, 1, 1, &c, e), TN_ARG, "0 prompts");
    CHECK_FAIL(tn_bon_curve_of(v, v, 1, 1, stratum, 1, 1, &c, e), TN_ARG, "two samples");
    CHECK_FAIL(tn_bon_curve_of(v, v, 2, 2, stratum, 1, 1, &c, e), TN_NUMERIC, "not a number");
    CHECK_OK(tn_bon_curve_of(v, v, 1, 2, stratum, 1, 1, &c, e));
    CHECK(!c.fitted && c.n_point == 2); /* too few points for two coefficients */
}

/* FILE of a run in the test's folder. */
static const char *rows(const char *name, const char *text) {
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", tn_test_dir(), name);
    CHECK_OK(tn_write_file(path, text, strlen(text), e));
    return path;
}

/* Checkpoints in any order, on R = d (0.8 - 0.5 log d) above a start of 0.25: the coefficients come back, and the start counts for nothing. */
TEST(bon_run_fits) {
    char text[2000] = "", spec[700];
    const double d[] = {3, 0, 0.1, 1, 2, 0.5};
    for (int i = 0; i < 6; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "{\"step\": %d, \"kl\": %.17g, \"true_reward\": %.17g%s}\n", i, d[i] * d[i],
                 0.25 + (d[i] == 0.1 ? 0.7 : d[i] > 0 ? d[i] * (0.8 - 0.5 * log(d[i])) : 0), i ? ", \"proxy\": 2" : "");
    snprintf(spec, sizeof spec, "small=%s", rows("run.jsonl", text));
    tn_bon_run r;
    CHECK_OK(tn_bon_run_read(&r, spec, e));
    CHECK(r.n == 6 && r.fit.points == 4 && !strcmp(r.name, "small")); /* d = 0.1, off the curve, is too near to count */
    CHECK_NEAR(r.fit.alpha, 0.8, 1e-9, 0);
    CHECK_NEAR(r.fit.beta, 0.5, 1e-9, 0);
    for (int i = 1; i < r.n; i++) CHECK(r.step[i].d > r.step[i - 1].d);
    CHECK(r.step[0].d == 0 && r.step[0].gain == 0 && isnan(r.step[5].proxy) && r.step[0].proxy == 2);
    tn_bon_run_free(&r);
    CHECK_FAIL(tn_bon_run_read(&r, rows("bad.jsonl", "{\"kl\": 1, \"true_reward\": 1}\n{\"kl\": 1}\n"), e), TN_FORMAT, "bad.jsonl:2");
    tn_bon_run_free(&r);
    CHECK_FAIL(tn_bon_run_read(&r, rows("none.jsonl", ""), e), TN_ARG, "over-optimisation");
    CHECK(!strcmp(r.name, "reinforcement learning"));
    tn_bon_run_free(&r);
}

static int count(const char *s, const char *what) {
    int n = 0;
    for (; (s = strstr(s, what)); s += strlen(what)) n++;
    return n;
}

/* Both ways on the page: points, lines and coefficients; without a run none of its figures; names are escaped. */
TEST(bon_page_shows) {
    double gold[4 * 8], proxy[4 * 8];
    int stratum[4] = {0};
    tn_rng g = tn_rng_stream(5, 1, 0);
    for (int i = 0; i < 32; i++) gold[i] = tn_rng_unit(&g), proxy[i] = gold[i] + tn_rng_unit(&g);
    tn_bon_curve c;
    CHECK_OK(tn_bon_curve_of(gold, proxy, 4, 8, stratum, 1, 1, &c, e));
    tn_bon_run r;
    CHECK_OK(tn_bon_run_read(&r, rows("run.jsonl", "{\"kl\": 0, \"true_reward\": 0}\n{\"kl\": 1, \"true_reward\": 0.123}\n{\"kl\": 4, \"true_reward\": 0.1}\n"), e));
    const char *name[] = {"<big>"};
    const tn_bon_curve *curve[] = {&c};
    tn_bon_page p = {.n_curve = 1, .n_run = 1, .n_prompt = 4, .n_sample = 8, .name = name, .curve = curve, .run = &r, .gold = "the oracle"};
    tn_str page = TN_STR_INIT;
    CHECK_OK(tn_bon_page_write(&p, &page, e));
    CHECK(count(page.s, "<svg") == 3 && count(page.s, "class=\"ln\"") == 3); /* the run has no proxy; the proxy's own line has no dots */
    CHECK(count(page.s, "ln dash") == 1); /* the run's peak; that of best of n was not reached */
    CHECK(count(page.s, "<circle") == 4 + 3 && count(page.s, "class=\"fill\"") == 2);
    CHECK(strstr(page.s, "&lt;big&gt;") && !strstr(page.s, "<big>") && strstr(page.s, "<td>0.123</td>")); /* alpha: log 1 = 0 */
    p.n_run = 0;
    tn_str_clear(&page);
    CHECK_OK(tn_bon_page_write(&p, &page, e));
    CHECK(count(page.s, "<svg") == 2 && !strstr(page.s, "learning: d"));
    tn_str_free(&page);
    tn_bon_run_free(&r);
}
