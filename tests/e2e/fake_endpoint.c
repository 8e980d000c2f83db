/* A service with OpenAI's interface on 127.0.0.1, for tests/e2e/endpoint.sh: judges that are known to the last digit, and every
 * way in which a service can fail.
 *
 *   fake_endpoint LOG [NAME=VALUE ...]     prints its port, then serves until it is killed
 *
 * LOG gets a line "asked|answered PATH AUTHORIZATION BODY" (tabs between) when a request has come and when its whole reply is
 * gone. What it answers is a function of the request's body alone:
 *   model first    thinks that what comes first is better, with 0.8; it goes on behind "Answer: ("
 *   model longer   that the longer option is, with 0.9; its tokens are "(", "A", ")"
 *   model mute     says something else
 *   model words    continues or answers with a few words that are a function of the prompt
 * Settings: delay=MS (at most; by the body's hash), fault=KIND, fails=N (the first N tries of each body; default: all),
 * stall=N (after N answers none is given any more, until SIGUSR1). KIND: see fault().                                         */
#include "base/json.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct { const char *fault; long delay, fails, stall; } set = {"", 0, 1000000, -1};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *out;
static long answers;
static volatile sig_atomic_t stalls;
static struct { uint64_t body; long tries; } seen[1 << 16];

static void resume(int sig) { stalls = 0; }

/* ---- judges ---- */

static json_t *entry(const char *token, double logp) { return json_pack("{s:s,s:f}", "token", token, "logprob", logp); }

/* The options' texts in a prompt of prompts/chat or prompts/text: "(A) [...]". */
static size_t length_of(const char *prompt, const char *label) {
    const char *s = NULL, *end;
    for (const char *p = prompt; (p = strstr(p, label)); p++) s = p; /* the last is no few-shot's */
    for (const char *p = prompt; s && (p = strstr(p, label)); p++)
        if (p[strlen(label)] == ' ' && p[strlen(label) + 1] == '[') s = p;
    end = s ? strchr(s, ']') : NULL;
    return end ? (size_t)(end - s) : 0;
}

static json_t *chat_log_probs(bool a) {
    const double likely = -0.10536051565782628, unlikely = -2.3025850929940457; /* log 0.9, log 0.1 */
    json_t *places = json_array();
    json_array_append_new(places, json_pack("{s:s,s:f,s:[o,o]}", "token", "(", "logprob", -0.01, "top_logprobs", entry("(", -0.01), entry("I", -5)));
    json_array_append_new(places, json_pack("{s:s,s:f,s:[o,o]}", "token", a ? "A" : "B", "logprob", likely, "top_logprobs",
                                            entry("A", a ? likely : unlikely), entry("B", a ? unlikely : likely)));
    json_array_append_new(places, json_pack("{s:s,s:f,s:[]}", "token", ")", "logprob", 0.0, "top_logprobs"));
    return json_pack("{s:o}", "content", places);
}

static json_t *choice_of(const json_t *q, const char *prompt, bool chat) {
    const char *model = json_string_value(json_object_get(q, "model"));
    bool probs = json_object_get(q, "logprobs") != NULL && strcmp(set.fault, "no-logprobs");
    char text[64] = "(A)";
    json_t *l = json_null();
    if (!strcmp(model, "longer")) {
        bool a = length_of(prompt, "(A)") >= length_of(prompt, "(B)");
        snprintf(text, sizeof text, "(%c)", a ? 'A' : 'B');
        if (probs) l = chat_log_probs(a);
    } else if (!strcmp(model, "first")) {
        bool begun = strlen(prompt) > 9 && !strcmp(prompt + strlen(prompt) - 9, "Answer: (");
        snprintf(text, sizeof text, "A)");
        if (probs && begun) l = json_pack("{s:[s],s:[f],s:[{s:f,s:f,s:f}]}", "tokens", "A", "token_logprobs", -0.3, "top_logprobs", "A", -0.3,
                                          "B)", -1.6862943611198906, "The", -3.0); /* log 0.8/0.2 between the two */
    } else if (!strcmp(model, "mute")) {
        snprintf(text, sizeof text, "I would rather not say");
        if (probs) l = json_pack("{s:[s],s:[f],s:[{s:f,s:f}]}", "tokens", "I", "token_logprobs", -0.1, "top_logprobs", "I", -0.1, "As", -2.0);
    } else {
        static const char *const word[] = {"there", "is", "no", "problem", "it", "shares", "a", "secret"};
        uint64_t h = tn_hash64(prompt, strlen(prompt), 7);
        text[0] = 0;
        for (int i = 0; i < 5; i++, h >>= 8) snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "", word[h % 8]);
    }
    if (!strcmp(set.fault, "positive")) l = json_pack("{s:[{s:s,s:f}]}", "content", "token", "(A", "logprob", 3.0);
    return chat ? json_pack("{s:i,s:{s:s,s:s},s:s,s:o}", "index", 0, "message", "role", "assistant", "content", text, "finish_reason", "stop", "logprobs", l)
                : json_pack("{s:i,s:s,s:s,s:o}", "index", 0, "text", text, "finish_reason", "stop", "logprobs", l);
}

