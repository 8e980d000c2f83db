/* Rows of targeted human feedback: labelled pairs in, training rows and questions out, answers in.
 *
 *   in         {"prompt","responses":[a,b],["ended"],"rank":[1,2]} or [2,1], or {"chosen","rejected"[,"prompt"]} also as
 *              public sets have it (data/formats.h): the first labeller's word. Of a row's two responses number 1 is
 *              responses[0], or the chosen one. Optional: "human" (1 or 2, or 0: cannot say), what a person answers when
 *              asked; "truth" (1 or 2, else what "human" says), only ever measured against.
 *   questions  {"pair": row number from 1, "prompt", "first", "second", "better": null}, sides drawn for each pair, the
 *              label not shown
 *   answers    the same rows with "better": 1, 2, or 0 where a person cannot say; all of them, in any order, once each */
#ifndef TN_RL_RLTHF_ROWS_H
#define TN_RL_RLTHF_ROWS_H
#include "base/json.h"

typedef struct tn_rlthf_pair {
    json_t *row;
    int label, human, truth; /* 1, 2; human, truth: 0 where a row does not say, human -1: cannot say */
    bool out;                /* not among the examples (too long, ...): neither trained on nor asked about */
    bool shard;              /* the rounds work on it */
    bool asked;
    int answer;              /* of a person: 1, 2; 0: not asked, or cannot say */
    double gap;              /* r(response 1) - r(response 2) */
} tn_rlthf_pair;

typedef struct tn_rlthf_pairs {
    tn_rlthf_pair *v;
    size_t n, cap;
} tn_rlthf_pairs;

/* Files in order. TN_FORMAT names the row that is none of the above. */
tn_status tn_rlthf_read(tn_rlthf_pairs *r, const char *const *path, int n_path, tn_err *e);
void tn_rlthf_pairs_free(tn_rlthf_pairs *r);
/* Appends the pair as a training row of the kind it came as, without its newline: number `better` is preferred. `more`
 * (NULL: nothing) is put before the closing brace, from its comma on, and the row's id before that. */
tn_status tn_rlthf_put(const tn_rlthf_pair *p, int better, const char *more, tn_str *out, tn_err *e);
/* Writes the questions about pairs which[0 .. n). */
tn_status tn_rlthf_ask(const tn_rlthf_pairs *r, const int *which, int n, uint64_t seed, const char *path, tn_err *e);
/* The simulated person: answers those questions as the rows' "human" says. */
tn_status tn_rlthf_simulate(const tn_rlthf_pairs *r, const int *which, int n, uint64_t seed, const char *path, tn_err *e);
/* Reads the answers to those questions into asked and answer. Anything but exactly these pairs is TN_FORMAT. */
tn_status tn_rlthf_answers(tn_rlthf_pairs *r, const int *which, int n, uint64_t seed, const char *path, tn_err *e);
#endif
