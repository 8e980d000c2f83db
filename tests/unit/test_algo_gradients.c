/* Gradients of every algorithm against sixth-order differences on random inputs away from kinks,
 * and sums over micro-batches against the whole batch. */
#include "algo_case.h"
#include "base/mathx.h"

#define TOL 2e-9
static problem P;
static const tn_opt_list no_list = {NULL, 0};
static const char *const every_loss[] = {
    "sigmoid",  "sigmoid_norm", "robust",   "hinge",     "ipo",  "ipo_sum",
    "exo_pair", "nca_pair",     "bco_pair", "sppo_hard", "sppo", "apo_zero",
    "apo_down", "discopop",     "dpop",     "r_dpo",     "sft",
};
#define N_LOSS (sizeof every_loss / sizeof every_loss[0])

/* Moves numbers away from the points where the PPO losses bend. */
static void clear_of_kinks(problem *p, double clip, double clip_high, double clip_value) {
    const double bends[] = {log(1 - clip), log(1 + clip_high)};
    for (int t = 0; t < p->off[p->x.n_seq]; t++) {
        double d = p->logp[t] - p->old_logp[t];
        for (int i = 0; i < 2; i++)
            if (fabs(d - bends[i]) < 0.02) p->old_logp[t] += 0.05;
        if (fabs(fabs(p->value[t] - p->old_value[t]) - clip_value) < 0.02) p->old_value[t] += 0.05;
        double dv = p->value[t] - p->old_value[t], far = fabs(dv) > clip_value;
        double mid = p->value[t] + p->old_value[t] + (dv > 0 ? clip_value : -clip_value);
        if (far && fabs(mid / 2 - p->ret[t]) < 0.05) p->ret[t] += 0.15; /* both squares equal */
    }
}

static double frozen_dft(problem *p, const void *ctx) {
    const double *w = ctx; /* probabilities at the point */
    double sum = 0;
    for (int t = 0; t < p->off[p->x.n_seq]; t++) sum -= w[t] * p->logp[t];
    return sum / p->x.total.tok;
}
TEST(algo_gradients_sft) {
    tn_sft_opt o = sft_defaults();
    problem_random(&P, 8, 11);
    problem_differences(&P, &tn_algo_sft, &o, NULL, NULL, TOL, "sft token mean");
    problem_additive(&P, &tn_algo_sft, &o, 's', "sft token mean");
    o.reduction = "sequence_mean";
    problem_differences(&P, &tn_algo_sft, &o, NULL, NULL, TOL, "sft sequence mean");
    problem_additive(&P, &tn_algo_sft, &o, 's', "sft sequence mean");
    o = (tn_sft_opt){"dft", "token_mean"};
    double w[MAXV];
    for (int t = 0; t < P.off[8]; t++) w[t] = exp(P.logp[t]);
    problem_differences(&P, &tn_algo_sft, &o, frozen_dft, w, TOL, "dft");
    CHECK_NEAR(problem_loss(&P, &tn_algo_sft, &o), frozen_dft(&P, w), 1e-13, 0);
    problem_additive(&P, &tn_algo_sft, &o, 's', "dft");
}

TEST(algo_gradients_reward) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        tn_reward_opt o = {0.03, 0.02, 0.1, 1, "pairs", "drop"};
        problem_random(&P, 8, seed);
        problem_differences(&P, &tn_algo_reward, &o, NULL, NULL, TOL, "reward");
        problem_additive(&P, &tn_algo_reward, &o, 'p', "reward");
        o.label_smoothing = 0;
        o.tie_theta = 1.7;
        for (int i = 0; i < 4; i++) P.p_chosen[i] = 0.5 * (i % 3);
        problem_differences(&P, &tn_algo_reward, &o, NULL, NULL, TOL, "reward ties");
        problem_additive(&P, &tn_algo_reward, &o, 'p', "reward ties");
    }
}

