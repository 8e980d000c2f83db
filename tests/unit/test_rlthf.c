/* Targeted human feedback: rows, questions and answers, and the rounds over a reward model that is made up. */
#include "test.h"
#include "base/mem.h"
#include "base/rng.h"
#include "rl/rlthf.h"
#include <math.h>

static void put(const char *path, const char *text) { CHECK_OK(tn_write_file(path, text, strlen(text), e)); }
static const char *at(char *out, size_t n, const char *dir, const char *name) {
    snprintf(out, n, "%s/%s", dir, name);
    return out;
}

TEST(rlthf_rows_read) {
    char path[512];
    const char *p = at(path, sizeof path, tn_test_dir(), "rows.jsonl");
    put(p, "{\"prompt\":\"x\",\"responses\":[\"a\",\"b\"],\"rank\":[2,1],\"human\":1,\"truth\":2,\"id\":\"k\"}\n"
           "{\"prompt\":\"x\",\"chosen\":\" c\",\"rejected\":\" r\",\"human\":0}\n"
           "{\"instruction\":\"i\",\"input\":\"n\",\"output\":\"o\",\"rejected\":\"r\",\"chosen\":\"c\",\"human\":2}\n");
    tn_rlthf_pairs r = {0};
    CHECK_OK(tn_rlthf_read(&r, &p, 1, e));
    CHECK(r.n == 3 && r.v[0].label == 2 && r.v[0].human == 1 && r.v[0].truth == 2);
    CHECK(r.v[1].label == 1 && r.v[1].human == -1 && r.v[1].truth == 0);
    CHECK(r.v[2].label == 1 && r.v[2].human == 2 && r.v[2].truth == 2); /* people's word, where nothing else is known */
    tn_str s = TN_STR_INIT;
    CHECK_OK(tn_rlthf_put(&r.v[0], 1, NULL, &s, e));
    CHECK(!strcmp(s.s, "{\"prompt\": \"x\", \"responses\": [\"a\",\"b\"], \"rank\": [1, 2]}"));
    tn_str_clear(&s);
    CHECK_OK(tn_rlthf_put(&r.v[0], 2, ", \"source\": \"model\"", &s, e));
    CHECK(!strcmp(s.s, "{\"prompt\": \"x\", \"responses\": [\"a\",\"b\"], \"rank\": [2, 1], \"id\": \"k\", \"source\": \"model\"}"));
    tn_str_clear(&s);
    CHECK_OK(tn_rlthf_put(&r.v[1], 2, NULL, &s, e));
    CHECK(!strcmp(s.s, "{\"prompt\": \"x\", \"chosen\": \" r\", \"rejected\": \" c\"}"));
    tn_str_clear(&s);
    CHECK_OK(tn_rlthf_put(&r.v[2], 2, NULL, &s, e)); /* a public set's prompt is not lost */
    CHECK(!strcmp(s.s, "{\"prompt\": \"i\\nn\", \"chosen\": \"r\", \"rejected\": \"c\"}"));
    tn_str_free(&s);
    tn_rlthf_pairs_free(&r);
}

TEST(rlthf_rows_hostile) {
    static const struct {
        const char *row, *says;
    } c[] = {
        {"{\"prompt\":\"x\",\"responses\":[\"a\",\"b\"]}", "tenet label"},
        {"{\"prompt\":\"x\",\"responses\":[\"a\",\"b\"],\"rank\":[1,1]}", "[1, 2] or [2, 1]"},
        {"{\"prompt\":\"x\",\"responses\":[\"a\",\"b\"],\"rank\":[1]}", "[1, 2] or [2, 1]"},
        {"{\"prompt\":\"x\",\"responses\":[\"a\",\"b\"],\"rank\":[\"1\",2]}", "[1, 2] or [2, 1]"},
        {"{\"prompt\":\"x\",\"responses\":[\"a\",\"b\",\"c\"],\"rank\":[1,2,3]}", "must be two, found 3"},
        {"{\"prompt\":\"x\",\"responses\":\"ab\",\"rank\":[1,2]}", "must be two, found 0"},
        {"{\"responses\":[\"a\",\"b\"],\"rank\":[1,2]}", "without \"prompt\""},
        {"{\"prompt\":\"x\",\"chosen\":\"a\"}", "\"chosen\" and \"rejected\""},
        {"{\"prompt\":\"x\",\"chosen\":\"a\",\"rejected\":\"b\",\"human\":3}", "\"human\" must be 1 or 2"},
        {"{\"prompt\":\"x\",\"chosen\":\"a\",\"rejected\":\"b\",\"human\":\"1\"}", "\"human\" must be 1 or 2"},
        {"{\"prompt\":\"x\",\"chosen\":\"a\",\"rejected\":\"b\",\"truth\":0}", "\"truth\" must be 1 or 2"},
        {"{\"prompt\":\"x\",\"chosen\":\"a\",\"rejected\":\"b\",\"truth\":1.5}", "\"truth\" must be 1 or 2"},
    };
    char path[512];
    const char *p = at(path, sizeof path, tn_test_dir(), "rows.jsonl");
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        tn_rlthf_pairs r = {0};
        put(p, c[i].row);
        CHECK_FAIL(tn_rlthf_read(&r, &p, 1, e), TN_FORMAT, c[i].says);
        tn_rlthf_pairs_free(&r);
    }
}

