/* Reading of safetensors; see safetensors.h. A file is hostile until checked: every size is
 * compared before it is used, and nothing is allocated from a number that the file only claims. */
#include "model/safetensors.h"
#include "model/half.h"
#include <stdlib.h>
#include <string.h>

#define MAX_HEADER 100000000u /* the reference implementation's limit */

struct tn_st {
    tn_map *map;
    char **file; /* name of each mapped file */
    size_t n_map, cap_map, cap_file;
    json_t **root; /* parsed headers: own the names */
    size_t cap_root;
    tn_st_entry *entry;
    size_t n, cap;
    size_t bytes;
};

static const struct {
    const char *name;
    tn_st_dtype type;
    unsigned bits;
} dtypes[] = {
    {"F32", TN_ST_F32, 32},      {"F16", TN_ST_F16, 16},      {"BF16", TN_ST_BF16, 16},
    {"F64", TN_ST_F64, 64},      {"I64", TN_ST_OTHER, 64},    {"I32", TN_ST_OTHER, 32},
    {"I16", TN_ST_OTHER, 16},    {"I8", TN_ST_OTHER, 8},      {"U64", TN_ST_OTHER, 64},
    {"U32", TN_ST_OTHER, 32},    {"U16", TN_ST_OTHER, 16},    {"U8", TN_ST_OTHER, 8},
    {"BOOL", TN_ST_OTHER, 8},    {"C64", TN_ST_OTHER, 64},    {"F8_E4M3", TN_ST_OTHER, 8},
    {"F8_E5M2", TN_ST_OTHER, 8}, {"F8_E8M0", TN_ST_OTHER, 8},
};

/* ---------------- one header ---------------- */

static tn_status entry_dtype(tn_st_entry *t, const json_t *o, unsigned *bits, const char *where,
                             tn_err *e) {
    const char *name;
    TN_TRY(tn_json_need_str(o, "dtype", &name, where, e));
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (!strcmp(dtypes[i].name, name)) {
            t->dtype = dtypes[i].type;
            *bits = dtypes[i].bits;
            snprintf(t->dtype_name, sizeof t->dtype_name, "%s", name);
            return TN_OK;
        }
    return tn_fail(e, TN_FORMAT, "%s: unknown dtype \"%.32s\"", where, name);
}

static tn_status entry_shape(tn_st_entry *t, const json_t *o, const char *where, tn_err *e) {
    json_t *a;
    TN_TRY(tn_json_need(o, "shape", JSON_ARRAY, &a, where, e));
    if (json_array_size(a) > TN_ST_MAX_DIM)
        return tn_fail(e, TN_UNSUPPORTED, "%s: %zu dimensions; at most %d are supported", where,
                       json_array_size(a), TN_ST_MAX_DIM);
    t->n_dim = (int)json_array_size(a);
    t->count = 1;
    for (int i = 0; i < t->n_dim; i++) {
        const json_t *v = json_array_get(a, (size_t)i);
        json_int_t k = json_integer_value(v);
        if (!json_is_integer(v) || k < 0)
            return tn_fail(e, TN_FORMAT, "%s: shape must list non-negative integers", where);
        t->shape[i] = k;
        if (__builtin_mul_overflow(t->count, (size_t)k, &t->count))
            return tn_fail(e, TN_FORMAT, "%s: the shape overflows", where);
    }
    return TN_OK;
}

static tn_status entry_parse(tn_st_entry *t, const char *name, const json_t *o, const uint8_t *data,
                             size_t n_data, const char *file, tn_err *e) {
    char where[512];
    snprintf(where, sizeof where, "%.300s: tensor \"%.120s\"", file, name);
    if (!json_is_object(o)) return tn_fail(e, TN_FORMAT, "%s: an object is expected", where);
    memset(t, 0, sizeof *t);
    t->name = name;
    t->file = file;
    unsigned bits = 0;
    TN_TRY(entry_dtype(t, o, &bits, where, e));
    TN_TRY(entry_shape(t, o, where, e));
    json_t *a;
    TN_TRY(tn_json_need(o, "data_offsets", JSON_ARRAY, &a, where, e));
    const json_t *vb = json_array_get(a, 0), *ve = json_array_get(a, 1);
    if (json_array_size(a) != 2 || !json_is_integer(vb) || !json_is_integer(ve))
        return tn_fail(e, TN_FORMAT, "%s: data_offsets must be two integers", where);
    json_int_t begin = json_integer_value(vb), end = json_integer_value(ve);
    if (begin < 0 || end < begin || (uint64_t)end > n_data)
        return tn_fail(e, TN_FORMAT,
                       "%s: data_offsets [%lld, %lld] do not lie in the %zu bytes of data; the "
                       "file is truncated or damaged",
                       where, (long long)begin, (long long)end, n_data);
    size_t need;
    if (__builtin_mul_overflow(t->count, (size_t)(bits / 8), &need) ||
        need != (size_t)(end - begin))
        return tn_fail(e, TN_FORMAT,
                       "%s: data_offsets span %lld bytes, but its shape and dtype %s need %zu",
                       where, (long long)(end - begin), t->dtype_name, need);
    t->data = data + begin;
    t->bytes = need;
    return TN_OK;
}

