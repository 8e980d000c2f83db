/* The profiler: it times every operation, changes no bit, loses no second. */
#include "ops/profile.h"
#include "gen/gen.h"
#include "ops_case.h"
#include "tiny.h"
#include <limits.h>

/* A clock that a test winds. */
static double hands;
static double read_clock(void) { return hands; }
static double tick_clock(void) { return hands += 1; }

static tn_backend *profiled(const char *name, tn_dtype dtype) {
    tn_backend *b = tiny_backend(name, dtype, NULL, 2);
    CHECK_OK(tn_profile_open(b, "unused", e));
    return b;
}

static const tn_profile_row *find(const tn_backend *b, tn_phase phase, const char *op) {
    for (int i = 0; i < TN_PROFILE_ROWS; i++) {
        const tn_profile_row *r = &b->profiler->row[i];
        if (r->op && r->phase == phase && strcmp(r->op, op) == 0) return r;
    }
    return NULL;
}

/* An operation that is new in the table needs an entry in the profiler's, too. */
TEST(profile_times_every_operation) {
    tn_backend *b = profiled("ref", TN_F32);
    const tn_ops *own = b->profiler->inner, *t = b->op;
    CHECK(b->own == &tn_ops_ref32 && own == b->counting && t == &b->profiler->table);
    CHECK(t->weight_bytes == own->weight_bytes);
    CHECK(t->kv_block_bytes == own->kv_block_bytes);
    int forwarded = 0;
    for (size_t i = 0; i < sizeof(tn_ops) / sizeof(void *); i++)
        forwarded += memcmp((void *const *)t + i, (void *const *)own + i, sizeof(void *)) == 0;
    CHECK_MSG(forwarded == 3, "%d entries are not timed, expected 2 questions of size and what threads call",
              forwarded);
    tn_backend_free(b);
}

/* Work with operations in it is counted once. */
TEST(profile_nested_work) {
    tn_backend *b = profiled("ref", TN_F32);
    b->profiler->now = read_clock;
    b->profiler->since = hands = 100;
    double outer = tn_work_begin(b);
    hands += 2;
    double inner = tn_work_begin(b);
    hands += 5;
    tn_work_end(b, inner, "inner", 0);
    hands += 3;
    tn_work_end(b, outer, "outer", 0);
    CHECK(find(b, TN_PHASE_SETUP, "inner")->seconds == 5 && find(b, TN_PHASE_SETUP, "outer")->seconds == 5);
    tn_backend_free(b);
}

TEST(profile_phases_partition_time) {
    tn_backend *b = profiled("ref", TN_F32);
    tn_profiler *p = b->profiler;
    p->now = read_clock;
    p->since = hands = 100;
    hands += 5; /* set-up */
    tn_phase out = tn_phase_enter(b, TN_PHASE_FORWARD);
    hands += 7;
    tn_phase in = tn_phase_enter(b, TN_PHASE_REFERENCE);
    double begin = tn_work_begin(b);
    hands += 11;
    tn_work_end(b, begin, "work", 44e9);
    hands += 1;
    tn_phase_leave(b, in);
    hands += 13;
    tn_phase_leave(b, out);
    hands += 17;
    tn_phase_enter(b, TN_PHASE_DATA);
    CHECK(p->seconds[TN_PHASE_SETUP] == 5 &&
          p->seconds[TN_PHASE_LOOP] == 17); /* set-up is over for good */
    CHECK(p->seconds[TN_PHASE_FORWARD] == 20 && p->seconds[TN_PHASE_REFERENCE] == 12);
    CHECK(tn_profile_steps(p) == 49 && tn_profile_accounted(p, TN_PHASE_COUNT) == 11);
    CHECK(tn_profile_accounted(p, TN_PHASE_REFERENCE) == 11 &&
          tn_profile_accounted(p, TN_PHASE_FORWARD) == 0);
    const tn_profile_row *r = find(b, TN_PHASE_REFERENCE, "work");
    CHECK(r && r->calls == 1 && r->seconds == 11 && r->bytes == 44e9);
    tn_backend_free(b);
}

/* More shapes than there are rows: they are put together, and no second or call is lost. */
TEST(profile_full_table) {
    tn_backend *b = profiled("ref", TN_F32);
    tn_profiler *p = b->profiler;
    long calls = 0;
    for (int phase = TN_PHASE_LOOP; phase < TN_PHASE_COUNT; phase++) {
        tn_phase_enter(b, (tn_phase)phase);
        for (int i = 0; i < 3 * TN_PROFILE_ROWS; i++)
            tn_profile_add(p, i % 3 ? "gemm" : "gemm_dx", 1, 1 + i % 100, 1 + i, 7, 2, 4);
    }
    for (int i = 0; i < TN_PROFILE_ROWS; i++) calls += p->row[i].calls;
    CHECK(calls == 3L * TN_PROFILE_ROWS * (TN_PHASE_COUNT - 1));
    for (int phase = TN_PHASE_LOOP; phase < TN_PHASE_COUNT; phase++)
        CHECK(tn_profile_accounted(p, (tn_phase)phase) == 3 * TN_PROFILE_ROWS);
    CHECK(p->n_row < TN_PROFILE_ROWS && find(b, TN_PHASE_CHECKPOINT, "gemm")->out == 0);
    tn_backend_free(b);
}

