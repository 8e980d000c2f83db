/* Shaping, ensembles, fits, win rates, targeted feedback, choice of pairs, noise on embeddings:
 * properties and refusals. */
#include "algo/linear.h"
#include "algo/neftune.h"
#include "algo/price.h"
#include "algo_case.h"
#include "base/mathx.h"
#include "eval/overopt.h"
#include "eval/winrate.h"

static const char *const shapings[] = {"none",    "par",     "sgfc", "tanh_centred",
                                       "centred", "sigmoid", "tanh", "lsc",
                                       "minmax",  "meanstd", "clip"};
enum { N_SHAPING = sizeof shapings / sizeof *shapings };
static const double ref[] = {0.1, -0.4, 1, 0.5, 0.2, -1, 0, 0.3, 0.9, 1.5, -0.7, 0.8};

/* One score by statistics that are held: of a state that has seen many scores, copied for each
 * call. */
static double shape_one(const tn_shape_opt *o, const tn_shape_state *held, double r,
                        double *slope) {
    tn_shape_state st = *held;
    st.seen.count = 1e300, st.seen.m2 = 2.5e300; /* one score more does not move them */
    CHECK_OK(tn_shape_rewards(o, &st, ref, 3, NULL, &r, 1, slope, e));
    return r;
}
TEST(algo_shape_slopes) {
    for (int i = 0; i < N_SHAPING; i++) {
        tn_shape_opt o = shape_defaults();
        tn_shape_state st = {.seen = {1, 0.2, 0}, .lo = -9, .hi = 8};
        o.shape = shapings[i], o.k = 0.7;
        double slope, size = 0, last = -HUGE_VAL;
        for (double r = -3; r < 3; r += 0.37) {
            double h = 1e-4,
                   d = (shape_one(&o, &st, r + h, &slope) - shape_one(&o, &st, r - h, &slope)) /
                       (2 * h);
            double v = shape_one(&o, &st, r, &slope);
            CHECK_MSG(fabs(d - slope) <= 1e-7, "%s: slope at %g is %.12g, differences say %.12g",
                      o.shape, r, slope, d);
            CHECK_MSG(v >= last, "%s falls at %g", o.shape, r);
            last = v, size += slope;
        }
        CHECK(size > 0.1);
    }
}
/* Statistics run: two batches end where one does, and a batch is in them before it is shaped. */
TEST(algo_shape_running) {
    for (int i = 8; i < N_SHAPING; i++) {
        tn_shape_opt o = shape_defaults();
        tn_shape_state a = {0}, b = {0};
        double x[] = {4, -2, 1, 0.5}, y[] = {4, -2, 1, 0.5};
        o.shape = shapings[i];
        CHECK_OK(tn_shape_rewards(&o, &a, NULL, 0, NULL, x, 4, NULL, e));
        CHECK_OK(tn_shape_rewards(&o, &b, NULL, 0, NULL, y, 2, NULL, e));
        CHECK_OK(tn_shape_rewards(&o, &b, NULL, 0, NULL, y + 2, 2, NULL, e));
        CHECK(a.lo == -2 && a.hi == 4 && b.lo == -2 && b.hi == 4 && a.seen.count == 4);
        CHECK_NEAR(b.seen.m2, a.seen.m2, 1e-14, 0);
        CHECK_NEAR(y[3], x[3], 1e-13, 0);
        tn_shape_state one = {0};
        double alone = 3;
        CHECK_OK(tn_shape_rewards(&o, &one, NULL, 0, NULL, &alone, 1, NULL, e));
        CHECK_MSG(alone == (strcmp(o.shape, "clip") == 0 ? 3 : 0), "%s of one score: %g", o.shape,
                  alone);
    }
}
TEST(algo_shape_before) {
    tn_shape_opt o = shape_defaults();
    tn_shape_state st = {0};
    double r[] = {5, 5, 1}, length[] = {300, 310, 400};
    o.ceil = 2, o.length_price = 0.01;
    CHECK_OK(tn_shape_rewards(&o, &st, NULL, 0, length, r, 3, NULL, e));
    CHECK(r[0] == 2 && r[1] == 1.9 && r[2] == 0); /* the ceiling comes first */
    CHECK_FAIL(tn_shape_rewards(&o, &st, NULL, 0, NULL, r, 3, NULL, e), TN_ARG, "lengths");
    o = shape_defaults(), o.shape = "par";
    CHECK_FAIL(tn_shape_rewards(&o, &st, NULL, 0, NULL, r, 3, NULL, e), TN_ARG,
               "at least 1 reference");
    o.shape = "lsc";
    CHECK_FAIL(tn_shape_rewards(&o, &st, ref, 1, NULL, r, 3, NULL, e), TN_ARG,
               "at least 2 reference");
    r[1] = NAN;
    CHECK_FAIL(tn_shape_rewards(&o, &st, ref, 2, NULL, r, 3, NULL, e), TN_NUMERIC,
               "score of response 1");
    r[1] = 0;
    double bad[] = {0, 1, INFINITY, 1, 1, 1};
    CHECK_FAIL(tn_shape_rewards(&o, &st, bad, 2, NULL, r, 3, NULL, e), TN_NUMERIC,
               "reference score 2");
    bool refs;
    o.shape = "relu";
    CHECK_FAIL(tn_shape_check(&o, &refs, e), TN_ARG, "'relu'");
    for (int i = 0; i < N_SHAPING; i++) {
        o.shape = shapings[i];
        CHECK_OK(tn_shape_check(&o, &refs, e));
        CHECK(refs == (strcmp(o.shape, "par") == 0 || strcmp(o.shape, "sgfc") == 0 ||
                       strcmp(o.shape, "lsc") == 0 || strstr(o.shape, "centred") != NULL));
    }
}

