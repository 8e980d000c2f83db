/* tenet chat: a conversation in the terminal, or line by line from standard input. */
#include "base/log.h"
#include "base/signals.h"
#include "data/encode.h"
#include "gen/gen.h"
#include "train/trainer.h"
#include <stdlib.h>
#include <string.h>

typedef struct chat_options {
    const char *model, *chat_template, *system;
    double temperature, top_p, min_p;
    int64_t max_new, max_length, top_k;
} chat_options;

#define AT(field) offsetof(chat_options, field)
static const tn_opt_row rows[] = {
    {"model", TN_OPT_STRING, AT(model), NULL, NULL, 0, 0, "model_name_or_path", "DIR",
     "Hugging Face folder with a chat template."},
    {"chat-template", TN_OPT_STRING, AT(chat_template), NULL, NULL, 0, 0, NULL, "NAME|FILE",
     "Override the checkpoint's chat template."},
    {"system", TN_OPT_STRING, AT(system), NULL, NULL, 0, 0, "system_prompt", "TEXT",
     "System message that conversations begin with."},
    {"temperature", TN_OPT_REAL, AT(temperature), "0.7", NULL, 0, 100, NULL, "X",
     "Sampling temperature; 0 is greedy."},
    {"top-k", TN_OPT_INT, AT(top_k), "0", NULL, 0, 0, NULL, "N",
     "Keep the N most probable tokens; 0: all."},
    {"top-p", TN_OPT_REAL, AT(top_p), "1", NULL, 0, 1, NULL, "X",
     "Keep the smallest set of tokens with this mass."},
    {"min-p", TN_OPT_REAL, AT(min_p), "0", NULL, 0, 1, NULL, "X",
     "Keep tokens with at least this share of the largest probability."},
    {"max-new-tokens", TN_OPT_INT, AT(max_new), "1024", NULL, 1, 1 << 20, "max_tokens", "N",
     "Longest answer."},
    {"max-length", TN_OPT_INT, AT(max_length), "4096", NULL, 2, 1 << 24, NULL, "N",
     "Longest conversation in tokens, answer included; never more than the model was made for."},
    TN_OPT_LAST};

typedef struct chat {
    chat_options o;
    tn_train_options machine;
    tn_backend *be;
    tn_tokenizer *tok;
    tn_model *model;
    tn_gen *gen;
    tn_lines *lines;
    tn_stream stream;
    tn_sampling how;
    tn_gen_sample answer;
    json_t *messages; /* [{"role", "content"}], a system message first if there is one */
    long answers;     /* drawn so far: the key of the next one */
    tn_str line, system;
    bool tty;
    tn_status st; /* of the streaming callback */
    tn_err *e;
} chat;

static const char commands[] =
    "/reset         begin again; the system message stays\n"
    "/system TEXT   set the system message and begin again; without TEXT: none\n"
    "/undo          take the last question and its answer back\n"
    "/save FILE     append the conversation to a JSONL file, as a row {\"messages\"}\n"
    "/temperature X sample at another temperature, 0: greedy\n"
    "/help          this list\n"
    "/quit          leave (also Ctrl-D)\n"
    "Ctrl-C stops an answer. A line that ends in a backslash goes on; // begins a line with a "
    "slash.\n";

/* ---- the list of messages ---- */

static tn_status add_message(chat *c, const char *role, const char *text, size_t n, tn_err *e) {
    json_t *content = json_stringn(text, n);
    if (!content) return tn_fail(e, TN_FORMAT, "the message is not valid UTF-8, or no memory");
    json_t *m = json_pack("{s:s,s:o}", "role", role, "content", content);
    return json_array_append_new(c->messages, m) ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
}

static bool last_is(const chat *c, const char *role) {
    size_t n = json_array_size(c->messages);
    const json_t *m = n ? json_array_get(c->messages, n - 1) : NULL;
    return m && !strcmp(json_string_value(json_object_get(m, "role")), role);
}

static void drop_last(chat *c) { json_array_remove(c->messages, json_array_size(c->messages) - 1); }

static tn_status begin(chat *c, tn_err *e) {
    json_array_clear(c->messages);
    if (c->system.oom) return tn_fail(e, TN_NOMEM, "no memory for the system message");
    return c->system.len ? add_message(c, "system", c->system.s, c->system.len, e) : TN_OK;
}

/* ---- answering ---- */

static void show(chat *c, bool last) {
    size_t from, n;
    if (c->st != TN_OK) return;
    c->st = tn_stream_next(&c->stream, c->tok, c->answer.ids, (size_t)c->answer.n, last, &from, &n,
                           c->e);
    if (c->st != TN_OK || !n) return;
    fwrite(c->stream.text.s + from, 1, n, stdout);
    fflush(stdout);
}

static void tick(void *ctx, long samples, long tokens) { show(ctx, samples > 0); }

static void tell_speed(const chat *c, int prompt, double seconds) {
    const char *dim = tn_colour(2, "dim"), *off = tn_colour(2, "reset");
    fprintf(stderr, "%s[%d tokens, %.1f a second; %ld of %d tokens of the prompt were cached]%s\n",
            dim, c->answer.n, seconds > 0 ? c->answer.n / seconds : 0, tn_gen_prompts_read(c->gen).cached,
            prompt, off);
}

