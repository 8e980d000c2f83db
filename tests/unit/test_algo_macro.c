/* Macro actions: cuts, advantages, losses; PPO's reductions. */
#include "algo_case.h"

#define TOL 2e-9
static problem P;

/* Moves joint ratios away from the bends of the clip, and macro values from those of theirs. */
static void clear_of_kinks(problem *p, double lo, double hi) {
    for (int k = 0; k < p->x.n_macro; k++) {
        int t = p->macro_off[k];
        double d = 0;
        for (int i = t; i < p->macro_off[k + 1]; i++) d += p->logp[i] - p->old_logp[i];
        if (fabs(d - log(1 - lo)) < 0.03 || fabs(d - log(1 + hi)) < 0.03) p->old_logp[t] += 0.1;
    }
}

TEST(algo_macro_gradients) {
    static const char *const weights[] = {"equal", "unit", "position"};
    for (uint64_t seed = 1; seed <= 3; seed++) {
        tn_ppo_policy_opt o = {0.2, 0.3, 3, 0.05, 20, "token_mean"};
        problem_random(&P, 8, 100 + seed);
        clear_of_kinks(&P, 0.2, 0.3);
        problem_differences(&P, &tn_algo_macro_policy, &o, NULL, NULL, TOL, "macro policy");
        problem_additive(&P, &tn_algo_macro_policy, &o, 's', "macro policy");
        tn_macro_value_opt v = {{0, 0.7, NULL}, weights[seed - 1]};
        problem_differences(&P, &tn_algo_macro_value, &v, NULL, NULL, TOL, "macro value");
        problem_additive(&P, &tn_algo_macro_value, &v, 's', "macro value");
        v.value.clip = 0.9; /* never reached by means of tokens within 0.5 */
        problem_differences(&P, &tn_algo_macro_value, &v, NULL, NULL, TOL, "macro value, clipped");
    }
}

/* Macros of one token are tokens. */
TEST(algo_macro_of_one_token) {
    problem_random(&P, 8, 5);
    P.x.n_macro = P.off[8];
    P.x.total.macro = P.off[8];
    for (int t = 0; t <= P.off[8]; t++) P.macro_off[t] = t;
    tn_ppo_policy_opt o = policy_defaults();
    tn_macro_value_opt v = {value_defaults(), "equal"};
    double g[MAXV], loss = problem_loss(&P, &tn_algo_ppo_policy, &o);
    memcpy(g, P.g_logp, sizeof g);
    CHECK(problem_loss(&P, &tn_algo_macro_policy, &o) == loss &&
          memcmp(g, P.g_logp, sizeof g) == 0);
    for (int w = 0; w < 3; w++) {
        static const char *const weights[] = {"equal", "unit", "position"};
        v.weight = weights[w];
        loss = problem_loss(&P, &tn_algo_ppo_value, &v.value);
        memcpy(g, P.g_value, sizeof g);
        CHECK(problem_loss(&P, &tn_algo_macro_value, &v) == loss &&
              memcmp(g, P.g_value, sizeof g) == 0);
    }
}

TEST(algo_macro_refuses) {
    tn_ppo_policy_opt o = policy_defaults();
    tn_macro_value_opt v = macro_value_defaults();
#define FRESH (problem_random(&P, 8, 3), P.g = (tn_grad){0})
#define REFUSED(text)                                                                              \
    do {                                                                                           \
        CHECK_FAIL(tn_algo_macro_policy.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, text);              \
        CHECK_FAIL(tn_algo_macro_value.step(&v, &P.x, &P.g, &P.m, e), TN_ARG, text);               \
    } while (0)
    FRESH;
    P.x.n_macro = 0;
    REFUSED("found none");
    FRESH;
    P.macro_off[1] = 0;
    REFUSED("macro 0 has tokens 0 to 0");
    FRESH;
    P.x.n_macro = P.x.total.macro = 1;
    P.macro_off[1] = P.off[8];
    REFUSED("of one sequence");
    FRESH;
    P.x.n_macro--;
    REFUSED("expected all");
    FRESH;
    P.x.total.macro--;
    REFUSED("the whole batch is said to have");
    FRESH;
    o.reduction = "sequence_mean";
    CHECK_FAIL(tn_algo_macro_policy.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "policy-reduction");
    v.weight = "first";
    CHECK_FAIL(tn_algo_macro_value.step(&v, &P.x, &P.g, &P.m, e), TN_ARG, "'first'");
    v = macro_value_defaults();
    P.value[2] = NAN;
    CHECK_FAIL(tn_algo_macro_value.step(&v, &P.x, &P.g, &P.m, e), TN_NUMERIC, "value of token");
    P.logp[0] = INFINITY;
    CHECK_FAIL(tn_algo_macro_policy.step(&o, &P.x, &P.g, &P.m, e), TN_NUMERIC, "logp of token 0");
}

