/* tenet critique: answers criticised and revised under a constitution, as supervised data (SL-CAI). */
#include "base/log.h"
#include "base/proc.h"
#include "base/signals.h"
#include "cmd/verbs.h"
#include "ops/profile.h"
#include "oversight/judges.h"
#include "oversight/revise.h"
#include "oversight/rows.h"
#include "oversight/sift.h"
#include "train/trainer.h"
#include <string.h>

typedef struct critique_options {
    const char *model, *critic, *base, *constitution, *prompts, *data, *helpful, *out, *kind, *kind_key;
    int64_t rounds, first_round, helpful_samples, max_new, max_critique, batch, cache, top_k, repeat_n, repeats, max_rows;
    double temperature, critic_temperature, top_p, longest, least;
    bool direct, unended;
} critique_options;

#define AT(f) offsetof(critique_options, f)
static const tn_opt_row rows[] = {
    {"model", TN_OPT_STRING, AT(model), NULL, NULL, 0, 0, "model-name-or-path", "DIR", "Whose answers are revised: a helpful model."},
    {"critic", TN_OPT_STRING, AT(critic), NULL, NULL, 0, 0, "judge", "DIR|URL",
     "Who criticises and revises: a folder, or the http(s):// URL of a service with OpenAI's interface. Default: the same model."},
    {"base-model", TN_OPT_STRING, AT(base), NULL, NULL, 0, 0, NULL, "DIR", "Base of an adapter folder, instead of the one that it names."},
    {"constitution", TN_OPT_STRING, AT(constitution), "constitutions/default.json", NULL, 0, 0, NULL, "FILE", "Principles (JSON or JSONL)."},
    {"prompts", TN_OPT_STRING, AT(prompts), "prompts/chat", NULL, 0, 0, NULL, "DIR",
     "Templates that ask the critic: prompts/chat for models with a chat template, prompts/turns for the same where a model criticises its own "
     "answers, in the conversation itself (faster), prompts/text for base models, prompts/world, or your own."},
    {"data", TN_OPT_STRING, AT(data), NULL, NULL, 0, 0, "input dataset-name", "FILE",
     "Red-team rows: {\"prompt\": text or messages}; with \"response\" that is the first answer, and the model is not asked for one."},
    {"helpful-data", TN_OPT_STRING, AT(helpful), NULL, NULL, 0, 0, NULL, "FILE",
     "Prompts whose answers join the training rows unrevised, so that the model stays helpful."},
    {"helpful-samples", TN_OPT_INT, AT(helpful_samples), "2", NULL, 1, 64, NULL, "N", "Answers for each of those prompts."},
    {"output-dir", TN_OPT_STRING, AT(out), NULL, NULL, 0, 0, "out", "DIR",
     "sft.jsonl (to train on), record.jsonl (all answers, critiques and revisions), answers-R.jsonl, labels.jsonl (with --least-better), summary.json, "
     "constitution.json (a copy) and replies.jsonl."},
    {"rounds", TN_OPT_INT, AT(rounds), "4", NULL, 1, TN_REVISE_ROUNDS, NULL, "N", "Rounds of critique and revision."},
    {"first-round", TN_OPT_INT, AT(first_round), "1", NULL, 0, TN_REVISE_ROUNDS, NULL, "N",
     "Answers from this round on are trained on (0: the first answers, too)."},
    {"least-better", TN_OPT_REAL, AT(least), "0", NULL, 0, 1, NULL, "P",
     "Ask the critic as a judge, under all principles that apply, whether each last answer is better than the first, and train on it only when that "
     "is so with probability P or more; answers that no round changed are left out. What it says is in labels.jsonl, labels to train a preference "
     "model on. 0: not asked."},
    {"direct", TN_OPT_BOOL, AT(direct), "false", NULL, 0, 0, NULL, NULL, "Revise without a critique."},
    {"prompt-kind", TN_OPT_STRING, AT(kind), "red_team", NULL, 0, 0, NULL, "NAME", "Kind of all prompts, for the principles' applies_to and weights."},
    {"kind-key", TN_OPT_STRING, AT(kind_key), NULL, NULL, 0, 0, NULL, "KEY", "Key of the rows that names each prompt's kind, e.g. family."},
    {"max-new-tokens", TN_OPT_INT, AT(max_new), "256", NULL, 1, 1 << 20, NULL, "N", "Longest answer and revision."},
    {"max-critique-tokens", TN_OPT_INT, AT(max_critique), "160", NULL, 1, 1 << 20, NULL, "N", "Longest critique."},
    {"temperature", TN_OPT_REAL, AT(temperature), "1", NULL, 0, 100, NULL, "X", "Of first answers."},
    {"critic-temperature", TN_OPT_REAL, AT(critic_temperature), "1", NULL, 0, 100, NULL, "X", "Of critiques and revisions."},
    {"top-k", TN_OPT_INT, AT(top_k), "0", NULL, 0, 0, NULL, "N", "Sample from the N most probable tokens; 0: all."},
    {"top-p", TN_OPT_REAL, AT(top_p), "1", NULL, 0, 1, NULL, "X", "Sample from the smallest set of tokens with this mass."},
    {"repeat-words", TN_OPT_INT, AT(repeat_n), "4", NULL, 0, 64, NULL, "N", "Words of a repetition; 0: repetitions are no fault."},
    {"repeats", TN_OPT_INT, AT(repeats), "3", NULL, 2, 1000, NULL, "N", "So often must they occur to be one."},
    {"longest-ratio", TN_OPT_REAL, AT(longest), "4", NULL, 0, 1e6, NULL, "X", "A revision of more than 20 words and X times the answer's is too long; 0: never."},
    {"keep-unended", TN_OPT_BOOL, AT(unended), "false", NULL, 0, 0, NULL, NULL, "Take revisions that reached the limit."},
    {"max-rows", TN_OPT_INT, AT(max_rows), "0", NULL, 0, 0, NULL, "N", "Only the first N rows of --data; 0: all."},
    {"batch-size", TN_OPT_INT, AT(batch), "64", NULL, 1, 4096, NULL, "N", "Replies sampled together; does not change them."},
    {"prefix-cache", TN_OPT_INT, AT(cache), "1024", NULL, 0, 1 << 20, NULL, "MB",
     "Keys and values of what the critic has read, kept so that it is not read again when the next question begins alike; 0: none. Does not "
     "change any reply."},
    TN_OPT_LAST};

