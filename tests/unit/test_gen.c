/* Generation: the same bits in any batch, order, company and thread count; stored log-probs that
 * equal what training recomputes; stop rules and refusals. */
#include "gen/gen.h"
#include "base/rng.h"
#include "tiny.h"
#include <stdlib.h>

enum { N_REQ = 6, MAX_SAMPLES = 32, MAX_NEW = 40, MAX_LEN = 120 };
static const int prompt_length[N_REQ] = {1, 5, 32, 33, 64, 70},
                 samples_of[N_REQ] = {3, 1, 7, 2, 1, 5};

typedef struct prompts {
    int32_t ids[N_REQ][80];
    tn_gen_request req[MAX_SAMPLES];
    int n, first[MAX_SAMPLES]; /* index of the request's first sample among all */
} prompts;

static int total_samples(void) {
    int n = 0;
    for (int i = 0; i < N_REQ; i++) n += samples_of[i];
    return n;
}

typedef enum layout { SHARED, SEPARATE, BACKWARDS } layout;
static void make_prompts(prompts *p, int vocab, layout how) {
    int n = 0;
    p->n = 0;
    for (int i = 0; i < N_REQ; i++) {
        tiny_ids(p->ids[i], prompt_length[i], vocab, 50 + (uint64_t)i);
        for (int k = 0; k < samples_of[i]; k += how == SEPARATE ? 1 : samples_of[i]) {
            p->first[p->n] = n + k;
            p->req[p->n++] =
                (tn_gen_request){.ids = p->ids[i], .n_ids = prompt_length[i], .n = how == SEPARATE ? 1 : samples_of[i], .key = 1000 * (uint64_t)i + (uint64_t)k};
        }
        n += samples_of[i];
    }
    for (int i = 0; how == BACKWARDS && i < p->n / 2; i++) {
        tn_gen_request r = p->req[i];
        int f = p->first[i];
        p->req[i] = p->req[p->n - 1 - i], p->first[i] = p->first[p->n - 1 - i];
        p->req[p->n - 1 - i] = r, p->first[p->n - 1 - i] = f;
    }
}

typedef struct taken {
    int n, n_ids[MAX_SAMPLES];
    int32_t ids[MAX_SAMPLES][MAX_NEW];
    double logp[MAX_SAMPLES][MAX_NEW];
    bool stopped[MAX_SAMPLES];
} taken;

static tn_sampling settings(double temperature) {
    static const int32_t stop[] = {3};
    return (tn_sampling){.temperature = temperature,
                         .top_p = 1,
                         .max_new = MAX_NEW,
                         .seed = 9,
                         .stop = stop,
                         .n_stop = 1};
}

/* Copies of all samples in the order of SHARED. */
static void generate(taken *t, const tn_model *m, int batch, layout how, const tn_sampling *s) {
    static prompts p;
    tn_gen_sample out[MAX_SAMPLES];
    tn_gen *g = NULL;
    memset(t, 0, sizeof *t);
    make_prompts(&p, m->desc.vocab, how);
    CHECK_OK(tn_gen_new(&g, m, batch, MAX_LEN, e));
    if (!g) return;
    CHECK_OK(tn_gen_run(g, p.req, p.n, s, out, NULL, NULL, e));
    for (int r = 0, k = 0; r < p.n; r++)
        for (int i = 0; i < p.req[r].n; i++, k++) {
            int to = p.first[r] + i;
            t->n_ids[to] = out[k].n;
            t->stopped[to] = out[k].stopped;
            memcpy(t->ids[to], out[k].ids, (size_t)out[k].n * sizeof(int32_t));
            memcpy(t->logp[to], out[k].logp, (size_t)out[k].n * sizeof(double));
            t->n++;
        }
    tn_gen_free(g);
}

/* Tokens or log-probs in which two sets of samples differ. */
static int differences(const taken *a, const taken *b) {
    int n = a->n != b->n;
    for (int i = 0; i < a->n && i < b->n; i++) {
        n += a->n_ids[i] != b->n_ids[i] || a->stopped[i] != b->stopped[i];
        for (int k = 0; k < a->n_ids[i] && k < b->n_ids[i]; k++)
            n += a->ids[i][k] != b->ids[i][k] ||
                 memcmp(&a->logp[i][k], &b->logp[i][k], sizeof(double)) != 0;
    }
    return n;
}

