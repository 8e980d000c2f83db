/* config.json -> tn_desc for Llama, Mistral, Qwen2 and Qwen3.
 *
 * Follows transformers' configuration classes: a field that is absent takes the class's default,
 * which differs between families, and RoPE parameters come from `rope_scaling` when that is a
 * non-empty object, else from `rope_parameters` (transformers 5), each completed by the top-level
 * `rope_theta`. Whatever would make the model another function than ours is refused by name.   */
#include "model/desc.h"
#include "base/log.h"
#include <math.h>
#include <string.h>

typedef struct tn_family {
    const char *type, *prefix; /* model_type; prefix of the class names in `architectures` */
    int kv_heads, head_dim;    /* defaults; 0: as many as heads, hidden/heads */
    int max_pos, bos, eos;
    bool class_window;  /* Mistral: a window on every layer, 4096 when the field is absent */
    bool choice_window; /* Qwen: use_sliding_window, max_window_layers, layer_types */
    bool bias_field;    /* attention_bias is read: biases on q, k, v and o */
    bool qkv_bias;      /* q, k, v always have biases, o never */
    bool mlp_field;     /* mlp_bias is read */
    bool qk_norm;
} tn_family;

static const tn_family families[] = {
    {"llama", "Llama", 0, 0, 2048, 1, 2, false, false, true, false, true, false},
    {"mistral", "Mistral", 8, 0, 4096 * 32, 1, 2, true, false, false, false, false, false},
    {"qwen2", "Qwen2", 32, 0, 32768, -1, -1, false, true, false, true, false, false},
    {"qwen3", "Qwen3", 32, 128, 32768, -1, -1, false, true, true, false, false, true},
};

static const tn_family *family_find(const char *type) {
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (!strcmp(families[i].type, type)) return &families[i];
    return NULL;
}

static bool is_set(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return v && !json_is_null(v);
}

static tn_status bounded_int(const json_t *o, const char *key, int64_t def, int64_t min,
                             int64_t max, int *out, const char *where, tn_err *e) {
    int64_t v;
    if (def >= min || is_set(o, key)) TN_TRY(tn_json_int(o, key, def, &v, where, e));
    else TN_TRY(tn_json_need_int(o, key, &v, where, e));
    if (v < min || v > max)
        return tn_fail(e, TN_UNSUPPORTED, "%s: %s is %lld; supported are %lld to %lld", where, key,
                       (long long)v, (long long)min, (long long)max);
    *out = (int)v;
    return TN_OK;
}

static tn_status positive_real(const json_t *o, const char *key, double def, double *out,
                               const char *where, tn_err *e) {
    TN_TRY(tn_json_real(o, key, def, out, where, e));
    if (!(*out > 0 && *out < 1e30))
        return tn_fail(e, TN_UNSUPPORTED, "%s: %s is %g; it must be a positive number", where, key,
                       *out);
    return TN_OK;
}

/* ---------------- RoPE ---------------- */

static tn_status rope_type(tn_rope *r, const char *name, const char *where, tn_err *e) {
    static const struct {
        const char *name;
        tn_rope_type type;
    } types[] = {
        {"default", TN_ROPE_DEFAULT}, {"linear", TN_ROPE_LINEAR}, {"dynamic", TN_ROPE_DYNAMIC},
        {"llama3", TN_ROPE_LLAMA3},   {"yarn", TN_ROPE_YARN},     {"longrope", TN_ROPE_LONGROPE},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(types[i].name, name)) {
            r->type = types[i].type;
            return TN_OK;
        }
    return tn_fail(e, TN_UNSUPPORTED,
                   "%s: rope_type \"%s\" is not supported (default, linear, dynamic, "
                   "llama3, yarn and longrope are)",
                   where, name);
}

static tn_status rope_factors(double *out, const json_t *p, const char *key, int n,
                              const char *where, tn_err *e) {
    json_t *a;
    TN_TRY(tn_json_need(p, key, JSON_ARRAY, &a, where, e));
    if (json_array_size(a) != (size_t)n)
        return tn_fail(e, TN_FORMAT,
                       "%s: rope %s has %zu numbers; half of the rotating dimensions, %d, "
                       "are needed",
                       where, key, json_array_size(a), n);
    for (int i = 0; i < n; i++) {
        const json_t *v = json_array_get(a, (size_t)i);
        out[i] = json_number_value(v);
        if (!json_is_number(v) || !(out[i] > 0 && out[i] < 1e30))
            return tn_fail(e, TN_FORMAT, "%s: rope %s[%d] must be a positive number", where, key,
                           i);
    }
    return TN_OK;
}

