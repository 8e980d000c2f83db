/* Prompts on their way into slots: as many as there is room for go through one forward, each for all its samples,
 * whose first tokens are drawn from its last row. A sample then is a fork of its prompt in the cache.
 *
 * What a prompt begins with like the one before it (examples, a system's turn, the same conversation) is not computed again:
 * it shares that one's pages, in whole pages, so that its numbers are those of a prompt read alone. */
#include "base/signals.h"
#include "gen/gen_int.h"
#include <string.h>

/* The kept prompt's sequence, cut back to what it shares with the new one (but for the last token,
 * whose row is wanted); or an empty one. *seq is -1 when the cache has none. Returns the tokens it holds. */
static int open_prompt(tn_gen *g, const tn_gen_request *q, int *seq) {
    int n = 0;
    *seq = g->kept_seq;
    g->kept_seq = -1;
    if (*seq < 0) {
        *seq = tn_gen_open(g);
        return 0;
    }
    while (n < q->n_ids - 1 && n < g->n_kept && q->ids[n] == g->kept[n]) n++;
    tn_gen_truncate(g, *seq, n);
    return n;
}

static void close_prompt(tn_gen_job *j, const tn_gen_prompt *p) {
    tn_gen *g = j->g;
    const tn_gen_request *q = &j->req[p->req];
    if (g->kept && p->req + 1 == j->n_req) {
        g->kept_seq = p->seq;
        g->n_kept = q->n_ids;
        memcpy(g->kept, q->ids, (size_t)q->n_ids * sizeof *q->ids);
    } else if (j->at + 1 == j->n_prompt) { /* the next ones may begin like it */
        if (j->like >= 0) tn_gen_close(g, j->like);
        j->like = p->seq, j->like_req = p->req;
    } else {
        tn_gen_close(g, p->seq);
    }
}

static tn_status forward(tn_gen_job *j, int items, const int32_t *row, int rows, tn_err *e) {
    if (tn_stop_requested()) return tn_fail(e, TN_INTERRUPTED, "stopped while reading a prompt");
    return tn_gen_forward(j->g, items, row, rows, e);
}

/* The prompts of n requests into the cache: of one in pieces if need be, of more all at once; row[i] of the last
 * forward is prompt i's last. */
static tn_status read_prompts(tn_gen_job *j, int n, int32_t *row, tn_err *e) {
    tn_gen *g = j->g;
    int rows = 0;
    for (int i = 0; i < n; i++) {
        tn_gen_prompt *p = &g->prompt[i];
        const tn_gen_request *q = &j->req[p->req];
        int at = open_prompt(g, q, &p->seq) + p->shared;
        if (p->seq < 0) return tn_fail(e, TN_BUG, "no free sequence in the cache");
        j->n_prompt = i + 1;
        if (p->req == 0) g->reused = at;
        if (p->shared) tn_gen_begin_like(g, p->seq, i ? g->prompt[i - 1].seq : j->like, p->shared);
        for (; q->n_ids - at > g->tokens; at += g->tokens) {
            g->item[0] = (tn_kv_item){p->seq, q->ids + at, g->tokens, at == 0};
            TN_TRY(forward(j, 1, NULL, 0, e));
        }
        g->item[i] = (tn_kv_item){p->seq, q->ids + at, q->n_ids - at, at == 0};
        rows += q->n_ids - at;
        row[i] = rows - 1;
    }
    return forward(j, n, row, n, e);
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

/* Whole pages that request r has in common with the one that is read before it; its last token's row is wanted. */
static int shared_tokens(const tn_gen_job *j, int r, int before) {
    const tn_gen_request *q = &j->req[r];
    if (before < 0 || j->g->kept_seq >= 0) return 0;
    const tn_gen_request *p = &j->req[before];
    int n = 0, most = p->n_ids < q->n_ids - 1 ? p->n_ids : q->n_ids - 1;
    while (n < most && p->ids[n] == q->ids[n]) n++;
    return n / TN_KV_BLOCK * TN_KV_BLOCK;
}

/* The requests that come next, for `empty` slots. */
static tn_status prepare(tn_gen_job *j, int empty, tn_err *e) {
    tn_gen *g = j->g;
    int n = 0, samples = 0, tokens = 0, before = j->like >= 0 ? j->like_req : -1;
    int32_t row[TN_GEN_ROWS];
    j->first_out = j->base;
    for (; n < g->rows && samples < empty && j->next_req < j->n_req; n++, before = j->next_req++) {
        const tn_gen_request *q = &j->req[j->next_req];
        int shared = shared_tokens(j, j->next_req, before);
        if (n > 0 && tokens + q->n_ids - shared > g->tokens) break;
        g->prompt[n] = (tn_gen_prompt){.seq = -1, .req = j->next_req, .shared = shared};
        samples += q->n;
        tokens += q->n_ids - shared;
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
            j->active++;
        }
        close_prompt(j, p);
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
