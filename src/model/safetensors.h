/* safetensors files: mapped reading (one file or shards with an index) and durable writing.
 *
 * A file is: u64 little-endian N | N bytes of JSON {name: {dtype, shape, data_offsets}} | data.
 * Checked as the reference implementation does: the header fits, offsets cover the data exactly,
 * without holes or overlaps, and agree with shape and dtype; names occur once.                  */
#ifndef TN_MODEL_SAFETENSORS_H
#define TN_MODEL_SAFETENSORS_H
#include "base/json.h"
#include "base/pool.h"

typedef enum tn_st_dtype { TN_ST_F32, TN_ST_F16, TN_ST_BF16, TN_ST_F64, TN_ST_OTHER } tn_st_dtype;
#define TN_ST_MAX_DIM 8

typedef struct tn_st_entry {
    const char *name;
    tn_st_dtype dtype;
    char dtype_name[12];
    int n_dim;
    int64_t shape[TN_ST_MAX_DIM];
    size_t count;        /* elements */
    const uint8_t *data; /* in the mapping; alignment is not promised */
    size_t bytes;
    const char *file; /* for messages */
} tn_st_entry;

typedef struct tn_st tn_st;
/* `path`: a .safetensors file, or a folder with model.safetensors or model.safetensors.index.json.
 */
tn_status tn_st_open(tn_st **s, const char *path, tn_err *e);
void tn_st_close(tn_st *s); /* unmaps; entries and data are gone */
size_t tn_st_count(const tn_st *s);
const tn_st_entry *tn_st_at(const tn_st *s, size_t i);           /* sorted by name */
const tn_st_entry *tn_st_find(const tn_st *s, const char *name); /* NULL when there is none */
const json_t *tn_st_metadata(const tn_st *s); /* of the first file; may be NULL */
size_t tn_st_file_bytes(const tn_st *s);

/* Elements [begin, begin+n) of an entry as float or double (elem 4 or 8); exact widening, F64 to
 * float rounds to nearest even. The dtype must not be OTHER. */
void tn_st_read(const tn_st_entry *t, size_t begin, size_t n, void *out, size_t elem);

/* One tensor to write; `read` gives its elements [begin, begin+n), begin a multiple of TN_ST_CHUNK.
 */
#define TN_ST_CHUNK 65536
typedef struct tn_st_out {
    const char *name;
    int n_dim;
    int64_t shape[TN_ST_MAX_DIM];
    void (*read)(const void *ctx, size_t begin, size_t n, float *out);
    const void *ctx;
    bool bytes; /* U8, whatever the others are: n and shape count bytes, and `out` takes them */
} tn_st_out;
typedef enum tn_st_save { TN_ST_SAVE_F32, TN_ST_SAVE_BF16 } tn_st_save;
/* "float32" or "bfloat16". */
tn_status tn_st_save_dtype(const char *name, tn_st_save *out, tn_err *e);
/* Writes one file. */
tn_status tn_st_write_file(const char *path, const tn_st_out *t, size_t n, tn_st_save dtype,
                           tn_err *e);
/* Writes DIR/model.safetensors, or shards of at most `shard_bytes` of tensor data and an index (a
 * tensor larger than that has a shard of its own), and removes weights of another set that were
 * there. bfloat16 rounds to nearest even; metadata {"format": "pt"}; files are synced. */
tn_status tn_st_write_dir(const char *dir, const tn_st_out *t, size_t n, tn_st_save dtype,
                          size_t shard_bytes, tn_err *e);
#define TN_ST_SHARD_BYTES ((size_t)5000000000u) /* as transformers: "5GB" */
#endif
