#include "rl/ppo.h"

#define AT(field) offsetof(tn_ppo_options, field)
const tn_opt_row tn_ppo_rows[] = {
    {"reward-model", TN_OPT_LIST, AT(reward_models), NULL, NULL, 0, 0, "reward_model_path", "DIR",
     "Sequence-classification checkpoint that scores responses, with its own tokenizer and "
     "template; several are an ensemble."},
    {"judge-weight", TN_OPT_REAL, AT(judge_weight), "1", NULL, -1e9, 1e9, NULL, "X",
     "Of what a judge (--reward-judge) says, which is added to the reward models' score, or alone is the score; what it cannot read counts as "
     "neither good nor bad."},
    {"critic", TN_OPT_STRING, AT(critic), "auto", NULL, 0, 0, "value_model", "DIR|auto|policy",
     "Start of the critic: auto copies the (first) reward model when it shares the policy's tokenizer, "
     "else, or when there is none, the policy with a zero head."},
    {"iterations", TN_OPT_INT, AT(iterations), "30", NULL, 1, 0, "num_total_batches", "N",
     "Rollout batches of the run."},
    {"rollouts", TN_OPT_INT, AT(rollouts), "256", NULL, 1, 1 << 20, "rollout_batch_size", "N",
     "Responses sampled per iteration."},
    {"minibatch-size", TN_OPT_INT, AT(minibatch), "64", NULL, 1, 1 << 20, NULL, "N",
     "Rollouts per optimiser step."},
    {"num-ppo-epochs", TN_OPT_INT, AT(epochs), "4", NULL, 1, 1000, "ppo_epochs", "N",
     "Passes over each rollout batch."},
    {"early-stop-kl", TN_OPT_REAL, AT(early_stop), "0", NULL, 0, 1e9, NULL, "X",
     "Pass over a batch no more after a pass in which the policy's mean KL (k2, nats a token) to the one that sampled the batch was above X; 0: "
     "always --num-ppo-epochs passes."},
    {"response-length", TN_OPT_INT, AT(response_length), "53", NULL, 1, 1 << 20, "max_new_tokens",
     "N", "Longest response in tokens."},
    {"temperature", TN_OPT_REAL, AT(temperature), "0.7", NULL, 1e-3, 100, NULL, "X",
     "Sampling temperature; log-probs and KL are those of the distribution sampled from."},
    {"critic-learning-rate", TN_OPT_REAL, AT(critic_lr), NULL, NULL, 0, 10, NULL, "X",
     "Default: --learning-rate."},
    {"ptx-coef", TN_OPT_REAL, AT(ptx_coef), "0", NULL, 0, 1e9, "ptx-loss-coef", "X",
     "Weight of the language-model loss (mean over tokens) of --ptx-data in every policy update "
     "(InstructGPT's pretraining mix); 0: off."},
    {"ptx-data", TN_OPT_LIST, AT(ptx_data), NULL, NULL, 0, 0, NULL, "FILE",
     "Rows of that loss: texts or demonstrations, as `tenet sft` reads them."},
    {"ptx-batch-size", TN_OPT_INT, AT(ptx_batch), "0", NULL, 0, 1 << 20, NULL, "N",
     "Rows of it in one update; 0: --minibatch-size."},
    TN_OPT_LAST};
