/* Checked heap, region arenas, large aligned buffers. */
#include "base/mem.h"
#include "base/fault.h"
#include "base/rss.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- heap ---- */

void *tn_malloc(size_t n) {
    if (tn_fault()) return NULL;
    if (n > PTRDIFF_MAX) return NULL;
    return malloc(n ? n : 1);
}

void *tn_calloc(size_t n, size_t size) {
    size_t bytes;
    if (tn_fault() || __builtin_mul_overflow(n, size, &bytes) || bytes > PTRDIFF_MAX) return NULL;
    return calloc(bytes ? bytes : 1, 1);
}

void *tn_realloc(void *p, size_t n, size_t size) {
    size_t bytes;
    if (tn_fault() || __builtin_mul_overflow(n, size, &bytes) || bytes > PTRDIFF_MAX) return NULL;
    return realloc(p, bytes ? bytes : 1);
}

void tn_free(void *p) { free(p); }

char *tn_strdup(const char *s) {
    size_t n = strlen(s) + 1;
    char *p = tn_malloc(n);
    return p ? memcpy(p, s, n) : NULL;
}

bool tn_grow_(void **p, size_t *cap, size_t need, size_t elem) {
    if (need <= *cap) return true;
    size_t c = *cap ? *cap : 8;
    while (c < need) {
        if (c > SIZE_MAX / 2) return false;
        c *= 2;
    }
    void *q = tn_realloc(*p, c, elem);
    if (!q) return false;
    *p = q;
    *cap = c;
    return true;
}

/* ---- arenas ---- */

enum { ARENA_ALIGN = 64 };

/* A block's bytes start at the first multiple of 64 after its header. */
typedef struct arena_block {
    struct arena_block *next;
    size_t size, used; /* of the aligned part */
    uint8_t *base;
} arena_block;

struct tn_arena {
    arena_block *first, *cur;
    size_t block;
    size_t used, peak;
};

static arena_block *arena_block_new(size_t size) {
    size_t bytes;
    if (__builtin_add_overflow(size, sizeof(arena_block) + ARENA_ALIGN, &bytes)) return NULL;
    arena_block *b = tn_malloc(bytes);
    if (!b) return NULL;
    uintptr_t start = ((uintptr_t)(b + 1) + ARENA_ALIGN - 1) & ~(uintptr_t)(ARENA_ALIGN - 1);
    *b = (arena_block){NULL, size, 0, (uint8_t *)start};
    return b;
}

tn_arena *tn_arena_new(size_t block) {
    tn_arena *a = tn_calloc(1, sizeof *a);
    if (!a) return NULL;
    a->block = block > 4096 ? block : 4096;
    return a;
}

/* After a reset the blocks are walked again in the same order, so a repeated sequence of
 * requests finds the same places and asks the heap for nothing. */
void *tn_arena_alloc(tn_arena *a, size_t n) {
    if (n > PTRDIFF_MAX - ARENA_ALIGN) return NULL;
    size_t need = n ? (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1) : ARENA_ALIGN;
    arena_block *b = a->cur;
    while (b && b->size - b->used < need && b->next) {
        b = b->next;
        b->used = 0;
    }
    if (!b || b->size - b->used < need) {
        arena_block *fresh = arena_block_new(need > a->block ? need : a->block);
        if (!fresh) return NULL;
        if (b) b->next = fresh;
        else a->first = fresh;
        b = fresh;
    }
    a->cur = b;
    void *p = b->base + b->used;
    b->used += need;
    a->used += need;
    if (a->used > a->peak) a->peak = a->used;
    return p;
}

void *tn_arena_zalloc(tn_arena *a, size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    void *p = tn_arena_alloc(a, bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

char *tn_arena_memdup0(tn_arena *a, const void *p, size_t n) {
    if (n == SIZE_MAX) return NULL;
    char *q = tn_arena_alloc(a, n + 1);
    if (!q) return NULL;
    if (n) memcpy(q, p, n);
    q[n] = 0;
    return q;
}

char *tn_arena_strdup(tn_arena *a, const char *s) { return tn_arena_memdup0(a, s, strlen(s)); }

void tn_arena_reset(tn_arena *a) {
    a->cur = a->first;
    if (a->cur) a->cur->used = 0;
    a->used = 0;
}

size_t tn_arena_used(const tn_arena *a) { return a->used; }
size_t tn_arena_peak(const tn_arena *a) { return a->peak; }

void tn_arena_free(tn_arena *a) {
    if (!a) return;
    for (arena_block *b = a->first, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(a);
}

/* ---- large buffers ---- */

static atomic_size_t big_live, big_peak;
static const size_t HUGE_PAGE = (size_t)2 << 20;

static size_t big_round(size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) & ~(page - 1);
}

static void big_count(size_t bytes) {
    size_t live = atomic_fetch_add(&big_live, bytes) + bytes;
    size_t peak = atomic_load(&big_peak);
    while (live > peak && !atomic_compare_exchange_weak(&big_peak, &peak, live)) {}
}

void *tn_big_alloc(size_t bytes) {
    if (bytes > PTRDIFF_MAX - 2 * HUGE_PAGE || tn_fault()) return NULL;
    size_t size = big_round(bytes ? bytes : 1), slack = size >= HUGE_PAGE ? HUGE_PAGE : 0;
    uint8_t *p =
        mmap(NULL, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    if (slack) {
        /* Cut the mapping down to an aligned window of `size` bytes. */
        uint8_t *q = (uint8_t *)(((uintptr_t)p + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
        size_t before = (size_t)(q - p), after = slack - before;
        if (before) munmap(p, before);
        if (after) munmap(q + size, after);
        p = q;
        madvise(p, size, MADV_HUGEPAGE);
    }
    big_count(size);
    return p;
}

void tn_big_free(void *p, size_t bytes) {
    if (!p) return;
    size_t size = big_round(bytes ? bytes : 1);
    tn_rss_sample();
    munmap(p, size);
    atomic_fetch_sub(&big_live, size);
}

void tn_big_by_pages(void *p, size_t bytes) {
    if (bytes) madvise(p, big_round(bytes), MADV_NOHUGEPAGE);
}

void tn_big_drop(void *p, size_t bytes) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = ((uintptr_t)p + page - 1) & ~(page - 1);
    uintptr_t to = ((uintptr_t)p + bytes) & ~(page - 1);
    tn_rss_sample();
    if (from >= to) return;
    madvise((void *)from, to - from, MADV_NOHUGEPAGE); /* else the kernel fills the gaps between kept pages again */
    madvise((void *)from, to - from, MADV_DONTNEED);
}

void tn_big_clear(void *p, size_t bytes) {
    if (!p) return;
    tn_rss_sample();
    madvise(p, big_round(bytes), MADV_DONTNEED);
}

size_t tn_mem_live(void) { return atomic_load(&big_live); }
size_t tn_mem_peak(void) { return atomic_load(&big_peak); }
