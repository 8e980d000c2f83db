/* tn_model -> a Hugging Face folder: config.json, generation_config.json, model.safetensors. */
#include "model/adapter_file.h"
#include "model/params.h"
#include "model/safetensors.h"
#include <string.h>

typedef struct tn_src {
    const void *p;
    size_t elem;
} tn_src;

static void read_elements(const void *ctx, size_t begin, size_t n, float *out) {
    const tn_src *s = ctx;
    if (s->elem == 4) memcpy(out, (const float *)s->p + begin, n * 4);
    else
        for (size_t i = 0; i < n; i++) out[i] = (float)((const double *)s->p)[begin + i];
}

static tn_status save_config(const tn_model *m, const char *dir, const char *dtype, tn_err *e) {
    tn_str path = TN_STR_INIT;
    json_t *o = tn_desc_to_config(&m->desc, m->config, m->desc.num_labels > 0);
    tn_path_join(&path, dir, "config.json");
    tn_status st;
    if (path.oom) st = tn_fail(e, TN_NOMEM, "%s: out of memory", dir);
    else {
        /* transformers 5 reads `dtype`, earlier versions `torch_dtype` */
        json_object_set_new(o, "dtype", json_string(dtype));
        json_object_set_new(o, "torch_dtype", json_string(dtype));
        st = tn_json_save(path.s, o, true, e);
    }
    json_decref(o);
    tn_str_free(&path);
    return st;
}

static tn_status copy_generation_config(const tn_model *m, const char *dir, tn_err *e) {
    static const char name[] = "generation_config.json";
    tn_str from = TN_STR_INIT, to = TN_STR_INIT;
    tn_status st = TN_OK;
    if (!m->dir[0] || m->desc.num_labels || !strcmp(m->dir, dir)) return TN_OK;
    tn_path_join(&from, m->dir, name);
    tn_path_join(&to, dir, name);
    if (from.oom || to.oom) st = tn_fail(e, TN_NOMEM, "%s: out of memory", dir);
    else if (tn_exists(from.s)) st = tn_copy_file(from.s, to.s, e);
    tn_str_free(&from);
    tn_str_free(&to);
    return st;
}

/* A folder with adapter_config.json would be read as an adapter's. */
static tn_status remove_adapter(const char *dir, tn_err *e) {
    static const char *const names[] = {"adapter_config.json", "adapter_model.safetensors"};
    tn_str path = TN_STR_INIT;
    tn_status st = TN_OK;
    for (int i = 0; i < 2 && st == TN_OK; i++) {
        tn_path_join(&path, dir, names[i]);
        st = path.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", dir) : tn_remove_tree(path.s, e);
    }
    tn_str_free(&path);
    return st;
}

static tn_status save_weights(const tn_model *m, const char *dir, tn_st_save dtype,
                              size_t shard_bytes, tn_err *e) {
    size_t n = (size_t)m->n_tensor;
    tn_st_out *t = tn_calloc(n, sizeof *t);
    tn_src *src = tn_calloc(n, sizeof *src);
    tn_status st;
    if (!t || !src) st = tn_fail(e, TN_NOMEM, "%s: out of memory", dir);
    else {
        for (size_t i = 0; i < n; i++) {
            const tn_tensor *x = &m->tensor[i];
            bool vector = tn_tensor_is_vector(x);
            src[i] = (tn_src){tn_tensor_data(x, m->be), m->be->elem};
            t[i] = (tn_st_out){.name = x->name,
                               .n_dim = vector ? 1 : 2,
                               .shape = {x->rows, vector ? 0 : x->cols},
                               .read = read_elements,
                               .ctx = &src[i]};
        }
        st = tn_st_write_dir(dir, t, n, dtype, shard_bytes, e);
    }
    tn_free(t);
    tn_free(src);
    return st;
}

tn_status tn_model_save_shards(const tn_model *m, const char *dir, const char *dtype,
                               size_t shard_bytes, tn_err *e) {
    tn_st_save as;
    if (m->n_adapter) return tn_adapter_save(m, dir, dtype, e);
    TN_TRY(tn_model_has_masters(m, e));
    TN_TRY(tn_st_save_dtype(dtype, &as, e));
    TN_TRY(save_weights(m, dir, as, shard_bytes, e));
    TN_TRY(copy_generation_config(m, dir, e));
    TN_TRY(remove_adapter(dir, e));
    return save_config(m, dir, dtype, e);
}

tn_status tn_model_save(const tn_model *m, const char *dir, const char *dtype, tn_err *e) {
    return tn_model_save_shards(m, dir, dtype, TN_ST_SHARD_BYTES, e);
}
