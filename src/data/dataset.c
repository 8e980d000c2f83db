#include "data/dataset.h"
#include "base/signals.h"
#include <string.h>

const char *tn_drop_reason(int reason) {
    static const char *const text[TN_DROP_COUNT] = {
        "longer than --max-length", "empty", "no token to train on",
        "no two different answers with different places"};
    return text[reason];
}

int tn_example_tokens(const tn_example *x) {
    int n = x->n_prompt;
    for (int i = 0; i < x->n_response; i++) n += x->response[i].n;
    return n;
}

int tn_example_trained(const tn_example *x) {
    int n = 0;
    for (int i = 0; i < x->n_response; i++)
        for (int t = 0; t < x->response[i].n; t++) n += x->response[i].trained[t];
    return n;
}

/* What reading one row needs. Scratch ids are reused from row to row. */
typedef struct reader {
    tn_dataset *d;
    const tn_tokenizer *tok;
    const tn_data_options *o;
    char where[600];
    int file, line;
    tn_ids a, b, c;
} reader;

static tn_status need_tokenizer(const reader *r, tn_err *e) {
    if (r->tok) return TN_OK;
    return tn_fail(e, TN_STATE,
                   "%s: the row holds text, but the model folder has no tokenizer.json; "
                   "give rows of token ids or add the tokenizer files",
                   r->where);
}

static int32_t *keep_ids(reader *r, const int32_t *v, size_t n) {
    int32_t *p = tn_arena_alloc(r->d->arena, (n ? n : 1) * sizeof *p);
    if (p && n) memcpy(p, v, n * sizeof *p);
    return p;
}

static tn_status out_of_memory(const reader *r, tn_err *e) {
    return tn_fail(e, TN_NOMEM, "%s: out of memory while reading the data", r->where);
}

static tn_status new_example(reader *r, int n_response, tn_example **x, tn_err *e) {
    tn_dataset *d = r->d;
    if (!TN_GROW(d->ex, d->cap, d->n + 1)) return out_of_memory(r, e);
    *x = &d->ex[d->n];
    memset(*x, 0, sizeof **x);
    (*x)->n_response = n_response;
    (*x)->file = r->file;
    (*x)->line = r->line;
    (*x)->response =
        tn_arena_zalloc(d->arena, n_response ? (size_t)n_response : 1, sizeof(tn_response));
    return (*x)->response ? TN_OK : out_of_memory(r, e);
}

static tn_status set_prompt(reader *r, tn_example *x, const int32_t *v, size_t n, tn_err *e) {
    x->prompt = keep_ids(r, v, n);
    x->n_prompt = (int)n;
    return x->prompt ? TN_OK : out_of_memory(r, e);
}

/* mask NULL: every token is trained. */
static tn_status set_response(reader *r, tn_example *x, int i, const int32_t *v, size_t n,
                              const uint8_t *mask, tn_err *e) {
    tn_response *s = &x->response[i];
    s->ids = keep_ids(r, v, n);
    s->trained = tn_arena_alloc(r->d->arena, n ? n : 1);
    if (!s->ids || !s->trained) return out_of_memory(r, e);
    if (mask)
        memcpy(s->trained, mask, n);
    else
        memset(s->trained, 1, n);
    s->n = (int)n;
    s->rank = i + 1;
    return TN_OK;
}

