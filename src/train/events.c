#include "train/events.h"
#include <string.h>

enum { HEAD = 12, TAIL = 4 }; /* bytes of a record before and after its data */

/* CRC-32C (Castagnoli), a bit at a time: records are small. */
static uint32_t crc32c(const void *data, size_t n) {
    const uint8_t *p = data;
    uint32_t c = ~0u;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++) c = c >> 1 ^ (0x82F63B78u & -(c & 1));
    }
    return ~c;
}

static uint32_t masked_crc(const void *p, size_t n) {
    uint32_t c = crc32c(p, n);
    return (c >> 15 | c << 17) + 0xA282EAD8u;
}

/* ---- writing ---- */

static void add_fixed(tn_str *s, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++) tn_str_addc(s, (char)(v >> (8 * i)));
}

static void add_varint(tn_str *s, uint64_t v) {
    for (; v >= 128; v >>= 7) tn_str_addc(s, (char)(v | 128));
    tn_str_addc(s, (char)v);
}

/* Field numbers and wire types of tensorflow's event.proto and summary.proto. */
enum {
    EVENT_WALL_TIME = 1 << 3 | 1,
    EVENT_STEP = 2 << 3 | 0,
    EVENT_FILE_VERSION = 3 << 3 | 2,
    EVENT_SUMMARY = 5 << 3 | 2,
    SUMMARY_VALUE = 1 << 3 | 2,
    VALUE_TAG = 1 << 3 | 2,
    VALUE_SIMPLE = 2 << 3 | 5
};

static void add_bytes(tn_str *s, int field, const char *p, size_t n) {
    add_varint(s, (uint64_t)field);
    add_varint(s, n);
    tn_str_add(s, p, n);
}

static void add_time_and_step(tn_str *event, long step) {
    double now = tn_wall_time();
    uint64_t bits;
    memcpy(&bits, &now, sizeof bits);
    add_varint(event, EVENT_WALL_TIME);
    add_fixed(event, bits, 8);
    if (step == 0) return; /* protobuf leaves zeros out */
    add_varint(event, EVENT_STEP);
    add_varint(event, (uint64_t)step);
}

static void add_scalar(tn_str *summary, const char *name, double v) {
    tn_str value = TN_STR_INIT, tag = TN_STR_INIT;
    bool eval = !strncmp(name, "eval_", 5);
    float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    tn_str_addf(&tag, "%s%s", eval ? "eval/" : "train/", name + (eval ? 5 : 0));
    add_bytes(&value, VALUE_TAG, tag.s, tag.len);
    add_varint(&value, VALUE_SIMPLE);
    add_fixed(&value, bits, 4);
    add_bytes(summary, SUMMARY_VALUE, value.s, value.len);
    summary->oom |= value.oom | tag.oom;
    tn_str_free(&value);
    tn_str_free(&tag);
}

static tn_status write_record(tn_out *o, const tn_str *data, tn_err *e) {
    tn_str r = TN_STR_INIT;
    add_fixed(&r, data->len, 8);
    add_fixed(&r, masked_crc(r.s, 8), 4);
    tn_str_add(&r, data->s, data->len);
    add_fixed(&r, masked_crc(data->s, data->len), 4);
    tn_status st = r.oom || data->oom ? tn_fail(e, TN_NOMEM, "no memory for an event")
                                      : tn_out_write(o, r.s, r.len, e);
    tn_str_free(&r);
    return st == TN_OK ? tn_out_flush(o, false, e) : st;
}

tn_status tn_events_write(tn_out *o, const json_t *entry, tn_err *e) {
    tn_str summary = TN_STR_INIT, event = TN_STR_INIT;
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)entry, name, v) {
        if (json_is_number(v) && strcmp(name, "step"))
            add_scalar(&summary, name, json_number_value(v));
    }
    add_time_and_step(&event, (long)json_integer_value(json_object_get(entry, "step")));
    add_bytes(&event, EVENT_SUMMARY, summary.s, summary.len);
    event.oom |= summary.oom;
    tn_status st = write_record(o, &event, e);
    tn_str_free(&summary);
    tn_str_free(&event);
    return st;
}

static tn_status write_version(tn_out *o, tn_err *e) {
    static const char version[] = "brain.Event:2";
    tn_str event = TN_STR_INIT;
    add_time_and_step(&event, 0);
    add_bytes(&event, EVENT_FILE_VERSION, version, sizeof version - 1);
    tn_status st = write_record(o, &event, e);
    tn_str_free(&event);
    return st;
}

/* ---- cutting back ---- */

static uint64_t fixed_at(const char *s, int bytes) {
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++) v |= (uint64_t)(uint8_t)s[i] << (8 * i);
    return v;
}

/* The step of an event that begins as add_time_and_step writes it; -1: it does not. */
static long step_of(const char *s, size_t n) {
    uint64_t v = 0;
    if (n < 11 || s[0] != EVENT_WALL_TIME) return -1;
    if (s[9] != EVENT_STEP) return 0;
    for (size_t i = 10, k = 0; i < n && k < 63; i++, k += 7) {
        v |= (uint64_t)(s[i] & 127) << k;
        if (!(s[i] & 128)) return (long)v;
    }
    return -1;
}

/* Bytes of the whole, undamaged records at the beginning whose steps are at most `step`: the version, and `most`
 * entries. */
static size_t good_part(const char *s, size_t n, long step, long most) {
    size_t at = 0;
    while (n - at >= HEAD + TAIL && (at == 0 || most-- > 0)) {
        const char *r = s + at;
        uint64_t len = fixed_at(r, 8);
        if (fixed_at(r + 8, 4) != masked_crc(r, 8) || len > n - at - HEAD - TAIL) break;
        if (fixed_at(r + HEAD + len, 4) != masked_crc(r + HEAD, len)) break;
        long is = step_of(r + HEAD, len);
        if (is < 0 || is > step) break;
        at += HEAD + len + TAIL;
    }
    return at;
}

static tn_status cut(const char *path, long step, long most, size_t *left, tn_err *e) {
    tn_str text = TN_STR_INIT;
    tn_status st = TN_OK;
    *left = 0;
    if (step > 0 && tn_exists(path)) st = tn_read_file(path, &text, 0, e);
    if (st == TN_OK) {
        *left = good_part(text.s, text.len, step, most);
        st = tn_write_file(path, text.s, *left, e);
    }
    tn_str_free(&text);
    return st;
}

tn_status tn_events_open(tn_out **o, const char *dir, long step, long most, tn_err *e) {
    tn_str path = TN_STR_INIT;
    size_t left;
    *o = NULL;
    tn_path_join(&path, dir, TN_EVENTS_FILE);
    tn_status st = tn_mkdirs(dir, e);
    if (st == TN_OK) st = cut(path.s, step, most, &left, e);
    if (st == TN_OK) st = tn_out_open(o, path.s, true, e);
    if (st == TN_OK && left == 0 && (st = write_version(*o, e)) != TN_OK) {
        tn_out_close(*o, st, false, NULL);
        *o = NULL;
    }
    tn_str_free(&path);
    return st;
}
