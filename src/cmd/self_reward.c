/* tenet self-reward: a model that judges its own answers and learns from that, in rounds. */
#include "rl/self_reward.h"
#include "algo/losses.h"
#include "base/signals.h"
#include "cmd/rounds.h"
#include "cmd/verbs.h"
#include "ops/profile.h"
#include "oversight/asker.h"
#include "rl/rewards.h"
#include "world/reward.h"
#include <string.h>

typedef struct session {
    tn_self_reward_options o;
    tn_train_options t;
    const tn_opts *opts;
    int lock;
    tn_backend *be;
    tn_tokenizer *tok;
    tn_dataset *prompts;
    const tn_reward_fn *truth;
    void *truth_state;
} session;

static tn_rounds_run rounds_of(const session *s) {
    static const char *const files[] = {NULL};
    return (tn_rounds_run){"self-reward", s->opts, &s->t, s->be, s->prompts ? s->prompts->hash : 0, files};
}

static tn_status train(void *ctx, const char *from, const char *data, const char *to, tn_err *e) {
    session *s = ctx;
    const tn_rounds_run r = rounds_of(s);
    return tn_rounds_train(&r, &tn_verb_dpo, to, json_pack("{s:s,s:[s]}", "model", from, "data", data), e);
}

/* ---- set-up ---- */

static tn_status open_truth(session *s, tn_err *e) {
    const char *argument;
    if (!s->o.truth) return TN_OK;
    TN_TRY(tn_reward_fn_named(s->o.truth, tn_world_reward_fns, &s->truth, &argument, e));
    return s->truth->open ? s->truth->open(&s->truth_state, argument, e) : TN_OK;
}

static tn_status check(session *s, tn_err *e) {
    const tn_train_options *t = &s->t;
    const tn_rounds_run r = rounds_of(s);
    if (!t->model) return tn_fail(e, TN_ARG, "--model is missing; give the folder that the first round begins with");
    if (!t->data.n) return tn_fail(e, TN_ARG, "--data is missing; give prompts");
    if (!t->output_dir) return tn_fail(e, TN_ARG, "--output-dir is missing; say where the rounds go");
    if (tn_adapter_folder(t->model)) return tn_fail(e, TN_ARG, "--model %s is an adapter; merge it (`tenet merge`): rounds train all weights", t->model);
    if (tn_endpoint_is(s->o.judge)) return tn_fail(e, TN_ARG, "--judge %s: give a model's folder; an endpoint's replies are not kept by round", s->o.judge);
    TN_TRY(tn_appraise_check(&s->o.appraise, (int)s->o.answers, e));
    return tn_rounds_check(&r, e);
}

static tn_status load(session *s, tn_err *e) {
    const tn_train_options *t = &s->t;
    tn_desc d;
    TN_TRY(tn_backend_from_options(&s->be, t, e));
    TN_TRY(tn_tokenizer_of(&s->tok, t->model, NULL, t->chat_template, e));
    if (!s->tok) return tn_fail(e, TN_STATE, "%s has no tokenizer.json, and is to read and write texts", t->model);
    TN_TRY(tn_model_peek(&d, t->model, &(tn_load){0}, e));
    const tn_data_options q = {.kind = TN_DATA_PROMPT, .max_length = (int)t->max_length, .seam = TN_SEAM_FORCE, .vocab = d.vocab,
                               .chat_transcripts = !strcmp(t->transcripts, "chat")};
    TN_TRY(tn_dataset_load(&s->prompts, t->data.v, t->data.n, s->tok, &q, e));
    if (s->prompts->n < (size_t)s->o.rounds)
        return tn_fail(e, TN_ARG, "%zu prompts are fewer than the %d rounds, each of which takes its part", s->prompts->n, (int)s->o.rounds);
    for (size_t i = 0; i < s->prompts->n; i++) {
        const tn_example *x = &s->prompts->ex[i];
        char where[600];
        snprintf(where, sizeof where, "%.560s:%d", s->prompts->path[x->file], x->line);
        TN_TRY(tn_appraise_fits(&s->o.appraise, s->o.label.kind_key, x->meta, where, e));
    }
    return open_truth(s, e);
}

