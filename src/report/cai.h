/* The record of a Constitutional AI run as one page: for any prompt its first answer, every round's principle, critique and revision,
 * the comparisons with their probabilities in both orders, and what later models say; above it what became of each principle.
 *
 * Parts of a run are folders and files, known by what their rows have:
 *   "rounds"                   record.jsonl of `tenet critique`
 *   "labels" and "responses"   of `tenet label`; chains of thought are taken from FILE.replies.jsonl beside it
 *   "rank" without "labels"    somebody's (or the oracle's) ranking of pairs, by "id": who is right
 *   "answers"                  samples.jsonl of `tenet eval`
 *   "response", "text", ...    later answers, NAME=FILE; judged-R.jsonl of a folder: answers-R.jsonl as a judge wrote them back
 *   an object with "stages"    of `tenet compare`, or eval.json with "compare"
 *   an object with "principles" the constitution
 * A folder stands for those of record.jsonl, summary.json, constitution.json, judged-R.jsonl, labels.jsonl, truth.jsonl, stages.json,
 * critique/... and eval/... that it has. What is missing, cut off or unreadable is said on the page.
 *
 * The page holds the rows as JSON in chunks, which its script reads when they are asked for. Texts get into it as text nodes only.
 * `<`, `>` and `&` are escaped in the JSON, and the page's policy lets no other script run.                             */
#ifndef TN_REPORT_CAI_H
#define TN_REPORT_CAI_H
#include "report/report.h"

enum { TN_CAI_ROUNDS = 16, TN_CAI_BINS = 10 };

typedef struct tn_cai_chain {
    const json_t *row; /* of record.jsonl */
    int talk;
} tn_cai_chain;
typedef struct tn_cai_talk { /* one conversation that something was asked */
    const json_t *prompt;    /* messages, or a text; NULL: not known */
    const char *id, *kind;   /* of the first row; may be NULL */
    json_t *labels, *finals; /* arrays or NULL: rows of labels; {"name", ...answer} */
    bool has_chain;
} tn_cai_talk;

/* What became of a principle. */
typedef struct tn_cai_principle {
    const char *id;
    const json_t *text; /* of the constitution; NULL: not known */
    long uses, no_critique, taken, fault[8], compared, right, judged; /* fault: tn_revision_fault's order */
    double margin, bias;                                              /* sums over `compared` */
} tn_cai_principle;

typedef struct tn_cai {
    const char *title;
    json_t *kept; /* every document and row that something below belongs to */
    json_t *by_talk, *by_id, *truth, *thoughts, *principle_at, *stages, *constitution, *summary;
    json_t *judged[TN_CAI_ROUNDS]; /* arrays of judged answers of a round */
    char constitution_hash[17];
    tn_cai_chain *chain;
    tn_cai_talk *talk;
    tn_cai_principle *principle;
    size_t n_chain, cap_chain, n_talk, cap_talk, n_principle, cap_principle;
    long n_label, n_final, replies[8]; /* of an unfinished critique, by stage */
    tn_str notes; /* HTML: <li>s */
} tn_cai;

tn_status tn_cai_load(tn_cai *c, tn_opt_list parts, const char *constitution, tn_err *e);
tn_status tn_cai_page(tn_cai *c, tn_str *out, tn_err *e);
void tn_cai_free(tn_cai *c);
extern const char *const tn_cai_stage_name[8]; /* of replies; ends with NULL */

/* The parts of the page. */
tn_status tn_cai_plots(const tn_cai *c, tn_str *o, tn_err *e);
void tn_cai_principles(const tn_cai *c, tn_str *o);
void tn_cai_stages(const tn_cai *c, tn_str *o);
tn_status tn_cai_data(const tn_cai *c, tn_str *o, tn_err *e);
extern const char tn_cai_script[], tn_cai_style[], tn_cai_script_hash[], tn_cai_body[];
/* JSON for a script element: jansson's text with <, >, & and U+2028, U+2029 escaped. */
tn_status tn_html_json(tn_str *out, const json_t *v, tn_err *e);
#endif
