/* Logits, loss and gradients equal transformers' on the checkpoints of tests/golden/model
 * (tools/dump_model_fidelity.py, with adapters of peft tools/dump_adapter_goldens.py): each logit within 2e-5 of its row's spread, each tensor's
 * gradient within 5e-5 of its norm. */
#include "base/mathx.h"
#include "tiny.h"

static json_t *expected(const char *name, tn_str *dir) {
    json_t *x = NULL;
    char rel[256];
    snprintf(rel, sizeof rel, "golden/model/%s", name);
    tn_str_clear(dir);
    tn_str_addz(dir, tn_test_file(rel));
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, dir->s, "expect.json");
    CHECK_OK(tn_json_load(path.s, &x, e));
    tn_str_free(&path);
    return x;
}

typedef struct text { int n; int32_t *ids; } text;
static text text_of(const json_t *row) {
    text t = {0};
    size_t n = 0;
    CHECK_OK(tn_json_ids(row, 0, &t.ids, &n, "row", e));
    t.n = (int)n;
    return t;
}

static void check_logits(const char *name, size_t row, const json_t *kept, const float *z, int V) {
    const char *key;
    json_t *want;
    json_object_foreach((json_t *)kept, key, want) {
        const float *got = z + strtoul(key, NULL, 10) * (size_t)V;
        double low = 1e30, high = -1e30, worst = 0;
        for (int v = 0; v < V; v++) {
            double w = json_number_value(json_array_get(want, (size_t)v)),
                   d = __builtin_fabs(w - (double)got[v]);
            if (w < low) low = w;
            if (w > high) high = w;
            if (!(d <= worst)) worst = d;
        }
        CHECK_MSG(worst <= 2e-5 * (high - low),
                  "%s row %zu token %s: a logit is off by %.2g of the spread", name, row, key,
                  worst / (high - low));
    }
}

static void check_gradients(const char *name, const tn_model *m, const json_t *x) {
    const json_t *norms = json_object_get(x, "grad_norm"),
                 *along = json_object_get(x, "grad_along");
    const tn_tensor *w;
    int n_param = 0;
    for (; (w = tn_model_param(m, n_param)); n_param++) {
        const void *g = tn_tensor_grad(w, m->be);
        char name_of_it[128]; /* peft's name of the score head */
        snprintf(name_of_it, sizeof name_of_it, "%s%s",
                 m->n_adapter && w->store == m->head ? "base_model.model." : "", w->name);
        double sum = 0, dot = 0, n = json_number_value(json_object_get(norms, name_of_it));
        double a = json_number_value(json_object_get(along, name_of_it));
        for (size_t i = 0; i < (size_t)w->rows * (size_t)w->cols; i++) {
            double v = tiny_element(m->be, g, i);
            sum += v * v;
            dot += v * tn_sin((double)i);
        }
        CHECK_MSG(n > 0 && __builtin_fabs(__builtin_sqrt(sum) - n) <= 5e-5 * n &&
                      __builtin_fabs(dot - a) <= 5e-5 * n,
                  "%s %s: gradient norm %.9g against %.9g, along a direction %.9g against %.9g",
                  name, w->name, __builtin_sqrt(sum), n, dot, a);
    }
    CHECK_MSG((int)json_object_size(norms) == n_param, "%s: %d gradients", name, n_param);
}

/* One row: forward, logits, its share of the NLL and, with `backward`, of the gradient. */
static double one_row(const char *name, tn_model *m, size_t row, const text *t, const json_t *kept,
                      double total) {
    static float z[128 * 128];
    static double logp[128], lse[128], d[128];
    int32_t rows[128], target[128];
    tn_run *run = NULL;
    tn_forest f = {0};
    CHECK_OK(tn_run_new(&run, m, t->n, t->n, t->n, true, e));
    CHECK_OK(tn_forest_add(&f, t->ids, t->n, -1, 0, NULL, e));
    CHECK_OK(tn_forest_finish(&f, e));
    CHECK_OK(tn_forward(run, m, &f, e));
    for (int i = 0; i < t->n; i++) {
        rows[i] = i;
        target[i] = i + 1 < t->n ? t->ids[i + 1] : -1;
        d[i] = -1 / total;
    }
    tn_lm all = {
        .n = t->n, .rows = rows, .target = target, .inv_temp = 1, .logp = logp, .lse = lse, .z = z};
    CHECK_OK(tn_lm_head(run, m, &all, e));
    check_logits(name, row, kept, z, m->desc.vocab);
    tn_lm q = {.n = t->n - 1, .rows = rows, .target = target, .inv_temp = 1, .lse = lse};
    CHECK_OK(tn_lm_head_backward(run, m, &q, d, NULL, NULL, e));
    CHECK_OK(tn_backward(run, m, &f, e));
    double nll = 0;
    for (int i = 0; i + 1 < t->n; i++) nll -= logp[i] / total;
    tn_run_free(run);
    tn_forest_free(&f);
    return nll;
}

