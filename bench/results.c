/* Results: samples to JSON, medians to a Markdown table and the terminal. */
#include "bench.h"
#include "base/os.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---------------- taking samples ---------------- */

bench_case bench_begin(const char *unit, const char *fmt, ...) {
    bench_case c = {.unit = unit};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c.name, sizeof c.name, fmt, ap);
    va_end(ap);
    return c;
}

static bench_side *side_of(bench_case *c, const char *name) {
    for (int i = 0; i < c->n_side; i++)
        if (strcmp(c->side[i].name, name) == 0) return &c->side[i];
    if (c->n_side == BENCH_SIDES) return NULL;
    c->side[c->n_side] = (bench_side){.name = name};
    return &c->side[c->n_side++];
}

void bench_add(bench_case *c, const char *name, bench_fn *fn, void *ctx) {
    bench_side *s = side_of(c, name);
    if (s) s->fn = fn, s->ctx = ctx;
}

void bench_put(bench_case *c, const char *name, double sample) {
    bench_side *s = side_of(c, name);
    if (s && isfinite(sample) && s->n < BENCH_SAMPLES) s->v[s->n++] = sample;
}

bool bench_wanted(const bench *b, const bench_case *c) { return !b->o.only || strstr(c->name, b->o.only); }

void bench_measure(bench *b, bench_case *c, int repeats, bool warm) {
    for (int r = warm ? -1 : 0; r < repeats; r++)
        for (int i = 0; i < c->n_side; i++) {
            double v = c->side[i].fn ? c->side[i].fn(c->side[i].ctx) : NAN;
            if (r >= 0) bench_put(c, c->side[i].name, v);
        }
}

/* ---------------- statistics ---------------- */

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bench_range range_of(double *v, int n) {
    if (n == 0) return (bench_range){NAN, NAN, NAN, 0};
    qsort(v, (size_t)n, sizeof *v, by_value);
    return (bench_range){n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2, v[0], v[n - 1], n};
}

bench_range bench_range_of(const json_t *samples) {
    double v[BENCH_SAMPLES];
    int n = 0;
    for (size_t i = 0; i < json_array_size(samples) && n < BENCH_SAMPLES; i++)
        v[n++] = json_number_value(json_array_get(samples, i));
    return range_of(v, n);
}

bool bench_is_bound(const char *side) { return strncmp(side, "bound", 5) == 0; }

bench_range bench_ratio(const json_t *a, const json_t *b, bool low) {
    size_t na = json_array_size(a), nb = json_array_size(b);
    if (na == 0 || nb == 0) return (bench_range){NAN, NAN, NAN, 0};
    if (na != nb) {
        bench_range x = bench_range_of(a), y = bench_range_of(b);
        return low ? (bench_range){y.median / x.median, y.least / x.most, y.most / x.least, 1}
                   : (bench_range){x.median / y.median, x.least / y.most, x.most / y.least, 1};
    }
    double v[BENCH_SAMPLES];
    int n = 0;
    for (size_t i = 0; i < na && n < BENCH_SAMPLES; i++) {
        double x = json_number_value(json_array_get(a, i)), y = json_number_value(json_array_get(b, i));
        v[n++] = low ? y / x : x / y;
    }
    return range_of(v, n);
}

/* ---------------- the file ---------------- */

/* What the kernel says of the machine. */
static void first_line_with(tn_str *out, const char *path, const char *key) {
    tn_str s = TN_STR_INIT;
    tn_str_clear(out);
    if (tn_read_file(path, &s, 1 << 20, NULL) == TN_OK) {
        const char *p = strstr(s.s, key);
        if (p && (p = strchr(p, ':'))) {
            p += 1 + strspn(p + 1, " \t");
            tn_str_add(out, p, strcspn(p, "\n"));
        }
    }
    tn_str_free(&s);
}

static const char *const isa[] = {"avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8"};

