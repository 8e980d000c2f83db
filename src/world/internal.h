/* Shared by the files of src/world: sentences from templates, draws from lists. */
#ifndef TN_WORLD_INTERNAL_H
#define TN_WORLD_INTERNAL_H
#include "world/world.h"

/* Appends the words of a template: `@` writes the entity ("the NAME KIND", or "it" for -1),
 * `$0` ... `$9` the token ids of `arg`; every other word must be in the vocabulary. */
void tn_world_put(const tn_world *w, tn_world_text *t, const char *format, int entity,
                  const int *arg);
#define TN_PUT(w, t, format, entity, ...)                                             \
    tn_world_put((w), (t), (format), (entity), (const int[]){__VA_ARGS__})
static inline void tn_world_push(tn_world_text *t, int id) {
    if (t->n < TN_WORLD_TEXT_MAX) t->id[t->n++] = id;
}
void tn_world_append(tn_world_text *t, const tn_world_text *u);
void tn_world_statement(const tn_world *w, tn_world_text *t, int attr, int entity, int value);

/* A question of what (tn_world_attr) about an entity; its form is drawn. */
void tn_world_ask(const tn_world *w, tn_rng *r, int what, int entity, tn_world_text *t);
/* Appends {"role": ..., "content": ...}. */
void tn_world_json_turn(const tn_world *w, const char *role, const tn_world_text *t, tn_str *out);

/* A member of a class of words; another member than `value`. */
int tn_world_pick(const tn_world *w, tn_rng *r, tn_world_class c);
int tn_world_other(const tn_world *w, tn_rng *r, tn_world_class c, int value);
static inline int tn_world_pick_entity(tn_rng *r, const tn_world_list *l) {
    return l->v[tn_rng_below(r, (uint32_t)l->n)];
}
/* Index of the first weight whose running sum exceeds below(sum). */
int tn_world_mixture(tn_rng *r, const int *weight, int n);
/* The leading rude sentence's length in tokens, 0 when there is none. */
int tn_world_rude_prefix(const tn_world *w, const int32_t *y, int n);

/* ---- critiques and comparisons of the pretraining text: what is drawn, and how it is written ---- */
typedef struct tn_world_criticised {
    tn_world_prompt p;
    tn_world_text y, revised;
    tn_world_principle k;
    bool found; /* the critic says that y violates k */
} tn_world_criticised;
void tn_world_draw_critique(const tn_world *w, tn_rng *r, tn_world_criticised *c);
void tn_world_put_critique(const tn_world *w, const tn_world_criticised *c, const char *critique_request, const char *revision_request,
                           tn_world_text *t);
typedef struct tn_world_compared {
    tn_world_prompt p;
    tn_world_text y[2];
    tn_world_verdict v[2];
    tn_world_principle k;
    bool b; /* the text answers (B) */
} tn_world_compared;
void tn_world_draw_comparison(const tn_world *w, tn_rng *r, tn_world_compared *c);
/* `thought`: what is said before the answer, NULL: nothing. */
void tn_world_put_comparison(const tn_world *w, const tn_world_compared *c, const char *question, const tn_world_text *thought,
                             tn_world_text *t);

/* The item of a row by its "id"; where the row has its prompt, it must be the item's. `where` names
 * the row for messages, `scratch` is the caller's, reused. */
tn_status tn_world_row_item(const tn_world *w, const json_t *row, const char *where, uint64_t seed,
                            const char **id, tn_world_prompt *p, tn_str *scratch, tn_err *e);
/* tn_world_parse into an array that grows and is kept between calls. */
tn_status tn_world_parse_into(const tn_world *w, const char *s, size_t n, int32_t **v, size_t *cap,
                              int *nids, bool *ended, tn_err *e);

/* Purposes of streams. */
enum {
    TN_WR_ENTITY = 1, TN_WR_SFT = 7, TN_WR_PREF = 8, TN_WR_EVAL = 9, TN_WR_RL = 11,
    TN_WR_ANNOTATOR = 12, TN_WR_CAI = 13, TN_WR_PERSON = 14, TN_WR_HELD = 15, TN_WR_POLICY = 16, TN_WR_TASTE = 17,
    TN_WR_PAIR = 18, TN_WR_ATTACK = 19, TN_WR_JUDGED = 20,
    TN_WR_DOCUMENT = 104, TN_WR_OVERSIGHT = 105, TN_WR_PREF_HELDOUT = 208
};
#endif
