/* The engine: slots that are decoded together, a token each at a time. */
#include "base/mathx.h"
#include "gen/gen_int.h"
#include "ops/profile.h"
#include "base/signals.h"
#include <string.h>

/* Of the longest sequence: prompt and response start pages of their own, and so does what follows a cut. */
static int longest_pages(int max_len, int cuts) { return tn_kv_pages_for(max_len) + 1 + cuts; }

/* Every sequence and one prompt in preparation; what is kept, of which there is always the last prompt. */
int tn_gen_pages(const tn_gen *g) { return (g->batch + 1) * longest_pages(g->max_len, g->cuts) + g->most_pages; }
int tn_gen_sequences(const tn_gen *g) { return 2 * g->batch + 3 + g->most_kept; }

/* Tokens of one forward: a step of every sequence, or prompts. */
static int tokens_at_once(int batch, int max_len) {
    long all = (long)batch * max_len;
    int chunk = all < TN_GEN_CHUNK ? (int)all : TN_GEN_CHUNK;
    return batch > chunk ? batch : chunk;
}

static int rows_at_once(int batch) { return batch < TN_GEN_ROWS ? batch : TN_GEN_ROWS; }

void tn_gen_rest(tn_gen *g) {
    tn_kv_rest(g->kv);
    if (g->second) tn_kv_rest(g->second->kv);
}

void tn_gen_budget(tn_budget *p, const char *turn, const tn_desc *d, const tn_backend *be, int batch, int max_len,
                   int in_use) {
    int pages = (batch + 2) * longest_pages(max_len, 0);
    tn_budget_turn(p, turn);
    tn_budget_kv(p, "sampling", d, be, in_use && in_use < pages ? in_use : pages);
    tn_budget_turn(p, NULL);
    tn_budget_run(p, "sampling", d, be, tokens_at_once(batch, max_len), batch, max_len, 0, false);
    size_t rows = (size_t)rows_at_once(batch) + 2 * (size_t)tn_pool_threads(be->pool);
    tn_budget_add(p, "sampling", "logits", rows * (size_t)d->vocab * sizeof(float));
}

static bool rooms_new(tn_gen *g, int threads, size_t V) {
    bool all = (g->room = tn_calloc((size_t)threads, sizeof *g->room)) != NULL;
    g->rooms = all ? threads : 0;
    for (tn_gen_draw_room *r = g->room; r < g->room + g->rooms; r++) {
        r->p = tn_calloc(V, sizeof *r->p);
        r->block = tn_calloc(V / TN_EXP_BLOCK + 1, sizeof *r->block);
        r->heap = tn_calloc(V, sizeof *r->heap);
        all = all && r->p && r->block && r->heap;
    }
    return all;
}

/* A cache of the size that is wanted now. */
static tn_status fit_cache(tn_gen *g, tn_err *e) {
    int least = longest_pages(g->max_len, g->cuts);
    if (!g->keeps || g->most_pages < least) g->most_pages = least;
    g->most_kept = g->keeps ? g->most_pages : 1;
    if (!g->kv) return tn_kv_new(&g->kv, g->m, tn_gen_pages(g), tn_gen_sequences(g), g->max_len, e);
    if (g->second) TN_TRY(tn_kv_grow(g->second->kv, tn_gen_pages(g), tn_gen_sequences(g), g->max_len, e));
    return tn_kv_grow(g->kv, tn_gen_pages(g), tn_gen_sequences(g), g->max_len, e);
}

static void free_room(tn_gen *g) {
    tn_run_free(g->run);
    tn_free(g->slot);
    tn_free(g->prompt);
    tn_free(g->lse);
    tn_free(g->z);
    tn_free(g->said);
    g->run = NULL, g->slot = NULL, g->prompt = NULL, g->lse = NULL, g->z = NULL, g->said = NULL;
}

