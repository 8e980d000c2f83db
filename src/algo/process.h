/* Rewards of the steps of a response, from what a process reward model says of them, and GRPO's advantages of them. */
#ifndef TN_ALGO_PROCESS_H
#define TN_ALGO_PROCESS_H
#include "algo/group.h"

/* r[n] (which may be p) from the probabilities p[n] that steps are right; the sum of r is an outcome's score:
 *   value    r_k = p_k
 *   change   r_k = p_k - p_{k-1}, p before the first one 0: sums to the last one (progress: Setlur et al. 2024, 2410.08146)
 *   least    the least p at the first step that has it, else 0: sums to it (PURE's credit at zero temperature, 2504.15275) */
void tn_step_values(const char *form, const double *p, int n, double *r);

/* Process supervision of GRPO (DeepSeekMath, 2402.03300, 4.1.3). step[n_tok]: the reward of the step that ends with a token,
 * NaN where none ends. Over all steps of a group's responses
 *   r~ = (r - mean) / (std + eps),   A_t += weight x sum of r~ of the response's steps that end at t or later
 * kind: std of the group, of the batch, or (GROUP_MEAN) no division; equal rewards give 0. A group has `each` responses;
 * response i has tokens off[i] .. off[i+1]-1. */
void tn_step_advantages(tn_baseline kind, double weight, int n_group, int each, const int *off, const double *step,
                        double *advantage);
#endif
