#include "rl/self_reward.h"
#include "algo/feedback.h"
#include "base/log.h"
#include "base/proc.h"
#include "oversight/label.h"
#include "oversight/rows.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_self_reward_options, f)
const tn_opt_row tn_self_reward_rows[] = {
    {"rounds", TN_OPT_INT, AT(rounds), "3", NULL, 1, 1000, NULL, "R", "Rounds; each takes its part of the prompts."},
    {"num-generations", TN_OPT_INT, AT(answers), "4", NULL, 2, 64, NULL, "N", "Answers to each prompt; the best and the worst make a pair."},
    {"max-new-tokens", TN_OPT_INT, AT(max_new), "256", NULL, 1, 1 << 20, NULL, "N", "Longest answer."},
    {"temperature", TN_OPT_REAL, AT(temperature), "0.7", NULL, 1e-3, 100, NULL, "X", "Of answers."},
    {"top-p", TN_OPT_REAL, AT(top_p), "0.9", NULL, 0, 1, NULL, "X", "Sample answers from the smallest set of tokens with this mass."},
    {"judge", TN_OPT_STRING, AT(judge), "self", NULL, 0, 0, NULL, "self|DIR",
     "self: the model that the round begins with. A folder: always that one (for comparison: what becomes of it when the judge does not learn)."},
    {"judge-temperature", TN_OPT_REAL, AT(judge_temperature), "1", NULL, 0, 100, NULL, "X", "Of the judge's chains of thought."},
    {"min-reward-gap", TN_OPT_REAL, AT(min_gap), "0", NULL, 0, 1e9, NULL, "X", "Best and worst that are no further apart make no pair; 0: only ties."},
    {"missing-eos-penalty", TN_OPT_REAL, AT(missing_eos), "0", NULL, 0, 1e9, NULL, "X",
     "Taken off the reward of answers that do not end within --max-new-tokens."},
    {"length-control", TN_OPT_REAL, AT(length_control), "0", NULL, 0, 1, NULL, "RHO",
     "Of nearly equal answers take the shortest as the best and the longest as the worst: those that are RHO of the way from the best (the "
     "worst) reward to the mean. 0: rewards alone decide."},
    {"truth", TN_OPT_STRING, AT(truth), NULL, NULL, 0, 0, NULL, "NAME[:ARG]",
     "A function of --reward-funcs (`tenet grpo --help`), e.g. world or number:answer, that says what answers are really worth: how often "
     "the judge is right is then reported. Nothing is trained on it."},
    {"gen-batch-size", TN_OPT_INT, AT(batch), "64", NULL, 1, 4096, NULL, "N", "Sequences decoded together; does not change results."},
    TN_OPT_LAST};

enum { BATCH_TOKENS = 2048, WHERE = 600 };

typedef struct answer {
    const char *text; /* the store's; "" when it was too long to be asked for */
    bool ended;
    int tokens;
    double reward, truth; /* NaN: not known */
} answer;

typedef struct state {
    const tn_self_reward_loop *l;
    int round, N, n; /* answers to a prompt; prompts of this round, from number `first` on */
    size_t first;
    tn_str model, path, rounds;
    tn_replies *said;
    tn_constitution *c;
    tn_prompts *prompts;
    tn_asker *policy, *judge; /* judge: the policy, or one of its own */
    answer *answer;           /* [n][N] */
    json_t *report;
} state;

static tn_status no_memory(tn_err *e) { return tn_fail(e, TN_NOMEM, "out of memory"); }
static const tn_example *example(const state *s, int i) { return &s->l->prompts->ex[s->first + (size_t)i]; }
static bool put(state *s, const char *name, double v) { return json_object_set_new(s->report, name, json_real(v)) == 0; }

/* ---- who answers, who judges ---- */

