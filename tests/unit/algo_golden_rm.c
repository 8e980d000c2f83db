/* Golden cases of supervised fine-tuning and of reward models. */
#include "algo_case.h"
#include "base/mathx.h"

static void sft(kase *k) {
    int off[34], back[MAXV];
    int n = keep_masked(jin(k, "logp"), jin(k, "loss_mask"), off, back);
    vec all = in_vec(k, "logp"), kept = take(&all, back, off[n]);
    problem *p = case_fresh(n, off);
    case_set(p->logp, &kept);
    tn_sft_opt o = sft_defaults();
    o.reduction = hp_text(k, "reduction");
    double loss = problem_loss(p, &tn_algo_sft, &o);
    want_loss(k, loss);
    vec g = put_back(p->g_logp, back, off[n], all.n);
    want_grad(k, "logp", g.v, g.n);
    if (expected_metric(k, "perplexity")) want_metric(k, "perplexity", tn_exp(loss));
    if (expected_metric(k, "num_target_tokens"))
        want_metric(k, "num_target_tokens", tn_metrics_find(&p->m, "num_target_tokens"));
}
static void sft_accum(kase *k) {
    int off[34], n = jrows(jin(k, "microbatch_logp"), off);
    vec all = in_vec(k, "microbatch_logp");
    double sum = 0, means = 0;
    tn_sft_opt o = sft_defaults();
    for (int s = 0; s < n; s++) {
        int one[] = {0, off[s + 1] - off[s]};
        problem *p = case_fresh(1, one);
        memcpy(p->logp, all.v + off[s], sizeof(double) * (size_t)one[1]);
        means += problem_loss(p, &tn_algo_sft, &o) / n;
        p->x.total.tok = all.n;
        sum += problem_loss(p, &tn_algo_sft, &o);
    }
    want_loss(k, sum);
    want_metric(k, "right_sum_over_global_token_count", sum);
    want_metric(k, "wrong_mean_of_means", means);
}
static void sft_logits(kase *k) {
    int row[34], n = jrows(jin(k, "logits"), row), width = row[1], off[2], back[MAXV];
    vec z = in_vec(k, "logits"), target = in_vec(k, "targets");
    keep_masked(jin(k, "targets"), jin(k, "loss_mask"), off, back);
    problem *p = case_fresh(1, off);
    double lp[16][64], h[16];
    vec out = {.n = z.n};
    for (int i = 0; i < n; i++) h[i] = case_softmax(z.v + row[i], width, 1, lp[i]);
    for (int i = 0; i < off[1]; i++) {
        int t = (int)target.v[back[i]], best = 0;
        for (int v = 1; v < width; v++) best = lp[back[i]][v] > lp[back[i]][best] ? v : best;
        p->logp[i] = lp[back[i]][t];
        p->top1[i] = best == t;
    }
    tn_sft_opt o = sft_defaults();
    want_loss(k, problem_loss(p, &tn_algo_sft, &o));
    for (int i = 0; i < off[1]; i++)
        case_chain(lp[back[i]], width, 1, (int)target.v[back[i]], h[back[i]], p->g_logp[i], 0,
                   out.v + row[back[i]]);
    want_grad(k, "logits", out.v, out.n);
    want_metric(k, "token_accuracy", tn_metrics_find(&p->m, "mean_token_accuracy"));
}

