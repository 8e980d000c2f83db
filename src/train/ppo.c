#include "train/ppo.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/signals.h"
#include "ops/profile.h"
#include "train/intro.h"
#include "train/ranks.h"
#include "train/scorer.h"
#include <math.h>
#include <string.h>

typedef struct ppo {
    const tn_ppo_task *task;
    tn_online on; /* one step = one iteration */
    tn_trainee critic;
    tn_scorer scorer;
    tn_trainee ptx; /* the policy on the pretraining mix, in the policy's workspace */
    tn_dataset *texts;
    tn_plan text_plan; /* one step = one update */
    tn_sft_opt text_opt;
    tn_example **mini; /* [minibatch], [ptx batch] */
    tn_example **text;
    uint32_t *perm; /* [rollouts] */
    tn_kl_control kl;
    tn_moments running; /* of scores, for --reward-scale */
    long updates, episodes;
    double peak_lr, critic_lr;
} ppo;

static void ppo_free(ppo *p) {
    tn_lanes_free(p->critic.lanes);
    tn_batch_free(&p->critic.mb);
    tn_run_free(p->critic.run);
    tn_model_free(p->critic.model);
    tn_scorer_close(&p->scorer);
    tn_batch_free(&p->ptx.mb);
    tn_plan_free(&p->text_plan);
    tn_dataset_free(p->texts);
    tn_free(p->mini);
    tn_free(p->text);
    tn_free(p->perm);
    tn_online_close(&p->on);
}

/* ---- set-up ---- */

static tn_status check_options(const tn_ppo_options *q, tn_err *e) {
    if (!q->reward_model)
        return tn_fail(e, TN_ARG,
                       "--reward-model is missing; give a folder made by `tenet reward` or any "
                       "*ForSequenceClassification");
    if (q->minibatch > q->rollouts)
        return tn_fail(e, TN_ARG, "--minibatch-size %lld is larger than --rollouts %lld",
                       (long long)q->minibatch, (long long)q->rollouts);
    if ((q->ptx_coef > 0) != (q->ptx_data.n > 0))
        return tn_fail(e, TN_ARG,
                       "--ptx-coef and --ptx-data go together: a weight and the rows it is for");
    return TN_OK;
}

/* The critic: the reward model with its normalisation, or the policy with a zero head; a copy, or where the
 * policy or that model is an adapter, a view of its trunk with an adapter of its own. */
static tn_status make_critic(ppo *p, tn_err *e) {
    const char *how = p->task->ppo.critic;
    const tn_online *on = &p->on;
    tn_trainee *c = &p->critic;
    bool from_reward = strcmp(how, "auto") == 0 && p->scorer.same_tokenizer;
    bool folder = strcmp(how, "auto") != 0 && strcmp(how, "policy") != 0;
    tn_model *policy = on->policy.model, *like = from_reward ? p->scorer.model : policy;
    const tn_adapter *a = policy->n_adapter ? policy->adapter[0] : NULL;
    bool view = a || like->n_adapter > 0;
    tn_load load = {
        .train = true, .want_score = true, .base = on->lora.base_model, .on = view ? like : NULL};
    if (on->from.len) {
        tn_str dir = TN_STR_INIT;
        tn_path_join(&dir, on->from.s, "critic");
        if (view && !folder) load.base = like->dir;
        tn_status st = tn_model_load(&c->model, dir.s, on->be, &load, e);
        tn_str_free(&dir);
        TN_TRY(st);
    } else if (folder) {
        TN_TRY(tn_model_load(&c->model, how, on->be, &load, e));
    } else if (view) {
        TN_TRY(tn_critic_view(&c->model, like, a ? &a->spec : NULL, (uint64_t)on->o.seed + 1, e));
    } else {
        TN_TRY(tn_model_copy(&c->model, like, true, !from_reward, e));
    }
    c->value_mean = from_reward ? p->scorer.model->score_mean : 0;
    c->value_sd = from_reward ? p->scorer.model->score_sd : 1;
    c->algo = &tn_algo_ppo_value, c->opt = &p->task->value, c->inv_temp = 1.0;
    tn_model_moments(c->model, tn_moments_from_option(on->o.optim), (uint64_t)on->o.seed + 1);
    TN_TRY(tn_lanes_new(&c->lanes, on->comm, on->lanes, c->model, (size_t)p->task->ppo.minibatch, e));
    p->on.part[p->on.n_part++] = (tn_part){"critic", c->model};
    return tn_online_workspace(on, c, e);
}

