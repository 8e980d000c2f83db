/* Samples of the geometric mixture of two models: log-probs against both models' logits in double, what must not change
 * bits, and the ends c = 0 and 1. */
#include "algo/group.h"
#include "gen/gen.h"
#include "tiny.h"

enum { REQ = 3, SAMPLES = 8, NEW = 14, LEN = 64, VOCAB = 97 };
static const int prompt_length[REQ] = {5, 1, 33}, samples_of[REQ] = {3, 1, 4};
static int32_t prompt[REQ][40];

typedef struct taken {
    int n[SAMPLES];
    int32_t ids[SAMPLES][NEW];
    double logp[SAMPLES][NEW];
} taken;

/* c < 0: m alone. */
static void draw(taken *t, const tn_model *m, const tn_model *second, double c, int batch) {
    static const int32_t stop[] = {3};
    tn_sampling s = {.temperature = 0.8, .top_p = 1, .max_new = NEW, .seed = 4, .stop = stop, .n_stop = 1};
    tn_gen_request req[REQ];
    tn_gen_sample out[SAMPLES];
    tn_gen *g = NULL;
    memset(t, 0, sizeof *t);
    for (int i = 0; i < REQ; i++) {
        tiny_ids(prompt[i], prompt_length[i], VOCAB, 70 + (uint64_t)i);
        req[i] = (tn_gen_request){.ids = prompt[i], .n_ids = prompt_length[i], .n = samples_of[i], .key = 100 * (uint64_t)i};
    }
    CHECK_OK(tn_gen_new(&g, m, batch, LEN, e));
    if (c >= 0) CHECK_OK(tn_gen_mix(g, second, c, e));
    for (int again = 0; again < 2; again++) CHECK_OK(tn_gen_run(g, req, REQ, &s, out, NULL, NULL, e)); /* caches are left clean */
    for (int k = 0; k < SAMPLES; k++) {
        t->n[k] = out[k].n;
        memcpy(t->ids[k], out[k].ids, (size_t)out[k].n * sizeof(int32_t));
        memcpy(t->logp[k], out[k].logp, (size_t)out[k].n * sizeof(double));
    }
    tn_gen_free(g);
}

/* Logits, over the temperature, of the row that predicts token t of sample k. */
static void logits(const tn_model *m, const taken *t, int k, int at, double *to) {
    tn_forest f = {0};
    tn_run *run = NULL;
    float z[VOCAB];
    int r = 0, p;
    for (int left = k; left >= samples_of[r]; r++) left -= samples_of[r];
    int32_t row = prompt_length[r] - 1 + at;
    CHECK_OK(tn_forest_add(&f, prompt[r], prompt_length[r], -1, 0, &p, e));
    if (at) CHECK_OK(tn_forest_add(&f, t->ids[k], at, p, 0, NULL, e));
    CHECK_OK(tn_forest_finish(&f, e));
    CHECK_OK(tn_run_new(&run, m, LEN, 4, LEN, false, e));
    CHECK_OK(tn_forward(run, m, &f, e));
    CHECK_OK(tn_lm_head(run, m, &(tn_lm){.n = 1, .rows = &row, .inv_temp = 1 / 0.8, .z = z}, e));
    for (int v = 0; v < VOCAB; v++) to[v] = z[v];
    tn_run_free(run);
    tn_forest_free(&f);
}

static tn_model *model(tn_backend *b, int kind, uint64_t seed) {
    tn_desc d = tiny_get(kind)->desc;
    d.vocab = VOCAB;
    return tiny_model(&d, b, false, seed);
}

static bool same_ids(const taken *a, const taken *b) { return !memcmp(a->n, b->n, sizeof a->n) && !memcmp(a->ids, b->ids, sizeof a->ids); }

TEST(gen_mixture) {
    static taken mixed, other;
    double z1[VOCAB], z2[VOCAB], want[VOCAB];
    for (int threads = 1; threads <= 3; threads += 2) {
        tn_backend *b = tiny_backend("cpu", TN_F32, NULL, threads);
        tn_model *m = b ? model(b, 0, 11) : NULL, *second = b ? model(b, 1, 12) : NULL;
        if (!m || !second) return;
        if (threads == 1) draw(&mixed, m, second, 0.3, 3);
        for (int k = 0; k < SAMPLES && threads == 1; k++)
            for (int t = 0; t < mixed.n[k]; t++) {
                logits(m, &mixed, k, t, z1);
                logits(second, &mixed, k, t, z2);
                tn_geometric_mixture(z1, z2, VOCAB, 0.3, want);
                CHECK_NEAR(mixed.logp[k][t], want[mixed.ids[k][t]], 2e-6, 2e-6);
            }
        static const int batches[] = {1, 3, 40};
        for (int i = 0; i < 3; i++) {
            draw(&other, m, second, 0.3, batches[i]);
            CHECK_MSG(!memcmp(&mixed, &other, sizeof mixed), "threads %d, batch %d", threads, batches[i]);
        }
        taken end;
        draw(&other, m, NULL, -1, 3);
        draw(&end, m, second, 0, 3);
        CHECK(same_ids(&other, &end) && !same_ids(&other, &mixed));
        draw(&other, second, NULL, -1, 3);
        draw(&end, m, second, 1, 3);
        CHECK(same_ids(&other, &end) && !same_ids(&other, &mixed));
        tn_model_free(m);
        tn_model_free(second);
        tn_backend_free(b);
    }
}

TEST(gen_mixture_of_other_tokens) {
    tn_backend *b = tiny_backend("cpu", TN_F32, NULL, 1);
    tn_model *m = b ? model(b, 0, 11) : NULL, *odd = b ? tiny_model(&tiny_get(1)->desc, b, false, 1) : NULL;
    tn_gen *g = NULL;
    if (!m || !odd) return;
    CHECK_OK(tn_gen_new(&g, m, 2, LEN, e));
    CHECK_FAIL(tn_gen_mix(g, odd, 0.5, e), TN_BUG, "a mixture of models");
    tn_gen_free(g);
    tn_model_free(m);
    tn_model_free(odd);
    tn_backend_free(b);
}
