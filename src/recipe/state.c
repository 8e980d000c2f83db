/* OUT/run.json: what every stage was told, what it read and what it left, and what follows from that. */
#include "recipe/internal.h"
#include "base/manifest.h"
#include <inttypes.h>
#include <string.h>

struct tn_run_state {
    const tn_recipe *r;
    tn_str path, text;
    json_t *stages; /* name -> record, in the order of their first start */
    json_t *hashes; /* path -> checksum, of what does not change meanwhile */
};

const char *const tn_stage_state_text[] = {"to do", "changed", "begun", "complete", "changed by somebody", "in the way"};

static tn_status no_memory(tn_err *e) { return tn_fail(e, TN_NOMEM, "out of memory"); }

/* ---- paths ---- */

/* OUT/x as ${out}/x, NAME=OUT/x as NAME=${out}/x: what is recorded does not depend on where OUT is. */
static json_t *portable(const tn_recipe *r, const char *text) {
    const char *eq = strchr(text, '='), *rest = tn_recipe_below(r, text);
    tn_str t = TN_STR_INIT;
    if (!rest && eq && (rest = tn_recipe_below(r, eq + 1))) tn_str_add(&t, text, (size_t)(eq - text) + 1);
    if (!rest) return json_string(text);
    tn_str_addf(&t, "${out}%s%s", *rest ? "/" : "", rest);
    json_t *j = t.oom ? NULL : json_string(t.s);
    tn_str_free(&t);
    return j;
}

/* OUT/NAME SUFFIX, in s->text. */
static const char *product(tn_run_state *s, const char *name, const char *suffix) {
    tn_path_join(&s->text, s->r->out, name);
    tn_str_addz(&s->text, suffix);
    return s->text.s;
}

/* ---- checksums ---- */

static tn_status hash_path(const char *path, int depth, uint64_t *hash, tn_err *e);

/* Locks and other hidden files, seconds, and checkpoints (which may be removed) are no part of what was made. */
static bool counts(const char *name) {
    return name[0] != '.' && strcmp(name, "timing.jsonl") != 0 && strncmp(name, "checkpoint-", 11) != 0;
}

/* Names and contents. */
static tn_status hash_folder(const char *dir, int depth, uint64_t *hash, tn_err *e) {
    char **names = NULL;
    size_t n = 0;
    tn_str path = TN_STR_INIT;
    TN_TRY(tn_list_dir(dir, &names, &n, e));
    tn_status st = depth > 64 ? tn_fail(e, TN_IO, "folder %s is nested too deeply", dir) : TN_OK;
    for (size_t i = 0; i < n; i++) {
        if (st == TN_OK && counts(names[i])) {
            *hash = tn_hash64(names[i], strlen(names[i]), *hash);
            tn_path_join(&path, dir, names[i]);
            st = path.oom ? no_memory(e) : hash_path(path.s, depth + 1, hash, e);
        }
        tn_free(names[i]);
    }
    tn_free(names);
    tn_str_free(&path);
    return st;
}

static tn_status hash_path(const char *path, int depth, uint64_t *hash, tn_err *e) {
    uint64_t bytes;
    return tn_is_dir(path) ? hash_folder(path, depth, hash, e) : tn_hash_file(path, *hash, hash, &bytes, e);
}

/* New reference: hexadecimal digits, or null where there is nothing. */
static tn_status checksum(tn_run_state *s, const char *path, json_t **out, tn_err *e) {
    uint64_t hash = 1;
    char hex[20];
    *out = json_incref(json_object_get(s->hashes, path));
    if (*out) return TN_OK;
    if (!tn_exists(path)) {
        *out = json_null();
        return TN_OK;
    }
    TN_TRY(hash_path(path, 0, &hash, e));
    snprintf(hex, sizeof hex, "%016" PRIx64, hash);
    *out = json_string(hex);
    if (*out && json_object_set(s->hashes, path, *out) == 0) return TN_OK;
    json_decref(*out);
    *out = NULL;
    return no_memory(e);
}

