/* Rows of labelled single responses: formats, TRL's order of pairs, mismatched pairs. */
#include "data/dataset.h"
#include "test.h"

static tn_status load(tn_dataset **d, const tn_str *rows, tn_data_options o, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_path_join(&path, tn_test_dir(), "unpaired.jsonl");
    tn_status st = tn_write_file(path.s, rows->s, rows->len, e);
    const char *p = path.s;
    o.kind = TN_DATA_UNPAIRED;
    o.vocab = 5000;
    tn_tokenizer *tok = NULL;
    if (st == TN_OK) st = tn_tokenizer_load(&tok, "models/world", e);
    if (st == TN_OK) st = tn_dataset_load(d, &p, 1, tok, &o, e);
    tn_tokenizer_free(tok);
    tn_str_free(&path);
    return st;
}
static tn_status load_text(tn_dataset **d, const char *text, tn_err *e) {
    tn_str s = TN_STR_INIT;
    tn_str_addz(&s, text);
    tn_status st = load(d, &s, (tn_data_options){0}, e);
    tn_str_free(&s);
    return st;
}

TEST(unpaired_formats) {
    tn_dataset *d = NULL, *other = NULL;
    CHECK_OK(load_text(&d,
                       "{\"prompt_ids\":[1,4],\"completion_ids\":[7,2],\"label\":true}\n"
                       "{\"prompt\":\"is it red ?\",\"completion\":\" yes .\",\"label\":0}\n"
                       "{\"prompt\":[{\"role\":\"user\",\"content\":\"how big "
                       "?\"}],\"completion\":[{\"role\":\"assistant\","
                       "\"content\":\"tiny .\"}],\"label\":1}\n"
                       "{\"prompt_ids\":[],\"completion_ids\":[7,2],\"label\":true}\n",
                       e));
    CHECK(d && d->n == 3 && d->stats.dropped[TN_DROP_EMPTY] == 1); /* a response without a prompt */
    static const int label[] = {1, 0, 1};
    for (size_t i = 0; d && i < 3; i++)
        CHECK(d->ex[i].label == label[i] && d->ex[i].n_response == 1 && d->ex[i].n_prompt >= 2 &&
              !d->ex[i].pair);
    CHECK_OK(
        load_text(&other, "{\"prompt_ids\":[1,4],\"completion_ids\":[7,2],\"label\":false}\n", e));
    tn_dataset *same = NULL;
    CHECK_OK(
        load_text(&same, "{\"prompt_ids\":[1,4],\"completion_ids\":[7,2],\"label\":true}\n", e));
    CHECK(other->hash != same->hash); /* labels are part of the rows */
    tn_dataset_free(d), tn_dataset_free(other), tn_dataset_free(same);
    CHECK_FAIL(load_text(&d, "{\"prompt\":\"a\",\"completion\":\"b\"}\n", e), TN_FORMAT,
               "needs \"prompt\", \"completion\" and \"label\"");
    CHECK_FAIL(load_text(&d, "{\"prompt\":\"a\",\"completion\":\"b\",\"label\":\"good\"}\n", e),
               TN_FORMAT, "must be true");
    CHECK_FAIL(load_text(&d, "{\"prompt\":\"a\",\"label\":true}\n", e), TN_FORMAT,
               "\"completion\", too");
}

/* 1,003 pairs whose ids say the row; the 500th is too long for --max-length and counts all the same. */
TEST(unpaired_order) {
    tn_str s = TN_STR_INIT;
    tn_dataset *d = NULL;
    for (int i = 0; i < 1003; i++)
        tn_str_addf(&s, "{\"prompt_ids\":[1,%d%s],\"chosen_ids\":[%d],\"rejected_ids\":[%d]}\n", i,
                    i == 499 ? ",1,1,1,1" : "", 2000 + i, 3500 + i);
    CHECK_OK(load(&d, &s, (tn_data_options){.max_length = 5}, e));
    CHECK(d && d->n == 2004 && d->stats.dropped[TN_DROP_LONG] == 2);
    size_t k = 0;
    for (int block = 0; block < 2; block++)
        for (int bad = 0; bad < 2; bad++)
            for (int i = block * 1000; i < (block ? 1003 : 1000); i++) {
                if (i == 499) continue;
                const tn_example *x = &d->ex[k++];
                CHECK_MSG(x->prompt[1] == i && x->label == !bad &&
                              x->response[0].ids[0] == (bad ? 3500 : 2000) + i && x->pair,
                          "example %zu is of row %d, label %d", k - 1, x->prompt[1], x->label);
            }
    tn_dataset_free(d);
    tn_str_free(&s);
}

/* Seven rows in blocks of three: (0 1 2) (3 4 5) (6). Prompts and responses of odd lengths, at most 6 tokens. */
TEST(unpaired_mismatch) {
    tn_str s = TN_STR_INIT;
    tn_dataset *d = NULL;
    static const int n_prompt[] = {2, 5, 2, 3, 2, 4, 2}, n_response[] = {1, 3, 2, 1, 5, 1, 3};
    static const int from[] = {2, 0, 1, 5, 3, 4, 6};
    for (int i = 0; i < 7; i++) {
        tn_str_addf(&s, "{\"label\":true,\"prompt_ids\":[%d", 10 * i + 100);
        for (int t = 1; t < n_prompt[i]; t++) tn_str_addf(&s, ",%d", 10 * i + 100 + t);
        tn_str_addf(&s, "],\"completion_ids\":[%d", 10 * i + 1000);
        for (int t = 1; t < n_response[i]; t++) tn_str_addf(&s, ",%d", 10 * i + 1000 + t);
        tn_str_addz(&s, "]}\n");
    }
    tn_data_options o = {.max_length = 6};
    CHECK_OK(load(&d, &s, o, e));
    CHECK(d && d->n == 7 && d->ex[1].response[0].n == 1 && d->ex[4].response[0].n == 4); /* cut */
    CHECK_OK(tn_dataset_mismatch(d, 3, &o, e));
    for (int i = 0; d && i < 7; i++) {
        const tn_example *x = d->ex[i].mismatched;
        int k = from[i], room = 6 - n_prompt[i], n = n_response[k] < room ? n_response[k] : room;
        CHECK(x == &d->mismatched->ex[i] && x->n_prompt == n_prompt[i] &&
              x->prompt[0] == 10 * i + 100 && x->n_response == 1);
        CHECK_MSG(x->response[0].ids[0] == 10 * k + 1000 && x->response[0].n == n &&
                      tn_example_trained(x) == n,
                  "row %d has %d tokens of the response %d, expected %d of row %d's", i,
                  x->response[0].n, x->response[0].ids[0], n, k);
    }
    CHECK(d->ex[1].response[0].n == 1); /* the rows themselves are as they were */
    tn_dataset_free(d);
    tn_str_free(&s);
}
