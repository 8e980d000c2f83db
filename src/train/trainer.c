#include "train/trainer.h"
#include "base/log.h"
#include "base/manifest.h"
#include "base/signals.h"
#include "ops/profile.h"
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
    tn_adapter_options lora;
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
    tn_desc desc;
    tn_lora_spec spec; /* rank 0: all weights are trained */
    double peak_lr, best;
    long step, tokens, full_tokens, best_step, bad_evals;
    long saved;               /* step of this process's last checkpoint that owes nothing; -1: none */
    bool have_best, owes_eval; /* an evaluation is due after `step` */
} loop;

static void loop_free(loop *l) {
    tn_lanes_free(l->t.lanes);
    tn_pooled_free(l->t.pooled);
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
                         .steps = l->task->steps,
                         .last_step_only = l->task->last_step_only,
                         .vocab = d->vocab,
                         .limit = (long)o->max_rows};
    if (o->data.n == 0)
        return tn_fail(
            e, TN_ARG,
            "--data is missing; give one or more .jsonl or .jsonl.gz files of training rows");
    TN_TRY(tn_dataset_load(&l->train, o->data.v, o->data.n, l->tok, &q, e));
    q.last_step_only = false;
    if (o->eval_data.n)
        TN_TRY(tn_dataset_load(&l->eval, o->eval_data.v, o->eval_data.n, l->tok, &q, e));
    size_t most = l->train->n;
    if (l->eval && l->eval->n > most) most = l->eval->n;
    l->rows = tn_calloc(most, sizeof *l->rows);
    return l->rows ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

/* --model of a fresh run holds no weights, only what they shall be. */
static tn_status read_config(const loop *l, json_t **config, tn_desc *d, tn_err *e) {
    tn_str p = TN_STR_INIT;
    tn_path_join(&p, l->o.model, "config.json");
    tn_status st = p.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_json_load(p.s, config, e);
    if (st == TN_OK) st = tn_desc_from_config(d, *config, p.s, e);
    tn_str_free(&p);
    return st;
}

static tn_load how_to_load(const loop *l) {
    const tn_task *k = l->task;
    tn_load how = {.train = true, .want_score = k->score_head};
    if (k->pooled) tn_pooled_wants(k->pooled, k->opt, &how);
    if (k->per_token) how.per_token = how.score_bias = true, how.labels = 2;
    return how;
}
static bool is_fresh(const loop *l) { return l->task->fresh && !l->from.len; }

/* Process reward models are no other reward models' start, nor they theirs. */
static tn_status check_kind(const loop *l, tn_err *e) {
    const tn_desc *d = &l->desc;
    if (!l->task->score_head || (d->per_token == l->task->per_token && d->num_labels == (d->per_token ? 2 : 1)))
        return TN_OK;
    return tn_fail(e, TN_STATE,
                   "%s has a head of %d label%s for every %s; `tenet %s` goes on from a language model, or from what "
                   "it made itself",
                   l->o.model, d->num_labels, d->num_labels == 1 ? "" : "s", d->per_token ? "token" : "sequence",
                   l->task->verb);
}

/* The descriptor of the model to come. */
static tn_status peek(loop *l, tn_err *e) {
    json_t *config = NULL;
    tn_load how = how_to_load(l);
    if (!is_fresh(l)) {
        TN_TRY(tn_trained_model_peek(&l->desc, &l->spec, &l->lora, l->opts, l->o.model,
                                     l->from.len ? l->from.s : NULL, how, e));
        return check_kind(l, e);
    }
    if (l->lora.use_peft)
        return tn_fail(e, TN_ARG, "--use-peft: a model with random weights is trained whole");
    tn_status st = read_config(l, &config, &l->desc, e);
    json_decref(config);
    return st;
}

