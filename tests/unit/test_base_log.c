/* Messages, progress off a terminal, signals. */
#include "base/log.h"
#include "base/os.h"
#include "base/signals.h"
#include "test.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* What fn writes to stderr, run in a child process. */
static void captured(void (*fn)(void), tn_str *out) {
    int p[2];
    char buf[4096];
    ssize_t n;
    tn_str_clear(out);
    CHECK(pipe(p) == 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(p[1], 2);
        fn();
        _exit(0);
    }
    close(p[1]);
    while ((n = read(p[0], buf, sizeof buf)) > 0) tn_str_add(out, buf, (size_t)n);
    close(p[0]);
    waitpid(child, NULL, 0);
}

static void some_messages(void) {
    tn_err e = {0};
    tn_log_set_level(TN_LOG_WARN);
    tn_info("not shown");
    tn_warn("shown %d", 1);
    tn_log_set_level(TN_LOG_INFO);
    tn_info("shown %d", 2);
    tn_fail(&e, TN_FORMAT, "x.json: bad");
    tn_log_error(&e);
}

static void some_progress(void) {
    tn_progress p;
    tn_log_set_level(TN_LOG_INFO);
    tn_progress_begin(&p, "dpo", "steps", 200, 100);
    for (int i = 101; i <= 200; i++) {
        if (i == 150) p.last -= 11; /* as if ten seconds had passed */
        tn_progress_update(&p, i, "%d tok/s", i);
    }
    tn_progress_end(&p);
}

TEST(base_log_messages) {
    tn_str s = TN_STR_INIT;
    captured(some_messages, &s);
    CHECK_MSG(!strcmp(s.s, "tenet: warning: shown 1\ntenet: shown 2\ntenet: error: x.json: bad\n"),
              "%s", s.s);
    tn_str_free(&s);
}

TEST(base_log_progress_off_terminal) {
    tn_str s = TN_STR_INIT;
    captured(some_progress, &s);
    int lines = 0;
    for (const char *c = s.s; *c; c++) lines += *c == '\n';
    CHECK_MSG(lines == 2 && !strchr(s.s, '\r') && !strchr(s.s, '\033'), "%s", s.s);
    CHECK(strstr(s.s, "dpo  150/200 steps (75%)  150 tok/s") && strstr(s.s, " left\n") &&
          strstr(s.s, "200/200 steps (100%)  in "));
    tn_str_free(&s);
}

static void *log_thread(void *arg) {
    for (int i = 0; i < 200; i++) tn_info("thread %d line %d", *(int *)arg, i);
    return NULL;
}

static void log_from_threads(void) {
    pthread_t t[3];
    tn_log_set_level(TN_LOG_INFO);
    int id[3] = {0, 1, 2};
    for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, log_thread, &id[i]);
    for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
}

TEST(base_log_lines_do_not_mix) {
    tn_str s = TN_STR_INIT;
    captured(log_from_threads, &s);
    int next[3] = {0}, t, i, n;
    const char *c = s.s;
    for (; sscanf(c, "tenet: thread %d line %d%n", &t, &i, &n) == 2 && c[n] == '\n' && t >= 0 &&
           t < 3;
         c += n + 1)
        CHECK(i == next[t]++);
    CHECK_MSG(*c == 0 && next[0] == 200 && next[1] == 200 && next[2] == 200, "stopped at: %.60s",
              c);
    tn_str_free(&s);
}

TEST(base_log_colour) {
    CHECK(!strcmp(tn_colour(9999, "red"), "") && !strcmp(tn_colour(1, "no such colour"), ""));
}

static int status_after(int first, int second) {
    pid_t child = fork();
    int status = 0;
    if (child == 0) {
        tn_signals_install();
        raise(first);
        if (!tn_stop_requested()) _exit(7);
        raise(second);
        _exit(9);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(base_signals_two_stages) {
    CHECK(status_after(SIGINT, SIGINT) == 130 && status_after(SIGTERM, SIGINT) == 130);
    CHECK(status_after(SIGINT, SIGUSR1) == 9 && status_after(SIGUSR1, SIGINT) == 7);
    CHECK(!tn_stop_requested());
    tn_request_stop();
    CHECK(tn_stop_requested() && tn_stop_requested());
    tn_clear_stop();
    CHECK(!tn_stop_requested() && !tn_checkpoint_requested());
}
