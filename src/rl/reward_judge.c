#include "rl/reward_judge.h"
#include "base/mathx.h"
#include "base/proc.h"
#include "ops/profile.h"
#include "oversight/rating.h"
#include "oversight/rows.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_judge_options, f)
const tn_opt_row tn_judge_rows[] = {
    {"reward-judge", TN_OPT_STRING, AT(judge), NULL, NULL, 0, 0, "judge", "DIR|policy",
     "A language model that judges the responses under a constitution (AI feedback); policy: the one that is trained, as it is."},
    {"judge-asks", TN_OPT_CHOICE, AT(ask), "each-other", "each-other|reference|verdict|score", 0, 0, NULL, NULL,
     "each-other: which of two responses to a prompt is better, of all pairs of them. reference: whether a response is better than the "
     "row's own answers. verdict: whether it does by the principle. score: how well, from 1 to 10."},
    {"judge-reward", TN_OPT_CHOICE, AT(as), "prob", "prob|logit", 0, 0, NULL, NULL,
     "prob: the mean probability of being the better one (or of the verdict). logit: of log-odds, a Bradley-Terry score."},
    {"judge-reference-key", TN_OPT_STRING, AT(key), "responses", NULL, 0, 0, NULL, "KEY",
     "Field of the rows with the answer, or list of answers, that responses are compared with."},
    {"judge-temperature", TN_OPT_REAL, AT(temperature), "1", NULL, 0, 100, NULL, "X", "Of the judge's chains of thought."},
    TN_OPT_LAST};

enum { BATCH_TOKENS = 2048, STATS = 5 }; /* of a prompt: comparisons, equal, unread, margins, position */

/* Two answers to prompt g: of responses, or (b < 0) of one response and a text of its row. */
typedef struct comparison {
    int a, b;
} comparison;

struct tn_reward_judge {
    const tn_judge_options *o;
    tn_replies *said; /* of one batch of responses, in memory */
    tn_constitution *c;
    tn_prompts *prompts;
    tn_asker *asker;
    tn_labelling how;
    tn_decode_mem *decode;
    tn_str text;
    /* of a batch */
    char **response; /* [responses] */
    double *sum, *stats, *p; /* [responses], [prompts][STATS], [questions] */
    int *heard;      /* [responses] comparisons that count */
    json_t **row;    /* [n] questions */
    char **where;
    uint64_t *number;
    comparison *which;
    int n, n_response;
    size_t cap_p, cap_row, cap_where, cap_number, cap_which;
};

static bool asks(const tn_judge_options *o, const char *what) { return !strcmp(o->ask, what); }
static bool compares(const tn_judge_options *o) { return asks(o, "each-other") || asks(o, "reference"); }

void tn_judge_bind(const tn_opts *given, tn_judge_options *o) {
    tn_opts_bind(given, tn_judge_rows, o);
    tn_opts_bind(given, tn_label_option_rows, &o->label);
}

/* ---- set-up ---- */

tn_status tn_judge_check(const tn_judge_options *o, int n_sample, tn_err *e) {
    if (!o->judge) return TN_OK;
    if (asks(o, "each-other") && n_sample < 2)
        return tn_fail(e, TN_ARG, "--judge-asks each-other compares the responses to a prompt, and there is one; say reference, verdict or score");
    if (asks(o, "score") && !strcmp(o->as, "logit"))
        return tn_fail(e, TN_ARG, "--judge-reward logit: a score from 1 to 10 has no log-odds; leave it out, or take --judge-asks verdict");
    return TN_OK;
}

/* The text or texts that responses to a row's prompt are compared with; 0: none. */
static size_t references(const tn_judge_options *o, const json_t *row) {
    const json_t *v = json_object_get(row, o->key);
    if (!json_is_array(v)) return tn_answer_text(v) != NULL;
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!tn_answer_text(json_array_get(v, i))) return 0;
    return json_array_size(v);
}
static const char *reference(const tn_judge_options *o, const json_t *row, size_t i) {
    const json_t *v = json_object_get(row, o->key);
    return tn_answer_text(json_is_array(v) ? json_array_get(v, i) : v);
}

static void name_row(const tn_online *on, const tn_example *x, char where[600]) { snprintf(where, 600, "%.560s:%d", on->prompts->path[x->file], x->line); }