/* Texts of the pretraining mix, and what their batches need of the policy's workspace. */
static tn_status load_texts(ppo *p, tn_online_shape *shape, tn_err *e) {
    const tn_ppo_options *q = &p->task->ppo;
    const tn_train_options *o = &p->on.o;
    if (!(q->ptx_coef > 0)) return TN_OK;
    long rows = (long)(q->ptx_batch > 0 ? q->ptx_batch : q->minibatch);
    tn_data_options d = {.kind = TN_DATA_SFT,
                         .max_length = (int)o->max_length,
                         .keep_end = strcmp(o->truncation_mode, "keep_end") == 0,
                         .completion_only = o->completion_only,
                         .assistant_only = o->assistant_only,
                         .chat_transcripts = strcmp(o->transcripts, "chat") == 0,
                         .seam = strcmp(o->seam, "force") == 0 ? TN_SEAM_FORCE : TN_SEAM_TRL,
                         .vocab = p->on.desc.vocab};
    TN_TRY(tn_dataset_load(&p->texts, q->ptx_data.v, q->ptx_data.n, p->on.tok, &d, e));
    TN_TRY(
        tn_plan_new(&p->text_plan, p->texts, tn_order_of(o), (uint64_t)o->seed, rows, 0, 1, 1, e));
    p->text = tn_calloc((size_t)rows, sizeof *p->text);
    if (!p->text) return tn_fail(e, TN_NOMEM, "out of memory");
    p->ptx.batch = (tn_batch_options){.share_prompts = true, .rankings = TN_RANKINGS_AS_PAIRS};
    shape->more_examples = (size_t)rows;
    for (size_t i = 0; i < p->texts->n; i++)
        if (tn_example_tokens(&p->texts->ex[i]) > shape->more_length)
            shape->more_length = tn_example_tokens(&p->texts->ex[i]);
    return tn_batch_measure(&shape->more, p->texts, &p->ptx.batch, (int)o->micro_tokens, rows, e);
}

static tn_status make_ptx(ppo *p, tn_err *e) {
    tn_trainee *t = &p->ptx;
    if (!p->texts) return TN_OK;
    p->text_opt = (tn_sft_opt){"nll", "token_mean"};
    t->model = p->on.policy.model, t->run = p->on.policy.run;
    t->algo = &tn_algo_sft, t->opt = &p->text_opt, t->needs = TN_NEED_LOGP | TN_NEED_STATS;
    t->inv_temp = 1.0, t->weight = p->task->ppo.ptx_coef;
    t->max_tokens = (int)p->on.o.micro_tokens;
    return tn_batch_reserve(&t->mb, &p->on.need, e);
}

static tn_status introduce(const ppo *p, tn_err *e) {
    const tn_ppo_options *q = &p->task->ppo;
    TN_TRY(tn_online_introduce(&p->on, e));
    tn_info("plan: %lld iterations of %lld rollouts, %lld epochs of minibatches of %lld; KL "
            "coefficient %g (%s)",
            (long long)q->iterations, (long long)q->rollouts, (long long)q->epochs,
            (long long)q->minibatch, p->task->rl.kl_coef,
            p->task->rl.kl_target > 0 ? "adaptive" : "fixed");
    if (!p->texts) return TN_OK;
    TN_TRY(tn_intro_rows("pretraining mix", p->texts, e));
    tn_info("  %ld rows of it in every update, weight %g", p->text_plan.rows_per_step, q->ptx_coef);
    return TN_OK;
}

