/* Rows of public data sets under the readers' names. Each is written back as the fields that readers look at. */
#include "base/fault.h"
#include "data/dataset.h"
#include "data/encode.h"
#include "data/first_prompt.h"
#include "data/formats.h"
#include "test.h"
#include <errno.h>

#define USER(q) "{\"role\":\"user\",\"content\":\"" q "\"}"
#define SAYS(a) "{\"role\":\"assistant\",\"content\":\"" a "\"}"

static void check_row(const char *row, bool chat, const char *want) {
    static const char *const fields[] = {"prompt", "completion", "chosen", "rejected", "responses", "rank", "label"};
    json_t *from = json_loads(row, 0, NULL), *to = NULL, *found = json_object();
    CHECK_OK(tn_row_canonical(from, chat, &to, e));
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (json_object_get(to, fields[i])) json_object_set(found, fields[i], json_object_get(to, fields[i]));
    json_t *expected = json_loads(want, 0, NULL);
    char *s = json_dumps(found, JSON_COMPACT);
    CHECK_MSG(expected && json_equal(found, expected), "%s\n  is read as %s\n  expected %s", row, s, want);
    free(s);
    json_decref(from), json_decref(to), json_decref(found), json_decref(expected);
}

TEST(formats_questions_and_answers) {
    check_row("{\"question\":\"2+2?\",\"answer\":\"4\\n#### 4\"}", false, "{\"prompt\":\"2+2?\",\"completion\":\"4\\n#### 4\"}");
    check_row("{\"question\":\"2+2?\",\"answer\":\"4\"}", true,
              "{\"prompt\":[" USER("2+2?") "],\"completion\":[" SAYS("4") "]}");
    check_row("{\"problem\":\"p\",\"solution\":\"s\",\"answer\":\"a\"}", false, "{\"prompt\":\"p\",\"completion\":\"s\"}");
    check_row("{\"problem\":\"p\",\"answer\":\"a\"}", false, "{\"prompt\":\"p\",\"completion\":\"a\"}");
    check_row("{\"problem\":\"p\",\"answer\":null}", false, "{\"prompt\":\"p\"}");
    check_row("{\"Body\":\"Two.\",\"Question\":\"How many?\",\"Answer\":2.0}", false,
              "{\"prompt\":\"Two. How many?\",\"completion\":\"2\"}");
    check_row("{\"context\":\"1+1=\",\"continuation\":\"2\"}", false, "{\"prompt\":\"1+1=\",\"completion\":\"2\"}");
    check_row("{\"instruction\":\"i\",\"input\":\"x\",\"output\":\"o\"}", false, "{\"prompt\":\"i\\nx\",\"completion\":\"o\"}");
    check_row("{\"instruction\":\"i\",\"input\":\"\",\"response\":\"o\"}", false, "{\"prompt\":\"i\",\"completion\":\"o\"}");
    check_row("{\"turns\":[\"one\",\"two\"]}", true, "{\"prompt\":[" USER("one") "]}");
    check_row("{\"instruction\":\"i\",\"category\":null}", true, "{\"prompt\":[" USER("i") "]}");
}

TEST(formats_pairs) {
    check_row("{\"instruction\":\"i\",\"input\":\"x\",\"output\":\"o\",\"chosen\":\"c\",\"rejected\":\"r\"}", false,
              "{\"prompt\":\"i\\nx\",\"chosen\":\"c\",\"rejected\":\"r\"}");
    check_row("{\"instruction\":\"i\",\"output_1\":\"a\",\"output_2\":\"b\",\"preference\":2.0}", true,
              "{\"prompt\":[" USER("i") "],\"chosen\":[" SAYS("b") "],\"rejected\":[" SAYS("a") "]}");
    check_row("{\"instruction\":\"i\",\"output_1\":\"a\",\"output_2\":\"b\",\"preference\":null}", false,
              "{\"prompt\":\"i\",\"responses\":[\"a\",\"b\"],\"rank\":[1,1]}");
    check_row("{\"input\":\"i\",\"output_1\":\"a\",\"output_2\":\"b\",\"label\":1}", false,
              "{\"prompt\":\"i\",\"chosen\":\"a\",\"rejected\":\"b\",\"label\":1}");
    /* UltraFeedback: the conversations decide what the prompt is, also where the answers are all they hold */
    check_row("{\"prompt\":\"q\",\"chosen\":[" USER("q") "," SAYS("c") "],\"rejected\":[" USER("q") "," SAYS("r") "]}", false,
              "{\"prompt\":[" USER("q") "],\"chosen\":[" SAYS("c") "],\"rejected\":[" SAYS("r") "]}");
    check_row("{\"prompt\":\"q\",\"chosen\":[" SAYS("c") "],\"rejected\":[" SAYS("r") "]}", false,
              "{\"prompt\":[" USER("q") "],\"chosen\":[" SAYS("c") "],\"rejected\":[" SAYS("r") "]}");
    /* ShareGPT */
    check_row("{\"conversations\":[" USER("q") "],\"chosen\":" SAYS("c") ",\"rejected\":" SAYS("r") "}", false,
              "{\"prompt\":[" USER("q") "],\"chosen\":" SAYS("c") ",\"rejected\":" SAYS("r") "}");
}

