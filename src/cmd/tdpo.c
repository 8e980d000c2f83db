/* tenet tdpo: preference optimisation with exact per-token divergences from the reference. */
#include "algo/losses.h"
#include "train/trainer.h"

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_tdpo_opt opt;
    tn_opts_bind(o, tn_tdpo_rows, &opt);
    tn_task task = {.verb = "tdpo",
                    .data = TN_DATA_PREFERENCE,
                    .algo = &tn_algo_tdpo,
                    .opt = &opt,
                    .default_lr = 1e-6,
                    .rankings = TN_RANKINGS_AS_PAIRS,
                    .reference = true,
                    .ref_model = tn_opts_str(o, "ref-model")};
    return tn_task_run(&task, o, e);
}

static const tn_opt_row rows[] = {
    {"ref-model", TN_OPT_STRING, TN_OPT_NOFIELD, NULL, NULL, 0, 0, "ref_model_name_or_path", "DIR",
     "Reference model; default: the starting model."},
    TN_OPT_LAST};
static const tn_opt_row *const tables[] = {
    tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows, rows, tn_tdpo_rows, NULL};

const tn_verb tn_verb_tdpo = {
    .name = "tdpo",
    .stage = "Train",
    .summary = "token-level direct preference optimisation (TDPO)",
    .details = "Rows as for `tenet dpo`. The margin of a pair is set against how far both responses' next-token\n"
               "distributions have moved from the reference's, exactly, over the whole vocabulary; the reference runs\n"
               "along every step.\n\n"
               "  tenet tdpo --model sft/ --data prefs.jsonl --output-dir tdpo/ --beta 0.1 --alpha 0.5",
    .tables = tables,
    .run = run};