static void introduce_models(const ppo *p) {
    const tn_model *policy = p->on.policy.model;
    tn_info("reward model %s: %s, scores normalised by mean %.4g, sd %.4g",
            p->task->ppo.reward_model,
            p->scorer.same_tokenizer ? "the policy's tokenizer" : "its own tokenizer",
            p->scorer.model->score_mean, p->scorer.model->score_sd);
    if (!policy->n_adapter) return;
    const tn_store *t = policy->trunk;
    tn_info("adapter: rank %d, alpha %g; on the policy's weights: the reference%s%s%s",
            policy->adapter[0]->spec.rank, policy->adapter[0]->spec.alpha,
            p->on.ref->trunk != t      ? " not"
            : p->on.ref->n_adapter > 0 ? " (its adapter as it was)"
                                       : " (the adapter off)",
            p->scorer.model->trunk == t ? ", the reward model" : "",
            p->critic.model->trunk == t ? ", the critic" : "");
}

/* With adapters a reward adapter on the same base is a view, and the critic trains on its trunk. */
static tn_load how_to_load_reward(const ppo *p) {
    const tn_ppo_options *q = &p->task->ppo;
    bool view = p->on.spec.rank || tn_adapter_folder(q->reward_model);
    return (tn_load){.train = strcmp(q->critic, "auto") == 0 && view,
                     .base = p->on.lora.base_model};
}

static tn_status same_tokenizer(bool *same, const ppo *p, tn_err *e) {
    return tn_scorer_same_tokenizer(same, p->task->ppo.reward_model, p->on.o.model, p->on.lora.base_model, e);
}

/* The critic to come, where reward model and policy have one tokenizer. *shared: on somebody's trunk. */
static tn_status peek_critic(const ppo *p, tn_desc *d, tn_lora_spec *s, bool *shared, tn_err *e) {
    const char *how = p->task->ppo.critic;
    const tn_online *on = &p->on;
    const tn_load load = {.train = true, .want_score = true, .base = on->lora.base_model};
    bool automatic = strcmp(how, "auto") == 0, same;
    TN_TRY(same_tokenizer(&same, p, e));
    bool policy = automatic ? !same : strcmp(how, "policy") == 0;
    const char *like = policy ? on->o.model : automatic ? p->task->ppo.reward_model : how;
    *d = on->desc, *s = on->spec; /* from the policy: with a fresh head */
    if (!policy) {
        TN_TRY(tn_model_peek(d, like, &load, e));
        TN_TRY(tn_adapter_peek(s, like, e));
        if (!s->rank && automatic) *s = on->spec;
    }
    *shared = policy || automatic || tn_same_trunk(like, on->o.model, on->lora.base_model);
    return TN_OK;
}

static tn_status critic_budget(const ppo *p, tn_budget *b, tn_err *e) {
    const tn_online *on = &p->on;
    const tn_batch_need *q = &on->need;
    tn_desc d;
    tn_lora_spec s;
    bool shared;
    TN_TRY(peek_critic(p, &d, &s, &shared, e));
    if (s.rank && shared) tn_budget_adapter(b, "critic", &d, &s, on->be, true, true);
    else tn_budget_trained(b, "critic", &d, &s, on->be, true);
    tn_budget_run(b, "critic", &d, on->be, q->tokens, on->rows, on->length, q->blocks,
                  tn_keep_from_options(&on->o));
    tn_budget_adapter_run(b, "critic", &d, &s, on->be, q->tokens, true);
    tn_budget_scratch(b, &d, &s, on->be, q->tokens, 0, true);
    tn_budget_add(b, "micro-batch", "", tn_batch_bytes(q));
    return TN_OK;
}

static tn_status plan_memory(const ppo *p, tn_err *e) {
    const tn_online *on = &p->on;
    const char *dir = p->task->ppo.reward_model;
    int tokens = on->need.tokens, length = 2 * on->rollout_length;
    bool same;
    TN_TRY(same_tokenizer(&same, p, e));
    tn_batch_need scored = tn_online_scored(on, tokens > length ? tokens : length, same);
    tn_load how = how_to_load_reward(p);
    bool shared = on->spec.rank && tn_same_trunk(dir, on->o.model, on->lora.base_model);
    tn_budget b = {0};
    TN_TRY(tn_online_budget(on, &b, e));
    TN_TRY(tn_scorer_budget(&b, dir, on->be, &how, shared, tokens, length, &scored, e));
    TN_TRY(critic_budget(p, &b, e));
    if (p->texts) tn_budget_add(&b, "micro-batch", "", tn_batch_bytes(&on->need));
    return tn_intro_memory(&b, on->o.max_memory, e);
}

