#include "train/trainer.h"
#include "base/log.h"
#include "base/signals.h"
#include "train/intro.h"
#include "train/plan.h"
#include "train/ranks.h"
#include <math.h>
#include <string.h>

/* Everything of one run; freed in one place. */
typedef struct loop {
    const tn_task *task;
    tn_comm *comm;
    int lanes;
    tn_train_options o;
    const tn_opts *opts;
    tn_backend *be;
    tn_tokenizer *tok;
    tn_dataset *train, *eval;
    tn_trainee t;
    tn_model *ref;
    tn_plan plan;
    tn_runlog log;
    json_t *record, *state;
    tn_str from; /* checkpoint that the run continues */
    int lock;
    tn_example **rows; /* of the step, or all of the evaluation set */
    double *ref_slab;
    tn_batch_need need; /* of the largest micro-batch */
    int length;         /* longest sequence */
    double peak_lr, best;
    long step, tokens, full_tokens, best_step, bad_evals;
    bool have_best;
} loop;

static void loop_free(loop *l) {
    tn_lanes_free(l->t.lanes);
    tn_batch_free(&l->t.mb);
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

/* ---- set-up ---- */

static tn_status load_data(loop *l, const tn_desc *d, tn_err *e) {
    const tn_train_options *o = &l->o;
    tn_data_options q = {.kind = l->task->data,
                         .max_length = (int)o->max_length,
                         .keep_end = strcmp(o->truncation_mode, "keep_end") == 0,
                         .drop_long = l->task->drop_long,
                         .completion_only = o->completion_only,
                         .assistant_only = o->assistant_only,
                         .chat_transcripts = strcmp(o->transcripts, "chat") == 0,
                         .seam = strcmp(o->seam, "force") == 0 ? TN_SEAM_FORCE : TN_SEAM_TRL,
                         .vocab = d->vocab,
                         .limit = (long)o->max_rows};
    if (o->data.n == 0)
        return tn_fail(
            e, TN_ARG,
            "--data is missing; give one or more .jsonl or .jsonl.gz files of training rows");
    TN_TRY(tn_dataset_load(&l->train, o->data.v, o->data.n, l->tok, &q, e));
    if (o->eval_data.n)
        TN_TRY(tn_dataset_load(&l->eval, o->eval_data.v, o->eval_data.n, l->tok, &q, e));
    size_t most = l->train->n;
    if (l->eval && l->eval->n > most) most = l->eval->n;
    l->rows = tn_calloc(most, sizeof *l->rows);
    return l->rows ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

/* Room for reference log-probs next to the examples. */
static tn_status reserve_reference(loop *l, tn_err *e) {
    tn_dataset *d[2] = {l->train, l->eval};
    size_t n = 0;
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; d[k] && i < d[k]->n; i++) n += (size_t)tn_example_trained(&d[k]->ex[i]);
    l->ref_slab = tn_calloc(n, sizeof *l->ref_slab);
    if (!l->ref_slab) return tn_fail(e, TN_NOMEM, "out of memory for %zu reference log-probs", n);
    n = 0;
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; d[k] && i < d[k]->n; i++) {
            d[k]->ex[i].ref = l->ref_slab + n;
            n += (size_t)tn_example_trained(&d[k]->ex[i]);
        }
    return TN_OK;
}

static tn_status load_model(loop *l, tn_err *e) {
    const tn_task *k = l->task;
    tn_load how = {.train = true, .want_score = k->score_head};
    if (!k->fresh || l->from.len)
        return tn_model_load(&l->t.model, l->from.len ? l->from.s : l->o.model, l->be, &how, e);
    tn_str p = TN_STR_INIT;
    json_t *config = NULL;
    tn_desc d;
    tn_status st;
    tn_path_join(&p, l->o.model, "config.json");
    TN_GO(tn_json_load(p.s, &config, e), done);
    TN_GO(tn_desc_from_config(&d, config, p.s, e), done);
    st = tn_model_new(&l->t.model, &d, (uint64_t)l->o.seed, l->be, true, e);
    if (st == TN_OK)
        snprintf(l->t.model->dir, sizeof l->t.model->dir, "%s",
                 l->o.model); /* its generation_config.json goes along */
done:
    json_decref(config);
    tn_str_free(&p);
    return st;
}

