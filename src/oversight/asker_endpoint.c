/* An asker over HTTP: chat/completions where a prompt is a user's turn, completions where it is a text to go on with. */
#include "base/mathx.h"
#include "oversight/asker_int.h"
#include "oversight/endpoint_reply.h"
#include <math.h>
#include <string.h>

struct service {
    tn_endpoint s;
    char *url, *model, *key;
    tn_http *http[2]; /* completions, chat/completions; opened when first needed */
    /* of a call */
    tn_asker *a;
    const tn_question *q;
    const tn_reply_key *keys;
    const int *which; /* request i is question which[i] */
    const tn_sampling *how;
    bool log_probs;
    const char *lead; /* put behind a text to go on with: what its options begin with */
    size_t n_lead;
};

/* ---- opening ---- */

bool tn_endpoint_is(const char *name) { return !strncmp(name, "http://", 7) || !strncmp(name, "https://", 8); }

static tn_status check(const tn_endpoint *s, tn_err *e) {
    if (!tn_endpoint_is(s->url) || strlen(s->url) < 9) return tn_fail(e, TN_ARG, "\"%s\" is not the http:// or https:// URL of an endpoint", s->url);
    const char *host = strstr(s->url, "://") + 3, *end = host + strcspn(host, "/"), *at = memchr(host, '@', (size_t)(end - host));
    if (at) /* the message must not repeat it, nor may records */
        return tn_fail(e, TN_ARG, "the endpoint at %s has a user or password in its URL; give a key with --judge-key-env NAME, which names the "
                       "environment variable that holds it", at + 1);
    if (strpbrk(s->url, "?#")) return tn_fail(e, TN_ARG, "%s: the URL of an endpoint ends with its path, as in https://host/v1", s->url);
    for (const char *p = s->url; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 127) return tn_fail(e, TN_ARG, "the URL of an endpoint holds a blank or control character");
    for (const char *p = s->http.key; p && *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 127) return tn_fail(e, TN_ARG, "%s: its key holds a blank or control character", s->url);
    if (!s->model || !*s->model)
        return tn_fail(e, TN_ARG, "%s: which model? --judge-model NAME says so (GET %s/models lists what there is)", s->url, s->url);
    return TN_OK;
}

tn_status tn_asker_open_endpoint(tn_asker **out, const tn_endpoint *s, tn_replies *kept, tn_err *e) {
    *out = NULL;
    TN_TRY(check(s, e));
    tn_asker *a = tn_calloc(1, sizeof *a);
    struct service *at = tn_calloc(1, sizeof *at);
    if (!a || !at) {
        tn_free(a), tn_free(at);
        return tn_fail(e, TN_NOMEM, "out of memory");
    }
    a->at = at, a->kept = kept, at->a = a, at->s = *s;
    at->url = tn_strdup(s->url), at->model = tn_strdup(s->model);
    if (s->http.key) at->key = tn_strdup(s->http.key);
    at->s.http.key = at->key;
    if (!at->url || !at->model || (s->http.key && !at->key)) {
        tn_asker_close(a);
        return tn_fail(e, TN_NOMEM, "out of memory");
    }
    size_t n = strlen(at->url);
    while (n > 8 && at->url[n - 1] == '/') at->url[--n] = 0;
    a->who = tn_reply_key_add(tn_reply_key_add((tn_reply_key){0}, at->url, n), at->model, strlen(at->model));
    *out = a;
    return TN_OK;
}

void tn_service_close(struct service *at) {
    if (!at) return;
    tn_http_close(at->http[0]);
    tn_http_close(at->http[1]);
    tn_free(at->url), tn_free(at->model), tn_free(at->key), tn_free(at);
}

/* ---- questions ---- */

tn_reply_key tn_service_key(const tn_asker *a, const tn_question *q, const tn_sampling *s) {
    double how[] = {s->temperature, (double)s->top_k, s->top_p, s->min_p, (double)s->max_new, q->chat};
    uint64_t draw[] = {s->seed, s->temperature > 0 ? q->draw : 0};
    tn_reply_key k = tn_reply_key_add(tn_reply_key_add(a->who, how, sizeof how), draw, sizeof draw);
    for (int i = 0; q->stop && q->stop[i]; i++) k = tn_reply_key_add(k, q->stop[i], strlen(q->stop[i]));
    return tn_reply_key_add(k, q->text, q->n_text);
}

