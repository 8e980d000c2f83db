/* From samples to advantages: GAE against its definition, whitening, moments, controllers. */
#include "algo_case.h"
#include "base/mathx.h"

static problem P;

/* A_t = sum_k (gamma lambda)^k delta_{t+k}, term by term. */
TEST(algo_gae_definition) {
    const double settings[][2] = {{1, 1}, {1, 0.95}, {0.9, 0.8}, {0.97, 0}, {0, 0.5}};
    problem_random(&P, 8, 7);
    double adv[MAXV], ret[MAXV];
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        double gamma = settings[i][0], lambda = settings[i][1];
        tn_gae(8, P.off, P.ret, P.value, gamma, lambda, adv, ret);
        for (int s = 0; s < 8; s++)
            for (int t = P.off[s]; t < P.off[s + 1]; t++) {
                double want = 0, f = 1;
                for (int u = t; u < P.off[s + 1]; u++, f *= gamma * lambda) {
                    double next = u + 1 < P.off[s + 1] ? P.value[u + 1] : 0;
                    want += f * (P.ret[u] + gamma * next - P.value[u]);
                }
                CHECK_NEAR(adv[t], want, 1e-13, 1e-14);
                CHECK(ret[t] == adv[t] + P.value[t]);
            }
    }
    /* gamma = lambda = 1: reward to go less the value, whatever the later values say */
    tn_gae(8, P.off, P.ret, P.value, 1, 1, adv, ret);
    for (int s = 0; s < 8; s++) {
        double go = 0;
        for (int t = P.off[s + 1] - 1; t >= P.off[s]; t--) {
            go += P.ret[t];
            CHECK_NEAR(ret[t], go, 1e-13, 1e-14);
        }
    }
}

TEST(algo_whiten) {
    problem_random(&P, 8, 8);
    int n = P.off[8];
    for (int ddof = 0; ddof < 2; ddof++) {
        double x[MAXV];
        for (int t = 0; t < n; t++) x[t] = 3 + 50 * P.advantage[t];
        CHECK_OK(tn_whiten(x, n, ddof, true, e));
        tn_moments m = {0};
        tn_moments_add(&m, x, n);
        CHECK_NEAR(m.mean, 0, 0, 1e-14);
        CHECK_NEAR(tn_moments_var(&m, ddof), 1, 1e-9, 0);
    }
    double same[] = {2, 2, 2}, one[] = {5}, bad[] = {1, NAN};
    CHECK_OK(tn_whiten(same, 3, 1, true, e));
    CHECK(same[0] == 0 && same[2] == 0);
    CHECK_FAIL(tn_whiten(one, 1, 1, true, e), TN_ARG, "1 value(s) with ddof 1");
    CHECK_FAIL(tn_whiten(one, 0, 0, true, e), TN_ARG, "0 value(s)");
    CHECK_FAIL(tn_whiten(bad, 2, 0, true, e), TN_NUMERIC, "expected finite");
    CHECK_OK(tn_whiten(one, 1, 0, false, e));
    CHECK(one[0] == 5);
}

/* Any split of the values, merged in order, gives the moments of the whole. */
TEST(algo_moments) {
    double x[60];
    tn_rng r = tn_rng_stream(9, 1, 0);
    for (int i = 0; i < 60; i++) x[i] = 1e4 + tn_rng_unit(&r);
    tn_moments whole = {0};
    tn_moments_add(&whole, x, 60);
    for (int cut = 0; cut <= 60; cut += 7) {
        tn_moments a = {0}, b = {0}, one = {0};
        tn_moments_add(&a, x, cut);
        for (int i = cut; i < 60; i++) tn_moments_add(&b, x + i, 1);
        tn_moments_merge(&a, &b);
        CHECK(a.count == 60);
        CHECK_NEAR(a.mean, whole.mean, 1e-15, 0);
        CHECK_NEAR(a.m2, whole.m2, 1e-10, 0);
        tn_moments_merge(&one, &whole);
        CHECK(one.count == 60 && one.mean == whole.mean && one.m2 == whole.m2);
    }
    tn_moments none = {0};
    CHECK(isnan(tn_moments_var(&none, 0)));
    CHECK_NEAR(tn_moments_var(&whole, 1) * 59, tn_moments_var(&whole, 0) * 60, 1e-14, 0);
}

