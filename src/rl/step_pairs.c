#include "rl/step_pairs.h"
#include "base/log.h"
#include "base/signals.h"
#include "data/step_cut.h"
#include "data/step_rows.h"
#include <stdlib.h>
#include <string.h>

#define AT(f) offsetof(tn_step_pairs_options, f)
const tn_opt_row tn_step_pairs_rows[] = {
    {"n", TN_OPT_INT, AT(n), "8", NULL, 1, 1 << 16, "num_return_sequences num_generations", "N",
     "Solutions sampled per prompt."},
    {"tries", TN_OPT_INT, AT(tries), "16", NULL, 1, 1 << 20, NULL, "N",
     "Most continuations sampled before a wrong step, until one is right."},
    {"max-pairs", TN_OPT_INT, AT(max_pairs), "1", NULL, 1, 1 << 16, NULL, "N",
     "Most wrong solutions of a prompt that are used."},
    {"pairs", TN_OPT_CHOICE, AT(pairs), "step", "step|answer", 0, 0, NULL, NULL,
     "step: the next step; answer: whole right answers against whole wrong ones, without further sampling."},
    {"max-new-tokens", TN_OPT_INT, AT(max_new), "256", NULL, 1, 1 << 20, "max_tokens", "N", "Longest solution."},
    {"temperature", TN_OPT_REAL, AT(temperature), "1", NULL, 1e-3, 100, NULL, "X", "Sampling temperature."},
    {"top-p", TN_OPT_REAL, AT(top_p), "1", NULL, 0, 1, NULL, "X", "Keep the smallest set of tokens with this mass."},
    {"step-separator", TN_OPT_STRING, AT(separator), "\n", NULL, 0, 0, NULL, "TEXT",
     "A step ends with it; labelled rows have it between their steps."},
    {"batch-size", TN_OPT_INT, AT(batch), "64", NULL, 1, 4096, "gen-batch-size", "N",
     "Sequences decoded together; does not change the output."},
    TN_OPT_LAST};

enum { TRIES_AT_ONCE = 4 };                            /* does not change which is the first right one */
static const uint64_t corrections = (uint64_t)1 << 44; /* keys of continuations, beyond those of solutions */

/* A step that is wrong, or (pairs of answers) two whole answers. */
typedef struct cand {
    size_t row;         /* in the dataset */
    long key;           /* number of the solution in the run: keys of its continuations */
    const int32_t *ids; /* prompt and the answer up to the cut */
    int n_prompt, n;
    const int32_t *rejected, *chosen;
    int n_rejected, n_chosen; /* n_chosen 0: none yet */
    int step, tries;
} cand;

/* One portion of rows. */
typedef struct portion {
    tn_step_pairs *p;
    size_t from, n;
    tn_arena *arena; /* of this portion */
    tn_step_cut cut;
    tn_solution *sol;
    tn_gen_request *req;
    tn_gen_sample *sample;
    cand *cand;
    size_t n_cand, cap_sol, cap_req, cap_sample, cap_cand;
    tn_step_pairs_counts *count; /* [n] */
    size_t cap_count;
    tn_progress *bar;
    long before, tokens, samples; /* rows that the bar has seen done; made in this process */
    double t0;
} portion;

static tn_status no_memory(tn_err *e) { return tn_fail(e, TN_NOMEM, "out of memory for steps"); }

static const int32_t *keep(portion *q, const int32_t *v, int n) {
    int32_t *to = tn_arena_alloc(q->arena, (size_t)(n ? n : 1) * sizeof *to);
    if (to && n) memcpy(to, v, (size_t)n * sizeof *to);
    return to;
}

static const int32_t *join(portion *q, const int32_t *a, int na, const int32_t *b, int nb) {
    int32_t *to = tn_arena_alloc(q->arena, (size_t)(na + nb ? na + nb : 1) * sizeof *to);
    if (!to) return NULL;
    if (na) memcpy(to, a, (size_t)na * sizeof *to);
    if (nb) memcpy(to + na, b, (size_t)nb * sizeof *to);
    return to;
}

static void tick(void *ctx, long samples, long tokens) {
    portion *q = ctx;
    double dt = tn_now() - q->t0;
    tn_progress_update(q->bar, q->before, "%ld samples  %.0f tok/s", q->samples + samples,
                       dt > 0 ? (double)(q->tokens + tokens) / dt : 0.0);
}

