/* Rollouts of several samples to a prompt: sampled and trained on the same bits, examples that fit a
 * micro-batch, slices of a batch, a checkpoint's record. */
#include "algo/losses.h"
#include "base/signals.h"
#include "test.h"
#include "tiny.h"
#include "rl/critic_free.h"
#include "rl/token_advantages.h"
#include <math.h>

enum { PROMPTS = 3, SAMPLES = 5, NEW = 9, ALL = PROMPTS * SAMPLES };

typedef struct world {
    tn_backend *be;
    tn_model *m;
    tn_gen *gen;
    tn_trainee t;
    tn_grpo_opt opt;
    tn_example prompt[PROMPTS];
    int32_t ids[PROMPTS][40];
} world;

static const int32_t stop[] = {1, 2, 3};
static const tn_sampling how_sampled = {
    .temperature = 0.9, .top_p = 1, .max_new = NEW, .seed = 3, .stop = stop, .n_stop = 3};

static void set_up(world *w, int threads, int gen_batch, int micro_tokens, tn_rollouts *r) {
    memset(w, 0, sizeof *w);
    w->be = tiny_backend("cpu", TN_F32, NULL, threads);
    w->m = tiny_model(&tiny_get(0)->desc, w->be, true, 4);
    CHECK_OK(tn_model_trainable(w->m, e));
    CHECK_OK(tn_gen_new(&w->gen, w->m, gen_batch, 64, e));
    w->opt = (tn_grpo_opt){.loss_type = "dapo",
                           .level = "token",
                           .epsilon = 0.2,
                           .epsilon_high = NAN,
                           .delta = NAN,
                           .max_completion = NEW,
                           .log_ratio_clamp = 20};
    w->t = (tn_trainee){.model = w->m,
                        .ref = w->m,
                        .algo = &tn_algo_grpo,
                        .opt = &w->opt,
                        .batch = {.share_prompts = true},
                        .inv_temp = 1 / 0.9,
                        .max_tokens = micro_tokens};
    w->t.needs = tn_algo_needs(w->t.algo, w->t.opt);
    CHECK_OK(tn_run_new(&w->t.run, w->m, 256, 256, 64, true, e));
    CHECK_OK(tn_run_new(&w->t.ref_run, w->m, 256, 256, 64, false, e));
    CHECK_OK(tn_rollouts_new(r, PROMPTS, SAMPLES, ALL, NEW, micro_tokens, e));
    for (int i = 0; i < PROMPTS; i++) {
        tiny_ids(w->ids[i], 40, w->m->desc.vocab, 20 + (uint64_t)i);
        w->prompt[i] = (tn_example){.prompt = w->ids[i], .n_prompt = i == 1 ? 35 : 6 + i};
        r->prompt[i] = &w->prompt[i];
    }
    CHECK_OK(tn_rollouts_sample(r, w->gen, 100, &how_sampled, e));
    CHECK_OK(tn_rollouts_observe(r, &w->t, NULL, e));
    for (int t = 0; t < r->n_tok; t++) r->advantage[t] = tiny_unit(9, (uint64_t)t);
}
static void tear_down(world *w, tn_rollouts *r) {
    tn_rollouts_free(r);
    tn_batch_free(&w->t.mb);
    tn_run_free(w->t.run);
    tn_run_free(w->t.ref_run);
    tn_gen_free(w->gen);
    tn_model_free(w->m);
    tn_backend_free(w->be);
}

static void same_rollouts(const tn_rollouts *a, const tn_rollouts *b) {
    CHECK(a->n == b->n && a->n_tok == b->n_tok);
    CHECK_BYTES(a->off, b->off, sizeof(int) * (size_t)(a->n + 1));
    CHECK_BYTES(a->ended, b->ended, sizeof(int) * (size_t)a->n);
    CHECK_BYTES(a->group, b->group, sizeof(int) * (size_t)a->n);
    CHECK_BYTES(a->ids, b->ids, sizeof(int32_t) * (size_t)a->n_tok);
    CHECK_BYTES(a->old_logp, b->old_logp, sizeof(double) * (size_t)a->n_tok);
    CHECK_BYTES(a->ref_logp, b->ref_logp, sizeof(double) * (size_t)a->n_tok);
}

/* Samples, their log-probs in sampling, in training and under the reference (the same model) are the
 * same bits for any sampling batch, micro-batch and thread count. */