TEST(algo_ensemble_gradients) {
    double r[] = {0.3, -1, 2, 0.9, 1.4, 0.8}, g[6];
    for (int k = 1; k <= 6; k++)
        for (int how = 0; how < 5; how++)
            for (int ddof = 0; ddof < 2 && (ddof < k || how == 0); ddof++) {
                tn_ensemble_combine((tn_ensemble)how, 0.6, ddof, r, k, g);
                if (k == 1 && how == TN_ENSEMBLE_STD) continue; /* a corner */
                for (int i = 0; i < k; i++) {
                    double v = r[i], h = 1e-5, d;
                    r[i] = v + h, d = tn_ensemble_combine((tn_ensemble)how, 0.6, ddof, r, k, NULL);
                    r[i] = v - h, d -= tn_ensemble_combine((tn_ensemble)how, 0.6, ddof, r, k, NULL);
                    r[i] = v;
                    CHECK_NEAR(g[i], d / (2 * h), 1e-8, 1e-8);
                }
            }
    CHECK(tn_ensemble_combine(TN_ENSEMBLE_MEDIAN, 0, 0, r, 5, NULL) == 0.9);
    CHECK(tn_ensemble_combine(TN_ENSEMBLE_MEDIAN, 0, 0, r, 4, NULL) == 0.6);
    tn_ensemble_opt o = ensemble_defaults();
    tn_metrics m = {0};
    double score[2];
    o.how = "uwo", o.ddof = 1;
    CHECK_FAIL(tn_ensemble_scores(&o, r, 2, 1, score, &m, e), TN_ARG, "ensemble-ddof 1");
    o.how = "best";
    CHECK_FAIL(tn_ensemble_scores(&o, r, 2, 2, score, &m, e), TN_ARG, "'best'");
    o.how = "mean";
    CHECK_FAIL(tn_ensemble_scores(&o, r, 2, 0, score, &m, e), TN_ARG, "0 members");
    CHECK_OK(tn_ensemble_scores(&o, r, 2, 3, score, &m, e));
    CHECK_NEAR(score[1], (0.9 + 1.4 + 0.8) / 3, 1e-15, 0);
    CHECK_OK(tn_ensemble_scores(&o, r, 1, 2, score, (m.n = 0, &m), e)); /* 0.3 and -1 */
    CHECK_NEAR(tn_metrics_find(&m, "ensemble/std"), 0.65, 1e-14, 0);
    r[4] = NAN;
    CHECK_FAIL(tn_ensemble_scores(&o, r, 2, 3, score, &m, e), TN_NUMERIC, "response 1 by member 1");
}
TEST(algo_weight_averages) {
    float a[] = {1, 2, -3}, b[] = {3, 1e8f, 5}, c[3], keep[] = {1, 2, -3};
    const float *const both[] = {a, b};
    tn_weights_mean(c, both, 1, 3);
    CHECK(memcmp(c, a, sizeof a) == 0);
    tn_weights_ema(a, b, 3, 1);
    CHECK(memcmp(a, keep, sizeof a) == 0);
    tn_weights_mean(a, both, 2, 3); /* in place */
    CHECK(a[0] == 2 && a[1] == 50000000.0f && a[2] == 1);
    tn_weights_ema(a, b, 3, 0);
    CHECK(memcmp(a, b, sizeof a) == 0);
}

