/* Part step: one optimiser step of SFT, in this process, on real rows.
 *
 * Bound: the step's own matrix products back to back. A table in front of the backend's records every call
 * of a first step; replaying them touches the same weights and activations in the same order. The head's calls
 * are replayed as the products they contain, tile by tile: logits; and backward logits, dx and dw. With the
 * peers, torch's `linear` and its backward do the same list; the bound is the faster of the two.
 * transformers: a bare loop in bfloat16, rows padded to the batch's longest. */
#include "bench.h"
#include "base/os.h"
#include "algo/losses.h"
#include "train/step.h"
#include <string.h>

#define BATCH 8
typedef enum kind { GEMM, GEMM_DX, GEMM_DW, HEAD, HEAD_BWD } kind;
static const char *const torch_kind[] = {"forward", "dX", "dW"};
typedef struct call {
    kind kind;
    tn_mode mode;
    void *y;
    const void *a, *b;
    const tn_weight *w;
    const void *bias;
    int ldy, lda, ldb, rows, out, in;
} call;

/* ---- recording ---- */
static struct {
    tn_ops table;
    const tn_ops *own;
    call *v;
    size_t n, cap;
    bool full;
} tape;

static void record(call c) {
    if (!TN_GROW(tape.v, tape.cap, tape.n + 1)) tape.full = true;
    else tape.v[tape.n++] = c;
}
static void r_gemm(tn_backend *b, tn_mode mode, void *y, int ldy, const void *x, int ldx, const tn_weight *w,
                   const void *bias, int T) {
    record((call){GEMM, mode, y, x, NULL, w, bias, ldy, ldx, 0, T, w->out, w->in});
    tape.own->gemm(b, mode, y, ldy, x, ldx, w, bias, T);
}
static void r_gemm_dx(tn_backend *b, tn_mode mode, void *dx, int lddx, const void *dy, int lddy, const tn_weight *w,
                      int T) {
    record((call){GEMM_DX, mode, dx, dy, NULL, w, NULL, lddx, lddy, 0, T, w->out, w->in});
    tape.own->gemm_dx(b, mode, dx, lddx, dy, lddy, w, T);
}
static void r_gemm_dw(tn_backend *b, void *dw, const void *dy, int lddy, const void *x, int ldx, int T, int out, int in) {
    record((call){GEMM_DW, TN_ADD, dw, dy, x, NULL, NULL, 0, lddy, ldx, T, out, in});
    tape.own->gemm_dw(b, dw, dy, lddy, x, ldx, T, out, in);
}
static void r_head(tn_backend *b, const tn_head *h) {
    record((call){HEAD, TN_SET, NULL, h->x, NULL, h->w, NULL, 0, h->w->in, 0, h->rows, h->w->out, h->w->in});
    tape.own->head(b, h);
}
static void r_head_bwd(tn_backend *b, const tn_head_bwd *h) {
    record((call){HEAD_BWD, TN_SET, h->dx, h->x, h->dw, h->w, NULL, h->w->in, h->w->in, 0, h->rows, h->w->out, h->w->in});
    tape.own->head_bwd(b, h);
}
static void tape_start(tn_backend *b) {
    tape.n = 0;
    tape.own = b->op;
    tape.table = *b->op;
    tape.table.gemm = r_gemm, tape.table.gemm_dx = r_gemm_dx, tape.table.gemm_dw = r_gemm_dw;
    tape.table.head = r_head, tape.table.head_bwd = r_head_bwd;
    b->op = &tape.table;
}
static void tape_stop(tn_backend *b) { b->op = tape.own; }

/* ---- the step ---- */
typedef struct work {
    bench *b;
    tn_backend *be;
    const char *dir, *rows_file;
    tn_tokenizer *tok;
    tn_dataset *data;
    tn_trainee t;
    tn_sft_opt opt;
    tn_weight *tile; /* the head's matrix in tiles of TN_HEAD_TILE columns */
    int n_tile;
    void *z, *x;     /* operand rows [rows, TN_HEAD_TILE], [rows, in] */
    int z_rows;
    void *packs;
    size_t pack_bytes;
    int step;        /* that comes next: its rows are step * BATCH ... */
    long updates, tokens;
    tn_err *e;
    tn_status st;
} work;

static void rows_of(const work *w, int step, tn_example **ex) {
    for (int i = 0; i < BATCH; i++) ex[i] = &w->data->ex[(size_t)(step * BATCH + i) % w->data->n];
}

static double own(void *ctx) {
    work *w = ctx;
    tn_example *ex[BATCH];
    tn_step_result r = {0};
    tn_optimiser o = {1e-5, 0.9, 0.999, 1e-8, 0, 1, false};
    rows_of(w, w->step, ex);
    double t0 = tn_now();
    if (w->st == TN_OK) w->st = tn_trainee_accumulate(&w->t, ex, BATCH, true, &r, w->e);
    if (w->st == TN_OK) w->st = tn_trainee_update(&w->t, &o, 1e-5, ++w->updates, &r, w->e);
    w->tokens = r.full_tokens;
    return w->st == TN_OK ? (double)r.full_tokens / (tn_now() - t0) : NAN;
}

