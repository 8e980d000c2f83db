/* Rows whose steps are labelled: TRL's stepwise supervision. */
#include "data/reader.h"
#include <string.h>

/* Labels as numbers in [0, 1], one a step; *from: the first step that is trained on. */
static tn_status labels_of(const tn_reader *r, const json_t *row, size_t n, double *out, tn_err *e) {
    const json_t *list = json_object_get(row, "labels");
    if (!json_is_array(list) || json_array_size(list) != n)
        return tn_fail(e, TN_FORMAT, "%s: \"labels\" must be a list of %zu, one a step", r->where, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        out[i] = json_is_boolean(v) ? json_is_true(v) : json_number_value(v);
        if ((!json_is_boolean(v) && !json_is_number(v)) || !(out[i] >= 0 && out[i] <= 1))
            return tn_fail(e, TN_FORMAT, "%s: \"labels\"[%zu] must be true, false or a number from 0 to 1", r->where, i);
    }
    return TN_OK;
}

static tn_status example_of(tn_reader *r, const json_t *row, const tn_steps *s, tn_err *e) {
    tn_dataset *d = r->d;
    tn_example *x;
    size_t n = s->end.n, first = r->o->last_step_only ? n - 1 : 0, at = d->n;
    double *label = tn_arena_alloc(d->arena, n * sizeof *label);
    uint8_t *mask = tn_arena_zalloc(d->arena, s->ids.n, 1);
    if (!label || !mask) return tn_reader_out_of_memory(r, e);
    TN_TRY(labels_of(r, row, n, label, e));
    for (size_t i = first; i < n; i++) mask[s->end.v[i]] = 1;
    TN_TRY(tn_reader_new_example(r, 1, &x, e));
    TN_TRY(tn_reader_set_prompt(r, x, s->prompt.v, s->prompt.n, e));
    TN_TRY(tn_reader_set_response(r, x, 0, s->ids.v, s->ids.n, mask, e));
    x->ret = label + first;
    tn_reader_finish(r, x);
    if (d->n > at) d->hash = tn_hash64(label + first, (size_t)tn_example_trained(x) * sizeof *label, d->hash);
    return TN_OK;
}

tn_status tn_read_steps(tn_reader *r, const json_t *row, tn_err *e) {
    tn_steps *s = &r->steps;
    const json_t *prompt = json_object_get(row, "prompt"), *list = json_object_get(row, "completions");
    char where[700];
    snprintf(where, sizeof where, "%s: \"%s\"", r->where, list ? "completions" : "step_ids");
    if (json_object_get(row, "step_ids")) {
        TN_TRY(tn_reader_get_ids(r, row, "prompt_ids", &s->prompt, e));
        TN_TRY(tn_steps_of_ids(json_object_get(row, "step_ids"), r->o->vocab, s, where, e));
    } else {
        if (!prompt || !list)
            return tn_fail(e, TN_FORMAT,
                           "%s: a row of steps needs \"prompt\", \"completions\" and \"labels\" (or \"prompt_ids\", "
                           "\"step_ids\" and \"labels\")",
                           r->where);
        TN_TRY(tn_reader_need_tokenizer(r, e));
        TN_TRY(tn_encode_steps(r->tok, prompt, list, &r->o->steps, s, where, e));
    }
    if (s->prompt.n == 0) return tn_fail(e, TN_FORMAT, "%s: the prompt has no tokens", r->where);
    return example_of(r, row, s, e);
}