static void check_checkpoint(const char *name, tn_backend *be) {
    tn_str dir = TN_STR_INIT;
    json_t *x = expected(name, &dir);
    tn_model *m = NULL;
    CHECK_OK(tn_model_load(&m, dir.s, be, &(tn_load){0}, e));
    if (m) CHECK_OK(tn_model_trainable(m, e));
    const json_t *rows = json_object_get(x, "rows");
    double total = 0, nll = 0;
    for (size_t i = 0; m && i < json_array_size(rows); i++)
        total += (double)json_array_size(json_array_get(rows, i)) - 1;
    for (size_t i = 0; m && i < json_array_size(rows); i++) {
        text t = text_of(json_array_get(rows, i));
        nll += one_row(name, m, i, &t, json_array_get(json_object_get(x, "logits"), i), total);
        tn_free(t.ids);
    }
    CHECK_NEAR(nll, json_number_value(json_object_get(x, "nll")), 1e-6, 0);
    if (m) check_gradients(name, m, x);
    tn_model_free(m);
    json_decref(x);
    tn_str_free(&dir);
}

TEST(forward_equals_transformers) {
    static const char *const names[] = {"llama-llama3", "llama-linear-shards", "mistral-window",
                                        "qwen2-yarn-late-window", "qwen3-longrope", "lora-llama",
                                        "lora-qwen2-rslora"};
    tn_backend *be = tiny_backend("ref", TN_F32, NULL, 1);
    for (size_t i = 0; be && i < sizeof names / sizeof *names; i++) check_checkpoint(names[i], be);
    tn_backend_free(be);
}

static void check_scores(const char *name, bool gradients) {
    tn_backend *be = tiny_backend("ref", TN_F32, NULL, 1);
    tn_str dir = TN_STR_INIT;
    json_t *x = expected(name, &dir);
    tn_model *m = NULL;
    CHECK_OK(tn_model_load(&m, dir.s, be, &(tn_load){0}, e));
    const json_t *rows = json_object_get(x, "rows"), *want = json_object_get(x, "score");
    tn_forest f = {0};
    int32_t last[8];
    double score[8], d[8];
    size_t n = json_array_size(rows);
    for (size_t i = 0; m && i < n; i++) {
        text t = text_of(json_array_get(rows, i));
        CHECK_OK(tn_forest_add(&f, t.ids, t.n, -1, 0, NULL, e));
        last[i] = f.n_tok - 1;
        tn_free(t.ids);
    }
    tn_run *run = NULL;
    if (m) {
        CHECK_OK(tn_forest_finish(&f, e));
        CHECK_OK(tn_run_new(&run, m, f.n_tok, 3, 128, gradients, e));
        CHECK_OK(tn_forward(run, m, &f, e));
        CHECK_OK(tn_score_head(run, m, last, (int)n, score, e));
        for (size_t i = 0; i < n; i++)
            CHECK_NEAR(score[i], json_number_value(json_array_get(want, i)), 2e-6, 2e-6);
    }
    for (size_t i = 0; i < n; i++) d[i] = 1.0 / (double)n;
    if (m && gradients) {
        CHECK_OK(tn_model_trainable(m, e));
        CHECK_OK(tn_score_head_backward(run, m, last, (int)n, d, e));
        CHECK_OK(tn_backward(run, m, &f, e));
        check_gradients(name, m, x);
    }
    tn_run_free(run);
    tn_forest_free(&f);
    tn_model_free(m);
    tn_backend_free(be);
    json_decref(x);
    tn_str_free(&dir);
}

TEST(forward_score_equals_transformers) {
    check_scores("llama-score", false);
    check_scores("lora-score", true);
}
