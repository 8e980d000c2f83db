#include "data/step_cut.h"
#include <string.h>

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Nothing but white space and separators? */
static bool blank(const char *s, const char *separator) {
    size_t k = strlen(separator);
    while (*s) {
        if (strncmp(s, separator, k) == 0)
            s += k;
        else if (is_space(*s))
            s++;
        else
            return false;
    }
    return true;
}

static tn_status push(tn_ids *to, int32_t v, tn_err *e) {
    if (!TN_GROW(to->v, to->cap, to->n + 1)) return tn_fail(e, TN_NOMEM, "out of memory for steps");
    to->v[to->n++] = v;
    return TN_OK;
}

/* The piece that ends before token `at`: a step, or more of the last one (before the first one: of that to come). */
static tn_status end_piece(tn_step_cut *c, int at, tn_err *e) {
    if (!blank(c->text.s, c->separator)) return push(&c->end, at, e);
    if (c->end.n) c->end.v[c->end.n - 1] = at;
    return TN_OK;
}

tn_status tn_step_cut_run(tn_step_cut *c, const int32_t *ids, int n, tn_err *e) {
    int from = 0;
    c->end.n = 0;
    tn_str_clear(&c->text);
    for (int i = 0; i < n; i++) {
        tn_str_clear(&c->text);
        TN_TRY(tn_decode(c->tok, ids + from, (size_t)(i + 1 - from), true, &c->text, e));
        if (c->text.oom) return tn_fail(e, TN_NOMEM, "out of memory");
        bool found = strstr(c->text.s, c->separator) != NULL;
        if (!found && i < n - 1) continue;
        TN_TRY(end_piece(c, i + 1, e));
        from = i + 1;
        tn_str_clear(&c->text);
    }
    return TN_OK;
}

tn_status tn_step_text(const tn_tokenizer *tok, const char *separator, const int32_t *ids, int from, int to, bool bare,
                       tn_str *out, tn_err *e) {
    size_t k = strlen(separator), begin = 0;
    tn_str_clear(out);
    TN_TRY(tn_decode(tok, ids + from, (size_t)(to - from), true, out, e));
    if (out->oom) return tn_fail(e, TN_NOMEM, "out of memory");
    if (!bare) return TN_OK;
    for (bool more = true; more;) {
        more = false;
        while (out->len && is_space(out->s[out->len - 1])) out->len--, more = true;
        if (out->len >= k && memcmp(out->s + out->len - k, separator, k) == 0) out->len -= k, more = true;
    }
    while (begin < out->len && is_space(out->s[begin])) begin++;
    if (begin) memmove(out->s, out->s + begin, out->len - begin);
    out->len -= begin;
    if (out->cap) out->s[out->len] = 0;
    return TN_OK;
}

void tn_step_cut_free(tn_step_cut *c) {
    tn_str_free(&c->text);
    tn_ids_free(&c->end);
}
