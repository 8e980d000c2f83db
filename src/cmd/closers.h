/* tenet select --same-closer: comparisons whose answers differ in more, or in something else, than a set phrase at their end.
 *
 * A closer is the last sentence of an answer that has others before it (eval/corpus.h). It is a set phrase when at least a share
 * of all answers close with it, those of rows with equal answers left out. What people think of set phrases a preference model learns
 * sooner than anything else, since it holds for every prompt, and reinforcement learning puts one under every answer.        */
#ifndef TN_CMD_CLOSERS_H
#define TN_CMD_CLOSERS_H
#include "eval/corpus.h"
#include <jansson.h>

typedef struct tn_closers {
    tn_words *words;
    tn_corpus answers;
    int *from; /* [rows + 1]: the first answer of each row; none where a row's answers are equal */
    bool *alike; /* [rows], of tn_closers_settle: the answers differ, and all or none of them close with the same set phrase */
    size_t rows, cap_from;
} tn_closers;

/* Adds the answers of a row: "responses", or "chosen" and "rejected". */
tn_status tn_closers_add(tn_closers *c, const json_t *row, const char *where, tn_err *e);
tn_status tn_closers_settle(tn_closers *c, double share, tn_err *e);
void tn_closers_free(tn_closers *c);
#endif