/* The same log-probs as training computes them: forest of prompt | response, two responses of one
 * prompt together, all requests in one forward. */
static void recompute(taken *to, const taken *from, const tn_model *m, double inv_temp) {
    static prompts p;
    static int32_t row[MAX_SAMPLES * MAX_NEW], target[MAX_SAMPLES * MAX_NEW];
    static double logp[MAX_SAMPLES * MAX_NEW];
    tn_forest f = {0};
    tn_run *run = NULL;
    int n = 0, at = 0;
    *to = *from;
    make_prompts(&p, m->desc.vocab, SHARED);
    for (int r = 0; r < p.n; r++) {
        int prompt, last;
        CHECK_OK(tn_forest_add(&f, p.req[r].ids, p.req[r].n_ids, -1, r, &prompt, e));
        last = f.n_tok - 1;
        for (int i = 0; i < p.req[r].n; i++) {
            int k = p.first[r] + i, start = f.n_tok;
            CHECK_OK(tn_forest_add(&f, from->ids[k], from->n_ids[k], prompt, r, NULL, e));
            for (int t = 0; t < from->n_ids[k]; t++) {
                row[n] = t ? start + t - 1 : last;
                target[n++] = from->ids[k][t];
            }
        }
    }
    CHECK_OK(tn_forest_finish(&f, e));
    CHECK_OK(tn_run_new(&run, m, f.n_tok, 50, MAX_LEN, false, e));
    tn_lm q = {.n = n, .rows = row, .target = target, .inv_temp = inv_temp, .logp = logp};
    if (run) {
        CHECK_OK(tn_forward(run, m, &f, e));
        CHECK_OK(tn_lm_head(run, m, &q, e));
    }
    for (int k = 0; k < from->n; k++)
        for (int t = 0; t < from->n_ids[k]; t++) to->logp[k][t] = logp[at++];
    tn_run_free(run);
    tn_forest_free(&f);
}

static void check_same(const taken *want, const taken *got, const char *what, const tn_backend *b,
                       const char *model) {
    int d = differences(want, got);
    CHECK_MSG(d == 0 && want->n == total_samples(), "%s: %s, %s %s: %d of the numbers differ", what,
              model, b->name, b->kernels, d);
}

static taken first, other; /* large */

static void check_backend(const tiny_case *c, const char *name, tn_dtype dtype,
                          const char *kernels) {
    tn_err e0 = {0};
    static const int batches[] = {1, 3, 7, 64};
    tn_sampling s = settings(c == tiny_get(0) ? 1.0 : 0.7);
    for (int threads = 1; threads <= 3; threads++) {
        tn_backend *b = NULL;
        if (tn_backend_open(&b, name, dtype, kernels, threads, &e0) == TN_UNSUPPORTED) return;
        tn_model *m = b ? tiny_model(&c->desc, b, false, 11) : NULL;
        CHECK_MSG(m != NULL, "%s %s: %s", name, kernels ? kernels : "", e0.msg);
        if (!m) return;
        if (threads == 1) {
            generate(&first, m, 7, SHARED, &s);
            recompute(&other, &first, m, 1 / s.temperature);
            check_same(&first, &other, "training", b, c->name);
            bool all = kernels || c == tiny_get(0); /* the rest of the models: two sizes */
            for (int k = 0; k < 4; k += all ? 1 : 3) {
                generate(&other, m, batches[k], SHARED, &s);
                check_same(&first, &other, "batch size", b, c->name);
            }
            generate(&other, m, 7, SEPARATE, &s);
            check_same(&first, &other, "separate requests", b, c->name);
            generate(&other, m, 3, BACKWARDS, &s);
            check_same(&first, &other, "other order", b, c->name);
        } else {
            generate(&other, m, threads == 2 ? 64 : 3, SEPARATE, &s);
            check_same(&first, &other, "threads", b, c->name);
            recompute(&other, &first, m, 1 / s.temperature);
            check_same(&first, &other, "training with threads", b, c->name);
        }
        tn_model_free(m);
        tn_backend_free(b);
    }
}

