/* tenet label: AI feedback on pairs, under a constitution. */
#include "base/log.h"
#include "base/proc.h"
#include "base/signals.h"
#include "cmd/verbs.h"
#include "ops/profile.h"
#include "oversight/label.h"
#include "oversight/rows.h"
#include "train/trainer.h"
#include <math.h>
#include <string.h>

typedef struct label_options {
    const char *model, *base, *input, *out, *replies;
    int64_t batch, batch_tokens;
    double temperature;
    tn_opt_list questions;
} label_options;

#define AT(f) offsetof(label_options, f)
static const tn_opt_row rows[] = {
    {"model", TN_OPT_STRING, AT(model), NULL, NULL, 0, 0, "model-name-or-path judge", "DIR", "The judge."},
    {"base-model", TN_OPT_STRING, AT(base), NULL, NULL, 0, 0, NULL, "DIR",
     "Base of an adapter folder, instead of the one that its adapter_config.json names."},
    {"input", TN_OPT_STRING, AT(input), NULL, NULL, 0, 0, "data", "FILE",
     "Pairs: {\"prompt\", \"responses\": [a, b]} or {\"prompt\", \"chosen\", \"rejected\"} (the order means nothing)."},
    {"out", TN_OPT_STRING, AT(out), "-", NULL, 0, 0, NULL, "FILE", "Where the labelled rows go; - is standard output."},
    {"replies", TN_OPT_STRING, AT(replies), NULL, NULL, 0, 0, NULL, "FILE",
     "Every reply of the judge, kept: what is there is not asked again. Default: the output's name with .replies.jsonl."},
    {"question", TN_OPT_LIST, AT(questions), NULL, NULL, 0, 0, NULL, "TEXT", "Ask this instead of the constitution's principles (its labels stay); of several the mean."},
    {"temperature", TN_OPT_REAL, AT(temperature), "1", NULL, 0, 100, NULL, "X", "Of chains of thought."},
    {"batch-size", TN_OPT_INT, AT(batch), "64", NULL, 1, 4096, NULL, "N", "Chains sampled together; does not change the labels."},
    {"batch-tokens", TN_OPT_INT, AT(batch_tokens), "2048", NULL, 1, 1 << 24, NULL, "N", "Tokens judged together; does not change the labels."},
    TN_OPT_LAST};

typedef struct session {
    label_options o;
    tn_label_options how;
    tn_train_options machine;
    tn_backend *be;
    tn_constitution *c;
    tn_prompts *prompts;
    tn_replies *kept;
    tn_asker *judge;
    tn_json_rows in;
    double *p;
    tn_label *label;
    int n_label;
    tn_str path;
} session;

