/* tenet select: rows by the values of their keys. */
#include "base/log.h"
#include "cmd/closers.h"
#include "cmd/verbs.h"
#include <inttypes.h>
#include <string.h>

typedef struct select_options {
    tn_opt_list data, where, unless;
    const char *out;
    int64_t skip, first;
    double same_closer;
} select_options;

#define AT(field) offsetof(select_options, field)
static const tn_opt_row rows[] = {
    {"data", TN_OPT_LIST, AT(data), NULL, NULL, 0, 0, "input", "FILE", "Rows, JSONL or .jsonl.gz; repeatable, read in the order given."},
    {"where", TN_OPT_LIST, AT(where), NULL, NULL, 0, 0, NULL, "KEY=VALUE,...",
     "Keep rows whose KEY has one of the values. Of several conditions all must hold."},
    {"where-not", TN_OPT_LIST, AT(unless), NULL, NULL, 0, 0, NULL, "KEY=VALUE,...", "Leave out rows whose KEY has one of the values."},
    {"same-closer", TN_OPT_REAL, AT(same_closer), "0", NULL, 0, 1, NULL, "X",
     "Rows of several answers: leave out those whose answers are equal, and those of which one closes with a set phrase that another does not close "
     "with: a last sentence that a share of X of the answers (rows of equal ones not counted) have. 0: off."},
    {"skip", TN_OPT_INT, AT(skip), "0", NULL, 0, -1, NULL, "N", "Leave out the first so many of the rows that are left."},
    {"first", TN_OPT_INT, AT(first), "0", NULL, 0, -1, NULL, "N", "Keep the first so many of the rows that are left then; 0: all."},
    {"out", TN_OPT_STRING, AT(out), "-", NULL, 0, 0, NULL, "FILE", "Where the rows go, as they are; - is standard output."},
    TN_OPT_LAST};

typedef struct job {
    select_options o;
    tn_out *out;
    tn_closers closers; /* of all rows for which the conditions hold */
    size_t held;        /* of these, how many have been read again */
    int64_t read, found, kept;
} job;

/* A value as a condition writes it: a text as it is, numbers, true and false as in JSON. */
static tn_status value_text(const json_t *v, const char *where, tn_str *t, tn_err *e) {
    tn_str_clear(t);
    if (!json_is_string(v)) return tn_json_add(t, v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15), where, e);
    tn_str_add(t, json_string_value(v), json_string_length(v));
    return t->oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", where) : TN_OK;
}

/* Is the text one of the values that a comma separates? */
static bool among(const tn_str *t, const char *values) {
    for (;;) {
        size_t n = strcspn(values, ",");
        if (n == t->len && !memcmp(values, t->s, n)) return true;
        if (!values[n]) return false;
        values += n + 1;
    }
}

/* Has the row's key one of the values? A row without the key has none. */
static tn_status holds(const json_t *row, const char *condition, const char *where, bool *yes, tn_err *e) {
    const char *eq = strchr(condition, '=');
    tn_str t = TN_STR_INIT;
    tn_str_add(&t, condition, (size_t)(eq - condition));
    const json_t *v = json_object_get(row, t.s);
    tn_status st = t.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", where) : v ? value_text(v, where, &t, e) : TN_OK;
    *yes = st == TN_OK && v && among(&t, eq + 1);
    tn_str_free(&t);
    return st;
}

static tn_status wanted(const job *j, const json_t *row, const char *where, bool *yes, tn_err *e) {
    *yes = true;
    for (int i = 0; i < j->o.where.n && *yes; i++) TN_TRY(holds(row, j->o.where.v[i], where, yes, e));
    for (int i = 0; i < j->o.unless.n && *yes; i++) {
        TN_TRY(holds(row, j->o.unless.v[i], where, yes, e));
        *yes = !*yes;
    }
    return TN_OK;
}

static bool blank(const char *s, size_t n) {
    while (n && (s[n - 1] == ' ' || s[n - 1] == '\t' || s[n - 1] == '\r')) n--;
    return n == 0;
}

static tn_status note_closers(job *j, const char *line, size_t n, const char *where, tn_err *e) {
    json_t *row;
    bool yes = false;
    TN_TRY(tn_json_parse(line, n, where, &row, e));
    tn_status st = json_is_object(row) ? wanted(j, row, where, &yes, e) : TN_OK; /* others are refused at the second reading */
    if (st == TN_OK && yes) st = tn_closers_add(&j->closers, row, where, e);
    json_decref(row);
    return st;
}

