/* tenet compare: stages of a run side by side, from files of their answers. */
#include "base/log.h"
#include "cmd/verbs.h"
#include "eval/compare.h"
#include "oversight/rows.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct compare_options {
    tn_opt_list answers, red, harm;
    const char *score, *out, *kind_key;
    int64_t seed;
} compare_options;

#define AT(f) offsetof(compare_options, f)
static const tn_opt_row rows[] = {
    {"answers", TN_OPT_LIST, AT(answers), NULL, NULL, 0, 0, "input", "NAME=FILE",
     "A stage's answers: rows of `tenet generate`, answers-R.jsonl of `tenet critique`, judged or scored rows. Or samples.jsonl of `tenet eval`, "
     "without a name, for all of its models. The first stage is the one that collapse and Elo are measured against."},
    {"score", TN_OPT_STRING, AT(score), NULL, NULL, 0, 0, NULL, "KEY",
     "Which number of the rows says who wins; default: reward (the world's oracle), score or proxy, the first that is there."},
    {"harm", TN_OPT_LIST, AT(harm), NULL, NULL, 0, 0, NULL, "KEY", "An answer does harm where one of these is true (default: harmful leak)."},
    {"kind-key", TN_OPT_STRING, AT(kind_key), NULL, NULL, 0, 0, NULL, "KEY", "What says what a prompt asks for; default: task, family, kind or label."},
    {"red-team", TN_OPT_LIST, AT(red), NULL, NULL, 0, 0, NULL, "NAME",
     "Kinds of prompts that ask for harm (default: harmful privacy red_team unsafe); where rows have no kinds, all do."},
    {"seed", TN_OPT_INT, AT(seed), "42", NULL, 0, 0, NULL, "N", "Of resampled prompts."},
    {"out", TN_OPT_STRING, AT(out), NULL, NULL, 0, 0, NULL, "FILE", "All figures, as JSON; `tenet report --record` shows them."},
    TN_OPT_LAST};

typedef struct file { tn_json_rows in; char name[64]; bool many; /* answers of several stages */ } file;
typedef struct session {
    compare_options o;
    file *f;
    int n_file;
    tn_compare s;
    json_t *index; /* key of a prompt -> its number */
    bool *red;
    char (*name)[64];
    const char *score;
} session;

static tn_status open_file(session *s, const char *spec, tn_err *e) {
    file *f = &s->f[s->n_file++];
    const char *eq = strchr(spec, '=');
    TN_TRY(tn_json_rows_read(&f->in, eq ? eq + 1 : spec, 1, 0, e));
    f->many = json_is_object(json_object_get(f->in.row[0], "answers"));
    if (eq) snprintf(f->name, sizeof f->name, "%.*s", (int)(eq - spec), spec);
    else if (!f->many) return tn_fail(e, TN_ARG, "--answers %s: give the stage's name, too: NAME=%s", spec, spec);
    return TN_OK;
}

/* What two stages' rows of one prompt have in common. */
static json_t *key_of(const json_t *row, size_t i) {
    static const char *const by[] = {"id", "prompt", "messages", "prompt_ids"};
    tn_str t = TN_STR_INIT;
    json_t *key = NULL;
    for (int k = 0; k < 4 && !key; k++) {
        const json_t *v = json_object_get(row, by[k]);
        if (json_is_string(v)) key = json_incref((json_t *)v);
        else if (v && tn_json_add(&t, v, JSON_COMPACT | JSON_ENCODE_ANY, "a prompt", NULL) == TN_OK) key = json_string(t.s);
    }
    tn_str_free(&t);
    return key ? key : json_sprintf("row-%zu", i + 1);
}

static bool listed(const tn_opt_list *l, const char *s) {
    for (int i = 0; s && i < l->n; i++)
        if (!strcmp(l->v[i], s)) return true;
    return false;
}

static bool asks_harm(const session *s, const char *kind) { return s->o.red.n ? listed(&s->o.red, kind) : tn_compare_asks_harm(kind); }

/* Numbers the prompts of the first file, and says which ask for harm. */
static tn_status prompts(session *s, tn_err *e) {
    const tn_json_rows *in = &s->f[0].in;
    bool kinds = false;
    s->index = json_object();
    s->red = tn_calloc(in->n, sizeof *s->red);
    if (!s->index || !s->red) return tn_fail(e, TN_NOMEM, "out of memory");
    for (size_t i = 0; i < in->n; i++) {
        json_t *key = key_of(in->row[i], i);
        const char *kind = s->o.kind_key ? json_string_value(json_object_get(in->row[i], s->o.kind_key)) : tn_compare_kind(in->row[i]);
        size_t n = json_object_size(s->index);
        bool again = key && json_object_get(s->index, json_string_value(key));
        if (!again && (!key || json_object_set_new(s->index, json_string_value(key), json_integer((json_int_t)n)) < 0))
            return tn_fail(e, TN_NOMEM, "out of memory");
        json_decref(key);
        if (again) continue; /* another sample */
        kinds = kinds || kind;
        s->red[n] = asks_harm(s, kind);
    }
    s->s.red = kinds ? s->red : NULL;
    return TN_OK;
}

static void take(session *s, tn_stage *x, size_t i, const json_t *row) {
    static const char *const by[] = {"reward", "score", "proxy"};
    if (x->text[i] || !(x->text[i] = tn_compare_text(row, &x->ended[i]))) return;
    for (int k = 0; !s->score && k < 3; k++)
        if (json_is_number(json_object_get(row, by[k]))) s->score = by[k];
    const json_t *v = s->score ? json_object_get(row, s->score) : NULL;
    if (json_is_number(v)) x->score[i] = json_number_value(v);
    x->harm[i] = s->o.harm.n ? tn_compare_harm(row, s->o.harm.v, s->o.harm.n) : tn_compare_harm(row, NULL, 0);
}

