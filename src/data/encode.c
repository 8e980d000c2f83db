#include "data/encode.h"
#include <string.h>

bool tn_json_is_messages(const json_t *v) {
    if (!json_is_array(v) || json_array_size(v) == 0) return false;
    const json_t *first = json_array_get(v, 0);
    return json_is_object(first) &&
           (json_object_get(first, "role") || json_object_get(first, "from"));
}

static tn_status encode_conversation(const tn_tokenizer *t, const json_t *a, const json_t *b,
                                     bool generation_prompt, tn_ids *ids, uint8_t **mask,
                                     const char *where, tn_err *e) {
    json_t *all = json_array();
    if (!all) return tn_fail(e, TN_NOMEM, "%s: out of memory", where);
    size_t i;
    json_t *m;
    json_array_foreach(a, i, m) json_array_append(all, m);
    if (b) json_array_foreach(b, i, m) json_array_append(all, m);
    tn_message *msg = NULL;
    size_t n = 0;
    tn_status st = tn_messages_from_json(all, &msg, &n, where, e);
    if (st == TN_OK) st = tn_chat_encode(t, msg, n, generation_prompt, ids, mask, e);
    if (st != TN_OK) tn_err_context(e, st, "%s", where);
    tn_free(msg);
    json_decref(all);
    return st;
}

/* The text of the end-of-sequence token, "" when the tokenizer has none. */
static const char *eos_text(const tn_tokenizer *t, size_t *n) {
    int id = tn_tokenizer_eos(t);
    *n = 0;
    return id < 0 ? "" : tn_token_text(t, id, n);
}

static bool ends_with(const char *s, size_t n, const char *tail, size_t k) {
    return n >= k && memcmp(s + n - k, tail, k) == 0;
}

tn_status tn_encode_text(const tn_tokenizer *t, const char *s, size_t n, bool eos, tn_ids *ids,
                         tn_err *e) {
    size_t k = 0;
    const char *tail = eos ? eos_text(t, &k) : "";
    if (!k || ends_with(s, n, tail, k)) return tn_encode(t, s, n, true, ids, NULL, e);
    tn_str b = TN_STR_INIT;
    tn_str_add(&b, s, n);
    tn_str_add(&b, tail, k);
    tn_status st = b.oom ? tn_fail(e, TN_NOMEM, "out of memory for a text of %zu bytes", n)
                         : tn_encode(t, b.s, b.len, true, ids, NULL, e);
    tn_str_free(&b);
    return st;
}

tn_status tn_encode_messages(const tn_tokenizer *t, const json_t *messages, tn_ids *ids,
                             uint8_t **mask, const char *where, tn_err *e) {
    return encode_conversation(t, messages, NULL, false, ids, mask, where, e);
}

tn_status tn_encode_prompt(const tn_tokenizer *t, const json_t *prompt, tn_ids *ids,
                           const char *where, tn_err *e) {
    if (json_is_string(prompt))
        return tn_encode(t, json_string_value(prompt), json_string_length(prompt), true, ids, NULL,
                         e);
    if (tn_json_is_messages(prompt))
        return encode_conversation(t, prompt, NULL, true, ids, NULL, where, e);
    return tn_fail(e, TN_FORMAT,
                   "%s: \"prompt\" must be a string or a list of messages "
                   "[{\"role\":...,\"content\":...}, ...]",
                   where);
}

/* Ids of prompt + completion as one text or conversation, with the end of sequence. */
static tn_status encode_joined(const tn_tokenizer *t, const json_t *prompt,
                               const json_t *completion, tn_ids *ids, const char *where,
                               tn_err *e) {
    if (!json_is_string(prompt))
        return encode_conversation(t, prompt, completion, false, ids, NULL, where, e);
    tn_str b = TN_STR_INIT;
    tn_str_add(&b, json_string_value(prompt), json_string_length(prompt));
    tn_str_add(&b, json_string_value(completion), json_string_length(completion));
    size_t k;
    const char *tail = eos_text(t, &k);
    if (k && !ends_with(json_string_value(completion), json_string_length(completion), tail, k))
        tn_str_add(&b, tail, k);
    tn_status st = b.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", where)
                         : tn_encode(t, b.s, b.len, true, ids, NULL, e);
    tn_str_free(&b);
    return st;
}

static size_t common_prefix(const tn_ids *a, const tn_ids *b) {
    size_t n = a->n < b->n ? a->n : b->n, i = 0;
    while (i < n && a->v[i] == b->v[i]) i++;
    return i;
}

static tn_status append_ids(tn_ids *to, const int32_t *v, size_t n, tn_err *e) {
    if (!TN_GROW(to->v, to->cap, to->n + n))
        return tn_fail(e, TN_NOMEM, "out of memory for %zu token ids", n);
    if (n) memcpy(to->v + to->n, v, n * sizeof *v);
    to->n += n;
    return TN_OK;
}

