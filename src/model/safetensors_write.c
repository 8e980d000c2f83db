/* Writing of safetensors, in one file or in shards with an index; see safetensors.h. */
#include "base/log.h"
#include "model/half.h"
#include "model/safetensors.h"
#include <string.h>

tn_status tn_st_save_dtype(const char *name, tn_st_save *out, tn_err *e) {
    *out = TN_ST_SAVE_F32;
    if (!strcmp(name, "float32")) return TN_OK;
    *out = TN_ST_SAVE_BF16;
    if (!strcmp(name, "bfloat16")) return TN_OK;
    return tn_fail(e, TN_ARG, "weights are written as float32 or bfloat16, not \"%s\"", name);
}

static size_t out_count(const tn_st_out *t) {
    size_t n = 1;
    for (int i = 0; i < t->n_dim; i++) n *= (size_t)t->shape[i];
    return n;
}
static size_t out_bytes(const tn_st_out *t, tn_st_save dtype) {
    return out_count(t) * (t->bytes ? 1 : dtype == TN_ST_SAVE_F32 ? 4 : 2);
}

static void add_header(tn_str *h, const tn_st_out *t, size_t n, tn_st_save dtype) {
    size_t at = 0;
    tn_str_addz(h, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < n; i++) {
        tn_str_addc(h, ',');
        tn_str_add_json(h, t[i].name, strlen(t[i].name));
        tn_str_addf(h, ":{\"dtype\":\"%s\",\"shape\":[", t[i].bytes ? "U8" : dtype == TN_ST_SAVE_F32 ? "F32" : "BF16");
        for (int k = 0; k < t[i].n_dim; k++)
            tn_str_addf(h, "%s%lld", k ? "," : "", (long long)t[i].shape[k]);
        size_t end = at + out_bytes(&t[i], dtype);
        tn_str_addf(h, "],\"data_offsets\":[%zu,%zu]}", at, end);
        at = end;
    }
    tn_str_addc(h, '}');
    while (!h->oom && h->len % 8) tn_str_addc(h, ' '); /* data begin on a multiple of 8 */
}

typedef struct tn_chunk {
    float f[TN_ST_CHUNK];
    uint16_t h[TN_ST_CHUNK];
} tn_chunk;

static tn_status write_tensor(tn_out *o, const tn_st_out *t, tn_st_save dtype, tn_chunk *c,
                              tn_err *e) {
    size_t count = out_count(t);
    for (size_t at = 0; at < count; at += TN_ST_CHUNK) {
        size_t n = count - at < TN_ST_CHUNK ? count - at : TN_ST_CHUNK;
        t->read(t->ctx, at, n, c->f);
        if (t->bytes) TN_TRY(tn_out_write(o, c->f, n, e));
        else if (dtype == TN_ST_SAVE_F32) TN_TRY(tn_out_write(o, c->f, n * 4, e));
        else {
            for (size_t i = 0; i < n; i++) c->h[i] = tn_f32_to_bf16(c->f[i]);
            TN_TRY(tn_out_write(o, c->h, n * 2, e));
        }
    }
    return TN_OK;
}

tn_status tn_st_write_file(const char *path, const tn_st_out *t, size_t n, tn_st_save dtype,
                           tn_err *e) {
    tn_str h = TN_STR_INIT;
    tn_out *o = NULL;
    tn_status st = TN_OK;
    tn_chunk *c = tn_malloc(sizeof *c);
    add_header(&h, t, n, dtype);
    if (!c || h.oom) TN_GO(tn_fail(e, TN_NOMEM, "%s: out of memory", path), done);
    TN_GO(tn_out_open(&o, path, false, e), done);
    uint8_t len[8];
    for (int i = 0; i < 8; i++) len[i] = (uint8_t)((uint64_t)h.len >> (8 * i));
    TN_GO(tn_out_write(o, len, 8, e), done);
    TN_GO(tn_out_write(o, h.s, h.len, e), done);
    for (size_t i = 0; i < n; i++) TN_GO(write_tensor(o, &t[i], dtype, c, e), done);
done:
    st = tn_out_close(o, st, true, e);
    tn_free(c);
    tn_str_free(&h);
    return st;
}

