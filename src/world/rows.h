/* Between the files of this room that read and write rows (JSONL): where rows go, where they come from, and a sampled response
 * with the oracle's verdict. */
#ifndef TN_WORLD_ROWS_H
#define TN_WORLD_ROWS_H
#include "world/internal.h"

enum { TN_WORLD_MAX_LINE = 16 << 20 };

/* A file that appears when it is closed without an error; path NULL or "-": standard output. */
typedef struct tn_world_sink {
    tn_out *file;
    bool on; /* false: nothing is wanted */
} tn_world_sink;
tn_status tn_world_sink_open(tn_world_sink *s, const char *path, tn_err *e);
tn_status tn_world_sink_write(tn_world_sink *s, tn_str *row, tn_err *e); /* and clears the row */
tn_status tn_world_sink_close(tn_world_sink *s, tn_status st, tn_err *e);

typedef struct tn_world_source {
    const char *path;
    char where[512]; /* "rows.jsonl:17" */
    tn_lines *lines;
} tn_world_source;
tn_status tn_world_source_next(tn_world_source *s, json_t **row, tn_err *e); /* NULL at the end */

/* One sampled response. */
typedef struct tn_world_sample {
    tn_str text;
    bool ended;
    int32_t *id;
    int n;
    tn_world_verdict verdict;
} tn_world_sample;
/* Of the response `text` to p, judged; TN_ARG where a word is not the world's. */
tn_status tn_world_sample_set(const tn_world *w, const tn_world_prompt *p, const char *text, size_t n, bool ended,
                              tn_world_sample *s, tn_err *e);
/* A row of one response: "response" or "text", "ended" or "finish_reason". */
tn_status tn_world_sample_read(const tn_world *w, const tn_world_prompt *p, const json_t *row, const char *where,
                               tn_world_sample *s, tn_err *e);
void tn_world_sample_free(tn_world_sample *s);
/* The item that a row's "id" names; its conversation, where the row has one, must be the item's. *id: the row's. */
tn_status tn_world_item_of_row(const tn_world *w, const json_t *row, const char *where, uint64_t seed, const char **id,
                               tn_world_prompt *p, tn_err *e);
#endif