static tn_status check_kinds(const json_t *prompt, const json_t *c, const char *name,
                             const char *where, tn_err *e) {
    bool text = json_is_string(prompt), ok = text ? json_is_string(c) : tn_json_is_messages(c);
    if (!text && !tn_json_is_messages(prompt) &&
        !(json_is_array(prompt) && json_array_size(prompt) == 0))
        return tn_fail(e, TN_FORMAT, "%s: \"prompt\" must be a string or a list of messages",
                       where);
    if (!ok)
        return tn_fail(e, TN_FORMAT, "%s: \"prompt\" is %s, so \"%s\" must be %s too", where,
                       text ? "a string" : "a list of messages", name,
                       text ? "a string" : "a list of messages");
    return TN_OK;
}

/* Completion alone, as rollouts see it: its text without the tokenizer's leading special tokens. */
static tn_status encode_forced(const tn_tokenizer *t, const json_t *prompt,
                               const json_t *completion, tn_ids *out, const char *where,
                               tn_err *e) {
    if (json_is_string(completion)) {
        size_t n = json_string_length(completion), k;
        const char *s = json_string_value(completion), *tail = eos_text(t, &k);
        TN_TRY(tn_encode(t, s, n, false, out, NULL, e));
        if (k && !ends_with(s, n, tail, k)) {
            int32_t id = tn_tokenizer_eos(t);
            TN_TRY(append_ids(out, &id, 1, e));
        }
        return TN_OK;
    }
    /* A conversation: what the template adds after the prompt with its generation prompt. */
    tn_ids p = {0}, all = {0};
    tn_status st;
    TN_GO(encode_conversation(t, prompt, NULL, true, &p, NULL, where, e), done);
    TN_GO(encode_joined(t, prompt, completion, &all, where, e), done);
    size_t cut = common_prefix(&p, &all);
    st = append_ids(out, all.v + cut, all.n - cut, e);
done:
    tn_ids_free(&p);
    tn_ids_free(&all);
    return st;
}

tn_status tn_encode_completion(const tn_tokenizer *t, const json_t *prompt,
                               const json_t *completion, tn_seam seam, tn_ids *ids, size_t *split,
                               const char *where, tn_err *e) {
    TN_TRY(check_kinds(prompt, completion, "completion", where, e));
    size_t base = ids->n;
    if (seam == TN_SEAM_FORCE) {
        TN_TRY(tn_encode_prompt(t, prompt, ids, where, e));
        *split = ids->n - base;
        return encode_forced(t, prompt, completion, ids, where, e);
    }
    tn_ids p = {0}, all = {0};
    tn_status st;
    TN_GO(tn_encode_prompt(t, prompt, &p, where, e), done);
    TN_GO(encode_joined(t, prompt, completion, &all, where, e), done);
    *split = common_prefix(&p, &all);
    st = append_ids(ids, all.v, all.n, e);
done:
    tn_ids_free(&p);
    tn_ids_free(&all);
    return st;
}

tn_status tn_encode_pair(const tn_tokenizer *t, const json_t *prompt, const json_t *chosen,
                         const json_t *rejected, tn_seam seam, tn_ids *prompt_ids,
                         tn_ids *chosen_ids, tn_ids *rejected_ids, const char *where, tn_err *e) {
    TN_TRY(check_kinds(prompt, chosen, "chosen", where, e));
    TN_TRY(check_kinds(prompt, rejected, "rejected", where, e));
    bool empty_prompt = json_is_array(prompt) && json_array_size(prompt) == 0;
    if (seam == TN_SEAM_FORCE) {
        if (!empty_prompt) TN_TRY(tn_encode_prompt(t, prompt, prompt_ids, where, e));
        TN_TRY(encode_forced(t, prompt, chosen, chosen_ids, where, e));
        return encode_forced(t, prompt, rejected, rejected_ids, where, e);
    }
    tn_ids p = {0}, c = {0}, r = {0};
    tn_status st = TN_OK;
    if (!empty_prompt) TN_GO(tn_encode_prompt(t, prompt, &p, where, e), done);
    TN_GO(encode_joined(t, prompt, chosen, &c, where, e), done);
    TN_GO(encode_joined(t, prompt, rejected, &r, where, e), done);
    size_t a = common_prefix(&p, &c), b = common_prefix(&p, &r), cut = a < b ? a : b;
    TN_GO(append_ids(prompt_ids, p.v, cut, e), done);
    TN_GO(append_ids(chosen_ids, c.v + cut, c.n - cut, e), done);
    st = append_ids(rejected_ids, r.v + cut, r.n - cut, e);
done:
    tn_ids_free(&p);
    tn_ids_free(&c);
    tn_ids_free(&r);
    return st;
}

