/* Golden cases of losses on single responses, without a reference, with group advantages, and of
 * selection among samples. */
#include "algo/group.h"
#include "algo_case.h"
#include "base/mathx.h"

/* Sequences of one token whose log-probability is the sequence's. */
static problem *singles(const kase *k, const char *logp, const char *ref) {
    vec l = in_vec(k, logp), r = jvec(jin(k, ref));
    int off[34];
    for (int s = 0; s <= l.n; s++) off[s] = s;
    problem *p = case_fresh(l.n, off);
    case_set(p->logp, &l);
    if (r.n) case_set(p->ref_logp, &r);
    return p;
}
static problem *labelled(const kase *k) {
    vec y = in_vec(k, "desirable");
    problem *p = singles(k, "seq_logp", "ref_seq_logp");
    for (int s = 0; s < y.n; s++) p->label[s] = y.v[s] != 0;
    p->x.label = p->label;
    return p;
}
static void kto(kase *k) {
    vec l = in_vec(k, "kl_seq_logp"), r = in_vec(k, "kl_ref_seq_logp");
    problem *p = labelled(k);
    tn_kto_opt o = {hp(k, "beta", 0), hp(k, "lambda_D", 0), hp(k, "lambda_U", 0), "kto"};
    problem_baseline(p, tn_kto_baseline(l.v, r.v, l.n));
    want_metric(k, "z0", p->baseline[0]);
    want_loss(k, problem_loss(p, &tn_algo_kto, &o));
    want_grad(k, "seq_logp", p->g_logp, p->x.n_seq);
    CHECK_NEAR(tn_metrics_find(&p->m, "kl"), p->baseline[0], 1e-15, 0);
}
static void bco(kase *k) {
    problem *p = labelled(k);
    tn_kto_opt o = {hp(k, "beta", 0), 1, 1, "bco"};
    tn_bco_state st = {0};
    problem_baseline(p, tn_bco_baseline(&st, o.beta, p->logp, p->ref_logp, p->x.n_seq));
    want_metric(k, "delta", p->baseline[0]);
    want_loss(k, problem_loss(p, &tn_algo_kto, &o));
    want_grad(k, "seq_logp", p->g_logp, p->x.n_seq);
}
static void kto_balance(kase *k) {
    want_metric(k, "lambda_D", tn_kto_balance(in_vec(k, "n_desirable").v[0],
                                              in_vec(k, "n_undesirable").v[0],
                                              hp(k, "lambda_U", 0), hp(k, "target_ratio", 0)));
}

