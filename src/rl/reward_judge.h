/* A language model as the judge of sampled responses, under a constitution: AI feedback inside a training loop (direct RLAIF,
 * Lee et al. 2309.00267; online AI feedback, Guo et al. 2402.04792). What it is asked, with P(i > j) its probability that answer
 * i is better (oversight/label.h):
 *
 *   each-other  every response against every other one to the same prompt
 *   reference   every response against the texts of the row's field --judge-reference-key
 *   verdict     whether a response does by the principle, alone
 *   score       how well, from 1 to 10 (oversight/rating.h)
 *
 * and the reward of response i, of m comparisons:
 *   as prob     mean_j P(i > j); the verdict's probability; (s - 5.5) / 4.5
 *   as logit    sum_j logit P(i > j) / (m + 1) among each other, which is the least-squares Bradley-Terry score, so that of two
 *               responses r_i - r_j = logit P(i > j); otherwise the mean of logits. P is kept within [1e-6, 1 - 1e-6]
 *
 * Equal texts are equally good and not asked about. A judgement is a function of the judge's weights, the prompt, the responses and
 * (seed, step, number of the prompt) alone: nothing is kept, a resumed run asks again. NaN: too long for the judge to read. */
#ifndef TN_RL_REWARD_JUDGE_H
#define TN_RL_REWARD_JUDGE_H
#include "oversight/label_options.h"
#include "rl/online.h"

typedef struct tn_judge_options {
    const char *judge, *ask, *as, *key; /* judge: a folder, "policy" or NULL */
    double temperature;                 /* of chains of thought */
    tn_label_options label;
} tn_judge_options;
extern const tn_opt_row tn_judge_rows[];

typedef struct tn_reward_judge tn_reward_judge;
/* Options of tn_judge_rows and tn_label_option_rows. */
void tn_judge_bind(const tn_opts *given, tn_judge_options *o);
/* Do the options fit each other, and the number of responses to a prompt? Loads nothing. */
tn_status tn_judge_check(const tn_judge_options *o, int n_sample, tn_err *e);
/* Are the rows of an opened run such as it can judge? */
tn_status tn_judge_fit(const tn_judge_options *o, const tn_online *on, tn_err *e);
tn_status tn_reward_judge_budget(const tn_judge_options *o, const tn_online *on, tn_budget *p, tn_err *e);
/* FLOP per sampled token, roughly. */
tn_status tn_reward_judge_flop(const tn_judge_options *o, const tn_online *on, double *flop, tn_err *e);
tn_status tn_reward_judge_open(tn_reward_judge **j, const tn_judge_options *o, const tn_online *on, tn_err *e);
const char *tn_reward_judge_help(const tn_reward_judge *j); /* what it is asked, in words */
void tn_reward_judge_close(tn_reward_judge *j);
/* reward[i * stride] of all responses; metrics judge/margin, judge/position (how much more the first place is worth), judge/unread. */
tn_status tn_reward_judge_score(tn_reward_judge *j, const tn_online *on, const tn_rollouts *roll, double *reward, int stride, tn_metrics *m,
                                tn_err *e);
#endif
