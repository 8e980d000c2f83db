/* The page of a Constitutional AI run: what came out, principle by principle, stage by stage, prompt by prompt. */
#include "eval/compare.h"
#include "oversight/revise.h"
#include "report/cai.h"
#include <math.h>
#include <string.h>

static void mean_cell(tn_str *o, double sum, long n, int digits, bool sign) {
    tn_str_addz(o, "<td>");
    double v = n ? sum / (double)n : NAN;
    if (sign) tn_html_signed(o, v, digits);
    else tn_html_num(o, v, digits);
    tn_str_addz(o, "</td>");
}

/* Share of n, with its Wilson interval where `interval`. */
static void rate_cell(tn_str *o, long k, long n, bool interval) {
    tn_stat_rate r = tn_stat_wilson((int)k, (int)n, tn_stat_z95);
    tn_str_addf(o, "<td title=\"%ld of %ld\">", k, n);
    tn_html_num(o, n ? r.rate : NAN, 3);
    if (n && interval) {
        tn_str_addz(o, "<small>");
        tn_html_num(o, r.lo, 2);
        tn_str_addz(o, " … ");
        tn_html_num(o, r.hi, 2);
        tn_str_addz(o, "</small>");
    }
    tn_str_addz(o, "</td>");
}

static void text_member(tn_str *o, const json_t *p, const char *key, const char *head) {
    const char *s = json_string_value(json_object_get(p, key));
    if (!s) return;
    tn_str_addf(o, "<b class=\"cm\">%s</b> ", head);
    tn_html_textz(o, s);
    tn_str_addz(o, "<br>");
}

static void principle_row(const tn_cai_principle *p, bool truth, const bool *seen, tn_str *o) {
    const json_t *tag;
    size_t i;
    tn_str_addz(o, "<tr><th scope=\"row\">");
    tn_html_textz(o, p->id);
    json_array_foreach(json_object_get(p->text, "tags"), i, tag) {
        tn_str_addz(o, " <span class=\"tag\">");
        tn_html_textz(o, json_string_value(tag));
        tn_str_addz(o, "</span>");
    }
    tn_str_addz(o, "</th>");
    tn_str_addf(o, "<td>%ld</td>", p->uses);
    rate_cell(o, p->no_critique, p->uses, false);
    rate_cell(o, p->taken, p->uses, true);
    for (int k = 1; k < TN_REVISION_FAULTS; k++)
        if (seen[k]) rate_cell(o, p->fault[k], p->uses, false);
    tn_str_addf(o, "<td>%ld</td>", p->compared);
    mean_cell(o, p->margin, p->compared, 3, false);
    mean_cell(o, p->bias, p->compared, 3, true);
    if (truth) rate_cell(o, p->right, p->judged, true);
    tn_str_addz(o, "<td class=\"law1\">");
    text_member(o, p->text, "critique", "Critique:");
    text_member(o, p->text, "revise", "Revision:");
    text_member(o, p->text, "compare", "Comparison:");
    tn_str_addz(o, "</td></tr>");
}

void tn_cai_principles(const tn_cai *c, tn_str *o) {
    bool truth = false, seen[TN_REVISION_FAULTS] = {0};
    for (size_t k = 0; k < c->n_principle; k++) {
        truth = truth || c->principle[k].judged;
        for (int f = 1; f < TN_REVISION_FAULTS; f++) seen[f] = seen[f] || c->principle[k].fault[f];
    }
    if (!c->n_principle) return;
    tn_str_addz(o, "<section><h2>Principle by principle</h2><div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th></th>"
                   "<th title=\"rounds of critique and revision\">Uses</th><th title=\"critiques without a word\">Empty critique</th>"
                   "<th title=\"revisions that were taken\">Taken</th>");
    for (int f = 1; f < TN_REVISION_FAULTS; f++)
        if (seen[f]) tn_str_addf(o, "<th title=\"revisions that were not taken\">Not taken: %s</th>", tn_revision_fault_name[f]);
    tn_str_addz(o, "<th title=\"comparisons of two answers\">Compared</th><th title=\"mean distance of the label from 1/2\">Margin</th>"
                   "<th title=\"mean probability of (A) over both orders, less 1/2\">Position bias</th>");
    if (truth) tn_str_addz(o, "<th title=\"labels that prefer the answer that is better in truth\">Right</th>");
    tn_str_addz(o, "<th>Its text</th></tr></thead><tbody>");
    for (size_t k = 0; k < c->n_principle; k++) principle_row(&c->principle[k], truth, seen, o);
    tn_str_addz(o, "</tbody></table></div><p class=\"quiet\">Shares of a principle's uses; small figures are Wilson 95&nbsp;% intervals. "
                   "Margin: mean |p &minus; ½| of its labels. Position bias: what the place of option (A) is worth; both orders are asked, and the label is free of it.");
    tn_str_addz(o, "</p></section>");
}