static int longest(const tn_dataset *d) {
    int n = 1;
    for (size_t i = 0; d && i < d->n; i++)
        for (int k = 0; k < d->ex[i].n_response; k++)
            if (d->ex[i].n_prompt + d->ex[i].response[k].n > n)
                n = d->ex[i].n_prompt + d->ex[i].response[k].n;
    return n;
}

/* Sizes of the largest micro-batch and the longest sequence of training and evaluation. */
static tn_status measure(loop *l, tn_err *e) {
    const tn_train_options *o = &l->o;
    long rows = o->batch_tokens > 0 ? 0 : (long)(o->batch_size * o->accumulation);
    int a = longest(l->train), b = longest(l->eval), tokens = (int)o->micro_tokens;
    l->length = a > b ? a : b;
    if (l->length > l->t.model->desc.max_pos)
        tn_warn("the longest row has %d tokens, but the model was made for %d "
                "(max_position_embeddings)",
                l->length, l->t.model->desc.max_pos);
    TN_TRY(tn_batch_measure(&l->need, l->train, &l->t.batch, tokens, rows, e));
    return l->eval ? tn_batch_measure(&l->need, l->eval, &l->t.batch, tokens, 0, e) : TN_OK;
}

static tn_status make_runs(loop *l, tn_err *e) {
    tn_trainee *t = &l->t;
    int n = l->need.tokens;
    t->max_tokens = (int)l->o.micro_tokens;
    TN_TRY(tn_run_new(&t->run, t->model, n, n, l->length, true, e));
    TN_TRY(tn_run_reserve(t->run, t->model, l->need.blocks, e));
    size_t examples = l->train->n; /* of the largest step or evaluation */
    if (l->eval && l->eval->n > examples) examples = l->eval->n;
    TN_TRY(tn_lanes_new(&t->lanes, l->comm, l->lanes, t->model, examples, e));
    return tn_batch_reserve(&t->mb, &l->need, e);
}

static tn_status make_reference(loop *l, tn_err *e) {
    tn_trainee *t = &l->t;
    if (!l->task->reference) return TN_OK;
    const char *dir = l->task->ref_model ? l->task->ref_model : l->o.model;
    tn_load how = {0};
    if (l->task->ref_model || l->from.len)
        TN_TRY(tn_model_load(&l->ref, dir, l->be, &how, e));
    else
        TN_TRY(tn_model_copy(&l->ref, t->model, false, false, e));
    int n = l->need.tokens;
    t->ref = l->ref;
    TN_TRY(tn_run_new(&t->ref_run, l->ref, n, n, l->length, false, e));
    TN_TRY(tn_run_reserve(t->ref_run, l->ref, l->need.blocks, e));
    return reserve_reference(l, e);
}

static tn_order_kind order_of(const char *s) {
    return strcmp(s, "sequential") == 0 ? TN_ORDER_SEQUENTIAL
           : strcmp(s, "torch") == 0    ? TN_ORDER_TORCH
                                        : TN_ORDER_RANDOM;
}

/* ---- resume ---- */

static long state_int(const json_t *s, const char *k) {
    return (long)json_integer_value(json_object_get(s, k));
}

