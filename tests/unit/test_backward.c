/* Whole-model gradients against finite differences, in double. */
#include "tiny.h"

#define N_TOK 96
#define N_ROW 120

/* A forest with a prompt shared by two answers, one of which branches again, and a loner; some
 * segments are longer than a block of keys, some are a single token. */
static const struct {
    int len, parent;
} shape[] = {{5, -1}, {3, 0}, {34, 0}, {1, 2}, {2, 2}, {4, -1}, {1, 5}};
#define N_SEG ((int)(sizeof shape / sizeof *shape))

static void build_forest(tn_forest *f, int vocab) {
    int32_t ids[64];
    for (int s = 0; s < N_SEG; s++) {
        int k;
        tiny_ids(ids, shape[s].len, vocab, 100 + (uint64_t)s);
        CHECK_OK(tn_forest_add(f, ids, shape[s].len, shape[s].parent, s, &k, e));
    }
    CHECK_OK(tn_forest_finish(f, e));
}

/* A random linear functional of everything that heads give. */
typedef struct probe {
    tn_run *run;
    tn_model *m;
    tn_forest f;
    int n;
    int32_t rows[N_ROW], target[N_ROW];
    double logp[N_ROW], lse[N_ROW], entropy[N_ROW], score[N_ROW];
    double a[N_ROW], b[N_ROW],
        c[N_ROW]; /* coefficients of logp, entropy, lse; a also of the score */
    double inv_temp;
} probe;

static tn_lm probe_lm(probe *p) {
    return (tn_lm){.n = p->n,
                   .rows = p->rows,
                   .target = p->target,
                   .inv_temp = p->inv_temp,
                   .logp = p->logp,
                   .lse = p->lse,
                   .entropy = p->entropy};
}

/* Each row predicts its successor; the last row of a prompt predicts the first token of every
 * child. */
static void probe_rows(probe *p) {
    const tn_forest *f = &p->f;
    for (int s = 0; s < f->n_seg; s++)
        for (int i = 0; i < f->seg[s].len; i++) {
            int row = f->seg[s].start + i - 1;
            if (i == 0) {
                if (f->parent[s] < 0) continue;
                const tn_aseg *up = &f->seg[f->parent[s]];
                row = up->start + up->len - 1;
            }
            p->rows[p->n] = row;
            p->target[p->n] = f->ids[f->seg[s].start + i];
            p->a[p->n] = p->n % 5 == 3 ? 0 : tiny_unit(1, (uint64_t)p->n);
            p->b[p->n] = p->n % 5 == 3 || p->n % 7 == 2 ? 0 : tiny_unit(2, (uint64_t)p->n);
            p->c[p->n] = p->n % 5 == 3 ? 0 : 0.3 * tiny_unit(3, (uint64_t)p->n);
            p->n++;
        }
}

static double probe_loss(probe *p) {
    double sum = 0;
    CHECK_OK(tn_forward(p->run, p->m, &p->f, e));
    if (p->m->head) {
        CHECK_OK(tn_score_head(p->run, p->m, p->rows, p->n, p->score, e));
        for (int i = 0; i < p->n; i++) sum += p->a[i] * p->score[i];
        return sum;
    }
    tn_lm q = probe_lm(p);
    CHECK_OK(tn_lm_head(p->run, p->m, &q, e));
    for (int i = 0; i < p->n; i++)
        sum += p->a[i] * p->logp[i] + p->b[i] * p->entropy[i] + p->c[i] * p->lse[i];
    return sum;
}

static void probe_gradient(probe *p) {
    tn_model_zero_grad(p->m);
    probe_loss(p);
    if (p->m->head) {
        CHECK_OK(tn_score_head_backward(p->run, p->m, p->rows, p->n, p->a, e));
    } else { /* in two heads of one forward: the hidden gradients add up */
        tn_lm q = probe_lm(p);
        CHECK_OK(tn_lm_head_backward(p->run, p->m, &q, p->a, NULL, NULL, e));
        CHECK_OK(tn_lm_head_backward(p->run, p->m, &q, NULL, p->b, p->c, e));
    }
    CHECK_OK(tn_backward(p->run, p->m, &p->f, e));
}

/* Fourth-order central difference along a random direction of one tensor. */
static double slope_along(probe *p, const tn_tensor *t, uint64_t seed, double h) {
    size_t n = (size_t)t->rows * (size_t)t->cols;
    double *x = tn_tensor_data(t, p->m->be), f[4];
    static const double at[4] = {-2, -1, 1, 2};
    double *old = tn_malloc(n * sizeof *old);
    memcpy(old, x, n * sizeof *old);
    for (int k = 0; k < 4; k++) {
        for (size_t i = 0; i < n; i++) x[i] = old[i] + at[k] * h * tiny_unit(seed, i);
        tn_model_pack(p->m);
        f[k] = probe_loss(p);
    }
    memcpy(x, old, n * sizeof *old);
    tn_model_pack(p->m);
    tn_free(old);
    return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h);
}

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
        const double *g = tn_tensor_grad(x, be);
        double dot = 0, norm = 0, scale = 0;
        for (size_t i = 0; i < (size_t)x->rows * (size_t)x->cols; i++) {
            double u = tiny_unit(77 + (uint64_t)t, i);
            dot += g[i] * u;
            norm += g[i] * g[i];
            scale += u * u;
        }
        scale = __builtin_sqrt(norm * scale); /* |g| |u| */
        double fd = slope_along(&p, x, 77 + (uint64_t)t, 2e-4);
        double err = scale > 0 ? __builtin_fabs(fd - dot) / scale : __builtin_fabs(fd);
        if (err > *worst) *worst = err;
        CHECK_MSG(err <= 1e-8, "%s%s %s: gradient along u %.12g, finite difference %.12g", c->name,
                  score ? " (score)" : "", x->name, dot, fd);
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