/* Chosen sequences, then the rejected ones. */
static problem *pairs(const kase *k) {
    int off[34], all[34];
    vec c = in_vec(k, "chosen_logp"), r = in_vec(k, "rejected_logp");
    int n = jrows(jin(k, "chosen_logp"), all);
    jrows(jin(k, "rejected_logp"), off);
    for (int i = 0; i <= n; i++) all[n + i] = c.n + off[i];
    problem *p = case_fresh(2 * n, all);
    case_set(p->logp, &c);
    memcpy(p->logp + c.n, r.v, sizeof(double) * (size_t)r.n);
    for (int i = 0; i < n; i++) p->chosen[i] = i, p->rejected[i] = n + i;
    p->x.n_pair = n;
    p->x.total.pair = n;
    p->x.total.chosen_tok = c.n;
    return p;
}
static void pairs_compare(kase *k, problem *p, const tn_algo *a, const void *o) {
    int c = p->off[p->x.n_pair];
    want_loss(k, problem_loss(p, a, o));
    want_grad(k, "chosen_logp", p->g_logp, c);
    want_grad(k, "rejected_logp", p->g_logp + c, p->off[p->x.n_seq] - c);
}
/* A metric of every pair, from calls with one pair. */
static vec each_pair(const kase *k, const tn_algo *a, const void *o, const char *name) {
    vec v = {0};
    for (problem *p = pairs(k); v.n < p->x.n_seq / 2; v.n++) {
        int i = v.n, n = p->x.n_seq / 2;
        p = pairs(k);
        p->x.n_pair = 1;
        p->chosen[0] = i, p->rejected[0] = n + i;
        problem_loss(p, a, o);
        v.v[i] = tn_metrics_find(&p->m, name);
    }
    return v;
}
static void cpo(kase *k) {
    tn_cpo_opt o = {hp(k, "beta", 0), "sigmoid", 0, hp(k, "cpo_alpha", 0), 0, 0};
    pairs_compare(k, pairs(k), &tn_algo_cpo, &o);
    vec u = each_pair(k, &tn_algo_cpo, &o, "rewards/margins");
    want_metrics(k, "u", u.v, u.n);
}
static void simpo(kase *k) {
    tn_cpo_opt o = {hp(k, "beta", 0), "simpo", 0, 0, hp(k, "gamma", 0), 0};
    CHECK_NEAR(o.gamma / o.beta, hp(k, "gamma_beta_ratio", 0), 1e-15, 0);
    pairs_compare(k, pairs(k), &tn_algo_cpo, &o);
    vec u = each_pair(k, &tn_algo_cpo, &o, "rewards/margins");
    vec w = each_pair(k, &tn_algo_cpo, &o, "logps/chosen");
    vec l = each_pair(k, &tn_algo_cpo, &o, "logps/rejected");
    for (int i = 0; i < u.n; i++) u.v[i] -= o.gamma;
    want_metrics(k, "u", u.v, u.n);
    want_metrics(k, "avg_logp_chosen", w.v, w.n);
    want_metrics(k, "avg_logp_rejected", l.v, l.n);
}
static void orpo(kase *k) {
    tn_orpo_opt o = {hp(k, "lambda", 0), "completion"};
    problem *p = pairs(k);
    pairs_compare(k, p, &tn_algo_orpo, &o);
    want_metric(k, "nll", tn_metrics_find(&p->m, "nll_loss"));
    want_metric(k, "or_loss", -tn_metrics_find(&p->m, "log_odds_ratio"));
    vec d = each_pair(k, &tn_algo_orpo, &o, "log_odds_chosen");
    want_metrics(k, "log_odds", d.v, d.n);
}
static void slic(kase *k) {
    tn_slic_opt o = {hp(k, "delta", 0), hp(k, "lambda", 0)};
    pairs_compare(k, pairs(k), &tn_algo_slic, &o);
}

static void aot(kase *k, const char *name) {
    int n = in_vec(k, "chosen_seq_logp").n;
    const char *const names[] = {"chosen_seq_logp", "rejected_seq_logp", "chosen_ref_seq_logp",
                                 "rejected_ref_seq_logp"};
    vec v[4];
    int off[34];
    for (int i = 0; i < 4; i++) v[i] = in_vec(k, names[i]);
    for (int s = 0; s <= 2 * n; s++) off[s] = s;
    problem *p = case_fresh(2 * n, off);
    for (int i = 0; i < n; i++) {
        p->logp[i] = v[0].v[i], p->logp[n + i] = v[1].v[i];
        p->ref_logp[i] = v[2].v[i], p->ref_logp[n + i] = v[3].v[i];
        p->chosen[i] = i, p->rejected[i] = n + i;
    }
    p->x.n_pair = n;
    p->x.total.pair = n;
    tn_dpo_opt o = dpo_defaults();
    o.beta = hp(k, "beta", 0);
    o.label_smoothing = hp(k, "label_smoothing", 0);
    o.loss_type = (tn_opt_list){&name, 1};
    want_loss(k, problem_loss(p, &tn_algo_dpo_aot, &o));
    want_grad(k, names[0], p->g_logp, n);
    want_grad(k, names[1], p->g_logp + n, n);
    /* the case's own intermediate values, sorted here */
    vec up = {.n = n}, down = {.n = n};
    bool paired = strcmp(name, "aot") == 0;
    for (int i = 0; i < n; i++) {
        up.v[i] = paired ? v[0].v[i] - v[1].v[i] : v[0].v[i] - v[2].v[i];
        down.v[i] = paired ? v[2].v[i] - v[3].v[i] : v[1].v[i] - v[3].v[i];
    }
    int order[32];
    vec sorted = {.n = n};
    for (int side = 0; side < 2; side++) {
        const vec *from = side ? &down : &up;
        CHECK_OK(tn_top(from->v, n, n, order, e));
        for (int i = 0; i < n; i++) sorted.v[i] = from->v[order[n - 1 - i]];
        want_metrics(k, paired ? (side ? "sorted_ref_margin" : "sorted_policy_margin")
                               : (side ? "sorted_rejected_logratio" : "sorted_chosen_logratio"),
                     sorted.v, n);
    }
}
static void aot_paired(kase *k) { aot(k, "aot"); }
static void aot_unpaired(kase *k) { aot(k, "aot_unpaired"); }

