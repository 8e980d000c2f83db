/* Text to ids, the post-processor, and working memories; see tok.h. */
#include "text/tok.h"
#include <string.h>

void tn_ids_free(tn_ids *a) {
    tn_free(a->v);
    memset(a, 0, sizeof *a);
}

void tn_spans_free(tn_spans *a) {
    tn_free(a->v);
    memset(a, 0, sizeof *a);
}

/* ---- working memories: as many as there are concurrent calls ---- */

void tn_work_free(tn_work *w) {
    if (!w) return;
    tn_arena_free(w->arena);
    tn_free(w->cur.v);
    tn_free(w->out.v);
    tn_free(w->buf.s);
    tn_free(w->buf.a);
    tn_free(w->buf.b);
    tn_free(w->cut);
    tn_rx_mem_free(&w->rx);
    tn_free(w->sym);
    tn_free(w->heap);
    tn_free(w->cache);
    tn_free(w->keys);
    tn_free(w->vals);
    tn_free(w);
}

tn_status tn_work_get(const tn_tokenizer *t, tn_work **out, tn_err *e) {
    tn_tokenizer *m =
        (tn_tokenizer *)t; /* the list of idle memories is the one thing that changes */
    pthread_mutex_lock(&m->lock);
    tn_work *w = m->idle;
    if (w) m->idle = w->next;
    pthread_mutex_unlock(&m->lock);
    if (!w) {
        w = tn_calloc(1, sizeof *w);
        if (w && !(w->arena = tn_arena_new(1 << 16))) {
            tn_free(w);
            w = NULL;
        }
        if (!w) return tn_fail(e, TN_NOMEM, "no memory while tokenizing");
    }
    tn_arena_reset(w->arena);
    w->cur.n = w->out.n = 0;
    w->align = t->first_only;
    w->e = e;
    *out = w;
    return TN_OK;
}

void tn_work_put(const tn_tokenizer *t, tn_work *w) {
    tn_tokenizer *m = (tn_tokenizer *)t;
    w->e = NULL;
    pthread_mutex_lock(&m->lock);
    w->next = m->idle;
    m->idle = w;
    pthread_mutex_unlock(&m->lock);
}

/* ---- encoding ---- */

static tn_status put_id(tn_ids *out, tn_spans *offsets, int32_t id, uint32_t a, uint32_t b,
                        tn_err *e) {
    if (!TN_GROW(out->v, out->cap, out->n + 1)) return tn_fail(e, TN_NOMEM, "no memory for ids");
    if (offsets) {
        if (!TN_GROW(offsets->v, offsets->cap, 2 * out->n + 2))
            return tn_fail(e, TN_NOMEM, "no memory for offsets");
        offsets->v[2 * out->n] = a;
        offsets->v[2 * out->n + 1] = b;
        offsets->n = out->n + 1;
    }
    out->v[out->n++] = id;
    return TN_OK;
}

/* End of the word that starts at `from`: before a U+2581 that follows something else. */
static size_t word_end(const tn_piece *p, size_t from) {
    bool other = false;
    for (size_t i = from; i < p->n;) {
        bool mark =
            p->s[i] == '\xE2' && p->n - i >= 3 && p->s[i + 1] == '\x96' && p->s[i + 2] == '\x81';
        if (mark && other) return i;
        other |= !mark;
        i += mark ? 3 : 1;
    }
    return p->n;
}

static tn_status put_piece(const tn_tokenizer *t, tn_work *w, const tn_piece *p, tn_ids *out,
                           tn_spans *offsets) {
    const int32_t *v;
    size_t nv;
    uint32_t a = 0, b = 0, skip;
    if (p->id >= 0) {
        if (offsets && p->n) {
            tn_piece_origin(p, 0, &a, &skip);
            tn_piece_origin(p, p->n - 1, &skip, &b);
        }
        return put_id(out, offsets, p->id, a, b, w->e);
    }
    for (size_t from = 0, to; from < p->n; from = to) {
        to = t->mark_starts && !t->bytes_last ? word_end(p, from) : p->n;
        TN_TRY(tn_model_run(t, w, p->s + from, to - from, &v, &nv));
        for (size_t k = 0, at = from; k < nv; k++) {
            size_t end = at + (size_t)v[2 * k + 1];
            if (end > p->n) end = p->n;
            if (offsets && at < end) {
                tn_piece_origin(p, at, &a, &skip);
                tn_piece_origin(p, end - 1, &skip, &b);
            }
            TN_TRY(put_id(out, offsets, v[2 * k], a, b, w->e));
            at = end;
        }
    }
    return TN_OK;
}

