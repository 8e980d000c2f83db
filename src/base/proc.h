/* Copies of this process on the same machine, what they share, and which CPUs they may use. */
#ifndef TN_BASE_PROC_H
#define TN_BASE_PROC_H
#include "base/str.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed memory that later forks see, too; NULL when there is none. */
void *tn_shared_alloc(size_t bytes);
void tn_shared_free(void *p, size_t bytes);

/* Sleeps while *a == seen, at most `seconds`; wakes early for no reason, too. Between processes. */
void tn_shared_wait(atomic_uint *a, unsigned seen, double seconds);
void tn_shared_wake(atomic_uint *a);

/* A copy of this process: *pid is 0 in the copy, which gets SIGTERM when its parent dies and is in a process
 * group of its own (a terminal's Ctrl-C reaches the parent, which passes it on). To be called while there is
 * one thread. */
tn_status tn_fork(long *pid, tn_err *e);
/* Has it ended? *status: exit status, or 128 + the signal that killed it, with *sig (0: none). */
bool tn_child_ended(long pid, int *status, int *sig);
void tn_child_signal(long pid, int sig); /* SIGTERM, SIGUSR1, SIGKILL */
long tn_process_id(void);
long tn_parent_id(void);          /* another one's when the parent has ended */
bool tn_process_lives(long pid);  /* of any process of this user */

/* Another program. It reads nothing, or what tn_child_say writes; what it writes is read here. It is killed (SIGKILL) when its parent dies, and is in a
 * process group of its own. */
typedef struct tn_child {
    long pid;
    int from[2]; /* its standard output and error; -1 once they have ended */
    int to;      /* its standard input; -1: empty */
} tn_child;
/* argv ends in NULL; program: its path, NULL: this program, also when its file has been replaced. `held` (-1: none): a
 * descriptor that the child, too, keeps open as long as it lives, such as a lock's. */
tn_status tn_child_start(tn_child *c, const char *program, char *const argv[], int held, tn_err *e);
/* One that is talked to. tn_child_say waits until it has taken all n bytes; TN_IO when it has ended. */
tn_status tn_child_start_listening(tn_child *c, const char *program, char *const argv[], tn_err *e);
tn_status tn_child_say(tn_child *c, const char *buf, size_t n, tn_err *e);
/* Waits at most `seconds` for bytes: *got of them (0: none came) from standard output (*which 0) or error (1). */
tn_status tn_child_read(tn_child *c, double seconds, char *buf, size_t n, size_t *got, int *which, tn_err *e);
void tn_child_close(tn_child *c); /* what it has not read is lost; it finds its input at an end */

void tn_program_dir(tn_str *out); /* folder of the running program; "" when unknown */
/* A file or folder that comes with the program: NAME as it stands, else beside the sources or where `make install` puts it;
 * NAME itself when it is nowhere. Cleared first. */
void tn_shipped_path(const char *name, tn_str *out);

/* Bit i of mask: may this process run on CPU i? Returns how many (1 at least). */
enum { TN_CPU_WORDS = 16 };
int tn_cpu_mask(uint64_t mask[TN_CPU_WORDS]);
/* A number that processes on one running machine, and only those, have in common. */
uint64_t tn_machine_id(void);
#endif
