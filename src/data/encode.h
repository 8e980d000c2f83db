/* From a row's texts or message lists to token ids with the boundary that training needs.
 *
 * Strings and conversations are prepared in TRL 1.16's order: a conversation is rendered by the
 * checkpoint's template and encoded without further special tokens; a string is encoded with the
 * tokenizer's own special tokens, and the end-of-sequence token's text is appended to completions
 * and texts that lack it.                                                                        */
#ifndef TN_DATA_ENCODE_H
#define TN_DATA_ENCODE_H
#include "text/text.h"

/* Where the completion begins. TRL: prompt and prompt+completion are encoded separately and the
 * completion starts at the length of their common prefix. FORCE: ids(prompt) followed by ids(completion),
 * which is what rollouts are. */
typedef enum tn_seam { TN_SEAM_TRL, TN_SEAM_FORCE } tn_seam;

/* prompt, completion: strings, or arrays of messages (both the same kind). Appends to *ids; *split is
 * the number of prompt tokens. */
tn_status tn_encode_completion(const tn_tokenizer *t, const json_t *prompt,
                               const json_t *completion, tn_seam seam, tn_ids *ids, size_t *split,
                               const char *where, tn_err *e);
/* Prompt shared by two completions: cut at the smaller of the two common prefixes (TRL's DPO). */
tn_status tn_encode_pair(const tn_tokenizer *t, const json_t *prompt, const json_t *chosen,
                         const json_t *rejected, tn_seam seam, tn_ids *prompt_ids,
                         tn_ids *chosen_ids, tn_ids *rejected_ids, const char *where, tn_err *e);
/* A prompt to be continued: a string, or messages with the generation prompt. */
tn_status tn_encode_prompt(const tn_tokenizer *t, const json_t *prompt, tn_ids *ids,
                           const char *where, tn_err *e);
/* A whole text; `eos`: append the end-of-sequence text when it is not there. */
tn_status tn_encode_text(const tn_tokenizer *t, const char *s, size_t n, bool eos, tn_ids *ids,
                         tn_err *e);
/* A conversation; *mask (heap) marks assistant content and its end of turn. */
tn_status tn_encode_messages(const tn_tokenizer *t, const json_t *messages, tn_ids *ids,
                             uint8_t **mask, const char *where, tn_err *e);

bool tn_json_is_messages(const json_t *v); /* array of objects with "role" (or "from") */
/* TRL's extract_prompt: the common prefix of two strings or two message lists; new references. */
tn_status tn_extract_prompt(const json_t *chosen, const json_t *rejected, json_t **prompt,
                            json_t **c, json_t **r, const char *where, tn_err *e);
/* Transcripts "\n\nHuman: ...\n\nAssistant: ...", or with headings, "## Human:\n...\n\n## Assistant:\n...": as a list of
 * messages, NULL when the string is none; and where the text of the last answer begins, NULL when there is none. */
json_t *tn_transcript_messages(const char *s);
const char *tn_transcript_answer(const char *s);
#endif