TEST(rollout_same_bits) {
    static const int how[][3] = {{1, 15, 256}, {3, 4, 256}, {2, 1, 60}, {1, 7, 20}, {2, 15, 0}};
    world w0, w;
    tn_rollouts r0, r;
    set_up(&w0, how[0][0], how[0][1], how[0][2], &r0);
    CHECK(r0.n == ALL && r0.n_ex == PROMPTS && r0.ex[1].n_response == SAMPLES);
    CHECK_BYTES(r0.ref_logp, r0.old_logp, sizeof(double) * (size_t)r0.n_tok);
    int ended = 0;
    for (int i = 0; i < ALL; i++) ended += r0.ended[i];
    CHECK(ended > 0 && ended < ALL && r0.n_tok > ALL);
    for (size_t k = 0; k < sizeof how / sizeof *how; k++) {
        set_up(&w, how[k][0], how[k][1], how[k][2], &r);
        same_rollouts(&r0, &r);
        tn_step_result res = {0};
        w.t.expect_on_policy = true;
        CHECK_OK(tn_trainee_accumulate(&w.t, r.at, r.n_ex, true, &res, e));
        CHECK(tn_metrics_find(&res.metrics, "clip_ratio/region_mean") == 0);
        if (how[k][2] == 0) CHECK(r.n_ex == ALL); /* nothing is shared */
        tear_down(&w, &r);
    }
    /* the check itself: another log-prob is noticed */
    r0.old_logp[r0.n_tok - 1] += 1e-7;
    tn_step_result res = {0};
    w0.t.expect_on_policy = true;
    CHECK_FAIL(tn_trainee_accumulate(&w0.t, r0.at, r0.n_ex, true, &res, e), TN_BUG, "same bits");
    tear_down(&w0, &r0);
}

/* Ctrl-C ends what can be done again, at once; a step goes on to its end. */
TEST(rollout_stop) {
    world w;
    tn_rollouts r;
    tn_step_result res = {0};
    double *entropy = tn_calloc(ALL * NEW, sizeof *entropy);
    set_up(&w, 1, 4, 60, &r);
    tn_request_stop();
    CHECK_FAIL(tn_rollouts_sample(&r, w.gen, 100, &how_sampled, e), TN_INTERRUPTED, "stopped");
    tn_clear_stop();
    CHECK_OK(tn_rollouts_sample(&r, w.gen, 100, &how_sampled, e));
    tn_request_stop();
    CHECK_FAIL(tn_rollouts_observe(&r, &w.t, NULL, e), TN_INTERRUPTED, "log-probs of rollouts");
    CHECK_FAIL(tn_trainee_accumulate(&w.t, r.at, r.n_ex, false, &res, e), TN_INTERRUPTED, "evaluating");
    CHECK(res.micro_batches == 0);
    tn_clear_stop();
    CHECK_OK(tn_rollouts_observe(&r, &w.t, NULL, e));
    tn_request_stop();
    CHECK_OK(tn_rollouts_entropy(&r, &w.t, entropy, e));
    CHECK_OK(tn_trainee_accumulate(&w.t, r.at, r.n_ex, true, &res, e));
    CHECK(res.micro_batches > 1);
    tn_clear_stop();
    tn_free(entropy);
    tear_down(&w, &r);
}

/* Response i is what its key 100 + i draws alone. */
TEST(rollout_keys) {
    world w;
    tn_rollouts r;
    set_up(&w, 1, 15, 256, &r);
    for (int i = 0; i < ALL; i++) {
        const tn_example *x = r.prompt[i / SAMPLES];
        tn_gen_request q = {.ids = x->prompt, .n_ids = x->n_prompt, .n = 1, .key = 100 + (uint64_t)i};
        tn_gen_sample y;
        CHECK_OK(tn_gen_run(w.gen, &q, 1, &how_sampled, &y, NULL, NULL, e));
        CHECK(y.n == r.response[i].n && r.group[i] == i / SAMPLES && r.ended[i] == y.stopped);
        CHECK_BYTES(r.response[i].ids, y.ids, sizeof *y.ids * (size_t)y.n);
    }
    tear_down(&w, &r);
}

