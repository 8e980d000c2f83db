#include "train/ppo.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/signals.h"
#include "train/intro.h"
#include "train/ranks.h"
#include "train/rollout.h"
#include <math.h>
#include <string.h>

typedef struct ppo {
    const tn_ppo_task *task;
    tn_comm *comm;
    int lanes;
    tn_train_options o;
    tn_backend *be;
    tn_tokenizer *tok;
    tn_dataset *prompts;
    tn_plan plan; /* one step = one rollout batch of prompts */
    tn_trainee policy, critic;
    tn_model *ref;
    tn_scorer scorer;
    tn_gen *gen;
    tn_rollouts roll;
    tn_example **prompt; /* [rollouts] */
    tn_example **mini;   /* [minibatch] */
    uint32_t *perm;      /* [rollouts] */
    tn_sampling sampling;
    int32_t stop[16];
    tn_kl_control kl;
    tn_moments running; /* of scores, for --reward-scale */
    tn_runlog log;
    tn_out *samples;
    json_t *record, *state;
    tn_str from;
    int lock;
    long iteration, updates, episodes, tokens;
    double peak_lr, critic_lr;
} ppo;

static void ppo_free(ppo *p) {
    tn_trainee *t[2] = {&p->policy, &p->critic};
    for (int i = 0; i < 2; i++) {
        tn_lanes_free(t[i]->lanes);
        tn_batch_free(&t[i]->mb);
        tn_run_free(t[i]->run);
        tn_run_free(t[i]->ref_run);
        tn_model_free(t[i]->model);
    }
    tn_model_free(p->ref);
    tn_scorer_close(&p->scorer);
    tn_gen_free(p->gen);
    tn_rollouts_free(&p->roll);
    tn_plan_free(&p->plan);
    tn_runlog_close(&p->log, NULL);
    if (p->samples) tn_out_close(p->samples, false, NULL);
    tn_dataset_free(p->prompts);
    tn_tokenizer_free(p->tok);
    tn_free(p->prompt);
    tn_free(p->mini);
    tn_free(p->perm);
    json_decref(p->record);
    json_decref(p->state);
    tn_str_free(&p->from);
    tn_unlock_dir(p->lock);
    tn_backend_free(p->be);
}

/* ---- set-up ---- */

static tn_status check_options(const ppo *p, tn_err *e) {
    const tn_ppo_options *q = &p->task->ppo;
    if (!p->o.model)
        return tn_fail(e, TN_ARG, "--model is missing; give the policy's Hugging Face folder");
    if (!q->reward_model)
        return tn_fail(e, TN_ARG,
                       "--reward-model is missing; give a folder made by `tenet reward` or any "
                       "*ForSequenceClassification");
    if (p->o.data.n == 0)
        return tn_fail(e, TN_ARG, "--data is missing; give rows with \"prompt\" or \"messages\"");
    if (q->minibatch > q->rollouts)
        return tn_fail(e, TN_ARG, "--minibatch-size %lld is larger than --rollouts %lld",
                       (long long)q->minibatch, (long long)q->rollouts);
    if ((q->top_k > 0 || q->top_p < 1 || q->min_p > 0) && !q->truncated_logp)
        return tn_fail(e, TN_ARG,
                       "--top-k, --top-p and --min-p sample from another distribution than the one "
                       "that is trained: KL and ratios "
                       "would be wrong. Leave them off, or say --truncated-logp");
    return TN_OK;
}

static tn_status load_prompts(ppo *p, int vocab, tn_err *e) {
    tn_data_options q = {.kind = TN_DATA_PROMPT,
                         .max_length = (int)p->o.max_length,
                         .seam = TN_SEAM_FORCE,
                         .vocab = vocab,
                         .chat_transcripts = strcmp(p->o.transcripts, "chat") == 0,
                         .limit = (long)p->o.max_rows};
    TN_TRY(tn_dataset_load(&p->prompts, p->o.data.v, p->o.data.n, p->tok, &q, e));
    return TN_OK;
}

static int longest_prompt(const tn_dataset *d) {
    int n = 0;
    for (size_t i = 0; i < d->n; i++)
        if (d->ex[i].n_prompt > n) n = d->ex[i].n_prompt;
    return n;
}

static int shortest_prompt(const tn_dataset *d) {
    int n = d->ex[0].n_prompt;
    for (size_t i = 1; i < d->n; i++)
        if (d->ex[i].n_prompt < n) n = d->ex[i].n_prompt;
    return n;
}

