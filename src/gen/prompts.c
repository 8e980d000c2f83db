/* Prompts on their way into slots: as many as there is room for go through one forward, each for all its samples,
 * whose first tokens are drawn from its last row. A sample then is a fork of its prompt in the cache.
 *
 * What a prompt begins with like one that is kept (kept.c), or like the one before it (examples, a system's turn, the same
 * conversation), is not computed again: it shares that one's pages, so that its numbers are those of a prompt read alone. */
#include "base/signals.h"
#include "gen/gen_int.h"
#include <string.h>

/* Items that append tokens [from, to) of a prompt: one for each segment, of which the first may have begun before. *n are there. */
static tn_status add_items(tn_gen *g, int *n, const tn_gen_prompt *p, const tn_gen_request *q, int from, int to, tn_err *e) {
    for (int at = from, end; at < to; at = end) {
        for (end = at + 1; end < to && p->key[end] >= 0;) end++;
        if (!TN_GROW(g->item, g->cap_item, (size_t)*n + 1)) return tn_fail(e, TN_NOMEM, "out of memory for a prompt");
        g->item[(*n)++] = (tn_kv_item){p->seq, q->ids + at, end - at, at == 0 || p->key[at] < 0};
    }
    return TN_OK;
}

static tn_status forward(tn_gen_job *j, int items, const int32_t *row, int rows, tn_err *e) {
    if (tn_stop_requested()) return tn_fail(e, TN_INTERRUPTED, "stopped while reading a prompt");
    return tn_gen_forward(j->g, items, row, rows, e);
}

/* The prompts of n requests into the cache: of one in pieces if need be, of more all at once; row[i] of the last
 * forward is prompt i's last. */
static tn_status read_prompts(tn_gen_job *j, int n, int32_t *row, tn_err *e) {
    tn_gen *g = j->g;
    int rows = 0, items = 0;
    for (int i = 0; i < n; i++) {
        tn_gen_prompt *p = &g->prompt[i];
        const tn_gen_request *q = &j->req[p->req];
        int at = p->shared;
        p->seq = tn_gen_open(g);
        if (p->seq < 0) return tn_fail(e, TN_BUG, "no free sequence in the cache");
        j->n_prompt = i + 1;
        g->read.tokens += q->n_ids, g->read.cached += at;
        if (at) tn_gen_begin_like(g, p->seq, p->like < 0 ? g->prompt[i - 1].seq : p->like, at);
        for (int part = 0; q->n_ids - at > g->tokens; at += g->tokens, part = 0) { /* which is the only prompt, then */
            TN_TRY(add_items(g, &part, p, q, at, at + g->tokens, e));
            TN_TRY(forward(j, part, NULL, 0, e));
        }
        TN_TRY(add_items(g, &items, p, q, at, q->n_ids, e));
        rows += q->n_ids - at;
        row[i] = rows - 1;
    }
    return forward(j, items, row, n, e);
}

static tn_status open_samples(tn_gen_job *j, const tn_gen_request *q, int first, tn_err *e) {
    int left = j->g->max_len - q->n_ids, room = left < j->s->max_new ? left : j->s->max_new;
    for (int i = 0; i < q->n; i++) {
        tn_gen_sample *o = &j->out[first + i];
        o->ids = tn_arena_alloc(j->g->arena, (size_t)room * sizeof *o->ids);
        o->logp = tn_arena_alloc(j->g->arena, (size_t)room * sizeof *o->logp);
        if (!o->ids || !o->logp) return tn_fail(e, TN_NOMEM, "out of memory for responses");
        o->n = 0;
        o->stopped = false;
    }
    return TN_OK;
}

/* The first token of every sample of the n prompts. */
static tn_status first_tokens(tn_gen_job *j, int n, tn_err *e) {
    tn_gen *g = j->g;
    int draws = 0;
    for (int i = 0; i < n; i++) {
        const tn_gen_request *q = &j->req[g->prompt[i].req];
        TN_TRY(open_samples(j, q, j->base + draws, e));
        if (!TN_GROW(g->draw, g->cap_draw, (size_t)(draws + q->n)))
            return tn_fail(e, TN_NOMEM, "out of memory for responses");
        for (int s = 0; s < q->n; s++, draws++)
            g->draw[draws] = (tn_gen_draw){.row = i, .out = j->base + draws, .key = tn_gen_key(j, q, s)};
    }
    tn_gen_draws(j, draws);
    for (int i = 0, d = 0; i < n; i++)
        for (int s = 0; s < j->req[g->prompt[i].req].n; s++, d++)
            if (tn_gen_append(j, &g->draw[d], j->req[g->prompt[i].req].n_ids)) j->done++;
    j->base += draws;
    return TN_OK;
}

