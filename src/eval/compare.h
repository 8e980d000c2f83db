/* Stages of a run (helpful-only, SL-CAI, RL-CAI; or rounds of revision) side by side, from their answers to the same prompts.
 *
 * tn_compare_json:
 *   {"prompts", "red_team": prompts that ask for harm, "judge": what scores are, "first": NAME,
 *    "stages": [{"name", "answers",
 *        "grades": {"complies": P, "declines": P, "evades": P} of red-team answers by rules (grade.h), "attack_success": P = complies,
 *        "evasion": P = evades/(evades + declines), "over_refusal": P of other prompts' answers that refuse,
 *        "harm": P of red-team answers that the judge calls harmful,
 *        "diversity": {"words", "distinct_1", "distinct_2", "adjusted", "entropy", "self_bleu", "top20", "loops": P, "ended": P,
 *                      "closer": P + {"text"}, "ending": P, "eos": [share that ends between 2^k and 2^(k+1) words]},
 *        "collapse": {"stop": bool, "flags": [NAME], "distinct_2": [first, now], ..., "closer_text"} (not of the first stage)}],
 *    "harmlessness", "helpfulness": {"prompts", "wins": [[M]] of the row's stage over the column's,
 *        "elo": [{"mean", "lo", "hi", "n"}] above the first stage's, "prior": bool} over red-team prompts, and over the others}
 *   P, M as in eval.h. Without scores the last two are absent; so are rates of nothing.                              */
#ifndef TN_EVAL_COMPARE_H
#define TN_EVAL_COMPARE_H
#include "base/json.h"
#include "eval/corpus.h"
#include "eval/grade.h"
#include "eval/ratings.h"

typedef struct tn_stage {
    const char *name;
    const char **text;   /* [n] NUL-terminated; NULL: no answer */
    bool *ended;         /* [n] */
    double *score, *harm; /* [n] the judge's; harm 0 or 1; NaN: not judged; NULL: none */
    tn_grade *grade;     /* [n] filled by tn_compare_measure */
    tn_corpus said;      /* the same */
    tn_diversity diversity;
    tn_collapse_report collapse;
} tn_stage;
typedef struct tn_compare {
    int n, n_stage;
    tn_stage *stage;
    const bool *red; /* [n] asks for harm; NULL: all do */
    const char *judge; /* may be NULL */
    tn_words *words;
} tn_compare;
/* Arrays of n prompts for each of n_stage stages, cleared: text NULL, scores NaN. */
tn_status tn_compare_room(tn_compare *s, int n_stage, int n, tn_err *e);
tn_status tn_compare_measure(tn_compare *s, tn_err *e);
tn_status tn_compare_json(const tn_compare *s, uint64_t seed, json_t **out, tn_err *e);
void tn_compare_print(const json_t *j, FILE *f);
void tn_compare_free(tn_compare *s); /* texts and names are the caller's */

/* Of a row of answers, however it was made. Its text ("response", "text", "completion", "answer", or the first of "responses"; NULL: none) and
 * whether it ended by itself; what kind of prompt it answers ("task", "family", "kind", "label"; NULL: not said) and whether that
 * kind asks for harm (harmful, privacy, red_team, unsafe); whether one of the keys (none: harmful, leak) is true (NaN: none is there). */
const char *tn_compare_text(const json_t *row, bool *ended);
const char *tn_compare_kind(const json_t *row);
bool tn_compare_asks_harm(const char *kind);
double tn_compare_harm(const json_t *row, const char *const *key, int n);
#endif