static tn_status load_model(loop *l, tn_err *e) {
    const tn_task *k = l->task;
    if (!is_fresh(l)) {
        TN_TRY(tn_trained_model_open(&l->t.model, &l->lora, l->opts, l->o.model,
                                     l->from.len ? l->from.s : NULL, how_to_load(l),
                                     (uint64_t)l->o.seed, l->be, e));
        tn_model *m = l->t.model;
        if (m->fresh_score)
            tn_model_init_score(m, isnan(k->head_init) ? m->desc.init_range : k->head_init,
                                (uint64_t)l->o.seed);
        return TN_OK;
    }
    TN_TRY(tn_model_new(&l->t.model, &l->desc, (uint64_t)l->o.seed, l->be, true, e));
    snprintf(l->t.model->dir, sizeof l->t.model->dir, "%s",
             l->o.model); /* its generation_config.json goes along */
    return TN_OK;
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
    if (l->length > l->desc.max_pos)
        tn_warn("the longest row has %d tokens, but the model was made for %d "
                "(max_position_embeddings)",
                l->length, l->desc.max_pos);
    TN_TRY(tn_batch_measure(&l->need, l->train, &l->t.batch, tokens, rows, e));
    return l->eval ? tn_batch_measure(&l->need, l->eval, &l->t.batch, tokens, 0, e) : TN_OK;
}

/* Rows that the heads read: every token may be trained, or each response has one score. */
static int rows_read(const loop *l) {
    return l->task->score_head && !l->task->per_token ? l->need.seqs : l->need.tokens;
}

/* Reference log-probs that are kept beside the examples. */
static size_t kept_reference(const loop *l) {
    const tn_dataset *d[2] = {l->train, l->eval};
    size_t n = 0;
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; d[k] && i < d[k]->n; i++) n += (size_t)tn_example_trained(&d[k]->ex[i]);
    return n;
}

/* Room for reference log-probs next to the examples. */
static tn_status reserve_reference(loop *l, tn_err *e) {
    tn_dataset *d[2] = {l->train, l->eval};
    size_t n = kept_reference(l);
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

/* Responses of the largest step or evaluation. */
static size_t step_responses(const loop *l) {
    const tn_dataset *d[2] = {l->train, l->eval};
    size_t n[2] = {0, 0}, most = 1, rows = (size_t)(l->o.batch_size * l->o.accumulation);
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; d[k] && i < d[k]->n; i++) {
            n[k] += (size_t)d[k]->ex[i].n_response;
            if (k == 0 && (size_t)d[k]->ex[i].n_response > most) most = (size_t)d[k]->ex[i].n_response;
        }
    if (l->o.batch_tokens == 0 && rows * most < n[0]) n[0] = rows * most;
    return n[0] > n[1] ? n[0] : n[1];
}

static tn_status plan_memory(loop *l, tn_err *e) {
    const tn_desc *d = &l->desc;
    const tn_batch_need *q = &l->need;
    bool score = l->task->score_head;
    int n = q->tokens;
    tn_budget p = {0};
    tn_budget_present(&p);
    p.moments = tn_moments_from_option(l->o.optim);
    tn_budget_ranks(&p, l->comm->size, tn_lanes_spare(l->comm->size, l->lanes));
    tn_budget_trained(&p, "model", d, &l->spec, l->be, score);
    tn_budget_run(&p, "model", d, l->be, n, rows_read(l), l->length, q->blocks, tn_keep_from_options(&l->o));
    tn_budget_adapter_run(&p, "model", d, &l->spec, l->be, n, true);
    tn_budget_scratch(&p, d, &l->spec, l->be, n, score ? 0 : n, true);
    tn_budget_add(&p, "micro-batch", "", tn_batch_bytes(q));
    if (l->task->pooled)
        tn_budget_add(&p, "score head", "", tn_pooled_bytes(l->task->pooled, l->task->opt, d->hidden, q->seqs));
    if (l->task->pooled && l->task->algo->coupling == TN_COUPLE_BATCH)
        tn_budget_add(&p, "score head", "step", tn_pooled_step_bytes(l->task->pooled, l->task->opt, step_responses(l)));
    if (l->task->reference) {
        /* computed beforehand: gone before gradients are there, which take more */
        if (!l->task->precompute_ref)
            TN_TRY(tn_reference_budget(&p, d, &l->spec, &l->lora, l->o.model, l->task->ref_model, l->be,
                                       n, n, l->length, q->blocks, e));
        tn_budget_add(&p, "reference", "log-probs", kept_reference(l) * sizeof(double));
    }
    return tn_intro_memory(&p, l->o.max_memory, e);
}

