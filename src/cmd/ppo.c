/* tenet ppo: reinforcement learning from a reward model. */
#include "rl/ppo.h"

static tn_status run(const tn_opts *o, tn_err *e) {
    tn_ppo_task t;
    tn_opts_bind(o, tn_ppo_rows, &t.ppo);
    tn_judge_bind(o, &t.judge);
    tn_opts_bind(o, tn_ppo_policy_rows, &t.policy);
    tn_opts_bind(o, tn_ppo_value_rows, &t.value);
    tn_opts_bind(o, tn_rl_rows, &t.rl);
    tn_opts_bind(o, tn_score_rows, &t.score);
    tn_opts_bind(o, tn_ensemble_rows, &t.ensemble);
    t.together = tn_opts_given(o, "ensemble");
    tn_opts_bind(o, tn_step_reward_rows, &t.steps);
    tn_opts_bind(o, tn_shape_rows, &t.shaping.map);
    tn_opts_bind(o, tn_shaping_rows, &t.shaping);
    tn_opts_bind(o, tn_macro_rows, &t.macro);
    tn_opts_bind(o, tn_safe_rows, &t.safe.q);
    tn_opts_bind(o, tn_lagrange_rows, &t.safe.lagrange);
    tn_opts_bind(o, tn_alarm_rows, &t.alarms.limits);
    tn_opts_bind(o, tn_alarms_rows, &t.alarms);
    return tn_ppo_run(&t, o, e);
}

static const tn_opt_row *const tables[] = {tn_train_option_rows,
                                           tn_machine_option_rows,
                                           tn_adapter_option_rows,
                                           tn_ppo_rows,
                                           tn_judge_rows,
                                           tn_appraise_rows,
                                           tn_label_option_rows,
                                           tn_online_rows,
                                           tn_rl_rows,
                                           tn_score_rows,
                                           tn_ppo_policy_rows,
                                           tn_ppo_value_rows,
                                           tn_ensemble_rows,
                                           tn_step_reward_rows,
                                           tn_shape_rows,
                                           tn_shaping_rows,
                                           tn_macro_rows,
                                           tn_safe_rows,
                                           tn_lagrange_rows,
                                           tn_alarm_rows,
                                           tn_alarms_rows,
                                           NULL};

const tn_verb tn_verb_ppo = {.name = "ppo",
                             .stage = "Train",
                             .summary =
                                 "reinforcement learning from a reward model (PPO with a critic)",
                             .details = "Rows: {\"prompt\"} or {\"messages\"} (further fields are "
                                        "kept). Sampling and training are one forward:\n"
                                        "the ratio before the first update of an iteration is "
                                        "exactly 1, and the run stops if it is not.\n\n"
                                        "  tenet ppo --model sft/ --reward-model rm/ --data "
                                        "prompts.jsonl --output-dir ppo/ --iterations 30",
                             .tables = tables,
                             .run = run};
