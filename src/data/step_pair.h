/* Rows of Step-DPO (Lai et al. 2024, 2406.18629): a prompt, the steps of its answer that are given, and two next steps.
 * The prompt's segment ends with the given steps; the loss sees the two steps and nothing else. */
#ifndef TN_DATA_STEP_PAIR_H
#define TN_DATA_STEP_PAIR_H
#include "data/encode.h"

/* A prompt whose answer has begun with `text` (a string), appended: of a string both in one piece, with the tokenizer's
 * special tokens; of a conversation as transformers' continue_final_message renders it. An empty text is the prompt. */
tn_status tn_encode_continued(const tn_tokenizer *t, const json_t *prompt, const char *text, size_t n, tn_ids *ids,
                              const char *where, tn_err *e);
/* All is encoded together, and cut at the smaller common prefix (as tn_encode_pair); no end of sequence follows a step. */
tn_status tn_encode_step_pair(const tn_tokenizer *t, const json_t *prompt, const json_t *prefix, const json_t *chosen,
                              const json_t *rejected, tn_ids *prompt_ids, tn_ids *chosen_ids, tn_ids *rejected_ids,
                              const char *where, tn_err *e);
/* The given steps of a row {"prompt","prefix","chosen","rejected"}, where these are strings: "prefix", or the published
 * data's "initial_reason_steps"; NULL: another row. */
const json_t *tn_row_step_prefix(const json_t *row);
#endif
