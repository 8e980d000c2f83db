/* tokenizer.json of a trained byte-level BPE. */
#include "text/bpe_train.h"
#include "text/tok.h"
#include <string.h>

static const char llama3[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
static const char qwen2[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

static json_t *byte_level(bool prefix, bool trim, bool regex) {
    return json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", prefix,
                     "trim_offsets", trim, "use_regex", regex);
}

/* Looks like a name and not like an expression: one that is not known is a slip. */
static bool is_name(const char *s) {
    return s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_")] == 0;
}

static tn_status pre_json(json_t **j, const char *pre, tn_err *e) {
    static const char *const names[] = {"gpt2", "llama3", "qwen2"};
    const char *pattern = !strcmp(pre, "llama3") ? llama3 : !strcmp(pre, "qwen2") ? qwen2 : pre;
    if (!strcmp(pre, "gpt2")) *j = byte_level(false, true, true);
    else if (pattern == pre && is_name(pre)) {
        const char *near = tn_nearest(pre, names, 3);
        return tn_fail(e, TN_ARG,
                       "no pre-tokenizer is called '%s'%s%s%s; there are gpt2, llama3 and qwen2, "
                       "or a regular expression",
                       pre, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    } else
        *j = json_pack("{s:s,s:[{s:s,s:{s:s},s:s,s:b},o]}", "type", "Sequence", "pretokenizers",
                       "type", "Split", "pattern", "Regex", pattern, "behavior", "Isolated",
                       "invert", 0, byte_level(false, true, false));
    return *j ? TN_OK : tn_fail(e, TN_NOMEM, "no memory, or the expression is not valid UTF-8");
}

static json_t *empty_model(void) {
    json_t *vocab = json_object();
    for (uint32_t c = 0, id = 0; c < 512; c++) {
        char s[5] = "";
        if (tn_char_byte(c) < 0) continue;
        tn_utf8_put(s, c);
        json_object_set_new(vocab, s, json_integer(id++));
    }
    return json_pack("{s:s,s:o,s:[]}", "type", "BPE", "vocab", vocab, "merges");
}

static json_t *added_json(const json_t *model, const char *const *special, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        bool again = false;
        for (int k = 0; k < i && !again; k++) again = !strcmp(special[k], special[i]);
        if (again) continue;
        json_t *id = json_object_get(json_object_get(model, "vocab"), special[i]);
        json_array_append_new(list, json_pack("{s:O,s:s,s:b,s:b,s:b,s:b,s:b}", "id", id, "content",
                                              special[i], "single_word", 0, "lstrip", 0, "rstrip",
                                              0, "normalized", 0, "special", 1));
    }
    return list;
}

tn_status tn_bpe_json(json_t **out, json_t *model, const char *pre, bool nfc,
                      const char *const *special, int n_special, tn_err *e) {
    json_t *cut;
    *out = NULL;
    TN_TRY(pre_json(&cut, pre, e));
    json_t *m = model ? json_incref(model) : empty_model();
    json_t *added = added_json(m, special, model ? n_special : 0);
    json_t *norm = nfc ? json_pack("{s:s}", "type", "NFC") : json_null();
    *out = json_pack("{s:s,s:n,s:n,s:o,s:o,s:o,s:o,s:o,s:o}", "version", "1.0", "truncation",
                     "padding", "added_tokens", added, "normalizer", norm, "pre_tokenizer", cut,
                     "post_processor", byte_level(true, false, true), "decoder",
                     byte_level(true, true, true), "model", m);
    return *out ? TN_OK : tn_fail(e, TN_NOMEM, "no memory for a tokenizer");
}
