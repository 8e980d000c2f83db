/* Constitutions: what is read, what is refused and how it is said, and how principles are drawn. */
#include "base/os.h"
#include "oversight/constitution.h"
#include "test.h"
#include <math.h>

static const char *file(const char *name, const char *text) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", tn_test_dir(), name);
    CHECK_OK(tn_write_file(path, text, strlen(text), e));
    return path;
}
static tn_constitution *loaded(const char *name, const char *text) {
    tn_constitution *c = NULL;
    CHECK_OK(tn_constitution_load(&c, file(name, text), e));
    return c;
}

#define P(id, rest) "{\"id\": \"" id "\", \"kind\": [\"critique_revise\", \"compare\"], \"critique\": \"C\", \"revise\": \"R\", \"compare\": \"Q\"" rest "}"
#define DOC(principles) "{\"principles\": [" principles "]}"

TEST(constitution_reads) {
    tn_constitution *c = loaded("c.json",
        "{\"constitution\": {\"name\": \"demo\", \"version\": \"1\", \"locale\": \"en\"}, \"labels\": {\"option_a\": \"A\", \"option_b\": \"B\"},"
        " \"principles\": [" P("a", ", \"weight\": 3, \"weights\": {\"benign\": 0, \"harmful\": 5}, \"tags\": [\"x\"]") ","
        " {\"id\": \"b\", \"kind\": [\"compare\"], \"compare\": \"worst?\", \"polarity\": \"chosen_is_worse\", \"applies_to\": [\"red\"]}, "
        P("c", ", \"enabled\": false") "],"
        " \"few_shots\": [{\"id\": \"f\", \"kind\": \"critique_revise\", \"principle\": \"a\", \"critique\": \"c\", \"revision\": \"r\","
        " \"conversation\": [{\"role\": \"user\", \"content\": \"u\"}, {\"role\": \"assistant\", \"content\": \"y\"}]},"
        " {\"id\": \"g\", \"kind\": \"compare\", \"principle\": \"b\", \"option_a\": \"1\", \"option_b\": \"2\", \"answer\": \"b\","
        " \"conversation\": [{\"role\": \"user\", \"content\": \"u\"}]}]}");
    CHECK(c->n_principle == 3 && c->n_few_shot == 2 && !strcmp(c->name, "demo"));
    CHECK(c->principle[1].worse && !c->principle[1].use[TN_CRITIQUE_REVISE] && !c->principle[1].critique);
    CHECK(tn_principle_weight(&c->principle[0], TN_COMPARE, NULL) == 3 && tn_principle_weight(&c->principle[0], TN_COMPARE, "benign") == 0);
    CHECK(tn_principle_weight(&c->principle[0], TN_COMPARE, "harmful") == 5 && tn_principle_weight(&c->principle[1], TN_COMPARE, NULL) == 0);
    CHECK(tn_principle_weight(&c->principle[1], TN_COMPARE, "red") == 1 && tn_principle_weight(&c->principle[1], TN_CRITIQUE_REVISE, "red") == 0);
    CHECK(tn_principle_weight(&c->principle[2], TN_COMPARE, NULL) == 0);
    CHECK(c->few_shot[1].use == TN_COMPARE && c->few_shot[1].answer == 1 && c->few_shot[1].principle == 1);
    CHECK(!strcmp(tn_constitution_label(c, "option_a", ""), "A") && !strcmp(tn_constitution_label(c, "answer", "x"), "x"));
    CHECK(c->principle[0].hash == c->principle[2].hash && c->principle[0].hash != c->principle[1].hash);
    tn_constitution_free(c);
}

TEST(constitution_lines_are_the_document) {
    tn_constitution *a = loaded("l.json", "{\"constitution\": {\"name\": \"n\"}, \"principles\": [" P("a", "") "," P("b", ", \"weight\": 2") "]}");
    tn_constitution *b = loaded("l.jsonl", "{\"constitution\": {\"name\": \"n\"}}\n" P("a", "") "\n\n" P("b", ", \"weight\": 2") "\n");
    CHECK(b->n_principle == 2 && !strcmp(a->name, b->name) && a->principle[1].weight == b->principle[1].weight);
    CHECK(a->principle[1].hash == b->principle[1].hash && a->hash != b->hash);
    tn_constitution_free(a);
    tn_constitution_free(b);
    tn_constitution *c = NULL;
    CHECK_FAIL(tn_constitution_load(&c, file("twice.jsonl", "{\"labels\": {}}\n" P("a", "") "\n{\"labels\": {}}\n"), e), TN_FORMAT,
               "twice.jsonl:3: \"labels\" a second time");
}

