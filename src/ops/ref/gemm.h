/* Reference matrix products (N2, N3). Packed forms are plain copies of the master. */

/* sum over i of a[i sa] b[i sb] in the order of the backend's profile */
static real dot(const tn_backend *b, const real *x, size_t sx, const real *y, size_t sy, int k) {
#ifndef TN_REF64
    if (b->dtype == TN_BF16)
        return strcmp(b->profile, "bf16-dot32") == 0 ? tn_bf16_dot_32(x, sx, y, sy, k)
                                                     : tn_bf16_dot_pair(x, sx, y, sy, k);
#endif
    real acc = 0;
    for (int i = 0; i < k; i++) acc = FMA(x[(size_t)i * sx], y[(size_t)i * sy], acc);
    return acc;
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
            *at = mode == TN_ADD ? *at + acc : acc;
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
            *at = mode == TN_ADD ? *at + acc : acc;
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
