#include "base/http.h"
#include <string.h>

#ifndef TN_CURL
tn_status tn_http_open(tn_http **h, const char *url, const tn_http_settings *s, tn_err *e) {
    *h = NULL;
    return tn_fail(e, TN_UNSUPPORTED, "%s cannot be asked: this tenet was built without libcurl; install it (Debian: apt install "
                   "libcurl4-openssl-dev) and run `make` again", url);
}
void tn_http_close(tn_http *h) {}
tn_status tn_http_post(tn_http *h, int n, const tn_http_work *w, tn_err *e) { return tn_fail(e, TN_BUG, "no HTTP client"); }
#else

#include "base/json.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/signals.h"
#include <dlfcn.h>
#include <pthread.h>
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

/* ---- libcurl ---- */

#define CALLS(X)                                                                                                                       \
    X(global_init) X(slist_append) X(slist_free_all) X(easy_init) X(easy_setopt) X(easy_getinfo) X(easy_cleanup) X(easy_strerror)     \
    X(multi_init) X(multi_cleanup) X(multi_add_handle) X(multi_remove_handle) X(multi_perform) X(multi_poll) X(multi_info_read)       \
    X(multi_strerror)
static struct {
#define X(name) __typeof__(curl_##name) *name;
    CALLS(X)
#undef X
    char why[200]; /* not empty: it cannot be used */
} curl;

