/* tenet sft, tenet pretrain: maximum likelihood on demonstrations or text. */
#include "algo/losses.h"
#include "train/trainer.h"

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_sft_opt opt;
    tn_opts_bind(o, tn_sft_rows, &opt);
    tn_task task = {
        .verb = "sft", .data = TN_DATA_SFT, .algo = &tn_algo_sft, .opt = &opt, .default_lr = 2e-5};
    return tn_task_run(&task, o, e);
}

static tn_status run_pretrain(const tn_opts *o, tn_err *e) {
    tn_sft_opt opt;
    tn_opts_bind(o, tn_sft_rows, &opt);
    tn_task task = {.verb = "pretrain",
                    .data = TN_DATA_SFT,
                    .algo = &tn_algo_sft,
                    .opt = &opt,
                    .default_lr = 3e-3,
                    .fresh = true};
    return tn_task_run(&task, o, e);
}

static const tn_opt_row *const tables[] = {tn_train_option_rows, tn_machine_option_rows,
                                           tn_adapter_option_rows, tn_sft_rows, NULL};

const tn_verb tn_verb_sft = {.name = "sft",
                             .stage = "Train",
                             .summary = "supervised fine-tuning on demonstrations",
                             .details =
                                 "Rows: {\"messages\"}, {\"prompt\",\"completion\"}, {\"text\"} or "
                                 "{\"input_ids\"[,\"labels\"]}, JSONL or .jsonl.gz.\n"
                                 "Rows with a prompt train on the completion; conversations on "
                                 "everything unless --assistant-only-loss.\n\n"
                                 "  tenet sft --model base/ --data demos.jsonl --output-dir sft/\n"
                                 "  tenet sft --model base/ --data demos.jsonl --dry-run          "
                                 "what would happen, and its cost\n"
                                 "  tenet sft ... --resume-from-checkpoint latest                 "
                                 "go on after an interruption, same bits",
                             .tables = tables,
                             .run = run};

const tn_verb tn_verb_pretrain = {
    .name = "pretrain",
    .stage = "Train",
    .summary = "train a new model on text from random weights",
    .details =
        "--model is a folder with config.json and a tokenizer; every token of every row is trained "
        "on.\n\n"
        "  tenet world config --out tiny/ && tenet world text --count 400000 --out text.jsonl\n"
        "  tenet pretrain --model tiny/ --data text.jsonl --output-dir base/ --batch-tokens 4096 "
        "--learning-rate 3e-3",
    .tables = tables,
    .run = run_pretrain};
