/* AI feedback: every golden case of Constitutional AI and RLAIF, and what is refused. A case without a runner, or with an
 * expected value that no runner compares, fails. */
#include "algo/feedback.h"
#include "algo_case.h"
#include "base/mathx.h"
#include "base/rng.h"
#include <math.h>

typedef struct gold { const json_t *in, *par, *want; const char *id; double tol; int seen; } gold;

static const json_t *at(const json_t *o, const char *key) { return json_object_get(o, key); }
static double num(const json_t *o, const char *key) { return json_number_value(at(o, key)); }
static void wants(gold *g, const char *key, const double *got, int n) {
    vec v = jvec(at(g->want, key));
    CHECK_MSG(v.n == n, "%s: %s has %d values, not %d", g->id, key, v.n, n);
    for (int i = 0; i < n && i < v.n; i++) CHECK_NEAR(got[i], v.v[i], 0, g->tol * fmax(1, fabs(v.v[i])));
    g->seen++;
}
static void want(gold *g, const char *key, double got) {
    const json_t *v = at(g->want, key);
    CHECK_MSG(v != NULL, "%s: %s is not expected", g->id, key);
    double x = json_is_boolean(v) ? json_is_true(v) : json_number_value(v);
    CHECK_NEAR(got, x, 0, g->tol * fmax(1, fabs(x)));
    g->seen++;
}
static void may(gold *g, const char *key, double got) {
    if (at(g->want, key)) want(g, key, got);
}

