#include "train/score_norm.h"
#include "base/log.h"
#include "base/signals.h"
#include "comm/comm.h"
#include "train/calibrate.h"
#include <math.h>

typedef struct scores { /* Welford */
    double n, mean, m2, sum_sq;
} scores;

static void take(scores *s, double x) {
    double delta = x - s->mean;
    s->n += 1;
    s->mean += delta / s->n;
    s->m2 += delta * (x - s->mean);
    s->sum_sq += x * x;
}

/* Scores of one example. A cost is higher for what is worse. */
static tn_status look(tn_trainee *t, const tn_example *x, bool cost, scores *s, tn_judged *j, tn_err *e) {
    tn_batch_clear(&t->mb);
    TN_TRY(tn_batch_add(&t->mb, x, &t->batch, e));
    TN_TRY(tn_batch_finish(&t->mb, e));
    TN_TRY(tn_trainee_observe(t, false, e));
    for (int k = 0; k < t->mb.n_seq; k++) take(s, t->mb.score[k]);
    return tn_judged_add(j, x, t->mb.score, cost ? -1 : 1, e);
}

static tn_status look_all(tn_trainee *t, tn_dataset *d, bool cost, scores *s, tn_judged *j, tn_err *e) {
    size_t limit = d->n < 512 ? d->n : 512;
    for (size_t i = 0; i < limit; i++) {
        if (tn_stop_requested()) return tn_fail(e, TN_INTERRUPTED, "stopped while normalising scores");
        TN_TRY(look(t, &d->ex[i * d->n / limit], cost, s, j, e));
    }
    return TN_OK;
}

static void say(const scores *s, double sd, const json_t *calibration, bool cost) {
    tn_info("%s: mean %.4f, standard deviation %.4f over %.0f responses (stored in tenet.json)",
            cost ? "costs" : "scores", s->mean, sd, s->n);
    if (calibration)
        tn_info("they agree with %.3f of %d labelled pairs; calibration error %.3f",
                json_number_value(json_object_get(calibration, "accuracy")),
                (int)json_integer_value(json_object_get(calibration, "pairs")),
                json_number_value(json_object_get(calibration, "ece")));
}

static tn_status write(const scores *s, const tn_judged *j, bool cost, json_t *record, tn_err *e) {
    double sd = s->n > 1 ? sqrt(s->m2 / (s->n - 1)) : 1, scale = cost ? sqrt(s->sum_sq / s->n) : sd;
    if (!(scale > 1e-8)) {
        tn_warn("the scores hardly differ (standard deviation %g); they are stored unscaled", scale);
        scale = sd = 1;
    }
    json_t *c = tn_judged_json(j), *score = json_pack("{s:f,s:f}", "mean", cost ? 0.0 : s->mean, "sd", scale);
    say(s, sd, c, cost);
    bool ok = score != NULL;
    if (ok && cost) ok = json_object_set_new(score, "kind", json_string("cost")) == 0;
    ok = json_object_set_new(record, "score", score) == 0 && ok;
    if (c) ok = json_object_set_new(record, "calibration", c) == 0 && ok;
    return ok ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static tn_status finish(tn_trainee *t, tn_dataset *d, bool cost, json_t *record, tn_err *e) {
    scores s = {0};
    tn_judged j = {0};
    tn_status st = tn_comm_share_interrupt(tn_comm_world(), look_all(t, d, cost, &s, &j, e), e);
    if (st == TN_OK) st = write(&s, &j, cost, record, e);
    tn_judged_free(&j);
    return st;
}

tn_status tn_reward_finish(tn_trainee *t, tn_dataset *train, tn_dataset *eval, json_t *record, tn_err *e) {
    return finish(t, eval ? eval : train, false, record, e);
}
tn_status tn_cost_finish(tn_trainee *t, tn_dataset *train, tn_dataset *eval, json_t *record, tn_err *e) {
    return finish(t, eval ? eval : train, true, record, e);
}