TEST(gen_same_bits_f32) {
    for (int i = 0; i < n_tiny; i++) check_backend(tiny_get(i), "cpu", TN_F32, NULL);
    static const char *const k[] = {"scalar", "avx2", "avx512"};
    for (int i = 0; i < 3; i++) check_backend(tiny_get(2), "cpu", TN_F32, k[i]);
    check_backend(tiny_get(0), "ref", TN_F32, NULL);
}

TEST(gen_same_bits_bf16) {
    for (int i = 0; i < n_tiny; i++) check_backend(tiny_get(i), "cpu", TN_BF16, NULL);
    static const char *const k[] = {"scalar", "avx2", "avx512", "avx512bf16", "amx"};
    for (int i = 0; i < 5; i++) check_backend(tiny_get(i % n_tiny), "cpu", TN_BF16, k[i]);
    check_backend(tiny_get(0), "ref", TN_BF16, NULL);
}

/* Prompts that begin like the one before them share its pages: the bits of each one alone, for fewer operations, whichever way
 * they fall into forwards (some are longer than one). */
static void begin_alike(tn_dtype dtype) {
    enum { N = 12, LONG = 700 };
    static const int like[N] = {0, 600, 600, 620, 64, 64, 40, 0, 33, 96, 96, 640}, length[N] = {650, 640, 600, 650, 70, 64, 41, 31, 66, 97, 96, 660};
    static int32_t ids[N][LONG];
    tn_backend *b = tiny_backend("cpu", dtype, NULL, 2);
    tn_model *m = b ? tiny_model(&tiny_get(0)->desc, b, false, 12) : NULL;
    tn_gen_request q[N];
    tn_gen_sample out[2 * N], one[2];
    tn_sampling s = settings(1);
    if (!m) return;
    for (int i = 0; i < N; i++) {
        tiny_ids(ids[i], LONG, m->desc.vocab, 70 + (uint64_t)i);
        memcpy(ids[i], ids[0], (size_t)like[i] * sizeof **ids);
        q[i] = (tn_gen_request){.ids = ids[i], .n_ids = length[i], .n = 1 + i % 2, .key = 100 * (uint64_t)i};
    }
    s.max_new = 8;
    static const int batches[] = {1, 3, 32};
    for (int k = 0; k < 3; k++) {
        tn_gen *all = NULL, *alone = NULL;
        CHECK_OK(tn_gen_new(&all, m, batches[k], LONG, e));
        CHECK_OK(tn_gen_new(&alone, m, 2, LONG, e));
        if (!all || !alone) return;
        uint64_t before = b->flop, together, apart = 0;
        CHECK_OK(tn_gen_run(all, q, N, &s, out, NULL, NULL, e));
        together = b->flop - before;
        for (int i = 0, at = 0; i < N; at += q[i++].n) {
            before = b->flop;
            CHECK_OK(tn_gen_run(alone, &q[i], 1, &s, one, NULL, NULL, e));
            apart += b->flop - before;
            for (int j = 0; j < q[i].n; j++) {
                CHECK(out[at + j].n == one[j].n);
                CHECK_BYTES(out[at + j].logp, one[j].logp, (size_t)one[j].n * sizeof *one[j].logp);
                CHECK_BYTES(out[at + j].ids, one[j].ids, (size_t)one[j].n * sizeof *one[j].ids);
            }
        }
        CHECK_MSG(together < apart * 2 / 3, "batch %d: %.0f operations, %.0f apart", batches[k], (double)together, (double)apart);
        CHECK_OK(tn_gen_run(all, q, N, &s, out, NULL, NULL, e)); /* the cache has room again */
        tn_gen_free(all);
        tn_gen_free(alone);
    }
    tn_model_free(m);
    tn_backend_free(b);
}
TEST(gen_prompts_that_begin_alike) {
    begin_alike(TN_F32);
    begin_alike(TN_BF16);
}

