/* Line reader over byte streams. A last line without a newline counts. */
#include "base/bytes.h"
#include "base/os.h"
#include <string.h>

enum { LINES_CHUNK = 1 << 16 };

struct tn_lines {
    tn_bytes *in;
    char *path, *buf;
    size_t pos, end, cap; /* unread part of buf */
    size_t max_line;
    long number;
    bool eof, ends;
};

tn_status tn_lines_open(tn_lines **out, const char *path, size_t max_line, tn_err *e) {
    *out = NULL;
    tn_lines *r = tn_calloc(1, sizeof *r);
    if (!r) return tn_fail(e, TN_NOMEM, "no memory to open %s", path);
    r->max_line = max_line ? max_line : SIZE_MAX / 4;
    r->path = tn_strdup(strcmp(path, "-") ? path : "standard input");
    tn_status st = r->path ? tn_bytes_open(&r->in, path, e)
                           : tn_fail(e, TN_NOMEM, "no memory to open %s", path);
    if (st != TN_OK) {
        tn_lines_close(r);
        return st;
    }
    *out = r;
    return TN_OK;
}

/* Moves the unread part to the front and reads on; room stays for a NUL at `end`. */
static tn_status lines_more(tn_lines *r, tn_err *e) {
    if (r->pos) {
        memmove(r->buf, r->buf + r->pos, r->end - r->pos);
        r->end -= r->pos;
        r->pos = 0;
    }
    if (!TN_GROW(r->buf, r->cap, r->end + LINES_CHUNK + 1))
        return tn_fail(e, TN_NOMEM, "%s:%ld: no memory for a line of %zu bytes", r->path,
                       r->number + 1, r->end);
    size_t got;
    tn_status st = tn_bytes_read(r->in, r->buf + r->end, LINES_CHUNK, &got, e);
    if (st != TN_OK) return tn_err_context(e, st, "after line %ld", r->number);
    r->end += got;
    r->eof = got == 0;
    return TN_OK;
}

tn_status tn_lines_next(tn_lines *r, const char **line, size_t *len, tn_err *e) {
    size_t seen = 0; /* bytes after pos already searched */
    char *nl;
    *line = NULL;
    *len = 0;
    for (;;) {
        nl = r->end > r->pos + seen ? memchr(r->buf + r->pos + seen, '\n', r->end - r->pos - seen)
                                    : NULL;
        seen = nl ? (size_t)(nl - r->buf) - r->pos : r->end - r->pos;
        if (seen > r->max_line)
            return tn_fail(e, TN_FORMAT,
                           "%s:%ld: line longer than %zu bytes; is this a JSONL file?", r->path,
                           r->number + 1, r->max_line);
        if (nl || r->eof) break;
        TN_TRY(lines_more(r, e));
    }
    if (!nl && seen == 0) return TN_OK;
    char *s = r->buf + r->pos;
    r->pos += seen + (nl != NULL);
    r->number++;
    *line = s;
    *len = seen + (nl != NULL);
    if (r->ends) return TN_OK;
    if (seen && s[seen - 1] == '\r') seen--;
    s[seen] = 0;
    *len = seen;
    return TN_OK;
}

void tn_lines_keep_ends(tn_lines *r) { r->ends = true; }
long tn_lines_number(const tn_lines *r) { return r->number; }

void tn_lines_close(tn_lines *r) {
    if (!r) return;
    tn_bytes_close(r->in);
    tn_free(r->path);
    tn_free(r->buf);
    tn_free(r);
}
