/* Memory that is only read, and not all the time: it moves into a file without a name and is mapped in its place, at the
 * same addresses. Between its uses it leaves the process; whoever reads it again gets its pages from the kernel's file
 * cache, or from the disk where the kernel has wanted the cache's memory for something else.
 *
 * The file is never synced, and is gone with the process, however that ends. Its room on the disk is taken before
 * anything is promised (a memory plan). */
#ifndef TN_BASE_PARK_H
#define TN_BASE_PARK_H
#include "base/status.h"
#include <stddef.h>

typedef struct tn_park tn_park;
/* Could `bytes` be parked in DIR, or where it would be made? TN_OK, or TN_UNSUPPORTED and why not. Leaves nothing. */
tn_status tn_park_fits(const char *dir, size_t bytes, tn_err *why);
/* Takes that room in a file of DIR, which exists. A failure says why not; *p is NULL then. */
tn_status tn_park_new(tn_park **p, const char *dir, size_t bytes, tn_err *why);
/* The whole pages within [at, at + bytes) of a tn_big_alloc move into the file, and are read-only from then on: until
 * the buffer is freed, which may be before the park is, if nobody leaves in between. TN_IO where the file does not take them: what did
 * not move stays as it was, and can be used. TN_NOMEM: the buffer is lost. */
tn_status tn_park_add(tn_park *p, void *at, size_t bytes, tn_err *e);
/* Everything parked leaves the process until it is read. NULL is fine. */
void tn_park_leave(tn_park *p);
size_t tn_park_bytes(const tn_park *p); /* that have been added; 0 of NULL */
/* The file is closed; what is mapped from it stays. NULL is fine. */
void tn_park_free(tn_park *p);
#endif
