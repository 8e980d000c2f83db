/* DIR/manifest.json: the folder's own list of its files with sizes and checksums, so that a file that
 * was cut, changed or exchanged is found before anything is read from it. */
#ifndef TN_BASE_MANIFEST_H
#define TN_BASE_MANIFEST_H
#include "base/status.h"
#include <stdint.h>

/* Lists every file below DIR; durable. */
tn_status tn_manifest_write(const char *dir, tn_err *e);
/* TN_STATE when a listed file is missing or differs, or there is no manifest. Other files are free. */
tn_status tn_manifest_check(const char *dir, tn_err *e);
/* Checksum of one file's bytes. */
tn_status tn_hash_file(const char *path, uint64_t seed, uint64_t *hash, uint64_t *bytes, tn_err *e);
#endif
