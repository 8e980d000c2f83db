/* tenet xpo: exploratory preference optimisation on samples of the policy and of the reference. */
#include "rl/opponent.h"
#include "world/reward.h"

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_xpo_opt loss;
    tn_opposed_options opposed;
    tn_pair_options pairs = {.reference = "start"};
    tn_critic_free_task t = {.verb = "xpo",
                             .default_lr = 5e-7,
                             .more_rewards = tn_world_reward_fns,
                             .algo = &tn_algo_xpo,
                             .opt = &loss,
                             .advantages = tn_opposed_totals,
                             .advantage_opt = &opposed,
                             .beta = 1, /* the loss compares with a reference */
                             .pairs = &pairs,
                             .opponent = TN_OPPONENT_REFERENCE};
    tn_opts_bind(o, tn_critic_free_rows, &t.q);
    tn_rewards_bind(o, &t.rewards);
    tn_opts_bind(o, tn_xpo_rows, &loss);
    tn_opts_bind(o, tn_opposed_rows, &opposed);
    t.q.generations = 2, t.max_completion = opposed.max_new;
    return tn_critic_free_run(&t, o, e);
}

/* tn_opposed_rows first: its default of --temperature is this method's. */
static const tn_opt_row *const tables[] = {
    tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows, tn_reward_source_rows, tn_ensemble_rows, tn_judge_rows, tn_appraise_rows, tn_label_option_rows, tn_opposed_rows,
    tn_xpo_rows,          tn_critic_free_rows,    tn_online_rows,         tn_shape_rows,         tn_shaping_rows,  tn_alarm_rows,
    tn_alarms_rows,       NULL};

const tn_verb tn_verb_xpo = {
    .name = "xpo",
    .stage = "Train",
    .summary = "exploratory preference optimisation: the policy's samples against the reference's",
    .details =
        "Rows: {\"prompt\"} or {\"messages\"}; further fields are kept for --reward-funcs.\n"
        "The policy and the reference answer every prompt once each. The better answer by reward is preferred, as in\n"
        "`tenet online-dpo`, and the reference's answer is made a little less likely everywhere (--alpha), so that the\n"
        "policy looks further. Equal rewards count as the policy's win.\n"
        "A step takes --per-device-train-batch-size x --gradient-accumulation-steps prompts.\n\n"
        "  tenet xpo --model sft/ --reward-model rm/ --data prompts.jsonl --output-dir xpo/\n"
        "  tenet xpo --model sft/ --reward-model rm/ --data prompts.jsonl --alpha 0.001 --loss-type ipo --output-dir xpo/",
    .tables = tables,
    .run = run};
