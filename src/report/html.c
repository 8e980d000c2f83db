/* Escaping and numbers for pages. */
#include "report/html.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

static void add_code(tn_str *out, utf8proc_int32_t c, const char *s, size_t n) {
    switch (c) {
    case '&': tn_str_addz(out, "&amp;"); return;
    case '<': tn_str_addz(out, "&lt;"); return;
    case '>': tn_str_addz(out, "&gt;"); return;
    case '"': tn_str_addz(out, "&quot;"); return;
    case '\'': tn_str_addz(out, "&#39;"); return;
    default: break;
    }
    bool control = (c < 32 && c != '\n' && c != '\t') || (c >= 127 && c < 160);
    if (control) tn_str_addz(out, "\xEF\xBF\xBD");
    else tn_str_add(out, s, n);
}

void tn_html_text(tn_str *out, const char *s, size_t n) {
    while (n > 0) {
        utf8proc_int32_t c = -1;
        utf8proc_ssize_t k = utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &c);
        if (k <= 0) {
            tn_str_addz(out, "\xEF\xBF\xBD");
            k = 1;
        } else add_code(out, c, s, (size_t)k);
        s += k;
        n -= (size_t)k;
    }
}

void tn_html_textz(tn_str *out, const char *s) { tn_html_text(out, s ? s : "", s ? strlen(s) : 0); }

static void number(tn_str *out, double v, int digits, bool plus) {
    char b[64];
    if (!isfinite(v)) {
        tn_str_addz(out, "–");
        return;
    }
    if (fabs(v) >= 1e9) snprintf(b, sizeof b, "%.3g", fabs(v));
    else snprintf(b, sizeof b, "%.*f", digits, fabs(v));
    bool zero = strspn(b, "0.") == strlen(b);
    if (v < 0 && !zero) tn_str_addz(out, "−");
    else if (plus) tn_str_addz(out, "+");
    tn_str_addz(out, b);
}

void tn_html_num(tn_str *out, double v, int digits) { number(out, v, digits, false); }
void tn_html_signed(tn_str *out, double v, int digits) { number(out, v, digits, true); }

void tn_html_seconds(tn_str *out, double s) {
    if (!isfinite(s) || s < 0 || s > 1e12) tn_str_addz(out, "–");
    else if (s < 9.95) tn_str_addf(out, "%.1f s", s);
    else if (s < 119.5) tn_str_addf(out, "%.0f s", s);
    else {
        long t = (long)(s + 0.5);
        if (t < 3600) tn_str_addf(out, "%ld min %02ld s", t / 60, t % 60);
        else tn_str_addf(out, "%ld h %02ld min", t / 3600, t % 3600 / 60);
    }
}

void tn_html_amount(tn_str *out, double v) {
    static const char *const unit[] = {"", " k", " M", " G", " T"};
    int i = 0;
    if (!isfinite(v)) {
        tn_str_addz(out, "–");
        return;
    }
    while (fabs(v) >= 999.5 && i < 4) v /= 1000, i++;
    number(out, v, i == 0 || fabs(v) >= 99.5 ? 0 : 1, false);
    tn_str_addz(out, unit[i]);
}
