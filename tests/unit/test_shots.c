/* Few-shot examples: the ids of prompts that have them, how many fit, what is refused. */
#include "data/dataset.h"
#include "test.h"

#define ASK(x) "{\"role\":\"user\",\"content\":\"" x "\"}"
#define SAY(x) "{\"role\":\"assistant\",\"content\":\"" x "\"}"

static const char *file(const char *name, const char *text, tn_str *path) {
    tn_path_join(path, tn_test_dir(), name);
    CHECK_OK(tn_write_file(path->s, text, strlen(text), e));
    return path->s;
}

/* The first prompt of `rows` after `examples` (NULL: none), at most `room` tokens; its example must be freed with *d. */
static const tn_example *first(const tn_tokenizer *tok, const char *rows, const char *examples, int room, tn_dataset **d,
                               tn_status want, tn_err *err) {
    tn_str a = TN_STR_INIT, b = TN_STR_INIT;
    const char *in = file("prompts.jsonl", rows, &a);
    json_t *shots = NULL;
    *d = NULL;
    if (examples) CHECK_OK(tn_shots_load(&shots, file("shots.jsonl", examples, &b), 0, e));
    tn_data_options o = {.kind = TN_DATA_PROMPT, .seam = TN_SEAM_FORCE, .vocab = 329, .shots = shots, .room = room};
    tn_status st = tn_dataset_load(d, &in, 1, tok, &o, err);
    CHECK_MSG(st == want, "status %d, expected %d: %s", st, want, err->msg);
    json_decref(shots);
    tn_str_free(&a);
    tn_str_free(&b);
    return *d ? (*d)->ex : NULL;
}

static void check_same(const char *rows, const char *examples, int room, long used, const char *whole) {
    tn_tokenizer *tok = NULL;
    tn_dataset *d, *w;
    tn_err err = {0};
    CHECK_OK(tn_tokenizer_load(&tok, "models/world", e));
    const tn_example *x = first(tok, rows, examples, room, &d, TN_OK, &err), *y = first(tok, whole, NULL, 0, &w, TN_OK, &err);
    if (x && y) {
        CHECK_MSG(d->stats.shots == used, "%ld examples, expected %ld", d->stats.shots, used);
        CHECK_MSG(x->n_prompt == y->n_prompt && !memcmp(x->prompt, y->prompt, (size_t)y->n_prompt * sizeof *y->prompt),
                  "%d tokens are not the %d of %s", x->n_prompt, y->n_prompt, whole);
    }
    tn_dataset_free(d);
    tn_dataset_free(w);
    tn_tokenizer_free(tok);
}

/* A conversation goes on after its examples: exactly what one long conversation is. */
TEST(shots_are_one_conversation) {
    static const char examples[] = "{\"messages\":[" ASK("how big ?") "," SAY("tiny .") "]}\n"
                                   "{\"prompt\":[" ASK("who made it ?") "],\"completion\":[" SAY("a man .") "]}\n";
    static const char row[] = "{\"prompt\":[" ASK("is it red ?") "]}\n";
    static const char both[] = "{\"messages\":[" ASK("how big ?") "," SAY("tiny .") "," ASK("who made it ?") "," SAY("a man .")
        "," ASK("is it red ?") "]}\n";
    static const char one[] = "{\"messages\":[" ASK("how big ?") "," SAY("tiny .") "," ASK("is it red ?") "]}\n";
    check_same(row, examples, 0, 2, both);
    tn_tokenizer *tok = NULL;
    tn_dataset *d;
    tn_err err = {0};
    CHECK_OK(tn_tokenizer_load(&tok, "models/world", e));
    const tn_example *x = first(tok, both, NULL, 0, &d, TN_OK, &err);
    int n = x ? x->n_prompt : 0;
    tn_dataset_free(d);
    tn_tokenizer_free(tok);
    check_same(row, examples, n, 2, both);    /* just fits */
    check_same(row, examples, n - 1, 1, one); /* the last one goes */
    check_same(row, examples, 1, 0, row);     /* a prompt without examples stays whole */
}

TEST(shots_of_texts) {
    check_same("{\"prompt\":\"is it red ?\"}\n", "{\"prompt\":\"how big ?\",\"completion\":\" tiny .\"}\n", 0, 1,
               "{\"prompt\":\"how big ? tiny .\\n\\nis it red ?\"}\n");
}

TEST(shots_that_are_refused) {
    tn_tokenizer *tok = NULL;
    tn_dataset *d;
    tn_err err = {0};
    static const char talk[] = "{\"messages\":[" ASK("how big ?") "," SAY("tiny .") "]}\n";
    CHECK_OK(tn_tokenizer_load(&tok, "models/world", e));
    first(tok, "{\"prompt\":\"is it red ?\"}\n", talk, 0, &d, TN_FORMAT, &err);
    CHECK_MSG(strstr(err.msg, "the prompt is a text, so the few-shot examples must be texts"), "%s", err.msg);
    first(tok, "{\"ids\":[1,4,5]}\n", talk, 0, &d, TN_FORMAT, &err);
    CHECK_MSG(strstr(err.msg, "not before ids"), "%s", err.msg);
    first(tok, "{\"prompt\":7}\n", talk, 0, &d, TN_FORMAT, &err);
    CHECK_MSG(strstr(err.msg, "\"prompt\" must be"), "%s", err.msg);
    tn_str p = TN_STR_INIT;
    json_t *shots;
    CHECK(tn_shots_load(&shots, file("bad.jsonl", "{\"prompt\":\"how big ?\"}\n", &p), 0, &err) == TN_FORMAT && !shots);
    CHECK(tn_shots_load(&shots, file("empty.jsonl", "", &p), 0, &err) == TN_FORMAT && !shots);
    tn_str_free(&p);
    tn_tokenizer_free(tok);
}