/* ---- questions ---- */

enum { N = 60 };
/* Pair i: responses "good i" and "bad i", in an order of its own; the label is wrong where `wrong` says. */
static void make_rows(const char *path, bool (*wrong)(int)) {
    tn_str s = TN_STR_INIT;
    for (int i = 0; i < N; i++) {
        int truth = 1 + i % 2, label = wrong(i) ? 3 - truth : truth;
        tn_str_addf(&s, "{\"prompt\":\"q %d\",\"responses\":[\"%s %d\",\"%s %d\"],\"rank\":[%d,%d],\"human\":%d,\"truth\":%d}\n", i,
                    truth == 1 ? "good" : "bad", i, truth == 1 ? "bad" : "good", i, label, 3 - label, truth, truth);
    }
    put(path, s.s);
    tn_str_free(&s);
}
static bool every_fifth(int i) { return i % 5 == 0; }

/* What a person writes who reads to_label.jsonl: better is where "good" stands. */
static void answer(const char *from, const char *to, const char *none) {
    tn_str s = TN_STR_INIT, out = TN_STR_INIT;
    CHECK_OK(tn_read_file(from, &s, 1 << 20, e));
    for (char *line = s.s, *end; line && *line; line = end + 1) {
        end = strchr(line, '\n');
        *end = 0;
        char *hole = strstr(line, "null");
        CHECK(hole != NULL);
        int better = strstr(line, "\"first\": \"good") ? 1 : 2;
        if (none && strstr(line, none)) better = 0;
        tn_str_addf(&out, "%.*s%d}\n", (int)(hole - line), line, better);
    }
    put(to, out.s ? out.s : "");
    tn_str_free(&s);
    tn_str_free(&out);
}

TEST(rlthf_questions) {
    char rows[512], ask[512], said[512];
    const char *dir = tn_test_dir(), *p = at(rows, sizeof rows, dir, "rows.jsonl");
    at(ask, sizeof ask, dir, "to_label.jsonl"), at(said, sizeof said, dir, "labelled.jsonl");
    make_rows(p, every_fifth);
    tn_rlthf_pairs r = {0};
    CHECK_OK(tn_rlthf_read(&r, &p, 1, e));
    int which[N], firsts = 0;
    for (int i = 0; i < N; i++) which[i] = N - 1 - i;
    tn_str a = TN_STR_INIT, b = TN_STR_INIT;
    CHECK_OK(tn_rlthf_ask(&r, which, N, 5, ask, e));
    CHECK_OK(tn_read_file(ask, &a, 1 << 20, e));
    for (const char *s = a.s; (s = strstr(s, "\"first\": \"good")); s++) firsts++;
    CHECK_MSG(firsts > N / 4 && firsts < 3 * N / 4, "%d of %d good ones come first", firsts, N);
    CHECK(strstr(a.s, "rank") == NULL && strstr(a.s, "human") == NULL && strstr(a.s, "truth") == NULL);
    CHECK(!strncmp(a.s, "{\"pair\": 60, \"prompt\": \"q 59\"", 29));
    /* the simulated person writes what a real one would */
    answer(ask, said, NULL);
    CHECK_OK(tn_read_file(said, &a, 1 << 20, e));
    CHECK_OK(tn_rlthf_simulate(&r, which, N, 5, said, e));
    CHECK_OK(tn_read_file(said, &b, 1 << 20, e));
    CHECK(!strcmp(a.s, b.s));
    CHECK_OK(tn_rlthf_answers(&r, which, N, 5, said, e));
    for (int i = 0; i < N; i++) CHECK(r.v[i].asked && r.v[i].answer == r.v[i].truth);
    /* pairs of another round are not answered again, and keep their answers */
    CHECK_OK(tn_rlthf_ask(&r, which, 2, 5, ask, e));
    answer(ask, said, "q 58\"");
    CHECK_OK(tn_rlthf_answers(&r, which, 2, 5, said, e));
    CHECK(r.v[58].answer == 0 && r.v[58].asked && r.v[59].answer == r.v[59].truth && r.v[3].answer == r.v[3].truth && r.v[3].asked);
    r.v[7].human = 0;
    CHECK_FAIL(tn_rlthf_simulate(&r, (int[]){7}, 1, 5, said, e), TN_FORMAT, "row 8 has no \"human\"");
    tn_rlthf_pairs_free(&r);
    tn_str_free(&a);
    tn_str_free(&b);
}

