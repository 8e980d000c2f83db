/* tenet train-tokenizer: a byte-level BPE tokenizer from texts. */
#include "base/log.h"
#include "cmd/verbs.h"
#include "text/bpe_train.h"
#include <string.h>

typedef struct train_options {
    tn_opt_list data, special;
    const char *output_dir, *pre, *normalizer, *bos, *eos, *pad, *chat_template;
    int64_t vocab_size, min_frequency, threads;
    bool overwrite;
} train_options;

#define AT(field) offsetof(train_options, field)
static const tn_opt_row rows[] = {
    {"data", TN_OPT_LIST, AT(data), NULL, NULL, 0, 0, "files input", "FILE",
     "Texts: .jsonl files (every text and message of a row), other files line by line; .gz too, - "
     "for standard input."},
    {"output-dir", TN_OPT_STRING, AT(output_dir), NULL, NULL, 0, 0, "out", "DIR",
     "Gets tokenizer.json, tokenizer_config.json and, with a template, chat_template.jinja."},
    {"vocab-size", TN_OPT_INT, AT(vocab_size), "30000", NULL, 1, 1 << 24, NULL, "N",
     "Tokens in all: special ones, the 256 bytes, merges."},
    {"min-frequency", TN_OPT_INT, AT(min_frequency), "0", NULL, 0, -1, NULL, "N",
     "Pairs that occur less often are not joined."},
    {"special-tokens", TN_OPT_LIST, AT(special), "<|endoftext|>", NULL, 0, 0, NULL, "TEXT",
     "Tokens that texts do not make; they get the first ids."},
    {"pre-tokenizer", TN_OPT_STRING, AT(pre), "gpt2", NULL, 0, 0, "pretokenizer",
     "gpt2|llama3|qwen2|REGEX",
     "How texts are cut into words, which tokens never cross: as those models do, or a regular "
     "expression that matches words."},
    {"normalizer", TN_OPT_CHOICE, AT(normalizer), "auto", "auto|none|nfc", 0, 0, NULL, NULL,
     "Unicode's canonical composition first; auto: with qwen2, as that model does."},
    {"bos-token", TN_OPT_STRING, AT(bos), NULL, NULL, 0, 0, NULL, "TEXT",
     "Beginning of a text, for templates."},
    {"eos-token", TN_OPT_STRING, AT(eos), NULL, NULL, 0, 0, NULL, "TEXT",
     "End of a text or turn; default: the first special token."},
    {"pad-token", TN_OPT_STRING, AT(pad), NULL, NULL, 0, 0, NULL, "TEXT",
     "Padding, for other programs."},
    {"chat-template", TN_OPT_STRING, AT(chat_template), NULL, NULL, 0, 0, NULL, "NAME|FILE",
     "Chat template to go with the tokenizer."},
    {"overwrite", TN_OPT_BOOL, AT(overwrite), "false", NULL, 0, 0, NULL, NULL,
     "Replace a tokenizer that is there."},
    {"threads", TN_OPT_INT, AT(threads), "0", NULL, 0, 1024, NULL, "N",
     "Threads that count; 0 uses every CPU. The result does not depend on it."},
    TN_OPT_LAST};

typedef struct job {
    train_options o;
    const char **special;
    int n_special;
    tn_pool *pool;
    tn_tokenizer *cut; /* words without merges */
    tn_bpe_counts *counts;
    tn_progress bar;
    long texts;
} job;

/* ---- texts ---- */

static bool ends_in(const char *s, const char *tail) {
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && !strcmp(s + n - k, tail);
}

static tn_status add_text(job *j, const char *s, size_t n, const char *where, tn_err *e) {
    TN_TRY(tn_bpe_counts_add(j->counts, s, n, where, e));
    tn_progress_update(&j->bar, ++j->texts, NULL);
    return TN_OK;
}

/* A string, a list of them, a message, a list of messages. */
static tn_status add_value(job *j, const json_t *v, int depth, const char *where, tn_err *e) {
    size_t i;
    json_t *one;
    if (json_is_string(v))
        return add_text(j, json_string_value(v), json_string_length(v), where, e);
    if (depth == 0) return TN_OK;
    json_array_foreach(v, i, one) TN_TRY(add_value(j, one, depth - 1, where, e));
    if (!json_is_object(v)) return TN_OK;
    one = json_object_get(v, "content");
    return add_value(j, one ? one : json_object_get(v, "value"), depth - 1, where, e);
}

