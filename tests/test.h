/* A small test harness: registry by constructors, filters, skips, numeric checks.
 * One runner (build/tests/run [filter...]) holds every unit test; it prints one line a failure
 * and closes with `N passed, N failed, N skipped` alone on a line. */
#ifndef TN_TEST_H
#define TN_TEST_H
#include "base/json.h"
#include <stdio.h>

typedef struct tn_test { const char *name; void (*fn)(void); struct tn_test *next; } tn_test;
void tn_test_register(tn_test *t);
#define TEST(id)                                                                     \
    static void test_##id(void);                                                     \
    static tn_test reg_##id = {#id, test_##id, NULL};                                \
    __attribute__((constructor)) static void ctor_##id(void) { tn_test_register(&reg_##id); } \
    static void test_##id(void)

/* A failed check is counted with file:line and the test goes on; after 20 it is cut short. */
void tn_check(bool ok, const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
#define CHECK(c) tn_check((c), __FILE__, __LINE__, "%s", #c)
#define CHECK_MSG(c, ...) tn_check((c), __FILE__, __LINE__, __VA_ARGS__)
#define CHECK_OK(expr)                                                               \
    do { tn_err ce_ = {0}; tn_err *e = &ce_; (void)e; tn_status cs_ = (expr);        \
         tn_check(cs_ == TN_OK, __FILE__, __LINE__, "%s: %s", #expr, ce_.msg); } while (0)
/* expr (which names its error object `e`) must fail with `code` and a message containing `text`. */
#define CHECK_FAIL(expr, want, text)                                                 \
    do { tn_err ce_ = {0}; tn_err *e = &ce_; tn_status cs_ = (expr);                 \
         tn_check(cs_ == (want), __FILE__, __LINE__, "%s: status %d, message: %s", #expr, (int)cs_, ce_.msg); \
         tn_check(strstr(ce_.msg, (text)) != NULL, __FILE__, __LINE__, "%s: message lacks '%s': %s", #expr, (text), ce_.msg); } while (0)
/* |got-want| <= abs + rel*|want| */
void tn_check_near(double got, double want, double rel, double abs, const char *file, int line, const char *what);
#define CHECK_NEAR(got, want, rel, abs) tn_check_near((got), (want), (rel), (abs), __FILE__, __LINE__, #got)
void tn_check_bytes(const void *got, const void *want, size_t n, const char *file, int line, const char *what);
#define CHECK_BYTES(got, want, n) tn_check_bytes((got), (want), (n), __FILE__, __LINE__, #got)

/* Leaves the test, counted as skipped, with the reason. */
void tn_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Folder of development data (environment TENET_SHARED, else ../shared); skips the test when absent. */
const char *tn_shared(const char *rel);
/* Path of a committed test file: tests/REL below the source root. */
const char *tn_test_file(const char *rel);
/* A fresh empty folder under build/tmp, removed at the end of the run. */
const char *tn_test_dir(void);
/* Golden cases tests/golden/FILE: array; iterates those whose "method"/"id" starts with prefix. */
json_t *tn_golden(const char *file);
#include <string.h>
#endif
