#include "rl/step_judge.h"
#include "data/step_cut.h"
#include "rl/equations.h"
#include "rl/rewards.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_step_judge_options, f)
const tn_opt_row tn_step_judge_rows[] = {
    {"localise", TN_OPT_STRING, AT(localise), NULL, NULL, 0, 0, "localize", "WHO",
     "Who finds the first wrong step: labels (rows have \"completions\" and \"labels\", as for `tenet prm`), prm "
     "(--reward-model), equations (the first that does not hold, as 3 * 4 = 14), or world[:SEED] (the built-in world's oracle)."},
    {"verify", TN_OPT_STRING, AT(verify), NULL, NULL, 0, 0, NULL, "WHO",
     "Who says that a solution is right: a verifiable reward as in --reward-funcs, such as number:answer, of at least 1, "
     "world[:SEED], prm (no step is wrong), or equations (there are some, and all hold). Default: who localises."},
    {"reward-model", TN_OPT_STRING, AT(model), NULL, NULL, 0, 0, "reward_model_path", "DIR",
     "Process reward model, made by `tenet prm`."},
    {"step-threshold", TN_OPT_REAL, AT(threshold), "0.5", NULL, 0, 1, NULL, "P",
     "A step is wrong to a process reward model when it is right with less than this probability."},
    {"score-tokens", TN_OPT_INT, AT(score_tokens), "4096", NULL, 1, 1 << 24, NULL, "N",
     "Tokens that the process reward model reads at once; does not change results."},
    TN_OPT_LAST};

/* ---- who judges ---- */

/* A step is wrong when an equation in it is false. The reward function of the same name verifies. */
static tn_status check_equations(void *state, const tn_completion *x, const char *const *step, int n, bool *right, bool *good,
                                 bool *known, tn_err *e) {
    for (int i = 0; i < n; i++) {
        int all, wrong;
        tn_equations_check(step[i], &all, &wrong);
        right[i] = wrong == 0;
    }
    *known = true, *good = false;
    return TN_OK;
}

static tn_status no_argument(void **state, const char *argument, tn_err *e) {
    *state = NULL;
    return argument ? tn_fail(e, TN_ARG, "--localise equations:%s: equations takes no argument", argument) : TN_OK;
}
static void nothing(void *state) {}

static const tn_step_oracle built_in[] = {{"equations", NULL, no_argument, check_equations, nothing}, {0}};

/* NAME of NAME:ARGUMENT in the table; *argument: NULL when there is none. */
static const tn_step_oracle *find(const tn_step_oracle *table, const char *spec, const char **argument) {
    size_t n = strcspn(spec, ":");
    *argument = spec[n] ? spec + n + 1 : NULL;
    for (; table && table->name; table++)
        if (strlen(table->name) == n && memcmp(table->name, spec, n) == 0) return table;
    return NULL;
}

static const tn_step_oracle *find_localiser(const tn_step_oracle *table, const char *spec, const char **argument) {
    const tn_step_oracle *by = find(built_in, spec, argument);
    return by ? by : find(table, spec, argument);
}

static bool by_model(const char *who) { return who && strcmp(who, "prm") == 0; }

tn_status tn_step_judge_check(const tn_step_judge_options *o, const tn_step_oracle *oracles, const tn_reward_fn *more,
                              tn_err *e) {
    const char *argument;
    if (!o->localise)
        return tn_fail(e, TN_ARG, "--localise is missing: who finds the first wrong step? labels, prm, equations or world[:SEED]");
    bool labels = strcmp(o->localise, "labels") == 0, model = by_model(o->localise) || by_model(o->verify);
    const tn_step_oracle *by = find_localiser(oracles, o->localise, &argument);
    if (!labels && !by_model(o->localise) && !by)
        return tn_fail(e, TN_ARG, "--localise %s: expected labels, prm, equations or world[:SEED]", o->localise);
    if (labels && !o->verify)
        return tn_fail(
            e, TN_ARG,
            "--localise labels says what is wrong in the rows' solutions, and not whether new ones are right; give "
            "--verify (prm, world[:SEED], or a verifiable reward such as number:answer), too");
    if (model != (o->model != NULL))
        return tn_fail(e, TN_ARG,
                       model ? "--reward-model is missing: which process reward model (`tenet prm`) is to judge?"
                             : "--reward-model judges nothing here; say --localise prm or --verify prm");
    if (!o->verify || by_model(o->verify)) return TN_OK;
    const tn_reward_fn *fn;
    by = find(oracles, o->verify, &argument);
    if (by && strcmp(o->verify, o->localise) != 0 && find_localiser(oracles, o->localise, &argument))
        return tn_fail(e, TN_ARG, "--localise %s and --verify %s: one oracle does both", o->localise, o->verify);
    return by ? TN_OK : tn_reward_fn_named(o->verify, more, &fn, &argument, e);
}

