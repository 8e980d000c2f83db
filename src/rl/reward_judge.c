#include "rl/reward_judge.h"
#include "base/proc.h"
#include "ops/profile.h"
#include "oversight/label.h"
#include <math.h>
#include <string.h>

#define AT(f) offsetof(tn_judge_options, f)
const tn_opt_row tn_judge_rows[] = {
    {"reward-judge", TN_OPT_STRING, AT(judge), NULL, NULL, 0, 0, "judge", "DIR|policy",
     "A language model that judges the responses under a constitution (AI feedback); policy: the one that is trained, as it is."},
    {"judge-temperature", TN_OPT_REAL, AT(temperature), "1", NULL, 0, 100, NULL, "X", "Of the judge's chains of thought."},
    TN_OPT_LAST};

enum { BATCH_TOKENS = 2048, WHERE = 600 };

struct tn_reward_judge {
    const tn_judge_options *o;
    tn_replies *said; /* of one batch of responses, in memory */
    tn_constitution *c;
    tn_prompts *prompts;
    tn_asker *asker;
    tn_labelling how;
    tn_decode_mem *decode;
    tn_str text; /* of all responses of this rank, one after the other */
    size_t *at;  /* [responses] */
    const char **response;
    char (*where)[WHERE]; /* [prompts] */
    tn_appraised *prompt;
    tn_appraise_stats *stats;
    double *reward; /* [responses] */
    int *off, *stat_off; /* [prompts + 1] where a prompt's rewards and stats begin */
};

static bool is_policy(const tn_judge_options *o) { return !strcmp(o->judge, "policy"); }

void tn_judge_bind(const tn_opts *given, tn_judge_options *o) {
    tn_opts_bind(given, tn_judge_rows, o);
    tn_opts_bind(given, tn_appraise_rows, &o->appraise);
    tn_opts_bind(given, tn_label_option_rows, &o->label);
}

/* ---- set-up ---- */

tn_status tn_judge_check(const tn_judge_options *o, int n_sample, tn_err *e) {
    if (!o->judge) return TN_OK;
    if (tn_endpoint_is(o->judge))
        return tn_fail(e, TN_ARG, "--reward-judge %s: an endpoint may say something else when a run goes on; give a model's folder, or label pairs "
                       "ahead with `tenet label --judge URL`", o->judge);
    return tn_appraise_check(&o->appraise, n_sample, e);
}

static void name_row(const tn_online *on, const tn_example *x, char where[WHERE]) { snprintf(where, WHERE, "%.560s:%d", on->prompts->path[x->file], x->line); }

tn_status tn_judge_fit(const tn_judge_options *o, const tn_online *on, tn_err *e) {
    char where[WHERE];
    if (!o->judge) return TN_OK;
    if (!on->tok) return tn_fail(e, TN_ARG, "--reward-judge reads text, and %s has no tokenizer.json", on->o.model);
    for (size_t i = 0; i < on->prompts->n; i++) {
        name_row(on, &on->prompts->ex[i], where);
        TN_TRY(tn_appraise_fits(&o->appraise, o->label.kind_key, on->prompts->ex[i].meta, where, e));
    }
    return TN_OK;
}

tn_status tn_reward_judge_budget(const tn_judge_options *o, const tn_online *on, tn_budget *p, tn_err *e) {
    if (!o->judge) return TN_OK;
    if (!is_policy(o)) return tn_asker_budget(p, on->be, o->judge, on->lora.base_model, BATCH_TOKENS, e);
    tn_budget_run(p, "judge", &on->desc, on->be, BATCH_TOKENS, 1024, BATCH_TOKENS, 0, TN_KEEP_NOTHING);
    return TN_OK;
}

tn_status tn_reward_judge_flop(const tn_judge_options *o, const tn_online *on, double *flop, tn_err *e) {
    tn_desc d = on->desc;
    if (!o->judge) return TN_OK;
    if (!is_policy(o)) TN_TRY(tn_model_peek(&d, o->judge, &(tn_load){.base = on->lora.base_model}, e));
    double questions = tn_appraise_needs(&o->appraise, "each-other") ? on->shape.n_sample - 1 : tn_appraise_needs(&o->appraise, "score") ? 1 : 2;
    *flop += tn_online_score_flop(on, &d, false) * questions * (tn_appraise_compares(&o->appraise) ? 2 : 1); /* a question holds one answer or two */
    return TN_OK;
}

static tn_status open_judge(tn_reward_judge *j, const tn_online *on, tn_err *e) {
    const tn_judge_options *o = j->o;
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
    tn_asker_skip_long(j->asker);
    tn_asker_quiet(j->asker);
    if (!is_policy(o)) TN_TRY(tn_online_park(on, tn_asker_model(j->asker), e));
    uint64_t seed = (uint64_t)on->o.seed;
    j->how = (tn_labelling){.judge = j->asker, .constitution = j->c, .prompts = j->prompts, .batch = 64, .max_tokens = BATCH_TOKENS, .seed = seed,
                            .reason = {.temperature = o->temperature, .seed = seed + 1}}; /* other draws than the responses' */
    tn_labelling_set(&j->how, &o->label);
    return TN_OK;
}

