/* safetensors: values of every dtype, shards, hostile headers, truncations and mutations. */
#include "fuzz/mutate.h"
#include "model/half.h"
#include "model/safetensors.h"
#include "test.h"
#include <math.h>

static char path[600];

/* Not durable: hundreds of files must not wait for the disk. */
static void put_file(const char *to, const void *p, size_t n) {
    tn_out *o = NULL;
    CHECK_OK(tn_remove_tree(to, e)); /* a file system may flush a truncated file */
    CHECK_OK(tn_out_open(&o, to, false, e));
    CHECK_OK(tn_out_write(o, p, n, e));
    CHECK_OK(tn_out_close(o, TN_OK, false, e));
}

/* A file of `header` and n bytes of data, at build/tmp/.../NAME. */
static const char *make(const char *name, const char *header, size_t header_n, const void *data,
                        size_t n) {
    tn_str b = TN_STR_INIT;
    uint8_t len[8];
    for (int i = 0; i < 8; i++) len[i] = (uint8_t)((uint64_t)header_n >> (8 * i));
    tn_str_add(&b, len, 8);
    tn_str_addz(&b, header);
    tn_str_add(&b, data, n);
    snprintf(path, sizeof path, "%s/%s", tn_test_dir(), name);
    put_file(path, b.s, b.len);
    tn_str_free(&b);
    return path;
}

static tn_status open_text(const char *header, size_t n_data, tn_err *e) {
    static const uint8_t zeros[256];
    tn_st *s = NULL;
    tn_status st = tn_st_open(&s, make("x.safetensors", header, strlen(header), zeros, n_data), e);
    tn_st_close(s);
    return st;
}

#define T(name, dtype, shape, a, b)                                                                \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #a "," #b "]}"

TEST(safetensors_reads_every_dtype) {
    const float f[3] = {1.5f, -0x1p-140f, 3e38f};
    const double d[2] = {0.1, -1e300};
    const uint16_t bf[3] = {0x3fc0, 0x8001, 0xff80}, h[4] = {0x3e00, 0x0001, 0xfc00, 0x83ff};
    uint8_t data[12 + 16 + 6 + 8];
    memcpy(data, f, 12);
    memcpy(data + 12, d, 16);
    memcpy(data + 28, bf, 6);
    memcpy(data + 34, h, 8);
    const char *head = "{\"__metadata__\":{\"format\":\"pt\"}," T("d", "F64", "[2]", 12, 28) "," T(
        "h", "F16", "[2,2]", 34, 42) "," T("f", "F32", "[3,1]", 0,
                                           12) "," T("b", "BF16", "[3]", 28,
                                                     34) "," T("z", "I64", "[0]", 42, 42) "}";
    tn_st *s;
    CHECK_OK(tn_st_open(&s, make("a.safetensors", head, strlen(head), data, sizeof data), e));
    CHECK(tn_st_count(s) == 5);
    CHECK(!strcmp(tn_st_at(s, 0)->name, "b") && !strcmp(tn_st_at(s, 4)->name, "z"));
    CHECK(!strcmp(json_string_value(json_object_get(tn_st_metadata(s), "format")), "pt"));
    float out[4];
    double wide[4];
    tn_st_read(tn_st_find(s, "f"), 1, 2, out, 4);
    CHECK(out[0] == f[1] && out[1] == f[2]);
    tn_st_read(tn_st_find(s, "f"), 0, 3, wide, 8);
    CHECK(wide[1] == (double)f[1]);
    tn_st_read(tn_st_find(s, "d"), 0, 2, wide, 8);
    CHECK(wide[0] == 0.1 && wide[1] == -1e300);
    tn_st_read(tn_st_find(s, "d"), 0, 2, out, 4);
    CHECK(out[0] == 0.1f && isinf(out[1]));
    tn_st_read(tn_st_find(s, "b"), 0, 3, out, 4);
    CHECK(out[0] == 1.5f && out[1] == -0x1p-133f && out[2] == -INFINITY);
    tn_st_read(tn_st_find(s, "h"), 0, 4, wide, 8);
    CHECK(wide[0] == 1.5 && wide[1] == 0x1p-24 && wide[2] == -INFINITY && wide[3] == -0x1.ff8p-15);
    CHECK(tn_st_find(s, "g") == NULL && tn_st_find(s, "h")->n_dim == 2 &&
          tn_st_find(s, "z")->count == 0);
    tn_st_close(s);
}

