/* Rewards of steps: from probabilities to rewards, onto tokens, to advantages, against numbers by hand and slow versions. */
#include "algo/process.h"
#include "data/step_cut.h"
#include "rl/token_advantages.h"
#include "test.h"
#include "tiny.h"
#include <math.h>

/* ---- values and advantages ---- */

TEST(process_values) {
    const double p[4] = {0.9, 0.4, 0.4, 0.7};
    static const struct {
        const char *form;
        double want[4], sum;
    } c[] = {{"value", {0.9, 0.4, 0.4, 0.7}, 2.4}, {"change", {0.9, -0.5, 0, 0.3}, 0.7}, {"least", {0, 0.4, 0, 0}, 0.4}};
    for (int i = 0; i < 3; i++) {
        double r[4], again[4], sum = 0;
        tn_step_values(c[i].form, p, 4, r);
        memcpy(again, p, sizeof again);
        tn_step_values(c[i].form, again, 4, again);
        CHECK_BYTES(r, again, sizeof r);
        for (int k = 0; k < 4; k++) {
            CHECK_MSG(fabs(r[k] - c[i].want[k]) < 1e-15, "%s: step %d is worth %g, expected %g", c[i].form, k, r[k], c[i].want[k]);
            sum += r[k];
        }
        CHECK(fabs(sum - c[i].sum) < 1e-15);
    }
}

/* By hand: steps .9 .1 | .5 of one group have mean .5, variance (.16 + .16 + 0)/2, std .4; those of the other group are equal. */
TEST(process_advantages_by_hand) {
    const double step[11] = {NAN, 0.9, NAN, 0.1, NAN, NAN, 0.5, 0.3, NAN, 0.3, NAN};
    const int off[5] = {0, 4, 7, 9, 11};
    double z = 0.4 / (0.4 + 1e-4), a[11] = {0};
    const double want[11] = {0, 0, -z, -z, 0, 0, 0, 0, 0, 0, 0};
    for (int t = 0; t < 11; t++) a[t] = 2; /* the response's own */
    tn_step_advantages(TN_BASE_GROUP_ZSCORE, 3, 2, 2, off, step, a);
    for (int t = 0; t < 11; t++) CHECK_MSG(fabs(a[t] - 2 - 3 * want[t]) < 1e-12, "token %d: %g", t, a[t]);
    for (int t = 0; t < 11; t++) a[t] = 0;
    tn_step_advantages(TN_BASE_GROUP_MEAN, 1, 2, 2, off, step, a);
    for (int t = 0; t < 11; t++) CHECK(fabs(a[t] - (t == 2 || t == 3 ? -0.4 : 0)) < 1e-15);
}

enum { GROUPS = 3, EACH = 4, SEQS = GROUPS * EACH, MOST = 9 };

/* Uneven responses, each of which ends with a step; some steps within. Returns the number of tokens. */
static int make_steps(int off[SEQS + 1], double step[SEQS * MOST]) {
    off[0] = 0;
    for (int i = 0; i < SEQS; i++) {
        off[i + 1] = off[i] + 1 + (i * 7 + 3) % MOST;
        for (int t = off[i]; t < off[i + 1]; t++) step[t] = t == off[i + 1] - 1 || t % 3 == 1 ? tiny_unit(3, (uint64_t)t) : NAN;
    }
    return off[SEQS];
}