/* The critic: a copy of the reward model with its normalisation, or the policy's trunk with a zero head. */
static tn_status make_critic(ppo *p, tn_err *e) {
    const char *how = p->task->ppo.critic;
    tn_trainee *c = &p->critic;
    if (p->from.len) {
        tn_str dir = TN_STR_INIT;
        tn_path_join(&dir, p->from.s, "critic");
        tn_status st = tn_model_load(&c->model, dir.s, p->be,
                                     &(tn_load){.train = true, .want_score = true}, e);
        tn_str_free(&dir);
        TN_TRY(st);
    } else if (strcmp(how, "auto") == 0 && p->scorer.same_tokenizer) {
        TN_TRY(tn_model_copy(&c->model, p->scorer.model, true, false, e));
    } else if (strcmp(how, "auto") == 0 || strcmp(how, "policy") == 0) {
        TN_TRY(tn_model_copy(&c->model, p->policy.model, true, true, e));
    } else {
        TN_TRY(
            tn_model_load(&c->model, how, p->be, &(tn_load){.train = true, .want_score = true}, e));
    }
    bool from_reward = strcmp(how, "auto") == 0 && p->scorer.same_tokenizer;
    c->value_mean = from_reward ? p->scorer.model->score_mean : 0;
    c->value_sd = from_reward ? p->scorer.model->score_sd : 1;
    return tn_lanes_new(&c->lanes, p->comm, p->lanes, c->model, (size_t)p->task->ppo.minibatch, e);
}

static void stop_ids(ppo *p) {
    const int32_t *v = NULL;
    size_t n = 0;
    const tn_desc *d = &p->policy.model->desc;
    if (p->tok) v = tn_stop_ids(p->tok, &n);
    for (size_t i = 0; i < n && i < 16; i++) p->stop[p->sampling.n_stop++] = v[i];
    if (!n)
        for (int i = 0; i < d->n_eos; i++) p->stop[p->sampling.n_stop++] = d->eos[i];
    p->sampling.stop = p->stop;
}

static tn_status make_trainees(ppo *p, int max_len, tn_err *e) {
    const tn_ppo_task *k = p->task;
    int max_tokens = (int)p->o.micro_tokens > max_len ? (int)p->o.micro_tokens : max_len;
    tn_batch_need need =
        tn_batch_rollouts(max_tokens, (int)k->ppo.rollouts, shortest_prompt(p->prompts));
    tn_trainee *a = &p->policy, *c = &p->critic;
    a->algo = &tn_algo_ppo_policy, a->opt = &k->policy, a->inv_temp = 1.0 / k->ppo.temperature;
    c->algo = &tn_algo_ppo_value, c->opt = &k->value, c->inv_temp = 1.0;
    tn_trainee *t[2] = {a, c};
    for (int i = 0; i < 2; i++) {
        t[i]->needs = tn_algo_needs(t[i]->algo, t[i]->opt);
        t[i]->batch = (tn_batch_options){true, TN_RANKINGS_AS_PAIRS};
        t[i]->max_tokens = (int)p->o.micro_tokens;
        TN_TRY(tn_run_new(&t[i]->run, t[i]->model, max_tokens, max_tokens, max_len, true, e));
        TN_TRY(tn_run_reserve(t[i]->run, t[i]->model, need.blocks, e));
        TN_TRY(tn_batch_reserve(&t[i]->mb, &need, e));
    }
    tn_scorer *s = &p->scorer;
    tn_batch_need scored = tn_batch_rollouts(s->max_tokens, (int)k->ppo.rollouts,
                                             s->same_tokenizer ? shortest_prompt(p->prompts) : 0);
    TN_TRY(tn_run_reserve(s->run, s->model, scored.blocks, e));
    a->ref = p->ref;
    TN_TRY(tn_run_new(&a->ref_run, p->ref, max_tokens, max_tokens, max_len, false, e));
    return tn_run_reserve(a->ref_run, p->ref, need.blocks, e);
}

