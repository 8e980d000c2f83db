#include "oversight/sift.h"
#include <math.h>
#include <string.h>

/* Pairs that are asked about, and the records they are of. */
typedef struct job {
    json_t **pair;
    const char **where;
    double *p;
    int *of, n;
} job;

static const json_t *answer_of(const json_t *record, bool last) {
    const json_t *rounds = json_object_get(record, "rounds");
    return json_object_get(json_array_get(rounds, last ? json_array_size(rounds) - 1 : 0), "answer");
}

static tn_status add_pair(job *j, const tn_labelling *l, const json_t *record, int i, tn_err *e) {
    const json_t *first = answer_of(record, false), *last = answer_of(record, true), *id = json_object_get(record, "id");
    if (!first || !last || json_equal(first, last) || json_string_length(last) == 0) return TN_OK;
    json_t *x = json_pack("{s:O,s:O,s:[O,O]}", "id", id, "prompt", json_object_get(record, "prompt"), "responses", last, first);
    if (!x || (l->kind_key && json_object_set(x, l->kind_key, json_object_get(record, "kind")) < 0)) {
        json_decref(x);
        return tn_fail(e, TN_NOMEM, "out of memory");
    }
    j->pair[j->n] = x, j->where[j->n] = json_string_value(id), j->of[j->n++] = i;
    return TN_OK;
}

/* As a label: the first response is the revision. */
static tn_status put_label(json_t *pair, double p, const tn_constitution *c, const tn_label *label, int n, tn_err *e) {
    json_t *all = json_array();
    for (int k = 0; k < n; k++) json_array_append_new(all, tn_label_json(&label[k], NULL, c));
    bool better = p >= 0.5;
    bool ok = json_object_set_new(pair, "rank", json_pack("[i,i]", better ? 1 : 2, better ? 2 : 1)) == 0 &&
              json_object_set_new(pair, "p", json_real(p)) == 0;
    ok = json_object_set_new(pair, "labels", all) == 0 && ok && json_array_size(all) == (size_t)n;
    return ok ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static tn_status work(job *j, const tn_labelling *l, json_t *const *record, int n, double *p, json_t **pair, tn_err *e) {
    tn_label *label = NULL;
    int n_label = 0, at = 0, end;
    for (int i = 0; i < n; i++) TN_TRY(add_pair(j, l, record[i], i, e));
    if (!j->n) return TN_OK;
    tn_status st = tn_label_rows(l, j->pair, j->where, j->n, j->p, &label, &n_label, e);
    for (int k = 0; k < j->n && st == TN_OK; k++, at = end) {
        for (end = at; end < n_label && label[end].row == k;) end++;
        if (isnan(j->p[k])) continue;
        p[j->of[k]] = j->p[k];
        pair[j->of[k]] = json_incref(j->pair[k]);
        st = put_label(j->pair[k], j->p[k], l->constitution, label + at, end - at, e);
    }
    tn_free(label);
    return st;
}

tn_status tn_sift_rows(const tn_labelling *l, json_t *const *record, int n, double *p, json_t **pair, tn_err *e) {
    size_t room = (size_t)n + 1;
    job j = {tn_calloc(room, sizeof *j.pair), tn_calloc(room, sizeof *j.where), tn_calloc(room, sizeof *j.p), tn_calloc(room, sizeof *j.of), 0};
    for (int i = 0; i < n; i++) p[i] = NAN;
    bool there = j.pair && j.where && j.p && j.of;
    tn_status st = there ? work(&j, l, record, n, p, pair, e) : tn_fail(e, TN_NOMEM, "out of memory");
    for (int k = 0; k < j.n; k++) json_decref(j.pair[k]);
    tn_free(j.pair), tn_free(j.where), tn_free(j.p), tn_free(j.of);
    return st;
}
