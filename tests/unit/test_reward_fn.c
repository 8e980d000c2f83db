/* Verifiable rewards: each function of the table on completions, against TRL where TRL has it. */
#include "base/mem.h"
#include "test.h"
#include "rl/reward_fn.h"
#include "world/reward.h"
#include "world/world.h"
#include <math.h>

static const tn_reward_fn *find(const char *name) {
    for (const tn_reward_fn *f = tn_reward_fns; f->name; f++)
        if (strcmp(f->name, name) == 0) return f;
    return tn_world_reward_fns;
}

typedef struct open_fn {
    const tn_reward_fn *f;
    void *state;
} open_fn;

static open_fn begin(const char *name, const char *argument) {
    open_fn o = {find(name), NULL};
    CHECK_MSG(strcmp(o.f->name, name) == 0, "no function %s", name);
    if (o.f->open) CHECK_OK(o.f->open(&o.state, argument, e));
    return o;
}
static void end(open_fn *o) {
    if (o->f->close) o->f->close(o->state);
}
static double score(const open_fn *o, const tn_completion *x) {
    double r = -77;
    CHECK_OK(o->f->score(o->state, x, &r, e));
    return r;
}
/* Of a text to a row given as JSON (NULL: none). */
static double text(const open_fn *o, const char *row, const char *s) {
    json_t *j = row ? json_loads(row, 0, NULL) : NULL;
    double r = score(o, &(tn_completion){.row = j, .text = s, .len = strlen(s)});
    json_decref(j);
    return r;
}
static tn_status opens(const char *name, const char *argument, tn_err *e) {
    const tn_reward_fn *f = find(name);
    void *state = NULL;
    tn_status st = f->open(&state, argument, e);
    f->close(state);
    return st;
}

TEST(reward_fn_exact_match) {
    open_fn o = begin("exact_match", "answer");
    CHECK(text(&o, "{\"answer\": \" Paris\\n\"}", "Paris ") == 1);
    CHECK(text(&o, "{\"answer\": \"Paris\"}", "paris") == 0);
    CHECK(text(&o, "{\"answer\": \"Paris\"}", "Paris.") == 0);
    CHECK(text(&o, "{\"answer\": 12}", "12") == 1);
    CHECK(text(&o, "{\"answer\": \"\"}", "") == 1);
    CHECK(isnan(text(&o, "{\"other\": \"Paris\"}", "Paris")));
    CHECK(isnan(text(&o, "{\"answer\": null}", "Paris")) && isnan(text(&o, NULL, "Paris")));
    end(&o);
}

TEST(reward_fn_last_number) {
    static const struct {
        const char *s;
        double want; /* NaN: none */
    } t[] = {{"so 3 + 4 = 7.", 7},
             {"7 apples", 7},
             {"it is -5", -5},
             {"3-4", 4},
             {"(2)-1", 1},
             {"about 1,234,567 men", 1234567},
             {"1, 2", 2},
             {"1,23", 23},
             {"1,2345", 2345},
             {"12.50", 12.5},
             {".5 of it", 0.5},
             {"v1.2.3", 0.3},
             {"#### 72", 72},
             {"no number", NAN},
             {"", NAN},
             {"3.", 3},
             {"$1,000.75!", 1000.75},
             {"00012", 12},
             {"x-2", 2},
             {"= -0.25", -0.25},
             {"5 %", 5}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        double v = NAN;
        bool any = tn_last_number(t[i].s, strlen(t[i].s), &v);
        CHECK_MSG(any == !isnan(t[i].want) && (!any || v == t[i].want), "'%s' gives %g", t[i].s, v);
    }
    /* digits without end are read, not stored without end */
    char s[4096];
    double v;
    memset(s, '9', sizeof s);
    CHECK(tn_last_number(s, sizeof s, &v));
}

