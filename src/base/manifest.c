/* {"version": 1, "files": {"model.safetensors": {"bytes": 78424, "hash": "9f0c..."}, ...}} */
#include "base/manifest.h"
#include "base/json.h"
#include <inttypes.h>
#include <string.h>

static const char manifest_name[] = "manifest.json";

tn_status tn_hash_file(const char *path, uint64_t seed, uint64_t *hash, uint64_t *bytes, tn_err *e) {
    tn_map m;
    TN_TRY(tn_map_file(path, &m, e));
    *hash = tn_hash64(m.p ? (const void *)m.p : "", m.n, seed);
    *bytes = m.n;
    tn_unmap(&m);
    return TN_OK;
}

static tn_status list_file(json_t *files, const char *path, const char *name, tn_err *e) {
    uint64_t hash, bytes;
    char hex[20];
    TN_TRY(tn_hash_file(path, 1, &hash, &bytes, e));
    snprintf(hex, sizeof hex, "%016" PRIx64, hash);
    json_t *f = json_pack("{s:I,s:s}", "bytes", (json_int_t)bytes, "hash", hex);
    if (!f || json_object_set_new(files, name, f) < 0)
        return tn_fail(e, TN_NOMEM, "%s: out of memory", path);
    return TN_OK;
}

/* Adds the files below DIR/BELOW under their paths from DIR. */
static tn_status list_tree(json_t *files, const char *dir, const char *below, tn_err *e) {
    tn_str root = TN_STR_INIT, path = TN_STR_INIT, name = TN_STR_INIT;
    char **names = NULL;
    size_t n = 0;
    tn_status st;
    tn_path_join(&root, dir, below);
    TN_GO(tn_list_dir(root.oom ? dir : root.s, &names, &n, e), done);
    for (size_t i = 0; i < n; i++) {
        tn_path_join(&path, root.s, names[i]);
        if (*below) tn_path_join(&name, below, names[i]);
        else tn_str_clear(&name), tn_str_addz(&name, names[i]);
        if (root.oom || path.oom || name.oom)
            TN_GO(tn_fail(e, TN_NOMEM, "%s: out of memory", dir), done);
        if (tn_is_dir(path.s)) TN_GO(list_tree(files, dir, name.s, e), done);
        else if (strcmp(name.s, manifest_name) != 0)
            TN_GO(list_file(files, path.s, name.s, e), done);
    }
done:
    for (size_t i = 0; i < n; i++) tn_free(names[i]);
    tn_free(names);
    tn_str_free(&root);
    tn_str_free(&path);
    tn_str_free(&name);
    return st;
}

tn_status tn_manifest_write(const char *dir, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, dir, manifest_name);
    json_t *files = json_object(), *root = NULL;
    tn_status st = files && !path.oom ? list_tree(files, dir, "", e)
                                      : tn_fail(e, TN_NOMEM, "%s: out of memory", dir);
    if (st == TN_OK) {
        root = json_pack("{s:i,s:O}", "version", 1, "files", files);
        st = root ? tn_json_save(path.s, root, true, e)
                  : tn_fail(e, TN_NOMEM, "%s: out of memory", dir);
    }
    json_decref(files);
    json_decref(root);
    tn_str_free(&path);
    return st;
}

static tn_status check_file(const char *dir, const char *name, const json_t *f, tn_err *e) {
    tn_str path = TN_STR_INIT;
    uint64_t hash = 0, bytes = 0, want = (uint64_t)json_integer_value(json_object_get(f, "bytes"));
    const char *hex = json_string_value(json_object_get(f, "hash"));
    char found[20];
    tn_path_join(&path, dir, name);
    tn_status st = TN_OK;
    if (path.oom) st = tn_fail(e, TN_NOMEM, "%s: out of memory", dir);
    else if (!hex || strstr(name, ".."))
        st = tn_fail(e, TN_STATE, "%s/%s: the entry of %s is not understood", dir, manifest_name,
                     name);
    else if (!tn_exists(path.s))
        st = tn_fail(e, TN_STATE, "%s is missing; the manifest lists it with %" PRIu64 " bytes",
                     path.s, want);
    else st = tn_hash_file(path.s, 1, &hash, &bytes, e);
    snprintf(found, sizeof found, "%016" PRIx64, hash);
    if (st == TN_OK && bytes != want)
        st = tn_fail(e, TN_STATE,
                     "%s has %" PRIu64 " bytes where the manifest says %" PRIu64
                     ": it was cut or is of another checkpoint",
                     path.s, bytes, want);
    else if (st == TN_OK && strcmp(found, hex) != 0)
        st = tn_fail(e, TN_STATE,
                     "%s has checksum %s where the manifest says %s: it was changed or is of another "
                     "checkpoint",
                     path.s, found, hex);
    tn_str_free(&path);
    return st;
}

tn_status tn_manifest_check(const char *dir, tn_err *e) {
    tn_str path = TN_STR_INIT;
    json_t *root = NULL, *f;
    const char *name;
    tn_path_join(&path, dir, manifest_name);
    tn_status st = TN_OK;
    if (path.oom) TN_GO(tn_fail(e, TN_NOMEM, "%s: out of memory", dir), done);
    if (!tn_exists(path.s))
        TN_GO(tn_fail(e, TN_STATE, "%s has no %s, which every complete checkpoint has", dir,
                      manifest_name),
              done);
    TN_GO(tn_json_load(path.s, &root, e), done);
    json_t *files = json_object_get(root, "files");
    if (!json_is_object(files) || json_integer_value(json_object_get(root, "version")) != 1)
        TN_GO(tn_fail(e, TN_STATE, "%s is no manifest of version 1", path.s), done);
    json_object_foreach(files, name, f) TN_GO(check_file(dir, name, f, e), done);
done:
    json_decref(root);
    tn_str_free(&path);
    return st;
}
