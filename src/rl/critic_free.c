#include "rl/critic_free.h"
#include "ops/profile.h"
#include "base/log.h"
#include "base/signals.h"
#include "comm/comm.h"
#include "train/intro.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_critic_free_options, f)
const tn_opt_row tn_critic_free_rows[] = {
    {"num-generations", TN_OPT_INT, AT(generations), "8", NULL, 2, 4096, NULL, "G",
     "Responses to each prompt, compared with each other."},
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

typedef struct loop {
    const tn_critic_free_task *task;
    tn_online on; /* one step = one optimiser step */
    tn_rewards rewards;
    tn_slices slices;
    tn_group_rewards group;
    tn_shaping_options shape;
    tn_alarms_options watch;
    tn_shaping shaping;
    tn_alarms alarms;
    tn_scorer **judge; /* [reward models] */
    double *shaped;    /* [responses][sources] with shaping: what the advantages see */
    int *group_off;                            /* [n_prompt + 1] */
    double *total, *advantage, *scratch, *kl;  /* [responses] */
    double *entropy;                           /* [tokens of a slice], with an entropy floor */
    long each;                                 /* responses of a step */
    long per_sampling, per_epoch, total_steps; /* steps; per_epoch: of whole generation batches */
    double peak_lr;
    /* what the next log entry averages */
    tn_metrics m;
    double loss, norm;
    int n_logged;
} loop;

static void loop_free(loop *l) {
    tn_slices_free(&l->slices);
    tn_rewards_close(&l->rewards);
    tn_shaping_close(&l->shaping);
    tn_alarms_close(&l->alarms);
    tn_free(l->judge);
    tn_free(l->shaped);
    tn_free(l->group_off);
    double *p[] = {l->total, l->advantage, l->scratch, l->kl, l->entropy};
    for (int i = 0; i < 5; i++) tn_free(p[i]);
    tn_online_close(&l->on);
}

/* ---- set-up ---- */

/* Some of the responses to a prompt are learnt from, not all with their advantages. */
static bool chooses(const loop *l) { return l->task->pairs || l->task->best; }
/* What --per-device-train-batch-size counts: responses, or prompts with all of theirs. */
static long responses_of_one(const loop *l) { return chooses(l) ? (long)l->task->q.generations : 1; }

/* Sizes in responses, as TRL derives them. */
static tn_status sizes(loop *l, long *batch, tn_err *e) {
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
    *batch = rows * per * responses_of_one(l);
    l->each = rows * accumulation * responses_of_one(l);
    if (per % accumulation)
        return tn_fail(e, TN_ARG,
                       "a sampling of %ld responses does not cut into optimiser steps of %ld "
                       "(--per-device-train-batch-size %ld x --gradient-accumulation-steps %ld); make "
                       "--steps-per-generation (or --generation-batch-size) a multiple of that",
                       *batch, l->each, rows, accumulation);
    if (*batch % G)
        return tn_fail(e, TN_ARG,
                       "a sampling of %ld responses does not divide into groups of "
                       "--num-generations %ld; change --per-device-train-batch-size (%ld) or "
                       "--num-generations",
                       *batch, G, rows);
    return TN_OK;
}

static tn_status plan(loop *l, long batch, tn_err *e) {
    const tn_train_options *o = &l->on.o;
    long prompts = batch / (long)l->task->q.generations, n = (long)l->on.prompts->n;
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

static bool sampler_is_reference(const loop *l) {
    return l->task->pairs && strcmp(l->task->pairs->reference, "sampling") == 0;
}
static bool has_floor(const loop *l) { return l->task->entropy_floor && l->task->top_entropy < 1; }

/* Shaping of the reward models' scores, which come first among the sources. */
static tn_status make_shaping(loop *l, tn_err *e) {
    const tn_rollouts *r = &l->on.roll;
    size_t n = (size_t)r->n_prompt * (size_t)r->n_sample, models = (size_t)l->task->rewards.models.n;
    TN_TRY(tn_shaping_open(&l->shaping, &l->shape, (int)models, &l->on, e));
    l->judge = tn_calloc(models + 1, sizeof *l->judge);
    if (l->shaping.o) l->shaped = tn_calloc(n, (size_t)l->rewards.n * sizeof *l->shaped);
    if (!l->judge || (l->shaping.o && !l->shaped)) return tn_fail(e, TN_NOMEM, "out of memory");
    for (size_t i = 0; i < models; i++) l->judge[i] = l->rewards.source[i].scorer;
    if (l->shaped) l->group.reward = l->shaped;
    return TN_OK;
}

static tn_status make_arrays(loop *l, tn_err *e) {
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
                                  .scratch = l->scratch};
    return TN_OK;
}

static tn_status introduce(const loop *l, tn_err *e) {
    const tn_online_shape *s = &l->on.shape;
    TN_TRY(tn_online_introduce(&l->on, e));
    char what[64];
    if (l->task->pairs) snprintf(what, sizeof what, "reference: %s", l->task->pairs->reference);
    else if (l->task->best) snprintf(what, sizeof what, "the best %d of each %s", (int)l->task->best->keep, l->task->best->choose);
    else snprintf(what, sizeof what, "KL coefficient %g", l->task->beta);
    tn_info(
        "plan: %ld optimiser steps of %ld %s, %ld in an epoch; a sampling: %d prompts x "
        "%d responses of up to %d tokens, for %ld step(s); %s",
        l->total_steps, l->each / responses_of_one(l), chooses(l) ? "prompts" : "responses", l->per_epoch, s->n_prompt,
        s->n_sample, s->max_new, l->per_sampling, what);
    return TN_OK;
}

static void introduce_rewards(const loop *l) {
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
                    s->fn ? s->fn->help : l->task->rewards.ensemble.how);
    }
}