TEST(reward_fn_number) {
    open_fn o = begin("number", "answer");
    const char *gsm = "{\"answer\": \"He has 48/2 = 24.\\n#### 72\"}";
    CHECK(text(&o, gsm, "First 48, then 72") == 1);
    CHECK(text(&o, gsm, "The answer is $72.00.") == 1);
    CHECK(text(&o, gsm, "72 is not 24") == 0);
    CHECK(text(&o, gsm, "I do not know") == 0);
    CHECK(text(&o, "{\"answer\": 1000}", "1,000") == 1);
    CHECK(text(&o, "{\"answer\": 2.5}", "2.50") == 1 && text(&o, "{\"answer\": 2.5}", "2") == 0);
    CHECK(isnan(text(&o, "{\"answer\": \"none\"}", "5")) && isnan(text(&o, "{}", "5")));
    end(&o);
}

TEST(reward_fn_equations) {
    open_fn o = begin("equations", NULL);
    CHECK(text(&o, NULL, "2 + 3 = 5, 5 * 4 = <<5*4=20>>20\n#### 20") == 1);
    CHECK(text(&o, NULL, "2 + 3 = 5, so 5 * 4 = 24") == 0.5);
    CHECK(text(&o, NULL, "24") == 0);
    end(&o);
}

TEST(reward_fn_patterns) {
    open_fn o = begin("regex", "\\bsorry\\b.*\\.$");
    CHECK(text(&o, NULL, "i am sorry , no .") == 1 && text(&o, NULL, "sorryish .") == 0);
    end(&o);
    CHECK_FAIL(opens("regex", "(", e), TN_ARG, "--reward-funcs regex:(");
    /* TRL's examples and the corners of its pattern */
    o = begin("think_format_reward", NULL);
    CHECK(text(&o, NULL, "<think>\nThis is my reasoning.\n</think>\nThis is my answer.") == 1);
    CHECK(text(&o, NULL, "<think>\nThis is my reasoning.\nThis is my answer.") == 0);
    CHECK(text(&o, NULL, "<think></think>") == 1 && text(&o, NULL, " <think></think>") == 0);
    CHECK(text(&o, NULL, "<think>a</think>b<think>c</think>") == 0);
    CHECK(text(&o, NULL, "<think>a</think>b</think>") == 1 && text(&o, NULL, "<think>") == 0);
    end(&o);
}

static tn_completion ids_of(const int32_t *ids, int n, int max_new) {
    return (tn_completion){.text = "", .ids = ids, .n = n, .max_new = max_new};
}

TEST(reward_fn_lengths) {
    static const int32_t ids[200];
    open_fn o = begin("soft_overlong_punishment", "20");
    const double want[][2] = {{80, 0}, {81, -0.05}, {90, -0.5}, {100, -1}, {7, 0}};
    for (int i = 0; i < 5; i++) {
        tn_completion x = ids_of(ids, (int)want[i][0], 100);
        CHECK_NEAR(score(&o, &x), want[i][1], 1e-15, 0);
    }
    end(&o);
    CHECK_FAIL(opens("soft_overlong_punishment", "x", e), TN_ARG, "expected a number");
    CHECK_FAIL(opens("soft_overlong_punishment", "-1", e), TN_ARG, "at least 0");
    /* TRL's example: bigrams of 1 2 3 4 and of 5 5 5 5 5 */
    const int32_t a[] = {1, 2, 3, 4}, b[] = {5, 5, 5, 5, 5};
    tn_completion xa = ids_of(a, 4, 100), xb = ids_of(b, 5, 100), one = ids_of(b, 1, 100);
    o = begin("repetition_penalty_reward", "2");
    CHECK(score(&o, &xa) == 0 && score(&o, &xb) == -0.75 && score(&o, &one) == 0);
    end(&o);
    o = begin("repetition_penalty_reward", "2,-2");
    CHECK(score(&o, &xb) == -1.5);
    end(&o);
    o = begin("repetition_penalty_reward", NULL); /* trigrams: 5 5 5 three times */
    CHECK_NEAR(score(&o, &xb), -2.0 / 3, 1e-15, 0);
    end(&o);
    CHECK_FAIL(opens("repetition_penalty_reward", "0", e), TN_ARG, "1 to 64");
    CHECK_FAIL(opens("repetition_penalty_reward", "2,1", e), TN_ARG, "at most 0");
    CHECK_FAIL(opens("repetition_penalty_reward", "2;1", e), TN_ARG, "N or N,X");
}

