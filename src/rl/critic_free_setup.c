/* Set-up of the critic-free loop: options, sizes of samplings and steps, what the plan says, memory. */
#include "base/log.h"
#include "rl/critic_free_int.h"
#include "train/intro.h"
#include "train/moving_ref.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_critic_free_options, f)
const tn_opt_row tn_group_rows[] = {
    {"num-generations", TN_OPT_INT, AT(generations), "8", NULL, 2, 4096, NULL, "G",
     "Responses to each prompt, compared with each other."},
    TN_OPT_LAST};
const tn_opt_row tn_critic_free_rows[] = {
    {"num-iterations", TN_OPT_INT, AT(iterations), "1", NULL, 1, 1000, NULL, "N",
     "Passes over each batch of responses."},
    {"steps-per-generation", TN_OPT_INT, AT(steps_per_generation), NULL, NULL, 1, 1 << 20, NULL,
     "N",
     "A sampling makes per-device-train-batch-size times N responses; default: "
     "--gradient-accumulation-steps, one optimiser step's worth."},
    {"generation-batch-size", TN_OPT_INT, AT(generation_batch), NULL, NULL, 1, 1 << 20, NULL, "N",
     "The same as a number of responses."},
    {"temperature", TN_OPT_REAL, AT(temperature), "1", NULL, 1e-3, 100, NULL, "X",
     "Sampling temperature; log-probs and KL are those of the distribution sampled from."},
    {"mask-truncated-completions", TN_OPT_BOOL, AT(mask_truncated), "false", NULL, 0, 0, NULL, NULL,
     "Do not train on responses that reached --max-completion-length."},
    TN_OPT_LAST};

void tn_critic_free_close(tn_critic_free *l) {
    tn_slices_free(&l->slices);
    tn_rewards_close(&l->rewards);
    tn_step_rewards_close(&l->steps);
    tn_sdpo_close(&l->sdpo);
    tn_shaping_close(&l->shaping);
    tn_alarms_close(&l->alarms);
    tn_free(l->judge);
    tn_free(l->shaped);
    tn_free(l->group_off);
    double *p[] = {l->total, l->advantage, l->scratch, l->kl, l->entropy};
    for (int i = 0; i < 5; i++) tn_free(p[i]);
    tn_online_close(&l->on);
}

/* Some of the responses to a prompt are learnt from, not all with their advantages. */
static bool chooses(const tn_critic_free *l) { return l->task->pairs || l->task->best; }
/* What --per-device-train-batch-size counts: responses, or prompts with all of theirs. */
static long responses_of_one(const tn_critic_free *l) {
    return chooses(l) || l->task->opponent ? (long)l->task->q.generations : 1;
}

/* Sizes in responses, as TRL derives them. */
static tn_status sizes(tn_critic_free *l, tn_err *e) {
    const tn_critic_free_options *q = &l->task->q;
    const tn_train_options *o = &l->on.o;
    long rows = (long)o->batch_size, accumulation = (long)o->accumulation, per = accumulation,
         G = (long)q->generations;
    bool steps = q->steps_per_generation != INT64_MIN, whole = q->generation_batch != INT64_MIN;
    if (o->batch_tokens > 0)
        return tn_fail(e, TN_ARG,
                       "--batch-tokens: a step takes a fixed number of responses here, "
                       "--per-device-train-batch-size x --gradient-accumulation-steps");
    if (steps && whole)
        return tn_fail(e, TN_ARG,
                       "--steps-per-generation and --generation-batch-size say the same; "
                       "give one of them");
    if (steps) per = (long)q->steps_per_generation;
    if (whole && q->generation_batch % rows)
        return tn_fail(e, TN_ARG,
                       "--generation-batch-size %lld must be a multiple of "
                       "--per-device-train-batch-size %ld",
                       (long long)q->generation_batch, rows);
    if (whole) per = (long)q->generation_batch / rows;
    l->batch = rows * per * responses_of_one(l);
    l->each = rows * accumulation * responses_of_one(l);
    if (per % accumulation)
        return tn_fail(e, TN_ARG,
                       "a sampling of %ld responses does not cut into optimiser steps of %ld "
                       "(--per-device-train-batch-size %ld x --gradient-accumulation-steps %ld); make "
                       "--steps-per-generation (or --generation-batch-size) a multiple of that",
                       l->batch, l->each, rows, accumulation);
    if (l->batch % G)
        return tn_fail(e, TN_ARG,
                       "a sampling of %ld responses does not divide into groups of "
                       "--num-generations %ld; change --per-device-train-batch-size (%ld) or "
                       "--num-generations",
                       l->batch, G, rows);
    return TN_OK;
}