static tn_status set_up(ppo *p, const tn_opts *opts, tn_err *e) {
    const tn_ppo_options *q = &p->task->ppo;
    const tn_train_options *o = &p->o;
    TN_TRY(tn_ranks_open(&p->o, &p->comm, e));
    TN_TRY(check_options(p, e));
    if (!o->dry_run) TN_TRY(tn_output_open(o, &p->lock, &p->from, e));
    TN_TRY(tn_ranks_lanes(o, p->comm, p->from.len ? p->from.s : "", &p->lanes, e));
    TN_TRY(tn_backend_from_options(&p->be, o, e));
    TN_TRY(tn_tokenizer_optional(&p->tok, o->model, o->chat_template, e));
    TN_TRY(tn_model_load(&p->policy.model, p->from.len ? p->from.s : o->model, p->be,
                         &(tn_load){.train = true}, e));
    TN_TRY(tn_lanes_new(&p->policy.lanes, p->comm, p->lanes, p->policy.model, (size_t)q->minibatch, e));
    TN_TRY(load_prompts(p, p->policy.model->desc.vocab, e));
    TN_TRY(tn_ranks_check(p->comm, p->prompts->hash, p->be->profile, e));
    int max_len = longest_prompt(p->prompts) + (int)q->response_length + 1;
    const char *ref = q->ref_model ? q->ref_model : o->model;
    if (q->ref_model || p->from.len)
        TN_TRY(tn_model_load(&p->ref, ref, p->be, &(tn_load){0}, e));
    else
        TN_TRY(tn_model_copy(&p->ref, p->policy.model, false, false, e));
    TN_TRY(tn_scorer_open(&p->scorer, q->reward_model, o->model, p->be, (int)o->micro_tokens,
                          max_len * 2, e));
    TN_TRY(make_critic(p, e));
    TN_TRY(make_trainees(p, max_len, e));
    p->sampling = (tn_sampling){.temperature = q->temperature,
                                .top_k = (int)q->top_k,
                                .top_p = q->top_p,
                                .min_p = q->min_p,
                                .max_new = (int)q->response_length,
                                .seed = (uint64_t)o->seed,
                                .truncated_logp = q->truncated_logp};
    stop_ids(p);
    int n = (int)q->rollouts;
    TN_TRY(tn_gen_new(&p->gen, p->policy.model, (int)(q->gen_batch < n ? q->gen_batch : n), max_len,
                      e));
    TN_TRY(tn_rollouts_new(&p->roll, n, (int)q->response_length, e));
    p->prompt = tn_calloc((size_t)n, sizeof *p->prompt);
    p->mini = tn_calloc((size_t)n, sizeof *p->mini);
    p->perm = tn_calloc((size_t)n, sizeof *p->perm);
    if (!p->prompt || !p->mini || !p->perm) return tn_fail(e, TN_NOMEM, "out of memory");
    tn_order_kind order =
        strcmp(o->sampling, "sequential") == 0 ? TN_ORDER_SEQUENTIAL : TN_ORDER_RANDOM;
    TN_TRY(tn_plan_new(&p->plan, p->prompts, order, (uint64_t)o->seed, 1, 0, 1, (long)q->iterations,
                       e));
    p->peak_lr = isnan(o->lr) ? 3e-6 : o->lr;
    p->critic_lr = isnan(q->critic_lr) ? p->peak_lr : q->critic_lr;
    p->kl.coef = p->task->rl.kl_coef;
    p->record = tn_run_record("ppo", opts, p->be, p->prompts->hash);
    return p->record ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static void introduce(const ppo *p) {
    const tn_ppo_options *q = &p->task->ppo;
    const tn_desc *d = &p->policy.model->desc;
    tn_info("ppo: %s, %.1fM parameters, %s kernels, numeric profile %s", d->family,
            1e-6 * (double)tn_desc_params(d), p->be->kernels, p->be->profile);
    tn_info("reward model %s: %s, scores normalised by mean %.4g, sd %.4g", q->reward_model,
            p->scorer.same_tokenizer ? "the policy's tokenizer" : "its own tokenizer",
            p->scorer.model->score_mean, p->scorer.model->score_sd);
    tn_info("plan: %lld iterations of %lld rollouts, %lld epochs of minibatches of %lld; KL "
            "coefficient %g (%s)",
            (long long)q->iterations, (long long)q->rollouts, (long long)q->epochs,
            (long long)q->minibatch, p->task->rl.kl_coef,
            p->task->rl.kl_target > 0 ? "adaptive" : "fixed");
}

/* ---- checkpoints ---- */

static tn_status save_state(ppo *p, tn_err *e) {
    char hash[32];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)p->prompts->hash);
    json_decref(p->state);
    p->state =
        json_pack("{s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:f,s:s,s:s}", "step", (json_int_t)p->iteration,
                  "updates", (json_int_t)p->updates, "episodes", (json_int_t)p->episodes, "tokens",
                  (json_int_t)p->tokens, "kl_coef", p->kl.coef, "running_count", p->running.count,
                  "running_mean", p->running.mean, "running_m2", p->running.m2, "data_hash", hash,
                  "profile", p->be->profile);
    if (!p->state) return tn_fail(e, TN_NOMEM, "out of memory");
    return tn_ranks_save_lanes(p->state, p->lanes, e);
}

