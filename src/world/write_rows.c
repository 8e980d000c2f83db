/* Sets, attacks, documents and judged pairs, written as rows. */
#include "world/attack.h"
#include "world/oversight.h"
#include "world/rows.h"

/* Rows first ... first + count - 1, of which each may be none, one or several lines. */
typedef void put_rows(const void *what, uint64_t i, tn_str *out);

static tn_status write_rows(put_rows *put, const void *what, uint64_t first, int64_t count, const char *out, tn_err *e) {
    tn_world_sink s;
    tn_str row = TN_STR_INIT;
    TN_TRY(tn_world_sink_open(&s, out, e));
    tn_status st = TN_OK;
    for (int64_t i = 0; i < count && st == TN_OK; i++) {
        put(what, first + (uint64_t)i, &row);
        st = tn_world_sink_write(&s, &row, e);
    }
    tn_str_free(&row);
    return tn_world_sink_close(&s, st, e);
}

typedef struct {
    const tn_world *w;
    tn_world_set set;
    uint64_t seed;
    tn_world_mix mix;
    bool oracle, twins, conflict;
    unsigned mask;
} set_rows;

static void put_set(const void *what, uint64_t i, tn_str *out) {
    const set_rows *s = what;
    tn_world_row(s->w, s->set, s->seed, i, s->mix, s->oracle, out);
}

tn_status tn_world_write_set(const tn_world *w, tn_world_set set, uint64_t seed, uint64_t first,
                             int64_t count, tn_world_mix mix, bool oracle, const char *out,
                             tn_err *e) {
    set_rows s = {.w = w, .set = set, .seed = seed, .mix = mix, .oracle = oracle};
    return write_rows(put_set, &s, first, count, out, e);
}

static void put_attacks(const void *what, uint64_t i, tn_str *out) {
    const set_rows *s = what;
    tn_world_prompt p;
    tn_world_set_prompt(s->w, s->set, s->seed, i, &p, NULL);
    bool wanted = tn_world_attackable(&p, false) || (s->twins && tn_world_attackable(&p, true));
    for (int k = 0; k < TN_WORLD_NATTACK && wanted; k++)
        if (s->mask >> k & 1) tn_world_attack_row(s->w, k, s->set, s->seed, i, &p, out);
}

tn_status tn_world_write_attacks(const tn_world *w, tn_world_set set, uint64_t seed, uint64_t first, int64_t count, unsigned mask,
                                 bool twins, const char *out, tn_err *e) {
    set_rows s = {.w = w, .set = set, .seed = seed, .mask = mask, .twins = twins};
    if (set == TN_WS_TEXT || set == TN_WS_SFT)
        return tn_fail(e, TN_ARG, "--attack changes prompts; the set %s has answers", tn_world_sets[set].name);
    return write_rows(put_attacks, &s, first, count, out, e);
}

static void put_document(const void *what, uint64_t i, tn_str *out) {
    const set_rows *s = what;
    tn_world_text t;
    tn_world_ext_kind k = tn_world_oversight_document(s->w, s->seed, i, &t);
    tn_str_addf(out, "{\"kind\": \"%s\", \"text\": \"", tn_world_ext_kind_name[k]);
    tn_world_print(s->w, t.id, t.n, out);
    tn_str_addz(out, "\"}\n");
}

tn_status tn_world_write_oversight(const tn_world *w, uint64_t seed, uint64_t first, int64_t count, const char *out, tn_err *e) {
    set_rows s = {.w = w, .seed = seed};
    return write_rows(put_document, &s, first, count, out, e);
}

static void put_judged_pair(const void *what, uint64_t i, tn_str *out) {
    const set_rows *s = what;
    tn_world_judged_row(s->w, s->seed, i, s->conflict, out);
}

tn_status tn_world_write_judged(const tn_world *w, uint64_t seed, uint64_t first, int64_t count, bool conflict, const char *out, tn_err *e) {
    set_rows s = {.w = w, .seed = seed, .conflict = conflict};
    return write_rows(put_judged_pair, &s, first, count, out, e);
}
