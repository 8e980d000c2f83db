#include "data/reader.h"
#include <string.h>

tn_status tn_reader_need_tokenizer(const tn_reader *r, tn_err *e) {
    if (r->tok) return TN_OK;
    return tn_fail(e, TN_STATE,
                   "%s: the row holds text, but the model folder has no tokenizer.json; "
                   "give rows of token ids or add the tokenizer files",
                   r->where);
}

static int32_t *keep_ids(tn_reader *r, const int32_t *v, size_t n) {
    int32_t *p = tn_arena_alloc(r->d->arena, (n ? n : 1) * sizeof *p);
    if (p && n) memcpy(p, v, n * sizeof *p);
    return p;
}

tn_status tn_reader_out_of_memory(const tn_reader *r, tn_err *e) {
    return tn_fail(e, TN_NOMEM, "%s: out of memory while reading the data", r->where);
}

tn_status tn_reader_new_example(tn_reader *r, int n_response, tn_example **x, tn_err *e) {
    tn_dataset *d = r->d;
    if (!TN_GROW(d->ex, d->cap, d->n + 1)) return tn_reader_out_of_memory(r, e);
    *x = &d->ex[d->n];
    memset(*x, 0, sizeof **x);
    (*x)->n_response = n_response;
    (*x)->file = r->file;
    (*x)->line = r->line;
    (*x)->row = d->stats.read;
    (*x)->response =
        tn_arena_zalloc(d->arena, n_response ? (size_t)n_response : 1, sizeof(tn_response));
    return (*x)->response ? TN_OK : tn_reader_out_of_memory(r, e);
}

tn_status tn_reader_set_prompt(tn_reader *r, tn_example *x, const int32_t *v, size_t n, tn_err *e) {
    x->prompt = keep_ids(r, v, n);
    x->n_prompt = (int)n;
    return x->prompt ? TN_OK : tn_reader_out_of_memory(r, e);
}

tn_status tn_reader_set_response(tn_reader *r, tn_example *x, int i, const int32_t *v, size_t n,
                              const uint8_t *mask, tn_err *e) {
    tn_response *s = &x->response[i];
    s->ids = keep_ids(r, v, n);
    s->trained = tn_arena_alloc(r->d->arena, n ? n : 1);
    if (!s->ids || !s->trained) return tn_reader_out_of_memory(r, e);
    if (mask)
        memcpy(s->trained, mask, n);
    else
        memset(s->trained, 1, n);
    s->n = s->n_whole = (int)n;
    s->rank = i + 1;
    return TN_OK;
}

/* Truncation to max_length tokens of prompt + response, as TRL's collators cut. */
bool tn_reader_cut(const tn_data_options *o, tn_example *x, int *drop) {
    int max = o->max_length;
    bool was_cut = false;
    *drop = -1;
    if (max <= 0) return false;
    int longest = 0;
    for (int i = 0; i < x->n_response; i++)
        if (x->response[i].n > longest) longest = x->response[i].n;
    if (x->n_prompt + longest <= max) return false;
    if (o->drop_long || (!o->keep_end && x->n_prompt >= max)) {
        *drop = TN_DROP_LONG;
        return false;
    }
    if (o->keep_end) { /* the same number of prompt tokens must go for all, so that it stays shared */
        int go = x->n_prompt + longest - max, from_prompt = go < x->n_prompt ? go : x->n_prompt;
        x->prompt += from_prompt;
        x->n_prompt -= from_prompt;
        for (int i = 0; i < x->n_response; i++) {
            tn_response *s = &x->response[i];
            int extra = x->n_prompt + s->n - max;
            if (extra > 0) s->ids += extra, s->trained += extra, s->n -= extra, s->n_whole = s->n;
        }
        return true;
    }
    for (int i = 0; i < x->n_response; i++)
        if (x->n_prompt + x->response[i].n > max)
            x->response[i].n = max - x->n_prompt, was_cut = true;
    return was_cut;
}

