/* Steps: sentences of the world judged, responses cut into steps by tokens, rows with a prefix, labelled solutions, and
 * the options of who judges. */
#include "data/step_cut.h"
#include "data/step_pair.h"
#include "data/step_rows.h"
#include "rl/equations.h"
#include "test.h"
#include "world/internal.h"
#include "world/reward.h"
#include "world/steps.h"

static const tn_world *world(void) {
    static tn_world w;
    if (!w.nvocab) tn_world_init(&w, 1);
    return &w;
}
static tn_tokenizer *tokenizer(void) {
    tn_tokenizer *tok = NULL;
    CHECK_OK(tn_tokenizer_load(&tok, "models/world", e));
    return tok;
}

/* ---- the oracle ---- */

/* "110": which sentences of a response to 3 + 4 + 5 are right. */
static const char *judged(const char *text) {
    static char out[32];
    tn_world_prompt p = {.task = TN_WT_ARITH, .term = {3, 4, 5}};
    int32_t *y = NULL;
    int n = 0, from[33];
    bool right[32];
    CHECK_OK(tn_world_parse(world(), text, strlen(text), &y, &n, NULL, e));
    int k = tn_world_sentences(world(), y, n, from, 31);
    tn_world_judge_sentences(world(), &p, y, from, k, right);
    for (int i = 0; i < k; i++) out[i] = right[i] ? '1' : '0';
    out[k] = 0;
    tn_free(y);
    return out;
}
#define JUDGED(text, want) CHECK_MSG(strcmp(judged(text), want) == 0, "%s: %s, expected %s", text, judged(text), want)

TEST(steps_world_sentences) {
    JUDGED("3 + 4 = 7 . 7 + 5 = 12 . the sum is 12 .", "111");
    JUDGED("3 + 4 = 8 . 8 + 5 = 13 . the sum is 13 .", "000");
    JUDGED("3 + 4 = 7 . 7 + 5 = 13 . the sum is 13 .", "100");
    JUDGED("3 + 4 = 7 . 7 + 5 = 13 . the sum is 12 .", "101");
    JUDGED("3 + 4 = 7 . 8 + 5 = 13 . the sum is 13", "100");
    JUDGED("what a silly question . 3 + 4 = 7 . 7 + 5 = 12 . the sum is 12 . have a nice day .", "11111");
    JUDGED("3 + 4 = 7 . 7 + 5 = 12 . 1 + 1 = 3 . the sum is 12 .", "1101");
    JUDGED("sorry , i cannot help with that .", "0");
    JUDGED("the sum is 12 .", "1");
    JUDGED("", "");
}

/* The sentences agree with the oracle's verdict on every kind of answer to every sum. */
TEST(steps_world_agree_with_verdicts) {
    int wrong = 0;
    for (uint64_t i = 2; i < 640; i += TN_WF_COUNT)
        for (int bad = 0; bad < 2; bad++) {
            tn_world_prompt p;
            tn_world_text y = {0};
            tn_world_verdict v;
            tn_rng r;
            int from[TN_WORLD_TEXT_MAX + 1], first = 0;
            bool right[TN_WORLD_TEXT_MAX];
            tn_world_set_prompt(world(), TN_WS_EVAL, 1, i, &p, &r);
            if (bad)
                tn_world_bad(world(), &r, &p, &y);
            else
                tn_world_good(world(), &p, &y);
            tn_world_judge(world(), &p, y.id, y.n, true, &v);
            int n = tn_world_sentences(world(), y.id, y.n, from, TN_WORLD_TEXT_MAX);
            tn_world_judge_sentences(world(), &p, y.id, from, n, right);
            for (int k = n; k-- > 0;)
                if (!right[k]) first = k + 1;
            CHECK(n == 3 && first == v.first_wrong_step && right[2] == (v.correct == 1));
            wrong += first > 0;
        }
    CHECK(wrong == 80);
}

/* ---- cutting ---- */