TEST(algo_kl_estimators) {
    tn_kl k = TN_KL_K1;
    CHECK_FAIL(tn_kl_parse("k4", &k, e), TN_ARG, "expected k1, k2 or k3");
    CHECK_FAIL(tn_kl_parse(NULL, &k, e), TN_ARG, "expected k1, k2 or k3");
    /* k3 on both sides of the switch to the series, against e^d - 1 - d in long double */
    for (double d = -0.05; d < 0.05; d += 0.0007) {
        long double want = expm1l((long double)d) - (long double)d;
        if (fabs(d) > 1e-3) CHECK_NEAR(tn_kl_value(TN_KL_K3, -d, 0), (double)want, 2e-13, 0);
        else
            CHECK_NEAR(tn_kl_value(TN_KL_K3, -d, 0),
                       d * d / 2 * (1 + d / 3 * (1 + d / 4 * (1 + d / 5))), 1e-14, 0);
        CHECK(tn_kl_value(TN_KL_K3, -d, 0) >= 0);
    }
    for (int i = 0; i < 3; i++)
        for (double d = -2; d <= 2; d += 0.37) {
            double h = 1e-4, up = tn_kl_value((tn_kl)i, -d + h, 0),
                   down = tn_kl_value((tn_kl)i, -d - h, 0);
            CHECK_NEAR(tn_kl_grad((tn_kl)i, -d, 0), (up - down) / (2 * h), 1e-7, 1e-7);
        }
}

TEST(algo_kl_control) {
    tn_kl_control c = {0.3};
    tn_kl_control_update(&c, 100, 64, 0, 10000);
    CHECK(c.coef == 0.3); /* no target: fixed */
    tn_kl_control_update(&c, 6, 64, 6, 10000);
    CHECK(c.coef == 0.3); /* on target */
    tn_kl_control_update(&c, 1e9, 100, 6, 1000);
    CHECK_NEAR(c.coef, 0.3 * 1.02, 1e-15, 0); /* the error is cut at 0.2 */
    /* KL that falls as the coefficient grows settles at the target */
    c.coef = 0.01;
    for (int i = 0; i < 2000; i++) tn_kl_control_update(&c, 0.6 / c.coef, 256, 6, 10000);
    CHECK_NEAR(c.coef, 0.1, 1e-3, 0);
}

TEST(algo_scores_shape) {
    tn_moments run = {0};
    int ended[] = {1, 0, 1};
    double s[] = {30, 2, -50}, again[] = {1, 2, 3};
    tn_score_opt o = {false, 10, 1.5, "subtract"};
    CHECK_OK(tn_scores_shape(&o, s, ended, 3, NULL, e));
    CHECK(s[0] == 10 && s[1] == 0.5 && s[2] == -10);
    o.missing_mode = "replace";
    CHECK_OK(tn_scores_shape(&o, s, ended, 3, NULL, e));
    CHECK(s[1] == -1.5);
    CHECK_FAIL(tn_scores_shape(&o, s, NULL, 3, NULL, e), TN_ARG, "missing-eos-penalty");
    s[2] = NAN;
    CHECK_FAIL(tn_scores_shape(&o, s, ended, 3, NULL, e), TN_NUMERIC, "score of response 2");
    o = (tn_score_opt){true, 0, NAN, "subtract"};
    CHECK_OK(tn_scores_shape(&o, again, NULL, 1, &run, e));
    CHECK(again[0] == 1); /* one score has no spread: left as it is */
    CHECK_OK(tn_scores_shape(&o, again + 1, NULL, 2, &run, e));
    CHECK(again[1] == 2 && again[2] == 3 && run.count == 3); /* std of 1, 2, 3 is 1 */
}

