/* Parked memory: the same bytes at the same addresses, and out of the process between uses. */
#include "base/fault.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/park.h"
#include "base/rss.h"
#include "test.h"
#include <errno.h>
#include <unistd.h>

enum { MB = 1 << 20 };

static uint8_t byte_of(size_t i) { return (uint8_t)((i * 2654435761u) >> 13); }
static uint8_t *filled(size_t n) {
    uint8_t *p = tn_big_alloc(n);
    for (size_t i = 0; i < n; i++) p[i] = byte_of(i);
    return p;
}
static bool whole(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i] != byte_of(i)) return false;
    return true;
}
static void nothing_left(const char *dir) {
    char **names;
    size_t n;
    CHECK_OK(tn_list_dir(dir, &names, &n, e));
    CHECK_MSG(n == 0, "%s is left", n ? names[0] : "");
    for (size_t i = 0; i < n; i++) tn_free(names[i]);
    tn_free(names);
}
/* A park, or a skipped test: where tests keep their files in memory. */
static tn_park *park_of(size_t bytes) {
    tn_park *p;
    tn_err why = {0};
    if (tn_park_new(&p, tn_test_dir(), bytes, &why) != TN_OK) tn_skip("%s", why.msg);
    return p;
}

TEST(park_out_and_in) {
    size_t n[3] = {70 * (size_t)MB, 3 * (size_t)MB + 777, 4096};
    tn_park *p = park_of(40 * (size_t)MB); /* less than it takes: it grows */
    uint8_t *q[3];
    for (int i = 0; i < 3; i++) q[i] = filled(n[i]);
    size_t before = tn_resident_memory();
    for (int i = 0; i < 3; i++) CHECK_OK(tn_park_add(p, q[i], n[i], e));
    CHECK(tn_park_bytes(p) == n[0] + 3 * (size_t)MB + 4096); /* whole pages */
    nothing_left(tn_test_dir());
    for (int round = 0; round < 3; round++) {
        tn_park_leave(p);
        CHECK_MSG(!before || tn_resident_memory() + 60 * (size_t)MB < before, "%zu resident, before %zu", tn_resident_memory(), before);
        size_t mapped = tn_rss_mapped();
        for (int i = 0; i < 3; i++) CHECK(whole(q[i], n[i]));
        CHECK(!before || tn_rss_mapped() > mapped + 60 * (size_t)MB);
    }
    size_t live = tn_mem_live();
    tn_park_free(p); /* what is mapped stays */
    for (int i = 0; i < 3; i++) {
        CHECK(whole(q[i], n[i]));
        tn_big_free(q[i], n[i]);
    }
    CHECK(live - tn_mem_live() >= n[0] + n[1] + n[2]);
}

/* Within a buffer: what lies around it stays writable. */
TEST(park_part_of_a_buffer) {
    size_t n = 5 * (size_t)MB;
    tn_park *p = park_of(n);
    uint8_t *q = filled(n);
    CHECK_OK(tn_park_add(p, q + 100, 2 * (size_t)MB, e));
    CHECK(tn_park_bytes(p) == 2 * (size_t)MB - 4096);
    CHECK_OK(tn_park_add(p, q + 3 * (size_t)MB, 10, e)); /* no whole page */
    q[0] ^= 255, q[3 * (size_t)MB] ^= 255;
    tn_park_leave(p);
    q[0] ^= 255, q[3 * (size_t)MB] ^= 255;
    CHECK(whole(q, n));
    tn_big_free(q, n);
    tn_park_free(p);
    tn_park_free(NULL);
    tn_park_leave(NULL);
    CHECK(tn_park_bytes(NULL) == 0);
}

/* What counts as memory of this process: parked pages while they are read. */
TEST(park_counts_in_peak) {
    size_t n = 96 * (size_t)MB;
    if (!tn_resident_memory()) tn_skip("no /proc/self/statm");
    tn_park *p = park_of(n);
    uint8_t *q = filled(n), *more = NULL;
    CHECK_OK(tn_park_add(p, q, n, e));
    tn_park_leave(p);
    size_t peak = tn_peak_memory(), rest = peak > tn_resident_memory() ? peak - tn_resident_memory() : 0;
    more = tn_big_alloc(rest + MB);
    memset(more, 1, rest + MB);
    size_t with = tn_peak_memory();
    CHECK(whole(q, n));
    tn_park_leave(p);
    CHECK_MSG(tn_peak_memory() > with + n / 10 * 9, "%zu after reading %zu, %zu before", tn_peak_memory(), n, with);
    tn_big_free(more, rest + MB);
    tn_big_free(q, n);
    tn_park_free(p);
}

TEST(park_where_it_cannot_be) {
    tn_park *p = (tn_park *)1;
    char path[600];
    snprintf(path, sizeof path, "%s/not/there/yet/", tn_test_dir());
    tn_park *real = park_of(MB);
    tn_park_free(real);
    CHECK_OK(tn_park_fits(path, MB, e));
    CHECK_OK(tn_park_fits("no-such-folder-here", MB, e));
    CHECK(!tn_exists(path) && !tn_exists("no-such-folder-here"));
    CHECK_FAIL(tn_park_fits(path, SIZE_MAX / 4, e), TN_UNSUPPORTED, "MB left");
    CHECK_FAIL(tn_park_new(&p, path, MB, e), TN_UNSUPPORTED, "no file can be made");
    CHECK(p == NULL);
    CHECK_FAIL(tn_park_new(&p, tn_test_dir(), SIZE_MAX / 4, e), TN_UNSUPPORTED, "MB left");
    if (tn_is_dir("/dev/shm")) CHECK_FAIL(tn_park_new(&p, "/dev/shm", MB, e), TN_UNSUPPORTED, "in memory itself");
}

/* Every call fails once: the buffer is as it was, or parked; of what cannot be mapped it is said that it is lost. */
TEST(park_faults) {
    size_t n = 66 * (size_t)MB; /* two pieces */
    const char *dir = tn_test_dir();
    tn_park_free(park_of(n));
    bool done = false;
    for (int k = 1; !done && k < 100; k++) {
        tn_err e = {0};
        tn_park *p = NULL;
        uint8_t *q = filled(n);
        tn_fault_arm(k, ENOSPC);
        tn_status st = tn_park_new(&p, dir, n - MB, &e), added = TN_OK;
        CHECK((st == TN_OK) == (p != NULL) && (st == TN_OK || *e.msg));
        if (p) added = tn_park_add(p, q, n, &e);
        done = !tn_fault_fired();
        tn_fault_arm(0, 0);
        CHECK(added == TN_OK || added == TN_IO || added == TN_NOMEM);
        CHECK_MSG(added != TN_NOMEM || strstr(e.msg, "cannot map"), "%s", e.msg);
        tn_park_leave(p);
        CHECK_MSG(whole(q, n), "call %d", k); /* the hook fails before anything is mapped */
        if (added == TN_IO) q[n - 1] ^= 255;  /* its last piece did not move */
        tn_big_free(q, n);
        tn_park_free(p);
        nothing_left(dir);
    }
    CHECK(done);
}