static tn_status estimate(const ppo *p, tn_err *e) {
    const tn_ppo_options *q = &p->task->ppo;
    const tn_online *on = &p->on;
    double tokens = tn_online_tokens(on), epochs = (double)q->epochs;
    tn_desc critic, reward;
    tn_lora_spec s;
    bool shared;
    TN_TRY(peek_critic(p, &critic, &s, &shared, e));
    TN_TRY(tn_model_peek(&reward, q->reward_model, &(tn_load){.base = on->lora.base_model}, e));
    double others = 2.0 * tokens * (double)(tn_desc_params(&reward) + tn_desc_params(&critic));
    others += epochs * tn_train_flop(&critic, &s, tokens);
    if (p->texts) {
        double updates = epochs * ceil((double)q->rollouts / (double)q->minibatch);
        double each = (double)p->texts->stats.tokens / (double)p->texts->n;
        others += updates * tn_train_flop(&on->desc, &on->spec, each * (double)p->text_plan.rows_per_step);
    }
    tn_online_estimate(on, (double)q->iterations, epochs, others);
    return TN_OK;
}

static tn_status set_up(ppo *p, const tn_opts *opts, tn_err *e) {
    const tn_ppo_options *q = &p->task->ppo;
    tn_online *on = &p->on;
    int n = (int)q->rollouts;
    TN_TRY(tn_online_bind(on, "ppo", opts, e));
    TN_TRY(check_options(q, e));
    TN_TRY(tn_online_open(on, e));
    tn_online_shape shape = {.n_prompt = n,
                             .n_sample = 1,
                             .max_new = (int)q->response_length,
                             .temperature = q->temperature,
                             .reference = true,
                             .algo = &tn_algo_ppo_policy,
                             .opt = &p->task->policy};
    TN_TRY(load_texts(p, &shape, e));
    tn_online_measure(on, &shape);
    TN_TRY(introduce(p, e));
    TN_TRY(plan_memory(p, e));
    TN_TRY(estimate(p, e));
    if (on->o.dry_run) return TN_OK;
    TN_TRY(tn_online_prepare(on, e));
    /* with adapters: a reward adapter on the same base is a view, and the critic trains on its trunk */
    tn_load how = how_to_load_reward(p);
    how.on = on->spec.rank ? on->policy.model : NULL;
    TN_TRY(tn_scorer_open_with(&p->scorer, q->reward_model, on->o.model, on->be,
                               on->need.tokens, 2 * on->rollout_length, &how, e));
    TN_TRY(tn_scorer_no_cost(&p->scorer, q->reward_model, e));
    if (p->scorer.model->desc.per_token)
        return tn_fail(e, TN_UNSUPPORTED, "%s is a process reward model, which grpo, rloo and their kin take; ppo has none",
                       q->reward_model);
    TN_TRY(tn_scorer_reserve(&p->scorer, n, 1, on->shortest, on->rollout_blocks, e));
    TN_TRY(make_critic(p, e));
    tn_model_drop_masters(p->scorer.model); /* the critic has its copy */
    introduce_models(p);
    TN_TRY(make_ptx(p, e));
    p->mini = tn_calloc((size_t)q->minibatch, sizeof *p->mini);
    p->perm = tn_calloc((size_t)n, sizeof *p->perm);
    if (!p->mini || !p->perm) return tn_fail(e, TN_NOMEM, "out of memory");
    p->peak_lr = isnan(on->o.lr) ? 3e-6 : on->o.lr;
    p->critic_lr = isnan(q->critic_lr) ? p->peak_lr : q->critic_lr;
    p->kl.coef = p->task->rl.kl_coef;
    return TN_OK;
}

/* ---- the loop's own state ---- */

static json_t *state_of(const ppo *p) {
    char hash[32];
    snprintf(hash, sizeof hash, "%016llx", p->texts ? (unsigned long long)p->texts->hash : 0ull);
    return json_pack("{s:I,s:I,s:f,s:f,s:f,s:f,s:s}", "updates", (json_int_t)p->updates, "episodes",
                     (json_int_t)p->episodes, "kl_coef", p->kl.coef, "running_count",
                     p->running.count, "running_mean", p->running.mean, "running_m2", p->running.m2,
                     "ptx_hash", hash);
}

