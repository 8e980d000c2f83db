/* Feedback rows of every format become prompt and responses with the right tokens trained. Texts are the world's;
 * an example is written back as "prompt | response | response", trained tokens in upper case brackets [ ]. */
#include "data/dataset.h"
#include "test.h"

static tn_tokenizer *world_tokenizer(void) {
    tn_tokenizer *tok = NULL;
    CHECK_OK(tn_tokenizer_load(&tok, "models/world", e));
    return tok;
}

static tn_status load(tn_dataset **d, const tn_tokenizer *tok, const char *rows, tn_data_options o, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, tn_test_dir(), "rows.jsonl");
    tn_status st = tn_write_file(path.s, rows, strlen(rows), e);
    const char *p = path.s;
    o.vocab = 329;
    if (st == TN_OK) st = tn_dataset_load(d, &p, 1, tok, &o, e);
    tn_str_free(&path);
    return st;
}

static void put(tn_str *s, const tn_tokenizer *tok, const int32_t *ids, const uint8_t *trained, int n) {
    bool in = false;
    for (int i = 0; i < n; i++) {
        size_t len = 0;
        const char *t = tn_token_text(tok, ids[i], &len);
        bool now = trained && trained[i];
        if (now != in) tn_str_addz(s, now ? " [" : " ]");
        in = now;
        tn_str_addc(s, ' ');
        tn_str_add(s, t, len);
    }
    if (in) tn_str_addz(s, " ]");
}

static void check_rows(const char *rows, tn_data_options o, const char *const *want, size_t n) {
    tn_tokenizer *tok = world_tokenizer();
    tn_dataset *d = NULL;
    CHECK_OK(load(&d, tok, rows, o, e));
    CHECK_MSG(d && d->n == n, "%zu examples, expected %zu: %s", d ? d->n : 0, n, rows);
    for (size_t i = 0; d && i < d->n && i < n; i++) {
        tn_str s = TN_STR_INIT;
        put(&s, tok, d->ex[i].prompt, NULL, d->ex[i].n_prompt);
        for (int k = 0; k < d->ex[i].n_response; k++) {
            const tn_response *r = &d->ex[i].response[k];
            tn_str_addf(&s, " %d:", r->rank);
            put(&s, tok, r->ids, r->trained, r->n);
        }
        CHECK_MSG(strcmp(s.s, want[i]) == 0, "example %zu is\n  %s\nexpected\n  %s", i, s.s, want[i]);
        tn_str_free(&s);
    }
    tn_dataset_free(d);
    tn_tokenizer_free(tok);
}
#define ROWS(rows, options, ...)                                                     \
    do {                                                                             \
        const char *const want_[] = {__VA_ARGS__};                                   \
        check_rows((rows), (tn_data_options)options, want_, sizeof want_ / sizeof *want_); \
    } while (0)
#define OPT(...) {__VA_ARGS__}

#define USER(q) "{\"role\":\"user\",\"content\":\"" q "\"}"
#define SAYS(a) "{\"role\":\"assistant\",\"content\":\"" a "\"}"
#define TALK(q, a) "\\n\\nHuman: " q "\\n\\nAssistant: " a

TEST(dataset_sft_formats) {
    ROWS("{\"messages\":[" USER("who made it ?") "," SAYS("Anna .") "]}\n"
         "{\"prompt\":[" USER("how big ?") "],\"completion\":[" SAYS("tiny .") "]}\n"
         "{\"prompt\":\"is it red ?\",\"completion\":\" yes .\"}\n"
         "{\"prompt_ids\":[1,4],\"ids\":[2]}\n",
         OPT(.kind = TN_DATA_SFT, .assistant_only = true, .completion_only = true),
         " 1: <s> User: who made it ? Assistant: [ Anna . <|end|> ]",
         " <s> User: how big ? Assistant: 1: [ tiny . <|end|> ]",
         " <s> is it red ? 1: [ yes . <|end|> ]", " <s> User: 1: [ <|end|> ]");
    ROWS("{\"text\":\"it is red .\"}\n{\"prompt\":\"is it red ?\",\"completion\":\" yes .\"}\n",
         OPT(.kind = TN_DATA_SFT), " 1: <s> [ it is red . <|end|> ]",
         " 1: <s> [ is it red ? yes . <|end|> ]");
}

