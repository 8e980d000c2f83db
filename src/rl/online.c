#include "rl/online.h"
#include "train/moving_ref.h"
#include "base/log.h"
#include "base/signals.h"
#include "train/intro.h"
#include "train/ranks.h"
#include <limits.h>
#include <string.h>

#define AT(field) offsetof(tn_online_options, field)
const tn_opt_row tn_online_rows[] = {
    {"ref-model", TN_OPT_STRING, AT(ref_model), NULL, NULL, 0, 0, "sft_model_path", "DIR",
     "Reference of the KL penalty; default: the starting policy."},
    {"gen-batch-size", TN_OPT_INT, AT(gen_batch), "64", NULL, 1, 4096, NULL, "N",
     "Sequences decoded together; does not change results."},
    {"top-k", TN_OPT_INT, AT(top_k), "0", NULL, 0, 0, NULL, "N",
     "Truncated sampling is refused without --truncated-logp."},
    {"top-p", TN_OPT_REAL, AT(top_p), "1", NULL, 0, 1, NULL, "X", "As --top-k."},
    {"min-p", TN_OPT_REAL, AT(min_p), "0", NULL, 0, 1, NULL, "X", "As --top-k."},
    {"truncated-logp", TN_OPT_BOOL, AT(truncated_logp), "false", NULL, 0, 0, NULL, NULL,
     "With truncated sampling: take the truncated distribution's log-probs as old log-probs "
     "(ratios then differ from 1)."},
    {"offload", TN_OPT_BOOL, AT(offload), "true", NULL, 0, 0, "ref-reward-offload", NULL,
     "Frozen models (reference, reward models, judges) are in memory while they are read: between that, in an unnamed file in "
     "--output-dir, if its file system has the room and is not in memory itself. Does not change results."},
    {"log-samples", TN_OPT_INT, AT(log_samples), "4", NULL, 0, 1000, NULL, "N",
     "Responses of each sampling kept in samples.jsonl with their scores."},
    TN_OPT_LAST};

void tn_online_close(tn_online *on) {
    tn_lanes_free(on->policy.lanes);
    tn_batch_free(&on->policy.mb);
    tn_pairing_free(&on->policy.pair);
    tn_run_free(on->policy.run);
    tn_run_free(on->policy.ref_run);
    tn_model_free(on->ref); /* may be a view of the policy */
    tn_model_free(on->policy.model);
    tn_gen_free(on->gen);
    tn_gen_free(on->opponent);
    tn_rollouts_free(&on->roll);
    tn_plan_free(&on->plan);
    tn_runlog_close(&on->log, NULL);
    tn_out_close(on->samples, TN_OK, false, NULL);
    tn_dataset_free(on->prompts);
    tn_tokenizer_free(on->tok);
    tn_park_free(on->park);
    json_decref(on->record);
    tn_str_free(&on->from);
    tn_unlock_dir(on->lock);
    tn_backend_free(on->be);
}

/* ---- set-up ---- */

static tn_status check_options(const tn_online *on, tn_err *e) {
    const tn_online_options *q = &on->q;
    if (!on->o.model)
        return tn_fail(e, TN_ARG, "--model is missing; give the policy's Hugging Face folder");
    if (on->o.data.n == 0)
        return tn_fail(e, TN_ARG, "--data is missing; give rows with \"prompt\" or \"messages\"");
    const char *eval = on->o.eval_data.n       ? "eval-data"
                       : on->o.eval_steps > 0 ? "eval-steps"
                       : on->o.keep_best      ? "load-best-model-at-end"
                       : on->o.patience > 0   ? "early-stopping-patience"
                                              : NULL;
    if (eval)
        return tn_fail(e, TN_ARG,
                       "--%s: %s does not evaluate while it trains; `tenet eval` measures "
                       "checkpoints and the result",
                       eval, on->verb);
    if ((q->top_k > 0 || q->top_p < 1 || q->min_p > 0) && !q->truncated_logp)
        return tn_fail(e, TN_ARG,
                       "--top-k, --top-p and --min-p sample from another distribution than the one "
                       "that is trained: KL and ratios "
                       "would be wrong. Leave them off, or say --truncated-logp");
    return TN_OK;
}

