/* tenet nash-md: policy gradient on preference over the geometric mixture of policy and reference. */
#include "rl/opponent.h"
#include "world/reward.h"

typedef struct options {
    double mixture;
    tn_nash_opt nash;
} options;
#define AT(f) offsetof(options, f)
static const tn_opt_row rows[] = {
    {"beta", TN_OPT_REAL, AT(nash.beta), "0.1", NULL, 0, 1e9, NULL, "X", "Weight of the KL to the reference."},
    {"mixture-coef", TN_OPT_REAL, AT(mixture), "0.5", NULL, 0, 1, NULL, "C",
     "Share of the reference in the opponent: per token, (1 - C) policy logits + C reference logits. 0: the policy plays itself."},
    TN_OPT_LAST};

static tn_status run(const tn_opts *o, tn_err *e) {
    options own;
    tn_opposed_options opposed;
    tn_critic_free_task t = {.verb = "nash-md",
                             .default_lr = 5e-7,
                             .more_rewards = tn_world_reward_fns,
                             .algo = &tn_algo_reinforce,
                             .advantages = tn_opposed_totals,
                             .advantage_opt = &opposed,
                             .token_advantages = tn_nash_token_advantages,
                             .token_opt = &own.nash,
                             .kl_in_reward = true,
                             .opponent = TN_OPPONENT_MIXTURE};
    tn_opts_bind(o, tn_critic_free_rows, &t.q);
    tn_rewards_bind(o, &t.rewards);
    tn_opts_bind(o, rows, &own);
    tn_opts_bind(o, tn_opposed_rows, &opposed);
    t.q.generations = 2, t.max_completion = opposed.max_new;
    t.beta = 1; /* the reference mixes in, whatever its KL costs */
    t.mixture = own.mixture;
    return tn_critic_free_run(&t, o, e);
}

/* tn_opposed_rows first: its default of --temperature is this method's. */
static const tn_opt_row *const tables[] = {
    tn_train_option_rows, tn_machine_option_rows, tn_adapter_option_rows, tn_reward_source_rows, tn_ensemble_rows, tn_judge_rows, tn_appraise_rows, tn_label_option_rows, tn_opposed_rows,
    rows,                 tn_critic_free_rows,    tn_online_rows,         tn_shape_rows,         tn_shaping_rows,  tn_alarm_rows,
    tn_alarms_rows,       NULL};

const tn_verb tn_verb_nash_md = {
    .name = "nash-md",
    .stage = "Train",
    .summary = "Nash learning from preferences: the policy against the mixture of itself and the reference",
    .details =
        "Rows: {\"prompt\"} or {\"messages\"}; further fields are kept for --reward-funcs.\n"
        "The policy answers every prompt once, and so does its opponent, the geometric mixture of policy and reference. The\n"
        "probability that the policy's answer is preferred, s(r - r'), less one half is its advantage; the KL to the reference is\n"
        "priced token by token. Only the policy's own answers are learnt from.\n"
        "A step takes --per-device-train-batch-size x --gradient-accumulation-steps prompts.\n\n"
        "  tenet nash-md --model sft/ --reward-model rm/ --data prompts.jsonl --output-dir nash/\n"
        "  tenet nash-md --model sft/ --reward-model rm/ --data prompts.jsonl --mixture-coef 0.125 --beta 0.05 --output-dir nash/",
    .tables = tables,
    .run = run};
