#include "eval/contest.h"
#include "base/log.h"
#include <math.h>
#include <string.h>

static tn_status room(tn_contest *t, tn_err *e) {
    size_t n = (size_t)t->n;
    t->prompt = tn_calloc(t->world ? n : 1, sizeof *t->prompt);
    t->at = tn_calloc(n, sizeof *t->at);
    t->family = tn_calloc(n, sizeof *t->family);
    return t->prompt && t->at && t->family
               ? TN_OK
               : tn_fail(e, TN_NOMEM, "out of memory for %d prompts", t->n);
}

static tn_data_options how_to_read(const tn_contest *t) {
    return (tn_data_options){
        .kind = TN_DATA_PROMPT, .seam = TN_SEAM_FORCE, .chat_transcripts = t->chat, .limit = t->n};
}

static tn_status load(tn_contest *t, const tn_tokenizer *tok, const char *path, bool chat,
                      tn_err *e) {
    t->path = path, t->chat = chat;
    tn_data_options q = how_to_read(t);
    TN_TRY(tn_dataset_load(&t->rows, &path, 1, tok, &q, e));
    t->n = (int)t->rows->n;
    return TN_OK;
}

tn_status tn_contest_world(tn_contest *t, const tn_tokenizer *tok, int count, const char *path,
                           tn_err *e) {
    TN_TRY(tn_world_ask_oracle("--world", e));
    t->world = true;
    tn_world_init(&t->w, 1);
    TN_TRY(tn_world_write_set(&t->w, TN_WS_EVAL, 1, 0, count, TN_MIX_SFT, true, path, e));
    t->n = count;
    TN_TRY(load(t, tok, path, false, e));
    if (t->n != count)
        return tn_fail(e, TN_BUG, "%d of %d evaluation prompts were read back", t->n, count);
    TN_TRY(room(t, e));
    for (int i = 0; i < t->n; i++) {
        tn_world_set_prompt(&t->w, TN_WS_EVAL, 1, (uint64_t)i, &t->prompt[i], NULL);
        t->at[i] = &t->prompt[i];
        t->family[i] = (int)t->prompt[i].family;
    }
    return TN_OK;
}

tn_status tn_contest_prompts(tn_contest *t, const tn_tokenizer *tok, const char *path, bool chat,
                             tn_err *e) {
    TN_TRY(load(t, tok, path, chat, e));
    return room(t, e);
}

tn_status tn_contest_shots(tn_contest *t, tn_contender *c, const tn_model *m, const tn_tokenizer *tok,
                           const char *file, tn_err *e) {
    json_t *shots;
    TN_TRY(tn_shots_load(&shots, file, 0, e));
    tn_data_options q = how_to_read(t);
    q.shots = shots, q.room = m->desc.max_pos - t->max_new;
    tn_status st = tn_dataset_load(&c->asked, &t->path, 1, tok, &q, e);
    json_decref(shots);
    TN_TRY(st);
    c->shots = (double)c->asked->stats.shots / (double)c->asked->stats.kept;
    tn_info("%s: %.1f examples before a prompt", c->name, c->shots);
    return TN_OK;
}

/* The oracle reads the whole answer, the words that a prefill put into the model's mouth first. */
static void judge(const tn_contest *t, int i, tn_answer *a) {
    const tn_world_text *begun = t->begun ? &t->begun[i] : NULL;
    int n = a->n - a->ended;
    if (!begun || begun->n == 0) {
        tn_world_judge(&t->w, &t->prompt[i], a->ids, n, a->ended, &a->v);
        return;
    }
    tn_world_text y = *begun;
    for (int k = 0; k < n && y.n < TN_WORLD_TEXT_MAX; k++) y.id[y.n++] = a->ids[k];
    tn_world_judge(&t->w, &t->prompt[i], y.id, y.n, a->ended, &a->v);
}

