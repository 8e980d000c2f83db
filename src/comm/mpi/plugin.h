/* What tenet-mpi.so gives to the program that loads it. The plugin is compiled against one MPI library (handles
 * and constants differ between Open MPI and MPICH); the program knows none. */
#ifndef TN_COMM_MPI_PLUGIN_H
#define TN_COMM_MPI_PLUGIN_H
#include "comm/comm.h"

typedef struct tn_comm_plugin {
    const char *version; /* TN_VERSION of its sources */
    size_t comm_bytes;   /* sizeof(tn_comm) there */
    const tn_comm_ops *ops;
    /* Starts MPI (unless the program has). `ranks`: what the launcher says, 0: unknown. */
    tn_status (*open)(int ranks, int *rank, int *size, void **priv, tn_err *e);
} tn_comm_plugin;

#define TN_COMM_PLUGIN_SYMBOL "tn_comm_mpi_plugin"
#endif