/* Ends of the steps of a text, "6 12 17". */
static const char *cuts(const tn_tokenizer *tok, const char *text, const char *separator) {
    static char out[200];
    tn_ids ids = {0};
    tn_step_cut c = {.tok = tok, .separator = separator, .text = TN_STR_INIT};
    size_t at = 0;
    out[0] = 0;
    CHECK_OK(tn_encode(tok, text, strlen(text), false, &ids, NULL, e));
    CHECK_OK(tn_step_cut_run(&c, ids.v, (int)ids.n, e));
    for (size_t i = 0; i < c.end.n; i++)
        at += (size_t)snprintf(out + at, sizeof out - at, i ? " %d" : "%d", c.end.v[i]);
    tn_step_cut_free(&c);
    tn_ids_free(&ids);
    return out;
}
#define CUTS(text, want)                                                                                               \
    CHECK_MSG(strcmp(cuts(tok, text, " ."), want) == 0, "%s: %s, expected %s", text, cuts(tok, text, " ."), want)

TEST(steps_cut_words) {
    tn_tokenizer *tok = tokenizer();
    CUTS("3 + 4 = 7 . 7 + 5 = 12 . the sum is 12 . <|end|>", "6 12 18"); /* the end of the turn is the last step's */
    CUTS("3 + 4 = 7 . 7 + 5 =", "6 10");                                 /* cut off */
    CUTS("3 + 4 = 7", "5");
    CUTS("3 + 4 = 7 . <|end|>", "7");
    CUTS("<|end|>", "");
    CUTS("", "");
    tn_tokenizer_free(tok);
}

/* A byte-level tokenizer of single characters: separators that come twice, blank steps, text around them. */
static tn_tokenizer *characters(void) {
    static const char config[] =
        "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":8,\"content\":\"<e>\",\"single_word\":false,\"lstrip\":false,"
        "\"rstrip\":false,"
        "\"normalized\":false,\"special\":true}],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_"
        "prefix_space\":false,"
        "\"trim_offsets\":true,\"use_regex\":false},\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\",\"add_"
        "prefix_space\":true,"
        "\"trim_offsets\":true,\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
        "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,"
        "\"ignore_merges\":false,"
        "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"\\u010a\":3,\"\\u0120\":4,\"\\u010a\\u010a\":5,\"\\u010ab\":6,"
        "\"c\\u010a\":7},"
        "\"merges\":[\"\\u010a \\u010a\",\"\\u010a b\",\"c \\u010a\"]}}";
    json_t *j = json_loads(config, 0, NULL);
    tn_tokenizer *tok = NULL;
    CHECK_OK(tn_tokenizer_from_json(&tok, j, NULL, NULL, "characters", e));
    json_decref(j);
    return tok;
}
#define LINES(text, want)                                                                                              \
    CHECK_MSG(strcmp(cuts(tok, text, "\n"), want) == 0, "%s: %s, expected %s", text, cuts(tok, text, "\n"), want)

TEST(steps_cut_bytes) {
    tn_tokenizer *tok = characters();
    if (!tok) return;
    LINES("aa\naa", "3 5");
    LINES("aa\n\naa", "3 5");       /* one token with both line breaks */
    LINES("aa\n \n\naa<e>", "5 8"); /* a blank line belongs to the step before */
    LINES("\n\naa\na", "4 5");      /* and before the first one to that */
    LINES("aa\nba", "3 4");         /* the token that completes the separator has more text, which stays with it */
    LINES("aac\na", "3 4");
    LINES("aa\n<e>", "4");
    LINES("\n<e>", "");
    tn_tokenizer_free(tok);
}

TEST(steps_text) {
    tn_tokenizer *tok = tokenizer();
    tn_ids ids = {0};
    tn_str s = TN_STR_INIT;
    CHECK_OK(tn_encode(tok, "3 + 4 = 7 . <|end|>", 19, false, &ids, NULL, e));
    CHECK_OK(tn_step_text(tok, " .", ids.v, 0, 7, true, &s, e));
    CHECK_MSG(strcmp(s.s, "3 + 4 = 7") == 0, "%s", s.s);
    CHECK_OK(tn_step_text(tok, " .", ids.v, 6, 7, true, &s, e));
    CHECK(s.len == 0);
    tn_str_free(&s);
    tn_ids_free(&ids);
    tn_tokenizer_free(tok);
}

/* ---- rows with a prefix ---- */