/* The comparison sees one unit in the last place, in a stored number as in a weight. */
TEST(gen_one_ulp_is_seen) {
    static taken copy;
    tn_sampling s = settings(1);
    tn_backend *b = tiny_backend("cpu", TN_F32, NULL, 1);
    tn_model *m = b ? tiny_model(&tiny_get(1)->desc, b, false, 11) : NULL;
    if (!m) return;
    generate(&first, m, 7, SHARED, &s);
    for (int k = 0; k < first.n; k++) {
        copy = first;
        int t = first.n_ids[k] - 1;
        uint64_t bits;
        memcpy(&bits, &copy.logp[k][t], sizeof bits);
        bits ^= 1;
        memcpy(&copy.logp[k][t], &bits, sizeof bits);
        CHECK(differences(&first, &copy) == 1);
    }
    void *norm = tn_tensor_data(tn_model_tensor(m, "model.norm.weight"), b);
    float w = (float)tiny_element(b, norm, 2);
    uint32_t u;
    memcpy(&u, &w, sizeof u);
    u += 1;
    memcpy(&w, &u, sizeof w);
    tiny_set(b, norm, 2, (double)w);
    tn_model_pack(m);
    recompute(&other, &first, m, 1);
    CHECK(differences(&first, &other) > 0);
    tn_model_free(m);
    tn_backend_free(b);
}

/* ---- rules ---- */

static struct { tn_backend *be; tn_model *m; tn_gen *g; } G;
static bool open_gen(int batch, int max_len) {
    G.be = tiny_backend("cpu", TN_F32, NULL, 1);
    G.m = G.be ? tiny_model(&tiny_get(0)->desc, G.be, false, 11) : NULL;
    G.g = NULL;
    if (G.m) CHECK_OK(tn_gen_new(&G.g, G.m, batch, max_len, e));
    return G.g != NULL;
}
static void close_gen(void) {
    tn_gen_free(G.g);
    tn_model_free(G.m);
    tn_backend_free(G.be);
}

TEST(gen_greedy_is_the_arg_max) {
    if (!open_gen(4, 80)) return;
    int32_t ids[80] = {4, 5, 6};
    tn_sampling s = {.top_p = 1, .max_new = 20};
    tn_gen_sample out[2];
    tn_gen_request q = {.ids = ids, .n_ids = 3, .n = 2, .key = 7};
    CHECK_OK(tn_gen_run(G.g, &q, 1, &s, out, NULL, NULL, e));
    CHECK(out[0].n == 20 && out[1].n == 20 && !out[0].stopped);
    CHECK_BYTES(out[0].ids, out[1].ids, 20 * sizeof(int32_t));
    tn_run *run = NULL;
    tn_forest f = {0};
    int V = G.m->desc.vocab, p;
    float z[64];
    CHECK_OK(tn_run_new(&run, G.m, 80, 4, 80, false, e));
    for (int t = 0; run && t < 20; t++) {
        int32_t row = t ? 3 + t - 1 : 2, target = out[0].ids[t];
        double logp;
        tn_forest_clear(&f);
        CHECK_OK(tn_forest_add(&f, ids, 3, -1, 0, &p, e));
        if (t) CHECK_OK(tn_forest_add(&f, out[0].ids, t, p, 0, NULL, e));
        CHECK_OK(tn_forest_finish(&f, e));
        CHECK_OK(tn_forward(run, G.m, &f, e));
        tn_lm h = {.n = 1, .rows = &row, .target = &target, .inv_temp = 1, .logp = &logp, .z = z};
        CHECK_OK(tn_lm_head(run, G.m, &h, e));
        int best = 0;
        for (int v = 1; v < V; v++)
            if (z[v] > z[best]) best = v;
        CHECK(best == target && logp == out[0].logp[t]);
    }
    tn_forest_free(&f);
    tn_run_free(run);
    close_gen();
}