/* A real that may be absent, null or 0, all of which mean "not given". */
static tn_status rope_optional(const json_t *p, const char *key, double *out, const char *where,
                               tn_err *e) {
    TN_TRY(tn_json_real(p, key, 0, out, where, e));
    if (!(fabs(*out) < 1e30))
        return tn_fail(e, TN_FORMAT, "%s: rope %s is %g; a finite number is needed", where, key,
                       *out);
    return TN_OK;
}

static tn_status rope_original(tn_rope *r, const json_t *config, const json_t *p, int max_pos,
                               const char *where, tn_err *e) {
    static const char key[] = "original_max_position_embeddings";
    /* a top-level value (Phi-3's habit) wins over the one beside the factors */
    const json_t *from = is_set(config, key) ? config : p;
    return bounded_int(from, key, max_pos, 1, 1 << 30, &r->original_max, where, e);
}

static tn_status rope_scaled(tn_desc *d, const json_t *config, const json_t *p, const char *where,
                             tn_err *e) {
    tn_rope *r = &d->rope;
    r->original_max = d->max_pos;
    if (r->type == TN_ROPE_LLAMA3 || r->type == TN_ROPE_YARN || r->type == TN_ROPE_LONGROPE)
        TN_TRY(rope_original(r, config, p, d->max_pos, where, e));
    bool ratio = r->type == TN_ROPE_YARN || r->type == TN_ROPE_LONGROPE;
    if (!ratio && !is_set(p, "factor"))
        return tn_fail(e, TN_FORMAT, "%s: the rope parameters lack \"factor\"", where);
    TN_TRY(positive_real(p, "factor", (double)d->max_pos / r->original_max, &r->factor, where, e));
    if (r->type == TN_ROPE_LLAMA3) {
        if (!is_set(p, "low_freq_factor") || !is_set(p, "high_freq_factor"))
            return tn_fail(e, TN_FORMAT,
                           "%s: llama3 rope parameters need low_freq_factor and "
                           "high_freq_factor",
                           where);
        TN_TRY(positive_real(p, "low_freq_factor", 1, &r->low_freq_factor, where, e));
        TN_TRY(positive_real(p, "high_freq_factor", 4, &r->high_freq_factor, where, e));
        if (r->high_freq_factor <= r->low_freq_factor)
            return tn_fail(e, TN_FORMAT,
                           "%s: high_freq_factor %g must be larger than low_freq_factor %g", where,
                           r->high_freq_factor, r->low_freq_factor);
    }
    if (ratio) TN_TRY(rope_optional(p, "attention_factor", &r->attention_factor, where, e));
    if (r->type == TN_ROPE_YARN) {
        TN_TRY(rope_optional(p, "beta_fast", &r->beta_fast, where, e));
        TN_TRY(rope_optional(p, "beta_slow", &r->beta_slow, where, e));
        TN_TRY(rope_optional(p, "mscale", &r->mscale, where, e));
        TN_TRY(rope_optional(p, "mscale_all_dim", &r->mscale_all_dim, where, e));
        TN_TRY(tn_json_bool(p, "truncate", true, &r->truncate, where, e));
        if (r->theta <= 1 || r->beta_fast < 0 || r->beta_slow < 0)
            return tn_fail(e, TN_UNSUPPORTED,
                           "%s: yarn needs rope_theta above 1 and positive beta_fast "
                           "and beta_slow",
                           where);
    }
    if (r->type == TN_ROPE_LONGROPE) {
        if (r->original_max < 2)
            return tn_fail(e, TN_UNSUPPORTED,
                           "%s: longrope needs original_max_position_embeddings above 1", where);
        TN_TRY(rope_factors(r->short_factor, p, "short_factor", r->rot_dim / 2, where, e));
        TN_TRY(rope_factors(r->long_factor, p, "long_factor", r->rot_dim / 2, where, e));
    }
    return TN_OK;
}

