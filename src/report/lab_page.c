/* The table of an experiment as Markdown, and its page. */
#include "report/lab.h"
#include <math.h>
#include <string.h>

/* The arm that others are compared with; -1: none. */
static int against(const tn_lab *l) {
    for (int a = 0; l->main && l->against && a < l->n_arm; a++)
        if (!strcmp(l->arm[a], l->against)) return a;
    return -1;
}

/* ".811" is quicker to read than "0.811" in a row of rates. */
static void number(tn_str *o, double v, int digits) {
    char s[32];
    if (isnan(v)) {
        tn_str_addz(o, "–");
        return;
    }
    snprintf(s, sizeof s, "%.*f", digits, v);
    tn_str_addz(o, s);
}

static void with_interval(tn_str *o, tn_lab_value v, int digits) {
    number(o, v.mean, digits);
    if (isnan(v.lo)) return;
    tn_str_addz(o, " [");
    number(o, v.lo, digits);
    tn_str_addz(o, ", ");
    number(o, v.hi, digits);
    tn_str_addz(o, "]");
}

static void cell(const tn_lab *l, tn_str *o, int arm, const tn_lab_column *c) {
    tn_lab_value v = tn_lab_mean(l, arm, c->key);
    if (!v.n) tn_str_addz(o, "–");
    else with_interval(o, v, c->digits);
    if (c != l->main || l->n_seed < 2) return;
    tn_str_addz(o, "; ");
    for (int s = 0; s < l->n_seed; s++) {
        if (s) tn_str_addz(o, " ");
        number(o, tn_lab_get(l, s, arm, c->key), c->digits);
    }
}

tn_status tn_lab_markdown(const tn_lab *l, tn_str *o, tn_err *e) {
    int base = against(l);
    if (l->title) tn_str_addf(o, "### %s\n\n", l->title);
    if (l->claim) tn_str_addf(o, "%s\n\n", l->claim);
    if (l->published) tn_str_addf(o, "Published: %s\n\n", l->published);
    tn_str_addz(o, "| arm |");
    for (int c = 0; c < l->n_column; c++)
        if (l->column[c].chosen) tn_str_addf(o, " %s |", l->column[c].head);
    if (base >= 0) tn_str_addf(o, " %s less that of %s |", l->main->head, l->against);
    tn_str_addz(o, "\n|---|");
    for (int c = 0; c < l->n_column; c++)
        if (l->column[c].chosen) tn_str_addz(o, "---|");
    tn_str_addz(o, base >= 0 ? "---|\n" : "\n");
    for (int a = 0; a < l->n_arm; a++) {
        tn_str_addf(o, "| %s |", l->arm[a]);
        for (int c = 0; c < l->n_column; c++) {
            if (!l->column[c].chosen) continue;
            tn_str_addz(o, " ");
            cell(l, o, a, &l->column[c]);
            tn_str_addz(o, " |");
        }
        if (base >= 0) {
            tn_str_addz(o, " ");
            if (a != base) with_interval(o, tn_lab_difference(l, a, base, l->main->key), l->main->digits);
            tn_str_addz(o, " |");
        }
        tn_str_addz(o, "\n");
    }
    tn_str_addf(o, "\nMeans over %d seed%s", l->n_seed, l->n_seed == 1 ? "" : "s");
    if (l->n_seed > 1) tn_str_addz(o, " with Student's 95 % intervals; behind the semicolon every seed");
    tn_str_addz(o, ".\n");
    return o->oom ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
}

/* ---- page ---- */

static void figure(const tn_lab *l, tn_str *o, const tn_lab_column *c, tn_svg_row *row) {
    tn_svg_rows p = {.label = c->head, .row = row, .n = l->n_arm, .width = 420, .digits = 2};
    for (int a = 0; a < l->n_arm; a++) {
        tn_lab_value v = tn_lab_mean(l, a, c->key);
        double lo = isnan(v.lo) ? v.mean : v.lo, hi = isnan(v.hi) ? v.mean : v.hi;
        row[a] = (tn_svg_row){l->arm[a], a & 7, {{v.mean, lo, hi}}};
        if (a == against(l)) p.band_lo = lo, p.band_hi = hi;
    }
    tn_str_addz(o, "<figure><figcaption>");
    tn_html_textz(o, c->head);
    tn_str_addz(o, "</figcaption>");
    tn_svg_intervals(o, &p);
    tn_str_addz(o, "</figure>");
}

