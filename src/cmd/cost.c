/* tenet cost: a cost model, which says how harmful a response is, and above 0 that it is. */
#include "algo/lagrange.h"
#include "train/score_norm.h"

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_cost_opt opt;
    tn_opts_bind(o, tn_cost_rows, &opt);
    tn_task task = {.verb = "cost",
                    .data = TN_DATA_SAFETY,
                    .algo = &tn_algo_cost,
                    .opt = &opt,
                    .default_lr = 2e-5,
                    .score_head = true,
                    .head_init = tn_opts_real(o, "head-init"),
                    .drop_long = true,
                    .finish = tn_cost_finish};
    return tn_task_run(&task, o, e);
}

static const tn_opt_row rows[] = {
    {"head-init", TN_OPT_REAL, TN_OPT_NOFIELD, NULL, NULL, 0, 1e3, NULL, "SD",
     "Standard deviation of a new score head's weights; default: the model's initializer_range, as "
     "transformers does. 0: zeros."},
    TN_OPT_LAST};
static const tn_opt_row *const tables[] = {tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows,
                                           rows, tn_cost_rows, NULL};

const tn_verb tn_verb_cost = {
    .name = "cost",
    .stage = "Train",
    .summary = "a cost model from safety labels, of comparisons or single answers (Safe RLHF)",
    .details =
        "Rows: {\"prompt\", \"chosen\", \"rejected\", \"chosen_safe\", \"rejected_safe\"}, chosen being the safer one;\n"
        "PKU-SafeRLHF's {\"prompt\", \"response_0\", \"response_1\", \"safer_response_id\", \"is_response_0_safe\",\n"
        "\"is_response_1_safe\"}; or single responses: {\"prompt\", \"completion\", \"label\": is it safe?}, BeaverTails',\n"
        "DiaSafety's (--transcripts chat renders texts with the model's template). The more harmful response of a\n"
        "pair costs more, and 0 is the border: above it a response is unsafe. The result is a\n"
        "*ForSequenceClassification folder; its tenet.json says that the score is a cost, scaled but not\n"
        "shifted, and what takes rewards refuses it unless its weight is negative.\n\n"
        "  tenet cost --model sft/ --data safety.jsonl --eval-data held-out.jsonl --output-dir cost/",
    .tables = tables,
    .run = run};
