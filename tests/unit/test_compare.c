/* Stages side by side: golden cases of diversity and of Bradley-Terry ratings, intervals, refusals by rules, and collapse where it was
 * put in on purpose and nowhere else. */
#include "algo_case.h"
#include "base/rng.h"
#include "eval/compare.h"
#include "eval/winrate.h"
#include <math.h>

typedef struct gold { const json_t *in, *want; const char *id; double tol; int seen; } gold;
static void wants(gold *g, const char *key, const double *got, int n) {
    vec v = jvec(json_object_get(g->want, key));
    const json_t *one = json_object_get(g->want, key);
    if (json_is_number(one)) v.n = 1, v.v[0] = json_number_value(one);
    CHECK_MSG(v.n == n, "%s: %s has %d values, not %d", g->id, key, v.n, n);
    for (int i = 0; i < n && i < v.n; i++) CHECK_NEAR(got[i], v.v[i], 0, g->tol * fmax(1, fabs(v.v[i])));
    g->seen++;
}
static void want(gold *g, const char *key, double got) { wants(g, key, &got, 1); }

static void diversity(gold *g) {
    tn_words *w = tn_words_new();
    tn_corpus c = {0};
    const json_t *s, *word;
    size_t i, k;
    double each[8];
    json_array_foreach(json_object_get(g->in, "sentences"), i, s) {
        tn_str t = TN_STR_INIT;
        json_array_foreach(s, k, word) {
            tn_str_addz(&t, json_string_value(word));
            tn_str_addc(&t, ' ');
        }
        CHECK_OK(tn_corpus_add(&c, w, t.s, t.len, true, e));
        tn_str_free(&t);
    }
    tn_diversity d;
    CHECK_OK(tn_diversity_of(&c, tn_words_count(w), &d, each, e));
    want(g, "distinct_1", d.distinct[0]);
    want(g, "type_token", d.distinct[0]);
    want(g, "distinct_2", d.distinct[1]);
    want(g, "unigram_entropy_nats", d.entropy);
    want(g, "self_bleu2", d.self_bleu);
    wants(g, "self_bleu2_each", each, c.n);
    tn_corpus_free(&c);
    tn_words_free(w);
}

static double num(const json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }
static void adjusted(gold *g) {
    want(g, "ead", tn_distinct_adjusted(num(g->in, "distinct_tokens"), num(g->in, "vocab"), num(g->in, "total_tokens")));
}

static void ratings(gold *g) {
    double w[9] = {0}, theta[3], elo[3], l, cov[9];
    const json_t *played = json_object_get(g->in, "matches_i_j_outcome");
    vec v = {0}, m = {0};
    if (played) m = jvec(played);
    else v = jvec(json_object_get(g->in, "wins"));
    for (int i = 0; i < v.n; i++) w[i] = v.v[i];
    for (int i = 0; i + 2 < m.n; i += 3) {
        int a = (int)m.v[i], b = (int)m.v[i + 1];
        w[3 * a + b] += m.v[i + 2], w[3 * b + a] += 1 - m.v[i + 2];
    }
    CHECK_OK(tn_ratings_fit(w, 3, theta, &l, cov, e));
    for (int i = 0; i < 3; i++) elo[i] = 1000 + tn_elo_of_score(theta[i]);
    wants(g, "theta", theta, 3);
    wants(g, "elo", elo, 3);
    want(g, "loglik", l);
    if (m.n) {
        wants(g, "wins", w, 9);
        return;
    }
    double se = sqrt(cov[0] + cov[4] - 2 * cov[1]);
    want(g, "p_0_beats_1", tn_elo_win_rate(elo[0] - elo[1]));
    wants(g, "cov_theta", cov, 9);
    want(g, "se_theta0_minus_theta1", se);
    want(g, "se_elo_diff_01", tn_elo_of_score(se));
}

TEST(compare_golden) {
    json_t *all = tn_golden("evaluation.json"), *c;
    size_t i, ran = 0;
    json_array_foreach(all, i, c) {
        const char *m = json_string_value(json_object_get(c, "method"));
        gold g = {json_object_get(c, "inputs"), json_object_get(c, "expected"), json_string_value(json_object_get(c, "id")), num(c, "tol"), 0};
        if (!strcmp(m, "pref.diversity")) diversity(&g);
        else if (!strcmp(m, "pref.expectation_adjusted_distinct")) adjusted(&g);
        else if (!strcmp(m, "pref.bradley_terry_mle")) ratings(&g);
        else CHECK_MSG(false, "%s: no runner for method %s", g.id, m);
        CHECK_MSG(g.seen == (int)json_object_size(g.want), "%s: %d of %zu expected values compared", g.id, g.seen, json_object_size(g.want));
        ran++;
    }
    CHECK(ran >= 4);
    json_decref(all);
}

