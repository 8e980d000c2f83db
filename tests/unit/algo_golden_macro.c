/* Golden cases of macro actions. */
#include "algo_case.h"
#include "base/mathx.h"

/* Offsets as the [first, end) ranges of the case. */
static void want_ranges(kase *k, const char *name, const int *off, int n) {
    vec r = {0};
    for (int i = 0; i < n; i++) r.v[r.n++] = off[i], r.v[r.n++] = off[i + 1];
    want_metrics(k, name, r.v, r.n);
}
static void want_cut(kase *k, const char *name, tn_macro_rule rule, const tn_macro_text *y,
                     bool *empty) {
    int off[MAXV], n = 0;
    CHECK_OK(tn_macro_cut(rule, (int64_t)hp(k, "n", 1), y, off, &n, e));
    want_ranges(k, name, off, n);
    for (int i = 0; i < n; i++) *empty = *empty || off[i] == off[i + 1];
}
static void boundaries(kase *k) {
    bool paper = false, code = false;
    tn_macro_text y = {0};
    vec ppl = jvec(jin(k, "token_ppl")), len = jvec(jin(k, "shuffled_lengths"));
    uint32_t lengths[32];
    const char *rule = hp_text(k, "termination");
    if (strcmp(rule, "perplexity") == 0) {
        for (int i = 0; i < ppl.n; i++) ppl.v[i] = -tn_log(ppl.v[i]);
        y.n = ppl.n, y.ref_logp = ppl.v;
        want_cut(k, "macros_paper", TN_MACRO_PERPLEXITY, &y, &paper);
        want_cut(k, "macros_official_code", TN_MACRO_PERPLEXITY_CODE, &y, &code);
        return;
    }
    y.n = (int)in_vec(k, "T").v[0];
    if (strcmp(rule, "randomised_ngram") == 0) {
        for (int i = 0; i < len.n; i++) lengths[i] = (uint32_t)len.v[i];
        y.lengths = lengths, y.n_length = len.n;
        want_cut(k, "macros", TN_MACRO_RANDOM, &y, &paper);
        return;
    }
    want_cut(k, "macros_paper", TN_MACRO_FIXED, &y, &paper);
    want_cut(k, "macros_official_code", TN_MACRO_FIXED_CODE, &y, &code);
    want_metric(k, "official_has_zero_length_macro", code);
    CHECK(!paper);
}

/* The case's ranges as offsets; their number. */
static int macros_in(const kase *k, int *off) {
    vec r = in_vec(k, "macros");
    for (int i = 0; i < r.n / 2; i++) off[i] = (int)r.v[2 * i], off[i + 1] = (int)r.v[2 * i + 1];
    return r.n / 2;
}

static void gae(kase *k) {
    int off[MAXV], n = macros_in(k, off), seq[] = {0, n};
    vec r = in_vec(k, "token_reward"), v = in_vec(k, "token_value"), adv = {.n = r.n},
        ret = {.n = r.n};
    double out[4][32];
    tn_macros a = {1, seq, off, out[0], out[1], out[2], out[3]};
    tn_macro_opt o = macro_defaults();
    tn_macro_weight w = TN_MACRO_UNIT;
    tn_macro_rule rule;
    tn_metrics m = {0};
    o.rule = "fixed", o.value = hp_text(k, "value_function");
    CHECK_OK(tn_macro_parse(&o, &rule, &w, e));
    tn_macro_gae(w, strcmp(hp_text(k, "macro_reward"), "mean") == 0, r.v, v.v, hp(k, "gamma", 0),
                 hp(k, "lambda", 0), &a, adv.v, ret.v, &m);
    want_metrics(k, "macro_value", a.value, n);
    want_metrics(k, "macro_reward", a.reward, n);
    want_metrics(k, "macro_advantage", a.advantage, n);
    want_metrics(k, "macro_return", a.ret, n);
    want_metrics(k, "token_advantage", adv.v, adv.n);
    for (int i = 0; i < n; i++)
        CHECK(ret.v[off[i]] == a.ret[i] && ret.v[off[i + 1] - 1] == a.ret[i]);
    CHECK(tn_metrics_find(&m, "macro/number") == n);
    CHECK_NEAR(tn_metrics_find(&m, "macro/length"), (double)r.n / n, 1e-15, 0);
}

/* One sequence whose tokens carry their macros' numbers. */
static problem *one(const kase *k, const char *first, const char *per_macro, double *dst) {
    int off[] = {0, in_vec(k, first).n};
    vec v = in_vec(k, per_macro);
    problem *p = case_fresh(1, off);
    p->x.n_macro = macros_in(k, p->macro_off);
    p->x.total.macro = p->x.n_macro;
    for (int i = 0; i < p->x.n_macro; i++)
        for (int t = p->macro_off[i]; t < p->macro_off[i + 1]; t++) dst[t] = v.v[i];
    return p;
}
static void policy(kase *k) {
    static double adv[MAXV];
    problem *p = one(k, "logp", "macro_advantage", adv);
    vec l = in_vec(k, "logp"), old = in_vec(k, "old_logp"), ratio = {0};
    bool joint = strncmp(hp_text(k, "ratio"), "joint", 5) == 0, flat;
    tn_ppo_policy_opt o = policy_defaults();
    o.clip = hp(k, "clip", 0);
    case_set(p->logp, &l);
    case_set(p->old_logp, &old);
    memcpy(p->advantage, adv, sizeof adv);
    want_loss(k, problem_loss(p, joint ? &tn_algo_macro_policy : &tn_algo_ppo_policy, &o));
    want_grad(k, "logp", p->g_logp, l.n);
    for (int i = 0; i < p->x.n_macro; i++) {
        double d = 0;
        for (int t = p->macro_off[i]; t < p->macro_off[i + 1]; t++) {
            d += l.v[t] - old.v[t];
            if (!joint) ratio.v[ratio.n++] = tn_ratio(l.v[t], old.v[t], 20, &flat);
        }
        if (joint) ratio.v[ratio.n++] = tn_ratio(d, 0, 20, &flat);
    }
    want_metrics(k, "ratio", ratio.v, ratio.n);
}
static void value(kase *k) {
    static double ret[MAXV];
    problem *p = one(k, "values", "macro_return", ret);
    vec v = in_vec(k, "values"), old = jvec(jin(k, "old_values"));
    bool joint = strncmp(hp_text(k, "target"), "aggregated", 10) == 0;
    tn_macro_value_opt o = {{hp(k, "cliprange_value", 0), 2 * hp(k, "factor", 0), NULL}, "equal"};
    case_set(p->value, &v);
    case_set(p->old_value, &old);
    memcpy(p->ret, ret, sizeof ret);
    if (joint)
        want_loss(k, problem_loss(p, &tn_algo_macro_value, &o));
    else
        want_loss(k, problem_loss(p, &tn_algo_ppo_value, &o.value));
    want_grad(k, "values", p->g_value, v.n);
}

const runner macro_runners[] = {
    {"macro_boundaries", boundaries}, {"macro_gae", gae}, {"ma_ppo_policy_loss", policy},
    {"ma_ppo_value_loss", value},     {NULL, NULL},
};
