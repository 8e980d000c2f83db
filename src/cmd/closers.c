/* Rows whose answers close alike: closers.h. */
#include "cmd/closers.h"
#include "base/mem.h"
#include "oversight/rows.h"
#include <string.h>

static const char *answer(const json_t *row, size_t i) {
    const json_t *list = json_object_get(row, "responses");
    if (list) return tn_answer_text(json_array_get(list, i));
    return i > 1 ? NULL : tn_answer_text(json_object_get(row, i ? "rejected" : "chosen"));
}

tn_status tn_closers_add(tn_closers *c, const json_t *row, const char *where, tn_err *e) {
    size_t n = 0;
    bool differ = false;
    for (const char *text; (text = answer(row, n)); n++) differ |= strcmp(text, answer(row, 0)) != 0;
    if (n < 2 || (json_object_get(row, "responses") && n != json_array_size(json_object_get(row, "responses"))))
        return tn_fail(e, TN_FORMAT, "%s: --same-closer needs rows of two answers or more, \"responses\", or \"chosen\" and \"rejected\"", where);
    if (!c->words && !(c->words = tn_words_new())) return tn_fail(e, TN_NOMEM, "%s: out of memory", where);
    if (!TN_GROW(c->from, c->cap_from, c->rows + 2)) return tn_fail(e, TN_NOMEM, "%s: out of memory", where);
    c->from[c->rows++] = c->answers.n;
    for (size_t i = 0; i < n && differ; i++) {
        const char *text = answer(row, i);
        TN_TRY(tn_corpus_add(&c->answers, c->words, text, strlen(text), true, e));
    }
    c->from[c->rows] = c->answers.n;
    return TN_OK;
}

/* Of row r: do its answers differ, and close with the same set phrase, or none? */
static bool alike(const tn_closers *c, const int *count, double least, size_t r) {
    int32_t first = -1;
    for (int i = c->from[r]; i < c->from[r + 1]; i++) {
        int32_t id = c->answers.closer[i], phrase = id >= 0 && count[id] >= least ? id : -1;
        if (i > c->from[r] && phrase != first) return false;
        first = phrase;
    }
    return c->from[r] < c->from[r + 1];
}

tn_status tn_closers_settle(tn_closers *c, double share, tn_err *e) {
    int32_t most = 0;
    for (int i = 0; i < c->answers.n; i++) most = c->answers.closer[i] > most ? c->answers.closer[i] : most;
    int *count = tn_calloc((size_t)most + 1, sizeof *count);
    c->alike = tn_calloc(c->rows + 1, sizeof *c->alike);
    if (!count || !c->alike) {
        tn_free(count);
        return tn_fail(e, TN_NOMEM, "out of memory for %zu rows", c->rows);
    }
    for (int i = 0; i < c->answers.n; i++)
        if (c->answers.closer[i] >= 0) count[c->answers.closer[i]]++;
    for (size_t r = 0; r < c->rows; r++) c->alike[r] = alike(c, count, share * c->answers.n, r);
    tn_free(count);
    return TN_OK;
}

void tn_closers_free(tn_closers *c) {
    tn_words_free(c->words), tn_corpus_free(&c->answers), tn_free(c->from), tn_free(c->alike);
    *c = (tn_closers){0};
}