typedef struct session {
    critique_options o;
    tn_train_options machine;
    tn_endpoint_options endpoint;
    tn_backend *be;
    tn_replies *kept;
    tn_constitution *c;
    tn_asker *policy; /* NULL: the critic is the policy */
    tn_judges critic;
    tn_json_rows data, helpful;
    json_t **record[2]; /* of data, of helpful */
    double *better;     /* [data.n] probability that the last answer is better than the first, or NaN; NULL: nobody was asked */
    json_t **labelled;  /* [data.n] the pair with its label, or NULL */
    tn_revise_count *count;
    long n_better;
    int lock;
    tn_str path;
} session;

/* ---- files of the output folder ---- */

static const char *in_out(session *s, const char *name) {
    tn_path_join(&s->path, s->o.out, name);
    return s->path.s;
}

static const json_t *round_of(const json_t *record, int64_t r) { return json_array_get(json_object_get(record, "rounds"), (size_t)r); }

/* The conversation with an answer of the record, unless there is none. */
static tn_status put_sft(tn_out *out, const json_t *record, int64_t round, tn_err *e) {
    const char *y = json_string_value(json_object_get(round_of(record, round), "answer"));
    if (!y || !*y) return TN_OK;
    json_t *m = json_copy(json_object_get(record, "prompt"));
    if (!m || json_array_append_new(m, json_pack("{s:s,s:s}", "role", "assistant", "content", y)) < 0) {
        json_decref(m);
        return tn_fail(e, TN_NOMEM, "out of memory");
    }
    return tn_json_row_write(out, json_pack("{s:o,s:O,s:I}", "messages", m, "id", json_object_get(record, "id"), "round", (json_int_t)round), e);
}

