/* Whatever a forward keeps, gradients are the same bits. */
#include "model/budget.h"
#include "model/params.h"
#include "unit/probe.h"

/* Gradient of two micro-batches (the forest with its shared prompts, twice, with other coefficients), into
 * the model; a forward between them leaves other rows behind in what layers share. */
static void two_batches(probe *p, tn_keep keep) {
    CHECK_OK(tn_run_new(&p->run, p->m, N_TOK, 17, 64, keep, e));
    tn_model_zero_grad(p->m);
    for (int batch = 0; batch < 2; batch++) {
        for (int i = 0; i < p->n; i++) p->a[i] += 0.25 * batch;
        probe_add_gradient(p);
        for (int i = 0; i < p->n; i++) p->a[i] -= 0.25 * batch;
        if (batch == 0) probe_loss(p);
    }
    tn_run_free(p->run);
}

/* All gradients of what is trained, one after the other. */
static void *gradients(const tn_model *m, size_t *bytes) {
    tn_trained t[TN_TRAINED_MAX];
    int n = tn_model_trained(m, t);
    size_t at = 0;
    *bytes = 0;
    for (int i = 0; i < n; i++) *bytes += t[i].store->n * m->be->elem;
    char *g = tn_malloc(*bytes);
    for (int i = 0; i < n; at += t[i++].store->n * m->be->elem)
        memcpy(g + at, t[i].store->grad, t[i].store->n * m->be->elem);
    return g;
}

static void compare(const char *what, tn_model *m, bool few) {
    static probe p;
    p = (probe){.m = m, .inv_temp = 1 / 0.7};
    build_forest(&p.f, m->desc.vocab);
    if (m->n_adapter) p.f.adapter[2] = p.f.adapter[3] = TN_NO_ADAPTER; /* segments without */
    probe_rows(&p);
    if (few) probe_read_few(&p);
    void *want = NULL, *got;
    size_t n;
    for (tn_keep keep = TN_KEEP_ALL; keep <= TN_KEEP_LAYER; keep++) {
        two_batches(&p, keep);
        got = gradients(m, &n);
        CHECK_MSG(!want || !memcmp(got, want, n), "%s, %s, level %d: other gradients", what, m->be->profile,
                  (int)keep);
        if (want) tn_free(got);
        else want = got;
    }
    bool zero = true;
    for (size_t i = 0; i < n; i++) zero = zero && !((char *)want)[i];
    CHECK(!zero);
    tn_free(want);
    tn_forest_free(&p.f);
    tn_model_free(m);
}

static void all_models(tn_backend *be) {
    for (int i = 0; be && i < n_tiny; i++) {
        const tiny_case *c = tiny_get(i);
        tn_desc score = c->desc;
        score.num_labels = 1;
        for (int lora = 0; lora < 2; lora++)
            for (int head = 0; head < 2; head++) {
                tn_model *m = tiny_model(head ? &score : &c->desc, be, !lora, 5);
                unsigned some = i % 2 ? TN_ALL_LINEAR : 1u << TN_K_PROJ | 1u << TN_UP_PROJ;
                tn_lora_spec s = {.rank = 3, .alpha = 1.5, .modules = some};
                if (lora) CHECK_OK(tn_model_adapt(m, &s, 6, e));
                CHECK_OK(tn_model_trainable(m, e));
                for (size_t k = 0; lora && k < m->adapter[0]->store->n; k++) /* B is not zero */
                    tiny_set(be, m->adapter[0]->store->data, k, 0.3 * tiny_unit(8, k));
                tn_model_pack(m);
                compare(c->name, m, (i + lora + head) % 2);
            }
    }
    tn_backend_free(be);
}

TEST(recompute_same_gradients_ref) { all_models(tiny_backend("ref", TN_F32, NULL, 1)); }
TEST(recompute_same_gradients_cpu) { all_models(tiny_backend("cpu", TN_F32, NULL, 2)); }
TEST(recompute_same_gradients_bf16) { all_models(tiny_backend("cpu", TN_BF16, NULL, 2)); }

TEST(recompute_keeps_less) {
    tn_backend *be = tiny_backend("ref", TN_F32, NULL, 1);
    tn_desc d = tiny_get(0)->desc;
    d.layers = 30;
    size_t all = tn_budget_run_bytes(&d, be, 64, 64, 64, 4, TN_KEEP_ALL);
    size_t cheap = tn_budget_run_bytes(&d, be, 64, 64, 64, 4, TN_KEEP_CHEAP);
    size_t layer = tn_budget_run_bytes(&d, be, 64, 64, 64, 4, TN_KEEP_LAYER);
    CHECK(all - cheap == (size_t)29 * 64 * 2 * (size_t)d.ffn * 4);
    CHECK(layer < all / 4);
    tn_backend_free(be);
    /* bf16: gate|up, q, k, v and attention's output have half the bytes, the residual all of them */
    be = tiny_backend("ref", TN_BF16, "pair", 1);
    size_t half = tn_budget_run_bytes(&d, be, 64, 64, 64, 4, TN_KEEP_ALL);
    CHECK(half - tn_budget_run_bytes(&d, be, 64, 64, 64, 4, TN_KEEP_CHEAP) == (size_t)29 * 64 * 2 * (size_t)d.ffn * 2);
    CHECK(all - half >= (size_t)29 * 64 * 2 * (size_t)(2 * d.ffn + (2 * d.heads + 2 * d.kv_heads) * d.head_dim));
    tn_backend_free(be);
}
