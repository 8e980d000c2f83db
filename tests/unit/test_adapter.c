/* Adapters on a shared trunk: gradients, bits at B = 0, several in one batch, views, merging. */
#include "base/mathx.h"
#include "model/params.h"
#include "unit/probe.h"

#define BIT(module) (1u << (module))
static const unsigned sets[] = {TN_ALL_LINEAR, BIT(TN_Q_PROJ) | BIT(TN_V_PROJ), BIT(TN_K_PROJ) | BIT(TN_UP_PROJ),
                                BIT(TN_O_PROJ) | BIT(TN_DOWN_PROJ), BIT(TN_GATE_PROJ), BIT(TN_DOWN_PROJ)};
#define N_SETS ((int)(sizeof sets / sizeof *sets))

static tn_lora_spec spec_of(int i) {
    return (tn_lora_spec){.rank = 1 + i % 4, .alpha = 1.1, .rslora = i % 2, .modules = sets[i % N_SETS]};
}

static void randomise(tn_model *m, int adapter, uint64_t seed) {
    tn_adapter *a = m->adapter[adapter];
    for (int t = 0; t < a->n_tensor; t++) {
        const tn_tensor *x = &a->tensor[t];
        for (size_t i = 0; i < (size_t)x->rows * (size_t)x->cols; i++)
            tiny_set(m->be, tn_tensor_data(x, m->be), i,
                     (double)(float)(0.5 * tiny_unit(seed + (uint64_t)t * 7919u, i)));
    }
    tn_model_pack(m);
}

/* A model with one random adapter, made trainable. */
static tn_model *adapted(const tn_desc *d, tn_backend *be, const tn_lora_spec *s, uint64_t seed) {
    tn_model *m = be ? tiny_model(d, be, false, seed) : NULL;
    if (!m) return NULL;
    CHECK_OK(tn_model_adapt(m, s, seed, e));
    randomise(m, 0, seed + 1);
    CHECK_OK(tn_model_trainable(m, e));
    return m;
}

static void open_probe(probe *p, tn_model *m) {
    *p = (probe){.m = m, .inv_temp = 1 / 0.7};
    build_forest(&p->f, m->desc.vocab);
    probe_rows(p);
    CHECK_OK(tn_run_new(&p->run, m, N_TOK, 17, 64, true, e));
}
static void close_probe(probe *p) {
    tn_run_free(p->run);
    tn_forest_free(&p->f);
}

static void check_gradients(const tiny_case *c, int set, bool score) {
    tn_backend *be = tiny_backend("ref64", TN_F64, NULL, 1);
    tn_desc d = c->desc;
    tn_lora_spec s = spec_of(set);
    if (score) d.num_labels = 1;
    tn_model *m = adapted(&d, be, &s, 5);
    if (!m) return;
    static probe p;
    open_probe(&p, m);
    if (set % 2) probe_read_few(&p);
    probe_gradient(&p);
    CHECK(!m->trunk->grad && !m->trunk->m && !m->trunk->v);
    const tn_tensor *x;
    int n = 0;
    for (; (x = tn_model_param(m, n)); n++) {
        double norm, err = probe_error(&p, x, 77 + (uint64_t)n, &norm);
        CHECK_MSG(err <= 1e-8, "%s set %d %s: gradient and finite difference apart by %.3g", c->name, set, x->name,
                  err);
        CHECK_MSG(norm > 0, "%s set %d %s: the gradient is zero", c->name, set, x->name);
    }
    CHECK(n == 2 * d.layers * __builtin_popcount(s.modules) + score);
    close_probe(&p);
    tn_model_free(m);
    tn_backend_free(be);
}

TEST(adapter_finite_differences) {
    for (int i = 0; i < n_tiny; i++) {
        check_gradients(tiny_get(i), i, false);
        check_gradients(tiny_get(i), i + 3, i % 2);
    }
}

/* ---------------- what is not computed ---------------- */

