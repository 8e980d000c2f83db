/* tenet step-pairs: the data of Step-DPO, from a policy's own mistakes. */
#include "base/log.h"
#include "base/manifest.h"
#include "base/signals.h"
#include "ops/profile.h"
#include "rl/step_pairs.h"
#include "train/intro.h"
#include "train/trainer.h"
#include "world/reward.h"
#include "world/steps.h"
#include <string.h>

typedef struct command_options {
    const char *transcripts, *input, *out, *max_memory;
    bool overwrite;
} command_options;

#define AT(field) offsetof(command_options, field)
static const tn_opt_row rows[] = {
    {"model", TN_OPT_STRING, TN_OPT_NOFIELD, NULL, NULL, 0, 0, "model_name_or_path", "DIR",
     "Hugging Face folder of the policy, or of an adapter."},
    {"chat-template", TN_OPT_STRING, TN_OPT_NOFIELD, NULL, NULL, 0, 0, NULL, "NAME|FILE",
     "Override the checkpoint's chat template."},
    {"transcripts", TN_OPT_CHOICE, AT(transcripts), "text", "text|chat", 0, 0, NULL, NULL,
     "HH-RLHF transcripts, and prompts that are texts: as they are, or as conversations in the model's chat template."},
    {"input", TN_OPT_STRING, AT(input), NULL, NULL, 0, 0, "data", "FILE",
     "Rows {\"prompt\"}, {\"messages\"} or {\"ids\"} with what --localise and --verify read; with --localise labels "
     "solutions "
     "in steps."},
    {"out", TN_OPT_STRING, AT(out), NULL, NULL, 0, 0, "output", "FILE",
     "Output rows. FILE.part is what there is so far; the same command goes on with it."},
    {"max-memory", TN_OPT_STRING, AT(max_memory), NULL, NULL, 0, 0, NULL, "SIZE",
     "Refuse to start when the memory plan is larger, e.g. 8GB. What this process cannot have is refused in any case."},
    {"overwrite", TN_OPT_BOOL, AT(overwrite), "false", NULL, 0, 0, NULL, NULL, "Begin anew, whatever is there."},
    TN_OPT_LAST};

typedef struct session {
    command_options o;
    tn_step_pairs_options q;
    tn_step_judge_options judge_options;
    tn_train_options machine;
    tn_backend *be;
    tn_tokenizer *tok;
    tn_desc desc;
    tn_model *model;
    tn_dataset *data;
    tn_gen *gen;
    tn_step_judge judge;
    tn_journal *out;
    tn_step_pairs p;
} session;

static tn_status check(const session *s, const char *dir, tn_err *e) {
    if (!dir) return tn_fail(e, TN_ARG, "--model is missing; give a Hugging Face folder");
    if (!s->o.input || strcmp(s->o.input, "-") == 0)
        return tn_fail(e, TN_ARG, "--input is missing; give a file of prompts, or of solutions in labelled steps");
    if (!s->o.out || strcmp(s->o.out, "-") == 0)
        return tn_fail(e, TN_ARG, "--out is missing; give the file of pairs to make");
    if (!*s->q.separator) return tn_fail(e, TN_ARG, "--step-separator is empty: where does a step end?");
    TN_TRY(tn_step_judge_check(&s->judge_options, tn_world_step_oracles, tn_world_reward_fns, e));
    if (strcmp(s->judge_options.localise, "labels") == 0 && strcmp(s->q.pairs, "answer") == 0)
        return tn_fail(e, TN_ARG, "--pairs answer compares sampled answers, and --localise labels samples none");
    return TN_OK;
}

/* Options that do not touch what is written. */
static bool is_free(const char *name) {
    static const char *const free_names[] = {"model",        "base-model", "reward-model", "input",   "out",
                                             "overwrite",    "threads",    "backend",      "kernels", "batch-size",
                                             "score-tokens", "profile",    "max-memory"};
    for (size_t i = 0; i < sizeof free_names / sizeof *free_names; i++)
        if (!strcmp(name, free_names[i])) return true;
    return false;
}

/* What the rows are made of: options, models and input by checksum, numeric profile. */
static tn_status describe(session *s, const tn_opts *opts, tn_str *what, tn_err *e) {
    uint64_t hash = 1, bytes;
    json_t *record = NULL;
    const char *name;
    json_t *v;
    void *next;
    TN_TRY(tn_hash_file(s->o.input, s->data->hash, &hash, &bytes, e));
    TN_TRY(tn_run_record(&record, "step-pairs", opts, s->be, hash, e));
    json_t *options = json_object_get(record, "options");
    json_object_foreach_safe(options, next, name, v) if (is_free(name)) json_object_del(options, name);
    tn_status st = tn_json_add(what, record, JSON_COMPACT | JSON_SORT_KEYS, "the run's record", e);
    json_decref(record);
    return st;
}

static tn_status open_policy(session *s, const tn_opts *opts, const char *dir, tn_err *e) {
    const char *base = tn_opts_str(opts, "base-model");
    TN_TRY(tn_backend_from_options(&s->be, &s->machine, e));
    TN_TRY(tn_tokenizer_of(&s->tok, dir, base, tn_opts_str(opts, "chat-template"), e));
    if (!s->tok) return tn_fail(e, TN_STATE, "%s has no tokenizer.json, and steps are found in text", dir);
    TN_TRY(tn_model_peek(&s->desc, dir, &(tn_load){.base = base, .frozen = true}, e));
    if (s->desc.num_labels) return tn_fail(e, TN_STATE, "%s is a reward model; it does not generate", dir);
    return TN_OK;
}