static void close_models(state *s) {
    if (s->judge != s->policy) tn_asker_close(s->judge);
    tn_asker_close(s->policy);
    tn_prompts_free(s->prompts);
    tn_replies_close(s->said);
    tn_free(s->answer);
    s->policy = s->judge = NULL, s->prompts = NULL, s->said = NULL, s->answer = NULL;
}

static tn_status open_models(state *s, tn_err *e) {
    const tn_self_reward_loop *l = s->l;
    TN_TRY(tn_round_path(&s->path, l->dir, s->round, "replies.jsonl", e));
    TN_TRY(tn_replies_open(&s->said, s->path.s, e));
    TN_TRY(tn_asker_open(&s->policy, l->be, s->model.s, l->base, l->chat_template, s->said, e));
    s->judge = s->policy;
    if (strcmp(l->o->judge, "self")) {
        s->judge = NULL;
        TN_TRY(tn_asker_open(&s->judge, l->be, l->o->judge, l->base, NULL, s->said, e));
    }
    tn_asker_skip_long(s->policy);
    tn_asker_skip_long(s->judge);
    tn_shipped_path(l->o->label.prompts, &s->path);
    TN_TRY(tn_prompts_load(&s->prompts, s->path.s, s->c, tn_asker_tokenizer(s->judge), e));
    s->answer = tn_calloc((size_t)s->n * (size_t)s->N, sizeof *s->answer);
    return s->answer ? TN_OK : no_memory(e);
}

/* ---- answers ---- */

static tn_status put_questions(state *s, tn_question *q, tn_err *e) {
    for (int i = 0; i < s->n; i++)
        for (int k = 0; k < s->N; k++) {
            const tn_example *x = example(s, i);
            uint64_t draw = ((uint64_t)s->first + (uint64_t)i) * (uint64_t)s->N + (uint64_t)k;
            json_t *about = json_pack("{s:s,s:I,s:i}", "stage", "answer", "row", (json_int_t)x->row, "answer", k);
            if (!about) return no_memory(e);
            q[i * s->N + k] = (tn_question){.ids = x->prompt, .n = x->n_prompt, .draw = draw, .about = about};
        }
    return TN_OK;
}

static tn_status take(state *s, const tn_answer *a, tn_err *e) {
    for (int i = 0; i < s->n * s->N; i++) {
        tn_ids ids = {0};
        answer *y = &s->answer[i];
        *y = (answer){.text = a[i].text ? a[i].text : "", .ended = a[i].ended, .reward = NAN, .truth = NAN};
        TN_TRY(tn_encode(tn_asker_tokenizer(s->policy), y->text, strlen(y->text), false, &ids, NULL, e));
        y->tokens = (int)ids.n;
        tn_ids_free(&ids);
    }
    return TN_OK;
}

static tn_status answer_prompts(state *s, tn_err *e) {
    const tn_self_reward_options *o = s->l->o;
    size_t m = (size_t)s->n * (size_t)s->N;
    tn_question *q = tn_calloc(m, sizeof *q);
    tn_answer *a = tn_calloc(m, sizeof *a);
    const tn_sampling how = {.temperature = o->temperature, .top_p = o->top_p, .max_new = (int)o->max_new, .seed = s->l->seed};
    tn_status st = q && a ? put_questions(s, q, e) : no_memory(e);
    if (st == TN_OK) st = tn_asker_sample(s->policy, q, (int)m, &how, (int)o->batch, "answers", a, e);
    if (st == TN_OK) st = take(s, a, e);
    for (size_t i = 0; q && i < m; i++) json_decref(q[i].about);
    tn_free(q);
    tn_free(a);
    return st;
}

/* ---- rewards ---- */

static tn_labelling labelling(const state *s) {
    const tn_self_reward_loop *l = s->l;
    tn_labelling how = {.judge = s->judge, .constitution = s->c, .prompts = s->prompts, .batch = (int)l->o->batch, .max_tokens = BATCH_TOKENS,
                        .seed = l->seed, .reason = {.temperature = l->o->judge_temperature, .seed = l->seed + 1}}; /* other draws than the answers' */
    tn_labelling_set(&how, &l->o->label);
    return how;
}

