/* Whole steps of TRL's GRPO and RLOO trainers (tools/dump_trl_rl_steps.py): sampled responses,
 * rewards and log-probs in; advantages, metrics, losses and gradients out, through the functions
 * that the loop calls, prompts shared. */
#include "algo/group.h"
#include "conf/conf.h"
#include "test.h"
#include "rl/critic_free.h"
#include <math.h>

enum { N = 8 };

/* Everything of one case. */
typedef struct steps {
    const json_t *data, *c;
    bool grpo, mask;
    tn_example prompt[2];
    int32_t prompt_ids[2][2];
    tn_rollouts roll;
    tn_slices slices;
    tn_rewards rewards;
    tn_reward_source source[2];
    double value[2 * N], weight[2], total[N], advantage[N], scratch[N], kl[N];
    tn_grpo_opt grpo_opt;
    tn_rloo_opt rloo_opt;
    tn_grpo_advantage_opt grpo_adv;
    tn_rloo_advantage_opt rloo_adv;
    tn_opts *opts;
    tn_metrics m;
} steps;

static double at(const json_t *rows, int i, int j) {
    return json_number_value(json_array_get(json_array_get(rows, (size_t)i), (size_t)j));
}
static int length(const steps *s, int i) {
    return (int)json_array_size(json_array_get(json_object_get(s->data, "old_logp"), (size_t)i));
}

/* The responses come in as a checkpoint's record. */
static void load_rollouts(steps *s) {
    json_t *record = json_array();
    const json_t *ended = json_object_get(s->data, "ended");
    for (int i = 0; i < N; i++) {
        json_t *ids = json_array();
        for (int t = 0; t < length(s, i); t++) json_array_append_new(ids, json_integer(5 + t));
        json_array_append_new(
            record,
            json_pack("{s:o,s:b,s:f,s:O,s:O}", "ids", ids, "ended",
                      json_integer_value(json_array_get(ended, (size_t)i)) != 0, "score", 0.0,
                      "logp", json_array_get(json_object_get(s->data, "old_logp"), (size_t)i),
                      "ref_logp", json_array_get(json_object_get(s->data, "ref_logp"), (size_t)i)));
    }
    CHECK_OK(tn_rollouts_new(&s->roll, 2, 4, N, 6, 1 << 20, e));
    for (int g = 0; g < 2; g++) {
        s->prompt_ids[g][0] = 1, s->prompt_ids[g][1] = 3 + g;
        s->prompt[g] = (tn_example){.prompt = s->prompt_ids[g], .n_prompt = 2};
        s->roll.prompt[g] = &s->prompt[g];
    }
    CHECK_OK(tn_rollouts_load(&s->roll, record, 100, "test", e));
    CHECK(s->roll.n == N && s->roll.n_ex == 2 && s->roll.ex[1].n_response == 4);
    json_decref(record);
}

static void bind(steps *s) {
    static const tn_opt_row *const grpo[] = {tn_group_rows, tn_critic_free_rows, tn_grpo_rows,
                                             tn_grpo_advantage_rows, NULL},
                                   *const rloo[] = {tn_group_rows, tn_critic_free_rows, tn_rloo_rows,
                                                    tn_rloo_advantage_rows, NULL};
    tn_verb verb = {.name = "test", .tables = s->grpo ? grpo : rloo};
    tn_critic_free_options q;
    CHECK_OK(tn_opts_from_json(&verb, json_object_get(s->c, "options"), "test", &s->opts, e));
    tn_opts_bind(s->opts, tn_critic_free_rows, &q);
    s->mask = q.mask_truncated;
    if (s->grpo) {
        tn_opts_bind(s->opts, tn_grpo_rows, &s->grpo_opt);
        tn_opts_bind(s->opts, tn_grpo_advantage_rows, &s->grpo_adv);
        s->grpo_opt.max_completion = 6;
    } else {
        tn_opts_bind(s->opts, tn_rloo_rows, &s->rloo_opt);
        tn_opts_bind(s->opts, tn_rloo_advantage_rows, &s->rloo_adv);
    }
}

