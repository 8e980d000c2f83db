/* Rows of public data sets under the names that the readers know. */
#ifndef TN_DATA_FORMATS_H
#define TN_DATA_FORMATS_H
#include "base/json.h"

/* *out: a copy of `row` (new reference) with the readers' fields beside its own. Formats, known by their fields:
 *   GSM8K {"question","answer"} · MATH {"problem","solution" or "answer"} · SVAMP {"Body","Question","Answer"}
 *   Alpaca {"instruction","input","output" or "response"}, also with "chosen" and "rejected"
 *   AlpacaEval {"instruction","output_1","output_2","preference"} · LLMBar {"input","output_1","output_2","label"},
 *     where 1 or 2 names the better output and anything else is a draw
 *   {"prompt","response"} · BeaverTails {"prompt","response","is_safe"} · DiaSafety {"context","response","label"}
 *   Taskmaster {"context","generation","reward"} · LLM Foundry {"context","continuation"} · UltraFeedback {"prompt","chosen":[messages],"rejected":[messages]}
 *   ShareGPT pairs {"conversations","chosen","rejected"} · labelled conversations {"messages","label"}
 *   HaluEval {"user_query","chatgpt_response"} · questions alone: {"question"}, {"problem"}, {"instruction"[,"input"]},
 *     MT-Bench {"turns"}, of which the first is the prompt
 * An instruction and its input are joined by a line break, as LLaMA-Factory does.
 * chat: a prompt that is a text becomes a conversation (a transcript its turns, anything else the user's turn), and
 * texts that answer it assistant turns, so that the model's template renders them. */
tn_status tn_row_canonical(const json_t *row, bool chat, json_t **out, tn_err *e);
#endif