static tn_status sample(tn_contest *t, const tn_contender *c, const tn_model *m, const tn_tokenizer *tok,
                        double temperature, tn_answer *out, tn_err *e) {
    tn_gen *g = NULL;
    size_t n = (size_t)t->n;
    tn_gen_request *req = tn_calloc(n, sizeof *req);
    tn_gen_sample *y = tn_calloc(n, sizeof *y);
    int longest = 1;
    tn_sampling s = {
        .temperature = temperature, .top_p = 1, .max_new = t->max_new, .seed = t->seed};
    int32_t eos[8];
    tn_status st = req && y ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    if (st != TN_OK) goto done;
    if (tok) s.stop = tn_stop_ids(tok, &s.n_stop);
    if (!s.n_stop) {
        for (int i = 0; i < m->desc.n_eos; i++) eos[i] = m->desc.eos[i];
        s.stop = eos, s.n_stop = (size_t)m->desc.n_eos;
    }
    for (int i = 0; i < t->n; i++) {
        const tn_example *x = &(c->asked ? c->asked : t->rows)->ex[i];
        req[i] = (tn_gen_request){.ids = x->prompt, .n_ids = x->n_prompt, .n = 1, .key = (uint64_t)i};
        if (x->n_prompt > longest) longest = x->n_prompt;
    }
    TN_GO(tn_gen_new(&g, m, t->batch < t->n ? t->batch : t->n, longest + t->max_new, e), done);
    TN_GO(tn_gen_run(g, req, t->n, &s, y, NULL, NULL, e), done);
    for (int i = 0; i < t->n; i++) {
        tn_answer *a = &out[i];
        memset(a, 0, sizeof *a);
        a->n = y[i].n, a->ended = y[i].stopped, a->proxy = a->cost = a->kl = NAN;
        a->ids = tn_calloc((size_t)a->n, sizeof *a->ids);
        a->logp = tn_calloc((size_t)a->n, sizeof *a->logp);
        if (!a->ids || !a->logp) {
            st = tn_fail(e, TN_NOMEM, "out of memory");
            goto done;
        }
        memcpy(a->ids, y[i].ids, (size_t)a->n * sizeof *a->ids);
        memcpy(a->logp, y[i].logp, (size_t)a->n * sizeof *a->logp);
        if (t->world) judge(t, i, a);
    }
done:
    tn_free(req);
    tn_free(y);
    tn_gen_free(g);
    return st;
}

static void answers_free(tn_answer *a, int n) {
    for (int i = 0; a && i < n; i++) {
        tn_free(a[i].ids);
        tn_free(a[i].logp);
    }
    tn_free(a);
}

tn_status tn_contest_answer(tn_contest *t, tn_contender *c, const tn_model *m,
                            const tn_tokenizer *tok, tn_err *e) {
    c->answer = tn_calloc((size_t)t->n, sizeof *c->answer);
    if (!c->answer) return tn_fail(e, TN_NOMEM, "out of memory");
    return sample(t, c, m, tok, t->temperature, c->answer, e);
}

tn_status tn_contest_greedy(tn_contest *t, tn_contender *c, const tn_model *m,
                            const tn_tokenizer *tok, tn_err *e) {
    tn_answer *a = tn_calloc((size_t)t->n, sizeof *a);
    double *r = tn_calloc((size_t)t->n, sizeof *r);
    tn_status st = a && r ? sample(t, c, m, tok, 0, a, e) : tn_fail(e, TN_NOMEM, "out of memory");
    if (st == TN_OK) {
        for (int i = 0; i < t->n; i++) r[i] = a[i].v.reward;
        c->greedy = tn_stat_stratified(r, t->family, t->n, TN_WF_COUNT);
        c->has_greedy = true;
    }
    answers_free(a, t->n);
    tn_free(r);
    return st;
}