static tn_ops counted;
static const tn_ops *real_op;
static int n_weight_grads, n_dx;
static void count_dw(tn_backend *b, void *dw, const void *dy, int lddy, const void *x, int ldx, int T, int out, int in) {
    n_weight_grads++;
}
static void count_bias(tn_backend *b, void *db, const void *dy, int ld, int T, int n) { n_weight_grads++; }
static void count_embed(tn_backend *b, void *d, const void *dy, const int32_t *ids, int T, int D) { n_weight_grads++; }
static void count_head(tn_backend *b, const tn_head_bwd *h) {
    n_weight_grads += h->dw != NULL;
    real_op->head_bwd(b, h);
}
static void count_norm(tn_backend *b, tn_mode mode, void *dx, int lddx, void *dw, const void *dy, int lddy,
                       const void *x, int ldx, const void *rstd, const void *w, int T, int groups, int n) {
    n_weight_grads += dw != NULL;
    real_op->rms_norm_bwd(b, mode, dx, lddx, dw, dy, lddy, x, ldx, rstd, w, T, groups, n);
}
static void count_dx(tn_backend *b, tn_mode mode, void *dx, int lddx, const void *dy, int lddy, const tn_weight *w, int T) {
    n_dx++;
    real_op->gemm_dx(b, mode, dx, lddx, dy, lddy, w, T);
}

TEST(adapter_backward_computes_nothing_of_the_base) {
    /* matrices of layer 0 whose dx is wanted, by the lowest adapted one */
    static const int dx_of_layer_0[] = {3, 3, 3, 2, 1, 0};
    tn_backend *be = tiny_backend("ref", TN_F32, NULL, 1);
    if (!be) return;
    for (int i = 0; i < N_SETS; i++) {
        tn_lora_spec s = spec_of(i);
        tn_model *m = adapted(&tiny_get(5)->desc, be, &s, 3);
        static probe p;
        open_probe(&p, m);
        real_op = be->op;
        counted = *real_op;
        counted.gemm_dw = count_dw, counted.bias_bwd = count_bias, counted.embed_bwd = count_embed;
        counted.head_bwd = count_head, counted.rms_norm_bwd = count_norm, counted.gemm_dx = count_dx;
        be->op = &counted;
        n_weight_grads = n_dx = 0;
        probe_gradient(&p);
        be->op = real_op;
        CHECK_MSG(n_weight_grads == 0, "%d gradients of frozen weights", n_weight_grads);
        CHECK_MSG(n_dx == 4 * (m->desc.layers - 1) + dx_of_layer_0[i], "set %d: %d dx products", i, n_dx);
        close_probe(&p);
        tn_model_free(m);
    }
    tn_backend_free(be);
}

/* ---------------- bits ---------------- */

typedef struct numbers {
    double logp[N_ROW], lse[N_ROW], entropy[N_ROW], score[N_ROW];
    float z[4 * 64];
} numbers;

static void observe(probe *p, numbers *out) {
    memset(out, 0, sizeof *out);
    CHECK_OK(tn_forward(p->run, p->m, &p->f, e));
    if (p->m->head) {
        CHECK_OK(tn_score_head(p->run, p->m, p->rows, p->n, out->score, e));
        return;
    }
    tn_lm q = {.n = p->n, .rows = p->rows, .target = p->target, .inv_temp = 1, .logp = out->logp,
               .lse = out->lse, .entropy = out->entropy};
    CHECK_OK(tn_lm_head(p->run, p->m, &q, e));
    q.n = 4;
    q.logp = q.lse = q.entropy = NULL;
    q.z = out->z;
    CHECK_OK(tn_lm_head(p->run, p->m, &q, e));
}

static const struct {
    const char *name, *kernels;
    tn_dtype dtype;
} machines[] = {{"ref", NULL, TN_F32}, {"cpu", NULL, TN_F32}, {"cpu", NULL, TN_BF16}, {"cpu", "scalar", TN_BF16}};

/* A fresh adapter (B = 0) changes no bit of logits, log-probs or scores, on any kind of model. */
TEST(adapter_fresh_equals_the_base) {
    static numbers want, got;
    static probe p;
    for (size_t k = 0; k < sizeof machines / sizeof *machines; k++) {
        tn_backend *be = tiny_backend(machines[k].name, machines[k].dtype, machines[k].kernels, 2);
        for (int i = 0; be && i < n_tiny; i++) {
            tn_desc d = tiny_get(i)->desc;
            if (i % 3 == 1) d.num_labels = 1;
            tn_model *m = tiny_model(&d, be, false, 4);
            tn_lora_spec s = {.rank = 8, .alpha = 16, .modules = TN_ALL_LINEAR};
            open_probe(&p, m);
            observe(&p, &want);
            close_probe(&p);
            CHECK_OK(tn_model_adapt(m, &s, 9, e));
            open_probe(&p, m);
            observe(&p, &got);
            CHECK_MSG(memcmp(&want, &got, sizeof got) == 0, "%s %s: a fresh adapter changed bits", machines[k].name,
                      tiny_get(i)->name);
            randomise(m, 0, 5);
            observe(&p, &got);
            CHECK_MSG(memcmp(&want, &got, sizeof got) != 0, "an adapter changed nothing");
            close_probe(&p);
            tn_model_free(m);
        }
        tn_backend_free(be);
    }
}

