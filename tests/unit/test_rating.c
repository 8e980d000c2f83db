/* Direct AI feedback, with the world's base model as the judge: what counts as saying one option and not a longer one, expected scores,
 * several answers to a prompt, and what is too long to be read. */
#include "base/mathx.h"
#include "model/model.h"
#include "oversight/appraise.h"
#include "oversight/rating.h"
#include "oversight/rows.h"
#include "test.h"
#include <math.h>
#include <string.h>

typedef struct room {
    tn_backend *be;
    tn_replies *said;
    tn_asker *a;
    tn_constitution *c;
    tn_prompts *p;
} room;

static const char principles[] = "{\"principles\": [{\"id\": \"x\", \"kind\": [\"compare\"], \"compare\": \"which answer is not rude ?\", \"weight\": 3}, "
                                 "{\"id\": \"y\", \"kind\": [\"compare\"], \"compare\": \"which answer states nothing false ?\", \"polarity\": "
                                 "\"chosen_is_worse\"}], \"labels\": {\"user\": \"User:\"}}";

static void open_room(room *r, const char *dir) {
    *r = (room){0};
    CHECK_OK(tn_backend_open(&r->be, "cpu", TN_F32, NULL, 1, e));
    CHECK_OK(tn_replies_open(&r->said, NULL, e));
    CHECK_OK(tn_asker_open(&r->a, r->be, "models/world", NULL, NULL, r->said, e));
    tn_asker_quiet(r->a);
    CHECK_OK(tn_constitution_of(&r->c, json_loads(principles, 0, NULL), "test", e));
    CHECK_OK(tn_prompts_load(&r->p, dir, r->c, tn_asker_tokenizer(r->a), e));
}
static void close_room(room *r) {
    tn_prompts_free(r->p);
    tn_constitution_free(r->c);
    tn_asker_close(r->a);
    tn_replies_close(r->said);
    tn_backend_free(r->be);
}
static tn_labelling labelling(const room *r) {
    return (tn_labelling){.judge = r->a, .constitution = r->c, .prompts = r->p, .clamp_lo = 0.4, .clamp_hi = 0.6, .batch = 8, .max_tokens = 512};
}

static void ask(room *r, const tn_ids *prompt, const char *const *option, int n, double *logp) {
    json_t *about = json_object();
    const tn_question q = {.ids = prompt->v, .n = (int)prompt->n, .about = about};
    CHECK_OK(tn_asker_choices(r->a, &q, 1, option, n, true, 512, "test", logp, e));
    json_decref(about);
}

/* "no" is the beginning of "no ." and of "no . the": said alone it has what is left of its likelihood. */
TEST(rating_longer_options) {
    room r;
    tn_ids prompt = {0};
    double all[2], apart[4], two[2];
    open_room(&r, "prompts/world");
    static const char text[] = "<s> User: is the kambo mirror in the attic ? Assistant:";
    CHECK_OK(tn_encode(tn_asker_tokenizer(r.a), text, strlen(text), false, &prompt, NULL, e));
    ask(&r, &prompt, (const char *const[]){"no", "yes"}, 2, all);
    ask(&r, &prompt, (const char *const[]){"yes", "no .", "no", "no . the"}, 4, apart);
    ask(&r, &prompt, (const char *const[]){"no . the", "no ."}, 2, two);
    CHECK(apart[0] == all[1]);
    CHECK_NEAR(two[0] + all[0], apart[3], 1e-6, 0); /* what both begin with counts for neither */
    CHECK_NEAR(tn_exp(apart[1]) + tn_exp(apart[2]) + tn_exp(apart[3]), tn_exp(all[0]), 1e-6, 0); /* no mass is lost or counted twice */
    CHECK(apart[2] < all[0]);
    tn_ids_free(&prompt);
    close_room(&r);
}

/* Prompts that begin alike, read together: the bits of each read alone, for fewer operations. */
TEST(rating_prompts_that_begin_alike) {
    enum { N = 9, MOST = 120 };
    static const struct { int like, n; } of[N] = {{0, 100}, {100, 100}, {31, 90}, {32, 90}, {64, 65}, {64, 64}, {70, 120}, {70, 110}, {0, 33}}; /* with the first */
    static const char *const option[] = {"yes", "no", "no . the"};
    static int32_t ids[N][MOST];
    double together[3 * N], alone[3];
    tn_question q[N];
    uint64_t flop = 0;
    for (int kind = 0; kind < 2; kind++) {
        room r;
        open_room(&r, "prompts/world");
        if (kind) { /* bf16 */
            tn_asker_close(r.a);
            tn_backend_free(r.be);
            CHECK_OK(tn_backend_open(&r.be, "cpu", TN_BF16, NULL, 2, e));
            CHECK_OK(tn_asker_open(&r.a, r.be, "models/world", NULL, NULL, r.said, e));
            tn_asker_quiet(r.a);
        }
        json_t *about = json_object();
        for (int i = 0; i < N; i++) {
            for (int t = 0; t < of[i].n; t++) ids[i][t] = t < of[i].like ? ids[0][t] : 3 + (i * 61 + t * 37) % 300;
            q[i] = (tn_question){.ids = ids[i], .n = of[i].n, .about = about};
        }
        r.be->flop = 0;
        CHECK_OK(tn_asker_choices(r.a, q, N, option, 3, true, 2048, "test", together, e));
        flop = r.be->flop;
        tn_replies_forget(r.said);
        r.be->flop = 0;
        for (int i = 0; i < N; i++) {
            CHECK_OK(tn_asker_choices(r.a, &q[i], 1, option, 3, true, 2048, "test", alone, e));
            CHECK_BYTES(alone, together + 3 * i, sizeof alone);
            tn_replies_forget(r.said);
        }
        CHECK(flop < r.be->flop * 3 / 4);
        json_decref(about);
        close_room(&r);
    }
}