static void replay_head(work *w, const call *c) {
    const tn_ops *op = w->be->op;
    op->round(w->be, w->x, c->a, (size_t)c->rows * (size_t)c->in);
    for (int i = 0; i < w->n_tile; i++) {
        const tn_weight *t = &w->tile[i];
        op->gemm(w->be, TN_ROUND, w->z, t->out, w->x, c->in, t, NULL, c->rows);
        if (c->kind == HEAD) continue;
        op->gemm_dx(w->be, i ? TN_ADD : TN_SET, c->y, c->ldy, w->z, t->out, t, c->rows);
        float *dw = (float *)(uintptr_t)c->b + (size_t)i * TN_HEAD_TILE * (size_t)t->in;
        op->gemm_dw(w->be, dw, w->z, t->out, w->x, c->in, c->rows, t->out, t->in);
    }
}

static void replay(work *w) {
    const tn_ops *op = w->be->op;
    for (size_t i = 0; i < tape.n; i++) {
        const call *c = &tape.v[i];
        if (c->kind == GEMM) op->gemm(w->be, c->mode, c->y, c->ldy, c->a, c->lda, c->w, c->bias, c->rows);
        else if (c->kind == GEMM_DX) op->gemm_dx(w->be, c->mode, c->y, c->ldy, c->a, c->lda, c->w, c->rows);
        else if (c->kind == GEMM_DW) op->gemm_dw(w->be, c->y, c->a, c->lda, c->b, c->ldb, c->rows, c->out, c->in);
        else replay_head(w, c);
    }
}

/* The list of this step's products: recorded in a step of the same rows just before. */
static double products(void *ctx) {
    work *w = ctx;
    double t0 = tn_now();
    replay(w);
    double t = tn_now() - t0;
    tn_model_zero_grad(w->t.model); /* of what the replay has added */
    return (double)w->tokens / t;
}

static double torch_products(void *ctx) {
    work *w = ctx;
    json_t *list = json_array();
    for (size_t i = 0; i < tape.n; i++) {
        const call *c = &tape.v[i];
        int first = c->kind == HEAD ? 0 : c->kind == HEAD_BWD ? 0 : (int)c->kind;
        int last = c->kind == HEAD ? 0 : c->kind == HEAD_BWD ? 2 : (int)c->kind;
        for (int k = first; k <= last; k++)
            json_array_append_new(list, json_pack("[s,i,i,i]", torch_kind[k], c->rows, c->in, c->out));
    }
    return (double)w->tokens / bench_ask_number(w->b, json_pack("{s:s,s:o}", "do", "products", "list", list));
}

static double transformers(void *ctx) {
    work *w = ctx;
    json_t *r = bench_ask(w->b, json_pack("{s:s,s:s,s:s,s:i,s:i}", "do", "step", "model", w->dir, "rows", w->rows_file,
                                          "batch", BATCH, "step", w->step));
    double s = r ? json_number_value(json_object_get(r, "value")) : NAN;
    long tokens = (long)json_integer_value(json_object_get(r, "tokens"));
    if (r && tokens != w->tokens)
        bench_note(w->b, "the bare loop's batch has %ld tokens, tenet's %ld", tokens, w->tokens);
    json_decref(r);
    return (double)tokens / s;
}

/* ---- set-up ---- */

static size_t z_bytes(const work *w) { return (size_t)w->z_rows * TN_HEAD_TILE * w->be->operand; }
static size_t x_bytes(const work *w) { return (size_t)w->z_rows * (size_t)w->t.model->desc.hidden * w->be->operand; }

