/* tenet rlthf: people correct what a first labeller got wrong, where a reward model resists. */
#include "rl/rlthf.h"
#include "algo/losses.h"
#include "algo/pooled.h"
#include "base/log.h"
#include "cmd/verbs.h"
#include "eval/eval.h"
#include "ops/profile.h"
#include "train/trainer.h"
#include <string.h>

typedef struct rlthf_options {
    const char *human, *select;
} rlthf_options;

#define AT(f) offsetof(rlthf_options, f)
static const tn_opt_row rows[] = {
    {"human", TN_OPT_CHOICE, AT(human), "file", "file|rows", 0, 0, NULL, NULL,
     "Who answers. file: each round writes to_label.jsonl and the run ends; when labelled.jsonl is there, the same command "
     "goes on. rows: the rows' \"human\" members, for experiments."},
    {"select", TN_OPT_CHOICE, AT(select), "targeted", "targeted|random", 0, 0, NULL, NULL,
     "Whom people are asked about: targeted as the method says; random: anyone, and nothing is turned or left out (the "
     "baseline)."},
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

static bool is_ours(const char *name) {
    for (const tn_opt_row *r = rows; r->name; r++)
        if (!strcmp(r->name, name)) return true;
    return !strncmp(name, "rlthf-", 6);
}

/* Is there a checkpoint to go on from? */
static tn_status has_checkpoint(const char *dir, bool *yes, tn_err *e) {
    char **names = NULL;
    size_t n = 0;
    *yes = false;
    if (!tn_is_dir(dir)) return TN_OK;
    TN_TRY(tn_list_dir(dir, &names, &n, e));
    for (size_t i = 0; i < n; i++) {
        *yes |= !strncmp(names[i], "checkpoint-", 11) && !strchr(names[i], '.');
        tn_free(names[i]);
    }
    tn_free(names);
    return TN_OK;
}

static tn_status reward_options(session *s, const char *data, const char *dir, json_t **out, tn_err *e) {
    json_t *all = tn_opts_record(s->opts), *o = json_object(), *v;
    const char *name;
    bool again, ok = all && o;
    tn_status st = has_checkpoint(dir, &again, e);
    json_object_foreach(all, name, v)
        if (!json_is_null(v) && !is_ours(name)) ok = ok && json_object_set(o, name, v) == 0;
    ok = ok && json_object_set_new(o, "data", json_pack("[s]", data)) == 0 &&
         json_object_set_new(o, "output-dir", json_string(dir)) == 0 &&
         json_object_set_new(o, "overwrite", json_boolean(!again)) == 0;
    if (ok && again) ok = json_object_set_new(o, "resume-from-checkpoint", json_string("latest")) == 0;
    json_decref(all);
    if (st == TN_OK && !ok) st = tn_fail(e, TN_NOMEM, "out of memory");
    if (st == TN_OK) *out = o;
    else json_decref(o);
    return st;
}

static tn_status train(void *ctx, const char *data, const char *dir, tn_err *e) {
    session *s = ctx;
    json_t *o = NULL;
    tn_opts *opts = NULL;
    TN_TRY(reward_options(s, data, dir, &o, e));
    tn_status st = tn_opts_from_json(&tn_verb_reward, o, "options of rlthf", &opts, e);
    if (st == TN_OK) st = tn_verb_reward.run(opts, e);
    tn_opts_free(opts);
    json_decref(o);
    return st == TN_INTERRUPTED ? tn_fail(e, st, "stopped while a reward model was trained; the same command goes on") : st;
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
    if (st == TN_OK) st = tn_scorer_scores(&scorer, s->data->ex, (int)s->data->n, NULL, s->score, e);
    for (size_t i = 0; st == TN_OK && i < s->data->n; i++)
        s->rows.v[s->data->ex[i].row - 1].gap = s->score[2 * i] - s->score[2 * i + 1];
    if (st == TN_OK) st = held_out(s, &scorer, report, e);
    tn_scorer_close(&scorer);
    return st;
}

/* ---- set-up ---- */

static tn_status check(session *s, tn_err *e) {
    const tn_train_options *t = &s->t;
    if (!t->model) return tn_fail(e, TN_ARG, "--model is missing; give the folder that reward models start from");
    if (!t->data.n)
        return tn_fail(e, TN_ARG, "--data is missing; give pairs that a first labeller has labelled (see tenet label)");
    if (!t->output_dir) return tn_fail(e, TN_ARG, "--output-dir is missing; say where the rounds go");
    if (t->resume) return tn_fail(e, TN_ARG, "--resume-from-checkpoint: give the same command again; it goes on by itself");
    if (t->dry_run) return tn_fail(e, TN_ARG, "--dry-run: `tenet reward --dry-run` on the same rows says what a round costs");
    if (t->ranks > 1) return tn_fail(e, TN_ARG, "--ranks %d: rlthf runs as one process", (int)t->ranks);
    if (t->max_rows) return tn_fail(e, TN_ARG, "--max-rows: rounds copy rows; shorten --data instead, or set --rlthf-shard");
    return TN_OK;
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
    return s->score ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

/* Rounds of another run are removed, or refused. */
static tn_status clear(const session *s, tn_err *e) {
    char **names = NULL;
    size_t n = 0;
    tn_str p = TN_STR_INIT;
    tn_status st = tn_list_dir(s->t.output_dir, &names, &n, e);
    for (size_t i = 0; i < n; i++) {
        bool ours = !strncmp(names[i], "round-", 6) || !strcmp(names[i], "metrics.jsonl") || !strcmp(names[i], "labels.jsonl") ||
                    !strcmp(names[i], "tenet.json");
        tn_path_join(&p, s->t.output_dir, names[i]);
        if (st == TN_OK && ours) st = p.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_remove_tree(p.s, e);
        tn_free(names[i]);
    }
    tn_free(names);
    tn_str_free(&p);
    return st;
}

/* Options that may differ between the commands of one run. */
static bool is_free(const char *name) {
    static const char *const names[] = {"output-dir", "threads", "overwrite", "data", "eval-data", "model", "max-memory", "profile",
                                        "save-steps", "save-total-limit", "report-to", "logging-dir", "recompute",
                                        "gradient-checkpointing"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name)) return true;
    return false;
}

static tn_status same_run(const char *path, const json_t *was, const json_t *is, tn_err *e) {
    static const char *const parts[] = {"verb", "inputs", "data_hash", "profile"};
    const char *name;
    json_t *v, *old = json_object_get(was, "options"), *now = json_object_get(is, "options");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!json_equal(json_object_get(was, parts[i]), json_object_get(is, parts[i])))
            return tn_fail(e, TN_STATE, "%s was begun with another %s; rounds do not mix: give another --output-dir, or --overwrite",
                           path, parts[i]);
    json_object_foreach(now, name, v)
        if (!is_free(name) && !json_equal(json_object_get(old, name), v))
            return tn_fail(e, TN_STATE,
                           "%s was begun with another --%s; rounds do not mix: give another --output-dir, or --overwrite", path,
                           name);
    return TN_OK;
}

