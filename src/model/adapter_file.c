/* adapter_model.safetensors: into a model whose base was loaded, and out of one. */
#include "model/adapter_file.h"
#include "model/params.h"
#include "model/safetensors.h"
#include <string.h>

static const char weights_name[] = "adapter_model.safetensors", head_prefix[] = "base_model.model.",
                  head_part[] = "base_model.model." TN_HEAD_PREFIX;

/* ---------------- names and shapes ---------------- */

static tn_status check_shape(const tn_tensor *t, const tn_st_entry *s, const char *what,
                             tn_err *e) {
    bool vector = tn_tensor_is_vector(t);
    if (s->dtype == TN_ST_OTHER)
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: tensor %s has dtype %s; F32, BF16, F16 and F64 are supported", s->file,
                       s->name, s->dtype_name);
    if (s->n_dim == (vector ? 1 : 2) && s->shape[0] == t->rows &&
        (vector || s->shape[1] == t->cols))
        return TN_OK;
    return tn_fail(e, TN_FORMAT,
                   "%s: tensor %s has %d dimensions, [%lld, %lld], but %s and the base model make "
                   "it [%d, %d]",
                   s->file, s->name, s->n_dim, (long long)(s->n_dim > 0 ? s->shape[0] : 0),
                   (long long)(s->n_dim > 1 ? s->shape[1] : 1), what, t->rows, t->cols);
}

typedef struct fill {
    const tn_st_entry *s;
    void *out;
    size_t elem;
} fill;
static void fill_part(void *ctx, size_t begin, size_t end, int thread) {
    const fill *c = ctx;
    tn_st_read(c->s, begin, end - begin, (char *)c->out + begin * c->elem, c->elem);
}

static void read_tensor(const tn_tensor *t, const tn_st_entry *s, tn_backend *be) {
    fill c = {s, tn_tensor_data(t, be), be->elem};
    tn_pool_run(be->pool, s->count, 1 << 14, fill_part, &c);
}

/* Every A and B must be there. */
static tn_status fill_adapter(tn_adapter *a, const tn_st *s, const char *dir, tn_backend *be,
                              tn_err *e) {
    for (int i = 0; i < a->n_tensor; i++) {
        const tn_tensor *t = &a->tensor[i];
        const tn_st_entry *f = tn_st_find(s, t->name);
        char rank[64];
        snprintf(rank, sizeof rank, "r = %d of adapter_config.json", a->spec.rank);
        if (!f)
            return tn_fail(e, TN_FORMAT,
                           "%s/%s: tensor %s is missing, which target_modules calls for", dir,
                           weights_name, t->name);
        TN_TRY(check_shape(t, f, rank, e));
        read_tensor(t, f, be);
    }
    return TN_OK;
}

static const tn_st_entry *find_head(const tn_st *s, const char *name) {
    char full[128];
    snprintf(full, sizeof full, "%s%s", head_prefix, name);
    return tn_st_find(s, full);
}

/* The score head, where the file has one. `need`: it must. */
static tn_status fill_head(tn_model *m, const tn_st *s, bool need, const char *dir, tn_err *e) {
    static const char name[] = "score.weight";
    if (need && !find_head(s, name))
        return tn_fail(e, TN_FORMAT,
                       "%s/%s: tensor %s%s is missing, which modules_to_save calls for", dir,
                       weights_name, head_prefix, name);
    for (int i = 0; i < m->n_tensor; i++) {
        const tn_tensor *t = &m->tensor[i];
        const tn_st_entry *f = t->store == m->head ? find_head(s, t->name) : NULL;
        if (!f) continue;
        TN_TRY(check_shape(t, f, "num_labels", e));
        read_tensor(t, f, m->be);
    }
    return TN_OK;
}

static tn_status check_extra(const tn_model *m, const tn_adapter *a, const tn_st *s,
                             const char *dir, tn_err *e) {
    for (size_t i = 0; i < tn_st_count(s); i++) {
        const char *name = tn_st_at(s, i)->name;
        bool known = m->head && !strncmp(name, head_part, strlen(head_part));
        for (int k = 0; k < a->n_tensor && !known; k++) known = !strcmp(a->tensor[k].name, name);
        for (int k = 0; k < m->n_tensor && !known; k++)
            known =
                m->tensor[k].store == m->head && tn_st_at(s, i) == find_head(s, m->tensor[k].name);
        if (!known)
            return tn_fail(e, TN_FORMAT,
                           "%s/%s: tensor %.150s has no place in an adapter of these "
                           "target_modules on this base model",
                           dir, weights_name, name);
    }
    return TN_OK;
}

/* ---------------- loading ---------------- */

bool tn_model_from(const tn_model *m, const char *dir) {
    tn_str a = TN_STR_INIT, b = TN_STR_INIT;
    bool same = m->dir[0] && tn_real_path(dir, &a, NULL) == TN_OK &&
                tn_real_path(m->dir, &b, NULL) == TN_OK && !strcmp(a.s, b.s);
    tn_str_free(&a);
    tn_str_free(&b);
    return same;
}

