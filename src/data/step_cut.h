/* Where the steps of a sampled response end, in tokens. A step ends with the token that completes a separator in the
 * text; text after it in the same token is still that step's. What has only white space and separators is no step: it
 * belongs to the step before, and so do tokens without text (the end of the turn) behind the last one. */
#ifndef TN_DATA_STEP_CUT_H
#define TN_DATA_STEP_CUT_H
#include "text/text.h"

typedef struct tn_step_cut {
    const tn_tokenizer *tok;
    const char *separator;
    tn_str text; /* scratch */
    tn_ids end;  /* the result: tokens up to and with each step */
} tn_step_cut;
tn_status tn_step_cut_run(tn_step_cut *c, const int32_t *ids, int n, tn_err *e);
/* Text of tokens ids[from .. to), into `out` (cleared); with `bare` without white space around it and without a separator
 * at its end. */
tn_status tn_step_text(const tn_tokenizer *tok, const char *separator, const int32_t *ids, int from, int to, bool bare,
                       tn_str *out, tn_err *e);
void tn_step_cut_free(tn_step_cut *c);
#endif
