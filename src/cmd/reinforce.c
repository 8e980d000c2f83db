/* tenet reinforce: REINFORCE++, its group baseline, ReMax and the plain method. */
#include "rl/critic_free.h"
#include "rl/token_advantages.h"
#include "world/reward.h"
#include <string.h>

static const tn_opt_row rows[] = {
    {"num-generations", TN_OPT_INT, TN_OPT_NOFIELD, "1", NULL, 1, 4096, "n-samples-per-prompt", "G",
     "Responses to each prompt; remax adds the greedy one."},
    {"loss-type", TN_OPT_CHOICE, TN_OPT_NOFIELD, "bnpo", "dapo|bnpo|grpo|dr_grpo|luspo|cispo|sapo|vespo|gmpo", 0, 0, NULL, NULL,
     "How the clipped token terms are averaged (`tenet grpo --help`); bnpo: over the tokens of the step."},
    TN_OPT_LAST};

static tn_status totals(const void *opt, const tn_group_rewards *r, const double *kl, tn_metrics *m, tn_err *e) {
    return tn_group_totals(r, m, e);
}

static tn_status token_advantages(const void *opt, tn_rollouts *r, tn_err *e) { return tn_token_advantages(opt, r, e); }

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_grpo_opt loss = {0};
    tn_token_advantage_opt adv;
    tn_step_reward_options steps;
    tn_critic_free_task t = {.verb = "reinforce",
                             .default_lr = 1e-6,
                             .more_rewards = tn_world_reward_fns,
                             .algo = &tn_algo_grpo,
                             .opt = &loss,
                             .advantages = totals,
                             .token_advantages = token_advantages,
                             .token_opt = &adv,
                             .steps = &steps,
                             .entropy_floor = &loss.entropy_floor};
    tn_opts_bind(o, tn_group_rows, &t.q);
    tn_opts_bind(o, tn_critic_free_rows, &t.q);
    tn_rewards_bind(o, &t.rewards);
    tn_opts_bind(o, tn_grpo_rows, &loss);
    tn_opts_bind(o, tn_token_advantage_rows, &adv);
    tn_opts_bind(o, tn_step_reward_rows, &steps);
    adv.step_weight = steps.weight;
    t.rewards.none_needed = steps.model != NULL;
    TN_TRY(tn_token_advantage_check(&adv, steps.model != NULL, e));
    loss.loss_type = tn_opts_str(o, "loss-type");
    TN_TRY(tn_grpo_check(&loss, e));
    bool group = strcmp(adv.estimator, "reinforce_plus_plus_baseline") == 0;
    if (group && t.q.generations < 2)
        return tn_fail(e, TN_ARG, "--advantage-estimator %s compares the responses to a prompt: --num-generations must be 2 or more",
                       adv.estimator);
    t.greedy_first = strcmp(adv.estimator, "remax") == 0;
    t.q.generations += t.greedy_first;
    t.max_completion = loss.max_completion, t.top_entropy = loss.top_entropy;
    t.kl_in_reward = !group && adv.kl_coef != 0;
    t.beta = loss.beta != 0 ? loss.beta : t.kl_in_reward ? adv.kl_coef : 0;
    return tn_critic_free_run(&t, o, e);
}

/* `rows` first: its defaults are this method's. */
static const tn_opt_row *const tables[] = {
    tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows, tn_reward_source_rows, tn_ensemble_rows, tn_judge_rows, tn_appraise_rows, tn_label_option_rows, tn_step_reward_rows, rows, tn_group_rows,
    tn_critic_free_rows,
    tn_grpo_rows,         tn_token_advantage_rows, tn_online_rows,
    tn_shape_rows, tn_shaping_rows, tn_alarm_rows, tn_alarms_rows, NULL};

const tn_verb tn_verb_reinforce = {
    .name = "reinforce",
    .stage = "Train",
    .summary = "reinforcement learning without a critic: REINFORCE++, its baseline variant, ReMax",
    .details =
        "Rows: {\"prompt\"} or {\"messages\"}; further fields are kept for --reward-funcs.\n"
        "One response to a prompt is enough: the batch (or, for remax, the greedy response) is the baseline.\n"
        "A step takes --per-device-train-batch-size x --gradient-accumulation-steps responses (remax: of which one\n"
        "in --num-generations + 1 is greedy and only a baseline). With --process-reward-model every step is rewarded at\n"
        "its last token, and advantages are rewards to go.\n\n"
        "  tenet reinforce --model sft/ --reward-model rm/ --data prompts.jsonl --output-dir rpp/\n"
        "  tenet reinforce --advantage-estimator remax --model sft/ --reward-model rm/ --data prompts.jsonl --output-dir remax/",
    .tables = tables,
    .run = run};