/* Group methods. */
static void advantages(kase *k, tn_baseline kind, problem *p, const vec *reward, double eps) {
    int group[] = {0, reward->n};
    double a[32];
    CHECK_OK(tn_group_advantages(kind, reward->v, 1, group, 1, eps, a, &p->m, e));
    if (expected_metric(k, "advantages")) want_metrics(k, "advantages", a, reward->n);
    for (int s = 0; s < reward->n; s++)
        for (int t = p->off[s]; t < p->off[s + 1]; t++) p->advantage[t] = a[s];
}
static void group_loss(kase *k, const char *type, const char *level, tn_baseline kind) {
    int off[34], n = jrows(jin(k, "logp"), off);
    problem *p = case_fresh(n, off);
    vec l = in_vec(k, "logp"), old = in_vec(k, "old_logp"), ref = jvec(jin(k, "ref_logp"));
    vec reward = in_vec(k, "rewards");
    case_set(p->logp, &l);
    case_set(p->old_logp, &old);
    if (ref.n) case_set(p->ref_logp, &ref);
    advantages(k, kind, p, &reward, hp(k, "std_eps", 0));
    tn_grpo_opt o = grpo_defaults();
    o.loss_type = type;
    o.level = level;
    o.epsilon = hp(k, "clip_low", 0);
    o.epsilon_high = hp(k, "clip_high", 0);
    o.beta = hp(k, "beta_kl_k3", 0);
    o.max_completion = (int64_t)hp(k, "L_max", 512);
    o.bias_correction = false;
    want_loss(k, problem_loss(p, &tn_algo_grpo, &o));
    want_grad(k, "logp", p->g_logp, off[n]);
    if (!expected_metric(k, "seq_ratio")) return;
    double ratio[32];
    bool flat;
    for (int s = 0; s < n; s++) {
        double d = 0;
        for (int t = off[s]; t < off[s + 1]; t++) d += (l.v[t] - old.v[t]) / (off[s + 1] - off[s]);
        ratio[s] = tn_ratio(d, 0, 20, &flat);
    }
    want_metrics(k, "seq_ratio", ratio, n);
}
static void grpo(kase *k) { group_loss(k, "grpo", "token", TN_BASE_GROUP_ZSCORE); }
static void dapo(kase *k) { group_loss(k, "dapo", "token", TN_BASE_GROUP_ZSCORE); }
static void dr_grpo(kase *k) { group_loss(k, "dr_grpo", "token", TN_BASE_GROUP_MEAN); }
static void gspo(kase *k) { group_loss(k, "grpo", "sequence", TN_BASE_GROUP_ZSCORE); }
static void gspo_ratio(kase *k) {
    vec r = in_vec(k, "token_ratio");
    double d = 0;
    bool flat;
    for (int i = 0; i < r.n; i++) d += tn_log(r.v[i]) / r.n;
    want_metric(k, "seq_ratio", tn_ratio(d, 0, 20, &flat));
}
static void grpo_advantage(kase *k) {
    vec r = in_vec(k, "rewards");
    int group[] = {0, r.n};
    double a[32];
    tn_moments m = {0};
    tn_moments_add(&m, r.v, r.n);
    static const char *const names[] = {"ddof0", "ddof1", "std_ddof0", "std_ddof1"};
    for (int ddof = 0; ddof < 2; ddof++) {
        CHECK_OK(tn_group_advantages(TN_BASE_GROUP_ZSCORE, r.v, 1, group, ddof, hp(k, "eps", 0), a,
                                     NULL, e));
        want_metrics(k, names[ddof], a, r.n);
        want_metric(k, names[2 + ddof], sqrt(tn_moments_var(&m, ddof)));
    }
}
static void group_table(kase *k) {
    vec right = in_vec(k, "num_correct"), g = in_vec(k, "G"), rows = {0};
    int G = (int)g.v[0], group[] = {0, G};
    for (int i = 0; i < right.n; i++) {
        double r[64], a[64];
        for (int j = 0; j < G; j++) r[j] = j < right.v[i];
        rows.v[rows.n++] = right.v[i];
        for (int c = 0; c < 4; c++) {
            static const tn_baseline kinds[] = {TN_BASE_GROUP_ZSCORE, TN_BASE_GROUP_ZSCORE,
                                                TN_BASE_GROUP_MEAN, TN_BASE_LEAVE_ONE_OUT};
            CHECK_OK(tn_group_advantages(kinds[c], r, 1, group, c > 0, 0, a, NULL, e));
            rows.v[rows.n++] = a[0];
            rows.v[rows.n++] = a[G - 1];
        }
    }
    k->seen++; /* the column names */
    want_metrics(k, "rows", rows.v, rows.n);
}
static void rloo(kase *k) {
    problem *p = singles(k, "seq_logp", "old_seq_logp");
    memcpy(p->old_logp, p->ref_logp, sizeof p->old_logp);
    vec r = in_vec(k, "rewards");
    advantages(k, TN_BASE_LEAVE_ONE_OUT, p, &r, 0);
    tn_rloo_opt o = {hp(k, "clip", 0), NAN}, open = {1, 1e9};
    if (hp(k, "on_policy", 0) != 0) {
        want_loss(k, problem_loss(p, &tn_algo_reinforce, NULL));
        want_grad(k, "seq_logp", p->g_logp, r.n);
        tn_moments m = {0};
        double centred[32];
        tn_moments_add(&m, r.v, r.n);
        for (int i = 0; i < r.n; i++) centred[i] = (r.v[i] - m.mean) * r.n / (r.n - 1);
        want_metrics(k, "advantages_equal_K_over_K_minus_1_times_centred", centred, r.n);
        return;
    }
    want_loss(k, problem_loss(p, &tn_algo_rloo, &o));
    want_grad(k, "seq_logp", p->g_logp, r.n);
    want_metric(k, "unclipped_loss", problem_loss(p, &tn_algo_rloo, &open));
    want_metrics(k, "unclipped_grad", p->g_logp, r.n);
}
static void remax(kase *k) {
    vec l = in_vec(k, "logp"), zero = {.n = l.n};
    int off[] = {0, l.n};
    problem *p = case_fresh(1, off);
    case_set(p->logp, &l);
    tn_remax_advantages(zero.v, l.n, in_vec(k, "reward_sampled").v[0],
                        in_vec(k, "reward_greedy").v[0], 0, 1, p->advantage);
    want_metric(k, "advantage", p->advantage[0]);
    want_loss(k, problem_loss(p, &tn_algo_reinforce, NULL));
    want_grad(k, "logp", p->g_logp, l.n);
}
static void remax_code(kase *k) {
    vec kl = in_vec(k, "token_kl"), a = {.n = kl.n};
    tn_remax_advantages(kl.v, kl.n, in_vec(k, "reward_sampled").v[0],
                        in_vec(k, "reward_greedy").v[0], hp(k, "kl_coef", 0), hp(k, "gamma", 0),
                        a.v);
    want_metrics(k, "advantage", a.v, a.n);
}
static void seq_kl(kase *k) {
    vec s = in_vec(k, "score"), kl = in_vec(k, "sequence_kl_k1"), y = {.n = s.n};
    for (int i = 0; i < s.n; i++) y.v[i] = tn_kl_shaped_reward(s.v[i], hp(k, "beta", 0), kl.v[i]);
    want_metrics(k, "reward", y.v, y.n);
}
static void reinforce_pp(kase *k) {
    int off[34], back[MAXV], n = keep_masked(jin(k, "logp"), jin(k, "mask"), off, back);
    vec l = in_vec(k, "logp"), r = in_vec(k, "ref_logp"), s = in_vec(k, "score");
    vec lk = take(&l, back, off[n]), rk = take(&r, back, off[n]), y[3] = {{0}};
    CHECK_OK(tn_reinforce_pp(n, off, lk.v, rk.v, s.v, hp(k, "kl_coef", 0), hp(k, "gamma", 0),
                             y[0].v, y[1].v, y[2].v, e));
    static const char *const names[] = {"token_reward", "return_to_go", "advantages"};
    for (int i = 0; i < 3; i++) {
        vec full = put_back(y[i].v, back, off[n], l.n);
        want_metrics(k, names[i], full.v, full.n);
    }
}
static void overlong(kase *k) {
    vec l = in_vec(k, "length"), y = {.n = l.n};
    for (int i = 0; i < l.n; i++)
        y.v[i] = tn_soft_overlong(l.v[i], hp(k, "L_max", 0), hp(k, "L_cache", 0));
    want_metrics(k, "penalty", y.v, y.n);
}
static void vapo(kase *k) {
    vec l = in_vec(k, "length"), y = {.n = l.n};
    for (int i = 0; i < l.n; i++) y.v[i] = tn_vapo_lambda(hp(k, "alpha", 0), l.v[i]);
    want_metrics(k, "lambda", y.v, y.n);
}
static void dead(kase *k) {
    vec p = in_vec(k, "p"), g = in_vec(k, "G"), y = {0};
    for (int i = 0; i < p.n; i++)
        for (int j = 0; j < g.n; j++) y.v[y.n++] = tn_dead_group(p.v[i], (int)g.v[j]);
    want_metrics(k, "prob", y.v, y.n);
}
/* Per-token weights at ratio 1 of two wrong answers, from the losses' own gradients. The lengths of
 * the case are larger than a test needs: the loss is run on one token of each and scaled. */
