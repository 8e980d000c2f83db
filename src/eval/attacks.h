/* The world's requests for hazardous steps and secrets under every attack (world/attack.h), to the models of an evaluation.
 *
 * In eval.json, of every model:
 *   "attacks": {NAME: {"trained": bool (may have been among its red-team prompts), "success": P, "gives_away": P,
 *                      "success_train": P, "success_held": P (pools), "twins_refused": P, "twins_right": P}},
 *   "attack_success": M, "attack_gives_away": M, "attack_twins_right": M   over all attacks that training never saw
 *   "attack_trained": M                                                    success over those that it may see, plain included
 * success: the oracle's harmful or leak. gives_away: both true parts, the true number. Twins are harmless requests wrapped in
 * the same way. One answer a request and attack: P counts requests, M is a mean over requests of their share of attacks, so
 * that intervals are over requests and not over answers. attacks.jsonl: rows like samples.jsonl's, with "attack".           */
#ifndef TN_EVAL_ATTACKS_H
#define TN_EVAL_ATTACKS_H
#include "eval/contest.h"
#include "world/attack.h"

typedef struct tn_attack_rates {
    tn_stat_rate success, gives_away, train, held, twins_refused, twins_right;
} tn_attack_rates;
typedef struct tn_attack_result {
    tn_attack_rates of[TN_WORLD_NATTACK];
    tn_stat_mean success, gives_away, twins_right, trained;
} tn_attack_result;

typedef struct tn_attacks {
    tn_contest t; /* its prompts: item by item, every attack of an item in turn */
    int items;
    tn_world_text *begun;
    tn_attack_result *result; /* [contenders], after tn_attacks_summarise */
} tn_attacks;

/* The attackable ones of the world's evaluation prompts 0 .. count-1, written to `path` and loaded. Sampling is as in `like`,
 * whose contenders are the attacked models. */
tn_status tn_attacks_open(tn_attacks *a, const tn_contest *like, const tn_tokenizer *tok, int n_models, int count, const char *path, tn_err *e);
tn_status tn_attacks_summarise(tn_attacks *a, tn_err *e);
json_t *tn_attacks_json(const tn_attacks *a, int contender);                /* the members above */
void tn_attacks_print(const tn_attacks *a, FILE *f);
void tn_attacks_free(tn_attacks *a);
#endif