/* p(k) = w_k / sum w: shares of many draws, the same draws again, and another seed's. */
TEST(constitution_draws) {
    tn_constitution *c = loaded("d.json", DOC(P("a", ", \"weight\": 1") "," P("none", ", \"weight\": 0") "," P("b", ", \"weight\": 3, \"weights\": {\"k\": 0}")));
    enum { N = 4000 };
    int n[3] = {0}, other = 0, k, again;
    for (uint64_t i = 0; i < N; i++) {
        CHECK_OK(tn_constitution_draw(c, TN_COMPARE, NULL, 7, i, &k, e));
        CHECK_OK(tn_constitution_draw(c, TN_CRITIQUE_REVISE, NULL, 7, i, &again, e));
        CHECK(k == again);
        n[k]++;
        CHECK_OK(tn_constitution_draw(c, TN_COMPARE, NULL, 8, i, &again, e));
        other += k != again;
        CHECK_OK(tn_constitution_draw(c, TN_COMPARE, "k", 7, i, &k, e));
        CHECK(k == 0);
    }
    CHECK(n[1] == 0 && fabs(n[2] - 0.75 * N) < 4 * sqrt(N * 0.75 * 0.25) && other > N / 4);
    tn_constitution_free(c);
    c = loaded("confined.json", DOC(P("a", ", \"applies_to\": [\"red\"]")));
    CHECK_FAIL(tn_constitution_draw(c, TN_COMPARE, "blue", 1, 0, &k, e), TN_ARG, "no enabled principle for compare applies to prompts of kind \"blue\"");
    CHECK_FAIL(tn_constitution_draw(c, TN_COMPARE, NULL, 1, 0, &k, e), TN_ARG, "(none)");
    tn_constitution_free(c);
}

