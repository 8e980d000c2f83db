/* Losses that know more than a micro-batch: prompts as sequences, reference points, whole steps; a reference that moves. */
#include "algo/losses.h"
#include "tiny.h"
#include "train/moving_ref.h"
#include "train/step.h"
#include <math.h>

enum { N = 7, LENGTH = 12, VOCAB_SAFE = 20 };

typedef struct world {
    tn_backend *be;
    tn_model *m, *ref;
    tn_trainee t;
    int32_t ids[N][3 * LENGTH];
    uint8_t trained[LENGTH];
    tn_response response[N][2];
    tn_example ex[N], other[N], *at[N];
    double kept[2 * N][2 * LENGTH];
} world;

/* Pairs (n_response 2) or single responses with mismatched ones, of odd lengths. */
static void set_up(world *w, const char *backend, int n_response, const tn_algo *a, const void *opt,
                   int micro_tokens) {
    memset(w, 0, sizeof *w);
    memset(w->trained, 1, sizeof w->trained);
    w->be = tiny_backend(backend, strcmp(backend, "ref64") ? TN_F32 : TN_F64, NULL, 2);
    w->m = tiny_model(&tiny_get(0)->desc, w->be, true, 4);
    w->ref = tiny_model(&tiny_get(0)->desc, w->be, false, 5);
    for (int i = 0; i < N; i++) {
        tiny_ids(w->ids[i], 3 * LENGTH, w->m->desc.vocab, 40 + (uint64_t)i);
        for (int k = 0; k < 2; k++)
            w->response[i][k] = (tn_response){.ids = w->ids[i] + (k + 1) * LENGTH,
                                              .trained = w->trained,
                                              .n = 2 + (3 * i + 5 * k) % (LENGTH - 2),
                                              .rank = k + 1};
        w->ex[i] = (tn_example){.prompt = w->ids[i],
                                .n_prompt = 1 + i,
                                .n_response = n_response,
                                .response = w->response[i],
                                .pair = n_response == 2,
                                .label = i % 3 != 1,
                                .ref = w->kept[i],
                                .mismatched = &w->other[i]};
        w->other[i] = (tn_example){.prompt = w->ids[i],
                                   .n_prompt = 1 + i,
                                   .n_response = 1,
                                   .response = w->response[(i + N - 1) % N],
                                   .ref = w->kept[N + i]};
        w->at[i] = &w->ex[i];
    }
    w->t = (tn_trainee){.model = w->m,
                        .ref = w->ref,
                        .algo = a,
                        .opt = opt,
                        .needs = tn_algo_needs(a, opt),
                        .inv_temp = 1,
                        .max_tokens = micro_tokens};
    w->t.batch = (tn_batch_options){.share_prompts = true,
                                    .score_prompts = (w->t.needs & TN_NEED_PROMPT) != 0};
    CHECK_OK(tn_run_new(&w->t.run, w->m, 256, 256, 64, TN_KEEP_ALL, e));
    CHECK_OK(tn_run_new(&w->t.ref_run, w->ref, 256, 256, 64, TN_KEEP_NOTHING, e));
    CHECK_OK(tn_foresight_reserve(&w->t.ahead, N, NULL, 1, e));
}
static void tear_down(world *w) {
    tn_batch_free(&w->t.mb);
    tn_foresight_free(&w->t.ahead);
    tn_run_free(w->t.run);
    tn_run_free(w->t.ref_run);
    tn_model_free(w->m);
    tn_model_free(w->ref);
    tn_backend_free(w->be);
}
static double loss_of(world *w, bool train) {
    tn_step_result r = {0};
    CHECK_OK(tn_trainee_accumulate(&w->t, w->at, N, train, &r, e));
    return r.loss;
}

