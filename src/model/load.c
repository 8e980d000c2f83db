/* A Hugging Face folder -> tn_model: every tensor is found and measured before anything is
 * allocated.
 *
 * Tied heads follow transformers 5: with tie_word_embeddings either of embed_tokens and lm_head may
 * be stored, or both; when both are and they differ, the head is not tied. */
#include "base/log.h"
#include "model/adapter_file.h"
#include "model/params.h"
#include "model/safetensors.h"
#include <math.h>
#include <string.h>

static const char embed_name[] = "model.embed_tokens.weight", head_name[] = "lm_head.weight";

/* ---------------- names and shapes ---------------- */

static const tn_st_entry *find(const tn_st *s, const tn_desc *d, const char *name) {
    const tn_st_entry *t = tn_st_find(s, name);
    if (!t && d->tied && !strcmp(name, embed_name)) t = tn_st_find(s, head_name);
    return t;
}

static bool shape_fits(const tn_tensor *t, const tn_st_entry *s) {
    if (tn_tensor_is_vector(t)) return s->n_dim == 1 && s->shape[0] == t->rows;
    return s->n_dim == 2 && s->shape[0] == t->rows && s->shape[1] == t->cols;
}

static const char *shape_text(const tn_st_entry *s, char *buf, size_t n) {
    size_t at = (size_t)snprintf(buf, n, "[");
    for (int i = 0; i < s->n_dim && at < n; i++)
        at += (size_t)snprintf(buf + at, n - at, "%s%lld", i ? ", " : "", (long long)s->shape[i]);
    if (at < n) snprintf(buf + at, n - at, "]");
    return buf;
}

static tn_status check_tensor(const tn_tensor *t, const tn_st_entry *s, tn_err *e) {
    char have[200], want[64];
    if (s->dtype == TN_ST_OTHER)
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: tensor %s has dtype %s; F32, BF16, F16 and F64 are supported "
                       "(a quantised checkpoint must be converted first)",
                       s->file, s->name, s->dtype_name);
    if (shape_fits(t, s)) return TN_OK;
    if (tn_tensor_is_vector(t)) snprintf(want, sizeof want, "[%d]", t->rows);
    else snprintf(want, sizeof want, "[%d, %d]", t->rows, t->cols);
    return tn_fail(e, TN_FORMAT, "%s: tensor %s has shape %s, but config.json makes it %s", s->file,
                   s->name, shape_text(s, have, sizeof have), want);
}

/* Names what is missing: the first three and the count. */
static tn_status check_present(const tn_model *m, const tn_st *s, bool fresh_score, const char *dir,
                               tn_err *e) {
    int missing = 0;
    char list[400] = "";
    for (int i = 0; i < m->n_tensor; i++) {
        const tn_tensor *t = &m->tensor[i];
        const tn_st_entry *f = find(s, &m->desc, t->name);
        if (t->store == m->head && fresh_score) continue;
        if (f) TN_TRY(check_tensor(t, f, e));
        else if (missing++ < 3) {
            size_t n = strlen(list);
            snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", t->name);
        }
    }
    if (!missing) return TN_OK;
    return tn_fail(e, TN_FORMAT,
                   "%s: %d of the %d tensors that config.json calls for are missing: %s%s", dir,
                   missing, m->n_tensor, list, missing > 3 ? ", ..." : "");
}

