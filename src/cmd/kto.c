/* tenet kto: single responses labelled desirable or not (KTO, BCO, APO-zero). */
#include "algo/losses.h"
#include "base/log.h"
#include "train/trainer.h"
#include <string.h>

static double kto_point(const void *opt, double state[2], const double *logp,
                        const double *ref_logp, int n) {
    return tn_kto_baseline(logp, ref_logp, n);
}

static double bco_point(const void *opt, double state[2], const double *logp,
                        const double *ref_logp, int n) {
    tn_bco_state s = {state[0], state[1]};
    double delta = tn_bco_baseline(&s, ((const tn_kto_opt *)opt)->beta, logp, ref_logp, n);
    state[0] = s.sum, state[1] = s.count;
    return delta;
}

/* Rows whose label is that of the row before, as a share of what a shuffle would have. */
static bool comes_in_runs(const tn_dataset *d, double good) {
    double same = 0, p = good / (double)d->n,
           expected = (p * p + (1 - p) * (1 - p)) * (double)(d->n - 1);
    for (size_t i = 1; i < d->n; i++) same += d->ex[i].label == d->ex[i - 1].label;
    return d->n > 16 && p > 0 && p < 1 && same > 0.5 * (expected + (double)d->n);
}

/* The paper's rule: desirable weight x count over undesirable weight x count between 1 and 4/3. */
static void remark(const tn_dataset *d, const tn_task *task, tn_order_kind order) {
    const tn_kto_opt *o = task->opt;
    double good = 0, bad;
    for (size_t i = 0; i < d->n; i++) good += d->ex[i].label;
    bad = (double)d->n - good;
    tn_info("labels: %.0f desirable, %.0f undesirable", good, bad);
    if (good == 0 || bad == 0) {
        tn_warn("all rows have one label; nothing keeps the model from making everything %s",
                good > 0 ? "likely" : "unlikely");
        return;
    }
    double ratio = o->desirable * good / (o->undesirable * bad);
    if (ratio < 0.99 || ratio > 1.34)
        tn_warn("weights times counts are %.3g to 1; between 1 and 1.33 works best: either "
                "--desirable-weight %.3g to %.3g, "
                "or --undesirable-weight %.3g to %.3g",
                ratio, tn_kto_balance(good, bad, o->undesirable, 1),
                tn_kto_balance(good, bad, o->undesirable, 4.0 / 3),
                o->desirable * good / bad / (4.0 / 3), o->desirable * good / bad);
    if (order == TN_ORDER_SEQUENTIAL && comes_in_runs(d, good))
        tn_warn("rows of one label follow each other (pairs become a thousand chosen responses, "
                "then the rejected ones, as "
                "in TRL): --train-sampling-strategy random mixes them");
}

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_kto_opt opt;
    tn_sync_options sync;
    tn_ahead ahead = {.point = kto_point, .mismatched = true};
    tn_opts_bind(o, tn_kto_rows, &opt);
    tn_opts_bind(o, tn_sync_option_rows, &sync);
    bool micro = strcmp(tn_opts_str(o, "kl-rotation"), "microbatch") == 0;
    int64_t rows = tn_opts_int(o, "per-device-train-batch-size") *
                   (micro ? 1 : tn_opts_int(o, "gradient-accumulation-steps"));
    if (micro) ahead.block = (long)rows;
    if (strcmp(opt.loss_type, "kto") == 0 && rows == 1)
        return tn_fail(e, TN_ARG,
                       "--per-device-train-batch-size 1: a response would be its own mismatched "
                       "pair; take more rows, "
                       "or --kl-rotation batch with --gradient-accumulation-steps");
    if (strcmp(opt.loss_type, "bco") == 0) ahead = (tn_ahead){.point = bco_point};
    if (strcmp(tn_opts_str(o, "truncation-mode"), "keep_start") != 0)
        return tn_fail(e, TN_ARG,
                       "--truncation-mode keep_end: a labelled response needs the prompt that it "
                       "was given to; "
                       "leave the option out");
    tn_task task = {.verb = "kto",
                    .data = TN_DATA_UNPAIRED,
                    .algo = &tn_algo_kto,
                    .opt = &opt,
                    .default_lr = 1e-6,
                    .in_order = true,
                    .reference = true,
                    .ahead = strcmp(opt.loss_type, "apo_zero_unpaired") ? &ahead : NULL,
                    .sync = sync.on ? &sync : NULL,
                    .ref_model = tn_opts_str(o, "ref-model"),
                    .precompute_ref = tn_opts_bool(o, "precompute-ref-log-probs"),
                    .remark = remark};
    return tn_task_run(&task, o, e);
}

static const tn_opt_row rows[] = {
    {"kl-rotation", TN_OPT_CHOICE, TN_OPT_NOFIELD, "microbatch", "microbatch|batch", 0, 0, NULL,
     NULL,
     "Loss type kto: which rows share a reference point, and are each other's mismatched pairs "
     "(each prompt with the "
     "response before it): --per-device-train-batch-size rows of the files' order, as in TRL, or "
     "all of a step with "
     "accumulation."},
    {"ref-model", TN_OPT_STRING, TN_OPT_NOFIELD, NULL, NULL, 0, 0, "ref_model_name_or_path", "DIR",
     "Reference model; default: the starting model."},
    {"precompute-ref-log-probs", TN_OPT_BOOL, TN_OPT_NOFIELD, "false", NULL, 0, 0, NULL, NULL,
     "Compute every reference log-prob before the first step and give the reference's memory back. "
     "Without it they are "
     "computed when first needed; either way once."},
    TN_OPT_LAST};
static const tn_opt_row *const tables[] = {tn_train_option_rows,
                                           tn_machine_option_rows,
                                           tn_adapter_option_rows,
                                           rows,
                                           tn_sync_option_rows,
                                           tn_kto_rows,
                                           NULL};

const tn_verb tn_verb_kto = {
    .name = "kto",
    .stage = "Train",
    .summary = "preferences without pairs: responses labelled good or bad (KTO, BCO)",
    .details = "Rows: {\"prompt\",\"completion\",\"label\"}, label true for desirable; pairs as "
               "for `tenet dpo` become two rows,\n"
               "in TRL's order. Rows are taken in the files' order unless "
               "--train-sampling-strategy says otherwise, and a\n"
               "row's mismatched pair is fixed by that order.\n\n"
               "  tenet kto --model sft/ --data labelled.jsonl --output-dir kto/ --beta 0.1 "
               "--learning-rate 5e-6",
    .tables = tables,
    .run = run};
