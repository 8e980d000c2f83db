/* config.json as transformers reads it (goldens), what is refused, and the way back. */
#include "base/log.h"
#include "fuzz/mutate.h"
#include "model/desc.h"
#include "test.h"

static tn_status from_text(const char *text, tn_desc *d, tn_err *e) {
    json_t *o = NULL;
    tn_status st = tn_json_parse(text, strlen(text), "config.json", &o, e);
    if (st == TN_OK) st = tn_desc_from_config(d, o, "config.json", e);
    json_decref(o);
    return st;
}

static int64_t want_int(const json_t *x, const char *key) {
    const json_t *v = json_object_get(x, key);
    return json_is_null(v) ? -1 : json_is_boolean(v) ? json_is_true(v) : json_integer_value(v);
}

static void check_golden(const tn_desc *d, const json_t *x, const char *id) {
    const struct {
        const char *key;
        int64_t got;
    } ints[] = {
        {"vocab", d->vocab},
        {"hidden", d->hidden},
        {"layers", d->layers},
        {"heads", d->heads},
        {"kv_heads", d->kv_heads},
        {"head_dim", d->head_dim},
        {"ffn", d->ffn},
        {"max_pos", d->max_pos},
        {"tied", d->tied},
        {"qkv_bias", d->qkv_bias},
        {"o_bias", d->o_bias},
        {"mlp_bias", d->mlp_bias},
        {"num_labels", d->num_labels},
        {"bos", d->bos},
        {"pad", d->pad},
    };
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        CHECK_MSG(ints[i].got == want_int(x, ints[i].key), "%s: %s is %lld, transformers has %lld",
                  id, ints[i].key, (long long)ints[i].got, (long long)want_int(x, ints[i].key));
    static const char *const types[] = {"default", "linear", "dynamic",
                                        "llama3",  "yarn",   "longrope"};
    CHECK_MSG(!strcmp(types[d->rope.type], json_string_value(json_object_get(x, "rope_type"))),
              "%s: rope type", id);
    CHECK_MSG(d->rope.theta == json_number_value(json_object_get(x, "rope_theta")),
              "%s: rope theta", id);
    if (json_is_number(json_object_get(x, "rope_factor")))
        CHECK_MSG(d->rope.factor == json_number_value(json_object_get(x, "rope_factor")),
                  "%s: rope factor", id);
    if (json_is_number(json_object_get(x, "original_max")))
        CHECK_MSG(d->rope.original_max == want_int(x, "original_max"), "%s: original length", id);
    CHECK_MSG(d->norm_eps == json_number_value(json_object_get(x, "norm_eps")), "%s: norm eps", id);
    const json_t *w = json_object_get(x, "windows"), *eos = json_object_get(x, "eos");
    for (int i = 0; i < d->layers; i++)
        CHECK_MSG(tn_desc_window(d, i) == json_integer_value(json_array_get(w, (size_t)i)),
                  "%s: window of layer %d", id, i);
    CHECK_MSG((size_t)d->n_eos == json_array_size(eos), "%s: %d eos ids", id, d->n_eos);
    for (int i = 0; i < d->n_eos; i++)
        CHECK_MSG(d->eos[i] == json_integer_value(json_array_get(eos, (size_t)i)), "%s: eos %d", id,
                  i);
}

/* The descriptor survives being written and read again; the case's own fields are kept. */
static void check_round_trip(const tn_desc *d, const json_t *base, const char *id) {
    tn_desc again;
    json_t *o = tn_desc_to_config(d, base, d->num_labels > 0);
    CHECK_OK(tn_desc_from_config(&again, o, id, e));
    CHECK_MSG(!memcmp(d, &again, sizeof again),
              "%s: descriptor changed by writing and reading (base %s)", id,
              base ? "kept" : "none");
    json_decref(o);
}

TEST(desc_equals_transformers) {
    json_t *cases = tn_golden("desc.json"), *c;
    size_t i;
    CHECK(json_array_size(cases) > 30);
    tn_log_set_level(TN_LOG_ERROR); /* a case warns about a field that has no effect */
    json_array_foreach(cases, i, c) {
        const char *id = json_string_value(json_object_get(c, "id"));
        const json_t *config = json_object_get(c, "config");
        tn_desc d;
        CHECK_OK(tn_desc_from_config(&d, config, id, e));
        check_golden(&d, json_object_get(c, "expect"), id);
        check_round_trip(&d, config, id);
        check_round_trip(&d, NULL, id);
    }
    json_decref(cases);
}

#define SHAPE                                                                                      \
    "\"vocab_size\":64,\"hidden_size\":48,\"intermediate_size\":80,\"num_hidden_layers\":4,\"num_attention_heads\":6"
#define LLAMA(rest) "{\"model_type\":\"llama\"," SHAPE rest "}"
#define QWEN(rest) "{\"model_type\":\"qwen2\",\"num_key_value_heads\":6," SHAPE rest "}"