TEST(rlthf_answers_hostile) {
    static const struct {
        const char *rows, *says;
    } c[] = {
        {"{\"pair\":1,\"better\":1}\n", "pair 2 of to_label.jsonl is not answered"},
        {"{\"pair\":1,\"better\":1}\n{\"pair\":1,\"better\":1}\n", "pair 1 is answered twice"},
        {"{\"pair\":1,\"better\":null}\n{\"pair\":2,\"better\":1}\n", "not filled in"},
        {"{\"pair\":1}\n", "not filled in"},
        {"{\"pair\":1,\"better\":3}\n", "must be 1 (first)"},
        {"{\"pair\":1,\"better\":\"1\"}\n", "must be 1 (first)"},
        {"{\"pair\":1,\"better\":true}\n", "must be 1 (first)"},
        {"{\"pair\":1,\"better\":1.0}\n", "must be 1 (first)"},
        {"{\"pair\":3,\"better\":1}\n", "pair 3 was not asked about"},
        {"{\"pair\":0,\"better\":1}\n", "pair 0 was not asked about"},
        {"{\"pair\":-9223372036854775808,\"better\":1}\n", "was not asked about"},
        {"{\"pair\":61,\"better\":1}\n", "pair 61 was not asked about"},
        {"{\"pair\":\"1\",\"better\":1}\n", "pair"},
        {"[1]\n", "labelled.jsonl:1"},
        {"", "pair 1 of to_label.jsonl is not answered"},
    };
    char rows[512], said[512];
    const char *dir = tn_test_dir(), *p = at(rows, sizeof rows, dir, "rows.jsonl");
    at(said, sizeof said, dir, "labelled.jsonl");
    make_rows(p, every_fifth);
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        tn_rlthf_pairs r = {0};
        CHECK_OK(tn_rlthf_read(&r, &p, 1, e));
        put(said, c[i].rows);
        CHECK_FAIL(tn_rlthf_answers(&r, (int[]){0, 1}, 2, 5, said, e), TN_FORMAT, c[i].says);
        tn_rlthf_pairs_free(&r);
    }
}

/* ---- rounds ---- */

/* A reward model of which only the score of the pair is real: sure of most, wrong about nothing but unsure where labels
 * are wrong, as a model that resists them is. */
typedef struct fake {
    tn_rlthf_pairs rows;
    int trained, fail_at; /* the training that is interrupted; 0: none */
} fake;
static tn_status fake_train(void *ctx, const char *data, const char *dir, tn_err *e) {
    fake *f = ctx;
    f->trained++;
    if (f->trained == f->fail_at) return tn_fail(e, TN_INTERRUPTED, "stopped");
    return tn_mkdirs(dir, e);
}
static tn_status fake_judge(void *ctx, const char *dir, json_t *report, tn_err *e) {
    fake *f = ctx;
    for (int i = 0; i < N; i++) {
        double sure = every_fifth(i) ? (i % 10 ? 0.05 * i : -0.02 * i) : 0.5 + 3 * pow((i % 11) / 10.0, 4);
        f->rows.v[i].gap = f->rows.v[i].truth == 1 ? sure : -sure;
    }
    return TN_OK;
}

