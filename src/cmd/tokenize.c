/* tenet tokenize: texts or conversations in, ids out. */
#include "cmd/verbs.h"
#include "text/text.h"
#include <string.h>

typedef struct tokenize_options {
    const char *model, *input, *out, *chat_template;
    bool special, skip_special, generation_prompt;
} tokenize_options;

#define AT(field) offsetof(tokenize_options, field)
static const tn_opt_row rows[] = {
    {"model", TN_OPT_STRING, AT(model), NULL, NULL, 0, 0, "model_name_or_path tokenizer", "DIR",
     "Folder with tokenizer.json."},
    {"input", TN_OPT_STRING, AT(input), NULL, NULL, 0, 0, "data", "FILE",
     "Rows {\"text\"}, {\"messages\"} or {\"ids\"}; - for standard input."},
    {"out", TN_OPT_STRING, AT(out), "-", NULL, 0, 0, "output", "FILE",
     "Output rows; - for standard output."},
    {"chat-template", TN_OPT_STRING, AT(chat_template), NULL, NULL, 0, 0, NULL, "NAME|FILE",
     "Chat template instead of the checkpoint's."},
    {"add-special-tokens", TN_OPT_BOOL, AT(special), "true", NULL, 0, 0, NULL, NULL,
     "Texts get the special tokens that the tokenizer adds (BOS, EOS)."},
    {"skip-special-tokens", TN_OPT_BOOL, AT(skip_special), "false", NULL, 0, 0, NULL, NULL,
     "Leave special tokens out of the decoded text."},
    {"add-generation-prompt", TN_OPT_BOOL, AT(generation_prompt), "false", NULL, 0, 0, NULL, NULL,
     "Conversations end in the header of the answer to come."},
    TN_OPT_LAST};

typedef struct job {
    tokenize_options o;
    tn_tokenizer *tok;
    tn_lines *lines;
    tn_out *out;
    tn_ids ids;
    uint8_t *mask;
    tn_str rendered, decoded, line;
    bool chat;
} job;

static tn_status read_ids(job *j, const json_t *row, const char *where, tn_err *e) {
    int32_t *v;
    size_t n;
    TN_TRY(tn_json_ids(json_object_get(row, "ids"), tn_tokenizer_vocab(j->tok), &v, &n, where, e));
    bool ok = TN_GROW(j->ids.v, j->ids.cap, n + 1);
    if (ok && n) memcpy(j->ids.v, v, n * sizeof *v);
    j->ids.n = ok ? n : 0;
    tn_free(v);
    return ok ? TN_OK : tn_fail(e, TN_NOMEM, "%s: no memory for %zu ids", where, n);
}

static tn_status encode_chat(job *j, const json_t *messages, const char *where, tn_err *e) {
    tn_message *m;
    size_t n;
    TN_TRY(tn_messages_from_json(messages, &m, &n, where, e));
    tn_status st = tn_chat_render(j->tok, m, n, j->o.generation_prompt, &j->rendered, NULL, e);
    if (st == TN_OK)
        st = tn_chat_encode(j->tok, m, n, j->o.generation_prompt, &j->ids, &j->mask, e);
    tn_free(m);
    return st;
}

static tn_status encode_row(job *j, const json_t *row, const char *where, tn_err *e) {
    const json_t *text = json_object_get(row, "text"), *messages = json_object_get(row, "messages");
    j->ids.n = 0;
    tn_free(j->mask);
    j->mask = NULL;
    tn_str_clear(&j->rendered);
    tn_str_clear(&j->decoded);
    j->chat = messages != NULL;
    if (json_is_string(text))
        TN_TRY(tn_encode(j->tok, json_string_value(text), json_string_length(text), j->o.special,
                         &j->ids, NULL, e));
    else if (messages)
        TN_TRY(encode_chat(j, messages, where, e));
    else if (json_object_get(row, "ids"))
        TN_TRY(read_ids(j, row, where, e));
    else
        return tn_fail(e, TN_FORMAT,
                       "expected a row with \"text\" (a string), \"messages\" or \"ids\"");
    return tn_decode(j->tok, j->ids.v, j->ids.n, j->o.skip_special, &j->decoded, e);
}

