/* tenet prm: a process reward model, which judges every step of a solution. */
#include "algo/losses.h"
#include "train/trainer.h"
#include <string.h>

typedef struct prm_options {
    const char *separator;
    bool last_only;
    int64_t max_prompt;
    double head_init;
} prm_options;

#define AT(f) offsetof(prm_options, f)
static const tn_opt_row rows[] = {
    {"step-separator", TN_OPT_STRING, AT(separator), "\n", NULL, 0, 0, NULL, "TEXT",
     "Put behind every step; at its last token the step is judged."},
    {"train-on-last-step-only", TN_OPT_BOOL, AT(last_only), "false", NULL, 0, 0, NULL, NULL,
     "Train on the last step's label alone (an outcome reward model); evaluation reads all."},
    {"max-prompt-length", TN_OPT_INT, AT(max_prompt), "512", NULL, 0, 0, NULL, "N",
     "Most tokens of a prompt, its last ones; 0: all. What --max-length cuts then are later steps."},
    {"head-init", TN_OPT_REAL, AT(head_init), NULL, NULL, 0, 1e3, NULL, "SD",
     "Standard deviation of a new head's weights; default: the model's initializer_range, as "
     "transformers does. 0: zeros."},
    TN_OPT_LAST};

static tn_status run(const tn_opts *o, tn_err *e) {
    prm_options q;
    tn_opts_bind(o, rows, &q);
    if (strcmp(tn_opts_str(o, "truncation-mode"), "keep_end") == 0)
        return tn_fail(e, TN_ARG, "--truncation-mode keep_end: first steps cannot be left out, later ones can");
    if (tn_opts_bool(o, "use-peft"))
        return tn_fail(e, TN_UNSUPPORTED, "--use-peft: a process reward model is trained whole");
    tn_task task = {.verb = "prm",
                    .data = TN_DATA_STEPS,
                    .steps = {.separator = q.separator, .max_prompt = (int)q.max_prompt},
                    .last_step_only = q.last_only,
                    .algo = &tn_algo_prm,
                    .default_lr = 1e-5,
                    .score_head = true,
                    .per_token = true,
                    .head_init = q.head_init};
    return tn_task_run(&task, o, e);
}

static const tn_opt_row *const tables[] = {tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows, rows,
                                           NULL};

const tn_verb tn_verb_prm = {
    .name = "prm",
    .stage = "Train",
    .summary = "a process reward model from solutions with labelled steps",
    .details =
        "Rows: {\"prompt\",\"completions\":[\"step\",...],\"labels\":[true,false,...]}; a label may be a number from 0\n"
        "to 1 (the share of continuations that succeed). The result is a *ForTokenClassification folder of two\n"
        "labels; `tenet score` gives the probability that each step is right.\n\n"
        "  tenet prm --model sft/ --data steps.jsonl --eval-data held-out.jsonl --output-dir prm/",
    .tables = tables,
    .run = run};