static void name_row(const state *s, const tn_example *x, char where[WHERE]) {
    snprintf(where, WHERE, "%.560s:%d", s->l->prompts->path[x->file], x->line);
}

static tn_status judge_all(state *s, tn_appraised *x, char (*where)[WHERE], const char **text, double *reward, tn_appraise_stats *stats, tn_err *e) {
    double comparisons = 0, unread = 0, margin = 0, asked = 0, position = 0;
    const tn_labelling how = labelling(s);
    for (int i = 0; i < s->n * s->N; i++) text[i] = s->answer[i].text;
    for (int i = 0; i < s->n; i++) {
        name_row(s, example(s, i), where[i]);
        x[i] = (tn_appraised){example(s, i)->meta, where[i], (uint64_t)s->first + (uint64_t)i, text + i * s->N, s->N};
    }
    TN_TRY(tn_appraise(&how, &s->l->o->appraise, x, s->n, reward, stats, e));
    for (int i = 0; i < s->n * s->N; i++) s->answer[i].reward = reward[i] - (s->answer[i].ended ? 0 : s->l->o->missing_eos);
    for (int i = 0; i < s->n; i++) {
        comparisons += stats[i].comparisons, unread += stats[i].unread, margin += stats[i].margin;
        asked += stats[i].asked, position += stats[i].position;
    }
    bool ok = true;
    if (comparisons > unread) ok = put(s, "judge/margin", margin / (comparisons - unread)) && put(s, "judge/unread", unread / comparisons);
    if (asked > 0) ok = ok && put(s, "judge/position", position / asked);
    return ok ? TN_OK : no_memory(e);
}

static tn_status judge_answers(state *s, tn_err *e) {
    size_t n = (size_t)s->n, m = n * (size_t)s->N;
    tn_appraised *x = tn_calloc(n, sizeof *x);
    char(*where)[WHERE] = tn_calloc(n, sizeof *where);
    const char **text = tn_calloc(m, sizeof *text);
    double *reward = tn_calloc(m, sizeof *reward);
    tn_appraise_stats *stats = tn_calloc(n, sizeof *stats);
    tn_status st = x && where && text && reward && stats ? judge_all(s, x, where, text, reward, stats, e) : no_memory(e);
    tn_free(x), tn_free(where), tn_free(text), tn_free(reward), tn_free(stats);
    return st;
}

/* What answers are really worth. */
static tn_status measure(state *s, tn_err *e) {
    const tn_reward_fn *f = s->l->truth;
    for (int i = 0; f && i < s->n * s->N; i++) {
        answer *y = &s->answer[i];
        const tn_completion c = {.row = example(s, i / s->N)->meta, .text = y->text, .len = strlen(y->text), .n = y->tokens,
                                 .max_new = (int)s->l->o->max_new, .ended = y->ended};
        TN_TRY(f->score(s->l->truth_state, &c, &y->truth, e));
    }
    return TN_OK;
}

/* ---- pairs ---- */

static tn_status write_answers(state *s, tn_err *e) {
    tn_out *out;
    TN_TRY(tn_round_path(&s->path, s->l->dir, s->round, "answers.jsonl", e));
    TN_TRY(tn_out_open(&out, s->path.s, false, e));
    tn_status st = TN_OK;
    for (int i = 0; i < s->n && st == TN_OK; i++) {
        json_t *row = json_copy(example(s, i)->meta), *list = json_array(), *ended = json_array(), *reward = json_array();
        for (int k = 0; k < s->N; k++) {
            const answer *y = &s->answer[i * s->N + k];
            json_array_append_new(list, json_string(y->text));
            json_array_append_new(ended, json_boolean(y->ended));
            json_array_append_new(reward, tn_json_number(y->reward));
        }
        bool ok = row && json_object_set_new(row, "responses", list) == 0 && json_object_set_new(row, "ended", ended) == 0 &&
                  json_object_set_new(row, "rewards", reward) == 0 && json_array_size(list) == (size_t)s->N;
        if (!ok) json_decref(row);
        st = tn_json_row_write(out, ok ? row : NULL, e);
    }
    return tn_out_close(out, st, true, e);
}