tn_status tn_online_bind(tn_online *on, const char *verb, const tn_opts *opts, tn_err *e) {
    memset(on, 0, sizeof *on);
    on->verb = verb, on->lock = -1, on->saved = -1;
    tn_opts_bind(opts, tn_train_option_rows, &on->o);
    tn_opts_bind(opts, tn_machine_option_rows, &on->o);
    tn_opts_bind(opts, tn_online_rows, &on->q);
    tn_opts_bind(opts, tn_adapter_option_rows, &on->lora);
    on->opts = opts;
    TN_TRY(tn_ranks_open(&on->o, &on->comm, e));
    return check_options(on, e);
}

tn_status tn_online_open(tn_online *on, tn_err *e) {
    const tn_train_options *o = &on->o;
    if (!o->dry_run) TN_TRY(tn_output_open(o, &on->lock, &on->from, e));
    TN_TRY(tn_ranks_lanes(o, on->comm, on->from.len ? on->from.s : "", &on->lanes, e));
    TN_TRY(tn_backend_from_options(&on->be, o, e));
    TN_TRY(tn_tokenizer_of(&on->tok, o->model, on->lora.base_model, o->chat_template, e));
    TN_TRY(tn_trained_model_peek(&on->desc, &on->spec, &on->lora, on->opts, o->model,
                                 on->from.len ? on->from.s : NULL, (tn_load){0}, e));
    tn_data_options d = {.kind = TN_DATA_PROMPT,
                         .max_length = (int)o->max_length,
                         .seam = TN_SEAM_FORCE,
                         .vocab = on->desc.vocab,
                         .chat_transcripts = strcmp(o->transcripts, "chat") == 0,
                         .limit = (long)o->max_rows};
    TN_TRY(tn_dataset_load(&on->prompts, o->data.v, o->data.n, on->tok, &d, e));
    TN_TRY(tn_ranks_check(on->comm, on->prompts->hash, on->be->profile, e));
    on->shortest = on->longest = on->prompts->ex[0].n_prompt;
    for (size_t i = 1; i < on->prompts->n; i++) {
        int n = on->prompts->ex[i].n_prompt;
        if (n > on->longest) on->longest = n;
        if (n < on->shortest) on->shortest = n;
    }
    return TN_OK;
}

static void stop_ids(tn_online *on) {
    const int32_t *v = NULL;
    size_t n = 0;
    const tn_desc *d = &on->desc;
    if (on->tok) v = tn_stop_ids(on->tok, &n);
    for (size_t i = 0; i < n && i < 16; i++) on->stop_id[on->sampling.n_stop++] = v[i];
    if (!n)
        for (int i = 0; i < d->n_eos && i < 16; i++) on->stop_id[on->sampling.n_stop++] = d->eos[i];
    on->sampling.stop = on->stop_id;
}

tn_status tn_online_workspace(const tn_online *on, tn_trainee *t, tn_err *e) {
    const tn_batch_need *q = &on->need;
    t->needs = tn_algo_needs(t->algo, t->opt);
    t->batch = (tn_batch_options){.share_prompts = true};
    t->max_tokens = on->o.micro_tokens < q->tokens ? (int)on->o.micro_tokens : q->tokens;
    TN_TRY(tn_run_new(&t->run, t->model, q->tokens, on->rows, on->length, tn_keep_from_options(&on->o), e));
    TN_TRY(tn_run_reserve(t->run, t->model, q->blocks, e));
    return tn_batch_reserve(&t->mb, q, e);
}

static bool teaches(const tn_online *on, const char *kind) { return on->shape.teacher && strcmp(on->shape.teacher, kind) == 0; }

