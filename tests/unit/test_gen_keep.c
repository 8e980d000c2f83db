/* A kept prompt: answers are the bits of a fresh engine's, and only what is new is computed. */
#include "base/signals.h"
#include "gen/gen.h"
#include "tiny.h"

enum { MAX_LEN = 400 };

static tn_sampling how(double temperature) {
    static const int32_t stop[] = {3};
    return (tn_sampling){.temperature = temperature, .top_p = 1, .max_new = 20, .seed = 5,
                         .stop = stop, .n_stop = 1};
}

static void same_as_fresh(tn_gen *g, const tn_model *m, const int32_t *ids, int n, uint64_t key,
                          double temperature, int reused) {
    tn_gen *fresh = NULL;
    tn_gen_sample a = {0}, b = {0};
    tn_gen_request q = {ids, n, 1, key};
    tn_sampling s = how(temperature);
    CHECK_OK(tn_gen_new(&fresh, m, 1, MAX_LEN, e));
    if (!fresh) return;
    CHECK_OK(tn_gen_run(fresh, &q, 1, &s, &a, NULL, NULL, e));
    CHECK_OK(tn_gen_run(g, &q, 1, &s, &b, NULL, NULL, e));
    CHECK_MSG(tn_gen_reused(g) == reused, "%d of %d tokens reused, expected %d", tn_gen_reused(g),
              n, reused);
    CHECK(a.n == b.n && a.stopped == b.stopped && a.n > 0);
    if (a.n == b.n) {
        CHECK_BYTES(b.ids, a.ids, (size_t)a.n * sizeof *a.ids);
        CHECK_BYTES(b.logp, a.logp, (size_t)a.n * sizeof *a.logp);
    }
    tn_gen_free(fresh);
}

static void conversation(tn_dtype dtype, double temperature) {
    tn_backend *be = tiny_backend("cpu", dtype, NULL, 2);
    tn_model *m = be ? tiny_model(&tiny_get(0)->desc, be, false, 7) : NULL;
    tn_gen *g = NULL;
    if (!m) return;
    int32_t ids[MAX_LEN];
    tiny_ids(ids, MAX_LEN, m->desc.vocab, 8);
    CHECK_OK(tn_gen_new(&g, m, 1, MAX_LEN, e));
    CHECK_OK(tn_gen_keep_prompt(g, e));
    same_as_fresh(g, m, ids, 45, 0, temperature, 0);
    same_as_fresh(g, m, ids, 90, 1, temperature, 45);  /* goes on in the middle of a page */
    same_as_fresh(g, m, ids, 90, 2, temperature, 89);  /* the same again: the last row is needed */
    same_as_fresh(g, m, ids, 40, 3, temperature, 39);  /* taken back */
    ids[20] ^= 1;
    same_as_fresh(g, m, ids, 96, 4, temperature, 20);  /* another history from there on */
    ids[0] ^= 1;
    same_as_fresh(g, m, ids, 128, 5, temperature, 0);
    same_as_fresh(g, m, ids, 370, 6, temperature, 128);
    same_as_fresh(g, m, ids, 1, 7, temperature, 0);
    same_as_fresh(g, m, ids, 370, 8, temperature, 1);
    tn_gen_free(g);
    tn_model_free(m);
    tn_backend_free(be);
}

TEST(gen_kept_prompt_same_bits) {
    conversation(TN_F32, 0);
    conversation(TN_F32, 1);
    conversation(TN_BF16, 0.8);
}

static void stop_at_once(void *ctx, long samples, long tokens) {
    if (tokens == 3) tn_request_stop();
}

/* Stopped in an answer, what there was can be read and the next one is right. */
TEST(gen_kept_prompt_interrupted) {
    tn_backend *be = tiny_backend("cpu", TN_F32, NULL, 1);
    tn_model *m = be ? tiny_model(&tiny_get(0)->desc, be, false, 7) : NULL;
    tn_gen *g = NULL;
    if (!m) return;
    int32_t ids[MAX_LEN];
    tiny_ids(ids, MAX_LEN, m->desc.vocab, 9);
    tn_gen_sample a = {0};
    tn_gen_request q = {ids, 50, 1, 0};
    tn_sampling s = how(1);
    s.n_stop = 0;
    CHECK_OK(tn_gen_new(&g, m, 1, MAX_LEN, e));
    CHECK_OK(tn_gen_keep_prompt(g, e));
    CHECK_FAIL(tn_gen_run(g, &q, 1, &s, &a, stop_at_once, NULL, e), TN_INTERRUPTED, "generating");
    tn_clear_stop();
    CHECK(a.n == 3);
    same_as_fresh(g, m, ids, 70, 1, 1, 50);
    tn_request_stop(); /* before anything is computed */
    CHECK_FAIL(tn_gen_run(g, &q, 1, &s, &a, NULL, NULL, e), TN_INTERRUPTED, "prompt");
    tn_clear_stop();
    same_as_fresh(g, m, ids, 70, 1, 1, 0);
    tn_gen_free(g);
    tn_model_free(m);
    tn_backend_free(be);
}
