/* tenet report: a page about an evaluation and the runs behind it. */
#include "report/cai.h"
#include "base/log.h"
#include "cmd/verbs.h"
#include <string.h>

typedef struct report_options {
    const char *out, *eval, *title, *constitution;
    tn_opt_list runs, record;
} report_options;

#define AT(f) offsetof(report_options, f)
static const tn_opt_row rows[] = {
    {"out", TN_OPT_STRING, AT(out), NULL, NULL, 0, 0, NULL, "FILE", "The page, e.g. report.html."},
    {"eval", TN_OPT_STRING, AT(eval), NULL, NULL, 0, 0, NULL, "DIR",
     "Folder of `tenet eval`: eval.json and, for answers, samples.jsonl."},
    {"runs", TN_OPT_LIST, AT(runs), NULL, NULL, 0, 0, "run", "NAME=DIR",
     "Output folders of training verbs; a bare DIR is named after its last part."},
    {"record", TN_OPT_LIST, AT(record), NULL, NULL, 0, 0, NULL, "PATH",
     "Instead: a page of a Constitutional AI run, on which every answer, critique, revision and comparison can be read. Folders and files of it: what "
     "`tenet critique`, `label`, `eval` and `compare` wrote, and NAME=FILE for later answers of `tenet generate`."},
    {"constitution", TN_OPT_STRING, AT(constitution), NULL, NULL, 0, 0, NULL, "FILE", "With --record: the principles' texts."},
    {"title", TN_OPT_STRING, AT(title), NULL, NULL, 0, 0, NULL, "TEXT", "Heading of the page."},
    TN_OPT_LAST};

static const char *option_default(const char *verb, const char *option) {
    const tn_verb *v = tn_verb_find(verb);
    for (const tn_opt_row *const *t = v ? v->tables : NULL; t && *t; t++)
        for (const tn_opt_row *w = *t; w->type != TN_OPT_END; w++)
            if (!strcmp(w->name, option)) return w->def;
    return NULL;
}

static tn_status make_folder_of(const char *path, tn_err *e) {
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path) return TN_OK;
    char *dir = tn_strdup(path);
    if (!dir) return tn_fail(e, TN_NOMEM, "out of memory");
    dir[slash - path] = 0;
    tn_status st = tn_mkdirs(dir, e);
    tn_free(dir);
    return st;
}

static tn_status record(const report_options *o, tn_str *page, tn_err *e) {
    if (o->eval || o->runs.n) return tn_fail(e, TN_ARG, "--record makes a page of its own; leave --eval and --runs to another one");
    tn_cai c = {.title = o->title};
    tn_status st = tn_cai_load(&c, o->record, o->constitution, e);
    if (st == TN_OK) st = tn_cai_page(&c, page, e);
    tn_cai_free(&c);
    return st;
}

static tn_status report(const report_options *o, tn_str *page, tn_err *e) {
    tn_report r = {.title = o->title, .option_default = option_default};
    tn_status st = tn_report_load(&r, o->eval, o->runs, e);
    if (st == TN_OK) st = tn_report_page(&r, page, e);
    tn_report_free(&r);
    return st;
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    report_options o = {0};
    tn_opts_bind(opts, rows, &o);
    if (!o.out) return tn_fail(e, TN_ARG, "--out is missing; say where the page goes, e.g. --out report.html");
    tn_str page = TN_STR_INIT;
    tn_status st = o.record.n ? record(&o, &page, e) : report(&o, &page, e);
    if (st == TN_OK) st = make_folder_of(o.out, e);
    if (st == TN_OK) st = tn_write_file(o.out, page.s, page.len, e);
    if (st == TN_OK) tn_info("wrote %s (%zu kB)", o.out, (page.len + 999) / 1000);
    tn_str_free(&page);
    return st;
}

static const tn_opt_row *const tables[] = {rows, NULL};
const tn_verb tn_verb_report = {
    .name = "report", .stage = "Measure", .summary = "an HTML page of an evaluation and of training runs",
    .details = "One file without outside resources or scripts: true reward with intervals, what the models do, answers\n"
               "side by side, training curves, learned against true reward, and what was run. The record of a constitutional run\n"
               "has a script of its own, to search it by; tables and plots do without.\n\n"
               "  tenet report --eval eval --runs sft=sft rm=rm dpo=dpo ppo=ppo --out report.html\n"
               "  tenet report --runs sft=sft --out sft.html\n"
               "  tenet report --record cai/ --constitution constitutions/default.json --out record.html",
    .tables = tables, .run = run};
