#include "oversight/endpoint_reply.h"
#include "base/mathx.h"
#include <ctype.h>
#include <math.h>
#include <string.h>

/* ---- replies ---- */

static tn_status malformed(const char *what, tn_err *e) {
    return tn_fail(e, TN_FORMAT, "a reply that is not one of an OpenAI-compatible service: %s", what);
}

/* One [token, log-prob] to a list; a log-prob is at most 0 but for rounding, and minus infinity is written in many ways. */
static tn_status put(json_t *list, const char *token, size_t n, const json_t *logp, tn_err *e) {
    double l = json_number_value(logp);
    if (!token || !json_is_number(logp) || l > 1e-3) return malformed("an entry of its log-probs is not a token and a number of at most 0", e);
    if (json_array_append_new(list, json_pack("[s#,f]", token, (int)n, l < 0 ? l : 0.0)) < 0)
        return tn_fail(e, TN_NOMEM, "out of memory");
    return TN_OK;
}

/* chat/completions: [{"token", "logprob", "top_logprobs": [{"token", "logprob"}, ...]}, ...] */
static tn_status read_content(const json_t *content, json_t *said, json_t *top, tn_err *e) {
    json_t *place, *x;
    size_t i, k;
    json_array_foreach((json_t *)content, i, place) {
        json_t *token = json_object_get(place, "token"), *list = json_array();
        if (json_array_append_new(top, list) < 0) return tn_fail(e, TN_NOMEM, "out of memory");
        if (!json_is_string(token) || json_array_append(said, token) < 0) return malformed("a place of its log-probs has no \"token\"", e);
        json_array_foreach(json_object_get(place, "top_logprobs"), k, x) {
            const json_t *t = json_object_get(x, "token");
            TN_TRY(put(list, json_string_value(t), json_string_length(t), json_object_get(x, "logprob"), e));
        }
        if (json_array_size(list) == 0) TN_TRY(put(list, json_string_value(token), json_string_length(token), json_object_get(place, "logprob"), e));
    }
    return TN_OK;
}

/* completions: {"tokens": [...], "token_logprobs": [...], "top_logprobs": [{token: log-prob, ...}, ...]} */
static tn_status read_lists(const json_t *o, json_t *said, json_t *top, tn_err *e) {
    const json_t *tokens = json_object_get(o, "tokens"), *logps = json_object_get(o, "token_logprobs"), *tops = json_object_get(o, "top_logprobs");
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        json_t *token = json_array_get(tokens, i), *list = json_array(), *l;
        const char *t;
        if (json_array_append_new(top, list) < 0) return tn_fail(e, TN_NOMEM, "out of memory");
        if (!json_is_string(token) || json_array_append(said, token) < 0) return malformed("one of its \"tokens\" is not a text", e);
        json_object_foreach(json_array_get(tops, i), t, l) TN_TRY(put(list, t, strlen(t), l, e));
        if (json_array_size(list) == 0) TN_TRY(put(list, json_string_value(token), json_string_length(token), json_array_get(logps, i), e));
    }
    return TN_OK;
}

static tn_status read_log_probs(const json_t *choice, json_t *reply, tn_err *e) {
    const json_t *l = json_object_get(choice, "logprobs"), *content = json_object_get(l, "content");
    json_t *said = json_array(), *top = json_array();
    int bad = json_object_set_new(reply, "said", said);
    bad |= json_object_set_new(reply, "top", top);
    if (bad) return tn_fail(e, TN_NOMEM, "out of memory");
    TN_TRY(json_is_array(content) ? read_content(content, said, top, e) : read_lists(l, said, top, e));
    if (json_array_size(top) == 0)
        return tn_fail(e, TN_UNSUPPORTED, "the reply has no log-probs, which say how probable each option is; --judge-votes N counts the verdicts "
                       "of N sampled replies instead");
    return TN_OK;
}

static tn_status read_choice(const json_t *choice, bool log_probs, json_t *reply, tn_err *e) {
    json_t *message = json_object_get(choice, "message"), *text = json_object_get(message ? message : choice, "text");
    const char *why = json_string_value(json_object_get(choice, "finish_reason"));
    if (message) text = json_object_get(message, "content");
    bool none = message && (!text || json_is_null(text)); /* it refused, or called a tool */
    if (!none && !json_is_string(text)) return malformed("it has neither \"message\" with \"content\" nor \"text\"", e);
    if (json_object_set_new(reply, "text", none ? json_string("") : json_incref(text)) < 0 ||
        json_object_set_new(reply, "ended", json_boolean(why && !strcmp(why, "stop"))) < 0)
        return tn_fail(e, TN_NOMEM, "out of memory");
    return log_probs ? read_log_probs(choice, reply, e) : TN_OK;
}

tn_status tn_endpoint_reply(const char *body, size_t n, bool log_probs, json_t **reply, tn_err *e) {
    json_error_t why;
    json_t *j = json_loadb(body, n, JSON_ALLOW_NUL, &why), *all = json_object();
    const json_t *choice = json_array_get(json_object_get(j, "choices"), 0);
    tn_status st = all ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
    *reply = NULL;
    if (st == TN_OK && !j) st = tn_fail(e, TN_FORMAT, "a reply of %zu bytes that is not JSON: %s (byte %d)", n, why.text, why.position);
    if (st == TN_OK && !json_is_object(choice)) {
        const char *said = json_string_value(json_object_get(json_object_get(j, "error"), "message"));
        st = malformed(said ? said : "it has no \"choices\"", e);
    }
    if (st == TN_OK) st = read_choice(choice, log_probs, all, e);
    json_decref(j);
    if (st == TN_OK) st = tn_json_check("a reply", e);
    if (st == TN_OK) *reply = all;
    else json_decref(all);
    return st;
}

