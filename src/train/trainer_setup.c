/* From options to a run that can begin: rows, plan, memory, model, workspaces, reference. */
#include "train/trainer_int.h"
#include "base/log.h"
#include "model/live.h"
#include "train/answers.h"
#include "train/intro.h"
#include "train/ranks.h"
#include <math.h>
#include <string.h>

/* ---- set-up ---- */

int tn_loop_sets(const tn_loop *l, tn_dataset *d[TN_LOOP_SETS]) {
    tn_dataset *all[] = {l->train, l->eval, l->train->mismatched,
                         l->eval ? l->eval->mismatched : NULL, l->train->teachers,
                         l->eval ? l->eval->teachers : NULL};
    int n = 0;
    for (int i = 0; i < TN_LOOP_SETS; i++)
        if (all[i]) d[n++] = all[i];
    return n;
}

size_t tn_loop_examples(const tn_loop *l) {
    return l->eval && l->eval->n > l->train->n ? l->eval->n : l->train->n;
}

bool tn_loop_whole(const tn_loop *l) { return l->task->algo->coupling == TN_COUPLE_BATCH && !l->task->pooled; }

static tn_status mismatch(tn_loop *l, const tn_data_options *q, tn_err *e) {
    const tn_ahead *a = l->task->ahead;
    if (!a || !a->mismatched) return TN_OK;
    long block = a->block > 0 ? a->block : l->o.batch_size * l->o.accumulation;
    TN_TRY(tn_dataset_mismatch(l->train, block, q, e));
    return l->eval ? tn_dataset_mismatch(l->eval, block, q, e) : TN_OK;
}

