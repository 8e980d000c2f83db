/* Heads on pooled rows, with their own forward and backward: the contract, and two instances.
 *
 * A pooled row e [width] is the hidden state of a sequence's last token, widened to double. A head
 * maps it to a score (the number that RL uses) and to `extra` further numbers for the loss;
 * parameters are one flat array, widened likewise from where the trainer keeps them. Per micro-batch of a trainer:
 *   forward -> obs.score, extra -> tn_algo.step -> tn_grad.score, extra -> backward -> d e, d w
 * and penalty once a step. Rows are independent; everything is plain arithmetic in double in index
 * order, without memory of its own, so results do not depend on the batch or on threads over rows.
 *
 *   inform   information bottleneck (InfoRM, Miao et al. 2024, 2402.09345), k latents:
 *            w = [W_mu k x width | W_v k x width | d k];  mu = W_mu e, v = clamp(W_v e, +-10),
 *            z = mu + exp(v/2) eps in training, mu in evaluation;  score = d . z
 *            extra[0] = KL(N(mu, e^v) || N(0, 1)) = 1/2 sum_k (mu_k^2 + e^v_k - 1 - v_k)  (sum)
 *                       or of the means over k of mu and v                  (mean_first: the code)
 *   odin     two linear heads (Chen et al. 2024, 2402.07319): w = [W_Q width | W_L width];
 *            score = W_Q . e (quality), extra[0] = W_L . e (length);
 *            penalty = lambda_O |W_Q . W_L|, of the normalised heads in the authors' code
 *   ensemble  several linear heads, each on a resample of the data: pooled_many.c, with its loss
 * The losses on what the others give are inform.c and odin.c. */
#ifndef TN_ALGO_POOLED_H
#define TN_ALGO_POOLED_H
#include "algo/algo.h"

typedef struct tn_pooled {
    int n, width;
    const double *x;     /* [n][width] */
    const double *w;     /* [params] */
    const double *noise; /* [n][noise] draws of N(0, 1); NULL: evaluation */
} tn_pooled;
/* Of the loss with respect to everything; x and w are added to, NULL where not wanted. */
typedef struct tn_pooled_grad {
    const double *score; /* [n] d loss / d score */
    const double *extra; /* [n][extra] */
    double *x;           /* [n][width] */
    double *w;           /* [params] */
} tn_pooled_grad;

/* A matrix of the parameters, in their order; cols 0: width. */
typedef struct tn_pooled_part {
    const char *name;
    int rows, cols;
} tn_pooled_part;
enum { TN_POOLED_PARTS = 3 };

typedef struct tn_pooled_head {
    const char *name, *summary;
    const tn_algo *algo; /* the loss on its outputs; `opt` is the option struct of both */
    int extra;
    int (*extras)(const void *opt); /* the same where it depends on options; NULL: extra */
    tn_status (*check)(const void *opt, int width, tn_err *e);
    size_t (*params)(const void *opt, int width);
    int (*noise)(const void *opt); /* draws a row takes in training; NULL: none */
    void (*forward)(const void *opt, const tn_pooled *p, double *score, double *extra);
    void (*backward)(const void *opt, const tn_pooled *p, const tn_pooled_grad *g);
    /* A loss on the parameters alone, once a step; dw (or NULL) is added to. NULL: none. */
    double (*penalty)(const void *opt, int width, const double *w, double *dw);
    /* In evaluation every head here is linear: score = to . e, to[width]. */
    void (*fold)(const void *opt, int width, const double *w, double *to);
    int (*parts)(const void *opt, tn_pooled_part part[TN_POOLED_PARTS]);
} tn_pooled_head;
extern const tn_pooled_head tn_pooled_inform, tn_pooled_odin, tn_pooled_many;
const tn_pooled_head *tn_pooled_find(const char *name); /* NULL when there is none */

/* The draws of response `index` of the run: noise[n]. */
void tn_pooled_noise(uint64_t seed, uint64_t index, int n, double *noise);
/* The loss's side: extra and its count are there and finite. */
tn_status tn_extra_check(const tn_obs *x, int n_extra, const char *who, tn_err *e);

typedef struct tn_inform_opt {
    int64_t latents;
    double beta;
    const char *kl;   /* sum | mean_first */
} tn_inform_opt;
typedef struct tn_odin_opt {
    double length;    /* lambda_L */
    double ortho;     /* lambda_O */
    const char *form; /* paper | code */
} tn_odin_opt;
typedef struct tn_many_opt {
    int64_t heads;
    uint64_t seed; /* of the resamples; no option */
} tn_many_opt;
extern const tn_opt_row tn_inform_rows[], tn_odin_rows[], tn_many_rows[];
/* mu of one row e: what outliers are looked for in (latent.h); mu[latents]. */
void tn_inform_latent(const void *opt, int width, const double *w, const double *e, double *mu);

static inline int tn_pooled_extra(const tn_pooled_head *h, const void *opt) {
    return h->extras ? h->extras(opt) : h->extra;
}
static inline double tn_pooled_dot(const double *a, const double *b, int n) {
    double sum = 0;
    for (int j = 0; j < n; j++) sum += a[j] * b[j];
    return sum;
}
#endif