TEST(algo_linear_systems) {
    double x[40], y[20], coef[2];
    for (int i = 0; i < 20; i++)
        x[2 * i] = i, x[2 * i + 1] = i * i % 7, y[i] = 1.5 * x[2 * i] - 4 * x[2 * i + 1];
    CHECK_OK(tn_least_squares(x, y, 20, 2, coef, e));
    CHECK_NEAR(coef[0], 1.5, 1e-12, 0);
    CHECK_NEAR(coef[1], -4, 1e-12, 0);
    CHECK_FAIL(tn_least_squares(x, y, 1, 2, coef, e), TN_ARG, "2 coefficients from 1 points");
    CHECK_FAIL(tn_least_squares(x, y, 20, 0, coef, e), TN_ARG, "0 coefficients");
    CHECK_FAIL(tn_least_squares(x, y, 20, 9, coef, e), TN_ARG, "9 coefficients");
    CHECK_OK(tn_least_squares(x + 2, y + 1, 2, 2, coef, e)); /* as many as there are coefficients */
    CHECK_NEAR(coef[1], -4, 1e-12, 0);
    for (int i = 0; i < 20; i++) x[2 * i + 1] = 2 * x[2 * i];
    CHECK_FAIL(tn_least_squares(x, y, 20, 2, coef, e), TN_NUMERIC, "not positive definite");
}
/* Points of a known law give it back; small distances and d = 0 stay out. */
TEST(eval_overopt) {
    double d[] = {0, 0.05, 0.5, 1, 2, 4, 8}, gold[7];
    for (int form = 0; form < 2; form++) {
        tn_overopt law = {(tn_overopt_form)form, 1.3, 0.21, 0, 0}, f;
        for (int i = 0; i < 7; i++) gold[i] = tn_overopt_gold(&law, d[i]);
        gold[1] = 99;
        CHECK_OK(tn_overopt_fit((tn_overopt_form)form, d, gold, 7, 0.3, &f, e));
        CHECK_NEAR(f.alpha, 1.3, 1e-12, 0);
        CHECK_NEAR(f.beta, 0.21, 1e-12, 0);
        CHECK(f.points == 5 && f.rmse < 1e-12);
        double at = 0, top = 0;
        CHECK(tn_overopt_peak(&f, &at, &top));
        CHECK(tn_overopt_gold(&f, at * 1.01) < top && tn_overopt_gold(&f, at * 0.99) < top);
        CHECK_FAIL(tn_overopt_fit((tn_overopt_form)form, d, gold, 2, 0.3, &f, e), TN_ARG,
                   "over-optimisation");
    }
}
/* A judge that likes length: the controlled win rate of an equal model is a half whatever it
 * writes. */
