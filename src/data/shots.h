/* Examples before a prompt (few-shot prompting): how a model that was not trained to answer is asked.
 *
 * Rows {"messages"} or {"prompt","completion"}. To a conversation their messages come first, in one conversation with it;
 * to a text their texts, each followed by an empty line. */
#ifndef TN_DATA_SHOTS_H
#define TN_DATA_SHOTS_H
#include "base/json.h"
#include "text/text.h"

/* At most n examples (0: all) of a file; new reference. */
tn_status tn_shots_load(json_t **shots, const char *path, int n, tn_err *e);
/* *ids becomes what tn_encode_prompt makes of the prompt after as many examples, from the first on, as leave at most `room`
 * tokens (<= 0: all of them); *used: how many. A conversation that ends with an assistant's message is an answer begun, to be
 * gone on with (tn_encode_continued). */
tn_status tn_shots_encode(const tn_tokenizer *t, const json_t *shots, const json_t *prompt, int room, tn_ids *ids,
                          int *used, const char *where, tn_err *e);
#endif
