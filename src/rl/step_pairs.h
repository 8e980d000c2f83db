/* The data of Step-DPO (Lai et al. 2024, 2406.18629, section 3.2): sample solutions, find the first wrong step of a wrong
 * one, cut before it, and sample from there on until the same policy goes on rightly. A pair is that right next step
 * against the wrong one, both behind the prompt and the steps before. Both are the policy's own words, as it wrote them:
 * rows carry token ids. For comparison also pairs of whole answers, right against wrong, of the same samples.
 *
 * A row's samples are functions of (model, seed, its number in the file); batch, threads and interruptions change
 * nothing. */
#ifndef TN_RL_STEP_PAIRS_H
#define TN_RL_STEP_PAIRS_H
#include "base/journal.h"
#include "gen/gen.h"
#include "rl/step_judge.h"

typedef struct tn_step_pairs_options {
    int64_t n, tries, max_pairs, max_new, batch;
    double temperature, top_p;
    const char *separator, *pairs; /* step | answer */
} tn_step_pairs_options;
extern const tn_opt_row tn_step_pairs_rows[];

/* What became of everything; the sum over rows is printed at the end. */
enum {
    TN_SP_ROWS, TN_SP_SOLUTIONS, TN_SP_RIGHT, TN_SP_WRONG, TN_SP_UNKNOWN, TN_SP_UNLOCATED, TN_SP_SAME, TN_SP_BEYOND, TN_SP_TRIES,
    TN_SP_UNCORRECTED, TN_SP_PAIRS, TN_SP_COUNT
};
typedef struct tn_step_pairs_counts { long v[TN_SP_COUNT]; } tn_step_pairs_counts;

typedef struct tn_step_pairs {
    const tn_step_pairs_options *o;
    const tn_dataset *rows; /* prompts with their rows */
    const tn_tokenizer *tok;
    const tn_model *model;
    tn_gen *gen;
    tn_step_judge *judge;
    tn_journal *out;
    uint64_t seed;
    tn_step_pairs_counts all;
} tn_step_pairs;
/* Rows that the journal does not have yet. TN_INTERRUPTED: what is finished is in the journal. */
tn_status tn_step_pairs_run(tn_step_pairs *p, tn_err *e);
/* Adds a journal's note to the counts. */
tn_status tn_step_pairs_note(void *counts, const char *note, tn_err *e);
/* Longest prompt with its answer that a run meets; rows of labelled steps are encoded for it, and checked. */
tn_status tn_step_pairs_measure(const tn_dataset *rows, const tn_tokenizer *tok, const tn_step_pairs_options *o, bool labels,
                                int vocab, int *length, tn_err *e);
void tn_step_pairs_print(const tn_step_pairs_counts *c, bool steps);
#endif
