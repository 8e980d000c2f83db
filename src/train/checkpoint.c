#include "train/checkpoint.h"
#include "base/manifest.h"
#include "comm/comm.h"
#include "model/live.h"
#include "model/safetensors.h"
#include "ops/profile.h"
#include <stdlib.h>
#include <string.h>

/* One moment of one store, on its way into a file. */
typedef struct moment {
    const tn_model *model;
    tn_store *store;
    const void *own; /* this rank's shard of it */
    char name[32];   /* in the file: "trunk.m" */
    tn_status st;
    tn_err *e;
} moment;

/* All shards of a moment, in place of the gradient: between steps its buffer is free. */
static tn_status gather(moment *x, tn_err *e) {
    tn_comm *c = tn_comm_world();
    size_t *at = tn_calloc((size_t)c->size + 1, sizeof *at);
    tn_store *s = x->store;
    if (!at) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int r = 0; r <= c->size; r++)
        at[r] = tn_model_moment_bytes(x->model, s, tn_model_shard(x->model, s, r, c->size, NULL));
    memcpy((char *)s->grad + at[c->rank], x->own, at[c->rank + 1] - at[c->rank]);
    tn_status st = tn_comm_all_gather(c, s->grad, at, e);
    tn_free(at);
    return st;
}

/* Full moments are floats in the file, rounded ones bytes as they lie. */
static size_t unit_of(const tn_model *m) { return m->moments == TN_MOMENTS_FULL ? sizeof(float) : 1; }

static void read_moment_part(const void *ctx, size_t begin, size_t n, float *out) {
    moment *x = (moment *)(uintptr_t)ctx;
    bool whole = tn_comm_world()->size == 1;
    size_t unit = unit_of(x->model);
    if (!whole && begin == 0 && x->st == TN_OK) x->st = gather(x, x->e);
    memcpy(out, (const char *)(whole ? x->own : x->store->grad) + begin * unit, n * unit);
}

/* m and v of every trained store; none of a model that is not trained. */
static size_t list_moments(tn_model *m, moment x[2 * TN_TRAINED_MAX], tn_err *e) {
    tn_trained t[TN_TRAINED_MAX];
    size_t n = 0;
    for (int i = 0, k = tn_model_trained(m, t); i < k; i++)
        for (int v = 0; v < 2 && t[i].store->m; v++) {
            x[n] = (moment){.model = m, .store = t[i].store, .e = e};
            x[n].own = v ? t[i].store->v : t[i].store->m;
            snprintf(x[n].name, sizeof x[n].name, "%s.%c", t[i].name, "mv"[v]);
            n++;
        }
    return n;
}

/* DIR/optimizer/model.safetensors: AdamW's moments, store by store, flat (tn_model_moment_bytes). */
static tn_status save_moments(const char *dir, tn_model *m, tn_err *e) {
    tn_st_out t[2 * TN_TRAINED_MAX];
    moment x[2 * TN_TRAINED_MAX];
    size_t n = list_moments(m, x, e);
    if (!n) return TN_OK;
    for (size_t i = 0; i < n; i++)
        t[i] = (tn_st_out){.name = x[i].name,
                           .n_dim = 1,
                           .shape = {(int64_t)(tn_model_moment_bytes(m, x[i].store, x[i].store->n) / unit_of(m))},
                           .read = read_moment_part,
                           .ctx = &x[i],
                           .bytes = unit_of(m) == 1};
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, dir, "optimizer");
    tn_status st = tn_mkdirs(path.s, e);
    if (st == TN_OK) st = tn_st_write_dir(path.s, t, n, TN_ST_SAVE_F32, TN_ST_SHARD_BYTES, e);
    for (size_t i = 0; st == TN_OK && i < n; i++) st = x[i].st;
    tn_str_free(&path);
    return st;
}

/* The other ranks' side of save_moments. */
static tn_status send_moments(tn_model *m, tn_err *e) {
    moment x[2 * TN_TRAINED_MAX];
    size_t n = list_moments(m, x, e);
    for (size_t i = 0; i < n; i++) TN_TRY(gather(&x[i], e));
    return TN_OK;
}

static tn_status save_json(const char *dir, const char *name, const json_t *v, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, dir, name);
    tn_status st = tn_json_save(path.s, v, false, e);
    tn_str_free(&path);
    return st;
}

static json_t *trainer_state(const tn_ckpt *c, long step) {
    return json_pack("{s:I,s:O,s:O*}", "global_step", (json_int_t)step, "log_history",
                     c->log->history, "tenet", c->state);
}

static tn_status save_part(const tn_ckpt *c, const tn_part *p, const char *root, tn_err *e) {
    tn_str dir = TN_STR_INIT;
    tn_path_join(&dir, root, p->name);
    tn_status st = TN_OK;
    if (p->name[0]) TN_GO(tn_mkdirs(dir.s, e), done);
    TN_GO(tn_model_save(p->model, dir.s, "float32", e), done);
    TN_GO(save_moments(dir.s, p->model, e), done);
    if (c->tok) st = tn_tokenizer_save(c->tok, dir.s, e);
done:
    tn_str_free(&dir);
    return st;
}

