/* On-line self-distillation (SDPO: Huebotter et al. 2026, 2601.20802; TRL's SDPOTrainer): the policy's own answer is learned
 * again from a teacher that reads it behind feedback. Which answers have a teacher: rl/sdpo.h. */
#ifndef TN_ALGO_SDPO_H
#define TN_ALGO_SDPO_H
#include "algo/losses.h"

typedef struct tn_sdpo_opt {
    const char *mode;    /* sampled_token | full_logits */
    double alpha;        /* full_logits: divergence as tn_gkd_opt's beta; sampled_token: 1 */
    double is_clip;      /* most of the ratio pi / pi_old that weighs a token's loss; 0: no ratio */
    double weight;       /* w of (1 - w) policy loss + w distillation */
    tn_grpo_opt policy;  /* of the policy loss */
} tn_sdpo_opt;
extern const tn_opt_row tn_sdpo_rows[];
tn_status tn_sdpo_check(const tn_sdpo_opt *o, tn_err *e);
#endif