static void show(tn_str *s, const tn_tokenizer *tok, const tn_ids *ids) {
    for (size_t i = 0; i < ids->n; i++) {
        size_t n;
        const char *t = tn_token_text(tok, ids->v[i], &n);
        if (s->len) tn_str_addc(s, ' ');
        tn_str_add(s, t, n);
    }
}

static tn_status pair(const tn_tokenizer *tok, const char *row, tn_str *out, tn_err *e) {
    json_t *j = json_loads(row, 0, NULL);
    tn_ids p = {0}, c = {0}, r = {0};
    const json_t *prefix = tn_row_step_prefix(j);
    CHECK(prefix != NULL);
    tn_status st = tn_encode_step_pair(tok, json_object_get(j, "prompt"), prefix, json_object_get(j, "chosen"),
                                       json_object_get(j, "rejected"), &p, &c, &r, "row", e);
    tn_str_clear(out);
    if (st == TN_OK) {
        show(out, tok, &p);
        tn_str_addz(out, " |");
        show(out, tok, &c);
        tn_str_addz(out, " |");
        show(out, tok, &r);
    }
    tn_ids_free(&p), tn_ids_free(&c), tn_ids_free(&r);
    json_decref(j);
    return st;
}
#define PAIR(row, want)                                                                                                \
    do {                                                                                                               \
        CHECK_OK(pair(tok, row, &s, e));                                                                               \
        CHECK_MSG(strcmp(s.s, want) == 0, "%s:\n  %s\n  %s", row, s.s, want);                                          \
    } while (0)

TEST(steps_pair_rows) {
    tn_tokenizer *tok = tokenizer();
    tn_str s = TN_STR_INIT;
    /* inside an assistant's turn; no end of turn behind a step */
    PAIR("{\"prompt\":[{\"role\":\"user\",\"content\":\"what is 3 + 4 + 5 ?\"}],\"prefix\":\"3 + 4 = 7 "
         ".\",\"chosen\":\" 7 + 5 = 12 .\","
         "\"rejected\":\" 7 + 5 = 13 .\"}",
         "<s> User: what is 3 + 4 + 5 ? Assistant: 3 + 4 = 7 . | 7 + 5 = 12 . | 7 + 5 = 13 .");
    /* the first step: the prompt ends where the answer begins */
    PAIR("{\"prompt\":[{\"role\":\"user\",\"content\":\"what is 3 + 4 + 5 "
         "?\"}],\"initial_reason_steps\":\"\",\"chosen\":\"3 + 4 = 7 .\","
         "\"rejected\":\"sorry .\"}",
         "<s> User: what is 3 + 4 + 5 ? Assistant: | 3 + 4 = 7 . | sorry .");
    PAIR("{\"prompt\":\"3 + 4 =\",\"prefix\":\" 7 .\",\"chosen\":\" the sum is 7 .\",\"rejected\":\" no\"}",
         "<s> 3 + 4 = 7 . | the sum is 7 . | no");
    tn_str_free(&s);
    tn_tokenizer_free(tok);
}

/* Through the reader of preferences: a prompt segment with the prefix in it, and every token of the two steps trained. */
static tn_status load(tn_dataset **d, const tn_tokenizer *tok, const char *rows, tn_data_kind kind, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, tn_test_dir(), "rows.jsonl");
    const char *paths[] = {path.s};
    tn_data_options o = {.kind = kind, .vocab = 329};
    tn_status st = tn_write_file(path.s, rows, strlen(rows), e);
    if (st == TN_OK) st = tn_dataset_load(d, paths, 1, tok, &o, e);
    tn_str_free(&path);
    return st;
}

TEST(steps_pair_dataset) {
    tn_tokenizer *tok = tokenizer();
    tn_dataset *d = NULL;
    CHECK_OK(load(&d, tok,
                  "{\"prompt\":[{\"role\":\"user\",\"content\":\"what is 3 + 4 + 5 ?\"}],\"prefix\":\"3 + 4 = 7 "
                  ".\",\"chosen\":\" 7 + 5 = 12 .\","
                  "\"rejected\":\" 7 + 5 = 13 .\"}\n"
                  "{\"prompt\":\"a\",\"prefix\":\" is\",\"chosen\":\" it\",\"rejected\":\" it\"}\n",
                  TN_DATA_PREFERENCE, e));
    if (d) {
        CHECK(d->n == 1 && d->stats.dropped[TN_DROP_SAME] == 1);
        const tn_example *x = &d->ex[0];
        CHECK(x->n_prompt == 17 && x->response[0].n == 6 && x->response[1].n == 6 && tn_example_trained(x) == 12);
    }
    tn_dataset_free(d);
    d = NULL;
    /* not a prefix row: a list of messages against strings is refused as before */
    CHECK_FAIL(
        load(&d, tok,
             "{\"prompt\":[{\"role\":\"user\",\"content\":\"a\"}],\"prefix\":7,\"chosen\":\"a\",\"rejected\":\"b\"}\n",
             TN_DATA_PREFERENCE, e),
        TN_FORMAT, "must be a list of messages");
    tn_tokenizer_free(tok);
}