static tn_status rope_fields(tn_desc *d, const json_t *config, const json_t *p, const char *where,
                             tn_err *e) {
    tn_rope *r = &d->rope;
    if (is_set(p, "full_attention") || is_set(p, "sliding_attention"))
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: rope_parameters by layer type are not supported; one set "
                       "for all layers is",
                       where);
    const char *type;
    TN_TRY(tn_json_str(p, "type", "default", &type, where, e));
    TN_TRY(tn_json_str(p, "rope_type", type, &type, where, e));
    TN_TRY(rope_type(r, type, where, e));
    TN_TRY(positive_real(is_set(p, "rope_theta") ? p : config, "rope_theta", 10000, &r->theta,
                         where, e));
    double part;
    const char *key = "partial_rotary_factor";
    TN_TRY(positive_real(is_set(p, key) ? p : config, key, 1, &part, where, e));
    r->rot_dim = d->head_dim;
    r->factor = 1;
    if (part != 1 && r->type != TN_ROPE_DEFAULT)
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: partial_rotary_factor %g with rope_type \"%s\" is not "
                       "supported for %s",
                       where, part, type, d->family);
    if (part != 1)
        tn_warn("%s: partial_rotary_factor %g is ignored, as transformers does for %s", where, part,
                d->family);
    if (r->rot_dim % 2)
        return tn_fail(e, TN_UNSUPPORTED, "%s: head_dim is %d; RoPE needs an even one", where,
                       r->rot_dim);
    if (r->type == TN_ROPE_DEFAULT) return TN_OK;
    return rope_scaled(d, config, p, where, e);
}

static tn_status rope_read(tn_desc *d, const json_t *config, const char *where, tn_err *e) {
    const json_t *p = json_object_get(config, "rope_scaling");
    if (!p || json_is_null(p) || (json_is_object(p) && json_object_size(p) == 0))
        p = json_object_get(config, "rope_parameters");
    if (p && !json_is_null(p) && !json_is_object(p))
        return tn_fail(e, TN_FORMAT, "%s: rope parameters must be an object or null", where);
    json_t *none = json_object();
    tn_status st = rope_fields(d, config, json_is_object(p) ? p : none, where, e);
    json_decref(none);
    return st;
}

/* ---------------- the rest ---------------- */

static tn_status window_read(tn_desc *d, const tn_family *f, const json_t *c, const char *where,
                             tn_err *e) {
    if (f->class_window) {
        const json_t *w = json_object_get(c, "sliding_window");
        if (w && json_is_null(w)) return TN_OK;
        TN_TRY(bounded_int(c, "sliding_window", 4096, 1, 1 << 30, &d->window, where, e));
        memset(d->windowed, 1, (size_t)d->layers);
        return TN_OK;
    }
    if (!f->choice_window) return TN_OK;
    bool use;
    TN_TRY(tn_json_bool(c, "use_sliding_window", false, &use, where, e));
    const json_t *w = json_object_get(c, "sliding_window");
    int window = 0, from = 0;
    if (use && !(w && json_is_null(w)))
        TN_TRY(bounded_int(c, "sliding_window", 4096, 1, 1 << 30, &window, where, e));
    TN_TRY(bounded_int(c, "max_window_layers", 28, 0, 1 << 30, &from, where, e));
    const json_t *types = json_object_get(c, "layer_types");
    if (types && !json_is_null(types) && json_array_size(types) != (size_t)d->layers)
        return tn_fail(e, TN_FORMAT, "%s: layer_types must be a list of %d names, one a layer",
                       where, d->layers);
    bool any = false;
    for (int i = 0; i < d->layers; i++) {
        bool on = window > 0 && i >= from;
        if (types && !json_is_null(types)) {
            const char *name = json_string_value(json_array_get(types, (size_t)i));
            if (!name ||
                (strcmp(name, "full_attention") != 0 && strcmp(name, "sliding_attention") != 0))
                return tn_fail(e, TN_UNSUPPORTED,
                               "%s: layer_types[%d] is \"%s\"; full_attention and "
                               "sliding_attention are supported",
                               where, i, name ? name : "not a string");
            on = !strcmp(name, "sliding_attention");
        }
        if (on && !window)
            return tn_fail(e, TN_FORMAT,
                           "%s: layer_types[%d] is sliding_attention, but use_sliding_window is "
                           "false or sliding_window is null",
                           where, i);
        d->windowed[i] = on;
        any = any || on;
    }
    d->window = any ? window : 0;
    return TN_OK;
}