/* Every rule cuts every length into consecutive macros; only the authors' code leaves empty
 * ones. */
TEST(algo_macro_cuts) {
    tn_rng r = tn_rng_stream(1, 1, 0);
    double ref[40];
    uint32_t lengths[] = {3, 1, 7, 2};
    for (int n = 1; n <= 40; n++)
        for (int rule = 0; rule < 6; rule++) {
            int off[48], k = 0, span[] = {0, n}, empty = 0;
            for (int t = 0; t < n; t++) ref[t] = -tn_rng_unit(&r);
            memset(off, 77, sizeof off);
            tn_macro_text y = {n, ref, lengths, 4, span, 1};
            CHECK_OK(tn_macro_cut((tn_macro_rule)rule, 1 + n % 5, &y, off, &k, e));
            CHECK(off[0] == 0 && off[k] == n && k <= n + 1 && off[n + 2] == 0x4d4d4d4d);
            for (int i = 0; i < k; i++) CHECK(off[i + 1] >= off[i]), empty += off[i + 1] == off[i];
            CHECK(rule >= TN_MACRO_FIXED_CODE || empty == 0);
        }
    int off[8], k;
    tn_macro_text y = {5, NULL, NULL, 0, NULL, 0};
    CHECK_FAIL(tn_macro_cut(TN_MACRO_PERPLEXITY, 1, &y, off, &k, e), TN_ARG, "reference log-probs");
    CHECK_FAIL(tn_macro_cut(TN_MACRO_RANDOM, 1, &y, off, &k, e), TN_ARG, "lengths");
    CHECK_FAIL(tn_macro_cut(TN_MACRO_PARSE, 1, &y, off, &k, e), TN_ARG, "a parse");
    CHECK_FAIL(tn_macro_cut(TN_MACRO_FIXED, 0, &y, off, &k, e), TN_ARG, "macro-length is 0");
    y.n = 0;
    CHECK_FAIL(tn_macro_cut(TN_MACRO_FIXED, 1, &y, off, &k, e), TN_ARG, "without tokens");
    tn_macro_opt o = macro_defaults();
    tn_macro_rule rule;
    tn_macro_weight w;
    CHECK_FAIL(tn_macro_parse(&o, &rule, &w, e), TN_ARG, "'none'");
    o.rule = "fixed", o.length = 1;
    CHECK_OK(tn_macro_parse(&o, &rule, &w, e));
    static const double falls[] = {-1, -2, -1};
    y = (tn_macro_text){3, falls, NULL, 0, NULL, 0}; /* the second token is the less likely */
    CHECK_OK(tn_macro_cut(TN_MACRO_PERPLEXITY, 1, &y, off, &k, e));
    CHECK(k == 2 && off[1] == 1 && off[2] == 3);
    o.rule = "every";
    CHECK_FAIL(tn_macro_parse(&o, &rule, &w, e), TN_ARG, "'every'");
    o = macro_defaults(), o.rule = "fixed", o.value = "median";
    CHECK_FAIL(tn_macro_parse(&o, &rule, &w, e), TN_ARG, "'median'");
}

/* (S (NP the old man) (VP saw (NP a small boat)) .) then a second sentence without a parse of its
 * own. */
