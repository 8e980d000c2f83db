/* What a feedback row is about: its first user turn. Rows that share it must not be split between
 * training and held-out data, or the held-out numbers flatter the model. */
#ifndef TN_DATA_FIRST_PROMPT_H
#define TN_DATA_FIRST_PROMPT_H
#include "base/json.h"

/* Appends the text of the first user turn of any format that dataset.h reads: the first user message
 * of "prompt", "messages" or "conversations"; a "prompt" string; the first Human turn of the transcripts in
 * "chosen" or "text" (the common prefix of "chosen" and "rejected" where they are no transcripts); ids as their
 * digits. False: the row has none of them. */
bool tn_row_first_prompt(const json_t *row, tn_str *out);
#endif