tn_status tn_judge_fit(const tn_judge_options *o, const tn_online *on, tn_err *e) {
    if (!o->judge) return TN_OK;
    if (!on->tok) return tn_fail(e, TN_ARG, "--reward-judge reads text, and %s has no tokenizer.json", on->o.model);
    for (size_t i = 0; i < on->prompts->n; i++) {
        const tn_example *x = &on->prompts->ex[i];
        char where[600];
        const char *kind;
        json_t *talk;
        name_row(on, x, where);
        TN_TRY(tn_row_conversation(x->meta, &talk, where, e));
        json_decref(talk);
        if (o->label.kind_key) TN_TRY(tn_json_need_str(x->meta, o->label.kind_key, &kind, where, e));
        if (asks(o, "reference") && !references(o, x->meta))
            return tn_fail(e, TN_FORMAT, "%s: --judge-asks reference compares with the row's \"%s\", which is to be a text or texts; `tenet generate "
                           "--grouped` writes such rows", where, o->key);
    }
    return TN_OK;
}

static bool is_policy(const tn_judge_options *o) { return !strcmp(o->judge, "policy"); }

tn_status tn_reward_judge_budget(const tn_judge_options *o, const tn_online *on, tn_budget *p, tn_err *e) {
    if (!o->judge) return TN_OK;
    int tokens = BATCH_TOKENS > on->desc.max_pos ? BATCH_TOKENS : on->desc.max_pos;
    if (!is_policy(o)) return tn_asker_budget(p, on->be, o->judge, on->lora.base_model, BATCH_TOKENS, e);
    tn_budget_run(p, "judge", &on->desc, on->be, tokens, 1024, tokens, 0, TN_KEEP_NOTHING);
    return TN_OK;
}

tn_status tn_reward_judge_flop(const tn_judge_options *o, const tn_online *on, double *flop, tn_err *e) {
    tn_desc d = on->desc;
    double questions = asks(o, "each-other") ? on->shape.n_sample - 1 : asks(o, "score") ? 1 : 2;
    if (!o->judge) return TN_OK;
    if (!is_policy(o)) TN_TRY(tn_model_peek(&d, o->judge, &(tn_load){.base = on->lora.base_model}, e));
    *flop += 2.0 * (double)tn_desc_params(&d) * questions * (compares(o) ? 2 : 1); /* a question holds one answer or two */
    return TN_OK;
}

static tn_status open_all(tn_reward_judge *j, const tn_online *on, tn_err *e) {
    const tn_judge_options *o = j->o;
    const tn_rollouts *r = &on->roll;
    size_t n = (size_t)(r->n_prompt * r->n_sample);
    tn_str path = TN_STR_INIT;
    tn_shipped_path(o->label.constitution, &path);
    tn_status st = tn_constitution_load(&j->c, path.s, e);
    if (st == TN_OK) st = tn_replies_open(&j->said, NULL, e);
    if (st == TN_OK)
        st = is_policy(o) ? tn_asker_borrow(&j->asker, on->be, on->policy.model, on->tok, j->said, e)
                          : tn_asker_open(&j->asker, on->be, o->judge, on->lora.base_model, NULL, j->said, e);
    tn_shipped_path(o->label.prompts, &path);
    if (st == TN_OK) st = tn_prompts_load(&j->prompts, path.s, j->c, tn_asker_tokenizer(j->asker), e);
    tn_str_free(&path);
    TN_TRY(st);
    tn_asker_in_loop(j->asker);
    uint64_t seed = (uint64_t)on->o.seed;
    j->how = (tn_labelling){.judge = j->asker, .constitution = j->c, .prompts = j->prompts, .batch = 64, .max_tokens = BATCH_TOKENS, .seed = seed,
                            .reason = {.temperature = o->temperature, .seed = seed + 1}}; /* other draws than the responses' */
    tn_labelling_set(&j->how, &o->label);
    j->decode = tn_decode_mem_new();
    j->response = tn_calloc(n, sizeof *j->response);
    j->sum = tn_calloc(n, sizeof *j->sum);
    j->heard = tn_calloc(n, sizeof *j->heard);
    j->stats = tn_calloc((size_t)r->n_prompt * STATS, sizeof *j->stats);
    return j->decode && j->response && j->sum && j->heard && j->stats ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

tn_status tn_reward_judge_open(tn_reward_judge **out, const tn_judge_options *o, const tn_online *on, tn_err *e) {
    tn_reward_judge *j = *out = tn_calloc(1, sizeof *j);
    if (!j) return tn_fail(e, TN_NOMEM, "out of memory");
    j->o = o, j->text = (tn_str)TN_STR_INIT;
    return open_all(j, on, e);
}

static void forget(tn_reward_judge *j) {
    for (int i = 0; i < j->n; i++) json_decref(j->row[i]), tn_free(j->where[i]);
    for (int i = 0; i < j->n_response; i++) tn_free(j->response[i]), j->response[i] = NULL;
    j->n = j->n_response = 0;
    if (j->said) tn_replies_forget(j->said);
}

void tn_reward_judge_close(tn_reward_judge *j) {
    if (!j) return;
    forget(j);
    tn_prompts_free(j->prompts);
    tn_asker_close(j->asker);
    tn_constitution_free(j->c);
    tn_replies_close(j->said);
    tn_decode_mem_free(j->decode);
    tn_str_free(&j->text);
    void *p[] = {j->response, j->sum, j->stats, j->p, j->heard, j->row, j->where, j->number, j->which, j};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) tn_free(p[i]);
}