TEST(dataset_sft_on_preferences) { /* the better answers are demonstrations */
    ROWS("{\"chosen\":\"" TALK("how big ?", "tiny .") "\",\"rejected\":\"" TALK("how big ?", "large .") "\"}\n"
         "{\"text\":[\"" TALK("who made it ?", "Anna .") "\",\"" TALK("who made it ?", "Boris .") "\"],\"score\":[0,1.5]}\n"
         "{\"prompt\":[" USER("is it red ?") "],\"chosen\":[" SAYS("yes .") "],\"rejected\":[" SAYS("no .") "]}\n",
         OPT(.kind = TN_DATA_SFT, .assistant_only = true, .completion_only = true, .chat_transcripts = true),
         " 1: <s> User: how big ? Assistant: [ tiny . <|end|> ]",
         " 1: <s> User: who made it ? Assistant: [ Boris . <|end|> ]",
         " <s> User: is it red ? Assistant: 1: [ yes . <|end|> ]");
}

TEST(dataset_preference_formats) {
    ROWS("{\"prompt\":[" USER("how big ?") "],\"chosen\":[" SAYS("tiny .") "],\"rejected\":" SAYS("large .") "}\n"
         "{\"chosen\":\"" TALK("how big ?", "tiny .") "\",\"rejected\":\"" TALK("how big ?", "large .") "\"}\n"
         "{\"text\":[\"" TALK("how big ?", "large .") "\",\"" TALK("how big ?", "tiny .") "\"],\"score\":[0,1]}\n"
         "{\"prompt\":[" USER("how big ?") "],\"responses\":[\"tiny .\",\"large .\",\"huge .\"],\"rank\":[2,1,2],\"ended\":[true,false,true]}\n"
         "{\"prompt_ids\":[1],\"chosen_ids\":[4,2],\"rejected_ids\":[5,2]}\n"
         "{\"chosen_ids\":[1,4,2],\"rejected_ids\":[1,5,2]}\n",
         OPT(.kind = TN_DATA_PREFERENCE, .chat_transcripts = true),
         " <s> User: how big ? Assistant: 1: [ tiny . <|end|> ] 2: [ large . <|end|> ]",
         " <s> User: how big ? Assistant: 1: [ tiny . <|end|> ] 2: [ large . <|end|> ]",
         " <s> User: how big ? Assistant: 2: [ large . <|end|> ] 1: [ tiny . <|end|> ]",
         " <s> User: how big ? Assistant: 2: [ tiny . <|end|> ] 1: [ large . ] 2: [ huge . <|end|> ]",
         " <s> 1: [ User: <|end|> ] 2: [ Assistant: <|end|> ]", " <s> 1: [ User: <|end|> ] 2: [ Assistant: <|end|> ]");
}

TEST(dataset_prompts) {
    ROWS("{\"prompt\":[" USER("how big ?") "]}\n{\"messages\":[" USER("who made it ?") "]}\n"
         "{\"chosen\":\"" TALK("is it red ?", "yes .") "\",\"rejected\":\"" TALK("is it red ?", "no .") "\"}\n"
         "{\"text\":[\"" TALK("where is it ?", "yes .") "\",\"" TALK("where is it ?", "no .") "\"],\"score\":[0,1]}\n",
         OPT(.kind = TN_DATA_PROMPT, .chat_transcripts = true), " <s> User: how big ? Assistant:",
         " <s> User: who made it ? Assistant:", " <s> User: is it red ? Assistant:",
         " <s> User: where is it ? Assistant:");
}

