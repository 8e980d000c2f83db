/* A reward model as a judge of (prompt, response): any sequence-classification checkpoint, with its own
 * tokenizer and chat template. With the policy's own tokenizer the token ids are taken as they are. Process reward
 * models judge the steps of a response's text (scorer_steps.c). */
#ifndef TN_TRAIN_SCORER_H
#define TN_TRAIN_SCORER_H
#include "model/budget.h"
#include "train/batch.h"

typedef struct tn_scorer {
    tn_model *model;
    tn_run *run;
    tn_tokenizer *tok; /* NULL when it shares the policy's */
    bool same_tokenizer;
    int32_t stop[16], suffix[16]; /* end-of-turn ids of its tokenizer; what its template puts after one */
    int n_stop, n_suffix;
    int max_tokens, max_len;
    tn_batch mb;
    tn_batch_options batch;
    /* an example as the reward model reads it */
    tn_ids ids;
    tn_response *response;
    size_t *begin, cap, cap_begin; /* of each response in ids */
    tn_str ones;
    /* process reward models */
    tn_str separator, text, part;
    tn_steps steps;
    const char *step_score; /* min | product | last; NULL: min */
    double *step;           /* on request (keep_steps) the probability of every step, one response after the other */
    size_t *step_to;        /* and where its text ends in the response's, separator included, bytes */
    int *step_end;          /* where each response's end in `step` */
    int n_step, n_step_end;
    size_t n_step_to, cap_step, cap_step_to, cap_step_end;
    bool keep_steps;
    /* an ensemble of heads (`tenet reward --head ensemble`): the score is their mean, and on request each one's is kept */
    int n_member;
    double *member;     /* [n_member][cap_member], filled from member_at on, or NULL */
    int cap_member, member_at;
    /* on request of every response n_latent numbers, latent_map [n_latent][hidden] times its last hidden state */
    const double *latent_map;
    int n_latent;
    double *latent; /* [n_latent][cap_member], filled like member, or NULL */
    double *hidden; /* [hidden] */
} tn_scorer;

/* Do the two folders have the same tokenizer.json, or none? base: of adapter folders (tn_load). */
tn_status tn_scorer_same_tokenizer(bool *same, const char *dir, const char *policy_dir, const char *base, tn_err *e);
/* policy_dir: to compare tokenizers. */
tn_status tn_scorer_open(tn_scorer *s, const char *dir, const char *policy_dir, tn_backend *be,
                         int max_tokens, int max_len, tn_err *e);
/* Room for scoring `n` rollouts, `n_sample` to a prompt, each prompt of at least `min_prompt` tokens, all
 * together in at most `max_blocks` of the policy's blocks (0: not known). */
tn_status tn_scorer_reserve(tn_scorer *s, int n, int n_sample, int min_prompt, int max_blocks,
                            tn_err *e);
/* The same with a say in how the model is loaded: of an adapter its base, or whose trunk it shares. */
tn_status tn_scorer_open_with(tn_scorer *s, const char *dir, const char *policy_dir, tn_backend *be,
                              int max_tokens, int max_len, const tn_load *how, tn_err *e);
/* For who wants a reward: a cost model is TN_STATE. */
tn_status tn_scorer_no_cost(const tn_scorer *s, const char *dir, tn_err *e);
/* What the process reward model in `dir` was trained to find behind every step. */
tn_status tn_prm_separator(const char *dir, tn_str *out, tn_err *e);
void tn_scorer_close(tn_scorer *s);
/* What tn_scorer_open_with and tn_scorer_reserve take, for the memory plan. shared: how->on will have its trunk. */
tn_status tn_scorer_budget(tn_budget *p, const char *dir, tn_backend *be, const tn_load *how,
                           bool shared, int max_tokens, int max_len, const tn_batch_need *need,
                           tn_err *e);
/* Normalised scores, (raw - mean)/sd of tenet.json, of every response of the examples in order; those of one
 * example share its prompt. `policy_tok` decodes responses when the tokenizers differ (the example's meta row gives
 * the prompt). */
tn_status tn_scorer_scores(tn_scorer *s, const tn_example *ex, int n,
                           const tn_tokenizer *policy_tok, double *score, tn_err *e);

/* ---- ensembles of heads: members.c ---- */
/* Asks for the members where a model of `dir` is loaded; *n: how many it has, 0 for other models. */
tn_status tn_scorer_members_of(const char *dir, int *n, tn_load *how, tn_err *e);
/* From now on members' scores of up to `cap` responses are kept, and each of them counts as a member. */
tn_status tn_scorer_keep_members(tn_scorer *s, int cap, tn_err *e);
/* Those of the forwarded micro-batch, whose first response is number `done`. */
tn_status tn_scorer_read_members(tn_scorer *s, int done, tn_err *e);
/* The same with latents; map stays the caller's. */
tn_status tn_scorer_keep_latents(tn_scorer *s, const double *map, int n, int cap, tn_err *e);
/* How many members of an ensemble this is: its heads where they are kept, else 1. */
int tn_scorer_members(const tn_scorer *s);
/* Their scores of n responses, of which score[n] is the model's own: to[i * stride + member]. */
void tn_scorer_put_members(const tn_scorer *s, const double *score, int n, double *to, int stride);
/* TN_ARG unless n members are what --ensemble makes one score of. */
tn_status tn_members_check(int n, tn_err *e);
/* For shaping, which knows reference scores of whole models only: TN_ARG when members are heads. */
tn_status tn_members_whole(int n, int models, tn_err *e);

/* ---- scorer_steps.c: between scorer.c and process reward models ---- */
/* x as such a model reads it; *y points into s until the next call. prompt: text or messages, or NULL. */
tn_status tn_scorer_as_steps(tn_scorer *s, const tn_example *x, const json_t *prompt, const tn_tokenizer *policy_tok,
                             tn_example *y, tn_err *e);
/* Scores of the finished micro-batch's responses, probabilities. */
tn_status tn_scorer_read_steps(tn_scorer *s, double *score, tn_err *e);
#endif
