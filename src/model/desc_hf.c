/* tn_desc -> config.json, and what follows from a descriptor alone.
 *
 * RoPE is written as `rope_theta` and `rope_scaling`, which every version of transformers,
 * llama.cpp and vLLM reads; a config that was read keeps the form it had.                    */
#include "model/desc.h"
#include <string.h>

tn_effort_flop tn_desc_flop(const tn_desc *d, const tn_effort *w) {
    double D = d->hidden, q = (double)d->heads * d->head_dim, qkv = q + 2.0 * d->kv_heads * d->head_dim;
    double read = qkv * D, rest = q * D + 3 * D * d->ffn; /* elements that reach keys and values, and what follows */
    double layers = 2 * (d->layers * read + (d->layers - 1) * rest) * w->tokens + 2 * rest * w->read;
    return (tn_effort_flop){layers + 4 * q * d->layers * w->pairs, 2 * w->logits * D * d->vocab};
}

size_t tn_desc_params(const tn_desc *d) {
    size_t D = (size_t)d->hidden, F = (size_t)d->ffn;
    size_t q = (size_t)d->heads * (size_t)d->head_dim,
           kv = (size_t)d->kv_heads * (size_t)d->head_dim;
    size_t layer = 2 * D + (q + 2 * kv) * D + q * D + 3 * F * D;
    if (d->qkv_bias) layer += q + 2 * kv;
    if (d->o_bias) layer += D;
    if (d->mlp_bias) layer += 2 * F + D;
    if (d->qk_norm) layer += 2 * (size_t)d->head_dim;
    size_t n = (size_t)d->vocab * D + (size_t)d->layers * layer + D;
    for (int i = 0; i < d->n_part; i++) n += (size_t)d->part[i].rows * (size_t)d->part[i].cols;
    if (d->num_labels) return n + (size_t)d->num_labels * D;
    return d->tied ? n : n + (size_t)d->vocab * D;
}

static const char *class_prefix(const tn_desc *d) {
    if (!strcmp(d->family, "mistral")) return "Mistral";
    if (!strcmp(d->family, "qwen2")) return "Qwen2";
    if (!strcmp(d->family, "qwen3")) return "Qwen3";
    return "Llama";
}

/* -1 (none) becomes null. */
static json_t *id_or_null(int id) { return id < 0 ? json_null() : json_integer(id); }

static json_t *eos_json(const tn_desc *d) {
    if (d->n_eos == 0) return json_null();
    if (d->n_eos == 1) return json_integer(d->eos[0]);
    json_t *a = json_array();
    for (int i = 0; i < d->n_eos; i++) json_array_append_new(a, json_integer(d->eos[i]));
    return a;
}

static json_t *reals(const double *v, int n) {
    json_t *a = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(a, json_real(v[i]));
    return a;
}

static void set_given(json_t *o, const char *key, double v) {
    if (v != 0) json_object_set_new(o, key, json_real(v));
}

static json_t *rope_json(const tn_rope *r) {
    static const char *const names[] = {"default", "linear", "dynamic",
                                        "llama3",  "yarn",   "longrope"};
    if (r->type == TN_ROPE_DEFAULT) return json_null();
    json_t *o = json_object();
    json_object_set_new(o, "rope_type", json_string(names[r->type]));
    json_object_set_new(o, "factor", json_real(r->factor));
    if (r->type == TN_ROPE_LLAMA3 || r->type == TN_ROPE_YARN || r->type == TN_ROPE_LONGROPE)
        json_object_set_new(o, "original_max_position_embeddings", json_integer(r->original_max));
    set_given(o, "low_freq_factor", r->low_freq_factor);
    set_given(o, "high_freq_factor", r->high_freq_factor);
    set_given(o, "attention_factor", r->attention_factor);
    set_given(o, "beta_fast", r->beta_fast);
    set_given(o, "beta_slow", r->beta_slow);
    set_given(o, "mscale", r->mscale);
    set_given(o, "mscale_all_dim", r->mscale_all_dim);
    if (r->type == TN_ROPE_YARN) json_object_set_new(o, "truncate", json_boolean(r->truncate));
    if (r->type == TN_ROPE_LONGROPE) {
        json_object_set_new(o, "short_factor", reals(r->short_factor, r->rot_dim / 2));
        json_object_set_new(o, "long_factor", reals(r->long_factor, r->rot_dim / 2));
    }
    return o;
}