/* Of answers no worse than `least` the shortest, or (sign -1) of those no better the longest; the first of equals. */
static const answer *by_length(const answer *const *of, int n, double least, int sign) {
    const answer *best = NULL;
    for (int k = 0; k < n; k++)
        if (sign * (of[k]->reward - least) >= 0 && (!best || sign * (of[k]->tokens - best->tokens) < 0)) best = of[k];
    return best;
}

/* Best and worst of the answers to prompt i that the judge could read; false: they make no pair. */
static bool choose(const state *s, int i, const answer **best, const answer **worst) {
    double reward[64], same[64], mean = 0, rho = s->l->o->length_control;
    const answer *of[64];
    int n = 0, b, w;
    for (int k = 0; k < s->N; k++) {
        const answer *y = &s->answer[i * s->N + k];
        if (!isnan(y->reward)) of[n] = y, mean += y->reward, reward[n++] = y->reward;
    }
    if (n < 2 || !tn_self_reward_pair(reward, n, 1, same, &b, &w) || reward[b] - reward[w] <= s->l->o->min_gap) return false;
    mean /= n;
    *best = rho > 0 ? by_length(of, n, reward[b] - rho * (reward[b] - mean), 1) : of[b];
    *worst = rho > 0 ? by_length(of, n, reward[w] + rho * (mean - reward[w]), -1) : of[w];
    return *best != *worst;
}

static tn_status write_pairs(state *s, int *pairs, tn_err *e) {
    tn_out *out;
    const answer *b, *w;
    double longer = 0;
    *pairs = 0;
    TN_TRY(tn_round_path(&s->path, s->l->dir, s->round, "train.jsonl", e));
    TN_TRY(tn_out_open(&out, s->path.s, false, e));
    tn_status st = TN_OK;
    for (int i = 0; i < s->n && st == TN_OK; i++) {
        json_t *talk = NULL;
        char where[WHERE];
        if (!choose(s, i, &b, &w)) continue;
        name_row(s, example(s, i), where);
        st = tn_row_conversation(example(s, i)->meta, &talk, where, e);
        if (st != TN_OK) break;
        st = tn_json_row_write(out, json_pack("{s:o,s:[{s:s,s:s}],s:[{s:s,s:s}],s:f,s:f}", "prompt", talk, "chosen", "role", "assistant", "content",
                                              b->text, "rejected", "role", "assistant", "content", w->text, "score_chosen", b->reward,
                                              "score_rejected", w->reward), e);
        longer += b->tokens - w->tokens, ++*pairs;
    }
    TN_TRY(tn_out_close(out, st, true, e));
    if (!*pairs)
        return tn_fail(e, TN_STATE, "round %d would train on nothing: of no prompt are the best and the worst answer further apart than "
                       "--min-reward-gap %g", s->round, s->l->o->min_gap);
    return put(s, "chosen_longer", longer / *pairs) ? TN_OK : no_memory(e);
}

/* ---- what is to be said of a round ---- */

/* Over all pairs of answers to a prompt of different worth: how often the judge agrees, a tie half. */
static void agreement(const state *s, double *right, double *known) {
    for (int i = 0; i < s->n; i++)
        for (int a = i * s->N; a < (i + 1) * s->N; a++)
            for (int b = a + 1; b < (i + 1) * s->N; b++) {
                double truth = s->answer[a].truth - s->answer[b].truth, said = s->answer[a].reward - s->answer[b].reward;
                if (isnan(truth) || isnan(said) || truth == 0) continue;
                ++*known, *right += said == 0 ? 0.5 : (said > 0) == (truth > 0);
            }
}

