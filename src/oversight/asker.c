#include "oversight/asker_int.h"
#include "base/manifest.h"
#include "train/trainer.h"
#include <stdlib.h>
#include <string.h>

/* ---- identity ---- */

static bool is_weights(const char *name) {
    size_t n = strlen(name);
    return n > 12 && !strcmp(name + n - 12, ".safetensors");
}

/* Of the weights' bytes, by name. */
static tn_status hash_folder(const char *dir, tn_reply_key *k, tn_err *e) {
    char **name = NULL;
    size_t n = 0;
    tn_str path = TN_STR_INIT;
    tn_status st = tn_list_dir(dir, &name, &n, e);
    for (size_t i = 0; i < n; i++) {
        uint64_t hash = 0, bytes;
        if (st == TN_OK && is_weights(name[i])) {
            tn_path_join(&path, dir, name[i]);
            st = path.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_hash_file(path.s, 0, &hash, &bytes, e);
            *k = tn_reply_key_add(tn_reply_key_add(*k, name[i], strlen(name[i])), &hash, sizeof hash);
        }
        tn_free(name[i]);
    }
    tn_free(name);
    tn_str_free(&path);
    return st;
}

static tn_status identify(tn_asker *a, const char *dir, const char *base, tn_err *e) {
    tn_str from = TN_STR_INIT;
    tn_status st = hash_folder(dir, &a->who, e);
    if (st == TN_OK && tn_adapter_folder(dir)) {
        st = tn_adapter_base(dir, base, &from, e);
        if (st == TN_OK) st = hash_folder(from.s, &a->who, e);
    }
    a->who = tn_reply_key_add(a->who, a->be->profile, strlen(a->be->profile));
    tn_str_free(&from);
    return st;
}

/* ---- opening ---- */

static tn_status open_all(tn_asker *a, const char *dir, const char *base, const char *chat_template, tn_err *e) {
    TN_TRY(tn_tokenizer_of(&a->tok, dir, base, chat_template, e));
    if (!a->tok) return tn_fail(e, TN_STATE, "%s has no tokenizer.json, and is to read and write texts", dir);
    TN_TRY(tn_model_load(&a->model, dir, a->be, &(tn_load){.base = base, .frozen = true}, e));
    if (a->model->no_lm_head)
        return tn_fail(e, TN_STATE, "%s is a reward model; it scores (`tenet score`), it does not answer", dir);
    return identify(a, dir, base, e);
}

tn_status tn_asker_open(tn_asker **out, tn_backend *be, const char *dir, const char *base, const char *chat_template, tn_replies *kept,
                        tn_err *e) {
    tn_asker *a = tn_calloc(1, sizeof *a);
    *out = NULL;
    if (!a) return tn_fail(e, TN_NOMEM, "out of memory");
    a->be = be;
    a->kept = kept;
    tn_status st = open_all(a, dir, base, chat_template, e);
    if (st == TN_OK) *out = a;
    else tn_asker_close(a);
    return st;
}

tn_status tn_asker_borrow(tn_asker **out, tn_backend *be, tn_model *m, tn_tokenizer *tok, tn_replies *kept, tn_err *e) {
    tn_asker *a = *out = tn_calloc(1, sizeof *a);
    if (!a) return tn_fail(e, TN_NOMEM, "out of memory");
    *a = (tn_asker){.be = be, .model = m, .tok = tok, .kept = kept, .borrowed = true};
    return TN_OK;
}

void tn_asker_skip_long(tn_asker *a) { a->skip_long = !a->at; /* what endpoints can read, they say */ }
void tn_asker_quiet(tn_asker *a) { a->quiet = true; }
void tn_asker_keep_prompts(tn_asker *a, size_t bytes) { a->kept_bytes = bytes; }
tn_gen_read tn_asker_prompts_read(const tn_asker *a) { return a->read; }

void tn_asker_close(tn_asker *a) {
    if (!a) return;
    tn_service_close(a->at);
    tn_asker_work_free(a->work);
    tn_gen_free(a->gen);
    if (!a->borrowed) {
        tn_model_free(a->model);
        tn_tokenizer_free(a->tok);
    }
    tn_free(a);
}