/* What a stage makes is about to be another. */
static void forget(tn_run_state *s, const tn_stage *t) {
    const char *path, *rest;
    json_t *v;
    void *next;
    json_object_foreach_safe(s->hashes, next, path, v)
        for (int i = 0; i < t->n_makes; i++)
            if ((rest = tn_recipe_below(s->r, path)) && (tn_recipe_within(rest, t->makes[i]) || tn_recipe_within(t->makes[i], rest))) {
                json_object_del(s->hashes, path);
                break;
            }
}

/* ---- records ---- */

static json_t *command_of(const tn_recipe *r, const tn_stage *t) {
    json_t *a = json_array();
    for (int i = 0; i < t->argc; i++)
        if (json_array_append_new(a, portable(r, t->argv[i])) < 0) {
            json_decref(a);
            return NULL;
        }
    return a;
}

static tn_status reads_of(tn_run_state *s, const tn_stage *t, json_t **out, tn_err *e) {
    json_t *o = *out = json_object(), *hash;
    for (int i = 0; i < t->n_reads; i++) {
        json_t *name = portable(s->r, t->reads[i]);
        tn_status st = checksum(s, t->reads[i], &hash, e);
        if (st == TN_OK && (!name || json_object_set_new(o, json_string_value(name), hash) < 0)) st = no_memory(e);
        json_decref(name);
        TN_TRY(st);
    }
    return o ? TN_OK : no_memory(e);
}

static json_t *record_of(const tn_run_state *s, const char *stage) { return json_object_get(s->stages, stage); }

static tn_status save(tn_run_state *s, tn_err *e) {
    json_t *list = json_array(), *doc, *rec;
    const char *name;
    for (int i = 0; i < s->r->n; i++) /* those of the recipe in its order, then those that it no longer has */
        if (record_of(s, s->r->stage[i].name)) json_array_append(list, record_of(s, s->r->stage[i].name));
    json_object_foreach(s->stages, name, rec) {
        int i = 0;
        while (i < s->r->n && strcmp(name, s->r->stage[i].name) != 0) i++;
        if (i == s->r->n) json_array_append(list, rec);
    }
    bool whole = json_array_size(list) == json_object_size(s->stages);
    doc = whole ? json_pack("{s:s,s:O,s:O}", "recipe", s->r->name, "vars", s->r->vars, "stages", list) : NULL;
    tn_status st = doc ? tn_json_save(s->path.s, doc, false, e) : no_memory(e);
    json_decref(list);
    json_decref(doc);
    return st;
}

static tn_status read_records(tn_run_state *s, const json_t *doc, tn_err *e) {
    const char *name;
    json_t *list, *rec;
    size_t i;
    TN_TRY(tn_json_need_str(doc, "recipe", &name, s->path.s, e));
    if (strcmp(name, s->r->name) != 0)
        return tn_fail(e, TN_STATE, "%s holds a run of the recipe '%s', not of '%s'; take another --out", s->r->out, name, s->r->name);
    TN_TRY(tn_json_need(doc, "stages", JSON_ARRAY, &list, s->path.s, e));
    json_array_foreach(list, i, rec) {
        TN_TRY(tn_json_need_str(rec, "name", &name, s->path.s, e));
        if (json_object_set(s->stages, name, rec) < 0) return no_memory(e);
    }
    return TN_OK;
}

tn_status tn_run_state_open(tn_run_state **out, const tn_recipe *r, tn_err *e) {
    tn_run_state *s = *out = tn_calloc(1, sizeof *s);
    json_t *doc = NULL;
    if (!s) return no_memory(e);
    *s = (tn_run_state){.r = r, .path = TN_STR_INIT, .text = TN_STR_INIT, .stages = json_object(), .hashes = json_object()};
    tn_path_join(&s->path, r->out, "run.json");
    if (!s->stages || !s->hashes || s->path.oom) return no_memory(e);
    if (!tn_exists(s->path.s)) return TN_OK;
    TN_TRY(tn_json_load(s->path.s, &doc, e));
    tn_status st = read_records(s, doc, e);
    json_decref(doc);
    return st;
}

void tn_run_state_free(tn_run_state *s) {
    if (!s) return;
    json_decref(s->stages);
    json_decref(s->hashes);
    tn_str_free(&s->path);
    tn_str_free(&s->text);
    tn_free(s);
}

/* ---- what is to be done ---- */

