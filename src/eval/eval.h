/* What training really did: samples of several models on the same prompts, judged.
 *
 * eval.json (written by tenet eval, read by tenet report):
 *   {"world": bool, "seed": n, "prompts": n, "against": NAME, "reference": NAME or null,
 *    "models": [{"name", "dir" (null: a fixed policy), "length", "ended",
 *        "reward": M, "reward_train": M, "reward_held": M, "families": {family: M}, "greedy_reward": M,
 *        "harmful": P, "leak": P, "explains": P, "evades": P, "over_refusal": P, "helpful": P, "syco": P, "rude": P,
 *        "kl": M, "proxy": M, "win": M, "difference": M, "win_NAME": M, "shots": n,
 *        "cost": M, "unsafe": P (a cost model's score, and that it is above 0),
 *        "funcs": {NAME[:ARG]: M + {"difference": M}},
 *        "pairs": {"accuracy": P, "plain_accuracy": P, "margin": m}, "choices": {"sum": P, "mean": P}}, ...],
 *    "reward_model": {"dir", "pairs": P, "calibration": {"pairs", "accuracy", "ece", "brier"}}}
 *   and, with a grader, "compare": compare.h.
 *   M = {"mean", "lo", "hi", "n"}: 95 % interval; P = {"k", "n", "rate", "lo", "hi"}: Wilson 95 % interval.
 *   Members that were not measured are absent. funcs: means of --reward-funcs over the prompts that have an answer, and of
 *   the paired differences to `against`. win: share of prompts won against `against`, ties half; win_NAME: against others
 *   that were asked for. shots: mean number of few-shot examples.
 * samples.jsonl: one row a prompt: {"id", "family", "prompt", "answers": {NAME: {"text", "reward", "proxy", "kl", "ended",
 *   "grade", "harmful", ...}}}.                                                                                */
#ifndef TN_EVAL_H
#define TN_EVAL_H
#define TN_EVAL_ALSO 8 /* models that the others are compared with, beyond the first */
#include "gen/gen.h"
#include "train/scorer.h"
#include "world/stat.h"

/* One answer with what is known about it. */
typedef struct tn_answer {
    int32_t *ids; /* heap, with its stop token */
    double *logp; /* heap, [n] under the model that made it, at T = 1; NULL for fixed policies */
    int n;
    bool ended;
    double proxy, cost, kl; /* NaN: not measured */
    tn_world_verdict v; /* world only */
} tn_answer;

typedef struct tn_contender {
    char name[64], dir[512];
    tn_answer *answer;    /* [prompts] */
    tn_world_rates rates; /* world */
    double length, ended_share;
    tn_stat_mean kl, proxy, cost, win, difference, greedy, win_also[TN_EVAL_ALSO];
    tn_stat_rate unsafe; /* of cost above 0 */
    bool has_kl, has_proxy, has_cost, has_win, has_greedy;
    double *func;            /* [functions][prompts], NaN: no answer; NULL: no functions */
    json_t *pairs, *choices; /* NULL: not measured */
    tn_dataset *asked;       /* prompts as this contender sees them, few-shot examples first; NULL: as all do */
    double shots;            /* mean number of those examples */
} tn_contender;

json_t *tn_json_mean(const tn_stat_mean *m);
json_t *tn_json_rate(const tn_stat_rate *r);

/* Log-probs of every response token of `ex` (one response each) under `m`; out[i] has response n entries. */
tn_status tn_eval_logps(const tn_model *m, const tn_example *ex, int n, double **out, tn_err *e);
/* Accuracy of pairs: score[i] > score[j] for every ordered pair of the dataset's examples. *calibration:
 * tn_judged_json of their raw scores. */
tn_status tn_eval_reward_pairs(tn_scorer *s, const tn_dataset *d, tn_stat_rate *r, json_t **calibration, tn_err *e);
/* Sum of the log-probs of every response of d's examples, in order; heap array. */
tn_status tn_eval_response_sums(const tn_model *m, const tn_dataset *d, double **sums, tn_err *e);
/* Preference accuracy of a language model: by log-ratio to the reference's sums (NULL: skipped) and by plain log-prob.
 * m NULL: the reference itself, by plain log-prob. A ranking has at most 64 responses (dataset.c). */
tn_status tn_eval_model_pairs(const tn_model *m, const double *ref, const tn_dataset *d,
                              tn_stat_rate *ratio, tn_stat_rate *plain, double *margin, tn_err *e);
/* Multiple choice: rows {"question" or "prompt", "choices": [...], "answer": index or letter}, or ARC's shape.
 * *out: {"sum": P, "mean": P}, by the log-prob of the choice's tokens summed and averaged. */
tn_status tn_eval_choices(const tn_model *m, const tn_tokenizer *tok, const char *path,
                          json_t **out, tn_err *e);
#endif
