/* tenet label: pairs labelled by a language model. */
#include "base/log.h"
#include "cmd/verbs.h"
#include "eval/judge.h"
#include "ops/profile.h"
#include "train/trainer.h"
#include "world/world.h"
#include <math.h>
#include <string.h>

typedef struct label_options {
    const char *model, *base, *input, *out, *layout;
    tn_opt_list questions;
    int64_t batch_tokens;
} label_options;

#define AT(f) offsetof(label_options, f)
static const tn_opt_row rows[] = {
    {"model", TN_OPT_STRING, AT(model), NULL, NULL, 0, 0, "model-name-or-path", "DIR", "The judge."},
    {"base-model", TN_OPT_STRING, AT(base), NULL, NULL, 0, 0, NULL, "DIR",
     "Base of an adapter folder, instead of the one that its adapter_config.json names."},
    {"input", TN_OPT_STRING, AT(input), NULL, NULL, 0, 0, "data", "FILE",
     "Pairs: {\"prompt\", \"responses\": [a, b]} or {\"prompt\", \"chosen\", \"rejected\"} (the order means nothing)."},
    {"out", TN_OPT_STRING, AT(out), "-", NULL, 0, 0, NULL, "FILE", "Where the labelled rows go; - is standard output."},
    {"layout", TN_OPT_CHOICE, AT(layout), "chat", "chat|world", 0, 0, NULL, NULL,
     "chat: the question as a user's turn in the model's chat template. world: as in the built-in world's texts."},
    {"question", TN_OPT_LIST, AT(questions), NULL, NULL, 0, 0, NULL, "TEXT",
     "What is asked about the two; of several the answers are averaged. Default: which is more helpful, honest and "
     "harmless; in the world the six principles."},
    {"batch-tokens", TN_OPT_INT, AT(batch_tokens), "2048", NULL, 1, 1 << 24, NULL, "N",
     "Tokens judged together; does not change the labels."},
    TN_OPT_LAST};