TEST(algo_gradients_reward_rank) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        tn_reward_opt o = {0, 0.02, 0.1, 1, "pairs", "drop"};
        problem_random(&P, 12, seed);
        problem_differences(&P, &tn_algo_reward_rank, &o, NULL, NULL, TOL, "pairs, ties dropped");
        problem_additive(&P, &tn_algo_reward_rank, &o, 'g', "pairs, ties dropped");
        o.ties = "half";
        problem_differences(&P, &tn_algo_reward_rank, &o, NULL, NULL, TOL, "pairs, ties half");
        problem_additive(&P, &tn_algo_reward_rank, &o, 'g', "pairs, ties half");
        o.label_smoothing = 0;
        for (int s = 0; s < 12; s++) P.rank[s] = 1 + (s * 3 + (int)seed) % 4;
        o.ranking = "plackett_luce";
        problem_differences(&P, &tn_algo_reward_rank, &o, NULL, NULL, TOL, "plackett_luce");
        problem_additive(&P, &tn_algo_reward_rank, &o, 'g', "plackett_luce");
        for (int s = 0; s < 12; s++) P.rank[s] = P.rank[s] > 1 ? 2 : 1;
        o.ranking = "best";
        problem_differences(&P, &tn_algo_reward_rank, &o, NULL, NULL, TOL, "best");
        problem_additive(&P, &tn_algo_reward_rank, &o, 'g', "best");
    }
}

/* A tie counted half is the mean of both orders; a dropped one is absent. */
TEST(algo_reward_rank_ties) {
    tn_reward_opt o = reward_defaults();
    problem_random(&P, 4, 5);
    static const int ranks[][4] = {{1, 2, 2, 3}, {1, 2, 3, 4}, {1, 3, 2, 4}};
    double loss[3], half;
    for (int i = 0; i < 3; i++) {
        memcpy(P.rank, ranks[i], sizeof ranks[i]);
        loss[i] = problem_loss(&P, &tn_algo_reward_rank, &o);
    }
    memcpy(P.rank, ranks[0], sizeof ranks[0]);
    o.ties = "half";
    half = problem_loss(&P, &tn_algo_reward_rank, &o);
    CHECK_NEAR(half, (loss[1] + loss[2]) / 2, 1e-14, 0);
    double d = P.score[1] - P.score[2];
    CHECK_NEAR(6 * half - 5 * loss[0], (tn_softplus(d) + tn_softplus(-d)) / 2, 1e-13, 0);
    memset(P.rank, 0, sizeof P.rank); /* all equal and dropped: nothing to learn */
    o.ties = "drop";
    CHECK(problem_loss(&P, &tn_algo_reward_rank, &o) == 0);
    CHECK(isnan(tn_metrics_find(&P.m, "accuracy")));
}

/* Groups of 4 against the same comparisons as single pairs, weighted by hand. */
TEST(algo_reward_rank_is_pairs) {
    static problem q;
    tn_reward_opt o = reward_defaults(), plain = reward_defaults();
    problem_random(&P, 8, 6);
    o.l2 = 0.3;
    double want = 0;
    for (int k = 0; k < 2; k++) {
        double sum = 0, n = 0;
        for (int i = 4 * k; i < 4 * k + 4; i++) {
            want += 0.3 * P.score[i] * P.score[i] / 8;
            for (int j = 4 * k; j < 4 * k + 4; j++) {
                if (P.rank[i] >= P.rank[j]) continue;
                q = P;
                problem_wire(&q);
                q.x.margin = q.x.p_chosen = NULL;
                q.x.n_pair = 1, q.x.total.pair = 1;
                q.chosen[0] = i, q.rejected[0] = j;
                sum += problem_loss(&q, &tn_algo_reward, &plain);
                n++;
            }
        }
        want += sum / n / 2;
    }
    P.rank[8] = 9; /* beyond the last group: must not be read */
    CHECK_NEAR(problem_loss(&P, &tn_algo_reward_rank, &o), want, 1e-13, 0);
}

TEST(algo_gradients_prm) {
    problem_random(&P, 6, 2);
    for (int t = 0; t < P.off[6]; t++) P.ret[t] = 0.25 * (t % 5);
    problem_differences(&P, &tn_algo_prm, NULL, NULL, NULL, TOL, "prm");
    problem_additive(&P, &tn_algo_prm, NULL, 's', "prm");
}

