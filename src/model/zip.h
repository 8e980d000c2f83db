/* One member of a zip archive (a Python wheel is one), by the end of its name. */
#ifndef TN_MODEL_ZIP_H
#define TN_MODEL_ZIP_H
#include "base/os.h"

bool tn_zip_is(const uint8_t *p, size_t n); /* begins like an archive */
/* The only member whose name ends in `suffix`, inflated when it is deflated, its CRC checked.
 * *data is a view into the archive (*owned NULL) or a tn_big_alloc buffer of *n bytes. */
tn_status tn_zip_member(const uint8_t *p, size_t n_archive, const char *suffix, const char *where,
                        const uint8_t **data, size_t *n, void **owned, tn_err *e);
#endif
