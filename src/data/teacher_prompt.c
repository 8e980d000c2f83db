#include "data/teacher_prompt.h"
#include "data/encode.h"
#include "data/reader.h"
#include <string.h>

static const char prompt_mark[] = "{prompt}", context_mark[] = "{privileged_context}";

tn_status tn_teacher_template_check(const char *template, tn_err *e) {
    if (strstr(template, prompt_mark) && strstr(template, context_mark)) return TN_OK;
    return tn_fail(e, TN_ARG, "--teacher-prompt-template '%s' must have both %s and %s", template, prompt_mark,
                   context_mark);
}

/* ---- prompts ---- */

static const char *content_of(const json_t *message) {
    const json_t *text = json_object_get(message, "content");
    return json_string_value(text ? text : json_object_get(message, "value"));
}

static tn_status text_of(const json_t *v, tn_str *out, const char *what, const char *where, tn_err *e) {
    tn_str_clear(out);
    if (json_is_string(v))
        tn_str_add(out, json_string_value(v), json_string_length(v));
    else if (!tn_json_is_messages(v))
        return tn_fail(e, TN_FORMAT, "%s: %s must be a string or a list of messages", where, what);
    for (size_t i = 0; i < json_array_size(v); i++) {
        const char *s = content_of(json_array_get(v, i));
        if (!s) return tn_fail(e, TN_FORMAT, "%s: %s has a message without text", where, what);
        if (*s && out->len) tn_str_addc(out, '\n');
        tn_str_addz(out, s);
    }
    return out->oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", where) : TN_OK;
}

void tn_fill_template(const char *template, const tn_fill *f, int n, tn_str *out) {
    for (const char *s = template; *s;) {
        int k = 0;
        while (k < n && strncmp(s, f[k].mark, strlen(f[k].mark)) != 0) k++;
        if (k < n)
            tn_str_addz(out, f[k].text);
        else
            tn_str_addc(out, *s);
        s += k < n ? strlen(f[k].mark) : 1;
    }
}

/* The template with the prompt's text and the others. */
static void fill(const char *template, const char *prompt, const tn_fill *more, int n, tn_str *out) {
    tn_fill all[1 + TN_FILL_MAX] = {{prompt_mark, prompt}};
    for (int k = 0; k < n; k++) all[1 + k] = more[k];
    tn_fill_template(template, all, 1 + n, out);
}

/* The conversation with another text in its last turn, which is a user's. */
static tn_status replace_last(const json_t *prompt, const char *template, const tn_fill *more, int n_more, json_t **out,
                              const char *where, tn_err *e) {
    size_t n = json_array_size(prompt);
    const json_t *last = json_array_get(prompt, n - 1);
    const char *role = json_string_value(json_object_get(last, "role")), *text = content_of(last);
    if (!role) role = json_string_value(json_object_get(last, "from"));
    if (!role || !text || (strcmp(role, "user") != 0 && strcmp(role, "human") != 0))
        return tn_fail(e, TN_FORMAT,
                       "%s: a prompt that gets a privileged context must end with a user's message, not %s's", where,
                       role ? role : "nobody");
    tn_str all = TN_STR_INIT;
    fill(template, text, more, n_more, &all);
    json_t *list = json_copy((json_t *)prompt),
           *turn = all.oom ? NULL : json_pack("{s:s,s:s%}", "role", "user", "content", all.s, all.len);
    tn_str_free(&all);
    if (list && turn && json_array_set_new(list, n - 1, turn) == 0) {
        *out = list;
        return TN_OK;
    }
    json_decref(list);
    return tn_fail(e, TN_NOMEM, "%s: out of memory", where);
}

tn_status tn_fill_prompt(const char *template, const json_t *prompt, const tn_fill *more, int n, json_t **out,
                         const char *where, tn_err *e) {
    tn_str all = TN_STR_INIT;
    *out = NULL;
    if (tn_json_is_messages(prompt)) return replace_last(prompt, template, more, n, out, where, e);
    if (!json_is_string(prompt))
        return tn_fail(e, TN_FORMAT, "%s: \"prompt\" must be a string or a list of messages", where);
    fill(template, json_string_value(prompt), more, n, &all);
    *out = all.oom ? NULL : json_stringn(all.s, all.len);
    tn_str_free(&all);
    return *out ? TN_OK : tn_fail(e, TN_NOMEM, "%s: out of memory", where);
}

tn_status tn_teacher_prompt(const char *template, const json_t *prompt, const json_t *context, json_t **out,
                            const char *where, tn_err *e) {
    tn_str text = TN_STR_INIT;
    *out = NULL;
    tn_status st = text_of(context, &text, "the privileged context", where, e);
    if (st == TN_OK) st = tn_fill_prompt(template, prompt, &(tn_fill){context_mark, text.s ? text.s : ""}, 1, out, where, e);
    tn_str_free(&text);
    return st;
}