/* The answer to the conversation so far, shown as it comes and added to it; an interrupted one as
 * far as it came. */
static tn_status answer(chat *c, tn_err *e) {
    tn_ids ids = {0};
    double t0 = tn_now();
    c->e = e;
    c->st = TN_OK;
    c->answer = (tn_gen_sample){0};
    tn_stream_begin(&c->stream);
    tn_status st = tn_encode_prompt(c->tok, c->messages, &ids, "the conversation", e);
    if (st == TN_OK) {
        tn_gen_request q = {.ids = ids.v, .n_ids = (int)ids.n, .n = 1, .key = (uint64_t)c->answers++};
        st = tn_gen_run(c->gen, &q, 1, &c->how, &c->answer, tick, c, e);
    }
    if (st == TN_INTERRUPTED) {
        tn_clear_stop();
        if (c->answer.n) st = TN_OK;
        show(c, true);
    }
    if (st == TN_OK) st = c->st;
    if (st == TN_OK) {
        putchar('\n');
        st = add_message(c, "assistant", c->stream.text.s, c->stream.text.len, e);
        if (c->tty && tn_is_tty(2)) tell_speed(c, (int)ids.n, tn_now() - t0);
    }
    tn_ids_free(&ids);
    return st;
}

/* ---- commands ---- */

static tn_status save(const chat *c, const char *path, tn_err *e) {
    tn_out *o;
    if (!*path) return tn_fail(e, TN_ARG, "/save needs a file's name");
    char *text = json_dumps(c->messages, 0);
    if (!text) return tn_fail(e, TN_NOMEM, "no memory for the conversation");
    tn_str row = TN_STR_INIT;
    tn_str_addf(&row, "{\"messages\": %s}\n", text);
    tn_status st = tn_out_open(&o, path, true, e);
    if (st == TN_OK) {
        st = row.oom ? tn_fail(e, TN_NOMEM, "no memory for the conversation")
                     : tn_out_write(o, row.s, row.len, e);
        st = tn_out_close(o, st, true, e);
    }
    free(text);
    tn_str_free(&row);
    return st;
}

static tn_status set_temperature(chat *c, const char *text, tn_err *e) {
    char *end;
    double t = strtod(text, &end);
    if (end == text || *end || !(t >= 0 && t <= 100))
        return tn_fail(e, TN_ARG, "/temperature needs a number from 0 to 100, found '%s'", text);
    c->how.temperature = t;
    return TN_OK;
}

static tn_status set_system(chat *c, const char *text, tn_err *e) {
    tn_str_clear(&c->system);
    tn_str_addz(&c->system, text);
    return begin(c, e);
}

static tn_status undo(chat *c, tn_err *e) {
    if (!last_is(c, "assistant")) return tn_fail(e, TN_ARG, "there is nothing to take back");
    drop_last(c);
    if (last_is(c, "user")) drop_last(c);
    return TN_OK;
}