/* The body of a request. Fields that OpenAI does not know are sent only when they say something. */
static json_t *body_of(const struct service *at, const tn_question *q) {
    const tn_sampling *s = at->how;
    json_t *b = json_pack("{s:s,s:i,s:f,s:f}", "model", at->model, "max_tokens", s->max_new, "temperature", s->temperature, "top_p", s->top_p);
    tn_str all = TN_STR_INIT;
    tn_str_add(&all, q->text, q->n_text);
    tn_str_add(&all, at->lead, q->chat ? 0 : at->n_lead);
    json_t *text = all.oom ? NULL : json_stringn(all.s, all.len);
    tn_str_free(&all);
    if (!b || !text) {
        json_decref(b), json_decref(text);
        return NULL;
    }
    int bad = q->chat ? json_object_set_new(b, "messages", json_pack("[{s:s,s:o}]", "role", "user", "content", text))
                      : json_object_set_new(b, "prompt", text);
    if (s->temperature > 0) bad |= json_object_set_new(b, "seed", json_integer((json_int_t)(tn_mix(s->seed ^ tn_mix(q->draw)) >> 33)));
    if (s->top_k > 0) bad |= json_object_set_new(b, "top_k", json_integer(s->top_k));
    if (s->min_p > 0) bad |= json_object_set_new(b, "min_p", json_real(s->min_p));
    if (q->stop && q->stop[0]) {
        json_t *stop = json_array();
        for (int i = 0; q->stop[i]; i++) bad |= json_array_append_new(stop, json_string(q->stop[i]));
        bad |= json_object_set_new(b, "stop", stop);
    }
    if (at->log_probs && q->chat)
        bad |= json_object_set_new(b, "logprobs", json_true()) | json_object_set_new(b, "top_logprobs", json_integer(at->s.top));
    if (at->log_probs && !q->chat) bad |= json_object_set_new(b, "logprobs", json_integer(at->s.top));
    if (bad) json_decref(b), b = NULL;
    return b;
}

static tn_status ask(void *ctx, int i, tn_str *out, tn_err *e) {
    struct service *at = ctx;
    json_t *b = body_of(at, &at->q[at->which[i]]);
    tn_status st = b ? tn_json_add(out, b, JSON_COMPACT, "a request", e) : tn_fail(e, TN_NOMEM, "out of memory, or a prompt that is not UTF-8");
    json_decref(b);
    return st;
}

static tn_status take(void *ctx, int i, const char *body, size_t n, tn_err *e) {
    struct service *at = ctx;
    const tn_question *q = &at->q[at->which[i]];
    json_t *reply;
    TN_TRY(tn_endpoint_reply(body, n, at->log_probs, &reply, e));
    tn_status st = tn_replies_add(at->a->kept, at->keys[at->which[i]], q->about, reply, e);
    json_decref(reply);
    tn_progress_update(&at->a->bar, ++at->a->before, NULL);
    return st;
}

static tn_status keep(void *ctx, tn_err *e) { return tn_replies_commit(((struct service *)ctx)->a->kept, e); }

/* ---- asking ---- */

static tn_status client(struct service *at, bool chat, tn_err *e) {
    tn_str url = TN_STR_INIT;
    if (at->http[chat]) return TN_OK;
    tn_str_addf(&url, "%s/%s", at->url, chat ? "chat/completions" : "completions");
    tn_status st = url.oom ? tn_fail(e, TN_NOMEM, "out of memory") : tn_http_open(&at->http[chat], url.s, &at->s.http, e);
    tn_str_free(&url);
    return st;
}

/* which [k]: all of them turns of a user, or all texts. */
static tn_status ask_all(tn_asker *a, const tn_question *q, const tn_reply_key *key, const int *which, int k, int n, const tn_sampling *how,
                         bool log_probs, const char *what, tn_err *e) {
    struct service *at = a->at;
    bool chat = q[which[0]].chat;
    for (int i = 0; i < k; i++)
        if (!q[which[i]].text || q[which[i]].chat != chat) return tn_fail(e, TN_BUG, "question %d of %s has no text for an endpoint", which[i] + 1, what);
    TN_TRY(client(at, chat, e));
    at->q = q, at->keys = key, at->which = which, at->how = how, at->log_probs = log_probs;
    a->before = n - k;
    tn_progress_begin(&a->bar, what, "replies", n, a->before);
    tn_status st = tn_http_post(at->http[chat], k, &(tn_http_work){at, ask, take, keep}, e);
    tn_progress_end(&a->bar);
    if (st == TN_OK || st == TN_INTERRUPTED) return st;
    return tn_err_context(e, st, "%s, with %d of %d replies kept (start again to go on)", what, a->before, n);
}

tn_status tn_service_ask(tn_asker *a, const tn_question *q, const tn_reply_key *key, const int *which, int k, int n, const tn_sampling *how,
                         const char *what, tn_err *e) {
    return ask_all(a, q, key, which, k, n, how, false, what, e);
}

