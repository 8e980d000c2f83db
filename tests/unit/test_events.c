/* TensorBoard's event files, read back by a decoder that shares nothing with the writer. */
#include "train/events.h"
#include "test.h"
#include "train/runlog.h"
#include <limits.h>
#include <stdlib.h>

/* CRC-32C by table. */
static uint32_t crc(const unsigned char *p, size_t n) {
    static uint32_t table[256];
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? (c >> 1) ^ 0x82F63B78u : c >> 1;
        table[i] = c;
    }
    uint32_t c = 0xFFFFFFFFu;
    while (n--) c = table[(c ^ *p++) & 255] ^ (c >> 8);
    return c ^ 0xFFFFFFFFu;
}

static uint64_t little(const unsigned char *p, int n) {
    uint64_t v = 0;
    while (n-- > 0) v = v << 8 | p[n];
    return v;
}

static uint64_t varint(const unsigned char **p) {
    uint64_t v = 0;
    for (int k = 0;; k += 7) {
        v |= (uint64_t)(**p & 127) << k;
        if (!(*(*p)++ & 128)) return v;
    }
}

/* Appends "step name=value ...;" for one event; unknown fields are skipped as protobuf says. */
static void read_message(const unsigned char *p, size_t n, int depth, tn_str *out) {
    const unsigned char *end = p + n;
    long step = 0;
    tn_str inner = TN_STR_INIT, *to = depth == 0 ? &inner : out;
    while (p < end) {
        uint64_t key = varint(&p), field = key >> 3, len = 0;
        uint32_t bits;
        float f;
        double d;
        switch (key & 7) {
        case 0:
            len = varint(&p);
            if (depth == 0 && field == 2) step = (long)len;
            break;
        case 1:
            memcpy(&d, p, 8);
            if (depth == 0 && field == 1) CHECK(d > 1.5e9 && d < 1e11);
            p += 8;
            break;
        case 5:
            bits = (uint32_t)little(p, 4);
            memcpy(&f, &bits, 4);
            if (depth == 2 && field == 2) tn_str_addf(to, "=%.9g", (double)f);
            p += 4;
            break;
        default:
            CHECK((key & 7) == 2);
            len = varint(&p);
            if (depth == 0 && field == 5) read_message(p, len, 1, to);
            else if (depth == 1 && field == 1) read_message(p, len, 2, to);
            else if ((depth == 0 && field == 3) || (depth == 2 && field == 1))
                tn_str_addf(to, " %.*s", (int)len, (const char *)p);
            p += len;
        }
    }
    CHECK(p == end);
    if (depth == 0) tn_str_addf(out, "%ld%s;", step, inner.s);
    tn_str_free(&inner);
}

static const char *dir, *file;

static const char *read_back(void) {
    static tn_str out = TN_STR_INIT;
    tn_str bytes = TN_STR_INIT;
    tn_str_clear(&out);
    CHECK_OK(tn_read_file(file, &bytes, 0, e));
    const unsigned char *p = (const unsigned char *)bytes.s, *end = p + bytes.len;
    while (p < end) {
        uint64_t n = little(p, 8);
        uint32_t a = crc(p, 8), b = crc(p + 12, n);
        CHECK(little(p + 8, 4) == (uint32_t)((a >> 15 | a << 17) + 0xa282ead8u));
        CHECK(little(p + 12 + n, 4) == (uint32_t)((b >> 15 | b << 17) + 0xa282ead8u));
        read_message(p + 12, n, 0, &out);
        p += n + 16;
    }
    CHECK(p == end);
    tn_str_free(&bytes);
    return out.s;
}

static void set_up(void) {
    static char path[700];
    dir = tn_test_dir();
    snprintf(path, sizeof path, "%s/%s", dir, TN_EVENTS_FILE);
    file = path;
}

static void entry(tn_out *o, const char *json) {
    json_t *j = json_loads(json, 0, NULL);
    CHECK(j != NULL);
    CHECK_OK(tn_events_write(o, j, e));
    json_decref(j);
}

static void write_some(long step) {
    tn_out *o = NULL;
    CHECK_OK(tn_events_open(&o, dir, step, LONG_MAX, e));
    if (!o) return;
    if (step < 1)
        entry(o, "{\"step\": 1, \"loss\": 0.5, \"epoch\": 0.25, \"note\": \"x\", \"none\": null}");
    if (step < 300) entry(o, "{\"step\": 300, \"loss\": -3, \"rewards/chosen\": 7}");
    if (step < 300) entry(o, "{\"step\": 300, \"eval_loss\": 1e10}");
    entry(o, "{\"step\": 70000, \"eval_rewards/margins\": 0.1}");
    CHECK_OK(tn_out_close(o, TN_OK, true, e));
}

static const char all[] =
    "0 brain.Event:2;1 train/loss=0.5 train/epoch=0.25;"
    "300 train/loss=-3 train/rewards/chosen=7;300 eval/loss=1e+10;"
    "70000 eval/rewards/margins=0.100000001;";

TEST(events_read_back) {
    CHECK(crc((const unsigned char *)"123456789", 9) == 0xE3069283u);
    set_up();
    write_some(0);
    CHECK_MSG(!strcmp(read_back(), all), "%s", read_back());
    write_some(0); /* a fresh run begins again */
    CHECK_MSG(!strcmp(read_back(), all), "%s", read_back());
}

