/* Levels of alarms: what each reads, medians over a ring that wraps, what is not known. */
#include "algo/alarm.h"
#include "base/rng.h"
#include "test.h"
#include <math.h>
#include <stdlib.h>

static tn_alarm_opt limits(int64_t window) {
    tn_alarm_opt o = {.window = window};
    for (int k = 0; k < TN_ALARMS; k++) o.limit[k] = 2;
    return o;
}
static const tn_alarm_seen start = {.entropy = 2, .length = 10, .length_sd = 2, .score = 1, .spread = 0.5, .latent = 4, .separation = 0.5};

TEST(alarm_levels) {
    tn_alarm_opt o = limits(3);
    tn_alarm_state s = {0};
    tn_alarm_seen x = start;
    double level[TN_ALARMS];
    int which;
    tn_alarm_update(&s, &o, &x, level);
    CHECK(level[TN_ALARM_KL] == 0 && level[TN_ALARM_DIVERGENCE] == 0 && level[TN_ALARM_LENGTH] == 0);
    CHECK(level[TN_ALARM_SPREAD] == 0.5 && level[TN_ALARM_SATURATION] == 0);
    x.kl = 3, x.length = 20, x.spread = 2, x.latent = 12, x.separation = 6, x.entropy = 7; /* the entropy of the start counts */
    tn_alarm_update(&s, &o, &x, level);
    CHECK(level[TN_ALARM_KL] == 1.5 && level[TN_ALARM_DIVERGENCE] == 0.375); /* the median of 0 and 3 */
    CHECK(level[TN_ALARM_SPEED] == 0.375);
    CHECK(level[TN_ALARM_LENGTH] == 1.25 && level[TN_ALARM_SPREAD] == 1.25);
    tn_alarm_update(&s, &o, &x, level); /* the median of 10 20 20 */
    CHECK(level[TN_ALARM_LENGTH] == 2.5 && level[TN_ALARM_SPREAD] == 2 && level[TN_ALARM_DIVERGENCE] == 0.75);
    CHECK(level[TN_ALARM_SPEED] == 0.375); /* two batches after the first */
    CHECK(tn_alarm_worst(level, &which) == 3 && which == TN_ALARM_SEPARATION);
    CHECK(level[TN_ALARM_LATENT] == 1.5 && level[TN_ALARM_SEPARATION] == 3); /* of 4 12 12 over 4, of .5 6 6 as it is */
    x.length = 4; /* shorter counts as well: 20 20 4, then 20 4 4 */
    tn_alarm_update(&s, &o, &x, level);
    CHECK(level[TN_ALARM_LENGTH] == 2.5);
    tn_alarm_update(&s, &o, &x, level);
    CHECK(level[TN_ALARM_LENGTH] == 1.5);
}

TEST(alarm_unknown) {
    tn_alarm_opt o = limits(1);
    tn_alarm_state s = {0};
    tn_alarm_seen x = {.kl = NAN, .entropy = 0, .length = 5, .length_sd = 0, .spread = NAN, .latent = NAN, .separation = NAN};
    double level[TN_ALARMS];
    int which;
    for (int i = 0; i < 5; i++) tn_alarm_update(&s, &o, &x, level);
    CHECK(s.count == 5);
    for (int k = 0; k < TN_ALARM_SATURATION; k++) CHECK_MSG(isnan(level[k]), "%s", tn_alarm_names[k]);
    CHECK(isnan(level[TN_ALARM_SATURATION]) && tn_alarm_worst(level, &which) == 0 && which == -1);
    o.limit[TN_ALARM_KL] = 0;
    x.kl = 100;
    tn_alarm_update(&s, &o, &x, level);
    CHECK(isnan(level[TN_ALARM_KL]));
}

/* The nearer the price of KL is to the fair one, the less of it counts; a price that is not known is none. */
TEST(alarm_fair_price) {
    static const double price[] = {0, 0.125, 0.25, 1, NAN}, share[] = {1, 0.5, 0, 0, 1};
    for (int k = 0; k < 5; k++) {
        for (int fair = 0; fair < 2; fair++) {
            tn_alarm_opt o = limits(1);
            tn_alarm_state s = {0};
            tn_alarm_seen x = start;
            double level[TN_ALARMS];
            o.fair = fair ? 0.25 : 0;
            x.kl = 3, x.price = price[k];
            tn_alarm_update(&s, &o, &x, level);
            CHECK_MSG(level[TN_ALARM_DIVERGENCE] == 0.75 * (fair ? share[k] : 1), "price %g", price[k]);
            CHECK(level[TN_ALARM_KL] == 1.5); /* a budget is one at any price */
        }
    }
}

TEST(alarm_saturation) {
    tn_alarm_opt o = limits(2);
    tn_alarm_state flat = {0}, up = {0};
    double level[TN_ALARMS] = {0};
    for (int i = 0; i < 6; i++) {
        tn_alarm_seen x = start;
        x.kl = 1 << i, x.score = i < 2 ? i : 1; /* gains 1, then nothing */
        tn_alarm_update(&flat, &o, &x, level);
    }
    CHECK(level[TN_ALARM_SATURATION] == (24 - 6) / 2.0 / 2);
    for (int i = 0; i < 6; i++) {
        tn_alarm_seen x = start;
        x.kl = 1 << i, x.score = i;
        tn_alarm_update(&up, &o, &x, level);
    }
    CHECK(level[TN_ALARM_SATURATION] == 0);
    for (int i = 0; i < 4; i++) { /* flat at a KL that does not grow */
        tn_alarm_seen x = start;
        x.kl = 32, x.score = 5;
        tn_alarm_update(&up, &o, &x, level);
    }
    CHECK(level[TN_ALARM_SATURATION] == 0);
}

static int order(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Over many batches a level is that of the last ones and the first, however far the ring has turned. */
TEST(alarm_ring) {
    static const int64_t windows[] = {1, 4, 31, TN_ALARM_WINDOW};
    for (int q = 0; q < 4; q++) {
        tn_alarm_opt o = limits(windows[q]);
        tn_alarm_state s = {0};
        tn_rng r = tn_rng_stream(1, TN_RNG_SAMPLE, 0);
        static double seen[300];
        double level[TN_ALARMS], last[TN_ALARM_WINDOW];
        for (int i = 0; i < 300; i++) {
            tn_alarm_seen x = start;
            int n = i + 1 < o.window ? i + 1 : (int)o.window;
            x.length = seen[i] = (double)(tn_rng_next(&r) % 97);
            tn_alarm_update(&s, &o, &x, level);
            memcpy(last, seen + i + 1 - n, (size_t)n * sizeof *last);
            qsort(last, (size_t)n, sizeof *last, order);
            double median = 0.5 * (last[(n - 1) / 2] + last[n / 2]);
            CHECK(level[TN_ALARM_LENGTH] == fabs(median - seen[0]) / 4);
        }
    }
}

TEST(alarm_refuses) {
    tn_alarm_opt o = limits(3);
    CHECK_OK(tn_alarm_check(&o, e));
    o.limit[TN_ALARM_SPREAD] = -1;
    CHECK_FAIL(tn_alarm_check(&o, e), TN_ARG, "alarm/spread");
    o = limits(3), o.fair = NAN;
    CHECK_FAIL(tn_alarm_check(&o, e), TN_ARG, "alarm-fair-price");
    o = limits(0);
    CHECK_FAIL(tn_alarm_check(&o, e), TN_ARG, "alarm-window");
    o = limits(TN_ALARM_WINDOW + 1);
    CHECK_FAIL(tn_alarm_check(&o, e), TN_ARG, "alarm-window");
}
