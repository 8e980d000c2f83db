#include "train/ppo.h"

#define AT(field) offsetof(tn_ppo_options, field)
const tn_opt_row tn_ppo_rows[] = {
    {"reward-model", TN_OPT_STRING, AT(reward_model), NULL, NULL, 0, 0, "reward_model_path", "DIR",
     "Sequence-classification checkpoint that scores responses, with its own tokenizer and "
     "template."},
    {"critic", TN_OPT_STRING, AT(critic), "auto", NULL, 0, 0, "value_model", "DIR|auto|policy",
     "Start of the critic: auto copies the reward model when it shares the policy's tokenizer, "
     "else the policy with a zero head."},
    {"ref-model", TN_OPT_STRING, AT(ref_model), NULL, NULL, 0, 0, "sft_model_path", "DIR",
     "Reference of the KL penalty; default: the starting policy."},
    {"iterations", TN_OPT_INT, AT(iterations), "30", NULL, 1, 0, "num_total_batches", "N",
     "Rollout batches of the run."},
    {"rollouts", TN_OPT_INT, AT(rollouts), "256", NULL, 1, 1 << 20, "rollout_batch_size", "N",
     "Responses sampled per iteration."},
    {"minibatch-size", TN_OPT_INT, AT(minibatch), "64", NULL, 1, 1 << 20, NULL, "N",
     "Rollouts per optimiser step."},
    {"num-ppo-epochs", TN_OPT_INT, AT(epochs), "4", NULL, 1, 1000, "ppo_epochs", "N",
     "Passes over each rollout batch."},
    {"response-length", TN_OPT_INT, AT(response_length), "53", NULL, 1, 1 << 20, "max_new_tokens",
     "N", "Longest response in tokens."},
    {"gen-batch-size", TN_OPT_INT, AT(gen_batch), "64", NULL, 1, 4096, NULL, "N",
     "Sequences decoded together; does not change results."},
    {"temperature", TN_OPT_REAL, AT(temperature), "0.7", NULL, 1e-3, 100, NULL, "X",
     "Sampling temperature; log-probs and KL are those of the distribution sampled from."},
    {"critic-learning-rate", TN_OPT_REAL, AT(critic_lr), NULL, NULL, 0, 10, NULL, "X",
     "Default: --learning-rate."},
    {"top-k", TN_OPT_INT, AT(top_k), "0", NULL, 0, 0, NULL, "N",
     "Truncated sampling is refused without --truncated-logp."},
    {"top-p", TN_OPT_REAL, AT(top_p), "1", NULL, 0, 1, NULL, "X", "As --top-k."},
    {"min-p", TN_OPT_REAL, AT(min_p), "0", NULL, 0, 1, NULL, "X", "As --top-k."},
    {"truncated-logp", TN_OPT_BOOL, AT(truncated_logp), "false", NULL, 0, 0, NULL, NULL,
     "With truncated sampling: take the truncated distribution's log-probs as old log-probs "
     "(ratios then differ from 1)."},
    {"log-samples", TN_OPT_INT, AT(log_samples), "4", NULL, 0, 1000, NULL, "N",
     "Responses per iteration kept in samples.jsonl with their scores."},
    TN_OPT_LAST};