/* As it is written down: lists of a group's rewards, their mean and deviation, and for every token a sum. */
TEST(process_advantages_slow) {
    int off[SEQS + 1];
    double step[SEQS * MOST], a[SEQS * MOST];
    int n = make_steps(off, step);
    static const tn_baseline kinds[] = {TN_BASE_GROUP_ZSCORE, TN_BASE_BATCH_SCALE, TN_BASE_GROUP_MEAN};
    for (int k = 0; k < 3; k++) {
        for (int t = 0; t < n; t++) a[t] = tiny_unit(4, (uint64_t)t);
        tn_step_advantages(kinds[k], 0.7, GROUPS, EACH, off, step, a);
        for (int i = 0; i < SEQS; i++) {
            int g = i / EACH;
            double mean = 0, many = 0, sq = 0, all = 0, count = 0, all_sq = 0;
            for (int t = off[g * EACH]; t < off[(g + 1) * EACH]; t++)
                if (!isnan(step[t])) mean += step[t], many++;
            mean /= many;
            for (int t = off[g * EACH]; t < off[(g + 1) * EACH]; t++)
                if (!isnan(step[t])) sq += (step[t] - mean) * (step[t] - mean);
            for (int t = 0; t < n; t++)
                if (!isnan(step[t])) all += step[t], count++;
            for (int t = 0; t < n; t++)
                if (!isnan(step[t])) all_sq += (step[t] - all / count) * (step[t] - all / count);
            double std = k == 0 ? sqrt(sq / (many - 1)) + 1e-4 : k == 1 ? sqrt(all_sq / (count - 1)) + 1e-4 : 1;
            for (int t = off[i]; t < off[i + 1]; t++) {
                double sum = 0;
                for (int s = t; s < off[i + 1]; s++)
                    if (!isnan(step[s])) sum += (step[s] - mean) / std;
                CHECK(fabs(a[t] - tiny_unit(4, (uint64_t)t) - 0.7 * sum) < 1e-12);
            }
        }
    }
}

/* ---- in rollouts ---- */

/* Rollouts of a checkpoint's record, whose responses are given as ids. */
static void load(tn_rollouts *r, tn_example *prompt, int n_prompt, int n_sample, const tn_ids *said, bool steps, json_t **record) {
    static int32_t ids[2] = {1, 3};
    int most = 1;
    *record = json_array();
    for (int i = 0; i < n_prompt * n_sample; i++) {
        json_t *x = json_array(), *logp = json_array(), *step = json_array();
        for (size_t t = 0; t < said[i].n; t++) {
            json_array_append_new(x, json_integer(said[i].v[t]));
            json_array_append_new(logp, json_real(-1 - 0.01 * (double)t));
            json_array_append_new(step, t % 2 || t + 1 == said[i].n ? json_real(tiny_unit((uint64_t)i, t)) : json_null());
        }
        if ((int)said[i].n > most) most = (int)said[i].n;
        json_array_append_new(*record, json_pack("{s:o,s:b,s:f,s:o,s:o}", "ids", x, "ended", true, "score", 0.25 * i, "logp", logp,
                                                 "step", step));
    }
    CHECK_OK(tn_rollouts_new(r, n_prompt, n_sample, n_prompt * n_sample, most, 1 << 20, e));
    for (int g = 0; g < n_prompt; g++) {
        prompt[g] = (tn_example){.prompt = ids, .n_prompt = 2};
        r->prompt[g] = &prompt[g];
    }
    if (steps) CHECK_OK(tn_rollouts_keep_steps(r, e));
    CHECK_OK(tn_rollouts_load(r, *record, 4096, "test", e));
}