static tn_status make_runs(loop *l, tn_err *e) {
    tn_trainee *t = &l->t;
    int n = l->need.tokens;
    t->max_tokens = l->o.micro_tokens < n ? (int)l->o.micro_tokens : n;
    TN_TRY(tn_run_new(&t->run, t->model, n, rows_read(l), l->length, tn_keep_from_options(&l->o), e));
    TN_TRY(tn_run_reserve(t->run, t->model, l->need.blocks, e));
    tn_model_moments(t->model, tn_moments_from_option(l->o.optim), (uint64_t)l->o.seed);
    if (l->task->pooled) {
        TN_TRY(tn_pooled_new(&t->pooled, l->task->pooled, l->task->opt, l->desc.hidden, l->need.seqs,
                             (uint64_t)l->o.seed, e));
        tn_pooled_fold(t->pooled, t->model);
        if (l->task->algo->coupling == TN_COUPLE_BATCH)
            TN_TRY(tn_pooled_reserve_step(t->pooled, step_responses(l), l->comm->size, e));
    }
    size_t examples = l->train->n; /* of the largest step or evaluation */
    if (l->eval && l->eval->n > examples) examples = l->eval->n;
    TN_TRY(tn_lanes_new(&t->lanes, l->comm, l->lanes, t->model, examples, e));
    return tn_batch_reserve(&t->mb, &l->need, e);
}

static tn_status make_reference(loop *l, tn_err *e) {
    tn_trainee *t = &l->t;
    if (!l->task->reference) return TN_OK;
    TN_TRY(tn_reference_open(&l->ref, t->model, &l->lora, l->o.model, l->task->ref_model,
                             l->from.len > 0, e));
    int n = l->need.tokens;
    t->ref = l->ref;
    if (tn_reference_shares_run(t->run, l->ref, t->model, l->task->ref_model)) return reserve_reference(l, e);
    TN_TRY(tn_run_new(&t->ref_run, l->ref, n, n, l->length, false, e));
    TN_TRY(tn_run_reserve(t->ref_run, l->ref, l->need.blocks, e));
    return reserve_reference(l, e);
}

/* ---- resume ---- */

static long state_int(const json_t *s, const char *k) {
    return (long)json_integer_value(json_object_get(s, k));
}

static tn_status resume(loop *l, json_t **history, tn_err *e) {
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
    json_decref(s);
    return tn_checkpoint_load_moments(l->from.s, &(tn_part){"", l->t.model}, e);
}

static tn_status save_state(loop *l, tn_err *e) {
    json_decref(l->state);
    l->state = json_pack("{s:I,s:I,s:I,s:I,s:I,s:o*}", "step", (json_int_t)l->step, "tokens",
                         (json_int_t)l->tokens, "full_tokens", (json_int_t)l->full_tokens,
                         "best_step", (json_int_t)l->best_step, "bad_evals",
                         (json_int_t)l->bad_evals, "best", l->have_best ? json_real(l->best) : NULL);
    bool whole = l->state && (!l->have_best || json_object_get(l->state, "best"));
    if (whole && l->owes_eval) whole = json_object_set_new(l->state, "owes_eval", json_true()) == 0;
    if (!whole) return tn_fail(e, TN_NOMEM, "out of memory");
    return tn_ranks_save_lanes(l->state, l->lanes, e);
}

static tn_ckpt checkpoint_of(loop *l, tn_part *part) {
    *part = (tn_part){"", l->t.model};
    return (tn_ckpt){l->o.output_dir, part, 1, l->tok, l->record, l->state, &l->log};
}

