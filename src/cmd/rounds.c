#include "cmd/rounds.h"
#include "base/bytes.h"
#include "base/mem.h"
#include <string.h>

tn_status tn_rounds_check(const tn_rounds_run *r, tn_err *e) {
    const tn_train_options *t = r->t;
    if (t->resume) return tn_fail(e, TN_ARG, "--resume-from-checkpoint: give the same command again; it goes on by itself");
    if (t->dry_run) return tn_fail(e, TN_ARG, "--dry-run: the rows of a round are only known when the ones before it are done");
    if (t->ranks > 1) return tn_fail(e, TN_ARG, "--ranks %d: %s runs as one process", (int)t->ranks, r->verb);
    if (t->max_rows) return tn_fail(e, TN_ARG, "--max-rows: rounds make rows of their own; shorten --data instead");
    return TN_OK;
}

/* ---- the folder ---- */

static bool is_ours(const tn_rounds_run *r, const char *name) {
    bool ours = !strncmp(name, "round-", 6) || !strcmp(name, "metrics.jsonl") || !strcmp(name, "tenet.json");
    for (const char *const *f = r->files; *f; f++) ours |= !strcmp(name, *f);
    return ours;
}

static tn_status clear(const tn_rounds_run *r, tn_err *e) {
    char **names = NULL;
    size_t n = 0;
    tn_str p = TN_STR_INIT;
    tn_status st = tn_list_dir(r->t->output_dir, &names, &n, e);
    for (size_t i = 0; i < n; i++) {
        tn_path_join(&p, r->t->output_dir, names[i]);
        if (st == TN_OK && is_ours(r, names[i])) st = p.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_remove_tree(p.s, e);
        tn_free(names[i]);
    }
    tn_free(names);
    tn_str_free(&p);
    return st;
}

/* Options that may differ between the commands of one run. */
static bool is_free(const char *name) {
    static const char *const names[] = {"output-dir", "threads", "overwrite", "data", "eval-data", "model", "max-memory", "profile",
                                        "save-steps", "save-total-limit", "report-to", "logging-dir", "recompute",
                                        "gradient-checkpointing"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name)) return true;
    return false;
}

static tn_status same_run(const char *path, const json_t *was, const json_t *is, tn_err *e) {
    static const char *const parts[] = {"verb", "inputs", "data_hash", "profile"};
    const char *name;
    json_t *v, *old = json_object_get(was, "options"), *now = json_object_get(is, "options");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!json_equal(json_object_get(was, parts[i]), json_object_get(is, parts[i])))
            return tn_fail(e, TN_STATE, "%s was begun with another %s; rounds do not mix: give another --output-dir, or --overwrite",
                           path, parts[i]);
    json_object_foreach(now, name, v)
        if (!is_free(name) && !json_equal(json_object_get(old, name), v))
            return tn_fail(e, TN_STATE,
                           "%s was begun with another --%s; rounds do not mix: give another --output-dir, or --overwrite", path,
                           name);
    return TN_OK;
}

tn_status tn_rounds_open(const tn_rounds_run *r, int *lock, tn_err *e) {
    json_t *record = NULL, *was = NULL;
    tn_str p = TN_STR_INIT;
    TN_TRY(tn_mkdirs(r->t->output_dir, e));
    TN_TRY(tn_lock_dir(r->t->output_dir, lock, e));
    TN_TRY(tn_commit_mend(r->t->output_dir, e));
    if (r->t->overwrite) TN_TRY(clear(r, e));
    TN_TRY(tn_run_record(&record, r->verb, r->opts, r->be, r->data_hash, e));
    tn_path_join(&p, r->t->output_dir, "tenet.json");
    tn_status st = p.oom ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
    if (st == TN_OK && tn_exists(p.s)) {
        st = tn_json_load(p.s, &was, e);
        if (st == TN_OK) st = same_run(p.s, was, record, e);
    } else if (st == TN_OK) {
        st = tn_json_save(p.s, record, false, e);
    }
    json_decref(record);
    json_decref(was);
    tn_str_free(&p);
    return st;
}

/* ---- a training ---- */

/* Is there a checkpoint to go on from? */
static tn_status has_checkpoint(const char *dir, bool *yes, tn_err *e) {
    char **names = NULL;
    size_t n = 0;
    *yes = false;
    if (!tn_is_dir(dir)) return TN_OK;
    TN_TRY(tn_list_dir(dir, &names, &n, e));
    for (size_t i = 0; i < n; i++) {
        *yes |= !strncmp(names[i], "checkpoint-", 11) && !strchr(names[i], '.');
        tn_free(names[i]);
    }
    tn_free(names);
    return TN_OK;
}

static bool has_option(const tn_verb *v, const char *name) {
    for (const tn_opt_row *const *t = v->tables; *t; t++)
        for (const tn_opt_row *r = *t; r->type != TN_OPT_END; r++)
            if (!strcmp(r->name, name)) return true;
    return false;
}

static json_t *options_for(const tn_rounds_run *r, const tn_verb *verb, const char *dir, bool again, const json_t *set) {
    json_t *all = tn_opts_record(r->opts), *o = json_object(), *v;
    const char *name;
    bool ok = all && o && set;
    json_object_foreach(all, name, v)
        if (!json_is_null(v) && has_option(verb, name)) ok = ok && json_object_set(o, name, v) == 0;
    ok = ok && json_object_set_new(o, "output-dir", json_string(dir)) == 0 && json_object_set_new(o, "overwrite", json_boolean(!again)) == 0 &&
         json_object_update(o, (json_t *)set) == 0;
    json_object_foreach((json_t *)set, name, v)
        if (json_is_null(v)) json_object_del(o, name);
    if (ok && again) ok = json_object_set_new(o, "resume-from-checkpoint", json_string("latest")) == 0;
    json_decref(all);
    if (!ok) json_decref(o);
    return ok ? o : NULL;
}

tn_status tn_rounds_train(const tn_rounds_run *r, const tn_verb *verb, const char *dir, json_t *set, tn_err *e) {
    bool again = false;
    tn_opts *opts = NULL;
    char where[64];
    tn_status st = has_checkpoint(dir, &again, e);
    json_t *o = st == TN_OK ? options_for(r, verb, dir, again, set) : NULL;
    if (st == TN_OK && !o) st = tn_fail(e, TN_NOMEM, "out of memory");
    snprintf(where, sizeof where, "options of %s", r->verb);
    if (st == TN_OK) st = tn_opts_from_json(verb, o, where, &opts, e);
    if (st == TN_OK) st = verb->run(opts, e);
    tn_opts_free(opts);
    json_decref(o);
    json_decref(set);
    return st == TN_INTERRUPTED ? tn_fail(e, st, "stopped while a round's model was trained; the same command goes on") : st;
}