static tn_status encode(const tn_tokenizer *t, tn_work *w, const char *s, size_t n, tn_ids *out,
                        tn_spans *offsets) {
    tn_piece all = {.s = s, .n = n, .id = -1};
    if (n == 0) return TN_OK;
    TN_TRY(tn_added_cut(t, w, &t->raw_trie, &all));
    tn_pieces raw = w->out; /* normalise what is left and look for the other tokens there */
    w->out = w->cur;
    w->cur = raw;
    w->out.n = 0;
    for (size_t k = 0; k < w->cur.n; k++) {
        tn_piece p = w->cur.v[k];
        if (p.id >= 0) {
            TN_TRY(tn_pieces_push(w, &w->out, p));
            continue;
        }
        TN_TRY(tn_norm_run(t, w, &p));
        TN_TRY(tn_added_cut(t, w, &t->norm_trie, &p));
    }
    raw = w->cur;
    w->cur = w->out;
    w->out = raw;
    TN_TRY(tn_pre_run(t, w));
    for (size_t k = 0; k < w->cur.n; k++) TN_TRY(put_piece(t, w, &w->cur.v[k], out, offsets));
    return TN_OK;
}

tn_status tn_encode(const tn_tokenizer *t, const char *s, size_t n, bool special, tn_ids *out,
                    tn_spans *offsets, tn_err *e) {
    tn_work *w;
    tn_str valid = TN_STR_INIT;
    if (n > INT32_MAX)
        return tn_fail(e, TN_UNSUPPORTED,
                       "a text of %zu bytes; at most 2 GB can be tokenized at once", n);
    if (!tn_utf8_valid(s, n)) {
        if (offsets)
            return tn_fail(e, TN_FORMAT,
                           "the text is not valid UTF-8, so its tokens have no places in it");
        tn_utf8_replace(&valid, s, n);
        if (valid.oom) {
            tn_str_free(&valid);
            return tn_fail(e, TN_NOMEM, "no memory while tokenizing");
        }
        s = valid.s;
        n = valid.len;
    }
    tn_status st = tn_work_get(t, &w, e);
    if (st != TN_OK) {
        tn_str_free(&valid);
        return st;
    }
    w->align = w->align || offsets;
    for (size_t k = 0; k < t->nbefore && special && st == TN_OK; k++)
        st = put_id(out, offsets, t->before[k], 0, 0, e);
    if (st == TN_OK) st = encode(t, w, s, n, out, offsets);
    for (size_t k = 0; k < t->nafter && special && st == TN_OK; k++)
        st = put_id(out, offsets, t->after[k], (uint32_t)n, (uint32_t)n, e);
    tn_work_put(t, w);
    tn_str_free(&valid);
    return st;
}

/* ---- post-processors: what stands before and after a single text ---- */

static tn_status add_ids(int32_t **v, size_t *n, const json_t *ids, const tn_tokenizer *t,
                         tn_err *e) {
    size_t i, cap = *n;
    json_t *j;
    json_array_foreach(ids, i, j) {
        json_int_t id = json_is_integer(j) ? json_integer_value(j) : -1;
        if (id < 0 || id > INT32_MAX || *n > 1000)
            return tn_fail(e, TN_FORMAT, "%s: post-processor with an id that is no token id",
                           t->where);
        if (!TN_GROW(*v, cap, *n + 1)) return tn_fail(e, TN_NOMEM, "no memory for a tokenizer");
        (*v)[(*n)++] = (int32_t)id;
    }
    return TN_OK;
}

