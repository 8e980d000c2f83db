/* Conversations to text and ids, with the bytes that an assistant turn trains.
 *
 * The template runs in the interpreter of jinja.h, which says for every byte of its output from
 * which message it came. A turn's span is what the template printed of the assistant's content,
 * and the end-of-turn token that follows it. A template with {% generation %} says itself. */
#include "text/chat.h"
#include "text/jinja.h"
#include "text/tok.h"
#include "text/unicode.h"
#include <string.h>

struct tn_chat {
    tn_jinja *jinja; /* NULL: not understood, see `why` */
    const char *name;
    tn_err why;
};

/* Stands in for an empty answer to see where the template would print it: U+10FFFD, for private use. */
static const char stand_in[] = "\xF4\x8F\xBF\xBD";

void tn_chat_free(struct tn_chat *c) {
    if (!c) return;
    tn_jinja_free(c->jinja);
    tn_free(c);
}

const char *tn_chat_name(const tn_tokenizer *t) { return t->chat ? t->chat->name : NULL; }

/* A family, for people to read; nothing depends on it. */
static const char *family(const char *text) {
    static const struct {
        const char *mark, *name;
    } marks[] = {{"<|im_start|>", "chatml"}, {"<|start_header_id|>", "llama3"},
                 {"<<SYS>>", "llama2"},      {"[INST]", "mistral"},
                 {"<|user|>", "zephyr"},     {"' User: '", "world"}};
    for (size_t k = 0; k < sizeof marks / sizeof *marks; k++)
        if (strstr(text, marks[k].mark)) return marks[k].name;
    return "custom";
}

/* ---- spans ---- */

static tn_status add_span(tn_spans *s, size_t a, size_t b, tn_err *e) {
    if (s->n && s->v[2 * s->n - 1] == a) {
        s->v[2 * s->n - 1] = (uint32_t)b;
        return TN_OK;
    } /* continues the last */
    if (!TN_GROW(s->v, s->cap, 2 * s->n + 2)) return tn_fail(e, TN_NOMEM, "no memory for spans");
    s->v[2 * s->n] = (uint32_t)a;
    s->v[2 * s->n + 1] = (uint32_t)b;
    s->n++;
    return TN_OK;
}

static bool stops(const tn_tokenizer *t, int id) {
    for (size_t k = 0; k < t->nstop; k++)
        if (t->stop[k] == id) return true;
    return false;
}

/* Length of the longest token among those that can end a turn, at s; *id which. After blanks only
 * a token that generation stops at counts. */
static size_t turn_token(const tn_tokenizer *t, const char *s, size_t n, bool after_blank,
                         int *id) {
    size_t best = 0;
    for (size_t k = 0; k < t->nadded; k++) {
        const tn_added *d = &t->added[k];
        if (d->n <= best || d->n > n || memcmp(s, d->content, d->n)) continue;
        if (after_blank ? !stops(t, d->id) && d->id != t->eos
                        : !d->special && d->id != t->eos && !stops(t, d->id))
            continue;
        best = d->n;
        *id = d->id;
    }
    const json_t *eos = json_object_get(t->special_names, "eos_token");
    size_t len = eos ? json_string_length(eos) : 0;
    if (len > best && len <= n && !memcmp(s, json_string_value(eos), len)) {
        best = len;
        *id = t->eos;
    }
    return best;
}

static size_t turn_end(const tn_tokenizer *t, const char *s, size_t n, size_t at, int *id) {
    size_t k = at;
    *id = -1;
    size_t len = turn_token(t, s + at, n - at, false, id);
    if (len) return at + len;
    while (k < n && k < at + 16 && strchr(" \n\r\t", s[k]) && s[k]) k++;
    if (k > at) len = turn_token(t, s + k, n - k, true, id);
    return len ? k + len : at;
}

typedef struct rendering {
    const char *s;
    size_t n;
    const uint16_t *tag;
} rendering;

/* First and last printed byte of message k, when nothing of another message stands between. */
static tn_status message_spans(const tn_tokenizer *t, const rendering *r, size_t k, tn_spans *out,
                               int *stop, tn_err *e) {
    size_t from = 0, end = 0, i = 0;
    bool open = false;
    for (;; i++) {
        uint16_t m = i < r->n ? r->tag[i] & TN_TAG_MESSAGE : 0;
        if (m == k + 1) {
            if (!open) from = i;
            open = true;
            end = i + 1;
        } else if (open && (m || i >= r->n)) {
            TN_TRY(add_span(out, from, turn_end(t, r->s, r->n, end, stop), e));
            open = false;
        }
        if (i >= r->n) return TN_OK;
    }
}

static tn_status generation_spans(const rendering *r, tn_spans *out, tn_err *e) {
    for (size_t i = 0; i < r->n;) {
        size_t a = i;
        while (i < r->n && r->tag[i] & TN_TAG_GENERATION) i++;
        if (i > a)
            TN_TRY(add_span(out, a, i, e));
        else
            i++;
    }
    return TN_OK;
}

