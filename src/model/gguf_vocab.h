/* The vocabulary of a GGUF file, between gguf_tokenizer.c and gguf_spm.c. */
#ifndef TN_MODEL_GGUF_VOCAB_H
#define TN_MODEL_GGUF_VOCAB_H
#include "base/mem.h"
#include "model/gguf.h"

enum {
    TN_TOKEN_NORMAL = 1,
    TN_TOKEN_UNKNOWN,
    TN_TOKEN_CONTROL,
    TN_TOKEN_USER,
    TN_TOKEN_UNUSED,
    TN_TOKEN_BYTE
};
typedef struct tn_gguf_vocab {
    const tn_gguf *g;
    tn_gstr model, pre;
    tn_gstr *token, *merge;
    size_t n, n_merge;
    double *type, *score;       /* [n]; NULL when the file has none */
    int64_t bos, eos, unk, pad; /* -1: none */
} tn_gguf_vocab;

void tn_gguf_vocab_free(tn_gguf_vocab *v);
bool tn_gstr_is(tn_gstr a, const char *z);
/* token -> id; *out is the caller's also on failure */
tn_status tn_gguf_vocab_object(const tn_gguf_vocab *v, json_t **out, tn_err *e);
json_t *tn_gguf_vocab_added(
    const tn_gguf_vocab *v); /* "added_tokens": control, unknown and user-defined tokens */
tn_status tn_gguf_vocab_post(const tn_gguf_vocab *v, bool bos_default, json_t **out,
                             tn_err *e); /* NULL: none */
/* A SentencePiece vocabulary with scores as byte-fallback BPE. */
tn_status tn_gguf_vocab_spm(const tn_gguf_vocab *v, json_t **tokenizer, tn_err *e);
#endif