static int by_offset(const void *a, const void *b) {
    const tn_st_entry *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}
static int by_name(const void *a, const void *b) {
    return strcmp(((const tn_st_entry *)a)->name, ((const tn_st_entry *)b)->name);
}

/* The entries must tile the data: no holes, no overlaps, nothing after the last. */
static tn_status check_tiling(tn_st_entry *t, size_t n, const uint8_t *data, size_t n_data,
                              const char *file, tn_err *e) {
    if (n) qsort(t, n, sizeof *t, by_offset);
    const uint8_t *at = data;
    for (size_t i = 0; i < n; i++) {
        if (t[i].data != at)
            return tn_fail(e, TN_FORMAT,
                           "%s: tensor \"%.120s\" begins at byte %zu of the data where byte %zu "
                           "is expected: the tensors overlap or leave a hole",
                           file, t[i].name, (size_t)(t[i].data - data), (size_t)(at - data));
        at += t[i].bytes;
    }
    if (at != data + n_data)
        return tn_fail(e, TN_FORMAT,
                       "%s: the tensors end after %zu bytes of data, but the file has %zu", file,
                       (size_t)(at - data), n_data);
    return TN_OK;
}

static tn_status header_parse(tn_st *s, const tn_map *m, const char *file, json_t **root,
                              tn_err *e) {
    uint64_t n = 0;
    if (m->n < 8)
        return tn_fail(e, TN_FORMAT, "%s: %zu bytes are too few for a safetensors file", file,
                       m->n);
    for (int i = 7; i >= 0; i--) n = n << 8 | m->p[i];
    if (n > MAX_HEADER || n > m->n - 8)
        return tn_fail(e, TN_FORMAT,
                       "%s: its header claims %llu bytes, but the file has %zu: it is truncated "
                       "or no safetensors file",
                       file, (unsigned long long)n, m->n);
    if (n == 0 || m->p[8] != '{')
        return tn_fail(e, TN_FORMAT, "%s: the header does not begin with '{': no safetensors file",
                       file);
    char where[400];
    snprintf(where, sizeof where, "%.300s (header)", file);
    TN_TRY(tn_json_parse((const char *)m->p + 8, (size_t)n, where, root, e));
    if (!json_is_object(*root)) return tn_fail(e, TN_FORMAT, "%s: an object is expected", where);
    const uint8_t *data = m->p + 8 + n;
    size_t n_data = m->n - 8 - (size_t)n, first = s->n;
    const char *name;
    json_t *o;
    json_object_foreach(*root, name, o) {
        if (!strcmp(name, "__metadata__")) continue;
        if (!TN_GROW(s->entry, s->cap, s->n + 1))
            return tn_fail(e, TN_NOMEM, "%s: out of memory", file);
        TN_TRY(entry_parse(&s->entry[s->n], name, o, data, n_data, file, e));
        s->n++;
    }
    return check_tiling(s->entry + first, s->n - first, data, n_data, file, e);
}

/* ---------------- files and shards ---------------- */

static tn_status open_file(tn_st *s, const char *path, tn_err *e) {
    size_t i = s->n_map;
    if (!TN_GROW(s->map, s->cap_map, i + 1) || !TN_GROW(s->file, s->cap_file, i + 1) ||
        !TN_GROW(s->root, s->cap_root, i + 1))
        return tn_fail(e, TN_NOMEM, "%s: out of memory", path);
    s->map[i] = (tn_map){0};
    s->root[i] = NULL;
    if (!(s->file[i] = tn_strdup(path))) return tn_fail(e, TN_NOMEM, "%s: out of memory", path);
    tn_status st = tn_map_file(path, &s->map[i], e);
    if (st != TN_OK) {
        tn_free(s->file[i]);
        return st;
    }
    s->n_map++;
    s->bytes += s->map[i].n;
    return header_parse(s, &s->map[i], s->file[i], &s->root[i], e);
}

/* A shard's name must be a plain file name: an index cannot reach out of its folder. */
static bool plain_name(const char *f) {
    return f && *f && *f != '.' && !strchr(f, '/') && strlen(f) < 256;
}

