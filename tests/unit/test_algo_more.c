/* Gradients, sums and refusals of the losses on single responses, without a reference, and with
 * group advantages; group advantages and selection. */
#include "algo/group.h"
#include "algo_case.h"
#include "base/mathx.h"

#define TOL 2e-9
static problem P;

TEST(algo_gradients_kto) {
    static const char *const types[] = {"kto", "apo_zero_unpaired", "bco"};
    for (int i = 0; i < 3; i++) {
        tn_kto_opt o = {0.3, 1.2, 0.8, types[i]};
        problem_random(&P, 8, 100 + (uint64_t)i);
        P.x.label = P.label;
        problem_baseline(&P, 0.4);
        problem_differences(&P, &tn_algo_kto, &o, NULL, NULL, TOL, types[i]);
        double with = problem_loss(&P, &tn_algo_kto, &o);
        problem_baseline(&P, 0);
        CHECK((problem_loss(&P, &tn_algo_kto, &o) == with) ==
              (i == 1)); /* apo has no reference point */
        CHECK(isfinite(tn_metrics_find(&P.m, "rewards/chosen")) &&
              isfinite(tn_metrics_find(&P.m, "rewards/rejected")));
    }
    tn_kto_opt o = {0.3, 1, 1, "kto"};
    problem_baseline(&P, NAN);
    CHECK_FAIL(tn_algo_kto.step(&o, &P.x, &P.g, &P.m, e), TN_NUMERIC, "reference point");
    P.x.baseline = NULL;
    CHECK_FAIL(tn_algo_kto.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "without reference points");
    P.x.label = NULL;
    CHECK_FAIL(tn_algo_kto.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "without labels");
    /* every response alone, with the same totals */
    for (int b = 0; b < 2; b++) {
        problem_random(&P, 8, 104);
        P.x.label = P.label;
        problem_baseline(&P, 0.2);
        o.loss_type = b ? "bco" : "kto";
        problem_additive(&P, &tn_algo_kto, &o, 's', "kto");
    }
    const double l[] = {-3, -2}, r[] = {-2, -2.5};
    CHECK(tn_kto_baseline(l, r, 2) == 0 && tn_kto_baseline(l, r, 0) == 0); /* clamped; empty */
    tn_bco_state st = {0};
    CHECK_NEAR(tn_bco_baseline(&st, 0.5, l, r, 2), -0.125, 1e-15, 0);
    CHECK_NEAR(tn_bco_baseline(&st, 0.5, r, l, 1), (-0.25 + 0.5) / 3, 1e-15, 0);
}