tn_status tn_gen_fit(tn_gen *g, int batch, int max_len, tn_err *e) {
    if (batch <= g->batch && max_len <= g->max_len) return TN_OK;
    if (g->second) return tn_fail(e, TN_BUG, "a mixture cannot be given more room");
    free_room(g);
    if (batch > g->batch) g->batch = batch;
    if (max_len > g->max_len) g->max_len = max_len;
    g->rows = rows_at_once(g->batch), g->tokens = tokens_at_once(g->batch, g->max_len);
    size_t V = (size_t)g->m->desc.vocab, rows = (size_t)g->rows;
    g->slot = tn_calloc((size_t)g->batch, sizeof *g->slot);
    g->prompt = tn_calloc(rows, sizeof *g->prompt);
    g->lse = tn_calloc(rows, sizeof *g->lse);
    g->z = tn_calloc(rows * V, sizeof *g->z);
    g->said = tn_calloc((size_t)g->max_len, sizeof *g->said);
    bool all = g->slot && g->prompt && g->lse && g->z && g->said && TN_GROW(g->item, g->cap_item, (size_t)g->batch);
    if (!all) return tn_fail(e, TN_NOMEM, "out of memory for generation");
    TN_TRY(tn_run_new(&g->run, g->m, g->tokens, g->batch, g->max_len, false, e));
    return fit_cache(g, e);
}

tn_status tn_gen_new(tn_gen **out, const tn_model *m, int batch, int max_len, tn_err *e) {
    *out = NULL;
    tn_gen *g = tn_calloc(1, sizeof *g);
    if (!g) return tn_fail(e, TN_NOMEM, "out of memory");
    g->m = m;
    g->arena = tn_arena_new((size_t)1 << 18);
    bool all = rooms_new(g, tn_pool_threads(m->be->pool), (size_t)m->desc.vocab) && g->arena;
    tn_status st = all ? tn_gen_fit(g, batch, max_len, e) : tn_fail(e, TN_NOMEM, "out of memory for generation");
    if (st != TN_OK) {
        tn_gen_free(g);
        return st;
    }
    *out = g;
    return TN_OK;
}

void tn_gen_free(tn_gen *g) {
    if (!g) return;
    tn_gen_unmix(g);
    free_room(g);
    tn_gen_free_kept(g);
    tn_kv_free(g->kv);
    tn_free(g->item);
    for (tn_gen_draw_room *r = g->room; r < g->room + g->rooms; r++) tn_free(r->p), tn_free(r->block), tn_free(r->heap);
    tn_free(g->room);
    tn_free(g->draw);
    tn_arena_free(g->arena);
    tn_free(g);
}

tn_status tn_gen_keep(tn_gen *g, int pages, tn_err *e) {
    g->keeps = true;
    g->most_pages = pages;
    return fit_cache(g, e);
}

void tn_gen_stops(tn_sampling *s, const tn_model *m, const tn_tokenizer *tok) {
    s->stop = tok ? tn_stop_ids(tok, &s->n_stop) : NULL;
    if (s->stop && s->n_stop) return;
    s->stop = m->desc.eos;
    s->n_stop = (size_t)m->desc.n_eos;
}

tn_gen_read tn_gen_prompts_read(const tn_gen *g) { return g->read; }

static double inv_temp(const tn_sampling *s) {
    return s->temperature > 0 ? 1.0 / s->temperature : 1.0;
}

static bool is_stop(const tn_sampling *s, int32_t id) {
    for (size_t i = 0; i < s->n_stop; i++)
        if (s->stop[i] == id) return true;
    return false;
}

static const float *row_of(const tn_gen *g, int row) { return g->z + (size_t)row * (size_t)g->m->desc.vocab; }