static tn_status write_sft(session *s, tn_err *e) {
    tn_out *out;
    TN_TRY(tn_out_open(&out, in_out(s, "sft.jsonl"), false, e));
    tn_status st = TN_OK;
    for (int64_t r = s->o.first_round; r <= s->o.rounds; r++)
        for (size_t i = 0; i < s->data.n && st == TN_OK; i++)
            if (!s->better || s->better[i] >= s->o.least) st = put_sft(out, s->record[0][i], r, e);
    for (size_t i = 0; i < s->helpful.n && st == TN_OK; i++) st = put_sft(out, s->record[1][i], 0, e);
    return tn_out_close(out, st, true, e);
}

static tn_status write_record(session *s, tn_err *e) {
    tn_out *out;
    TN_TRY(tn_out_open(&out, in_out(s, "record.jsonl"), false, e));
    tn_status st = TN_OK;
    for (size_t i = 0; i < s->data.n && st == TN_OK; i++) st = tn_json_row_write(out, json_incref(s->record[0][i]), e);
    return tn_out_close(out, st, true, e);
}

static tn_status write_labels(session *s, tn_err *e) {
    tn_out *out;
    if (!s->labelled) return TN_OK;
    TN_TRY(tn_out_open(&out, in_out(s, "labels.jsonl"), false, e));
    tn_status st = TN_OK;
    for (size_t i = 0; i < s->data.n && st == TN_OK; i++)
        if (s->labelled[i]) st = tn_json_row_write(out, json_incref(s->labelled[i]), e);
    return tn_out_close(out, st, true, e);
}

/* Answers of a round, as `tenet world judge` and others read them. */
static tn_status write_answers(session *s, int64_t round, tn_err *e) {
    char name[32];
    tn_out *out;
    snprintf(name, sizeof name, "answers-%d.jsonl", (int)round);
    TN_TRY(tn_out_open(&out, in_out(s, name), false, e));
    tn_status st = TN_OK;
    for (size_t i = 0; i < s->data.n && st == TN_OK; i++) {
        const json_t *x = s->record[0][i], *ended = json_object_get(round_of(x, 0), "ended");
        bool revised = false; /* what was taken has ended */
        for (int64_t r = 1; r <= round; r++) revised = revised || json_is_null(json_object_get(round_of(x, r), "fault"));
        st = tn_json_row_write(out, json_pack("{s:O,s:O,s:O,s:b}", "id", json_object_get(x, "id"), "prompt", json_object_get(x, "prompt"), "response",
                                json_object_get(round_of(x, round), "answer"), "ended", revised || json_is_true(ended)), e);
    }
    return tn_out_close(out, st, true, e);
}

/* ---- what happened ---- */

static void add_counts(tn_revise_count *to, const tn_revise_count *c) {
    to->uses += c->uses;
    to->no_critique += c->no_critique;
    for (int f = 0; f < TN_REVISION_FAULTS; f++) to->fault[f] += c->fault[f];
}

static json_t *count_json(const tn_revise_count *c) {
    json_t *j = json_pack("{s:I,s:I}", "uses", (json_int_t)c->uses, "no_critique", (json_int_t)c->no_critique);
    for (int f = 0; f < TN_REVISION_FAULTS; f++) json_object_set_new(j, f ? tn_revision_fault_name[f] : "taken", json_integer(c->fault[f]));
    return j;
}

static void say(const char *name, const tn_revise_count *c) {
    double n = c->uses ? (double)c->uses : 1;
    printf("%-20.20s %7ld", name, c->uses);
    for (int f = 0; f < TN_REVISION_FAULTS; f++) printf("  %8.3f", (double)c->fault[f] / n);
    printf("  %8.3f\n", (double)c->no_critique / n);
}

