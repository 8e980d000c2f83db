/* Loading, saving, copies and views of models, on checkpoints that transformers wrote. */
#include "model/live.h"
#include "model/params.h"
#include "model/safetensors.h"
#include "test.h"
#include <errno.h>
#include <math.h>

static tn_backend *backend(const char *name, tn_dtype dtype) {
    tn_backend *b = NULL;
    CHECK_OK(tn_backend_open(&b, name, dtype, NULL, 2, e));
    return b;
}

static double value(const tn_model *m, const tn_tensor *t, size_t i) {
    const void *p = tn_tensor_data(t, m->be);
    return m->be->elem == 4 ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

static size_t count(const tn_tensor *t) { return (size_t)t->rows * (size_t)t->cols; }

static const char *model_dir(const char *id) {
    static char dir[512];
    snprintf(dir, sizeof dir, "%s/%s", tn_test_file("golden/models"), id);
    return dir;
}

/* Sum and sum of squares of each tensor, as torch sees it. */
static void check_sums(const tn_model *m, const json_t *sums, const char *id) {
    int seen = 0;
    for (int i = 0; i < m->n_tensor; i++) {
        const tn_tensor *t = &m->tensor[i];
        const json_t *want = json_object_get(sums, t->name);
        CHECK_MSG(want != NULL, "%s: torch has no tensor %s", id, t->name);
        double s = 0, q = 0;
        for (size_t k = 0; k < count(t); k++) {
            double v = value(m, t, k);
            s += v;
            q += v * v;
        }
        CHECK_NEAR(s, json_number_value(json_array_get(want, 0)), 1e-12, 1e-9);
        CHECK_NEAR(q, json_number_value(json_array_get(want, 1)), 1e-12, 1e-9);
        seen++;
    }
    int tied = m->desc.tied && !m->desc.num_labels; /* torch lists lm_head too */
    CHECK_MSG((size_t)(seen + tied) == json_object_size(sums), "%s: %d tensors", id, seen);
}

static void check_layout(const tn_model *m) {
    const tn_desc *d = &m->desc;
    size_t total = 0;
    for (int i = 0; i < m->n_tensor; i++) total += count(&m->tensor[i]);
    CHECK(total == tn_desc_params(d));
    for (int i = 0; i < d->layers; i++) {
        char name[96];
        const tn_layer *l = &m->layer[i];
        const struct {
            const char *part;
            size_t at;
        } fused[] = {
            {"self_attn.q_proj.weight", l->qkv_off},
            {"self_attn.k_proj.weight", l->qkv_off + (size_t)(d->heads * d->head_dim * d->hidden)},
            {"self_attn.v_proj.weight",
             l->qkv_off + (size_t)((d->heads + d->kv_heads) * d->head_dim * d->hidden)},
            {"mlp.gate_proj.weight", l->gate_up_off},
            {"mlp.up_proj.weight", l->gate_up_off + (size_t)(d->ffn * d->hidden)},
        };
        for (size_t k = 0; k < sizeof fused / sizeof *fused; k++) {
            snprintf(name, sizeof name, "model.layers.%d.%s", i, fused[k].part);
            CHECK(tn_model_tensor(m, name)->off == fused[k].at);
        }
        CHECK(l->qkv.master == tn_at(m->be, m->trunk->data, l->qkv_off));
        CHECK(l->qkv.out == (d->heads + 2 * d->kv_heads) * d->head_dim && l->qkv.in == d->hidden);
        CHECK((l->qkv_bias != TN_NONE) == d->qkv_bias && (l->q_norm != TN_NONE) == d->qk_norm);
        CHECK((uintptr_t)l->down.master % 64 == 0 && (uintptr_t)l->o.master % 64 == 0);
    }
}

TEST(params_load_equals_torch) {
    json_t *cases = tn_golden("models.json"), *c;
    size_t i;
    tn_backend *b[2] = {backend("ref", TN_F32), backend("ref64", TN_F64)};
    json_array_foreach(cases, i, c) {
        const char *id = json_string_value(json_object_get(c, "id"));
        for (int k = 0; k < 2; k++) {
            tn_model *m = NULL;
            CHECK_OK(tn_model_load(&m, model_dir(id), b[k], &(tn_load){0}, e));
            if (!m) continue;
            check_sums(m, json_object_get(c, "sums"), id);
            check_layout(m);
            CHECK(m->no_lm_head == !strcmp(id, "mistral-score"));
            CHECK((m->score != TN_NONE) == !strcmp(id, "mistral-score"));
            tn_model_free(m);
        }
    }
    json_decref(cases);
    tn_backend_free(b[0]);
    tn_backend_free(b[1]);
}

/* Whatever the files' dtype. */
static bool same_shape(const tn_desc *a, const tn_desc *b) {
    tn_desc x = *a;
    x.half_embed = b->half_embed;
    return !memcmp(&x, b, sizeof x);
}
static void check_same(const tn_model *a, const tn_model *m, bool bf16) {
    CHECK(a->n_tensor == m->n_tensor);
    for (int i = 0; i < a->n_tensor; i++) {
        const tn_tensor *s = &a->tensor[i], *t = tn_model_tensor(m, s->name);
        CHECK(t && t->rows == s->rows && t->cols == s->cols);
        long off = 0;
        for (size_t k = 0; k < count(s); k++) {
            double x = value(a, s, k), y = value(m, t, k);
            off += bf16 ? fabs(x - y) > fabs(x) * 0x1p-8 : x != y;
        }
        CHECK_MSG(off == 0, "%s: %ld values differ", s->name, off);
    }
}

TEST(params_save_round_trip) {
    static const char *const ids[] = {"llama", "mistral-score", "qwen2", "qwen3"};
    tn_backend *b = backend("ref", TN_F32);
    for (size_t i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) { /* float32, bfloat16; one file, shards */
            char dir[600];
            snprintf(dir, sizeof dir, "%s/%s-%d", tn_test_dir(), ids[i], k);
            CHECK_OK(tn_mkdirs(dir, e));
            tn_model *m = NULL, *r = NULL;
            CHECK_OK(tn_model_load(&m, model_dir(ids[i]), b, &(tn_load){0}, e));
            CHECK_OK(tn_model_save_shards(m, dir, k & 1 ? "bfloat16" : "float32",
                                          k & 2 ? 3000 : 1 << 30, e));
            tn_str index = TN_STR_INIT;
            tn_path_join(&index, dir, "model.safetensors.index.json");
            CHECK(tn_exists(index.s) == (k >= 2));
            tn_str_free(&index);
            CHECK_OK(tn_model_load(&r, dir, b, &(tn_load){0}, e));
            if (r) {
                check_same(m, r, k & 1);
                CHECK(same_shape(&m->desc, &r->desc));
                /* saved again in the other form: the first set of files is gone */
                CHECK_OK(tn_model_save_shards(r, dir, "float32", k & 2 ? 1 << 30 : 3000, e));
                tn_model *again = NULL;
                CHECK_OK(tn_model_load(&again, dir, b, &(tn_load){0}, e));
                if (again) check_same(r, again, false);
                tn_model_free(again);
            }
            tn_model_free(m);
            tn_model_free(r);
        }
    tn_backend_free(b);
}

TEST(params_tied_head_alone) {
    const char *dir = tn_shared("data/models/tinystories_656k");
    tn_backend *b = backend("ref", TN_F32);
    tn_model *m = NULL;
    CHECK_OK(tn_model_load(&m, dir, b, &(tn_load){0}, e));
    if (m) {
        CHECK(m->desc.tied &&
              m->lm_head.master ==
                  tn_tensor_data(tn_model_tensor(m, "model.embed_tokens.weight"), b));
        CHECK(value(m, tn_model_tensor(m, "model.embed_tokens.weight"), 0) != 0);
    }
    tn_model_free(m);
    tn_backend_free(b);
}

/* A copy of the qwen2 checkpoint whose config has `key` changed to `v`. */
static const char *changed(const char *id, const char *key, json_t *v) {
    static char dir[600];
    char from[700], to[700];
    snprintf(dir, sizeof dir, "%s/changed", tn_test_dir());
    CHECK_OK(tn_mkdirs(dir, e));
    snprintf(from, sizeof from, "%s/config.json", model_dir(id));
    snprintf(to, sizeof to, "%s/config.json", dir);
    json_t *o = NULL;
    CHECK_OK(tn_json_load(from, &o, e));
    json_object_set_new(o, key, v);
    CHECK_OK(tn_json_save(to, o, false, e));
    json_decref(o);
    snprintf(from, sizeof from, "%s/model.safetensors", model_dir(id));
    snprintf(to, sizeof to, "%s/model.safetensors", dir);
    CHECK_OK(tn_copy_file(from, to, e));
    return dir;
}

TEST(params_name_what_does_not_fit) {
    tn_backend *b = backend("ref", TN_F32);
    tn_model *m = NULL;
    const tn_load how = {0};
    CHECK_FAIL(tn_model_load(&m, "/nonexistent", b, &how, e), TN_IO, "no such folder");
    CHECK_FAIL(tn_model_load(&m, tn_test_dir(), b, &how, e), TN_IO, "config.json");
    CHECK_FAIL(tn_model_load(&m, changed("mistral-score", "num_hidden_layers", json_integer(3)), b,
                             &how, e),
               TN_FORMAT, "model.layers.2.input_layernorm.weight");
    CHECK_FAIL(tn_model_load(&m, changed("mistral-score", "num_hidden_layers", json_integer(1)), b,
                             &how, e),
               TN_FORMAT, "model.layers.1.");
    CHECK_FAIL(tn_model_load(&m, changed("qwen3", "intermediate_size", json_integer(29)), b, &how,
                             e),
               TN_FORMAT, "[28, 20], but config.json makes it [29, 20]");
    CHECK_FAIL(tn_model_load(&m, changed("qwen3", "vocab_size", json_integer(60000000)), b, &how,
                             e),
               TN_FORMAT, "[60000000, 20]");
    CHECK_FAIL(tn_model_load(&m, changed("qwen2", "model_type", json_string("qwen3")), b, &how, e),
               TN_UNSUPPORTED, "Qwen2ForCausalLM");
    CHECK_FAIL(tn_model_load(&m, changed("qwen2", "tie_word_embeddings", json_false()), b, &how, e),
               TN_FORMAT, "lm_head.weight");
    CHECK(m == NULL);
    tn_backend_free(b);
}

TEST(params_score_heads) {
    tn_backend *b = backend("ref", TN_F32);
    tn_model *m = NULL, *c = NULL, *r = NULL;
    CHECK_OK(
        tn_model_load(&m, model_dir("qwen3"), b, &(tn_load){.want_score = true}, e));
    CHECK(m->desc.num_labels == 1 && m->no_lm_head && m->lm_head_off == TN_NONE &&
          m->score_bias == TN_NONE);
    CHECK(value(m, tn_model_tensor(m, "score.weight"), 3) == 0);
    CHECK_OK(tn_model_trainable(m, e));
    ((float *)m->head->data)[3] = 7;
    CHECK_OK(tn_model_copy(&c, m, false, e)); /* a copy keeps the head */
    CHECK(((float *)c->head->data)[3] == 7 && c->head != m->head && !c->trainable);
    tn_model_free(c);
    CHECK_OK(tn_model_copy(&c, m, true, e)); /* a critic starts at zero */
    CHECK(((float *)c->head->data)[3] == 0 && c->score_bias != TN_NONE);
    check_same(c, c, false);
    char dir[600];
    snprintf(dir, sizeof dir, "%s/critic", tn_test_dir());
    CHECK_OK(tn_mkdirs(dir, e));
    ((float *)c->head->data)[c->score_bias] = 2;
    CHECK_OK(tn_model_save(c, dir, "float32", e));
    CHECK_OK(tn_model_load(&r, dir, b, &(tn_load){0}, e));
    CHECK(r->desc.num_labels == 1 && r->score_bias != TN_NONE &&
          ((float *)r->head->data)[r->score_bias] == 2);
    CHECK(r->score_mean == 0 && r->score_sd == 1);
    tn_model_free(r);
    tn_model_free(c);
    tn_model_free(m);
    tn_backend_free(b);
}

TEST(params_views_share) {
    tn_backend *b = backend("ref", TN_F32);
    tn_model *m = NULL, *v = NULL;
    CHECK_OK(tn_model_load(&m, model_dir("qwen2"), b, &(tn_load){0}, e));
    CHECK_OK(tn_model_view(&v, m, e));
    CHECK(v->trunk == m->trunk && v->layer[1].down.packed == m->layer[1].down.packed);
    CHECK_FAIL(tn_model_trainable(v, e), TN_STATE, "view");
    CHECK_OK(tn_model_trainable(m, e));
    CHECK(m->layer[0].qkv.packed && m->trunk->grad);
    tn_model_free(v);
    CHECK(value(m, &m->tensor[0], 5) != 0);
    tn_model_free(m);
    tn_backend_free(b);
}

TEST(params_fresh_models_are_functions_of_the_seed) {
    tn_backend *b = backend("ref", TN_F32), *b64 = backend("ref64", TN_F64);
    tn_desc d = {.family = "llama",
                 .vocab = 400,
                 .hidden = 64,
                 .layers = 2,
                 .heads = 4,
                 .kv_heads = 2,
                 .head_dim = 16,
                 .ffn = 96,
                 .max_pos = 128,
                 .norm_eps = 1e-5,
                 .init_range = 0.02,
                 .tied = true,
                 .qkv_bias = true,
                 .rope = {.theta = 1e4, .factor = 1, .rot_dim = 16},
                 .bos = -1,
                 .pad = -1};
    tn_model *m = NULL, *n = NULL, *w = NULL;
    CHECK_OK(tn_model_new(&m, &d, 11, b, e));
    CHECK_OK(tn_model_new(&n, &d, 11, b64, e));
    CHECK_OK(tn_model_new(&w, &d, 12, b, e));
    check_same(m, n, false);
    CHECK(value(m, &m->tensor[0], 9) != value(w, &w->tensor[0], 9));
    static const struct {
        const char *name;
        double sd;
    } sds[] = {
        {"model.embed_tokens.weight", 0.02},
        {"model.layers.1.self_attn.q_proj.weight", 0.125},
        {"model.layers.1.self_attn.o_proj.weight", 0.0625},
        {"model.layers.0.mlp.down_proj.weight", 0.05103103630798288},
        {"model.layers.0.self_attn.q_proj.bias", 0},
    };
    for (size_t i = 0; i < sizeof sds / sizeof *sds; i++) {
        const tn_tensor *t = tn_model_tensor(m, sds[i].name);
        double s = 0, q = 0, k = (double)count(t);
        for (size_t j = 0; j < count(t); j++) {
            s += value(m, t, j);
            q += value(m, t, j) * value(m, t, j);
        }
        CHECK_NEAR(sqrt(q / k), sds[i].sd, 0.05, 0);
        CHECK_NEAR(s / k, 0, 0, 4 * sds[i].sd / sqrt(k));
    }
    CHECK(value(m, tn_model_tensor(m, "model.norm.weight"), 63) == 1);
    char dir[600];
    snprintf(dir, sizeof dir, "%s/fresh", tn_test_dir());
    CHECK_OK(tn_mkdirs(dir, e));
    CHECK_FAIL(tn_model_save(m, dir, "float8", e), TN_ARG, "float8");
    d.qkv_bias = false;
    tn_model_free(w);
    CHECK_OK(tn_model_new(&w, &d, 12, b, e));
    CHECK_OK(tn_model_save(w, dir, "float32", e));
    tn_model_free(n);
    CHECK_OK(tn_model_load(&n, dir, b, &(tn_load){0}, e));
    if (n) check_same(w, n, false);
    tn_model_free(m);
    tn_model_free(n);
    tn_model_free(w);
    tn_backend_free(b);
    tn_backend_free(b64);
}

/* One AdamW step by hand on chosen elements: decay spares norms and biases. */
TEST(params_adamw_decays_matrices_only) {
    tn_backend *b = backend("ref64", TN_F64);
    for (int all = 0; all < 2; all++) {
        tn_model *m = NULL;
        CHECK_OK(tn_model_load(&m, model_dir("llama"), b, &(tn_load){0}, e));
        CHECK_OK(tn_model_trainable(m, e));
        tn_live_all(m->trunk);
        double sum = 0;
        for (int i = 0; i < m->n_tensor; i++) {
            double *g = tn_tensor_grad(&m->tensor[i], b);
            for (size_t k = 0; k < count(&m->tensor[i]); k++) {
                g[k] = 0.01 * (double)(k % 7) - 0.02;
                sum += g[k] * g[k];
            }
        }
        CHECK_NEAR(tn_model_grad_sumsq(m), sum, 1e-13, 0);
        static const char *const names[] = {"model.layers.1.self_attn.k_proj.weight",
                                            "model.layers.0.self_attn.o_proj.bias",
                                            "model.layers.0.input_layernorm.weight",
                                            "model.embed_tokens.weight"};
        double before[4];
        for (int i = 0; i < 4; i++) before[i] = value(m, tn_model_tensor(m, names[i]), 6);
        tn_model_adamw(m, 0.1, 0.9, 0.99, 1e-8, 0.5, all, 1, 0.25);
        for (int i = 0; i < 4; i++) {
            double g = 0.25 * 0.04, p = before[i] * (all || i == 0 || i == 3 ? 1 - 0.1 * 0.5 : 1);
            CHECK_NEAR(value(m, tn_model_tensor(m, names[i]), 6), p - 0.1 * g / (g + 1e-8), 1e-12,
                       0);
        }
        tn_model_zero_grad(m);
        CHECK(tn_model_grad_sumsq(m) == 0);
        tn_model_free(m);
    }
    tn_backend_free(b);
}

/* Every system call and allocation of loading and saving fails once: an error each time, nothing
 * leaks (the address sanitizer looks), and what is loaded without a fault is whole. */
TEST(params_faults_are_errors) {
    tn_backend *b = backend("ref", TN_F32);
    char dir[600];
    snprintf(dir, sizeof dir, "%s/faults", tn_test_dir());
    CHECK_OK(tn_mkdirs(dir, e));
    tn_model *m = NULL, *r = NULL;
    CHECK_OK(tn_model_load(&m, model_dir("llama"), b, &(tn_load){0}, e));
    for (int what = 0; what < 3; what++) {
        long n = 0;
        bool fired = true;
        while (fired && n < 3000) {
            tn_err e = {0};
            tn_status st;
            r = NULL;
            tn_fault_arm(++n, what == 1 ? ENOSPC : ENOMEM);
            if (what == 0) st = tn_model_load(&r, model_dir("llama"), b, &(tn_load){0}, &e);
            else if (what == 1) st = tn_model_save_shards(m, dir, "float32", 20000, &e);
            else st = tn_model_copy(&r, m, true, &e);
            fired = tn_fault_fired();
            tn_fault_arm(0, 0);
            CHECK_MSG(!fired || st == TN_OK || e.msg[0], "call %ld: an error without a message", n);
            CHECK_MSG(fired || st == TN_OK, "call %ld: %s", n, e.msg);
            if (st == TN_OK && r && what == 0) check_same(m, r, false);
            tn_model_free(r);
        }
        CHECK_MSG(n > 5 && !fired, "%ld calls", n);
    }
    CHECK_OK(tn_model_load(&r, dir, b, &(tn_load){0}, e));
    if (r) check_same(m, r, false);
    tn_model_free(r);
    tn_model_free(m);
    tn_backend_free(b);
}

/* log-probs of 20 tokens */
static void twenty(const tn_model *m, double *logp) {
    tn_run *r = NULL;
    tn_forest f = {0};
    int index;
    int32_t ids[20], rows[20], target[20];
    for (int i = 0; i < 20; i++) ids[i] = 7 * i % 400, rows[i] = i, target[i] = 11 * i % 400;
    tn_lm q = {.n = 20, .rows = rows, .target = target, .inv_temp = 1, .logp = logp};
    CHECK_OK(tn_forest_add(&f, ids, 20, -1, 0, &index, e));
    CHECK_OK(tn_forest_finish(&f, e));
    CHECK_OK(tn_run_new(&r, m, 20, 20, 20, TN_KEEP_NOTHING, e));
    CHECK_OK(tn_forward(r, m, &f, e));
    CHECK_OK(tn_lm_head(r, m, &q, e));
    tn_run_free(r);
    tn_forest_free(&f);
}

static const tn_desc small_tied = {.family = "llama", .vocab = 400, .hidden = 96, .layers = 2, .heads = 4, .kv_heads = 2, .head_dim = 24,
                                   .ffn = 200, .max_pos = 64, .norm_eps = 1e-5, .tied = true, .bos = -1, .pad = -1,
                                   .rope = {.theta = 1e4, .factor = 1, .original_max = 64, .rot_dim = 24}};

/* A frozen model without its matrices: the same numbers; what would read them is refused. */
TEST(params_dropped_masters) {
    tn_backend *b = backend("cpu", TN_F32);
    tn_model *m = NULL, *c = NULL;
    double logp[2][20];
    CHECK_OK(tn_model_new(&m, &small_tied, 3, b, e));
    twenty(m, logp[0]);
    tn_model_drop_masters(m);
    twenty(m, logp[1]);
    CHECK(!memcmp(logp[0], logp[1], sizeof logp[0]));
    const float *up = m->layer[1].gate_up.master;
    CHECK(up[5000] == 0 && up[20000] == 0);
    CHECK(((float *)m->trunk->data)[m->embed + 5000] != 0);
    CHECK_FAIL(tn_model_copy(&c, m, false, e), TN_BUG, "given back");
    CHECK_FAIL(tn_model_save(m, tn_test_dir(), "float32", e), TN_BUG, "given back");
    CHECK_FAIL(tn_model_trainable(m, e), TN_BUG, "given back"); /* would pack the other way, too */
    tn_model_free(m);
    tn_backend_free(b);
}

/* A parked model gives the same numbers whenever it is read; what is trained or shared is not parked. */
TEST(params_parked) {
    static const struct { const char *name; tn_dtype dtype; } on[] = {{"ref", TN_F32}, {"cpu", TN_F32}, {"cpu", TN_BF16}};
    for (size_t i = 0; i < 3; i++)
        for (int tied = 0; tied < 2; tied++) {
            tn_backend *b = backend(on[i].name, on[i].dtype);
            tn_desc d = small_tied;
            d.tied = tied;
            tn_model *m = NULL, *c = NULL, *view = NULL;
            tn_park *k = NULL;
            tn_err why = {0};
            double logp[2][20];
            if (tn_park_new(&k, tn_test_dir(), 1 << 20, &why) != TN_OK) tn_skip("%s", why.msg);
            CHECK_OK(tn_model_new(&m, &d, 3, b, e));
            twenty(m, logp[0]);
            CHECK_FAIL(tn_model_park(m, k, e), TN_BUG, "to be parked");
            CHECK_OK(tn_model_copy_frozen(&c, m, e));
            CHECK(c->trunk->dropped && ((const float *)c->layer[1].gate_up.master)[5000] == 0);
            CHECK(memcmp(c->packed, m->packed, m->packed_bytes) == 0);
            CHECK_OK(tn_model_view(&view, c, e));
            CHECK_FAIL(tn_model_park(c, k, e), TN_BUG, "to be parked");
            tn_model_free(view);
            CHECK_OK(tn_model_park(c, k, e));
            CHECK(tn_park_bytes(k) > c->packed_bytes - 4096);
            for (int round = 0; round < 2; round++) {
                tn_park_leave(k);
                memset(logp[1], 0, sizeof logp[1]);
                twenty(c, logp[1]);
                CHECK(!memcmp(logp[0], logp[1], sizeof logp[0]));
            }
            CHECK_FAIL(tn_model_copy_frozen(&view, c, e), TN_BUG, "given back");
            tn_model_free(c);
            tn_model_free(m);
            tn_park_free(k);
            tn_backend_free(b);
        }
}

/* Gradients between two trainings: zeros, and in no memory until they wake. */
TEST(params_gradients_rest) {
    tn_backend *b = backend("cpu", TN_F32);
    tn_desc d = small_tied;
    d.vocab = 60000;
    tn_model *m = NULL;
    CHECK_OK(tn_model_new(&m, &d, 3, b, e));
    CHECK_OK(tn_model_trainable(m, e));
    float *g = m->trunk->grad;
    size_t n = m->trunk->n;
    CHECK(m->trunk->resting);
    for (int round = 0; round < 3; round++) {
        size_t asleep = tn_resident_memory();
        tn_model_wake_grad(m);
        CHECK(!m->trunk->resting);
        CHECK_MSG(!asleep || tn_resident_memory() > asleep + n * 4 / 10 * 8, "%zu, %zu", tn_resident_memory(), asleep);
        size_t bad = 0;
        for (size_t i = 0; i < n; i++) bad += g[i] != 0;
        CHECK_MSG(bad == 0, "%zu", bad);
        for (size_t i = 0; i < n; i++) g[i] = (float)i;
        tn_model_wake_grad(m); /* awake it stays what it is */
        CHECK(g[1024] == 1024 && g[n - 1] == (float)(n - 1));
        size_t awake = tn_resident_memory();
        tn_model_rest_grad(m);
        CHECK_MSG(!awake || tn_resident_memory() + n * 4 / 10 * 8 < awake, "%zu, %zu", tn_resident_memory(), awake);
    }
    for (size_t i = 0; i < n; i++) g[i] = 1; /* a checkpoint that gathers there */
    tn_model_fresh_grad(m);
    CHECK(m->trunk->resting && g[0] == 0 && g[n - 1] == 0);
    tn_model_free(m);
    tn_backend_free(b);
}

/* An embedding that came in bf16 is kept so by a frozen model, and by it alone: the same numbers in half of the memory. */
TEST(params_frozen_embedding) {
    static const char *const backends[] = {"ref", "ref64", "cpu"};
    static const tn_dtype types[] = {TN_F32, TN_F64, TN_BF16};
    char dir[512];
    for (int tied = 0; tied < 2; tied++)
        for (int n = 0; n < 3; n++)
            for (int half = 0; half < 2; half++) {
                tn_backend *b = backend(backends[n], types[n]);
                tn_desc d = small_tied;
                d.tied = tied;
                tn_model *m = NULL, *whole = NULL, *frozen = NULL, *later = NULL;
                double logp[3][20];
                snprintf(dir, sizeof dir, "%s/%d%d%d", tn_test_dir(), tied, n, half);
                CHECK_OK(tn_mkdirs(dir, e));
                CHECK_OK(tn_model_new(&m, &d, 3, b, e));
                CHECK_OK(tn_model_save(m, dir, half ? "bfloat16" : "float32", e));
                CHECK_OK(tn_model_load(&whole, dir, b, &(tn_load){0}, e));
                CHECK_OK(tn_model_load(&frozen, dir, b, &(tn_load){.frozen = true}, e));
                CHECK_OK(tn_model_load(&later, dir, b, &(tn_load){0}, e));
                tn_model_drop_masters(later);
                twenty(whole, logp[0]), twenty(frozen, logp[1]), twenty(later, logp[2]);
                CHECK(!memcmp(logp[0], logp[1], sizeof logp[0]) && !memcmp(logp[0], logp[2], sizeof logp[0]));
                CHECK(!whole->trunk->half_embed && frozen->trunk->half_embed == (half && n != 1));
                const char *end = (const char *)frozen->trunk->data + (frozen->embed + 400 * 96) * b->elem;
                bool zero = true; /* the last whole pages of the table */
                for (int i = 4096; i < 16384; i++) zero = zero && end[-i] == 0;
                CHECK_MSG(zero == (half && n != 1), "%s", backends[n]);
                if (n != 1) { /* trained since: no bit of it may go */
                    ((float *)whole->trunk->data)[whole->embed + 7 * 96] += 1e-3f;
                    tn_model_pack(whole);
                    twenty(whole, logp[0]);
                    tn_model_drop_masters(whole);
                    twenty(whole, logp[1]);
                    CHECK(!whole->trunk->half_embed && !memcmp(logp[0], logp[1], sizeof logp[0]));
                }
                tn_model_free(m), tn_model_free(whole), tn_model_free(frozen), tn_model_free(later);
                tn_backend_free(b);
            }
}
