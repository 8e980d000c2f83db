/* tenet cpo: contrastive preference optimisation, DPO's comparison without a reference. */
#include "algo/losses.h"
#include "train/trainer.h"

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_cpo_opt opt;
    tn_opts_bind(o, tn_cpo_rows, &opt);
    tn_task task = {.verb = "cpo",
                    .data = TN_DATA_PREFERENCE,
                    .algo = &tn_algo_cpo,
                    .opt = &opt,
                    .default_lr = 1e-6,
                    .rankings = TN_RANKINGS_AS_PAIRS};
    return tn_task_run(&task, o, e);
}

static const tn_opt_row *const tables[] = {tn_train_option_rows, tn_machine_option_rows,
                                           tn_adapter_option_rows, tn_cpo_rows, NULL};

const tn_verb tn_verb_cpo = {.name = "cpo",
                             .stage = "Train",
                             .summary = "preference optimisation without a reference (CPO)",
                             .details =
                                 "Rows as for `tenet dpo`, and cut as there: where prompt and "
                                 "longer response exceed --max-length TRL\n"
                                 "shortens the responses and never the row as a whole. Losses: "
                                 "--loss-type; --cpo-alpha weighs the\n"
                                 "likelihood of the chosen responses, which holds the model in "
                                 "place of a reference. `tenet simpo` is\n"
                                 "loss type simpo with its paper's defaults.\n\n"
                                 "  tenet cpo --model sft/ --data prefs.jsonl --output-dir cpo/",
                             .tables = tables,
                             .run = run};
