/* Rewards of rollouts from several sources: reward models (--reward-model) and functions
 * (--reward-funcs), and a judge (--reward-judge), each with its weight, in this order. With --ensemble the models count as one source, which
 * comes behind them; their own scores are reported and have no weight. */
#ifndef TN_RL_REWARDS_H
#define TN_RL_REWARDS_H
#include "algo/ensemble.h"
#include "rl/online.h"
#include "rl/reward_fn.h"
#include "rl/reward_judge.h"
#include "train/scorer.h"

typedef struct tn_reward_options {
    tn_opt_list models, funcs, weights;
    const char *step_score; /* of process reward models */
    bool none_needed; /* steps have rewards of their own (step_rewards.h) */
    bool together; /* --ensemble was given: */
    tn_ensemble_opt ensemble;
    tn_judge_options judge; /* .judge NULL: none, or the verb knows none */
} tn_reward_options;
extern const tn_opt_row tn_reward_source_rows[];

typedef struct tn_reward_source {
    char name[64];                      /* the folder's or the function's */
    char column[80], mean[96], std[96]; /* in samples.jsonl: rewards/NAME; of its metrics */
    tn_scorer *scorer;                  /* a model, or */
    const tn_reward_fn *fn;             /* a function with its state, or */
    tn_reward_judge *judge;             /* a judge; none of them: the ensemble */
    void *state;
} tn_reward_source;

typedef struct tn_rewards {
    int n;
    tn_reward_source *source; /* [n] */
    double *weight;           /* [n] */
    double *value;            /* [responses][n]; NaN: no answer */
    double *column;           /* [responses] */
    const tn_reward_options *o;
    int n_member;             /* of the ensemble: models, and heads of models that are ensembles themselves */
    double *member;           /* [responses][n_member] */
    tn_str text;
    tn_decode_mem *decode;
    bool warned;
} tn_rewards;

/* The options of tn_reward_source_rows and tn_ensemble_rows, and of tn_judge_rows where the verb has them. */
void tn_rewards_bind(const tn_opts *given, tn_reward_options *o);
/* The function that NAME or NAME:ARGUMENT names, built in or in `more` (ends with a NULL name; may be NULL), and its
 * argument; NULL: none was given. */
tn_status tn_reward_fn_named(const char *spec, const tn_reward_fn *more, const tn_reward_fn **f, const char **argument, tn_err *e);
/* Is there a reward at all, a weight for each, and does every function exist and take its argument? `more`:
 * functions beside the built-in ones, ending with a NULL name; NULL: none. Loads nothing. */
tn_status tn_rewards_check(const tn_reward_options *o, const tn_reward_fn *more, tn_err *e);
/* Can checked functions judge the rows and read the text of an opened run? */
tn_status tn_rewards_fit(const tn_reward_options *o, const tn_reward_fn *more, const tn_online *on, tn_err *e);
/* The reward models' share of the memory plan of a measured run. */
tn_status tn_rewards_budget(const tn_reward_options *o, const tn_online *on, tn_budget *p,
                            tn_err *e);
/* FLOP of the reward models per token that they read. */
tn_status tn_rewards_flop(const tn_reward_options *o, const tn_online *on, double *flop, tn_err *e);
/* Checked options, for the rollouts of a prepared run. close also after failure. */
tn_status tn_rewards_open(tn_rewards *r, const tn_reward_options *o, const tn_reward_fn *more,
                          const tn_online *on, tn_err *e);
void tn_rewards_close(tn_rewards *r);
/* Fills value, and tn_rewards_metrics, for the run's rollouts or others of its prompts, no more than those. */
tn_status tn_rewards_score(tn_rewards *r, const tn_online *on, tn_rollouts *roll, tn_metrics *m, tn_err *e);
/* With --ensemble, of whole models: their columns of value[responses][n], shaped, into its own. */
tn_status tn_rewards_join(const tn_rewards *r, double *value, int n, tn_err *e);
/* rewards/NAME/mean and rewards/NAME/std (ddof 1) over the answers given to n responses. */
void tn_rewards_metrics(const tn_rewards *r, int n, tn_metrics *m);
void tn_reward_source_name(tn_reward_source *s, const char *name);
#endif
