/* Character properties and normal forms of the versions that the `tokenizers` library carries. */
#include "test.h"
#include "text/rx.h"

static long count(const char *property) {
    tn_cpset s = {0};
    long n = 0;
    CHECK_MSG(tn_cpset_property(&s, property, strlen(property)) == 1, "%s", property);
    for (int k = 0; k < s.n; k++) n += s.r[k].b - s.r[k].a + 1;
    tn_cpset_free(&s);
    return n;
}

TEST(text_property_sizes) { /* Unicode 16: letters, decimal digits, all numbers */
    CHECK(count("L") == 141028 && count("Nd") == 760 && count("N") == 1911);
    CHECK(count("any") == 0x110000 && count("Zs") == 17 && count("space") == 25);
    CHECK(count("Han") > 90000 && count("Uppercase_Letter") == count("Lu"));
}

TEST(text_sets_and_maps_agree) {
    tn_cpset s = {0}, t = {0};
    tn_cpmap m;
    CHECK(tn_cpset_property(&s, "L", 1) == 1 && tn_cpset_property(&t, "Latin", 5) == 1);
    CHECK(tn_cpset_invert(&t) && tn_cpset_intersect(&s, &t)); /* letters that are not Latin */
    CHECK(tn_cpmap_build(&m, &s));
    for (uint32_t c = 0; c < 0x110000; c += 7) CHECK(tn_cpmap_has(&m, c) == tn_cpset_has(&s, c));
    CHECK(!tn_cpset_has(&s, 'a') && tn_cpset_has(&s, 0x3B1));
    tn_cpmap_free(&m);
    tn_cpset_free(&s);
    tn_cpset_free(&t);
}

static void form(tn_form f, const char *in, const char *want) {
    tn_str out = TN_STR_INIT;
    CHECK(tn_normalize(&out, in, strlen(in), f, NULL, NULL));
    CHECK_MSG(!strcmp(out.s ? out.s : "", want), "form %d of %s: %s, expected %s", (int)f, in,
              out.s, want);
    tn_str_free(&out);
}

TEST(text_normal_forms) {
    form(TN_NFC, "e\xCC\x81", "\xC3\xA9");
    form(TN_NFD, "\xC3\xA9", "e\xCC\x81");
    form(TN_NFC, "a\xCC\xA3\xCC\x87 x", "\xE1\xBA\xA1\xCC\x87 x");
    form(TN_NFKC, "\xEF\xAC\x81 \xE2\x91\xA0", "fi 1");
    form(TN_NFC, "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", "\xED\x95\x9C");
    form(TN_NFC, "\xEB\xA8\xB8\xE1\x86\xA7",
         "\xEB\xA8\xB8\xE1\x86\xA7");                          /* U+11A7 composes with nothing */
    form(TN_NFKC, "\xEF\xBD\xB6\xEF\xBE\x9E", "\xE3\x82\xAC"); /* halfwidth ka and voice mark */
    form(TN_NFD, "\xF0\x91\xA4\xB8",
         "\xF0\x91\xA4\xB8"); /* U+11938 came after the library's tables: inert */
    form(TN_NFKC, "\xE3\x8B\xBF", "\xE3\x8B\xBF"); /* so did U+32FF */
    form(TN_NFC, "plain ASCII", "plain ASCII");
}

TEST(text_utf8_replacement) {
    tn_str out = TN_STR_INIT;
    static const char s[] = "a\xF0\x9F\x98\xE6\x97\xA5\xC3";
    tn_utf8_replace(&out, s, sizeof s - 1);
    CHECK(!strcmp(out.s, "a\xEF\xBF\xBD\xE6\x97\xA5\xEF\xBF\xBD"));
    CHECK(!tn_utf8_valid(s, sizeof s - 1) && tn_utf8_valid(out.s, out.len));
    for (uint32_t c = 1; c < 0x110000; c += 13) { /* every code point survives a round trip */
        char b[4];
        size_t i = 0;
        if (c >= 0xD800 && c < 0xE000) continue;
        int n = tn_utf8_put(b, c);
        CHECK(tn_utf8_valid(b, (size_t)n) && tn_utf8_next(b, &i) == c && i == (size_t)n);
    }
    tn_str_free(&out);
}

TEST(text_lower_case) {
    uint32_t out[2];
    CHECK(tn_lower('A', out) == 1 && out[0] == 'a');
    CHECK(tn_lower(0x130, out) == 2 && out[0] == 'i' && out[1] == 0x307);
    CHECK(tn_lower(0x10D50, out) == 1 && out[0] == 0x10D70);
    CHECK(tn_lower(0x1E9E, out) == 1 && out[0] == 0xDF);
    CHECK(tn_lower(0x100, out) == 1 && out[0] == 0x101 && tn_lower(0x101, out) == 1 &&
          out[0] == 0x101);
}