static double sum(const vec *v) {
    double s = 0;
    for (int i = 0; i < v->n; i++) s += v->v[i];
    return s;
}
static void soft_label(gold *g) {
    vec a = jvec(at(g->in, "token_logps_A")), b = jvec(at(g->in, "token_logps_B"));
    bool whole = at(g->in, "logp_A") != NULL; /* else of the option's tokens */
    double la = whole ? num(g->in, "logp_A") : sum(&a), lb = whole ? num(g->in, "logp_B") : sum(&b);
    want(g, "p_A", tn_label_soft(la, lb));
    may(g, "p_B", tn_label_soft(lb, la));
}
static void clamp(gold *g) {
    vec p = jvec(at(g->in, "p"));
    for (int i = 0; i < p.n; i++) p.v[i] = tn_label_clamp(p.v[i], num(g->par, "lo"), num(g->par, "hi"));
    wants(g, "p", p.v, p.n);
}
static void swapped(gold *g) {
    double p1 = num(g->in, "p_labelA_order1"), p2 = num(g->in, "p_labelA_order2");
    bool logits = !strcmp(json_string_value(at(g->par, "combine")), "logit_mean");
    want(g, "p_respA", tn_label_swapped(p1, p2, logits ? TN_SWAP_LOGITS : TN_SWAP_PROBS));
    may(g, "position_bias", tn_label_position_bias(p1, p2, TN_SWAP_PROBS));
}
static void bias_logit(gold *g) {
    vec p1 = jvec(at(g->in, "p_labelA_order1")), p2 = jvec(at(g->in, "p_labelA_order2")), bias = p1, delta = p1, logits = p1, probs = p1;
    for (int i = 0; i < p1.n; i++) {
        bias.v[i] = tn_label_position_bias(p1.v[i], p2.v[i], TN_SWAP_LOGITS);
        logits.v[i] = tn_label_swapped(p1.v[i], p2.v[i], TN_SWAP_LOGITS);
        probs.v[i] = tn_label_swapped(p1.v[i], p2.v[i], TN_SWAP_PROBS);
        delta.v[i] = tn_logit(logits.v[i]);
    }
    wants(g, "bias_logit", bias.v, bias.n);
    wants(g, "delta_logit", delta.v, delta.n);
    wants(g, "p_respA_logit_mean", logits.v, logits.n);
    wants(g, "p_respA_prob_mean", probs.v, probs.n);
}
static void ensemble(gold *g) {
    vec p = jvec(at(g->in, "p_A")), w = jvec(at(g->in, "weight"));
    double out = 0;
    CHECK_OK(tn_label_ensemble(p.v, w.v, p.n, &out, e));
    want(g, "p_A", out);
}
static void cot_average(gold *g) {
    vec p = jvec(at(g->in, "p_A_per_cot"));
    double lo = num(g->par, "lo"), hi = num(g->par, "hi");
    want(g, "mean", tn_label_cot(p.v, p.n, lo, hi, TN_COT_PLAIN));
    want(g, "mean_then_clamp", tn_label_cot(p.v, p.n, lo, hi, TN_COT_MEAN_THEN_CLAMP));
    want(g, "clamp_then_mean", tn_label_cot(p.v, p.n, lo, hi, TN_COT_CLAMP_THEN_MEAN));
}
/* The preference model's loss is the reward model's, with soft labels. */
static void soft_loss(gold *g) {
    int off[3] = {0};
    problem *p = case_fresh(2, off);
    tn_reward_opt o = reward_defaults();
    p->score[0] = num(g->in, "r_A"), p->score[1] = num(g->in, "r_B");
    p->chosen[0] = 0, p->rejected[0] = 1, p->p_chosen[0] = num(g->in, "p_A");
    p->x.n_pair = 1, p->x.total.pair = 1, p->x.p_chosen = p->p_chosen;
    want(g, "loss", problem_loss(p, &tn_algo_reward, &o));
    want(g, "dL_drA", p->g_score[0]);
    want(g, "dL_drB", p->g_score[1]);
    want(g, "loss_floor_entropy", tn_label_entropy(p->p_chosen[0]));
}
static void reduction(gold *g) {
    vec a = jvec(at(g->in, "before")), b = jvec(at(g->in, "after"));
    for (int i = 0; i < a.n; i++) a.v[i] = tn_relative_reduction(a.v[i], b.v[i]);
    wants(g, "reduction", a.v, a.n);
}
static void direct_score(gold *g) {
    vec p = jvec(at(g->in, "likelihood_1_to_10"));
    double score = 0, reward = 0;
    CHECK_OK(tn_direct_score(p.v, &score, &reward, e));
    want(g, "score", score);
    want(g, "reward", reward);
}
static void alignment(gold *g) {
    vec p = jvec(at(g->in, "p")), h = jvec(at(g->in, "human_index"));
    int human[MAXV];
    for (int i = 0; i < h.n; i++) human[i] = (int)h.v[i];
    want(g, "z_acc", tn_label_alignment(p.v, human, h.n, p.n / h.n));
}
static void rbr_hinge(gold *g) {
    static const char *const class[] = {"ideal", "bad", "disallowed"};
    double x[9], rm[3], total[3], per[8], grad[3];
    int pair[8][2] = {{0}}, pairs = (int)json_array_size(at(g->in, "pairs_better_worse")), satisfied = 0;
    vec w = jvec(at(g->in, "w"));
    for (int i = 0; i < 3; i++) {
        vec f = jvec(at(at(g->in, "features"), class[i]));
        memcpy(x + 3 * i, f.v, 3 * sizeof *x);
        rm[i] = num(at(g->in, "rm_score"), class[i]);
    }
    for (int p = 0; p < pairs; p++)
        for (int s = 0; s < 2; s++) {
            const char *name = json_string_value(json_array_get(json_array_get(at(g->in, "pairs_better_worse"), (size_t)p), (size_t)s));
            while (strcmp(class[pair[p][s]], name)) pair[p][s]++;
        }
    want(g, "loss", tn_rbr_hinge(x, rm, 3, 3, w.v, pair, pairs, num(g->par, "margin"), total, per, grad));
    for (int p = 0; p < pairs; p++) satisfied += per[p] == 0;
    wants(g, "per_pair", per, pairs);
    wants(g, "grad_w", grad, 3);
    want(g, "frac_satisfied", (double)satisfied / pairs);
    for (int i = 0; i < 3; i++) CHECK_NEAR(total[i], num(at(g->want, "total"), class[i]), 0, g->tol * 2);
    g->seen++;
}
static void votes(gold *g) {
    tn_principle_votes v = {num(g->in, "for"), num(g->in, "against"), num(g->in, "abstain"), num(g->in, "invalid")};
    tn_principle_score s = tn_principle_score_of(&v, num(g->par, "min_relevance"));
    want(g, "accuracy", s.accuracy);
    want(g, "relevance", s.relevance);
    want(g, "for_minus_against", s.net);
    want(g, "keep", s.keep);
}
static void consensus(gold *g) {
    double agree[8], seen[8], each[8];
    int n = (int)json_array_size(at(g->in, "groups"));
    for (int i = 0; i < n; i++) {
        const json_t *o = json_array_get(at(g->in, "groups"), (size_t)i);
        agree[i] = num(o, "agree"), seen[i] = num(o, "seen");
        each[i] = tn_group_consensus(agree + i, seen + i, 1);
    }
    want(g, "gac", tn_group_consensus(agree, seen, n));
    wants(g, "per_group", each, n);
}
static void self_reward(gold *g) {
    vec s = jvec(at(g->in, "scores_per_candidate"));
    int per = (int)num(g->par, "n_judge_samples"), n = s.n / per, chosen, rejected;
    double mean[16];
    bool pair = tn_self_reward_pair(s.v, n, per, mean, &chosen, &rejected);
    wants(g, "mean", mean, n);
    want(g, "chosen", chosen);
    want(g, "rejected", rejected);
    want(g, "skip", !pair);
}
static void mixture(gold *g) {
    double a = num(g->in, "n_helpful_human"), b = num(g->in, "n_harmless_ai"), p[] = {a, b}, half[] = {1, 0}, share = 0;
    CHECK_OK(tn_label_ensemble(half, p, 2, &share, e)); /* proportional: every comparison counts once */
    want(g, "p_helpful", share);
    want(g, "p_harmless", 1 - share);
    want(g, "total", a + b);
}