/* The request as kept.c reads it. */
static const int32_t *key_of(tn_gen_job *j, const tn_gen_request *q) {
    if (q->n_cut == 0) return q->ids;
    int32_t *key = tn_arena_alloc(j->g->arena, (size_t)q->n_ids * sizeof *key);
    if (!key) return NULL;
    memcpy(key, q->ids, (size_t)q->n_ids * sizeof *key);
    for (int i = 0; i < q->n_cut; i++) key[q->cut[i]] = ~key[q->cut[i]];
    return key;
}

/* What a prompt begins with like a kept one; or, if that is more, like the one before it in the same forward: there in whole pages of the
 * first segment. Its last token's row is wanted. */
static void share(tn_gen *g, tn_gen_prompt *p, int n, const tn_gen_prompt *before, int n_before) {
    int most = n - 1, same = 0;
    p->like = tn_gen_find(g, p->key, n, &p->shared);
    if (p->shared > most) p->shared = most;
    if (!before) return;
    if (n_before < most) most = n_before;
    while (same < most && before->key[same] == p->key[same] && p->key[same] >= 0) same++;
    same = same / TN_KV_BLOCK * TN_KV_BLOCK;
    if (same > p->shared) p->like = -1, p->shared = same;
}

/* The requests that come next, for `empty` slots. */
static tn_status prepare(tn_gen_job *j, int empty, tn_err *e) {
    tn_gen *g = j->g;
    int n = 0, samples = 0, tokens = 0;
    int32_t row[TN_GEN_ROWS];
    j->first_out = j->base;
    for (; n < g->rows && samples < empty && j->next_req < j->n_req; n++, j->next_req++) {
        const tn_gen_request *q = &j->req[j->next_req];
        tn_gen_prompt *p = &g->prompt[n];
        *p = (tn_gen_prompt){.seq = -1, .req = j->next_req, .key = key_of(j, q)};
        if (!p->key) return tn_fail(e, TN_NOMEM, "out of memory for a prompt");
        share(g, p, q->n_ids, n ? p - 1 : NULL, n ? q[-1].n_ids : 0);
        if (n > 0 && tokens + q->n_ids - p->shared > g->tokens) break;
        samples += q->n;
        tokens += q->n_ids - p->shared;
    }
    j->at = j->n_prompt = 0;
    TN_TRY(read_prompts(j, n, row, e));
    TN_TRY(tn_gen_rows(j, row, n, e));
    return first_tokens(j, n, e);
}

static bool over(const tn_gen_job *j, int out) {
    const tn_gen_sample *o = &j->out[out];
    return o->stopped || o->n >= j->s->max_new;
}

/* Samples of the prepared prompts into slot k and the empty ones behind it; returns the slot to go on with. */
static tn_status hand_out(tn_gen_job *j, int *k, tn_err *e) {
    tn_gen *g = j->g;
    while (j->at < j->n_prompt) {
        tn_gen_prompt *p = &g->prompt[j->at];
        const tn_gen_request *q = &j->req[p->req];
        for (; p->next < q->n; p->next++) {
            int out = j->first_out + p->next;
            if (over(j, out) || q->n_ids + 1 >= g->max_len) continue; /* its first token was its last */
            while (*k < g->batch && g->slot[*k].seq >= 0) ++*k;
            if (*k == g->batch) return TN_OK;
            tn_gen_slot *c = &g->slot[*k];
            c->seq = tn_gen_fork(g, p->seq);
            if (c->seq < 0) return tn_fail(e, TN_BUG, "no free sequence in the cache");
            c->out = out, c->key = tn_gen_key(j, q, p->next);
            c->last = j->out[out].ids[0], c->first = true;
            c->prompt = q->goes_on ? p->key : NULL, c->n = q->n_ids;
            j->active++;
        }
        int seq = p->seq;
        p->seq = -1;
        TN_TRY(tn_gen_keep_sequence(g, seq, p->key, q->n_ids, e));
        j->first_out += q->n;
        j->at++;
    }
    return TN_OK;
}

tn_status tn_gen_admit(tn_gen_job *j, tn_err *e) {
    for (int k = 0;;) {
        int empty = 0;
        TN_TRY(hand_out(j, &k, e));
        for (int i = k; i < j->g->batch; i++) empty += j->g->slot[i].seq < 0;
        if (!empty || j->at < j->n_prompt || j->next_req == j->n_req) return TN_OK;
        TN_TRY(prepare(j, empty, e));
    }
}
