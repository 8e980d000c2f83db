/* Real tokenizers of the development data against their published ids; skipped without the data. */
#include "test.h"
#include "text/text.h"

static json_t *load_json(const char *path) {
    json_t *j = NULL;
    CHECK_OK(tn_json_load(path, &j, e));
    return j;
}

/* tests.inp: strings between separators; tests.out: one line of ids for each. */
static void check_family(const tn_tokenizer *t, const char *family) {
    static const char sep[] = "\n__ggml_vocab_test__\n";
    char rel[96];
    tn_str in = TN_STR_INIT, text = TN_STR_INIT;
    tn_lines *lines = NULL;
    snprintf(rel, sizeof rel, "data/tokenizers/%s/tests.inp", family);
    CHECK_OK(tn_read_file(tn_shared(rel), &in, 1 << 20, e));
    snprintf(rel, sizeof rel, "data/tokenizers/%s/tests.out", family);
    CHECK_OK(tn_lines_open(&lines, tn_shared(rel), 1 << 20, e));
    int n = 0;
    for (const char *s = in.s; s && *s; n++) {
        const char *end = strstr(s, sep), *line = NULL;
        size_t len = end ? (size_t)(end - s) : strlen(s), k = 0, line_len;
        tn_ids ids = {0};
        CHECK_OK(tn_encode(t, s, len, false, &ids, NULL, e));
        CHECK_OK(tn_lines_next(lines, &line, &line_len, e));
        bool same = line != NULL;
        for (char *p = (char *)line; same && *p;) {
            long id = strtol(p, &p, 10);
            same = k < ids.n && ids.v[k++] == id;
            while (*p == ' ') p++;
        }
        CHECK_MSG(same && k == ids.n, "%s: string %d", family, n);
        tn_str_clear(&text);
        CHECK_OK(tn_decode(t, ids.v, ids.n, false, &text, e));
        CHECK_MSG(text.len == len && !memcmp(text.s ? text.s : "", s, len),
                  "%s: text of string %d: %s", family, n, text.s);
        tn_ids_free(&ids);
        s = end ? end + sizeof sep - 1 : NULL;
    }
    CHECK(n == 46);
    tn_lines_close(lines);
    tn_str_free(&in);
    tn_str_free(&text);
}

static void check_file(const char *family, const char *file) {
    char rel[96];
    snprintf(rel, sizeof rel, "data/tokenizers/%s/%s", family, file);
    json_t *j = load_json(tn_shared(rel));
    tn_tokenizer *t = NULL;
    CHECK_OK(tn_tokenizer_from_json(&t, j, NULL, NULL, family, e));
    if (t) check_family(t, family);
    tn_tokenizer_free(t);
    json_decref(j);
}

TEST(text_shared_llama2) { check_file("llama2", "tokenizer.json"); }
TEST(text_shared_gpt_neox) { check_file("gpt_neox_pythia", "20B_tokenizer.json"); }

TEST(text_shared_gpt2) { /* from vocabulary and merges */
    json_t *vocab = load_json(tn_shared("data/tokenizers/gpt2/encoder.json")),
           *merges = json_array();
    tn_lines *lines = NULL;
    const char *line;
    size_t n;
    CHECK_OK(tn_lines_open(&lines, tn_shared("data/tokenizers/gpt2/vocab.bpe"), 1 << 20, e));
    while (tn_lines_next(lines, &line, &n, NULL) == TN_OK && line)
        if (n && strncmp(line, "#version", 8)) json_array_append_new(merges, json_stringn(line, n));
    tn_lines_close(lines);
    json_t *j = json_pack("{s:{s:s, s:o, s:o}, s:{s:s, s:b}, s:{s:s}}", "model", "type", "BPE",
                          "vocab", vocab, "merges", merges, "pre_tokenizer", "type", "ByteLevel",
                          "add_prefix_space", 0, "decoder", "type", "ByteLevel");
    tn_tokenizer *t = NULL;
    CHECK_OK(tn_tokenizer_from_json(&t, j, NULL, NULL, "gpt2", e));
    if (t) check_family(t, "gpt2");
    tn_tokenizer_free(t);
    json_decref(j);
}

TEST(text_shared_tinystories) { /* a whole folder: BOS, prompts, generated text */
    json_t *g = load_json(tn_shared("data/models/tinystories_656k/expected.json")), *one;
    tn_tokenizer *t = NULL;
    size_t k;
    CHECK_OK(tn_tokenizer_load(&t, tn_shared("data/models/tinystories_656k"), e));
    if (!t) return;
    CHECK(tn_tokenizer_vocab(t) == 2048 && tn_tokenizer_bos(t) == 1 && tn_tokenizer_eos(t) == 2);
    json_array_foreach(json_object_get(g, "greedy"), k, one) {
        const char *s = json_string_value(json_object_get(one, "prompt"));
        json_t *want = json_object_get(one, "prompt_ids");
        tn_ids ids = {0};
        CHECK_OK(tn_encode(t, s, strlen(s), true, &ids, NULL, e));
        bool same = ids.n == json_array_size(want);
        for (size_t i = 0; i < ids.n && same; i++)
            same = ids.v[i] == json_integer_value(json_array_get(want, i));
        CHECK_MSG(same, "%s", s);
        tn_ids_free(&ids);
    }
    CHECK(k > 0);
    tn_tokenizer_free(t);
    json_decref(g);
}

TEST(text_shared_smollm2) { /* chat with its own template: default system message, mask, stop */
    static const tn_message m[] = {{"user", "Hi", 2}, {"assistant", "Hello there", 11}};
    static const char want[] =
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
        "Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello there<|im_end|>\n";
    tn_tokenizer *t = NULL;
    tn_str s = TN_STR_INIT;
    tn_ids ids = {0};
    uint8_t *mask = NULL;
    CHECK_OK(tn_tokenizer_load(&t, tn_shared("data/tokenizers/smollm2"), e));
    if (!t) return;
    CHECK_OK(tn_chat_render(t, m, 2, false, &s, NULL, e));
    CHECK_MSG(!strcmp(s.s, want), "%s", s.s);
    CHECK_OK(tn_chat_encode(t, m, 2, false, &ids, &mask, e));
    size_t n = 0, on = 0;
    for (size_t k = 0; k < ids.n; k++) on += mask[k];
    CHECK(on == 3 && mask[ids.n - 2] && !mask[ids.n - 1] &&
          ids.v[ids.n - 2] == tn_tokenizer_eos(t));
    const int32_t *stop = tn_stop_ids(t, &n);
    CHECK(n >= 1 && stop[0] == tn_tokenizer_id(t, "<|im_end|>") &&
          !strcmp(tn_chat_name(t), "chatml"));
    tn_free(mask);
    tn_ids_free(&ids);
    tn_str_free(&s);
    tn_tokenizer_free(t);
}
