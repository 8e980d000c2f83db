/* Training of byte-level BPE tokenizers, to the merges of the `tokenizers` library's BpeTrainer.
 *
 * Texts are normalised and cut into words as a tokenizer's file says; what counts is how often each
 * word occurs. Then, until the vocabulary is full: of all neighbouring pairs of tokens the most
 * frequent one (of several, the one with the smallest ids) becomes a token and is joined in every
 * word. Neither the order of the texts nor the number of threads matters.                     */
#ifndef TN_BPE_TRAIN_H
#define TN_BPE_TRAIN_H
#include "base/pool.h"
#include "text/text.h"

/* ---- words and how often they occur (bpe_count.c) ---- */
typedef struct tn_bpe_counts tn_bpe_counts;
/* Of `pre` the normaliser and the pre-tokenizer are used; they must end in ByteLevel. It and `pool`
 * outlive the counts. */
tn_status tn_bpe_counts_new(tn_bpe_counts **c, const tn_tokenizer *pre, tn_pool *pool, tn_err *e);
/* One text, copied; it must be UTF-8 (`where` names it in messages). */
tn_status tn_bpe_counts_add(tn_bpe_counts *c, const char *s, size_t n, const char *where,
                            tn_err *e);
tn_status tn_bpe_counts_finish(tn_bpe_counts *c, tn_err *e); /* after the last text */
void tn_bpe_counts_free(tn_bpe_counts *c);
/* Distinct words in the order of their bytes. */
size_t tn_bpe_counts_words(const tn_bpe_counts *c);
int64_t tn_bpe_counts_word(const tn_bpe_counts *c, size_t i, const char **s, size_t *n);

/* ---- merges (bpe_train.c) ---- */
typedef struct tn_bpe_options {
    int vocab_size;        /* special tokens, 256 bytes, merges */
    int64_t min_frequency; /* pairs that occur less often are not joined */
    const char *const *special;
    int n_special;         /* they get the first ids */
    void (*tick)(void *ctx, long tokens); /* vocabulary so far; may be NULL */
    void *ctx;
} tn_bpe_options;

typedef struct tn_bpe_report {
    int tokens, merges;
    int64_t words, bytes, encoded; /* words and bytes of the texts, tokens that they make */
} tn_bpe_report;
/* "model" of a tokenizer.json, a new reference. TN_INTERRUPTED after Ctrl-C. */
tn_status tn_bpe_train(json_t **model, const tn_bpe_counts *c, const tn_bpe_options *o,
                       tn_bpe_report *r, tn_err *e);

/* ---- the file (bpe_json.c) ---- */
/* tokenizer.json around a model (NULL: without merges, to cut texts with). pre: "gpt2", "llama3",
 * "qwen2" or a regular expression whose matches, and what stands between them, are words; nfc:
 * normalise so first. */
tn_status tn_bpe_json(json_t **tokenizer, json_t *model, const char *pre, bool nfc,
                      const char *const *special, int n_special, tn_err *e);
#endif