/* Attention's pairs as the masks define them, counted one by one. */
static double count_pairs(const oc_forest *f) {
    double n = 0;
    for (int s = 0; s < f->a.n_seg; s++) {
        const tn_aseg *g = &f->a.seg[s];
        for (int q = g->pos; q < g->pos + g->len; q++)
            for (int k = 0; k <= q; k++) n += f->a.window == 0 || k > q - f->a.window;
    }
    return n;
}
static void case_attn(oc *c, const int *p) {
    static const int parent[] = {-1, 0, 0, 2}, len[] = {40, 3, 35, 1};
    int H = 4, G = 2, d = 8, Q = (H + 2 * G) * d, T = 79;
    oc_forest f = oc_forest_new(c, parent, len, 4, H, G, d, p[0]);
    void *qkv = oc_in(c, (size_t)(T * Q), 1), *out = oc_out(c, "out", (size_t)(T * H * d));
    void *pool = oc_zero(c, (size_t)f.n_block * c->be->op->kv_block_bytes(c->be, G, d));
    c->be->op->kv_write(c->be, pool, qkv, Q, &f.a);
    c->be->op->attn(c->be, out, H * d, NULL, qkv, Q, pool, &f.a);
    const tn_profile_row *r = c->be->profiler ? find(c->be, TN_PHASE_SETUP, "attn") : NULL;
    if (r) CHECK_MSG(r->flop == 4 * H * d * count_pairs(&f), "window %d: %.0f FLOP", p[0], r->flop);
}
TEST(profile_counts_flop_and_bytes) {
    for (int window = 0; window < 90; window += window < 3 ? 1 : 29) {
        tn_backend *b = profiled("cpu", TN_F32);
        int p[OC_PARAMS] = {window};
        oc_equal("attention", case_attn, p, oc_backend("cpu", TN_F32, NULL, 2), b);
        CHECK(find(b, TN_PHASE_SETUP, "attn") != NULL);
        tn_backend_free(b);
    }
    tn_backend *b = profiled("ref", TN_F32);
    b->profiler->now = tick_clock;
    float x[3 * 7] = {0}, y[3 * 5] = {0}, w[5 * 7] = {0};
    tn_weight m = {.out = 5, .in = 7, .master = w};
    size_t bytes = b->op->weight_bytes(b, 5, 7);
    m.packed = tn_calloc(1, bytes);
    b->op->weight_pack(b, &m);
    for (int i = 0; i < 2; i++) b->op->gemm(b, TN_SET, y, 5, x, 7, &m, NULL, 3);
    const tn_profile_row *r = find(b, TN_PHASE_SETUP, "gemm");
    CHECK(r && r->out == 5 && r->in == 7 && r->most == 16 && r->calls == 2 && r->rows == 6);
    CHECK(r && r->seconds == 2 && r->flop == 2 * 2 * 3 * 5 * 7 &&
          r->bytes == 2 * ((double)bytes + 4 * 3 * (5 + 7)));
    r = find(b, TN_PHASE_SETUP, "weight_pack");
    CHECK(r && r->bytes == 4 * 5 * 7 + (double)bytes);
    float p4[4] = {0};
    b->op->adamw(b, p4, p4, p4, p4, 4, &(tn_adamw){.eps = 1, .step = 1, .gscale = 1});
    double block = 1;
    b->op->sumsq(b, p4, 4, NULL, &block);
    CHECK(b->op->finite(b, p4, 4) && block == 0);
    r = find(b, TN_PHASE_SETUP, "adamw");
    CHECK(r && r->bytes == 7 * 4 * 4 && r->most == 0 &&
          find(b, TN_PHASE_SETUP, "sumsq")->bytes == 16);
    tn_free(m.packed);
    tn_backend_free(b);
}

