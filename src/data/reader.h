/* Reading rows into examples: the row at hand, and what the readers of each kind of row share.
 * Internal to data/: dataset.c reads files, read_*.c their rows. */
#ifndef TN_DATA_READER_H
#define TN_DATA_READER_H
#include "data/dataset.h"

/* Scratch ids are reused from row to row. */
typedef struct tn_reader {
    tn_dataset *d;
    const tn_tokenizer *tok;
    const tn_data_options *o;
    char where[600]; /* file and line, for messages */
    int file, line;
    tn_ids a, b, c;
    tn_steps steps;
} tn_reader;

tn_status tn_reader_need_tokenizer(const tn_reader *r, tn_err *e);
tn_status tn_reader_out_of_memory(const tn_reader *r, tn_err *e);
/* The list of token ids `key` of a row. */
tn_status tn_reader_get_ids(tn_reader *r, const json_t *row, const char *key, tn_ids *out, tn_err *e);

/* An example is begun, given its prompt and its responses (copied), and finished: cut to --max-length, and kept or
 * counted as dropped. */
tn_status tn_reader_new_example(tn_reader *r, int n_response, tn_example **x, tn_err *e);
tn_status tn_reader_set_prompt(tn_reader *r, tn_example *x, const int32_t *v, size_t n, tn_err *e);
/* mask [n]: tokens that are trained; NULL: all of them. */
tn_status tn_reader_set_response(tn_reader *r, tn_example *x, int i, const int32_t *v, size_t n, const uint8_t *mask,
                                 tn_err *e);
void tn_reader_finish(tn_reader *r, tn_example *x);
/* The cutting alone: was anything cut? *drop: reason not to keep the example, or -1. */
bool tn_reader_cut(const tn_data_options *o, tn_example *x, int *drop);

/* New references to prompt, chosen and rejected of a row {"prompt","chosen","rejected"} or {"chosen","rejected"}. */
tn_status tn_reader_pair_parts(const tn_reader *r, const json_t *row, json_t **prompt, json_t **chosen, json_t **rejected,
                               tn_err *e);

/* {"text": [transcripts], "score": [...]}: the first one with the highest score; NULL for other rows. */
const json_t *tn_reader_best_transcript(const json_t *row);

/* One row each: TN_DATA_SFT, TN_DATA_PREFERENCE, TN_DATA_UNPAIRED, TN_DATA_PROMPT. */
tn_status tn_read_sft(tn_reader *r, const json_t *row, tn_err *e);
tn_status tn_read_preference(tn_reader *r, const json_t *row, tn_err *e);
tn_status tn_read_unpaired(tn_reader *r, const json_t *row, tn_err *e);
/* When all rows of TN_DATA_UNPAIRED are read: TRL's order of those that were pairs. */
tn_status tn_order_unpaired(tn_dataset *d, tn_err *e);
tn_status tn_read_safety(tn_reader *r, const json_t *row, tn_err *e);
tn_status tn_read_steps(tn_reader *r, const json_t *row, tn_err *e);
/* A row {"prompt","response_0","response_1",KEY: 0 or 1} (PKU-SafeRLHF) as a pair whose chosen response KEY names. */
tn_status tn_read_safe_rlhf(tn_reader *r, const json_t *row, const char *key, int *better, tn_err *e);
tn_status tn_read_prompt(tn_reader *r, json_t *row, tn_err *e);
/* TN_DATA_SFT with a teacher_template: teacher_prompt.c. */
tn_status tn_read_taught(tn_reader *r, const json_t *row, tn_err *e);
/* When all rows are read: the teachers' sides as a dataset. */
tn_status tn_gather_teachers(tn_dataset *d, tn_err *e);
#endif
