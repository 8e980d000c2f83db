/* tenet grpo: reinforcement learning from the comparison of samples of one prompt. */
#include "rl/critic_free.h"
#include "rl/token_advantages.h"
#include "world/reward.h"

static tn_status advantages(const void *opt, const tn_group_rewards *r, const double *kl,
                            tn_metrics *m, tn_err *e) {
    return tn_grpo_advantages(opt, r, m, e);
}

static tn_status token_advantages(const void *opt, tn_rollouts *r, tn_err *e) {
    tn_process_advantages(opt, r);
    return TN_OK;
}

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_grpo_opt loss = {0};
    tn_grpo_advantage_opt adv;
    tn_step_reward_options steps;
    tn_process_advantage_opt process;
    tn_critic_free_task t = {.verb = "grpo",
                             .default_lr = 1e-6,
                             .more_rewards = tn_world_reward_fns,
                             .algo = &tn_algo_grpo,
                             .opt = &loss,
                             .advantages = advantages,
                             .advantage_opt = &adv,
                             .steps = &steps,
                             .token_opt = &process,
                             .entropy_floor = &loss.entropy_floor};
    tn_opts_bind(o, tn_group_rows, &t.q);
    tn_opts_bind(o, tn_critic_free_rows, &t.q);
    tn_rewards_bind(o, &t.rewards);
    tn_opts_bind(o, tn_grpo_rows, &loss);
    tn_opts_bind(o, tn_grpo_advantage_rows, &adv);
    tn_opts_bind(o, tn_step_reward_rows, &steps);
    process = (tn_process_advantage_opt){tn_grpo_baseline(&adv), steps.weight};
    t.rewards.none_needed = steps.model != NULL;
    if (steps.model) t.token_advantages = token_advantages;
    TN_TRY(tn_grpo_check(&loss, e));
    t.max_completion = loss.max_completion, t.beta = loss.beta, t.top_entropy = loss.top_entropy;
    return tn_critic_free_run(&t, o, e);
}

static const tn_opt_row *const tables[] = {
    tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows, tn_reward_source_rows, tn_ensemble_rows, tn_judge_rows, tn_appraise_rows, tn_label_option_rows, tn_step_reward_rows, tn_group_rows,
    tn_critic_free_rows,
    tn_grpo_rows,         tn_grpo_advantage_rows, tn_online_rows,
    tn_shape_rows, tn_shaping_rows, tn_alarm_rows, tn_alarms_rows, NULL};

const tn_verb tn_verb_grpo = {
    .name = "grpo",
    .stage = "Train",
    .summary = "reinforcement learning without a critic: GRPO, DAPO, Dr. GRPO, GSPO and relatives",
    .details =
        "Rows: {\"prompt\"} or {\"messages\"}; further fields are kept for --reward-funcs.\n"
        "Every prompt gets --num-generations responses, whose rewards are compared with each "
        "other.\n"
        "A step takes --per-device-train-batch-size x --gradient-accumulation-steps responses.\n\n"
        "  tenet grpo --model sft/ --reward-model rm/ --data prompts.jsonl --output-dir grpo/\n"
        "  tenet grpo --model sft/ --reward-funcs number:answer --data gsm8k.jsonl \\\n"
        "        --per-device-train-batch-size 64 --output-dir grpo/\n\n"
        "With --process-reward-model (DeepSeekMath's process supervision) the rewards of all steps of a group are\n"
        "normalised together, and a token's advantage is the sum of those of the steps that end at it or later, beside\n"
        "that of the whole response where other rewards are given.",
    .tables = tables,
    .run = run};