tn_status tn_critic_free_plan(tn_critic_free *l, tn_err *e) {
    const tn_train_options *o = &l->on.o;
    long batch = l->batch, prompts = batch / (long)l->task->q.generations, n = (long)l->on.prompts->n;
    if (n < prompts)
        return tn_fail(
            e, TN_ARG,
            "%ld prompts are fewer than the %ld of one sampling (%ld responses in groups "
            "of %lld); lower --per-device-train-batch-size or raise --num-generations",
            n, prompts, batch, (long long)l->task->q.generations);
    l->per_sampling = batch / l->each * (long)l->task->q.iterations;
    l->per_epoch = n / prompts * l->per_sampling; /* a last, smaller batch is left out, as in TRL */
    l->total_steps =
        o->max_steps > 0 ? (long)o->max_steps : (long)ceil(o->epochs * (double)l->per_epoch);
    if (l->total_steps < 1) l->total_steps = 1;
    return TN_OK;
}

bool tn_sampler_is_reference(const tn_critic_free *l) {
    return l->task->pairs && strcmp(l->task->pairs->reference, "sampling") == 0;
}
static bool has_floor(const tn_critic_free *l) { return l->task->entropy_floor && l->task->top_entropy < 1; }

/* Shaping of the reward models' scores, which come first among the sources. */
static tn_status make_shaping(tn_critic_free *l, tn_err *e) {
    const tn_rollouts *r = &l->on.roll;
    size_t n = (size_t)r->n_prompt * (size_t)r->n_sample, models = (size_t)l->task->rewards.models.n;
    TN_TRY(tn_shaping_open(&l->shaping, &l->shape, (int)models, &l->on, e));
    if (l->shaping.o) TN_TRY(tn_members_whole(l->rewards.n_member, (int)models, e));
    l->judge = tn_calloc(models + 1, sizeof *l->judge);
    if (l->shaping.o) l->shaped = tn_calloc(n, (size_t)l->rewards.n * sizeof *l->shaped);
    if (!l->judge || (l->shaping.o && !l->shaped)) return tn_fail(e, TN_NOMEM, "out of memory");
    for (size_t i = 0; i < models; i++) l->judge[i] = l->rewards.source[i].scorer;
    if (l->shaped) l->group.reward = l->shaped;
    return TN_OK;
}

static tn_status make_arrays(tn_critic_free *l, tn_err *e) {
    const tn_rollouts *r = &l->on.roll;
    size_t P = (size_t)r->n_prompt, n = P * (size_t)r->n_sample;
    double **p[] = {&l->total, &l->advantage, &l->scratch, &l->kl};
    bool ok = (l->group_off = tn_calloc(P + 1, sizeof *l->group_off));
    for (int i = 0; i < 4; i++) ok = (*p[i] = tn_calloc(n, sizeof(double))) && ok;
    if (has_floor(l))
        ok = (l->entropy = tn_calloc((size_t)(l->each * r->max_new), sizeof(double))) && ok;
    if (!ok) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i <= r->n_prompt; i++) l->group_off[i] = i * r->n_sample;
    l->group = (tn_group_rewards){.n_source = l->rewards.n,
                                  .n_group = r->n_prompt,
                                  .group_off = l->group_off,
                                  .reward = l->rewards.value,
                                  .weight = l->rewards.weight,
                                  .total = l->total,
                                  .advantage = l->advantage,
                                  .scratch = l->scratch,
                                  .ended = r->ended};
    return TN_OK;
}

