/* Chat templates: text equal to jinja2's, spans of what an answer trains, masks, hostile templates. */
#include "test.h"
#include "fuzz/mutate.h"
#include "text/jinja.h"

static void check_case(const json_t *one, const json_t *vars, const char *what, size_t k) {
    const json_t *source = json_object_get(one, "template"), *want = json_object_get(one, "text");
    tn_jinja *t = NULL;
    tn_str out = TN_STR_INIT;
    tn_err err = {0};
    tn_status st =
        tn_jinja_compile(&t, json_string_value(source), json_string_length(source), &err);
    if (st == TN_OK) st = tn_jinja_render_json(t, vars, &out, &err);
    if (want) {
        CHECK_MSG(st == TN_OK, "%s %zu: %s: %s", what, k, json_string_value(source), err.msg);
        CHECK_MSG(out.len == json_string_length(want) &&
                      !memcmp(out.s ? out.s : "", json_string_value(want), out.len),
                  "%s %zu: %s gives \"%s\", expected \"%s\"", what, k, json_string_value(source),
                  out.s ? out.s : "", json_string_value(want));
    } else {
        CHECK_MSG(st != TN_OK && err.msg[0], "%s %zu: %s must fail, gives \"%s\"", what, k,
                  json_string_value(source), out.s ? out.s : "");
    }
    tn_str_free(&out);
    tn_jinja_free(t);
}

TEST(text_jinja_equals_jinja2) {
    json_t *g = tn_golden("text/jinja.json"), *one;
    size_t k;
    json_array_foreach(json_object_get(g, "cases"), k, one)
        check_case(one, json_object_get(g, "vars"), "snippet", k);
    CHECK(k > 150);
    json_decref(g);
}

TEST(text_chats_equal_jinja2) {
    json_t *g = tn_golden("text/chat.json"), *one;
    size_t k;
    json_array_foreach(g, k, one) check_case(one, json_object_get(one, "vars"),
                                             json_string_value(json_object_get(one, "name")), k);
    CHECK(k >= 60);
    json_decref(g);
}

/* A small WordLevel tokenizer whose added tokens are the families' marks. */
static tn_tokenizer *tokenizer(const char *template, const char *bos, const char *eos) {
    static const char *const marks[] = {"<s>",
                                        "</s>",
                                        "<|im_start|>",
                                        "<|im_end|>",
                                        "<|start_header_id|>",
                                        "<|end_header_id|>",
                                        "<|eot_id|>",
                                        "<|end|>",
                                        "<end_of_turn>",
                                        "<unk>"};
    json_t *added = json_array(), *vocab = json_object();
    for (int k = 0; k < 10; k++) {
        json_object_set_new(vocab, marks[k], json_integer(k));
        json_array_append_new(added, json_pack("{s:i, s:s, s:b, s:b}", "id", k, "content", marks[k],
                                               "special", 1, "normalized", 0));
    }
    json_t *j = json_pack("{s:o, s:{s:s}, s:{s:s, s:o, s:s}}", "added_tokens", added,
                          "pre_tokenizer", "type", "WhitespaceSplit", "model", "type", "WordLevel",
                          "vocab", vocab, "unk_token", "<unk>");
    json_t *config = json_pack("{s:s, s:s}", "bos_token", bos, "eos_token", eos);
    tn_tokenizer *t = NULL;
    CHECK_OK(tn_tokenizer_from_json(&t, j, config, template, "chat", e));
    json_decref(j);
    json_decref(config);
    return t;
}

/* The bytes of all spans, each in brackets. */
static void spans_text(const tn_tokenizer *t, const tn_message *m, size_t n, tn_str *out) {
    tn_str text = TN_STR_INIT;
    tn_spans s = {0};
    tn_str_clear(out);
    CHECK_OK(tn_chat_render(t, m, n, false, &text, &s, e));
    for (size_t k = 0; k < s.n; k++) {
        tn_str_addc(out, '[');
        tn_str_add(out, text.s + s.v[2 * k], s.v[2 * k + 1] - s.v[2 * k]);
        tn_str_addc(out, ']');
    }
    tn_spans_free(&s);
    tn_str_free(&text);
}

