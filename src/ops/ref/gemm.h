/* Reference matrix products (N2, N3). Packed forms are plain copies of the master. */

/* acc and then the sum over i of x[i sx] y[i sy], in the order of the backend's profile */
static real more(const tn_backend *b, real acc, const real *x, size_t sx, const real *y, size_t sy, int k) {
#ifndef TN_REF64
    if (b->dtype == TN_BF16)
        return strcmp(b->profile, "bf16-dot32") == 0 ? tn_bf16_more_32(acc, x, sx, y, sy, k)
                                                     : tn_bf16_more_pair(acc, x, sx, y, sy, k);
#endif
    for (int i = 0; i < k; i++) acc = FMA(x[(size_t)i * sx], y[(size_t)i * sy], acc);
    return acc;
}
static real dot(const tn_backend *b, const real *x, size_t sx, const real *y, size_t sy, int k) {
    return more(b, 0, x, sx, y, sy, k);
}

static size_t ref_weight_bytes(const tn_backend *b, int out, int in) {
    return (size_t)out * (size_t)in * sizeof(real);
}

static void ref_weight_pack(tn_backend *b, const tn_weight *w) {
    memcpy(w->packed, w->master, ref_weight_bytes(b, w->out, w->in));
}

/* Where an operand of a product comes from: elements, or operand rows. */
typedef struct source { const void *p; bool operand; size_t ld; } source;
static real source_get(const tn_backend *b, source s, size_t i) {
    return s.operand ? operand(b, s.p, i) : ((const real *)s.p)[i];
}

/* acc and then the sum over i of x[x0 + i sx] y[y0 + i sy], in pieces after which the order goes on. */
static real more_of(const tn_backend *b, real acc, source x, size_t x0, size_t sx, source y, size_t y0, size_t sy, int k) {
    for (int j = 0; j < k; j += TN_KV_BLOCK) {
        real u[TN_KV_BLOCK], v[TN_KV_BLOCK];
        int n = k - j < TN_KV_BLOCK ? k - j : TN_KV_BLOCK;
        for (int i = 0; i < n; i++) {
            u[i] = source_get(b, x, x0 + (size_t)(j + i) * sx);
            v[i] = source_get(b, y, y0 + (size_t)(j + i) * sy);
        }
        acc = more(b, acc, u, 1, v, 1, n);
    }
    return acc;
}
static real dot_of(const tn_backend *b, source x, size_t x0, size_t sx, source y, size_t y0, size_t sy, int k) {
    return more_of(b, 0, x, x0, sx, y, y0, sy, k);
}

static void gemm_of(tn_backend *b, tn_mode mode, void *y, int ldy, source x, const tn_weight *w, const void *biasv, int T) {
    const real *bias = biasv;
    source m = {w->packed, false, (size_t)w->in};
    for (int t = 0; t < T; t++)
        for (int o = 0; o < w->out; o++) {
            real acc = dot_of(b, x, (size_t)t * x.ld, 1, m, (size_t)o * m.ld, 1, w->in);
            if (bias) acc = acc + bias[o];
            put(b, mode, y, (size_t)t * ldy + o, acc);
        }
}

static void gemm_dx_of(tn_backend *b, tn_mode mode, void *dx, int lddx, source dy, const tn_weight *w, int T) {
    source m = {w->packed, false, (size_t)w->in};
    for (int t = 0; t < T; t++)
        for (int i = 0; i < w->in; i++)
            put(b, mode, dx, (size_t)t * lddx + i, dot_of(b, dy, (size_t)t * dy.ld, 1, m, (size_t)i, m.ld, w->out));
}

static void gemm_dw_of(tn_backend *b, void *dwv, source dy, source x, int T, int out, int in) {
    real *dw = dwv;
    for (int o = 0; o < out; o++)
        for (int i = 0; i < in; i++) {
            real *at = dw + (size_t)o * in + i;
            *at = *at + dot_of(b, dy, (size_t)o, dy.ld, x, (size_t)i, x.ld, T);
        }
}

static source operands(const void *p, int ld) { return (source){p, true, (size_t)ld}; }
static source elements(const void *p, int ld) { return (source){p, false, (size_t)ld}; }

static void ref_gemm(tn_backend *b, tn_mode mode, void *y, int ldy, const void *x, int ldx, const tn_weight *w,
                     const void *bias, int T) {
    gemm_of(b, mode, y, ldy, operands(x, ldx), w, bias, T);
}
static void ref_gemm_dx(tn_backend *b, tn_mode mode, void *dx, int lddx, const void *dy, int lddy, const tn_weight *w,
                        int T) {
    gemm_dx_of(b, mode, dx, lddx, operands(dy, lddy), w, T);
}
static void ref_gemm_dw(tn_backend *b, void *dw, const void *dy, int lddy, const void *x, int ldx, int T, int out, int in) {
    gemm_dw_of(b, dw, operands(dy, lddy), operands(x, ldx), T, out, in);
}

/* db[j] = (..(db[j] + dy[0][j]) + dy[1][j]) + ... */
static void ref_bias_bwd(tn_backend *b, void *dbv, const void *dy, int ld, int T, int n) {
    real *db = dbv;
    for (int t = 0; t < T; t++)
        for (int j = 0; j < n; j++) db[j] = db[j] + operand(b, dy, (size_t)t * ld + j);
}

static void times(real *x, real s, int n) {
    for (int i = 0; i < n; i++) x[i] = x[i] * s;
}

/* u = s (x A^T); y_p = y_p + u_p B_p^T */
static void ref_lora(tn_backend *b, tn_mode mode, void *y, int ldy, void *u, const void *x, int ldx, const tn_lora *w,
                     int T) {
    int R = w->parts * w->rank, r = w->rank;
    gemm_of(b, TN_SET, u, R, operands(x, ldx), &w->a, NULL, T);
    times(u, (real)w->scale, T * R);
    for (int p = 0; y && p < w->parts; p++) {
        size_t size = mode == TN_ADD_ROUND ? b->operand : b->elem;
        gemm_of(b, mode, (char *)y + (size_t)w->col[p] * size, ldy, elements((real *)u + p * r, R), &w->b[p], NULL, T);
    }
}

/* v_p = s (dy_p B_p); dB_p += dy_p^T u_p; dA += v^T x; dx = dx + v A */
static void ref_lora_bwd(tn_backend *b, void *dx, int lddx, const tn_lora_grad *g, const void *dy, int lddy,
                         const void *u, void *v, const void *x, int ldx, const tn_lora *w, int T) {
    int R = w->parts * w->rank, r = w->rank;
    for (int p = 0; p < w->parts; p++) {
        source d = operands((const char *)dy + (size_t)w->col[p] * b->operand, lddy);
        gemm_dx_of(b, TN_SET, (real *)v + p * r, R, d, &w->b[p], T);
        if (g) gemm_dw_of(b, g->b[p], d, elements((const real *)u + p * r, R), T, w->b[p].out, r);
    }
    times(v, (real)w->scale, T * R);
    if (g) gemm_dw_of(b, g->a, elements(v, R), operands(x, ldx), T, R, w->a.in);
    if (dx) gemm_dx_of(b, TN_ADD, dx, lddx, elements(v, R), &w->a, T);
}
