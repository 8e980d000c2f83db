/* Parsing that survives failed allocations; see json_mem.c. For base/json.c and lines of logs. */
#ifndef TN_BASE_JSON_MEM_H
#define TN_BASE_JSON_MEM_H
#include "base/status.h"
#include <jansson.h>

/* json_loadb. TN_NOMEM when an allocation failed; else TN_OK, and *root is NULL where the text is no JSON,
 * with the reason in *je. */
tn_status tn_json_load_text(const char *text, size_t n, size_t flags, const char *where, json_t **root,
                            json_error_t *je, tn_err *e);
#endif
