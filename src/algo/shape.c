/* The table of reward shapings; r the score, r_m the n_ref reference scores of its prompt, s the
 * logistic function:
 *
 *   par           mean_m s(k (r - r_m))            Fu et al. 2025, 2502.18770: bounded, steep first
 *   sgfc          mean_m s(k (r - 3 - r_m))        steep late
 *   tanh_centred  mean_m tanh(k (r - r_m))         centred: mean_m (r - r_m)
 *   sigmoid       s(k r)                           tanh: tanh(k r)
 *   lsc           log s(r - q), q = mean + z(p) (std + 1e-5) of r_m, ddof 1   2402.00742
 *   minmax        (r - lo)/(hi - lo)               running; 0 while hi = lo
 *   meanstd       (r - mean)/std                   running, ddof 0; 0 while std = 0
 *   clip          r cut to mean +- std             running */
#include "algo/shape.h"
#include "algo/obs.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_shape_opt, f)
const tn_opt_row tn_shape_rows[] = {
    {"reward-shaping", TN_OPT_CHOICE, AT(shape), "none",
     "none|par|sgfc|tanh_centred|centred|sigmoid|tanh|lsc|minmax|meanstd|clip", 0, 0, NULL, NULL,
     "What is made of a score before training. par, sgfc, tanh_centred, centred and lsc compare it "
     "with scores of the SFT model's answers to the same prompt; minmax, meanstd and clip with all "
     "scores so far. Bounded shapings want a smaller kl-coef."},
    {"shaping-slope", TN_OPT_REAL, AT(k), "1", NULL, 1e-9, 1e9, NULL, "K",
     "Factor inside sigmoid and tanh."},
    {"reward-ceil", TN_OPT_REAL, AT(ceil), NULL, NULL, 0, 0, NULL, "X",
     "Scores above X count as X, before any shaping; off when absent."},
    {"length-penalty", TN_OPT_REAL, AT(length_price), "0", NULL, 0, 1e9, NULL, "X",
     "Taken off the score for every token beyond length-penalty-free (0.01 in PAR's code)."},
    {"length-penalty-free", TN_OPT_REAL, AT(length_free), "300", NULL, 0, 1e9, NULL, "N",
     "Tokens of a response without that penalty."},
    {"lsc-percentile", TN_OPT_REAL, AT(percentile), "0.85", NULL, 0.01, 0.99, NULL, "P",
     "lsc: quantile of the reference scores, taken as normal, that a score is compared with."},
    TN_OPT_LAST,
};

typedef struct at { /* what a map reads */
    const tn_shape_opt *o;
    const tn_shape_state *st;
    const double *ref;
    int n_ref;
    double z; /* lsc */
} at;
typedef double map_fn(const at *c, double r, double *slope);

static double logistic(double x, double k, double *slope) {
    double p = tn_sigmoid(k * x);
    *slope = k * p * tn_sigmoid(-k * x);
    return p;
}
static double tangent(double x, double k, double *slope) {
    double y = tn_tanh(k * x);
    *slope = k * (1 - y * y);
    return y;
}
/* mean_m f(r - shift - r_m) */
static double centred(const at *c, double r, double shift, double (*f)(double, double, double *),
                      double *slope) {
    double sum = 0, d, s = 0;
    for (int m = 0; m < c->n_ref; m++) sum += f(r - shift - c->ref[m], c->o->k, &d), s += d;
    *slope = s / c->n_ref;
    return sum / c->n_ref;
}
static double plain(double x, double k, double *slope) { return *slope = 1, x; }

static double none(const at *c, double r, double *s) { return plain(r, 1, s); }
static double par(const at *c, double r, double *s) { return centred(c, r, 0, logistic, s); }
static double sgfc(const at *c, double r, double *s) { return centred(c, r, 3, logistic, s); }
static double tanh_centred(const at *c, double r, double *s) {
    return centred(c, r, 0, tangent, s);
}
static double difference(const at *c, double r, double *s) { return centred(c, r, 0, plain, s); }
static double sigmoid(const at *c, double r, double *s) { return logistic(r, c->o->k, s); }
static double tanh_plain(const at *c, double r, double *s) { return tangent(r, c->o->k, s); }

static double lsc(const at *c, double r, double *slope) {
    tn_moments m = {0};
    tn_moments_add(&m, c->ref, c->n_ref);
    double x = r - m.mean - c->z * (sqrt(tn_moments_var(&m, 1)) + 1e-5);
    *slope = tn_sigmoid(-x);
    return tn_logsigmoid(x);
}

