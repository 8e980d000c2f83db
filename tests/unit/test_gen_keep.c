/* Kept prompts and replies: what is said is the bits of a fresh engine's, and only what is new is computed. */
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
    tn_gen_request q = {.ids = ids, .n_ids = n, .n = 1, .key = key};
    tn_sampling s = how(temperature);
    CHECK_OK(tn_gen_new(&fresh, m, 1, MAX_LEN, e));
    if (!fresh) return;
    CHECK_OK(tn_gen_run(fresh, &q, 1, &s, &a, NULL, NULL, e));
    CHECK_OK(tn_gen_run(g, &q, 1, &s, &b, NULL, NULL, e));
    tn_gen_read r = tn_gen_prompts_read(g);
    CHECK_MSG(r.tokens == n && r.cached == reused, "%ld of %ld tokens reused, expected %d of %d", r.cached, r.tokens, reused, n);
    CHECK(a.n == b.n && a.stopped == b.stopped && a.n > 0);
    if (a.n == b.n) {
        CHECK_BYTES(b.ids, a.ids, (size_t)a.n * sizeof *a.ids);
        CHECK_BYTES(b.logp, a.logp, (size_t)a.n * sizeof *a.logp);
    }
    tn_gen_free(fresh);
}

/* Prompts and replies of a tree of conversations, drawn anew for each of several runs: turn t of a conversation goes on behind the
 * reply to turn t - 1, or behind that of another conversation. Kept or not, and whatever had to go, replies are a fresh engine's. */
enum { TALKS = 9, TURNS = 4, REQUEST = 21 };
typedef struct talk { int32_t ids[MAX_LEN], cut[2 * TURNS]; int n, n_cut; } talk;

static void add_turn(talk *t, const tn_gen_sample *said, const int32_t *request, int n) {
    t->cut[t->n_cut++] = t->n;
    memcpy(t->ids + t->n, said->ids, (size_t)said->n * sizeof *said->ids);
    t->n += said->n;
    t->cut[t->n_cut++] = t->n;
    memcpy(t->ids + t->n, request, (size_t)n * sizeof *request);
    t->n += n;
}

static tn_gen_read talks(tn_dtype dtype, int batch, int pages, int room) {
    tn_backend *be = tiny_backend("cpu", dtype, NULL, 2);
    tn_model *m = be ? tiny_model(&tiny_get(0)->desc, be, false, 7) : NULL;
    static talk t[TALKS];
    tn_gen *g = NULL;
    tn_gen_sample out[TALKS], alone;
    tn_gen_read sum = {0};
    tn_sampling s = how(1);
    int32_t ids[MAX_LEN];
    if (!m) return sum;
    tiny_ids(ids, MAX_LEN, m->desc.vocab, 8);
    CHECK_OK(tn_gen_new(&g, m, 1, 40, e)); /* room comes with the turns */
    if (pages >= 0) CHECK_OK(tn_gen_keep(g, pages, e));
    for (int i = 0; i < TALKS; i++) {
        t[i] = (talk){.n = 20 + 7 * (i / 2)}; /* two of each */
        memcpy(t[i].ids, ids, sizeof ids);
    }
    for (int turn = 0; turn < TURNS; turn++) {
        tn_gen_request q[TALKS];
        int longest = 0;
        for (int i = 0; i < TALKS; i++) {
            q[i] = (tn_gen_request){t[i].ids, t[i].n, 1, (uint64_t)(100 * turn + i), t[i].cut, t[i].n_cut, turn % 2 == 0 || i % 3};
            longest = t[i].n > longest ? t[i].n : longest;
        }
        CHECK_OK(tn_gen_fit(g, batch, longest + s.max_new + room, e));
        CHECK_OK(tn_gen_run(g, q, TALKS, &s, out, NULL, NULL, e));
        sum.tokens += tn_gen_prompts_read(g).tokens, sum.cached += tn_gen_prompts_read(g).cached;
        for (int i = 0; i < TALKS; i++) {
            tn_gen *fresh = NULL;
            CHECK_OK(tn_gen_new(&fresh, m, 1, MAX_LEN, e));
            CHECK_OK(tn_gen_run(fresh, &q[i], 1, &s, &alone, NULL, NULL, e));
            CHECK(alone.n == out[i].n && alone.stopped == out[i].stopped);
            CHECK_BYTES(out[i].ids, alone.ids, (size_t)alone.n * sizeof *alone.ids);
            CHECK_BYTES(out[i].logp, alone.logp, (size_t)alone.n * sizeof *alone.logp);
            tn_gen_free(fresh);
        }
        for (int i = 0; i < TALKS; i++) /* in the third turn some go on as another branch of their neighbour */
            if (turn == 2 && i % 4 == 3) t[i] = t[i - 1];
        for (int i = 0; i < TALKS; i++) add_turn(&t[i], &out[turn == 2 && i % 4 == 3 ? i - 1 : i], ids + 3 * i, REQUEST);
    }
    tn_gen_free(g);
    tn_model_free(m);
    tn_backend_free(be);
    return sum;
}

