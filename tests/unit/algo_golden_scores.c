/* Golden cases of what is done with scores: shaping, ensembles, fits, win rates, targeted feedback,
 * choice of pairs, counting. */
#include "algo/group.h"
#include "algo/price.h"
#include "algo_case.h"
#include "base/mathx.h"
#include "eval/overopt.h"
#include "eval/winrate.h"

/* `shape` on the case's rewards, running statistics fresh. */
static vec shaped(const kase *k, tn_shape_opt o, const char *shape, vec *slope) {
    int off[34];
    jrows(jin(k, "ref_rewards"), off);
    vec r = in_vec(k, "reward"), ref = in_vec(k, "ref_rewards");
    tn_shape_state st = {0};
    o.shape = shape;
    slope->n = r.n;
    CHECK_OK(tn_shape_rewards(&o, &st, ref.v, off[1], NULL, r.v, r.n, slope->v, e));
    return r;
}
static void par(kase *k) {
    tn_shape_opt o = shape_defaults();
    vec slope;
    o.k = hp(k, "k", 0);
    vec r = shaped(k, o, "par", &slope);
    want_metrics(k, "shaped", r.v, r.n);
    want_metrics(k, "d_shaped_d_reward", slope.v, slope.n);
}
static void shapings(kase *k) {
    static const char *const names[][2] = {{"minmax", "minmax"},
                                           {"meanstd", "meanstd"},
                                           {"clip", "clip"},
                                           {"tanh", "tanh"},
                                           {"tanh_centred", "tanh_centred"},
                                           {"centred", "centred"},
                                           {"sigmoid_uncentred", "sigmoid"},
                                           {"lsc", "lsc"}};
    tn_shape_opt o = shape_defaults();
    vec slope;
    CHECK(hp(k, "lsc_std_ddof", 0) == 1 && hp(k, "lsc_std_eps", 0) == 1e-5 &&
          hp(k, "running_std_ddof", 1) == 0);
    o.percentile = hp(k, "lsc_percentile", 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        vec r = shaped(k, o, names[i][1], &slope);
        want_metrics(k, names[i][0], r.v, r.n);
    }
    want_metrics(k, "d_lsc_d_reward", slope.v, slope.n);
    o.ceil = hp(k, "ceil", 0);
    vec r = shaped(k, o, "none", &slope);
    want_metrics(k, "ceil_2", r.v, r.n);
}

static vec combined(const kase *k, const char *how, int ddof) {
    int off[34], n = jrows(jin(k, "member_scores"), off);
    vec all = in_vec(k, "member_scores"), s = {.n = n};
    tn_ensemble_opt o = {how, hp(k, "lambda", 0), ddof};
    tn_metrics m = {0};
    CHECK_OK(tn_ensemble_scores(&o, all.v, n, off[1], s.v, &m, e));
    CHECK(tn_metrics_find(&m, "ensemble/std") > 0);
    return s;
}
static void want_combined(kase *k, const char *name, const char *how, int ddof) {
    vec s = combined(k, how, ddof);
    want_metrics(k, name, s.v, s.n);
}
static void ensemble(kase *k) {
    want_combined(k, "mean", "mean", 0);
    want_combined(k, "wco", "worst", 0);
    want_combined(k, "uwo_var_ddof0", "uwo", 0);
    want_combined(k, "uwo_var_ddof1", "uwo", 1);
    want_combined(k, "mean_minus_std_ddof1", "std", 1);
    want_combined(k, "median", "median", 0);
}
static void best_of_n(kase *k) {
    static const char *const how[] = {"mean", "worst", "uwo"},
                             *const score[] = {"mean", "wco", "uwo"},
                             *const best[] = {"argmax_mean", "argmax_wco", "argmax_uwo_ddof0"};
    for (int i = 0; i < 3; i++) {
        int first;
        vec s = combined(k, how[i], 0);
        want_metrics(k, score[i], s.v, s.n);
        CHECK_OK(tn_top(s.v, s.n, 1, &first, e));
        want_metric(k, best[i], first);
    }
}
/* Weights are float32: so is the case's comparison. */
static void floats(const vec *v, float *f) {
    for (int i = 0; i < v->n; i++) f[i] = (float)v->v[i];
}
static void warm(kase *k) {
    int n = (int)json_array_size(jin(k, "members"));
    vec all = in_vec(k, "members"), avg = {.n = all.n / n};
    float w[MAXV], out[MAXV];
    const float *member[8];
    floats(&all, w);
    for (int i = 0; i < n; i++) member[i] = w + i * avg.n;
    tn_weights_mean(out, member, n, (size_t)avg.n);
    for (int i = 0; i < avg.n; i++) avg.v[i] = out[i];
    k->rel = 1e-7;
    want_metrics(k, "averaged_weights", avg.v, avg.n);
}
static void ema(kase *k) {
    int off[34], n = jrows(jin(k, "weights"), off);
    vec all = in_vec(k, "weights"), init = in_vec(k, "init");
    float w[MAXV], avg[MAXV];
    floats(&all, w);
    floats(&init, avg);
    for (int i = 0; i < n; i++) tn_weights_ema(avg, w + off[i], (size_t)init.n, hp(k, "decay", 0));
    for (int i = 0; i < init.n; i++) init.v[i] = avg[i];
    k->rel = 2e-7;
    want_metrics(k, "ema", init.v, init.n);
}
/* What moving_ref.c does with every element. */
static void tr_dpo(kase *k) {
    vec policy = in_vec(k, "policy"), ref = in_vec(k, "ref");
    float w[MAXV], avg[MAXV];
    floats(&policy, w);
    floats(&ref, avg);
    tn_weights_ema(avg, w, (size_t)ref.n, 1 - hp(k, "alpha", 0));
    for (int i = 0; i < ref.n; i++) ref.v[i] = avg[i];
    k->rel = 2e-7, k->abs = 2e-8; /* of float32 */
    want_metrics(k, "new_ref", ref.v, ref.n);
}