static tn_status sample(portion *q, int n_req, uint64_t seed, tn_err *e) {
    tn_step_pairs *p = q->p;
    tn_sampling how = {
        .temperature = p->o->temperature, .top_p = p->o->top_p, .max_new = (int)p->o->max_new, .seed = seed};
    size_t n = 0;
    for (int i = 0; i < n_req; i++) n += (size_t)q->req[i].n;
    if (!TN_GROW(q->sample, q->cap_sample, n + 1)) return no_memory(e);
    tn_gen_stops(&how, p->model, p->tok);
    TN_TRY(tn_gen_run(p->gen, q->req, n_req, &how, q->sample, tick, q, e));
    for (size_t i = 0; i < n; i++) q->tokens += q->sample[i].n;
    q->samples += (long)n;
    return TN_OK;
}

/* s->ids cut into steps. */
static tn_status cut(portion *q, tn_solution *s, tn_err *e) {
    TN_TRY(tn_step_cut_run(&q->cut, s->ids, s->n, e));
    s->n_step = (int)q->cut.end.n;
    int *end = tn_arena_alloc(q->arena, (q->cut.end.n + 1) * sizeof *end);
    if (!end) return no_memory(e);
    for (size_t i = 0; i < q->cut.end.n; i++) end[i] = q->cut.end.v[i];
    s->end = end;
    return TN_OK;
}

/* ---- solutions ---- */

/* n solutions to each row of the portion, judged. */
static tn_status solve(portion *q, tn_err *e) {
    tn_step_pairs *p = q->p;
    size_t n = (size_t)p->o->n, all = q->n * n;
    if (!TN_GROW(q->req, q->cap_req, q->n) || !TN_GROW(q->sol, q->cap_sol, all)) return no_memory(e);
    for (size_t i = 0; i < q->n; i++) {
        const tn_example *x = &p->rows->ex[q->from + i];
        q->req[i] = (tn_gen_request){.ids = x->prompt, .n_ids = x->n_prompt, .n = (int)n, .key = (uint64_t)(q->from + i) * n};
    }
    TN_TRY(sample(q, (int)q->n, p->seed, e));
    for (size_t i = 0; i < all; i++) {
        const tn_gen_sample *y = &q->sample[i];
        tn_solution *s = &q->sol[i];
        *s = (tn_solution){
            .x = &p->rows->ex[q->from + i / n], .ids = keep(q, y->ids, y->n), .n = y->n, .ended = y->stopped};
        if (!s->ids) return no_memory(e);
        TN_TRY(cut(q, s, e));
    }
    return tn_step_judge_run(p->judge, q->sol, (int)all, e);
}

static bool same(const int32_t *a, int na, const int32_t *b, int nb) {
    return na == nb && (na == 0 || memcmp(a, b, (size_t)na * sizeof *a) == 0);
}

static tn_status add(portion *q, const cand *c, tn_err *e) {
    if (!TN_GROW(q->cand, q->cap_cand, q->n_cand + 1)) return no_memory(e);
    q->cand[q->n_cand++] = *c;
    return TN_OK;
}

/* The first wrong step of solution k of row i of the portion, unless another solution made the same mistake. */
static tn_status add_step(portion *q, size_t i, size_t k, size_t first, tn_err *e) {
    const tn_solution *s = &q->sol[i * (size_t)q->p->o->n + k];
    tn_step_pairs_counts *c = &q->count[i];
    if (s->first_wrong < 0) return c->v[TN_SP_UNLOCATED]++, TN_OK;
    int w = s->first_wrong, at = w ? s->end[w - 1] : 0;
    cand x = {.row = q->from + i,
              .key = (long)((q->from + i) * (size_t)q->p->o->n + k),
              .n_prompt = s->x->n_prompt,
              .n = s->x->n_prompt + at,
              .rejected = s->ids + at,
              .n_rejected = s->end[w] - at,
              .step = w};
    if (!(x.ids = join(q, s->x->prompt, x.n_prompt, s->ids, at))) return no_memory(e);
    for (size_t j = first; j < q->n_cand; j++) {
        const cand *y = &q->cand[j];
        if (same(x.ids, x.n, y->ids, y->n) && same(x.rejected, x.n_rejected, y->rejected, y->n_rejected))
            return c->v[TN_SP_SAME]++, TN_OK;
    }
    if ((long)(q->n_cand - first) >= q->p->o->max_pairs) return c->v[TN_SP_BEYOND]++, TN_OK;
    return add(q, &x, e);
}

