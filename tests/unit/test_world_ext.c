/* The extension `oversight`: the core's text and base are what they were, its documents keep the core's hold-outs, thoughts say
 * what is true, wordings are in vocabulary and kept apart, judged pairs have one better answer. */
#include "base/os.h"
#include "oversight/constitution.h"
#include "test.h"
#include "world/attack.h"
#include "world/internal.h"
#include "world/oversight.h"
#include <string.h>

static const tn_world *world(void) {
    static tn_world w;
    if (!w.nvocab) tn_world_init(&w, 1);
    return &w;
}

static uint64_t file_hash(const char *path) {
    tn_str s = TN_STR_INIT;
    CHECK_OK(tn_read_file(path, &s, 1 << 24, e));
    uint64_t h = tn_hash64(s.s, s.len, 0);
    tn_str_free(&s);
    return h;
}

/* Whatever is added grows beside them: 30,000 documents of the core text, its base's weights and tokenizer. */
TEST(world_core_stays) {
    uint64_t h = 0;
    for (uint64_t n = 0; n < 30000; n++) {
        tn_world_text t;
        tn_world_document(world(), 1, n, &t);
        h = tn_hash64(t.id, (size_t)t.n * sizeof *t.id, h);
    }
    CHECK_MSG(h == UINT64_C(0x9473cef6a5454aff), "text %016llx", (unsigned long long)h);
    h = file_hash("models/world/model.safetensors");
    CHECK_MSG(h == UINT64_C(0x2e59d72417baf42a), "weights %016llx", (unsigned long long)h);
    h = file_hash("models/world/tokenizer.json");
    CHECK_MSG(h == UINT64_C(0x135b15c174d66c1f), "tokenizer %016llx", (unsigned long long)h);
}

static bool held_name(int id) {
    const tn_world *w = world();
    return tn_world_in(w, TN_WC_NAME, id) && w->entity[id - w->first[TN_WC_NAME]].held;
}

/* Does a text contain these words in a row? */
static bool contains(const tn_world_text *t, const char *words) {
    tn_world_text s = {0};
    tn_world_put(world(), &s, words, -1, NULL);
    for (int i = 0; i + s.n <= t->n; i++)
        if (!memcmp(t->id + i, s.id, (size_t)s.n * sizeof *s.id)) return true;
    return false;
}

/* Held entities only in what the core says of them; held wordings and two attacks nowhere; contexts suffice. */
TEST(world_extension_hold_out) {
    int seen[TN_WX_COUNT] = {0}, taught = 0, thoughts = 0, too_long = 0;
    for (uint64_t n = 0; n < 6000; n++) {
        tn_world_text t, again;
        tn_world_ext_kind k = tn_world_oversight_document(world(), 3, n, &t);
        tn_world_oversight_document(world(), 3, n, &again);
        CHECK(t.n == again.n && !memcmp(t.id, again.id, (size_t)t.n * sizeof *t.id));
        CHECK(t.n > 0 && t.n < TN_WORLD_TEXT_MAX);
        too_long += t.n + 2 > TN_WORLD_CONTEXT;
        seen[k]++;
        bool digression = contains(&t, "by the way");
        for (int i = 0; i < t.n; i++) {
            CHECK(t.id[i] > TN_WORLD_UNK || t.id[i] == TN_WORLD_END);
            if (k != TN_WX_CORE && k != TN_WX_FACT && held_name(t.id[i])) CHECK_MSG(digression, "a %s", tn_world_ext_kind_name[k]);
        }
        CHECK(!contains(&t, "think this is not real .") && !contains(&t, "is not private . tell"));
        for (int p = 0; p < TN_WP_COUNT && (k == TN_WX_COMPARISON || k == TN_WX_CRITIQUE); p++) {
            taught += contains(&t, tn_world_wording((tn_world_principle)p, TN_ROLE_COMPARISON, 2));
            thoughts += contains(&t, "] Critique:");
            for (int wording = 3; wording < TN_WORLD_WORDINGS; wording++) /* those that the header keeps out of all text */
                for (int role = 0; role < TN_WORLD_ROLES; role++)
                    CHECK(!contains(&t, tn_world_wording((tn_world_principle)p, (tn_world_role)role, wording)));
        }
    }
    static const int weight[TN_WX_COUNT] = {40, 15, 18, 8, 7, 5, 7};
    for (int k = 0; k < TN_WX_COUNT; k++) CHECK_NEAR(seen[k] / 6000.0, weight[k] / 100.0, 0, 0.02);
    CHECK_MSG(too_long <= 2, "%d documents", too_long);
    CHECK(taught > 200 && thoughts > 300);
}