static tn_status open_oracle(tn_step_judge *j, const tn_step_oracle *by, const char *argument, tn_err *e) {
    j->oracle = by;
    return by->open(&j->oracle_state, argument, e);
}

/* What the model reads at most, one sequence and at once, where the policy's sequences have `length` tokens: its own
 * tokenizer may need more for the same text, and steps get separators. */
static int longest_read(int length) { return 2 * length + 64; }
static int tokens_read(const tn_step_judge_options *o, int length) {
    return o->score_tokens > longest_read(length) ? (int)o->score_tokens : longest_read(length);
}

tn_status tn_step_judge_budget(const tn_step_judge_options *o, tn_backend *be, int length, int most, tn_budget *p, tn_err *e) {
    if (!o->model) return TN_OK;
    int tokens = tokens_read(o, length);
    tn_batch_need need = tn_batch_rollouts(tokens, most, 1, 1, 0);
    return tn_scorer_budget(p, o->model, be, &(tn_load){.frozen = true}, false, tokens, longest_read(length), &need, e);
}

static tn_status open_model(tn_step_judge *j, const char *policy_dir, tn_backend *be, int length, int most, tn_err *e) {
    int longest = longest_read(length), tokens = tokens_read(&j->o, length);
    if (!(j->prm = tn_calloc(1, sizeof *j->prm))) return tn_fail(e, TN_NOMEM, "out of memory");
    TN_TRY(tn_scorer_open(j->prm, j->o.model, policy_dir, be, tokens, longest, e));
    if (!j->prm->model->desc.per_token)
        return tn_fail(e, TN_STATE,
                       "%s judges whole responses, not their steps; train a process reward model with `tenet prm`",
                       j->o.model);
    if (strcmp(j->prm->separator.s, j->separator) != 0)
        return tn_fail(e, TN_ARG, "%s was trained with another --step-separator; give its own here, too", j->o.model);
    j->prm->keep_steps = true;
    return tn_scorer_reserve(j->prm, most, 1, 1, 0, e);
}

tn_status tn_step_judge_open(tn_step_judge *j, const tn_step_judge_options *o, const tn_step_oracle *oracles,
                             const tn_reward_fn *more, const tn_tokenizer *tok, const char *separator,
                             const char *policy_dir, tn_backend *be, int length, int max_new, int most, tn_err *e) {
    const char *argument, *verify = o->verify ? o->verify : o->localise;
    *j = (tn_step_judge){
        .o = *o, .tok = tok, .separator = separator, .max_new = max_new, .text = TN_STR_INIT, .steps = TN_STR_INIT};
    j->labels = strcmp(o->localise, "labels") == 0;
    if (by_model(o->localise) || by_model(verify)) TN_TRY(open_model(j, policy_dir, be, length, most, e));
    const tn_step_oracle *by = find_localiser(oracles, o->localise, &argument);
    if (!by) by = find(oracles, verify, &argument);
    if (by) TN_TRY(open_oracle(j, by, argument, e));
    j->prm_verifies = by_model(verify);
    j->oracle_verifies = find(oracles, verify, &argument) != NULL;
    if (j->prm_verifies || j->oracle_verifies) return TN_OK;
    TN_TRY(tn_reward_fn_named(verify, more, &j->fn, &argument, e));
    return j->fn->open ? j->fn->open(&j->fn_state, argument, e) : TN_OK;
}

void tn_step_judge_close(tn_step_judge *j) {
    if (j->oracle) j->oracle->close(j->oracle_state);
    if (j->fn && j->fn->close) j->fn->close(j->fn_state);
    if (j->prm) tn_scorer_close(j->prm);
    tn_free(j->prm);
    tn_str_free(&j->text);
    tn_str_free(&j->steps);
    tn_free(j->step);
    tn_free(j->step_right);
    tn_free(j->ex);
    tn_free(j->response);
    tn_free(j->score);
    *j = (tn_step_judge){0};
}

/* ---- judging ---- */

