/* tenet sdft: self-distillation from a teacher that is the model itself with a demonstration or feedback in its context. */
#include "algo/losses.h"
#include "data/teacher_prompt.h"
#include "train/answers.h"
#include "train/trainer.h"
#include <string.h>

typedef struct sdft_options {
    const char *template, *kind;
    double rate;
    int64_t sync_steps;
} sdft_options;

#define AT(f) offsetof(sdft_options, f)
static const tn_opt_row rows[] = {
    {"teacher-prompt-template", TN_OPT_STRING, AT(template), "{prompt}\n\n{privileged_context}", NULL, 0, 0, NULL,
     "TEXT", "What the teacher reads in place of the prompt (of a conversation: of its last message)."},
    {"teacher-model-kind", TN_OPT_CHOICE, AT(kind), "base", "base|live|ema", 0, 0, NULL, NULL,
     "The teacher's weights: base, the model as it was at the start; live, as it is; ema, a moving average of it."},
    {"teacher-update-rate", TN_OPT_REAL, AT(rate), "0.05", NULL, 0, 1, NULL, "X",
     "Share of the model in the moved average (ema)."},
    {"teacher-sync-steps", TN_OPT_INT, AT(sync_steps), "1", NULL, 1, 0, NULL, "N",
     "Move it after every so many steps (ema)."},
    TN_OPT_LAST};

#undef AT
#define AT(f) offsetof(tn_answers_options, f)
static const tn_opt_row answer_rows[] = {
    {"lmbda", TN_OPT_REAL, AT(lmbda), "1", NULL, 0, 1, "lambda", "X",
     "Share of the steps whose prompts are answered by the model itself; the others take the rows' completions."},
    {"temperature", TN_OPT_REAL, AT(temperature), "1", NULL, 1e-3, 100, NULL, "X",
     "Sampling temperature of answers, not of the divergence."},
    {"max-completion-length", TN_OPT_INT, AT(max_new), "256", NULL, 1, 1 << 20, "max-new-tokens", "N",
     "Longest sampled answer."},
    {"gen-batch-size", TN_OPT_INT, AT(gen_batch), "64", NULL, 1, 4096, NULL, "N",
     "Sequences decoded together; does not change results."},
    TN_OPT_LAST};

static tn_status run(const tn_opts *o, tn_err *e) {
    sdft_options q;
    tn_gkd_opt opt;
    tn_answers answers = {0};
    tn_opts_bind(o, rows, &q);
    tn_opts_bind(o, tn_sdft_rows, &opt);
    tn_opts_bind(o, answer_rows, &answers.q);
    TN_TRY(tn_teacher_template_check(q.template, e));
    bool moves = strcmp(q.kind, "ema") == 0;
    if (!moves && (tn_opts_given(o, "teacher-update-rate") || tn_opts_given(o, "teacher-sync-steps")))
        return tn_fail(e, TN_ARG, "--teacher-update-rate and --teacher-sync-steps are of --teacher-model-kind ema");
    const tn_sync_options sync = {.on = true, .mixup_alpha = q.rate, .steps = q.sync_steps};
    tn_task task = {.verb = "sdft",
                    .data = TN_DATA_SFT,
                    .algo = &tn_algo_gkd,
                    .opt = &opt,
                    .default_lr = 1e-6,
                    .reference = true,
                    .live_reference = strcmp(q.kind, "live") == 0,
                    .sync = moves ? &sync : NULL,
                    .teacher_template = q.template,
                    .pair_beta = opt.beta,
                    .answers = &answers};
    return tn_task_run(&task, o, e);
}

static const tn_opt_row *const tables[] = {
    tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows, rows, tn_sdft_rows, answer_rows, NULL};

const tn_verb tn_verb_sdft = {
    .name = "sdft",
    .stage = "Train",
    .summary = "self-distillation from the model with a demonstration in its context (SDFT)",
    .details =
        "Rows: {\"prompt\",\"privileged_context\"} or {\"prompt\",\"completion\"}, whose completion is then the "
        "demonstration. The teacher\n"
        "is the model itself, shown the prompt and that context; the student sees the prompt alone, answers it, and "
        "learns the\n"
        "teacher's distributions at the tokens of its answer, by the exact divergence over the whole vocabulary "
        "(TRL's\n"
        "full_logits).\n\n"
        "  tenet sdft --model sft/ --data demos.jsonl --output-dir sdft/\n"
        "  tenet sdft ... --distillation-alpha 1 --teacher-model-kind ema\n\n"
        "With --lmbda 0 the rows' own completions are learned from: answers that the model gave, with feedback on them "
        "as\n"
        "privileged_context, or pairs, whose right answer the teacher is shown at the tokens of the wrong one (SDPO, "
        "in rounds):\n\n"
        "  tenet step-pairs --pairs answer --model sft/ --input questions.jsonl --localise world --out pairs.jsonl\n"
        "  tenet sdft --lmbda 0 --distillation-alpha 1 --model sft/ --data pairs.jsonl --output-dir sdpo/",
    .tables = tables,
    .run = run};