static tn_status summarise(session *s, tn_err *e) {
    int K = s->c->n_principle;
    char hash[17];
    json_t *rounds = json_object(), *principles = json_object();
    printf("%-20s %7s", "", "uses");
    for (int f = 0; f < TN_REVISION_FAULTS; f++) printf("  %8s", f ? tn_revision_fault_name[f] : "taken");
    printf("  %8s\n", "no crit.");
    for (int64_t r = 0; r < s->o.rounds; r++) {
        tn_revise_count all = {0};
        char name[24];
        for (int k = 0; k < K; k++) add_counts(&all, &s->count[r * K + k]);
        snprintf(name, sizeof name, "round %d", (int)r + 1);
        say(name, &all);
        snprintf(name, sizeof name, "%d", (int)r + 1);
        json_object_set_new(rounds, name, count_json(&all));
    }
    for (int k = 0; k < K; k++) {
        tn_revise_count all = {0};
        for (int64_t r = 0; r < s->o.rounds; r++) add_counts(&all, &s->count[r * K + k]);
        if (!all.uses) continue;
        say(s->c->principle[k].id, &all);
        json_object_set_new(principles, s->c->principle[k].id, count_json(&all));
    }
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)s->c->hash);
    json_t *j = json_pack("{s:s,s:s,s:I,s:I,s:o,s:o}", "constitution", s->c->name, "constitution_hash", hash, "rows", (json_int_t)s->data.n,
                          "helpful_rows", (json_int_t)s->helpful.n, "rounds", rounds, "principles", principles);
    if (j && s->better) json_object_set_new(j, "better", json_integer((json_int_t)s->n_better));
    tn_status st = j ? tn_json_save(in_out(s, "summary.json"), j, false, e) : tn_fail(e, TN_NOMEM, "out of memory");
    json_decref(j);
    return st;
}

/* ---- the verb ---- */

static tn_revise revise_of(session *s) {
    const critique_options *o = &s->o;
    tn_sampling base = {.top_k = (int)o->top_k, .top_p = o->top_p, .seed = (uint64_t)s->machine.seed};
    const tn_judge *critic = &s->critic.v[0];
    tn_revise v = {.policy = s->policy ? s->policy : critic->asker, .critic = critic->asker, .constitution = s->c, .prompts = critic->prompts, .kind = o->kind,
                   .kind_key = o->kind_key, .rounds = (int)o->rounds, .batch = (int)o->batch, .direct = o->direct, .answer = base,
                   .critique = base, .revision = base, .seed = (uint64_t)s->machine.seed,
                   .limits = {(int)o->repeat_n, (int)o->repeats, o->longest, o->unended}};
    v.answer.temperature = o->temperature;
    v.critique.temperature = v.revision.temperature = o->critic_temperature;
    v.answer.max_new = v.revision.max_new = (int)o->max_new;
    v.critique.max_new = (int)o->max_critique;
    return v;
}

static tn_status revise_all(session *s, tn_err *e) {
    tn_revise v = revise_of(s);
    s->count = tn_calloc((size_t)(s->o.rounds * s->c->n_principle), sizeof *s->count);
    if (!s->count) return tn_fail(e, TN_NOMEM, "out of memory");
    TN_TRY(tn_revise_rows(&v, s->data.row, (const char *const *)s->data.where, (int)s->data.n, s->record[0], s->count, e));
    if (!s->helpful.n) return TN_OK;
    v.rounds = 0;
    v.kind_key = NULL;
    v.answer.seed++; /* other draws than those of the red-team rows */
    return tn_revise_rows(&v, s->helpful.row, (const char *const *)s->helpful.where, (int)s->helpful.n, s->record[1], NULL, e);
}

/* ---- which of them are improvements ---- */

static tn_labelling judging_of(const session *s) {
    enum { TOKENS = 2048 }; /* of a forward */
    const tn_judge *critic = &s->critic.v[0];
    return (tn_labelling){.judge = critic->asker, .constitution = s->c, .prompts = critic->prompts, .kind = s->o.kind, .kind_key = s->o.kind_key,
                          .batch = (int)s->o.batch, .max_tokens = TOKENS, .seed = (uint64_t)s->machine.seed};
}

