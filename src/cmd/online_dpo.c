/* tenet online-dpo: preference losses on pairs of the policy's own samples, rewarded or judged as they are made. */
#include "algo/dpo.h"
#include "rl/critic_free.h"
#include "world/reward.h"
#include <string.h>

static const tn_opt_row rows[] = {
    {"num-generations", TN_OPT_INT, TN_OPT_NOFIELD, "2", NULL, 2, 4096, NULL, "G",
     "Responses to each prompt; the one with the most reward is compared with the one with the least."},
    {"max-new-tokens", TN_OPT_INT, TN_OPT_NOFIELD, "64", NULL, 1, 1 << 20, "max-completion-length", "N",
     "Longest response in tokens."},
    {"temperature", TN_OPT_REAL, TN_OPT_NOFIELD, "0.9", NULL, 1e-3, 100, NULL, "X",
     "Sampling temperature; log-probs are those of the distribution sampled from."},
    TN_OPT_LAST};

static tn_status totals(const void *opt, const tn_group_rewards *r, const double *kl, tn_metrics *m, tn_err *e) {
    TN_TRY(tn_group_totals(r, m, e));
    double score = tn_metrics_find(m, "reward");
    tn_metrics_mean(m, "objective/scores", score, 1);
    return TN_OK;
}

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_dpo_opt loss;
    tn_pair_options pairs;
    tn_critic_free_task t = {.verb = "online-dpo",
                             .default_lr = 5e-7,
                             .more_rewards = tn_world_reward_fns,
                             .algo = &tn_algo_dpo,
                             .opt = &loss,
                             .advantages = totals,
                             .beta = 1, /* the loss compares with a reference */
                             .pairs = &pairs};
    tn_opts_bind(o, tn_group_rows, &t.q);
    tn_opts_bind(o, tn_critic_free_rows, &t.q);
    tn_rewards_bind(o, &t.rewards);
    tn_opts_bind(o, tn_dpo_rows, &loss);
    tn_opts_bind(o, tn_pair_rows, &pairs);
    t.max_completion = tn_opts_int(o, "max-new-tokens");
    if (strcmp(pairs.reference, "sampling") == 0 && tn_opts_str(o, "ref-model"))
        return tn_fail(e, TN_ARG, "--reference sampling compares with the sampling policy; leave --ref-model out");
    if (pairs.soft && !tn_dpo_reads_p(loss.loss_type))
        return tn_fail(e, TN_ARG, "--soft-labels: not every loss of --loss-type reads the probability of a label");
    if (pairs.soft && t.rewards.judge.judge && strcmp(t.rewards.judge.appraise.as, "logit"))
        return tn_fail(e, TN_ARG, "--soft-labels takes rewards for Bradley-Terry scores; of a judge they are such with --judge-reward logit");
    return tn_critic_free_run(&t, o, e);
}

/* `rows` first: its defaults are this method's. */
static const tn_opt_row *const tables[] = {
    tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows, tn_reward_source_rows, tn_ensemble_rows, tn_judge_rows, tn_appraise_rows, tn_label_option_rows, rows, tn_group_rows,
    tn_critic_free_rows,
    tn_dpo_rows,          tn_pair_rows,           tn_online_rows,
    tn_shape_rows, tn_shaping_rows, tn_alarm_rows, tn_alarms_rows, NULL};

const tn_verb tn_verb_online_dpo = {
    .name = "online-dpo",
    .stage = "Train",
    .summary = "preference optimisation on own samples, rewarded as they are made (online and iterative DPO)",
    .details =
        "Rows: {\"prompt\"} or {\"messages\"}; further fields are kept for --reward-funcs.\n"
        "Every prompt gets --num-generations responses; the best and the worst by reward make a pair for the loss of\n"
        "`tenet dpo`. A step takes --per-device-train-batch-size x --gradient-accumulation-steps prompts.\n"
        "Rounds of iterative DPO: many steps to a sampling, against the policy that sampled.\n"
        "With --judge a language model chooses, as `tenet label` asks it; --min-reward-gap 0.2 leaves out pairs of which it is\n"
        "less than 60 % sure.\n\n"
        "  tenet online-dpo --model sft/ --reward-model rm/ --data prompts.jsonl --output-dir online/\n"
        "  tenet online-dpo --model sft/ --reward-model rm/ --data prompts.jsonl --num-generations 8 \\\n"
        "        --steps-per-generation 64 --num-iterations 2 --reference sampling --output-dir iterative/\n"
        "  tenet online-dpo --model sft/ --judge judge/ --constitution principles.json --data prompts.jsonl --output-dir oaif/",
    .tables = tables,
    .run = run};