static tn_dpo_opt dpo_random(tn_opt_list types) {
    tn_dpo_opt o = dpo_defaults();
    o.beta = 0.4;
    o.loss_type = types;
    o.label_smoothing = 0.08;
    o.margin_scale = 0.3;
    o.bco_delta = 0.1;
    o.discopop_tau = 0.3;
    o.dpop_lambda = 3;
    return o;
}
TEST(algo_gradients_dpo) {
    for (size_t i = 0; i < N_LOSS; i++)
        for (uint64_t seed = 1; seed <= 2; seed++) {
            tn_dpo_opt o = dpo_random((tn_opt_list){every_loss + i, 1});
            problem_random(&P, 8, 20 + seed);
            problem_differences(&P, &tn_algo_dpo, &o, NULL, NULL, TOL, every_loss[i]);
            problem_additive(&P, &tn_algo_dpo, &o, 'p', every_loss[i]);
            o.ld_alpha = 0.3;
            problem_differences(&P, &tn_algo_dpo, &o, NULL, NULL, TOL, every_loss[i]);
        }
}
TEST(algo_gradients_dpo_divergences) {
    static const char *const f[] = {"forward_kl", "js_divergence", "alpha_divergence"};
    static const char *const raw[] = {"nca_pair", "bco_pair", "sppo_hard", "sppo",
                                      "apo_zero", "apo_down", "dpop"};
    for (size_t i = 0; i < N_LOSS; i++)
        for (int d = 0; d < 3; d++) {
            tn_dpo_opt o = dpo_random((tn_opt_list){every_loss + i, 1});
            o.f_divergence = f[d];
            o.f_alpha = 0.3;
            problem_random(&P, 8, 31);
            bool has = true;
            for (size_t r = 0; r < sizeof raw / sizeof raw[0]; r++)
                has = has && strcmp(raw[r], every_loss[i]) != 0;
            if (has) problem_differences(&P, &tn_algo_dpo, &o, NULL, NULL, TOL, every_loss[i]);
            else CHECK_FAIL(tn_algo_dpo.step(&o, &P.x, &P.g, &P.m, e), TN_ARG, "f-divergence-type");
        }
}

/* WPO: weights are constants; each pair's unweighted loss times the weight at the point. */
static double frozen_wpo(problem *p, const void *ctx) {
    const double *w = ctx;
    static const char *const names[] = {"sigmoid"};
    tn_dpo_opt o = dpo_random((tn_opt_list){names, 1});
    double sum = 0;
    int c = p->chosen[0], r = p->rejected[0], n = p->x.n_pair;
    for (int i = 0; i < n; i++) {
        p->x.n_pair = 1;
        p->chosen[0] = 2 * i, p->rejected[0] = 2 * i + 1;
        p->x.margin = p->margin + i, p->x.p_chosen = p->p_chosen + i;
        sum += w[i] * problem_loss(p, &tn_algo_dpo, &o);
    }
    p->x.n_pair = n;
    p->chosen[0] = c, p->rejected[0] = r;
    p->x.margin = p->margin, p->x.p_chosen = p->p_chosen;
    return sum;
}
TEST(algo_gradients_dpo_weighting) {
    static const char *const names[] = {"sigmoid"};
    for (int clip = 0; clip < 2; clip++) {
        tn_dpo_opt o = dpo_random((tn_opt_list){names, 1});
        double w[4];
        int cut = 0;
        o.weighting = true;
        o.weighting_clip = clip;
        problem_random(&P, 8, 41);
        for (int t = 0; t < P.off[4]; t++) P.lssp[t] -= 1.5; /* some weights above 1 */
        for (int i = 0; i < 4; i++) {
            double z = 0;
            for (int s = 2 * i; s < 2 * i + 2; s++)
                for (int t = P.off[s]; t < P.off[s + 1]; t++)
                    z += (P.logp[t] - P.lssp[t]) / (P.off[s + 1] - P.off[s]);
            w[i] = clip && z > 0 ? 1 : exp(z);
            cut += z > 0;
        }
        CHECK(cut > 0 && cut < 4);
        CHECK(tn_algo_needs(&tn_algo_dpo, &o) & TN_NEED_SUM_SQ);
        problem_differences(&P, &tn_algo_dpo, &o, frozen_wpo, w, TOL, "wpo");
        CHECK_NEAR(problem_loss(&P, &tn_algo_dpo, &o), frozen_wpo(&P, w), 1e-13, 0);
        problem_additive(&P, &tn_algo_dpo, &o, 'p', "wpo");
    }
}
TEST(algo_gradients_dpo_mix) {
    static const char *const names[] = {"sigmoid", "bco_pair", "sft", "apo_zero"}, *const w[] = {
                                                                                       "0.8", "0.2",
                                                                                       "1.5",
                                                                                       "-0.3"};
    tn_dpo_opt o = dpo_random((tn_opt_list){names, 4});
    o.loss_weights = (tn_opt_list){w, 4};
    problem_random(&P, 8, 51);
    problem_differences(&P, &tn_algo_dpo, &o, NULL, NULL, TOL, "mix");
    problem_additive(&P, &tn_algo_dpo, &o, 'p', "mix");
    /* sequences that several pairs share */
    static const int chosen[] = {0, 0, 3}, rejected[] = {1, 2, 1};
    memcpy(P.chosen, chosen, sizeof chosen);
    memcpy(P.rejected, rejected, sizeof rejected);
    P.x.n_pair = 3;
    P.x.total.pair = 3;
    P.x.total.chosen_tok = 2.0 * P.off[1] + P.off[4] - P.off[3];
    problem_differences(&P, &tn_algo_dpo, &o, NULL, NULL, TOL, "shared sequences");
}

