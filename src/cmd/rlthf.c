/* tenet rlthf: people correct what a first labeller got wrong, where a reward model resists. */
#include "rl/rlthf.h"
#include "algo/losses.h"
#include "algo/pooled.h"
#include "base/log.h"
#include "cmd/rounds.h"
#include "cmd/verbs.h"
#include "eval/eval.h"
#include "ops/profile.h"
#include "train/trainer.h"
#include <string.h>

typedef struct rlthf_options {
    const char *human, *select, *first;
} rlthf_options;

#define AT(f) offsetof(rlthf_options, f)
static const tn_opt_row rows[] = {
    {"human", TN_OPT_CHOICE, AT(human), "file", "file|rows", 0, 0, NULL, NULL,
     "Who answers. file: each round writes to_label.jsonl and the run ends; when labelled.jsonl is there, the same command "
     "goes on. rows: the rows' \"human\" members, for experiments."},
    {"select", TN_OPT_CHOICE, AT(select), "targeted", "targeted|random", 0, 0, NULL, NULL,
     "Whom people are asked about: targeted as the method says; random: anyone, and nothing is turned or left out (the "
     "baseline)."},
    {"first-labeller", TN_OPT_STRING, AT(first), NULL, NULL, 0, 0, "first-labeler", "DIR",
     "A reward model whose word on every pair comes first, instead of the rows' own: theirs is then what people say when asked "
     "(--human rows), and the truth to measure against."},
    TN_OPT_LAST};

typedef struct session {
    rlthf_options o;
    tn_rlthf_opt method;
    tn_train_options t;
    const tn_opts *opts;
    int lock;
    tn_backend *be;
    tn_tokenizer *tok;
    tn_dataset *data, *eval;
    tn_rlthf_pairs rows;
    double *score; /* [2 examples] */
} session;

/* ---- training: `tenet reward` with this run's options ---- */

static tn_rounds_run rounds_of(const session *s) {
    static const char *const files[] = {"labels.jsonl", NULL};
    return (tn_rounds_run){"rlthf", s->opts, &s->t, s->be, s->data ? s->data->hash : 0, files};
}

static tn_status train(void *ctx, const char *data, const char *dir, tn_err *e) {
    session *s = ctx;
    const tn_rounds_run r = rounds_of(s);
    json_t *set = json_pack("{s:[s]}", "data", data);
    if (!s->t.eval_steps && set && json_object_set_new(set, "eval-data", json_null()) != 0) json_decref(set), set = NULL; /* `judge` will */
    return tn_rounds_train(&r, &tn_verb_reward, dir, set, e);
}

/* ---- what a model says of all pairs, and how good it is ---- */

