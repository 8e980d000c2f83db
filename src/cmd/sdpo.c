/* tenet sdpo: reinforcement learning by self-distillation from answers that succeeded, and from feedback. */
#include "rl/critic_free.h"
#include "world/reward.h"

static tn_status advantages(const void *opt, const tn_group_rewards *r, const double *kl, tn_metrics *m, tn_err *e) {
    return tn_grpo_advantages(opt, r, m, e);
}

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_sdpo_opt loss = {0};
    tn_sdpo_options teacher;
    tn_grpo_advantage_opt adv;
    tn_critic_free_task t = {.verb = "sdpo",
                             .default_lr = 1e-6,
                             .more_rewards = tn_world_reward_fns,
                             .algo = &tn_algo_sdpo,
                             .opt = &loss,
                             .advantages = advantages,
                             .advantage_opt = &adv,
                             .sdpo = &teacher};
    tn_opts_bind(o, tn_group_rows, &t.q);
    tn_opts_bind(o, tn_critic_free_rows, &t.q);
    tn_rewards_bind(o, &t.rewards);
    tn_opts_bind(o, tn_sdpo_rows, &loss);
    tn_opts_bind(o, tn_grpo_rows, &loss.policy);
    tn_opts_bind(o, tn_grpo_advantage_rows, &adv);
    tn_opts_bind(o, tn_sdpo_teacher_rows, &teacher);
    TN_TRY(tn_grpo_check(&loss.policy, e));
    TN_TRY(tn_sdpo_check(&loss, e));
    TN_TRY(tn_sdpo_options_check(&teacher, e));
    if (loss.policy.beta != 0) return tn_fail(e, TN_UNSUPPORTED, "--beta: the reference's place is the teacher's here; leave it at 0");
    if (loss.policy.top_entropy < 1) return tn_fail(e, TN_UNSUPPORTED, "--top-entropy-quantile: the distillation reads all tokens; leave it at 1");
    t.pair_beta = loss.alpha;
    t.max_completion = loss.policy.max_completion;
    return tn_critic_free_run(&t, o, e);
}

static const tn_opt_row *const tables[] = {
    tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows, tn_reward_source_rows, tn_ensemble_rows, tn_group_rows,
    tn_critic_free_rows,  tn_sdpo_rows,           tn_sdpo_teacher_rows,   tn_grpo_rows,          tn_grpo_advantage_rows, tn_online_rows,
    tn_shape_rows,        tn_shaping_rows,        tn_alarm_rows,          tn_alarms_rows,        NULL};

const tn_verb tn_verb_sdpo = {
    .name = "sdpo",
    .stage = "Train",
    .summary = "self-distillation from the policy's own successes and from feedback, on line (SDPO)",
    .details =
        "Rows: {\"prompt\"} or {\"messages\"}, with \"privileged_context\" where there is feedback; further fields are kept for\n"
        "--reward-funcs. Every prompt gets --num-generations answers. The teacher is the policy itself, shown another answer to\n"
        "the same prompt that was rewarded (--success-reward-threshold) and the feedback; the policy, which sees the prompt\n"
        "alone, learns what the teacher says at the tokens of its own answer. Answers without a teacher teach nothing.\n\n"
        "  tenet sdpo --model sft/ --reward-funcs number:answer --data gsm8k.jsonl --output-dir sdpo/\n"
        "  tenet sdpo ... --distillation-mode full_logits --distillation-alpha 0.5 --distillation-weight 0.5",
    .tables = tables,
    .run = run};