static tn_status introduce(const tn_critic_free *l, tn_err *e) {
    const tn_online_shape *s = &l->on.shape;
    TN_TRY(tn_online_introduce(&l->on, e));
    char what[64];
    if (l->task->opponent == TN_OPPONENT_MIXTURE)
        snprintf(what, sizeof what, "the second of a mixture with %g of the reference", l->task->mixture);
    else if (l->task->opponent) snprintf(what, sizeof what, "the second the reference's");
    else if (l->task->pairs) snprintf(what, sizeof what, "reference: %s", l->task->pairs->reference);
    else if (l->task->sdpo) snprintf(what, sizeof what, "taught by the %s model, by up to %d tokens", l->task->sdpo->kind, l->teacher_length);
    else if (l->task->best) snprintf(what, sizeof what, "the best %d of each %s", (int)l->task->best->keep, l->task->best->choose);
    else snprintf(what, sizeof what, "KL coefficient %g", l->task->beta);
    tn_info(
        "plan: %ld optimiser steps of %ld %s, %ld in an epoch; a sampling: %d prompts x "
        "%d responses of up to %d tokens, for %ld step(s); %s",
        l->total_steps, l->each / responses_of_one(l), responses_of_one(l) > 1 ? "prompts" : "responses", l->per_epoch, s->n_prompt,
        s->n_sample, s->max_new, l->per_sampling, what);
    if (l->task->values)
        tn_info("values: before that, %lld samples of the reference to each of %zu prompts; their time comes on top, and "
                "prompts may be left out", (long long)l->task->values->samples, l->on.prompts->n);
    return TN_OK;
}

static void introduce_rewards(const tn_critic_free *l) {
    tn_intro_adapter(l->on.policy.model);
    for (int i = 0; i < l->rewards.n; i++) {
        const tn_reward_source *s = &l->rewards.source[i];
        if (s->scorer)
            tn_info("reward %s, weight %g: model, %s, scores normalised by mean %.4g, sd %.4g",
                    s->name, l->rewards.weight[i],
                    s->scorer->same_tokenizer ? "the policy's tokenizer" : "its own tokenizer",
                    s->scorer->model->score_mean, s->scorer->model->score_sd);
        else
            tn_info("reward %s, weight %g: %s", s->name, l->rewards.weight[i],
                    s->fn      ? s->fn->help
                    : s->judge ? tn_reward_judge_help(s->judge)
                               : l->task->rewards.ensemble.how);
    }
}

static tn_status add_memory(const void *loop, tn_budget *p, tn_err *e) {
    const tn_critic_free *l = loop;
    const tn_online_shape *s = &l->on.shape;
    TN_TRY(tn_online_budget(&l->on, p, e));
    TN_TRY(tn_rewards_budget(&l->task->rewards, &l->on, p, e));
    TN_TRY(tn_step_rewards_budget(l->task->steps, &l->on, p, e));
    TN_TRY(tn_shaping_budget(&l->shape, &l->on, p, e));
    if (l->task->values) TN_TRY(tn_values_budget(l->task->values, &l->on, p, e));
    tn_budget_add(p, "rollouts", "", tn_rollouts_bytes(s->n_prompt * s->n_sample, s->max_new)); /* slices */
    if (l->task->sdpo) tn_budget_add(p, "rollouts", "", tn_sdpo_bytes(s->n_prompt * s->n_sample, l->teacher_length));
    return TN_OK;
}

static tn_status estimate(const tn_critic_free *l, tn_err *e) {
    double samplings = ceil((double)l->total_steps / (double)l->per_sampling), others;
    double passes = (double)l->task->q.iterations;
    TN_TRY(tn_rewards_flop(&l->task->rewards, &l->on, &others, e));
    TN_TRY(tn_step_rewards_flop(l->task->steps, &l->on, &others, e));
    tn_effort w = tn_online_work(&l->on);
    if (has_floor(l)) others += passes * tn_forward_flop(&l->on.desc, &w);
    tn_online_estimate(&l->on, samplings, passes, others);
    return TN_OK;
}

/* What the largest pair takes of the policy's workspace. */
static tn_batch_need pair_need(const tn_critic_free *l) {
    const tn_online *on = &l->on;
    int both = on->longest + 2 * (int)l->task->max_completion;
    tn_batch_need q = tn_batch_rollouts(both, 2, 2, on->shortest, 0);
    int tokens = (int)on->o.micro_tokens > both ? (int)on->o.micro_tokens : both, most = tokens / (on->shortest + 2) + 1;
    q.pairs = (int)(l->batch / 2 < most ? l->batch / 2 : most);
    return q;
}

/* Micro-batches of responses apart, behind their teachers' prompts. */
static tn_batch_need teacher_need(const tn_critic_free *l) {
    const tn_online *on = &l->on;
    int64_t one = l->teacher_length + l->task->max_completion + 1, all = l->each * one;
    int64_t tokens = on->o.micro_tokens < all ? on->o.micro_tokens : all;
    return tn_batch_rollouts((int)(tokens > one ? tokens : one), (int)l->each, 1, on->shortest, 0);
}