static tn_status token_read(tn_desc *d, const tn_family *f, const json_t *c, const char *where,
                            tn_err *e) {
    /* null means none, an absent field the class's default */
    bool has_bos = json_object_get(c, "bos_token_id") != NULL;
    int64_t bos, pad;
    TN_TRY(tn_json_int(c, "bos_token_id", has_bos ? -1 : f->bos, &bos, where, e));
    TN_TRY(tn_json_int(c, "pad_token_id", -1, &pad, where, e));
    d->bos = bos >= 0 && bos < d->vocab ? (int)bos : -1;
    d->pad = pad >= 0 && pad < d->vocab ? (int)pad : -1;
    const json_t *eos = json_object_get(c, "eos_token_id");
    if (!eos && f->eos >= 0 && f->eos < d->vocab) d->eos[d->n_eos++] = f->eos;
    if (!eos || json_is_null(eos)) return TN_OK;
    size_t n = json_is_array(eos) ? json_array_size(eos) : 1;
    if (n > sizeof d->eos / sizeof *d->eos)
        return tn_fail(e, TN_UNSUPPORTED, "%s: eos_token_id lists %zu ids; at most 8 are supported",
                       where, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_is_array(eos) ? json_array_get(eos, i) : eos;
        if (!json_is_integer(v))
            return tn_fail(e, TN_FORMAT,
                           "%s: eos_token_id must be an integer or a list of integers", where);
        json_int_t id = json_integer_value(v);
        if (id >= 0 && id < d->vocab) d->eos[d->n_eos++] = (int)id;
    }
    return TN_OK;
}

/* Language model or sequence classification, from the class name in `architectures`. */
static tn_status head_read(tn_desc *d, const tn_family *f, const json_t *c, const char *where,
                           tn_err *e) {
    const json_t *a = json_object_get(c, "architectures");
    if (!a || json_is_null(a) || (json_is_array(a) && json_array_size(a) == 0)) return TN_OK;
    const char *name = json_string_value(json_array_get(a, 0));
    size_t n = strlen(f->prefix);
    if (!name || strncmp(name, f->prefix, n) != 0)
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: architectures is [\"%s\"], but model_type \"%s\" goes with "
                       "%sForCausalLM and %sForSequenceClassification",
                       where, name ? name : "?", f->type, f->prefix, f->prefix);
    if (!strcmp(name + n, "ForCausalLM")) return TN_OK;
    d->per_token = !strcmp(name + n, "ForTokenClassification");
    if (!d->per_token && strcmp(name + n, "ForSequenceClassification") != 0)
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: a checkpoint of class %s is not supported; %sForCausalLM, "
                       "%sForSequenceClassification and %sForTokenClassification are",
                       where, name, f->prefix, f->prefix, f->prefix);
    const json_t *labels = json_object_get(c, "id2label");
    if (json_is_object(labels) && json_object_size(labels) > 0) {
        if (json_object_size(labels) > 4096)
            return tn_fail(e, TN_UNSUPPORTED,
                           "%s: id2label has %zu labels; at most 4096 are supported", where,
                           json_object_size(labels));
        d->num_labels = (int)json_object_size(labels);
        return TN_OK;
    }
    return bounded_int(c, "num_labels", 2, 1, 4096, &d->num_labels, where, e);
}

static tn_status act_read(tn_desc *d, const json_t *c, const char *where, tn_err *e) {
    const char *act;
    TN_TRY(tn_json_str(c, "hidden_act", "silu", &act, where, e));
    if (!strcmp(act, "silu") || !strcmp(act, "swish")) d->act = TN_SILU;
    else if (!strcmp(act, "gelu_pytorch_tanh") || !strcmp(act, "gelu_new")) d->act = TN_GELU_TANH;
    else
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: hidden_act \"%s\" is not supported (silu and "
                       "gelu_pytorch_tanh are)",
                       where, act);
    return TN_OK;
}

