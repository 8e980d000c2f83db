/* Rows of the head, written once over a vector of 16 floats that the including file defines:
 *   v16, LOAD(p), STORE(p, v), SET(x), ADD SUB MUL MAX (a, b), FMA(a, b, c), EXP(v), LOG(v),
 *   FIRST(n, a, b): lanes below n from a, the others from b,
 * and a name suffix HEAD(name). Lanes are N4's lanes.                                        */
#include "ops/cpu/head.h"
#include "ops/expf.h"
#include <math.h>
#include <string.h>

/* Up to 16 floats; the other lanes are copies of the first, so that no result becomes special. */
static inline v16 load_some(const float *p, int n) {
    if (n >= 16) return LOAD(p);
    float part[16];
    for (int i = 0; i < 16; i++) part[i] = p[i < n ? i : 0];
    return LOAD(part);
}

static inline void store_some(float *p, v16 v, int n) {
    if (n >= 16) {
        STORE(p, v);
        return;
    }
    float part[16];
    STORE(part, v);
    memcpy(p, part, (size_t)n * sizeof *p);
}

static inline float lanes_sum(v16 v) {
    float p[16];
    STORE(p, v);
    for (int w = 8; w > 0; w /= 2)
        for (int l = 0; l < w; l++) p[l] = p[l] + p[l + w];
    return p[0];
}

static inline float lanes_max(v16 v) {
    float p[16];
    STORE(p, v);
    for (int w = 8; w > 0; w /= 2)
        for (int l = 0; l < w; l++) p[l] = p[l] > p[l + w] ? p[l] : p[l + w];
    return p[0];
}

/* First column whose z is m; by sixteens, which compilers vectorise, then within one. */
static inline int first_of(const float *a, int n, float temp, float m) {
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        int any = 0;
        for (int j = 0; j < 16; j++) any |= a[i + j] * temp == m;
        if (any) break;
    }
    while (i < n - 1 && a[i] * temp != m) i++;
    return i;
}

/* N8's q_t; apart from the other sums, which need not pay for it. */
static inline float squares(const float *a, int n, v16 t, v16 m) {
    v16 q = SET(0);
    for (int i = 0; i < n; i += 16) {
        v16 e = EXP(SUB(MUL(load_some(a + i, n - i), t), m));
        q = FIRST(n - i, FMA(e, e, q), q);
    }
    return lanes_sum(q);
}

static void HEAD(stats)(const float *a, int n, float temp, const tn_stats *out, int r) {
    v16 t = SET(temp), sum = SET(0), top = SET(a[0] * temp), s = SET(0), w = SET(0);
    for (int i = 0; i < n; i += 16) {
        v16 x = load_some(a + i, n - i);
        top = MAX(top, MUL(x, t));
        sum = FIRST(n - i, ADD(sum, x), sum);
    }
    float m = lanes_max(top);
    v16 mv = SET(m);
    for (int i = 0; i < n; i += 16) {
        v16 z = MUL(load_some(a + i, n - i), t), e = EXP(SUB(z, mv));
        s = FIRST(n - i, ADD(s, e), s);
        w = FIRST(n - i, FMA(e, z, w), w);
    }
    out->m[r] = m;
    out->a[r] = lanes_sum(sum);
    out->s[r] = lanes_sum(s);
    out->w[r] = lanes_sum(w);
    if (out->q) out->q[r] = squares(a, n, t, mv);
    if (out->best) out->best[r] = first_of(a, n, temp, m);
}

static void HEAD(merge)(const tn_stats *x, const tn_stats *t, int n) {
    for (int r = 0; x->best && r < n; r++)
        if (t->m[r] > x->m[r]) x->best[r] = t->best[r];
    for (int r = 0; r < n; r += 16) {
        v16 xm = LOAD(x->m + r), tm = LOAD(t->m + r), m = MAX(xm, tm);
        v16 c = EXP(SUB(xm, m)), ct = EXP(SUB(tm, m));
        STORE(x->s + r, FMA(LOAD(t->s + r), ct, MUL(LOAD(x->s + r), c)));
        STORE(x->w + r, FMA(LOAD(t->w + r), ct, MUL(LOAD(x->w + r), c)));
        STORE(x->a + r, ADD(LOAD(x->a + r), LOAD(t->a + r)));
        if (x->q) STORE(x->q + r, FMA(LOAD(t->q + r), MUL(ct, ct), MUL(LOAD(x->q + r), MUL(c, c))));
        STORE(x->m + r, m);
    }
}

