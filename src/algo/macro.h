/* Macro actions: consecutive tokens of a response that act as one action of PPO (MA-RLHF, Chai et
 * al. 2024, 2410.02743). Values, rewards and advantages live on macros; sampling is unchanged.
 *
 * A rollout loop cuts every response (tn_macro_cut), then calls tn_macro_gae in the place of
 * tn_gae. Each token now carries its macro's advantage and return, so `ppo-policy` and `ppo-value`
 * are the losses of the authors' code (a ratio per token; every value towards its macro's return),
 * and `macro-policy` and `macro-value` those of the paper (one ratio, one value a macro;
 * macro_loss.c). */
#ifndef TN_ALGO_MACRO_H
#define TN_ALGO_MACRO_H
#include "algo/losses.h"
#include "algo/rl.h"

typedef struct tn_macro_opt {
    const char *rule;    /* none, or fixed | random | perplexity | parse | fixed_code | perplexity_code */
    int64_t length;      /* fixed: tokens of a macro; parse: a constituent has fewer */
    tn_opt_list lengths; /* random; none: 2 3 5 10 */
    int64_t repeat;      /* random: of the list */
    const char *value;   /* equal | unit | position */
    const char *reward;  /* sum | mean */
    const char *loss;    /* token | macro: which losses the loop takes */
} tn_macro_opt;
extern const tn_opt_row tn_macro_rows[];

typedef enum tn_macro_rule {
    TN_MACRO_FIXED,      /* n tokens each, the last one shorter; 1: tokens, T: a bandit */
    TN_MACRO_RANDOM,     /* lengths in the order given, the rest is one macro */
    TN_MACRO_PERPLEXITY, /* a macro ends where the next token is less likely under the reference */
    TN_MACRO_PARSE,      /* constituents of a parse */
    /* As the authors' code cuts: the last token alone, and, where it would have begun a macro
     * anyway, an empty one before it; a rise of the perplexity begins the macro one token early. */
    TN_MACRO_FIXED_CODE,
    TN_MACRO_PERPLEXITY_CODE
} tn_macro_rule;
typedef enum tn_macro_weight { /* sigma_i of the n tokens of a macro, i from 0; they sum to 1 */
    TN_MACRO_EQUAL,            /* 1/n */
    TN_MACRO_UNIT,             /* the last token only */
    TN_MACRO_POSITION          /* proportional to 1/(i+1) */
} tn_macro_weight;
/* TN_ARG for unknown names ("none" is no rule) and lengths below 1. */
tn_status tn_macro_weight_parse(const char *name, tn_macro_weight *w, tn_err *e);
tn_status tn_macro_parse(const tn_macro_opt *o, tn_macro_rule *rule, tn_macro_weight *w, tn_err *e);
/* sigma_i = tn_macro_share(w, i, n) / tn_macro_norm(w, n). */
double tn_macro_share(tn_macro_weight w, int i, int n);
double tn_macro_norm(tn_macro_weight w, int n);
/* sum_i sigma_i v_i; 0 for no tokens. */
double tn_macro_mean(tn_macro_weight w, const double *v, int n);

/* What the rules read of one response of n tokens. */
typedef struct tn_macro_text {
    int n;
    const double *ref_logp;  /* [n] perplexity: log-probs under the reference */
    const uint32_t *lengths; /* [n_length] random */
    int n_length;
    const int *span;         /* [n_span][2] parse: nodes [first, end), depth first */
    int n_span;
} tn_macro_text;
/* off[0..*n_macro]: offsets of the macros, off[0] = 0, off[*n_macro] = n; room for n + 2 numbers.
 * TN_ARG for no tokens, missing input, and spans that are no trees over the response (a parser that
 * saw other tokens). length: as tn_macro_opt's. */
tn_status tn_macro_cut(tn_macro_rule rule, int64_t length, const tn_macro_text *y, int *off,
                       int *n_macro, tn_err *e);
/* The list `repeat` times over, shuffled for response `index`: out[*n], of at most max numbers
 * (TN_ARG beyond). */
tn_status tn_macro_lengths(const tn_macro_opt *o, uint64_t seed, uint64_t index, uint32_t *out,
                           int max, int *n, tn_err *e);

/* The macros of a batch: those of sequence s are seq_off[s] .. seq_off[s+1]-1, macro k has tokens
 * off[k] .. off[k+1]-1 of the batch. The numbers of macros are out; room for all of them is the
 * caller's. */
typedef struct tn_macros {
    int n_seq;
    const int *seq_off;                      /* [n_seq+1] */
    const int *off;                          /* [seq_off[n_seq]+1] */
    double *value, *reward, *advantage, *ret; /* [seq_off[n_seq]] */
} tn_macros;
/* V_k = sum_i sigma_i V_{t+i};  R_k = sum_i gamma^i R_{t+i}, or the sigma-weighted mean (the
 * code's); GAE over macros with gamma per macro; then advantage[t], ret[t] of every token are its
 * macro's. An empty macro has V = R = 0. Emits macro/number and macro/length (means over sequences
 * and macros) and macro/advantage_var (ddof 0, of the batch). */
void tn_macro_gae(tn_macro_weight w, bool mean_reward, const double *reward, const double *value,
                  double gamma, double lambda, tn_macros *a, double *advantage, double *ret,
                  tn_metrics *m);

typedef struct tn_macro_value_opt {
    tn_ppo_value_opt value;
    const char *weight; /* equal | unit | position, as the rollout's */
} tn_macro_value_opt;
extern const tn_opt_row tn_macro_value_rows[];
#endif
