/* The rounds of targeted human feedback (algo/rlthf.h has the curve and a round's split):
 *
 *   round 0      a reward model from the first labeller's word on the shard
 *   round k      the model of round k - 1 is asked about the shard's pairs that no person has seen; the curve of their gaps
 *                says which stay, which are turned round and which go to people; a new model, from the start, learns from
 *                what stays, what is turned and `amplification` copies of every answer so far
 *   labels       of all pairs: people's answers, else the last model's word
 *
 * Files of `dir`: round-K/{train.jsonl, reward/, trained.json, gaps.jsonl, to_label.jsonl, labelled.jsonl}, metrics.jsonl,
 * labels.jsonl. A run that stopped anywhere goes on from them: trainings and answers that are there are not made again,
 * all else is, to the same bytes. */
#ifndef TN_RL_RLTHF_H
#define TN_RL_RLTHF_H
#include "algo/rlthf.h"
#include "rl/rlthf_rows.h"
#include "rl/rounds.h"

typedef struct tn_rlthf_loop {
    const tn_rlthf_opt *opt;
    tn_rlthf_pairs *rows; /* `out` is set */
    const char *dir;
    uint64_t seed;
    bool targeted; /* false: people are asked about pairs drawn at random, and nothing is turned or left out */
    bool simulate; /* people are the rows' "human" */
    void *ctx;
    tn_round_train *train; /* a reward model, from the starting model */
    /* Gaps of all pairs that are not out, by the model in `dir`; may add to the round's report. */
    tn_status (*judge)(void *ctx, const char *dir, json_t *report, tn_err *e);
} tn_rlthf_loop;

/* *waiting: people have not yet answered the questions of round *round; call again when they have. */
tn_status tn_rlthf_run(const tn_rlthf_loop *l, bool *waiting, int *round, tn_err *e);
#endif
