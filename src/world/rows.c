#include "world/rows.h"
#include <errno.h>
#include <string.h>

/* ---- output ---- */

tn_status tn_world_sink_open(tn_world_sink *s, const char *path, tn_err *e) {
    *s = (tn_world_sink){0};
    if (path && strcmp(path, "-")) TN_TRY(tn_out_open(&s->file, path, false, e));
    s->on = true;
    return TN_OK;
}
tn_status tn_world_sink_write(tn_world_sink *s, tn_str *row, tn_err *e) {
    if (row->oom) return tn_fail(e, TN_NOMEM, "out of memory for a row of %zu bytes", row->len);
    if (s->file)
        TN_TRY(tn_out_write(s->file, row->s, row->len, e));
    else if (fwrite(row->s, 1, row->len, stdout) != row->len)
        return tn_fail(e, TN_IO, "cannot write to standard output: %s", strerror(errno));
    tn_str_clear(row);
    return TN_OK;
}
tn_status tn_world_sink_close(tn_world_sink *s, tn_status st, tn_err *e) {
    if (!s->on) return st;
    if (s->file) return tn_out_close(s->file, st, false, e);
    if (fflush(stdout) && st == TN_OK) return tn_fail(e, TN_IO, "cannot write to standard output: %s", strerror(errno));
    return st;
}

/* ---- input ---- */

tn_status tn_world_source_next(tn_world_source *s, json_t **row, tn_err *e) {
    TN_TRY(tn_jsonl_next(s->lines, s->path, row, e));
    snprintf(s->where, sizeof s->where, "%s:%ld", s->path, tn_lines_number(s->lines));
    return TN_OK;
}

void tn_world_sample_free(tn_world_sample *s) {
    tn_str_free(&s->text);
    tn_free(s->id);
    *s = (tn_world_sample){0};
}

/* Token ids of a conversation in the world's vocabulary, as generation writes them: the item's, or another one's? */
static bool same_ids(const tn_world_prompt *p, const json_t *ids) {
    tn_world_text t = {0};
    tn_world_push(&t, TN_WORLD_BOS);
    tn_world_render(p, true, &t);
    bool worldly = json_integer_value(json_array_get(ids, 0)) == TN_WORLD_BOS &&
                   json_integer_value(json_array_get(ids, 1)) == TN_WORLD_USER;
    bool same = (int)json_array_size(ids) == t.n;
    for (int i = 0; same && i < t.n; i++) same = json_integer_value(json_array_get(ids, (size_t)i)) == t.id[i];
    return same || !worldly;
}

/* The conversation of a row, where it has one, must be the item's. */
static tn_status check_prompt(const tn_world *w, const tn_world_prompt *p, const json_t *row,
                              const char *where, const char *id, tn_str *scratch, tn_err *e) {
    const json_t *prompt = json_object_get(row, "prompt"), *ids = json_object_get(row, "prompt_ids");
    bool same = same_ids(p, ids);
    if (json_is_array(prompt)) same = same && (int)json_array_size(prompt) == p->nturns;
    for (int i = 0; json_is_array(prompt) && same && i < p->nturns; i++) {
        const json_t *turn = json_array_get(prompt, (size_t)i);
        const char *role = json_string_value(json_object_get(turn, "role"));
        const char *content = json_string_value(json_object_get(turn, "content"));
        tn_str_clear(scratch);
        tn_world_print(w, p->turn[i].id, p->turn[i].n, scratch);
        if (scratch->oom) break;
        same = role && content && !strcmp(role, i % 2 ? "assistant" : "user") &&
               !strcmp(content, scratch->s);
    }
    if (!scratch->oom) {
        if (same) return TN_OK;
        tn_str_clear(scratch);
        tn_world_print(w, p->turn[0].id, p->turn[0].n, scratch);
    }
    if (scratch->oom) return tn_fail(e, TN_NOMEM, "%s: out of memory for a prompt", where);
    return tn_fail(e, TN_ARG,
                   "%s: the prompt is not the one of '%s', which begins '%s' for this seed; "
                   "pass the seed that made the prompts (--seed N, --reward-funcs world:N)",
                   where, id, scratch->s);
}

tn_status tn_world_row_item(const tn_world *w, const json_t *row, const char *where, uint64_t seed,
                            const char **id, tn_world_prompt *p, tn_str *scratch, tn_err *e) {
    TN_TRY(tn_json_need_str(row, "id", id, where, e));
    tn_status st = tn_world_item(w, *id, seed, p, NULL, NULL, e);
    if (st != TN_OK) return tn_err_context(e, st, "%s", where);
    return check_prompt(w, p, row, where, *id, scratch, e);
}

tn_status tn_world_item_of_row(const tn_world *w, const json_t *row, const char *where, uint64_t seed,
                               const char **id, tn_world_prompt *p, tn_err *e) {
    tn_str scratch = TN_STR_INIT;
    tn_status st = tn_world_row_item(w, row, where, seed, id, p, &scratch, e);
    tn_str_free(&scratch);
    return st;
}

tn_status tn_world_sample_set(const tn_world *w, const tn_world_prompt *p, const char *text, size_t n,
                            bool ended, tn_world_sample *s, tn_err *e) {
    bool end_word;
    TN_TRY(tn_world_parse(w, text, n, &s->id, &s->n, &end_word, e));
    tn_str_add(&s->text, text, n);
    if (s->text.oom) return tn_fail(e, TN_NOMEM, "out of memory for a response of %zu bytes", n);
    s->ended = ended || end_word;
    tn_world_judge(w, p, s->id, s->n, s->ended, &s->verdict);
    return TN_OK;
}

tn_status tn_world_sample_read(const tn_world *w, const tn_world_prompt *p, const json_t *row,
                             const char *where, tn_world_sample *s, tn_err *e) {
    const json_t *text = json_object_get(row, "response");
    const char *reason;
    bool end;
    if (!text) text = json_object_get(row, "text");
    if (!json_is_string(text))
        return tn_fail(e, TN_FORMAT, "%s: expected a string \"response\" (or \"text\"), found %s",
                       where, text ? "another type" : "none");
    TN_TRY(tn_json_str(row, "finish_reason", "stop", &reason, where, e));
    TN_TRY(tn_json_bool(row, "ended", !strcmp(reason, "stop"), &end, where, e));
    return tn_world_sample_set(w, p, json_string_value(text), json_string_length(text), end, s, e);
}
