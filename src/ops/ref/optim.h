/* Reference optimiser operations. */

/* The constants of one AdamW step, rounded to the element once. */
typedef struct adam_consts { real keep, b1, a1, b2, a2, root, step, eps, gscale; } adam_consts;
static adam_consts adam_prepare(const tn_adamw *s) {
    double c1 = 1 - tn_pow(s->beta1, (double)s->step), c2 = 1 - tn_pow(s->beta2, (double)s->step);
    adam_consts c = {(real)(1 - s->lr * s->wd), (real)s->beta1, (real)(1 - s->beta1), (real)s->beta2,
                     (real)(1 - s->beta2), (real)sqrt(c2), (real)(s->lr / c1), (real)s->eps, (real)s->gscale};
    return c;
}

static void adam_block(const adam_consts *c, real *p, const real *g, real *m, real *v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        real gi = g[i] * c->gscale;
        m[i] = FMA(c->a1, gi - m[i], m[i]);
        v[i] = FMA(c->a2 * gi, gi, c->b2 * v[i]);
        p[i] = FMA(-c->step, m[i] / (SQRT(v[i]) / c->root + c->eps), p[i] * c->keep);
    }
}

/* ---- moments as they are kept (N9) ---- */

static uint32_t float_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}
static uint16_t round_nearest(real x) {
    uint32_t u = float_bits((float)x);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}
static uint16_t round_by_draw(real x, uint32_t h) { return (uint16_t)((float_bits((float)x) + (h >> 16)) >> 16); }
static real of_bf16(uint16_t h) {
    uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, 4);
    return x;
}

/* C times the root, cut at C. */
static real code_of(real root, real draw, real top) {
    real y = root * top + draw;
    return y < top ? y : top;
}
static float largest_root(const real *x, size_t n, bool root) {
    real s = 0;
    for (size_t i = 0; i < n; i++) {
        real a = root ? SQRT(x[i]) : (real)fabs(x[i]);
        if (a > s) s = a;
    }
    return (float)s;
}

static void read_m8(real *m, const uint8_t *kept, size_t n) {
    float s;
    memcpy(&s, kept, 4);
    for (size_t i = 0; i < n; i++) {
        real f = (real)(int8_t)kept[4 + i] * ((real)1 / 127);
        m[i] = (f * (real)fabs(f)) * (f * f) * s;
    }
}
static void read_v8(real *v, const uint8_t *kept, size_t n) {
    float s;
    memcpy(&s, kept, 4);
    for (size_t i = 0; i < n; i++) {
        real f = (real)kept[4 + i] * ((real)1 / 255), r = f * f * s;
        v[i] = r * r;
    }
}
static void keep_m8(uint8_t *kept, const real *m, size_t n, uint32_t key, uint32_t first) {
    float s = largest_root(m, n, false);
    real inv = 1 / (real)s;
    memcpy(kept, &s, 4);
    if (s == 0) memset(kept + 4, 0, n);
    for (size_t i = 0; i < n && s != 0; i++) {
        uint32_t h = tn_moment_draw(key, first + (uint32_t)i);
        real c = code_of(SQRT(SQRT((real)fabs(m[i]) * inv)), (real)(h & 0xffff) * (real)0x1p-16, 127);
        kept[4 + i] = (uint8_t)(int8_t)copysign(c, m[i]);
    }
}
static void keep_v8(uint8_t *kept, const real *v, size_t n, uint32_t key, uint32_t first) {
    float s = largest_root(v, n, true);
    real inv = 1 / (real)s;
    memcpy(kept, &s, 4);
    if (s == 0) memset(kept + 4, 0, n);
    for (size_t i = 0; i < n && s != 0; i++) {
        uint32_t h = tn_moment_draw(key, first + (uint32_t)i);
        real c = code_of(SQRT(SQRT(v[i]) * inv), (real)(h >> 16) * (real)0x1p-16, 255);
        kept[4 + i] = c < 1 ? 1 : (uint8_t)c;
    }
}

static void moments_read(tn_moment_kind k, real *m, real *v, const void *mk, const void *vk, size_t n) {
    const uint16_t *mh = mk, *vh = vk;
    if (k == TN_MOMENTS_FULL) memcpy(m, mk, n * sizeof *m), memcpy(v, vk, n * sizeof *v);
    if (k == TN_MOMENTS_8BIT) read_m8(m, mk, n), read_v8(v, vk, n);
    for (size_t i = 0; i < n && k == TN_MOMENTS_BF16; i++) m[i] = of_bf16(mh[i]), v[i] = of_bf16(vh[i]);
}
static void moments_keep(tn_moment_kind k, void *mk, void *vk, const real *m, const real *v, size_t n, uint32_t key,
                         uint32_t first) {
    uint16_t *mh = mk, *vh = vk;
    if (k == TN_MOMENTS_FULL) memcpy(mk, m, n * sizeof *m), memcpy(vk, v, n * sizeof *v);
    if (k == TN_MOMENTS_8BIT) keep_m8(mk, m, n, key, first), keep_v8(vk, v, n, key, first);
    for (size_t i = 0; i < n && k == TN_MOMENTS_BF16; i++) {
        mh[i] = round_nearest(m[i]);
        vh[i] = round_by_draw(v[i], tn_moment_draw(key, first + (uint32_t)i));
    }
}

static void ref_adamw(tn_backend *b, void *pv, const void *gv, void *mv, void *vv, size_t n, const tn_adamw *s) {
    real *p = pv, m[TN_MOMENT_BLOCK], v[TN_MOMENT_BLOCK];
    const real *g = gv;
    adam_consts c = adam_prepare(s);
    for (size_t at = 0; at < n; at += TN_MOMENT_BLOCK) {
        size_t len = n - at < TN_MOMENT_BLOCK ? n - at : TN_MOMENT_BLOCK;
        size_t byte = tn_moment_bytes(s->moments, at, sizeof *p);
        char *mk = (char *)mv + byte, *vk = (char *)vv + byte;
        moments_read(s->moments, m, v, mk, vk, len);
        adam_block(&c, p + at, g + at, m, v, len);
        moments_keep(s->moments, mk, vk, m, v, len, s->key, (uint32_t)(s->first + at));
    }
}

/* Each block: 16 double lanes and the tree of N4. */
static void ref_sumsq(tn_backend *b, const void *xv, size_t n, const uint8_t *live, double *block) {
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