/* The first token of a sequence is never predicted. */
static void untrain_first(tn_example *x) {
    if (x->n_prompt == 0)
        for (int i = 0; i < x->n_response; i++)
            if (x->response[i].n > 0) x->response[i].trained[0] = 0;
}

static bool same_response(const tn_response *a, const tn_response *b) {
    return a->n == b->n && memcmp(a->ids, b->ids, (size_t)a->n * sizeof *a->ids) == 0;
}

/* Is there a pair of different responses with different places? Nothing can be learned otherwise. */
static bool informative(const tn_example *x) {
    for (int i = 0; i < x->n_response; i++)
        for (int j = 0; j < i; j++)
            if (x->response[i].rank != x->response[j].rank &&
                !same_response(&x->response[i], &x->response[j]))
                return true;
    return false;
}

void tn_reader_finish(tn_reader *r, tn_example *x) {
    tn_dataset *d = r->d;
    tn_data_stats *s = &d->stats;
    int drop = -1;
    for (int i = 0; i < x->n_response; i++)
        if (x->response[i].n == 0) drop = TN_DROP_EMPTY;
    if (x->n_response == 0 && x->n_prompt == 0) drop = TN_DROP_EMPTY;
    if (r->o->kind == TN_DATA_UNPAIRED && x->n_prompt == 0) drop = TN_DROP_EMPTY;
    if (drop < 0 && tn_reader_cut(r->o, x, &drop)) s->truncated++;
    untrain_first(x);
    bool wants_target = r->o->kind == TN_DATA_SFT || r->o->kind == TN_DATA_STEPS;
    if (drop < 0 && wants_target && tn_example_trained(x) == 0)
        drop = TN_DROP_NO_TARGET;
    if (drop < 0 && x->n_response > 1 && !informative(x)) drop = TN_DROP_SAME;
    if (drop >= 0) {
        s->dropped[drop]++;
        json_decref(x->meta);
        return;
    }
    s->kept++;
    s->tokens += tn_example_tokens(x);
    s->trained += tn_example_trained(x);
    d->hash = tn_hash64(x->prompt, (size_t)x->n_prompt * sizeof(int32_t), d->hash);
    for (int i = 0; i < x->n_response; i++) {
        d->hash =
            tn_hash64(x->response[i].ids, (size_t)x->response[i].n * sizeof(int32_t), d->hash);
        d->hash = tn_hash64(x->response[i].trained, (size_t)x->response[i].n, d->hash);
    }
    if (r->o->kind == TN_DATA_UNPAIRED) d->hash = tn_hash64(&x->label, sizeof x->label, d->hash);
    if (x->has_p) d->hash = tn_hash64(&x->p, sizeof x->p, d->hash), s->soft++;
    d->n++;
}

tn_status tn_reader_get_ids(tn_reader *r, const json_t *row, const char *key, tn_ids *out,
                            tn_err *e) {
    const json_t *a = json_object_get(row, key);
    char where[700];
    snprintf(where, sizeof where, "%s: \"%s\"", r->where, key);
    if (!json_is_array(a)) return tn_fail(e, TN_FORMAT, "%s must be a list of token ids", where);
    int32_t *v = NULL;
    size_t n = 0;
    TN_TRY(tn_json_ids(a, r->o->vocab, &v, &n, where, e));
    out->n = 0;
    bool ok = TN_GROW(out->v, out->cap, n + 1);
    if (ok && n) memcpy(out->v, v, n * sizeof *v);
    out->n = ok ? n : 0;
    tn_free(v);
    return ok ? TN_OK : tn_reader_out_of_memory(r, e);
}

const json_t *tn_reader_best_transcript(const json_t *row) {
    const json_t *text = json_object_get(row, "text"), *score = json_object_get(row, "score");
    size_t best = 0;
    if (!json_is_array(text) || json_array_size(text) != json_array_size(score)) return NULL;
    for (size_t i = 1; i < json_array_size(text); i++)
        if (json_number_value(json_array_get(score, i)) >
            json_number_value(json_array_get(score, best)))
            best = i;
    return json_array_get(text, best);
}
