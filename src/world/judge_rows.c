/* Responses in files, judged by the oracle: verdicts, or labelled steps. */
#include "world/rows.h"
#include "world/steps.h"
#include <string.h>

static void put_judged(const char *id, const tn_world_prompt *p, const tn_world_sample *s, tn_str *out) {
    tn_str_addz(out, "{\"id\": ");
    tn_str_add_json(out, id, strlen(id));
    tn_str_addz(out, ", \"response\": ");
    tn_str_add_json(out, s->text.s ? s->text.s : "", s->text.len);
    tn_str_addf(out, ", \"ended\": %s, ", s->ended ? "true" : "false");
    tn_world_json_verdict(&s->verdict, out);
    tn_str_addf(out, ", \"family\": \"%s\", \"task\": \"%s\", \"pool\": \"%s\"}\n",
                tn_world_family_name[p->family], tn_world_task_name[p->task],
                tn_world_pool_name[p->pool]);
}

/* A sum's response as labelled steps: its sentences without their full stops. A step is right when it and all before it
 * are; with `outcome` every label says whether the answer is right. Other families have no steps. */
static void put_steps(const tn_world *w, const char *id, const tn_world_prompt *p, const tn_world_sample *s, bool outcome, tn_str *out) {
    int from[TN_WORLD_TEXT_MAX + 1], n = tn_world_sentences(w, s->id, s->n, from, TN_WORLD_TEXT_MAX), stop = tn_world_id(w, ".", 1);
    bool right[TN_WORLD_TEXT_MAX], so_far = true;
    if (p->task != TN_WT_ARITH || n == 0) return;
    tn_world_judge_sentences(w, p, s->id, from, n, right);
    tn_str_addz(out, "{\"id\": ");
    tn_str_add_json(out, id, strlen(id));
    tn_str_addz(out, ", \"prompt\": ");
    tn_world_json_messages(w, p, NULL, out);
    tn_str_addz(out, ", \"completions\": [");
    for (int i = 0; i < n; i++) {
        int len = from[i + 1] - from[i];
        if (len > 1 && s->id[from[i + 1] - 1] == stop) len--;
        tn_str_addz(out, i ? ", \"" : "\"");
        tn_world_print(w, s->id + from[i], len, out); /* words of the vocabulary need no escapes */
        tn_str_addc(out, '"');
    }
    tn_str_addz(out, "], \"labels\": [");
    for (int i = 0; i < n; i++) {
        so_far &= right[i];
        tn_str_addf(out, "%s%s", i ? ", " : "", (outcome ? s->verdict.correct == 1 : so_far) ? "true" : "false");
    }
    tn_str_addf(out, "], \"correct\": %s}\n", s->verdict.correct == 1 ? "true" : "false");
}

/* What becomes of a judged row. */
typedef enum { AS_VERDICTS, AS_STEPS, AS_OUTCOMES } judged_form;

static tn_status judge_row(const tn_world *w, const json_t *row, const char *where, uint64_t seed, judged_form form, tn_world_sink *out,
                           tn_str *line, tn_err *e) {
    tn_world_prompt p;
    tn_world_sample s = {0};
    const char *id;
    TN_TRY(tn_world_item_of_row(w, row, where, seed, &id, &p, e));
    tn_status st = tn_world_sample_read(w, &p, row, where, &s, e);
    if (st == TN_OK) {
        if (form == AS_VERDICTS) put_judged(id, &p, &s, line);
        else put_steps(w, id, &p, &s, form == AS_OUTCOMES, line);
        st = tn_world_sink_write(out, line, e);
    }
    tn_world_sample_free(&s);
    return st;
}

static tn_status judge_file(const tn_world *w, const char *input, uint64_t seed, judged_form form, const char *out, tn_err *e) {
    tn_world_source in = {.path = input};
    tn_world_sink s = {0};
    tn_str line = TN_STR_INIT;
    json_t *row = NULL;
    TN_TRY(tn_world_ask_oracle("judging rows", e));
    TN_TRY(tn_lines_open(&in.lines, input, TN_WORLD_MAX_LINE, e));
    tn_status st = tn_world_sink_open(&s, out, e);
    while (st == TN_OK) {
        st = tn_world_source_next(&in, &row, e);
        if (st != TN_OK || !row) break;
        st = judge_row(w, row, in.where, seed, form, &s, &line, e);
        json_decref(row);
    }
    tn_lines_close(in.lines);
    tn_str_free(&line);
    return tn_world_sink_close(&s, st, e);
}

tn_status tn_world_judge_file(const tn_world *w, const char *input, uint64_t seed, const char *out, tn_err *e) {
    return judge_file(w, input, seed, AS_VERDICTS, out, e);
}

tn_status tn_world_steps_file(const tn_world *w, const char *input, uint64_t seed, bool outcome, const char *out, tn_err *e) {
    return judge_file(w, input, seed, outcome ? AS_OUTCOMES : AS_STEPS, out, e);
}