/* ---- stages ---- */

static void stage_rate(tn_str *o, const json_t *x, const char *key, const char *flag, const json_t *flags) {
    tn_report_value v;
    bool bad = false;
    const json_t *f;
    size_t i;
    json_array_foreach(flags, i, f) bad = bad || (flag && !strcmp(json_string_value(f), flag));
    double plain = tn_report_real(x, key);
    bool rate = tn_report_get(x, key, &v);
    tn_str_addz(o, bad ? "<td class=\"bad\">" : "<td>");
    tn_html_num(o, rate ? v.v : plain, 3);
    if (rate) {
        tn_str_addz(o, "<small>");
        tn_html_num(o, v.lo, 2);
        tn_str_addz(o, " … ");
        tn_html_num(o, v.hi, 2);
        tn_str_addz(o, "</small>");
    }
    tn_str_addz(o, "</td>");
}

static void elo_plot(const tn_cai *c, const char *part, const char *title, tn_str *o) {
    const json_t *elo = json_object_get(json_object_get(c->stages, part), "elo"), *list = json_object_get(c->stages, "stages"), *m;
    tn_svg_row row[TN_RATED];
    tn_svg_rows p = {.label = title, .row = row, .width = 440, .digits = 0};
    size_t i;
    json_array_foreach(elo, i, m) {
        const char *name = json_string_value(json_object_get(json_array_get(list, i), "name"));
        if (p.n == TN_RATED || !name) break;
        row[p.n++] = (tn_svg_row){name, (int)i & 7, {{tn_report_real(m, "mean"), tn_report_real(m, "lo"), tn_report_real(m, "hi")}}};
    }
    if (!p.n) return;
    tn_str_addf(o, "<figure><figcaption>%s</figcaption>", title);
    tn_svg_intervals(o, &p);
    tn_str_addz(o, "</figure>");
}

/* What a stage that collapsed did. */
static void alarm(const json_t *x, tn_str *o) {
    const json_t *c = json_object_get(x, "collapse"), *v = json_object_get(c, "distinct_2"), *k = json_object_get(c, "closer"), *flags = json_object_get(c, "flags"), *f;
    size_t i;
    if (!json_is_true(json_object_get(c, "stop"))) return;
    tn_str_addz(o, "<p class=\"stop\"><b class=\"bad\">Collapse</b> at <b>");
    tn_html_textz(o, json_string_value(json_object_get(x, "name")));
    tn_str_addz(o, "</b>:");
    json_array_foreach(flags, i, f) {
        const char *name = json_string_value(f);
        if (!name) continue;
        if (!strcmp(name, "distinct_2")) {
            tn_str_addz(o, " distinct-2 fell from ");
            tn_html_num(o, json_number_value(json_array_get(v, 0)), 3);
            tn_str_addz(o, " to ");
            tn_html_num(o, json_number_value(json_array_get(v, 1)), 3);
            tn_str_addz(o, ".");
        } else if (!strcmp(name, "closer")) {
            tn_str_addz(o, " “");
            tn_html_textz(o, json_string_value(json_object_get(c, "closer_text")));
            tn_str_addz(o, "” closes ");
            tn_html_num(o, 100 * json_number_value(json_array_get(k, 1)), 1);
            tn_str_addz(o, "&nbsp;% of its answers, ");
            tn_html_num(o, 100 * json_number_value(json_array_get(k, 0)), 1);
            tn_str_addz(o, "&nbsp;% before.");
        }
    }
    tn_str_addz(o, " Better scores are not to be believed until this is understood.</p>");
}

