#include "rl/rewards.h"
#include "base/log.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT(f) offsetof(tn_reward_options, f)
const tn_opt_row tn_reward_source_rows[] = {
    {"reward-model", TN_OPT_LIST, AT(models), NULL, NULL, 0, 0,
     "reward_model_path reward_model_name_or_path", "DIR",
     "Sequence-classification checkpoint that scores responses, with its own tokenizer and "
     "template; repeatable."},
    {"reward-funcs", TN_OPT_LIST, AT(funcs), NULL, NULL, 0, 0, NULL, "NAME[:ARG]",
     "Verifiable rewards: exact_match:FIELD, number:FIELD (last number of the completion is that "
     "of the row's FIELD), equations, regex:PATTERN, think_format_reward, soft_overlong_punishment:N, "
     "repetition_penalty_reward[:N], program:COMMAND (a program of your own, started once by /bin/sh: a line of JSON in, the "
     "row's fields with completion and ended, a number or null out), world[:SEED] (the built-in world's true reward); "
     "repeatable."},
    {"reward-weights", TN_OPT_LIST, AT(weights), NULL, NULL, 0, 0, NULL, "X...",
     "One weight a source, models first (with --ensemble they are one), a judge last; default: 1 each."},
    {"step-score", TN_OPT_CHOICE, AT(step_score), "min", "min|product|last", 0, 0, NULL, NULL,
     "How what a process reward model (`tenet prm`) says of a response's steps becomes its score: the least "
     "probability, their product, or the last one."},
    TN_OPT_LAST};

void tn_rewards_bind(const tn_opts *given, tn_reward_options *o) {
    tn_opts_bind(given, tn_reward_source_rows, o);
    tn_opts_bind(given, tn_ensemble_rows, &o->ensemble);
    o->together = tn_opts_given(given, "ensemble");
    o->judge = (tn_judge_options){0};
    if (tn_opts_has(given, "reward-judge")) tn_judge_bind(given, &o->judge);
}

/* Sources that have a weight, and those that come before them and have none. */
static int weighted(const tn_reward_options *o) { return o->funcs.n + (o->judge.judge != NULL) + (o->together ? 1 : o->models.n); }
static int unweighted(const tn_reward_options *o) { return o->together ? o->models.n : 0; }

/* ---- set-up ---- */

void tn_reward_source_name(tn_reward_source *s, const char *name) {
    snprintf(s->name, sizeof s->name, "%s", name);
    snprintf(s->column, sizeof s->column, "rewards/%s", s->name);
    snprintf(s->mean, sizeof s->mean, "rewards/%s/mean", s->name);
    snprintf(s->std, sizeof s->std, "rewards/%s/std", s->name);
}

/* Names are told apart: reward, reward-2, ... */
static void set_name(tn_rewards *r, tn_reward_source *s, const char *name) {
    char own[64];
    snprintf(own, sizeof own, "%.50s", name);
    for (int k = 2; k > 0; k++) {
        bool taken = false;
        for (const tn_reward_source *q = r->source; q < s; q++) taken |= strcmp(q->name, own) == 0;
        if (!taken) break;
        snprintf(own, sizeof own, "%.50s-%d", name, k);
    }
    tn_reward_source_name(s, own);
}

static tn_status open_model(tn_rewards *r, tn_reward_source *s, const char *dir,
                            const tn_online *on, tn_err *e) {
    const tn_rollouts *roll = &on->roll;
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/') n--;
    size_t from = n;
    while (from > 0 && dir[from - 1] != '/') from--;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(n - from < 60 ? n - from : 60), dir + from);
    set_name(r, s, name);
    s->scorer = tn_calloc(1, sizeof *s->scorer);
    if (!s->scorer) return tn_fail(e, TN_NOMEM, "out of memory");
    const tn_load how = {.base = on->lora.base_model, .frozen = true};
    TN_TRY(tn_scorer_open_with(s->scorer, dir, on->o.model, on->be, on->need.tokens,
                               2 * on->rollout_length, &how, e));
    TN_TRY(tn_online_park(on, s->scorer->model, e));
    s->scorer->step_score = r->o->step_score;
    return tn_scorer_reserve(s->scorer, roll->n_prompt * roll->n_sample, roll->n_sample,
                             on->shortest, on->rollout_blocks, e);
}

static const tn_reward_fn *find(const tn_reward_fn *table, const char *name, size_t n) {
    for (; table && table->name; table++)
        if (strlen(table->name) == n && memcmp(table->name, name, n) == 0) return table;
    return NULL;
}

