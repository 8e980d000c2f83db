/* Processes, memory between them, CPUs. */
#include "base/proc.h"
#include "base/fault.h"
#include "base/os.h"
#include "base/sys.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void *tn_shared_alloc(size_t bytes) {
    if (tn_fault()) return NULL;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void tn_shared_free(void *p, size_t bytes) {
    if (p) munmap(p, bytes);
}

void tn_shared_wait(atomic_uint *a, unsigned seen, double seconds) {
    struct timespec t = {(time_t)seconds, 0};
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    syscall(SYS_futex, (void *)a, FUTEX_WAIT, seen, &t, NULL, 0);
}

void tn_shared_wake(atomic_uint *a) {
    syscall(SYS_futex, (void *)a, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

tn_status tn_fork(long *pid, tn_err *e) {
    pid_t parent = getpid();
    int err = tn_fault();
    *pid = err ? -1 : fork();
    if (*pid < 0)
        return tn_fail(e, TN_IO, "cannot start another process: %s", strerror(err ? err : errno));
    if (*pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) raise(SIGTERM); /* it died in between */
    }
    return TN_OK;
}

bool tn_child_ended(long pid, int *status, int *sig) {
    int w;
    pid_t r;
    do r = waitpid((pid_t)pid, &w, WNOHANG);
    while (r < 0 && errno == EINTR);
    if (r == 0) return false;
    *sig = r > 0 && WIFSIGNALED(w) ? WTERMSIG(w) : 0;
    *status = r < 0 ? 1 : *sig ? 128 + *sig : WEXITSTATUS(w);
    return true;
}

void tn_child_signal(long pid, int sig) { kill((pid_t)pid, sig); }

long tn_process_id(void) { return getpid(); }
long tn_parent_id(void) { return getppid(); }
bool tn_process_lives(long pid) { return pid > 0 && (kill((pid_t)pid, 0) == 0 || errno != ESRCH); }

/* In the child: descriptors, then the program. Comes back only when there is none. */
static void become(const char *program, char *const argv[], int held, int in, const int to[2], pid_t parent) {
    if (in < 0) in = open("/dev/null", O_RDONLY);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || in < 0 || dup2(in, 0) < 0 || dup2(to[0], 1) < 0 || dup2(to[1], 2) < 0) return;
    if (held >= 0 && dup(held) < 0) return;
    execv(program ? program : "/proc/self/exe", argv);
    dprintf(2, "tenet: error: cannot run %s: %s\n", program ? program : argv[0], strerror(errno));
}

static tn_status start(tn_child *c, const char *program, char *const argv[], int held, bool listens, tn_err *e) {
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, failed = tn_fault();
    pid_t parent = getpid();
    *c = (tn_child){-1, {-1, -1}, -1};
    if (failed) errno = failed;
    else if ((!listens || pipe2(in, O_CLOEXEC) == 0) && pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0) c->pid = fork();
    if (c->pid == 0) {
        become(program, argv, held, in[0], (const int[2]){out[1], err[1]}, parent);
        _exit(127);
    }
    failed = c->pid < 0 ? errno : 0;
    if (in[0] >= 0) close(in[0]);
    if (out[1] >= 0) close(out[1]);
    if (err[1] >= 0) close(err[1]);
    c->from[0] = out[0], c->from[1] = err[0], c->to = in[1];
    if (!failed) return TN_OK;
    tn_child_close(c);
    return tn_fail(e, TN_IO, "cannot start another process: %s", strerror(failed));
}

tn_status tn_child_start(tn_child *c, const char *program, char *const argv[], int held, tn_err *e) {
    return start(c, program, argv, held, false, e);
}

tn_status tn_child_start_listening(tn_child *c, const char *program, char *const argv[], tn_err *e) {
    return start(c, program, argv, -1, true, e);
}

tn_status tn_child_say(tn_child *c, const char *buf, size_t n, tn_err *e) {
    if (tn_sys_write_all(c->to, buf, n) == 0) return TN_OK;
    return tn_fail(e, TN_IO, "process %ld does not take what it is told: %s", c->pid, strerror(errno));
}

tn_status tn_child_read(tn_child *c, double seconds, char *buf, size_t n, size_t *got, int *which, tn_err *e) {
    struct pollfd p[2] = {{.fd = c->from[0], .events = POLLIN}, {.fd = c->from[1], .events = POLLIN}};
    *got = 0;
    if (poll(p, 2, (int)(seconds * 1000)) <= 0) return TN_OK; /* or a signal: the caller looks */
    for (int i = 0; i < 2; i++) {
        if (c->from[i] < 0 || !p[i].revents) continue;
        ssize_t r = tn_sys_read(c->from[i], buf, n);
        if (r < 0) return tn_fail(e, TN_IO, "cannot read what process %ld writes: %s", c->pid, strerror(errno));
        if (r > 0) {
            *got = (size_t)r, *which = i;
            return TN_OK;
        }
        close(c->from[i]);
        c->from[i] = -1;
    }
    return TN_OK;
}

void tn_child_close(tn_child *c) {
    for (int i = 0; i < 2; i++) {
        if (c->from[i] >= 0) close(c->from[i]);
        c->from[i] = -1;
    }
    if (c->to >= 0) close(c->to);
    c->to = -1;
}

void tn_program_dir(tn_str *out) {
    char path[4096];
    ssize_t n = tn_fault() ? -1 : readlink("/proc/self/exe", path, sizeof path);
    tn_str_clear(out);
    while (n > 0 && path[n - 1] != '/') n--;
    if (n > 1) tn_str_add(out, path, (size_t)n - 1);
}

void tn_shipped_path(const char *name, tn_str *out) {
    static const char *const places[] = {"..", "../share/tenet"};
    tn_str dir = TN_STR_INIT, at = TN_STR_INIT;
    tn_program_dir(&dir);
    for (int i = 0; i < 2 && *name != '/' && !tn_exists(name); i++) {
        tn_path_join(&at, dir.s ? dir.s : ".", places[i]);
        tn_path_join(out, at.s, name);
        if (tn_exists(out->s)) break;
        tn_str_clear(out);
    }
    if (out->len == 0 || *name == '/' || tn_exists(name)) {
        tn_str_clear(out);
        tn_str_addz(out, name);
    }
    tn_str_free(&dir);
    tn_str_free(&at);
}

int tn_cpu_mask(uint64_t mask[TN_CPU_WORDS]) {
    cpu_set_t set;
    int n = 0;
    memset(mask, 0, TN_CPU_WORDS * sizeof *mask);
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (int i = 0; i < 64 * TN_CPU_WORDS && i < CPU_SETSIZE; i++)
            if (CPU_ISSET(i, &set)) mask[i / 64] |= (uint64_t)1 << i % 64, n++;
    if (n == 0) { /* more CPUs than the mask holds, or no answer: those that are on line */
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        n = online > 0 ? (int)online : 1;
        for (int i = 0; i < n && i < 64 * TN_CPU_WORDS; i++) mask[i / 64] |= (uint64_t)1 << i % 64;
    }
    return n;
}

/* The kernel draws its boot id once; containers of one machine see the same. */
uint64_t tn_machine_id(void) {
    tn_str s = TN_STR_INIT;
    uint64_t id = 0;
    if (tn_read_file("/proc/sys/kernel/random/boot_id", &s, 4096, NULL) == TN_OK)
        id = tn_hash64(s.s, s.len, 0);
    tn_str_free(&s);
    return id;
}
