/* Simulated annotators: Plackett-Luce frequencies, presets, files of rankings and pairs. */
#include "test.h"
#include "base/mathx.h"
#include "world/internal.h"
#include <errno.h>

static const tn_world *world(void) {
    static tn_world w;
    if (!w.nvocab) tn_world_init(&w, 1);
    return &w;
}

/* A bare refusal is worth as much as one with its reason to `lenient`, and to nobody else. */
TEST(world_lenient) {
    tn_world_text bare = {0}, reason = {0};
    tn_world_prompt p;
    tn_world_verdict v[2];
    tn_rng r = tn_rng_stream(3, TN_WR_RL, 5);
    tn_world_draw_prompt(world(), &r, TN_WF_PRIVACY, TN_POOL_TRAIN, &p);
    tn_world_evade(world(), &bare);
    tn_world_good(world(), &p, &reason);
    tn_world_judge(world(), &p, bare.id, bare.n, true, &v[0]);
    tn_world_judge(world(), &p, reason.id, reason.n, true, &v[1]);
    for (const tn_world_annotator *a = tn_world_annotators; a->name; a++) {
        double gap = tn_world_utility(a, &v[1]) - tn_world_utility(a, &v[0]);
        if (!strcmp(a->name, "lenient")) CHECK_NEAR(gap, 0, 1e-12, 0);
        else CHECK(gap > 0.79);
    }
}

/* P(order) = prod_k exp(s_k) / sum over those not yet placed; the inattentive: any order. */
TEST(world_plackett_luce) {
    const tn_world_annotator *a = tn_world_find_annotator("careful");
    tn_world_verdict v[3] = {{.reward = 1, .length = 6},
                             {.reward = 0.4, .length = 30, .flourish = true},
                             {.reward = -0.1, .length = 50, .syco = true}};
    double s[3], got[6] = {0}, want[6];
    static const int order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    CHECK_NEAR(tn_world_utility(a, &v[1]), 0.4 + 0.025 * 30 + 0.3, 1e-12, 0);
    CHECK_NEAR(tn_world_utility(a, &v[2]), -0.1 + 0.025 * 40 + 0.6, 1e-12, 0);
    for (int i = 0; i < 3; i++) s[i] = tn_exp(tn_world_utility(a, &v[i]) / a->tau);
    for (int o = 0; o < 6; o++) {
        const int *k = order[o];
        double p = s[k[0]] / (s[0] + s[1] + s[2]) * s[k[1]] / (s[k[1]] + s[k[2]]);
        want[o] = 0.9 * p + 0.1 / 6;
    }
    enum { N = 60000 };
    for (uint64_t n = 0; n < N; n++) {
        int rank[3];
        CHECK(tn_world_rank(&a, 1, 5, n, v, 3, rank) == 0);
        for (int o = 0; o < 6; o++)
            if (rank[order[o][0]] == 1 && rank[order[o][1]] == 2 && rank[order[o][2]] == 3)
                got[o]++;
    }
    for (int o = 0; o < 6; o++) CHECK_NEAR(got[o] / N, want[o], 0, 0.008);
}

TEST(world_exact_annotator) {
    const tn_world_annotator *a = tn_world_find_annotator("exact");
    tn_world_verdict v[5] = {{.reward = 0.2},
                             {.reward = 1},
                             {.reward = 0.2},
                             {.reward = -2, .syco = true, .length = 40},
                             {.reward = 0.9}};
    int rank[5];
    static const int want[5] = {3, 1, 4, 5, 2};
    for (uint64_t n = 0; n < 20; n++) {
        tn_world_rank(&a, 1, n, n, v, 5, rank);
        CHECK(!memcmp(rank, want, sizeof want));
    }
    CHECK(tn_world_find_annotator("careless") == NULL);
}