static tn_status plan_memory(const loop *l, tn_err *e) {
    const tn_online_shape *s = &l->on.shape;
    tn_budget p = {0};
    TN_TRY(tn_online_budget(&l->on, &p, e));
    TN_TRY(tn_rewards_budget(&l->task->rewards, &l->on, &p, e));
    TN_TRY(tn_shaping_budget(&l->shape, &l->on, &p, e));
    tn_budget_add(&p, "rollouts", "", tn_rollouts_bytes(s->n_prompt * s->n_sample, s->max_new)); /* slices */
    return tn_intro_memory(&p, l->on.o.max_memory, e);
}

static tn_status estimate(const loop *l, tn_err *e) {
    double samplings = ceil((double)l->total_steps / (double)l->per_sampling), others;
    double passes = (double)l->task->q.iterations;
    TN_TRY(tn_rewards_flop(&l->task->rewards, &l->on, &others, e));
    if (has_floor(l)) others += passes * 2.0 * (double)tn_desc_params(&l->on.desc);
    tn_online_estimate(&l->on, samplings, passes, others * tn_online_tokens(&l->on));
    return TN_OK;
}

/* What the largest pair takes of the policy's workspace. */
static tn_batch_need pair_need(const loop *l, long batch) {
    const tn_online *on = &l->on;
    int both = on->longest + 2 * (int)l->task->max_completion;
    tn_batch_need q = tn_batch_rollouts(both, 2, 2, on->shortest, 0);
    int tokens = (int)on->o.micro_tokens > both ? (int)on->o.micro_tokens : both, most = tokens / (on->shortest + 2) + 1;
    q.pairs = (int)(batch / 2 < most ? batch / 2 : most);
    return q;
}