/* The bytes of TensorBoard's own writer (tools/check_events.py golden). */
TEST(events_golden_bytes) {
    tn_str got = TN_STR_INIT, want = TN_STR_INIT;
    set_up();
    setenv("SOURCE_DATE_EPOCH", "1700000000.5", 1);
    write_some(0);
    unsetenv("SOURCE_DATE_EPOCH");
    CHECK_OK(tn_read_file(file, &got, 0, e));
    CHECK_OK(tn_read_file(tn_test_file("golden/events.out.tfevents.tenet"), &want, 0, e));
    CHECK(got.len == want.len && got.len > 200);
    if (got.len == want.len) CHECK_BYTES(got.s, want.s, want.len);
    tn_str_free(&got);
    tn_str_free(&want);
}

/* Resumed after any step, and after a crash in the middle of a record: no step is there twice. */
TEST(events_resume) {
    tn_str whole = TN_STR_INIT;
    set_up();
    write_some(0);
    CHECK_OK(tn_read_file(file, &whole, 0, e));
    static const long steps[] = {1, 299, 300, 69999};
    for (size_t i = 0; i < 4; i++) {
        CHECK_OK(tn_write_file(file, whole.s, whole.len, e));
        write_some(steps[i]);
        CHECK_MSG(!strcmp(read_back(), all), "after %ld: %s", steps[i], read_back());
    }
    for (size_t n = whole.len - 1; n > whole.len - 40; n--) {
        CHECK_OK(tn_write_file(file, whole.s, n, e));
        write_some(300);
        CHECK_MSG(!strcmp(read_back(), all), "cut to %zu: %s", n, read_back());
    }
    /* damage before the step is cut off with all that follows; the file stays readable */
    whole.s[40] ^= 1;
    CHECK_OK(tn_write_file(file, whole.s, whole.len, e));
    write_some(300);
    CHECK_MSG(!strncmp(read_back(), "0 brain.Event:2;70000 ", 22), "%s", read_back());
    tn_remove_tree(file, NULL);
    write_some(300); /* the folder was emptied: what is left of the run */
    CHECK_MSG(!strncmp(read_back(), "0 brain.Event:2;70000 ", 22), "%s", read_back());
    tn_str_free(&whole);
}

TEST(events_of_a_run_log) {
    tn_runlog l;
    char runs[800], folder[800];
    set_up();
    const char *both[] = {"wandb", "tensorboard"};
    tn_train_options o = {.output_dir = dir, .report_to = {both, 1}};
    CHECK_OK(tn_runlog_open(&l, dir, 0, NULL, e));
    CHECK_OK(tn_runlog_report(&l, &o, 0, e));
    CHECK(l.events == NULL);
    o.report_to.n = 2;
    CHECK_OK(tn_runlog_report(&l, &o, 0, e));
    CHECK_OK(tn_runlog_entry(&l, json_pack("{s:i,s:f}", "step", 2, "loss", 0.5), e));
    CHECK_OK(tn_runlog_close(&l, e));
    snprintf(runs, sizeof runs, "%s/runs/" TN_EVENTS_FILE, dir);
    file = runs;
    CHECK_MSG(!strcmp(read_back(), "0 brain.Event:2;2 train/loss=0.5;"), "%s", read_back());
    /* another run does not get into the same folder by accident */
    tn_train_options other = {.output_dir = "elsewhere", .report_to = {both, 2}};
    snprintf(folder, sizeof folder, "%s/runs", dir);
    other.logging_dir = folder;
    memset(&l, 0, sizeof l);
    CHECK_FAIL(tn_runlog_report(&l, &other, 0, e), TN_STATE, "the events of another run");
    CHECK_MSG(!strcmp(read_back(), "0 brain.Event:2;2 train/loss=0.5;"), "%s", read_back());
    other.overwrite = true;
    CHECK_OK(tn_runlog_report(&l, &other, 0, e));
    CHECK_OK(tn_runlog_close(&l, e));
    CHECK_MSG(!strcmp(read_back(), "0 brain.Event:2;"), "%s", read_back());
}

/* The checkpoint of a run that was stopped while it evaluated has no entry of that: one that a later process wrote,
 * before it was killed, goes. */
TEST(runlog_evaluation_is_done_again) {
    tn_runlog l;
    char path[800];
    tn_str text = TN_STR_INIT;
    set_up();
    const char *to[] = {"tensorboard"};
    tn_train_options o = {.output_dir = dir, .report_to = {to, 1}, .resume = "latest"};
    json_t *history = json_pack("[{s:i,s:f}]", "step", 2, "loss", 0.5);
    CHECK_OK(tn_runlog_open(&l, dir, 0, NULL, e));
    CHECK_OK(tn_runlog_report(&l, &o, 0, e));
    CHECK_OK(tn_runlog_entry(&l, json_pack("{s:i,s:f}", "step", 2, "loss", 0.5), e));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(tn_runlog_entry(&l, json_pack("{s:i,s:f}", "step", 2, "eval_loss", 0.25), e));
        CHECK_OK(tn_runlog_close(&l, e));
        if (i == 2) break;
        CHECK_OK(tn_runlog_open(&l, dir, 2, history, e));
        CHECK_OK(tn_runlog_report(&l, &o, 2, e));
    }
    snprintf(path, sizeof path, "%s/runs/" TN_EVENTS_FILE, dir);
    file = path;
    CHECK_MSG(!strcmp(read_back(), "0 brain.Event:2;2 train/loss=0.5;2 eval/loss=0.25;"), "%s", read_back());
    char metrics[800];
    snprintf(metrics, sizeof metrics, "%s/metrics.jsonl", dir);
    CHECK_OK(tn_read_file(metrics, &text, 0, e));
    CHECK_MSG(!strcmp(text.s, "{\"step\": 2, \"loss\": 0.5}\n{\"step\": 2, \"eval_loss\": 0.25}\n"), "%s", text.s);
    json_decref(history);
    tn_str_free(&text);
}