/* Who reads the second side of examples, through a workspace of its own. */
static tn_status make_teacher(tn_online *on, tn_err *e) {
    tn_trainee *t = &on->policy;
    int n = on->need.tokens;
    if (teaches(on, "ema")) {
        TN_TRY(tn_moving_ref_open(&on->ref, t->model, NULL, on->from.len ? on->from.s : NULL, e));
        on->part[on->n_part++] = (tn_part){TN_MOVING_REF, on->ref};
    } else if (teaches(on, "base"))
        TN_TRY(tn_reference_open(&on->ref, t->model, &on->lora, on->o.model, NULL, on->from.len > 0, e));
    t->ref = teaches(on, "live") ? t->model : on->ref;
    t->pair.beta = on->shape.pair_beta;
    TN_TRY(tn_batch_reserve(&t->pair.mb, &on->need, e));
    TN_TRY(tn_pairing_reserve(&t->pair, n, e));
    TN_TRY(tn_run_new(&t->ref_run, t->ref, n, on->rows, on->length, false, e));
    return tn_run_reserve(t->ref_run, t->ref, on->need.blocks, e);
}

static tn_status teacher_budget(const tn_online *on, tn_budget *p, tn_err *e) {
    const tn_desc *d = &on->desc;
    const tn_batch_need *q = &on->need;
    if (!on->shape.teacher) return TN_OK;
    p->parks = false; /* what follows is read while the policy is trained */
    if (teaches(on, "ema")) tn_budget_model(p, "teacher", d, on->be, false, false);
    if (teaches(on, "base"))
        TN_TRY(tn_reference_budget(p, d, &on->spec, &on->lora, on->o.model, NULL, on->be, q->tokens, on->rows, on->length, q->blocks, e));
    tn_budget_add(p, "micro-batch", "", tn_batch_bytes(q));
    return tn_pairing_budget(p, d, &on->spec, &on->lora, on->o.model, NULL, on->be, q->tokens, on->rows, on->length, q->blocks, e);
}

static tn_status make_reference(tn_online *on, tn_err *e) {
    tn_trainee *t = &on->policy;
    TN_TRY(tn_reference_open(&on->ref, t->model, &on->lora, on->o.model, on->q.ref_model,
                             on->from.len > 0, e));
    t->ref = on->ref;
    if (on->ref->trunk != t->model->trunk) TN_TRY(tn_online_park(on, on->ref, e));
    if (tn_reference_shares_run(t->run, on->ref, t->model, on->q.ref_model)) return TN_OK;
    int n = on->need.tokens;
    TN_TRY(tn_run_new(&t->ref_run, on->ref, n, on->rows, on->length, false, e));
    return tn_run_reserve(t->ref_run, on->ref, on->need.blocks, e);
}

void tn_online_measure(tn_online *on, const tn_online_shape *s) {
    int64_t n = (int64_t)s->n_prompt * s->n_sample;
    int length = on->longest + s->max_new + 1;
    if (length - 1 > on->desc.max_pos)
        tn_warn("the longest prompt with its response may have %d tokens, but the model was made "
                "for %d (max_position_embeddings)",
                length - 1, on->desc.max_pos);
    on->shape = *s;
    on->rollout_length = length;
    int64_t blocks = s->n_prompt * (int64_t)tn_kv_pages_for(on->longest) + n * tn_kv_pages_for(s->max_new);
    on->rollout_blocks = blocks < INT32_MAX / 2 ? (int)blocks : 0;
    on->length = length > s->more_length ? length : s->more_length;
    /* as many tokens as may be at once, or as all rollouts have, at least those of one */
    int64_t all = s->n_prompt * (int64_t)on->longest + n * (s->max_new + 1);
    int64_t tokens = on->o.micro_tokens < all ? on->o.micro_tokens : all;
    if (tokens < length) tokens = length;
    on->need =
        tn_batch_rollouts((int)tokens, (int)n, s->n_sample, on->shortest, on->rollout_blocks);
    tn_batch_need_raise(&on->need, &s->more);
    int64_t rows = n * s->max_new > s->more.tokens ? n * s->max_new : s->more.tokens;
    on->rows = rows < on->need.tokens ? (int)rows : on->need.tokens;
    on->gen_batch = on->q.gen_batch < n ? (int)on->q.gen_batch : (int)n;
}

