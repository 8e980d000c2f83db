/* Embeddings of which tokens reach a part: steps that look at that part alone leave the bits of steps that sweep all. */
#include "base/mathx.h"
#include "base/os.h"
#include "model/live.h"
#include "ops_case.h"
#include "tiny.h"
#include <math.h>
#include <string.h>

/* ---- operations ---- */

static bool reached(size_t block, int step) { return (block * 5 + block / 16) % 13 < (size_t)step; } /* more and more */
static void map_fill(uint8_t *live, size_t blocks, int step) {
    for (size_t b = 0; b < blocks; b++) live[b] = reached(b, step);
}

/* p: n kind decay: the definition sweeps all, the kernels what is live. */
static void case_live(oc *c, const int *p) {
    size_t n = (size_t)p[0], blocks = tn_live_blocks(n), words = tn_moment_bytes((tn_moment_kind)p[1], n, c->be->elem) / 4 + 3;
    void *w = oc_out(c, "p", n + 5), *g = oc_zero(c, n * c->be->elem);
    float *m = oc_out_float(c, "m", words), *v = oc_out_float(c, "v", words);
    uint8_t *live = oc_zero(c, blocks);
    double *s = oc_out_double(c, "sumsq", n / TN_NORM_BLOCK + 1);
    memset(m, 0, words * sizeof *m), memset(v, 0, words * sizeof *v);
    oc_set(c->be, w, 3, -0.0);
    for (int step = 1; step <= 3; step++) {
        const void *x = oc_in(c, n, 1);
        map_fill(live, blocks, step);
        for (size_t i = 0; i < n; i++) oc_set(c->be, g, i, live[i / TN_MOMENT_BLOCK] && i % 3 ? oc_get(c->be, x, i) : 0);
        tn_adamw how = {1e-2, 0.9, 0.999, 1e-8, 0.1 * p[2], 0.5, step, (tn_moment_kind)p[1], 0, 77u * (uint32_t)step, live};
        c->be->op->sumsq(c->be, g, n, live, s);
        c->be->op->adamw(c->be, w, g, m, v, n, &how);
    }
}
static const int sizes[][OC_PARAMS] = {{1, 0, 1}, {256, 0, 0}, {4097, 0, 0}, {100003, 0, 0}, {100003, 0, 1}, {9001, 1, 0}, {100003, 1, 0},
                                       {100003, 1, 1}, {4352, 2, 0}, {9001, 2, 1}, {100003, 2, 0}, {100003, 2, 1}};
TEST(live_kernels_are_the_whole_sweep) { OC_ALL(case_live, sizes, 0); }

/* What is not live is not looked at, and not written but for decay. */
TEST(live_rest_is_left_alone) {
    enum { N = 9001, BYTES = 4 * N };
    static float p[N], g[N], old[N];
    static char m[BYTES], v[BYTES];
    uint8_t live[(N + 255) / 256];
    double sums[N / TN_NORM_BLOCK + 1];
    map_fill(live, sizeof live, 2);
    memset(live + 16, 0, 16); /* a whole block of the norm */
    tn_backend *b = oc_backend("cpu", TN_F32, NULL, 2);
    for (int kind = 0; kind < 3; kind++)
        for (int wd = 0; wd < 2; wd++) {
            for (int i = 0; i < N; i++) p[i] = old[i] = (float)tn_sin(i), g[i] = live[i / 256] ? 0.1f : NAN;
            for (size_t k = 0; k < sizeof live; k++) {
                size_t at = tn_moment_bytes((tn_moment_kind)kind, 256 * k, 4);
                size_t end = tn_moment_bytes((tn_moment_kind)kind, k + 1 < sizeof live ? 256 * (k + 1) : N, 4);
                memset(m + at, live[k] ? 0 : 0x55, end - at), memset(v + at, live[k] ? 0 : 0x55, end - at);
            }
            tn_adamw how = {1e-2, 0.9, 0.999, 1e-8, 0.1 * wd, 1, 1, (tn_moment_kind)kind, 0, 5, live};
            b->op->adamw(b, p, g, m, v, N, &how);
            for (int i = 0; i < N; i++) {
                float want = live[i / 256] ? p[i] : old[i] * (float)(1 - 1e-3 * wd);
                CHECK_MSG(p[i] == want && (!live[i / 256] || p[i] != old[i]), "kind %d, decay %d, element %d", kind, wd, i);
            }
            for (size_t k = 0; k < sizeof live; k++) {
                size_t at = tn_moment_bytes((tn_moment_kind)kind, 256 * k, 4);
                CHECK(live[k] || (m[at] == 0x55 && v[at] == 0x55));
            }
        }
    b->op->sumsq(b, g, N, live, sums);
    CHECK(sums[1] == 0);
}