typedef struct session {
    label_options o;
    tn_train_options machine;
    tn_backend *be;
    tn_tokenizer *tok;
    tn_model *model;
    json_t **row;
    char **where;
    double *p;
    size_t n, cap_row, cap_where;
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

static tn_status read_rows(session *s, tn_err *e) {
    tn_lines *in;
    TN_TRY(tn_lines_open(&in, s->o.input, (size_t)1 << 26, e));
    tn_status st = TN_OK;
    for (json_t *row; st == TN_OK;) {
        char where[600];
        st = tn_jsonl_next(in, s->o.input, &row, e);
        if (st != TN_OK || !row) break;
        snprintf(where, sizeof where, "%.500s:%ld", s->o.input, tn_lines_number(in));
        if (!TN_GROW(s->row, s->cap_row, s->n + 1) || !TN_GROW(s->where, s->cap_where, s->n + 1) ||
            !(s->where[s->n] = tn_strdup(where))) {
            json_decref(row);
            st = tn_fail(e, TN_NOMEM, "out of memory");
            break;
        }
        s->row[s->n++] = row;
        st = as_responses(row, e);
    }
    tn_lines_close(in);
    if (st == TN_OK && !s->n) return tn_fail(e, TN_FORMAT, "%s has no rows", s->o.input);
    return st;
}

static tn_status judge(session *s, tn_err *e) {
    const char *asked[TN_WP_COUNT] = {"Which answer is more helpful, honest and harmless?"};
    bool world = !strcmp(s->o.layout, "world");
    for (int k = 0; world && k < TN_WP_COUNT; k++) asked[k] = tn_world_constitution[k].comparison;
    tn_judge j = {.model = s->model, .tok = s->tok, .layout = world ? TN_JUDGE_WORLD : TN_JUDGE_CHAT,
                  .question = s->o.questions.n ? s->o.questions.v : asked,
                  .n_question = s->o.questions.n ? s->o.questions.n : world ? TN_WP_COUNT : 1,
                  .max_tokens = (int)s->o.batch_tokens};
    double bias;
    s->p = tn_calloc(s->n, sizeof *s->p);
    if (!s->p) return tn_fail(e, TN_NOMEM, "out of memory");
    TN_TRY(tn_judge_pairs(&j, s->row, (const char *const *)s->where, (int)s->n, s->p, &bias, e));
    tn_info("%zu pairs labelled; mean probability of (A) is %.3f, which says what its place is worth", s->n, 0.5 + bias);
    return TN_OK;
}

/* How often the labels are those of rows that know better. */
static void agreement(const session *s, const char *key) {
    int n = 0, right = 0;
    for (size_t i = 0; i < s->n; i++) {
        json_int_t better = json_integer_value(json_object_get(s->row[i], key));
        if (better != 1 && better != 2) continue;
        n++, right += (s->p[i] >= 0.5) == (better == 1);
    }
    if (n) tn_info("they agree with \"%s\" in %.3f of %d", key, (double)right / n, n);
}

static tn_status write_rows(session *s, tn_err *e) {
    tn_out *out;
    tn_str line = TN_STR_INIT;
    TN_TRY(tn_out_open(&out, s->o.out, false, e));
    tn_status st = TN_OK;
    for (size_t i = 0; i < s->n && st == TN_OK; i++) {
        int first = s->p[i] >= 0.5 ? 1 : 2;
        if (json_object_set_new(s->row[i], "rank", json_pack("[i,i]", first, 3 - first)) < 0 ||
            json_object_set_new(s->row[i], "p", json_real(s->p[i])) < 0) {
            st = tn_fail(e, TN_NOMEM, "out of memory");
            break;
        }
        tn_str_clear(&line);
        st = tn_json_add(&line, s->row[i], JSON_COMPACT, s->where[i], e);
        if (st == TN_OK) tn_str_addz(&line, "\n");
        if (st == TN_OK) st = line.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_out_write(out, line.s, line.len, e);
    }
    tn_str_free(&line);
    return tn_out_close(out, st, false, e);
}

static tn_status work(session *s, tn_err *e) {
    const label_options *o = &s->o;
    if (!o->model) return tn_fail(e, TN_ARG, "--model is missing; give the folder of the judge");
    if (!o->input) return tn_fail(e, TN_ARG, "--input is missing; give rows of pairs");
    TN_TRY(read_rows(s, e));
    TN_TRY(tn_backend_from_options(&s->be, &s->machine, e));
    TN_TRY(tn_tokenizer_of(&s->tok, o->model, o->base, NULL, e));
    if (!s->tok) return tn_fail(e, TN_STATE, "%s has no tokenizer, and a judge reads texts", o->model);
    TN_TRY(tn_model_load(&s->model, o->model, s->be, &(tn_load){.base = o->base, .frozen = true}, e));
    if (s->model->no_lm_head)
        return tn_fail(e, TN_STATE, "%s is a reward model; it scores (`tenet score`), it does not answer", o->model);
    TN_TRY(judge(s, e));
    agreement(s, "truth");
    agreement(s, "human");
    return write_rows(s, e);
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    session s = {0};
    tn_opts_bind(opts, rows, &s.o);
    tn_opts_bind(opts, tn_machine_option_rows, &s.machine);
    tn_status st = tn_profile_finish(s.be, work(&s, e), e);
    for (size_t i = 0; i < s.n; i++) {
        json_decref(s.row[i]);
        tn_free(s.where[i]);
    }
    tn_free(s.row);
    tn_free(s.where);
    tn_free(s.p);
    tn_model_free(s.model);
    tn_tokenizer_free(s.tok);
    tn_backend_free(s.be);
    return st;
}

static const tn_opt_row *const tables[] = {rows, tn_machine_option_rows, NULL};
const tn_verb tn_verb_label = {
    .name = "label", .stage = "Use", .summary = "AI feedback: a language model labels pairs",
    .details = "Each pair is shown in both orders as options (A) and (B); what counts is the probability of the option's\n"
               "token. A row comes out as a ranking, \"rank\": [1, 2] or [2, 1], with \"p\", the probability that the first\n"
               "is better: `tenet reward`, `tenet dpo` and `tenet rlthf` read it.\n\n"
               "  tenet label --model judge/ --input pairs.jsonl --out labelled.jsonl",
    .tables = tables, .run = run};