tn_status tn_asker_budget(tn_budget *p, tn_backend *be, const char *dir, const char *base, int max_tokens, tn_err *e) {
    tn_desc d;
    tn_lora_spec own;
    TN_TRY(tn_model_peek(&d, dir, &(tn_load){.base = base, .frozen = true}, e));
    TN_TRY(tn_adapter_peek(&own, dir, e));
    tn_budget_frozen(p, "judge", &d, be, false);
    if (own.rank) tn_budget_adapter(p, "judge", &d, &own, be, false, false);
    tn_budget_run(p, "judge", &d, be, max_tokens, max_tokens < 1024 ? max_tokens : 1024, max_tokens, 0, TN_KEEP_NOTHING);
    tn_budget_adapter_run(p, "judge", &d, &own, be, max_tokens, false);
    tn_budget_scratch(p, &d, &own, be, max_tokens, 1024, false);
    return TN_OK;
}

const tn_tokenizer *tn_asker_tokenizer(const tn_asker *a) { return a->tok; }

tn_model *tn_asker_model(const tn_asker *a) { return a->model; }

/* ---- asking ---- */

static tn_reply_key key_of(const tn_asker *a, const tn_question *q, const tn_sampling *s) {
    if (a->at) return tn_service_key(a, q, s);
    double how[] = {s->temperature, (double)s->top_k, s->top_p, s->min_p, (double)s->max_new};
    uint64_t draw[] = {s->seed, s->temperature > 0 ? q->draw : 0};
    tn_reply_key k = tn_reply_key_add(tn_reply_key_add(a->who, how, sizeof how), draw, sizeof draw);
    if (q->n_cut) k = tn_reply_key_add(k, q->cut, (size_t)q->n_cut * sizeof *q->cut);
    return tn_reply_key_add(k, q->ids, (size_t)q->n * sizeof *q->ids);
}

static tn_status keep(tn_asker *a, const tn_question *q, tn_reply_key key, const tn_gen_sample *y, tn_err *e) {
    tn_str text = TN_STR_INIT;
    tn_status st = tn_decode(a->tok, y->ids, (size_t)y->n, true, &text, e);
    if (st == TN_OK && text.oom) st = tn_fail(e, TN_NOMEM, "out of memory");
    json_t *reply = json_pack("{s:o*,s:b,s:i}", "text", json_stringn(text.s, text.len), "ended", y->stopped, "tokens", y->n);
    if (st == TN_OK && (!reply || !json_object_get(reply, "text"))) st = tn_fail(e, TN_NOMEM, "out of memory, or a reply that is not UTF-8");
    if (st == TN_OK) st = tn_replies_add(a->kept, key, q->about, reply, e);
    json_decref(reply);
    tn_str_free(&text);
    return st;
}

static void tick(void *ctx, long samples, long tokens) {
    tn_asker *a = ctx;
    double dt = tn_now() - a->bar.t0;
    if (!a->quiet) tn_progress_update(&a->bar, a->before + samples, "%.0f tok/s", dt > 0 ? (double)tokens / dt : 0.0);
}

/* The questions [0, n) that `which` numbers: one portion, durable when it returns. */
static tn_status ask_portion(tn_asker *a, const tn_question *q, const int *which, int n, const tn_sampling *how,
                             tn_gen_request *req, tn_gen_sample *sample, tn_err *e) {
    for (int i = 0; i < n; i++) {
        const tn_question *x = &q[which[i]];
        req[i] = (tn_gen_request){.ids = x->ids, .n_ids = x->n, .n = 1, .key = x->draw, .cut = x->cut, .n_cut = x->n_cut,
                                  .goes_on = x->goes_on && a->kept_bytes};
    }
    TN_TRY(tn_gen_run(a->gen, req, n, how, sample, tick, a, e));
    tn_gen_read r = tn_gen_prompts_read(a->gen);
    a->read.tokens += r.tokens, a->read.cached += r.cached;
    for (int i = 0; i < n; i++) TN_TRY(keep(a, &q[which[i]], key_of(a, &q[which[i]], how), &sample[i], e));
    a->before += n;
    return tn_replies_commit(a->kept, e);
}

/* Too long, and that is no error. */
static bool skipped(const tn_asker *a, const tn_question *q, const tn_sampling *how) { return a->skip_long && q->n + how->max_new > a->model->desc.max_pos; }

typedef struct numbered { tn_reply_key key; int i; } numbered;
static int by_key(const void *x, const void *y) {
    const numbered *a = x, *b = y;
    if (a->key.a != b->key.a) return a->key.a < b->key.a ? -1 : 1;
    if (a->key.b != b->key.b) return a->key.b < b->key.b ? -1 : 1;
    return a->i - b->i;
}
static int by_number(const void *x, const void *y) { return *(const int *)x - *(const int *)y; }