/* DSP's transcripts have headings; the last answer is what is compared. */
TEST(formats_headings) {
    static const char s[] = "## Human:\nq\n\n## Assistant:\na\n\n## Human:\nAnd\n\nthis?\n\n## Assistant:\nb";
    json_t *m = tn_transcript_messages(s);
    char *text = json_dumps(m, JSON_COMPACT);
    CHECK_MSG(text && strcmp(text, "[" USER("q") "," SAYS("a") "," USER("And\\n\\nthis?") "," SAYS("b") "]") == 0, "%s", text);
    free(text);
    json_decref(m);
    CHECK(tn_transcript_answer(s) && strcmp(tn_transcript_answer(s), "b") == 0);
    CHECK(!tn_transcript_messages("## Human: q") && !tn_transcript_answer("## Human:\nq"));
    static const char *const lines[] = {"\n\nHuman: q\n\nAssistant: a", "\n\nHuman: q\n\n\nAssistant: a"};
    for (int i = 0; i < 2; i++) { /* a question may end in a line break */
        const char *answer = tn_transcript_answer(lines[i]);
        m = tn_transcript_messages(lines[i]);
        CHECK(answer && strcmp(answer, "a") == 0 && json_array_size(m) == 2);
        json_decref(m);
    }
}

TEST(formats_labels) {
    check_row("{\"context\":\"q\",\"generation\":\"a\",\"reward\":1.0}", false,
              "{\"prompt\":\"q\",\"completion\":\"a\",\"label\":1.0}");
    check_row("{\"context\":\"q\",\"response\":\"a\",\"label\":\"Unsafe\"}", false,
              "{\"prompt\":\"q\",\"completion\":\"a\",\"label\":false}");
    check_row("{\"prompt\":\"q\",\"response\":\"a\",\"is_safe\":true}", true,
              "{\"prompt\":[" USER("q") "],\"completion\":[" SAYS("a") "],\"label\":true}");
    check_row("{\"messages\":[" USER("q") "," SAYS("a") "],\"label\":false}", false,
              "{\"prompt\":[" USER("q") "],\"completion\":[" SAYS("a") "],\"label\":false}");
}