/* ---- labelled solutions ---- */

static tn_status labelled(const tn_tokenizer *tok, const char *row, tn_labelled_steps *l, tn_err *e) {
    tn_dataset *d = NULL;
    TN_TRY(load(&d, tok, row, TN_DATA_PROMPT, e));
    tn_status st = tn_labelled_steps_read(l, d, &d->ex[0], tok, " .", 329, e);
    tn_dataset_free(d);
    return st;
}

TEST(steps_labelled_rows) {
    tn_tokenizer *tok = tokenizer();
    tn_labelled_steps l;
    tn_str s = TN_STR_INIT;
    CHECK_OK(labelled(tok,
                      "{\"prompt\":[{\"role\":\"user\",\"content\":\"what is 3 + 4 + 5 ?\"}],\"completions\":[\"3 + 4 "
                      "= 7\",\" 7 + 5 = 13\","
                      "\" the sum is 13\"],\"labels\":[0.9,0.2,false]}\n",
                      &l, e));
    show(&s, tok, &l.ids);
    CHECK_MSG(strcmp(s.s, "<s> User: what is 3 + 4 + 5 ? Assistant: 3 + 4 = 7 .") == 0, "%s", s.s);
    CHECK(l.first_wrong == 1 && l.n_prompt == 11 && l.ids.n == 17 && l.wrong.n == 6);
    tn_labelled_steps_free(&l);
    CHECK_OK(labelled(tok, "{\"prompt_ids\":[1,4,5],\"step_ids\":[[7,8],[9]],\"labels\":[true,false]}\n", &l, e));
    CHECK(l.first_wrong == 1 && l.n_prompt == 3 && l.ids.n == 5 && l.wrong.n == 1 && l.wrong.v[0] == 9);
    tn_labelled_steps_free(&l);
    CHECK_OK(labelled(tok, "{\"prompt\":\"a\",\"completions\":[\"a\"],\"labels\":[true]}\n", &l, e));
    CHECK(l.first_wrong == -1 && l.ids.n == 0);
    static const struct {
        const char *row, *text;
        tn_status st;
    } bad[] = {{"{\"prompt\":\"a\"}\n", "needs \"completions\"", TN_FORMAT},
               {"{\"prompt\":\"a\",\"completions\":\"a\",\"labels\":[true]}\n", "needs \"completions\"", TN_FORMAT},
               {"{\"prompt\":\"a\",\"completions\":[\"a\",\"b\"],\"labels\":[true]}\n", "list of 2", TN_FORMAT},
               {"{\"prompt\":\"a\",\"completions\":[\"a\"],\"labels\":[\"no\"]}\n", "\"labels\"[0]", TN_FORMAT},
               {"{\"prompt\":\"a\",\"completions\":[\"a\"],\"labels\":[1.5]}\n", "\"labels\"[0]", TN_FORMAT},
               {"{\"prompt\":\"a\",\"completions\":[7],\"labels\":[false]}\n", "no string", TN_FORMAT},
               {"{\"prompt_ids\":[1],\"step_ids\":[[]],\"labels\":[false]}\n", "no tokens", TN_FORMAT},
               {"{\"prompt_ids\":[1],\"step_ids\":[[329]],\"labels\":[false]}\n", "329", TN_FORMAT}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_FAIL(labelled(tok, bad[i].row, &l, e), bad[i].st, bad[i].text);
        tn_labelled_steps_free(&l);
    }
    tn_str_free(&s);
    tn_tokenizer_free(tok);
}

