#include "base/journal.h"
#include <string.h>

struct tn_journal {
    char *path;
    tn_str part; /* its name */
    tn_out *out;
    long groups;
    int lock;
};

static const size_t most = (size_t)1 << 34; /* bytes */

/* The line at s[0..n), without its newline; NULL: it has none. */
static const char *line_end(const char *s, size_t n) { return memchr(s, '\n', n); }

/* Notes of the complete groups; *used: bytes up to the end of the last one. */
static tn_status read_groups(tn_journal *j, const tn_str *text, size_t from, tn_journal_note *seen, void *ctx,
                             size_t *used, tn_err *e) {
    tn_str note = TN_STR_INIT;
    tn_status st = TN_OK;
    *used = from;
    for (size_t at = from; at < text->len && st == TN_OK;) {
        const char *s = text->s + at, *end = line_end(s, text->len - at);
        if (!end) break;
        at = (size_t)(end - text->s) + 1;
        if (end - s < 2 || s[0] != '#') continue;
        tn_str_clear(&note);
        tn_str_add(&note, s + 2, (size_t)(end - s) - 2);
        st = note.oom ? tn_fail(e, TN_NOMEM, "%s: out of memory", j->part.s) : seen ? seen(ctx, note.s, e) : TN_OK;
        if (st != TN_OK) st = tn_err_context(e, st, "%s", j->part.s);
        j->groups++;
        *used = at;
    }
    tn_str_free(&note);
    return st;
}

static bool begins_with(const tn_str *text, const char *what, size_t *head) {
    size_t n = strlen(what);
    *head = n + 3;
    return text->len >= *head && memcmp(text->s, "# ", 2) == 0 && memcmp(text->s + 2, what, n) == 0 &&
           text->s[n + 2] == '\n';
}

/* What a process before this one left: its complete groups, and nothing behind them. */
static tn_status go_on(tn_journal *j, const char *what, tn_journal_note *seen, void *ctx, tn_err *e) {
    tn_str text = TN_STR_INIT;
    size_t head, used = 0;
    tn_status st = tn_read_file(j->part.s, &text, most, e);
    if (st == TN_OK && !line_end(text.s, text.len)) text.len = 0; /* died in its first line */
    if (st == TN_OK && text.len && !begins_with(&text, what, &head))
        st = tn_fail(
            e, TN_STATE,
            "%s was begun with other options, rows or models; give those, --overwrite to begin anew, or another "
            "output file",
            j->part.s);
    if (st == TN_OK && text.len) st = read_groups(j, &text, head, seen, ctx, &used, e);
    if (st == TN_OK && (used < text.len || !text.len)) {
        if (!text.len) {
            tn_str_clear(&text);
            tn_str_addf(&text, "# %s\n", what);
            used = text.len;
        }
        st = text.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_write_file(j->part.s, text.s, used, e);
    }
    tn_str_free(&text);
    return st;
}

tn_status tn_journal_open(tn_journal **out, const char *path, const char *what, bool overwrite, tn_journal_note *seen,
                          void *ctx, tn_err *e) {
    tn_journal *j = *out = tn_calloc(1, sizeof *j);
    if (!j) return tn_fail(e, TN_NOMEM, "out of memory");
    j->part = (tn_str)TN_STR_INIT;
    j->lock = -1;
    j->path = tn_strdup(path);
    tn_str_addf(&j->part, "%s.part", path);
    if (!j->path || j->part.oom) return tn_fail(e, TN_NOMEM, "out of memory");
    TN_TRY(tn_lock_file(path, &j->lock, e));
    if (tn_exists(path) && !overwrite)
        return tn_fail(e, TN_STATE, "%s is there already; give --overwrite to make it anew", path);
    if (overwrite) TN_TRY(tn_remove_tree(j->part.s, e));
    if (tn_exists(j->part.s))
        TN_TRY(go_on(j, what, seen, ctx, e));
    else {
        tn_str head = TN_STR_INIT;
        tn_str_addf(&head, "# %s\n", what);
        tn_status st = head.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_write_file(j->part.s, head.s, head.len, e);
        tn_str_free(&head);
        TN_TRY(st);
    }
    return tn_out_open(&j->out, j->part.s, true, e);
}

long tn_journal_groups(const tn_journal *j) { return j->groups; }

tn_status tn_journal_add(tn_journal *j, const tn_str *rows, const char *note, tn_err *e) {
    if (rows->oom) return tn_fail(e, TN_NOMEM, "out of memory for rows of %s", j->path);
    TN_TRY(tn_out_write(j->out, rows->s, rows->len, e));
    TN_TRY(tn_out_write(j->out, "# ", 2, e));
    TN_TRY(tn_out_write(j->out, note, strlen(note), e));
    j->groups++;
    return tn_out_write(j->out, "\n", 1, e);
}

tn_status tn_journal_flush(tn_journal *j, tn_err *e) { return tn_out_flush(j->out, true, e); }

tn_status tn_journal_finish(tn_journal *j, tn_err *e) {
    tn_str text = TN_STR_INIT;
    tn_out *out = NULL;
    tn_out *part = j->out;
    j->out = NULL;
    TN_TRY(tn_out_close(part, TN_OK, true, e));
    TN_TRY(tn_read_file(j->part.s, &text, most, e));
    tn_status st = tn_out_open(&out, j->path, false, e);
    for (size_t at = 0; at < text.len && st == TN_OK;) {
        const char *s = text.s + at, *end = line_end(s, text.len - at);
        size_t n = end ? (size_t)(end - s) + 1 : text.len - at;
        if (*s != '#') st = tn_out_write(out, s, n, e);
        at += n;
    }
    tn_str_free(&text);
    TN_TRY(tn_out_close(out, st, true, e));
    return tn_remove_tree(j->part.s, e);
}

void tn_journal_close(tn_journal *j) {
    if (!j) return;
    tn_out_close(j->out, TN_OK, false, NULL);
    if (j->path) tn_unlock_file(j->path, j->lock);
    tn_str_free(&j->part);
    tn_free(j->path);
    tn_free(j);
}