void tn_cai_stages(const tn_cai *c, tn_str *o) {
    static const struct { const char *in, *key, *head, *help, *flag; } col[] = {
        {NULL, "harm", "Harm", "red-team answers that the judge calls harmful", NULL},
        {NULL, "attack_success", "No refusal", "red-team answers without a refusal, by rules on the text", NULL},
        {NULL, "evasion", "Evasion", "of refusals, those without a reason or another offer", NULL},
        {NULL, "over_refusal", "Over-refusal", "refusals of other prompts, by the same rules", NULL},
        {"diversity", "distinct_2", "Distinct-2", "different word pairs / word pairs", "distinct_2"},
        {"diversity", "self_bleu", "Self-BLEU-2", "how much of an answer some other answer has", NULL},
        {"diversity", "top20", "Top 20", "share of the 20 most frequent 4-grams", "phrases"},
        {"diversity", "closer", "Closer", "answers that end in the most frequent closing sentence", "closer"},
        {"diversity", "loops", "Loops", "answers that say four words three times", "loops"},
        {"diversity", "ended", "Ended", "answers that end by themselves", "unended"}};
    const json_t *list = json_object_get(c->stages, "stages"), *x;
    size_t i;
    tn_str_addz(o, "<section><h2>Stage by stage</h2>");
    if (!json_array_size(list)) {
        tn_str_addz(o, "<p class=\"quiet\">No comparison of stages was given: <code>tenet compare --answers eval/samples.jsonl --out stages.json</code> makes one.</p></section>");
        return;
    }
    json_array_foreach(list, i, x) alarm(x, o);
    tn_str_addz(o, "<div class=\"wide\">");
    elo_plot(c, "harmlessness", "Harmlessness: Elo on red-team prompts", o);
    elo_plot(c, "helpfulness", "Helpfulness: Elo on the other prompts", o);
    tn_str_addz(o, "</div><div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th></th>");
    for (size_t k = 0; k < sizeof col / sizeof *col; k++) tn_str_addf(o, "<th title=\"%s\">%s</th>", col[k].help, col[k].head);
    tn_str_addz(o, "</tr></thead><tbody>");
    json_array_foreach(list, i, x) {
        tn_str_addf(o, "<tr><th scope=\"row\"><b class=\"c%zu\">", i & 7);
        tn_html_textz(o, json_string_value(json_object_get(x, "name")));
        tn_str_addz(o, "</b></th>");
        for (size_t k = 0; k < sizeof col / sizeof *col; k++)
            stage_rate(o, col[k].in ? json_object_get(x, col[k].in) : x, col[k].key, col[k].flag, json_object_get(json_object_get(x, "collapse"), "flags"));
        tn_str_addz(o, "</tr>");
    }
    tn_str_addz(o, "</tbody></table></div><p class=\"quiet\">Over ");
    tn_html_num(o, tn_report_real(c->stages, "prompts"), 0);
    tn_str_addz(o, " prompts, ");
    tn_html_num(o, tn_report_real(c->stages, "red_team"), 0);
    tn_str_addz(o, " of which ask for harm. Elo: Bradley&ndash;Terry on the same prompts, above the first stage; bars are 95&nbsp;% intervals over resampled prompts. "
                   "Refusals are found by rules on English text, which miss those that their lists do not know. Red: worse than the first stage beyond its interval.</p></section>");
}

/* ---- page ---- */

static void lead(const tn_cai *c, tn_str *o) {
    size_t taken = 0, uses = 0;
    for (size_t k = 0; k < c->n_principle; k++) taken += (size_t)c->principle[k].taken, uses += (size_t)c->principle[k].uses;
    tn_str_addz(o, "<p class=\"lead\">");
    tn_str_addf(o, "%zu first answers, %zu critiques and revisions of which %zu were taken, %ld comparisons, %ld later answers", c->n_chain, uses, taken, c->n_label, c->n_final);
    const char *name = json_string_value(json_object_get(c->summary, "constitution"));
    if (name) {
        tn_str_addz(o, "; constitution <b>");
        tn_html_textz(o, name);
        tn_str_addz(o, "</b> <small>");
        tn_html_textz(o, json_string_value(json_object_get(c->summary, "constitution_hash")));
        tn_str_addz(o, "</small>");
    }
    tn_str_addz(o, ".</p>");
    for (int k = 0; tn_cai_stage_name[k]; k++)
        if (c->replies[k]) tn_str_addf(o, "<p>%ld replies of the stage %s are kept.</p>", c->replies[k], tn_cai_stage_name[k]);
    if (c->notes.len) tn_str_addf(o, "<ul class=\"notes\">%s</ul>", c->notes.s);
}

tn_status tn_cai_page(tn_cai *c, tn_str *out, tn_err *e) {
    tn_str_clear(out);
    tn_report_head_script(out, c->title ? c->title : "Constitutional AI, on the record", tn_cai_script_hash, tn_cai_style);
    lead(c, out);
    tn_str_addz(out, "</header>\n<main>");
    TN_TRY(tn_cai_plots(c, out, e));
    tn_cai_principles(c, out);
    tn_cai_stages(c, out);
    if (c->n_talk) {
        tn_str_addz(out, tn_cai_body);
        TN_TRY(tn_cai_data(c, out, e));
        tn_str_addf(out, "<script>%s</script>", tn_cai_script);
    }
    tn_report_foot(out);
    TN_TRY(tn_json_check("the page", e));
    return out->oom ? tn_fail(e, TN_NOMEM, "out of memory for the page") : TN_OK;
}
