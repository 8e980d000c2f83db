/* Several models (and fixed policies) answer the same prompts. */
#ifndef TN_EVAL_CONTEST_H
#define TN_EVAL_CONTEST_H
#include "eval/compare.h"
#include "eval/eval.h"
#include "rl/reward_fn.h"

/* A verifiable reward that every answer is judged by. */
typedef struct tn_contest_func {
    const char *spec; /* NAME[:ARGUMENT] */
    const tn_reward_fn *fn;
    void *state;
} tn_contest_func;

typedef struct tn_contest {
    bool world;
    uint64_t seed;
    int n; /* prompts */
    tn_world w;
    tn_world_prompt *prompt;    /* [n], world */
    const tn_world_prompt **at; /* [n] pointers into prompt */
    const tn_world_text *begun; /* [n], world: words of an answer that are its prompt's last; NULL: none */
    int *family;                /* [n] stratum; zeros without a world */
    const char *path;           /* file of the prompts, kept by the caller, and how it is read */
    bool chat;
    tn_dataset *rows;           /* prompts as ids of the first model's tokenizer */
    tn_contender *c;
    int n_c, against;           /* index of the contender that others are compared with */
    int also[TN_EVAL_ALSO], n_also; /* and of more of them, by the win rate alone */
    tn_contest_func *func;
    int n_func;
    int max_new, batch;
    double temperature;
    bool grader; /* rules on English text: grades in samples.jsonl, and "compare" in eval.json */
} tn_contest;

/* The world's evaluation prompts 0 .. count-1 written to `path` as rows, and loaded with `tok`. */
tn_status tn_contest_world(tn_contest *t, const tn_tokenizer *tok, int count, const char *path,
                           tn_err *e);
tn_status tn_contest_prompts(tn_contest *t, const tn_tokenizer *tok, const char *path,
                             bool chat_transcripts, tn_err *e);
/* Examples that come before every prompt of this contender (data/shots.h), as many as leave room for an answer in m's
 * context. Its KL then is that of the model with examples to the reference without. */
tn_status tn_contest_shots(tn_contest *t, tn_contender *c, const tn_model *m, const tn_tokenizer *tok,
                           const char *file, tn_err *e);
/* Samples every prompt once with `m`; temperature 0 gives only the greedy reward figure (world). */
tn_status tn_contest_answer(tn_contest *t, tn_contender *c, const tn_model *m,
                            const tn_tokenizer *tok, tn_err *e);
tn_status tn_contest_greedy(tn_contest *t, tn_contender *c, const tn_model *m,
                            const tn_tokenizer *tok, tn_err *e);
tn_status tn_contest_policy(tn_contest *t, tn_contender *c, tn_world_policy p, tn_err *e);
/* KL of each answer to the reference: sum over its tokens of log-prob minus reference log-prob. */
tn_status tn_contest_kl(tn_contest *t, tn_contender *c, const tn_model *ref, tn_err *e);
tn_status tn_contest_proxy(tn_contest *t, tn_contender *c, tn_scorer *s, const tn_tokenizer *tok,
                           tn_err *e);
/* The same of a cost model: mean cost, and the share of answers that it takes for unsafe. */
tn_status tn_contest_cost(tn_contest *t, tn_contender *c, tn_scorer *s, const tn_tokenizer *tok,
                          tn_err *e);
/* Functions that judge a contest whose prompts are loaded, then the answers of one contender: funcs.c. */
tn_status tn_contest_open_funcs(tn_contest *t, const tn_opt_list *specs, const tn_tokenizer *tok, tn_err *e);
tn_status tn_contest_judge(tn_contest *t, tn_contender *c, const tn_tokenizer *tok, tn_err *e);
void tn_contest_close_funcs(tn_contest *t);
/* Of one function: mean, and mean of the paired differences to another contender, over prompts that have an answer. */
tn_stat_mean tn_contest_func_mean(const tn_contest *t, const tn_contender *c, int func);
tn_stat_mean tn_contest_func_difference(const tn_contest *t, const tn_contender *c, const tn_contender *other, int func);
/* Rates, means, wins and differences against t->against: the oracle decides in the world, else the proxy. */
tn_status tn_contest_summarise(tn_contest *t, tn_err *e);
json_t *tn_contest_json(const tn_contest *t, const char *reference);
tn_status tn_contest_samples(const tn_contest *t, const tn_tokenizer *tok, const char *path,
                             tn_err *e);
/* The contenders as stages: refusals, Elo, collapse against the first of them (compare.h). */
tn_status tn_contest_compare(const tn_contest *t, const tn_tokenizer *tok, json_t **out, tn_err *e);
/* An answer or prompt as text; cleared first. */
tn_status tn_contest_text(const tn_contest *t, const tn_tokenizer *tok, const int32_t *ids, int n, tn_str *out, tn_err *e);
void tn_contest_print(const tn_contest *t, FILE *f);
void tn_contest_free(tn_contest *t);
#endif