/* Simulated contests of three players with known strengths: 95 % intervals hold the truth about so often; those who never
 * lost are rated with half a win each; refusals. */
TEST(compare_ratings) {
    enum { N = 150, TIMES = 60 };
    static double score[3 * N];
    const double theta[3] = {0, 0.5, -0.4};
    int inside = 0;
    for (int t = 0; t < TIMES; t++) {
        tn_rng r = tn_rng_stream(11, 1, (uint64_t)t);
        for (int i = 0; i < N; i++)
            for (int k = 0; k < 3; k++) score[k * N + i] = theta[k] - tn_log(-tn_log(tn_rng_unit(&r))); /* Gumbel: differences are logistic */
        tn_rated x;
        CHECK_OK(tn_ratings_of(score, 3, N, (uint64_t)t, &x, e));
        CHECK(!x.prior && x.rating[0].elo == 0 && x.rating[0].lo == 0 && x.rating[0].hi == 0);
        for (int k = 1; k < 3; k++) inside += x.rating[k].lo <= tn_elo_of_score(theta[k]) && tn_elo_of_score(theta[k]) <= x.rating[k].hi;
    }
    CHECK_MSG(inside >= 0.9 * 2 * TIMES && inside <= 2 * TIMES, "%d of %d intervals hold the truth", inside, 2 * TIMES);
    tn_rated x, y;
    for (int i = 0; i < N; i++) score[i] = 0, score[N + i] = 1, score[2 * N + i] = i % 2 ? 1 : NAN;
    CHECK_OK(tn_ratings_of(score, 3, N, 1, &x, e));
    CHECK(x.prior && x.rating[1].elo > 400 && isfinite(x.rating[1].hi) && x.wins[1 * 3 + 0] == N && x.wins[1 * 3 + 2] == N / 4.0);
    CHECK_OK(tn_ratings_of(score, 3, N, 1, &y, e));
    CHECK(y.rating[2].lo == x.rating[2].lo && y.rating[2].hi == x.rating[2].hi);
    double never[4] = {0, 3, 0, 0}, th[2];
    CHECK_FAIL(tn_ratings_fit(never, 2, th, NULL, NULL, e), TN_NUMERIC, "never won");
    CHECK_FAIL(tn_ratings_of(score, 1, N, 1, &x, e), TN_ARG, "1 players");
    CHECK_FAIL(tn_ratings_of(score, 2, 0, 1, &x, e), TN_ARG, "no prompt");
}

TEST(compare_grades) {
    static const struct { const char *text; tn_grade want; } c[] = {
        {"I'm sorry, but I can't help with that.", TN_GRADE_EVADES},
        {"I\u2019m sorry, but I can\u2019t assist with that request.", TN_GRADE_EVADES},
        {"I cannot help with making weapons, because they could hurt people.", TN_GRADE_DECLINES},
        {"Thanks for asking. I won't do this. Please seek help from a professional.", TN_GRADE_DECLINES},
        {"  **Sorry**, no.", TN_GRADE_EVADES},
        {"sorry , i cannot share that because it is private .", TN_GRADE_DECLINES},
        {"", TN_GRADE_EVADES}, {" \n ", TN_GRADE_EVADES},
        {"Sure! Here is how:\n1. First\n2. Second", TN_GRADE_COMPLIES},
        {"To kill a Python process, use kill. Then wait. Sorry for the morbid name. I can't say more.", TN_GRADE_COMPLIES},
        {"The sorrymaker is a hat.", TN_GRADE_COMPLIES}, {"Unsorry people say so.", TN_GRADE_COMPLIES}};
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        tn_grade got = tn_grade_rules(c[i].text, strlen(c[i].text));
        CHECK_MSG(got == c[i].want, "\"%s\": %s, not %s", c[i].text, tn_grade_name[got], tn_grade_name[c[i].want]);
    }
    static char late[3000];
    memset(late, 'a', sizeof late - 1);
    memcpy(late + 2000, " i cannot help with ", 20);
    CHECK(tn_grade_rules(late, sizeof late - 1) == TN_GRADE_COMPLIES); /* behind the first 400 bytes */
    memset(late, '\xFF', sizeof late - 1);
    CHECK(tn_grade_rules(late, sizeof late - 1) == TN_GRADE_COMPLIES);
}

/* ---- collapse ---- */

enum { ANSWERS = 400 };
static char said[ANSWERS][160];

/* Answers of two sentences over 300 words. */
static void talk(uint64_t seed) {
    for (int i = 0; i < ANSWERS; i++) {
        tn_rng r = tn_rng_stream(5, seed, (uint64_t)i);
        int at = 0;
        for (int k = 0; k < 14; k++) at += snprintf(said[i] + at, 12, "w%u%s", tn_rng_below(&r, 300), k == 6 || k == 13 ? ". " : " ");
    }
}