/* Truncation to max_length tokens of prompt + response, as TRL's collators cut. */
static bool cut(reader *r, tn_example *x, int *drop) {
    int max = r->o->max_length;
    bool was_cut = false;
    *drop = -1;
    if (max <= 0) return false;
    int longest = 0;
    for (int i = 0; i < x->n_response; i++)
        if (x->response[i].n > longest) longest = x->response[i].n;
    if (x->n_prompt + longest <= max) return false;
    if (r->o->drop_long || (!r->o->keep_end && x->n_prompt >= max)) {
        *drop = TN_DROP_LONG;
        return false;
    }
    if (r->o->keep_end) { /* the same number of prompt tokens must go for all, so that it stays shared */
        int go = x->n_prompt + longest - max, from_prompt = go < x->n_prompt ? go : x->n_prompt;
        x->prompt += from_prompt;
        x->n_prompt -= from_prompt;
        for (int i = 0; i < x->n_response; i++) {
            tn_response *s = &x->response[i];
            int extra = x->n_prompt + s->n - max;
            if (extra > 0) s->ids += extra, s->trained += extra, s->n -= extra;
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

static void finish(reader *r, tn_example *x) {
    tn_dataset *d = r->d;
    tn_data_stats *s = &d->stats;
    int drop = -1;
    for (int i = 0; i < x->n_response; i++)
        if (x->response[i].n == 0) drop = TN_DROP_EMPTY;
    if (x->n_response == 0 && x->n_prompt == 0) drop = TN_DROP_EMPTY;
    if (drop < 0 && cut(r, x, &drop)) s->truncated++;
    untrain_first(x);
    if (drop < 0 && r->o->kind == TN_DATA_SFT && tn_example_trained(x) == 0)
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
    d->n++;
}

/* ---- rows of token ids ---- */

static tn_status get_ids(reader *r, const json_t *row, const char *key, tn_ids *out, tn_err *e) {
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
    return ok ? TN_OK : out_of_memory(r, e);
}

static tn_status sft_ids(reader *r, const json_t *row, tn_err *e) {
    tn_example *x;
    if (json_object_get(row, "prompt_ids")) {
        TN_TRY(get_ids(r, row, "prompt_ids", &r->a, e));
        TN_TRY(get_ids(r, row, "ids", &r->b, e));
        TN_TRY(new_example(r, 1, &x, e));
        TN_TRY(set_prompt(r, x, r->a.v, r->a.n, e));
        TN_TRY(set_response(r, x, 0, r->b.v, r->b.n, NULL, e));
        finish(r, x);
        return TN_OK;
    }
    TN_TRY(get_ids(r, row, json_object_get(row, "input_ids") ? "input_ids" : "ids", &r->a, e));
    const json_t *labels = json_object_get(row, "labels");
    TN_TRY(new_example(r, 1, &x, e));
    TN_TRY(set_prompt(r, x, NULL, 0, e));
    TN_TRY(set_response(r, x, 0, r->a.v, r->a.n, NULL, e));
    if (labels) {
        if (!json_is_array(labels) || json_array_size(labels) != r->a.n)
            return tn_fail(e, TN_FORMAT,
                           "%s: \"labels\" must be a list as long as \"input_ids\" (%zu)", r->where,
                           r->a.n);
        for (size_t i = 0; i < r->a.n; i++) {
            json_int_t l = json_integer_value(json_array_get(labels, i));
            if (l != -100 && l != r->a.v[i])
                return tn_fail(e, TN_UNSUPPORTED,
                               "%s: labels[%zu] is %lld; expected -100 or the token itself (%d)",
                               r->where, i, (long long)l, r->a.v[i]);
            x->response[0].trained[i] = l != -100;
        }
    }
    finish(r, x);
    return TN_OK;
}

/* ---- SFT rows of text ---- */

/* One response without a prompt segment. */
static tn_status whole(reader *r, const tn_ids *ids, const uint8_t *mask, tn_err *e) {
    tn_example *x;
    TN_TRY(new_example(r, 1, &x, e));
    TN_TRY(set_prompt(r, x, NULL, 0, e));
    TN_TRY(set_response(r, x, 0, ids->v, ids->n, mask, e));
    finish(r, x);
    return TN_OK;
}

static tn_status sft_messages(reader *r, const json_t *m, tn_err *e) {
    uint8_t *mask = NULL;
    r->a.n = 0;
    TN_TRY(tn_encode_messages(r->tok, m, &r->a, r->o->assistant_only ? &mask : NULL, r->where, e));
    tn_status st = whole(r, &r->a, mask, e);
    tn_free(mask);
    return st;
}

static tn_status sft_completion(reader *r, const json_t *prompt, const json_t *completion,
                                tn_err *e) {
    size_t split = 0;
    r->a.n = 0;
    TN_TRY(
        tn_encode_completion(r->tok, prompt, completion, r->o->seam, &r->a, &split, r->where, e));
    if (!r->o->completion_only) return whole(r, &r->a, NULL, e);
    tn_example *x;
    TN_TRY(new_example(r, 1, &x, e));
    TN_TRY(set_prompt(r, x, r->a.v, split, e));
    TN_TRY(set_response(r, x, 0, r->a.v + split, r->a.n - split, NULL, e));
    finish(r, x);
    return TN_OK;
}

/* {"text": [transcripts], "score": [...]}: the first one with the highest score; NULL for other rows. */
static const json_t *best_transcript(const json_t *row) {
    const json_t *text = json_object_get(row, "text"), *score = json_object_get(row, "score");
    size_t best = 0;
    if (!json_is_array(text) || json_array_size(text) != json_array_size(score)) return NULL;
    for (size_t i = 1; i < json_array_size(text); i++)
        if (json_number_value(json_array_get(score, i)) >
            json_number_value(json_array_get(score, best)))
            best = i;
    return json_array_get(text, best);
}

static tn_status read_sft(reader *r, const json_t *row, tn_err *e) {
    const json_t *v;
    if (json_object_get(row, "input_ids") || json_object_get(row, "ids")) return sft_ids(r, row, e);
    TN_TRY(need_tokenizer(r, e));
    if ((v = json_object_get(row, "messages")) || (v = json_object_get(row, "conversations")))
        return sft_messages(r, v, e);
    if ((v = json_object_get(row, "prompt"))) {
        const json_t *c = json_object_get(row, "completion");
        if (!c)
            c = json_object_get(row,
                                "chosen"); /* SFT on the preferred answers of a preference file */
        if (!c)
            return tn_fail(e, TN_FORMAT, "%s: the row has \"prompt\" but no \"completion\"",
                           r->where);
        return sft_completion(r, v, c, e);
    }
    if (!(v = json_object_get(row, "chosen"))) v = best_transcript(row);
    if (v && json_is_string(v) && r->o->chat_transcripts) {
        json_t *m = tn_transcript_messages(json_string_value(v));
        if (m) {
            tn_status st = sft_messages(r, m, e);
            json_decref(m);
            return st;
        }
    }
    if (!v && json_is_string(json_object_get(row, "text"))) v = json_object_get(row, "text");
    if (tn_json_is_messages(v)) return sft_messages(r, v, e);
    if (!json_is_string(v))
        return tn_fail(e, TN_FORMAT,
                       "%s: no field to train on; expected one of \"text\", \"messages\", "
                       "\"prompt\" + \"completion\", \"chosen\", \"input_ids\"",
                       r->where);
    r->a.n = 0;
    TN_TRY(tn_encode_text(r->tok, json_string_value(v), json_string_length(v), true, &r->a, e));
    return whole(r, &r->a, NULL, e);
}

/* ---- preferences ---- */

static tn_status pair_from(reader *r, const json_t *row, const tn_ids *p, const tn_ids *c,
                           const tn_ids *j, tn_err *e) {
    tn_example *x;
    TN_TRY(new_example(r, 2, &x, e));
    x->pair = true;
    TN_TRY(set_prompt(r, x, p->v, p->n, e));
    TN_TRY(set_response(r, x, 0, c->v, c->n, NULL, e));
    TN_TRY(set_response(r, x, 1, j->v, j->n, NULL, e));
    TN_TRY(tn_json_real(row, "margin", 0, &x->margin, r->where, e));
    finish(r, x);
    return TN_OK;
}

static tn_status pair_ids(reader *r, const json_t *row, tn_err *e) {
    TN_TRY(get_ids(r, row, "chosen_ids", &r->b, e));
    TN_TRY(get_ids(r, row, "rejected_ids", &r->c, e));
    if (json_object_get(row, "prompt_ids")) {
        TN_TRY(get_ids(r, row, "prompt_ids", &r->a, e));
        return pair_from(r, row, &r->a, &r->b, &r->c, e);
    }
    size_t k = 0; /* the common prefix is the prompt, at least one token is left to each */
    while (k + 1 < r->b.n && k + 1 < r->c.n && r->b.v[k] == r->c.v[k]) k++;
    tn_ids p = {r->b.v, k, 0}, c = {r->b.v + k, r->b.n - k, 0}, j = {r->c.v + k, r->c.n - k, 0};
    return pair_from(r, row, &p, &c, &j, e);
}

static tn_status pair_text(reader *r, const json_t *row, const json_t *prompt, const json_t *chosen,
                           const json_t *rejected, tn_err *e) {
    r->a.n = r->b.n = r->c.n = 0;
    TN_TRY(tn_encode_pair(r->tok, prompt, chosen, rejected, r->o->seam, &r->a, &r->b, &r->c,
                          r->where, e));
    return pair_from(r, row, &r->a, &r->b, &r->c, e);
}

static tn_status pair_implicit(reader *r, const json_t *row, const json_t *chosen,
                               const json_t *rejected, tn_err *e) {
    json_t *mc = NULL, *mr = NULL, *p, *c, *j;
    if (r->o->chat_transcripts && json_is_string(chosen) && json_is_string(rejected)) {
        mc = tn_transcript_messages(json_string_value(chosen));
        mr = tn_transcript_messages(json_string_value(rejected));
        if (mc && mr) chosen = mc, rejected = mr;
    }
    tn_status st = tn_extract_prompt(chosen, rejected, &p, &c, &j, r->where, e);
    if (st == TN_OK) st = pair_text(r, row, p, c, j, e);
    json_decref(p), json_decref(c), json_decref(j), json_decref(mc), json_decref(mr);
    return st;
}

/* Places 1..K from scores, higher is better, equal scores tie. */
static int place(const json_t *score, size_t i) {
    int better = 0;
    for (size_t k = 0; k < json_array_size(score); k++)
        better += json_number_value(json_array_get(score, k)) >
                  json_number_value(json_array_get(score, i));
    return better + 1;
}

static tn_status ranking_check(reader *r, const json_t *list, const json_t *order, const char *name,
                               tn_err *e) {
    size_t k = json_array_size(list);
    if (!json_is_array(order) || json_array_size(order) != k)
        return tn_fail(e, TN_FORMAT, "%s: \"%s\" must be a list of %zu numbers, one per response",
                       r->where, name, k);
    for (size_t i = 0; i < k; i++)
        if (!json_is_number(json_array_get(order, i)))
            return tn_fail(e, TN_FORMAT, "%s: \"%s\"[%zu] is not a number", r->where, name, i);
    if (k < 2 || k > 64)
        return tn_fail(e, TN_FORMAT, "%s: a ranking needs 2 to 64 responses, found %zu", r->where,
                       k);
    return TN_OK;
}

/* Each response encoded after the prompt; the shared prompt is the smallest common prefix. */
static tn_status ranking_texts(reader *r, const json_t *prompt, const json_t *responses,
                               const json_t *ended, const json_t *order, bool scores, tn_err *e) {
    size_t k = json_array_size(responses), shared = 0;
    tn_ids all[64] = {{0}};
    tn_status st = TN_OK;
    tn_example *x = NULL;
    for (size_t i = 0; i < k; i++) {
        json_t *y = json_array_get(responses, i), *msg = NULL;
        size_t split;
        if (json_is_string(y) && !json_is_string(prompt))
            y = msg = json_pack("[{s:s,s:O}]", "role", "assistant", "content", y);
        st = tn_encode_completion(r->tok, prompt, y, r->o->seam, &all[i], &split, r->where, e);
        json_decref(msg);
        if (st != TN_OK) goto done;
        /* a response that never ended has no end-of-turn token to score */
        int eos = tn_tokenizer_eos(r->tok);
        if (json_is_false(json_array_get(ended, i)) && all[i].n > split &&
            all[i].v[all[i].n - 1] == eos)
            all[i].n--;
        shared = i == 0 || split < shared ? split : shared;
    }
    TN_GO(new_example(r, (int)k, &x, e), done);
    TN_GO(set_prompt(r, x, all[0].v, shared, e), done);
    for (size_t i = 0; i < k; i++) {
        TN_GO(set_response(r, x, (int)i, all[i].v + shared, all[i].n - shared, NULL, e), done);
        x->response[i].rank =
            scores ? place(order, i) : (int)json_number_value(json_array_get(order, i));
    }
    finish(r, x);
done:
    for (size_t i = 0; i < k; i++) tn_ids_free(&all[i]);
    return st;
}

/* {"text": [whole transcripts], "score": [...]} */
static tn_status scored_transcripts(reader *r, const json_t *row, tn_err *e) {
    const json_t *text = json_object_get(row, "text"), *score = json_object_get(row, "score");
    TN_TRY(ranking_check(r, text, score, "score", e));
    json_t *prompt = NULL, *responses = json_array();
    tn_status st = TN_OK;
    for (size_t i = 0; i < json_array_size(text); i++) {
        const json_t *t = json_array_get(text, i);
        const char *s = json_string_value(t), *cut_at = NULL;
        if (!s) {
            st = tn_fail(e, TN_FORMAT, "%s: \"text\"[%zu] is not a string", r->where, i);
            goto done;
        }
        for (const char *q = s; (q = strstr(q, "\n\nAssistant:")); q++) cut_at = q;
        if (!cut_at) {
            st = tn_fail(e, TN_FORMAT, "%s: \"text\"[%zu] has no \"\\n\\nAssistant:\" turn",
                         r->where, i);
            goto done;
        }
        const char *body = cut_at + strlen("\n\nAssistant:");
        if (*body == ' ') body++;
        if (i == 0) {
            json_t *m = r->o->chat_transcripts ? tn_transcript_messages(s) : NULL;
            if (m) {
                json_array_remove(m, json_array_size(m) - 1);
                prompt = m;
            } else {
                prompt = json_stringn(s, (size_t)(body - s));
            }
        }
        json_array_append_new(responses, json_string(body));
    }
    st = ranking_texts(r, prompt, responses, NULL, score, true, e);
done:
    json_decref(prompt);
    json_decref(responses);
    return st;
}

static tn_status read_preference(reader *r, const json_t *row, tn_err *e) {
    const json_t *prompt = json_object_get(row, "prompt"), *c = json_object_get(row, "chosen"),
                 *j = json_object_get(row, "rejected"), *list;
    if (json_object_get(row, "chosen_ids")) return pair_ids(r, row, e);
    TN_TRY(need_tokenizer(r, e));
    if ((list = json_object_get(row, "responses"))) {
        if (!json_is_array(list))
            return tn_fail(e, TN_FORMAT, "%s: \"responses\" must be a list", r->where);
        TN_TRY(ranking_check(r, list, json_object_get(row, "rank"), "rank", e));
        return ranking_texts(r, prompt, list, json_object_get(row, "ended"),
                             json_object_get(row, "rank"), false, e);
    }
    if (json_is_array(json_object_get(row, "text")) && json_object_get(row, "score"))
        return scored_transcripts(r, row, e);
    if (!c || !j)
        return tn_fail(
            e, TN_FORMAT,
            "%s: a preference row needs \"chosen\" and \"rejected\" (or \"responses\" and "
            "\"rank\", or \"chosen_ids\" and \"rejected_ids\")",
            r->where);
    json_t *cm = json_is_object(c) ? json_pack("[O]", c) : NULL,
           *jm = json_is_object(j) ? json_pack("[O]", j) : NULL;
    tn_status st = prompt ? pair_text(r, row, prompt, cm ? cm : c, jm ? jm : j, e)
                          : pair_implicit(r, row, cm ? cm : c, jm ? jm : j, e);
    json_decref(cm);
    json_decref(jm);
    return st;
}

/* ---- prompts ---- */

static tn_status read_prompt(reader *r, json_t *row, tn_err *e) {
    tn_example *x;
    const json_t *v;
    r->a.n = 0;
    if (json_object_get(row, "ids") || json_object_get(row, "prompt_ids")) {
        TN_TRY(get_ids(r, row, json_object_get(row, "ids") ? "ids" : "prompt_ids", &r->a, e));
    } else {
        TN_TRY(need_tokenizer(r, e));
        json_t *made = NULL;
        if (!(v = json_object_get(row, "prompt")) && !(v = json_object_get(row, "messages"))) {
            const json_t *c = json_object_get(row, "chosen"), *j = json_object_get(row, "rejected");
            if (!c) c = best_transcript(row);
            if (json_is_string(c) && r->o->chat_transcripts &&
                (made = tn_transcript_messages(json_string_value(c)))) {
                json_array_remove(made, json_array_size(made) - 1);
            } else if (c && j) {
                json_t *a, *b;
                TN_TRY(tn_extract_prompt(c, j, &made, &a, &b, r->where, e));
                json_decref(a);
                json_decref(b);
            }
            v = made;
        }
        if (!v)
            return tn_fail(e, TN_FORMAT,
                           "%s: no prompt; expected \"prompt\", \"messages\" or \"ids\"", r->where);
        tn_status st = tn_encode_prompt(r->tok, v, &r->a, r->where, e);
        json_decref(made);
        TN_TRY(st);
    }
    TN_TRY(new_example(r, 0, &x, e));
    TN_TRY(set_prompt(r, x, r->a.v, r->a.n, e));
    x->meta = json_incref(row);
    if (r->o->max_length > 0 && x->n_prompt > r->o->max_length) {
        r->d->stats.dropped[TN_DROP_LONG]++;
        json_decref(row);
        return TN_OK;
    }
    finish(r, x);
    return TN_OK;
}

static tn_status read_file(reader *r, const char *path, tn_err *e) {
    tn_lines *lines;
    TN_TRY(tn_lines_open(&lines, path, (size_t)64 << 20, e));
    tn_status st = TN_OK;
    for (;;) {
        json_t *row = NULL;
        if (tn_stop_requested()) {
            st = tn_fail(e, TN_INTERRUPTED, "stopped while reading %s", path);
            goto done;
        }
        TN_GO(tn_jsonl_next(lines, path, &row, e), done);
        if (!row) break;
        r->line = (int)tn_lines_number(lines);
        snprintf(r->where, sizeof r->where, "%.560s:%d", path, r->line);
        r->d->stats.read++;
        st = r->o->kind == TN_DATA_SFT          ? read_sft(r, row, e)
             : r->o->kind == TN_DATA_PREFERENCE ? read_preference(r, row, e)
                                                : read_prompt(r, row, e);
        json_decref(row);
        if (st != TN_OK) goto done;
        if (r->o->limit > 0 && r->d->stats.read >= r->o->limit) break;
    }
done:
    tn_lines_close(lines);
    return st;
}

tn_status tn_dataset_load(tn_dataset **out, const char *const *paths, int n_paths,
                          const tn_tokenizer *tok, const tn_data_options *o, tn_err *e) {
    *out = NULL;
    tn_dataset *d = tn_calloc(1, sizeof *d);
    if (!d) return tn_fail(e, TN_NOMEM, "out of memory");
    d->arena = tn_arena_new((size_t)1 << 20);
    d->path = tn_calloc((size_t)n_paths + 1, sizeof *d->path);
    reader r = {.d = d, .tok = tok, .o = o};
    tn_status st = d->arena && d->path ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i < n_paths && st == TN_OK; i++) {
        d->path[d->n_path++] = tn_strdup(paths[i]);
        r.file = i;
        st = read_file(&r, paths[i], e);
    }
    tn_ids_free(&r.a);
    tn_ids_free(&r.b);
    tn_ids_free(&r.c);
    if (st == TN_OK && d->n == 0)
        st = tn_fail(
            e, TN_FORMAT,
            "%s%s: no usable row: %ld read, %ld longer than --max-length, %ld empty, %ld without a "
            "token to train on, %ld with equal answers",
            n_paths ? paths[0] : "(no file)", n_paths > 1 ? ", ..." : "", d->stats.read,
            d->stats.dropped[TN_DROP_LONG], d->stats.dropped[TN_DROP_EMPTY],
            d->stats.dropped[TN_DROP_NO_TARGET], d->stats.dropped[TN_DROP_SAME]);
    if (st != TN_OK) {
        tn_dataset_free(d);
        return st;
    }
    *out = d;
    return TN_OK;
}

void tn_dataset_free(tn_dataset *d) {
    if (!d) return;
    for (size_t i = 0; i < d->n; i++) json_decref(d->ex[i].meta);
    for (int i = 0; i < d->n_path; i++) tn_free(d->path[i]);
    tn_free(d->path);
    tn_free(d->ex);
    tn_arena_free(d->arena);
    tn_free(d);
}
