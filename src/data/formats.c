#include "data/formats.h"
#include "data/encode.h"
#include <string.h>

/* Fields of one format: a prompt, with what may follow it; an answer, a pair or two outputs between which `choice`
 * decides; whether the answer is good. The first format whose fields a row has is taken. */
typedef struct format {
    const char *prompt, *join, *more;
    const char *answer, *better, *worse, *choice, *label;
} format;

static const format formats[] = {
    {"instruction", "\n", "input", .better = "chosen", .worse = "rejected"},
    {"instruction", "\n", "input", .better = "output_1", .worse = "output_2", .choice = "preference"},
    {"instruction", "\n", "input", .answer = "output"},
    {"instruction", "\n", "input", .answer = "response"},
    {"input", .better = "output_1", .worse = "output_2", .choice = "label"},
    {"question", .answer = "answer"},
    {"problem", .answer = "solution"},
    {"problem", .answer = "answer"},
    {"Body", " ", "Question", .answer = "Answer"},
    {"prompt", .answer = "response", .label = "is_safe"},
    {"prompt", .answer = "response"},
    {"context", .answer = "response", .label = "label"},
    {"context", .answer = "generation", .label = "reward"},
    {"context", .answer = "continuation"},
    {"user_query", .answer = "chatgpt_response"},
    {.prompt = "question"},
    {.prompt = "problem"},
    {"instruction", "\n", "input", .answer = NULL},
    {0},
};

static json_t *text_of(const json_t *row, const char *name) {
    json_t *v = json_object_get(row, name);
    char s[40];
    if (json_is_string(v)) return json_incref(v);
    if (!json_is_number(v)) return NULL;
    snprintf(s, sizeof s, "%.12g", json_number_value(v));
    return json_string(s);
}

/* DiaSafety's words as true and false. Readers judge anything else. */
static json_t *label_of(json_t *v) {
    const char *s = json_string_value(v);
    bool word = s && (strcmp(s, "Safe") == 0 || strcmp(s, "Unsafe") == 0);
    return word ? json_boolean(*s == 'S') : json_incref(v);
}

/* Takes v over; false when there is none. */
static bool put(json_t *row, const char *name, json_t *v) { return v && json_object_set_new(row, name, v) == 0; }

static bool put_both(json_t *row, const char *a, json_t *va, const char *b, json_t *vb) {
    bool ok = put(row, a, va);
    return put(row, b, vb) && ok;
}

static bool is_text(const json_t *row, const char *name) {
    const json_t *v = json_object_get(row, name);
    return !name || json_is_string(v) || json_is_number(v);
}
static bool has(const json_t *row, const char *name) { return !name || json_object_get(row, name); }

static bool matches(const json_t *row, const format *f) {
    return json_is_string(json_object_get(row, f->prompt)) && is_text(row, f->answer) && is_text(row, f->better) &&
           is_text(row, f->worse) && has(row, f->choice) && has(row, f->label);
}

static bool put_prompt(json_t *to, const json_t *row, const format *f) {
    const char *more = f->more ? json_string_value(json_object_get(row, f->more)) : NULL;
    tn_str text = TN_STR_INIT;
    tn_str_addz(&text, json_string_value(json_object_get(row, f->prompt)));
    if (more && *more) tn_str_addz(&text, f->join), tn_str_addz(&text, more);
    bool ok = !text.oom && put(to, "prompt", json_stringn(text.s ? text.s : "", text.len));
    tn_str_free(&text);
    return ok;
}

/* Where neither of two outputs is better: a ranking that says nothing, which readers count as such. */
static bool put_pair(json_t *to, const json_t *row, const format *f) {
    json_t *a = text_of(row, f->better), *b = text_of(row, f->worse);
    double first = f->choice ? json_number_value(json_object_get(row, f->choice)) : 1;
    if (first == 1) return put_both(to, "chosen", a, "rejected", b);
    if (first == 2) return put_both(to, "chosen", b, "rejected", a);
    return put(to, "responses", json_pack("[o,o]", a, b)) && put(to, "rank", json_pack("[i,i]", 1, 1));
}

static bool apply(json_t *to, const json_t *row, const format *f) {
    if (f->better && !put_pair(to, row, f)) return false;
    if (f->answer && !put(to, "completion", text_of(row, f->answer))) return false;
    if (f->label && !put(to, "label", label_of(json_object_get(row, f->label)))) return false;
    return put_prompt(to, row, f);
}

/* ---- conversations ---- */

static bool says(const json_t *message, const char *who) {
    const json_t *role = json_object_get(message, "role");
    return json_is_string(role) && strcmp(json_string_value(role), who) == 0;
}

