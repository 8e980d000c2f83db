/* tenet split: feedback rows into training and held-out files, rows of one first prompt together. */
#include "base/log.h"
#include "base/rng.h"
#include "cmd/verbs.h"
#include "data/first_prompt.h"
#include <string.h>

typedef struct split_options {
    tn_opt_list data;
    const char *train, *held_out;
    double share;
    int64_t seed;
} split_options;

#define AT(field) offsetof(split_options, field)
static const tn_opt_row rows[] = {
    {"data", TN_OPT_LIST, AT(data), NULL, NULL, 0, 0, "input", "FILE",
     "Rows of any format that training verbs read, JSONL or .jsonl.gz; repeatable."},
    {"train-out", TN_OPT_STRING, AT(train), NULL, NULL, 0, 0, "train", "FILE",
     "Where the training rows go, in their order."},
    {"held-out", TN_OPT_STRING, AT(held_out), NULL, NULL, 0, 0, "test", "FILE",
     "Where the held-out rows go, in their order."},
    {"held-out-rows", TN_OPT_REAL, AT(share), "0.1", NULL, 0, 1e15, "test-size", "N|SHARE",
     "Hold out at least so many rows; below 1: that share of all rows."},
    {"seed", TN_OPT_INT, AT(seed), "42", NULL, 0, -1, NULL, "S", "Seed of the draw."},
    TN_OPT_LAST};

/* One row as it was read, and the number of its group (rows with the same first prompt). */
typedef struct kept {
    tn_str text;
    uint32_t group;
} kept;

typedef struct job {
    split_options o;
    kept *row;
    size_t n, cap;
    json_t *groups;  /* first prompt's hash -> number */
    uint32_t *size;  /* [n_group] rows */
    size_t n_group, cap_size;
    bool *held;      /* [n_group] */
} job;

static tn_status add_row(job *j, const json_t *row, const char *where, tn_err *e) {
    tn_str key = TN_STR_INIT;
    bool found = tn_row_first_prompt(row, &key);
    char name[40];
    snprintf(name, sizeof name, "%016llx.%zu", (unsigned long long)tn_hash64(key.s, key.len, 1),
             key.len);
    bool oom = key.oom;
    tn_str_free(&key);
    if (!found)
        return tn_fail(e, TN_FORMAT,
                       "%s: no prompt; expected \"prompt\", \"messages\", \"chosen\", \"text\" or ids",
                       where);
    if (oom || !TN_GROW(j->row, j->cap, j->n + 1) || !TN_GROW(j->size, j->cap_size, j->n_group + 1))
        return tn_fail(e, TN_NOMEM, "%s: out of memory", where);
    const json_t *g = json_object_get(j->groups, name);
    if (!g) {
        if (json_object_set_new(j->groups, name, json_integer((json_int_t)j->n_group)))
            return tn_fail(e, TN_NOMEM, "%s: out of memory", where);
        j->size[j->n_group++] = 0;
        g = json_object_get(j->groups, name);
    }
    kept *k = &j->row[j->n];
    k->group = (uint32_t)json_integer_value(g);
    k->text = (tn_str)TN_STR_INIT;
    j->size[k->group]++;
    j->n++;
    return tn_json_add(&k->text, row, JSON_COMPACT, where, e);
}

static tn_status read_file(job *j, const char *path, tn_err *e) {
    tn_lines *lines;
    TN_TRY(tn_lines_open(&lines, path, (size_t)64 << 20, e));
    tn_status st = TN_OK;
    for (;;) {
        json_t *row = NULL;
        TN_GO(tn_jsonl_next(lines, path, &row, e), done);
        if (!row) break;
        char where[600];
        snprintf(where, sizeof where, "%.560s:%ld", path, tn_lines_number(lines));
        st = add_row(j, row, where, e);
        json_decref(row);
        if (st != TN_OK) break;
    }
done:
    tn_lines_close(lines);
    return st;
}

/* Groups in a drawn order are held out until there are enough rows. */
static tn_status choose(job *j, size_t *rows_held, size_t *groups_held, tn_err *e) {
    double want = j->o.share < 1 ? j->o.share * (double)j->n : j->o.share;
    uint32_t *order = tn_calloc(j->n_group + 1, sizeof *order);
    j->held = tn_calloc(j->n_group + 1, sizeof *j->held);
    if (!order || !j->held) {
        tn_free(order);
        return tn_fail(e, TN_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < j->n_group; i++) order[i] = (uint32_t)i;
    tn_rng rng = tn_rng_stream((uint64_t)j->o.seed, TN_RNG_SPLIT, 0);
    tn_rng_shuffle(&rng, order, j->n_group);
    for (size_t i = 0; i < j->n_group && (double)*rows_held < want; i++) {
        j->held[order[i]] = true;
        *rows_held += j->size[order[i]];
        ++*groups_held;
    }
    tn_free(order);
    if (*groups_held == j->n_group)
        return tn_fail(e, TN_ARG,
                       "--held-out-rows %g leaves no row to train on: there are %zu rows about %zu "
                       "first prompts",
                       j->o.share, j->n, j->n_group);
    return TN_OK;
}

static tn_status write_rows(const job *j, const char *path, bool held, tn_err *e) {
    tn_out *out;
    TN_TRY(tn_out_open(&out, path, false, e));
    tn_status st = TN_OK;
    for (size_t i = 0; i < j->n && st == TN_OK; i++) {
        if (j->held[j->row[i].group] != held) continue;
        st = tn_out_write(out, j->row[i].text.s, j->row[i].text.len, e);
        if (st == TN_OK) st = tn_out_write(out, "\n", 1, e);
    }
    return tn_out_close(out, st, false, e);
}

static tn_status work(job *j, tn_err *e) {
    if (!j->o.data.n) return tn_fail(e, TN_ARG, "split needs --data FILE");
    if (!j->o.train || !j->o.held_out)
        return tn_fail(e, TN_ARG, "split needs --train-out FILE and --held-out FILE");
    size_t rows_held = 0, groups_held = 0;
    j->groups = json_object();
    if (!j->groups) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i < j->o.data.n; i++) TN_TRY(read_file(j, j->o.data.v[i], e));
    TN_TRY(choose(j, &rows_held, &groups_held, e));
    TN_TRY(write_rows(j, j->o.train, false, e));
    TN_TRY(write_rows(j, j->o.held_out, true, e));
    tn_info("%zu rows about %zu first prompts: %zu rows (%zu prompts) to train on, %zu rows (%zu prompts) "
            "held out",
            j->n, j->n_group, j->n - rows_held, j->n_group - groups_held, rows_held, groups_held);
    return TN_OK;
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    job j = {0};
    tn_opts_bind(opts, rows, &j.o);
    tn_status st = work(&j, e);
    for (size_t i = 0; i < j.n; i++) tn_str_free(&j.row[i].text);
    tn_free(j.row);
    tn_free(j.size);
    tn_free(j.held);
    json_decref(j.groups);
    return st;
}

static const tn_opt_row *const tables[] = {rows, NULL};
const tn_verb tn_verb_split = {
    .name = "split",
    .stage = "Files",
    .summary = "feedback rows into training and held-out files, by first prompt",
    .details = "Rows whose conversations begin with the same user turn stay together, so that no held-out row\n"
               "is about a prompt that was trained on. Rows are written as they were read.\n\n"
               "  tenet split --data helpful.jsonl.gz harmless.jsonl.gz --held-out-rows 800 \\\n"
               "      --train-out train.jsonl --held-out held-out.jsonl",
    .tables = tables,
    .run = run};
