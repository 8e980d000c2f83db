/* The paged cache: pages counted, shared and copied as they must be; refusals change nothing. */
#include "tiny.h"

static struct { tn_backend *be; tn_model *m; tn_run *run; tn_kv *kv; int32_t ids[256]; } T;

static bool set_up_with(tn_backend *be, int pages) {
    T.be = be;
    T.m = T.be ? tiny_model(&tiny_get(0)->desc, T.be, false, 5) : NULL;
    if (!T.m) return false;
    tiny_ids(T.ids, 256, T.m->desc.vocab, 4);
    CHECK_OK(tn_run_new(&T.run, T.m, 256, 16, 200, false, e));
    CHECK_OK(tn_kv_new(&T.kv, T.m, pages, 6, 200, e));
    return T.run && T.kv;
}

static bool set_up(int pages) { return set_up_with(tiny_backend("ref", TN_F32, NULL, 1), pages); }

static void tear_down(void) {
    tn_kv_free(T.kv);
    tn_run_free(T.run);
    tn_model_free(T.m);
    tn_backend_free(T.be);
}

static void append(int seq, int from, int n, bool fresh) {
    tn_kv_item it = {.seq = seq, .ids = T.ids + from, .n = n, .new_segment = fresh};
    CHECK_OK(tn_forward_kv(T.run, T.m, T.kv, &it, 1, e));
}

/* log-prob of token 0 after the last appended token */
static double after(int seq, int from, int n, bool fresh) {
    append(seq, from, n, fresh);
    int32_t row = n - 1, target = 0;
    double logp;
    tn_lm q = {.n = 1, .rows = &row, .target = &target, .inv_temp = 1, .logp = &logp};
    CHECK_OK(tn_lm_head(T.run, T.m, &q, e));
    return logp;
}

TEST(kv_pages_are_counted) {
    if (!set_up(8)) return;
    CHECK(tn_kv_pages_for(1) == 1 && tn_kv_pages_for(32) == 1 && tn_kv_pages_for(33) == 2);
    int a = tn_kv_open(T.kv);
    append(a, 0, 40, true); /* 2 pages */
    CHECK(tn_kv_free_pages(T.kv) == 6 && tn_kv_length(T.kv, a) == 40);
    int b = tn_kv_fork(T.kv, a), c = tn_kv_fork(T.kv, a);
    CHECK(b >= 0 && c >= 0 && tn_kv_free_pages(T.kv) == 6 && tn_kv_length(T.kv, b) == 40);
    append(b, 40, 1, true); /* 1 page of its own */
    append(c, 40, 33, true); /* 2 pages */
    CHECK(tn_kv_free_pages(T.kv) == 3);
    tn_kv_close(T.kv, a); /* still held by b and c */
    CHECK(tn_kv_free_pages(T.kv) == 3 && tn_kv_length(T.kv, a) == -1);
    tn_kv_close(T.kv, c);
    CHECK(tn_kv_free_pages(T.kv) == 5);
    tn_kv_close(T.kv, b);
    tn_kv_close(T.kv, b);
    CHECK(tn_kv_free_pages(T.kv) == 8);
    tear_down();
}

/* The parent goes on in its shared, half-full page; both continue as if they were alone. */
static void shared_page(void) {
    int alone = tn_kv_open(T.kv);
    append(alone, 0, 40, true);
    double parent = after(alone, 60, 5, false);
    int other = tn_kv_open(T.kv);
    append(other, 0, 40, true);
    append(other, 80, 3, true);
    double child = after(other, 90, 4, false);
    tn_kv_close(T.kv, alone);
    tn_kv_close(T.kv, other);

    int a = tn_kv_open(T.kv);
    append(a, 0, 40, true);
    int b = tn_kv_fork(T.kv, a);
    int before = tn_kv_free_pages(T.kv);
    double got = after(a, 60, 5, false);
    CHECK_BYTES(&got, &parent, sizeof got);
    CHECK(tn_kv_free_pages(T.kv) == before - 1); /* the copy */
    append(b, 80, 3, true);
    got = after(b, 90, 4, false);
    CHECK_BYTES(&got, &child, sizeof got);
    tn_kv_close(T.kv, a);
    tn_kv_close(T.kv, b);
    CHECK(tn_kv_free_pages(T.kv) == 32);
    tear_down();
}
TEST(kv_shared_page_is_copied_before_it_is_written) {
    if (set_up(32)) shared_page();
    if (set_up_with(tiny_backend("cpu", TN_BF16, NULL, 2), 32)) shared_page();
}