tn_status tn_reward_judge_open(tn_reward_judge **out, const tn_judge_options *o, const tn_online *on, tn_err *e) {
    size_t P = (size_t)on->roll.n_prompt, n = P * (size_t)on->roll.n_sample;
    tn_reward_judge *j = *out = tn_calloc(1, sizeof *j);
    if (!j) return tn_fail(e, TN_NOMEM, "out of memory");
    j->o = o, j->text = (tn_str)TN_STR_INIT;
    TN_TRY(open_judge(j, on, e));
    j->decode = tn_decode_mem_new();
    j->at = tn_calloc(n, sizeof *j->at), j->response = tn_calloc(n, sizeof *j->response);
    j->where = tn_calloc(P, sizeof *j->where), j->prompt = tn_calloc(P, sizeof *j->prompt);
    j->stats = tn_calloc(P, sizeof *j->stats), j->reward = tn_calloc(n, sizeof *j->reward);
    j->off = tn_calloc(2 * (P + 1), sizeof *j->off);
    if (!j->decode || !j->at || !j->response || !j->where || !j->prompt || !j->stats || !j->reward || !j->off)
        return tn_fail(e, TN_NOMEM, "out of memory");
    j->stat_off = j->off + P + 1;
    return TN_OK;
}

const char *tn_reward_judge_help(const tn_reward_judge *j) {
    const tn_appraise_options *o = &j->o->appraise;
    return tn_appraise_needs(o, "each-other")  ? "a judge compares the responses to a prompt with each other"
           : tn_appraise_needs(o, "reference") ? "a judge compares every response with the row's answers"
           : tn_appraise_needs(o, "score")     ? "a judge gives every response a number from 1 to 10"
                                               : "a judge says of every response whether it does";
}

void tn_reward_judge_close(tn_reward_judge *j) {
    if (!j) return;
    tn_prompts_free(j->prompts);
    tn_asker_close(j->asker);
    tn_constitution_free(j->c);
    tn_replies_close(j->said);
    tn_decode_mem_free(j->decode);
    tn_str_free(&j->text);
    void *p[] = {j->at, j->response, j->where, j->prompt, j->stats, j->reward, j->off, j};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) tn_free(p[i]);
}

/* ---- judging ---- */

/* Texts of the responses to prompts [from, to), each with its NUL. */
static tn_status read_texts(tn_reward_judge *j, const tn_online *on, const tn_rollouts *roll, int from, int to, tn_err *e) {
    int G = roll->n_sample;
    tn_str_clear(&j->text);
    for (int i = from * G; i < to * G; i++) {
        const tn_response *y = &roll->response[i];
        j->at[i] = j->text.len;
        TN_TRY(tn_decode_with(on->tok, j->decode, y->ids, (size_t)y->n, true, &j->text, e));
        tn_str_addc(&j->text, 0);
    }
    if (j->text.oom) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = from * G; i < to * G; i++) j->response[i] = j->text.s + j->at[i];
    return TN_OK;
}

static tn_status judge(tn_reward_judge *j, const tn_online *on, const tn_rollouts *roll, int from, int to, tn_err *e) {
    int G = roll->n_sample;
    TN_TRY(read_texts(j, on, roll, from, to, e));
    for (int g = from; g < to; g++) {
        name_row(on, roll->prompt[g], j->where[g]);
        j->prompt[g] = (tn_appraised){.row = roll->prompt[g]->meta, .where = j->where[g], .answer = j->response + g * G, .n = G,
                                      .number = (uint64_t)on->step * (uint64_t)roll->n_prompt + (uint64_t)g};
    }
    tn_status st = tn_appraise(&j->how, &j->o->appraise, j->prompt + from, to - from, j->reward + from * G, j->stats + from, e);
    tn_replies_forget(j->said);
    return st;
}

static void put_metrics(const tn_reward_judge *j, const tn_rollouts *roll, tn_metrics *m) {
    tn_appraise_stats s = {0};
    for (int g = 0; g < roll->n_prompt; g++) {
        const tn_appraise_stats *q = &j->stats[g];
        s.comparisons += q->comparisons, s.equal += q->equal, s.unread += q->unread, s.margin += q->margin;
        s.asked += q->asked, s.position += q->position;
    }
    if (!tn_appraise_compares(&j->o->appraise)) return;
    double read = s.comparisons - s.unread;
    if (read > 0) tn_metrics_mean(m, "judge/margin", s.margin, read);
    if (s.asked > 0) tn_metrics_mean(m, "judge/position", s.position, s.asked);
    tn_metrics_mean(m, "judge/equal", s.equal, s.comparisons);
    tn_metrics_mean(m, "judge/unread", s.unread, s.comparisons);
}

tn_status tn_reward_judge_score(tn_reward_judge *j, const tn_online *on, tn_rollouts *roll, double *reward, int stride, tn_metrics *m, tn_err *e) {
    enum { STATS = sizeof(tn_appraise_stats) / sizeof(double) };
    tn_spread *s = &roll->spread;
    tn_phase before = tn_phase_enter(on->be, TN_PHASE_SCORING);
    int from, to;
    for (int g = 0; g <= roll->n_prompt; g++) j->off[g] = g * roll->n_sample, j->stat_off[g] = g * STATS;
    tn_spread_range(s->comm, roll->n_prompt, &from, &to);
    tn_status st = tn_comm_share_interrupt(s->comm, judge(j, on, roll, from, to, e), e);
    tn_phase_leave(on->be, before);
    tn_online_leave(on);
    TN_TRY(st);
    TN_TRY(tn_spread_gather(s, j->reward, roll->n_prompt, j->off, e));
    TN_TRY(tn_spread_gather(s, (double *)j->stats, roll->n_prompt, j->stat_off, e));
    for (int i = 0; i < roll->n; i++) reward[i * stride] = j->reward[i];
    put_metrics(j, roll, m);
    return TN_OK;
}
