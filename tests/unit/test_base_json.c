/* JSON and JSONL: typed members, messages, hostile inputs. */
#include "base/json.h"
#include "base/mathx_bits.h"
#include "fuzz/mutate.h"
#include "test.h"

static tn_status parse(const char *text, json_t **v, tn_err *e) {
    return tn_json_parse(text, strlen(text), "x.json", v, e);
}

static tn_status parse_free(const char *text, tn_err *e) {
    json_t *v = NULL;
    tn_status st = parse(text, &v, e);
    json_decref(v);
    return st;
}

TEST(base_json_errors) {
    CHECK_FAIL(parse_free("{\"a\":1,\"a\":2}", e), TN_FORMAT, "duplicate");
    CHECK_FAIL(parse_free("{\"a\":\n1,}", e), TN_FORMAT, "x.json: not valid JSON at line 2");
    CHECK_FAIL(parse_free("", e), TN_FORMAT, "x.json");
    CHECK_FAIL(parse_free("{} x", e), TN_FORMAT, "end of file expected");
    CHECK_FAIL(parse_free("{\"a\": \"\xff\"}", e), TN_FORMAT, "unable to decode byte");
    CHECK_FAIL(parse_free("{\"a\": \"\xed\xa0\x80\"}", e), TN_FORMAT, "unable to decode byte");
    CHECK_FAIL(parse_free("\"\\ud800\"", e), TN_FORMAT, "x.json");
    CHECK_FAIL(parse_free("123456789012345678901234", e), TN_FORMAT, "too big");
    CHECK_FAIL(parse_free("1e999", e), TN_FORMAT, "x.json");
    CHECK_OK(parse_free("\xEF\xBB\xBF[1]", e));
    json_t *v = NULL;
    CHECK_OK(parse("\"a\\u0000b\"", &v, e));
    CHECK(json_string_length(v) == 3);
    json_decref(v);
    tn_str deep = TN_STR_INIT;
    for (int i = 0; i < 1000000; i++) tn_str_addc(&deep, '[');
    CHECK_FAIL(parse_free(deep.s, e), TN_FORMAT, "depth");
    tn_str_free(&deep);
    CHECK_FAIL(tn_json_load("/nonexistent/a.json", &v, e), TN_IO, "/nonexistent/a.json");
}

TEST(base_json_truncations_and_mutations) {
    static const char good[] =
        "{\"a\":[1,2.5,-3e2,true,null,\"x\\u00e9\\ud83d\\ude00\"],\"b\":{\"c\":\"\xc3\xa9\"}}";
    for (size_t n = 0; n < sizeof good - 1; n++) {
        json_t *v = NULL;
        CHECK_FAIL(tn_json_parse(good, n, "t", &v, e), TN_FORMAT, "t:");
        CHECK(v == NULL);
    }
    tn_str m = TN_STR_INIT;
    for (uint64_t i = 0; i < tn_fuzz_rounds(3000); i++) {
        json_t *v = NULL;
        tn_err e;
        tn_mutate(&m, good, sizeof good - 1, "[{\"k\":0}]", 9, i);
        tn_status st = tn_json_parse(m.s, m.len, "t", &v, &e);
        CHECK((st == TN_OK) == (v != NULL));
        json_decref(v);
    }
    tn_str_free(&m);
}

TEST(base_json_members) {
    json_t *o = NULL, *x;
    int64_t i;
    double d;
    bool b;
    const char *s;
    CHECK_OK(
        parse("{\"i\":3,\"r\":2.5,\"w\":4.0,\"b\":true,\"s\":\"t\",\"n\":null,\"a\":[1]}", &o, e));
    CHECK_OK(tn_json_int(o, "i", 9, &i, "f", e));
    CHECK(i == 3);
    CHECK_OK(tn_json_int(o, "w", 9, &i, "f", e));
    CHECK(i == 4);
    CHECK_OK(tn_json_int(o, "n", 9, &i, "f", e));
    CHECK(i == 9);
    CHECK_OK(tn_json_int(o, "zz", 9, &i, "f", e));
    CHECK(i == 9);
    CHECK_OK(tn_json_real(o, "i", 0, &d, "f", e));
    CHECK(d == 3);
    CHECK_OK(tn_json_bool(o, "b", false, &b, "f", e));
    CHECK(b);
    CHECK_OK(tn_json_str(o, "s", NULL, &s, "f", e));
    CHECK(!strcmp(s, "t"));
    CHECK_OK(tn_json_need(o, "a", JSON_ARRAY, &x, "f", e));
    CHECK(json_array_size(x) == 1);
    CHECK_OK(tn_json_need(o, "i", JSON_REAL, &x, "f", e));
    CHECK_FAIL(tn_json_int(o, "r", 9, &i, "f.json", e), TN_FORMAT,
               "f.json: \"r\" must be an integer, found a number");
    CHECK_FAIL(tn_json_bool(o, "s", false, &b, "f", e), TN_FORMAT,
               "\"s\" must be true or false, found a string");
    CHECK_FAIL(tn_json_real(o, "a", 0, &d, "f", e), TN_FORMAT, "found an array");
    CHECK_FAIL(tn_json_str(o, "i", NULL, &s, "f", e), TN_FORMAT,
               "must be a string, found an integer");
    CHECK_FAIL(tn_json_need_int(o, "zz", &i, "f", e), TN_FORMAT,
               "\"zz\" is missing (expected an integer)");
    CHECK_FAIL(tn_json_need_str(o, "n", &s, "f", e), TN_FORMAT, "\"n\" is missing");
    CHECK_FAIL(tn_json_int(json_object_get(o, "a"), "x", 0, &i, "f", e), TN_FORMAT,
               "expected an object");
    json_decref(o);
}

