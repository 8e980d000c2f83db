/* The page: style sheet, header, the parts in order. */
#include "report/report.h"
#include <math.h>

/* Eight hues that differ in lightness too, for light and for dark. */
static const char style[] =
    ":root{color-scheme:light dark;--bg:#fbfaf8;--card:#fff;--ink:#1d2329;--soft:#5d6873;--line:#e3e0da;"
    "--grid:#eceae5;--band:#2f6fdb1c;--good:#127a4b;--bad:#bb3526;--goodbg:#127a4b14;--badbg:#bb352614;"
    "--c0:#2b62c9;--c1:#c4700a;--c2:#12866a;--c3:#a8329e;--c4:#6d4fd8;--c5:#8a5a33;--c6:#0d7f9e;--c7:#c22f4d;"
    "--cm:#7d8791}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1b1f25;--ink:#e6e9ec;--soft:#9aa5b0;"
    "--line:#30363d;--grid:#272c33;--band:#7fb0ff24;--good:#5fd39a;--bad:#ff8f7d;--goodbg:#5fd39a1a;"
    "--badbg:#ff8f7d1a;--c0:#82b1ff;--c1:#ffb454;--c2:#5cd6b3;--c3:#f08be6;--c4:#b39dff;--c5:#d4a276;"
    "--c6:#63cfec;--c7:#ff8fa5;--cm:#8a949e}}"
    "*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}"
    "body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,"
    "'Helvetica Neue',sans-serif;font-variant-numeric:tabular-nums}"
    "main,header,footer{max-width:1080px;margin:0 auto;padding:0 20px}"
    "header{padding-top:44px}h1,h2{font-family:Charter,'Bitstream Charter','Iowan Old Style',Georgia,serif;"
    "line-height:1.2;font-weight:600;letter-spacing:-.01em}"
    "h1{font-size:clamp(28px,5vw,40px);margin:0 0 8px;overflow-wrap:anywhere}h2{font-size:25px;margin:0 0 14px}"
    "h3{font-size:16px;margin:28px 0 10px}section{padding:34px 0 6px;border-top:1px solid var(--line);margin-top:30px}"
    "p{margin:0 0 12px;max-width:46em}.lead{font-size:18px}.quiet{color:var(--soft);font-size:14px}"
    "b[class]{color:var(--k)}small{font-size:12px;color:var(--soft);font-weight:400}"
    ".c0{--k:var(--c0)}.c1{--k:var(--c1)}.c2{--k:var(--c2)}.c3{--k:var(--c3)}.c4{--k:var(--c4)}.c5{--k:var(--c5)}"
    ".c6{--k:var(--c6)}.c7{--k:var(--c7)}.cm{--k:var(--cm)}"
    ".wide{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));margin:14px 0}"
    ".many{display:grid;gap:14px;grid-template-columns:repeat(auto-fill,minmax(min(100%,290px),1fr))}"
    "figure{margin:0;padding:14px 14px 8px;background:var(--card);border:1px solid var(--line);border-radius:10px;"
    "min-width:0}figcaption{font-size:14px;font-weight:600;margin-bottom:6px;overflow-wrap:anywhere}"
    "svg{display:block;width:100%;max-width:560px;height:auto;font:12px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;"
    "overflow:visible}"
    "text{fill:var(--ink)}.tk{fill:var(--soft);font-size:11px}.mid{text-anchor:middle}.end,.nm,.val{text-anchor:end}"
    ".sm{font-size:10.5px}.grid{stroke:var(--grid)}.zero,.axis{stroke:var(--cm);stroke-opacity:.75}"
    ".band{fill:var(--band)}.iv{stroke:var(--k);stroke-width:2.2;stroke-linecap:round;opacity:.75}"
    ".dot{fill:var(--k)}.hol{fill:var(--card);stroke:var(--k);stroke-width:1.8}"
    ".ln{fill:none;stroke:var(--k);stroke-width:2;stroke-linejoin:round}.dash{stroke-dasharray:5 4}"
    ".raw{fill:none;stroke:var(--k);stroke-width:1;opacity:.28}.fill{fill:var(--k);opacity:.16}"
    ".scroll{overflow-x:auto;border:1px solid var(--line);border-radius:10px;background:var(--card);margin-bottom:12px}"
    "table{border-collapse:collapse;width:100%;font-size:14px}th,td{padding:8px 10px;text-align:right;"
    "white-space:nowrap;border-bottom:1px solid var(--line);vertical-align:top}tbody tr:last-child>*{border-bottom:0}"
    "thead th{font-size:12px;font-weight:600;color:var(--soft);white-space:normal;vertical-align:bottom;line-height:1.25}"
    "tbody th{text-align:left;position:sticky;left:0;background:var(--card);z-index:1;max-width:40vw;"
    "overflow:hidden;text-overflow:ellipsis}"
    "td small{display:block;font-size:11px;line-height:1.3}td i,.good i{font-style:normal;font-size:10px;margin-left:3px;"
    "vertical-align:1px}td.good{background:var(--goodbg)}td.bad{background:var(--badbg)}.good{color:var(--good)}"
    ".bad{color:var(--bad)}.good small,.bad small{color:inherit;opacity:.8}"
    ".terms{font-size:13px;color:var(--soft);margin:0;columns:3 260px;column-gap:26px}"
    ".terms div{break-inside:avoid;margin-bottom:4px}.terms dt{display:inline;font-weight:600}.terms dt:after{content:': '}"
    ".terms dd{display:inline;margin:0}"
    ".key{font-weight:400;font-size:14px;color:var(--soft);margin-left:10px;white-space:nowrap}"
    ".key s{display:inline-block;width:16px;height:3px;border-radius:2px;background:var(--k);vertical-align:middle;"
    "margin-right:5px}"
    ".cards{display:grid;gap:14px;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));margin:12px 0}"
    "article{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px 8px;min-width:0}"
    "article h4{margin:0 0 8px;font-size:15px;font-weight:600;overflow-wrap:anywhere;white-space:pre-wrap}"
    ".chip{float:right;margin-left:10px;padding:1px 8px;border:1px solid var(--line);border-radius:99px}"
    ".ans{border-left:3px solid var(--k);padding:2px 0 2px 10px;margin-bottom:10px}.ans b{font-size:13px;color:var(--k)}"
    ".ans p{margin:0;font-size:15px;line-height:1.4;overflow-wrap:anywhere;white-space:pre-wrap}"
    ".marks em{font-style:normal;font-size:12px;color:var(--soft);margin-right:9px;white-space:nowrap}.marks .pos{color:var(--good)}"
    ".marks .neg{color:var(--bad)}details{margin:14px 0}summary{cursor:pointer;font-weight:600;font-size:15px}"
    "pre{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px 14px;margin:0 0 10px;"
    "white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}"
    "footer{padding-top:10px;padding-bottom:40px;color:var(--soft);font-size:13px}"
    "@media print{section,figure,article{break-inside:avoid}}";