/* Blocks of a full micro-batch whose responses are as long as they can be; with shorter ones it has more of them, and more blocks. */
static int sure_blocks(const tn_critic_free *l) {
    int one = l->teacher_length + (int)l->task->max_completion + 1, most = (int)(l->on.o.micro_tokens / one);
    if (most > l->each) most = (int)l->each;
    return (most > 1 ? most : 1) * (tn_kv_pages_for(l->teacher_length) + tn_kv_pages_for((int)l->task->max_completion + 1));
}

static tn_status open_teachers(tn_critic_free *l, tn_err *e) {
    TN_TRY(tn_sdpo_open(&l->sdpo, l->task->sdpo, &l->on, l->teacher_length, l->slices.n, e));
    for (int k = 0; k < l->slices.n && l->task->sdpo; k++) l->slices.part[k].max_tokens = 0; /* every response apart */
    return TN_OK;
}

tn_status tn_critic_free_set_up(tn_critic_free *l, const tn_opts *opts, tn_err *e) {
    const tn_critic_free_task *k = l->task;
    tn_online *on = &l->on;
    bool references;
    TN_TRY(tn_online_bind(on, k->verb, opts, e));
    tn_opts_bind(opts, tn_shape_rows, &l->shape.map);
    tn_opts_bind(opts, tn_shaping_rows, &l->shape);
    tn_opts_bind(opts, tn_alarm_rows, &l->watch.limits);
    tn_opts_bind(opts, tn_alarms_rows, &l->watch);
    TN_TRY(sizes(l, e));
    TN_TRY(tn_rewards_check(&k->rewards, k->more_rewards, e));
    TN_TRY(tn_judge_check(&k->rewards.judge, (int)k->q.generations, e));
    TN_TRY(tn_shaping_check(&l->shape, k->rewards.models.n, &references, e));
    TN_TRY(tn_alarms_check(&l->watch, false, k->rewards.models.n, on, e));
    TN_TRY(tn_online_open(on, e));
    TN_TRY(tn_rewards_fit(&k->rewards, k->more_rewards, on, e));
    TN_TRY(tn_critic_free_plan(l, e));
    if (k->sdpo && strcmp(k->sdpo->kind, "ema") == 0) TN_TRY(tn_moving_ref_check(false, &on->lora, on->o.model, e));
    if (k->sdpo) TN_TRY(tn_sdpo_measure(k->sdpo, on, (int)k->max_completion, &l->teacher_length, e));
    tn_online_measure(on, &(tn_online_shape){.n_prompt = (int)(l->batch / k->q.generations),
                                             .n_sample = (int)k->q.generations,
                                             .max_new = (int)k->max_completion,
                                             .temperature = k->q.temperature,
                                             .reference = (k->beta != 0 && !tn_sampler_is_reference(l)) || references,
                                             .opponent = k->opponent,
                                             .mixture = k->mixture,
                                             .teacher = k->sdpo ? k->sdpo->kind : NULL,
                                             .pair_beta = k->pair_beta,
                                             .more_length = k->sdpo ? l->teacher_length + (int)k->max_completion + 1 : 0,
                                             .sure_blocks = k->sdpo ? sure_blocks(l) : 0,
                                             .algo = k->algo,
                                             .opt = k->opt,
                                             .more = k->pairs  ? pair_need(l)
                                                     : k->sdpo ? teacher_need(l)
                                                               : (tn_batch_need){0}});
    TN_TRY(introduce(l, e));
    TN_TRY(tn_online_plan(on, add_memory, l, e));
    TN_TRY(estimate(l, e));
    if (on->o.dry_run) return TN_OK;
    TN_TRY(tn_online_prepare(on, e));
    TN_TRY(tn_rewards_open(&l->rewards, &k->rewards, k->more_rewards, on, e));
    TN_TRY(tn_step_rewards_open(&l->steps, k->steps, on, e));
    TN_TRY(tn_slices_new(&l->slices, &on->roll, (int)(l->batch / l->each), e));
    TN_TRY(open_teachers(l, e));
    TN_TRY(make_arrays(l, e));
    TN_TRY(make_shaping(l, e));
    on->sampling.greedy_first = on->roll.greedy_first = k->greedy_first;
    l->peak_lr = isnan(on->o.lr) ? k->default_lr : on->o.lr;
    introduce_rewards(l);
    return TN_OK;
}