/* Scores of n chosen responses, then of n rejected ones. */
static problem *score_pairs(const vec *c, const vec *r) {
    int off[34] = {0};
    problem *p = case_fresh(2 * c->n, off);
    for (int i = 0; i < c->n; i++) {
        p->score[i] = c->v[i], p->score[c->n + i] = r->v[i];
        p->chosen[i] = i, p->rejected[i] = c->n + i;
    }
    p->x.n_pair = c->n;
    p->x.total.pair = c->n;
    return p;
}
static void rm_pairs(kase *k) {
    vec c = in_vec(k, "r_chosen"), r = in_vec(k, "r_rejected");
    problem *p = score_pairs(&c, &r);
    tn_reward_opt o = reward_defaults();
    o.center = hp(k, "center_rewards_coefficient", 0);
    o.l2 = hp(k, "regularization", 0);
    vec margin = jvec(jin(k, "margin")), soft = jvec(jin(k, "p_chosen"));
    if (jin(k, "margin")) case_set(p->margin, &margin), p->x.margin = p->margin;
    if (jin(k, "p_chosen")) case_set(p->p_chosen, &soft), p->x.p_chosen = p->p_chosen;
    want_loss(k, problem_loss(p, &tn_algo_reward, &o));
    want_grad(k, "r_chosen", p->g_score, c.n);
    want_grad(k, "r_rejected", p->g_score + c.n, c.n);
    if (expected_metric(k, "accuracy")) {
        want_metric(k, "accuracy", tn_metrics_find(&p->m, "accuracy"));
        want_metric(k, "mean_margin", tn_metrics_find(&p->m, "margin"));
        CHECK_NEAR(tn_reward_accuracy(c.v, r.v, c.n), tn_metrics_find(&p->m, "accuracy"), 1e-15, 0);
    }
}
/* A difference d is scores d and 0; "loss" is the pair the other way round. */
static void rm_ties(kase *k) {
    vec d = in_vec(k, "score_diff"), zero = {.n = d.n}, g = {.n = d.n};
    problem *p = score_pairs(&d, &zero);
    tn_reward_opt o = reward_defaults();
    o.tie_theta = hp(k, "theta", 0);
    p->x.p_chosen = p->p_chosen;
    for (int i = 0; i < d.n; i++) {
        const char *label = json_string_value(json_array_get(jin(k, "label"), (size_t)i));
        p->p_chosen[i] = strcmp(label, "win") == 0 ? 1 : strcmp(label, "tie") == 0 ? 0.5 : 0;
    }
    want_loss(k, problem_loss(p, &tn_algo_reward, &o));
    for (int i = 0; i < d.n; i++) {
        g.v[i] = p->g_score[i];
        CHECK_NEAR(p->g_score[d.n + i], -g.v[i], 1e-14, 0);
    }
    want_grad(k, "score_diff", g.v, g.n);
    static const char *const names[] = {"p_win", "p_tie", "p_loss"};
    d.n = zero.n = 1;
    for (int i = 0; i < 3; i++) {
        p = score_pairs(&d, &zero);
        p->x.p_chosen = p->p_chosen;
        p->p_chosen[0] = 1 - 0.5 * i;
        want_metric(k, names[i], tn_exp(-problem_loss(p, &tn_algo_reward, &o)));
    }
}

