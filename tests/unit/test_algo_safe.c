/* Cost models, the multiplier, token costs. */
#include "algo_case.h"

#define TOL 2e-9
static problem P;

TEST(algo_cost_gradients) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        tn_cost_opt o = {0.02};
        problem_random(&P, 8, seed);
        P.x.label = P.label;
        problem_differences(&P, &tn_algo_cost, &o, NULL, NULL, TOL, "cost");
        problem_additive(&P, &tn_algo_cost, &o, 'p', "cost");
        double mean = 0;
        for (int s = 0; s < 8; s++) mean += P.score[s] / 8;
        CHECK_NEAR(tn_metrics_find(&P.m, "mean_cost"), mean, 1e-14, 1e-15);
    }
}
/* Labels decide the sign, pairs the order: a model that knows both is right everywhere. */
TEST(algo_cost_meaning) {
    tn_cost_opt o = {0};
    problem_random(&P, 8, 4);
    P.x.label = P.label;
    for (int s = 0; s < 8; s++) {
        P.label[s] = s < 4; /* pairs 0, 1 safe on both sides, 2, 3 unsafe */
        P.score[s] = (s < 4 ? -6 : 2) + 4 * (s % 2); /* rejected is the more harmful one */
    }
    double right = problem_loss(&P, &tn_algo_cost, &o);
    CHECK(tn_metrics_find(&P.m, "accuracy") == 1 && tn_metrics_find(&P.m, "accuracy_sign") == 1);
    for (int s = 0; s < 8; s++) P.score[s] += 4; /* the order stays, the border moves */
    double moved = problem_loss(&P, &tn_algo_cost, &o);
    CHECK(moved > right + 0.5 && tn_metrics_find(&P.m, "accuracy") == 1 &&
          tn_metrics_find(&P.m, "accuracy_sign") < 1);
    for (int s = 0; s < 8; s++) P.score[s] = 0; /* a cost of 0 is neither safe nor unsafe */
    CHECK_NEAR(problem_loss(&P, &tn_algo_cost, &o), 3 * 0.693147180559945309, 1e-15, 0);
    CHECK(tn_metrics_find(&P.m, "accuracy_sign") == 0);
}
TEST(algo_cost_refuses) {
    tn_cost_opt o = cost_defaults();
    problem_random(&P, 8, 4);
    P.g = (tn_grad){0};
    CHECK_FAIL(tn_algo_cost.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "whether it is safe");
    P.x.label = P.label;
    P.score[3] = NAN;
    CHECK_FAIL(tn_algo_cost.step(&o, &P.x, &P.g, &P.m, e), TN_NUMERIC, "score of sequence 3");
    P.score[3] = 0;
    o.l2 = -1;
    CHECK_FAIL(tn_algo_cost.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "cost-l2 is -1");
    o.l2 = 0;
    P.x.total.seq = 7;
    CHECK_FAIL(tn_algo_cost.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "7 responses");
}
/* Responses that are compared with none say where the border is. */
TEST(algo_cost_single_responses) {
    tn_cost_opt o = {0.02};
    problem_random(&P, 8, 5);
    P.x.label = P.label;
    P.x.n_pair = 0, P.x.total.pair = 0;
    problem_differences(&P, &tn_algo_cost, &o, NULL, NULL, TOL, "cost of single responses");
    CHECK(isnan(tn_metrics_find(&P.m, "accuracy")));
    double want = 0;
    for (int s = 0; s < 8; s++) {
        double c = P.score[s];
        want += (log1p(exp(P.label[s] ? c : -c)) + 0.01 * c * c) / 4;
    }
    CHECK_NEAR(problem_loss(&P, &tn_algo_cost, &o), want, 1e-13, 0);
}