TEST(desc_refuses_by_name) {
    static const struct {
        const char *text;
        tn_status st;
        const char *says;
    } bad[] = {
        {"[1]", TN_FORMAT, "object"},
        {"{\"vocab_size\":3}", TN_FORMAT, "model_type"},
        {"{\"model_type\":7}", TN_FORMAT, "model_type"},
        {"{\"model_type\":\"gemma2\"}", TN_UNSUPPORTED, "gemma2"},
        {"{\"model_type\":\"llama\"}", TN_FORMAT, "vocab_size"},
        {LLAMA(",\"num_key_value_heads\":4"), TN_FORMAT, "num_key_value_heads"},
        {LLAMA(",\"num_key_value_heads\":0"), TN_UNSUPPORTED, "num_key_value_heads"},
        {LLAMA(",\"head_dim\":7"), TN_UNSUPPORTED, "head_dim"},
        {LLAMA(",\"head_dim\":1000000000000"), TN_UNSUPPORTED, "head_dim"},
        {LLAMA(",\"head_dim\":\"8\""), TN_FORMAT, "head_dim"},
        {LLAMA(",\"hidden_act\":\"gelu\""), TN_UNSUPPORTED, "gelu"},
        {LLAMA(",\"rms_norm_eps\":0"), TN_UNSUPPORTED, "rms_norm_eps"},
        {LLAMA(",\"quantization_config\":{\"bits\":4}"), TN_UNSUPPORTED, "quantization_config"},
        {LLAMA(",\"architectures\":[\"LlamaModel\"]"), TN_UNSUPPORTED, "LlamaModel"},
        {LLAMA(",\"architectures\":[\"Qwen2ForCausalLM\"]"), TN_UNSUPPORTED, "Qwen2ForCausalLM"},
        {LLAMA(",\"eos_token_id\":\"</s>\""), TN_FORMAT, "eos_token_id"},
        {LLAMA(",\"rope_theta\":-1"), TN_UNSUPPORTED, "rope_theta"},
        {LLAMA(",\"rope_scaling\":7"), TN_FORMAT, "rope"},
        {LLAMA(",\"rope_scaling\":{\"type\":\"mrope\"}"), TN_UNSUPPORTED, "mrope"},
        {LLAMA(",\"rope_scaling\":{\"type\":\"linear\"}"), TN_FORMAT, "factor"},
        {LLAMA(",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}"), TN_UNSUPPORTED, "factor"},
        {LLAMA(",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":2}"), TN_FORMAT,
         "low_freq_factor"},
        {LLAMA(",\"rope_scaling\":{\"type\":\"longrope\",\"factor\":2,\"short_factor\":[1]}"),
         TN_FORMAT, "short_factor"},
        {LLAMA(
             ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2,\"partial_rotary_factor\":0.5}"),
         TN_UNSUPPORTED, "partial"},
        {LLAMA(",\"rope_parameters\":{\"full_attention\":{}}"), TN_UNSUPPORTED, "layer type"},
        {QWEN(",\"layer_types\":[\"full_attention\"]"), TN_FORMAT, "layer_types"},
        {QWEN(
             ",\"layer_types\":[\"full_attention\",\"linear_attention\",\"full_attention\",\"full_attention\"]"),
         TN_UNSUPPORTED, "linear_attention"},
        {QWEN(
             ",\"layer_types\":[\"full_attention\",\"sliding_attention\",\"full_attention\",\"full_attention\"]"),
         TN_FORMAT, "use_sliding_window"},
        {"{\"model_type\":\"llama\",\"vocab_size\":64,\"hidden_size\":50,\"intermediate_size\":80,\"num_hidden_layers\":4,\"num_attention_heads\":6}",
         TN_FORMAT, "hidden_size"},
        {"{\"model_type\":\"llama\",\"vocab_size\":64,\"hidden_size\":48,\"intermediate_size\":80,\"num_hidden_layers\":100000,\"num_attention_heads\":6}",
         TN_UNSUPPORTED, "num_hidden_layers"},
    };
    tn_desc d;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_FAIL(from_text(bad[i].text, &d, e), bad[i].st, bad[i].says);
    CHECK_OK(from_text(LLAMA(""), &d, e));
    CHECK_OK(from_text(QWEN(""), &d, e));
}

TEST(desc_params_count) {
    tn_desc d;
    CHECK_OK(from_text(
        "{\"model_type\":\"llama\",\"vocab_size\":49152,\"hidden_size\":576,\"intermediate_size\":1536,"
        "\"num_hidden_layers\":30,\"num_attention_heads\":9,\"num_key_value_heads\":3,"
        "\"tie_word_embeddings\":true}",
        &d, e));
    CHECK(tn_desc_params(&d) == 134515008); /* SmolLM2-135M */
    d.num_labels = 1;
    CHECK(tn_desc_params(&d) == 134515008 + 576);
    d.num_labels = 0;
    d.tied = false;
    CHECK(tn_desc_params(&d) == 134515008 + 49152 * 576);
}

/* Mutated configs: an error with a message, or a descriptor that everything else can bear. */
TEST(desc_survives_mutation) {
    json_t *cases = tn_golden("desc.json"), *c;
    tn_str m = TN_STR_INIT;
    size_t k;
    long read = 0;
    tn_log_set_level(TN_LOG_ERROR);
    json_array_foreach(cases, k, c) {
        char *good = json_dumps(json_object_get(c, "config"), JSON_COMPACT);
        for (uint64_t i = 0; i < tn_fuzz_rounds(100); i++) {
            tn_mutate(&m, good, strlen(good), NULL, 0, i + 1000 * k);
            json_t *o = NULL;
            tn_desc d;
            tn_err e = {0};
            if (tn_json_parse(m.s, m.len, "config.json", &o, &e) != TN_OK) continue;
            tn_status st = tn_desc_from_config(&d, o, "config.json", &e);
            json_decref(o);
            CHECK(st == TN_OK || e.msg[0]);
            if (st != TN_OK) continue;
            read++;
            double cs[2 * TN_MAX_HEAD_DIM], sn[2 * TN_MAX_HEAD_DIM];
            tn_rope_tables(&d, 2, 2, cs, sn, NULL);
            CHECK(tn_desc_params(&d) > 0);
            json_decref(tn_desc_to_config(&d, NULL, true));
        }
        free(good);
    }
    CHECK(read > 0);
    tn_str_free(&m);
    json_decref(cases);
}
