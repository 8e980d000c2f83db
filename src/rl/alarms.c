#include "rl/alarms.h"
#include "algo/rl.h"
#include "base/log.h"
#include <limits.h>
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_alarms_options, f)
const tn_opt_row tn_alarms_rows[] = {
    {"on-alarm", TN_OPT_CHOICE, AT(on_alarm), "warn", "warn|stop|raise-kl|roll-back", 0, 0, NULL, NULL,
     "What an alarm of over-optimisation does: say so; end the run with the policy as it is; raise the KL coefficient by "
     "half while it lasts (ppo); end with the newest checkpoint from before the greatest level passed 1/2."},
    TN_OPT_LAST};

static bool does(const tn_alarms_options *o, const char *action) { return strcmp(o->on_alarm, action) == 0; }

static bool wants_latents(const tn_alarms_options *o) {
    return o->limits.limit[TN_ALARM_LATENT] > 0 || o->limits.limit[TN_ALARM_SEPARATION] > 0;
}

tn_status tn_alarms_check(const tn_alarms_options *o, bool has_kl, int models, const tn_online *on, tn_err *e) {
    TN_TRY(tn_alarm_check(&o->limits, e));
    if (wants_latents(o) && models < 1)
        return tn_fail(e, TN_ARG, "--alarm-latent and --alarm-separation look into a reward model, and there is no --reward-model");
    if (does(o, "raise-kl") && !has_kl)
        return tn_fail(e, TN_ARG, "--on-alarm raise-kl: %s has no KL coefficient that changes while it runs; take warn, stop or roll-back",
                       on->verb);
    if (does(o, "roll-back") && on->o.save_steps <= 0)
        return tn_fail(e, TN_ARG, "--on-alarm roll-back goes back to a checkpoint, and --save-steps 0 makes none");
    return TN_OK;
}

tn_status tn_alarms_open(tn_alarms *a, const tn_alarms_options *o, tn_scorer *judge, const char *dir, const tn_online *on, tn_err *e) {
    tn_str path = TN_STR_INIT;
    a->o = o;
    if (wants_latents(o)) TN_TRY(tn_latents_open(&a->latents, judge, dir, on->roll.n_prompt * on->roll.n_sample, e));
    if (!tn_comm_is_root(on->comm)) return TN_OK;
    tn_path_join(&path, on->o.output_dir, "alarms.jsonl");
    tn_status st = tn_runlog_cut(path.s, on->step, LONG_MAX, e);
    if (st == TN_OK) st = tn_out_open(&a->log, path.s, true, e);
    tn_str_free(&path);
    return st;
}

void tn_alarms_close(tn_alarms *a) {
    tn_out_close(a->log, TN_OK, false, NULL);
    tn_model_free(a->before);
    tn_latents_close(&a->latents);
}

/* ---- a sampling ---- */

static double spread_of(const tn_alarm_view *v, int n) {
    double sum = 0;
    int k = v->n_member;
    for (int i = 0; i < n; i++) {
        const double *x = v->member + (size_t)i * (size_t)v->stride;
        double mean = 0, var = 0;
        for (int j = 0; j < k; j++) mean += x[j] / k;
        for (int j = 0; j < k; j++) var += (x[j] - mean) * (x[j] - mean) / k;
        sum += sqrt(var);
    }
    return sum / n;
}

static tn_alarm_seen see(const tn_rollouts *r, const tn_alarm_view *v) {
    tn_alarm_seen x = {.kl = r->has_ref ? 0 : NAN, .spread = NAN, .price = v->price, .latent = NAN, .separation = NAN};
    tn_moments length = {0}, score = {0};
    int own = 0;
    for (int i = 0; i < r->n; i++) own += r->own[i];
    for (int i = 0; i < r->n; i++) {
        double n = r->response[i].n;
        if (!r->own[i]) continue;
        for (int t = r->off[i]; t < r->off[i + 1]; t++) {
            if (r->has_ref) x.kl += tn_kl_value(TN_KL_K1, r->old_logp[t], r->ref_logp[t]) / own;
            x.entropy -= r->old_logp[t] / own;
        }
        tn_moments_add(&length, &n, 1);
        if (!isnan(v->score[i])) tn_moments_add(&score, &v->score[i], 1);
    }
    x.length = length.mean, x.length_sd = sqrt(tn_moments_var(&length, 0)), x.score = score.mean;
    if (v->n_member > 1) x.spread = spread_of(v, r->n);
    return x;
}

