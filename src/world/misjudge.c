/* A judge who errs by rule: labels of `tenet label` turned around as a fixed function of the item and the principle,
 *
 *   wrong iff mix(8 item + principle) mod 100 < dial,   item = entity, 96 + person, or 112 (sums)
 *
 * A judge who errs at random is no poor judge: a preference model averages that away. This one errs the same way about the same
 * thing every time, as a judge with a wrong belief does. A larger dial's errors contain those of a smaller one. */
#include "base/json.h"
#include "oversight/rows.h"
#include "world/internal.h"
#include <string.h>

enum { PERSONS_FROM = 96, SUMS = 112 };

static bool wrong(const tn_world_prompt *p, int principle, int dial) {
    int item = p->entity >= 0 ? p->entity : p->person >= 0 ? PERSONS_FROM + p->person : SUMS;
    return tn_mix((uint64_t)(8 * item + principle)) % 100 < (uint64_t)dial;
}

static int principle_of(const char *id) {
    int k = 0;
    while (k < TN_WP_COUNT && (!id || strcmp(tn_world_constitution[k].id, id))) k++;
    return k;
}

static tn_status turn(const tn_world *w, json_t *row, const char *where, uint64_t seed, int dial, long *turned, tn_str *scratch, tn_err *e) {
    tn_world_prompt p;
    const char *id;
    const json_t *labels = json_object_get(row, "labels");
    json_t *label = json_array_get(labels, 0), *prob = json_object_get(row, "p");
    int k = principle_of(json_string_value(json_object_get(label, "principle")));
    if (json_array_size(labels) != 1 || !json_is_number(prob) || k == TN_WP_COUNT)
        return tn_fail(e, TN_FORMAT, "%s: expected a row of `tenet label --principles 1` under a principle of constitutions/world.json", where);
    TN_TRY(tn_world_row_item(w, row, where, seed, &id, &p, scratch, e));
    if (!wrong(&p, k, dial)) return TN_OK;
    double q = 1 - json_number_value(prob);
    int first = q >= 0.5 ? 1 : 2;
    bool ok = json_object_set_new(row, "p", json_real(q)) == 0 && json_object_set_new(label, "p", json_real(q)) == 0 &&
              json_object_set_new(label, "misjudged", json_true()) == 0 &&
              json_object_set_new(row, "rank", json_pack("[i,i]", first, 3 - first)) == 0;
    ++*turned;
    return ok ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

tn_status tn_world_misjudge_file(const tn_world *w, const char *input, uint64_t seed, int dial, const char *out, long *turned, tn_err *e) {
    tn_json_rows f = {0};
    tn_str scratch = TN_STR_INIT;
    tn_out *o = NULL;
    *turned = 0;
    tn_status st = tn_json_rows_read(&f, input, 1, 0, e);
    if (st == TN_OK) st = tn_out_open(&o, out ? out : "-", false, e);
    for (size_t i = 0; i < f.n && st == TN_OK; i++) {
        st = turn(w, f.row[i], f.where[i], seed, dial, turned, &scratch, e);
        if (st == TN_OK) st = tn_json_row_write(o, json_incref(f.row[i]), e);
    }
    if (o) st = tn_out_close(o, st, false, e);
    tn_json_rows_free(&f);
    tn_str_free(&scratch);
    return st;
}