TEST(algo_gradients_reference_free) {
    static const char *const types[] = {"sigmoid", "hinge", "ipo", "simpo"};
    for (int i = 0; i < 4; i++)
        for (int alpha = 0; alpha < 2; alpha++) {
            tn_cpo_opt o = {0.6, types[i], i == 1 ? 0 : 0.1, 0.7, 0.4, alpha ? 0.05 : 0};
            problem_random(&P, 8, 110);
            problem_differences(&P, &tn_algo_cpo, &o, NULL, NULL, TOL, types[i]);
            problem_additive(&P, &tn_algo_cpo, &o, 'p', types[i]);
        }
    /* a shape that goes to 0 is the plain log-probability */
    tn_cpo_opt plain = {0.6, "simpo", 0, 0, 0.4, 0}, tiny = plain;
    tiny.alpha = 1e-9;
    CHECK_NEAR(problem_loss(&P, &tn_algo_cpo, &tiny), problem_loss(&P, &tn_algo_cpo, &plain), 1e-7,
               0);
    plain.beta = -1;
    CHECK_FAIL(tn_algo_cpo.step(&plain, &P.x, &P.g, &P.m, e), TN_ARG, "beta is -1");

    tn_orpo_opt o = {0.4, "completion"};
    problem_random(&P, 8, 111);
    problem_differences(&P, &tn_algo_orpo, &o, NULL, NULL, TOL, "orpo");
    problem_additive(&P, &tn_algo_orpo, &o, 'p', "orpo");
    for (int t = P.off[2]; t < P.off[3]; t++) P.logp[t] = -1e-9; /* nearly certain: finite */
    CHECK(isfinite(problem_loss(&P, &tn_algo_orpo, &o)));
    for (int t = P.off[2]; t < P.off[3]; t++) CHECK(isfinite(P.g_logp[t]));
    for (int t = P.off[2]; t < P.off[3]; t++) P.logp[t] = 0;
    CHECK_FAIL(tn_algo_orpo.step(&o, &P.x, &P.g, &P.m, e), TN_NUMERIC,
               "sequence 2 has probability 1");

    /* the prompts' tokens in the likelihood: sequences 4 and 5 are those of two pairs, which share the second */
    o.nll = "all";
    problem_random(&P, 8, 113);
    P.x.n_pair = 2, P.x.total.pair = 2;
    CHECK_FAIL(tn_algo_orpo.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "without their prompts");
    P.x.prompt = P.prompt;
    P.prompt[0] = -1, P.prompt[1] = 5;
    double without = P.off[1] - P.off[0] + P.off[3] - P.off[2], with = without + P.off[6] - P.off[5];
    P.x.total.chosen_tok = with;
    problem_differences(&P, &tn_algo_orpo, &o, NULL, NULL, TOL, "orpo with prompts");
    double sum = 0;
    for (int t = P.off[5]; t < P.off[6]; t++) {
        CHECK_NEAR(P.g_logp[t], -1 / with, 1e-15, 0);
        sum += P.logp[t];
    }
    double all = tn_metrics_find(&P.m, "nll_loss") * with;
    o.nll = "completion", P.x.total.chosen_tok = without;
    problem_loss(&P, &tn_algo_orpo, &o);
    CHECK_NEAR(tn_metrics_find(&P.m, "nll_loss") * without - sum, all, 1e-13, 0);

    tn_slic_opt s = {1, 0.1};
    problem_random(&P, 8, 112);
    problem_differences(&P, &tn_algo_slic, &s, NULL, NULL, TOL, "slic");
    problem_additive(&P, &tn_algo_slic, &s, 'p', "slic");
}

TEST(algo_gradients_aot) {
    static const char *const types[] = {"aot", "aot_unpaired"};
    for (int i = 0; i < 2; i++) {
        tn_dpo_opt o = dpo_defaults();
        o.beta = 0.5;
        o.label_smoothing = 0.05;
        o.loss_type = (tn_opt_list){types + i, 1};
        problem_random(&P, 12, 120);
        problem_differences(&P, &tn_algo_dpo_aot, &o, NULL, NULL, TOL, types[i]);
        /* one pair: no sorting is left, so both are DPO on that pair */
        static const char *const sigmoid[] = {"sigmoid"};
        P.x.n_pair = 1;
        P.x.total.pair = 1;
        P.x.p_chosen = P.x.margin = NULL;
        double alone = problem_loss(&P, &tn_algo_dpo_aot, &o), g0 = P.g_logp[0];
        tn_metrics aot = P.m;
        o.loss_type = (tn_opt_list){sigmoid, 1};
        CHECK_NEAR(problem_loss(&P, &tn_algo_dpo, &o), alone, 1e-14, 0);
        CHECK_NEAR(P.g_logp[0], g0, 1e-13, 0);
        CHECK(aot.n == 11);
        for (int m = 0; m < aot.n; m++)
            CHECK_NEAR(tn_metrics_get(&aot, m), tn_metrics_find(&P.m, aot.v[m].name), 1e-13, 0);
        CHECK_FAIL(tn_algo_dpo_aot.step(&o, &P.x, &P.g, &P.m, e), TN_ARG,
                   "aot or aot_unpaired alone");
        o.loss_type = (tn_opt_list){types + i, 1};
        CHECK_FAIL(tn_algo_dpo.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "dpo-aot");
        P.x.total.pair = 2;
        CHECK_FAIL(tn_algo_dpo_aot.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "1 of 2 pairs");
        o.weighting = true;
        CHECK_FAIL(tn_algo_dpo_aot.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "use-weighting");
    }
}