static tn_status take(job *j, const char *line, size_t n, const char *where, tn_err *e) {
    json_t *row;
    bool yes;
    TN_TRY(tn_json_parse(line, n, where, &row, e));
    tn_status st = json_is_object(row) ? wanted(j, row, where, &yes, e) : tn_fail(e, TN_FORMAT, "%s: every line must be a JSON object", where);
    json_decref(row);
    j->read++;
    if (st == TN_OK && yes && j->o.same_closer > 0) yes = j->held < j->closers.rows && j->closers.alike[j->held++];
    if (st != TN_OK || !yes || j->found++ < j->o.skip) return st;
    j->kept++;
    TN_TRY(tn_out_write(j->out, line, n, e));
    return tn_out_write(j->out, "\n", 1, e);
}

static bool enough(const job *j) { return j->o.first && j->kept == j->o.first; }

typedef tn_status use_line(job *j, const char *line, size_t n, const char *where, tn_err *e);
static tn_status read_file(job *j, const char *path, use_line *use, tn_err *e) {
    tn_lines *lines;
    TN_TRY(tn_lines_open(&lines, path, (size_t)64 << 20, e));
    tn_status st = TN_OK;
    while (!enough(j)) {
        const char *line;
        char where[600];
        size_t n;
        st = tn_lines_next(lines, &line, &n, e);
        if (st != TN_OK || !line) break;
        if (blank(line, n)) continue;
        snprintf(where, sizeof where, "%.560s:%ld", path, tn_lines_number(lines));
        st = use(j, line, n, where, e);
        if (st != TN_OK) break;
    }
    tn_lines_close(lines);
    return st;
}

static tn_status check(const select_options *o, tn_err *e) {
    if (!o->data.n) return tn_fail(e, TN_ARG, "--data is missing; give the rows to select from");
    for (int i = 0; i < o->data.n && o->same_closer > 0; i++)
        if (!strcmp(o->data.v[i], "-")) return tn_fail(e, TN_ARG, "--same-closer reads --data twice, which standard input cannot be; give a file");
    for (int i = 0; i < o->where.n + o->unless.n; i++) {
        const char *c = i < o->where.n ? o->where.v[i] : o->unless.v[i - o->where.n], *eq = strchr(c, '=');
        if (!eq || eq == c)
            return tn_fail(e, TN_ARG, "--where%s %s: KEY=VALUE or KEY=VALUE,VALUE is expected, like family=harmful,privacy",
                           i < o->where.n ? "" : "-not", c);
    }
    return TN_OK;
}

static tn_status read_files(job *j, use_line *use, tn_err *e) {
    for (int i = 0; i < j->o.data.n && !enough(j); i++) TN_TRY(read_file(j, j->o.data.v[i], use, e));
    return TN_OK;
}

static tn_status find_closers(job *j, tn_err *e) {
    if (j->o.same_closer <= 0) return TN_OK;
    TN_TRY(read_files(j, note_closers, e));
    return tn_closers_settle(&j->closers, j->o.same_closer, e);
}

static tn_status select_rows(job *j, tn_err *e) {
    TN_TRY(find_closers(j, e));
    TN_TRY(tn_out_open(&j->out, j->o.out, false, e));
    tn_status st = read_files(j, take, e);
    if (st == TN_OK && !j->kept) st = tn_fail(e, TN_FORMAT, "none of %" PRId64 " rows is selected; the conditions hold for %" PRId64, j->read, j->found);
    TN_TRY(tn_out_close(j->out, st, false, e));
    if (j->o.first && j->kept < j->o.first) tn_warn("--first %" PRId64 ": there are only %" PRId64, j->o.first, j->kept);
    tn_info("%" PRId64 " of %" PRId64 " rows selected%s", j->kept, j->read, enough(j) ? " (the others were not read)" : "");
    return TN_OK;
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    job j = {0};
    tn_opts_bind(opts, rows, &j.o);
    TN_TRY(check(&j.o, e));
    tn_status st = select_rows(&j, e);
    tn_closers_free(&j.closers);
    return st;
}

static const tn_opt_row *const tables[] = {rows, NULL};
const tn_verb tn_verb_select = {
    .name = "select",
    .stage = "Files",
    .summary = "rows by the values of their keys, and the first so many",
    .details = "Rows are written as they were read, byte for byte. Values are compared as texts; numbers, true and false as JSON\n"
               "writes them. A row that lacks a key has none of its values.\n\n"
               "  tenet select --data prompts.jsonl --where family=harmful,privacy --out red-team.jsonl\n"
               "  tenet select --data prompts.jsonl --where-not family=harmful,privacy task=harmful --first 1150 --out helpful.jsonl\n"
               "  tenet select --data pairs.jsonl --same-closer 0.02 --out comparable.jsonl",
    .tables = tables,
    .run = run};
