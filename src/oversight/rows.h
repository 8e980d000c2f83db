/* Rows of prompts and answers as the stages of oversight read them: JSON, with the place that each came from. */
#ifndef TN_OVERSIGHT_ROWS_H
#define TN_OVERSIGHT_ROWS_H
#include "base/json.h"

typedef struct tn_json_rows {
    json_t **row;
    char **where; /* FILE:LINE */
    size_t n, cap_row, cap_where;
} tn_json_rows;

/* Adds every row of a file `times` times; at most `most` rows (0: all). A file without rows is TN_FORMAT. */
tn_status tn_json_rows_read(tn_json_rows *f, const char *path, int64_t times, int64_t most, tn_err *e);
void tn_json_rows_free(tn_json_rows *f);
/* {"prompt"} or {"messages"}, a text or messages, as messages that end with the user's. New reference. */
tn_status tn_row_conversation(const json_t *row, json_t **out, const char *where, tn_err *e);
/* The text of an answer: a string, a message or messages, whose last one it is. NULL when it is none of these. */
const char *tn_answer_text(const json_t *answer);
/* The row as a line of JSONL; steals the reference (NULL: out of memory). */
tn_status tn_json_row_write(tn_out *out, json_t *row, tn_err *e);
#endif