/* The window: the mean of the last episodes only, however they arrive, beyond the ring's size. */
TEST(algo_lagrange_window) {
    tn_lagrange_opt o = lagrange_defaults();
    tn_lagrange all, one;
    tn_metrics m = {0};
    double cost[3000];
    for (int i = 0; i < 3000; i++) cost[i] = i < 2800 ? 100 : i % 2 ? 1 : -1.5;
    o.window = 150;
    CHECK_OK(tn_lagrange_start(&all, &o, e));
    CHECK_OK(tn_lagrange_update(&all, &o, cost, 3000, &m, e));
    CHECK_NEAR(all.log_lambda, 0.1 * -0.25, 1e-14, 0);
    CHECK(tn_metrics_find(&m, "safe/episode_cost") == -0.25);
    CHECK_NEAR(tn_metrics_find(&m, "safe/unsafe"), 2900.0 / 3000, 1e-15, 0);
    o.lr = 0; /* one at a time, without moving, then one step */
    CHECK_OK(tn_lagrange_start(&one, &o, e));
    for (int i = 0; i < 2999; i++) CHECK_OK(tn_lagrange_update(&one, &o, cost + i, 1, &m, e));
    o.lr = 0.1;
    CHECK_OK(tn_lagrange_update(&one, &o, cost + 2999, 1, &m, e));
    CHECK(one.log_lambda == all.log_lambda);
}
TEST(algo_lagrange_control) {
    tn_lagrange_opt o = lagrange_defaults();
    tn_lagrange l;
    tn_metrics m = {0};
    double cost = 1;
    o.delay = 2, o.window = 1;
    CHECK_OK(tn_lagrange_start(&l, &o, e));
    for (int i = 0; i < 2; i++) CHECK_OK(tn_lagrange_update(&l, &o, &cost, 1, &m, e));
    CHECK(tn_lagrange_lambda(&l) == 1);
    CHECK_OK(tn_lagrange_update(&l, &o, &cost, 1, &m, e));
    CHECK_NEAR(l.log_lambda, 0.1, 1e-15, 0);
    for (int i = 0; i < 100; i++) CHECK_OK(tn_lagrange_update(&l, &o, &cost, 1, &m, e));
    CHECK_NEAR(tn_lagrange_lambda(&l), 5, 1e-14, 0);
    o.threshold = 2; /* below it: lambda falls */
    CHECK_OK(tn_lagrange_update(&l, &o, &cost, 1, &m, e));
    CHECK(tn_lagrange_lambda(&l) < 4);
    cost = NAN;
    double before = l.log_lambda;
    CHECK_FAIL(tn_lagrange_update(&l, &o, &cost, 1, &m, e), TN_NUMERIC, "cost of response 0");
    CHECK(l.log_lambda == before);
    CHECK_FAIL(tn_lagrange_update(&l, &o, &cost, 0, &m, e), TN_ARG, "no episodes");
    o.init = 6;
    CHECK_FAIL(tn_lagrange_start(&l, &o, e), TN_ARG, "lambda-max is 5");
    o.init = 1, o.window = TN_LAGRANGE_WINDOW + 1;
    CHECK_FAIL(tn_lagrange_start(&l, &o, e), TN_ARG, "lambda-window");
}
TEST(algo_lagrange_tokens) {
    static const double logp[] = {-1, -2, -90}, ref[] = {-2, -1, -1};
    static const int off[] = {0, 2, 3};
    static const double reward[] = {3, -100}, cost[] = {-1, 2};
    double tr[3], tc[3], kl[2], mix[3];
    tn_lagrange_opt o = lagrange_defaults();
    tn_lagrange_token_scores(&o, 2, off, logp, ref, reward, cost, TN_KL_K1, 0.5, tr, tc, kl);
    CHECK(tr[0] == -0.5 && tr[1] == 3.5 && tr[2] == -50); /* 44.5 - 100, cut */
    CHECK(tc[0] == 0.5 && tc[1] == -1.5 && tc[2] == -42.5 && kl[0] == 0 && kl[1] == -89);
    tn_lagrange_mix(0, tr, tc, 2, mix);
    CHECK(mix[1] == tr[1]);
    mix[2] = 7;
    tn_lagrange_mix(0, tr, tc, 2, mix);
    CHECK(mix[2] == 7);
    tn_lagrange_mix(3, tr, tc, 3, tc); /* in place */
    CHECK(tc[0] == -0.5 && tc[1] == (3.5 + 4.5) / 4);
}