#define MSG(role, text)                                                                            \
    { role, text, sizeof text - 1 }

TEST(text_spans_by_family) {
    static const struct {
        const char *name, *eos, *want;
    } rows[] = {{"chatml", "<|im_end|>", "[yes<|im_end|>][ no\n<|im_end|>]"},
                {"llama2", "</s>", "[yes </s>][no </s>]"},
                {"llama3", "<|eot_id|>", "[yes<|eot_id|>][no<|eot_id|>]"},
                {"zephyr", "</s>", "[yes</s>][ no\n</s>]"},
                {"mistral", "</s>", "[yes</s>][ no\n</s>]"},
                {"world", "<|end|>", "[yes <|end|>][ no\n <|end|>]"}};
    static const tn_message m[] = {MSG("user", "yes?"), MSG("assistant", "yes"), MSG("user", "no?"),
                                   MSG("assistant", " no\n")};
    tn_str got = TN_STR_INIT;
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        tn_tokenizer *t = tokenizer(NULL, "<s>", rows[k].eos);
        CHECK(tn_chat_name(t) == NULL);
        CHECK_OK(tn_chat_set(t, rows[k].name, e));
        CHECK(tn_chat_name(t) && !strcmp(tn_chat_name(t), rows[k].name));
        spans_text(t, m, 4, &got);
        CHECK_MSG(!strcmp(got.s, rows[k].want), "%s: %s, expected %s", rows[k].name, got.s,
                  rows[k].want);
        size_t n = 0;
        const int32_t *stop = tn_stop_ids(t, &n);
        CHECK(n == 1 && stop[0] == tn_tokenizer_id(t, rows[k].eos));
        tn_tokenizer_free(t);
    }
    tn_str_free(&got);
}

TEST(text_end_of_turn_is_a_stop) { /* though the tokenizer's eos is another token */
    tn_tokenizer *t = tokenizer(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
        "<s>", "</s>");
    size_t n;
    const int32_t *stop = tn_stop_ids(t, &n);
    CHECK(n == 2 && stop[0] == 1 && stop[1] == 3);
    tn_tokenizer_free(t);
}

static char *template_named(const char *name) {
    json_t *g = tn_golden("text/chat.json"), *one;
    char *out = NULL;
    size_t k;
    json_array_foreach(
        g, k, one) if (!out && !strcmp(json_string_value(json_object_get(one, "name")), name)) out =
        tn_strdup(json_string_value(json_object_get(one, "template")));
    json_decref(g);
    return out;
}

TEST(text_spans_through_the_template) {
    static const tn_message plain[] = {MSG("user", "q"), MSG("assistant", "  a b \n"),
                                       MSG("user", "a b"), MSG("assistant", "")};
    static const tn_message think[] = {MSG("user", "q"),
                                       MSG("assistant", "<think>\nhm\n</think>\n\nyes")};
    static const struct {
        const char *name, *want;
        const tn_message *m;
        size_t n;
    } rows[] = {{"smol", "[  a b \n<|im_end|>][<|im_end|>]", plain, 4},
                {"blocks", "[  a b \n<|im_end|>][<|im_end|>]", plain, 4},
                {"think", "[hm\n</think>\n\nyes<|im_end|>]", think, 2},
                {"marked", "[a b<end_of_turn>\n][<end_of_turn>\n]", plain, 4},
                {"indented", "[a b</s>][</s>]", plain, 4},
                {"macro", "[  a b \n</s>][</s>]", plain, 4}};
    tn_str got = TN_STR_INIT;
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        char *text = template_named(rows[k].name);
        tn_tokenizer *t = tokenizer(text, "<s>", "</s>");
        spans_text(t, rows[k].m, rows[k].n, &got);
        CHECK_MSG(!strcmp(got.s, rows[k].want), "%s: %s, expected %s", rows[k].name, got.s,
                  rows[k].want);
        tn_tokenizer_free(t);
        tn_free(text);
    }
    tn_str_free(&got);
}

