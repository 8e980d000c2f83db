/* `tenet lab`: one experiment's evaluations, a folder for each seed, side by side.
 *
 * A folder has eval.json, as `tenet eval` writes it, or values.jsonl, numbers of the experiment's own, or both: rows
 * {"name": ARM, KEY: number, ...} add to what is known about an arm.
 * Every seed is shown. The interval of an arm is Student's over seeds, mean +- t s/sqrt(n); that of a difference is the
 * same over the seeds' paired differences, so that what a seed does to all arms drops out. One seed gives no interval. */
#ifndef TN_REPORT_LAB_H
#define TN_REPORT_LAB_H
#include "report/report.h"

#define TN_LAB_SEEDS 64
#define TN_LAB_COLUMNS 32
typedef struct tn_lab_column {
    const char *key, *head; /* as files call it; as readers do */
    int digits;
    bool chosen;            /* for the Markdown table; the page has all */
} tn_lab_column;
typedef struct tn_lab {
    const char *title, *claim, *published; /* what was asked; what others report; may be NULL */
    const char *against;                   /* arm that others are compared with */
    const char *metric;                    /* key that says how an arm did; NULL: "reward" */
    tn_opt_list columns;                   /* of the Markdown table: KEY[:HEADING[:DIGITS]]; none: the usual ones */
    int n_seed, n_arm;
    json_t *eval[TN_LAB_SEEDS];
    const char **arm;                      /* [n_arm] in the order of the first evaluation */
    tn_lab_column column[TN_LAB_COLUMNS];  /* whatever some arm has a value of, chosen ones first */
    int n_column;
    const tn_lab_column *main;             /* of the metric; NULL where no arm has it */
    char *heads;                           /* what chosen columns point to */
} tn_lab;

typedef struct tn_lab_value {
    double mean, lo, hi; /* lo, hi NaN with one seed */
    int n;
} tn_lab_value;

/* l is zeroed but for the texts. Arms: the models that every evaluation has, fixed policies left out. */
tn_status tn_lab_load(tn_lab *l, tn_opt_list dirs, tn_err *e);
void tn_lab_free(tn_lab *l);
/* One metric of eval.json ("reward", "kl", ...) of one arm at one seed; NaN where it was not measured. */
double tn_lab_get(const tn_lab *l, int seed, int arm, const char *key);
tn_lab_value tn_lab_mean(const tn_lab *l, int arm, const char *key);
tn_lab_value tn_lab_difference(const tn_lab *l, int arm, int from, const char *key);
tn_lab_value tn_lab_interval(const double *x, int n); /* of what is not NaN */

tn_status tn_lab_markdown(const tn_lab *l, tn_str *out, tn_err *e);
tn_status tn_lab_page(const tn_lab *l, tn_str *out, tn_err *e);
json_t *tn_lab_json(const tn_lab *l); /* new reference; NULL without memory */
#endif
