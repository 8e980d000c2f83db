#include "train/batch.h"
#include <string.h>

static tn_status grow_tok(tn_batch *b, size_t need, tn_err *e) {
    if (need <= b->cap_tok) return TN_OK;
    size_t cap = b->cap_tok ? b->cap_tok : 256;
    while (cap < need) cap *= 2;
    double **real[] = {&b->logp,  &b->lse,      &b->entropy,   &b->mean_logit, &b->top1,
                       &b->value, &b->ref_logp, &b->old_logp,  &b->old_value,  &b->advantage,
                       &b->ret,   &b->d_logp,   &b->d_entropy, &b->d_lse,      &b->d_value,
                       &b->log_sum_sq};
    bool ok = true;
    for (size_t i = 0; i < sizeof real / sizeof *real && ok; i++) {
        double *p = tn_realloc(*real[i], cap, sizeof **real[i]);
        ok = p != NULL;
        if (p) *real[i] = p;
    }
    int32_t **ids[] = {&b->row, &b->target};
    for (size_t i = 0; i < 2 && ok; i++) {
        int32_t *p = tn_realloc(*ids[i], cap, sizeof(int32_t));
        ok = p != NULL;
        if (p) *ids[i] = p;
    }
    int *macro = ok ? tn_realloc(b->macro_off, cap + 1, sizeof *macro) : NULL;
    if (macro) b->macro_off = macro;
    if (!macro) return tn_fail(e, TN_NOMEM, "out of memory for a micro-batch of %zu tokens", cap);
    b->cap_tok = cap;
    return TN_OK;
}

static tn_status grow_seq(tn_batch *b, size_t need, tn_err *e) {
    if (need <= b->cap_seq) return TN_OK;
    size_t cap = b->cap_seq ? b->cap_seq : 64;
    while (cap < need) cap *= 2;
    int *off = tn_realloc(b->off, cap + 1, sizeof *off);
    if (off) b->off = off;
    int *rank = tn_realloc(b->rank, cap, sizeof *rank);
    if (rank) b->rank = rank;
    int *label = tn_realloc(b->label, cap, sizeof *label);
    if (label) b->label = label;
    double *base = tn_realloc(b->baseline, cap, sizeof *base);
    if (base) b->baseline = base;
    double *length = tn_realloc(b->length, cap, sizeof *length);
    if (length) b->length = length;
    uint64_t *origin = tn_realloc(b->origin, cap, sizeof *origin);
    if (origin) b->origin = origin;
    int *number = tn_realloc(b->number, cap, sizeof *number);
    if (number) b->number = number;
    int *group = tn_realloc(b->group_off, cap + 1, sizeof *group);
    if (group) b->group_off = group;
    int32_t *rows = tn_realloc(b->score_row, cap, sizeof *rows);
    if (rows) b->score_row = rows;
    double *s = tn_realloc(b->score, cap, sizeof *s);
    if (s) b->score = s;
    double *d = tn_realloc(b->d_score, cap, sizeof *d);
    if (d) b->d_score = d;
    if (!off || !rank || !label || !base || !length || !number || !origin || !group || !rows || !s || !d)
        return tn_fail(e, TN_NOMEM, "out of memory for a micro-batch of %zu sequences", cap);
    b->cap_seq = cap;
    return TN_OK;
}

static tn_status grow_pair(tn_batch *b, size_t need, tn_err *e) {
    if (need <= b->cap_pair) return TN_OK;
    size_t cap = b->cap_pair ? b->cap_pair : 64;
    while (cap < need) cap *= 2;
    int *c = tn_realloc(b->chosen, cap, sizeof *c);
    if (c) b->chosen = c;
    int *r = tn_realloc(b->rejected, cap, sizeof *r);
    if (r) b->rejected = r;
    int *p = tn_realloc(b->prompt, cap, sizeof *p);
    if (p) b->prompt = p;
    int *g = tn_realloc(b->gold, cap, sizeof *g);
    if (g) b->gold = g;
    double *m = tn_realloc(b->margin, cap, sizeof *m);
    if (m) b->margin = m;
    double *v = tn_realloc(b->sort_value, 2 * cap, sizeof *v);
    if (v) b->sort_value = v;
    int *o = tn_realloc(b->sort_order, 2 * cap, sizeof *o);
    if (o) b->sort_order = o;
    if (!c || !r || !p || !g || !m || !v || !o)
        return tn_fail(e, TN_NOMEM, "out of memory for %zu pairs", cap);
    b->cap_pair = cap;
    return TN_OK;
}

