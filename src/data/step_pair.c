#include "data/step_pair.h"
#include <string.h>

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Where the last occurrence of s[n] in `text` ends; 0: it has none. */
static size_t end_of_last(const tn_str *text, const char *s, size_t n) {
    for (size_t i = text->len + 1; i-- > 0;)
        if (i >= n && memcmp(text->s + i - n, s, n) == 0) return i;
    return 0;
}

/* The conversation with the text as its last message, up to the end of the text. */
static tn_status render_begun(const tn_tokenizer *t, const json_t *prompt, const char *text, size_t n, tn_str *out,
                              const char *where, tn_err *e) {
    tn_message *m = NULL, *all;
    size_t k = 0, from = 0, to = n;
    while (from < to && is_space(text[from])) from++;
    while (to > from && is_space(text[to - 1])) to--;
    TN_TRY(tn_messages_from_json(prompt, &m, &k, where, e));
    tn_status st = TN_OK;
    if (!(all = tn_realloc(m, k + 1, sizeof *m))) {
        tn_free(m);
        return tn_fail(e, TN_NOMEM, "%s: out of memory", where);
    }
    all[k] = (tn_message){"assistant", text, n};
    st = tn_chat_render(t, all, k + 1, false, out, NULL, e);
    tn_free(all);
    if (st != TN_OK) return tn_err_context(e, st, "%s", where);
    size_t end = end_of_last(out, text + from, to - from);
    if (end == 0)
        return tn_fail(
            e, TN_UNSUPPORTED,
            "%s: the chat template does not print an answer as it is, so that none can be gone on with; give "
            "\"prompt\" as text, or token ids",
            where);
    out->len = end;
    tn_str_add(out, text + to, n - to); /* white space that the template may have cut off */
    return out->oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", where) : TN_OK;
}

tn_status tn_encode_continued(const tn_tokenizer *t, const json_t *prompt, const char *text, size_t n, tn_ids *ids,
                              const char *where, tn_err *e) {
    size_t blank = 0;
    while (blank < n && is_space(text[blank])) blank++;
    bool string = json_is_string(prompt);
    if (blank == n || (!string && !tn_json_is_messages(prompt))) return tn_encode_prompt(t, prompt, ids, where, e);
    tn_str all = TN_STR_INIT;
    tn_status st = TN_OK;
    if (string) {
        tn_str_add(&all, json_string_value(prompt), json_string_length(prompt));
        tn_str_add(&all, text, n);
        if (all.oom) st = tn_fail(e, TN_NOMEM, "%s: out of memory", where);
    } else
        st = render_begun(t, prompt, text, n, &all, where, e);
    if (st == TN_OK) st = tn_encode(t, all.s, all.len, string, ids, NULL, e);
    tn_str_free(&all);
    return st;
}

static tn_status encode_with(const tn_tokenizer *t, const json_t *prompt, const json_t *prefix, const json_t *step,
                             tn_ids *ids, const char *where, tn_err *e) {
    tn_str s = TN_STR_INIT;
    tn_str_add(&s, json_string_value(prefix), json_string_length(prefix));
    tn_str_add(&s, json_string_value(step), json_string_length(step));
    tn_status st = s.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", where)
                         : tn_encode_continued(t, prompt, s.s, s.len, ids, where, e);
    tn_str_free(&s);
    return st;
}

static size_t common(const tn_ids *a, const tn_ids *b) {
    size_t n = a->n < b->n ? a->n : b->n, i = 0;
    while (i < n && a->v[i] == b->v[i]) i++;
    return i;
}

static tn_status append(tn_ids *to, const int32_t *v, size_t n, tn_err *e) {
    if (!TN_GROW(to->v, to->cap, to->n + n + 1)) return tn_fail(e, TN_NOMEM, "out of memory for %zu token ids", n);
    if (n) memcpy(to->v + to->n, v, n * sizeof *v);
    to->n += n;
    return TN_OK;
}

tn_status tn_encode_step_pair(const tn_tokenizer *t, const json_t *prompt, const json_t *prefix, const json_t *chosen,
                              const json_t *rejected, tn_ids *prompt_ids, tn_ids *chosen_ids, tn_ids *rejected_ids,
                              const char *where, tn_err *e) {
    tn_ids p = {0}, c = {0}, r = {0};
    tn_status st;
    TN_GO(tn_encode_continued(t, prompt, json_string_value(prefix), json_string_length(prefix), &p, where, e), done);
    TN_GO(encode_with(t, prompt, prefix, chosen, &c, where, e), done);
    TN_GO(encode_with(t, prompt, prefix, rejected, &r, where, e), done);
    size_t a = common(&p, &c), b = common(&p, &r), cut = a < b ? a : b;
    TN_GO(append(prompt_ids, p.v, cut, e), done);
    TN_GO(append(chosen_ids, c.v + cut, c.n - cut, e), done);
    st = append(rejected_ids, r.v + cut, r.n - cut, e);
done:
    tn_ids_free(&p);
    tn_ids_free(&c);
    tn_ids_free(&r);
    return st;
}

const json_t *tn_row_step_prefix(const json_t *row) {
    const json_t *prefix = json_object_get(row, "prefix");
    if (!prefix) prefix = json_object_get(row, "initial_reason_steps");
    bool whole = json_is_string(prefix) && json_object_get(row, "prompt") &&
                 json_is_string(json_object_get(row, "chosen")) && json_is_string(json_object_get(row, "rejected"));
    return whole ? prefix : NULL;
}
