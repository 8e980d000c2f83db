/* Whole-model gradients against finite differences, in double. */
#include "unit/probe.h"

static void check_case(const tiny_case *c, bool score, bool few, double *worst) {
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
    if (few) probe_read_few(&p);
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
        check_case(tiny_get(i), false, i % 2, &worst);
        if (i % 3 == 1) check_case(tiny_get(i), true, i % 2 == 0, &worst);
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

/* The forward that is told which rows heads read gives them the bits of the one that finishes all, and the same
 * gradient but for the order of sums over tokens. */
static void check_few(tn_backend *be, const tiny_case *c, bool score, double tol) {
    tn_desc d = c->desc;
    if (score) d.num_labels = 1;
    tn_model *m = be ? tiny_model(&d, be, true, 5) : NULL;
    if (!m) return;
    static probe p, all;
    size_t n = m->trunk->n;
    all = (probe){.m = m, .inv_temp = 1 / 0.7};
    build_forest(&all.f, d.vocab);
    probe_rows(&all);
    p = all;
    probe_read_few(&p);
    all = p;
    all.few = false;
    double *want = tn_malloc(n * sizeof *want), err = 0, size = 0;
    for (int keep = 0; keep < 2; keep++) {
        CHECK_OK(tn_run_new(&p.run, m, N_TOK, 17, 64, keep ? TN_KEEP_ALL : TN_KEEP_NOTHING, e));
        all.run = p.run;
        if (keep) probe_gradient(&all);
        else probe_loss(&all);
        for (size_t i = 0; keep && i < n; i++) want[i] = tiny_element(be, m->trunk->grad, i);
        if (keep) probe_gradient(&p);
        else probe_loss(&p);
        CHECK_BYTES(all.logp, p.logp, sizeof p.logp);
        CHECK_BYTES(all.entropy, p.entropy, sizeof p.entropy);
        CHECK_BYTES(all.score, p.score, sizeof p.score);
        if (!keep) {
            CHECK_OK(tn_forward_rows(p.run, m, &p.f, p.rows, p.n, e));
            int32_t other = p.rows[0] + 1;
            double x;
            tn_lm q = {.n = 1, .rows = &other, .inv_temp = 1, .lse = &x};
            if (score) CHECK_FAIL(tn_score_head(p.run, m, &other, 1, &x, e), TN_BUG, "was told of");
            else CHECK_FAIL(tn_lm_head(p.run, m, &q, e), TN_BUG, "was told of");
            CHECK_FAIL(tn_run_hidden(p.run, m, d.layers, NULL, e), TN_STATE, "told to finish");
        }
        tn_run_free(p.run);
    }
    for (size_t i = 0; i < n; i++) {
        double g = tiny_element(be, m->trunk->grad, i) - want[i];
        err += g * g, size += want[i] * want[i];
    }
    CHECK_MSG(err <= tol * tol * size, "%s %s: gradients apart by %.3g", c->name, be->profile, __builtin_sqrt(err / size));
    tn_free(want);
    tn_forest_free(&p.f);
    tn_model_free(m);
}

TEST(backward_of_the_rows_that_are_read) {
    static const struct { const char *name; tn_dtype dtype; double tol; } on[] = {
        {"ref64", TN_F64, 1e-14}, {"ref", TN_F32, 1e-6}, {"cpu", TN_F32, 1e-6}, {"cpu", TN_BF16, 1e-2}};
    for (size_t k = 0; k < sizeof on / sizeof *on; k++) {
        tn_backend *be = tiny_backend(on[k].name, on[k].dtype, NULL, 2);
        for (int i = 0; i < n_tiny; i++) check_few(be, tiny_get(i), i % 2, on[k].tol);
        tn_backend_free(be);
    }
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
