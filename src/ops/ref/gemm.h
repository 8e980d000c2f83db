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
    size_t bytes = ref_weight_bytes(b, w->out, w->in);
    memcpy(w->packed, w->master, bytes);
    if (w->packed_t) memcpy(w->packed_t, w->master, bytes);
}

static void ref_gemm(tn_backend *b, tn_mode mode, void *yv, int ldy, const void *xv, int ldx,
                     const tn_weight *w, const void *biasv, int T) {
    real *y = yv;
    const real *x = xv, *m = w->packed, *bias = biasv;
    for (int t = 0; t < T; t++)
        for (int o = 0; o < w->out; o++) {
            real acc = dot(b, x + (size_t)t * ldx, 1, m + (size_t)o * w->in, 1, w->in);
            real *at = y + (size_t)t * ldy + o;
            if (bias) acc = acc + bias[o];
            *at = put(mode, *at, acc);
        }
}

static void ref_gemm_dx(tn_backend *b, tn_mode mode, void *dxv, int lddx, const void *dyv, int lddy,
                        const tn_weight *w, int T) {
    real *dx = dxv;
    const real *dy = dyv, *m = w->packed_t;
    for (int t = 0; t < T; t++)
        for (int i = 0; i < w->in; i++) {
            real acc = dot(b, dy + (size_t)t * lddy, 1, m + i, w->in, w->out);
            real *at = dx + (size_t)t * lddx + i;
            *at = put(mode, *at, acc);
        }
}

static void ref_gemm_dw(tn_backend *b, void *dwv, const void *dyv, int lddy, const void *xv, int ldx,
                        int T, int out, int in) {
    real *dw = dwv;
    const real *dy = dyv, *x = xv;
    for (int o = 0; o < out; o++)
        for (int i = 0; i < in; i++) {
            real *at = dw + (size_t)o * in + i;
            *at = *at + dot(b, dy + o, lddy, x + i, ldx, T);
        }
}

/* db[j] = (..(db[j] + dy[0][j]) + dy[1][j]) + ... */
static void ref_bias_bwd(tn_backend *b, void *dbv, const void *dyv, int ld, int T, int n) {
    real *db = dbv;
    const real *dy = dyv;
    for (int t = 0; t < T; t++)
        for (int j = 0; j < n; j++) db[j] = db[j] + dy[(size_t)t * ld + j];
}

/* u = s (x A^T); y_p = y_p + u_p B_p^T */
static void ref_lora(tn_backend *b, void *yv, int ldy, void *uv, const void *xv, int ldx,
                     const tn_lora *w, int T) {
    real *y = yv, *u = uv, s = (real)w->scale;
    const real *x = xv, *A = w->a.packed;
    int R = w->parts * w->rank, D = w->a.in, r = w->rank;
    for (int t = 0; t < T; t++) {
        real *ut = u + (size_t)t * R;
        for (int j = 0; j < R; j++) ut[j] = dot(b, x + (size_t)t * ldx, 1, A + (size_t)j * D, 1, D) * s;
        for (int p = 0; y && p < w->parts; p++) {
            real *yt = y + (size_t)t * ldy + w->col[p];
            const real *B = w->b[p].packed;
            for (int o = 0; o < w->b[p].out; o++)
                yt[o] = put(TN_ADD_NONZERO, yt[o], dot(b, ut + p * r, 1, B + (size_t)o * r, 1, r));
        }
    }
}

/* v_p = s (dy_p B_p); dB_p += dy_p^T u_p; dA += v^T x; dx = dx + v A */
static void ref_lora_bwd(tn_backend *b, void *dxv, int lddx, const tn_lora_grad *g, const void *dyv,
                         int lddy, const void *uv, void *vv, const void *xv, int ldx,
                         const tn_lora *w, int T) {
    real *dx = dxv, *v = vv, s = (real)w->scale;
    const real *dy = dyv, *u = uv, *A = w->a.packed_t;
    int R = w->parts * w->rank, D = w->a.in, r = w->rank;
    for (int p = 0; p < w->parts; p++) {
        const real *B = w->b[p].packed_t, *d = dy + w->col[p];
        int out = w->b[p].out;
        for (int t = 0; t < T; t++)
            for (int j = 0; j < r; j++)
                v[(size_t)t * R + p * r + j] = dot(b, d + (size_t)t * lddy, 1, B + j, r, out) * s;
        if (g) ref_gemm_dw(b, g->b[p], d, lddy, u + p * r, R, T, out, r);
    }
    if (g) ref_gemm_dw(b, g->a, v, R, xv, ldx, T, R, D);
    for (int t = 0; dx && t < T; t++)
        for (int i = 0; i < D; i++) {
            real *at = dx + (size_t)t * lddx + i;
            *at = *at + dot(b, v + (size_t)t * R, 1, A + i, D, R);
        }
}
