/* What a PPO run is made of: options checked, memory planned, models opened. */
#include "base/log.h"
#include "train/intro.h"
#include "rl/ppo_int.h"
#include <math.h>
#include <string.h>

void tn_ppo_free(tn_ppo *p) {
    tn_critic_close(&p->critic);
    tn_safe_close(&p->safe);
    tn_step_rewards_close(&p->steps);
    for (int i = 0; i < p->n_scorer; i++) {
        tn_scorer_close(p->scorer[i]);
        tn_free(p->scorer[i]);
    }
    tn_free(p->scorer);
    tn_free(p->member);
    tn_reward_judge_close(p->judge);
    tn_free(p->judged);
    tn_shaping_close(&p->shaping);
    tn_macros_free(&p->macros);
    tn_alarms_close(&p->alarms);
    tn_batch_free(&p->ptx.mb);
    tn_plan_free(&p->text_plan);
    tn_dataset_free(p->texts);
    tn_free(p->mini);
    tn_free(p->text);
    tn_free(p->perm);
    tn_online_close(&p->on);
}

static bool joint_macros(const tn_ppo *p) {
    return tn_macros_wanted(&p->task->macro) && strcmp(p->task->macro.loss, "macro") == 0;
}

static tn_status check_options(const tn_ppo *p, tn_err *e) {
    const tn_ppo_options *q = &p->task->ppo;
    bool references;
    if (q->reward_models.n == 0 && !p->task->judge.judge)
        return tn_fail(e, TN_ARG,
                       "--reward-model is missing; give a folder made by `tenet reward` or any "
                       "*ForSequenceClassification, or --reward-judge");
    TN_TRY(tn_judge_check(&p->task->judge, 1, e));
    if (q->reward_models.n > TN_ENSEMBLE_MAX)
        return tn_fail(e, TN_ARG, "%d reward models, at most %d make an ensemble", q->reward_models.n, TN_ENSEMBLE_MAX);
    if (q->minibatch > q->rollouts)
        return tn_fail(e, TN_ARG, "--minibatch-size %lld is larger than --rollouts %lld",
                       (long long)q->minibatch, (long long)q->rollouts);
    if ((q->ptx_coef > 0) != (q->ptx_data.n > 0))
        return tn_fail(e, TN_ARG,
                       "--ptx-coef and --ptx-data go together: a weight and the rows it is for");
    bool by_response = strcmp(p->task->policy.reduction, "sequence_mean") == 0 ||
                       strcmp(p->task->value.reduction, "sequence_mean") == 0;
    if (joint_macros(p) && by_response)
        return tn_fail(e, TN_ARG,
                       "--macro-loss macro is the mean over macros; --policy-reduction and --value-reduction sequence_mean "
                       "are for losses on tokens");
    TN_TRY(tn_macros_check(&p->task->macro, true, e));
    TN_TRY(tn_safe_check(&p->task->safe, &p->task->rl, e));
    TN_TRY(tn_shaping_check(&p->task->shaping, q->reward_models.n, &references, e));
    return tn_alarms_check(&p->task->alarms, true, q->reward_models.n, &p->on, e);
}

/* Texts of the pretraining mix, and what their batches need of the policy's workspace. */
static tn_status load_texts(tn_ppo *p, tn_online_shape *shape, tn_err *e) {
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
    p->ptx.batch = (tn_batch_options){.share_prompts = true};
    shape->more_examples = (size_t)rows;
    for (size_t i = 0; i < p->texts->n; i++)
        if (tn_example_tokens(&p->texts->ex[i]) > shape->more_length)
            shape->more_length = tn_example_tokens(&p->texts->ex[i]);
    return tn_batch_measure(&shape->more, p->texts, &p->ptx.batch, (int)o->micro_tokens, rows, e);
}

static tn_status make_ptx(tn_ppo *p, tn_err *e) {
    tn_trainee *t = &p->ptx;
    if (!p->texts) return TN_OK;
    p->text_opt = (tn_sft_opt){"nll", "token_mean"};
    t->model = p->on.policy.model, t->run = p->on.policy.run;
    t->algo = &tn_algo_sft, t->opt = &p->text_opt, t->needs = TN_NEED_LOGP | TN_NEED_STATS;
    t->inv_temp = 1.0, t->weight = p->task->ppo.ptx_coef;
    t->max_tokens = (int)p->on.o.micro_tokens;
    return tn_batch_reserve(&t->mb, &p->on.need, e);
}

