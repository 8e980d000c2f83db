/* What every loop that learns from its own samples shares: the run's folder, the policy and its
 * reference, prompts, sampler, rollouts, samples.jsonl, checkpoints and resume. Left to the loops
 * (ppo.c, critic_free.c): rewards, advantages, which samples make an update, their own state. */
#ifndef TN_RL_ONLINE_H
#define TN_RL_ONLINE_H
#include "train/adapters.h"
#include "train/rollout.h"
#include "train/plan.h"
#include "train/trainer.h"

typedef struct tn_online_options {
    const char *ref_model;
    int64_t gen_batch, log_samples, top_k;
    double top_p, min_p;
    bool truncated_logp, offload;
} tn_online_options;
extern const tn_opt_row tn_online_rows[];

/* Who makes the last response to each prompt: the policy like all others, or somebody else. */
typedef enum tn_opponent { TN_OPPONENT_NONE, TN_OPPONENT_REFERENCE, TN_OPPONENT_MIXTURE } tn_opponent;

/* What a loop decides. */
typedef struct tn_online_shape {
    int n_prompt, n_sample, max_new; /* of one sampling */
    double temperature;
    bool reference; /* log-probs of the frozen reference are needed */
    tn_opponent opponent; /* with n_sample 2 and the reference */
    double mixture;       /* the reference's share in the mixture's logits */
    const char *teacher;  /* base | live | ema: the second side of examples is read by the policy as it was, is, or by its moving
                           * average (part TN_MOVING_REF of checkpoints), with divergences; NULL: there is no teacher */
    double pair_beta;     /* of the Jensen-Shannon divergence from it */
    const tn_algo *algo;
    const void *opt;
    tn_batch_need more; /* beyond rollouts, of batches that go through the policy's workspace */
    int more_length;
    int sure_blocks; /* as in tn_budget */
    size_t more_examples;
} tn_online_shape;

typedef struct tn_online {
    const char *verb;
    tn_comm *comm; /* ranks of the run */
    int lanes;
    tn_train_options o;
    tn_online_options q;
    tn_adapter_options lora;
    const tn_opts *opts;
    tn_backend *be;
    tn_tokenizer *tok; /* NULL: prompts are ids */
    tn_desc desc;      /* of the policy; desc and spec are known before anything is loaded */
    tn_lora_spec spec; /* its adapter; rank 0: all weights are trained */
    tn_dataset *prompts;
    tn_plan plan; /* one step = one prompt */
    tn_trainee policy;
    tn_model *ref;
    tn_gen *gen, *opponent; /* opponent NULL: there is none */
    tn_rollouts roll;
    tn_sampling sampling;
    int32_t stop_id[16];
    int shortest, longest; /* prompts, tokens */
    tn_online_shape shape;
    tn_batch_need need; /* of the policy's micro-batches */
    int rows;           /* of them that the heads read at once */
    int rollout_length; /* longest prompt with its response, and one */
    int rollout_blocks; /* of key/values of all rollouts of a sampling, at most */
    int length;         /* longest sequence */
    int gen_batch;      /* sequences decoded together */
    tn_part part[3];       /* what is trained: the policy, and what a loop adds */
    int n_part;
    tn_trainee *learner[3]; /* the policy, and critics */
    int n_learner;
    tn_park *park;         /* frozen models between their uses; NULL: they stay in memory */
    tn_runlog log;
    tn_out *samples;
    json_t *record;
    tn_str from; /* checkpoint that the run continues; empty: none */
    int lock;
    long step, tokens; /* loop's steps done; tokens sampled, each with its prompt */
    long keep;         /* step of a checkpoint that pruning leaves; 0: none */
    long saved;        /* step of the last checkpoint of this process; -1: none */
    bool stop;         /* Ctrl-C at some rank */
} tn_online;