/* Away from the bends of the clip, for tokens and for whole responses. */
static void clear_of_bends(problem *p, const double *bends, int n) {
    for (int s = 0; s < p->x.n_seq; s++) {
        int len = p->off[s + 1] - p->off[s];
        for (int t = p->off[s]; t < p->off[s + 1]; t++)
            for (int i = 0; i < n; i++)
                if (fabs(p->logp[t] - p->old_logp[t] - bends[i]) < 0.02) p->old_logp[t] += 0.05;
        double d = 0;
        for (int t = p->off[s]; t < p->off[s + 1]; t++) d += p->logp[t] - p->old_logp[t];
        for (int i = 0; i < n; i++)
            if (fabs(d / len - bends[i]) < 0.01 || fabs(d - bends[i]) < 0.02)
                p->old_logp[p->off[s]] += 0.03 * len + 0.05;
    }
}
static double frozen_cispo(problem *p, const void *ctx) {
    const double *c = ctx;
    double sum = 0;
    for (int t = 0; t < p->off[p->x.n_seq]; t++) sum -= c[t] * p->advantage[t] * p->logp[t];
    return sum / p->x.total.tok;
}
/* Every option that changes the gradient, one bit each. */
enum { WITH_CAPS = 1, WITH_CORRECTION = 2, WITH_MASKS = 4 };
static tn_grpo_opt grpo_of(const char *type, const char *level, int with) {
    tn_grpo_opt o = grpo_defaults();
    o.loss_type = type, o.level = level, o.epsilon_high = 0.28, o.max_completion = 12;
    if (with & WITH_CAPS) o.delta = 1.4, o.beta = 0.04, o.entropy_coef = 0.02;
    o.bias_correction = (with & WITH_CORRECTION) != 0;
    if (with & WITH_MASKS) o.off_policy = 0.05, o.entropy_floor = 1.5;
    return o;
}
static void one_advantage(problem *p) {
    for (int s = 0; s < p->x.n_seq; s++)
        for (int t = p->off[s]; t < p->off[s + 1]; t++) p->advantage[t] = p->advantage[p->off[s]];
}
TEST(algo_gradients_grpo) {
    static const char *const types[] = {"dapo", "bnpo", "grpo", "dr_grpo", "luspo", "sapo"};
    static const char *const levels[] = {"token", "sequence"};
    const double bends[] = {log(0.8), log(1.28), log(1.4)};
    for (int i = 0; i < 6; i++)
        for (int level = 0; level < 2; level++)
            for (int with = 0; with < 8; with++) {
                tn_grpo_opt o = grpo_of(types[i], levels[level], with);
                problem_random(&P, 8, 130 + (uint64_t)i);
                if (level || with & WITH_MASKS) one_advantage(&P);
                clear_of_bends(&P, bends, 3);
                P.x.total.gen_tok = 31, P.x.total.kept_tok = 17;
                problem_differences(&P, &tn_algo_grpo, &o, NULL, NULL, TOL, types[i]);
                problem_additive(&P, &tn_algo_grpo, &o, 's', types[i]);
                unsigned more =
                    tn_algo_needs(&tn_algo_grpo, &o) & (TN_NEED_REF_LOGP | TN_NEED_ENTROPY);
                CHECK(more == (with & WITH_CAPS ? TN_NEED_REF_LOGP | TN_NEED_ENTROPY : 0u));
            }
    tn_grpo_opt o = grpo_defaults();
    double c[MAXV];
    o.loss_type = "cispo", o.epsilon_high = 1.1;
    problem_random(&P, 8, 140);
    for (int t = 0; t < P.off[8]; t++) c[t] = fmin(exp(P.logp[t] - P.old_logp[t]), 1.1);
    problem_differences(&P, &tn_algo_grpo, &o, frozen_cispo, c, TOL, "cispo");
    CHECK_NEAR(problem_loss(&P, &tn_algo_grpo, &o), frozen_cispo(&P, c), 1e-13, 0);
    problem_additive(&P, &tn_algo_grpo, &o, 's', "cispo");
    o.level = "sequence";
    CHECK_FAIL(tn_algo_grpo.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "cispo clips the ratio of every token");
    /* vespo: weights of whole responses, without gradient */
    o = grpo_defaults();
    o.loss_type = "vespo";
    one_advantage(&P);
    for (int s = 0; s < 8; s++) {
        double log_w = 0, k = P.advantage[P.off[s]] >= 0 ? 2 : 3;
        for (int t = P.off[s]; t < P.off[s + 1]; t++) log_w += P.logp[t] - P.old_logp[t];
        for (int t = P.off[s]; t < P.off[s + 1]; t++)
            c[t] = exp((5 - k) * (1 - exp(log_w)) + k * log_w);
    }
    problem_differences(&P, &tn_algo_grpo, &o, frozen_cispo, c, TOL, "vespo");
    problem_additive(&P, &tn_algo_grpo, &o, 's', "vespo");
}