static tn_status introduce(const tn_ppo *p, tn_err *e) {
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

static void introduce_models(const tn_ppo *p) {
    const tn_model *policy = p->on.policy.model;
    const tn_opt_list *names = &p->task->ppo.reward_models;
    for (int i = 0; i < p->n_scorer; i++)
        tn_info("reward model %s: %s, scores normalised by mean %.4g, sd %.4g", names->v[i],
                p->scorer[i]->same_tokenizer ? "the policy's tokenizer" : "its own tokenizer",
                p->scorer[i]->model->score_mean, p->scorer[i]->model->score_sd);
    if (p->judge) tn_info("%s, weight %g", tn_reward_judge_help(p->judge), p->task->ppo.judge_weight);
    if (p->n_scorer > 1) tn_info("their %s is the score", p->task->ensemble.how);
    if (p->safe.task)
        tn_info("cost model %s: %s, costs divided by %.4g; %s", p->task->safe.q.cost_model,
                p->safe.scorer.same_tokenizer ? "the policy's tokenizer" : "its own tokenizer",
                p->safe.scorer.model->score_sd, p->safe.priced ? "at a fixed price" : "priced by a multiplier");
    if (p->shaping.o) tn_info("scores are shaped: %s", p->task->shaping.map.shape);
    if (p->macros.o) tn_info("macro actions: %s", p->task->macro.rule);
    if (!policy->n_adapter) return;
    const tn_store *t = policy->trunk;
    tn_info("adapter: rank %d, alpha %g; on the policy's weights: the reference%s%s%s",
            policy->adapter[0]->spec.rank, policy->adapter[0]->spec.alpha,
            p->on.ref->trunk != t      ? " not"
            : p->on.ref->n_adapter > 0 ? " (its adapter as it was)"
                                       : " (the adapter off)",
            p->n_scorer && p->scorer[0]->model->trunk == t ? ", the reward model" : "",
            p->critic.model->trunk == t ? ", the critic" : "");
}

/* The first reward model judges for the critic; the others only score. Without one the critic is the policy's. */
static tn_critic_spec reward_critic(const tn_ppo *p) {
    const tn_ppo_options *q = &p->task->ppo;
    bool macro = joint_macros(p), alone = q->reward_models.n == 0;
    return (tn_critic_spec){.name = "critic",
                            .how = alone && strcmp(q->critic, "auto") == 0 ? "policy" : q->critic,
                            .judge = alone ? NULL : q->reward_models.v[0],
                            .algo = macro ? &tn_algo_macro_value : &tn_algo_ppo_value,
                            .opt = macro ? (const void *)&p->macro_value : &p->task->value,
                            .examples = (size_t)p->task->ppo.minibatch,
                            .seed = (uint64_t)p->on.o.seed + 1};
}

static tn_critic_spec cost_critic(const tn_ppo *p) {
    tn_critic_spec c = reward_critic(p);
    return tn_safe_critic(&p->task->safe, &p->on, c.opt, c.algo, c.examples);
}

/* Reward models after the first, as in critic-free loops. */
static tn_load frozen(const tn_ppo *p) { return (tn_load){.base = p->on.lora.base_model, .frozen = true}; }

static tn_status members_budget(const tn_ppo *p, tn_budget *b, tn_err *e) {
    const tn_online *on = &p->on;
    const tn_opt_list *q = &p->task->ppo.reward_models;
    int tokens = on->need.tokens, length = 2 * on->rollout_length;
    for (int i = 1; i < q->n; i++) {
        bool same;
        TN_TRY(tn_scorer_same_tokenizer(&same, q->v[i], on->o.model, on->lora.base_model, e));
        tn_batch_need scored = tn_online_scored(on, tokens > length ? tokens : length, same);
        tn_load how = frozen(p);
        TN_TRY(tn_scorer_budget(b, q->v[i], on->be, &how, false, tokens, length, &scored, e));
    }
    return TN_OK;
}

static tn_status add_memory(const void *loop, tn_budget *b, tn_err *e) {
    const tn_ppo *p = loop;
    const tn_online *on = &p->on;
    tn_critic_spec c = reward_critic(p), cost = cost_critic(p);
    TN_TRY(tn_online_budget(on, b, e));
    if (c.judge) TN_TRY(tn_judge_budget(&c, on, b, e));
    TN_TRY(tn_reward_judge_budget(&p->task->judge, on, b, e));
    TN_TRY(members_budget(p, b, e));
    TN_TRY(tn_critic_budget(&c, on, b, e));
    TN_TRY(tn_safe_budget(&p->task->safe, &cost, on, b, e));
    TN_TRY(tn_step_rewards_budget(&p->task->steps, on, b, e));
    TN_TRY(tn_shaping_budget(&p->task->shaping, on, b, e));
    size_t macros = tn_macros_bytes(&p->task->macro, on->shape.n_prompt, on->shape.max_new);
    if (macros) tn_budget_add(b, "rollouts", "", macros);
    if (p->texts) tn_budget_add(b, "micro-batch", "", tn_batch_bytes(&on->need));
    return TN_OK;
}

/* FLOP of a critic and the model whose scores it foresees, for one batch. */
static tn_status critic_flop(const tn_ppo *p, const tn_critic_spec *c, bool trained, double *flop, tn_err *e) {
    const tn_online *on = &p->on;
    tn_effort w = tn_online_work(on);
    tn_desc critic, judge;
    tn_lora_spec s;
    bool shared;
    if (c->judge) {
        TN_TRY(tn_model_peek(&judge, c->judge, &(tn_load){.base = on->lora.base_model}, e));
        *flop += tn_online_score_flop(on, &judge, false);
    }
    if (!trained) return TN_OK;
    TN_TRY(tn_critic_peek(c, on, &critic, &s, &shared, e));
    w.logits = 0;
    *flop += tn_forward_flop(&critic, &w) + (double)p->task->ppo.epochs * tn_online_train_flop(on, &critic, &s, &w);
    return TN_OK;
}

static tn_status estimate(const tn_ppo *p, tn_err *e) {
    const tn_ppo_options *q = &p->task->ppo;
    const tn_online *on = &p->on;
    double epochs = (double)q->epochs, others = 0;
    tn_critic_spec c = reward_critic(p), cost = cost_critic(p);
    TN_TRY(tn_reward_judge_flop(&p->task->judge, on, &others, e));
    TN_TRY(critic_flop(p, &c, true, &others, e));
    for (int i = 1; i < q->reward_models.n; i++) {
        c.judge = q->reward_models.v[i];
        TN_TRY(critic_flop(p, &c, false, &others, e));
    }
    TN_TRY(tn_step_rewards_flop(&p->task->steps, on, &others, e));
    if (cost.judge) TN_TRY(critic_flop(p, &cost, tn_safe_has_critic(&p->task->safe), &others, e));
    if (p->texts) {
        double updates = epochs * ceil((double)q->rollouts / (double)q->minibatch);
        double rows = (double)p->text_plan.rows_per_step / (double)p->texts->n, trained = rows * (double)p->texts->stats.trained;
        tn_effort w = {rows * (double)p->texts->stats.tokens, trained, trained, 0};
        others += updates * tn_online_train_flop(on, &on->desc, &on->spec, &w);
    }
    tn_online_estimate(on, (double)q->iterations, epochs, others);
    return TN_OK;
}

/* Only models of one score for a whole response that is better when it is larger. */
static tn_status check_scorer(const tn_ppo *p, int i, tn_err *e) {
    const char *dir = p->task->ppo.reward_models.v[i];
    TN_TRY(tn_scorer_no_cost(p->scorer[i], dir, e));
    if (!p->scorer[i]->model->desc.per_token) return TN_OK;
    return tn_fail(e, TN_UNSUPPORTED, "%s is a process reward model, and the critic starts from one of whole responses; give it as --process-reward-model", dir);
}

/* Of opened reward models: who makes up the score. */
static tn_status open_members(tn_ppo *p, tn_err *e) {
    int N = (int)p->task->ppo.rollouts;
    for (int i = 0; i < p->n_scorer; i++) {
        tn_scorer *s = p->scorer[i];
        if (p->task->together && s->n_member) TN_TRY(tn_scorer_keep_members(s, N, e));
        p->n_member += tn_scorer_members(s);
    }
    if (p->task->together && p->n_scorer) TN_TRY(tn_members_check(p->n_member, e));
    if (p->shaping.o) TN_TRY(tn_members_whole(p->n_member, p->n_scorer, e));
    p->member = tn_calloc((size_t)p->n_member + 1, (size_t)N * sizeof *p->member);
    return p->member ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory for the scores of %d members", p->n_member);
}

/* Reward models, critics and what else reads rollouts. */
static tn_status open_judges(tn_ppo *p, tn_err *e) {
    const tn_ppo_options *q = &p->task->ppo;
    tn_online *on = &p->on;
    tn_critic_spec c = reward_critic(p), cost = cost_critic(p);
    int n = q->reward_models.n;
    p->scorer = tn_calloc((size_t)n + 1, sizeof *p->scorer);
    p->judged = tn_calloc((size_t)q->rollouts, sizeof *p->judged);
    if (!p->scorer || !p->judged) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i < n; i++, p->n_scorer++)
        if (!(p->scorer[i] = tn_calloc(1, sizeof **p->scorer))) return tn_fail(e, TN_NOMEM, "out of memory");
    if (n) TN_TRY(tn_judge_open(p->scorer[0], &c, on, e));
    if (n) TN_TRY(check_scorer(p, 0, e));
    TN_TRY(tn_critic_open(&p->critic, on, &c, p->scorer[0], e));
    if (n) TN_TRY(tn_judge_freeze(p->scorer[0], on, e));
    for (int i = 1; i < n; i++) {
        tn_load how = frozen(p);
        TN_TRY(tn_scorer_open_with(p->scorer[i], q->reward_models.v[i], on->o.model, on->be, on->need.tokens,
                                   2 * on->rollout_length, &how, e));
        TN_TRY(check_scorer(p, i, e));
        TN_TRY(tn_online_park(on, p->scorer[i]->model, e));
        TN_TRY(tn_scorer_reserve(p->scorer[i], (int)q->rollouts, 1, on->shortest, on->rollout_blocks, e));
    }
    if (p->task->judge.judge) TN_TRY(tn_reward_judge_open(&p->judge, &p->task->judge, on, e));
    TN_TRY(tn_safe_open(&p->safe, &p->task->safe, &cost, on, e));
    TN_TRY(tn_step_rewards_open(&p->steps, &p->task->steps, on, e));
    TN_TRY(tn_shaping_open(&p->shaping, &p->task->shaping, n, on, e));
    TN_TRY(open_members(p, e));
    return tn_macros_new(&p->macros, &p->task->macro, (int)q->rollouts, (int)q->response_length, (uint64_t)on->o.seed,
                         on->tok, e);
}

