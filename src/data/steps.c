#include "data/steps.h"
#include <string.h>

void tn_steps_clear(tn_steps *s) { s->prompt.n = s->ids.n = s->end.n = 0; }
void tn_steps_free(tn_steps *s) {
    tn_ids_free(&s->prompt);
    tn_ids_free(&s->ids);
    tn_ids_free(&s->end);
}

static tn_status push(tn_ids *to, const int32_t *v, size_t n, tn_err *e) {
    if (!TN_GROW(to->v, to->cap, to->n + n + 1)) return tn_fail(e, TN_NOMEM, "out of memory");
    if (n) memcpy(to->v + to->n, v, n * sizeof *v);
    to->n += n;
    return TN_OK;
}

/* The step that ends here; one without a token cannot be judged. */
static tn_status end_step(tn_steps *s, size_t begin, const char *where, tn_err *e) {
    int32_t last = (int32_t)s->ids.n - 1;
    if (s->ids.n == begin) return tn_fail(e, TN_FORMAT, "%s: step %zu has no tokens", where, s->end.n + 1);
    return push(&s->end, &last, 1, e);
}

static tn_status encode_prompt(const tn_tokenizer *t, const json_t *prompt, int max, tn_ids *out, const char *where,
                               tn_err *e) {
    int32_t bos = tn_tokenizer_bos(t);
    if (!json_is_string(prompt)) {
        TN_TRY(tn_encode_prompt(t, prompt, out, where, e));
    } else {
        if (bos >= 0) TN_TRY(push(out, &bos, 1, e));
        TN_TRY(tn_encode(t, json_string_value(prompt), json_string_length(prompt), false, out, NULL, e));
    }
    if (max > 0 && out->n > (size_t)max) {
        memmove(out->v, out->v + out->n - (size_t)max, (size_t)max * sizeof *out->v);
        out->n = (size_t)max;
    }
    return TN_OK;
}

static tn_status check_list(const json_t *steps, const char *where, tn_err *e) {
    if (json_is_array(steps) && json_array_size(steps) > 0) return TN_OK;
    return tn_fail(e, TN_FORMAT, "%s: expected a list of at least one step", where);
}

tn_status tn_encode_steps(const tn_tokenizer *t, const json_t *prompt, const json_t *steps, const tn_steps_how *how,
                          tn_steps *out, const char *where, tn_err *e) {
    tn_steps_clear(out);
    TN_TRY(check_list(steps, where, e));
    TN_TRY(encode_prompt(t, prompt, how->max_prompt, &out->prompt, where, e));
    for (size_t i = 0; i < json_array_size(steps); i++) {
        const json_t *s = json_array_get(steps, i);
        size_t begin = out->ids.n;
        if (!json_is_string(s)) return tn_fail(e, TN_FORMAT, "%s: step %zu is no string", where, i + 1);
        TN_TRY(tn_encode(t, json_string_value(s), json_string_length(s), false, &out->ids, NULL, e));
        TN_TRY(tn_encode(t, how->separator, strlen(how->separator), false, &out->ids, NULL, e));
        TN_TRY(end_step(out, begin, where, e));
    }
    return TN_OK;
}

tn_status tn_steps_of_ids(const json_t *steps, int vocab, tn_steps *out, const char *where, tn_err *e) {
    out->ids.n = out->end.n = 0;
    TN_TRY(check_list(steps, where, e));
    for (size_t i = 0; i < json_array_size(steps); i++) {
        int32_t *v = NULL;
        size_t n = 0, begin = out->ids.n;
        TN_TRY(tn_json_ids(json_array_get(steps, i), vocab, &v, &n, where, e));
        tn_status st = push(&out->ids, v, n, e);
        tn_free(v);
        TN_TRY(st);
        TN_TRY(end_step(out, begin, where, e));
    }
    return TN_OK;
}