const char *tn_reward_judge_help(const tn_reward_judge *j) {
    const tn_judge_options *o = j->o;
    return asks(o, "each-other")  ? "a judge compares the responses to a prompt with each other"
           : asks(o, "reference") ? "a judge compares every response with the row's answers"
           : asks(o, "score")     ? "a judge gives every response a number from 1 to 10"
                                  : "a judge says of every response whether it does";
}

/* ---- questions ---- */

static tn_status read_texts(tn_reward_judge *j, const tn_online *on, const tn_rollouts *roll, tn_err *e) {
    for (; j->n_response < roll->n; j->n_response++) {
        const tn_response *y = &roll->response[j->n_response];
        tn_str_clear(&j->text);
        TN_TRY(tn_decode_with(on->tok, j->decode, y->ids, (size_t)y->n, true, &j->text, e));
        if (!(j->response[j->n_response] = tn_strdup(j->text.s ? j->text.s : ""))) return tn_fail(e, TN_NOMEM, "out of memory");
    }
    return TN_OK;
}

/* Judged later: the row of prompt g with an answer or two. */
static tn_status ask(tn_reward_judge *j, const tn_online *on, const tn_rollouts *roll, int g, comparison c, const char *a, const char *b, tn_err *e) {
    const tn_example *x = roll->prompt[g];
    size_t n = (size_t)j->n + 1;
    char where[600];
    if (!TN_GROW(j->row, j->cap_row, n) || !TN_GROW(j->where, j->cap_where, n) || !TN_GROW(j->number, j->cap_number, n) ||
        !TN_GROW(j->which, j->cap_which, n))
        return tn_fail(e, TN_NOMEM, "out of memory");
    name_row(on, x, where);
    json_t *row = json_copy(x->meta);
    bool ok = row && (b ? json_object_set_new(row, "responses", json_pack("[s,s]", a, b)) : json_object_set_new(row, "response", json_string(a))) == 0;
    j->row[j->n] = row, j->where[j->n] = tn_strdup(where), j->which[j->n] = c;
    j->number[j->n] = (uint64_t)on->step * (uint64_t)roll->n_prompt + (uint64_t)g; /* all of a prompt's are under the same principles */
    j->n++;
    return ok && j->where[j->n - 1] ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory, or an answer that is not UTF-8");
}

/* What judge said of answers a and b: p, or NaN when it could not read them. */
static void count(tn_reward_judge *j, const tn_rollouts *roll, comparison c, double p) {
    double *s = j->stats + (size_t)roll->group[c.a] * STATS;
    s[0]++;
    if (isnan(p)) {
        s[2]++;
        return;
    }
    s[3] += fabs(p - 0.5);
    bool logit = !strcmp(j->o->as, "logit");
    double q = p < 1e-6 ? 1e-6 : p > 1 - 1e-6 ? 1 - 1e-6 : p, v = logit ? tn_log(q) - tn_log1p(-q) : p;
    j->sum[c.a] += v, j->heard[c.a]++;
    if (c.b >= 0) j->sum[c.b] += logit ? -v : 1 - v, j->heard[c.b]++;
}

static tn_status compare(tn_reward_judge *j, const tn_online *on, const tn_rollouts *roll, int g, comparison c, const char *other, tn_err *e) {
    if (strcmp(j->response[c.a], other)) return ask(j, on, roll, g, c, j->response[c.a], other, e);
    j->stats[(size_t)g * STATS + 1]++;
    count(j, roll, c, 0.5);
    return TN_OK;
}

static tn_status ask_about(tn_reward_judge *j, const tn_online *on, const tn_rollouts *roll, int g, tn_err *e) {
    const json_t *row = roll->prompt[g]->meta;
    for (int a = g * roll->n_sample; a < (g + 1) * roll->n_sample; a++) {
        if (!compares(j->o)) TN_TRY(ask(j, on, roll, g, (comparison){a, -1}, j->response[a], NULL, e));
        for (size_t k = 0; asks(j->o, "reference") && k < references(j->o, row); k++)
            TN_TRY(compare(j, on, roll, g, (comparison){a, -1}, reference(j->o, row, k), e));
        for (int b = a + 1; asks(j->o, "each-other") && b < (g + 1) * roll->n_sample; b++)
            TN_TRY(compare(j, on, roll, g, (comparison){a, b}, j->response[b], e));
    }
    return TN_OK;
}

