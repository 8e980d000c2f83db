/* The engine and the state of one run, for gen.c and prompts.c. */
#ifndef TN_GEN_INT_H
#define TN_GEN_INT_H
#include "gen/gen.h"

#define TN_GEN_CHUNK 512 /* prompt tokens put through at once */
#define TN_GEN_ROWS 64   /* rows of logits kept at a time, at most: bounded, never [T,V] */

#define TN_GEN_GREEDY UINT64_MAX /* key of greedy samples */
typedef struct tn_gen_slot {
    int seq; /* in the cache; -1: empty */
    int out; /* index of its sample */
    uint64_t key;
    const int32_t *prompt; /* [n] key of its prompt; NULL: what it says is not kept */
    int n;
    int32_t last; /* token to feed next */
    bool first;   /* `last` opens the response's segment */
} tn_gen_slot;

/* A prompt in the cache whose samples' first tokens are drawn; samples [next, n) have no slot yet. It shares its first tokens
 * with a kept sequence, or (like -1) with the prompt before it. */
typedef struct tn_gen_prompt {
    int seq, req, next, like, shared;
    const int32_t *key; /* kept.c; [n_ids] */
} tn_gen_prompt;

/* A sequence that stays in the cache. */
typedef struct tn_gen_kept {
    int seq, n;
    int32_t *key; /* [n] */
    size_t cap;
    long used; /* g->clock when it was */
} tn_gen_kept;

/* One token to draw: from row `row` of the logits, as token 0, 1, ... of a sample. */
typedef struct tn_gen_draw {
    int row, out;
    uint64_t key;
    int token;
    double share; /* of the probability that the truncation kept */
} tn_gen_draw;

/* What a thread needs to draw from a row. */
typedef struct tn_gen_draw_room {
    float *p;      /* [V] probabilities */
    double *block; /* sums of their blocks */
    int32_t *heap; /* [V] */
} tn_gen_draw_room;

/* The second model of a mixture (mixture.c), and its share c. */
typedef struct tn_gen_second {
    const tn_model *m;
    tn_run *run;
    tn_kv *kv;
    float *z;    /* [rows, V] */
    double *top; /* [rows] largest of a row's mixed logits */
    float c;
} tn_gen_second;

struct tn_gen {
    const tn_model *m;
    tn_run *run;
    tn_kv *kv;
    int batch, max_len, tokens; /* tokens: of one forward, at most */
    tn_gen_slot *slot;          /* [batch] */
    tn_gen_prompt *prompt;      /* [rows] */
    tn_kv_item *item;           /* grown */
    size_t cap_item;
    int rows, rooms;            /* that get a token at once; threads */
    double *lse;                /* [rows] */
    float *z;                   /* [rows, V] logits */
    tn_gen_draw_room *room;     /* [threads] */
    tn_gen_draw *draw;          /* grown */
    size_t cap_draw;
    tn_arena *arena; /* responses of the last run */
    int cuts;        /* of a prompt, at most */
    /* kept.c; keeps: also when a run is over */
    bool keeps;
    tn_gen_kept *kept; /* [n_kept] sorted by their keys */
    size_t cap_kept;
    int n_kept, most_kept, kept_pages, most_pages;
    long clock;
    int32_t *said; /* [max_len] key of a sequence with its sample */
    tn_gen_read read;
    tn_gen_second *second; /* NULL: samples are the model's own */
};

typedef struct tn_gen_job {
    tn_gen *g;
    const tn_gen_request *req;
    int n_req;
    const tn_sampling *s;
    tn_gen_sample *out;
    int next_req, base;     /* the first request that is not prepared, and the index of its first sample */
    int n_prompt, at;       /* prepared ones in g->prompt, and the first of them that waits for slots */
    int first_out;          /* index of the first sample of prompt[at] */
    long done, tokens;
    int active;
} tn_gen_job;

static inline uint64_t tn_gen_key(const tn_gen_job *j, const tn_gen_request *q, int sample) {
    return sample == 0 && j->s->greedy_first ? TN_GEN_GREEDY : q->key + (uint64_t)sample;
}
/* Pages and sequences of the cache. */
int tn_gen_pages(const tn_gen *g);
int tn_gen_sequences(const tn_gen *g);
void tn_gen_unmix(tn_gen *g);
/* Mixed logits and their lse of n rows whose own logits are in g->z; a draw's probabilities are e^(z - top), of any sum. */
tn_status tn_gen_mix_rows(tn_gen *g, const int32_t *rows, int n, double inv_temp, tn_err *e);

/* The caches of both models in step. */
static inline int tn_gen_open(tn_gen *g) {
    if (g->second) tn_kv_open(g->second->kv);
    return tn_kv_open(g->kv);
}
static inline int tn_gen_fork(tn_gen *g, int from) {
    if (g->second) tn_kv_fork(g->second->kv, from);
    return tn_kv_fork(g->kv, from);
}
static inline void tn_gen_begin_like(tn_gen *g, int seq, int like, int tokens) {
    if (g->second) tn_kv_begin_like(g->second->kv, seq, like, tokens);
    tn_kv_begin_like(g->kv, seq, like, tokens);
}
static inline void tn_gen_close(tn_gen *g, int seq) {
    if (g->second) tn_kv_close(g->second->kv, seq);
    tn_kv_close(g->kv, seq);
}
/* As tn_forward_kv_rows; the items are g->item. */
static inline tn_status tn_gen_forward(tn_gen *g, int items, const int32_t *read, int n_read, tn_err *e) {
    if (g->second)
        TN_TRY(tn_forward_kv_rows(g->second->run, g->second->m, g->second->kv, g->item, items, read, n_read, e));
    return tn_forward_kv_rows(g->run, g->m, g->kv, g->item, items, read, n_read, e);
}
/* Logits of n <= g->rows rows of the last forward. */
tn_status tn_gen_rows(tn_gen_job *j, const int32_t *rows, int n, tn_err *e);
/* Draws n tokens, shared out over the threads. */
void tn_gen_draws(tn_gen_job *j, int n);
/* Appends draw d to its sample. True when that ends it; `length`: tokens of its sequence so far, this one not among them. */
bool tn_gen_append(tn_gen_job *j, const tn_gen_draw *d, int length);

/* The kept sequence that has most in common with a key, which was used now, and the tokens that are; -1: none has any (kept.c). */
int tn_gen_find(tn_gen *g, const int32_t *key, int n, int *tokens);
/* The sequence, of n tokens, becomes the store's, which may close it. */
tn_status tn_gen_keep_sequence(tn_gen *g, int seq, const int32_t *key, int n, tn_err *e);
void tn_gen_forget(tn_gen *g); /* all that is kept */
void tn_gen_free_kept(tn_gen *g);

/* Fills empty slots, preparing prompts as they are needed (prompts.c). */
tn_status tn_gen_admit(tn_gen_job *j, tn_err *e);
#endif
