/* Reward shaping at rollout time (algo/shape.h), for every loop on own samples: maps the scores of each reward model
 * before they are combined. Maps that compare with the reference's answers to the same prompt sample them when a prompt
 * comes first, from a stream of (seed, row), so a resumed run has the same ones; they are kept while the run lasts. */
#ifndef TN_RL_SHAPING_H
#define TN_RL_SHAPING_H
#include "algo/shape.h"
#include "rl/online.h"

typedef struct tn_shaping_options {
    tn_shape_opt map;
    int64_t answers; /* of the reference to each prompt */
} tn_shaping_options;
extern const tn_opt_row tn_shaping_rows[]; /* beside tn_shape_rows, which bind to map */

typedef struct tn_shaping {
    const tn_shaping_options *o; /* NULL: scores stay as they are */
    int n_model, n_answer;       /* n_answer 0: the map reads no reference */
    tn_shape_state *state;       /* [n_model] */
    tn_gen *gen;                 /* of the reference */
    tn_rollouts answers;
    uint64_t *key;               /* [prompts of a sampling] */
    double *known;               /* [rows][n_model][n_answer] NaN: not sampled yet */
    double *ref, *length, *score; /* [responses][n_answer], [responses], [max(responses, answers)] */
} tn_shaping;

/* *references: the loop has to have the reference (tn_online_shape). n_model: reward models. */
tn_status tn_shaping_check(const tn_shaping_options *o, int n_model, bool *references, tn_err *e);
tn_status tn_shaping_budget(const tn_shaping_options *o, const tn_online *on, tn_budget *b, tn_err *e);
tn_status tn_shaping_open(tn_shaping *s, const tn_shaping_options *o, int n_model, tn_online *on, tn_err *e);
void tn_shaping_close(tn_shaping *s);
/* Reference scores of the prompts in hand by all models; may be interrupted. */
tn_status tn_shaping_refer(tn_shaping *s, tn_online *on, tn_scorer *const *scorer, tn_err *e);
/* score[i * stride] of all responses by model k, in place. */
tn_status tn_shaping_apply(tn_shaping *s, int k, const tn_online *on, double *score, int stride, tn_err *e);

json_t *tn_shaping_state(const tn_shaping *s); /* new reference */
void tn_shaping_take(tn_shaping *s, const json_t *state);
#endif