/* Binds and checks the options. close also after failure of this and what follows. */
tn_status tn_online_bind(tn_online *on, const char *verb, const tn_opts *opts, tn_err *e);
/* The run's folder opened, prompts loaded; what the policy will be. */
tn_status tn_online_open(tn_online *on, tn_err *e);
/* Sizes of all that follows. */
void tn_online_measure(tn_online *on, const tn_online_shape *s);
/* What tn_online_prepare takes, for the memory plan. */
tn_status tn_online_budget(const tn_online *on, tn_budget *p, tn_err *e);
/* Policy, reference, workspaces, sampler and rollouts; record of the run. */
tn_status tn_online_prepare(tn_online *on, tn_err *e);
/* The order of the prompts anew, after some were taken out. */
tn_status tn_online_replan(tn_online *on, tn_err *e);
/* For scoring all rollouts of one sampling with a reward model, at most that many tokens at once. */
tn_batch_need tn_online_scored(const tn_online *on, int tokens, bool same_tokenizer);
/* Workspace of another trainee that reads the same rollouts (a critic). */
tn_status tn_online_workspace(const tn_online *on, tn_trainee *t, tn_err *e);
void tn_online_close(tn_online *on);
/* Model, prompts and one of them, on stderr. */
tn_status tn_online_introduce(const tn_online *on, tn_err *e);

/* A pass over one sampling with mean prompts, every response as long as it may be. */
tn_effort tn_online_work(const tn_online *on);
/* FLOP of scoring it with a model of whole responses or of tokens, and of training on work like it. */
double tn_online_score_flop(const tn_online *on, const tn_desc *d, bool per_token);
double tn_online_train_flop(const tn_online *on, const tn_desc *d, const tn_lora_spec *s, const tn_effort *w);
/* Estimate of the time: `samplings`, each followed by `passes` of training of the policy and by `others` FLOP for
 * reward models, critic and the like. */
void tn_online_estimate(const tn_online *on, double samplings, double passes, double others);

/* Loads the checkpoint that the run continues (*state: the loop's own, new reference; NULL: the run
 * starts afresh) and opens the logs. */
tn_status tn_online_begin(tn_online *on, json_t **state, tn_err *e);
/* Prompts first .. first + n_prompt - 1 of the endless order of epochs into the rollouts. */
void tn_online_pick(tn_online *on, long first);
/* Responses, and the reference's log-probs of them. */
tn_status tn_online_sample(tn_online *on, uint64_t first_key, tn_err *e);
/* The first --log-samples responses with the columns (arrays by response) into samples.jsonl. */
typedef struct tn_online_column {
    const char *name;
    const double *value;
    int stride;
} tn_online_column;
tn_status tn_online_log_samples(tn_online *on, long step, const tn_online_column *c, int n_column,
                                tn_err *e);
/* Is a checkpoint due after this step: by --save-steps, by signal, by Ctrl-C (on->stop)? The same on all
 * ranks; once a step. */
tn_status tn_online_due(tn_online *on, bool *due, tn_err *e);
/* `state` (taken over) is what the loop needs to go on. A step is saved once. */
tn_status tn_online_checkpoint(tn_online *on, json_t *state, tn_err *e);
/* Ctrl-C: the error that says how to go on, after a checkpoint. */
tn_status tn_online_interrupted(const tn_online *on, const char *unit, long total, tn_err *e);
tn_status tn_online_save(tn_online *on, json_t *state, tn_err *e);

/* ---- turns.c ---- */
/* The plan of all that a loop takes, as `add` fills it in, printed and checked. Before that it is decided whether frozen models are
 * parked (on->park): where the folder's file system has no room for them, they count as in memory, and a line says so. */
typedef tn_status tn_online_add_fn(const void *loop, tn_budget *p, tn_err *e);
tn_status tn_online_plan(tn_online *on, tn_online_add_fn *add, const void *loop, tn_err *e);
/* A frozen model that is read between two trainings alone, and that the plan counted so (tn_budget_frozen). */
tn_status tn_online_park(const tn_online *on, tn_model *m, tn_err *e);
/* Whoever has read a parked model says that it may go. */
void tn_online_leave(const tn_online *on);
/* Is the next update of all learners the last before the next sampling? */
void tn_online_last(tn_online *on, bool last);
#endif