/* A of a fresh adapter: uniform in +-1/sqrt(in), a function of the seed; B zero. */
TEST(adapter_initialisation) {
    tn_backend *be = tiny_backend("ref", TN_F32, NULL, 2);
    tn_desc d = tiny_get(0)->desc;
    d.hidden = 400;
    tn_lora_spec s = {.rank = 16, .alpha = 16, .modules = TN_ALL_LINEAR};
    tn_model *m = be ? tiny_model(&d, be, false, 4) : NULL;
    if (!m) return;
    for (int i = 0; i < 3; i++) CHECK_OK(tn_model_adapt(m, &s, i == 2 ? 8 : 9, e));
    const tn_store *a = m->adapter[0]->store, *b = m->adapter[1]->store, *c = m->adapter[2]->store;
    CHECK(memcmp(a->data, b->data, a->n * 4) == 0 && memcmp(a->data, c->data, a->n * 4) != 0);
    for (int t = 0; t < m->adapter[0]->n_tensor; t++) {
        const tn_tensor *x = &m->adapter[0]->tensor[t];
        bool isA = strstr(x->name, "lora_A") != NULL;
        double most = 0, sum = 0, sq = 0, bound = 1 / __builtin_sqrt((double)x->cols);
        size_t n = (size_t)x->rows * (size_t)x->cols;
        for (size_t i = 0; i < n; i++) {
            double v = tiny_element(be, tn_tensor_data(x, be), i);
            most = __builtin_fmax(most, __builtin_fabs(v));
            sum += v, sq += v * v;
        }
        CHECK(isA ? most <= bound * (1 + 1e-7) && most > 0.8 * bound : most == 0);
        if (isA && n > 4000) {
            CHECK_NEAR(sq / (double)n, bound * bound / 3, 0.05, 0);
            CHECK_NEAR(sum / (double)n, 0, 0, 4 * bound / __builtin_sqrt(3.0 * (double)n));
        }
    }
    CHECK_FAIL(tn_model_adapt(m, &(tn_lora_spec){.rank = 0, .alpha = 1, .modules = 1}, 1, e), TN_ARG, "rank of 0");
    CHECK_FAIL(tn_model_adapt(m, &(tn_lora_spec){.rank = 4, .alpha = 0, .modules = 1}, 1, e), TN_ARG, "alpha of 0");
    CHECK_FAIL(tn_model_adapt(m, &(tn_lora_spec){.rank = 4, .alpha = 1}, 1, e), TN_ARG, "target module");
    tn_model_free(m);
    tn_backend_free(be);
}

/* ---------------- several in one batch ---------------- */

/* Copies of one tree under adapters `list`; numbers of copy i at out[i]. `gradient`: of everything, too. */
static void batch(tn_run *run, tn_model *m, const int *list, int n, numbers *out, bool gradient) {
    static tn_forest f;
    static int32_t rows[8 * N_ROW], target[8 * N_ROW];
    static double logp[8 * N_ROW], lse[8 * N_ROW], entropy[8 * N_ROW], d[8 * N_ROW];
    static probe one;
    one = (probe){.m = m};
    build_forest(&one.f, m->desc.vocab);
    probe_rows(&one);
    tn_forest_clear(&f);
    for (int i = 0; i < n; i++) {
        int base = f.n_seg, k, t0 = f.n_tok;
        for (int s = 0; s < one.f.n_seg; s++) {
            const tn_aseg *g = &one.f.seg[s];
            CHECK_OK(tn_forest_add(&f, one.f.ids + g->start, g->len, one.f.parent[s] < 0 ? -1 : base + one.f.parent[s], i,
                                   &k, e));
            f.adapter[k] = list[i];
        }
        for (int r = 0; r < one.n; r++) {
            rows[i * one.n + r] = one.rows[r] + t0;
            target[i * one.n + r] = one.target[r];
            d[i * one.n + r] = one.a[r];
        }
    }
    CHECK_OK(tn_forest_finish(&f, e));
    CHECK_OK(tn_forward(run, m, &f, e));
    tn_lm q = {.n = n * one.n, .rows = rows, .target = target, .inv_temp = 1, .logp = logp, .lse = lse,
               .entropy = entropy};
    CHECK_OK(tn_lm_head(run, m, &q, e));
    for (int i = 0; i < n; i++) {
        memset(&out[i], 0, sizeof out[i]);
        memcpy(out[i].logp, logp + i * one.n, (size_t)one.n * sizeof *logp);
        memcpy(out[i].lse, lse + i * one.n, (size_t)one.n * sizeof *lse);
        memcpy(out[i].entropy, entropy + i * one.n, (size_t)one.n * sizeof *entropy);
    }
    if (gradient) {
        tn_model_zero_grad(m);
        CHECK_OK(tn_lm_head_backward(run, m, &q, d, NULL, NULL, e));
        CHECK_OK(tn_backward(run, m, &f, e));
    }
    tn_forest_free(&one.f);
}

