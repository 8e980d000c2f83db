/* Replies that are kept for good: whatever a model or an endpoint was asked and has answered, so that nothing is asked twice
 * and everything can be read later.
 *
 * A file of JSON lines {"key": "32 hex digits", "asked": ..., "reply": ...}, only ever added to. The key is a hash of
 * everything that the reply is a function of: who is asked, the whole prompt, how it is sampled and which draw of it. Lines
 * of a model are added in the order of the questions, a portion at a time, those of an endpoint as they come; they are durable
 * before they are used. A run that is killed and started again leaves the same lines, and of a model the same bytes. A last line without its end is what a crash left of a portion, and is cut. */
#ifndef TN_OVERSIGHT_REPLIES_H
#define TN_OVERSIGHT_REPLIES_H
#include "base/json.h"

typedef struct tn_reply_key { uint64_t a, b; } tn_reply_key;
static inline tn_reply_key tn_reply_key_add(tn_reply_key k, const void *p, size_t n) {
    uint64_t len = n; /* "ab" + "c" is not "a" + "bc" */
    return (tn_reply_key){tn_hash64(p, n, tn_hash64(&len, sizeof len, k.a)), tn_hash64(p, n, tn_hash64(&len, sizeof len, ~k.b))};
}

typedef struct tn_replies tn_replies;
/* Creates the file when it is missing; path NULL: in memory alone. TN_FORMAT names the line that is not a reply. */
tn_status tn_replies_open(tn_replies **r, const char *path, tn_err *e);
void tn_replies_close(tn_replies *r);
void tn_replies_forget(tn_replies *r); /* all that is in memory, of a store without a file */
size_t tn_replies_count(const tn_replies *r);
/* The reply, borrowed; NULL when it was never given. */
const json_t *tn_replies_find(const tn_replies *r, tn_reply_key key);
/* Keeps `asked` and `reply` (references of its own) under a key, unless it is there; not durable before the commit. */
tn_status tn_replies_add(tn_replies *r, tn_reply_key key, json_t *asked, json_t *reply, tn_err *e);
tn_status tn_replies_commit(tn_replies *r, tn_err *e);
#endif