static void judge_temperature(gold *g) {
    vec m = jvec(at(g->in, "logit_margin")), y = jvec(at(g->in, "label"));
    bool first[MAXV];
    double T, nll_1, nll;
    for (int i = 0; i < y.n; i++) first[i] = y.v[i] == 1;
    CHECK_OK(tn_judge_temperature(m.v, first, m.n, &T, &nll_1, &nll, e));
    want(g, "T", T);
    want(g, "nll_at_1", nll_1);
    want(g, "nll_at_T", nll);
}
static void judge_accuracy(gold *g) {
    const json_t *all = at(g->in, "debates_logp_A_B");
    int n = (int)json_array_size(all);
    double p1[MAXV], p2[MAXV], right2[MAXV], mean[MAXV];
    for (int i = 0; i < n; i++) {
        vec a = jvec(at(json_array_get(all, (size_t)i), "order1")), b = jvec(at(json_array_get(all, (size_t)i), "order2"));
        p1[i] = tn_label_soft(a.v[0], a.v[1]), p2[i] = tn_label_soft(b.v[0], b.v[1]);
        right2[i] = 1 - p2[i], mean[i] = tn_label_swapped(p1[i], p2[i], TN_SWAP_PROBS);
    }
    tn_judge_accuracy acc = tn_judge_accuracy_of(p1, right2, n);
    wants(g, "p_correct_order1", p1, n);
    wants(g, "p_correct_order2", right2, n);
    wants(g, "p_correct_mean", mean, n);
    want(g, "accuracy_pooled", acc.pooled);
    want(g, "accuracy_both_orders", acc.both);
    want(g, "accuracy_of_mean_prob", acc.mean);
    want(g, "mean_p_correct", acc.p);
    want(g, "first_position_rate", tn_judge_orders_of(p1, p2, n).first);
}
static double outcome(const json_t *o, size_t i) {
    const char *s = json_string_value(json_array_get(o, i));
    return !strcmp(s, "win") ? 1 : !strcmp(s, "tie") ? 0.5 : 0;
}
static void swap_win_rate(gold *g) {
    const json_t *all = at(g->in, "outcome_order1_order2");
    int n = (int)json_array_size(all);
    double p1[MAXV], p2[MAXV], soft[MAXV], hard[MAXV], soft_mean = 0, hard_mean = 0;
    for (int i = 0; i < n; i++) {
        const json_t *o = json_array_get(all, (size_t)i);
        p1[i] = outcome(o, 0), p2[i] = 1 - outcome(o, 1);
        soft[i] = tn_label_swapped(p1[i], p2[i], TN_SWAP_PROBS), hard[i] = 0.5 * (1 + tn_label_verdict(p1[i], p2[i]));
        soft_mean += soft[i] / n, hard_mean += hard[i] / n;
    }
    wants(g, "soft_per_item", soft, n);
    wants(g, "mtbench_per_item", hard, n);
    want(g, "soft_win_rate", soft_mean);
    want(g, "mtbench_win_rate_adjusted", hard_mean);
    want(g, "consistency", tn_judge_orders_of(p1, p2, n).consistency);
}

