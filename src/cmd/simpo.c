/* tenet simpo: log-probabilities per token against a margin, without a reference. */
#include "algo/losses.h"
#include "train/trainer.h"

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_cpo_opt opt;
    tn_opts_bind(o, tn_simpo_rows, &opt);
    opt.loss_type = "simpo";
    tn_task task = {.verb = "simpo",
                    .data = TN_DATA_PREFERENCE,
                    .algo = &tn_algo_cpo,
                    .opt = &opt,
                    .default_lr = 1e-6,
                    .rankings = TN_RANKINGS_AS_PAIRS};
    return tn_task_run(&task, o, e);
}

static const tn_opt_row *const tables[] = {tn_train_option_rows, tn_machine_option_rows,
                                           tn_adapter_option_rows, tn_simpo_rows, NULL};

const tn_verb tn_verb_simpo = {
    .name = "simpo",
    .stage = "Train",
    .summary = "length-normalised preferences without a reference (SimPO, AlphaPO)",
    .details = "Rows as for `tenet dpo`. The loss is -log sigmoid(beta (L_w - L_l) - gamma), L the "
               "mean log-probability of\n"
               "a response's tokens. The defaults are the paper's (beta 2, gamma 1), and there is "
               "no likelihood term\n"
               "unless --cpo-alpha asks for one; TRL has SimPO as a loss type of its CPO trainer, "
               "where the defaults are\n"
               "beta 0.1, gamma 0.5 and a likelihood term of weight 1 (`tenet cpo --loss-type "
               "simpo`). --alpha above 0\n"
               "is AlphaPO.\n\n"
               "  tenet simpo --model sft/ --data prefs.jsonl --output-dir simpo/ --beta 2 "
               "--simpo-gamma 1",
    .tables = tables,
    .run = run};