/* ---- judgements ---- */

static tn_status hear(tn_reward_judge *j, const tn_rollouts *roll, tn_err *e) {
    tn_label *label = NULL;
    int n_label = 0;
    const char *const *where = (const char *const *)j->where;
    if (!TN_GROW(j->p, j->cap_p, (size_t)j->n + 1)) return tn_fail(e, TN_NOMEM, "out of memory");
    j->how.number = j->number;
    if (compares(j->o)) TN_TRY(tn_label_rows(&j->how, j->row, where, j->n, j->p, &label, &n_label, e));
    else TN_TRY(tn_rate_rows(&j->how, asks(j->o, "score") ? TN_RATING_SCORE : TN_RATING_VERDICT, j->row, where, j->n, j->p, e));
    for (int i = 0; i < n_label; i++)
        if (!isnan(label[i].p)) j->stats[(size_t)roll->group[j->which[label[i].row].a] * STATS + 4] += tn_label_position_bias(label[i].p1, label[i].p2, TN_SWAP_PROBS);
    for (int i = 0; i < j->n; i++) {
        if (!asks(j->o, "score")) count(j, roll, j->which[i], j->p[i]);
        else j->sum[j->which[i].a] = (j->p[i] - 5.5) / 4.5, j->heard[j->which[i].a] = 1;
    }
    tn_free(label);
    return TN_OK;
}

static double reward_of(const tn_reward_judge *j, int i) {
    bool score = asks(j->o, "each-other") && !strcmp(j->o->as, "logit");
    return j->heard[i] ? j->sum[i] / (j->heard[i] + score) : NAN;
}

static tn_status judge_range(tn_reward_judge *j, const tn_online *on, const tn_rollouts *roll, int from, int to, tn_err *e) {
    memset(j->sum, 0, (size_t)roll->n * sizeof *j->sum);
    memset(j->heard, 0, (size_t)roll->n * sizeof *j->heard);
    memset(j->stats, 0, (size_t)roll->n_prompt * STATS * sizeof *j->stats);
    TN_TRY(read_texts(j, on, roll, e));
    for (int g = from; g < to; g++) TN_TRY(ask_about(j, on, roll, g, e));
    if (j->n) TN_TRY(hear(j, roll, e));
    for (int i = from * roll->n_sample; i < to * roll->n_sample; i++) j->sum[i] = reward_of(j, i);
    return TN_OK;
}

static void put_metrics(const tn_reward_judge *j, const tn_rollouts *roll, tn_metrics *m) {
    double s[STATS] = {0};
    if (!compares(j->o)) return;
    for (int g = 0; g < roll->n_prompt; g++)
        for (int k = 0; k < STATS; k++) s[k] += j->stats[g * STATS + k];
    double asked = s[0] - s[1] - s[2];
    if (s[0] > s[2]) tn_metrics_mean(m, "judge/margin", s[3], s[0] - s[2]);
    if (asked > 0) tn_metrics_mean(m, "judge/position", s[4], asked);
    tn_metrics_mean(m, "judge/equal", s[1], s[0]);
    tn_metrics_mean(m, "judge/unread", s[2], s[0]);
}

tn_status tn_reward_judge_score(tn_reward_judge *j, const tn_online *on, const tn_rollouts *roll, double *reward, int stride, tn_metrics *m,
                                tn_err *e) {
    const tn_spread *s = &roll->spread;
    tn_phase before = tn_phase_enter(on->be, TN_PHASE_SCORING);
    int from, to, *off = tn_calloc(2 * ((size_t)roll->n_prompt + 1), sizeof *off), *stat = off + roll->n_prompt + 1;
    if (!off) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int g = 0; g <= roll->n_prompt; g++) off[g] = g * roll->n_sample, stat[g] = g * STATS;
    tn_spread_range(s->comm, roll->n_prompt, &from, &to);
    tn_status st = tn_comm_share_interrupt(s->comm, judge_range(j, on, roll, from, to, e), e);
    if (st == TN_OK) st = tn_spread_gather((tn_spread *)s, j->sum, roll->n_prompt, off, e);
    if (st == TN_OK) st = tn_spread_gather((tn_spread *)s, j->stats, roll->n_prompt, stat, e);
    tn_free(off);
    forget(j);
    tn_phase_leave(on->be, before);
    TN_TRY(st);
    for (int i = 0; i < roll->n; i++) reward[i * stride] = j->sum[i];
    put_metrics(j, roll, m);
    return TN_OK;
}
