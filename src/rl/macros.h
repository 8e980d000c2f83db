/* Macro actions of a batch of rollouts (algo/macro.h): where they begin, and their GAE in the place of that of
 * tokens. Cuts depend on a response, its number in the run and its reference log-probs alone. */
#ifndef TN_RL_MACROS_H
#define TN_RL_MACROS_H
#include "algo/macro.h"
#include "text/text.h"
#include "train/rollout.h"

typedef struct tn_rollout_macros {
    const tn_macro_opt *o; /* NULL: actions are tokens */
    tn_macro_rule rule;
    tn_macro_weight weight;
    uint64_t seed;
    tn_macros m;
    int *seq_off, *off;  /* [n+1], [tokens + n + 2] */
    uint8_t *begins;     /* [tokens] where macros that have tokens begin */
    uint32_t *lengths;   /* random */
    int max_length;
    int *span;           /* parse: [2 max_new][2] */
    uint8_t *level;      /* [max_new] */
    const tn_tokenizer *tok;
    tn_str text;
} tn_rollout_macros;

bool tn_macros_wanted(const tn_macro_opt *o);
/* Options that make no sense, before anything is loaded. has_text: the policy has a tokenizer. */
tn_status tn_macros_check(const tn_macro_opt *o, bool has_text, tn_err *e);
/* Room for n responses of up to max_new tokens. o outlives it; tok (parse) as well. */
tn_status tn_macros_new(tn_rollout_macros *a, const tn_macro_opt *o, int n, int max_new, uint64_t seed,
                        const tn_tokenizer *tok, tn_err *e);
void tn_macros_free(tn_rollout_macros *a);
size_t tn_macros_bytes(const tn_macro_opt *o, int n, int max_new); /* behind that, for the memory plan */
/* Cuts all responses; response i is number first_key + i of the run. With --macro-loss macro examples tell their
 * macros to the losses. */
tn_status tn_macros_cut(tn_rollout_macros *a, tn_rollouts *r, uint64_t first_key, tn_err *e);
/* tn_gae, or tn_macro_gae where actions are macros (m: its metrics, may be NULL). */
void tn_macros_gae(tn_rollout_macros *a, const tn_rollouts *r, const double *reward, const double *value,
                   double gamma, double lambda, double *advantage, double *ret, tn_metrics *m);

/* A shallow parse of n tokens by their text alone: the response, its sentences (ended by . ! ? or a line break), their
 * clauses (ended by , ; :), words, tokens; depth first, as tn_macro_text wants it. Each inner node has two children or more, so there are less than
 * 2 n. text, level[n]: scratch. */
tn_status tn_macros_parse(const tn_tokenizer *tok, const int32_t *ids, int n, tn_str *text, uint8_t *level, int *span,
                          int *n_span, tn_err *e);
#endif
