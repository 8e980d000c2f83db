/* Pieces of HTML and SVG text. Everything that comes from a file goes through tn_html_text. */
#ifndef TN_REPORT_HTML_H
#define TN_REPORT_HTML_H
#include "base/str.h"

/* Text between tags or inside a quoted attribute: & < > " ' escaped; control characters (but
 * newline and tab) and invalid UTF-8 become U+FFFD. */
void tn_html_text(tn_str *out, const char *s, size_t n);
void tn_html_textz(tn_str *out, const char *s);
/* Fixed-point with a true minus sign; never "-0.00"; anything not finite is a dash. */
void tn_html_num(tn_str *out, double v, int digits);
void tn_html_signed(tn_str *out, double v, int digits); /* with a plus sign */
/* "12 s", "3 min 20 s", "2 h 05 min"; "1.2 M". */
void tn_html_seconds(tn_str *out, double s);
void tn_html_amount(tn_str *out, double v);
#endif