/* n of N10: the mixture's log-probs. */
static inline v16 mixture(v16 u, v16 w, float beta) {
    v16 t = MAX(u, w), rest = MUL(SET(1 - beta), EXP(SUB(u, t)));
    return ADD(t, LOG(FMA(SET(beta), EXP(SUB(w, t)), rest)));
}

/* p g and N10's s: dz over the temperature, but for what the target adds. `second` NULL: y says nothing. */
static inline v16 share(const tn_dz *d, v16 a, bool second, v16 y) {
    v16 temp = SET(d->temp), u = SUB(MUL(a, temp), SET(d->lse)), p = EXP(u), g = SET(d->c);
    if (d->with_entropy) g = SUB(g, MUL(SET(d->d_entropy), ADD(u, SET(d->entropy))));
    if (!second) return MUL(p, g);
    v16 w = SUB(MUL(y, temp), SET(d->lse2));
    if (d->with_kl) g = ADD(g, MUL(SET(d->d_kl), SUB(SUB(u, w), SET(d->kl))));
    if (d->with_jsd) g = ADD(g, MUL(SET(d->d_mix), SUB(SUB(u, mixture(u, w, d->beta)), SET(d->kl_mix))));
    if (!d->with_rkl) return MUL(p, g);
    v16 rkl = SET(d->d_rkl);
    return SUB(MUL(p, ADD(g, rkl)), MUL(rkl, EXP(w)));
}

static void HEAD(dz)(float *a, const float *second, int n, const tn_dz *given, int target) {
    const tn_dz d = *given; /* no store to `a` changes it */
    float at[16] = {0};
    bool here = target >= 0 && target < n;
    if (here) STORE(at, share(&d, SET(a[target]), second != NULL, SET(second ? second[target] : 0)));
    for (int i = 0; i < n; i += 16) {
        v16 x = load_some(a + i, n - i), y = second ? load_some(second + i, n - i) : x;
        store_some(a + i, MUL(share(&d, x, second != NULL, y), SET(d.temp)), n - i);
    }
    if (!here) return;
    float q = at[0] + d.d_logp;
    a[target] = q * d.temp;
}

static void HEAD(pair)(const float *a, const float *second, int n, const tn_pair_row *d, float sum[4]) {
    v16 temp = SET(d->temp), lse = SET(d->lse), lse2 = SET(d->lse2);
    v16 k = SET(0), r = k, m = k, y = k;
    for (int i = 0; i < n; i += 16) {
        v16 u = SUB(MUL(load_some(a + i, n - i), temp), lse), p = EXP(u);
        v16 w = SUB(MUL(load_some(second + i, n - i), temp), lse2), q = EXP(w);
        k = FIRST(n - i, FMA(p, SUB(u, w), k), k);
        r = FIRST(n - i, FMA(q, SUB(w, u), r), r);
        if (!d->with_mix) continue;
        v16 mix = mixture(u, w, d->beta);
        m = FIRST(n - i, FMA(p, SUB(u, mix), m), m);
        y = FIRST(n - i, FMA(q, SUB(w, mix), y), y);
    }
    sum[0] = sum[0] + lanes_sum(k);
    sum[1] = sum[1] + lanes_sum(r);
    sum[2] = sum[2] + lanes_sum(m);
    sum[3] = sum[3] + lanes_sum(y);
}

static void HEAD(scale)(float *z, const float *a, int n, float temp) {
    for (int i = 0; i < n; i++) z[i] = a[i] * temp;
}

const tn_head_rows HEAD(tn_head) = {HEAD(stats), HEAD(merge), HEAD(dz), HEAD(scale), HEAD(pair)};