static tn_status add_row(job *j, const json_t *row, const char *where, tn_err *e) {
    static const char *const fields[] = {"text",     "messages",   "conversations",
                                         "prompt",   "completion", "chosen",
                                         "rejected", "response",   "responses"};
    bool any = false;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const json_t *v = json_object_get(row, fields[i]);
        any |= v != NULL;
        if (v) TN_TRY(add_value(j, v, 3, where, e));
    }
    return any ? TN_OK
               : tn_fail(e, TN_FORMAT,
                         "%s: a row without text; expected \"text\", \"messages\", \"prompt\" and "
                         "\"completion\", \"chosen\" and \"rejected\" or \"responses\"",
                         where);
}

static tn_status read_rows(job *j, tn_lines *lines, const char *path, tn_err *e) {
    for (;;) {
        json_t *row;
        char where[512];
        TN_TRY(tn_jsonl_next(lines, path, &row, e));
        if (!row) return TN_OK;
        snprintf(where, sizeof where, "%s:%ld", path, tn_lines_number(lines));
        tn_status st = add_row(j, row, where, e);
        json_decref(row);
        TN_TRY(st);
    }
}

static tn_status read_text(job *j, tn_lines *lines, const char *path, tn_err *e) {
    tn_lines_keep_ends(lines); /* words of line ends are words, too */
    for (;;) {
        const char *s;
        size_t n;
        char where[512];
        TN_TRY(tn_lines_next(lines, &s, &n, e));
        if (!s) return TN_OK;
        snprintf(where, sizeof where, "%s:%ld", path, tn_lines_number(lines));
        TN_TRY(add_text(j, s, n, where, e));
    }
}

static tn_status read_data(job *j, tn_err *e) {
    tn_progress_begin(&j->bar, "train-tokenizer", "texts", 0, 0);
    for (int i = 0; i < j->o.data.n; i++) {
        const char *path = j->o.data.v[i];
        tn_lines *lines;
        TN_TRY(tn_lines_open(&lines, path, (size_t)1 << 28, e));
        bool rows_in = ends_in(path, ".jsonl") || ends_in(path, ".jsonl.gz");
        tn_status st = rows_in ? read_rows(j, lines, path, e) : read_text(j, lines, path, e);
        tn_lines_close(lines);
        TN_TRY(st);
    }
    TN_TRY(tn_bpe_counts_finish(j->counts, e));
    tn_progress_end(&j->bar);
    return TN_OK;
}

/* ---- the tokenizer ---- */

static void tick(void *ctx, long tokens) {
    job *j = ctx;
    tn_progress_update(&j->bar, tokens, NULL);
}

/* The special tokens, and those with a role that are not among them. */
static tn_status list_special(job *j, tn_err *e) {
    train_options *o = &j->o;
    const char *roles[] = {o->bos, o->eos, o->pad};
    j->special = tn_calloc((size_t)o->special.n + 3, sizeof *j->special);
    if (!j->special) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i < o->special.n; i++) j->special[j->n_special++] = o->special.v[i];
    for (int i = 0; i < 3; i++)
        if (roles[i]) j->special[j->n_special++] = roles[i];
    for (int i = 0; i < j->n_special; i++)
        if (!*j->special[i]) return tn_fail(e, TN_ARG, "a special token is empty");
    if (!o->eos && j->n_special) o->eos = j->special[0];
    return TN_OK;
}