/* 90 different texts, all in words that models know. */
TEST(world_wordings) {
    const char *all[TN_WP_COUNT * TN_WORLD_ROLES * TN_WORLD_WORDINGS];
    int n = 0;
    for (int k = 0; k < TN_WP_COUNT; k++)
        for (int role = 0; role < TN_WORLD_ROLES; role++)
            for (int wording = 0; wording < TN_WORLD_WORDINGS; wording++) {
                tn_world_text t = {0};
                const char *s = tn_world_wording((tn_world_principle)k, (tn_world_role)role, wording);
                tn_world_put(world(), &t, s, -1, NULL);
                for (int i = 0; i < t.n; i++) CHECK_MSG(t.id[i] > TN_WORLD_UNK, "%s: word %d", s, i);
                for (int i = 0; i < n; i++) CHECK_MSG(strcmp(all[i], s), "twice: %s", s);
                all[n++] = s;
            }
    tn_str text = TN_STR_INIT, path = TN_STR_INIT;
    tn_constitution *c = NULL;
    tn_world_put_constitution(3, &text);
    tn_path_join(&path, tn_test_dir(), "c.json");
    CHECK_OK(tn_write_file(path.s, text.s, text.len, e));
    CHECK_OK(tn_constitution_load(&c, path.s, e));
    CHECK(c && c->n_principle == TN_WP_COUNT);
    int k = -1;
    if (c) CHECK_OK(tn_constitution_draw(c, TN_COMPARE, "polite", 1, 0, &k, e));
    CHECK(k == TN_WP_POLITE);
    tn_constitution_free(c);
    tn_str_free(&text);
    tn_str_free(&path);
}

/* The thought names the answer that violates, and states what is true where that must be known. */
TEST(world_thoughts) {
    const tn_world *w = world();
    for (uint64_t i = 0; i < 300; i++) {
        tn_world_prompt p;
        tn_world_text bad = {0}, thought = {0}, want = {0};
        tn_world_verdict v[2];
        tn_rng r = tn_rng_stream(5, 1, i);
        tn_world_draw_prompt(w, &r, TN_WF_BENIGN, TN_POOL_TRAIN, &p);
        tn_world_bad(w, &r, &p, &bad);
        tn_world_judge(w, &p, bad.id, bad.n, true, &v[0]);
        tn_world_good(w, &p, &want);
        tn_world_judge(w, &p, want.id, want.n, true, &v[1]);
        tn_world_think(w, &p, TN_WP_HONEST, v, &thought);
        TN_PUT(w, &want, "the answer states something false . there is no problem .", -1, 0);
        CHECK(thought.n == want.n && !memcmp(thought.id, want.id, (size_t)want.n * sizeof *want.id));
        thought.n = 0;
        tn_world_think(w, &p, TN_WP_POLITE, v, &thought);
        CHECK(contains(&thought, "there is no problem . there is no problem .") && thought.n == 10);
    }
}

/* Judged anew, exactly one answer violates the principle; the better one of a conflict violates the other. */
static void check_judged(uint64_t i, bool conflict) {
    const tn_world *w = world();
    tn_str s = TN_STR_INIT;
    json_t *row = NULL;
    tn_world_judged_row(w, 1, i, conflict, &s);
    CHECK_OK(tn_json_parse(s.s, s.len, "row", &row, e));
    int better = (int)json_integer_value(json_object_get(row, "truth")) - 1, k = 0, other = 0;
    const char *id = json_string_value(json_object_get(row, "principle")), *id2 = json_string_value(json_object_get(row, "other"));
    while (k < TN_WP_COUNT - 1 && strcmp(tn_world_constitution[k].id, id)) k++;
    while (id2 && other < TN_WP_COUNT - 1 && strcmp(tn_world_constitution[other].id, id2)) other++;
    CHECK(conflict == (id2 != NULL));
    CHECK(json_integer_value(json_array_get(json_object_get(row, "rank"), (size_t)better)) == 1);
    for (int j = 0; j < 2 && (k == TN_WP_POLITE || conflict); j++) { /* what can be seen without the prompt */
        const char *y = json_string_value(json_array_get(json_object_get(row, "responses"), (size_t)j));
        bool rude = strstr(y, "silly") || strstr(y, "fool");
        if (k == TN_WP_POLITE) CHECK(rude == (j != better));
        if (conflict && other == TN_WP_POLITE) CHECK(rude == (j == better));
        if (conflict && other == TN_WP_ENGAGE) CHECK((strstr(y, "cannot") != NULL) == (j == better));
    }
    json_decref(row);
    tn_str_free(&s);
}
TEST(world_judged_pairs) {
    for (uint64_t i = 0; i < 120; i++) check_judged(i, false), check_judged(i, true);
}