tn_batch_need tn_online_scored(const tn_online *on, int tokens, bool same_tokenizer) {
    const tn_online_shape *s = &on->shape;
    int n = s->n_prompt * s->n_sample, blocks = on->rollout_blocks;
    if (!same_tokenizer) return tn_batch_rollouts(tokens, n, s->n_sample, 1, 0);
    return tn_batch_rollouts(tokens, n, s->n_sample, on->shortest, blocks ? blocks + n : 0);
}

/* With an opponent the reference is read while there are caches. */
static const char *sampling_turn(const tn_online *on) { return on->shape.opponent ? "reference" : "sampling"; }

static tn_status opponent_budget(const tn_online *on, tn_budget *p, tn_err *e) {
    tn_desc ref = on->desc;
    if (!on->shape.opponent) return TN_OK;
    if (on->q.ref_model) TN_TRY(tn_model_peek(&ref, on->q.ref_model, &(tn_load){.base = on->lora.base_model}, e));
    if (on->shape.opponent == TN_OPPONENT_MIXTURE)
        tn_gen_budget(p, sampling_turn(on), &on->desc, on->be, on->gen_batch, on->rollout_length, on->rollout_blocks);
    tn_gen_budget(p, sampling_turn(on), &ref, on->be, on->gen_batch, on->rollout_length, on->rollout_blocks);
    return TN_OK;
}

tn_status tn_online_budget(const tn_online *on, tn_budget *p, tn_err *e) {
    const tn_desc *d = &on->desc;
    const tn_batch_need *q = &on->need;
    const tn_online_shape *s = &on->shape;
    tn_budget_present(p);
    p->rests = true;
    p->moments = tn_moments_from_option(on->o.optim);
    p->sure_blocks = s->sure_blocks;
    p->sum_sq = (tn_algo_needs(s->algo, s->opt) & TN_NEED_SUM_SQ) != 0;
    tn_budget_ranks(p, on->comm->size, tn_lanes_spare(on->comm->size, on->lanes));
    tn_budget_trained(p, "policy", d, &on->spec, on->be, false);
    tn_budget_run(p, "policy", d, on->be, q->tokens, on->rows, on->length, q->blocks,
                  tn_keep_from_options(&on->o));
    tn_budget_adapter_run(p, "policy", d, &on->spec, on->be, q->tokens, true);
    tn_budget_scratch(p, d, &on->spec, on->be, q->tokens, on->rows, true);
    if (s->reference)
        TN_TRY(tn_reference_budget(p, d, &on->spec, &on->lora, on->o.model, on->q.ref_model, on->be,
                                   q->tokens, on->rows, on->length, q->blocks, e));
    tn_gen_budget(p, sampling_turn(on), d, on->be, on->gen_batch, on->rollout_length, on->rollout_blocks);
    TN_TRY(opponent_budget(on, p, e));
    bool parks = p->parks;
    TN_TRY(teacher_budget(on, p, e));
    p->parks = parks;
    p->sure_blocks = 0;
    tn_budget_add(p, "rollouts", "", tn_rollouts_bytes(s->n_prompt * s->n_sample, s->max_new));
    tn_budget_add(p, "micro-batch", "", tn_batch_bytes(q));
    return TN_OK;
}

static tn_status make_opponent(tn_online *on, tn_err *e) {
    bool mixture = on->shape.opponent == TN_OPPONENT_MIXTURE;
    TN_TRY(tn_gen_new(&on->opponent, mixture ? on->policy.model : on->ref, on->gen_batch, on->rollout_length, e));
    if (mixture) TN_TRY(tn_gen_mix(on->opponent, on->ref, on->shape.mixture, e));
    return tn_rollouts_oppose(&on->roll, e);
}

