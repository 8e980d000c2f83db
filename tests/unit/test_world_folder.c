/* Files of a model folder: tokenizer, template, configuration. */
#include "test.h"
#include "text/text.h"
#include "world/world.h"

static const tn_world *world(void) {
    static tn_world w;
    if (!w.nvocab) tn_world_init(&w, 1);
    return &w;
}

static json_t *load(const char *dir, const char *name) {
    tn_str path = TN_STR_INIT;
    json_t *root = NULL;
    tn_path_join(&path, dir, name);
    CHECK_OK(tn_json_load(path.s, &root, e));
    tn_str_free(&path);
    return root;
}
static int64_t number(const json_t *o, const char *key) {
    return json_integer_value(json_object_get(o, key));
}

TEST(world_tokenizer_files) {
    const char *dir = tn_test_dir();
    CHECK_OK(tn_world_write_tokenizer(world(), dir, e));
    json_t *t = load(dir, "tokenizer.json"), *model = json_object_get(t, "model");
    json_t *vocab = json_object_get(model, "vocab"), *added = json_object_get(t, "added_tokens");
    CHECK(!strcmp(json_string_value(json_object_get(model, "type")), "WordLevel"));
    CHECK(json_object_size(vocab) == 329 && json_array_size(added) == 21);
    for (int i = 0; i < 329; i++) CHECK(number(vocab, tn_world_word_of(world(), i)) == i);
    for (size_t i = 0; i < 21; i++)
        CHECK(json_is_true(json_object_get(json_array_get(added, i), "special")) == (i < 4));
    json_decref(t);
    json_t *c = load(dir, "tokenizer_config.json"), *m = load(dir, "special_tokens_map.json");
    CHECK(!strcmp(json_string_value(json_object_get(c, "eos_token")), "<|end|>"));
    CHECK(!strcmp(json_string_value(json_object_get(m, "bos_token")), "<s>"));
    json_decref(c);
    json_decref(m);
    CHECK(strchr(tn_world_chat_template, '\n') == NULL);
}

TEST(world_config_files) {
    const char *dir = tn_test_dir();
    CHECK(tn_world_parameters(world(), &tn_world_default_shape) == 635904);
    CHECK_OK(tn_world_write_config(world(), dir, &tn_world_default_shape, e));
    json_t *c = load(dir, "config.json");
    CHECK(number(c, "hidden_size") == 128 && number(c, "num_hidden_layers") == 3 &&
          number(c, "num_attention_heads") == 4);
    CHECK(number(c, "intermediate_size") == 344 && number(c, "vocab_size") == 329 &&
          number(c, "head_dim") == 32);
    CHECK(number(c, "max_position_embeddings") == 160 &&
          json_is_true(json_object_get(c, "tie_word_embeddings")));
    CHECK(json_real_value(json_object_get(c, "rms_norm_eps")) == 1e-5);
    json_decref(c);
    json_decref(load(dir, "generation_config.json"));
    tn_world_shape s = tn_world_default_shape;
    s.heads = 3;
    CHECK_FAIL(tn_world_write_config(world(), dir, &s, e), TN_ARG, "3 heads");
    s.heads = 0;
    CHECK_FAIL(tn_world_write_config(world(), dir, &s, e), TN_ARG, "at least 1");
    CHECK_FAIL(tn_world_write_tokenizer(world(), "/proc/nowhere", e), TN_IO, "/proc/nowhere");
}

/* The files give the world's own ids: every document is read, with <s> in front, and printed back. */
TEST(world_tokenizer_reads) {
    const char *dir = tn_test_dir();
    tn_tokenizer *t = NULL;
    CHECK_OK(tn_world_write_tokenizer(world(), dir, e));
    CHECK_OK(tn_tokenizer_load(&t, dir, e));
    if (!t) return;
    CHECK(tn_tokenizer_vocab(t) == 329 && tn_tokenizer_bos(t) == TN_WORLD_BOS);
    CHECK(tn_tokenizer_eos(t) == TN_WORLD_END && tn_tokenizer_pad(t) == TN_WORLD_PAD);
    tn_str text = TN_STR_INIT, back = TN_STR_INIT;
    tn_ids ids = {0};
    for (uint64_t n = 0; n < 100; n++) {
        tn_world_text d;
        tn_world_document(world(), 3, n, &d);
        tn_str_clear(&text);
        tn_str_clear(&back);
        ids.n = 0;
        tn_world_print(world(), d.id, d.n, &text);
        CHECK_OK(tn_encode(t, text.s, text.len, true, &ids, NULL, e));
        CHECK(ids.n == (size_t)d.n + 1 && ids.v[0] == TN_WORLD_BOS);
        if (ids.n == (size_t)d.n + 1) CHECK_BYTES(ids.v + 1, d.id, (size_t)d.n * sizeof *d.id);
        CHECK_OK(tn_decode(t, ids.v + 1, ids.n - 1, false, &back, e));
        CHECK_MSG(back.len == text.len && !memcmp(back.s, text.s, text.len), "%s", back.s);
    }
    tn_str_free(&text);
    tn_str_free(&back);
    tn_ids_free(&ids);
    tn_tokenizer_free(t);
}

/* The chat template gives the world's own rendering, and trains answers with their <|end|>. */
TEST(world_template) {
    const char *dir = tn_test_dir();
    tn_tokenizer *t = NULL;
    CHECK_OK(tn_world_write_tokenizer(world(), dir, e));
    CHECK_OK(tn_tokenizer_load(&t, dir, e));
    if (!t) return;
    for (uint64_t n = 0; n < 64; n++) {
        tn_world_prompt p;
        tn_world_text y, want = {.n = 1, .id = {TN_WORLD_BOS}};
        tn_str text[4] = {{0}};
        tn_message m[4];
        tn_ids ids = {0};
        uint8_t *mask = NULL;
        tn_world_demonstration(world(), 5, n, TN_MIX_SFT, &p, &y);
        int turns = p.nturns;
        for (int k = 0; k <= turns; k++) {
            const tn_world_text *c = k < turns ? &p.turn[k] : &y;
            tn_world_print(world(), c->id, c->n, &text[k]);
            m[k] = (tn_message){k % 2 ? "assistant" : "user", text[k].s, text[k].len};
        }
        tn_world_render(&p, true, &want);
        CHECK_OK(tn_chat_encode(t, m, (size_t)turns, true, &ids, &mask, e));
        CHECK(ids.n == (size_t)want.n && !memcmp(ids.v, want.id, ids.n * sizeof *ids.v));
        tn_free(mask);
        mask = NULL;

        int answer = want.n; /* first token of the last answer */
        memcpy(want.id + want.n, y.id, (size_t)y.n * sizeof *y.id);
        want.n += y.n;
        want.id[want.n++] = TN_WORLD_END;
        ids.n = 0;
        CHECK_OK(tn_chat_encode(t, m, (size_t)turns + 1, false, &ids, &mask, e));
        CHECK(ids.n == (size_t)want.n && !memcmp(ids.v, want.id, ids.n * sizeof *ids.v));
        for (int i = answer; mask && i < (int)ids.n; i++) CHECK(mask[i]);
        int trained = 0;
        for (size_t i = 0; mask && i < ids.n; i++) trained += mask[i];
        CHECK(trained == y.n + 1 + (turns == 3 ? p.turn[1].n + 1 : 0));
        tn_free(mask);
        tn_ids_free(&ids);
        for (int k = 0; k <= turns; k++) tn_str_free(&text[k]);
    }
    tn_tokenizer_free(t);
}
