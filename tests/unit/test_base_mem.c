/* Heap, arenas, large buffers, fault injection. */
#include "base/os.h"
#include "test.h"
#include <errno.h>
#include <stdint.h>

TEST(base_mem_heap) {
    CHECK(tn_calloc(SIZE_MAX / 2, 3) == NULL && tn_malloc(SIZE_MAX) == NULL);
    void *p = tn_malloc(0), *q = tn_calloc(0, 8);
    CHECK(p && q);
    CHECK(tn_realloc(p, SIZE_MAX / 4, 8) == NULL); /* p is still ours */
    tn_free(p);
    tn_free(q);
    tn_free(NULL);
    tn_fault_arm(2, ENOMEM);
    p = tn_malloc(8);
    q = tn_malloc(8);
    CHECK(p && !q && tn_fault_fired());
    tn_free(p);
    int *v = NULL;
    size_t cap = 0;
    for (size_t i = 0; i < 1000; i++) {
        CHECK(TN_GROW(v, cap, i + 1));
        v[i] = (int)i;
    }
    tn_fault_arm(1, ENOMEM);
    CHECK(!TN_GROW(v, cap, cap + 1) && v[999] == 999);
    tn_fault_arm(0, 0);
    CHECK(!TN_GROW(v, cap, SIZE_MAX / 2) && v[999] == 999 && cap >= 1000);
    tn_free(v);
}

TEST(base_mem_arena) {
    tn_arena *a = tn_arena_new(10000);
    char *kept[600];
    size_t used = 0;
    CHECK(a != NULL);
    for (int round = 0; round < 3; round++) {
        /* After the first round the same requests find the same places: any heap call would fail.
         */
        if (round) tn_fault_arm(1, ENOMEM);
        for (int i = 0; i < 600; i++) {
            size_t n = (size_t)(i * 37) % 500 + (i % 97 == 0 ? 30000 : 0);
            char *p = tn_arena_alloc(a, n);
            if (!p) break;
            CHECK(((uintptr_t)p & 63) == 0);
            CHECK(round == 0 || p == kept[i]);
            memset(p, i, n);
            kept[i] = p;
        }
        CHECK(!tn_fault_fired());
        for (int i = 0; i < 600; i++) CHECK((size_t)(i * 37) % 500 == 0 || kept[i][0] == (char)i);
        CHECK(used == 0 || used == tn_arena_used(a));
        used = tn_arena_used(a);
        tn_arena_reset(a);
        CHECK(tn_arena_used(a) == 0 && tn_arena_peak(a) == used);
    }
    tn_fault_arm(0, 0);
    CHECK(tn_arena_alloc(a, SIZE_MAX) == NULL && tn_arena_alloc(a, SIZE_MAX - 70) == NULL);
    CHECK(tn_arena_zalloc(a, SIZE_MAX / 2, 4) == NULL);
    uint64_t *z = tn_arena_zalloc(a, 100, 8);
    for (int i = 0; i < 100; i++) CHECK(z[i] == 0);
    CHECK(!strcmp(tn_arena_strdup(a, "abc"), "abc"));
    char *m = tn_arena_memdup0(a, "a\0b", 3);
    CHECK(m[1] == 0 && m[2] == 'b' && m[3] == 0);
    tn_arena_free(a);
    tn_arena_free(NULL);
    tn_fault_arm(2, ENOMEM);
    a = tn_arena_new(0);
    CHECK(a && tn_arena_alloc(a, 1) == NULL); /* an arena that could not grow can still be freed */
    tn_arena_free(a);
}

TEST(base_mem_big) {
    size_t live = tn_mem_live(), n = (5u << 20) + 123;
    char *p = tn_big_alloc(n), *q = tn_big_alloc(1);
    CHECK(p && q && ((uintptr_t)p & ((2u << 20) - 1)) == 0);
    CHECK(tn_mem_live() - live == (5u << 20) + 4096 + 4096 && tn_mem_peak() >= tn_mem_live());
    for (size_t i = 0; i < n; i += 1000) CHECK(p[i] == 0);
    memset(p, 1, n);
    tn_big_free(p, n);
    tn_big_free(q, 1);
    tn_big_free(NULL, 5);
    CHECK(tn_mem_live() == live);
    CHECK(tn_big_alloc(SIZE_MAX) == NULL);
    tn_fault_arm(1, ENOMEM);
    CHECK(tn_big_alloc(1) == NULL && tn_fault_fired());
}

TEST(base_mem_peak_counts_what_was_touched) {
    size_t before = tn_peak_memory(), n = (size_t)96 << 20;
    if (!before) tn_skip("no /proc/self/statm");
    char *p = tn_big_alloc(n);
    CHECK(tn_peak_memory() - before < n / 2); /* not touched yet */
    memset(p, 1, n);
    tn_big_free(p, n);                        /* sampled as it goes */
    size_t after = tn_peak_memory();
    CHECK_MSG(after >= n, "%zu after touching %zu", after, n);
}