TEST(algo_gradients_gmpo) {
    for (int with = 0; with < 8; with++) {
        tn_grpo_opt o = grpo_of("gmpo", "token", with);
        const double bends[] = {-0.2, 0.28};
        o.delta = NAN;
        problem_random(&P, 8, 151);
        one_advantage(&P);
        for (int k = 0; k < 2; k++) clear_of_bends(&P, bends, 2);
        P.x.total.gen_tok = 31, P.x.total.kept_tok = 17;
        problem_differences(&P, &tn_algo_grpo, &o, NULL, NULL, TOL, "gmpo");
        problem_additive(&P, &tn_algo_grpo, &o, 's', "gmpo");
        problem_loss(&P, &tn_algo_grpo, &o);
        CHECK(tn_metrics_find(&P.m, "clip_ratio/low_mean") > 0 && tn_metrics_find(&P.m, "clip_ratio/high_mean") > 0);
    }
    tn_grpo_opt o = grpo_of("gmpo", "token", 0);
    memcpy(P.old_logp, P.logp, sizeof P.logp); /* on policy: the gradient of the loss type grpo */
    problem_loss(&P, &tn_algo_grpo, &o);
    for (int s = 0; s < 8; s++)
        for (int t = P.off[s]; t < P.off[s + 1]; t++)
            CHECK_NEAR(P.g_logp[t], -P.advantage[t] / (8.0 * (P.off[s + 1] - P.off[s])), 1e-14, 0);
    o.delta = 1.4;
    CHECK_FAIL(tn_algo_grpo.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "delta has no meaning in gmpo");
    o.delta = NAN, o.level = "sequence";
    CHECK_FAIL(tn_algo_grpo.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "gmpo clips the ratio of every token");
}

TEST(algo_gradients_a2po) {
    tn_a2po_opt o = {0.3};
    problem_random(&P, 8, 160);
    problem_baseline(&P, 0);
    for (int s = 0; s < 8; s++) P.baseline[s] = 0.1 * s - 0.3;
    problem_differences(&P, &tn_algo_a2po, &o, NULL, NULL, TOL, "a2po");
    problem_additive(&P, &tn_algo_a2po, &o, 's', "a2po");
    memcpy(P.ref_logp, P.logp, sizeof P.logp); /* the reference itself: the loss is the mean of (r - V*)^2 */
    double want = 0;
    for (int s = 0; s < 8; s++) want += pow(P.advantage[P.off[s]] - P.baseline[s], 2) / 8;
    CHECK_NEAR(problem_loss(&P, &tn_algo_a2po, &o), want, 1e-14, 0);
    P.baseline[3] = NAN;
    CHECK_FAIL(tn_algo_a2po.step(&o, &P.x, &P.g, &P.m, e), TN_NUMERIC, "V* of sequence 3");
    P.x.baseline = NULL;
    CHECK_FAIL(tn_algo_a2po.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "optimal values");
    o.beta2 = 0;
    CHECK_FAIL(tn_algo_a2po.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "beta2");
}
TEST(algo_optimal_value) {
    const double r[] = {1, 0, NAN, 0, 1, 1}, none[] = {NAN, NAN}, far[] = {-4000, 1000};
    CHECK_NEAR(tn_optimal_value(r, 6, 0.5), 0.5 * log((3 * exp(2) + 2) / 5), 1e-14, 0);
    CHECK_NEAR(tn_optimal_value(r, 6, 1e9), 0.6, 1e-6, 0);       /* the mean */
    CHECK_NEAR(tn_optimal_value(r, 6, 1e-6), 1, 1e-5, 0);        /* the best */
    CHECK_NEAR(tn_optimal_value(far, 2, 0.5), 1000 - 0.5 * log(2), 1e-14, 0);
    CHECK(isnan(tn_optimal_value(none, 2, 0.5)));
}

