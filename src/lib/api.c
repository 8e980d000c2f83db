/* The public header on top of the rooms below it. */
#include "tenet.h"
#include "cmd/verbs.h"
#include "gen/gen.h"
#include "text/text.h"
#include "train/batch.h"
#include "train/trainer.h"
#include <string.h>

struct tenet_model {
    tn_backend *be;
    tn_model *model;
    tn_tokenizer *tok;
    tn_run *run;
    tn_batch batch;
    int max_tok; /* that `run` was made for */
};

static int give(tenet_error *e, const tn_err *from, tn_status st) {
    if (e) {
        e->code = st;
        snprintf(e->message, sizeof e->message, "%s", st == TN_OK ? "" : from->msg);
    }
    return st;
}

const char *tenet_version(void) { return TN_VERSION; }
void tenet_free(void *p) { tn_free(p); }

int tenet_run(const char *verb, const char *const *options, tenet_error *e) {
    tn_err err = {0};
    const tn_verb *v = tn_verb_find(verb);
    if (!v) return give(e, &err, tn_fail(&err, TN_ARG, "there is no verb '%s'", verb));
    json_t *o = json_object();
    for (const char *const *p = options; o && p && p[0] && p[1]; p += 2) {
        json_t *was = json_object_get(o, p[0]);
        if (!was)
            json_object_set_new(o, p[0], json_string(p[1]));
        else if (json_is_array(was))
            json_array_append_new(was, json_string(p[1]));
        else
            json_object_set_new(o, p[0], json_pack("[O,s]", was, p[1]));
    }
    tn_opts *opts = NULL;
    tn_status st = o ? tn_opts_from_json(v, o, "tenet_run", &opts, &err)
                     : tn_fail(&err, TN_NOMEM, "out of memory");
    if (st == TN_OK) st = v->run(opts, &err);
    tn_opts_free(opts);
    json_decref(o);
    return give(e, &err, st);
}

int tenet_model_open(tenet_model **out, const char *dir, const tenet_model_options *o,
                     tenet_error *e) {
    tn_err err = {0};
    *out = NULL;
    tenet_model *m = tn_calloc(1, sizeof *m);
    tn_status st = m ? TN_OK : tn_fail(&err, TN_NOMEM, "out of memory");
    bool f32 = o && o->size >= sizeof *o && o->dtype && strcmp(o->dtype, "float32") == 0;
    if (st == TN_OK)
        st = tn_backend_open(&m->be, "cpu", f32 ? TN_F32 : TN_BF16, NULL,
                             o && o->size >= sizeof *o ? o->threads : 0, &err);
    if (st == TN_OK) st = tn_model_load(&m->model, dir, m->be, &(tn_load){0}, &err);
    if (st == TN_OK) st = tn_tokenizer_optional(&m->tok, dir, NULL, &err);
    if (st == TN_OK)
        *out = m;
    else
        tenet_model_close(m);
    return give(e, &err, st);
}

void tenet_model_close(tenet_model *m) {
    if (!m) return;
    tn_batch_free(&m->batch);
    tn_run_free(m->run);
    tn_model_free(m->model);
    tn_tokenizer_free(m->tok);
    tn_backend_free(m->be);
    tn_free(m);
}

int tenet_model_vocab(const tenet_model *m) { return m->model->desc.vocab; }
int tenet_model_is_reward(const tenet_model *m) { return m->model->no_lm_head; }

int tenet_encode(tenet_model *m, const char *text, int special, int32_t **ids, size_t *n,
                 tenet_error *e) {
    tn_err err = {0};
    tn_ids a = {0};
    *ids = NULL;
    *n = 0;
    tn_status st = m->tok ? tn_encode(m->tok, text, strlen(text), special != 0, &a, NULL, &err)
                          : tn_fail(&err, TN_STATE, "%s has no tokenizer.json", m->model->dir);
    if (st == TN_OK) {
        *ids = tn_malloc((a.n ? a.n : 1) * sizeof **ids);
        if (!*ids)
            st = tn_fail(&err, TN_NOMEM, "out of memory");
        else if (a.n)
            memcpy(*ids, a.v, a.n * sizeof **ids);
        *n = a.n;
    }
    tn_ids_free(&a);
    return give(e, &err, st);
}

int tenet_decode(tenet_model *m, const int32_t *ids, size_t n, int skip_special, char **text,
                 tenet_error *e) {
    tn_err err = {0};
    tn_str s = TN_STR_INIT;
    *text = NULL;
    tn_status st = m->tok ? tn_decode(m->tok, ids, n, skip_special != 0, &s, &err)
                          : tn_fail(&err, TN_STATE, "%s has no tokenizer.json", m->model->dir);
    if (st == TN_OK && !(*text = tn_malloc(s.len + 1)))
        st = tn_fail(&err, TN_NOMEM, "out of memory");
    if (*text) {
        if (s.len) memcpy(*text, s.s, s.len);
        (*text)[s.len] = 0;
    }
    tn_str_free(&s);
    return give(e, &err, st);
}