static void set_window(json_t *o, const tn_desc *d) {
    json_t *w = d->window ? json_integer(d->window) : json_null();
    if (!strcmp(d->family, "mistral")) json_object_set_new(o, "sliding_window", w);
    else if (!strncmp(d->family, "qwen", 4)) {
        json_object_set_new(o, "use_sliding_window", json_boolean(d->window > 0));
        json_object_set_new(o, "sliding_window", w);
        json_t *types = json_array();
        int from = d->layers;
        for (int i = d->layers - 1; i >= 0 && d->windowed[i]; i--) from = i;
        for (int i = 0; i < d->layers; i++)
            json_array_append_new(types, json_string(d->windowed[i] ? "sliding_attention"
                                                                    : "full_attention"));
        json_object_set_new(o, "max_window_layers", json_integer(from));
        json_object_set_new(o, "layer_types", types);
    } else json_decref(w);
}

static void set_labels(json_t *o, const tn_desc *d) {
    int n = d->num_labels > 0 ? d->num_labels : 1;
    const json_t *have = json_object_get(o, "id2label");
    if (json_is_object(have) && json_object_size(have) == (size_t)n) return;
    json_t *id2label = json_object(), *label2id = json_object();
    for (int i = 0; i < n; i++) {
        char id[16], label[32];
        snprintf(id, sizeof id, "%d", i);
        snprintf(label, sizeof label, "LABEL_%d", i);
        json_object_set_new(id2label, id, json_string(label));
        json_object_set_new(label2id, label, json_integer(i));
    }
    json_object_set_new(o, "id2label", id2label);
    json_object_set_new(o, "label2id", label2id);
}

static void set_fields(json_t *o, const tn_desc *d) {
    json_object_set_new(o, "model_type", json_string(d->family));
    json_object_set_new(o, "vocab_size", json_integer(d->vocab));
    json_object_set_new(o, "hidden_size", json_integer(d->hidden));
    json_object_set_new(o, "intermediate_size", json_integer(d->ffn));
    json_object_set_new(o, "num_hidden_layers", json_integer(d->layers));
    json_object_set_new(o, "num_attention_heads", json_integer(d->heads));
    json_object_set_new(o, "num_key_value_heads", json_integer(d->kv_heads));
    json_object_set_new(o, "head_dim", json_integer(d->head_dim));
    json_object_set_new(o, "max_position_embeddings", json_integer(d->max_pos));
    json_object_set_new(o, "rms_norm_eps", json_real(d->norm_eps));
    json_object_set_new(o, "initializer_range", json_real(d->init_range));
    json_object_set_new(o, "hidden_act",
                        json_string(d->act == TN_SILU ? "silu" : "gelu_pytorch_tanh"));
    json_object_set_new(o, "rope_theta", json_real(d->rope.theta));
    json_object_set_new(o, "rope_scaling", rope_json(&d->rope));
    if (!strcmp(d->family, "llama") || !strcmp(d->family, "qwen3"))
        json_object_set_new(o, "attention_bias", json_boolean(d->qkv_bias));
    if (!strcmp(d->family, "llama")) json_object_set_new(o, "mlp_bias", json_boolean(d->mlp_bias));
    set_window(o, d);
    json_object_set_new(o, "bos_token_id", id_or_null(d->bos));
    json_object_set_new(o, "eos_token_id", eos_json(d));
    json_object_set_new(o, "use_cache", json_true());
}

json_t *tn_desc_to_config(const tn_desc *d, const json_t *base, bool reward_model) {
    json_t *o = base ? json_deep_copy(base) : json_object();
    if (!o) return NULL;
    if (!base) set_fields(o, d);
    /* what may differ from the config that was read */
    json_object_set_new(o, "tie_word_embeddings", json_boolean(d->tied));
    if (d->pad >= 0 || !base) json_object_set_new(o, "pad_token_id", id_or_null(d->pad));
    char name[64];
    snprintf(name, sizeof name, "%s%s", class_prefix(d),
             !reward_model    ? "ForCausalLM"
             : d->per_token ? "ForTokenClassification"
                            : "ForSequenceClassification");
    json_object_set_new(o, "architectures", json_pack("[s]", name));
    if (reward_model) set_labels(o, d);
    else {
        json_object_del(o, "id2label");
        json_object_del(o, "label2id");
        json_object_del(o, "num_labels");
    }
    return o;
}
