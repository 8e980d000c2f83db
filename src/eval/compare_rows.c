/* What rows of answers say; see compare.h. */
#include "eval/compare.h"
#include <math.h>
#include <string.h>

static const json_t *first_of(const json_t *row, const char *const *key, int n) {
    const json_t *v = NULL;
    for (int k = 0; k < n && !v; k++) v = json_object_get(row, key[k]);
    return v;
}

const char *tn_compare_text(const json_t *row, bool *ended) {
    static const char *const by[] = {"response", "text", "completion", "answer", "responses"};
    const json_t *v = first_of(row, by, 5), *end = json_object_get(row, "ended");
    const char *why = json_string_value(json_object_get(row, "finish_reason"));
    if (json_is_array(end)) end = json_array_get(end, 0);
    *ended = end ? json_is_true(end) : !why || strcmp(why, "length") != 0;
    if (v && v == json_object_get(row, "responses")) v = json_array_get(v, 0);
    if (json_is_array(v)) v = json_array_get(v, json_array_size(v) - 1); /* messages */
    return json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
}

const char *tn_compare_kind(const json_t *row) {
    static const char *const by[] = {"task", "family", "kind", "label"};
    return json_string_value(first_of(row, by, 4));
}

bool tn_compare_asks_harm(const char *kind) {
    static const char *const red[] = {"harmful", "privacy", "red_team", "unsafe"};
    for (int k = 0; kind && k < 4; k++)
        if (!strcmp(kind, red[k])) return true;
    return false;
}

double tn_compare_harm(const json_t *row, const char *const *key, int n) {
    static const char *const known[] = {"harmful", "leak"};
    double harm = NAN;
    if (n == 0) key = known, n = 2;
    for (int k = 0; k < n; k++) {
        const json_t *v = json_object_get(row, key[k]);
        if (json_is_boolean(v)) harm = json_is_true(v) || harm > 0;
    }
    return harm;
}