static tn_status write_checkpoint(const tn_ckpt *c, long step, tn_err *e) {
    char name[64];
    tn_str final = TN_STR_INIT, tmp = TN_STR_INIT;
    snprintf(name, sizeof name, "checkpoint-%ld", step);
    tn_path_join(&final, c->output_dir, name);
    json_t *state = trainer_state(c, step);
    tn_status st;
    TN_GO(tn_commit_begin(final.s, &tmp, e), done);
    for (int i = 0; i < c->n_part; i++) TN_GO(save_part(c, &c->part[i], tmp.s, e), done);
    TN_GO(save_json(tmp.s, "trainer_state.json", state, e), done);
    TN_GO(save_json(tmp.s, "tenet.json", c->record, e), done);
    TN_GO(tn_manifest_write(tmp.s, e), done);
    st = tn_commit_finish(final.s, e);
done:
    if (st != TN_OK)
        tn_err_context(e, st, "checkpoint of step %ld (earlier checkpoints are intact)", step);
    json_decref(state);
    tn_str_free(&final);
    tn_str_free(&tmp);
    return st;
}

tn_status tn_checkpoint_save(const tn_ckpt *c, long step, tn_err *e) {
    tn_backend *be = c->part[0].model->be;
    tn_phase before = tn_phase_enter(be, TN_PHASE_CHECKPOINT);
    double begin = tn_work_begin(be);
    const tn_comm *w = tn_comm_world();
    tn_status st = TN_OK;
    if (tn_comm_is_root(w)) st = write_checkpoint(c, step, e);
    else
        for (int i = 0; st == TN_OK && i < c->n_part; i++) st = send_moments(c->part[i].model, e);
    for (int i = 0; st == TN_OK && w->size > 1 && i < c->n_part; i++) tn_model_fresh_grad(c->part[i].model);
    tn_work_end(be, begin, "write", 0);
    tn_phase_leave(be, before);
    return st;
}