/* {"prompt", "chosen", "rejected"} becomes {"prompt", "responses"}. */
static tn_status as_responses(json_t *row, tn_err *e) {
    json_t *c = json_object_get(row, "chosen"), *r = json_object_get(row, "rejected");
    if (json_object_get(row, "responses") || !c || !r) return TN_OK;
    if (json_object_set_new(row, "responses", json_pack("[O,O]", c, r)) < 0) return tn_fail(e, TN_NOMEM, "out of memory");
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

static tn_status open_all(session *s, tn_err *e) {
    const label_options *o = &s->o;
    if (!o->model) return tn_fail(e, TN_ARG, "--model is missing; give the folder of the judge");
    if (!o->input) return tn_fail(e, TN_ARG, "--input is missing; give rows of pairs");
    TN_TRY(tn_json_rows_read(&s->in, o->input, 1, 0, e));
    for (size_t i = 0; i < s->in.n; i++) TN_TRY(as_responses(s->in.row[i], e));
    TN_TRY(drop_equal(&s->in, e));
    TN_TRY(open_constitution(s, e));
    tn_str_clear(&s->path);
    if (o->replies) tn_str_addz(&s->path, o->replies);
    else if (strcmp(o->out, "-") != 0) tn_str_addf(&s->path, "%s.replies.jsonl", o->out);
    TN_TRY(tn_replies_open(&s->kept, s->path.len ? s->path.s : NULL, e));
    TN_TRY(tn_backend_from_options(&s->be, &s->machine, e));
    TN_TRY(tn_asker_open(&s->judge, s->be, o->model, o->base, NULL, s->kept, e));
    tn_shipped_path(s->how.prompts, &s->path);
    TN_TRY(tn_prompts_load(&s->prompts, s->path.s, s->c, tn_asker_tokenizer(s->judge), e));
    s->p = tn_calloc(s->in.n, sizeof *s->p);
    return s->p ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static tn_labelling labelling_of(session *s) {
    const label_options *o = &s->o;
    uint64_t seed = (uint64_t)s->machine.seed;
    tn_labelling l = {.judge = s->judge, .constitution = s->c, .prompts = s->prompts, .batch = (int)o->batch, .max_tokens = (int)o->batch_tokens,
                      .seed = seed, .reason = {.temperature = o->temperature, .seed = seed}};
    tn_labelling_set(&l, &s->how);
    if (o->questions.n) l.principles = 0;
    return l;
}

/* ---- what came out ---- */

static void report(const session *s) {
    double bias = 0, margin = 0;
    for (int i = 0; i < s->n_label; i++) bias += tn_label_position_bias(s->label[i].p1, s->label[i].p2, TN_SWAP_PROBS) / s->n_label;
    for (size_t i = 0; i < s->in.n; i++) margin += fabs(s->p[i] - 0.5) / (double)s->in.n;
    tn_info("%zu pairs labelled, mean distance from 1/2 %.3f; mean probability of (A) is %.3f, which says what its place is worth", s->in.n, margin,
            0.5 + bias);
}

/* How often the labels are those of rows that know better. */
static void agreement(const session *s, const char *key) {
    int n = 0, right = 0;
    for (size_t i = 0; i < s->in.n; i++) {
        json_int_t better = json_integer_value(json_object_get(s->in.row[i], key));
        if (better != 1 && better != 2) continue;
        n++, right += (s->p[i] >= 0.5) == (better == 1);
    }
    if (n) tn_info("they agree with \"%s\" in %.3f of %d", key, (double)right / n, n);
}

static json_t *labels_of(const session *s, int *at, int row) {
    json_t *all = json_array();
    for (; *at < s->n_label && s->label[*at].row == row; ++*at) {
        const tn_label *x = &s->label[*at];
        json_array_append_new(all, json_pack("{s:s,s:f,s:f,s:f}", "principle", s->c->principle[x->principle].id, "p_order1", x->p1, "p_order2", x->p2,
                                             "p", x->p));
    }
    return all;
}

static tn_status write_rows(session *s, tn_err *e) {
    tn_out *out;
    TN_TRY(tn_out_open(&out, s->o.out, false, e));
    tn_status st = TN_OK;
    int at = 0;
    for (size_t i = 0; i < s->in.n && st == TN_OK; i++) {
        json_t *row = s->in.row[i];
        int first = s->p[i] >= 0.5 ? 1 : 2;
        bool ok = json_object_set_new(row, "rank", json_pack("[i,i]", first, 3 - first)) == 0 && json_object_set_new(row, "p", json_real(s->p[i])) == 0 &&
                  json_object_set_new(row, "labels", labels_of(s, &at, (int)i)) == 0;
        st = tn_json_row_write(out, ok ? json_incref(row) : NULL, e);
    }
    return tn_out_close(out, st, true, e);
}

static tn_status work(session *s, tn_err *e) {
    TN_TRY(open_all(s, e));
    tn_labelling l = labelling_of(s);
    tn_signals_install();
    TN_TRY(tn_label_rows(&l, s->in.row, (const char *const *)s->in.where, (int)s->in.n, s->p, &s->label, &s->n_label, e));
    report(s);
    agreement(s, "truth");
    agreement(s, "human");
    return write_rows(s, e);
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    session s = {.path = TN_STR_INIT};
    tn_opts_bind(opts, rows, &s.o);
    tn_opts_bind(opts, tn_label_option_rows, &s.how);
    tn_opts_bind(opts, tn_machine_option_rows, &s.machine);
    tn_status st = tn_profile_finish(s.be, work(&s, e), e);
    tn_json_rows_free(&s.in);
    tn_free(s.p);
    tn_free(s.label);
    tn_prompts_free(s.prompts);
    tn_asker_close(s.judge);
    tn_replies_close(s.kept);
    tn_constitution_free(s.c);
    tn_backend_free(s.be);
    tn_str_free(&s.path);
    return st;
}

static const tn_opt_row *const tables[] = {rows, tn_label_option_rows, tn_machine_option_rows, NULL};
const tn_verb tn_verb_label = {
    .name = "label", .stage = "Oversee", .summary = "AI feedback: a language model labels pairs under a constitution (RLAIF)",
    .details = "Each pair is shown in both orders as options (A) and (B); what counts are the log-probs of the two. A row comes out as a\n"
               "ranking, \"rank\": [1, 2] or [2, 1], with \"p\", the probability that the first is better, and the principles that it was\n"
               "judged by. `tenet reward` and `tenet dpo` train on p as a soft label; --hard-labels takes the rank.\n\n"
               "  tenet label --model judge/ --input pairs.jsonl --out labelled.jsonl\n"
               "  tenet reward --model sl-cai/ --data labelled.jsonl rankings.jsonl --output-dir preference-model/",
    .tables = tables, .run = run};
