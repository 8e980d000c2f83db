/* GGUF metadata -> config.json. llama.cpp's "llama" covers Llama, Mistral, SmolLM and TinyLlama
 * alike. */
#include "model/gguf.h"
#include <stdlib.h>
#include <string.h>

typedef struct tn_meta {
    const tn_gguf *g;
    char arch[32];
    json_t *o;
} tn_meta;

static const char *key_of(const tn_meta *m, const char *name, char *buf, size_t n) {
    snprintf(buf, n, "%s.%s", m->arch, name);
    return buf;
}

static tn_status read_arch(tn_meta *m, tn_err *e) {
    tn_gstr a;
    TN_TRY(tn_gguf_str(m->g, "general.architecture", &a, e));
    if (a.p && a.n < sizeof m->arch) {
        memcpy(m->arch, a.p, a.n);
        m->arch[a.n] = 0;
    }
    if (!strcmp(m->arch, "llama") || !strcmp(m->arch, "qwen2") || !strcmp(m->arch, "qwen3"))
        return TN_OK;
    return tn_fail(e, TN_UNSUPPORTED,
                   "%s: architecture \"%.*s\" is not supported; llama, qwen2 and qwen3 are",
                   tn_gguf_path(m->g), a.p ? (int)(a.n > 60 ? 60 : a.n) : 4, a.p ? a.p : "none");
}

static tn_status get_int(const tn_meta *m, const char *name, int64_t def, int64_t *v, tn_err *e) {
    char key[96];
    return tn_gguf_int(m->g, key_of(m, name, key, sizeof key), def, v, e);
}

static tn_status need_int(const tn_meta *m, const char *name, const char *field, int64_t *v,
                          tn_err *e) {
    char key[96];
    key_of(m, name, key, sizeof key);
    if (!tn_gguf_has(m->g, key))
        return tn_fail(e, TN_FORMAT, "%s: metadata lacks %s", tn_gguf_path(m->g), key);
    TN_TRY(tn_gguf_int(m->g, key, 0, v, e));
    if (*v < 1 || *v > 1 << 30)
        return tn_fail(e, TN_FORMAT, "%s: %s is %lld", tn_gguf_path(m->g), key, (long long)*v);
    json_object_set_new(m->o, field, json_integer(*v));
    return TN_OK;
}

/* A float32 as the shortest decimal that gives it back: 1e-05, not 9.999999747378752e-06. */
static tn_status get_real(const tn_meta *m, const char *name, double def, double *v, tn_err *e) {
    char key[96], text[40];
    double raw;
    *v = def;
    key_of(m, name, key, sizeof key);
    if (!tn_gguf_has(m->g, key)) return TN_OK;
    TN_TRY(tn_gguf_real(m->g, key, def, &raw, e));
    *v = raw;
    for (int digits = 1; digits <= 9 && raw == (double)(float)raw; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, raw);
        double back = strtod(text, NULL);
        if ((float)back == (float)raw) {
            *v = back;
            break;
        }
    }
    return TN_OK;
}

static void set(json_t *o, const char *key, json_t *v) { json_object_set_new(o, key, v); }

static tn_status rope_scaling(tn_meta *m, int64_t max_pos, tn_err *e) {
    char key[96];
    tn_gstr type;
    double factor, attn;
    int64_t original;
    TN_TRY(tn_gguf_str(m->g, key_of(m, "rope.scaling.type", key, sizeof key), &type, e));
    TN_TRY(get_real(m, "rope.scaling.factor", 1, &factor, e));
    TN_TRY(get_real(m, "rope.scaling.attn_factor", 1, &attn, e));
    TN_TRY(get_int(m, "rope.scaling.original_context_length", max_pos, &original, e));
    if (!type.p || (type.n == 4 && !memcmp(type.p, "none", 4))) return TN_OK;
    bool linear = type.n == 6 && !memcmp(type.p, "linear", 6),
         yarn = type.n == 4 && !memcmp(type.p, "yarn", 4);
    if ((!linear && !yarn) || attn != 1 || !(factor > 0))
        return tn_fail(
            e, TN_UNSUPPORTED,
            "%s: rope scaling \"%.*s\" (factor %g, attention factor %g) is not supported; "
            "linear and yarn are",
            tn_gguf_path(m->g), (int)(type.n > 40 ? 40 : type.n), type.p, factor, attn);
    json_t *s = json_object();
    set(s, "rope_type", json_string(linear ? "linear" : "yarn"));
    set(s, "factor", json_real(factor));
    if (yarn) set(s, "original_max_position_embeddings", json_integer(original));
    set(m->o, "rope_scaling", s);
    return TN_OK;
}

/* Llama 3.1 and later: llama.cpp stores the divisors of the frequencies as a tensor and drops the
 * numbers they were made from. longrope with these divisors for every length is the same function.
 */
static tn_status rope_factors(tn_meta *m, int64_t head_dim, int64_t max_pos, tn_err *e) {
    const tn_gguf_tensor *t = tn_gguf_find(m->g, "rope_freqs.weight");
    if (!t) return TN_OK;
    if (t->type != 0 || t->rows != 1 || t->cols != head_dim / 2 || head_dim > TN_MAX_HEAD_DIM)
        return tn_fail(e, TN_UNSUPPORTED, "%s: rope_freqs.weight should be %lld floats",
                       tn_gguf_path(m->g), (long long)head_dim / 2);
    float f[TN_MAX_HEAD_DIM / 2];
    bool plain = true;
    memcpy(f, t->data, t->bytes);
    json_t *a = json_array();
    for (int64_t i = 0; i < t->cols; i++) {
        plain = plain && f[i] == 1;
        json_array_append_new(a, json_real((double)f[i]));
    }
    if (plain) {
        json_decref(a);
        return TN_OK;
    }
    json_t *s = json_object();
    set(s, "rope_type", json_string("longrope"));
    set(s, "factor", json_real(1));
    set(s, "attention_factor", json_real(1));
    set(s, "original_max_position_embeddings", json_integer(max_pos));
    set(s, "short_factor", a);
    set(s, "long_factor", json_deep_copy(a));
    set(m->o, "rope_scaling", s);
    return TN_OK;
}

