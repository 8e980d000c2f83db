/* Inside of the tokenizer: one struct, one file per stage.
 *
 *   text -> added tokens cut out (tok_added.c) -> normaliser (tok_norm.c) -> added tokens again
 *        -> pre-tokenizers (tok_pre.c) -> model (tok_model.c) -> post-processor (tok_encode.c)
 *
 * Between the stages a text is a list of pieces; each knows which bytes of the input it came from. */
#ifndef TN_TOK_H
#define TN_TOK_H
#include <pthread.h>
#include "text/rx.h"
#include "text/text.h"

/* ---- strings <-> ids ---- */
typedef struct tn_vocab {
    tn_str blob;
    struct tn_vocab_row {
        uint32_t off, len;
        int32_t id;
    } * row;
    size_t n, cap;
    uint32_t *slot; /* open addressing: row + 1 */
    size_t slots;
} tn_vocab;
tn_status tn_vocab_add(tn_vocab *v, const char *s, size_t n, int32_t id, tn_err *e); /* replaces */
int32_t tn_vocab_find(const tn_vocab *v, const char *s, size_t n); /* -1: absent */
void tn_vocab_free(tn_vocab *v);

/* ---- components ---- */
typedef enum tn_norm_op {
    NORM_PREPEND,
    NORM_REPLACE,
    NORM_FORM,
    NORM_LOWER,
    NORM_STRIP,
    NORM_ACCENTS,
    NORM_BYTES
} tn_norm_op;
typedef enum tn_pre_op {
    PRE_BYTES,
    PRE_SPLIT,
    PRE_DIGITS,
    PRE_WHITESPACE,
    PRE_WHITESPACE_SPLIT,
    PRE_METASPACE,
    PRE_PUNCT
} tn_pre_op;
typedef enum tn_dec_op {
    DEC_BYTES,
    DEC_BYTE_FALLBACK,
    DEC_FUSE,
    DEC_REPLACE,
    DEC_STRIP,
    DEC_METASPACE
} tn_dec_op;
typedef enum tn_behaviour {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_PREVIOUS,
    SPLIT_NEXT,
    SPLIT_CONTIGUOUS
} tn_behaviour;
typedef enum tn_scheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } tn_scheme;

typedef struct tn_stage { /* one normaliser, pre-tokenizer or decoder */
    int op;
    tn_form form;
    char *text; /* what is prepended, put in place, or stripped */
    size_t n;
    tn_rx *rx;
    tn_behaviour behaviour;
    tn_scheme scheme;
    bool invert, prefix, regex, split, each, left, right;
    int64_t start, stop;
} tn_stage;
typedef struct tn_stages {
    tn_stage *v;
    size_t n, cap;
} tn_stages;
void tn_stages_free(tn_stages *s);
tn_status tn_norm_read(tn_stages *s, const json_t *j, const char *where, tn_err *e);
tn_status tn_pre_read(tn_stages *s, const json_t *j, const char *where, tn_err *e);
tn_status tn_dec_read(tn_stages *s, const json_t *j, const char *where, tn_err *e);
/* Shared readers: {"String": s} or {"Regex": s}; a copy of a string member; the "type" member. */
tn_status tn_stage_pattern(tn_stage *g, const json_t *j, const char *where, tn_err *e);
tn_status tn_stage_text(tn_stage *g, const json_t *j, const char *key, const char *where,
                        tn_err *e);
tn_status tn_stage_push(tn_stages *s, tn_stage **g, int op, tn_err *e);
tn_status tn_stage_type(const json_t *j, const char **type, const char *where, tn_err *e);

/* ---- added tokens ---- */
typedef struct tn_added {
    char *content, *form; /* as written; as it looks after normalisation (NULL: the same) */
    size_t n, form_n;
    int32_t id;
    bool special, single_word, lstrip, rstrip, normalized;
} tn_added;
typedef struct tn_trie { /* child and sibling links, children in byte order */
    struct tn_trie_node {
        int32_t child, sibling, token;
        uint8_t byte;
    } * v;
    int32_t n, root[256];
    size_t cap;
} tn_trie;

/* ---- the whole ---- */
typedef struct tn_source {
    char *name;
    tn_str bytes;
} tn_source; /* a file as it was read */

struct tn_tokenizer {
    char *where;
    tn_vocab vocab;  /* of the model */
    int32_t *row_of; /* id -> row of vocab, -1 none */
    int nid;         /* largest id + 1 */
    bool word_level, byte_fallback, fuse_unk, ignore_merges;
    bool
        bytes_last; /* the last pre-tokenizer is ByteLevel and the model is BPE: pieces stay bytes */
    bool mark_starts; /* no merge joins anything to a U+2581 on its right: cut there */
    int32_t unk;      /* -2: none named; -1: named but not in the vocabulary */
    char *unk_token;
    struct tn_merge {
        uint64_t pair;
        int32_t rank, id;
    } * merge; /* open addressing, rank -1 = free */
    size_t merge_slots;
    int32_t byte_id[256];     /* vocabulary entry of one raw byte under ByteLevel, -1 none */
    int32_t fallback_id[256]; /* of "<0xNN>" */
    tn_vocab raw;             /* ignore_merges + bytes_last: vocabulary as raw bytes */
    tn_stages norm, pre, dec;
    bool has_dec, first_only; /* a Metaspace that prepends to the first piece only */
    int32_t *before, *after;  /* post-processor */
    size_t nbefore, nafter;
    tn_added *added;
    size_t nadded, added_cap;
    int32_t *added_of;      /* id -> added token, -1 none */
    tn_vocab added_by_name; /* content -> id */
    tn_trie raw_trie, norm_trie;
    /* from the other files */
    int bos, eos, pad;
    json_t *special_names; /* {"bos_token": "<s>", ...} for templates */
    int32_t *stop;
    size_t nstop;
    char *chat_template; /* text, NULL: none */
    bool chat_changed;
    struct tn_chat *chat; /* compiled, see chat.c */
    tn_source *source;
    size_t nsource;
    pthread_mutex_t lock;
    struct tn_work *idle; /* working memories not in use */
};