static json_t *machine(const bench *b) {
    tn_str s = TN_STR_INIT, flags = TN_STR_INIT;
    json_t *m = json_object();
    static const char *const facts[][3] = {{"cpu", "/proc/cpuinfo", "model name"},
                                           {"family", "/proc/cpuinfo", "cpu family"},
                                           {"model", "/proc/cpuinfo", "model\t"},
                                           {"memory", "/proc/meminfo", "MemTotal"}};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        first_line_with(&s, facts[i][1], facts[i][2]);
        json_object_set_new(m, facts[i][0], json_string(s.s));
    }
    static const char *const cache[][2] = {{"L1d", "index0"}, {"L2", "index2"}, {"L3", "index3"}};
    for (size_t i = 0; i < 3; i++) {
        char path[80];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/%s/size", cache[i][1]);
        tn_str_clear(&s);
        if (tn_read_file(path, &s, 64, NULL) == TN_OK)
            json_object_set_new(m, cache[i][0], json_stringn(s.s, strcspn(s.s, "\n")));
    }
    first_line_with(&flags, "/proc/cpuinfo", "flags");
    tn_str_addc(&flags, ' ');
    tn_str_clear(&s);
    for (size_t i = 0; i < sizeof isa / sizeof *isa; i++) {
        char word[24];
        snprintf(word, sizeof word, " %s ", isa[i]);
        if (strstr(flags.s, word)) tn_str_addf(&s, "%s%s", s.len ? " " : "", isa[i]);
    }
    json_object_set_new(m, "instructions", json_string(s.s));
    json_object_set_new(m, "cpus", json_integer(tn_ncpu()));
    json_object_set_new(m, "threads", json_integer(tn_pool_threads(b->bf16->pool)));
    json_object_set_new(m, "kernels", json_pack("[s,s]", b->f32->kernels, b->bf16->kernels));
    json_object_set_new(m, "tenet", json_string(TN_VERSION));
    tn_str_free(&s);
    tn_str_free(&flags);
    return m;
}

static tn_status result_path(const bench *b, const char *ending, tn_str *p) {
    tn_str_clear(p);
    tn_str_addf(p, "%s.%s", b->o.out, ending);
    return TN_OK;
}

tn_status bench_load(bench *b, tn_err *e) {
    tn_str p = TN_STR_INIT;
    tn_status st = TN_OK;
    result_path(b, "json", &p);
    if (tn_exists(p.s)) st = tn_json_load(p.s, &b->results, e);
    tn_str_free(&p);
    TN_TRY(st);
    if (!b->results) b->results = json_object();
    json_object_set_new(b->results, "machine", machine(b));
    if (!json_object_get(b->results, "parts")) json_object_set_new(b->results, "parts", json_object());
    return b->results ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}

static json_t *part_of(const bench *b) { return json_object_get(json_object_get(b->results, "parts"), b->part); }

void bench_part_begin(bench *b, const char *part) {
    char date[32];
    time_t now = time(NULL);
    strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", gmtime(&now));
    b->part = part;
    json_object_set_new(json_object_get(b->results, "parts"), part,
                        json_pack("{s:s,s:s,s:b,s:[],s:[]}", "date", date, "command", b->o.command, "quick", b->o.quick,
                                  "cases", "notes"));
    printf("\n%s\n", part);
}

void bench_note(bench *b, const char *fmt, ...) {
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_t *notes = json_object_get(part_of(b), "notes");
    for (size_t i = 0; i < json_array_size(notes); i++)
        if (strcmp(json_string_value(json_array_get(notes, i)), text) == 0) return;
    json_array_append_new(notes, json_string(text));
    printf("  note: %s\n", text);
    fflush(stdout);
}

void bench_end(bench *b, const bench_case *c) {
    json_t *sides = json_object();
    for (int i = 0; i < c->n_side; i++) {
        json_t *v = json_array();
        for (int k = 0; k < c->side[i].n; k++) json_array_append_new(v, json_real(c->side[i].v[k]));
        if (c->side[i].n) json_object_set(sides, c->side[i].name, v);
        json_decref(v);
    }
    json_t *j = json_pack("{s:s,s:s,s:b,s:b,s:s,s:O}", "name", c->name, "unit", c->unit, "lower_is_better", c->low,
                          "plot", c->plot, "note", c->note, "sides", sides);
    json_array_append_new(json_object_get(part_of(b), "cases"), j);
    const json_t *own = json_object_get(sides, "tenet");
    const char *name;
    json_t *v;
    printf("  %-34s", c->name);
    json_object_foreach(sides, name, v) {
        bench_range r = bench_range_of(v), q = bench_ratio(own, v, c->low && !bench_is_bound(name));
        printf("  %s %.4g", name, r.median);
        if (v != own && own) printf(" (%.2f)", q.median);
    }
    printf(" %s%s%s\n", c->unit, *c->note ? "  " : "", c->note);
    fflush(stdout);
    json_decref(sides);
}

/* ---------------- Markdown ---------------- */

/* Sides of a part in the order of their first appearance. */
static json_t *sides_of(const json_t *cases) {
    json_t *names = json_array();
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const char *name;
        json_t *v, *sides = json_object_get(json_array_get(cases, i), "sides");
        json_object_foreach(sides, name, v) {
            bool known = false;
            for (size_t k = 0; k < json_array_size(names); k++)
                known = known || strcmp(json_string_value(json_array_get(names, k)), name) == 0;
            if (!known) json_array_append_new(names, json_string(name));
        }
    }
    return names;
}

/* Three digits, or all before the point. */
static void add_number(tn_str *s, double v) { tn_str_addf(s, fabs(v) >= 100 ? "%.0f" : "%.3g", v); }