tn_status tn_online_prepare(tn_online *on, tn_err *e) {
    const tn_train_options *o = &on->o;
    const tn_online_shape *s = &on->shape;
    on->policy.algo = s->algo, on->policy.opt = s->opt;
    on->policy.inv_temp = 1.0 / s->temperature;
    TN_TRY(tn_trained_model_open(&on->policy.model, &on->lora, on->opts, o->model,
                                 on->from.len ? on->from.s : NULL, (tn_load){0},
                                 (uint64_t)o->seed, on->be, e));
    int64_t rollouts = (int64_t)s->n_prompt * s->n_sample;
    size_t examples = (size_t)rollouts > s->more_examples ? (size_t)rollouts : s->more_examples;
    tn_model_moments(on->policy.model, tn_moments_from_option(o->optim), (uint64_t)o->seed);
    TN_TRY(tn_lanes_new(&on->policy.lanes, on->comm, on->lanes, on->policy.model, examples, e));
    on->part[on->n_part++] = (tn_part){"", on->policy.model};
    on->learner[on->n_learner++] = &on->policy;
    TN_TRY(tn_online_workspace(on, &on->policy, e));
    if (s->reference) TN_TRY(make_reference(on, e));
    if (s->teacher) TN_TRY(make_teacher(on, e));
    on->sampling = (tn_sampling){.temperature = s->temperature,
                                 .top_k = (int)on->q.top_k,
                                 .top_p = on->q.top_p,
                                 .min_p = on->q.min_p,
                                 .max_new = s->max_new,
                                 .seed = (uint64_t)o->seed,
                                 .truncated_logp = on->q.truncated_logp};
    stop_ids(on);
    TN_TRY(tn_gen_new(&on->gen, on->policy.model, on->gen_batch, on->rollout_length, e));
    TN_TRY(tn_rollouts_new(&on->roll, s->n_prompt, s->n_sample, s->n_prompt * s->n_sample,
                           s->max_new, (int)o->micro_tokens, e));
    if (s->opponent) TN_TRY(make_opponent(on, e));
    TN_TRY(tn_online_replan(on, e));
    return tn_run_record(&on->record, on->verb, on->opts, on->be, on->prompts->hash, e);
}

tn_status tn_online_replan(tn_online *on, tn_err *e) {
    tn_plan_free(&on->plan);
    return tn_plan_new(&on->plan, on->prompts, tn_order_of(&on->o), (uint64_t)on->o.seed, 1, 0, 1, 1, e);
}

tn_status tn_online_introduce(const tn_online *on, tn_err *e) {
    const tn_desc *d = &on->desc;
    tn_info("%s: %s, %.1fM parameters, %s kernels, numeric profile %s", on->verb, d->family,
            1e-6 * (double)tn_desc_params(d), on->be->kernels, on->be->profile);
    if (!on->shape.reference && on->q.ref_model)
        tn_warn("--ref-model %s has no effect: the KL to the reference has weight 0", on->q.ref_model);
    TN_TRY(tn_intro_rows("prompts", on->prompts, e));
    return tn_intro_sample(&on->prompts->ex[0], on->tok, e);
}

tn_effort tn_online_work(const tn_online *on) {
    const tn_online_shape *s = &on->shape;
    double P = (double)on->prompts->stats.tokens / (double)on->prompts->n, R = s->max_new;
    double prompts = s->n_prompt, responses = prompts * s->n_sample;
    return (tn_effort){prompts * P + responses * R, responses * R, responses * R, prompts * P * P / 2 + responses * R * (P + R / 2)};
}

double tn_online_score_flop(const tn_online *on, const tn_desc *d, bool per_token) {
    tn_effort w = tn_online_work(on);
    w.logits = 0;
    if (!per_token) w.read = (double)on->shape.n_prompt * on->shape.n_sample;
    return tn_forward_flop(d, &w);
}

double tn_online_train_flop(const tn_online *on, const tn_desc *d, const tn_lora_spec *s, const tn_effort *w) {
    return tn_train_flop(d, s->rank > 0, tn_keep_from_options(&on->o), w);
}

