/* The picture: for every case one row; how many times a peer's speed, and how much of the bound. */
#include "bench.h"
#include "report/html.h"
#include <string.h>

enum { LEFT = 300, WIDTH = 860, PITCH = 18, TOP = 46 };

typedef struct panel {
    bool bounds; /* shares of bounds, 0 to 100 %; otherwise times of peers, a logarithmic axis */
    double lo, hi;
    int y; /* of its first row */
} panel;

static const char *const colour[] = {"#1b6ca8", "#c2571a", "#3b8a3e", "#8a4fa3", "#777777"};
static int colour_of(const char *side) {
    static const char *const known[] = {"TRL", "transformers", "torch", "llama.cpp"};
    for (int i = 0; i < 4; i++)
        if (strcmp(side, known[i]) == 0) return i;
    return 4;
}

static double at(const panel *p, double v) {
    double t = p->bounds ? (v - p->lo) / (p->hi - p->lo) : log(v / p->lo) / log(p->hi / p->lo);
    return LEFT + (t < 0 ? 0 : t > 1 ? 1 : t) * (WIDTH - LEFT - 70);
}

static void line(tn_str *o, double x1, double y1, double x2, double y2, const char *stroke, double w) {
    tn_str_addf(o, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"%.1f\"/>\n", x1, y1,
                x2, y2, stroke, w);
}
static void text(tn_str *o, double x, double y, const char *anchor, const char *s) {
    tn_str_addf(o, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    tn_html_textz(o, s);
    tn_str_addz(o, "</text>\n");
}

/* One mark: the median with the spread of the repeats. */
static void mark(tn_str *o, const panel *p, double y, const bench_range *r, const char *side) {
    const char *c = colour[colour_of(side)];
    char value[24];
    line(o, at(p, r->least), y, at(p, r->most), y, c, 2);
    tn_str_addf(o, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n", at(p, r->median), y, c);
    snprintf(value, sizeof value, p->bounds ? "%.0f %%" : "%.1f", p->bounds ? 100 * r->median : r->median);
    text(o, at(p, r->most) + 8, y + 4, "start", value);
}

/* Rows of a panel; with out == NULL they are only counted. */
static int rows(const json_t *parts, const panel *p, tn_str *out) {
    int n = 0;
    const char *part, *side;
    json_t *v, *samples;
    json_object_foreach((json_t *)(uintptr_t)parts, part, v) {
        json_t *cases = json_object_get(v, "cases");
        for (size_t i = 0; i < json_array_size(cases); i++) {
            const json_t *c = json_array_get(cases, i);
            json_t *sides = json_object_get(c, "sides");
            const json_t *own = json_object_get(sides, "tenet");
            bool any = false;
            if (!json_is_true(json_object_get(c, "plot"))) continue;
            json_object_foreach(sides, side, samples) {
                bool here = p->bounds ? strcmp(side, "bound") == 0 : !bench_is_bound(side) && samples != own;
                bench_range r = bench_ratio(own, samples, json_is_true(json_object_get(c, "lower_is_better")));
                if (!here || !r.n) continue;
                any = true;
                if (out) mark(out, p, p->y + n * PITCH, &r, side);
            }
            if (any && out) {
                char name[120];
                snprintf(name, sizeof name, "%s: %s", part, json_string_value(json_object_get(c, "name")));
                text(out, LEFT - 12, p->y + n * PITCH + 4, "end", name);
            }
            n += any;
        }
    }
    return n;
}

static void axis(tn_str *o, const panel *p, int n, const char *title) {
    static const double times[] = {0.5, 1, 2, 5, 10, 20, 50}, shares[] = {0, 0.25, 0.5, 0.75, 1};
    const double *tick = p->bounds ? shares : times;
    int count = p->bounds ? 5 : 7;
    double top = p->y - PITCH / 2, bottom = p->y + (n - 0.5) * PITCH;
    tn_str_addz(o, "<g font-weight=\"bold\">");
    text(o, LEFT, top - 18, "start", title);
    tn_str_addz(o, "</g>\n");
    for (int i = 0; i < count; i++) {
        char s[16];
        line(o, at(p, tick[i]), top, at(p, tick[i]), bottom, tick[i] == 1 ? "#333" : "#ddd", 1);
        snprintf(s, sizeof s, p->bounds ? "%.0f %%" : "%.3g×", p->bounds ? 100 * tick[i] : tick[i]);
        text(o, at(p, tick[i]), top - 4, "middle", s);
    }
}

void bench_plot(const json_t *parts, tn_str *svg) {
    panel peers = {.lo = 0.5, .hi = 50, .y = TOP}, bounds = {.bounds = true, .lo = 0, .hi = 1};
    int n = rows(parts, &peers, NULL), m = rows(parts, &bounds, NULL);
    bounds.y = n ? TOP + n * PITCH + 56 : TOP;
    int height = bounds.y + m * PITCH + 20;
    tn_str_addf(svg,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
                "font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n<rect width=\"100%%\" height=\"100%%\" "
                "fill=\"#fff\"/>\n",
                WIDTH, height, WIDTH, height);
    if (n) {
        axis(svg, &peers, n, "Times better than others: TRL blue, transformers orange, torch green, llama.cpp violet");
        rows(parts, &peers, svg);
    }
    if (m) {
        axis(svg, &bounds, m, "Share of the machine's bound");
        rows(parts, &bounds, svg);
    }
    tn_str_addz(svg, "</svg>\n");
}
