/* Solutions with labelled steps, {"prompt","completions","labels"} or {"prompt_ids","step_ids","labels"} (`tenet prm`'s
 * rows), as the place of their first mistake. */
#ifndef TN_DATA_STEP_ROWS_H
#define TN_DATA_STEP_ROWS_H
#include "data/dataset.h"

typedef struct tn_labelled_steps {
    tn_ids ids;      /* prompt and the steps before the first wrong one */
    int n_prompt;    /* tokens of the prompt in them */
    tn_ids wrong;    /* that step, with its separator */
    int first_wrong; /* from 0: the first label below one half; -1: none, and no ids */
} tn_labelled_steps;
/* Of a prompt of `d` whose row is kept (TN_DATA_PROMPT); ids must lie below `vocab`. Text is encoded in one piece and cut at the common prefix, so
 * that the mistake's tokens are those of the whole answer. Free also after failure. */
tn_status tn_labelled_steps_read(tn_labelled_steps *l, const tn_dataset *d, const tn_example *x, const tn_tokenizer *tok,
                                 const char *separator, int vocab, tn_err *e);
void tn_labelled_steps_free(tn_labelled_steps *l);
#endif
