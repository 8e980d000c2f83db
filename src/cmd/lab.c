/* tenet lab: the evaluations of an experiment's seeds in one table. */
#include "report/lab.h"
#include "base/log.h"
#include "cmd/verbs.h"
#include <stdio.h>

typedef struct lab_options {
    const char *out, *title, *claim, *published, *against, *metric;
    tn_opt_list evals, columns;
} lab_options;

#define AT(f) offsetof(lab_options, f)
static const tn_opt_row rows[] = {
    {"evals", TN_OPT_LIST, AT(evals), NULL, NULL, 0, 0, NULL, "DIR",
     "Folders of `tenet eval`, one for each seed, with the same names of models. values.jsonl in a folder adds numbers of your own: "
     "rows {\"name\": \"arm\", \"key\": number, ...}."},
    {"out", TN_OPT_STRING, AT(out), NULL, NULL, 0, 0, NULL, "DIR", "Folder of table.md, lab.json and page.html."},
    {"against", TN_OPT_STRING, AT(against), NULL, NULL, 0, 0, NULL, "NAME", "Model that the others are compared with, seed by seed."},
    {"metric", TN_OPT_STRING, AT(metric), NULL, NULL, 0, 0, NULL, "KEY",
     "The number that says how an arm did, of which every seed is shown and differences are taken (default: reward)."},
    {"columns", TN_OPT_LIST, AT(columns), NULL, NULL, 0, 0, NULL, "KEY[:HEADING[:DIGITS]]",
     "Of the Markdown table, as eval.json and values.jsonl call them (default: reward reward_held proxy kl length); the page has all."},
    {"title", TN_OPT_STRING, AT(title), NULL, NULL, 0, 0, NULL, "TEXT", "Heading."},
    {"claim", TN_OPT_STRING, AT(claim), NULL, NULL, 0, 0, NULL, "TEXT", "What the experiment is to show."},
    {"published", TN_OPT_STRING, AT(published), NULL, NULL, 0, 0, NULL, "TEXT", "What others report, with its source."},
    TN_OPT_LAST};

static tn_status write_text(const char *dir, const char *file, const tn_str *text, tn_err *e) {
    tn_str p = TN_STR_INIT;
    tn_path_join(&p, dir, file);
    tn_status st = p.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_write_file(p.s, text->s, text->len, e);
    tn_str_free(&p);
    return st;
}

static tn_status write_all(const tn_lab *l, const char *dir, tn_err *e) {
    tn_str table = TN_STR_INIT, page = TN_STR_INIT, p = TN_STR_INIT;
    json_t *j = tn_lab_json(l);
    tn_status st = tn_mkdirs(dir, e);
    tn_path_join(&p, dir, "lab.json");
    if (st == TN_OK && (!j || p.oom)) st = tn_fail(e, TN_NOMEM, "out of memory");
    if (st == TN_OK) st = tn_json_save(p.s, j, false, e);
    if (st == TN_OK) st = tn_lab_markdown(l, &table, e);
    if (st == TN_OK) st = tn_lab_page(l, &page, e);
    if (st == TN_OK) st = write_text(dir, "table.md", &table, e);
    if (st == TN_OK) st = write_text(dir, "page.html", &page, e);
    if (st == TN_OK) {
        fputs(table.s, stdout);
        tn_info("wrote %s/table.md, lab.json and page.html", dir);
    }
    json_decref(j);
    tn_str_free(&table);
    tn_str_free(&page);
    tn_str_free(&p);
    return st;
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    lab_options o = {0};
    tn_opts_bind(opts, rows, &o);
    if (!o.out) return tn_fail(e, TN_ARG, "--out is missing; say where the table goes, e.g. --out lab/online-dpo");
    tn_lab l = {.title = o.title, .claim = o.claim, .published = o.published, .against = o.against, .metric = o.metric, .columns = o.columns};
    tn_status st = tn_lab_load(&l, o.evals, e);
    if (st == TN_OK) st = write_all(&l, o.out, e);
    tn_lab_free(&l);
    return st;
}

static const tn_opt_row *const tables[] = {rows, NULL};
const tn_verb tn_verb_lab = {
    .name = "lab", .stage = "Measure", .summary = "one table from the evaluations of an experiment's seeds",
    .details = "Every seed is shown; intervals are over seeds. recipes/lab.sh runs the experiments that ship with tenet.\n\n"
               "  tenet lab --evals seed1/eval seed2/eval seed3/eval --against dpo --title \"Online and offline DPO\" --out lab/online",
    .tables = tables, .run = run};