static tn_status take_state(ppo *p, const json_t *s, tn_err *e) {
    char hash[32];
    const char *was = json_string_value(json_object_get(s, "ptx_hash"));
    snprintf(hash, sizeof hash, "%016llx", p->texts ? (unsigned long long)p->texts->hash : 0ull);
    if (was && strcmp(was, hash) != 0)
        return tn_fail(e, TN_STATE, "%s was trained with another --ptx-data; resume with the same",
                       p->on.from.s);
    p->updates = (long)json_integer_value(json_object_get(s, "updates"));
    p->episodes = (long)json_integer_value(json_object_get(s, "episodes"));
    p->kl.coef = json_number_value(json_object_get(s, "kl_coef"));
    p->running.count = json_number_value(json_object_get(s, "running_count"));
    p->running.mean = json_number_value(json_object_get(s, "running_mean"));
    p->running.m2 = json_number_value(json_object_get(s, "running_m2"));
    return TN_OK;
}

/* ---- one iteration ---- */

/* Samples, scores and advantages of a new batch. */
static tn_status collect(ppo *p, tn_metrics *m, tn_err *e) {
    tn_online *on = &p->on;
    tn_rollouts *r = &on->roll;
    long first = on->step * (long)p->task->ppo.rollouts;
    tn_online_pick(on, first);
    TN_TRY(tn_online_sample(on, (uint64_t)first, e));
    TN_TRY(tn_rollouts_score(r, &p->scorer, on->tok, r->raw_score, e));
    TN_TRY(tn_rollouts_observe(r, &on->policy, &p->critic, e));
    TN_TRY(tn_online_log_samples(on, on->step + 1, &(tn_online_column){"score", r->raw_score, 1}, 1,
                                 e));
    double raw = 0, ended = 0;
    for (int i = 0; i < r->n; i++) {
        raw += r->raw_score[i];
        ended += r->ended[i];
        r->score[i] = r->raw_score[i];
    }
    tn_metrics_mean(m, "objective/raw_scores", raw, r->n);
    tn_metrics_mean(m, "completions/mean_length", r->n_tok, r->n);
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
    return TN_OK;
}

/* The update's rows of the pretraining mix into p->text; how many. */
static int pick_texts(ppo *p) {
    const uint32_t *rows;
    size_t n;
    if (!p->texts) return 0;
    tn_plan_step(&p->text_plan, p->updates, &rows, &n);
    for (size_t i = 0; i < n; i++) p->text[i] = &p->texts->ex[rows[i]];
    return (int)n;
}

/* One minibatch: policy and critic stepped. */
static tn_status update(ppo *p, int n, double lr, double critic_lr, tn_metrics *m, tn_err *e) {
    tn_optimiser o = tn_optimiser_from_options(&p->on.o);
    tn_step_result a = {0}, c = {0}, ptx = {0};
    tn_work both[2] = {{&p->on.policy, p->mini, n, &a}, {&p->ptx, p->text, pick_texts(p), &ptx}};
    TN_TRY(tn_trainee_accumulate_all(both, p->texts ? 2 : 1, true, e));
    if (p->texts) tn_metrics_mean(m, "loss/ptx_avg", ptx.loss / p->ptx.weight, 1);
    TN_TRY(tn_trainee_update(&p->on.policy, &o, lr, p->updates + 1, &a, e));
    TN_TRY(tn_trainee_accumulate(&p->critic, p->mini, n, true, &c, e));
    TN_TRY(tn_trainee_update(&p->critic, &o, critic_lr, p->updates + 1, &c, e));
    p->updates++;
    tn_metrics_merge(m, &a.metrics);
    tn_metrics_merge(m, &c.metrics);
    tn_metrics_mean(m, "grad_norm", a.grad_norm, 1);
    tn_metrics_mean(m, "critic_grad_norm", c.grad_norm, 1);
    tn_metrics_mean(m, "loss/policy_avg", a.loss, 1);
    tn_metrics_mean(m, "loss/value_avg", c.loss, 1);
    tn_metrics_mean(m, "loss", a.loss + ptx.loss + c.loss, 1);
    return TN_OK;
}