static tn_status head_shape(tn_meta *m, int64_t *head_dim, tn_err *e) {
    int64_t heads, kv, hidden = json_integer_value(json_object_get(m->o, "hidden_size")), rot,
                       experts, vlen;
    TN_TRY(need_int(m, "attention.head_count", "num_attention_heads", &heads, e));
    TN_TRY(get_int(m, "attention.head_count_kv", heads, &kv, e));
    TN_TRY(get_int(m, "attention.key_length", hidden / heads, head_dim, e));
    TN_TRY(get_int(m, "attention.value_length", *head_dim, &vlen, e));
    TN_TRY(get_int(m, "rope.dimension_count", *head_dim, &rot, e));
    TN_TRY(get_int(m, "expert_count", 0, &experts, e));
    if (experts)
        return tn_fail(e, TN_UNSUPPORTED, "%s: mixtures of experts are not supported",
                       tn_gguf_path(m->g));
    if (rot != *head_dim || vlen != *head_dim)
        return tn_fail(
            e, TN_UNSUPPORTED,
            "%s: keys of %lld, values of %lld and %lld rotating dimensions; they must be "
            "equal",
            tn_gguf_path(m->g), (long long)*head_dim, (long long)vlen, (long long)rot);
    set(m->o, "num_key_value_heads", json_integer(kv));
    set(m->o, "head_dim", json_integer(*head_dim));
    return TN_OK;
}

static tn_status token_ids(tn_meta *m, tn_err *e) {
    static const char *const ids[][2] = {{"bos_token_id", "tokenizer.ggml.bos_token_id"},
                                         {"eos_token_id", "tokenizer.ggml.eos_token_id"},
                                         {"pad_token_id", "tokenizer.ggml.padding_token_id"}};
    for (int i = 0; i < 3; i++) {
        int64_t v;
        TN_TRY(tn_gguf_int(m->g, ids[i][1], -1, &v, e));
        set(m->o, ids[i][0], v >= 0 ? json_integer(v) : json_null());
    }
    return TN_OK;
}

static tn_status fields(tn_meta *m, tn_err *e) {
    int64_t v, max_pos, head_dim;
    double eps, theta;
    const tn_gguf_tensor *embed = tn_gguf_find(m->g, "token_embd.weight");
    if (!embed)
        return tn_fail(e, TN_FORMAT, "%s: there is no tensor token_embd.weight",
                       tn_gguf_path(m->g));
    bool llama = !strcmp(m->arch, "llama"), qwen3 = !strcmp(m->arch, "qwen3");
    set(m->o, "model_type", json_string(m->arch));
    set(m->o, "architectures",
        json_pack("[s]", llama   ? "LlamaForCausalLM"
                         : qwen3 ? "Qwen3ForCausalLM"
                                 : "Qwen2ForCausalLM"));
    set(m->o, "vocab_size", json_integer(embed->rows));
    TN_TRY(need_int(m, "embedding_length", "hidden_size", &v, e));
    TN_TRY(need_int(m, "block_count", "num_hidden_layers", &v, e));
    TN_TRY(need_int(m, "feed_forward_length", "intermediate_size", &v, e));
    TN_TRY(need_int(m, "context_length", "max_position_embeddings", &max_pos, e));
    TN_TRY(head_shape(m, &head_dim, e));
    TN_TRY(get_real(m, "attention.layer_norm_rms_epsilon", 1e-6, &eps, e));
    TN_TRY(get_real(m, "rope.freq_base", 10000, &theta, e));
    set(m->o, "rms_norm_eps", json_real(eps));
    set(m->o, "rope_theta", json_real(theta));
    set(m->o, "rope_scaling", json_null());
    TN_TRY(rope_scaling(m, max_pos, e));
    TN_TRY(rope_factors(m, head_dim, max_pos, e));
    set(m->o, "hidden_act", json_string("silu"));
    set(m->o, "initializer_range", json_real(0.02));
    set(m->o, "tie_word_embeddings", json_boolean(!tn_gguf_find(m->g, "output.weight")));
    if (llama || qwen3)
        set(m->o, "attention_bias", json_boolean(tn_gguf_find(m->g, "blk.0.attn_q.bias")));
    if (llama) set(m->o, "mlp_bias", json_boolean(tn_gguf_find(m->g, "blk.0.ffn_gate.bias")));
    if (!llama) set(m->o, "use_sliding_window", json_false());
    set(m->o, "use_cache", json_true());
    return token_ids(m, e);
}

tn_status tn_gguf_config(const tn_gguf *g, json_t **config, tn_err *e) {
    tn_meta m = {.g = g};
    *config = NULL;
    TN_TRY(read_arch(&m, e));
    if (!(m.o = json_object())) return tn_fail(e, TN_NOMEM, "%s: out of memory", tn_gguf_path(g));
    tn_status st = fields(&m, e);
    if (st == TN_OK) *config = m.o;
    else json_decref(m.o);
    return st;
}