static const struct { const char *method; void (*run)(gold *); } runners[] = {
    {"cai.ab_soft_label", soft_label}, {"cai.clamp", clamp}, {"cai.position_swap", swapped}, {"cai.position_bias_logit", bias_logit},
    {"cai.principle_ensemble", ensemble}, {"cai.cot_average", cot_average}, {"cai.pm_soft_loss", soft_loss},
    {"cai.relative_reduction", reduction}, {"cai.pm_mixture", mixture}, {"rlaif.direct_score", direct_score},
    {"rlaif.labeler_alignment", alignment}, {"rlaif.rbr_hinge", rbr_hinge}, {"rlaif.icai_principle_score", votes},
    {"rlaif.group_consensus", consensus}, {"rlaif.self_reward_pair", self_reward},
    {"debate.judge_temperature", judge_temperature}, {"debate.judge_accuracy", judge_accuracy}, {"pref.swap_win_rate", swap_win_rate}};

TEST(feedback_golden) {
    json_t *all = tn_golden("oversight-and-evaluation.json"), *c;
    size_t i, n = sizeof runners / sizeof *runners;
    CHECK_MSG(json_array_size(all) >= 23, "%zu cases, the file has lost some", json_array_size(all));
    json_array_foreach(all, i, c) {
        const char *method = json_string_value(at(c, "method"));
        gold g = {at(c, "inputs"), at(c, "parameters"), at(c, "expected"), json_string_value(at(c, "id")), num(c, "tol"), 0};
        size_t k = 0;
        while (k < n && strcmp(runners[k].method, method)) k++;
        CHECK_MSG(k < n, "%s: no runner for method %s", g.id, method);
        if (k == n) continue;
        runners[k].run(&g);
        CHECK_MSG(g.seen == (int)json_object_size(g.want), "%s: %d of %zu expected values compared", g.id, g.seen, json_object_size(g.want));
    }
    json_decref(all);
}

TEST(feedback_edges) {
    double p[] = {0.2, 0.7}, zero[] = {0, 0}, bad[] = {1, -1}, out, reward, ten[10] = {0}, mean[2], same[] = {3, 3};
    CHECK_FAIL(tn_label_ensemble(p, zero, 2, &out, e), TN_ARG, "all 0");
    CHECK_FAIL(tn_label_ensemble(p, bad, 2, &out, e), TN_ARG, "weight 1");
    CHECK_FAIL(tn_direct_score(ten, &out, &reward, e), TN_ARG, "none of the scores");
    ten[3] = NAN;
    CHECK_FAIL(tn_direct_score(ten, &out, &reward, e), TN_ARG, "score 4");
    CHECK(tn_label_soft(-1e4, 0) == 0 && tn_label_soft(0, -1e4) == 1 && tn_label_entropy(0) == 0 && tn_label_entropy(1) == 0);
    CHECK_NEAR(tn_label_entropy(0.5), tn_log(2), 1e-15, 0);
    int a, b;
    CHECK(!tn_self_reward_pair(same, 2, 1, mean, &a, &b));
    /* a judge s(delta + bias): the mean of logits gives delta back, whatever the bias */
    for (double bias = -2; bias <= 2; bias += 0.5)
        CHECK_NEAR(tn_label_swapped(tn_sigmoid(0.8 + bias), tn_sigmoid(-0.8 + bias), TN_SWAP_LOGITS), tn_sigmoid(0.8), 1e-12, 0);
}