static tn_status checkpoint(ppo *p, tn_err *e) {
    tn_part part[2] = {{"", p->policy.model}, {"critic", p->critic.model}};
    TN_TRY(save_state(p, e));
    tn_ckpt c = {p->o.output_dir, part, 2, p->tok, p->record, p->state, &p->log};
    TN_TRY(tn_checkpoint_save(&c, p->iteration, e));
    return tn_checkpoint_prune(p->o.output_dir, (long)p->o.save_limit, 0, e);
}

static tn_status resume(ppo *p, json_t **history, tn_err *e) {
    json_t *s = NULL;
    TN_TRY(tn_checkpoint_load_state(p->from.s, &s, history, e));
    char hash[32];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)p->prompts->hash);
    const char *was = json_string_value(json_object_get(s, "data_hash"));
    tn_status st = TN_OK;
    if (!was || strcmp(was, hash) != 0)
        st = tn_fail(e, TN_STATE, "%s was trained on other prompts; resume with the same --data",
                     p->from.s);
    p->iteration = (long)json_integer_value(json_object_get(s, "step"));
    p->updates = (long)json_integer_value(json_object_get(s, "updates"));
    p->episodes = (long)json_integer_value(json_object_get(s, "episodes"));
    p->tokens = (long)json_integer_value(json_object_get(s, "tokens"));
    p->kl.coef = json_number_value(json_object_get(s, "kl_coef"));
    p->running.count = json_number_value(json_object_get(s, "running_count"));
    p->running.mean = json_number_value(json_object_get(s, "running_mean"));
    p->running.m2 = json_number_value(json_object_get(s, "running_m2"));
    json_decref(s);
    if (st == TN_OK) st = tn_checkpoint_load_moments(p->from.s, &(tn_part){"", p->policy.model}, e);
    if (st == TN_OK)
        st = tn_checkpoint_load_moments(p->from.s, &(tn_part){"critic", p->critic.model}, e);
    return st;
}

/* ---- one iteration ---- */

static void pick_prompts(ppo *p) {
    long first = p->iteration * (long)p->task->ppo.rollouts;
    for (int i = 0; i < p->roll.n; i++) {
        const uint32_t *row;
        size_t n;
        tn_plan_step(&p->plan, first + i, &row, &n);
        p->prompt[i] = &p->prompts->ex[row[0]];
    }
}

static tn_status log_samples(ppo *p, tn_err *e) {
    if (!p->samples) return TN_OK; /* the first rank writes them */
    for (int i = 0; i < p->roll.n && i < p->task->ppo.log_samples; i++) {
        tn_str a = TN_STR_INIT, b = TN_STR_INIT, line = TN_STR_INIT;
        tn_status st = TN_OK;
        if (p->tok)
            st = tn_decode(p->tok, p->roll.ex[i].prompt, (size_t)p->roll.ex[i].n_prompt, false, &a,
                           e);
        if (p->tok && st == TN_OK)
            st = tn_decode(p->tok, p->roll.response[i].ids, (size_t)p->roll.response[i].n, false,
                           &b, e);
        tn_str_addf(&line, "{\"step\": %ld, \"prompt\": ", p->iteration + 1);
        tn_str_add_json(&line, a.s ? a.s : "", a.len);
        tn_str_addz(&line, ", \"response\": ");
        tn_str_add_json(&line, b.s ? b.s : "", b.len);
        tn_str_addz(&line, ", \"score\": ");
        tn_str_add_f64(&line, p->roll.raw_score[i]);
        tn_str_addz(&line, "}\n");
        if (st == TN_OK)
            st = line.oom ? tn_fail(e, TN_NOMEM, "out of memory")
                          : tn_out_write(p->samples, line.s, line.len, e);
        tn_str_free(&a);
        tn_str_free(&b);
        tn_str_free(&line);
        TN_TRY(st);
    }
    return tn_out_flush(p->samples, false, e);
}

