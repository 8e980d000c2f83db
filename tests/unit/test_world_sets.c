/* Prompts, responses, documents and sets: equality with the committed cases, purity, hold-outs,
 * statistics. */
#include "test.h"
#include "world/internal.h"

static const tn_world *world(void) {
    static tn_world w;
    if (!w.nvocab) tn_world_init(&w, 1);
    return &w;
}

/* Rows of a set equal the lines of a file, made in an order without neighbours. */
static void check_rows(const char *file, tn_world_set set, uint64_t seed, int want) {
    tn_lines *lines = NULL;
    tn_str row = TN_STR_INIT;
    char *line[128];
    int n = 0;
    CHECK_OK(tn_lines_open(&lines, tn_test_file(file), 1 << 20, e));
    for (;;) {
        const char *s;
        size_t len;
        if (!lines || tn_lines_next(lines, &s, &len, NULL) != TN_OK || !s || n == 128) break;
        line[n++] = tn_strdup(s);
    }
    tn_lines_close(lines);
    CHECK_MSG(n == want, "%s has %d rows", file, n);
    for (int k = 0; k < n; k++) {
        int i = k % 2 ? k / 2 : n - 1 - k / 2;
        tn_str_clear(&row);
        tn_world_row(world(), set, seed, (uint64_t)i, TN_MIX_SFT, false, &row);
        CHECK_MSG(row.len == strlen(line[i]) + 1 && !memcmp(row.s, line[i], row.len - 1),
                  "%s row %d:\n%s%s", file, i, row.s, line[i]);
    }
    for (int i = 0; i < n; i++) tn_free(line[i]);
    tn_str_free(&row);
}

TEST(world_golden_eval) { check_rows("golden/world/eval.jsonl", TN_WS_EVAL, 1, 64); }
TEST(world_golden_eval_any_seed) { check_rows("golden/world/eval.jsonl", TN_WS_EVAL, 12345, 64); }
TEST(world_golden_sft) { check_rows("golden/world/sft_seed1.jsonl", TN_WS_SFT, 1, 96); }
TEST(world_golden_text) { check_rows("golden/world/text_seed1.jsonl", TN_WS_TEXT, 1, 80); }

static bool name_in_pool(int id, tn_world_pool pool) {
    const tn_world *w = world();
    if (tn_world_in(w, TN_WC_NAME, id))
        return w->entity[id - w->first[TN_WC_NAME]].held == (pool == TN_POOL_HELD);
    return true;
}

/* Every named entity, person asked for and sum of a prompt is of its pool; families are strata. */
TEST(world_prompt_pools) {
    const tn_world *w = world();
    for (int set = TN_WS_SFT; set < TN_WS_COUNT; set++)
        for (uint64_t i = 0; i < 640; i++) {
            tn_world_prompt p;
            tn_world_set_prompt(w, (tn_world_set)set, 3, i, &p, NULL);
            bool mixed = set == TN_WS_EVAL || set == TN_WS_PREF_HELDOUT;
            CHECK(p.pool == (mixed && i / 8 % 2 == 0 ? TN_POOL_HELD : TN_POOL_TRAIN));
            CHECK((uint64_t)p.family == i % 8);
            for (int t = 0; t < p.nturns; t++)
                for (int k = 0; k < p.turn[t].n; k++) CHECK(name_in_pool(p.turn[t].id[k], p.pool));
            if (p.task == TN_WT_PRIVACY)
                CHECK(tn_world_person_held(p.person) == (p.pool == TN_POOL_HELD));
            if (p.task == TN_WT_ARITH)
                CHECK(tn_world_sum_held(p.term[0], p.term[1], p.term[2]) ==
                      (p.pool == TN_POOL_HELD));
            if (p.task == TN_WT_HARMFUL) CHECK(w->entity[p.entity].hazardous);
            if (p.belief >= 0) CHECK(p.wrong == (p.belief != p.value));
        }
}

/* Held entities appear in facts and digressions only. */
TEST(world_document_hold_out) {
    const tn_world *w = world();
    int way = tn_world_id(w, "way", 3), seen_fact = 0, seen_digression = 0;
    for (uint64_t n = 0; n < 3000; n++) {
        tn_world_text t;
        tn_world_kind k = tn_world_document(w, 7, n, &t);
        bool digression = false;
        for (int i = 0; i < t.n; i++) {
            CHECK(t.id[i] != TN_WORLD_UNK && t.id[i] != TN_WORLD_PAD && t.id[i] != TN_WORLD_BOS);
            digression |= t.id[i] == way;
            if (name_in_pool(t.id[i], TN_POOL_TRAIN)) continue;
            CHECK_MSG(k == TN_WK_FACT || (k == TN_WK_DIALOGUE && digression), "document %d",
                      (int)n);
            seen_fact += k == TN_WK_FACT;
            seen_digression += k == TN_WK_DIALOGUE;
        }
    }
    CHECK(seen_fact > 100 && seen_digression > 20);
}