tn_status tn_batch_reserve(tn_batch *b, const tn_batch_need *q, tn_err *e) {
    TN_TRY(grow_tok(b, (size_t)q->tokens, e));
    TN_TRY(grow_seq(b, (size_t)q->seqs, e));
    TN_TRY(grow_pair(b, (size_t)q->pairs, e));
    return tn_forest_reserve(&b->forest, (size_t)q->tokens, (size_t)q->segs, q->chain, q->desc, e);
}

void tn_batch_clear(tn_batch *b) {
    tn_forest_clear(&b->forest);
    b->n_seq = b->n_tok = b->n_pair = b->n_group = b->n_example = 0;
    b->n_macro = 0;
    b->has_margin = false;
    b->ref_known = true;
}

void tn_batch_free(tn_batch *b) {
    tn_forest_free(&b->forest);
    void *p[] = {b->off,        b->row,       b->target, b->score_row, b->chosen,    b->rejected,
                 b->margin,     b->group_off, b->rank,   b->logp,      b->lse,       b->entropy,
                 b->prompt,     b->label,     b->baseline, b->sort_value, b->sort_order,
                 b->mean_logit, b->top1,      b->value,  b->ref_logp,  b->old_logp,  b->old_value,
                 b->advantage,  b->ret,       b->score,  b->d_logp,    b->d_entropy, b->d_lse,
                 b->d_value,    b->d_score,   b->macro_off, b->length,   b->number,   b->origin,   b->log_sum_sq, b->gold};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) tn_free(p[i]);
    memset(b, 0, sizeof *b);
}

/* Does response token i begin a segment? The first token of a text without a prompt is never
 * predicted; it belongs to the span that follows it. */
static bool begins(const tn_response *s, int i, bool root, const tn_batch_options *o) {
    if (i == 0) return true;
    if ((root && i == 1) || o->step_ends) return false;
    return s->trained[i] != s->trained[i - 1];
}

/* One response below segment `parent` (-1: none); `last` is the row of the prompt's last token. */
static tn_status add_response(tn_batch *b, const tn_response *s, int parent, int last,
                              const tn_batch_options *o, tn_err *e) {
    TN_TRY(grow_tok(b, (size_t)(b->n_tok + s->n), e));
    TN_TRY(grow_seq(b, (size_t)(b->n_seq + 1), e));
    int seq = b->n_seq++;
    bool root = parent < 0;
    b->off[seq] = b->n_tok;
    for (int i = 0; i < s->n;) {
        int k = i + 1, index, start = b->forest.n_tok;
        while (k < s->n && !begins(s, k, root, o)) k++;
        TN_TRY(tn_forest_add(&b->forest, s->ids + i, k - i, parent, seq, &index, e));
        for (int j = i; j < k; j++) {
            int row = start + (j - i), before = j == i ? last : row - 1;
            if (!s->trained[j] || before < 0) continue;
            b->row[b->n_tok] = o->step_ends ? row : before;
            b->target[b->n_tok++] = s->ids[j];
        }
        parent = index;
        last = start + (k - i) - 1;
        i = k;
    }
    b->off[seq + 1] = b->n_tok;
    b->score_row[seq] = last;
    return TN_OK;
}

static bool same(const tn_response *a, const tn_response *c) {
    return a->n == c->n && memcmp(a->ids, c->ids, (size_t)a->n * sizeof *a->ids) == 0;
}

/* Is response i better than response j, as far as a loss on pairs is concerned? */
static bool beats(const tn_example *x, int i, int j) {
    const tn_response *w = &x->response[i], *l = &x->response[j];
    return w->rank < l->rank && (x->pair || !same(w, l));
}
static bool gives_pairs(const tn_example *x, const tn_batch_options *o) {
    return x->n_response > 1 && o->rankings == TN_RANKINGS_AS_PAIRS;
}

