/* tenet tpo: triple preference optimisation, pairs and gold answers in one step. */
#include "algo/losses.h"
#include "train/trainer.h"

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_cpo_opt opt = {0};
    tn_opts_bind(o, tn_tpo_rows, &opt);
    tn_task task = {.verb = "tpo",
                    .data = TN_DATA_PREFERENCE,
                    .gold = opt.nll != 0,
                    .algo = &tn_algo_tpo,
                    .opt = &opt,
                    .default_lr = 5e-7,
                    .rankings = TN_RANKINGS_AS_PAIRS};
    return tn_task_run(&task, o, e);
}

static const tn_opt_row *const tables[] = {tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows, tn_tpo_rows, NULL};

const tn_verb tn_verb_tpo = {
    .name = "tpo",
    .stage = "Train",
    .summary = "triple preference optimisation: a pair and a gold answer to each prompt, without a reference model",
    .details =
        "Rows: {\"prompt\", \"chosen\", \"rejected\", \"reference\"}, where \"reference\" is a gold answer, the best there is. The loss is\n"
        "-log sigmoid(beta (log pi(chosen) - log pi(rejected))) + tpo-alpha times the mean negative log-likelihood of gold tokens:\n"
        "fine-tuning and preferences in one step, from a base model and with no second model in memory. TPO-L (--loss-type tpo-l)\n"
        "compares log-probabilities per token against a margin.\n\n"
        "  tenet tpo --model base/ --data triples.jsonl --output-dir tpo/\n"
        "  tenet tpo --model base/ --data triples.jsonl --loss-type tpo-l --beta 2 --tpo-l-gamma 1 --output-dir tpo/",
    .tables = tables,
    .run = run};
