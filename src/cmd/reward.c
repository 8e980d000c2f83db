/* tenet reward: a scalar head on a language model, trained on preferences. */
#include "algo/losses.h"
#include "algo/pooled.h"
#include "cmd/verbs.h"
#include "train/score_norm.h"

/* What a head's loss does not read must not be given. */
static tn_status check_head(const tn_opts *o, const char *head, tn_err *e) {
    if (tn_opts_bool(o, "kwise"))
        return tn_fail(e, TN_ARG, "--head %s is trained on pairs: leave --kwise out", head);
    for (const tn_opt_row *r = tn_reward_rows; r->name; r++)
        if (tn_opts_given(o, r->name))
            return tn_fail(e, TN_ARG, "--%s belongs to --head linear; --head %s has a loss of its own",
                           r->name, head);
    return TN_OK;
}

static tn_status run(const tn_opts *o, tn_err *e) {
    union {
        tn_reward_opt linear;
        tn_inform_opt inform;
        tn_odin_opt odin;
        tn_many_opt many;
    } opt;
    const char *head = tn_opts_str(o, "head");
    const tn_pooled_head *pooled = tn_pooled_find(head);
    const tn_algo *algo = pooled                     ? pooled->algo
                          : tn_opts_bool(o, "kwise") ? &tn_algo_reward_rank
                                                     : &tn_algo_reward;
    if (pooled) TN_TRY(check_head(o, head, e));
    tn_opts_bind(o, pooled ? algo->options : tn_reward_rows, &opt);
    if (pooled == &tn_pooled_many) opt.many.seed = (uint64_t)tn_opts_int(o, "seed");
    tn_task task = {.verb = "reward",
                    .data = TN_DATA_PREFERENCE,
                    .algo = algo,
                    .opt = &opt,
                    .default_lr = 1e-4,
                    .rankings =
                        algo == &tn_algo_reward_rank ? TN_RANKINGS_AS_GROUPS : TN_RANKINGS_AS_PAIRS,
                    .score_head = true,
                    .pooled = pooled,
                    .head_init = tn_opts_real(o, "head-init"),
                    .drop_long = true,
                    .finish = tn_reward_finish};
    return tn_task_run(&task, o, e);
}

const tn_opt_row tn_reward_head_rows[] = {
    {"head", TN_OPT_CHOICE, TN_OPT_NOFIELD, "linear", "linear|inform|odin|ensemble", 0, 0, NULL, NULL,
     "What the score is read from: score.weight; an information bottleneck (InfoRM); or two heads, "
     "for quality and for length, of which only quality is the score (ODIN); or the mean of several "
     "heads, which loops can ask one by one with --ensemble. Any reader of reward models "
     "reads the result: in evaluation each is linear."},
    {"kwise", TN_OPT_BOOL, TN_OPT_NOFIELD, "false", NULL, 0, 0, NULL, NULL,
     "Weigh every prompt equally: mean over the pairs of a prompt, then over prompts "
     "(InstructGPT); else the mean over all pairs (TRL)."},
    {"head-init", TN_OPT_REAL, TN_OPT_NOFIELD, NULL, NULL, 0, 1e3, NULL, "SD",
     "Standard deviation of a new score head's weights; default: the model's initializer_range, as "
     "transformers does. 0: zeros."},
    TN_OPT_LAST};
static const tn_opt_row *const tables[] = {tn_train_option_rows,   tn_machine_option_rows,
                                           tn_adapter_option_rows, tn_reward_head_rows,
                                           tn_reward_rows,         tn_inform_rows,
                                           tn_odin_rows,           tn_many_rows,
                                           NULL};

const tn_verb tn_verb_reward = {.name = "reward",
                                .stage = "Train",
                                .summary = "a reward model from comparisons or rankings",
                                .details =
                                    "Rows: {\"prompt\",\"chosen\",\"rejected\"[,\"margin\"]}, "
                                    "{\"chosen\",\"rejected\"} (HH-RLHF transcripts too),\n"
                                    "{\"prompt\",\"responses\",\"rank\"}. Each response goes "
                                    "through the model once. The result is a\n"
                                    "*ForSequenceClassification folder with one label.\n\n"
                                    "  tenet reward --model sft/ --data prefs.jsonl --eval-data "
                                    "held-out.jsonl --output-dir rm/",
                                .tables = tables,
                                .run = run};