TEST(algo_macro_parse_trees) {
    static const int span[] = {0, 8, 0, 3, 0, 1, 1, 2, 2, 3, 3, 7,
                               3, 4, 4, 7, 4, 5, 5, 6, 6, 7, 7, 8};
    tn_macro_text y = {9, NULL, NULL, 0, span, 12};
    struct {
        int64_t below;
        int n, off[9];
    } want[] = {
        {4, 2, {0, 4, 9}}, /* the old man + saw | a small boat + . + the rest */
        {5, 2, {0, 3, 9}}, /* the whole VP is one */
        {3, 1, {0, 9}},    /* leaves only: each joins the one before */
        {9, 1, {0, 9}},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        int off[12], k = 0;
        CHECK_OK(tn_macro_cut(TN_MACRO_PARSE, want[i].below, &y, off, &k, e));
        CHECK_MSG(k == want[i].n && memcmp(off, want[i].off, sizeof(int) * (size_t)(k + 1)) == 0,
                  "below %d: %d macros, first ends at %d", (int)want[i].below, k, off[1]);
    }
    static const int big[] = {0, 7, 0, 1, 1, 6, 6, 7}, first[] = {0, 3, 0, 1, 1, 3};
    int off[12], k = 0; /* a constituent without parts is one macro however long it is */
    y = (tn_macro_text){7, NULL, NULL, 0, big, 4};
    CHECK_OK(tn_macro_cut(TN_MACRO_PARSE, 3, &y, off, &k, e));
    CHECK(k == 2 && off[1] == 1 && off[2] == 7);
    y = (tn_macro_text){3, NULL, NULL, 0, first, 3};
    CHECK_OK(tn_macro_cut(TN_MACRO_PARSE, 3, &y, off, &k, e));
    CHECK(k == 2 && off[1] == 1 && off[2] == 3);
    y.span = big, y.n_span = 0; /* no parse: one macro */
    CHECK_OK(tn_macro_cut(TN_MACRO_PARSE, 3, &y, off, &k, e));
    CHECK(k == 1 && off[1] == 3);
    static const int cross[] = {0, 7, 0, 4, 0, 2, 3, 6};
    y = (tn_macro_text){7, NULL, NULL, 0, cross, 4};
    CHECK_FAIL(tn_macro_cut(TN_MACRO_PARSE, 3, &y, off, &k, e), TN_ARG, "node 3 of the parse");
    y.n = 9;
    static const int bad[][4] = {
        {0, 10, 0, 1}, {0, 5, 4, 7}, {2, 2, 0, 1}, {3, 5, 0, 3}, {-1, 4, 0, 1}};
    for (size_t i = 0; i < 5; i++) {
        y.span = bad[i], y.n_span = 2;
        CHECK_FAIL(tn_macro_cut(TN_MACRO_PARSE, 3, &y, off, &k, e), TN_ARG, "no constituent");
    }
}

TEST(algo_macro_random_lengths) {
    tn_macro_opt o = macro_defaults();
    uint32_t a[64], b[64];
    int n, m, moved = 0, count[11] = {0};
    o.repeat = 4;
    CHECK_OK(tn_macro_lengths(&o, 7, 1, a, 64, &n, e));
    CHECK_OK(tn_macro_lengths(&o, 7, 1, b, 64, &m, e));
    CHECK(n == 16 && m == 16 && memcmp(a, b, sizeof(uint32_t) * 16) == 0);
    CHECK_OK(tn_macro_lengths(&o, 7, 2, b, 64, &m, e));
    for (int i = 0; i < n; i++) moved += a[i] != b[i], count[a[i]]++;
    CHECK(moved > 0 && count[2] == 4 && count[3] == 4 && count[5] == 4 && count[10] == 4);
    CHECK_FAIL(tn_macro_lengths(&o, 7, 1, a, 15, &n, e), TN_ARG, "4 lengths 4 times over");
    CHECK_OK(tn_macro_lengths(&o, 7, 1, a, 16, &n, e));
    const char *const own[] = {"6", "x", "1"};
    o.lengths = (tn_opt_list){own, 1};
    CHECK_OK(tn_macro_lengths(&o, 7, 1, a, 64, &n, e));
    CHECK(n == 4 && a[0] == 6 && a[3] == 6);
    o.lengths = (tn_opt_list){own + 2, 1}, o.repeat = 1;
    CHECK_OK(tn_macro_lengths(&o, 7, 1, a, 1, &n, e));
    CHECK(n == 1 && a[0] == 1);
    o.lengths = (tn_opt_list){own, 2};
    CHECK_FAIL(tn_macro_lengths(&o, 7, 1, a, 64, &n, e), TN_ARG, "'x'");
}

/* One token a macro: tn_gae to the bit. One macro a response: the bandit. In between, gamma is per
 * macro. */
