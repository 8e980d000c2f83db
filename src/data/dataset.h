/* Feedback files as training examples: a prompt and one or more responses, as token ids.
 *
 * Formats (JSONL or .jsonl.gz, TRL's field names), told apart row by row:
 *   SFT        {"text"} · {"messages"} or {"conversations"} · {"prompt","completion"} · {"input_ids"[,"labels"]}
 *              · {"prompt_ids","ids"} · the chosen or best-scored answers of the preference formats below
 *   pairs      {"prompt","chosen","rejected"} · {"chosen","rejected"} (common prefix = prompt; HH-RLHF
 *              transcripts) · {"prompt_ids","chosen_ids","rejected_ids"} · {"chosen_ids","rejected_ids"};
 *              · {"prompt","prefix","chosen","rejected"}: two next steps of an answer that begins with the prefix
 *              (step_pair.h); optional "margin", and "p": the probability that the label is right (a soft label)
 *   unpaired   {"prompt","completion","label"} · {"prompt_ids","completion_ids","label"} · pairs, which become two
 *              rows in TRL's order: a thousand pairs' chosen responses, then their rejected ones
 *   triples    pairs with a gold answer: {"prompt","chosen","rejected","reference"} · {"prompt_ids","chosen_ids",
 *              "rejected_ids","reference_ids"}
 *   rankings   {"prompt","responses",["ended"],"rank"} (rank[i] = place of response i, 1 = best); of two, optional "p":
 *              the probability that the first is the better one (`tenet label`)
 *              · {"text":[...],"score":[...]} (whole transcripts, higher is better)
 *   safety     {"prompt","chosen","rejected","chosen_safe","rejected_safe"}, all pairs likewise · PKU-SafeRLHF
 *              {"prompt","response_0","response_1","safer_response_id","is_response_0_safe","is_response_1_safe"}
 *              · single ones, {"prompt","completion","label"}: label says whether the completion is safe
 *   with a teacher's context  {"prompt","completion"[,"privileged_context"]} · {"prompt","privileged_context"}
 *              · {"prompt","chosen","rejected"}: the rejected answer, the chosen one as the context
 *              · {"prompt_ids","ids","teacher_prompt_ids"} (teacher_prompt.h)
 *   steps      {"prompt","completions","labels"} · {"prompt_ids","step_ids","labels"}: trained tokens are the steps'
 *              last ones, and ret their labels
 *   prompts    {"prompt"} · {"messages"} · {"ids"}; a last message of the assistant is an answer to go on with
 * Rows of well-known public sets (GSM8K, Alpaca, UltraFeedback, ...) are read under these names: formats.h.
 * Every reading is counted: rows read, kept, dropped by reason, truncated.                       */
#ifndef TN_DATA_DATASET_H
#define TN_DATA_DATASET_H
#include "data/shots.h"
#include "data/steps.h"

typedef enum tn_data_kind {
    TN_DATA_SFT, TN_DATA_PREFERENCE, TN_DATA_UNPAIRED, TN_DATA_PROMPT, TN_DATA_SAFETY, TN_DATA_STEPS
} tn_data_kind;

