/* Strings: growth, JSON escapes, shortest decimals, nearest names, errors. */
#include "base/mathx_bits.h"
#include "base/rng.h"
#include "base/str.h"
#include "test.h"
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

TEST(base_str_growth) {
    tn_str b = TN_STR_INIT, z = {0};
    CHECK(b.s && !b.s[0]);
    tn_str_add(&b, "", 0);
    CHECK(b.s && b.len == 0 && b.s[0] == 0);
    for (int i = 0; i < 5000; i++) tn_str_addc(&b, (char)('a' + i % 26));
    tn_str_addf(&b, "%s-%d", "x", 7);
    CHECK(b.len == 5003 && !strcmp(b.s + 5000, "x-7"));
    tn_str_addf(&b, "%0700d", 1); /* longer than the first try */
    CHECK(b.len == 5703 && b.s[5702] == '1' && b.s[5703] == 0);
    tn_fault_arm(1, ENOMEM);
    char *big = malloc(20000);
    memset(big, 'q', 20000);
    tn_str_add(&b, big, 20000);
    free(big);
    CHECK(b.oom && b.len == 5703);
    tn_str_addc(&b, 'x');
    CHECK(b.len == 5703);
    tn_str_clear(&b);
    tn_str_addz(&b, "ok");
    CHECK(!b.oom && !strcmp(b.s, "ok"));
    tn_str_free(&b);
    tn_str_clear(&z);
    CHECK(z.s && z.s[0] == 0);
    tn_str_free(&z);
    tn_str_free(&z);
}

static void check_json(const char *s, size_t n, const char *want, int line) {
    tn_str b = TN_STR_INIT;
    tn_str_add_json(&b, s, n);
    tn_check(!strcmp(b.s, want), __FILE__, line, "got %s, expected %s", b.s, want);
    json_error_t je;
    json_t *v = json_loads(b.s, JSON_DECODE_ANY | JSON_ALLOW_NUL, &je);
    tn_check(v != NULL, __FILE__, line, "%s is not JSON", b.s);
    json_decref(v);
    tn_str_free(&b);
}