static double minmax(const at *c, double r, double *slope) {
    double range = c->st->hi - c->st->lo;
    *slope = range > 0 ? 1 / range : 0;
    return (r - c->st->lo) * *slope;
}
static double meanstd(const at *c, double r, double *slope) {
    double std = sqrt(tn_moments_var(&c->st->seen, 0));
    *slope = std > 0 ? 1 / std : 0;
    return (r - c->st->seen.mean) * *slope;
}
static double clip(const at *c, double r, double *slope) {
    double std = sqrt(tn_moments_var(&c->st->seen, 0)), mean = c->st->seen.mean;
    *slope = r >= mean - std && r <= mean + std;
    return *slope > 0 ? r : r > mean ? mean + std : mean - std;
}

static const struct shaping {
    const char *name;
    int references; /* at least, of every prompt */
    map_fn *map;
} shapings[] = {
    {"none", 0, none},          {"par", 1, par},
    {"sgfc", 1, sgfc},          {"tanh_centred", 1, tanh_centred},
    {"centred", 1, difference}, {"sigmoid", 0, sigmoid},
    {"tanh", 0, tanh_plain},    {"lsc", 2, lsc},
    {"minmax", 0, minmax},      {"meanstd", 0, meanstd},
    {"clip", 0, clip},
};

static const struct shaping *find(const char *name) {
    for (size_t i = 0; i < sizeof shapings / sizeof *shapings; i++)
        if (strcmp(shapings[i].name, name ? name : "none") == 0) return &shapings[i];
    return NULL;
}

tn_status tn_shape_check(const tn_shape_opt *o, bool *references, tn_err *e) {
    const struct shaping *s = find(o->shape);
    if (!s) return tn_fail(e, TN_ARG, "reward-shaping: no shaping '%s'; see --help", o->shape);
    TN_TRY(tn_opt_between(o->k, 1e-300, HUGE_VAL, "shaping", "shaping-slope", e));
    TN_TRY(tn_opt_between(o->length_price, 0, HUGE_VAL, "shaping", "length-penalty", e));
    TN_TRY(tn_opt_between(o->percentile, 1e-3, 1 - 1e-3, "shaping", "lsc-percentile", e));
    *references = s->references > 0;
    return TN_OK;
}

/* Quantile of N(0, 1), by halving. */
static double normal_quantile(double p) {
    double lo = -10, hi = 10;
    for (int i = 0; i < 64; i++) {
        double mid = 0.5 * (lo + hi);
        if (0.5 * (1 + tn_erf(mid * 0.70710678118654752)) < p)
            lo = mid;
        else
            hi = mid;
    }
    return 0.5 * (lo + hi);
}

static tn_status before(const tn_shape_opt *o, const double *length, double *reward, int n,
                        tn_err *e) {
    if (o->length_price > 0 && !length)
        return tn_fail(e, TN_ARG, "shaping: length-penalty without the responses' lengths");
    for (int i = 0; i < n; i++) {
        if (!isfinite(reward[i]))
            return tn_fail(e, TN_NUMERIC,
                           "shaping: score of response %d is %g, expected a finite number", i,
                           reward[i]);
        if (reward[i] > o->ceil) reward[i] = o->ceil;
        if (o->length_price > 0 && length[i] > o->length_free)
            reward[i] -= o->length_price * (length[i] - o->length_free);
    }
    return TN_OK;
}

static void see(tn_shape_state *st, const double *reward, int n) {
    for (int i = 0; i < n; i++) {
        if (i == 0 && st->seen.count == 0) st->lo = st->hi = reward[0];
        if (reward[i] < st->lo) st->lo = reward[i];
        if (reward[i] > st->hi) st->hi = reward[i];
    }
    tn_moments_add(&st->seen, reward, n);
}

tn_status tn_shape_rewards(const tn_shape_opt *o, tn_shape_state *st, const double *ref, int n_ref,
                           const double *length, double *reward, int n, double *slope, tn_err *e) {
    bool references;
    TN_TRY(tn_shape_check(o, &references, e));
    const struct shaping *s = find(o->shape);
    if (references && (!ref || n_ref < s->references))
        return tn_fail(
            e, TN_ARG,
            "shaping %s needs the scores of at least %d reference answer(s) a prompt, found %d",
            s->name, s->references, ref ? n_ref : 0);
    for (long i = 0; references && i < (long)n * n_ref; i++)
        if (!isfinite(ref[i]))
            return tn_fail(e, TN_NUMERIC,
                           "shaping: reference score %ld is %g, expected a finite number", i,
                           ref[i]);
    TN_TRY(before(o, length, reward, n, e));
    see(st, reward, n);
    at c = {o, st, ref, n_ref, s->map == lsc ? normal_quantile(o->percentile) : 0};
    for (int i = 0; i < n; i++) {
        double d;
        c.ref = references ? ref + (long)i * n_ref : NULL;
        reward[i] = s->map(&c, reward[i], &d);
        if (slope) slope[i] = d;
    }
    return TN_OK;
}