static tn_status load_data(tn_loop *l, const tn_desc *d, tn_err *e) {
    const tn_train_options *o = &l->o;
    tn_data_options q = {.kind = l->task->data,
                         .max_length = (int)o->max_length,
                         .keep_end = strcmp(o->truncation_mode, "keep_end") == 0,
                         .drop_long = l->task->drop_long,
                         .completion_only = o->completion_only,
                         .assistant_only = o->assistant_only || l->task->answers_only,
                         .chat_transcripts = strcmp(o->transcripts, "chat") == 0,
                         .seam = strcmp(o->seam, "force") == 0 ? TN_SEAM_FORCE : TN_SEAM_TRL,
                         .steps = l->task->steps,
                         .teacher_template = l->task->teacher_template,
                         .last_step_only = l->task->last_step_only,
                         .gold = l->task->gold,
                         .hard_labels = o->hard_labels,
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
    if (l->train->stats.soft && !l->task->soft_labels)
        return tn_fail(e, TN_ARG, "%ld rows have a soft label (\"p\"), which this loss does not read; --hard-labels takes them as certain",
                       l->train->stats.soft);
    TN_TRY(mismatch(l, &q, e));
    l->rows = tn_calloc(tn_loop_examples(l), sizeof *l->rows);
    return l->rows ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

/* --model of a fresh run holds no weights, only what they shall be. */
static tn_status read_config(const tn_loop *l, json_t **config, tn_desc *d, tn_err *e) {
    tn_str p = TN_STR_INIT;
    tn_path_join(&p, l->o.model, "config.json");
    tn_status st = p.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_json_load(p.s, config, e);
    if (st == TN_OK) st = tn_desc_from_config(d, *config, p.s, e);
    tn_str_free(&p);
    return st;
}

tn_load tn_loop_how_to_load(const tn_loop *l) {
    const tn_task *k = l->task;
    tn_load how = {.want_score = k->score_head};
    if (k->pooled) tn_pooled_wants(k->pooled, k->opt, &how);
    if (k->per_token) how.per_token = how.score_bias = true, how.labels = 2;
    return how;
}
static bool is_fresh(const tn_loop *l) { return l->task->fresh && !l->from.len; }

/* Process reward models are no other reward models' start, nor they theirs. */
static tn_status check_kind(const tn_loop *l, tn_err *e) {
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
static tn_status peek(tn_loop *l, tn_err *e) {
    json_t *config = NULL;
    tn_load how = tn_loop_how_to_load(l);
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

static tn_status load_model(tn_loop *l, tn_err *e) {
    const tn_task *k = l->task;
    if (!is_fresh(l)) {
        TN_TRY(tn_trained_model_open(&l->t.model, &l->lora, l->opts, l->o.model,
                                     l->from.len ? l->from.s : NULL, tn_loop_how_to_load(l),
                                     (uint64_t)l->o.seed, l->be, e));
        tn_model *m = l->t.model;
        if (m->fresh_score)
            tn_model_init_score(m, isnan(k->head_init) ? m->desc.init_range : k->head_init,
                                (uint64_t)l->o.seed);
        return TN_OK;
    }
    TN_TRY(tn_model_new(&l->t.model, &l->desc, (uint64_t)l->o.seed, l->be, e));
    snprintf(l->t.model->dir, sizeof l->t.model->dir, "%s",
             l->o.model); /* its generation_config.json goes along */
    return TN_OK;
}

static int longest(const tn_dataset *d) {
    int n = 1;
    for (size_t i = 0; i < d->n; i++)
        for (int k = 0; k < d->ex[i].n_response; k++)
            if (d->ex[i].n_prompt + d->ex[i].response[k].n > n)
                n = d->ex[i].n_prompt + d->ex[i].response[k].n;
    return n;
}

/* Sizes of the largest micro-batch, the longest sequence, and what a step has in all. */
static tn_status measure(tn_loop *l, tn_err *e) {
    const tn_train_options *o = &l->o;
    long rows = o->batch_tokens > 0 ? 0 : (long)(o->batch_size * o->accumulation);
    tn_dataset *d[TN_LOOP_SETS];
    for (int k = 0, n = tn_loop_sets(l, d); k < n; k++) {
        bool in_steps = d[k] == l->train || d[k] == l->train->mismatched || d[k] == l->train->teachers;
        int length = longest(d[k]);
        if (length > l->length) l->length = length;
        TN_TRY(tn_batch_measure(&l->need, d[k], &l->t.batch, (int)o->micro_tokens,
                                in_steps ? rows : 0, e));
        if (tn_loop_whole(l))
            tn_batch_measure_step(&l->whole, d[k], &l->t.batch, rows, (long)o->batch_tokens);
    }
    if (l->task->answers) TN_TRY(tn_answers_measure(l->task->answers, l->train, o, &l->need, &l->length, e));
    if (l->length > l->desc.max_pos)
        tn_warn("the longest row has %d tokens, but the model was made for %d "
                "(max_position_embeddings)",
                l->length, l->desc.max_pos);
    return TN_OK;
}

/* Rows that the heads read: every token may be trained, or each response has one score. */
static int rows_read(const tn_loop *l) {
    return l->task->score_head && !l->task->per_token ? l->need.seqs : l->need.tokens;
}

/* Reference log-probs that are kept beside the examples. */
static size_t kept_reference(const tn_loop *l) {
    tn_dataset *d[TN_LOOP_SETS];
    size_t n = 0;
    if (!(l->t.needs & TN_NEED_REF_LOGP) || l->t.needs & TN_NEED_PAIR) return 0; /* the reference runs anyway */
    for (int k = 0, sets = tn_loop_sets(l, d); k < sets; k++)
        for (size_t i = 0; i < d[k]->n; i++) n += (size_t)tn_example_trained(&d[k]->ex[i]);
    return n;
}

/* Room for reference log-probs next to the examples. */
static tn_status reserve_reference(tn_loop *l, tn_err *e) {
    tn_dataset *d[TN_LOOP_SETS];
    size_t n = kept_reference(l);
    if (n == 0) return TN_OK;
    l->ref_slab = tn_calloc(n, sizeof *l->ref_slab);
    if (!l->ref_slab) return tn_fail(e, TN_NOMEM, "out of memory for %zu reference log-probs", n);
    n = 0;
    for (int k = 0, sets = tn_loop_sets(l, d); k < sets; k++)
        for (size_t i = 0; i < d[k]->n; i++) {
            d[k]->ex[i].ref = l->ref_slab + n;
            n += (size_t)tn_example_trained(&d[k]->ex[i]);
        }
    return TN_OK;
}

static const tn_batch_need *whole_need(const tn_loop *l) {
    return tn_loop_whole(l) ? &l->whole : NULL;
}
/* A pooled head whose loss sees a whole step's scores. */
static bool pools_steps(const tn_loop *l) { return l->task->pooled && l->task->algo->coupling == TN_COUPLE_BATCH; }

/* Responses of the largest step or evaluation. */
static size_t step_responses(const tn_loop *l) {
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

static bool looks_ahead(const tn_loop *l) { return l->task->ahead || tn_loop_whole(l); }

static void name_rows(uint8_t *live, const tn_desc *d, const tn_example *x) {
    tn_live_mark(live, d->hidden, x->prompt, (size_t)x->n_prompt, d->pad);
    for (int r = 0; r < x->n_response; r++)
        tn_live_mark(live, d->hidden, x->response[r].ids, (size_t)x->response[r].n, d->pad);
}

/* Rows that the first epoch comes to. */
static size_t rows_seen(const tn_loop *l) {
    const tn_plan *p = &l->plan;
    return (size_t)p->total < p->n_step ? p->cut[p->total] : p->n;
}

/* The rows of the embedding that the run's steps name; NULL where answers will be sampled. */
static tn_status named_rows(const tn_loop *l, uint8_t **live, tn_err *e) {
    const tn_desc *d = &l->desc;
    const tn_plan *plan = &l->plan;
    const tn_dataset *also = l->train->mismatched;
    size_t seen = rows_seen(l);
    *live = NULL;
    if (l->task->answers) return TN_OK;
    *live = tn_calloc(tn_live_blocks((size_t)d->vocab * (size_t)d->hidden), 1);
    if (!*live) return tn_fail(e, TN_NOMEM, "out of memory");
    for (size_t i = 0; i < seen; i++) name_rows(*live, d, &l->train->ex[plan->order[i]]);
    for (size_t i = 0; also && i < also->n; i++) name_rows(*live, d, &also->ex[i]);
    return TN_OK;
}

static tn_status plan_memory(tn_loop *l, const uint8_t *live, tn_err *e) {
    const tn_desc *d = &l->desc;
    const tn_batch_need *q = &l->need;
    bool score = l->task->score_head;
    int n = q->tokens;
    tn_budget p = {0};
    tn_budget_present(&p);
    p.moments = tn_moments_from_option(l->o.optim);
    p.live = live;
    p.sum_sq = (l->t.needs & TN_NEED_SUM_SQ) != 0;
    tn_budget_ranks(&p, l->comm->size, tn_lanes_spare(l->comm->size, l->lanes));
    tn_budget_trained(&p, "model", d, &l->spec, l->be, score);
    tn_budget_run(&p, "model", d, l->be, n, rows_read(l), l->length, q->blocks,
                  tn_keep_from_options(&l->o));
    tn_budget_adapter_run(&p, "model", d, &l->spec, l->be, n, true);
    tn_budget_scratch(&p, d, &l->spec, l->be, n, score ? 0 : n, true);
    tn_budget_add(&p, "micro-batch", "", tn_batch_bytes(q) * (l->task->teacher_template ? 2 : 1));
    if (l->task->pooled)
        tn_budget_add(&p, "score head", "", tn_pooled_bytes(l->task->pooled, l->task->opt, d->hidden, q->seqs));
    if (pools_steps(l))
        tn_budget_add(&p, "score head", "step", tn_pooled_step_bytes(l->task->pooled, l->task->opt, step_responses(l)));
    if (l->task->reference && !l->task->live_reference) {
        if (l->task->sync) {
            tn_budget_model(&p, "reference", d, l->be, false, false);
            if (l->task->ref_model)
                tn_budget_run(&p, "reference", d, l->be, n, n, l->length, q->blocks,
                              TN_KEEP_NOTHING);
        } else if (!l->task->precompute_ref) { /* else gone before gradients, which take more */
            TN_TRY(tn_reference_budget(&p, d, &l->spec, &l->lora, l->o.model, l->task->ref_model,
                                       l->be, n, n, l->length, q->blocks, e));
        }
        tn_budget_add(&p, "reference", "log-probs", kept_reference(l) * sizeof(double));
    }
    if (l->t.needs & TN_NEED_PAIR)
        TN_TRY(tn_pairing_budget(&p, d, &l->spec, &l->lora, l->o.model, l->task->ref_model, l->be, n, n, l->length,
                                 q->blocks, e));
    if (l->task->answers)
        TN_TRY(tn_answers_budget(l->task->answers, &p, d, l->task->ref_model, l->lora.base_model, l->be, e));
    if (looks_ahead(l))
        tn_budget_add(&p, "loss", "", tn_foresight_bytes(tn_loop_examples(l), whole_need(l)));
    return tn_intro_memory(&p, l->o.max_memory, e);
}

static tn_status make_runs(tn_loop *l, tn_err *e) {
    tn_trainee *t = &l->t;
    int n = l->need.tokens;
    t->max_tokens = l->o.micro_tokens < n ? (int)l->o.micro_tokens : n;
    TN_TRY(
        tn_run_new(&t->run, t->model, n, rows_read(l), l->length, tn_keep_from_options(&l->o), e));
    TN_TRY(tn_run_reserve(t->run, t->model, l->need.blocks, e));
    tn_model_moments(t->model, tn_moments_from_option(l->o.optim), (uint64_t)l->o.seed);
    if (l->task->pooled) {
        TN_TRY(tn_pooled_new(&t->pooled, l->task->pooled, l->task->opt, l->desc.hidden, l->need.seqs,
                             (uint64_t)l->o.seed, e));
        tn_pooled_fold(t->pooled, t->model);
        if (pools_steps(l)) TN_TRY(tn_pooled_reserve_step(t->pooled, step_responses(l), l->comm->size, e));
    }
    size_t examples = tn_loop_examples(l);
    TN_TRY(tn_lanes_new(&t->lanes, l->comm, l->lanes, t->model, examples, e));
    t->ahead.how = l->task->ahead;
    if (looks_ahead(l))
        TN_TRY(tn_foresight_reserve(&t->ahead, examples, whole_need(l), l->comm->size, e));
    return tn_batch_reserve(&t->mb, &l->need, e);
}

static tn_status open_reference(tn_loop *l, tn_err *e) {
    const char *from = l->from.len ? l->from.s : NULL;
    if (l->task->sync) return tn_moving_ref_open(&l->ref, l->t.model, l->task->ref_model, from, e);
    return tn_reference_open(&l->ref, l->t.model, &l->lora, l->o.model, l->task->ref_model,
                             from != NULL, e);
}

/* Log-probs that are all computed before the first step of a run are the model's own. */
static bool starts_as_reference(const tn_loop *l) {
    return l->task->precompute_ref && !l->task->ref_model && !l->task->sync && !l->from.len && !l->t.model->n_adapter;
}

static tn_status make_reference(tn_loop *l, tn_err *e) {
    tn_trainee *t = &l->t;
    bool pair = (t->needs & TN_NEED_PAIR) != 0;
    if (!l->task->reference) return TN_OK;
    if (starts_as_reference(l) && !pair) {
        t->ref = t->model;
        return reserve_reference(l, e);
    }
    int n = l->need.tokens;
    if (!l->task->live_reference) TN_TRY(open_reference(l, e));
    t->ref = l->task->live_reference ? t->model : l->ref;
    if (l->task->teacher_template) TN_TRY(tn_batch_reserve(&t->pair.mb, &l->need, e));
    if (!pair && tn_reference_shares_run(t->run, l->ref, t->model, l->task->ref_model))
        return reserve_reference(l, e);
    t->pair.beta = l->task->pair_beta;
    if (pair) TN_TRY(tn_pairing_reserve(&t->pair, n, e));
    TN_TRY(tn_run_new(&t->ref_run, t->ref, n, n, l->length, false, e));
    TN_TRY(tn_run_reserve(t->ref_run, t->ref, l->need.blocks, e));
    return reserve_reference(l, e);
}

/* ---- in order ---- */

static tn_order_kind order_of(const tn_loop *l) {
    bool automatic = strcmp(l->o.sampling, "auto") == 0;
    return automatic && l->task->in_order ? TN_ORDER_SEQUENTIAL : tn_order_of(&l->o);
}

static tn_status check_options(const tn_loop *l, tn_err *e) {
    const tn_train_options *o = &l->o;
    if (!o->model) return tn_fail(e, TN_ARG, "--model is missing; give a Hugging Face folder");
    if ((o->keep_best || o->patience > 0) && !(o->eval_data.n && o->eval_steps > 0))
        return tn_fail(e, TN_ARG,
                       "--%s compares evaluations: give --eval-data and --eval-steps, too",
                       o->keep_best ? "load-best-model-at-end" : "early-stopping-patience");
    return l->task->sync ? tn_moving_ref_check(l->task->precompute_ref, &l->lora, o->model, e)
                         : TN_OK;
}

static void add_work(const tn_loop *l, const tn_example *x, tn_effort *w) {
    double P = x->n_prompt, shared = l->t.batch.share_prompts || x->n_response < 2 ? 1 : x->n_response;
    bool whole = l->task->score_head && !l->task->per_token; /* its score is read at the last token alone */
    w->tokens += tn_batch_cost(x, &l->t.batch);
    w->pairs += shared * P * P / 2;
    if (l->t.batch.score_prompts) w->read += P;
    for (int k = 0; k < x->n_response; k++) {
        const tn_response *r = &x->response[k];
        w->pairs += r->n * (P + 0.5 * r->n);
        for (int i = 0; !whole && i < r->n; i++) w->read += r->trained[i];
        w->read += whole;
    }
    w->logits = l->task->score_head ? 0 : w->read;
}

/* The first `seen` of those rows in that order (NULL: their own). */
static tn_effort work_of(const tn_loop *l, const tn_dataset *d, const uint32_t *order, size_t seen) {
    tn_effort w = {0};
    for (size_t i = 0; i < seen; i++) add_work(l, &d->ex[order ? order[i] : i], &w);
    return w;
}

/* Training, what is computed beside each step, a frozen reference's log-probs (kept for later epochs), evaluations. */
static tn_status introduce_time(const tn_loop *l, tn_err *e) {
    const tn_task *k = l->task;
    const tn_ahead *a = k->ahead;
    tn_desc ref = l->desc;
    tn_effort w = work_of(l, l->train, l->plan.order, rows_seen(l));
    double own = tn_forward_flop(&l->desc, &w), flop;
    double epochs = fmax(1, (double)l->plan.total / fmax(1, (double)l->plan.n_step)); /* times that these rows are seen */
    flop = epochs * tn_train_flop(&l->desc, l->spec.rank > 0, tn_keep_from_options(&l->o), &w);
    flop += epochs * own * (a ? 1 + a->mismatched : tn_loop_whole(l));
    if (k->reference && k->ref_model) TN_TRY(tn_model_peek(&ref, k->ref_model, &(tn_load){.base = l->lora.base_model}, e));
    bool kept = !k->sync && !k->live_reference && !(l->t.needs & TN_NEED_PAIR);
    if (k->reference) flop += (kept ? 1 : epochs) * tn_forward_flop(&ref, &w);
    if (l->eval) {
        tn_effort v = work_of(l, l->eval, NULL, l->eval->n);
        double times = l->o.eval_steps > 0 ? ceil((double)l->plan.total / (double)l->o.eval_steps) : 1;
        flop += times * tn_forward_flop(&l->desc, &v);
        if (k->reference) flop += (kept ? 1 : times) * tn_forward_flop(&ref, &v);
    }
    tn_intro_time(l->t.model, flop);
    return TN_OK;
}

tn_status tn_loop_plan(tn_loop *l, tn_err *e) {
    const tn_task *k = l->task;
    const tn_train_options *o = &l->o;
    TN_TRY(tn_ranks_open(&l->o, &l->comm, e));
    TN_TRY(check_options(l, e));
    if (!o->dry_run) TN_TRY(tn_output_open(o, &l->lock, &l->from, e));
    TN_TRY(tn_ranks_lanes(o, l->comm, l->from.len ? l->from.s : "", &l->lanes, e));
    TN_TRY(tn_backend_from_options(&l->be, o, e));
    TN_TRY(tn_tokenizer_of(&l->tok, o->model, l->lora.base_model, o->chat_template, e));
    TN_TRY(peek(l, e));
    TN_TRY(load_data(l, &l->desc, e));
    TN_TRY(tn_ranks_check(l->comm, l->train->hash, l->be->profile, e));
    l->t.algo = k->algo, l->t.opt = k->opt, l->t.needs = tn_algo_needs(k->algo, k->opt);
    l->t.inv_temp = 1.0;
    l->t.batch = (tn_batch_options){.share_prompts = o->share_prompts,
                                    .rankings = k->rankings,
                                    .score_prompts = (l->t.needs & TN_NEED_PROMPT) != 0,
                                    .step_ends = k->per_token};
    l->peak_lr = isnan(o->lr) ? k->default_lr : o->lr;
    TN_TRY(tn_plan_new(&l->plan, l->train, order_of(l), (uint64_t)o->seed,
                       (long)(o->batch_size * o->accumulation), (long)o->batch_tokens, o->epochs,
                       (long)o->max_steps, e));
    TN_TRY(measure(l, e));
    TN_TRY(tn_intro_print(k->verb, &l->desc, l->be, l->tok, l->train, l->eval, &l->plan, e));
    if (k->remark) k->remark(l->train, k, order_of(l));
    uint8_t *live;
    TN_TRY(named_rows(l, &live, e));
    tn_status st = plan_memory(l, live, e);
    tn_free(live);
    TN_TRY(st);
    TN_TRY(load_model(l, e));
    tn_intro_adapter(l->t.model);
    TN_TRY(introduce_time(l, e));
    if (k->answers) tn_answers_introduce(k->answers, l->plan.total);
    return TN_OK;
}

tn_status tn_loop_make(tn_loop *l, tn_err *e) {
    const tn_task *k = l->task;
    TN_TRY(make_runs(l, e));
    TN_TRY(make_reference(l, e));
    return k->answers ? tn_answers_open(k->answers, l->t.model, l->ref, l->tok, e) : TN_OK;
}
