/* A language model as a judge of pairs (AI feedback; Bai et al. 2022, 2212.08073; Lee et al. 2023, 2309.00267): the
 * conversation, a question and the two answers as options (A) and (B); its answer is the probability of the option's
 * token against the other one's, in both orders:  p = mean over questions of (p(A | a, b) + 1 - p(A | b, a)) / 2. */
#ifndef TN_EVAL_JUDGE_H
#define TN_EVAL_JUDGE_H
#include "model/model.h"
#include "text/text.h"

typedef enum tn_judge_layout {
    TN_JUDGE_CHAT, /* one user turn that quotes the conversation, and "(" begins the model's turn */
    TN_JUDGE_WORLD /* the built-in world's: conversation, Principle: question Options: (A) [ a ] (B) [ b ] Answer: */
} tn_judge_layout;

typedef struct tn_judge {
    const tn_model *model;
    const tn_tokenizer *tok;
    tn_judge_layout layout;
    const char *const *question;
    int n_question, max_tokens; /* of a forward, unless one text is longer */
} tn_judge;

/* Rows {"prompt": text or messages, "responses": [a, b]}: p[i] is that of a being better. *bias: mean p(A) - 1/2 over
 * all texts. Rows of another shape are TN_FORMAT, named by where[i]. The same bits for any max_tokens and threads. */
tn_status tn_judge_pairs(const tn_judge *j, json_t *const *row, const char *const *where, int n, double *p, double *bias,
                         tn_err *e);
#endif
