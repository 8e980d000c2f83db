/* Who says which step of a solution is the first wrong one, and whether a solution is right: an oracle that is handed in, a
 * process reward model, or labels that come with the rows; a right answer can also be a verifiable reward's word. */
#ifndef TN_RL_STEP_JUDGE_H
#define TN_RL_STEP_JUDGE_H
#include "base/option.h"
#include "rl/reward_fn.h"
#include "train/scorer.h"

/* Judges the steps of one completion, which is x->text cut up. */
typedef struct tn_step_oracle {
    const char *name, *argument; /* as in tn_reward_fn */
    tn_status (*open)(void **state, const char *argument, tn_err *e);
    /* step[n]: their texts. *known = false: no answer for such rows. right[i]: is step i right; *good: is the solution,
     * which is also asked whether x->ended. */
    tn_status (*judge)(void *state, const tn_completion *x, const char *const *step, int n, bool *right, bool *good,
                       bool *known, tn_err *e);
    void (*close)(void *state);
} tn_step_oracle;

/* A response to the prompt x, and what is said of it. */
typedef struct tn_solution {
    const tn_example *x;
    const int32_t *ids; /* with its stop token, where it ended */
    int n, n_step;
    const int32_t *end; /* [n_step] tokens up to and with each step (data/step_cut.h) */
    bool ended;
    bool known;      /* false: nobody can judge it */
    bool good;       /* it ended, and its answer is right */
    bool right;      /* and no step is wrong */
    int first_wrong; /* from 0; -1: none was found */
} tn_solution;

typedef struct tn_step_judge_options {
    const char *localise, *verify, *model;
    double threshold;
    int64_t score_tokens;
} tn_step_judge_options;
extern const tn_opt_row tn_step_judge_rows[];

typedef struct tn_step_judge {
    tn_step_judge_options o;
    const tn_tokenizer *tok;
    const char *separator;
    bool labels;                  /* --localise labels: rows come with their steps */
    const tn_step_oracle *oracle; /* localises, or NULL */
    void *oracle_state;
    bool oracle_verifies;
    tn_scorer *prm; /* localises, or NULL */
    bool prm_verifies;
    const tn_reward_fn *fn; /* verifies, or NULL */
    void *fn_state;
    int max_new;
    tn_str text, steps; /* of the solution at hand */
    const char **step;
    bool *step_right;
    tn_example *ex;
    tn_response *response;
    double *score;
    size_t cap_step, cap_right, cap_ex, cap_response, cap_score;
} tn_step_judge;

/* Checks the options: what is named exists. oracles: a table that ends with a NULL name; more: reward functions beside
 * the built-in ones, or NULL. */
tn_status tn_step_judge_check(const tn_step_judge_options *o, const tn_step_oracle *oracles, const tn_reward_fn *more, tn_err *e);
/* A process reward model's share of the memory plan; length and most as below. */
tn_status tn_step_judge_budget(const tn_step_judge_options *o, tn_backend *be, int length, int most, tn_budget *p, tn_err *e);
/* policy_dir: of the tokenizer `tok`; length: longest prompt with its response; max_new: longest response; most: solutions
 * judged together. `o` and what it points to outlive the judge. close also after failure. */
tn_status tn_step_judge_open(tn_step_judge *j, const tn_step_judge_options *o, const tn_step_oracle *oracles,
                             const tn_reward_fn *more, const tn_tokenizer *tok, const char *separator, const char *policy_dir,
                             tn_backend *be, int length, int max_new, int most, tn_err *e);
void tn_step_judge_close(tn_step_judge *j);
/* Fills known, good, right and first_wrong of n solutions. */
tn_status tn_step_judge_run(tn_step_judge *j, tn_solution *s, int n, tn_err *e);
#endif