/* ---- models ---- */

enum { V = 700, WIDTH = 24, TOK = 20 };

typedef struct trainee {
    tn_model *m;
    tn_run *run;
    tn_forest f;
} trainee;

static tn_model *new_model(tn_backend *b, bool score, bool tied) {
    tn_desc d = tiny_get(0)->desc;
    d.vocab = V, d.hidden = WIDTH, d.heads = 2, d.kv_heads = 1, d.head_dim = 12, d.rope.rot_dim = 12, d.ffn = 40;
    d.num_labels = score, d.tied = tied;
    return tiny_model(&d, b, true, 7);
}

static void trainee_new(trainee *t, tn_backend *b, bool score, tn_moment_kind kind) {
    *t = (trainee){.m = new_model(b, score, score)};
    tn_model_moments(t->m, kind, 11);
    CHECK_OK(tn_model_trainable(t->m, e));
    CHECK_OK(tn_run_new(&t->run, t->m, TOK, TOK, TOK, TN_KEEP_ALL, e));
}
static void trainee_free(trainee *t) {
    tn_run_free(t->run);
    tn_model_free(t->m);
    tn_forest_free(&t->f);
}

/* Gradient of a batch with ids of its own. Every step has the first one. */
static void add_gradient(trainee *t, int step) {
    int32_t ids[TOK], rows[TOK], target[TOK];
    double d[TOK], out[TOK], lse[TOK];
    tiny_ids(ids, TOK, V, 50 + (uint64_t)step);
    ids[0] = 3;
    tn_forest_clear(&t->f);
    CHECK_OK(tn_forest_add(&t->f, ids, TOK, -1, 0, &(int){0}, e));
    CHECK_OK(tn_forest_finish(&t->f, e));
    for (int i = 0; i < TOK; i++) rows[i] = i, target[i] = ids[(i + 1) % TOK], d[i] = tiny_unit(9, (uint64_t)i);
    CHECK_OK(tn_forward(t->run, t->m, &t->f, e));
    if (t->m->head) {
        CHECK_OK(tn_score_head(t->run, t->m, rows, TOK, out, e));
        CHECK_OK(tn_score_head_backward(t->run, t->m, rows, TOK, d, e));
    } else {
        tn_lm q = {.n = TOK, .rows = rows, .target = target, .inv_temp = 1, .logp = out, .lse = lse};
        CHECK_OK(tn_lm_head(t->run, t->m, &q, e));
        CHECK_OK(tn_lm_head_backward(t->run, t->m, &q, d, NULL, NULL, e));
    }
    CHECK_OK(tn_backward(t->run, t->m, &t->f, e));
}

static double update(trainee *t, int step, double wd) {
    double sumsq = tn_model_grad_sumsq(t->m);
    tn_model_adamw(t->m, 1e-2, 0.9, 0.999, 1e-8, wd, false, step, 0.5);
    tn_model_pack(t->m);
    tn_model_zero_grad(t->m);
    return sumsq;
}

static size_t in_use(const tn_store *s) {
    size_t n = 0;
    for (size_t i = 0; i < tn_live_blocks(s->n_live); i++) n += s->live[i];
    return n;
}

static bool same_state(const trainee *a, const trainee *b) {
    tn_trained x[TN_TRAINED_MAX], y[TN_TRAINED_MAX];
    bool same = true;
    tn_model_trained(b->m, y);
    for (int k = 0, n = tn_model_trained(a->m, x); k < n; k++) {
        const tn_store *s = x[k].store, *t = y[k].store;
        size_t bytes = s->n * a->m->be->elem;
        same = same && !memcmp(s->data, t->data, bytes) && !memcmp(s->grad, t->grad, bytes) &&
               !memcmp(s->m, t->m, s->moment_bytes) && !memcmp(s->v, t->v, s->moment_bytes);
    }
    return same;
}