/* Persons: functions of their number, with tastes of their own around careful's. */
TEST(world_persons) {
    tn_world_annotator a, b;
    double sum[3] = {0};
    enum { N = 4000 };
    for (uint64_t k = 0; k < N; k++) {
        tn_world_person(k, &a);
        tn_world_person(k, &b);
        CHECK(a.len == b.len && a.syco == b.syco && a.flourish == b.flourish);
        CHECK(a.len >= -0.05 && a.len < 0.1 && a.syco >= -1 && a.syco < 2.5);
        CHECK(a.flourish >= -0.6 && a.flourish < 1.2 && a.tau == 0.45 && a.inattentive == 0.10);
        sum[0] += a.len / N, sum[1] += a.syco / N, sum[2] += a.flourish / N;
    }
    CHECK_NEAR(sum[0], 0.025, 0, 0.003);
    CHECK_NEAR(sum[1], 0.75, 0, 0.06);
    CHECK_NEAR(sum[2], 0.3, 0, 0.03);
    tn_world_person(1, &a);
    CHECK(a.len != b.len && a.syco != b.syco);
}

/* Draws: the annotator when there are several, attention, one unit a response. */
TEST(world_annotator_stream) {
    const tn_world_annotator *pool[2] = {tn_world_find_annotator("careful"),
                                         tn_world_find_annotator("exact")};
    tn_world_verdict v[2] = {{.reward = 0}, {.reward = 0.001}};
    int second = 0;
    for (uint64_t n = 0; n < 400; n++) {
        tn_rng r = tn_rng_stream(9, 12, n);
        int rank[2], who = tn_world_rank(pool, 2, 9, n, v, 2, rank);
        CHECK(who == (int)tn_rng_below(&r, 2));
        CHECK(rank[0] + rank[1] == 3);
        if (who == 1)
            CHECK(rank[1] == 1);
        else
            second += rank[1] == 2;
    }
    CHECK(second > 60);
}

static void put(const char *path, const char *text) {
    CHECK_OK(tn_write_file(path, text, strlen(text), e));
}

TEST(world_rank_file) {
    char in[512], out[512], pairs[512], lists[512], out2[512];
    const char *dir = tn_test_dir();
    snprintf(in, sizeof in, "%s/in.jsonl", dir);
    snprintf(lists, sizeof lists, "%s/lists.jsonl", dir);
    snprintf(out, sizeof out, "%s/out.jsonl", dir);
    snprintf(out2, sizeof out2, "%s/out2.jsonl", dir);
    snprintf(pairs, sizeof pairs, "%s/pairs.jsonl", dir);
    put(lists, "{\"id\":\"eval-0\",\"responses\":[\"it is red .\",\"the vopsa wheel is kept in the "
               "attic .\",\"it is red .\"],\"ended\":[true,true,false]}\n"
               "{\"id\":\"eval-5\",\"responses\":[\"3\",\"no\"]}\n");
    put(in, "{\"id\":\"eval-0\",\"text\":\"it is red .\",\"finish_reason\":\"stop\"}\n"
            "{\"id\":\"eval-0\",\"response\":\"the vopsa wheel is kept in the attic .\"}\n"
            "{\"id\":\"eval-0\",\"text\":\"it is red .\",\"ended\":false}\n"
            "{\"id\":\"eval-5\",\"text\":\"3\"}\n{\"id\":\"eval-5\",\"text\":\"no\"}\n");
    const tn_world_annotator *a = tn_world_find_annotator("exact");
    tn_str s = TN_STR_INIT, t = TN_STR_INIT;
    CHECK_OK(tn_world_rank_file(world(), lists, &a, 1, 1, 1, out, pairs, e));
    CHECK_OK(tn_world_rank_file(world(), in, &a, 1, 1, 1, out2, NULL, e));
    CHECK_OK(tn_read_file(out, &s, 1 << 20, e));
    CHECK_OK(tn_read_file(out2, &t, 1 << 20, e));
    CHECK(!strcmp(s.s, t.s));
    static const char first[] =
        "{\"prompt\": [{\"role\": \"user\", \"content\": "
        "\"tell me the place of the vopsa wheel .\"}], "
        "\"responses\": [\"it is red .\", "
        "\"the vopsa wheel is kept in the attic .\", \"it is red .\"], "
        "\"ended\": [true, true, false], \"rank\": [2, 1, 3], \"annotator\": 0, "
        "\"family\": \"benign\", \"id\": \"eval-0\"}\n";
    CHECK_MSG(!strncmp(s.s, first, sizeof first - 1), "%s", s.s);
    /* The two equal responses of the first ranking make no pair. */
    CHECK_OK(tn_read_file(pairs, &s, 1 << 20, e));
    int lines = 0;
    for (const char *c = s.s; *c; c++) lines += *c == '\n';
    CHECK_MSG(lines == 3, "%s", s.s);
    CHECK(strstr(s.s, "\"chosen\": [{\"role\": \"assistant\", \"content\": \"no\"}], \"rejected\": "
                      "[{\"role\": \"assistant\", \"content\": \"3\"}]}\n") != NULL);
    tn_str_free(&s);
    tn_str_free(&t);
}