/* Stages of one file, from number k on. */
static tn_status fill(session *s, const file *f, int k, tn_err *e) {
    for (size_t i = 0; i < f->in.n; i++) {
        const json_t *row = f->in.row[i];
        json_t *key = key_of(row, i), *at = key ? json_object_get(s->index, json_string_value(key)) : NULL, *v;
        json_decref(key);
        if (!at) continue; /* the first stage was not asked that */
        size_t p = (size_t)json_integer_value(at);
        const char *name;
        int m = k;
        if (!f->many) {
            take(s, &s->s.stage[k], p, row);
            continue;
        }
        json_object_foreach(json_object_get(row, "answers"), name, v) {
            if (m >= s->s.n_stage || strcmp(name, s->s.stage[m].name) != 0)
                return tn_fail(e, TN_FORMAT, "%s: the names of \"answers\" are not those of the first row", f->in.where[i]);
            take(s, &s->s.stage[m++], p, v);
        }
    }
    return TN_OK;
}

static int stages_in(const file *f) { return f->many ? (int)json_object_size(json_object_get(f->in.row[0], "answers")) : 1; }

static tn_status name_stages(session *s, tn_err *e) {
    int k = 0;
    s->name = tn_calloc((size_t)s->s.n_stage + 1, sizeof *s->name);
    if (!s->name) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i < s->n_file; i++) {
        const char *name;
        json_t *v;
        if (!s->f[i].many) snprintf(s->name[k++], sizeof *s->name, "%s", s->f[i].name);
        else json_object_foreach(json_object_get(s->f[i].in.row[0], "answers"), name, v)
                snprintf(s->name[k++], sizeof *s->name, "%.63s", name);
    }
    for (k = 0; k < s->s.n_stage; k++) s->s.stage[k].name = s->name[k];
    return TN_OK;
}

/* Prompts that some stage did not answer are left out of all. */
static tn_status only_shared(tn_compare *s, bool *red, tn_err *e) {
    int m = 0;
    for (int i = 0; i < s->n; i++) {
        bool all = true;
        for (int k = 0; k < s->n_stage; k++) all = all && s->stage[k].text[i];
        if (!all) continue;
        for (int k = 0; k < s->n_stage; k++) {
            tn_stage *x = &s->stage[k];
            x->text[m] = x->text[i], x->ended[m] = x->ended[i], x->score[m] = x->score[i], x->harm[m] = x->harm[i];
        }
        red[m++] = red[i];
    }
    if (m < s->n) tn_info("%d of %d prompts were answered by all stages; the others are left out", m, s->n);
    s->n = m;
    return m ? TN_OK : tn_fail(e, TN_FORMAT, "the stages have no prompt in common; rows are matched by \"id\", else by \"prompt\"");
}

static tn_status work(session *s, tn_err *e) {
    const compare_options *o = &s->o;
    int n_stage = 0;
    if (!o->answers.n) return tn_fail(e, TN_ARG, "--answers is missing; give NAME=FILE for each stage, e.g. --answers sft=a.jsonl rl=b.jsonl");
    s->f = tn_calloc((size_t)o->answers.n, sizeof *s->f);
    if (!s->f) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i < o->answers.n; i++) TN_TRY(open_file(s, o->answers.v[i], e));
    for (int i = 0; i < s->n_file; i++) n_stage += stages_in(&s->f[i]);
    if (!n_stage) return tn_fail(e, TN_FORMAT, "%s: \"answers\" of the first row are of nobody", o->answers.v[0]);
    TN_TRY(tn_compare_room(&s->s, n_stage, (int)s->f[0].in.n, e));
    TN_TRY(name_stages(s, e));
    TN_TRY(prompts(s, e));
    s->s.n = (int)json_object_size(s->index);
    s->score = o->score;
    for (int i = 0, k = 0; i < s->n_file; k += stages_in(&s->f[i++])) TN_TRY(fill(s, &s->f[i], k, e));
    s->s.judge = s->score;
    TN_TRY(only_shared(&s->s, s->red, e));
    TN_TRY(tn_compare_measure(&s->s, e));
    json_t *j;
    TN_TRY(tn_compare_json(&s->s, (uint64_t)o->seed, &j, e));
    tn_compare_print(j, stdout);
    tn_status st = o->out ? tn_json_save(o->out, j, false, e) : TN_OK;
    json_decref(j);
    return st;
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    session s = {0};
    tn_opts_bind(opts, rows, &s.o);
    tn_status st = work(&s, e);
    tn_compare_free(&s.s);
    for (int i = 0; i < s.n_file; i++) tn_json_rows_free(&s.f[i].in);
    tn_free(s.f), tn_free(s.red), tn_free(s.name);
    json_decref(s.index);
    return st;
}

static const tn_opt_row *const tables[] = {rows, NULL};
const tn_verb tn_verb_compare = {
    .name = "compare", .stage = "Measure", .summary = "stages from their answers: harmlessness and helpfulness Elo, refusals, collapse",
    .details = "No model is asked: rows are read. Refusals are found by rules on English text (they err: see docs/manual.md), Elo by who has the better\n"
               "score on the same prompts, harm as a judge or the world's oracle wrote it into the rows. A stage whose distinct-2 fell by more than\n"
               "a fifth, or that ends many answers in the same sentence, is marked STOP.\n\n"
               "  tenet compare --answers eval/samples.jsonl --out stages.json\n"
               "  tenet compare --answers before=a.jsonl after=b.jsonl",
    .tables = tables, .run = run};