TEST(gen_stop_rules) {
    if (!open_gen(3, 40)) return;
    int32_t ids[40], all[37];
    tiny_ids(ids, 40, 37, 3);
    for (int i = 0; i < 37; i++) all[i] = i;
    tn_gen_sample out[64];
    tn_sampling s = {.temperature = 1, .top_p = 1, .max_new = 500, .seed = 4};
    tn_gen_request q = {.ids = ids, .n_ids = 10, .n = 9, .key = 0};
    CHECK_OK(tn_gen_run(G.g, &q, 1, &s, out, NULL, NULL, e)); /* the context ends them */
    for (int i = 0; i < 9; i++) CHECK(out[i].n == 30 && !out[i].stopped);
    s.max_new = 1;
    CHECK_OK(tn_gen_run(G.g, &q, 1, &s, out, NULL, NULL, e));
    for (int i = 0; i < 9; i++) CHECK(out[i].n == 1 && !out[i].stopped);
    s.max_new = 9;
    s.stop = all, s.n_stop = 37; /* every token stops */
    CHECK_OK(tn_gen_run(G.g, &q, 1, &s, out, NULL, NULL, e));
    for (int i = 0; i < 9; i++) CHECK(out[i].n == 1 && out[i].stopped);
    s.stop = all + 5, s.n_stop = 12;
    CHECK_OK(tn_gen_run(G.g, &q, 1, &s, out, NULL, NULL, e));
    for (int i = 0; i < 9; i++)
        for (int t = 0; t < out[i].n; t++) {
            bool stop = out[i].ids[t] >= 5 && out[i].ids[t] < 17;
            CHECK(!stop || t == out[i].n - 1);
            if (t == out[i].n - 1) CHECK(out[i].stopped == stop && (stop || out[i].n == 9));
        }
    q.n_ids = 39; /* room for one */
    s.n_stop = 0;
    CHECK_OK(tn_gen_run(G.g, &q, 1, &s, out, NULL, NULL, e));
    for (int i = 0; i < 9; i++) CHECK(out[i].n == 1);
    close_gen();
}

TEST(gen_refusals) {
    if (!open_gen(3, 40)) return;
    int32_t ids[40] = {1};
    tn_gen_sample out[4];
    tn_sampling s = {.temperature = 1, .top_p = 1, .max_new = 4};
    tn_gen_request q[2] = {{.ids = ids, .n_ids = 2, .n = 1}, {.ids = ids, .n = 1, .key = 1}};
    CHECK_FAIL(tn_gen_run(G.g, q, 2, &s, out, NULL, NULL, e), TN_ARG, "prompt 2 is empty");
    q[1].n_ids = 40;
    CHECK_FAIL(tn_gen_run(G.g, q, 2, &s, out, NULL, NULL, e), TN_ARG,
               "no room for an answer in 40");
    q[1].n_ids = 2;
    s.max_new = 0;
    CHECK_FAIL(tn_gen_run(G.g, q, 2, &s, out, NULL, NULL, e), TN_ARG, "at least 1");
    s.max_new = 4;
    int32_t wild[] = {1, 37};
    q[1].ids = wild;
    CHECK_FAIL(tn_gen_run(G.g, q, 2, &s, out, NULL, NULL, e), TN_ARG, "vocabulary of 37");
    q[1].ids = ids; /* and the engine still works */
    CHECK_OK(tn_gen_run(G.g, q, 2, &s, out, NULL, NULL, e));
    CHECK(out[0].n == 4 && out[1].n == 4);
    close_gen();
}

/* The cache suffices for the worst case: every slot holds a longest sequence with its own prompt. */
TEST(gen_cache_suffices) {
    for (int max_len = 33; max_len <= 97; max_len += 32) {
        if (!open_gen(5, max_len)) return;
        int32_t ids[128];
        tn_gen_request q[12];
        tn_gen_sample out[24];
        tn_sampling s = {.temperature = 1, .top_p = 1, .max_new = 1000};
        tiny_ids(ids, 128, 37, 8);
        for (int i = 0; i < 12; i++)
            q[i] = (tn_gen_request){.ids = ids + i, .n_ids = i % 2 ? max_len - 1 : 1 + i, .n = 2, .key = (uint64_t)i};
        CHECK_OK(tn_gen_run(G.g, q, 12, &s, out, NULL, NULL, e));
        for (int i = 0; i < 24; i++) CHECK(out[i].n == max_len - q[i / 2].n_ids);
        close_gen();
    }
}

/* ---- one draw against a sorted list ---- */

static const float *sort_p;
static int by_probability(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (sort_p[x] != sort_p[y]) return sort_p[x] > sort_p[y] ? -1 : 1;
    return (x > y) - (x < y);
}