static void about(const tn_report *r, tn_str *o) {
    int trained = 0, policies = 0, shown = 0;
    for (int k = 0; k < r->n_models; k++) {
        if (r->model[k].policy) policies++;
        else trained++;
    }
    tn_str_addz(o, "<p class=\"lead\">");
    if (r->eval) {
        for (int k = 0; k < r->n_models; k++) {
            if (r->model[k].policy) continue;
            tn_str_addz(o, !shown ? "" : shown == trained - 1 ? " and " : ", ");
            tn_str_addf(o, "<b class=\"c%d\">", r->model[k].colour & 7);
            tn_html_textz(o, r->model[k].name);
            tn_str_addz(o, "</b>");
            shown++;
        }
        if (policies) tn_str_addf(o, "%s%d fixed policies", trained ? ", and " : "", policies);
        tn_str_addz(o, " on ");
        tn_html_num(o, tn_report_real(r->eval, "prompts"), 0);
        tn_str_addz(o, trained + policies > 1 ? " prompts, the same for all" : " prompts");
        tn_str_addz(o, r->world ? ", judged by the world's own oracle; seed " : "; seed ");
        tn_html_num(o, tn_report_real(r->eval, "seed"), 0);
        tn_str_addz(o, ".");
    } else tn_str_addf(o, "%d training run%s.", r->n_runs, r->n_runs == 1 ? "" : "s");
    tn_str_addz(o, "</p>");
}

static void head(tn_str *out, const char *title, const char *policy, const char *hash, const char *more) {
    tn_str_addf(out,
                "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                "style-src 'unsafe-inline'%s%s%s\"><title>", policy, hash, *hash ? "'" : "");
    tn_html_textz(out, title);
    tn_str_addf(out, "</title><style>%s%s</style></head>\n<body><header><h1>", style, more);
    tn_html_textz(out, title);
    tn_str_addz(out, "</h1>");
}

void tn_report_head(tn_str *out, const char *title) { head(out, title, "", "", ""); }
void tn_report_head_script(tn_str *out, const char *title, const char *hash, const char *more_style) {
    head(out, title, "; script-src 'sha256-", hash, more_style);
}

void tn_report_foot(tn_str *out) {
    tn_str_addz(out, "</main>\n<footer>Written by tenet " TN_VERSION ".</footer></body></html>\n");
}

tn_status tn_report_page(const tn_report *r, tn_str *out, tn_err *e) {
    tn_str_clear(out);
    tn_report_head(out, r->title ? r->title : r->eval ? "Models, side by side" : "Training report");
    about(r, out);
    tn_str_addz(out, "</header>\n<main>");
    if (r->eval) {
        tn_report_headline(r, out);
        tn_report_table(r, out);
        tn_report_rates(r, out);
    }
    TN_TRY(tn_report_optimisation(r, out, e));
    TN_TRY(tn_report_answers(r, out, e));
    TN_TRY(tn_report_curves(r, out, e));
    tn_report_record(r, out);
    tn_report_foot(out);
    return out->oom ? tn_fail(e, TN_NOMEM, "out of memory") : TN_OK;
}
