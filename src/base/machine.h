/* What the machine under this process is: CPU, caches, memory, limits. Read from /proc, /sys and
 * the control groups (versions 1 and 2); what cannot be found out is 0, empty or false.     */
#ifndef TN_BASE_MACHINE_H
#define TN_BASE_MACHINE_H
#include "base/str.h"

typedef struct tn_machine {
    char system[96], kernel[96]; /* "Debian GNU/Linux 12 (bookworm)", "6.1.0-13-amd64" */
    char cpu[96];                /* model name */
    tn_str flags;                /* " fpu vme ... ": the kernel's list, a blank before and after */
    int cpus, cores, sockets;    /* logical CPUs of the machine, physical cores, packages */
    int cpus_here;               /* CPUs this process may run on */
    size_t l1d, l2, l3;          /* bytes, of the first CPU; l3 is often shared */
    size_t memory, memory_free;  /* bytes; what can be had without swapping */
    size_t memory_limit;         /* of the control groups, 0: none; memory_free keeps within it */
    double cpu_limit;            /* of the control groups, in CPUs; 0: none */
    bool container;
    char huge[16];               /* transparent huge pages: "always", "madvise", "never" */
    long huge_reserved;          /* pages set aside by the administrator */
} tn_machine;

/* `root` is put before every path: "" for this machine, a folder in tests. */
tn_status tn_machine_read(tn_machine *m, const char *root, tn_err *e);
void tn_machine_free(tn_machine *m);
bool tn_machine_has(const tn_machine *m, const char *flag); /* "avx2", "amx_tile", ... */

size_t tn_disk_free(const char *dir);                     /* bytes for this user; 0 if unknown */
bool tn_find_program(const char *name, tn_str *path);     /* along $PATH */
#endif
