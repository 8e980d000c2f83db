/* Option rows bound by src/conf: every field at its default, and every field set by name. */
#include "algo_case.h"
#include "conf/conf.h"

static tn_status bind(const tn_opt_row *rows, const char *text, void *dst, tn_opts **keep,
                      tn_err *e) {
    const tn_opt_row *const tables[] = {rows, NULL};
    tn_verb verb = {.name = "test", .tables = tables};
    json_t *obj = NULL;
    TN_TRY(tn_json_parse(text, strlen(text), "test", &obj, e));
    tn_status st = tn_opts_from_json(&verb, obj, "test", keep, e);
    json_decref(obj);
    if (st == TN_OK) tn_opts_bind(*keep, rows, dst);
    return st;
}

/* Field by field through the rows, so that padding and pointers do not matter. */
static void same(const tn_opt_row *rows, const char *got, const char *want, const char *who) {
    for (const tn_opt_row *r = rows; r->type != TN_OPT_END; r++) {
        const char *a = got + r->offset, *b = want + r->offset;
        bool ok = true;
        double x, y;
        const char *s, *t;
        switch (r->type) {
        case TN_OPT_REAL:
            memcpy(&x, a, sizeof x), memcpy(&y, b, sizeof y);
            ok = x == y || (isnan(x) && isnan(y));
            break;
        case TN_OPT_STRING:
        case TN_OPT_CHOICE:
            memcpy(&s, a, sizeof s), memcpy(&t, b, sizeof t);
            ok = s && t && strcmp(s, t) == 0;
            break;
        case TN_OPT_BOOL: ok = *(const bool *)a == *(const bool *)b; break;
        case TN_OPT_INT: ok = memcmp(a, b, sizeof(int64_t)) == 0; break;
        default: continue; /* lists: below */
        }
        CHECK_MSG(ok, "%s: default of %s", who, r->name);
    }
}
#define DEFAULTS(rows, type, fn)                                                                   \
    do {                                                                                           \
        type got = {0}, want = fn();                                                               \
        tn_opts *keep = NULL;                                                                      \
        CHECK_OK(bind(rows, "{}", &got, &keep, e));                                                \
        same(rows, (const char *)&got, (const char *)&want, #rows);                                \
        tn_opts_free(keep);                                                                        \
    } while (0)

TEST(algo_option_defaults) {
    DEFAULTS(tn_sft_rows, tn_sft_opt, sft_defaults);
    DEFAULTS(tn_reward_rows, tn_reward_opt, reward_defaults);
    DEFAULTS(tn_dpo_rows, tn_dpo_opt, dpo_defaults);
    DEFAULTS(tn_kto_rows, tn_kto_opt, kto_defaults);
    DEFAULTS(tn_cpo_rows, tn_cpo_opt, cpo_defaults);
    DEFAULTS(tn_simpo_rows, tn_cpo_opt, simpo_defaults);
    DEFAULTS(tn_grpo_rows, tn_grpo_opt, grpo_defaults);
    DEFAULTS(tn_gkd_rows, tn_gkd_opt, gkd_defaults);
    DEFAULTS(tn_tdpo_rows, tn_tdpo_opt, tdpo_defaults);
    DEFAULTS(tn_ppo_policy_rows, tn_ppo_policy_opt, policy_defaults);
    DEFAULTS(tn_ppo_value_rows, tn_ppo_value_opt, value_defaults);
    DEFAULTS(tn_rl_rows, tn_rl_opt, rl_defaults);
    DEFAULTS(tn_score_rows, tn_score_opt, score_defaults);
    DEFAULTS(tn_macro_rows, tn_macro_opt, macro_defaults);
    DEFAULTS(tn_macro_value_rows, tn_macro_value_opt, macro_value_defaults);
    DEFAULTS(tn_cost_rows, tn_cost_opt, cost_defaults);
    DEFAULTS(tn_lagrange_rows, tn_lagrange_opt, lagrange_defaults);
    DEFAULTS(tn_inform_rows, tn_inform_opt, inform_defaults);
    DEFAULTS(tn_odin_rows, tn_odin_opt, odin_defaults);
    DEFAULTS(tn_shape_rows, tn_shape_opt, shape_defaults);
    DEFAULTS(tn_ensemble_rows, tn_ensemble_opt, ensemble_defaults);
    DEFAULTS(tn_rlthf_rows, tn_rlthf_opt, rlthf_defaults);
    DEFAULTS(tn_strength_rows, tn_strength_opt, strength_defaults);
}

/* Every algorithm runs with its defaults as bound from nothing. */
TEST(algo_option_defaults_run) {
    static problem p;
    problem_random(&p, 8, 5);
    p.x.label = p.label;
    for (int s = 0; s < 8; s++) p.label[s] = s % 2; /* xpo: one of a pair is the policy's */
    problem_baseline(&p, 0.1);
    p.x.prompt = p.prompt;
    for (int i = 0; i < 4; i++) p.prompt[i] = -1;
    for (const tn_algo *const *a = tn_algo_all; *a; a++) {
        double opt[64] = {0};
        tn_opts *keep = NULL;
        if (strcmp((*a)->name, "dpo-aot") == 0) continue; /* wants its loss type */
        if (strcmp((*a)->name, "tpo") == 0) continue; /* wants gold answers: test_algo_more.c */
        if (strcmp((*a)->name, "reward-heads") == 0) continue; /* wants a number a head: test_heads.c */
        for (int t = 0; t < p.off[8]; t++) p.ret[t] = 0.5; /* also a label of prm */
        CHECK((*a)->opt_size <= sizeof opt);
        CHECK_OK(bind((*a)->options, "{}", opt, &keep, e));
        CHECK_MSG(isfinite(problem_loss(&p, *a, opt)), "%s", (*a)->name);
        tn_opts_free(keep);
    }
}

TEST(algo_option_names) {
    tn_opts *keep = NULL;
    tn_dpo_opt d;
    CHECK_OK(bind(
        tn_dpo_rows,
        "{\"beta\": 0.3, \"loss_type\": [\"sigmoid\", \"sft\"], \"loss_weights\": [1, 0.25],"
        " \"f_divergence_type\": \"js_divergence\", \"use_weighting\": false, \"ld-alpha\": 0.5}",
        &d, &keep, e));
    CHECK(d.beta == 0.3 && d.loss_type.n == 2 && strcmp(d.loss_type.v[1], "sft") == 0);
    CHECK(d.loss_weights.n == 2 && d.ld_alpha == 0.5 &&
          strcmp(d.f_divergence, "js_divergence") == 0);
    static problem p;
    problem_random(&p, 8, 6);
    CHECK(isfinite(problem_loss(&p, &tn_algo_dpo, &d)));
    tn_opts_free(keep);
    keep = NULL;
    tn_ppo_policy_opt o;
    CHECK_OK(bind(tn_ppo_policy_rows, "{\"epsilon\": 0.3, \"epsilon_high\": 0.4}", &o, &keep, e));
    CHECK(o.clip == 0.3 && o.clip_high == 0.4);
    tn_opts_free(keep);
    keep = NULL;
    CHECK_FAIL(bind(tn_ppo_policy_rows, "{\"cliprange\": 3}", &o, &keep, e), TN_ARG, "cliprange");
    tn_opts_free(keep);
}
