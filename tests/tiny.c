#include "tiny.h"
#include "base/rng.h"

/* Together: GQA, MHA and MQA, head_dim != hidden/heads, qk_norm, biases everywhere, windows on all
 * or some layers, tied and untied heads, partial rotary, every activation, sizes that no tile
 * divides. */
static tiny_case cases[] = {
    {"llama-gqa-tied",
     {.family = "llama",
      .vocab = 37,
      .hidden = 20,
      .layers = 2,
      .heads = 4,
      .kv_heads = 2,
      .head_dim = 6,
      .ffn = 27,
      .tied = true,
      .norm_eps = 1e-5}},
    {"llama-mha-bias",
     {.family = "llama",
      .vocab = 41,
      .hidden = 18,
      .layers = 2,
      .heads = 3,
      .kv_heads = 3,
      .head_dim = 10,
      .ffn = 21,
      .qkv_bias = true,
      .o_bias = true,
      .mlp_bias = true,
      .norm_eps = 1e-6}},
    {"mistral-window",
     {.family = "mistral",
      .vocab = 33,
      .hidden = 16,
      .layers = 3,
      .heads = 4,
      .kv_heads = 1,
      .head_dim = 4,
      .ffn = 19,
      .window = 5,
      .windowed = {1, 1, 1},
      .norm_eps = 1e-5}},
    {"qwen2-window-late",
     {.family = "qwen2",
      .vocab = 29,
      .hidden = 24,
      .layers = 3,
      .heads = 6,
      .kv_heads = 2,
      .head_dim = 4,
      .ffn = 17,
      .tied = true,
      .qkv_bias = true,
      .window = 9,
      .windowed = {0, 0, 1},
      .norm_eps = 1e-6}},
    {"qwen3-qknorm",
     {.family = "qwen3",
      .vocab = 31,
      .hidden = 14,
      .layers = 2,
      .heads = 4,
      .kv_heads = 2,
      .head_dim = 8,
      .ffn = 22,
      .tied = true,
      .qk_norm = true,
      .norm_eps = 1e-6}},
    {"qwen3-bias-gelu",
     {.family = "qwen3",
      .vocab = 26,
      .hidden = 22,
      .layers = 2,
      .heads = 2,
      .kv_heads = 1,
      .head_dim = 14,
      .ffn = 15,
      .qk_norm = true,
      .qkv_bias = true,
      .o_bias = true,
      .act = TN_GELU_TANH,
      .norm_eps = 1e-6}},
    {"partial-rotary",
     {.family = "llama",
      .vocab = 35,
      .hidden = 12,
      .layers = 1,
      .heads = 3,
      .kv_heads = 1,
      .head_dim = 12,
      .ffn = 13,
      .rope = {.rot_dim = 4},
      .norm_eps = 1e-5}},
};
const int n_tiny = (int)(sizeof cases / sizeof *cases);

const tiny_case *tiny_get(int i) {
    tn_desc *d = &cases[i].desc;
    d->max_pos = 512;
    d->init_range = 0.02;
    d->rope.type = TN_ROPE_DEFAULT;
    d->rope.theta = 10000;
    d->rope.factor = 1;
    d->rope.original_max = d->max_pos;
    if (!d->rope.rot_dim) d->rope.rot_dim = d->head_dim;
    d->bos = d->pad = -1;
    return &cases[i];
}

double tiny_unit(uint64_t seed, uint64_t i) {
    tn_rng r = tn_rng_stream(seed, 7, i);
    return 2 * tn_rng_unit(&r) - 1;
}
double tiny_element(const tn_backend *be, const void *p, size_t i) {
    return be->elem == sizeof(double) ? ((const double *)p)[i] : (double)((const float *)p)[i];
}
void tiny_set(const tn_backend *be, void *p, size_t i, double v) {
    if (be->elem == sizeof(double)) ((double *)p)[i] = v;
    else ((float *)p)[i] = (float)v;
}

tn_backend *tiny_backend(const char *name, tn_dtype dtype, const char *kernels, int threads) {
    tn_err e = {0};
    tn_backend *b = NULL;
    if (tn_backend_open(&b, name, dtype, kernels, threads, &e) != TN_OK) {
        CHECK_MSG(false, "backend %s: %s", name, e.msg);
        return NULL;
    }
    return b;
}

tn_model *tiny_model(const tn_desc *d, tn_backend *be, bool train, uint64_t seed) {
    tn_err e = {0};
    tn_model *m = NULL;
    if (tn_model_new(&m, d, seed, be, &e) != TN_OK ||
        (train && tn_model_trainable(m, &e) != TN_OK)) {
        CHECK_MSG(false, "tiny model: %s", e.msg);
        tn_model_free(m);
        return NULL;
    }
    for (int t = 0; t < m->n_tensor; t++) {
        const tn_tensor *x = &m->tensor[t];
        bool norm = strstr(x->name, "norm") != NULL;
        double size = norm ? 0.3 : x->cols == 1 ? 0.5 : 1.2 / __builtin_sqrt((double)x->cols);
        for (size_t i = 0; i < (size_t)x->rows * (size_t)x->cols; i++)
            tiny_set(be, tn_tensor_data(x, be), i,
                     (double)(float)((norm ? 1 : 0) +
                                     size * tiny_unit(seed + (uint64_t)t * 1000003u, i)));
    }
    tn_model_pack(m);
    return m;
}

void tiny_ids(int32_t *ids, int n, int vocab, uint64_t seed) {
    for (int i = 0; i < n; i++) {
        tn_rng r = tn_rng_stream(seed, 8, (uint64_t)i);
        ids[i] = (int32_t)tn_rng_below(&r, (uint32_t)vocab);
    }
}