TEST(adapter_batches_equal_the_runs_alone) {
    static numbers base, first, second, got[8];
    for (size_t k = 0; k < sizeof machines / sizeof *machines; k++) {
        tn_backend *be = tiny_backend(machines[k].name, machines[k].dtype, machines[k].kernels, 3);
        for (int i = 0; be && i < n_tiny; i += 2) {
            tn_lora_spec s = spec_of(0), s2 = spec_of(1);
            s2.rank = 8;
            tn_model *m = adapted(&tiny_get(i)->desc, be, &s, 5), *plain = NULL;
            CHECK_OK(tn_model_view(&plain, m, e));
            CHECK_OK(tn_model_adapt(m, &s2, 6, e));
            randomise(m, 1, 50);
            tn_run *run = NULL;
            CHECK_OK(tn_run_new(&run, m, 8 * N_TOK, 40, 64, true, e));
            static const int zero = 0, one = 1, none = TN_NO_ADAPTER, mixed[8] = {0, -1, 1, 0, 0, -1, -1, 1},
                             grouped[5] = {0, 0, -1, 1, 1}, twice[2] = {0, 0};
            batch(run, m, &none, 1, &base, false);
            batch(run, m, &one, 1, &second, false);
            batch(run, m, &zero, 1, &first, true);
            batch(run, plain, &zero, 1, got, false); /* a model without adapters ignores the number */
            CHECK(memcmp(got, &base, sizeof base) == 0);
            CHECK(memcmp(&base, &first, sizeof base) != 0 && memcmp(&second, &first, sizeof base) != 0);
            batch(run, m, mixed, 8, got, false);
            for (int j = 0; j < 8; j++)
                CHECK_MSG(memcmp(&got[j], mixed[j] < 0 ? &base : mixed[j] ? &second : &first, sizeof base) == 0,
                          "%s %s: copy %d with adapter %d differs in a batch", machines[k].name, tiny_get(i)->name, j,
                          mixed[j]);
            /* gradients, too, when an adapter's segments follow each other */
            const tn_store *a = m->adapter[0]->store;
            size_t bytes = a->n * be->elem;
            char *want = tn_malloc(bytes);
            batch(run, m, twice, 2, got, true);
            memcpy(want, a->grad, bytes);
            batch(run, m, grouped, 5, got, true);
            CHECK_MSG(memcmp(want, a->grad, bytes) == 0, "%s %s: another gradient in a batch", machines[k].name,
                      tiny_get(i)->name);
            CHECK(!m->adapter[1]->store->grad);
            tn_free(want);
            tn_run_free(run);
            tn_model_free(plain);
            tn_model_free(m);
        }
        tn_backend_free(be);
    }
}