TEST(algo_gradients_tpo) {
    static const char *const types[] = {"sigmoid", "hinge", "ipo", "tpo-l"};
    static const int gold[] = {2, 5};
    for (int i = 0; i < 4; i++) {
        tn_cpo_opt o = {.beta = 0.3, .loss_type = types[i], .label_smoothing = i == 0 ? 0.1 : 0, .nll = 0.7, .gamma = 0.4};
        problem_random(&P, 6, 180);
        P.x.n_pair = P.x.total.pair = 2; /* of three responses each, the last one gold */
        P.chosen[0] = 0, P.rejected[0] = 1, P.chosen[1] = 3, P.rejected[1] = 4;
        P.x.margin = P.x.p_chosen = NULL;
        P.x.gold = gold;
        P.x.total.gold_tok = P.off[3] - P.off[2] + P.off[6] - P.off[5];
        problem_differences(&P, &tn_algo_tpo, &o, NULL, NULL, TOL, types[i]);
        double with = problem_loss(&P, &tn_algo_tpo, &o), nll = 0;
        for (int k = 0; k < 2; k++)
            for (int t = P.off[gold[k]]; t < P.off[gold[k] + 1]; t++) nll -= P.logp[t];
        o.nll = 0; /* then nobody asks for gold */
        P.x.gold = NULL;
        CHECK_NEAR(with - problem_loss(&P, &tn_algo_tpo, &o), 0.7 * nll / P.x.total.gold_tok, 1e-13, 0);
        for (int t = P.off[2]; t < P.off[3]; t++) CHECK(P.g_logp[t] == 0);
        o.nll = 1;
        CHECK_FAIL(tn_algo_tpo.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "pair 0 has no gold answer");
        P.x.gold = gold, P.x.total.gold_tok = 1;
        CHECK_FAIL(tn_algo_tpo.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "gold tokens");
        o.beta = 0;
        CHECK_FAIL(tn_algo_tpo.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "beta");
    }
}

TEST(algo_gradients_xpo) {
    static const char *const types[] = {"sigmoid", "ipo"};
    for (int i = 0; i < 2; i++) {
        tn_xpo_opt o = {0.3, types[i], 0.02};
        tn_dpo_opt dpo = dpo_defaults();
        static const char *const same[] = {"sigmoid", "ipo_sum"};
        problem_random(&P, 8, 170);
        for (int p = 0; p < 4; p++) P.label[2 * p] = p % 2, P.label[2 * p + 1] = !(p % 2); /* either may be better */
        P.x.label = P.label;
        P.x.p_chosen = P.x.margin = NULL;
        problem_differences(&P, &tn_algo_xpo, &o, NULL, NULL, TOL, types[i]);
        problem_additive(&P, &tn_algo_xpo, &o, 'p', types[i]);
        double with = problem_loss(&P, &tn_algo_xpo, &o), theirs = 0;
        for (int s = 0; s < 8; s++)
            for (int t = P.off[s]; t < P.off[s + 1] && !P.label[s]; t++) theirs += P.logp[t];
        dpo.beta = 0.3, dpo.loss_type = (tn_opt_list){same + i, 1};
        CHECK_NEAR(with, problem_loss(&P, &tn_algo_dpo, &dpo) + 0.02 * theirs / 4, 1e-13, 0);
        P.label[3] = P.label[2];
        CHECK_FAIL(tn_algo_xpo.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "pair 1 has two responses of the policy");
        P.x.label = NULL;
        CHECK_FAIL(tn_algo_xpo.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "whose the responses are");
        o.alpha = -1;
        CHECK_FAIL(tn_algo_xpo.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "alpha");
        o.beta = 0;
        CHECK_FAIL(tn_algo_xpo.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "beta");
    }
}

