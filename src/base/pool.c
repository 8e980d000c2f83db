/* Thread pool: shares, static or dealt out.
 *
 * A dispatch raises `gen`; every worker computes its own range, runs it and lowers `pending`.
 * Waiting is a short spin, then a futex sleep. Order of memory: the job's fields are written
 * before gen is raised (release) and read after it was seen (acquire); results likewise
 * through `pending`.                                                                      */
#include "base/pool.h"
#include "base/mem.h"
#include "base/os.h"
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { POOL_MAX = 1024, POOL_SPIN = 4000 };

typedef struct worker {
    struct tn_pool *pool;
    int index; /* 1 ... threads-1; the caller is 0 */
    pthread_t id;
} worker;

/* What is left of a thread's share, in chunks; a cache line of its own. */
typedef struct share {
    atomic_size_t next;
    size_t end;
    char apart[48];
} share;

struct tn_pool {
    int threads, spin;
    worker *w;
    share *left; /* [threads] */
    atomic_uint gen;      /* raised once a job, and to leave */
    atomic_uint sleepers;              /* workers asleep, or about to be, on gen */
    char apart[64]; /* keeps the two ends of the signalling on different cache lines */
    atomic_uint pending;  /* workers still busy with the job */
    atomic_uint caller_sleeps;
    bool quit, dealt; /* dealt: by `left` */
    size_t n, grain;
    tn_pool_fn *fn;
    void *ctx;
};

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void futex_wait(atomic_uint *a, unsigned seen) {
    syscall(SYS_futex, (void *)a, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *a, int n) {
    syscall(SYS_futex, (void *)a, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

static void run_chunks(tn_pool *p, size_t first, size_t count, int t) {
    size_t begin = first * p->grain, end = (first + count) * p->grain;
    if (count) p->fn(p->ctx, begin, end < p->n ? end : p->n, t);
}

/* Chunks of `grain` make shares as even as whole chunks allow. */
static size_t share_of(const tn_pool *p, int t, size_t *first) {
    size_t chunks = p->n / p->grain + (p->n % p->grain != 0), threads = (size_t)p->threads, i = (size_t)t;
    size_t each = chunks / threads, more = chunks % threads;
    *first = i * each + (i < more ? i : more);
    return each + (i < more);
}

/* Half of what is left of a share, at least one chunk; 0: none. */
static size_t take_half(share *s, size_t *first) {
    size_t at = atomic_load_explicit(&s->next, memory_order_relaxed), n;
    do {
        if (at >= s->end) return 0;
        n = (s->end - at + 1) / 2;
    } while (!atomic_compare_exchange_weak_explicit(&s->next, &at, at + n, memory_order_relaxed, memory_order_relaxed));
    *first = at;
    return n;
}

static void run_share(tn_pool *p, int t) {
    size_t first, n;
    if (!p->dealt) {
        n = share_of(p, t, &first);
        run_chunks(p, first, n, t);
        return;
    }
    for (int i = 0; i < p->threads; i++)
        while ((n = take_half(&p->left[(t + i) % p->threads], &first))) run_chunks(p, first, n, t);
}

static unsigned wait_change(tn_pool *p, unsigned seen) {
    for (int i = 0; i < p->spin; i++) {
        unsigned g = atomic_load_explicit(&p->gen, memory_order_acquire);
        if (g != seen) return g;
        relax();
    }
    for (;;) {
        atomic_fetch_add(&p->sleepers, 1);
        unsigned g = atomic_load(&p->gen);
        if (g == seen) futex_wait(&p->gen, seen);
        atomic_fetch_sub(&p->sleepers, 1);
        g = atomic_load_explicit(&p->gen, memory_order_acquire);
        if (g != seen) return g;
    }
}

static void *worker_main(void *arg) {
    worker *w = arg;
    tn_pool *p = w->pool;
    unsigned seen = 0;
    for (;;) {
        seen = wait_change(p, seen);
        if (p->quit) return NULL;
        run_share(p, w->index);
        if (atomic_fetch_sub(&p->pending, 1) == 1 && atomic_load(&p->caller_sleeps))
            futex_wake(&p->pending, 1);
    }
}

static void wait_done(tn_pool *p) {
    unsigned left;
    for (int i = 0; i < p->spin; i++) {
        if (atomic_load_explicit(&p->pending, memory_order_acquire) == 0) return;
        relax();
    }
    atomic_store(&p->caller_sleeps, 1);
    while ((left = atomic_load(&p->pending)) != 0) futex_wait(&p->pending, left);
    atomic_store(&p->caller_sleeps, 0);
}

static void release_workers(tn_pool *p) {
    atomic_fetch_add(&p->gen, 1);
    if (atomic_load(&p->sleepers)) futex_wake(&p->gen, INT_MAX);
}

static void dispatch(tn_pool *p, size_t n, size_t grain, tn_pool_fn *fn, void *ctx, bool dealt) {
    if (n == 0) return;
    p->n = n;
    p->grain = grain ? grain : 1;
    p->fn = fn;
    p->ctx = ctx;
    p->dealt = dealt;
    if (p->threads == 1 || n <= p->grain) {
        fn(ctx, 0, n, 0);
        return;
    }
    for (int t = 0; dealt && t < p->threads; t++) {
        size_t first, count = share_of(p, t, &first);
        atomic_store_explicit(&p->left[t].next, first, memory_order_relaxed);
        p->left[t].end = first + count;
    }
    atomic_store(&p->pending, (unsigned)p->threads - 1);
    release_workers(p);
    run_share(p, 0);
    wait_done(p);
}

void tn_pool_run(tn_pool *p, size_t n, size_t grain, tn_pool_fn *fn, void *ctx) { dispatch(p, n, grain, fn, ctx, false); }
void tn_pool_deal(tn_pool *p, size_t n, size_t grain, tn_pool_fn *fn, void *ctx) { dispatch(p, n, grain, fn, ctx, true); }

static void pool_stop(tn_pool *p, int started) {
    p->quit = true;
    release_workers(p);
    for (int i = 0; i < started; i++) pthread_join(p->w[i].id, NULL);
    tn_free(p->left);
    tn_free(p->w);
    tn_free(p);
}

tn_status tn_pool_new(tn_pool **out, int threads, tn_err *e) {
    *out = NULL;
    int cpus = tn_ncpu();
    if (threads == 0) threads = cpus;
    if (threads < 1 || threads > POOL_MAX)
        return tn_fail(e, TN_ARG, "%d threads asked for; expected 1 to %d (0: one for each CPU)",
                       threads, POOL_MAX);
    tn_pool *p = tn_calloc(1, sizeof *p);
    worker *w = tn_calloc((size_t)threads, sizeof *w);
    share *left = tn_calloc((size_t)threads, sizeof *left);
    if (!p || !w || !left) {
        tn_free(p);
        tn_free(w);
        tn_free(left);
        return tn_fail(e, TN_NOMEM, "no memory for %d threads", threads);
    }
    p->threads = threads;
    p->w = w;
    p->left = left;
    /* More threads than CPUs: spinning would only keep the others from running. */
    p->spin = threads <= cpus ? POOL_SPIN : 0;
    /* Signals belong to the caller's thread. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int started = 0, err = 0;
    for (; started < threads - 1 && !err; started += !err) {
        w[started] = (worker){.pool = p, .index = started + 1};
        err = pthread_create(&w[started].id, NULL, worker_main, &w[started]);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err) {
        pool_stop(p, started);
        return tn_fail(e, TN_IO, "cannot start thread %d of %d (error %d); try fewer --threads",
                       started + 1, threads, err);
    }
    *out = p;
    return TN_OK;
}

void tn_pool_free(tn_pool *p) {
    if (p) pool_stop(p, p->threads - 1);
}

int tn_pool_threads(const tn_pool *p) { return p->threads; }