static tn_status set_up(loop *l, const tn_opts *opts, tn_err *e) {
    const tn_critic_free_task *k = l->task;
    tn_online *on = &l->on;
    long batch = 0;
    bool references;
    TN_TRY(tn_online_bind(on, k->verb, opts, e));
    tn_opts_bind(opts, tn_shape_rows, &l->shape.map);
    tn_opts_bind(opts, tn_shaping_rows, &l->shape);
    tn_opts_bind(opts, tn_alarm_rows, &l->watch.limits);
    tn_opts_bind(opts, tn_alarms_rows, &l->watch);
    TN_TRY(sizes(l, &batch, e));
    TN_TRY(tn_rewards_check(&k->rewards, k->more_rewards, e));
    TN_TRY(tn_shaping_check(&l->shape, k->rewards.models.n, &references, e));
    TN_TRY(tn_alarms_check(&l->watch, false, on, e));
    TN_TRY(tn_online_open(on, e));
    TN_TRY(tn_rewards_fit(&k->rewards, k->more_rewards, on, e));
    TN_TRY(plan(l, batch, e));
    tn_online_measure(on, &(tn_online_shape){.n_prompt = (int)(batch / k->q.generations),
                                             .n_sample = (int)k->q.generations,
                                             .max_new = (int)k->max_completion,
                                             .temperature = k->q.temperature,
                                             .reference = (k->beta != 0 && !sampler_is_reference(l)) || references,
                                             .algo = k->algo,
                                             .opt = k->opt,
                                             .more = k->pairs ? pair_need(l, batch) : (tn_batch_need){0}});
    TN_TRY(introduce(l, e));
    TN_TRY(plan_memory(l, e));
    TN_TRY(estimate(l, e));
    if (on->o.dry_run) return TN_OK;
    TN_TRY(tn_online_prepare(on, e));
    TN_TRY(tn_rewards_open(&l->rewards, &k->rewards, k->more_rewards, on, e));
    TN_TRY(tn_slices_new(&l->slices, &on->roll, (int)(batch / l->each), e));
    TN_TRY(make_arrays(l, e));
    TN_TRY(make_shaping(l, e));
    on->sampling.greedy_first = on->roll.greedy_first = k->greedy_first;
    l->peak_lr = isnan(on->o.lr) ? k->default_lr : on->o.lr;
    introduce_rewards(l);
    return TN_OK;
}

/* ---- a sampling ---- */

static void completion_metrics(const tn_rollouts *r, tn_metrics *m) {
    double low[2] = {HUGE_VAL, HUGE_VAL}, high[2] = {0, 0}, sum[2] = {0, 0}, n[2] = {0, 0};
    for (int i = 0; i < r->n; i++)
        for (int ended = 0; ended <= (r->ended[i] != 0); ended++) { /* all; those that ended */
            double len = r->response[i].n;
            if (len < low[ended]) low[ended] = len;
            if (len > high[ended]) high[ended] = len;
            sum[ended] += len, n[ended]++;
        }
    static const char *const name[2][3] = {
        {"completions/mean_length", "completions/min_length", "completions/max_length"},
        {"completions/mean_terminated_length", "completions/min_terminated_length",
         "completions/max_terminated_length"}};
    for (int k = 0; k < 2; k++) { /* none ended: zeros, as in TRL */
        tn_metrics_mean(m, name[k][0], n[k] > 0 ? sum[k] / n[k] : 0, 1);
        tn_metrics_mean(m, name[k][1], n[k] > 0 ? low[k] : 0, 1);
        tn_metrics_mean(m, name[k][2], high[k], 1);
    }
    tn_metrics_mean(m, "completions/clipped_ratio", 1 - n[1] / n[0], 1);
}

static tn_status log_samples(loop *l, tn_err *e) {
    tn_online_column c[66];
    int n = 0;
    for (int i = 0; i < l->rewards.n && n < 64; i++)
        c[n++] =
            (tn_online_column){l->rewards.source[i].column, l->rewards.value + i, l->rewards.n};
    c[n++] = (tn_online_column){"reward", l->total, 1};
    c[n++] = (tn_online_column){"advantage", l->advantage, 1};
    return tn_online_log_samples(&l->on, l->on.step + 1, c, n, e);
}