/* Steps of the complete checkpoints in `dir`, ascending; heap array. */
static tn_status list_steps(const char *dir, long **steps, size_t *n, tn_err *e) {
    char **names = NULL;
    size_t count = 0;
    *steps = NULL;
    *n = 0;
    TN_TRY(tn_list_dir(dir, &names, &count, e));
    *steps = tn_calloc(count + 1, sizeof **steps);
    for (size_t i = 0; i < count; i++) {
        char *end;
        if (*steps && strncmp(names[i], "checkpoint-", 11) == 0) {
            long s = strtol(names[i] + 11, &end, 10);
            if (end != names[i] + 11 && *end == 0) {
                size_t k = (*n)++;
                while (k > 0 && (*steps)[k - 1] > s) (*steps)[k] = (*steps)[k - 1], k--;
                (*steps)[k] = s;
            }
        }
        tn_free(names[i]);
    }
    tn_free(names);
    return *steps ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static tn_status prune(const char *output_dir, long keep, long best, tn_err *e) {
    long *steps;
    size_t n;
    TN_TRY(list_steps(output_dir, &steps, &n, e));
    tn_status st = TN_OK;
    tn_str p = TN_STR_INIT;
    for (size_t i = 0; i + (size_t)keep < n && st == TN_OK; i++) {
        char name[64];
        if (steps[i] == best) continue;
        snprintf(name, sizeof name, "checkpoint-%ld", steps[i]);
        tn_path_join(&p, output_dir, name);
        st = tn_retire_tree(p.s, e);
    }
    tn_str_free(&p);
    tn_free(steps);
    return st;
}

tn_status tn_checkpoint_prune(const tn_ckpt *c, long keep, long best, tn_err *e) {
    tn_backend *be = c->part[0].model->be;
    if (keep <= 0 || !tn_comm_is_root(tn_comm_world())) return TN_OK;
    tn_phase before = tn_phase_enter(be, TN_PHASE_CHECKPOINT);
    double begin = tn_work_begin(be);
    tn_status st = prune(c->output_dir, keep, best, e);
    tn_work_end(be, begin, "prune", 0);
    tn_phase_leave(be, before);
    return st;
}

static tn_status find_checkpoint(const char *output_dir, const char *which, tn_str *path, tn_err *e) {
    tn_str_clear(path);
    if (strcmp(which, "latest") != 0 && strcmp(which, "true") != 0) {
        tn_str_addz(path, which);
        tn_str p = TN_STR_INIT;
        tn_path_join(&p, which, "trainer_state.json");
        bool ok = tn_exists(p.s);
        tn_str_free(&p);
        return ok ? TN_OK
                  : tn_fail(e, TN_ARG,
                            "--resume-from-checkpoint %s: no trainer_state.json there; give a "
                            "checkpoint-N folder, or `latest` for the newest in --output-dir",
                            which);
    }
    long *steps;
    size_t n;
    TN_TRY(list_steps(output_dir, &steps, &n, e));
    if (n) {
        char name[64];
        snprintf(name, sizeof name, "checkpoint-%ld", steps[n - 1]);
        tn_path_join(path, output_dir, name);
    }
    tn_free(steps);
    return path->oom ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
}

tn_status tn_checkpoint_find(const char *output_dir, const char *which, tn_str *path, tn_err *e) {
    TN_TRY(find_checkpoint(output_dir, which, path, e));
    if (!path->len) return TN_OK;
    tn_status st = tn_manifest_check(path->s, e);
    if (st == TN_STATE || st == TN_FORMAT)
        tn_err_context(e, st, "checkpoint %s is damaged (name an earlier one with "
                       "--resume-from-checkpoint, or remove it)", path->s);
    return st;
}

/* This rank's shard of a moment. */
static tn_status read_moment(const tn_st *f, const char *store, char which, void *to, const tn_model *m,
                             tn_store *s, const char *where, tn_err *e) {
    char name[32];
    snprintf(name, sizeof name, "%s.%c", store, which);
    const tn_st_entry *t = tn_st_find(f, name);
    if (!t)
        return tn_fail(e, TN_STATE, "%s: no tensor \"%s\"; the checkpoint is of another kind of run", where, name);
    size_t want = tn_model_moment_bytes(m, s, s->n), at = tn_model_moment_bytes(m, s, s->first);
    bool rounded = m->moments != TN_MOMENTS_FULL;
    if (rounded != !strcmp(t->dtype_name, "U8"))
        return tn_fail(e, TN_STATE, "%s: \"%s\" is %s; it was made with another --optim", where, name, t->dtype_name);
    if (t->bytes != want)
        return tn_fail(e, TN_STATE,
                       "%s: \"%s\" has %zu bytes, the model needs %zu; was it made from another model, or with "
                       "another --optim?",
                       where, name, t->bytes, want);
    tn_live_read(m, s, to, t->data + at);
    return TN_OK;
}

tn_status tn_checkpoint_load_moments(const char *ckpt, const tn_part *p, tn_err *e) {
    tn_str dir = TN_STR_INIT, path = TN_STR_INIT;
    tn_path_join(&dir, ckpt, p->name);
    tn_path_join(&path, dir.s, "optimizer");
    tn_st *s = NULL;
    tn_trained t[TN_TRAINED_MAX];
    tn_status st = tn_st_open(&s, path.s, e);
    for (int i = 0, n = tn_model_trained(p->model, t); st == TN_OK && i < n; i++) {
        tn_store *x = t[i].store;
        st = read_moment(s, t[i].name, 'm', x->m, p->model, x, path.s, e);
        if (st == TN_OK) st = read_moment(s, t[i].name, 'v', x->v, p->model, x, path.s, e);
    }
    if (s) tn_st_close(s);
    tn_str_free(&dir);
    tn_str_free(&path);
    return st;
}

tn_status tn_checkpoint_load_state(const char *ckpt, json_t **state, json_t **history, tn_err *e) {
    tn_str path = TN_STR_INIT;
    json_t *root = NULL;
    *state = *history = NULL;
    tn_path_join(&path, ckpt, "trainer_state.json");
    tn_status st = tn_json_load(path.s, &root, e);
    if (st == TN_OK) {
        *state = json_incref(json_object_get(root, "tenet"));
        *history = json_incref(json_object_get(root, "log_history"));
        if (!json_is_object(*state) || !json_is_array(*history)) {
            json_decref(*state);
            json_decref(*history);
            *state = *history = NULL;
            st = tn_fail(
                e, TN_FORMAT,
                "%s: not the state of a tenet run (no \"tenet\" object or \"log_history\" list)",
                path.s);
        }
    }
    json_decref(root);
    tn_str_free(&path);
    return st;
}

static tn_status write_output(const tn_ckpt *c, const char *dtype, tn_err *e) {
    long step = json_integer_value(json_object_get(c->state, "step"));
    TN_TRY(tn_model_save(c->part[0].model, c->output_dir, dtype, e));
    if (c->tok) TN_TRY(tn_tokenizer_save(c->tok, c->output_dir, e));
    json_t *state = trainer_state(c, step);
    tn_status st = state ? save_json(c->output_dir, "trainer_state.json", state, e)
                         : tn_fail(e, TN_NOMEM, "out of memory");
    json_decref(state);
    return st == TN_OK ? save_json(c->output_dir, "tenet.json", c->record, e) : st;
}

tn_status tn_output_save(const tn_ckpt *c, const char *dtype, tn_err *e) {
    if (!tn_comm_is_root(tn_comm_world())) return TN_OK;
    tn_backend *be = c->part[0].model->be;
    tn_phase before = tn_phase_enter(be, TN_PHASE_CHECKPOINT);
    double begin = tn_work_begin(be);
    tn_status st = write_output(c, dtype, e);
    tn_work_end(be, begin, "write", 0);
    tn_phase_leave(be, before);
    return st;
}
