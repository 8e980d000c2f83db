/* One JSON row of text or ids -> token ids, where its segments start, and which tokens are scored.
 *
 *   {"prompt_ids": [..], "ids": [..]}   prompt | ids; the ids are scored (what generate writes)
 *   {"ids": [..]}                       one segment; all after the first
 *   {"messages": [..]}                  each assistant turn a segment; its content and end of turn
 *   {"conversations": [..]}             the same
 *   {"prompt": .., "completion": ..}    prompt | completion (strings or message lists); the latter
 *   {"prompt": .., "completions": [..]}  steps for a process reward model (steps.h): prompt | all steps; the last
 *   {"prompt_ids": [..], "step_ids": [..]}   token of each step is scored
 *   {"text": ".."}                      one segment with the tokenizer's special tokens; all after
 *                                       the first
 *
 * The first kind that a row has the members of, in this order, is taken; others are ignored. */
#ifndef TN_DATA_ROWS_H
#define TN_DATA_ROWS_H
#include "data/steps.h"

typedef struct tn_row {
    int n, n_seg;
    int32_t *ids;      /* [n] */
    uint8_t *scored;   /* [n]; the first token never is: nothing predicts it */
    int32_t *start;    /* [n_seg] first token of each segment; start[0] = 0 */
    int n_scored;
} tn_row;

/* t: NULL for folders without a tokenizer (only rows of ids); vocab: ids must lie below it.
 * `text_eos`: a text gets the end-of-sequence token it lacks (training). The row is released with
 * tn_row_free, also after failure. */
typedef struct tn_row_how {
    const tn_tokenizer *tokenizer;
    int vocab;
    tn_seam seam;
    bool text_eos;
    tn_steps_how steps;
} tn_row_how;
tn_status tn_row_read(tn_row *r, const json_t *row, const tn_row_how *how, const char *where,
                      tn_err *e);
void tn_row_free(tn_row *r);
#endif