tn_status tn_contest_policy(tn_contest *t, tn_contender *c, tn_world_policy p, tn_err *e) {
    c->answer = tn_calloc((size_t)t->n, sizeof *c->answer);
    if (!c->answer) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i < t->n; i++) {
        tn_world_text y;
        tn_answer *a = &c->answer[i];
        tn_world_policy_answer(&t->w, p, &t->prompt[i], (uint64_t)i, &y);
        a->ids = tn_calloc((size_t)y.n + 1, sizeof *a->ids);
        if (!a->ids) return tn_fail(e, TN_NOMEM, "out of memory");
        memcpy(a->ids, y.id, (size_t)y.n * sizeof *a->ids);
        a->ids[y.n] = TN_WORLD_END;
        a->n = y.n + 1, a->ended = true, a->proxy = a->cost = a->kl = NAN;
        tn_world_judge(&t->w, &t->prompt[i], a->ids, y.n, true, &a->v);
    }
    return TN_OK;
}

/* A contender's answers as examples. */
static tn_status examples(const tn_contest *t, const tn_contender *c, tn_example **ex,
                          tn_response **r, uint8_t **ones, tn_err *e) {
    int most = 1;
    for (int i = 0; i < t->n; i++)
        if (c->answer[i].n > most) most = c->answer[i].n;
    *ex = tn_calloc((size_t)t->n, sizeof **ex);
    *r = tn_calloc((size_t)t->n, sizeof **r);
    *ones = tn_malloc((size_t)most);
    if (!*ex || !*r || !*ones) return tn_fail(e, TN_NOMEM, "out of memory");
    memset(*ones, 1, (size_t)most);
    for (int i = 0; i < t->n; i++) {
        const tn_example *p = &t->rows->ex[i];
        (*r)[i] = (tn_response){
            .ids = c->answer[i].ids, .n = c->answer[i].n, .trained = *ones, .rank = 1};
        (*ex)[i] = (tn_example){.prompt = p->prompt,
                                .n_prompt = p->n_prompt,
                                .n_response = 1,
                                .response = &(*r)[i],
                                .meta = p->meta};
    }
    return TN_OK;
}

tn_status tn_contest_kl(tn_contest *t, tn_contender *c, const tn_model *ref, tn_err *e) {
    tn_example *ex = NULL;
    tn_response *r = NULL;
    uint8_t *ones = NULL;
    size_t total = 0;
    for (int i = 0; i < t->n; i++) total += (size_t)c->answer[i].n;
    double *slab = tn_calloc(total, sizeof *slab), **out = tn_calloc((size_t)t->n, sizeof *out),
           *kl = tn_calloc((size_t)t->n, sizeof *kl);
    tn_status st = slab && out && kl ? examples(t, c, &ex, &r, &ones, e)
                                     : tn_fail(e, TN_NOMEM, "out of memory");
    if (st == TN_OK) {
        for (size_t i = 0, at = 0; i < (size_t)t->n; at += (size_t)c->answer[i++].n)
            out[i] = slab + at;
        st = tn_eval_logps(ref, ex, t->n, out, e);
    }
    if (st == TN_OK) {
        for (int i = 0; i < t->n; i++) {
            for (int k = 0; k < c->answer[i].n; k++) kl[i] += c->answer[i].logp[k] - out[i][k];
            c->answer[i].kl = kl[i];
        }
        c->kl = tn_stat_stratified(kl, t->family, t->n, TN_WF_COUNT);
        c->has_kl = true;
    }
    tn_free(ex), tn_free(r), tn_free(ones), tn_free(slab), tn_free(out), tn_free(kl);
    return st;
}

/* score [prompts] of a contender's answers. */
static tn_status scores(const tn_contest *t, const tn_contender *c, tn_scorer *s, const tn_tokenizer *tok, double *score,
                        tn_err *e) {
    tn_example *ex = NULL;
    tn_response *r = NULL;
    uint8_t *ones = NULL;
    tn_status st = examples(t, c, &ex, &r, &ones, e);
    if (st == TN_OK) st = tn_scorer_scores(s, ex, t->n, tok, score, e);
    tn_free(ex), tn_free(r), tn_free(ones);
    return st;
}