static void overopt_fit(kase *k) {
    vec d = in_vec(k, "d"), gold = in_vec(k, "gold_reward");
    bool rl = strstr(hp_text(k, "form"), "log") != NULL;
    tn_overopt f;
    double peak = 0, top = 0;
    CHECK_OK(tn_overopt_fit(rl ? TN_OVEROPT_RL : TN_OVEROPT_BON, d.v, gold.v, d.n, 0.3, &f, e));
    want_metric(k, "alpha", f.alpha);
    want_metric(k, "beta", f.beta);
    want_metric(k, "rmse", f.rmse);
    CHECK(f.points == d.n && tn_overopt_peak(&f, &peak, &top));
    want_metric(k, "d_peak", peak);
    want_metric(k, "R_peak", top);
}
static void overopt_curve(kase *k) {
    vec d = in_vec(k, "d"), y = {.n = d.n};
    tn_overopt f = {TN_OVEROPT_BON, hp(k, "alpha", 0), hp(k, "beta", 0), 0, 0};
    double peak[2];
    for (int i = 0; i < d.n; i++) y.v[i] = tn_overopt_gold(&f, d.v[i]);
    want_metrics(k, "R_bon", y.v, y.n);
    CHECK(tn_overopt_peak(&f, &peak[0], &peak[1]));
    want_metrics(k, "bon_peak", peak, 2);
    f.form = TN_OVEROPT_RL;
    for (int i = 0; i < d.n; i++) y.v[i] = tn_overopt_gold(&f, d.v[i]);
    want_metrics(k, "R_rl", y.v, y.n);
    CHECK(tn_overopt_peak(&f, &peak[0], &peak[1]));
    want_metric(k, "rl_peak_d", peak[0]);
    want_metric(k, "rl_peak_R", peak[1]);
    f.beta = 0;
    CHECK(!tn_overopt_peak(&f, &peak[0], &peak[1]));
}