/* What a checkpoint keeps of steps comes back; rewards to go have them at their tokens; GRPO's is the function above. */
TEST(process_rollouts) {
    tn_ids said[6];
    tn_example prompt[2];
    tn_rollouts r;
    json_t *record, *again;
    for (int i = 0; i < 6; i++) {
        said[i] = (tn_ids){0};
        for (int t = 0; t < 2 + i; t++) {
            CHECK(TN_GROW(said[i].v, said[i].cap, said[i].n + 1));
            said[i].v[said[i].n++] = 5 + t;
        }
    }
    load(&r, prompt, 2, 3, said, true, &record);
    CHECK(isnan(r.step[0]) && r.step[1] == tiny_unit(0, 1));
    again = tn_rollouts_record(&r);
    CHECK(json_equal(again, record));
    tn_token_advantage_opt o = {.estimator = "reinforce", .gamma = 0.9, .step_weight = 0.5};
    CHECK_OK(tn_token_advantages(&o, &r, e));
    for (int i = 0; i < 6; i++)
        for (int t = r.off[i], last = r.off[i + 1] - 1; t <= last; t++) {
            double want = pow(0.9, last - t) * r.score[i];
            for (int s = t; s <= last; s++)
                if (!isnan(r.step[s])) want += pow(0.9, s - t) * 0.5 * r.step[s];
            CHECK(fabs(r.advantage[t] - want) < 1e-12);
        }
    CHECK_OK(tn_token_advantage_check(&o, true, e));
    o.estimator = "remax";
    CHECK_OK(tn_token_advantage_check(&o, false, e));
    CHECK_FAIL(tn_token_advantage_check(&o, true, e), TN_ARG, "compares whole responses");
    double want[64] = {0};
    for (int t = 0; t < r.n_tok; t++) r.advantage[t] = want[t] = t;
    tn_step_advantages(TN_BASE_GROUP_ZSCORE, 2, 2, 3, r.off, r.step, want);
    tn_process_advantages(&(tn_process_advantage_opt){TN_BASE_GROUP_ZSCORE, 2}, &r);
    CHECK_BYTES(want, r.advantage, sizeof(double) * (size_t)r.n_tok);
    json_decref(again);
    json_decref(record);
    for (int i = 0; i < 6; i++) tn_ids_free(&said[i]);
    tn_rollouts_free(&r);
}

/* PPO: rewards of steps are added to those of tokens. */
TEST(process_ppo_rewards) {
    const int off[3] = {0, 3, 5};
    const double logp[5] = {-1, -2, -1, -1, -3}, ref[5] = {-1.5, -2, -1, -2, -3}, value[5] = {0}, score[2] = {1, -1};
    const double step[5] = {NAN, 0.5, NAN, NAN, 0.25}, want[5] = {-0.05, 1, 1, -0.1, -0.5};
    double reward[5], a[5], ret[5];
    tn_metrics m = {0};
    tn_rl_opt o = {.kl_coef = 0.1, .kl_estimator = "k1", .gamma = 1, .lambda = 1};
    tn_rollout r = {.n_seq = 2, .off = off, .logp = logp, .ref_logp = ref, .value = value, .score = score, .step = step, .step_weight = 2,
                    .reward = reward, .advantage = a, .ret = ret};
    CHECK_OK(tn_rollout_rewards(&o, 0.1, &r, &m, e));
    for (int t = 0; t < 5; t++) CHECK_MSG(fabs(reward[t] - want[t]) < 1e-15, "token %d: %g", t, reward[t]);
    CHECK(fabs(tn_metrics_find(&m, "objective/step_rewards") - 0.75) < 1e-15);
    CHECK(fabs(tn_metrics_find(&m, "objective/rlhf_reward") - (0.75 - 0.05 - 0.025)) < 1e-12);
}

/* ---- a model's word on the tokens of its steps ---- */

/* A judge of steps with tokenizer `tok`, drawn at random. */
static void open_judge(tn_scorer *s, tn_tokenizer *tok, const char *separator, tn_backend *be) {
    tn_desc d = tiny_get(0)->desc;
    d.vocab = tn_tokenizer_vocab(tok), d.num_labels = 2, d.per_token = true;
    memset(s, 0, sizeof *s);
    s->model = tiny_model(&d, be, true, 5);
    s->tok = tok, s->same_tokenizer = s->keep_steps = true;
    s->separator = (tn_str)TN_STR_INIT;
    tn_str_addz(&s->separator, separator);
    s->batch = (tn_batch_options){.share_prompts = true, .step_ends = true};
    s->max_tokens = s->max_len = 64;
    CHECK_OK(tn_run_new(&s->run, s->model, 64, 64, 64, false, e));
    CHECK_OK(tn_scorer_reserve(s, 8, 2, 2, 0, e));
}