static void find_advantages(steps *s, const char *who) {
    static const char *const names[] = {"f0", "f1"};
    static const int off[] = {0, 4, 8};
    const json_t *given = json_object_get(json_object_get(s->data, "rewards"),
                                          json_string_value(json_object_get(s->c, "rewards"))),
                 *weight = json_object_get(s->c, "weights");
    int k = (int)json_array_size(weight);
    double sum, tokens;
    s->rewards = (tn_rewards){.n = k, .source = s->source, .value = s->value};
    for (int f = 0; f < k; f++) {
        s->weight[f] = json_number_value(json_array_get(weight, (size_t)f));
        tn_reward_source_name(&s->source[f], names[f]);
        for (int i = 0; i < N; i++) {
            const json_t *v = json_array_get(json_array_get(given, (size_t)i), (size_t)f);
            s->value[i * k + f] = json_is_null(v) ? NAN : json_number_value(v);
        }
    }
    tn_rewards_metrics(&s->rewards, N, &s->m);
    tn_group_rewards g = {.n_source = k,
                          .n_group = 2,
                          .group_off = off,
                          .reward = s->value,
                          .weight = s->weight,
                          .total = s->total,
                          .advantage = s->advantage,
                          .scratch = s->scratch};
    tn_rollouts_kl(&s->roll, s->mask, s->kl, &sum, &tokens);
    if (s->grpo)
        CHECK_OK(tn_grpo_advantages(&s->grpo_adv, &g, &s->m, e));
    else
        CHECK_OK(tn_rloo_advantages(&s->rloo_adv, &g, s->kl, &s->m, e));
    if (!s->grpo && s->rloo_adv.beta != 0) tn_metrics_mean(&s->m, "kl", sum, tokens);
    const json_t *want = json_object_get(s->c, "advantages");
    for (int i = 0; i < N; i++) {
        double w = json_number_value(json_array_get(want, (size_t)i));
        CHECK_MSG(fabs(s->advantage[i] - w) <= 1e-12, "%s: advantage %d is %.15g, TRL has %.15g",
                  who, i, s->advantage[i], w);
        for (int t = s->roll.off[i]; t < s->roll.off[i + 1]; t++)
            s->roll.advantage[t] = s->advantage[i];
    }
}

/* Numbers of the data by response into a batch's arrays; *which: responses in the batch's order. */
static void fill_batch(const steps *s, int k, tn_batch *b, int *which) {
    bool off_policy = json_is_true(json_object_get(s->c, "off_policy"));
    const json_t *logp = json_object_get(s->data, off_policy ? "logp" : "old_logp"),
                 *entropy = json_object_get(s->data, "entropy");
    int n = 0, tok = 0;
    for (int i = 0; i < N; i++) {
        if (s->slices.slice[i] != k || (s->mask && !s->roll.ended[i])) continue;
        which[n++] = i;
        for (int t = 0; t < length(s, i); t++, tok++) {
            b->logp[tok] = at(logp, i, t), b->entropy[tok] = at(entropy, i, t);
            b->d_logp[tok] = b->d_entropy[tok] = 0;
            CHECK(b->old_logp[tok] == at(json_object_get(s->data, "old_logp"), i, t));
            CHECK(b->ref_logp[tok] == at(json_object_get(s->data, "ref_logp"), i, t));
            CHECK(b->advantage[tok] == s->advantage[i]);
        }
    }
    CHECK(b->n_tok == tok && b->n_seq == n);
}