/* Central differences of the whole step's loss in a few weights of every tensor. */
static void check_differences(world *w, const char *what) {
    const double h = 1e-5;
    tn_model_zero_grad(w->m);
    loss_of(w, true);
    for (int t = 0; t < w->m->n_tensor; t++) {
        const tn_tensor *x = &w->m->tensor[t];
        size_t n = (size_t)x->rows * (size_t)x->cols;
        for (size_t i = n / 3; i < n; i += n / 2 + 1) {
            void *data = tn_tensor_data(x, w->be);
            double v = tiny_element(w->be, data, i), want = 0,
                   got = tiny_element(w->be, tn_tensor_grad(x, w->be), i);
            for (int side = -1; side <= 1; side += 2) {
                tiny_set(w->be, data, i, v + side * h);
                tn_model_pack(w->m);
                want += side * loss_of(w, false) / (2 * h);
            }
            tiny_set(w->be, data, i, v);
            CHECK_MSG(fabs(got - want) <= 1e-7 + 1e-5 * fabs(want),
                      "%s: %s[%zu] has gradient %.10g, differences %.10g", what, x->name, i, got,
                      want);
        }
    }
    tn_model_pack(w->m);
}

TEST(ahead_orpo_prompts) {
    tn_orpo_opt o = {0.4, "all"};
    world w;
    set_up(&w, "ref64", 2, &tn_algo_orpo, &o, 64);
    check_differences(&w, "orpo");
    /* by hand: all of prompt and chosen response but the first token */
    double nll = 0, n = 0, odds = 0;
    for (int i = 0; i < N; i++) {
        tn_batch *b = &w.t.mb;
        tn_batch_clear(b);
        CHECK_OK(tn_batch_add(b, &w.ex[i], &w.t.batch, e));
        CHECK_OK(tn_batch_finish(b, e));
        CHECK_OK(tn_trainee_observe(&w.t, false, e));
        CHECK(b->n_seq == (i ? 3 : 2) && b->prompt[0] == (i ? 0 : -1));
        int chosen = b->chosen[0];
        for (int t = 0; t < b->off[chosen + 1]; t++) nll -= b->logp[t];
        n += b->off[chosen + 1];
        CHECK(b->off[chosen + 1] == w.ex[i].n_prompt - 1 + w.response[i][0].n);
        double mean[2] = {0, 0};
        for (int k = 0; k < 2; k++) {
            int s = k ? b->rejected[0] : chosen;
            for (int t = b->off[s]; t < b->off[s + 1]; t++)
                mean[k] += b->logp[t] / (b->off[s + 1] - b->off[s]);
        }
        odds += tn_softplus(-(mean[0] - mean[1] - tn_log1mexp(mean[0]) + tn_log1mexp(mean[1])));
    }
    CHECK_NEAR(loss_of(&w, false), nll / n + o.beta * odds / N, 1e-12, 0);
    tear_down(&w);
}

/* Sorting couples all pairs: a step in several micro-batches is the step in one. */
TEST(ahead_aot) {
    static const char *const types[] = {"aot", "aot_unpaired"};
    for (int k = 0; k < 2; k++) {
        tn_dpo_opt o = {.beta = 0.3,
                        .loss_type = {types + k, 1},
                        .f_divergence = "reverse_kl",
                        .ld_alpha = NAN,
                        .rpo_alpha = NAN};
        world w;
        double loss[2];
        set_up(&w, "ref64", 2, &tn_algo_dpo_aot, &o, 30);
        check_differences(&w, types[k]);
        loss[0] = loss_of(&w, true);
        for (int i = 0; i < N; i++) CHECK(w.ex[i].grad && w.ex[i].ref_known);
        w.t.max_tokens = 256;
        loss[1] = loss_of(&w, false);
        CHECK(loss[0] == loss[1]);
        tear_down(&w);
    }
}

static double kto_point(const void *opt, double state[2], const double *logp, const double *ref,
                        int n) {
    return tn_kto_baseline(logp, ref, n);
}
static double mean_point(const void *opt, double state[2], const double *logp, const double *ref,
                         int n) {
    tn_bco_state s = {state[0], state[1]};
    double delta = tn_bco_baseline(&s, ((const tn_kto_opt *)opt)->beta, logp, ref, n);
    state[0] = s.sum, state[1] = s.count;
    return delta;
}

/* S - S_ref of one example, alone in its micro-batch. */
static double log_ratio(world *w, const tn_example *x) {
    tn_batch *b = &w->t.mb;
    double a = 0;
    tn_batch_clear(b);
    CHECK_OK(tn_batch_add(b, x, &w->t.batch, e));
    CHECK_OK(tn_batch_finish(b, e));
    CHECK_OK(tn_trainee_observe(&w->t, false, e));
    for (int t = 0; t < b->n_tok; t++) a += b->logp[t] - b->ref_logp[t];
    return a;
}

