/* Multiple choice: log-probs of two options after each of many prompts, in forwards of bounded size. */
#include "base/signals.h"
#include "oversight/asker_int.h"
#include <string.h>

enum { PORTION = 1024 }; /* questions between two commits */

/* Two options as ids: what both begin with goes to the prompt, `n` tokens of each are left. */
typedef struct options {
    tn_ids id[2];
    size_t lead, n;
} options;

typedef struct work {
    tn_asker *a;
    const options *o;
    tn_forest forest;
    tn_run *run;
    int run_tokens, run_rows, run_pos;
    tn_ids ids;
    int32_t *row, *target;
    double *logp;
    size_t cap_row, cap_target, cap_logp;
} work;

static tn_status read_options(options *o, const tn_tokenizer *tok, const char *const text[2], tn_err *e) {
    for (int k = 0; k < 2; k++) TN_TRY(tn_encode(tok, text[k], strlen(text[k]), false, &o->id[k], NULL, e));
    while (o->lead < o->id[0].n && o->lead < o->id[1].n && o->id[0].v[o->lead] == o->id[1].v[o->lead]) o->lead++;
    o->n = o->id[0].n - o->lead;
    if (o->id[0].n != o->id[1].n || o->n == 0)
        return tn_fail(e, TN_ARG, "the options \"%s\" and \"%s\" are %zu and %zu tokens of this model; their log-probs can only be compared when "
                       "they are different and as many", text[0], text[1], o->id[0].n, o->id[1].n);
    return TN_OK;
}

static tn_reply_key key_of(const tn_asker *a, const tn_question *q, const options *o) {
    tn_reply_key k = tn_reply_key_add(a->who, q->ids, (size_t)q->n * sizeof *q->ids);
    for (int i = 0; i < 2; i++) k = tn_reply_key_add(k, o->id[i].v, o->id[i].n * sizeof(int32_t));
    return k;
}

/* Tokens that a question takes: its prompt, what both options begin with, and all but the last of each option. */
static int cost(const tn_question *q, const options *o) { return q->n + (int)(o->lead + 2 * (o->n - 1)); }

static tn_status plant(work *w, const tn_question *q, int i, tn_err *e) {
    const options *o = w->o;
    size_t n = (size_t)q->n, at = 2 * (size_t)i * o->n;
    int root, up, first = w->forest.n_tok;
    if (!TN_GROW(w->ids.v, w->ids.cap, n + o->lead) || !TN_GROW(w->row, w->cap_row, at + 2 * o->n) || !TN_GROW(w->target, w->cap_target, at + 2 * o->n))
        return tn_fail(e, TN_NOMEM, "out of memory");
    memcpy(w->ids.v, q->ids, n * sizeof *q->ids);
    if (o->lead) memcpy(w->ids.v + n, o->id[0].v, o->lead * sizeof *w->ids.v);
    TN_TRY(tn_forest_add(&w->forest, w->ids.v, (int)(n + o->lead), -1, 2 * i, &root, e));
    for (int k = 0; k < 2; k++) {
        int child = w->forest.n_tok;
        if (o->n > 1) TN_TRY(tn_forest_add(&w->forest, o->id[k].v + o->lead, (int)o->n - 1, root, 2 * i + k, &up, e));
        for (size_t t = 0; t < o->n; t++, at++) {
            w->row[at] = t ? child + (int)t - 1 : first + (int)(n + o->lead) - 1;
            w->target[at] = o->id[k].v[o->lead + t];
        }
    }
    return TN_OK;
}

static tn_status need_run(work *w, int tokens, int rows, int pos, tn_err *e) {
    if (w->run && tokens <= w->run_tokens && rows <= w->run_rows && pos <= w->run_pos) return TN_OK;
    w->run_tokens = tokens > w->run_tokens ? tokens : w->run_tokens;
    w->run_rows = rows > w->run_rows ? rows : w->run_rows;
    w->run_pos = pos > w->run_pos ? pos : w->run_pos;
    tn_run_free(w->run);
    w->run = NULL;
    return tn_run_new(&w->run, w->a->model, w->run_tokens, w->run_rows < 1024 ? w->run_rows : 1024, w->run_pos, TN_KEEP_NOTHING, e);
}