TEST(algo_gradients_ppo) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        tn_ppo_policy_opt o = {0.2, 0.28, 0, 0.05, 20, "token_mean"};
        tn_ppo_value_opt v = {0.2, 0.7, "token_mean"};
        problem_random(&P, 8, 60 + seed);
        clear_of_kinks(&P, 0.2, 0.28, 0.2);
        problem_differences(&P, &tn_algo_ppo_policy, &o, NULL, NULL, TOL, "ppo policy");
        problem_additive(&P, &tn_algo_ppo_policy, &o, 's', "ppo policy");
        CHECK(tn_metrics_find(&P.m, "policy/clipfrac_positive") > 0);
        CHECK(tn_metrics_find(&P.m, "policy/clipfrac_negative") > 0);
        for (int t = 0; t < P.off[8]; t += 4)
            P.old_logp[t] = P.logp[t] - 1.5, P.advantage[t] = -0.7;
        for (int t = 2; t < P.off[8]; t += 7)
            P.old_logp[t] = P.logp[t] - 21, P.advantage[t] = -1e-8;
        problem_differences(&P, &tn_algo_ppo_policy, &o, NULL, NULL, TOL, "ppo policy, clamped");
        o.dual_clip = 3;
        problem_differences(&P, &tn_algo_ppo_policy, &o, NULL, NULL, TOL, "ppo policy, dual clip");
        problem_differences(&P, &tn_algo_ppo_value, &v, NULL, NULL, TOL, "ppo value");
        CHECK(tn_metrics_find(&P.m, "val/clipfrac_avg") > 0);
        problem_additive(&P, &tn_algo_ppo_value, &v, 's', "ppo value");
        v.clip = 0;
        problem_differences(&P, &tn_algo_ppo_value, &v, NULL, NULL, TOL, "ppo value, unclipped");
    }
}