/* Tokens that continue an example's prompt (or stand alone when the prompt is empty). */
typedef struct tn_response {
    int32_t *ids;
    uint8_t *trained; /* [n] 1: contributes to the loss */
    int n;
    int n_whole; /* before --max-length cut its end off */
    int rank;    /* 1 = best; equal ranks tie */
} tn_response;
typedef struct tn_example {
    int32_t *prompt; /* one segment, shared by the responses; never trained; may be empty */
    int n_prompt;
    int n_response; /* 1: SFT; 2: a pair (0 chosen, 1 rejected); K: a ranking; 0: a prompt */
    tn_response *response;
    double margin;
    double p;        /* has_p: probability that response 0 is the better of two; else the order is certain */
    bool has_p;
    bool pair;       /* the row was a pair */
    bool gold;       /* its last response is a gold answer, which is compared with none */
    int first;       /* number of its first response in the step under way: the trainer's */
    int label;       /* of up to two responses, bit i: response i is desirable (unpaired), or safe */
    double baseline; /* what the trainer found it is to be compared with (tn_obs.baseline) */
    int file, line; /* where it came from, for messages */
    long row;       /* number of the row, from 1, dropped ones counted */
    struct tn_example *mismatched; /* its prompt with another row's response (tn_dataset_mismatch); NULL: none */
    struct tn_example *teacher; /* the same responses behind what a teacher reads (teacher_prompt.h); NULL: the same prompt */
    double *ref;    /* [trained tokens] reference log-probs, filled by the trainer; NULL: none */
    bool ref_known;
    const double *grad; /* [trained tokens] d loss / d log-prob, found ahead of the pass; NULL: none */
    /* rollouts: [trained tokens] numbers of the sampling policy and its critic; NULL: none */
    const double *old_logp, *old_value, *advantage, *ret;
    const uint8_t *macro; /* the same: 1 where a macro action begins (algo/macro.h); NULL: no macros */
    json_t *meta; /* prompts: the row itself (id, family, ...); NULL otherwise */
} tn_example;

typedef struct tn_data_options {
    tn_data_kind kind;
    int max_length;                       /* <= 0: none */
    bool keep_end;                        /* truncation_mode keep_end */
    bool drop_long;                       /* drop instead of truncating (reward models) */
    bool completion_only, assistant_only; /* SFT masks; completion_only: rows with a prompt */
    bool chat_transcripts; /* HH-RLHF transcripts, and prompts and answers that are texts, as conversations in the
                            * model's template */
    tn_steps_how steps;    /* TN_DATA_STEPS, and: the last step's label only */
    bool last_step_only;
    bool gold; /* TN_DATA_PREFERENCE: rows are triples */
    const char *teacher_template; /* SFT: every row also gets a teacher's prompt, made by it; NULL: none */
    tn_seam seam;
    const json_t *shots; /* prompts: examples to put before each (shots.h); NULL: none */
    int room;            /* most tokens of a prompt with them; <= 0: no limit */
    bool hard_labels; /* "p" of rows is not looked at */
    int vocab;  /* ids must be below */
    long limit; /* at most so many rows; 0: all */
} tn_data_options;

enum { TN_DROP_LONG, TN_DROP_EMPTY, TN_DROP_NO_TARGET, TN_DROP_SAME, TN_DROP_COUNT };
typedef struct tn_data_stats {
    long read, kept, truncated, dropped[TN_DROP_COUNT];
    long tokens, trained; /* tokens of the kept examples (shared prompts once), and trained ones */
    long shots;          /* examples put before prompts, in all */
    long soft;           /* rows with a soft label */
    long seam_moved;      /* rows whose prompt is not a prefix of prompt + completion */
} tn_data_stats;
const char *tn_drop_reason(int reason);

typedef struct tn_dataset {
    tn_arena *arena;
    tn_example *ex;
    size_t n, cap;
    char **path;
    int n_path;
    uint64_t hash; /* of all ids and masks in order: recorded, checked at resume */
    tn_data_stats stats;
    struct tn_dataset *mismatched; /* [n] examples of tn_dataset_mismatch; NULL: none */
    struct tn_dataset *teachers;   /* [n] what the examples' `teacher` points to; NULL: they have none */
} tn_dataset;

/* tok may be NULL when every row is ids. */
tn_status tn_dataset_load(tn_dataset **d, const char *const *paths, int n_paths,
                          const tn_tokenizer *tok, const tn_data_options *o, tn_err *e);
void tn_dataset_free(tn_dataset *d);
/* Mismatched pairs (KTO): within every `block` examples in order, and what is left at the end, each prompt with
 * the response of the example before it, the first one with the last one's; cut to --max-length anew. One
 * response each. Ids are shared with `d`. */
tn_status tn_dataset_mismatch(tn_dataset *d, long block, const tn_data_options *o, tn_err *e);
int tn_example_tokens(const tn_example *x); /* prompt once + all responses */
int tn_example_trained(const tn_example *x);
#endif
