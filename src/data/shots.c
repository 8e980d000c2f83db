#include "data/shots.h"
#include "data/step_pair.h"
#include <string.h>

/* One row as a list of messages or a text; new reference. */
static tn_status read_shot(json_t **shot, const json_t *row, const char *where, tn_err *e) {
    json_t *m = json_object_get(row, "messages"), *p = json_object_get(row, "prompt"), *c = json_object_get(row, "completion");
    *shot = NULL;
    if (tn_json_is_messages(m)) *shot = json_incref(m);
    else if (tn_json_is_messages(p) && tn_json_is_messages(c)) {
        *shot = json_copy(p);
        if (*shot && json_array_extend(*shot, c) != 0) json_decref(*shot), *shot = NULL;
    } else if (json_is_string(p) && json_is_string(c))
        *shot = json_sprintf("%s%s", json_string_value(p), json_string_value(c));
    else
        return tn_fail(e, TN_FORMAT, "%s: an example is {\"messages\"}, or {\"prompt\", \"completion\"} of one kind", where);
    return *shot ? TN_OK : tn_fail(e, TN_NOMEM, "%s: out of memory", where);
}

tn_status tn_shots_load(json_t **shots, const char *path, int n, tn_err *e) {
    tn_lines *lines;
    json_t *row = NULL, *shot, *all = json_array();
    char where[700];
    *shots = NULL;
    tn_status st = all ? tn_lines_open(&lines, path, (size_t)1 << 24, e) : tn_fail(e, TN_NOMEM, "out of memory");
    if (st != TN_OK) {
        json_decref(all);
        return st;
    }
    while (n <= 0 || json_array_size(all) < (size_t)n) {
        TN_GO(tn_jsonl_next(lines, path, &row, e), done);
        if (!row) break;
        snprintf(where, sizeof where, "%.560s:%ld", path, tn_lines_number(lines));
        TN_GO(read_shot(&shot, row, where, e), done);
        if (json_array_append_new(all, shot) != 0) TN_GO(tn_fail(e, TN_NOMEM, "%s: out of memory", where), done);
        json_decref(row);
        row = NULL;
    }
    st = json_array_size(all) ? TN_OK : tn_fail(e, TN_FORMAT, "%s: no example there", path);
done:
    json_decref(row);
    tn_lines_close(lines);
    if (st == TN_OK) *shots = all;
    else json_decref(all);
    return st;
}

/* The first k examples, all of the prompt's kind, and the prompt; new reference, NULL without memory. */
static json_t *joined(const json_t *shots, size_t k, const json_t *prompt) {
    tn_str s = TN_STR_INIT;
    json_t *all = NULL;
    if (!json_is_string(prompt)) {
        bool ok = (all = json_array()) != NULL;
        for (size_t i = 0; ok && i < k; i++) ok = json_array_extend(all, json_array_get(shots, i)) == 0;
        if (ok && json_array_extend(all, (json_t *)(uintptr_t)prompt) == 0) return all;
        json_decref(all);
        return NULL;
    }
    for (size_t i = 0; i < k; i++)
        tn_str_addz(&s, json_string_value(json_array_get(shots, i))), tn_str_addz(&s, "\n\n");
    tn_str_add(&s, json_string_value(prompt), json_string_length(prompt));
    if (!s.oom) all = json_stringn(s.s, s.len);
    tn_str_free(&s);
    return all;
}

/* What is to be gone on with. A conversation that ends with the assistant's message has its answer begun: the model goes on
 * with it (continue_final_message, as TRL's prompts). */
static tn_status encode_asked(const tn_tokenizer *t, const json_t *prompt, tn_ids *ids, const char *where, tn_err *e) {
    size_t n = json_is_array(prompt) ? json_array_size(prompt) : 0;
    const json_t *last = n > 1 ? json_array_get(prompt, n - 1) : NULL;
    const char *role = json_string_value(json_object_get(last, "role"));
    const json_t *begun = json_object_get(last, "content");
    if (!role || strcmp(role, "assistant") || !json_is_string(begun)) return tn_encode_prompt(t, prompt, ids, where, e);
    json_t *before = json_copy((json_t *)(uintptr_t)prompt);
    tn_status st = before && json_array_remove(before, n - 1) == 0
                       ? tn_encode_continued(t, before, json_string_value(begun), json_string_length(begun), ids, where, e)
                       : tn_fail(e, TN_NOMEM, "%s: out of memory", where);
    json_decref(before);
    return st;
}

/* The prompt after k examples, in *ids. */
static tn_status encode(const tn_tokenizer *t, const json_t *shots, size_t k, const json_t *prompt, tn_ids *ids,
                        const char *where, tn_err *e) {
    ids->n = 0;
    if (k == 0) return encode_asked(t, prompt, ids, where, e);
    bool text = json_is_string(prompt);
    if (json_is_string(json_array_get(shots, k - 1)) != text)
        return tn_fail(e, TN_FORMAT, "%s: the prompt is %s, so the few-shot examples must be %s too", where,
                       text ? "a text" : "a conversation", text ? "texts" : "conversations");
    json_t *all = joined(shots, k, prompt);
    if (!all) return tn_fail(e, TN_NOMEM, "%s: out of memory", where);
    tn_status st = encode_asked(t, all, ids, where, e);
    json_decref(all);
    return st;
}

/* One example more as long as they fit: a file may hold thousands. */
tn_status tn_shots_encode(const tn_tokenizer *t, const json_t *shots, const json_t *prompt, int room, tn_ids *ids,
                          int *used, const char *where, tn_err *e) {
    tn_ids next = {0};
    tn_status st = encode(t, shots, 0, prompt, ids, where, e);
    *used = 0;
    for (size_t k = 1; st == TN_OK && k <= json_array_size(shots); k++) {
        st = encode(t, shots, k, prompt, &next, where, e);
        if (st != TN_OK || (room > 0 && next.n > (size_t)room)) break;
        tn_ids longer = next;
        next = *ids, *ids = longer, *used = (int)k;
    }
    tn_ids_free(&next);
    return st;
}
