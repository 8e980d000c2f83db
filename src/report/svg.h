/* Plots as inline SVG: intervals in rows, and lines. No fonts or colours of their own: classes
 * and variables of the page's style sheet (page.c) give them, so that light and dark work.
 * Coordinates are the pixels of a narrow column: a plot is readable on a telephone as it is. */
#ifndef TN_REPORT_SVG_H
#define TN_REPORT_SVG_H
#include "report/html.h"

/* Round numbers that cover [lo, hi]: *first + i * *step, *n of them, printed with *digits. */
void tn_svg_ticks(double lo, double hi, int want, double *first, double *step, int *n, int *digits);

typedef struct tn_svg_mark {
    double value, lo, hi; /* value not finite: not drawn */
} tn_svg_mark;
typedef struct tn_svg_row {
    const char *name;
    int colour;          /* class c0 .. c7; -1: muted */
    tn_svg_mark mark[2]; /* the second is drawn hollow below the first */
} tn_svg_row;
typedef struct tn_svg_rows {
    const char *label; /* for those who listen */
    const tn_svg_row *row;
    int n, width, digits;
    double lo, hi;           /* of the axis; equal: from the data */
    double band_lo, band_hi; /* a shaded band, e.g. the interval of the model compared with */
    bool two;
} tn_svg_rows;
void tn_svg_intervals(tn_str *out, const tn_svg_rows *p);

typedef struct tn_svg_line {
    const double *x, *y, *lo, *hi; /* lo, hi: band or NULL; y not finite: a gap */
    int n, colour;
    bool dashed, dots; /* dots: points only */
} tn_svg_line;
typedef struct tn_svg_plot {
    const char *label, *x_label;
    const tn_svg_line *line;
    int n, width, height;
} tn_svg_plot;
void tn_svg_lines(tn_str *out, const tn_svg_plot *p);

typedef struct tn_svg_bars { /* a histogram: counts of equal bins of [lo, hi] */
    const char *label, *x_label;
    const int *count;
    int n, width, height;
    double lo, hi;
} tn_svg_bars;
void tn_svg_bars_draw(tn_str *out, const tn_svg_bars *p);
#endif
