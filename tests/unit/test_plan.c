/* The memory plan against what is really allocated. */
#include "model/plan.h"
#include "tiny.h"

static const tn_desc middle = {
    .family = "qwen3",
    .vocab = 3001,
    .hidden = 96,
    .layers = 3,
    .heads = 6,
    .kv_heads = 2,
    .head_dim = 16,
    .ffn = 250,
    .max_pos = 512,
    .norm_eps = 1e-6,
    .qk_norm = true,
    .tied = true,
    .act = TN_SILU,
    .rope = {.theta = 1e4, .factor = 1, .original_max = 512, .rot_dim = 16}};

static void check_close(const char *what, size_t plan, size_t real) {
    double d = (double)plan - (double)real;
    CHECK_MSG(__builtin_fabs(d) <= 0.02 * (double)real + 65536,
              "%s: planned %zu bytes, allocated %zu", what, plan, real);
}

static void check_backend(const char *name, tn_dtype dtype) {
    tn_backend *be = tiny_backend(name, dtype, NULL, 1);
    if (!be) return;
    for (int train = 0; train < 2; train++)
        for (int score = 0; score < 2; score++) {
            tn_desc d = middle;
            d.num_labels = score;
            tn_plan p = {0};
            size_t start = tn_mem_live();
            tn_plan_model(&p, "policy", &d, be, train, score, false);
            tn_model *m = tiny_model(&d, be, train, 3);
            check_close("model", p.total, tn_mem_live() - start);

            tn_plan q = {0};
            size_t before = tn_mem_live();
            tn_plan_run(&q, "policy", &d, be, 700, 300, 200, train);
            tn_run *r = NULL;
            CHECK_OK(tn_run_new(&r, m, 700, 300, 200, train, e));
            check_close("run", q.total, tn_mem_live() - before);

            tn_plan k = {0};
            before = tn_mem_live();
            tn_plan_kv(&k, "policy", &d, be, 50);
            tn_kv *kv = NULL;
            CHECK_OK(tn_kv_new(&kv, m, 50, 8, 200, e));
            check_close("cache", k.total, tn_mem_live() - before);
            CHECK(tn_mem_peak() >= tn_mem_live());

            tn_kv_free(kv);
            tn_run_free(r);
            tn_model_free(m);
            CHECK(tn_mem_live() == start);
        }
    tn_backend_free(be);
}

TEST(plan_equals_allocations) {
    check_backend("ref", TN_F32);
    check_backend("ref64", TN_F64);
    check_backend("cpu", TN_F32);
    check_backend("cpu", TN_BF16);
}

TEST(plan_table_and_refusal) {
    tn_plan p = {0};
    tn_plan_add(&p, "policy", "weights", 538000000);
    tn_plan_add(&p, "reference", "weights", 269000000);
    tn_plan_add(&p, "policy", "weights", 2000000);
    tn_str s = TN_STR_INIT;
    tn_plan_print(&p, &s);
    CHECK(p.n == 2 && p.total == 809000000);
    CHECK(strstr(s.s, "540.0 MB") && strstr(s.s, "reference") && strstr(s.s, "809.0 MB"));
    tn_str_free(&s);
    CHECK_OK(tn_plan_check(&p, 809000000, e));
    CHECK_OK(tn_plan_check(&p, 0, e));
    CHECK_FAIL(tn_plan_check(&p, 800000000, e), TN_NOMEM, "weights of policy (0.5 GB)");
    CHECK(tn_plan_available() > (size_t)1 << 20);
    for (int i = 0; i < 2 * TN_PLAN_MAX; i++) {
        char who[32];
        snprintf(who, sizeof who, "model %d", i);
        tn_plan_add(&p, who, "weights", 1);
    }
    CHECK(p.n == TN_PLAN_MAX && p.total == 809000000 + 2 * TN_PLAN_MAX);
}
