/* tenet dpo: direct preference optimisation from the same comparisons that reward models take. */
#include "algo/losses.h"
#include "train/trainer.h"

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_dpo_opt opt;
    tn_opts_bind(o, tn_dpo_rows, &opt);
    tn_task task = {.verb = "dpo",
                    .data = TN_DATA_PREFERENCE,
                    .algo = &tn_algo_dpo,
                    .opt = &opt,
                    .default_lr = 1e-6,
                    .rankings = TN_RANKINGS_AS_PAIRS,
                    .reference = true,
                    .ref_model = tn_opts_str(o, "ref-model"),
                    .precompute_ref = tn_opts_bool(o, "precompute-ref-log-probs")};
    return tn_task_run(&task, o, e);
}

static const tn_opt_row rows[] = {
    {"ref-model", TN_OPT_STRING, TN_OPT_NOFIELD, NULL, NULL, 0, 0, "ref_model_name_or_path", "DIR",
     "Reference model; default: the starting model."},
    {"precompute-ref-log-probs", TN_OPT_BOOL, TN_OPT_NOFIELD, "false", NULL, 0, 0, NULL, NULL,
     "Compute every reference log-prob before the first step. Without it they are computed when "
     "first needed; either way once."},
    TN_OPT_LAST};
static const tn_opt_row *const tables[] = {
    tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows, rows, tn_dpo_rows, NULL};

const tn_verb tn_verb_dpo = {
    .name = "dpo",
    .stage = "Train",
    .summary = "direct preference optimisation",
    .details = "Rows as for `tenet reward`. A prompt is computed once for all its responses.\n\n"
               "  tenet dpo --model sft/ --data prefs.jsonl --output-dir dpo/ --beta 0.1",
    .tables = tables,
    .run = run};
