#include "oversight/replies.h"
#include <string.h>

typedef struct entry {
    tn_reply_key key;
    json_t *reply; /* NULL: empty */
} entry;

struct tn_replies {
    tn_str path, pending;
    tn_out *out; /* NULL until something is added */
    entry *table;
    size_t n, slots; /* a power of two, at most half full */
};

static size_t place(const tn_replies *r, tn_reply_key k) {
    size_t i = (size_t)k.a & (r->slots - 1);
    while (r->table[i].reply && (r->table[i].key.a != k.a || r->table[i].key.b != k.b)) i = (i + 1) & (r->slots - 1);
    return i;
}

static tn_status grow(tn_replies *r, tn_err *e) {
    if (2 * (r->n + 1) <= r->slots) return TN_OK;
    entry *old = r->table;
    size_t had = r->slots, slots = had ? 2 * had : 1024;
    r->table = tn_calloc(slots, sizeof *r->table);
    if (!r->table) {
        r->table = old;
        return tn_fail(e, TN_NOMEM, "out of memory for %zu replies", r->n);
    }
    r->slots = slots;
    for (size_t i = 0; i < had; i++)
        if (old[i].reply) r->table[place(r, old[i].key)] = old[i];
    tn_free(old);
    return TN_OK;
}

/* Keeps a reference of its own. A key that is there stays as it is. */
static tn_status put(tn_replies *r, tn_reply_key k, json_t *reply, tn_err *e) {
    TN_TRY(grow(r, e));
    entry *x = &r->table[place(r, k)];
    if (x->reply) return TN_OK;
    *x = (entry){k, json_incref(reply)};
    r->n++;
    return TN_OK;
}

const json_t *tn_replies_find(const tn_replies *r, tn_reply_key key) { return r->slots ? r->table[place(r, key)].reply : NULL; }
size_t tn_replies_count(const tn_replies *r) { return r->n; }

/* ---- the file ---- */

static bool parse_key(const char *s, tn_reply_key *k) {
    uint64_t half[2] = {0};
    if (!s || strlen(s) != 32) return false;
    for (int i = 0; i < 32; i++) {
        const char *digits = "0123456789abcdef", *d = strchr(digits, s[i]);
        if (!d) return false;
        half[i / 16] = half[i / 16] << 4 | (uint64_t)(d - digits);
    }
    *k = (tn_reply_key){half[0], half[1]};
    return true;
}

/* Cuts a last line that has no end. */
static tn_status mend(const char *path, tn_err *e) {
    tn_str all = TN_STR_INIT;
    tn_status st = tn_read_file(path, &all, (size_t)1 << 40, e);
    size_t n = all.len;
    while (n > 0 && all.s[n - 1] != '\n') n--;
    if (st == TN_OK && n < all.len) st = tn_write_file(path, all.s, n, e);
    tn_str_free(&all);
    return st;
}

static tn_status load(tn_replies *r, tn_err *e) {
    tn_lines *in = NULL;
    json_t *row = NULL;
    tn_reply_key k;
    if (r->path.len == 0 || !tn_exists(r->path.s)) return TN_OK;
    TN_TRY(mend(r->path.s, e));
    tn_status st = tn_lines_open(&in, r->path.s, (size_t)1 << 28, e);
    while (st == TN_OK && (st = tn_jsonl_next(in, r->path.s, &row, e)) == TN_OK && row) {
        json_t *reply = json_object_get(row, "reply");
        if (!reply || !parse_key(json_string_value(json_object_get(row, "key")), &k))
            st = tn_fail(e, TN_FORMAT, "%s:%ld: expected {\"key\": 32 hex digits, \"asked\": ..., \"reply\": ...}; move the file away, or mend the line",
                         r->path.s, tn_lines_number(in));
        else st = put(r, k, reply, e);
        json_decref(row);
    }
    tn_lines_close(in);
    return st;
}

tn_status tn_replies_open(tn_replies **out, const char *path, tn_err *e) {
    tn_replies *r = tn_calloc(1, sizeof *r);
    *out = NULL;
    if (!r) return tn_fail(e, TN_NOMEM, "out of memory");
    r->path = r->pending = (tn_str)TN_STR_INIT;
    if (path) tn_str_addz(&r->path, path);
    tn_status st = r->path.oom ? tn_fail(e, TN_NOMEM, "out of memory") : load(r, e);
    if (st == TN_OK) *out = r;
    else tn_replies_close(r);
    return st;
}

void tn_replies_forget(tn_replies *r) {
    for (size_t i = 0; i < r->slots; i++) {
        json_decref(r->table[i].reply);
        r->table[i] = (entry){0};
    }
    r->n = 0;
    tn_str_clear(&r->pending);
}

void tn_replies_close(tn_replies *r) {
    if (!r) return;
    tn_replies_forget(r);
    tn_out_close(r->out, TN_OK, false, NULL);
    tn_free(r->table);
    tn_str_free(&r->path);
    tn_str_free(&r->pending);
    tn_free(r);
}

tn_status tn_replies_add(tn_replies *r, tn_reply_key key, json_t *asked, json_t *reply, tn_err *e) {
    char hex[33];
    if (tn_replies_find(r, key)) return TN_OK; /* the same question twice in a portion */
    snprintf(hex, sizeof hex, "%016llx%016llx", (unsigned long long)key.a, (unsigned long long)key.b);
    json_t *row = json_pack("{s:s,s:O,s:O}", "key", hex, "asked", asked, "reply", reply);
    if (!row) return tn_fail(e, TN_NOMEM, "out of memory");
    tn_status st = tn_json_add(&r->pending, row, JSON_COMPACT, r->path.s, e);
    tn_str_addc(&r->pending, '\n');
    if (st == TN_OK && r->pending.oom) st = tn_fail(e, TN_NOMEM, "out of memory");
    json_decref(row);
    return st == TN_OK ? put(r, key, reply, e) : st;
}

tn_status tn_replies_commit(tn_replies *r, tn_err *e) {
    if (r->path.len == 0) tn_str_clear(&r->pending);
    if (r->pending.len == 0) return TN_OK;
    if (!r->out) TN_TRY(tn_out_open(&r->out, r->path.s, true, e));
    TN_TRY(tn_out_write(r->out, r->pending.s, r->pending.len, e));
    tn_str_clear(&r->pending);
    return tn_out_flush(r->out, true, e);
}
