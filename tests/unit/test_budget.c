/* The memory plan against what is really allocated. */
#include "model/budget.h"
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
            tn_budget p = {0};
            size_t start = tn_mem_live();
            tn_budget_model(&p, "policy", &d, be, train, score);
            tn_model *m = tiny_model(&d, be, train, 3);
            check_close("model", p.total, tn_mem_live() - start);

            tn_budget q = {0};
            size_t before = tn_mem_live();
            tn_budget_run(&q, "policy", &d, be, 700, 300, 200, 70, train);
            tn_run *r = NULL;
            CHECK_OK(tn_run_new(&r, m, 700, 300, 200, train, e));
            CHECK_OK(tn_run_reserve(r, m, 70, e));
            check_close("run", q.total, tn_mem_live() - before);

            tn_budget k = {0};
            before = tn_mem_live();
            tn_budget_kv(&k, "policy", &d, be, 50);
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

TEST(budget_equals_allocations) {
    check_backend("ref", TN_F32);
    check_backend("ref64", TN_F64);
    check_backend("cpu", TN_F32);
    check_backend("cpu", TN_BF16);
}

/* Scratch: what a step asks for, found without computing anything. */
TEST(budget_scratch_equals_use) {
    static const struct { const char *name; tn_dtype dtype; } on[] = {{"ref", TN_F32}, {"cpu", TN_F32}, {"cpu", TN_BF16}};
    for (size_t i = 0; i < 3; i++)
        for (int kind = 0; kind < 4; kind++) {
            enum { T = 90 };
            bool train = kind & 1, squares = kind & 2;
            tn_backend *be = tiny_backend(on[i].name, on[i].dtype, NULL, 2);
            tn_model *m = tiny_model(&middle, be, train, 3);
            tn_run *r = NULL;
            tn_forest f = {0};
            int32_t ids[T], rows[T], target[T];
            double logp[T], top1[T], lse[T], sum_sq[T], d[T];
            int index;
            tn_budget p = {.sum_sq = squares};
            tn_budget_scratch(&p, &middle, NULL, be, T, T, train);
            CHECK(be->scratch_bytes == 0);
            tiny_ids(ids, T, middle.vocab, 1);
            for (int k = 0; k < T; k++) rows[k] = k, target[k] = k, d[k] = 1;
            if (train) CHECK_OK(tn_model_trainable(m, e));
            CHECK_OK(tn_forest_add(&f, ids, T, -1, 0, &index, e));
            CHECK_OK(tn_forest_finish(&f, e));
            CHECK_OK(tn_run_new(&r, m, T, T, T, train, e));
            tn_lm q = {.n = T, .rows = rows, .target = target, .inv_temp = 1, .logp = logp, .lse = lse, .top1 = top1,
                       .log_sum_sq = squares ? sum_sq : NULL};
            CHECK_OK(tn_forward(r, m, &f, e));
            CHECK_OK(tn_lm_head(r, m, &q, e));
            if (train) {
                CHECK_OK(tn_lm_head_backward(r, m, &q, d, NULL, NULL, e));
                CHECK_OK(tn_backward(r, m, &f, e));
            }
            CHECK_MSG(p.total == be->scratch_bytes, "%s: planned %zu, used %zu", on[i].name, p.total, be->scratch_bytes);
            tn_budget_scratch(&p, &middle, NULL, be, T / 2, 0, false); /* shared: the larger one stays */
            CHECK(p.total == be->scratch_bytes);
            tn_run_free(r);
            tn_forest_free(&f);
            tn_model_free(m);
            tn_backend_free(be);
        }
}

TEST(budget_table_and_refusal) {
    tn_budget p = {0};
    tn_budget_add(&p, "policy", "weights", 538000000);
    tn_budget_add(&p, "reference", "weights", 269000000);
    tn_budget_add(&p, "policy", "weights", 2000000);
    tn_str s = TN_STR_INIT;
    tn_budget_print(&p, &s);
    CHECK(p.n == 2 && p.total == 809000000);
    CHECK(strstr(s.s, "weights 540.0 ") && strstr(s.s, "reference") && strstr(s.s, "= 269.0 MB"));
    tn_str_free(&s);
    CHECK_OK(tn_budget_check(&p, 0, 809000000, e));
    CHECK_OK(tn_budget_check(&p, 0, 0, e));
    CHECK_OK(tn_budget_check(&p, 809000000, 0, e));
    CHECK_FAIL(tn_budget_check(&p, 0, 800000000, e), TN_NOMEM, "policy: weights (0.54 GB)");
    CHECK_FAIL(tn_budget_check(&p, 800000000, 0, e), TN_NOMEM, "--max-memory allows 0.80 GB");
    CHECK(tn_budget_available() > (size_t)1 << 20);
    for (int i = 0; i < 2 * TN_BUDGET_MAX; i++) {
        char who[32];
        snprintf(who, sizeof who, "model %d", i);
        tn_budget_add(&p, who, "weights", 1);
    }
    CHECK(p.n == TN_BUDGET_MAX && p.total == 809000000 + 2 * TN_BUDGET_MAX);
}

