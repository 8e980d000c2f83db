/* What the tests of gradients share: a forest, a random linear functional of everything that heads
 * give, and its slope along a random direction of one tensor. */
#ifndef TN_TEST_PROBE_H
#define TN_TEST_PROBE_H
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
    bool few; /* forwards are told which rows the heads will read */
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

/* Every fourth row, and forwards that finish no others. */
static inline void probe_read_few(probe *p) {
    int n = 0;
    for (int i = 1; i < p->n; i += 4, n++) {
        p->rows[n] = p->rows[i], p->target[n] = p->target[i];
        p->a[n] = p->a[i], p->b[n] = p->b[i], p->c[n] = p->c[i];
    }
    p->n = n;
    p->few = true;
}

static void probe_forward(probe *p) {
    if (p->few) CHECK_OK(tn_forward_rows(p->run, p->m, &p->f, p->rows, p->n, e));
    else CHECK_OK(tn_forward(p->run, p->m, &p->f, e));
}

static double probe_loss(probe *p) {
    double sum = 0;
    probe_forward(p);
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

static inline void probe_add_gradient(probe *p) {
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

static inline void probe_gradient(probe *p) {
    tn_model_zero_grad(p->m);
    probe_add_gradient(p);
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

/* The gradient of one tensor against the slope along a random direction u, relative to |g| |u|; *norm2
 * gets |g|^2. */
static inline double probe_error(probe *p, const tn_tensor *x, uint64_t seed, double *norm2) {
    const double *g = tn_tensor_grad(x, p->m->be);
    double dot = 0, scale = 0;
    *norm2 = 0;
    for (size_t i = 0; i < (size_t)x->rows * (size_t)x->cols; i++) {
        double u = tiny_unit(seed, i);
        dot += g[i] * u;
        *norm2 += g[i] * g[i];
        scale += u * u;
    }
    scale = __builtin_sqrt(*norm2 * scale);
    double fd = slope_along(p, x, seed, 2e-4);
    return scale > 0 ? __builtin_fabs(fd - dot) / scale : __builtin_fabs(fd);
}
#endif
