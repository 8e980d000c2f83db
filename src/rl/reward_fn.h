/* Verifiable rewards: functions of one completion and its row, named in --reward-funcs as NAME or
 * NAME:ARGUMENT. One table row each (reward_fn.c); others may be handed to the loop beside it. */
#ifndef TN_RL_REWARD_FN_H
#define TN_RL_REWARD_FN_H
#include "base/json.h"

typedef struct tn_completion {
    const json_t *row; /* every field of the prompt's row; NULL: it has none */
    const char *text;  /* decoded without special tokens; NUL-terminated; "" without a tokenizer */
    size_t len;
    const int32_t *ids; /* with the stop token, where `ended` */
    int n, max_new;     /* max_new: --max-completion-length */
    bool ended;
} tn_completion;

typedef struct tn_reward_fn {
    const char *name;
    const char *argument; /* of help texts: "FIELD"; "[N]" may be left out; NULL: takes none */
    const char *help;
    bool text; /* reads the text: needs a tokenizer */
    /* *state from the argument (NULL: not given). NULL open: stateless. */
    tn_status (*open)(void **state, const char *argument, tn_err *e);
    /* *reward = NaN: no answer for this row, e.g. because it lacks the field. Failures end the run. */
    tn_status (*score)(void *state, const tn_completion *x, double *reward, tn_err *e);
    void (*close)(void *state);
    /* Field without which a row gets no answer: its name, or "": the argument names it. NULL: none. */
    const char *field;
} tn_reward_fn;

extern const tn_reward_fn tn_reward_fns[]; /* ends with a NULL name */

/* The last number of a text: digits, thousands commas, a fraction, a sign. False: none. */
bool tn_last_number(const char *s, size_t n, double *out);
#endif
