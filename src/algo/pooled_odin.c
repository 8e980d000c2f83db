/* Two linear heads on one row, quality and length; formulas in pooled.h. The length head is thrown
 * away after training: RL uses the score alone. */
#include "algo/pooled.h"
#include "algo/obs.h"
#include <math.h>
#include <string.h>

static void forward(const void *opt, const tn_pooled *p, double *score, double *extra) {
    for (int i = 0; i < p->n; i++) {
        const double *e = p->x + (size_t)i * (size_t)p->width;
        score[i] = tn_pooled_dot(p->w, e, p->width);
        extra[i] = tn_pooled_dot(p->w + p->width, e, p->width);
    }
}

static void backward(const void *opt, const tn_pooled *p, const tn_pooled_grad *g) {
    for (int i = 0; i < p->n; i++)
        for (int j = 0; j < p->width; j++) {
            size_t at = (size_t)i * (size_t)p->width + (size_t)j;
            if (g->x) g->x[at] += g->score[i] * p->w[j] + g->extra[i] * p->w[p->width + j];
            if (!g->w) continue;
            g->w[j] += g->score[i] * p->x[at];
            g->w[p->width + j] += g->extra[i] * p->x[at];
        }
}

/* o = W_Q . W_L / (|W_Q| |W_L|) or without the norms; d |o| / d W_Q = sign(o) (W_L - o W_Q
 * |W_L|/|W_Q|) / (|W_Q| |W_L|). */
static double penalty(const void *opt, int width, const double *w, double *dw) {
    const tn_odin_opt *o = opt;
    bool normalise = o->form && strcmp(o->form, "code") == 0;
    const double *half[2] = {w, w + width};
    double norm[2], overlap = tn_pooled_dot(w, w + width, width), scale = 1;
    for (int h = 0; h < 2; h++)
        norm[h] = normalise ? sqrt(tn_pooled_dot(half[h], half[h], width)) : 1;
    if (norm[0] > 0 && norm[1] > 0) scale = 1 / (norm[0] * norm[1]);
    overlap *= scale;
    double side = overlap > 0 ? o->ortho : overlap < 0 ? -o->ortho : 0;
    for (int h = 0; dw && h < 2; h++)
        for (int j = 0; j < width; j++) {
            double d = half[1 - h][j] * scale;
            if (normalise && norm[h] > 0) d -= overlap * half[h][j] / (norm[h] * norm[h]);
            dw[h * width + j] += side * d;
        }
    return o->ortho * fabs(overlap);
}

static void fold(const void *opt, int width, const double *w, double *to) {
    (void)opt;
    memcpy(to, w, (size_t)width * sizeof *to);
}

static int parts(const void *opt, tn_pooled_part part[TN_POOLED_PARTS]) {
    (void)opt;
    part[0] = (tn_pooled_part){"quality", 1, 0};
    part[1] = (tn_pooled_part){"length", 1, 0};
    return 2;
}

static size_t params(const void *opt, int width) { return 2 * (size_t)width; }
static tn_status check(const void *opt, int width, tn_err *e) {
    if (width < 1) return tn_fail(e, TN_ARG, "odin: rows of width %d", width);
    return tn_opt_between(((const tn_odin_opt *)opt)->ortho, 0, HUGE_VAL, "odin", "ortho-weight",
                          e);
}

const tn_pooled_head tn_pooled_odin = {
    .name = "odin",
    .summary = "quality and length in two heads (ODIN)",
    .algo = &tn_algo_odin,
    .extra = 1,
    .check = check,
    .params = params,
    .forward = forward,
    .backward = backward,
    .penalty = penalty,
    .fold = fold,
    .parts = parts,
};
