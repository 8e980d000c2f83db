/* tenet orpo: supervised fine-tuning and preferences in one stage, without a reference. */
#include "algo/losses.h"
#include "train/trainer.h"

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_orpo_opt opt;
    tn_opts_bind(o, tn_orpo_rows, &opt);
    tn_task task = {.verb = "orpo",
                    .data = TN_DATA_PREFERENCE,
                    .algo = &tn_algo_orpo,
                    .opt = &opt,
                    .default_lr = 1e-6,
                    .rankings = TN_RANKINGS_AS_PAIRS};
    return tn_task_run(&task, o, e);
}

static const tn_opt_row *const tables[] = {tn_train_option_rows, tn_machine_option_rows,
                                           tn_adapter_option_rows, tn_orpo_rows, NULL};

const tn_verb tn_verb_orpo = {.name = "orpo",
                              .stage = "Train",
                              .summary = "likelihood and odds ratio in one stage (ORPO)",
                              .details = "Rows as for `tenet dpo`; --model is the base model, "
                                         "there is no reference. The loss is the likelihood\n"
                                         "of prompt and chosen response (--nll completion: of the "
                                         "response) plus beta times the odds-ratio\n"
                                         "term. Rows are prepared as for dpo: an over-long row is "
                                         "cut at --max-length as a whole, while TRL cuts\n"
                                         "each response alone, puts the beginning-of-sequence "
                                         "token before every prompt and its end after every\n"
                                         "response.\n\n"
                                         "  tenet orpo --model base/ --data prefs.jsonl "
                                         "--output-dir orpo/ --beta 0.1 --learning-rate 8e-6",
                              .tables = tables,
                              .run = run};