static void elo(kase *k) {
    vec d = in_vec(k, "score_diff"), elos = {.n = d.n}, win = {.n = d.n};
    for (int i = 0; i < d.n; i++) {
        elos.v[i] = tn_elo_of_score(d.v[i]);
        win.v[i] = tn_elo_win_rate(elos.v[i]);
    }
    want_metrics(k, "elo_diff", elos.v, d.n);
    want_metrics(k, "win_prob", win.v, d.n);
}
static void lc(kase *k) {
    vec d = in_vec(k, "len_model_minus_baseline"), x = in_vec(k, "instruction_difficulty"), term,
        raw = {.n = d.n}, flat = {.n = d.n};
    tn_lc f = {in_vec(k, "theta").v[0], in_vec(k, "phi").v[0], in_vec(k, "psi").v[0], 0};
    double std, sum = 0;
    CHECK(hp(k, "std_ddof", 1) == 0);
    tn_lc_terms(d.v, d.n, term.v, &std);
    for (int i = 0; i < d.n; i++) {
        sum += raw.v[i] = tn_lc_predict(&f, term.v[i], x.v[i]);
        flat.v[i] = tn_lc_predict(&f, 0, x.v[i]);
    }
    want_metric(k, "std", std);
    want_metrics(k, "raw_pred", raw.v, raw.n);
    want_metrics(k, "lc_pred", flat.v, flat.n);
    want_metric(k, "raw_winrate", 100 * sum / d.n);
    want_metric(k, "lc_winrate", 100 * tn_lc_win_rate(&f, x.v, d.n));
}
static void lc_fit(kase *k) {
    vec x = in_vec(k, "X"), y = in_vec(k, "y"), term = {.n = y.n}, diff = {.n = y.n};
    double raw = 0;
    tn_lc f;
    for (int i = 0; i < y.n; i++)
        term.v[i] = x.v[2 * i], diff.v[i] = x.v[2 * i + 1], raw += y.v[i] / y.n;
    CHECK(hp(k, "intercept_regularised", 1) == 0);
    CHECK_OK(tn_lc_fit(term.v, diff.v, y.v, y.n, hp(k, "l2", 0), &f, e));
    want_loss(k, f.loss);
    want_metric(k, "theta_intercept", f.theta);
    want_metric(k, "phi_length", f.phi);
    want_metric(k, "psi_difficulty", f.psi);
    want_metric(k, "lc_winrate", 100 * tn_lc_win_rate(&f, diff.v, y.n));
    want_metric(k, "raw_winrate", 100 * raw);
}

static void rlthf_curve(kase *k) {
    vec g = in_vec(k, "sorted_gap");
    tn_rlthf_curve c;
    CHECK_OK(tn_rlthf_curve_of(g.v, g.n, &c, e));
    want_metric(k, "elbow_index", c.elbow);
    want_metric(k, "knee_index", c.knee);
    want_metric(k, "reflection_index", c.reflection);
    want_metric(k, "elbow_gap", g.v[c.elbow]);
    want_metric(k, "knee_gap", g.v[c.knee]);
    want_metric(k, "elbow_chord", c.elbow_chord);
    want_metric(k, "knee_chord", c.knee_chord);
    CHECK(!c.flat);
}
static void rlthf_step(kase *k) {
    vec g = in_vec(k, "sorted_gap"), sent = {0};
    tn_rlthf_curve c;
    tn_rlthf_round r;
    CHECK_OK(tn_rlthf_curve_of(g.v, g.n, &c, e));
    CHECK_OK(tn_rlthf_plan(&c, g.n, (int)in_vec(k, "human_budget").v[0], hp(k, "backoff_beta", 0),
                           hp(k, "amplification_alpha", 0), &r, e));
    for (int i = r.human; i < r.human_end; i++) sent.v[sent.n++] = i;
    want_metrics(k, "keep_as_labelled", (double[]){0, r.keep}, 2);
    want_metrics(k, "held_out_this_round", (double[]){r.keep, r.held}, 2);
    want_metrics(k, "human_pool", (double[]){r.held, r.pool_end}, 2);
    want_metrics(k, "sent_to_human", sent.v, sent.n);
    want_metrics(k, "flip", (double[]){r.flip, g.n}, 2);
    want_metric(k, "train_set_size", r.train);
}