/* ---- faults ---- */

static void put(int fd, const char *s, size_t n) {
    while (n > 0) {
        ssize_t k = send(fd, s, n, MSG_NOSIGNAL);
        if (k <= 0) return;
        s += k, n -= (size_t)k;
    }
}
static void respond(int fd, const char *status, const char *headers, const char *body, size_t claimed) {
    tn_str s = TN_STR_INIT;
    tn_str_addf(&s, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n%s", status, claimed, headers, body);
    put(fd, s.s, s.len);
    tn_str_free(&s);
}

/* Does something else than answer; false: the connection is to be closed. */
static bool fault(int fd, const char *auth, const char *body) {
    const char *f = set.fault;
    char text[400];
    size_t n = strlen(body);
    if (!strcmp(f, "429") || !strcmp(f, "503")) respond(fd, *f == '4' ? "429 Too Many Requests" : "503 Service Unavailable", "", "", 0);
    else if (!strcmp(f, "retry-after")) respond(fd, "429 Too Many Requests", "Retry-After: 1\r\n", "{}", 2);
    else if (!strcmp(f, "retry-much-later")) respond(fd, "429 Too Many Requests", "Retry-After: 90000\r\n", "{}", 2);
    else if (!strcmp(f, "401")) {
        snprintf(text, sizeof text, "{\"error\": {\"message\": \"no such key: %.200s\"}}", auth);
        respond(fd, "401 Unauthorized", "", text, strlen(text));
    } else if (!strcmp(f, "400")) respond(fd, "400 Bad Request", "", "{\"error\": \"what is\\nlogprobs?\"}", 31);
    else if (!strcmp(f, "302")) respond(fd, "302 Found", "Location: http://127.0.0.1:1/\r\n", "", 0);
    else if (!strcmp(f, "malformed")) respond(fd, "200 OK", "", body, n / 2);
    else if (!strcmp(f, "html")) respond(fd, "200 OK", "", "<html>busy</html>", 17);
    else if (!strcmp(f, "no-choices")) respond(fd, "200 OK", "", "{\"error\": {\"message\": \"out of slots\"}}", 38);
    else if (!strcmp(f, "truncated")) {
        respond(fd, "200 OK", "", "{\"choices\": [", n);
        return false;
    } else if (!strcmp(f, "close")) return false;
    else if (!strcmp(f, "garbage")) {
        put(fd, "220 smtp ready\r\n", 16);
        return false;
    } else if (!strcmp(f, "oversize")) {
        static char blanks[1 << 16];
        memset(blanks, ' ', sizeof blanks);
        put(fd, "HTTP/1.1 200 OK\r\n\r\n", 19);
        for (int i = 0; i < 512; i++) put(fd, blanks, sizeof blanks);
        return false;
    } else if (!strcmp(f, "silent")) {
        sleep(5);
        return false;
    }
    return true;
}
static bool answers_all_the_same(void) { return !*set.fault || !strcmp(set.fault, "no-logprobs") || !strcmp(set.fault, "positive"); }

/* ---- requests ---- */

static void note(const char *what, const char *path, const char *auth, const char *body) {
    fprintf(out, "%s\t%s\t%s\t%s\n", what, path, auth, body);
    fflush(out);
}

/* How often this body has come, this time not counted. */
static long tries_of(uint64_t h) {
    size_t i = (size_t)h % (1 << 16);
    while (seen[i].tries && seen[i].body != h) i = (i + 1) % (1 << 16);
    seen[i].body = h;
    return seen[i].tries++;
}

static bool serve(int fd, const char *path, const char *auth, const char *body) {
    uint64_t h = tn_hash64(body, strlen(body), 0);
    json_t *q = json_loads(body, 0, NULL);
    bool chat = !strcmp(path, "/v1/chat/completions"), known = chat || !strcmp(path, "/v1/completions");
    const char *prompt = chat ? json_string_value(json_object_get(json_array_get(json_object_get(q, "messages"), 0), "content"))
                              : json_string_value(json_object_get(q, "prompt"));
    pthread_mutex_lock(&lock);
    note("asked", path, auth, body);
    bool fails = !answers_all_the_same() && tries_of(h) < set.fails;
    pthread_mutex_unlock(&lock);
    if (!known || !prompt || !json_is_string(json_object_get(q, "model"))) {
        respond(fd, "404 Not Found", "", "{\"error\": {\"message\": \"no such thing\"}}", 39);
        json_decref(q);
        return true;
    }
    json_t *r = json_pack("{s:s,s:[o]}", "object", "completion", "choices", choice_of(q, prompt, chat));
    char *text = json_dumps(r, JSON_COMPACT);
    bool open = true;
    if (set.delay) usleep((useconds_t)(h % (uint64_t)set.delay) * 1000);
    if (fails) open = fault(fd, auth, text);
    else {
        pthread_mutex_lock(&lock);
        bool stall = stalls && answers >= set.stall;
        if (!stall) {
            answers++;
            respond(fd, "200 OK", "", text, strlen(text));
            note("answered", path, auth, body);
        }
        pthread_mutex_unlock(&lock);
        if (stall) sleep(600);
    }
    free(text);
    json_decref(r);
    json_decref(q);
    return open;
}

static void *talk(void *arg) {
    int fd = (int)(intptr_t)arg;
    tn_str in = TN_STR_INIT;
    char buf[1 << 16], path[256], auth[256];
    bool open = true;
    while (open) {
        char *end;
        while (!(end = strstr(in.s, "\r\n\r\n"))) {
            ssize_t k = recv(fd, buf, sizeof buf, 0);
            if (k <= 0) goto gone;
            tn_str_add(&in, buf, (size_t)k);
        }
        size_t head = (size_t)(end - in.s) + 4, n = 0;
        char *l = strcasestr(in.s, "Content-Length:"), *a = strcasestr(in.s, "Authorization:");
        if (l && l < end) n = (size_t)strtoul(l + 15, NULL, 10);
        snprintf(path, sizeof path, "%.*s", (int)strcspn(in.s + 5, " "), in.s + 5); /* behind "POST " */
        snprintf(auth, sizeof auth, "%.*s", a && a < end ? (int)strcspn(a + 15, "\r") : 1, a && a < end ? a + 15 : "-");
        while (in.len < head + n) {
            ssize_t k = recv(fd, buf, sizeof buf, 0);
            if (k <= 0) goto gone;
            tn_str_add(&in, buf, (size_t)k);
        }
        char *body = strndup(in.s + head, n);
        memmove(in.s, in.s + head + n, in.len - head - n + 1);
        in.len -= head + n;
        open = serve(fd, path, auth, body);
        free(body);
    }
gone:
    close(fd);
    tn_str_free(&in);
    return NULL;
}

int main(int argc, char **argv) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (argc < 2 || !(out = fopen(argv[1], "a"))) return 2;
    for (int i = 2; i < argc; i++) {
        const char *v = strchr(argv[i], '=');
        if (!v) return 2;
        long x = strtol(v + 1, NULL, 10);
        if (!strncmp(argv[i], "fault=", 6)) set.fault = v + 1;
        else if (!strncmp(argv[i], "delay=", 6)) set.delay = x;
        else if (!strncmp(argv[i], "fails=", 6)) set.fails = x;
        else if (!strncmp(argv[i], "stall=", 6)) set.stall = x, stalls = 1;
        else return 2;
    }
    signal(SIGUSR1, resume);
    signal(SIGPIPE, SIG_IGN);
    if (bind(s, (struct sockaddr *)&at, sizeof at) < 0 || listen(s, 64) < 0 || getsockname(s, (struct sockaddr *)&at, &n) < 0) return 1;
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;) {
        pthread_t t;
        int fd = accept(s, NULL, NULL);
        if (fd >= 0 && pthread_create(&t, NULL, talk, (void *)(intptr_t)fd) == 0) pthread_detach(t);
    }
}