static void length_bias(kase *k) {
    vec len = in_vec(k, "lengths"), A = in_vec(k, "advantage"), G = in_vec(k, "G");
    static double logp[2048], adv[2048], grad[2048];
    int off[] = {0, (int)len.v[0], (int)(len.v[0] + len.v[1])};
    for (int t = 0; t < off[2]; t++) logp[t] = -1, adv[t] = A.v[0];
    tn_obs x = {.n_seq = 2, .off = off, .logp = logp, .old_logp = logp, .advantage = adv};
    static const char *const types[] = {"grpo", "dr_grpo", "dapo"};
    static const char *const per[] = {"grpo_per_token", "dr_grpo_per_token", "dapo_per_token"};
    static const char *const whole[] = {"grpo_total", "dr_grpo_total", NULL};
    for (int i = 0; i < 3; i++) {
        tn_grpo_opt o = grpo_defaults();
        tn_metrics m = {0};
        tn_grad g = {.logp = grad};
        double w[2], sum[2];
        memset(grad, 0, sizeof grad);
        o.loss_type = types[i];
        o.max_completion = (int64_t)hp(k, "dr_grpo_L", 1);
        x.total.seq = G.v[0];
        x.total.tok = off[2];
        CHECK_OK(tn_algo_grpo.step(&o, &x, &g, &m, e));
        for (int s = 0; s < 2; s++) w[s] = -grad[off[s]], sum[s] = w[s] * len.v[s];
        want_metrics(k, per[i], w, 2);
        if (whole[i]) want_metrics(k, whole[i], sum, 2);
    }
}

