/* What a run is made of, and whether it may go on from a checkpoint.
 *
 * The record (tenet.json) holds verb, options, numeric profile and the checksums of rows and models.
 * Another verb, other rows or other models are refused: the checkpoint's counters, moments and reference
 * would belong to something else. Other values of options are somebody's decision, and are named. */
#include "train/trainer.h"
#include "base/log.h"
#include "base/manifest.h"
#include <string.h>

/* Models that a run reads, as their options are called. */
static const char *const inputs[] = {"model", "ref-model", "reward-model", "teacher-model", "cost-model"};
enum { N_INPUT = sizeof inputs / sizeof *inputs };

static bool ends_in(const char *s, const char *tail) {
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

/* Goes on with the checksum of a folder: the configurations and the weights. */
static tn_status hash_folder(const char *dir, uint64_t *hash, tn_err *e) {
    char **names = NULL;
    size_t n = 0;
    tn_str path = TN_STR_INIT;
    tn_status st = TN_OK;
    TN_TRY(tn_list_dir(dir, &names, &n, e));
    for (size_t i = 0; i < n; i++) {
        if (st == TN_OK && (!strcmp(names[i], "config.json") || !strcmp(names[i], "adapter_config.json") ||
                             ends_in(names[i], ".safetensors"))) {
            uint64_t bytes;
            tn_path_join(&path, dir, names[i]);
            st = path.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", dir)
                          : tn_hash_file(path.s, *hash, hash, &bytes, e);
        }
        tn_free(names[i]);
    }
    tn_free(names);
    tn_str_free(&path);
    return st;
}

/* Of a model folder; an adapter's base counts, too. */
static tn_status hash_model(const char *dir, const char *base, uint64_t *hash, tn_err *e) {
    tn_str under = TN_STR_INIT;
    tn_status st = hash_folder(dir, hash, e);
    if (st == TN_OK && tn_adapter_folder(dir)) {
        st = tn_adapter_base(dir, base, &under, e);
        if (st == TN_OK) st = hash_folder(under.s, hash, e);
    }
    tn_str_free(&under);
    return st;
}

static json_t *hex(uint64_t hash) {
    char s[20];
    snprintf(s, sizeof s, "%016llx", (unsigned long long)hash);
    return json_string(s);
}

static tn_status hash_inputs(json_t *to, const json_t *options, tn_err *e) {
    const char *base = json_string_value(json_object_get(options, "base-model"));
    for (int i = 0; i < N_INPUT; i++) {
        const json_t *v = json_object_get(options, inputs[i]), *one;
        const char *dir = json_string_value(v);
        uint64_t hash = 1;
        size_t k;
        if (dir) TN_TRY(hash_model(dir, base, &hash, e));
        json_array_foreach(v, k, one) TN_TRY(hash_model(json_string_value(one), base, &hash, e));
        if (!dir && json_array_size(v) == 0) continue;
        if (json_object_set_new(to, inputs[i], hex(hash)) < 0)
            return tn_fail(e, TN_NOMEM, "out of memory");
    }
    return TN_OK;
}

/* How a run was begun or gone on with is no part of what it is: with or without an interruption its record is the same. */
static tn_status forget_beginnings(json_t *options, tn_err *e) {
    bool ok = true;
    if (json_object_get(options, "resume-from-checkpoint"))
        ok = json_object_set_new(options, "resume-from-checkpoint", json_null()) == 0;
    if (json_object_get(options, "overwrite")) ok = ok && json_object_set_new(options, "overwrite", json_false()) == 0;
    return ok ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

tn_status tn_run_record(json_t **record, const char *verb, const tn_opts *opts, const tn_backend *be,
                        uint64_t data_hash, tn_err *e) {
    json_t *o = tn_opts_record(opts), *in = json_object();
    tn_status st = o && in ? hash_inputs(in, o, e) : tn_fail(e, TN_NOMEM, "out of memory");
    *record = NULL;
    if (st == TN_OK) st = forget_beginnings(o, e);
    if (st == TN_OK) {
        *record = json_pack("{s:s,s:s,s:s,s:s,s:o,s:O,s:O}", "tool", "tenet", "version", TN_VERSION,
                            "verb", verb, "profile", be->profile, "data_hash", hex(data_hash),
                            "inputs", in, "options", o);
        if (!*record) st = tn_fail(e, TN_NOMEM, "out of memory");
    }
    json_decref(o);
    json_decref(in);
    return st;
}

/* ---- resume ---- */

/* Options that may differ without a word: where things are, what is compared by checksum or profile, what
 * does not touch the numbers, and an adapter's shape, which is the checkpoint's (train/adapters.c). */
static bool is_free(const char *name) {
    static const char *const free_names[] = {
        "model",   "ref-model", "reward-model", "teacher-model", "cost-model", "data",       "eval-data",        "output-dir",
        "dry-run", "overwrite", "threads",      "backend",    "kernels",          "dtype",
        "resume-from-checkpoint",               "save-steps", "save-total-limit", "save-dtype",
        "max-memory", "base-model", "profile", "report-to", "logging-dir", "ptx-data",
        "gen-batch-size", "offload", "optim", "recompute", "gradient-checkpointing", "use-peft", "lora-r", "lora-alpha",
        "use-rslora", "lora-target-modules"};
    for (size_t i = 0; i < sizeof free_names / sizeof *free_names; i++)
        if (!strcmp(name, free_names[i])) return true;
    return false;
}

static tn_status name_difference(const char *from, const char *name, const json_t *was,
                                 const json_t *is, tn_err *e) {
    tn_str a = TN_STR_INIT, b = TN_STR_INIT;
    tn_status st = tn_json_add(&a, was, JSON_REAL_PRECISION(12), name, e);
    if (st == TN_OK) st = tn_json_add(&b, is, JSON_REAL_PRECISION(12), name, e);
    if (st == TN_OK)
        tn_warn("--%s is %s, and was %s when %s was made: the run goes on with the new value, and will "
                "not end as an uninterrupted one",
                name, b.s, a.s, from);
    tn_str_free(&a);
    tn_str_free(&b);
    return st;
}

static const char *text(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "none";
}

static tn_status compare(const char *from, const json_t *was, const json_t *is, tn_err *e) {
    const char *name;
    json_t *v;
    if (strcmp(text(was, "verb"), text(is, "verb")) != 0)
        return tn_fail(e, TN_STATE, "%s was made by `tenet %s`; `tenet %s` cannot continue it", from,
                       text(was, "verb"), text(is, "verb"));
    const json_t *a = json_object_get(was, "inputs"), *b = json_object_get(is, "inputs");
    for (int i = 0; i < N_INPUT; i++)
        if (strcmp(text(a, inputs[i]), text(b, inputs[i])) != 0)
            return tn_fail(e, TN_STATE,
                           "%s was trained with another --%s (checksum %s, this one has %s); resume with "
                           "the model that the run began with",
                           from, inputs[i], text(a, inputs[i]), text(b, inputs[i]));
    if (strcmp(text(was, "data_hash"), text(is, "data_hash")) != 0)
        return tn_fail(e, TN_STATE,
                       "%s was trained on other rows (hash %s, these are %s); resume with the same "
                       "--data, order of files, tokenizer and options of rows",
                       from, text(was, "data_hash"), text(is, "data_hash"));
    if (strcmp(text(was, "profile"), text(is, "profile")) != 0)
        tn_warn("the checkpoint's numeric profile is %s, this run's is %s: the run goes on, its bits will "
                "differ from an uninterrupted one",
                text(was, "profile"), text(is, "profile"));
    json_t *old = json_object_get(was, "options"), *new = json_object_get(is, "options");
    const char *optim = json_string_value(json_object_get(old, "optim"));
    optim = optim ? optim : "adamw_torch";
    if (tn_moments_from_option(optim) != tn_moments_from_option(text(new, "optim")))
        return tn_fail(e, TN_STATE,
                       "%s was made with --optim %s, and its moments are kept that way; --optim %s cannot continue it",
                       from, optim, text(new, "optim"));
    json_object_foreach(new, name, v) {
        const json_t *o = json_object_get(old, name);
        if (o && !is_free(name) && !json_equal(o, v))
            TN_TRY(name_difference(from, name, o, v, e));
    }
    return TN_OK;
}

tn_status tn_resume_check(const char *from, const json_t *record, tn_err *e) {
    tn_str path = TN_STR_INIT;
    json_t *was = NULL;
    tn_path_join(&path, from, "tenet.json");
    tn_status st = path.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", from)
                            : tn_json_load(path.s, &was, e);
    if (st == TN_OK) st = compare(from, was, record, e);
    json_decref(was);
    tn_str_free(&path);
    return st;
}