/* The k-th different wrong answer of a row against the k-th different right one, from the first again when there are fewer. */
static tn_status add_answers(portion *q, size_t i, tn_err *e) {
    size_t n = (size_t)q->p->o->n, n_right = 0;
    const tn_solution *s = &q->sol[i * n];
    const tn_solution **list[2] = {NULL, NULL};
    size_t len[2] = {0, 0};
    tn_step_pairs_counts *c = &q->count[i];
    for (int side = 0; side < 2; side++)
        if (!(list[side] = tn_arena_alloc(q->arena, n * sizeof *list[side]))) return no_memory(e);
    for (size_t k = 0; k < n; k++) {
        if (!s[k].known) continue;
        int side = !s[k].good;
        size_t j = 0;
        while (j < len[side] && !same(s[k].ids, s[k].n, list[side][j]->ids, list[side][j]->n)) j++;
        if (j < len[side])
            c->v[TN_SP_SAME] += side;
        else
            list[side][len[side]++] = &s[k];
    }
    n_right = len[0];
    for (size_t k = 0; k < len[1]; k++) {
        if (!n_right)
            c->v[TN_SP_UNCORRECTED]++;
        else if ((long)k >= q->p->o->max_pairs)
            c->v[TN_SP_BEYOND]++;
        else {
            const tn_solution *good = list[0][k % n_right], *bad = list[1][k];
            cand x = {.row = q->from + i,
                      .ids = bad->x->prompt,
                      .n_prompt = bad->x->n_prompt,
                      .n = bad->x->n_prompt,
                      .rejected = bad->ids,
                      .n_rejected = bad->n,
                      .chosen = good->ids,
                      .n_chosen = good->n};
            TN_TRY(add(q, &x, e));
        }
    }
    return TN_OK;
}

/* What is to be corrected, from sampled solutions. */
static tn_status from_samples(portion *q, tn_err *e) {
    bool answers = strcmp(q->p->o->pairs, "answer") == 0;
    TN_TRY(solve(q, e));
    for (size_t i = 0; i < q->n; i++) {
        tn_step_pairs_counts *c = &q->count[i];
        size_t first = q->n_cand;
        for (size_t k = 0; k < (size_t)q->p->o->n; k++) {
            const tn_solution *s = &q->sol[i * (size_t)q->p->o->n + k];
            c->v[TN_SP_SOLUTIONS]++;
            bool right = answers ? s->good : s->right;
            c->v[!s->known ? TN_SP_UNKNOWN : right ? TN_SP_RIGHT : TN_SP_WRONG]++;
            if (s->known && !right && !answers) TN_TRY(add_step(q, i, k, first, e));
        }
        if (answers) TN_TRY(add_answers(q, i, e));
    }
    return TN_OK;
}

/* The same from rows whose steps are labelled. */
static tn_status from_labels(portion *q, tn_err *e) {
    tn_step_pairs *p = q->p;
    for (size_t i = 0; i < q->n; i++) {
        tn_labelled_steps l = {0};
        const tn_example *x = &p->rows->ex[q->from + i];
        tn_step_pairs_counts *c = &q->count[i];
        cand y = {.row = q->from + i, .key = (long)(q->from + i)};
        tn_status st = tn_labelled_steps_read(&l, p->rows, x, p->tok, p->o->separator, p->model->desc.vocab, e);
        c->v[TN_SP_SOLUTIONS]++;
        c->v[l.first_wrong < 0 ? TN_SP_RIGHT : TN_SP_WRONG]++;
        if (st == TN_OK && l.first_wrong >= 0) {
            y.ids = keep(q, l.ids.v, (int)l.ids.n), y.n = (int)l.ids.n, y.n_prompt = l.n_prompt;
            y.rejected = keep(q, l.wrong.v, (int)l.wrong.n), y.n_rejected = (int)l.wrong.n, y.step = l.first_wrong;
            st = y.ids && y.rejected ? add(q, &y, e) : no_memory(e);
        }
        tn_labelled_steps_free(&l);
        TN_TRY(st);
    }
    return TN_OK;
}