static tn_status report(state *s, int pairs, tn_err *e) {
    double right = 0, known = 0, tokens = 0, ended = 0, truth = 0, worth = 0;
    int m = s->n * s->N;
    for (int i = 0; i < m; i++) {
        const answer *y = &s->answer[i];
        tokens += y->tokens, ended += y->ended;
        if (!isnan(y->truth)) truth += y->truth, worth++;
    }
    agreement(s, &right, &known);
    bool ok = json_object_set_new(s->report, "prompts", json_integer(s->n)) == 0 && json_object_set_new(s->report, "pairs", json_integer(pairs)) == 0 &&
              put(s, "completions/mean_length", tokens / m) && put(s, "completions/clipped_ratio", 1 - ended / m);
    if (worth > 0) ok = ok && put(s, "true_reward", truth / worth);
    if (known > 0) ok = ok && put(s, "judge/accuracy", right / known);
    if (!ok) return no_memory(e);
    TN_TRY(tn_json_add(&s->rounds, s->report, JSON_REAL_PRECISION(12), "report", e));
    tn_str_addz(&s->rounds, "\n");
    if (s->rounds.oom) return no_memory(e);
    TN_TRY(tn_round_path(&s->path, s->l->dir, -1, "metrics.jsonl", e));
    return tn_write_file(s->path.s, s->rounds.s, s->rounds.len, e);
}

/* ---- the loop ---- */

static tn_status train(void *ctx, const char *data, const char *to, tn_err *e) {
    state *s = ctx;
    return s->l->train(s->l->ctx, s->model.s, data, to, e);
}

/* Pairs of the round's own judgement; the models that made them are closed again. */
static tn_status make_pairs(state *s, tn_err *e) {
    int pairs = 0;
    tn_status st = open_models(s, e);
    if (st == TN_OK) st = answer_prompts(s, e);
    if (st == TN_OK) st = judge_answers(s, e);
    if (st == TN_OK) st = measure(s, e);
    if (st == TN_OK) st = write_answers(s, e);
    if (st == TN_OK) st = write_pairs(s, &pairs, e);
    if (st == TN_OK) st = report(s, pairs, e);
    close_models(s);
    return st;
}

static tn_status one_round(state *s, tn_err *e) {
    const tn_self_reward_loop *l = s->l;
    size_t R = (size_t)l->o->rounds, k = (size_t)s->round - 1;
    s->first = l->prompts->n * k / R;
    s->n = (int)(l->prompts->n * (k + 1) / R - s->first);
    json_decref(s->report);
    if (!(s->report = json_pack("{s:i}", "step", s->round))) return no_memory(e);
    TN_TRY(tn_round_begin(l->dir, s->round, e));
    TN_TRY(make_pairs(s, e));
    TN_TRY(tn_round_model(l->dir, s->round, (int)R, "train.jsonl", "model", train, s, e));
    return tn_round_path(&s->model, l->dir, s->round, "model", e);
}

tn_status tn_self_reward_run(const tn_self_reward_loop *l, char **result, tn_err *e) {
    state s = {.l = l, .N = (int)l->o->answers, .model = TN_STR_INIT, .path = TN_STR_INIT, .rounds = TN_STR_INIT};
    tn_str_addz(&s.model, l->model);
    tn_shipped_path(l->o->label.constitution, &s.path);
    tn_status st = s.model.oom || s.path.oom ? no_memory(e) : tn_constitution_load(&s.c, s.path.s, e);
    for (s.round = 1; st == TN_OK && s.round <= l->o->rounds; s.round++) st = one_round(&s, e);
    if (st == TN_OK && !(*result = tn_strdup(s.model.s))) st = no_memory(e);
    tn_constitution_free(s.c);
    json_decref(s.report);
    tn_str_free(&s.model), tn_str_free(&s.path), tn_str_free(&s.rounds);
    return st;
}
