#include "report/bon.h"
#include "report/report.h"
#include <math.h>
#include <string.h>

enum { ALONG = 49 }; /* points of a fitted line; svg.c takes more than 60 for a noisy series */

static int colour_of(const tn_bon_page *p, int run) {
    for (int k = 0; k < p->n_curve; k++)
        if (!strcmp(p->name[k], p->run[run].name)) return k & 7;
    return (p->n_curve + run) & 7;
}

/* A line and the numbers that it points to: x, y, lo, hi. */
typedef struct series { tn_svg_line line; double *v; } series;
static double *room(series *s, int n, int colour) {
    s->v = tn_calloc((size_t)n * 4, sizeof *s->v);
    if (s->v) s->line = (tn_svg_line){.x = s->v, .y = s->v + n, .n = n, .colour = colour};
    return s->v;
}

static bool measured_curve(series *s, const tn_bon_curve *c, int colour, bool gold) {
    int n = c->n_point;
    double *v = room(s, n, colour);
    for (int i = 0; v && i < n; i++) {
        const tn_bon_point *q = &c->point[i];
        const tn_stat_mean *m = gold ? &q->gain : &q->proxy;
        bool start = gold && i == 0; /* a gain of nothing, exactly */
        v[i] = q->d, v[n + i] = m->mean, v[2 * n + i] = start ? 0 : m->lo, v[3 * n + i] = start ? 0 : m->hi;
    }
    if (v) s->line.lo = v + 2 * n, s->line.hi = v + 3 * n, s->line.dots = gold;
    return v;
}

static bool measured_run(series *s, const tn_bon_run *r, int colour, bool gold) {
    double *v = room(s, r->n, colour);
    for (int i = 0; v && i < r->n; i++) v[i] = r->step[i].d, v[r->n + i] = gold ? r->step[i].gain : r->step[i].proxy;
    if (v) s->line.dots = true;
    return v;
}

static bool fitted(series *s, const tn_overopt *f, double from, double to, int colour) {
    double *v = room(s, ALONG, colour);
    for (int i = 0; v && i < ALONG; i++) v[i] = from + (to - from) * i / (ALONG - 1), v[ALONG + i] = tn_overopt_gold(f, v[i]);
    return v;
}

/* The fitted line, and a dashed one from the axis to its peak where that lies inside what was measured. */
static bool form(series *s, int *n, const tn_overopt *f, double from, double to, int colour) {
    double d, gain, *v;
    if (!fitted(&s[(*n)++], f, from, to, colour)) return false;
    if (!tn_overopt_peak(f, &d, &gain) || d < from || d > to) return true;
    if (!(v = room(&s[*n], 2, colour))) return false;
    v[0] = v[1] = d, v[3] = gain;
    s[(*n)++].line.dashed = true;
    return true;
}

static bool best_of(const tn_bon_page *p, bool gold, series *s, int *n) {
    for (int k = 0; k < p->n_curve; k++) {
        const tn_bon_curve *c = p->curve[k];
        if (!measured_curve(&s[(*n)++], c, k & 7, gold)) return false;
        if (gold && c->fitted && !form(s, n, &c->fit, 0, c->point[c->n_point - 1].d, k & 7)) return false;
    }
    return true;
}

static bool learned(const tn_bon_page *p, bool gold, series *s, int *n) {
    for (int k = 0; k < p->n_run; k++) {
        const tn_bon_run *r = &p->run[k];
        int colour = colour_of(p, k);
        if (!measured_run(&s[(*n)++], r, colour, gold)) return false;
        if (gold && !form(s, n, &r->fit, TN_BON_LEAST_D, r->step[r->n - 1].d, colour)) return false;
    }
    return true;
}

static bool figure(const tn_bon_page *p, bool rl, bool gold, tn_str *o) {
    size_t most = 3 * (size_t)(rl ? p->n_run : p->n_curve);
    series *s = tn_calloc(most + 1, sizeof *s);
    tn_svg_line *line = tn_calloc(most + 1, sizeof *line);
    int n = 0, drawn = 0;
    bool ok = s && line && (rl ? learned(p, gold, s, &n) : best_of(p, gold, s, &n));
    for (int i = 0; ok && i < n; i++)
        for (int j = 0; j < s[i].line.n; j++) drawn += isfinite(s[i].line.y[j]);
    for (int i = 0; ok && i < n; i++) line[i] = s[i].line;
    if (ok && drawn) {
        const char *what = gold ? "gain in gold" : "score of the proxy";
        tn_str_addf(o, "<figure><figcaption>%s: %s</figcaption>", rl ? "Reinforcement learning" : "Best of n", what);
        tn_svg_lines(o, &(tn_svg_plot){.label = what, .x_label = rl ? "d = √KL, measured" : "d = √KL, KL = log n − (n − 1)/n", .line = line,
                                       .n = n, .width = 440, .height = 260});
        tn_str_addz(o, "</figure>");
    }
    for (int i = 0; s && i < n; i++) tn_free(s[i].v);
    tn_free(s);
    tn_free(line);
    return ok;
}

