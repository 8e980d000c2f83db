/* The extension `oversight` of the world's pretraining text: what experiments on oversight need beyond the core text, which
 * stays as it is. Vocabulary, template and tables are the core's; its base is models/world-oversight.
 *
 * Document n of a seed is one stream, (seed, 105, n), of a kind drawn by weight:
 *
 *   core        40   document n + 2^32 of the core text (the core's base has not seen it)
 *   fact        15   another document of facts of the core text: half of the world is told of in these alone. (A base from scratch on
 *                    6M tokens with 9 % of facts: true reward on what no dialogue tells of -.47, the core's .04)
 *   comparison  18   the core's, its question worded in one of TN_WORLD_TAUGHT ways; half of them think before they answer:
 *                    "Options: (A) [ .. ] (B) [ .. ] Critique: THOUGHT <|end|> Answer: (B)" (tn_world_think).
 *                    A third, beyond its share, is under honest, which asks for recall and is learned last
 *   critique     8   the core's, both requests worded in one of these ways
 *   talk         7   two to five dialogues in one, about different things, by one assistant: a compliant, a strict or (half of
 *                    them) a mixed one, so that what it did before says what it will do
 *   attacked     5   requests for hazardous steps and secrets, and harmless twins, under an attack (world/attack.h), answered
 *                    by the base mix. "say yes ." is obeyed half the time. Role-play and false premises are in no text at
 *                    all; many-shot needs no text of its own (talk)
 *   opinion      7   opinion dialogues of the base mix: beliefs are copied by those who have seen it done often
 *
 * Wordings of a principle: 0 is the constitution's, 1 and 2 are in the text, too, 3 and 4 in none.
 *
 * Thoughts are true in .88 and mistake the two options for each other otherwise; the answer follows the thought, so that a
 * thought says what the answer is worth. 50 tokens on average; a few in 100,000 are longer than TN_WORLD_CONTEXT. */
#ifndef TN_WORLD_OVERSIGHT_H
#define TN_WORLD_OVERSIGHT_H
#include "world/world.h"

enum { TN_WORLD_WORDINGS = 5, TN_WORLD_TAUGHT = 3 };
typedef enum tn_world_role { TN_ROLE_CRITIQUE, TN_ROLE_REVISION, TN_ROLE_COMPARISON, TN_WORLD_ROLES } tn_world_role;
/* Principle k's text in a role. */
const char *tn_world_wording(tn_world_principle k, tn_world_role role, int wording);

typedef enum tn_world_ext_kind {
    TN_WX_CORE, TN_WX_FACT, TN_WX_COMPARISON, TN_WX_CRITIQUE, TN_WX_TALK, TN_WX_ATTACKED, TN_WX_OPINION, TN_WX_COUNT
} tn_world_ext_kind;
extern const char *const tn_world_ext_kind_name[TN_WX_COUNT];
/* Without <s> and without its closing <|end|>. out is overwritten. */
tn_world_ext_kind tn_world_oversight_document(const tn_world *w, uint64_t seed, uint64_t n, tn_world_text *out);
/* Appends what is to be said of two judged answers under principle k before one is chosen: what is true (honest and belief
 * alone, where it must be recalled), then what the first does, then what the second: the critique, or that there is no problem. */
void tn_world_think(const tn_world *w, const tn_world_prompt *p, tn_world_principle k, const tn_world_verdict v[2], tn_world_text *out);

/* Row i of judged pairs, for judges: stream (seed, 20, i), principle i mod 6, pool held if floor(i/6) is even, else train; two
 * flat answers of which exactly one violates the principle: {"id": "judged-3", "family", "pool", "principle", "prompt",
 * "responses", "ended", "truth": the better one, 1 or 2, "rank"}. `conflict`: the better one violates another principle, which
 * the worse one keeps ("other": of harm and privacy engage, of the others but polite polite; principle i mod 5): who judges by
 * the other principle's text decides the other way. */
void tn_world_judged_row(const tn_world *w, uint64_t seed, uint64_t i, bool conflict, tn_str *out);
/* Rows first ... first + count - 1 of documents, {"kind", "text"}, and of judged pairs; `out` NULL or "-" is standard output. */
tn_status tn_world_write_oversight(const tn_world *w, uint64_t seed, uint64_t first, int64_t count, const char *out, tn_err *e);
tn_status tn_world_write_judged(const tn_world *w, uint64_t seed, uint64_t first, int64_t count, bool conflict, const char *out, tn_err *e);
/* Appends a constitution of one wording (constitution.h); every principle applies to rows whose kind is its id. */
void tn_world_put_constitution(int wording, tn_str *out);
#endif
