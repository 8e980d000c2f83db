/* Multiple choice: log-probs of some options after each of many prompts, in forwards of bounded size.
 *
 * The prompts of a forward are a tree: what several begin with (instructions, examples, a pair that is asked about in both
 * orders) is read once. Branches begin at multiples of TN_KV_BLOCK tokens, where a prompt's key blocks begin anyway, so that the
 * numbers are those of a prompt read alone. */
#include "base/mathx.h"
#include "base/signals.h"
#include "oversight/asker_int.h"
#include <math.h>
#include <string.h>

enum {
    PORTION = 1024, /* questions between two commits */
    WINDOW = 4096   /* questions that are sorted before they are cut into forwards */
};

/* Options as ids: what all begin with goes to the prompt, n[k] tokens of each are left. */
typedef struct options {
    tn_ids id[TN_ASKER_OPTIONS];
    size_t n[TN_ASKER_OPTIONS], lead, rows, longest;
    int count;
} options;

/* Prompt i of a forward, and what all options begin with. */
typedef struct reading { const int32_t *ids; int n, i; } reading;

/* The workspace stays with the asker. */
struct tn_asker_work {
    tn_forest forest;
    reading *text;
    size_t cap_text;
    tn_run *run;
    int run_tokens, run_rows, run_pos;
    tn_ids ids;
    int32_t *row, *target;
    double *logp;
    size_t cap_row, cap_target, cap_logp;
};
typedef tn_asker_work work;

void tn_asker_work_free(tn_asker_work *w) {
    if (!w) return;
    tn_forest_free(&w->forest);
    tn_run_free(w->run);
    tn_ids_free(&w->ids);
    tn_free(w->text), tn_free(w->row), tn_free(w->target), tn_free(w->logp), tn_free(w);
}

static bool all_begin_alike(const options *o, size_t at) {
    for (int k = 0; k < o->count; k++)
        if (at + 1 >= o->id[k].n || o->id[k].v[at] != o->id[0].v[at]) return false;
    return true;
}

static bool equal(const tn_ids *a, const tn_ids *b) { return a->n == b->n && !memcmp(a->v, b->v, a->n * sizeof *a->v); }

static tn_status read_options(options *o, const tn_tokenizer *tok, const char *const *text, int count, bool any_length, tn_err *e) {
    o->count = count;
    for (int k = 0; k < count; k++) TN_TRY(tn_encode(tok, text[k], strlen(text[k]), false, &o->id[k], NULL, e));
    while (all_begin_alike(o, o->lead)) o->lead++;
    for (int k = 0; k < count; k++) {
        bool bad = o->id[k].n == 0 || (!any_length && o->id[k].n != o->id[0].n);
        for (int j = 0; j < k; j++) bad |= equal(&o->id[j], &o->id[k]);
        if (bad)
            return tn_fail(e, TN_ARG, "the options \"%s\" and \"%s\" are %zu and %zu tokens of this model; their log-probs can only be compared "
                           "when they are different and as many", text[0], text[k], o->id[0].n, o->id[k].n);
        o->n[k] = o->id[k].n - o->lead;
        o->rows += o->n[k];
        if (o->n[k] > o->longest) o->longest = o->n[k];
    }
    return TN_OK;
}

static tn_reply_key key_of(const tn_asker *a, const tn_question *q, const options *o) {
    tn_reply_key k = tn_reply_key_add(a->who, q->ids, (size_t)q->n * sizeof *q->ids);
    for (int i = 0; i < o->count; i++) k = tn_reply_key_add(k, o->id[i].v, o->id[i].n * sizeof(int32_t));
    return k;
}

/* Tokens that both begin with, of which a branch may be made: whole blocks, and a token is left to either. */
static int alike(const int32_t *a, int na, const int32_t *b, int nb) {
    int n = 0, most = (na < nb ? na : nb) - 1;
    while (n < most && a[n] == b[n]) n++;
    return n / TN_KV_BLOCK * TN_KV_BLOCK;
}

/* Tokens that a question takes, at most, in a forward with the one before it (or NULL): its prompt, what all options begin with,
 * and all but the last of each option. */
