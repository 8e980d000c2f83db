/* Alarms of over-optimisation that runs on own samples raised (alarms.jsonl). */
#include "report/report.h"

static const char *text_of(const json_t *row, const char *key) {
    const char *s = json_string_value(json_object_get(row, key));
    return s ? s : "";
}

static void one(const json_t *row, tn_str *o) {
    tn_str_addf(o, "<li>step %.0f: ", tn_report_real(row, "step"));
    tn_html_textz(o, text_of(row, "alarm"));
    tn_str_addf(o, ", %.2f times its threshold (on alarm: ", tn_report_real(row, "level"));
    tn_html_textz(o, text_of(row, "action"));
    tn_str_addz(o, ")</li>");
}

void tn_report_alarms(const tn_report_run *u, tn_str *o) {
    const json_t *row;
    size_t i;
    if (!u->alarms) return; /* a run that has none to raise */
    tn_str_addz(o, "<p>Alarms of ");
    tn_html_textz(o, u->name);
    if (json_array_size(u->alarms) == 0) {
        tn_str_addz(o, ": none.</p>");
        return;
    }
    tn_str_addz(o, ":</p><ul>");
    json_array_foreach(u->alarms, i, row) one(row, o);
    tn_str_addz(o, "</ul>");
}
