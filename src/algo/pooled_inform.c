/* The information-bottleneck head; formulas in pooled.h. With c = d L/d score and q = d L/d KL of a
 * row:
 *
 *   d L/d mu_k = c d_k + q mu_k
 *   d L/d v_k  = c d_k (1/2) e^{v_k/2} eps_k + q (1/2)(e^{v_k} - 1)
 *   d L/d d_k  = c z_k
 *   mean_first: the terms in q are those of the means over K latents, divided by K
 * and through W; v is flat where it is clamped. */
#include "algo/pooled.h"
#include "algo/obs.h"
#include <string.h>

#define V_MAX 10.0

/* One row's view of the parameters. */
typedef struct row {
    int width, n; /* n latents */
    const double *mu_w, *v_w, *d, *e, *eps;
} row;

static int latents(const void *opt) { return (int)((const tn_inform_opt *)opt)->latents; }
static bool mean_first(const void *opt) {
    const char *kl = ((const tn_inform_opt *)opt)->kl;
    return kl && strcmp(kl, "mean_first") == 0;
}
static row row_of(const void *opt, const tn_pooled *p, int i) {
    size_t n = (size_t)latents(opt), width = (size_t)p->width;
    return (row){p->width,
                 (int)n,
                 p->w,
                 p->w + n * width,
                 p->w + 2 * n * width,
                 p->x + (size_t)i * width,
                 p->noise ? p->noise + (size_t)i * n : NULL};
}

static double mu_at(const row *r, int k) {
    return tn_pooled_dot(r->mu_w + (size_t)k * (size_t)r->width, r->e, r->width);
}
static double v_at(const row *r, int k, bool *flat) {
    double v = tn_pooled_dot(r->v_w + (size_t)k * (size_t)r->width, r->e, r->width);
    *flat = v > V_MAX || v < -V_MAX;
    return v > V_MAX ? V_MAX : v < -V_MAX ? -V_MAX : v;
}
static double kl_of(double mu, double v) { return 0.5 * (mu * mu + tn_expm1(v) - v); }

static void means(const row *r, double *mu, double *v) {
    bool flat;
    *mu = *v = 0;
    for (int k = 0; k < r->n; k++) *mu += mu_at(r, k), *v += v_at(r, k, &flat);
    *mu /= r->n;
    *v /= r->n;
}

static void forward(const void *opt, const tn_pooled *p, double *score, double *extra) {
    for (int i = 0; i < p->n; i++) {
        row r = row_of(opt, p, i);
        double sum = 0, kl = 0, mean_mu = 0, mean_v = 0;
        for (int k = 0; k < r.n; k++) {
            bool flat;
            double mu = mu_at(&r, k), v = v_at(&r, k, &flat);
            sum += r.d[k] * (r.eps ? mu + tn_exp(0.5 * v) * r.eps[k] : mu);
            kl += kl_of(mu, v);
            mean_mu += mu, mean_v += v;
        }
        score[i] = sum;
        extra[i] = mean_first(opt) ? kl_of(mean_mu / r.n, mean_v / r.n) : kl;
    }
}

static void backward(const void *opt, const tn_pooled *p, const tn_pooled_grad *g) {
    bool first = mean_first(opt);
    for (int i = 0; i < p->n; i++) {
        row r = row_of(opt, p, i);
        double c = g->score[i], q = g->extra[i], mean_mu = 0, mean_v = 0;
        size_t width = (size_t)r.width, n = (size_t)r.n;
        if (first) means(&r, &mean_mu, &mean_v), q /= r.n;
        for (size_t k = 0; k < n; k++) {
            bool flat;
            double mu = mu_at(&r, (int)k), v = v_at(&r, (int)k, &flat);
            double sd = r.eps ? tn_exp(0.5 * v) * r.eps[k] : 0;
            double d_mu = c * r.d[k] + q * (first ? mean_mu : mu);
            double d_v = flat ? 0 : 0.5 * (c * r.d[k] * sd + q * tn_expm1(first ? mean_v : v));
            for (size_t j = 0; g->x && j < width; j++)
                g->x[(size_t)i * width + j] +=
                    d_mu * r.mu_w[k * width + j] + d_v * r.v_w[k * width + j];
            if (!g->w) continue;
            g->w[2 * n * width + k] += c * (mu + sd);
            for (size_t j = 0; j < width; j++) {
                g->w[k * width + j] += d_mu * r.e[j];
                g->w[(n + k) * width + j] += d_v * r.e[j];
            }
        }
    }
}

void tn_inform_latent(const void *opt, int width, const double *w, const double *e, double *mu) {
    for (int k = 0; k < latents(opt); k++)
        mu[k] = tn_pooled_dot(w + (size_t)k * (size_t)width, e, width);
}

static void fold(const void *opt, int width, const double *w, double *to) {
    size_t n = (size_t)latents(opt), W = (size_t)width;
    const double *d = w + 2 * n * W;
    for (size_t j = 0; j < W; j++) {
        to[j] = 0;
        for (size_t k = 0; k < n; k++) to[j] += d[k] * w[k * W + j];
    }
}

static int parts(const void *opt, tn_pooled_part part[TN_POOLED_PARTS]) {
    int k = latents(opt);
    part[0] = (tn_pooled_part){"mu", k, 0};
    part[1] = (tn_pooled_part){"logvar", k, 0};
    part[2] = (tn_pooled_part){"decoder", 1, k};
    return 3;
}

static size_t params(const void *opt, int width) {
    return (size_t)latents(opt) * (2 * (size_t)width + 1);
}
static tn_status check(const void *opt, int width, tn_err *e) {
    if (width < 1) return tn_fail(e, TN_ARG, "inform: rows of width %d", width);
    return tn_opt_between((double)latents(opt), 1, 1 << 16, "inform", "latents", e);
}

const tn_pooled_head tn_pooled_inform = {
    .name = "inform",
    .summary = "information bottleneck (InfoRM)",
    .algo = &tn_algo_inform,
    .extra = 1,
    .check = check,
    .params = params,
    .noise = latents,
    .forward = forward,
    .backward = backward,
    .fold = fold,
    .parts = parts,
};
