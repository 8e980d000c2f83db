/* What a teacher reads that knows more: templates, contexts, and rows with two sides. */
#include "data/dataset.h"
#include "data/teacher_prompt.h"
#include "test.h"
#include <stdlib.h>

static const char *made(const char *template, const char *prompt, const char *context) {
    static char out[400];
    json_t *p = json_loads(prompt, JSON_DECODE_ANY, NULL), *c = json_loads(context, JSON_DECODE_ANY, NULL), *got = NULL;
    CHECK_OK(tn_teacher_prompt(template, p, c, &got, "row", e));
    char *s = got ? json_dumps(got, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    snprintf(out, sizeof out, "%s", s ? s : "");
    free(s);
    json_decref(p), json_decref(c), json_decref(got);
    return out;
}
#define MADE(template, prompt, context, want)                                                                          \
    CHECK_MSG(strcmp(made(template, prompt, context), want) == 0, "%s", made(template, prompt, context))

TEST(teacher_prompt_texts) {
    MADE("{prompt}\n\n{privileged_context}", "\"a?\"", "\"b.\"", "\"a?\\n\\nb.\"");
    MADE("{privileged_context}{prompt}{prompt}{x}", "\"{privileged_context}\"", "\"b\"",
         "\"b{privileged_context}{privileged_context}{x}\"");
    MADE("{prompt} : {privileged_context}", "\"a\"",
         "[{\"role\":\"user\",\"content\":\"b\"},{\"role\":\"assistant\",\"content\":\"\"},{\"role\":\"assistant\","
         "\"content\":\"c\"}]",
         "\"a : b\\nc\"");
    MADE("{prompt} : {privileged_context}",
         "[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"a\"}]", "\"b\"",
         "[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"a : b\"}]");
    CHECK_OK(tn_teacher_template_check("{privileged_context}{prompt}", e));
    CHECK_FAIL(tn_teacher_template_check("{prompt}{privileged}", e), TN_ARG, "{privileged_context}");
}

TEST(teacher_prompt_rows) {
    tn_tokenizer *tok = NULL;
    tn_dataset *d = NULL;
    tn_str path = TN_STR_INIT;
    static const char rows[] =
        "{\"prompt\":[{\"role\":\"user\",\"content\":\"what is it "
        "?\"}],\"completion\":[{\"role\":\"assistant\",\"content\":\"it is red .\"}]}\n"
        "{\"prompt\":[{\"role\":\"user\",\"content\":\"what is it ?\"}],\"privileged_context\":\"blue\"}\n"
        "{\"prompt\":[{\"role\":\"user\",\"content\":\"what is it ?\"}],\"chosen\":\"it is red .\",\"rejected\":\"it "
        "is blue .\"}\n"
        "{\"prompt_ids\":[1,4],\"ids\":[7,2],\"teacher_prompt_ids\":[1,4,9]}\n";
    CHECK_OK(tn_tokenizer_load(&tok, "models/world", e));
    tn_path_join(&path, tn_test_dir(), "rows.jsonl");
    CHECK_OK(tn_write_file(path.s, rows, sizeof rows - 1, e));
    const char *paths[] = {path.s};
    tn_data_options o = {.kind = TN_DATA_SFT, .vocab = 329, .teacher_template = "{prompt} {privileged_context}"};
    CHECK_OK(tn_dataset_load(&d, paths, 1, tok, &o, e));
    if (d) {
        static const int prompt[] = {7, 7, 7, 2}, teacher[] = {11, 8, 11, 3}, answer[] = {5, 2, 5, 2};
        CHECK(d->n == 4 && d->teachers && d->teachers->n == 4);
        for (int i = 0; i < 4; i++) {
            const tn_example *x = &d->ex[i], *y = x->teacher;
            CHECK_MSG(y == &d->teachers->ex[i] && x->n_prompt == prompt[i] && y->n_prompt == teacher[i] &&
                          x->response[0].n == answer[i],
                      "row %d: %d and %d tokens, answer %d", i, x->n_prompt, y->n_prompt, x->response[0].n);
            CHECK(y->response == x->response && y->n_response == 1 && tn_example_trained(y) == tn_example_trained(x));
        }
        uint64_t hash = d->hash;
        tn_dataset_free(d);
        o.teacher_template = "{privileged_context} {prompt}"; /* another context is other data */
        CHECK_OK(tn_dataset_load(&d, paths, 1, tok, &o, e));
        CHECK(d->hash != hash);
    }
    tn_dataset_free(d);
    tn_str_free(&path);
    tn_tokenizer_free(tok);
}
