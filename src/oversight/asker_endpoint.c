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

/* What is chosen between: the options, and what is left of them behind what all begin with, when that is put to the prompt. */
typedef struct choice {
    const char *const *option;
    int count;
    const char *rest[TN_ENDPOINT_OPTIONS];
    tn_str lead;
} choice;

/* Verdicts of `votes` replies to each question. */
static tn_status by_votes(tn_asker *a, const tn_question *q, int n, choice *c, const char *what, double *logp, tn_err *e) {
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
    for (int i = 0; st == TN_OK && i < n; i++, logp += c->count) {
        double count[TN_ENDPOINT_OPTIONS] = {0}, sum = 0;
        for (int v = 0; v < votes; v++) {
            int k = tn_endpoint_verdict(said[i * votes + v].text, c->option, c->count);
            if (k >= 0) count[k]++, sum++;
        }
        for (int k = 0; k < c->count; k++) logp[k] = sum > 0 ? tn_log((count[k] + 0.5) / (sum + 0.5 * c->count)) : NAN;
    }
    tn_free(each), tn_free(said);
    return st;
}

/* Bytes that all of them begin with. */
static size_t common(const char *const *option, int count) {
    for (size_t n = 0;; n++)
        for (int k = 0; k < count; k++)
            if (!option[k][n] || option[k][n] != option[0][n]) return n;
}

/* What all begin with goes to the prompt where that is a text, so that the next token decides: " (" behind "Answer:". */
static void lead_in(choice *c, const tn_question *q) {
    size_t n = q->chat ? 0 : common(c->option, c->count);
    while (n > 0 && strchr(" \t\n", c->option[0][n - 1])) n--; /* a blank belongs to the token that follows */
    if (n > 0 && q->n_text > 0 && !strchr(" \t\n", c->option[0][0]) && !strchr(" \t\n", q->text[q->n_text - 1])) tn_str_addc(&c->lead, ' ');
    tn_str_add(&c->lead, c->option[0], n);
    for (int k = 0; k < c->count; k++) c->rest[k] = c->option[k] + n;
}

static tn_status by_log_probs(tn_asker *a, const tn_question *q, int n, choice *c, const char *what, double *logp, tn_err *e) {
    int k = -1, *which = tn_calloc((size_t)n + 1, sizeof *which), top = a->at->s.top;
    tn_reply_key *key = tn_calloc((size_t)n + 1, sizeof *key);
    lead_in(c, q);
    /* Greedy; tokens enough for a blank, one for each byte that all begin with, the next, and one behind it. */
    size_t same = common(c->rest, c->count);
    tn_sampling how = {.top_p = 1, .max_new = same < 13 ? (int)same + 3 : 16};
    for (int i = 0; key && i < n; i++)
        key[i] = tn_reply_key_add(tn_reply_key_add(tn_service_key(a, &q[i], &how), &top, sizeof top), c->lead.s, c->lead.len);
    if (key && which && !c->lead.oom) k = tn_asker_missing(a, key, n, which);
    tn_status st = k < 0 ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
    a->at->lead = c->lead.s, a->at->n_lead = c->lead.len;
    if (k > 0) st = ask_all(a, q, key, which, k, n, &how, true, what, e);
    a->at->n_lead = 0;
    for (int i = 0; st == TN_OK && i < n; i++) tn_endpoint_options(tn_replies_find(a->kept, key[i]), c->rest, c->count, logp + i * c->count);
    tn_free(which), tn_free(key);
    return st;
}

tn_status tn_service_options(tn_asker *a, const tn_question *q, int n, const char *const *option, int count, const char *what, double *logp,
                             tn_err *e) {
    choice c = {.option = option, .count = count, .lead = TN_STR_INIT};
    TN_TRY(tn_endpoint_check_options(option, count, e));
    tn_status st = n == 0 ? TN_OK : (a->at->s.votes > 0 ? by_votes : by_log_probs)(a, q, n, &c, what, logp, e);
    tn_str_free(&c.lead);
    return st;
}