/* Prompt and answer of one sequence, and a second sequence, in a single call. */
TEST(kv_several_items_of_one_sequence) {
    if (!set_up(32)) return;
    int a = tn_kv_open(T.kv);
    append(a, 0, 37, true);
    append(a, 37, 20, true);
    double want = after(a, 57, 30, false);
    int b = tn_kv_open(T.kv), c = tn_kv_open(T.kv);
    tn_kv_item it[] = {{b, T.ids, 37, true},
                       {c, T.ids + 5, 50, true},
                       {b, T.ids + 37, 20, true},
                       {b, T.ids + 57, 30, false}};
    CHECK_OK(tn_forward_kv(T.run, T.m, T.kv, it, 4, e));
    CHECK(tn_kv_length(T.kv, b) == 87 && tn_kv_length(T.kv, c) == 50);
    int32_t row = 37 + 50 + 20 + 30 - 1, target = 0;
    double got;
    tn_lm q = {.n = 1, .rows = &row, .target = &target, .inv_temp = 1, .logp = &got};
    CHECK_OK(tn_lm_head(T.run, T.m, &q, e));
    CHECK_BYTES(&got, &want, sizeof got);
    CHECK(tn_kv_free_pages(T.kv) == 32 - 2 * (2 + 2) - 2);
    tear_down();
}

/* Begun like any part of another one, and gone on with in the same segment or a new one, a sequence is as one read alone; the other
 * keeps what it has. */
static void begun_anywhere(void) {
    static const int seg[] = {70, 20, 35}, tokens[] = {1, 31, 32, 33, 64, 69, 70, 71, 90, 100, 122, 125};
    int a = tn_kv_open(T.kv), begin = 0, before;
    for (int i = 0; i < 3; begin += seg[i++]) append(a, begin, seg[i], true);
    before = tn_kv_free_pages(T.kv);
    for (size_t i = 0; i < 2 * sizeof tokens / sizeof *tokens; i++) {
        int n = tokens[i / 2], lone = tn_kv_open(T.kv), at = 0, pages = 0;
        bool fresh = i % 2;
        for (int k = 0; k < 3 && at < n; at += seg[k++]) append(lone, at, n - at < seg[k] ? n - at : seg[k], true);
        pages = tn_kv_pages(T.kv, lone);
        double want = after(lone, 130, 40, fresh), got;
        int own = tn_kv_pages(T.kv, lone) - pages, s = tn_kv_open(T.kv);
        tn_kv_close(T.kv, lone);
        tn_kv_begin_like(T.kv, s, a, n);
        got = after(s, 130, 40, fresh);
        CHECK_BYTES(&got, &want, sizeof got);
        bool copied = tn_kv_common_pages(T.kv, a, s) < pages;
        CHECK(tn_kv_length(T.kv, s) == n + 40 && (fresh ? !copied : true));
        CHECK(tn_kv_free_pages(T.kv) == before - own - copied && tn_kv_common_pages(T.kv, a, s) == pages - copied);
        tn_kv_close(T.kv, s);
        CHECK(tn_kv_free_pages(T.kv) == before);
    }
    /* in one call, the other goes on in the page that it has lent */
    int lone = tn_kv_open(T.kv), b = tn_kv_open(T.kv), c = tn_kv_open(T.kv), pages;
    append(lone, 0, 40, true);
    append(lone, 80, 3, true);
    double want = after(lone, 90, 4, false), got;
    tn_kv_close(T.kv, lone);
    append(b, 0, 40, true);
    tn_kv_begin_like(T.kv, c, b, 40);
    pages = tn_kv_free_pages(T.kv);
    tn_kv_item it[] = {{c, T.ids + 80, 3, true}, {b, T.ids + 60, 5, false}};
    CHECK_OK(tn_forward_kv(T.run, T.m, T.kv, it, 2, e));
    CHECK(tn_kv_free_pages(T.kv) == pages - 2 && tn_kv_common_pages(T.kv, b, c) == 1); /* c's own, and b's copy */
    got = after(c, 90, 4, false);
    CHECK_BYTES(&got, &want, sizeof got);
    tear_down();
}
TEST(kv_sequence_begins_anywhere) {
    if (set_up(32)) begun_anywhere();
    if (set_up_with(tiny_backend("cpu", TN_BF16, NULL, 2), 32)) begun_anywhere();
}

/* A cache that was given more of everything has what it had. */
TEST(kv_grows) {
    if (!set_up(4)) return;
    int a = tn_kv_open(T.kv), b;
    append(a, 0, 40, true);
    append(a, 50, 40, true);
    tn_kv_item it = {a, T.ids, 40, true};
    CHECK_FAIL(tn_forward_kv(T.run, T.m, T.kv, &it, 1, e), TN_NOMEM, "0 free pages");
    CHECK_OK(tn_kv_grow(T.kv, 20, 9, 300, e));
    CHECK_OK(tn_kv_grow(T.kv, 3, 2, 10, e)); /* never less */
    CHECK(tn_kv_free_pages(T.kv) == 16);
    double got = after(a, 100, 30, true), want;
    for (int i = 0; i < 7; i++) CHECK(tn_kv_open(T.kv) >= 0);
    b = tn_kv_open(T.kv);
    append(b, 0, 40, true);
    append(b, 50, 40, true);
    want = after(b, 100, 30, true);
    CHECK_BYTES(&got, &want, sizeof got);
    CHECK(tn_kv_open(T.kv) < 0 && tn_kv_free_pages(T.kv) == 10);
    tear_down();
}