TEST(text_world_chat) { /* world.md: the example conversation, its mask, the prompt */
    json_t *g = tn_golden("text/tok_world.json");
    json_t *config = json_pack("{s:s, s:s}", "bos_token", "<s>", "eos_token", "<|end|>");
    tn_tokenizer *t = NULL;
    CHECK_OK(tn_tokenizer_from_json(&t, json_object_get(g, "tokenizer"), config, NULL, "world", e));
    CHECK_OK(tn_chat_set(t, "world", e));
    static const tn_message m[] = {MSG("user", "where ?"), MSG("assistant", "the kettle is blue"),
                                   MSG("user", "why ?"), MSG("assistant", "")};
    static const char want[] =
        "<s> User: where ? Assistant: the kettle is blue <|end|> User: why ? Assistant:  <|end|>";
    tn_str text = TN_STR_INIT;
    tn_ids ids = {0};
    uint8_t *mask = NULL;
    CHECK_OK(tn_chat_render(t, m, 4, false, &text, NULL, e));
    CHECK_MSG(!strcmp(text.s, want), "%s", text.s);
    CHECK_OK(tn_chat_encode(t, m, 4, false, &ids, &mask, e));
    static const char bits[] =
        "00000111110000"
        "1"; /* <s> User: where ? Assistant: | the kettle is blue <|end|> | ... | <|end|> */
    CHECK(ids.n == 15);
    for (size_t k = 0; k < ids.n && k < 15; k++)
        CHECK_MSG(mask[k] == bits[k] - '0', "token %zu", k);
    tn_free(mask);
    ids.n = 0;
    CHECK_OK(tn_chat_encode(t, m, 1, true, &ids, NULL, e));
    CHECK(ids.n == 5 && ids.v[0] == 1);
    tn_str_free(&text);
    tn_ids_free(&ids);
    tn_tokenizer_free(t);
    json_decref(config);
    json_decref(g);
}

TEST(text_chat_refusals) {
    static const tn_message m[] = {MSG("user", "q"), MSG("assistant", "a")},
                            bad[] = {MSG("assistant", "q")};
    tn_str out = TN_STR_INIT;
    tn_spans s = {0};
    tn_tokenizer *t = tokenizer(NULL, "<s>", "</s>");
    CHECK_FAIL(tn_chat_render(t, m, 2, false, &out, NULL, e), TN_UNSUPPORTED, "--chat-template");
    CHECK_FAIL(tn_chat_set(t, "chatm", e), TN_ARG, "chatml");
    CHECK_OK(tn_chat_set(t, "mistral", e));
    CHECK_FAIL(tn_chat_render(t, bad, 1, false, &out, NULL, e), TN_FORMAT, "alternate");
    tn_tokenizer_free(t);
    t = tokenizer("{% for m in messages %}{{ m.role }}{% endfor %}", "<s>",
                  "</s>"); /* prints no answer */
    CHECK_OK(tn_chat_render(t, m, 2, false, &out, NULL, e));
    CHECK_FAIL(tn_chat_render(t, m, 2, false, &out, &s, e), TN_UNSUPPORTED, "message 1");
    tn_tokenizer_free(t);
    t = tokenizer("{% include 'x' %}", "<s>", "</s>"); /* loads; says why when it is used */
    CHECK_FAIL(tn_chat_render(t, m, 2, false, &out, NULL, e), TN_UNSUPPORTED, "include");
    tn_tokenizer_free(t);
    tn_str_free(&out);
    tn_spans_free(&s);
}

