/* Judges of a verb: its own model, other checkpoints, endpoints; one or several that are weighed against each other. */
#ifndef TN_OVERSIGHT_JUDGES_H
#define TN_OVERSIGHT_JUDGES_H
#include "base/option.h"
#include "oversight/asker.h"
#include "oversight/prompts.h"

/* How endpoints are asked; rows for a verb's tables. */
typedef struct tn_endpoint_options {
    tn_opt_list model, key_env;
    int64_t retries, concurrent;
    double timeout, backoff;
} tn_endpoint_options;
extern const tn_opt_row tn_endpoint_option_rows[];

typedef struct tn_judge {
    const char *name; /* the folder as it was given, or MODEL@URL */
    double weight;
    tn_asker *asker;
    tn_prompts *prompts;
    char *own;        /* what name points to, when it is ours */
} tn_judge;

typedef struct tn_judges {
    tn_judge *v;
    int n;
} tn_judges;

/* What judges have in common. The lists have one value for all or one for each: `prompts` of folders and endpoints,
 * endpoint->model and ->key_env of endpoints alone, in their order. weights: none, or one for each. */
typedef struct tn_judge_setup {
    tn_backend *be;     /* may be NULL when all are endpoints */
    const char *base;   /* as in tn_load */
    tn_opt_list prompts, weights;
    const tn_endpoint_options *endpoint;
    int top, votes;     /* as in tn_endpoint, of those that choose between options */
    const tn_constitution *constitution;
    tn_replies *kept;
    uint64_t seed;
} tn_judge_setup;
/* j is freed by the caller, after a failure, too. */
tn_status tn_judges_open(tn_judges *j, tn_opt_list names, const tn_judge_setup *s, tn_err *e);
void tn_judges_close(tn_judges *j);
#endif
