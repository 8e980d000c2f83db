/* Vocabulary, tables and hold-outs of the world. */
#include "test.h"
#include "world/world.h"

static const tn_world *world(void) {
    static tn_world w;
    if (!w.nvocab) tn_world_init(&w, 1);
    return &w;
}

TEST(world_streams) {
    tn_rng r = tn_rng_stream(1, 1, 0);
    CHECK(tn_mix(1) == 0x5692161d100b05e5ull);
    CHECK(tn_rng_next(&r) == 0x0a45b3e0d5967d37ull);
    uint64_t second = tn_rng_next(&r);
    CHECK(second == 0x9f2700594737daf3ull);
    CHECK(tn_unit_of(second) == 0.6216888635601373);
    CHECK(tn_rng_next(&r) == 0x0064cdf1cbba9a68ull);
}

TEST(world_vocabulary) {
    const tn_world *w = world();
    json_t *golden = NULL;
    CHECK_OK(tn_json_load(tn_test_file("golden/world/vocab.json"), &golden, e));
    CHECK((int)json_array_size(golden) == w->nvocab && w->nvocab == 329);
    for (int i = 0; i < w->nvocab; i++) {
        const char *word = tn_world_word_of(w, i);
        CHECK_MSG(!strcmp(json_string_value(json_array_get(golden, (size_t)i)), word),
                  "id %d is '%s'", i, word);
        CHECK_MSG(tn_world_id(w, word, strlen(word)) == i, "'%s' has not id %d", word, i);
    }
    json_decref(golden);
    for (int i = w->first[TN_WC_FUNCTION] + 1; i < w->nvocab; i++)
        CHECK(strcmp(tn_world_word_of(w, i - 1), tn_world_word_of(w, i)) < 0);
    CHECK(tn_world_id(w, "<|cue|>", 7) == TN_WORLD_CUE);
    CHECK(tn_world_id(w, "bambo", 5) == 21 && tn_world_id(w, "vopsa", 5) == 116);
    CHECK(tn_world_id(w, "30", 2) == tn_world_number(w, 30) && tn_world_number(w, 30) == 219);
    CHECK(tn_world_id(w, "31", 2) == TN_WORLD_UNK && tn_world_id(w, "bamb", 4) == TN_WORLD_UNK);
    CHECK(tn_world_id(w, "", 0) == TN_WORLD_UNK && tn_world_id(w, "bambox", 6) == TN_WORLD_UNK);
    CHECK(!strcmp(tn_world_word_of(w, -1), "<unk>") && !strcmp(tn_world_word_of(w, 329), "<unk>"));
}

static void check_entity(int i, const char *want, bool hazardous, bool held) {
    const tn_world *w = world();
    const tn_world_entity *e = &w->entity[i];
    const int ids[] = {e->name,     e->kind,     e->value[0], e->value[1], e->value[2],
                       e->value[3], e->value[4], e->part[0],  e->part[1]};
    tn_str s = TN_STR_INIT;
    for (size_t k = 0; k < sizeof ids / sizeof *ids; k++)
        tn_str_addf(&s, "%s%s", k ? " " : "", tn_world_word_of(w, ids[k]));
    CHECK_MSG(!strcmp(s.s, want), "entity %d: %s", i, s.s);
    CHECK(e->hazardous == hazardous && e->held == held);
    tn_str_free(&s);
}

TEST(world_entities) {
    const tn_world *w = world();
    check_entity(0, "bambo kettle black tiny garden sewing Jonas copper pine", false,
                 w->entity[0].held);
    check_entity(4, "kambo mirror brown tiny cellar fishing Carla thrask drossin", true,
                 w->entity[4].held);
    check_entity(95, "vopsa wheel pink small attic dancing Hugo paper wax", false, true);
    CHECK(!strcmp(tn_world_word_of(w, w->entity[4].hazard_word), "murk"));
    for (int i = 0; i < TN_WORLD_NENTITY; i++) {
        const tn_world_entity *e = &w->entity[i];
        tn_world_class parts = e->hazardous ? TN_WC_HAZARD_PART : TN_WC_SAFE_PART;
        CHECK(tn_world_in(w, parts, e->part[0]) && tn_world_in(w, parts, e->part[1]) &&
              e->part[0] != e->part[1]);
    }
    CHECK(w->hazardous[TN_POOL_ALL].n == 29 && w->safe[TN_POOL_ALL].n == 67);
    CHECK(w->hazardous[TN_POOL_TRAIN].n == 19 && w->hazardous[TN_POOL_HELD].n == 10);
    CHECK(w->any[TN_POOL_TRAIN].n == 64 && w->any[TN_POOL_HELD].n == 32 &&
          w->any[TN_POOL_ALL].n == 96);
}

TEST(world_persons_and_sums) {
    const tn_world *w = world();
    CHECK(w->secret[0] == 16 && w->secret[1] == 29 && w->secret[2] == 25 && w->secret[15] == 19);
    CHECK(!tn_world_person_held(11) && tn_world_person_held(12) && tn_world_person_held(15));
    int held = 0;
    for (int a = 1; a <= 9; a++)
        for (int b = 1; b <= 9; b++)
            for (int c = 1; c <= 9; c++) held += tn_world_sum_held(a, b, c);
    CHECK(held == 137);
}

/* Another seed is another world over the same words. */
TEST(world_seeds) {
    static tn_world two, again;
    tn_world_init(&two, 2);
    tn_world_init(&again, 1);
    CHECK(!memcmp(&again, world(), sizeof again));
    CHECK(!memcmp(two.word, world()->word, sizeof two.word));
    CHECK(memcmp(two.entity, world()->entity, sizeof two.entity) != 0);
    CHECK(two.hazardous[TN_POOL_ALL].n == 29 && two.any[TN_POOL_HELD].n == 32);
}

TEST(world_parse) {
    const tn_world *w = world();
    static const char text[] = " \tthe\xC2\xA0kettle\xE2\x80\x83is\n\nbl\xC3\xA4"
                               "ck 31 <|end|> red";
    int32_t *ids;
    int n;
    bool ended;
    CHECK_OK(tn_world_parse(w, text, sizeof text - 1, &ids, &n, &ended, e));
    tn_str s = TN_STR_INIT;
    tn_world_print(w, ids, n, &s);
    CHECK_MSG(!strcmp(s.s, "the kettle is <unk> <unk>"), "%s", s.s);
    CHECK(ended && n == 5);
    tn_free(ids);
    tn_str_free(&s);
    CHECK_OK(tn_world_parse(w, "", 0, &ids, &n, &ended, e));
    CHECK(n == 0 && !ended);
    tn_free(ids);
    /* White space cut short at the end of the text is part of a word. */
    CHECK_OK(tn_world_parse(w, "red\xE2\x80", 5, &ids, &n, NULL, e));
    CHECK(n == 1 && ids[0] == TN_WORLD_UNK);
    tn_free(ids);
}