/* The folder is this run's: its record is there, or is written. */
static tn_status open_run(session *s, tn_err *e) {
    json_t *record = NULL, *was = NULL;
    tn_str p = TN_STR_INIT;
    TN_TRY(tn_mkdirs(s->t.output_dir, e));
    TN_TRY(tn_lock_dir(s->t.output_dir, &s->lock, e));
    TN_TRY(tn_commit_mend(s->t.output_dir, e));
    if (s->t.overwrite) TN_TRY(clear(s, e));
    TN_TRY(tn_run_record(&record, "rlthf", s->opts, s->be, s->data->hash, e));
    tn_path_join(&p, s->t.output_dir, "tenet.json");
    tn_status st = p.oom ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
    if (st == TN_OK && tn_exists(p.s)) {
        st = tn_json_load(p.s, &was, e);
        if (st == TN_OK) st = same_run(p.s, was, record, e);
    } else if (st == TN_OK) {
        st = tn_json_save(p.s, record, false, e);
    }
    json_decref(record);
    json_decref(was);
    tn_str_free(&p);
    return st;
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
    TN_TRY(open_run(s, e));
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
        "{\"prompt\",\"chosen\",\"rejected\"}. Each round trains a reward model (all options of `tenet reward`), looks where it\n"
        "resists the labels it was trained on, turns the clear errors round, and asks people about the doubtful ones. The\n"
        "last round's model is round-N/reward, the labels of all pairs are labels.jsonl, and metrics.jsonl says what the\n"
        "annotations bought (`tenet report --runs` draws it).\n\n"
        "  tenet label --model judge/ --input pairs.jsonl --out labelled.jsonl\n"
        "  tenet rlthf --model sft/ --data labelled.jsonl --output-dir rlthf/ --rlthf-human 0.07",
    .tables = tables, .run = run};
