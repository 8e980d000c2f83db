/* Solutions in steps, as process reward models read them. TRL's order: the prompt without special tokens behind the
 * tokenizer's first one; every step encoded alone, then the separator, at whose last token the step is judged. */
#ifndef TN_DATA_STEPS_H
#define TN_DATA_STEPS_H
#include "data/encode.h"

typedef struct tn_steps_how {
    const char *separator;
    int max_prompt; /* tokens of the prompt that are kept, its last ones; 0: all */
} tn_steps_how;
typedef struct tn_steps {
    tn_ids prompt, ids, end; /* end: place in ids of the last token of each step */
} tn_steps;
/* prompt: a string or messages; steps: a list of strings. */
tn_status tn_encode_steps(const tn_tokenizer *t, const json_t *prompt, const json_t *steps, const tn_steps_how *how,
                          tn_steps *out, const char *where, tn_err *e);
/* The same of a list of lists of ids, each with its separator. */
tn_status tn_steps_of_ids(const json_t *steps, int vocab, tn_steps *out, const char *where, tn_err *e);
void tn_steps_clear(tn_steps *s);
void tn_steps_free(tn_steps *s);
#endif