/* ---- options ---- */

static bool blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static const char *bare(const char *s, size_t *n) {
    while (blank(*s)) s++;
    *n = strlen(s);
    while (*n > 0 && blank(s[*n - 1])) --*n;
    return s;
}

/* Does an option of n bytes end where `next` follows it? */
static bool ends(const char *option, size_t n, char next) {
    return !isalnum((unsigned char)option[n - 1]) || (!isalnum((unsigned char)next) && (unsigned char)next < 0x80);
}

tn_status tn_endpoint_check_options(const char *const *option, int n, tn_err *e) {
    size_t ni, nj;
    if (n < 2 || n > TN_ENDPOINT_OPTIONS) return tn_fail(e, TN_ARG, "%d options; an endpoint can choose between 2 to %d", n, TN_ENDPOINT_OPTIONS);
    for (int i = 0; i < n; i++) {
        const char *a = bare(option[i], &ni);
        if (ni == 0) return tn_fail(e, TN_ARG, "option %d is blank", i + 1);
        for (int j = 0; j < n; j++) {
            const char *b = bare(option[j], &nj);
            if (i != j && ni <= nj && !strncmp(a, b, ni) && (ni == nj || ends(a, ni, b[ni])))
                return tn_fail(e, TN_ARG, "the options \"%s\" and \"%s\" cannot be told apart: one is the beginning of the other", option[i], option[j]);
        }
    }
    return TN_OK;
}

/* Do the texts a and b, one behind the other and without leading blanks, agree with an option? *whole: they are it. */
static bool agrees(const char *a, const char *b, const char *option, bool *whole) {
    size_t n;
    const char *o = bare(option, &n), *p = a;
    *whole = false;
    for (size_t k = 0;; p++) {
        if (!*p && b) p = b, b = NULL;
        if (!*p) {
            *whole = k == n;
            return true;
        }
        if (k == 0 && blank(*p)) continue;
        if (k == n) return ends(o, n, *p);
        if (*p != o[k++]) return false;
    }
}

/* How many options a + b agrees with; *one: the last of them, or the first that it is to the letter. */
static int open_to(const char *a, const char *b, const char *const *option, int n, int *one) {
    int many = 0, exact = -1;
    bool whole;
    *one = -1;
    for (int k = 0; k < n; k++) {
        if (!agrees(a, b, option[k], &whole)) continue;
        many++, *one = k;
        if (whole && exact < 0) exact = k;
    }
    if (exact >= 0) *one = exact;
    return many;
}

/* A place of the list: what it gives to options, what it leaves open, and the most that an unlisted token can have. */
static void look(const json_t *list, const char *before, const char *const *option, int n, double *give, double *open, double *most) {
    double sum = 0, least = 1;
    json_t *x;
    size_t i;
    int one;
    *open = 0;
    json_array_foreach((json_t *)list, i, x) {
        const char *t = json_string_value(json_array_get(x, 0));
        double p = tn_exp(json_number_value(json_array_get(x, 1)));
        int many = t ? open_to(before, t, option, n, &one) : 0;
        if (many == 1) give[one] += p;
        if (many > 1) *open += p;
        sum += p;
        least = p < least ? p : least;
    }
    double left = 1 - sum > 0x1p-24 ? 1 - sum : 0x1p-24;
    *most = left < least ? left : least;
}

bool tn_endpoint_options(const json_t *reply, const char *const *option, int n, double *logp) {
    const json_t *said = json_object_get(reply, "said"), *top = json_object_get(reply, "top");
    double p[TN_ENDPOINT_OPTIONS] = {0}, weight = 1, open = 0, most = 0, all = 0;
    char text[512] = ""; /* so far; as long as several options agree with it, it is no longer than they are */
    size_t places = json_array_size(top), i = 0, len = 0;
    int one, many = 2;
    for (; i < places && many > 1; i++) {
        double give[TN_ENDPOINT_OPTIONS] = {0};
        const char *token = json_string_value(json_array_get(said, i));
        look(json_array_get(top, i), text, option, n, give, &open, &most);
        for (int k = 0; k < n; k++) p[k] += weight * give[k];
        most *= weight;
        many = token && len + strlen(token) < sizeof text ? open_to(text, token, option, n, &one) : 0;
        if (many > 1) len += (size_t)snprintf(text + len, sizeof text - len, "%s", token);
        if (many > 1) weight *= open;
    }
    bool whole = false;
    if (many > 1 && json_is_true(json_object_get(reply, "ended"))) { /* it ended where several were open: "1", and not "10" */
        open_to(text, NULL, option, n, &one);
        agrees(text, NULL, option[one], &whole);
        if (whole) p[one] += weight;
    }
    for (int k = 0; k < n; k++) all += p[k];
    for (int k = 0; k < n; k++) logp[k] = all > 0 ? tn_log(p[k] > 0 ? p[k] : most > 0 ? most : 0x1p-1000) : NAN;
    return all > 0;
}

int tn_endpoint_verdict(const char *text, const char *const *option, int n) {
    int found = -1, many = 0;
    size_t len;
    while (blank(*text) || (*text && strchr("*_`\"'", *text))) text++;
    for (int k = 0; k < n; k++) {
        const char *o = bare(option[k], &len);
        if (!strncmp(text, o, len) && ends(o, len, text[len])) return k;
    }
    for (int k = 0; k < n; k++) {
        const char *o = bare(option[k], &len);
        bool in = false;
        for (const char *s = text; *s && !in; s++) in = !strncmp(s, o, len) && ends(o, len, s[len]) && (s == text || !isalnum((unsigned char)s[-1]));
        if (in) many++, found = k;
    }
    return many == 1 ? found : -1;
}
