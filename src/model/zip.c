/* Reading of one zip member; see zip.h. The central directory at the end of the archive is the
 * truth (APPNOTE 4.3); ZIP64, encryption and other methods than stored and deflated are refused by
 * name.  */
#include "model/zip.h"
#include "base/mem.h"
#include <string.h>
#include <zlib.h>

#define END_SIZE 22u
#define ENTRY_SIZE 46u
#define LOCAL_SIZE 30u

static uint32_t le16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }
static uint32_t le32(const uint8_t *p) { return le16(p) | le16(p + 2) << 16; }

bool tn_zip_is(const uint8_t *p, size_t n) { return n >= END_SIZE && !memcmp(p, "PK\3\4", 4); }

typedef struct tn_entry {
    uint32_t flags, method, crc, packed, size, at;
} tn_entry;

/* The end record lies within the last 64 KiB, before a comment whose length it states. */
static const uint8_t *find_end(const uint8_t *p, size_t n) {
    for (size_t back = END_SIZE; back <= n && back <= END_SIZE + 65535; back++) {
        const uint8_t *q = p + n - back;
        if (!memcmp(q, "PK\5\6", 4) && le16(q + 20) == back - END_SIZE) return q;
    }
    return NULL;
}

static bool ends_with(const uint8_t *name, size_t n, const char *suffix) {
    size_t k = strlen(suffix);
    return n >= k && !memcmp(name + n - k, suffix, k);
}

static tn_status find_entry(const uint8_t *p, size_t n, const char *suffix, const char *where,
                            tn_entry *out, tn_err *e) {
    const uint8_t *end = find_end(p, n);
    if (!end)
        return tn_fail(e, TN_FORMAT, "%s: the archive has no directory at its end; it is truncated",
                       where);
    uint32_t count = le16(end + 10), at = le32(end + 16), found = 0;
    if (count == 0xffff || at == 0xffffffffu)
        return tn_fail(e, TN_UNSUPPORTED, "%s: ZIP64 archives are not supported; unpack it first",
                       where);
    size_t limit = (size_t)(end - p), pos = at;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *q = p + pos;
        if (pos > limit || limit - pos < ENTRY_SIZE || memcmp(q, "PK\1\2", 4) != 0)
            return tn_fail(e, TN_FORMAT, "%s: entry %u of the archive's directory is damaged",
                           where, i);
        size_t name = le16(q + 28), rest = name + le16(q + 30) + le16(q + 32);
        if (limit - pos - ENTRY_SIZE < rest)
            return tn_fail(e, TN_FORMAT, "%s: entry %u of the archive's directory is damaged",
                           where, i);
        if (ends_with(q + ENTRY_SIZE, name, suffix)) {
            *out = (tn_entry){le16(q + 8),  le16(q + 10), le32(q + 16),
                              le32(q + 20), le32(q + 24), le32(q + 42)};
            found++;
        }
        pos += ENTRY_SIZE + rest;
    }
    if (found == 1) return TN_OK;
    return tn_fail(e, TN_FORMAT, "%s: the archive has %u files named *%s; exactly one is expected",
                   where, found, suffix);
}

static tn_status entry_data(const uint8_t *p, size_t n, const tn_entry *t, const char *where,
                            const uint8_t **data, tn_err *e) {
    if (t->flags & 1) return tn_fail(e, TN_UNSUPPORTED, "%s: the archive is encrypted", where);
    if (t->packed == 0xffffffffu || t->size == 0xffffffffu)
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: members past 4 GB are not supported; unpack it first", where);
    if (t->at > n || n - t->at < LOCAL_SIZE || memcmp(p + t->at, "PK\3\4", 4) != 0)
        return tn_fail(e, TN_FORMAT, "%s: the archive's directory points to no member", where);
    size_t begin = (size_t)t->at + LOCAL_SIZE + le16(p + t->at + 26) + le16(p + t->at + 28);
    if (begin > n || n - begin < t->packed)
        return tn_fail(e, TN_FORMAT, "%s: the archive's member is truncated", where);
    *data = p + begin;
    return TN_OK;
}

static tn_status inflate_all(const uint8_t *in, size_t n_in, uint8_t *out, size_t n_out,
                             const char *where, tn_err *e) {
    z_stream z = {0};
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
        return tn_fail(e, TN_NOMEM, "%s: out of memory", where);
    z.next_in = (Bytef *)(uintptr_t)in;
    z.avail_in = (uInt)n_in;
    z.next_out = out;
    z.avail_out = (uInt)n_out;
    int r = inflate(&z, Z_FINISH);
    size_t got = n_out - z.avail_out;
    inflateEnd(&z);
    if (r == Z_STREAM_END && got == n_out) return TN_OK;
    return tn_fail(e, TN_FORMAT,
                   "%s: the archive's member does not inflate to the %zu bytes it states", where,
                   n_out);
}

static uint32_t crc_of(const uint8_t *p, size_t n) {
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), p, n);
}

tn_status tn_zip_member(const uint8_t *p, size_t n_archive, const char *suffix, const char *where,
                        const uint8_t **data, size_t *n, void **owned, tn_err *e) {
    tn_entry t = {0};
    *owned = NULL;
    TN_TRY(find_entry(p, n_archive, suffix, where, &t, e));
    TN_TRY(entry_data(p, n_archive, &t, where, data, e));
    *n = t.size;
    if (t.method == 0 && t.packed != t.size)
        return tn_fail(e, TN_FORMAT, "%s: a stored member has two sizes", where);
    if (t.method != 0 && t.method != 8)
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: compression method %u is not supported; unpack it first", where,
                       t.method);
    if (t.method == 8) {
        /* deflate cannot expand more than 1032 times: a claim beyond that allocates nothing */
        if (t.size / 1032 > t.packed)
            return tn_fail(e, TN_FORMAT, "%s: %u bytes cannot inflate to %u", where, t.packed,
                           t.size);
        uint8_t *out = tn_big_alloc(t.size ? t.size : 1);
        if (!out) return tn_fail(e, TN_NOMEM, "%s: no memory for %u bytes", where, t.size);
        tn_status st = inflate_all(*data, t.packed, out, t.size, where, e);
        if (st != TN_OK) {
            tn_big_free(out, t.size ? t.size : 1);
            return st;
        }
        *owned = out;
        *data = out;
    }
    if (crc_of(*data, *n) == t.crc) return TN_OK;
    if (*owned) tn_big_free(*owned, t.size ? t.size : 1);
    *owned = NULL;
    return tn_fail(e, TN_FORMAT, "%s: the archive's member is damaged (its checksum differs)",
                   where);
}