void tn_online_estimate(const tn_online *on, double samplings, double passes, double others) {
    tn_effort all = tn_online_work(on), prompts = all, decoding = all;
    prompts.tokens -= all.read, prompts.read = prompts.logits = prompts.pairs = 0;
    decoding.tokens = all.read;
    double flop = passes * tn_online_train_flop(on, &on->desc, &on->spec, &all) + tn_forward_flop(&on->desc, &prompts) + others;
    if (on->shape.reference || on->shape.teacher) flop += tn_forward_flop(&on->desc, &all);
    tn_intro_time_online(on->be, &on->desc, &(tn_intro_work){samplings * flop, samplings * tn_forward_flop(&on->desc, &decoding),
                                                             on->gen_batch, on->shape.max_new});
}

/* ---- checkpoints ---- */

/* Adds what every loop needs to its state, which is taken over. */
static json_t *whole_state(const tn_online *on, json_t *state) {
    json_t *s = json_pack("{s:I,s:I}", "step", (json_int_t)on->step, "tokens", (json_int_t)on->tokens);
    bool ok = s && state && json_object_update(s, state) == 0;
    json_decref(state);
    if (ok && tn_ranks_save_lanes(s, on->lanes, NULL) == TN_OK) return s;
    json_decref(s);
    return NULL;
}

tn_status tn_online_checkpoint(tn_online *on, json_t *state, tn_err *e) {
    if (on->saved == on->step) {
        json_decref(state);
        return TN_OK;
    }
    json_t *s = whole_state(on, state);
    if (!s) return tn_fail(e, TN_NOMEM, "out of memory for a checkpoint's state");
    tn_ckpt c = {on->o.output_dir, on->part, on->n_part, on->tok, on->record, s, &on->log};
    tn_status st = tn_checkpoint_save(&c, on->step, e);
    json_decref(s);
    TN_TRY(st);
    on->saved = on->step;
    return tn_checkpoint_prune(&c, (long)on->o.save_limit, on->keep, e);
}

tn_status tn_online_save(tn_online *on, json_t *state, tn_err *e) {
    json_t *s = whole_state(on, state);
    if (!s) return tn_fail(e, TN_NOMEM, "out of memory for the run's state");
    tn_ckpt c = {on->o.output_dir, on->part, 1, on->tok, on->record, s, &on->log};
    tn_status st = tn_output_save(&c, tn_output_dtype(&on->o, on->policy.model), e);
    json_decref(s);
    if (st == TN_OK) tn_info("policy written to %s", on->o.output_dir);
    return st;
}

tn_status tn_online_due(tn_online *on, bool *due, tn_err *e) {
    bool asked;
    TN_TRY(tn_ranks_signals(on->comm, &on->stop, &asked, e));
    *due = (on->o.save_steps > 0 && on->step % on->o.save_steps == 0) || asked || on->stop;
    return TN_OK;
}

tn_status tn_online_interrupted(const tn_online *on, const char *unit, long total, tn_err *e) {
    return tn_fail(e, TN_INTERRUPTED,
                   "stopped after %s %ld of %ld; continue with --resume-from-checkpoint latest",
                   unit, on->step, total);
}

static tn_status resume(tn_online *on, json_t **state, json_t **history, tn_err *e) {
    TN_TRY(tn_resume_check(on->from.s, on->record, e));
    TN_TRY(tn_checkpoint_load_state(on->from.s, state, history, e));
    on->step = (long)json_integer_value(json_object_get(*state, "step"));
    on->tokens = (long)json_integer_value(json_object_get(*state, "tokens"));
    for (int i = 0; i < on->n_part; i++)
        if (on->part[i].model != on->ref) TN_TRY(tn_checkpoint_load_moments(on->from.s, &on->part[i], e));
    tn_info("continuing after step %ld from %s", on->step, on->from.s);
    return TN_OK;
}