/* metrics.jsonl as a table. */
static tn_status print_rounds(const session *s, const char *result, tn_err *e) {
    static const struct { const char *key, *name, *format; } cell[] = {
        {"step", "round", "%8.0f"}, {"pairs", "pairs", "%8.0f"}, {"judge/margin", "margin", "%8.3f"}, {"judge/accuracy", "accuracy", "%8.3f"},
        {"true_reward", "worth", "%8.3f"}, {"completions/mean_length", "length", "%8.1f"}, {"chosen_longer", "longer", "%8.2f"}};
    enum { CELLS = sizeof cell / sizeof *cell };
    tn_str p = TN_STR_INIT;
    tn_lines *in;
    json_t *r = NULL;
    tn_path_join(&p, s->t.output_dir, "metrics.jsonl");
    TN_TRY(tn_lines_open(&in, p.s, (size_t)1 << 20, e));
    for (int i = 0; i < CELLS; i++) printf("%8s", cell[i].name);
    printf("\n");
    tn_status st;
    while ((st = tn_jsonl_next(in, p.s, &r, e)) == TN_OK && r) {
        for (int i = 0; i < CELLS; i++) {
            const json_t *v = json_object_get(r, cell[i].key);
            if (json_is_number(v)) printf(cell[i].format, json_number_value(v));
            else printf("%8s", "-");
        }
        printf("\n");
        json_decref(r);
    }
    printf("margin: |p - 1/2| of the judge; accuracy: of its word on answers of different worth, by --truth; worth, length: of the round's\n"
           "answers, by the model that it begins with; longer: tokens that chosen answers have more than rejected ones.\n%s is the last model.\n", result);
    tn_lines_close(in);
    tn_str_free(&p);
    return st;
}

static tn_status work(session *s, tn_err *e) {
    char *result = NULL;
    TN_TRY(check(s, e));
    TN_TRY(load(s, e));
    const tn_rounds_run r = rounds_of(s);
    TN_TRY(tn_rounds_open(&r, &s->lock, e));
    tn_signals_install();
    const tn_self_reward_loop l = {.o = &s->o, .prompts = s->prompts, .model = s->t.model, .chat_template = s->t.chat_template,
                                   .dir = s->t.output_dir, .seed = (uint64_t)s->t.seed, .be = s->be, .truth = s->truth,
                                   .truth_state = s->truth_state, .ctx = s, .train = train};
    tn_status st = tn_self_reward_run(&l, &result, e);
    if (st == TN_OK) st = print_rounds(s, result, e);
    tn_free(result);
    return st;
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    session s = {.opts = opts, .lock = -1};
    tn_opts_bind(opts, tn_self_reward_rows, &s.o);
    tn_opts_bind(opts, tn_appraise_rows, &s.o.appraise);
    tn_opts_bind(opts, tn_label_option_rows, &s.o.label);
    tn_opts_bind(opts, tn_train_option_rows, &s.t);
    tn_opts_bind(opts, tn_machine_option_rows, &s.t);
    tn_status st = tn_profile_finish(s.be, work(&s, e), e);
    if (s.truth && s.truth->close) s.truth->close(s.truth_state);
    tn_dataset_free(s.prompts);
    tn_tokenizer_free(s.tok);
    tn_backend_free(s.be);
    tn_unlock_dir(s.lock);
    return st;
}

static const tn_opt_row *const tables[] = {tn_self_reward_rows,  tn_appraise_rows,       tn_label_option_rows,
                                           tn_train_option_rows, tn_machine_option_rows, tn_dpo_rows, NULL};

const tn_verb tn_verb_self_reward = {
    .goes_on = true, .name = "self-reward", .stage = "Train", .summary = "self-rewarding: a model judges its own answers and learns from that, in rounds",
    .details = "Rows: {\"prompt\"} or {\"messages\"}. In each round the model answers its part of the prompts --num-generations times, judges the\n"
               "answers as `tenet label` would, and learns from the best and the worst of each prompt by DPO, against itself as it was; the\n"
               "other options are those of `tenet dpo`. Models that were taught to choose between (A) and (B) compare answers with each\n"
               "other; larger ones may also give scores, after --thoughts. A run that was interrupted goes on when the same command is\n"
               "given again, to the same bytes.\n\n"
               "  tenet self-reward --model sft/ --data prompts.jsonl --rounds 3 --output-dir self/\n"
               "  tenet self-reward --model sft/ --judge-asks score --thoughts 3 --data prompts.jsonl --output-dir self/",
    .tables = tables, .run = run};
