/* Whole-model gradients against finite differences, in double. */
#include "unit/probe.h"

static void check_case(const tiny_case *c, bool score, double *worst) {
    tn_backend *be = tiny_backend("ref64", TN_F64, NULL, 1);
    tn_desc d = c->desc;
    if (score) d.num_labels = 1;
    tn_model *m = be ? tiny_model(&d, be, true, 5) : NULL;
    if (!m) return;
    CHECK((m->head != NULL) == score);
    static probe p;
    p = (probe){.m = m, .inv_temp = 1 / 0.7};
    build_forest(&p.f, d.vocab);
    probe_rows(&p);
    CHECK(p.n <= N_ROW && p.f.n_tok <= N_TOK);
    CHECK_OK(tn_run_new(&p.run, m, N_TOK, 17, 64, true, e)); /* 17: heads go in pieces */
    probe_gradient(&p);
    for (int t = 0; t < m->n_tensor; t++) {
        const tn_tensor *x = &m->tensor[t];
        double norm, err = probe_error(&p, x, 77 + (uint64_t)t, &norm);
        if (err > *worst) *worst = err;
        CHECK_MSG(err <= 1e-8, "%s%s %s: gradient and finite difference apart by %.3g", c->name,
                  score ? " (score)" : "", x->name, err);
        CHECK_MSG(norm > 0 || (score && strstr(x->name, "lm_head")), "%s %s: the gradient is zero",
                  c->name, x->name);
    }
    tn_run_free(p.run);
    tn_forest_free(&p.f);
    tn_model_free(m);
    tn_backend_free(be);
}

TEST(backward_finite_differences) {
    double worst = 0;
    for (int i = 0; i < n_tiny; i++) {
        check_case(tiny_get(i), false, &worst);
        if (i % 3 == 1) check_case(tiny_get(i), true, &worst);
    }
    CHECK_MSG(worst > 0, "nothing was compared");
}

/* The coefficients' zero rows cost nothing and change nothing, whatever the pieces. */
TEST(backward_pieces_and_zero_rows) {
    tn_backend *be = tiny_backend("ref64", TN_F64, NULL, 1);
    const tiny_case *c = tiny_get(4);
    tn_model *m = be ? tiny_model(&c->desc, be, true, 9) : NULL;
    if (!m) return;
    static probe p;
    p = (probe){.m = m, .inv_temp = 1};
    build_forest(&p.f, c->desc.vocab);
    probe_rows(&p);
    double *want = NULL;
    size_t n = m->trunk->n;
    for (int rows = 3; rows <= N_ROW; rows += 39) {
        CHECK_OK(tn_run_new(&p.run, m, N_TOK, rows, 64, true, e));
        probe_gradient(&p);
        double *g = m->trunk->grad, err = 0, size = 0;
        for (size_t i = 0; want && i < n; i++) {
            err += (g[i] - want[i]) * (g[i] - want[i]);
            size += g[i] * g[i];
        }
        CHECK(!want || err <= 1e-26 * size);
        if (!want) {
            want = tn_malloc(n * sizeof *want);
            memcpy(want, g, n * sizeof *want);
        }
        tn_run_free(p.run);
    }
    tn_free(want);
    tn_forest_free(&p.f);
    tn_model_free(m);
    tn_backend_free(be);
}

TEST(backward_refusals) {
    tn_backend *be = tiny_backend("ref", TN_F32, NULL, 1);
    const tiny_case *c = tiny_get(0);
    tn_model *m = be ? tiny_model(&c->desc, be, true, 9) : NULL;
    if (!m) return;
    static probe p;
    p = (probe){.m = m, .inv_temp = 1};
    build_forest(&p.f, c->desc.vocab);
    probe_rows(&p);
    tn_lm q = probe_lm(&p);
    CHECK_OK(tn_run_new(&p.run, m, N_TOK, N_ROW, 64, false, e));
    CHECK_FAIL(tn_lm_head(p.run, m, &q, e), TN_STATE, "before a forward");
    CHECK_OK(tn_forward(p.run, m, &p.f, e));
    CHECK_OK(tn_lm_head(p.run, m, &q, e));
    CHECK_FAIL(tn_lm_head_backward(p.run, m, &q, p.a, NULL, NULL, e), TN_STATE, "kept");
    CHECK_FAIL(tn_backward(p.run, m, &p.f, e), TN_STATE, "kept");
    CHECK_FAIL(tn_score_head(p.run, m, p.rows, p.n, p.score, e), TN_STATE, "no score head");
    p.target[3] = c->desc.vocab;
    CHECK_FAIL(tn_lm_head(p.run, m, &q, e), TN_ARG, "vocabulary");
    p.f.ids[2] = -1;
    CHECK_FAIL(tn_forward(p.run, m, &p.f, e), TN_ARG, "token id -1");
    p.f.ids[2] = 0;
    tn_run_free(p.run);
    CHECK_OK(tn_run_new(&p.run, m, N_TOK, N_ROW, 8, false, e));
    CHECK_FAIL(tn_forward(p.run, m, &p.f, e), TN_ARG, "position");
    tn_run_free(p.run);
    CHECK_OK(tn_run_new(&p.run, m, 4, N_ROW, 64, false, e));
    CHECK_FAIL(tn_forward(p.run, m, &p.f, e), TN_BUG, "run made for 4");
    tn_run_free(p.run);
    tn_forest_free(&p.f);
    tn_model_free(m);
    tn_backend_free(be);
}
