/* PPO's losses for one action: a token (ppo.c), or a macro action (macro_loss.c). */
#ifndef TN_ALGO_PPO_H
#define TN_ALGO_PPO_H
#include "algo/losses.h"
#include "algo/obs.h"

tn_status tn_ppo_policy_check(const tn_ppo_policy_opt *o, const tn_obs *x, unsigned more_reads,
                              const char *who, tn_err *e);
tn_status tn_ppo_value_check(const tn_ppo_value_opt *o, const tn_obs *x, unsigned more_reads,
                             const char *who, tn_err *e);
/* The action's loss, with *grad = d loss / d logp, or / d value (neither divided by a count, the
 * value's without vf-coef), and the metrics of both. */
double tn_ppo_policy_term(const tn_ppo_policy_opt *o, double logp, double old_logp,
                          double advantage, double *grad, tn_metrics *m);
double tn_ppo_value_term(const tn_ppo_value_opt *o, double value, double old_value, double ret,
                         double *grad, tn_metrics *m);
/* -c_H (1/N) sum H_t, into g->entropy; N = total.tok. */
double tn_ppo_entropy_bonus(const tn_ppo_policy_opt *o, const tn_obs *x, tn_grad *g, tn_metrics *m);
unsigned tn_ppo_policy_more_needs(const void *opt);
#endif