/* Arguments that no model uses: products that add, rows with gaps. */
static void case_forwarded(oc *c, const int *p) {
    const tn_ops *op = c->be->op;
    tn_weight w = oc_weight(c, 5, 7, 1);
    float *x = oc_in(c, 3 * 9, 1), *y = oc_in(c, 3 * 8, 1);
    op->gemm(c->be, TN_ADD, oc_out(c, "y", 3 * 11), 11, x, 9, &w, y, 3);
    op->gemm_dx(c->be, TN_ADD, oc_out(c, "dx", 3 * 12), 12, y, 8, &w, 3);
    op->gemm_dw(c->be, oc_out(c, "dw", 35), y, 8, x, 9, 3, 5, 7);
    op->bias_bwd(c->be, oc_out(c, "db", 5), y, 8, 3, 5);
    op->scale(c->be, oc_out(c, "scaled", 9), 3, 9);
    op->rope(c->be, TN_ROUND, oc_out(c, "rope", 3 * 19), 19, oc_in(c, 3 * 18, 1), 18, oc_ids(c, 3, 2), x, y, 3, 2, 1, 6, 4, -1);
    op->round(c->be, oc_out(c, "round", 9), x, 9);
}
TEST(profile_forwards_arguments) {
    tn_backend *b = profiled("cpu", TN_F32);
    const int none[OC_PARAMS] = {0};
    oc_equal("forwarded", case_forwarded, none, oc_backend("cpu", TN_F32, NULL, 2), b);
    tn_backend_free(b);
}

/* Everything that training and sampling compute, and what they leave behind. */
typedef struct outcome {
    double logp[64], lse[64], score[64], sampled[8];
    int32_t ids[8];
    uint64_t weights;
} outcome;
static void work_all(const tiny_case *c, bool score, tn_backend *be, outcome *o) {
    memset(o, 0, sizeof *o);
    tn_desc d = c->desc;
    if (score) d.num_labels = 1;
    tn_model *m = tiny_model(&d, be, true, 3);
    if (!m) return;
    tn_forest f = {0};
    tn_run *run = NULL;
    int32_t ids[64], rows[64], target[64];
    double grad[64];
    int seg, n = 60;
    tiny_ids(ids, n, d.vocab, 8);
    CHECK_OK(tn_forest_add(&f, ids, 35, -1, 0, &seg, e));
    CHECK_OK(tn_forest_add(&f, ids + 35, 5, 0, 0, &seg, e));
    CHECK_OK(tn_forest_add(&f, ids + 40, 20, 0, 0, &seg, e));
    CHECK_OK(tn_forest_finish(&f, e));
    for (int i = 0; i < n; i++)
        rows[i] = i, target[i] = ids[(i + 1) % n], grad[i] = tiny_unit(4, (uint64_t)i);
    CHECK_OK(tn_run_new(&run, m, n, 17, 128, true, e));
    CHECK_OK(tn_forward(run, m, &f, e));
    if (score) {
        CHECK_OK(tn_score_head(run, m, rows, n, o->score, e));
        CHECK_OK(tn_score_head_backward(run, m, rows, n, grad, e));
    } else {
        tn_lm q = {
            .n = n, .rows = rows, .target = target, .inv_temp = 1, .logp = o->logp, .lse = o->lse};
        CHECK_OK(tn_lm_head(run, m, &q, e));
        CHECK_OK(tn_lm_head_backward(run, m, &q, grad, NULL, NULL, e));
    }
    CHECK_OK(tn_backward(run, m, &f, e));
    tn_model_adamw(m, 1e-3, .9, .99, 1e-8, .1, false, 1, 1 / (1 + tn_model_grad_sumsq(m)));
    tn_model_pack(m);
    o->weights = tn_hash64(m->trunk->data, m->trunk->n * be->elem, 0);
    if (!score) {
        tn_gen *g = NULL;
        tn_gen_sample s = {0};
        tn_gen_request q = {.ids = ids, .n_ids = 40, .n = 1};
        tn_sampling how = {.temperature = 1, .top_p = 1, .max_new = 8, .seed = 1};
        CHECK_OK(tn_gen_new(&g, m, 1, 64, e));
        CHECK_OK(tn_gen_run(g, &q, 1, &how, &s, NULL, NULL, e));
        memcpy(o->ids, s.ids, sizeof o->ids);
        memcpy(o->sampled, s.logp, sizeof o->sampled);
        tn_gen_free(g);
    }
    tn_run_free(run);
    tn_forest_free(&f);
    tn_model_free(m);
}

TEST(profile_changes_no_bit) {
    static outcome plain, timed;
    for (int i = 0; i < 2 * n_tiny; i++) {
        tn_dtype dtype = i % 3 ? TN_BF16 : TN_F32;
        tn_backend *a = tiny_backend("cpu", dtype, NULL, 2), *b = profiled("cpu", dtype);
        work_all(tiny_get(i / 2), i % 2, a, &plain);
        work_all(tiny_get(i / 2), i % 2, b, &timed);
        CHECK_BYTES(&timed, &plain, sizeof plain);
        CHECK(plain.weights != 0 && tn_profile_accounted(b->profiler, TN_PHASE_SETUP) > 0);
        CHECK(i % 2 || find(b, TN_PHASE_SAMPLING, "draw") != NULL);
        tn_backend_free(a);
        tn_backend_free(b);
    }
}