TEST(half_rounds_to_nearest_even) {
    CHECK(tn_f32_to_bf16(1.0f) == 0x3f80);
    CHECK(tn_f32_to_bf16(0x1.01p0f) == 0x3f80); /* tie: to even */
    CHECK(tn_f32_to_bf16(0x1.03p0f) == 0x3f82);
    CHECK(tn_f32_to_bf16(0x1.010002p0f) == 0x3f81);
    CHECK(tn_f32_to_bf16(0x1.fffffep127f) == 0x7f80);
    CHECK((tn_f32_to_bf16(tn_bits_f32(0x7f800001u)) & 0x7fff) > 0x7f80);
    for (uint32_t h = 0; h < 65536; h += 7) {
        uint16_t x = (uint16_t)h;
        if ((x & 0x7fff) <= 0x7f80) CHECK(tn_f32_to_bf16(tn_bf16_to_f32(x)) == x);
        int exponent = x >> 10 & 31, fraction = x & 1023;
        double want = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
        if (exponent == 31) want = fraction ? NAN : INFINITY;
        if (x & 0x8000) want = -want;
        double got = (double)tn_f16_to_f32(x);
        CHECK(isnan(want) ? isnan(got) : got == want && signbit(got) == signbit(want));
    }
}

TEST(safetensors_refuses_hostile_headers) {
    static const struct {
        const char *head;
        size_t data;
        tn_status st;
        const char *says;
    } bad[] = {
        {"{" T("a", "F32", "[2]", 0, 8) "}", 7, TN_FORMAT, "truncated"},
        {"{" T("a", "F32", "[2]", 0, 8) "}", 9, TN_FORMAT, "has 9"},
        {"{" T("a", "F32", "[2]", 0, 12) "}", 12, TN_FORMAT, "need 8"},
        {"{" T("a", "F32", "[2]", 8, 0) "}", 8, TN_FORMAT, "data_offsets"},
        {"{" T("a", "F32", "[2]", -8, 0) "}", 8, TN_FORMAT, "data_offsets"},
        {"{" T("a", "F32", "[-2]", 0, 8) "}", 8, TN_FORMAT, "shape"},
        {"{" T("a", "F32", "[2.0]", 0, 8) "}", 8, TN_FORMAT, "shape"},
        {"{" T("a", "F32", "[4611686018427387904,4]", 0, 0) "}", 0, TN_FORMAT, "overflow"},
        {"{" T("a", "F32", "[4611686018427387904]", 0, 0) "}", 0, TN_FORMAT, "need"},
        {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, TN_UNSUPPORTED, "dimensions"},
        {"{" T("a", "Q4", "[2]", 0, 8) "}", 8, TN_FORMAT, "dtype"},
        {"{" T("a", "F32", "[2]", 0, 8) "," T("b", "F32", "[2]", 4, 12) "}", 12, TN_FORMAT,
         "overlap"},
        {"{" T("a", "F32", "[2]", 0, 8) "," T("b", "F32", "[2]", 12, 20) "}", 20, TN_FORMAT,
         "hole"},
        {"{" T("a", "F32", "[2]", 0, 8) "," T("b", "F32", "[2]", 0, 8) "}", 8, TN_FORMAT,
         "overlap"},
        {"{" T("a", "F32", "[1]", 0, 4) "," T("a", "F32", "[1]", 4, 8) "}", 8, TN_FORMAT, "header"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, TN_FORMAT, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, TN_FORMAT, "shape"},
        {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, TN_FORMAT, "dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}}", 8, TN_FORMAT,
         "data_offsets"},
        {"{\"a\":[]}", 0, TN_FORMAT, "object"},
        {"{\"a\":", 0, TN_FORMAT, "header"},
        {"{} x", 0, TN_FORMAT, "header"},
        {"[]", 0, TN_FORMAT, "'{'"},
        {"", 0, TN_FORMAT, "'{'"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_FAIL(open_text(bad[i].head, bad[i].data, e), bad[i].st, bad[i].says);
    CHECK_OK(open_text("{" T("a", "F32", "[2]", 0, 8) "}    ", 8, e)); /* padding is fine */
    tn_st *s = NULL;
    const char *claims[] = {"{}", "{}"};
    CHECK_FAIL(tn_st_open(&s, make("y.safetensors", claims[0], 1u << 30, "", 0), e), TN_FORMAT,
               "claims");
    CHECK_FAIL(tn_st_open(&s, make("y.safetensors", claims[1], SIZE_MAX, "", 0), e), TN_FORMAT,
               "claims");
    put_file(path, "\1\2\3", 3);
    CHECK_FAIL(tn_st_open(&s, path, e), TN_FORMAT, "too few");
    CHECK_FAIL(tn_st_open(&s, "/nonexistent/model.safetensors", e), TN_IO, "nonexistent");
    CHECK_FAIL(tn_st_open(&s, tn_test_dir(), e), TN_IO, "model.safetensors");
}

/* Reads everything that a reader may; a broken bound shows under the address sanitizer. */
static void read_all(const tn_st *s) {
    float out[64];
    for (size_t i = 0; i < tn_st_count(s); i++) {
        const tn_st_entry *t = tn_st_at(s, i);
        CHECK(tn_st_find(s, t->name) == t);
        if (t->dtype == TN_ST_OTHER) continue;
        for (size_t k = 0; k < t->count; k += 64)
            tn_st_read(t, k, t->count - k < 64 ? t->count - k : 64, out, 4);
    }
}

TEST(safetensors_survives_truncation_and_mutation) {
    tn_str b = TN_STR_INIT, x = TN_STR_INIT;
    CHECK_OK(tn_read_file(tn_test_file("golden/models/qwen3/model.safetensors"), &b, 1 << 20, e));
    snprintf(path, sizeof path, "%s/m.safetensors", tn_test_dir());
    size_t head = 8;
    memcpy(&head, b.s, 8);
    head += 8;
    int opened = 0;
    for (uint64_t i = 0; i < tn_fuzz_rounds(800); i++) {
        tn_str_clear(&x);
        if (i < 100) tn_str_add(&x, b.s, b.len * i / 100);
        else {
            tn_mutate(&x, b.s, head, NULL, 0, i);
            tn_str_add(&x, b.s + head, b.len - head);
        }
        put_file(path, x.s, x.len);
        tn_st *s = NULL;
        tn_err e = {0};
        tn_status st = tn_st_open(&s, path, &e);
        CHECK_MSG(st == TN_OK || e.msg[0], "an error without a message");
        CHECK(i >= 100 || st != TN_OK);
        if (st != TN_OK) continue;
        opened++;
        read_all(s);
        tn_st_close(s);
    }
    CHECK(opened > 0);
    tn_str_free(&b);
    tn_str_free(&x);
}

TEST(safetensors_index_is_checked) {
    const char *src = tn_test_file("golden/models/llama");
    char dir[500], from[700], to[700];
    snprintf(dir, sizeof dir, "%s/shards", tn_test_dir());
    CHECK_OK(tn_mkdirs(dir, e));
    for (int i = 1; i <= 4; i++) {
        snprintf(from, sizeof from, "%s/model-%05d-of-00004.safetensors", src, i);
        snprintf(to, sizeof to, "%s/model-%05d-of-00004.safetensors", dir, i);
        CHECK_OK(tn_copy_file(from, to, e));
    }
    snprintf(from, sizeof from, "%s/model.safetensors.index.json", src);
    snprintf(to, sizeof to, "%s/model.safetensors.index.json", dir);
    json_t *index = NULL;
    CHECK_OK(tn_json_load(from, &index, e));
    json_t *map = json_object_get(index, "weight_map");
    tn_st *s = NULL;
    CHECK_OK(tn_json_save(to, index, false, e));
    CHECK_OK(tn_st_open(&s, dir, e));
    CHECK(tn_st_count(s) == json_object_size(map));
    read_all(s);
    tn_st_close(s);
    static const struct {
        const char *file;
        const char *says;
    } bad[] = {
        {"../x.safetensors", "plain file name"},
        {"/etc/passwd", "plain file name"},
        {"gone.safetensors", "gone"},
        {"model-00001-of-00004.safetensors", "not there"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_object_set_new(map, "model.norm.weight", json_string(bad[i].file));
        CHECK_OK(tn_json_save(to, index, false, e));
        tn_err e = {0};
        CHECK(tn_st_open(&s, dir, &e) != TN_OK);
        CHECK_MSG(strstr(e.msg, bad[i].says), "%s", e.msg);
    }
    json_object_set_new(map, "model.norm.weight", json_integer(4));
    CHECK_OK(tn_json_save(to, index, false, e));
    CHECK_FAIL(tn_st_open(&s, dir, e), TN_FORMAT, "plain file name");
    json_decref(index);
}
