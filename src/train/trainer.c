#include "train/trainer_int.h"
#include "base/log.h"
#include "base/manifest.h"
#include "base/signals.h"
#include "ops/profile.h"
#include "train/answers.h"
#include "train/ranks.h"
#include <string.h>

static void loop_free(tn_loop *l) {
    if (l->task->answers) tn_answers_close(l->task->answers);
    tn_lanes_free(l->t.lanes);
    tn_pooled_free(l->t.pooled);
    tn_batch_free(&l->t.mb);
    tn_foresight_free(&l->t.ahead);
    tn_pairing_free(&l->t.pair);
    tn_run_free(l->t.run);
    tn_run_free(l->t.ref_run);
    tn_model_free(l->ref);
    tn_model_free(l->t.model);
    tn_plan_free(&l->plan);
    tn_runlog_close(&l->log, NULL);
    tn_dataset_free(l->train);
    tn_dataset_free(l->eval);
    tn_tokenizer_free(l->tok);
    tn_free(l->rows);
    tn_free(l->ref_slab);
    json_decref(l->record);
    json_decref(l->state);
    tn_str_free(&l->from);
    tn_unlock_dir(l->lock);
    tn_backend_free(l->be);
}

/* ---- resume ---- */

static long state_int(const json_t *s, const char *k) {
    return (long)json_integer_value(json_object_get(s, k));
}

static tn_status resume(tn_loop *l, json_t **history, tn_err *e) {
    json_t *s = NULL;
    TN_TRY(tn_resume_check(l->from.s, l->record, e));
    TN_TRY(tn_checkpoint_load_state(l->from.s, &s, history, e));
    l->step = state_int(s, "step"), l->tokens = state_int(s, "tokens"),
    l->full_tokens = state_int(s, "full_tokens");
    l->best_step = state_int(s, "best_step"), l->bad_evals = state_int(s, "bad_evals");
    const json_t *best = json_object_get(s, "best");
    l->have_best = json_is_number(best);
    l->best = json_number_value(best);
    if (l->step > 0) tn_plan_seek(&l->plan, l->step - 1);
    l->owes_eval = l->eval && json_is_true(json_object_get(s, "owes_eval"));
    for (size_t i = 0; i < 2; i++)
        l->t.ahead.state[i] = json_number_value(json_array_get(json_object_get(s, "points"), i));
    json_decref(s);
    return tn_checkpoint_load_moments(l->from.s, &(tn_part){"", l->t.model}, e);
}

static tn_status save_state(tn_loop *l, tn_err *e) {
    json_decref(l->state);
    l->state = json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:o*}", "step", (json_int_t)l->step, "tokens", (json_int_t)l->tokens,
        "full_tokens", (json_int_t)l->full_tokens, "best_step", (json_int_t)l->best_step,
        "bad_evals", (json_int_t)l->bad_evals, "best", l->have_best ? json_real(l->best) : NULL);
    bool whole = l->state && (!l->have_best || json_object_get(l->state, "best"));
    if (whole && l->owes_eval) whole = json_object_set_new(l->state, "owes_eval", json_true()) == 0;
    const double *points = l->t.ahead.state;
    if (whole && l->task->ahead)
        whole =
            json_object_set_new(l->state, "points", json_pack("[f,f]", points[0], points[1])) == 0;
    if (!whole) return tn_fail(e, TN_NOMEM, "out of memory");
    return tn_ranks_save_lanes(l->state, l->lanes, e);
}

/* A reference that moves is a part of the run. */
static tn_ckpt checkpoint_of(tn_loop *l, tn_part part[2]) {
    part[0] = (tn_part){"", l->t.model};
    part[1] = (tn_part){TN_MOVING_REF, l->ref};
    return (tn_ckpt){l->o.output_dir, part,   l->task->sync ? 2 : 1, l->tok, l->record,
                     l->state,        &l->log};
}

static bool is_due(const tn_loop *l) {
    return l->o.save_steps > 0 && l->step % l->o.save_steps == 0;
}

static tn_status checkpoint(tn_loop *l, tn_err *e) {
    tn_part part[2];
    if (l->saved == l->step) return TN_OK;
    TN_TRY(save_state(l, e));
    tn_ckpt c = checkpoint_of(l, part);
    TN_TRY(tn_checkpoint_save(&c, l->step, e));
    l->saved = l->owes_eval ? -1 : l->step;
    return tn_checkpoint_prune(&c, (long)l->o.save_limit, l->best_step, e);
}

/* ---- evaluation ---- */