/* Length in bytes of the common prefix of two UTF-8 strings, at a character boundary; when they
 * differ after a blank the blank goes to the completions (TRL). */
static size_t common_text(const char *a, size_t na, const char *b, size_t nb) {
    size_t n = na < nb ? na : nb, i = 0;
    while (i < n && a[i] == b[i]) i++;
    bool differ = i < n;
    if (!differ && i > 0) i--; /* one is a prefix of the other: TRL leaves the last character out */
    while (i > 0 && i < n && ((unsigned char)a[i] & 0xC0) == 0x80) i--;
    if (differ && i > 0 && a[i - 1] == ' ') i--;
    return i;
}

tn_status tn_extract_prompt(const json_t *chosen, const json_t *rejected, json_t **prompt,
                            json_t **c, json_t **r, const char *where, tn_err *e) {
    *prompt = *c = *r = NULL;
    if (json_is_string(chosen) && json_is_string(rejected)) {
        const char *a = json_string_value(chosen), *b = json_string_value(rejected);
        size_t na = json_string_length(chosen), nb = json_string_length(rejected);
        size_t k = common_text(a, na, b, nb);
        *prompt = json_stringn(a, k);
        *c = json_stringn(a + k, na - k);
        *r = json_stringn(b + k, nb - k);
    } else if (json_is_array(chosen) && json_is_array(rejected)) {
        size_t na = json_array_size(chosen), nb = json_array_size(rejected), k = 0;
        while (k < na && k < nb &&
               json_equal(json_array_get(chosen, k), json_array_get(rejected, k)))
            k++;
        if (k > 0 && (k == na || k == nb)) k--; /* as for strings */
        *prompt = json_array();
        *c = json_array();
        *r = json_array();
        for (size_t i = 0; i < k; i++) json_array_append(*prompt, json_array_get(chosen, i));
        for (size_t i = k; i < na; i++) json_array_append(*c, json_array_get(chosen, i));
        for (size_t i = k; i < nb; i++) json_array_append(*r, json_array_get(rejected, i));
    } else {
        return tn_fail(e, TN_FORMAT,
                       "%s: \"chosen\" and \"rejected\" must both be strings or both be lists "
                       "of messages",
                       where);
    }
    if (*prompt && *c && *r) return TN_OK;
    json_decref(*prompt), json_decref(*c), json_decref(*r);
    *prompt = *c = *r = NULL;
    return tn_fail(e, TN_NOMEM, "%s: out of memory", where);
}

/* Where turns begin: in HH-RLHF's transcripts, and in those with headings (DSP's), which need no empty line at the
 * start. */
static const char *const turn_mark[2][2] = {{"\n\nHuman:", "\n\nAssistant:"},
                                            {"\n\n## Human:\n", "\n\n## Assistant:\n"}};

static bool headings(const char *s) { return strncmp(s, turn_mark[1][0] + 2, strlen(turn_mark[1][0]) - 2) == 0; }

/* The next turn at or after s; *who 0/1, *body past the mark and one blank. */
static const char *next_turn(const char *s, const char *const mark[2], int *who, const char **body) {
    for (; (s = strstr(s, "\n\n")); s++)
        for (int k = 0; k < 2; k++)
            if (strncmp(s, mark[k], strlen(mark[k])) == 0) {
                *who = k;
                *body = s + strlen(mark[k]);
                if (**body == ' ') ++*body;
                return s;
            }
    return NULL;
}

json_t *tn_transcript_messages(const char *s) {
    static const char *const role[2] = {"user", "assistant"};
    const bool headed = headings(s);
    const char *const *mark = turn_mark[headed];
    int who = 0, next_who;
    const char *body = s + strlen(mark[0]) - 2, *next_body, *at = headed ? s : next_turn(s, mark, &who, &body);
    if (!at || at != s || who != 0) return NULL;
    json_t *list = json_array();
    while (at && list) {
        const char *next = next_turn(body, mark, &next_who, &next_body);
        size_t n = next ? (size_t)(next - body) : strlen(body);
        json_t *text = json_stringn(body, n);
        if (!text || json_array_append_new(
                         list, json_pack("{s:s,s:o}", "role", role[who], "content", text))) {
            json_decref(list);
            return NULL;
        }
        at = next;
        who = next_who;
        body = next_body;
    }
    return list;
}

const char *tn_transcript_answer(const char *s) {
    const char *const *mark = turn_mark[headings(s)], *body, *last = NULL;
    for (int who; (s = next_turn(s, mark, &who, &body)); s = body)
        if (who == 1) last = body;
    return last;
}