static void key(tn_str *o, int colour, const char *name) {
    tn_str_addf(o, " <span class=\"key c%d\"><s></s>", colour);
    tn_html_textz(o, name);
    tn_str_addz(o, "</span>");
}

static void cell(tn_str *o, double v, double lo, double hi, int digits) {
    tn_str_addz(o, "<td>");
    tn_html_num(o, v, digits);
    if (isfinite(lo)) {
        tn_str_addz(o, "<small>");
        tn_html_num(o, lo, digits);
        tn_str_addz(o, " … ");
        tn_html_num(o, hi, digits);
        tn_str_addz(o, "</small>");
    }
    tn_str_addz(o, "</td>");
}

static void row(tn_str *o, int colour, const char *name, const char *form, const tn_overopt *f, const tn_bon_curve *c) {
    double d = NAN, gain = NAN;
    tn_overopt_peak(f, &d, &gain);
    tn_str_addf(o, "<tr><th><b class=\"c%d\">", colour);
    tn_html_textz(o, name);
    tn_str_addf(o, "</b></th><td>%s</td>", form);
    cell(o, f->alpha, c ? c->alpha_lo : NAN, c ? c->alpha_hi : NAN, 3);
    cell(o, f->beta, c ? c->beta_lo : NAN, c ? c->beta_hi : NAN, 3);
    cell(o, d, NAN, NAN, 2);
    cell(o, gain, NAN, NAN, 3);
    cell(o, f->rmse, NAN, NAN, 3);
    tn_str_addf(o, "<td>%d</td></tr>", f->points);
}

static void table(const tn_bon_page *p, tn_str *o) {
    tn_str_addz(o, "<section><h2>Fitted forms</h2><div class=\"scroll\"><table><thead><tr><th></th><th>gain in gold</th><th>α</th><th>β</th>"
                   "<th>d of the peak</th><th>gain there</th><th>rmse</th><th>points</th></tr></thead><tbody>");
    for (int k = 0; k < p->n_curve; k++)
        if (p->curve[k]->fitted) row(o, k & 7, p->name[k], "best of n: d (α − β d)", &p->curve[k]->fit, p->curve[k]);
    for (int k = 0; k < p->n_run; k++)
        row(o, colour_of(p, k), p->run[k].name, "learning: d (α − β log d)", &p->run[k].fit, NULL);
    tn_str_addz(o, "</tbody></table></div><p class=\"quiet\">Least squares without an intercept (Gao, Schulman and Hilton 2022); small figures are 95&nbsp;% "
                   "intervals from resampled prompts. No peak where β is not positive; one beyond the last point was not seen.</p></section>");
}

tn_status tn_bon_page_write(const tn_bon_page *p, tn_str *o, tn_err *e) {
    tn_report_head(o, "Gold against proxy");
    tn_str_addf(o, "<p class=\"lead\">%d prompts with %d samples each, of which a proxy chooses the best of n; gold is ", p->n_prompt, p->n_sample);
    tn_html_textz(o, p->gold);
    tn_str_addz(o, ".</p></header>\n<main><section><h2>Over the distance</h2><p>");
    for (int k = 0; k < p->n_curve; k++) key(o, k & 7, p->name[k]);
    for (int k = 0; k < p->n_run; k++)
        if (colour_of(p, k) >= p->n_curve || strcmp(p->name[colour_of(p, k)], p->run[k].name) != 0) key(o, colour_of(p, k), p->run[k].name);
    tn_str_addz(o, "</p><p class=\"quiet\">Dots: measured. Lines: fitted forms of the gain, dashed where they peak; the proxy's score as it is. Bands: 95&nbsp;% "
                   "intervals over prompts.</p><div class=\"wide\">");
    bool ok = figure(p, false, true, o) && figure(p, true, true, o) && figure(p, false, false, o) && figure(p, true, false, o);
    tn_str_addz(o, "</div>");
    if (p->n_run)
        tn_str_addz(o, "<p class=\"quiet\">The two distances are different budgets, hence axes of their own; that of best of n is an upper bound where "
                       "samples repeat.</p>");
    tn_str_addz(o, "</section>");
    table(p, o);
    tn_report_foot(o);
    return ok && !o->oom ? TN_OK : tn_fail(e, TN_NOMEM, "out of memory");
}
