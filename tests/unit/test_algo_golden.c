/* Every case of tests/golden/preference-and-rl.json, by method name. A case without a runner, or
 * with an expected value that no runner compares, fails. */
#include "algo_case.h"
#include "base/mathx.h"

static void num_logsigmoid(kase *k) {
    vec x = in_vec(k, "x"), y = {.n = x.n}, d = {.n = x.n};
    for (int i = 0; i < x.n; i++) y.v[i] = tn_logsigmoid(x.v[i]), d.v[i] = tn_sigmoid(-x.v[i]);
    want_metrics(k, "log_sigmoid", y.v, y.n);
    want_grad(k, "x", d.v, d.n);
}
static void num_log1mexp(kase *k) {
    vec x = in_vec(k, "x"), y = {.n = x.n}, d = {.n = x.n};
    for (int i = 0; i < x.n; i++) y.v[i] = tn_log1mexp(x.v[i]), d.v[i] = -1 / tn_expm1(-x.v[i]);
    want_metrics(k, "log1mexp", y.v, y.n);
    want_grad(k, "x", d.v, d.n);
}
static void num_kl(kase *k) {
    vec l = in_vec(k, "logp"), r = in_vec(k, "ref_logp"), y = {.n = l.n}, d = {.n = l.n};
    tn_kl kind = TN_KL_K1;
    double sum = 0;
    CHECK_OK(tn_kl_parse(hp_text(k, "estimator"), &kind, e));
    for (int i = 0; i < l.n; i++) {
        sum += y.v[i] = tn_kl_value(kind, l.v[i], r.v[i]);
        d.v[i] = tn_kl_grad(kind, l.v[i], r.v[i]);
    }
    want_metrics(k, "per_token", y.v, y.n);
    if (strcmp(hp_text(k, "reduction"), "sum") != 0) return;
    want_loss(k, sum);
    want_grad(k, "logp", d.v, d.n);
}
static void num_ratio(kase *k) {
    vec l = in_vec(k, "logp"), o = in_vec(k, "old_logp"), y = {.n = l.n};
    for (int i = 0; i < l.n; i++) {
        bool flat;
        y.v[i] = tn_ratio(l.v[i], o.v[i], hp(k, "log_ratio_clamp", 0), &flat);
        CHECK_MSG(flat == (fabs(l.v[i] - o.v[i]) > 20), "%s: clamp of %d", k->id, i);
    }
    want_metrics(k, "ratio", y.v, y.n);
}

/* Expectation over the policy of d estimator/d logits: sum_y pi(y) k'(y) (1[v=y] - pi_v). */
static void num_kl_expected(kase *k) {
    vec z = in_vec(k, "policy_logits"), zr = in_vec(k, "ref_logits");
    double lp[64], lr[64], g[3][64] = {{0}}, rev = 0, fwd = 0, grev[64], gfwd[64];
    case_softmax(z.v, z.n, 1, lp);
    case_softmax(zr.v, zr.n, 1, lr);
    for (int y = 0; y < z.n; y++) {
        rev += tn_exp(lp[y]) * (lp[y] - lr[y]);
        fwd += tn_exp(lr[y]) * (lr[y] - lp[y]);
        for (int e = 0; e < 3; e++)
            for (int v = 0; v < z.n; v++)
                g[e][v] +=
                    tn_exp(lp[y]) * tn_kl_grad((tn_kl)e, lp[y], lr[y]) * ((v == y) - tn_exp(lp[v]));
    }
    for (int v = 0; v < z.n; v++) {
        grev[v] = tn_exp(lp[v]) * (lp[v] - lr[v] - rev);
        gfwd[v] = tn_exp(lp[v]) - tn_exp(lr[v]);
    }
    want_metric(k, "reverse_kl", rev);
    want_metric(k, "forward_kl", fwd);
    want_metrics(k, "grad_k1", g[0], z.n);
    want_metrics(k, "grad_k2", g[1], z.n);
    want_metrics(k, "grad_k3", g[2], z.n);
    want_metrics(k, "grad_reverse_kl", grev, z.n);
    want_metrics(k, "grad_forward_kl", gfwd, z.n);
}

static const runner num_runners[] = {
    {"log_sigmoid", num_logsigmoid},
    {"log1mexp", num_log1mexp},
    {"kl_estimator", num_kl},
    {"kl_estimator_expected_gradient", num_kl_expected},
    {"importance_ratio", num_ratio},
    {NULL, NULL},
};

static const runner *const tables[] = {
    num_runners,   rm_runners,   dpo_runners,    ppo_runners,   more_runners,   toy_runners,
    macro_runners, safe_runners, latent_runners, score_runners, num_op_runners, goodhart_runners,
    pair_runners};
#define N_TABLES (sizeof tables / sizeof tables[0])

static const runner *find_runner(const char *method) {
    for (size_t t = 0; t < N_TABLES; t++)
        for (const runner *r = tables[t]; r->method; r++)
            if (strcmp(r->method, method) == 0) return r;
    return NULL;
}

static int expected_count(const json_t *c) {
    const json_t *ex = json_object_get(c, "expected");
    return json_is_number(json_object_get(ex, "loss")) +
           (int)json_object_size(json_object_get(ex, "gradients")) +
           (int)json_object_size(json_object_get(ex, "metrics"));
}

static bool has_case(const json_t *all, const char *method) {
    size_t i;
    json_t *c;
    json_array_foreach(all, i, c)
        if (strcmp(json_string_value(json_object_get(c, "method")), method) == 0) return true;
    return false;
}

TEST(algo_golden) {
    json_t *all = tn_golden("preference-and-rl.json"), *c;
    size_t i;
    CHECK_MSG(json_array_size(all) >= 187, "%zu cases, the file has lost some",
              json_array_size(all));
    json_array_foreach(all, i, c) {
        const char *method = json_string_value(json_object_get(c, "method"));
        const json_t *tol = json_object_get(c, "tolerance");
        const runner *r = find_runner(method);
        kase k = {c, json_string_value(json_object_get(c, "id")),
                  json_number_value(json_object_get(tol, "rel")),
                  json_number_value(json_object_get(tol, "abs")), 0};
        CHECK_MSG(r != NULL, "%s: no runner for method %s", k.id, method);
        if (!r) continue;
        r->run(&k);
        CHECK_MSG(k.seen == expected_count(c), "%s: %d of %d expected values compared", k.id,
                  k.seen, expected_count(c));
    }
    for (size_t t = 0; t < N_TABLES; t++)
        for (const runner *r = tables[t]; r->method; r++)
            CHECK_MSG(has_case(all, r->method), "no case for method %s", r->method);
    json_decref(all);
}
