/* Two models' heads at the same rows: gradients of their divergences through a whole model, pieces, memory. */
#include "base/mathx.h"
#include "model/budget.h"
#include "tiny.h"
#include <stdlib.h>

enum { N_TOK = 44, N_ROW = N_TOK, N_MORE = 9 }; /* more: what a second model reads before */

/* A policy, a second model of another shape, and a random functional of everything that their heads give. */
typedef struct couple {
    tn_backend *be;
    tn_model *m, *second;
    tn_run *run;
    tn_forest f, f2; /* f2: the second model's, empty when it reads the same */
    int n;
    int32_t rows2[N_ROW], rows[N_ROW], target[N_ROW];
    double logp[N_ROW], lse[N_ROW], entropy[N_ROW], lse2[N_ROW], logp2[N_ROW], y[4][N_ROW]; /* kl, rkl, jsd, kl_mix */
    double d[6][N_ROW]; /* of kl, rkl, jsd, logp, entropy, lse */
    tn_lm q;
    tn_lm_pair p;
} couple;
static couple C;

/* A prompt shared by two answers, one of them longer than a block of keys; `more` tokens before it all. */
static void build_forest(tn_forest *f, int vocab, int more) {
    static const int len[] = {5, 3, 34, 2}, parent[] = {-1, 0, 0, 2};
    int32_t ids[64];
    if (more) {
        tiny_ids(ids, more, vocab, 99);
        CHECK_OK(tn_forest_add(f, ids, more, -1, 4, NULL, e));
    }
    for (int s = 0; s < 4; s++) {
        tiny_ids(ids, len[s], vocab, 100 + (uint64_t)s);
        CHECK_OK(tn_forest_add(f, ids, len[s], parent[s] + (more > 0), s, NULL, e));
    }
    CHECK_OK(tn_forest_finish(f, e));
}

static void couple_open(const char *backend, tn_dtype dtype, const tn_desc *d, int rows, int rows2) {
    memset(&C, 0, sizeof C);
    C.be = tiny_backend(backend, dtype, NULL, 2);
    tn_desc other = tiny_get(2)->desc;
    other.vocab = d->vocab;
    C.m = tiny_model(d, C.be, true, 5);
    C.second = tiny_model(&other, C.be, false, 8);
    CHECK_OK(tn_run_new(&C.run, C.m, N_TOK, rows, 64, TN_KEEP_ALL, e));
    CHECK_OK(tn_run_new(&C.p.run, C.second, N_TOK + N_MORE, rows2, 64, TN_KEEP_NOTHING, e));
    build_forest(&C.f, d->vocab, 0);
    for (int i = 0; i + 1 < C.f.n_tok; i++, C.n++) {
        C.rows[i] = i, C.target[i] = C.f.ids[i + 1];
        for (int k = 0; k < 6; k++) C.d[k][i] = i % 5 == 3 ? 0 : tiny_unit(20 + (uint64_t)k, (uint64_t)i);
    }
    C.q = (tn_lm){.n = C.n, .rows = C.rows, .target = C.target, .inv_temp = 1 / 0.9, .logp = C.logp, .lse = C.lse,
                  .entropy = C.entropy};
    C.p.model = C.second, C.p.beta = 0.3, C.p.lse2 = C.lse2, C.p.logp2 = C.logp2;
    C.p.kl = C.y[0], C.p.rkl = C.y[1], C.p.jsd = C.y[2], C.p.kl_mix = C.y[3];
}

/* From now on the second model reads more. */
static void other_side(void) {
    build_forest(&C.f2, C.m->desc.vocab, N_MORE);
    for (int i = 0; i < C.n; i++) C.rows2[i] = C.rows[i] + N_MORE;
    C.p.rows = C.rows2;
}

static void couple_free(void) {
    tn_run_free(C.run);
    tn_run_free(C.p.run);
    tn_forest_free(&C.f);
    tn_forest_free(&C.f2);
    tn_model_free(C.m);
    tn_model_free(C.second);
    tn_backend_free(C.be);
}