static void load(void) {
    void *h = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (!h) snprintf(curl.why, sizeof curl.why, "%s", dlerror());
#define X(name)                                                                                                                        \
    if (!*curl.why && !(*(void **)&curl.name = dlsym(h, "curl_" #name))) snprintf(curl.why, sizeof curl.why, "it lacks curl_" #name);
    CALLS(X)
#undef X
    if (!*curl.why && curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) snprintf(curl.why, sizeof curl.why, "it does not start");
}

/* ---- a client ---- */

/* A request that is under way, or waits to be tried again. */
typedef struct slot {
    CURL *easy;
    int item, tries; /* item -1: free */
    bool busy;
    double at;       /* waiting: until then */
    tn_str body, reply;
    size_t most;
    bool big;
    char why[CURL_ERROR_SIZE];
} slot;

struct tn_http {
    tn_http_settings s;
    char *url, *key;
    CURLM *multi;
    struct curl_slist *headers;
    slot *slot;
    /* of one tn_http_post */
    const tn_http_work *w;
    int n, next, busy;
    bool taken;
    double quiet; /* until then nothing is started */
    tn_status st;
    tn_err first;
};

static size_t receive(char *p, size_t one, size_t n, void *ctx) {
    slot *x = ctx;
    if (n > x->most - x->reply.len) {
        x->big = true;
        return 0;
    }
    tn_str_add(&x->reply, p, n);
    return x->reply.oom ? 0 : n;
}

static tn_status add_header(tn_http *h, const char *line, tn_err *e) {
    struct curl_slist *l = curl.slist_append(h->headers, line);
    if (!l) return tn_fail(e, TN_NOMEM, "out of memory");
    h->headers = l;
    return TN_OK;
}

static tn_status set_headers(tn_http *h, tn_err *e) {
    tn_str auth = TN_STR_INIT;
    TN_TRY(add_header(h, "Content-Type: application/json", e));
    TN_TRY(add_header(h, "Accept: application/json", e));
    TN_TRY(add_header(h, "User-Agent: tenet/" TN_VERSION, e));
    TN_TRY(add_header(h, "Expect:", e)); /* no question before the body */
    if (!h->key) return TN_OK;
    tn_str_addf(&auth, "Authorization: Bearer %s", h->key);
    tn_status st = auth.oom ? tn_fail(e, TN_NOMEM, "out of memory") : add_header(h, auth.s, e);
    tn_str_free(&auth);
    return st;
}

static tn_status set_up(tn_http *h, slot *x, tn_err *e) {
    *x = (slot){.item = -1, .body = TN_STR_INIT, .reply = TN_STR_INIT, .most = h->s.most, .easy = curl.easy_init()};
    if (!x->easy) return tn_fail(e, TN_NOMEM, "out of memory");
    CURLcode bad = 0;
    bad |= curl.easy_setopt(x->easy, CURLOPT_URL, h->url);
    bad |= curl.easy_setopt(x->easy, CURLOPT_HTTPHEADER, h->headers);
    bad |= curl.easy_setopt(x->easy, CURLOPT_POST, 1L);
    bad |= curl.easy_setopt(x->easy, CURLOPT_WRITEFUNCTION, receive);
    bad |= curl.easy_setopt(x->easy, CURLOPT_WRITEDATA, (void *)x);
    bad |= curl.easy_setopt(x->easy, CURLOPT_PRIVATE, (void *)x);
    bad |= curl.easy_setopt(x->easy, CURLOPT_ERRORBUFFER, x->why);
    bad |= curl.easy_setopt(x->easy, CURLOPT_NOSIGNAL, 1L);
    bad |= curl.easy_setopt(x->easy, CURLOPT_TIMEOUT_MS, (long)(h->s.timeout * 1000));
    return bad ? tn_fail(e, TN_UNSUPPORTED, "this libcurl lacks something that tenet needs; tenet asks for 7.66 or later") : TN_OK;
}

static tn_status open_all(tn_http *h, const char *url, tn_err *e) {
    h->url = tn_strdup(url);
    h->key = h->s.key ? tn_strdup(h->s.key) : NULL;
    h->slot = tn_calloc((size_t)h->s.concurrent, sizeof *h->slot);
    h->multi = curl.multi_init();
    if (!h->url || (h->s.key && !h->key) || !h->slot || !h->multi) return tn_fail(e, TN_NOMEM, "out of memory");
    TN_TRY(set_headers(h, e));
    for (int i = 0; i < h->s.concurrent; i++) TN_TRY(set_up(h, &h->slot[i], e));
    return TN_OK;
}

tn_status tn_http_open(tn_http **out, const char *url, const tn_http_settings *s, tn_err *e) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    *out = NULL;
    pthread_once(&once, load);
    if (*curl.why)
        return tn_fail(e, TN_UNSUPPORTED, "%s cannot be asked without libcurl: %s. Install it (Debian: apt install libcurl4)", url, curl.why);
    tn_http *h = tn_calloc(1, sizeof *h);
    if (!h) return tn_fail(e, TN_NOMEM, "out of memory");
    h->s = *s;
    tn_status st = open_all(h, url, e);
    if (st == TN_OK) *out = h;
    else tn_http_close(h);
    return st;
}

void tn_http_close(tn_http *h) {
    if (!h) return;
    for (int i = 0; h->slot && i < h->s.concurrent; i++) {
        if (h->slot[i].easy) curl.easy_cleanup(h->slot[i].easy);
        tn_str_free(&h->slot[i].body);
        tn_str_free(&h->slot[i].reply);
    }
    if (h->multi) curl.multi_cleanup(h->multi);
    curl.slist_free_all(h->headers);
    tn_free(h->slot), tn_free(h->url), tn_free(h->key), tn_free(h);
}

/* ---- what went wrong ---- */

/* What a service says about its refusal, on one line and without the key. */
static void snippet(const tn_http *h, const tn_str *body, char *out, size_t room) {
    json_t *j = json_loadb(body->s, body->len, 0, NULL), *err = json_object_get(j, "error"), *m = json_object_get(err, "message");
    const char *s = json_is_string(m) ? json_string_value(m) : json_is_string(err) ? json_string_value(err) : body->s, *k;
    size_t n = 0, key = h->key ? strlen(h->key) : 0;
    for (; *s && n + 4 < room; s++) {
        if (key && !strncmp(s, h->key, key)) {
            memcpy(out + n, "***", 3);
            n += 3, s += key - 1;
            continue;
        }
        out[n++] = (unsigned char)*s < ' ' || *s == 127 ? ' ' : *s;
    }
    while (n > 0 && ((k = out + n - 1), ((unsigned char)*k & 0xC0) == 0x80)) n--; /* no half characters */
    if (n > 0 && (unsigned char)out[n - 1] >= 0xC0) n--;
    out[n] = 0;
    json_decref(j);
}

/* The first failure is the one that is told. */
static void fail(tn_http *h, tn_status st, const tn_err *why) {
    if (h->st != TN_OK || st == TN_OK) return;
    h->st = st;
    h->first = *why;
}

/* Is it likely to go better later? Else it fails. */
static bool passes(CURLcode c) {
    return c == CURLE_COULDNT_CONNECT || c == CURLE_COULDNT_RESOLVE_HOST || c == CURLE_OPERATION_TIMEDOUT || c == CURLE_PARTIAL_FILE ||
           c == CURLE_GOT_NOTHING || c == CURLE_RECV_ERROR || c == CURLE_SEND_ERROR || c == CURLE_HTTP2 || c == CURLE_HTTP2_STREAM ||
           c == CURLE_SSL_CONNECT_ERROR || c == CURLE_WEIRD_SERVER_REPLY;
}

static void try_later(tn_http *h, slot *x, const tn_err *why, double asked) {
    double wait = h->s.backoff;
    tn_rng r = tn_rng_stream(h->s.seed, TN_RNG_RETRY, (uint64_t)x->item);
    r.k = (uint64_t)x->tries - 1;
    for (int k = 1; k < x->tries && wait < 60; k++) wait *= 2;
    wait = (wait < 60 ? wait : 60) * (0.5 + 0.5 * tn_rng_unit(&r));
    if (asked > wait) wait = asked;
    x->at = tn_now() + wait;
    if (asked > 0 && x->at > h->quiet) h->quiet = x->at;
    if (x->tries == 1) tn_debug("%s; tried again in %.1f s", why->msg, wait);
    else tn_warn("%s; tried again in %.1f s (retry %d of %d)", why->msg, wait, x->tries, h->s.retries);
}

static void give_up(tn_http *h, slot *x, const tn_err *why, bool tried) {
    tn_err all = *why;
    if (tried && x->tries > 1) tn_fail(&all, why->code, "%s, and so %d times", why->msg, x->tries);
    fail(h, why->code, &all);
    x->item = -1;
}

/* ---- one at a time ---- */

static void begin(tn_http *h, slot *x) {
    tn_str_clear(&x->reply);
    x->big = false, x->why[0] = 0;
    CURLcode bad = curl.easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body.len);
    bad |= curl.easy_setopt(x->easy, CURLOPT_POSTFIELDS, x->body.s);
    if (bad || curl.multi_add_handle(h->multi, x->easy) != CURLM_OK) {
        tn_err why;
        fail(h, tn_fail(&why, TN_NOMEM, "out of memory"), &why);
        return;
    }
    x->tries++;
    x->busy = true;
    h->busy++;
}

/* Starts what can be started; the seconds until more can be (at most 0.2: somebody may want to stop). */
static double start(tn_http *h) {
    double now = tn_now(), soonest = now + 0.2;
    for (int i = 0; i < h->s.concurrent; i++) {
        slot *x = &h->slot[i];
        if (x->busy || (x->item < 0 && h->next == h->n)) continue;
        double at = x->item >= 0 && x->at > h->quiet ? x->at : h->quiet;
        if (at > now) {
            soonest = at < soonest ? at : soonest;
            continue;
        }
        if (x->item < 0) {
            x->item = h->next++, x->tries = 0;
            tn_str_clear(&x->body);
            tn_err why = {0};
            tn_status st = h->w->ask(h->w->ctx, x->item, &x->body, &why);
            if (st == TN_OK && x->body.oom) st = tn_fail(&why, TN_NOMEM, "out of memory");
            fail(h, st, &why);
        }
        if (h->st == TN_OK) begin(h, x);
        if (h->st != TN_OK) break;
    }
    return soonest > now ? soonest - now : 0;
}

static void finish(tn_http *h, slot *x, CURLcode c) {
    long status = 0;
    curl_off_t after = 0;
    char said[240];
    tn_err why = {0};
    bool again = passes(c);
    curl.multi_remove_handle(h->multi, x->easy);
    x->busy = false;
    h->busy--;
    curl.easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    curl.easy_getinfo(x->easy, CURLINFO_RETRY_AFTER, &after);
    if (x->reply.oom) tn_fail(&why, TN_NOMEM, "out of memory");
    else if (x->big) tn_fail(&why, TN_FORMAT, "%s: a reply of more than %zu bytes", h->url, h->s.most);
    else if (c != CURLE_OK) tn_fail(&why, TN_IO, "%s: %s", h->url, *x->why ? x->why : curl.easy_strerror(c));
    else if (status == 200) {
        tn_status st = h->w->take(h->w->ctx, x->item, x->reply.s, x->reply.len, &why);
        if (st == TN_OK) {
            x->item = -1, h->taken = true;
            return;
        }
        again = st == TN_FORMAT;
        tn_err_context(&why, st, "%s", h->url);
    } else {
        snippet(h, &x->reply, said, sizeof said);
        again = status == 408 || status == 425 || status == 429 || status >= 500;
        tn_fail(&why, again ? TN_IO : TN_ARG, "%s: HTTP status %ld%s%s", h->url, status, *said ? ": " : "", said);
    }
    if (again && after > 3600) again = false, tn_err_context(&why, why.code, "asked to wait for %ld s", (long)after);
    if (!again || x->tries > h->s.retries || h->st != TN_OK) give_up(h, x, &why, again);
    else try_later(h, x, &why, status == 429 || status == 503 ? (double)after : 0);
}

static void advance(tn_http *h, double wait) {
    CURLMcode m = curl.multi_poll(h->multi, NULL, 0, (int)(wait * 1000) + 1, NULL);
    if (m == CURLM_OK) m = curl.multi_perform(h->multi, &(int){0});
    if (m != CURLM_OK) {
        tn_err why;
        fail(h, tn_fail(&why, TN_IO, "%s: %s", h->url, curl.multi_strerror(m)), &why);
        h->busy = 0; /* nothing more will come */
    }
    for (CURLMsg *msg; (msg = curl.multi_info_read(h->multi, &(int){0}));) {
        slot *x = NULL;
        if (msg->msg != CURLMSG_DONE) continue;
        curl.easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&x);
        finish(h, x, msg->data.result);
    }
}

static bool waiting(const tn_http *h) {
    for (int i = 0; i < h->s.concurrent; i++)
        if (h->slot[i].item >= 0) return true;
    return false;
}

tn_status tn_http_post(tn_http *h, int n, const tn_http_work *w, tn_err *e) {
    tn_err why = {0};
    h->w = w, h->n = n, h->next = 0, h->busy = 0, h->quiet = 0, h->st = TN_OK;
    while (h->st == TN_OK ? h->next < n || waiting(h) : h->busy > 0) {
        if (tn_stop_requested()) fail(h, tn_fail(&why, TN_INTERRUPTED, "stopped while asking %s", h->url), &why);
        h->taken = false;
        advance(h, h->st == TN_OK ? start(h) : 0.2);
        if (h->taken) fail(h, w->keep(w->ctx, &why), &why);
    }
    for (int i = 0; i < h->s.concurrent; i++) {
        if (h->slot[i].busy) curl.multi_remove_handle(h->multi, h->slot[i].easy);
        h->slot[i].busy = false, h->slot[i].item = -1;
    }
    if (e && h->st != TN_OK) *e = h->first;
    return h->st;
}
#endif