static tn_status resume(loop *l, json_t **history, tn_err *e) {
    json_t *s = NULL;
    TN_TRY(tn_checkpoint_load_state(l->from.s, &s, history, e));
    char hash[32];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)l->train->hash);
    const char *was = json_string_value(json_object_get(s, "data_hash")),
               *profile = json_string_value(json_object_get(s, "profile"));
    tn_status st = TN_OK;
    if (!was || strcmp(was, hash) != 0)
        st = tn_fail(e, TN_STATE,
                     "%s was trained on other rows (hash %s, these are %s); resume with the same "
                     "--data, order of "
                     "files and tokenizer",
                     l->from.s, was ? was : "unknown", hash);
    if (st == TN_OK && profile && strcmp(profile, l->be->profile) != 0)
        tn_warn("the checkpoint's numeric profile is %s, this run's is %s: the run goes on, its "
                "bits will differ from an "
                "uninterrupted one",
                profile, l->be->profile);
    l->step = state_int(s, "step"), l->tokens = state_int(s, "tokens"),
    l->full_tokens = state_int(s, "full_tokens");
    l->best_step = state_int(s, "best_step"), l->bad_evals = state_int(s, "bad_evals");
    const json_t *best = json_object_get(s, "best");
    l->have_best = json_is_number(best);
    l->best = json_number_value(best);
    json_decref(s);
    if (st == TN_OK) st = tn_checkpoint_load_moments(l->from.s, &(tn_part){"", l->t.model}, e);
    return st;
}

static tn_status save_state(loop *l, tn_err *e) {
    char hash[32];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)l->train->hash);
    json_decref(l->state);
    l->state = json_pack("{s:I,s:I,s:I,s:I,s:I,s:s,s:s}", "step", (json_int_t)l->step, "tokens",
                         (json_int_t)l->tokens, "full_tokens", (json_int_t)l->full_tokens,
                         "best_step", (json_int_t)l->best_step, "bad_evals",
                         (json_int_t)l->bad_evals, "data_hash", hash, "profile", l->be->profile);
    if (l->state && l->have_best) json_object_set_new(l->state, "best", json_real(l->best));
    if (!l->state) return tn_fail(e, TN_NOMEM, "out of memory");
    return tn_ranks_save_lanes(l->state, l->lanes, e);
}

static tn_ckpt checkpoint_of(loop *l, tn_part *part) {
    *part = (tn_part){"", l->t.model};
    return (tn_ckpt){l->o.output_dir, part, 1, l->tok, l->record, l->state, &l->log};
}

static tn_status checkpoint(loop *l, tn_err *e) {
    tn_part part;
    TN_TRY(save_state(l, e));
    tn_ckpt c = checkpoint_of(l, &part);
    TN_TRY(tn_checkpoint_save(&c, l->step, e));
    return tn_checkpoint_prune(l->o.output_dir, (long)l->o.save_limit, l->best_step, e);
}

/* ---- evaluation ---- */

static tn_status evaluate(loop *l, json_t *entry, tn_err *e) {
    tn_step_result r = {0};
    for (size_t i = 0; i < l->eval->n; i++) l->rows[i] = &l->eval->ex[i];
    TN_TRY(tn_trainee_accumulate(&l->t, l->rows, (int)l->eval->n, false, &r, e));
    json_object_set_new(entry, "eval_loss", json_real(r.loss));
    tn_runlog_put_metrics(entry, "eval_", &r.metrics);
    return TN_OK;
}