static bool is_due(const loop *l) { return l->o.save_steps > 0 && l->step % l->o.save_steps == 0; }

static tn_status checkpoint(loop *l, tn_err *e) {
    tn_part part;
    if (l->saved == l->step) return TN_OK;
    TN_TRY(save_state(l, e));
    tn_ckpt c = checkpoint_of(l, &part);
    TN_TRY(tn_checkpoint_save(&c, l->step, e));
    l->saved = l->owes_eval ? -1 : l->step;
    return tn_checkpoint_prune(&c, (long)l->o.save_limit, l->best_step, e);
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
    if (l->t.pooled) l->t.pooled->step = l->step;
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

/* What a step left to be done. */
typedef struct outcome {
    double loss, rate;
    bool due, stop; /* a checkpoint; Ctrl-C at some rank */
} outcome;

static tn_status advance(loop *l, const tn_optimiser *opt, window *w, outcome *o, tn_err *e) {
    double lr;
    bool asked;
    TN_TRY(one_step(l, opt, w, &lr, e));
    o->loss = w->loss / w->n;
    bool last = l->step == l->plan.total;
    l->owes_eval = l->eval && (last || (l->o.eval_steps > 0 && l->step % l->o.eval_steps == 0));
    TN_TRY(tn_ranks_signals(l->comm, &o->stop, &asked, e));
    o->due = asked || is_due(l);
    /* entries end where checkpoints are, so that a resumed run averages the same steps */
    if (l->step % l->o.logging_steps == 0 || l->owes_eval || last || o->stop || o->due) {
        json_t *j = entry_of(l, w, lr);
        if (!j) return tn_fail(e, TN_NOMEM, "out of memory");
        memset(w, 0, sizeof *w);
        TN_TRY(tn_runlog_entry(&l->log, j, e));
    }
    return tn_runlog_timing(&l->log, l->step, l->tokens, &o->rate, e);
}

/* The evaluation that the step owes. *improved: the best one of --eval-steps so far. */
static tn_status pay_eval(loop *l, bool *improved, tn_err *e) {
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
static bool goes_on(const loop *l) {
    bool enough = l->o.patience > 0 && l->bad_evals >= l->o.patience;
    return l->owes_eval || (l->step < l->plan.total && !enough);
}

static tn_status stopped(const loop *l, tn_err *e) {
    return tn_fail(e, TN_INTERRUPTED,
                   "stopped after step %ld of %ld; continue with --resume-from-checkpoint latest", l->step,
                   l->plan.total);
}

static tn_status train(loop *l, tn_err *e) {
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
static bool takes_best(const loop *l) { return l->o.keep_best && l->have_best && l->best_step != l->step; }
static tn_status take_best(loop *l, tn_err *e) {
    if (!takes_best(l)) return TN_OK;
    char name[64];
    tn_str p = TN_STR_INIT;
    tn_model *m = NULL;
    snprintf(name, sizeof name, "checkpoint-%ld", l->best_step);
    tn_path_join(&p, l->o.output_dir, name);
    tn_model *on = l->t.model->n_adapter ? l->t.model : NULL;
    tn_load how = how_to_load(l);
    how.train = false, how.base = l->t.model->dir, how.on = on;
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
static tn_status finish_task(loop *l, tn_err *e) {
    bool other = takes_best(l);
    if (!l->task->finish) return take_best(l, e);
    if (other) TN_TRY(checkpoint(l, e));
    TN_TRY(take_best(l, e));
    tn_status st = l->task->finish(&l->t, l->train, l->eval, l->record, e);
    if (st != TN_INTERRUPTED) return st;
    if (!other) TN_TRY(checkpoint(l, e));
    return stopped(l, e);
}

static tn_status finish(loop *l, tn_err *e) {
    TN_TRY(finish_task(l, e));
    TN_TRY(save_state(l, e));
    tn_part part;
    tn_ckpt c = checkpoint_of(l, &part);
    TN_TRY(tn_output_save(&c, tn_output_dtype(&l->o, l->t.model), e));
    tn_info("%s written to %s", l->t.model->n_adapter ? "adapter" : "model", l->o.output_dir);
    return TN_OK;
}

/* All of the reference's log-probs; then it goes. */
static tn_status precompute_reference(loop *l, tn_err *e) {
    tn_status st = tn_trainee_precompute_reference(&l->t, l->train, l->eval, e);
    if (st == TN_INTERRUPTED) return stopped(l, e);
    TN_TRY(st);
    tn_run_free(l->t.ref_run);
    tn_model_free(l->ref);
    l->t.ref_run = NULL;
    l->t.ref = l->ref = NULL;
    return TN_OK;
}

static tn_status run(loop *l, tn_err *e) {
    const tn_task *k = l->task;
    const tn_train_options *o = &l->o;
    json_t *history = NULL;
    TN_TRY(tn_ranks_open(&l->o, &l->comm, e));
    if (!o->model) return tn_fail(e, TN_ARG, "--model is missing; give a Hugging Face folder");
    if ((o->keep_best || o->patience > 0) && !(o->eval_data.n && o->eval_steps > 0))
        return tn_fail(e, TN_ARG, "--%s compares evaluations: give --eval-data and --eval-steps, too",
                       o->keep_best ? "load-best-model-at-end" : "early-stopping-patience");
    if (!o->dry_run) TN_TRY(tn_output_open(o, &l->lock, &l->from, e));
    TN_TRY(tn_ranks_lanes(o, l->comm, l->from.len ? l->from.s : "", &l->lanes, e));
    TN_TRY(tn_backend_from_options(&l->be, o, e));
    TN_TRY(tn_tokenizer_of(&l->tok, o->model, l->lora.base_model, o->chat_template, e));
    TN_TRY(peek(l, e));
    TN_TRY(load_data(l, &l->desc, e));
    TN_TRY(tn_ranks_check(l->comm, l->train->hash, l->be->profile, e));
    l->t.algo = k->algo, l->t.opt = k->opt, l->t.needs = tn_algo_needs(k->algo, k->opt),
    l->t.inv_temp = 1.0;
    l->t.batch = (tn_batch_options){.share_prompts = o->share_prompts, .rankings = k->rankings, .step_ends = k->per_token};
    l->peak_lr = isnan(o->lr) ? k->default_lr : o->lr;
    TN_TRY(tn_plan_new(&l->plan, l->train, tn_order_of(o), (uint64_t)o->seed,
                       (long)(o->batch_size * o->accumulation), (long)o->batch_tokens, o->epochs,
                       (long)o->max_steps, e));
    TN_TRY(measure(l, e));
    TN_TRY(tn_intro_print(k->verb, &l->desc, l->be, l->tok, l->train, l->eval, &l->plan, e));
    TN_TRY(plan_memory(l, e));
    TN_TRY(load_model(l, e));
    tn_intro_adapter(l->t.model);
    tn_intro_time(l->t.model, k->reference, l->train, &l->plan, &l->t.batch);
    if (o->dry_run) return TN_OK;
    TN_TRY(make_runs(l, e));
    TN_TRY(make_reference(l, e));
    TN_TRY(tn_run_record(&l->record, k->verb, l->opts, l->be, l->train->hash, e));
    if (l->from.len) TN_TRY(resume(l, &history, e));
    tn_status st = tn_runlog_open(&l->log, o->output_dir, l->step, history, e);
    json_decref(history);
    TN_TRY(st);
    l->log.be = l->be;
    TN_TRY(tn_runlog_report(&l->log, o, l->step, e));
    if (l->from.len) tn_info("continuing after step %ld from %s", l->step, l->from.s);
    tn_signals_install();
    if (k->precompute_ref) TN_TRY(precompute_reference(l, e));
    TN_TRY(train(l, e));
    return finish(l, e);
}

tn_status tn_task_run(const tn_task *task, const tn_opts *opts, tn_err *e) {
    loop l;
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