/* Rows [i, i + n): their loss times their share of all is added. */
static tn_status evaluate_rows(tn_loop *l, size_t i, size_t n, tn_step_result *sum, tn_err *e) {
    tn_step_result r = {0};
    for (size_t k = 0; k < n; k++) l->rows[k] = &l->eval->ex[i + k];
    TN_TRY(tn_trainee_accumulate(&l->t, l->rows, (int)n, false, &r, e));
    sum->loss += r.loss * ((double)n / (double)l->eval->n);
    tn_metrics_merge(&sum->metrics, &r.metrics);
    return TN_OK;
}

/* All rows at once; a loss that sees the whole step gets as many as a step has. */
static tn_status evaluate(tn_loop *l, json_t *entry, tn_err *e) {
    tn_step_result r = {0};
    size_t n = l->eval->n,
           most = tn_loop_whole(l) ? (size_t)(l->o.batch_size * l->o.accumulation) : n;
    for (size_t i = 0; i < n; i += most)
        TN_TRY(evaluate_rows(l, i, n - i < most ? n - i : most, &r, e));
    json_object_set_new(entry, "eval_loss", json_real(r.loss));
    tn_runlog_put_metrics(entry, "eval_", &r.metrics);
    return TN_OK;
}

/* Is the new value better than the best one? Losses go down, everything else up. */
static tn_status judge(tn_loop *l, const json_t *entry, bool *improved, tn_err *e) {
    char name[160];
    snprintf(name, sizeof name, "%s%s", strncmp(l->o.best_metric, "eval_", 5) ? "eval_" : "",
             l->o.best_metric);
    const json_t *v = json_object_get(entry, name);
    if (!json_is_number(v))
        return tn_fail(e, TN_ARG,
                       "--metric-for-best-model %s: the evaluation has no such metric; eval_loss "
                       "always exists",
                       l->o.best_metric);
    double x = json_number_value(v);
    *improved = !l->have_best || (strstr(name, "loss") ? x < l->best : x > l->best);
    if (*improved)
        l->best = x, l->best_step = l->step, l->have_best = true, l->bad_evals = 0;
    else
        l->bad_evals++;
    return TN_OK;
}

/* ---- the loop ---- */

typedef struct window {
    double loss, norm;
    int n;
    tn_metrics m;
} window; /* what one log entry averages */

static json_t *entry_of(tn_loop *l, const window *w, double lr) {
    json_t *j =
        json_pack("{s:I,s:f,s:f,s:f,s:f,s:I}", "step", (json_int_t)l->step, "loss", w->loss / w->n,
                  "grad_norm", w->norm / w->n, "learning_rate", lr, "epoch",
                  tn_plan_epoch_of(&l->plan, l->step), "num_tokens", (json_int_t)l->full_tokens);
    if (j) tn_runlog_put_metrics(j, "", &w->m);
    return j;
}

/* A reference that follows the model: its log-probs so far are void once it moved. */
static tn_status follow(tn_loop *l, tn_err *e) {
    const tn_sync_options *s = l->task->sync;
    tn_dataset *d[TN_LOOP_SETS];
    if (!s || l->step % s->steps) return TN_OK;
    TN_TRY(tn_moving_ref_mix(l->ref, l->t.model, s->mixup_alpha, e));
    for (int k = 0, n = tn_loop_sets(l, d); k < n; k++)
        for (size_t i = 0; i < d[k]->n; i++) d[k]->ex[i].ref_known = false;
    return TN_OK;
}

static tn_status one_step(tn_loop *l, const tn_optimiser *opt, window *w, double *lr, tn_err *e) {
    const uint32_t *rows;
    size_t n;
    tn_plan_step(&l->plan, l->step, &rows, &n);
    for (size_t i = 0; i < n; i++) l->rows[i] = &l->train->ex[rows[i]];
    tn_step_result r = {0};
    if (l->t.pooled) l->t.pooled->step = l->step;
    if (l->task->answers) TN_TRY(tn_answers_give(l->task->answers, l->rows, (int)n, l->step, &r.metrics, e));
    TN_TRY(tn_trainee_accumulate(&l->t, l->rows, (int)n, true, &r, e));
    *lr = tn_lr_at(&l->o, l->peak_lr, l->step + 1, l->plan.total);
    TN_TRY(tn_trainee_update(&l->t, opt, *lr, l->step + 1, &r, e));
    l->step++;
    TN_TRY(follow(l, e));
    l->tokens += r.tokens;
    l->full_tokens += r.full_tokens;
    w->loss += r.loss, w->norm += r.grad_norm, w->n++;
    tn_metrics_merge(&w->m, &r.metrics);
    return TN_OK;
}