/* ---- corrections ---- */

/* Tokens of the answer after its first n ones, up to the end of the step that has text; 0: no step follows. */
static tn_status next_step(portion *q, const tn_solution *s, int n, int *tokens, tn_err *e) {
    tn_str text = TN_STR_INIT;
    tn_status st = TN_OK;
    *tokens = 0;
    for (int i = 0; i < s->n_step && st == TN_OK && *tokens == 0; i++) {
        if (s->end[i] <= n) continue;
        st = tn_step_text(q->p->tok, q->p->o->separator, s->ids, n, s->end[i], true, &text, e);
        if (text.len) *tokens = s->end[i] - n;
    }
    tn_str_free(&text);
    return st;
}

/* The first of the round's continuations of c that is right. s: their solutions. */
static tn_status choose(portion *q, cand *c, const tn_solution *s, int n, tn_err *e) {
    int given = c->n - c->n_prompt;
    for (int t = 0; t < n && !c->n_chosen; t++) {
        int step = 0;
        c->tries++;
        if (!s[t].right) continue;
        TN_TRY(next_step(q, &s[t], given, &step, e));
        if (step == 0 || same(s[t].ids + given, step, c->rejected, c->n_rejected)) continue;
        c->chosen = s[t].ids + given, c->n_chosen = step;
    }
    return TN_OK;
}

/* One more round for every wrong step that has no right one; *more: was there any? */
static tn_status correct(portion *q, long done, bool *more, tn_err *e) {
    tn_step_pairs *p = q->p;
    int round = p->o->tries - done < TRIES_AT_ONCE ? (int)(p->o->tries - done) : TRIES_AT_ONCE, n_req = 0, k = 0;
    *more = false;
    if (!TN_GROW(q->req, q->cap_req, q->n_cand + 1) || !TN_GROW(q->sol, q->cap_sol, (q->n_cand + 1) * TRIES_AT_ONCE))
        return no_memory(e);
    for (size_t i = 0; i < q->n_cand; i++) {
        const cand *c = &q->cand[i];
        if (!c->n_chosen)
            q->req[n_req++] =
                (tn_gen_request){.ids = c->ids, .n_ids = c->n, .n = round, .key = corrections + (uint64_t)(c->key * p->o->tries + done)};
    }
    if (n_req == 0) return TN_OK;
    *more = true;
    TN_TRY(sample(q, n_req, p->seed, e));
    for (size_t i = 0; i < q->n_cand; i++) {
        const cand *c = &q->cand[i];
        for (int t = 0; t < round && !c->n_chosen; t++, k++) {
            const tn_gen_sample *y = &q->sample[k];
            int given = c->n - c->n_prompt;
            q->sol[k] = (tn_solution){.x = &p->rows->ex[c->row],
                                      .ids = join(q, c->ids + c->n_prompt, given, y->ids, y->n),
                                      .n = given + y->n,
                                      .ended = y->stopped && given + y->n <= p->o->max_new};
            if (!q->sol[k].ids) return no_memory(e);
            TN_TRY(cut(q, &q->sol[k], e));
        }
    }
    TN_TRY(tn_step_judge_run(p->judge, q->sol, k, e));
    k = 0;
    for (size_t i = 0; i < q->n_cand; i++) {
        cand *c = &q->cand[i];
        if (c->n_chosen) continue;
        TN_TRY(choose(q, c, q->sol + k, round, e));
        k += round;
    }
    return TN_OK;
}

/* ---- rows out ---- */

static void put_ids(tn_str *b, const char *name, const int32_t *v, int n) {
    tn_str_addf(b, ", \"%s\": [", name);
    for (int i = 0; i < n; i++) tn_str_addf(b, i ? ", %d" : "%d", v[i]);
    tn_str_addc(b, ']');
}