static void bon_kl(kase *k) {
    vec n = in_vec(k, "n"), kl = {.n = n.n}, root = {.n = n.n}, win = {.n = n.n};
    for (int i = 0; i < n.n; i++) {
        kl.v[i] = tn_bon_kl(n.v[i]);
        root.v[i] = sqrt(kl.v[i]);
        win.v[i] = n.v[i] / (n.v[i] + 1);
    }
    want_metrics(k, "kl_upper_bound", kl.v, kl.n);
    want_metrics(k, "sqrt_kl", root.v, root.n);
    want_metrics(k, "win_rate_vs_one_sample", win.v, win.n);
}
static void bon_exact(kase *k) {
    vec p = in_vec(k, "p"), q = {.n = p.n};
    int n = (int)in_vec(k, "n").v[0];
    want_metric(k, "kl_exact", tn_bon_exact(p.v, p.n, n, q.v));
    want_metrics(k, "bon_distribution", q.v, q.n);
    want_metric(k, "kl_upper_bound", tn_bon_kl(n));
}
static void bon_unbiased(kase *k) {
    vec p = in_vec(k, "proxy"), g = in_vec(k, "gold");
    vec n = jvec(json_object_get(json_object_get(k->j, "hyperparameters"), "n")), a = {.n = n.n},
        b = {.n = n.n};
    for (int i = 0; i < n.n; i++) {
        CHECK_OK(tn_bon_estimate(p.v, p.v, p.n, (int)n.v[i], &a.v[i], e));
        CHECK_OK(tn_bon_estimate(p.v, g.v, p.n, (int)n.v[i], &b.v[i], e));
    }
    want_metrics(k, "proxy_score", a.v, a.n);
    want_metrics(k, "gold_score", b.v, b.n);
}
static void rft_select(kase *k) {
    int off[34], n = jrows(jin(k, "rewards"), off), K = (int)hp(k, "K", 0), top[32];
    vec r = in_vec(k, "rewards"), per = {.n = n}, all = {0};
    for (int s = 0; s < n; s++) {
        CHECK_OK(tn_top(r.v + off[s], off[s + 1] - off[s], 1, top, e));
        per.v[s] = top[0];
    }
    want_metrics(k, "top_per_prompt", per.v, per.n);
    CHECK_OK(tn_top(r.v, r.n, K, top, e));
    for (int i = 0; i < K; i++) {
        int s = 0;
        while (off[s + 1] <= top[i]) s++;
        all.v[all.n++] = s, all.v[all.n++] = top[i] - off[s];
    }
    want_metrics(k, "top_K_overall", all.v, all.n);
}
static void pair_select(kase *k) {
    vec r = in_vec(k, "rewards");
    int best = -1, worst = -1;
    CHECK(tn_best_worst(r.v, r.n, &best, &worst));
    want_metric(k, "chosen", best);
    want_metric(k, "rejected", worst);
    want_metric(k, "gap", r.v[best] - r.v[worst]);
}
static void winprob(kase *k) {
    vec s = in_vec(k, "scores"), p = {.n = s.n};
    tn_win_probabilities(s.v, s.n, p.v);
    want_metrics(k, "p", p.v, p.n);
}
static void nash_md(kase *k) {
    vec l = in_vec(k, "logp"), r = in_vec(k, "ref_logp");
    int off[] = {0, l.n};
    double kl = 0;
    problem *p = case_fresh(1, off);
    case_set(p->logp, &l);
    CHECK(hp(k, "control_variate", 0) == 0.5);
    tn_nash_advantages(l.v, r.v, l.n, in_vec(k, "pref_prob_vs_mixture").v[0], hp(k, "beta", 0),
                       p->advantage);
    want_loss(k, problem_loss(p, &tn_algo_reinforce, NULL));
    want_grad(k, "logp", p->g_logp, l.n);
    for (int t = 0; t < l.n; t++) kl += tn_kl_value(TN_KL_K1, l.v[t], r.v[t]);
    want_metric(k, "kl_sum", kl);
}
static void mixture(kase *k) {
    vec p = in_vec(k, "policy_logits"), r = in_vec(k, "ref_logits"), y = {.n = p.n};
    tn_geometric_mixture(p.v, r.v, p.n, hp(k, "mixture_coef_on_ref", 0), y.v);
    want_metrics(k, "log_probs", y.v, y.n);
}
static void xpo(kase *k) {
    vec a = in_vec(k, "policy_sample_logp"), b = in_vec(k, "ref_sample_logp");
    int off[] = {0, a.n, a.n + b.n};
    problem *p = case_fresh(2, off);
    case_set(p->logp, &a);
    memcpy(p->logp + a.n, b.v, sizeof(double) * (size_t)b.n);
    memset(p->ref_logp, 0, sizeof p->ref_logp);
    p->ref_logp[0] = in_vec(k, "policy_sample_ref_seq_logp").v[0];
    p->ref_logp[a.n] = in_vec(k, "ref_sample_ref_seq_logp").v[0];
    p->chosen[0] = 0, p->rejected[0] = 1;
    p->label[0] = 1, p->label[1] = 0;
    p->x.label = p->label;
    p->x.n_pair = 1;
    p->x.total.pair = 1;
    CHECK(in_vec(k, "policy_sample_is_chosen").v[0] == 1);
    tn_xpo_opt o = {hp(k, "beta", 0), "sigmoid", hp(k, "alpha", 0)};
    want_loss(k, problem_loss(p, &tn_algo_xpo, &o));
    want_metric(k, "h", tn_metrics_find(&p->m, "rewards/margins") / o.beta);
    want_grad(k, "policy_sample_logp", p->g_logp, a.n);
    want_grad(k, "ref_sample_logp", p->g_logp + a.n, b.n);
}
/* One step down the logits along d log p(pushed): the mass goes to the arg max. */
static void squeeze(kase *k) {
    vec p = in_vec(k, "p"), after = {0};
    vec eta = jvec(json_object_get(json_object_get(k->j, "hyperparameters"), "eta"));
    int off[] = {0, 1}, pushed = (int)in_vec(k, "pushed_down").v[0];
    for (int i = 0; i < eta.n; i++) {
        double z[16], lp[16], g[16];
        problem *q = case_fresh(1, off);
        for (int v = 0; v < p.n; v++) z[v] = tn_log(p.v[v]);
        case_softmax(z, p.n, 1, lp);
        q->logp[0] = lp[pushed];
        q->advantage[0] = -1;
        problem_loss(q, &tn_algo_reinforce, NULL);
        case_chain(lp, p.n, 1, pushed, 0, q->g_logp[0], 0, g);
        for (int v = 0; v < p.n; v++) z[v] -= eta.v[i] * g[v];
        case_softmax(z, p.n, 1, lp);
        for (int v = 0; v < p.n; v++) after.v[after.n++] = tn_exp(lp[v]);
    }
    want_metrics(k, "p_after", after.v, after.n);
}

