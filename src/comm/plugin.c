/* Finding and loading tenet-mpi.so. */
#include "base/os.h"
#include "base/proc.h"
#include "comm/mpi/plugin.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define HOW_TO_GET                                                                                 \
    "install an MPI library (Debian: apt install openmpi-bin libopenmpi-dev) and run `make` "      \
    "again, which "                                                                                \
    "builds build/tenet-mpi.so when there is mpicc; `make install` puts it into "                  \
    "PREFIX/lib/tenet. "                                                                           \
    "On one machine --ranks N needs no MPI"

/* The first place where the plugin is; *path lists all of them when it is nowhere. */
static bool find(tn_str *path) {
    tn_str dir = TN_STR_INIT, looked = TN_STR_INIT;
    const char *given = getenv("TENET_MPI");
    static const char *const places[] = {"tenet-mpi.so", "../lib/tenet/tenet-mpi.so"};
    bool found = false;
    if (given && *given) {
        tn_str_clear(path);
        tn_str_addz(path, given);
        return tn_exists(given);
    }
    tn_program_dir(&dir);
    for (int i = 0; i < 2 && !found; i++) {
        tn_path_join(path, dir.s ? dir.s : ".", places[i]);
        found = tn_exists(path->s);
        tn_str_addf(&looked, "%s%s", i ? " or " : "", path->s);
    }
    if (!found) {
        tn_str_clear(path);
        tn_str_add(path, looked.s, looked.len);
    }
    tn_str_free(&dir);
    tn_str_free(&looked);
    return found;
}

static tn_status load(const char *path, const tn_comm_plugin **p, tn_err *e) {
    /* global: parts of MPI libraries that are loaded later look for symbols of the first */
    void *h = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!h)
        return tn_fail(e, TN_STATE,
                       "%s cannot be loaded: %.200s. Is the MPI library that it was built with "
                       "gone? " HOW_TO_GET,
                       path, dlerror());
    *p = dlsym(h, TN_COMM_PLUGIN_SYMBOL);
    if (!*p || strcmp((*p)->version, TN_VERSION) != 0 || (*p)->comm_bytes != sizeof(tn_comm))
        return tn_fail(e, TN_STATE,
                       "%s is of another version of tenet (%s, this is %s); run `make` again", path,
                       *p ? (*p)->version : "unknown", TN_VERSION);
    return TN_OK;
}

tn_status tn_mpi_open(tn_comm **c, int ranks, double timeout, tn_err *e) {
    const tn_comm_plugin *p = NULL;
    tn_str path = TN_STR_INIT;
    int rank, size;
    void *priv;
    tn_status st;
    *c = NULL;
    if (find(&path))
        st = load(path.s, &p, e);
    else
        st = tn_fail(e, TN_STATE,
                     "this process was started as one of several, but the part that speaks MPI is "
                     "not at %s: " HOW_TO_GET ". --comm self runs each process on its own",
                     path.s);
    tn_str_free(&path);
    TN_TRY(st);
    TN_TRY(p->open(ranks, &rank, &size, &priv, e));
    return tn_comm_new(c, p->ops, rank, size, timeout, priv, e);
}
