/* TRL's own trainers on the same numbers (tools/dump_trl_losses.py): loss, gradients and every
 * logged metric by name, with options given by TRL's names. */
#include "algo_case.h"
#include "conf/conf.h"

static problem P;
static json_t *data;

static void load(double *dst, const char *name) {
    vec v = jvec(json_object_get(data, name));
    CHECK_MSG(v.n > 0, "no %s", name);
    case_set(dst, &v);
}

/* Six responses, the first three chosen, the others their rejected counterparts. */
static void numbers(void) {
    int off[34];
    vec label = jvec(json_object_get(data, "label")),
        adv = jvec(json_object_get(data, "advantage"));
    int n = jrows(json_object_get(data, "logp"), off);

    problem *p = case_fresh(n, off);
    P = *p;
    problem_wire(&P);
    P.x.margin = P.x.p_chosen = NULL;
    load(P.logp, "logp"), load(P.ref_logp, "ref_logp"), load(P.old_logp, "old_logp");
    load(P.entropy, "entropy"), load(P.mean_logit, "mean_logit"), load(P.top1, "top1");
    load(P.lssp, "log_sum_sq_p"), load(P.score, "score"), load(P.margin, "margin");
    for (int s = 0; s < n; s++) {
        P.label[s] = label.v[s] != 0;
        for (int t = off[s]; t < off[s + 1]; t++) P.advantage[t] = adv.v[s];
    }
    P.x.label = P.label;
    P.x.n_pair = n / 2;
    for (int i = 0; i < n / 2; i++) P.chosen[i] = i, P.rejected[i] = n / 2 + i, P.prompt[i] = -1;
    P.x.prompt = P.prompt; /* of one token each, which nothing predicts */
    P.x.total.pair = n / 2;
    P.x.total.chosen_tok = off[n / 2];
}

static const tn_algo *algorithm(const json_t *c) {
    const char *name = json_string_value(json_object_get(c, "trainer"));
    const char *first = json_string_value(
        json_array_get(json_object_get(json_object_get(c, "options"), "loss_type"), 0));
    return tn_algo_find(first && strncmp(first, "aot", 3) == 0 ? "dpo-aot" : name);
}

/* TRL's metric by name; KTO's margin is a difference of two class means. */
static double logged(const char *name) {
    if (P.x.label && strcmp(name, "rewards/margins") == 0 && isnan(tn_metrics_find(&P.m, name)))
        return tn_metrics_find(&P.m, "rewards/chosen") - tn_metrics_find(&P.m, "rewards/rejected");
    return tn_metrics_find(&P.m, name);
}

/* The floor that the loop finds for --top-entropy-quantile, and the tokens that reach it. */
static void set_entropy_floor(tn_grpo_opt *o) {
    double h[MAXV];
    int n = P.off[P.x.n_seq];
    P.x.total.kept_tok = 0;
    if (o->top_entropy >= 1) return;
    memcpy(h, P.entropy, sizeof h);
    o->entropy_floor = tn_entropy_floor(h, n, o->top_entropy);
    for (int t = 0; t < n; t++) P.x.total.kept_tok += P.entropy[t] >= o->entropy_floor;
    CHECK(P.x.total.kept_tok > 0 && P.x.total.kept_tok < n);
}

static void run(const json_t *c, const tn_algo *a, size_t number) {
    const tn_opt_row *const tables[] = {a->options, NULL};
    tn_verb verb = {.name = "test", .tables = tables};
    json_t *options = json_deep_copy(json_object_get(c, "options")), *v;
    double opt[64] = {0}, rel = json_number_value(json_object_get(c, "rel")),
           abs = rel > 1e-9 ? rel : 1e-13;
    tn_opts *keep = NULL;
    const char *key;
    char who[64];
    snprintf(who, sizeof who, "case %zu (%s)", number, a->name);
    if (json_is_true(json_object_get(options, "margin"))) P.x.margin = P.margin;
    json_object_del(options, "margin");
    CHECK_OK(tn_opts_from_json(&verb, options, who, &keep, e));
    if (keep) tn_opts_bind(keep, a->options, opt);
    if (a == &tn_algo_grpo) set_entropy_floor((tn_grpo_opt *)opt);
    double loss = problem_loss(&P, a, opt), want = json_number_value(json_object_get(c, "loss"));
    CHECK_MSG(fabs(loss - want) <= abs + rel * fabs(want), "%s: loss %.15g, TRL has %.15g", who,
              loss, want);
    vec g = jvec(json_object_get(c, "logp_grad")), s = jvec(json_object_get(c, "score_grad"));
    CHECK(g.n + s.n > 0);
    for (int t = 0; t < g.n; t++)
        CHECK_MSG(fabs(P.g_logp[t] - g.v[t]) <= abs + rel * fabs(g.v[t]),
                  "%s: gradient of token %d is %.15g, TRL has %.15g", who, t, P.g_logp[t], g.v[t]);
    for (int t = 0; t < s.n; t++)
        CHECK_MSG(fabs(P.g_score[t] - s.v[t]) <= abs + rel * fabs(s.v[t]),
                  "%s: gradient of score %d is %.15g, TRL has %.15g", who, t, P.g_score[t], s.v[t]);
    /* TRL divides counts in float32 */
    double loose = rel > 1e-7 ? rel : 1e-7;
    json_object_foreach(json_object_get(c, "metrics"), key, v) {
        double m = json_number_value(v);
        CHECK_MSG(fabs(logged(key) - m) <= abs + loose * fabs(m), "%s: %s is %.15g, TRL has %.15g",
                  who, key, logged(key), m);
    }
    tn_opts_free(keep);
    json_decref(options);
}

TEST(algo_trl) {
    json_t *all = tn_golden("trl_losses.json"), *c;
    size_t i;
    data = json_object_get(all, "data");
    CHECK(json_array_size(json_object_get(all, "cases")) == 76);
    json_array_foreach(json_object_get(all, "cases"), i, c) {
        const tn_algo *a = algorithm(c);
        CHECK_MSG(a != NULL, "no algorithm for case %zu", i);
        numbers();
        if (!a) continue;
        if (a == &tn_algo_kto) {
            vec l = jvec(json_object_get(data, "kl_logp")),
                r = jvec(json_object_get(data, "kl_ref_logp"));
            problem_baseline(&P, tn_kto_baseline(l.v, r.v, l.n));
            CHECK(P.baseline[0] > 0);
        }
        if (a == &tn_algo_a2po) {
            problem_baseline(&P, 0);
            memcpy(P.baseline, P.score, sizeof P.baseline);
        }
        run(c, a, i);
    }
    json_decref(all);
}
