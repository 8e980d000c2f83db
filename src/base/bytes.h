/* A stream of bytes from a file, inflated when it is gzip. For base/ only. */
#ifndef TN_BASE_BYTES_H
#define TN_BASE_BYTES_H
#include "base/os.h"

typedef struct tn_bytes tn_bytes;
/* "-" is standard input. Gzip is recognised by its magic. */
tn_status tn_bytes_open(tn_bytes **b, const char *path, tn_err *e);
/* Up to n bytes; *got = 0 only at the end. */
tn_status tn_bytes_read(tn_bytes *b, void *p, size_t n, size_t *got, tn_err *e);
void tn_bytes_close(tn_bytes *b);
#endif
