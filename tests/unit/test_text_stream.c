/* Streaming: pieces are whole characters, and together they are the text. */
#include "test.h"
#include "text/text.h"
#include "text/unicode.h"

static tn_tokenizer *load(const char *name) {
    char file[64];
    tn_tokenizer *t = NULL;
    snprintf(file, sizeof file, "text/tok_%s.json", name);
    json_t *g = tn_golden(file);
    CHECK_OK(tn_tokenizer_from_json(&t, json_object_get(g, "tokenizer"), NULL, NULL, name, e));
    json_decref(g);
    return t;
}

/* Feeds the ids one by one; *steps: pieces that were not empty. */
static void stream(const tn_tokenizer *t, const tn_ids *ids, tn_str *all, int *steps) {
    tn_stream s = TN_STREAM_INIT;
    size_t from, n;
    *steps = 0;
    tn_stream_begin(&s);
    for (size_t k = 1; k <= ids->n; k++) {
        CHECK_OK(tn_stream_next(&s, t, ids->v, k, k == ids->n, &from, &n, e));
        CHECK_MSG(tn_utf8_valid(s.text.s + from, n), "token %zu leaves a part of a character", k);
        tn_str_add(all, s.text.s + from, n);
        *steps += n > 0;
    }
    tn_stream_free(&s);
}

static const char text[] = "Gr\xC3\xBC\xC3\x9F" "e \xE2\x82\xAC \xF0\x9F\x98\x80\xF0\x9F\x98\x81 "
                           "\xE4\xBD\xA0\xE5\xA5\xBD \xE0\xA4\xA8\xE0\xA4\xAE end";

TEST(text_stream_whole_characters) {
    static const char *const names[] = {"gpt2", "qwen2", "llama3", "smollm", "metaspace_never"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tn_tokenizer *t = load(names[i]);
        tn_ids ids = {0};
        tn_str want = TN_STR_INIT, got = TN_STR_INIT;
        int steps;
        if (!t) continue;
        CHECK_OK(tn_encode(t, text, sizeof text - 1, false, &ids, NULL, e));
        CHECK_OK(tn_decode(t, ids.v, ids.n, true, &want, e));
        stream(t, &ids, &got, &steps);
        CHECK_MSG(got.len == want.len && !memcmp(got.s, want.s, got.len), "%s: \"%s\"", names[i],
                  got.s);
        CHECK_MSG(steps > 6, "%s: %d pieces", names[i], steps);
        tn_ids_free(&ids);
        tn_str_free(&want);
        tn_str_free(&got);
        tn_tokenizer_free(t);
    }
}

/* A text cut in the middle of a character: the part shows as U+FFFD, at the end only. */
TEST(text_stream_unfinished_character) {
    tn_tokenizer *t = load("gpt2");
    if (!t) return;
    tn_ids ids = {0};
    tn_str got = TN_STR_INIT;
    int steps;
    CHECK_OK(tn_encode(t, "a \xF0\x9F\xA6\x96", 6, false, &ids, NULL, e));
    CHECK(ids.n >= 4);
    ids.n--;
    stream(t, &ids, &got, &steps);
    CHECK_MSG(!strncmp(got.s, "a \xEF\xBF\xBD", 5) && steps <= 3, "\"%s\" in %d pieces", got.s,
              steps);
    tn_ids_free(&ids);
    tn_str_free(&got);
    tn_tokenizer_free(t);
}