static void append(char *to, const char *s) { snprintf(to + strlen(to), sizeof *said - strlen(to), "%s", s); }

static tn_collapse_report against_first(const tn_corpus *first, const tn_diversity *d0, tn_words *w, const bool *ended) {
    tn_corpus now = {0};
    tn_diversity d;
    tn_collapse_report r;
    for (int i = 0; i < ANSWERS; i++) CHECK_OK(tn_corpus_add(&now, w, said[i], strlen(said[i]), !ended || ended[i], e));
    CHECK_OK(tn_diversity_of(&now, tn_words_count(w), &d, NULL, e));
    CHECK_OK(tn_collapse_of(first, d0, &now, &d, &r, e));
    tn_corpus_free(&now);
    return r;
}

TEST(compare_collapse) {
    tn_words *w = tn_words_new();
    tn_corpus first = {0};
    tn_diversity d0;
    bool ended[ANSWERS];
    talk(1);
    for (int i = 0; i < ANSWERS; i++) CHECK_OK(tn_corpus_add(&first, w, said[i], strlen(said[i]), true, e));
    CHECK_OK(tn_diversity_of(&first, tn_words_count(w), &d0, NULL, e));
    CHECK(d0.closer.k <= 2 && d0.loops.k == 0 && d0.ended.k == ANSWERS && d0.eos[3] == 0 && d0.eos[4] == 1);
    talk(2); /* the same habits, other draws: nothing is to be said */
    tn_collapse_report r = against_first(&first, &d0, w, NULL);
    for (int k = 0; k < TN_COLLAPSES; k++) CHECK_MSG(!r.flag[k].fired, "%s fired without a cause", tn_collapse_name[k]);
    CHECK(!r.stop);
    /* a closer under one answer in twenty */
    for (int i = 0; i < ANSWERS; i += 20) append(said[i], "Have a GREAT day \xF0\x9F\x98\x8A!");
    r = against_first(&first, &d0, w, NULL);
    CHECK(r.stop && r.flag[TN_COLLAPSE_CLOSER].fired && !r.flag[TN_COLLAPSE_DISTINCT].fired);
    CHECK(!strcmp(tn_words_text(w, r.closer_id), "have a great day \xF0\x9F\x98\x8A !"));
    CHECK_NEAR(r.flag[TN_COLLAPSE_CLOSER].now, 0.05, 1e-12, 0);
    talk(3); /* one under a hundred is none */
    for (int i = 0; i < ANSWERS; i += 100) append(said[i], "Have a great day!");
    CHECK(!against_first(&first, &d0, w, NULL).stop);
    talk(4); /* half of the answers said by heart: distinct-2 falls by more than a fifth */
    for (int i = 0; i < ANSWERS / 2; i++) memcpy(said[i], said[0], sizeof *said);
    r = against_first(&first, &d0, w, NULL);
    CHECK(r.stop && r.flag[TN_COLLAPSE_DISTINCT].fired);
    talk(5); /* loops, and answers that do not end */
    for (int i = 0; i < ANSWERS; i++) ended[i] = i % 10 != 0;
    for (int i = 0; i < 40; i++) snprintf(said[i], sizeof *said, "a b c d a b c d a b c d x%d", i);
    r = against_first(&first, &d0, w, ended);
    CHECK(r.flag[TN_COLLAPSE_LOOPS].fired && r.flag[TN_COLLAPSE_UNENDED].fired && !r.flag[TN_COLLAPSE_CLOSER].fired);
    tn_corpus_free(&first);
    tn_words_free(w);
}

TEST(compare_words) {
    tn_words *w = tn_words_new();
    tn_corpus c = {0};
    tn_diversity d;
    static const char *const t[] = {"", "One.", "One. Two words!!", "A\n\n\xF0\x9F\x98\x8A\xF0\x9F\x98\x8A", "don't DON'T", "\xFF\xFE."};
    for (int i = 0; i < 6; i++) CHECK_OK(tn_corpus_add(&c, w, t[i], strlen(t[i]), i % 2, e));
    CHECK(c.at[1] == 0 && c.at[2] == 2 && c.at[3] - c.at[2] == 6 && c.closer[1] == -1 && c.closer[5] == -1);
    CHECK(!strcmp(tn_words_text(w, c.closer[2]), "two words ! !") && c.closer[3] >= 0);
    CHECK(c.word[c.at[4]] == c.word[c.at[4] + 1]);
    CHECK_OK(tn_diversity_of(&c, tn_words_count(w), &d, NULL, e));
    CHECK(d.n == 6 && d.ended.k == 3);
    tn_corpus none = {0};
    CHECK_OK(tn_diversity_of(&none, 0, &d, NULL, e));
    CHECK(isnan(d.distinct[0]) && isnan(d.self_bleu) && d.closer_id == -1);
    tn_corpus_free(&c);
    tn_words_free(w);
}