TEST(base_str_json) {
    check_json("a\"b\\\n\t\r\x01\x1f\x7f", 10, "\"a\\\"b\\\\\\n\\t\\r\\u0001\\u001f\x7f\"",
               __LINE__);
    check_json("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9,
               "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", __LINE__);
    check_json("a\0b", 3, "\"a\\u0000b\"", __LINE__);
    check_json("", 0, "\"\"", __LINE__);
    check_json("\xff" "a\xc3", 3, "\"\xEF\xBF\xBD" "a\xEF\xBF\xBD\"", __LINE__);
    check_json("\xc0\x80", 2, "\"\xEF\xBF\xBD\xEF\xBF\xBD\"", __LINE__); /* overlong */
    check_json("\xed\xa0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"",
               __LINE__); /* surrogate */
    check_json("\xf4\x90\x80\x80", 4, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"",
               __LINE__); /* > 10FFFF */
    check_json("\xe2\x82", 2, "\"\xEF\xBF\xBD\xEF\xBF\xBD\"", __LINE__);
    /* random bytes always make valid JSON */
    tn_rng r = tn_rng_stream(5, 1, 1);
    for (int i = 0; i < 3000; i++) {
        char s[24];
        size_t n = tn_rng_below(&r, 24);
        for (size_t k = 0; k < n; k++)
            s[k] =
                (char)(tn_rng_below(&r, 3) ? 0x80 + tn_rng_below(&r, 128) : tn_rng_below(&r, 128));
        tn_str b = TN_STR_INIT;
        tn_str_add_json(&b, s, n);
        json_t *v = json_loadb(b.s, b.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        CHECK_MSG(v != NULL, "round %d: %s", i, b.s);
        json_decref(v);
        tn_str_free(&b);
    }
}

static const char *f32_text(float v) {
    static tn_str b = TN_STR_INIT;
    tn_str_clear(&b);
    tn_str_add_f32(&b, v);
    return b.s;
}

static const char *f64_text(double v) {
    static tn_str b = TN_STR_INIT;
    tn_str_clear(&b);
    tn_str_add_f64(&b, v);
    return b.s;
}

TEST(base_str_numbers_read_back) {
    tn_rng r = tn_rng_stream(6, 1, 1);
    for (int i = 0; i < 60000; i++) {
        uint64_t x = tn_rng_next(&r);
        uint32_t lo = (uint32_t)x;
        float f;
        double d = tn_of_bits(tn_rng_next(&r));
        memcpy(&f, &lo, 4);
        if (isfinite(f)) {
            float back = strtof(f32_text(f), NULL);
            CHECK_MSG(!memcmp(&back, &f, 4), "%a came back as %a", (double)f, (double)back);
        }
        if (isfinite(d)) CHECK_MSG(strtod(f64_text(d), NULL) == d, "%a", d);
    }
    CHECK(!strcmp(f32_text(0.1f), "0.1") && !strcmp(f32_text(-0.0f), "-0") &&
          !strcmp(f32_text(16777216.0f), "16777216"));
    CHECK(!strcmp(f64_text(0.1), "0.1") && !strcmp(f64_text(1.0 / 3), "0.3333333333333333"));
    CHECK(strtof(f32_text(FLT_TRUE_MIN), NULL) == FLT_TRUE_MIN &&
          strtod(f64_text(DBL_TRUE_MIN), NULL) == DBL_TRUE_MIN);
    CHECK(strtof(f32_text(FLT_MAX), NULL) == FLT_MAX && strtod(f64_text(DBL_MAX), NULL) == DBL_MAX);
    CHECK(!strcmp(f32_text(NAN), "\"NaN\"") && !strcmp(f64_text(-INFINITY), "\"-Infinity\"") &&
          !strcmp(f32_text(INFINITY), "\"Infinity\""));
}

TEST(base_str_nearest) {
    static const char *const names[] = {"learning-rate", "beta", "max-steps", NULL, "seed"};
    CHECK(tn_nearest("lerning_rate", names, 5) == names[0]);
    CHECK(tn_nearest("bata", names, 5) == names[1] && tn_nearest("sed", names, 5) == names[4]);
    CHECK(tn_nearest("qqq", names, 5) == NULL && tn_nearest("", names, 5) == NULL);
    char longest[300];
    memset(longest, 'a', 299);
    longest[299] = 0;
    CHECK(tn_nearest(longest, names, 5) == NULL);
}

TEST(base_status_messages) {
    tn_err e = {0};
    CHECK(tn_fail(NULL, TN_IO, "nobody listens") == TN_IO);
    CHECK(tn_fail(&e, TN_FORMAT, "at %d", 7) == TN_FORMAT && !strcmp(e.msg, "at 7") && e.line > 0);
    CHECK(tn_err_context(&e, TN_FORMAT, "file %s", "x") == TN_FORMAT &&
          !strcmp(e.msg, "file x: at 7"));
    CHECK(tn_fail(&e, TN_IO, "again: %s", e.msg) == TN_IO && !strcmp(e.msg, "again: file x: at 7"));
    for (int i = 0; i < 300; i++) tn_err_context(&e, TN_IO, "deeper");
    CHECK(strlen(e.msg) == sizeof e.msg - 1);
    CHECK(tn_err_context(NULL, TN_BUG, "x") == TN_BUG);
    CHECK(!strcmp(tn_status_text(TN_OK), "ok") &&
          !strcmp(tn_status_text((tn_status)99), "unknown status"));
}

TEST(base_rng_streams) {
    CHECK(tn_mix(1) == 0x5692161d100b05e5ull);
    tn_rng r = tn_rng_stream(1, 1, 0);
    CHECK(tn_rng_next(&r) == 0x0a45b3e0d5967d37ull && tn_rng_next(&r) == 0x9f2700594737daf3ull &&
          tn_rng_next(&r) == 0x0064cdf1cbba9a68ull);
    /* shuffles are permutations, and every place is reached about equally often */
    int where[5][5] = {{0}};
    for (uint64_t k = 0; k < 20000; k++) {
        uint32_t a[5] = {0, 1, 2, 3, 4}, seen = 0;
        r = tn_rng_stream(2, 1, k);
        tn_rng_shuffle(&r, a, 5);
        for (int i = 0; i < 5; i++) where[a[i]][i]++, seen |= 1u << a[i];
        CHECK(seen == 31);
    }
    for (int i = 0; i < 25; i++) CHECK_NEAR(where[i / 5][i % 5], 4000, 0, 5 * 57);
    tn_rng_shuffle(&r, NULL, 0);
}
