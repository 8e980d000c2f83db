/* The pattern engine: Oniguruma's dialect on the library's tables, bounded work, hostile patterns. */
#include "test.h"
#include "base/rng.h"
#include "text/rx.h"

#define LIT(s) (s), sizeof(s) - 1

/* Matches of the pattern in the text, each as "[...]". */
static void matches(const char *pattern, const char *text, tn_str *out) {
    tn_rx *r = NULL;
    tn_rx_mem m = {0};
    bool found = true;
    size_t n = strlen(text), a, b;
    tn_str_clear(out);
    CHECK_OK(tn_rx_compile(&r, pattern, strlen(pattern), "test", e));
    for (size_t at = 0; r && at <= n;) {
        CHECK_OK(tn_rx_find(r, &m, text, n, at, &found, &a, &b, e));
        if (!found) break;
        tn_str_addc(out, '[');
        tn_str_add(out, text + a, b - a);
        tn_str_addc(out, ']');
        at = b > a ? b : b + 1;
    }
    tn_rx_mem_free(&m);
    tn_rx_free(r);
}

TEST(text_rx_matches) {
    static const struct {
        const char *pattern, *text, *want;
    } rows[] = {{"a|ab|abc", "abc", "[a]"},
                {"(a|ab)(c|bcd)(d*)", "abcd", "[abcd]"},
                {"a{2,3}", "aaaaaaa", "[aaa][aaa]"},
                {"a{2,3}?", "aaaaa", "[aa][aa]"},
                {"a{,2}b", "aaab", "[aab]"},
                {"a{x}", "a{x}", "[a{x}]"},
                {"(?>a+)ab", "aaab", ""},
                {"a++b", "aaab", "[aaab]"},
                {"(?:ab)+?c", "ababc", "[ababc]"},
                {"x(?=y)", "xyxz", "[x]"},
                {"x(?!y)", "xyxz", "[x]"},
                {"(?<=a)b", "ab b", "[b]"},
                {"(?<!a|bc)d", "ad bcd xd", "[d]"},
                {"^a", "a\na", "[a][a]"},
                {"a$", "a\na", "[a][a]"},
                {"\\Aa", "a\na", "[a]"},
                {"a\\z", "a\na", "[a]"},
                {".+", "ab\ncd", "[ab][cd]"},
                {"(?m).+", "ab\ncd", "[ab\ncd]"},
                {"(?i)straSSe", "STRASSE", "[STRASSE]"},
                {"(?i:'s)", "'S '\xC5\xBF", "['S]['\xC5\xBF]"},
                {"a(?i)b|c", "aB aC", "[aB][aC]"},
                {"[a-z&&[^aeiou]]+", "hello", "[h][ll]"},
                {"[^\\s\\p{L}]+", "a1 2!b", "[1][2!]"},
                {"[]a]+", "a]b", "[a]]"},
                {"[\\-a]+", "-a", "[-a]"},
                {"\\x41\\x{3b1}\\u00e9", "A\xCE\xB1\xC3\xA9", "[A\xCE\xB1\xC3\xA9]"},
                {"\\h+", "xfFg9", "[fF][9]"},
                {"\\p{Han}+",
                 "a\xE6\xBC\xA2\xE5\xAD\x97"
                 "b",
                 "[\xE6\xBC\xA2\xE5\xAD\x97]"},
                {"\\p{^L}", "a1", "[1]"},
                {"\\bb", "ab b", "[b]"},
                {"\\s+(?!\\S)", "a  b  ", "[ ][  ]"},
                {"\\s", "\xE1\xA0\x8E \xC2\xA0", "[ ][\xC2\xA0]"}, /* U+180E is no space */
                {"\\p{L}", "\xF0\x9E\x93\x90",
                 "[\xF0\x9E\x93\x90]"}, /* U+1E4D0, a letter since Unicode 15 */
                {"a{2}+", "aaaaa", "[aaaa]"},
                {"[[:alpha:]]+", "ab1", "[ab]"},
                {"(?<n>a)b", "ab", "[ab]"},
                {"(?#x)a", "a", "[a]"}};
    tn_str out = TN_STR_INIT;
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        matches(rows[k].pattern, rows[k].text, &out);
        CHECK_MSG(!strcmp(out.s ? out.s : "", rows[k].want), "%s on %s: %s, expected %s",
                  rows[k].pattern, rows[k].text, out.s, rows[k].want);
    }
    tn_str_free(&out);
}