/* Of what takes turns the largest counts; frozen models of one owner are there one by one, and a plan that does not rest has no turns. */
TEST(budget_turns) {
    tn_backend *be = tiny_backend("cpu", TN_BF16, NULL, 1);
    tn_lora_spec none = {0};
    tn_desc judge = middle;
    judge.num_labels = 1;
    size_t grad = tn_desc_params(&middle) * be->elem;
    tn_budget flat = {0}, turns = {.rests = true}, parked = {.rests = true, .parks = true}, *each[] = {&flat, &turns, &parked};
    for (int i = 0; i < 3; i++) {
        tn_budget_trained(each[i], "policy", &middle, &none, be, false);
        tn_budget_frozen(each[i], "reference", &middle, be, false);
        tn_budget_frozen(each[i], "reward model", &judge, be, true);
        tn_budget_frozen(each[i], "reward model", &judge, be, true);
        tn_budget_turn(each[i], "sampling");
        tn_budget_kv(each[i], "sampling", &middle, be, 3);
        tn_budget_turn(each[i], NULL);
    }
    tn_budget kv = {0}, ref = {0}, rm = {0};
    tn_budget_kv(&kv, "", &middle, be, 3);
    tn_budget_frozen(&ref, "", &middle, be, false);
    tn_budget_frozen(&rm, "", &judge, be, true);
    CHECK_MSG(flat.total == turns.total + (kv.total < grad ? kv.total : grad), "%zu, %zu", flat.total, turns.total);
    size_t norms = (size_t)(2 * middle.layers + 1) * (size_t)middle.hidden * be->elem + 2 * (size_t)middle.layers * (size_t)middle.head_dim * be->elem;
    size_t head = (size_t)middle.hidden * be->elem;
    CHECK_MSG(parked.parked == ref.total + 2 * rm.total - 3 * norms - 2 * head, "%zu of %zu and twice %zu", parked.parked, ref.total, rm.total);
    size_t largest[4] = {grad, kv.total, ref.total - norms, rm.total - norms - head}, most = 0;
    for (int i = 0; i < 4; i++) most = largest[i] > most ? largest[i] : most;
    size_t always = flat.total - grad - kv.total - parked.parked;
    CHECK_MSG(parked.total == always + most, "%zu, %zu + %zu", parked.total, always, most);
    tn_str s = TN_STR_INIT;
    tn_budget_print(&flat, &s);
    CHECK(!strstr(s.s, "in turns"));
    tn_str_clear(&s);
    tn_budget_print(&parked, &s);
    CHECK_MSG(strstr(s.s, "  in turns, of which the largest counts:\n    training       policy's gradients"), "%s", s.s);
    CHECK_MSG(strstr(s.s, "\n    reward model   embedding, at most "), "%s", s.s);
    tn_str_free(&s);
    /* a turn may become the largest, and what is largest in it is what a refusal names */
    tn_budget_turn(&parked, "sampling");
    tn_budget_add(&parked, "sampling", "keys and values", 1000000000);
    tn_budget_turn(&parked, NULL);
    CHECK(parked.total == always + kv.total + 1000000000);
    CHECK_FAIL(tn_budget_check(&parked, 1000000, 0, e), TN_NOMEM, "sampling: keys and values (1.00 GB); what helps is a smaller --micro-batch");
    tn_backend_free(be);
}

/* What is parked is what was planned. */
TEST(budget_parked_equals_moved) {
    static const struct { const char *name; tn_dtype dtype; } on[] = {{"ref", TN_F32}, {"ref64", TN_F64}, {"cpu", TN_F32}, {"cpu", TN_BF16}};
    for (size_t i = 0; i < 4; i++)
        for (int score = 0; score < 2; score++) {
            tn_backend *be = tiny_backend(on[i].name, on[i].dtype, NULL, 1);
            tn_desc d = middle;
            tn_err why = {0};
            d.num_labels = score;
            tn_model *m = tiny_model(&d, be, false, 3);
            tn_budget p = {.rests = true, .parks = true};
            tn_park *k;
            tn_budget_frozen(&p, "reference", &d, be, score);
            if (tn_park_new(&k, tn_test_dir(), p.parked, &why) != TN_OK) tn_skip("%s", why.msg);
            tn_model_drop_masters(m);
            CHECK_OK(tn_model_park(m, k, e));
            check_close("parked", p.parked, tn_park_bytes(k));
            tn_model_free(m);
            tn_park_free(k);
            tn_backend_free(be);
        }
}