static json_t *config_json(const train_options *o) {
    json_t *j = json_pack("{s:s,s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                          "clean_up_tokenization_spaces", 0);
    if (j && o->bos) json_object_set_new(j, "bos_token", json_string(o->bos));
    if (j && o->eos) json_object_set_new(j, "eos_token", json_string(o->eos));
    if (j && o->pad) json_object_set_new(j, "pad_token", json_string(o->pad));
    return j;
}

static tn_status save(job *j, json_t *model, bool nfc, tn_err *e) {
    const train_options *o = &j->o;
    json_t *file = NULL, *config = config_json(o);
    tn_tokenizer *t = NULL;
    tn_status st = config ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    if (st == TN_OK) st = tn_bpe_json(&file, model, o->pre, nfc, j->special, j->n_special, e);
    if (st == TN_OK) st = tn_tokenizer_from_json(&t, file, config, NULL, o->output_dir, e);
    if (st == TN_OK && o->chat_template) st = tn_chat_set(t, o->chat_template, e);
    if (st == TN_OK) st = tn_mkdirs(o->output_dir, e);
    if (st == TN_OK) st = tn_tokenizer_save(t, o->output_dir, e);
    json_decref(file);
    json_decref(config);
    tn_tokenizer_free(t);
    return st;
}

static tn_status train(job *j, bool nfc, tn_err *e) {
    const train_options *o = &j->o;
    json_t *model;
    tn_bpe_report r;
    tn_bpe_options how = {.vocab_size = (int)o->vocab_size,
                          .min_frequency = o->min_frequency,
                          .special = j->special,
                          .n_special = j->n_special,
                          .tick = tick,
                          .ctx = j};
    tn_progress_begin(&j->bar, "train-tokenizer", "tokens", (long)o->vocab_size, 0);
    TN_TRY(tn_bpe_train(&model, j->counts, &how, &r, e));
    tn_progress_end(&j->bar);
    tn_status st = save(j, model, nfc, e);
    json_decref(model);
    TN_TRY(st);
    tn_info("%lld words, %zu different; %d tokens, %d merges; %.2f bytes a token",
            (long long)r.words, tn_bpe_counts_words(j->counts), r.tokens, r.merges,
            r.encoded ? (double)r.bytes / (double)r.encoded : 0.0);
    if (r.tokens < o->vocab_size)
        tn_warn("the vocabulary has %d of %lld tokens: no pair is left that occurs %s", r.tokens,
                (long long)o->vocab_size, o->min_frequency > 1 ? "often enough" : "at all");
    tn_info("tokenizer written to %s", o->output_dir);
    return TN_OK;
}

static tn_status make_cutter(job *j, bool nfc, tn_err *e) {
    json_t *file;
    TN_TRY(tn_bpe_json(&file, NULL, j->o.pre, nfc, NULL, 0, e));
    tn_status st = tn_tokenizer_from_json(&j->cut, file, NULL, NULL, "--pre-tokenizer", e);
    json_decref(file);
    return st;
}

static tn_status work(job *j, tn_err *e) {
    const train_options *o = &j->o;
    if (!o->data.n) return tn_fail(e, TN_ARG, "--data is missing; give text or .jsonl files");
    if (!o->output_dir) return tn_fail(e, TN_ARG, "--output-dir is missing");
    tn_str there = TN_STR_INIT;
    tn_path_join(&there, o->output_dir, "tokenizer.json");
    bool taken = !o->overwrite && tn_exists(there.s);
    tn_str_free(&there);
    if (taken)
        return tn_fail(e, TN_STATE,
                       "%s has a tokenizer already; take another folder or say --overwrite",
                       o->output_dir);
    bool nfc =
        strcmp(o->normalizer, "auto") ? !strcmp(o->normalizer, "nfc") : !strcmp(o->pre, "qwen2");
    TN_TRY(list_special(j, e));
    TN_TRY(make_cutter(j, nfc, e));
    TN_TRY(tn_pool_new(&j->pool, (int)o->threads, e));
    TN_TRY(tn_bpe_counts_new(&j->counts, j->cut, j->pool, e));
    TN_TRY(read_data(j, e));
    if (!tn_bpe_counts_words(j->counts))
        return tn_fail(e, TN_FORMAT, "there is no text in the data");
    return train(j, nfc, e);
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    job j = {0};
    tn_opts_bind(opts, rows, &j.o);
    tn_status st = work(&j, e);
    tn_bpe_counts_free(j.counts);
    tn_tokenizer_free(j.cut);
    tn_pool_free(j.pool);
    tn_free(j.special);
    return st;
}

static const tn_opt_row *const tables[] = {rows, NULL};
const tn_verb tn_verb_train_tokenizer = {
    .name = "train-tokenizer",
    .stage = "Train",
    .summary = "a byte-level BPE tokenizer from texts",
    .details =
        "The merges are those of the `tokenizers` library's BpeTrainer on the same texts, "
        "one by one.\n\n"
        "  tenet train-tokenizer --data text.txt more.jsonl.gz --output-dir tok/ --vocab-size "
        "32000\n"
        "  tenet train-tokenizer --data chats.jsonl --output-dir tok/ --pre-tokenizer qwen2 "
        "--chat-template chatml \\\n"
        "      --special-tokens '<|endoftext|>' '<|im_start|>' '<|im_end|>' --eos-token "
        "'<|im_end|>'",
    .tables = tables,
    .run = run};