/* Only a wish for conversations changes rows that have the readers' names already. */
TEST(formats_left_alone) {
    static const char *const rows[] = {
        "{\"prompt\":\"q\",\"completion\":\"a\"}", "{\"prompt\":\"q\",\"chosen\":\"a\",\"rejected\":\"b\"}",
        "{\"chosen\":\"a\",\"rejected\":\"b\"}", "{\"prompt\":\"q\",\"completion\":\"a\",\"label\":true}"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check_row(rows[i], false, rows[i]);
    check_row(rows[0], true, "{\"prompt\":[" USER("q") "],\"completion\":[" SAYS("a") "]}");
    check_row(rows[2], true, rows[2]);
    check_row("{\"prompt\":\"q\",\"prefix\":\"p\",\"chosen\":\"a\",\"rejected\":\"b\"}", true,
              "{\"prompt\":[" USER("q") "],\"chosen\":\"a\",\"rejected\":\"b\"}");
    check_row("{\"prompt\":\"\\n\\nHuman: q\\n\\nAssistant:\",\"chosen\":\"a\",\"rejected\":\"b\"}", true,
              "{\"prompt\":[" USER("q") "],\"chosen\":[" SAYS("a") "],\"rejected\":[" SAYS("b") "]}");
}

/* The first example's prompt in `first`, tokens after blanks. */
static size_t load(const char *rows, tn_data_options o, tn_data_stats *stats, tn_str *first) {
    tn_tokenizer *tok = NULL;
    tn_dataset *d = NULL;
    tn_str path = TN_STR_INIT;
    CHECK_OK(tn_tokenizer_load(&tok, "models/world", e));
    tn_path_join(&path, tn_test_dir(), "rows.jsonl");
    const char *p = path.s;
    o.vocab = 329, o.chat_transcripts = true, o.completion_only = true;
    CHECK_OK(tn_write_file(path.s, rows, strlen(rows), e));
    CHECK_OK(tn_dataset_load(&d, &p, 1, tok, &o, e));
    tn_str_clear(first);
    for (int i = 0; d && i < d->ex[0].n_prompt; i++) {
        size_t n;
        const char *s = tn_token_text(tok, d->ex[0].prompt[i], &n);
        tn_str_addc(first, ' '), tn_str_add(first, s, n);
    }
    size_t n = d ? d->n : 0;
    if (d) *stats = d->stats;
    tn_str_free(&path);
    tn_dataset_free(d);
    tn_tokenizer_free(tok);
    return n;
}

/* Every kind of reading sees them, and draws are counted as such. */
TEST(formats_reach_the_readers) {
    static const char draw[] = "{\"instruction\":\"how big ?\",\"output_1\":\"tiny .\",\"output_2\":\"large .\",\"preference\":1}\n"
                               "{\"instruction\":\"how big ?\",\"output_1\":\"tiny .\",\"output_2\":\"large .\",\"preference\":1.5}\n";
    static const struct {
        const char *rows;
        tn_data_kind kind;
        size_t n;
        long draws;
    } want[] = {{"{\"question\":\"how big ?\",\"answer\":\"tiny .\"}\n", TN_DATA_SFT, 1, 0},
                {"{\"context\":\"how big ?\",\"response\":\"tiny .\",\"label\":\"Unsafe\"}\n", TN_DATA_SAFETY, 1, 0},
                {draw, TN_DATA_PREFERENCE, 1, 1},
                {draw, TN_DATA_UNPAIRED, 2, 1},
                {draw, TN_DATA_PROMPT, 2, 0}};
    tn_data_stats s = {0};
    tn_str first = TN_STR_INIT;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        size_t n = load(want[i].rows, (tn_data_options){.kind = want[i].kind}, &s, &first);
        CHECK_MSG(n == want[i].n && s.dropped[TN_DROP_SAME] == want[i].draws, "%zu: %zu examples, %ld draws", i, n,
                  s.dropped[TN_DROP_SAME]);
        CHECK_MSG(strcmp(first.s, " <s> User: how big ? Assistant:") == 0, "%zu: %s", i, first.s);
    }
    tn_str_free(&first);
}

TEST(formats_first_prompt) {
    tn_str s = TN_STR_INIT;
    json_t *row = json_pack("{s:s,s:s}", "question", "how big ?", "answer", "no");
    CHECK(tn_row_first_prompt(row, &s) && strcmp(s.s, "how big ?") == 0);
    tn_str_free(&s);
    json_decref(row);
}

/* jansson copies what it can when memory is short; a row that has lost a member is no row. */
TEST(formats_no_memory) {
    static const char *const rows[] = {"{\"id\":\"a\",\"prompt\":\"q\",\"family\":\"f\",\"task\":\"t\",\"pool\":\"p\",\"x\":1,\"y\":[1,2],\"z\":null,\"u\":\"v\"}",
                                       "{\"question\":\"2+2?\",\"answer\":\"4\",\"id\":\"a\"}",
                                       "{\"id\":\"a\",\"prompt\":\"q\",\"chosen\":[" USER("q") "," SAYS("c") "],\"rejected\":[" USER("q") "," SAYS("r") "]}"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int chat = 0; chat < 2; chat++) {
            json_t *from = json_loads(rows[i], 0, NULL), *want = NULL, *got;
            int n = 0;
            CHECK_OK(tn_row_canonical(from, chat, &want, e));
            for (bool fired = true; fired;) {
                tn_err quiet = {0};
                tn_fault_arm(++n, ENOMEM);
                tn_status st = tn_row_canonical(from, chat, &got, &quiet);
                fired = tn_fault_fired();
                tn_fault_arm(0, 0);
                tn_memory_lost = false;
                CHECK_MSG(st == TN_OK ? json_equal(got, want) : st == TN_NOMEM && !got, "row %zu, call %d: status %d", i, n, (int)st);
                json_decref(got);
            }
            CHECK(n > 1);
            json_decref(from), json_decref(want);
        }
}
