#include "gen/gen.h"
#include "base/mathx.h"
#include "base/signals.h"
#include "ops/profile.h"
#include <string.h>

#define CHUNK 512 /* prompt tokens put through at once */
#define Z_ROWS 32 /* rows of logits kept at a time, at most: bounded, never [T,V] */

typedef struct slot {
    int seq; /* in the cache; -1: empty */
    int out; /* index of its sample */
    uint64_t key;
    int32_t last; /* token to feed next */
    bool first;   /* `last` opens the response's segment */
} slot;

struct tn_gen {
    const tn_model *m;
    tn_run *run;
    tn_kv *kv;
    int batch, max_len;
    slot *slot;
    tn_kv_item *item;
    int32_t *row;
    int z_rows;     /* rows that get a token at once */
    double *lse;    /* [z_rows] */
    float *z, *p;   /* [z_rows + 1, V] logits and probabilities; the last row is the prompt's */
    int32_t *heap;  /* [threads, V] */
    int *token;     /* [z_rows] drawn */
    double *share;  /* [z_rows] probability that the truncation kept */
    tn_arena *arena; /* responses of the last run */
    int32_t *kept;   /* [max_len] prompt of cache sequence kept_seq; NULL: prompts are not kept */
    int n_kept, kept_seq, reused;
};

static int pages_needed(int batch, int max_len) {
    /* every sequence: prompt and response start pages of their own; one prompt in preparation */
    return (batch + 1) * (tn_kv_pages_for(max_len) + 1);
}

/* Tokens of one forward: a step of every sequence, or a part of a prompt. */
static int tokens_at_once(int batch, int max_len) {
    int chunk = max_len < CHUNK ? max_len : CHUNK;
    return batch > chunk ? batch : chunk;
}

static int z_rows(int batch) { return batch < Z_ROWS ? batch : Z_ROWS; }

void tn_gen_budget(tn_budget *p, const tn_desc *d, const tn_backend *be, int batch, int max_len,
                   int in_use) {
    int pages = pages_needed(batch, max_len);
    tn_budget_kv(p, "sampling", d, be, in_use && in_use < pages ? in_use : pages);
    tn_budget_run(p, "sampling", d, be, tokens_at_once(batch, max_len), batch, max_len, 0, false);
    size_t rows = 2 * (size_t)(z_rows(batch) + 1) + (size_t)tn_pool_threads(be->pool);
    tn_budget_add(p, "sampling", "logits", rows * (size_t)d->vocab * sizeof(float));
}

tn_status tn_gen_new(tn_gen **out, const tn_model *m, int batch, int max_len, tn_err *e) {
    *out = NULL;
    tn_gen *g = tn_calloc(1, sizeof *g);
    if (!g) return tn_fail(e, TN_NOMEM, "out of memory");
    g->m = m, g->batch = batch, g->max_len = max_len, g->kept_seq = -1;
    g->slot = tn_calloc((size_t)batch, sizeof *g->slot);
    g->item = tn_calloc((size_t)batch, sizeof *g->item);
    g->row = tn_calloc((size_t)batch, sizeof *g->row);
    g->z_rows = z_rows(batch);
    size_t V = (size_t)m->desc.vocab, rows = (size_t)g->z_rows;
    g->lse = tn_calloc(rows, sizeof *g->lse);
    g->z = tn_calloc((rows + 1) * V, sizeof *g->z);
    g->p = tn_calloc((rows + 1) * V, sizeof *g->p);
    g->heap = tn_calloc((size_t)tn_pool_threads(m->be->pool) * V, sizeof *g->heap);
    g->token = tn_calloc(rows, sizeof *g->token);
    g->share = tn_calloc(rows, sizeof *g->share);
    g->arena = tn_arena_new((size_t)1 << 18);
    tn_status st = g->slot && g->item && g->row && g->lse && g->z && g->p && g->heap && g->token && g->share && g->arena
                       ? TN_OK
                       : tn_fail(e, TN_NOMEM, "out of memory for generation");
    int tokens = tokens_at_once(batch, max_len);
    if (st == TN_OK) st = tn_run_new(&g->run, m, tokens, batch, max_len, false, e);
    if (st == TN_OK)
        st = tn_kv_new(&g->kv, m, pages_needed(batch, max_len), 2 * batch + 2, max_len, e);
    if (st != TN_OK) {
        tn_gen_free(g);
        return st;
    }
    *out = g;
    return TN_OK;
}

void tn_gen_free(tn_gen *g) {
    if (!g) return;
    tn_kv_free(g->kv);
    tn_run_free(g->run);
    tn_free(g->slot);
    tn_free(g->item);
    tn_free(g->row);
    tn_free(g->lse);
    tn_free(g->z);
    tn_free(g->p);
    tn_free(g->heap);
    tn_free(g->token);
    tn_free(g->share);
    tn_arena_free(g->arena);
    tn_free(g->kept);
    tn_free(g);
}

tn_status tn_gen_keep_prompt(tn_gen *g, tn_err *e) {
    if (!g->kept) g->kept = tn_calloc((size_t)g->max_len, sizeof *g->kept);
    return g->kept ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory for a prompt");
}