static int cost(const tn_question *q, const tn_question *before, const options *o) {
    int all = q->n + (int)(o->lead + o->rows) - o->count;
    return before ? all - alike(q->ids, q->n, before->ids, before->n) : all;
}

static int by_ids(const void *x, const void *y) {
    const reading *a = x, *b = y;
    int n = 0, most = a->n < b->n ? a->n : b->n;
    while (n < most && a->ids[n] == b->ids[n]) n++;
    if (n < most) return a->ids[n] < b->ids[n] ? -1 : 1;
    return a->n != b->n ? a->n - b->n : a->i - b->i;
}

/* The texts of n questions, sorted. */
static tn_status lay_out(work *w, const options *o, const tn_question *q, const int *which, int n, tn_err *e) {
    size_t all = 0, rows = (size_t)n * o->rows;
    for (int i = 0; i < n; i++) all += (size_t)q[which[i]].n + o->lead;
    if (!TN_GROW(w->ids.v, w->ids.cap, all) || !TN_GROW(w->text, w->cap_text, (size_t)n) || !TN_GROW(w->row, w->cap_row, rows) ||
        !TN_GROW(w->target, w->cap_target, rows))
        return tn_fail(e, TN_NOMEM, "out of memory");
    int32_t *at = w->ids.v;
    for (int i = 0; i < n; i++) {
        const tn_question *x = &q[which[i]];
        w->text[i] = (reading){at, x->n + (int)o->lead, i};
        memcpy(at, x->ids, (size_t)x->n * sizeof *at);
        if (o->lead) memcpy(at + x->n, o->id[0].v, o->lead * sizeof *at);
        at += w->text[i].n;
    }
    qsort(w->text, (size_t)n, sizeof *w->text, by_ids);
    return TN_OK;
}

/* The end of a text, from `from` on, and the options behind it. */
static tn_status plant(work *w, const options *o, const reading *x, int from, int parent, tn_err *e) {
    size_t at = (size_t)x->i * o->rows;
    int stem, up, last;
    TN_TRY(tn_forest_add(&w->forest, x->ids + from, x->n - from, parent, o->count * x->i, &stem, e));
    last = w->forest.n_tok - 1;
    for (int k = 0; k < o->count; k++) {
        int child = w->forest.n_tok;
        if (o->n[k] > 1) TN_TRY(tn_forest_add(&w->forest, o->id[k].v + o->lead, (int)o->n[k] - 1, stem, o->count * x->i + k, &up, e));
        for (size_t t = 0; t < o->n[k]; t++, at++) {
            w->row[at] = t ? child + (int)t - 1 : last;
            w->target[at] = o->id[k].v[o->lead + t];
        }
    }
    return TN_OK;
}

/* The sorted texts [begin, end), which have their first `from` tokens in common, under `parent`. */
static tn_status plant_all(work *w, const options *o, int begin, int end, int from, int parent, tn_err *e) {
    for (int i = begin, n; i < end; i += n) {
        const reading *x = &w->text[i], *y = x;
        int stem, to = from;
        for (n = 1; i + n < end; n++, y++) {
            int both = alike(x->ids, x->n, y[1].ids, y[1].n);
            if (both == from) break;
            to = both;
        }
        if (n == 1) {
            TN_TRY(plant(w, o, x, from, parent, e));
            continue;
        }
        TN_TRY(tn_forest_add(&w->forest, x->ids + from, to - from, parent, o->count * x->i, &stem, e));
        TN_TRY(plant_all(w, o, i, i + n, to, stem, e));
    }
    return TN_OK;
}

static tn_status need_run(tn_asker *a, work *w, int tokens, int rows, int pos, tn_err *e) {
    if (w->run && tokens <= w->run_tokens && rows <= w->run_rows && pos <= w->run_pos) return TN_OK;
    w->run_tokens = tokens > w->run_tokens ? tokens : w->run_tokens;
    w->run_rows = rows > w->run_rows ? rows : w->run_rows;
    w->run_pos = pos > w->run_pos ? pos : w->run_pos;
    tn_run_free(w->run);
    w->run = NULL;
    return tn_run_new(&w->run, a->model, w->run_tokens, w->run_rows < 1024 ? w->run_rows : 1024, w->run_pos, TN_KEEP_NOTHING, e);
}