/* Examples hold neighbours of one prompt, at most a micro-batch of them. */
TEST(rollout_examples_fit) {
    world w;
    tn_rollouts r;
    for (int micro = 1; micro < 90; micro += 11) {
        set_up(&w, 1, 15, micro, &r);
        int seen = 0;
        for (int i = 0; i < r.n_ex; i++) {
            const tn_example *x = &r.ex[i];
            int cost = tn_batch_cost(x, &w.t.batch);
            CHECK(cost <= micro || x->n_response == 1);
            CHECK(r.at[i] == x && x->response == &r.response[seen]);
            CHECK(x->old_logp == r.old_logp + r.off[seen] && x->ref == r.ref_logp + r.off[seen]);
            for (int k = 0; k < x->n_response; k++)
                CHECK(r.prompt[r.group[seen + k]]->prompt == x->prompt);
            seen += x->n_response;
            bool more = i + 1 < r.n_ex && r.group[seen] == r.group[seen - 1];
            if (more) CHECK(cost + r.response[seen].n > micro); /* none was split needlessly */
        }
        CHECK(seen == ALL);
        tear_down(&w, &r);
    }
}

/* A record goes through JSON text and comes back to the bit. */
TEST(rollout_record) {
    world w;
    tn_rollouts r, q;
    set_up(&w, 1, 15, 256, &r);
    for (int i = 0; i < ALL; i++) r.score[i] = i == 2 ? NAN : tiny_unit(9, (uint64_t)i) / 3;
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, tn_test_dir(), "rollouts.json");
    json_t *record = tn_rollouts_record(&r), *back = NULL;
    CHECK_OK(tn_json_save(path.s, record, false, e));
    CHECK_OK(tn_json_load(path.s, &back, e));
    CHECK_OK(tn_rollouts_new(&q, PROMPTS, SAMPLES, ALL, NEW, 256, e));
    memcpy(q.prompt, r.prompt, sizeof *r.prompt * PROMPTS);
    int vocab = w.m->desc.vocab;
    CHECK_OK(tn_rollouts_load(&q, back, vocab, "test", e));
    same_rollouts(&r, &q);
    for (int i = 0; i < ALL; i++) CHECK(i == 2 ? isnan(q.score[i]) : q.score[i] == r.score[i]);
    CHECK(q.has_ref && q.n_ex == r.n_ex && q.ex[1].ref_known);
    /* what does not fit this run is refused */
    CHECK_FAIL(tn_rollouts_load(&q, back, 2, "test", e), TN_FORMAT, "outside [0, 2)");
    json_array_append_new(json_object_get(json_array_get(back, 4), "logp"), json_real(1));
    CHECK_FAIL(tn_rollouts_load(&q, back, vocab, "test", e), TN_FORMAT, "response 5 is damaged");
    json_array_remove(back, 0);
    CHECK_FAIL(tn_rollouts_load(&q, back, vocab, "test", e), TN_STATE, "takes 15 to a batch");
    CHECK_FAIL(tn_rollouts_load(&q, NULL, vocab, "test", e), TN_STATE, "holds 0 sampled");
    json_t *l = json_loads("[]", 0, NULL);
    for (int i = 0; i < ALL; i++)
        json_array_append_new(
            l, json_pack("{s:[i,i,i,i,i,i,i,i,i,i]}", "ids", 1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
    CHECK_FAIL(tn_rollouts_load(&q, l, vocab, "test", e), TN_FORMAT, "response 1 is damaged");
    json_decref(l);
    json_decref(back);
    json_decref(record);
    tn_str_free(&path);
    tn_rollouts_free(&q);
    tear_down(&w, &r);
}

/* Every response that is not masked is in one slice; sizes are those of the whole. */
TEST(rollout_slices) {
    world w;
    tn_rollouts r;
    set_up(&w, 1, 15, 256, &r);
    for (int n = 1; n <= 5; n += 2)
        for (int mask = 0; mask < 2; mask++) {
            tn_slices s = {0}, again = {0};
            int seen = 0, tokens = 0;
            bool in_order = true;
            CHECK_OK(tn_slices_new(&s, &r, n, e));
            CHECK_OK(tn_slices_new(&again, &r, n, e));
            tn_slices_cut(&s, &r, mask, 7, 2);
            tn_slices_cut(&again, &r, mask, 7, 2);
            for (int k = 0; k < n; k++) {
                const tn_rollouts *p = &s.part[k];
                same_rollouts(p, &again.part[k]);
                CHECK(s.total[k].seq == ALL / n && s.total[k].tok == p->n_tok);
                for (int i = 0; i < p->n; i++) {
                    CHECK(p->ended[i] || !mask);
                    if (i) CHECK(p->group[i] >= p->group[i - 1]);
                    in_order = in_order && p->group[i] == r.group[seen + i];
                }
                seen += p->n;
                tokens += p->n_tok;
            }
            int want = 0, want_tokens = 0;
            for (int i = 0; i < ALL; i++)
                if (r.ended[i] || !mask) want++, want_tokens += r.response[i].n;
            CHECK(seen == want && tokens == want_tokens);
            for (int k = 0; k < n; k++)
                CHECK_NEAR(s.total[k].gen_tok, (double)tokens / n, 1e-15, 0);
            CHECK(n == 1 || !in_order);
            if (n == 1 && !mask) same_rollouts(&s.part[0], &r);
            tn_slices_free(&s);
            tn_slices_free(&again);
        }
    tear_down(&w, &r);
}

/* Pairs: the best and the worst of each prompt's responses, in one slice with their prompt once; ties, gaps and
 * responses that did not end give none. */
TEST(rollout_slices_of_pairs) {
    world w;
    tn_rollouts r;
    set_up(&w, 1, 15, 256, &r);
    int G = r.n_sample, P = r.n_prompt;
    for (int i = 0; i < r.n; i++)
        for (int t = r.off[i]; t < r.off[i + 1]; t++) r.advantage[t] = i / G == 1 ? 7 : (i * 5) % 11;
    tn_pair_options o = {.reference = "start"};
    for (int n = 1; n <= 5; n += 2)
        for (int mask = 0; mask < 2; mask++) {
            tn_slices s = {0}, again = {0};
            CHECK_OK(tn_slices_new(&s, &r, n, e));
            CHECK_OK(tn_slices_new(&again, &r, n, e));
            tn_slices_cut_pairs(&s, &r, &o, mask, 7, 2);
            tn_slices_cut_pairs(&again, &r, &o, mask, 7, 2);
            int pairs = 0, taken[ALL] = {0}, want = 0;
            for (int k = 0; k < n; k++) {
                const tn_rollouts *p = &s.part[k];
                same_rollouts(p, &again.part[k]);
                CHECK(p->n_ex == p->n / 2 && s.total[k].pair == p->n_ex);
                CHECK(mask || p->n_ex >= (P - 1) / n);
                for (int i = 0; i < p->n_ex; i++) {
                    const tn_example *x = p->at[i];
                    CHECK(x->pair && x->n_response == 2 && x->response[0].rank < x->response[1].rank);
                    CHECK(p->group[2 * i] == p->group[2 * i + 1] && x->prompt == r.prompt[p->group[2 * i]]->prompt);
                    CHECK(!taken[p->group[2 * i]]++);
                    double best = -1, worst = 99;
                    for (int q = p->group[2 * i] * G; q < (p->group[2 * i] + 1) * G; q++) {
                        if (mask && !r.ended[q]) continue;
                        double v = r.advantage[r.off[q]];
                        best = v > best ? v : best, worst = v < worst ? v : worst;
                    }
                    CHECK(x->advantage[0] == best && p->advantage[p->off[2 * i + 1]] == worst && best > worst);
                }
                pairs += p->n_ex;
            }
            CHECK(pairs == s.n_chosen);
            for (int g = 0; g < P; g++) want += g != 1;
            CHECK(mask ? pairs <= want : pairs == want);
            o.min_gap = 100;
            tn_slices_cut_pairs(&s, &r, &o, mask, 7, 2);
            CHECK(s.n_chosen == 0 && s.part[0].n == 0);
            o.min_gap = 0;
            tn_slices_free(&s);
            tn_slices_free(&again);
        }
    tear_down(&w, &r);
}

/* The best responses of each prompt, or of all, each in one slice. */
TEST(rollout_slices_of_the_best) {
    world w;
    tn_rollouts r;
    set_up(&w, 1, 15, 256, &r);
    int G = r.n_sample, P = r.n_prompt;
    double reward[ALL];
    for (int i = 0; i < r.n; i++) {
        reward[i] = i == 4 ? NAN : (i * 7) % 13;
        for (int t = r.off[i]; t < r.off[i + 1]; t++) r.advantage[t] = reward[i];
    }
    for (int batch = 0; batch < 2; batch++)
        for (int keep = 1; keep <= G; keep++)
            for (int n = 1; n <= 5; n += 2) {
                tn_best_options o = {.choose = batch ? "batch" : "prompt", .keep = keep, .min_reward = n == 3 ? 5 : NAN};
                tn_slices s = {0};
                int count[ALL] = {0}, seen = 0;
                double worst = 99;
                CHECK_OK(tn_slices_new(&s, &r, n, e));
                CHECK_OK(tn_slices_cut_best(&s, &r, &o, n == 5, 7, 2, e));
                for (int k = 0; k < n; k++) {
                    const tn_rollouts *p = &s.part[k];
                    CHECK(s.total[k].tok == p->n_tok && s.total[k].seq == p->n);
                    for (int i = 0; i < p->n; i++, seen++) {
                        double v = p->advantage[p->off[i]];
                        CHECK(v == v && (n != 3 || v >= 5) && (n != 5 || p->ended[i]));
                        worst = v < worst ? v : worst;
                        count[p->group[i]]++;
                        if (i) CHECK(p->group[i] >= p->group[i - 1]);
                    }
                }
                CHECK(seen == s.n_chosen);
                int better = 0, usable = 0;
                for (int i = 0; i < r.n; i++) {
                    bool may = reward[i] == reward[i] && (n != 3 || reward[i] >= 5) && (n != 5 || r.ended[i]);
                    usable += may, better += may && reward[i] > worst;
                }
                if (batch) CHECK(seen == (usable < keep * P ? usable : keep * P) && better < seen);
                for (int g = 0; g < P && !batch; g++) CHECK(count[g] <= keep && (n > 1 || g == 4 / G || count[g] == keep));
                tn_slices_free(&s);
            }
    tear_down(&w, &r);
}

/* The first of a prompt's samples is the arg max, the others are what they are without it. */
TEST(rollout_greedy_first) {
    world w;
    tn_rollouts r, q, best;
    tn_sampling first = how_sampled, greedy = how_sampled;
    first.greedy_first = true, greedy.temperature = 0;
    set_up(&w, 2, 15, 256, &r);
    CHECK_OK(tn_rollouts_new(&q, PROMPTS, SAMPLES, ALL, NEW, 256, e));
    CHECK_OK(tn_rollouts_new(&best, PROMPTS, 1, PROMPTS, NEW, 256, e));
    memcpy(q.prompt, r.prompt, sizeof *r.prompt * PROMPTS);
    memcpy(best.prompt, r.prompt, sizeof *r.prompt * PROMPTS);
    CHECK_OK(tn_rollouts_sample(&q, w.gen, 100, &first, e));
    CHECK_OK(tn_rollouts_sample(&best, w.gen, 7, &greedy, e));
    CHECK(q.greedy_first && !best.greedy_first);
    for (int i = 0; i < ALL; i++) {
        const tn_response *a = &q.response[i], *b = i % SAMPLES ? &r.response[i] : &best.response[i / SAMPLES];
        CHECK(a->n == b->n && memcmp(a->ids, b->ids, (size_t)a->n * sizeof *a->ids) == 0);
    }
    tn_rollouts_free(&q);
    tn_rollouts_free(&best);
    tear_down(&w, &r);
}

/* Token advantages against their formulas, sums taken the long way. */
TEST(rollout_token_advantages) {
    static const char *const names[] = {"reinforce", "reinforce_plus_plus", "reinforce_plus_plus_baseline", "remax"};
    world w;
    tn_rollouts r;
    set_up(&w, 1, 15, 256, &r);
    for (int i = 0; i < ALL; i++) r.score[i] = i == 7 ? NAN : tiny_unit(5, (uint64_t)i);
    for (int t = 0; t < r.n_tok; t++) r.ref_logp[t] = r.old_logp[t] + tiny_unit(6, (uint64_t)t);
    for (int k = 0; k < 4; k++) {
        tn_token_advantage_opt o = {.estimator = names[k], .kl_coef = 0.3, .gamma = 0.9};
        double want[ALL * NEW], sum = 0, sq = 0, n = 0;
        for (int i = 0; i < ALL; i++) {
            double mean = 0, many = 0;
            for (int j = i / SAMPLES * SAMPLES; j < i / SAMPLES * SAMPLES + SAMPLES; j++)
                if (j != 7) mean += r.score[j], many++;
            for (int t = r.off[i], last = r.off[i + 1] - 1; t <= last; t++) {
                double go = pow(0.9, last - t) * r.score[i];
                for (int s = t; s <= last; s++) go -= 0.3 * pow(0.9, s - t) * (r.old_logp[s] - r.ref_logp[s]);
                double greedy = r.score[i / SAMPLES * SAMPLES];
                want[t] = k < 2 ? go
                          : k == 2 ? r.score[i] - mean / many
                                   : pow(0.9, last - t) * (r.score[i] - greedy) - 0.3 * (r.old_logp[t] - r.ref_logp[t]);
                if (i == 7 || (k == 3 && i % SAMPLES == 0)) want[t] = NAN;
                else sum += want[t], n++;
            }
        }
        for (int t = 0; t < r.n_tok; t++)
            if (!isnan(want[t])) sq += (want[t] - sum / n) * (want[t] - sum / n);
        CHECK_OK(tn_token_advantages(&o, &r, e));
        for (int t = 0; t < r.n_tok; t++) {
            double x = k == 1 || k == 2 ? (want[t] - sum / n) / sqrt(sq / n + 1e-8) : want[t];
            CHECK(isnan(x) ? isnan(r.advantage[t]) : fabs(x - r.advantage[t]) <= 1e-12 * (1 + fabs(x)));
        }
        tn_slices s = {0}; /* what has no advantage is not trained on */
        CHECK_OK(tn_slices_new(&s, &r, 1, e));
        tn_slices_cut(&s, &r, false, 7, 2);
        CHECK(s.part[0].n == ALL - 1 - (k == 3 ? PROMPTS : 0));
        tn_slices_free(&s);
    }
    tear_down(&w, &r);
}

/* The loss that a trainee weighs adds exactly that share of its gradient to what is there (a power of
 * two, so that no rounding hides a mistake). */
TEST(rollout_trainee_weight) {
    double loss[3];
    float *grad[3];
    size_t n = 0;
    for (int k = 0; k < 3; k++) {
        world w;
        tn_rollouts r;
        tn_step_result res = {0};
        set_up(&w, 1, 15, 256, &r);
        n = w.m->trunk->n;
        w.t.weight = k == 0 ? 0 : k == 1 ? 1 : 0.25;
        w.opt.beta = 0.1;
        w.t.needs = tn_algo_needs(w.t.algo, w.t.opt);
        CHECK_OK(tn_trainee_accumulate(&w.t, r.at, r.n_ex, true, &res, e));
        loss[k] = res.loss;
        grad[k] = tn_calloc(n, sizeof *grad[k]);
        memcpy(grad[k], w.m->trunk->grad, n * sizeof *grad[k]);
        tear_down(&w, &r);
    }
    double size = 0;
    for (size_t i = 0; i < n; i++) size += fabs((double)grad[0][i]);
    CHECK(size > 0 && loss[0] == loss[1] && loss[2] == 0.25 * loss[0]);
    CHECK_BYTES(grad[1], grad[0], n * sizeof *grad[0]);
    for (size_t i = 0; i < n; i++) grad[0][i] *= 0.25f;
    CHECK_BYTES(grad[2], grad[0], n * sizeof *grad[0]);
    for (int k = 0; k < 3; k++) tn_free(grad[k]);
}

/* A prompt of P tokens and responses of n_i: P + sum n_i tokens are computed, not sum (P + n_i). */
TEST(batch_computes_a_prompt_once) {
    enum { P = 29, MOST = 13 };
    int32_t ids[P + MOST];
    uint8_t trained[MOST];
    tn_response response[8];
    tn_batch b = {0};
    tiny_ids(ids, P + MOST, 40, 77);
    memset(trained, 1, sizeof trained);
    for (int g = 1; g <= 8; g++) {
        int sum = 0;
        for (int i = 0; i < g; i++) {
            response[i] = (tn_response){.ids = ids + P, .trained = trained, .n = 1 + (5 * i + g) % MOST, .rank = i + 1};
            sum += response[i].n;
        }
        tn_example x = {.prompt = ids, .n_prompt = P, .n_response = g, .response = response, .pair = g == 2};
        for (int shared = 0; shared < 2; shared++) {
            tn_batch_options o = {.share_prompts = shared, .rankings = TN_RANKINGS_AS_GROUPS};
            tn_batch_clear(&b);
            CHECK_OK(tn_batch_add(&b, &x, &o, e));
            CHECK_OK(tn_batch_add(&b, &x, &o, e));
            CHECK_OK(tn_batch_finish(&b, e));
            CHECK(b.forest.n_tok == 2 * ((shared ? P : g * P) + sum) && b.n_tok == 2 * sum);
            CHECK(b.forest.n_tok == 2 * tn_batch_cost(&x, &o));
        }
    }
    tn_batch_free(&b);
}