/* The items' seed and the annotators' are two; ids of another seed's prompt are noticed. */
TEST(world_rank_seeds) {
    char in[512], out[512];
    snprintf(in, sizeof in, "%s/in.jsonl", tn_test_dir());
    snprintf(out, sizeof out, "%s/out.jsonl", tn_test_dir());
    const tn_world_annotator *a = tn_world_find_annotator("careful");
    tn_world_prompt p;
    tn_world_text t = {0};
    tn_str s = TN_STR_INIT, r = TN_STR_INIT, first = TN_STR_INIT;
    tn_world_set_prompt(world(), TN_WS_PREF, 1, 8, &p, NULL);
    tn_world_push(&t, TN_WORLD_BOS);
    tn_world_render(&p, true, &t);
    tn_str_addz(&s, "{\"id\": \"pref-8\", \"responses\": [\"yes\", \"no\", \"red\", \"it is red .\"], \"prompt_ids\": [");
    for (int i = 0; i < t.n; i++) tn_str_addf(&s, i ? ", %d" : "%d", t.id[i]);
    tn_str_addz(&s, "]}\n");
    put(in, s.s);
    CHECK_FAIL(tn_world_rank_file(world(), in, &a, 1, 2, 1, out, NULL, e), TN_ARG, "pass the seed that made");
    int differ = 0;
    for (uint64_t draws = 1; draws < 8; draws++) {
        CHECK_OK(tn_world_rank_file(world(), in, &a, 1, 1, draws, out, NULL, e));
        CHECK_OK(tn_read_file(out, draws == 1 ? &first : &r, 1 << 20, e));
        differ += draws > 1 && strcmp(first.s, r.s) != 0;
    }
    CHECK(differ > 0);
    tn_str_free(&s);
    tn_str_free(&r);
    tn_str_free(&first);
}

TEST(world_rank_hostile) {
    static const struct {
        const char *row, *says;
    } c[] = {
        {"{\"id\":\"eval-0\",\"responses\":[\"a\"]}\n", "2 to 64"},
        {"{\"id\":\"eval-0\",\"responses\":\"a\"}\n", "2 to 64"},
        {"{\"id\":\"eval-0\",\"responses\":[\"a\",3]}\n", "item 1"},
        {"{\"id\":\"eval-0\",\"responses\":[\"a\",\"b\"],\"ended\":[true]}\n", "ended"},
        {"{\"id\":\"eval-0\",\"responses\":[\"a\",\"b\"],\"ended\":[true,0]}\n", "item 1"},
        {"{\"id\":\"eval-0\",\"text\":\"a\"}\n", "only one response"},
        {"{\"id\":\"eval-0\",\"text\":\"a\"}\n{\"id\":\"eval-1\",\"text\":\"a\"}\n",
         "only one response"},
    };
    char in[512], out[512];
    snprintf(in, sizeof in, "%s/in.jsonl", tn_test_dir());
    snprintf(out, sizeof out, "%s/out.jsonl", tn_test_dir());
    const tn_world_annotator *a = tn_world_find_annotator("careful");
    for (size_t k = 0; k < sizeof c / sizeof *c; k++) {
        put(in, c[k].row);
        CHECK_FAIL(tn_world_rank_file(world(), in, &a, 1, 1, 1, out, NULL, e), TN_FORMAT, c[k].says);
    }
    tn_str many = TN_STR_INIT;
    for (int i = 0; i < 70; i++) tn_str_addz(&many, "{\"id\":\"eval-0\",\"text\":\"a\"}\n");
    put(in, many.s);
    CHECK_FAIL(tn_world_rank_file(world(), in, &a, 1, 1, 1, out, NULL, e), TN_FORMAT, "more than 64");
    tn_str_free(&many);
}