/* Has some stage of this folder's runs made it, or was it at it? */
static bool known(const tn_run_state *s, const char *made, const json_t *hash) {
    const char *name;
    json_t *rec;
    json_object_foreach(s->stages, name, rec) {
        const json_t *was = json_object_get(json_object_get(rec, "makes"), made);
        if (was && (json_is_null(was) || json_equal(was, hash))) return true;
    }
    return false;
}

/* Products of a stage without a record: of a stage that was called otherwise, or nobody's. */
static tn_status state_unknown(tn_run_state *s, const tn_stage *t, tn_stage_state *state, tn_str *why, tn_err *e) {
    json_t *hash;
    *state = TN_STAGE_NEW;
    for (int i = 0; i < t->n_makes && *state != TN_STAGE_FOREIGN; i++) {
        TN_TRY(checksum(s, product(s, t->makes[i], ""), &hash, e));
        if (!json_is_null(hash)) {
            *state = known(s, t->makes[i], hash) ? TN_STAGE_STALE : TN_STAGE_FOREIGN;
            tn_str_clear(why);
            tn_str_addz(why, t->makes[i]);
        }
        json_decref(hash);
    }
    return TN_OK;
}

/* Is what the complete stage left still there, and as it was? */
static tn_status compare_products(tn_run_state *s, const json_t *rec, tn_stage_state *state, tn_str *why, tn_err *e) {
    const char *name;
    json_t *was, *is;
    json_object_foreach(json_object_get(rec, "makes"), name, was) {
        TN_TRY(checksum(s, product(s, name, ""), &is, e));
        bool same = json_equal(was, is), gone = json_is_null(is);
        json_decref(is);
        if (same) continue;
        tn_str_clear(why);
        tn_str_addf(why, gone ? "%s is gone" : "%s", name);
        *state = gone ? TN_STAGE_NEW : TN_STAGE_CHANGED;
        if (!gone) return TN_OK;
    }
    return TN_OK;
}

/* The first word in which two commands differ, with the option before it. */
static void name_difference(const json_t *was, const json_t *is, tn_str *why) {
    size_t i = 0, n = json_array_size(is);
    while (i < n && json_equal(json_array_get(was, i), json_array_get(is, i))) i++;
    const char *word = json_string_value(json_array_get(is, i)), *before = i ? json_string_value(json_array_get(is, i - 1)) : NULL;
    const char *old = json_string_value(json_array_get(was, i));
    tn_str_addf(why, "its command is another: %s%s%s was %s", before ? before : "", before ? " " : "", word ? word : "(nothing)",
                old ? old : "(nothing)");
}

static tn_status compare_command(tn_run_state *s, const tn_stage *t, const json_t *rec, tn_stage_state *state, tn_str *why, tn_err *e) {
    json_t *command = command_of(s->r, t), *reads = NULL, *hash;
    const json_t *was = json_object_get(rec, "reads"), *makes = json_object_get(rec, "makes");
    const char *path;
    size_t said = why->len;
    tn_status st = command ? reads_of(s, t, &reads, e) : no_memory(e);
    if (st == TN_OK && !json_equal(command, json_object_get(rec, "command"))) name_difference(json_object_get(rec, "command"), command, why);
    if (st == TN_OK && why->len == said) json_object_foreach(reads, path, hash)
            if (!json_equal(hash, json_object_get(was, path))) {
                tn_str_addf(why, "%s is another", path);
                break;
            }
    for (int i = 0; i < t->n_makes && why->len == said; i++)
        if (!json_object_get(makes, t->makes[i])) tn_str_addf(why, "%s is a new product", t->makes[i]);
    if (why->len > said) *state = TN_STAGE_STALE;
    json_decref(command);
    json_decref(reads);
    return st;
}

tn_status tn_run_state_of(tn_run_state *s, int stage, tn_stage_state *state, tn_str *why, tn_err *e) {
    const tn_stage *t = &s->r->stage[stage];
    const json_t *rec = record_of(s, t->name);
    const char *was = json_string_value(json_object_get(rec, "state"));
    tn_str_clear(why);
    if (!was) return state_unknown(s, t, state, why, e);
    *state = strcmp(was, "done") == 0 ? TN_STAGE_DONE : TN_STAGE_BEGUN;
    if (*state == TN_STAGE_DONE) TN_TRY(compare_products(s, rec, state, why, e));
    if (*state == TN_STAGE_DONE || *state == TN_STAGE_BEGUN) return compare_command(s, t, rec, state, why, e);
    return TN_OK;
}

