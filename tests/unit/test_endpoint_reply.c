/* Replies of OpenAI-compatible services: both forms, what is refused, options in log-probs, verdicts in texts, and mutations. */
#include "base/mathx.h"
#include "oversight/endpoint_reply.h"
#include "test.h"
#include "fuzz/mutate.h"
#include <math.h>

static const char *const AB[] = {"(A)", "(B)"}, *const scores[] = {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"};

static json_t *read_reply(const char *body, bool log_probs) {
    json_t *r = NULL;
    CHECK_OK(tn_endpoint_reply(body, strlen(body), log_probs, &r, e));
    return r;
}
/* Of lists of places, each "said|token=p token=p ...", _ for a blank. */
static bool options(const char *const *place, const char *const *option, int n, bool ended, double *p) {
    json_t *said = json_array(), *top = json_array();
    for (; *place; place++) {
        char text[200], *next;
        snprintf(text, sizeof text, "%s", *place);
        for (char *s = text; *s; s++) *s = *s == '_' ? ' ' : *s == ' ' ? '\n' : *s;
        char *bar = strchr(text, '|');
        json_t *list = json_array();
        *bar = 0;
        json_array_append_new(said, json_string(text));
        for (char *s = bar + 1; *s; s = next) {
            char *eq = strchr(s, '='), *end;
            *eq = 0;
            json_array_append_new(list, json_pack("[s,f]", s, tn_log(strtod(eq + 1, &end))));
            next = *end ? end + 1 : end;
        }
        json_array_append_new(top, list);
    }
    json_t *r = json_pack("{s:s,s:b,s:o,s:o}", "text", "", "ended", ended, "said", said, "top", top);
    double l[TN_ENDPOINT_OPTIONS];
    bool any = tn_endpoint_options(r, option, n, l);
    for (int k = 0; k < n; k++) p[k] = tn_exp(l[k]);
    json_decref(r);
    return any;
}
#define PLACES(...) (const char *const[]){__VA_ARGS__, NULL}

static const char chat[] = "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"(A)\"},\"finish_reason\":\"stop\",\"logprobs\":{\"content\":["
    "{\"token\":\"(\",\"logprob\":-0.01,\"top_logprobs\":[{\"token\":\"(\",\"logprob\":-0.01},{\"token\":\"I\",\"logprob\":-5}]},"
    "{\"token\":\"A\",\"logprob\":-0.2,\"top_logprobs\":[{\"token\":\"A\",\"logprob\":-0.2},{\"token\":\"B\",\"logprob\":-1.7}]}]}}]}";
static const char text[] = "{\"choices\":[{\"text\":\" (B)\",\"finish_reason\":\"length\",\"logprobs\":{\"tokens\":[\" (B\",\")\"],\"token_logprobs\":[-0.3,0.0],"
    "\"top_logprobs\":[{\" (B\":-0.3,\"(A\":-1.5,\" The\":-3},{\")\":0.0}]}}]}";

TEST(endpoint_replies) {
    double l[2];
    json_t *r = read_reply(chat, true);
    CHECK(!strcmp(json_string_value(json_object_get(r, "text")), "(A)") && json_is_true(json_object_get(r, "ended")));
    CHECK(tn_endpoint_options(r, AB, 2, l));
    CHECK_NEAR(l[0] - l[1], 1.5, 1e-12, 0);
    CHECK_NEAR(l[0], -0.01 - 0.2, 1e-12, 0);
    json_decref(r);
    r = read_reply(chat, false);
    CHECK(!json_object_get(r, "top"));
    json_decref(r);
    r = read_reply(text, true);
    CHECK(!json_is_true(json_object_get(r, "ended")) && tn_endpoint_options(r, AB, 2, l));
    CHECK_NEAR(l[0] - l[1], -1.2, 1e-12, 0);
    json_decref(r);
    /* no list of the most probable ones: the token itself; no content: it refused */
    r = read_reply("{\"choices\":[{\"text\":\"x\",\"logprobs\":{\"tokens\":[\"(A\"],\"token_logprobs\":[-0.5],\"top_logprobs\":null}}]}", true);
    CHECK(tn_endpoint_options(r, AB, 2, l) && fabs(l[0] + 0.5) < 1e-12);
    json_decref(r);
    r = read_reply("{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\"},\"finish_reason\":\"stop\"}]}", false);
    CHECK(!strcmp(json_string_value(json_object_get(r, "text")), ""));
    json_decref(r);
    static const struct { const char *body; tn_status want; const char *says; } bad[] = {
        {"", TN_FORMAT, "not JSON"}, {"{\"choices\":[{\"text\":", TN_FORMAT, "a reply of 20 bytes that is not JSON"}, {"[]", TN_FORMAT, "no \"choices\""},
        {"{\"choices\":[]}", TN_FORMAT, "no \"choices\""}, {"{\"choices\":[1]}", TN_FORMAT, "no \"choices\""},
        {"{\"error\":{\"message\":\"busy\"}}", TN_FORMAT, "busy"}, {"{\"choices\":[{}]}", TN_FORMAT, "neither \"message\""},
        {"{\"choices\":[{\"text\":3}]}", TN_FORMAT, "neither \"message\""}, {"{\"choices\":[{\"text\":\"a\"}]}", TN_UNSUPPORTED, "no log-probs"},
        {"{\"choices\":[{\"text\":\"a\",\"logprobs\":{\"content\":[]}}]}", TN_UNSUPPORTED, "no log-probs"},
        {"{\"choices\":[{\"text\":\"a\",\"logprobs\":{\"content\":[{}]}}]}", TN_FORMAT, "no \"token\""},
        {"{\"choices\":[{\"text\":\"a\",\"logprobs\":{\"content\":[{\"token\":\"a\",\"logprob\":0.1}]}}]}", TN_FORMAT, "at most 0"},
        {"{\"choices\":[{\"text\":\"a\",\"logprobs\":{\"tokens\":[1]}}]}", TN_FORMAT, "\"tokens\" is not a text"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        r = NULL;
        CHECK_FAIL(tn_endpoint_reply(bad[i].body, strlen(bad[i].body), true, &r, e), bad[i].want, bad[i].says);
        CHECK(r == NULL);
    }
}

TEST(endpoint_options) {
    double p[10];
    /* several tokens are one option; what says neither counts for neither */
    CHECK(options(PLACES("(A|(A=0.3 _(A=0.2 A=0.2 (B=0.1 As=0.1"), AB, 2, true, p));
    CHECK_NEAR(p[0], 0.5, 1e-12, 0);
    CHECK_NEAR(p[1], 0.1, 1e-12, 0);
    /* what leaves both open is shared out as behind the one that was said */
    CHECK(options(PLACES("_|_=0.5 (A=0.1 (=0.2 X=0.2", "(|(=0.9 (B=0.1", "B|A)=0.25 B=0.75"), AB, 2, true, p));
    CHECK_NEAR(p[0], 0.1 + 0.7 * 0.9 * 0.25, 1e-12, 0);
    CHECK_NEAR(p[1], 0.7 * (0.1 + 0.9 * 0.75), 1e-12, 0);
    /* not listed: at most the least that is, and at most what is left */
    CHECK(options(PLACES("(A|(A=0.9 The=0.05"), AB, 2, true, p));
    CHECK_NEAR(p[1], 0.05, 1e-12, 0);
    CHECK(options(PLACES("(A|(A=0.6 The=0.39"), AB, 2, true, p));
    CHECK_NEAR(p[1], 0.01, 1e-9, 0);
    CHECK(options(PLACES("(A|(A=1"), AB, 2, true, p));
    CHECK_NEAR(p[1], 0x1p-24, 1e-9, 0);
    CHECK(!options(PLACES("I|I=0.9 As=0.1"), AB, 2, true, p) && isnan(p[0]) && isnan(p[1]));
    CHECK(!options(PLACES("(|(=1"), AB, 2, false, p)); /* cut short before it said which */
    /* blanks and letters around options: "(A)" of " (A)", and A of neither "As" nor "A1" */
    CHECK(options(PLACES("A|A=0.3 A.=0.2 As=0.4 B=0.1"), (const char *const[]){" A", "B "}, 2, true, p));
    CHECK_NEAR(p[0], 0.5, 1e-12, 0);
    /* scores: "1" is not credited with the mass of "10", however that is cut into tokens */
    CHECK(options(PLACES("1|1=0.6 10=0.1 7=0.3", "0|0=0.75 .=0.2 _=0.05"), scores, 10, true, p));
    CHECK_NEAR(p[0], 0.6 * 0.25, 1e-9, 0);
    CHECK_NEAR(p[9], 0.1 + 0.6 * 0.75, 1e-9, 0);
    CHECK_NEAR(p[6], 0.3, 1e-9, 0);
    CHECK(options(PLACES("1|1=0.6 10=0.1 7=0.3"), scores, 10, true, p)); /* it said 1 and ended */
    CHECK_NEAR(p[0], 0.6, 1e-9, 0);
    CHECK_NEAR(p[9], 0.1, 1e-9, 0);
}

TEST(endpoint_options_that_can_be_told_apart) {
    CHECK_OK(tn_endpoint_check_options(AB, 2, e));
    CHECK_OK(tn_endpoint_check_options(scores, 10, e));
    CHECK_FAIL(tn_endpoint_check_options((const char *const[]){"(A", " (A)"}, 2, e), TN_ARG, "cannot be told apart");
    CHECK_FAIL(tn_endpoint_check_options((const char *const[]){"yes", "no", "yes "}, 3, e), TN_ARG, "cannot be told apart");
    CHECK_FAIL(tn_endpoint_check_options((const char *const[]){"A", " "}, 2, e), TN_ARG, "option 2 is blank");
    CHECK_FAIL(tn_endpoint_check_options(AB, 1, e), TN_ARG, "2 to 16");
}

TEST(endpoint_verdicts) {
    static const struct { const char *text; int want; } v[] = {{"(A)", 0}, {" \n(B).", 1}, {"**(A)** is better than (B)", 0}, {"Answer: (B)", 1},
        {"both (A) and (B)", -1}, {"", -1}, {"neither", -1}, {"I choose (A), as (A) is kind", 0}, {"\"(B)\"", 1}, {"A", -1}};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        CHECK_MSG(tn_endpoint_verdict(v[i].text, AB, 2) == v[i].want, "\"%s\" is %d", v[i].text, tn_endpoint_verdict(v[i].text, AB, 2));
    CHECK(tn_endpoint_verdict("10", scores, 10) == 9 && tn_endpoint_verdict("1", scores, 10) == 0 && tn_endpoint_verdict("rating: 10.", scores, 10) == 9);
}

/* Whatever comes: a reply that is read gives numbers or NaN for both, and none is above certainty by more than rounding. */
TEST(endpoint_reply_mutated) {
    tn_str m = TN_STR_INIT;
    const char *const good[] = {chat, text};
    long read = 0, chose = 0;
    for (uint64_t i = 0; i < tn_fuzz_rounds(20000); i++) {
        json_t *r = NULL;
        double l[10];
        tn_err e = {0};
        tn_mutate(&m, good[i % 2], strlen(good[i % 2]), good[(i + 1) % 2], strlen(good[(i + 1) % 2]), i);
        tn_status st = tn_endpoint_reply(m.s, m.len, i % 3 != 0, &r, &e);
        CHECK_MSG((st == TN_OK) == (r != NULL) && (st == TN_OK || *e.msg), "round %llu", (unsigned long long)i);
        if (!r) continue;
        read++;
        bool any = tn_endpoint_options(r, i % 5 ? AB : scores, i % 5 ? 2 : 10, l);
        for (int k = 0; k < (i % 5 ? 2 : 10); k++) CHECK_MSG(any ? isfinite(l[k]) : isnan(l[k]), "round %llu: %g", (unsigned long long)i, l[k]);
        chose += any;
        tn_endpoint_verdict(json_string_value(json_object_get(r, "text")), AB, 2);
        json_decref(r);
    }
    CHECK(read > 100 && chose > 50);
    tn_str_free(&m);
}