/* The dual clip of PPO and delta of GRPO are the same cap; without it the losses agree. */
TEST(algo_grpo_is_ppo) {
    tn_grpo_opt g = grpo_defaults();
    g.entropy_coef = 0.03;
    tn_ppo_policy_opt p = {0.2, NAN, 0, 0.03, 20, NULL};
    double want[MAXV];
    problem_random(&P, 8, 151);
    for (int t = 0; t < P.off[8]; t += 3) P.old_logp[t] = P.logp[t] - 2, P.advantage[t] = -1;
    for (int cap = 0; cap < 2; cap++) {
        double loss = problem_loss(&P, &tn_algo_ppo_policy, &p);
        memcpy(want, P.g_logp, sizeof want);
        CHECK_NEAR(problem_loss(&P, &tn_algo_grpo, &g), loss, 1e-13, 0);
        for (int t = 0; t < P.off[8]; t++) CHECK_NEAR(P.g_logp[t], want[t], 1e-14, 0);
        g.delta = p.dual_clip = 3;
    }
}

/* Reducers and clip fractions by hand: two responses of 1 and 3 tokens in a batch of 10 responses
 * and 40 tokens, ratios e^0.5 (A = 1), 1, e^-0.5 (A = -1), e^-0.5 (A = 1). */
TEST(algo_grpo_by_hand) {
    static const char *const types[] = {"dapo", "bnpo", "grpo", "dr_grpo", "luspo"};
    const double w[5][2] = {{1. / 40, 1. / 40}, {1. / 40, 1. / 40}, {1. / 10, 1. / 30},
                            {1. / 120, 1. / 120}, {1. / 10, 1. / 10}};
    const double d[] = {0.5, 0, -0.5, -0.5}, adv[] = {1, 1, -1, 1};
    const int off[] = {0, 1, 4};
    problem *p = case_fresh(2, off);
    for (int t = 0; t < 4; t++) p->old_logp[t] = p->logp[t] - d[t], p->advantage[t] = adv[t];
    p->x.total.tok = 40, p->x.total.seq = 10;
    for (int i = 0; i < 5; i++) {
        tn_grpo_opt o = grpo_defaults();
        o.loss_type = types[i];
        o.max_completion = 12;
        CHECK_NEAR(problem_loss(p, &tn_algo_grpo, &o),
                   -w[i][0] * 1.2 + w[i][1] * (-1 + 0.8 - exp(-0.5)), 1e-13, 0);
        CHECK(p->g_logp[0] == 0 && p->g_logp[2] == 0);
        CHECK_NEAR(p->g_logp[3], -w[i][1] * exp(-0.5), 1e-13, 0);
        CHECK_NEAR(tn_metrics_find(&p->m, "clip_ratio/high_mean"), 0.25, 1e-15, 0);
        CHECK_NEAR(tn_metrics_find(&p->m, "clip_ratio/low_mean"), 0.25, 1e-15, 0);
        CHECK_NEAR(tn_metrics_find(&p->m, "clip_ratio/region_mean"), 0.5, 1e-15, 0);
        CHECK(tn_metrics_find(&p->m, "clip_ratio/low_min") == 0);
        CHECK(tn_metrics_find(&p->m, "clip_ratio/high_max") == 1);
    }
    /* the KL is a mean over tokens */
    tn_grpo_opt with_kl = grpo_defaults();
    with_kl.beta = 0.1, with_kl.bias_correction = false;
    double kl = 0;
    for (int t = 0; t < 4; t++) kl += tn_kl_value(TN_KL_K3, p->logp[t], p->ref_logp[t]) / 4;
    problem_loss(p, &tn_algo_grpo, &with_kl);
    CHECK_NEAR(tn_metrics_find(&p->m, "kl"), kl, 1e-13, 0);
    /* sapo at ratio 1: half the height of the sigmoid, -2 A / tau */
    tn_grpo_opt sapo = grpo_defaults();
    sapo.loss_type = "sapo";
    memcpy(p->old_logp, p->logp, sizeof p->old_logp);
    CHECK_NEAR(problem_loss(p, &tn_algo_grpo, &sapo),
               (-2 + (-2 + 2 / 1.05 - 2) / 3) / 10, 1e-13, 0);
    for (int t = 0; t < 4; t++) p->old_logp[t] = p->logp[t] - d[t];
    /* at sequence level both fractions count responses: e^0.5 and e^-(1/3) with A = 1 */
    tn_grpo_opt o = grpo_defaults();
    o.level = "sequence";
    problem_loss(p, &tn_algo_grpo, &o);
    CHECK(tn_metrics_find(&p->m, "clip_ratio/high_mean") == 0.5);
    CHECK(tn_metrics_find(&p->m, "clip_ratio/low_mean") == 0);
    for (int t = 1; t < 4; t++) p->advantage[t] = -1;
    problem_loss(p, &tn_algo_grpo, &o);
    CHECK(tn_metrics_find(&p->m, "clip_ratio/low_mean") == 0.5);
    CHECK(tn_metrics_find(&p->m, "clip_ratio/region_mean") == 1);
    memcpy(p->advantage, adv, sizeof adv);
    /* rloo: e^0.5 with A = 1 is clipped, e^-1 with A = -1 too */
    tn_rloo_opt r = {0.2, NAN};
    p->advantage[1] = -1;
    CHECK_NEAR(problem_loss(p, &tn_algo_rloo, &r), (-1.2 + 0.8) / 10, 1e-13, 0);
    CHECK(tn_metrics_find(&p->m, "clip_ratio/high_mean") == 0.5);
    CHECK(tn_metrics_find(&p->m, "clip_ratio/low_mean") == 0.5);
    CHECK(tn_metrics_find(&p->m, "clip_ratio/region_mean") == 1);
}

