/* tenet dpo: direct preference optimisation from the same comparisons that reward models take. */
#include "algo/dpo.h"
#include "train/trainer.h"
#include <string.h>

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_dpo_opt opt;
    tn_sync_options sync;
    tn_opts_bind(o, tn_dpo_rows, &opt);
    tn_opts_bind(o, tn_sync_option_rows, &sync);
    bool aot = opt.loss_type.n > 0 && strncmp(opt.loss_type.v[0], "aot", 3) == 0;
    tn_task task = {.verb = "dpo",
                    .data = TN_DATA_PREFERENCE,
                    .algo = aot ? &tn_algo_dpo_aot : &tn_algo_dpo,
                    .opt = &opt,
                    .default_lr = 1e-6,
                    .rankings = TN_RANKINGS_AS_PAIRS,
                    .reference = true,
                    .soft_labels = !aot && tn_dpo_reads_p(opt.loss_type),
                    .sync = sync.on ? &sync : NULL,
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
    tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows, rows, tn_sync_option_rows,
    tn_dpo_rows, NULL};

const tn_verb tn_verb_dpo = {
    .name = "dpo",
    .stage = "Train",
    .summary = "direct preference optimisation",
    .details = "Rows as for `tenet reward`. A prompt is computed once for all its responses. Several loss types are\n"
               "added up; aot and aot_unpaired sort the pairs of a whole step, which is computed twice for that.\n\n"
               "  tenet dpo --model sft/ --data prefs.jsonl --output-dir dpo/ --beta 0.1\n"
               "  tenet dpo ... --loss-type sigmoid bco_pair sft --loss-weights 0.8 0.2 1     MPO\n"
               "  tenet dpo ... --rpo-alpha 1                                                 RPO\n"
               "  tenet dpo ... --sync-ref-model --ref-model-sync-steps 512                   TR-DPO",
    .tables = tables,
    .run = run};
