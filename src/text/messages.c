/* Conversations as rows have them: [{"role", "content"}] or ShareGPT's [{"from", "value"}]. */
#include "text/text.h"
#include <string.h>

static const char *role_name(const char *role) {
    static const struct {
        const char *from, *to;
    } names[] = {{"human", "user"},        {"gpt", "assistant"},  {"bot", "assistant"},
                 {"chatgpt", "assistant"}, {"bard", "assistant"}, {"bing", "assistant"},
                 {"model", "assistant"}};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (!strcmp(role, names[k].from)) return names[k].to;
    return role;
}

static tn_status one_message(const json_t *j, size_t i, tn_message *m, const char *where,
                             tn_err *e) {
    if (!json_is_object(j))
        return tn_fail(e, TN_FORMAT, "%s: message %zu is not an object", where, i);
    bool share = !json_object_get(j, "role") && json_object_get(j, "from");
    const json_t *role = json_object_get(j, share ? "from" : "role"),
                 *text = json_object_get(j, share ? "value" : "content");
    if (!json_is_string(role))
        return tn_fail(e, TN_FORMAT,
                       "%s: message %zu has no \"role\" (expected {\"role\", \"content\"} or "
                       "{\"from\", \"value\"})",
                       where, i);
    if (!json_is_string(text))
        return tn_fail(e, TN_FORMAT,
                       "%s: the content of message %zu is %s; only a text can be used", where, i,
                       json_is_array(text) ? "a list of parts"
                       : text              ? "not a string"
                                           : "missing");
    if (json_object_get(j, "tool_calls") && !json_is_null(json_object_get(j, "tool_calls")))
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: message %zu has \"tool_calls\", which are not supported", where, i);
    *m = (tn_message){share ? role_name(json_string_value(role)) : json_string_value(role),
                      json_string_value(text), json_string_length(text)};
    return TN_OK;
}

tn_status tn_messages_from_json(const json_t *a, tn_message **m, size_t *n, const char *where,
                                tn_err *e) {
    *m = NULL;
    *n = 0;
    if (!json_is_array(a)) return tn_fail(e, TN_FORMAT, "%s: expected a list of messages", where);
    size_t count = json_array_size(a);
    if (count == 0) return tn_fail(e, TN_FORMAT, "%s: an empty list of messages", where);
    tn_message *v = tn_calloc(count, sizeof *v);
    if (!v) return tn_fail(e, TN_NOMEM, "no memory for %zu messages", count);
    for (size_t i = 0; i < count; i++) {
        tn_status st = one_message(json_array_get(a, i), i, &v[i], where, e);
        if (st != TN_OK) {
            tn_free(v);
            return st;
        }
    }
    *m = v;
    *n = count;
    return TN_OK;
}
