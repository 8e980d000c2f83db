/* Rows with labels: safety of pairs, correctness of steps. Texts are the world's. */
#include "data/dataset.h"
#include "test.h"

static tn_status load(tn_dataset **d, const char *rows, tn_data_options o, tn_err *e) {
    tn_str path = TN_STR_INIT;
    tn_tokenizer *tok = NULL;
    TN_TRY(tn_tokenizer_load(&tok, "models/world", e));
    tn_path_join(&path, tn_test_dir(), "rows.jsonl");
    const char *p = path.s;
    o.vocab = 329;
    *d = NULL;
    tn_status st = tn_write_file(path.s, rows, strlen(rows), e);
    if (st == TN_OK) st = tn_dataset_load(d, &p, 1, tok, &o, e);
    tn_str_free(&path);
    tn_tokenizer_free(tok);
    return st;
}

static const tn_data_options safety = {.kind = TN_DATA_SAFETY}, steps = {.kind = TN_DATA_STEPS, .steps = {.separator = "."}};

TEST(labelled_rows_safety) {
    tn_dataset *d;
    CHECK_OK(load(&d,
                  "{\"prompt\":\"who ?\",\"chosen\":\"no\",\"rejected\":\"the box\",\"chosen_safe\":true,\"rejected_safe\":false}\n"
                  "{\"prompt_ids\":[1],\"chosen_ids\":[5],\"rejected_ids\":[6,7],\"chosen_safe\":0,\"rejected_safe\":1}\n"
                  "{\"prompt\":\"who ?\",\"chosen\":\"no\",\"rejected\":\"no\",\"chosen_safe\":true,\"rejected_safe\":true}\n",
                  safety, e));
    CHECK(d && d->n == 2 && d->stats.dropped[TN_DROP_SAME] == 1);
    CHECK(d->ex[0].pair && d->ex[0].label == 1 && d->ex[1].label == 2);
    uint64_t hash = d->hash;
    tn_dataset_free(d);
    CHECK_OK(load(&d,
                  "{\"prompt\":\"who ?\",\"chosen\":\"no\",\"rejected\":\"the box\",\"chosen_safe\":true,\"rejected_safe\":true}\n"
                  "{\"prompt_ids\":[1],\"chosen_ids\":[5],\"rejected_ids\":[6,7],\"chosen_safe\":0,\"rejected_safe\":1}\n",
                  safety, e));
    CHECK_MSG(d && d->ex[0].label == 3 && d->hash != hash, "labels are no part of the hash");
    tn_dataset_free(d);
}

/* One row says which answer is the more helpful and which the safer one. */
TEST(labelled_rows_pku_safe_rlhf) {
    static const char row[] = "{\"prompt\":\"who ?\",\"response_0\":\"no\",\"response_1\":\"the box\",\"better_response_id\":1,"
                              "\"safer_response_id\":0,\"is_response_0_safe\":true,\"is_response_1_safe\":false}\n";
    tn_dataset *d;
    CHECK_OK(load(&d, row, safety, e));
    CHECK(d && d->n == 1 && d->ex[0].label == 1);
    int safer = d->ex[0].response[0].n;
    tn_dataset_free(d);
    CHECK_OK(load(&d, row, (tn_data_options){.kind = TN_DATA_PREFERENCE}, e));
    CHECK_MSG(d && d->ex[0].response[0].n == safer + 1, "the better answer is the longer one");
    tn_dataset_free(d);
}

TEST(labelled_rows_steps) {
    static const char rows[] = "{\"prompt\":\"who ?\",\"completions\":[\"the box is\",\"no\"],\"labels\":[true,0.25]}\n"
                               "{\"prompt_ids\":[1,4],\"step_ids\":[[5,6,7],[8,7]],\"labels\":[false,true]}\n";
    tn_dataset *d;
    CHECK_OK(load(&d, rows, steps, e));
    CHECK(d && d->n == 2);
    for (int i = 0; d && i < 2; i++) {
        const tn_response *r = &d->ex[i].response[0];
        static const int at[2][2] = {{3, 5}, {2, 4}};
        CHECK(r->n == at[i][1] + 1 && tn_example_trained(&d->ex[i]) == 2);
        CHECK(r->trained[at[i][0]] && r->trained[at[i][1]] && d->ex[i].n_prompt == (i ? 2 : 3));
    }
    CHECK(d->ex[0].ret[0] == 1 && d->ex[0].ret[1] == 0.25 && d->ex[1].ret[0] == 0 && d->ex[1].ret[1] == 1);
    tn_dataset_free(d);
    tn_data_options o = steps;
    o.last_step_only = true;
    CHECK_OK(load(&d, rows, o, e));
    CHECK(d && tn_example_trained(&d->ex[0]) == 1 && d->ex[0].response[0].trained[5] && d->ex[0].ret[0] == 0.25);
    tn_dataset_free(d);
    o = steps, o.max_length = 8, o.steps.max_prompt = 2; /* the prompt's last two tokens; all steps fit */
    CHECK_OK(load(&d, rows, o, e));
    CHECK(d && d->n == 2 && d->ex[0].n_prompt == 2 && tn_example_trained(&d->ex[0]) == 2);
    tn_dataset_free(d);
    o.max_length = 6; /* the first row's second step does not */
    CHECK_OK(load(&d, rows, o, e));
    CHECK(d && d->n == 2 && tn_example_trained(&d->ex[0]) == 1 && d->ex[0].ret[0] == 1);
    tn_dataset_free(d);
    o.max_length = 4; /* nor its first */
    CHECK_FAIL(load(&d, rows, o, e), TN_FORMAT, "2 without a token to train on");
}

TEST(labelled_rows_refusals) {
    static const struct { const char *row, *text; bool steps; } bad[] = {
        {"{\"prompt\":\"who ?\",\"chosen\":\"no\",\"rejected\":\"the\",\"chosen_safe\":true}", "\"rejected_safe\" must be true or false", false},
        {"{\"prompt\":\"who ?\",\"responses\":[\"no\",\"the box\"],\"rank\":[1,2],\"chosen_safe\":true,\"rejected_safe\":true}", "this row is a ranking", false},
        {"{\"prompt\":\"who ?\",\"response_0\":\"no\",\"response_1\":\"the\",\"safer_response_id\":2,\"is_response_0_safe\":true,"
         "\"is_response_1_safe\":true}", "\"safer_response_id\" must be 0 or 1", false},
        {"{\"prompt\":\"who ?\",\"completions\":[\"no\"],\"labels\":[true,true]}", "must be a list of 1, one a step", true},
        {"{\"prompt\":\"who ?\",\"completions\":[\"no\"],\"labels\":[1.5]}", "a number from 0 to 1", true},
        {"{\"prompt\":\"who ?\",\"completions\":[],\"labels\":[]}", "at least one step", true},
        {"{\"prompt\":\"who ?\",\"completions\":[7],\"labels\":[true]}", "step 1 is no string", true},
        {"{\"prompt\":\"who ?\",\"labels\":[true]}", "needs \"prompt\", \"completions\" and \"labels\"", true},
        {"{\"prompt_ids\":[],\"step_ids\":[[5]],\"labels\":[true]}", "the prompt has no tokens", true},
        {"{\"prompt_ids\":[1],\"step_ids\":[[]],\"labels\":[true]}", "step 1 has no tokens", true},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tn_dataset *d = NULL;
        CHECK_FAIL(load(&d, bad[i].row, bad[i].steps ? steps : safety, e), TN_FORMAT, bad[i].text);
    }
}