/* Keeps the first of the sorted ids by each rule in turn; returns the drawn id. */
static int oracle(const tn_sampling *s, const float *p, int V, double u, double *share) {
    int32_t id[2000];
    double all = 0, left = 0, sum = 0, kept_sum = 0;
    int n = V, k = 0, m;
    for (int i = 0; i < V; i++) id[i] = i, all += (double)p[i];
    sort_p = p;
    qsort(id, (size_t)V, sizeof *id, by_probability);
    if (s->top_k > 0 && s->top_k < V) n = s->top_k;
    for (int i = 0; i < n; i++) left += (double)p[id[i]];
    while (k < n && (k == 0 || sum < s->top_p * left)) sum += (double)p[id[k++]];
    for (m = 1; m < k && (double)p[id[m]] >= s->min_p * (double)p[id[0]];) m++;
    for (int i = 0; i < m; i++) kept_sum += (double)p[id[i]];
    *share = kept_sum / all;
    double run = 0;
    for (int i = 0; i < m; i++)
        if ((run += (double)p[id[i]]) > u * kept_sum) return id[i];
    return id[m - 1];
}

TEST(gen_truncated_draws) {
    enum { MOST = 2000 };
    int32_t heap[MOST];
    tn_rng r = tn_rng_stream(1, 2, 3);
    for (int round = 0; round < 20000; round++) {
        int V = 1 + (int)tn_rng_below(&r, round % 50 ? 40 : MOST);
        float p[MOST];
        bool some = false;
        for (int i = 0; i < V; i++) { /* multiples of 2^-10 with many ties: sums are exact */
            p[i] = (float)tn_rng_below(&r, 1u << tn_rng_below(&r, 8)) / 1024.0f;
            some |= p[i] > 0;
        }
        if (!some) p[V / 2] = 0.5f;
        tn_sampling s = {.temperature = 1, .top_p = 1};
        unsigned which = tn_rng_below(&r, 8);
        if (which & 1) s.top_k = 1 + (int)tn_rng_below(&r, 50);
        if (which & 2) s.top_p = (1 + (double)tn_rng_below(&r, 16)) / 16;
        if (which & 4) s.min_p = (double)tn_rng_below(&r, 9) / 8;
        double u = tn_rng_unit(&r), share, want_share;
        double block[MOST / TN_EXP_BLOCK + 1] = {0};
        for (int i = 0; i < V; i++) block[i / TN_EXP_BLOCK] += (double)p[i];
        int got = tn_sample_token(&s, p, block, V, u, heap, &share);
        if (!tn_sampling_truncates(&s)) {
            double all = 0, run = 0;
            int want = 0;
            for (int i = 0; i < V; i++) all += (double)p[i];
            while (want < V - 1 && (run += (double)p[want]) <= u * all) want++;
            CHECK(got == want && share == 1 && p[got] > 0);
            continue;
        }
        int want = oracle(&s, p, V, u, &want_share);
        CHECK_MSG(got == want && share == want_share,
                  "V %d, top-k %d, top-p %g, min-p %g, u %.6f: %d with share %g, expected %d, %g",
                  V, s.top_k, s.top_p, s.min_p, u, got, share, want, want_share);
    }
    float tie[] = {0.25f, 0.5f, 0.5f, 0.125f};
    double share;
    CHECK(tn_sample_token(&(tn_sampling){.top_p = 1}, tie, NULL, 4, 0.9, heap, &share) == 1);
}

/* With --truncated-logp the stored number is that of the cut distribution. */
TEST(gen_truncated_log_prob) {
    if (!open_gen(3, 60)) return;
    int32_t ids[4] = {7, 8, 9, 10};
    tn_gen_request q = {.ids = ids, .n_ids = 4, .n = 3, .key = 5};
    tn_gen_sample a[3];
    static double full[3][30];
    tn_sampling s = {.temperature = 0.7, .top_k = 4, .top_p = 1, .max_new = 30};
    CHECK_OK(tn_gen_run(G.g, &q, 1, &s, a, NULL, NULL, e));
    for (int i = 0; i < 3; i++) memcpy(full[i], a[i].logp, 30 * sizeof(double));
    s.truncated_logp = true;
    CHECK_OK(tn_gen_run(G.g, &q, 1, &s, a, NULL, NULL, e));
    for (int i = 0; i < 3; i++)
        for (int t = 0; t < 30; t++) {
            CHECK(a[i].logp[t] > full[i][t] && a[i].logp[t] <= 1e-6);
        }
    s.top_k = 1; /* one token left: certain */
    CHECK_OK(tn_gen_run(G.g, &q, 1, &s, a, NULL, NULL, e));
    for (int t = 0; t < 30; t++) CHECK_NEAR(a[0].logp[t], 0, 0, 1e-6);
    close_gen();
}