/* Gradients are not wanted in evaluation: the same loss without any gradient array. */
TEST(algo_gradients_optional) {
    tn_dpo_opt o = dpo_random(no_list);
    tn_reward_opt r = reward_defaults();
    tn_ppo_value_opt v = value_defaults();
    tn_ppo_policy_opt p = policy_defaults();
    tn_sft_opt s = sft_defaults();
    struct { const tn_algo *a; const void *o;
    } all[] = {
        {&tn_algo_dpo, &o},       {&tn_algo_reward, &r},     {&tn_algo_reward_rank, &r},
        {&tn_algo_ppo_value, &v}, {&tn_algo_ppo_policy, &p}, {&tn_algo_sft, &s},
    };
    problem_random(&P, 8, 71);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        tn_grad none = {0};
        tn_metrics m = {0};
        double want = problem_loss(&P, all[i].a, all[i].o);
        CHECK_OK(all[i].a->step(all[i].o, &P.x, &none, &m, e));
        CHECK(none.loss == want);
    }
}

/* Limits: policy = reference, policy = sampling policy, very large scores. */
TEST(algo_limits) {
    tn_dpo_opt o = dpo_defaults();
    problem_random(&P, 8, 81);
    P.x.p_chosen = NULL;
    memcpy(P.ref_logp, P.logp, sizeof P.logp);
    CHECK_NEAR(problem_loss(&P, &tn_algo_dpo, &o), 0.693147180559945309, 1e-15, 0);
    CHECK(tn_metrics_find(&P.m, "rewards/margins") == 0 &&
          tn_metrics_find(&P.m, "rewards/accuracies") == 0);
    memcpy(P.old_logp, P.logp, sizeof P.logp);
    tn_ppo_policy_opt p = policy_defaults();
    problem_loss(&P, &tn_algo_ppo_policy, &p);
    CHECK(tn_metrics_find(&P.m, "val/ratio") == 1 && tn_metrics_find(&P.m, "val/ratio_max") == 1);
    CHECK(tn_metrics_find(&P.m, "policy/clipfrac_avg") == 0);
    for (int t = 0; t < P.off[8]; t++) CHECK(P.g_logp[t] == -P.advantage[t] / P.off[8]);
    tn_reward_opt r = reward_defaults();
    P.x.margin = NULL;
    for (int s = 0; s < 8; s++) P.score[s] = s % 2 ? 1e4 : -1e4;
    CHECK_NEAR(problem_loss(&P, &tn_algo_reward, &r), 2e4, 1e-15, 0);
    for (int s = 0; s < 8; s++) CHECK_NEAR(P.g_score[s], s % 2 ? 0.25 : -0.25, 1e-15, 0);
    for (int s = 0; s < 8; s++)
        P.score[s] = s % 2 ? -40 : 40; /* nothing cancels: s(-80), not 1 - 1 */
    problem_loss(&P, &tn_algo_reward, &r);
    CHECK_NEAR(P.g_score[0], -exp(-80) / 4, 1e-12, 0);
    static const char *const names[] = {"discopop"};
    o.loss_type = (tn_opt_list){names, 1};
    o.discopop_tau = 1;
    o.beta = 1;
    for (int t = 0; t < P.off[8]; t++) P.ref_logp[t] = P.logp[t] + (t < P.off[1] ? 800 : -800);
    CHECK(isfinite(problem_loss(&P, &tn_algo_dpo, &o)));
}

/* A smoothed label is the label with another probability. */
TEST(algo_label_smoothing) {
    for (int which = 0; which < 2; which++) {
        tn_reward_opt r = reward_defaults();
        tn_dpo_opt d = dpo_defaults();
        const tn_algo *a = which ? &tn_algo_dpo : &tn_algo_reward;
        const void *o = which ? (const void *)&d : (const void *)&r;
        r.label_smoothing = d.label_smoothing = 0.15;
        problem_random(&P, 8, 91);
        double smoothed = problem_loss(&P, a, o), sure;
        r.label_smoothing = d.label_smoothing = 0;
        for (int i = 0; i < 4; i++)
            P.p_chosen[i] = P.p_chosen[i] * 0.85 + (1 - P.p_chosen[i]) * 0.15;
        CHECK_NEAR(problem_loss(&P, a, o), smoothed, 1e-14, 0);
        for (int i = 0; i < 4; i++) P.p_chosen[i] = 1;
        sure = problem_loss(&P, a, o);
        P.x.p_chosen = NULL;
        CHECK(problem_loss(&P, a, o) == sure && fabs(sure - smoothed) > 1e-3);
    }
}
