/* Helpers over jansson: loading with good messages, typed getters, streaming JSONL.
 * Texts with embedded NULs are accepted (JSON_ALLOW_NUL); duplicate keys are errors. */
#ifndef TN_BASE_JSON_H
#define TN_BASE_JSON_H
#include "base/os.h"
#include <jansson.h>

/* jansson goes on after some failed allocations: a string loses its end, a member is not set.
 * TN_NOMEM when that has happened in this thread and nobody has said so yet; loading and saving ask. */
tn_status tn_json_check(const char *what, tn_err *e);

tn_status tn_json_parse(const char *text, size_t n, const char *where, json_t **root, tn_err *e);
tn_status tn_json_load(const char *path, json_t **root, tn_err *e);   /* .gz too */
/* Appends the text of a value; jansson's flags. `what` is for the message. */
tn_status tn_json_add(tn_str *out, const json_t *v, size_t flags, const char *what, tn_err *e);
/* Pretty-printed (indent 2, keys sorted when `sorted`), reals with 17 digits, newline at end;
 * atomic. */
tn_status tn_json_save(const char *path, const json_t *root, bool sorted, tn_err *e);

/* Typed members of an object. `where` names the file for messages. A missing (or null) member
 * gives *out = def; one of another type is TN_FORMAT. The _need forms have no default. */
tn_status tn_json_int(const json_t *o, const char *key, int64_t def, int64_t *out,
                      const char *where, tn_err *e);
tn_status tn_json_real(const json_t *o, const char *key, double def, double *out, const char *where,
                       tn_err *e);
tn_status tn_json_bool(const json_t *o, const char *key, bool def, bool *out, const char *where,
                       tn_err *e);
tn_status tn_json_str(const json_t *o, const char *key, const char *def, const char **out,
                      const char *where, tn_err *e);
tn_status tn_json_need_int(const json_t *o, const char *key, int64_t *out, const char *where,
                           tn_err *e);
tn_status tn_json_need_real(const json_t *o, const char *key, double *out, const char *where, tn_err *e);
tn_status tn_json_need_str(const json_t *o, const char *key, const char **out, const char *where,
                           tn_err *e);
tn_status tn_json_need(const json_t *o, const char *key, json_type type, json_t **out,
                       const char *where, tn_err *e);

json_t *tn_json_number(double x); /* null where it is NaN, which JSON has not; new reference */

/* JSONL, plain or .gz: next row as an object; blank lines skipped; *row = NULL at the end.
 * The caller decrefs the row. Errors name file and line. */
tn_status tn_jsonl_next(tn_lines *r, const char *path, json_t **row, tn_err *e);
/* Array of token ids in [0, vocab) (vocab <= 0: any non-negative int32). *ids from the heap. */
tn_status tn_json_ids(const json_t *a, int vocab, int32_t **ids, size_t *n, const char *where,
                      tn_err *e);
#endif
