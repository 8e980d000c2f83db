/* Two-stage Ctrl-C and the checkpoint request. */
#include "base/signals.h"
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static atomic_bool stop_flag, stop_known, checkpoint_flag; /* lock-free: safe in handlers */

static void on_stop(int sig) {
    if (atomic_exchange(&stop_flag, true)) _exit(128 + sig);
}

static void on_usr1(int sig) {
    (void)sig;
    atomic_store(&checkpoint_flag, true);
}

void tn_signals_install(void) {
    struct sigaction a;
    memset(&a, 0, sizeof a);
    sigemptyset(&a.sa_mask);
    a.sa_flags = SA_RESTART;
    a.sa_handler = on_stop;
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    a.sa_handler = on_usr1;
    sigaction(SIGUSR1, &a, NULL);
    a.sa_handler = SIG_IGN; /* a closed pipe shows as a failed write, with a message */
    sigaction(SIGPIPE, &a, NULL);
}

bool tn_stop_requested(void) { return atomic_load_explicit(&stop_flag, memory_order_relaxed); }
bool tn_stop_is_news(void) { return tn_stop_requested() && !atomic_exchange(&stop_known, true); }
bool tn_checkpoint_requested(void) { return atomic_exchange(&checkpoint_flag, false); }
void tn_request_stop(void) { atomic_store(&stop_flag, true); }
void tn_clear_stop(void) {
    atomic_store(&stop_flag, false);
    atomic_store(&stop_known, false);
    atomic_store(&checkpoint_flag, false);
}
