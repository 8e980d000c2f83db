/* State of the critic-free loop: critic_free.c, its set-up in critic_free_setup.c. */
#ifndef TN_RL_CRITIC_FREE_INT_H
#define TN_RL_CRITIC_FREE_INT_H
#include "rl/critic_free.h"

typedef struct tn_critic_free {
    const tn_critic_free_task *task;
    tn_online on; /* one step = one optimiser step */
    tn_rewards rewards;
    tn_step_rewards steps;
    tn_sdpo sdpo;
    int teacher_length; /* tokens of a teacher's prompt, at most */
    tn_slices slices;
    tn_group_rewards group;
    tn_shaping_options shape;
    tn_alarms_options watch;
    tn_shaping shaping;
    tn_alarms alarms;
    tn_scorer **judge; /* [reward models] */
    double *shaped;    /* [responses][sources] with shaping: what the advantages see */
    int *group_off;                            /* [n_prompt + 1] */
    double *total, *advantage, *scratch, *kl;  /* [responses] */
    double *entropy;                           /* [tokens of a slice], with an entropy floor */
    long each, batch;                          /* responses of a step and of a sampling */
    long per_sampling, per_epoch, total_steps; /* steps; per_epoch: of whole generation batches */
    double peak_lr;
    /* what the next log entry averages */
    tn_metrics m;
    double loss, norm;
    int n_logged;
} tn_critic_free;


/* Options checked, everything planned and (unless --dry-run) loaded. */
tn_status tn_critic_free_set_up(tn_critic_free *l, const tn_opts *opts, tn_err *e);
void tn_critic_free_close(tn_critic_free *l);
/* Steps of an epoch and of the run, from the prompts that there are. */
tn_status tn_critic_free_plan(tn_critic_free *l, tn_err *e);
/* The policy that made a batch is the reference of its pairs. */
bool tn_sampler_is_reference(const tn_critic_free *l);
#endif