/* What transformers has written into files beside the parameters, and heads that are not used. */
static bool ignorable(const tn_model *m, const char *name) {
    size_t n = strlen(name);
    static const char inv[] = ".rotary_emb.inv_freq";
    if (n > sizeof inv && !strcmp(name + n - (sizeof inv - 1), inv)) return true;
    if (m->desc.num_labels && !strncmp(name, TN_HEAD_PREFIX, strlen(TN_HEAD_PREFIX))) return true;
    return !strcmp(name, head_name) && (m->desc.tied || m->desc.num_labels);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static tn_status check_extra(const tn_model *m, const tn_st *s, const char *dir, tn_err *e) {
    const char **names = tn_malloc((size_t)m->n_tensor * sizeof *names);
    if (!names) return tn_fail(e, TN_NOMEM, "%s: out of memory", dir);
    for (int i = 0; i < m->n_tensor; i++) names[i] = m->tensor[i].name;
    qsort(names, (size_t)m->n_tensor, sizeof *names, by_name);
    int extra = 0;
    char list[400] = "";
    for (size_t i = 0; i < tn_st_count(s); i++) {
        const char *name = tn_st_at(s, i)->name;
        if (ignorable(m, name) ||
            bsearch(&name, names, (size_t)m->n_tensor, sizeof *names, by_name))
            continue;
        size_t n = strlen(list);
        if (extra++ < 3) snprintf(list + n, sizeof list - n, "%s%.100s", n ? ", " : "", name);
    }
    tn_free(names);
    if (!extra) return TN_OK;
    return tn_fail(e, TN_FORMAT,
                   "%s: %d tensors have no place in the %s model that config.json describes: %s%s",
                   dir, extra, m->desc.family, list, extra > 3 ? ", ..." : "");
}

static bool same_values(const tn_st_entry *a, const tn_st_entry *b) {
    if (a->count != b->count || a->dtype == TN_ST_OTHER || b->dtype == TN_ST_OTHER) return false;
    if (a->dtype == b->dtype) return memcmp(a->data, b->data, a->bytes) == 0;
    double x[256], y[256];
    for (size_t i = 0; i < a->count; i += 256) {
        size_t n = a->count - i < 256 ? a->count - i : 256;
        tn_st_read(a, i, n, x, 8);
        tn_st_read(b, i, n, y, 8);
        if (memcmp(x, y, n * sizeof *x) != 0) return false;
    }
    return true;
}

static void resolve_tie(tn_desc *d, const tn_st *s, const char *dir) {
    if (!d->tied || d->num_labels) return;
    const tn_st_entry *a = tn_st_find(s, embed_name), *b = tn_st_find(s, head_name);
    if (!a || !b || same_values(a, b)) return;
    d->tied = false;
    tn_warn(
        "%s: tie_word_embeddings is true, but lm_head.weight differs from embed_tokens.weight; "
         "they are "
        "kept apart",
        dir);
}

/* ---------------- values ---------------- */

typedef struct tn_fill {
    const tn_st_entry *s;
    void *out;
    size_t elem;
} tn_fill;
static void fill_part(void *ctx, size_t begin, size_t end, int thread) {
    const tn_fill *c = ctx;
    tn_st_read(c->s, begin, end - begin, (char *)c->out + begin * c->elem, c->elem);
}

static void fill_tensor(tn_model *m, const tn_st *s, const tn_tensor *t) {
    const tn_st_entry *f = find(s, &m->desc, t->name);
    if (!f) return; /* a fresh score head: zero */
    tn_fill c = {f, tn_tensor_data(t, m->be), m->be->elem};
    tn_pool_run(m->be->pool, f->count, 1 << 14, fill_part, &c);
}

static void fill_matrix(tn_model *m, const void *from, size_t begin, size_t end) {
    for (int i = 0; i < m->n_tensor; i++) {
        const tn_tensor *t = &m->tensor[i];
        if (!tn_tensor_stays(m, t) && t->off >= begin && t->off < end) fill_tensor(m, from, t);
    }
}

static tn_status fill(tn_model *m, const tn_st *s, bool frozen, tn_err *e) {
    for (int i = 0; i < m->n_tensor; i++)
        if (!frozen || tn_tensor_stays(m, &m->tensor[i])) fill_tensor(m, s, &m->tensor[i]);
    return frozen ? tn_model_pack_frozen(m, fill_matrix, s, e) : tn_model_pack_new(m, e);
}

/* tenet.json: {"score": {"mean": m, "sd": s}} written beside a reward model. */
tn_status tn_model_read_score_norm(tn_model *m, const char *dir, tn_err *e) {
    tn_str path = TN_STR_INIT;
    json_t *root = NULL;
    tn_status st = TN_OK;
    tn_path_join(&path, dir, "tenet.json");
    if (path.oom) TN_GO(tn_fail(e, TN_NOMEM, "%s: out of memory", dir), done);
    if (!tn_exists(path.s)) goto done;
    TN_GO(tn_json_load(path.s, &root, e), done);
    const json_t *o = json_object_get(root, "score");
    if (!json_is_object(o)) goto done;
    TN_GO(tn_json_real(o, "mean", 0, &m->score_mean, path.s, e), done);
    TN_GO(tn_json_real(o, "sd", 1, &m->score_sd, path.s, e), done);
    const char *kind;
    TN_GO(tn_json_str(o, "kind", "reward", &kind, path.s, e), done);
    m->score_is_cost = !strcmp(kind, "cost");
    if (!isfinite(m->score_mean) || !(m->score_sd > 0) || !isfinite(m->score_sd))
        st = tn_fail(e, TN_FORMAT, "%s: score.mean and score.sd must be finite, sd positive",
                     path.s);
done:
    json_decref(root);
    tn_str_free(&path);
    return st;
}

static tn_status read_config(const char *dir, json_t **config, tn_desc *d, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, dir, "config.json");
    tn_status st = TN_OK;
    if (path.oom) st = tn_fail(e, TN_NOMEM, "%s: out of memory", dir);
    else if (!tn_is_dir(dir))
        st = tn_fail(e, TN_IO,
                     "%s: there is no such folder; a Hugging Face model folder "
                     "is expected",
                     dir);
    else if (!tn_exists(path.s))
        st = tn_fail(e, TN_IO,
                     "%s: there is no config.json; a Hugging Face model "
                     "folder is expected",
                     dir);
    else st = tn_json_load(path.s, config, e);
    if (st == TN_OK) st = tn_desc_from_config(d, *config, path.s, e);
    tn_str_free(&path);
    return st;
}