static void draw_part(void *ctx, size_t begin, size_t end, int thread) {
    const tn_gen_job *j = ctx;
    tn_gen *g = j->g;
    const tn_backend *be = g->m->be;
    const tn_gen_draw_room *room = &g->room[thread];
    int V = g->m->desc.vocab, row = -1;
    tn_sampling greedy = *j->s;
    greedy.temperature = 0;
    for (tn_gen_draw *d = g->draw + begin; d < g->draw + end; d++) {
        const tn_sampling *how = d->key == TN_GEN_GREEDY ? &greedy : j->s;
        double u = tn_sample_uniform(j->s->seed, d->key, j->out[d->out].n);
        double unit = (g->second ? g->second->top : g->lse)[d->row];
        if (d->row != row) be->op->exp_row(be, room->p, room->block, row_of(g, d->row), unit, V);
        row = d->row;
        d->token = tn_sample_token(how, room->p, room->block, V, u, room->heap, &d->share);
    }
}

void tn_gen_draws(tn_gen_job *j, int n) {
    tn_backend *be = j->g->m->be;
    double begin = tn_work_begin(be);
    tn_pool_run(be->pool, (size_t)n, 1, draw_part, j);
    tn_work_end(be, begin, "draw", 4.0 * n * j->g->m->desc.vocab);
}

bool tn_gen_append(tn_gen_job *j, const tn_gen_draw *d, int length) {
    const tn_gen *g = j->g;
    tn_gen_sample *o = &j->out[d->out];
    double logp = (double)(row_of(g, d->row)[d->token] - (float)g->lse[d->row]);
    if (j->s->truncated_logp && d->share < 1) logp -= tn_log(d->share);
    o->ids[o->n] = d->token;
    o->logp[o->n++] = logp;
    j->tokens++;
    o->stopped = is_stop(j->s, d->token);
    return o->stopped || o->n >= j->s->max_new || length + 1 >= g->max_len;
}

tn_status tn_gen_rows(tn_gen_job *j, const int32_t *rows, int n, tn_err *e) {
    tn_gen *g = j->g;
    tn_lm h = {.n = n, .rows = rows, .inv_temp = inv_temp(j->s), .lse = g->lse, .z = g->z};
    TN_TRY(tn_lm_head(g->run, g->m, &h, e));
    return g->second ? tn_gen_mix_rows(g, rows, n, h.inv_temp, e) : TN_OK;
}

/* A sequence whose sample has ended. Its last token was not read. */
static tn_status end_slot(tn_gen *g, tn_gen_slot *c, const tn_gen_sample *o, tn_err *e) {
    int seq = c->seq;
    c->seq = -1;
    if (!c->prompt) {
        tn_gen_close(g, seq);
        return TN_OK;
    }
    memcpy(g->said, c->prompt, (size_t)c->n * sizeof *g->said);
    memcpy(g->said + c->n, o->ids, (size_t)(o->n - 1) * sizeof *g->said);
    g->said[c->n] = ~o->ids[0];
    return tn_gen_keep_sequence(g, seq, g->said, c->n + o->n - 1, e);
}

/* The tokens of the n <= g->rows slots whose rows begin at `first`. */
static tn_status next_tokens(tn_gen_job *j, int first, int n, const int *slot, tn_err *e) {
    tn_gen *g = j->g;
    int32_t rows[TN_GEN_ROWS];
    for (int i = 0; i < n; i++) {
        rows[i] = first + i;
        g->draw[i] = (tn_gen_draw){.row = i, .out = g->slot[slot[i]].out, .key = g->slot[slot[i]].key};
    }
    TN_TRY(tn_gen_rows(j, rows, n, e));
    tn_gen_draws(j, n);
    for (int i = 0; i < n; i++) {
        tn_gen_slot *c = &g->slot[slot[i]];
        c->first = false;
        c->last = g->draw[i].token;
        if (!tn_gen_append(j, &g->draw[i], tn_kv_length(g->kv, c->seq))) continue;
        TN_TRY(end_slot(g, c, &j->out[c->out], e));
        j->active--;
        j->done++;
    }
    return TN_OK;
}