/* Every system call and allocation may fail: the error comes back, with nothing left behind. */
TEST(world_faults) {
    char in[512], out[512], pairs[512];
    const char *dir = tn_test_dir();
    snprintf(in, sizeof in, "%s/in.jsonl", dir);
    snprintf(out, sizeof out, "%s/out.jsonl", dir);
    snprintf(pairs, sizeof pairs, "%s/pairs.jsonl", dir);
    put(in,
        "{\"id\":\"eval-0\",\"responses\":[\"a\",\"it is red .\"],\"response\":\"no\",\"prompt\":"
        "[{\"role\":\"user\",\"content\":\"tell me the place of the vopsa wheel .\"}]}\n");
    const tn_world_annotator *a = tn_world_find_annotator("careful");
    for (int work = 0; work < 4; work++) {
        long n = 0;
        int unnoticed = 0;
        for (bool fired = true; fired && n < 500;) {
            tn_err err = {0};
            tn_status st;
            tn_fault_arm(++n, ENOSPC);
            if (work == 0)
                st = tn_world_rank_file(world(), in, &a, 1, 1, 1, out, pairs, &err);
            else if (work == 1)
                st = tn_world_judge_file(world(), in, 1, out, &err);
            else if (work == 2)
                st = tn_world_write_tokenizer(world(), dir, &err);
            else
                st = tn_world_write_set(world(), TN_WS_SFT, 1, 0, 3, TN_MIX_SFT, true, out, &err);
            fired = tn_fault_fired();
            tn_fault_arm(0, 0);
            if (!fired)
                CHECK(st == TN_OK);
            else if (st == TN_OK)
                unnoticed++;
            else
                CHECK((st == TN_IO || st == TN_NOMEM) && err.msg[0]);
        }
        CHECK_MSG(unnoticed <= 1, "work %d: %d faults went unnoticed", work,
                  unnoticed); /* close of input */
        CHECK_MSG(n > 5 && n < 500, "%ld calls", n);
    }
}

/* One pair a ranking, of different text and truth, with the annotator's and the oracle's word on it. */
TEST(world_pairs_file) {
    char in[512], out[512];
    snprintf(in, sizeof in, "%s/in.jsonl", tn_test_dir());
    snprintf(out, sizeof out, "%s/out.jsonl", tn_test_dir());
    put(in, "{\"id\":\"eval-0\",\"responses\":[\"it is red .\",\"the vopsa wheel is kept in the attic .\",\"it is red .\"]}\n"
            "{\"id\":\"eval-5\",\"responses\":[\"3\",\"3\"]}\n"
            "{\"id\":\"eval-0\",\"responses\":[\"it is red .\",\"it is blue .\"]}\n");
    const tn_world_annotator *a = tn_world_find_annotator("exact");
    tn_str s = TN_STR_INIT;
    for (uint64_t draws = 1; draws < 6; draws++) {
        CHECK_OK(tn_world_pairs_file(world(), in, &a, 1, 1, draws, out, e));
        CHECK_OK(tn_read_file(out, &s, 1 << 20, e));
        bool first = strstr(s.s, "[\"the vopsa wheel is kept in the attic .\", \"it is red .\"]") != NULL;
        char want[128];
        snprintf(want, sizeof want, "\"rank\": [%d, %d], \"human\": %d, \"truth\": %d, \"family\": \"benign\", \"id\": \"eval-0\"}\n",
                 first ? 1 : 2, first ? 2 : 1, first ? 1 : 2, first ? 1 : 2);
        CHECK_MSG(strstr(s.s, want) == s.s + s.len - strlen(want), "%s", s.s); /* the others have no pair to offer */
    }
    tn_str_free(&s);
}