TEST(eval_length_control) {
    enum { N = 200 };
    double dlen[N], term[N], diff[N], p[N], std;
    tn_lc f;
    for (int shift = -200; shift <= 200; shift += 200) {
        double raw = 0;
        for (int i = 0; i < N; i++) {
            dlen[i] = 100 * tn_sin(3.1 * i) + shift;
            diff[i] = tn_cos(1.7 * i);
        }
        tn_lc_terms(dlen, N, term, &std);
        for (int i = 0; i < N; i++) raw += (p[i] = tn_sigmoid(1.5 * term[i] + 0.4 * diff[i])) / N;
        CHECK_OK(tn_lc_fit(term, diff, p, N, 0, &f, e));
        CHECK_NEAR(f.phi, 1.5, 1e-8, 0);
        CHECK_NEAR(f.psi, 0.4, 1e-8, 0);
        CHECK(fabs(f.theta) < 1e-8 && fabs(tn_lc_win_rate(&f, diff, N) - 0.5) < 0.01);
        CHECK(shift == 0 || fabs(raw - 0.5) > 0.2);
    }
    double x[] = {-2, -1, 1, 2}, y[] = {0, 0, 1, 1}, b, w, loss;
    CHECK_FAIL(tn_logistic_fit(x, y, 4, 1, 0, &b, &w, &loss, e), TN_NUMERIC, "no minimum");
    CHECK_OK(tn_logistic_fit(x, y, 4, 1, 0.01, &b, &w, &loss, e));
    CHECK(w > 1 && fabs(b) < 1e-9);
    y[0] = -0.1;
    CHECK_FAIL(tn_logistic_fit(x, y, 4, 1, 1, &b, &w, &loss, e), TN_ARG, "label 0 is -0.1");
    y[0] = 0, y[2] = 1.2;
    CHECK_FAIL(tn_logistic_fit(x, y, 4, 1, 1, &b, &w, &loss, e), TN_ARG, "label 2 is 1.2");
    double same[] = {5, 5};
    tn_lc_terms(same, 2, term, &std);
    CHECK(std == 0 && term[0] == 0);
    CHECK_NEAR(tn_elo_win_rate(400), 10.0 / 11, 1e-14, 0);
}

TEST(algo_rlthf) {
    double gap[300];
    tn_rlthf_curve c;
    tn_rlthf_round r;
    for (int i = 0; i < 300; i++) gap[i] = tn_logit((300 - i - 0.5) / 300) + 0.8;
    CHECK_OK(tn_rlthf_curve_of(gap, 300, &c, e));
    CHECK(!c.flat && c.elbow < c.knee && c.knee < c.reflection && c.reflection < 300);
    CHECK(gap[c.reflection] <= -gap[c.elbow] && gap[c.reflection - 1] > -gap[c.elbow]);
    for (int budget = 0; budget < 400;
         budget += 7) { /* ranges follow one another, and the budget is kept */
        CHECK_OK(tn_rlthf_plan(&c, 300, budget, 0.3, 2, &r, e));
        CHECK(0 < r.keep && r.keep <= r.held && r.held <= r.human && r.human <= r.human_end &&
              r.human_end == r.pool_end && r.pool_end <= r.flip && r.flip == c.reflection);
        CHECK(r.human_end - r.human ==
              (budget < r.pool_end - r.held ? budget : r.pool_end - r.held));
        CHECK(r.train == r.keep + 300 - r.flip + 2 * (r.human_end - r.human));
    }
    for (int i = 0; i < 300; i++)
        gap[i] = 2; /* no curve: nothing is flipped, the last ones are asked about */
    CHECK_OK(tn_rlthf_curve_of(gap, 300, &c, e));
    CHECK_OK(tn_rlthf_plan(&c, 300, 10, 0, 1, &r, e));
    CHECK(c.flat && r.flip == 300 && r.human == 290 && r.human_end == 300 && r.keep == 290);
    CHECK_OK(tn_rlthf_plan(&c, 300, 300, 0, 1, &r, e)); /* enough people for everything */
    CHECK(r.keep == 0 && r.human == 0 && r.human_end == 300);
    static const double even[] = {8, 4, 3, 2, 1, 0, -1, -2, -3, -4, -8};
    CHECK_OK(tn_rlthf_curve_of(even, 11, &c, e));
    CHECK(c.elbow == 1 && c.knee == 9 && c.reflection == 9); /* -4 mirrors 4: flipped */
    CHECK_FAIL(tn_rlthf_curve_of(gap, 2, &c, e), TN_ARG, "2 pairs");
    gap[0] = INFINITY;
    CHECK_FAIL(tn_rlthf_curve_of(gap, 300, &c, e), TN_NUMERIC, "gap 0 is inf");
    gap[0] = 2;
    gap[5] = 3;
    CHECK_FAIL(tn_rlthf_curve_of(gap, 300, &c, e), TN_ARG, "gap 5 is 3 after 2");
    gap[5] = NAN;
    CHECK_FAIL(tn_rlthf_curve_of(gap, 300, &c, e), TN_NUMERIC, "gap 5");
    CHECK_FAIL(tn_rlthf_plan(&c, 300, 10, 1.5, 1, &r, e), TN_ARG, "backoff is 1.5");
    CHECK_FAIL(tn_rlthf_plan(&c, 300, -1, 0, 1, &r, e), TN_ARG, "budget of -1");
    CHECK(tn_rlthf_schedule(0.4, 0, 0, 5) == 0.4 && tn_rlthf_schedule(6, 1, 4, 5) == 1 &&
          tn_rlthf_schedule(6, 1, 2, 5) == 3.5 && tn_rlthf_schedule(6, 1, 0, 1) == 1);
}