/* ---------------- shards ---------------- */

/* Number of tensors of the shard that begins at t[0]: as many as fit, at least one. */
static size_t shard_take(const tn_st_out *t, size_t n, tn_st_save dtype, size_t limit) {
    size_t k = 1, bytes = out_bytes(&t[0], dtype);
    while (k < n && bytes + out_bytes(&t[k], dtype) <= limit) bytes += out_bytes(&t[k++], dtype);
    return k;
}

static bool is_weights(const char *name) {
    size_t n = strlen(name);
    if (!strcmp(name, "model.safetensors") || !strcmp(name, "model.safetensors.index.json"))
        return true;
    return !strncmp(name, "model-", 6) && n > 18 && !strcmp(name + n - 12, ".safetensors") &&
           strstr(name, "-of-");
}

/* Weights of another set would be read in place of these, or waste space. */
static tn_status remove_others(const char *dir, const json_t *keep, tn_err *e) {
    char **names;
    size_t n;
    TN_TRY(tn_list_dir(dir, &names, &n, e));
    tn_str path = TN_STR_INIT;
    tn_status st = TN_OK;
    for (size_t i = 0; i < n; i++) {
        if (st == TN_OK && is_weights(names[i]) && !json_object_get(keep, names[i])) {
            tn_path_join(&path, dir, names[i]);
            st = path.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", dir)
                          : tn_remove_tree(path.s, e);
        }
        tn_free(names[i]);
    }
    tn_free(names);
    tn_str_free(&path);
    return st;
}

static tn_status write_shards(const char *dir, const tn_st_out *t, size_t n, tn_st_save dtype,
                              size_t limit, size_t shards, json_t *keep, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_status st = TN_OK;
    json_t *map = json_object();
    size_t at = 0, total = 0;
    for (size_t i = 0; i < shards; i++) {
        char name[64];
        size_t take = shard_take(t + at, n - at, dtype, limit);
        if (shards == 1) snprintf(name, sizeof name, "model.safetensors");
        else snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, shards);
        tn_path_join(&path, dir, name);
        if (path.oom) TN_GO(tn_fail(e, TN_NOMEM, "%s: out of memory", dir), done);
        TN_GO(tn_st_write_file(path.s, t + at, take, dtype, e), done);
        json_object_set_new(keep, name, json_true());
        for (size_t k = 0; k < take; k++) {
            json_object_set_new(map, t[at + k].name, json_string(name));
            total += out_bytes(&t[at + k], dtype);
        }
        at += take;
    }
    if (shards == 1) goto done;
    json_t *index =
        json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t)total, "weight_map", map);
    json_object_set_new(keep, "model.safetensors.index.json", json_true());
    tn_path_join(&path, dir, "model.safetensors.index.json");
    st = path.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", dir)
                  : tn_json_save(path.s, index, false, e); /* NULL: memory is out */
    json_decref(index);
done:
    json_decref(map);
    tn_str_free(&path);
    return st;
}

tn_status tn_st_write_dir(const char *dir, const tn_st_out *t, size_t n, tn_st_save dtype,
                          size_t shard_bytes, tn_err *e) {
    size_t shards = 0;
    if (n == 0) return tn_fail(e, TN_ARG, "%s: there are no tensors to write", dir);
    for (size_t at = 0; at < n; shards++) at += shard_take(t + at, n - at, dtype, shard_bytes);
    json_t *keep = json_object();
    if (!keep) return tn_fail(e, TN_NOMEM, "%s: out of memory", dir);
    tn_status st = write_shards(dir, t, n, dtype, shard_bytes, shards, keep, e);
    if (st == TN_OK) st = tn_json_check(dir, e); /* a name lost from `keep` would lose its file */
    if (st == TN_OK) st = remove_others(dir, keep, e);
    json_decref(keep);
    return st;
}
