/* A constitution: written principles as data, for critique and revision and for comparisons (Bai et al. 2022, 2212.08073).
 *
 * A JSON document, or JSONL with the same members spread over lines:
 *   {"constitution": {"version": "1", "name": "default", "locale": "en"},
 *    "principles": [{"id": "harm.1", "kind": ["critique_revise", "compare"], "critique": "...", "revise": "...",
 *                    "compare": "...", "weight": 1, "weights": {"benign": 0}, "tags": ["harm"],
 *                    "applies_to": ["red_team"], "polarity": "chosen_is_better", "enabled": true}, ...],
 *    "few_shots": [{"id": "fs1", "kind": "critique_revise", "principle": "harm.1", "conversation": [...],
 *                   "critique": "...", "revision": "..."},
 *                  {"id": "fs2", "kind": "compare", "principle": "harm.1", "conversation": [...], "option_a": "...",
 *                   "option_b": "...", "reasoning": "...", "answer": "a"}],
 *    "labels": {"option_a": " (A)", ...}}
 * In JSONL a line with "id" is a principle; other lines hold "constitution", "few_shots" or "labels". Unknown keys are
 * errors: a misspelt one would silently change what a model is taught.
 *
 * A principle acts through its texts alone: `hash` identifies them, whatever the id says. A prompt has a kind ("red_team",
 * a family of the world, ...); a principle whose applies_to is absent applies to every kind, and weights give another weight
 * than `weight` for some. Of principle k among those that are enabled, of the use asked for and apply,
 *   p(k) = w_k / sum w. */
#ifndef TN_OVERSIGHT_CONSTITUTION_H
#define TN_OVERSIGHT_CONSTITUTION_H
#include "base/json.h"

typedef enum tn_principle_use { TN_CRITIQUE_REVISE, TN_COMPARE, TN_PRINCIPLE_USES } tn_principle_use;

typedef struct tn_principle {
    const char *id;
    bool use[TN_PRINCIPLE_USES], enabled;
    const char *critique, *revise, *compare; /* NULL where its kinds do not need it */
    bool worse;      /* polarity chosen_is_worse: `compare` asks for the worse option, so labels are inverted */
    double weight;
    const json_t *weights, *tags, *applies_to; /* NULL: none */
    uint64_t hash;   /* of critique, revise, compare and polarity */
} tn_principle;

typedef struct tn_few_shot {
    const char *id;
    tn_principle_use use;
    int principle;               /* number in the constitution */
    const json_t *conversation;  /* messages, the last one the user's; a critique's ends with the answer criticised */
    const char *critique, *revision;
    const char *option[2], *reasoning; /* reasoning may be NULL */
    int answer;                  /* 0: a, 1: b */
} tn_few_shot;

typedef struct tn_constitution {
    const char *name, *version, *locale;
    tn_principle *principle;
    tn_few_shot *few_shot;
    int n_principle, n_few_shot;
    const json_t *labels;  /* object of strings, for prompt templates; never NULL */
    uint64_t hash;         /* of the file's bytes: goes into every artefact */
    json_t *doc;           /* what all texts belong to */
} tn_constitution;

/* Errors name the file, the principle and the member: what was expected and what was found. */
tn_status tn_constitution_load(tn_constitution **c, const char *path, tn_err *e);
void tn_constitution_free(tn_constitution *c);
int tn_constitution_find(const tn_constitution *c, const char *id); /* -1: none */
/* Weight of a principle for prompts of a kind (NULL: no kind given, which only unconfined principles apply to). */
double tn_principle_weight(const tn_principle *p, tn_principle_use use, const char *kind);
/* Draws a principle for (seed, index); index is 16 item + round. TN_ARG when none applies. */
tn_status tn_constitution_draw(const tn_constitution *c, tn_principle_use use, const char *kind, uint64_t seed, uint64_t index,
                               int *principle, tn_err *e);
/* A label by name, or `def`. */
const char *tn_constitution_label(const tn_constitution *c, const char *name, const char *def);
#endif
