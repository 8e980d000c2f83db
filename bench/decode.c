/* Part decode: tokens per second of sampling, from the end of the first step (the prompts are done) to the end.
 *
 * Bound: each new token of every sequence reads all weights once, at the bandwidth of reading a buffer of their
 * size; with many sequences, the matrix peak. transformers: `generate` with the same prompts, in bfloat16. */
#include "bench.h"
#include "base/os.h"
#include "gen/gen.h"
#include "text/text.h"
#include "data/dataset.h"
#include <string.h>

enum { PROMPT = 32, MOST = 64 };

typedef struct work {
    bench *b;
    tn_model *m;
    const char *dir;
    tn_gen *gen;
    int batch, new;
    size_t weights; /* bytes of the packed weights */
    int32_t ids[MOST][PROMPT];
    tn_gen_request req[MOST];
    tn_gen_sample out[MOST];
} work;

typedef struct span { double begin, end; long tokens, first; } span;
static void tick(void *ctx, long samples, long tokens) {
    span *s = ctx;
    s->end = tn_now();
    s->tokens = tokens;
    if (isnan(s->begin)) s->begin = s->end, s->first = tokens;
}

static double own(void *ctx) {
    work *w = ctx;
    tn_sampling s = {.temperature = 1, .top_p = 1, .max_new = 2 + w->new, .seed = 1};
    span t = {.begin = NAN};
    if (tn_gen_run(w->gen, w->req, w->batch, &s, w->out, tick, &t, NULL) != TN_OK) return NAN;
    return (double)(t.tokens - t.first) / (t.end - t.begin);
}

static double bound(void *ctx) {
    work *w = ctx;
    double fed = w->batch * bench_read(w->m->be, w->weights) / (double)w->weights;
    double worked = bench_peak(w->m->be) / (2.0 * (double)tn_desc_params(&w->m->desc));
    return fed < worked ? fed : worked;
}

static double transformers(void *ctx) {
    work *w = ctx;
    json_t *ids = json_array();
    for (int i = 0; i < w->batch; i++) {
        json_t *row = json_array();
        for (int k = 0; k < PROMPT; k++) json_array_append_new(row, json_integer(w->ids[i][k]));
        json_array_append_new(ids, row);
    }
    double s = bench_ask_number(w->b, json_pack("{s:s,s:s,s:o,s:i}", "do", "generate", "model", w->dir, "ids", ids, "new",
                                                w->new));
    return w->batch * w->new / s;
}

static double llama(void *ctx) {
    work *w = ctx;
    return w->new / bench_ask_number(w->b, json_pack("{s:s,s:s,s:i,s:i}", "do", "llama", "file", w->b->o.gguf, "prompt",
                                                     (int)PROMPT, "new", w->new));
}

static tn_status read_prompts(work *w, const char *rows, tn_err *e) {
    tn_tokenizer *tok = NULL;
    tn_dataset *d = NULL;
    tn_status st;
    tn_data_options q = {.kind = TN_DATA_SFT, .vocab = w->m->desc.vocab, .limit = 400};
    TN_GO(tn_tokenizer_load(&tok, w->dir, e), done);
    TN_GO(tn_dataset_load(&d, &rows, 1, tok, &q, e), done);
    for (int i = 0, at = 0; i < MOST; i++) /* pieces of the rows' tokens, one after the other */
        for (int k = 0; k < PROMPT; k++, at++) {
            const tn_response *r = &d->ex[(size_t)at / 64 % d->n].response[0];
            w->ids[i][k] = r->ids[at % 64 % r->n];
        }
done:
    tn_dataset_free(d);
    tn_tokenizer_free(tok);
    return st;
}

static tn_status one(work *w, const bench_size *s, int batch, tn_err *e) {
    bench *b = w->b;
    bench_case c = bench_begin("tok/s", "%s b=%d", s->name, batch);
    if (!bench_wanted(b, &c)) return TN_OK;
    c.plot = true;
    w->batch = batch;
    w->new = b->o.quick ? 8 : batch == 1 ? 64 : batch < MOST ? 24 : 16;
    for (int i = 0; i < batch; i++) w->req[i] = (tn_gen_request){.ids = w->ids[i], .n_ids = PROMPT, .n = 1, .key = (uint64_t)i};
    TN_TRY(tn_gen_new(&w->gen, w->m, batch, PROMPT + w->new + 2, e));
    bench_add(&c, "tenet", own, w);
    bench_add(&c, "bound", bound, w);
    if (b->worker) bench_add(&c, "transformers", transformers, w);
    if (b->worker && b->o.gguf && batch == 1 && strcmp(s->name, "135M") == 0) bench_add(&c, "llama.cpp", llama, w);
    bool long_run = s->layers > 8 && batch == MOST && b->worker;
    bench_measure(b, &c, long_run && b->o.repeats > 3 ? 3 : b->o.repeats, true);
    bench_end(b, &c);
    tn_gen_free(w->gen);
    w->gen = NULL;
    return TN_OK;
}

static tn_status size(bench *b, const bench_size *s, tn_err *e) {
    static const int batch[] = {1, 16, 64};
    tn_str dir = TN_STR_INIT, rows = TN_STR_INIT;
    static work w;
    w = (work){.b = b};
    tn_status st;
    TN_GO(bench_model(b, s, false, &dir, e), done);
    TN_GO(bench_rows(b, "chats", &rows, e), done);
    w.dir = dir.s;
    TN_GO(tn_model_load(&w.m, dir.s, b->bf16, &(tn_load){0}, e), done);
    w.weights = w.m->packed_bytes;
    TN_GO(read_prompts(&w, rows.s, e), done);
    for (int i = 0; i < 3 && st == TN_OK; i++) st = one(&w, s, batch[i], e);
done:
    tn_gen_free(w.gen);
    tn_model_free(w.m);
    tn_str_free(&dir);
    tn_str_free(&rows);
    return st;
}

tn_status bench_decode(bench *b, tn_err *e) {
    const bench_size *s;
    for (int i = 0; (s = bench_size_at(b, i)); i++) TN_TRY(size(b, s, e));
    return TN_OK;
}