static tn_status unknown(const char *spec, size_t n, const tn_reward_fn *more, tn_err *e) {
    const char *names[32];
    char name[64];
    size_t k = 0;
    const tn_reward_fn *table[2] = {tn_reward_fns, more};
    for (int i = 0; i < 2; i++)
        for (const tn_reward_fn *f = table[i]; f && f->name && k < 32; f++) names[k++] = f->name;
    snprintf(name, sizeof name, "%.*s", (int)(n < 60 ? n : 60), spec);
    const char *near = tn_nearest(name, names, k);
    return tn_fail(e, TN_ARG,
                   "--reward-funcs %s: there is no such function%s%s%s (--help lists them)", name,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

tn_status tn_reward_fn_named(const char *spec, const tn_reward_fn *more, const tn_reward_fn **f, const char **argument, tn_err *e) {
    size_t n = strcspn(spec, ":");
    const tn_reward_fn *q = find(tn_reward_fns, spec, n);
    *argument = spec[n] ? spec + n + 1 : NULL;
    if (!q) q = find(more, spec, n);
    if (!q) return unknown(spec, n, more, e);
    if (*argument && !q->argument)
        return tn_fail(e, TN_ARG, "--reward-funcs %s: %s takes no argument", spec, q->name);
    if (q->argument && q->argument[0] != '[' && (!*argument || !**argument))
        return tn_fail(e, TN_ARG, "--reward-funcs %s: write %s:%s", spec, q->name, q->argument);
    *f = q;
    return TN_OK;
}

static tn_status try_function(const char *spec, const tn_reward_fn *more, tn_err *e) {
    const tn_reward_fn *f;
    const char *argument;
    void *state = NULL;
    TN_TRY(tn_reward_fn_named(spec, more, &f, &argument, e));
    tn_status st = f->open ? f->open(&state, argument, e) : TN_OK;
    if (f->close) f->close(state);
    return st;
}

static tn_status open_function(tn_rewards *r, tn_reward_source *s, const char *spec,
                               const tn_reward_fn *more, tn_err *e) {
    const char *argument;
    TN_TRY(tn_reward_fn_named(spec, more, &s->fn, &argument, e));
    set_name(r, s, s->fn->name);
    return s->fn->open ? s->fn->open(&s->state, argument, e) : TN_OK;
}

tn_status tn_rewards_check(const tn_reward_options *o, const tn_reward_fn *more, tn_err *e) {
    int n = weighted(o);
    if (o->models.n + o->funcs.n == 0 && !o->judge.judge && !o->none_needed)
        return tn_fail(e, TN_ARG,
                       "no reward: give --reward-model DIR (made by `tenet reward`), "
                       "--reward-funcs NAME or --reward-judge DIR, or several");
    if (o->weights.n && o->weights.n != n)
        return tn_fail(e, TN_ARG, "--reward-weights: %d weights for %d rewards (%s)",
                       o->weights.n, n, o->together ? "the ensemble first" : "models first");
    for (int i = 0; i < o->weights.n; i++) {
        char *end;
        double w = strtod(o->weights.v[i], &end);
        if (end == o->weights.v[i] || *end || !isfinite(w))
            return tn_fail(e, TN_ARG, "--reward-weights: '%s' is not a number", o->weights.v[i]);
    }
    for (int i = 0; i < o->funcs.n; i++) TN_TRY(try_function(o->funcs.v[i], more, e));
    return TN_OK;
}

static tn_status fit_rows(const char *spec, const char *field, const tn_online *on, tn_err *e) {
    const tn_dataset *d = on->prompts;
    tn_str has = TN_STR_INIT;
    const char *key;
    json_t *v;
    for (size_t i = 0; i < d->n; i++)
        if (json_object_get(d->ex[i].meta, field)) return TN_OK;
    json_object_foreach(d->ex[0].meta, key, v)
        tn_str_addf(&has, "%s\"%s\"", has.len ? ", " : "", key);
    tn_status st = tn_fail(
        e, TN_ARG,
        "--reward-funcs %s needs the field \"%s\" in the rows of --data, and none of the %zu "
        "has it; the first has %s",
        spec, field, d->n, has.len ? has.s : "no fields");
    tn_str_free(&has);
    return st;
}

tn_status tn_rewards_fit(const tn_reward_options *o, const tn_reward_fn *more, const tn_online *on,
                         tn_err *e) {
    for (int i = 0; i < o->funcs.n; i++) {
        const tn_reward_fn *f;
        const char *argument;
        TN_TRY(tn_reward_fn_named(o->funcs.v[i], more, &f, &argument, e));
        if (f->text && !on->tok)
            return tn_fail(e, TN_ARG, "--reward-funcs %s reads text, and %s has no tokenizer.json",
                           f->name, on->o.model);
        if (f->field) TN_TRY(fit_rows(o->funcs.v[i], *f->field ? f->field : argument, on, e));
    }
    return tn_judge_fit(&o->judge, on, e);
}

tn_status tn_rewards_budget(const tn_reward_options *o, const tn_online *on, tn_budget *p,
                            tn_err *e) {
    int tokens = on->need.tokens, length = 2 * on->rollout_length;
    const tn_load how = {.base = on->lora.base_model};
    for (int i = 0; i < o->models.n; i++) {
        const char *dir = o->models.v[i];
        bool same;
        TN_TRY(tn_scorer_same_tokenizer(&same, dir, on->o.model, on->lora.base_model, e));
        tn_batch_need need = tn_online_scored(on, tokens > length ? tokens : length, same);
        TN_TRY(tn_scorer_budget(p, dir, on->be, &how, false, tokens, length, &need, e));
    }
    return tn_reward_judge_budget(&o->judge, on, p, e);
}

tn_status tn_rewards_flop(const tn_reward_options *o, const tn_online *on, double *flop,
                          tn_err *e) {
    tn_desc d;
    *flop = 0;
    for (int i = 0; i < o->models.n; i++) {
        TN_TRY(tn_model_peek(&d, o->models.v[i], &(tn_load){.base = on->lora.base_model}, e));
        *flop += tn_online_score_flop(on, &d, false);
    }
    return tn_reward_judge_flop(&o->judge, on, flop, e);
}

/* Behind the models, all of which are its members. */
static tn_status open_ensemble(tn_rewards *r, int N, tn_err *e) {
    for (int k = 0; k < r->n; k++) {
        if (r->source[k].scorer->n_member) TN_TRY(tn_scorer_keep_members(r->source[k].scorer, N, e));
        r->n_member += tn_scorer_members(r->source[k].scorer);
    }
    TN_TRY(tn_members_check(r->n_member, e));
    r->member = tn_calloc((size_t)N, (size_t)r->n_member * sizeof *r->member);
    if (!r->member) return tn_fail(e, TN_NOMEM, "out of memory");
    set_name(r, &r->source[r->n++], "ensemble");
    return TN_OK;
}

tn_status tn_rewards_open(tn_rewards *r, const tn_reward_options *o, const tn_reward_fn *more,
                          const tn_online *on, tn_err *e) {
    size_t n = (size_t)(weighted(o) + unweighted(o)), N = (size_t)(on->roll.n_prompt * on->roll.n_sample);
    memset(r, 0, sizeof *r);
    r->o = o;
    r->source = tn_calloc(n, sizeof *r->source);
    r->weight = tn_calloc(n, sizeof *r->weight);
    r->value = tn_calloc(N, n * sizeof *r->value);
    r->column = tn_calloc(N, sizeof *r->column);
    r->decode = tn_decode_mem_new();
    if (!r->source || !r->weight || !r->value || !r->column || !r->decode)
        return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i < o->models.n; i++)
        TN_TRY(open_model(r, &r->source[r->n++], o->models.v[i], on, e));
    if (o->together) TN_TRY(open_ensemble(r, (int)N, e));
    for (int i = 0; i < o->funcs.n; i++)
        TN_TRY(open_function(r, &r->source[r->n++], o->funcs.v[i], more, e));
    if (o->judge.judge) {
        set_name(r, &r->source[r->n], "judge");
        TN_TRY(tn_reward_judge_open(&r->source[r->n++].judge, &o->judge, on, e));
    }
    for (int i = unweighted(o), k = 0; i < r->n; i++, k++)
        r->weight[i] = o->weights.n ? strtod(o->weights.v[k], NULL) : 1;
    for (int i = 0; i < o->models.n; i++)
        if (r->weight[o->together ? o->models.n : i] >= 0)
            TN_TRY(tn_scorer_no_cost(r->source[i].scorer, o->models.v[i], e));
    return TN_OK;
}

void tn_rewards_close(tn_rewards *r) {
    for (int i = 0; i < r->n; i++) {
        tn_reward_source *s = &r->source[i];
        if (s->scorer) tn_scorer_close(s->scorer);
        tn_free(s->scorer);
        if (s->fn && s->fn->close) s->fn->close(s->state);
        tn_reward_judge_close(s->judge);
    }
    tn_free(r->source);
    tn_free(r->weight);
    tn_free(r->value);
    tn_free(r->column);
    tn_free(r->member);
    tn_str_free(&r->text);
    tn_decode_mem_free(r->decode);
    memset(r, 0, sizeof *r);
}

/* ---- scoring ---- */

static tn_status score_model(tn_rewards *r, int k, const tn_online *on, tn_rollouts *roll, tn_err *e) {
    TN_TRY(tn_rollouts_score(roll, r->source[k].scorer, on->tok, r->column, e));
    tn_online_leave(on);
    for (int i = 0; i < roll->n; i++) {
        if (!isfinite(r->column[i]))
            return tn_fail(e, TN_NUMERIC,
                           "reward model %s gave response %d a score that is not finite",
                           r->source[k].name, i + 1);
        r->value[i * r->n + k] = r->column[i];
    }
    return TN_OK;
}

/* What the models say, which lies before it, as one score. */
static tn_status score_ensemble(tn_rewards *r, int n, tn_metrics *m, tn_err *e) {
    int k = r->o->models.n, at = 0;
    if (!r->o->together) return TN_OK;
    for (int j = 0; j < k; at += tn_scorer_members(r->source[j++].scorer)) {
        for (int i = 0; i < n; i++) r->column[i] = r->value[i * r->n + j];
        tn_scorer_put_members(r->source[j].scorer, r->column, n, r->member + at, r->n_member);
    }
    TN_TRY(tn_ensemble_scores(&r->o->ensemble, r->member, n, r->n_member, r->column, m, e));
    for (int i = 0; i < n; i++) r->value[i * r->n + k] = r->column[i];
    return TN_OK;
}

tn_status tn_rewards_join(const tn_rewards *r, double *value, int n, tn_err *e) {
    int k = r->o->models.n;
    tn_metrics none = {0};
    for (double *v = value; r->o->together && v < value + n * r->n; v += r->n)
        TN_TRY(tn_ensemble_scores(&r->o->ensemble, v, 1, k, v + k, &none, e));
    return TN_OK;
}

static tn_status score_functions(tn_rewards *r, const tn_online *on, const tn_rollouts *roll, tn_err *e) {
    bool text = false, any = false;
    for (int k = 0; k < r->n; k++) {
        any |= r->source[k].fn != NULL;
        text |= r->source[k].fn && r->source[k].fn->text;
    }
    for (int i = 0; any && i < roll->n; i++) {
        const tn_response *y = &roll->response[i];
        tn_str_clear(&r->text);
        if (text)
            TN_TRY(tn_decode_with(on->tok, r->decode, y->ids, (size_t)y->n, true, &r->text, e));
        tn_completion x = {.row = roll->prompt[roll->group[i]]->meta,
                           .text = r->text.s,
                           .len = r->text.len,
                           .ids = y->ids,
                           .n = y->n,
                           .max_new = roll->max_new,
                           .ended = roll->ended[i] != 0};
        for (int k = 0; k < r->n; k++) {
            const tn_reward_source *s = &r->source[k];
            if (s->fn) TN_TRY(s->fn->score(s->state, &x, &r->value[i * r->n + k], e));
        }
    }
    return TN_OK;
}

/* A response that no source can judge teaches nothing; said once. */
static void warn_unscored(tn_rewards *r, const tn_online *on, const tn_rollouts *roll) {
    for (int i = 0; i < roll->n && r->n > 0 && !r->warned; i++) {
        bool any = false;
        for (int k = 0; k < r->n; k++) any |= !isnan(r->value[i * r->n + k]);
        if (any) continue;
        const tn_example *x = roll->prompt[roll->group[i]];
        tn_warn("%s:%d: no reward has an answer for this row; its responses are left out",
                on->prompts->path[x->file], x->line);
        r->warned = true;
    }
}

tn_status tn_rewards_score(tn_rewards *r, const tn_online *on, tn_rollouts *roll, tn_metrics *m, tn_err *e) {
    for (int k = 0; k < r->n; k++)
        if (r->source[k].scorer) TN_TRY(score_model(r, k, on, roll, e));
    TN_TRY(score_ensemble(r, roll->n, m, e));
    TN_TRY(score_functions(r, on, roll, e));
    if (r->n && r->source[r->n - 1].judge) TN_TRY(tn_reward_judge_score(r->source[r->n - 1].judge, on, roll, r->value + r->n - 1, r->n, m, e));
    warn_unscored(r, on, roll);
    tn_rewards_metrics(r, roll->n, m);
    return TN_OK;
}

void tn_rewards_metrics(const tn_rewards *r, int n, tn_metrics *m) {
    for (int k = 0; k < r->n; k++) {
        tn_moments all = {0};
        for (int i = 0; i < n; i++)
            if (!isnan(r->value[i * r->n + k])) tn_moments_add(&all, &r->value[i * r->n + k], 1);
        tn_metrics_mean(m, r->source[k].mean, all.mean * all.count, all.count);
        if (all.count > 1) tn_metrics_mean(m, r->source[k].std, sqrt(tn_moments_var(&all, 1)), 1);
    }
}