/* Responses that are compared with each other. */
static int compared(const tn_example *x) { return x->n_response - x->gold; }

int tn_batch_pairs(const tn_example *x, const tn_batch_options *o) {
    int n = 0;
    for (int i = 0; i < compared(x) && gives_pairs(x, o); i++)
        for (int j = 0; j < compared(x); j++) n += beats(x, i, j);
    return n;
}

static int prompt_tokens(const tn_example *x, const tn_batch_options *o) {
    return o->score_prompts && x->n_prompt > 1 ? x->n_prompt - 1 : 0;
}

long tn_batch_gold_tokens(const tn_example *x) {
    long n = 0;
    const tn_response *r = &x->response[x->n_response - 1];
    for (int t = 0; x->gold && t < r->n; t++) n += r->trained[t];
    return n;
}

long tn_batch_chosen_tokens(const tn_example *x, const tn_batch_options *o) {
    long n = 0;
    for (int i = 0; i < compared(x) && gives_pairs(x, o); i++) {
        int pairs = 0, trained = prompt_tokens(x, o);
        for (int j = 0; j < compared(x); j++) pairs += beats(x, i, j);
        for (int t = 0; t < x->response[i].n && pairs; t++) trained += x->response[i].trained[t];
        n += (long)pairs * trained;
    }
    return n;
}

static tn_status add_pairs(tn_batch *b, const tn_example *x, int first, int prompt,
                           const tn_batch_options *o, tn_err *e) {
    TN_TRY(grow_pair(b, (size_t)(b->n_pair + tn_batch_pairs(x, o)), e));
    for (int i = 0; i < compared(x); i++)
        for (int j = 0; j < compared(x); j++) {
            if (!beats(x, i, j)) continue;
            b->gold[b->n_pair] = x->gold ? first + x->n_response - 1 : -1;
            b->chosen[b->n_pair] = first + i;
            b->rejected[b->n_pair] = first + j;
            b->prompt[b->n_pair] = prompt;
            b->margin[b->n_pair++] = x->margin;
            b->has_margin |= x->margin != 0;
        }
    return TN_OK;
}

/* The tokens of the prompt that ends the forest, as a sequence. */
static tn_status add_prompt_tokens(tn_batch *b, const tn_example *x, tn_err *e) {
    int seq = b->n_seq, first = b->forest.n_tok - x->n_prompt;
    TN_TRY(grow_tok(b, (size_t)(b->n_tok + x->n_prompt), e));
    TN_TRY(grow_seq(b, (size_t)(seq + 1), e));
    b->off[seq] = b->n_tok;
    for (int i = 1; i < x->n_prompt; i++) {
        b->row[b->n_tok] = first + i - 1;
        b->target[b->n_tok++] = x->prompt[i];
    }
    b->off[seq + 1] = b->n_tok;
    b->score_row[seq] = b->forest.n_tok - 1;
    b->rank[seq] = 0, b->label[seq] = 0, b->baseline[seq] = 0;
    b->length[seq] = x->n_prompt, b->number[seq] = x->first, b->origin[seq] = 0;
    b->n_seq++;
    return TN_OK;
}

int tn_batch_cost(const tn_example *x, const tn_batch_options *o) {
    int n = 0;
    for (int i = 0; i < x->n_response; i++) n += x->response[i].n;
    return n + x->n_prompt * (o->share_prompts || x->n_response < 2 ? 1 : x->n_response);
}

int tn_batch_fit(const tn_example *x, int first, int room, const tn_batch_options *o) {
    int n = 0, cost = o->share_prompts ? x->n_prompt : 0;
    for (int i = first; i < x->n_response; i++, n++) {
        cost += x->response[i].n + (o->share_prompts ? 0 : x->n_prompt);
        if (n > 0 && cost > room) break;
    }
    return n;
}

/* What is known of the last sequence, response i of x. */
static void label_response(tn_batch *b, const tn_example *x, int i) {
    int seq = b->n_seq - 1;
    b->rank[seq] = x->response[i].rank;
    b->length[seq] = x->response[i].n;
    b->label[seq] = i < 2 && (x->label >> i & 1);
    b->number[seq] = x->first + i;
    b->origin[seq] = (uint64_t)x->file << 32 | (uint32_t)x->line;
    b->baseline[seq] = x->baseline;
}

