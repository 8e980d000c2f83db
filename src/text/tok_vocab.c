/* Strings to ids: open addressing over one blob of bytes; see tok.h. */
#include "text/tok.h"
#include <string.h>

static uint64_t hash_bytes(const char *s, size_t n) {
    uint64_t h = 0x9E3779B97F4A7C15ull ^ n;
    for (; n >= 8; s += 8, n -= 8) {
        uint64_t v;
        memcpy(&v, s, 8);
        h = (h ^ v) * 0xBF58476D1CE4E5B9ull;
        h ^= h >> 29;
    }
    uint64_t v = 0;
    memcpy(&v, s, n);
    h = (h ^ v) * 0x94D049BB133111EBull;
    return h ^ h >> 31;
}

static bool rehash(tn_vocab *v, size_t slots) {
    uint32_t *slot = tn_calloc(slots, sizeof *slot);
    if (!slot) return false;
    for (size_t r = 0; r < v->n; r++) {
        size_t k = hash_bytes(v->blob.s + v->row[r].off, v->row[r].len) & (slots - 1);
        while (slot[k]) k = (k + 1) & (slots - 1);
        slot[k] = (uint32_t)r + 1;
    }
    tn_free(v->slot);
    v->slot = slot;
    v->slots = slots;
    return true;
}

static struct tn_vocab_row *find(const tn_vocab *v, const char *s, size_t n) {
    if (!v->slots) return NULL;
    for (size_t k = hash_bytes(s, n) & (v->slots - 1); v->slot[k]; k = (k + 1) & (v->slots - 1)) {
        struct tn_vocab_row *r = &v->row[v->slot[k] - 1];
        if (r->len == n && !memcmp(v->blob.s + r->off, s, n)) return r;
    }
    return NULL;
}

int32_t tn_vocab_find(const tn_vocab *v, const char *s, size_t n) {
    const struct tn_vocab_row *r = find(v, s, n);
    return r ? r->id : -1;
}

tn_status tn_vocab_add(tn_vocab *v, const char *s, size_t n, int32_t id, tn_err *e) {
    struct tn_vocab_row *r = find(v, s, n);
    if (r) {
        r->id = id;
        return TN_OK;
    }
    if (v->blob.len + n > 0x7FFFFFFF)
        return tn_fail(e, TN_UNSUPPORTED, "a vocabulary of more than 2 GB");
    if (!TN_GROW(v->row, v->cap, v->n + 1))
        return tn_fail(e, TN_NOMEM, "no memory for a vocabulary");
    v->row[v->n] = (struct tn_vocab_row){(uint32_t)v->blob.len, (uint32_t)n, id};
    tn_str_add(&v->blob, s, n);
    tn_str_addc(&v->blob, 0); /* so that a row is also a C string */
    if (v->blob.oom) return tn_fail(e, TN_NOMEM, "no memory for a vocabulary");
    v->n++;
    if (v->n * 2 > v->slots) {
        if (!rehash(v, v->slots ? v->slots * 2 : 64))
            return tn_fail(e, TN_NOMEM, "no memory for a vocabulary");
        return TN_OK;
    }
    size_t k = hash_bytes(s, n) & (v->slots - 1);
    while (v->slot[k]) k = (k + 1) & (v->slots - 1);
    v->slot[k] = (uint32_t)v->n;
    return TN_OK;
}

void tn_vocab_free(tn_vocab *v) {
    tn_str_free(&v->blob);
    tn_free(v->row);
    tn_free(v->slot);
    memset(v, 0, sizeof *v);
}