TEST(ahead_kto_points) {
    for (int swap = 0; swap < 2; swap++) { /* below 0 one way, above it the other */
        tn_kto_opt o = {0.1, 1, 1, "kto"};
        world w;
        set_up(&w, "cpu", 1, &tn_algo_kto, &o, 40);
        if (swap) w.t.ref = w.m, w.t.model = w.ref;
        tn_ahead how = {.mismatched = true, .block = 3, .point = kto_point};
        w.t.ahead.how = &how;
        loss_of(&w, false);
        bool any = false;
        for (int i = 0; i < N; i += 3) {
            double z = 0;
            int m = i + 3 < N ? 3 : N - i;
            for (int k = i; k < i + m; k++) z += log_ratio(&w, &w.other[k]) / m;
            for (int k = i; k < i + m; k++) CHECK_NEAR(w.ex[k].baseline, z > 0 ? z : 0, 1e-6, 1e-6);
            any |= z > 0;
            CHECK(w.other[i].ref_known);
        }
        how.block = 0;
        loss_of(&w, false);
        for (int i = 1; i < N; i++) CHECK(w.ex[i].baseline == w.ex[0].baseline);
        CHECK(swap || any || w.ex[0].baseline == 0);
        tear_down(&w);
    }
}

/* BCO's mean runs on in steps and stands still in evaluations. */
TEST(ahead_bco_points) {
    tn_kto_opt o = {0.1, 1, 1, "bco"};
    world w;
    double sum = 0;
    set_up(&w, "cpu", 1, &tn_algo_kto, &o, 40);
    tn_ahead how = {.point = mean_point};
    w.t.ahead.how = &how;
    for (int i = 0; i < N; i++) sum += o.beta * log_ratio(&w, &w.ex[i]);
    loss_of(&w, false);
    CHECK(w.ex[0].baseline == 0 && w.t.ahead.state[1] == 0);
    loss_of(&w, true);
    CHECK_NEAR(w.ex[3].baseline, sum / N, 1e-6, 0);
    loss_of(&w, true);
    CHECK(w.t.ahead.state[1] == 2 * N);
    CHECK_NEAR(w.t.ahead.state[0], 2 * sum, 1e-6, 0);
    double before = w.ex[0].baseline;
    loss_of(&w, false);
    CHECK(w.ex[0].baseline == before && w.t.ahead.state[1] == 2 * N);
    tear_down(&w);
}

/* 0.6 (0.5, -0.2) + 0.4 (0.1, 0.3) = (0.34, 0): TR-DPO's soft update; and the products see it. */
TEST(moving_reference) {
    tn_backend *be = tiny_backend("cpu", TN_BF16, NULL, 2);
    tn_model *m = tiny_model(&tiny_get(0)->desc, be, true, 4), *ref = NULL, *want = NULL;
    CHECK_OK(tn_moving_ref_open(&ref, m, NULL, NULL, e));
    size_t n = ref->trunk->n;
    float *r = ref->trunk->data, *p = m->trunk->data;
    CHECK_BYTES(r, p, n * sizeof *r);
    r[0] = 0.1f, r[1] = 0.3f, p[0] = 0.5f, p[1] = -0.2f;
    CHECK_OK(tn_moving_ref_mix(ref, m, 0.6, e));
    CHECK_NEAR(r[0], 0.34, 1e-6, 0);
    CHECK_NEAR(r[1], 0, 0, 1e-7);
    CHECK(r[2] == (float)(0.6 * p[2] + (1 - 0.6) * p[2]));
    CHECK_OK(tn_model_copy(&want, ref, false, e));
    tn_model_pack(want);
    CHECK_BYTES(ref->packed, want->packed, ref->packed_bytes);
    CHECK_OK(tn_moving_ref_mix(ref, m, 1, e)); /* a hard copy */
    CHECK_BYTES(r, p, n * sizeof *r);
    tn_adapter_options lora = {.use_peft = true}, none = {0};
    CHECK_FAIL(tn_moving_ref_check(false, &lora, NULL, e), TN_UNSUPPORTED, "train all weights");
    CHECK_FAIL(tn_moving_ref_check(true, &none, NULL, e), TN_ARG, "precompute-ref-log-probs");
    tn_model_free(want), tn_model_free(ref), tn_model_free(m);
    tn_backend_free(be);
}