/* Epochs of minibatches over the batch. */
static tn_status optimise(ppo *p, tn_metrics *m, tn_err *e) {
    const tn_ppo_options *q = &p->task->ppo;
    tn_online *on = &p->on;
    tn_rollouts *r = &on->roll;
    double lr = tn_lr_at(&on->o, p->peak_lr, on->step + 1, (long)q->iterations);
    double critic_lr = tn_lr_at(&on->o, p->critic_lr, on->step + 1, (long)q->iterations);
    for (long epoch = 0; epoch < q->epochs; epoch++) {
        for (int i = 0; i < r->n; i++) p->perm[i] = (uint32_t)i;
        tn_rng rng = tn_rng_stream((uint64_t)on->o.seed, TN_RNG_MINIBATCH,
                                   (uint64_t)(on->step * 1024 + epoch));
        tn_rng_shuffle(&rng, p->perm, (size_t)r->n);
        for (int at = 0; at < r->n; at += (int)q->minibatch) {
            int n = r->n - at < q->minibatch ? r->n - at : (int)q->minibatch;
            for (int i = 0; i < n; i++) p->mini[i] = &r->ex[p->perm[at + i]];
            on->policy.expect_on_policy = epoch == 0 && at == 0 && !on->sampling.truncated_logp;
            TN_TRY(update(p, n, lr, critic_lr, m, e));
        }
    }
    tn_metrics_put(m, TN_METRIC_SUM, "learning_rate", lr);
    return TN_OK;
}

static tn_status train(ppo *p, tn_err *e) {
    tn_online *on = &p->on;
    long total = (long)p->task->ppo.iterations;
    tn_progress bar;
    tn_progress_begin(&bar, "ppo", "iterations", total, on->step);
    while (on->step < total && !on->stop) {
        tn_metrics m = {0};
        double rate;
        bool due;
        long tokens = on->tokens;
        tn_status st = collect(p, &m, e);
        if (st == TN_INTERRUPTED) { /* nothing of this iteration counts */
            on->tokens = tokens;
            break;
        }
        TN_TRY(st);
        TN_TRY(optimise(p, &m, e));
        on->step++;
        json_t *j = json_pack("{s:I,s:I,s:I}", "step", (json_int_t)on->step, "episode",
                              (json_int_t)p->episodes, "num_tokens", (json_int_t)on->tokens);
        if (!j) return tn_fail(e, TN_NOMEM, "out of memory");
        tn_runlog_put_metrics(j, "", &m);
        TN_TRY(tn_runlog_entry(&on->log, j, e));
        TN_TRY(tn_runlog_timing(&on->log, on->step, on->tokens, &rate, e));
        TN_TRY(tn_online_due(on, &due, e));
        if (due) TN_TRY(tn_online_checkpoint(on, state_of(p), e));
        tn_progress_update(&bar, on->step, "score %.3f  kl %.2f  length %.1f  %.0f tok/s",
                           tn_metrics_find(&m, "objective/raw_scores"),
                           tn_metrics_find(&m, "objective/kl"),
                           tn_metrics_find(&m, "completions/mean_length"), rate);
    }
    tn_progress_end(&bar);
    if (on->step == total) return TN_OK;
    TN_TRY(tn_online_checkpoint(on, state_of(p), e));
    return tn_online_interrupted(on, "iteration", total, e);
}

static tn_status run(ppo *p, const tn_opts *opts, tn_err *e) {
    json_t *state;
    TN_TRY(set_up(p, opts, e));
    if (p->on.o.dry_run) return TN_OK;
    tn_status st = tn_online_begin(&p->on, &state, e);
    if (st == TN_OK && state) st = take_state(p, state, e);
    json_decref(state);
    TN_TRY(st);
    TN_TRY(train(p, e));
    return tn_online_save(&p->on, state_of(p), e);
}

tn_status tn_ppo_run(const tn_ppo_task *task, const tn_opts *opts, tn_err *e) {
    ppo p;
    memset(&p, 0, sizeof p);
    p.task = task, p.on.lock = -1;
    tn_status st = run(&p, opts, e);
    st = tn_run_end(p.on.be, st, e);
    ppo_free(&p);
    return st;
}