/* One prompt | response through the trunk; the batch then knows rows and targets. */
static tn_status forward(tenet_model *m, const int32_t *prompt, size_t n_prompt, const int32_t *ids,
                         size_t n, tn_err *err) {
    if (!n_prompt || !n)
        return tn_fail(err, TN_ARG, "prompt and response need at least one token each");
    for (size_t i = 0; i < n_prompt + n; i++) {
        int32_t id = i < n_prompt ? prompt[i] : ids[i - n_prompt];
        if (id < 0 || id >= m->model->desc.vocab)
            return tn_fail(err, TN_ARG, "token %zu is %d; the vocabulary has 0 to %d", i, id,
                           m->model->desc.vocab - 1);
    }
    int total = (int)(n_prompt + n);
    if (total > m->max_tok) {
        tn_run_free(m->run);
        m->run = NULL;
        m->max_tok = 0;
        TN_TRY(tn_run_new(&m->run, m->model, total * 2, total * 2, total * 2, false, err));
        m->max_tok = total * 2;
    }
    tn_example x = {
        .prompt = (int32_t *)(uintptr_t)prompt, .n_prompt = (int)n_prompt, .n_response = 1};
    tn_response r = {
        .ids = (int32_t *)(uintptr_t)ids, .n = (int)n, .rank = 1, .trained = tn_malloc(n)};
    if (!r.trained) return tn_fail(err, TN_NOMEM, "out of memory");
    memset(r.trained, 1, n);
    x.response = &r;
    tn_batch_clear(&m->batch);
    tn_status st = tn_batch_add(&m->batch, &x, &(tn_batch_options){.share_prompts = true}, err);
    tn_free(r.trained);
    if (st == TN_OK) st = tn_batch_finish(&m->batch, err);
    bool score = tenet_model_is_reward(m);
    return st != TN_OK ? st
                       : tn_forward_rows(m->run, m->model, &m->batch.forest, score ? m->batch.score_row : m->batch.row,
                                         score ? 1 : m->batch.n_tok, err);
}

int tenet_logprobs(tenet_model *m, const int32_t *prompt, size_t n_prompt, const int32_t *ids,
                   size_t n, double *logprob, tenet_error *e) {
    tn_err err = {0};
    tn_status st =
        tenet_model_is_reward(m)
            ? tn_fail(&err, TN_STATE, "%s is a reward model; use tenet_score", m->model->dir)
            : forward(m, prompt, n_prompt, ids, n, &err);
    tn_lm q = {.n = (int)n,
               .rows = m->batch.row,
               .target = m->batch.target,
               .inv_temp = 1,
               .logp = logprob};
    if (st == TN_OK) st = tn_lm_head(m->run, m->model, &q, &err);
    return give(e, &err, st);
}

int tenet_score(tenet_model *m, const int32_t *prompt, size_t n_prompt, const int32_t *ids,
                size_t n, int normalised, double *score, tenet_error *e) {
    tn_err err = {0};
    tn_status st =
        !tenet_model_is_reward(m)
            ? tn_fail(&err, TN_STATE, "%s is no reward model; use tenet_logprobs", m->model->dir)
            : forward(m, prompt, n_prompt, ids, n, &err);
    if (st == TN_OK) st = tn_score_head(m->run, m->model, m->batch.score_row, 1, score, &err);
    if (st == TN_OK && normalised && m->model->score_sd > 0)
        *score = (*score - m->model->score_mean) / m->model->score_sd;
    return give(e, &err, st);
}

int tenet_sample(tenet_model *m, const int32_t *prompt, size_t n_prompt, double temperature,
                 int max_new, uint64_t seed, uint64_t key, int32_t *out, double *logprob, int *n,
                 tenet_error *e) {
    tn_err err = {0};
    tn_gen *g = NULL;
    tn_gen_sample y;
    int32_t eos[8];
    tn_sampling s = {.temperature = temperature, .top_p = 1, .max_new = max_new, .seed = seed};
    *n = 0;
    tn_status st =
        tenet_model_is_reward(m)
            ? tn_fail(&err, TN_STATE, "%s is a reward model; it does not generate", m->model->dir)
            : TN_OK;
    if (m->tok) s.stop = tn_stop_ids(m->tok, &s.n_stop);
    if (!s.n_stop) {
        for (int i = 0; i < m->model->desc.n_eos; i++) eos[i] = m->model->desc.eos[i];
        s.stop = eos;
        s.n_stop = (size_t)m->model->desc.n_eos;
    }
    tn_gen_request q = {.ids = prompt, .n_ids = (int)n_prompt, .n = 1, .key = key};
    if (st == TN_OK) st = tn_gen_new(&g, m->model, 1, (int)n_prompt + max_new, &err);
    if (st == TN_OK) st = tn_gen_run(g, &q, 1, &s, &y, NULL, NULL, &err);
    if (st == TN_OK) {
        *n = y.n;
        memcpy(out, y.ids, (size_t)y.n * sizeof *out);
        if (logprob) memcpy(logprob, y.logp, (size_t)y.n * sizeof *logprob);
    }
    tn_gen_free(g);
    return give(e, &err, st);
}
