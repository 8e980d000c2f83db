/* tenet VERB [--option value]... : finds the verb, reads its options, runs it.
 * Exit status: 0 done, 1 failed, 2 used wrongly, 130 interrupted. */
#include "base/log.h"
#include "base/os.h"
#include "base/signals.h"
#include "cmd/verbs.h"
#include "comm/comm.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

/* Of several ranks one says what went wrong. Before they are joined each fails on its own, mostly all with the
 * same message: the first rank's comes at once, and mpirun then ends the others. */
static bool speaks(void) {
    const tn_comm *c = tn_comm_world();
    int rank, ranks;
    if (c->size > 1) return c->rank == c->speaker;
    bool wait = tn_comm_launched(&rank, &ranks) && rank > 0;
    for (int i = 0; wait && i < 100 && !tn_stop_requested(); i++) tn_sleep(0.02);
    return !wait || !tn_stop_requested();
}

static int report(tn_status st, const tn_err *e) {
    if (st == TN_OK) return EXIT_DONE;
    if (speaks()) tn_log_error(e);
    return st == TN_INTERRUPTED ? EXIT_INTERRUPTED : st == TN_ARG ? EXIT_USAGE : EXIT_FAILED;
}

/* A full disk shows only when the last buffer is written. */
static int close_stdout(int code) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return code;
    tn_err e = {0};
    tn_fail(&e, TN_IO, "cannot write to standard output: %s", strerror(errno));
    return code ? code : report(TN_IO, &e);
}

static int unknown_verb(const char *name) {
    const char *near = tn_verb_nearest(name);
    tn_err e = {0};
    return report(tn_fail(&e, TN_ARG, "unknown verb '%s'%s%s%s ('tenet --help' lists the verbs)",
                          name, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : ""),
                  &e);
}

/* --ranks N: from here on this process is N. *parent: it waited for them, *code is their exit status. */
static tn_status become_ranks(const tn_verb *v, const tn_opts *o, bool *parent, int *code, tn_err *e) {
    int rank, n;
    bool launched = tn_comm_launched(&rank, &n);
    *parent = false;
    if (launched && !tn_opts_has(o, "ranks"))
        return tn_fail(e, TN_ARG,
                       "'tenet %s' runs as one process, but mpirun or srun started several; only training "
                       "verbs share their work",
                       v->name);
    if (launched || !tn_opts_has(o, "ranks") || tn_opts_int(o, "ranks") < 2) return TN_OK;
    return tn_comm_world_fork((int)tn_opts_int(o, "ranks"), tn_opts_real(o, "comm-timeout"), parent, code, e);
}

static int run_verb(const tn_verb *v, int argc, char **argv) {
    tn_opts *o = NULL;
    tn_err e = {0};
    bool help = false, parent = false;
    int code = EXIT_DONE;
    tn_status st = tn_opts_parse(v, argc, argv, &o, &help, &e);
    if (st == TN_OK && help) tn_help_verb(v, stdout);
    else if (st == TN_OK) {
        st = become_ranks(v, o, &parent, &code, &e);
        if (st == TN_OK && !parent) st = v->run(o, &e);
    }
    if (st != TN_OK) code = report(st, &e);
    tn_opts_free(o);
    return close_stdout(code);
}

/* help [--man] [VERB] */
static int explain(char **args) {
    bool man = args[0] && !strcmp(args[0], "--man");
    const char *name = args[man];
    const tn_verb *v = name ? tn_verb_find(name) : NULL;
    if (name && !v) return unknown_verb(name);
    if (man && v) tn_man_verb(v, stdout);
    else if (man) tn_man_all(tn_verbs, stdout);
    else if (v) tn_help_verb(v, stdout);
    else tn_help_all(tn_verbs, stdout);
    return close_stdout(EXIT_DONE);
}

int main(int argc, char **argv) {
    tn_signals_install();
    if (argc < 2) {
        tn_help_all(tn_verbs, stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (!strcmp(name, "--version") || !strcmp(name, "version")) {
        printf("tenet %s\n", TN_VERSION);
        return close_stdout(EXIT_DONE);
    }
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help"))
        return explain(argv + 2);
    const tn_verb *v = tn_verb_find(name);
    if (!v) return unknown_verb(name);
    return run_verb(v, argc - 2, argv + 2);
}
