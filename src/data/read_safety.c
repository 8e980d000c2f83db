/* Rows that say of one answer, or of each of two that they compare, whether it is safe. */
#include "data/reader.h"
#include <string.h>

static tn_status need_bool(const tn_reader *r, const json_t *row, const char *key, bool *v, tn_err *e) {
    const json_t *b = json_object_get(row, key);
    if (!json_is_boolean(b) && !json_is_integer(b))
        return tn_fail(e, TN_FORMAT,
                       "%s: \"%s\" must be true or false; a row of safety labels has \"chosen_safe\" and "
                       "\"rejected_safe\" beside its pair, or PKU-SafeRLHF's fields",
                       r->where, key);
    *v = json_is_integer(b) ? json_integer_value(b) != 0 : json_is_true(b);
    return TN_OK;
}

/* Which of two responses `key` names; both must be texts, or turns made of them (formats.c). */
static tn_status better_of(const tn_reader *r, const json_t *row, const char *key, int *better, tn_err *e) {
    const json_t *id = json_object_get(row, key);
    *better = (int)json_integer_value(id);
    if (!json_is_integer(id) || *better < 0 || *better > 1)
        return tn_fail(e, TN_FORMAT, "%s: \"%s\" must be 0 or 1", r->where, key);
    static const char *const texts[] = {"prompt", "response_0", "response_1"};
    for (int i = 0; i < 3; i++)
        if (!json_is_string(json_object_get(row, texts[i])) && !json_is_array(json_object_get(row, texts[i])))
            return tn_fail(e, TN_FORMAT, "%s: \"%s\" must be a string", r->where, texts[i]);
    return TN_OK;
}

tn_status tn_read_safe_rlhf(tn_reader *r, const json_t *row, const char *key, int *better, tn_err *e) {
    TN_TRY(better_of(r, row, key, better, e));
    json_t *of[] = {json_object_get(row, "response_0"), json_object_get(row, "response_1")};
    json_t *pair = json_pack("{s:O,s:O,s:O}", "prompt", json_object_get(row, "prompt"), "chosen", of[*better], "rejected",
                             of[1 - *better]);
    tn_status st = pair ? tn_read_preference(r, pair, e) : tn_reader_out_of_memory(r, e);
    json_decref(pair);
    return st;
}

tn_status tn_read_safety(tn_reader *r, const json_t *row, tn_err *e) {
    size_t n = r->d->n;
    bool alone = json_object_get(row, "label") && !json_object_get(row, "chosen_safe");
    int safer = 0;
    bool safe[2];
    if (alone) {
        TN_TRY(tn_read_unpaired(r, row, e));
    } else if (json_object_get(row, "response_0")) {
        TN_TRY(need_bool(r, row, "is_response_0_safe", &safe[0], e));
        TN_TRY(need_bool(r, row, "is_response_1_safe", &safe[1], e));
        TN_TRY(tn_read_safe_rlhf(r, row, "safer_response_id", &safer, e));
    } else {
        TN_TRY(need_bool(r, row, "chosen_safe", &safe[0], e));
        TN_TRY(need_bool(r, row, "rejected_safe", &safe[1], e));
        TN_TRY(tn_read_preference(r, row, e));
    }
    if (r->d->n == n) return TN_OK; /* dropped */
    tn_example *x = &r->d->ex[n];
    if (!alone && !x->pair)
        return tn_fail(e, TN_FORMAT, "%s: safety labels go with pairs, this row is a ranking", r->where);
    if (!alone) x->label = safe[safer] | safe[1 - safer] << 1;
    r->d->hash = tn_hash64(&x->label, sizeof x->label, r->d->hash);
    return TN_OK;
}
