/* Many requests to one HTTP service, some at a time: JSON is posted, a reply comes back, and what may go better later is
 * tried again. Over libcurl, which is loaded when the first client is opened: a program that asks nobody does not pay for it.
 *
 * Tried again: no connection, a connection that broke or took too long, 408, 425, 429, 5xx, and replies that are not what was
 * asked for. Retry k = 0, 1, ... of request i waits min(backoff 2^k, 60) seconds times a number of [1/2, 1) that is drawn for
 * (seed, TN_RNG_RETRY, i), k; or, when that is longer, what the service says in Retry-After, during which nothing else is
 * started. Every other answer is an error at once. Redirections are not followed: a key goes nowhere that nobody named. */
#ifndef TN_BASE_HTTP_H
#define TN_BASE_HTTP_H
#include "base/str.h"

typedef struct tn_http_settings {
    const char *key;   /* sent as "Authorization: Bearer KEY"; NULL: none. Appears in no message */
    double timeout;    /* seconds that one try may take */
    double backoff;    /* seconds, see above */
    int retries;       /* after the first try */
    int concurrent;    /* requests under way */
    size_t most;       /* bytes that a reply may have */
    uint64_t seed;
} tn_http_settings;

typedef struct tn_http tn_http;
/* http:// or https://. TN_UNSUPPORTED without libcurl. `s` is copied, its key, too. */
tn_status tn_http_open(tn_http **h, const char *url, const tn_http_settings *s, tn_err *e);
void tn_http_close(tn_http *h);

typedef struct tn_http_work {
    void *ctx;
    /* What request i posts; `body` comes cleared. */
    tn_status (*ask)(void *ctx, int i, tn_str *body, tn_err *e);
    /* A reply with status 200, in whatever order they come. TN_FORMAT: it is none, and request i is tried again. */
    tn_status (*take)(void *ctx, int i, const char *body, size_t n, tn_err *e);
    /* After some were taken: they are to be durable when it returns. */
    tn_status (*keep)(void *ctx, tn_err *e);
} tn_http_work;
/* Requests 0 to n - 1. When one fails for good, or the program is to stop (TN_INTERRUPTED), no other is started and those
 * that are under way are waited for. */
tn_status tn_http_post(tn_http *h, int n, const tn_http_work *w, tn_err *e);
#endif