/* Text of `more` behind that of the given tokens. */
static tn_status put_text(portion *q, tn_str *b, const char *name, const cand *c, const int32_t *more, int n,
                          tn_err *e) {
    const tn_tokenizer *t = q->p->tok;
    int given = c->n - c->n_prompt;
    tn_str before = TN_STR_INIT, all = TN_STR_INIT;
    const int32_t *ids = join(q, c->ids + c->n_prompt, given, more, n);
    tn_status st = ids ? TN_OK : no_memory(e);
    if (st == TN_OK) st = tn_decode(t, ids, (size_t)given, true, &before, e);
    if (st == TN_OK) st = tn_decode(t, ids, (size_t)(given + n), true, &all, e);
    if (st == TN_OK) {
        size_t k = all.len >= before.len && memcmp(all.s, before.s, before.len) == 0 ? before.len : 0;
        tn_str_addf(b, ", \"%s\": ", name);
        tn_str_add_json(b, all.s + k, all.len - k);
        if (before.oom || all.oom) st = no_memory(e);
    }
    tn_str_free(&before);
    tn_str_free(&all);
    return st;
}

static tn_status put_pair(portion *q, const cand *c, tn_str *b, tn_err *e) {
    const json_t *row = q->p->rows->ex[c->row].meta, *id = json_object_get(row, "id"),
                 *prompt = json_object_get(row, "prompt");
    cand none = *c;
    none.n = none.n_prompt;
    tn_str_addf(b, "{\"step\": %d, \"tries\": %d", c->step + 1, c->tries);
    if (id) {
        tn_str_addz(b, ", \"id\": ");
        TN_TRY(tn_json_add(b, id, JSON_ENCODE_ANY, "id", e));
    }
    if (!prompt) prompt = json_object_get(row, "messages");
    if (prompt) {
        tn_str_addz(b, ", \"prompt\": ");
        TN_TRY(tn_json_add(b, prompt, JSON_ENCODE_ANY, "prompt", e));
    }
    TN_TRY(put_text(q, b, "prefix", &none, c->ids + c->n_prompt, c->n - c->n_prompt, e));
    TN_TRY(put_text(q, b, "chosen", c, c->chosen, c->n_chosen, e));
    TN_TRY(put_text(q, b, "rejected", c, c->rejected, c->n_rejected, e));
    put_ids(b, "prompt_ids", c->ids, c->n);
    put_ids(b, "chosen_ids", c->chosen, c->n_chosen);
    put_ids(b, "rejected_ids", c->rejected, c->n_rejected);
    tn_str_addz(b, "}\n");
    return TN_OK;
}

/* The pairs of row i of the portion, whose first candidate is *k; *k moves on. */
static tn_status put_row(portion *q, size_t i, size_t *k, tn_str *b, tn_str *note, tn_err *e) {
    tn_step_pairs_counts *c = &q->count[i];
    tn_str_clear(b), tn_str_clear(note);
    c->v[TN_SP_ROWS] = 1;
    for (; *k < q->n_cand && q->cand[*k].row == q->from + i; ++*k) {
        const cand *y = &q->cand[*k];
        c->v[TN_SP_TRIES] += y->tries;
        c->v[y->n_chosen ? TN_SP_PAIRS : TN_SP_UNCORRECTED]++;
        if (y->n_chosen) TN_TRY(put_pair(q, y, b, e));
    }
    for (int v = 0; v < TN_SP_COUNT; v++) tn_str_addf(note, v ? " %ld" : "%ld", c->v[v]), q->p->all.v[v] += c->v[v];
    if (note->oom) return no_memory(e);
    return tn_journal_add(q->p->out, b, note->s, e);
}

static tn_status put_rows(portion *q, tn_err *e) {
    tn_str b = TN_STR_INIT, note = TN_STR_INIT;
    tn_status st = TN_OK;
    for (size_t i = 0, k = 0; i < q->n && st == TN_OK; i++) st = put_row(q, i, &k, &b, &note, e);
    tn_str_free(&b);
    tn_str_free(&note);
    return st == TN_OK ? tn_journal_flush(q->p->out, e) : st;
}

/* ---- in order ---- */

static tn_status one_portion(portion *q, tn_err *e) {
    bool more = true;
    q->n_cand = 0;
    if (!TN_GROW(q->count, q->cap_count, q->n)) return no_memory(e);
    memset(q->count, 0, q->n * sizeof *q->count);
    TN_TRY(q->p->judge->labels ? from_labels(q, e) : from_samples(q, e));
    for (long done = 0; more && done < q->p->o->tries; done += TRIES_AT_ONCE) TN_TRY(correct(q, done, &more, e));
    return put_rows(q, e);
}