/* Log-probs of whole options, from those of their tokens. */
static json_t *reply_of(const options *o, const double *logp) {
    json_t *list = json_array();
    for (int k = 0; k < o->count; k++) {
        double sum = 0;
        for (size_t t = 0; t < o->n[k]; t++) sum += *logp++;
        json_array_append_new(list, json_real(sum));
    }
    return json_pack("{s:o}", "logp", list);
}

/* One forward; the replies go to the store. */
static tn_status ask(tn_asker *a, const options *o, const tn_question *q, const int *which, int n, tn_err *e) {
    work *w = a->work;
    int rows = n * (int)o->rows, longest = 0;
    if (tn_stop_requested()) return tn_fail(e, TN_INTERRUPTED, "stopped while judging");
    tn_forest_clear(&w->forest);
    TN_TRY(lay_out(w, o, q, which, n, e));
    TN_TRY(plant_all(w, o, 0, n, 0, -1, e));
    for (int i = 0; i < n; i++) {
        int end = w->text[i].n + (int)o->longest;
        longest = end > longest ? end : longest;
    }
    TN_TRY(tn_forest_finish(&w->forest, e));
    TN_TRY(need_run(a, w, w->forest.n_tok, rows, longest, e));
    if (!TN_GROW(w->logp, w->cap_logp, (size_t)rows)) return tn_fail(e, TN_NOMEM, "out of memory");
    TN_TRY(tn_forward_rows(w->run, a->model, &w->forest, w->row, rows, e));
    TN_TRY(tn_lm_head(w->run, a->model, &(tn_lm){.n = rows, .rows = w->row, .target = w->target, .inv_temp = 1, .logp = w->logp}, e));
    for (int i = 0; i < n; i++) {
        json_t *reply = reply_of(o, w->logp + (size_t)i * o->rows);
        if (!reply) return tn_fail(e, TN_NOMEM, "out of memory");
        tn_status st = tn_replies_add(a->kept, key_of(a, &q[which[i]], o), q[which[i]].about, reply, e);
        json_decref(reply);
        TN_TRY(st);
    }
    return TN_OK;
}

/* The questions of a window by their texts, so that those that begin alike (a pair under many principles) come into the same forward.
 * Windows count all questions, not only those that are missing: a run that was stopped asks the rest in the order of one that was not. */
static tn_status sort_windows(const tn_question *q, int *which, int k, tn_err *e) {
    reading *v = tn_calloc((size_t)(k < WINDOW ? k : WINDOW), sizeof *v);
    if (!v) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0, n; i < k; i += n) {
        for (n = 0; i + n < k && which[i + n] / WINDOW == which[i] / WINDOW; n++)
            v[n] = (reading){q[which[i + n]].ids, q[which[i + n]].n, which[i + n]};
        qsort(v, (size_t)n, sizeof *v, by_ids);
        for (int j = 0; j < n; j++) which[i + j] = v[j].i;
    }
    tn_free(v);
    return TN_OK;
}

static tn_status ask_missing(tn_asker *a, const options *o, const tn_question *q, int *which, int k, int n, int max_tokens, const char *what,
                             tn_err *e) {
    double began = tn_now(), tokens = 0;
    tn_status st = sort_windows(q, which, k, e);
    if (st != TN_OK) return st;
    if (!a->work && !(a->work = tn_calloc(1, sizeof *a->work))) return tn_fail(e, TN_NOMEM, "out of memory");
    if (!a->quiet) tn_progress_begin(&a->bar, what, "labels", n, n - k);
    for (int i = 0, end, since = 0; i < k && st == TN_OK; i = end) {
        int sum = cost(&q[which[i]], NULL, o), more;
        for (end = i + 1; end < k; end++, sum += more) {
            more = cost(&q[which[end]], &q[which[end - 1]], o);
            if (sum + more > max_tokens) break;
        }
        st = ask(a, o, q, which + i, end - i, e);
        tokens += sum, since += end - i;
        if (st == TN_OK && (since >= PORTION || end == k)) st = tn_replies_commit(a->kept, e), since = 0;
        if (!a->quiet) tn_progress_update(&a->bar, n - k + end, "%.0f tok/s", tokens / (tn_now() - began + 1e-9));
    }
    if (!a->quiet) tn_progress_end(&a->bar);
    return st;
}