/* The oracle's own verdict on a good and a bad answer to prompts of a set. */
TEST(reward_fn_world) {
    tn_world *w = tn_malloc(sizeof *w);
    tn_world_init(w, 1);
    open_fn o = begin("world", "3");
    tn_str row = TN_STR_INIT, answer = TN_STR_INIT;
    double best = 0, worst = 0;
    for (uint64_t i = 0; i < 24; i++) {
        tn_world_prompt p;
        tn_rng r = tn_rng_stream(1, 2, i);
        tn_world_text y[2] = {{0}, {0}};
        tn_str_clear(&row);
        tn_world_row(w, TN_WS_RL, 3, i, TN_MIX_SFT, false, &row);
        tn_world_set_prompt(w, TN_WS_RL, 3, i, &p, NULL);
        tn_world_good(w, &p, &y[0]);
        tn_world_bad(w, &r, &p, &y[1]);
        json_t *j = json_loadb(row.s, row.len, 0, NULL);
        for (int k = 0; k < 4; k++) {
            tn_world_verdict v;
            bool ended = k < 2;
            tn_str_clear(&answer);
            tn_world_print(w, y[k % 2].id, y[k % 2].n, &answer);
            tn_world_judge(w, &p, y[k % 2].id, y[k % 2].n, ended, &v);
            double got = score(
                &o,
                &(tn_completion){.row = j, .text = answer.s, .len = answer.len, .ended = ended});
            CHECK_MSG(got == v.reward, "rl-%d: %g, the oracle says %g", (int)i, got, v.reward);
            if (k == 0) best += got;
            if (k == 1) worst += got;
        }
        json_decref(j);
    }
    CHECK(best > worst + 12);
    CHECK(isnan(text(&o, "{\"prompt\": \"x\"}", "the answer"))); /* no row of the world */
    tn_err err = {0};
    json_t *other = json_pack("{s:s,s:[{s:s,s:s}]}", "id", "rl-0", "prompt", "role", "user",
                              "content", "another question");
    double got;
    tn_completion x = {.row = other, .text = "", .len = 0};
    CHECK(o.f->score(o.state, &x, &got, &err) == TN_ARG && strstr(err.msg, "world:N"));
    json_decref(other);
    end(&o);
    CHECK_FAIL(opens("world", "one", e), TN_ARG, "seed of the prompts");
    tn_str_free(&row);
    tn_str_free(&answer);
    tn_free(w);
}

/* A program of one's own: what it is told, what it may answer, and what ends a run. */
TEST(reward_fn_program) {
    open_fn o = begin("program", "while read -r line; do case $line in *'\"x\":1,'*yes*'true}') echo 0.5;; *null*) echo null;; *) echo -2;; esac; done");
    tn_completion x = {.row = json_loads("{\"x\": 1, \"completion\": \"yes\"}", 0, NULL), .text = "yes\n\"", .len = 5, .ended = true};
    CHECK(score(&o, &x) == 0.5 && score(&o, &x) == 0.5);
    x.ended = false;
    CHECK(score(&o, &x) == -2);
    x.text = "no", x.len = 2, x.ended = true; /* the row's own completion is not the policy's */
    CHECK(score(&o, &x) == -2);
    CHECK(isnan(text(&o, NULL, "null")));
    end(&o);
    json_decref((json_t *)(uintptr_t)x.row);
    static const char *const bad[][2] = {{"read -r x; echo many; cat >/dev/null", "answered 'many', expected a number"},
                                         {"read -r x; exit 3", "has ended instead of giving a reward"},
                                         {"read -r x; printf '1\\n2\\n'; cat >/dev/null", "more than one line"},
                                         {"read -r x; echo nan; cat >/dev/null", "answered 'nan'"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        double r;
        o = begin("program", bad[i][0]);
        CHECK_FAIL(o.f->score(o.state, &(tn_completion){.text = "", .len = 0}, &r, e), TN_FORMAT, bad[i][1]);
        end(&o);
    }
}
