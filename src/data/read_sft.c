/* Rows to imitate (forms: dataset.h), and rows that are prompts. */
#include "data/encode.h"
#include "data/reader.h"

/* ---- token ids ---- */

static tn_status sft_ids(tn_reader *r, const json_t *row, tn_err *e) {
    tn_example *x;
    if (json_object_get(row, "prompt_ids")) {
        TN_TRY(tn_reader_get_ids(r, row, "prompt_ids", &r->a, e));
        TN_TRY(tn_reader_get_ids(r, row, "ids", &r->b, e));
        TN_TRY(tn_reader_new_example(r, 1, &x, e));
        TN_TRY(tn_reader_set_prompt(r, x, r->a.v, r->a.n, e));
        TN_TRY(tn_reader_set_response(r, x, 0, r->b.v, r->b.n, NULL, e));
        tn_reader_finish(r, x);
        return TN_OK;
    }
    TN_TRY(tn_reader_get_ids(r, row, json_object_get(row, "input_ids") ? "input_ids" : "ids", &r->a, e));
    const json_t *labels = json_object_get(row, "labels");
    TN_TRY(tn_reader_new_example(r, 1, &x, e));
    TN_TRY(tn_reader_set_prompt(r, x, NULL, 0, e));
    TN_TRY(tn_reader_set_response(r, x, 0, r->a.v, r->a.n, NULL, e));
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
    tn_reader_finish(r, x);
    return TN_OK;
}

/* ---- text ---- */

/* One response without a prompt segment. */
static tn_status whole(tn_reader *r, const tn_ids *ids, const uint8_t *mask, tn_err *e) {
    tn_example *x;
    TN_TRY(tn_reader_new_example(r, 1, &x, e));
    TN_TRY(tn_reader_set_prompt(r, x, NULL, 0, e));
    TN_TRY(tn_reader_set_response(r, x, 0, ids->v, ids->n, mask, e));
    tn_reader_finish(r, x);
    return TN_OK;
}

static tn_status sft_messages(tn_reader *r, const json_t *m, tn_err *e) {
    uint8_t *mask = NULL;
    r->a.n = 0;
    TN_TRY(tn_encode_messages(r->tok, m, &r->a, r->o->assistant_only ? &mask : NULL, r->where, e));
    tn_status st = whole(r, &r->a, mask, e);
    tn_free(mask);
    return st;
}

static tn_status sft_completion(tn_reader *r, const json_t *prompt, const json_t *completion,
                                tn_err *e) {
    size_t split = 0;
    r->a.n = 0;
    TN_TRY(
        tn_encode_completion(r->tok, prompt, completion, r->o->seam, &r->a, &split, r->where, e));
    if (!r->o->completion_only) return whole(r, &r->a, NULL, e);
    tn_example *x;
    TN_TRY(tn_reader_new_example(r, 1, &x, e));
    TN_TRY(tn_reader_set_prompt(r, x, r->a.v, split, e));
    TN_TRY(tn_reader_set_response(r, x, 0, r->a.v + split, r->a.n - split, NULL, e));
    tn_reader_finish(r, x);
    return TN_OK;
}

tn_status tn_read_sft(tn_reader *r, const json_t *row, tn_err *e) {
    const json_t *v;
    if (json_object_get(row, "input_ids") || json_object_get(row, "ids")) return sft_ids(r, row, e);
    TN_TRY(tn_reader_need_tokenizer(r, e));
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
    if (!(v = json_object_get(row, "chosen"))) v = tn_reader_best_transcript(row);
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

/* ---- prompts ---- */

tn_status tn_read_prompt(tn_reader *r, json_t *row, tn_err *e) {
    tn_example *x;
    const json_t *v;
    r->a.n = 0;
    if (json_object_get(row, "ids") || json_object_get(row, "prompt_ids")) {
        if (r->o->shots)
            return tn_fail(e, TN_FORMAT, "%s: few-shot examples go before texts or conversations, not before ids", r->where);
        TN_TRY(tn_reader_get_ids(r, row, json_object_get(row, "ids") ? "ids" : "prompt_ids", &r->a, e));
    } else {
        TN_TRY(tn_reader_need_tokenizer(r, e));
        json_t *made = NULL;
        if (!(v = json_object_get(row, "prompt")) && !(v = json_object_get(row, "messages"))) {
            const json_t *c = json_object_get(row, "chosen"), *j = json_object_get(row, "rejected");
            if (!c) c = tn_reader_best_transcript(row);
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
        int used = 0;
        tn_status st = tn_shots_encode(r->tok, r->o->shots, v, r->o->room, &r->a, &used, r->where, e);
        r->d->stats.shots += used;
        json_decref(made);
        TN_TRY(st);
    }
    TN_TRY(tn_reader_new_example(r, 0, &x, e));
    TN_TRY(tn_reader_set_prompt(r, x, r->a.v, r->a.n, e));
    x->meta = json_incref(row);
    if (r->o->max_length > 0 && x->n_prompt > r->o->max_length) {
        r->d->stats.dropped[TN_DROP_LONG]++;
        json_decref(row);
        return TN_OK;
    }
    tn_reader_finish(r, x);
    return TN_OK;
}