static void one_step(steps *s, int k, const char *who) {
    const json_t *want = json_array_get(json_object_get(s->c, "steps"), (size_t)k);
    const tn_algo *a = s->grpo ? &tn_algo_grpo : &tn_algo_rloo;
    const void *opt = s->grpo ? (const void *)&s->grpo_opt : (const void *)&s->rloo_opt;
    const tn_rollouts *part = &s->slices.part[k];
    tn_batch_options how = {.share_prompts = true};
    tn_batch b;
    int which[N], prompts = 0;
    memset(&b, 0, sizeof b);
    tn_batch_clear(&b);
    for (int i = 0; i < part->n_ex; i++) {
        CHECK_OK(tn_batch_add(&b, part->at[i], &how, e));
        prompts += part->at[i]->n_prompt;
    }
    CHECK_OK(tn_batch_finish(&b, e));
    CHECK_MSG(b.forest.n_tok == prompts + part->n_tok && part->n_ex == 2,
              "%s: prompts are not shared", who);
    fill_batch(s, k, &b, which);
    tn_obs x;
    tn_batch_obs(&b, &x);
    x.total = s->slices.total[k];
    tn_grad g = {.logp = b.d_logp, .entropy = b.d_entropy};
    CHECK_OK(a->step(opt, &x, &g, &s->m, e));
    double loss = json_number_value(json_object_get(want, "loss"));
    /* RLOO's masked responses have ratio 1 in TRL: a constant in the loss, nothing in the gradient */
    for (int i = 0; i < N && !s->grpo && s->mask; i++)
        if (!s->roll.ended[i]) loss += s->advantage[i] / N;
    CHECK_MSG(fabs(g.loss - loss) <= 1e-12, "%s step %d: loss %.15g, TRL has %.15g", who, k, g.loss,
              loss);
    const json_t *grad = json_object_get(want, "grad");
    for (int q = 0; q < b.n_seq; q++) {
        int row = 0; /* of response which[q] among the slice's rows in TRL's dump */
        for (int i = 0; i < which[q]; i++) row += s->slices.slice[i] == k;
        for (int t = b.off[q]; t < b.off[q + 1]; t++) {
            double w = at(grad, row, t - b.off[q]);
            CHECK_MSG(fabs(b.d_logp[t] - w) <= 1e-13 + 1e-11 * fabs(w),
                      "%s step %d: gradient of token %d of response %d is %.15g, TRL has %.15g",
                      who, k, t - b.off[q], which[q], b.d_logp[t], w);
        }
    }
    tn_batch_free(&b);
}

static void check_metrics(const steps *s, const char *who) {
    const char *name;
    json_t *v;
    json_object_foreach(json_object_get(s->c, "metrics"), name, v) {
        double w = json_number_value(v), got = tn_metrics_find(&s->m, name);
        /* TRL counts RLOO's masked responses (two of eight here) as not clipped */
        if (!s->grpo && s->mask && strstr(name, "clip_ratio/") && strstr(name, "_mean"))
            got *= 0.75;
        CHECK_MSG(fabs(got - w) <= 1e-7 + 1e-6 * fabs(w), "%s: %s is %.12g, TRL has %.12g", who,
                  name, got, w);
    }
}

static void run(const json_t *data, const json_t *c, size_t number) {
    static steps s;
    char who[48];
    memset(&s, 0, sizeof s);
    s.data = data, s.c = c;
    s.grpo = strcmp(json_string_value(json_object_get(c, "trainer")), "grpo") == 0;
    snprintf(who, sizeof who, "case %zu (%s)", number, s.grpo ? "grpo" : "rloo");
    int n = (int)json_integer_value(json_object_get(c, "slices"));
    const json_t *cut = json_object_get(data, "slices");
    bind(&s);
    load_rollouts(&s);
    find_advantages(&s, who);
    CHECK_OK(tn_slices_new(&s.slices, &s.roll, n, e));
    for (int k = 0; n > 1 && k < n; k++)
        for (int i = 0; i < N / n; i++) s.slices.slice[(int)at(cut, k, i)] = k;
    tn_slices_fill(&s.slices, &s.roll, s.mask);
    for (int k = 0; k < n; k++) one_step(&s, k, who);
    check_metrics(&s, who);
    tn_slices_free(&s.slices);
    tn_rollouts_free(&s.roll);
    tn_opts_free(s.opts);
}

TEST(rl_steps_of_trl) {
    json_t *all = tn_golden("trl_rl_steps.json"), *c;
    size_t i;
    CHECK(json_array_size(json_object_get(all, "cases")) == 24);
    json_array_foreach(json_object_get(all, "cases"), i, c) run(json_object_get(all, "data"), c, i);
    json_decref(all);
}