TEST(algo_macro_gae_limits) {
    problem_random(&P, 4, 9);
    int n = P.off[4], off[MAXV];
    double adv[MAXV], ret[MAXV], want[2][MAXV], out[4][MAXV];
    tn_metrics m = {0};
    for (int t = 0; t <= n; t++) off[t] = t;
    adv[n] = ret[n] = 77;
    tn_macros a = {4, P.off, off, out[0], out[1], out[2], out[3]};
    tn_gae(4, P.off, P.advantage, P.value, 0.9, 0.8, want[0], want[1]);
    tn_macro_gae(TN_MACRO_POSITION, false, P.advantage, P.value, 0.9, 0.8, &a, adv, ret, &m);
    CHECK(memcmp(adv, want[0], sizeof(double) * (size_t)n) == 0 &&
          memcmp(ret, want[1], sizeof(double) * (size_t)n) == 0);

    CHECK(adv[n] == 77 && ret[n] == 77);
    int seq[] = {0, 1, 2, 3, 4};
    a.seq_off = seq, a.off = P.off;
    tn_macro_gae(TN_MACRO_EQUAL, false, P.advantage, P.value, 0.9, 0.8, &a, adv, ret, &m);
    for (int s = 0; s < 4; s++) {
        double r = 0, v = 0, len = P.off[s + 1] - P.off[s];
        for (int t = P.off[s]; t < P.off[s + 1]; t++)
            r += pow(0.9, t - P.off[s]) * P.advantage[t], v += P.value[t] / len;
        for (int t = P.off[s]; t < P.off[s + 1]; t++)
            CHECK_NEAR(adv[t], r - v, 1e-12, 1e-14), CHECK_NEAR(ret[t], r, 1e-12, 1e-14);
    }
    /* two macros of two tokens, by hand */
    static const int two[] = {0, 2, 4}, one[] = {0, 2};
    static const double r[] = {1, 2, 3, 4}, v[] = {0.5, 1, 1.5, 2};
    tn_macros b = {1, one, two, out[0], out[1], out[2], out[3]};
    tn_macro_gae(TN_MACRO_UNIT, false, r, v, 0.5, 0.8, &b, adv, ret, &m);
    double last = 3 + 0.5 * 4 - 2, first = (1 + 0.5 * 2) + 0.5 * 2 - 1 + 0.5 * 0.8 * last;
    CHECK_NEAR(adv[2], last, 1e-15, 0);
    CHECK_NEAR(adv[1], first, 1e-15, 0);
    /* the authors' empty macro takes part with V = R = 0: the last value is bootstrapped times
     * lambda */
    static const int gap[] = {0, 2, 2, 4}, three[] = {0, 3};
    tn_macros c = {1, three, gap, out[0], out[1], out[2], out[3]};
    tn_macro_gae(TN_MACRO_UNIT, false, r, v, 1, 0.8, &c, adv, ret, &m);
    CHECK(c.value[1] == 0 && c.reward[1] == 0);
    CHECK_NEAR(adv[0], (3 - 1) + 0.8 * (2 + 0.8 * (7 - 2)), 1e-14, 0);
}

/* The clipped value loss from its definition. */
TEST(algo_ppo_value_definition) {
    tn_ppo_value_opt v = {0.2, 0.7, NULL};
    problem_random(&P, 8, 62);
    double sum = 0;
    for (int t = 0; t < P.off[8]; t++) {
        double held = fmin(fmax(P.value[t], P.old_value[t] - 0.2), P.old_value[t] + 0.2);
        sum += 0.5 * fmax(pow(P.value[t] - P.ret[t], 2), pow(held - P.ret[t], 2)) / P.off[8];
    }
    CHECK_NEAR(problem_loss(&P, &tn_algo_ppo_value, &v), 0.7 * sum, 1e-13, 0);
}

TEST(algo_ppo_reductions) {
    tn_ppo_policy_opt o = {0.2, 0.28, 0, 0, 20, "sequence_mean"};
    tn_ppo_value_opt v = {0, 0.7, "sequence_mean"};
    problem_random(&P, 8, 61);
    for (int t = 0; t < P.off[8]; t++) { /* well inside the clip, or well outside */
        double d = P.logp[t] - P.old_logp[t];
        P.old_logp[t] = P.logp[t] - (fabs(d) < 0.12 ? d : d > 0 ? 0.4 : -0.4);
    }
    problem_differences(&P, &tn_algo_ppo_policy, &o, NULL, NULL, TOL, "policy, mean of means");
    problem_additive(&P, &tn_algo_ppo_policy, &o, 's', "policy, mean of means");
    problem_differences(&P, &tn_algo_ppo_value, &v, NULL, NULL, TOL, "value, mean of means");
    problem_additive(&P, &tn_algo_ppo_value, &v, 's', "value, mean of means");
    double by_hand = 0;
    for (int s = 0; s < 8; s++)
        for (int t = P.off[s]; t < P.off[s + 1]; t++)
            by_hand += 0.7 * 0.5 * pow(P.value[t] - P.ret[t], 2) / (P.off[s + 1] - P.off[s]) / 8;
    CHECK_NEAR(problem_loss(&P, &tn_algo_ppo_value, &v), by_hand, 1e-13, 0);
    v.reduction = "token_mean";
    CHECK(fabs(problem_loss(&P, &tn_algo_ppo_value, &v) - by_hand) > 1e-3);
    P.x.total.seq = 0;
    P.g = (tn_grad){0};
    CHECK_FAIL(tn_algo_ppo_policy.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "sequences");
}
