/* SDPO's teachers (Huebotter et al. 2026, 2601.20802; TRL's SDPOTrainer): the policy itself, which reads in place of the prompt
 * a text made of it, of an answer to the same prompt that succeeded, and of feedback; at the tokens of the policy's answer. */
#ifndef TN_RL_SDPO_H
#define TN_RL_SDPO_H
#include "algo/sdpo.h"
#include "rl/online.h"

typedef struct tn_sdpo_options {
    const char *reprompt, *solution, *feedback; /* templates */
    bool use_successful, not_own, use_feedback, feedback_only, remove_thinking;
    double threshold;    /* reward of a success */
    int64_t max_reprompt;
    const char *kind;    /* of the teacher's weights: base | live | ema */
    double rate;         /* of ema */
    int64_t sync_steps;
} tn_sdpo_options;
extern const tn_opt_row tn_sdpo_teacher_rows[];

typedef struct tn_sdpo {
    const tn_sdpo_options *o; /* NULL: no self-distillation, and nothing below does anything */
    int *demo;         /* [responses] whose answer the teacher of each is shown; -1: nobody's */
    size_t *begin;     /* [responses + 1] of the teachers' prompts in ids */
    tn_ids ids;
    uint8_t *taught;   /* [responses] does it have a teacher? */
    tn_example **side; /* [slices][responses of one] */
    int n_slice, most; /* most: tokens of a teacher's prompt */
    tn_str text, part, all;
} tn_sdpo;

tn_status tn_sdpo_options_check(const tn_sdpo_options *o, tn_err *e);
/* Most tokens of a teacher's prompt, from all prompts and the longest answer; longer ones lose their first tokens (at
 * --max-reprompt-len in any case). */
tn_status tn_sdpo_measure(const tn_sdpo_options *o, const tn_online *on, int max_new, int *most, tn_err *e);
tn_status tn_sdpo_open(tn_sdpo *s, const tn_sdpo_options *o, const tn_online *on, int most, int n_slice, tn_err *e);
size_t tn_sdpo_bytes(int n, int most);
void tn_sdpo_close(tn_sdpo *s);
/* Who is shown what, from the rewards of responses (NaN: no success). Emits TRL's self_distillation/... fractions. */
void tn_sdpo_choose(tn_sdpo *s, const tn_rollouts *r, const double *reward, tn_metrics *m);
/* Answers that nobody teaches are left out (NaN advantages) where nothing but distillation is learned. */
void tn_sdpo_mask(const tn_sdpo *s, tn_rollouts *r, const tn_sdpo_opt *o);
/* The same of a checkpoint. New reference, NULL without memory. */
json_t *tn_sdpo_state(const tn_sdpo *s, const tn_rollouts *r);
tn_status tn_sdpo_take(tn_sdpo *s, const tn_rollouts *r, const json_t *state, const char *where, tn_err *e);
/* Prompts of the teachers of chosen demonstrations, and the sides of slices' examples (tn_example.teacher, ret: 1 where
 * there is a teacher). Slices hold every response apart. */
tn_status tn_sdpo_teach(tn_sdpo *s, const tn_online *on, tn_rollouts *part, tn_err *e);
#endif