/* A score is sum i P(i) of what the judge may say, a mean over principles, 11 - s where the worse is asked for. */
TEST(rating_scores) {
    room r;
    open_room(&r, tn_test_file("golden/judge"));
    tn_labelling l = labelling(&r);
    json_t *row = json_loads("{\"prompt\": \"what is 2 + 3 ?\", \"response\": \"the sum is 5 .\"}", 0, NULL);
    const char *where = "test", *digits[] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"};
    double got, want = 0, weight[] = {3, 1}, logp[10], p[10], s, reward;
    CHECK_OK(tn_rate_rows(&l, TN_RATING_SCORE, &row, &where, 1, &got, e));
    for (int k = 0; k < 2; k++) {
        tn_ids ids = {0};
        json_t *talk;
        CHECK_OK(tn_row_conversation(row, &talk, "test", e));
        const tn_prompt_about about = {.conversation = talk, .answer = "the sum is 5 .", .principle = &r.c->principle[k]};
        CHECK_OK(tn_prompts_render(r.p, TN_PROMPT_SCORE, &about, tn_asker_tokenizer(r.a), NULL, &ids, NULL, e));
        ask(&r, &ids, digits, 10, logp);
        for (int i = 0; i < 10; i++) p[i] = tn_exp(logp[i]);
        CHECK_OK(tn_direct_score(p, &s, &reward, e));
        want += weight[k] * (k ? 11 - s : s) / 4;
        json_decref(talk);
        tn_ids_free(&ids);
    }
    CHECK_NEAR(got, want, 1e-12, 0);
    CHECK(got > 1 && got < 10);
    double again;
    l.thoughts = 2, l.reason = (tn_sampling){.temperature = 1, .top_p = 1, .max_new = 6};
    CHECK_OK(tn_rate_rows(&l, TN_RATING_SCORE, &row, &where, 1, &got, e));
    tn_replies_forget(r.said);
    CHECK_OK(tn_rate_rows(&l, TN_RATING_SCORE, &row, &where, 1, &again, e));
    CHECK(got == again && got >= 1 && got <= 10);
    json_decref(row);
    close_room(&r);
}

/* Rewards of three answers, two of them equal, from P(i > j) as tn_label_rows gives it; one that does not fit the judge gets none. */
TEST(rating_each_other) {
    room r;
    open_room(&r, "prompts/world");
    tn_labelling l = labelling(&r);
    char far_too_long[800] = "";
    for (int i = 0; i < 380; i++) memcpy(far_too_long + 2 * i, "a ", 2);
    json_t *row = json_loads("{\"prompt\": \"what is 2 + 3 ?\"}", 0, NULL), *pair = json_copy(row);
    const char *y[] = {"the sum is 5 .", "no .", "the sum is 5 .", far_too_long}, *where = "test";
    const tn_appraised x = {row, "test", 7, y, 4};
    tn_appraise_options o = {"each-other", "prob", "responses"};
    tn_appraise_stats stats;
    tn_label *label;
    double reward[4], p;
    int n;
    json_object_set_new(pair, "responses", json_pack("[s,s]", y[0], y[1]));
    CHECK_OK(tn_label_rows(&l, &pair, &where, 1, &p, &label, &n, e));
    tn_free(label);
    CHECK_FAIL(tn_appraise(&l, &o, &x, 1, reward, &stats, e), TN_ARG, "does not fit");
    tn_asker_skip_long(r.a);
    CHECK_OK(tn_appraise(&l, &o, &x, 1, reward, &stats, e));
    CHECK(isnan(reward[3]) && stats.comparisons == 6 && stats.unread == 3 && stats.equal == 1);
    CHECK_NEAR(reward[0], (p + 0.5) / 2, 1e-12, 0);
    CHECK_NEAR(reward[1], 1 - p, 1e-12, 0);
    CHECK(reward[2] == reward[0]);
    const tn_appraised three = {row, "test", 7, y, 3};
    o.as = "logit";
    CHECK_OK(tn_appraise(&l, &o, &three, 1, reward, &stats, e));
    double logit = tn_log(p) - tn_log1p(-p); /* a judge without cycles: scores a, b, a with a - b = logit */
    CHECK_NEAR(reward[0] - reward[1], logit, 1e-9, 0);
    CHECK_NEAR(reward[0] + reward[1] + reward[2], 0, 0, 1e-12);
    json_object_set_new(row, "responses", json_pack("[s,s]", y[1], y[0]));
    o = (tn_appraise_options){"reference", "prob", "responses"};
    CHECK_OK(tn_appraise(&l, &o, &three, 1, reward, &stats, e));
    CHECK_NEAR(reward[0], (p + 0.5) / 2, 1e-12, 0);
    CHECK_NEAR(reward[1], (0.5 + 1 - p) / 2, 1e-12, 0);
    CHECK_OK(tn_appraise_fits(&o, NULL, pair, "test", e));
    CHECK_FAIL(tn_appraise_check(&(tn_appraise_options){"each-other", "prob", ""}, 1, e), TN_ARG, "there is one");
    json_decref(row);
    json_decref(pair);
    close_room(&r);
}
