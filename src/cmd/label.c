/* tenet label: AI feedback on pairs, under a constitution. */
#include "base/log.h"
#include "base/proc.h"
#include "base/signals.h"
#include "cmd/verbs.h"
#include "data/encode.h"
#include "eval/judge_report.h"
#include "ops/profile.h"
#include "oversight/judges.h"
#include "oversight/label.h"
#include "oversight/rows.h"
#include "train/trainer.h"
#include <math.h>
#include <string.h>

typedef struct label_options {
    const char *base, *input, *out, *replies, *report;
    int64_t top, votes, batch, batch_tokens;
    double temperature;
    tn_opt_list judges, weights, judge_prompts, questions;
    bool ties;
} label_options;

#define AT(f) offsetof(label_options, f)
static const tn_opt_row rows[] = {
    {"judge", TN_OPT_LIST, AT(judges), NULL, NULL, 0, 0, "model model-name-or-path", "DIR|URL",
     "The judge: a folder (the policy's own or another model's), or the http(s):// URL of a service with OpenAI's interface, as in "
     "http://127.0.0.1:8080/v1. Of several, the mean of their probabilities."},
    {"judge-weights", TN_OPT_LIST, AT(weights), NULL, NULL, 0, 0, NULL, "W", "Weights of several judges; default: all the same."},
    {"judge-top-logprobs", TN_OPT_INT, AT(top), "20", NULL, 1, 1000, NULL, "N",
     "Log-probs that an endpoint is asked for at each place. OpenAI gives 20 at most, 5 in completions."},
    {"judge-votes", TN_OPT_INT, AT(votes), "0", NULL, 0, 1024, NULL, "N",
     "For endpoints without log-probs: the verdicts of N replies sampled at temperature 1, as shares. 0: log-probs."},
    {"base-model", TN_OPT_STRING, AT(base), NULL, NULL, 0, 0, NULL, "DIR",
     "Base of an adapter folder, instead of the one that its adapter_config.json names."},
    {"input", TN_OPT_STRING, AT(input), NULL, NULL, 0, 0, "data", "FILE",
     "Pairs: {\"prompt\", \"responses\": [a, b]}, or {\"prompt\", \"chosen\", \"rejected\"}, whose own word is kept as \"human\": 1 and only "
     "measured against."},
    {"out", TN_OPT_STRING, AT(out), "-", NULL, 0, 0, NULL, "FILE", "Where the labelled rows go; - is standard output."},
    {"replies", TN_OPT_STRING, AT(replies), NULL, NULL, 0, 0, NULL, "FILE",
     "Every reply of the judges, kept: what is there is not asked again. Default: the output's name with .replies.jsonl."},
    {"report", TN_OPT_STRING, AT(report), NULL, NULL, 0, 0, NULL, "FILE",
     "What the judges are worth: consistency between orders, positions, lengths, agreement, calibration against \"human\" or \"truth\". "
     "Default: the output's name with .report.json."},
    {"question", TN_OPT_LIST, AT(questions), NULL, NULL, 0, 0, NULL, "TEXT", "Ask this instead of the constitution's principles (its labels stay); of several the mean."},
    {"judge-prompts", TN_OPT_LIST, AT(judge_prompts), NULL, NULL, 0, 0, NULL, "DIR", "The same, one for each of several judges."},
    {"ties", TN_OPT_BOOL, AT(ties), "false", NULL, 0, 0, NULL, NULL,
     "Only who wins in both orders has won (MT-bench): other pairs, or those where judges and principles outweigh each other, are ties, "
     "\"rank\": [1, 1]."},
    {"temperature", TN_OPT_REAL, AT(temperature), "1", NULL, 0, 100, NULL, "X", "Of chains of thought."},
    {"batch-size", TN_OPT_INT, AT(batch), "64", NULL, 1, 4096, NULL, "N", "Chains sampled together; does not change the labels."},
    {"batch-tokens", TN_OPT_INT, AT(batch_tokens), "2048", NULL, 1, 1 << 24, NULL, "N", "Tokens judged together; does not change the labels."},
    TN_OPT_LAST};

typedef struct session {
    label_options o;
    tn_label_options how;
    tn_train_options machine;
    tn_backend *be;
    tn_endpoint_options endpoint;
    tn_constitution *c;
    tn_replies *kept;
    tn_judges judges;
    tn_judged *judged; /* [judges.n] */
    tn_json_rows in;
    double *p;         /* [in.n], of all judges; NaN: no verdict */
    tn_str path;
} session;