static tn_status cut(loop *l, long sampling, tn_err *e) {
    const tn_critic_free_task *k = l->task;
    tn_rollouts *r = &l->on.roll;
    bool mask = k->q.mask_truncated;
    for (int i = 0; i < r->n; i++)
        for (int t = r->off[i]; t < r->off[i + 1]; t++) r->advantage[t] = r->score[i];
    if (k->token_advantages) TN_TRY(k->token_advantages(k->token_opt, r, e));
    uint64_t seed = (uint64_t)l->on.o.seed, number = (uint64_t)sampling;
    if (k->best) return tn_slices_cut_best(&l->slices, r, k->best, mask, seed, number, e);
    if (k->pairs) tn_slices_cut_pairs(&l->slices, r, k->pairs, mask, seed, number);
    else tn_slices_cut(&l->slices, r, mask, seed, number);
    return TN_OK;
}

static void pick(loop *l, long sampling) {
    long in_epoch = l->per_epoch / l->per_sampling, P = l->on.roll.n_prompt;
    tn_online_pick(&l->on, sampling / in_epoch * (long)l->on.prompts->n + sampling % in_epoch * P);
}

static void take_missing_ends(loop *l) {
    for (int i = 0; i < l->on.roll.n; i++)
        if (!l->on.roll.ended[i]) l->advantage[i] -= l->task->pairs->missing_eos;
}

static void chosen_metrics(const loop *l, tn_metrics *m) {
    const tn_slices *s = &l->slices;
    double sum = 0;
    for (int k = 0; k < s->n; k++)
        for (int i = 0; i < s->part[k].n; i++) sum += s->part[k].advantage[s->part[k].off[i]];
    tn_metrics_mean(m, "frac_chosen", s->n_chosen, l->on.roll.n);
    tn_metrics_mean(m, "reward_chosen", sum, s->n_chosen);
}

static tn_status shape(loop *l, tn_err *e) {
    const tn_rewards *w = &l->rewards;
    if (!l->shaping.o) return TN_OK;
    TN_TRY(tn_shaping_refer(&l->shaping, &l->on, l->judge, e));
    memcpy(l->shaped, w->value, (size_t)l->on.roll.n * (size_t)w->n * sizeof *l->shaped);
    for (int k = 0; k < l->shaping.n_model; k++)
        TN_TRY(tn_shaping_apply(&l->shaping, k, &l->on, l->shaped + k, w->n, e));
    return TN_OK;
}

/* Proxies as they are: the weighted sum of what every source said. */
static tn_status watch(loop *l, tn_metrics *m, tn_err *e) {
    const tn_rewards *w = &l->rewards;
    for (int i = 0; i < l->on.roll.n; i++) {
        l->scratch[i] = 0;
        for (int k = 0; k < w->n; k++)
            if (!isnan(w->value[i * w->n + k])) l->scratch[i] += w->weight[k] * w->value[i * w->n + k];
    }
    return tn_alarms_look(&l->alarms, &l->on,
                          &(tn_alarm_view){l->scratch, w->value, l->task->rewards.models.n, w->n, NAN, l->task->beta},
                          m, e);
}

/* Responses, rewards and advantages of a new batch. */
static tn_status collect(loop *l, tn_err *e) {
    tn_online *on = &l->on;
    tn_rollouts *r = &on->roll;
    tn_metrics *m = &l->m;
    long sampling = on->step / l->per_sampling;
    pick(l, sampling);
    TN_TRY(tn_online_sample(on, (uint64_t)(sampling * r->n_prompt * r->n_sample), e));
    TN_TRY(tn_rollouts_observe(r, &on->policy, NULL, e));
    if (sampler_is_reference(l)) tn_rollouts_own_reference(r);
    TN_TRY(tn_rewards_score(&l->rewards, on, m, e));
    TN_TRY(shape(l, e));
    if (r->has_ref) {
        double sum, tokens;
        tn_rollouts_kl(r, l->task->q.mask_truncated, l->kl, &sum, &tokens);
        if (l->task->kl_in_reward) tn_metrics_mean(m, "kl", sum, tokens > 1 ? tokens : 1);
    }
    TN_TRY(l->task->advantages(l->task->advantage_opt, &l->group, r->has_ref ? l->kl : NULL, m, e));
    TN_TRY(watch(l, m, e));
    if (l->task->pairs) take_missing_ends(l);
    memcpy(r->score, l->advantage, (size_t)r->n * sizeof *r->score);
    completion_metrics(r, m);
    TN_TRY(cut(l, sampling, e));
    if (l->task->pairs) tn_metrics_mean(m, "frac_pairs", l->slices.n_chosen, r->n_prompt);
    if (l->task->best) chosen_metrics(l, m);
    return log_samples(l, e);
}