/* Is the new value better than the best one? Losses go down, everything else up. */
static tn_status judge(loop *l, const json_t *entry, bool *improved, tn_err *e) {
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

static json_t *entry_of(loop *l, const window *w, double lr) {
    json_t *j =
        json_pack("{s:I,s:f,s:f,s:f,s:f,s:I}", "step", (json_int_t)l->step, "loss", w->loss / w->n,
                  "grad_norm", w->norm / w->n, "learning_rate", lr, "epoch",
                  tn_plan_epoch_of(&l->plan, l->step), "num_tokens", (json_int_t)l->full_tokens);
    if (j) tn_runlog_put_metrics(j, "", &w->m);
    return j;
}

static tn_status one_step(loop *l, const tn_optimiser *opt, window *w, double *lr, tn_err *e) {
    const uint32_t *rows;
    size_t n;
    tn_plan_step(&l->plan, l->step, &rows, &n);
    for (size_t i = 0; i < n; i++) l->rows[i] = &l->train->ex[rows[i]];
    tn_step_result r = {0};
    TN_TRY(tn_trainee_accumulate(&l->t, l->rows, (int)n, true, &r, e));
    *lr = tn_lr_at(&l->o, l->peak_lr, l->step + 1, l->plan.total);
    TN_TRY(tn_trainee_update(&l->t, opt, *lr, l->step + 1, &r, e));
    l->step++;
    l->tokens += r.tokens;
    l->full_tokens += r.full_tokens;
    w->loss += r.loss, w->norm += r.grad_norm, w->n++;
    tn_metrics_merge(&w->m, &r.metrics);
    return TN_OK;
}

static tn_status train(loop *l, tn_err *e) {
    tn_optimiser opt = tn_optimiser_from_options(&l->o);
    tn_progress bar;
    window w = {0};
    bool stop = false, interrupted = false, asked = false;
    tn_progress_begin(&bar, l->task->verb, "steps", l->plan.total, l->step);
    while (l->step < l->plan.total && !stop) {
        double lr, rate, loss;
        TN_TRY(one_step(l, &opt, &w, &lr, e));
        loss = w.loss / w.n;
        bool last = l->step == l->plan.total;
        bool eval_now = l->eval && l->o.eval_steps > 0 && (l->step % l->o.eval_steps == 0 || last);
        TN_TRY(tn_ranks_signals(l->comm, &interrupted, &asked, e));
        stop = interrupted;
        if (l->step % l->o.logging_steps == 0 || eval_now || last || stop) {
            json_t *j = entry_of(l, &w, lr);
            if (!j) return tn_fail(e, TN_NOMEM, "out of memory");
            memset(&w, 0, sizeof w);
            TN_TRY(tn_runlog_entry(&l->log, j, e));
        }
        TN_TRY(tn_runlog_timing(&l->log, l->step, l->tokens, &rate, e));
        bool improved = false;
        if (eval_now) {
            json_t *j = json_pack("{s:I,s:f}", "step", (json_int_t)l->step, "epoch",
                                  tn_plan_epoch_of(&l->plan, l->step));
            tn_status st = evaluate(l, j, e);
            if (st == TN_OK) st = judge(l, j, &improved, e);
            if (st != TN_OK) {
                json_decref(j);
                return st;
            }
            TN_TRY(tn_runlog_entry(&l->log, j, e));
            stop = stop || (l->o.patience > 0 && l->bad_evals >= l->o.patience);
        }
        bool due = l->o.save_steps > 0 && l->step % l->o.save_steps == 0;
        if (due || asked || interrupted || (improved && l->o.keep_best))
            TN_TRY(checkpoint(l, e));
        tn_progress_update(&bar, l->step, "loss %.4f  %.0f tok/s", loss, rate);
    }
    tn_progress_end(&bar);
    if (l->step < l->plan.total && interrupted)
        return tn_fail(
            e, TN_INTERRUPTED,
            "stopped after step %ld of %ld; continue with --resume-from-checkpoint latest", l->step,
            l->plan.total);
    return TN_OK;
}

/* The best evaluated weights, when asked for, go back into the model. */
static tn_status take_best(loop *l, tn_err *e) {
    if (!l->o.keep_best || !l->have_best || l->best_step == l->step) return TN_OK;
    char name[64];
    tn_str p = TN_STR_INIT;
    tn_model *m = NULL;
    snprintf(name, sizeof name, "checkpoint-%ld", l->best_step);
    tn_path_join(&p, l->o.output_dir, name);
    tn_status st = tn_model_load(&m, p.s, l->be, &(tn_load){.want_score = l->task->score_head}, e);
    if (st == TN_OK) {
        memcpy(l->t.model->trunk->data, m->trunk->data, m->trunk->n * l->be->elem);
        if (m->head) memcpy(l->t.model->head->data, m->head->data, m->head->n * l->be->elem);
        tn_model_pack(l->t.model);
        tn_info("kept the weights of step %ld (%s %.6g)", l->best_step, l->o.best_metric, l->best);
    }
    tn_model_free(m);
    tn_str_free(&p);
    return st;
}

static tn_status finish(loop *l, tn_err *e) {
    if (l->eval && l->o.eval_steps == 0) {
        json_t *j = json_pack("{s:I,s:f}", "step", (json_int_t)l->step, "epoch",
                              tn_plan_epoch_of(&l->plan, l->step));
        tn_status st = evaluate(l, j, e);
        if (st != TN_OK) {
            json_decref(j);
            return st;
        }
        TN_TRY(tn_runlog_entry(&l->log, j, e));
    }
    TN_TRY(take_best(l, e));
    if (l->task->finish) TN_TRY(l->task->finish(&l->t, l->train, l->eval, l->record, e));
    TN_TRY(save_state(l, e));
    tn_part part;
    tn_ckpt c = checkpoint_of(l, &part);
    TN_TRY(tn_output_save(&c, tn_save_dtype(&l->o), e));
    tn_info("model written to %s", l->o.output_dir);
    return TN_OK;
}

static tn_status run(loop *l, tn_err *e) {
    const tn_task *k = l->task;
    const tn_train_options *o = &l->o;
    json_t *history = NULL;
    TN_TRY(tn_ranks_open(&l->o, &l->comm, e));
    if (!o->model) return tn_fail(e, TN_ARG, "--model is missing; give a Hugging Face folder");
    if (!o->dry_run) TN_TRY(tn_output_open(o, &l->lock, &l->from, e));
    TN_TRY(tn_ranks_lanes(o, l->comm, l->from.len ? l->from.s : "", &l->lanes, e));
    TN_TRY(tn_backend_from_options(&l->be, o, e));
    TN_TRY(tn_tokenizer_optional(&l->tok, o->model, o->chat_template, e));
    TN_TRY(load_model(l, e));
    TN_TRY(load_data(l, &l->t.model->desc, e));
    TN_TRY(tn_ranks_check(l->comm, l->train->hash, l->be->profile, e));
    l->t.algo = k->algo, l->t.opt = k->opt, l->t.needs = tn_algo_needs(k->algo, k->opt),
    l->t.inv_temp = 1.0;
    l->t.batch = (tn_batch_options){o->share_prompts, k->rankings};
    l->peak_lr = isnan(o->lr) ? k->default_lr : o->lr;
    TN_TRY(tn_plan_new(&l->plan, l->train, order_of(o->sampling), (uint64_t)o->seed,
                       (long)(o->batch_size * o->accumulation), (long)o->batch_tokens, o->epochs,
                       (long)o->max_steps, e));
    TN_TRY(measure(l, e));
    TN_TRY(tn_intro_print(k, o, l->t.model, l->tok, l->train, l->eval, &l->plan, &l->t.batch, l->lanes, e));
    if (o->dry_run) return TN_OK;
    TN_TRY(make_runs(l, e));
    TN_TRY(make_reference(l, e));
    l->record = tn_run_record(k->verb, l->opts, l->be, l->train->hash);
    if (!l->record) return tn_fail(e, TN_NOMEM, "out of memory");
    if (l->from.len) TN_TRY(resume(l, &history, e));
    tn_status st = tn_runlog_open(&l->log, o->output_dir, l->step, history, e);
    json_decref(history);
    TN_TRY(st);
    if (l->from.len) tn_info("continuing after step %ld from %s", l->step, l->from.s);
    if (k->precompute_ref) TN_TRY(tn_trainee_precompute_reference(&l->t, l->train, l->eval, e));
    tn_signals_install();
    TN_TRY(train(l, e));
    return finish(l, e);
}

tn_status tn_task_run(const tn_task *task, const tn_opts *opts, tn_err *e) {
    loop l;
    memset(&l, 0, sizeof l);
    l.task = task, l.opts = opts, l.lock = -1;
    tn_opts_bind(opts, tn_train_option_rows, &l.o);
    tn_opts_bind(opts, tn_machine_option_rows, &l.o);
    tn_status st = run(&l, e);
    st = tn_comm_settle(tn_comm_world(), st, e);
    loop_free(&l);
    return st;
}