static tn_status open_shards(tn_st *s, const char *dir, const char *index, tn_err *e) {
    json_t *root = NULL, *map, *v;
    const char *name;
    tn_str path = TN_STR_INIT;
    tn_status st = tn_json_load(index, &root, e);
    if (st == TN_OK) st = tn_json_need(root, "weight_map", JSON_OBJECT, &map, index, e);
    if (st != TN_OK) goto done;
    json_t *seen = json_object();
    json_object_foreach(map, name, v) {
        const char *f = json_string_value(v);
        if (!plain_name(f)) {
            st = tn_fail(e, TN_FORMAT, "%s: weight_map gives \"%.120s\" no plain file name", index,
                         name);
            break;
        }
        if (json_object_get(seen, f)) continue;
        json_object_set_new(seen, f, json_true());
        tn_path_join(&path, dir, f);
        st = path.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", index) : open_file(s, path.s, e);
        if (st != TN_OK) break;
    }
    json_decref(seen);
    if (st != TN_OK) goto done;
    if (s->n) qsort(s->entry, s->n, sizeof *s->entry, by_name);
    json_object_foreach(map, name, v) {
        const tn_st_entry *t = tn_st_find(s, name);
        const char *slash = t ? strrchr(t->file, '/') : NULL;
        if (t && !strcmp(slash ? slash + 1 : t->file, json_string_value(v))) continue;
        st = tn_fail(e, TN_FORMAT, "%s: says that \"%.120s\" is in %s, but it is not there", index,
                     name, json_string_value(v));
        break;
    }
done:
    json_decref(root);
    tn_str_free(&path);
    return st;
}

static tn_status open_dir(tn_st *s, const char *dir, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_status st;
    tn_path_join(&path, dir, "model.safetensors");
    if (path.oom) st = tn_fail(e, TN_NOMEM, "%s: out of memory", dir);
    else if (tn_exists(path.s)) st = open_file(s, path.s, e);
    else {
        tn_path_join(&path, dir, "model.safetensors.index.json");
        if (!path.oom && tn_exists(path.s)) st = open_shards(s, dir, path.s, e);
        else
            st = tn_fail(e, TN_IO,
                         "%s: there is neither model.safetensors nor model.safetensors.index.json "
                         "(pytorch_model.bin is not read; save it again with safetensors)",
                         dir);
    }
    tn_str_free(&path);
    return st;
}

tn_status tn_st_open(tn_st **out, const char *path, tn_err *e) {
    *out = NULL;
    tn_st *s = tn_calloc(1, sizeof *s);
    if (!s) return tn_fail(e, TN_NOMEM, "%s: out of memory", path);
    tn_status st = tn_is_dir(path) ? open_dir(s, path, e) : open_file(s, path, e);
    if (st == TN_OK && s->n) qsort(s->entry, s->n, sizeof *s->entry, by_name);
    for (size_t i = 1; st == TN_OK && i < s->n; i++)
        if (!strcmp(s->entry[i - 1].name, s->entry[i].name))
            st = tn_fail(e, TN_FORMAT, "%s: tensor \"%.120s\" is stored twice (%s and %s)", path,
                         s->entry[i].name, s->entry[i - 1].file, s->entry[i].file);
    if (st != TN_OK) {
        tn_st_close(s);
        return st;
    }
    *out = s;
    return TN_OK;
}

void tn_st_close(tn_st *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n_map; i++) {
        tn_unmap(&s->map[i]);
        tn_free(s->file[i]);
        json_decref(s->root[i]);
    }
    tn_free(s->map);
    tn_free(s->file);
    tn_free(s->root);
    tn_free(s->entry);
    tn_free(s);
}

size_t tn_st_count(const tn_st *s) { return s->n; }
const tn_st_entry *tn_st_at(const tn_st *s, size_t i) { return &s->entry[i]; }
const json_t *tn_st_metadata(const tn_st *s) {
    return s->n_map ? json_object_get(s->root[0], "__metadata__") : NULL;
}
size_t tn_st_file_bytes(const tn_st *s) { return s->bytes; }

const tn_st_entry *tn_st_find(const tn_st *s, const char *name) {
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(s->entry[mid].name, name);
        if (c == 0) return &s->entry[mid];
        if (c < 0) lo = mid + 1;
        else hi = mid;
    }
    return NULL;
}

/* ---------------- elements ---------------- */

void tn_st_read(const tn_st_entry *t, size_t begin, size_t n, void *out, size_t elem) {
    const uint8_t *p = t->data + begin * (t->dtype == TN_ST_F64   ? 8
                                          : t->dtype == TN_ST_F32 ? 4
                                                                  : 2);
    float *f = out;
    double *d = out;
    if (t->dtype == TN_ST_F32 && elem == 4) memcpy(out, p, n * 4);
    else if (t->dtype == TN_ST_F64 && elem == 8) memcpy(out, p, n * 8);
    else if (t->dtype == TN_ST_F64) {
        for (size_t i = 0; i < n; i++) {
            double v;
            memcpy(&v, p + 8 * i, 8);
            f[i] = (float)v;
        }
    } else
        for (size_t i = 0; i < n; i++) {
            float v;
            uint16_t h;
            if (t->dtype == TN_ST_F32) memcpy(&v, p + 4 * i, 4);
            else {
                memcpy(&h, p + 2 * i, 2);
                v = t->dtype == TN_ST_BF16 ? tn_bf16_to_f32(h) : tn_f16_to_f32(h);
            }
            if (elem == 4) f[i] = v;
            else d[i] = (double)v;
        }
}