TEST(text_messages_from_json) {
    json_t *a = json_loads(
        "[{\"from\":\"human\",\"value\":\"q\"},{\"from\":\"gpt\",\"value\":\"a\"}]", 0, NULL);
    tn_message *m = NULL;
    size_t n = 0;
    CHECK_OK(tn_messages_from_json(a, &m, &n, "row", e));
    CHECK(n == 2 && !strcmp(m[0].role, "user") && !strcmp(m[1].role, "assistant") &&
          !strcmp(m[1].content, "a"));
    tn_free(m);
    json_decref(a);
    static const char *const bad[] = {"{}",
                                      "[]",
                                      "[1]",
                                      "[{\"content\":\"x\"}]",
                                      "[{\"role\":\"user\"}]",
                                      "[{\"role\":\"user\",\"content\":[]}]"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        a = json_loads(bad[k], 0, NULL);
        CHECK_FAIL(tn_messages_from_json(a, &m, &n, "row", e), TN_FORMAT, "row");
        json_decref(a);
    }
}

static void render_anything(const char *s, size_t n) {
    static const tn_message m[] = {MSG("system", "s"), MSG("user", "q \xE6\xBC\xA2"),
                                   MSG("assistant", "a\nb"), MSG("user", "r")};
    tn_jinja *t = NULL;
    tn_err err = {0};
    if (tn_jinja_compile(&t, s, n, &err) == TN_OK) {
        tn_jinja_args a = {.message = m, .nmessage = 4, .generation_prompt = true, .names = NULL};
        tn_str out = TN_STR_INIT;
        uint16_t *tags = NULL;
        if (tn_jinja_render(t, &a, &out, &tags, &err) != TN_OK) CHECK(err.msg[0]);
        tn_free(tags);
        tn_str_free(&out);
    } else {
        CHECK(err.msg[0]);
    }
    tn_jinja_free(t);
}

TEST(text_hostile_templates) {
    static const char *const bombs[] = {
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{{ i }}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x "
        "+ ns.x %}{% endfor %}{{ ns.x }}",
        "{{ 'a' * 1000000000 }}",
        "{{ range(100000000) | list }}",
        "{{ 9223372036854775807 + 1 }}",
        "{{ -9223372036854775807 - 2 }}",
        "{{ 3 ** 500 }}",
        "{{ [[[[[[[[]]]]]]]] | tojson }}",
        "{% set ns = namespace(l=[]) %}{% for i in range(5000) %}{% set ns.l = [ns.l] %}{% endfor "
        "%}{{ ns.l }}",
        "{{ messages | map('upper') | list }}",
        "{{ ('a' | indent(100000000)) }}",
        "{{ 'x'.replace('', 'y' * 1000000) | length }}",
        "{{ loop.index }}",
        "{{ {}['x'].y }}"};
    for (size_t k = 0; k < sizeof bombs / sizeof *bombs; k++)
        render_anything(bombs[k], strlen(bombs[k]));
    tn_str deep = TN_STR_INIT;
    static const char *const openers[] = {"{{ ((((",         "{% if 1 %}",   "{{ [[[[",
                                          "{{ not not not ", "{{ ----",      "{{ a.b.c.d",
                                          "{{ a|a|a|a",      "{{ 1+1+1+1+1", "{{ 1 if 1 if 1 "};
    for (size_t k = 0; k < sizeof openers / sizeof *openers; k++) {
        tn_str_clear(&deep);
        tn_str_addz(&deep, openers[k]);
        for (int i = 0; i < 2000; i++) tn_str_addz(&deep, k == 1 ? openers[k] : openers[k] + 3);
        render_anything(deep.s, deep.len);
    }
    json_t *golden = tn_golden("text/chat.json"), *snippets = tn_golden("text/jinja.json");
    const json_t *cases = json_object_get(snippets, "cases");
    for (uint64_t i = 0; i < tn_fuzz_rounds(1500); i++) {
        const json_t *s =
            json_object_get(json_array_get(golden, i % json_array_size(golden)), "template");
        const json_t *o =
            json_object_get(json_array_get(cases, i % json_array_size(cases)), "template");
        tn_mutate(&deep, json_string_value(s), json_string_length(s), json_string_value(o),
                  json_string_length(o), i);
        render_anything(deep.s, deep.len);
        tn_mutate(&deep, json_string_value(o), json_string_length(o), json_string_value(s),
                  json_string_length(s), i);
        render_anything(deep.s, deep.len);
    }
    tn_str_free(&deep);
    json_decref(golden);
    json_decref(snippets);
}