static double couple_loss(void) {
    const double *y[6] = {C.y[0], C.y[1], C.y[2], C.logp, C.entropy, C.lse};
    double sum = 0;
    CHECK_OK(tn_forward(C.p.run, C.second, C.p.rows ? &C.f2 : &C.f, e));
    CHECK_OK(tn_forward(C.run, C.m, &C.f, e));
    CHECK_OK(tn_lm_head(C.run, C.m, &C.q, e));
    CHECK_OK(tn_lm_pair_head(C.run, C.m, &C.q, &C.p, e));
    for (int k = 0; k < 6; k++)
        for (int i = 0; i < C.n; i++) sum += C.d[k][i] * y[k][i];
    return sum;
}

static void couple_gradient(void) {
    tn_model_zero_grad(C.m);
    couple_loss();
    tn_lm_grad d = {.kl = C.d[0], .rkl = C.d[1], .jsd = C.d[2], .logp = C.d[3], .entropy = C.d[4], .lse = C.d[5]};
    CHECK_OK(tn_lm_pair_backward(C.run, C.m, &C.q, &C.p, &d, e));
    CHECK_OK(tn_backward(C.run, C.m, &C.f, e));
}

/* Along a random direction u of a tensor: fourth-order difference against the gradient. */
static double slope_error(const tn_tensor *t, uint64_t seed) {
    size_t n = (size_t)t->rows * (size_t)t->cols;
    double *x = tn_tensor_data(t, C.be), *old = tn_malloc(n * sizeof *old), f[4], dot = 0, g2 = 0, u2 = 0, h = 2e-4;
    const double *g = tn_tensor_grad(t, C.be);
    static const double at[4] = {-2, -1, 1, 2};
    memcpy(old, x, n * sizeof *old);
    for (size_t i = 0; i < n; i++) {
        double u = tiny_unit(seed, i);
        dot += g[i] * u, g2 += g[i] * g[i], u2 += u * u;
    }
    for (int k = 0; k < 4; k++) {
        for (size_t i = 0; i < n; i++) x[i] = old[i] + at[k] * h * tiny_unit(seed, i);
        tn_model_pack(C.m);
        f[k] = couple_loss();
    }
    memcpy(x, old, n * sizeof *old);
    tn_model_pack(C.m);
    tn_free(old);
    CHECK_MSG(g2 > 0, "%s: the gradient is zero", t->name);
    return __builtin_fabs((f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h) - dot) / __builtin_sqrt(g2 * u2);
}

TEST(head_pair_finite_differences) {
    for (int i = 0; i < n_tiny; i += 3) {
        couple_open("ref64", TN_F64, &tiny_get(i)->desc, 17, 23);
        if (i % 2) other_side();
        couple_gradient();
        for (int t = 0; t < C.m->n_tensor; t++) {
            double err = slope_error(&C.m->tensor[t], 77 + (uint64_t)t);
            CHECK_MSG(err <= 1e-8, "%s %s: gradient and difference apart by %.3g", tiny_get(i)->name, C.m->tensor[t].name, err);
        }
        couple_free();
    }
}

/* The second model's log-probs are those that its own head gives, and pieces of rows change no bit. */
TEST(head_pair_pieces) {
    const tn_desc *d = &tiny_get(1)->desc;
    static double y[4][N_ROW], logp[N_ROW];
    for (int k = 0; k < 6; k++) { /* from 3 on the second model reads more */
        couple_open("cpu", TN_BF16, d, k % 3 == 1 ? 7 : N_ROW, k % 3 == 2 ? 11 : N_ROW);
        if (k >= 3) other_side();
        couple_loss();
        if (k == 3) CHECK(memcmp(y, C.y, sizeof y) != 0);
        if (k % 3 == 0) {
            memcpy(y, C.y, sizeof y);
            tn_lm q = {.n = C.n, .rows = k ? C.rows2 : C.rows, .target = C.target, .inv_temp = C.q.inv_temp, .logp = logp};
            CHECK_OK(tn_lm_head(C.p.run, C.second, &q, e));
        }
        CHECK(memcmp(y, C.y, sizeof y) == 0);
        CHECK(memcmp(logp, C.logp2, (size_t)C.n * sizeof(double)) == 0);
        couple_free();
    }
}