/* A sequence that begins like another one has its pages and a lone one's numbers, also when both are read in one call. */
static void alike(void) {
    int lone = tn_kv_open(T.kv);
    append(lone, 0, 64, true);
    double want = after(lone, 120, 40, false), got;
    tn_kv_close(T.kv, lone);
    int a = tn_kv_open(T.kv), b = tn_kv_open(T.kv), c = tn_kv_open(T.kv);
    tn_kv_begin_like(T.kv, b, a, 64);
    tn_kv_begin_like(T.kv, c, b, 32);
    tn_kv_item it[] = {{a, T.ids, 70, true}, {b, T.ids + 120, 40, true}, {c, T.ids + 32, 10, true}};
    CHECK_OK(tn_forward_kv(T.run, T.m, T.kv, it, 3, e));
    CHECK(tn_kv_length(T.kv, b) == 104 && tn_kv_length(T.kv, c) == 42 && tn_kv_free_pages(T.kv) == 32 - 3 - 2 - 1);
    int32_t row = 70 + 40 - 1, target = 0;
    CHECK_OK(tn_lm_head(T.run, T.m, &(tn_lm){.n = 1, .rows = &row, .target = &target, .inv_temp = 1, .logp = &got}, e));
    CHECK_BYTES(&got, &want, sizeof got);
    tn_kv_close(T.kv, a);
    int d = tn_kv_open(T.kv);
    tn_kv_begin_like(T.kv, d, b, 64); /* of an earlier call; b's own a was closed */
    got = after(d, 120, 40, true);
    CHECK_BYTES(&got, &want, sizeof got);
    /* what is not there, or not yet */
    int e1 = tn_kv_open(T.kv), f = tn_kv_fork(T.kv, c), free = tn_kv_free_pages(T.kv);
    append(f, 0, 40, true);
    static const struct { int like, tokens; } bad[] = {{0, 128}, {0, 105}, {-1, 32}, {0, -32}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tn_kv_begin_like(T.kv, e1, bad[i].like < 0 ? e1 : b, bad[i].tokens);
        tn_kv_item x = {e1, T.ids, 5, true};
        CHECK_FAIL(tn_forward_kv(T.run, T.m, T.kv, &x, 1, e), TN_BUG, "cannot begin");
    }
    tn_kv_begin_like(T.kv, e1, f, 64); /* of an item before it, only whole pages of the first segment: 42 and 40 tokens are in two */
    tn_kv_item late[] = {{f, T.ids, 30, false}, {e1, T.ids, 5, true}};
    CHECK_FAIL(tn_forward_kv(T.run, T.m, T.kv, late, 2, e), TN_BUG, "cannot begin");
    CHECK(tn_kv_length(T.kv, e1) == 0 && tn_kv_free_pages(T.kv) == free - 2);
    tear_down();
}
TEST(kv_sequence_begins_like_another) {
    if (set_up(32)) alike();
    if (set_up_with(tiny_backend("cpu", TN_BF16, NULL, 2), 32)) alike();
}

TEST(kv_refusals_change_nothing) {
    if (!set_up(4)) return;
    int a = tn_kv_open(T.kv), b = tn_kv_open(T.kv);
    append(a, 0, 33, true); /* 2 of 4 pages */
    tn_kv_item two[] = {{b, T.ids, 40, true}, {a, T.ids, 32, false}};
    CHECK_FAIL(tn_forward_kv(T.run, T.m, T.kv, two, 2, e), TN_NOMEM,
               "2 free pages and this step needs 3");
    CHECK(tn_kv_length(T.kv, a) == 33 && tn_kv_length(T.kv, b) == 0 && tn_kv_free_pages(T.kv) == 2);
    tn_kv_item bad = {b, (int32_t[]){1, T.m->desc.vocab}, 2, true};
    CHECK_FAIL(tn_forward_kv(T.run, T.m, T.kv, &bad, 1, e), TN_ARG, "vocabulary");
    tn_kv_item closed = {5, T.ids, 1, true}, empty = {b, T.ids, 0, true};
    CHECK_FAIL(tn_forward_kv(T.run, T.m, T.kv, &closed, 1, e), TN_BUG, "not open");
    CHECK_FAIL(tn_forward_kv(T.run, T.m, T.kv, &empty, 1, e), TN_ARG, "0 tokens");
    int f = tn_kv_fork(T.kv, a);
    tn_kv_item go_on = {f, T.ids, 1, false};
    CHECK_FAIL(tn_forward_kv(T.run, T.m, T.kv, &go_on, 1, e), TN_BUG, "new segment");
    tn_kv_item far = {a, T.ids, 168, false};
    CHECK_FAIL(tn_forward_kv(T.run, T.m, T.kv, &far, 1, e), TN_ARG, "beyond the 200 positions");
    CHECK(tn_kv_length(T.kv, a) == 33 && tn_kv_free_pages(T.kv) == 2);
    for (int i = 0; i < 3; i++) CHECK(tn_kv_open(T.kv) >= 0);
    CHECK(tn_kv_open(T.kv) == -1 && tn_kv_fork(T.kv, a) == -1); /* six slots */
    tear_down();
}
