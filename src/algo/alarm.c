#include "algo/alarm.h"
#include "algo/obs.h"
#include <math.h>
#include <stddef.h>

#define AT(k) (offsetof(tn_alarm_opt, limit) + (k) * sizeof(double))
const tn_opt_row tn_alarm_rows[] = {
    {"alarm-kl", TN_OPT_REAL, AT(TN_ALARM_KL), "0", NULL, 0, 1e9, "kl-budget", "X",
     "Alarm when the mean KL of a response to the reference is above X nats; 0: off."},
    {"alarm-divergence", TN_OPT_REAL, AT(TN_ALARM_DIVERGENCE), "0.35", NULL, 0, 1e9, NULL, "X",
     "Alarm when that KL is above X times the entropy that the policy started with, the less counting the nearer its price is to "
     "--alarm-fair-price; 0: off."},
    {"alarm-speed", TN_OPT_REAL, AT(TN_ALARM_SPEED), "0.0225", NULL, 0, 1e9, NULL, "X",
     "Alarm when that grows by X a sampling, on the average since the start; 0: off."},
    {"alarm-fair-price", TN_OPT_REAL, offsetof(tn_alarm_opt, fair), "0.125", NULL, 0, 1e9, NULL, "X",
     "KL coefficient from which on KL is no divergence to be alarmed about, for scores of standard deviation 1; 0: it always is."},
    {"alarm-length", TN_OPT_REAL, AT(TN_ALARM_LENGTH), "2", NULL, 0, 1e9, NULL, "X",
     "Alarm when the mean length of responses is more than X standard deviations (over the responses of the start) from "
     "where it was; 0: off."},
    {"alarm-spread", TN_OPT_REAL, AT(TN_ALARM_SPREAD), "2", NULL, 0, 1e9, NULL, "X",
     "Alarm when several reward models disagree X times as much as at the start; 0: off."},
    {"alarm-saturation", TN_OPT_REAL, AT(TN_ALARM_SATURATION), "0.3", NULL, 0, 1e9, NULL, "X",
     "Alarm when the score stands still while the KL grows by X times that entropy; 0: off."},
    {"alarm-latent", TN_OPT_REAL, AT(TN_ALARM_LATENT), "0", NULL, 0, 1e9, NULL, "X",
     "Alarm when responses are X times as far (Mahalanobis) from where they lay at the start as they were then, in the first reward "
     "model's hidden states, of InfoRM its bottleneck; 0: off."},
    {"alarm-separation", TN_OPT_REAL, AT(TN_ALARM_SEPARATION), "0", NULL, 0, 1e9, "csi-threshold", "X",
     "Alarm when the clusters of responses there (InfoRM's cluster separation index, a response) are X times the usual distance of "
     "neighbours away from the start's; 0: off."},
    {"alarm-window", TN_OPT_INT, offsetof(tn_alarm_opt, window), "3", NULL, 1, TN_ALARM_WINDOW, NULL, "N",
     "Samplings whose median counts, for all of them but kl."},
    TN_OPT_LAST};

const char *const tn_alarm_names[TN_ALARMS] = {"alarm/kl",     "alarm/divergence", "alarm/speed",
                                               "alarm/length", "alarm/spread",     "alarm/saturation",
                                               "alarm/latent", "alarm/separation"};

tn_status tn_alarm_check(const tn_alarm_opt *o, tn_err *e) {
    for (int k = 0; k < TN_ALARMS; k++)
        TN_TRY(tn_opt_between(o->limit[k], 0, HUGE_VAL, "alarms", tn_alarm_names[k], e));
    TN_TRY(tn_opt_between(o->fair, 0, HUGE_VAL, "alarms", "alarm-fair-price", e));
    return tn_opt_between((double)o->window, 1, TN_ALARM_WINDOW, "alarms", "alarm-window", e);
}

/* Median of one number of batches [from, from + n) of the run; NaN when one is. */
static double median(const tn_alarm_state *s, int64_t from, int64_t n, size_t field) {
    double v[TN_ALARM_WINDOW] = {0};
    int k = 0;
    for (int64_t i = from; i < from + n; i++) { /* insertion */
        double x = *(const double *)((const char *)&s->ring[i % (2 * TN_ALARM_WINDOW)] + field);
        int j = k++;
        if (isnan(x)) return NAN;
        for (; j > 0 && v[j - 1] > x; j--) v[j] = v[j - 1];
        v[j] = x;
    }
    return 0.5 * (v[(k - 1) / 2] + v[k / 2]);
}

#define FIELD(f) offsetof(tn_alarm_seen, f)

/* Share of the KL that its price does not hold. */
static double unpaid(const tn_alarm_opt *o, double price) {
    if (o->fair <= 0 || isnan(price)) return 1;
    return price < o->fair ? 1 - price / o->fair : 0;
}

static double saturation(const tn_alarm_state *s, int64_t w) {
    if (s->count < 2 * w) return 0;
    int64_t late = s->count - w, early = late - w;
    double kl = median(s, late, w, FIELD(kl)) - median(s, early, w, FIELD(kl));
    double gain = median(s, late, w, FIELD(score)) - median(s, early, w, FIELD(score));
    if (isnan(kl) || !(s->first.entropy > 0)) return NAN;
    return gain < 0.02 * (s->best - s->first.score) && kl > 0 ? kl / s->first.entropy : 0;
}

void tn_alarm_update(tn_alarm_state *s, const tn_alarm_opt *o, const tn_alarm_seen *x, double *level) {
    int64_t w = o->window;
    if (s->count == 0) s->first = *x, s->best = x->score;
    if (x->score > s->best) s->best = x->score;
    s->ring[s->count++ % (2 * TN_ALARM_WINDOW)] = *x;
    if (w > s->count) w = s->count;
    int64_t at = s->count - w;
    double divergence = s->first.entropy > 0 ? unpaid(o, x->price) * median(s, at, w, FIELD(kl)) / s->first.entropy : NAN;
    const double value[TN_ALARMS] = {
        [TN_ALARM_KL] = x->kl,
        [TN_ALARM_DIVERGENCE] = divergence,
        [TN_ALARM_SPEED] = divergence / (double)(s->count > 1 ? s->count - 1 : 1),
        [TN_ALARM_LENGTH] = fabs(median(s, at, w, FIELD(length)) - s->first.length) / s->first.length_sd,
        [TN_ALARM_SPREAD] = median(s, at, w, FIELD(spread)) / s->first.spread,
        [TN_ALARM_SATURATION] = saturation(s, o->window),
        [TN_ALARM_LATENT] = median(s, at, w, FIELD(latent)) / s->first.latent,
        [TN_ALARM_SEPARATION] = median(s, at, w, FIELD(separation))};
    for (int k = 0; k < TN_ALARMS; k++)
        level[k] = o->limit[k] > 0 && isfinite(value[k]) ? value[k] / o->limit[k] : NAN;
}

double tn_alarm_worst(const double *level, int *which) {
    double most = 0;
    *which = -1;
    for (int k = 0; k < TN_ALARMS; k++)
        if (level[k] >= most) most = level[k], *which = k;
    return most;
}