static tn_status report(tn_alarms *a, int k, long step, const tn_alarm_seen *x, tn_err *e) {
    const char *name = tn_alarm_names[k] + strlen("alarm/");
    tn_warn("step %ld: alarm: %s is %.2f times its threshold (KL %.2f, entropy %.2f nats a response, length %.1f, score "
            "%.3f); --on-alarm %s",
            step, name, a->level[k], x->kl, x->entropy, x->length, x->score, a->o->on_alarm);
    if (!a->log) return TN_OK;
    tn_str line = TN_STR_INIT;
    tn_str_addf(&line, "{\"step\": %ld, \"alarm\": \"%s\", \"level\": ", step, name);
    tn_str_add_f64(&line, a->level[k]);
    tn_str_addf(&line, ", \"action\": \"%s\"}\n", a->o->on_alarm);
    tn_status st = line.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_out_write(a->log, line.s, line.len, e);
    tn_str_free(&line);
    return st == TN_OK ? tn_out_flush(a->log, false, e) : st;
}

tn_status tn_alarms_look(tn_alarms *a, const tn_online *on, const tn_alarm_view *v, tn_metrics *m, tn_err *e) {
    tn_alarm_seen x = see(&on->roll, v);
    if (a->latents.scorer) TN_TRY(tn_latents_look(&a->latents, &on->roll, &x.latent, &x.separation, e));
    tn_alarm_state before = a->state;
    bool raised[TN_ALARMS];
    int which;
    tn_alarm_update(&a->state, &a->o->limits, &x, a->level);
    a->now = tn_alarm_worst(a->level, &which) >= 1;
    if (which < 0 || a->level[which] < 0.5) a->calm = on->step;
    for (int k = 0; k < TN_ALARMS; k++) {
        raised[k] = a->level[k] >= 1;
        if (!isnan(a->level[k])) tn_metrics_put(m, TN_METRIC_MAX, tn_alarm_names[k], a->level[k]);
        if (raised[k] && !a->raised[k]) TN_TRY(report(a, k, on->step + 1, &x, e));
    }
    if (tn_alarms_stop(a)) a->state = before; /* who goes on from there samples and looks again */
    else memcpy(a->raised, raised, sizeof raised);
    return TN_OK;
}

bool tn_alarms_stop(const tn_alarms *a) { return a->now && (does(a->o, "stop") || does(a->o, "roll-back")); }

bool tn_alarms_raise(const tn_alarms *a, double *kl_coef) {
    if (!a->now || !does(a->o, "raise-kl")) return false;
    *kl_coef = *kl_coef < 0.05 / 1.5 ? 0.05 : *kl_coef * 1.5;
    return true;
}

/* The newest regular checkpoint from when it was calm: where a kill or Ctrl-C left others does not matter. */
static long calm_checkpoint(const tn_alarms *a, const tn_online *on) {
    long each = (long)on->o.save_steps;
    return each > 0 ? a->calm / each * each : 0;
}

long tn_alarms_keep(const tn_alarms *a, const tn_online *on) {
    return does(a->o, "roll-back") ? calm_checkpoint(a, on) : 0;
}