/* Cached sequences under different adapters, token by token, equal the forest. */
TEST(adapter_cache_equals_the_forest) {
    tn_backend *be = tiny_backend("cpu", TN_BF16, NULL, 2);
    tn_lora_spec s = spec_of(0);
    tn_model *m = adapted(&tiny_get(0)->desc, be, &s, 5);
    if (!m) return;
    tn_run *run = NULL;
    tn_kv *kv = NULL;
    enum { P = 35, N = 40, SEQS = 3 };
    int32_t ids[P + N], rows[P + N], target[P + N];
    static const int use[SEQS] = {0, TN_NO_ADAPTER, 0};
    double want[SEQS][P + N], got[SEQS][P + N], logp[SEQS];
    tiny_ids(ids, P + N, m->desc.vocab, 4);
    CHECK_OK(tn_run_new(&run, m, 128, 128, 128, false, e));
    for (int k = 0; k < SEQS; k++) {
        tn_forest f = {0};
        int up, seg;
        CHECK_OK(tn_forest_add(&f, ids, P, -1, 0, &up, e));
        f.adapter[up] = use[k];
        CHECK_OK(tn_forest_add(&f, ids + P, N, up, 0, &seg, e));
        CHECK_OK(tn_forest_finish(&f, e));
        CHECK_OK(tn_forward(run, m, &f, e));
        for (int t = 0; t < P + N - 1; t++) rows[t] = t, target[t] = ids[t + 1];
        CHECK_OK(tn_lm_head(run, m, &(tn_lm){.n = P + N - 1, .rows = rows, .target = target, .inv_temp = 1,
                                             .logp = want[k]}, e));
        if (k == 0) {
            f.adapter[seg] = TN_NO_ADAPTER;
            CHECK_FAIL(tn_forest_finish(&f, e), TN_ARG, "hangs under one with adapter 0");
            f.adapter[up] = f.adapter[seg] = 1;
            CHECK_OK(tn_forest_finish(&f, e));
            CHECK_FAIL(tn_forward(run, m, &f, e), TN_ARG, "adapter 1; the model has 0 to 0");
        }
        tn_forest_free(&f);
    }
    CHECK(memcmp(want[0], want[1], (P + N - 1) * sizeof(double)) != 0);
    CHECK_OK(tn_kv_new(&kv, m, 64, SEQS + 1, 128, e));
    int seq[SEQS];
    for (int k = 0; k < SEQS; k++) {
        seq[k] = tn_kv_open(kv);
        tn_kv_adapter(kv, seq[k], use[k]);
    }
    for (int t = 0; t < P + N - 1; t++) {
        tn_kv_item item[SEQS];
        int32_t next[SEQS];
        for (int k = 0; k < SEQS; k++) {
            item[k] = (tn_kv_item){seq[k], ids + t, 1, t == 0 || t == P};
            rows[k] = k, next[k] = ids[t + 1];
        }
        CHECK_OK(tn_forward_kv(run, m, kv, item, SEQS, e));
        CHECK_OK(tn_lm_head(run, m, &(tn_lm){.n = SEQS, .rows = rows, .target = next, .inv_temp = 1, .logp = logp}, e));
        for (int k = 0; k < SEQS; k++) got[k][t] = logp[k];
    }
    for (int k = 0; k < SEQS; k++)
        CHECK_MSG(memcmp(want[k], got[k], (P + N - 1) * sizeof(double)) == 0, "sequence %d differs when cached", k);
    tn_kv_free(kv);
    tn_run_free(run);
    tn_model_free(m);
    tn_backend_free(be);
}

/* The whole model with gradients: cpu equals the reference, any thread count. */
TEST(adapter_cpu_equals_ref) {
    for (int bf16 = 0; bf16 < 2; bf16++) {
        tn_lora_spec s = spec_of(0);
        tn_model *want = NULL;
        tn_backend *ref = tiny_backend("ref", bf16 ? TN_BF16 : TN_F32, bf16 ? "pair" : NULL, 1);
        static probe p, q;
        want = adapted(&tiny_get(4)->desc, ref, &s, 5);
        open_probe(&p, want);
        probe_gradient(&p);
        for (int threads = 1; threads <= 3; threads += 2) {
            tn_backend *be = tiny_backend("cpu", bf16 ? TN_BF16 : TN_F32, bf16 ? "scalar" : NULL, threads);
            tn_model *m = adapted(&tiny_get(4)->desc, be, &s, 5);
            open_probe(&q, m);
            probe_gradient(&q);
            CHECK(memcmp(p.logp, q.logp, sizeof p.logp) == 0);
            const tn_store *a = want->adapter[0]->store, *b = m->adapter[0]->store;
            CHECK_MSG(memcmp(a->grad, b->grad, a->n * 4) == 0, "gradients differ, %d threads", threads);
            close_probe(&q);
            tn_model_free(m);
            tn_backend_free(be);
        }
        close_probe(&p);
        tn_model_free(want);
        tn_backend_free(ref);
    }
}

/* ---------------- sharing ---------------- */

static double element(const tn_store *s, size_t i) { return (double)((const float *)s->data)[i]; }

