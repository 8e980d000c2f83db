/* Micro-batches: examples laid out as a forest, with the rows that losses read.
 *
 * Sequence s (one response of an example) owns scored tokens off[s] .. off[s+1]-1; token t is predicted
 * by forest row `row[t]`, has id `target[t]`. score_row[s] is the row of the response's last token.
 * A response's segments begin where the trained flag changes, so a token's bits depend on roles alone. */
#ifndef TN_TRAIN_BATCH_H
#define TN_TRAIN_BATCH_H
#include "algo/algo.h"
#include "data/dataset.h"
#include "model/model.h"

typedef struct tn_batch {
    tn_forest forest;
    int n_seq, n_tok, n_pair, n_group, n_example;
    int *off;                   /* [n_seq+1] */
    int32_t *row, *target;      /* [n_tok] */
    int32_t *score_row;         /* [n_seq] */
    int *chosen, *rejected;     /* [n_pair] */
    int *prompt;                /* [n_pair] sequence of the prompt's tokens, or -1 */
    int *gold;                  /* [n_pair] sequence of the gold answer, or -1 */
    double *margin;             /* [n_pair] */
    double *sort_value;         /* [2 n_pair], with sort_order: room for algorithms that sort pairs */
    int *sort_order;
    int *group_off, *rank;      /* [n_group+1], [n_seq] */
    int *label;                 /* [n_seq] */
    double *baseline;           /* [n_seq] */
    int n_macro, *macro_off;    /* [n_macro+1], of examples that have macro actions */
    double *length;             /* [n_seq] tokens */
    int *number;                /* [n_seq] of the response in the step */
    uint64_t *origin;           /* [n_seq] file and line of its row */
    bool has_margin, ref_known; /* ref_known: ref_logp was filled from the examples */
    /* numbers, [n_tok] ([n_seq] for score) */
    double *logp, *lse, *entropy, *mean_logit, *top1, *log_sum_sq, *value, *ref_logp, *old_logp, *old_value,
        *advantage, *ret, *score;
    double *d_logp, *d_entropy, *d_lse, *d_value, *d_score;
    size_t cap_tok, cap_seq, cap_pair;
} tn_batch;

/* What a loss takes: K-wise losses groups (a pair is a group of two), pair losses every ordered pair. */
typedef enum tn_ranking_use { TN_RANKINGS_AS_PAIRS, TN_RANKINGS_AS_GROUPS } tn_ranking_use;
typedef struct tn_batch_options {
    bool share_prompts; /* one prompt segment for all responses of an example */
    tn_ranking_use rankings;
    /* A prompt's tokens from the second on are a sequence of their own, before the responses. Not beside numbers
     * that examples keep (reference log-probs, rollouts). */
    bool score_prompts;
    /* Trained tokens are the ends of steps: numbers are read at their own rows, and the response is one segment. */
    bool step_ends;
} tn_batch_options;

/* Upper bounds of what one micro-batch may hold. */
typedef struct tn_batch_need {
    int tokens, seqs, pairs, segs, blocks; /* blocks: of 32 keys, for tn_run_reserve */
    size_t chain, desc;
} tn_batch_need;
/* Over the micro-batches of at most `tokens` forest tokens (or one example) and at most `rows`
 * different examples (0: any number) that can be cut from `d`. *q is raised, never lowered. */
tn_status tn_batch_measure(tn_batch_need *q, const tn_dataset *d, const tn_batch_options *o,
                           int tokens, long rows, tn_err *e);
/* Bounds of what a whole step takes that has `rows` examples, or (0) examples of at most `tokens` together. */
void tn_batch_measure_step(tn_batch_need *q, const tn_dataset *d, const tn_batch_options *o, long rows, long tokens);
/* Of micro-batches of at most `n` rollouts, up to `n_sample` of them after one prompt, each prompt of at
 * least `min_prompt` tokens, all `n` together in at most `max_blocks` blocks (0: not known). */
tn_batch_need tn_batch_rollouts(int tokens, int n, int n_sample, int min_prompt, int max_blocks);
/* Raises *q to what `with` needs. */
void tn_batch_need_raise(tn_batch_need *q, const tn_batch_need *with);
/* Room for that much; later growth still works but allocates. */
tn_status tn_batch_reserve(tn_batch *b, const tn_batch_need *q, tn_err *e);
size_t tn_batch_bytes(const tn_batch_need *q); /* behind that, for the memory plan */
void tn_batch_clear(tn_batch *b);
tn_status tn_batch_add(tn_batch *b, const tn_example *x, const tn_batch_options *o, tn_err *e);
/* The same without tokens: sequences, and pairs or groups; never to be finished. */
tn_status tn_batch_add_outline(tn_batch *b, const tn_example *x, const tn_batch_options *o, tn_err *e);
tn_status tn_batch_finish(tn_batch *b, tn_err *e);
void tn_batch_free(tn_batch *b);
/* Forest tokens that an example takes. */
int tn_batch_cost(const tn_example *x, const tn_batch_options *o);
/* How many responses of x from `first` on fit into `room` tokens with their prompt; at least 1. */
int tn_batch_fit(const tn_example *x, int first, int room, const tn_batch_options *o);
/* Pairs that an example gives under `o`, and the scored tokens of their chosen sides (tn_total.chosen_tok). */
int tn_batch_pairs(const tn_example *x, const tn_batch_options *o);
long tn_batch_chosen_tokens(const tn_example *x, const tn_batch_options *o);
long tn_batch_gold_tokens(const tn_example *x); /* tn_total.gold_tok */
/* The algorithm's view; `total` is left to the caller. */
void tn_batch_obs(const tn_batch *b, tn_obs *x);
#endif