TEST(algo_gradients_reinforce) {
    tn_rloo_opt o = {0.2, NAN};
    const double bends[] = {log(0.8), log(1.2)};
    problem_random(&P, 8, 160);
    for (int s = 0; s < 8; s++)
        for (int t = P.off[s]; t < P.off[s + 1]; t++) P.advantage[t] = P.advantage[P.off[s]];
    clear_of_bends(&P, bends, 2);
    problem_differences(&P, &tn_algo_rloo, &o, NULL, NULL, TOL, "rloo");
    problem_additive(&P, &tn_algo_rloo, &o, 's', "rloo");
    problem_differences(&P, &tn_algo_reinforce, NULL, NULL, NULL, TOL, "reinforce");
    problem_additive(&P, &tn_algo_reinforce, NULL, 's', "reinforce");
    o.epsilon_high = -1;
    CHECK_FAIL(tn_algo_rloo.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "epsilon-high");
}

TEST(algo_group_advantages) {
    const int off[] = {0, 4, 7, 9};
    /* the last of group 0 could not be scored; group 1 is all equal; group 2 has one score */
    const double r[] = {1, 0.5, 3, NAN, 0.1, 0.1, 0.1, 2, NAN};
    double a[9];
    tn_metrics m = {0};
    const double none[] = {NAN, NAN};
    CHECK_OK(tn_group_advantages(TN_BASE_LEAVE_ONE_OUT, r, 3, off, 1, 1e-4, a, &m, e));
    CHECK_NEAR(a[0], 1 - 1.75, 1e-15, 0);
    CHECK_NEAR(a[1], 0.5 - 2, 1e-15, 0);
    CHECK_NEAR(a[2], 3 - 0.75, 1e-15, 0);
    for (int i = 3; i < 9; i++) CHECK(a[i] == 0);
    CHECK_NEAR(tn_metrics_find(&m, "frac_reward_zero_std"), 1.0 / 2, 1e-15, 0);
    tn_moments all = {0}, g0 = {0};
    for (int i = 0; i < 9; i++)
        if (!isnan(r[i])) tn_moments_add(&all, r + i, 1);
    tn_moments_add(&g0, r, 3);
    CHECK_OK(tn_group_advantages(TN_BASE_BATCH_SCALE, r, 3, off, 1, 1e-4, a, NULL, e));
    CHECK_NEAR(a[2], 1.5 / (sqrt(tn_moments_var(&all, 1)) + 1e-4), 1e-13, 0);
    CHECK_OK(tn_group_advantages(TN_BASE_GROUP_ZSCORE, r, 3, off, 1, 1e-4, a, NULL, e));
    CHECK_NEAR(a[2], 1.5 / (sqrt(tn_moments_var(&g0, 1)) + 1e-4), 1e-13, 0);
    CHECK(a[4] == 0 && a[5] == 0 && a[3] == 0); /* not 1e-17 / 1e-4 */
    const double bad[] = {INFINITY, 1};
    const int two[] = {0, 2}, single[] = {0, 1};
    CHECK_FAIL(tn_group_advantages(TN_BASE_GROUP_MEAN, bad, 1, two, 1, 0, a, NULL, e), TN_NUMERIC,
               "response 0");
    CHECK_OK(tn_group_advantages(TN_BASE_GROUP_MEAN, none, 1, two, 1, 0, a, NULL, e));
    CHECK(a[0] == 0 && a[1] == 0);
    CHECK_FAIL(tn_group_advantages(TN_BASE_GROUP_MEAN, r, 1, single, 1, 0, a, NULL, e), TN_ARG,
               "1 member");
    /* a flat group after others: the test of equality looks at its own members */
    const double later[] = {1, 2, 3, 0.1, 0.1, 0.1};
    const int halves[] = {0, 3, 6};
    CHECK_OK(tn_group_advantages(TN_BASE_GROUP_ZSCORE, later, 2, halves, 1, 1e-4, a, NULL, e));
    CHECK(a[0] < -0.9 && a[2] > 0.9 && a[3] == 0 && a[5] == 0);
    double adv[] = {1, 2, 6};
    CHECK_OK(tn_advantages_normalise(adv, 3, 1, 0, e));
    CHECK_NEAR(adv[2], 3 / sqrt(7), 1e-14, 0);
    CHECK_FAIL(tn_advantages_normalise(adv, 1, 1, 0, e), TN_ARG, "larger batch");
}