static bool blank(const tn_message *m) {
    for (size_t k = 0; k < m->content_len; k++)
        if (!strchr(" \t\r\n\f\v", m->content[k]) || !m->content[k]) return false;
    return true;
}

static bool printed(const rendering *r, size_t k) {
    for (size_t i = 0; i < r->n; i++)
        if ((r->tag[i] & TN_TAG_MESSAGE) == k + 1) return true;
    return false;
}

/* Where the template would print answers of which nothing is left: by a second rendering with
 * stand-ins, which must differ in nothing else. places[k]: offset or SIZE_MAX. */
static tn_status empty_places(const tn_jinja *j, const tn_jinja_args *a, const rendering *r,
                              const bool *empty, size_t *places, tn_err *e) {
    tn_message *m = tn_malloc(a->nmessage * sizeof *m);
    tn_str text = TN_STR_INIT;
    uint16_t *tag = NULL;
    if (!m) return tn_fail(e, TN_NOMEM, "no memory for a conversation");
    tn_jinja_args b = *a;
    for (size_t k = 0; k < a->nmessage; k++) {
        m[k] = a->message[k];
        places[k] = SIZE_MAX;
        if (empty[k]) {
            m[k].content = stand_in;
            m[k].content_len = sizeof stand_in - 1;
        }
    }
    b.message = m;
    tn_err ignored = {0};
    if (tn_jinja_render(j, &b, &text, &tag, &ignored) == TN_OK) {
        size_t at = 0, i = 0;
        for (; i < text.len; i++) {
            uint16_t k = tag[i] & TN_TAG_MESSAGE;
            bool in = k && k <= a->nmessage && empty[k - 1];
            if (in && places[k - 1] == SIZE_MAX) places[k - 1] = at;
            if (in) continue;
            if (at >= r->n || r->s[at] != text.s[i]) break;
            at++;
        }
        if (i < text.len || at != r->n)
            for (size_t k = 0; k < a->nmessage; k++) places[k] = SIZE_MAX;
    }
    tn_free(m);
    tn_free(tag);
    tn_str_free(&text);
    return TN_OK;
}

/* Spans of all assistant messages, in the order of the text. */
static tn_status content_spans(const tn_tokenizer *t, const tn_jinja_args *a, const rendering *r,
                               tn_spans *out, int *stop, tn_err *e) {
    size_t n = a->nmessage;
    bool *empty = tn_calloc(n, sizeof *empty), any = false;
    size_t *places = tn_calloc(n, sizeof *places);
    tn_status st = empty && places ? TN_OK : tn_fail(e, TN_NOMEM, "no memory for a conversation");
    for (size_t k = 0; k < n && st == TN_OK; k++) {
        if (strcmp(a->message[k].role, "assistant") || printed(r, k)) continue;
        if (!blank(&a->message[k]))
            st = tn_fail(
                e, TN_UNSUPPORTED,
                "the chat template does not print the assistant's message %zu, so its tokens "
                "cannot be "
                "marked; use a template that prints every answer, or one with {%% generation %%}",
                k);
        any = empty[k] = true;
    }
    if (st == TN_OK && any) st = empty_places(t->chat->jinja, a, r, empty, places, e);
    for (size_t k = 0; k < n && st == TN_OK; k++) {
        if (strcmp(a->message[k].role, "assistant")) continue;
        if (!empty[k]) {
            st = message_spans(t, r, k, out, stop, e);
        } else if (places[k] != SIZE_MAX) {
            size_t end = turn_end(t, r->s, r->n, places[k], stop);
            if (end > places[k]) st = add_span(out, places[k], end, e);
        }
    }
    tn_free(empty);
    tn_free(places);
    return st;
}

/* ---- the contract ---- */

static tn_status render(const tn_tokenizer *t, const tn_message *m, size_t n,
                        bool generation_prompt, tn_str *out, tn_spans *spans, int *stop,
                        tn_err *e) {
    if (!t->chat)
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: no chat template; give one with --chat-template NAME or FILE (names: "
                       "chatml, llama2, "
                       "llama3, mistral, world, zephyr)",
                       t->where);
    if (!t->chat->jinja) return tn_fail(e, t->chat->why.code, "%s: %s", t->where, t->chat->why.msg);
    if (n == 0) return tn_fail(e, TN_ARG, "a conversation without messages");
    tn_jinja_args a = {.message = m,
                       .nmessage = n,
                       .generation_prompt = generation_prompt,
                       .names = t->special_names};
    uint16_t *tag = NULL;
    size_t from = out->len;
    TN_TRY(tn_jinja_render(t->chat->jinja, &a, out, spans ? &tag : NULL, e));
    if (!spans) return TN_OK;
    rendering r = {out->s + from, out->len - from, tag};
    size_t first = spans->n;
    tn_status st = tn_jinja_has_generation(t->chat->jinja)
                       ? generation_spans(&r, spans, e)
                       : content_spans(t, &a, &r, spans, stop, e);
    for (size_t k = 2 * first; k < 2 * spans->n && st == TN_OK; k++) spans->v[k] += (uint32_t)from;
    tn_free(tag);
    return st;
}