static tn_status open_work(work *w, tn_err *e) {
    const char *path = w->rows_file;
    tn_trainee *t = &w->t;
    tn_data_options q = {.kind = TN_DATA_SFT, .max_length = BENCH_MAX_LENGTH, .limit = 400};
    tn_batch_need need = {0};
    TN_TRY(tn_tokenizer_load(&w->tok, w->dir, e));
    TN_TRY(tn_model_load(&t->model, w->dir, w->be, &(tn_load){0}, e));
    TN_TRY(tn_model_trainable(t->model, e));
    q.vocab = t->model->desc.vocab;
    TN_TRY(tn_dataset_load(&w->data, &path, 1, w->tok, &q, e));
    w->opt = (tn_sft_opt){"nll", "token_mean"};
    t->algo = &tn_algo_sft, t->opt = &w->opt, t->needs = tn_algo_needs(t->algo, t->opt), t->inv_temp = 1;
    t->batch = (tn_batch_options){.share_prompts = true};
    t->max_tokens = 2048;
    TN_TRY(tn_batch_measure(&need, w->data, &t->batch, t->max_tokens, BATCH, e));
    TN_TRY(tn_batch_reserve(&t->mb, &need, e));
    TN_TRY(tn_run_new(&t->run, t->model, need.tokens, need.tokens, 2048, true, e));
    TN_TRY(tn_run_reserve(t->run, t->model, need.blocks, e));
    w->z_rows = need.tokens;
    w->z = tn_big_alloc(z_bytes(w));
    w->x = tn_big_alloc(x_bytes(w));
    return w->z && w->x ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static size_t round64(size_t n) { return (n + 63) & ~(size_t)63; }

static tn_status open_tiles(work *w, tn_err *e) {
    const tn_weight *head = &w->t.model->lm_head;
    const tn_ops *op = w->be->op;
    w->n_tile = (head->out + TN_HEAD_TILE - 1) / TN_HEAD_TILE;
    size_t one = round64(op->weight_bytes(w->be, TN_HEAD_TILE, head->in));
    w->pack_bytes = (size_t)w->n_tile * one;
    w->packs = tn_big_alloc(w->pack_bytes);
    w->tile = tn_calloc((size_t)w->n_tile, sizeof *w->tile);
    if (!w->packs || !w->tile) return tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; i < w->n_tile; i++) {
        int first = i * TN_HEAD_TILE, left = head->out - first;
        char *p = (char *)w->packs + (size_t)i * one;
        w->tile[i] = (tn_weight){.out = left < TN_HEAD_TILE ? left : TN_HEAD_TILE, .in = head->in, .packed = p,
                                 .master = tn_cat(w->be, head->master, (size_t)first * (size_t)head->in)};
        op->weight_pack(w->be, &w->tile[i]);
    }
    return TN_OK;
}

static void close_work(work *w) {
    tn_big_free(w->x, x_bytes(w));
    tn_big_free(w->z, z_bytes(w));
    tn_batch_free(&w->t.mb);
    tn_run_free(w->t.run);
    tn_model_free(w->t.model);
    tn_dataset_free(w->data);
    tn_tokenizer_free(w->tok);
    tn_big_free(w->packs, w->pack_bytes);
    tn_free(w->tile);
}

/* Samples of the bound: repeat by repeat the faster of the two lists of products. */
static void put_bound(bench_case *c) {
    const bench_side *own_list = &c->side[1], *torch_list = c->n_side > 3 ? &c->side[2] : NULL;
    bench_case with = *c;
    with.n_side = 1;
    for (int r = 0; r < own_list->n; r++) {
        double v = own_list->v[r];
        if (torch_list && r < torch_list->n && torch_list->v[r] > v) v = torch_list->v[r];
        bench_put(&with, "bound", v);
    }
    for (int i = 1; i < c->n_side; i++) with.side[with.n_side++] = c->side[i];
    *c = with;
}

static tn_status one(bench *b, const bench_size *s, tn_err *e) {
    tn_str dir = TN_STR_INIT, rows = TN_STR_INIT;
    work w = {.b = b, .be = b->bf16, .e = e};
    bench_case c = bench_begin("tok/s", "%s", s->name);
    c.plot = true;
    tn_status st;
    if (!bench_wanted(b, &c)) return TN_OK;
    TN_GO(bench_model(b, s, false, &dir, e), done);
    TN_GO(bench_rows(b, "chats", &rows, e), done);
    w.dir = dir.s, w.rows_file = rows.s;
    TN_GO(open_work(&w, e), done);
    TN_GO(open_tiles(&w, e), done);
    own(&w); /* the first step finds memory that was never touched */
    bench_add(&c, "tenet", own, &w);
    bench_add(&c, "bound: own kernels", products, &w);
    if (b->worker) {
        bench_add(&c, "bound: torch", torch_products, &w);
        bench_add(&c, "transformers", transformers, &w);
        transformers(&w);
    }
    int repeats = s->layers > 8 && b->o.repeats > 3 ? 3 : b->o.repeats; /* of many seconds each */
    for (int r = 0; r < repeats && w.st == TN_OK; r++) {
        w.step = r;
        tape_start(w.be);
        own(&w);
        tape_stop(w.be);
        bench_measure(b, &c, 1, false);
    }
    st = w.st;
    if (st == TN_OK && tape.full) st = tn_fail(e, TN_NOMEM, "out of memory");
    snprintf(c.note, sizeof c.note, "batches of %d rows, about %ld tokens", BATCH, w.tokens);
    put_bound(&c);
    if (st == TN_OK) bench_end(b, &c);
done:
    close_work(&w);
    tn_str_free(&dir);
    tn_str_free(&rows);
    return st;
}

tn_status bench_steps(bench *b, tn_err *e) {
    const bench_size *s;
    for (int i = 0; (s = bench_size_at(b, i)); i++) TN_TRY(one(b, s, e));
    return TN_OK;
}
