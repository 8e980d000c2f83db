/* tenet distill: a student learns a teacher's full distributions, on given answers and on its own. */
#include "algo/losses.h"
#include "train/answers.h"
#include "train/trainer.h"

static tn_status check(const tn_opts *o, const char *teacher, tn_err *e) {
    const char *model = tn_opts_str(o, "model"), *base = tn_opts_str(o, "base-model");
    const tn_load how = {.base = base};
    tn_desc d;
    bool same;
    if (!teacher)
        return tn_fail(e, TN_ARG,
                       "--teacher-model is missing; give the Hugging Face folder of the model to learn from");
    if (!model) return TN_OK; /* the trainer says so */
    TN_TRY(tn_model_peek(&d, teacher, &how, e)); /* a folder that is not there has no tokenizer either */
    TN_TRY(tn_model_peek(&d, model, &how, e));
    TN_TRY(tn_scorer_same_tokenizer(&same, teacher, model, base, e));
    if (same) return TN_OK;
    return tn_fail(e, TN_STATE,
                   "the teacher %s and the student %s have different tokenizers; a token's distributions can only be "
                   "compared over one vocabulary: take a teacher with the student's tokenizer.json",
                   teacher, model);
}

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_gkd_opt opt;
    tn_answers answers = {0};
    const char *teacher = tn_opts_str(o, "teacher-model");
    tn_opts_bind(o, tn_gkd_rows, &opt);
    tn_opts_bind(o, tn_answers_rows, &answers.q);
    TN_TRY(check(o, teacher, e));
    tn_task task = {.verb = "distill",
                    .data = TN_DATA_SFT,
                    .algo = &tn_algo_gkd,
                    .opt = &opt,
                    .default_lr = 2e-5,
                    .reference = true,
                    .ref_model = teacher,
                    .pair_beta = opt.beta,
                    .answers_only = true,
                    .answers = &answers};
    return tn_task_run(&task, o, e);
}

static const tn_opt_row rows[] = {
    {"teacher-model", TN_OPT_STRING, TN_OPT_NOFIELD, NULL, NULL, 0, 0, "teacher_model_name_or_path", "DIR",
     "Folder of the model to learn from, with the student's tokenizer."},
    TN_OPT_LAST};
static const tn_opt_row *const tables[] = {tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows, rows,
                                           tn_gkd_rows, tn_answers_rows, NULL};

const tn_verb tn_verb_distill = {
    .name = "distill",
    .stage = "Train",
    .summary = "distillation from a teacher's distributions (GKD)",
    .details = "Rows as for `tenet sft`; conversations train on assistant turns. The loss is the exact divergence\n"
               "from the teacher at every token of an answer. A share --lmbda of the steps takes the student's own\n"
               "answers.\n\n"
               "  tenet distill --model small/ --teacher-model big/ --data demos.jsonl --output-dir student/\n"
               "  tenet distill ... --lmbda 0 --beta 0      the rows' answers, KL(teacher|student)\n"
               "  tenet distill ... --lmbda 1 --beta 1      the student's answers, KL(student|teacher)",
    .tables = tables,
    .run = run};