static tn_status rounds(fake *f, const char *rows, const char *dir, bool targeted, bool simulate, double human, bool *waiting,
                        tn_err *e) {
    static tn_rlthf_opt opt;
    opt = (tn_rlthf_opt){.rounds = 3, .shard = 1, .human = human, .backoff = 0.4, .amplification = 4, .amplification_end = 1};
    tn_rlthf_pairs_free(&f->rows);
    TN_TRY(tn_rlthf_read(&f->rows, &rows, 1, e));
    TN_TRY(tn_mkdirs(dir, e));
    tn_rlthf_loop l = {.opt = &opt, .rows = &f->rows, .dir = dir, .seed = 3, .targeted = targeted, .simulate = simulate, .ctx = f,
                       .train = fake_train, .judge = fake_judge};
    int round;
    return tn_rlthf_run(&l, waiting, &round, e);
}

static void check_same(const char *a, const char *b, const char *name) {
    char pa[600], pb[600];
    tn_str x = TN_STR_INIT, y = TN_STR_INIT;
    CHECK_OK(tn_read_file(at(pa, sizeof pa, a, name), &x, 1 << 20, e));
    CHECK_OK(tn_read_file(at(pb, sizeof pb, b, name), &y, 1 << 20, e));
    CHECK_MSG(x.len == y.len && !memcmp(x.s, y.s, x.len), "%s differs:\n%s\n%s", name, x.s, y.s);
    tn_str_free(&x);
    tn_str_free(&y);
}
static int count(const char *dir, const char *name, const char *what) {
    char p[600];
    tn_str s = TN_STR_INIT;
    int n = 0;
    CHECK_OK(tn_read_file(at(p, sizeof p, dir, name), &s, 1 << 20, e));
    for (const char *c = s.s; c && (c = strstr(c, what)); c++) n++;
    tn_str_free(&s);
    return n;
}
static const char *const files[] = {"metrics.jsonl",         "labels.jsonl",           "round-0/train.jsonl",    "round-1/train.jsonl",
                                    "round-2/train.jsonl",  "round-3/train.jsonl",    "round-1/to_label.jsonl", "round-2/to_label.jsonl",
                                    "round-3/to_label.jsonl", "round-3/labelled.jsonl", "round-3/gaps.jsonl"};
enum { N_FILE = sizeof files / sizeof *files };

TEST(rlthf_rounds) {
    char rows[512], a[512], b[512], c[512], from[600], to[600];
    const char *dir = tn_test_dir();
    at(a, sizeof a, dir, "a"), at(b, sizeof b, dir, "b"), at(c, sizeof c, dir, "c");
    make_rows(at(rows, sizeof rows, dir, "rows.jsonl"), every_fifth);
    fake f = {0};
    bool waiting;
    CHECK_OK(rounds(&f, rows, a, true, true, 0.1, &waiting, e));
    CHECK(!waiting && f.trained == 4);
    int asked = 0, wrong_asked = 0;
    for (int i = 0; i < N; i++) asked += f.rows.v[i].asked, wrong_asked += f.rows.v[i].asked && every_fifth(i);
    CHECK_MSG(asked >= 4 && asked <= 6, "%d asked", asked); /* of 10 %, as many as are in doubt */
    CHECK_MSG(wrong_asked >= asked - 1, "%d of %d asked were wrong", wrong_asked, asked);
    CHECK(count(a, "labels.jsonl", "\"source\": \"human\"") == asked && count(a, "labels.jsonl", "\n") == N);
    CHECK(count(a, "round-0/train.jsonl", "\n") == N && count(a, "round-1/to_label.jsonl", "\n") == 2);
    /* people's answers: four copies in the first round, one in the last */
    for (int k = 1; k <= 3; k++) {
        char name[64];
        snprintf(name, sizeof name, "round-%d/train.jsonl", k);
        for (int i = 0; i < N; i++) {
            char q[32];
            snprintf(q, sizeof q, "\"q %d\"", i);
            int copies = count(a, name, q);
            bool known = f.rows.v[i].asked && copies > 1;
            CHECK_MSG(copies <= 1 || (known && copies == (k == 1 ? 4 : k == 2 ? 3 : 1)), "round %d has pair %d %d times", k, i, copies);
        }
    }
    /* the same by hand: it stops for each round's answers, and ends in the same bytes */
    fake g = {0};
    for (int k = 1; k <= 3; k++) {
        CHECK_OK(rounds(&g, rows, b, true, false, 0.1, &waiting, e));
        CHECK(waiting && g.trained == k);
        snprintf(from, sizeof from, "%s/round-%d/to_label.jsonl", b, k);
        snprintf(to, sizeof to, "%s/round-%d/labelled.jsonl", b, k);
        answer(from, to, NULL);
    }
    CHECK_OK(rounds(&g, rows, b, true, false, 0.1, &waiting, e));
    CHECK(!waiting && g.trained == 4);
    for (int i = 0; i < N_FILE; i++) check_same(a, b, files[i]);
    /* interrupted in every training in turn: what was trained is not trained again */
    for (int k = 1; k <= 4; k++) {
        fake h = {.fail_at = k};
        CHECK_OK(tn_remove_tree(c, e));
        CHECK_FAIL(rounds(&h, rows, c, true, true, 0.1, &waiting, e), TN_INTERRUPTED, "stopped");
        CHECK_OK(rounds(&h, rows, c, true, true, 0.1, &waiting, e));
        CHECK(h.trained == 5);
        for (int i = 0; i < N_FILE; i++) check_same(a, c, files[i]);
        tn_rlthf_pairs_free(&h.rows);
    }
    tn_rlthf_pairs_free(&f.rows);
    tn_rlthf_pairs_free(&g.rows);
}