tn_status tn_online_begin(tn_online *on, json_t **state, tn_err *e) {
    json_t *history = NULL;
    tn_str path = TN_STR_INIT;
    tn_status st = TN_OK;
    *state = NULL;
    if (on->from.len) st = resume(on, state, &history, e);
    if (st == TN_OK) st = tn_runlog_open(&on->log, on->o.output_dir, on->step, history, e);
    tn_runlog_work(&on->log, on->be);
    if (st == TN_OK) st = tn_runlog_report(&on->log, &on->o, on->step, e);
    json_decref(history);
    tn_path_join(&path, on->o.output_dir, "samples.jsonl");
    bool writes = tn_comm_is_root(on->comm);
    if (st == TN_OK && writes) st = tn_runlog_cut(path.s, on->step, LONG_MAX, e);
    if (st == TN_OK && writes) st = tn_out_open(&on->samples, path.s, true, e);
    tn_str_free(&path);
    tn_signals_install();
    return st;
}

/* ---- sampling ---- */

void tn_online_pick(tn_online *on, long first) {
    for (int i = 0; i < on->roll.n_prompt; i++) {
        const uint32_t *row;
        size_t n;
        tn_plan_step(&on->plan, first + i, &row, &n);
        on->roll.prompt[i] = &on->prompts->ex[row[0]];
    }
}

tn_status tn_online_sample(tn_online *on, uint64_t first_key, tn_err *e) {
    tn_rollouts *r = &on->roll;
    for (int i = 0; i < on->n_learner; i++) tn_trainee_rest(on->learner[i]);
    TN_TRY(on->opponent ? tn_rollouts_sample_opposed(r, on->gen, on->opponent, first_key, &on->sampling, e)
                        : tn_rollouts_sample(r, on->gen, first_key, &on->sampling, e));
    tn_online_leave(on); /* an opponent */
    tn_gen_rest(on->gen);
    if (on->opponent) tn_gen_rest(on->opponent);
    for (int i = 0; i < r->n; i++)
        on->tokens += r->prompt[r->group[i]]->n_prompt + r->response[i].n;
    return TN_OK;
}

static tn_status add_text(const tn_online *on, const int32_t *ids, int n, tn_str *text,
                          tn_str *line, tn_err *e) {
    tn_str_clear(text);
    if (on->tok) TN_TRY(tn_decode(on->tok, ids, (size_t)n, false, text, e));
    tn_str_add_json(line, text->s, text->len);
    return TN_OK;
}

tn_status tn_online_log_samples(tn_online *on, long step, const tn_online_column *c, int n_column,
                                tn_err *e) {
    const tn_rollouts *r = &on->roll;
    if (!on->samples) return TN_OK; /* the first rank writes them */
    tn_str text = TN_STR_INIT, line = TN_STR_INIT;
    tn_status st = TN_OK;
    double begin = tn_work_begin(on->be);
    for (int i = 0; i < r->n && i < on->q.log_samples; i++) {
        const tn_example *x = r->prompt[r->group[i]];
        tn_str_clear(&line);
        tn_str_addf(&line, "{\"step\": %ld, \"prompt\": ", step);
        TN_GO(add_text(on, x->prompt, x->n_prompt, &text, &line, e), done);
        tn_str_addz(&line, ", \"response\": ");
        TN_GO(add_text(on, r->response[i].ids, r->response[i].n, &text, &line, e), done);
        for (int k = 0; k < n_column; k++) {
            tn_str_addz(&line, ", ");
            tn_str_add_json(&line, c[k].name, strlen(c[k].name));
            tn_str_addz(&line, ": ");
            tn_str_add_f64(&line, c[k].value[i * c[k].stride]);
        }
        tn_str_addz(&line, "}\n");
        st = line.oom ? tn_fail(e, TN_NOMEM, "out of memory")
                      : tn_out_write(on->samples, line.s, line.len, e);
        if (st != TN_OK) goto done;
    }
    st = tn_out_flush(on->samples, false, e);
    tn_work_end(on->be, begin, "samples", 0);
done:
    tn_str_free(&text);
    tn_str_free(&line);
    return st;
}