static void add_range(tn_str *s, const bench_range *r, const char *sign) {
    if (!r->n) return;
    add_number(s, r->median);
    tn_str_addz(s, sign);
    if (r->n == 1 && r->least == r->most) return;
    tn_str_addz(s, " (");
    add_number(s, r->least);
    tn_str_addz(s, "–");
    add_number(s, r->most);
    tn_str_addc(s, ')');
}

static void add_row(tn_str *s, const json_t *c, const json_t *names) {
    const json_t *sides = json_object_get(c, "sides"), *own = json_object_get(sides, "tenet");
    bool low = json_is_true(json_object_get(c, "lower_is_better"));
    tn_str_addf(s, "| %s | %s |", json_string_value(json_object_get(c, "name")),
                json_string_value(json_object_get(c, "unit")));
    for (size_t k = 0; k < json_array_size(names); k++) {
        const char *name = json_string_value(json_array_get(names, k));
        const json_t *v = json_object_get(sides, name);
        bench_range r = bench_range_of(v), q = bench_ratio(own, v, low && !bench_is_bound(name));
        tn_str_addc(s, ' ');
        add_range(s, &r, "");
        if (strcmp(name, "tenet") == 0) {
            tn_str_addz(s, " |");
            continue;
        }
        tn_str_addz(s, " | ");
        if (bench_is_bound(name)) q.median *= 100, q.least *= 100, q.most *= 100;
        if (v && own) add_range(s, &q, bench_is_bound(name) ? " %" : "×");
        tn_str_addz(s, " |");
    }
    tn_str_addf(s, " %s |\n", json_string_value(json_object_get(c, "note")));
}

static void add_part(tn_str *s, const char *part, const json_t *p) {
    const json_t *cases = json_object_get(p, "cases"), *notes = json_object_get(p, "notes");
    json_t *names = sides_of(cases);
    tn_str_addf(s, "\n## %s\n\n%s%s: `%s`\n", part, json_string_value(json_object_get(p, "date")),
                json_is_true(json_object_get(p, "quick")) ? " (quick: too few repeats to be quoted)" : "",
                json_string_value(json_object_get(p, "command")));
    for (size_t i = 0; i < json_array_size(notes); i++)
        tn_str_addf(s, "- %s\n", json_string_value(json_array_get(notes, i)));
    tn_str_addz(s, "\n| case | unit |");
    for (size_t k = 0; k < json_array_size(names); k++) {
        const char *name = json_string_value(json_array_get(names, k));
        bool own = strcmp(name, "tenet") == 0;
        tn_str_addf(s, own ? " %s |" : bench_is_bound(name) ? " %s | of it |" : " %s | tenet is |", name);
    }
    tn_str_addz(s, " |\n|---|---|");
    for (size_t k = 0; k < json_array_size(names); k++)
        tn_str_addz(s, strcmp(json_string_value(json_array_get(names, k)), "tenet") == 0 ? "---:|" : "---:|---:|");
    tn_str_addz(s, "---|\n");
    for (size_t i = 0; i < json_array_size(cases); i++) add_row(s, json_array_get(cases, i), names);
    json_decref(names);
}

static void add_markdown(tn_str *s, const json_t *root) {
    const char *key;
    json_t *v;
    tn_str_addz(s, "# Measurements\n\nMedian of the repeats, in brackets the least and the largest. Sides of a case are "
                   "measured in turns; a ratio is of one repeat,\nabove 1 (or nearer to 100 %) is better for tenet.\n\n");
    json_object_foreach(json_object_get(root, "machine"), key, v) {
        if (json_is_string(v)) tn_str_addf(s, "- %s: %s\n", key, json_string_value(v));
        else if (json_is_integer(v)) tn_str_addf(s, "- %s: %lld\n", key, (long long)json_integer_value(v));
        else tn_str_addf(s, "- %s: %s (f32), %s (bf16)\n", key, json_string_value(json_array_get(v, 0)),
                         json_string_value(json_array_get(v, 1)));
    }
    json_object_foreach(json_object_get(root, "parts"), key, v) add_part(s, key, v);
}

tn_status bench_save(bench *b, tn_err *e) {
    tn_str path = TN_STR_INIT, text = TN_STR_INIT;
    tn_status st;
    result_path(b, "json", &path);
    TN_GO(tn_json_save(path.s, b->results, false, e), done);
    result_path(b, "md", &path);
    add_markdown(&text, b->results);
    TN_GO(tn_write_file(path.s, text.s, text.len, e), done);
    tn_str_clear(&text);
    bench_plot(json_object_get(b->results, "parts"), &text);
    result_path(b, "svg", &path);
    st = tn_write_file(path.s, text.s, text.len, e);
done:
    tn_str_free(&path);
    tn_str_free(&text);
    return st;
}
