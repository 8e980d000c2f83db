/* Sentences from templates, text to ids and back, draws from classes of words. */
#include "world/internal.h"
#include <string.h>

void tn_world_put(const tn_world *w, tn_world_text *t, const char *format, int entity,
                  const int *arg) {
    for (const char *s = format; *s;) {
        size_t n = strcspn(s, " ");
        if (*s == '@' && entity < 0) {
            tn_world_push(t, tn_world_id(w, "it", 2));
        } else if (*s == '@') {
            tn_world_push(t, tn_world_id(w, "the", 3));
            tn_world_push(t, w->entity[entity].name);
            tn_world_push(t, w->entity[entity].kind);
        } else if (*s == '$') {
            tn_world_push(t, arg[s[1] - '0']);
        } else {
            tn_world_push(t, tn_world_id(w, s, n));
        }
        s += n + (s[n] == ' ');
    }
}

void tn_world_append(tn_world_text *t, const tn_world_text *u) {
    for (int i = 0; i < u->n; i++) tn_world_push(t, u->id[i]);
}

void tn_world_statement(const tn_world *w, tn_world_text *t, int attr, int entity, int value) {
    static const char *const form[TN_WA_NATTR] = {"@ is $0 .", "@ is $0 .", "@ is kept in the $0 .",
                                                  "@ is used for $0 .", "@ was made by $0 ."};
    TN_PUT(w, t, form[attr], entity, value);
}

int tn_world_pick(const tn_world *w, tn_rng *r, tn_world_class c) {
    return w->first[c] + (int)tn_rng_below(r, (uint32_t)(w->last[c] - w->first[c]));
}
int tn_world_other(const tn_world *w, tn_rng *r, tn_world_class c, int value) {
    int id = w->first[c] + (int)tn_rng_below(r, (uint32_t)(w->last[c] - w->first[c] - 1));
    return id + (id >= value);
}
int tn_world_mixture(tn_rng *r, const int *weight, int n) {
    int sum = 0, k = 0;
    for (int i = 0; i < n; i++) sum += weight[i];
    int v = (int)tn_rng_below(r, (uint32_t)sum);
    for (sum = weight[0]; sum <= v; sum += weight[++k]) {
    }
    return k;
}

/* Bytes of the white space character at s (Unicode White_Space), 0 when it is none. */
static size_t space_at(const char *s, size_t n) {
    const unsigned char *u = (const unsigned char *)s;
    if (u[0] == ' ' || (u[0] >= '\t' && u[0] <= '\r')) return 1;
    if (n >= 2 && u[0] == 0xC2 && (u[1] == 0x85 || u[1] == 0xA0)) return 2;
    if (n < 3) return 0;
    uint32_t c = (uint32_t)u[0] << 16 | (uint32_t)u[1] << 8 | u[2];
    bool space = c == 0xE19A80 || (c >= 0xE28080 && c <= 0xE2808A) || c == 0xE280A8 ||
                 c == 0xE280A9 || c == 0xE280AF || c == 0xE2819F || c == 0xE38080;
    return space ? 3 : 0;
}

tn_status tn_world_parse_into(const tn_world *w, const char *s, size_t n, int32_t **v, size_t *cap,
                              int *nids, bool *ended, tn_err *e) {
    size_t count = 0;
    *nids = 0;
    if (ended) *ended = false;
    for (size_t i = 0; i < n;) {
        size_t k = space_at(s + i, n - i);
        if (k) {
            i += k;
            continue;
        }
        size_t j = i + 1;
        while (j < n && !space_at(s + j, n - j)) j++;
        int id = tn_world_id(w, s + i, j - i);
        i = j;
        if (id == TN_WORLD_END) {
            if (ended) *ended = true;
            break;
        }
        if (count >= INT32_MAX || !TN_GROW(*v, *cap, count + 1))
            return tn_fail(e, TN_NOMEM, "out of memory for a response of %zu words", count);
        (*v)[count++] = id;
    }
    *nids = (int)count;
    return TN_OK;
}

tn_status tn_world_parse(const tn_world *w, const char *s, size_t n, int32_t **ids, int *nids,
                         bool *ended, tn_err *e) {
    size_t cap = 0;
    *ids = NULL;
    tn_status st = tn_world_parse_into(w, s, n, ids, &cap, nids, ended, e);
    if (st != TN_OK) {
        tn_free(*ids);
        *ids = NULL;
    }
    return st;
}

void tn_world_print(const tn_world *w, const int32_t *id, int n, tn_str *out) {
    for (int i = 0; i < n; i++) {
        if (i) tn_str_addc(out, ' ');
        tn_str_addz(out, tn_world_word_of(w, id[i]));
    }
}