static tn_status all_portions(portion *q, tn_err *e) {
    tn_step_pairs *p = q->p;
    size_t at = (size_t)tn_journal_groups(p->out), n = p->judge->labels ? 1 : (size_t)p->o->n;
    size_t some = 4 * (size_t)p->o->batch / n + 1;
    if (at > p->rows->n) return tn_fail(e, TN_STATE, "the unfinished output has more rows than the input");
    tn_progress_begin(q->bar, "step-pairs", "rows", (long)p->rows->n, (long)at);
    for (q->t0 = tn_now(); at < p->rows->n; at += q->n) {
        if (tn_stop_requested())
            return tn_fail(e, TN_INTERRUPTED, "stopped after %zu of %zu rows; the same command goes on", at,
                           p->rows->n);
        q->from = at, q->before = (long)at;
        q->n = p->rows->n - at < some ? p->rows->n - at : some;
        tn_arena_reset(q->arena);
        TN_TRY(one_portion(q, e));
        q->before = (long)(at + q->n);
        tick(q, 0, 0);
    }
    tn_progress_end(q->bar);
    return TN_OK;
}

tn_status tn_step_pairs_run(tn_step_pairs *p, tn_err *e) {
    tn_progress bar;
    portion q = {.p = p,
                 .bar = &bar,
                 .arena = tn_arena_new((size_t)1 << 18),
                 .cut = {.tok = p->tok, .separator = p->o->separator, .text = TN_STR_INIT}};
    tn_status st = q.arena ? all_portions(&q, e) : no_memory(e);
    tn_step_cut_free(&q.cut);
    tn_arena_free(q.arena);
    tn_free(q.sol);
    tn_free(q.req);
    tn_free(q.sample);
    tn_free(q.cand);
    tn_free(q.count);
    return st;
}

/* ---- what became of everything ---- */

tn_status tn_step_pairs_note(void *counts, const char *note, tn_err *e) {
    tn_step_pairs_counts *c = counts;
    for (int i = 0; i < TN_SP_COUNT; i++) {
        char *end;
        long v = strtol(note, &end, 10);
        if (end == note) return tn_fail(e, TN_FORMAT, "'%s' is no list of %d counts", note, TN_SP_COUNT);
        c->v[i] += v, note = end;
    }
    return TN_OK;
}

tn_status tn_step_pairs_measure(const tn_dataset *rows, const tn_tokenizer *tok, const tn_step_pairs_options *o,
                                bool labels, int vocab, int *length, tn_err *e) {
    *length = 1;
    for (size_t i = 0; i < rows->n; i++) {
        int n = rows->ex[i].n_prompt + (int)o->max_new;
        if (labels) {
            tn_labelled_steps l = {0};
            tn_status st = tn_labelled_steps_read(&l, rows, &rows->ex[i], tok, o->separator, vocab, e);
            if ((int)l.ids.n + (int)o->max_new > n) n = (int)l.ids.n + (int)o->max_new;
            tn_labelled_steps_free(&l);
            TN_TRY(st);
        } else
            n += (int)o->max_new; /* a continuation may be as long as a solution */
        if (n > *length) *length = n;
    }
    return TN_OK;
}

void tn_step_pairs_print(const tn_step_pairs_counts *c, bool steps) {
    const long *v = c->v;
    tn_info("%ld rows: %ld solutions, %ld right, %ld wrong, %ld that nobody could judge", v[TN_SP_ROWS],
            v[TN_SP_SOLUTIONS], v[TN_SP_RIGHT], v[TN_SP_WRONG], v[TN_SP_UNKNOWN]);
    tn_info("not used: %ld without a wrong step found, %ld the same as another of their row, %ld beyond --max-pairs, "
            "%ld without a right %s",
            v[TN_SP_UNLOCATED], v[TN_SP_SAME], v[TN_SP_BEYOND], v[TN_SP_UNCORRECTED],
            steps ? "continuation" : "answer of their row");
    tn_info("%ld pairs, from %ld samples (%ld continuations)", v[TN_SP_PAIRS], v[TN_SP_SOLUTIONS] + v[TN_SP_TRIES],
            v[TN_SP_TRIES]);
}