void tn_gen_stops(tn_sampling *s, const tn_model *m, const tn_tokenizer *tok) {
    s->stop = tok ? tn_stop_ids(tok, &s->n_stop) : NULL;
    if (s->stop && s->n_stop) return;
    s->stop = m->desc.eos;
    s->n_stop = (size_t)m->desc.n_eos;
}

int tn_gen_reused(const tn_gen *g) { return g->reused; }

/* The state of one run. */
typedef struct job {
    tn_gen *g;
    const tn_gen_request *req;
    int n_req;
    const tn_sampling *s;
    tn_gen_sample *out;
    int next_req, next_sample,
        base;       /* the request being handed out, its next sample, index of its first sample */
    int parent;     /* cache sequence of that request's prompt; -1 */
    double first_lse; /* of its last row */
    long done, tokens;
    int active;
} job;

static double inv_temp(const tn_sampling *s) {
    return s->temperature > 0 ? 1.0 / s->temperature : 1.0;
}

static bool is_stop(const tn_sampling *s, int32_t id) {
    for (size_t i = 0; i < s->n_stop; i++)
        if (s->stop[i] == id) return true;
    return false;
}

static float *row_of(const tn_gen *g, float *p, int row) {
    return p + (size_t)row * (size_t)g->m->desc.vocab;
}

static double uniform_of(const job *j, const slot *c) {
    return tn_sample_uniform(j->s->seed, c->key, j->out[c->out].n);
}

/* Row i is slot row[i]'s. */
typedef struct drawing { job *j; const int32_t *row; } drawing;
static void draw_rows(void *ctx, size_t begin, size_t end, int thread) {
    const drawing *d = ctx;
    tn_gen *g = d->j->g;
    int V = g->m->desc.vocab;
    for (int i = (int)begin; i < (int)end; i++)
        g->token[i] = tn_sample_token(d->j->s, row_of(g, g->p, i), V, uniform_of(d->j, &g->slot[d->row[i]]),
                                      g->heap + (size_t)thread * (size_t)V, &g->share[i]);
}

/* Slot k's next token is t, whose logit is z. */
static void take(job *j, int k, int t, float z, double lse, double share) {
    tn_gen *g = j->g;
    slot *c = &g->slot[k];
    tn_gen_sample *o = &j->out[c->out];
    double logp = (double)(z - (float)lse);
    if (j->s->truncated_logp && share < 1) logp -= tn_log(share);
    c->first = o->n == 0;
    c->last = t;
    o->ids[o->n] = t;
    o->logp[o->n++] = logp;
    j->tokens++;
    o->stopped = is_stop(j->s, t);
    if (o->stopped || o->n >= j->s->max_new || tn_kv_length(g->kv, c->seq) + 1 >= g->max_len) {
        tn_kv_close(g->kv, c->seq);
        c->seq = -1;
        j->active--;
        j->done++;
    }
}

/* The kept prompt's sequence, cut back to what it shares with the new one (but for the last token,
 * whose row is wanted); or an empty one. Returns the tokens it holds. */
static int open_prompt(job *j, const tn_gen_request *q) {
    tn_gen *g = j->g;
    int n = 0;
    j->parent = g->kept_seq;
    g->kept_seq = -1;
    if (j->parent < 0) {
        j->parent = tn_kv_open(g->kv);
        return 0;
    }
    while (n < q->n_ids - 1 && n < g->n_kept && q->ids[n] == g->kept[n]) n++;
    tn_kv_truncate(g->kv, j->parent, n);
    return n;
}

static void close_prompt(job *j, const tn_gen_request *q) {
    tn_gen *g = j->g;
    if (g->kept && j->next_req + 1 == j->n_req) {
        g->kept_seq = j->parent;
        g->n_kept = q->n_ids;
        memcpy(g->kept, q->ids, (size_t)q->n_ids * sizeof *q->ids);
    } else {
        tn_kv_close(g->kv, j->parent);
    }
    j->parent = -1;
}

/* Prompt of the current request into the cache, and its last row's distribution. */
static tn_status prefill(job *j, tn_err *e) {
    tn_gen *g = j->g;
    const tn_gen_request *q = &j->req[j->next_req];
    int at = open_prompt(j, q), last = 0;
    if (j->parent < 0) return tn_fail(e, TN_BUG, "no free sequence in the cache");
    if (j->next_req == 0) g->reused = at;
    for (int n; at < q->n_ids; at += n) {
        n = q->n_ids - at < CHUNK ? q->n_ids - at : CHUNK;
        tn_kv_item it = {j->parent, q->ids + at, n, at == 0};
        if (tn_stop_requested())
            return tn_fail(e, TN_INTERRUPTED, "stopped while reading a prompt");
        TN_TRY(tn_forward_kv(g->run, g->m, g->kv, &it, 1, e));
        last = n - 1;
    }
    int32_t row = last;
    float *z = row_of(g, g->z, g->z_rows), *p = row_of(g, g->p, g->z_rows);
    tn_lm h = {.n = 1, .rows = &row, .inv_temp = inv_temp(j->s), .lse = &j->first_lse, .z = z};
    TN_TRY(tn_lm_head(g->run, g->m, &h, e));
    g->m->be->op->exp_rows(g->m->be, p, z, &j->first_lse, 1, g->m->desc.vocab);
    return TN_OK;
}

