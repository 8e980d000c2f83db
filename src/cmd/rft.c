/* tenet rft: fine-tuning on the best of the policy's own samples (rejection sampling, RAFT: 2304.06767; Llama 2, 2307.09288). */
#include "rl/critic_free.h"
#include "world/reward.h"

static const tn_opt_row rows[] = {
    {"num-generations", TN_OPT_INT, TN_OPT_NOFIELD, "8", NULL, 2, 4096, NULL, "G", "Responses to each prompt."},
    {"max-new-tokens", TN_OPT_INT, TN_OPT_NOFIELD, "256", NULL, 1, 1 << 20, "max-completion-length", "N",
     "Longest response in tokens."},
    TN_OPT_LAST};

static tn_status totals(const void *opt, const tn_group_rewards *r, const double *kl, tn_metrics *m, tn_err *e) {
    return tn_group_totals(r, m, e);
}

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_sft_opt loss;
    tn_best_options best;
    tn_critic_free_task t = {.verb = "rft",
                             .default_lr = 2e-5,
                             .more_rewards = tn_world_reward_fns,
                             .algo = &tn_algo_sft,
                             .opt = &loss,
                             .advantages = totals,
                             .best = &best};
    tn_opts_bind(o, tn_group_rows, &t.q);
    tn_opts_bind(o, tn_critic_free_rows, &t.q);
    tn_rewards_bind(o, &t.rewards);
    tn_opts_bind(o, tn_sft_rows, &loss);
    tn_opts_bind(o, tn_best_rows, &best);
    t.max_completion = tn_opts_int(o, "max-new-tokens");
    if (best.keep > t.q.generations)
        return tn_fail(e, TN_ARG, "--keep %lld is more than the %lld responses of --num-generations", (long long)best.keep,
                       (long long)t.q.generations);
    return tn_critic_free_run(&t, o, e);
}

static const tn_opt_row *const tables[] = {
    tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows, tn_reward_source_rows, tn_ensemble_rows, tn_judge_rows, tn_appraise_rows, tn_label_option_rows, rows, tn_group_rows,
    tn_critic_free_rows,
    tn_sft_rows,          tn_best_rows,           tn_online_rows,
    tn_shape_rows, tn_shaping_rows, tn_alarm_rows, tn_alarms_rows, NULL};

const tn_verb tn_verb_rft = {
    .name = "rft",
    .stage = "Train",
    .summary = "fine-tuning on the best of own samples (rejection sampling, best of N distilled)",
    .details =
        "Rows: {\"prompt\"} or {\"messages\"}; further fields are kept for --reward-funcs.\n"
        "Every prompt gets --num-generations responses; the best by reward become demonstrations.\n"
        "A step takes --per-device-train-batch-size x --gradient-accumulation-steps prompts.\n\n"
        "  tenet rft --model sft/ --reward-model rm/ --data prompts.jsonl --num-generations 16 \\\n"
        "        --steps-per-generation 32 --output-dir rft/\n"
        "  tenet rft --model sft/ --reward-funcs number:answer --min-reward 1 --data sums.jsonl --output-dir rft/",
    .tables = tables,
    .run = run};