int tn_asker_missing(const tn_asker *a, const tn_reply_key *key, int n, int *which) {
    int m = 0, k = 0;
    numbered *v = tn_calloc((size_t)n + 1, sizeof *v);
    if (!v) return -1;
    for (int i = 0; i < n; i++)
        if (!tn_replies_find(a->kept, key[i])) v[m++] = (numbered){key[i], i};
    qsort(v, (size_t)m, sizeof *v, by_key);
    for (int i = 0; i < m; i++)
        if (i == 0 || v[i].key.a != v[i - 1].key.a || v[i].key.b != v[i - 1].key.b) which[k++] = v[i].i;
    tn_free(v);
    qsort(which, (size_t)k, sizeof *which, by_number);
    return k;
}

static tn_status need_gen(tn_asker *a, int batch, int max_len, tn_err *e) {
    if (a->gen) return tn_gen_fit(a->gen, batch, max_len, e);
    TN_TRY(tn_gen_new(&a->gen, a->model, batch, max_len, e));
    const tn_desc *d = &a->model->desc;
    size_t page = a->be->op->kv_block_bytes(a->be, d->kv_heads, d->head_dim) * (size_t)d->layers, pages = a->kept_bytes / page;
    return pages ? tn_gen_keep(a->gen, pages < INT32_MAX / 64 ? (int)pages : INT32_MAX / 64, e) : TN_OK;
}

static tn_status ask_missing(tn_asker *a, const tn_question *q, int n, const int *which, int k, const tn_sampling *how, int batch,
                             const char *what, tn_err *e) {
    enum { PORTION = 16 };
    int room = a->model->desc.max_pos, most = PORTION * batch < k ? PORTION * batch : k, longest = 1;
    for (int i = 0; i < k; i++) longest = q[which[i]].n > longest ? q[which[i]].n : longest;
    if (longest + how->max_new > room)
        return tn_fail(e, TN_ARG, "%s: a prompt of %d tokens and %d new ones do not fit the model's %d positions; leave out few-shots, shorten "
                       "the rows, or let replies be shorter", what, longest, how->max_new, room);
    tn_gen_request *req = tn_calloc((size_t)most, sizeof *req);
    tn_gen_sample *sample = tn_calloc((size_t)most, sizeof *sample);
    tn_status st = req && sample ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    if (st == TN_OK) st = need_gen(a, batch < k ? batch : k, longest + how->max_new, e);
    a->before = n - k;
    if (!a->quiet) tn_progress_begin(&a->bar, what, "replies", n, a->before);
    for (int at = 0; at < k && st == TN_OK; at += most)
        st = ask_portion(a, q, which + at, k - at < most ? k - at : most, how, req, sample, e);
    if (!a->quiet) tn_progress_end(&a->bar);
    if (st != TN_OK || !a->kept_bytes) tn_gen_free(a->gen), a->gen = NULL;
    tn_free(req);
    tn_free(sample);
    return st;
}

tn_status tn_asker_sample(tn_asker *a, const tn_question *q, int n, const tn_sampling *given, int batch, const char *what, tn_answer *out,
                          tn_err *e) {
    tn_sampling how = *given;
    int k = -1, *which = tn_calloc((size_t)n + 1, sizeof *which);
    tn_reply_key *key = tn_calloc((size_t)n + 1, sizeof *key);
    if (!a->at) tn_gen_stops(&how, a->model, a->tok);
    for (int i = 0; key && i < n; i++) key[i] = key_of(a, &q[i], &how);
    if (key && which) k = tn_asker_missing(a, key, n, which);
    for (int i = 0, all = k; i < all; i++) { /* of which some are not to be asked */
        if (i == 0) k = 0;
        if (!skipped(a, &q[which[i]], &how)) which[k++] = which[i];
    }
    tn_status st = k < 0 ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
    if (k > 0) st = a->at ? tn_service_ask(a, q, key, which, k, n, &how, what, e) : ask_missing(a, q, n, which, k, &how, batch, what, e);
    for (int i = 0; i < n && st == TN_OK; i++) {
        if (skipped(a, &q[i], &how)) {
            out[i] = (tn_answer){0};
            continue;
        }
        const json_t *reply = tn_replies_find(a->kept, key[i]), *text = json_object_get(reply, "text");
        if (json_is_string(text)) out[i] = (tn_answer){json_string_value(text), json_string_length(text), json_is_true(json_object_get(reply, "ended"))};
        else st = tn_fail(e, TN_STATE, "the reply to question %d of %s is not one of a model's; was the file edited?", i + 1, what);
    }
    tn_free(which);
    tn_free(key);
    return st;
}