static bool fits(const tn_asker *a, const tn_question *q, const options *o) {
    return q->n + (int)(o->lead + o->longest) <= a->model->desc.max_pos;
}

/* Where option k begins with option j, the longest such: saying j is saying that and not k. -1: with none. */
static int begins_with(const options *o, int k) {
    int best = -1;
    for (int j = 0; j < o->count; j++)
        if (o->id[j].n < o->id[k].n && !memcmp(o->id[j].v, o->id[k].v, o->id[j].n * sizeof *o->id[j].v) &&
            (best < 0 || o->id[j].n > o->id[best].n))
            best = j;
    return best;
}

/* log(p_j - p_k) for every k that begins with j; deeper ones are part of k. */
static void take_longer_off(const options *o, double *logp) {
    double was[TN_ASKER_OPTIONS];
    memcpy(was, logp, (size_t)o->count * sizeof *was);
    for (int k = 0; k < o->count; k++) {
        int j = begins_with(o, k);
        if (j >= 0) logp[j] = was[k] < logp[j] ? logp[j] + tn_log1p(-tn_exp(was[k] - logp[j])) : -HUGE_VAL;
    }
}

static tn_status read_logps(const tn_asker *a, const tn_question *q, int n, const options *o, double *logp, tn_err *e) {
    for (int i = 0; i < n; i++) {
        const json_t *list = json_object_get(tn_replies_find(a->kept, key_of(a, &q[i], o)), "logp");
        bool skipped = a->skip_long && !fits(a, &q[i], o);
        for (int k = 0; k < o->count; k++) {
            const json_t *v = json_array_get(list, (size_t)k);
            if (!skipped && !json_is_number(v))
                return tn_fail(e, TN_STATE, "the reply to question %d is not %d log-probs; was the file edited?", i + 1, o->count);
            logp[k] = skipped ? NAN : json_number_value(v);
        }
        if (!skipped) take_longer_off(o, logp);
        logp += o->count;
    }
    return TN_OK;
}

/* Those without a reply; *k of them. */
static tn_status missing(const tn_asker *a, const tn_question *q, int n, const options *o, const char *what, int *which, int *k, tn_err *e) {
    *k = 0;
    for (int i = 0; i < n; i++) {
        bool room = fits(a, &q[i], o);
        if (!room && !a->skip_long)
            return tn_fail(e, TN_ARG, "%s: a prompt of %d tokens does not fit the model's %d positions; leave out few-shots, or shorten the rows", what,
                           q[i].n, a->model->desc.max_pos);
        if (room && !tn_replies_find(a->kept, key_of(a, &q[i], o))) which[(*k)++] = i;
    }
    return TN_OK;
}

tn_status tn_asker_choices(tn_asker *a, const tn_question *q, int n, const char *const *option, int count, bool any_length, int max_tokens,
                           const char *what, double *logp, tn_err *e) {
    options o = {0};
    int k = 0, *which = tn_calloc((size_t)n + 1, sizeof *which);
    tn_status st = which ? read_options(&o, a->tok, option, count, any_length, e) : tn_fail(e, TN_NOMEM, "out of memory");
    if (st == TN_OK) st = missing(a, q, n, &o, what, which, &k, e);
    if (st == TN_OK && k) st = ask_missing(a, &o, q, which, k, n, max_tokens, what, e);
    if (st == TN_OK) st = read_logps(a, q, n, &o, logp, e);
    tn_free(which);
    for (int i = 0; i < count; i++) tn_ids_free(&o.id[i]);
    return st;
}

tn_status tn_asker_options(tn_asker *a, const tn_question *q, int n, const char *option_a, const char *option_b, int max_tokens,
                           const char *what, double *logp, tn_err *e) {
    const char *const option[2] = {option_a, option_b};
    return a->at ? tn_service_options(a, q, n, option, 2, what, logp, e) : tn_asker_choices(a, q, n, option, 2, false, max_tokens, what, logp, e);
}
