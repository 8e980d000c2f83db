/* Reference optimiser operations. */

/* The constants of one AdamW step, rounded to the element once. */
typedef struct adam_consts { real keep, b1, a1, b2, a2, root, step, eps, gscale; } adam_consts;
static adam_consts adam_prepare(double lr, double beta1, double beta2, double eps, double wd, long step,
                                double gscale) {
    double c1 = 1 - tn_pow(beta1, (double)step), c2 = 1 - tn_pow(beta2, (double)step);
    adam_consts c = {(real)(1 - lr * wd), (real)beta1, (real)(1 - beta1), (real)beta2, (real)(1 - beta2),
                     (real)sqrt(c2), (real)(lr / c1), (real)eps, (real)gscale};
    return c;
}

/* g = g gscale;  m = fma(1-b1, g - m, m);  v = fma((1-b2) g, g, b2 v);
 * p = fma(-lr/bc1, m / (sqrt(v)/sqrt(bc2) + eps), p (1 - lr wd)) */
static void ref_adamw(tn_backend *b, void *pv, const void *gv, void *mv, void *vv, size_t n, double lr,
                      double beta1, double beta2, double eps, double wd, long step, double gscale) {
    real *p = pv, *m = mv, *v = vv;
    const real *g = gv;
    adam_consts c = adam_prepare(lr, beta1, beta2, eps, wd, step, gscale);
    for (size_t i = 0; i < n; i++) {
        real gi = g[i] * c.gscale;
        m[i] = FMA(c.a1, gi - m[i], m[i]);
        v[i] = FMA(c.a2 * gi, gi, c.b2 * v[i]);
        p[i] = FMA(-c.step, m[i] / (SQRT(v[i]) / c.root + c.eps), p[i] * c.keep);
    }
}

/* Each block: 16 double lanes and the tree of N4. */
static void ref_sumsq(tn_backend *b, const void *xv, size_t n, double *block) {
    const real *x = xv;
    for (size_t at = 0; at < n; at += TN_NORM_BLOCK) {
        size_t len = n - at < TN_NORM_BLOCK ? n - at : TN_NORM_BLOCK;
        double p[LANES] = {0};
        for (size_t i = 0; i < len; i++) p[i % LANES] = fma((double)x[at + i], (double)x[at + i], p[i % LANES]);
        for (int w = LANES / 2; w > 0; w /= 2)
            for (int l = 0; l < w; l++) p[l] = p[l] + p[l + w];
        block[at / TN_NORM_BLOCK] = p[0];
    }
}

static bool ref_finite(tn_backend *b, const void *xv, size_t n) {
    const real *x = xv;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}