/* Solutions that are judged together, at most. */
static int judged_together(const session *s) { return (int)(4 * s->q.batch + s->q.n); }

static tn_status plan_memory(session *s, const char *dir, int length, tn_err *e) {
    tn_budget b = {0};
    tn_lora_spec own;
    TN_TRY(tn_adapter_peek(&own, dir, e));
    tn_budget_present(&b);
    tn_budget_frozen(&b, "policy", &s->desc, s->be, false);
    if (own.rank) tn_budget_adapter(&b, "policy", &s->desc, &own, s->be, false, false);
    tn_gen_budget(&b, NULL, &s->desc, s->be, (int)s->q.batch, length, 0);
    TN_TRY(tn_step_judge_budget(&s->judge_options, s->be, length, judged_together(s), &b, e));
    return tn_intro_memory(&b, s->o.max_memory, e);
}

static tn_status work(session *s, const tn_opts *opts, tn_err *e) {
    const char *dir = tn_opts_str(opts, "model");
    int length;
    tn_str what = TN_STR_INIT;
    TN_TRY(check(s, dir, e));
    TN_TRY(open_policy(s, opts, dir, e));
    tn_data_options q = {.kind = TN_DATA_PROMPT,
                         .vocab = s->desc.vocab,
                         .seam = TN_SEAM_FORCE,
                         .chat_transcripts = strcmp(s->o.transcripts, "chat") == 0};
    TN_TRY(tn_dataset_load(&s->data, &s->o.input, 1, s->tok, &q, e));
    bool labels = strcmp(s->judge_options.localise, "labels") == 0;
    TN_TRY(tn_step_pairs_measure(s->data, s->tok, &s->q, labels, q.vocab, &length, e));
    TN_TRY(plan_memory(s, dir, length, e));
    TN_TRY(tn_model_load(&s->model, dir, s->be, &(tn_load){.base = tn_opts_str(opts, "base-model"), .frozen = true}, e));
    TN_TRY(tn_step_judge_open(&s->judge, &s->judge_options, tn_world_step_oracles, tn_world_reward_fns, s->tok,
                              s->q.separator, dir, s->be, length, (int)s->q.max_new, judged_together(s), e));
    TN_TRY(tn_gen_new(&s->gen, s->model, (int)s->q.batch, length, e));
    tn_status st = describe(s, opts, &what, e);
    if (st == TN_OK) st = tn_journal_open(&s->out, s->o.out, what.s, s->o.overwrite, tn_step_pairs_note, &s->p.all, e);
    tn_str_free(&what);
    TN_TRY(st);
    s->p = (tn_step_pairs){.o = &s->q,
                           .rows = s->data,
                           .tok = s->tok,
                           .model = s->model,
                           .gen = s->gen,
                           .judge = &s->judge,
                           .out = s->out,
                           .seed = (uint64_t)s->machine.seed,
                           .all = s->p.all};
    tn_signals_install();
    if (tn_journal_groups(s->out)) tn_info("going on after row %ld of %zu", tn_journal_groups(s->out), s->data->n);
    TN_TRY(tn_step_pairs_run(&s->p, e));
    TN_TRY(tn_journal_finish(s->out, e));
    tn_step_pairs_print(&s->p.all, strcmp(s->q.pairs, "step") == 0);
    tn_info("peak of memory: %.1f MB", (double)tn_peak_memory() / 1e6);
    return TN_OK;
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    session s;
    memset(&s, 0, sizeof s);
    tn_opts_bind(opts, rows, &s.o);
    tn_opts_bind(opts, tn_step_pairs_rows, &s.q);
    tn_opts_bind(opts, tn_step_judge_rows, &s.judge_options);
    tn_opts_bind(opts, tn_machine_option_rows, &s.machine);
    tn_status st = work(&s, opts, e);
    tn_journal_close(s.out);
    st = tn_profile_finish(s.be, st, e);
    tn_gen_free(s.gen);
    tn_step_judge_close(&s.judge);
    tn_dataset_free(s.data);
    tn_model_free(s.model);
    tn_tokenizer_free(s.tok);
    tn_backend_free(s.be);
    return st;
}

static const tn_opt_row *const tables[] = {
    rows, tn_step_pairs_rows, tn_step_judge_rows, tn_base_model_rows, tn_machine_option_rows, NULL};
const tn_verb tn_verb_step_pairs = {
    .name = "step-pairs",
    .stage = "Train",
    .summary = "pairs for Step-DPO: a right next step against the policy's own first wrong one",
    .details = "Solutions are sampled, the first wrong step of a wrong one is found and cut off, and continuations "
               "from there are\n"
               "sampled until one is right. Rows out have the steps before as prefix and the two next steps as chosen "
               "and rejected, as\n"
               "text and as the sampled token ids; `tenet dpo` trains on the steps alone. A killed run goes on where "
               "it was.\n\n"
               "  tenet step-pairs --model sft/ --input gsm8k.jsonl --localise prm --reward-model prm/ --verify "
               "number:answer --out pairs.jsonl\n"
               "  tenet step-pairs --model sft/ --input prm800k.jsonl --localise labels --verify number:answer --out "
               "pairs.jsonl\n"
               "  tenet dpo --model sft/ --data pairs.jsonl --beta 0.4 --output-dir step-dpo/",
    .tables = tables,
    .run = run};
