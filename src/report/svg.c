/* Plots as SVG text; see svg.h. */
#include "report/svg.h"
#include <math.h>
#include <string.h>

#define POINTS 400 /* at most so many points a line: means of buckets beyond that */

void tn_svg_ticks(double lo, double hi, int want, double *first, double *step, int *n,
                  int *digits) {
    if (!isfinite(lo) || !isfinite(hi)) lo = 0, hi = 1;
    double room = fabs(lo) * 1e-6 + 1e-12;
    if (hi - lo < room) lo -= room, hi += room;
    double raw = (hi - lo) / (want > 1 ? want : 1), s = 1;
    int d = 0;
    while (s * 10 <= raw && s < 1e300) s *= 10;
    while (s > raw && s > 1e-300) s /= 10, d++;
    if (raw > s * 5) s *= 10, d -= d > 0;
    else if (raw > s * 2) s *= 5;
    else if (raw > s) s *= 2;
    *step = s;
    *first = ceil(lo / s - 1e-9) * s;
    double count = floor((hi - *first) / s + 1e-9) + 1;
    *n = count >= 0 && count < 100 ? (int)count : 0;
    *digits = d;
}

static void open_svg(tn_str *o, const char *label, int w, int h) {
    tn_str_addf(o, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", w, h);
    tn_html_textz(o, label);
    tn_str_addz(o, "\">");
}

static void text(tn_str *o, double x, double y, const char *class, const char *s) {
    tn_str_addf(o, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, class);
    tn_html_textz(o, s);
    tn_str_addz(o, "</text>");
}

static void tick_text(tn_str *o, double x, double y, const char *class, double v, int digits) {
    tn_str_addf(o, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, class);
    if (fabs(v) >= 1e4) tn_html_amount(o, v);
    else if (digits > 4 && v != 0) tn_str_addf(o, "%.1e", v);
    else tn_html_num(o, v, digits > 4 ? 0 : digits);
    tn_str_addz(o, "</text>");
}

static void path_line(tn_str *o, const char *class, double x1, double y1, double x2, double y2) {
    tn_str_addf(o, "<path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1f\"/>", class, x1, y1, x2, y2);
}

static void widen(double *lo, double *hi, double v) {
    if (!isfinite(v)) return;
    if (!(*lo <= v)) *lo = v;
    if (!(*hi >= v)) *hi = v;
}

/* ---------------- rows of intervals ---------------- */

typedef struct frame { double x0, x1, y0, y1, lo, hi, ylo, yhi; } frame;
static double at_x(const frame *f, double v) {
    double t = (v - f->lo) / (f->hi - f->lo);
    return f->x0 + (t < 0 ? 0 : t > 1 ? 1 : t) * (f->x1 - f->x0);
}
static double at_y(const frame *f, double v) {
    double t = (v - f->ylo) / (f->yhi - f->ylo);
    return f->y1 - (t < 0 ? 0 : t > 1 ? 1 : t) * (f->y1 - f->y0);
}

static int columns(const char *s) { /* code points */
    int n = 0;
    for (; *s; s++) n += ((unsigned char)*s & 0xC0) != 0x80;
    return n;
}

/* At most `room` code points, an ellipsis for the rest. */
static void clipped(tn_str *o, double x, double y, const char *s, int room) {
    tn_str_addf(o, "<text x=\"%.1f\" y=\"%.1f\" class=\"nm\">", x, y);
    const char *p = s;
    for (int n = 0; *p && n < room; n++)
        do p++;
        while (((unsigned char)*p & 0xC0) == 0x80);
    tn_html_text(o, s, (size_t)(p - s));
    tn_str_addz(o, *p ? "…</text>" : "</text>");
}

static void mark(tn_str *o, const frame *f, const tn_svg_row *r, int k, double y, int digits) {
    const tn_svg_mark *m = &r->mark[k];
    if (!isfinite(m->value)) return;
    tn_str_addf(o, r->colour < 0 ? "<g class=\"cm\">" : "<g class=\"c%d\">", r->colour & 7);
    tn_str_addz(o, "<title>");
    tn_html_textz(o, r->name);
    tn_str_addz(o, ": ");
    tn_html_num(o, m->value, digits + 1);
    tn_str_addz(o, " [");
    tn_html_num(o, m->lo, digits + 1);
    tn_str_addz(o, ", ");
    tn_html_num(o, m->hi, digits + 1);
    tn_str_addz(o, "]</title>");
    if (isfinite(m->lo) && isfinite(m->hi))
        path_line(o, "iv", at_x(f, m->lo), y, at_x(f, m->hi), y);
    tn_str_addf(o, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"/></g>",
                k ? "hol" : "dot", at_x(f, m->value), y, k ? "3.6" : "4.4");
}

static void x_axis(tn_str *o, const frame *f, int want) {
    double first, step;
    int n, digits;
    tn_svg_ticks(f->lo, f->hi, want, &first, &step, &n, &digits);
    for (int i = 0; i < n; i++) {
        double v = first + i * step, x = at_x(f, v);
        path_line(o, fabs(v) < step * 1e-6 ? "zero" : "grid", x, f->y0, x, f->y1);
        tick_text(o, x, f->y1 + 14, "tk mid", fabs(v) < step * 1e-6 ? 0 : v, digits);
    }
}

void tn_svg_intervals(tn_str *out, const tn_svg_rows *p) {
    int longest = 3, pitch = p->two ? 26 : 21;
    double lo = NAN, hi = NAN;
    for (int i = 0; i < p->n; i++) {
        int c = columns(p->row[i].name);
        if (c > longest) longest = c;
        for (int k = 0; k <= p->two; k++)
            if (isfinite(p->row[i].mark[k].value)) {
                widen(&lo, &hi, p->row[i].mark[k].value);
                widen(&lo, &hi, p->row[i].mark[k].lo);
                widen(&lo, &hi, p->row[i].mark[k].hi);
            }
    }
    if (p->lo < p->hi) lo = p->lo, hi = p->hi;
    else if (!isfinite(lo)) lo = 0, hi = 1;
    else {
        double pad = (hi - lo) * 0.06 + 1e-9;
        lo -= pad, hi += pad;
    }
    int room = p->width / 20 > 16 ? 16 : p->width / 20;
    if (longest > room) longest = room + 1;
    int height = 8 + p->n * pitch + 22;
    frame f = {.x0 = longest * 7.0 + 10, .x1 = p->width - 48, .y0 = 4, .y1 = height - 20,
               .lo = lo, .hi = hi};
    open_svg(out, p->label, p->width, height);
    if (p->band_lo < p->band_hi)
        tn_str_addf(out, "<rect class=\"band\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
                    at_x(&f, p->band_lo), f.y0, at_x(&f, p->band_hi) - at_x(&f, p->band_lo),
                    f.y1 - f.y0);
    x_axis(out, &f, (int)((f.x1 - f.x0) / 48));
    for (int i = 0; i < p->n; i++) {
        double y = f.y0 + 4 + (i + 0.5) * pitch;
        clipped(out, f.x0 - 8, y + 4, p->row[i].name, room);
        mark(out, &f, &p->row[i], 0, p->two ? y - 5 : y, p->digits);
        if (p->two) mark(out, &f, &p->row[i], 1, y + 5, p->digits);
        for (int k = 0; k <= p->two; k++) {
            tn_str_addf(out, "<text x=\"%d\" y=\"%.1f\" class=\"%s\">", p->width - 2,
                        p->two ? y + (k ? 11 : -1) : y + 4, p->two ? "val sm" : "val");
            tn_html_num(out, p->row[i].mark[k].value, p->digits);
            tn_str_addz(out, "</text>");
        }
    }
    tn_str_addz(out, "</svg>");
}

/* ---------------- lines ---------------- */

/* Largest and smallest value that count: of many points, the outermost hundredth does not. */
static void range(const tn_svg_line *l, double *lo, double *hi) {
    double a = NAN, b = NAN;
    for (int i = 0; i < l->n; i++) {
        widen(&a, &b, l->y[i]);
        if (l->lo) widen(&a, &b, l->lo[i]), widen(&a, &b, l->hi[i]);
    }
    if (l->n >= 100 && b > a) {
        int bin[64] = {0}, total = 0, low = 0, high = 63, sum = 0;
        for (int i = 0; i < l->n; i++)
            if (isfinite(l->y[i])) {
                int k = (int)((l->y[i] - a) / (b - a) * 64);
                bin[k > 63 ? 63 : k]++;
                total++;
            }
        while (low < high && (sum + bin[low]) * 100 < total) sum += bin[low++];
        for (sum = 0; high > low && (sum + bin[high]) * 100 < total;) sum += bin[high--];
        double w = (b - a) / 64;
        b = a + (high + 1) * w;
        a += low * w;
    }
    widen(lo, hi, a);
    widen(lo, hi, b);
}

static void draw(tn_str *o, const frame *f, const char *class, const double *x, const double *y,
                 int n) {
    bool pen = false;
    int bucket = n > POINTS ? (n + POINTS - 1) / POINTS : 1;
    tn_str_addf(o, "<path class=\"%s\" d=\"", class);
    for (int i = 0; i < n; i += bucket) {
        double sx = 0, sy = 0;
        int k = 0;
        for (int j = i; j < i + bucket && j < n; j++)
            if (isfinite(y[j]) && isfinite(x[j])) sx += x[j], sy += y[j], k++;
        if (!k) pen = false;
        else {
            tn_str_addf(o, "%c%.1f %.1f", pen ? 'L' : 'M', at_x(f, sx / k), at_y(f, sy / k));
            pen = true;
        }
    }
    tn_str_addz(o, "\"/>");
}

static void draw_band(tn_str *o, const frame *f, const tn_svg_line *l) {
    tn_str_addz(o, "<path class=\"fill\" d=\"");
    char move = 'M';
    for (int i = 0; i < l->n; i++, move = 'L')
        tn_str_addf(o, "%c%.1f %.1f", move, at_x(f, l->x[i]), at_y(f, l->hi[i]));
    for (int i = l->n - 1; i >= 0; i--)
        tn_str_addf(o, "L%.1f %.1f", at_x(f, l->x[i]), at_y(f, l->lo[i]));
    tn_str_addz(o, "Z\"/>");
}

/* Mean over a window centred on each point, shorter at both ends. */
static void smooth(const double *y, int n, int half, double *out) {
    for (int i = 0; i < n; i++) {
        int r = half;
        if (i < r) r = i;
        if (n - 1 - i < r) r = n - 1 - i;
        double s = 0;
        int k = 0;
        for (int j = i - r; j <= i + r; j++)
            if (isfinite(y[j])) s += y[j], k++;
        out[i] = k ? s / k : NAN;
    }
}

static void one_line(tn_str *o, const frame *f, const tn_svg_line *l) {
    tn_str_addf(o, l->colour < 0 ? "<g class=\"cm\">" : "<g class=\"c%d\">", l->colour & 7);
    bool smoothed = l->n > 60 && !l->dots && !l->lo;
    double *s = smoothed ? tn_malloc((size_t)l->n * sizeof *s) : NULL;
    if (smoothed && !s) o->oom = true;
    if (l->lo && l->n > 1) draw_band(o, f, l);
    if (l->dots || l->n == 1) {
        int skip = l->n > POINTS ? (l->n + POINTS - 1) / POINTS : 1;
        for (int i = 0; i < l->n; i += skip)
            if (isfinite(l->x[i]) && isfinite(l->y[i]))
                tn_str_addf(o, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>",
                            at_x(f, l->x[i]), at_y(f, l->y[i]));
    } else if (s) {
        if (!l->dashed) draw(o, f, "raw", l->x, l->y, l->n);
        int half = l->n / 24;
        smooth(l->y, l->n, half > 200 ? 200 : half, s);
        draw(o, f, l->dashed ? "ln dash" : "ln", l->x, s, l->n);
    } else draw(o, f, l->dashed ? "ln dash" : "ln", l->x, l->y, l->n);
    tn_free(s);
    tn_str_addz(o, "</g>");
}

void tn_svg_lines(tn_str *out, const tn_svg_plot *p) {
    frame f = {.x0 = 46, .x1 = p->width - 8, .y0 = 8, .y1 = p->height - (p->x_label ? 34 : 20),
               .lo = NAN, .hi = NAN, .ylo = NAN, .yhi = NAN};
    for (int i = 0; i < p->n; i++) {
        range(&p->line[i], &f.ylo, &f.yhi);
        for (int j = 0; j < p->line[i].n; j++) widen(&f.lo, &f.hi, p->line[i].x[j]);
    }
    if (!isfinite(f.lo)) f.lo = 0, f.hi = 1;
    if (!isfinite(f.ylo)) f.ylo = 0, f.yhi = 1;
    if (f.hi - f.lo < 1e-9) f.lo -= 0.5, f.hi += 0.5;
    double span = f.yhi - f.ylo, least = (fabs(f.ylo) + fabs(f.yhi)) * 1e-6 + 1e-12;
    if (span < least) span = least;
    f.ylo -= span * 0.05;
    f.yhi += span * 0.05;
    open_svg(out, p->label, p->width, p->height);
    double first, step;
    int n, digits;
    tn_svg_ticks(f.ylo, f.yhi, 4, &first, &step, &n, &digits);
    for (int i = 0; i < n; i++) {
        double v = first + i * step, y = at_y(&f, v);
        bool zero = fabs(v) < step * 1e-6;
        path_line(out, zero ? "zero" : "grid", f.x0, y, f.x1, y);
        tick_text(out, f.x0 - 5, y + 3.5, "tk end", zero ? 0 : v, digits);
    }
    tn_svg_ticks(f.lo, f.hi, (int)((f.x1 - f.x0) / 60), &first, &step, &n, &digits);
    for (int i = 0; i < n; i++) {
        double v = first + i * step;
        tick_text(out, at_x(&f, v), f.y1 + 14, "tk mid", fabs(v) < step * 1e-6 ? 0 : v, digits);
    }
    path_line(out, "axis", f.x0, f.y1, f.x1, f.y1);
    for (int i = 0; i < p->n; i++) one_line(out, &f, &p->line[i]);
    if (p->x_label) text(out, (f.x0 + f.x1) / 2, p->height - 4, "tk mid", p->x_label);
    tn_str_addz(out, "</svg>");
}

/* ---------------- bars ---------------- */

void tn_svg_bars_draw(tn_str *out, const tn_svg_bars *p) {
    int most = 1, n, digits;
    for (int i = 0; i < p->n; i++) most = p->count[i] > most ? p->count[i] : most;
    frame f = {.x0 = 46, .x1 = p->width - 8, .y0 = 8, .y1 = p->height - 34, .lo = p->lo, .hi = p->hi, .ylo = 0, .yhi = most * 1.05};
    double first, step;
    open_svg(out, p->label, p->width, p->height);
    tn_svg_ticks(0, most, 4, &first, &step, &n, &digits);
    for (int i = 0; i < n; i++) {
        double y = at_y(&f, first + i * step);
        path_line(out, "grid", f.x0, y, f.x1, y);
        tick_text(out, f.x0 - 5, y + 3.5, "tk end", first + i * step, digits);
    }
    for (int i = 0; i < p->n; i++) {
        double w = (p->hi - p->lo) / p->n, a = at_x(&f, p->lo + i * w), y = at_y(&f, p->count[i]);
        tn_str_addf(out, "<rect class=\"c0 dot\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"2\"><title>", a + 1, y,
                    at_x(&f, p->lo + (i + 1) * w) - a - 2, f.y1 - y);
        tn_html_num(out, p->lo + i * w, 2);
        tn_str_addz(out, " to ");
        tn_html_num(out, p->lo + (i + 1) * w, 2);
        tn_str_addf(out, ": %d</title></rect>", p->count[i]);
    }
    tn_svg_ticks(p->lo, p->hi, (int)((f.x1 - f.x0) / 60), &first, &step, &n, &digits);
    for (int i = 0; i < n; i++) tick_text(out, at_x(&f, first + i * step), f.y1 + 14, "tk mid", first + i * step, digits);
    path_line(out, "axis", f.x0, f.y1, f.x1, f.y1);
    text(out, (f.x0 + f.x1) / 2, p->height - 4, "tk mid", p->x_label);
    tn_str_addz(out, "</svg>");
}