static tn_status read_template(tn_tokenizer *t, const json_t *j, tn_err *e) {
    json_t *single, *specials, *piece;
    size_t i;
    bool seen = false;
    TN_TRY(tn_json_need(j, "single", JSON_ARRAY, &single, t->where, e));
    specials = json_object_get(j, "special_tokens");
    json_array_foreach(single, i, piece) {
        const json_t *sp = json_object_get(piece, "SpecialToken"),
                     *seq = json_object_get(piece, "Sequence");
        if (seq) {
            const char *id = json_string_value(json_object_get(seq, "id"));
            if (seen || !id || strcmp(id, "A"))
                return tn_fail(e, TN_UNSUPPORTED,
                               "%s: TemplateProcessing whose \"single\" is not one sequence A",
                               t->where);
            seen = true;
            continue;
        }
        const char *name = json_string_value(json_object_get(sp, "id"));
        json_t *ids = name ? json_object_get(json_object_get(specials, name), "ids") : NULL;
        if (!json_is_array(ids))
            return tn_fail(e, TN_FORMAT,
                           "%s: TemplateProcessing names %s, which its special_tokens lack",
                           t->where, name ? name : "nothing");
        TN_TRY(seen ? add_ids(&t->after, &t->nafter, ids, t, e)
                    : add_ids(&t->before, &t->nbefore, ids, t, e));
    }
    if (!seen)
        return tn_fail(e, TN_UNSUPPORTED,
                       "%s: TemplateProcessing whose \"single\" lacks sequence A", t->where);
    return TN_OK;
}

/* [text, id] pairs of BertProcessing and RobertaProcessing. */
static tn_status read_pair(tn_tokenizer *t, const json_t *j, const char *key, int32_t **v,
                           size_t *n, tn_err *e) {
    const json_t *pair = json_object_get(j, key), *id = json_array_get(pair, 1);
    if (!json_is_integer(id))
        return tn_fail(e, TN_FORMAT, "%s: post-processor without \"%s\": [token, id]", t->where,
                       key);
    json_t *one = json_pack("[O]", id);
    if (!one) return tn_fail(e, TN_NOMEM, "no memory for a tokenizer");
    tn_status st = add_ids(v, n, one, t, e);
    json_decref(one);
    return st;
}

tn_status tn_post_read(tn_tokenizer *t, const json_t *j, tn_err *e) {
    const char *type;
    if (!j || json_is_null(j)) return TN_OK;
    TN_TRY(tn_stage_type(j, &type, t->where, e));
    if (!strcmp(type, "ByteLevel")) return TN_OK; /* changes offsets only */
    bool pairs = !strcmp(type, "BertProcessing") || !strcmp(type, "RobertaProcessing");
    if (!strcmp(type, "Sequence")) {
        json_t *list, *v;
        size_t i;
        TN_TRY(tn_json_need(j, "processors", JSON_ARRAY, &list, t->where, e));
        json_array_foreach(list, i, v) {
            const char *inner = json_string_value(json_object_get(v, "type"));
            if (inner && !strcmp(inner, "Sequence"))
                return tn_fail(e, TN_UNSUPPORTED, "%s: post-processor Sequence within Sequence",
                               t->where);
            TN_TRY(tn_post_read(t, v, e));
        }
        return TN_OK;
    }
    if ((pairs || !strcmp(type, "TemplateProcessing")) && (t->nbefore || t->nafter))
        return tn_fail(e, TN_UNSUPPORTED, "%s: two post-processors that both add tokens", t->where);
    if (!strcmp(type, "TemplateProcessing")) return read_template(t, j, e);
    if (pairs) {
        TN_TRY(read_pair(t, j, "cls", &t->before, &t->nbefore, e));
        return read_pair(t, j, "sep", &t->after, &t->nafter, e);
    }
    return tn_fail(e, TN_UNSUPPORTED,
                   "%s: post-processor \"%s\" is not supported (known: TemplateProcessing, "
                   "ByteLevel, BertProcessing, "
                   "RobertaProcessing, Sequence)",
                   t->where, type);
}
