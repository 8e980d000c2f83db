/* tenet a2po: A*-PO, regression on the optimal advantage, one sample to a prompt. */
#include "rl/critic_free.h"
#include "world/reward.h"
#include <string.h>

static const tn_opt_row rows[] = {
    {"max-completion-length", TN_OPT_INT, TN_OPT_NOFIELD, "256", NULL, 1, 1 << 20, "max-new-tokens", "N",
     "Longest response in tokens."},
    TN_OPT_LAST};

static tn_status totals(const void *opt, const tn_group_rewards *r, const double *kl, tn_metrics *m, tn_err *e) {
    return tn_group_totals(r, m, e);
}

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_a2po_opt loss;
    tn_values_options values;
    tn_critic_free_task t = {.verb = "a2po",
                             .default_lr = 1e-6,
                             .more_rewards = tn_world_reward_fns,
                             .algo = &tn_algo_a2po,
                             .opt = &loss,
                             .advantages = totals,
                             .values = &values};
    tn_opts_bind(o, tn_critic_free_rows, &t.q);
    tn_rewards_bind(o, &t.rewards);
    tn_opts_bind(o, tn_a2po_rows, &loss);
    tn_opts_bind(o, tn_values_rows, &values);
    t.q.generations = 1, t.beta = loss.beta2;
    t.max_completion = tn_opts_int(o, "max-completion-length");
    if (strcmp(tn_opts_str(o, "reward-shaping"), "none") != 0)
        return tn_fail(e, TN_ARG, "--reward-shaping: the optimal values are those of the rewards as they are; leave it out");
    return tn_critic_free_run(&t, o, e);
}

static const tn_opt_row *const tables[] = {
    tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows, tn_reward_source_rows, tn_ensemble_rows, rows,
    tn_values_rows,       tn_a2po_rows,           tn_critic_free_rows,    tn_online_rows,        tn_shape_rows,    tn_shaping_rows,
    tn_alarm_rows,        tn_alarms_rows,         NULL};

const tn_verb tn_verb_a2po = {
    .name = "a2po",
    .stage = "Train",
    .summary = "reinforcement learning as regression on the optimal advantage (A*-PO), one sample to a prompt",
    .details =
        "Rows: {\"prompt\"} or {\"messages\"}; further fields are kept for --reward-funcs. Rewards from 0 to 1 suit the defaults.\n"
        "First --num-value-samples responses of the reference to every prompt give its optimal value V*, kept in\n"
        "OUT/values.jsonl; then each step samples one response to a prompt and fits beta2 log(pi/ref) to reward - V*.\n"
        "A run that was stopped while it sampled values goes on where it was when the same command is given again.\n"
        "A step takes --per-device-train-batch-size x --gradient-accumulation-steps responses.\n\n"
        "  tenet a2po --model sft/ --reward-funcs number:answer --data sums.jsonl --output-dir a2po/\n"
        "  tenet a2po --model sft/ --reward-model rm/ --data prompts.jsonl --beta1 0.5 --beta2 0.01 --output-dir a2po/",
    .tables = tables,
    .run = run};