/* Layout without data, to check the files against. */
static tn_status check_files(const tn_desc *d, const tn_st *s, bool fresh, bool bias,
                             const char *dir, tn_err *e) {
    tn_model plan = {.desc = *d};
    tn_status st = tn_model_layout(&plan, bias, e);
    if (st == TN_OK) st = check_present(&plan, s, fresh, dir, e);
    if (st == TN_OK) st = check_extra(&plan, s, dir, e);
    tn_free(plan.tensor);
    tn_free(plan.layer);
    tn_free(plan.trunk);
    tn_free(plan.head);
    return st;
}

/* Opens the folder; the descriptor is the one that its files and `how` make of config.json. */
static tn_status open_folder(const char *dir, const tn_load *how, json_t **config, tn_desc *d, tn_st **s,
                             bool *fresh, tn_err *e) {
    TN_TRY(read_config(dir, config, d, e));
    TN_TRY(tn_st_open(s, dir, e));
    *fresh = how->want_score && !d->num_labels;
    if (*fresh) d->num_labels = how->labels ? how->labels : 1, d->per_token = how->per_token;
    d->n_part = how->want_score ? how->n_part : 0;
    memcpy(d->part, how->part, sizeof d->part);
    for (int i = 0; i < d->n_part; i++)
        if (!d->part[i].cols) d->part[i].cols = d->hidden;
    resolve_tie(d, *s, dir);
    const tn_st_entry *table = find(*s, d, embed_name);
    d->half_embed = table && table->dtype == TN_ST_BF16;
    return TN_OK;
}

static tn_status peek_adapter(tn_desc *d, const char *dir, const tn_load *how, tn_err *e) {
    tn_adapter_config c;
    tn_str base = TN_STR_INIT;
    TN_TRY(tn_adapter_config_read(&c, dir, e));
    tn_load q = *how;
    q.want_score |= c.score;
    tn_status st = tn_adapter_base(dir, how->base, &base, e);
    if (st == TN_OK) st = tn_model_peek(d, base.s, &q, e);
    tn_str_free(&c.base);
    tn_str_free(&base);
    return st;
}

tn_status tn_model_peek(tn_desc *d, const char *dir, const tn_load *how, tn_err *e) {
    if (tn_adapter_folder(dir)) return peek_adapter(d, dir, how, e);
    json_t *config = NULL;
    tn_st *s = NULL;
    bool fresh;
    tn_status st = open_folder(dir, how, &config, d, &s, &fresh, e);
    json_decref(config);
    tn_st_close(s);
    return st;
}

tn_status tn_model_load(tn_model **out, const char *dir, tn_backend *be, const tn_load *how,
                        tn_err *e) {
    *out = NULL;
    if (tn_adapter_folder(dir)) return tn_adapter_load(out, dir, be, how, e);
    if (how->on && !how->want_score && !how->on->no_lm_head && how->on->be == be &&
        tn_model_from(how->on, dir))
        return tn_model_view(out, how->on, e);
    json_t *config = NULL;
    tn_desc d;
    tn_st *s = NULL;
    tn_model *m = NULL;
    tn_status st;
    bool fresh;
    TN_GO(open_folder(dir, how, &config, &d, &s, &fresh, e), done);
    bool bias = fresh ? how->score_bias : d.num_labels && tn_st_find(s, "score.bias");
    TN_GO(check_files(&d, s, fresh, bias, dir, e), done);
    TN_GO(tn_model_alloc(&m, &d, be, bias, e), done);
    m->config = json_incref(config);
    snprintf(m->dir, sizeof m->dir, "%s", dir);
    m->fresh_score = fresh;
    if (d.num_labels && !fresh) TN_GO(tn_model_read_score_norm(m, dir, e), done);
    TN_GO(fill(m, s, how->frozen, e), done);
done:
    json_decref(config);
    tn_st_close(s);
    if (st == TN_OK) *out = m;
    else tn_model_free(m);
    return st;
}