/* One forward; the replies go to the store. */
static tn_status ask(work *w, const tn_question *q, const int *which, int n, tn_err *e) {
    const options *o = w->o;
    int rows = 2 * n * (int)o->n, longest = 0;
    if (tn_stop_requested()) return tn_fail(e, TN_INTERRUPTED, "stopped while judging");
    tn_forest_clear(&w->forest);
    for (int i = 0; i < n; i++) {
        TN_TRY(plant(w, &q[which[i]], i, e));
        if (q[which[i]].n + (int)(o->lead + o->n) > longest) longest = q[which[i]].n + (int)(o->lead + o->n);
    }
    TN_TRY(tn_forest_finish(&w->forest, e));
    TN_TRY(need_run(w, w->forest.n_tok, rows, longest, e));
    if (!TN_GROW(w->logp, w->cap_logp, (size_t)rows)) return tn_fail(e, TN_NOMEM, "out of memory");
    TN_TRY(tn_forward_rows(w->run, w->a->model, &w->forest, w->row, rows, e));
    TN_TRY(tn_lm_head(w->run, w->a->model, &(tn_lm){.n = rows, .rows = w->row, .target = w->target, .inv_temp = 1, .logp = w->logp}, e));
    for (int i = 0; i < n; i++) {
        double sum[2] = {0, 0};
        for (size_t k = 0; k < 2 * o->n; k++) sum[k / o->n] += w->logp[2 * (size_t)i * o->n + k];
        json_t *reply = json_pack("{s:[f,f]}", "logp", sum[0], sum[1]);
        if (!reply) return tn_fail(e, TN_NOMEM, "out of memory");
        tn_status st = tn_replies_add(w->a->kept, key_of(w->a, &q[which[i]], o), q[which[i]].about, reply, e);
        json_decref(reply);
        TN_TRY(st);
    }
    return TN_OK;
}

static tn_status ask_missing(work *w, const tn_question *q, const int *which, int k, int n, int max_tokens, const char *what, tn_err *e) {
    tn_asker *a = w->a;
    double began = tn_now(), tokens = 0;
    tn_status st = TN_OK;
    tn_progress_begin(&a->bar, what, "labels", n, n - k);
    for (int i = 0, end, since = 0; i < k && st == TN_OK; i = end) {
        int sum = cost(&q[which[i]], w->o);
        for (end = i + 1; end < k && sum + cost(&q[which[end]], w->o) <= max_tokens; end++) sum += cost(&q[which[end]], w->o);
        st = ask(w, q, which + i, end - i, e);
        tokens += sum, since += end - i;
        if (st == TN_OK && (since >= PORTION || end == k)) st = tn_replies_commit(a->kept, e), since = 0;
        tn_progress_update(&a->bar, n - k + end, "%.0f tok/s", tokens / (tn_now() - began + 1e-9));
    }
    tn_progress_end(&a->bar);
    return st;
}

static tn_status read_logps(const tn_asker *a, const tn_question *q, int n, const options *o, double *logp, tn_err *e) {
    for (int i = 0; i < n; i++) {
        const json_t *pair = json_object_get(tn_replies_find(a->kept, key_of(a, &q[i], o)), "logp");
        for (size_t k = 0; k < 2; k++) {
            if (!json_is_number(json_array_get(pair, k)))
                return tn_fail(e, TN_STATE, "the reply to question %d is not a pair of log-probs; was the file edited?", i + 1);
            logp[2 * (size_t)i + k] = json_number_value(json_array_get(pair, k));
        }
    }
    return TN_OK;
}

static tn_status check_room(const tn_asker *a, const tn_question *q, int n, const options *o, const char *what, tn_err *e) {
    int room = a->model->desc.max_pos;
    for (int i = 0; i < n; i++)
        if (q[i].n + (int)(o->lead + o->n) > room)
            return tn_fail(e, TN_ARG, "%s: a prompt of %d tokens does not fit the model's %d positions; leave out few-shots, or shorten the rows", what,
                           q[i].n, room);
    return TN_OK;
}

tn_status tn_asker_options(tn_asker *a, const tn_question *q, int n, const char *option_a, const char *option_b, int max_tokens,
                           const char *what, double *logp, tn_err *e) {
    if (a->at) return tn_service_options(a, q, n, (const char *const[2]){option_a, option_b}, 2, what, logp, e);
    options o = {0};
    work w = {.a = a, .o = &o};
    int k = 0, *which = tn_calloc((size_t)n + 1, sizeof *which);
    tn_status st = which ? read_options(&o, a->tok, (const char *const[2]){option_a, option_b}, e) : tn_fail(e, TN_NOMEM, "out of memory");
    if (st == TN_OK) st = check_room(a, q, n, &o, what, e);
    for (int i = 0; i < n && st == TN_OK; i++)
        if (!tn_replies_find(a->kept, key_of(a, &q[i], &o))) which[k++] = i;
    if (st == TN_OK && k) st = ask_missing(&w, q, which, k, n, max_tokens, what, e);
    if (st == TN_OK) st = read_logps(a, q, n, &o, logp, e);
    tn_forest_free(&w.forest);
    tn_run_free(w.run);
    tn_ids_free(&w.ids);
    tn_free(w.row), tn_free(w.target), tn_free(w.logp), tn_free(which);
    tn_ids_free(&o.id[0]);
    tn_ids_free(&o.id[1]);
    return st;
}
