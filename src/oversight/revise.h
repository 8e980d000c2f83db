/* Critique and revision (Bai et al. 2022, 2212.08073, 3; SL-CAI): a policy answers, and for a number of rounds a critic says what
 * a principle of the constitution finds wrong with the answer and writes it again.
 *
 *   y_0 ~ policy(x);   round r: principle k_r drawn for (seed, 16 i + r), c_r ~ critic(x, y_{r-1}, critique request of k_r),
 *   y_r ~ critic(..., c_r, revision request of k_r), or y_{r-1} where that is rejected. Critiques are not carried on.
 *
 * i is the number of the row in its file: a row's draws do not depend on the others. Rows go through the rounds 64
 * together, or a batch when that is more, so that what a model has read of them is still there (tn_asker_keep_prompts). */
#ifndef TN_OVERSIGHT_REVISE_H
#define TN_OVERSIGHT_REVISE_H
#include "oversight/asker.h"
#include "oversight/prompts.h"

/* Why a revision is not taken; the answer before it stays. */
typedef enum tn_fault_kind { TN_REVISION_GOOD, TN_REVISION_EMPTY, TN_REVISION_UNENDED, TN_REVISION_UNCHANGED, TN_REVISION_CRITIQUE,
                             TN_REVISION_REPEATS, TN_REVISION_LONG, TN_REVISION_FAULTS } tn_revision_fault;
extern const char *const tn_revision_fault_name[TN_REVISION_FAULTS];

typedef struct tn_revise_limits {
    int repeat_n, repeats; /* a run of repeat_n words that occurs `repeats` times or more is a repetition; 0: not looked for */
    double longest;        /* in words, as a multiple of the answer's (and 20 words are always allowed); 0: any */
    bool unended;          /* replies that reached the limit are taken, too */
} tn_revise_limits;
/* The first that applies, in the order of the enumeration. */
tn_revision_fault tn_revision_judge(const tn_revise_limits *l, const tn_prompts *p, const char *answer, const char *critique,
                                    const char *revision, bool ended);

typedef struct tn_revise {
    tn_asker *policy, *critic; /* the policy is a model, the critic any asker */
    const tn_constitution *constitution;
    const tn_prompts *prompts;
    const char *kind, *kind_key; /* kind of every prompt, or the key of the rows that has it */
    int rounds, batch;
    bool direct;                 /* revisions without critiques */
    tn_sampling answer, critique, revision;
    tn_revise_limits limits;
    uint64_t seed;
} tn_revise;

/* What happened to a principle's revisions. */
typedef struct tn_revise_count { long uses, no_critique, fault[TN_REVISION_FAULTS]; } tn_revise_count;

enum { TN_REVISE_ROUNDS = 15 }; /* most */
/* Rows {"prompt": text or messages, ...}, with "response" when the first answer is given. record[i] becomes
 * (id: the row's, or row-N)
 *   {"id", "prompt", "kind", "rounds": [{"answer", "ended"}, {"principle", "critique", "revision", "fault": null | name, "answer"}, ...]}
 * (new references, NULL after a failure). count [rounds][principles], zeroed by the caller. */
tn_status tn_revise_rows(const tn_revise *v, json_t *const *row, const char *const *where, int n, json_t **record, tn_revise_count *count,
                         tn_err *e);
#endif