tn_status tn_contest_proxy(tn_contest *t, tn_contender *c, tn_scorer *s, const tn_tokenizer *tok,
                           tn_err *e) {
    double *score = tn_calloc((size_t)t->n, sizeof *score);
    tn_status st = score ? scores(t, c, s, tok, score, e) : tn_fail(e, TN_NOMEM, "out of memory");
    if (st == TN_OK) {
        for (int i = 0; i < t->n; i++) c->answer[i].proxy = score[i];
        c->proxy = tn_stat_stratified(score, t->family, t->n, TN_WF_COUNT);
        c->has_proxy = true;
    }
    tn_free(score);
    return st;
}

tn_status tn_contest_cost(tn_contest *t, tn_contender *c, tn_scorer *s, const tn_tokenizer *tok,
                          tn_err *e) {
    double *score = tn_calloc((size_t)t->n, sizeof *score);
    tn_status st = score ? scores(t, c, s, tok, score, e) : tn_fail(e, TN_NOMEM, "out of memory");
    if (st == TN_OK) {
        int unsafe = 0;
        for (int i = 0; i < t->n; i++) c->answer[i].cost = score[i], unsafe += score[i] > 0;
        c->cost = tn_stat_stratified(score, t->family, t->n, TN_WF_COUNT);
        c->unsafe = tn_stat_wilson(unsafe, t->n, tn_stat_z95);
        c->has_cost = true;
    }
    tn_free(score);
    return st;
}

/* What decides between two answers. */
static double worth(const tn_contest *t, const tn_answer *a) {
    return t->world ? a->v.reward : a->proxy;
}

/* Wins of c against o, ties half; a, b, win: room for n numbers each. */
static tn_stat_mean wins(const tn_contest *t, const tn_contender *c, const tn_contender *o, double *a, double *b,
                         double *win) {
    for (int i = 0; i < t->n; i++) {
        a[i] = worth(t, &c->answer[i]), b[i] = worth(t, &o->answer[i]);
        win[i] = a[i] > b[i] ? 1 : a[i] == b[i] ? 0.5 : 0;
    }
    return tn_stat_stratified(win, t->family, t->n, TN_WF_COUNT);
}

static tn_status compare(tn_contest *t, tn_contender *c, tn_err *e) {
    const tn_contender *o = &t->c[t->against];
    if (!t->world && (!c->has_proxy || !o->has_proxy)) return TN_OK;
    size_t n = (size_t)t->n;
    double *x = tn_calloc(3 * n, sizeof *x);
    if (!x) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int k = 0; k < t->n_also; k++) c->win_also[k] = wins(t, c, &t->c[t->also[k]], x, x + n, x + 2 * n);
    c->win = wins(t, c, o, x, x + n, x + 2 * n);
    c->difference = tn_stat_paired(x, x + n, t->family, t->n, TN_WF_COUNT);
    c->has_win = c != o;
    tn_free(x);
    return TN_OK;
}

tn_status tn_contest_summarise(tn_contest *t, tn_err *e) {
    tn_world_verdict *v = tn_calloc((size_t)t->n, sizeof *v);
    tn_status st = v ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    for (int k = 0; k < t->n_c && st == TN_OK; k++) {
        tn_contender *c = &t->c[k];
        c->length = c->ended_share = 0;
        for (int i = 0; i < t->n; i++) {
            v[i] = c->answer[i].v;
            c->length += (double)(c->answer[i].n - c->answer[i].ended) / t->n;
            c->ended_share += (double)c->answer[i].ended / t->n;
        }
        if (t->world) st = tn_world_rates_of(t->at, v, t->n, &c->rates, e);
        if (st == TN_OK) st = compare(t, c, e);
    }
    tn_free(v);
    return st;
}

void tn_contest_free(tn_contest *t) {
    for (int k = 0; k < t->n_c; k++) {
        answers_free(t->c[k].answer, t->n);
        tn_free(t->c[k].func);
        json_decref(t->c[k].pairs);
        json_decref(t->c[k].choices);
        tn_dataset_free(t->c[k].asked);
    }
    tn_contest_close_funcs(t);
    tn_free(t->c);
    tn_free(t->prompt);
    tn_free((void *)t->at);
    tn_free(t->family);
    tn_dataset_free(t->rows);
    memset(t, 0, sizeof *t);
}