#define FEW(rest) "{\"principles\": [" P("a", "") ",{\"id\": \"c\", \"kind\": [\"compare\"], \"compare\": \"q\"}], \"few_shots\": [" rest "]}"
#define USER "{\"role\": \"user\", \"content\": \"u\"}"
TEST(constitution_refusals) {
    static const struct { const char *text, *why; } bad[] = {
        {"", "bad.json"}, {"[]", "a constitution is a JSON object"}, {"{", "bad.json"}, {"{}", "\"principles\" is to be a list"},
        {DOC(""), "at least one"}, {"{\"principles\": 3}", "\"principles\" is to be a list"}, {DOC("7"), "a principle is to be an object"},
        {DOC(P("a", "") "," P("a", "")), "principle 1 has this id already"}, {DOC(P("", "")), "\"id\" is empty"},
        {DOC(P("a", ", \"wieght\": 2")), "principle 1, a: unknown key \"wieght\""}, {DOC(P("a", ", \"weight\": -1")), "\"weight\" is not a number of at least 0"},
        {DOC(P("a", ", \"weight\": \"2\"")), "\"weight\" is not"}, {DOC(P("a", ", \"weights\": {\"x\": -2}")), "x is not a number"},
        {DOC(P("a", ", \"weights\": [1]")), "an object of prompt kinds"}, {DOC(P("a", ", \"weight\": 0")), "no principle for critique_revise is enabled"},
        {DOC(P("a", ", \"enabled\": false")), "no principle for critique_revise is enabled"}, {DOC(P("a", ", \"enabled\": 1")), "enabled"},
        {DOC(P("a", ", \"polarity\": \"best\"")), "chosen_is_better or chosen_is_worse, not best"},
        {DOC(P("a", ", \"applies_to\": \"red\"")), "not a list of texts"}, {DOC(P("a", ", \"tags\": [1]")), "\"tags\"[0] is not a text"},
        {DOC("{\"id\": \"a\", \"kind\": [\"critique_revise\"], \"critique\": \"c\"}"), "revise"},
        {DOC("{\"id\": \"a\", \"kind\": [\"compare\"], \"critique\": \"c\", \"revise\": \"r\"}"), "compare"},
        {DOC("{\"id\": \"a\", \"kind\": [\"compare\"], \"compare\": \"  \\n\"}"), "\"compare\" is empty"},
        {DOC("{\"id\": \"a\", \"kind\": [\"compare\"], \"compare\": \"a\\u0000b\"}"), "NUL"},
        {DOC("{\"id\": \"a\", \"kind\": [], \"compare\": \"q\"}"), "\"kind\" is to be a list"},
        {DOC("{\"id\": \"a\", \"kind\": [\"rank\"], \"compare\": \"q\"}"), "not rank"}, {DOC("{\"id\": \"a\", \"kind\": [3], \"compare\": \"q\"}"), "not of something else"},
        {"{\"principles\": [" P("a", "") "], \"label\": {}}", "unknown key \"label\""},
        {"{\"principles\": [" P("a", "") "], \"labels\": {\"optoin_a\": \"x\"}}", "unknown key \"optoin_a\""},
        {"{\"principles\": [" P("a", "") "], \"labels\": {\"option_a\": \"(B)\"}}", "both \"(B)\""},
        {"{\"principles\": [" P("a", "") "], \"constitution\": {\"nmae\": \"x\"}}", "unknown key \"nmae\""},
        {FEW("{\"id\": \"f\", \"kind\": \"compare\", \"principle\": \"z\", \"conversation\": [" USER "]}"), "there is no principle \"z\""},
        {FEW("{\"id\": \"f\", \"kind\": \"critique_revise\", \"principle\": \"c\", \"conversation\": []}"), "is not one for critique_revise"},
        {FEW("{\"id\": \"f\", \"kind\": \"compare\", \"principle\": \"a\", \"conversation\": []}"), "end with the user's message"},
        {FEW("{\"id\": \"f\", \"kind\": \"critique_revise\", \"principle\": \"a\", \"conversation\": [" USER "]}"), "end with the assistant's message"},
        {FEW("{\"id\": \"f\", \"kind\": \"compare\", \"principle\": \"a\", \"conversation\": [" USER "," USER "]}"), "message 2 of \"conversation\""},
        {FEW("{\"id\": \"f\", \"kind\": \"compare\", \"principle\": \"a\", \"conversation\": [" USER "], \"option_a\": \"1\", \"option_b\": \"2\", \"answer\": \"A\"}"), "a or b, not A"},
        {FEW("{\"id\": \"f\", \"kind\": \"compare\", \"principle\": \"a\", \"conversation\": [" USER "], \"critique\": \"x\"}"), "unknown key \"critique\""},
        {FEW("7"), "few-shot 1: a few-shot is to be an object"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tn_constitution *c = NULL;
        CHECK_FAIL(tn_constitution_load(&c, file("bad.json", bad[i].text), e), TN_FORMAT, bad[i].why);
        CHECK(c == NULL);
    }
    tn_constitution *c = NULL;
    CHECK_FAIL(tn_constitution_load(&c, "/no/such/constitution.json", e), TN_IO, "/no/such/constitution.json");
}

/* The one that is shipped: enough principles of both uses for red-team prompts and others, every subject covered. */
TEST(constitution_default) {
    tn_constitution *c = NULL;
    CHECK_OK(tn_constitution_load(&c, "constitutions/default.json", e));
    static const char *const subjects[] = {"harm", "honesty", "fairness", "privacy", "respect", "non_preachy", "non_evasive", "helpfulness"};
    int n[TN_PRINCIPLE_USES] = {0}, covered[8] = {0};
    for (int i = 0; i < c->n_principle; i++) {
        size_t k;
        json_t *v;
        for (int u = 0; u < TN_PRINCIPLE_USES; u++) n[u] += tn_principle_weight(&c->principle[i], (tn_principle_use)u, "red_team") > 0;
        json_array_foreach((json_t *)c->principle[i].tags, k, v)
            for (int s = 0; s < 8; s++) covered[s] += !strcmp(json_string_value(v), subjects[s]);
        for (int j = 0; j < i; j++) CHECK(c->principle[i].hash != c->principle[j].hash);
    }
    CHECK(n[0] >= 16 && n[1] >= 16);
    for (int s = 0; s < 8; s++) CHECK(covered[s] > 0);
    int shots[TN_PRINCIPLE_USES] = {0}, answers[2] = {0};
    for (int i = 0; i < c->n_few_shot; i++) {
        shots[c->few_shot[i].use]++;
        if (c->few_shot[i].use == TN_COMPARE) answers[c->few_shot[i].answer]++;
    }
    CHECK(shots[0] >= 5 && shots[1] >= 5 && answers[0] >= 2 && answers[1] >= 2);
    tn_constitution_free(c);
}
