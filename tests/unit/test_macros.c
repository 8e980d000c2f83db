/* Macro actions of a batch of rollouts: where they begin, what losses see of them, GAE; parses by punctuation. */
#include "test.h"
#include "tiny.h"
#include "rl/macros.h"
#include "train/trainer.h"

enum { N = 3, T = 12 };
typedef struct rolls {
    tn_rollouts r;
    tn_response y[N];
    tn_example ex[N];
    int off[N + 1], tok[N + 1];
    int32_t ids[T];
    uint8_t ones[T];
    double ref[T], reward[T], value[T];
} rolls;

/* Responses of 5, 1 and 6 tokens, each an example. */
static void fill(rolls *w) {
    static const int length[N] = {5, 1, 6};
    memset(w, 0, sizeof *w);
    memset(w->ones, 1, sizeof w->ones);
    for (int t = 0; t < T; t++) {
        w->ref[t] = -tiny_unit(1, (uint64_t)t), w->reward[t] = tiny_unit(2, (uint64_t)t), w->value[t] = tiny_unit(3, (uint64_t)t);
        w->ids[t] = 3 + t;
    }
    for (int i = 0; i < N; i++) {
        w->y[i] = (tn_response){.ids = w->ids + w->off[i], .trained = w->ones, .n = length[i], .rank = 1};
        w->ex[i] = (tn_example){.response = &w->y[i], .n_response = 1, .prompt = w->ids, .n_prompt = 2};
        w->off[i + 1] = w->tok[i + 1] = w->off[i] + length[i];
    }
    w->r = (tn_rollouts){.n = N, .n_tok = T, .n_ex = N, .ex = w->ex, .response = w->y, .off = w->off, .tok = w->tok,
                         .ref_logp = w->ref, .has_ref = true, .max_new = 6};
}

static tn_macro_opt of(const char *rule, int64_t length) {
    return (tn_macro_opt){.rule = rule, .length = length, .repeat = 1, .value = "equal", .reward = "sum", .loss = "macro"};
}

TEST(macros_of_a_batch) {
    rolls w;
    tn_rollout_macros a;
    tn_macro_opt o = of("fixed", 2);
    static const uint8_t want[T] = {1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0};
    fill(&w);
    CHECK_OK(tn_macros_new(&a, &o, N, 6, 7, NULL, e));
    CHECK_OK(tn_macros_cut(&a, &w.r, 0, e));
    CHECK_BYTES(a.begins, want, T);
    CHECK(a.m.n_seq == N && a.seq_off[1] == 3 && a.seq_off[2] == 4 && a.seq_off[3] == 7 && a.off[7] == T && a.off[4] == 6);
    tn_batch b = {0};
    tn_batch_options how = {.share_prompts = true};
    tn_obs x;
    for (int i = 2; i >= 0; i -= 2) CHECK_OK(tn_batch_add(&b, &w.ex[i], &how, e));
    tn_batch_obs(&b, &x);
    static const int off[] = {0, 2, 4, 6, 8, 10, 11};
    CHECK(x.n_macro == 6);
    CHECK_BYTES(x.macro_off, off, sizeof off);
    tn_batch_clear(&b);
    CHECK(b.n_macro == 0);
    tn_batch_free(&b);
    tn_macros_free(&a);
    o.loss = "token"; /* losses on tokens are not told */
    fill(&w);
    CHECK_OK(tn_macros_new(&a, &o, N, 6, 7, NULL, e));
    CHECK_OK(tn_macros_cut(&a, &w.r, 0, e));
    CHECK(!w.ex[0].macro);
    tn_macros_free(&a);
}

/* Empty macros of the authors' cuts take part in GAE and are no action of a loss. */
TEST(macros_empty) {
    rolls w;
    tn_rollout_macros a;
    tn_macro_opt o = of("fixed_code", 2);
    fill(&w);
    CHECK_OK(tn_macros_new(&a, &o, N, 6, 7, NULL, e));
    CHECK_OK(tn_macros_cut(&a, &w.r, 0, e));
    int begins = 0;
    for (int t = 0; t < T; t++) begins += a.begins[t];
    CHECK(a.seq_off[1] == 4 && a.off[2] == 4 && a.off[3] == 4 && a.off[4] == 5);  /* 0-2 2-4 4-4 4-5 */
    CHECK(a.seq_off[3] - a.seq_off[2] == 4 && a.off[a.seq_off[3] - 1] == T - 1); /* 0-2 2-4 4-5 5-6 */
    CHECK(a.begins[T - 1] && begins == 3 + 1 + 4);
    tn_macros_free(&a);
}