/* ---- rows ---- */

/* An example of r->a (prompt) and r->b (answer), and its other side, whose prompt is r->c. */
static tn_status both_sides(tn_reader *r, tn_err *e) {
    tn_dataset *d = r->d;
    size_t at = d->n;
    tn_example *x, *y = tn_arena_zalloc(d->arena, 1, sizeof *y);
    if (!y) return tn_reader_out_of_memory(r, e);
    if (r->a.n == 0 || r->c.n == 0) return tn_fail(e, TN_FORMAT, "%s: a prompt has no tokens", r->where);
    TN_TRY(tn_reader_set_prompt(r, y, r->c.v, r->c.n, e));
    TN_TRY(tn_reader_new_example(r, 1, &x, e));
    TN_TRY(tn_reader_set_prompt(r, x, r->a.v, r->a.n, e));
    TN_TRY(tn_reader_set_response(r, x, 0, r->b.v, r->b.n, NULL, e));
    y->n_response = 1, y->response = x->response, y->file = x->file, y->line = x->line, y->row = x->row;
    x->teacher = y;
    tn_reader_finish(r, x);
    if (d->n > at) d->hash = tn_hash64(y->prompt, (size_t)y->n_prompt * sizeof *y->prompt, d->hash);
    return TN_OK;
}

static tn_status taught_text(tn_reader *r, const json_t *row, const json_t *prompt, tn_err *e) {
    const json_t *context = json_object_get(row, "privileged_context"), *answer = json_object_get(row, "completion");
    if (!context) context = json_object_get(row, "chosen");
    if (!answer) answer = json_object_get(row, "rejected");
    json_t *said = NULL, *taught = NULL;
    size_t split = 0;
    tn_str text = TN_STR_INIT;
    tn_status st;
    if (!context && !answer)
        return tn_fail(
            e, TN_FORMAT,
            "%s: a row of a teacher that knows more needs \"privileged_context\", or \"completion\" as a demonstration",
            r->where);
    TN_TRY(tn_reader_need_tokenizer(r, e));
    TN_GO(tn_teacher_prompt(r->o->teacher_template, prompt, context ? context : answer, &taught, r->where, e), done);
    if (answer && json_is_string(answer) && !json_is_string(prompt))
        said = json_pack("[{s:s,s:O}]", "role", "assistant", "content", answer);
    else if (answer)
        said = json_incref((json_t *)answer);
    else { /* it stands for an answer where rows' own are asked for */
        TN_GO(text_of(context, &text, "the privileged context", r->where, e), done);
        said = json_is_string(prompt) ? json_stringn(text.s, text.len)
                                      : json_pack("[{s:s,s:s%}]", "role", "assistant", "content", text.s, text.len);
    }
    r->a.n = r->b.n = r->c.n = 0;
    TN_GO(tn_encode_completion(r->tok, prompt, said, r->o->seam, &r->a, &split, r->where, e), done);
    if (!TN_GROW(r->b.v, r->b.cap, r->a.n - split + 1)) TN_GO(tn_reader_out_of_memory(r, e), done);
    r->b.n = r->a.n - split, r->a.n = split;
    memcpy(r->b.v, r->a.v + split, r->b.n * sizeof *r->b.v);
    TN_GO(tn_encode_prompt(r->tok, taught, &r->c, r->where, e), done);
    st = both_sides(r, e);
done:
    json_decref(said);
    json_decref(taught);
    tn_str_free(&text);
    return st;
}

tn_status tn_read_taught(tn_reader *r, const json_t *row, tn_err *e) {
    const json_t *prompt = json_object_get(row, "prompt");
    if (!prompt || json_object_get(row, "teacher_prompt_ids")) {
        if (!json_object_get(row, "prompt_ids"))
            return tn_fail(e, TN_FORMAT,
                           "%s: a row of a teacher that knows more needs \"prompt\" and \"privileged_context\" (or "
                           "\"completion\")",
                           r->where);
        TN_TRY(tn_reader_get_ids(r, row, "prompt_ids", &r->a, e));
        TN_TRY(tn_reader_get_ids(r, row, "ids", &r->b, e));
        TN_TRY(tn_reader_get_ids(r, row, "teacher_prompt_ids", &r->c, e));
        return both_sides(r, e);
    }
    return taught_text(r, row, prompt, e);
}

tn_status tn_gather_teachers(tn_dataset *d, tn_err *e) {
    tn_dataset *t = d->teachers = tn_calloc(1, sizeof *t);
    if (t) t->ex = tn_calloc(d->n, sizeof *t->ex);
    if (!t || !t->ex) return tn_fail(e, TN_NOMEM, "out of memory for %zu teachers' prompts", d->n);
    t->n = d->n;
    for (size_t i = 0; i < d->n; i++) {
        t->ex[i] = *d->ex[i].teacher;
        d->ex[i].teacher = &t->ex[i];
    }
    return TN_OK;
}
