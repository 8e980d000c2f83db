/* Rows that compare answers: pairs and rankings. */
#include "data/encode.h"
#include "data/reader.h"
#include "data/step_pair.h"
#include <string.h>

static tn_status pair_from(tn_reader *r, const json_t *row, const tn_ids *p, const tn_ids *c,
                           const tn_ids *j, tn_err *e) {
    tn_example *x;
    TN_TRY(tn_reader_new_example(r, 2, &x, e));
    x->pair = true;
    TN_TRY(tn_reader_set_prompt(r, x, p->v, p->n, e));
    TN_TRY(tn_reader_set_response(r, x, 0, c->v, c->n, NULL, e));
    TN_TRY(tn_reader_set_response(r, x, 1, j->v, j->n, NULL, e));
    TN_TRY(tn_json_real(row, "margin", 0, &x->margin, r->where, e));
    tn_reader_finish(r, x);
    return TN_OK;
}

/* Chosen and rejected are a pair, the gold answer stands beside it. */
static void mark_triple(tn_reader *r, tn_example *x) {
    x->pair = x->gold = true;
    tn_reader_finish(r, x);
}

static tn_status triple_ids(tn_reader *r, const json_t *row, tn_err *e) {
    static const char *const keys[] = {"chosen_ids", "rejected_ids", "reference_ids"};
    tn_example *x;
    TN_TRY(tn_reader_get_ids(r, row, "prompt_ids", &r->a, e));
    TN_TRY(tn_reader_new_example(r, 3, &x, e));
    TN_TRY(tn_reader_set_prompt(r, x, r->a.v, r->a.n, e));
    for (int i = 0; i < 3; i++) {
        TN_TRY(tn_reader_get_ids(r, row, keys[i], &r->b, e));
        TN_TRY(tn_reader_set_response(r, x, i, r->b.v, r->b.n, NULL, e));
    }
    mark_triple(r, x);
    return TN_OK;
}

static tn_status pair_ids(tn_reader *r, const json_t *row, tn_err *e) {
    TN_TRY(tn_reader_get_ids(r, row, "chosen_ids", &r->b, e));
    TN_TRY(tn_reader_get_ids(r, row, "rejected_ids", &r->c, e));
    if (json_object_get(row, "prompt_ids")) {
        TN_TRY(tn_reader_get_ids(r, row, "prompt_ids", &r->a, e));
        return pair_from(r, row, &r->a, &r->b, &r->c, e);
    }
    size_t k = 0; /* the common prefix is the prompt, at least one token is left to each */
    while (k + 1 < r->b.n && k + 1 < r->c.n && r->b.v[k] == r->c.v[k]) k++;
    tn_ids p = {r->b.v, k, 0}, c = {r->b.v + k, r->b.n - k, 0}, j = {r->c.v + k, r->c.n - k, 0};
    return pair_from(r, row, &p, &c, &j, e);
}

/* Two next steps of an answer that has begun. */
static tn_status step_pair(tn_reader *r, const json_t *row, const json_t *prefix, tn_err *e) {
    r->a.n = r->b.n = r->c.n = 0;
    TN_TRY(tn_encode_step_pair(r->tok, json_object_get(row, "prompt"), prefix, json_object_get(row, "chosen"),
                               json_object_get(row, "rejected"), &r->a, &r->b, &r->c, r->where, e));
    return pair_from(r, row, &r->a, &r->b, &r->c, e);
}

static tn_status pair_text(tn_reader *r, const json_t *row, const json_t *prompt,
                           const json_t *chosen, const json_t *rejected, tn_err *e) {
    r->a.n = r->b.n = r->c.n = 0;
    TN_TRY(tn_encode_pair(r->tok, prompt, chosen, rejected, r->o->seam, &r->a, &r->b, &r->c,
                          r->where, e));
    return pair_from(r, row, &r->a, &r->b, &r->c, e);
}

/* A message stands for a list of one. */
static json_t *as_list(json_t *v) {
    return json_is_object(v) ? json_pack("[O]", v) : json_incref(v);
}