TEST(base_json_ids) {
    json_t *a = NULL;
    int32_t *ids;
    size_t n;
    CHECK_OK(parse("[[0,5,9],[],[1,10],[-1],[2147483648],[1.0],[\"1\"]]", &a, e));
    CHECK_OK(tn_json_ids(json_array_get(a, 0), 10, &ids, &n, "r", e));
    CHECK(n == 3 && ids[2] == 9);
    tn_free(ids);
    CHECK_OK(tn_json_ids(json_array_get(a, 1), 10, &ids, &n, "r", e));
    CHECK(n == 0);
    tn_free(ids);
    CHECK_FAIL(tn_json_ids(json_array_get(a, 2), 10, &ids, &n, "r:3", e), TN_FORMAT,
               "r:3: token id 1 is 10, outside [0, 10)");
    CHECK_FAIL(tn_json_ids(json_array_get(a, 3), 0, &ids, &n, "r", e), TN_FORMAT, "-1");
    CHECK_FAIL(tn_json_ids(json_array_get(a, 4), 0, &ids, &n, "r", e), TN_FORMAT, "2147483648");
    CHECK_FAIL(tn_json_ids(json_array_get(a, 5), 0, &ids, &n, "r", e), TN_FORMAT,
               "must be an integer, found a number");
    CHECK_FAIL(tn_json_ids(json_array_get(a, 6), 0, &ids, &n, "r", e), TN_FORMAT, "found a string");
    CHECK_FAIL(tn_json_ids(a, 0, &ids, &n, "r", e), TN_FORMAT, "found an array");
    CHECK_FAIL(tn_json_ids(NULL, 0, &ids, &n, "r", e), TN_FORMAT, "found nothing");
    CHECK(ids == NULL && n == 0);
    json_decref(a);
}

TEST(base_json_save_gives_every_digit_back) {
    char path[600];
    snprintf(path, sizeof path, "%s/a.json", tn_test_dir());
    json_t *o = json_object(), *back = NULL;
    tn_rng r = tn_rng_stream(1, 1, 1);
    for (int i = 0; i < 300; i++) {
        char key[16];
        double v = tn_of_bits(tn_rng_next(&r) & ~(1ull << 62)); /* finite */
        snprintf(key, sizeof key, "k%d", (i * 7919) % 300);
        json_object_set_new(o, key, json_real(v));
    }
    json_object_set_new(o, "text", json_stringn("a\0\n\xc3\xa9", 5));
    CHECK_OK(tn_json_save(path, o, true, e));
    CHECK_OK(tn_json_load(path, &back, e));
    CHECK(json_equal(o, back));
    tn_str text = TN_STR_INIT;
    CHECK_OK(tn_read_file(path, &text, 0, e));
    CHECK(text.len > 3 && text.s[text.len - 1] == '\n' &&
          strstr(text.s, "\n  \"k0\":") < strstr(text.s, "\n  \"k1\":"));
    tn_str_free(&text);
    json_decref(o);
    json_decref(back);
}

static const char *write_rows(const char *text) {
    static char path[600];
    snprintf(path, sizeof path, "%s/rows.jsonl", tn_test_dir());
    tn_write_file(path, text, strlen(text), NULL);
    return path;
}

TEST(base_jsonl_rows) {
    const char *path = write_rows("{\"a\":1}\r\n\n  \t\n{\"a\":2}\n{\"a\":3}");
    tn_lines *r = NULL;
    json_t *row;
    int64_t want = 1, got;
    CHECK_OK(tn_lines_open(&r, path, 1 << 20, e));
    for (;; want++) {
        CHECK_OK(tn_jsonl_next(r, path, &row, e));
        if (!row) break;
        CHECK_OK(tn_json_need_int(row, "a", &got, path, e));
        CHECK(got == want);
        json_decref(row);
    }
    CHECK(want == 4 && tn_lines_number(r) == 5);
    tn_lines_close(r);
}

static tn_status first_row_error(const char *text, tn_err *e) {
    const char *path = write_rows(text);
    tn_lines *r;
    json_t *row;
    TN_TRY(tn_lines_open(&r, path, 1 << 20, e));
    tn_status st;
    while ((st = tn_jsonl_next(r, path, &row, e)) == TN_OK && row) json_decref(row);
    tn_lines_close(r);
    return st;
}

TEST(base_jsonl_errors_name_the_line) {
    CHECK_FAIL(first_row_error("{}\n{\"a\":\n", e), TN_FORMAT,
               "rows.jsonl:2: not valid JSON at column");
    CHECK_FAIL(first_row_error("\n\n[1,2]\n", e), TN_FORMAT,
               "rows.jsonl:3: every line must be a JSON object, found an array");
    CHECK_FAIL(first_row_error("{\"a\":1,\"a\":1}", e), TN_FORMAT, "rows.jsonl:1");
    CHECK_FAIL(first_row_error("{}\n\"x\"\n", e), TN_FORMAT, "found a string");
}