TEST(gen_kept_talks_same_bits) {
    for (int dtype = 0; dtype < 2; dtype++)
        for (int k = 0; k < 3; k++) {
            tn_dtype d = dtype ? TN_BF16 : TN_F32;
            static const int batch[] = {1, 4, 16};
            tn_gen_read none = talks(d, batch[k], -1, 0), one = talks(d, batch[k], 0, 0), few = talks(d, batch[k], 20, 30),
                        all = talks(d, batch[k], 4000, 0);
            CHECK_MSG(none.cached <= one.cached && one.cached < few.cached && few.cached < all.cached, "%ld %ld %ld %ld of %ld tokens cached",
                      none.cached, one.cached, few.cached, all.cached, all.tokens);
            /* of what can be read again, a turn's last token and what is new are not there, and replies that nobody said to go on with */
            CHECK_MSG(all.cached > all.tokens * 2 / 3, "%ld of %ld", all.cached, all.tokens);
        }
}

/* A second turn reads its request and the reply's last token, which had not been read. */
TEST(gen_kept_reply_is_not_read_again) {
    tn_backend *be = tiny_backend("cpu", TN_BF16, NULL, 2);
    tn_model *m = be ? tiny_model(&tiny_get(0)->desc, be, false, 7) : NULL;
    tn_gen *g = NULL;
    tn_gen_sample a;
    tn_sampling s = how(1);
    talk t = {.n = 45};
    if (!m) return;
    s.n_stop = 0;
    tiny_ids(t.ids, MAX_LEN, m->desc.vocab, 8);
    CHECK_OK(tn_gen_new(&g, m, 2, MAX_LEN, e));
    CHECK_OK(tn_gen_keep(g, 0, e));
    for (int turn = 0; turn < 3; turn++) {
        tn_gen_request q = {t.ids, t.n, 1, (uint64_t)turn, t.cut, t.n_cut, true};
        CHECK_OK(tn_gen_run(g, &q, 1, &s, &a, NULL, NULL, e));
        tn_gen_read r = tn_gen_prompts_read(g);
        CHECK_MSG(r.tokens - r.cached == (turn ? REQUEST + 1 : 45), "%ld of %ld", r.cached, r.tokens);
        add_turn(&t, &a, t.ids + 5, REQUEST);
    }
    t.cut[0]++; /* the same tokens, but not the same segments */
    tn_gen_request q = {t.ids, t.n, 1, 9, t.cut, t.n_cut, true};
    CHECK_OK(tn_gen_run(g, &q, 1, &s, &a, NULL, NULL, e));
    CHECK(tn_gen_prompts_read(g).cached == 45);
    t.cut[1] = t.cut[0];
    CHECK_FAIL(tn_gen_run(g, &q, 1, &s, &a, NULL, NULL, e), TN_BUG, "cut");
    tn_gen_free(g);
    tn_model_free(m);
    tn_backend_free(be);
}

static void conversation(tn_dtype dtype, double temperature) {
    tn_backend *be = tiny_backend("cpu", dtype, NULL, 2);
    tn_model *m = be ? tiny_model(&tiny_get(0)->desc, be, false, 7) : NULL;
    tn_gen *g = NULL;
    if (!m) return;
    int32_t ids[MAX_LEN];
    tiny_ids(ids, MAX_LEN, m->desc.vocab, 8);
    CHECK_OK(tn_gen_new(&g, m, 1, MAX_LEN, e));
    CHECK_OK(tn_gen_keep(g, 0, e));
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
    same_as_fresh(g, m, ids, 370, 8, temperature, 369);
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
    tn_gen_request q = {.ids = ids, .n_ids = 50, .n = 1, .key = 0};
    tn_sampling s = how(1);
    s.n_stop = 0;
    CHECK_OK(tn_gen_new(&g, m, 1, MAX_LEN, e));
    CHECK_OK(tn_gen_keep(g, 0, e));
    CHECK_FAIL(tn_gen_run(g, &q, 1, &s, &a, stop_at_once, NULL, e), TN_INTERRUPTED, "generating");
    tn_clear_stop();
    CHECK(a.n == 3);
    same_as_fresh(g, m, ids, 70, 1, 1, 50);
    tn_request_stop(); /* before anything is computed */
    CHECK_FAIL(tn_gen_run(g, &q, 1, &s, &a, NULL, NULL, e), TN_INTERRUPTED, "prompt");
    tn_clear_stop();
    same_as_fresh(g, m, ids, 70, 1, 1, 69);
    tn_gen_free(g);
    tn_model_free(m);
    tn_backend_free(be);
}