static tn_status completion_of(tn_step_judge *j, const tn_solution *s, tn_completion *x, tn_err *e) {
    TN_TRY(tn_step_text(j->tok, j->separator, s->ids, 0, s->n, false, &j->text, e));
    *x = (tn_completion){.row = s->x->meta,
                         .text = j->text.s,
                         .len = j->text.len,
                         .ids = s->ids,
                         .n = s->n,
                         .max_new = j->max_new,
                         .ended = s->ended};
    return TN_OK;
}

/* The texts of all steps, one after the other with a NUL between. */
static tn_status steps_of(tn_step_judge *j, const tn_solution *s, tn_err *e) {
    tn_str one = TN_STR_INIT;
    tn_status st = TN_OK;
    if (!TN_GROW(j->step, j->cap_step, (size_t)s->n_step + 1) ||
        !TN_GROW(j->step_right, j->cap_right, (size_t)s->n_step + 1))
        return tn_fail(e, TN_NOMEM, "out of memory");
    tn_str_clear(&j->steps);
    for (int i = 0; i < s->n_step && st == TN_OK; i++) {
        st = tn_step_text(j->tok, j->separator, s->ids, i ? s->end[i - 1] : 0, s->end[i], false, &one, e);
        tn_str_add(&j->steps, one.s, strlen(one.s) + 1);
    }
    tn_str_free(&one);
    TN_TRY(st);
    if (j->steps.oom) return tn_fail(e, TN_NOMEM, "out of memory");
    const char *at = j->steps.s;
    for (int i = 0; i < s->n_step; i++, at += strlen(at) + 1) j->step[i] = at;
    return TN_OK;
}

static tn_status ask_oracle(tn_step_judge *j, tn_solution *s, tn_err *e) {
    tn_completion x;
    bool good, known;
    TN_TRY(completion_of(j, s, &x, e));
    TN_TRY(steps_of(j, s, e));
    TN_TRY(j->oracle->judge(j->oracle_state, &x, j->step, s->n_step, j->step_right, &good, &known, e));
    s->known &= known;
    if (!known) return TN_OK;
    for (int i = s->n_step; i-- > 0;)
        if (!j->step_right[i]) s->first_wrong = i;
    if (j->oracle_verifies) s->good = good;
    return TN_OK;
}

static tn_status ask_function(tn_step_judge *j, tn_solution *s, tn_err *e) {
    tn_completion x;
    double reward;
    TN_TRY(completion_of(j, s, &x, e));
    TN_TRY(j->fn->score(j->fn_state, &x, &reward, e));
    s->known &= !isnan(reward);
    s->good = reward >= 1;
    return TN_OK;
}

/* Only where the model cuts the text into as many steps as we do. */
static tn_status ask_model(tn_step_judge *j, tn_solution *s, int n, tn_err *e) {
    size_t k = (size_t)n;
    if (!TN_GROW(j->ex, j->cap_ex, k) || !TN_GROW(j->response, j->cap_response, k) ||
        !TN_GROW(j->score, j->cap_score, k))
        return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i < n; i++) {
        j->response[i] = (tn_response){.ids = (int32_t *)s[i].ids, .n = s[i].n};
        j->ex[i] = (tn_example){.prompt = s[i].x->prompt,
                                .n_prompt = s[i].x->n_prompt,
                                .n_response = 1,
                                .response = &j->response[i],
                                .meta = s[i].x->meta};
    }
    TN_TRY(tn_scorer_scores(j->prm, j->ex, n, j->tok, j->score, e));
    for (int i = 0; i < n; i++) {
        int from = i ? j->prm->step_end[i - 1] : 0, steps = j->prm->step_end[i] - from;
        if (s[i].n_step == 0 || steps != s[i].n_step) {
            s[i].known = false;
            continue;
        }
        int wrong = -1;
        for (int t = steps; t-- > 0;)
            if (j->prm->step[from + t] < j->o.threshold) wrong = t;
        if (by_model(j->o.localise)) s[i].first_wrong = wrong;
        if (j->prm_verifies) s[i].good = wrong < 0;
    }
    return TN_OK;
}

tn_status tn_step_judge_run(tn_step_judge *j, tn_solution *s, int n, tn_err *e) {
    for (int i = 0; i < n; i++) s[i].known = true, s[i].good = false, s[i].first_wrong = -1;
    if (j->prm && n) TN_TRY(ask_model(j, s, n, e));
    for (int i = 0; i < n; i++) {
        if (j->oracle) TN_TRY(ask_oracle(j, &s[i], e));
        if (j->fn) TN_TRY(ask_function(j, &s[i], e));
        s[i].good &= s[i].known && s[i].ended;
        s[i].right = s[i].good && s[i].first_wrong < 0;
    }
    return TN_OK;
}
