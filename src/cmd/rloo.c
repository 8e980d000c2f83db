/* tenet rloo: REINFORCE with the other samples of a prompt as the baseline. */
#include "rl/critic_free.h"
#include "world/reward.h"

static const tn_opt_row rows[] = {
    {"num-generations", TN_OPT_INT, TN_OPT_NOFIELD, "2", NULL, 2, 4096, NULL, "G",
     "Responses to each prompt; the mean reward of the others is the baseline of each."},
    {"max-completion-length", TN_OPT_INT, TN_OPT_NOFIELD, "512", NULL, 1, 1 << 20, "max-new-tokens",
     "N", "Longest response in tokens."},
    TN_OPT_LAST};

static tn_status advantages(const void *opt, const tn_group_rewards *r, const double *kl,
                            tn_metrics *m, tn_err *e) {
    return tn_rloo_advantages(opt, r, kl, m, e);
}

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_rloo_opt loss;
    tn_rloo_advantage_opt adv;
    tn_critic_free_task t = {.verb = "rloo",
                             .default_lr = 1e-6,
                             .more_rewards = tn_world_reward_fns,
                             .algo = &tn_algo_rloo,
                             .opt = &loss,
                             .advantages = advantages,
                             .advantage_opt = &adv,
                             .kl_in_reward = true};
    tn_opts_bind(o, tn_group_rows, &t.q);
    tn_opts_bind(o, tn_critic_free_rows, &t.q);
    tn_rewards_bind(o, &t.rewards);
    tn_opts_bind(o, tn_rloo_rows, &loss);
    tn_opts_bind(o, tn_rloo_advantage_rows, &adv);
    TN_TRY(tn_rloo_advantage_check(&adv, e));
    t.max_completion = tn_opts_int(o, "max-completion-length"), t.beta = adv.beta;
    return tn_critic_free_run(&t, o, e);
}

/* `rows` first: its default of --num-generations is RLOO's. */
static const tn_opt_row *const tables[] = {
    tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows, tn_reward_source_rows, tn_ensemble_rows, tn_judge_rows, tn_appraise_rows, tn_label_option_rows, rows, tn_group_rows,
    tn_critic_free_rows,
    tn_rloo_rows,         tn_rloo_advantage_rows, tn_online_rows,
    tn_shape_rows, tn_shaping_rows, tn_alarm_rows, tn_alarms_rows, NULL};

const tn_verb tn_verb_rloo = {
    .name = "rloo",
    .stage = "Train",
    .summary = "reinforcement learning without a critic: REINFORCE, leave-one-out baseline",
    .details =
        "Rows: {\"prompt\"} or {\"messages\"}; further fields are kept for --reward-funcs.\n"
        "The KL to the reference is part of the reward; the ratio is that of whole responses.\n"
        "A step takes --per-device-train-batch-size x --gradient-accumulation-steps responses.\n\n"
        "  tenet rloo --model sft/ --reward-model rm/ --data prompts.jsonl --num-generations 4 \\\n"
        "        --output-dir rloo/\n"
        "  tenet rloo --model sft/ --reward-judge judge/ --judge-asks score --data prompts.jsonl --output-dir direct/   direct RLAIF",
    .tables = tables,
    .run = run};
