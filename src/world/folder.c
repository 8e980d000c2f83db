/* Files of a model folder of the world: tokenizer, chat template, configuration.
 *
 * The tokenizer is a word table split at white space; the template is one line without breaks:
 *   <s> User: ... Assistant: ... <|end|> User: ... Assistant:                                    */
#include "world/internal.h"
#include <inttypes.h>
#include <string.h>

const char tn_world_chat_template[] =
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ ' User: ' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{{ ' Assistant: ' + message['content'] + ' <|end|>' "
    "}}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ ' Assistant:' }}{% endif %}";

const tn_world_shape tn_world_default_shape = {128, 3, 4, 344, TN_WORLD_CONTEXT};

static tn_status save(const char *dir, const char *name, tn_str *text, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, dir, name);
    tn_status st = text->oom || path.oom
                       ? tn_fail(e, TN_NOMEM, "out of memory writing %s/%s", dir, name)
                       : tn_write_file(path.s, text->s, text->len, e);
    tn_str_free(&path);
    tn_str_clear(text);
    return st;
}

static void put_tokenizer(const tn_world *w, tn_str *s) {
    tn_str_addz(s, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  "
                   "\"added_tokens\": [\n");
    for (int i = 0; i < TN_WORLD_NSPECIAL; i++)
        tn_str_addf(
            s,
            "    {\"id\": %d, \"content\": \"%s\", \"single_word\": false, \"lstrip\": false, "
            "\"rstrip\": false, \"normalized\": false, \"special\": %s}%s\n",
            i, w->word[i].s, i <= TN_WORLD_UNK ? "true" : "false",
            i + 1 < TN_WORLD_NSPECIAL ? "," : "");
    tn_str_addz(
        s,
        "  ],\n  \"normalizer\": null,\n  \"pre_tokenizer\": {\"type\": \"WhitespaceSplit\"},\n"
        "  \"post_processor\": {\n    \"type\": \"TemplateProcessing\",\n"
        "    \"single\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, "
        "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}],\n"
        "    \"pair\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, "
        "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", "
        "\"type_id\": 0}}],\n"
        "    \"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [1], \"tokens\": "
        "[\"<s>\"]}}\n  },\n"
        "  \"decoder\": null,\n  \"model\": {\n    \"type\": \"WordLevel\",\n    \"vocab\": {\n");
    for (int i = 0; i < w->nvocab; i++)
        tn_str_addf(s, "      \"%s\": %d%s\n", w->word[i].s, i, i + 1 < w->nvocab ? "," : "");
    tn_str_addz(s, "    },\n    \"unk_token\": \"<unk>\"\n  }\n}\n");
}

tn_status tn_world_write_tokenizer(const tn_world *w, const char *dir, tn_err *e) {
    static const char names[] = "  \"bos_token\": \"<s>\",\n  \"eos_token\": \"<|end|>\",\n"
                                "  \"unk_token\": \"<unk>\",\n  \"pad_token\": \"<pad>\"";
    tn_str s = TN_STR_INIT;
    tn_status st;
    TN_GO(tn_mkdirs(dir, e), out);
    put_tokenizer(w, &s);
    TN_GO(save(dir, "tokenizer.json", &s, e), out);
    tn_str_addf(&s,
                "{\n%s,\n  \"clean_up_tokenization_spaces\": false,\n  \"model_max_length\": %d,\n"
                "  \"tokenizer_class\": \"PreTrainedTokenizerFast\"\n}\n",
                names, TN_WORLD_CONTEXT);
    TN_GO(save(dir, "tokenizer_config.json", &s, e), out);
    tn_str_addf(&s, "{\n%s\n}\n", names);
    TN_GO(save(dir, "special_tokens_map.json", &s, e), out);
    tn_str_addz(&s, tn_world_chat_template);
    TN_GO(save(dir, "chat_template.jinja", &s, e), out);
out:
    tn_str_free(&s);
    return st;
}

int64_t tn_world_parameters(const tn_world *w, const tn_world_shape *s) {
    int64_t layer = 4 * s->hidden * s->hidden + 3 * s->hidden * s->intermediate + 2 * s->hidden;
    return (int64_t)w->nvocab * s->hidden + s->layers * layer + s->hidden;
}

static tn_status check_shape(const tn_world_shape *s, tn_err *e) {
    if (s->hidden < 1 || s->layers < 1 || s->heads < 1 || s->intermediate < 1 || s->context < 1)
        return tn_fail(e, TN_ARG,
                       "a model needs sizes of at least 1; found hidden size %" PRId64 ", %" PRId64
                       " layers, %" PRId64 " heads, intermediate size %" PRId64
                       ", context %" PRId64,
                       s->hidden, s->layers, s->heads, s->intermediate, s->context);
    if (s->hidden % s->heads || s->hidden / s->heads % 2)
        return tn_fail(e, TN_ARG,
                       "hidden size %" PRId64 " cannot be split into %" PRId64
                       " heads of an even width; choose a multiple of twice the heads",
                       s->hidden, s->heads);
    return TN_OK;
}

tn_status tn_world_write_config(const tn_world *w, const char *dir, const tn_world_shape *shape,
                                tn_err *e) {
    tn_str s = TN_STR_INIT;
    tn_status st;
    TN_GO(check_shape(shape, e), out);
    TN_GO(tn_mkdirs(dir, e), out);
    tn_str_addf(&s,
                "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n  \"attention_bias\": false,\n"
                "  \"attention_dropout\": 0.0,\n  \"bos_token_id\": %d,\n  \"eos_token_id\": %d,\n"
                "  \"head_dim\": %" PRId64
                ",\n  \"hidden_act\": \"silu\",\n  \"hidden_size\": %" PRId64 ",\n"
                "  \"initializer_range\": 0.02,\n  \"intermediate_size\": %" PRId64 ",\n"
                "  \"max_position_embeddings\": %" PRId64 ",\n  \"mlp_bias\": false,\n"
                "  \"model_type\": \"llama\",\n  \"num_attention_heads\": %" PRId64 ",\n"
                "  \"num_hidden_layers\": %" PRId64 ",\n  \"num_key_value_heads\": %" PRId64 ",\n"
                "  \"pad_token_id\": %d,\n  \"rms_norm_eps\": 1e-05,\n  \"rope_theta\": 10000.0,\n"
                "  \"tie_word_embeddings\": true,\n  \"torch_dtype\": \"float32\",\n"
                "  \"use_cache\": true,\n  \"vocab_size\": %d\n}\n",
                TN_WORLD_BOS, TN_WORLD_END, shape->hidden / shape->heads, shape->hidden,
                shape->intermediate, shape->context, shape->heads, shape->layers, shape->heads,
                TN_WORLD_PAD, w->nvocab);
    TN_GO(save(dir, "config.json", &s, e), out);
    tn_str_addf(&s,
                "{\n  \"bos_token_id\": %d,\n  \"eos_token_id\": %d,\n  \"pad_token_id\": %d,\n"
                "  \"do_sample\": true,\n  \"temperature\": 1.0\n}\n",
                TN_WORLD_BOS, TN_WORLD_END, TN_WORLD_PAD);
    TN_GO(save(dir, "generation_config.json", &s, e), out);
out:
    tn_str_free(&s);
    return st;
}