bool tn_run_state_begun(const tn_run_state *s, int stage) {
    const char *was = json_string_value(json_object_get(record_of(s, s->r->stage[stage].name), "state"));
    return was && !strcmp(was, "begun");
}

/* ---- what was done ---- */

static tn_status put(tn_run_state *s, const tn_stage *t, const char *state, json_t *makes, tn_err *e) {
    json_t *command = command_of(s->r, t), *reads = NULL, *rec = NULL;
    tn_status st = command && makes ? reads_of(s, t, &reads, e) : no_memory(e);
    if (st == TN_OK)
        rec = json_pack("{s:s,s:s,s:s,s:O,s:O,s:O}", "name", t->name, "state", state, "version", TN_VERSION, "command", command, "reads", reads,
                        "makes", makes);
    if (st == TN_OK && (!rec || json_object_set(s->stages, t->name, rec) < 0)) st = no_memory(e);
    if (st == TN_OK) st = save(s, e);
    json_decref(command);
    json_decref(reads);
    json_decref(rec);
    return st;
}

/* Folders are renamed first: what bears a product's name is whole. */
static tn_status remove_products(tn_run_state *s, const tn_stage *t, bool parts, tn_err *e) {
    for (int i = 0; i < t->n_makes; i++) {
        const char *path = product(s, t->makes[i], "");
        TN_TRY(tn_is_dir(path) ? tn_retire_tree(path, e) : tn_remove_tree(path, e));
        if (parts) TN_TRY(tn_remove_tree(product(s, t->makes[i], ".part"), e));
    }
    return TN_OK;
}

/* The folders in which products are. */
static tn_status make_folders(tn_run_state *s, const tn_stage *t, tn_err *e) {
    for (int i = 0; i < t->n_makes; i++) {
        if (!strchr(t->makes[i], '/')) continue;
        product(s, t->makes[i], "");
        *strrchr(s->text.s, '/') = 0;
        TN_TRY(tn_mkdirs(s->text.s, e));
        TN_TRY(tn_commit_mend(s->text.s, e));
    }
    return TN_OK;
}

tn_status tn_run_state_begin(tn_run_state *s, int stage, tn_stage_state state, tn_err *e) {
    const tn_stage *t = &s->r->stage[stage];
    bool goes_on = t->verb->goes_on || tn_verb_option(t->verb, "resume-from-checkpoint", 22);
    if (state != TN_STAGE_BEGUN || !goes_on) TN_TRY(remove_products(s, t, state != TN_STAGE_BEGUN, e));
    forget(s, t);
    TN_TRY(make_folders(s, t, e));
    for (int i = 0; i < t->n_makes; i++) /* what a killed process left half written */
        if (tn_is_dir(product(s, t->makes[i], ""))) TN_TRY(tn_commit_mend(s->text.s, e));
    json_t *makes = json_object();
    for (int i = 0; i < t->n_makes; i++)
        if (json_object_set_new(makes, t->makes[i], json_null()) < 0) {
            json_decref(makes);
            return no_memory(e);
        }
    tn_status st = put(s, t, "begun", makes, e);
    json_decref(makes);
    return st;
}

tn_status tn_run_state_done(tn_run_state *s, int stage, tn_err *e) {
    const tn_stage *t = &s->r->stage[stage];
    json_t *makes = json_object(), *hash;
    tn_status st = TN_OK;
    forget(s, t);
    for (int i = 0; i < t->n_makes && st == TN_OK; i++) {
        const char *path = product(s, t->makes[i], "");
        if (!tn_exists(path))
            st = tn_fail(e, TN_STATE, "stage '%s' has left no %s, which its 'makes' promises", t->name, path);
        else st = tn_sync_tree(path, e);
        if (st == TN_OK) st = checksum(s, path, &hash, e);
        if (st == TN_OK && json_object_set_new(makes, t->makes[i], hash) < 0) st = no_memory(e);
    }
    if (st == TN_OK) st = put(s, t, "done", makes, e);
    json_decref(makes);
    return st;
}