/* That it can be asked about every row, before anything takes long: a principle that applies, a template. */
static tn_status check_judging(session *s, tn_err *e) {
    tn_labelling l = judging_of(s);
    int n, *k = tn_calloc((size_t)s->c->n_principle, sizeof *k);
    double *w = tn_calloc((size_t)s->c->n_principle, sizeof *w);
    tn_status st = k && w ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    for (size_t i = 0; i < s->data.n && st == TN_OK; i++)
        st = tn_labelling_principles(&l, (int)i, s->data.row[i], s->data.where[i], s->c->n_principle, k, w, &n, e);
    json_t *empty = json_array();
    tn_prompt_about about = {.conversation = empty, .option_a = "a", .option_b = "b", .principle = k ? &s->c->principle[k[0]] : NULL};
    tn_str text = TN_STR_INIT;
    if (st == TN_OK) st = tn_prompts_render(l.prompts, TN_PROMPT_COMPARE, &about, NULL, &text, NULL, NULL, e);
    tn_str_free(&text);
    json_decref(empty);
    tn_free(k), tn_free(w);
    return st;
}

static tn_status sift(session *s, tn_err *e) {
    tn_labelling l = judging_of(s);
    if (s->o.least <= 0) return TN_OK;
    tn_asker_skip_long(l.judge); /* one long answer is left out, and is not the end of a long run */
    s->better = tn_calloc(s->data.n, sizeof *s->better);
    s->labelled = tn_calloc(s->data.n, sizeof *s->labelled);
    if (!s->better || !s->labelled) return tn_fail(e, TN_NOMEM, "out of memory");
    TN_TRY(tn_sift_rows(&l, s->record[0], (int)s->data.n, s->better, s->labelled, e));
    for (size_t i = 0; i < s->data.n; i++) s->n_better += s->better[i] >= s->o.least;
    tn_info("%ld of %zu last answers are better than the first with a probability of %g or more", s->n_better, s->data.n, s->o.least);
    if (s->n_better || s->helpful.n) return TN_OK;
    return tn_fail(e, TN_STATE, "no revision is held for better than the first answer with a probability of %g: nothing is left to train on; "
                   "lower --least-better, or look at labels.jsonl and record.jsonl whether this critic can judge", s->o.least);
}

static tn_status check(const critique_options *o, tn_err *e) {
    if (!o->model) return tn_fail(e, TN_ARG, "--model is missing; give the model whose answers are revised");
    if (tn_endpoint_is(o->model)) return tn_fail(e, TN_ARG, "--model %s: an endpoint can be the critic, not the model that is to be trained", o->model);
    if (!o->data) return tn_fail(e, TN_ARG, "--data is missing; give red-team prompts");
    if (!o->out) return tn_fail(e, TN_ARG, "--output-dir is missing");
    if (o->first_round > o->rounds)
        return tn_fail(e, TN_ARG, "--first-round %d is behind the last of %d rounds", (int)o->first_round, (int)o->rounds);
    return TN_OK;
}

/* The principles' texts belong to the record. */
static tn_status keep_constitution(session *s, tn_err *e) {
    tn_str from = TN_STR_INIT;
    tn_shipped_path(s->o.constitution, &from);
    bool lines = from.len > 6 && !strcmp(from.s + from.len - 6, ".jsonl");
    tn_status st = from.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_copy_file(from.s, in_out(s, lines ? "constitution.jsonl" : "constitution.json"), e);
    tn_str_free(&from);
    return st;
}