/* One token for every active slot. */
static tn_status decode(tn_gen_job *j, tn_err *e) {
    tn_gen *g = j->g;
    int n = 0, at = 0;
    for (int k = 0; k < g->batch; k++)
        if (g->slot[k].seq >= 0)
            g->item[n++] = (tn_kv_item){g->slot[k].seq, &g->slot[k].last, 1, g->slot[k].first};
    if (!TN_GROW(g->draw, g->cap_draw, (size_t)g->rows)) return tn_fail(e, TN_NOMEM, "out of memory for a step");
    TN_TRY(tn_gen_forward(g, n, NULL, -1, e));
    for (int k = 0, first = 0; first < n; first += at) {
        int slot[TN_GEN_ROWS];
        for (at = 0; at < g->rows && first + at < n; k++)
            if (g->slot[k].seq >= 0) slot[at++] = k;
        TN_TRY(next_tokens(j, first, at, slot, e));
    }
    return TN_OK;
}

static tn_status check(const tn_gen *g, const tn_gen_request *req, int n, const tn_sampling *s,
                       tn_err *e) {
    if (s->max_new < 1)
        return tn_fail(e, TN_ARG, "max new tokens must be at least 1, found %d", s->max_new);
    for (int r = 0; r < n; r++) {
        for (int i = 0; i < req[r].n_cut; i++)
            if (req[r].cut[i] <= (i ? req[r].cut[i - 1] : 0) || req[r].cut[i] >= req[r].n_ids)
                return tn_fail(e, TN_BUG, "prompt %d is cut where it cannot be", r + 1);
        if (req[r].n_ids < 1)
            return tn_fail(e, TN_ARG, "prompt %d is empty; a prompt needs at least one token",
                           r + 1);
        if (req[r].n_ids >= g->max_len)
            return tn_fail(e, TN_ARG,
                           "prompt %d has %d tokens, which leaves no room for an answer in %d",
                           r + 1, req[r].n_ids, g->max_len);
    }
    return TN_OK;
}

static void reset(tn_gen *g) {
    for (int k = 0; k < g->batch; k++) {
        if (g->slot[k].seq >= 0) tn_gen_close(g, g->slot[k].seq);
        g->slot[k].seq = -1;
    }
}

tn_status tn_gen_run(tn_gen *g, const tn_gen_request *req, int n_req, const tn_sampling *s,
                     tn_gen_sample *out, tn_gen_tick *tick, void *ctx, tn_err *e) {
    TN_TRY(check(g, req, n_req, s, e));
    int cuts = g->cuts;
    for (int r = 0; r < n_req; r++) cuts = req[r].n_cut > cuts ? req[r].n_cut : cuts;
    if (cuts > g->cuts) {
        g->cuts = cuts;
        TN_TRY(fit_cache(g, e));
    }
    g->read = (tn_gen_read){0};
    tn_arena_reset(g->arena);
    for (int k = 0; k < g->batch; k++) g->slot[k].seq = -1;
    tn_gen_job j = {.g = g, .req = req, .n_req = n_req, .s = s, .out = out};
    tn_status st = TN_OK;
    tn_phase before = tn_phase_enter(g->m->be, TN_PHASE_SAMPLING);
    while (st == TN_OK && (j.next_req < n_req || j.at < j.n_prompt || j.active > 0)) {
        st = tn_gen_admit(&j, e);
        if (st == TN_OK && j.active > 0) st = decode(&j, e);
        if (tick) tick(ctx, j.done, j.tokens);
        if (st == TN_OK && tn_stop_requested())
            st = tn_fail(e, TN_INTERRUPTED, "stopped while generating");
    }
    tn_phase_leave(g->m->be, before);
    for (int i = j.at; i < j.n_prompt; i++)
        if (g->prompt[i].seq >= 0) tn_gen_close(g, g->prompt[i].seq);
    reset(g);
    if (!g->keeps) tn_gen_forget(g);
    return st;
}
