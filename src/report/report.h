/* `tenet report`: one HTML page about an evaluation and the runs behind it, readable without a
 * network and without scripts.
 *
 * Inputs: the folder of `tenet eval` (eval.json, samples.jsonl; schema: eval/eval.h) and output
 * folders of training verbs (tenet.json, metrics.jsonl, timing.jsonl, samples.jsonl). A run may also
 * hold true_reward.jsonl, judged checkpoints: rows {"step", "true_reward"} with, optionally, "lo",
 * "hi", "proxy" and "kl". What is missing is said on the page; what is malformed is an error. */
#ifndef TN_REPORT_H
#define TN_REPORT_H
#include "base/json.h"
#include "base/option.h"
#include "report/svg.h"

typedef struct tn_report_model {
    const char *name;
    const json_t *j;
    bool policy;    /* fixed policy: no folder */
    int colour;     /* -1: muted */
    double *reward; /* [n_samples], NaN where unknown; NULL without samples */
} tn_report_model;

typedef struct tn_report_run {
    char name[64];
    char dir[1024];
    json_t *info, *metrics, *truth, *samples; /* tenet.json; arrays; NULL: not there */
    json_t *alarms;                           /* the same: alarms.jsonl */
    const char *verb;                         /* "" when unknown */
    double seconds, tokens, peak, steps;      /* NaN: not known */
    int colour;
} tn_report_run;

typedef struct tn_report {
    const char *title, *eval_dir; /* eval_dir NULL: no evaluation */
    json_t *eval, *samples;       /* samples: array or NULL */
    bool world;
    tn_report_model *model;
    int n_models, against; /* against < 0: nobody */
    int *family;           /* [n_samples] index of the row's family */
    int n_samples, n_families;
    const char *families[64];
    tn_report_run *run;
    int n_runs;
    /* Default of an option of a verb as text; NULL: not known, or unset. May be NULL. */
    const char *(*option_default)(const char *verb, const char *option);
} tn_report;

/* r is zeroed but for title and option_default. runs: "NAME=DIR" or "DIR". Strings must outlive the report. */
tn_status tn_report_load(tn_report *r, const char *eval_dir, tn_opt_list runs, tn_err *e);
void tn_report_free(tn_report *r);
tn_status tn_report_page(const tn_report *r, tn_str *out, tn_err *e);

/* Members {"mean" or "rate", "lo", "hi", "n"} of a model; false when it was not measured. */
typedef struct tn_report_value {
    double v, lo, hi;
    int n, k;   /* k: -1 for means */
} tn_report_value;
bool tn_report_get(const json_t *model, const char *key, tn_report_value *v);
double tn_report_real(const json_t *o, const char *key); /* NaN when there is none */

/* What begins a page, up to its heading inside the header, and what ends one. */
void tn_report_head(tn_str *o, const char *title);
/* The same of a page with a style of its own and one script, whose SHA-256 in Base64 is `hash`; no other may run. */
void tn_report_head_script(tn_str *o, const char *title, const char *hash, const char *more_style);
void tn_report_foot(tn_str *o);
/* The parts of the page, in its order. */
void tn_report_headline(const tn_report *r, tn_str *o);
void tn_report_table(const tn_report *r, tn_str *o);
void tn_report_rates(const tn_report *r, tn_str *o);
tn_status tn_report_curves(const tn_report *r, tn_str *o, tn_err *e);
void tn_report_alarms(const tn_report_run *u, tn_str *o);
tn_status tn_report_optimisation(const tn_report *r, tn_str *o, tn_err *e);
tn_status tn_report_answers(const tn_report *r, tn_str *o, tn_err *e);
void tn_report_record(const tn_report *r, tn_str *o);
#endif