/* The baseline: anyone is asked, nothing is left out or turned; without people it is the labeller's word alone. */
TEST(rlthf_random_rounds) {
    char rows[512], a[512], name[64];
    const char *dir = tn_test_dir();
    at(a, sizeof a, dir, "a");
    make_rows(at(rows, sizeof rows, dir, "rows.jsonl"), every_fifth);
    fake f = {0};
    bool waiting;
    CHECK_OK(rounds(&f, rows, a, false, true, 0.5, &waiting, e));
    int asked = 0, early = 0;
    for (int i = 0; i < N; i++) asked += f.rows.v[i].asked, early += f.rows.v[i].asked && i < N / 2;
    CHECK(asked == N / 2 && early > N / 8 && early < 3 * N / 8);
    for (int k = 1; k <= 3; k++) {
        snprintf(name, sizeof name, "round-%d/to_label.jsonl", k);
        CHECK(count(a, name, "\n") == N / 6);
        snprintf(name, sizeof name, "round-%d/train.jsonl", k);
        int people = k * N / 6, copies = k == 1 ? 4 : k == 2 ? 3 : 1;
        CHECK(count(a, name, "\n") == N - people + people * copies);
    }
    fake g = {0};
    CHECK_OK(tn_remove_tree(a, e));
    CHECK_OK(rounds(&g, rows, a, false, true, 0, &waiting, e));
    CHECK(!waiting);
    check_same(a, a, "labels.jsonl");
    CHECK(count(a, "labels.jsonl", "human") == 0 && count(a, "round-3/train.jsonl", "\n") == N);
    tn_rlthf_pairs_free(&f.rows);
    tn_rlthf_pairs_free(&g.rows);
}

/* "Cannot say" leaves a pair out of training and to the model's word; other answers than the questions are refused. */
TEST(rlthf_cannot_say) {
    char rows[512], a[512], from[600], to[600];
    const char *dir = tn_test_dir();
    at(a, sizeof a, dir, "a");
    make_rows(at(rows, sizeof rows, dir, "rows.jsonl"), every_fifth);
    fake f = {0};
    bool waiting;
    CHECK_OK(rounds(&f, rows, a, true, false, 0.1, &waiting, e));
    snprintf(from, sizeof from, "%s/round-1/to_label.jsonl", a);
    snprintf(to, sizeof to, "%s/round-1/labelled.jsonl", a);
    answer(from, to, "\"q ");
    CHECK_OK(rounds(&f, rows, a, true, false, 0.1, &waiting, e));
    CHECK(waiting); /* of round 2 */
    for (int i = 0; i < N; i++) {
        char q[32];
        snprintf(q, sizeof q, "\"q %d\"", i);
        if (f.rows.v[i].asked) CHECK(count(a, "round-1/train.jsonl", q) == 0 && count(a, "round-2/to_label.jsonl", q) == 0);
    }
    put(to, "{\"pair\": 2, \"better\": 1}\n");
    CHECK_FAIL(rounds(&f, rows, a, true, false, 0.1, &waiting, e), TN_FORMAT, "labelled.jsonl");
    tn_rlthf_pairs_free(&f.rows);
}