TEST(text_rx_refuses) {
    static const char *const bad[] = {
        "(",     ")",     "[a",       "a**?+(",     "*a",    "a{3,2}", "a{2000}",     "\\k<a>",
        "\\1",   "\\R",   "(?x)a",    "\\p{Nope}",  "\\p{L", "[b-a]",  "\\x{110000}", "\\x{D800}",
        "\\u12", "(?:)*", "(?<=a*)b", "[[:nope:]]", "a\\",   "(?<a",   "[a-\\d]",     "(?i:\xC3"};
    tn_rx *r;
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        tn_err err = {0};
        CHECK_MSG(tn_rx_compile(&r, bad[k], strlen(bad[k]), "test", &err) != TN_OK && err.msg[0] &&
                      !r,
                  "%s", bad[k]);
    }
}

TEST(text_rx_work_is_bounded) {
    tn_rx *r = NULL;
    tn_rx_mem m = {0};
    bool found;
    size_t a, b;
    char text[64];
    memset(text, 'a', sizeof text);
    CHECK_OK(tn_rx_compile(&r, LIT("(?:a|aa)+$b|(?:(?:a?){20}){20}c"), "test", e));
    CHECK_FAIL(tn_rx_find(r, &m, text, sizeof text, 0, &found, &a, &b, e), TN_UNSUPPORTED,
               "too many steps");
    tn_rx_free(r);
    char deep[400];
    memset(deep, '(', sizeof deep);
    CHECK_FAIL(tn_rx_compile(&r, deep, sizeof deep, "test", e), TN_UNSUPPORTED, "nested");
    CHECK_FAIL(tn_rx_compile(&r, LIT("(?:(?:(?:a{1000}){1000}){1000}){1000}"), "test", e),
               TN_UNSUPPORTED, "");
    CHECK_FAIL(tn_rx_compile(&r, LIT("(?:(?:(?:(?:){1000}){1000}){1000}){1000}"), "test", e),
               TN_UNSUPPORTED, "");
    char *wide = tn_malloc(100000); /* a long loop gives back one character at a time */
    memset(wide, ' ', 100000);
    CHECK_OK(tn_rx_compile(&r, LIT("\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"), "test", e));
    CHECK_OK(tn_rx_find(r, &m, wide, 100000, 0, &found, &a, &b, e));
    CHECK(found && a == 0 && b == 100000);
    tn_rx_free(r);
    tn_rx_mem_free(&m);
    tn_free(wide);
}

TEST(text_rx_random_patterns) {
    static const char parts[] = "aab()[]{}|*+?.^$\\pLN{}s12,-:=!<>i&";
    tn_rng g = tn_rng_stream(7, 77, 0);
    tn_rx_mem m = {0};
    int compiled = 0;
    for (int k = 0; k < 1500; k++) {
        char p[24];
        size_t n = 1 + tn_rng_below(&g, 20), a, b;
        bool found;
        tn_rx *r;
        for (size_t i = 0; i < n; i++) p[i] = parts[tn_rng_below(&g, sizeof parts - 1)];
        if (tn_rx_compile(&r, p, n, "test", NULL) != TN_OK) continue;
        compiled++;
        tn_rx_find(r, &m, "ab aab\n12,a", 11, 0, &found, &a, &b, NULL);
        tn_rx_free(r);
    }
    CHECK(compiled > 75);
    tn_rx_mem_free(&m);
}