static tn_status command(chat *c, const char *line, bool *quit, tn_err *e) {
    static const char *const names[] = {"/reset", "/system", "/undo", "/save",
                                        "/temperature", "/help", "/quit"};
    size_t n = strcspn(line, " ");
    const char *rest = line + n + strspn(line + n, " ");
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)n, line);
    if (!strcmp(name, "/reset")) return begin(c, e);
    if (!strcmp(name, "/system")) return set_system(c, rest, e);
    if (!strcmp(name, "/undo")) return undo(c, e);
    if (!strcmp(name, "/save")) return save(c, rest, e);
    if (!strcmp(name, "/temperature")) return set_temperature(c, rest, e);
    if (!strcmp(name, "/help")) {
        fputs(commands, stderr);
        return TN_OK;
    }
    *quit = !strcmp(name, "/quit") || !strcmp(name, "/exit");
    if (*quit) return TN_OK;
    const char *near = tn_nearest(name, names, sizeof names / sizeof *names);
    return tn_fail(e, TN_ARG, "there is no command %s%s%s%s (/help lists them)", name,
                   near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

/* ---- reading ---- */

/* At a terminal the prompt, and patience: the first Ctrl-C says how to leave, the second leaves. */
static void prompt(chat *c, const char *mark) {
    if (!c->tty) return;
    for (bool told = false;;) {
        printf("%s%s%s ", tn_colour(1, "bold"), mark, tn_colour(1, "reset"));
        fflush(stdout);
        tn_wait_input(0);
        if (!tn_stop_requested() || told) break;
        fputs("\nCtrl-C once more leaves; so do /quit and Ctrl-D\n", stderr);
        told = true;
    }
    tn_clear_stop();
}

/* A message of one or, with backslashes at their ends, several lines, in c->line. */
static tn_status read_message(chat *c, bool *end, tn_err *e) {
    const char *line;
    size_t n;
    bool more = true;
    tn_str_clear(&c->line);
    for (const char *mark = ">"; more; mark = "...") {
        prompt(c, mark);
        if (!c->lines) TN_TRY(tn_lines_open(&c->lines, "-", (size_t)1 << 26, e));
        TN_TRY(tn_lines_next(c->lines, &line, &n, e));
        *end = !line && !c->line.len;
        if (!line) break;
        more = n && line[n - 1] == '\\';
        tn_str_add(&c->line, line, more ? n - 1 : n);
        if (more) tn_str_addc(&c->line, '\n');
    }
    return c->line.oom ? tn_fail(e, TN_NOMEM, "no memory for a message") : TN_OK;
}

static tn_status one_turn(chat *c, bool *quit, tn_err *e) {
    const char *s = c->line.s;
    if (!c->line.len) return TN_OK;
    if (*s == '/' && s[1] != '/') return command(c, s, quit, e);
    size_t skip = *s == '/';
    TN_TRY(add_message(c, "user", s + skip, c->line.len - skip, e));
    tn_status st = answer(c, e);
    if (st != TN_OK) drop_last(c); /* the question that could not be answered */
    return st;
}

static tn_status converse(chat *c, tn_err *e) {
    bool end = false, quit = false;
    TN_TRY(set_system(c, c->o.system ? c->o.system : "", e));
    while (!quit) {
        TN_TRY(read_message(c, &end, e));
        if (end) break;
        tn_status st = one_turn(c, &quit, e);
        if (st != TN_OK && !c->tty) return st;
        if (st != TN_OK) tn_log_error(e); /* a person can go on */
    }
    if (c->tty && end) putchar('\n');
    return TN_OK;
}

static tn_status work(chat *c, tn_err *e) {
    const chat_options *o = &c->o;
    if (!o->model) return tn_fail(e, TN_ARG, "--model is missing; give a Hugging Face folder");
    TN_TRY(tn_backend_from_options(&c->be, &c->machine, e));
    TN_TRY(tn_tokenizer_load(&c->tok, o->model, e));
    if (o->chat_template) TN_TRY(tn_chat_set(c->tok, o->chat_template, e));
    if (!tn_chat_name(c->tok))
        return tn_fail(e, TN_ARG,
                       "%s has no chat template; give one with --chat-template NAME or FILE, or "
                       "use `tenet generate`",
                       o->model);
    TN_TRY(tn_model_load(&c->model, o->model, c->be, &(tn_load){.frozen = true}, e));
    if (c->model->no_lm_head)
        return tn_fail(e, TN_STATE, "%s is a reward model; it scores, it does not answer",
                       o->model);
    int64_t length = o->max_length;
    if (length > c->model->desc.max_pos) length = c->model->desc.max_pos;
    TN_TRY(tn_gen_new(&c->gen, c->model, 1, (int)length, e));
    TN_TRY(tn_gen_keep(c->gen, 0, e));
    c->how = (tn_sampling){.temperature = o->temperature,
                           .top_k = (int)o->top_k,
                           .top_p = o->top_p,
                           .min_p = o->min_p,
                           .max_new = (int)o->max_new,
                           .seed = (uint64_t)c->machine.seed};
    tn_gen_stops(&c->how, c->model, c->tok);
    c->messages = json_array();
    if (!c->messages) return tn_fail(e, TN_NOMEM, "out of memory");
    if (c->tty)
        tn_info("%s, %.1fM parameters, template %s, up to %lld tokens; /help lists commands",
                c->model->desc.family, 1e-6 * (double)tn_desc_params(&c->model->desc),
                tn_chat_name(c->tok), (long long)length);
    return converse(c, e);
}

static tn_status run(const tn_opts *opts, tn_err *e) {
    chat c = {
        .stream = TN_STREAM_INIT, .line = TN_STR_INIT, .system = TN_STR_INIT, .tty = tn_is_tty(0)};
    tn_opts_bind(opts, rows, &c.o);
    tn_opts_bind(opts, tn_machine_option_rows, &c.machine);
    tn_status st = work(&c, e);
    tn_lines_close(c.lines);
    tn_stream_free(&c.stream);
    tn_str_free(&c.line);
    tn_str_free(&c.system);
    json_decref(c.messages);
    tn_gen_free(c.gen);
    tn_model_free(c.model);
    tn_tokenizer_free(c.tok);
    tn_backend_free(c.be);
    return st;
}

static const tn_opt_row *const tables[] = {rows, tn_machine_option_rows, NULL};
const tn_verb tn_verb_chat = {
    .name = "chat",
    .stage = "Use",
    .summary = "a conversation with a model",
    .details =
        "Answers appear as they are sampled. An answer is to the bit what `tenet generate` "
        "gives for the same messages,\n"
        "options and seed (the k-th answer: as row k of its input); what the conversation "
        "had before is not computed\n"
        "again. Lines that begin with a slash are commands: /help. Without a terminal, every "
        "line of standard input is\n"
        "a message, and only the answers are written.\n\n"
        "  tenet chat --model ppo/\n"
        "  tenet chat --model ppo/ --system 'You are brief.' --temperature 0\n"
        "  printf 'Hello\\nAnd now?\\n' | tenet chat --model ppo/ --seed 3",
    .tables = tables,
    .run = run};