TEST(head_pair_refuses) {
    tn_desc d = tiny_get(1)->desc;
    couple_open("ref64", TN_F64, &d, N_ROW, N_ROW);
    couple_loss();
    C.p.beta = 1;
    CHECK_FAIL(tn_lm_pair_head(C.run, C.m, &C.q, &C.p, e), TN_BUG, "beta 1");
    C.p.beta = 0.5, C.p.kl = NULL;
    CHECK_FAIL(tn_lm_pair_backward(C.run, C.m, &C.q, &C.p, &(tn_lm_grad){.kl = C.d[0]}, e), TN_BUG, "kl for d_kl");
    tn_run *own = C.p.run;
    C.p.run = C.run, C.p.model = C.m;
    CHECK_FAIL(tn_lm_pair_head(C.run, C.m, &C.q, &C.p, e), TN_BUG, "a run each");
    tn_model *more = NULL;
    d.vocab += 3;
    more = tiny_model(&d, C.be, false, 3);
    C.p.run = own, C.p.model = more;
    tn_run_free(own);
    CHECK_OK(tn_run_new(&C.p.run, more, N_TOK, N_ROW, 64, TN_KEEP_NOTHING, e));
    CHECK_OK(tn_forward(C.p.run, more, &C.f, e));
    CHECK_FAIL(tn_lm_pair_head(C.run, C.m, &C.q, &C.p, e), TN_STATE, "one tokenizer");
    tn_model_free(more);
    couple_free();
}

/* A large vocabulary: no [rows, vocabulary] array, and the scratch that was planned. */
TEST(head_pair_memory) {
    enum { ROWS = 300, V = 60000 };
    if (getenv("TENET_EMULATED")) tn_skip("long under an emulator");
    tn_backend *be = tiny_backend("cpu", TN_BF16, NULL, 2);
    int H[2] = {16, 24};
    float *x[2], *master[2], *dx = tn_calloc((size_t)ROWS * 16, 4), *dw = tn_calloc((size_t)V * 16, 4);
    static double lse[2][ROWS], kl[ROWS], d[ROWS];
    tn_weight w[2];
    tn_desc desc[2] = {{.vocab = V, .hidden = H[0]}, {.vocab = V, .hidden = H[1]}};
    for (int k = 0; k < 2; k++) {
        size_t bytes = be->op->weight_bytes(be, V, H[k]);
        x[k] = tn_malloc((size_t)ROWS * (size_t)H[k] * 4), master[k] = tn_malloc((size_t)V * (size_t)H[k] * 4);
        for (size_t i = 0; i < (size_t)ROWS * (size_t)H[k]; i++) x[k][i] = (float)tiny_unit(1 + (uint64_t)k, i);
        for (size_t i = 0; i < (size_t)V * (size_t)H[k]; i++) master[k][i] = (float)tiny_unit(3 + (uint64_t)k, i);
        w[k] = (tn_weight){V, H[k], master[k], tn_big_alloc(bytes)};
        be->op->weight_pack(be, &w[k]);
        be->op->head(be, &(tn_head){.rows = ROWS, .x = x[k], .w = &w[k], .inv_temp = 1, .lse = lse[k]});
    }
    tn_budget plan = {0};
    tn_budget_scratch_pair(&plan, &desc[0], &desc[1], be, ROWS, true);
    tn_big_free(be->scratch, be->scratch_bytes);
    be->scratch = NULL, be->scratch_bytes = 0;
    for (int i = 0; i < ROWS; i++) d[i] = 1;
    tn_head_pair p = {.rows = ROWS, .x = x[0], .x2 = x[1], .w = &w[0], .w2 = &w[1], .inv_temp = 1, .lse = lse[0],
                      .lse2 = lse[1], .kl = kl};
    be->op->head_pair(be, &p);
    be->op->head_bwd(be, &(tn_head_bwd){.rows = ROWS, .x = x[0], .w = &w[0], .inv_temp = 1, .lse = lse[0], .pair = &p, .d_kl = d,
                                        .dx = dx, .dw = dw});
    CHECK_MSG(be->scratch_bytes == plan.total, "scratch %zu bytes, planned %zu", be->scratch_bytes, plan.total);
    CHECK(be->scratch_bytes < (size_t)ROWS * V * 4 / 8);
    for (int i = 0; i < ROWS; i++) CHECK(kl[i] > 0);
    for (int k = 0; k < 2; k++) {
        tn_big_free(w[k].packed, be->op->weight_bytes(be, V, H[k]));
        tn_free(x[k]);
        tn_free(master[k]);
    }
    tn_free(dx);
    tn_free(dw);
    tn_backend_free(be);
}
