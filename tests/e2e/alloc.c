/* Counts what a training run allocates. Linked in place of nothing: the linker's --wrap sends the
 * calls of malloc, calloc, realloc, mmap and of the functions that make up a training step here
 * (Makefile, target build/tests/alloc). Memory asked for inside those functions, by any thread, is
 * counted from the third optimiser step (third sampling where there are any) on; logging lies outside.
 *
 * At its end the program writes one line to the file named by TENET_ALLOC_OUT:
 *     steps STEPS calls CALLS warm-up ALLOCATIONS steady ALLOCATIONS bytes BYTES first NAME       */
#include "rl/rewards.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static atomic_int inside; /* depth of step functions under way */
static atomic_long warm, steady, bytes;
static long updates, samplings, calls;
static const char *volatile where = "-", *first_where = "-";

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_mmap(void *p, size_t n, int prot, int flags, int fd, off_t off);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_mmap(void *p, size_t n, int prot, int flags, int fd, off_t off);

/* Steps done: iterations where there are rollouts (the one under way counts), else updates. */
static long steps_begun(void) { return samplings ? samplings : updates + 1; }

static void count(size_t n) {
    if (!atomic_load(&inside)) return;
    if (steps_begun() <= 2) {
        atomic_fetch_add(&warm, 1);
        return;
    }
    if (atomic_fetch_add(&steady, 1) == 0) first_where = where;
    atomic_fetch_add(&bytes, (long)n);
}

void *__wrap_malloc(size_t n) {
    count(n);
    return __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t size) {
    count(n * size);
    return __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t n) {
    count(n);
    return __real_realloc(p, n);
}
void *__wrap_mmap(void *p, size_t n, int prot, int flags, int fd, off_t off) {
    count(n);
    return __real_mmap(p, n, prot, flags, fd, off);
}

/* STEP(name, after, parameters, arguments): the function's calls lie inside. */
#define STEP(name, after, params, args)                                                            \
    tn_status __real_##name params;                                                                \
    tn_status __wrap_##name params;                                                                \
    tn_status __wrap_##name params {                                                               \
        atomic_fetch_add(&inside, 1);                                                              \
        where = #name;                                                                             \
        calls++;                                                                                   \
        tn_status st = __real_##name args;                                                         \
        atomic_fetch_sub(&inside, 1);                                                              \
        after;                                                                                     \
        return st;                                                                                 \
    }

STEP(tn_trainee_accumulate, (void)0,
     (tn_trainee *t, tn_example *const *ex, int n, bool train, tn_step_result *r, tn_err *e),
     (t, ex, n, train, r, e))
STEP(tn_trainee_update, updates++,
     (tn_trainee *t, const tn_optimiser *o, double lr, long step, tn_step_result *r, tn_err *e),
     (t, o, lr, step, r, e))
STEP(tn_rollouts_observe, (void)0,
     (tn_rollouts *r, tn_trainee *policy, tn_trainee *critic, tn_err *e), (r, policy, critic, e))
STEP(tn_scorer_scores, (void)0,
     (tn_scorer *s, const tn_example *ex, int n, const tn_tokenizer *tok, double *score, tn_err *e),
     (s, ex, n, tok, score, e))

STEP(tn_rewards_score, (void)0,
     (tn_rewards *r, const tn_online *on, tn_rollouts *roll, tn_metrics *m, tn_err *e),
     (r, on, roll, m, e))
STEP(tn_rollouts_entropy, (void)0,
     (tn_rollouts *r, tn_trainee *policy, double *entropy, tn_err *e), (r, policy, entropy, e))

tn_status __real_tn_gen_run(tn_gen *g, const tn_gen_request *req, int n, const tn_sampling *s,
                            tn_gen_sample *out, tn_gen_tick *tick, void *ctx, tn_err *e);
tn_status __wrap_tn_gen_run(tn_gen *g, const tn_gen_request *req, int n, const tn_sampling *s,
                            tn_gen_sample *out, tn_gen_tick *tick, void *ctx, tn_err *e);
tn_status __wrap_tn_gen_run(tn_gen *g, const tn_gen_request *req, int n, const tn_sampling *s,
                            tn_gen_sample *out, tn_gen_tick *tick, void *ctx, tn_err *e) {
    samplings++;
    atomic_fetch_add(&inside, 1);
    where = "tn_gen_run";
    calls++;
    tn_status st = __real_tn_gen_run(g, req, n, s, out, tick, ctx, e);
    atomic_fetch_sub(&inside, 1);
    return st;
}

__attribute__((destructor)) static void report(void) {
    const char *path = getenv("TENET_ALLOC_OUT");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (!f) return;
    fprintf(f, "steps %ld calls %ld warm-up %ld steady %ld bytes %ld first %s\n",
            samplings ? samplings : updates, calls, atomic_load(&warm), atomic_load(&steady),
            atomic_load(&bytes), first_where);
    fclose(f);
}