tn_status tn_chat_render(const tn_tokenizer *t, const tn_message *m, size_t n,
                         bool generation_prompt, tn_str *out, tn_spans *spans, tn_err *e) {
    int stop;
    return render(t, m, n, generation_prompt, out, spans, &stop, e);
}

tn_status tn_chat_encode(const tn_tokenizer *t, const tn_message *m, size_t n,
                         bool generation_prompt, tn_ids *ids, uint8_t **mask, tn_err *e) {
    tn_str text = TN_STR_INIT;
    tn_spans spans = {0}, at = {0};
    tn_ids got = {0};
    uint8_t *bits = NULL;
    tn_status st;
    TN_GO(tn_chat_render(t, m, n, generation_prompt, &text, mask ? &spans : NULL, e), done);
    TN_GO(tn_encode(t, text.s ? text.s : "", text.len, false, &got, mask ? &at : NULL, e), done);
    if (!TN_GROW(ids->v, ids->cap, ids->n + got.n) || !(bits = tn_calloc(got.n, 1))) {
        st = tn_fail(e, TN_NOMEM, "no memory for %zu ids", got.n);
        goto done;
    }
    for (size_t i = 0; i < got.n; i++) {
        ids->v[ids->n + i] = got.v[i];
        for (size_t k = 0; k < spans.n; k++) /* a token that reaches into a span belongs to it */
            if (at.v[2 * i] < spans.v[2 * k + 1] && at.v[2 * i + 1] > spans.v[2 * k]) bits[i] = 1;
    }
    ids->n += got.n;
    if (mask) {
        *mask = bits;
        bits = NULL;
    }
done:
    tn_free(bits);
    tn_str_free(&text);
    tn_spans_free(&spans);
    tn_spans_free(&at);
    tn_ids_free(&got);
    return st;
}

/* The token that ends a turn, found by rendering a small conversation, is one that generation stops at. */
static tn_status learn_stop(tn_tokenizer *t, tn_err *e) {
    const tn_message probe[] = {{"user", "a", 1}, {"assistant", "b", 1}};
    tn_str text = TN_STR_INIT;
    tn_spans spans = {0};
    tn_err ignored = {0};
    int id = -1;
    tn_status st = render(t, probe, 2, false, &text, &spans, &id, &ignored);
    if (st == TN_OK && id < 0 && spans.n) { /* with {% generation %} the token is inside */
        size_t a = spans.v[0], b = spans.v[1];
        for (; a < b && id < 0; a++) turn_token(t, text.s + a, b - a, false, &id);
    }
    tn_str_free(&text);
    tn_spans_free(&spans);
    return id >= 0 ? tn_stop_add(t, id, e) : TN_OK;
}

tn_status tn_chat_prepare(tn_tokenizer *t, tn_err *e) {
    struct tn_chat *c = tn_calloc(1, sizeof *c);
    if (!c) return tn_fail(e, TN_NOMEM, "no memory for a chat template");
    tn_status st = tn_jinja_compile(&c->jinja, t->chat_template, strlen(t->chat_template), &c->why);
    if (st == TN_NOMEM) {
        tn_chat_free(c);
        return tn_fail(e, TN_NOMEM, "no memory for a chat template");
    }
    c->name = family(t->chat_template);
    tn_chat_free(t->chat);
    t->chat = c;
    return st == TN_OK ? learn_stop(t, e) : TN_OK;
}

tn_status tn_chat_set(tn_tokenizer *t, const char *name_or_path, tn_err *e) {
    const char *text = tn_chat_builtin(name_or_path);
    tn_str file = TN_STR_INIT;
    if (!text && !tn_exists(name_or_path)) {
        size_t n = 0;
        while (tn_chat_names[n]) n++;
        const char *near = tn_nearest(name_or_path, tn_chat_names, n);
        return tn_fail(e, TN_ARG,
                       "chat template \"%s\": no such file, and no template of that name%s%s "
                       "(known: chatml, llama2, llama3, "
                       "mistral, world, zephyr)",
                       name_or_path, near ? "; did you mean " : "", near ? near : "");
    }
    if (!text) TN_TRY(tn_read_file(name_or_path, &file, 4 << 20, e));
    char *copy = tn_strdup(text ? text : file.s ? file.s : "");
    tn_str_free(&file);
    if (!copy) return tn_fail(e, TN_NOMEM, "no memory for a chat template");
    tn_free(t->chat_template);
    t->chat_template = copy;
    t->chat_changed = true;
    TN_TRY(tn_chat_prepare(t, e));
    if (!t->chat->jinja)
        return tn_fail(e, t->chat->why.code, "%s: %s", name_or_path, t->chat->why.msg);
    return TN_OK;
}