TEST(macros_of_one_token_are_gae) {
    static const char *const weights[] = {"equal", "unit", "position"};
    rolls w;
    double A[T], R[T], B[T], S[T];
    fill(&w);
    tn_gae(N, w.off, w.reward, w.value, 0.9, 0.8, A, R);
    for (int k = 0; k < 3; k++) {
        tn_rollout_macros a;
        tn_macro_opt o = of("fixed", 1);
        o.value = weights[k];
        CHECK_OK(tn_macros_new(&a, &o, N, 6, 7, NULL, e));
        CHECK_OK(tn_macros_cut(&a, &w.r, 0, e));
        tn_macros_gae(&a, &w.r, w.reward, w.value, 0.9, 0.8, B, S, NULL);
        CHECK_BYTES(B, A, sizeof A);
        CHECK_BYTES(S, R, sizeof R);
        tn_macros_free(&a);
    }
    tn_rollout_macros none = {0}; /* and no macros at all */
    tn_macros_gae(&none, &w.r, w.reward, w.value, 0.9, 0.8, B, S, NULL);
    CHECK_BYTES(B, A, sizeof A);
}

/* Random cuts are a function of the response's number in the run. */
TEST(macros_random) {
    rolls w;
    tn_rollout_macros a;
    tn_macro_opt o = of("random", 1);
    static const char *const lengths[] = {"1", "2", "3", "1", "1"};
    uint8_t first[T], other[T];
    o.lengths = (tn_opt_list){lengths, 5};
    fill(&w);
    CHECK_OK(tn_macros_new(&a, &o, N, 6, 7, NULL, e));
    CHECK_OK(tn_macros_cut(&a, &w.r, 100, e));
    memcpy(first, a.begins, T);
    bool differ = false;
    for (uint64_t k = 0; k < 8; k++) {
        CHECK_OK(tn_macros_cut(&a, &w.r, 200 + k, e));
        memcpy(other, a.begins, T);
        differ |= memcmp(first, other, T) != 0;
    }
    CHECK(differ);
    CHECK_OK(tn_macros_cut(&a, &w.r, 100, e));
    CHECK_BYTES(a.begins, first, T);
    tn_macros_free(&a);
    static const char *const bad[] = {"0"};
    o.lengths = (tn_opt_list){bad, 1};
    CHECK_FAIL(tn_macros_check(&o, true, e), TN_ARG, "'0'");
    o = of("parse", 3);
    CHECK_FAIL(tn_macros_check(&o, false, e), TN_ARG, "no tokenizer.json");
}

TEST(macros_parse) {
    tn_tokenizer *tok = NULL;
    tn_ids ids = {0};
    tn_str text = TN_STR_INIT;
    static const char said[] = "yes , it is . no";
    CHECK_OK(tn_tokenizer_of(&tok, "models/world", NULL, NULL, e));
    CHECK_OK(tn_encode(tok, said, sizeof said - 1, false, &ids, NULL, e));
    int n = (int)ids.n, n_span = 0, k = 0, comma = 0, stop = 0, *span = tn_calloc(4 * ids.n, sizeof *span), *off = tn_calloc(ids.n + 2, sizeof *off);
    uint8_t *level = tn_calloc(ids.n, 1);
    for (int i = 0; i < n; i++) {
        tn_str_clear(&text);
        CHECK_OK(tn_decode(tok, &ids.v[i], 1, false, &text, e));
        if (text.len && strchr(text.s, ',')) comma = i + 1;
        if (text.len && strchr(text.s, '.')) stop = i + 1;
    }
    CHECK(comma > 0 && stop > comma && stop < n);
    CHECK_OK(tn_macros_parse(tok, ids.v, n, &text, level, span, &n_span, e));
    CHECK(n_span < 2 * n && span[0] == 0 && span[1] == n); /* the response; its first sentence; that one's first clause */
    CHECK(span[2] == 0 && span[3] == stop && span[4] == 0 && span[5] == comma);
    tn_macro_text y = {.n = n, .span = span, .n_span = n_span};
    CHECK_OK(tn_macro_cut(TN_MACRO_PARSE, stop, &y, off, &k, e)); /* the clauses fit, the sentence does not */
    CHECK(k == 2 && off[1] == comma && off[k] == n);
    CHECK_OK(tn_macro_cut(TN_MACRO_PARSE, n + 1, &y, off, &k, e));
    CHECK(k == 1);
    tn_free(span), tn_free(off), tn_free(level);
    tn_ids_free(&ids);
    tn_str_free(&text);
    tn_tokenizer_free(tok);
}