static tn_status work(session *s, tn_err *e) {
    enum { LISTED = 20 }; /* log-probs of an endpoint at a place, as `tenet label` asks for by default */
    const critique_options *o = &s->o;
    TN_TRY(check(o, e));
    tn_shipped_path(o->constitution, &s->path);
    TN_TRY(tn_constitution_load(&s->c, s->path.s, e));
    TN_TRY(tn_json_rows_read(&s->data, o->data, 1, o->max_rows, e));
    if (o->helpful) TN_TRY(tn_json_rows_read(&s->helpful, o->helpful, o->helpful_samples, 0, e));
    s->record[0] = tn_calloc(s->data.n, sizeof **s->record);
    s->record[1] = tn_calloc(s->helpful.n + 1, sizeof **s->record);
    if (!s->record[0] || !s->record[1]) return tn_fail(e, TN_NOMEM, "out of memory");
    TN_TRY(tn_mkdirs(o->out, e));
    TN_TRY(tn_lock_dir(o->out, &s->lock, e));
    TN_TRY(keep_constitution(s, e));
    TN_TRY(tn_replies_open(&s->kept, in_out(s, "replies.jsonl"), e));
    if (tn_replies_count(s->kept)) tn_info("%zu replies are there already; what was asked is not asked again", tn_replies_count(s->kept));
    TN_TRY(tn_backend_from_options(&s->be, &s->machine, e));
    const char *critic = o->critic ? o->critic : o->model;
    if (strcmp(critic, o->model)) TN_TRY(tn_asker_open(&s->policy, s->be, o->model, o->base, NULL, s->kept, e));
    TN_TRY(tn_judges_open(&s->critic, (tn_opt_list){&critic, 1}, &(tn_judge_setup){.be = s->be, .base = o->base, .prompts = {&o->prompts, 1},
                          .endpoint = &s->endpoint, .top = LISTED, .constitution = s->c, .kept = s->kept, .seed = (uint64_t)s->machine.seed}, e));
    tn_asker_keep_prompts(s->critic.v[0].asker, (size_t)o->cache << 20);
    if (o->least > 0) TN_TRY(check_judging(s, e));
    tn_signals_install();
    TN_TRY(revise_all(s, e));
    tn_gen_read of = tn_asker_prompts_read(s->critic.v[0].asker);
    if (of.tokens) tn_info("%ld tokens of prompts, %.0f %% of them read before", of.tokens, 100.0 * (double)of.cached / (double)of.tokens);
    for (int64_t r = 0; r <= o->rounds; r++) TN_TRY(write_answers(s, r, e));
    TN_TRY(write_record(s, e));
    tn_status st = sift(s, e);
    TN_TRY(write_labels(s, st == TN_OK ? e : NULL));
    TN_TRY(st);
    TN_TRY(write_sft(s, e));
    return summarise(s, e);
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    session s = {.lock = -1, .path = TN_STR_INIT};
    tn_opts_bind(opts, rows, &s.o);
    tn_opts_bind(opts, tn_endpoint_option_rows, &s.endpoint);
    tn_opts_bind(opts, tn_machine_option_rows, &s.machine);
    tn_status st = tn_profile_finish(s.be, work(&s, e), e);
    for (size_t i = 0; s.labelled && i < s.data.n; i++) json_decref(s.labelled[i]);
    tn_free(s.labelled);
    tn_free(s.better);
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; s.record[k] && i < (k ? s.helpful.n : s.data.n); i++) json_decref(s.record[k][i]);
        tn_free(s.record[k]);
    }
    tn_json_rows_free(&s.data);
    tn_json_rows_free(&s.helpful);
    tn_free(s.count);
    tn_judges_close(&s.critic);
    tn_asker_close(s.policy);
    tn_constitution_free(s.c);
    tn_replies_close(s.kept);
    tn_backend_free(s.be);
    tn_str_free(&s.path);
    if (s.lock >= 0) tn_unlock_dir(s.lock);
    return st;
}

static const tn_opt_row *const tables[] = {rows, tn_endpoint_option_rows, tn_machine_option_rows, NULL};
const tn_verb tn_verb_critique = {
    .goes_on = true,
    .name = "critique", .stage = "Oversee", .summary = "answers criticised and revised under a constitution (SL-CAI)",
    .details = "A model answers red-team prompts; for some rounds a critic says what a principle, drawn anew for each row and round,\n"
               "finds wrong with the answer and writes it again. Revisions that are empty, unended, unchanged, a critique, a repetition\n"
               "or far too long are not taken. sft.jsonl has the answers to train a base model on; record.jsonl everything that was\n"
               "said. Every reply is kept: a run that was interrupted goes on where it stopped, to the same bytes.\n\n"
               "  tenet critique --model helpful/ --critic base/ --prompts prompts/text --data red_team.jsonl --helpful-data prompts.jsonl \\\n"
               "      --output-dir cai/\n"
               "  tenet sft --model base/ --data cai/sft.jsonl --output-dir sl-cai/",
    .tables = tables, .run = run};
