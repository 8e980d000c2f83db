/* Fault injection: the n-th wrapped call fails with a chosen errno. */
#include "base/fault.h"
#include "base/os.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

atomic_long tn_fault_count;
static atomic_int fault_errno;
static atomic_bool fault_fired;

void tn_fault_arm(long n, int err) {
    atomic_store(&fault_fired, false);
    atomic_store(&fault_errno, err);
    atomic_store(&tn_fault_count, n > 0 ? n : 0);
}

bool tn_fault_fired(void) { return atomic_load(&fault_fired); }

int tn_fault_take(void) {
    if (atomic_fetch_sub(&tn_fault_count, 1) != 1) return 0;
    atomic_store(&fault_fired, true);
    return atomic_load(&fault_errno);
}

/* TENET_FAULT="n:errno" lets a test fail a call inside the finished binary; at the end it says whether it
 * came to that, or how many calls there were. */
static long fault_armed;
__attribute__((constructor)) static void fault_from_environment(void) {
    const char *s = getenv("TENET_FAULT");
    char *end;
    if (!s) return;
    long n = strtol(s, &end, 10);
    long err = *end == ':' ? strtol(end + 1, NULL, 10) : EIO;
    if (n <= 0 || err <= 0) return;
    fault_armed = n;
    tn_fault_arm(n, (int)err);
}

__attribute__((destructor)) static void fault_report(void) {
    if (!fault_armed) return;
    if (tn_fault_fired()) fputs("tenet: fault: injected\n", stderr);
    else fprintf(stderr, "tenet: fault: %ld calls\n", fault_armed - atomic_load(&tn_fault_count));
}
