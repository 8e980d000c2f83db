/* Golden cases of PPO: rewards, advantages, losses, controllers. */
#include "algo_case.h"
#include "base/mathx.h"

static void ppo_rewards(kase *k) {
    int off[34], back[MAXV], n = keep_masked(jin(k, "logp"), jin(k, "mask"), off, back);
    vec l = in_vec(k, "logp"), r = in_vec(k, "ref_logp"), score = in_vec(k, "score");
    vec lk = take(&l, back, off[n]), rk = take(&r, back, off[n]), ended = jvec(jin(k, "has_eos"));
    double reward[MAXV], kl[32], total = 0, scores = 0, coef = hp(k, "kl_coef", 0);
    int end[32];
    tn_kl kind = TN_KL_K1;
    tn_score_opt o = {false, 0, hp(k, "missing_eos_penalty", NAN), hp_text(k, "penalty_mode")};
    for (int i = 0; i < ended.n; i++) end[i] = ended.v[i] != 0;
    CHECK_OK(tn_kl_parse(hp_text(k, "kl_estimator"), &kind, e));
    CHECK_OK(tn_scores_shape(&o, score.v, end, score.n, NULL, e));
    tn_token_rewards(n, off, lk.v, rk.v, score.v, kind, coef, reward, kl);
    vec y = put_back(reward, back, off[n], l.n);
    want_metrics(k, "token_reward", y.v, y.n);
    if (!expected_metric(k, "sequence_kl")) return;
    for (int s = 0; s < n; s++) total += kl[s], scores += score.v[s];
    want_metrics(k, "sequence_kl", kl, n);
    want_metric(k, "mean_kl", total / n);
    double zero[MAXV] = {0}, adv[MAXV], ret[MAXV];
    tn_rollout ro = {n, off, lk.v, rk.v, zero, score.v, NULL, 0, reward, adv, ret, 0};
    tn_rl_opt rl = rl_defaults();
    tn_metrics m = {0};
    CHECK_OK(tn_rollout_advantages(&rl, coef, &ro, &m, e));
    want_metric(k, "rlhf_reward", tn_metrics_find(&m, "objective/rlhf_reward"));
    CHECK_NEAR(tn_metrics_find(&m, "objective/kl"), ro.mean_kl, 1e-15, 0);
}
static void ppo_gae(kase *k) {
    int off[34], back[MAXV], n = keep_masked(jin(k, "token_reward"), jin(k, "mask"), off, back);
    vec r = in_vec(k, "token_reward"), v = in_vec(k, "values");
    vec rk = take(&r, back, off[n]), vk = take(&v, back, off[n]);
    double adv[MAXV], ret[MAXV];
    tn_gae(n, off, rk.v, vk.v, hp(k, "gamma", 1), hp(k, "lambda", 1), adv, ret);
    vec a = put_back(adv, back, off[n], r.n), g = put_back(ret, back, off[n], r.n);
    want_metrics(k, "advantages", a.v, a.n);
    want_metrics(k, "returns", g.v, g.n);
}
static void ppo_whiten(kase *k) {
    int off[34], back[MAXV], n = keep_masked(jin(k, "x"), jin(k, "mask"), off, back);
    vec x = in_vec(k, "x"), w = take(&x, back, off[n]);
    CHECK(hp(k, "eps", 0) == 1e-8);
    CHECK_OK(tn_whiten(w.v, w.n, (int)hp(k, "ddof", 0), hp(k, "shift_mean", 0) != 0, e));
    vec y = put_back(w.v, back, w.n, x.n);
    want_metrics(k, "whitened", y.v, y.n);
}
/* The masked arrays of a PPO case that are there. */
static problem *ppo_problem(const kase *k, int *off, int *back, const char *first) {
    int n = keep_masked(jin(k, first), jin(k, "mask"), off, back);
    problem *p = case_fresh(n, off);
    struct { const char *name; double *dst;
    } all[] = {
        {"logp", p->logp},       {"old_logp", p->old_logp},    {"advantages", p->advantage},
        {"values", p->value},    {"old_values", p->old_value}, {"returns", p->ret},
        {"entropy", p->entropy},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (!jin(k, all[i].name)) continue;
        vec v = in_vec(k, all[i].name), kept = take(&v, back, off[n]);
        case_set(all[i].dst, &kept);
    }
    return p;
}
static tn_ppo_policy_opt policy_options(const kase *k) {
    tn_ppo_policy_opt o = policy_defaults();
    o.clip = hp(k, "clip_low", hp(k, "clip", 0.2));
    o.clip_high = hp(k, "clip_high", NAN);
    o.dual_clip = hp(k, "dual_clip", 0);
    o.entropy_coef = hp(k, "entropy_coef", 0);
    return o;
}
static void ppo_policy(kase *k) {
    int off[34], back[MAXV];
    problem *p = ppo_problem(k, off, back, "logp");
    tn_ppo_policy_opt o = policy_options(k);
    vec all = in_vec(k, "logp"), old = in_vec(k, "old_logp"), ratio = {.n = all.n};
    want_loss(k, problem_loss(p, &tn_algo_ppo_policy, &o));
    vec g = put_back(p->g_logp, back, off[p->x.n_seq], all.n);
    want_grad(k, "logp", g.v, g.n);
    if (!expected_metric(k, "ratio")) return;
    bool flat;
    for (int i = 0; i < all.n; i++) ratio.v[i] = tn_ratio(all.v[i], old.v[i], 20, &flat);
    want_metrics(k, "ratio", ratio.v, ratio.n);
    want_metric(k, "clipfrac", tn_metrics_find(&p->m, "policy/clipfrac_avg"));
    want_metric(k, "approx_kl_k2", tn_metrics_find(&p->m, "policy/approxkl_avg"));
    want_metric(k, "approx_kl_k1", tn_metrics_find(&p->m, "policy/approxkl_k1"));
    want_metric(k, "approx_kl_k3", tn_metrics_find(&p->m, "policy/approxkl_k3"));
    want_metric(k, "mean_ratio", tn_metrics_find(&p->m, "val/ratio"));
}
static void ppo_value(kase *k) {
    int off[34], back[MAXV];
    problem *p = ppo_problem(k, off, back, "values");
    tn_ppo_value_opt o = {hp(k, "cliprange_value", 0), 1, NULL};
    CHECK(hp(k, "factor", 0) == 0.5);
    want_loss(k, problem_loss(p, &tn_algo_ppo_value, &o));
    vec g = put_back(p->g_value, back, off[p->x.n_seq], in_vec(k, "values").n);
    want_grad(k, "values", g.v, g.n);
    if (expected_metric(k, "clipfrac"))
        want_metric(k, "clipfrac", tn_metrics_find(&p->m, "val/clipfrac_avg"));
}
/* Policy and value share one tn_grad; the pre-training loss is a second pass. */
static void ppo_total(kase *k) {
    int off[34], back[MAXV];
    problem *p = ppo_problem(k, off, back, "logp");
    int n = off[p->x.n_seq], full = in_vec(k, "logp").n;
    tn_ppo_policy_opt po = policy_options(k);
    tn_ppo_value_opt vo = {hp(k, "cliprange_value", 0), hp(k, "vf_coef", 0), NULL};
    double loss = problem_loss(p, &tn_algo_ppo_policy, &po);
    CHECK_OK(tn_algo_ppo_value.step(&vo, &p->x, &p->g, &p->m, e));
    loss += p->g.loss;
    vec g = put_back(p->g_logp, back, n, full), gv = put_back(p->g_value, back, n, full),
        gh = put_back(p->g_entropy, back, n, full);
    want_grad(k, "logp", g.v, full);
    want_grad(k, "values", gv.v, full);
    want_grad(k, "entropy", gh.v, full);
    want_metric(k, "policy", tn_metrics_find(&p->m, "loss/policy_avg"));
    want_metric(k, "value", tn_metrics_find(&p->m, "loss/value_avg"));
    want_metric(k, "mean_entropy", tn_metrics_find(&p->m, "policy/entropy_avg"));
    vec ptx = in_vec(k, "ptx_logp");
    int one[] = {0, ptx.n};
    tn_sft_opt so = sft_defaults();
    p = case_fresh(1, one);
    case_set(p->logp, &ptx);
    double nll = problem_loss(p, &tn_algo_sft, &so), coef = hp(k, "ptx_coef", 0);
    for (int i = 0; i < ptx.n; i++) p->g_logp[i] *= coef;
    want_grad(k, "ptx_logp", p->g_logp, ptx.n);
    want_metric(k, "ptx_nll", nll);
    want_loss(k, loss + coef * nll);
}
static void ppo_logits(kase *k) {
    int row[34], n = jrows(jin(k, "logits"), row), width = row[1];
    vec z = in_vec(k, "logits"), y = in_vec(k, "tokens"), old = in_vec(k, "old_logp"),
        a = in_vec(k, "advantages");
    vec out = {.n = z.n}, ratio = {.n = n};
    double lp[8][64], tau = hp(k, "temperature", 1);
    int off[] = {0, n};
    problem *p = case_fresh(1, off);
    for (int i = 0; i < n; i++) {
        p->entropy[i] = case_softmax(z.v + row[i], width, tau, lp[i]);
        p->logp[i] = lp[i][(int)y.v[i]];
        bool flat;
        ratio.v[i] = tn_ratio(p->logp[i], old.v[i], 20, &flat);
    }
    case_set(p->old_logp, &old);
    case_set(p->advantage, &a);
    tn_ppo_policy_opt o = policy_options(k);
    want_loss(k, problem_loss(p, &tn_algo_ppo_policy, &o));
    for (int i = 0; i < n; i++)
        case_chain(lp[i], width, tau, (int)y.v[i], p->entropy[i], p->g_logp[i], p->g_entropy[i],
                   out.v + row[i]);
    want_grad(k, "logits", out.v, out.n);
    want_metrics(k, "logp", p->logp, n);
    want_metrics(k, "entropy", p->entropy, n);
    want_metrics(k, "ratio", ratio.v, n);
}
static void ppo_controller(kase *k) {
    vec kl = in_vec(k, "measured_kl"), n = in_vec(k, "n_steps"), y = {.n = kl.n};
    tn_kl_control c = {hp(k, "init", 0)};
    CHECK(hp(k, "clip", 0) == 0.2);
    for (int i = 0; i < kl.n; i++) {
        tn_kl_control_update(&c, kl.v[i], n.v[0], hp(k, "target", 0), hp(k, "horizon", 0));
        y.v[i] = c.coef;
    }
    want_metrics(k, "kl_coef_after_each", y.v, y.n);
}
static void ppo_moments(kase *k) {
    int off[34], n = jrows(jin(k, "batches"), off);
    vec x = in_vec(k, "batches"), mean = {.n = n}, std = {.n = n};
    tn_moments m = {0}, run = {0};
    tn_score_opt o = {true, 0, NAN, "subtract"};
    for (int i = 0; i < n; i++) {
        tn_moments_add(&m, x.v + off[i], off[i + 1] - off[i]);
        mean.v[i] = m.mean;
        std.v[i] = sqrt(tn_moments_var(&m, 1));
        CHECK_OK(tn_scores_shape(&o, x.v + off[i], NULL, off[i + 1] - off[i], &run, e));
    }
    want_metrics(k, "mean_after", mean.v, n);
    want_metrics(k, "std_unbiased_after", std.v, n);
    want_metrics(k, "scaled_second_batch_no_centre", x.v + off[1], off[2] - off[1]);
}

const runner ppo_runners[] = {
    {"ppo_token_reward", ppo_rewards},
    {"gae", ppo_gae},
    {"masked_whiten", ppo_whiten},
    {"ppo_policy_loss", ppo_policy},
    {"ppo_value_loss", ppo_value},
    {"ppo_total_loss", ppo_total},
    {"ppo_policy_loss_from_logits", ppo_logits},
    {"adaptive_kl_controller", ppo_controller},
    {"running_moments", ppo_moments},
    {NULL, NULL},
};