/* {"messages", "label"}: the last message is what is judged. */
static bool split_last(json_t *row, const json_t *messages) {
    size_t n = json_array_size(messages);
    if (n < 2) return true;
    json_t *prompt = json_copy((json_t *)(uintptr_t)messages), *last = json_array_get(messages, n - 1);
    return put(row, "prompt", prompt) && json_array_remove(prompt, n - 1) == 0 &&
           put(row, "completion", json_pack("[O]", last));
}

/* {"prompt": a text, "chosen": [messages], ...}: as TRL does, the conversations decide what the prompt is. */
static tn_status whole_conversations(json_t *row, json_t *chosen, json_t *rejected, tn_err *e) {
    json_t *p = NULL, *c = NULL, *r = NULL;
    if (says(json_array_get(chosen, 0), "assistant")) {
        json_t *turn = json_pack("[{s:s,s:O}]", "role", "user", "content", json_object_get(row, "prompt"));
        return put(row, "prompt", turn) ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    }
    TN_TRY(tn_extract_prompt(chosen, rejected, &p, &c, &r, "a pair of conversations", e));
    bool ok = put(row, "prompt", p);
    return put_both(row, "chosen", c, "rejected", r) && ok ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static bool put_turn(json_t *row, const char *name) {
    json_t *v = json_object_get(row, name);
    if (!json_is_string(v)) return true;
    return put(row, name, json_pack("[{s:s,s:O}]", "role", "assistant", "content", v));
}

/* A prompt that is a text, and texts that answer it, as turns. */
static bool as_turns(json_t *row) {
    json_t *prompt = json_object_get(row, "prompt"), *m = tn_transcript_messages(json_string_value(prompt));
    json_t *last = json_array_get(m, json_array_size(m) - 1);
    bool begun = says(last, "assistant") && json_string_length(json_object_get(last, "content")) == 0;
    if (begun) json_array_remove(m, json_array_size(m) - 1); /* "Assistant:", where the answer begins */
    if (!m) m = json_pack("[{s:s,s:O}]", "role", "user", "content", prompt);
    bool steps = json_object_get(row, "prefix") || json_object_get(row, "initial_reason_steps");
    if (steps) return put(row, "prompt", m); /* what goes on with an answer is no turn */
    static const char *const answers[] = {"completion", "chosen", "rejected", "response_0", "response_1"};
    bool ok = put(row, "prompt", m);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) ok = ok && put_turn(row, answers[i]);
    return ok;
}

/* MT-Bench's {"turns"}: the first one is the prompt. */
static bool first_turn(json_t *row) {
    json_t *first = json_array_get(json_object_get(row, "turns"), 0);
    return json_object_get(row, "prompt") || !json_is_string(first) || json_object_set(row, "prompt", first) == 0;
}

static tn_status conversations(json_t *row, bool chat, tn_err *e) {
    bool ok = true;
    if (!first_turn(row)) return tn_fail(e, TN_NOMEM, "out of memory");
    json_t *prompt = json_object_get(row, "prompt"), *list = json_object_get(row, "conversations"),
           *chosen = json_object_get(row, "chosen"), *rejected = json_object_get(row, "rejected");
    if (!list) list = json_object_get(row, "messages");
    if (!prompt && tn_json_is_messages(list) && json_is_object(chosen) && json_is_object(rejected))
        ok = json_object_set(row, "prompt", list) == 0;
    else if (!prompt && tn_json_is_messages(list) && json_object_get(row, "label"))
        ok = split_last(row, list);
    else if (json_is_string(prompt) && tn_json_is_messages(chosen) && tn_json_is_messages(rejected))
        TN_TRY(whole_conversations(row, chosen, rejected, e));
    else if (chat && json_is_string(prompt))
        ok = as_turns(row);
    return ok ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

tn_status tn_row_canonical(const json_t *row, bool chat, json_t **out, tn_err *e) {
    static const char *const ready[] = {"completion", "messages", "conversations", "text", "ids", "prompt_ids"};
    const format *f = formats;
    bool known = false;
    for (size_t i = 0; i < sizeof ready / sizeof *ready; i++) known |= json_object_get(row, ready[i]) != NULL;
    while (f->prompt && !known && !matches(row, f)) f++;
    *out = json_copy((json_t *)(uintptr_t)row);
    if (!*out || (f->prompt && !known && !apply(*out, row, f))) {
        json_decref(*out), *out = NULL;
        return tn_fail(e, TN_NOMEM, "out of memory");
    }
    tn_status st = conversations(*out, chat, e);
    if (st == TN_OK) st = tn_json_check("a row", e); /* a copy that has lost a member looks whole */
    if (st != TN_OK) json_decref(*out), *out = NULL;
    return st;
}