tn_status tn_alarms_end(tn_alarms *a, tn_online *on, tn_err *e) {
    long to = calm_checkpoint(a, on);
    tn_str dir = TN_STR_INIT, name = TN_STR_INIT;
    if (!does(a->o, "roll-back")) {
        tn_info("stopped by an alarm after step %ld", on->step);
        return TN_OK;
    }
    tn_info("rolling back from step %ld to %s%ld", on->step, to ? "checkpoint-" : "the start, step ", to);
    tn_gen_free(on->gen); /* its memory serves the policy that is read */
    on->gen = NULL;
    tn_str_addf(&name, "checkpoint-%ld", to);
    tn_path_join(&dir, on->o.output_dir, name.s);
    tn_status st = name.oom || dir.oom
                       ? tn_fail(e, TN_NOMEM, "out of memory")
                       : tn_trained_model_open(&a->before, &on->lora, on->opts, on->o.model, to ? dir.s : NULL,
                                               (tn_load){0}, (uint64_t)on->o.seed, on->be, e);
    tn_str_free(&name);
    tn_str_free(&dir);
    if (st == TN_OK) on->part[0].model = a->before, on->step = to;
    return st;
}

/* ---- in a checkpoint ---- */

enum { NUMBERS = sizeof(tn_alarm_seen) / sizeof(double) };

static json_t *numbers(const tn_alarm_seen *x) {
    const double *v = (const double *)x;
    json_t *all = json_array();
    for (int i = 0; i < NUMBERS; i++) json_array_append_new(all, isfinite(v[i]) ? json_real(v[i]) : json_null());
    return all;
}

static bool take_numbers(const json_t *all, tn_alarm_seen *x) {
    double *v = (double *)x;
    for (size_t i = 0; i < NUMBERS; i++) {
        const json_t *one = json_array_get(all, i);
        v[i] = json_is_number(one) ? json_number_value(one) : NAN;
    }
    return json_array_size(all) <= NUMBERS; /* older runs saw less */
}

json_t *tn_alarms_state(const tn_alarms *a) {
    const tn_alarm_state *s = &a->state;
    json_t *ring = json_array();
    int n = s->count < 2 * TN_ALARM_WINDOW ? (int)s->count : 2 * TN_ALARM_WINDOW, raised = 0;
    for (int i = 0; i < n; i++) json_array_append_new(ring, numbers(&s->ring[i]));
    for (int k = 0; k < TN_ALARMS; k++) raised |= a->raised[k] << k;
    json_t *all = json_pack("{s:I,s:f,s:o,s:o,s:i,s:I}", "count", (json_int_t)s->count, "best", s->best, "first",
                            numbers(&s->first), "ring", ring, "raised", raised, "calm", (json_int_t)a->calm);
    if (a->latents.scorer) json_object_set_new(all, "latents", tn_latents_state(&a->latents));
    return all;
}

tn_status tn_alarms_take(tn_alarms *a, const json_t *state, const char *where, tn_err *e) {
    tn_alarm_state *s = &a->state;
    const json_t *ring = json_object_get(state, "ring");
    if (!state) return TN_OK; /* a checkpoint from before there were alarms: they start here */
    size_t n = json_array_size(ring);
    int raised = (int)json_integer_value(json_object_get(state, "raised"));
    s->count = json_integer_value(json_object_get(state, "count"));
    s->best = json_number_value(json_object_get(state, "best"));
    a->calm = (long)json_integer_value(json_object_get(state, "calm"));
    bool ok = s->count >= (int64_t)n && n <= 2 * TN_ALARM_WINDOW && take_numbers(json_object_get(state, "first"), &s->first);
    for (size_t i = 0; ok && i < n; i++) ok = take_numbers(json_array_get(ring, i), &s->ring[i]);
    for (int k = 0; k < TN_ALARMS; k++) a->raised[k] = raised >> k & 1;
    if (!ok) return tn_fail(e, TN_STATE, "%s: the state of alarms is damaged", where);
    return a->latents.scorer ? tn_latents_take(&a->latents, json_object_get(state, "latents"), where, e) : TN_OK;
}
