/* Rows of every kind: ids, masks and segments; TRL's own preparation as the measure for texts. */
#include "data/rows.h"
#include "test.h"

static tn_status read_text_row(tn_row *r, const char *text, const tn_row_how *how, tn_err *e) {
    json_t *row = NULL;
    TN_TRY(tn_json_parse(text, strlen(text), "row", &row, e));
    tn_status st = tn_row_read(r, row, how, "rows.jsonl:7", e);
    json_decref(row);
    return st;
}

static void check_row(const char *text, const char *ids, const char *scored, const char *starts) {
    tn_row r;
    char got[512] = "", mask[128] = "", start[128] = "";
    CHECK_OK(read_text_row(&r, text, &(tn_row_how){.vocab = 100}, e));
    int n = 0;
    for (int i = 0; i < r.n; i++) {
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d", i ? " " : "", r.ids[i]);
        mask[i] = r.scored[i] ? '1' : '0';
        n += r.scored[i];
    }
    for (int s = 0; s < r.n_seg; s++)
        snprintf(start + strlen(start), sizeof start - strlen(start), "%s%d", s ? " " : "",
                 r.start[s]);
    CHECK_MSG(strcmp(got, ids) == 0 && strcmp(mask, scored) == 0 && strcmp(start, starts) == 0 &&
                  n == r.n_scored,
              "%s: ids %s, scored %s, segments at %s", text, got, mask, start);
    tn_row_free(&r);
}

TEST(rows_of_ids) {
    check_row("{\"ids\":[3,1,2]}", "3 1 2", "011", "0");
    check_row("{\"ids\":[3]}", "3", "0", "0");
    check_row("{\"prompt_ids\":[5,6],\"ids\":[7,8,9],\"text\":\"x\",\"finish_reason\":\"stop\"}",
              "5 6 7 8 9", "00111", "0 2");
    check_row("{\"prompt_ids\":[],\"ids\":[7,8]}", "7 8", "01", "0");
    check_row("{\"prompt_ids\":[4,4],\"ids\":[]}", "4 4", "00", "0");
}

TEST(rows_refused) {
    static const struct { const char *row; tn_status code; const char *text; } bad[] = {
        {"{}", TN_FORMAT, "none of"},
        {"{\"ids\":[]}", TN_FORMAT, "no tokens"},
        {"{\"ids\":[1,100]}", TN_FORMAT, "100"},
        {"{\"ids\":[1,-1]}", TN_FORMAT, "-1"},
        {"{\"ids\":\"abc\"}", TN_FORMAT, "rows.jsonl:7"},
        {"{\"ids\":[1,2.5]}", TN_FORMAT, "rows.jsonl:7"},
        {"{\"ids\":[1,99999999999]}", TN_FORMAT, "rows.jsonl:7"},
        {"{\"prompt_ids\":5,\"ids\":[1]}", TN_FORMAT, "rows.jsonl:7"},
        {"{\"prompt\":\"a\"}", TN_FORMAT, "completion"},
        {"{\"text\":\"hello\"}", TN_ARG, "tokenizer.json"},
        {"{\"messages\":[]}", TN_ARG, "tokenizer.json"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tn_row r;
        CHECK_FAIL(read_text_row(&r, bad[i].row, &(tn_row_how){.vocab = 100}, e), bad[i].code,
                   bad[i].text);
        tn_row_free(&r);
    }
}

/* Segments start where the mask changes. */
static void check_segments(const tn_row *r) {
    int s = 0;
    for (int i = 0; i < r->n; i++)
        if (i == 0 || r->scored[i] != r->scored[i - 1]) CHECK(s < r->n_seg && r->start[s++] == i);
    CHECK(s == r->n_seg);
}

TEST(rows_equal_trl) {
    tn_str dir = TN_STR_INIT;
    json_t *cases = NULL, *c, *x;
    tn_path_join(&dir, tn_shared("data/tokenizers"), "smollm2");
    tn_tokenizer *tok = NULL;
    CHECK_OK(tn_tokenizer_load(&tok, dir.s, e));
    CHECK_OK(tn_json_load(tn_test_file("golden/rows.json"), &cases, e));
    size_t i, k, compared = 0;
    json_array_foreach(cases, i, c) json_array_foreach(json_object_get(c, "rows"), k, x) {
        if (!tok) break;
        tn_row r;
        char where[64];
        snprintf(where, sizeof where, "case %zu row %zu", i, k);
        CHECK_OK(tn_row_read(&r, json_object_get(x, "row"),
                             &(tn_row_how){.tokenizer = tok, .vocab = 60000}, where, e));
        const json_t *ids = json_object_get(x, "ids"), *mask = json_object_get(x, "mask");
        bool same = (size_t)r.n == json_array_size(ids);
        for (int t = 0; same && t < r.n; t++)
            same = r.ids[t] == json_integer_value(json_array_get(ids, (size_t)t)) &&
                   r.scored[t] == json_integer_value(json_array_get(mask, (size_t)t));
        CHECK_MSG(same, "%s differs from TRL", where);
        check_segments(&r);
        tn_row_free(&r);
        compared++;
    }
    CHECK(compared == 10);
    tn_tokenizer_free(tok);
    json_decref(cases);
    tn_str_free(&dir);
}

TEST(rows_of_text) {
    tn_str dir = TN_STR_INIT;
    tn_path_join(&dir, tn_shared("data/tokenizers"), "smollm2");
    tn_tokenizer *tok = NULL;
    CHECK_OK(tn_tokenizer_load(&tok, dir.s, e));
    tn_row r, f;
    CHECK_OK(read_text_row(&r, "{\"text\":\"The capital\"}",
                           &(tn_row_how){.tokenizer = tok, .vocab = 60000}, e));
    CHECK(r.n == 2 && r.n_scored == 1 && r.n_seg == 1 && r.ids[0] == 504 && r.ids[1] == 3575);
    CHECK_OK(read_text_row(&f, "{\"text\":\"The capital\"}",
                           &(tn_row_how){.tokenizer = tok, .vocab = 60000, .text_eos = true}, e));
    CHECK(f.n == 3 && f.ids[2] == 2);
    tn_row_free(&f);
    CHECK_FAIL(read_text_row(&f, "{\"text\":\"The capital\"}",
                             &(tn_row_how){.tokenizer = tok, .vocab = 600}, e),
               TN_STATE, "only 600 tokens");
    tn_row_free(&f);
    CHECK_FAIL(
        read_text_row(&f, "{\"text\":5}", &(tn_row_how){.tokenizer = tok, .vocab = 60000}, e),
        TN_FORMAT, "string");
    tn_row_free(&f);
    /* force: ids(prompt) then ids(completion) */
    CHECK_OK(read_text_row(&f, "{\"prompt\":\"Once upon a ti\",\"completion\":\"me\"}",
                           &(tn_row_how){.tokenizer = tok, .vocab = 60000, .seam = TN_SEAM_FORCE},
                           e));
    CHECK(f.n_seg == 2 && f.start[1] == 4 && f.ids[3] == 31659 && f.ids[4] == 1558 &&
          f.ids[f.n - 1] == 2);
    tn_row_free(&f);
    tn_row_free(&r);
    tn_tokenizer_free(tok);
    tn_str_free(&dir);
}