/* ---- options ---- */

/* Verdicts of `votes` replies to each question. */
static tn_status by_votes(tn_asker *a, const tn_question *q, int n, const char *const option[2], const char *what, double *logp, tn_err *e) {
    int votes = a->at->s.votes;
    size_t all = (size_t)n * (size_t)votes;
    tn_question *each = tn_calloc(all, sizeof *each);
    tn_answer *said = tn_calloc(all, sizeof *said);
    tn_sampling how = {.temperature = 1, .top_p = 1, .max_new = 64};
    for (size_t i = 0; each && i < all; i++) {
        each[i] = q[i / (size_t)votes];
        each[i].draw = i % (size_t)votes; /* the same prompt has the same votes, whatever row it stands in */
    }
    tn_status st = each && said ? tn_asker_sample(a, each, (int)all, &how, 1, what, said, e) : tn_fail(e, TN_NOMEM, "out of memory");
    for (int i = 0; st == TN_OK && i < n; i++) {
        double count[2] = {0, 0};
        for (int v = 0; v < votes; v++) {
            int k = tn_endpoint_verdict(said[i * votes + v].text, option, 2);
            if (k >= 0) count[k]++;
        }
        double sum = count[0] + count[1];
        for (int k = 0; k < 2; k++) logp[2 * i + k] = sum > 0 ? tn_log((count[k] + 0.5) / (sum + 1)) : NAN;
    }
    tn_free(each), tn_free(said);
    return st;
}

/* Bytes that both options begin with. */
static size_t common(const char *const option[2]) {
    size_t n = 0;
    while (option[0][n] && option[0][n] == option[1][n]) n++;
    return n;
}

/* What both begin with goes to the prompt where that is a text, so that the next token decides: " (" behind "Answer:". */
static void lead_in(tn_str *lead, const tn_question *q, const char *const option[2], const char *rest[2]) {
    size_t n = common(option);
    while (n > 0 && strchr(" \t\n", option[0][n - 1])) n--; /* a blank belongs to the token that follows */
    if (q->chat) n = 0;
    if (n > 0 && q->n_text > 0 && !strchr(" \t\n", option[0][0]) && !strchr(" \t\n", q->text[q->n_text - 1])) tn_str_addc(lead, ' ');
    tn_str_add(lead, option[0], n);
    for (int k = 0; k < 2; k++) rest[k] = option[k] + n;
}

static tn_status by_log_probs(tn_asker *a, const tn_question *q, int n, const char *const option[2], const char *what, double *logp, tn_err *e) {
    int k = -1, *which = tn_calloc((size_t)n + 1, sizeof *which), top = a->at->s.top;
    tn_reply_key *key = tn_calloc((size_t)n + 1, sizeof *key);
    const char *rest[2];
    tn_str lead = TN_STR_INIT;
    lead_in(&lead, q, option, rest);
    /* Greedy; tokens enough for a blank, one for each byte that both begin with, the next, and one behind it. */
    size_t same = common(rest);
    tn_sampling how = {.top_p = 1, .max_new = same < 13 ? (int)same + 3 : 16};
    for (int i = 0; key && i < n; i++) key[i] = tn_reply_key_add(tn_reply_key_add(tn_service_key(a, &q[i], &how), &top, sizeof top), lead.s, lead.len);
    if (key && which && !lead.oom) k = tn_asker_missing(a, key, n, which);
    tn_status st = k < 0 ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
    a->at->lead = lead.s, a->at->n_lead = lead.len;
    if (k > 0) st = ask_all(a, q, key, which, k, n, &how, true, what, e);
    a->at->n_lead = 0;
    for (int i = 0; st == TN_OK && i < n; i++) tn_endpoint_options(tn_replies_find(a->kept, key[i]), rest, 2, logp + 2 * i);
    tn_free(which), tn_free(key);
    tn_str_free(&lead);
    return st;
}

tn_status tn_service_options(tn_asker *a, const tn_question *q, int n, const char *const option[2], const char *what, double *logp, tn_err *e) {
    const char *o[2] = {option[0] + strspn(option[0], " \t\n"), option[1] + strspn(option[1], " \t\n")};
    size_t n0 = strlen(o[0]), n1 = strlen(o[1]), least = n0 < n1 ? n0 : n1;
    if (least == 0 || !strncmp(o[0], o[1], least))
        return tn_fail(e, TN_ARG, "the options \"%s\" and \"%s\" cannot be told apart: one is the beginning of the other", option[0], option[1]);
    if (n == 0) return TN_OK;
    return (a->at->s.votes > 0 ? by_votes : by_log_probs)(a, q, n, option, what, logp, e);
}
