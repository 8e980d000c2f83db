/* A language model as the judge of sampled responses, under a constitution: AI feedback inside a training loop
 * (oversight/appraise.h has what it is asked and what becomes of that).
 *
 * A judgement is a function of the judge's weights, the prompt, the responses and (seed, step, number of the prompt) alone: nothing is
 * kept, a resumed run asks again. What is too long for the judge gets NaN, no answer. */
#ifndef TN_RL_REWARD_JUDGE_H
#define TN_RL_REWARD_JUDGE_H
#include "oversight/appraise.h"
#include "oversight/label_options.h"
#include "rl/online.h"

typedef struct tn_judge_options {
    const char *judge;  /* a folder, "policy" or NULL */
    double temperature; /* of chains of thought */
    tn_appraise_options appraise;
    tn_label_options label;
} tn_judge_options;
extern const tn_opt_row tn_judge_rows[]; /* with tn_appraise_rows and tn_label_option_rows */

typedef struct tn_reward_judge tn_reward_judge;
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
/* reward[i * stride] of all responses; metrics judge/margin, judge/position (how much more the first place is worth), judge/equal,
 * judge/unread. */
tn_status tn_reward_judge_score(tn_reward_judge *j, const tn_online *on, tn_rollouts *roll, double *reward, int stride, tn_metrics *m, tn_err *e);
#endif