/* What a step left to be done. */
typedef struct outcome {
    double loss, rate;
    bool due, stop; /* a checkpoint; Ctrl-C at some rank */
} outcome;

static tn_status log_window(tn_loop *l, window *w, double lr, tn_err *e) {
    json_t *j = entry_of(l, w, lr);
    if (!j) return tn_fail(e, TN_NOMEM, "out of memory");
    memset(w, 0, sizeof *w);
    return tn_runlog_entry(&l->log, j, e);
}

static tn_status advance(tn_loop *l, const tn_optimiser *opt, window *w, outcome *o, tn_err *e) {
    double lr;
    bool asked;
    tn_status st = one_step(l, opt, w, &lr, e);
    if (st == TN_INTERRUPTED) { /* while sampling: the step will be begun again */
        o->stop = true;
        return w->n ? log_window(l, w, tn_lr_at(&l->o, l->peak_lr, l->step, l->plan.total), e) : TN_OK;
    }
    TN_TRY(st);
    o->loss = w->loss / w->n;
    bool last = l->step == l->plan.total;
    l->owes_eval = l->eval && (last || (l->o.eval_steps > 0 && l->step % l->o.eval_steps == 0));
    TN_TRY(tn_ranks_signals(l->comm, &o->stop, &asked, e));
    o->due = asked || is_due(l);
    /* entries end where checkpoints are, so that a resumed run averages the same steps */
    if (l->step % l->o.logging_steps == 0 || l->owes_eval || last || o->stop || o->due) TN_TRY(log_window(l, w, lr, e));
    return tn_runlog_timing(&l->log, l->step, l->tokens, &o->rate, e);
}

/* The evaluation that the step owes. *improved: the best one of --eval-steps so far. */
static tn_status pay_eval(tn_loop *l, bool *improved, tn_err *e) {
    json_t *j = json_pack("{s:I,s:f}", "step", (json_int_t)l->step, "epoch",
                          tn_plan_epoch_of(&l->plan, l->step));
    tn_status st = j ? evaluate(l, j, e) : tn_fail(e, TN_NOMEM, "out of memory");
    if (st == TN_OK && l->o.eval_steps > 0) st = judge(l, j, improved, e);
    if (st != TN_OK) {
        json_decref(j);
        return st;
    }
    l->owes_eval = false;
    return tn_runlog_entry(&l->log, j, e);
}

/* Steps, or the evaluation that an interrupted run owes. */
static bool goes_on(const tn_loop *l) {
    bool enough = l->o.patience > 0 && l->bad_evals >= l->o.patience;
    return l->owes_eval || (l->step < l->plan.total && !enough);
}

static tn_status stopped(const tn_loop *l, tn_err *e) {
    return tn_fail(e, TN_INTERRUPTED,
                   "stopped after step %ld of %ld; continue with --resume-from-checkpoint latest",
                   l->step, l->plan.total);
}

static tn_status train(tn_loop *l, tn_err *e) {
    tn_optimiser opt = tn_optimiser_from_options(&l->o);
    tn_progress bar;
    window w = {0};
    outcome o = {0};
    tn_progress_begin(&bar, l->task->verb, "steps", l->plan.total, l->step);
    while (goes_on(l) && !o.stop) {
        bool improved = false;
        o.due = is_due(l);
        if (!l->owes_eval) TN_TRY(advance(l, &opt, &w, &o, e));
        if (l->owes_eval) {
            tn_status st = pay_eval(l, &improved, e);
            if (st != TN_INTERRUPTED) TN_TRY(st);
            o.stop |= st == TN_INTERRUPTED; /* the checkpoint says what is owed */
        }
        if (o.due || o.stop || (improved && l->o.keep_best)) TN_TRY(checkpoint(l, e));
        tn_progress_update(&bar, l->step, "loss %.4f  %.0f tok/s", o.loss, o.rate);
    }
    tn_progress_end(&bar);
    return o.stop && goes_on(l) ? stopped(l, e) : TN_OK;
}