static tn_status put_row(job *j, const json_t *row, tn_err *e) {
    tn_str *s = &j->line;
    const json_t *id = json_object_get(row, "id");
    tn_str_clear(s);
    tn_str_addc(s, '{');
    if (id) {
        tn_str_addz(s, "\"id\": ");
        TN_TRY(tn_json_add(s, id, JSON_COMPACT, "an id", e));
        tn_str_addz(s, ", ");
    }
    tn_str_addz(s, "\"ids\": [");
    for (size_t k = 0; k < j->ids.n; k++) tn_str_addf(s, "%s%d", k ? ", " : "", j->ids.v[k]);
    tn_str_addz(s, "], \"tokens\": [");
    for (size_t k = 0; k < j->ids.n; k++) {
        size_t n = 0;
        const char *t = tn_token_text(j->tok, j->ids.v[k], &n);
        if (k) tn_str_addz(s, ", ");
        tn_str_add_json(s, t ? t : "", n);
    }
    tn_str_addz(s, "], \"text\": ");
    tn_str_add_json(s, j->decoded.s ? j->decoded.s : "", j->decoded.len);
    if (j->chat) {
        tn_str_addz(s, ", \"rendered\": ");
        tn_str_add_json(s, j->rendered.s ? j->rendered.s : "", j->rendered.len);
        tn_str_addz(s, ", \"assistant_mask\": [");
        for (size_t k = 0; k < j->ids.n; k++)
            tn_str_addz(s, j->mask[k] ? (k ? ", 1" : "1") : k ? ", 0" : "0");
        tn_str_addc(s, ']');
    }
    tn_str_addz(s, "}\n");
    return TN_OK;
}

static tn_status work(job *j, tn_err *e) {
    if (!j->o.model) return tn_fail(e, TN_ARG, "tokenize needs --model DIR");
    if (!j->o.input) return tn_fail(e, TN_ARG, "tokenize needs --input ROWS.jsonl");
    TN_TRY(tn_tokenizer_load(&j->tok, j->o.model, e));
    if (j->o.chat_template) TN_TRY(tn_chat_set(j->tok, j->o.chat_template, e));
    TN_TRY(tn_lines_open(&j->lines, j->o.input, (size_t)1 << 28, e));
    TN_TRY(tn_out_open(&j->out, j->o.out, false, e));
    for (;;) {
        json_t *row = NULL;
        char where[512];
        TN_TRY(tn_jsonl_next(j->lines, j->o.input, &row, e));
        if (!row) break;
        snprintf(where, sizeof where, "%s:%ld", j->o.input, tn_lines_number(j->lines));
        tn_status st = encode_row(j, row, where, e);
        if (st == TN_OK) st = put_row(j, row, e);
        json_decref(row);
        if (st != TN_OK) return tn_err_context(e, st, "%s", where);
        if (j->line.oom) return tn_fail(e, TN_NOMEM, "%s: no memory for the output row", where);
        TN_TRY(tn_out_write(j->out, j->line.s, j->line.len, e));
    }
    return TN_OK;
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    job j = {0};
    tn_opts_bind(opts, rows, &j.o);
    tn_status st = work(&j, e);
    st = tn_out_close(j.out, st, false, e);
    tn_lines_close(j.lines);
    tn_tokenizer_free(j.tok);
    tn_ids_free(&j.ids);
    tn_free(j.mask);
    tn_str_free(&j.rendered);
    tn_str_free(&j.decoded);
    tn_str_free(&j.line);
    return st;
}

static const tn_opt_row *const tables[] = {rows, NULL};
const tn_verb tn_verb_tokenize = {
    .name = "tokenize",
    .stage = "Use",
    .summary = "texts or conversations to token ids",
    .details = "Rows in: {\"text\"}, {\"messages\"} or {\"ids\"}. Rows out: ids, tokens, text (the "
               "ids decoded), and for messages\n"
               "rendered (what the chat template prints) and assistant_mask (1: trained, an answer "
               "and its end-of-turn token).\n\n"
               "  echo '{\"text\": \"Hello world\"}' | tenet tokenize --model DIR --input -",
    .tables = tables,
    .run = run};