/* Two conversations, or two transcripts as HH-RLHF's, begin with the prompt. */
static tn_status take_prompt_out(json_t *row, const char *where, tn_err *e) {
    json_t *side[2], *part[3] = {NULL};
    static const char *const key[] = {"prompt", "chosen", "rejected"};
    if (json_object_get(row, "prompt") || json_object_get(row, "messages")) return TN_OK;
    for (int i = 0; i < 2; i++) {
        json_t *v = json_object_get(row, key[i + 1]);
        side[i] = json_is_string(v) ? tn_transcript_messages(json_string_value(v)) : tn_json_is_messages(v) ? json_incref(v) : NULL;
    }
    tn_status st = TN_OK;
    if (side[0] && side[1]) {
        st = tn_extract_prompt(side[0], side[1], &part[0], &part[1], &part[2], where, e);
        for (int i = 0; st == TN_OK && i < 3; i++)
            if (json_object_set(row, key[i], part[i]) < 0) st = tn_fail(e, TN_NOMEM, "out of memory");
    }
    for (int i = 0; i < 3; i++) json_decref(part[i]);
    json_decref(side[0]), json_decref(side[1]);
    return st;
}

/* {"prompt", "chosen", "rejected"} becomes {"prompt", "responses"}, with the row's own word kept to measure judges by. */
static tn_status as_responses(json_t *row, tn_err *e) {
    json_t *c = json_object_get(row, "chosen"), *r = json_object_get(row, "rejected");
    if (json_object_get(row, "responses") || !c || !r) return TN_OK;
    bool judged = json_object_get(row, "human") || json_object_get(row, "truth");
    if (json_object_set_new(row, "responses", json_pack("[O,O]", c, r)) < 0 ||
        (!judged && json_object_set_new(row, "human", json_integer(1)) < 0))
        return tn_fail(e, TN_NOMEM, "out of memory");
    json_object_del(row, "chosen");
    json_object_del(row, "rejected");
    return TN_OK;
}

/* Two answers that are the same word for word: nothing can be said, and nothing learned. */
static tn_status drop_equal(tn_json_rows *f, tn_err *e) {
    size_t kept = 0;
    for (size_t i = 0; i < f->n; i++) {
        const json_t *list = json_object_get(f->row[i], "responses");
        const char *a = tn_answer_text(json_array_get(list, 0)), *b = tn_answer_text(json_array_get(list, 1));
        if (json_array_size(list) == 2 && a && b && !strcmp(a, b)) {
            json_decref(f->row[i]);
            tn_free(f->where[i]);
            continue;
        }
        f->row[kept] = f->row[i];
        f->where[kept++] = f->where[i];
    }
    if (kept < f->n) tn_info("%zu of %zu pairs have equal answers and are left out", f->n - kept, f->n);
    f->n = kept;
    return kept ? TN_OK : tn_fail(e, TN_FORMAT, "all pairs have equal answers");
}

/* What is asked: the file's principles, or --question's texts with the file's labels. */
static tn_status open_constitution(session *s, tn_err *e) {
    const label_options *o = &s->o;
    tn_constitution *c;
    tn_shipped_path(s->how.constitution, &s->path);
    TN_TRY(tn_constitution_load(&c, s->path.s, e));
    if (!o->questions.n) {
        s->c = c;
        return TN_OK;
    }
    json_t *list = json_array(), *doc = json_pack("{s:o,s:O}", "principles", list, "labels", c->labels);
    for (int i = 0; i < o->questions.n; i++) {
        char id[24];
        snprintf(id, sizeof id, "question-%d", i + 1);
        json_array_append_new(list, json_pack("{s:s,s:[s],s:s}", "id", id, "kind", "compare", "compare", o->questions.v[i]));
    }
    tn_constitution_free(c);
    return tn_constitution_of(&s->c, doc, "--question", e);
}

/* OUT with `tail` behind it, or what was given; NULL: neither. */
static const char *beside_out(session *s, const char *given, const char *tail) {
    tn_str_clear(&s->path);
    if (given) tn_str_addz(&s->path, given);
    else if (strcmp(s->o.out, "-") != 0) tn_str_addf(&s->path, "%s%s", s->o.out, tail);
    return s->path.len ? s->path.s : NULL;
}