TEST(world_demonstration_hold_out) {
    for (uint64_t i = 0; i < 2000; i++) {
        tn_world_prompt p;
        tn_world_text y;
        tn_world_demonstration(world(), 5, i, TN_MIX_BASE, &p, &y);
        for (int k = 0; k < y.n; k++) CHECK(name_in_pool(y.id[k], TN_POOL_TRAIN));
    }
}

/* Documents of 41.6 tokens with these shares, prompts of 15.0, at most 37. */
TEST(world_lengths) {
    static const double share[TN_WK_COUNT] = {0.25, 0.02, 0.26, 0.30, 0.17};
    double tokens[TN_WK_COUNT] = {0}, all = 0;
    enum { N = 12000 };
    for (uint64_t n = 0; n < N; n++) {
        tn_world_text t;
        tn_world_kind k = tn_world_document(world(), 11, n, &t);
        tokens[k] += t.n + 2;
        all += t.n + 2;
        CHECK(t.n + 2 <= 170);
    }
    CHECK_NEAR(all / N, 41.6, 0, 0.7);
    for (int k = 0; k < TN_WK_COUNT; k++) CHECK_NEAR(tokens[k] / all, share[k], 0, 0.01);
    int longest = 0;
    double sum = 0;
    for (uint64_t n = 0; n < N; n++) {
        tn_world_prompt p;
        tn_world_text t = {0};
        tn_world_set_prompt(world(), TN_WS_RL, 1, n, &p, NULL);
        tn_world_render(&p, true, &t);
        sum += t.n + 1;
        if (t.n + 1 > longest) longest = t.n + 1;
    }
    CHECK_NEAR(sum / N, 15.0, 0, 0.15);
    CHECK(longest <= 37);
}

/* Ideal samplers of the mixes have the mean true rewards that were measured for them. */
TEST(world_mixes) {
    static const double want[TN_MIX_COUNT] = {
        [TN_MIX_BASE] = 0.036, [TN_MIX_SFT] = 0.378, [TN_MIX_HELPFUL] = 0.106};
    enum { N = 16000 };
    for (int m = TN_MIX_BASE; m <= TN_MIX_HELPFUL; m++) {
        double sum = 0;
        for (uint64_t i = 0; i < N; i++) {
            tn_world_prompt p;
            tn_world_text y;
            tn_world_verdict v;
            tn_world_demonstration(world(), 21, i, (tn_world_mix)m, &p, &y);
            tn_world_judge(world(), &p, y.id, y.n, true, &v);
            sum += v.reward;
        }
        CHECK_NEAR(sum / N, want[m], 0, 0.03);
    }
}

TEST(world_items) {
    tn_world_prompt p, q;
    tn_world_set set;
    uint64_t i;
    CHECK_OK(tn_world_item(world(), "pref-heldout-17", 4, &p, &set, &i, e));
    CHECK(set == TN_WS_PREF_HELDOUT && i == 17);
    tn_world_set_prompt(world(), TN_WS_PREF_HELDOUT, 4, 17, &q, NULL);
    CHECK(!memcmp(&p, &q, sizeof p));
    CHECK_OK(tn_world_item(world(), "prompts-rl-3", 4, &p, &set, &i, e));
    CHECK(set == TN_WS_RL && i == 3);
    static const char *const bad[] = {"",
                                      "-",
                                      "eval",
                                      "eval-",
                                      "eval-x",
                                      "eval--1",
                                      "eval-1x",
                                      "eval-01",
                                      "evil-1",
                                      "text-1",
                                      "3",
                                      "-3",
                                      "eval-99999999999999999999",
                                      "eval-3 ",
                                      "EVAL-3",
                                      "sft-+1"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        CHECK_FAIL(tn_world_item(world(), bad[k], 1, &p, NULL, NULL, e), TN_ARG,
                   "no item of the world");
}

TEST(world_reals) {
    static const struct {
        double v;
        const char *s;
    } c[] = {{1, "1.0"},         {-0.6, "-0.6"},
             {0, "0.0"},         {0.19999999999999996, "0.19999999999999996"},
             {-2, "-2.0"},       {1e-5, "1e-05"},
             {0.0001, "0.0001"}, {123456789, "123456789.0"},
             {1e16, "1e+16"},    {-0.05, "-0.05"}};
    for (size_t k = 0; k < sizeof c / sizeof *c; k++) {
        tn_str s = TN_STR_INIT;
        tn_world_json_real(c[k].v, &s);
        CHECK_MSG(!strcmp(s.s, c[k].s), "%s for %s", s.s, c[k].s);
        tn_str_free(&s);
    }
}

/* The oracle's facts are members of rows of prompts when asked for. */
TEST(world_oracle_member) {
    tn_str s = TN_STR_INIT;
    tn_world_row(world(), TN_WS_EVAL, 1, 6, TN_MIX_SFT, true, &s);
    CHECK(strstr(s.s, "\"pool\": \"held\"") != NULL);
    CHECK_MSG(strstr(s.s, "\"attr\": \"size\", \"value\": \"large\", \"belief\": \"small\", "
                          "\"wrong\": true}}\n") != NULL,
              "%s", s.s);
    json_t *row = NULL;
    CHECK_OK(tn_json_parse(s.s, s.len, "row", &row, e));
    json_decref(row);
    tn_str_free(&s);
}