TEST(algo_selection) {
    const double r[] = {2, 5, 5, -1, 2}, v[] = {10, 20, 30, 40, 50}, same[] = {1, 1},
                 bad[] = {1, NAN};
    int order[5], best, worst;
    double out;
    CHECK_OK(tn_top(r, 5, 4, order, e));
    CHECK(order[0] == 1 && order[1] == 2 && order[2] == 0 && order[3] == 4);
    CHECK_FAIL(tn_top(r, 5, 6, order, e), TN_ARG, "6 of 5");
    CHECK_FAIL(tn_top(bad, 2, 1, order, e), TN_NUMERIC, "reward 1");
    CHECK(!tn_best_worst(same, 2, &best, &worst) && best == 0 && worst == 0);
    CHECK_FAIL(tn_bon_estimate(r, v, 5, 6, &out, e), TN_ARG, "n is 6");
    CHECK_FAIL(tn_bon_estimate(r, v, 5, 0, &out, e), TN_ARG, "n is 0");
    /* n = 2 of 5 by enumeration; ties by index */
    double sum = 0;
    for (int i = 0; i < 5; i++)
        for (int j = i + 1; j < 5; j++) sum += r[j] > r[i] ? v[j] : v[i];
    CHECK_OK(tn_bon_estimate(r, v, 5, 2, &out, e));
    CHECK_NEAR(out, sum / 10, 1e-14, 0);
    CHECK_OK(tn_bon_estimate(r, v, 5, 5, &out, e));
    CHECK(out == 20);
}
