/* Reference row operations. The formulas below, with their FMAs, are the definition of the bits. */

static void ref_embed(tn_backend *b, void *yv, const void *table, bool half, const int32_t *ids, int T, int D) {
    real *y = yv;
    const real *e = table;
    const uint16_t *h = table;
    for (int t = 0; t < T; t++)
        for (int i = 0; i < D; i++) {
            size_t at = (size_t)ids[t] * D + i;
            y[(size_t)t * D + i] = half ? tn_bf16_float(h[at]) : e[at];
        }
}

static void ref_embed_bwd(tn_backend *b, void *dtable, const void *dyv, const int32_t *ids, int T, int D) {
    real *de = dtable;
    const real *dy = dyv;
    for (int t = 0; t < T; t++)
        for (int i = 0; i < D; i++) {
            real *at = de + (size_t)ids[t] * D + i;
            *at = *at + dy[(size_t)t * D + i];
        }
}

/* rstd = 1 / sqrt(sum x^2 / n + eps);  y = (x rstd) w */
static void ref_rms_norm(tn_backend *b, tn_mode mode, void *y, int ldy, void *rstdv, const void *xv, int ldx,
                         const void *wv, int T, int groups, int n, double eps) {
    real *rstd = rstdv;
    const real *w = wv;
    for (int t = 0; t < T; t++)
        for (int g = 0; g < groups; g++) {
            const real *x = (const real *)xv + (size_t)t * ldx + (size_t)g * n;
            real r = 1 / SQRT(row_dot(x, x, n) / (real)n + (real)eps);
            if (rstd) rstd[(size_t)t * groups + g] = r;
            for (int i = 0; i < n; i++) put(b, mode, y, (size_t)t * ldy + (size_t)g * n + i, x[i] * r * w[i]);
        }
}

/* h = x rstd, u = dy w, c = (sum u h) / n;  dx = rstd (u - h c);  dw = fma(dy, h, dw), rows ascending */
static void ref_rms_norm_bwd(tn_backend *b, tn_mode mode, void *dxv, int lddx, void *dwv,
                             const void *dyv, int lddy, const void *xv, int ldx, const void *rstdv,
                             const void *wv, int T, int groups, int n) {
    real *dw = dwv;
    const real *w = wv, *rstd = rstdv;
    for (int t = 0; t < T; t++)
        for (int g = 0; g < groups; g++) {
            const real *x = (const real *)xv + (size_t)t * ldx + (size_t)g * n;
            const real *dy = (const real *)dyv + (size_t)t * lddy + (size_t)g * n;
            real *dx = (real *)dxv + (size_t)t * lddx + (size_t)g * n;
            real r = rstd[(size_t)t * groups + g], p[LANES] = {0};
            for (int i = 0; i < n; i++) {
                real h = x[i] * r, u = dy[i] * w[i];
                p[i % LANES] = FMA(u, h, p[i % LANES]);
                if (dw) dw[i] = FMA(dy[i], h, dw[i]);
            }
            real c = lanes_sum(p) / (real)n;
            for (int i = 0; i < n; i++) {
                real h = x[i] * r, u = dy[i] * w[i], d = r * FMA(-h, c, u);
                dx[i] = mode == TN_ADD ? dx[i] + d : d;
            }
        }
}

/* (x0, x1) -> (x0 c - x1 s, x1 c + x0 s), s times sign */
static void ref_rope(tn_backend *b, tn_mode mode, void *y, int ldy, const void *xv, int ldx, const int32_t *pos,
                     const void *cosv, const void *sinv, int T, int heads, int rest, int d, int d_rot, int sign) {
    int half = d_rot / 2;
    for (int t = 0; t < T; t++) {
        const real *x = (const real *)xv + (size_t)t * ldx;
        const real *c = (const real *)cosv + (size_t)pos[t] * half;
        const real *s = (const real *)sinv + (size_t)pos[t] * half;
        for (int h = 0; h < heads + rest; h++, x += d) {
            size_t at = (size_t)t * ldy + (size_t)h * d;
            int turn = h < heads ? half : 0;
            for (int i = 0; i < turn; i++) {
                real si = sign < 0 ? -s[i] : s[i], x0 = x[i], x1 = x[i + half];
                put(b, mode, y, at + i, FMA(x0, c[i], -(x1 * si)));
                put(b, mode, y, at + i + half, FMA(x1, c[i], x0 * si));
            }
            for (int i = 2 * turn; i < d; i++) put(b, mode, y, at + i, x[i]);
        }
    }
}

