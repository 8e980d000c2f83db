/* Regular expressions of tokenizer files: the Oniguruma dialect (Ruby syntax, UTF-8) that the
 * `tokenizers` library compiles its patterns with, on the same Unicode tables.
 *
 * A backtracking matcher with an explicit stack: alternatives in order, greedy, lazy and
 * possessive loops, atomic groups, look-ahead, look-behind of fixed length, character classes
 * with nesting and &&. Work and memory are bounded; whatever is not understood is refused by name. */
#ifndef TN_RX_H
#define TN_RX_H
#include "text/unicode.h"

/* ---- sets of code points (rx_set.c) ---- */
typedef struct tn_cpset {
    tn_range *r; /* sorted, disjoint, not adjacent */
    int n;
    size_t cap;
} tn_cpset;
void tn_cpset_free(tn_cpset *s);
bool tn_cpset_add(tn_cpset *s, uint32_t a, uint32_t b); /* any order; false: out of memory */
bool tn_cpset_union(tn_cpset *s, const tn_cpset *o);
bool tn_cpset_intersect(tn_cpset *s, const tn_cpset *o);
bool tn_cpset_invert(tn_cpset *s);
bool tn_cpset_has(const tn_cpset *s, uint32_t c);
/* Adds every code point that differs from a member only in case. */
bool tn_cpset_fold(tn_cpset *s);
/* \p{name}: general category, its group, a script or a POSIX-like name. 1 found, 0 unknown, -1 no memory. */
int tn_cpset_property(tn_cpset *s, const char *name, size_t n);

/* Constant-time membership: a bitmap per page of 256 code points, equal pages shared. */
typedef struct tn_cpmap {
    uint32_t low[8]; /* c < 256 */
    uint16_t *page;  /* [0x1100] */
    uint32_t *bits;  /* [pages][8] */
} tn_cpmap;
bool tn_cpmap_build(tn_cpmap *m, const tn_cpset *s);
void tn_cpmap_free(tn_cpmap *m);
static inline bool tn_cpmap_has(const tn_cpmap *m, uint32_t c) {
    if (c < 256) return m->low[c >> 5] >> (c & 31) & 1;
    return m->bits[(size_t)m->page[c >> 8] * 8 + (c >> 5 & 7)] >> (c & 31) & 1;
}

/* ---- patterns ---- */
typedef struct tn_rx tn_rx;
/* `where` names the component for messages. */
tn_status tn_rx_compile(tn_rx **r, const char *pattern, size_t n, const char *where, tn_err *e);
/* A pattern that matches exactly these bytes. */
tn_status tn_rx_literal(tn_rx **r, const char *s, size_t n, tn_err *e);
void tn_rx_free(tn_rx *r);

/* Leftmost match that starts at or after `from` in valid UTF-8 text. *found, [*a, *b). `m` is
 * the caller's working memory (one per thread). */
typedef struct tn_rx_mem {
    struct tn_rx_frame *stack;
    size_t cap;
} tn_rx_mem;
void tn_rx_mem_free(tn_rx_mem *m);
tn_status tn_rx_find(const tn_rx *r, tn_rx_mem *m, const char *s, size_t n, size_t from,
                     bool *found, size_t *a, size_t *b, tn_err *e);

/* ---- the program (rx_parse.c reads, rx_code.c makes it, rx_match.c runs it) ---- */
typedef enum tn_rx_op {
    RX_BYTES, /* y bytes at lit + x */
    RX_SET,   /* one code point of map x */
    RX_LOOP,  /* code points of map x, min..max times (max < 0: no limit), RX_GREEDY.. in kind */
    RX_SPLIT, /* try the next instruction (if its first byte may fit), then x */
    RX_LAZY,  /* try x, then the next */
    RX_JMP,   /* to x */
    RX_MARK,  /* atomic or look-around: runs the body at pc + 1 up to its RX_ACCEPT, goes on at x */
    RX_BACK,  /* x code points back, or fail */
    RX_ACCEPT, /* end of a body or of the pattern */
    RX_ASSERT  /* zero-width test `kind` */
} tn_rx_op;
enum { RX_GREEDY, RX_LAZILY, RX_POSSESSIVE };
enum { RX_ATOMIC, RX_AHEAD, RX_NOT_AHEAD, RX_BEHIND, RX_NOT_BEHIND };
enum {
    RX_LINE_BEGIN,
    RX_LINE_END,
    RX_TEXT_BEGIN,
    RX_TEXT_END,
    RX_TEXT_END_NL,
    RX_WORD_EDGE,
    RX_NOT_WORD_EDGE
};

typedef struct tn_bytes {
    uint32_t w[8];
} tn_bytes; /* a set of byte values */

typedef struct tn_rx_inst {
    tn_rx_op op;
    int x, y, min, max, kind;
    tn_bytes first; /* RX_SPLIT: bytes that can begin the preferred branch */
    bool any;       /* RX_SPLIT: that branch may match nothing */
} tn_rx_inst;
struct tn_rx {
    tn_rx_inst *code;
    int n;
    size_t cap;
    tn_cpmap *maps;
    tn_bytes *map_first;
    int nmaps;
    size_t maps_cap, first_cap;
    char *lit;
    size_t nlit, lit_cap;
    tn_cpmap word;  /* \w, built when \b is used */
    tn_bytes first; /* bytes that can begin a match */
    bool any;       /* a match may be empty */
    int work;       /* nodes emitted, bounded */
    char *where;
};

/* The tree between the two halves of the compiler. */
typedef enum tn_rx_kind {
    RN_EMPTY,
    RN_CHAR,
    RN_SET,
    RN_CAT,
    RN_ALT,
    RN_REPEAT,
    RN_MARK,
    RN_ASSERT
} tn_rx_kind;
typedef struct tn_rx_node {
    tn_rx_kind kind;
    int child, next;   /* first child; next sibling; -1: none */
    int min, max, how; /* RN_REPEAT; `how` also the kind of RN_MARK and RN_ASSERT */
    uint32_t c;        /* RN_CHAR */
    int map;           /* RN_SET */
} tn_rx_node;
typedef struct tn_rx_tree {
    tn_rx_node *v;
    int n, root;
    size_t cap;
} tn_rx_tree;
tn_status tn_rx_parse(tn_rx *r, tn_rx_tree *t, const char *p, size_t n, tn_err *e);
tn_status tn_rx_emit(tn_rx *r, tn_rx_tree *t, tn_err *e);
int tn_rx_map(tn_rx *r, const tn_cpset *s); /* index of a new map, -1: out of memory */
#endif
