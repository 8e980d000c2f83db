/* tenet VERB [--option value]... : finds the verb, reads its options, runs it.
 * Exit status: 0 done, 1 failed, 2 used wrongly, 130 interrupted. */
#include "base/log.h"
#include "base/signals.h"
#include "cmd/verbs.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

static int report(tn_status st, const tn_err *e) {
    if (st == TN_OK) return EXIT_DONE;
    tn_log_error(e);
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

static int run_verb(const tn_verb *v, int argc, char **argv) {
    tn_opts *o = NULL;
    tn_err e = {0};
    bool help = false;
    tn_status st = tn_opts_parse(v, argc, argv, &o, &help, &e);
    if (st == TN_OK && help) tn_help_verb(v, stdout);
    else if (st == TN_OK) st = v->run(o, &e);
    int code = report(st, &e);
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