/* Lengths: what is cut, what is dropped, and that both are counted. */
TEST(dataset_lengths) {
    static const char rows[] = "{\"prompt_ids\":[1,4,5,6],\"chosen_ids\":[7,8,9],\"rejected_ids\":[8,2]}\n"
                               "{\"prompt_ids\":[1],\"chosen_ids\":[7],\"rejected_ids\":[8]}\n"
                               "{\"prompt_ids\":[1],\"chosen_ids\":[7,2],\"rejected_ids\":[7,2]}\n";
    static const struct { tn_data_options o; long kept, truncated, too_long; int prompt, chosen; } want[] = {
        {{.kind = TN_DATA_PREFERENCE}, 2, 0, 0, 4, 3},
        {{.kind = TN_DATA_PREFERENCE, .max_length = 6}, 2, 1, 0, 4, 2},
        {{.kind = TN_DATA_PREFERENCE, .max_length = 6, .keep_end = true}, 2, 1, 0, 3, 3},
        {{.kind = TN_DATA_PREFERENCE, .max_length = 6, .drop_long = true}, 1, 0, 1, 1, 1},
        {{.kind = TN_DATA_PREFERENCE, .max_length = 4}, 1, 0, 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        tn_dataset *d = NULL;
        CHECK_OK(load(&d, NULL, rows, want[i].o, e));
        if (!d) continue;
        const tn_data_stats *s = &d->stats;
        CHECK_MSG(s->read == 3 && s->kept == want[i].kept && s->truncated == want[i].truncated &&
                      s->dropped[TN_DROP_LONG] == want[i].too_long && s->dropped[TN_DROP_SAME] == 1 &&
                      d->ex[0].n_prompt == want[i].prompt && d->ex[0].response[0].n == want[i].chosen,
                  "case %zu: kept %ld, truncated %ld, too long %ld, same %ld; prompt %d, chosen %d", i, s->kept,
                  s->truncated, s->dropped[TN_DROP_LONG], s->dropped[TN_DROP_SAME], d->ex[0].n_prompt,
                  d->ex[0].response[0].n);
        tn_dataset_free(d);
    }
}

TEST(dataset_refusals) {
    static const struct { tn_data_kind kind; const char *row, *text; } bad[] = {
        {TN_DATA_SFT, "{\"prompt\":\"x\"}", "no \"completion\""},
        {TN_DATA_SFT, "{\"x\":1}", "no field to train on"},
        {TN_DATA_SFT, "{\"text\":[\"a\"],\"score\":[1,2]}", "no field to train on"},
        {TN_DATA_SFT, "[1]", "rows.jsonl:2"},
        {TN_DATA_PREFERENCE, "{\"chosen\":\"a\"}", "\"rejected\""},
        {TN_DATA_PREFERENCE, "{\"chosen\":\"a\",\"rejected\":[]}", "both"},
        {TN_DATA_PREFERENCE, "{\"chosen_ids\":[1,329],\"rejected_ids\":[1]}", "329"},
        {TN_DATA_PREFERENCE, "{\"prompt\":\"a\",\"responses\":[\"b\",\"c\"],\"rank\":[1]}", "list of 2 numbers"},
        {TN_DATA_PREFERENCE, "{\"prompt\":\"a\",\"responses\":[\"b\"],\"rank\":[1]}", "2 to 64 responses"},
        {TN_DATA_PREFERENCE, "{\"text\":[\"b\",\"c\"],\"score\":[1,2]}", "Assistant"},
        {TN_DATA_PREFERENCE, "{\"text\":[1,\"c\"],\"score\":[1,2]}", "not a string"},
        {TN_DATA_PROMPT, "{\"completion\":\"a\"}", "no prompt"},
    };
    tn_tokenizer *tok = world_tokenizer();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char rows[512];
        tn_dataset *d = NULL;
        snprintf(rows, sizeof rows, "{\"prompt_ids\":[1],\"ids\":[4],\"chosen_ids\":[4],\"rejected_ids\":[5],\"input_ids\":[4,5]}\n%s\n",
                 bad[i].row);
        tn_data_options o = {.kind = bad[i].kind};
        CHECK_FAIL(load(&d, tok, rows, o, e), TN_FORMAT, bad[i].text);
        CHECK_FAIL(load(&d, tok, rows, o, e), TN_FORMAT, "rows.jsonl:2");
        tn_dataset_free(d);
    }
    tn_tokenizer_free(tok);
}