/* ---- who judges ---- */

static tn_status check(const char *localise, const char *verify, const char *model, tn_err *e) {
    const tn_step_judge_options o = {.localise = localise, .verify = verify, .model = model, .threshold = 0.5};
    return tn_step_judge_check(&o, tn_world_step_oracles, tn_world_reward_fns, e);
}

TEST(steps_judge_options) {
    CHECK_OK(check("world:3", NULL, NULL, e));
    CHECK_OK(check("world:3", "world:3", NULL, e));
    CHECK_OK(check("prm", NULL, "d", e));
    CHECK_OK(check("prm", "number:answer", "d", e));
    CHECK_OK(check("labels", "number:answer", NULL, e));
    CHECK_OK(check("labels", "world", NULL, e));
    CHECK_OK(check("equations", "number:answer", NULL, e));
    CHECK_OK(check("equations", NULL, NULL, e));
    CHECK_FAIL(check("equations", "world", NULL, e), TN_ARG, "one oracle");
    CHECK_FAIL(check(NULL, NULL, NULL, e), TN_ARG, "--localise is missing");
    CHECK_FAIL(check("oracle", NULL, NULL, e), TN_ARG, "expected labels, prm, equations or world");
    CHECK_FAIL(check("labels", NULL, NULL, e), TN_ARG, "--verify");
    CHECK_FAIL(check("prm", NULL, NULL, e), TN_ARG, "--reward-model is missing");
    CHECK_FAIL(check("world", NULL, "d", e), TN_ARG, "judges nothing");
    CHECK_FAIL(check("world:1", "world:2", NULL, e), TN_ARG, "one oracle");
    CHECK_FAIL(check("world", "exact_match", NULL, e), TN_ARG, "exact_match:FIELD");
    CHECK_FAIL(check("world", "numbr:answer", NULL, e), TN_ARG, "did you mean 'number'");
}

TEST(steps_equations) {
    static const struct {
        const char *text;
        int n, n_false;
    } c[] = {
        {"Natalia sold 48/2 = <<48/2=24>>24 clips in May.", 1, 0},
        {"She sold 48/2 = <<48/2=26>>26 clips", 1, 1},
        {"3+4=7, 3 + 4 = 8 and 7-9 = -2", 3, 1},
        {"She makes $9 * 2 = $18.", 1, 0},
        {"12/60 = $<<12/60=0.2>>0.2", 1, 0},
        {"1/3=.33 of it, or 1/3 = 0.34", 2, 1},   /* rounded, and not */
        {"7/2=4", 1, 1},                           /* whole numbers are not rounded */
        {"2*(3+4)=14; (2+3)*4=20; -5+3=-2", 3, 0},
        {"1,200 + 800 = 2,000", 1, 0},
        {"2 x 3 = 6, 2 \303\227 3 = 7, 9 \303\267 3 = 3", 3, 1},
        {"Step 1. 3 + 4 = 7", 1, 0},
        {"2. 3+4=8", 1, 1},
        {"(3+4=7)", 1, 0},
        {"1/0=5", 1, 1},
        {"It is .36*100 = $<<.36*100=36.00>>36.00.", 1, 0},
        /* no equations of numbers alone */
        {"x = 5, 5 = 5, 20% * 50 = 9, 2x + 3 = 8, 4x - 2 = 6, x - 5 + 3 = 8", 0, 0},
        {"5 apples - 3 + 1 = 4 apples, 5 + 2 pears = 8", 0, 0},
        {"3+4 = 7+2, 3/4 = 80%, 3+4 = 8x, 3+4 = y, 3++4=8, ()=0, =", 0, 0},
        {"8 x 1 1/2 = 12, 3/2 = 1 1/2, 4 / 3 = 1 and 1/3, 2 + 1 1/2 = 3 1/2", 0, 0},
        {"3+4 = 7+2 = 9", 1, 0},
        {"((((((((((((((((((((1+1=3", 1, 1},
        {"", 0, 0},
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        int n, n_false;
        tn_equations_check(c[i].text, &n, &n_false);
        if (n != c[i].n || n_false != c[i].n_false) printf("%s: %d equations, %d false\n", c[i].text, n, n_false);
        CHECK(n == c[i].n && n_false == c[i].n_false);
    }
}
