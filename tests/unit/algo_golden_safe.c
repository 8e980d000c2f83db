/* Golden cases of constrained RLHF. */
#include "algo_case.h"
#include "base/mathx.h"

static void cost(kase *k) {
    vec h = in_vec(k, "cost_more_harmful"), l = in_vec(k, "cost_less_harmful");
    vec sh = in_vec(k, "sign_more_harmful"), sl = in_vec(k, "sign_less_harmful");
    int off[34] = {0}, n = h.n;
    problem *p = case_fresh(2 * n, off);
    tn_cost_opt o = {hp(k, "regularization", 0)};
    for (int i = 0; i < n; i++) {
        p->score[i] = l.v[i], p->score[n + i] = h.v[i];
        p->label[i] = sl.v[i] < 0, p->label[n + i] = sh.v[i] < 0;
        p->chosen[i] = i, p->rejected[i] = n + i;
    }
    p->x.n_pair = n;
    p->x.total.pair = n;
    p->x.label = p->label;
    want_loss(k, problem_loss(p, &tn_algo_cost, &o));
    want_grad(k, "cost_less_harmful", p->g_score, n);
    want_grad(k, "cost_more_harmful", p->g_score + n, n);
    want_metric(k, "accuracy", tn_metrics_find(&p->m, "accuracy"));
    want_metric(k, "accuracy_sign", tn_metrics_find(&p->m, "accuracy_sign"));
}
static void kl_shaping(kase *k) {
    vec l = in_vec(k, "logp"), r = in_vec(k, "ref_logp"), tr = {.n = l.n}, tc = {.n = l.n};
    int off[] = {0, l.n};
    tn_lagrange_opt o = lagrange_defaults();
    o.clip = hp(k, "clip_range_score", 0);
    tn_lagrange_token_scores(&o, 1, off, l.v, r.v, in_vec(k, "reward").v, in_vec(k, "cost").v,
                             TN_KL_K1, hp(k, "kl_coeff", 0), tr.v, tc.v, NULL);
    want_metrics(k, "token_reward", tr.v, tr.n);
    want_metrics(k, "token_cost", tc.v, tc.n);
    /* at any lambda the mix carries the whole KL */
    for (double lambda = 0; lambda < 4; lambda += 1.5) {
        double mix[8];
        tn_lagrange_mix(lambda, tr.v, tc.v, l.n, mix);
        CHECK_NEAR(mix[0], -hp(k, "kl_coeff", 0) * (l.v[0] - r.v[0]), 1e-13, 0);
    }
}
static void lambda(kase *k) {
    vec c = in_vec(k, "episode_cost_mean"), logs = {.n = c.n}, l = {.n = c.n};
    tn_lagrange_opt o = {hp(k, "threshold", 0),
                         hp(k, "lambda_init", 0),
                         hp(k, "lambda_lr", 0),
                         hp(k, "lambda_max", 0),
                         1,
                         0,
                         50};
    tn_lagrange s;
    tn_metrics m = {0};
    CHECK_OK(tn_lagrange_start(&s, &o, e));
    for (int i = 0; i < c.n; i++) {
        CHECK_OK(tn_lagrange_update(&s, &o, c.v + i, 1, &m, e));
        logs.v[i] = s.log_lambda;
        l.v[i] = tn_lagrange_lambda(&s);
    }
    want_metrics(k, "log_lambda", logs.v, logs.n);
    want_metrics(k, "lambda", l.v, l.n);
}
static void policy(kase *k) {
    int off[34], back[MAXV], n = keep_masked(jin(k, "logp"), jin(k, "mask"), off, back);
    vec l = in_vec(k, "logp"), old = in_vec(k, "old_logp"), ar = in_vec(k, "reward_adv"),
        ac = in_vec(k, "cost_adv"), mix = {.n = l.n};
    tn_lagrange_mix(hp(k, "lambda", 0), ar.v, ac.v, l.n, mix.v);
    want_metrics(k, "mixed_advantage", mix.v, mix.n);
    vec lk = take(&l, back, off[n]), ok = take(&old, back, off[n]), ak = take(&mix, back, off[n]);
    problem *p = case_fresh(n, off);
    tn_ppo_policy_opt o = policy_defaults();
    o.clip = hp(k, "clip", 0);
    o.reduction = "sequence_mean";
    case_set(p->logp, &lk);
    case_set(p->old_logp, &ok);
    case_set(p->advantage, &ak);
    want_loss(k, problem_loss(p, &tn_algo_ppo_policy, &o));
    vec g = put_back(p->g_logp, back, off[n], l.n);
    want_grad(k, "logp", g.v, g.n);
}

const runner safe_runners[] = {
    {"safe_rlhf_cost_model", cost},
    {"safe_rlhf_token_reward_cost", kl_shaping},
    {"lagrange_multiplier_update", lambda},
    {"ppo_lagrangian_policy_loss", policy},
    {NULL, NULL},
};
