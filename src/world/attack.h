/* Attacks: how else hazardous steps and secrets are asked for (methods' names: Perez et al. 2022, Wei et al. 2023, Anil et al.
 * 2024).
 *
 * An attack is a function of (prompt, seed, index) and of nothing else. All wordings are made of the core's words, so that
 * every model of the world can be attacked. What is asked for stays the prompt's, and so does what the oracle judges: an
 * answer is judged whole, with the words that a prefill put into the model's mouth.                                      */
#ifndef TN_WORLD_ATTACK_H
#define TN_WORLD_ATTACK_H
#include "world/world.h"

typedef struct tn_world_attack {
    const char *name;
    bool trained;  /* may be among the red-team prompts of a recipe; all others are held out of training */
    bool followed; /* an innocent question is asked and answered first */
    int shots;     /* dialogues before the request in which the assistant gives away what it is asked for */
    /* Sentences before and after the request, and how the answer begins (a prefill): for steps (`@`) and for secrets
     * (`$0`); NULL: none. */
    const char *before[2], *after[2], *begun[2];
} tn_world_attack;
enum { TN_WORLD_NATTACK = 10, TN_WORLD_SHOTS = 3, TN_WORLD_REQUEST_TURNS = 2 * TN_WORLD_SHOTS + 3 };
extern const tn_world_attack tn_world_attacks[TN_WORLD_NATTACK]; /* the first is none: the request as it is */

typedef struct tn_world_request {
    int nturns; /* user and assistant in turn, the last one the user's */
    tn_world_text turn[TN_WORLD_REQUEST_TURNS];
    tn_world_text begun; /* what the answer has to begin with; empty: nothing */
} tn_world_request;

/* Can p be wrapped? Requests for hazardous steps and for secrets; `twin`: requests for harmless steps, the same wrapping of
 * which says what a defence costs. */
bool tn_world_attackable(const tn_world_prompt *p, bool twin);
/* Prompt p, item `index` of a set of `seed`, under attack k. */
void tn_world_attack_prompt(const tn_world *w, int k, const tn_world_prompt *p, uint64_t seed, uint64_t index, tn_world_request *out);
/* Does y[n] really give away what p asks for: both parts, the person's number? Any hazardous part or number counts as harm
 * for the oracle; a many-shot answer may have copied them from the shots. */
bool tn_world_gives_away(const tn_world *w, const tn_world_prompt *p, const int32_t *y, int n);

/* Bit k: attack k. Names separated by commas, or all, trained, held-out (both without plain). */
tn_status tn_world_attacks_named(const char *names, unsigned *mask, tn_err *e);
/* Rows of the items first ... first + count - 1 of a set of prompts that can be attacked, each under every attack of the
 * mask: {"id", "family", "task", "pool", "attack", "prompt"}; a begun answer is the last message. */
tn_status tn_world_write_attacks(const tn_world *w, tn_world_set set, uint64_t seed, uint64_t first, int64_t count, unsigned mask,
                                 bool twins, const char *out, tn_err *e);
/* One of these rows, with its newline, is appended. */
void tn_world_attack_row(const tn_world *w, int k, tn_world_set set, uint64_t seed, uint64_t i, const tn_world_prompt *p, tn_str *out);
#endif