static void strength(kase *k) {
    static const char *const actions[] = {"keep (adaptive margin mu)", "soft label", "flip"};
    int off[34], n = jrows(jin(k, "member_margins"), off);
    vec d = in_vec(k, "member_margins"), mu = {.n = n}, sigma = {.n = n}, agree = {.n = n},
        soft = {.n = n};
    const char *act[32];
    tn_strength_opt o = {0.1, (int64_t)hp(k, "ddof", 1)};
    for (int i = 0; i < n; i++) {
        tn_strength s;
        CHECK_OK(tn_pair_strength(&o, d.v + off[i], off[i + 1] - off[i], &s, e));
        mu.v[i] = s.mean, sigma.v[i] = s.std, agree.v[i] = s.agree, soft.v[i] = s.soft;
        act[i] = actions[s.action];
    }
    want_metrics(k, "mu", mu.v, n);
    want_metrics(k, "sigma", sigma.v, n);
    want_metrics(k, "agree_fraction", agree.v, n);
    want_metrics(k, "soft_label", soft.v, n);
    want_texts(k, "action", act, n);
}
static void west_of_n(kase *k) {
    vec r = in_vec(k, "rewards");
    int best, worst;
    double p;
    bool keep;
    CHECK_OK(tn_west_of_n(r.v, r.n, in_vec(k, "base_model_pref_prob_threshold").v[0], &best, &worst,
                          &p, &keep, e));
    want_metric(k, "best", best);
    want_metric(k, "worst", worst);
    want_metric(k, "p_best_over_worst", p);
    want_metric(k, "keep", keep);
}
static void active(kase *k) {
    int off[34], n = jrows(jin(k, "member_prob"), off);
    vec d = in_vec(k, "margins"), p = in_vec(k, "member_prob"), h = {.n = d.n}, bald = {.n = n};
    for (int i = 0; i < d.n; i++) {
        h.v[i] = tn_margin_entropy(d.v[i]);
        CHECK_NEAR(h.v[i], tn_binary_entropy(tn_sigmoid(d.v[i])), 1e-13, 0);
        CHECK(tn_margin_entropy(-d.v[i]) == h.v[i]);
    }
    for (int i = 0; i < n; i++) bald.v[i] = tn_bald(p.v + off[i], off[i + 1] - off[i]);
    want_metrics(k, "predictive_entropy_from_margin", h.v, h.n);
    want_metrics(k, "bald", bald.v, bald.n);
}

static void flops(kase *k) {
    double N = in_vec(k, "N").v[0];
#define FLOP(method, epochs) tn_price_flop(tn_price_find(method), N, epochs)
    double ppo = FLOP("ppo", 1), rm = 2 * FLOP("reward", 1), dpo = 2 * FLOP("dpo", 1);
    want_metric(k, "ppo_E1", ppo);
    want_metric(k, "ppo_E4", FLOP("ppo", 4));
    want_metric(k, "grpo_E1_no_kl", FLOP("grpo-rule", 1));
    want_metric(k, "dpo_per_pair_token", FLOP("dpo", 1));
    want_metric(k, "dpo_precomputed_ref", FLOP("dpo-stored-ref", 1));
    want_metric(k, "simpo_orpo", FLOP("cpo", 1));
    want_metric(k, "rm_training", FLOP("reward", 1));
    want_metric(k, "prefgen_dpo_two_responses", dpo);
    want_metric(k, "rlhf_rm_plus_ppo", rm + ppo);
    want_metric(k, "saving_including_rm", 1 - dpo / (rm + ppo));
    want_metric(k, "saving_excluding_rm", 1 - dpo / ppo);
}
static void memory(kase *k) {
    double N = in_vec(k, "N_params").v[0];
    CHECK(hp(k, "bytes_trainable", 0) == tn_price_mixed.trainable &&
          hp(k, "bytes_frozen", 0) == tn_price_mixed.frozen);
#define GB(method) (tn_price_memory(tn_price_find(method), N, &tn_price_mixed) / 1e9)
    want_metric(k, "ppo_4_models_GB", GB("ppo"));
    want_metric(k, "dpo_2_models_GB", GB("dpo"));
    want_metric(k, "dpo_precomputed_ref_GB", GB("dpo-stored-ref"));
    want_metric(k, "reference_free_GB", GB("cpo"));
    want_metric(k, "hydra_lora_1pct_x3_adapters_GB",
                tn_price_memory_of(3 * 0.01 * N, N, &tn_price_mixed) / 1e9);
}

const runner score_runners[] = {
    {"par_reward", par},
    {"reward_shapings", shapings},
    {"ensemble_objectives", ensemble},
    {"ensemble_best_of_n", best_of_n},
    {"warm_average", warm},
    {"ema_weights", ema},
    {"tr_dpo_soft_update", tr_dpo},
    {"overoptimisation_fit", overopt_fit},
    {"overoptimisation_curve", overopt_curve},
    {"elo_and_win_rate", elo},
    {"length_controlled_winrate", lc},
    {"logistic_fit_newton", lc_fit},
    {"rlthf_reward_distribution", rlthf_curve},
    {"rlthf_iteration", rlthf_step},
    {"preference_strength", strength},
    {"west_of_n", west_of_n},
    {"active_selection_scores", active},
    {"flop_model", flops},
    {"memory_model", memory},
    {NULL, NULL},
};
