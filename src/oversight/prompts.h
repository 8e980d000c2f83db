/* Prompts for critics, revisers and judges: files, not code.
 *
 * A folder holds prompts.json and Jinja templates KIND.jinja:
 *   critique, revision   after `conversation`, `answer`, `critique_request` (and `critique`, `revise_request`)
 *   direct               a revision without a critique
 *   compare, reason      which of `option_a`, `option_b` under `principle`; reason leads to a chain of thought, and compare is
 *                        then rendered with it as `reasoning`
 *   score, verdict       of one `answer` under `principle`: a number from 1 to 10; or whether it does, (A) yes and (B) no, or
 *                        with `swapped` the other way round. assess leads to a chain of thought for both
 * Every template also sees `labels` (the constitution's over the defaults), `few_shots` of its use, bos_token and eos_token.
 *   {"mode": "text" | "chat" | "turns", the rendered text itself; or a user's turn in the model's own chat template; or such turns at the
 *                                  end of the conversation itself, where critique, revision and direct need the requests alone
 *    "stop": ["..."],              a reply ends before any of these, or before the label of a turn or part
 *    "preambles": ["..."],         what a reply may begin with and is cut off up to the end of its line or colon
 *    "critic_phrases": ["..."]}    what a revision begins with that is a critique (point-of-view confusion)
 *
 * What models and strangers wrote (conversation, answers, critiques, reasoning) cannot pass for the prompt's own parts:
 * reserved texts (labels, stops, special tokens of the tokenizer) are defused in it. [ and ] as labels become ( and );
 * of longer ones the last character is set off by a space. */
#ifndef TN_OVERSIGHT_PROMPTS_H
#define TN_OVERSIGHT_PROMPTS_H
#include "oversight/constitution.h"
#include "text/text.h"

typedef enum tn_prompt_kind { TN_PROMPT_CRITIQUE, TN_PROMPT_REVISION, TN_PROMPT_DIRECT, TN_PROMPT_COMPARE, TN_PROMPT_REASON,
                             TN_PROMPT_SCORE, TN_PROMPT_VERDICT, TN_PROMPT_ASSESS, TN_PROMPT_KINDS } tn_prompt_kind;

typedef struct tn_prompts tn_prompts;
/* A template that is missing is an error when it is asked for. `c` outlives the prompts. tok NULL: for an endpoint, whose special
 * tokens are not known; those of the usual chat formats are reserved. */
tn_status tn_prompts_load(tn_prompts **p, const char *dir, const tn_constitution *c, const tn_tokenizer *tok, tn_err *e);
void tn_prompts_free(tn_prompts *p);
bool tn_prompts_are_turns(const tn_prompts *p);           /* "mode": "chat" or "turns" */
bool tn_prompts_go_on(const tn_prompts *p);               /* "mode": "turns" */
const char *const *tn_prompts_stops(const tn_prompts *p); /* what an endpoint is told to stop at; NULL behind the last */
uint64_t tn_prompts_hash(const tn_prompts *p, tn_prompt_kind k); /* of the template's text */

/* What a prompt is about; texts that a kind does not need may be NULL. */
typedef struct tn_prompt_about {
    const json_t *conversation; /* messages, the last one the user's */
    const char *answer, *critique, *option_a, *option_b, *reasoning; /* defused */
    const tn_principle *principle;
    bool swapped; /* of a verdict: (A) says that the answer does not do, (B) that it does */
} tn_prompt_about;
/* The prompt as text, and as the ids that the model of `tok` reads. Either may be NULL, and tok with ids, which then get none.
 * *defused (may be NULL) is added to. */
tn_status tn_prompts_render(const tn_prompts *p, tn_prompt_kind k, const tn_prompt_about *a, const tn_tokenizer *tok, tn_str *text,
                            tn_ids *ids, int *defused, tn_err *e);
/* Critique, revision or direct for the model of `tok`. In mode turns the ids are those of
 *   conversation, answer, critique request (, critique, revision request)      each a turn; direct after an empty critique
 * and `cut` says where the answer and the critique begin and end (tn_gen_request); in other modes there are no cuts. Both are cleared first. */
tn_status tn_prompts_ask(const tn_prompts *p, tn_prompt_kind k, const tn_prompt_about *a, const tn_tokenizer *tok, tn_str *text,
                         tn_ids *ids, tn_ids *cut, tn_err *e);

/* A reply as it is used: cut before the first stop or label, blanks around it and a preamble removed. *stopped becomes true
 * when a stop was found. Cleared first. */
tn_status tn_prompts_clean(const tn_prompts *p, const char *reply, size_t n, tn_str *out, bool *stopped, tn_err *e);
bool tn_prompts_is_critique(const tn_prompts *p, const char *text); /* begins with a critic's phrase */
#endif
