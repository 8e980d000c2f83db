#include "data/first_prompt.h"
#include "data/encode.h"
#include "data/formats.h"
#include <string.h>

static bool add_string(const json_t *v, tn_str *out) {
    if (!json_is_string(v)) return false;
    tn_str_add(out, json_string_value(v), json_string_length(v));
    return true;
}

/* The first message that is neither the system's nor an answer. */
static bool from_messages(const json_t *list, tn_str *out) {
    if (!tn_json_is_messages(list)) return false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i), *role = json_object_get(m, "role"),
                     *text = json_object_get(m, "content");
        if (!role) role = json_object_get(m, "from"), text = json_object_get(m, "value");
        const char *r = json_string_value(role);
        if (r && (strcmp(r, "user") == 0 || strcmp(r, "human") == 0)) return add_string(text, out);
    }
    return false;
}

static bool from_string(const json_t *v, tn_str *out) {
    if (!json_is_string(v)) return false;
    json_t *m = tn_transcript_messages(json_string_value(v));
    bool ok = m ? from_messages(m, out) : add_string(v, out);
    json_decref(m);
    return ok;
}

static bool from_ids(const json_t *row, tn_str *out) {
    static const char *const name[] = {"prompt_ids", "ids", "input_ids", "chosen_ids"};
    for (size_t k = 0; k < sizeof name / sizeof *name; k++) {
        const json_t *v = json_object_get(row, name[k]);
        if (!json_is_array(v)) continue;
        for (size_t i = 0; i < json_array_size(v); i++)
            tn_str_addf(out, "%lld ", (long long)json_integer_value(json_array_get(v, i)));
        return true;
    }
    return false;
}

/* {"chosen", "rejected"} without a prompt of its own. */
static bool from_pair(const json_t *chosen, const json_t *rejected, tn_str *out) {
    if (json_is_array(chosen)) return from_messages(chosen, out);
    if (!json_is_string(chosen)) return false;
    json_t *m = tn_transcript_messages(json_string_value(chosen)), *p = NULL, *c = NULL, *r = NULL;
    bool ok = m && from_messages(m, out);
    if (!ok && rejected && tn_extract_prompt(chosen, rejected, &p, &c, &r, "", NULL) == TN_OK)
        ok = json_string_length(p) > 0 && add_string(p, out);
    if (!ok) ok = add_string(chosen, out);
    json_decref(m), json_decref(p), json_decref(c), json_decref(r);
    return ok;
}

static bool first_prompt(const json_t *row, tn_str *out) {
    const json_t *v;
    if ((v = json_object_get(row, "prompt")))
        return json_is_string(v) ? from_string(v, out) : from_messages(v, out);
    if ((v = json_object_get(row, "messages")) || (v = json_object_get(row, "conversations")))
        return from_messages(v, out);
    if ((v = json_object_get(row, "chosen")))
        return from_pair(v, json_object_get(row, "rejected"), out);
    if ((v = json_object_get(row, "text")))
        return from_string(json_is_array(v) ? json_array_get(v, 0) : v, out);
    return from_ids(row, out);
}

bool tn_row_first_prompt(const json_t *row, tn_str *out) {
    json_t *r;
    if (tn_row_canonical(row, false, &r, NULL) != TN_OK) return false;
    bool found = first_prompt(r, out);
    json_decref(r);
    return found;
}