/* Pairs, or a group, of x's responses, which are sequences from `first` on. */
static tn_status compare(tn_batch *b, const tn_example *x, int first, int prompt, const tn_batch_options *o, tn_err *e) {
    b->n_example++;
    if (gives_pairs(x, o)) return add_pairs(b, x, first, prompt, o, e);
    if (x->n_response < 2) return TN_OK;
    b->group_off[b->n_group++] = first;
    b->group_off[b->n_group] = b->n_seq;
    return TN_OK;
}

tn_status tn_batch_add_outline(tn_batch *b, const tn_example *x, const tn_batch_options *o, tn_err *e) {
    int first = b->n_seq;
    for (int i = 0; i < x->n_response; i++) {
        TN_TRY(grow_seq(b, (size_t)(b->n_seq + 1), e));
        b->off[b->n_seq] = b->off[b->n_seq + 1] = 0;
        b->n_seq++;
        label_response(b, x, i);
    }
    return compare(b, x, first, -1, o, e);
}

tn_status tn_batch_add(tn_batch *b, const tn_example *x, const tn_batch_options *o, tn_err *e) {
    int first = b->n_seq, prompt = -1, first_tok = b->n_tok, parent = -1, last = -1;
    for (int i = 0; i < x->n_response; i++) {
        if (x->n_prompt && (i == 0 || !o->share_prompts)) {
            TN_TRY(tn_forest_add(&b->forest, x->prompt, x->n_prompt, -1, b->n_seq, &parent, e));
            last = b->forest.n_tok - 1;
        }
        if (i == 0 && prompt_tokens(x, o)) {
            prompt = first++;
            TN_TRY(add_prompt_tokens(b, x, e));
            first_tok = b->n_tok;
        }
        TN_TRY(add_response(b, &x->response[i], parent, last, o, e));
        label_response(b, x, i);
    }
    TN_TRY(compare(b, x, first, prompt, o, e));
    size_t n = (size_t)(b->n_tok - first_tok) * sizeof(double);
    const double *from[] = {x->ref_known ? x->ref : NULL, x->old_logp, x->old_value, x->advantage,
                            x->ret, x->grad};
    double *to[] = {b->ref_logp, b->old_logp, b->old_value, b->advantage, b->ret, b->d_logp};
    for (int i = 0; i < 6; i++)
        if (from[i] && n) memcpy(to[i] + first_tok, from[i], n);
    b->ref_known &= x->ref_known;
    for (int t = first_tok; x->macro && t < b->n_tok; t++)
        if (x->macro[t - first_tok]) b->macro_off[b->n_macro++] = t;
    if (x->macro) b->macro_off[b->n_macro] = b->n_tok;
    return TN_OK;
}

tn_status tn_batch_finish(tn_batch *b, tn_err *e) { return tn_forest_finish(&b->forest, e); }

void tn_batch_obs(const tn_batch *b, tn_obs *x) {
    memset(x, 0, sizeof *x);
    x->n_seq = b->n_seq;
    x->off = b->off;
    x->logp = b->logp, x->entropy = b->entropy, x->mean_logit = b->mean_logit, x->top1 = b->top1;
    x->log_sum_sq_p = b->log_sum_sq;
    x->value = b->value, x->score = b->score;
    x->ref_logp = b->ref_logp, x->old_logp = b->old_logp, x->old_value = b->old_value;
    x->advantage = b->advantage, x->ret = b->ret;
    x->label = b->label, x->baseline = b->baseline, x->length = b->length, x->origin = b->origin;
    x->n_pair = b->n_pair, x->chosen = b->chosen, x->rejected = b->rejected, x->prompt = b->prompt, x->gold = b->gold;
    x->sort_value = b->sort_value, x->sort_order = b->sort_order;
    x->margin = b->has_margin ? b->margin : NULL;
    x->n_group = b->n_group, x->group_off = b->group_off, x->rank = b->rank;
    x->n_macro = b->n_macro, x->macro_off = b->macro_off;
}