tn_status tn_reader_pair_parts(const tn_reader *r, const json_t *row, json_t **prompt,
                               json_t **chosen, json_t **rejected, tn_err *e) {
    json_t *c = as_list(json_object_get(row, "chosen")),
           *j = as_list(json_object_get(row, "rejected")), *p, *mc, *mj;
    if ((p = json_object_get(row, "prompt"))) {
        *prompt = json_incref(p), *chosen = c, *rejected = j;
        return TN_OK;
    }
    if (r->o->chat_transcripts && json_is_string(c) && json_is_string(j)) {
        mc = tn_transcript_messages(json_string_value(c));
        mj = tn_transcript_messages(json_string_value(j));
        if (mc && mj) {
            json_decref(c), json_decref(j);
            c = json_incref(mc), j = json_incref(mj);
        }
        json_decref(mc), json_decref(mj);
    }
    tn_status st = tn_extract_prompt(c, j, prompt, chosen, rejected, r->where, e);
    json_decref(c), json_decref(j);
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

static tn_status ranking_check(tn_reader *r, const json_t *list, const json_t *order,
                               const char *name, tn_err *e) {
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

/* Each response encoded after the prompt; the shared prompt is the smallest common prefix. order NULL: a triple. */
static tn_status ranking_texts(tn_reader *r, const json_t *prompt, const json_t *responses,
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
    TN_GO(tn_reader_new_example(r, (int)k, &x, e), done);
    TN_GO(tn_reader_set_prompt(r, x, all[0].v, shared, e), done);
    for (size_t i = 0; i < k; i++) {
        TN_GO(tn_reader_set_response(r, x, (int)i, all[i].v + shared, all[i].n - shared, NULL, e),
              done);
        if (!order) continue;
        x->response[i].rank =
            scores ? place(order, i) : (int)json_number_value(json_array_get(order, i));
    }
    if (order) tn_reader_finish(r, x);
    else mark_triple(r, x);
done:
    for (size_t i = 0; i < k; i++) tn_ids_free(&all[i]);
    return st;
}

/* {"text": [whole transcripts], "score": [...]} */
static tn_status scored_transcripts(tn_reader *r, const json_t *row, tn_err *e) {
    const json_t *text = json_object_get(row, "text"), *score = json_object_get(row, "score");
    TN_TRY(ranking_check(r, text, score, "score", e));
    json_t *prompt = NULL, *responses = json_array();
    tn_status st = TN_OK;
    for (size_t i = 0; i < json_array_size(text); i++) {
        const json_t *t = json_array_get(text, i);
        const char *s = json_string_value(t), *body = s ? tn_transcript_answer(s) : NULL;
        if (!body) {
            st = tn_fail(e, TN_FORMAT, "%s: \"text\"[%zu] %s", r->where, i,
                         s ? "has no \"\\n\\nAssistant:\" turn" : "is not a string");
            goto done;
        }
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

static tn_status triple_text(tn_reader *r, const json_t *row, tn_err *e) {
    json_t *prompt = json_object_get(row, "prompt"), *list = json_array();
    static const char *const keys[] = {"chosen", "rejected", "reference"};
    tn_status st = prompt ? TN_OK : tn_fail(e, TN_FORMAT, "%s: a row with a gold \"reference\" needs its \"prompt\"", r->where);
    for (int i = 0; i < 3; i++) json_array_append_new(list, as_list(json_object_get(row, keys[i])));
    if (st == TN_OK) st = ranking_texts(r, prompt, list, NULL, NULL, false, e);
    json_decref(list);
    return st;
}

static tn_status read_triple(tn_reader *r, const json_t *row, tn_err *e) {
    if (json_object_get(row, "reference_ids")) return triple_ids(r, row, e);
    if (json_object_get(row, "chosen") && json_object_get(row, "rejected") && json_object_get(row, "reference")) {
        TN_TRY(tn_reader_need_tokenizer(r, e));
        return triple_text(r, row, e);
    }
    return tn_fail(e, TN_FORMAT,
                   "%s: a row needs \"chosen\", \"rejected\" and a gold \"reference\" (or \"prompt_ids\", \"chosen_ids\", "
                   "\"rejected_ids\" and \"reference_ids\")", r->where);
}

tn_status tn_read_preference(tn_reader *r, const json_t *row, tn_err *e) {
    const json_t *prompt = json_object_get(row, "prompt"), *c = json_object_get(row, "chosen"),
                 *j = json_object_get(row, "rejected"), *list;
    if (r->o->gold) return read_triple(r, row, e);
    if (json_object_get(row, "chosen_ids")) return pair_ids(r, row, e);
    if (json_object_get(row, "response_0")) return tn_read_safe_rlhf(r, row, "better_response_id", &(int){0}, e);
    TN_TRY(tn_reader_need_tokenizer(r, e));
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
    const json_t *prefix = tn_row_step_prefix(row);
    if (prefix) return step_pair(r, row, prefix, e);
    json_t *p, *w, *l;
    TN_TRY(tn_reader_pair_parts(r, row, &p, &w, &l, e));
    tn_status st = pair_text(r, row, p, w, l, e);
    json_decref(p), json_decref(w), json_decref(l);
    return st;
}
