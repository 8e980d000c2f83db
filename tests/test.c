/* The runner of the unit tests. */
#include "test.h"
#include "base/signals.h"
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_FAILURES = 20, PATH_SLOTS = 32 };

static tn_test *all_tests;
static const char *now_running = "";
static int failures; /* of the running test */
static char skip_reason[512];
static jmp_buf leave_test;
enum { LEAVE_SKIP = 1, LEAVE_FAILED };

void tn_test_register(tn_test *t) {
    /* Sorted by name, so that link order does not matter. */
    tn_test **p = &all_tests;
    while (*p && strcmp((*p)->name, t->name) < 0) p = &(*p)->next;
    t->next = *p;
    *p = t;
}

void tn_check(bool ok, const char *file, int line, const char *fmt, ...) {
    if (ok) return;
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    printf("FAIL %s  %s:%d: %s\n", now_running, file, line, text);
    if (++failures >= MAX_FAILURES) {
        printf("FAIL %s  cut short after %d failures\n", now_running, failures);
        longjmp(leave_test, LEAVE_FAILED);
    }
}

void tn_check_near(double got, double want, double rel, double abs, const char *file, int line,
                   const char *what) {
    bool ok =
        got == want || (isnan(got) && isnan(want)) || fabs(got - want) <= abs + rel * fabs(want);
    tn_check(ok, file, line, "%s = %.17g, expected %.17g (off by %.3g, allowed %.3g)", what, got,
             want, got - want, abs + rel * fabs(want));
}

void tn_check_bytes(const void *got, const void *want, size_t n, const char *file, int line,
                    const char *what) {
    const unsigned char *a = got, *b = want;
    for (size_t i = 0; i < n; i++) {
        if (a[i] == b[i]) continue;
        tn_check(false, file, line, "%s: byte %zu of %zu is 0x%02x, expected 0x%02x", what, i, n,
                 a[i], b[i]);
        return;
    }
}

void tn_skip(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(skip_reason, sizeof skip_reason, fmt, ap);
    va_end(ap);
    longjmp(leave_test, LEAVE_SKIP);
}

/* ---- paths ---- */

static const char *path_slot(const char *a, const char *b) {
    static char slots[PATH_SLOTS][1024];
    static int next;
    char *s = slots[next++ % PATH_SLOTS];
    snprintf(s, sizeof slots[0], "%s/%s", a, b);
    return s;
}

const char *tn_shared(const char *rel) {
    const char *root = getenv("TENET_SHARED");
    const char *p = path_slot(root && *root ? root : "../shared", rel);
    if (!tn_exists(p)) tn_skip("no %s (set TENET_SHARED to the folder of development data)", p);
    return p;
}

const char *tn_test_file(const char *rel) { return path_slot("tests", rel); }

static char tmp_root[256];

const char *tn_test_dir(void) {
    static int number;
    char name[64];
    if (!tmp_root[0]) snprintf(tmp_root, sizeof tmp_root, "build/tmp/%ld", (long)getpid());
    snprintf(name, sizeof name, "%d-%.40s", ++number, now_running);
    const char *p = path_slot(tmp_root, name);
    tn_err e = {0};
    if (tn_mkdirs(p, &e) != TN_OK) {
        tn_check(false, __FILE__, __LINE__, "no test folder: %s", e.msg);
        longjmp(leave_test, LEAVE_FAILED);
    }
    return p;
}

json_t *tn_golden(const char *file) {
    json_t *root = NULL;
    tn_err e = {0};
    const char *p = path_slot("tests/golden", file);
    if (tn_json_load(p, &root, &e) == TN_OK) return root;
    tn_check(false, __FILE__, __LINE__, "golden file: %s", e.msg);
    longjmp(leave_test, LEAVE_FAILED);
}

/* ---- running ---- */

static void on_crash(int sig) {
    static const char head[] = "\nFAIL ", tail[] = "  killed by a signal\n";
    (void)!write(1, head, sizeof head - 1);
    (void)!write(1, now_running, strlen(now_running));
    (void)!write(1, tail, sizeof tail - 1);
    signal(sig, SIG_DFL);
    raise(sig);
}

static bool wanted(const char *name, int argc, char **argv) {
    if (argc == 0) return true;
    for (int i = 0; i < argc; i++)
        if (strstr(name, argv[i])) return true;
    return false;
}

typedef enum outcome { PASSED, FAILED, SKIPPED } outcome;

static outcome run_one(const tn_test *t) {
    now_running = t->name;
    failures = 0;
    int how = setjmp(leave_test);
    if (how == 0) t->fn();
    tn_fault_arm(0, 0);
    tn_clear_stop();
    if (failures) return FAILED;
    if (how != LEAVE_SKIP) return PASSED;
    printf("skip %s  %s\n", t->name, skip_reason);
    return SKIPPED;
}

int main(int argc, char **argv) {
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    bool verbose = argc > 1 && !strcmp(argv[1], "-v");
    int first = verbose ? 2 : 1, count[3] = {0};
    setvbuf(stdout, NULL, _IOLBF, 0);
#ifndef __SANITIZE_ADDRESS__
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++) signal(fatal[i], on_crash);
#else
    (void)fatal, (void)on_crash;
#endif
    for (tn_test *t = all_tests; t; t = t->next) {
        if (!wanted(t->name, argc - first, argv + first)) continue;
        double t0 = tn_now();
        outcome o = run_one(t);
        double took = tn_now() - t0;
        count[o]++;
        if (verbose && o != SKIPPED)
            printf("%s %s  %.3fs\n", o == PASSED ? "ok  " : "FAIL", t->name, took);
        else if (took > 5) printf("slow %s  %.1fs\n", t->name, took);
    }
    if (tmp_root[0]) tn_remove_tree(tmp_root, NULL);
    printf("%d passed, %d failed, %d skipped\n", count[PASSED], count[FAILED], count[SKIPPED]);
    return count[FAILED] ? 1 : 0;
}
