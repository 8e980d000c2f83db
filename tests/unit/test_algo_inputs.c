/* What algorithms refuse and how they say it; metrics; the registry and its option rows. */
#include "algo_case.h"

static problem P;
static tn_sft_opt sft;
static tn_reward_opt reward;
static tn_dpo_opt dpo;
static tn_ppo_policy_opt policy;
static tn_ppo_value_opt value;

static void start(void) {
    problem_random(&P, 8, 3);
    sft = sft_defaults(), reward = reward_defaults(), dpo = dpo_defaults();
    policy = policy_defaults(), value = value_defaults();
    P.g = (tn_grad){.logp = P.g_logp, .entropy = P.g_entropy, .value = P.g_value, .score = P.g_score};
}
#define REFUSED(algo, opt, code, text)                                                             \
    CHECK_FAIL((algo).step((opt), &P.x, &P.g, &P.m, e), code, text)

TEST(algo_refuses_numbers) {
    const double bad[] = {NAN, INFINITY, -INFINITY};
    struct { const tn_algo *a; const void *o; double *v; const char *name; } all[] = {
        {&tn_algo_sft, &sft, P.logp, "logp"},
        {&tn_algo_dpo, &dpo, P.logp, "logp"},
        {&tn_algo_dpo, &dpo, P.ref_logp, "ref_logp"},
        {&tn_algo_ppo_policy, &policy, P.logp, "logp"},
        {&tn_algo_ppo_policy, &policy, P.old_logp, "old_logp"},
        {&tn_algo_ppo_policy, &policy, P.advantage, "advantage"},
        {&tn_algo_ppo_value, &value, P.value, "value"},
        {&tn_algo_ppo_value, &value, P.old_value, "old_value"},
        {&tn_algo_ppo_value, &value, P.ret, "ret"},
        {&tn_algo_prm, NULL, P.value, "value"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (int b = 0; b < 3; b++) {
            char where[80];
            start();
            int t = P.off[3] - 1, in = t - P.off[2];
            all[i].v[t] = bad[b];
            snprintf(where, sizeof where, "%s of token %d of sequence 2 is %g", all[i].name, in,
                     bad[b]);
            REFUSED(*all[i].a, all[i].o, TN_NUMERIC, where);
            CHECK(P.g_logp[0] == 0 && P.m.n == 0); /* nothing half done */
        }
    start();
    P.score[5] = NAN;
    REFUSED(tn_algo_reward, &reward, TN_NUMERIC, "score of sequence 5");
    REFUSED(tn_algo_reward_rank, &reward, TN_NUMERIC, "score of sequence 5");
    start();
    policy.entropy_coef = 0.01;
    P.entropy[0] = NAN;
    REFUSED(tn_algo_ppo_policy, &policy, TN_NUMERIC, "entropy of token 0 of sequence 0");
    start();
    P.margin[2] = INFINITY;
    REFUSED(tn_algo_reward, &reward, TN_NUMERIC, "margin of pair 2");
    start();
    P.p_chosen[1] = 1.5;
    REFUSED(tn_algo_dpo, &dpo, TN_NUMERIC, "label probability of pair 1");
    start();
    P.ret[0] = 2;
    REFUSED(tn_algo_prm, NULL, TN_ARG, "label");
}

TEST(algo_refuses_shapes) {
    const tn_algo *const by_token[] = {&tn_algo_sft, &tn_algo_dpo, &tn_algo_ppo_policy,
                                       &tn_algo_ppo_value, &tn_algo_prm};
    const void *const opts[] = {&sft, &dpo, &policy, &value, NULL};
    for (int i = 0; i < 5; i++) {
        start();
        P.off[4] = P.off[3];
        REFUSED(*by_token[i], opts[i], TN_ARG, "sequence 3 has no scored token (empty mask)");
        start();
        P.off[0] = 1;
        REFUSED(*by_token[i], opts[i], TN_ARG, "offsets");
        start();
        P.x.n_seq = 0;
        REFUSED(*by_token[i], opts[i], TN_ARG, "without sequences");
        start();
        P.x.logp = P.x.value = NULL;
        REFUSED(*by_token[i], opts[i], TN_ARG, "needs the array");
    }
    start();
    P.x.total.tok = P.off[8] - 1;
    REFUSED(tn_algo_sft, &sft, TN_ARG, "the whole batch is said to have");
    REFUSED(tn_algo_ppo_policy, &policy, TN_ARG, "tokens");
    REFUSED(tn_algo_ppo_value, &value, TN_ARG, "tokens");
    sft.reduction = "sequence_mean";
    P.x.total.seq = 0;
    REFUSED(tn_algo_sft, &sft, TN_ARG, "sequences");
    start();
    P.x.total.pair = NAN;
    REFUSED(tn_algo_dpo, &dpo, TN_ARG, "pairs");
    REFUSED(tn_algo_reward, &reward, TN_ARG, "pairs");
    start();
    P.chosen[1] = 8;
    REFUSED(tn_algo_dpo, &dpo, TN_ARG, "pair 1 joins sequences 8 and 3");
    P.chosen[1] = 3;
    REFUSED(tn_algo_reward, &reward, TN_ARG, "two different ones");
    P.chosen[1] = 2;
    P.rejected[1] = -1;
    REFUSED(tn_algo_reward, &reward, TN_ARG, "pair 1 joins sequences 2 and -1");
    P.rejected[1] = 8;
    REFUSED(tn_algo_reward, &reward, TN_ARG, "pair 1 joins sequences 2 and 8");
    P.x.n_pair = 0;
    REFUSED(tn_algo_dpo, &dpo, TN_ARG, "found none");
    start();
    P.group_off[1] = 1;
    REFUSED(tn_algo_reward_rank, &reward, TN_ARG, "group 0 has 1 member");
    start();
    P.group_off[2] = 9;
    REFUSED(tn_algo_reward_rank, &reward, TN_ARG, "stay within 8 sequences");
    P.x.n_group = 1; /* sequences beyond the groups are fine */
    problem_loss(&P, &tn_algo_reward_rank, &reward);
    start();
    P.x.rank = NULL;
    REFUSED(tn_algo_reward_rank, &reward, TN_ARG, "ranks");
}

TEST(algo_refuses_options) {
    static const char *const unknown[] = {"sigmoid", "sigmoide"}, *const sft_name[] = {"sft"};
    static const char *const exo[] = {"exo_pair"}, *const robust[] = {"robust"},
                             *const weights[] = {"1", "x"};
    start();
    dpo.beta = 0;
    REFUSED(tn_algo_dpo, &dpo, TN_ARG, "beta is 0");
    start();
    dpo.loss_type = (tn_opt_list){unknown, 2};
    REFUSED(tn_algo_dpo, &dpo, TN_ARG, "no loss type 'sigmoide'");
    dpo.loss_type = (tn_opt_list){unknown, 1};
    dpo.loss_weights = (tn_opt_list){weights, 2};
    REFUSED(tn_algo_dpo, &dpo, TN_ARG, "2 loss-weights for 1 loss types");
    dpo.loss_weights = (tn_opt_list){weights + 1, 1};
    REFUSED(tn_algo_dpo, &dpo, TN_ARG, "'x', expected a number");
    start();
    dpo.loss_type = (tn_opt_list){exo, 1};
    REFUSED(tn_algo_dpo, &dpo, TN_ARG, "exo_pair needs label-smoothing");
    dpo.loss_type = (tn_opt_list){robust, 1};
    dpo.label_smoothing = 0.5;
    REFUSED(tn_algo_dpo, &dpo, TN_ARG, "robust needs");
    start();
    dpo.loss_type = (tn_opt_list){sft_name, 1};
    P.x.total.chosen_tok = 0;
    REFUSED(tn_algo_dpo, &dpo, TN_ARG, "chosen tokens");
    dpo.weighting = true;
    REFUSED(tn_algo_dpo, &dpo, TN_ARG, "use-weighting");
    start();
    dpo.ld_alpha = 1.5;
    REFUSED(tn_algo_dpo, &dpo, TN_ARG, "ld-alpha is 1.5");
    start();
    policy.clip = NAN;
    REFUSED(tn_algo_ppo_policy, &policy, TN_ARG, "cliprange is nan");
    start();
    policy.dual_clip = 0.5;
    REFUSED(tn_algo_ppo_policy, &policy, TN_ARG, "dual-clip");
    value.clip = -1;
    REFUSED(tn_algo_ppo_value, &value, TN_ARG, "cliprange-value is -1");
    reward.label_smoothing = 0.7;
    REFUSED(tn_algo_reward, &reward, TN_ARG, "label-smoothing is 0.7");
    start();
    reward.center = 0.01;
    REFUSED(tn_algo_reward_rank, &reward, TN_ARG, "reward-l2");
    start();
    reward.ranking = "plackett_luce";
    P.rank[1] = P.rank[0];
    REFUSED(tn_algo_reward_rank, &reward, TN_ARG, "group 0 has rank");
}

TEST(algo_metrics) {
    tn_metrics a, b;
    tn_metrics_clear(&a);
    tn_metrics_clear(&b);
    char name[] = "margin"; /* equal text at another address is the same metric */
    tn_metrics_mean(&a, "margin", 3, 2);
    tn_metrics_mean(&b, name, 5, 6);
    tn_metrics_put(&a, TN_METRIC_MAX, "hi", -4);
    tn_metrics_put(&a, TN_METRIC_MAX, "hi", -7);
    tn_metrics_put(&b, TN_METRIC_MAX, "hi", -5);
    tn_metrics_put(&a, TN_METRIC_MIN, "lo", 4);
    tn_metrics_put(&b, TN_METRIC_MIN, "lo", 2);
    tn_metrics_put(&b, TN_METRIC_MIN, "lo", 3);
    tn_metrics_put(&a, TN_METRIC_SUM, "n", 10);
    tn_metrics_put(&b, TN_METRIC_SUM, "n", 5);
    tn_metrics_mean(&b, "only", 1, 4);
    tn_metrics_mean(&a, "none", 0, 0);
    tn_metrics_merge(&a, &b);
    CHECK(a.n == 6);
    CHECK(tn_metrics_find(&a, "margin") == 1); /* 8/8, not the mean of 1.5 and 5/6 */
    CHECK(tn_metrics_find(&a, "hi") == -4 && tn_metrics_find(&a, "lo") == 2);
    CHECK(tn_metrics_find(&a, "n") == 15 && tn_metrics_find(&a, "only") == 0.25);
    CHECK(isnan(tn_metrics_find(&a, "none")) && isnan(tn_metrics_find(&a, "absent")));
    CHECK(isnan(tn_metrics_get(&a, -1)) && isnan(tn_metrics_get(&a, a.n)));
    tn_metrics_put(&a, TN_METRIC_MAX, "hi", NAN); /* a broken run must show */
    CHECK(isnan(tn_metrics_find(&a, "hi")));

    static char names[TN_METRICS_MAX + 4][16];
    tn_metrics_clear(&a);
    for (int i = 0; i < TN_METRICS_MAX + 4; i++) {
        snprintf(names[i], sizeof names[i], "m%d", i);
        tn_metrics_mean(&a, names[i], i, 1);
    }
    CHECK(a.n == TN_METRICS_MAX && tn_metrics_find(&a, "m7") == 7);
    tn_metrics_mean(&a, "m7", 9, 1);
    CHECK(tn_metrics_find(&a, "m7") == 8);
}

TEST(algo_registry) {
    int n = 0;
    for (const tn_algo *const *a = tn_algo_all; *a; a++, n++) {
        CHECK(tn_algo_find((*a)->name) == *a);
        CHECK((*a)->summary && (*a)->step && (*a)->needs);
        for (const tn_opt_row *r = (*a)->options; r->type != TN_OPT_END; r++) {
            CHECK_MSG(r->offset < (*a)->opt_size, "%s: %s lies outside its struct", (*a)->name,
                      r->name);
            CHECK_MSG(r->help && r->help[strlen(r->help) - 1] == '.', "%s: help of %s", (*a)->name,
                      r->name);
            CHECK_MSG(!strpbrk(r->name, "_ ABCDEFGHIJKLMNOPQRSTUVWXYZ"), "%s: name %s", (*a)->name,
                      r->name);
            if (r->type == TN_OPT_CHOICE)
                CHECK_MSG(strstr(r->choices, r->def), "%s: default of %s", (*a)->name, r->name);
        }
    }
    CHECK(n >= 7);
    CHECK(tn_algo_find("nope") == NULL && tn_algo_find(NULL) == NULL);
    tn_dpo_opt o = dpo_defaults();
    CHECK(!(tn_algo_needs(&tn_algo_dpo, &o) & TN_NEED_SUM_SQ));
    tn_ppo_policy_opt p = policy_defaults();
    CHECK(!(tn_algo_needs(&tn_algo_ppo_policy, &p) & TN_NEED_ENTROPY));
    p.entropy_coef = 0.1;
    CHECK(tn_algo_needs(&tn_algo_ppo_policy, &p) & TN_NEED_ENTROPY);
}

/* Names and meanings that the progress of a run is read by. */
TEST(algo_metric_names) {
    static const char *const sft_names[] = {"mean_token_accuracy", "entropy", "num_target_tokens"};
    static const char *const reward_names[] = {"accuracy", "margin", "min_reward", "mean_reward",
                                               "max_reward"};
    static const char *const dpo_names[] = {
        "rewards/chosen",      "rewards/rejected", "rewards/accuracies", "rewards/margins",
        "logps/chosen",        "logps/rejected",   "logits/chosen",      "logits/rejected",
        "mean_token_accuracy", "entropy"};
    start();
    problem_loss(&P, &tn_algo_sft, &sft);
    for (size_t i = 0; i < 3; i++) CHECK(isfinite(tn_metrics_find(&P.m, sft_names[i])));
    problem_loss(&P, &tn_algo_reward, &reward);
    double lo = INFINITY, hi = -INFINITY, mean = 0;
    for (int s = 0; s < 8; s++)
        lo = fmin(lo, P.score[s]), hi = fmax(hi, P.score[s]), mean += P.score[s] / 8;
    for (size_t i = 0; i < 5; i++) CHECK(isfinite(tn_metrics_find(&P.m, reward_names[i])));
    CHECK(tn_metrics_find(&P.m, "min_reward") == lo && tn_metrics_find(&P.m, "max_reward") == hi);
    CHECK_NEAR(tn_metrics_find(&P.m, "mean_reward"), mean, 1e-14, 1e-15);
    problem_loss(&P, &tn_algo_dpo, &dpo);
    for (size_t i = 0; i < 10; i++) CHECK(isfinite(tn_metrics_find(&P.m, dpo_names[i])));
    double top = 0, lw = 0, n = 0, h = 0;
    for (int s = 0; s < 8; s++)
        for (int t = P.off[s]; t < P.off[s + 1]; t++) {
            h += P.entropy[t] / P.off[8];
            if (s % 2 == 0) top += P.top1[t], lw += P.mean_logit[t], n++;
        }
    CHECK_NEAR(tn_metrics_find(&P.m, "mean_token_accuracy"), top / n, 1e-14,
               0); /* chosen tokens only */
    CHECK_NEAR(tn_metrics_find(&P.m, "logits/chosen"), lw / n, 1e-13, 0);
    CHECK_NEAR(tn_metrics_find(&P.m, "entropy"), h, 1e-13, 0);
    double right = 0;
    for (int i = 0; i < 4; i++) {
        double w = 0, l = 0;
        for (int t = P.off[2 * i]; t < P.off[2 * i + 1]; t++) w += P.logp[t];
        for (int t = P.off[2 * i + 1]; t < P.off[2 * i + 2]; t++) l += P.logp[t];
        right += w > l;
    }
    CHECK(right > 0 && right < 4 && tn_metrics_find(&P.m, "ranking_accuracy") == right / 4);
    P.x.entropy = P.x.top1 = P.x.mean_logit = NULL; /* metrics only: absent, not wrong */
    problem_loss(&P, &tn_algo_dpo, &dpo);
    CHECK(isnan(tn_metrics_find(&P.m, "entropy")) && isnan(tn_metrics_find(&P.m, "logits/chosen")));
    /* clip fractions: token 0 is beyond the clip on the high side, token 1 on the low side */
    double tokens = P.off[8];
    memcpy(P.old_logp, P.logp, sizeof P.logp);
    P.old_logp[0] = P.logp[0] - 1, P.advantage[0] = 1;
    P.old_logp[1] = P.logp[1] + 1, P.advantage[1] = -1;
    P.old_logp[2] = P.logp[2] + 1, P.advantage[2] = -1;
    problem_loss(&P, &tn_algo_ppo_policy, &policy);
    CHECK(tn_metrics_find(&P.m, "policy/clipfrac_positive") == 1 / tokens);
    CHECK(tn_metrics_find(&P.m, "policy/clipfrac_negative") == 2 / tokens);
    CHECK(tn_metrics_find(&P.m, "policy/clipfrac_avg") == 3 / tokens);
    CHECK_NEAR(tn_metrics_find(&P.m, "val/ratio_max"), exp(1), 1e-14, 0);
    /* a step counts as right when its logit has the label's side */
    for (int t = 0; t < P.off[8]; t++)
        P.value[t] = t % 2 ? 3 : -3, P.ret[t] = t < 3 ? t % 2 : 1 - t % 2;
    problem_loss(&P, &tn_algo_prm, NULL);
    CHECK(tn_metrics_find(&P.m, "accuracy") == 3 / tokens);
    /* equal scores count as wrong */
    for (int s = 0; s < 8; s++) P.score[s] = 0.25;
    problem_loss(&P, &tn_algo_reward, &reward);
    CHECK(tn_metrics_find(&P.m, "accuracy") == 0);
}
