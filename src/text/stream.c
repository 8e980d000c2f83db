/* Streaming: the whole text is decoded again with each token, since decoders may look at its
 * beginning. An unfinished character shows as U+FFFD at the end and is held back. */
#include "text/text.h"
#include <string.h>

static const char unfinished[] = "\xEF\xBF\xBD";
enum { MARK = sizeof unfinished - 1 };

void tn_stream_begin(tn_stream *s) {
    tn_str_clear(&s->text);
    s->given = 0;
}

void tn_stream_free(tn_stream *s) { tn_str_free(&s->text); }

tn_status tn_stream_next(tn_stream *s, const tn_tokenizer *t, const int32_t *ids, size_t n,
                         bool last, size_t *from, size_t *len, tn_err *e) {
    tn_str_clear(&s->text);
    TN_TRY(tn_decode(t, ids, n, true, &s->text, e));
    if (s->text.oom) return tn_fail(e, TN_NOMEM, "no memory for a text of %zu tokens", n);
    size_t end = s->text.len;
    while (!last && end >= MARK && !memcmp(s->text.s + end - MARK, unfinished, MARK)) end -= MARK;
    *from = s->given < end ? s->given : end;
    *len = end - *from;
    if (end > s->given) s->given = end;
    return TN_OK;
}