/* The base, loaded, or a view of `how->on` with a score head of its own. */
static tn_status open_base(tn_model **m, const char *base, bool score, bool bias, tn_backend *be,
                           const tn_load *how, tn_err *e) {
    tn_model *on = how->on;
    if (!score || !on || on->be != be || !tn_model_from(on, base)) {
        tn_load q = {
            .frozen = how->frozen, .want_score = score, .score_bias = bias, .on = on,
            .n_part = how->n_part};
        memcpy(q.part, how->part, sizeof q.part);
        return tn_model_load(m, base, be, &q, e);
    }
    TN_TRY(tn_model_view(m, on, e));
    bool like = on->head && (on->score_bias != TN_NONE) == bias;
    tn_status st = tn_model_own_head(*m, like ? on : NULL, bias, e);
    if (st != TN_OK) {
        tn_model_free(*m);
        *m = NULL;
    }
    return st;
}

tn_status tn_adapter_load(tn_model **out, const char *dir, tn_backend *be, const tn_load *how,
                          tn_err *e) {
    tn_adapter_config c = {.base = TN_STR_INIT};
    tn_str path = TN_STR_INIT, base = TN_STR_INIT;
    tn_st *s = NULL;
    tn_model *m = NULL;
    tn_adapter *a = NULL;
    tn_status st;
    *out = NULL;
    TN_GO(tn_adapter_config_read(&c, dir, e), done);
    TN_GO(tn_adapter_base(dir, how->base, &base, e), done);
    tn_path_join(&path, dir, weights_name);
    if (path.oom) TN_GO(tn_fail(e, TN_NOMEM, "%s: out of memory", dir), done);
    if (!tn_exists(path.s))
        TN_GO(tn_fail(e, TN_IO, "%s: there is no %s beside adapter_config.json", dir, weights_name),
              done);
    TN_GO(tn_st_open(&s, path.s, e), done);
    bool stored = find_head(s, "score.weight"), score = c.score || how->want_score || stored;
    bool bias = stored ? find_head(s, "score.bias") != NULL : how->score_bias;
    TN_GO(open_base(&m, base.s, score, bias, be, how, e), done);
    if (m->head && !score)
        TN_GO(tn_fail(e, TN_STATE,
                      "%s is an adapter of a language model, but its base %s is a reward model (it has a score "
                      "head); give the base that it was trained on as --base-model",
                      dir, base.s),
              done);
    TN_GO(tn_adapter_new(&a, &m->desc, &c.spec, be, e), done);
    TN_GO(fill_adapter(a, s, dir, be, e), done);
    TN_GO(fill_head(m, s, c.score, dir, e), done);
    TN_GO(check_extra(m, a, s, dir, e), done);
    m->adapter_dropout = c.dropout;
    m->fresh_score = m->fresh_score && !stored;
    if (stored) TN_GO(tn_model_read_score_norm(m, dir, e), done);
    st = tn_model_hang(m, a, e);
    a = NULL; /* taken over */
done:
    tn_str_free(&c.base);
    tn_str_free(&path);
    tn_str_free(&base);
    tn_st_close(s);
    tn_adapter_free(a, be->elem);
    if (st == TN_OK)
        *out = m;
    else
        tn_model_free(m);
    return st;
}

/* ---------------- saving ---------------- */

typedef struct source {
    const void *p;
    size_t elem;
    char name[128];
} source;

static void read_elements(const void *ctx, size_t begin, size_t n, float *out) {
    const source *s = ctx;
    if (s->elem == 4)
        memcpy(out, (const float *)s->p + begin, n * 4);
    else
        for (size_t i = 0; i < n; i++) out[i] = (float)((const double *)s->p)[begin + i];
}

static tn_status save_weights(const tn_model *m, const char *path, tn_st_save as, tn_err *e) {
    size_t n = (size_t)m->adapter[0]->n_tensor + 2 + TN_HEAD_PARTS;
    tn_st_out *t = tn_calloc(n, sizeof *t);
    source *src = tn_calloc(n, sizeof *src);
    tn_status st = TN_OK;
    const tn_tensor *x;
    int k = 0;
    if (!t || !src) st = tn_fail(e, TN_NOMEM, "%s: out of memory", path);
    for (; st == TN_OK && (x = tn_model_param(m, k)); k++) {
        bool vector = tn_tensor_is_vector(x);
        src[k] = (source){.p = tn_tensor_data(x, m->be), .elem = m->be->elem};
        snprintf(src[k].name, sizeof src[k].name, "%s%s", x->store == m->head ? head_prefix : "",
                 x->name);
        t[k] = (tn_st_out){.name = src[k].name,
                           .n_dim = vector ? 1 : 2,
                           .shape = {x->rows, vector ? 0 : x->cols},
                           .read = read_elements,
                           .ctx = &src[k]};
    }
    if (st == TN_OK) st = tn_st_write_file(path, t, (size_t)k, as, e);
    tn_free(t);
    tn_free(src);
    return st;
}

tn_status tn_adapter_save(const tn_model *m, const char *dir, const char *dtype, tn_err *e) {
    tn_st_save as;
    tn_str path = TN_STR_INIT;
    TN_TRY(tn_st_save_dtype(dtype, &as, e));
    tn_path_join(&path, dir, weights_name);
    tn_status st =
        path.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", dir) : save_weights(m, path.s, as, e);
    tn_str_free(&path);
    return st == TN_OK ? tn_adapter_config_write(m, dir, e) : st;
}