/* The best evaluated weights, when asked for, go back into the model. */
static bool takes_best(const tn_loop *l) {
    return l->o.keep_best && l->have_best && l->best_step != l->step;
}
static tn_status take_best(tn_loop *l, tn_err *e) {
    if (!takes_best(l)) return TN_OK;
    char name[64];
    tn_str p = TN_STR_INIT;
    tn_model *m = NULL;
    snprintf(name, sizeof name, "checkpoint-%ld", l->best_step);
    tn_path_join(&p, l->o.output_dir, name);
    tn_model *on = l->t.model->n_adapter ? l->t.model : NULL;
    tn_load how = tn_loop_how_to_load(l);
    how.base = l->t.model->dir, how.on = on;
    tn_status st = tn_manifest_check(p.s, e);
    if (st == TN_OK) st = tn_model_load(&m, p.s, l->be, &how, e);
    if (st == TN_OK) {
        tn_trained to[TN_TRAINED_MAX], from[TN_TRAINED_MAX];
        int n = tn_model_trained(l->t.model, to);
        tn_model_trained(m, from);
        for (int i = 0; i < n; i++)
            memcpy(to[i].store->data, from[i].store->data, to[i].store->n * l->be->elem);
        tn_model_pack(l->t.model);
        tn_info("kept the weights of step %ld (%s %.6g)", l->best_step, l->o.best_metric, l->best);
    }
    tn_model_free(m);
    tn_str_free(&p);
    return st;
}

/* What the task does last. Interrupted, it is done again from a checkpoint of the last step's weights. */
static tn_status finish_task(tn_loop *l, tn_err *e) {
    bool other = takes_best(l);
    if (!l->task->finish) return take_best(l, e);
    if (other) TN_TRY(checkpoint(l, e));
    TN_TRY(take_best(l, e));
    tn_status st = l->task->finish(&l->t, l->train, l->eval, l->record, e);
    if (st != TN_INTERRUPTED) return st;
    if (!other) TN_TRY(checkpoint(l, e));
    return stopped(l, e);
}

static tn_status finish(tn_loop *l, tn_err *e) {
    TN_TRY(finish_task(l, e));
    TN_TRY(save_state(l, e));
    tn_part part[2];
    tn_ckpt c = checkpoint_of(l, part);
    TN_TRY(tn_output_save(&c, tn_output_dtype(&l->o, l->t.model), e));
    tn_info("%s written to %s", l->t.model->n_adapter ? "adapter" : "model", l->o.output_dir);
    return TN_OK;
}

/* All of the reference's log-probs; then it goes. */
static tn_status precompute_reference(tn_loop *l, tn_err *e) {
    tn_dataset *d[TN_LOOP_SETS];
    tn_status st = tn_trainee_precompute_reference(&l->t, d, tn_loop_sets(l, d), e);
    if (st == TN_INTERRUPTED) return stopped(l, e);
    TN_TRY(st);
    tn_run_free(l->t.ref_run);
    tn_model_free(l->ref);
    l->t.ref_run = NULL;
    l->t.ref = l->ref = NULL;
    return TN_OK;
}

/* The run's record, what a checkpoint adds to it, and the logs. */
static tn_status open_logs(tn_loop *l, tn_err *e) {
    const tn_train_options *o = &l->o;
    json_t *history = NULL;
    TN_TRY(tn_run_record(&l->record, l->task->verb, l->opts, l->be, l->train->hash, e));
    if (l->from.len) TN_TRY(resume(l, &history, e));
    tn_status st = tn_runlog_open(&l->log, o->output_dir, l->step, history, e);
    json_decref(history);
    TN_TRY(st);
    tn_runlog_work(&l->log, l->be);
    TN_TRY(tn_runlog_report(&l->log, o, l->step, e));
    if (l->from.len) tn_info("continuing after step %ld from %s", l->step, l->from.s);
    return TN_OK;
}

static tn_status run(tn_loop *l, tn_err *e) {
    TN_TRY(tn_loop_plan(l, e));
    if (l->o.dry_run) return TN_OK;
    TN_TRY(tn_loop_make(l, e));
    TN_TRY(open_logs(l, e));
    tn_signals_install();
    if (l->task->precompute_ref) TN_TRY(precompute_reference(l, e));
    TN_TRY(train(l, e));
    return finish(l, e);
}

tn_status tn_task_run(const tn_task *task, const tn_opts *opts, tn_err *e) {
    tn_loop l;
    memset(&l, 0, sizeof l);
    l.task = task, l.opts = opts, l.lock = -1, l.saved = -1;
    tn_opts_bind(opts, tn_train_option_rows, &l.o);
    tn_opts_bind(opts, tn_machine_option_rows, &l.o);
    tn_opts_bind(opts, tn_adapter_option_rows, &l.lora);
    tn_status st = run(&l, e);
    st = tn_run_end(l.be, st, e);
    loop_free(&l);
    return st;
}