TEST(algo_pick) {
    tn_strength_opt o = strength_defaults();
    tn_strength s;
    double d[] = {0.1, 0.1};
    CHECK_OK(tn_pair_strength(&o, d, 2, &s, e));
    CHECK(s.action == TN_PAIR_SOFT && s.agree == 1);
    d[1] = -0.4;
    CHECK_OK(tn_pair_strength(&o, d, 2, &s, e));
    CHECK(s.action == TN_PAIR_FLIP && s.agree == 0.5);
    o.ddof = 1;
    CHECK_FAIL(tn_pair_strength(&o, d, 1, &s, e), TN_ARG, "ddof 1");
    d[0] = NAN;
    CHECK_FAIL(tn_pair_strength(&o, d, 2, &s, e), TN_NUMERIC, "not finite");
    double r[] = {1, 1, 1}, p;
    int best, worst;
    bool keep;
    CHECK_OK(tn_west_of_n(r, 3, 0.5, &best, &worst, &p, &keep, e));
    CHECK(!keep && p == 0.5); /* equal samples are no pair, even at the threshold */
    r[2] = 1.5;
    CHECK_OK(tn_west_of_n(r, 3, 0.9, &best, &worst, &p, &keep, e));
    CHECK(!keep && best == 2 && worst == 0);
    CHECK_FAIL(tn_west_of_n(r, 1, 0.9, &best, &worst, &p, &keep, e), TN_ARG, "at least 2");
    r[0] = NAN;
    CHECK_FAIL(tn_west_of_n(r, 3, 0.9, &best, &worst, &p, &keep, e), TN_NUMERIC, "score 0");
    CHECK(tn_binary_entropy(0) == 0 && tn_binary_entropy(1) == 0 && tn_margin_entropy(800) == 0);
    CHECK_NEAR(tn_margin_entropy(40), 41 * exp(-40), 1e-12, 0); /* nothing cancels */
    static const double agree[] = {0.3, 0.3}, differ[] = {0, 1};
    CHECK(fabs(tn_bald(agree, 2)) < 1e-15);
    CHECK_NEAR(tn_bald(differ, 2), 0.693147180559945309, 1e-15, 0);
    CHECK(tn_label_smooth(0.8, 0, 0.5) == 0.65);
    CHECK(tn_price_find("rlhf") == NULL && tn_price_flop(tn_price_find("grpo"), 1, 1) == 14);
    CHECK(tn_price_memory(tn_price_find("grpo"), 1, &tn_price_mixed) == 22);
}

/* Noise is in its interval, of mean 0, and a function of the token alone. */
TEST(algo_neftune) {
    enum { L = 50, D = 64 };
    static float x[L][D], y[D];
    double width = tn_neftune_width(5, L, D), sum = 0, sq = 0;
    for (int t = 0; t < L; t++) tn_neftune_add(width, 3, 17, t, D, x[t]);
    for (int t = 0; t < L; t++)
        for (int j = 0; j < D; j++) {
            CHECK(fabs(x[t][j]) <= width);
            sum += x[t][j] / (L * D), sq += x[t][j] * x[t][j] / (L * D);
        }
    CHECK(fabs(sum) < 0.05 * width && fabs(sq / (width * width) - 1.0 / 3) < 0.03);
    tn_neftune_add(width, 3, 17, 31, D, y);
    CHECK(memcmp(y, x[31], sizeof y) == 0 && memcmp(x[0], x[1], sizeof y) != 0);
    memset(y, 0, sizeof y);
    tn_neftune_add(width, 3, 18, 31, D, y);
    CHECK(memcmp(y, x[31], sizeof y) != 0);
}