tn_status tn_ppo_set_up(tn_ppo *p, const tn_opts *opts, tn_err *e) {
    const tn_ppo_options *q = &p->task->ppo;
    const tn_macro_opt *macro = &p->task->macro;
    tn_online *on = &p->on;
    TN_TRY(tn_online_bind(on, "ppo", opts, e));
    TN_TRY(check_options(p, e));
    TN_TRY(tn_online_open(on, e));
    TN_TRY(tn_judge_fit(&p->task->judge, on, e));
    TN_TRY(tn_macros_check(macro, on->tok != NULL, e));
    tn_online_shape shape = {.n_prompt = (int)q->rollouts,
                             .n_sample = 1,
                             .max_new = (int)q->response_length,
                             .temperature = q->temperature,
                             .reference = true,
                             .algo = joint_macros(p) ? &tn_algo_macro_policy : &tn_algo_ppo_policy,
                             .opt = &p->task->policy};
    p->macro_value = (tn_macro_value_opt){p->task->value, macro->value};
    TN_TRY(load_texts(p, &shape, e));
    tn_online_measure(on, &shape);
    TN_TRY(introduce(p, e));
    TN_TRY(tn_online_plan(on, add_memory, p, e));
    TN_TRY(estimate(p, e));
    if (on->o.dry_run) return TN_OK;
    TN_TRY(tn_online_prepare(on, e));
    TN_TRY(open_judges(p, e));
    introduce_models(p);
    TN_TRY(make_ptx(p, e));
    p->mini = tn_calloc((size_t)q->minibatch, sizeof *p->mini);
    p->perm = tn_calloc((size_t)q->rollouts, sizeof *p->perm);
    if (!p->mini || !p->perm) return tn_fail(e, TN_NOMEM, "out of memory");
    p->peak_lr = isnan(on->o.lr) ? 3e-6 : on->o.lr;
    p->critic_lr = isnan(q->critic_lr) ? p->peak_lr : q->critic_lr;
    p->cost_critic_lr = isnan(p->task->safe.q.critic_lr) ? p->critic_lr : p->task->safe.q.critic_lr;
    p->kl.coef = p->task->rl.kl_coef;
    return TN_OK;
}
