/* Memory: checked heap, region arenas, large aligned buffers.
 *
 * Three lifetimes: process, run, step. A step arena is reset, never freed, so the
 * steady state allocates nothing (tested by counting).                             */
#ifndef TN_BASE_MEM_H
#define TN_BASE_MEM_H

#include "base/status.h"
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

/* Heap. Sizes are checked for overflow; zero-sized requests give a valid pointer.
 * tn_free(NULL) is fine. Fault hooks of base/os.h apply. */
void *tn_malloc(size_t n);                       /* NULL on failure */
void *tn_calloc(size_t n, size_t size);          /* zeroed; NULL on failure or overflow */
void *tn_realloc(void *p, size_t n, size_t size); /* n*size checked; NULL leaves p valid */
void tn_free(void *p);
char *tn_strdup(const char *s);

/* Grow a dynamic array `p` (element type inferred) to hold at least `need` elements,
 * doubling `cap`. False when memory is out (the array stays valid). */
bool tn_grow_(void **p, size_t *cap, size_t need, size_t elem);
#define TN_GROW(p, cap, need) tn_grow_((void **)&(p), &(cap), (need), sizeof *(p))

/* Region allocator: blocks of at least `block` bytes, 64-byte aligned results. */
typedef struct tn_arena tn_arena;
tn_arena *tn_arena_new(size_t block);
void *tn_arena_alloc(tn_arena *a, size_t n);          /* uninitialised; NULL when out */
void *tn_arena_zalloc(tn_arena *a, size_t n, size_t size); /* zeroed array */
char *tn_arena_strdup(tn_arena *a, const char *s);
char *tn_arena_memdup0(tn_arena *a, const void *p, size_t n); /* copy plus NUL */
void tn_arena_reset(tn_arena *a);                     /* keeps the blocks */
size_t tn_arena_used(const tn_arena *a);
size_t tn_arena_peak(const tn_arena *a);
void tn_arena_free(tn_arena *a);

/* Large zeroed buffers straight from mmap, 2 MiB aligned when >= 2 MiB (huge pages advised).
 * Counted: tn_mem_live() is the sum of live large buffers, tn_mem_peak() its maximum. */
void *tn_big_alloc(size_t bytes);
void tn_big_free(void *p, size_t bytes);
/* The beginning of a tn_big_alloc takes no huge pages: what is never written costs nothing. */
void tn_big_by_pages(void *p, size_t bytes);
/* Gives whole pages within p[0, bytes) of a tn_big_alloc back; they are zero when looked at again. */
void tn_big_drop(void *p, size_t bytes);
/* The same for all of a tn_big_alloc, which will be filled again: pages keep their size. */
void tn_big_clear(void *p, size_t bytes);
size_t tn_mem_live(void);
size_t tn_mem_peak(void);

#endif
