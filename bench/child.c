/* Programs beside this one: runs that are watched, and the worker that answers for the peers. */
#include "bench.h"
#include "base/os.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Starts argv with the given descriptors (-1: inherited). Answers the process, -1 and errno when there is none.
 * Never a fork: until its exec the child would be as large as this process, and be measured so. */
static pid_t start(const char *const *argv, int in, int out, int err) {
    pid_t pid = -1;
    int fd[3] = {in, out, err};
    posix_spawn_file_actions_t a;
    posix_spawn_file_actions_init(&a);
    for (int i = 0; i < 3; i++)
        if (fd[i] >= 0) posix_spawn_file_actions_adddup2(&a, fd[i], i);
    errno = posix_spawnp(&pid, argv[0], &a, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&a);
    return errno ? -1 : pid;
}

static int status_of(int w) { return WIFEXITED(w) ? WEXITSTATUS(w) : 128 + WTERMSIG(w); }

/* Resident bytes less file-mapped ones, as tn_peak_memory counts. */
static double memory_of(pid_t pid) {
    char path[64], text[128] = "";
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    char *end;
    strtoul(text, &end, 10);
    unsigned long resident = strtoul(end, &end, 10), shared = strtoul(end, NULL, 10);
    return resident > shared ? (double)(resident - shared) * (double)sysconf(_SC_PAGESIZE) : 0;
}

tn_status bench_run_child(bench_child *c, tn_err *e) {
    int log = open(c->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (log < 0) return tn_fail(e, TN_IO, "%s: %s", c->log, strerror(errno));
    double t0 = tn_now();
    pid_t pid = start(c->argv, -1, log, log);
    close(log);
    if (pid < 0) return tn_fail(e, TN_IO, "cannot start %s: %s", c->argv[0], strerror(errno));
    int w = 0;
    c->marked = NAN;
    c->peak = 0;
    while (waitpid(pid, &w, WNOHANG) == 0) {
        double m = memory_of(pid);
        if (m > c->peak) c->peak = m;
        if (isnan(c->marked) && c->mark && tn_exists(c->mark)) c->marked = tn_now() - t0;
        tn_sleep(isnan(c->marked) ? 0.001 : 0.005);
    }
    c->seconds = tn_now() - t0;
    c->status = status_of(w);
    return TN_OK;
}

double bench_first_byte(const char *const *argv) {
    int p[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
    char c;
    if (null < 0 || pipe2(p, O_CLOEXEC) < 0) return NAN;
    double t0 = tn_now(), t = NAN;
    pid_t pid = start(argv, null, p[1], null);
    close(p[1]);
    close(null);
    if (pid > 0 && read(p[0], &c, 1) == 1) t = tn_now() - t0;
    while (pid > 0 && read(p[0], &c, 1) == 1) {}
    close(p[0]);
    if (pid > 0) waitpid(pid, NULL, 0);
    return t;
}

/* ---------------- the worker ---------------- */

struct bench_worker {
    pid_t pid;
    FILE *to, *from;
};

tn_status bench_worker_open(bench_worker **out, const bench_options *o, tn_err *e) {
    int in[2], back[2];
    char threads[16];
    *out = NULL;
    snprintf(threads, sizeof threads, "%d", o->threads ? o->threads : tn_ncpu());
    const char *argv[] = {o->peers, o->script, "serve", threads, NULL};
    bench_worker *w = tn_calloc(1, sizeof *w);
    if (!w) return tn_fail(e, TN_NOMEM, "out of memory");
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(back, O_CLOEXEC) < 0)
        return tn_fail(e, TN_IO, "no pipe: %s", strerror(errno));
    signal(SIGPIPE, SIG_IGN);
    w->pid = start(argv, in[0], back[1], -1);
    if (w->pid < 0) return tn_fail(e, TN_IO, "cannot start %s: %s", o->peers, strerror(errno));
    close(in[0]);
    close(back[1]);
    w->to = fdopen(in[1], "w");
    w->from = fdopen(back[0], "r");
    *out = w;
    return TN_OK;
}

void bench_worker_close(bench_worker *w) {
    if (!w) return;
    fclose(w->to); /* the end of its input ends it */
    waitpid(w->pid, NULL, 0);
    fclose(w->from);
    tn_free(w);
}

json_t *bench_ask(bench *b, json_t *request) {
    json_t *reply = NULL;
    bench_worker *w = b->worker;
    char *text = w && request ? json_dumps(request, JSON_COMPACT) : NULL, *line = NULL;
    size_t cap = 0;
    json_decref(request);
    if (!text) return NULL;
    bool sent = fprintf(w->to, "%s\n", text) > 0 && fflush(w->to) == 0;
    free(text);
    if (!sent || getline(&line, &cap, w->from) <= 0) {
        bench_note(b, "the peers' process ended early; see its messages above");
        bench_worker_close(w);
        b->worker = NULL;
    } else {
        reply = json_loads(line, 0, NULL);
    }
    free(line);
    /* The peers' threads spin for some milliseconds before they sleep: the next sample is not to pay for it. */
    tn_sleep(0.03);
    const char *why = json_string_value(json_object_get(reply, "error"));
    if (!why) return reply;
    bench_note(b, "left out: %s", why);
    json_decref(reply);
    return NULL;
}

double bench_ask_number(bench *b, json_t *request) {
    json_t *r = bench_ask(b, request), *v = json_object_get(r, "value");
    double x = json_is_number(v) ? json_number_value(v) : NAN;
    json_decref(r);
    return x;
}