/* Samples, scores and advantages of a new batch. */
static tn_status collect(ppo *p, tn_metrics *m, tn_err *e) {
    tn_rollouts *r = &p->roll;
    pick_prompts(p);
    TN_TRY(tn_rollouts_sample(r, p->gen, p->prompt, (uint64_t)(p->iteration * (long)r->n),
                              &p->sampling, e));
    TN_TRY(tn_rollouts_score(r, &p->scorer, p->tok, e));
    TN_TRY(tn_rollouts_observe(r, &p->policy, &p->critic, e));
    TN_TRY(log_samples(p, e));
    double raw = 0, len = 0, ended = 0;
    for (int i = 0; i < r->n; i++) {
        raw += r->raw_score[i];
        len += r->off[i + 1] - r->off[i];
        ended += r->ended[i];
        r->score[i] = r->raw_score[i];
    }
    tn_metrics_mean(m, "objective/raw_scores", raw, r->n);
    tn_metrics_mean(m, "completions/mean_length", len, r->n);
    tn_metrics_mean(m, "completions/ended_ratio", ended, r->n);
    tn_metrics_put(m, TN_METRIC_SUM, "val/num_eos_tokens", ended);
    TN_TRY(tn_scores_shape(&p->task->score, r->score, r->ended, r->n, &p->running, e));
    tn_rollout q = {.n_seq = r->n,
                    .off = r->off,
                    .logp = r->old_logp,
                    .ref_logp = r->ref_logp,
                    .value = r->value,
                    .score = r->score,
                    .reward = r->reward,
                    .advantage = r->advantage,
                    .ret = r->ret};
    tn_metrics_put(m, TN_METRIC_SUM, "objective/kl_coef", p->kl.coef);
    TN_TRY(tn_rollout_advantages(&p->task->rl, p->kl.coef, &q, m, e));
    tn_kl_control_update(&p->kl, q.mean_kl, r->n, p->task->rl.kl_target, p->task->rl.kl_horizon);
    p->episodes += r->n;
    for (int i = 0; i < r->n; i++) p->tokens += r->ex[i].n_prompt + r->response[i].n;
    return TN_OK;
}

static tn_status update(ppo *p, tn_trainee *t, double lr, int n, tn_step_result *r, tn_err *e) {
    tn_optimiser o = tn_optimiser_from_options(&p->o);
    TN_TRY(tn_trainee_accumulate(t, p->mini, n, true, r, e));
    return tn_trainee_update(t, &o, lr, p->updates + 1, r, e);
}

/* Epochs of minibatches over the batch. */
static tn_status optimise(ppo *p, tn_metrics *m, tn_err *e) {
    const tn_ppo_options *q = &p->task->ppo;
    double lr = tn_lr_at(&p->o, p->peak_lr, p->iteration + 1, (long)q->iterations);
    double critic_lr = tn_lr_at(&p->o, p->critic_lr, p->iteration + 1, (long)q->iterations);
    for (long epoch = 0; epoch < q->epochs; epoch++) {
        for (int i = 0; i < p->roll.n; i++) p->perm[i] = (uint32_t)i;
        tn_rng rng = tn_rng_stream((uint64_t)p->o.seed, TN_RNG_MINIBATCH,
                                   (uint64_t)(p->iteration * 1024 + epoch));
        tn_rng_shuffle(&rng, p->perm, (size_t)p->roll.n);
        for (int at = 0; at < p->roll.n; at += (int)q->minibatch) {
            int n = p->roll.n - at < q->minibatch ? p->roll.n - at : (int)q->minibatch;
            for (int i = 0; i < n; i++) p->mini[i] = &p->roll.ex[p->perm[at + i]];
            p->policy.expect_on_policy = epoch == 0 && at == 0 && !p->sampling.truncated_logp;
            tn_step_result a = {0}, c = {0};
            TN_TRY(update(p, &p->policy, lr, n, &a, e));
            TN_TRY(update(p, &p->critic, critic_lr, n, &c, e));
            p->updates++;
            tn_metrics_merge(m, &a.metrics);
            tn_metrics_merge(m, &c.metrics);
            tn_metrics_mean(m, "grad_norm", a.grad_norm, 1);
            tn_metrics_mean(m, "critic_grad_norm", c.grad_norm, 1);
            tn_metrics_mean(m, "loss/policy_avg", a.loss, 1);
            tn_metrics_mean(m, "loss/value_avg", c.loss, 1);
            tn_metrics_mean(m, "loss", a.loss + c.loss, 1);
        }
    }
    tn_metrics_put(m, TN_METRIC_SUM, "learning_rate", lr);
    return TN_OK;
}