/* Score heads on a tied model, and a language model with a head of its own; a checkpoint's moments in between. */
TEST(live_training_is_the_whole_sweep) {
    tn_backend *b = tiny_backend("cpu", TN_F32, NULL, 2);
    for (int score = 0; score < 2; score++)
        for (int kind = 0; kind < 3; kind++)
            for (int decay = 0; decay < 2; decay++) {
                trainee some, all, again;
                trainee *t[] = {&some, &all, &again};
                for (int i = 0; i < 3; i++) trainee_new(t[i], b, score, (tn_moment_kind)kind);
                tn_live_all(all.m->trunk);
                add_gradient(&again, 9), update(&again, 1, 0); /* what it forgets when it resumes */
                for (int step = 1; step <= 4; step++) {
                    double sum[3];
                    if (step == 3) {
                        tn_trained x[TN_TRAINED_MAX], y[TN_TRAINED_MAX];
                        tn_model_trained(again.m, y);
                        for (int k = 0, n = tn_model_trained(some.m, x); k < n; k++) {
                            memcpy(y[k].store->data, x[k].store->data, x[k].store->n * b->elem);
                            tn_live_read(again.m, y[k].store, y[k].store->m, x[k].store->m);
                            tn_live_read(again.m, y[k].store, y[k].store->v, x[k].store->v);
                        }
                        tn_model_pack(again.m);
                        CHECK(same_state(&some, &again));
                    }
                    for (int i = 0; i < (step < 3 ? 2 : 3); i++) {
                        add_gradient(t[i], step), add_gradient(t[i], step + 1); /* two micro-batches */
                        sum[i] = update(t[i], step, 0.1 * decay);
                        CHECK(sum[i] == sum[0] && sum[i] > 0);
                    }
                    CHECK_MSG(same_state(&some, &all), "score %d, moments %d, decay %d, step %d", score, kind, decay, step);
                    CHECK_MSG(step < 3 || same_state(&some, &again), "resumed: score %d, moments %d, decay %d, step %d", score, kind, decay, step);
                }
                CHECK(in_use(some.m->trunk) > 10 && in_use(some.m->trunk) < tn_live_blocks(V * WIDTH));
                for (int i = 0; i < 3; i++) trainee_free(t[i]);
            }
    tn_backend_free(b);
}

/* A tied head reaches every row; the pad token has no gradient. */
TEST(live_only_where_tokens_alone_reach) {
    tn_backend *b = tiny_backend("cpu", TN_F32, NULL, 1);
    tn_model *m = new_model(b, false, true);
    CHECK_OK(tn_model_trainable(m, e));
    CHECK(!m->trunk->live && m->trunk->n_live == 0);
    tn_model_free(m);
    uint8_t live[8] = {0};
    int32_t ids[] = {1, 4, 2};
    tn_live_mark(live, 400, ids, 3, 2); /* elements 400 ... 799 and 1600 ... 1999 */
    static const uint8_t want[8] = {0, 1, 1, 1, 0, 0, 1, 1};
    CHECK(!memcmp(live, want, sizeof want));
    tn_backend_free(b);
}

/* ---- memory ---- */

/* Pages, by hand; and what an embedding of 64 MB, of which five rows are named, makes the process hold. */
TEST(live_memory_is_what_is_named) {
    enum { N = 100000 };
    uint8_t live[(N + 255) / 256];
    map_fill(live, sizeof live, 2);
    for (int kind = 0; kind < 3; kind++) {
        uint8_t page[100] = {0};
        size_t pages = 0;
        for (size_t k = 0; k < sizeof live; k++) {
            size_t at = tn_moment_bytes((tn_moment_kind)kind, 256 * k, 4);
            size_t end = tn_moment_bytes((tn_moment_kind)kind, k + 1 < sizeof live ? 256 * (k + 1) : N, 4);
            for (; live[k] && at < end; at++) page[at / 4096] = 1;
        }
        for (int i = 0; i < 100; i++) pages += page[i];
        CHECK(tn_live_bytes(live, N, (tn_moment_kind)kind, 4) == 4096 * pages && pages > 0);
    }
    tn_backend *b = tiny_backend("cpu", TN_F32, NULL, 2);
    tn_desc d = tiny_get(0)->desc;
    d.vocab = 1 << 18, d.hidden = 64, d.num_labels = 1;
    tn_model *m = tiny_model(&d, b, true, 7);
    size_t before = tn_resident_memory();
    CHECK_OK(tn_model_trainable(m, e));
    static const int32_t ids[] = {0, 1, 77777, 200000, (1 << 18) - 1};
    tn_live_mark(m->trunk->live, 64, ids, 5, -1);
    for (int i = 0; i < 5; i++) ((float *)m->trunk->grad)[64 * ids[i]] = 1;
    CHECK(tn_model_grad_sumsq(m) == 5);
    tn_model_adamw(m, 1e-2, 0.9, 0.999, 1e-8, 0.1, false, 1, 1);
    tn_model_zero_grad(m);
    CHECK_MSG(tn_resident_memory() - before < 8000000, "%zu bytes", tn_resident_memory() - before);
    tn_model_free(m);
    tn_backend_free(b);
}