static void ref_round(tn_backend *b, void *y, const void *x, size_t n) {
    for (size_t i = 0; i < n; i++) operand_put(b, y, i, ((const real *)x)[i]);
}

/* s of act(x) = x s:  silu 1/(1 + e^-x);  gelu_tanh 1/(1 + e^-v), v = 2 sqrt(2/pi) (x + 0.044715 x^3) */
#define GELU_A ((real)1.5957691216057308)
#define GELU_B ((real)0.071354816272600248) /* A * 0.044715 */
static inline real act_sigmoid(tn_act act, real x) {
    real v = act == TN_SILU ? x : x * FMA(GELU_B, x * x, GELU_A);
    return 1 / (1 + EXP(-v));
}

/* dact/dx = s + x s (1 - s) dv/dx */
static inline real act_slope(tn_act act, real x, real s) {
    real a = x * s, k = 1 - s;
    if (act == TN_GELU_TANH) k = k * FMA(3 * GELU_B, x * x, GELU_A);
    return FMA(a, k, s);
}

static void ref_act_gate(tn_backend *b, tn_act act, void *h, const void *gu, int T, int F) {
    for (int t = 0; t < T; t++)
        for (int i = 0; i < F; i++) {
            size_t at = (size_t)t * 2 * F + i;
            real g = operand(b, gu, at), u = operand(b, gu, at + F);
            operand_put(b, h, (size_t)t * F + i, g * act_sigmoid(act, g) * u);
        }
}

static void ref_act_gate_bwd(tn_backend *b, tn_act act, void *dgu, const void *dhv, const void *gu, int T, int F) {
    const real *dh = dhv;
    for (int t = 0; t < T; t++)
        for (int i = 0; i < F; i++) {
            size_t at = (size_t)t * 2 * F + i;
            real g = operand(b, gu, at), u = operand(b, gu, at + F), d = dh[(size_t)t * F + i], s = act_sigmoid(act, g);
            operand_put(b, dgu, at, d * u * act_slope(act, g, s));
            operand_put(b, dgu, at + F, d * (g * s));
        }
}

static void ref_gather(tn_backend *b, void *y, const void *x, int ld, const int32_t *rows, int R, int D, size_t bytes) {
    size_t row = (size_t)D * bytes;
    for (int r = 0; r < R; r++) memcpy((char *)y + (size_t)r * row, (const char *)x + (size_t)rows[r] * ld * bytes, row);
}

static void ref_scatter_add(tn_backend *b, void *xv, int ld, const void *yv, const int32_t *rows,
                            int R, int D) {
    for (int r = 0; r < R; r++) {
        real *x = (real *)xv + (size_t)rows[r] * ld;
        const real *y = (const real *)yv + (size_t)r * D;
        for (int i = 0; i < D; i++) x[i] = x[i] + y[i];
    }
}

static void ref_spread(tn_backend *b, void *xv, const int32_t *rows, int R, int T, int D) {
    size_t row = (size_t)D * sizeof(real);
    char *x = xv;
    for (int t = T - 1, i = R - 1; t >= 0; t--) {
        if (i >= 0 && rows[i] == t) memmove(x + (size_t)t * row, x + (size_t)i-- * row, row);
        else memset(x + (size_t)t * row, 0, row);
    }
}

static void ref_add(tn_backend *b, void *yv, const void *xv, size_t n) {
    real *y = yv;
    const real *x = xv;
    for (size_t i = 0; i < n; i++) y[i] = y[i] + x[i];
}

static void ref_scale(tn_backend *b, void *yv, double s, size_t n) {
    real *y = yv;
    for (size_t i = 0; i < n; i++) y[i] = y[i] * (real)s;
}

static void ref_rowdot(tn_backend *b, double *out, const void *xv, const void *w, int R, int D) {
    for (int r = 0; r < R; r++) out[r] = row_dot((const real *)xv + (size_t)r * D, w, D);
}

static void ref_rowdot_bwd(tn_backend *b, void *dxv, void *dwv, const double *d_out, const void *xv,
                           const void *wv, int R, int D) {
    real *dw = dwv;
    const real *w = wv;
    for (int r = 0; r < R; r++) {
        const real *x = (const real *)xv + (size_t)r * D;
        real *dx = (real *)dxv + (size_t)r * D, d = (real)d_out[r];
        for (int i = 0; i < D; i++) {
            dw[i] = FMA(d, x[i], dw[i]);
            dx[i] = d * w[i];
        }
    }
}