static tn_status train(ppo *p, tn_err *e) {
    const tn_ppo_options *q = &p->task->ppo;
    tn_progress bar;
    bool stop = false, asked;
    tn_progress_begin(&bar, "ppo", "iterations", (long)q->iterations, p->iteration);
    while (p->iteration < q->iterations && !stop) {
        tn_metrics m = {0};
        double rate;
        tn_status st = collect(p, &m, e);
        if (st == TN_INTERRUPTED) break; /* nothing of this iteration counts yet */
        TN_TRY(st);
        TN_TRY(optimise(p, &m, e));
        p->iteration++;
        json_t *j = json_pack("{s:I,s:I,s:I}", "step", (json_int_t)p->iteration, "episode",
                              (json_int_t)p->episodes, "num_tokens", (json_int_t)p->tokens);
        if (!j) return tn_fail(e, TN_NOMEM, "out of memory");
        tn_runlog_put_metrics(j, "", &m);
        TN_TRY(tn_runlog_entry(&p->log, j, e));
        TN_TRY(tn_runlog_timing(&p->log, p->iteration, p->tokens, &rate, e));
        bool due = p->o.save_steps > 0 && p->iteration % p->o.save_steps == 0;
        TN_TRY(tn_ranks_signals(p->comm, &stop, &asked, e));
        if (due || asked || stop) TN_TRY(checkpoint(p, e));
        tn_progress_update(&bar, p->iteration, "score %.3f  kl %.2f  length %.1f  %.0f tok/s",
                           tn_metrics_find(&m, "objective/raw_scores"),
                           tn_metrics_find(&m, "objective/kl"),
                           tn_metrics_find(&m, "completions/mean_length"), rate);
    }
    tn_progress_end(&bar);
    if (p->iteration < q->iterations) {
        TN_TRY(checkpoint(p, e));
        return tn_fail(
            e, TN_INTERRUPTED,
            "stopped after iteration %ld of %lld; continue with --resume-from-checkpoint latest",
            p->iteration, (long long)q->iterations);
    }
    return TN_OK;
}

static tn_status run(ppo *p, const tn_opts *opts, tn_err *e) {
    json_t *history = NULL;
    tn_str path = TN_STR_INIT;
    TN_TRY(set_up(p, opts, e));
    introduce(p);
    TN_TRY(tn_intro_rows("prompts", p->prompts, e));
    if (p->o.dry_run) return TN_OK;
    if (p->from.len) TN_TRY(resume(p, &history, e));
    tn_status st = tn_runlog_open(&p->log, p->o.output_dir, p->iteration, history, e);
    json_decref(history);
    TN_TRY(st);
    tn_path_join(&path, p->o.output_dir, "samples.jsonl");
    bool writes = tn_comm_is_root(p->comm);
    if (writes) st = tn_runlog_cut(path.s, p->iteration, e);
    if (st == TN_OK && writes) st = tn_out_open(&p->samples, path.s, true, e);
    tn_str_free(&path);
    TN_TRY(st);
    tn_signals_install();
    TN_TRY(train(p, e));
    TN_TRY(save_state(p, e));
    tn_part part = {"", p->policy.model};
    tn_ckpt c = {p->o.output_dir, &part, 1, p->tok, p->record, p->state, &p->log};
    TN_TRY(tn_output_save(&c, tn_save_dtype(&p->o), e));
    tn_info("policy written to %s", p->o.output_dir);
    return TN_OK;
}

tn_status tn_ppo_run(const tn_ppo_task *task, const tn_opts *opts, tn_err *e) {
    ppo p;
    memset(&p, 0, sizeof p);
    p.task = task, p.lock = -1;
    tn_opts_bind(opts, tn_train_option_rows, &p.o);
    tn_opts_bind(opts, tn_machine_option_rows, &p.o);
    tn_status st = run(&p, opts, e);
    st = tn_comm_settle(tn_comm_world(), st, e);
    ppo_free(&p);
    return st;
}