static tn_status shape_read(tn_desc *d, const tn_family *f, const json_t *c, const char *where,
                            tn_err *e) {
    TN_TRY(bounded_int(c, "vocab_size", 0, 1, 1 << 26, &d->vocab, where, e));
    TN_TRY(bounded_int(c, "hidden_size", 0, 1, 1 << 20, &d->hidden, where, e));
    TN_TRY(bounded_int(c, "num_hidden_layers", 0, 1, TN_MAX_LAYERS, &d->layers, where, e));
    TN_TRY(bounded_int(c, "num_attention_heads", 0, 1, 1 << 16, &d->heads, where, e));
    TN_TRY(bounded_int(c, "intermediate_size", 0, 1, 1 << 22, &d->ffn, where, e));
    bool has_kv = json_object_get(c, "num_key_value_heads") != NULL;
    int kv = has_kv || !f->kv_heads ? d->heads : f->kv_heads;
    TN_TRY(bounded_int(c, "num_key_value_heads", kv, 1, 1 << 16, &d->kv_heads, where, e));
    if (d->heads % d->kv_heads)
        return tn_fail(e, TN_FORMAT,
                       "%s: num_attention_heads %d is not a multiple of num_key_value_heads %d",
                       where, d->heads, d->kv_heads);
    int dim = f->head_dim ? f->head_dim : d->hidden / d->heads;
    if (!is_set(c, "head_dim") && !f->head_dim && d->hidden % d->heads)
        return tn_fail(e, TN_FORMAT,
                       "%s: hidden_size %d is not a multiple of num_attention_heads %d and "
                       "there is no head_dim",
                       where, d->hidden, d->heads);
    TN_TRY(bounded_int(c, "head_dim", dim, 1, TN_MAX_HEAD_DIM, &d->head_dim, where, e));
    if ((int64_t)d->heads * d->head_dim > 1 << 22)
        return tn_fail(e, TN_UNSUPPORTED, "%s: %d heads of %d are wider than supported", where,
                       d->heads, d->head_dim);
    return bounded_int(c, "max_position_embeddings", f->max_pos, 1, 1 << 30, &d->max_pos, where, e);
}

tn_status tn_desc_from_config(tn_desc *d, const json_t *config, const char *where, tn_err *e) {
    memset(d, 0, sizeof *d);
    if (!json_is_object(config)) return tn_fail(e, TN_FORMAT, "%s: an object is expected", where);
    const char *type;
    TN_TRY(tn_json_need_str(config, "model_type", &type, where, e));
    const tn_family *f = family_find(type);
    if (!f)
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: model_type \"%s\" is not supported; llama, mistral, qwen2 and "
                       "qwen3 are",
                       where, type);
    if (is_set(config, "quantization_config"))
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: the checkpoint is quantised (quantization_config); use the "
                       "original one in float32, bfloat16 or float16",
                       where);
    snprintf(d->family, sizeof d->family, "%s", f->type);
    TN_TRY(shape_read(d, f, config, where, e));
    TN_TRY(positive_real(config, "rms_norm_eps", 1e-6, &d->norm_eps, where, e));
    TN_TRY(tn_json_real(config, "initializer_range", 0.02, &d->init_range, where, e));
    TN_TRY(tn_json_bool(config, "tie_word_embeddings", false, &d->tied, where, e));
    d->qkv_bias = f->qkv_bias;
    if (f->bias_field) {
        TN_TRY(tn_json_bool(config, "attention_bias", false, &d->qkv_bias, where, e));
        d->o_bias = d->qkv_bias;
    }
    if (f->mlp_field) TN_TRY(tn_json_bool(config, "mlp_bias", false, &d->mlp_bias, where, e));
    d->qk_norm = f->qk_norm;
    TN_TRY(act_read(d, config, where, e));
    TN_TRY(window_read(d, f, config, where, e));
    TN_TRY(rope_read(d, config, where, e));
    TN_TRY(token_read(d, f, config, where, e));
    return head_read(d, f, config, where, e);
}
