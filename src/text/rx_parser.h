/* The text of a pattern while it is read: what rx_parse.c (structure) and rx_class.c (sets of characters) share. */
#ifndef TN_TEXT_RX_PARSER_H
#define TN_TEXT_RX_PARSER_H
#include "text/rx.h"
#include <string.h>

typedef struct tn_rx_parser {
    tn_rx *r;
    tn_rx_tree *t;
    const char *p;
    size_t n, i;
    bool fold, dotall; /* (?i) and (?m) */
    int depth;
    tn_err *e;
} tn_rx_parser;

enum { TN_RX_DEPTH = 100 };

#define REFUSE(q, ...) tn_fail((q)->e, TN_UNSUPPORTED, __VA_ARGS__)
#define WHERE(q) (q)->r->where, (q)->i

static inline bool tn_rx_at(const tn_rx_parser *q, const char *s) {
    size_t k = strlen(s);
    return q->n - q->i >= k && !memcmp(q->p + q->i, s, k);
}

/* After a backslash: a set (*is_set), or one code point. */
tn_status tn_rx_escape(tn_rx_parser *q, bool in_class, tn_cpset *s, bool *is_set, uint32_t *c);
/* After "[": the members up to the closing bracket. */
tn_status tn_rx_class(tn_rx_parser *q, tn_cpset *out);
#endif