static tn_status open_judges(session *s, tn_err *e) {
    const label_options *o = &s->o;
    bool local = false;
    tn_opt_list prompts = o->judge_prompts.n ? o->judge_prompts : (tn_opt_list){&s->how.prompts, 1};
    for (int i = 0; i < o->judges.n; i++) local = local || !tn_endpoint_is(o->judges.v[i]);
    if (local) TN_TRY(tn_backend_from_options(&s->be, &s->machine, e));
    TN_TRY(tn_judges_open(&s->judges, o->judges, &(tn_judge_setup){s->be, o->base, prompts, o->weights, &s->endpoint, (int)o->top,
                           (int)o->votes, s->c, s->kept, (uint64_t)s->machine.seed}, e));
    s->judged = tn_calloc((size_t)o->judges.n, sizeof *s->judged);
    s->p = tn_calloc(s->in.n, sizeof *s->p);
    return s->p && s->judged ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static tn_status open_all(session *s, tn_err *e) {
    const label_options *o = &s->o;
    if (!o->judges.n) return tn_fail(e, TN_ARG, "--judge is missing; give the folder of the judge, or the URL of an endpoint");
    if (!o->input) return tn_fail(e, TN_ARG, "--input is missing; give rows of pairs");
    TN_TRY(tn_json_rows_read(&s->in, o->input, 1, 0, e));
    for (size_t i = 0; i < s->in.n; i++) {
        TN_TRY(take_prompt_out(s->in.row[i], s->in.where[i], e));
        TN_TRY(as_responses(s->in.row[i], e));
    }
    TN_TRY(drop_equal(&s->in, e));
    TN_TRY(open_constitution(s, e));
    TN_TRY(tn_replies_open(&s->kept, beside_out(s, o->replies, ".replies.jsonl"), e));
    return open_judges(s, e);
}

static tn_labelling labelling_of(const session *s, const tn_judge *j) {
    const label_options *o = &s->o;
    uint64_t seed = (uint64_t)s->machine.seed;
    tn_labelling l = {.judge = j->asker, .constitution = s->c, .prompts = j->prompts, .batch = (int)o->batch, .max_tokens = (int)o->batch_tokens,
                      .seed = seed, .reason = {.temperature = o->temperature, .seed = seed}};
    tn_labelling_set(&l, &s->how);
    if (o->questions.n) l.principles = 0;
    return l;
}

/* ---- what came out ---- */

static tn_status judge_all(session *s, tn_err *e) {
    for (int k = 0; k < s->judges.n; k++) {
        tn_labelling l = labelling_of(s, &s->judges.v[k]);
        tn_judged *j = &s->judged[k];
        double *p = tn_calloc(s->in.n, sizeof *p);
        tn_label *label = NULL;
        tn_status st = p ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
        if (st == TN_OK) st = tn_label_rows(&l, s->in.row, (const char *const *)s->in.where, (int)s->in.n, p, &label, &j->n_label, e);
        j->name = s->judges.v[k].name, j->weight = s->judges.v[k].weight, j->label = label, j->p = p;
        TN_TRY(st);
    }
    return TN_OK;
}

/* Of the judges that came to a verdict. */
static tn_status weigh(session *s, tn_err *e) {
    size_t n = (size_t)s->judges.n, none = 0;
    double *p = tn_calloc(2 * n, sizeof *p), *w = p + n;
    tn_status st = p ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    for (size_t i = 0; i < s->in.n && st == TN_OK; i++) {
        int m = 0;
        for (size_t k = 0; k < n; k++)
            if (!isnan(s->judged[k].p[i]) && s->judged[k].weight > 0) p[m] = s->judged[k].p[i], w[m++] = s->judged[k].weight;
        s->p[i] = NAN;
        none += m == 0;
        if (m > 0) st = tn_label_ensemble(p, w, m, &s->p[i], e);
    }
    tn_free(p);
    if (st == TN_OK && none == s->in.n)
        return tn_fail(e, TN_STATE, "no judge came to a verdict on any of %zu pairs: none of their replies chose an option. Look at them in %s; a weak "
                       "model may do better with --prompts prompts/text, or other labels in the constitution", none,
                       beside_out(s, s->o.replies, ".replies.jsonl") ? s->path.s : "--replies FILE");
    if (none) tn_warn("%zu of %zu pairs have no verdict and are left out", none, s->in.n);
    return st;
}

static tn_status save_report(session *s, json_t **report, tn_err *e) {
    tn_judged all = {.name = "ensemble", .weight = 1, .p = s->p};
    TN_TRY(tn_judge_report(s->judged, s->judges.n, s->judges.n > 1 ? &all : NULL, s->in.row, (int)s->in.n, report, e));
    const char *path = beside_out(s, s->o.report, ".report.json");
    return path ? tn_json_save(path, *report, false, e) : TN_OK;
}

/* A judge's labels of a row, which begin at *at; their verdicts, weighted, to *balance. */
static void add_labels(const session *s, int k, int *at, int row, json_t *all, double *balance) {
    const tn_judged *j = &s->judged[k];
    for (; *at < j->n_label && j->label[*at].row == row; ++*at) {
        const tn_label *x = &j->label[*at];
        const tn_principle *c = &s->c->principle[x->principle];
        json_array_append_new(all, tn_label_json(x, s->judges.n > 1 ? j->name : NULL, s->c));
        if (!isnan(x->p)) *balance += (c->worse ? -1 : 1) * j->weight * x->weight * tn_label_verdict(x->p1, x->p2);
    }
}

static tn_status write_row(session *s, int i, int *at, tn_out *out, tn_err *e) {
    json_t *row = s->in.row[i], *labels = json_array(), *judges = json_array();
    double balance = 0;
    for (int k = 0; k < s->judges.n; k++) {
        add_labels(s, k, &at[k], i, labels, &balance);
        json_array_append_new(judges, json_pack("{s:s,s:o}", "judge", s->judged[k].name, "p", tn_json_number(s->judged[k].p[i])));
    }
    int first = s->p[i] >= 0.5 ? 1 : 2, rank[2] = {first, 3 - first};
    if (s->o.ties) rank[0] = balance >= 0 ? 1 : 2, rank[1] = balance > 0 ? 2 : 1;
    bool ok = json_object_set_new(row, "rank", json_pack("[i,i]", rank[0], rank[1])) == 0 && json_object_set_new(row, "p", json_real(s->p[i])) == 0;
    if (s->judges.n > 1) ok = json_object_set(row, "judges", judges) == 0 && ok;
    ok = json_object_set_new(row, "labels", labels) == 0 && ok;
    json_decref(judges);
    return isnan(s->p[i]) ? TN_OK : tn_json_row_write(out, ok ? json_incref(row) : NULL, e);
}

static tn_status write_rows(session *s, tn_err *e) {
    tn_out *out;
    int *at = tn_calloc((size_t)s->judges.n, sizeof *at);
    if (!at) return tn_fail(e, TN_NOMEM, "out of memory");
    tn_status st = tn_out_open(&out, s->o.out, false, e);
    if (st == TN_OK) {
        for (size_t i = 0; i < s->in.n && st == TN_OK; i++) st = write_row(s, (int)i, at, out, e);
        st = tn_out_close(out, st, true, e);
    }
    tn_free(at);
    return st;
}

static tn_status work(session *s, tn_err *e) {
    TN_TRY(open_all(s, e));
    tn_signals_install();
    TN_TRY(judge_all(s, e));
    TN_TRY(weigh(s, e));
    json_t *report = NULL;
    tn_status st = save_report(s, &report, e);
    if (st == TN_OK) st = write_rows(s, e); /* the last: rows that are there are complete, and so is what goes with them */
    if (st == TN_OK) tn_judge_report_print(report, strcmp(s->o.out, "-") ? stdout : stderr);
    json_decref(report);
    return st;
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    session s = {.path = TN_STR_INIT};
    tn_opts_bind(opts, rows, &s.o);
    tn_opts_bind(opts, tn_label_option_rows, &s.how);
    tn_opts_bind(opts, tn_endpoint_option_rows, &s.endpoint);
    tn_opts_bind(opts, tn_machine_option_rows, &s.machine);
    tn_status st = tn_profile_finish(s.be, work(&s, e), e);
    for (int k = 0; s.judged && k < s.judges.n; k++) tn_free((void *)s.judged[k].p), tn_free((void *)s.judged[k].label);
    tn_free(s.judged);
    tn_json_rows_free(&s.in);
    tn_free(s.p);
    tn_judges_close(&s.judges);
    tn_replies_close(s.kept);
    tn_constitution_free(s.c);
    tn_backend_free(s.be);
    tn_str_free(&s.path);
    return st;
}

static const tn_opt_row *const tables[] = {rows, tn_label_option_rows, tn_endpoint_option_rows, tn_machine_option_rows, NULL};
const tn_verb tn_verb_label = {
    .goes_on = true,
    .name = "label", .stage = "Oversee", .summary = "AI feedback: language models label pairs under a constitution (RLAIF)",
    .details = "Each pair is shown in both orders as options (A) and (B); what counts are the log-probs of the two. A row comes out as a\n"
               "ranking, \"rank\": [1, 2] or [2, 1], with \"p\", the probability that the first is better, and the principles that it was\n"
               "judged by. `tenet reward` and `tenet dpo` train on p as a soft label; --hard-labels takes the rank. Several judges are\n"
               "weighed against each other, and a table says what each is worth (docs/judges.md).\n\n"
               "  tenet label --judge judge/ --input pairs.jsonl --out labelled.jsonl\n"
               "  tenet label --judge policy/ http://127.0.0.1:8080/v1 --judge-model llama --input pairs.jsonl --out labelled.jsonl\n"
               "  tenet reward --model sl-cai/ --data labelled.jsonl rankings.jsonl --output-dir preference-model/",
    .tables = tables, .run = run};
