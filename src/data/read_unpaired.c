/* Single responses labelled desirable or not (KTO): rows, the order of those that were pairs, and
 * mismatched pairs. */
#include "data/encode.h"
#include "data/reader.h"
#include <string.h>

static tn_status single(tn_reader *r, const tn_ids *prompt, const tn_ids *response, bool label,
                        bool of_pair, tn_err *e) {
    tn_example *x;
    TN_TRY(tn_reader_new_example(r, 1, &x, e));
    x->label = label;
    x->pair = of_pair;
    TN_TRY(tn_reader_set_prompt(r, x, prompt->v, prompt->n, e));
    TN_TRY(tn_reader_set_response(r, x, 0, response->v, response->n, NULL, e));
    tn_reader_finish(r, x);
    return TN_OK;
}

static tn_status single_text(tn_reader *r, const json_t *prompt, const json_t *completion,
                             bool label, bool of_pair, tn_err *e) {
    size_t split;
    r->a.n = 0;
    TN_TRY(
        tn_encode_completion(r->tok, prompt, completion, r->o->seam, &r->a, &split, r->where, e));
    return single(r, &(tn_ids){r->a.v, split, 0}, &(tn_ids){r->a.v + split, r->a.n - split, 0},
                  label, of_pair, e);
}

/* true, false, 1 or 0. */
static tn_status label_of(const tn_reader *r, const json_t *row, bool *label, tn_err *e) {
    const json_t *v = json_object_get(row, "label");
    double x = json_is_boolean(v) ? json_is_true(v) : json_number_value(v);
    *label = x == 1;
    if ((json_is_boolean(v) || json_is_number(v)) && (x == 0 || x == 1)) return TN_OK;
    return tn_fail(e, TN_FORMAT, "%s: \"label\" must be true (a desirable response) or false",
                   r->where);
}

static tn_status pair(tn_reader *r, const json_t *row, tn_err *e) {
    json_t *p, *c, *j;
    if (json_object_get(row, "chosen_ids")) {
        TN_TRY(tn_reader_get_ids(r, row, "prompt_ids", &r->a, e));
        TN_TRY(tn_reader_get_ids(r, row, "chosen_ids", &r->b, e));
        TN_TRY(tn_reader_get_ids(r, row, "rejected_ids", &r->c, e));
        TN_TRY(single(r, &r->a, &r->b, true, true, e));
        return single(r, &r->a, &r->c, false, true, e);
    }
    TN_TRY(tn_reader_need_tokenizer(r, e));
    TN_TRY(tn_reader_pair_parts(r, row, &p, &c, &j, e));
    tn_status st = single_text(r, p, c, true, true, e);
    if (st == TN_OK) st = single_text(r, p, j, false, true, e);
    json_decref(p), json_decref(c), json_decref(j);
    return st;
}

/* A ranking in which no response is better than another says nothing of any. */
static bool is_draw(const json_t *row) {
    const json_t *rank = json_object_get(row, "rank");
    for (size_t i = 1; i < json_array_size(rank); i++)
        if (json_number_value(json_array_get(rank, i)) != json_number_value(json_array_get(rank, 0))) return false;
    return json_array_size(rank) > 0;
}

tn_status tn_read_unpaired(tn_reader *r, const json_t *row, tn_err *e) {
    bool label;
    if (json_object_get(row, "rejected") || json_object_get(row, "rejected_ids"))
        return pair(r, row, e);
    if (is_draw(row)) {
        r->d->stats.dropped[TN_DROP_SAME]++;
        return TN_OK;
    }
    if (!json_object_get(row, "label"))
        return tn_fail(e, TN_FORMAT,
                       "%s: a labelled row needs \"prompt\", \"completion\" and \"label\" (or be a "
                       "pair: \"prompt\", "
                       "\"chosen\" and \"rejected\")",
                       r->where);
    TN_TRY(label_of(r, row, &label, e));
    if (json_object_get(row, "completion_ids")) {
        TN_TRY(tn_reader_get_ids(r, row, "prompt_ids", &r->a, e));
        TN_TRY(tn_reader_get_ids(r, row, "completion_ids", &r->b, e));
        return single(r, &r->a, &r->b, label, false, e);
    }
    const json_t *p = json_object_get(row, "prompt"), *c = json_object_get(row, "completion");
    if (!p || !c)
        return tn_fail(e, TN_FORMAT,
                       "%s: a row with \"label\" needs \"prompt\" and \"completion\", too",
                       r->where);
    TN_TRY(tn_reader_need_tokenizer(r, e));
    return single_text(r, p, c, label, false, e);
}

/* ---- TRL's order ---- */

enum { MAP_BATCH = 1000 }; /* rows that TRL unpairs at a time */

/* Chosen responses of a thousand rows, then the rejected ones; what was no pair goes with the
 * chosen ones. */
tn_status tn_order_unpaired(tn_dataset *d, tn_err *e) {
    tn_example *out = tn_calloc(d->n, sizeof *out);
    if (!out) return tn_fail(e, TN_NOMEM, "out of memory for %zu rows", d->n);
    for (size_t i = 0, n = 0; i < d->n;) {
        long block = (d->ex[i].row - 1) / MAP_BATCH;
        size_t end = i;
        while (end < d->n && (d->ex[end].row - 1) / MAP_BATCH == block) end++;
        for (int late = 0; late < 2; late++)
            for (size_t k = i; k < end; k++)
                if ((d->ex[k].pair && !d->ex[k].label) == late) out[n++] = d->ex[k];
        i = end;
    }
    memcpy(d->ex, out, d->n * sizeof *out);
    tn_free(out);
    return TN_OK;
}

/* ---- mismatched pairs ---- */

static tn_status mismatch(tn_dataset *d, tn_example *x, const tn_example *prompt,
                          const tn_example *response, const tn_data_options *o, tn_err *e) {
    int drop; /* never: the prompt leaves room, or would have been dropped itself */
    *x = (tn_example){.prompt = prompt->prompt,
                      .n_prompt = prompt->n_prompt,
                      .n_response = 1,
                      .file = prompt->file,
                      .line = prompt->line,
                      .row = prompt->row};
    x->response = tn_arena_alloc(d->arena, sizeof *x->response);
    if (!x->response) return tn_fail(e, TN_NOMEM, "out of memory for mismatched pairs");
    *x->response = response->response[0];
    x->response->n = x->response->n_whole;
    tn_reader_cut(o, x, &drop);
    return TN_OK;
}

tn_status tn_dataset_mismatch(tn_dataset *d, long block, const tn_data_options *o, tn_err *e) {
    tn_dataset *m = d->mismatched = tn_calloc(1, sizeof *m);
    if (m) m->ex = tn_calloc(d->n, sizeof *m->ex);
    if (!m || !m->ex) return tn_fail(e, TN_NOMEM, "out of memory for %zu mismatched pairs", d->n);
    m->n = d->n;
    for (size_t first = 0; first < d->n; first += (size_t)block) {
        size_t end = first + (size_t)block < d->n ? first + (size_t)block : d->n;
        for (size_t i = first; i < end; i++) {
            TN_TRY(mismatch(d, &m->ex[i], &d->ex[i], &d->ex[i == first ? end - 1 : i - 1], o, e));
            d->ex[i].mismatched = &m->ex[i];
        }
    }
    return TN_OK;
}