/* ---- a step ---- */

/* The entropy that top_entropy of the slice's tokens reach, under the policy as it is now. */
static tn_status find_floor(loop *l, tn_rollouts *part, tn_total *total, tn_err *e) {
    TN_TRY(tn_rollouts_entropy(part, &l->on.policy, l->entropy, e));
    double floor = tn_entropy_floor(l->entropy, part->n_tok, l->task->top_entropy);
    *l->task->entropy_floor = floor;
    total->kept_tok = 0;
    for (int t = 0; t < part->n_tok; t++) total->kept_tok += l->entropy[t] >= floor;
    return TN_OK;
}

static tn_status one_step(loop *l, double *lr, tn_err *e) {
    tn_online *on = &l->on;
    tn_trainee *t = &on->policy;
    tn_optimiser opt = tn_optimiser_from_options(&on->o);
    tn_step_result r = {0};
    long k = on->step % l->per_sampling;
    tn_rollouts *part = &l->slices.part[k % l->slices.n];
    t->total = &l->slices.total[k % l->slices.n];
    t->expect_on_policy = k == 0 && !on->sampling.truncated_logp;
    if (part->n > 0) { /* all masked: no gradient, and AdamW goes on */
        if (l->entropy) TN_TRY(find_floor(l, part, &l->slices.total[k % l->slices.n], e));
        TN_TRY(tn_trainee_accumulate(t, part->at, part->n_ex, true, &r, e));
    }
    *lr = tn_lr_at(&on->o, l->peak_lr, on->step + 1, l->total_steps);
    TN_TRY(tn_trainee_update(t, &opt, *lr, on->step + 1, &r, e));
    on->step++;
    l->loss += r.loss, l->norm += r.grad_norm, l->n_logged++;
    tn_metrics_merge(&l->m, &r.metrics);
    return TN_OK;
}

static tn_status log_entry(loop *l, double lr, tn_err *e) {
    const tn_online *on = &l->on;
    json_t *j = json_pack("{s:I,s:f,s:f,s:f,s:f,s:I}", "step", (json_int_t)on->step, "loss",
                          l->loss / l->n_logged, "grad_norm", l->norm / l->n_logged,
                          "learning_rate", lr, "epoch", (double)on->step / (double)l->per_epoch,
                          "num_tokens", (json_int_t)on->tokens);
    if (!j) return tn_fail(e, TN_NOMEM, "out of memory");
    tn_runlog_put_metrics(j, "", &l->m);
    l->loss = l->norm = l->n_logged = 0;
    tn_metrics_clear(&l->m);
    return tn_runlog_entry(&l->on.log, j, e);
}

/* ---- the loop's own state: in the middle of a batch, the batch ---- */

static json_t *state_of(const loop *l, bool batch) {
    json_t *s = json_pack("{s:I,s:I}", "steps_per_sampling", (json_int_t)l->per_sampling, "prompts",
                          (json_int_t)l->on.roll.n_prompt);
    if (s && (json_object_set_new(s, "shaping", tn_shaping_state(&l->shaping)) < 0 ||
              json_object_set_new(s, "alarms", tn_alarms_state(&l->alarms)) < 0)) {
        json_decref(s);
        return NULL;
    }
    if (!s || !batch || l->on.step % l->per_sampling == 0) return s;
    if (json_object_set_new(s, "rollouts", tn_rollouts_record(&l->on.roll)) == 0) return s;
    json_decref(s);
    return NULL;
}

