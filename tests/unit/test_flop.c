/* Floating-point operations of a training step are those of its shapes, on every backend and for any threads. */
#include "ops/flop.h"
#include "tiny.h"
#include "train/intro.h"

enum { T = 50, R = 11 };

/* What each product of one forward, head and backward takes, by hand. */
static uint64_t expected(const tn_desc *d) {
    uint64_t D = (uint64_t)d->hidden, I = (uint64_t)(d->heads * d->head_dim), F = (uint64_t)d->ffn;
    uint64_t matrices = D * (I + 2 * (uint64_t)(d->kv_heads * d->head_dim)) + I * D + D * 2 * F + F * D, n = 0;
    for (int l = 0; l < d->layers; l++) {
        int w = tn_desc_window(d, l);
        uint64_t pairs = 0;
        for (int q = 0; q < T; q++) pairs += (uint64_t)(w && q + 1 > w ? w : q + 1);
        n += 3 * 2 * T * matrices + (2 + 5) * 2 * pairs * I; /* y, dx, dw; two products of attention, five backward */
    }
    return n + 4 * 2 * R * (uint64_t)d->vocab * D; /* logits, again, dx, dw */
}

static uint64_t counted(const tn_desc *d, tn_backend *be) {
    tn_model *m = tiny_model(d, be, true, 3);
    tn_forest f = {0};
    tn_run *run = NULL;
    int32_t ids[T], rows[R], target[R];
    double logp[R], lse[R], grad[R];
    int seg;
    tiny_ids(ids, T, d->vocab, 8);
    for (int i = 0; i < R; i++) rows[i] = 3 + i, target[i] = ids[4 + i], grad[i] = 1;
    CHECK_OK(tn_forest_add(&f, ids, T, -1, 0, &seg, e));
    CHECK_OK(tn_forest_finish(&f, e));
    CHECK_OK(tn_run_new(&run, m, T, R, 128, TN_KEEP_ALL, e));
    uint64_t before = be->flop;
    tn_lm q = {.n = R, .rows = rows, .target = target, .inv_temp = 1, .logp = logp, .lse = lse};
    CHECK_OK(tn_forward(run, m, &f, e));
    CHECK_OK(tn_lm_head(run, m, &q, e));
    CHECK_OK(tn_lm_head_backward(run, m, &q, grad, NULL, NULL, e));
    CHECK_OK(tn_backward(run, m, &f, e));
    uint64_t n = be->flop - before;
    tn_run_free(run);
    tn_forest_free(&f);
    tn_model_free(m);
    return n;
}

TEST(flop_of_a_step) {
    static const struct { const char *name; int threads; } on[] = {{"ref", 1}, {"cpu", 1}, {"cpu", 3}};
    for (int i = 0; i < n_tiny; i++)
        for (size_t k = 0; k < sizeof on / sizeof *on; k++) {
            const tn_desc *d = &tiny_get(i)->desc;
            tn_backend *be = tiny_backend(on[k].name, TN_F32, NULL, on[k].threads);
            uint64_t n = counted(d, be), want = expected(d);
            CHECK_MSG(n == want, "%s on %s: %llu FLOP, expected %llu", tiny_get(i)->name, on[k].name, (unsigned long long)n,
                      (unsigned long long)want);
            tn_backend_free(be);
        }
}

/* What plans count: the same, but for attention's backward, which they take for two of its forwards (it is 2.5). */
TEST(flop_of_a_plan) {
    for (int i = 0; i < n_tiny; i++) {
        const tn_desc *d = &tiny_get(i)->desc;
        const tn_effort w = {.tokens = T, .read = T, .logits = R, .pairs = T * (T + 1) / 2};
        double attention = 2.0 * w.pairs * d->heads * d->head_dim * d->layers, got = tn_train_flop(d, false, TN_KEEP_ALL, &w);
        if (d->window) continue; /* plans know of none */
        CHECK_MSG(got == (double)expected(d) - attention, "%s: %.17g FLOP planned, %.17g done", tiny_get(i)->name, got,
                  (double)expected(d));
        CHECK(tn_train_flop(d, true, TN_KEEP_ALL, &w) < got && tn_train_flop(d, false, TN_KEEP_LAYER, &w) > got);
    }
}

/* An adapter of two parts: u and y, or u alone; backward with and without its own gradient. */
TEST(flop_of_adapters) {
    enum { ROWS = 3, IN = 7, OUT = 5, RANK = 2, PARTS = 2 };
    tn_backend *be = tiny_backend("ref", TN_F32, NULL, 1);
    float a[PARTS * RANK * IN] = {0}, b[OUT * RANK] = {0}, x[ROWS * IN] = {0}, y[ROWS * PARTS * OUT] = {0},
          u[ROWS * PARTS * RANK] = {0}, v[ROWS * PARTS * RANK] = {0}, dx[ROWS * IN] = {0}, da[PARTS * RANK * IN] = {0},
          db[2][OUT * RANK] = {{0}};
    tn_lora w = {.parts = PARTS, .rank = RANK, .scale = 1, .a = {.out = PARTS * RANK, .in = IN, .master = a},
                 .b = {{.out = OUT, .in = RANK, .master = b}, {.out = OUT, .in = RANK, .master = b}}, .col = {0, OUT}};
    tn_weight *all[] = {&w.a, &w.b[0], &w.b[1]};
    for (int i = 0; i < 3; i++) {
        all[i]->packed = tn_calloc(1, be->op->weight_bytes(be, all[i]->out, all[i]->in));
        be->op->weight_pack(be, all[i]);
    }
    tn_lora_grad g = {da, {db[0], db[1]}};
    const uint64_t A = 2 * ROWS * PARTS * RANK * IN, B = 2 * ROWS * PARTS * RANK * OUT;
    uint64_t at[5] = {be->flop};
    be->op->lora(be, TN_ADD_NONZERO, y, PARTS * OUT, u, x, IN, &w, ROWS);
    at[1] = be->flop;
    be->op->lora(be, TN_ADD_NONZERO, NULL, 0, u, x, IN, &w, ROWS);
    at[2] = be->flop;
    be->op->lora_bwd(be, dx, IN, &g, y, PARTS * OUT, u, v, x, IN, &w, ROWS);
    at[3] = be->flop;
    be->op->lora_bwd(be, dx, IN, NULL, y, PARTS * OUT, u, v, x, IN, &w, ROWS);
    at[4] = be->flop;
    CHECK(at[1] - at[0] == A + B && at[2] - at[1] == A);
    CHECK(at[3] - at[2] == 2 * (A + B) && at[4] - at[3] == A + B);
    for (int i = 0; i < 3; i++) tn_free(all[i]->packed);
    tn_backend_free(be);
}