/* A line a seed, over the arms: what a seed does to all of them is seen at once. */
static void seeds(const tn_lab *l, tn_str *o, double *x, tn_svg_line *line) {
    tn_svg_plot p = {.label = l->main->head, .x_label = "arm", .line = line, .n = l->n_seed, .width = 420, .height = 220};
    for (int a = 0; a < l->n_arm; a++) x[a] = a + 1;
    for (int s = 0; s < l->n_seed; s++) {
        double *y = x + (size_t)(s + 1) * (size_t)l->n_arm;
        for (int a = 0; a < l->n_arm; a++) y[a] = tn_lab_get(l, s, a, l->main->key);
        line[s] = (tn_svg_line){.x = x, .y = y, .n = l->n_arm, .colour = s & 7};
    }
    tn_str_addz(o, "<figure><figcaption>");
    tn_html_textz(o, l->main->head);
    tn_str_addz(o, " of every seed; arms in the order of the table</figcaption>");
    tn_svg_lines(o, &p);
    tn_str_addz(o, "</figure>");
}

static void paragraph(tn_str *o, const char *head, const char *text) {
    if (!text) return;
    tn_str_addf(o, "<p>%s", head);
    tn_html_textz(o, text);
    tn_str_addz(o, "</p>");
}

static void table(const tn_lab *l, tn_str *o) {
    int base = against(l);
    tn_str_addz(o, "<section><h2>All figures</h2><div class=\"scroll\"><table><thead><tr><th></th>");
    for (int c = 0; c < l->n_column; c++) {
        tn_str_addz(o, "<th>");
        tn_html_textz(o, l->column[c].head);
        tn_str_addz(o, "</th>");
    }
    if (base >= 0) tn_str_addz(o, "<th>difference</th>");
    tn_str_addz(o, "</tr></thead><tbody>");
    for (int a = 0; a < l->n_arm; a++) {
        tn_str_addf(o, "<tr><th><b class=\"c%d\">", a & 7);
        tn_html_textz(o, l->arm[a]);
        tn_str_addz(o, "</b></th>");
        for (int c = 0; c < l->n_column + (base >= 0); c++) {
            bool last = c == l->n_column;
            tn_lab_value v = last ? tn_lab_difference(l, a, base, l->main->key) : tn_lab_mean(l, a, l->column[c].key);
            tn_str_addz(o, "<td>");
            if (last && a == base) v = (tn_lab_value){NAN, NAN, NAN, 0};
            if (last) tn_html_signed(o, v.mean, l->main->digits);
            else tn_html_num(o, v.mean, l->column[c].digits);
            if (!isnan(v.lo)) {
                tn_str_addz(o, "<small>");
                tn_html_num(o, v.lo, 2);
                tn_str_addz(o, " … ");
                tn_html_num(o, v.hi, 2);
                tn_str_addz(o, "</small>");
            }
            tn_str_addz(o, "</td>");
        }
        tn_str_addz(o, "</tr>");
    }
    tn_str_addf(o, "</tbody></table></div><p class=\"quiet\">Means over %d seeds; small figures are Student's 95&nbsp;%% intervals over "
                   "seeds, of differences over the seeds' own differences.</p></section>", l->n_seed);
}

tn_status tn_lab_page(const tn_lab *l, tn_str *o, tn_err *e) {
    size_t n = (size_t)l->n_arm;
    tn_svg_row *row = tn_calloc(n, sizeof *row);
    tn_svg_line *line = tn_calloc((size_t)l->n_seed, sizeof *line);
    double *x = tn_calloc(n * (size_t)(l->n_seed + 1), sizeof *x);
    if (row && line && x) {
        tn_report_head(o, l->title ? l->title : "Experiment");
        paragraph(o, "", l->claim);
        paragraph(o, "Published: ", l->published);
        tn_str_addz(o, "</header>\n<main><section><h2>What came out</h2><div class=\"many\">");
        for (int c = 0; c < l->n_column; c++) figure(l, o, &l->column[c], row);
        if (l->n_seed > 1 && l->main) seeds(l, o, x, line);
        tn_str_addz(o, "</div></section>");
        table(l, o);
        tn_report_foot(o);
    } else o->oom = true;
    tn_free(row);
    tn_free(line);
    tn_free(x);
    return o->oom ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
}