/* The whole chain against its parts. */
TEST(algo_rollout) {
    problem_random(&P, 8, 10);
    int n = P.off[8];
    double reward[MAXV], adv[MAXV], ret[MAXV], want[MAXV], want_adv[MAXV], want_ret[MAXV], kl[8],
        kl_sum = 0, s_sum = 0;
    for (int mode = 0; mode < 4; mode++) {
        tn_rl_opt o = rl_defaults();
        o.kl_estimator = mode & 1 ? "k3" : "k1";
        o.whiten_rewards = mode & 2;
        tn_rollout r = {8, P.off, P.logp, P.ref_logp, P.value, P.score, NULL, 0, reward, adv, ret, 0};
        tn_metrics m = {0};
        CHECK_OK(tn_rollout_advantages(&o, 0.07, &r, &m, e));
        tn_token_rewards(8, P.off, P.logp, P.ref_logp, P.score, mode & 1 ? TN_KL_K3 : TN_KL_K1,
                         0.07, want, kl);
        if (mode & 2) CHECK_OK(tn_whiten(want, n, 1, false, e));
        tn_gae(8, P.off, want, P.value, 1, 0.95, want_adv, want_ret);
        CHECK_OK(tn_whiten(want_adv, n, 1, true, e));
        for (int t = 0; t < n; t++) CHECK(adv[t] == want_adv[t] && ret[t] == want_ret[t]);
        kl_sum = s_sum = 0;
        for (int s = 0; s < 8; s++) kl_sum += kl[s], s_sum += P.score[s];
        CHECK_NEAR(r.mean_kl, kl_sum / 8, 1e-13, 0);
        CHECK_NEAR(tn_metrics_find(&m, "objective/kl"), kl_sum / 8, 1e-13, 0);
        CHECK_NEAR(tn_metrics_find(&m, "objective/scores"), s_sum / 8, 1e-13, 0);
        CHECK_NEAR(tn_metrics_find(&m, "objective/rlhf_reward"), (s_sum - 0.07 * kl_sum) / 8, 1e-13,
                   0);
        CHECK_NEAR(tn_metrics_find(&m, "objective/non_score_reward"), -0.07 * kl_sum / 8, 1e-13, 0);
    }
    tn_rl_opt o = rl_defaults();
    tn_rollout r = {8, P.off, P.logp, P.ref_logp, P.value, P.score, NULL, 0, reward, adv, ret, 0};
    tn_metrics m = {0};
    double *const inputs[] = {P.logp, P.ref_logp, P.value};
    for (int i = 0; i < 3; i++) {
        double kept = inputs[i][P.off[2]];
        inputs[i][P.off[2]] = NAN;
        CHECK_FAIL(tn_rollout_advantages(&o, 0.05, &r, &m, e), TN_NUMERIC, "token 0 of response 2");
        inputs[i][P.off[2]] = kept;
    }
    P.score[4] = INFINITY;
    CHECK_FAIL(tn_rollout_advantages(&o, 0.05, &r, &m, e), TN_NUMERIC, "score of response 4");
    P.score[4] = 0;
    P.off[3] = P.off[2];
    CHECK_FAIL(tn_rollout_advantages(&o, 0.05, &r, &m, e), TN_ARG, "response 2 is empty");
}

TEST(algo_explained_variance) {
    const double ret[] = {1, 2, 3, 6}, off[] = {11, 12, 13, 16}, flat[] = {5, 5, 5, 5},
                 mean[] = {3, 3, 3, 3};
    CHECK(tn_explained_variance(ret, ret, 4) == 1);
    CHECK_NEAR(tn_explained_variance(off, ret, 4), 1, 1e-14,
               0); /* a constant error explains everything */
    CHECK_NEAR(tn_explained_variance(mean, ret, 4), 0, 0, 1e-14);
    CHECK(isnan(tn_explained_variance(ret, flat, 4)));
}

TEST(algo_reward_stats) {
    const double edges[] = {0.5, 0.75, 1}, c[] = {0.5, 0.75, 1}, low[] = {0.4}, same[] = {2, 2};
    const int right[] = {0, 1, 1};
    double ece, brier, gain, bias;
    CHECK_OK(tn_calibration(c, right, 3, edges, 2, &ece, &brier, e));
    CHECK_NEAR(ece, (0.5 + 0.25) / 3, 1e-15,
               0); /* an edge belongs to the bin above, the last one to the last bin */
    CHECK_NEAR(brier, (0.25 + 0.0625) / 3, 1e-15, 0);
    CHECK_FAIL(tn_calibration(low, right, 1, edges, 2, &ece, &brier, e), TN_ARG,
               "confidence 0 is 0.4");
    CHECK_FAIL(tn_calibration(c, right, 0, edges, 2, &ece, &brier, e), TN_ARG, "0 values");
    CHECK_FAIL(tn_reward_normaliser(same, 2, false, 0, 1, &gain, &bias, e), TN_ARG,
               "use the shift only");
    CHECK_OK(tn_reward_normaliser(same, 2, true, 0, 1, &gain, &bias, e));
    CHECK(gain == 1 && bias == -2);
    CHECK_FAIL(tn_reward_normaliser(same, 0, true, 0, 1, &gain, &bias, e), TN_ARG,
               "no reference scores");
    CHECK(isnan(tn_reward_accuracy(same, same, 0)) && tn_reward_accuracy(same, same, 2) == 0);
}

/* A rank that is whole but for the rounding of 1 - top: the value that lies there reaches the floor. */
TEST(entropy_floor_of_whole_ranks) {
    double v[] = {3, 1e-5, 2, 1e-4, 2.5, 1e-6, 1.5, 1, 4, 1e-7, 3.5};
    CHECK(tn_entropy_floor(v, 11, 0.7) == 1e-4);
    double w[] = {1, 2, 3, 4};
    CHECK(tn_entropy_floor(w, 4, 0.5) == 2.5 && tn_entropy_floor(w, 4, 1) == 1 && tn_entropy_floor(w, 1, 0.3) == w[0]);
}
