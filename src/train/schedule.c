#include "train/schedule.h"
#include "base/mathx.h"
#include "base/rng.h"

double tn_schedule_factor(tn_schedule_kind k, long s, long warmup, long total, double floor) {
    if (s < warmup) return (double)s / (double)warmup;
    if (k == TN_SCHEDULE_CONSTANT) return 1.0;
    long span = total - warmup > 0 ? total - warmup : 1;
    double left = (double)(total - s) / (double)span; /* 1 -> 0 */
    if (left < 0) left = 0;
    double f =
        k == TN_SCHEDULE_LINEAR ? left : 0.5 * (1.0 + tn_cos(3.141592653589793 * (1.0 - left)));
    return floor + (1.0 - floor) * f;
}

/* MT19937 (Matsumoto & Nishimura 1998), seeded as torch's CPU generator does. */
typedef struct mt {
    uint32_t s[624];
    int i;
} mt;

static void mt_seed(mt *m, uint32_t seed) {
    m->s[0] = seed;
    for (uint32_t i = 1; i < 624; i++)
        m->s[i] = 1812433253u * (m->s[i - 1] ^ (m->s[i - 1] >> 30)) + i;
    m->i = 624;
}

static uint32_t mt_next(mt *m) {
    if (m->i == 624) {
        for (int k = 0; k < 624; k++) {
            uint32_t y = (m->s[k] & 0x80000000u) | (m->s[(k + 1) % 624] & 0x7fffffffu);
            m->s[k] = m->s[(k + 397) % 624] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
        }
        m->i = 0;
    }
    uint32_t y = m->s[m->i++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

void tn_order_epoch(tn_order_kind k, uint64_t seed, long epoch, uint32_t *order, size_t n) {
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    if (k == TN_ORDER_RANDOM) {
        tn_rng r = tn_rng_stream(seed, TN_RNG_ORDER, (uint64_t)epoch);
        tn_rng_shuffle(&r, order, n);
    } else if (k == TN_ORDER_TORCH) {
        mt m;
        mt_seed(&m, (uint32_t)(seed + (uint64_t)epoch));
        for (size_t i = 0; i + 1 < n; i++) {
            size_t z = i + mt_next(&m) % (n - i);
            uint32_t t = order[i];
            order[i] = order[z];
            order[z] = t;
        }
    }
}