/* ---- working memory of one encode call ---- */
typedef struct tn_piece {
    const char *s;
    size_t n;
    const uint32_t *a,
        *b; /* per byte: the input bytes it came from; NULL: byte k is s[k] of the input at `at` */
    size_t at;
    int32_t id; /* an added token, or -1 */
} tn_piece;
typedef struct tn_pieces {
    tn_piece *v;
    size_t n, cap;
} tn_pieces;
typedef struct tn_nbuf {
    char *s;
    uint32_t *a, *b;
    size_t n, cap;
} tn_nbuf;
typedef struct tn_cut {
    size_t a, b;
    bool match;
} tn_cut;

typedef struct tn_symbol {
    int32_t id, prev, next, len;
} tn_symbol;
typedef struct tn_heap_row {
    int32_t rank, pos, id;
} tn_heap_row;
typedef struct tn_cache_row {
    uint64_t hash;
    uint32_t key, klen, val, nval;
} tn_cache_row;

typedef struct tn_work {
    struct tn_work *next;
    tn_arena *arena;
    bool align; /* is the origin of bytes wanted? */
    tn_pieces cur, out;
    tn_nbuf buf;
    tn_cut *cut;
    size_t ncut, cut_cap;
    tn_rx_mem rx;
    tn_symbol *sym;
    size_t nsym, sym_cap;
    tn_heap_row *heap;
    size_t nheap, heap_cap;
    tn_cache_row *cache;
    size_t ncache;
    char *keys;
    size_t nkeys, keys_cap;
    int32_t *vals; /* id, byte length, id, byte length, ... */
    size_t nvals, vals_cap;
    tn_err *e;
} tn_work;
tn_status tn_work_get(const tn_tokenizer *t, tn_work **w, tn_err *e);
void tn_work_put(const tn_tokenizer *t, tn_work *w);
void tn_work_free(tn_work *w);

/* pieces (tok_piece.c) */
void tn_piece_origin(const tn_piece *p, size_t k, uint32_t *a, uint32_t *b);
tn_status tn_pieces_push(tn_work *w, tn_pieces *l, tn_piece p);
tn_piece tn_piece_slice(const tn_piece *p, size_t a, size_t b);
tn_status tn_nbuf_put(tn_work *w, tn_nbuf *o, const char *s, size_t n, uint32_t a, uint32_t b);
tn_status tn_nbuf_copy(tn_work *w, tn_nbuf *o, const tn_piece *p, size_t from, size_t to);
tn_status tn_nbuf_keep(tn_work *w, const tn_nbuf *o, tn_piece *p); /* into the arena */
tn_status tn_cut_add(tn_work *w, size_t a, size_t b, bool match);
tn_status tn_cut_rx(tn_work *w, const tn_rx *r, const tn_piece *p); /* w->cut covers the piece */
tn_status tn_cut_apply(tn_work *w, const tn_piece *p, tn_behaviour how); /* slices to w->out */
tn_status tn_bytes_visible(tn_work *w, tn_piece *p); /* each byte as its printable character */
tn_status tn_piece_prepend(tn_work *w, tn_piece *p, const char *s, size_t n);
uint32_t tn_byte_char(unsigned b); /* GPT-2's table */
int tn_char_byte(uint32_t c);      /* its inverse, -1 none */

/* stages */
tn_status tn_norm_run(const tn_tokenizer *t, tn_work *w, tn_piece *p);
tn_status tn_pre_run(const tn_tokenizer *t, tn_work *w); /* w->cur -> w->cur */
tn_status tn_added_cut(const tn_tokenizer *t, tn_work *w, const tn_trie *trie, const tn_piece *p);
tn_status tn_added_read(tn_tokenizer *t, const json_t *list, tn_err *e);
void tn_added_free(tn_tokenizer *t);
tn_status tn_model_read(tn_tokenizer *t, const json_t *model, tn_err *e);
tn_status tn_model_bytes(tn_tokenizer *t, tn_err *e); /* tables for bytes_last */
void tn_tok_model_free(tn_tokenizer *t);
/* Ids of one piece: *v = id, byte length pairs, valid until the next call. */
tn_status tn_model_run(const tn_tokenizer *t, tn_work *w, const char *s, size_t n,
                       const int32_t **v, size_t *nv);
tn_status tn_post_read(tn_tokenizer *t, const json_t *j, tn_err *e);
void tn_chat_free(struct tn_chat *c);
#endif