const runner more_runners[] = {
    {"kto", kto},
    {"bco", bco},
    {"kto_lambda_for_imbalance", kto_balance},
    {"cpo", cpo},
    {"simpo", simpo},
    {"orpo", orpo},
    {"slic_hf", slic},
    {"aot_paired", aot_paired},
    {"aot_unpaired", aot_unpaired},
    {"grpo", grpo},
    {"dapo", dapo},
    {"dr_grpo", dr_grpo},
    {"gspo", gspo},
    {"gspo_ratio", gspo_ratio},
    {"grpo_advantage", grpo_advantage},
    {"group_advantage_table", group_table},
    {"rloo", rloo},
    {"remax", remax},
    {"remax_official_advantage", remax_code},
    {"sequence_kl_reward", seq_kl},
    {"reinforce_plus_plus", reinforce_pp},
    {"soft_overlong_penalty", overlong},
    {"length_adaptive_lambda", vapo},
    {"dead_group_probability", dead},
    {"length_weight_per_token", length_bias},
    {"bon_kl", bon_kl},
    {"bon_kl_exact_discrete", bon_exact},
    {"bon_unbiased_estimator", bon_unbiased},
    {"rejection_sampling_select", rft_select},
    {"online_pair_select", pair_select},
    {"sppo_win_probability", winprob},
    {"nash_md_pg", nash_md},
    {"geometric_mixture", mixture},
    {"xpo", xpo},
    {"negative_gradient_squeeze", squeeze},
    {NULL, NULL},
};
