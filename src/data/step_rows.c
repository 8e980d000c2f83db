#include "data/step_rows.h"
#include "data/step_pair.h"
#include <string.h>

void tn_labelled_steps_free(tn_labelled_steps *l) {
    tn_ids_free(&l->ids);
    tn_ids_free(&l->wrong);
}

static tn_status append(tn_ids *to, const int32_t *v, size_t n, tn_err *e) {
    if (!TN_GROW(to->v, to->cap, to->n + n + 1)) return tn_fail(e, TN_NOMEM, "out of memory for %zu token ids", n);
    if (n) memcpy(to->v + to->n, v, n * sizeof *v);
    to->n += n;
    return TN_OK;
}

static size_t common(const int32_t *a, size_t na, const int32_t *b, size_t nb) {
    size_t n = na < nb ? na : nb, i = 0;
    while (i < n && a[i] == b[i]) i++;
    return i;
}

static tn_status find_wrong(const json_t *steps, const json_t *labels, int *first, const char *where, tn_err *e) {
    size_t n = json_array_size(steps);
    *first = -1;
    if (n == 0)
        return tn_fail(e, TN_FORMAT,
                       "%s: a row of labelled steps needs \"completions\" (or \"step_ids\") and \"labels\"", where);
    if (json_array_size(labels) != n)
        return tn_fail(e, TN_FORMAT, "%s: \"labels\" must be a list of %zu, one a step", where, n);
    for (size_t i = n; i-- > 0;) {
        const json_t *v = json_array_get(labels, i);
        double p = json_is_boolean(v) ? json_is_true(v) : json_number_value(v);
        if ((!json_is_boolean(v) && !json_is_number(v)) || !(p >= 0 && p <= 1))
            return tn_fail(e, TN_FORMAT, "%s: \"labels\"[%zu] must be true, false or a number from 0 to 1", where, i);
        if (p < 0.5) *first = (int)i;
    }
    return TN_OK;
}

static tn_status read_ids(tn_labelled_steps *l, const tn_example *x, const json_t *steps, int vocab, const char *where,
                          tn_err *e) {
    TN_TRY(append(&l->ids, x->prompt, (size_t)x->n_prompt, e));
    l->n_prompt = x->n_prompt;
    for (int i = 0; i <= l->first_wrong; i++) {
        int32_t *v = NULL;
        size_t n = 0;
        TN_TRY(tn_json_ids(json_array_get(steps, (size_t)i), vocab, &v, &n, where, e));
        tn_status st = append(i < l->first_wrong ? &l->ids : &l->wrong, v, n, e);
        tn_free(v);
        TN_TRY(st);
    }
    return l->wrong.n ? TN_OK : tn_fail(e, TN_FORMAT, "%s: step %d has no tokens", where, l->first_wrong + 1);
}

/* The texts of the first n steps, each with its separator. */
static tn_status text_of(const json_t *steps, int n, const char *separator, tn_str *out, const char *where, tn_err *e) {
    tn_str_clear(out);
    for (int i = 0; i < n; i++) {
        const json_t *s = json_array_get(steps, (size_t)i);
        if (!json_is_string(s)) return tn_fail(e, TN_FORMAT, "%s: step %d is no string", where, i + 1);
        tn_str_add(out, json_string_value(s), json_string_length(s));
        tn_str_addz(out, separator);
    }
    return out->oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", where) : TN_OK;
}

static tn_status read_text(tn_labelled_steps *l, const tn_example *x, const json_t *steps, const tn_tokenizer *tok,
                           const char *separator, const char *where, tn_err *e) {
    const json_t *prompt = json_object_get(x->meta, "prompt");
    tn_str before = TN_STR_INIT, with = TN_STR_INIT;
    tn_ids all = {0};
    tn_status st;
    TN_GO(text_of(steps, l->first_wrong, separator, &before, where, e), done);
    TN_GO(text_of(steps, l->first_wrong + 1, separator, &with, where, e), done);
    TN_GO(tn_encode_continued(tok, prompt, before.s, before.len, &l->ids, where, e), done);
    TN_GO(tn_encode_continued(tok, prompt, with.s, with.len, &all, where, e), done);
    size_t cut = common(l->ids.v, l->ids.n, all.v, all.n);
    l->ids.n = cut;
    l->n_prompt = (int)common(x->prompt, (size_t)x->n_prompt, l->ids.v, cut);
    st = append(&l->wrong, all.v + cut, all.n - cut, e);
    if (st == TN_OK && l->wrong.n == 0)
        st = tn_fail(e, TN_FORMAT, "%s: step %d has no tokens", where, l->first_wrong + 1);
done:
    tn_str_free(&before);
    tn_str_free(&with);
    tn_ids_free(&all);
    return st;
}

tn_status tn_labelled_steps_read(tn_labelled_steps *l, const tn_dataset *d, const tn_example *x,
                                 const tn_tokenizer *tok, const char *separator, int vocab, tn_err *e) {
    const json_t *ids = json_object_get(x->meta, "step_ids"),
                 *steps = ids ? ids : json_object_get(x->meta, "completions");
    char where[600];
    snprintf(where, sizeof where, "%.560s:%d", d->path[x->file], x->line);
    *l = (tn_labelled_steps){.first_wrong = -1};
    TN_TRY(find_wrong(steps, json_object_get(x->meta, "labels"), &l->first_wrong, where, e));
    if (l->first_wrong < 0) return TN_OK;
    TN_TRY(ids ? read_ids(l, x, ids, vocab, where, e) : read_text(l, x, steps, tok, separator, where, e));
    for (size_t i = 0; i < l->ids.n + l->wrong.n; i++)
        if ((i < l->ids.n ? l->ids.v[i] : l->wrong.v[i - l->ids.n]) >= vocab)
            return tn_fail(e, TN_STATE, "%s: the tokenizer gives ids that the model's %d tokens do not have", where,
                           vocab);
    return TN_OK;
}