static tn_status take_state(loop *l, const json_t *s, tn_err *e) {
    tn_online *on = &l->on;
    long steps = (long)json_integer_value(json_object_get(s, "steps_per_sampling")),
         prompts = (long)json_integer_value(json_object_get(s, "prompts"));
    if (steps != l->per_sampling || prompts != on->roll.n_prompt)
        return tn_fail(e, TN_STATE,
                       "%s is of a run with %ld prompts and %ld steps to a sampling, these options "
                       "make %d and %ld; resume with the options of the run",
                       on->from.s, prompts, steps, on->roll.n_prompt, l->per_sampling);
    tn_shaping_take(&l->shaping, json_object_get(s, "shaping"));
    TN_TRY(tn_alarms_take(&l->alarms, json_object_get(s, "alarms"), on->from.s, e));
    if (on->step % l->per_sampling == 0) return TN_OK;
    long sampling = on->step / l->per_sampling;
    pick(l, sampling);
    TN_TRY(tn_rollouts_load(&on->roll, json_object_get(s, "rollouts"), on->policy.model->desc.vocab,
                            on->from.s, e));
    return cut(l, sampling, e);
}

static tn_status train(loop *l, tn_err *e) {
    tn_online *on = &l->on;
    tn_progress bar;
    double reward = NAN, length = NAN, lr = 0, rate;
    bool due;
    tn_progress_begin(&bar, l->task->verb, "steps", l->total_steps, on->step);
    while (on->step < l->total_steps && !on->stop) {
        if (on->step % l->per_sampling == 0) {
            tn_metrics before = l->m;
            long tokens = on->tokens;
            tn_status st = collect(l, e);
            if (st == TN_INTERRUPTED) { /* the batch will be sampled again */
                l->m = before, on->tokens = tokens;
                break;
            }
            TN_TRY(st);
            on->keep = tn_alarms_keep(&l->alarms, on);
            if (tn_alarms_stop(&l->alarms)) break;
            reward = tn_metrics_find(&l->m, "reward");
            length = tn_metrics_find(&l->m, "completions/mean_length");
        }
        TN_TRY(one_step(l, &lr, e));
        TN_TRY(tn_runlog_timing(&on->log, on->step, on->tokens, &rate, e));
        /* entries end where checkpoints are, so that a resumed run averages the same steps */
        TN_TRY(tn_online_due(on, &due, e));
        bool last = on->step == l->total_steps;
        if (due || last || on->step % on->o.logging_steps == 0) TN_TRY(log_entry(l, lr, e));
        if (due) TN_TRY(tn_online_checkpoint(on, state_of(l, true), e));
        tn_progress_update(&bar, on->step, "reward %.3f  length %.1f  %.0f tok/s", reward, length,
                           rate);
    }
    tn_progress_end(&bar);
    if (on->step == l->total_steps) return TN_OK;
    if (tn_alarms_stop(&l->alarms)) {
        TN_TRY(tn_online_checkpoint(on, state_of(l, false), e)); /* the batch will be sampled again */
        return tn_alarms_end(&l->alarms, on, e);
    }
    if (l->n_logged) TN_TRY(log_entry(l, lr, e));
    TN_TRY(tn_online_checkpoint(on, state_of(l, true), e));
    return tn_online_interrupted(on, "step", l->total_steps, e);
}

static tn_status run(loop *l, const tn_opts *opts, tn_err *e) {
    json_t *state;
    TN_TRY(set_up(l, opts, e));
    if (l->on.o.dry_run) return TN_OK;
    tn_status st = tn_online_begin(&l->on, &state, e);
    if (st == TN_OK) st = tn_alarms_open(&l->alarms, &l->watch, &l->on, e);
    if (st == TN_OK && state) st = take_state(l, state, e);
    json_decref(state);
    TN_TRY(st);
    TN_TRY(train(l, e));
    return tn_online_save(&l->on, state_of(l, false), e);
}

tn_status tn_critic_free_run(const tn_critic_free_task *task, const tn_opts *opts, tn_err *e) {
    loop *l = tn_calloc(1, sizeof *l);
    if (!l) return tn_fail(e, TN_NOMEM, "out of memory");
    l->task = task, l->on.lock = -1;
    tn_status st = run(l, opts, e);
    st = tn_run_end(l->on.be, st, e);
    loop_free(l);
    tn_free(l);
    return st;
}