/* Fills empty slots: prompts are prepared one after the other, each forked for its samples. */
static tn_status admit(job *j, tn_err *e) {
    tn_gen *g = j->g;
    for (int k = 0; k < g->batch && j->next_req < j->n_req; k++) {
        if (g->slot[k].seq >= 0) continue;
        const tn_gen_request *q = &j->req[j->next_req];
        if (j->parent < 0) TN_TRY(prefill(j, e));
        slot *c = &g->slot[k];
        c->seq = tn_kv_fork(g->kv, j->parent);
        if (c->seq < 0) return tn_fail(e, TN_BUG, "no free sequence in the cache");
        c->out = j->base + j->next_sample;
        c->key = q->key + (uint64_t)j->next_sample;
        int room = g->max_len - q->n_ids < j->s->max_new ? g->max_len - q->n_ids : j->s->max_new;
        tn_gen_sample *o = &j->out[c->out];
        o->ids = tn_arena_alloc(g->arena, (size_t)room * sizeof *o->ids);
        o->logp = tn_arena_alloc(g->arena, (size_t)room * sizeof *o->logp);
        if (!o->ids || !o->logp) return tn_fail(e, TN_NOMEM, "out of memory for responses");
        o->n = 0;
        j->active++;
        double share;
        int t = tn_sample_token(j->s, row_of(g, g->p, g->z_rows), g->m->desc.vocab, uniform_of(j, c), g->heap, &share);
        take(j, k, t, row_of(g, g->z, g->z_rows)[t], j->first_lse, share);
        if (++j->next_sample == q->n) {
            close_prompt(j, q);
            j->base += q->n;
            j->next_sample = 0;
            j->next_req++;
        }
    }
    return TN_OK;
}

/* One token for every active slot. */
static tn_status decode(job *j, tn_err *e) {
    tn_gen *g = j->g;
    tn_backend *be = g->m->be;
    int n = 0, V = g->m->desc.vocab;
    for (int k = 0; k < g->batch; k++) {
        slot *c = &g->slot[k];
        if (c->seq < 0) continue;
        g->item[n] = (tn_kv_item){c->seq, &c->last, 1, c->first};
        g->row[n++] = k; /* slot of row n */
    }
    TN_TRY(tn_forward_kv(g->run, g->m, g->kv, g->item, n, e));
    for (int at = 0; at < n; at += g->z_rows) {
        int r = n - at < g->z_rows ? n - at : g->z_rows;
        int32_t rows[Z_ROWS];
        for (int i = 0; i < r; i++) rows[i] = at + i;
        tn_lm h = {.n = r, .rows = rows, .inv_temp = inv_temp(j->s), .lse = g->lse, .z = g->z};
        TN_TRY(tn_lm_head(g->run, g->m, &h, e));
        be->op->exp_rows(be, g->p, g->z, g->lse, r, V);
        double begin = tn_work_begin(be);
        tn_pool_run(be->pool, (size_t)r, 1, draw_rows, &(drawing){j, g->row + at});
        tn_work_end(be, begin, "draw", 4.0 * r * V);
        for (int i = 0; i < r; i++)
            take(j, g->row[at + i], g->token[i], row_of(g, g->z, i)[g->token[i]], g->lse[i], g->share[i]);
    }
    return TN_OK;
}

static tn_status check(const tn_gen *g, const tn_gen_request *req, int n, const tn_sampling *s,
                       tn_err *e) {
    if (s->max_new < 1)
        return tn_fail(e, TN_ARG, "max new tokens must be at least 1, found %d", s->max_new);
    for (int r = 0; r < n; r++) {
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
        if (g->slot[k].seq >= 0) tn_kv_close(g->kv, g->slot[k].seq);
        g->slot[k].seq = -1;
    }
}

tn_status tn_gen_run(tn_gen *g, const tn_gen_request *req, int n_req, const tn_sampling *s,
                     tn_gen_sample *out, tn_gen_tick *tick, void *ctx, tn_err *e) {
    TN_TRY(check(g, req, n_req, s, e));
    tn_arena_reset(g->arena);
    for (int k = 0; k < g->batch; k++) g->slot[k].seq = -1;
    job j = {.g = g,
             .req = req,
             .n_req = n_req,
             .s = s,
             .out = out,
             .parent = -1};
    tn_status st = TN_OK;
    tn_phase before = tn_phase_enter(g->m->be, TN_PHASE_SAMPLING);
    while (st == TN_OK && (j.next_req < n_req || j.active > 0)) {
        st = admit(&j, e);
        if (st == TN_OK && j.active > 0) st = decode(&j, e);
        if (tick) tick(ctx, j.done, j.tokens);
        if (st == TN_OK && tn_stop_requested())
            st = tn_fail(e, TN_INTERRUPTED, "stopped while generating");
    }
    tn_phase_leave(g->m->be, before);
    if (j.parent >= 0) tn_kv_close(g->kv, j.parent);
    reset(g);
    return st;
}