/* A critic on a policy's trunk: its own head and adapter; training it leaves trunk and policy alone. */
TEST(adapter_views_share_the_trunk) {
    tn_backend *be = tiny_backend("ref", TN_F32, NULL, 1);
    tn_lora_spec s = spec_of(0);
    tn_model *m = adapted(&tiny_get(1)->desc, be, &s, 5), *v = NULL, *w = NULL;
    if (!m) return;
    size_t live = tn_mem_live();
    CHECK_OK(tn_model_view(&v, m, e));
    CHECK(v->trunk == m->trunk && v->layer[0].qkv.packed == m->layer[0].qkv.packed && v->n_adapter == 0);
    CHECK_FAIL(tn_model_trainable(v, e), TN_STATE, "without an adapter");
    CHECK(tn_mem_live() == live); /* the reference of DPO costs nothing */
    CHECK_OK(tn_model_own_head(v, NULL, true, e));
    CHECK_OK(tn_model_adapt_copy(v, m->adapter[0], e));
    CHECK(v->head && v->score_bias != TN_NONE && v->desc.num_labels == 1 && !tn_model_tensor(v, "lm_head.weight"));
    CHECK(memcmp(v->adapter[0]->store->data, m->adapter[0]->store->data, m->adapter[0]->store->n * 4) == 0);
    CHECK_OK(tn_model_trainable(v, e));
    static probe p;
    open_probe(&p, v);
    size_t n = m->trunk->n, k = m->adapter[0]->store->n;
    float *trunk = tn_malloc(n * 4), *own = tn_malloc(k * 4);
    memcpy(trunk, m->trunk->data, n * 4);
    memcpy(own, m->adapter[0]->store->data, k * 4);
    for (int step = 1; step <= 2; step++) { /* the head is zero at first: A and B move in the second step */
        probe_gradient(&p);
        CHECK(tn_model_grad_sumsq(v) > 0);
        tn_model_adamw(v, 0.01, 0.9, 0.99, 1e-8, 0, false, step, 1);
        tn_model_pack(v);
    }
    CHECK(memcmp(trunk, m->trunk->data, n * 4) == 0 && memcmp(own, m->adapter[0]->store->data, k * 4) == 0);
    CHECK(memcmp(own, v->adapter[0]->store->data, k * 4) != 0 && element(v->head, v->score) != 0);
    CHECK_OK(tn_model_view(&w, m, e));
    CHECK_OK(tn_model_own_head(w, v, false, e)); /* with the values of another */
    CHECK(element(w->head, w->score) == element(v->head, v->score) && w->score_bias != TN_NONE);
    CHECK_FAIL(tn_model_merge(m, e), TN_STATE, "other models share");
    CHECK_FAIL(tn_model_copy(&(tn_model *){NULL}, m, false, e), TN_BUG, "not copied");
    tn_free(trunk);
    tn_free(own);
    close_probe(&p);
    tn_model_free(w);
    tn_model_free(v);
    tn_model_free(m);
    CHECK(tn_mem_live() == 0 || tn_mem_live() < live);
    tn_backend_free(be);
}

TEST(adapter_merged_is_near) {
    static numbers want, got;
    static probe p;
    for (int i = 0; i < n_tiny; i++)
        for (int wide = 0; wide < 2; wide++) {
            tn_backend *be = tiny_backend(wide ? "ref64" : "cpu", wide ? TN_F64 : TN_F32, NULL, 2);
            tn_lora_spec s = spec_of(i);
            tn_model *m = adapted(&tiny_get(i)->desc, be, &s, 5);
            if (!m) continue;
            open_probe(&p, m);
            observe(&p, &want);
            CHECK_OK(tn_model_merge(m, e));
            CHECK(m->n_adapter == 0);
            observe(&p, &got);
            double worst = 0, spread = 0;
            for (int k = 0; k < p.n; k++) {
                worst = __builtin_fmax(worst, __builtin_fabs(got.logp[k] - want.logp[k]));
                spread = __builtin_fmax(spread, __builtin_fabs(want.logp[k]));
            }
            CHECK_MSG(worst <= (wide ? 1e-12 : 2e-5) * spread, "%s: merged is off by %.3g of %.3g", tiny_get(i)->name, worst,
                      spread);
            CHECK_FAIL(tn_model_merge(m, e), TN_STATE, "no adapter");
            close_probe(&p);
            tn_model_free(m);
            tn_backend_free(be);
        }
}