static tn_status held_out(session *s, tn_scorer *scorer, json_t *report, tn_err *e) {
    tn_stat_rate r;
    json_t *calibration = NULL;
    if (!s->eval) return TN_OK;
    TN_TRY(tn_eval_reward_pairs(scorer, s->eval, &r, &calibration, e));
    bool ok = json_object_set_new(report, "accuracy", json_real(r.rate)) == 0;
    if (calibration) ok = ok && json_object_set(report, "ece", json_object_get(calibration, "ece")) == 0;
    json_decref(calibration);
    return ok ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static tn_status judge(void *ctx, const char *dir, json_t *report, tn_err *e) {
    session *s = ctx;
    tn_scorer scorer = {0};
    const tn_load frozen = {.base = tn_opts_str(s->opts, "base-model"), .frozen = true};
    tn_status st = tn_scorer_open_with(&scorer, dir, dir, s->be, (int)s->t.micro_tokens, 2048, &frozen, e);
    if (st == TN_OK) st = tn_scorer_no_cost(&scorer, dir, e);
    if (st == TN_OK) st = tn_scorer_scores(&scorer, s->data->ex, (int)s->data->n, NULL, s->score, e);
    for (size_t i = 0; st == TN_OK && i < s->data->n; i++)
        s->rows.v[s->data->ex[i].row - 1].gap = s->score[2 * i] - s->score[2 * i + 1];
    if (st == TN_OK) st = held_out(s, &scorer, report, e);
    tn_scorer_close(&scorer);
    return st;
}

/* --first-labeller: the rows' own word becomes people's, where they have no other. */
static tn_status first_labels(session *s, tn_err *e) {
    json_t *report = json_object();
    size_t agree = 0;
    tn_status st = report ? judge(s, s->o.first, report, e) : tn_fail(e, TN_NOMEM, "out of memory");
    for (size_t i = 0; st == TN_OK && i < s->rows.n; i++) {
        tn_rlthf_pair *p = &s->rows.v[i];
        if (!p->human) p->human = p->label;
        if (!p->truth) p->truth = p->human > 0 ? p->human : p->label;
        if (p->gap != 0) p->label = p->gap > 0 ? 1 : 2;
        agree += !p->out && p->label == p->truth;
    }
    if (st == TN_OK) tn_info("%s labels %.3f of %zu pairs as the rows do", s->o.first, (double)agree / (double)s->data->n, s->data->n);
    json_decref(report);
    return st;
}

/* ---- set-up ---- */

static tn_status check(session *s, tn_err *e) {
    const tn_train_options *t = &s->t;
    if (!t->model) return tn_fail(e, TN_ARG, "--model is missing; give the folder that reward models start from");
    if (!t->data.n)
        return tn_fail(e, TN_ARG, "--data is missing; give pairs that a first labeller has labelled (see tenet label)");
    if (!t->output_dir) return tn_fail(e, TN_ARG, "--output-dir is missing; say where the rounds go");
    const tn_rounds_run r = rounds_of(s);
    return tn_rounds_check(&r, e);
}

static tn_status load(session *s, tn_err *e) {
    const tn_train_options *t = &s->t;
    tn_desc d;
    const tn_load how = {.base = tn_opts_str(s->opts, "base-model"), .want_score = true};
    tn_data_options q = {.kind = TN_DATA_PREFERENCE,
                         .max_length = (int)t->max_length,
                         .drop_long = true,
                         .chat_transcripts = !strcmp(t->transcripts, "chat"),
                         .seam = !strcmp(t->seam, "force") ? TN_SEAM_FORCE : TN_SEAM_TRL};
    TN_TRY(tn_rlthf_read(&s->rows, t->data.v, t->data.n, e));
    TN_TRY(tn_backend_from_options(&s->be, t, e));
    TN_TRY(tn_tokenizer_of(&s->tok, t->model, how.base, t->chat_template, e));
    TN_TRY(tn_model_peek(&d, t->model, &how, e));
    q.vocab = d.vocab;
    TN_TRY(tn_dataset_load(&s->data, t->data.v, t->data.n, s->tok, &q, e));
    if (t->eval_data.n) TN_TRY(tn_dataset_load(&s->eval, t->eval_data.v, t->eval_data.n, s->tok, &q, e));
    for (size_t i = 0; i < s->rows.n; i++) s->rows.v[i].out = true;
    for (size_t i = 0; i < s->data->n; i++) s->rows.v[s->data->ex[i].row - 1].out = false;
    s->score = tn_calloc(2 * s->data->n, sizeof *s->score);
    if (!s->score) return tn_fail(e, TN_NOMEM, "out of memory");
    return s->o.first ? first_labels(s, e) : TN_OK;
}

/* metrics.jsonl as a table. */
static tn_status print_rounds(const session *s, tn_err *e) {
    tn_str p = TN_STR_INIT;
    tn_lines *in;
    tn_path_join(&p, s->t.output_dir, "metrics.jsonl");
    TN_TRY(tn_lines_open(&in, p.s, (size_t)1 << 20, e));
    printf("%5s %7s %7s %8s %7s %8s %9s %9s %8s\n", "round", "people", "share", "changed", "turned", "rows", "trained", "labels",
           "accuracy");
    tn_status st = TN_OK;
    for (json_t *r; st == TN_OK;) {
        static const struct {
            const char *key, *format;
        } cell[] = {{"step", "%5.0f"}, {"people", " %7.0f"}, {"share", " %7.3f"}, {"changed", " %8.3f"}, {"turned", " %7.0f"},
                    {"rows", " %8.0f"}, {"trained_right", " %9.3f"}, {"labels", " %9.3f"}, {"accuracy", " %8.3f"}};
        st = tn_jsonl_next(in, p.s, &r, e);
        if (st != TN_OK || !r) break;
        for (size_t i = 0; i < sizeof cell / sizeof *cell; i++) {
            const json_t *v = json_object_get(r, cell[i].key);
            if (json_is_number(v)) printf(cell[i].format, json_number_value(v));
            else printf(i < 3 ? "%8s" : i == 4 ? "%8s" : "%9s", "-");
        }
        printf("\n");
        json_decref(r);
    }
    printf("people: pairs asked about so far, share: of all pairs; changed: answers that were not the label; trained, labels: share\n"
           "right, of what was trained on and of the final labels, where rows say the truth; accuracy: on --eval-data.\n");
    tn_lines_close(in);
    tn_str_free(&p);
    return st;
}

static tn_status work(session *s, tn_err *e) {
    bool waiting;
    int round;
    TN_TRY(check(s, e));
    TN_TRY(load(s, e));
    const tn_rounds_run r = rounds_of(s);
    TN_TRY(tn_rounds_open(&r, &s->lock, e));
    const tn_rlthf_loop l = {.opt = &s->method,
                             .rows = &s->rows,
                             .dir = s->t.output_dir,
                             .seed = (uint64_t)s->t.seed,
                             .targeted = !strcmp(s->o.select, "targeted"),
                             .simulate = !strcmp(s->o.human, "rows"),
                             .ctx = s,
                             .train = train,
                             .judge = judge};
    TN_TRY(tn_rlthf_run(&l, &waiting, &round, e));
    if (waiting) {
        printf("Round %d: %s/round-%d/to_label.jsonl has pairs for people. Copy it to labelled.jsonl beside it, replace each\n"
               "\"better\": null by 1 (the first is better), 2 (the second) or 0 (cannot say), and give the same command again.\n",
               round, s->t.output_dir, round);
        return TN_OK;
    }
    return print_rounds(s, e);
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    session s = {.opts = opts, .lock = -1};
    tn_opts_bind(opts, rows, &s.o);
    tn_opts_bind(opts, tn_rlthf_rows, &s.method);
    tn_opts_bind(opts, tn_train_option_rows, &s.t);
    tn_opts_bind(opts, tn_machine_option_rows, &s.t);
    tn_status st = work(&s, e);
    st = tn_profile_finish(s.be, st, e);
    tn_rlthf_pairs_free(&s.rows);
    tn_free(s.score);
    tn_dataset_free(s.data);
    tn_dataset_free(s.eval);
    tn_tokenizer_free(s.tok);
    tn_unlock_dir(s.lock);
    tn_backend_free(s.be);
    return st;
}

static const tn_opt_row *const tables[] = {rows, tn_rlthf_rows, tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows,
                                           tn_reward_head_rows, tn_reward_rows, tn_inform_rows, tn_odin_rows, tn_many_rows, NULL};
const tn_verb tn_verb_rlthf = {
    .goes_on = true,
    .name = "rlthf", .stage = "Train", .summary = "targeted human feedback: people label the few pairs that a machine got wrong",
    .details =
        "Rows: pairs with a first labeller's word, as `tenet label` writes them ({\"prompt\",\"responses\",\"rank\"}) or\n"
        "{\"prompt\",\"chosen\",\"rejected\"}, or any pairs with --first-labeller. Each round trains a reward model (all options of\n"
        "`tenet reward`), looks where it resists the labels it was trained on, turns the clear errors round, and asks people\n"
        "about the doubtful ones. The last round's model is round-N/reward, the labels of all pairs are labels.jsonl, and\n"
        "metrics.jsonl says what the annotations bought (`tenet report --runs` draws it).\n\n"
        "  tenet label --model judge/ --input pairs.jsonl --out labelled.jsonl\n"
        "  tenet rlthf --model sft/ --data labelled.jsonl --output-dir rlthf/ --rlthf-human 0.07",
    .tables = tables, .run = run};