TEST(feedback_judges) {
    /* a judge s(t m) of margins m, labelled by chance: the fit gives 1/t back, scaled margins scale it, and both orders may be exchanged */
    enum { N = 4000 };
    static double m[N], twice[N], other[N];
    static bool y[N], not_y[N];
    double T, one, nll, T2, T3;
    tn_rng r = tn_rng_stream(1, 9100, 0);
    for (int i = 0; i < N; i++) {
        m[i] = 3 * tn_rng_normal(&r), y[i] = tn_rng_unit(&r) < tn_sigmoid(m[i] / 2.5), twice[i] = 2 * m[i];
        other[i] = -m[i], not_y[i] = !y[i];
    }
    CHECK_OK(tn_judge_temperature(m, y, N, &T, &one, &nll, e));
    CHECK_OK(tn_judge_temperature(twice, y, N, &T2, &one, &nll, e));
    CHECK_OK(tn_judge_temperature(other, not_y, N, &T3, &one, &nll, e));
    CHECK_NEAR(T, 2.5, 0.1, 0);
    CHECK_NEAR(T2, 2 * T, 1e-9, 0);
    CHECK_NEAR(T3, T, 1e-12, 0);
    CHECK(nll < one);
    /* nothing wrong: certainty. Nothing right: no temperature. */
    double few[] = {2, -1, 0.5}, bad[] = {1, NAN};
    bool right[] = {true, false, true}, wrong[] = {false, true, false};
    CHECK_OK(tn_judge_temperature(few, right, 3, &T, &one, &nll, e));
    CHECK(T == 0 && nll == 0 && one > 0);
    CHECK_OK(tn_judge_temperature(few, wrong, 3, &T, &one, &nll, e));
    CHECK(isinf(T) && fabs(nll - tn_log(2)) < 1e-15);
    CHECK_FAIL(tn_judge_temperature(few, right, 0, &T, &one, &nll, e), TN_ARG, "there are none");
    CHECK_FAIL(tn_judge_temperature(bad, right, 2, &T, &one, &nll, e), TN_ARG, "item 2 is nan");
    /* hf.cohen.1: 20, 5, 10, 15 of 50 */
    static bool a[50], b[50];
    for (int i = 0; i < 50; i++) a[i] = i < 25, b[i] = i < 20 || (i >= 25 && i < 35);
    CHECK_NEAR(tn_cohen_kappa(a, b, 50, &one), 0.4, 1e-12, 0);
    CHECK_NEAR(one, 0.7, 1e-12, 0);
    CHECK(isnan(tn_cohen_kappa(a, a, 20, &one)) && one == 1);
    double len[] = {120, 80, 200, 150, 60}, reward[] = {1.1, 0.4, 1.9, 1.2, 0.5}, same[] = {0.7, 0.7, 0.7, 0.7, 0.7};
    CHECK_NEAR(tn_pearson(len, reward, 5), 0.97374466173, 1e-10, 0); /* pref.length_corr.1 */
    CHECK(isnan(tn_pearson(len, same, 5)));
    CHECK(tn_label_verdict(0.9, 0.2) == 1 && tn_label_verdict(0.2, 0.9) == -1 && tn_label_verdict(0.9, 0.9) == 0 && tn_label_verdict(0.5, 0.1) == 0);
}