/* Every step's reward is at the token that completes it, "6 12 18" counted from 1, and nowhere else. */
static void placed(const char *const text[2], const char *const want[2], tn_tokenizer *tok, const char *separator) {
    tn_backend *be = tiny_backend("cpu", TN_F32, NULL, 1);
    tn_scorer s;
    tn_ids said[2] = {{0}, {0}};
    tn_example prompt;
    tn_rollouts r;
    json_t *record;
    double score[2];
    for (int i = 0; i < 2; i++) CHECK_OK(tn_encode(tok, text[i], strlen(text[i]), false, &said[i], NULL, e));
    open_judge(&s, tok, separator, be);
    load(&r, &prompt, 1, 2, said, true, &record);
    CHECK_OK(tn_rollouts_score_steps(&r, &s, tok, "value", score, e));
    int k = 0;
    for (int i = 0; i < 2; i++) {
        char got[64] = "";
        double least = 2, sum = 0, p = 0;
        for (int t = r.off[i]; t < r.off[i + 1]; t++)
            if (!isnan(r.step[t])) {
                sum += r.step[t];
                snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d", *got ? " " : "", t + 1 - r.off[i]);
            }
        CHECK_MSG(strcmp(got, want[i]) == 0, "'%s': steps end at %s, expected %s", text[i], got, want[i]);
        for (; k < s.step_end[i]; k++) p += s.step[k], least = s.step[k] < least ? s.step[k] : least;
        CHECK(fabs(sum - p) < 1e-12 && score[i] == least);
    }
    json_decref(record);
    for (int i = 0; i < 2; i++) tn_ids_free(&said[i]);
    tn_rollouts_free(&r);
    tn_scorer_close(&s); /* and tok */
    tn_backend_free(be);
}

TEST(process_placed_words) {
    static const char *const text[2] = {"3 + 4 = 7 . 7 + 5 = 12 . the sum is 12 . <|end|>", "3 + 4 = 7 . 7 + 5 ="};
    static const char *const want[2] = {"6 12 18", "6 10"}, *const none[2] = {"<|end|>", "7 . <|end|>"}, *const only[2] = {"1", "3"};
    tn_tokenizer *tok;
    CHECK_OK(tn_tokenizer_load(&tok, "models/world", e));
    placed(text, want, tok, " .");
    CHECK_OK(tn_tokenizer_load(&tok, "models/world", e));
    placed(none, only, tok, " ."); /* no text is one step */
}

/* Bytes: a separator in the middle of a token, two of them in one, and two steps that end in one token. */
TEST(process_placed_bytes) {
    static const char config[] =
        "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":8,\"content\":\"<e>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
        "\"normalized\":false,\"special\":true}],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
        "\"trim_offsets\":true,\"use_regex\":false},\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
        "\"trim_offsets\":true,\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
        "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,"
        "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"\\u010a\":3,\"\\u0120\":4,\"\\u010a\\u010a\":5,\"\\u010ab\":6,\"\\u010ab\\u010a\":7},"
        "\"merges\":[\"\\u010a \\u010a\",\"\\u010a b\",\"\\u010ab \\u010a\"]}}";
    static const char *const text[][2] = {{"aa\nca", "aa\n\naa<e>"}, {"aa\nbc", "a\n \na"}, {"aa\nb\ncc", "a\nb\n"}};
    static const char *const want[][2] = {{"3 5", "3 6"}, {"3 4", "2 5"}, {"3 5", "2"}};
    for (int i = 0; i < 3; i++) {
        json_t *j = json_loads(config, 0, NULL);
        tn_tokenizer *tok;
        CHECK_OK(tn_tokenizer_from_json(&tok, j, NULL, NULL, "characters", e));
        json_decref(j);
        placed(text[i], want[i], tok, "\n");
    }
}