static problem *one_group(const vec *score) {
    int off[34] = {0};
    problem *p = case_fresh(score->n, off);
    case_set(p->score, score);
    p->x.n_group = 1;
    p->x.total.group = 1;
    p->group_off[0] = 0, p->group_off[1] = score->n;
    return p;
}
static void rm_kwise(kase *k) {
    vec s = in_vec(k, "scores"), r = in_vec(k, "rank");
    problem *p = one_group(&s);
    tn_reward_opt o = reward_defaults();
    for (int i = 0; i < s.n; i++) p->rank[i] = (int)r.v[i];
    want_loss(k, problem_loss(p, &tn_algo_reward_rank, &o));
    want_grad(k, "scores", p->g_score, s.n);
    if (expected_metric(k, "pair_accuracy"))
        want_metric(k, "pair_accuracy", tn_metrics_find(&p->m, "accuracy"));
    for (int i = 0; i < p->m.n; i++)
        if (strcmp(p->m.v[i].name, "accuracy") == 0 && expected_metric(k, "num_pairs"))
            want_metric(k, "num_pairs", p->m.v[i].count);
    if (!expected_metric(k, "plackett_luce_nll_same_scores")) return;
    o.ranking = "plackett_luce";
    want_metric(k, "plackett_luce_nll_same_scores", problem_loss(p, &tn_algo_reward_rank, &o));
}
static void rm_plackett_luce(kase *k) {
    vec s = in_vec(k, "scores"), order = in_vec(k, "order_best_to_worst"), nll = {0};
    problem *p = one_group(&s);
    tn_reward_opt o = reward_defaults();
    o.ranking = "plackett_luce";
    for (int i = 0; i < s.n; i++) p->rank[(int)order.v[i]] = i + 1;
    want_loss(k, problem_loss(p, &tn_algo_reward_rank, &o));
    want_grad(k, "scores", p->g_score, s.n);
    /* each choice is a `best` among those that are left */
    o.ranking = "best";
    for (int i = 0; i + 1 < s.n; i++) {
        vec left = {0};
        for (int j = i; j < s.n; j++) left.v[left.n++] = s.v[(int)order.v[j]];
        p = one_group(&left);
        for (int j = 0; j < left.n; j++) p->rank[j] = j + 1;
        nll.v[nll.n++] = problem_loss(p, &tn_algo_reward_rank, &o);
    }
    want_metrics(k, "per_choice_nll", nll.v, nll.n);
}
static void rm_best(kase *k) {
    vec s = in_vec(k, "scores"), best = in_vec(k, "best");
    problem *p = one_group(&s);
    tn_reward_opt o = reward_defaults();
    o.ranking = "best";
    for (int i = 0; i < s.n; i++) p->rank[i] = i == (int)best.v[0] ? 1 : 2;
    want_loss(k, problem_loss(p, &tn_algo_reward_rank, &o));
    want_grad(k, "scores", p->g_score, s.n);
}
static void rm_prm(kase *k) {
    vec z = in_vec(k, "step_logits"), y = in_vec(k, "step_labels"), prob = {.n = z.n};
    int off[] = {0, z.n};
    problem *p = case_fresh(1, off);
    case_set(p->value, &z);
    case_set(p->ret, &y);
    want_loss(k, problem_loss(p, &tn_algo_prm, NULL));
    want_grad(k, "step_logits", p->g_value, z.n);
    for (int i = 0; i < z.n; i++) prob.v[i] = tn_sigmoid(z.v[i]);
    want_metrics(k, "step_prob", prob.v, prob.n);
    want_metric(k, "solution_score_product", tn_prm_score(z.v, z.n, true));
    want_metric(k, "solution_score_min", tn_prm_score(z.v, z.n, false));
}
static void rm_calibration(kase *k) {
    vec c = in_vec(k, "confidence"), y = in_vec(k, "correct");
    vec edges = jvec(json_object_get(json_object_get(k->j, "hyperparameters"), "bins"));
    int right[64];
    double ece = NAN, brier = NAN;
    for (int i = 0; i < y.n; i++) right[i] = (int)y.v[i];
    CHECK_OK(tn_calibration(c.v, right, c.n, edges.v, edges.n - 1, &ece, &brier, e));
    want_metric(k, "ece", ece);
    want_metric(k, "brier", brier);
}
static void rm_normalise(kase *k) {
    vec s = in_vec(k, "scores_on_reference");
    double gain = 0, bias = 0, one = 0, shift = 0;
    tn_moments m = {0};
    tn_moments_add(&m, s.v, s.n);
    CHECK_OK(tn_reward_normaliser(s.v, s.n, false, hp(k, "target_mean", 0), hp(k, "target_std", 1),
                                  &gain, &bias, e));
    CHECK_OK(tn_reward_normaliser(s.v, s.n, true, hp(k, "target_mean", 0), 1, &one, &shift, e));
    want_metric(k, "mean", m.mean);
    want_metric(k, "std_biased", sqrt(tn_moments_var(&m, 0)));
    want_metric(k, "gain", gain);
    want_metric(k, "bias", bias);
    want_metric(k, "bias_only_shift", shift);
    CHECK(one == 1);
}
static void rm_combine(kase *k) {
    vec s = in_vec(k, "r_safety"), h = in_vec(k, "r_help"), is = in_vec(k, "is_safety_prompt"),
        y = {.n = s.n};
    int flag[64];
    for (int i = 0; i < s.n; i++) flag[i] = is.v[i] != 0;
    tn_reward_combine(s.v, h.v, flag, s.n, hp(k, "threshold", 0), y.v);
    want_metrics(k, "combined", y.v, y.n);
    for (int i = 0; i < y.n; i++) y.v[i] = tn_logit(y.v[i]);
    want_metrics(k, "logit", y.v, y.n);
    CHECK_OK(tn_whiten(y.v, y.n, (int)hp(k, "ddof", 0), true, e));
    want_metrics(k, "whitened", y.v, y.n);
}

const runner rm_runners[] = {
    {"sft", sft},
    {"sft_grad_accumulation", sft_accum},
    {"sft_from_logits", sft_logits},
    {"rm_bradley_terry", rm_pairs},
    {"rm_bradley_terry_soft", rm_pairs},
    {"rm_ties", rm_ties},
    {"rm_kwise", rm_kwise},
    {"rm_plackett_luce", rm_plackett_luce},
    {"rm_pick_best", rm_best},
    {"process_reward_model", rm_prm},
    {"rm_calibration", rm_calibration},
    {"rm_normalise", rm_normalise},
    {"reward_combine_llama2", rm_combine},
    {NULL, NULL},
};
